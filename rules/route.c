#include "rules/route.h"

#include <string.h>

#include "graph/axes_labels.h"
#include "graph/reach.h"
#include "rules/explain_plan.h"
#include "rules/route_steps.h"

const tb_attention *tb_route_member(const tb_route *r, int i) {
    return &r->on.attentions->attentions[r->members[i]];
}

/* -------------------------------------------------------------------- token axes */

int64_t tb_token_of(const tb_token_axes *a, int64_t element) {
    int64_t token = 0;
    for (int i = 0; i < a->n; i++)
        token = token * a->factors[i].count + element / a->factors[i].inner % a->factors[i].count;
    return token;
}

/* It is made of what the attentions tell apart. */
bool tb_route_is_token(const tb_route *r, int label) {
    return tb_axes_made_of(r->on.axes, r->told_apart, r->n_labels, label);
}

/* Marks a label and all that it is made of. */
static void mark_label(const tb_axes *axes, unsigned char *marks, int label, int depth) {
    label = tb_axes_root(axes, label);
    if (label < 0 || depth > 32 || marks[label]) return;
    marks[label] = 1;
    const tb_label *l = &axes->labels[label];
    for (int i = 0; i < l->n_parents; i++) mark_label(axes, marks, l->parents[i], depth + 1);
}

/* The input whose tokens a member reads, -1: none. */
static int input_of_keys(const tb_route *r, int i) {
    int of = tb_route_member(r, i)->tower;
    return of >= 0 ? r->on.attentions->towers[of].input
                   : tb_label_input(r->on.axes, tb_route_member(r, i)->key_label);
}

/* Does no token of the input that the first member reads attend, so that its readers (learned
 * queries, tokens of another input) are on the way to them? */
static bool is_only_read(const tb_route *r) {
    for (int i = 0; i < r->n_attentions; i++)
        if (tb_query_input(r->on.axes, r->on.attentions, r->members[i]) == input_of_keys(r, 0))
            return false;
    return true;
}

/* Has each member a single query, such as a learned one that pools what a convolutional network has
 * made? */
static bool has_one_query(const tb_route *r) {
    for (int i = 0; i < r->n_attentions; i++)
        if (tb_route_member(r, i)->queries != 1) return false;
    return is_only_read(r);
}

/* Do all members have the same queries, an input's tokens, and read these with others joined to
 * them (a decoder that reads its own tokens and the encoder's at once)? Then only ways from that
 * input count, which is returned; -1: they do not. */
static int reads_others_too(const tb_route *r) {
    const tb_axes *axes = r->on.axes;
    int queries = tb_axes_root(axes, tb_route_member(r, 0)->query_label);
    for (int i = 0; i < r->n_attentions && queries >= 0; i++) {
        const tb_attention *a = tb_route_member(r, i);
        int keys = tb_axes_root(axes, a->key_label);
        if (keys < 0 || axes->labels[keys].kind != TB_LABEL_JOIN || keys == queries ||
            tb_axes_root(axes, a->query_label) != queries ||
            !tb_label_includes(axes, keys, queries))
            return -1;
    }
    return queries < 0 ? -1 : tb_label_input(axes, queries);
}

/* Are all tokens of the axis the input's, or of none? */
static bool is_of(const tb_axes *axes, int label, int input) {
    label = tb_axes_root(axes, label);
    if (label < 0) return true;
    const tb_label *l = &axes->labels[label];
    if (l->kind == TB_LABEL_INPUT || l->kind == TB_LABEL_LOOKUP) return l->input == input;
    for (int i = 0; i < l->n_parents; i++) { /* parents are older: this ends */
        int parent = tb_axes_root(axes, l->parents[i]);
        if (parent < label && !is_of(axes, parent, input)) return false;
    }
    return true;
}

/* The input whose tokens alone all members' keys are, and their queries, but those of no input (one
 * that pools for all tokens). Others may flow in between (a decoder whose tokens stand in windows,
 * or in parts, reads an encoder). -1: there is none. */
