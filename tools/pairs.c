/*
 * pairs.c: scores of a picture and texts: the difference of two scores, what each word adds, and
 * graphs that hold one encoder each. docs/method.md ("Pairs") defines every number.
 */
#include <math.h>
#include <string.h>

#include "io/heatmap.h"
#include "tools/explain_job.h"

/* -------------------------------------------------------------------- differences */

/* d = a - b as the relevance rules treat a Sub of two activations: gradient +1 and -1, relevance
 * 1 shared by magnitude. */
static void difference_seeds(tiba_seed seeds[2], int64_t at_a, double a, int64_t at_b, double b) {
    double sum = fabs(a) + fabs(b), share = sum > 0.0 ? fabs(a) / sum : 0.5;
    seeds[0] = (tiba_seed){at_a, 1.0f, (float)share};
    seeds[1] = (tiba_seed){at_b, -1.0f, (float)(1.0 - share)};
}

/* Puts the text towers of `result` in the place of the view's. */
static void show_texts_of(tb_view *view, const tiba_result *result, const char *input) {
    for (int k = 0; k < view->n_towers; k++)
        for (int t = 0; t < tiba_result_towers(result); t++)
            if (strcmp(view->towers[k].tower->input, input) == 0 &&
                strcmp(tiba_result_tower(result, t)->input, input) == 0)
                view->towers[k].tower = tiba_result_tower(result, t);
}

tiba_status tb_pairs_contrast(tb_job *job, int64_t chosen, int64_t other, tiba_error *error) {
    tb_report *r = &job->report;
    const double *logit = r->scores[0].logit;
    if (chosen == other)
        return tb_fail(error, TIBA_ERROR_USAGE, "--contrast: the text is the chosen one itself");
    tiba_seed seeds[2];
    difference_seeds(seeds, chosen, logit[chosen], other, logit[other]);
    tiba_request requests[3];
    TB_TRY(tb_job_request(&requests[0], job, error));
    for (int k = 0; k < 2; k++) { /* each text on its own: sums over a sample must not mix them */
        requests[1 + k] = requests[0];
        requests[1 + k].n_seeds = 1;
        requests[1 + k].seeds = seeds + k;
    }
    requests[0].n_seeds = 2;
    requests[0].seeds = seeds;
    const tiba_result *results[3], *of_both, *const *of_one = results + 1;
    TB_TRY(tb_job_explain(results, job, job->runs[0], 3, requests, error));
    of_both = results[0];
    tb_view *view;
    TB_TRY(tb_report_view(&view, r, of_both, 0, (int)chosen, error));
    TB_TRY(tb_report_words(&view->words, r, of_one[0], 0, (int)chosen, error));
    TB_TRY(tb_report_words(&view->other, r, of_one[1], 0, (int)other, error));
    show_texts_of(view, of_one[0], r->sample->text_input);
    view->label = r->sample->texts[chosen];
    view->logit = logit[chosen] - logit[other];
    view->detail = tb_arena_format(job->arena, "score difference %.4g", view->logit);
    view->method_note = tb_arena_format(job->arena, "against '%s'", r->sample->texts[other]);
    return view->detail && view->method_note ? TIBA_OK : tb_out_of_memory(error);
}

/* -------------------------------------------------------------------- words on the picture */

/* The text without bytes [start, end) and without the blank that they leave doubled. */
static const char *leave_out(tb_arena *arena, const char *text, size_t start, size_t end) {
    while (text[end] == ' ') end++;
    if (text[end] == '\0')
        while (start > 0 && text[start - 1] == ' ') start--;
    return tb_arena_format(arena, "%.*s%s", (int)start, text, text + end);
}

static tiba_status add_row(tb_job *job, tiba_run *run, int64_t row, const tb_scores *scores,
                           tiba_error *error) {
    tb_report *r = &job->report;
    tb_table_row *to = &r->rows[row];
    double full = scores->logit[0], less = scores->logit[row + 1];
    tiba_seed seeds[2];
    difference_seeds(seeds, 0, full, row + 1, less);
    tiba_request request;
    TB_TRY(tb_job_request(&request, job, error));
    request.blocks = 0;
    request.n_seeds = 2;
    request.seeds = seeds;
    const tiba_result *result;
    TB_TRY(tb_job_explain(&result, job, run, 1, &request, error));
    const tiba_tower *tower = tb_image_tower(result, r->sample->image_input);
    if (!tower) return tb_fail(error, TIBA_ERROR_INPUT, "--table: the picture has no patch grid");
    to->share = full - less;
    to->grid = tb_patch_grid(tower, 0);
    tb_heatmap_range(&to->low, &to->high, to->grid, (size_t)(tower->rows * tower->columns));
    return TIBA_OK;
}

