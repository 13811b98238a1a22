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

typedef struct visit {
    tb_node **order, **stack;
    int *next; /* by node id: operand to visit next, from 1 on; 0: not seen */
    int n;
} visit;

/* `root` and everything below it that has not been seen. */
static void visit_from(visit *v, tb_node *root) {
    int n = 0;
    if (root && v->next[root->id]++ == 0) v->stack[n++] = root;
    while (n > 0) {
        tb_node *node = v->stack[n - 1];
        int i = v->next[node->id]++ - 1;
        if (i >= node->n_in) {
            v->order[v->n++] = node;
            n--;
            continue;
        }
        tb_node *below = node->in[i] ? node->in[i]->producer : NULL;
        if (!below || v->next[below->id] > 0) continue;
        v->next[below->id] = 1;
        v->stack[n++] = below;
    }
}

tb_node **tb_reading_order(const tb_graph *graph, tb_arena *arena) {
    visit v = {.order = TB_NEW(arena, tb_node *, graph->n_nodes + 1),
               .stack = TB_NEW(arena, tb_node *, graph->n_nodes + 1),
               .next = TB_NEW(arena, int, graph->next_node_id + 1)};
    if (!v.order || !v.stack || !v.next) return NULL;
    for (int o = 0; o < graph->n_outputs; o++) visit_from(&v, graph->outputs[o]->producer);
    for (tb_node *node = graph->first; node; node = node->next) visit_from(&v, node);
    return v.order;
}
