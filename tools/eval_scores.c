/*
 * eval_scores.c: a model's scores of an input as the measurements read them, and explanations of
 * one. Classes are the elements of the output, or texts (--text) that pictures are scored against,
 * by the graph itself or, of two encoders, by the cosine of their embeddings.
 */
#include <string.h>

#include "tools/embedding.h"
#include "tools/eval.h"
#include "tools/explain_job.h"

/* -------------------------------------------------------------------- classes that are texts */

static tiba_status encode_labels(tb_eval *eval, tiba_error *error) {
    tb_eval_labels *l = &eval->labels;
    tb_subject *partner = eval->subject->partner;
    tb_sample sample;
    tiba_run *run;
    TB_TRY(tb_subject_sample_texts(&sample, partner, eval->arena, 0, NULL, l->texts.count,
                                   l->texts.items, error));
    TB_TRY(tiba_run_forward(&run, partner->model, sample.n_feeds, sample.feeds,
                            tb_encoder_output(partner, eval->subject, NULL), error));
    tiba_tensor y = tiba_run_output(run, tiba_run_explained_output(run));
    tiba_status status = TIBA_OK;
    if (y.rank != 2 || y.dims[0] != l->texts.count) {
        status = tb_fail(error, TIBA_ERROR_INPUT, "%s: the output is no embedding of each text",
                         partner->path);
    } else {
        l->size = y.dims[1];
        float *vectors = TB_NEW(eval->arena, float, l->texts.count * l->size);
        l->scores = TB_NEW(eval->arena, float, l->texts.count);
        if (vectors) memcpy(vectors, y.data, tb_tensor_bytes(&y));
        l->vectors = vectors;
        if (!vectors || !l->scores) status = tb_out_of_memory(error);
    }
    tiba_run_destroy(run);
    l->output = tb_encoder_output(eval->subject, partner, NULL);
    return status;
}

tiba_status tb_eval_labels_read(tb_eval *eval, const tb_texts *texts, double scale,
                                tiba_error *error) {
    eval->labels.texts = *texts;
    eval->labels.scale = scale > 0.0 ? scale : 100.0;
    if (scale > 0.0 && !eval->subject->partner)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--scale is for a picture and a text encoder in files of their own");
    if (texts->count && tb_eval_is_text(eval))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--text says what the classes of pictures are: %s has texts", eval->data);
    if (!eval->subject->partner) return TIBA_OK;
    if (texts->count == 0)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "two encoders have no classes of their own: give a text for each class, in "
                       "the order of their numbers (--text)");
    return encode_labels(eval, error);
}

/* -------------------------------------------------------------------- runs */

tiba_status tb_eval_sample(tb_sample *out, const tb_eval *eval, tb_arena *arena,
                           const char *picture, tiba_error *error) {
    const tb_eval_labels *l = &eval->labels;
    return tb_subject_sample_texts(out, eval->subject, arena, 1, &picture,
                                   l->vectors ? 0 : l->texts.count, l->texts.items, error);
}

static const char *no_classes(const tb_report *r, const tb_sample *sample, const tiba_tensor *y) {
    int64_t tokens = sample->n_texts ? (int64_t)sample->encodings[0].count : -1;
    switch (r->kind) {
    case TB_KIND_TOKENS:
        return "the model answers for every token (it labels tokens or predicts them)";
    case TB_KIND_REGRESSION:
        return "the model gives one number";
    case TB_KIND_CLASSES:
    case TB_KIND_MULTI_LABEL:
        if (y->rank == 2 && y->dims[1] == tokens && r->labels.count != tokens)
            return "the model scores the places of a text (it answers questions)";
        return y->rank == 2 && y->dims[1] > 0 ? NULL : "the model's output is no class vector";
    case TB_KIND_PAIRS:
        return y->dims[0] == 1 ? NULL : "the first output has the texts in its rows";
    default:
        return "the model's output is no vector of classes, but an embedding or the like";
    }
}

