/*
 * explain_run.c: runs an explanation that explain.c has planned: the reverse passes that the method
 * needs, the blocks E, the readout w, and the rollout.
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "rules/explain_plan.h"
#include "rules/methods.h"

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
    double **touched; /* [tower][sample]: Σ |gradient| at the readout */
    float **pixels;   /* [tower]: what has arrived at the source, of the target's sample */
    const tb_method *method;
} collect;

static int64_t readout_tokens(const tb_plan_tower *tower) {
    return tower->route ? tower->route->readout.tokens : tower->tower.tokens;
}

/* How many samples the readout value holds. Its leading axes may be samples and others, such as
 * the heads of a pooling attention; samples are outermost. */
static int64_t readout_samples(const collect *c, int t) {
    const tb_plan_tower *tower = &c->x->towers[t];
    if (tower->samples) return tower->samples;
    if (tower->route) return tower->route->readout.batch;
    int index = tower->tower.attentions[tower->tower.n_attentions - 1];
    int64_t groups = c->x->analysis->attentions->attentions[index].groups;
    int64_t each = tower->inner * tower->tower.tokens;
    int64_t leading = each > 0 ? tb_tensor_count(&tower->readout->t) / each : 1;
    return groups > 0 && leading % groups == 0 ? groups : leading;
}