static int own_input(const tb_route *r) {
    int input = input_of_keys(r, 0);
    for (int i = 0; i < r->n_attentions; i++) {
        int queries = tb_query_input(r->on.axes, r->on.attentions, r->members[i]);
        if (input_of_keys(r, i) != input || (queries >= 0 && queries != input) ||
            !is_of(r->on.axes, tb_route_member(r, i)->key_label, input))
            return -1;
    }
    return input;
}

bool tb_is_samples(const tb_graph *graph, const tb_axes *axes, int label, const tb_value *target) {
    const tb_label *l = &axes->labels[tb_axes_root(axes, label)];
    if (l->dim != 0 || (l->kind != TB_LABEL_INPUT && l->kind != TB_LABEL_LOOKUP)) return false;
    const tiba_tensor *input = &graph->inputs[l->input]->t;
    int64_t inner;
    return input->rank == 0 || input->dims[0] == l->count ||
           tb_axes_carries(axes, target, label, &inner);
}

/* All axes of tokens but the batch, which is an input's first axis, the outermost one, and no part
 * of what is attended to. False if there is none. */
static bool token_axes(tb_token_axes *out, const tb_route *r, const tb_value *value) {
    const tb_axes *axes = r->on.axes;
    *out = (tb_token_axes){.value = value, .tokens = 1, .batch = 1, .batch_inner = 1};
    const tb_value_axes *va = axes->values[value->id];
    for (int i = 0; va && i < va->n; i++) {
        const tb_factor *f = &va->factors[i];
        bool samples = tb_is_samples(r->on.graph, axes, f->label, r->target);
        int root = tb_axes_root(axes, f->label);
        bool attended = root < r->n_labels && r->attended[root];
        if (samples && !attended && f->inner * f->count == tb_tensor_count(&value->t)) {
            out->batch = f->count;
            out->batch_inner = f->inner;
            continue;
        }
        if (!tb_route_is_token(r, f->label)) continue;
        out->factors[out->n++] = *f;
        out->tokens *= f->count;
    }
    return out->n > 0;
}

/* -------------------------------------------------------------------- planning */

int tb_route_member_of(const tb_route *r, const tb_node *node) {
    for (int i = 0; i < r->n_attentions; i++)
        if (tb_route_member(r, i)->product == node) return i;
    return -1;
}

/* Probabilities of a member's softmax that multiply constants (learned keys beside the tokens)
 * bring weight to the softmax itself: it says how tokens are weighed and holds none. */
bool tb_route_ends_at(const tb_route *r, const tb_node *node) {
    for (int i = 0; i < r->n_attentions && tb_is(node, TB_OP_Softmax); i++)
        if (tb_route_member(r, i)->softmax == node) return true;
    return false;
}

/* What the tokens of a value are, as a tower; its attentions are not filled in. */
static tiba_status describe(const tb_route *r, const tb_token_axes *of, tb_tower *tower,
                            tiba_error *error) {
    int label = tb_axes_merge(r->on.axes, of->n, of->factors);
    if (label == -2 ||
        !tb_tower_describe(tower, r->on.graph, r->on.axes, r->on.attentions, label, of->tokens))
        return tb_out_of_memory(error);
    return TIBA_OK;
}

/* Do all ways from `base`, which dominates `value`, up to it only move elements? */
static bool only_moves(const tb_value *value, const tb_value *base, unsigned char *seen) {
    if (value == base || seen[value->id]) return true;
    seen[value->id] = 1;
    const tb_node *node = value->producer;
    if (!node || (node->op->class != TB_CLASS_MOVE && !tb_is(node, TB_OP_Cast))) return false;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && !only_moves(node->in[i], base, seen))
            return false;
    return true;
}

/* Has a decoder read the tokens too, its own moves of them lie beside those of the attentions: the
 * source, which is value `at`, becomes the value that all of them move. */
