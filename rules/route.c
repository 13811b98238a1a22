#include "rules/route.h"

#include <math.h>
#include <string.h>

#include "graph/reach.h"
#include "rules/region_walk.h"
#include "rules/route_steps.h"
#include "rules/rule.h"

/* The weight itself; any other channel is the node id of an Add that asks its branch. */
enum { STREAM = -1 };

static const tb_attention *member(const tb_route *r, int i) {
    return &r->on.attentions->attentions[r->members[i]];
}

/* -------------------------------------------------------------------- token axes */

int64_t tb_token_of(const tb_token_axes *a, int64_t element) {
    int64_t token = 0;
    for (int i = 0; i < a->n; i++)
        token = token * a->factors[i].count + element / a->factors[i].inner % a->factors[i].count;
    return token;
}

/* Is the label made of what the attentions tell apart? Others are features that an input has. */
static bool is_token_label(const tb_route *r, int label, int depth) {
    label = tb_axes_root(r->on.axes, label);
    if (label < 0 || depth > 32) return false;
    if (r->told_apart[label]) return true;
    const tb_label *l = &r->on.axes->labels[label];
    for (int i = 0; i < l->n_parents; i++)
        if (is_token_label(r, l->parents[i], depth + 1)) return true;
    return false;
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
    int of = member(r, i)->tower;
    return of >= 0 ? r->on.attentions->towers[of].input
                   : tb_label_input(r->on.axes, member(r, i)->key_label);
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
        if (member(r, i)->queries != 1) return false;
    return is_only_read(r);
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
        bool attended = r->attended[tb_axes_root(axes, f->label)];
        if (samples && !attended && f->inner * f->count == tb_tensor_count(&value->t)) {
            out->batch = f->count;
            out->batch_inner = f->inner;
            continue;
        }
        if (!is_token_label(r, f->label, 0)) continue;
        out->factors[out->n++] = *f;
        out->tokens *= f->count;
    }
    return out->n > 0;
}

/* -------------------------------------------------------------------- planning */

int tb_route_member_of(const tb_route *r, const tb_node *node) {
    for (int i = 0; i < r->n_attentions; i++)
        if (member(r, i)->product == node) return i;
    return -1;
}

/* Probabilities of a member's softmax that multiply constants (learned keys beside the tokens)
 * bring weight to the softmax itself: it says how tokens are weighed and holds none. */
static bool ends_at(const tb_route *r, const tb_node *node) {
    for (int i = 0; i < r->n_attentions && tb_is(node, TB_OP_Softmax); i++)
        if (member(r, i)->softmax == node) return true;
    return false;
}

bool tb_route_is_sum(const tb_node *node) {
    bool sum = tb_is(node, TB_OP_Add) || tb_is(node, TB_OP_Sub) || tb_is(node, TB_OP_Sum);
    return sum && node->n_in == 2 && node->in[0] && node->in[0]->active && node->in[1] &&
           node->in[1]->active;
}

/* Is there a way from `value` down to `base` that only passes Adds and moves: a skip connection? */
static bool has_skip(const tb_value *value, const tb_value *base, unsigned char *seen) {
    if (value == base) return true;
    const tb_node *node = value->producer;
    if (!node || seen[value->id]) return false;
    seen[value->id] = 1;
    bool passes = node->op->class == TB_CLASS_MOVE || tb_is(node, TB_OP_Add) ||
                  tb_is(node, TB_OP_Sum) || tb_is(node, TB_OP_Cast);
    for (int i = 0; passes && i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && has_skip(node->in[i], base, seen)) return true;
    return false;
}

/* Does a member attention lie between `base` and `value`? */
static bool has_attention(const tb_route *r, const tb_value *value, const tb_value *base,
                          unsigned char *seen) {
    if (value == base || seen[value->id]) return false;
    seen[value->id] = 1;
    const tb_node *node = value->producer;
    if (!node) return false;
    if (tb_route_member_of(r, node) >= 0) return true;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && has_attention(r, node->in[i], base, seen))
            return true;
    return false;
}

