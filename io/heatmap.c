/*
 * heatmap.c: upsampling, the way back onto the picture, and colour maps held as a few control
 * points between which is interpolated linearly.
 */
#include "io/heatmap.h"

#include <math.h>
#include <string.h>

/* The value at (x, y), in pixel centres, of a map whose edges are continued outwards. */
static float sample(const float *map, int height, int width, double x, double y) {
    x = x < 0.0 ? 0.0 : x > width - 1 ? width - 1 : x;
    y = y < 0.0 ? 0.0 : y > height - 1 ? height - 1 : y;
    int x0 = (int)x, y0 = (int)y;
    int x1 = x0 + 1 < width ? x0 + 1 : x0, y1 = y0 + 1 < height ? y0 + 1 : y0;
    double fx = x - x0, fy = y - y0;
    const float *upper = map + (size_t)y0 * (size_t)width;
    const float *lower = map + (size_t)y1 * (size_t)width;
    double above = (double)upper[x0] * (1.0 - fx) + (double)upper[x1] * fx;
    double below = (double)lower[x0] * (1.0 - fx) + (double)lower[x1] * fx;
    return (float)(above * (1.0 - fy) + below * fy);
}

void tb_heatmap_upsample(float *out, int height, int width, const float *grid, int rows,
                         int columns) {
    double step_y = (double)rows / height, step_x = (double)columns / width;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            *out++ =
                sample(grid, rows, columns, (x + 0.5) * step_x - 0.5, (y + 0.5) * step_y - 0.5);
}

void tb_heatmap_on_picture(float *out, int height, int width, const float *map,
                           const tb_geometry *g) {
    double step_y = (double)g->resized_height / height, step_x = (double)g->resized_width / width;
    for (int y = 0; y < height; y++) {
        double v = (y + 0.5) * step_y - g->top;
        for (int x = 0; x < width; x++) {
            double u = (x + 0.5) * step_x - g->left;
            bool seen = u >= 0.0 && u < g->width && v >= 0.0 && v < g->height;
            *out++ = seen ? sample(map, g->height, g->width, u - 0.5, v - 0.5) : NAN;
        }
    }
}

void tb_heatmap_range(float *low, float *high, const float *values, size_t count) {
    bool any = false;
    *low = *high = 0.0f;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) continue;
        if (!any || values[i] < *low) *low = values[i];
        if (!any || values[i] > *high) *high = values[i];
        any = true;
    }
}

enum { MOST_POINTS = 17 };

static const struct {
    const char *name;
    int points;
    uint32_t color[MOST_POINTS]; /* 0xrrggbb, equally spaced */
} colormaps[TB_COLORMAPS] = {
    /* without the darkest ends, which vanish over a photograph */
    [TB_COLORMAP_TURBO] = {"turbo",
                           17,
                           {0x493dab, 0x4761e7, 0x3986f9, 0x2ba9ef, 0x25c8d6, 0x2ce1b4, 0x40f392,
                            0x5ffc73, 0x86fd58, 0xb0f444, 0xd6e235, 0xf4c92b, 0xffa924, 0xff851e,
                            0xf76018, 0xda3d10, 0xb82008}},
    [TB_COLORMAP_VIRIDIS] = {"viridis",
                             9,
                             {0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962,
                              0xaddc30, 0xfde725}},
    [TB_COLORMAP_MAGMA] = {"magma",
                           9,
                           {0x000004, 0x1c1044, 0x4f127b, 0x812581, 0xb5367a, 0xe55064, 0xfb8761,
                            0xfec287, 0xfcfdbf}},
    [TB_COLORMAP_JET] = {"jet",
                         9,
                         {0x000080, 0x0000ff, 0x0080ff, 0x00ffff, 0x80ff80, 0xffff00, 0xff8000,
                          0xff0000, 0x800000}},
    [TB_COLORMAP_GRAY] = {"gray", 2, {0x000000, 0xffffff}},
    [TB_COLORMAP_DIVERGING] = {"diverging",
                               9,
                               {0x1f4ea8, 0x4f83cc, 0x8fb4e3, 0xc9dbf2, 0xf7f7f7, 0xf8d0cf,
                                0xec9c9a, 0xd35c5b, 0xa81c2b}},
};

const char *tb_colormap_name(tb_colormap map) {
    return colormaps[map].name;
}

bool tb_colormap_from_name(tb_colormap *out, const char *name) {
    for (int i = 0; i < TB_COLORMAPS; i++)
        if (strcmp(name, colormaps[i].name) == 0) {
            *out = (tb_colormap)i;
            return true;
        }
    return false;
}

void tb_colormap_at(uint8_t rgb[3], tb_colormap map, float t) {
    int last = colormaps[map].points - 1;
    float position = (t > 0.0f ? t < 1.0f ? t : 1.0f : 0.0f) * (float)last;
    int from = (int)position < last ? (int)position : last - 1;
    float part = position - (float)from;
    for (int c = 0; c < 3; c++) {
        int shift = 16 - 8 * c;
        float a = (float)(colormaps[map].color[from] >> shift & 255u);
        float b = (float)(colormaps[map].color[from + 1] >> shift & 255u);
        rgb[c] = (uint8_t)(a + (b - a) * part + 0.5f);
    }
}

void tb_heatmap_overlay(tb_picture *picture, const float *map, float low, float high,
                        tb_colormap colors, float opacity) {
    const float dimmed = 0.35f, faded = 0.75f, weakest = 0.6f;
    size_t count = (size_t)picture->width * (size_t)picture->height;
    for (size_t i = 0; i < count; i++) {
        uint8_t *p = picture->rgb + 3 * i, color[3];
        float gray = 0.299f * (float)p[0] + 0.587f * (float)p[1] + 0.114f * (float)p[2];
        bool mapped = isfinite(map[i]);
        float t = mapped && high > low ? (map[i] - low) / (high - low) : 0.0f;
        float matters = colors == TB_COLORMAP_DIVERGING ? fabsf(2.0f * t - 1.0f) : t;
        float strength = opacity * (weakest + (1.0f - weakest) * matters);
        if (mapped) tb_colormap_at(color, colors, t);
        for (int c = 0; c < 3; c++) {
            float base = faded * gray + (1.0f - faded) * (float)p[c];
            float value = mapped ? base + ((float)color[c] - base) * strength : gray * dimmed;
            p[c] = (uint8_t)(value + 0.5f);
        }
    }
}