static tiba_status climb_moves(tb_route *r, int at, unsigned char *seen, tiba_error *error) {
    const int *parent = r->on.dominators->parent;
    for (at = parent[at]; at >= 0; at = parent[at]) {
        tb_token_axes axes;
        tb_tower tower;
        const tb_value *value = r->on.graph->values[at];
        memset(seen, 0, (size_t)r->on.graph->n_values);
        if (!only_moves(r->source.value, value, seen)) break;
        if (!token_axes(&axes, r, value) || axes.tokens != r->source.tokens) continue;
        TB_TRY(describe(r, &axes, &tower, error));
        if (tower.reordered || tower.length != r->tower.length) continue;
        r->source = axes;
        r->tower = tower;
    }
    return TIBA_OK;
}

/* The value where the members' tokens begin: the nearest one that dominates all of them and has
 * token axes. If tokens have been put into other places there, one further back that holds as many
 * in the input's order; or where only moves lie between, the input's tokens themselves, whichever
 * of them were copied or padded. No source: source.value is NULL. */
static tiba_status find_source(tb_route *r, tiba_error *error) {
    const tb_dominators *on = r->on.dominators;
    bool only_read = is_only_read(r);
    unsigned char *seen = TB_NEW(r->arena, unsigned char, r->on.graph->n_values);
    if (!seen) return tb_out_of_memory(error);
    const tb_value *nearest = NULL;
    int at = tb_route_member(r, 0)->v->id;
    for (int i = 1; i < r->n_attentions && at >= 0; i++)
        if (!only_read || input_of_keys(r, i) == input_of_keys(r, 0))
            at = tb_common_dominator(on, at, tb_route_member(r, i)->v->id);
    r->source.value = NULL;
    for (; at >= 0; at = on->parent[at]) {
        tb_token_axes axes;
        tb_tower tower;
        const tb_value *value = r->on.graph->values[at];
        if (!token_axes(&axes, r, value)) continue;
        bool as_many = !nearest || axes.tokens == r->source.tokens;
        memset(seen, 0, (size_t)r->on.graph->n_values);
        if (!as_many && !only_moves(nearest, value, seen)) continue;
        TB_TRY(describe(r, &axes, &tower, error));
        if (tower.input < 0 && tb_axes_query(r->on.axes, axes.factors[0].label)) continue;
        bool own = as_many || tower.length == axes.tokens; /* nothing was put to them */
        if (!nearest || (!tower.reordered && own)) {
            r->source = axes;
            r->tower = tower;
        }
        if (!nearest) nearest = value;
        if (!tower.reordered && own) break;
    }
    return at < 0 ? TIBA_OK : climb_moves(r, at, seen, error);
}

/* Does Concat put a recurrence's states together? */
static bool is_recurrence(const tb_route *r, const tb_node *node) {
    int axis = (int)tb_attr_int(node, "axis", 0);
    const tb_value *out = node->out[0];
    return tb_is(node, TB_OP_Concat) &&
           tb_axes_is_recurrent(r->on.axes, out, axis < 0 ? axis + out->t.rank : axis);
}

static bool fits(const tb_route *r, const tb_node *node) {
    if (tb_route_member_of(r, node) >= 0) return true;
    if (is_recurrence(r, node)) return false;
    int actives = 0;
    for (int i = 0; i < node->n_in; i++) actives += node->in[i] && node->in[i]->active;
    switch (node->op->class) {
    case TB_CLASS_CONTRACT:
        return r->carrier[node->id] >= 0;
    case TB_CLASS_SHAPE:
        return false;
    case TB_CLASS_OTHER: /* choices and resampling; sums and transforms along tokens are neither */
        return actives == 1 && (tb_is(node, TB_OP_TopK) || tb_is(node, TB_OP_Resize) ||
                                (tb_is(node, TB_OP_GridSample) && node->in[0]->active));
    default:
        return true;
    }
}

