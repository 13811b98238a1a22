/*
 * resample.c: separable resampling in two passes with fixed-point coefficients (22 fractional
 * bits), as Pillow's: coefficients in double, taps outside the picture dropped and the rest
 * renormalised, each pass rounded and clamped to 8 bits. Compile without contraction into FMA.
 */
#include "io/resample.h"

#include <math.h>
#include <string.h>

enum { PRECISION = 22 };
static const double pi = 3.14159265358979323846;

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x) {
    x = fabs(x);
    if (x == 0.0) return 1.0;
    if (x >= 1.0) return 0.0;
    x *= pi;
    return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x));
}

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static double sinc(double x) {
    return x == 0.0 ? 1.0 : sin(x * pi) / (x * pi);
}

static double lanczos(double x) {
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const struct {
    const char *name;
    double support;
    double (*weight)(double);
} filters[TB_FILTERS] = {
    [TB_FILTER_NEAREST] = {"nearest", 0.0, NULL},
    [TB_FILTER_LANCZOS] = {"lanczos", 3.0, lanczos},
    [TB_FILTER_BILINEAR] = {"bilinear", 1.0, triangle},
    [TB_FILTER_BICUBIC] = {"bicubic", 2.0, cubic},
    [TB_FILTER_BOX] = {"box", 0.5, box},
    [TB_FILTER_HAMMING] = {"hamming", 1.0, hamming},
};

const char *tb_filter_name(tb_filter filter) {
    return filters[filter].name;
}

bool tb_filter_from_name(tb_filter *out, const char *name) {
    for (int i = 0; i < TB_FILTERS; i++)
        if (strcmp(name, filters[i].name) == 0) {
            *out = (tb_filter)i;
            return true;
        }
    return false;
}

/* One axis of a window: which input elements an output element is made of, and their weights. */
typedef struct axis {
    int count, taps;   /* output elements; room for weights per element */
    int low, high;     /* the input elements that are touched: low … high - 1 */
    int *first, *used; /* [count] */
    double *weight;    /* [count × taps] */
    int32_t *fixed;    /* the same as fixed-point numbers; NULL if not wanted */
} axis;

static bool axis_alloc(axis *a, tb_arena *arena, int count, int64_t taps) {
    size_t weights;
    *a = (axis){.count = count, .taps = (int)taps};
    if (taps > INT32_MAX / 2 || !tb_size_mul(&weights, (size_t)count, (size_t)taps)) return false;
    a->first = TB_NEW(arena, int, count);
    a->used = TB_NEW(arena, int, count);
    a->weight = TB_NEW(arena, double, weights);
    a->fixed = TB_NEW(arena, int32_t, weights);
    return a->first && a->used && a->weight && a->fixed;
}

/* Output elements start … start + count - 1 of the `out` that `in` elements become. */
static bool axis_create(axis *a, tb_arena *arena, int in, int out, int start, int count,
                        tb_filter filter) {
    double scale = (double)in / out, spread = scale > 1.0 ? scale : 1.0;
    double support = filters[filter].support * spread, step = 1.0 / spread;
    double room = ceil(support) * 2.0 + 1.0;
    if (!axis_alloc(a, arena, count, (int64_t)(room < in ? room : in))) return false;
    a->low = in;
    for (int i = 0; i < count; i++) {
        double centre = ((double)(start + i) + 0.5) * scale;
        double from = centre - support + 0.5, to = centre + support + 0.5;
        int first = from > 0.0 ? (int)from : 0, end = to < in ? (int)to : in;
        double *weight = a->weight + (size_t)i * (size_t)a->taps, sum = 0.0;
        int used = end - first;
        for (int k = 0; k < used; k++) {
            weight[k] = filters[filter].weight(((double)(k + first) - centre + 0.5) * step);
            sum += weight[k];
        }
        for (int k = 0; k < used; k++) {
            if (sum != 0.0) weight[k] /= sum;
            double fixed = weight[k] * (1 << PRECISION);
            a->fixed[(size_t)i * (size_t)a->taps + (size_t)k] =
                (int32_t)(fixed < 0.0 ? fixed - 0.5 : fixed + 0.5);
        }
        a->first[i] = first;
        a->used[i] = used;
        if (first < a->low) a->low = first;
        if (end > a->high) a->high = end;
    }
    return true;
}

/* Weight 1 at the element itself: an axis whose size does not change. */
static bool axis_identity(axis *a, tb_arena *arena, int start, int count) {
    if (!axis_alloc(a, arena, count, 1)) return false;
    for (int i = 0; i < count; i++) {
        a->first[i] = start + i;
        a->used[i] = 1;
        a->weight[i] = 1.0;
        a->fixed[i] = 1 << PRECISION;
    }
    a->low = start;
    a->high = start + count;
    return true;
}

static uint8_t to_byte(int32_t sum) {
    int32_t value = sum >> PRECISION;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

/* Rows `rows` of `in` (stride in bytes) become rows of a->count pixels. Input column a->low is the
 * first one of `in`. */
static void pass_horizontal(uint8_t *out, const uint8_t *in, size_t stride, int rows,
                            const axis *a) {
    for (int y = 0; y < rows; y++, in += stride) {
        for (int x = 0; x < a->count; x++, out += 3) {
            const uint8_t *pixel = in + 3 * (size_t)(a->first[x] - a->low);
            const int32_t *k = a->fixed + (size_t)x * (size_t)a->taps;
            int32_t sum[3] = {1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1)};
            for (int i = 0; i < a->used[x]; i++, pixel += 3)
                for (int c = 0; c < 3; c++) sum[c] += pixel[c] * k[i];
            for (int c = 0; c < 3; c++) out[c] = to_byte(sum[c]);
        }
    }
}

/* `columns` columns of `in` become a->count rows. Input row a->low is the first one of `in`. The
 * sums of a whole row are kept, so that memory is walked in order. */
static void pass_vertical(uint8_t *out, const uint8_t *in, size_t stride, int columns,
                          const axis *a, int32_t *sums) {
    size_t samples = 3 * (size_t)columns;
    for (int y = 0; y < a->count; y++, out += samples) {
        const uint8_t *row = in + stride * (size_t)(a->first[y] - a->low);
        const int32_t *k = a->fixed + (size_t)y * (size_t)a->taps;
        for (size_t i = 0; i < samples; i++) sums[i] = 1 << (PRECISION - 1);
        for (int t = 0; t < a->used[y]; t++, row += stride)
            for (size_t i = 0; i < samples; i++) sums[i] += row[i] * k[t];
        for (size_t i = 0; i < samples; i++) out[i] = to_byte(sums[i]);
    }
}

/* The positions are accumulated, from the first one on, window or not: their rounding shows. */
static void nearest_positions(int *out, int in, int size, int start, int count) {
    double step = (double)in / size, position = step * 0.5;
    for (int i = 0; i < start + count; i++, position += step) {
        int source = (int)position;
        if (i >= start) out[i - start] = source < in ? source : in - 1;
    }
}

static bool resample_nearest(tb_picture *out, tb_arena *arena, const tb_picture *in,
                             const tb_resample_size *size) {
    int *column = TB_NEW(arena, int, out->width), *row = TB_NEW(arena, int, out->height);
    if (!column || !row) return false;
    nearest_positions(column, in->width, size->width, size->left, out->width);
    nearest_positions(row, in->height, size->height, size->top, out->height);
    uint8_t *to = out->rgb;
    for (int y = 0; y < out->height; y++) {
        const uint8_t *from = in->rgb + 3 * (size_t)in->width * (size_t)row[y];
        for (int x = 0; x < out->width; x++, to += 3) memcpy(to, from + 3 * (size_t)column[x], 3);
    }
    return true;
}

/* An axis is filtered if its size changes; otherwise its part of the window is cut out. */
static bool make_axes(axis *h, axis *v, tb_arena *arena, const tb_picture *in,
                      const tb_resample_size *s, tb_filter filter) {
    return (s->width == in->width
                ? axis_identity(h, arena, s->left, s->window_width)
                : axis_create(h, arena, in->width, s->width, s->left, s->window_width, filter)) &&
           (s->height == in->height
                ? axis_identity(v, arena, s->top, s->window_height)
                : axis_create(v, arena, in->height, s->height, s->top, s->window_height, filter));
}

static bool resample_filtered(tb_picture *out, tb_arena *work, const tb_picture *in,
                              const tb_resample_size *s, tb_filter filter, bool horizontal_first) {
    axis h, v;
    if (!make_axes(&h, &v, work, in, s, filter)) return false;
    size_t stride = 3 * (size_t)in->width;
    const uint8_t *corner = in->rgb + stride * (size_t)v.low + 3 * (size_t)h.low;
    bool vertical_first = !horizontal_first && s->height < in->height &&
                          (int64_t)in->height - s->height > 2 * ((int64_t)in->width - s->width);
    int columns = vertical_first ? h.high - h.low : h.count;
    int rows = vertical_first ? v.count : v.high - v.low;
    uint8_t *between = tb_arena_alloc(work, 3 * (size_t)columns, (size_t)rows);
    int32_t *sums = TB_NEW(work, int32_t, 3 * (size_t)columns);
    if (!between || !sums) return false;
    if (vertical_first) {
        pass_vertical(between, corner, stride, columns, &v, sums);
        pass_horizontal(out->rgb, between, 3 * (size_t)columns, rows, &h);
    } else {
        pass_horizontal(between, corner, stride, rows, &h);
        pass_vertical(out->rgb, between, 3 * (size_t)columns, columns, &v, sums);
    }
    return true;
}

/* The window lies in the result, and what is asked for is of a bearable size. */
static tiba_status check_size(const tb_resample_size *s, tiba_error *error) {
    bool sound = s->width > 0 && s->height > 0 && s->left >= 0 && s->top >= 0 &&
                 s->window_width > 0 && s->window_height > 0 &&
                 s->window_width <= s->width - s->left && s->window_height <= s->height - s->top;
    if (!sound)
        return tb_fail(error, TIBA_ERROR_USAGE, "a window outside the resized picture of %d x %d",
                       s->width, s->height);
    if ((int64_t)s->window_width * s->window_height > TB_PICTURE_MAX_PIXELS)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "a resized picture of %d x %d pixels is over the limit of %lld pixels",
                       s->window_width, s->window_height, (long long)TB_PICTURE_MAX_PIXELS);
    return TIBA_OK;
}

