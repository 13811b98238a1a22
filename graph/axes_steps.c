/*
 * axes_steps.c: what Concat makes of a recurrence's states (RNN, GRU and LSTM, unrolled loops): a
 * token for each step, told by what the step takes in beside the states before it. See axes.h.
 */
#include <string.h>

#include "graph/axes_labels.h"
#include "graph/axes_pass.h"

enum { MOST_CUTS = 8 };

typedef struct steps {
    tb_axes_pass *p;
    unsigned char *seen;         /* by value id */
    unsigned char *taken;        /* by label: the tokens of the steps before */
    const tb_value **stack;      /* [n_values] */
    int n_cuts, cuts[MOST_CUTS]; /* labels of the single tokens that the step at hand takes in */
} steps;

/* The single tokens that the value is; false: none, it is made of others. */
static bool add_cuts(steps *s, const tb_value *value) {
    const tb_axes *axes = s->p->axes;
    const tb_value_axes *va = tb_axes_of(axes, value);
    bool any = false;
    for (int i = 0; i < va->n_units; i++) {
        int label = va->units[i].label;
        if (label < 0 || axes->labels[label].kind != TB_LABEL_CUT) continue;
        any = true;
        bool known = s->taken[label] || s->n_cuts == MOST_CUTS;
        for (int k = 0; k < s->n_cuts; k++) known |= s->cuts[k] == label;
        if (!known) s->cuts[s->n_cuts++] = label;
    }
    return any;
}

/* Goes from the state to the nearest single tokens, but not through what was seen before. */
static void take_in(steps *s, const tb_value *state) {
    int n = 0;
    for (int i = 0; i < s->n_cuts; i++) s->taken[s->cuts[i]] = 1;
    s->n_cuts = 0;
    s->stack[n++] = state;
    s->seen[state->id] = 1;
    while (n > 0) {
        const tb_value *value = s->stack[--n];
        if (add_cuts(s, value) || !value->producer) continue;
        for (int i = 0; i < value->producer->n_in; i++) {
            const tb_value *in = value->producer->in[i];
            if (!in || !in->active || s->seen[in->id]) continue;
            s->seen[in->id] = 1;
            s->stack[n++] = in;
        }
    }
}

/* Is token `at` of `whole` all that the step takes in of it? */
static bool takes(const steps *s, int whole, int64_t at) {
    const tb_axes *axes = s->p->axes;
    bool found = false;
    for (int i = 0; i < s->n_cuts; i++) {
        const tb_label *cut = &axes->labels[s->cuts[i]];
        if (tb_axes_root(axes, cut->parents[0]) != whole) continue;
        if (cut->offsets[0] != at) return false;
        found = true;
    }
    return found;
}

/* The tokens of which state k takes in the k-th, from the first state on or from the last; -1:
 * there are none. */
static int tokens_of(steps *s, int64_t n, bool backward) {
    const tb_axes *axes = s->p->axes;
    const tb_node *node = s->p->node;
    memset(s->seen, 0, (size_t)s->p->graph->n_values);
    memset(s->taken, 0, (size_t)axes->n_labels);
    s->n_cuts = 0;
    take_in(s, node->in[backward ? n - 1 : 0]);
    steps first = *s;
    int whole = -1;
    for (int64_t i = 1; i < n; i++) {
        int64_t k = backward ? n - 1 - i : i;
        take_in(s, node->in[k]);
        for (int c = 0; c < s->n_cuts && whole < 0; c++) {
            int parent = tb_axes_root(axes, axes->labels[s->cuts[c]].parents[0]);
            if (axes->labels[parent].count == n && takes(s, parent, k)) whole = parent;
        }
        if (whole < 0 || !takes(s, whole, k)) return -1;
    }
    return takes(&first, whole, backward ? n - 1 : 0) ? whole : -1;
}

int tb_axes_steps(tb_axes_pass *p, int axis) {
    const tb_node *node = p->node;
    steps s = {.p = p};
    if (node->n_in < 2) return -1;
    for (int i = 0; i < node->n_in; i++)
        if (!node->in[i]->active || node->in[i]->t.dims[axis] != 1) return -1;
    s.seen = TB_NEW(p->axes->arena, unsigned char, p->graph->n_values);
    s.taken = TB_NEW(p->axes->arena, unsigned char, p->axes->n_labels);
    s.stack = TB_NEW(p->axes->arena, const tb_value *, p->graph->n_values);
    if (!s.seen || !s.taken || !s.stack) {
        p->failed = true;
        return -1;
    }
    int whole = tokens_of(&s, node->n_in, false);
    return whole < 0 ? tokens_of(&s, node->n_in, true) : whole;
}