/* Does the move put tokens of one operand beside those of another, so that no token is of two? */
static bool joins_tokens(const tb_route *r, const tb_node *node) {
    const tb_value *out = node->out[0];
    int last = out->t.rank - 1;
    if (tb_is(node, TB_OP_ScatterND)) {
        const tiba_tensor *at = &node->in[1]->t;
        bool whole = at->rank > 0 && at->dims[at->rank - 1] <= last; /* vectors of features */
        return whole && !is_token_label(r, tb_axes_dim(r->on.axes, out, last), 0);
    }
    int64_t axis = tb_attr_int(node, "axis", 0);
    if (axis < 0) axis += out->t.rank;
    return tb_is(node, TB_OP_Concat) &&
           is_token_label(r, tb_axes_dim(r->on.axes, out, (int)axis), 0);
}

/* Do all member attentions that one meets first, going from `value` down to `base`, multiply parts
 * of one softmax? *softmax: NULL, then the one, or the node that joins tokens of several. */
static bool is_alone(const tb_route *r, const tb_value *value, const tb_value *base,
                     unsigned char *seen, const tb_node **softmax) {
    if (value == base || seen[value->id]) return true;
    seen[value->id] = 1;
    const tb_node *node = value->producer;
    if (!node) return true;
    int index = tb_route_member_of(r, node);
    if (index >= 0) {
        bool first = !*softmax || *softmax == member(r, index)->softmax;
        *softmax = member(r, index)->softmax;
        return first;
    }
    if (joins_tokens(r, node)) {
        const tb_node *before = *softmax;
        for (int i = 0; i < node->n_in; i++) {
            const tb_node *own = NULL;
            if (!node->in[i] || !node->in[i]->active) continue;
            if (!is_alone(r, node->in[i], base, seen, &own)) return false;
            if (own) *softmax = *softmax == before || own == *softmax ? own : node;
        }
        return !before || *softmax == before;
    }
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && !is_alone(r, node->in[i], base, seen, softmax))
            return false;
    return true;
}

/* Is there a way from `value` down to `base` past all member attentions? */
static bool passes_by(const tb_route *r, const tb_value *value, const tb_value *base,
                      unsigned char *seen) {
    if (value == base) return true;
    const tb_node *node = value->producer;
    if (!node || seen[value->id] || tb_route_member_of(r, node) >= 0) return false;
    seen[value->id] = 1;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && passes_by(r, node->in[i], base, seen))
            return true;
    return false;
}

/* What lies between an operand of an Add and the value that both operands come from. */
typedef struct operand {
    bool attends; /* a member attention */
    bool skips;   /* a skip connection */
    bool passes;  /* a way of any kind past the attentions */
} operand;

static operand look_at(const tb_route *r, const tb_value *value, const tb_value *base,
                       unsigned char *seen) {
    operand o = {0};
    size_t n = (size_t)r->on.graph->n_values;
    memset(seen, 0, n);
    o.attends = has_attention(r, value, base, seen);
    memset(seen, 0, n);
    o.skips = has_skip(value, base, seen);
    memset(seen, 0, n);
    o.passes = o.skips || passes_by(r, value, base, seen);
    return o;
}

static signed char who_gets(operand a, operand b) {
    if (a.skips != b.skips) {
        bool other = a.skips ? b.attends : a.attends;
        return a.skips ? (other ? ADD_AROUND_LEFT : ADD_LEFT)
                       : (other ? ADD_AROUND_RIGHT : ADD_RIGHT);
    }
    if (a.passes != b.passes) return a.passes ? ADD_AROUND_LEFT : ADD_AROUND_RIGHT;
    return a.passes ? ADD_SHARED : ADD_BOTH;
}

