/*
 * towers.c: which attentions below the target make a tower, plain or rolled out through the graph.
 * They are sorted by the input that they read; what no row vector connects comes apart into towers
 * of their own.
 */
#include <string.h>

#include "graph/reach.h"
#include "graph/send.h"
#include "rules/explain_plan.h"
#include "rules/in_token.h"
#include "rules/mixing.h"
#include "rules/over_features.h"

/* The attention by which these learned queries first read tokens; NULL: they are none. */
static const tb_attention *read_by(const tb_explainer *x, int label) {
    const tb_attentions *found = x->analysis->attentions;
    const tb_node *node = label < 0 ? NULL : tb_axes_query(x->analysis->axes, label);
    for (int i = 0; node && i < found->n_attentions; i++)
        if (found->attentions[i].product == node) return &found->attentions[i];
    return NULL;
}

/* The graph input whose tokens an attention reads, also by way of learned queries that have read
 * them (a resampler's, which a text reads); of those that read others joined to them, their own;
 * -1: none. */
static int input_of(const tb_explainer *x, const tb_attention *a) {
    const tb_analysis *on = x->analysis;
    if (a->tower >= 0) return on->attentions->towers[a->tower].input;
    const tb_attention *reader = read_by(x, a->key_label);
    int queries = tb_label_input(on->axes, a->query_label);
    if (reader && reader != a && queries >= 0) return input_of(x, reader);
    /* tokens that read themselves and an encoder's, however many, at once */
    if (queries >= 0 && tb_label_includes(on->axes, a->key_label, a->query_label)) return queries;
    int key = tb_axes_root(on->axes, a->key_label);
    for (int t = 0; key >= 0 && t < on->attentions->n_towers; t++) /* it reads a tower */
        if (on->attentions->towers[t].label == key) return on->attentions->towers[t].input;
    int input = tb_label_input(on->axes, a->key_label);
    return input >= 0 ? input : tb_label_input(on->axes, a->query_label);
}

/* Are the tower's tokens the input's ids in other places (what a decoder reads of them)? */
static bool holds_moved_ids(const tb_explainer *x, int tower) {
    const tb_axes *axes = x->analysis->axes;
    int label = tb_axes_root(axes, x->analysis->attentions->towers[tower].label);
    return axes->labels[label].kind == TB_LABEL_LOOKUP && axes->labels[label].node;
}

/* Do another input's tokens read learned queries that have read the group's? */
static bool reads_readers(const tb_explainer *x, const tb_plan_tower *group,
                          const tb_attention *a) {
    int queries = tb_label_input(x->analysis->axes, a->query_label);
    return a->plain && queries >= 0 && queries != group->tower.input && read_by(x, a->key_label);
}

/* Attentions of one input form a plain tower if they have one token axis; others that only read it
 * (pooling by a learned query or class token, cross-attention, a decoder fed with the same ids
 * shifted) belong to the readout. */
static bool is_plain(const tb_explainer *x, const tb_plan_tower *group, int *tower) {
    const tb_attentions *found = x->analysis->attentions;
    *tower = -1;
    for (int i = 0; i < group->tower.n_attentions; i++) {
        int of = found->attentions[group->tower.attentions[i]].tower;
        if (of < 0 || of == *tower) continue;
        bool moved = holds_moved_ids(x, of);
        if (*tower >= 0 && moved == holds_moved_ids(x, *tower)) return false;
        if (*tower < 0 || !moved) *tower = of;
    }
    if (*tower < 0) return false;
    int label = found->towers[*tower].label;
    for (int i = 0; i < group->tower.n_attentions; i++) {
        const tb_attention *a = &found->attentions[group->tower.attentions[i]];
        bool reads = tb_label_includes(x->analysis->axes, a->key_label, label) &&
                     a->query_label != label && a->plain;
        if (a->tower < 0 && !reads && !reads_readers(x, group, a)) return false;
    }
    return true;
}

/* Does an attention that is none of the tower's lie below the readout, though its queries are the
 * tower's tokens in other places, or unknown? A chain of the tower's own would leave it out.
 * Queries from another input's tokens are cross-attention, which is no part of the chain. */
