/*
 * route_split.c: plans what a step of several operands (a sum, a product, features put side by
 * side) does with the weight that reaches it. A block is I + E however it is written: what passes
 * by the attentions gets the weight, and each attention is asked in full for what it adds, once.
 */
#include <string.h>

#include "rules/route_steps.h"

/* What the planning of one route keeps. */
typedef struct splitting {
    tb_route *r;
    tb_dominators *ways; /* of those that begin at the source */
    unsigned char *seen; /* by value id */
    size_t words;        /* of a set of members */
} splitting;

bool tb_set_has(const uint64_t *set, int i) {
    return set[i / 64] >> (i % 64) & 1;
}

static bool is_set(const uint64_t *set, size_t words) {
    for (size_t i = 0; i < words; i++)
        if (set[i]) return true;
    return false;
}

static bool is_between(const tb_route *r, const tb_value *value) {
    return value && r->between[value->id];
}

static bool is_sum(const tb_node *node) {
    return tb_is(node, TB_OP_Add) || tb_is(node, TB_OP_Sub) || tb_is(node, TB_OP_Sum);
}

/* -------------------------------------------------------------------- ways down */

static void start(splitting *s) {
    memset(s->seen, 0, (size_t)s->r->on.graph->n_values);
}

/* Is there a way from `value` down to `base` that only passes Adds and moves: a skip connection? */
static bool has_skip(splitting *s, const tb_value *value, const tb_value *base) {
    if (value == base) return true;
    const tb_node *node = value->producer;
    if (!node || s->seen[value->id]) return false;
    s->seen[value->id] = 1;
    bool passes = node->op->class == TB_CLASS_MOVE || tb_is(node, TB_OP_Add) ||
                  tb_is(node, TB_OP_Sum) || tb_is(node, TB_OP_Cast);
    for (int i = 0; passes && i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && has_skip(s, node->in[i], base)) return true;
    return false;
}

/* Is there a way from `value` down to `base` past all member attentions? What only opens a gate for
 * an attention's result, or stands beside it, is none, unless `any` way counts. */
static bool passes_by(splitting *s, const tb_value *value, const tb_value *base, bool any) {
    if (value == base) return true;
    const tb_node *node = value->producer;
    if (!node || s->seen[value->id] || tb_route_member_of(s->r, node) >= 0) return false;
    s->seen[value->id] = 1;
    const tb_split *split = any ? NULL : s->r->splits[node->id];
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && (!split || split->passes[i]) &&
            passes_by(s, node->in[i], base, any))
            return true;
    return false;
}

/* Adds to `met` which member attentions one meets first on the ways from `value` down to `base`. */
static void meet(splitting *s, const tb_value *value, const tb_value *base, uint64_t *met) {
    if (value == base || s->seen[value->id]) return;
    s->seen[value->id] = 1;
    const tb_node *node = value->producer;
    if (!node) return;
    int member = tb_route_member_of(s->r, node);
    if (member >= 0) {
        member = s->r->same[member];
        met[member / 64] |= UINT64_C(1) << (member % 64);
        return;
    }
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active) meet(s, node->in[i], base, met);
}

/* Does the move put tokens of one operand beside those of another, so that no token is of two? */
static bool joins_tokens(const tb_route *r, const tb_node *node) {
    const tb_value *out = node->out[0];
    const int last = out->t.rank - 1;
    if (tb_is(node, TB_OP_ScatterND)) {
        const tiba_tensor *at = &node->in[1]->t;
        bool whole = at->rank > 0 && at->dims[at->rank - 1] <= last; /* vectors of features */
        return whole && !tb_route_is_token(r, tb_axes_dim(r->on.axes, out, last));
    }
    int64_t axis = tb_attr_int(node, "axis", 0);
    if (axis < 0) axis += out->t.rank;
    return tb_is(node, TB_OP_Concat) &&
           tb_route_is_token(r, tb_axes_dim(r->on.axes, out, (int)axis));
}

/* Do all member attentions that one meets first, going from `value` down to `base`, multiply parts
 * of one softmax? *softmax: NULL, then the one, or the node that joins tokens of several. */
static bool is_alone(splitting *s, const tb_value *value, const tb_value *base,
                     const tb_node **softmax) {
    if (value == base || s->seen[value->id]) return true;
    s->seen[value->id] = 1;
    const tb_node *node = value->producer;
    if (!node) return true;
    int index = tb_route_member_of(s->r, node);
    if (index >= 0) {
        bool first = !*softmax || *softmax == tb_route_member(s->r, index)->softmax;
        *softmax = tb_route_member(s->r, index)->softmax;
        return first;
    }
    if (joins_tokens(s->r, node)) {
        const tb_node *before = *softmax;
        for (int i = 0; i < node->n_in; i++) {
            const tb_node *own = NULL;
            if (!node->in[i] || !node->in[i]->active) continue;
            if (!is_alone(s, node->in[i], base, &own)) return false;
            if (own) *softmax = *softmax == before || own == *softmax ? own : node;
        }
        return !before || *softmax == before;
    }
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && !is_alone(s, node->in[i], base, softmax))
            return false;
    return true;
}

