/*
 * eval_perturbation.c: does the score fall when what a method calls relevant is removed? Pixels are
 * set to 0 before normalisation, tokens are replaced by the mask token, in steps of 10 % from 0 to
 * 90 %: the most relevant first (positive) or the least relevant first (negative). The number is
 * the area under accuracy against the fraction removed, by the trapezoid rule, times 100.
 */
#include <math.h>
#include <string.h>

#include "tools/eval.h"

enum { STEPS = 9, SIGNS = 2, VARIANTS = 2, CURVES = SIGNS * VARIANTS, ROWS = SIGNS * STEPS };
static const char *const signs[SIGNS] = {"positive", "negative"};
static const char *const variants[VARIANTS] = {"predicted class", "target class"};

/* A picture or text whose units (pixels, tokens) are removed. */
typedef struct work {
    tb_arena *arena;
    tb_sample sample;
    const char *name;
    int feed;                        /* that the units are elements of */
    int64_t n;                       /* units */
    const int64_t *tokens;           /* [n] of a text; NULL: a picture */
    int64_t mask;                    /* id */
    int64_t channels, step, channel; /* of a picture: strides of a pixel and of a channel */
    float fill[3];
    int64_t explained[VARIANTS], target; /* classes */
    bool correct;
    float *scores[TB_MOST_METHODS][VARIANTS]; /* [n] relevance; NULL: none */
} work;

/* -------------------------------------------------------------------- units */

static tiba_status picture_units(work *w, const tb_eval *eval, tiba_error *error) {
    const tb_geometry *g = &w->sample.geometry;
    tb_preprocess how;
    TB_TRY(tb_preprocess_load(&how, w->arena, eval->subject->folder, g->height, g->width, error));
    while (strcmp(w->sample.feeds[w->feed].name, w->sample.image_input) != 0) w->feed++;
    const tiba_tensor *t = &w->sample.feeds[w->feed].tensor;
    bool last = t->dims[3] == 3 && t->dims[1] != 3;
    w->n = (int64_t)g->height * g->width;
    w->channels = last ? t->dims[3] : t->dims[1];
    w->step = last ? w->channels : 1;
    w->channel = last ? 1 : w->n;
    for (int c = 0; c < 3; c++) w->fill[c] = how.normalize ? -how.mean[c] / how.std[c] : 0.0f;
    return TIBA_OK;
}

/* The id that stands for a word that is not there. */
static int64_t mask_id(const tb_tokenizer *tokenizer) {
    static const char *const names[] = {"[MASK]", "<mask>", "[UNK]", "<unk>"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (size_t i = 0; i < tb_tokenizer_vocab_size(tokenizer); i++) {
            tb_text token = tb_tokenizer_token(tokenizer, (int64_t)i);
            if (token.size == strlen(names[k]) && memcmp(token.data, names[k], token.size) == 0)
                return (int64_t)i;
        }
    int64_t pad = tb_tokenizer_pad_id(tokenizer);
    return pad < 0 ? 0 : pad;
}

static tiba_status text_units(work *w, const tb_eval *eval, tiba_error *error) {
    const tb_encoding *e = &w->sample.encodings[0];
    int64_t *tokens = TB_NEW(w->arena, int64_t, e->count + 1);
    if (!tokens) return tb_out_of_memory(error);
    while (strcmp(w->sample.feeds[w->feed].name, w->sample.text_input) != 0) w->feed++;
    for (size_t i = 0; i < e->count; i++)
        if (!e->special_tokens[i]) tokens[w->n++] = (int64_t)i;
    w->tokens = tokens;
    w->mask = mask_id(eval->subject->tokenizer);
    return TIBA_OK;
}

static void remove_unit(const work *w, tiba_tensor *batch, int64_t row, int64_t unit) {
    int64_t each = tb_tensor_count(batch) / batch->dims[0];
    if (w->tokens) {
        tb_set_i64(batch, row * each + w->tokens[unit], w->mask);
        return;
    }
    float *x = (float *)batch->data + row * each + unit * w->step;
    for (int64_t c = 0; c < w->channels; c++) x[c * w->channel] = w->fill[c < 3 ? c : 2];
}

/* -------------------------------------------------------------------- explaining */

static tiba_status unit_scores(float **out, const work *w, const tiba_result *result,
                               tiba_error *error) {
    if (!w->tokens) return tb_eval_map(out, w->arena, result, &w->sample, error);
    for (int t = 0; t < tiba_result_towers(result); t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        if (strcmp(tower->input, w->sample.text_input) != 0) continue;
        *out = TB_NEW(w->arena, float, w->n + 1);
        if (!*out) return tb_out_of_memory(error);
        for (int64_t i = 0; i < w->n; i++) (*out)[i] = tower->relevance[w->tokens[i]];
        return TIBA_OK;
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "the model has no text tower");
}

static tiba_status explain_work(work *w, tb_eval *eval, tiba_run *run, const int64_t *classes,
                                int n_classes, tiba_error *error) {
    int64_t n;
    const float *scores = tb_eval_scores(run, 0, &n);
    if (!scores) return tb_fail(error, TIBA_ERROR_INPUT, "the model's output is no class vector");
    w->target = -1; /* of several right answers the one that the model finds likeliest */
    for (int k = 0; k < n_classes; k++) {
        if (classes[k] >= n)
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: the model has no class %lld", w->name,
                           (long long)classes[k]);
        if (w->target < 0 || scores[classes[k]] > scores[w->target]) w->target = classes[k];
    }
    w->explained[0] = tb_eval_best(scores, n);
    w->explained[1] = w->target;
    w->correct = w->explained[0] == w->target;
    for (int m = 0; m < eval->n_methods; m++)
        for (int v = 0; v < VARIANTS; v++) {
            if (v && w->correct) {
                w->scores[m][v] = w->scores[m][0];
                continue;
            }
            tiba_result *result;
            TB_TRY(tb_eval_explain(&result, eval, m, run, w->explained[v], error));
            if (!result) continue;
            tiba_status status = unit_scores(&w->scores[m][v], w, result, error);
            tiba_result_destroy(result);
            TB_TRY(status);
        }
    return TIBA_OK;
}

