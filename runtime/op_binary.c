/*
 * op_binary.c: broadcast arithmetic: Add, Sub, Mul, Div, Pow, Mod, PRelu of two operands, Sum,
 * Mean, Max, Min of any number (a chain of the two-operand kernel).
 *
 * Float operands may meet integer ones (a quantised product is a float array, its bias may be
 * int32): the result is float then. Two integer operands have one type, and wrap. Gradients are
 * summed over broadcast axes in double.
 */
#include <math.h>
#include <string.h>

#include "runtime/broadcast.h"
#include "runtime/clones.h"
#include "runtime/elements.h"
#include "runtime/quant_kernel.h"
#include "runtime/shapes.h"

/* One run: steps are 0 or 1. */
typedef void value_fn(float *y, const float *a, int step_a, const float *b, int step_b, int64_t n);
typedef void grad_fn(float *da, const float *dy, const float *a, int step_a, const float *b,
                     int step_b, int64_t n);
typedef int64_t integer_fn(int64_t a, int64_t b);

typedef struct binary {
    value_fn *value;
    grad_fn *grad[2];                      /* dy times the derivative by a, by b */
    integer_fn *on_signed, *on_unsigned64; /* narrow unsigned types fit into int64 */
} binary;

enum { RUN = 512 }; /* elements of a buffer on the stack */

typedef struct value_job {
    tb_broadcast plan;
    value_fn *value;
    integer_fn *integer;
    tiba_tensor *y;
    const tiba_tensor *ta, *tb; /* integers */
    const float *a, *b;         /* floats */
} value_job;

static void integer_run(const value_job *j, const tb_runs *runs) {
    int64_t a[RUN], b[RUN];
    const tb_broadcast *plan = &j->plan;
    for (int64_t i = 0; i < runs->n; i += RUN) {
        const int64_t n = runs->n - i < RUN ? runs->n - i : RUN;
        tb_load_i64(a, j->ta, runs->a + i * plan->step_a, n, plan->step_a);
        tb_load_i64(b, j->tb, runs->b + i * plan->step_b, n, plan->step_b);
        for (int64_t k = 0; k < n; k++) a[k] = j->integer(a[k], b[k]);
        tb_store_i64(j->y, runs->at + i, n, a);
    }
}

static void value_tile(void *context, int64_t item, int worker) {
    (void)worker;
    const value_job *j = context;
    const int64_t begin = item * TB_TILE;
    const int64_t end = begin + TB_TILE < j->plan.count ? begin + TB_TILE : j->plan.count;
    tb_runs runs = tb_runs_start(&j->plan, begin, end);
    while (tb_runs_next(&runs)) {
        if (j->integer)
            integer_run(j, &runs);
        else
            j->value((float *)j->y->data + runs.at, j->a + runs.a, j->plan.step_a, j->b + runs.b,
                     j->plan.step_b, runs.n);
    }
}

/* y = f(a, b); y may be an operand of its size. */
static tiba_status binary_forward(tb_exec *exec, const binary *row, const tiba_tensor *a,
                                  const tiba_tensor *b, tiba_tensor *y, tiba_error *error) {
    value_job j = {.value = row->value, .y = y, .ta = a, .tb = b};
    tb_broadcast_plan(&j.plan, y, a, b);
    if (y->dtype == TIBA_FLOAT32) {
        j.a = tb_floats(exec, a);
        j.b = tb_floats(exec, b);
        if (!j.a || !j.b) return tb_out_of_memory(error);
    } else {
        j.integer = y->dtype == TIBA_UINT64 ? row->on_unsigned64 : row->on_signed;
    }
    tb_parallel_for(exec->pool, tb_tiles(j.plan.count), value_tile, &j);
    return TIBA_OK;
}

typedef struct grad_job {
    tb_broadcast plan;
    grad_fn *grad;
    float *out;
    const float *dy, *a, *b; /* a, b: NULL where the derivative does not read it */
} grad_job;

static void grad_run(const grad_job *j, const tb_runs *runs, int64_t skip, int64_t n, float *out) {
    j->grad(out, j->dy + runs->at + skip, j->a ? j->a + runs->a + skip * j->plan.step_a : NULL,
            j->plan.step_a, j->b ? j->b + runs->b + skip * j->plan.step_b : NULL, j->plan.step_b,
            n);
}