/* -------------------------------------------------------------------- one step */

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

/* The value that all operands which hold tokens come from; there what is asked of them ends. */
static const tb_value *find_base(const splitting *s, const tb_node *node) {
    const tb_route *r = s->r;
    int base = -1, operands = 0;
    for (int i = 0; i < node->n_in; i++) {
        if (!is_between(r, node->in[i])) continue;
        if (!operands++)
            base = node->in[i]->id;
        else if (base >= 0)
            base = tb_common_dominator(s->ways, base, node->in[i]->id);
    }
    return base >= 0 && r->between[base] ? r->on.graph->values[base] : r->source.value;
}

/* What is known of a step while it is planned. */
typedef struct step {
    const tb_node *node;
    tb_split *split;
    uint64_t *met; /* [n_in][words]: the attentions of each operand */
} step;

static const uint64_t *met_of(const splitting *s, const step *at, int i) {
    return at->met + (size_t)i * s->words;
}

/* Chooses among `from` the operands that pass by the attentions: skip connections before others,
 * and these before what only opens gates. None may. */
static void choose(splitting *s, const step *at, const unsigned char *from, unsigned char *chosen) {
    const tb_value *base = at->split->base;
    enum { SKIPS, PASSES, OPENS_GATES, WAYS };
    bool found = false;
    /* features side by side all hold some of the tokens' weight */
    for (int way = at->split->joins ? PASSES : SKIPS; way < WAYS && !found; way++)
        for (int i = 0; i < at->node->n_in; i++) {
            if (!from[i]) continue;
            start(s);
            chosen[i] = way == SKIPS ? has_skip(s, at->node->in[i], base)
                                     : passes_by(s, at->node->in[i], base, way == OPENS_GATES);
            found |= chosen[i];
        }
}

/* How much of the weight that goes down the stream comes to an operand with this attention, which
 * is asked for what it adds there. */
static float asked_below(const splitting *s, const step *at, int member) {
    float has = 0.0f, all = 0.0f;
    for (int i = 0; i < at->node->n_in; i++) {
        if (at->split->stream[i] == 0.0f) continue;
        float part =
            at->split->joins ? (float)tb_tensor_count(&at->node->in[i]->t) : at->split->stream[i];
        all += part;
        if (tb_set_has(met_of(s, at, i), member)) has += part;
    }
    return all > 0.0f ? has / all : 0.0f;
}

/* The questions that ask for the same: what each operand gets, of how much. */
static tb_asked *question(const splitting *s, const step *at, float share, float rest) {
    tb_split *split = at->split;
    for (int k = 0; k < split->n_asked; k++)
        if (split->asked[k].each == share && split->asked[k].rest == rest) return &split->asked[k];
    tb_asked *asked = &split->asked[split->n_asked++];
    asked->each = share;
    asked->rest = rest;
    asked->share = TB_NEW(s->r->arena, float, at->node->n_in);
    asked->members = TB_NEW(s->r->arena, uint64_t, s->words);
    return asked->share && asked->members ? asked : NULL;
}

/* Asks each attention for what the operands on the stream are not asked for anyway; one that comes
 * by several operands is asked for a part by each. */
static tiba_status plan_asked(const splitting *s, const step *at, tiba_error *error) {
    const int n_in = at->node->n_in;
    tb_split *split = at->split;
    split->asked = TB_NEW(s->r->arena, tb_asked, s->r->n_attentions);
    if (!split->asked) return tb_out_of_memory(error);
    for (int m = 0; m < s->r->n_attentions; m++) {
        int operands = 0;
        for (int i = 0; i < n_in; i++) operands += tb_set_has(met_of(s, at, i), m);
        const float rest = 1.0f - asked_below(s, at, m);
        if (operands == 0 || rest < 1e-6f) continue;
        const float each = split->joins ? 1.0f : 1.0f / (float)operands;
        tb_asked *asked = question(s, at, each, rest);
        if (!asked) return tb_out_of_memory(error);
        asked->members[m / 64] |= UINT64_C(1) << (m % 64);
        for (int i = 0; i < n_in; i++)
            if (tb_set_has(met_of(s, at, i), m)) {
                asked->share[i] = each;
                split->divides[i] = 0;
            }
    }
    return TIBA_OK;
}

static bool asks_one(splitting *s, const step *at) {
    const tb_node *softmax = NULL;
    const tb_split *split = at->split;
    start(s);
    for (int i = 0; i < at->node->n_in; i++)
        for (int k = 0; k < split->n_asked; k++) {
            if (split->asked[k].share[i] == 0.0f) continue;
            if (!is_alone(s, at->node->in[i], split->base, &softmax)) return false;
            break;
        }
    return true;
}

