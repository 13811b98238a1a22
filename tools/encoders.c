/*
 * encoders.c: pictures and texts that have a graph each: runs both, takes the cosine of their
 * embeddings for the score, and starts the explanations from it as the relevance rules would inside
 * one graph. docs/method.md ("Pairs") defines every number.
 */
#include <string.h>

#include "tools/embedding.h"
#include "tools/explain_job.h"

/* One side of the scores. */
typedef struct vectors {
    tiba_run *run;
    const float *data; /* [n, size] */
    int64_t n, size;
} vectors;

/* What is explained and what it is made of. */
typedef struct encoders {
    tb_job *job;
    double scale;
    vectors image, texts;
} encoders;

/* A text's part in what is explained: the score itself, or its share of a difference. */
typedef struct term {
    int64_t text;
    double gradient, relevance;
} term;

/* -------------------------------------------------------------------- embeddings */

const char *tb_encoder_output(const tb_subject *subject, const tb_subject *other,
                              const char *wanted) {
    if (wanted && (tb_has_output(subject->model, wanted) || !tb_has_output(other->model, wanted)))
        return wanted;
    const char *usual = tb_embedding_output(subject->model), *only = NULL;
    for (int i = 0; !usual && i < tiba_model_outputs(subject->model); i++) {
        tiba_port port = tiba_model_output(subject->model, i);
        if (port.rank != 2) continue;
        if (only) return NULL;
        only = port.name;
    }
    return usual ? usual : only;
}

/* Runs an encoder on its sample. */
static tiba_status encode(vectors *out, tb_job *job, int slot, const tb_subject *subject,
                          const tb_subject *other, const tb_sample *sample, tiba_error *error) {
    const char *name = tb_encoder_output(subject, other, job->options->output);
    TB_TRY(tb_job_forward(job, slot, subject, sample, name, error));
    out->run = job->runs[slot];
    int index = tiba_run_explained_output(out->run);
    tiba_tensor y = tiba_run_output(out->run, index);
    if (y.rank != 2)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "%s: output '%s' is no embedding [samples, features]; --output names one",
                       subject->path, tiba_model_output(subject->model, index).name);
    out->data = y.data;
    out->n = y.dims[0];
    out->size = y.dims[1];
    return TIBA_OK;
}

/* Sorts the inputs: pictures and arrays go to the picture's encoder, texts to the other. */
static tiba_status make_samples(tb_job *job, int count, const char *const *inputs, int n_texts,
                                const char *const *texts, tiba_error *error) {
    tb_sample *text_sample = &job->partner_sample;
    const char **pictures = TB_NEW(job->arena, const char *, count);
    const char **all = TB_NEW(job->arena, const char *, count + n_texts);
    int n_pictures = 0, n = 0;
    if (!pictures || !all) return tb_out_of_memory(error);
    for (int i = 0; i < count; i++) {
        if (tb_is_picture_name(inputs[i]))
            pictures[n_pictures++] = inputs[i];
        else
            all[n++] = inputs[i];
    }
    for (int i = 0; i < n_texts; i++) all[n++] = texts[i];
    if (n_pictures != 1 || n == 0)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "two encoders compare one picture with texts: give one picture and at least "
                       "one text (--text)");
    TB_TRY(tb_job_sample(&job->sample, job, job->subject, 1, pictures, 0, NULL, error));
    TB_TRY(tb_job_sample(text_sample, job, job->subject->partner, 0, NULL, n, all, error));
    job->sample.n_texts = text_sample->n_texts;
    job->sample.texts = text_sample->texts;
    job->sample.encodings = text_sample->encodings;
    job->sample.text_input = text_sample->text_input;
    return TIBA_OK;
}

static tiba_status check_sizes(const encoders *e, tiba_error *error) {
    if (e->image.n != 1 || e->texts.n != e->job->sample.n_texts)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "the encoders gave %lld embeddings of one picture "
                       "and %lld of %d texts",
                       (long long)e->image.n, (long long)e->texts.n, e->job->sample.n_texts);
    if (e->image.size == e->texts.size) return TIBA_OK;
    return tb_fail(
        error, TIBA_ERROR_INPUT,
        "the two encoders' embeddings have %lld and %lld features; --output names others",
        (long long)e->image.size, (long long)e->texts.size);
}

static double score(const encoders *e, const vectors *texts, int64_t k) {
    return e->scale * tb_cosine(e->image.data, texts->data + k * texts->size, texts->size);
}