static void grad_tile(void *context, int64_t item, int worker) {
    (void)worker;
    const grad_job *j = context;
    const int64_t begin = item * TB_TILE;
    const int64_t end = begin + TB_TILE < j->plan.count ? begin + TB_TILE : j->plan.count;
    tb_runs runs = tb_runs_start(&j->plan, begin, end);
    while (tb_runs_next(&runs)) grad_run(j, &runs, 0, runs.n, j->out + runs.at);
}

/* Adds the runs up where operand `which` was broadcast; serial, so the order is fixed. */
static void grad_sum(const grad_job *j, int which, double *sums) {
    float run[RUN];
    const int step = which == 0 ? j->plan.step_a : j->plan.step_b;
    tb_runs runs = tb_runs_start(&j->plan, 0, j->plan.count);
    while (tb_runs_next(&runs)) {
        double *to = sums + (which == 0 ? runs.a : runs.b);
        for (int64_t i = 0; i < runs.n; i += RUN) {
            const int64_t n = runs.n - i < RUN ? runs.n - i : RUN;
            grad_run(j, &runs, i, n, run);
            if (step) {
                for (int64_t k = 0; k < n; k++) to[i + k] += (double)run[k];
            } else {
                double sum = 0;
                for (int64_t k = 0; k < n; k++) sum += (double)run[k];
                *to += sum;
            }
        }
    }
}

/* d = gradient of operand `which`, of its shape. */
static tiba_status binary_grad(tb_exec *exec, grad_fn *grad, int which, const tiba_tensor *a,
                               const tiba_tensor *b, const tiba_tensor *dy, tiba_tensor *d,
                               tiba_error *error) {
    if (!d) return TIBA_OK;
    if (!dy) {
        memset(d->data, 0, tb_tensor_bytes(d));
        return TIBA_OK;
    }
    grad_job j = {.grad = grad, .out = d->data, .dy = dy->data};
    tb_broadcast_plan(&j.plan, dy, a, b);
    if (a->data && !(j.a = tb_floats(exec, a))) return tb_out_of_memory(error);
    if (b->data && !(j.b = tb_floats(exec, b))) return tb_out_of_memory(error);
    const int64_t own = tb_tensor_count(d);
    if (own == j.plan.count) {
        tb_parallel_for(exec->pool, tb_tiles(own), grad_tile, &j);
        return TIBA_OK;
    }
    double *sums = tb_scratch(exec, (size_t)own, sizeof *sums);
    if (!sums) return tb_out_of_memory(error);
    memset(sums, 0, (size_t)own * sizeof *sums);
    grad_sum(&j, which, sums);
    for (int64_t i = 0; i < own; i++) j.out[i] = (float)sums[i];
    return TIBA_OK;
}

static tiba_status binary_vjp(tb_exec *exec, const binary *row, const tiba_tensor *const *in,
                              const tiba_tensor *const *dout, tiba_tensor *const *din,
                              tiba_error *error) {
    TB_TRY(binary_grad(exec, row->grad[0], 0, in[0], in[1], dout[0], din[0], error));
    return binary_grad(exec, row->grad[1], 1, in[0], in[1], dout[0], din[1], error);
}

/* Types: floats win, integers must agree. */
static tiba_status arithmetic_shape(tb_node *node, tiba_error *error) {
    tiba_dtype dtype = node->in[0]->t.dtype;
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i])
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "operand %d is missing", i);
        const tiba_dtype other = node->in[i]->t.dtype;
        if (other != TIBA_FLOAT32 && !tb_dtype_is_integer(other))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                                tb_dtype_name(other));
        if (other == dtype) continue;
        if (other != TIBA_FLOAT32 && dtype != TIBA_FLOAT32)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "operands are %s and %s",
                                tb_dtype_name(dtype), tb_dtype_name(other));
        dtype = TIBA_FLOAT32;
    }
    return tb_broadcast_shape(node, dtype, error);
}

#define PLAIN /* for loops that do not vectorise, in place of TB_CLONES */

