/*
 * op_reduce.c: reductions along axes. One row each: start, step, finish, derivative. Floats are
 * accumulated in double, in an order that depends on the shape alone.
 *
 * The result with its reduced axes kept as 1 broadcasts to the input, so the runs of that broadcast
 * (broadcast.h) say which elements meet which accumulator, forwards and backwards.
 */
#include <math.h>
#include <string.h>

#include "runtime/broadcast.h"
#include "runtime/clones.h"
#include "runtime/elements.h"
#include "runtime/shapes.h"

/* acc[i · step] takes in x[i]; m[i · step] is a number per accumulator that a first pass found. */
typedef void fold_fn(double *acc, const float *m, int step, const float *x, int64_t n);
/* dx[i] = dy · slope(x[i], y); dy and y advance by step. */
typedef void grad_fn(float *dx, const float *x, const float *dy, const float *y, int step,
                     int64_t n, double reduced);
typedef int64_t integer_fn(int64_t acc, int64_t x);

typedef enum extreme { ZERO, ONE, LOWEST, HIGHEST } extreme;

typedef struct reduction {
    extreme start;
    fold_fn *fold;
    double (*finish)(double acc, double reduced, float m);
    integer_fn *integer, *unsigned64; /* NULL: floats only */
    bool bools;
    fold_fn *first; /* a first pass that finds m, its maximum; NULL: none */
    grad_fn *grad;  /* NULL: the operator has a vjp of its own */
} reduction;

/* The result's shape with reduced axes kept as 1, the axes as a bit set, elements per result. */
static tiba_status kept_shape(tiba_tensor *kept, unsigned *set, int64_t *reduced,
                              const tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int axes[TIBA_MAX_RANK], count = 0;
    if (tb_node_in(node, 1)) TB_TRY(tb_read_axes(axes, &count, x->rank, node, 1, error));
    if (count == 0 && tb_attr_int(node, "noop_with_empty_axes", 0) == 0)
        for (; count < x->rank; count++) axes[count] = count;
    *kept = *x;
    kept->data = NULL;
    *set = 0;
    *reduced = 1;
    for (int i = 0; i < count; i++) {
        *reduced *= x->dims[axes[i]];
        *set |= 1u << axes[i];
        kept->dims[axes[i]] = 1;
    }
    return TIBA_OK;
}

/* How accumulators meet the elements. */
static tiba_status reduce_plan(tb_broadcast *plan, int64_t *reduced, const tb_node *node,
                               tiba_error *error) {
    tiba_tensor kept;
    unsigned set;
    TB_TRY(kept_shape(&kept, &set, reduced, node, error));
    tb_broadcast_plan(plan, &node->in[0]->t, &kept, &kept);
    return TIBA_OK;
}

static tiba_status reduce_shape(tb_node *node, const reduction *row, tiba_error *error) {
    const tiba_dtype dtype = node->in[0]->t.dtype;
    if (dtype != TIBA_FLOAT32 && !(row->integer && tb_dtype_is_integer(dtype)) &&
        !(row->bools && dtype == TIBA_BOOL))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                            tb_dtype_name(dtype));
    tiba_tensor kept;
    unsigned set;
    int64_t reduced;
    TB_TRY(kept_shape(&kept, &set, &reduced, node, error));
    const bool keep = tb_attr_int(node, "keepdims", 1) != 0;
    int rank = 0;
    int64_t dims[TIBA_MAX_RANK];
    for (int i = 0; i < kept.rank; i++)
        if (keep || !(set >> i & 1u)) dims[rank++] = kept.dims[i];
    return tb_set_out(node, 0, dtype, rank, dims, error);
}

typedef struct fold_job {
    tb_broadcast plan;
    int64_t chunk; /* elements of an item */
    fold_fn *fold;
    double *acc;
    const float *x, *m;
} fold_job;

static void fold_item(void *context, int64_t item, int worker) {
    (void)worker;
    const fold_job *j = context;
    const int64_t begin = item * j->chunk;
    const int64_t end = begin + j->chunk < j->plan.count ? begin + j->chunk : j->plan.count;
    tb_runs runs = tb_runs_start(&j->plan, begin, end);
    while (tb_runs_next(&runs))
        j->fold(j->acc + runs.a, j->m + runs.a, j->plan.step_a, j->x + runs.at, runs.n);
}

