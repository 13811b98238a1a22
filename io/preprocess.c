/*
 * preprocess.c: carries out a tb_preprocess. The steps and their roundings are those of the image
 * processors of transformers (the PIL ones) and of timm's evaluation transform.
 */
#include "io/preprocess.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A model's input: more than any model takes, little enough to allocate. */
#define MAX_INPUT_PIXELS (INT64_C(1) << 24)
/* A resized edge; only the crop's window is computed. */
#define MAX_EDGE 1e9

/* ties to even, like Python's round() */
static double round_even(double value) {
    return nearbyint(value);
}

static void bounded_size(double *height, double *width, const tb_preprocess *how, double h,
                         double w) {
    double low = h < w ? h : w, high = h < w ? w : h, edge = how->height, raw = edge;
    if (how->width > 0 && high / low * edge > how->width) {
        raw = how->width * low / high;
        edge = round_even(raw);
    }
    if ((h <= w && h == edge) || (w <= h && w == edge)) {
        *height = h, *width = w;
    } else if (w < h) {
        *width = edge, *height = floor(raw * h / w);
    } else {
        *height = edge, *width = floor(raw * w / h);
    }
    if (how->multiple > 1) {
        *height -= fmod(*height, how->multiple);
        *width -= fmod(*width, how->multiple);
    }
}

/* The picture's size after the resize step. */
static tiba_status resized_size(tb_geometry *g, const tb_preprocess *how, tiba_error *error) {
    double h = g->picture_height, w = g->picture_width, height = h, width = w;
    if (how->resize == TB_RESIZE_EXACT) {
        height = how->height, width = how->width;
    } else if (how->resize == TB_RESIZE_SHORTEST) {
        double longer = floor((double)how->height * (w <= h ? h : w) / (w <= h ? w : h));
        height = w <= h ? longer : how->height;
        width = w <= h ? how->height : longer;
    } else if (how->resize == TB_RESIZE_BOUNDED) {
        bounded_size(&height, &width, how, h, w);
    } else if (how->resize == TB_RESIZE_COVER) {
        double by_height = h / how->height, by_width = w / how->width;
        double ratio = by_height < by_width ? by_height : by_width;
        height = round_even(h / ratio), width = round_even(w / ratio);
    }
    if (!(height >= 1 && width >= 1 && height <= MAX_EDGE && width <= MAX_EDGE))
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "a picture of %d x %d pixels cannot be resized to %.0f x %.0f",
                       g->picture_width, g->picture_height, width, height);
    g->resized_height = (int)height;
    g->resized_width = (int)width;
    return TIBA_OK;
}

/* The crop's first row or column; negative where the picture is smaller than the crop. */
static int crop_start(int size, int crop, bool rounds) {
    double middle = ((double)size - crop) / 2.0;
    if (!rounds) return (int)floor(middle);
    return (int)(size < crop ? ceil(middle) : round_even(middle));
}

static tiba_status plan(tb_geometry *g, const tb_preprocess *how, const tb_picture *picture,
                        tiba_error *error) {
    *g = (tb_geometry){.picture_width = picture->width, .picture_height = picture->height};
    TB_TRY(resized_size(g, how, error));
    g->height = how->crop ? how->crop_height : g->resized_height;
    g->width = how->crop ? how->crop_width : g->resized_width;
    if ((int64_t)g->height * g->width > MAX_INPUT_PIXELS)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "a model input of %d x %d pixels is over the limit of %lld pixels", g->width,
                       g->height, (long long)MAX_INPUT_PIXELS);
    if (how->crop) {
        g->top = crop_start(g->resized_height, g->height, how->crop_rounds);
        g->left = crop_start(g->resized_width, g->width, how->crop_rounds);
    }
    return TIBA_OK;
}

/* The part of the resized picture that the input shows. */
static tb_resample_size window_of(const tb_geometry *g) {
    tb_resample_size s = {.width = g->resized_width, .height = g->resized_height};
    int right = g->left + g->width, bottom = g->top + g->height;
    s.left = g->left > 0 ? g->left : 0;
    s.top = g->top > 0 ? g->top : 0;
    s.window_width = (right < s.width ? right : s.width) - s.left;
    s.window_height = (bottom < s.height ? bottom : s.height) - s.top;
    return s;
}

static float normalized(const tb_preprocess *how, float value, int channel) {
    return how->normalize && !how->bytes ? (value - how->mean[channel]) / how->std[channel] : value;
}

