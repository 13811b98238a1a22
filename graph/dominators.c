#include "graph/dominators.h"

int tb_common_dominator(const tb_dominators *d, int a, int b) {
    while (a >= 0 && b >= 0 && a != b) {
        if (d->depth[a] >= d->depth[b])
            a = d->parent[a];
        else
            b = d->parent[b];
    }
    return a == b ? a : -1;
}

tiba_status tb_dominators_find(tb_dominators **out, const tb_graph *graph,
                               const unsigned char *sources, tb_arena *arena, tiba_error *error) {
    tb_dominators *d = TB_NEW(arena, tb_dominators, 1);
    unsigned char *counts = TB_NEW(arena, unsigned char, graph->n_values);
    if (!d || !counts) return tb_out_of_memory(error);
    for (int i = 0; i < graph->n_values; i++)
        counts[i] = graph->values[i] && graph->values[i]->active && (!sources || sources[i]);
    d->parent = TB_NEW(arena, int, graph->n_values);
    d->depth = TB_NEW(arena, int, graph->n_values);
    if (!d->parent || !d->depth) return tb_out_of_memory(error);
    for (int i = 0; i < graph->n_values; i++) d->parent[i] = -1;
    /* In execution order every operand's dominators are known before its user's. */
    for (const tb_node *node = graph->first; node; node = node->next) {
        int common = -2; /* no operand seen */
        for (int i = 0; i < node->n_in; i++) {
            const tb_value *in = node->in[i];
            if (!in || !counts[in->id]) continue;
            common = common == -2 ? in->id : tb_common_dominator(d, common, in->id);
        }
        for (int i = 0; i < node->n_out; i++) {
            const tb_value *value = node->out[i];
            if (!value || !value->active || common == -2) continue;
            counts[value->id] = 1;
            if (common < 0) continue;
            d->parent[value->id] = common;
            d->depth[value->id] = d->depth[common] + 1;
        }
    }
    *out = d;
    return TIBA_OK;
}
