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

/* Does the node lie on the way to what `above` marks? */
static bool leads_up(const tb_node *node, const unsigned char *above) {
    bool on = false;
    for (int o = 0; o < node->n_out; o++)
        on |= node->out[o] && node->out[o]->active && above[node->out[o]->id];
    return on;
}

/* How often the value is read on that way. */
static int uses_above(const tb_value *value, const unsigned char *above) {
    int count = 0;
    for (int k = 0; k < value->n_uses; k++) count += leads_up(value->uses[k].node, above);
    return count;
}

const tb_value **tb_values_passed(int *n, const tb_graph *graph, const tb_value *from,
                                  const tb_value *to, tb_arena *arena) {
    const tb_value **passed = TB_NEW(arena, const tb_value *, graph->n_values);
    unsigned char *below = TB_NEW(arena, unsigned char, graph->n_values); /* comes from `from` */
    unsigned char *above = TB_NEW(arena, unsigned char, graph->n_values); /* reaches `to` */
    int *left = TB_NEW(arena, int, graph->n_values); /* uses on the way that are still to come */
    *n = 0;
    if (!passed || !below || !above || !left) return NULL;
    tb_mark_descendants(graph, from, below);
    tb_mark_ancestors(graph, to, above);
    if (!below[to->id]) return passed;
    /* In execution order, a value is on every path if no other value is still waiting to be read
     * when it has been made. */
    int waiting = 0;
    for (const tb_node *node = from->producer; node; node = node->next) {
        for (int i = 0; i < node->n_in && leads_up(node, above); i++) {
            const tb_value *in = node->in[i];
            bool on = in && below[in->id] && above[in->id] && left[in->id] > 0;
            if (on && --left[in->id] == 0) waiting--;
        }
        for (int i = 0; i < node->n_out; i++) {
            const tb_value *out = node->out[i];
            if (!out || !below[out->id] || !above[out->id]) continue;
            left[out->id] = uses_above(out, above);
            waiting += left[out->id] > 0;
        }
        for (int i = 0; i < node->n_out; i++) {
            const tb_value *out = node->out[i];
            if (!out || !below[out->id] || !above[out->id]) continue;
            if (waiting == (left[out->id] > 0)) passed[(*n)++] = out;
            if (out == to) return passed;
        }
    }
    return passed;
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
