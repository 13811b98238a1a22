#include "rules/over_features.h"

#include "graph/reach.h"

tiba_status tb_is_over_features(bool *out, const tb_explainer *x, const tb_attention *a,
                                tiba_error *error) {
    int input = tb_features_input(x->analysis->axes, a->product, a->transposed);
    *out = input >= 0;
    return input == -2 ? tb_out_of_memory(error) : TIBA_OK;
}

static tiba_status fail_at(const tb_attention *a, const char *why, tiba_error *error) {
    return tb_node_fail(error, TIBA_ERROR_INPUT, a->product,
                        "this attention over features (%lld queries, %lld keys) %s",
                        (long long)a->queries, (long long)a->keys, why);
}

static bool dominates(const tb_dominators *on, const tb_value *value, const tb_value *of) {
    int at = of->id;
    while (at >= 0 && at != value->id) at = on->parent[at];
    return at >= 0;
}

/* Does all that the tower's input says go through the value, on the way to the readout or to what
 * an attention of the tower reads? */
static bool passes_all(const tb_explainer *x, const tb_plan_tower *to, const tb_dominators *own,
                       const tb_value *value) {
    if (dominates(own, value, to->readout)) return true;
    for (int i = 0; i < to->tower.n_attentions; i++) {
        int index = to->tower.attentions[i];
        if (dominates(own, value, x->analysis->attentions->attentions[index].v)) return true;
    }
    return false;
}

/* A plain chain says nothing of what stands beside its attentions; a route through the graph fails
 * where it comes to such a product. */
static tiba_status check_plain(tb_explainer *x, const tb_plan_tower *to, tiba_error *error) {
    const tb_analysis *on = x->analysis;
    tb_route_graph from = {x->graph, on->axes, on->attentions, on->regions, on->dominators, false};
    const tb_node *stopped;
    tb_route *route;
    return tb_route_create(&route, from, x->target, NULL, to->tower.n_attentions,
                           to->tower.attentions, &stopped, x->arena, error);
}

static tiba_status note_at(tb_explainer *x, tb_plan_tower *to, int n, const int *attentions,
                           unsigned char *has_part, tiba_error *error) {
    const tb_attention *all = x->analysis->attentions->attentions, *first = NULL;
    size_t size = (size_t)x->graph->n_values;
    unsigned char *entries = TB_NEW(x->arena, unsigned char, size);
    unsigned char *below = TB_NEW(x->arena, unsigned char, size);
    unsigned char *on = TB_NEW(x->arena, unsigned char, size);
    tb_dominators *own;
    int count = 0;
    if (!entries || !below || !on) return tb_out_of_memory(error);
    tb_explainer_mark_entries(x->graph, to->tower.input, entries);
    TB_TRY(tb_dominators_find(&own, x->graph, entries, x->arena, error));
    tb_mark_ancestors(x->graph, to->readout, below);
    tb_mark_descendants(x->graph, to->readout, on);
    for (int i = 0; i < n; i++) {
        const tb_attention *a = &all[attentions[i]];
        const tb_value *out = a->product->out[0];
        has_part[i] |= below[out->id] || on[out->id];
        if (!below[out->id]) continue;
        if (passes_all(x, to, own, out))
            return fail_at(a, "lies on no skip connection, and no row vector goes through it",
                           error);
        if (count++ == 0) first = a;
    }
    if (count == 0) return TIBA_OK;
    if (!to->route) TB_TRY(check_plain(x, to, error));
    to->note = tb_arena_format(x->arena,
                               "%d attention%s over features (%snode '%.100s') let%s tokens act on "
                               "each other too: the row vector passes down %s skip connection%s",
                               count, count > 1 ? "s" : "", count > 1 ? "the first: " : "",
                               first->product->origin, count > 1 ? "" : "s",
                               count > 1 ? "their" : "its", count > 1 ? "s" : "");
    return to->note ? TIBA_OK : tb_out_of_memory(error);
}

tiba_status tb_note_over_features(tb_explainer *x, int n, const int *attentions,
                                  tiba_error *error) {
    unsigned char *has_part = TB_NEW(x->arena, unsigned char, n + 1);
    if (!has_part) return tb_out_of_memory(error);
    for (int t = 0; t < x->n_towers && n > 0; t++)
        TB_TRY(note_at(x, &x->towers[t], n, attentions, has_part, error));
    for (int i = 0; i < n; i++)
        if (!has_part[i])
            return fail_at(&x->analysis->attentions->attentions[attentions[i]],
                           "lies on no tower's way to the target, so no tokens would show what it "
                           "reads",
                           error);
    return TIBA_OK;
}
