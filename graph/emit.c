/*
 * The vocabulary of lowering (graph/lower.h): calls and sticky emitting.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/lower.h"

tb_value *tb_call_fail(tb_call *c, const char *format, ...) {
    if (c->status != TIBA_OK) return NULL;
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    c->status = tb_node_fail(c->error, TIBA_ERROR_INPUT, c->node, "%s", message);
    return NULL;
}

static tb_value *no_memory(tb_call *c) {
    if (c->status == TIBA_OK) c->status = tb_out_of_memory(c->error);
    return NULL;
}

tb_value *tb_call_in(const tb_call *c, int i) {
    return i < c->n_in ? c->in[i] : NULL;
}

int tb_call_file_type(const tb_call *c, int i) {
    const tb_value *v = i < c->node->n_in ? c->node->in[i] : NULL;
    while (v && !v->file_type && v->producer && v->producer->n_in > 0) {
        const tb_op *op = tb_find_op(v->producer->domain, v->producer->op_type);
        if (!op || op->class != TB_CLASS_MOVE) return 0;
        v = v->producer->in[0];
    }
    return v ? v->file_type : 0;
}

bool tb_call_wants(const tb_call *c, int i) {
    const tb_value *out = i < c->n_out ? c->node->out[i] : NULL;
    return out && (out->n_uses > 0 || out->is_output);
}

void tb_call_refuse_inputs(tb_call *c, int first, int last, const char *what) {
    for (int i = first; i <= last; i++)
        if (tb_call_in(c, i)) tb_call_fail(c, "%s (input %d) is not supported", what, i);
}

bool tb_call_needs_rank(tb_call *c, int i, int rank) {
    const tb_value *value = tb_call_in(c, i);
    if (c->status != TIBA_OK) return false;
    if (!value)
        tb_call_fail(c, "input %d is missing", i);
    else if (value->t.rank != rank)
        tb_call_fail(c, "input %d has %d dimensions, expected %d", i, value->t.rank, rank);
    return c->status == TIBA_OK;
}

void tb_call_drop_attr(tb_call *c, const char *name) {
    for (int i = 0; i < c->n_attrs; i++)
        if (strcmp(c->attrs[i].name, name) == 0) {
            c->attrs[i] = c->attrs[--c->n_attrs];
            return;
        }
}

void tb_call_set_attr(tb_call *c, tb_attr attr) {
    tb_call_drop_attr(c, attr.name);
    if (c->n_attrs < c->node->n_attrs + TB_CALL_ROOM) c->attrs[c->n_attrs++] = attr;
}

tb_value *tb_emit(tb_call *c, tb_op_kind kind, int n_in, tb_value *const *in, int n_attrs,
                  const tb_attr *attrs) {
    if (c->status != TIBA_OK) return NULL;
    tb_value *out = NULL;
    c->status = tb_build1(c->b, &out, kind, n_in, in, n_attrs, attrs, c->error);
    return c->status == TIBA_OK ? out : NULL;
}

tb_value *tb_emit1(tb_call *c, tb_op_kind kind, tb_value *a) {
    return tb_emit(c, kind, 1, &a, 0, NULL);
}

tb_value *tb_emit2(tb_call *c, tb_op_kind kind, tb_value *a, tb_value *b) {
    return tb_emit(c, kind, 2, (tb_value *[]){a, b}, 0, NULL);
}

tb_value *tb_emit3(tb_call *c, tb_op_kind kind, tb_value *a, tb_value *b, tb_value *d) {
    return tb_emit(c, kind, 3, (tb_value *[]){a, b, d}, 0, NULL);
}

tb_value *tb_emit_scalar(tb_call *c, double value) {
    tb_value *out = NULL;
    if (c->status == TIBA_OK) c->status = tb_build_scalar(c->b, &out, (float)value, c->error);
    return out;
}

tb_value *tb_emit_ints(tb_call *c, int count, const int64_t *values) {
    tb_value *out = NULL;
    if (c->status == TIBA_OK) c->status = tb_build_ints(c->b, &out, count, values, c->error);
    return out;
}

tiba_tensor *tb_emit_tensor(tb_call *c, tb_value **value, tiba_dtype dtype, int rank,
                            const int64_t *dims) {
    *value = NULL;
    if (c->status != TIBA_OK) return NULL;
    tiba_tensor t;
    c->status = tb_tensor_create(&t, c->b->graph->arena, dtype, rank, dims, c->error);
    if (c->status == TIBA_OK) c->status = tb_build_borrowed(c->b, value, &t, c->error);
    return c->status == TIBA_OK ? &(*value)->t : NULL;
}

tb_value *tb_emit_cast(tb_call *c, tb_value *x, tiba_dtype dtype) {
    if (c->status != TIBA_OK || x->t.dtype == dtype) return x;
    return tb_emit(c, TB_OP_Cast, 1, &x, 1, &TB_INT_ATTR("to", dtype));
}

tb_value *tb_emit_reshape(tb_call *c, tb_value *x, int rank, const int64_t *dims) {
    if (c->status != TIBA_OK) return NULL;
    bool same = x->t.rank == rank;
    for (int i = 0; same && i < rank; i++) same = x->t.dims[i] == dims[i];
    if (same) return x;
    return tb_emit(c, TB_OP_Reshape, 2, (tb_value *[]){x, tb_emit_ints(c, rank, dims)}, 1,
                   &TB_INT_ATTR("allowzero", 1));
}

tb_value *tb_emit_transpose(tb_call *c, tb_value *x, int rank, const int64_t *perm) {
    if (c->status != TIBA_OK) return NULL;
    bool same = true;
    for (int i = 0; i < rank; i++) same = same && perm[i] == i;
    if (same) return x;
    return tb_emit(c, TB_OP_Transpose, 1, &x, 1, &TB_INTS_ATTR("perm", rank, perm));
}

tb_value *tb_emit_swap(tb_call *c, tb_value *x) {
    if (c->status != TIBA_OK) return NULL;
    int rank = x->t.rank;
    if (rank < 2) return tb_call_fail(c, "an operand has %d dimensions, expected 2 or more", rank);
    int64_t perm[TIBA_MAX_RANK];
    for (int i = 0; i < rank; i++) perm[i] = i;
    perm[rank - 2] = rank - 1;
    perm[rank - 1] = rank - 2;
    return tb_emit_transpose(c, x, rank, perm);
}

tb_value *tb_emit_concat(tb_call *c, tb_value *a, tb_value *b, int64_t axis) {
    return tb_emit(c, TB_OP_Concat, 2, (tb_value *[]){a, b}, 1, &TB_INT_ATTR("axis", axis));
}

tb_value *tb_emit_slice(tb_call *c, tb_value *x, int64_t axis, int64_t start, int64_t end) {
    tb_value *in[] = {x, tb_emit_ints(c, 1, &start), tb_emit_ints(c, 1, &end),
                      tb_emit_ints(c, 1, &axis)};
    return tb_emit(c, TB_OP_Slice, 4, in, 0, NULL);
}

tb_value *tb_emit_expand(tb_call *c, tb_value *x, int rank, const int64_t *dims) {
    if (c->status != TIBA_OK) return NULL;
    bool same = x->t.rank == rank;
    for (int i = 0; same && i < rank; i++) same = x->t.dims[i] == dims[i];
    return same ? x : tb_emit2(c, TB_OP_Expand, x, tb_emit_ints(c, rank, dims));
}

tb_value *tb_emit_scale(tb_call *c, tb_value *x, double factor) {
    return factor == 1.0 ? x : tb_emit2(c, TB_OP_Mul, x, tb_emit_scalar(c, factor));
}

tb_value *tb_emit_add_optional(tb_call *c, tb_value *x, tb_value *y) {
    return y ? tb_emit2(c, TB_OP_Add, x, y) : x;
}

tb_value *tb_emit_softmax(tb_call *c, tb_value *x, int64_t axis) {
    return tb_emit(c, TB_OP_Softmax, 1, &x, 1, &TB_INT_ATTR("axis", axis));
}

tb_value *tb_emit_whole_steps(tb_call *c, tb_value *scale) {
    double value;
    if (!tb_scalar_constant(scale, &value) || !(value > 0) || !(value <= 1)) return scale;
    return tb_emit_scalar(c, 1 / floor((double)(1.0f / (float)value)));
}

void tb_emit_split(tb_call *c, tb_value *x, int64_t axis, int count, const int64_t *sizes,
                   tb_value **parts) {
    for (int i = 0; i < count; i++) parts[i] = NULL;
    tb_value *in[] = {x, tb_emit_ints(c, count, sizes)};
    if (c->status != TIBA_OK) return;
    c->status =
        tb_build(c->b, parts, count, TB_OP_Split, 2, in, 1, &TB_INT_ATTR("axis", axis), c->error);
}

tb_value *tb_emit_split_heads(tb_call *c, tb_value *x, int64_t heads) {
    if (c->status != TIBA_OK) return NULL;
    if (x->t.rank != 3 || heads <= 0 || x->t.dims[2] % heads)
        return tb_call_fail(c, "an operand cannot be split into %lld heads", (long long)heads);
    int64_t dims[] = {x->t.dims[0], x->t.dims[1], heads, x->t.dims[2] / heads};
    return tb_emit_transpose(c, tb_emit_reshape(c, x, 4, dims), 4, (int64_t[]){0, 2, 1, 3});
}

tb_value *tb_emit_merge_heads(tb_call *c, tb_value *x) {
    if (c->status != TIBA_OK) return NULL;
    int64_t dims[3] = {x->t.dims[0], x->t.dims[2], 0};
    if (!tb_i64_mul(&dims[2], x->t.dims[1], x->t.dims[3])) return no_memory(c);
    return tb_emit_reshape(c, tb_emit_transpose(c, x, 4, (int64_t[]){0, 2, 1, 3}), 3, dims);
}

tb_value *tb_emit_repeat_heads(tb_call *c, tb_value *x, int64_t repeats) {
    if (c->status != TIBA_OK || repeats == 1) return x;
    const int64_t *d = x->t.dims;
    int64_t one[] = {d[0], d[1], 1, d[2], d[3]}, all[] = {d[0], d[1], repeats, d[2], d[3]},
            merged[4] = {d[0], 0, d[2], d[3]};
    if (x->t.rank != 4 || !tb_i64_mul(&merged[1], d[1], repeats)) return no_memory(c);
    return tb_emit_reshape(c, tb_emit_expand(c, tb_emit_reshape(c, x, 5, one), 5, all), 4, merged);
}
