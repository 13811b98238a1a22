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

/* The source node of this operator that made `value`, past casts and copies, if no one else reads
 * anything on the way. */
static const tb_node *sole_maker(const tb_value *value, const char *op_type) {
    for (int steps = 0; value && value->producer && steps < 8; steps++) {
        if (value->n_uses != 1 || value->is_output) return NULL;
        if (tb_is_made_by(value, op_type)) return value->producer;
        value = value->producer->n_in == 1 ? value->producer->in[0] : NULL;
    }
    return NULL;
}

/* Does `x` come out of a dequantisation? */
static bool is_dequantized(const tb_value *x) {
    return tb_is(x->producer, TB_OP_DequantizeLinear) || tb_is(x->producer, TB_OP_FakeQuantize);
}

/* The scale by which the kernel of `group` rounds. That of a softmax multiplies by
 * the whole number below 1/scale: 254 for a scale of 1/255. */
static tb_value *kernel_scale(tb_call *c, const tb_quant_group *group, tb_value *scale) {
    bool softmax = group->node && strcmp(group->node->op_type, "Softmax") == 0;
    return softmax ? tb_emit_whole_steps(c, scale) : scale;
}

/* What a pair of source nodes can hold, given its parameters; false unless these are constants of
 * the tensor and the same ones for both nodes. */
static bool pair_range(float range[2], const tb_node *quantize, const tb_node *dequantize,
                       const tb_value *scale, const tb_value *zero) {
    double s, z;
    if (quantize->n_in < 3 || dequantize->n_in < 3 || quantize->in[1] != dequantize->in[1] ||
        quantize->in[2] != dequantize->in[2] || !quantize->in[2])
        return false;
    if (!tb_scalar_constant(scale, &s) || !tb_scalar_constant(zero, &z)) return false;
    int type = quantize->in[2]->file_type; /* of fewer bits, perhaps, than it is held in */
    if (type && type != (int)zero->t.dtype) return false;
    if (zero->t.dtype != TIBA_INT8 && zero->t.dtype != TIBA_UINT8) return false;
    double least = zero->t.dtype == TIBA_INT8 ? -128 : 0;
    range[0] = (float)(least - z) * (float)s;
    range[1] = (float)(least + 255 - z) * (float)s;
    return true;
}

/* Two pairs that follow each other are run as one over the range that both can hold (casts between
 * a softmax and its product leave such pairs). The call then becomes this one rounding of `x`, in
 * the units of the second pair; `quantize` is the source node that begins the first, `first` its
 * bound end. */
static void merge_pairs(tb_call *c, tb_value *x, const tb_node *quantize, const tb_node *first,
                        const float a[2], const float b[2]) {
    float least = a[0] > b[0] ? a[0] : b[0], most = a[1] < b[1] ? a[1] : b[1];
    float scale = (most - least) / 255;
    if (!(scale > 0) || first->in[2]->t.dtype != c->in[2]->t.dtype) return;
    double low = c->in[2]->t.dtype == TIBA_INT8 ? -128 : 0, s = 1, z = 0;
    tb_scalar_constant(c->in[1], &s);
    tb_scalar_constant(c->in[2], &z);
    tb_value *step = tb_emit_scalar(c, (double)scale);
    tb_value *zero = tb_emit_scalar(c, (double)roundf((float)low - least / scale));
    zero = tb_emit_cast(c, zero, c->in[2]->t.dtype);
    const tb_quant_group group = tb_quantized_group(quantize);
    tb_value *in[] = {x, kernel_scale(c, &group, step), zero};
    tb_value *y = tb_emit(c, TB_OP_QuantizeLinear, 3, in, group.zero_first,
                          &TB_INT_ATTR("zero_first", group.type));
    y = tb_emit3(c, TB_OP_DequantizeLinear, y, tb_emit_scalar(c, (double)scale / s), zero);
    c->out[0] = tb_emit2(c, TB_OP_Add, y, tb_emit_scalar(c, z));
    c->done = true;
}

/* `end` is the bound end of a pair: FakeQuantize, or DequantizeLinear where the halves differ. */
static void upgrade_second_pair(tb_call *c, const tb_node *end) {
    const tb_node *first = sole_maker(c->node->in[0], "DequantizeLinear");
    const tb_node *quantize = first ? sole_maker(first->in[0], "QuantizeLinear") : NULL;
    const tb_value *out = c->node->out[0];
    if (!quantize || out->n_uses != 1 || out->is_output || end->n_in < 3) return;
    const tb_node *last = out->uses[0].node, *start = end;
    if (tb_is(end, TB_OP_DequantizeLinear)) start = end->in[0]->producer;
    float a[2], b[2];
    if (strcmp(last->op_type, first->op_type) != 0) return;
    if (start != end && !tb_is(start, TB_OP_QuantizeLinear)) return;
    if (!pair_range(a, quantize, first, end->in[1], end->in[2]) ||
        !pair_range(b, c->node, last, tb_call_in(c, 1), tb_call_in(c, 2)))
        return;
    if (a[0] != b[0] || a[1] != b[1]) merge_pairs(c, start->in[0], quantize, end, a, b);
}

void tb_upgrade_quantize(tb_call *c) {
    tb_value *x = tb_call_in(c, 0);
    int type = tb_call_file_type(c, 2);
    if (type && !tb_attr_int(c->node, "output_dtype", 0))
        tb_call_set_attr(c, TB_INT_ATTR("output_dtype", type));
    if (!tb_attr_int(c->node, "saturate", 1)) tb_call_fail(c, "saturate = 0 is not supported");
    if (!x || !tb_call_in(c, 1) || c->n_out != 1) return;
    const tb_value *source = c->node->in[0];
    if (source->n_uses != 1 || source->is_output) return;
    if (is_dequantized(x)) {
        upgrade_second_pair(c, x->producer);
        return;
    }
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

/* MatMul and Gemm. */
void tb_upgrade_product(tb_call *c) {
    tb_match_types(c, 0);
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
