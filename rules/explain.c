#include "rules/explain.h"

#include <string.h>

#include "graph/reach.h"
#include "rules/explain_plan.h"
#include "rules/methods.h"

tiba_status tb_analysis_create(tb_analysis **out, const tb_graph *graph, tb_budget *budget,
                               tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(budget);
    tb_analysis *analysis = arena ? TB_NEW(arena, tb_analysis, 1) : NULL;
    if (!analysis) {
        tb_arena_destroy(arena);
        return tb_out_of_memory(error);
    }
    analysis->arena = arena;
    tiba_status status = tb_regions_find(&analysis->regions, graph, arena, error);
    if (status == TIBA_OK)
        status = tb_dominators_find(&analysis->dominators, graph, NULL, arena, error);
    if (status == TIBA_OK) status = tb_axes_find(&analysis->axes, graph, arena, error);
    if (status == TIBA_OK)
        status = tb_attentions_find(&analysis->attentions, graph, analysis->axes, budget, error);
    if (status != TIBA_OK) {
        tb_analysis_destroy(analysis);
        return status;
    }
    *out = analysis;
    return TIBA_OK;
}

void tb_analysis_destroy(tb_analysis *analysis) {
    if (analysis) tb_arena_destroy(analysis->arena);
}

/* -------------------------------------------------------------------- planning */

const tb_value *tb_logit_value(const tb_value *output) {
    const tb_value *value = output;
    for (const tb_node *node = value->producer; node; node = node->in[0]->producer) {
        if (tb_is(node, TB_OP_Softmax) || tb_is(node, TB_OP_LogSoftmax) ||
            tb_is(node, TB_OP_Sigmoid))
            return node->in[0];
        if (!node->op->def->alias || !node->in[0]) break;
    }
    return output;
}

/* The nearest value that carries the tower's tokens and that all ways of `on` to the tower's
 * attentions and to its readout pass through; NULL if there is none. */
static const tb_value *common_source(const tb_explainer *x, const tb_dominators *on,
                                     tb_plan_tower *to) {
    int at = to->readout->id;
    for (int i = 0; i < to->tower.n_attentions && at >= 0; i++) {
        const tb_attention *a = &x->analysis->attentions->attentions[to->tower.attentions[i]];
        at = tb_common_dominator(on, at, a->v->id);
        if (at >= 0 && a->p->active) at = tb_common_dominator(on, at, a->p->id);
    }
    for (; at >= 0; at = on->parent[at]) {
        const tb_value *value = x->graph->values[at];
        if (tb_axes_carries(x->analysis->axes, value, to->tower.label, &to->source_inner))
            return value;
    }
    return NULL;
}

void tb_explainer_mark_entries(const tb_graph *graph, int input, unsigned char *marks) {
    for (int i = 0; i < graph->n_inputs; i++) {
        const tb_value *value = graph->inputs[i];
        if (value && value->active && value->input == input) marks[value->id] = 1;
    }
    for (const tb_node *node = graph->first; node; node = node->next)
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] && node->in[i]->ids_of == input && node->out[0]->active)
                marks[node->out[0]->id] = 1;
}

/* Where the tower's tokens come in: everywhere that its input does, but for ids in other places
 * than the input's (of a decoder that is given its encoder's): these come in where they are looked
 * up. */
static void mark_own_entries(const tb_explainer *x, const tb_plan_tower *to, unsigned char *marks) {
    const tb_axes *axes = x->analysis->axes;
    int label = tb_axes_root(axes, to->tower.label);
    const tb_node *moved =
        label >= 0 && axes->labels[label].kind == TB_LABEL_LOOKUP ? axes->labels[label].node : NULL;
    if (moved)
        marks[moved->out[0]->id] = 1;
    else
        tb_explainer_mark_entries(x->graph, to->tower.input, marks);
}

/* Where the tokens begin. Where other inputs flow in (a decoder reads the encoder, streams read
 * each other) only the ways from the tower's own input count. */
static tiba_status find_token_source(const tb_explainer *x, tb_plan_tower *to, tiba_error *error) {
    to->source =
        to->route ? to->route->source.value : common_source(x, x->analysis->dominators, to);
    if (to->source || to->route) return TIBA_OK;
    unsigned char *entries = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    tb_dominators *own;
    if (!entries) return tb_out_of_memory(error);
    mark_own_entries(x, to, entries);
    TB_TRY(tb_dominators_find(&own, x->graph, entries, x->arena, error));
    to->source = common_source(x, own, to);
    return TIBA_OK;
}

static tiba_status find_source(const tb_explainer *x, tb_plan_tower *to, tiba_error *error) {
    tb_pixel_axes pixels;
    for (int i = 0; to->tower.image && i < x->graph->n_inputs; i++) {
        const tb_value *value = x->graph->inputs[i];
        if (!value || value->input != to->tower.input || !value->active) continue;
        if (!tb_pixel_axes_of(&pixels, &value->t)) continue;
        to->source = value;
        to->pixels = true;
        return TIBA_OK;
    }
    return find_token_source(x, to, error);
}