/* Is it what another input's tokens have read? */
static bool is_read_by_others(const tb_route *r, const tb_node *node) {
    const tb_attentions *found = r->on.attentions;
    for (int i = 0; i < found->n_attentions; i++) {
        int queries =
            found->attentions[i].product == node ? tb_query_input(r->on.axes, found, i) : -1;
        if (queries >= 0 && queries != r->tower.input) return true;
    }
    return false;
}

/* Does the value follow from the source by a way on which none of the tokens are left to what
 * another input's have read of them? */
static bool holds_tokens(const tb_route *r, const tb_value *value) {
    unsigned char *on = TB_NEW(r->arena, unsigned char, r->on.graph->n_values);
    tb_token_axes axes;
    if (!on) return true;
    on[r->source.value->id] = 1;
    for (const tb_node *node = r->on.graph->first; node; node = node->next) {
        bool any = false;
        for (int i = 0; i < node->n_in; i++) any |= node->in[i] && on[node->in[i]->id];
        bool read = is_read_by_others(r, node) && !token_axes(&axes, r, node->out[0]);
        for (int k = 0; k < node->n_out && any && !read; k++)
            if (node->out[k]) on[node->out[k]->id] = 1;
    }
    return on[value->id];
}

/* Does a dimension of the value hold some of its tokens? */
static bool has_tokens_in(const tb_token_axes *axes, const tb_value *value, int dim) {
    int64_t stride = tb_axes_stride(&value->t, dim), end = stride * value->t.dims[dim];
    for (int i = 0; i < axes->n; i++)
        if (axes->factors[i].inner < end &&
            axes->factors[i].inner * axes->factors[i].count > stride)
            return true;
    return false;
}

/* The operand of a step that its tokens are: the only activation, or the one that has them beside
 * what others have read (queries' scores for each word of a text); -1: there is none. */
static int carrier_of(const tb_route *r, const tb_node *node) {
    int actives = 0, one = 0;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active) actives++, one = i;
    if (actives == 1) return one;
    if (!tb_is(node, TB_OP_MatMul)) return -1;
    for (int i = 0; i < 2; i++) {
        tb_token_axes own, others;
        const tb_value *in = node->in[i], *other = node->in[1 - i];
        int summed = in->t.rank - (i == 0 || in->t.rank == 1 ? 1 : 2);
        if (token_axes(&own, r, in) && !token_axes(&others, r, other) &&
            !has_tokens_in(&own, in, summed) && !holds_tokens(r, other))
            return i;
    }
    return -1;
}

static tiba_status plan_steps(tb_route *r, tiba_error *error) {
    const tb_graph *graph = r->on.graph;
    unsigned char *below = TB_NEW(r->arena, unsigned char, graph->n_values);
    unsigned char *above = TB_NEW(r->arena, unsigned char, graph->n_values);
    r->n_steps = 0;
    r->between = TB_NEW(r->arena, unsigned char, graph->n_values);
    r->steps = TB_NEW(r->arena, const tb_node *, graph->n_nodes);
    r->splits = TB_NEW(r->arena, tb_split *, graph->next_node_id);
    r->carrier = TB_NEW(r->arena, signed char, graph->next_node_id);
    if (!below || !above || !r->between || !r->steps || !r->splits || !r->carrier)
        return tb_out_of_memory(error);
    tb_mark_descendants(graph, r->source.value, below);
    tb_mark_ancestors(graph, r->readout.value, above);
    for (int i = 0; i < graph->n_values; i++) r->between[i] = below[i] && above[i];
    for (const tb_node *node = graph->last; node; node = node->prev) {
        bool out = false, in = false;
        for (int i = 0; i < node->n_out; i++) out |= node->out[i] && r->between[node->out[i]->id];
        for (int i = 0; i < node->n_in; i++) in |= node->in[i] && r->between[node->in[i]->id];
        if (!out || !in) continue;
        r->steps[r->n_steps++] = node;
        r->carrier[node->id] = (signed char)carrier_of(r, node);
    }
    return tb_route_plan_splits(r, error);
}