/* Items hold whole steps of the outermost axis if that one is kept: they share no accumulator. */
static void fold_all(tb_exec *exec, fold_job *j) {
    const tb_broadcast *plan = &j->plan;
    if (plan->count == 0) return;
    const int last = plan->rank - 1;
    j->chunk = plan->count;
    if (plan->stride_a[last] != 0) {
        const int64_t inner = plan->count / plan->dims[last];
        j->chunk = (TB_TILE + inner - 1) / inner * inner;
    }
    tb_parallel_for(exec->pool, (plan->count + j->chunk - 1) / j->chunk, fold_item, j);
}

static double start_value(extreme start) {
    return start == ZERO ? 0.0 : start == ONE ? 1.0 : start == LOWEST ? -INFINITY : INFINITY;
}

static int64_t start_integer(extreme start, tiba_dtype dtype) {
    if (start == ZERO || start == ONE) return start == ONE;
    const int bits = 8 * (int)tb_dtype_size(dtype);
    const bool is_signed =
        dtype == TIBA_INT8 || dtype == TIBA_INT16 || dtype == TIBA_INT32 || dtype == TIBA_INT64;
    if (dtype == TIBA_BOOL) return start == HIGHEST;
    if (!is_signed) return start == LOWEST ? 0 : (int64_t)(UINT64_MAX >> (64 - bits));
    const int64_t highest = (int64_t)(UINT64_MAX >> (65 - bits));
    return start == HIGHEST ? highest : -highest - 1;
}

static tiba_status reduce_integers(tb_exec *exec, const reduction *row, const tb_broadcast *plan,
                                   const tiba_tensor *x, int64_t reduced, tiba_tensor *y,
                                   tiba_error *error) {
    const int64_t count = tb_tensor_count(y);
    int64_t *acc = tb_scratch(exec, (size_t)count, sizeof *acc), run[512];
    if (!acc) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) acc[i] = start_integer(row->start, x->dtype);
    integer_fn *take = x->dtype == TIBA_UINT64 ? row->unsigned64 : row->integer;
    tb_runs runs = tb_runs_start(plan, 0, plan->count);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i += 512) {
            const int64_t n = runs.n - i < 512 ? runs.n - i : 512;
            tb_load_i64(run, x, runs.at + i, n, 1);
            int64_t *to = acc + runs.a + i * plan->step_a;
            for (int64_t k = 0; k < n; k++) {
                int64_t *a = to + k * plan->step_a;
                *a = take(*a, run[k]);
            }
        }
    if (row->finish) /* only a mean of integers: towards zero */
        for (int64_t i = 0; i < count && reduced > 0; i++)
            acc[i] = x->dtype == TIBA_UINT64 ? (int64_t)((uint64_t)acc[i] / (uint64_t)reduced)
                                             : acc[i] / reduced;
    tb_store_i64(y, 0, count, acc);
    return TIBA_OK;
}

static tiba_status reduce_forward(tb_exec *exec, const tb_node *node, const reduction *row,
                                  const tiba_tensor *x, tiba_tensor *y, tiba_error *error) {
    int64_t reduced;
    fold_job j = {.fold = row->fold, .x = x->data, .m = y->data};
    TB_TRY(reduce_plan(&j.plan, &reduced, node, error));
    if (x->dtype != TIBA_FLOAT32) return reduce_integers(exec, row, &j.plan, x, reduced, y, error);
    const int64_t count = tb_tensor_count(y);
    float *out = y->data;
    j.acc = tb_scratch(exec, (size_t)count, sizeof *j.acc);
    if (!j.acc) return tb_out_of_memory(error);
    if (row->first) {
        j.fold = row->first;
        for (int64_t i = 0; i < count; i++) j.acc[i] = -INFINITY;
        fold_all(exec, &j);
        for (int64_t i = 0; i < count; i++) /* an infinite maximum needs no shift */
            out[i] = isfinite(j.acc[i]) ? (float)j.acc[i] : 0.0f;
        j.fold = row->fold;
    }
    for (int64_t i = 0; i < count; i++) j.acc[i] = start_value(row->start);
    fold_all(exec, &j);
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)(row->finish ? row->finish(j.acc[i], (double)reduced, out[i]) : j.acc[i]);
    return TIBA_OK;
}