/* Notes which towers the target reads only by way of another's readout, as an encoder by way of the
 * decoder, or whose tokens are all made of what another's readout holds (a video's frames), so that
 * what arrives there goes on to it. Of those that have one readout (the decoder's own tokens, and
 * an encoder's states that are an input and end in its cross-attentions) the first counts what
 * arrives there. */
static tiba_status note_nested(tb_explainer *x, tiba_error *error) {
    for (int t = 0; t < x->n_towers && x->n_towers > 1; t++) {
        tb_plan_tower *to = &x->towers[t];
        unsigned char *from = TB_NEW(x->arena, unsigned char, x->graph->n_values);
        tb_dominators *on;
        if (!from) return tb_out_of_memory(error);
        for (int of = 0; of < t; of++) to->nested |= x->towers[of].readout == to->readout;
        from[to->readout->id] = 1;
        TB_TRY(tb_dominators_find(&on, x->graph, from, x->arena, error));
        for (int at = x->target->id; at >= 0 && !to->nested; at = on->parent[at])
            for (int of = 0; of < x->n_towers && at != to->readout->id; of++)
                to->nested |= of != t && x->towers[of].readout->id == at;
    }
    for (int t = 0; t < x->n_towers; t++)
        for (int of = 0; of < x->n_towers && !x->towers[t].nested; of++) {
            int below = x->towers[of].readout->id, own = x->towers[t].readout->id;
            x->towers[t].nested = of != t && !x->towers[of].nested &&
                                  tb_common_dominator(x->analysis->dominators, below, own) == below;
        }
    return TIBA_OK;
}

/* Marks what a pass of TiBA's rules to the watched values reads. */
static tiba_status note_reads(tb_explainer *x, int n, const tb_value *const *watch,
                              tiba_error *error) {
    tb_reverse *reverse;
    TB_TRY(tb_reverse_create(&reverse, x->graph, x->regions, x->target, n, watch,
                             TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE | TB_REVERSE_DRY,
                             TB_RULESET_TIBA, NULL, x->budget, error));
    tb_reverse_reads(reverse, x->reads);
    tb_reverse_destroy(reverse);
    return TIBA_OK;
}

static tiba_status find_sources(tb_explainer *x, tiba_error *error) {
    for (int t = 0; t < x->n_towers; t++)
        if (x->towers[t].tower.n_attentions > 0) TB_TRY(find_source(x, &x->towers[t], error));
    return TIBA_OK;
}

/* Room for marks of the values that there are by now. */
static tiba_status get_marks(tb_explainer *x, tiba_error *error) {
    x->reads = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    x->keep = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    return x->reads && x->keep ? TIBA_OK : tb_out_of_memory(error);
}

/* Passes to the sources count too, so that every method can follow one forward pass. */
static tiba_status note_sources(tb_explainer *x, tiba_error *error) {
    const tb_value **watch = TB_NEW(x->arena, const tb_value *, x->n_towers);
    if (!watch) return tb_out_of_memory(error);
    int n = 0;
    for (int t = 0; t < x->n_towers; t++) {
        if (!x->towers[t].source) continue;
        watch[n++] = x->towers[t].source;
        x->keep[x->towers[t].source->id] = 1;
    }
    return note_reads(x, n, watch, error);
}

/* What others than the passes look at: methods at P, the target, routes. */
static void note_others(tb_explainer *x) {
    x->keep[x->target->id] = 1;
    for (int t = 0; t < x->n_towers; t++) {
        const tb_plan_tower *tower = &x->towers[t];
        if (tower->route) tb_route_keep(tower->route, x->keep);
        for (int b = 0; b < tower->tower.n_attentions; b++) {
            const tb_attention *a =
                &x->analysis->attentions->attentions[tower->tower.attentions[b]];
            x->reads[a->p->id] = 1;
            if (a->unit) x->keep[a->unit->id] = 1;
        }
    }
}

/* No tower fits, but methods that go to the input may do without. If they cannot either, both
 * reasons are said. */
static tiba_status create_without(tb_explainer *x, const unsigned char *above,
                                  const tiba_error *why, tiba_error *error) {
    tiba_error other = {0};
    tiba_status status = tb_explainer_plan_inputs(x, above, &other);
    if (status == TIBA_OK && x->n_towers == 0)
        status = tb_fail(&other, TIBA_ERROR_INPUT, "no input is a picture or has tokens");
    if (status == TIBA_OK) status = get_marks(x, &other);
    if (status == TIBA_OK) status = find_sources(x, &other);
    if (status == TIBA_OK) status = note_sources(x, &other);
    if (status == TIBA_OK) {
        note_others(x);
        status = tb_remake_find(&x->remake, x->graph, x->reads, x->keep, x->arena, &other);
    }
    if (status == TIBA_OK)
        tb_explainer_refuse(x, why);
    else if (status == TIBA_ERROR_INPUT)
        return tb_fail(error, why->code, "%.300s; no method applies: %.180s", why->message,
                       other.message);
    else if (error)
        *error = other;
    return status;
}

/* Lets the graph compute only what the target reads above the readouts. Every attention has all
 * its rows, for methods that show them; routes are walked through the graph as it is. */