/* Who gets the weight at a sum of two activations. */
static tiba_status classify_add(tb_route *r, const tb_node *node, tiba_error *error) {
    const tb_value *a = node->in[0], *b = node->in[1];
    int common = tb_common_dominator(r->on.dominators, a->id, b->id);
    const tb_value *base = common >= 0 ? r->on.graph->values[common] : NULL;
    if (!base || !r->between[base->id]) base = r->source.value; /* there the weight ends */
    unsigned char *seen = TB_NEW(r->arena, unsigned char, r->on.graph->n_values);
    if (!seen) return tb_out_of_memory(error);
    if (r->between[a->id] != r->between[b->id]) /* the other one holds none of the tokens */
        r->skip[node->id] = r->between[a->id] ? ADD_LEFT : ADD_RIGHT;
    else
        r->skip[node->id] = who_gets(look_at(r, a, base, seen), look_at(r, b, base, seen));
    r->base[node->id] = base;
    bool around = r->skip[node->id] == ADD_AROUND_LEFT || r->skip[node->id] == ADD_AROUND_RIGHT;
    if (!around) return TIBA_OK;
    const tb_node *softmax = NULL;
    memset(seen, 0, (size_t)r->on.graph->n_values);
    const tb_value *branch = r->skip[node->id] == ADD_AROUND_LEFT ? b : a;
    r->alone[node->id] = is_alone(r, branch, base, seen, &softmax);
    return TIBA_OK;
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
    int at = member(r, 0)->v->id;
    for (int i = 1; i < r->n_attentions && at >= 0; i++)
        if (!only_read || input_of_keys(r, i) == input_of_keys(r, 0))
            at = tb_common_dominator(on, at, member(r, i)->v->id);
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
    return TIBA_OK;
}

static bool fits(const tb_route *r, const tb_node *node) {
    if (tb_route_member_of(r, node) >= 0) return true;
    int actives = 0;
    for (int i = 0; i < node->n_in; i++) actives += node->in[i] && node->in[i]->active;
    switch (node->op->class) {
    case TB_CLASS_CONTRACT:
        return actives == 1;
    case TB_CLASS_SHAPE:
        return false;
    case TB_CLASS_OTHER: /* choices and resampling; sums and transforms along tokens are neither */
        return actives == 1 && (tb_is(node, TB_OP_TopK) || tb_is(node, TB_OP_Resize) ||
                                (tb_is(node, TB_OP_GridSample) && node->in[0]->active));
    default:
        return !tb_is(node, TB_OP_Sum) || actives <= 2; /* nothing says which is the skip */
    }
}

static tiba_status plan_steps(tb_route *r, tiba_error *error) {
    const tb_graph *graph = r->on.graph;
    unsigned char *below = TB_NEW(r->arena, unsigned char, graph->n_values);
    unsigned char *above = TB_NEW(r->arena, unsigned char, graph->n_values);
    r->n_steps = 0;
    r->between = TB_NEW(r->arena, unsigned char, graph->n_values);
    r->steps = TB_NEW(r->arena, const tb_node *, graph->n_nodes);
    r->skip = TB_NEW(r->arena, signed char, graph->next_node_id);
    r->base = TB_NEW(r->arena, const tb_value *, graph->next_node_id);
    r->alone = TB_NEW(r->arena, unsigned char, graph->next_node_id);
    if (!below || !above || !r->between || !r->steps || !r->skip || !r->base || !r->alone)
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
        if (r->on.regions->of_node[node->id] >= 0) continue;
        if (tb_route_is_sum(node)) TB_TRY(classify_add(r, node, error));
    }
    return TIBA_OK;
}

/* An operand that was spread out to the result's size still says the same to all it was spread
 * over. */
static bool has_own_size(const tb_value *value, const tb_value *out) {
    if (tb_tensor_count(&value->t) != tb_tensor_count(&out->t)) return false;
    for (const tb_node *n = value->producer; n && n->n_out == 1; n = n->in[0]->producer) {
        if (tb_tensor_count(&n->in[0]->t) != tb_tensor_count(&out->t))
            return !tb_is(n, TB_OP_Expand);
        if (n->op->class != TB_CLASS_UNARY && n->op->class != TB_CLASS_QUANT) break;
    }
    return true;
}

