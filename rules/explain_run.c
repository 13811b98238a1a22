/*
 * explain_run.c: runs an explanation that explain.c has planned: the reverse passes that the method
 * needs, and the results of what they collect.
 */
#include <string.h>

#include "base/clock.h"
#include "rules/collect.h"

static tiba_status check_options(const tb_collect *c, tiba_error *error) {
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

static tiba_status get_room(tb_collect *c, tiba_error *error) {
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
        c->read[t] = TB_NEW(c->arena, double, tb_collect_tokens(tower));
        c->reached[t] = TB_NEW(c->arena, double, tb_collect_tokens(tower));
        c->touched[t] = TB_NEW(c->arena, double, tb_collect_samples(c, t));
        if (!c->blocks[t] || !c->read[t] || !c->reached[t] || !c->touched[t])
            return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

/* A tower's samples have tokens of their own: which of them would be shown? */
static tiba_status check_samples(const tb_collect *c, int t, tiba_error *error) {
    int64_t read = 0, n = tb_collect_samples(c, t);
    for (int64_t s = 0; s < n; s++) read += c->touched[t][s] > 0.0;
    if (read <= 1 || tb_collect_asked(c, t) >= 0 || c->options->n_seeds) return TIBA_OK;
    const tb_value *input = c->x->graph->inputs[c->x->towers[t].tower.input];
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "the target reads %lld samples of input '%s' at once (%lld along its dimension "
                   "0): each has tokens of its own, and no one map shows them",
                   (long long)read, input->name, (long long)(input->t.rank ? input->t.dims[0] : 1));
}

/* One reverse pass of a method that is not TiBA: to the readouts, or from the target to the blocks
 * or sources. */
static tiba_status run_pass(tb_collect *c, bool readouts, int carries, int n_seeds,
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
        for (int b = tb_collect_first(c, tower); !readouts && b < tower->tower.n_attentions; b++)
            watch[n++] = found->attentions[tower->tower.attentions[b]].p;
    }
    tb_reverse *reverse;
    TB_TRY(tb_reverse_create(&reverse, x->graph, x->regions, x->target, n, watch, carries,
                             c->method->ruleset, x->remake, x->budget, error));
    tb_reverse_start start = {n_seeds, seeds, c};
    tiba_status status =
        tb_reverse_run(reverse, c->program, 1, &start,
                       readouts ? tb_collect_at_readout : tb_collect_beyond, c->exec, error);
    tb_reverse_destroy(reverse);
    return status;
}

/* Blocks that are made of attention alone need no pass. */
static tiba_status collect_attention(tb_collect *c, tiba_error *error) {
    for (int t = 0; t < c->x->n_towers; t++) {
        const tb_plan_tower *tower = &c->x->towers[t];
        for (int b = tb_collect_first(c, tower); b < tower->tower.n_attentions; b++) {
            int index = tower->tower.attentions[b];
            const tb_attention *a = &c->x->analysis->attentions->attentions[index];
            TB_TRY(tb_collect_block(c, t, b, a, NULL, NULL, error));
        }
    }
    return TIBA_OK;
}

static tiba_status read_all(tb_collect *c, tiba_error *error) {
    for (int t = 0; t < c->x->n_towers; t++) {
        TB_TRY(check_samples(c, t, error));
        TB_TRY(tb_collect_read_out(c, t, error));
    }
    return TIBA_OK;
}

/* What another method than TiBA reads. */
static tiba_status collect_other(tb_collect *c, const tb_reverse_start *start, tiba_error *error) {
    TB_TRY(run_pass(c, true, TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, start->n_seeds,
                    start->seeds, error));
    TB_TRY(read_all(c, error));
    int carries = tb_method_carries(c->method);
    if (carries) return run_pass(c, false, carries, start->n_seeds, start->seeds, error);
    return c->method->combine == TB_COMBINE_ATTENTION ? collect_attention(c, error) : TIBA_OK;
}

/* No tower fits. The methods that the refusal names may not apply to this target either. */
static tiba_status refuse(const tb_collect *c, const tb_reverse_start *start, tiba_error *error) {
    const tiba_error *why = tb_explainer_refusal(c->x);
    const char *list = strstr(why->message, TB_METHODS_THAT_APPLY);
    tiba_error other = {0};
    tb_collect probe = *c;
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

static tiba_status start_job(tb_collect *c, tb_explainer *x, const tb_program *program,
                             const tb_explain_job *job, const tb_reverse_start *start,
                             tb_exec *exec, tiba_error *error) {
    *c = (tb_collect){.x = x,
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
                               const tb_explain_job *jobs, tb_collect *list,
                               tb_reverse_start *starts, tb_seed *seeds, tb_exec *exec,
                               tiba_error *error) {
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
    TB_TRY(tb_reverse_run(x->reverse, program, together, starts, tb_collect_arrived, exec, error));
    for (int i = 0; i < together; i++) TB_TRY(read_all(starts[i].context, error));
    return TIBA_OK;
}

/* Time that all jobs took is told to the first. */
static void add_time(double *const *to, double seconds) {
    if (*to) **to += seconds;
}

static tiba_status run_jobs(tb_explainer *x, const tb_program *program, int n,
                            const tb_explain_job *jobs, tb_collect *list, tb_reverse_start *starts,
                            tb_seed *seeds, tb_exec *exec, tiba_error *error) {
    double start = tb_seconds();
    TB_TRY(collect_all(x, program, n, jobs, list, starts, seeds, exec, error));
    double middle = tb_seconds();
    for (int i = 0; i < n; i++)
        for (int t = 0; t < x->n_towers; t++) TB_TRY(tb_collect_roll_out(&list[i], t, error));
    add_time(&jobs->options->backward_seconds, middle - start);
    add_time(&jobs->options->rollout_seconds, tb_seconds() - middle);
    return TIBA_OK;
}

tiba_status tb_explainer_run(tb_explainer *x, const tb_program *program, int n,
                             const tb_explain_job *jobs, tb_exec *exec, tiba_error *error) {
    if (n <= 0) return TIBA_OK;
    tb_collect *list = tb_calloc(x->budget, (size_t)n, sizeof *list);
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