static tiba_status narrow(tb_explainer *x, tb_graph *graph, tb_exec *exec, tiba_error *error) {
    x->regions = x->analysis->regions;
    if (!exec) return TIBA_OK;
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *keep = TB_NEW(x->arena, unsigned char, graph->n_values);
    tb_regions *regions;
    if (!keep) return tb_out_of_memory(error);
    keep[x->target->id] = 1;
    for (int i = 0; i < found->n_attentions; i++) keep[found->attentions[i].p->id] = 1;
    for (int t = 0; t < x->n_towers; t++) {
        if (x->towers[t].route) return TIBA_OK;
        if (x->towers[t].source) keep[x->towers[t].source->id] = 1;
    }
    TB_TRY(tb_narrow_rows(&x->narrowing, graph, x->regions, keep, exec, x->arena, error));
    if (!x->narrowing) return TIBA_OK;
    TB_TRY(tb_regions_find(&regions, graph, x->arena, error));
    x->regions = regions;
    return TIBA_OK;
}

int64_t tb_explainer_most_watched(const tb_explainer *x) {
    int64_t n = 0;
    for (int t = 0; t < x->n_towers; t++) n += 1 + x->towers[t].tower.n_attentions;
    return n;
}

static tiba_status create(tb_explainer *x, tb_graph *graph, tb_exec *exec, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *above = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!above) return tb_out_of_memory(error);
    tb_mark_ancestors(x->graph, x->target, above);
    tiba_error why = {0};
    tiba_status status = tb_explainer_plan_towers(x, above, &why);
    if (status == TIBA_ERROR_INPUT) return create_without(x, above, &why, error);
    if (status != TIBA_OK) {
        if (error) *error = why;
        return status;
    }
    TB_TRY(note_nested(x, error));
    TB_TRY(find_sources(x, error));
    for (int t = 0; t < x->n_towers; t++)
        TB_TRY(tb_reading_find(&x->towers[t].reading, x, t, x->arena, error));
    TB_TRY(narrow(x, graph, exec, error));
    TB_TRY(get_marks(x, error));
    TB_TRY(note_sources(x, error));
    const tb_value **watch = TB_NEW(x->arena, const tb_value *, tb_explainer_most_watched(x));
    if (!watch) return tb_out_of_memory(error);
    int n = 0;
    for (int t = 0; t < x->n_towers; t++) {
        const tb_plan_tower *tower = &x->towers[t];
        watch[n++] = tb_narrow_now(x->narrowing, tower->readout);
        for (int i = 0; i < tower->tower.n_attentions; i++)
            watch[n++] = found->attentions[tower->tower.attentions[i]].p;
    }
    TB_TRY(note_reads(x, n, watch, error));
    note_others(x);
    TB_TRY(tb_remake_find(&x->remake, x->graph, x->reads, x->keep, x->arena, error));
    return tb_reverse_create(&x->reverse, x->graph, x->regions, x->target, n, watch,
                             TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, TB_RULESET_TIBA, x->remake,
                             x->budget, error);
}

tiba_status tb_explainer_create(tb_explainer **out, tb_graph *graph, const tb_analysis *analysis,
                                int output, tb_exec *exec, tb_budget *budget, tiba_error *error) {
    *out = NULL;
    const tb_value *value = graph->outputs[output];
    if (!value->active)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "output '%s' does not depend on a picture or text by differentiable steps",
                       value->name);
    tb_arena *arena = tb_arena_create(budget);
    tb_explainer *x = arena ? TB_NEW(arena, tb_explainer, 1) : NULL;
    if (!x) {
        tb_arena_destroy(arena);
        return tb_out_of_memory(error);
    }
    *x = (tb_explainer){.graph = graph,
                        .analysis = analysis,
                        .regions = analysis->regions,
                        .arena = arena,
                        .budget = budget,
                        .target = tb_logit_value(value)};
    tiba_status status = create(x, graph, exec, error);
    if (status != TIBA_OK) {
        tb_explainer_destroy(x);
        return status;
    }
    *out = x;
    return TIBA_OK;
}

void tb_explainer_destroy(tb_explainer *explainer) {
    if (!explainer) return;
    tb_reverse_destroy(explainer->reverse);
    tb_arena_destroy(explainer->arena);
}

size_t tb_explainer_spare(const tb_explainer *explainer) {
    return explainer->reverse ? tb_reverse_bytes(explainer->reverse) : 0;
}

void tb_explainer_keep(const tb_explainer *x, unsigned char *keep) {
    for (int i = 0; i < x->graph->n_values; i++) keep[i] |= x->keep[i];
}

const tb_tower *tb_explainer_tower(const tb_explainer *x, int index, bool *moves) {
    *moves = x->towers[index].route != NULL;
    return &x->towers[index].tower;
}

const char *tb_explainer_note(const tb_explainer *explainer, int index) {
    return explainer->towers[index].note;
}

const tiba_error *tb_explainer_refusal(const tb_explainer *explainer) {
    return explainer->refusal.code != TIBA_OK ? &explainer->refusal : NULL;
}

int tb_explainer_towers(const tb_explainer *explainer) {
    return explainer->n_towers;
}
