#include "rules/mixing.h"

#include <stdlib.h>
#include <string.h>

#include "graph/axes_labels.h"
#include "graph/axes_pass.h"
#include "graph/reach.h"
#include "rules/route_steps.h"

typedef struct search {
    const tb_explainer *x;
    const tb_plan_tower *to;
    unsigned char *tokens;   /* by label: has the tower's tokens, or some of them */
    unsigned char *below;    /* by value id: comes from the tower's first tokens */
    unsigned char *above;    /* likewise: leads to the readout, but by way of probabilities */
    unsigned char *followed; /* likewise: weight comes there */
    unsigned char *weights;  /* likewise: scores of attentions, and what became of their softmax */
    const tb_attention **at; /* by node id: the attention whose product it is, NULL: none */
} search;

/* The tokens' label and those that they were put together from; what these were cut from has other
 * places too (the pixels of a patch). */
static void mark_tokens(const tb_axes *axes, unsigned char *marks, int label, int depth) {
    label = tb_axes_root(axes, label);
    if (label < 0 || marks[label] || depth > 32) return;
    marks[label] = 1;
    const tb_label *l = &axes->labels[label];
    bool together = l->kind == TB_LABEL_JOIN || l->kind == TB_LABEL_MERGE ||
                    tb_axes_states_of(axes, label) >= 0;
    for (int i = 0; together && i < l->n_parents; i++)
        mark_tokens(axes, marks, l->parents[i], depth + 1);
}

static bool is_token(const search *s, int label) {
    return label >= 0 && s->tokens[label];
}

/* The dimensions of operand i that a window reaches over. */
static unsigned window_of(const tb_node *node, int i) {
    const tiba_tensor *x = &node->in[0]->t, *w = node->n_in > 1 ? &node->in[1]->t : NULL;
    int64_t n = 0;
    const int64_t *kernel = tb_attr_ints(node, "kernel_shape", &n);
    bool conv = node->op->class == TB_CLASS_CONTRACT, any = !conv && !kernel;
    unsigned dims = conv && tb_attr_int(node, "group", 1) < x->dims[1] ? 2 : 0;
    for (int d = 2; d < x->rank; d++)
        if (any || (conv ? w->dims[d] : d - 2 < n ? kernel[d - 2] : 1) > 1) dims |= 1u << d;
    return i == 0 ? dims : 0;
}

static unsigned reduced(const tb_node *node) {
    int rank = node->in[0]->t.rank;
    const tb_value *list = node->n_in > 1 ? node->in[1] : NULL;
    int64_t count = list && list->t.data ? tb_tensor_count(&list->t) : 0;
    unsigned dims = 0;
    for (int64_t k = 0; k < count; k++)
        dims |= 1u << tb_axes_wrapped(tb_get_i64(&list->t, k), rank);
    bool all = count == 0 && tb_attr_int(node, "noop_with_empty_axes", 0) == 0;
    return all ? ~0u : dims;
}

static unsigned along(const tb_node *node, int operand, int64_t other) {
    const tb_value *axis = node->n_in > operand ? node->in[operand] : NULL;
    int64_t d = axis && axis->t.data ? tb_get_i64(&axis->t, 0) : other;
    return 1u << tb_axes_wrapped(d, node->in[0]->t.rank);
}

/* Bit d: a result takes in several places along dimension d of operand i. */
static unsigned mixed_dims(const tb_node *node, int i) {
    int rank = node->in[i]->t.rank;
    switch (node->op->kind) {
    case TB_OP_MatMul:
        return 1u << (i == 0 || rank == 1 ? rank - 1 : rank - 2);
    case TB_OP_Linear:
        return i == 0 ? 1u << (rank - 1) : 0;
    case TB_OP_Gemm:
        return i > 1 ? 0 : (tb_attr_int(node, i ? "transB" : "transA", 0) != 0) == (i == 0) ? 1 : 2;
    case TB_OP_CumSum:
    case TB_OP_CumProd:
        return i == 0 ? along(node, 1, 0) : 0;
    case TB_OP_DFT:
        return i == 0 ? along(node, 2, -2) : 0;
    case TB_OP_Conv:
    case TB_OP_ConvTranspose:
        return window_of(node, i);
    default:
        if (node->op->class == TB_CLASS_POOL) return window_of(node, i);
        return node->op->class == TB_CLASS_REDUCE && i == 0 ? reduced(node) : 0;
    }
}