static tiba_status make_scores(const encoders *e, tiba_error *error) {
    tb_report *r = &e->job->report;
    int64_t n = e->texts.n;
    double *logit = TB_NEW(r->arena, double, n);
    r->scores = TB_NEW(r->arena, tb_scores, 1);
    if (!logit || !r->scores) return tb_out_of_memory(error);
    for (int64_t k = 0; k < n; k++) logit[k] = score(e, &e->texts, k);
    r->run = e->image.run;
    r->text_run = e->texts.run;
    r->kind = TB_KIND_PAIRS;
    r->n_samples = 1;
    r->labels = (tb_labels){.count = n, .names = r->sample->texts};
    tb_report_note(r, tb_arena_format(r->arena,
                                      "scores are %g x the cosine of the two encoders' "
                                      "embeddings; --scale sets the factor",
                                      e->scale));
    return tb_scores_make(r->scores, r->arena, n, logit, r->kind, error);
}

/* -------------------------------------------------------------------- explanations */

/* Explains the terms together at one encoder's own vectors `of`, row `row` (-1: each term's). */
static tiba_status explain_at(const tiba_result **out, const encoders *e, const vectors *of,
                              const vectors *with, const term *terms, int n_terms, bool blocks,
                              tiba_error *error) {
    bool picture = of == &e->image;
    int64_t size = of->size;
    tiba_request request;
    tiba_seed *seeds = tb_arena_alloc(e->job->arena, (size_t)size * (size_t)n_terms, sizeof *seeds);
    if (!seeds) return tb_out_of_memory(error);
    TB_TRY(tb_job_request(&request, e->job, error));
    request.blocks = request.blocks && blocks;
    request.seeds = seeds;
    for (int i = 0; i < n_terms; i++) {
        int64_t text = terms[i].text, own = picture ? 0 : text, its = picture ? text : 0;
        int from = request.n_seeds;
        tb_cosine_seeds(seeds, &request.n_seeds, of->data + own * size, with->data + its * size,
                        size, own * size, e->scale);
        for (int k = from; k < request.n_seeds; k++) {
            seeds[k].gradient *= (float)terms[i].gradient;
            seeds[k].relevance *= (float)terms[i].relevance;
        }
    }
    return tb_job_explain(out, e->job, of->run, 1, &request, error);
}

/* The score of text a, or its lead over text b. */
static void set_difference(term terms[2], int64_t a, double score_a, int64_t b, double score_b) {
    double share = tb_difference_share(score_a, score_b);
    terms[0] = (term){a, 1.0, share};
    terms[1] = (term){b, -1.0, 1.0 - share};
}

static tiba_status name_view(tb_view *v, const tb_report *r, const term *terms, int n_terms,
                             tiba_error *error) {
    const tb_scores *s = &r->scores[0];
    int64_t a = terms[0].text;
    v->label = r->sample->texts[a];
    v->logit = s->logit[a];
    if (s->probability && n_terms == 1) v->probability = s->probability[a];
    v->detail = tb_arena_format(r->arena, "score %.4g", v->logit);
    if (n_terms == 2) {
        v->logit -= s->logit[terms[1].text];
        v->detail = tb_arena_format(r->arena, "score difference %.4g", v->logit);
        v->method_note = tb_arena_format(r->arena, "against '%s'", r->sample->texts[terms[1].text]);
        if (!v->method_note) return tb_out_of_memory(error);
    }
    return v->detail ? TIBA_OK : tb_out_of_memory(error);
}

/* A score or a difference of two, in other runs. */
typedef struct scores {
    tb_scalar scalar;
    const encoders *encoders;
    int n;
    term terms[2];
} scores;

static double read_scores(const tb_scalar *scalar, const tb_changed *changed) {
    const scores *s = (const scores *)scalar;
    const encoders *e = s->encoders;
    tiba_tensor y = tiba_run_output(changed->run, tiba_run_explained_output(changed->run));
    const float *image = e->image.data, *texts = e->texts.data;
    if (changed->partner)
        texts = (const float *)y.data + changed->copy * e->texts.n * e->texts.size;
    else
        image = (const float *)y.data + changed->copy * e->image.size;
    double sum = 0;
    for (int k = 0; k < s->n; k++)
        sum += s->terms[k].gradient *
               tb_cosine(image, texts + s->terms[k].text * e->texts.size, e->texts.size);
    return e->scale * sum;
}

static tiba_status set_scalar(tb_view *view, const encoders *e, const term *terms, int n,
                              tiba_error *error) {
    scores *s = TB_NEW(e->job->arena, scores, 1);
    if (!s) return tb_out_of_memory(error);
    *s = (scores){.scalar.read = read_scores, .encoders = e, .n = n};
    memcpy(s->terms, terms, (size_t)n * sizeof *terms);
    view->scalar = &s->scalar;
    return TIBA_OK;
}