static tiba_status start_work(work *w, tb_eval *eval, const tb_scene *scene,
                              const tb_review *review, tiba_error *error) {
    w->arena = tb_arena_create(NULL);
    if (!w->arena) return tb_out_of_memory(error);
    tiba_run *run = NULL;
    if (scene) {
        w->name = scene->name;
        TB_TRY(tb_subject_sample(&w->sample, eval->subject, w->arena, 1, &scene->path, error));
        TB_TRY(picture_units(w, eval, error));
    } else {
        TB_TRY(tb_subject_sample_texts(&w->sample, eval->subject, w->arena, 0, NULL, 1,
                                       &review->text, error));
        TB_TRY(text_units(w, eval, error));
    }
    TB_TRY(tiba_run_create(&run, eval->subject->model, w->sample.n_feeds, w->sample.feeds, NULL,
                           error));
    tiba_status status = explain_work(w, eval, run, scene ? scene->classes : &review->label,
                                      scene ? scene->n : 1, error);
    tiba_run_destroy(run);
    return status;
}

/* -------------------------------------------------------------------- removing */

/* The work's feeds `rows` times over. */
static tiba_status repeat_feeds(tiba_feed **out, const work *w, int64_t rows, tb_arena *arena,
                                tiba_error *error) {
    tiba_feed *feeds = TB_NEW(arena, tiba_feed, w->sample.n_feeds);
    if (!feeds) return tb_out_of_memory(error);
    for (int i = 0; i < w->sample.n_feeds; i++) {
        const tiba_tensor *from = &w->sample.feeds[i].tensor;
        int64_t dims[TIBA_MAX_RANK];
        memcpy(dims, from->dims, sizeof dims);
        dims[0] *= rows;
        feeds[i].name = w->sample.feeds[i].name;
        TB_TRY(tb_tensor_create(&feeds[i].tensor, arena, from->dtype, from->rank, dims, error));
        size_t bytes = tb_tensor_bytes(from);
        for (int64_t r = 0; r < rows; r++)
            memcpy((char *)feeds[i].tensor.data + (size_t)r * bytes, from->data, bytes);
    }
    *out = feeds;
    return TIBA_OK;
}

/* Whether the model still says the target, for rows `first` … of both signs' steps. */
static tiba_status run_rows(bool *right, tb_eval *eval, const work *w, const int64_t *order,
                            int first, int rows, tb_arena *arena, tiba_error *error) {
    tiba_feed *feeds = NULL;
    TB_TRY(repeat_feeds(&feeds, w, rows, arena, error));
    for (int r = 0; r < rows; r++) {
        int sign = (first + r) / STEPS, step = (first + r) % STEPS + 1;
        int64_t many = (int64_t)(0.1 * step * (double)w->n + 0.5);
        for (int64_t i = 0; i < many; i++)
            remove_unit(w, &feeds[w->feed].tensor, r, order[sign ? w->n - 1 - i : i]);
    }
    tiba_run *run;
    TB_TRY(tiba_run_create(&run, eval->subject->model, w->sample.n_feeds, feeds, NULL, error));
    for (int r = 0; r < rows; r++) {
        int64_t n;
        const float *scores = tb_eval_scores(run, r, &n);
        right[first + r] = scores && tb_eval_best(scores, n) == w->target;
    }
    tiba_run_destroy(run);
    return TIBA_OK;
}

static void set_curves(const tb_eval *eval, const tb_eval_item *item, const work *w, int m, int v,
                       const bool *right) {
    for (int sign = 0; sign < SIGNS; sign++) {
        double area = 0, before = w->correct;
        int curve = v * SIGNS + sign;
        for (int s = 0; s < STEPS; s++) {
            double now = right[sign * STEPS + s];
            area += 0.1 * 0.5 * (before + now);
            before = now;
            tb_eval_set(eval, item, m, CURVES + curve * STEPS + s, 100 * now);
        }
        tb_eval_set(eval, item, m, curve, 100 * area);
    }
}