static tiba_status leaves_out(bool *out, tb_explainer *x, const tb_tower *group, int tower,
                              const tb_value *readout, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *below = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!below) return tb_out_of_memory(error);
    tb_mark_ancestors(x->graph, readout, below);
    *out = false;
    for (int i = 0; i < group->n_attentions; i++) {
        const tb_attention *a = &found->attentions[group->attentions[i]];
        int label = found->towers[tower].label;
        bool own = tb_label_input(x->analysis->axes, a->query_label) < 0 ||
                   tb_label_includes(x->analysis->axes, a->query_label, label);
        *out |= a->tower != tower && own && below[a->product->out[0]->id];
    }
    return TIBA_OK;
}

/* Do the attentions follow each other, blocks of parallel ones included, up to the readout? Two
 * encoders of the same tokens do not: their blocks have no product. */
static tiba_status is_chain(bool *out, const tb_explainer *x, int n, const int *attentions,
                            const tb_value *readout, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *leads = TB_NEW(x->arena, unsigned char, (int64_t)n *n);
    unsigned char *below = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!leads || !below) return tb_out_of_memory(error);
    *out = true;
    for (int i = 0; i < n; i++) {
        memset(below, 0, (size_t)x->graph->n_values);
        tb_mark_descendants(x->graph, found->attentions[attentions[i]].product->out[0], below);
        for (int k = 0; k < n; k++) {
            const tb_attention *a = &found->attentions[attentions[k]];
            leads[i * n + k] = k != i && (below[a->p->id] || below[a->v->id]);
        }
        *out &= below[readout->id] != 0;
    }
    /* those that stand beside each other have the same ones before and behind them */
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            for (int j = 0; j < n && !leads[i * n + k] && !leads[k * n + i]; j++)
                *out &=
                    leads[i * n + j] == leads[k * n + j] && leads[j * n + i] == leads[j * n + k];
    return TIBA_OK;
}

/* *fits is false, and nothing planned, if the tower's attentions alone are no chain. */
static tiba_status plan_plain(tb_explainer *x, tb_plan_tower *to, int tower, bool *fits,
                              tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    const tb_tower group = to->tower;
    int *attentions = TB_NEW(x->arena, int, group.n_attentions), n = 0;
    if (!attentions) return tb_out_of_memory(error);
    for (int i = 0; i < group.n_attentions; i++)
        if (found->attentions[group.attentions[i]].tower == tower)
            attentions[n++] = group.attentions[i];
    to->tower = found->towers[tower];
    to->tower.attentions = attentions;
    to->tower.n_attentions = n;
    to->readout =
        tb_tower_readout(x->graph, x->analysis->axes, found, &to->tower, x->target, &to->inner);
    bool skips = false, chain = true;
    if (to->readout) {
        TB_TRY(leaves_out(&skips, x, &group, tower, to->readout, error));
        TB_TRY(is_chain(&chain, x, n, attentions, to->readout, error));
    }
    *fits = chain && !skips;
    if (!*fits) to->tower = group;
    if (to->readout) return TIBA_OK;
    return tb_node_fail(error, TIBA_ERROR_INPUT, found->attentions[attentions[n - 1]].product,
                        "no value with the %lld tokens of this attention lies on every path to the "
                        "target, so nothing says which tokens it reads",
                        (long long)to->tower.tokens);
}

/* Are the attention's queries learned, or what else comes from no input? */
static bool reads_only(const tb_explainer *x, int attention) {
    const tb_attention *a = &x->analysis->attentions->attentions[attention];
    return tb_label_input(x->analysis->axes, a->query_label) < 0;
}

/* Do none of the input's tokens attend, and others only read them: learned queries, or a text
 * behind a convolutional network? Where they are queries of an attention that reads others (SAM's
 * picture reads its prompts) they do. */
static bool is_only_read(const tb_explainer *x, const tb_tower *group) {
    const tb_attentions *found = x->analysis->attentions;
    for (int i = 0; i < found->n_attentions; i++)
        if (tb_query_input(x->analysis->axes, found, i) == group->input) return false;
    return true;
}