static float rescaled(const tb_preprocess *how, int value) {
    if (!how->rescale || how->bytes) return (float)value;
    if (how->rescale_divides) return (float)value / 255.0f;
    return (float)((double)value * how->rescale_factor);
}

/* Where the window's values come from: bytes by way of a table, or floats already rescaled. */
typedef struct source {
    const tb_preprocess *how;
    const uint8_t *bytes;
    const float *floats;
    float table[3][256]; /* [channel][byte], rescaled and normalised */
} source;

static float value_at(const source *s, size_t index, int channel) {
    if (s->bytes) return s->table[channel][s->bytes[index]];
    return normalized(s->how, s->floats[index], channel);
}

/* Padding is black, put there before rescaling: the table's entry 0 either way. */
static void fill(tb_pixels *out, const source *s, const tb_resample_size *window) {
    const tb_geometry *g = &out->geometry;
    size_t plane = (size_t)g->height * (size_t)g->width;
    size_t step = s->how->channels_last ? 3 : 1, jump = s->how->channels_last ? 1 : plane;
    int x0 = window->left - g->left, y0 = window->top - g->top;
    float *to = out->tensor.data;
    for (int y = 0; y < g->height; y++) {
        for (int x = 0; x < g->width; x++, to += step) {
            int wx = x - x0, wy = y - y0;
            bool inside =
                wx >= 0 && wx < window->window_width && wy >= 0 && wy < window->window_height;
            for (int c = 0; c < 3; c++) {
                int from = s->how->flip_channels ? 2 - c : c;
                size_t index = ((size_t)wy * (size_t)window->window_width + (size_t)wx) * 3;
                to[(size_t)c * jump] =
                    inside ? value_at(s, index + (size_t)from, from) : out->black[c];
            }
        }
    }
}

/* The bytes that the floats are. */
static tiba_status to_bytes(tiba_tensor *tensor, tb_arena *arena, tiba_error *error) {
    tiba_tensor floats = *tensor;
    TB_TRY(tb_tensor_create(tensor, arena, TIBA_UINT8, floats.rank, floats.dims, error));
    for (int64_t i = 0; i < tb_tensor_count(&floats); i++)
        ((uint8_t *)tensor->data)[i] = (uint8_t)((const float *)floats.data)[i];
    return TIBA_OK;
}

static tiba_status run(tb_pixels *out, tb_arena *arena, tb_arena *work, const tb_preprocess *how,
                       const tb_picture *picture, tiba_error *error) {
    TB_TRY(plan(&out->geometry, how, picture, error));
    const tb_geometry *g = &out->geometry;
    tb_resample_size window = window_of(g);
    source *s = TB_NEW(work, source, 1);
    if (!s) return tb_out_of_memory(error);
    s->how = how;
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) s->table[c][v] = normalized(how, rescaled(how, v), c);
    bool same = g->resized_width == picture->width && g->resized_height == picture->height;
    if (how->rescale_first && how->rescale && !how->bytes && !same) {
        float *floats;
        TB_TRY(tb_resample_float(&floats, work, picture, (float)how->rescale_factor, &window,
                                 how->filter, error));
        s->floats = floats;
    } else {
        tb_picture resized;
        TB_TRY(tb_resample(&resized, work, picture, &window, how->filter, how->horizontal_first,
                           error));
        s->bytes = resized.rgb;
    }
    int64_t dims[4] = {1, 3, g->height, g->width};
    if (how->channels_last) dims[1] = g->height, dims[2] = g->width, dims[3] = 3;
    TB_TRY(tb_tensor_create(&out->tensor, arena, TIBA_FLOAT32, 4, dims, error));
    for (int c = 0; c < 3; c++) out->black[c] = s->table[how->flip_channels ? 2 - c : c][0];
    fill(out, s, &window);
    return how->bytes ? to_bytes(&out->tensor, arena, error) : TIBA_OK;
}

tiba_status tb_preprocess_run(tb_pixels *out, tb_arena *arena, const tb_preprocess *how,
                              const tb_picture *picture, tiba_error *error) {
    tb_arena *work = tb_arena_create(tb_arena_budget(arena));
    if (!work) return tb_out_of_memory(error);
    tb_pixels pixels = {0};
    tiba_status status = run(&pixels, arena, work, how, picture, error);
    tb_arena_destroy(work);
    if (status == TIBA_OK) *out = pixels;
    return status;
}

/* "N" (height = N, width = 0) or "HxW". */
static bool parse_size(int *height, int *width, const char *text) {
    char *end;
    long h = strtol(text, &end, 10), w = 0;
    if (end == text || h < 1 || h > 65536) return false;
    if (*end == 'x') {
        const char *second = end + 1;
        w = strtol(second, &end, 10);
        if (end == second || w < 1 || w > 65536) return false;
    }
    *height = (int)h;
    *width = (int)w;
    return *end == '\0';
}

