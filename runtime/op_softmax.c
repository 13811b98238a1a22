/*
 * op_softmax.c: what is computed row by row along one axis: Softmax, LogSoftmax, Hardmax,
 * LpNormalization. Each op is one function from a row to a row, forward and vjp alike; an axis that
 * is not the last is gathered into rows and scattered back.
 */
#include <math.h>
#include <string.h>

#include "runtime/kernel.h"
#include "runtime/lanes.h"
#include "runtime/quant_kernel.h"
#include "runtime/vector_math.h"

enum { GRAIN = 16384 };

/** From up to two rows of n elements to one. */
typedef void row_fn(float *out, const float *a, const float *b, int64_t n);

typedef struct rows {
    row_fn *fn;
    const float *a, *b; /* b may be NULL */
    float *out, *gathered;
    int64_t n, inner; /* elements of the axis; of the axes behind it */
    bool over;        /* out is a or b: a row is read from a copy */
} rows;

static void run_rows(void *context, int64_t first, int64_t last, int worker) {
    const rows *r = context;
    int64_t n = r->n, inner = r->inner;
    if (inner == 1 && r->over) {
        float *copy = r->gathered + worker * 3 * n;
        for (int64_t i = first; i < last; i++) {
            const float *a = r->a + i * n, *b = r->b ? r->b + i * n : NULL;
            memcpy(copy, r->out + i * n, (size_t)n * sizeof *copy);
            r->fn(r->out + i * n, r->out == r->a ? copy : a, r->out == r->b ? copy : b, n);
        }
        return;
    }
    if (inner == 1) {
        for (int64_t i = first; i < last; i++)
            r->fn(r->out + i * n, r->a + i * n, r->b ? r->b + i * n : NULL, n);
        return;
    }
    float *out = r->gathered + worker * 3 * n, *a = out + n, *b = a + n;
    for (int64_t i = first; i < last; i++) {
        int64_t start = i / inner * n * inner + i % inner;
        for (int64_t j = 0; j < n; j++) a[j] = r->a[start + j * inner];
        for (int64_t j = 0; r->b && j < n; j++) b[j] = r->b[start + j * inner];
        r->fn(out, a, r->b ? b : NULL, n);
        for (int64_t j = 0; j < n; j++) r->out[start + j * inner] = out[j];
    }
}

static tiba_status along_axis(tb_exec *exec, const tb_node *node, row_fn *fn, tiba_tensor *out,
                              const tiba_tensor *a, const tiba_tensor *b, tiba_error *error) {
    int axis;
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", -1), a->rank, error));
    rows r = {.fn = fn,
              .a = a->data,
              .b = b ? b->data : NULL,
              .out = out->data,
              .n = a->dims[axis],
              .inner = tb_product(a->dims, axis + 1, a->rank)};
    if (tb_tensor_count(a) == 0) return TIBA_OK;
    r.over = r.out == r.a || r.out == r.b;
    if (r.inner != 1 || r.over) {
        r.gathered =
            tb_scratch(exec, (size_t)(3 * r.n * tb_pool_threads(exec->pool)), sizeof(float));
        if (!r.gathered) return tb_out_of_memory(error);
    }
    tb_parallel_ranges(exec, tb_product(a->dims, 0, axis) * r.inner, GRAIN / r.n, run_rows, &r);
    return TIBA_OK;
}

static tiba_status same_shape(tb_node *node, tiba_error *error) {
    int axis;
    TB_TRY(tb_need_rank(node, 0, 0, error));
    const tiba_tensor *x = &node->in[0]->t;
    TB_TRY(tb_need_float(node, 0, error));
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", -1), x->rank, error));
    tiba_tensor *y = &node->out[0]->t;
    void *data = y->data;
    *y = *x;
    y->data = data;
    return TIBA_OK;
}

