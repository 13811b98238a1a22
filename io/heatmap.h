/*
 * heatmap.h: a tower's patch relevance as something to look at: upsampled to the model's input,
 * carried back through crop and resize onto the picture, scaled for display, coloured.
 *
 * Raw values stay raw until they are coloured; min-max scaling happens in tb_colormap_at's caller
 * and nowhere else.
 */
#ifndef TB_IO_HEATMAP_H
#define TB_IO_HEATMAP_H

#include "io/preprocess.h"

/** Bilinear, half-pixel centres (align_corners = false), edges clamped: `grid` [rows, columns] to
 *  `out` [height, width]. */
void tb_heatmap_upsample(float *out, int height, int width, const float *grid, int rows,
                         int columns);

/** The map of the model's input, `map` [geometry->height, geometry->width], laid over the upright
 *  picture shown at height × width: `out` [height, width]. NAN where the model saw nothing of the
 *  picture (outside the crop). */
void tb_heatmap_on_picture(float *out, int height, int width, const float *map,
                           const tb_geometry *geometry);

/** Smallest and largest finite value; 0 and 0 if there is none. */
void tb_heatmap_range(float *low, float *high, const float *values, size_t count);

typedef enum tb_colormap {
    TB_COLORMAP_TURBO,
    TB_COLORMAP_VIRIDIS,
    TB_COLORMAP_MAGMA,
    TB_COLORMAP_JET,
    TB_COLORMAP_GRAY,
    TB_COLORMAP_DIVERGING, /**< for signed values: blue, white in the middle, red */
    TB_COLORMAPS
} tb_colormap;

const char *tb_colormap_name(tb_colormap map);
bool tb_colormap_from_name(tb_colormap *out, const char *name);
/** The colour of t in [0, 1] (clamped). */
void tb_colormap_at(uint8_t rgb[3], tb_colormap map, float t);

#define TB_DEFAULT_OPACITY 0.65f

/** Blends `map` [height, width] over the picture of the same size, in place: the picture turns
 *  grey, low … high becomes the colour map, unmapped places (NAN) are dimmed.
 *  `opacity` in [0, 1] is that of the highest value; the lowest one has 0.6 of it, so that what
 *  does not matter hides less of the picture; on the diverging map the middle is what does not
 *  matter. */
void tb_heatmap_overlay(tb_picture *picture, const float *map, float low, float high,
                        tb_colormap colors, float opacity);

#endif
