#include "graph/quant_softmax.h"

#include <math.h>

static bool byte_type(const tb_node *node) {
    const tb_value *zero = node->n_in > 2 ? node->in[2] : NULL;
    tiba_dtype dtype = zero ? zero->t.dtype : TIBA_UINT8;
    return dtype == TIBA_UINT8 || dtype == TIBA_INT8;
}

/* The node that computes `value` if it is this op and nothing else reads the value. */
static tb_node *only_from(const tb_value *value, tb_op_kind kind) {
    bool alone = value && value->n_uses == 1 && !value->is_output;
    return alone && tb_is(value->producer, kind) ? value->producer : NULL;
}

tiba_status tb_quant_softmax(tb_graph *graph, tb_exec *exec, tiba_error *error) {
    for (tb_node *node = graph->first; node; node = node->next) {
        if (!tb_is(node, TB_OP_QuantizeLinear) || !byte_type(node)) continue;
        const tb_node *softmax = only_from(node->in[0], TB_OP_Softmax);
        const tb_node *from = softmax ? only_from(softmax->in[0], TB_OP_DequantizeLinear) : NULL;
        double scale, in_scale;
        if (!from || !byte_type(from) || !tb_scalar_constant(node->in[1], &scale) ||
            !tb_scalar_constant(from->in[1], &in_scale) || !(scale > 0.0))
            continue;
        double factor = (double)floorf(1.0f / (float)scale) * scale;
        if (factor == 1.0) continue;
        tb_builder b = {.graph = graph, .exec = exec, .origin = softmax->origin, .before = node};
        tb_value *constant, *scaled;
        TB_TRY(tb_build_scalar(&b, &constant, (float)factor, error));
        TB_TRY(tb_build1(&b, &scaled, TB_OP_Mul, 2, (tb_value *[]){node->in[0], constant}, 0, NULL,
                         error));
        if (!tb_node_set_input(graph, node, 0, scaled)) return tb_out_of_memory(error);
    }
    return TIBA_OK;
}