bool tb_route_carries(const tb_route *r, const tb_node *node, int i, int *among) {
    int whole = 0, carry = 0;
    bool mine = false;
    for (int k = 0; k < node->n_in; k++) {
        if (!node->in[k] || !r->between[node->in[k]->id]) continue;
        bool own = has_own_size(node->in[k], node->out[0]);
        if (k == i) mine = own;
        carry++;
        whole += own;
    }
    *among = whole ? whole : carry;
    return node->in[i] && r->between[node->in[i]->id] && (mine || whole == 0);
}

static bool hands_to(const tb_route *r, const tb_node *node, int i) {
    signed char what = r->skip[node->id];
    int among;
    if (!node->in[i]) return false;
    if (tb_route_is_sum(node))
        return tb_add_gets[what].stream[i] > 0 || tb_add_gets[what].asked[i] > 0;
    return node->op->class != TB_CLASS_BINARY || tb_route_carries(r, node, i, &among);
}

void tb_route_mark_step(const tb_route *r, const tb_node *node, unsigned char *reached) {
    if (ends_at(r, node)) return;
    int index = tb_route_member_of(r, node), region = r->on.regions->of_node[node->id];
    if (region >= 0) {
        const tb_region *whole = &r->on.regions->list[region];
        if (whole->exit->producer == node) reached[whole->entry->id] = 1;
    } else if (index >= 0) {
        reached[member(r, index)->v->id] = 1;
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
    for (int i = 0; i < r->n_attentions; i++) from[member(r, i)->product->out[0]->id] = 1;
    TB_TRY(tb_dominators_find(&ways, graph, from, r->arena, error));
    if (beyond) memcpy(above, beyond, (size_t)graph->n_values);
    for (int i = 0; i < r->n_attentions; i++) /* tokens that attend to each other are not out yet */
        for (int k = 0; k < 2 && member(r, i)->tower >= 0; k++)
            tb_mark_ancestors(graph, member(r, i)->product->in[k], read);
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
        for (int i = 0; i < r->n_attentions; i++) tb_mark_ancestors(graph, member(r, i)->p, read);
        while (ways->parent[at] >= 0 && !read[ways->parent[at]]) at = ways->parent[at];
        token_axes(&r->readout, r, graph->values[at]);
        TB_TRY(plan_steps(r, error));
        return check_steps(r, at_node, error);
    }
    return tb_node_fail(error, TIBA_ERROR_INPUT, member(r, r->n_attentions - 1)->product,
                        "no value with tokens lies on every path from this attention to the "
                        "target");
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
    r->told_apart = TB_NEW(arena, unsigned char, on.axes->n_labels);
    r->attended = TB_NEW(arena, unsigned char, on.axes->n_labels);
    if (!r->told_apart || !r->attended) return tb_out_of_memory(error);
    bool learned = is_only_read(r);
    for (int i = 0; i < n_attentions; i++) {
        const tb_value_axes *va = on.axes->values[member(r, i)->p->id];
        for (int k = 0; va && k < va->n; k++)
            if (learned || !tb_axes_query(on.axes, va->factors[k].label))
                mark_label(on.axes, r->told_apart, va->factors[k].label, 0);
        /* of moved probabilities no axis may be left */
        if (!learned && tb_axes_query(on.axes, member(r, i)->key_label)) continue;
        mark_label(on.axes, r->told_apart, member(r, i)->key_label, 0);
        mark_label(on.axes, r->attended, member(r, i)->key_label, 0);
    }
    TB_TRY(find_source(r, error));
    if (!r->source.value)
        return tb_node_fail(error, TIBA_ERROR_INPUT, member(r, 0)->product,
                            "the tokens of this attention and of those above it do not come from "
                            "one value with tokens");
    TB_TRY(plan_from_readout(r, target, beyond, stopped, error));
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

/* -------------------------------------------------------------------- running */

/* What a value holds in one channel. */
typedef struct share {
    int channel;
    float *mass;
    struct share *next;
} share;

typedef struct walk {
    const tb_route *r;
    const tb_program *program;
    tb_budget *budget;
    tb_exec *exec;
    share **shares; /* by value id, NULL: none (yet) */
    int channel;    /* of the step at hand */
    const tb_route_load *load;
    double *reach; /* where what reaches the queries of member `reached` goes */
    int reached;   /* -1: nobody asks */
} walk;

/* What the value holds in the channel at hand, NULL: nothing. */
static float *held(const walk *w, const tb_value *value) {
    for (share *s = value ? w->shares[value->id] : NULL; s; s = s->next)
        if (s->channel == w->channel) return s->mass;
    return NULL;
}

/* The same with room made for it; NULL: out of memory. */
static float *mass_of(walk *w, const tb_value *value) {
    float *found = held(w, value);
    if (found) return found;
    share *s = tb_calloc(w->budget, 1, sizeof *s);
    if (!s) return NULL;
    s->channel = w->channel;
    s->next = w->shares[value->id];
    w->shares[value->id] = s;
    s->mass = tb_calloc(w->budget, (size_t)tb_tensor_count(&value->t), sizeof(float));
    return s->mass;
}

static void drop(walk *w, const tb_value *value) {
    for (share *s = w->shares[value->id], *next; s; s = next) {
        next = s->next;
        tb_free(s->mass);
        tb_free(s);
    }
    w->shares[value->id] = NULL;
}

/* Adds `factor` × m (in the shape of `like`) to the value's mass, summed over what was broadcast.
 */
static tiba_status give(walk *w, const tb_value *value, const tiba_tensor *m, float factor,
                        tiba_error *error) {
    if (!value || !value->active || !w->r->between[value->id]) return TIBA_OK;
    /* what a branch was asked for ends where the branch begins */
    if (w->channel != STREAM && w->r->base[w->channel] == value) return TIBA_OK;
    float *to = mass_of(w, value);
    tiba_tensor sum = value->t;
    sum.data = tb_scratch(w->exec, (size_t)tb_tensor_count(&sum), sizeof(float));
    if (!to || !sum.data) return tb_out_of_memory(error);
    tb_sum_to_shape(&sum, m);
    int64_t count = tb_tensor_count(&sum);
    for (int64_t i = 0; i < count; i++) to[i] += factor * ((float *)sum.data)[i];
    return TIBA_OK;
}

/* Around an attention: V's tokens get Eᵀ times what the product's rows hold, spread evenly over
 * heads and features. */
static tiba_status step_attention(walk *w, const tb_node *node, int index, const float *m,
                                  tiba_error *error) {
    const float *e = w->load->blocks[index];
    const tb_attention *a = member(w->r, index);
    const tiba_tensor *o = &node->out[0]->t;
    int64_t rows = a->groups * a->heads, nq = a->queries, nk = a->keys;
    int64_t features = tb_tensor_count(o) / (rows * nq);
    tiba_tensor v = *o; /* V's share with o's leading axes */
    v.dims[v.rank - (a->transposed ? 1 : 2)] = nk;
    float *full = tb_scratch(w->exec, (size_t)(rows * nk * features), sizeof(float));
    double *held = tb_scratch(w->exec, (size_t)(a->groups * nq), sizeof(double));
    double *handed = tb_scratch(w->exec, (size_t)(a->groups * nk), sizeof(double));
    if (!full || !held || !handed) return tb_out_of_memory(error);
    memset(held, 0, (size_t)(a->groups * nq) * sizeof *held);
    memset(handed, 0, (size_t)(a->groups * nk) * sizeof *handed);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t q = 0; q < nq; q++)
            for (int64_t f = 0; f < features; f++)
                held[a->group_of[row] * nq + q] +=
                    (double)m[a->transposed ? (row * features + f) * nq + q
                                            : (row * nq + q) * features + f];
    for (int64_t i = 0; i < a->groups * nq && index == w->reached; i++) w->reach[i] += held[i];
    if (!e) return TIBA_OK;
    for (int64_t g = 0; g < a->groups; g++)
        for (int64_t q = 0; q < nq; q++) {
            if (held[g * nq + q] == 0.0) continue;
            for (int64_t k = 0; k < nk; k++)
                handed[g * nk + k] += held[g * nq + q] * (double)e[(g * nq + q) * nk + k];
        }
    double even = 1.0 / (double)(a->heads * features);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t k = 0; k < nk; k++)
            for (int64_t f = 0; f < features; f++)
                full[a->transposed ? (row * features + f) * nk + k
                                   : (row * nk + k) * features + f] =
                    (float)(handed[a->group_of[row] * nk + k] * even);
    v.data = full;
    w->channel = STREAM; /* whoever asked */
    return give(w, a->v, &v, 1.0f, error);
}

