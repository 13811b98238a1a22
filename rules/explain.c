#include "rules/explain.h"

#include <math.h>
#include <string.h>

#include "rules/rollout.h"

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
    if (status == TIBA_OK) status = tb_axes_find(&analysis->axes, graph, arena, error);
    if (status == TIBA_OK)
        status = tb_attentions_find(&analysis->attentions, graph, analysis->axes, error);
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

/* A tower as far as the target depends on it. */
typedef struct plan_tower {
    tb_tower tower; /* attentions that the target does not depend on are left out */
    const tb_value *readout;
    int64_t inner; /* stride of the token axis in the readout value */
} plan_tower;

struct tb_explainer {
    const tb_graph *graph;
    const tb_analysis *analysis;
    tb_arena *arena;
    const tb_value *target;
    int n_towers;
    plan_tower *towers;
    tb_reverse *reverse;
};

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

static void mark_above(const tb_graph *graph, const tb_value *target, unsigned char *above) {
    above[target->id] = 1;
    for (const tb_node *node = graph->last; node; node = node->prev) {
        bool on = false;
        for (int i = 0; i < node->n_out; i++) on |= node->out[i] && above[node->out[i]->id];
        for (int i = 0; on && i < node->n_in; i++)
            if (node->in[i] && node->in[i]->active) above[node->in[i]->id] = 1;
    }
}

/* An attention outside all towers is fine if it reads a tower's tokens (pooling by a learned query,
 * cross-attention); everything else would leave tokens out of the map. */
static tiba_status check_others(const tb_explainer *x, const unsigned char *above,
                                tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    for (int i = 0; i < found->n_attentions; i++) {
        const tb_attention *a = &found->attentions[i];
        if (a->tower >= 0 || !above[a->product->out[0]->id]) continue;
        bool reads_tower = false;
        for (int t = 0; t < x->n_towers; t++)
            reads_tower |= a->key_label >= 0 && a->key_label == x->towers[t].tower.label;
        if (reads_tower) continue;
        return tb_node_fail(error, TIBA_ERROR_INPUT, a->product,
                            "this attention (%lld queries, %lld keys%s) fits no tower: its tokens "
                            "are not those of one input",
                            (long long)a->queries, (long long)a->keys,
                            a->plain ? "" : ", in windows");
    }
    return TIBA_OK;
}

static tiba_status plan_towers(tb_explainer *x, const unsigned char *above, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    x->towers = TB_NEW(x->arena, plan_tower, found->n_towers);
    if (!x->towers) return tb_out_of_memory(error);
    for (int t = 0; t < found->n_towers; t++) {
        const tb_tower *from = &found->towers[t];
        plan_tower *to = &x->towers[x->n_towers];
        *to = (plan_tower){.tower = *from};
        to->tower.n_attentions = 0;
        to->tower.attentions = TB_NEW(x->arena, int, from->n_attentions);
        if (!to->tower.attentions) return tb_out_of_memory(error);
        for (int i = 0; i < from->n_attentions; i++)
            if (above[found->attentions[from->attentions[i]].product->out[0]->id])
                to->tower.attentions[to->tower.n_attentions++] = from->attentions[i];
        if (to->tower.n_attentions == 0) continue;
        to->readout =
            tb_tower_readout(x->graph, x->analysis->axes, found, &to->tower, x->target, &to->inner);
        if (!to->readout) {
            const tb_attention *last =
                &found->attentions[to->tower.attentions[to->tower.n_attentions - 1]];
            return tb_node_fail(error, TIBA_ERROR_INPUT, last->product,
                                "no value with the %lld tokens of this attention lies on every "
                                "path to the target, so nothing says which tokens it reads",
                                (long long)to->tower.tokens);
        }
        x->n_towers++;
    }
    if (x->n_towers > 0) return check_others(x, above, error);
    if (found->n_attentions == 0)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "no attention found: no softmax of an activation is multiplied by values");
    TB_TRY(check_others(x, above, error));
    return tb_fail(error, TIBA_ERROR_INPUT, "output '%s' depends on no attention", x->target->name);
}

