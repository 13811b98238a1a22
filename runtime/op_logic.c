/*
 * op_logic.c: comparisons, logic and bits. No gradient passes them; most are folded away while
 * binding (masks, shapes), some stay (a mask made from a float input).
 */
#include <math.h>
#include <string.h>

#include "runtime/broadcast.h"
#include "runtime/clones.h"
#include "runtime/elements.h"
#include "runtime/shapes.h"

/* One run; steps are 0 or 1. */
typedef void float_fn(uint8_t *y, const float *a, int step_a, const float *b, int step_b,
                      int64_t n);
typedef void integer_fn(int64_t *y, const int64_t *a, const int64_t *b, int64_t n);

typedef struct logic {
    float_fn *floats;
    integer_fn *integers, *unsigned64; /* narrow unsigned types fit into int64 */
} logic;

enum { RUN = 512 };

typedef struct job {
    tb_broadcast plan;
    float_fn *floats;
    integer_fn *integers;
    tiba_tensor *y;
    const tiba_tensor *ta, *tb;
    const float *a, *b;
} job;

static void integer_run(const job *j, const tb_runs *runs) {
    int64_t a[RUN], b[RUN];
    const tb_broadcast *plan = &j->plan;
    for (int64_t i = 0; i < runs->n; i += RUN) {
        const int64_t n = runs->n - i < RUN ? runs->n - i : RUN;
        tb_load_i64(a, j->ta, runs->a + i * plan->step_a, n, plan->step_a);
        tb_load_i64(b, j->tb, runs->b + i * plan->step_b, n, plan->step_b);
        j->integers(a, a, b, n);
        tb_store_i64(j->y, runs->at + i, n, a);
    }
}

static void run_tile(void *context, int64_t item, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t begin = item * TB_TILE;
    const int64_t end = begin + TB_TILE < j->plan.count ? begin + TB_TILE : j->plan.count;
    tb_runs runs = tb_runs_start(&j->plan, begin, end);
    while (tb_runs_next(&runs)) {
        if (j->integers)
            integer_run(j, &runs);
        else
            j->floats((uint8_t *)j->y->data + runs.at, j->a + runs.a, j->plan.step_a, j->b + runs.b,
                      j->plan.step_b, runs.n);
    }
}

static tiba_status logic_forward(tb_exec *exec, const logic *row, const tiba_tensor *const *in,
                                 tiba_tensor *y, tiba_error *error) {
    job j = {.y = y, .ta = in[0], .tb = in[1]};
    tb_broadcast_plan(&j.plan, y, in[0], in[1]);
    if (in[0]->dtype == TIBA_FLOAT32 || in[1]->dtype == TIBA_FLOAT32) {
        j.floats = row->floats;
        j.a = tb_floats(exec, in[0]);
        j.b = tb_floats(exec, in[1]);
        if (!j.a || !j.b) return tb_out_of_memory(error);
    } else {
        j.integers = in[0]->dtype == TIBA_UINT64 ? row->unsigned64 : row->integers;
    }
    tb_parallel_for(exec->pool, tb_tiles(j.plan.count), run_tile, &j);
    return TIBA_OK;
}

typedef enum operands { NUMBERS_OR_BOOLS, BOOLS, INTEGERS } operands;

/* Two operands of one type out of `which`; a float may also meet an integer. */
static tiba_status two_of(tb_node *node, operands which, tiba_dtype result, tiba_error *error) {
    for (int i = 0; i < 2; i++) {
        const tiba_dtype dtype = node->in[i]->t.dtype;
        const bool integer = tb_dtype_is_integer(dtype), boolean = dtype == TIBA_BOOL;
        if (which == BOOLS      ? !boolean
            : which == INTEGERS ? !integer
                                : !integer && !boolean && dtype != TIBA_FLOAT32)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                                tb_dtype_name(dtype));
    }
    const tiba_dtype a = node->in[0]->t.dtype, b = node->in[1]->t.dtype;
    const bool mixed = (a == TIBA_FLOAT32 && tb_dtype_is_integer(b)) ||
                       (b == TIBA_FLOAT32 && tb_dtype_is_integer(a));
    if (a != b && !mixed)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "operands are %s and %s",
                            tb_dtype_name(a), tb_dtype_name(b));
    return tb_broadcast_shape(node, result == TIBA_UNDEFINED ? a : result, error);
}

