/*
 * QuantizeLinear as onnxruntime runs it, and pairs of it with DequantizeLinear as one operator.
 * onnxruntime's optimiser changes two chains of quantise-dequantise
 * pairs so that other integers come out than the file says word by word; such files were
 * calibrated and are tested with what it computes, so that is what they mean here as well.
 */
#include <math.h>
#include <string.h>

#include "graph/lower.h"
#include "graph/quant_groups.h"

/* The scale by which the kernel of `group` rounds. That of a softmax multiplies by
 * the whole number below 1/scale: 254 for a scale of 1/255. */
static tb_value *kernel_scale(tb_call *c, const tb_quant_group *group, tb_value *scale) {
    bool softmax = group->node && strcmp(group->node->op_type, "Softmax") == 0;
    return softmax ? tb_emit_whole_steps(c, scale) : scale;
}

/* Does the call belong to two pairs that are run as one? Then its scale and zero point are that
 * one's where it is of the first pair; the second does nothing, and the call is done. */
static void merge_pairs(tb_call *c) {
    float units[2];
    bool second;
    if (!tb_merged_pairs(c->node, units, &second)) return;
    if (!second) {
        c->in[1] = tb_emit_scalar(c, (double)units[0]);
        c->in[2] = tb_emit_cast(c, tb_emit_scalar(c, (double)units[1]), c->in[2]->t.dtype);
    } else {
        c->out[0] = c->in[0];
        c->done = true;
    }
}

void tb_upgrade_quantize(tb_call *c) {
    tb_value *x = tb_call_in(c, 0);
    int type = tb_call_file_type(c, 2);
    if (type && !tb_attr_int(c->node, "output_dtype", 0))
        tb_call_set_attr(c, TB_INT_ATTR("output_dtype", type));
    if (!tb_attr_int(c->node, "saturate", 1)) tb_call_fail(c, "saturate = 0 is not supported");
    if (!x || !tb_call_in(c, 1) || c->n_out != 1) return;
    merge_pairs(c);
    const tb_value *source = c->node->in[0];
    if (c->done || c->status != TIBA_OK || source->n_uses != 1 || source->is_output) return;
    const tb_quant_group group = tb_quantized_group(c->node);
    c->in[1] = kernel_scale(c, &group, c->in[1]);
    if (group.zero_first) tb_call_set_attr(c, TB_INT_ATTR("zero_first", group.type));
}

/* The same constant, or constants of the same one number? */
static bool same_parameter(const tb_value *a, const tb_value *b) {
    double x, y;
    if (a == b) return true;
    return tb_scalar_constant(a, &x) && tb_scalar_constant(b, &y) && x == y &&
           a->t.dtype == b->t.dtype;
}

/* Does the node round x as `quantize` does? */
static bool is_pair_of(const tb_node *node, const tb_node *quantize) {
    if (!tb_is(node, TB_OP_FakeQuantize) || node->n_in != quantize->n_in) return false;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] != quantize->in[i]) return false;
    const char *names[] = {"axis", "block_size", "output_dtype", "zero_first"};
    for (int i = 0; i < 4; i++)
        if (tb_attr_int(node, names[i], 0) != tb_attr_int(quantize, names[i], 0)) return false;
    return true;
}

tb_value *tb_emit_fake_quantize(tb_call *c, const tb_node *quantize) {
    const tb_value *x = quantize->in[0];
    for (int i = 0; i < x->n_uses; i++)
        if (is_pair_of(x->uses[i].node, quantize)) return x->uses[i].node->out[0];
    return tb_emit(c, TB_OP_FakeQuantize, quantize->n_in, quantize->in, quantize->n_attrs,
                   quantize->attrs);
}