/* The three loops of a run; the compiler vectorises each. */
#define VALUE_LOOPS(id, build, unread, f)                                                          \
    build static void id##_value(float *y, const float *a_, int step_a, const float *b_,           \
                                 int step_b, int64_t n) {                                          \
        if (step_a && step_b) {                                                                    \
            TB_IVDEP                                                                               \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float a = a_[i], b = b_[i];                                                  \
                unread, y[i] = (f);                                                                \
            }                                                                                      \
        } else if (step_a) {                                                                       \
            const float b = b_[0];                                                                 \
            TB_IVDEP                                                                               \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float a = a_[i];                                                             \
                unread, y[i] = (f);                                                                \
            }                                                                                      \
        } else {                                                                                   \
            const float a = a_[0];                                                                 \
            TB_IVDEP                                                                               \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const float b = b_[i * step_b];                                                    \
                unread, y[i] = (f);                                                                \
            }                                                                                      \
        }                                                                                          \
    }

/* A slope may use the operands that its GRAD_… names. */
#define GRAD_LOOP_(id, name, build, A, B, slope)                                                   \
    build static void id##_##name(float *d, const float *dy, const float *a_, int step_a,          \
                                  const float *b_, int step_b, int64_t n) {                        \
        (void)a_, (void)b_, (void)step_a, (void)step_b;                                            \
        TB_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float a = A, b = B;                                                              \
            (void)a, (void)b;                                                                      \
            d[i] = dy[i] * (slope);                                                                \
        }                                                                                          \
    }
#define GRAD_ab(id, name, build, slope)                                                            \
    GRAD_LOOP_(id, name, build, a_[i * step_a], b_[i * step_b], slope)
#define GRAD_b(id, name, build, slope)    GRAD_LOOP_(id, name, build, 0.0f, b_[i * step_b], slope)
#define GRAD_a(id, name, build, slope)    GRAD_LOOP_(id, name, build, a_[i * step_a], 0.0f, slope)
#define GRAD_none(id, name, build, slope) GRAD_LOOP_(id, name, build, 0.0f, 0.0f, slope)

#define NEEDS_ab   (TB_NEEDS_IN(0) | TB_NEEDS_IN(1))
#define NEEDS_a    TB_NEEDS_IN(0)
#define NEEDS_b    TB_NEEDS_IN(1)
#define NEEDS_none 0

/* op, whose gradients are that of the result, loop, f(a, b); what df/da reads, df/da; what df/db
 * reads, df/db; integers, uint64 */
