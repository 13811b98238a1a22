/*
 * Where and Trilu: elements are taken or left by a mask.
 */
#include <string.h>

#include "runtime/clones.h"
#include "runtime/move.h"

enum { CONDITION, TAKEN, OTHER, OPERANDS, GRAIN = 1 << 15 };

/* The three operands seen as arrays of the output's shape, neighbouring axes merged. */
typedef struct choice {
    int rank;
    int64_t dims[TIBA_MAX_RANK], strides[OPERANDS][TIBA_MAX_RANK];
    size_t size;
    const char *data[OPERANDS];
    char *out;
} choice;

static void choice_axes(choice *c, const tiba_tensor *out, const tiba_tensor *const *in) {
    int64_t strides[OPERANDS][TIBA_MAX_RANK];
    for (int k = 0; k < OPERANDS; k++)
        tb_broadcast_strides(strides[k], out->rank, out->dims, in[k]->rank, in[k]->dims);
    for (int i = 0; i < out->rank; i++) {
        if (out->dims[i] == 1) continue;
        int last = c->rank - 1;
        bool merges = last >= 0;
        for (int k = 0; merges && k < OPERANDS; k++)
            merges = c->strides[k][last] == strides[k][i] * out->dims[i];
        if (merges)
            c->dims[last] *= out->dims[i];
        else
            c->dims[last = c->rank++] = out->dims[i];
        for (int k = 0; k < OPERANDS; k++) c->strides[k][last] = strides[k][i];
    }
    if (c->rank == 0) c->dims[c->rank++] = 1;
}

static TB_INLINE void choose(size_t size, char *out, const char *const *from, const int64_t *step,
                             int64_t n) {
    const unsigned char *condition = (const unsigned char *)from[CONDITION];
    int64_t s = (int64_t)size, step_a = step[TAKEN] * s, step_b = step[OTHER] * s;
    for (int64_t i = 0; i < n; i++)
        memcpy(out + i * s,
               condition[i * step[CONDITION]] ? from[TAKEN] + i * step_a : from[OTHER] + i * step_b,
               size);
}

/* float32 with a dense condition is what masks of attention scores are: selects without branches.
 */
static TB_INLINE void choose_floats(float *out, const unsigned char *condition, const float *a,
                                    int64_t step_a, const float *b, int64_t step_b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float x = a[i * step_a], y = b[i * step_b];
        out[i] = condition[i] ? x : y;
    }
}

static void choose_run(size_t size, char *out, const char *const *from, const int64_t *step,
                       int64_t n) {
    const unsigned char *condition = (const unsigned char *)from[CONDITION];
    if (size == sizeof(float) && step[CONDITION] == 1) {
        const float *a = (const float *)(const void *)from[TAKEN];
        const float *b = (const float *)(const void *)from[OTHER];
        float *to = (float *)(void *)out;
        if (step[TAKEN] == 1 && step[OTHER] == 0) {
            choose_floats(to, condition, a, 1, b, 0, n);
            return;
        }
        if (step[TAKEN] == 0 && step[OTHER] == 1) {
            choose_floats(to, condition, a, 0, b, 1, n);
            return;
        }
    }
    switch (size) {
    case 1:
        choose(1, out, from, step, n);
        break;
    case 2:
        choose(2, out, from, step, n);
        break;
    case 4:
        choose(4, out, from, step, n);
        break;
    default:
        choose(8, out, from, step, n);
        break;
    }
}

/* Elements first … last-1 of the output, run by run along the last axis. */
static void choose_range(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const choice *c = context;
    int64_t at[TIBA_MAX_RANK], rest = first, inner = c->dims[c->rank - 1];
    for (int i = c->rank - 1; i >= 0; i--) {
        at[i] = rest % c->dims[i];
        rest /= c->dims[i];
    }
    while (first < last) {
        int64_t n = inner - at[c->rank - 1], step[OPERANDS];
        if (n > last - first) n = last - first;
        const char *from[OPERANDS];
        for (int k = 0; k < OPERANDS; k++) {
            int64_t offset = 0;
            for (int i = 0; i < c->rank; i++) offset += at[i] * c->strides[k][i];
            from[k] = c->data[k] + offset * (k == CONDITION ? 1 : (int64_t)c->size);
            step[k] = c->strides[k][c->rank - 1];
        }
        choose_run(c->size, c->out + first * (int64_t)c->size, from, step, n);
        first += n;
        at[c->rank - 1] = 0;
        for (int i = c->rank - 2; i >= 0 && ++at[i] == c->dims[i]; i--) at[i] = 0;
    }
}

static void choose_all(tb_exec *exec, tiba_tensor *out, const tiba_tensor *condition,
                       const tiba_tensor *a, const tiba_tensor *b) {
    const tiba_tensor *in[OPERANDS] = {condition, a, b};
    choice c = {.size = tb_dtype_size(out->dtype), .out = out->data};
    for (int k = 0; k < OPERANDS; k++) c.data[k] = in[k]->data;
    choice_axes(&c, out, in);
    tb_parallel_ranges(exec, tb_tensor_count(out), GRAIN, choose_range, &c);
}

