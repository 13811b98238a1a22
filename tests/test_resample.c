/* Resampling against a direct evaluation of the definition, windows, pass order, hostile sizes. */
#include "tests/check.h"

#include "io/resample.h"
#include "tests/support.h"

static tb_arena *arena;

static tb_picture noise(int width, int height, uint64_t seed, bool extreme) {
    tb_picture p = {.width = width, .height = height};
    size_t n = 3 * (size_t)width * (size_t)height;
    p.rgb = tb_arena_alloc(arena, n, 1);
    for (size_t i = 0; i < n; i++) {
        double u = test_uniform(&seed);
        p.rgb[i] = extreme ? (u < 0.5 ? 0 : 255) : (uint8_t)(u * 256);
    }
    return p;
}

/* --- the definition, one output value at a time, with no thought of speed --- */

static double weight_of(tb_filter filter, double x) {
    const double pi = 3.14159265358979323846, a = fabs(x);
    switch (filter) {
    case TB_FILTER_BOX:
        return x > -0.5 && x <= 0.5 ? 1 : 0;
    case TB_FILTER_BILINEAR:
        return a < 1 ? 1 - a : 0;
    case TB_FILTER_HAMMING:
        return a == 0   ? 1
               : a >= 1 ? 0
                        : sin(a * pi) / (a * pi) * ((double)0.54f + (double)0.46f * cos(a * pi));
    case TB_FILTER_BICUBIC:
        return a < 1   ? ((-0.5 + 2) * a - (-0.5 + 3)) * a * a + 1
               : a < 2 ? (((a - 5) * a + 8) * a - 4) * -0.5
                       : 0;
    default:
        if (x < -3 || x >= 3) return 0;
        return (x == 0 ? 1 : sin(x * pi) / (x * pi)) *
               (x == 0 ? 1 : sin(x / 3 * pi) / (x / 3 * pi));
    }
}

static double filter_support(tb_filter filter) {
    return filter == TB_FILTER_BOX       ? 0.5
           : filter == TB_FILTER_BICUBIC ? 2
           : filter == TB_FILTER_LANCZOS ? 3
                                         : 1;
}

/* One axis of one line of `in` elements, `stride` bytes apart, to element xx of m. */
static uint8_t direct(const uint8_t *line, size_t stride, int in, int m, int xx, tb_filter filter) {
    double scale = (double)in / m, fs = scale > 1 ? scale : 1, S = filter_support(filter) * fs;
    double c = (xx + 0.5) * scale, w[2000], W = 0;
    int xmin = (int)(c - S + 0.5), xmax = (int)(c + S + 0.5);
    if (xmin < 0) xmin = 0;
    if (xmax > in) xmax = in;
    for (int x = 0; x < xmax - xmin; x++) {
        w[x] = weight_of(filter, (x + xmin - c + 0.5) * (1 / fs));
        W += w[x];
    }
    int acc = 1 << 21;
    for (int x = 0; x < xmax - xmin; x++) {
        double k = W != 0 ? w[x] / W : w[x];
        acc += line[(size_t)(xmin + x) * stride] *
               (int)(k < 0 ? k * 4194304.0 - 0.5 : k * 4194304.0 + 0.5);
    }
    acc >>= 22;
    return (uint8_t)(acc < 0 ? 0 : acc > 255 ? 255 : acc);
}

static tb_picture direct_pass(const tb_picture *in, int size, bool vertical, tb_filter filter) {
    tb_picture out = {.width = vertical ? in->width : size, .height = vertical ? size : in->height};
    if (size == (vertical ? in->height : in->width)) return *in;
    out.rgb = tb_arena_alloc(arena, 3 * (size_t)out.width * (size_t)out.height, 1);
    size_t row = 3 * (size_t)in->width;
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++)
            for (int c = 0; c < 3; c++)
                out.rgb[3 * (y * out.width + x) + c] =
                    vertical ? direct(in->rgb + 3 * x + c, row, in->height, size, y, filter)
                             : direct(in->rgb + (size_t)y * row + c, 3, in->width, size, x, filter);
    return out;
}

static tb_picture direct_resample(const tb_picture *in, int w, int h, tb_filter filter,
                                  bool horizontal_first) {
    bool vertical_first =
        !horizontal_first && h < in->height && in->height - h > 2 * (in->width - w);
    tb_picture between = direct_pass(in, vertical_first ? h : w, vertical_first, filter);
    return direct_pass(&between, vertical_first ? w : h, !vertical_first, filter);
}

static void test_definition(void) {
    uint64_t seed = 7;
    for (int round = 0; round < 250; round++) {
        int W = 1 + (int)(test_uniform(&seed) * 70), H = 1 + (int)(test_uniform(&seed) * 70);
        int w = 1 + (int)(test_uniform(&seed) * 90), h = 1 + (int)(test_uniform(&seed) * 90);
        if (round % 7 == 0) w = W;
        if (round % 11 == 0) h = H;
        tb_filter filter = (tb_filter)(1 + round % 5);
        bool old = round % 3 == 0;
        tb_picture in = noise(W, H, (uint64_t)round + 1, round & 1), got;
        tb_resample_size size = {.width = w, .height = h, .window_width = w, .window_height = h};
        CHECK(tb_resample(&got, arena, &in, &size, filter, old, NULL) == TIBA_OK);
        tb_picture want = direct_resample(&in, w, h, filter, old);
        CHECK_CASE(memcmp(got.rgb, want.rgb, 3 * (size_t)w * (size_t)h) == 0, "%s %dx%d to %dx%d",
                   tb_filter_name(filter), W, H, w, h);
    }
}