/* Members that are no cross-attention: queries from another input's tokens are no part of a chain.
 * NULL: out of memory. */
static int *own_members(const tb_explainer *x, const tb_tower *group, int *n) {
    int *own = TB_NEW(x->arena, int, group->n_attentions);
    *n = 0;
    for (int i = 0; own && i < group->n_attentions; i++) {
        const tb_attention *a = &x->analysis->attentions->attentions[group->attentions[i]];
        int input = a->tower < 0 ? tb_label_input(x->analysis->axes, a->query_label) : -1;
        if (input < 0 || input == group->input) own[(*n)++] = group->attentions[i];
    }
    return own;
}

static tiba_status plan_routed(tb_explainer *x, tb_plan_tower *to, const unsigned char *beyond,
                               tiba_error *error) {
    const tb_analysis *on = x->analysis;
    tb_route_graph from = {x->graph,    on->axes,       on->attentions,
                           on->regions, on->dominators, to->carried};
    int n = to->tower.n_attentions, *members = to->tower.attentions;
    if (!is_only_read(x, &to->tower)) members = own_members(x, &to->tower, &n);
    if (!members) return tb_out_of_memory(error);
    if (n == 0) {
        members = to->tower.attentions;
        n = to->tower.n_attentions;
    }
    TB_TRY(tb_route_create(&to->route, from, x->target, beyond, n, members, &to->stopped, x->arena,
                           error));
    to->tower = to->route->tower;
    if (to->tower.input < 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, on->attentions->attentions[members[0]].product,
                            "the tokens of this attention cannot be traced to an input");
    to->tower.attentions = members;
    to->tower.n_attentions = n;
    to->readout = to->route->readout.value;
    return TIBA_OK;
}

/* Does the attention read tokens of one of the group's towers, and nothing else of a token axis? */
static bool reads_tower(const tb_explainer *x, const tb_plan_tower *group, const tb_attention *a) {
    const tb_attentions *found = x->analysis->attentions;
    for (int i = 0; i < group->tower.n_attentions && a->plain; i++) {
        int of = found->attentions[group->tower.attentions[i]].tower;
        if (of >= 0 && tb_label_includes(x->analysis->axes, a->key_label, found->towers[of].label))
            return true;
    }
    return reads_readers(x, group, a);
}

/* A group of its own for some of another's attentions, the last of all. */
static tb_plan_tower *add_group(tb_explainer *x, int input, int *attentions, int n,
                                const tiba_error *apart) {
    tb_plan_tower *to = &x->towers[x->n_towers++];
    *to = (tb_plan_tower){.tower = {.input = input}, .apart = apart};
    to->tower.attentions = attentions;
    to->tower.n_attentions = n;
    return to;
}

/* Where a tower goes on beside the readers of some of its tokens (branches of parts, each with a
 * class token), what these read of it arrives at no readout of its own: a reader's row vector goes
 * on into it, through those of its attentions that the reader's tokens come from. Adds them to
 * own[0 … *n), in order. False: out of memory. */
static bool add_carried(const tb_explainer *x, const tb_tower *group, int *own, int *n,
                        bool *carried) {
    const tb_attentions *found = x->analysis->attentions;
    const tb_attention *first = &found->attentions[own[0]];
    int label = found->towers[first->tower].label, n_own = *n;
    unsigned char *below = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    bool *adds = TB_NEW(x->arena, bool, found->n_attentions);
    if (!below || !adds) return false;
    tb_mark_ancestors(x->graph, first->p, below);
    tb_mark_ancestors(x->graph, first->v, below);
    for (int of = 0; of < found->n_towers; of++) {
        int n_below = 0, n_of = 0;
        if (of == first->tower ||
            !tb_label_includes(x->analysis->axes, label, found->towers[of].label))
            continue;
        for (int i = 0; i < group->n_attentions; i++) {
            const tb_attention *a = &found->attentions[group->attentions[i]];
            n_of += a->tower == of;
            n_below += a->tower == of && below[a->product->out[0]->id];
        }
        for (int i = 0; i < group->n_attentions && n_below < n_of; i++) {
            const tb_attention *a = &found->attentions[group->attentions[i]];
            adds[group->attentions[i]] |= a->tower == of && below[a->product->out[0]->id];
        }
    }
    for (int i = 0; i < n_own; i++) adds[own[i]] = true;
    *n = 0;
    for (int i = 0; i < found->n_attentions; i++)
        if (adds[i]) own[(*n)++] = i;
    *carried = *n > n_own;
    return true;
}

