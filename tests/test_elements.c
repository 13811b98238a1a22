/*
 * test_elements.c: element-wise kernels beyond what the ONNX tests look at: the accuracy of our own
 * exp, tanh, sigmoid, erf and GELU over all float32 magnitudes; the corners of integer arithmetic;
 * broadcasting of every pattern against index arithmetic; the same bytes at any thread count.
 */
#include <stdlib.h>

#include "check.h"
#include "node.h"
#include "runtime/vector_math.h"
#include "support.h"

/* ---------------------------------------------------------------- accuracy */

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double gelu(double x) {
    return x == -INFINITY ? 0 : 0.5 * x * erfc(-x / sqrt(2.0));
}

static double gelu_tanh(double x) {
    return x == -INFINITY
               ? 0
               : x * sigmoid(sqrt(8 / 3.14159265358979323846) * (x + 0.044715 * x * x * x));
}

/* `ulps` holds where |x| <= range; farther out, where the exponent's rounding shows, `far`. */
static const struct {
    const char *op, *approximate;
    double (*want)(double);
    double ulps, range, far;
} functions[] = {
    {"Exp", NULL, exp, 2, INFINITY, 2},         {"Tanh", NULL, tanh, 2, INFINITY, 2},
    {"Sigmoid", NULL, sigmoid, 3, INFINITY, 3}, {"Erf", NULL, erf, 2, INFINITY, 2},
    {"Gelu", "none", gelu, 4, 12, 16},          {"Gelu", "tanh", gelu_tanh, 24, 4, 200},
    {"Swish", NULL, NULL, 4, 87, 100},
};

/* Distance in units of the last place of the wanted value. */
static double ulps(float got, double want) {
    if (want != want) return got == got ? INFINITY : 0;
    if (got == (float)want) return 0;
    int exponent;
    frexp(want, &exponent);
    return fabs((double)got - want) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

static void check_accuracy(void) {
    enum { COUNT = 1 << 18, STRIDE = 16381 };
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        tb_arena *arena = tb_arena_create(NULL);
        tb_exec exec = {0};
        tiba_error error = {0};
        tiba_tensor x, y;
        tb_tensor_create(&x, arena, TIBA_FLOAT32, 1, (int64_t[]){COUNT + 3}, NULL);
        float *in = x.data;
        for (uint32_t i = 0; i < COUNT; i++) in[i] = tb_float_from_bits(i * STRIDE);
        in[COUNT] = INFINITY, in[COUNT + 1] = -INFINITY, in[COUNT + 2] = NAN;
        const char *form = functions[f].approximate;
        const tb_attr attr = {.name = "approximate", .kind = TB_ATTR_STRING, .s = form};
        CHECK_CASE(test_node(&y, arena, &exec, "", functions[f].op, 1, &x, form != NULL, &attr,
                             &error) == TIBA_OK,
                   "%s", error.message);
        const float *out = y.data;
        double worst[2] = {0};
        float at[2] = {0};
        for (int i = 0; i < COUNT + 3; i++) {
            const double v = (double)in[i];
            const double want = functions[f].want ? functions[f].want(v)
                                : v == -INFINITY  ? NAN /* as its definition says */
                                                  : v * sigmoid(v);
            const int far = fabs(v) > functions[f].range;
            const double off = ulps(out[i], want);
            if (off > worst[far]) worst[far] = off, at[far] = in[i];
        }
        CHECK_CASE(worst[0] <= functions[f].ulps, "%s is %.2f ulps off at %.9g", functions[f].op,
                   worst[0], (double)at[0]);
        CHECK_CASE(worst[1] <= functions[f].far, "%s is %.2f ulps off at %.9g", functions[f].op,
                   worst[1], (double)at[1]);
        tb_scratch_free(&exec);
        tb_arena_destroy(arena);
    }
}

/* ---------------------------------------------------------------- integers */

