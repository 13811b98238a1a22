#include "tools/trust.h"

#include <math.h>
#include <string.h>

#include "tools/order.h"
#include "tools/removal.h"

/* What the check removes. */
static const double top_share = 0.2;

/* A tower whose tokens are removed. */
typedef struct trial {
    tb_job *job;
    const tb_view *view;
    const tb_view_tower *tower;
    tb_removal removal;
    tb_check *check;
    int64_t *order; /* [parts] most relevant first, then any order for the draws */
} trial;

/* -------------------------------------------------------------------- removing */

/* The target's value without the first `many` parts of the order. */
static tiba_status value_without(double *out, const trial *t, int64_t many, tiba_error *error) {
    tb_arena *arena = tb_arena_create(NULL);
    tiba_feed *feeds = NULL;
    tiba_run *run = NULL;
    if (!arena) return tb_out_of_memory(error);
    tiba_status status = tb_removal_feeds(&feeds, &t->removal, 1, arena, error);
    for (int64_t i = 0; status == TIBA_OK && i < many; i++)
        tb_removal_apply(&t->removal, feeds, 0, t->order[i]);
    if (status == TIBA_OK) tb_removal_close(&t->removal, feeds, 1);
    if (status == TIBA_OK)
        status = tiba_run_forward(&run, t->job->subject->model, t->job->sample.n_feeds, feeds,
                                  t->job->options->output, error);
    if (status == TIBA_OK) {
        tiba_tensor y = tiba_run_logits(run);
        const tiba_target *target = &t->view->target;
        int64_t element = 0;
        for (int d = 0; d < target->rank; d++) element = element * y.dims[d] + target->index[d];
        *out = (double)((const float *)y.data)[element];
    }
    tiba_run_destroy(run);
    tb_arena_destroy(arena);
    return status;
}

/* Any `many` of the parts come first in the order. */
static void draw(trial *t, int64_t many, uint64_t *state) {
    for (int64_t i = 0; i < many; i++) {
        int64_t k = i + (int64_t)(tb_random(state) % (uint64_t)(t->removal.n - i));
        int64_t part = t->order[i];
        t->order[i] = t->order[k];
        t->order[k] = part;
    }
}

static tiba_status run_trial(trial *t, tiba_error *error) {
    tb_check *c = t->check;
    c->parts = t->removal.n;
    c->removed = (int64_t)(top_share * (double)c->parts + 0.5);
    if (c->removed < 1) c->removed = 1;
    c->before = (double)t->view->target.logit;
    TB_TRY(value_without(&c->after, t, c->removed, error));
    uint64_t state = 1; /* the draws are the same for every method and target */
    for (int64_t i = 0; i < c->parts; i++) t->order[i] = i;
    c->random_least = INFINITY;
    for (int i = 0; i < TB_TRUST_DRAWS; i++) {
        double value;
        draw(t, c->removed, &state);
        TB_TRY(value_without(&value, t, c->removed, error));
        c->random_mean += value / TB_TRUST_DRAWS;
        c->random_least = fmin(c->random_least, value);
        c->lower += value < c->after;
    }
    return TIBA_OK;
}

/* -------------------------------------------------------------------- what can be removed */

static const char *find_parts(trial *t, tiba_error *error) {
    tb_job *job = t->job;
    const tiba_tower *tower = t->tower->tower;
    int64_t row = tower->sample[t->tower->at];
    bool text = job->sample.text_input && strcmp(tower->input, job->sample.text_input) == 0;
    tiba_status status;
    t->check->what = tower->rows ? "patches" : "tokens";
    if (job->subject->partner) return "the encoders are two graphs";
    if (t->view->target.rank == 0) return "the target is made of several scalars";
    if (tower->rows)
        status = tb_removal_picture(&t->removal, job->subject, &job->sample, tower->input, row,
                                    tower->rows, tower->columns, error);
    else if (text && row < job->sample.n_texts)
        status = tb_removal_text(&t->removal, job->subject, &job->sample, (int)row, false,
                                 job->arena, error);
    else
        return "the input is no picture and no text, but an array";
    if (status != TIBA_OK) return error->message;
    return t->removal.n > 1 ? NULL : "there is nothing to choose from";
}

