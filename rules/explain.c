#include "rules/explain.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "graph/reach.h"
#include "rules/rollout.h"
#include "rules/route.h"

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
    if (status == TIBA_OK) status = tb_dominators_find(&analysis->dominators, graph, arena, error);
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

/* The attentions of one graph input, as far as the target depends on them. */
typedef struct plan_tower {
    tb_tower tower;
    const tb_value *readout;
    int64_t inner;   /* plain: stride of the token axis in the readout value */
    tb_route *route; /* NULL: plain */
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

/* The graph input whose tokens an attention reads; -1: none. */
static int input_of(const tb_explainer *x, const tb_attention *a) {
    const tb_analysis *on = x->analysis;
    if (a->tower >= 0) return on->attentions->towers[a->tower].input;
    int input = tb_label_input(on->axes, a->key_label);
    return input >= 0 ? input : tb_label_input(on->axes, a->query_label);
}

/* Attentions of one input form a plain tower if they have one token axis; others that only read it
 * (pooling by a learned query or class token, cross-attention) belong to the readout. */
static bool is_plain(const tb_explainer *x, const plan_tower *group, int *tower) {
    const tb_attentions *found = x->analysis->attentions;
    *tower = -1;
    for (int i = 0; i < group->tower.n_attentions; i++) {
        int of = found->attentions[group->tower.attentions[i]].tower;
        if (of >= 0 && *tower >= 0 && of != *tower) return false;
        if (of >= 0) *tower = of;
    }
    if (*tower < 0) return false;
    int label = found->towers[*tower].label;
    for (int i = 0; i < group->tower.n_attentions; i++) {
        const tb_attention *a = &found->attentions[group->tower.attentions[i]];
        bool reads = tb_label_includes(x->analysis->axes, a->key_label, label) &&
                     a->query_label != label && a->plain;
        if (a->tower < 0 && !reads) return false;
    }
    return true;
}

static tiba_status plan_plain(tb_explainer *x, plan_tower *to, int tower, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    int *attentions = to->tower.attentions, n = 0;
    for (int i = 0; i < to->tower.n_attentions; i++)
        if (found->attentions[attentions[i]].tower == tower) attentions[n++] = attentions[i];
    to->tower = found->towers[tower];
    to->tower.attentions = attentions;
    to->tower.n_attentions = n;
    to->readout =
        tb_tower_readout(x->graph, x->analysis->axes, found, &to->tower, x->target, &to->inner);
    if (to->readout) return TIBA_OK;
    return tb_node_fail(error, TIBA_ERROR_INPUT, found->attentions[attentions[n - 1]].product,
                        "no value with the %lld tokens of this attention lies on every path to the "
                        "target, so nothing says which tokens it reads",
                        (long long)to->tower.tokens);
}

static tiba_status plan_routed(tb_explainer *x, plan_tower *to, tiba_error *error) {
    const tb_analysis *on = x->analysis;
    tb_route_graph from = {x->graph, on->axes, on->attentions, on->regions, on->dominators};
    int *members = to->tower.attentions, n = to->tower.n_attentions;
    TB_TRY(tb_route_create(&to->route, from, x->target, n, members, x->arena, error));
    const tb_token_axes *source = &to->route->source;
    int label = tb_axes_merge(on->axes, source->n, source->factors);
    if (label == -2) return tb_out_of_memory(error);
    tb_tower_describe(&to->tower, x->graph, on->axes, label, source->tokens);
    to->tower.attentions = members;
    to->tower.n_attentions = n;
    to->readout = to->route->readout.value;
    return TIBA_OK;
}

/* Marks what carries an input's tokens, or might: everything that depends on an input by a way that
 * does not go through the values of an attention whose queries are learned. */
static void mark_tokens(const tb_explainer *x, unsigned char *marks) {
    const tb_attentions *found = x->analysis->attentions;
    for (int i = 0; i < x->graph->n_inputs; i++)
        if (x->graph->inputs[i] && x->graph->inputs[i]->active) marks[x->graph->inputs[i]->id] = 1;
    for (const tb_node *node = x->graph->first; node; node = node->next) {
        bool source = true, on = false, pools = false;
        for (int i = 0; i < node->n_in; i++) {
            if (!node->in[i] || !node->in[i]->active) continue;
            source = false;
            on |= marks[node->in[i]->id];
        }
        for (int i = 0; i < found->n_attentions; i++) {
            const tb_attention *a = &found->attentions[i];
            pools |= a->product == node && a->query_label < 0 && a->key_label >= 0;
        }
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i]) marks[node->out[i]->id] = source || (on && !pools);
    }
}