/* Does a token axis of the value lie in one of the dimensions, or part of one? */
static bool has_tokens(const search *s, const tb_value *value, unsigned dims) {
    const tb_value_axes *va = tb_axes_of(s->x->analysis->axes, value);
    for (int d = 0; d < value->t.rank; d++) {
        int64_t stride = tb_axes_stride(&value->t, d), end = stride * value->t.dims[d];
        for (int k = 0; k < va->n && (dims >> d & 1u); k++) {
            const tb_factor *f = &va->factors[k];
            bool inside = f->inner < end && stride < f->inner * f->count;
            if (inside && is_token(s, f->label)) return true;
        }
    }
    return false;
}

/* The place of the single token that the value is, as a cut of the tower's; -1: it is something
 * else. */
static int single_token(const search *s, const tb_value *value) {
    const tb_value_axes *va = tb_axes_of(s->x->analysis->axes, value);
    for (int i = 0; i < va->n_units; i++)
        if (is_token(s, va->units[i].label)) return va->units[i].label;
    return -1;
}

static bool sums_tokens(const search *s, const tb_node *node) {
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        if (in && in->active && s->below[in->id] && !s->weights[in->id] &&
            has_tokens(s, in, mixed_dims(node, i)))
            return true;
    }
    return false;
}

/* Has dimension `dim` tokens in other places, and not just those of a sum over tokens (a window
 * that was padded on one side)? */
static bool is_shifted(const search *s, const tb_value *value, int dim) {
    if (!tb_axes_moved(s->x->analysis->axes, value, dim) || !has_tokens(s, value, 1u << dim))
        return false;
    for (const tb_node *node = value->producer; node;) {
        const tb_value *only = NULL;
        if (sums_tokens(s, node)) return false;
        for (int i = 0; i < node->n_in; i++) {
            if (!node->in[i] || !node->in[i]->active) continue;
            if (only) return true;
            only = node->in[i];
        }
        node = only ? only->producer : NULL;
    }
    return true;
}

/* Are two single tokens combined (a step of a recurrence that was unrolled), or tokens with others
 * that were moved beside them (a shift)? */
static bool combines_places(const search *s, const tb_node *node) {
    int first = -1;
    if (node->op->class != TB_CLASS_BINARY) return false;
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        if (!in || !in->active || !s->below[in->id]) continue;
        int place = single_token(s, in);
        if (first >= 0 && place >= 0 && place != first) return true;
        if (place >= 0) first = place;
        for (int d = 0; d < in->t.rank; d++)
            if (is_shifted(s, in, d)) return true;
    }
    return false;
}

static bool mixes(const search *s, const tb_node *node) {
    return sums_tokens(s, node) || combines_places(s, node);
}

/* What leads to the readout, of an attention by way of V alone. */
static void mark_above(search *s) {
    s->above[s->to->readout->id] = 1;
    for (const tb_node *node = s->x->graph->last; node; node = node->prev) {
        bool on = false;
        for (int i = 0; i < node->n_out; i++) on |= node->out[i] && s->above[node->out[i]->id];
        const tb_attention *a = on ? s->at[node->id] : NULL;
        if (a) s->above[a->v->id] = 1;
        for (int i = 0; on && !a && i < node->n_in; i++)
            if (node->in[i] && node->in[i]->active) s->above[node->in[i]->id] = 1;
    }
}

