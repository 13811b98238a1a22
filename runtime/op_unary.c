/*
 * op_unary.c: operators of one float operand, y[i] = f(x[i]). One row each: parameters, what the
 * derivative reads, f, f'. A few also take integers (second table).
 */
#include "runtime/broadcast.h"
#include "runtime/elements.h"
#include "runtime/shapes.h"
#include "runtime/vector_math.h"

typedef void value_fn(float *y, const float *x, int64_t n, const float *p);
typedef void grad_fn(float *dx, const float *dy, const float *v, int64_t n, const float *p);
typedef int64_t integer_fn(int64_t x, bool negative);

typedef struct parameter {
    const char *name;
    float fallback;
} parameter;

typedef struct unary {
    value_fn *value;
    grad_fn *grad;
    parameter parameters[2];
    integer_fn *integer; /* NULL: floats only */
} unary;

static tiba_status unary_shape(tb_node *node, bool integers, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    if (x->dtype != TIBA_FLOAT32 && !(integers && tb_dtype_is_integer(x->dtype)))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                            tb_dtype_name(x->dtype));
    return tb_set_out(node, 0, x->dtype, x->rank, x->dims, error);
}

static tiba_status shape_float(tb_node *node, tiba_error *error) {
    return unary_shape(node, false, error);
}

static tiba_status shape_number(tb_node *node, tiba_error *error) {
    return unary_shape(node, true, error);
}

typedef struct job {
    value_fn *value;
    grad_fn *grad;
    float *out;
    const float *in, *dy;
    int64_t count;
    float p[2];
} job;

static void run_tile(void *context, int64_t item, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t at = item * TB_TILE;
    const int64_t n = j->count - at < TB_TILE ? j->count - at : TB_TILE;
    if (j->grad)
        j->grad(j->out + at, j->dy + at, j->in + at, n, j->p);
    else
        j->value(j->out + at, j->in + at, n, j->p);
}

static void read_parameters(float *p, const tb_node *node, const unary *u) {
    for (int i = 0; i < 2; i++)
        p[i] = u->parameters[i].name
                   ? tb_attr_float(node, u->parameters[i].name, u->parameters[i].fallback)
                   : 0.0f;
}

static tiba_status unary_forward(tb_exec *exec, const tb_node *node, const unary *u,
                                 const tiba_tensor *x, tiba_tensor *y) {
    const int64_t count = tb_tensor_count(x);
    if (x->dtype != TIBA_FLOAT32) {
        int64_t run[512];
        const bool is_signed = x->dtype != TIBA_UINT64;
        for (int64_t at = 0; at < count; at += 512) {
            const int64_t n = count - at < 512 ? count - at : 512;
            tb_load_i64(run, x, at, n, 1);
            for (int64_t i = 0; i < n; i++) run[i] = u->integer(run[i], is_signed && run[i] < 0);
            tb_store_i64(y, at, n, run);
        }
        return TIBA_OK;
    }
    job j = {.value = u->value, .out = y->data, .in = x->data, .count = count};
    read_parameters(j.p, node, u);
    tb_parallel_for(exec->pool, tb_tiles(count), run_tile, &j);
    return TIBA_OK;
}

/* `v` is what the derivative reads: the input, the output, or (derivative constant) dy itself. */
static tiba_status unary_vjp(tb_exec *exec, const tb_node *node, const unary *u,
                             const tiba_tensor *v, const tiba_tensor *dy, tiba_tensor *dx) {
    if (!dx) return TIBA_OK;
    const int64_t count = tb_tensor_count(dx);
    if (!dy) {
        memset(dx->data, 0, tb_tensor_bytes(dx));
        return TIBA_OK;
    }
    job j = {.grad = u->grad,
             .out = dx->data,
             .in = v ? v->data : dy->data,
             .dy = dy->data,
             .count = count};
    read_parameters(j.p, node, u);
    tb_parallel_for(exec->pool, tb_tiles(count), run_tile, &j);
    return TIBA_OK;
}

/* What a row's derivative reads, by the name it gives it: x, y, or `none`. */
#define READ_x    in[0]
#define READ_y    out[0]
#define READ_none NULL
#define NEED_x    TB_NEEDS_IN(0)
#define NEED_y    TB_NEEDS_OUT(0)
#define NEED_none 0

/* The two loops of a row. `build` is TB_CLONES where the loop vectorises, else PLAIN. */
#define LOOPS(id, build, reads, f, slope)                                                          \
    build static void id##_value(float *y, const float *x_, int64_t n, const float *p) {           \
        const float p0 = p[0], p1 = p[1];                                                          \
        (void)p0, (void)p1;                                                                        \
        TB_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float x = x_[i];                                                                 \
            y[i] = (f);                                                                            \
        }                                                                                          \
    }                                                                                              \
    build static void id##_grad(float *dx, const float *dy, const float *v, int64_t n,             \
                                const float *p) {                                                  \
        const float p0 = p[0], p1 = p[1];                                                          \
        (void)p0, (void)p1;                                                                        \
        TB_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float reads = v[i];                                                              \
            (void)reads;                                                                           \
            dx[i] = dy[i] * (slope);                                                               \
        }                                                                                          \
    }