/* Towers of one input that no row vector connects (a picture's, and one of its tokens joined with
 * a text's; two sizes of patches) have a result each. The group becomes its first tower, the
 * others follow behind the last one. False if it is one tower only or has attentions that are
 * part of none. */
static bool split(tb_explainer *x, int t, const tiba_error *apart, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    tb_plan_tower *group = &x->towers[t];
    const int *members = group->tower.attentions;
    int n = group->tower.n_attentions, towers = 0, before = x->n_towers;
    for (int i = 0; i < n; i++) {
        const tb_attention *a = &found->attentions[members[i]];
        if (a->tower < 0 && !reads_tower(x, group, a)) return false;
    }
    for (int of = 0; of < found->n_towers; of++) {
        int *own = TB_NEW(x->arena, int, n), n_own = 0;
        for (int i = 0; own && i < n; i++)
            if (found->attentions[members[i]].tower == of) own[n_own++] = members[i];
        if (!own) return tb_out_of_memory(error), false;
        if (n_own == 0) continue;
        bool carried;
        if (!add_carried(x, &group->tower, own, &n_own, &carried))
            return tb_out_of_memory(error), false;
        add_group(x, found->towers[of].input, own, n_own, apart)->carried = carried;
        towers++;
    }
    if (towers > 1) *group = x->towers[before];
    x->n_towers = towers > 1 ? x->n_towers - 1 : before;
    for (int i = before; i < x->n_towers; i++) x->towers[i] = x->towers[i + 1];
    return towers > 1;
}

/* Do attentions stand beside each other for parts of an input that the target reads together, such
 * as those of a long text? */
static bool has_parts(const tb_explainer *x, const tb_tower *group) {
    const tb_axes *axes = x->analysis->axes;
    for (int i = 0; i < group->n_attentions; i++) {
        const tb_attention *a = &x->analysis->attentions->attentions[group->attentions[i]];
        const tb_value_axes *va = axes->values[a->p->id];
        for (int k = 0; va && k < va->n && a->plain && a->groups > 1; k++)
            if (va->factors[k].inner >= a->queries * a->keys &&
                !tb_is_samples(x->graph, axes, va->factors[k].label, x->target))
                return true;
    }
    return false;
}

/* Plans the group as one tower; a value in `beyond` (NULL: none) is not read as its tokens. Tokens
 * in other places than the input's are routed back to these. */
static tiba_status plan_whole(tb_explainer *x, int t, const unsigned char *beyond,
                              tiba_error *error) {
    int of;
    tb_plan_tower *to = &x->towers[t];
    const tb_tower group = to->tower;
    bool plain = !is_only_read(x, &to->tower) && !has_parts(x, &to->tower) && is_plain(x, to, &of);
    if (plain) TB_TRY(plan_plain(x, to, of, &plain, error));
    if (plain && to->tower.reordered && !to->tower.image) {
        to->tower = group;
        plain = false;
    }
    if (!plain) TB_TRY(plan_routed(x, to, beyond, error));
    const tb_attentions *found = x->analysis->attentions;
    if (to->tower.reordered && !to->tower.image)
        return tb_node_fail(error, TIBA_ERROR_INPUT,
                            found->attentions[to->tower.attentions[0]].product,
                            "the tokens of this attention are not in the order of the input that "
                            "they come from");
    return TIBA_OK;
}