/* Does the value have the tower's tokens as its axis, those that they are a recurrence's states of,
 * or those of an input that others were joined with (a class token) and that are no tower of their
 * own? */
static bool has_axis(const search *s, const tb_value *value, int label, int depth) {
    const tb_axes *axes = s->x->analysis->axes;
    int64_t inner;
    if (tb_axes_carries(axes, value, label, &inner)) return true;
    const tb_label *join = &axes->labels[tb_axes_root(axes, label)];
    int states_of = tb_axes_states_of(axes, tb_axes_root(axes, label));
    if (states_of >= 0 && depth < 8 && has_axis(s, value, states_of, depth + 1)) return true;
    for (int i = 0; join->kind == TB_LABEL_JOIN && depth < 8 && i < join->n_parents; i++) {
        int part = join->parents[i] < 0 ? -1 : tb_axes_root(axes, join->parents[i]);
        bool own = part < 0 || axes->labels[part].count < 2 ||
                   tb_label_input(axes, part) != s->to->tower.input;
        for (int t = 0; t < s->x->n_towers && !own; t++)
            own = tb_axes_root(axes, s->x->towers[t].tower.label) == part;
        if (!own && has_axis(s, value, part, depth + 1)) return true;
    }
    return false;
}

/* Where the tower's tokens are tokens first, and what comes from there: what is read at places that
 * they compute does not. */
static void mark_below(search *s) {
    const tb_route *route = s->to->route;
    const tb_graph *graph = s->x->graph;
    for (int i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        s->below[i] =
            value && value->active &&
            ((route && value == route->source.value) || has_axis(s, value, s->to->tower.label, 0));
    }
    for (const tb_node *node = graph->first; node; node = node->next) {
        bool on = false;
        int n = tb_is(node, TB_OP_GridSample) ? 1 : node->n_in;
        for (int i = 0; i < n; i++)
            on |= node->in[i] && node->in[i]->active && s->below[node->in[i]->id];
        for (int i = 0; on && i < node->n_out; i++)
            if (node->out[i] && node->out[i]->active) s->below[node->out[i]->id] = 1;
    }
}

static bool keeps_elements(const tb_node *node) {
    return node->op->class == TB_CLASS_UNARY || node->op->class == TB_CLASS_BINARY ||
           node->op->class == TB_CLASS_MOVE || node->op->class == TB_CLASS_QUANT;
}

/* What an attention does with its scores and probabilities beside weighing V (it divides by their
 * sums, weighs constants) is its own. */
static void mark_weights(search *s) {
    const tb_graph *graph = s->x->graph;
    for (const tb_node *node = graph->last; node; node = node->prev) {
        bool on = tb_is(node, TB_OP_Softmax);
        for (int i = 0; i < node->n_out && keeps_elements(node); i++)
            on |= node->out[i] && s->weights[node->out[i]->id];
        for (int i = 0; on && i < node->n_in; i++)
            if (node->in[i] && node->in[i]->active) s->weights[node->in[i]->id] = 1;
    }
    for (const tb_node *node = graph->first; node; node = node->next) {
        bool all = keeps_elements(node), any = tb_is(node, TB_OP_Softmax);
        for (int i = 0; i < node->n_in && all; i++) {
            if (!node->in[i] || !node->in[i]->active) continue;
            all = s->weights[node->in[i]->id];
            any |= all;
        }
        for (int i = 0; i < node->n_out && any && (all || tb_is(node, TB_OP_Softmax)); i++)
            if (node->out[i]) s->weights[node->out[i]->id] = 1;
    }
}

static void mark_followed(search *s) {
    const tb_route *route = s->to->route;
    if (!route) return;
    s->followed[route->readout.value->id] = 1;
    for (int k = 0; k < route->n_steps; k++) {
        const tb_node *node = route->steps[k];
        bool on = false;
        for (int i = 0; i < node->n_out; i++) on |= node->out[i] && s->followed[node->out[i]->id];
        if (on) tb_route_mark_step(route, node, s->followed);
    }
}

