/*
 * collect.c: what arrives in a reverse pass and is kept: the blocks E of the attentions, what
 * stands at the readouts, and at the sources of methods that go to the input.
 */
#include "rules/collect.h"

#include <math.h>

int64_t tb_collect_tokens(const tb_plan_tower *tower) {
    return tower->route ? tower->route->readout.tokens : tower->tower.tokens;
}

/* How many samples the readout value holds. Its leading axes may be samples and others, such as
 * the heads of a pooling attention; samples are outermost. */
int64_t tb_collect_samples(const tb_collect *c, int t) {
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
static int64_t readout_place(const tb_collect *c, int t, int64_t i, int64_t *token) {
    const tb_plan_tower *tower = &c->x->towers[t];
    if (tower->route) {
        const tb_token_axes *axes = &tower->route->readout;
        *token = tb_token_of(axes, i);
        return i / axes->batch_inner % axes->batch;
    }
    *token = i / tower->inner % tower->tower.tokens;
    return i / (tb_tensor_count(&tower->readout->t) / tb_collect_samples(c, t));
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
int64_t tb_collect_asked(const tb_collect *c, int t) {
    return c->options->samples ? c->options->samples[t] : -1;
}

/* The sample whose readout the gradient reaches most. */
int64_t tb_collect_sample(const tb_collect *c, int t) {
    int64_t best = 0, n = tb_collect_samples(c, t);
    for (int64_t s = 1; s < n; s++)
        if (c->touched[t][s] > c->touched[t][best]) best = s;
    return best;
}

/* GradCAM's block: the keys that are patches (or all, of a text) say what a head is worth. */
static tiba_status weigh_heads(const tb_collect *c, int t, int b, const tb_attention *a, float *e,
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
        tb_route_load load = {c->read[t], tb_collect_sample(c, t), none, false, NULL};
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
static void count_not_finite(tb_collect *c, int t, const float *x, int64_t n) {
    if (x) c->towers[t].not_finite += tb_not_finite(x, n);
}

/* P as the forward pass had it, where that has not kept it: valid until `made` is destroyed. */
static tiba_status make_attention(const tb_collect *c, const tb_attention *a, tb_remaking **made,
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
static void count_in_probabilities(const tb_collect *c, const tb_attention *a, float *e, int64_t n,
                                   int power) {
    double unit;
    if (!a->unit || power == 0) return;
    if (!tb_scalar_constant(a->unit, &unit))
        unit = (double)*(const float *)c->program->values[a->unit->id]->data;
    float factor = (float)(power > 0 ? unit : 1.0 / unit);
    for (int64_t i = 0; i < n; i++) e[i] *= factor;
}

/* E of one attention. Gradient, relevance and p are those of the block's groups. */
static tiba_status fill_block(tb_collect *c, int t, int b, const tb_attention *a, int64_t groups,
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

tiba_status tb_collect_block(tb_collect *c, int t, int b, const tb_attention *a,
                             const float *gradient, const float *relevance, tiba_error *error) {
    bool routed = c->x->towers[t].route != NULL;
    int64_t asked = tb_collect_asked(c, t), n = a->queries * a->keys;
    int64_t sample = routed       ? 0
                     : asked >= 0 ? asked
                     : gradient   ? reached_sample(a, gradient)
                                  : tb_collect_sample(c, t);
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

static void collect_readout(tb_collect *c, int t, const tb_value *value, const float *gradient,
                            const float *relevance) {
    int64_t count = tb_tensor_count(&value->t), asked = tb_collect_asked(c, t);
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
static tiba_status collect_source(tb_collect *c, int t, const tb_value *value,
                                  const float *gradient, const float *relevance,
                                  tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    bool product = c->method->combine == TB_COMBINE_GRADIENT_INPUT;
    const float *a = product ? gradient : relevance;
    const float *b = product ? c->program->values[value->id]->data : NULL;
    int64_t asked = tb_collect_asked(c, t), sample = asked >= 0 ? asked : tb_collect_sample(c, t);
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
int tb_collect_first(const tb_collect *c, const tb_plan_tower *tower) {
    if (c->method->reads == TB_READS_ROLLOUT) return 0;
    return tower->tower.n_attentions - (c->method->reads == TB_READS_LAST);
}

/* A readout of which only the read tokens were computed: nothing has arrived at the others. */
static tiba_status collect_narrow(tb_collect *c, int t, const tb_narrow *narrow,
                                  const float *gradient, const float *relevance,
                                  tiba_error *error) {
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

tiba_status tb_collect_at_readout(void *context, const tb_value *value, const float *gradient,
                                  const float *relevance, tiba_error *error) {
    tb_collect *c = context;
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

tiba_status tb_collect_beyond(void *context, const tb_value *value, const float *gradient,
                              const float *relevance, tiba_error *error) {
    tb_collect *c = context;
    const tb_attentions *found = c->x->analysis->attentions;
    for (int t = 0; t < c->x->n_towers; t++) {
        const tb_plan_tower *tower = &c->x->towers[t];
        if (c->method->reads == TB_READS_INPUT) {
            if (tower->source == value)
                TB_TRY(collect_source(c, t, value, gradient, relevance, error));
            continue;
        }
        for (int b = tb_collect_first(c, tower); b < tower->tower.n_attentions; b++) {
            const tb_attention *a = &found->attentions[tower->tower.attentions[b]];
            if (a->p == value) TB_TRY(tb_collect_block(c, t, b, a, gradient, relevance, error));
        }
    }
    return TIBA_OK;
}

tiba_status tb_collect_arrived(void *context, const tb_value *value, const float *gradient,
                               const float *relevance, tiba_error *error) {
    TB_TRY(tb_collect_at_readout(context, value, gradient, relevance, error));
    return tb_collect_beyond(context, value, gradient, relevance, error);
}