/* y = e^(x - max) and its sum. A row of -inf only gives NaN, as the definition does. */
static TB_INLINE double exponentials(float *restrict y, const float *restrict x, int64_t n,
                                     float max) {
    float tail[TB_LANES];
    const int64_t whole = tb_tail_16(tail, x, n, -INFINITY);
    tb_lane_sum sum = {{{0}}};
    for (int64_t i = 0; i < whole; i++) y[i] = tb_exp(x[i] - max);
    for (int64_t i = 0; i < whole; i += TB_LANES) tb_lane_add(&sum, y + i);
    if (whole < n) {
        for (int l = 0; l < TB_LANES; l++) tail[l] = tb_exp(tail[l] - max);
        tb_lane_add(&sum, tail);
        for (int64_t i = whole; i < n; i++) y[i] = tail[i - whole];
    }
    return tb_lane_total(&sum);
}

/* An element of -inf in a row that has others gives exactly 0. */
TB_CLONES static void softmax(float *restrict y, const float *restrict x, int64_t n) {
    float scale = (float)(1.0 / exponentials(y, x, n, tb_row_max(x, n)));
    for (int64_t i = 0; i < n; i++) y[i] *= scale;
}

static void softmax_row(float *y, const float *x, const float *unused, int64_t n) {
    (void)unused;
    softmax(y, x, n);
}

TB_CLONES static void softmax_back(float *restrict dx, const float *restrict y,
                                   const float *restrict dy, float mean, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = y[i] * (dy[i] - mean);
}

static bool all_zero(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0.0f) return false;
    return true;
}

/* A row of NaN that no one reads (its scores are all masked, and a Where puts zeros in its place)
 * has no gradient. */
static void softmax_vjp_row(float *dx, const float *y, const float *dy, int64_t n) {
    double mean = tb_dot(y, dy, n);
    if (isnan(mean) && all_zero(dy, n))
        memset(dx, 0, (size_t)n * sizeof *dx);
    else
        softmax_back(dx, y, dy, (float)mean, n);
}

TB_CLONES static void log_softmax(float *restrict y, const float *restrict x, int64_t n) {
    float max = tb_row_max(x, n);
    double shift = log(exponentials(y, x, n, max));
    for (int64_t i = 0; i < n; i++) y[i] = (float)((double)x[i] - (double)max - shift);
}

static void log_softmax_row(float *y, const float *x, const float *unused, int64_t n) {
    (void)unused;
    log_softmax(y, x, n);
}

TB_CLONES static void log_softmax_back(float *restrict dx, const float *restrict y,
                                       const float *restrict dy, float sum, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] - tb_exp(y[i]) * sum;
}

static void log_softmax_vjp_row(float *dx, const float *y, const float *dy, int64_t n) {
    log_softmax_back(dx, y, dy, (float)tb_sum(dy, n), n);
}

static void hardmax_row(float *y, const float *x, const float *unused, int64_t n) {
    (void)unused;
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        if (x[i] > x[best]) best = i;
    }
    y[best] = 1;
}

static double norm_1(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs((double)x[i]);
    return sum;
}

/* A row of zeros stays one. */
static void divide_row(float *y, const float *x, double norm, int64_t n) {
    double scale = norm > 0 ? 1 / norm : norm;
    for (int64_t i = 0; i < n; i++) y[i] = (float)((double)x[i] * scale);
}

static void normalize_1_row(float *y, const float *x, const float *unused, int64_t n) {
    (void)unused;
    divide_row(y, x, norm_1(x, n), n);
}

static void normalize_2_row(float *y, const float *x, const float *unused, int64_t n) {
    (void)unused;
    divide_row(y, x, sqrt(tb_dot(x, x, n)), n);
}

static void normalize_1_vjp_row(float *dx, const float *x, const float *dy, int64_t n) {
    double norm = norm_1(x, n), scale = norm > 0 ? 1 / norm : norm;
    double along = tb_dot(x, dy, n) * scale;
    for (int64_t i = 0; i < n; i++) {
        double sign = (x[i] > 0) - (x[i] < 0);
        dx[i] = (float)(((double)dy[i] - sign * along) * scale);
    }
}