/* Sorts the attentions below the target by the input that they read. */
static tiba_status plan_towers(tb_explainer *x, const unsigned char *above, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    x->towers = TB_NEW(x->arena, plan_tower, found->n_attentions);
    unsigned char *tokens = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!x->towers || !tokens) return tb_out_of_memory(error);
    mark_tokens(x, tokens);
    for (int i = 0; i < found->n_attentions; i++) {
        const tb_attention *a = &found->attentions[i];
        if (!above[a->product->out[0]->id]) continue;
        int input = input_of(x, a), t = 0;
        /* learned queries that attend to each other hold no tokens of an input */
        if (input < 0 && !tokens[a->p->id] && !tokens[a->v->id]) continue;
        if (input < 0)
            return tb_node_fail(error, TIBA_ERROR_INPUT, a->product,
                                "this attention (%lld queries, %lld keys) fits no tower: its "
                                "tokens cannot be traced to an input",
                                (long long)a->queries, (long long)a->keys);
        while (t < x->n_towers && x->towers[t].tower.input != input) t++;
        plan_tower *to = &x->towers[t];
        if (t == x->n_towers) {
            x->n_towers++;
            to->tower.input = input;
            to->tower.attentions = TB_NEW(x->arena, int, found->n_attentions);
            if (!to->tower.attentions) return tb_out_of_memory(error);
        }
        to->tower.attentions[to->tower.n_attentions++] = i;
    }
    if (x->n_towers == 0 && found->n_attentions == 0)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "no attention found: no softmax of an activation is multiplied by values");
    if (x->n_towers == 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "output '%s' depends on no attention",
                       x->target->name);
    for (int t = 0; t < x->n_towers; t++) {
        int tower;
        if (is_plain(x, &x->towers[t], &tower))
            TB_TRY(plan_plain(x, &x->towers[t], tower, error));
        else
            TB_TRY(plan_routed(x, &x->towers[t], error));
    }
    return TIBA_OK;
}

static tiba_status create(tb_explainer *x, tb_budget *budget, tiba_error *error) {
    const tb_attentions *found = x->analysis->attentions;
    unsigned char *above = TB_NEW(x->arena, unsigned char, x->graph->n_values);
    if (!above) return tb_out_of_memory(error);
    tb_mark_ancestors(x->graph, x->target, above);
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
    for (int t = 0; t < explainer->n_towers; t++)
        if (explainer->towers[t].route) tb_route_keep(explainer->towers[t].route, keep);
}

const tb_tower *tb_explainer_tower(const tb_explainer *x, int index, bool *moves,
                                   const char **reader) {
    const plan_tower *tower = &x->towers[index];
    *moves = tower->route != NULL;
    *reader = "";
    for (int i = 0; tower->readout != x->target && i < tower->readout->n_uses; i++) {
        const tb_node *node = tower->readout->uses[i].node;
        if (node->op->class != TB_CLASS_UNARY) *reader = node->op->name;
    }
    return &tower->tower;
}

int tb_explainer_towers(const tb_explainer *explainer) {
    return explainer->n_towers;
}

/* -------------------------------------------------------------------- running */

typedef struct collect {
    const tb_explainer *x;
    const tb_explain_options *options;
    const tb_program *program;
    tb_tower_explanation *towers;
    tb_arena *arena;
    tb_budget *budget;
    tb_exec *exec;
    float ***blocks;  /* [tower][block]: E_b, of the target's sample, or of all groups if routed */
    double **read;    /* [tower][token of the readout]: Σ_d R */
    double **reached; /* likewise: Σ_d |gradient| */
    double **touched; /* [tower][sample]: Σ |gradient| at the readout of a routed tower */
} collect;

static int64_t readout_tokens(const plan_tower *tower) {
    return tower->route ? tower->route->readout.tokens : tower->tower.tokens;
}