static const struct {
    const char *op;
    tiba_dtype dtype;
    int64_t a, b, want; /* uint64 by its bits */
    int64_t fmod;
} integers[] = {
    {"Add", TIBA_UINT8, 250, 10, 4, 0},
    {"Add", TIBA_INT8, 127, 1, -128, 0},
    {"Add", TIBA_INT64, INT64_MAX, 1, INT64_MIN, 0},
    {"Sub", TIBA_UINT32, 1, 2, 4294967295, 0},
    {"Mul", TIBA_INT32, 65536, 65536, 0, 0},
    {"Div", TIBA_INT64, -7, 2, -3, 0},
    {"Div", TIBA_INT64, 7, -2, -3, 0},
    {"Div", TIBA_INT64, 7, 0, 0, 0},
    {"Div", TIBA_INT64, INT64_MIN, -1, INT64_MIN, 0},
    {"Div", TIBA_INT8, -128, -1, -128, 0},
    {"Div", TIBA_UINT64, -1, 2, INT64_MAX, 0},
    {"Mod", TIBA_INT64, -7, 3, 2, 0},
    {"Mod", TIBA_INT64, 7, -3, -2, 0},
    {"Mod", TIBA_INT64, -7, 3, -1, 1},
    {"Mod", TIBA_INT64, 7, 0, 0, 0},
    {"Mod", TIBA_INT64, INT64_MIN, -1, 0, 0},
    {"Mod", TIBA_UINT64, -1, 10, 5, 0},
    {"Pow", TIBA_INT64, -3, 3, -27, 0},
    {"Pow", TIBA_INT32, 2, -1, 0, 0},
    {"Pow", TIBA_INT32, -1, -3, -1, 0},
    {"Pow", TIBA_UINT8, 3, 6, 217, 0},
    {"Max", TIBA_UINT64, -1, 1, -1, 0},
    {"Max", TIBA_INT64, -1, 1, 1, 0},
    {"Min", TIBA_UINT64, -1, 1, 1, 0},
    {"Greater", TIBA_UINT64, -1, 1, 1, 0},
    {"Greater", TIBA_INT64, -1, 1, 0, 0},
    {"BitwiseXor", TIBA_INT16, -1, 1, -2, 0},
};