static tiba_status compare_shape(tb_node *node, tiba_error *error) {
    return two_of(node, NUMBERS_OR_BOOLS, TIBA_BOOL, error);
}

static tiba_status bool_shape(tb_node *node, tiba_error *error) {
    return two_of(node, BOOLS, TIBA_BOOL, error);
}

static tiba_status integer_shape(tb_node *node, tiba_error *error) {
    return two_of(node, INTEGERS, TIBA_UNDEFINED, error);
}

#define INTEGER_LOOP(name, type, expression)                                                       \
    TB_CLONES static void name(int64_t *y, const int64_t *a_, const int64_t *b_, int64_t n) {      \
        TB_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const type a = (type)a_[i], b = (type)b_[i];                                           \
            y[i] = (int64_t)(expression);                                                          \
        }                                                                                          \
    }
#define LOGIC_OP(id, shape_, floats, integers, unsigned64)                                         \
    static const logic row_##id = {floats, integers, unsigned64};                                  \
    static tiba_status id##_forward(tb_exec *exec, const tb_node *node,                            \
                                    const tiba_tensor *const *in, tiba_tensor *const *out,         \
                                    tiba_error *error) {                                           \
        (void)node;                                                                                \
        return logic_forward(exec, &row_##id, in, out[0], error);                                  \
    }                                                                                              \
    const tb_op_def tb_op_def_##id = {                                                             \
        .shape = shape_, .forward = id##_forward, .no_vjp = "not differentiable"};

#define COMPARISON(id, expression)                                                                 \
    TB_CLONES static void id##_f(uint8_t *y, const float *a_, int step_a, const float *b_,         \
                                 int step_b, int64_t n) {                                          \
        TB_IVDEP                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const float a = a_[i * step_a], b = b_[i * step_b];                                    \
            y[i] = (expression);                                                                   \
        }                                                                                          \
    }                                                                                              \
    INTEGER_LOOP(id##_i, int64_t, expression)                                                      \
    INTEGER_LOOP(id##_u, uint64_t, expression)                                                     \
    LOGIC_OP(id, compare_shape, id##_f, id##_i, id##_u)

#define BITS(id, shape_, expression)                                                               \
    INTEGER_LOOP(id##_u, uint64_t, expression)                                                     \
    LOGIC_OP(id, shape_, NULL, id##_u, id##_u)

COMPARISON(Equal, a == b)
COMPARISON(Greater, a > b)
COMPARISON(GreaterOrEqual, a >= b)
COMPARISON(Less, a < b)
COMPARISON(LessOrEqual, a <= b)
BITS(And, bool_shape, (a != 0) & (b != 0))
BITS(Or, bool_shape, (a != 0) | (b != 0))
BITS(Xor, bool_shape, (a != 0) ^ (b != 0))
BITS(BitwiseAnd, integer_shape, a &b)
BITS(BitwiseOr, integer_shape, a | b)
BITS(BitwiseXor, integer_shape, a ^ b)

/* A shift by the width or more leaves nothing; the left one is cut when it is stored. */
INTEGER_LOOP(shift_left, uint64_t, b < 64 ? a << (b & 63) : 0)
INTEGER_LOOP(shift_right, uint64_t, b < 64 ? a >> (b & 63) : 0)
static const logic shifts[] = {{NULL, shift_left, shift_left}, {NULL, shift_right, shift_right}};

static tiba_status BitShift_shape(tb_node *node, tiba_error *error) {
    const char *direction = tb_attr_string(node, "direction", "");
    if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "direction is \"%.40s\"", direction);
    const tiba_dtype dtype = node->in[0]->t.dtype;
    if (dtype != TIBA_UINT8 && dtype != TIBA_UINT16 && dtype != TIBA_UINT32 && dtype != TIBA_UINT64)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                            tb_dtype_name(dtype));
    return integer_shape(node, error);
}

static tiba_status BitShift_forward(tb_exec *exec, const tb_node *node,
                                    const tiba_tensor *const *in, tiba_tensor *const *out,
                                    tiba_error *error) {
    const bool right = strcmp(tb_attr_string(node, "direction", ""), "RIGHT") == 0;
    return logic_forward(exec, &shifts[right], in, out[0], error);
}

const tb_op_def tb_op_def_BitShift = {
    .shape = BitShift_shape, .forward = BitShift_forward, .no_vjp = "not differentiable"};

/* ---------------------------------------------------------------- one operand */

static tiba_status one_of(tb_node *node, bool fits, tiba_dtype result, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    if (!fits)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s",
                            tb_dtype_name(x->dtype));
    return tb_set_out(node, 0, result, x->rank, x->dims, error);
}

static tiba_status Not_shape(tb_node *node, tiba_error *error) {
    return one_of(node, node->in[0]->t.dtype == TIBA_BOOL, TIBA_BOOL, error);
}

static tiba_status BitwiseNot_shape(tb_node *node, tiba_error *error) {
    const tiba_dtype dtype = node->in[0]->t.dtype;
    return one_of(node, tb_dtype_is_integer(dtype), dtype, error);
}

static tiba_status float_test_shape(tb_node *node, tiba_error *error) {
    return one_of(node, node->in[0]->t.dtype == TIBA_FLOAT32, TIBA_BOOL, error);
}

static tiba_status Not_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)node, (void)error;
    const uint8_t *x = in[0]->data;
    uint8_t *y = out[0]->data;
    const int64_t count = tb_tensor_count(in[0]);
    for (int64_t i = 0; i < count; i++) y[i] = x[i] == 0;
    return TIBA_OK;
}