/* Every operand with attentions could be asked, whether or not another one is asked for them. */
static bool hands_to(const tb_route *r, const tb_node *node, int i) {
    const tb_split *split = r->splits[node->id];
    if (node->op->class == TB_CLASS_CONTRACT && r->carrier[node->id] != i) return false;
    return node->in[i] && (!split || split->stream[i] > 0.0f || split->attends[i]);
}

void tb_route_mark_step(const tb_route *r, const tb_node *node, unsigned char *reached) {
    if (tb_route_ends_at(r, node)) return;
    int index = tb_route_member_of(r, node), region = r->on.regions->of_node[node->id];
    if (region >= 0) {
        const tb_region *whole = &r->on.regions->list[region];
        if (whole->exit->producer == node) reached[whole->entry->id] = 1;
    } else if (index >= 0) {
        reached[tb_route_member(r, index)->v->id] = 1;
    } else {
        for (int i = 0; i < node->n_in; i++)
            if (hands_to(r, node, i)) reached[node->in[i]->id] = 1;
    }
}

/* Can every step that weight comes to be taken? If not, *stopped is the first that cannot. */
static tiba_status check_steps(const tb_route *r, const tb_node **stopped, tiba_error *error) {
    unsigned char *reached = TB_NEW(r->arena, unsigned char, r->on.graph->n_values);
    if (!reached) return tb_out_of_memory(error);
    reached[r->readout.value->id] = 1;
    for (int s = 0; s < r->n_steps; s++) {
        const tb_node *node = r->steps[s];
        bool on = false;
        for (int i = 0; i < node->n_out; i++) on |= node->out[i] && reached[node->out[i]->id];
        if (!on) continue;
        if (r->on.regions->of_node[node->id] < 0 && !fits(r, node)) {
            *stopped = node;
            bool product = node->op->class == TB_CLASS_CONTRACT;
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "the rollout cannot follow tokens through it%s",
                                product ? ", a product of two activations of which none is a "
                                          "softmax over tokens (linear attention has none)"
                                        : "");
        }
        tb_route_mark_step(r, node, reached);
    }
    return TIBA_OK;
}

/* The readout is the value nearest the target that all ways from the members to it pass through and
 * that has token axes, from where weight comes to the source; ways from elsewhere (another tower)
 * do not count. Where weight does not come there (queries that were chosen among the tokens and
 * read others at places of their own), the next one is. */
static tiba_status plan_from_readout(tb_route *r, const tb_value *target,
                                     const unsigned char *beyond, const tb_node **at_node,
                                     tiba_error *error) {
    const tb_graph *graph = r->on.graph;
    unsigned char *from = TB_NEW(r->arena, unsigned char, graph->n_values);
    unsigned char *above = TB_NEW(r->arena, unsigned char, graph->n_values);
    unsigned char *read = TB_NEW(r->arena, unsigned char, graph->n_values);
    const tb_node *stopped = NULL;
    tb_dominators *ways;
    if (!from || !above || !read) return tb_out_of_memory(error);
    int last = tb_route_member(r, r->n_attentions - 1)->tower;
    for (int i = 0; i < r->n_attentions; i++)
        if (!r->on.last_alone || tb_route_member(r, i)->tower == last)
            from[tb_route_member(r, i)->product->out[0]->id] = 1;
    TB_TRY(tb_dominators_find(&ways, graph, from, r->arena, error));
    if (beyond) memcpy(above, beyond, (size_t)graph->n_values);
    for (int i = 0; i < r->n_attentions; i++) /* tokens that attend to each other are not out yet */
        for (int k = 0; k < 2 && tb_route_member(r, i)->tower >= 0; k++)
            tb_mark_ancestors(graph, tb_route_member(r, i)->product->in[k], read);
    tiba_error first = {0};
    for (int at = target->id; at >= 0; at = ways->parent[at]) {
        if (above[at] || read[at] || !token_axes(&r->readout, r, graph->values[at])) continue;
        tiba_error why = {0};
        TB_TRY(plan_steps(r, error));
        tiba_status status = check_steps(r, &stopped, &why);
        if (status != TIBA_ERROR_INPUT) {
            if (error) *error = why;
            return status;
        }
        if (!first.code) {
            first = why;
            *at_node = stopped;
        }
        tb_mark_descendants(graph, stopped->out[0], above);
    }
    if (first.code && error) *error = first;
    if (first.code) return TIBA_ERROR_INPUT;
    if (has_one_query(r)) { /* it is all that there is to read, as soon as it has read the tokens */
        int at = target->id;
        for (int i = 0; i < r->n_attentions; i++)
            tb_mark_ancestors(graph, tb_route_member(r, i)->p, read);
        while (ways->parent[at] >= 0 && !read[ways->parent[at]]) at = ways->parent[at];
        token_axes(&r->readout, r, graph->values[at]);
        TB_TRY(plan_steps(r, error));
        return check_steps(r, at_node, error);
    }
    return tb_node_fail(error, TIBA_ERROR_INPUT, tb_route_member(r, r->n_attentions - 1)->product,
                        "no value with tokens lies on every path from this attention to the "
                        "target");
}