tiba_status tb_pairs_table(tb_job *job, int64_t chosen, const char *picture, tiba_error *error) {
    tb_report *r = &job->report;
    const tb_words *words = r->n_views ? r->views[0].words : NULL;
    if (!words || !picture)
        return tb_fail(error, TIBA_ERROR_INPUT, "--table wants a picture file and a text");
    int n = words->n_words;
    const char **texts = TB_NEW(job->arena, const char *, n + 1);
    r->rows = TB_NEW(job->arena, tb_table_row, n);
    tb_sample *sample = TB_NEW(job->arena, tb_sample, 1);
    if (!texts || !r->rows || !sample) return tb_out_of_memory(error);
    texts[0] = r->sample->texts[chosen];
    int rows = 0;
    for (int i = 0; i < n; i++) {
        tb_offsets at = words->words[i].at_utf8;
        const char *without = leave_out(job->arena, texts[0], at.start, at.end);
        if (!without) return tb_out_of_memory(error);
        if (n == 1) return tb_fail(error, TIBA_ERROR_USAGE, "--table: the text is a single word");
        texts[rows + 1] = without;
        r->rows[rows++] = (tb_table_row){.word = &words->words[i], .without = without};
    }
    TB_TRY(tb_job_sample(sample, job, job->subject, 1, &picture, rows + 1, texts, error));
    TB_TRY(tb_job_forward(job, 1, job->subject, sample, job->options->output, error));
    tb_report beside = {
        .arena = job->arena, .subject = job->subject, .sample = sample, .run = job->runs[1]};
    TB_TRY(tb_report_scores(&beside, error));
    if (beside.kind != TB_KIND_PAIRS)
        return tb_fail(error, TIBA_ERROR_INPUT, "--table: the output is no score of pairs");
    for (int i = 0; i < rows; i++) TB_TRY(add_row(job, job->runs[1], i, &beside.scores[0], error));
    r->n_rows = rows;
    return TIBA_OK;
}

/* -------------------------------------------------------------------- separate encoders */

double tb_cosine(const float *a, const float *b, int64_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0.0 && bb > 0.0 ? ab / sqrt(aa * bb) : 0.0;
}

void tb_cosine_seeds(tiba_seed *seeds, int *count, const float *a, const float *b, int64_t n,
                     int64_t first, double scale) {
    double aa = 0, bb = 0, cosine = tb_cosine(a, b, n);
    for (int64_t i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    double la = sqrt(aa), lb = sqrt(bb);
    for (int64_t i = 0; i < n; i++) {
        double x = la > 0.0 ? (double)a[i] / la : 0.0, y = lb > 0.0 ? (double)b[i] / lb : 0.0;
        double gradient = la > 0.0 ? scale * (y - cosine * x) / la : 0.0;
        /* the rule of a product of two activations, then of the division by the norm */
        double relevance = cosine != 0.0 ? 0.5 * x * y / cosine : 0.0;
        seeds[(*count)++] = (tiba_seed){first + i, (float)gradient, (float)relevance};
    }
}

/* An encoder's [rows, D] embedding: its output of that name, or the first of two axes. */
static tiba_status embedding(tiba_tensor *out, tiba_run *run, const tb_subject *subject,
                             tiba_error *error) {
    int index = tiba_run_explained_output(run);
    *out = tiba_run_output(run, index);
    if (out->rank == 2) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "%s: output '%s' is no embedding [samples, features]; --output names one",
                   subject->path, tiba_model_output(subject->model, index).name);
}

static const char *embedding_name(const tb_subject *subject, const char *wanted) {
    if (wanted) return wanted;
    for (int i = 0; i < tiba_model_outputs(subject->model); i++) {
        const char *name = tiba_model_output(subject->model, i).name;
        if (strstr(name, "embeds") || strcmp(name, "sentence_embedding") == 0) return name;
    }
    return NULL;
}

/* Runs an encoder on its sample. */
static tiba_status encode(tb_job *job, int slot, tb_subject *subject, const tb_sample *sample,
                          tiba_tensor *out, tiba_error *error) {
    TB_TRY(tb_job_forward(job, slot, subject, sample, embedding_name(subject, job->options->output),
                          error));
    return embedding(out, job->runs[slot], subject, error);
}