static tiba_status create(tb_explainer *x, tb_budget *budget, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *above = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!above) return tb_out_of_memory(error);
    mark_above(x->graph, x->target, above);
    TB_TRY(plan_towers(x, above, error));
    const tb_value **watch = TB_NEW(x->arena, const tb_value *, found->n_attentions + x->n_towers);
    if (!watch) return tb_out_of_memory(error);
    int n = 0;
    for (int t = 0; t < x->n_towers; t++) {
        const plan_tower *tower = &x->towers[t];
        watch[n++] = tower->readout;
        for (int i = 0; i < tower->tower.n_attentions; i++)
            watch[n++] = found->attentions[tower->tower.attentions[i]].p;
    }
    return tb_reverse_create(&x->reverse, x->graph, x->analysis->regions, x->target, n, watch,
                             TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, TB_RULESET_TIBA, budget,
                             error);
}

tiba_status tb_explainer_create(tb_explainer **out, const tb_graph *graph,
                                const tb_analysis *analysis, int output, tb_budget *budget,
                                tiba_error *error) {
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
    *x = (tb_explainer){
        .graph = graph, .analysis = analysis, .arena = arena, .target = tb_logit_value(value)};
    tiba_status status = create(x, budget, error);
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

void tb_explainer_keep(const tb_explainer *explainer, unsigned char *keep) {
    tb_reverse_keep(explainer->reverse, keep);
}

int tb_explainer_towers(const tb_explainer *explainer) {
    return explainer->n_towers;
}

/* -------------------------------------------------------------------- running */

typedef struct collect {
    const tb_explainer *x;
    tb_tower_explanation *towers;
    tb_arena *arena;
    float ***blocks;  /* [tower][block] */
    double **read;    /* [tower][token]: Σ_d R */
    double **reached; /* [tower][token]: Σ_d |gradient| */
} collect;

/* The sample that the target reads is the one that the gradient reaches. */
static int64_t reached_sample(const tb_attention *a, const float *gradient) {
    int64_t size = a->heads * a->queries * a->keys, best = 0;
    double most = -1;
    if (!gradient || a->samples == 1) return 0;
    for (int64_t s = 0; s < a->samples; s++) {
        double sum = 0;
        for (int64_t i = 0; i < size; i++) sum += fabs((double)gradient[s * size + i]);
        if (sum > most) most = sum, best = s;
    }
    return best;
}

static tiba_status collect_block(collect *c, int t, int b, const tb_attention *a,
                                 const float *gradient, const float *relevance, tiba_error *error) {
    int64_t n = a->queries * a->keys, sample = reached_sample(a, gradient);
    int64_t offset = sample * a->heads * n;
    if (gradient) c->towers[t].sample = sample;
    float *e = TB_NEW(c->arena, float, n);
    if (!e) return tb_out_of_memory(error);
    tb_block_relevance(e, gradient ? gradient + offset : NULL,
                       relevance ? relevance + offset : NULL, a->heads, a->queries, a->keys,
                       a->transposed);
    c->blocks[t][b] = e;
    return TIBA_OK;
}

static void collect_readout(collect *c, int t, const tb_value *value, const float *gradient,
                            const float *relevance) {
    const plan_tower *tower = &c->x->towers[t];
    int64_t count = tb_tensor_count(&value->t);
    for (int64_t i = 0; i < count; i++) {
        int64_t token = i / tower->inner % tower->tower.tokens;
        if (relevance) c->read[t][token] += (double)relevance[i];
        if (gradient) c->reached[t][token] += fabs((double)gradient[i]);
    }
}

static tiba_status arrived(void *context, const tb_value *value, const float *gradient,
                           const float *relevance, tiba_error *error) {
    collect *c = context;
    const tb_attentions *found = c->x->analysis->attentions;
    for (int t = 0; t < c->x->n_towers; t++) {
        const plan_tower *tower = &c->x->towers[t];
        if (tower->readout == value) collect_readout(c, t, value, gradient, relevance);
        for (int b = 0; b < tower->tower.n_attentions; b++) {
            const tb_attention *a = &found->attentions[tower->tower.attentions[b]];
            if (a->p == value) TB_TRY(collect_block(c, t, b, a, gradient, relevance, error));
        }
    }
    return TIBA_OK;
}

/* w_t = max(0, Σ_d R[t, d]) scaled to sum 1; uniform over the tokens that the gradient reaches if
 * that is nothing. */
static void scale_readout(double *w, const double *reached, int64_t tokens) {
    double sum = 0;
    for (int64_t i = 0; i < tokens; i++) {
        w[i] = w[i] > 0.0 ? w[i] : 0.0;
        sum += w[i];
    }
    if (!(sum > 0.0)) {
        sum = 0;
        for (int64_t i = 0; i < tokens; i++) sum += w[i] = reached[i] > 0.0 ? 1.0 : 0.0;
    }
    for (int64_t i = 0; i < tokens; i++) w[i] = sum > 0.0 ? w[i] / sum : 1.0 / (double)tokens;
}

static tiba_status roll_out(collect *c, int t, const tb_explain_options *options,
                            tiba_error *error) {
    const plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    int64_t n = tower->tower.tokens;
    bool normalized = options->rollout == TB_ROLLOUT_DEFAULT
                          ? !tower->tower.image
                          : options->rollout == TB_ROLLOUT_NORMALIZED;
    to->tower = &tower->tower;
    to->tokens = TB_NEW(c->arena, float, n);
    to->readout = TB_NEW(c->arena, float, n);
    double *r = TB_NEW(c->arena, double, n), *scratch = TB_NEW(c->arena, double, n);
    if (!to->tokens || !to->readout || !r || !scratch) return tb_out_of_memory(error);
    for (int64_t i = 0; i < n; i++) to->relevance_in += c->read[t][i];
    scale_readout(c->read[t], c->reached[t], n);
    for (int64_t i = 0; i < n; i++) {
        r[i] = c->read[t][i];
        to->readout[i] = (float)r[i];
    }
    for (int b = tower->tower.n_attentions - 1; b >= options->start_layer && b >= 0; b--)
        tb_rollout_step(r, scratch, c->blocks[t][b], n, normalized);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(r[i]))
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "the relevance of token %lld is not a finite number", (long long)i);
        to->tokens[i] = (float)r[i];
    }
    to->n_blocks = tower->tower.n_attentions;
    to->blocks = options->blocks ? c->blocks[t] : NULL;
    return TIBA_OK;
}