static tiba_status where_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *condition = &node->in[0]->t, *a = &node->in[1]->t, *b = &node->in[2]->t;
    if (condition->dtype != TIBA_BOOL)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its condition is %s, not bool",
                            tb_dtype_name(condition->dtype));
    if (a->dtype != b->dtype)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "chooses between %s and %s",
                            tb_dtype_name(a->dtype), tb_dtype_name(b->dtype));
    int64_t dims[TIBA_MAX_RANK];
    int rank = condition->rank;
    for (int i = 0; i < rank; i++) dims[i] = condition->dims[i];
    TB_TRY(tb_broadcast_dims(node, &rank, dims, a->rank, a->dims, error));
    TB_TRY(tb_broadcast_dims(node, &rank, dims, b->rank, b->dims, error));
    return tb_set_out(node, 0, a->dtype, rank, dims, error);
}

static tiba_status where_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    (void)node, (void)error;
    choose_all(exec, out[0], in[0], in[1], in[2]);
    return TIBA_OK;
}

/* The gradient goes to the side that was chosen: dout or 0 by the same condition, summed over the
 * axes along which that side was repeated. */
static tiba_status where_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                             const tiba_tensor *const *out, const tiba_tensor *const *dout,
                             tiba_tensor *const *din, tiba_error *error) {
    (void)node;
    float nothing = 0;
    const tiba_tensor zero = {.dtype = TIBA_FLOAT32, .data = &nothing};
    for (int k = 1; k <= 2; k++) {
        if (!din[k]) continue;
        if (!dout[0]) {
            tb_zero(din[k]);
            continue;
        }
        bool repeated = !tb_same_shape(din[k], out[0]);
        tiba_tensor chosen = repeated ? *dout[0] : *din[k];
        if (repeated) {
            chosen.data = tb_scratch(exec, (size_t)tb_tensor_count(&chosen), sizeof(float));
            if (!chosen.data) return tb_out_of_memory(error);
        }
        choose_all(exec, &chosen, in[0], k == 1 ? dout[0] : &zero, k == 1 ? &zero : dout[0]);
        if (repeated && !tb_reduce_floats(exec, din[k], chosen.rank, chosen.dims, chosen.data))
            return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_Where = {
    .shape = where_shape, .forward = where_forward, .vjp = where_vjp, .needs = TB_NEEDS_IN(0)};

/* Trilu: the upper or lower triangle of the last two axes, from the k-th diagonal on. */

static tiba_status trilu_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    TB_TRY(tb_need_rank(node, 0, 2, error));
    const tb_value *k = tb_node_in(node, 1);
    if (k && (!tb_dtype_is_integer(k->t.dtype) || tb_tensor_count(&k->t) != 1))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "k is not one integer");
    return tb_set_out(node, 0, x->dtype, x->rank, x->dims, error);
}

static void triangle(const tb_node *node, const tiba_tensor *diagonal, const tiba_tensor *in,
                     tiba_tensor *out) {
    int64_t rows = out->dims[out->rank - 2], columns = out->dims[out->rank - 1],
            size = (int64_t)tb_dtype_size(out->dtype), k = diagonal ? tb_get_i64(diagonal, 0) : 0;
    bool upper = tb_attr_int(node, "upper", 1) != 0;
    int64_t matrices = tb_product(out->dims, 0, out->rank - 2);
    if (k < -rows) k = -rows;
    if (k > columns) k = columns;
    for (int64_t r = 0; r < matrices * rows; r++) {
        char *to = (char *)out->data + r * columns * size;
        const char *from = (const char *)in->data + r * columns * size;
        /* the first column of the diagonal's right side in this row */
        int64_t edge = r % rows + k + (upper ? 0 : 1);
        edge = edge < 0 ? 0 : edge > columns ? columns : edge;
        int64_t first = upper ? edge : 0, last = upper ? columns : edge;
        memset(to, 0, (size_t)(first * size));
        memcpy(to + first * size, from + first * size, (size_t)((last - first) * size));
        memset(to + last * size, 0, (size_t)((columns - last) * size));
    }
}

static tiba_status trilu_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)error;
    triangle(node, tb_kernel_in(node, in, 1), in[0], out[0]);
    return TIBA_OK;
}

static tiba_status trilu_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                             const tiba_tensor *const *out, const tiba_tensor *const *dout,
                             tiba_tensor *const *din, tiba_error *error) {
    (void)exec, (void)out, (void)error;
    if (!din[0]) return TIBA_OK;
    if (dout[0])
        triangle(node, tb_kernel_in(node, in, 1), dout[0], din[0]);
    else
        tb_zero(din[0]);
    return TIBA_OK;
}

const tb_op_def tb_op_def_Trilu = {
    .shape = trilu_shape, .forward = trilu_forward, .vjp = trilu_vjp, .needs = TB_NEEDS_IN(1)};