/* The sample and the token of an element of the readout value. */
static int64_t readout_place(const collect *c, int t, int64_t i, int64_t *token) {
    const tb_plan_tower *tower = &c->x->towers[t];
    if (tower->route) {
        const tb_token_axes *axes = &tower->route->readout;
        *token = tb_token_of(axes, i);
        return i / axes->batch_inner % axes->batch;
    }
    *token = i / tower->inner % tower->tower.tokens;
    return i / (tb_tensor_count(&tower->readout->t) / readout_samples(c, t));
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

/* The sample whose readout the gradient reaches most. */
static int64_t most_touched(const collect *c, int t) {
    int64_t best = 0, n = readout_samples(c, t);
    for (int64_t s = 1; s < n; s++)
        if (c->touched[t][s] > c->touched[t][best]) best = s;
    return best;
}

/* GradCAM's block: the keys that are patches (or all, of a text) say what a head is worth. */
static tiba_status weigh_heads(const collect *c, int t, int b, const tb_attention *a, float *e,
                               const float *p, const float *gradient, tiba_error *error) {
    const tb_plan_tower *plan = &c->x->towers[t];
    const tb_tower *tower = &plan->tower;
    tb_gradcam how = {.read = c->read[t],
                      .groups = 1,
                      .heads = a->heads,
                      .queries = a->queries,
                      .keys = a->keys,
                      .last = a->keys,
                      .transposed = a->transposed};
    int64_t patches = tower->rows * tower->columns;
    if (plan->route) { /* all keys are tokens of some level, and w is what reaches the queries */
        double *held = TB_NEW(c->arena, double, a->groups * a->queries);
        float **none = TB_NEW(c->arena, float *, tower->n_attentions);
        if (!held || !none) return tb_out_of_memory(error);
        tb_route_load load = {c->read[t], most_touched(c, t), none, false, NULL};
        TB_TRY(tb_route_reach(plan->route, c->program, &load, b, held, c->budget, c->exec, error));
        how.read = held;
        how.groups = a->groups;
        how.group_of = a->group_of;
    } else if (patches) {
        how.first = tower->prefix;
        how.last = how.first + patches;
    }
    tb_block_gradcam(e, p, gradient, &how);
    return TIBA_OK;
}

/* Counts what the method reads of an attention and is no finite number. */
static void count_not_finite(collect *c, int t, const float *x, int64_t n) {
    if (x) c->towers[t].not_finite += tb_not_finite(x, n);
}

/* P as the forward pass had it, where that has not kept it: valid until `made` is destroyed. */
static tiba_status make_attention(const collect *c, const tb_attention *a, tb_remaking **made,
                                  const float **p, tiba_error *error) {
    const tb_node *reader = a->p->uses[0].node;
    const unsigned needs = TB_NEEDS_IN(a->p->uses[0].index);
    TB_TRY(tb_remaking_create(made, c->x->remake, 1, &reader, &needs, c->x->budget, error));
    TB_TRY(tb_remaking_step(*made, c->program, 0, c->exec, error));
    *p = tb_remaking_value(*made, c->program, a->p)->data;
    return TIBA_OK;
}

/* Brings a block from steps of p's unit to probabilities; `power` is how often p is a factor of it
 * (∇p counts -1). */
static void count_in_probabilities(const collect *c, const tb_attention *a, float *e, int64_t n,
                                   int power) {
    double unit;
    if (!a->unit || power == 0) return;
    if (!tb_scalar_constant(a->unit, &unit))
        unit = (double)*(const float *)c->program->values[a->unit->id]->data;
    float factor = (float)(power > 0 ? unit : 1.0 / unit);
    for (int64_t i = 0; i < n; i++) e[i] *= factor;
}

/* E of one attention. Gradient, relevance and p are those of the block's groups. */
static tiba_status fill_block(collect *c, int t, int b, const tb_attention *a, int64_t groups,
                              float *e, const float *gradient, const float *relevance,
                              const float *p, tiba_error *error) {
    const float *first = NULL, *second = NULL;
    int64_t n = a->heads * a->queries * a->keys;
    int power = 0; /* of p's unit: relevance and ∇p ⊙ p have none */
    switch (c->method->combine) {
    case TB_COMBINE_GRADIENT_RELEVANCE:
        first = relevance ? gradient : NULL, second = relevance, power = -1;
        break;
    case TB_COMBINE_GRADIENT_ATTENTION:
        first = gradient, second = p;
        break;
    case TB_COMBINE_RELEVANCE:
        first = relevance;
        break;
    case TB_COMBINE_ATTENTION:
        first = p, power = 1;
        break;
    default: /* GradCAM */
        count_not_finite(c, t, gradient, groups * n);
        return gradient ? weigh_heads(c, t, b, a, e, p, gradient, error) : TIBA_OK;
    }
    count_not_finite(c, t, first, groups * n);
    count_not_finite(c, t, second, groups * n);
    tb_block_combine(e, first, second, groups, a->heads, groups > 1 ? a->group_of : NULL,
                     a->queries, a->keys, a->transposed, c->options->keep_sign);
    count_in_probabilities(c, a, e, groups * a->queries * a->keys, power);
    return TIBA_OK;
}

static tiba_status collect_block(collect *c, int t, int b, const tb_attention *a,
                                 const float *gradient, const float *relevance, tiba_error *error) {
    bool routed = c->x->towers[t].route != NULL;
    int64_t asked = asked_sample(c, t), n = a->queries * a->keys;
    int64_t sample = routed       ? 0
                     : asked >= 0 ? asked
                     : gradient   ? reached_sample(a, gradient)
                                  : most_touched(c, t);
    if (sample >= a->groups)
        return tb_fail(error, TIBA_ERROR_USAGE, "sample %lld of a tower that has %lld",
                       (long long)sample, (long long)a->groups);
    int64_t groups = routed ? a->groups : 1;
    if (!routed) c->towers[t].sample = sample;
    float *e = c->blocks[t][b] = TB_NEW(c->arena, float, groups *n);
    if (!e) return tb_out_of_memory(error);
    int64_t at = routed ? 0 : sample * a->heads * n; /* plain: samples are outermost */
    tb_remaking *made = NULL;
    const float *p = NULL;
    tiba_status status = TIBA_OK;
    if (tb_method_reads_attention(c->method)) status = make_attention(c, a, &made, &p, error);
    if (status == TIBA_OK)
        status = fill_block(c, t, b, a, groups, e, gradient ? gradient + at : NULL,
                            relevance ? relevance + at : NULL, p ? p + at : NULL, error);
    tb_remaking_destroy(made);
    return status;
}

static void collect_readout(collect *c, int t, const tb_value *value, const float *gradient,
                            const float *relevance) {
    int64_t count = tb_tensor_count(&value->t), asked = asked_sample(c, t);
    for (int64_t i = 0; i < count; i++) {
        int64_t token, sample = readout_place(c, t, i, &token);
        if (asked >= 0 && sample != asked) continue;
        if (relevance) c->read[t][token] += (double)relevance[i];
        if (!gradient) continue;
        c->reached[t][token] += fabs((double)gradient[i]);
        c->touched[t][sample] += fabs((double)gradient[i]);
    }
}

/* What arrives at a source is the result of a method that goes to the input. */
static tiba_status collect_source(collect *c, int t, const tb_value *value, const float *gradient,
                                  const float *relevance, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    bool product = c->method->combine == TB_COMBINE_GRADIENT_INPUT;
    const float *a = product ? gradient : relevance;
    const float *b = product ? c->program->values[value->id]->data : NULL;
    int64_t asked = asked_sample(c, t), sample = asked >= 0 ? asked : most_touched(c, t);
    int64_t count = tb_tensor_count(&value->t), tokens = tower->tower.tokens;
    c->towers[t].sample = sample;
    if (tower->pixels) {
        tb_pixel_axes axes;
        tb_pixel_axes_of(&axes, &value->t);
        int64_t size = axes.rows * axes.columns, each = size * axes.channels;
        c->pixels[t] = TB_NEW(c->arena, float, size);
        if (!c->pixels[t]) return tb_out_of_memory(error);
        if (a && sample < value->t.dims[0])
            tb_pixel_sums(c->pixels[t], &axes, a + sample * each, b ? b + sample * each : NULL);
        return TIBA_OK;
    }
    double *sum = TB_NEW(c->arena, double, tokens);
    c->pixels[t] = TB_NEW(c->arena, float, tokens);
    if (!sum || !c->pixels[t]) return tb_out_of_memory(error);
    const tb_token_axes *axes = tower->route ? &tower->route->source : NULL;
    for (int64_t i = 0; a && i < count; i++) {
        int64_t of =
            axes ? i / axes->batch_inner % axes->batch : i / (tower->source_inner * tokens);
        if (of != sample) continue;
        int64_t token = axes ? tb_token_of(axes, i) : i / tower->source_inner % tokens;
        sum[token] += (double)a[i] * (b ? (double)b[i] : 1.0);
    }
    for (int64_t i = 0; i < tokens; i++) c->pixels[t][i] = (float)sum[i];
    return TIBA_OK;
}

/* The attentions that a method reads are the last one or all of a tower. */
static int first_block(const collect *c, const tb_plan_tower *tower) {
    if (c->method->reads == TB_READS_ROLLOUT) return 0;
    return tower->tower.n_attentions - (c->method->reads == TB_READS_LAST);
}

/* A readout of which only the read tokens were computed: nothing has arrived at the others. */
static tiba_status collect_narrow(collect *c, int t, const tb_narrow *narrow, const float *gradient,
                                  const float *relevance, tiba_error *error) {
    const tb_value *whole = c->x->towers[t].readout;
    float *both = tb_alloc(c->budget, 2 * tb_tensor_bytes(&whole->t));
    if (!both) return tb_out_of_memory(error);
    float *other = both + tb_tensor_count(&whole->t);
    if (gradient) tb_narrow_expand(both, &whole->t, narrow, gradient);
    if (relevance) tb_narrow_expand(other, &whole->t, narrow, relevance);
    collect_readout(c, t, whole, gradient ? both : NULL, relevance ? other : NULL);
    tb_free(both);
    return TIBA_OK;
}

static tiba_status at_readout(void *context, const tb_value *value, const float *gradient,
                              const float *relevance, tiba_error *error) {
    collect *c = context;
    for (int t = 0; t < c->x->n_towers; t++) {
        const tb_value *readout = c->x->towers[t].readout;
        if (tb_narrow_now(c->x->narrowing, readout) != value) continue;
        if (readout == value)
            collect_readout(c, t, value, gradient, relevance);
        else
            TB_TRY(collect_narrow(c, t, &c->x->narrowing->of[readout->id], gradient, relevance,
                                  error));
    }
    return TIBA_OK;
}

static tiba_status beyond_readout(void *context, const tb_value *value, const float *gradient,
                                  const float *relevance, tiba_error *error) {
    collect *c = context;
    const tb_attentions *found = c->x->analysis->attentions;
    for (int t = 0; t < c->x->n_towers; t++) {
        const tb_plan_tower *tower = &c->x->towers[t];
        if (c->method->reads == TB_READS_INPUT) {
            if (tower->source == value)
                TB_TRY(collect_source(c, t, value, gradient, relevance, error));
            continue;
        }
        for (int b = first_block(c, tower); b < tower->tower.n_attentions; b++) {
            const tb_attention *a = &found->attentions[tower->tower.attentions[b]];
            if (a->p == value) TB_TRY(collect_block(c, t, b, a, gradient, relevance, error));
        }
    }
    return TIBA_OK;
}

static tiba_status arrived(void *context, const tb_value *value, const float *gradient,
                           const float *relevance, tiba_error *error) {
    TB_TRY(at_readout(context, value, gradient, relevance, error));
    return beyond_readout(context, value, gradient, relevance, error);
}

/* w_t = max(0, Σ_d R[t, d]) scaled to sum 1; uniform over the tokens that the gradient reaches if
 * that is nothing, and 0 if it reaches none. */
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
    for (int64_t i = 0; i < tokens; i++) w[i] = sum > 0.0 ? w[i] / sum : 0.0;
}

