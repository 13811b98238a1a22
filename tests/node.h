/*
 * node.h: one operator run by itself, for tests.
 *
 *     tiba_tensor y;
 *     CHECK(test_node(&y, arena, &exec, "", "Mod", 2, (tiba_tensor[]){a, b}, 0, NULL, &error)
 *           == TIBA_OK);
 */
#ifndef TB_TESTS_NODE_H
#define TB_TESTS_NODE_H

#include "graph/op.h"

/** Computes output 0 of an operator whose inputs all count as constants. Memory is the arena's. */
static inline tiba_status test_node(tiba_tensor *out, tb_arena *arena, tb_exec *exec,
                                    const char *domain, const char *name, int n_in,
                                    const tiba_tensor *inputs, int n_attrs, const tb_attr *attrs,
                                    tiba_error *error) {
    tb_graph *graph = tb_graph_create(arena);
    tb_node *node = tb_graph_node(graph, domain, name, n_in, 1);
    const tiba_tensor **in = TB_NEW(arena, const tiba_tensor *, n_in);
    node->op = tb_find_op(domain, name);
    node->attrs = attrs;
    node->n_attrs = n_attrs;
    for (int i = 0; i < n_in; i++) {
        tb_value *value = tb_graph_value(graph, "in");
        value->t = inputs[i];
        tb_node_set_input(graph, node, i, value);
        in[i] = &inputs[i];
    }
    tb_node_set_output(node, 0, tb_graph_value(graph, "out"));
    if (!node->op) return tb_fail(error, TIBA_ERROR_USAGE, "no operator %s", name);
    TB_TRY(node->op->def->shape(node, error));
    const tiba_tensor *t = &node->out[0]->t;
    TB_TRY(tb_tensor_create(out, arena, t->dtype, t->rank, t->dims, error));
    tiba_status status = node->op->def->forward(exec, node, in, &out, error);
    tb_scratch_reset(exec);
    return status;
}

#endif
