#include "tools/trust.h"

#include <math.h>
#include <string.h>

#include "tools/order.h"
#include "tools/removal.h"

/* What the check removes. */
static const double top_share = 0.2;
enum {
    SETS = 1 + TB_TRUST_DRAWS, /* of parts to remove: the most relevant ones, and the draws */
    TOGETHER = 7               /* of them go through the graph */
};

/* A tower whose tokens are removed. */
typedef struct trial {
    tb_job *job;
    const tb_view *view;
    const tb_view_tower *tower;
    tb_subject *subject; /* whose graph has the tower */
    const tb_sample *sample;
    const tiba_run *run; /* of the whole inputs */
    const char *output;  /* of that graph, which is read */
    int64_t token;       /* the target's own one, -1: it is of none */
    tb_removal removal;
    tb_check *check;
    int64_t *order; /* [parts] most relevant first, then any order for the draws */
} trial;

/* -------------------------------------------------------------------- removing */

/* What leaving out `parts` does to the tokens behind them. */
static void count_missing(tb_changed *to, const trial *t, const int64_t *parts) {
    if (!t->removal.tokens || t->removal.mask >= 0) return;
    to->text = t->removal.row;
    to->fewer = t->check->removed;
    to->moved = 0;
    for (int64_t i = 0; i < to->fewer; i++) to->moved += t->removal.tokens[parts[i]] < t->token;
}

static int64_t samples_of(const tiba_run *run) {
    tiba_tensor y = tiba_run_output(run, tiba_run_explained_output(run));
    return y.rank ? y.dims[0] : 1;
}

/* The changed inputs of `copies` sets of parts through the graph together; *apart: the output has
 * them one behind the other. */
static tiba_status run_without(tiba_run **run, bool *apart, const trial *t, const int64_t *sets,
                               int copies, tiba_error *error) {
    tb_arena *arena = tb_arena_create(NULL);
    tiba_feed *feeds = NULL;
    if (!arena) return tb_out_of_memory(error);
    tiba_status status = tb_removal_feeds(&feeds, &t->removal, copies, arena, error);
    if (status == TIBA_OK) {
        for (int64_t i = 0; i < copies * t->check->removed; i++)
            tb_removal_apply(&t->removal, feeds, i / t->check->removed, sets[i]);
        tb_removal_close(&t->removal, feeds, copies);
        status =
            tiba_run_forward(run, t->subject->model, t->sample->n_feeds, feeds, t->output, error);
    }
    tb_arena_destroy(arena);
    *apart = status == TIBA_OK && samples_of(*run) == copies * samples_of(t->run);
    return status;
}

/* The target's values without each of `n` sets of parts. A file that leaves the number of samples
 * open and cannot take several after all gets them one by one. */
static tiba_status values_without(double *out, const trial *t, const int64_t *sets, int n,
                                  tiba_error *error) {
    int together = t->removal.batches ? TOGETHER : 1;
    for (int first = 0, copies; first < n; first += copies) {
        tiba_run *run = NULL;
        bool apart = false;
        copies = together < n - first ? together : n - first;
        const int64_t *parts = sets + first * t->check->removed;
        tiba_status status = run_without(&run, &apart, t, parts, copies, error);
        if (copies > 1 && !apart && status != TIBA_ERROR_RESOURCE) {
            together = 1;
            copies = 0;
        } else if (status != TIBA_OK) {
            return status;
        }
        tb_changed changed = {.run = run, .partner = t->tower->partner, .copies = copies};
        for (; changed.copy < copies; changed.copy++) {
            count_missing(&changed, t, parts + changed.copy * t->check->removed);
            out[first + changed.copy] = t->view->scalar->read(t->view->scalar, &changed);
        }
        tiba_run_destroy(run);
    }
    return TIBA_OK;
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
    c->before = t->view->logit;
    size_t bytes = (size_t)c->removed * sizeof *t->order;
    int64_t *sets = TB_NEW(t->job->arena, int64_t, SETS * c->removed);
    if (!sets) return tb_out_of_memory(error);
    memcpy(sets, t->order, bytes); /* the most relevant ones */
    uint64_t state = 1;            /* the draws are the same for every method and target */
    for (int64_t i = 0; i < c->parts; i++) t->order[i] = i;
    for (int k = 1; k < SETS; k++) {
        draw(t, c->removed, &state);
        memcpy(sets + k * c->removed, t->order, bytes);
    }
    double values[SETS];
    TB_TRY(values_without(values, t, sets, SETS, error));
    c->after = values[0];
    c->random_least = INFINITY;
    for (int k = 1; k < SETS; k++) {
        c->random_mean += values[k] / TB_TRUST_DRAWS;
        c->random_least = fmin(c->random_least, values[k]);
        c->lower += values[k] < c->after;
    }
    return TIBA_OK;
}