/* Are rows of I + E divided by their sums? Those of texts are, unless the caller says otherwise. */
static bool divides_rows(const collect *c, int t) {
    return c->options->rollout == TB_ROLLOUT_DEFAULT
               ? c->method->normalized || !c->x->towers[t].tower.image
               : c->options->rollout == TB_ROLLOUT_NORMALIZED;
}

/* wᵀ·C of a plain tower; r: w on entry, [tokens]. */
static tiba_status roll_plain(collect *c, int t, const tb_explain_options *options, double *r,
                              tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    int64_t n = tower->tower.tokens;
    bool normalized = divides_rows(c, t);
    double *scratch = TB_NEW(c->arena, double, n);
    if (!scratch) return tb_out_of_memory(error);
    if (c->method->reads == TB_READS_LAST) {
        tb_block_read(r, scratch, c->blocks[t][tower->tower.n_attentions - 1], n);
        return TIBA_OK;
    }
    for (int b = tower->tower.n_attentions - 1; b >= options->start_layer && b >= 0; b--)
        tb_rollout_step(r, scratch, c->blocks[t][b], n, normalized);
    c->towers[t].blocks = options->blocks ? c->blocks[t] : NULL;
    return TIBA_OK;
}

static int64_t block_size(const tb_attention *a) {
    return a->groups * a->queries * a->keys;
}

