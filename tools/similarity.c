/*
 * similarity.c: how alike two texts are to a sentence-embedding model, and which words make them
 * so. The graph gives an embedding for each text, or one for each token, which is pooled as the
 * folder's 1_Pooling/config.json says; cosine and pooling are treated as the relevance rules treat
 * them inside a graph.
 */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "io/json.h"
#include "tools/explain_job.h"

typedef enum pooling { POOL_MEAN, POOL_CLS, POOL_LAST } pooling;

static tiba_status read_pooling(pooling *out, tb_job *job, tiba_error *error) {
    static const struct {
        const char *key;
        int kind; /* -1: not supported */
    } modes[] = {
        {"pooling_mode_mean_tokens", POOL_MEAN},   {"pooling_mode_cls_token", POOL_CLS},
        {"pooling_mode_lasttoken", POOL_LAST},     {"pooling_mode_max_tokens", -1},
        {"pooling_mode_mean_sqrt_len_tokens", -1}, {"pooling_mode_weightedmean_tokens", -1}};
    *out = POOL_MEAN;
    const char *path = tb_path_join(job->arena, job->subject->folder, "1_Pooling/config.json");
    if (!path) return tb_out_of_memory(error);
    if (!tb_is_file(path)) {
        tb_report_note(&job->report, "no 1_Pooling/config.json: the tokens' mean is taken");
        return TIBA_OK;
    }
    tb_json root;
    TB_TRY(tb_json_read(&root, job->arena, path, NULL, error));
    int n = 0;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        bool on;
        TB_TRY(tb_json_bool_or(&on, &root, modes[i].key, false, error));
        if (!on) continue;
        if (modes[i].kind < 0 || n++)
            return tb_fail(error, TIBA_ERROR_INPUT, "%s: %s is not supported%s", path, modes[i].key,
                           n > 1 ? " together with another" : "");
        *out = (pooling)modes[i].kind;
    }
    return TIBA_OK;
}

typedef struct embedding {
    tiba_tensor y; /* [2, D], or [2, T, D] to be pooled */
    pooling how;
    float *pooled[2]; /* [D] */
    int64_t size;
} embedding;

/* The weight of a token in the pooling. */
static double weight_of(const tb_job *job, const embedding *e, int k, int64_t t) {
    int64_t n = (int64_t)job->sample.encodings[k].count;
    if (t >= n) return 0.0;
    if (e->how == POOL_CLS) return t == 0 ? 1.0 : 0.0;
    if (e->how == POOL_LAST) return t == n - 1 ? 1.0 : 0.0;
    return 1.0 / (double)n;
}

static tiba_status pool(embedding *e, tb_job *job, tiba_error *error) {
    e->y = tiba_run_output(job->runs[0], tiba_run_explained_output(job->runs[0]));
    if (e->y.rank < 2 || e->y.rank > 3 || e->y.dims[0] != 2)
        return tb_fail(error, TIBA_ERROR_INPUT, "the output is no embedding of two texts");
    e->size = e->y.dims[e->y.rank - 1];
    if (e->y.rank == 3) TB_TRY(read_pooling(&e->how, job, error));
    int64_t tokens = e->y.rank == 3 ? e->y.dims[1] : 1;
    for (int k = 0; k < 2; k++) {
        e->pooled[k] = TB_NEW(job->arena, float, e->size);
        if (!e->pooled[k]) return tb_out_of_memory(error);
        const float *x = (const float *)e->y.data + k * tokens * e->size;
        for (int64_t d = 0; d < e->size; d++) {
            double sum = 0;
            for (int64_t t = 0; t < tokens; t++)
                sum +=
                    (double)x[t * e->size + d] * (e->y.rank == 3 ? weight_of(job, e, k, t) : 1.0);
            e->pooled[k][d] = (float)sum;
        }
    }
    return TIBA_OK;
}

/* Spreads the seeds of a pooled vector over its tokens: the gradient by weight, the relevance as
 * the rule of ReduceMean does: by size among those that agree in sign with the sum. */
static void spread(tiba_seed *out, int *count, const tiba_seed *pooled, const tb_job *job,
                   const embedding *e, int k) {
    int64_t tokens = e->y.dims[1], size = e->size;
    const float *x = (const float *)e->y.data + k * tokens * size;
    for (int64_t d = 0; d < size; d++) {
        double sign = (double)e->pooled[k][d] < 0.0 ? -1.0 : 1.0, sum = 0;
        for (int64_t t = 0; t < tokens; t++)
            if (weight_of(job, e, k, t) > 0.0) sum += fmax(0.0, sign * (double)x[t * size + d]);
        for (int64_t t = 0; t < tokens; t++) {
            double weight = weight_of(job, e, k, t);
            if (weight == 0.0) continue;
            double share = sum > 0.0 ? fmax(0.0, sign * (double)x[t * size + d]) / sum : 0.0;
            out[(*count)++] = (tiba_seed){(k * tokens + t) * size + d,
                                          (float)((double)pooled[d].gradient * weight),
                                          (float)((double)pooled[d].relevance * share)};
        }
    }
}

/* Seeds of text k alone: sums over a sample must not mix the two. */
static tiba_status make_seeds(tiba_request *request, tb_job *job, const embedding *e, int k,
                              tiba_error *error) {
    int64_t all = tb_tensor_count(&e->y);
    int n = 0;
    tiba_seed *seeds = TB_NEW(job->arena, tiba_seed, all);
    tiba_seed *pooled = TB_NEW(job->arena, tiba_seed, e->size);
    if (!seeds || !pooled) return tb_out_of_memory(error);
    tb_cosine_seeds(pooled, &n, e->pooled[k], e->pooled[1 - k], e->size, k * e->size, 1.0);
    request->n_seeds = 0;
    request->seeds = seeds;
    if (e->y.rank == 3)
        spread(seeds, &request->n_seeds, pooled, job, e, k);
    else
        request->seeds = pooled, request->n_seeds = n;
    return TIBA_OK;
}

tiba_status tb_similarity(tb_job *job, tiba_error *error) {
    tb_report *r = &job->report;
    embedding e = {0};
    tiba_request request;
    const tiba_result *result[2];
    TB_TRY(pool(&e, job, error));
    TB_TRY(tb_job_request(&request, job, error));
    for (int k = 0; k < 2; k++) {
        TB_TRY(make_seeds(&request, job, &e, k, error));
        TB_TRY(tb_job_explain(&result[k], job, job->runs[0], &request, error));
    }
    r->kind = TB_KIND_SIMILARITY;
    double cosine = tb_cosine(e.pooled[0], e.pooled[1], e.size);
    tb_view *view;
    TB_TRY(tb_report_view(&view, r, result[0], 0, 0, error));
    TB_TRY(tb_report_words(&view->other, r, result[1], 0, 1, error));
    view->label = "similarity";
    view->logit = cosine;
    view->detail = tb_arena_format(job->arena, "cosine %.4f", cosine);
    return view->detail ? TIBA_OK : tb_out_of_memory(error);
}