/* The group that the target reads is the one that the gradient reaches. */
static int64_t reached_sample(const tb_attention *a, const float *gradient) {
    int64_t size = a->heads * a->queries * a->keys, best = 0;
    double most = -1;
    if (!gradient || a->groups == 1) return 0;
    for (int64_t s = 0; s < a->groups; s++) {
        double sum = 0;
        for (int64_t i = 0; i < size; i++) sum += fabs((double)gradient[s * size + i]);
        if (sum > most) most = sum, best = s;
    }
    return best;
}

/* The sample that the caller wants this tower to show; -1: whichever is reached. */
static int64_t asked_sample(const collect *c, int t) {
    return c->options->samples ? c->options->samples[t] : -1;
}

static tiba_status collect_block(collect *c, int t, int b, const tb_attention *a,
                                 const float *gradient, const float *relevance, tiba_error *error) {
    bool routed = c->x->towers[t].route != NULL;
    int64_t asked = asked_sample(c, t), n = a->queries * a->keys;
    int64_t sample = routed ? 0 : asked >= 0 ? asked : reached_sample(a, gradient);
    if (sample >= a->groups)
        return tb_fail(error, TIBA_ERROR_USAGE, "sample %lld of a tower that has %lld",
                       (long long)sample, (long long)a->groups);
    int64_t groups = routed ? a->groups : 1;
    if (gradient && !routed) c->towers[t].sample = sample;
    float *e = TB_NEW(c->arena, float, groups *n);
    if (!e) return tb_out_of_memory(error);
    if (!routed) {
        int64_t at = sample * a->heads * n; /* plain: samples are outermost */
        tb_block_relevance(e, gradient ? gradient + at : NULL, relevance ? relevance + at : NULL,
                           a->heads, a->queries, a->keys, a->transposed, c->options->keep_sign);
    } else {
        tb_block_relevance_grouped(e, gradient, relevance, a->groups, a->heads, a->group_of,
                                   a->queries, a->keys, a->transposed, c->options->keep_sign);
    }
    c->blocks[t][b] = e;
    return TIBA_OK;
}

static void collect_readout(collect *c, int t, const tb_value *value, const float *gradient,
                            const float *relevance) {
    const plan_tower *tower = &c->x->towers[t];
    int64_t count = tb_tensor_count(&value->t), asked = asked_sample(c, t);
    for (int64_t i = 0; i < count; i++) {
        const tb_token_axes *axes = tower->route ? &tower->route->readout : NULL;
        int64_t sample =
            axes ? i / axes->batch_inner % axes->batch : i / (tower->inner * tower->tower.tokens);
        if (asked >= 0 && sample != asked) continue;
        int64_t token = tower->route ? tb_token_of(&tower->route->readout, i)
                                     : i / tower->inner % tower->tower.tokens;
        if (relevance) c->read[t][token] += (double)relevance[i];
        if (!gradient) continue;
        c->reached[t][token] += fabs((double)gradient[i]);
        if (axes) c->touched[t][sample] += fabs((double)gradient[i]);
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

/* wᵀ·C of a plain tower; r: w on entry, [tokens]. */
static tiba_status roll_plain(collect *c, int t, const tb_explain_options *options, double *r,
                              tiba_error *error) {
    const plan_tower *tower = &c->x->towers[t];
    int64_t n = tower->tower.tokens;
    bool normalized = options->rollout == TB_ROLLOUT_DEFAULT
                          ? !tower->tower.image
                          : options->rollout == TB_ROLLOUT_NORMALIZED;
    double *scratch = TB_NEW(c->arena, double, n);
    if (!scratch) return tb_out_of_memory(error);
    for (int b = tower->tower.n_attentions - 1; b >= options->start_layer && b >= 0; b--)
        tb_rollout_step(r, scratch, c->blocks[t][b], n, normalized);
    c->towers[t].blocks = options->blocks ? c->blocks[t] : NULL;
    return TIBA_OK;
}

/* The same through the graph. */
static tiba_status roll_routed(collect *c, int t, const tb_explain_options *options,
                               const double *w, double *r, tiba_error *error) {
    const plan_tower *tower = &c->x->towers[t];
    const tb_attentions *found = c->x->analysis->attentions;
    if (options->rollout == TB_ROLLOUT_NORMALIZED)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "the normalized rollout is not defined where tokens move or merge: "
                       "use the raw one");
    for (int b = 0; b < options->start_layer; b++) {
        const tb_attention *a = &found->attentions[tower->tower.attentions[b]];
        memset(c->blocks[t][b], 0, (size_t)(a->groups * a->queries * a->keys) * sizeof(float));
    }
    int64_t best = 0;
    for (int64_t s = 1; s < tower->route->readout.batch; s++)
        if (c->touched[t][s] > c->touched[t][best]) best = s;
    c->towers[t].sample = best;
    return tb_route_run(tower->route, c->program, w, best, c->blocks[t], r, c->budget, c->exec,
                        error);
}

static tiba_status roll_out(collect *c, int t, const tb_explain_options *options,
                            tiba_error *error) {
    const plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    int64_t n = tower->tower.tokens, m = readout_tokens(tower);
    to->tower = &tower->tower;
    to->routed = tower->route != NULL;
    to->tokens = TB_NEW(c->arena, float, n);
    to->readout = TB_NEW(c->arena, float, m);
    to->readout_tokens = m;
    double *r = TB_NEW(c->arena, double, n), *w = c->read[t];
    if (!to->tokens || !to->readout || !r) return tb_out_of_memory(error);
    for (int64_t i = 0; i < m; i++) to->relevance_in += w[i];
    scale_readout(w, c->reached[t], m);
    for (int64_t i = 0; i < m; i++) to->readout[i] = (float)w[i];
    if (tower->route) {
        TB_TRY(roll_routed(c, t, options, w, r, error));
    } else {
        memcpy(r, w, (size_t)n * sizeof *r);
        TB_TRY(roll_plain(c, t, options, r, error));
    }
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(r[i]))
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "the relevance of token %lld is not a finite number", (long long)i);
        to->tokens[i] = (float)r[i];
    }
    to->n_blocks = tower->tower.n_attentions;
    return TIBA_OK;
}