tiba_status tb_resample(tb_picture *out, tb_arena *arena, const tb_picture *in,
                        const tb_resample_size *size, tb_filter filter, bool horizontal_first,
                        tiba_error *error) {
    TB_TRY(check_size(size, error));
    tb_picture result = {.width = size->window_width, .height = size->window_height};
    result.rgb = tb_arena_alloc(arena, 3 * (size_t)result.width, (size_t)result.height);
    tb_arena *work = tb_arena_create(tb_arena_budget(arena));
    bool done = result.rgb && work &&
                (filter == TB_FILTER_NEAREST
                     ? resample_nearest(&result, work, in, size)
                     : resample_filtered(&result, work, in, size, filter, horizontal_first));
    tb_arena_destroy(work);
    if (!done) return tb_out_of_memory(error);
    *out = result;
    return TIBA_OK;
}

static bool resample_float(float *out, tb_arena *work, const tb_picture *in, float scale,
                           const tb_resample_size *s, tb_filter filter) {
    axis h, v;
    if (!make_axes(&h, &v, work, in, s, filter)) return false;
    int rows = v.high - v.low;
    size_t samples = 3 * (size_t)h.count;
    float *between = tb_arena_alloc(work, samples * sizeof *between, (size_t)rows), *to = between;
    double *sums = TB_NEW(work, double, samples);
    if (!between || !sums) return false;
    for (int y = 0; y < rows; y++) {
        const uint8_t *row = in->rgb + 3 * (size_t)in->width * (size_t)(v.low + y);
        for (int x = 0; x < h.count; x++, to += 3) {
            const uint8_t *pixel = row + 3 * (size_t)h.first[x];
            const double *k = h.weight + (size_t)x * (size_t)h.taps;
            double sum[3] = {0};
            for (int i = 0; i < h.used[x]; i++, pixel += 3)
                for (int c = 0; c < 3; c++) sum[c] += (double)((float)pixel[c] * scale) * k[i];
            for (int c = 0; c < 3; c++) to[c] = (float)sum[c];
        }
    }
    for (int y = 0; y < v.count; y++, out += samples) {
        const float *row = between + samples * (size_t)(v.first[y] - v.low);
        const double *k = v.weight + (size_t)y * (size_t)v.taps;
        for (size_t i = 0; i < samples; i++) sums[i] = 0.0;
        for (int t = 0; t < v.used[y]; t++, row += samples)
            for (size_t i = 0; i < samples; i++) sums[i] += (double)row[i] * k[t];
        for (size_t i = 0; i < samples; i++) out[i] = (float)sums[i];
    }
    return true;
}

tiba_status tb_resample_float(float **out, tb_arena *arena, const tb_picture *in, float scale,
                              const tb_resample_size *size, tb_filter filter, tiba_error *error) {
    TB_TRY(check_size(size, error));
    if (filter == TB_FILTER_NEAREST)
        return tb_fail(error, TIBA_ERROR_USAGE, "nearest has no form on floats");
    float *result = tb_arena_alloc(arena, 3 * (size_t)size->window_width * sizeof *result,
                                   (size_t)size->window_height);
    tb_arena *work = tb_arena_create(tb_arena_budget(arena));
    bool done = result && work && resample_float(result, work, in, scale, size, filter);
    tb_arena_destroy(work);
    if (!done) return tb_out_of_memory(error);
    *out = result;
    return TIBA_OK;
}