/* The parts by the tower's relevance. */
static tiba_status order_parts(trial *t, tiba_error *error) {
    const tiba_tower *tower = t->tower->tower;
    const float *x = tower->relevance + t->tower->at * tower->tokens;
    int64_t n = t->removal.n;
    double *values = TB_NEW(t->job->arena, double, n);
    t->order = TB_NEW(t->job->arena, int64_t, n);
    if (!values || !t->order) return tb_out_of_memory(error);
    for (int64_t i = 0; i < n; i++)
        values[i] = (double)x[tower->rows ? tower->prefix + i : t->removal.tokens[i]];
    return tb_order(t->order, values, n, error);
}

static tiba_status run_check(tb_check *check, tb_job *job, const tb_view *view,
                             const tb_view_tower *tower, tiba_error *error) {
    tiba_error why = {0};
    trial t = {.job = job, .view = view, .tower = tower, .check = check};
    const char *refusal = find_parts(&t, &why);
    if (refusal) {
        check->refusal = tb_arena_strdup(job->arena, refusal);
        return check->refusal ? TIBA_OK : tb_out_of_memory(error);
    }
    TB_TRY(order_parts(&t, error));
    return run_trial(&t, error);
}

/* -------------------------------------------------------------------- in words */

static const char *check_text(const tb_check *c, tb_arena *arena) {
    if (c->refusal)
        return tb_arena_format(arena, "not checked by removing %s: %s", c->what, c->refusal);
    const char *verdict =
        c->lower == 0 && c->after < c->random_mean ? "no draw falls further, as it should"
        : c->after < c->random_mean
            ? "further than on average, but some draws fall further: rely on it with care"
            : "no further than at random: do not rely on this explanation";
    return tb_arena_format(
        arena,
        "without the top %lld of %lld %s the score goes from %.4g to %.4g, without as many random "
        "ones to %.4g on average (%d draws, %.4g at least): %s",
        (long long)c->removed, (long long)c->parts, c->what, c->before, c->after, c->random_mean,
        TB_TRUST_DRAWS, c->random_least, verdict);
}

/* A target's relevance is 1, which the towers share; a tower that another one reads has its share
 * of that one's. */
static void add_up(tb_view *v) {
    double sum = v->other_in;
    v->not_finite = v->other_not_finite;
    for (int t = 0; t < v->n_towers; t++) {
        const tb_view_tower *tower = &v->towers[t];
        if (!tower->tower->nested) sum += tower->tower->relevance_in[tower->at];
        v->not_finite += tower->tower->not_finite[tower->at];
    }
    v->residual = v->carries ? 1.0 - sum : NAN;
}

static tiba_status describe(tb_view *v, tb_arena *arena, tiba_error *error) {
    const char *flow, *broken = "no NaN";
    if (!v->carries)
        flow =
            tb_arena_format(arena, "%s carries no relevance that could be conserved, ", v->method);
    else if (fabs(v->residual) <= 1e-3)
        flow = tb_arena_format(arena, "relevance is conserved (residual %.1e), ", v->residual);
    else
        flow = tb_arena_format(arena, "%.4g of the target's relevance of 1 arrives, ",
                               1.0 - v->residual);
    if (v->not_finite)
        broken = tb_arena_format(arena,
                                 "%lld values on the way are NaN or infinite: do not rely on this "
                                 "explanation",
                                 (long long)v->not_finite);
    v->trust = flow && broken ? tb_arena_format(arena, "%s%s", flow, broken) : NULL;
    return v->trust ? TIBA_OK : tb_out_of_memory(error);
}

static tiba_status check_tower(tb_job *job, const tb_view *view, tb_view_tower *tower,
                               tiba_error *error) {
    tb_check *check = TB_NEW(job->arena, tb_check, 1);
    if (!check) return tb_out_of_memory(error);
    tower->check = check;
    TB_TRY(run_check(check, job, view, tower, error));
    check->text = check_text(check, job->arena);
    return check->text ? TIBA_OK : tb_out_of_memory(error);
}

tiba_status tb_trust(tb_job *job, tiba_error *error) {
    tb_report *r = &job->report;
    for (int i = 0; i < r->n_views; i++) {
        tb_view *v = &r->views[i];
        add_up(v);
        for (int t = 0; t < v->n_towers && job->options->check; t++)
            TB_TRY(check_tower(job, v, &v->towers[t], error));
        TB_TRY(describe(v, job->arena, error));
    }
    return TIBA_OK;
}