tiba_status tb_explainer_run(tb_explainer *x, const tb_program *program, int64_t element,
                             const tb_explain_options *options, tb_tower_explanation *towers,
                             tb_arena *arena, tb_exec *exec, tiba_error *error) {
    collect c = {.x = x,
                 .options = options,
                 .program = program,
                 .towers = towers,
                 .arena = arena,
                 .budget = tb_arena_budget(arena),
                 .exec = exec};
    c.blocks = TB_NEW(arena, float **, x->n_towers);
    c.read = TB_NEW(arena, double *, x->n_towers);
    c.reached = TB_NEW(arena, double *, x->n_towers);
    c.touched = TB_NEW(arena, double *, x->n_towers);
    if (!c.blocks || !c.read || !c.reached || !c.touched) return tb_out_of_memory(error);
    for (int t = 0; t < x->n_towers; t++) {
        const tb_tower *tower = &x->towers[t].tower;
        towers[t] = (tb_tower_explanation){0};
        c.blocks[t] = TB_NEW(arena, float *, tower->n_attentions);
        const tb_route *route = x->towers[t].route;
        c.read[t] = TB_NEW(arena, double, readout_tokens(&x->towers[t]));
        c.reached[t] = TB_NEW(arena, double, readout_tokens(&x->towers[t]));
        c.touched[t] = TB_NEW(arena, double, route ? route->readout.batch : 1);
        if (!c.blocks[t] || !c.read[t] || !c.reached[t] || !c.touched[t])
            return tb_out_of_memory(error);
        if (options->start_layer < 0 || options->start_layer >= tower->n_attentions)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "start layer %d is out of range: the tower has %d attentions",
                           options->start_layer, tower->n_attentions);
    }
    tb_seed one = {element, 1.0f, 1.0f};
    int n_seeds = options->n_seeds ? options->n_seeds : 1;
    double start = tb_seconds();
    TB_TRY(tb_reverse_run(x->reverse, program, n_seeds, options->n_seeds ? options->seeds : &one,
                          arrived, &c, exec, error));
    double middle = tb_seconds();
    for (int t = 0; t < x->n_towers; t++) TB_TRY(roll_out(&c, t, options, error));
    if (options->backward_seconds) *options->backward_seconds += middle - start;
    if (options->rollout_seconds) *options->rollout_seconds += tb_seconds() - middle;
    return TIBA_OK;
}