#define BINARY(id, straight_, build, f, reads_a, slope_a, reads_b, slope_b, integer, unsigned64)   \
    BINARY_ROW(id, build, f, reads_a, slope_a, reads_b, slope_b, integer, unsigned64)              \
    BINARY_OP(id, NEEDS_##reads_a | NEEDS_##reads_b, NEEDS_##straight_)
#define BINARY_ROW(id, build, f, reads_a, slope_a, reads_b, slope_b, integer, unsigned64)          \
    VALUE_LOOPS(id, build, (void)0, f)                                                             \
    GRADS(id, build, reads_a, slope_a, reads_b, slope_b, integer, unsigned64)
#define GRADS(id, build, reads_a, slope_a, reads_b, slope_b, integer, unsigned64)                  \
    GRAD_##reads_a(id, da, build, slope_a)                                                         \
        GRAD_##reads_b(id, db, build, slope_b) static const binary row_##id = {                    \
            id##_value, {id##_da, id##_db}, integer, unsigned64};
#define BINARY_OP(id, needs_, straight_)                                                           \
    static tiba_status id##_forward(tb_exec *exec, const tb_node *node,                            \
                                    const tiba_tensor *const *in, tiba_tensor *const *out,         \
                                    tiba_error *error) {                                           \
        TB_TRY(binary_forward(exec, &row_##id, in[0], in[1], out[0], error));                      \
        tb_settle_binary(exec, node, in[0], in[1], out[0]);                                        \
        return TIBA_OK;                                                                            \
    }                                                                                              \
    static tiba_status id##_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,  \
                                const tiba_tensor *const *out, const tiba_tensor *const *dout,     \
                                tiba_tensor *const *din, tiba_error *error) {                      \
        (void)node, (void)out;                                                                     \
        return binary_vjp(exec, &row_##id, in, dout, din, error);                                  \
    }                                                                                              \
    const tb_op_def tb_op_def_##id = {.shape = arithmetic_shape,                                   \
                                      .forward = id##_forward,                                     \
                                      .vjp = id##_vjp,                                             \
                                      .needs = needs_,                                             \
                                      .straight = straight_,                                       \
                                      .over = NEEDS_ab,                                            \
                                      .back_over = true};

static int64_t add(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t sub(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t mul(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

/* Towards zero; a division by zero gives 0. */
static int64_t divide(int64_t a, int64_t b) {
    return b == 0 ? 0 : b == -1 ? sub(0, a) : a / b;
}

static int64_t divide_unsigned(int64_t a, int64_t b) {
    return b == 0 ? 0 : (int64_t)((uint64_t)a / (uint64_t)b);
}

/* Sign of the dividend. */
static int64_t remainder_c(int64_t a, int64_t b) {
    return b == 0 || b == -1 ? 0 : a % b;
}

/* Sign of the divisor. */
static int64_t remainder_floor(int64_t a, int64_t b) {
    const int64_t r = remainder_c(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static int64_t remainder_unsigned(int64_t a, int64_t b) {
    return b == 0 ? 0 : (int64_t)((uint64_t)a % (uint64_t)b);
}

static int64_t power_unsigned(int64_t a, int64_t b) {
    uint64_t result = 1, base = (uint64_t)a;
    for (uint64_t e = (uint64_t)b; e; e >>= 1, base *= base)
        if (e & 1) result *= base;
    return (int64_t)result;
}

static int64_t power(int64_t a, int64_t b) {
    if (b >= 0) return power_unsigned(a, b);
    return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
}

static int64_t leak(int64_t a, int64_t b) {
    return a < 0 ? mul(a, b) : a;
}

static int64_t first(int64_t a, int64_t b) {
    (void)b;
    return a;
}

static int64_t larger(int64_t a, int64_t b) {
    return a >= b ? a : b;
}

static int64_t larger_unsigned(int64_t a, int64_t b) {
    return (uint64_t)a >= (uint64_t)b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a <= b ? a : b;
}

static int64_t smaller_unsigned(int64_t a, int64_t b) {
    return (uint64_t)a <= (uint64_t)b ? a : b;
}

static float remainder_floor_f(float a, float b) {
    const float r = fmodf(a, b);
    return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
}

static float power_by_base(float a, float b) {
    return b == 2.0f   ? 2.0f * a
           : b == 3.0f ? 3.0f * a * a
           : b == 0.0f ? 0.0f
                       : b * powf(a, b - 1.0f);
}

static float power_by_exponent(float a, float b) {
    return a > 0.0f ? powf(a, b) * logf(a) : a == 0.0f && b >= 0.0f ? 0.0f : NAN;
}

/* clang-format off */
BINARY(Add, ab, TB_CLONES, a + b, none, 1.0f, none, 1.0f, add, add)
BINARY(Sub, a, TB_CLONES, a - b, none, 1.0f, none, -1.0f, sub, sub)
BINARY(Mul, none, TB_CLONES, a * b, b, b, a, a, mul, mul)
BINARY(Div, none, TB_CLONES, a / b, b, 1.0f / b, ab, -a / (b * b), divide, divide_unsigned)
BINARY(PRelu, none, TB_CLONES, a < 0.0f ? a * b : a, ab, a < 0.0f ? b : 1.0f, a, a < 0.0f ? a : 0.0f, leak, first)

/* Mod has two forms, chosen by an attribute. */
BINARY_ROW(ModFloor, PLAIN, remainder_floor_f(a, b), none, 1.0f, ab, -floorf(a / b), remainder_floor, remainder_unsigned)
BINARY_ROW(ModC, PLAIN, fmodf(a, b), none, 1.0f, ab, -truncf(a / b), remainder_c, remainder_unsigned)
/* clang-format on */

static const binary *mod_form(const tb_node *node) {
    return tb_attr_int(node, "fmod", 0) ? &row_ModC : &row_ModFloor;
}

static tiba_status mod_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               tiba_tensor *const *out, tiba_error *error) {
    return binary_forward(exec, mod_form(node), in[0], in[1], out[0], error);
}

static tiba_status mod_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                           const tiba_tensor *const *out, const tiba_tensor *const *dout,
                           tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    return binary_vjp(exec, mod_form(node), in, dout, din, error);
}

const tb_op_def tb_op_def_Mod = {.shape = arithmetic_shape,
                                 .forward = mod_forward,
                                 .vjp = mod_vjp,
                                 .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};

/* Pow: the result has the base's type; squares and cubes are products. */
VALUE_LOOPS(Square, TB_CLONES, (void)b, a *a)
VALUE_LOOPS(Cube, TB_CLONES, (void)b, a *a *a)
VALUE_LOOPS(AnyPower, PLAIN, (void)0, powf(a, b))

static void Power_value(float *y, const float *a, int step_a, const float *b, int step_b,
                        int64_t n) {
    value_fn *value = step_b || (*b != 2.0f && *b != 3.0f) ? AnyPower_value
                      : *b == 2.0f                         ? Square_value
                                                           : Cube_value;
    value(y, a, step_a, b, step_b, n);
}

static tiba_status pow_shape(tb_node *node, tiba_error *error) {
    for (int i = 0; i < 2; i++) {
        const tiba_dtype dtype = node->in[i]->t.dtype;
        if (dtype != TIBA_FLOAT32 && !tb_dtype_is_integer(dtype))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                                tb_dtype_name(dtype));
    }
    return tb_broadcast_shape(node, node->in[0]->t.dtype, error);
}

/* clang-format off */
GRADS(Power, PLAIN, ab, power_by_base(a, b), ab, power_by_exponent(a, b), power, power_unsigned)
/* clang-format on */

static tiba_status pow_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               tiba_tensor *const *out, tiba_error *error) {
    (void)node;
    if (in[0]->dtype == TIBA_FLOAT32 || in[1]->dtype != TIBA_FLOAT32)
        return binary_forward(exec, &row_Power, in[0], in[1], out[0], error);
    /* an integer to a float power is rare and small */
    tb_broadcast plan;
    tb_broadcast_plan(&plan, out[0], in[0], in[1]);
    tb_runs runs = tb_runs_start(&plan, 0, plan.count);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i++)
            tb_set_f64(out[0], runs.at + i,
                       pow(tb_get_f64(in[0], runs.a + i * plan.step_a),
                           tb_get_f64(in[1], runs.b + i * plan.step_b)));
    return TIBA_OK;
}

static tiba_status pow_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                           const tiba_tensor *const *out, const tiba_tensor *const *dout,
                           tiba_tensor *const *din, tiba_error *error) {
    (void)node, (void)out;
    return binary_vjp(exec, &row_Power, in, dout, din, error);
}

