#include "graph/reach.h"

void tb_mark_descendants(const tb_graph *graph, const tb_value *from, unsigned char *marks) {
    if (from) marks[from->id] = 1;
    for (const tb_node *node = graph->first; node; node = node->next) {
        bool on = false;
        for (int i = 0; i < node->n_in; i++)
            on |= node->in[i] && node->in[i]->active && marks[node->in[i]->id];
        for (int i = 0; on && i < node->n_out; i++)
            if (node->out[i] && node->out[i]->active) marks[node->out[i]->id] = 1;
    }
}

void tb_mark_ancestors(const tb_graph *graph, const tb_value *to, unsigned char *marks) {
    marks[to->id] = 1;
    for (const tb_node *node = graph->last; node; node = node->prev) {
        bool on = false;
        for (int i = 0; i < node->n_out; i++) on |= node->out[i] && marks[node->out[i]->id];
        for (int i = 0; on && i < node->n_in; i++)
            if (node->in[i] && node->in[i]->active) marks[node->in[i]->id] = 1;
    }
}