/* A linear map with all weights alike: each of the k elements that an output is made of gets 1/k.
 */
static tiba_status step_merge(walk *w, const tb_node *node, const tiba_tensor *m,
                              tiba_error *error) {
    tb_even even;
    TB_TRY(tb_route_even(&even, node, w->program, w->exec, error));
    tiba_tensor *din[8] = {NULL}, *outs[1], size = *m, part = even.ones;
    int64_t n = tb_tensor_count(&part), count = tb_tensor_count(m);
    part.data = tb_scratch(w->exec, (size_t)n, sizeof(float));
    size.data = tb_scratch(w->exec, (size_t)count, sizeof(float));
    if (!part.data || !size.data) return tb_out_of_memory(error);
    outs[0] = &size;
    TB_TRY(even.def->forward(w->exec, node, even.in, outs, error));
    float *s = size.data;
    for (int64_t i = 0; i < count; i++) s[i] = s[i] != 0.0f ? ((float *)m->data)[i] / s[i] : 0.0f;
    const tiba_tensor *back[1] = {&size}, *of[1] = {&size};
    din[even.x] = &part;
    TB_TRY(even.def->vjp(w->exec, node, even.in, of, back, din, error));
    return give(w, node->in[even.x], &part, 1.0f, error);
}

/* The adjoint of a copy. */
static tiba_status step_move(walk *w, const tb_node *node, tiba_error *error) {
    const tb_op_def *def = node->op->def;
    if (!def->vjp)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "no rollout through it: %s",
                            def->no_vjp);
    size_t n_in = (size_t)node->n_in, n_out = (size_t)node->n_out;
    const tiba_tensor **in = tb_scratch(w->exec, n_in, sizeof *in);
    const tiba_tensor **out = tb_scratch(w->exec, n_out, sizeof *out);
    const tiba_tensor **back = tb_scratch(w->exec, n_out, sizeof *back);
    tiba_tensor **din = tb_scratch(w->exec, n_in, sizeof *din);
    tiba_tensor *memory = tb_scratch(w->exec, n_in + n_out, sizeof *memory);
    if (!in || !out || !back || !din || !memory) return tb_out_of_memory(error);
    for (size_t i = 0; i < n_in; i++) {
        const tb_value *value = node->in[i];
        in[i] = value ? w->program->values[value->id] : NULL;
        din[i] = NULL;
        if (!value || !value->active || !w->r->between[value->id]) continue;
        memory[i] = value->t;
        memory[i].data = tb_scratch(w->exec, (size_t)tb_tensor_count(&value->t), sizeof(float));
        if (!memory[i].data) return tb_out_of_memory(error);
        din[i] = &memory[i];
    }
    for (size_t i = 0; i < n_out; i++) {
        const tb_value *value = node->out[i];
        out[i] = value ? w->program->values[value->id] : NULL;
        back[i] = NULL;
        if (!held(w, value)) continue;
        memory[n_in + i] = value->t;
        memory[n_in + i].data = held(w, value);
        back[i] = &memory[n_in + i];
    }
    TB_TRY(def->vjp(w->exec, node, in, out, back, din, error));
    for (size_t i = 0; i < n_in; i++)
        if (din[i]) TB_TRY(give(w, node->in[i], din[i], 1.0f, error));
    return TIBA_OK;
}