/* Do all of these attentions read the value? */
static bool all_above(const tb_explainer *x, int n, const int *attentions, const tb_value *value) {
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *above = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    bool all = above != NULL;
    if (above) tb_mark_descendants(x->graph, value, above);
    for (int i = 0; i < n && all; i++)
        all = above[found->attentions[attentions[i]].product->out[0]->id];
    return all;
}

/* Do one of the first k attentions and one of the others belong to one tower, of as many tokens as
 * are read? It would be cut in two. (What attends among some of them, such as the class tokens of
 * a video's frames, stands on what is read.) */
static bool cuts_tower(const tb_explainer *x, const int *members, int k, int n, int64_t tokens) {
    const tb_attention *all = x->analysis->attentions->attentions;
    for (int i = 0; i < k; i++)
        for (int j = k; j < n && all[members[i]].tower >= 0; j++)
            if (all[members[i]].tower == all[members[j]].tower && all[members[i]].keys >= tokens)
                return true;
    return false;
}

/* The first attentions of the group that make a tower, if what follows lies above its readout:
 * queries that were chosen among its tokens, which are a group of their own, and learned ones that
 * read it, which belong to the readout. *fits: is there such a part? */
static tiba_status peel(bool *fits, tb_explainer *x, int t, const tiba_error *apart,
                        tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    const tb_plan_tower group = x->towers[t];
    int *members = group.tower.attentions, n = group.tower.n_attentions, k, n_above = 0;
    tb_plan_tower *to = &x->towers[t];
    unsigned char *beyond = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!beyond) return tb_out_of_memory(error);
    *fits = false;
    for (k = n - 1; k > 0 && !*fits; k--) {
        tb_mark_descendants(x->graph, found->attentions[members[k]].product->out[0], beyond);
        tiba_error why = {0};
        *to = (tb_plan_tower){.tower = {.input = group.tower.input}, .apart = apart};
        to->tower.attentions = members;
        to->tower.n_attentions = k;
        tiba_status status = plan_whole(x, t, beyond, &why);
        if (status != TIBA_OK && status != TIBA_ERROR_INPUT) {
            if (error) *error = why;
            return status;
        }
        int64_t tokens = to->route ? to->route->readout.tokens : to->tower.tokens;
        *fits = status == TIBA_OK && all_above(x, n - k, members + k, to->readout) &&
                !cuts_tower(x, members, k, n, tokens);
    }
    if (!*fits) {
        *to = group;
        return TIBA_OK;
    }
    int *above = TB_NEW(x->arena, int, n);
    if (!above) return tb_out_of_memory(error);
    for (int i = k + 1; i < n; i++)
        if (!reads_only(x, members[i])) above[n_above++] = members[i];
    if (n_above > 0) add_group(x, group.tower.input, above, n_above, apart);
    return TIBA_OK;
}

/* What a decoder reads of the input's ids, in other places, is a tower of its own beside the
 * input's, which is planned in its turn; one that does not fit is part of the readout. `group` had
 * both. */
static tiba_status add_moved(tb_explainer *x, int t, const tb_tower *group, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    for (int of = 0; of < found->n_towers && !x->towers[t].route; of++) {
        int *own = TB_NEW(x->arena, int, group->n_attentions), n = 0;
        if (!own) return tb_out_of_memory(error);
        for (int i = 0; i < group->n_attentions; i++)
            if (found->attentions[group->attentions[i]].tower == of)
                own[n++] = group->attentions[i];
        if (n == 0 || of == found->attentions[x->towers[t].tower.attentions[0]].tower) continue;
        tiba_error why = {0};
        tb_plan_tower *to = add_group(x, group->input, own, n, NULL), unplanned = *to;
        tiba_status status = plan_whole(x, x->n_towers - 1, NULL, &why);
        if (status == TIBA_ERROR_INPUT) x->n_towers--;
        if (status != TIBA_OK && status != TIBA_ERROR_INPUT) {
            if (error) *error = why;
            return status;
        }
        *to = unplanned;
    }
    return TIBA_OK;
}

/* Marks in part[] which of the group's attentions belong together: those of which one reads what
 * the other gives, directly or by way of others. *n_parts of them; false: out of memory. */
