/*
 * similarity.c: how alike two texts are to a sentence-embedding model, and which words make them
 * so. The graph gives an embedding for each text, or one for each token, which is pooled as the
 * folder says (pooling.h); the cosine is treated as the relevance rules treat it inside a graph.
 */
#include <string.h>

#include "tools/embedding.h"
#include "tools/explain_job.h"
#include "tools/pooling.h"

typedef struct embedding {
    tb_scalar scalar; /* their cosine */
    const tb_sample *sample;
    tiba_tensor y; /* [2, D], or [2, T, D] to be pooled */
    tb_pooling how;
    float *pooled[2], *other[2]; /* [size]; of another run */
    int64_t size;
} embedding;

/* The vectors of both texts of a copy. */
static void pool_pair(float *const out[2], const embedding *e, const tiba_tensor *y,
                      const tb_changed *changed) {
    int64_t width = y->dims[y->rank - 1], tokens = y->rank == 3 ? y->dims[1] : 1;
    for (int k = 0; k < 2; k++) {
        const float *x = (const float *)y->data + (2 * changed->copy + k) * tokens * width;
        int64_t count = (int64_t)e->sample->encodings[k].count;
        if (k == changed->text) count -= changed->fewer;
        if (y->rank == 2)
            memcpy(out[k], x, (size_t)width * sizeof *x);
        else
            tb_pool(out[k], &e->how, x, count, width);
    }
}

static double read_cosine(const tb_scalar *scalar, const tb_changed *changed) {
    const embedding *e = (const embedding *)scalar;
    tiba_tensor y = tiba_run_output(changed->run, tiba_run_explained_output(changed->run));
    pool_pair(e->other, e, &y, changed);
    return tb_cosine(e->other[0], e->other[1], e->size);
}

tiba_status tb_similarity_prepare(tb_job *job, tiba_error *error) {
    embedding *e = TB_NEW(job->arena, embedding, 1);
    if (!e) return tb_out_of_memory(error);
    *e = (embedding){.scalar.read = read_cosine, .sample = &job->sample};
    job->ends = e;
    e->y = tiba_run_output(job->runs[0], tiba_run_explained_output(job->runs[0]));
    if (e->y.rank < 2 || e->y.rank > 3 || e->y.dims[0] != 2)
        return tb_fail(error, TIBA_ERROR_INPUT, "the output is no embedding of two texts");
    int64_t width = e->y.dims[e->y.rank - 1];
    e->how.n = 1;
    if (e->y.rank == 3) TB_TRY(tb_pooling_read(&e->how, job->arena, job->subject->folder, error));
    if (e->how.guessed)
        tb_report_note(&job->report, "no 1_Pooling/config.json: the tokens' mean is taken");
    e->size = e->how.n * width;
    for (int k = 0; k < 2; k++) {
        e->pooled[k] = TB_NEW(job->arena, float, e->size);
        e->other[k] = TB_NEW(job->arena, float, e->size);
        if (!e->pooled[k] || !e->other[k]) return tb_out_of_memory(error);
    }
    pool_pair(e->pooled, e, &e->y, &(tb_changed){.run = job->runs[0], .copies = 1});
    job->report.kind = TB_KIND_SIMILARITY;
    return TIBA_OK;
}

/* The seeds of a pooled vector handed down to its tokens. */
static tiba_status spread(tiba_request *request, const tiba_seed *pooled, tb_job *job,
                          const embedding *e, int k, tiba_error *error) {
    int64_t count = (int64_t)job->sample.encodings[k].count, width = e->y.dims[2],
            n = count * width;
    double *gradient = TB_NEW(job->arena, double, 2 * n), *relevance = gradient + n;
    double *from = TB_NEW(job->arena, double, 2 * e->size);
    tiba_seed *seeds = TB_NEW(job->arena, tiba_seed, n);
    if (!gradient || !from || !seeds) return tb_out_of_memory(error);
    int64_t first = k * e->y.dims[1] * width;
    for (int64_t i = 0; i < e->size; i++) {
        from[i] = (double)pooled[i].gradient;
        from[e->size + i] = (double)pooled[i].relevance;
    }
    tb_pool_back(gradient, relevance, from, from + e->size, &e->how,
                 (const float *)e->y.data + first, count, width);
    for (int64_t i = 0; i < n; i++)
        seeds[i] = (tiba_seed){first + i, (float)gradient[i], (float)relevance[i]};
    request->seeds = seeds;
    request->n_seeds = (int)n;
    return TIBA_OK;
}

/* Seeds of text k alone: sums over a sample must not mix the two. */
static tiba_status make_seeds(tiba_request *request, tb_job *job, const embedding *e, int k,
                              tiba_error *error) {
    tiba_seed *pooled = TB_NEW(job->arena, tiba_seed, e->size);
    if (!pooled) return tb_out_of_memory(error);
    request->n_seeds = 0;
    request->seeds = pooled;
    tb_cosine_seeds(pooled, &request->n_seeds, e->pooled[k], e->pooled[1 - k], e->size, k * e->size,
                    1.0);
    return e->y.rank == 3 ? spread(request, pooled, job, e, k, error) : TIBA_OK;
}

tiba_status tb_similarity_views(tb_job *job, tiba_error *error) {
    tb_report *r = &job->report;
    const embedding *e = job->ends;
    tiba_request requests[2];
    const tiba_result *result[2];
    for (int k = 0; k < 2; k++) {
        TB_TRY(tb_job_request(&requests[k], job, error));
        TB_TRY(make_seeds(&requests[k], job, e, k, error));
    }
    TB_TRY(tb_job_explain(result, job, job->runs[0], 2, requests, error));
    double cosine = tb_cosine(e->pooled[0], e->pooled[1], e->size);
    tb_view *view;
    TB_TRY(tb_report_view(&view, r, result[0], 0, 0, error));
    TB_TRY(tb_view_add_towers(view, r, result[1], 1, error));
    TB_TRY(tb_report_words(&view->other, r, result[1], 0, 1, error));
    view->label = "similarity";
    view->logit = cosine;
    view->scalar = &e->scalar;
    view->detail = tb_arena_format(job->arena, "cosine %.4f", cosine);
    return view->detail ? TIBA_OK : tb_out_of_memory(error);
}