static tiba_status plan(splitting *s, const tb_node *node, tiba_error *error) {
    tb_route *r = s->r;
    const size_t n_in = (size_t)node->n_in;
    tb_split *split = r->splits[node->id] = TB_NEW(r->arena, tb_split, 1);
    step at = {node, split, TB_NEW(r->arena, uint64_t, n_in * s->words)};
    unsigned char *from = TB_NEW(r->arena, unsigned char, n_in);
    if (!split || !at.met || !from) return tb_out_of_memory(error);
    *split = (tb_split){.base = find_base(s, node), .joins = node->op->class == TB_CLASS_MOVE};
    split->stream = TB_NEW(r->arena, float, n_in);
    split->goes_on = TB_NEW(r->arena, unsigned char, n_in);
    split->passes = TB_NEW(r->arena, unsigned char, n_in);
    split->attends = TB_NEW(r->arena, unsigned char, n_in);
    split->divides = TB_NEW(r->arena, unsigned char, n_in);
    if (!split->stream || !split->goes_on || !split->passes || !split->attends || !split->divides)
        return tb_out_of_memory(error);
    unsigned char *chosen = split->goes_on;
    const bool product = !split->joins && !is_sum(node);
    bool whole = false, mixed = false;
    for (size_t i = 0; i < n_in; i++) {
        if (!is_between(r, node->in[i])) continue;
        uint64_t *met = at.met + i * s->words;
        start(s);
        meet(s, node->in[i], split->base, met);
        split->attends[i] = is_set(met, s->words);
        mixed |= split->attends[i];
        whole |= has_own_size(node->in[i], node->out[0]);
        from[i] = split->divides[i] = 1;
    }
    for (size_t i = 0; product && whole && i < n_in; i++)
        from[i] = from[i] && has_own_size(node->in[i], node->out[0]);
    if (mixed || is_sum(node))
        choose(s, &at, from, chosen);
    else
        memcpy(chosen, from, n_in);
    float n = 0.0f;
    for (size_t i = 0; i < n_in; i++) n += chosen[i];
    for (size_t i = 0; i < n_in; i++) {
        if (chosen[i]) split->stream[i] = split->joins ? 1.0f : 1.0f / n;
        split->passes[i] = !mixed || is_sum(node) || split->attends[i];
    }
    for (size_t i = 0; mixed && product && i < n_in; i++) { /* a skip connection behind a gate */
        start(s);
        if (chosen[i] && has_skip(s, node->in[i], split->base)) split->passes[i] = 1;
    }
    if (!mixed) return TIBA_OK;
    TB_TRY(plan_asked(s, &at, error));
    split->alone = asks_one(s, &at);
    return TIBA_OK;
}

/* Do both multiply the same probabilities, or heads of one softmax? Parts of it for some of the
 * keys or queries are not the same. */
static bool are_same(const tb_axes *axes, const tb_attention *a, const tb_attention *b) {
    const int keys = tb_axes_root(axes, a->key_label), queries = tb_axes_root(axes, a->query_label);
    return a->p == b->p ||
           (a->softmax == b->softmax && keys >= 0 && queries >= 0 &&
            keys == tb_axes_root(axes, b->key_label) && a->keys == b->keys &&
            queries == tb_axes_root(axes, b->query_label) && a->queries == b->queries);
}

tiba_status tb_route_plan_splits(tb_route *r, tiba_error *error) {
    splitting s = {.r = r, .words = (size_t)(r->n_attentions + 63) / 64};
    s.seen = TB_NEW(r->arena, unsigned char, r->on.graph->n_values);
    r->same = TB_NEW(r->arena, int, r->n_attentions);
    unsigned char *source = TB_NEW(r->arena, unsigned char, r->on.graph->n_values);
    if (!s.seen || !r->same || !source) return tb_out_of_memory(error);
    source[r->source.value->id] = 1;
    TB_TRY(tb_dominators_find(&s.ways, r->on.graph, source, r->arena, error));
    for (int i = 0; i < r->n_attentions; i++) {
        r->same[i] = i;
        for (int k = 0; k < i && r->same[i] == i; k++)
            if (are_same(r->on.axes, tb_route_member(r, k), tb_route_member(r, i))) r->same[i] = k;
    }
    for (int i = r->n_steps - 1; i >= 0; i--) { /* what is passed on the way down comes first */
        const tb_node *node = r->steps[i];
        if (r->on.regions->of_node[node->id] >= 0) continue;
        if (node->op->class == TB_CLASS_BINARY ||
            (tb_is(node, TB_OP_Concat) && !joins_tokens(r, node)))
            TB_TRY(plan(&s, node, error));
    }
    return TIBA_OK;
}