/* A window is a part of the whole, whatever the filter. */
static void test_windows(void) {
    uint64_t seed = 3;
    for (int round = 0; round < 200; round++) {
        tb_filter filter = (tb_filter)(round % TB_FILTERS);
        int W = 1 + (int)(test_uniform(&seed) * 60), H = 1 + (int)(test_uniform(&seed) * 60);
        int w = 1 + (int)(test_uniform(&seed) * 60), h = 1 + (int)(test_uniform(&seed) * 60);
        if (round % 5 == 0) w = W, h = H;
        tb_picture in = noise(W, H, (uint64_t)round + 1, false), whole, part;
        tb_resample_size size = {.width = w, .height = h, .window_width = w, .window_height = h};
        CHECK(tb_resample(&whole, arena, &in, &size, filter, false, NULL) == TIBA_OK);
        size.left = (int)(test_uniform(&seed) * w), size.top = (int)(test_uniform(&seed) * h);
        size.window_width = 1 + (int)(test_uniform(&seed) * (w - size.left));
        size.window_height = 1 + (int)(test_uniform(&seed) * (h - size.top));
        CHECK(tb_resample(&part, arena, &in, &size, filter, false, NULL) == TIBA_OK);
        int wrong = 0;
        for (int y = 0; y < part.height; y++)
            wrong += memcmp(part.rgb + 3 * y * part.width,
                            whole.rgb + 3 * ((y + size.top) * w + size.left),
                            3 * (size_t)part.width) != 0;
        CHECK_CASE(wrong == 0, "%s: %d rows", tb_filter_name(filter), wrong);
    }
}

static void test_nearest(void) {
    for (int W = 1; W < 300; W += 13)
        for (int w = 1; w < 300; w += 17) {
            tb_picture in = noise(W, 1, (uint64_t)(W * w), false), got;
            tb_resample_size size = {
                .width = w, .height = 1, .window_width = w, .window_height = 1};
            CHECK(tb_resample(&got, arena, &in, &size, TB_FILTER_NEAREST, false, NULL) == TIBA_OK);
            double step = (double)W / w, at = step * 0.5;
            int wrong = 0;
            for (int x = 0; x < w; x++, at += step)
                wrong += memcmp(got.rgb + 3 * x, in.rgb + 3 * (int)at, 3) != 0;
            CHECK(wrong == 0);
        }
}

static void test_float(void) {
    tb_picture in = noise(23, 31, 5, false), bytes;
    for (int f = 1; f < TB_FILTERS; f++) {
        tb_resample_size size = {
            .width = 11, .height = 40, .left = 2, .top = 3, .window_width = 8, .window_height = 30};
        float *got;
        CHECK(tb_resample_float(&got, arena, &in, 1.0f / 255, &size, (tb_filter)f, NULL) ==
              TIBA_OK);
        CHECK(tb_resample(&bytes, arena, &in, &size, (tb_filter)f, true, NULL) == TIBA_OK);
        float worst = 0;
        for (int i = 0; i < 8 * 30 * 3; i++) {
            float value = fminf(fmaxf(got[i] * 255, 0), 255);
            worst = fmaxf(worst, fabsf(value - (float)bytes.rgb[i]));
        }
        CHECK_CASE(worst < 1.6f, "%s: %g levels", tb_filter_name((tb_filter)f), (double)worst);
    }
    float *got;
    tb_resample_size same = {.width = 23, .height = 31, .window_width = 23, .window_height = 31};
    CHECK(tb_resample_float(&got, arena, &in, 0.5f, &same, TB_FILTER_BICUBIC, NULL) == TIBA_OK);
    for (int i = 0; i < 23 * 31 * 3; i++) CHECK(got[i] == 0.5f * (float)in.rgb[i]);
    CHECK(tb_resample_float(&got, arena, &in, 1, &same, TB_FILTER_NEAREST, NULL) ==
          TIBA_ERROR_USAGE);
}

/* A strip one pixel wide, its shorter edge enlarged: only the window is ever made. */
static void test_extremes(void) {
    tb_picture in = noise(100000, 1, 5, false), got;
    tb_resample_size size = {.width = 22400000,
                             .height = 224,
                             .left = 11199888,
                             .window_width = 224,
                             .window_height = 224};
    for (int f = 0; f < TB_FILTERS; f++)
        CHECK(tb_resample(&got, arena, &in, &size, (tb_filter)f, false, NULL) == TIBA_OK);
    size.window_width = 22400000, size.left = 0;
    CHECK(tb_resample(&got, arena, &in, &size, TB_FILTER_BILINEAR, false, NULL) ==
          TIBA_ERROR_INPUT);
    tb_resample_size outside[] = {{5, 5, 3, 0, 3, 5},
                                  {5, 5, -1, 0, 2, 2},
                                  {0, 5, 0, 0, 1, 1},
                                  {5, 5, 0, 0, 0, 1},
                                  {5, 5, 0, 5, 1, 1}};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        CHECK(tb_resample(&got, arena, &in, &outside[i], TB_FILTER_BOX, false, NULL) ==
              TIBA_ERROR_USAGE);
    tb_filter filter;
    CHECK(tb_filter_from_name(&filter, "lanczos") && filter == TB_FILTER_LANCZOS);
    CHECK(!tb_filter_from_name(&filter, "random"));
}

int main(void) {
    void (*const tests[])(void) = {test_definition, test_windows, test_nearest, test_float,
                                   test_extremes};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        arena = tb_arena_create(NULL);
        tests[i]();
        tb_arena_destroy(arena);
    }
    TEST_END();
}
