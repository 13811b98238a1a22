/*
 * pairs.c: scores of a picture and texts: the difference of two scores, and what each word adds.
 * Graphs that hold one encoder each are encoders.c. docs/method.md ("Pairs") defines every number.
 */
#include <math.h>
#include <string.h>

#include "io/heatmap.h"
#include "tools/explain_job.h"

/* -------------------------------------------------------------------- differences */

double tb_difference_share(double a, double b) {
    double sum = fabs(a) + fabs(b);
    return sum > 0.0 ? fabs(a) / sum : 0.5;
}

/* d = a - b as the relevance rules treat a Sub of two activations. */
static void difference_seeds(tiba_seed seeds[2], int64_t at_a, double a, int64_t at_b, double b) {
    double share = tb_difference_share(a, b);
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
    TB_TRY(tb_view_other(view, r, of_one[1], (int)other, error));
    show_texts_of(view, of_one[0], r->sample->text_input);
    view->label = r->sample->texts[chosen];
    view->logit = logit[chosen] - logit[other];
    TB_TRY(tb_job_elements(&view->scalar, job, 2, (const int64_t[]){chosen, other},
                           (const double[]){1.0, -1.0}, error));
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

tiba_status tb_table_texts(const char ***out, tb_job *job, int64_t chosen, tiba_error *error) {
    tb_report *r = &job->report;
    const tb_words *words = r->n_views ? r->views[0].words : NULL;
    if (!words) return tb_fail(error, TIBA_ERROR_INPUT, "--table wants a picture file and a text");
    int n = words->n_words;
    if (n == 1)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--table leaves words out one by one: '%.60s' is a single one", words->text);
    const char **texts = *out = TB_NEW(job->arena, const char *, n + 1);
    r->rows = TB_NEW(job->arena, tb_table_row, n);
    if (!texts || !r->rows) return tb_out_of_memory(error);
    texts[0] = r->sample->texts[chosen];
    for (int i = 0; i < n; i++) {
        tb_offsets at = words->words[i].at_utf8;
        texts[i + 1] = leave_out(job->arena, texts[0], at.start, at.end);
        if (!texts[i + 1]) return tb_out_of_memory(error);
        r->rows[i] = (tb_table_row){.word = &words->words[i], .without = texts[i + 1]};
    }
    r->n_rows = n;
    return TIBA_OK;
}

tiba_status tb_table_fill(tb_job *job, int row, const tiba_result *result, double share,
                          tiba_error *error) {
    tb_table_row *to = &job->report.rows[row];
    const tiba_tower *tower = tb_image_tower(result, job->sample.image_input);
    if (!tower) return tb_fail(error, TIBA_ERROR_INPUT, "--table: the picture has no patch grid");
    to->share = share;
    to->grid = tb_patch_grid(tower, 0);
    tb_heatmap_range(&to->low, &to->high, to->grid, (size_t)(tower->rows * tower->columns));
    return TIBA_OK;
}

/* All rows are differences of one run's scores: they share its passes. */
static tiba_status add_rows(tb_job *job, tiba_run *run, const tb_scores *scores,
                            tiba_error *error) {
    const int n = job->report.n_rows;
    const double full = scores->logit[0];
    tiba_seed *seeds = TB_NEW(job->arena, tiba_seed, 2 * n);
    tiba_request *requests = TB_NEW(job->arena, tiba_request, n);
    const tiba_result **results = TB_NEW(job->arena, const tiba_result *, n);
    if (!seeds || !requests || !results) return tb_out_of_memory(error);
    for (int row = 0; row < n; row++) {
        difference_seeds(seeds + 2 * row, 0, full, row + 1, scores->logit[row + 1]);
        TB_TRY(tb_job_request(&requests[row], job, error));
        requests[row].blocks = 0;
        requests[row].n_seeds = 2;
        requests[row].seeds = seeds + 2 * row;
    }
    TB_TRY(tb_job_explain(results, job, run, n, requests, error));
    for (int row = 0; row < n; row++)
        TB_TRY(tb_table_fill(job, row, results[row], full - scores->logit[row + 1], error));
    return TIBA_OK;
}

tiba_status tb_pairs_table(tb_job *job, int64_t chosen, const char *picture, tiba_error *error) {
    const char **texts;
    tb_sample *sample = TB_NEW(job->arena, tb_sample, 1);
    if (!sample) return tb_out_of_memory(error);
    if (!picture)
        return tb_fail(error, TIBA_ERROR_INPUT, "--table wants a picture file and a text");
    TB_TRY(tb_table_texts(&texts, job, chosen, error));
    int rows = job->report.n_rows;
    TB_TRY(tb_job_sample(sample, job, job->subject, 1, &picture, rows + 1, texts, error));
    TB_TRY(tb_job_forward(job, 1, job->subject, sample, job->options->output, error));
    tb_report beside = {
        .arena = job->arena, .subject = job->subject, .sample = sample, .run = job->runs[1]};
    TB_TRY(tb_report_scores(&beside, error));
    if (beside.kind != TB_KIND_PAIRS)
        return tb_fail(error, TIBA_ERROR_INPUT, "--table: the output is no score of pairs");
    return add_rows(job, job->runs[1], &beside.scores[0], error);
}