/* Sorts the inputs: pictures and arrays go to the picture's encoder, texts to the other. */
static tiba_status make_samples(tb_job *job, tb_sample *text_sample, int count,
                                const char *const *inputs, int n_texts, const char *const *texts,
                                tiba_error *error) {
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

/* One encoder's seeds for the scores of `chosen` (and, minus that, of `other` where >= 0). */
typedef struct weighted {
    int64_t text;
    double gradient, relevance;
} weighted;

static void add_weighted(tiba_seed *seeds, int *n, const float *a, const float *b, int64_t size,
                         int64_t first, double scale, weighted w) {
    int from = *n;
    tb_cosine_seeds(seeds, n, a, b, size, first, scale);
    for (int i = from; i < *n; i++) {
        seeds[i].gradient *= (float)w.gradient;
        seeds[i].relevance *= (float)w.relevance;
    }
}

static tiba_status explain_separate(tb_job *job, const tiba_tensor *image, const tiba_tensor *texts,
                                    const weighted *terms, int n_terms, double scale,
                                    tiba_error *error) {
    int64_t size = image->dims[1];
    tiba_seed *seeds = tb_arena_alloc(job->arena, (size_t)size * (size_t)n_terms, sizeof *seeds);
    tiba_request request;
    if (!seeds) return tb_out_of_memory(error);
    TB_TRY(tb_job_request(&request, job, error));
    request.seeds = seeds;
    const float *t = texts->data;
    for (int i = 0; i < n_terms; i++)
        add_weighted(seeds, &request.n_seeds, image->data, t + terms[i].text * size, size, 0, scale,
                     terms[i]);
    const tiba_result *result, *of_text[2];
    TB_TRY(tb_job_explain(&result, job, job->runs[0], 1, &request, error));
    for (int i = 0; i < n_terms; i++) {
        request.n_seeds = 0;
        add_weighted(seeds, &request.n_seeds, t + terms[i].text * size, image->data, size,
                     terms[i].text * size, scale, terms[i]);
        TB_TRY(tb_job_explain(&of_text[i], job, job->runs[2], 1, &request, error));
    }
    tb_view *view;
    TB_TRY(tb_report_view(&view, &job->report, result, 0, -1, error));
    TB_TRY(tb_view_add_towers(view, &job->report, of_text[0], (int)terms[0].text, error));
    if (n_terms == 2)
        TB_TRY(
            tb_report_words(&view->other, &job->report, of_text[1], 0, (int)terms[1].text, error));
    return TIBA_OK;
}

static tiba_status name_separate(tb_job *job, const weighted *terms, int n_terms,
                                 tiba_error *error) {
    tb_report *r = &job->report;
    const tb_scores *s = &r->scores[0];
    tb_view *v = &r->views[0];
    int64_t a = terms[0].text;
    v->label = r->sample->texts[a];
    v->logit = s->logit[a];
    if (s->probability && n_terms == 1) v->probability = s->probability[a];
    v->detail = tb_arena_format(job->arena, "score %.4g", v->logit);
    if (n_terms == 2) {
        v->logit -= s->logit[terms[1].text];
        v->detail = tb_arena_format(job->arena, "score difference %.4g", v->logit);
        v->method_note =
            tb_arena_format(job->arena, "against '%s'", r->sample->texts[terms[1].text]);
        if (!v->method_note) return tb_out_of_memory(error);
    }
    return v->detail ? TIBA_OK : tb_out_of_memory(error);
}

tiba_status tb_pairs_separate(tb_job *job, int count, const char *const *inputs, int n_texts,
                              const char *const *texts, tiba_error *error) {
    const tb_job_options *o = job->options;
    tb_report *r = &job->report;
    tb_sample text_sample;
    tiba_tensor image, words;
    if (o->table || o->target || o->top || o->classes.count > 1)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "%s is not possible where pictures and texts have an encoder file each",
                       o->table    ? "--table"
                       : o->target ? "--target"
                       : o->top    ? "--top"
                                   : "more than one "
                                     "--class");
    TB_TRY(make_samples(job, &text_sample, count, inputs, n_texts, texts, error));
    TB_TRY(encode(job, 0, job->subject, &job->sample, &image, error));
    TB_TRY(encode(job, 2, job->subject->partner, &text_sample, &words, error));
    r->run = job->runs[0];
    int64_t size = image.dims[1], n = words.dims[0];
    if (words.dims[1] != size || n != job->sample.n_texts || image.dims[0] != 1)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "the two encoders' embeddings have %lld and %lld features", (long long)size,
                       (long long)words.dims[1]);
    double scale = o->scale > 0.0 ? o->scale : 100.0, *logit = TB_NEW(job->arena, double, n);
    r->scores = TB_NEW(job->arena, tb_scores, 1);
    if (!logit || !r->scores) return tb_out_of_memory(error);
    const float *t = words.data;
    for (int64_t k = 0; k < n; k++) logit[k] = scale * tb_cosine(image.data, t + k * size, size);
    r->kind = TB_KIND_PAIRS;
    r->labels = (tb_labels){.count = n, .names = job->sample.texts};
    TB_TRY(tb_scores_make(r->scores, job->arena, n, logit, r->kind, error));
    r->n_samples = 1;
    tb_report_note(r, tb_arena_format(job->arena,
                                      "scores are %g x the cosine of the two encoders' "
                                      "embeddings; --scale sets the factor",
                                      scale));
    weighted terms[2] = {{0, 1.0, 1.0}, {0, -1.0, 0.0}};
    TB_TRY(tb_pairs_chosen(&terms[0].text, job, error));
    int n_terms = 1;
    for (int k = 0; o->contrast && k < n; k++)
        if (strcmp(job->sample.texts[k], o->contrast) == 0) terms[1].text = k, n_terms = 2;
    if (n_terms == 2) {
        if (terms[0].text == terms[1].text)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "--contrast: the text is the chosen one itself");
        tiba_seed shares[2];
        difference_seeds(shares, 0, logit[terms[0].text], 1, logit[terms[1].text]);
        for (int i = 0; i < 2; i++) terms[i].relevance = (double)shares[i].relevance;
    }
    TB_TRY(explain_separate(job, &image, &words, terms, n_terms, scale, error));
    return name_separate(job, terms, n_terms, error);
}