#define DEFINE(id, shape_, reads, integer_, ...)                                                   \
    static const unary row_##id = {id##_value, id##_grad, {__VA_ARGS__}, integer_};                \
    static tiba_status id##_forward(tb_exec *exec, const tb_node *node,                            \
                                    const tiba_tensor *const *in, tiba_tensor *const *out,         \
                                    tiba_error *error) {                                           \
        (void)error;                                                                               \
        return unary_forward(exec, node, &row_##id, in[0], out[0]);                                \
    }                                                                                              \
    static tiba_status id##_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,  \
                                const tiba_tensor *const *out, const tiba_tensor *const *dout,     \
                                tiba_tensor *const *din, tiba_error *error) {                      \
        (void)in, (void)out, (void)error;                                                          \
        return unary_vjp(exec, node, &row_##id, READ_##reads, dout[0], din[0]);                    \
    }                                                                                              \
    const tb_op_def tb_op_def_##id = {.shape = shape_,                                             \
                                      .forward = id##_forward,                                     \
                                      .vjp = id##_vjp,                                             \
                                      .needs = NEED_##reads,                                       \
                                      .over = TB_NEEDS_IN(0),                                      \
                                      .back_over = true};

/* op, loop, what the derivative reads, f(x), f'; then its parameters p0, p1 with their defaults */
#define UNARY(id, build, reads, f, slope, ...)                                                     \
    LOOPS(id, build, reads, f, slope)                                                              \
    DEFINE(id, shape_float, reads, NULL, __VA_ARGS__)
#define PLAIN
#define NO_PARAMETERS                                                                              \
    { NULL, 0.0f }

static TB_INLINE float signum(float x) {
    return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;
}

static TB_INLINE float clip_to_one(float x) {
    return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x;
}