static tiba_status BitwiseNot_forward(tb_exec *exec, const tb_node *node,
                                      const tiba_tensor *const *in, tiba_tensor *const *out,
                                      tiba_error *error) {
    (void)exec, (void)node, (void)error;
    const uint8_t *x = in[0]->data;
    uint8_t *y = out[0]->data;
    const size_t bytes = tb_tensor_bytes(in[0]);
    for (size_t i = 0; i < bytes; i++) y[i] = (uint8_t)~x[i];
    return TIBA_OK;
}

static tiba_status IsNaN_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)node, (void)error;
    const float *x = in[0]->data;
    uint8_t *y = out[0]->data;
    const int64_t count = tb_tensor_count(in[0]);
    for (int64_t i = 0; i < count; i++) y[i] = x[i] != x[i];
    return TIBA_OK;
}

static tiba_status IsInf_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)error;
    const bool negative = tb_attr_int(node, "detect_negative", 1) != 0;
    const bool positive = tb_attr_int(node, "detect_positive", 1) != 0;
    const float *x = in[0]->data;
    uint8_t *y = out[0]->data;
    const int64_t count = tb_tensor_count(in[0]);
    for (int64_t i = 0; i < count; i++)
        y[i] = (positive && x[i] == INFINITY) || (negative && x[i] == -INFINITY);
    return TIBA_OK;
}

const tb_op_def tb_op_def_Not = {
    .shape = Not_shape, .forward = Not_forward, .no_vjp = "not differentiable"};
const tb_op_def tb_op_def_BitwiseNot = {
    .shape = BitwiseNot_shape, .forward = BitwiseNot_forward, .no_vjp = "not differentiable"};
const tb_op_def tb_op_def_IsNaN = {
    .shape = float_test_shape, .forward = IsNaN_forward, .no_vjp = "not differentiable"};
const tb_op_def tb_op_def_IsInf = {
    .shape = float_test_shape, .forward = IsInf_forward, .no_vjp = "not differentiable"};
