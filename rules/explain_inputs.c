/*
 * explain_inputs.c: what is left where a graph has no attention, or one that fits no tower: the
 * methods that carry relevance or gradient to the input need neither. Each graph input that the
 * target depends on then has a result of its own, for the pixels of a picture or the tokens of what
 * is looked up or given as features.
 */
#include <stdio.h>

#include "graph/reach.h"
#include "rules/explain_plan.h"
#include "rules/methods.h"

enum { MOST_CHANNELS = 4 };

/* A picture [samples, channels, height, width], or tokens [samples, tokens, …]. */
static bool take_floats(tb_plan_tower *to, const tb_value *value) {
    const tiba_tensor *t = &value->t;
    tb_pixel_axes pixels;
    if (t->rank == 4 && tb_pixel_axes_of(&pixels, t) && pixels.channels <= MOST_CHANNELS) {
        to->pixels = to->tower.image = true;
        to->tower.rows = pixels.rows, to->tower.columns = pixels.columns;
        to->tower.tokens = pixels.rows * pixels.columns;
        to->source_inner = pixels.column;
    } else if (t->rank == 2 || t->rank == 3) {
        to->tower.tokens = t->dims[1];
        to->source_inner = t->rank == 3 ? t->dims[2] : 1;
    } else {
        return false;
    }
    to->source = value;
    to->samples = t->dims[0];
    return to->tower.tokens > 0 && to->source_inner > 0;
}

/* The look-up of the input's ids in the largest table: those of positions and types are smaller. */
static bool take_ids(tb_plan_tower *to, const tb_explainer *x, const unsigned char *above,
                     int input) {
    const tb_axes *axes = x->analysis->axes;
    int64_t rows = -1;
    for (const tb_node *node = x->graph->first; node; node = node->next) {
        const tb_value *out = node->n_out > 0 ? node->out[0] : NULL;
        const tb_value_axes *of = out && above[out->id] ? axes->values[out->id] : NULL;
        bool looks_up = of != NULL;
        for (int i = 0; i < node->n_in; i++)
            looks_up = looks_up && (!node->in[i] || !node->in[i]->active);
        for (int i = 0; looks_up && i < of->n; i++) {
            const tb_label *label = &axes->labels[of->factors[i].label];
            int last = x->graph->inputs[input]->t.rank - 1;
            if (label->kind != TB_LABEL_LOOKUP || label->input != input || label->node ||
                label->dim != last || label->rows <= rows)
                continue;
            rows = label->rows;
            to->source = out;
            to->source_inner = of->factors[i].inner;
            to->tower.tokens = of->factors[i].count;
            to->samples = tb_tensor_count(&out->t) / (to->tower.tokens * to->source_inner);
        }
    }
    return rows >= 0;
}

tiba_status tb_explainer_plan_inputs(tb_explainer *x, const unsigned char *above,
                                     tiba_error *error) {
    x->n_towers = 0;
    x->towers = TB_NEW(x->arena, tb_plan_tower, x->graph->n_inputs);
    if (!x->towers) return tb_out_of_memory(error);
    for (int i = 0; i < x->graph->n_inputs; i++) {
        const tb_value *value = x->graph->inputs[i];
        tb_plan_tower to = {.tower = {.label = -1, .input = i}};
        bool floats = value && value->active && above[value->id];
        if (!value || !(floats ? take_floats(&to, value) : take_ids(&to, x, above, i))) continue;
        to.readout = to.source;
        to.inner = to.source_inner;
        x->towers[x->n_towers++] = to;
    }
    return TIBA_OK;
}

/* "WHY; methods that apply: …" */
void tb_explainer_refuse(tb_explainer *x, const tiba_error *why) {
    size_t used = (size_t)snprintf(x->refusal.message, sizeof x->refusal.message,
                                   "%.400s" TB_METHODS_THAT_APPLY, why->message);
    x->refusal.code = why->code;
    snprintf(x->refusal.node, sizeof x->refusal.node, "%s", why->node);
    const tb_method *method;
    int n = 0;
    for (int i = 0; (method = tb_method_at(i)) && used < sizeof x->refusal.message; i++)
        if (method->reads == TB_READS_INPUT)
            used += (size_t)snprintf(x->refusal.message + used, sizeof x->refusal.message - used,
                                     "%s %s", n++ ? "," : "", method->name);
}