static bool is_passed_by(const search *s, const tb_node *node) {
    bool above = false, followed = false;
    for (int i = 0; i < node->n_out; i++) {
        if (!node->out[i] || !node->out[i]->active) continue;
        above |= s->above[node->out[i]->id];
        followed |= s->followed[node->out[i]->id];
    }
    return above && !followed && s->x->analysis->regions->of_node[node->id] < 0 &&
           !s->at[node->id] && mixes(s, node);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* How many nodes of the file: those that one was lowered to have its name. */
static int count_names(const char **names, int n) {
    int different = 0;
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) different += i == 0 || strcmp(names[i], names[i - 1]) != 0;
    return different;
}

static tiba_status note_nodes(tb_explainer *x, tb_plan_tower *to, int n, const tb_node **nodes,
                              tiba_error *error) {
    const char **names = TB_NEW(x->arena, const char *, n + 1), *last = "";
    if (!names) return tb_out_of_memory(error);
    for (int i = 0; i < n; i++) names[i] = nodes[i]->origin;
    n = count_names(names, n);
    const tb_node *end = nodes[0];
    for (int i = 0; nodes[i]; i++) end = nodes[i];
    if (n > 1) last = tb_arena_format(x->arena, " to %s '%.80s'", end->op->name, end->origin);
    if (!last) return tb_out_of_memory(error);
    to->note = tb_arena_format(x->arena,
                               "%s%stokens act on each other without attention too, at %d node%s "
                               "(%s '%.80s'%s), which the row vector passes by",
                               to->note ? to->note : "", to->note ? "; " : "", n, n > 1 ? "s" : "",
                               nodes[0]->op->name, nodes[0]->origin, last);
    return to->note ? TIBA_OK : tb_out_of_memory(error);
}

static tiba_status note_tower(tb_explainer *x, tb_plan_tower *to, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    size_t n_values = (size_t)x->graph->n_values;
    const tb_axes *axes = x->analysis->axes;
    search s = {.x = x, .to = to};
    unsigned char *own = TB_NEW(x->arena, unsigned char, axes->n_labels);
    s.tokens = TB_NEW(x->arena, unsigned char, axes->n_labels);
    s.below = TB_NEW(x->arena, unsigned char, n_values);
    s.above = TB_NEW(x->arena, unsigned char, n_values);
    s.followed = TB_NEW(x->arena, unsigned char, n_values);
    s.weights = TB_NEW(x->arena, unsigned char, n_values);
    s.at = TB_NEW(x->arena, const tb_attention *, x->graph->next_node_id);
    const tb_node **nodes = TB_NEW(x->arena, const tb_node *, x->graph->n_nodes + 1);
    if (!own || !s.tokens || !s.below || !s.above || !s.followed || !s.weights || !s.at || !nodes)
        return tb_out_of_memory(error);
    for (int i = 0; i < found->n_attentions; i++)
        s.at[found->attentions[i].product->id] = &found->attentions[i];
    mark_tokens(axes, own, to->tower.label, 0);
    for (int i = 0; i < axes->n_labels; i++)
        s.tokens[i] = tb_axes_made_of(axes, own, axes->n_labels, i);
    mark_below(&s);
    mark_above(&s);
    mark_followed(&s);
    mark_weights(&s);
    int n = 0;
    for (const tb_node *node = x->graph->first; node; node = node->next)
        if (is_passed_by(&s, node)) nodes[n++] = node;
    return n > 0 ? note_nodes(x, to, n, nodes, error) : TIBA_OK;
}

tiba_status tb_note_mixing(tb_explainer *x, tiba_error *error) {
    for (int t = 0; t < x->n_towers; t++)
        if (x->towers[t].tower.label >= 0) TB_TRY(note_tower(x, &x->towers[t], error));
    return TIBA_OK;
}