static float softplus(float x) {
    return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

static float mish_slope(float x) {
    const float t = tanhf(softplus(x));
    return t + x * (1.0f - t * t) * tb_sigmoid(x);
}

/* clang-format off */
UNARY(Acos, PLAIN, x, acosf(x), -1.0f / sqrtf(1.0f - x * x), NO_PARAMETERS)
UNARY(Acosh, PLAIN, x, acoshf(x), 1.0f / (sqrtf(x - 1.0f) * sqrtf(x + 1.0f)), NO_PARAMETERS)
UNARY(Asin, PLAIN, x, asinf(x), 1.0f / sqrtf(1.0f - x * x), NO_PARAMETERS)
UNARY(Asinh, PLAIN, x, asinhf(x), 1.0f / sqrtf(x * x + 1.0f), NO_PARAMETERS)
UNARY(Atan, PLAIN, x, atanf(x), 1.0f / (1.0f + x * x), NO_PARAMETERS)
UNARY(Atanh, PLAIN, x, atanhf(x), 1.0f / (1.0f - x * x), NO_PARAMETERS)
UNARY(Ceil, TB_CLONES, none, ceilf(x), 0.0f, NO_PARAMETERS)
UNARY(Celu, PLAIN, x, x > 0.0f ? x : p0 * expm1f(x / p0), x > 0.0f ? 1.0f : expf(x / p0), {"alpha", 1.0f})
UNARY(Cos, PLAIN, x, cosf(x), -sinf(x), NO_PARAMETERS)
UNARY(Cosh, PLAIN, x, coshf(x), sinhf(x), NO_PARAMETERS)
UNARY(Elu, PLAIN, x, x > 0.0f ? x : p0 * expm1f(x), x > 0.0f ? 1.0f : p0 * expf(x), {"alpha", 1.0f})
UNARY(Erf, TB_CLONES, x, tb_erf(x), 1.12837917f * tb_exp(-x * x), NO_PARAMETERS)
UNARY(Exp, TB_CLONES, y, tb_exp(x), y, NO_PARAMETERS)
UNARY(Floor, TB_CLONES, none, floorf(x), 0.0f, NO_PARAMETERS)
UNARY(HardSigmoid, TB_CLONES, x, clip_to_one(p0 * x + p1),
      p0 * x + p1 > 0.0f && p0 * x + p1 < 1.0f ? p0 : 0.0f, {"alpha", 0.2f}, {"beta", 0.5f})
UNARY(HardSwish, TB_CLONES, x, x * clip_to_one(x / 6.0f + 0.5f),
      x <= -3.0f ? 0.0f : x >= 3.0f ? 1.0f : x / 3.0f + 0.5f, NO_PARAMETERS)
UNARY(LeakyRelu, TB_CLONES, x, x < 0.0f ? p0 * x : x, x < 0.0f ? p0 : 1.0f, {"alpha", 0.01f})
UNARY(Log, PLAIN, x, logf(x), 1.0f / x, NO_PARAMETERS)
UNARY(Mish, PLAIN, x, x * tanhf(softplus(x)), mish_slope(x), NO_PARAMETERS)
UNARY(Reciprocal, TB_CLONES, y, 1.0f / x, -y * y, NO_PARAMETERS)
UNARY(Round, TB_CLONES, none, rintf(x), 0.0f, NO_PARAMETERS) /* halves to even */
UNARY(Selu, PLAIN, x, x > 0.0f ? p1 * x : p1 * (p0 * expm1f(x)), x > 0.0f ? p1 : p1 * p0 * expf(x),
      {"alpha", 1.67326319217681884765625f}, {"gamma", 1.05070102214813232421875f})
UNARY(Shrink, TB_CLONES, x, x < -p1 ? x + p0 : x > p1 ? x - p0 : 0.0f, x < -p1 || x > p1 ? 1.0f : 0.0f,
      {"bias", 0.0f}, {"lambd", 0.5f})
UNARY(Sigmoid, TB_CLONES, y, tb_sigmoid(x), y * (1.0f - y), NO_PARAMETERS)
UNARY(Sin, PLAIN, x, sinf(x), cosf(x), NO_PARAMETERS)
UNARY(Sinh, PLAIN, x, sinhf(x), coshf(x), NO_PARAMETERS)
UNARY(Softplus, PLAIN, x, softplus(x), tb_sigmoid(x), NO_PARAMETERS)
UNARY(Softsign, TB_CLONES, x, x / (1.0f + fabsf(x)), 1.0f / ((1.0f + fabsf(x)) * (1.0f + fabsf(x))), NO_PARAMETERS)
UNARY(Sqrt, TB_CLONES, y, sqrtf(x), 0.5f / y, NO_PARAMETERS)
UNARY(Swish, TB_CLONES, x, x * tb_sigmoid(p0 * x),
      tb_sigmoid(p0 * x) * (1.0f + p0 * x * (1.0f - tb_sigmoid(p0 * x))), {"alpha", 1.0f})
UNARY(Tan, PLAIN, y, tanf(x), 1.0f + y * y, NO_PARAMETERS)
UNARY(Tanh, TB_CLONES, y, tb_tanh(x), 1.0f - y * y, NO_PARAMETERS)
UNARY(ThresholdedRelu, TB_CLONES, x, x > p0 ? x : 0.0f, x > p0 ? 1.0f : 0.0f, {"alpha", 1.0f})

/* Integers too: their function stands in front of the parameters. Negation wraps. */
static int64_t integer_abs(int64_t x, bool negative) { return negative ? (int64_t)(0 - (uint64_t)x) : x; }
static int64_t integer_neg(int64_t x, bool negative) { (void)negative; return (int64_t)(0 - (uint64_t)x); }
static int64_t integer_relu(int64_t x, bool negative) { return negative ? 0 : x; }
static int64_t integer_sign(int64_t x, bool negative) { return negative ? -1 : x != 0; }
#define UNARY_NUMBER(id, build, reads, f, slope, integer)                                          \
    LOOPS(id, build, reads, f, slope)                                                              \
    DEFINE(id, shape_number, reads, integer, NO_PARAMETERS)

UNARY_NUMBER(Abs, TB_CLONES, x, fabsf(x), signum(x), integer_abs)
UNARY_NUMBER(Neg, TB_CLONES, none, -x, -1.0f, integer_neg)
UNARY_NUMBER(Relu, TB_CLONES, y, x < 0.0f ? 0.0f : x, y > 0.0f ? 1.0f : 0.0f, integer_relu)
UNARY_NUMBER(Sign, TB_CLONES, none, signum(x), 0.0f, integer_sign)

/* GELU has two forms, chosen by an attribute. */
LOOPS(GeluErf, TB_CLONES, x, tb_gelu(x), tb_gelu_slope(x))
LOOPS(GeluTanh, TB_CLONES, x, tb_gelu_tanh(x), tb_gelu_tanh_slope(x))
/* clang-format on */

static const unary gelu_forms[] = {
    {GeluErf_value, GeluErf_grad, {NO_PARAMETERS}, NULL},
    {GeluTanh_value, GeluTanh_grad, {NO_PARAMETERS}, NULL},
};

static const unary *gelu_form(const tb_node *node) {
    return &gelu_forms[strcmp(tb_attr_string(node, "approximate", "none"), "tanh") == 0];
}

static tiba_status gelu_shape(tb_node *node, tiba_error *error) {
    const char *form = tb_attr_string(node, "approximate", "none");
    if (strcmp(form, "none") != 0 && strcmp(form, "tanh") != 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "approximate = \"%s\" is unknown", form);
    return shape_float(node, error);
}

static tiba_status gelu_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    (void)error;
    return unary_forward(exec, node, gelu_form(node), in[0], out[0]);
}

static tiba_status gelu_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    (void)out, (void)error;
    return unary_vjp(exec, node, gelu_form(node), in[0], dout[0], din[0]);
}

const tb_op_def tb_op_def_Gelu = {.shape = gelu_shape,
                                  .forward = gelu_forward,
                                  .vjp = gelu_vjp,
                                  .needs = TB_NEEDS_IN(0),
                                  .over = TB_NEEDS_IN(0),
                                  .back_over = true};
