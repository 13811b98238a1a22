/*
 * Merges that treat all elements alike. What Pad put beside them is nothing that could be given a
 * share, as the places that a convolution pads by itself.
 */
#include <string.h>

#include "rules/route_steps.h"

enum { MAX_MOVES = 8 };

static const tb_op_def *even_op(const tb_node *node) {
    switch (node->op->class) {
    case TB_CLASS_REDUCE:
        return &tb_op_def_ReduceSum;
    case TB_CLASS_POOL:
        return tb_is(node, TB_OP_MaxPool)         ? &tb_op_def_AveragePool
               : tb_is(node, TB_OP_GlobalMaxPool) ? &tb_op_def_GlobalAveragePool
                                                  : node->op->def;
    default:
        return node->op->def;
    }
}

static tiba_status fill_ones(tiba_tensor *t, tb_exec *exec, tiba_error *error) {
    int64_t count = tb_tensor_count(t);
    float *x = t->data = tb_scratch(exec, (size_t)count, sizeof *x);
    if (!x) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) x[i] = 1.0f;
    return TIBA_OK;
}

/* Do moves alone lead from constant padding to `x`? */
static bool is_padded(const tb_value *x) {
    const tb_node *node = x->producer;
    for (int k = 0; k < MAX_MOVES && node; k++, node = node->in[0]->producer) {
        if (tb_is(node, TB_OP_Pad))
            return strcmp(tb_attr_string(node, "mode", "constant"), "constant") == 0;
        if (!node->op->def->alias && !tb_is(node, TB_OP_Transpose)) return false;
    }
    return false;
}

/* 1 for each element of `x`, 0 for padding. */
static tiba_status fill_present(tiba_tensor *t, const tb_value *x, const tb_program *program,
                                tb_exec *exec, tiba_error *error) {
    if (!is_padded(x)) return fill_ones(t, exec, error);
    const tb_node *node = x->producer;
    tiba_tensor from = node->in[0]->t, *out[1] = {t};
    TB_TRY(fill_present(&from, node->in[0], program, exec, error));
    const tiba_tensor *in[8] = {&from};
    for (int i = 1; i < node->n_in && i < 8; i++)
        in[i] = node->in[i] ? program->values[node->in[i]->id] : NULL;
    if (tb_is(node, TB_OP_Pad)) in[2] = NULL;
    t->data = tb_scratch(exec, (size_t)tb_tensor_count(t), sizeof(float));
    return t->data ? node->op->def->forward(exec, node, in, out, error) : tb_out_of_memory(error);
}

tiba_status tb_route_even(tb_even *even, const tb_node *node, const tb_program *program,
                          tb_exec *exec, tiba_error *error) {
    *even = (tb_even){even_op(node), node->in[0] && node->in[0]->active ? 0 : 1, .in = {NULL}};
    even->ones = node->in[even->x]->t;
    TB_TRY(fill_present(&even->ones, node->in[even->x], program, exec, error));
    if (node->op->class == TB_CLASS_CONTRACT) {
        even->weight = node->in[1 - even->x]->t;
        TB_TRY(fill_ones(&even->weight, exec, error));
        even->in[1 - even->x] = &even->weight;
    } else {
        for (int i = 0; i < node->n_in && i < 8; i++)
            even->in[i] = node->in[i] ? program->values[node->in[i]->id] : NULL;
    }
    even->in[even->x] = &even->ones;
    return TIBA_OK;
}