/* Operands of the result's own size carry the tokens, all others none (unless none has it). */
static tiba_status step_binary(walk *w, const tb_node *node, const tiba_tensor *m,
                               tiba_error *error) {
    for (int i = 0, among; i < node->n_in; i++)
        if (tb_route_carries(w->r, node, i, &among))
            TB_TRY(give(w, node->in[i], m, 1.0f / (float)among, error));
    return TIBA_OK;
}

const tb_add_shares tb_add_gets[] = {
    [ADD_LEFT] = {{1.0f, 0.0f}, {0.0f, 0.0f}},
    [ADD_RIGHT] = {{0.0f, 1.0f}, {0.0f, 0.0f}},
    [ADD_AROUND_LEFT] = {{1.0f, 0.0f}, {0.0f, 1.0f}},
    [ADD_AROUND_RIGHT] = {{0.0f, 1.0f}, {1.0f, 0.0f}},
    [ADD_SHARED] = {{0.5f, 0.5f}, {0.5f, 0.5f}},
    [ADD_BOTH] = {{1.0f, 1.0f}, {0.0f, 0.0f}},
};

/* Divides the weight at an Add around an attention by the sums of the rows of I + E. */
static tiba_status normalize(walk *w, const tb_node *node, const tiba_tensor *m,
                             tiba_error *error) {
    signed char what = w->r->skip[node->id];
    bool around = what == ADD_AROUND_LEFT || what == ADD_AROUND_RIGHT;
    if (what == ADD_LEFT || what == ADD_RIGHT) return TIBA_OK;
    bool own = around && w->r->alone[node->id];
    if (!own && w->load->undivided) {
        *w->load->undivided = true;
        return TIBA_OK;
    }
    if (!own)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "the normalized rollout is not defined where several attentions share "
                            "a residual sum: --rollout raw, or another method");
    int64_t count = tb_tensor_count(m);
    float *s = tb_calloc(w->budget, (size_t)count + 1, sizeof *s);
    if (!s) return tb_out_of_memory(error);
    tiba_status status =
        tb_route_row_sums(s, w->r, w->program, w->load->blocks, node, w->budget, w->exec, error);
    for (int64_t i = 0; i < count && status == TIBA_OK; i++) ((float *)m->data)[i] /= 1.0f + s[i];
    tb_free(s);
    return status;
}