/* -------------------------------------------------------------------- what can be removed */

/* The token of `text` whose scores the target is one of, -1: there is none. */
static int64_t target_token(const trial *t, int64_t text) {
    const tiba_target *target = &t->view->target;
    if (target->rank != 3 || target->index[0] != text) return -1;
    return target->index[1];
}

/* Where parts are left out, the target's own token is not: nothing could be read without it. */
static void keep_token(trial *t) {
    tb_removal *r = &t->removal;
    int64_t *tokens = TB_NEW(t->job->arena, int64_t, r->n + 1), n = 0;
    for (int64_t i = 0; tokens && i < r->n; i++)
        if (r->tokens[i] != t->token) tokens[n++] = r->tokens[i];
    r->n = n;
    r->tokens = tokens;
}

static const char *find_parts(trial *t, tiba_error *error) {
    tb_job *job = t->job;
    const tiba_tower *tower = t->tower->tower;
    const tb_sample *sample = t->sample;
    int64_t row = tower->sample[t->tower->at];
    bool text = sample->text_input && strcmp(tower->input, sample->text_input) == 0;
    tiba_status status;
    t->check->what = tower->rows ? "patches" : "tokens";
    t->token = -1;
    if (tower->rows)
        status = tb_removal_picture(&t->removal, t->subject, sample, tower->input, row, tower->rows,
                                    tower->columns, error);
    else if (text && row < sample->n_texts)
        status =
            tb_removal_text(&t->removal, t->subject, sample, (int)row, false, job->arena, error);
    else
        return "the input is no picture and no text, but an array";
    if (status != TIBA_OK) return error->message;
    if (t->removal.tokens && t->removal.mask < 0) {
        t->token = target_token(t, row);
        keep_token(t);
        if (!t->removal.tokens) return "out of memory";
    }
    return t->removal.n > 1 ? NULL : "there is nothing to choose from";
}

/* The parts by the tower's relevance. */
static tiba_status order_parts(trial *t, tiba_error *error) {
    const tiba_tower *tower = t->tower->tower;
    const float *x = tower->relevance + t->tower->at * tower->tokens;
    if (tower->prefix > 0) x += tower->prefix; /* what stands in front is neither patch nor word */
    int64_t n = t->removal.n;
    double *values = TB_NEW(t->job->arena, double, n);
    t->order = TB_NEW(t->job->arena, int64_t, n);
    if (!values || !t->order) return tb_out_of_memory(error);
    for (int64_t i = 0; i < n; i++) values[i] = (double)x[tower->rows ? i : t->removal.tokens[i]];
    return tb_order(t->order, values, n, error);
}

static tiba_status run_check(tb_check *check, tb_job *job, const tb_view *view,
                             const tb_view_tower *tower, tiba_error *error) {
    tiba_error why = {0};
    bool partner = tower->partner;
    trial t = {.job = job,
               .view = view,
               .tower = tower,
               .subject = partner ? job->subject->partner : job->subject,
               .sample = partner ? &job->partner_sample : &job->sample,
               .run = job->runs[partner ? 2 : 0],
               .check = check};
    t.output = tiba_model_output(t.subject->model, tiba_run_explained_output(t.run)).name;
    const char *refusal = find_parts(&t, &why);
    if (refusal) {
        check->refusal = tb_arena_strdup(job->arena, refusal);
        return check->refusal ? TIBA_OK : tb_out_of_memory(error);
    }
    TB_TRY(order_parts(&t, error));
    return run_trial(&t, error);
}

/* -------------------------------------------------------------------- in words */

static const char *check_text(tb_check *c, tb_arena *arena) {
    if (c->refusal)
        return tb_arena_format(arena, "not checked by removing %s: %s", c->what, c->refusal);
    c->verdict = c->lower == 0 && c->after < c->random_mean ? "no draw falls further, as it should"
                 : c->after < c->random_mean
                     ? "further than on average, but some draws fall further: rely on it with care"
                     : "no further than at random: do not rely on this explanation";
    return tb_arena_format(
        arena,
        "without the top %lld of %lld %s the score goes from %.4g to %.4g, without as many random "
        "ones to %.4g on average (%d draws, %.4g at least): %s",
        (long long)c->removed, (long long)c->parts, c->what, c->before, c->after, c->random_mean,
        TB_TRUST_DRAWS, c->random_least, c->verdict);
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