static tiba_status reduce_vjp(tb_exec *exec, const tb_node *node, const reduction *row,
                              const tiba_tensor *x, const tiba_tensor *y, const tiba_tensor *dy,
                              tiba_tensor *dx, tiba_error *error) {
    (void)exec;
    if (!dx) return TIBA_OK;
    if (!dy) {
        memset(dx->data, 0, tb_tensor_bytes(dx));
        return TIBA_OK;
    }
    int64_t reduced;
    tb_broadcast plan;
    TB_TRY(reduce_plan(&plan, &reduced, node, error));
    tb_runs runs = tb_runs_start(&plan, 0, plan.count);
    const float *vx = x->data, *vy = y->data, *vdy = dy->data;
    while (tb_runs_next(&runs))
        row->grad((float *)dx->data + runs.at, vx ? vx + runs.at : NULL, vdy + runs.a,
                  vy ? vy + runs.a : NULL, plan.step_a, runs.n, (double)reduced);
    return TIBA_OK;
}

/* The loops of a row. With step 0, sixteen lanes share a run, so that it vectorises. */
enum { LANES = 16 };
#define FOLD(name, join, seed, term)                                                               \
    TB_CLONES static void name(double *acc, const float *m_, int step, const float *x_,            \
                               int64_t n) {                                                        \
        (void)m_;                                                                                  \
        int64_t i = 0;                                                                             \
        if (step) {                                                                                \
            TB_IVDEP                                                                               \
            for (; i < n; i++) {                                                                   \
                const double x = (double)x_[i], m = (double)m_[i];                                 \
                (void)m;                                                                           \
                acc[i] = join(acc[i], (term));                                                     \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        const double m = (double)m_[0];                                                            \
        (void)m;                                                                                   \
        double lanes[LANES];                                                                       \
        for (int l = 0; l < LANES; l++) lanes[l] = (seed);                                         \
        for (; i + LANES <= n; i += LANES)                                                         \
            for (int l = 0; l < LANES; l++) {                                                      \
                const double x = (double)x_[i + l];                                                \
                lanes[l] = join(lanes[l], (term));                                                 \
            }                                                                                      \
        double total = *acc;                                                                       \
        for (; i < n; i++) {                                                                       \
            const double x = (double)x_[i];                                                        \
            total = join(total, (term));                                                           \
        }                                                                                          \
        for (int l = 0; l < LANES; l++) total = join(total, lanes[l]);                             \
        *acc = total;                                                                              \
    }

#define PLUS(a, b)    ((a) + (b))
#define TIMES(a, b)   ((a) * (b))
#define LARGER(a, b)  ((b) > (a) || (b) != (b) ? (b) : (a)) /* NaN stays */
#define SMALLER(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))

FOLD(sum_fold, PLUS, 0.0, x)
FOLD(abs_fold, PLUS, 0.0, fabs(x))
FOLD(square_fold, PLUS, 0.0, x *x)
FOLD(exp_fold, PLUS, 0.0, exp(x - m))
FOLD(product_fold, TIMES, 1.0, x)
FOLD(max_fold, LARGER, -INFINITY, x)
FOLD(min_fold, SMALLER, INFINITY, x)

#define FINISH(name, expression)                                                                   \
    static double name(double acc, double reduced, float m) {                                      \
        (void)reduced, (void)m;                                                                    \
        return expression;                                                                         \
    }
FINISH(finish_root, sqrt(acc))
FINISH(finish_log, log(acc))
FINISH(finish_shifted_log, log(acc) + (double)m)
FINISH(finish_mean, acc / reduced)

static int64_t take_sum(int64_t acc, int64_t x) {
    return (int64_t)((uint64_t)acc + (uint64_t)x);
}

static int64_t take_abs(int64_t acc, int64_t x) {
    return take_sum(acc, x < 0 ? (int64_t)(0 - (uint64_t)x) : x);
}

static int64_t take_square(int64_t acc, int64_t x) {
    return take_sum(acc, (int64_t)((uint64_t)x * (uint64_t)x));
}

static int64_t take_product(int64_t acc, int64_t x) {
    return (int64_t)((uint64_t)acc * (uint64_t)x);
}

static int64_t take_max(int64_t acc, int64_t x) {
    return x > acc ? x : acc;
}

static int64_t take_max_unsigned(int64_t acc, int64_t x) {
    return (uint64_t)x > (uint64_t)acc ? x : acc;
}

static int64_t take_min(int64_t acc, int64_t x) {
    return x < acc ? x : acc;
}

static int64_t take_min_unsigned(int64_t acc, int64_t x) {
    return (uint64_t)x < (uint64_t)acc ? x : acc;
}

#define GRAD_X  const float x = x_[i];
#define GRAD_Y  const float y = y_[i * step];
#define GRAD_XY GRAD_X GRAD_Y
#define GRAD_NONE
#define SLOPE(name, READS, slope)                                                                  \
    TB_CLONES static void name(float *dx, const float *x_, const float *dy, const float *y_,       \
                               int step, int64_t n, double reduced) {                              \
        (void)x_, (void)y_, (void)reduced;                                                         \
        const float share = (float)(1.0 / reduced);                                                \
        (void)share;                                                                               \
        TB_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            READS                                                                                  \
            dx[i] = dy[i * step] * (slope);                                                        \
        }                                                                                          \
    }
SLOPE(slope_one, GRAD_NONE, 1.0f)
SLOPE(slope_mean, GRAD_NONE, share)
SLOPE(slope_abs, GRAD_X, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f)
SLOPE(slope_norm, GRAD_XY, y > 0.0f ? x / y : 0.0f)
SLOPE(slope_log, GRAD_Y, expf(-y))
SLOPE(slope_softmax, GRAD_XY, y == -INFINITY ? 0.0f : expf(x - y))
SLOPE(slope_square, GRAD_X, 2.0f * x)

#define NEEDS_X  TB_NEEDS_IN(0)
#define NEEDS_Y  TB_NEEDS_OUT(0)
#define NEEDS_XY (TB_NEEDS_IN(0) | TB_NEEDS_OUT(0))

#define REDUCE_FORWARD(id, ...)                                                                    \
    static const reduction row_##id = {__VA_ARGS__};                                               \
    static tiba_status id##_shape(tb_node *node, tiba_error *error) {                              \
        return reduce_shape(node, &row_##id, error);                                               \
    }                                                                                              \
    static tiba_status id##_forward(tb_exec *exec, const tb_node *node,                            \
                                    const tiba_tensor *const *in, tiba_tensor *const *out,         \
                                    tiba_error *error) {                                           \
        return reduce_forward(exec, node, &row_##id, in[0], out[0], error);                        \
    }
#define REDUCE_OP(id, needs_, vjp_)                                                                \
    static tiba_status id##_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,  \
                                const tiba_tensor *const *out, const tiba_tensor *const *dout,     \
                                tiba_tensor *const *din, tiba_error *error) {                      \
        return vjp_(exec, node, &row_##id, in[0], out[0], dout[0], din[0], error);                 \
    }                                                                                              \
    const tb_op_def tb_op_def_##id = {                                                             \
        .shape = id##_shape, .forward = id##_forward, .vjp = id##_vjp, .needs = needs_};
#define REDUCE(id, needs_, ...)                                                                    \
    REDUCE_FORWARD(id, __VA_ARGS__)                                                                \
    REDUCE_OP(id, needs_, reduce_vjp)

/* op, what the slope reads, start, fold, finish, integers, uint64, bools, first pass, slope */
REDUCE(ReduceSum, 0, ZERO, sum_fold, NULL, take_sum, take_sum, false, NULL, slope_one)
REDUCE(ReduceMean, 0, ZERO, sum_fold, finish_mean, take_sum, take_sum, false, NULL, slope_mean)
REDUCE(ReduceL1, NEEDS_X, ZERO, abs_fold, NULL, take_abs, take_sum, false, NULL, slope_abs)
REDUCE(ReduceL2, NEEDS_XY, ZERO, square_fold, finish_root, NULL, NULL, false, NULL, slope_norm)
REDUCE(ReduceSumSquare, NEEDS_X, ZERO, square_fold, NULL, take_square, take_square, false, NULL,
       slope_square)
REDUCE(ReduceLogSum, NEEDS_Y, ZERO, sum_fold, finish_log, NULL, NULL, false, NULL, slope_log)
REDUCE(ReduceLogSumExp, NEEDS_XY, ZERO, exp_fold, finish_shifted_log, NULL, NULL, false, max_fold,
       slope_softmax)

/* The gradient goes to the winner; where several are, to the first in storage order. */
static tiba_status winner_vjp(tb_exec *exec, const tb_node *node, const reduction *row,
                              const tiba_tensor *x, const tiba_tensor *y, const tiba_tensor *dy,
                              tiba_tensor *dx, tiba_error *error) {
    (void)row;
    if (!dx) return TIBA_OK;
    memset(dx->data, 0, tb_tensor_bytes(dx));
    if (!dy) return TIBA_OK;
    int64_t reduced;
    tb_broadcast plan;
    TB_TRY(reduce_plan(&plan, &reduced, node, error));
    const size_t count = (size_t)tb_tensor_count(y);
    uint8_t *given = tb_scratch(exec, count, 1);
    if (!given) return tb_out_of_memory(error);
    memset(given, 0, count);
    const float *vx = x->data, *vy = y->data, *vdy = dy->data;
    float *to = dx->data;
    tb_runs runs = tb_runs_start(&plan, 0, plan.count);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i++) {
            const int64_t at = runs.a + i * plan.step_a;
            if (given[at] || vx[runs.at + i] != vy[at]) continue;
            given[at] = 1;
            to[runs.at + i] = vdy[at];
        }
    return TIBA_OK;
}