/* wᵀ·E of the last attention where tokens move or merge: the rollout through the graph with this
 * block less the one with none. The block is brought to size 1 first, so that little is lost in the
 * difference. */
static tiba_status read_routed(collect *c, int t, const double *w, int64_t sample, double *r,
                               tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    const tb_attentions *found = c->x->analysis->attentions;
    int last = tower->tower.n_attentions - 1;
    int64_t n = tower->tower.tokens;
    int64_t size = block_size(&found->attentions[tower->tower.attentions[last]]);
    float *e = c->blocks[t][last], most = 0.0f;
    double *none = TB_NEW(c->arena, double, n);
    float **blocks = TB_NEW(c->arena, float *, last + 1);
    if (!none || !blocks) return tb_out_of_memory(error);
    tb_route_load load = {w, sample, blocks, false, NULL};
    TB_TRY(tb_route_run(tower->route, c->program, &load, none, c->budget, c->exec, error));
    for (int64_t i = 0; i < size; i++) most = fmaxf(most, fabsf(e[i]));
    for (int64_t i = 0; i < size && most > 0.0f; i++) e[i] /= most;
    blocks[last] = e;
    TB_TRY(tb_route_run(tower->route, c->program, &load, r, c->budget, c->exec, error));
    for (int64_t i = 0; i < n; i++) r[i] = (r[i] - none[i]) * (double)most;
    return TIBA_OK;
}

/* The same through the graph. */
static tiba_status roll_routed(collect *c, int t, const tb_explain_options *options,
                               const double *w, double *r, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    int64_t best = most_touched(c, t);
    c->towers[t].sample = best;
    if (c->method->reads == TB_READS_LAST) return read_routed(c, t, w, best, r, error);
    bool undivided = false;
    tb_route_load load = {w, best, c->blocks[t], divides_rows(c, t), NULL};
    /* unless the caller asks for it, rows are divided where each has one attention of its own */
    if (options->rollout == TB_ROLLOUT_DEFAULT) load.undivided = &undivided;
    for (int b = 0; b < options->start_layer; b++) c->blocks[t][b] = NULL;
    TB_TRY(tb_route_run(tower->route, c->program, &load, r, c->budget, c->exec, error));
    if (!undivided) return TIBA_OK;
    c->towers[t].note = "several attentions share a residual sum: the text's rows are not divided "
                        "by their sums (--rollout raw)";
    load.normalized = false;
    return tb_route_run(tower->route, c->program, &load, r, c->budget, c->exec, error);
}

