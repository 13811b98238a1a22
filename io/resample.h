/*
 * resample.h: Pillow's resampling of 8-bit RGB pictures, to the last bit, and the same filters on
 * floats. Only a window of the result is computed, so a centre crop costs what it shows.
 */
#ifndef TB_IO_RESAMPLE_H
#define TB_IO_RESAMPLE_H

#include "io/picture.h"

/** Numbered as Pillow's (and preprocessor_config.json's) filters. */
typedef enum tb_filter {
    TB_FILTER_NEAREST = 0,
    TB_FILTER_LANCZOS = 1,
    TB_FILTER_BILINEAR = 2,
    TB_FILTER_BICUBIC = 3,
    TB_FILTER_BOX = 4,
    TB_FILTER_HAMMING = 5,
    TB_FILTERS
} tb_filter;

/** "nearest", "lanczos", … as timm and the command line spell them. */
const char *tb_filter_name(tb_filter filter);
/** False if `name` is none of these names. */
bool tb_filter_from_name(tb_filter *out, const char *name);

/** The result's size, and the part of it that is wanted (within it). */
typedef struct tb_resample_size {
    int width, height;
    int left, top, window_width, window_height;
} tb_resample_size;

/** As Pillow's resize((width, height), filter). The two passes store 8 bits in between, so their
 *  order shows: vertical first where that saves work (Pillow 13), or with `horizontal_first`
 *  always the other way round (Pillow up to 11). `out` gets the window and belongs to the arena. */
tiba_status tb_resample(tb_picture *out, tb_arena *arena, const tb_picture *in,
                        const tb_resample_size *size, tb_filter filter, bool horizontal_first,
                        tiba_error *error);

/** The same filters on floats without rounding or clamping in between, horizontal pass first (what
 *  torch's antialiased interpolation computes). `out`: window_height × window_width × 3, from the
 *  arena. Not for nearest. */
tiba_status tb_resample_float(float **out, tb_arena *arena, const tb_picture *in, float scale,
                              const tb_resample_size *size, tb_filter filter, tiba_error *error);

#endif