static bool parse_channels(float *out, const char *text, bool zero_allowed) {
    int count = 0;
    for (;;) {
        char *end;
        float value = strtof(text, &end);
        if (end == text || count == 3 || !isfinite(value) || (!zero_allowed && value == 0.0f))
            return false;
        out[count++] = value;
        if (*end == '\0') break;
        if (*end != ',') return false;
        text = end + 1;
    }
    if (count == 1) out[1] = out[2] = out[0];
    return count == 1 || count == 3;
}

static bool set_option(tb_preprocess *how, const char *name, const char *value) {
    int height, width;
    float channels[3];
    if (strcmp(name, "size") == 0) {
        if (!parse_size(&height, &width, value)) return false;
        bool keeps = width == 0 && how->resize == TB_RESIZE_SHORTEST;
        how->resize = keeps ? TB_RESIZE_SHORTEST : TB_RESIZE_EXACT;
        how->height = height;
        how->width = width ? width : height;
    } else if (strcmp(name, "crop") == 0) {
        how->crop = strcmp(value, "none") != 0;
        if (how->crop && !parse_size(&height, &width, value)) return false;
        if (how->crop) {
            how->crop_height = height;
            how->crop_width = width ? width : height;
        }
    } else if (strcmp(name, "mean") == 0 || strcmp(name, "std") == 0) {
        bool mean = *name == 'm';
        if (!parse_channels(channels, value, mean)) return false;
        for (int c = 0; c < 3 && !how->normalize; c++) how->mean[c] = 0.0f, how->std[c] = 1.0f;
        how->normalize = true;
        memcpy(mean ? how->mean : how->std, channels, sizeof channels);
    } else if (strcmp(name, "resample") == 0) {
        bool number = value[0] >= '0' && value[0] < '0' + TB_FILTERS && value[1] == '\0';
        if (number) how->filter = (tb_filter)(value[0] - '0');
        return number || tb_filter_from_name(&how->filter, value);
    } else if (strcmp(name, "layout") == 0) {
        how->channels_last = strcmp(value, "nhwc") == 0;
        return how->channels_last || strcmp(value, "nchw") == 0;
    } else {
        return false;
    }
    return true;
}

static const char *expected(const char *name) {
    static const char *const forms[][2] = {
        {"size", "N or HEIGHTxWIDTH"},
        {"crop", "N, HEIGHTxWIDTH or none"},
        {"mean", "a number, or three with commas"},
        {"std", "a number, or three with commas, not 0"},
        {"resample", "nearest, box, bilinear, hamming, bicubic or lanczos"},
        {"layout", "nchw or nhwc"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(name, forms[i][0]) == 0) return forms[i][1];
    return "another option";
}

tiba_status tb_preprocess_override(tb_preprocess *how, const char *name, const char *value,
                                   tiba_error *error) {
    tb_preprocess changed = *how;
    if (!set_option(&changed, name, value))
        return tb_fail(error, TIBA_ERROR_USAGE, "--%s %s: expected %s", name, value,
                       expected(name));
    *how = changed;
    return TIBA_OK;
}

char *tb_preprocess_describe(char *text, size_t capacity, const tb_preprocess *how) {
    char size[64], crop[64] = "", norm[160] = "";
    if (how->resize == TB_RESIZE_NONE)
        snprintf(size, sizeof size, "no resize");
    else if (how->resize == TB_RESIZE_SHORTEST)
        snprintf(size, sizeof size, "shorter edge to %d", how->height);
    else
        snprintf(size, sizeof size, "%s%dx%d",
                 how->resize == TB_RESIZE_COVER     ? "cover "
                 : how->resize == TB_RESIZE_BOUNDED ? "edges at most "
                                                    : "",
                 how->height, how->width);
    if (how->crop)
        snprintf(crop, sizeof crop, ", centre crop %dx%d", how->crop_height, how->crop_width);
    if (how->normalize)
        snprintf(norm, sizeof norm, ", mean %g,%g,%g std %g,%g,%g", (double)how->mean[0],
                 (double)how->mean[1], (double)how->mean[2], (double)how->std[0],
                 (double)how->std[1], (double)how->std[2]);
    snprintf(text, capacity, "%s (%s)%s%s%s", size, tb_filter_name(how->filter), crop, norm,
             how->flip_channels ? ", BGR" : "");
    return text;
}