static tiba_status add_view(const encoders *e, const term *terms, int n_terms, tiba_error *error) {
    tb_report *r = &e->job->report;
    const tiba_result *of_picture, *of_text[2];
    TB_TRY(explain_at(&of_picture, e, &e->image, &e->texts, terms, n_terms, true, error));
    for (int i = 0; i < n_terms; i++)
        TB_TRY(explain_at(&of_text[i], e, &e->texts, &e->image, terms + i, 1, true, error));
    tb_view *view;
    TB_TRY(tb_report_view(&view, r, of_picture, 0, -1, error));
    TB_TRY(tb_view_add_towers(view, r, of_text[0], (int)terms[0].text, error));
    if (n_terms == 2) TB_TRY(tb_view_other(view, r, of_text[1], (int)terms[1].text, error));
    TB_TRY(set_scalar(view, e, terms, n_terms, error));
    return name_view(view, r, terms, n_terms, error);
}

static tiba_status add_contrast(const encoders *e, int64_t chosen, tiba_error *error) {
    const double *logit = e->job->report.scores[0].logit;
    int64_t other = tb_pairs_find(e->job, e->job->options->contrast);
    term terms[2];
    if (chosen == other)
        return tb_fail(error, TIBA_ERROR_USAGE, "--contrast: the text is the chosen one itself");
    set_difference(terms, chosen, logit[chosen], other, logit[other]);
    return add_view(e, terms, 2, error);
}

/* What each word of the chosen text adds, and where: only the text's encoder runs again. */
static tiba_status add_table(const encoders *e, int64_t chosen, tiba_error *error) {
    tb_job *job = e->job;
    const char **texts;
    tb_sample *sample = TB_NEW(job->arena, tb_sample, 1);
    vectors without;
    if (!sample) return tb_out_of_memory(error);
    TB_TRY(tb_table_texts(&texts, job, chosen, error));
    int rows = job->report.n_rows;
    tb_subject *partner = job->subject->partner;
    TB_TRY(tb_job_sample(sample, job, partner, 0, NULL, rows + 1, texts, error));
    TB_TRY(encode(&without, job, 1, partner, job->subject, sample, error));
    double full = score(e, &without, 0);
    for (int i = 0; i < rows; i++) {
        double less = score(e, &without, i + 1);
        const tiba_result *result;
        term terms[2];
        set_difference(terms, 0, full, i + 1, less);
        TB_TRY(explain_at(&result, e, &e->image, &without, terms, 2, false, error));
        TB_TRY(tb_table_fill(job, i, result, full - less, error));
    }
    return TIBA_OK;
}

tiba_status tb_encoders_views(tb_job *job, tiba_error *error) {
    const encoders *e = job->ends;
    const tb_job_options *o = job->options;
    int64_t chosen, *wanted;
    int n;
    TB_TRY(tb_pairs_chosen(&chosen, job, error));
    TB_TRY(tb_job_wanted(&wanted, &n, job, error));
    if (o->contrast) {
        TB_TRY(add_contrast(e, chosen, error));
    } else if (n > 0) {
        for (int i = 0; i < n; i++) {
            term whole = {wanted[i], 1.0, 1.0};
            TB_TRY(add_view(e, &whole, 1, error));
        }
        chosen = wanted[0];
    } else {
        term whole = {chosen, 1.0, 1.0};
        TB_TRY(add_view(e, &whole, 1, error));
    }
    return o->table ? add_table(e, chosen, error) : TIBA_OK;
}

tiba_status tb_encoders_prepare(tb_job *job, int count, const char *const *inputs, int n_texts,
                                const char *const *texts, tiba_error *error) {
    const tb_job_options *o = job->options;
    encoders *e = TB_NEW(job->arena, encoders, 1);
    if (!e) return tb_out_of_memory(error);
    *e = (encoders){.job = job, .scale = o->scale > 0.0 ? o->scale : 100.0};
    job->ends = e;
    if (o->target)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--target: the score of two encoders is no output of either graph; --choose "
                       "or --class says which text to explain");
    TB_TRY(make_samples(job, count, inputs, n_texts, texts, error));
    const tb_subject *vision = job->subject, *text = vision->partner;
    TB_TRY(encode(&e->image, job, 0, vision, text, &job->sample, error));
    TB_TRY(encode(&e->texts, job, 2, text, vision, &job->partner_sample, error));
    TB_TRY(check_sizes(e, error));
    return make_scores(e, error);
}