/* Does a product of two activations that is no attention sum over the axis? Then tokens read the
 * queries back (linear attention), and these are not what the target reads. */
static bool is_read_back(const tb_route *r, int label) {
    const tb_axes *axes = r->on.axes;
    label = tb_axes_root(axes, label);
    for (const tb_node *node = r->on.graph->first; node; node = node->next) {
        if (!tb_is(node, TB_OP_MatMul) || tb_route_member_of(r, node) >= 0) continue;
        for (int i = 0; i < 2 && node->in[0]->active && node->in[1]->active; i++) {
            const tb_value *in = node->in[i];
            int dim = in->t.rank - (i == 0 || in->t.rank == 1 ? 1 : 2);
            int summed = tb_axes_dim(r->on.axes, in, dim);
            if (summed >= 0 && tb_axes_root(axes, summed) == label) return true;
        }
    }
    return false;
}

/* Ways from the tokens' input alone. */
static tiba_status own_dominators(tb_dominators **out, const tb_route *r, int input,
                                  tiba_error *error) {
    unsigned char *entries = TB_NEW(r->arena, unsigned char, r->on.graph->n_values);
    if (!entries) return tb_out_of_memory(error);
    tb_explainer_mark_entries(r->on.graph, input, entries);
    return tb_dominators_find(out, r->on.graph, entries, r->arena, error);
}

/* The nearest value with as many tokens as the source that all ways to it and to the readout pass
 * through; NULL: there is none. */
static const tb_value *common_source(tb_token_axes *axes, const tb_route *r,
                                     const tb_dominators *on) {
    int at = tb_common_dominator(on, r->source.value->id, r->readout.value->id);
    for (; at >= 0; at = on->parent[at])
        if (token_axes(axes, r, r->on.graph->values[at]) && axes->tokens == r->source.tokens)
            return r->on.graph->values[at];
    return NULL;
}

/* Where the members have but one value that they take tokens from (they are one, or stand side by
 * side), their skip connection begins behind the source, which would leave it out: the source
 * becomes the value that the readout comes from too. */
static tiba_status begin_at_skip(tb_route *r, tiba_error *error) {
    const tb_token_axes source = r->source;
    const tb_tower tower = r->tower;
    tb_token_axes axes;
    const tb_node *stopped;
    tiba_error why = {0};
    const tb_value *to = common_source(&axes, r, r->on.dominators);
    if (!to) {
        tb_dominators *own;
        TB_TRY(own_dominators(&own, r, tower.input, error));
        to = common_source(&axes, r, own);
    }
    if (!to || to == source.value) return TIBA_OK;
    r->source = axes;
    TB_TRY(describe(r, &axes, &r->tower, error));
    tiba_status status = TIBA_ERROR_INPUT;
    if (r->tower.input == tower.input && r->tower.reordered == tower.reordered) {
        TB_TRY(plan_steps(r, error));
        status = check_steps(r, &stopped, &why);
    }
    if (status != TIBA_ERROR_INPUT) {
        if (error) *error = why;
        return status;
    }
    r->source = source;
    r->tower = tower;
    return plan_steps(r, error);
}

