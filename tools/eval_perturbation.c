/*
 * eval_perturbation.c: does the score fall when what a method calls relevant is removed? Pixels are
 * set to 0 before normalisation, tokens are replaced by the mask token, in steps of 10 % from 0 to
 * 90 %: the most relevant first (positive) or the least relevant first (negative). The number is
 * the area under accuracy against the fraction removed, by the trapezoid rule, times 100.
 */
#include <math.h>
#include <string.h>

#include "tools/eval.h"
#include "tools/order.h"
#include "tools/removal.h"

enum {
    STEPS = 9,
    POINTS = STEPS + 1, /* of a curve, with the whole input */
    SIGNS = 2,
    VARIANTS = 2,
    CURVES = SIGNS * VARIANTS,
    ROWS = SIGNS * STEPS
};
static const char *const signs[SIGNS] = {"positive", "negative"};
static const char *const variants[VARIANTS] = {"predicted class", "target class"};

/* One of the two is there. */
typedef struct data {
    tb_scene *scenes;
    tb_review *reviews;
} data;

/* A picture or text whose parts (pixels, tokens) are removed. */
typedef struct work {
    tb_arena *arena;
    tb_sample sample;
    tb_removal removal;
    const char *name;
    int64_t explained[VARIANTS], target; /* classes */
    bool correct;
    float *scores[TB_MOST_METHODS][VARIANTS]; /* [parts] relevance; NULL: none */
} work;

/* -------------------------------------------------------------------- explaining */

static tiba_status part_scores(float **out, const work *w, const tiba_result *result,
                               tiba_error *error) {
    const tb_removal *r = &w->removal;
    if (!r->tokens) return tb_eval_map(out, w->arena, result, &w->sample, error);
    for (int t = 0; t < tiba_result_towers(result); t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        if (strcmp(tower->input, w->sample.text_input) != 0) continue;
        *out = TB_NEW(w->arena, float, r->n + 1);
        if (!*out) return tb_out_of_memory(error);
        const float *x = tower->relevance + (tower->prefix > 0 ? tower->prefix : 0);
        for (int64_t i = 0; i < r->n; i++) (*out)[i] = x[r->tokens[i]];
        return TIBA_OK;
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "the model has no text tower");
}

/* Of several right answers the target is the one that the model finds likeliest. */
static tiba_status find_classes(work *w, const tb_eval *eval, const tiba_run *run,
                                const int64_t *classes, int n_classes, tiba_error *error) {
    int64_t n;
    const float *scores = tb_eval_scores(eval, run, 0, &n);
    w->target = -1;
    w->explained[0] = tb_eval_best(scores, n);
    for (int k = 0; k < n_classes; k++) {
        if (classes[k] == TB_CLASS_TOP) {
            w->target = w->explained[0];
            continue;
        }
        if (classes[k] >= n)
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: the model has no class %lld", w->name,
                           (long long)classes[k]);
        if (w->target < 0 || scores[classes[k]] > scores[w->target]) w->target = classes[k];
    }
    w->explained[1] = w->target;
    w->correct = w->explained[0] == w->target;
    return TIBA_OK;
}

/* Both classes have the same explanation. */
static bool alike(const work *w, const tb_eval *eval, int method) {
    tiba_method_facts facts;
    tiba_method_at(&facts, (int)eval->methods[method]);
    return w->correct || !facts.per_class;
}

static tiba_status explain(work *w, tb_eval *eval, tiba_run *run, tiba_error *error) {
    for (int m = 0; m < eval->n_methods; m++) {
        tiba_result *results[VARIANTS];
        const int n = alike(w, eval, m) ? 1 : VARIANTS;
        TB_TRY(tb_eval_explain(results, eval, m, run, n, w->explained, error));
        tiba_status status = TIBA_OK;
        for (int v = 0; v < n; v++) {
            if (results[v] && status == TIBA_OK)
                status = part_scores(&w->scores[m][v], w, results[v], error);
            tiba_result_destroy(results[v]);
        }
        TB_TRY(status);
    }
    return TIBA_OK;
}