static tiba_status remove_all(tb_eval *eval, const tb_eval_item *item, const work *w,
                              tb_arena *arena, tiba_error *error) {
    /* a graph that was exported for one sample gets one at a time */
    tiba_port port = {0};
    for (int i = 0; i < tiba_model_inputs(eval->subject->model); i++) {
        tiba_port at = tiba_model_input(eval->subject->model, i);
        if (strcmp(at.name, w->sample.feeds[w->feed].name) == 0) port = at;
    }
    int rows = port.rank > 0 && port.dims[0] > 0 ? 1 : ROWS;
    double *values = TB_NEW(arena, double, w->n + 1);
    int64_t *order = TB_NEW(arena, int64_t, w->n + 1);
    if (!values || !order) return tb_out_of_memory(error);
    for (int m = 0; m < eval->n_methods; m++)
        for (int v = 0; v < VARIANTS; v++) {
            bool right[ROWS];
            if (!w->scores[m][v]) continue;
            if (v && w->correct) { /* the same class */
                for (int k = 0; k < eval->n_metrics; k++) {
                    int curve = k < CURVES ? k : (k - CURVES) / STEPS;
                    int back = k < CURVES ? SIGNS : SIGNS * STEPS;
                    if (curve >= SIGNS)
                        *tb_eval_at(eval, item, m, k) = *tb_eval_at(eval, item, m, k - back);
                }
                continue;
            }
            for (int64_t i = 0; i < w->n; i++) values[i] = (double)w->scores[m][v][i];
            TB_TRY(tb_eval_order(order, values, w->n, error));
            for (int r = 0; r < ROWS; r += rows)
                TB_TRY(run_rows(right, eval, w, order, r, rows, arena, error));
            set_curves(eval, item, w, m, v, right);
        }
    return TIBA_OK;
}

static tiba_status make_metrics(tb_eval *eval, tiba_error *error) {
    tb_eval_metric *list = TB_NEW(eval->arena, tb_eval_metric, CURVES * (STEPS + 1));
    if (!list) return tb_out_of_memory(error);
    for (int c = 0; c < CURVES; c++) {
        const char *sign = signs[c % SIGNS], *variant = variants[c / SIGNS];
        list[c] = (tb_eval_metric){
            tb_arena_format(eval->arena, "%s; %s", sign, variant),
            c % SIGNS ? "area under accuracy, the least relevant first: higher is better"
                      : "area under accuracy, the most relevant first: lower is better",
            1, true};
        for (int s = 0; s < STEPS; s++)
            list[CURVES + c * STEPS + s] = (tb_eval_metric){
                tb_arena_format(eval->arena, "%s; %s; %d %%", sign, variant, 10 * (s + 1)),
                "accuracy, in %", 1, false};
    }
    for (int k = 0; k < CURVES * (STEPS + 1); k++)
        if (!list[k].name) return tb_out_of_memory(error);
    eval->metrics = list;
    eval->n_metrics = CURVES * (STEPS + 1);
    return TIBA_OK;
}

static tiba_status run_works(tb_eval *eval, work *works, int count, const tb_scene *scenes,
                             const tb_review *reviews, tiba_error *error) {
    /* first all explanations, then all removals: each has a plan of its own, used again */
    for (int i = 0; i < count; i++)
        TB_TRY(start_work(&works[i], eval, scenes ? &scenes[i] : NULL, reviews ? &reviews[i] : NULL,
                          error));
    for (int i = 0; i < count; i++) {
        tb_eval_item *item;
        TB_TRY(tb_eval_add(&item, eval, works[i].name, works[i].correct, error));
        tb_arena *arena = tb_arena_create(NULL);
        tiba_status status =
            arena ? remove_all(eval, item, &works[i], arena, error) : tb_out_of_memory(error);
        tb_arena_destroy(arena);
        TB_TRY(status);
    }
    return TIBA_OK;
}

tiba_status tb_eval_perturbation(tb_eval *eval, tiba_error *error) {
    tb_scene *scenes = NULL;
    tb_review *reviews = NULL;
    int count;
    TB_TRY(make_metrics(eval, error));
    if (tb_eval_is_text(eval))
        TB_TRY(tb_reviews_read(&reviews, &count, eval, error));
    else
        TB_TRY(tb_scenes_read(&scenes, &count, eval, error));
    work *works = TB_NEW(eval->arena, work, count);
    if (!works) return tb_out_of_memory(error);
    for (int i = 0; reviews && i < count; i++) {
        works[i].name = tb_arena_format(eval->arena, "text %d", i + 1);
        if (!works[i].name) return tb_out_of_memory(error);
    }
    tiba_status status = run_works(eval, works, count, scenes, reviews, error);
    for (int i = 0; i < count; i++) tb_arena_destroy(works[i].arena);
    return status;
}