/* The result of a method that goes to the input; the pixels' sums become their patches'. */
static void read_source(collect *c, int t, double *r) {
    const tb_plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    const tb_tower *at = &tower->tower;
    const float *x = c->pixels[t];
    memset(r, 0, (size_t)at->tokens * sizeof *r);
    if (!x) return; /* nothing has arrived */
    if (!tower->pixels) {
        for (int64_t i = 0; i < at->tokens; i++) r[i] = (double)x[i];
        return;
    }
    tb_pixel_axes axes;
    tb_pixel_axes_of(&axes, &tower->source->t);
    to->map = c->pixels[t];
    to->map_rows = axes.rows, to->map_columns = axes.columns;
    if (at->prefix + at->rows * at->columns > at->tokens) return;
    for (int64_t y = 0; y < axes.rows && at->rows; y++)
        for (int64_t i = 0; i < axes.columns; i++)
            r[at->prefix + y * at->rows / axes.rows * at->columns +
              i * at->columns / axes.columns] += (double)x[y * axes.columns + i];
}

/* The same for an input on every machine, whatever its processor rounds the output to. */
static uint64_t seed_of_inputs(const collect *c) {
    uint64_t seed = 0;
    for (int i = 0; i < c->x->graph->n_inputs; i++) {
        const tb_value *value = c->x->graph->inputs[i];
        if (!value) continue;
        const tiba_tensor *t = value->active ? c->program->values[value->id] : &value->t;
        if (t && t->data) seed = seed * 31 + tb_seed_of(t->data, tb_tensor_bytes(t));
    }
    return seed;
}

static tiba_status read_result(collect *c, int t, const double *w, double *r, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    if (c->method->reads == TB_READS_INPUT) {
        read_source(c, t, r);
        return TIBA_OK;
    }
    if (c->method->reads == TB_READS_NOTHING) {
        tb_random_numbers(r, tower->tower.tokens, seed_of_inputs(c) + (uint64_t)t);
        c->towers[t].sample = most_touched(c, t);
        return TIBA_OK;
    }
    if (tower->route) return roll_routed(c, t, c->options, w, r, error);
    memcpy(r, w, (size_t)tower->tower.tokens * sizeof *r);
    return roll_plain(c, t, c->options, r, error);
}

static void note_result(tb_tower_explanation *to, const tb_method *method, int64_t n) {
    bool zero = true;
    for (int64_t i = 0; i < n && zero; i++) zero = to->tokens[i] == 0.0f;
    for (int64_t i = 0; to->map && i < to->map_rows * to->map_columns && zero; i++)
        zero = to->map[i] == 0.0f;
    if (!zero) return;
    bool read = method->reads == TB_READS_INPUT;
    for (int64_t i = 0; i < to->readout_tokens && !read; i++) read = to->readout[i] > 0.0f;
    to->note = !read ? "the target's gradient reaches none of these tokens"
               : method->combine == TB_COMBINE_GRADCAM
                   ? "the map is zero everywhere: the heads' gradients speak against the target"
                   : "the map is zero everywhere";
}

/* w of a tower, from what has arrived at its readout. */
static tiba_status read_out(collect *c, int t, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    int64_t m = readout_tokens(tower);
    double *w = c->read[t];
    to->readout = TB_NEW(c->arena, float, m);
    if (!to->readout) return tb_out_of_memory(error);
    for (int64_t i = 0; i < m; i++) to->relevance_in += w[i];
    to->nested = tower->nested;
    if (!tb_method_per_class(c->method)) memset(w, 0, (size_t)m * sizeof *w);
    scale_readout(w, c->reached[t], m);
    for (int64_t i = 0; i < m; i++) to->readout[i] = (float)w[i];
    to->readout_tokens = m;
    return TIBA_OK;
}

/* Adds what is to be known of the way that the row vector takes. */
static tiba_status note_way(collect *c, int t, tiba_error *error) {
    const char *way = c->x->towers[t].note, **note = &c->towers[t].note;
    bool rolled = c->method->reads == TB_READS_ROLLOUT || c->method->reads == TB_READS_LAST;
    if (!way || !rolled) return TIBA_OK;
    *note = *note ? tb_arena_format(c->arena, "%s; %s", *note, way) : way;
    return *note ? TIBA_OK : tb_out_of_memory(error);
}