static tiba_status start(work *w, tb_eval *eval, int unit, tiba_error *error) {
    const data *d = eval->state;
    const tb_scene *scene = d->scenes ? &d->scenes[unit] : NULL;
    const tb_review *review = scene ? NULL : &d->reviews[unit];
    tiba_run *run = NULL;
    if (scene) {
        w->name = scene->name;
        TB_TRY(tb_eval_sample(&w->sample, eval, w->arena, scene->path, error));
        TB_TRY(tb_removal_picture(&w->removal, eval->subject, &w->sample, w->sample.image_input, 0,
                                  0, 0, error));
        w->removal.alone = eval->labels.texts.count > 0;
    } else {
        w->name = review->name;
        TB_TRY(tb_subject_sample_texts(&w->sample, eval->subject, w->arena, 0, NULL, 1,
                                       &review->text, error));
        TB_TRY(tb_removal_text(&w->removal, eval->subject, &w->sample, 0, eval->drop, w->arena,
                               error));
    }
    TB_TRY(tb_eval_forward(&run, eval, &w->sample, w->arena, error));
    bool listed = scene && scene->label == TB_NO_LABEL;
    const int64_t *classes = listed ? scene->classes : scene ? &scene->label : &review->label;
    tiba_status status = find_classes(w, eval, run, classes, listed ? scene->n : 1, error);
    if (status == TIBA_OK) status = explain(w, eval, run, error);
    tiba_run_destroy(run);
    return status;
}

/* -------------------------------------------------------------------- removing */

/* Whether the model still says the target, for rows `first` … of both signs' steps. *apart: the
 * output has a row for each. */
static tiba_status run_rows(bool *right, bool *apart, const tb_eval *eval, const work *w,
                            const int64_t *order, int first, int rows, tb_arena *arena,
                            tiba_error *error) {
    const tb_removal *removal = &w->removal;
    tiba_feed *feeds = NULL;
    TB_TRY(tb_removal_feeds(&feeds, removal, rows, arena, error));
    for (int r = 0; r < rows; r++) {
        int sign = (first + r) / STEPS, step = (first + r) % STEPS + 1;
        int64_t many = (int64_t)(0.1 * step * (double)removal->n + 0.5);
        for (int64_t i = 0; i < many; i++)
            tb_removal_apply(removal, feeds, r, order[sign ? removal->n - 1 - i : i]);
    }
    tb_removal_close(removal, feeds, rows);
    tiba_run *run;
    *apart = false;
    TB_TRY(tiba_run_forward(&run, eval->subject->model, w->sample.n_feeds, feeds,
                            eval->labels.output, error));
    int64_t n;
    *apart = tb_eval_scores(eval, run, rows - 1, &n) && !tb_eval_scores(eval, run, rows, &n);
    for (int r = 0; r < rows && *apart; r++)
        right[first + r] = tb_eval_best(tb_eval_scores(eval, run, r, &n), n) == w->target;
    tiba_run_destroy(run);
    return TIBA_OK;
}

static void set_curves(const tb_eval *eval, const tb_eval_item *item, const work *w, int m, int v,
                       const bool *right) {
    for (int sign = 0; sign < SIGNS; sign++) {
        double area = 0, before = w->correct;
        int curve = v * SIGNS + sign, first = CURVES + curve * POINTS;
        tb_eval_set(eval, item, m, first, 100 * before);
        for (int s = 0; s < STEPS; s++) {
            double now = right[sign * STEPS + s];
            area += 0.1 * 0.5 * (before + now);
            before = now;
            tb_eval_set(eval, item, m, first + 1 + s, 100 * now);
        }
        tb_eval_set(eval, item, m, curve, 100 * area);
    }
}

/* All rows; one by one where the file leaves the number of samples open and cannot take several
 * after all. */
static tiba_status run_steps(bool *right, const tb_eval *eval, work *w, const int64_t *order,
                             tiba_error *error) {
    for (int r = 0; r < ROWS;) {
        int rows = w->removal.batches ? ROWS : 1;
        bool apart = false;
        tb_arena *room = tb_arena_create(NULL);
        tiba_status status = room ? run_rows(right, &apart, eval, w, order, r, rows, room, error)
                                  : tb_out_of_memory(error);
        tb_arena_destroy(room);
        if (status == TIBA_ERROR_RESOURCE || (rows == 1 && status != TIBA_OK)) return status;
        if (rows == 1 && !apart)
            return tb_fail(error, TIBA_ERROR_INPUT, "the model's output is no class vector");
        if (!apart) w->removal.batches = false;
        if (apart) r += rows;
    }
    return TIBA_OK;
}