static bool find_parts(const tb_explainer *x, const tb_tower *group, int *part, int *n_parts) {
    const tb_attentions *found = x->analysis->attentions;
    int n = group->n_attentions;
    unsigned char *above = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!above) return false;
    for (int i = 0; i < n; i++) part[i] = i;
    for (int i = 0; i < n; i++) {
        memset(above, 0, (size_t)x->graph->n_values);
        tb_mark_descendants(x->graph, found->attentions[group->attentions[i]].product->out[0],
                            above);
        for (int k = 0; k < n; k++) {
            bool reads = above[found->attentions[group->attentions[k]].product->out[0]->id];
            int from = part[i] > part[k] ? part[i] : part[k];
            int to = part[i] > part[k] ? part[k] : part[i];
            for (int j = 0; j < n && reads && from != to; j++)
                if (part[j] == from) part[j] = to;
        }
    }
    *n_parts = 0;
    for (int i = 0; i < n; i++) *n_parts += part[i] == i;
    return true;
}

/* Encoders of one input that read nothing of each other and have other tokens (a picture as a
 * whole, and its pieces one by one) have a result each, as towers that split() parts. Where two
 * have the same tokens each token has one value, and nothing says which of them is read. */
static bool split_encoders(tb_explainer *x, int t, const tiba_error *apart, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    const tb_tower group = x->towers[t].tower;
    int n = group.n_attentions, n_parts, before = x->n_towers;
    int *part = TB_NEW(x->arena, int, n);
    if (!part || !find_parts(x, &group, part, &n_parts)) return tb_out_of_memory(error), false;
    for (int i = 0; i < n; i++) {
        const tb_attention *a = &found->attentions[group.attentions[i]];
        if (a->query_label < 0 || a->query_label != a->key_label) return false;
        for (int k = 0; k < i; k++)
            if (part[i] != part[k] &&
                a->key_label == found->attentions[group.attentions[k]].key_label)
                return false;
    }
    if (n_parts < 2) return false;
    for (int i = 0; i < n; i++) {
        if (part[i] != i) continue;
        int *own = TB_NEW(x->arena, int, n), n_own = 0;
        if (!own) return tb_out_of_memory(error), false;
        for (int k = i; k < n; k++)
            if (part[k] == i) own[n_own++] = group.attentions[k];
        add_group(x, group.input, own, n_own, apart);
    }
    x->towers[t] = x->towers[before];
    x->n_towers--;
    for (int i = before; i < x->n_towers; i++) x->towers[i] = x->towers[i + 1];
    return true;
}

static tiba_status plan_tower(tb_explainer *x, int t, tiba_error *error) {
    const tb_tower group = x->towers[t].tower;
    tiba_error why = {0}, *apart = TB_NEW(x->arena, tiba_error, 1);
    if (!apart) return tb_out_of_memory(error);
    bool comes_apart = !x->towers[t].carried && !is_only_read(x, &x->towers[t].tower);
    tiba_status status = plan_whole(x, t, NULL, &why);
    if (status == TIBA_ERROR_INPUT && comes_apart) {
        *apart = why;
        if (split(x, t, apart, &why) || split_encoders(x, t, apart, &why))
            return plan_tower(x, t, error);
        bool fits = false;
        /* a product of two activations may be an attention in a form that is not known */
        const tb_node *at = x->towers[t].stopped;
        if (!at || at->op->class != TB_CLASS_CONTRACT) TB_TRY(peel(&fits, x, t, apart, error));
        if (fits) return TIBA_OK;
    }
    if (status == TIBA_OK) return add_moved(x, t, &group, error);
    if (error) *error = why;
    return status;
}

/* What is wrong with a part of a group that came apart is what it came apart for. */
static tiba_status plan_group(tb_explainer *x, int t, tiba_error *error) {
    tiba_error why = {0};
    tiba_status status = plan_tower(x, t, &why);
    const tiba_error *apart = x->towers[t].apart;
    if (status != TIBA_OK && error) *error = status == TIBA_ERROR_INPUT && apart ? *apart : why;
    return status;
}