/* Is the attention in another tower as well, whose row vector comes to it? */
static bool is_elsewhere(const collect *c, int t, int attention) {
    for (int of = 0; of < c->x->n_towers; of++)
        for (int b = 0; of != t && b < c->x->towers[of].tower.n_attentions; b++)
            if (c->x->towers[of].tower.attentions[b] == attention) return true;
    return false;
}

/* Does the gradient come to the tower's attentions, though none of what lies behind the last one
 * (at the readout) is read? Relevance 0 would say that the tokens do not matter. */
static tiba_status check_ways(const collect *c, int t, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    bool read = c->method->combine != TB_COMBINE_GRADIENT_RELEVANCE, used = false;
    for (int64_t i = 0; i < readout_tokens(tower) && !read; i++) read = c->reached[t][i] > 0.0;
    for (int b = 0; b < tower->tower.n_attentions && !read && !used; b++) {
        int index = tower->tower.attentions[b];
        const tb_attention *a = &c->x->analysis->attentions->attentions[index];
        const float *e = is_elsewhere(c, t, index) ? NULL : c->blocks[t][b];
        int64_t n = (tower->route ? a->groups : 1) * a->queries * a->keys;
        for (int64_t i = 0; e && i < n && !used; i++) used = e[i] > 0.0f;
    }
    if (!used) return TIBA_OK;
    const tb_value *input = c->x->graph->inputs[tower->tower.input];
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "the target reads tokens of input '%s' below the last of their attentions, and "
                   "none behind it: no row vector begins there",
                   input ? input->name : "");
}

static tiba_status roll_out(collect *c, int t, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    int64_t n = tower->tower.tokens;
    to->tower = &tower->tower;
    to->routed = tower->route != NULL;
    to->tokens = TB_NEW(c->arena, float, n);
    double *r = TB_NEW(c->arena, double, n);
    if (!to->tokens || !r) return tb_out_of_memory(error);
    TB_TRY(check_ways(c, t, error));
    TB_TRY(read_result(c, t, c->read[t], r, error));
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(r[i]))
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "the relevance of token %lld is not a finite number", (long long)i);
        to->tokens[i] = (float)r[i];
    }
    to->n_blocks = tower->tower.n_attentions;
    note_result(to, c->method, n);
    return note_way(c, t, error);
}

/* -------------------------------------------------------------------- passes */

static tiba_status check_options(const collect *c, tiba_error *error) {
    const tb_explain_options *o = c->options;
    bool rolled = c->method->reads == TB_READS_ROLLOUT;
    if (!rolled && (o->start_layer > 0 || o->rollout != TB_ROLLOUT_DEFAULT))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "method %s is no rollout: it has no start layer and no rows to normalize",
                       c->method->name);
    for (int t = 0; t < c->x->n_towers; t++) {
        const tb_plan_tower *tower = &c->x->towers[t];
        if (o->start_layer < 0 ||
            (o->start_layer > 0 && o->start_layer >= tower->tower.n_attentions))
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "start layer %d is out of range: the tower has %d attentions",
                           o->start_layer, tower->tower.n_attentions);
        if (tower->route && c->method->combine == TB_COMBINE_GRADCAM && tower->tower.image &&
            tower->tower.prefix > 0)
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "method %s: where tokens move or merge nothing says which keys of the "
                           "last attention are the class tokens that it leaves out",
                           c->method->name);
        if (c->method->reads == TB_READS_INPUT && !tower->source)
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "method %s: the tokens come in by several ways (such as words and "
                           "their places), and no one value holds them before the first attention",
                           c->method->name);
    }
    return TIBA_OK;
}