REDUCE_FORWARD(ReduceMax, LOWEST, max_fold, NULL, take_max, take_max_unsigned, true, NULL, NULL)
REDUCE_FORWARD(ReduceMin, HIGHEST, min_fold, NULL, take_min, take_min_unsigned, true, NULL, NULL)
REDUCE_OP(ReduceMax, NEEDS_XY, winner_vjp)
REDUCE_OP(ReduceMin, NEEDS_XY, winner_vjp)

/* The derivative by one factor is the product of the others, zeros among them or not. */
static tiba_status product_vjp(tb_exec *exec, const tb_node *node, const reduction *row,
                               const tiba_tensor *x, const tiba_tensor *y, const tiba_tensor *dy,
                               tiba_tensor *dx, tiba_error *error) {
    (void)row;
    if (!dx) return TIBA_OK;
    memset(dx->data, 0, tb_tensor_bytes(dx));
    if (!dy) return TIBA_OK;
    int64_t reduced;
    tb_broadcast plan;
    TB_TRY(reduce_plan(&plan, &reduced, node, error));
    const int64_t count = tb_tensor_count(y);
    double *product = tb_scratch(exec, (size_t)count, sizeof *product);
    int64_t *zeros = tb_scratch(exec, (size_t)count, sizeof *zeros);
    if (!product || !zeros) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) product[i] = 1.0, zeros[i] = 0;
    const float *vx = x->data, *vdy = dy->data;
    float *to = dx->data;
    tb_runs runs = tb_runs_start(&plan, 0, plan.count);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i++) {
            const int64_t at = runs.a + i * plan.step_a;
            if (vx[runs.at + i] == 0.0f)
                zeros[at]++;
            else
                product[at] *= (double)vx[runs.at + i];
        }
    runs = tb_runs_start(&plan, 0, plan.count);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i++) {
            const int64_t at = runs.a + i * plan.step_a;
            const double factor = (double)vx[runs.at + i];
            if (zeros[at] == (factor == 0.0))
                to[runs.at + i] =
                    (float)((double)vdy[at] * product[at] / (factor == 0.0 ? 1.0 : factor));
        }
    return TIBA_OK;
}

REDUCE_FORWARD(ReduceProd, ONE, product_fold, NULL, take_product, take_product, false, NULL, NULL)
REDUCE_OP(ReduceProd, NEEDS_X, product_vjp)
