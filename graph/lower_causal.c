/*
 * Lowering of CausalConvWithState (operator set 27, and onnxruntime's with more attributes): each
 * channel is convolved along the tokens with its own kernel, which reaches back only.
 */
#include <string.h>

#include "graph/lower.h"

/* Attributes of onnxruntime's form that change what is computed, and are 0 where not given. */
static bool refuse_extensions(tb_call *c) {
    static const char *const names[] = {"state_window", "state_length", "state_update_capacity",
                                        "input_channel_offset", "input_channels"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (tb_attr_int(c->node, names[i], 0)) {
            tb_call_fail(c, "attribute %s is not supported", names[i]);
            return false;
        }
    if (tb_attr_int(c->node, "ndim", 1) != 1 ||
        tb_attr_int(c->node, "state_channels_last", -1) != -1) {
        tb_call_fail(c, "only one dimension, with a state laid out as the input, is supported");
        return false;
    }
    return true;
}

/* The last `reach` tokens of past (zeros where there is none) and x, [batch, channels, tokens]. */
static tb_value *last_tokens(tb_call *c, tb_value *past, tb_value *x, int64_t reach) {
    const int64_t *d = x->t.dims, zeros[3] = {d[0], d[1], reach};
    tb_value *none;
    if (!past && !tb_emit_tensor(c, &none, TIBA_FLOAT32, 3, zeros)) return NULL;
    tb_value *all = tb_emit_concat(c, past ? past : none, x, 2);
    return tb_emit_slice(c, all, 2, d[2], d[2] + reach);
}

void tb_lower_CausalConvWithState(tb_call *c) {
    const char *act = tb_attr_string(c->node, "activation", "none");
    bool silu = strcmp(act, "silu") == 0 || strcmp(act, "swish") == 0;
    bool last = tb_attr_int(c->node, "channels_last", 0) != 0;
    const int64_t turned[3] = {0, 2, 1};
    if (!refuse_extensions(c) || !tb_call_needs_rank(c, 0, 3) || !tb_call_needs_rank(c, 1, 3))
        return;
    if (!silu && strcmp(act, "none") != 0) {
        tb_call_fail(c, "activation '%.40s' is not known", act);
        return;
    }
    tb_value *x = c->in[0], *past = tb_call_in(c, 3);
    if (last) x = tb_emit_transpose(c, x, 3, turned);
    if (last && past) past = tb_emit_transpose(c, past, 3, turned);
    if (c->status != TIBA_OK) return;
    int64_t step = tb_attr_int(c->node, "dilation", 1), kernel = c->in[1]->t.dims[2];
    int64_t reach = (kernel - 1) * step, pads[2] = {past ? 0 : reach, 0};
    if (step < 1 || kernel < 1 || (past && (past->t.rank != 3 || past->t.dims[2] != reach))) {
        tb_call_fail(c, "its state does not fit its kernel");
        return;
    }
    tb_attr attrs[] = {TB_INT_ATTR("group", x->t.dims[1]), TB_INTS_ATTR("dilations", 1, &step),
                       TB_INTS_ATTR("pads", 2, pads)};
    tb_value *in[] = {past ? tb_emit_concat(c, past, x, 2) : x, c->in[1], tb_call_in(c, 2)};
    tb_value *y = tb_emit(c, TB_OP_Conv, in[2] ? 3 : 2, in, 3, attrs);
    if (silu) y = tb_emit1(c, TB_OP_Swish, y);
    c->out[0] = last ? tb_emit_transpose(c, y, 3, turned) : y;
    if (!tb_call_wants(c, 1)) return;
    tb_value *state = last_tokens(c, past, x, reach);
    c->out[1] = last ? tb_emit_transpose(c, state, 3, turned) : state;
}