const tb_op_def tb_op_def_Pow = {.shape = pow_shape,
                                 .forward = pow_forward,
                                 .vjp = pow_vjp,
                                 .needs = TB_NEEDS_IN(0) | TB_NEEDS_IN(1)};

/* Any number of operands. Where several are the largest (smallest), the first is the winner and
 * has the gradient. The rows' slopes are those of an operand `a` beside the result `b`. NaN wins.
 */
/* clang-format off */
BINARY_ROW(Max, TB_CLONES, a >= b || a != a ? a : b, ab, a == b ? 1.0f : 0.0f, none, 0.0f, larger, larger_unsigned)
BINARY_ROW(Min, TB_CLONES, a <= b || a != a ? a : b, ab, a == b ? 1.0f : 0.0f, none, 0.0f, smaller, smaller_unsigned)
/* clang-format on */

static tiba_status chain_forward(tb_exec *exec, const tb_node *node, const binary *row,
                                 const tiba_tensor *const *in, tiba_tensor *y, tiba_error *error) {
    if (node->n_in == 1) {
        memcpy(y->data, in[0]->data, tb_tensor_bytes(y));
        return TIBA_OK;
    }
    TB_TRY(binary_forward(exec, row, in[0], in[1], y, error));
    for (int i = 2; i < node->n_in; i++) TB_TRY(binary_forward(exec, row, y, in[i], y, error));
    return TIBA_OK;
}

/* rest = 0 where operand `a` has won. */
static tiba_status strike_winner(tb_exec *exec, tiba_tensor *rest, const tiba_tensor *a,
                                 const tiba_tensor *y, tiba_error *error) {
    const float *va = tb_floats(exec, a), *vy = y->data;
    if (!va) return tb_out_of_memory(error);
    float *left = rest->data;
    tb_broadcast plan;
    tb_broadcast_plan(&plan, y, a, y);
    tb_runs runs = tb_runs_start(&plan, 0, plan.count);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i++)
            if (va[runs.a + i * plan.step_a] == vy[runs.at + i]) left[runs.at + i] = 0.0f;
    return TIBA_OK;
}