static tiba_status step_sum(walk *w, const tb_node *node, const tiba_tensor *m, tiba_error *error) {
    const tb_add_shares *gets = &tb_add_gets[w->r->skip[node->id]];
    int channel = w->channel;
    if (w->load->normalized && channel == STREAM) TB_TRY(normalize(w, node, m, error));
    for (int i = 0; i < 2; i++) {
        w->channel = channel;
        if (gets->stream[i] > 0.0f) TB_TRY(give(w, node->in[i], m, gets->stream[i], error));
        w->channel = node->id;
        if (gets->asked[i] > 0.0f) TB_TRY(give(w, node->in[i], m, gets->asked[i], error));
    }
    return TIBA_OK;
}

static tiba_status step_region(walk *w, const tb_region *region, tiba_error *error) {
    tiba_tensor m = region->entry->t;
    m.data = held(w, region->exit);
    if (region->turned) {
        tb_walk back = tb_region_walk(region);
        m.data = tb_scratch(w->exec, (size_t)tb_tensor_count(&m), sizeof(float));
        if (!m.data) return tb_out_of_memory(error);
        tb_walk_copy(w->exec, &back, sizeof(float), m.data, held(w, region->exit));
    }
    return give(w, region->entry, &m, 1.0f, error);
}

/* One step of what the node's results hold in the channel at hand. */
static tiba_status take_step(walk *w, const tb_node *node, tiba_error *error) {
    const tb_route *r = w->r;
    int index = r->on.regions->of_node[node->id];
    if (ends_at(r, node)) return TIBA_OK;
    if (index >= 0) { /* element-wise functions and normalisations leave tokens alone */
        const tb_region *region = &r->on.regions->list[index];
        return region->exit->producer == node ? step_region(w, region, error) : TIBA_OK;
    }
    int attention = tb_route_member_of(r, node);
    tiba_tensor m = node->out[0] ? node->out[0]->t : (tiba_tensor){0};
    m.data = held(w, node->out[0]);
    if (attention >= 0) return step_attention(w, node, attention, m.data, error);
    if (node->op->class == TB_CLASS_MOVE || node->op->class == TB_CLASS_OTHER)
        return step_move(w, node, error);
    if (!m.data) return TIBA_OK;
    switch (node->op->class) {
    case TB_CLASS_CONTRACT:
    case TB_CLASS_REDUCE:
    case TB_CLASS_POOL:
        return step_merge(w, node, &m, error);
    default:
        return tb_route_is_sum(node) ? step_sum(w, node, &m, error)
                                     : step_binary(w, node, &m, error);
    }
}