/* Are these tokens of a tower, or some of them? */
static bool of_tower(const tb_explainer *x, int label) {
    const tb_attentions *found = x->analysis->attentions;
    for (int t = 0; label >= 0 && t < found->n_towers; t++)
        if (tb_label_includes(x->analysis->axes, label, found->towers[t].label)) return true;
    return false;
}

/* Are these probabilities, moved, masked or scaled at most? */
static bool of_softmax(const tb_value *value) {
    for (const tb_node *node; (node = value->producer) && !tb_is(node, TB_OP_Softmax);) {
        int one = tb_only_active(node);
        const tb_value *from = one >= 0 ? node->in[one] : NULL;
        bool passes = node->op->class == TB_CLASS_UNARY || node->op->class == TB_CLASS_BINARY ||
                      node->op->class == TB_CLASS_MOVE;
        if (!from || !passes) return false;
        value = from;
    }
    return value->producer != NULL;
}

/* Does the node sum over an input's tokens and leave none? Learned queries that read them do,
 * also where they weigh constants (a place for each of the tokens) by them, groups that they were
 * assigned to, and a Linear that mixes a tower's tokens to others. */
static bool pools(const tb_explainer *x, const tb_node *node) {
    tb_axes *axes = x->analysis->axes;
    const tb_value *a = node->in[0], *b = node->in[1];
    if (tb_is(node, TB_OP_Linear)) return of_tower(x, tb_axes_dim(axes, a, a->t.rank - 1));
    if (!tb_is(node, TB_OP_MatMul) || a->t.rank < 2 || b->t.rank < 2) return false;
    if ((!a->active || !b->active) && !of_softmax(a->active ? a : b)) return false;
    int key = tb_axes_dim(axes, a, a->t.rank - 1), token = tb_axes_dim(axes, b, b->t.rank - 2);
    return (tb_label_input(axes, key) >= 0 || tb_label_input(axes, token) >= 0) &&
           tb_label_input(axes, tb_axes_dim(axes, a, a->t.rank - 2)) < 0 &&
           tb_label_input(axes, tb_axes_dim(axes, b, b->t.rank - 1)) < 0;
}

/* Marks what carries an input's tokens, or might: everything that depends on an input by a way that
 * no product takes them from. */
static void mark_tokens(const tb_explainer *x, unsigned char *marks) {
    for (int i = 0; i < x->graph->n_inputs; i++)
        if (x->graph->inputs[i] && x->graph->inputs[i]->active) marks[x->graph->inputs[i]->id] = 1;
    for (const tb_node *node = x->graph->first; node; node = node->next) {
        bool source = true, on = false;
        for (int i = 0; i < node->n_in; i++) {
            if (!node->in[i] || !node->in[i]->active) continue;
            source = false;
            on |= marks[node->in[i]->id];
        }
        bool holds = source || (on && !pools(x, node));
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i]) marks[node->out[i]->id] = holds;
    }
}

/* What the user may look at where there is no attention: the last softmax that the target depends
 * on, whose keys nothing contracts. */
static tiba_status fail_without_attention(const tb_explainer *x, const unsigned char *above,
                                          tiba_error *error) {
    const tb_node *last = NULL;
    for (const tb_node *node = x->graph->first; node; node = node->next)
        if (tb_is(node, TB_OP_Softmax) && node->out[0] && node->out[0]->active &&
            above[node->out[0]->id])
            last = node;
    if (last) {
        const tiba_tensor *p = &last->out[0]->t;
        int64_t axis = tb_attr_int(last, "axis", -1);
        bool alone = p->dims[axis < 0 ? axis + p->rank : axis] == 1;
        return tb_node_fail(error, TIBA_ERROR_INPUT, last, "no attention found: %s",
                            alone ? "this softmax, the last one, has one element in each row, "
                                    "which is always 1"
                                  : "no product with values takes the probabilities of this "
                                    "softmax, the last one, as they are (no gates of other "
                                    "activations) and sums along its axis");
    }
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "no attention found: the target depends on no softmax of an activation");
}

