/*
 * Lowering of small ai.onnx operators: old names, inference forms of training operators, gated
 * linear units.
 */
#include <string.h>

#include "graph/lower.h"

/* Passes the call on as another op of op.def, with the same inputs and attributes. */
static void build_as(tb_call *c, tb_op_kind kind) {
    c->op = &tb_ops[kind];
}

void tb_lower_Dropout(tb_call *c) {
    const tb_value *training = tb_call_in(c, 2);
    double on = 0;
    if (training && (!tb_scalar_constant(training, &on) || on != 0)) {
        const tb_value *ratio = tb_call_in(c, 1);
        double rate = 0.5;
        if (!tb_scalar_constant(training, &on) || (ratio && !tb_scalar_constant(ratio, &rate)) ||
            rate != 0) {
            tb_call_fail(c, "training mode is not supported");
            return;
        }
    }
    if (!tb_call_in(c, 0)) {
        tb_call_fail(c, "input 0 is missing");
        return;
    }
    c->out[0] = c->in[0];
    if (!tb_call_wants(c, 1)) return;
    tiba_tensor *mask =
        tb_emit_tensor(c, &c->out[1], TIBA_BOOL, c->in[0]->t.rank, c->in[0]->t.dims);
    if (mask) memset(mask->data, 1, tb_tensor_bytes(mask));
}

void tb_lower_CastLike(tb_call *c) {
    if (c->n_in != 2 || !c->in[0] || !c->in[1]) {
        tb_call_fail(c, "has %d inputs, expected 2", c->n_in);
        return;
    }
    c->out[0] = tb_emit_cast(c, c->in[0], c->in[1]->t.dtype);
}

void tb_lower_Scatter(tb_call *c) {
    build_as(c, TB_OP_ScatterElements);
}

/* Upsample 7 has its scales as an attribute, 9 as an input; both sample from the origin. */
void tb_lower_Upsample(tb_call *c) {
    const tb_attr *scales = tb_find_attr(c->node, "scales");
    c->in[2] = tb_call_in(c, 1);
    c->in[1] = NULL;
    if (!c->in[2] && scales && scales->kind == TB_ATTR_FLOATS &&
        tb_build_constant(c->b, &c->in[2], TIBA_FLOAT32, 1, &scales->count, scales->floats,
                          c->error) != TIBA_OK)
        c->status = tb_out_of_memory(c->error);
    c->n_in = 3;
    tb_call_drop_attr(c, "scales");
    const char *mode = tb_attr_string(c->node, "mode", "nearest");
    tb_call_set_attr(c, TB_STRING_ATTR("mode", strcmp(mode, "bilinear") == 0 ? "linear" : mode));
    tb_call_set_attr(c, TB_STRING_ATTR("coordinate_transformation_mode", "asymmetric"));
    tb_call_set_attr(c, TB_STRING_ATTR("nearest_mode", "floor"));
    build_as(c, TB_OP_Resize);
}

/* alpha x + beta */
void tb_lower_Affine(tb_call *c) {
    double alpha = (double)tb_attr_float(c->node, "alpha", 1.0f),
           beta = (double)tb_attr_float(c->node, "beta", 0.0f);
    if (!tb_call_in(c, 0)) {
        tb_call_fail(c, "input 0 is missing");
        return;
    }
    tb_value *y = tb_emit_scale(c, c->in[0], alpha);
    c->out[0] = beta == 0 ? y : tb_emit2(c, TB_OP_Add, y, tb_emit_scalar(c, beta));
}

/* Constants only: the bits of one type read as another of the same size. */
void tb_lower_BitCast(tb_call *c) {
    tiba_dtype to = (tiba_dtype)tb_attr_int(c->node, "to", 0);
    const tb_value *x = tb_call_in(c, 0);
    if (!x || !x->t.data || tb_dtype_size(to) != tb_dtype_size(x->t.dtype)) {
        tb_call_fail(c, "takes constants of an equally wide type only");
        return;
    }
    tiba_tensor t = x->t;
    t.dtype = to;
    c->status = tb_build_borrowed(c->b, &c->out[0], &t, c->error);
}

/* x[…, start:end, …] behind `head` along the axis; an empty stretch is left out. */
static tb_value *behind(tb_call *c, tb_value *head, tb_value *x, int64_t axis, int64_t start,
                        int64_t end) {
    if (c->status != TIBA_OK || start >= end) return head;
    if (start > 0 || end < x->t.dims[axis]) x = tb_emit_slice(c, x, axis, start, end);
    return head ? tb_emit_concat(c, head, x, axis) : x;
}

/* The cache with the update written from position `at` on, past its end at its beginning. */
static tb_value *written(tb_call *c, tb_value *cache, tb_value *update, int64_t axis, int64_t at) {
    if (c->status != TIBA_OK) return NULL;
    int64_t room = cache->t.dims[axis], n = update->t.dims[axis],
            fits = room - at < n ? room - at : n;
    tb_value *y = behind(c, NULL, update, axis, fits, n);
    y = behind(c, y, cache, axis, n - fits, at);
    y = behind(c, y, update, axis, 0, fits);
    return behind(c, y, cache, axis, at + fits, room);
}

/* past_cache, update, write_indices [batch] (zeros): each sample's update in its place. */
void tb_lower_TensorScatter(tb_call *c) {
    tb_value *cache = tb_call_in(c, 0), *update = tb_call_in(c, 1), *at = tb_call_in(c, 2);
    bool circular = strcmp(tb_attr_string(c->node, "mode", "linear"), "circular") == 0;
    int64_t axis = tb_attr_int(c->node, "axis", -2);
    if (cache && axis < 0) axis += cache->t.rank;
    bool fits = cache && update && update->t.rank == cache->t.rank && axis > 0 &&
                axis < cache->t.rank && update->t.dims[axis] <= cache->t.dims[axis] &&
                update->t.dims[axis] > 0 && cache->t.dims[0] > 0;
    for (int i = 0; fits && i < cache->t.rank; i++)
        fits = i == axis || cache->t.dims[i] == update->t.dims[i];
    if (!fits || (at && (!at->t.data || tb_tensor_count(&at->t) != cache->t.dims[0]))) {
        tb_call_fail(c, "its update or its write_indices do not fit the cache");
        return;
    }
    int64_t batch = cache->t.dims[0], room = cache->t.dims[axis], first = 0;
    bool same = true;
    for (int64_t b = 0; at && b < batch; b++) {
        int64_t index = tb_get_i64(&at->t, b);
        if (index < 0 || (!circular && index > room - update->t.dims[axis])) {
            tb_call_fail(c, "write index %lld is outside the cache", (long long)index);
            return;
        }
        first = b == 0 ? index % room : first;
        same = same && index % room == first;
    }
    if (same) {
        c->out[0] = written(c, cache, update, axis, first);
        return;
    }
    for (int64_t b = 0; b < batch; b++) {
        tb_value *one =
            written(c, tb_emit_slice(c, cache, 0, b, b + 1), tb_emit_slice(c, update, 0, b, b + 1),
                    axis, tb_get_i64(&at->t, b) % room);
        c->out[0] = b ? tb_emit_concat(c, c->out[0], one, 0) : one;
    }
}