/* Steps of all channels that the node's results hold something in. */
static tiba_status take_steps(walk *w, const tb_node *node, tiba_error *error) {
    for (int i = 0; i < node->n_out; i++)
        for (share *s = node->out[i] ? w->shares[node->out[i]->id] : NULL; s; s = s->next) {
            bool done = false; /* with an earlier output */
            w->channel = s->channel;
            for (int k = 0; k < i && !done; k++) done = held(w, node->out[k]) != NULL;
            if (done) continue;
            tiba_status status = take_step(w, node, error);
            tb_scratch_reset(w->exec);
            TB_TRY(status);
        }
    return TIBA_OK;
}

static tiba_status walk_back(walk *w, tiba_error *error) {
    for (int s = 0; s < w->r->n_steps; s++) {
        const tb_node *node = w->r->steps[s];
        TB_TRY(take_steps(w, node, error));
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && node->out[i] != w->r->source.value) drop(w, node->out[i]);
    }
    return TIBA_OK;
}

/* Carries the load back; tokens [source.tokens] NULL: nobody asks for them. */
static tiba_status run(walk *at, double *tokens, tiba_error *error) {
    const tb_route *r = at->r;
    const tb_token_axes *from = &r->readout, *to = &r->source;
    at->channel = STREAM;
    float *start = mass_of(at, from->value);
    if (!start) return tb_out_of_memory(error);
    int64_t count = tb_tensor_count(&from->value->t);
    double even = (double)(from->tokens * from->batch) / (double)count;
    for (int64_t i = 0; i < count; i++)
        if (i / from->batch_inner % from->batch == at->load->sample)
            start[i] = (float)(at->load->w[tb_token_of(from, i)] * even);
    TB_TRY(walk_back(at, error));
    if (!tokens) return TIBA_OK;
    for (int64_t t = 0; t < to->tokens; t++) tokens[t] = 0.0;
    at->channel = STREAM;
    const float *end = held(at, to->value);
    count = tb_tensor_count(&to->value->t);
    for (int64_t i = 0; end && i < count; i++) tokens[tb_token_of(to, i)] += (double)end[i];
    return TIBA_OK;
}

static tiba_status run_walk(walk *at, double *tokens, tiba_error *error) {
    int n = at->r->on.graph->n_values;
    at->shares = tb_calloc(at->budget, (size_t)n + 1, sizeof *at->shares);
    tiba_status status = at->shares ? run(at, tokens, error) : tb_out_of_memory(error);
    for (int i = 0; i < n && at->shares; i++)
        if (at->r->on.graph->values[i]) drop(at, at->r->on.graph->values[i]);
    tb_free(at->shares);
    return status;
}

tiba_status tb_route_run(const tb_route *r, const tb_program *program, const tb_route_load *load,
                         double *tokens, tb_budget *budget, tb_exec *exec, tiba_error *error) {
    walk at = {
        .r = r, .program = program, .budget = budget, .exec = exec, .load = load, .reached = -1};
    return run_walk(&at, tokens, error);
}

tiba_status tb_route_reach(const tb_route *r, const tb_program *program, const tb_route_load *load,
                           int index, double *held, tb_budget *budget, tb_exec *exec,
                           tiba_error *error) {
    const tb_attention *a = member(r, index);
    walk at = {.r = r,
               .program = program,
               .budget = budget,
               .exec = exec,
               .load = load,
               .reach = held,
               .reached = index};
    memset(held, 0, (size_t)(a->groups * a->queries) * sizeof *held);
    return run_walk(&at, NULL, error);
}