/* Dequantised by what it was quantised with: one FakeQuantize for all that read it. */
void tb_upgrade_dequantize(tb_call *c) {
    merge_pairs(c);
    if (c->done || c->status != TIBA_OK) return;
    const tb_value *q = tb_call_in(c, 0);
    const tb_node *quantize = q ? q->producer : NULL;
    if (!tb_is(quantize, TB_OP_QuantizeLinear) || c->n_in > quantize->n_in) return;
    for (int i = 1; i < quantize->n_in; i++)
        if (!same_parameter(tb_call_in(c, i), quantize->in[i])) return;
    bool one = tb_tensor_count(&quantize->in[1]->t) == 1;
    if (!one && (tb_attr_int(c->node, "axis", 1) != tb_attr_int(quantize, "axis", 1) ||
                 tb_attr_int(c->node, "block_size", 0) != tb_attr_int(quantize, "block_size", 0)))
        return;
    c->out[0] = tb_emit_fake_quantize(c, quantize);
    c->done = true;
}

/* com.microsoft's, which came first, are the same. */
void tb_lower_QuantizeLinear(tb_call *c) {
    c->op = &tb_ops[TB_OP_QuantizeLinear];
    tb_upgrade_quantize(c);
}

void tb_lower_DequantizeLinear(tb_call *c) {
    c->op = &tb_ops[TB_OP_DequantizeLinear];
    tb_upgrade_dequantize(c);
}

void tb_match_types(tb_call *c, int first) {
    bool real = false, whole = false;
    for (int i = first; i < c->n_in; i++) {
        if (!c->in[i]) continue;
        real = real || c->in[i]->t.dtype == TIBA_FLOAT32;
        whole = whole || (c->in[i]->t.data && tb_dtype_is_integer(c->in[i]->t.dtype));
    }
    for (int i = first; i < c->n_in && real && whole; i++)
        if (c->in[i] && c->in[i]->t.data) c->in[i] = tb_emit_cast(c, c->in[i], TIBA_FLOAT32);
}

void tb_upgrade_bias(tb_call *c) {
    const tb_value *bias = tb_call_in(c, 2);
    const tiba_tensor *scales[2];
    if (!bias || !bias->t.data || bias->t.rank != 1) return;
    const int64_t n = bias->t.dims[0];
    if (!tb_bias_units(c->node, n, scales)) return;
    tiba_tensor *t = tb_emit_tensor(c, &c->in[2], TIBA_FLOAT32, 1, &n);
    const bool one = tb_tensor_count(scales[1]) == 1;
    for (int64_t i = 0; t && i < n; i++) {
        float x = (float)tb_get_f64(&bias->t, i);
        float unit = (float)tb_get_f64(scales[0], 0) * (float)tb_get_f64(scales[1], one ? 0 : i);
        float steps = rintf(x / unit);
        tb_set_f64(t, i, fabsf(steps) < 0x1p31f ? steps * unit : x);
    }
}

/* MatMul and Gemm. */
void tb_upgrade_product(tb_call *c) {
    tb_match_types(c, 0);
    if (c->op->kind == TB_OP_Gemm) tb_upgrade_bias(c);
    const tb_value *x = tb_call_in(c, 0), *bias = tb_call_in(c, 2);
    int64_t size = x && !x->t.data ? tb_rounded_block_size(c->node) : 0;
    if (size && (!bias || bias->t.rank == 1)) c->in[0] = tb_emit_rounded_blocks(c, c->in[0], size);
}

/* Add, Mul and Softmax: what their kernel computes with (runtime/quant_kernel.h). */
void tb_upgrade_kernel(tb_call *c, int operands) {
    float units[6];
    if (!tb_group_units(c->node, operands, units)) return;
    int64_t count = 2 * (operands + 1);
    float *kept = TB_NEW(c->b->graph->arena, float, (size_t)count);
    if (!kept) {
        c->status = tb_out_of_memory(c->error);
        return;
    }
    memcpy(kept, units, (size_t)count * sizeof *kept);
    tb_call_set_attr(
        c, (tb_attr){.name = "kernel", .kind = TB_ATTR_FLOATS, .count = count, .floats = kept});
}