/* An attention whose tokens come from no input, or are features. */
static tiba_status fits_no_tower(const tb_attention *a, const char *why, tiba_error *error) {
    return tb_node_fail(error, TIBA_ERROR_INPUT, a->product,
                        "this attention (%lld queries, %lld keys) fits no tower: its %s",
                        (long long)a->queries, (long long)a->keys, why);
}

/* Where an input's tokens are only read, what their readers attend to above is part of the way to
 * them. */
static tiba_status add_readers(tb_explainer *x, tb_tower *group, const unsigned char *above,
                               const unsigned char *crossed, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *read = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    int *all = TB_NEW(x->arena, int, found->n_attentions), n = 0;
    if (!read || !all) return tb_out_of_memory(error);
    if (!is_only_read(x, group)) return TIBA_OK;
    for (int i = 0; i < group->n_attentions; i++)
        tb_mark_descendants(x->graph, found->attentions[group->attentions[i]].p, read);
    for (int i = 0; i < found->n_attentions; i++) {
        const tb_value *out = found->attentions[i].product->out[0];
        if (above[out->id] && read[out->id] && !crossed[i]) all[n++] = i;
    }
    group->attentions = all;
    group->n_attentions = n;
    return TIBA_OK;
}

tiba_status tb_explainer_plan_towers(tb_explainer *x, const unsigned char *above,
                                     tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    /* one that is only read has its readers, which others have too, and may be split by theirs */
    int64_t most = found->n_attentions + 1 + (int64_t)x->graph->n_inputs * found->n_towers;
    x->towers = TB_NEW(x->arena, tb_plan_tower, most);
    unsigned char *marks = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    unsigned char *crossed = TB_NEW(x->arena, unsigned char, found->n_attentions + 1);
    int *features = TB_NEW(x->arena, int, found->n_attentions + 1), n_features = 0;
    if (!x->towers || !marks || !crossed || !features) return tb_out_of_memory(error);
    mark_tokens(x, marks);
    if (found->odd && above[found->odd->out[0]->id])
        return tb_node_fail(error, TIBA_ERROR_INPUT, found->odd,
                            "a softmax is moved and multiplied by values here, and what it weighs "
                            "are no tokens that are known");
    for (int i = 0; i < found->n_attentions; i++) {
        const tb_attention *a = &found->attentions[i];
        if (!above[a->product->out[0]->id]) continue;
        int input = input_of(x, a), t = 0;
        /* learned queries that attend to each other hold no tokens of an input */
        if (input < 0 && !marks[a->p->id] && !marks[a->v->id]) continue;
        if (tb_is_in_token(x, a)) continue;
        if (input < 0) {
            bool over_features;
            TB_TRY(tb_is_over_features(&over_features, x, a, error));
            if (!over_features)
                return fits_no_tower(a, "tokens cannot be traced to an input", error);
            crossed[i] = 1;
            features[n_features++] = i;
            continue;
        }
        while (t < x->n_towers && x->towers[t].tower.input != input) t++;
        tb_plan_tower *to = &x->towers[t];
        if (t == x->n_towers) {
            x->n_towers++;
            to->tower.input = input;
            to->tower.attentions = TB_NEW(x->arena, int, found->n_attentions);
            if (!to->tower.attentions) return tb_out_of_memory(error);
        }
        to->tower.attentions[to->tower.n_attentions++] = i;
    }
    if (x->n_towers == 0 && found->n_attentions == 0)
        return fail_without_attention(x, above, error);
    if (x->n_towers == 0 && n_features > 0)
        return fits_no_tower(&found->attentions[features[0]],
                             "queries and keys are features, so no tokens attend to others", error);
    if (x->n_towers == 0)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "output '%s' depends on no attention over tokens of an input",
                       x->target->name);
    for (int t = 0; t < x->n_towers; t++) {
        TB_TRY(add_readers(x, &x->towers[t].tower, above, crossed, error));
        TB_TRY(plan_group(x, t, error));
    }
    TB_TRY(tb_note_over_features(x, n_features, features, error));
    return tb_note_mixing(x, error);
}