static tiba_status get_room(collect *c, tiba_error *error) {
    size_t n = (size_t)c->x->n_towers;
    c->blocks = TB_NEW(c->arena, float **, n);
    c->read = TB_NEW(c->arena, double *, n);
    c->reached = TB_NEW(c->arena, double *, n);
    c->touched = TB_NEW(c->arena, double *, n);
    c->pixels = TB_NEW(c->arena, float *, n);
    if (!c->blocks || !c->read || !c->reached || !c->touched || !c->pixels)
        return tb_out_of_memory(error);
    for (int t = 0; t < c->x->n_towers; t++) {
        const tb_plan_tower *tower = &c->x->towers[t];
        c->towers[t] = (tb_tower_explanation){0};
        c->blocks[t] = TB_NEW(c->arena, float *, tower->tower.n_attentions);
        c->read[t] = TB_NEW(c->arena, double, readout_tokens(tower));
        c->reached[t] = TB_NEW(c->arena, double, readout_tokens(tower));
        c->touched[t] = TB_NEW(c->arena, double, readout_samples(c, t));
        if (!c->blocks[t] || !c->read[t] || !c->reached[t] || !c->touched[t])
            return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

/* A tower's samples have tokens of their own: which of them would be shown? */
static tiba_status check_samples(const collect *c, int t, tiba_error *error) {
    int64_t read = 0, n = readout_samples(c, t);
    for (int64_t s = 0; s < n; s++) read += c->touched[t][s] > 0.0;
    if (read <= 1 || asked_sample(c, t) >= 0 || c->options->n_seeds) return TIBA_OK;
    const tb_value *input = c->x->graph->inputs[c->x->towers[t].tower.input];
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "the target reads %lld samples of input '%s' at once (%lld along its dimension "
                   "0): each has tokens of its own, and no one map shows them",
                   (long long)read, input->name, (long long)(input->t.rank ? input->t.dims[0] : 1));
}

/* One reverse pass of a method that is not TiBA: to the readouts, or from the target to the blocks
 * or sources. */
static tiba_status run_pass(collect *c, bool readouts, int carries, int n_seeds,
                            const tb_seed *seeds, tiba_error *error) {
    const tb_explainer *x = c->x;
    const tb_attentions *found = x->analysis->attentions;
    int n = 0;
    const tb_value **watch = TB_NEW(c->arena, const tb_value *, tb_explainer_most_watched(x));
    if (!watch) return tb_out_of_memory(error);
    for (int t = 0; t < x->n_towers; t++) {
        const tb_plan_tower *tower = &x->towers[t];
        if (readouts)
            watch[n++] = tb_narrow_now(x->narrowing, tower->readout);
        else if (c->method->reads == TB_READS_INPUT)
            watch[n++] = tower->source;
        for (int b = first_block(c, tower); !readouts && b < tower->tower.n_attentions; b++)
            watch[n++] = found->attentions[tower->tower.attentions[b]].p;
    }
    tb_reverse *reverse;
    TB_TRY(tb_reverse_create(&reverse, x->graph, x->regions, x->target, n, watch, carries,
                             c->method->ruleset, x->remake, x->budget, error));
    tb_reverse_start start = {n_seeds, seeds, c};
    tiba_status status = tb_reverse_run(reverse, c->program, 1, &start,
                                        readouts ? at_readout : beyond_readout, c->exec, error);
    tb_reverse_destroy(reverse);
    return status;
}

/* Blocks that are made of attention alone need no pass. */
static tiba_status collect_attention(collect *c, tiba_error *error) {
    for (int t = 0; t < c->x->n_towers; t++) {
        const tb_plan_tower *tower = &c->x->towers[t];
        for (int b = first_block(c, tower); b < tower->tower.n_attentions; b++) {
            int index = tower->tower.attentions[b];
            const tb_attention *a = &c->x->analysis->attentions->attentions[index];
            TB_TRY(collect_block(c, t, b, a, NULL, NULL, error));
        }
    }
    return TIBA_OK;
}

static tiba_status read_all(collect *c, tiba_error *error) {
    for (int t = 0; t < c->x->n_towers; t++) {
        TB_TRY(check_samples(c, t, error));
        TB_TRY(read_out(c, t, error));
    }
    return TIBA_OK;
}

/* What another method than TiBA reads. */
static tiba_status collect_other(collect *c, const tb_reverse_start *start, tiba_error *error) {
    TB_TRY(run_pass(c, true, TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, start->n_seeds,
                    start->seeds, error));
    TB_TRY(read_all(c, error));
    int carries = tb_method_carries(c->method);
    if (carries) return run_pass(c, false, carries, start->n_seeds, start->seeds, error);
    return c->method->combine == TB_COMBINE_ATTENTION ? collect_attention(c, error) : TIBA_OK;
}

/* No tower fits. The methods that the refusal names may not apply to this target either. */
static tiba_status refuse(const collect *c, const tb_reverse_start *start, tiba_error *error) {
    const tiba_error *why = tb_explainer_refusal(c->x);
    const char *list = strstr(why->message, TB_METHODS_THAT_APPLY);
    tiba_error other = {0};
    collect probe = *c;
    tb_reverse_start from = *start;
    probe.method = tb_method_at(TIBA_METHOD_GRAD_X_INPUT);
    from.context = &probe;
    tiba_status status = get_room(&probe, &other);
    if (status == TIBA_OK) status = collect_other(&probe, &from, &other);
    if (status == TIBA_ERROR_INPUT && list)
        return tb_fail(error, why->code, "%.*s; no method applies: %.180s",
                       (int)(list - why->message), why->message, other.message);
    if (error) *error = *why;
    return why->code;
}

static tiba_status start_job(collect *c, tb_explainer *x, const tb_program *program,
                             const tb_explain_job *job, const tb_reverse_start *start,
                             tb_exec *exec, tiba_error *error) {
    *c = (collect){.x = x,
                   .options = job->options,
                   .program = program,
                   .towers = job->towers,
                   .arena = job->arena,
                   .budget = tb_arena_budget(job->arena),
                   .exec = exec,
                   .method = tb_method_at((int)job->options->method)};
    if (!c->method)
        return tb_fail(error, TIBA_ERROR_USAGE, "there is no method %d", (int)job->options->method);
    const bool attends = c->method->reads == TB_READS_ROLLOUT || c->method->reads == TB_READS_LAST;
    if (attends && tb_explainer_refusal(x)) return refuse(c, start, error);
    TB_TRY(check_options(c, error));
    return get_room(c, error);
}

/* The reverse passes of all jobs, TiBA's in one. */
static tiba_status collect_all(tb_explainer *x, const tb_program *program, int n,
                               const tb_explain_job *jobs, collect *list, tb_reverse_start *starts,
                               tb_seed *seeds, tb_exec *exec, tiba_error *error) {
    int together = 0;
    for (int i = 0; i < n; i++) {
        const tb_explain_options *o = jobs[i].options;
        seeds[i] = (tb_seed){jobs[i].element, 1.0f, 1.0f};
        tb_reverse_start start = {1, &seeds[i], &list[i]};
        if (o->n_seeds) start.n_seeds = o->n_seeds, start.seeds = o->seeds;
        TB_TRY(start_job(&list[i], x, program, &jobs[i], &start, exec, error));
        if (o->method == TIBA_METHOD_TIBA)
            starts[together++] = start;
        else
            TB_TRY(collect_other(&list[i], &start, error));
    }
    if (together == 0) return TIBA_OK;
    TB_TRY(tb_reverse_run(x->reverse, program, together, starts, arrived, exec, error));
    for (int i = 0; i < together; i++) TB_TRY(read_all(starts[i].context, error));
    return TIBA_OK;
}

/* Time that all jobs took is told to the first. */
static void add_time(double *const *to, double seconds) {
    if (*to) **to += seconds;
}

static tiba_status run_jobs(tb_explainer *x, const tb_program *program, int n,
                            const tb_explain_job *jobs, collect *list, tb_reverse_start *starts,
                            tb_seed *seeds, tb_exec *exec, tiba_error *error) {
    double start = tb_seconds();
    TB_TRY(collect_all(x, program, n, jobs, list, starts, seeds, exec, error));
    double middle = tb_seconds();
    for (int i = 0; i < n; i++)
        for (int t = 0; t < x->n_towers; t++) TB_TRY(roll_out(&list[i], t, error));
    add_time(&jobs->options->backward_seconds, middle - start);
    add_time(&jobs->options->rollout_seconds, tb_seconds() - middle);
    return TIBA_OK;
}

tiba_status tb_explainer_run(tb_explainer *x, const tb_program *program, int n,
                             const tb_explain_job *jobs, tb_exec *exec, tiba_error *error) {
    if (n <= 0) return TIBA_OK;
    collect *list = tb_calloc(x->budget, (size_t)n, sizeof *list);
    tb_reverse_start *starts = tb_calloc(x->budget, (size_t)n, sizeof *starts);
    tb_seed *seeds = tb_calloc(x->budget, (size_t)n, sizeof *seeds);
    tiba_status status = list && starts && seeds
                             ? run_jobs(x, program, n, jobs, list, starts, seeds, exec, error)
                             : tb_out_of_memory(error);
    tb_free(list);
    tb_free(starts);
    tb_free(seeds);
    return status;
}
