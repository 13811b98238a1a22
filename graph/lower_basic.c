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