static void normalize_2_vjp_row(float *dx, const float *x, const float *dy, int64_t n) {
    double norm = sqrt(tb_dot(x, x, n)), scale = norm > 0 ? 1 / norm : norm;
    double along = tb_dot(x, dy, n) * scale * scale;
    for (int64_t i = 0; i < n; i++) dx[i] = (float)(((double)dy[i] - (double)x[i] * along) * scale);
}

#define ROW_FORWARD(name, fn)                                                                      \
    static tiba_status name(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,      \
                            tiba_tensor *const *out, tiba_error *error) {                          \
        return along_axis(exec, node, fn, out[0], in[0], NULL, error);                             \
    }
#define ROW_VJP(name, fn, value)                                                                   \
    static tiba_status name(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,      \
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,         \
                            tiba_tensor *const *din, tiba_error *error) {                          \
        (void)in, (void)out;                                                                       \
        return din[0] ? along_axis(exec, node, fn, din[0], value[0], dout[0], error) : TIBA_OK;    \
    }

typedef struct settle {
    tb_quant_softmax kernel;
    const float *x;
    float *y;
    int64_t n, inner;
} settle;

static void settle_rows(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const settle *s = context;
    for (int64_t i = first; i < last; i++) {
        int64_t at = i / s->inner * s->n * s->inner + i % s->inner;
        tb_settle_softmax(&s->kernel, s->y + at, s->x + at, s->n, s->inner);
    }
}

static tiba_status softmax_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                   tiba_tensor *const *out, tiba_error *error) {
    TB_TRY(along_axis(exec, node, softmax_row, out[0], in[0], NULL, error));
    int axis;
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", -1), in[0]->rank, error));
    settle s = {.x = in[0]->data,
                .y = out[0]->data,
                .n = in[0]->dims[axis],
                .inner = tb_product(in[0]->dims, axis + 1, in[0]->rank)};
    if (tb_tensor_count(in[0]) > 0 && tb_quant_softmax_of(&s.kernel, node, s.n))
        tb_parallel_ranges(exec, tb_tensor_count(in[0]) / s.n, GRAIN / s.n, settle_rows, &s);
    return TIBA_OK;
}

ROW_VJP(softmax_vjp, softmax_vjp_row, out)
ROW_FORWARD(log_softmax_forward, log_softmax_row)
ROW_VJP(log_softmax_vjp, log_softmax_vjp_row, out)
ROW_FORWARD(hardmax_forward, hardmax_row)

static bool lp_is_1(const tb_node *node) {
    return tb_attr_int(node, "p", 2) == 1;
}

ROW_FORWARD(lp_forward, lp_is_1(node) ? normalize_1_row : normalize_2_row)
ROW_VJP(lp_vjp, lp_is_1(node) ? normalize_1_vjp_row : normalize_2_vjp_row, in)

static tiba_status lp_shape(tb_node *node, tiba_error *error) {
    int64_t p = tb_attr_int(node, "p", 2);
    if (p != 1 && p != 2)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "p = %lld: only 1 and 2 are defined",
                            (long long)p);
    return same_shape(node, error);
}

const tb_op_def tb_op_def_Softmax = {.shape = same_shape,
                                     .forward = softmax_forward,
                                     .vjp = softmax_vjp,
                                     .needs = TB_NEEDS_OUT(0),
                                     .over = TB_NEEDS_IN(0),
                                     .back_over = true};
const tb_op_def tb_op_def_LogSoftmax = {.shape = same_shape,
                                        .forward = log_softmax_forward,
                                        .vjp = log_softmax_vjp,
                                        .needs = TB_NEEDS_OUT(0)};
const tb_op_def tb_op_def_Hardmax = {
    .shape = same_shape, .forward = hardmax_forward, .no_vjp = "a step function"};
const tb_op_def tb_op_def_LpNormalization = {
    .shape = lp_shape, .forward = lp_forward, .vjp = lp_vjp, .needs = TB_NEEDS_IN(0)};