tiba_status tb_route_create(tb_route **out, tb_route_graph on, const tb_value *target,
                            const unsigned char *beyond, int n_attentions, const int *members,
                            const tb_node **stopped, tb_arena *arena, tiba_error *error) {
    *stopped = NULL;
    tb_route *r = TB_NEW(arena, tb_route, 1);
    if (!r) return tb_out_of_memory(error);
    *r = (tb_route){.on = on,
                    .arena = arena,
                    .target = target,
                    .n_attentions = n_attentions,
                    .members = members};
    r->n_labels = on.axes->n_labels;
    r->told_apart = TB_NEW(arena, unsigned char, r->n_labels);
    r->attended = TB_NEW(arena, unsigned char, r->n_labels);
    if (!r->told_apart || !r->attended) return tb_out_of_memory(error);
    bool learned = is_only_read(r);
    for (int i = 0; i < n_attentions; i++) {
        const tb_value_axes *va = on.axes->values[tb_route_member(r, i)->p->id];
        for (int k = 0; va && k < va->n; k++)
            if (learned || !tb_axes_query(on.axes, va->factors[k].label))
                mark_label(on.axes, r->told_apart, va->factors[k].label, 0);
        /* learned queries have their axis from the product on */
        va = on.axes->values[tb_route_member(r, i)->product->out[0]->id];
        for (int k = 0; learned && va && k < va->n; k++)
            if (tb_axes_query(on.axes, va->factors[k].label) &&
                !is_read_back(r, va->factors[k].label))
                mark_label(on.axes, r->told_apart, va->factors[k].label, 0);
        /* of moved probabilities no axis may be left */
        if (!learned && tb_axes_query(on.axes, tb_route_member(r, i)->key_label)) continue;
        mark_label(on.axes, r->told_apart, tb_route_member(r, i)->key_label, 0);
        mark_label(on.axes, r->attended, tb_route_member(r, i)->key_label, 0);
    }
    TB_TRY(find_source(r, error));
    int queries = reads_others_too(r);
    if (queries < 0) queries = own_input(r);
    if (!r->source.value && queries >= 0) {
        tb_dominators *own;
        TB_TRY(own_dominators(&own, r, queries, error));
        r->on.dominators = own;
        TB_TRY(find_source(r, error));
    }
    if (!r->source.value)
        return tb_node_fail(error, TIBA_ERROR_INPUT, tb_route_member(r, 0)->product,
                            "the tokens of this attention and of those above it do not come from "
                            "one value with tokens");
    TB_TRY(plan_from_readout(r, target, beyond, stopped, error));
    TB_TRY(begin_at_skip(r, error));
    *out = r;
    return TIBA_OK;
}

void tb_route_keep(const tb_route *r, unsigned char *keep) {
    for (int s = 0; s < r->n_steps; s++) {
        const tb_node *node = r->steps[s];
        bool copies = node->op->class == TB_CLASS_MOVE || node->op->class == TB_CLASS_REDUCE ||
                      node->op->class == TB_CLASS_POOL || node->op->class == TB_CLASS_BINARY ||
                      node->op->class == TB_CLASS_OTHER;
        unsigned needs = copies ? node->op->def->needs : 0;
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] && (needs & TB_NEEDS_IN(i < 15 ? i : 15))) keep[node->in[i]->id] = 1;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && (needs & TB_NEEDS_OUT(i < 15 ? i : 15))) keep[node->out[i]->id] = 1;
    }
}