static tiba_status remove_parts(const tb_eval *eval, const tb_eval_item *item, work *w,
                                tb_arena *arena, tiba_error *error) {
    int64_t n = w->removal.n;
    double *values = TB_NEW(arena, double, n + 1);
    int64_t *order = TB_NEW(arena, int64_t, n + 1);
    if (!values || !order) return tb_out_of_memory(error);
    for (int m = 0; m < eval->n_methods; m++) {
        bool right[ROWS];
        for (int v = 0; v < VARIANTS; v++) {
            const float *scores = w->scores[m][v];
            for (int64_t i = 0; scores && i < n; i++) values[i] = (double)scores[i];
            if (scores) TB_TRY(tb_order(order, values, n, error));
            if (scores) TB_TRY(run_steps(right, eval, w, order, error));
            if (w->scores[m][0]) set_curves(eval, item, w, m, v, right);
        }
    }
    return TIBA_OK;
}

static tiba_status measure_work(tb_eval *eval, int unit, work *w, tiba_error *error) {
    tb_eval_item *item;
    TB_TRY(start(w, eval, unit, error));
    TB_TRY(tb_eval_add(&item, eval, w->name, w->correct, error));
    return remove_parts(eval, item, w, w->arena, error);
}

static tiba_status measure(tb_eval *eval, int unit, tiba_error *error) {
    work *w = tb_calloc(NULL, 1, sizeof *w);
    if (w) w->arena = tb_arena_create(NULL);
    tiba_status status =
        w && w->arena ? measure_work(eval, unit, w, error) : tb_out_of_memory(error);
    if (w) tb_arena_destroy(w->arena);
    tb_free(w);
    return status;
}

/* -------------------------------------------------------------------- the data */

static tiba_status make_metrics(tb_eval *eval, tiba_error *error) {
    int n = CURVES * (POINTS + 1);
    tb_eval_metric *list = TB_NEW(eval->arena, tb_eval_metric, n);
    if (!list) return tb_out_of_memory(error);
    for (int c = 0; c < CURVES; c++) {
        const char *sign = signs[c % SIGNS], *variant = variants[c / SIGNS];
        list[c] = (tb_eval_metric){
            .name = tb_arena_format(eval->arena, "%s; %s", sign, variant),
            .summary = c % SIGNS ? "area under accuracy, the least relevant first: higher is better"
                                 : "area under accuracy, the most relevant first: lower is better",
            .shown = true};
        for (int p = 0; p < POINTS; p++)
            list[CURVES + c * POINTS + p] = (tb_eval_metric){
                .name = tb_arena_format(eval->arena, "%s; %s; %d %%", sign, variant, 10 * p),
                .summary = "accuracy, in %",
                .curve = list[c].name,
                .x = 10 * p,
                .axis = "removed, in %"};
    }
    for (int k = 0; k < n; k++)
        if (!list[k].name) return tb_out_of_memory(error);
    eval->metrics = list;
    eval->n_metrics = n;
    return TIBA_OK;
}

static tiba_status open_data(tb_eval *eval, tiba_error *error) {
    data *d = TB_NEW(eval->arena, data, 1);
    if (!d) return tb_out_of_memory(error);
    eval->state = d;
    TB_TRY(make_metrics(eval, error));
    if (eval->drop && !tb_eval_is_text(eval))
        return tb_fail(error, TIBA_ERROR_USAGE, "--drop is for texts: %s is none", eval->data);
    if (tb_eval_is_text(eval)) return tb_reviews_read(&d->reviews, &eval->n_units, eval, error);
    return tb_scenes_read(&d->scenes, &eval->n_units, eval, error);
}

const tb_eval_kind tb_eval_perturbation = {
    "perturbation", "accuracy as more and more of the input is removed, by relevance", open_data,
    measure};