static void check_integers(void) {
    for (size_t k = 0; k < sizeof integers / sizeof *integers; k++) {
        tb_arena *arena = tb_arena_create(NULL);
        tb_exec exec = {0};
        tiba_error error = {0};
        tiba_tensor in[2], y;
        for (int i = 0; i < 2; i++) {
            tb_tensor_create(&in[i], arena, integers[k].dtype, 0, NULL, NULL);
            tb_set_i64(&in[i], 0, i ? integers[k].b : integers[k].a);
        }
        const tb_attr attr = {.name = "fmod", .kind = TB_ATTR_INT, .i = integers[k].fmod};
        const tiba_status status =
            test_node(&y, arena, &exec, "", integers[k].op, 2, in, 1, &attr, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", integers[k].op, error.message);
        if (status == TIBA_OK)
            CHECK_CASE(tb_get_i64(&y, 0) == integers[k].want, "%s(%lld, %lld) is %lld",
                       integers[k].op, (long long)integers[k].a, (long long)integers[k].b,
                       (long long)tb_get_i64(&y, 0));
        tb_scratch_free(&exec);
        tb_arena_destroy(arena);
    }
}

/* ---------------------------------------------------------------- casts */

static const struct {
    double value;
    tiba_dtype to;
    int64_t want;
} casts[] = {
    {-1.9, TIBA_INT32, -1},        {1.9, TIBA_INT64, 1},
    {0.5, TIBA_BOOL, 1},           {-0.0, TIBA_BOOL, 0},
    {NAN, TIBA_BOOL, 1},           {NAN, TIBA_INT64, 0},
    {1e30, TIBA_INT64, INT64_MAX}, {257, TIBA_UINT8, 1},
    {-1, TIBA_UINT8, 255},         {1e19, TIBA_UINT64, (int64_t)9999999980506447872u},
};

static void check_casts(void) {
    for (size_t k = 0; k < sizeof casts / sizeof *casts; k++) {
        tb_arena *arena = tb_arena_create(NULL);
        tb_exec exec = {0};
        tiba_tensor x, y;
        tb_tensor_create(&x, arena, TIBA_FLOAT32, 0, NULL, NULL);
        tb_set_f64(&x, 0, casts[k].value);
        const tb_attr attr = {.name = "to", .kind = TB_ATTR_INT, .i = casts[k].to};
        CHECK(test_node(&y, arena, &exec, "", "Cast", 1, &x, 1, &attr, NULL) == TIBA_OK);
        CHECK_CASE(tb_get_i64(&y, 0) == casts[k].want, "%g to %s is %lld", casts[k].value,
                   tb_dtype_name(casts[k].to), (long long)tb_get_i64(&y, 0));
        tb_arena_destroy(arena);
    }
}

/* ---------------------------------------------------------------- broadcasting, threads */

/* Each of four axes is of both operands, of one, of the other, or 1 in both. */
static void check_broadcasting(void) {
    static const int64_t sizes[] = {2, 3, 1, 5};
    uint64_t random = 3;
    for (int pattern = 0; pattern < 256; pattern++) {
        tb_arena *arena = tb_arena_create(NULL);
        tb_exec exec = {0};
        tiba_error error = {0};
        tiba_tensor in[2] = {{.rank = 4}, {.rank = 4}}, y;
        for (int i = 0; i < 2; i++) {
            int64_t dims[4];
            for (int axis = 0; axis < 4; axis++)
                dims[axis] = (pattern >> (2 * axis + i) & 1) ? 1 : sizes[axis];
            int skip = 0; /* leading ones may be left out */
            while (i == 1 && skip < 4 && dims[skip] == 1) skip++;
            tb_tensor_create(&in[i], arena, TIBA_FLOAT32, 4 - skip, dims + skip, NULL);
            for (int64_t k = 0; k < tb_tensor_count(&in[i]); k++)
                tb_set_f64(&in[i], k, test_uniform(&random));
        }
        CHECK(test_node(&y, arena, &exec, "", "Sub", 2, in, 0, NULL, &error) == TIBA_OK);
        for (int64_t k = 0; k < tb_tensor_count(&y); k++) {
            int64_t at[2] = {0}, rest = k, step[2] = {1, 1};
            for (int axis = y.rank - 1; axis >= 0; axis--) {
                const int64_t index = rest % y.dims[axis];
                rest /= y.dims[axis];
                for (int i = 0; i < 2; i++) {
                    const int own = axis - (y.rank - in[i].rank);
                    if (own < 0) continue;
                    if (in[i].dims[own] != 1) at[i] += index * step[i];
                    step[i] *= in[i].dims[own];
                }
            }
            CHECK(((float *)y.data)[k] ==
                  ((float *)in[0].data)[at[0]] - ((float *)in[1].data)[at[1]]);
        }
        tb_scratch_free(&exec);
        tb_arena_destroy(arena);
    }
}

/* Larger than a tile, and no multiple of it. */
static void check_threads(void) {
    static const struct {
        const char *op;
        int n_in;
        int64_t other[3];
        int64_t axis; /* 0: operands; else the second operand is this axis */
    } rows[] = {
        {"Gelu", 1, {0}, 0},         {"Add", 2, {3, 71, 307}, 0},
        {"Mul", 2, {1, 1, 307}, 0},  {"Div", 2, {3, 71, 1}, 0},
        {"Max", 2, {1, 71, 1}, 0},   {"ReduceMean", 2, {0}, 2},
        {"ReduceSum", 2, {0}, 1},    {"ReduceMax", 2, {0}, -3},
        {"Less", 2, {3, 1, 307}, 0}, {"ReduceLogSumExp", 1, {0}, 0},
    };
    tb_pool *pool = tb_pool_create(NULL, 3);
    uint64_t random = 11;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        tb_arena *arena = tb_arena_create(NULL);
        tb_exec one = {0}, three = {.pool = pool};
        tiba_tensor in[2], y[2];
        tb_tensor_create(&in[0], arena, TIBA_FLOAT32, 3, (int64_t[]){3, 71, 307}, NULL);
        if (rows[r].axis)
            tb_tensor_create(&in[1], arena, TIBA_INT64, 1, (int64_t[]){1}, NULL);
        else
            tb_tensor_create(&in[1], arena, TIBA_FLOAT32, 3, rows[r].other, NULL);
        for (int i = 0; i < 2; i++)
            for (int64_t k = 0; k < tb_tensor_count(&in[i]); k++)
                tb_set_f64(&in[i], k, 4 * test_uniform(&random) - 2);
        if (rows[r].axis) tb_set_i64(&in[1], 0, rows[r].axis);
        CHECK(test_node(&y[0], arena, &one, "", rows[r].op, rows[r].n_in, in, 0, NULL, NULL) ==
              TIBA_OK);
        CHECK(test_node(&y[1], arena, &three, "", rows[r].op, rows[r].n_in, in, 0, NULL, NULL) ==
              TIBA_OK);
        CHECK_CASE(memcmp(y[0].data, y[1].data, tb_tensor_bytes(&y[0])) == 0,
                   "%s depends on the threads", rows[r].op);
        tb_scratch_free(&one);
        tb_scratch_free(&three);
        tb_arena_destroy(arena);
    }
    tb_pool_destroy(pool);
}

int main(void) {
    check_accuracy();
    check_integers();
    check_casts();
    check_broadcasting();
    check_threads();
    TEST_END();
}