static tiba_status winner_vjp(tb_exec *exec, const tb_node *node, const binary *row,
                              const tiba_tensor *const *in, const tiba_tensor *y,
                              const tiba_tensor *dy, tiba_tensor *const *din, tiba_error *error) {
    tiba_tensor rest = *y;
    if (dy) {
        rest.data = tb_scratch(exec, (size_t)tb_tensor_count(y), sizeof(float));
        if (!rest.data) return tb_out_of_memory(error);
        memcpy(rest.data, dy->data, tb_tensor_bytes(dy));
    }
    for (int i = 0; i < node->n_in; i++) {
        TB_TRY(binary_grad(exec, row->grad[0], 0, in[i], y, dy ? &rest : NULL, din[i], error));
        if (dy && i + 1 < node->n_in) TB_TRY(strike_winner(exec, &rest, in[i], y, error));
    }
    return TIBA_OK;
}

/* Sum and Mean: dy times `scale` to each. */
static tiba_status share_vjp(tb_exec *exec, const tb_node *node, float scale,
                             const tiba_tensor *const *in, const tiba_tensor *const *dout,
                             tiba_tensor *const *din, tiba_error *error) {
    for (int i = 0; i < node->n_in; i++) {
        if (!din[i]) continue;
        TB_TRY(binary_grad(exec, Add_da, 0, in[i], in[i], dout[0], din[i], error));
        float *d = din[i]->data;
        const int64_t count = tb_tensor_count(din[i]);
        if (scale != 1.0f)
            for (int64_t k = 0; k < count; k++) d[k] *= scale;
    }
    return TIBA_OK;
}

static tiba_status mean_shape(tb_node *node, tiba_error *error) {
    TB_TRY(arithmetic_shape(node, error));
    if (node->out[0]->t.dtype != TIBA_FLOAT32)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                            tb_dtype_name(node->out[0]->t.dtype));
    return TIBA_OK;
}

static tiba_status Mean_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    TB_TRY(chain_forward(exec, node, &row_Add, in, out[0], error));
    float *y = out[0]->data;
    const int64_t count = tb_tensor_count(out[0]);
    for (int64_t i = 0; i < count; i++) y[i] /= (float)node->n_in;
    return TIBA_OK;
}

#define CHAIN_FORWARD(id, row)                                                                     \
    static tiba_status id##_forward(tb_exec *exec, const tb_node *node,                            \
                                    const tiba_tensor *const *in, tiba_tensor *const *out,         \
                                    tiba_error *error) {                                           \
        return chain_forward(exec, node, &row, in, out[0], error);                                 \
    }
#define CHAIN_OP(id, shape_, needs_, vjp_call)                                                     \
    static tiba_status id##_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,  \
                                const tiba_tensor *const *out, const tiba_tensor *const *dout,     \
                                tiba_tensor *const *din, tiba_error *error) {                      \
        (void)out;                                                                                 \
        return vjp_call;                                                                           \
    }                                                                                              \
    const tb_op_def tb_op_def_##id = {                                                             \
        .shape = shape_, .forward = id##_forward, .vjp = id##_vjp, .needs = needs_};

CHAIN_FORWARD(Sum, row_Add)
CHAIN_FORWARD(Max, row_Max)
CHAIN_FORWARD(Min, row_Min)
CHAIN_OP(Sum, arithmetic_shape, 0, share_vjp(exec, node, 1.0f, in, dout, din, error))
CHAIN_OP(Mean, mean_shape, 0, share_vjp(exec, node, 1.0f / (float)node->n_in, in, dout, din, error))
CHAIN_OP(Max, arithmetic_shape, TB_NEEDS_INS | TB_NEEDS_OUT(0),
         winner_vjp(exec, node, &row_Max, in, out[0], dout[0], din, error))
CHAIN_OP(Min, arithmetic_shape, TB_NEEDS_INS | TB_NEEDS_OUT(0),
         winner_vjp(exec, node, &row_Min, in, out[0], dout[0], din, error))