tiba_status tb_explainer_run(tb_explainer *x, const tb_program *program, int64_t element,
                             const tb_explain_options *options, tb_tower_explanation *towers,
                             tb_arena *arena, tb_exec *exec, tiba_error *error) {
    collect c = {.x = x, .towers = towers, .arena = arena};
    c.blocks = TB_NEW(arena, float **, x->n_towers);
    c.read = TB_NEW(arena, double *, x->n_towers);
    c.reached = TB_NEW(arena, double *, x->n_towers);
    if (!c.blocks || !c.read || !c.reached) return tb_out_of_memory(error);
    for (int t = 0; t < x->n_towers; t++) {
        const tb_tower *tower = &x->towers[t].tower;
        towers[t] = (tb_tower_explanation){0};
        c.blocks[t] = TB_NEW(arena, float *, tower->n_attentions);
        c.read[t] = TB_NEW(arena, double, tower->tokens);
        c.reached[t] = TB_NEW(arena, double, tower->tokens);
        if (!c.blocks[t] || !c.read[t] || !c.reached[t]) return tb_out_of_memory(error);
        if (options->start_layer < 0 || options->start_layer >= tower->n_attentions)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "start layer %d is out of range: the tower has %d attentions",
                           options->start_layer, tower->n_attentions);
    }
    TB_TRY(tb_reverse_run(x->reverse, program, element, arrived, &c, exec, error));
    for (int t = 0; t < x->n_towers; t++) TB_TRY(roll_out(&c, t, options, error));
    return TIBA_OK;
}
