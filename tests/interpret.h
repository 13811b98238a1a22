/*
 * interpret.h: runs a bound graph node by node, every output in memory of its own: slow, simple,
 * and independent of the plan and the executor. For tests.
 *
 *     interpret_run(bound->graph, arena, exec, n_feeds, feeds, &error);
 *     ... bound->graph->outputs[0]->t.data
 *
 * Afterwards every value of the graph has t.data, so a graph is run once only; constants are told
 * from computed values by their producer.
 */
#ifndef TB_TESTS_INTERPRET_H
#define TB_TESTS_INTERPRET_H

#include <string.h>

#include "graph/bind.h"

/** Sets t.data of every value; feeds are matched by name and converted to the input's type. */
static inline tiba_status interpret_run(tb_graph *graph, tb_arena *arena, tb_exec *exec,
                                        int n_feeds, const tb_feed *feeds, tiba_error *error) {
    for (int i = 0; i < graph->n_inputs; i++) {
        tb_value *input = graph->inputs[i];
        if (input->t.data) continue;
        for (int f = 0; f < n_feeds; f++)
            if (strcmp(feeds[f].name, input->name) == 0) {
                TB_TRY(tb_tensor_create(&input->t, arena, input->t.dtype, input->t.rank,
                                        input->t.dims, error));
                tb_convert(&input->t, &feeds[f].tensor);
            }
        if (!input->t.data)
            return tb_fail(error, TIBA_ERROR_USAGE, "no data for input %s", input->name);
    }
    for (tb_node *node = graph->first; node; node = node->next) {
        const tiba_tensor **in = TB_NEW(arena, const tiba_tensor *, node->n_in);
        tiba_tensor **out = TB_NEW(arena, tiba_tensor *, node->n_out);
        if (!in || !out) return tb_out_of_memory(error);
        for (int i = 0; i < node->n_in; i++) in[i] = node->in[i] ? &node->in[i]->t : NULL;
        for (int i = 0; i < node->n_out; i++) {
            if (!node->out[i]) continue;
            out[i] = &node->out[i]->t;
            TB_TRY(
                tb_tensor_create(out[i], arena, out[i]->dtype, out[i]->rank, out[i]->dims, error));
        }
        TB_TRY(node->op->def->forward(exec, node, in, out, error));
        tb_scratch_reset(exec);
    }
    return TIBA_OK;
}

#endif