static tiba_status check_output(const tb_eval *eval, const tb_sample *sample, const tiba_run *run,
                                tb_arena *arena, tiba_error *error) {
    const tb_eval_labels *l = &eval->labels;
    tiba_tensor y = tiba_run_output(run, tiba_run_explained_output(run));
    if (l->vectors && y.rank == 2 && y.dims[1] == l->size) return TIBA_OK;
    if (l->vectors)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: the output is no embedding of %lld features",
                       eval->subject->path, (long long)l->size);
    tb_report r = {.arena = arena, .subject = eval->subject, .sample = sample, .run = run};
    TB_TRY(tb_report_scores(&r, error));
    const char *why = no_classes(&r, sample, &y);
    if (!why && l->texts.count && r.kind != TB_KIND_PAIRS)
        why = "the model does not score pictures against texts (--text)";
    return why ? tb_fail(error, TIBA_ERROR_INPUT,
                         "%s: eval wants a score for each class of an input", why)
               : TIBA_OK;
}

tiba_status tb_eval_forward(tiba_run **out, const tb_eval *eval, const tb_sample *sample,
                            tb_arena *arena, tiba_error *error) {
    TB_TRY(tiba_run_create(out, eval->subject->model, sample->n_feeds, sample->feeds,
                           eval->labels.output, error));
    tiba_status status = check_output(eval, sample, *out, arena, error);
    if (status == TIBA_OK) return TIBA_OK;
    tiba_run_destroy(*out);
    *out = NULL;
    return status;
}

const float *tb_eval_scores(const tb_eval *eval, const tiba_run *run, int64_t sample, int64_t *n) {
    const tb_eval_labels *l = &eval->labels;
    tiba_tensor y = tiba_run_logits(run);
    if (!y.data) y = tiba_run_output(run, tiba_run_explained_output(run));
    if (y.rank != 2 || y.dims[1] < 1 || sample >= y.dims[0]) return NULL;
    const float *row = (const float *)y.data + sample * y.dims[1];
    *n = l->vectors ? l->texts.count : y.dims[1];
    if (!l->vectors) return row;
    for (int k = 0; k < l->texts.count; k++)
        l->scores[k] = (float)(l->scale * tb_cosine(row, l->vectors + k * l->size, l->size));
    return l->scores;
}

/* -------------------------------------------------------------------- explanations */

/* The seeds of n classes that are texts of two encoders: [n][size], freed by the caller. */
static tiba_status make_seeds(tiba_seed **out, const tb_eval *eval, tiba_run *run, int n,
                              const int64_t *targets, tiba_request *requests, tiba_error *error) {
    const tb_eval_labels *l = &eval->labels;
    *out = tb_calloc(NULL, (size_t)n * (size_t)l->size, sizeof **out);
    if (!*out) return tb_out_of_memory(error);
    tiba_tensor y = tiba_run_output(run, tiba_run_explained_output(run));
    for (int i = 0; i < n; i++) {
        tiba_seed *seeds = *out + i * l->size;
        requests[i].target_rank = 0;
        requests[i].seeds = seeds;
        tb_cosine_seeds(seeds, &requests[i].n_seeds, y.data, l->vectors + targets[i] * l->size,
                        l->size, 0, l->scale);
    }
    return TIBA_OK;
}

tiba_status tb_eval_explain(tiba_result **out, tb_eval *eval, int method, tiba_run *run, int n,
                            const int64_t *targets, tiba_error *error) {
    tiba_request requests[TB_MOST_OBJECTS];
    tiba_seed *seeds = NULL;
    tiba_status status = TIBA_OK;
    for (int i = 0; i < n; i++) {
        requests[i] = (tiba_request){
            .method = eval->methods[method], .target_rank = 1, .target = {targets[i]}};
        out[i] = NULL;
    }
    if (eval->refused[method]) return TIBA_OK;
    if (eval->labels.vectors) status = make_seeds(&seeds, eval, run, n, targets, requests, error);
    if (status == TIBA_OK) status = tiba_explain_several(out, run, n, requests, error);
    tb_free(seeds);
    if (status == TIBA_OK || status == TIBA_ERROR_RESOURCE) return status;
    if (!eval->first_unit || eval->methods[method] == TIBA_METHOD_TIBA) return status;
    eval->refused[method] = tb_arena_strdup(eval->arena, error->message);
    return eval->refused[method] ? TIBA_OK : tb_out_of_memory(error);
}
