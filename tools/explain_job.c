#include "tools/explain_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/embedding.h"
#include "tools/methods.h"
#include "tools/trust.h"

enum { MOST_TOP = 24 };

tiba_status tb_job_start(tb_job *job, tiba_error *error) {
    job->arena = tb_arena_create(NULL);
    if (!job->arena) return tb_out_of_memory(error);
    job->report = (tb_report){
        .arena = job->arena, .subject = job->subject, .sample = &job->sample, .repeats = 1};
    return TIBA_OK;
}

void tb_job_close(tb_job *job) {
    for (int i = 0; i < job->n_results; i++) tiba_result_destroy(job->results[i]);
    for (size_t i = 0; i < sizeof job->runs / sizeof *job->runs; i++)
        tiba_run_destroy(job->runs[i]);
    tb_arena_destroy(job->arena);
}

/* -------------------------------------------------------------------- requests */

static tiba_status parse_target(tiba_request *request, const char *text, tiba_error *error) {
    const char *at = text;
    do {
        char *end;
        errno = 0;
        long long index = strtoll(at, &end, 10);
        if (end == at || errno || (*end && *end != ',') || request->target_rank == TIBA_MAX_RANK)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "--target: '%s' is no list of indices such as 0,2", text);
        request->target[request->target_rank++] = index;
        at = *end == ',' ? end + 1 : end;
        if (*end == ',' && *at == '\0')
            return tb_fail(error, TIBA_ERROR_USAGE, "--target: '%s' ends in a comma", text);
    } while (*at);
    return TIBA_OK;
}

tiba_status tb_job_request(tiba_request *out, const tb_job *job, tiba_error *error) {
    const tb_job_options *o = job->options;
    *out = (tiba_request){
        .start_layer = o->start_layer, .blocks = o->blocks, .keep_sign = o->keep_sign};
    TB_TRY(tb_method_find(&out->method, o->method, error));
    if (o->keep_sign && out->method != TIBA_METHOD_TIBA && out->method != TIBA_METHOD_GENERIC)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--signed is for the methods tiba and generic: %s has no clamp to leave out",
                       tb_method_name((int)out->method));
    if (!o->rollout) return TIBA_OK;
    if (strcmp(o->rollout, "raw") == 0)
        out->rollout = TIBA_ROLLOUT_RAW;
    else if (strcmp(o->rollout, "normalized") == 0)
        out->rollout = TIBA_ROLLOUT_NORMALIZED;
    else
        return tb_fail(error, TIBA_ERROR_USAGE, "--rollout: '%s' is neither raw nor normalized",
                       o->rollout);
    return TIBA_OK;
}

/* The request for score k of sample 0, or of every sample where they are alike. */
static tiba_request request_for(const tb_job *job, tiba_request base, int64_t k) {
    const tb_report *r = &job->report;
    tiba_tensor y = tiba_run_output(job->runs[0], tiba_run_explained_output(job->runs[0]));
    base.target_rank = r->kind == TB_KIND_TOKENS || r->kind == TB_KIND_PAIRS ? y.rank : 1;
    memset(base.target, 0, sizeof base.target);
    base.target[base.target_rank - 1] = k;
    if (r->kind == TB_KIND_TOKENS) base.target[1] = r->token;
    if (r->kind == TB_KIND_PAIRS && y.dims[1] == 1 && k > 0) {
        base.target[0] = k;
        base.target[1] = 0;
    }
    return base;
}

tiba_status tb_job_explain(const tiba_result **out, tb_job *job, tiba_run *run, int n,
                           const tiba_request *requests, tiba_error *error) {
    if (job->result_capacity - job->n_results < n) {
        int capacity = 2 * job->result_capacity + 8 + n;
        tiba_result **list = TB_NEW(job->arena, tiba_result *, capacity);
        if (!list) return tb_out_of_memory(error);
        if (job->n_results) memcpy(list, job->results, (size_t)job->n_results * sizeof *list);
        job->results = list;
        job->result_capacity = capacity;
    }
    tiba_result **results = job->results + job->n_results;
    TB_TRY(tiba_explain_several(results, run, n, requests, error));
    job->n_results += n;
    tiba_timings t = tiba_run_timings(run);
    job->report.times.seconds[TB_TIME_BACKWARD] += t.backward;
    job->report.times.seconds[TB_TIME_ROLLOUT] += t.rollout;
    for (int i = 0; i < n; i++) out[i] = results[i];
    return TIBA_OK;
}

tiba_status tb_job_sample(tb_sample *out, tb_job *job, tb_subject *subject, int count,
                          const char *const *inputs, int n_texts, const char *const *texts,
                          tiba_error *error) {
    double start = tb_seconds();
    TB_TRY(tb_subject_sample_texts(out, subject, job->arena, count, inputs, n_texts, texts, error));
    job->report.times.seconds[TB_TIME_INPUT] += tb_seconds() - start;
    return TIBA_OK;
}

tiba_status tb_job_forward(tb_job *job, int slot, const tb_subject *subject,
                           const tb_sample *sample, const char *output, tiba_error *error) {
    TB_TRY(tiba_run_create(&job->runs[slot], subject->model, sample->n_feeds, sample->feeds, output,
                           error));
    tiba_timings t = tiba_run_timings(job->runs[slot]);
    double *seconds = job->report.times.seconds;
    if (slot != 1) seconds[TB_TIME_OPEN] += t.open; /* the table's graph is that of slot 0 */
    seconds[TB_TIME_BIND] += t.bind;
    seconds[TB_TIME_PLAN] += t.plan;
    seconds[TB_TIME_FORWARD] += t.forward;
    return TIBA_OK;
}

/* -------------------------------------------------------------------- the scalar in other runs */

typedef struct elements {
    tb_scalar scalar;
    int n, rank;
    int64_t dims[TIBA_MAX_RANK]; /* of the output for one copy */
    int64_t at[2];
    double factors[2];
} elements;

/* Where an element of the output is in that of changed samples: axes that are longer now hold the
 * copies one behind the other. */
static int64_t place_of(const elements *e, int64_t element, const tiba_tensor *y,
                        const tb_changed *changed) {
    int64_t place = 0, stride = 1;
    for (int d = e->rank - 1; d >= 0; d--) {
        int64_t index = element % e->dims[d];
        element /= e->dims[d];
        if (d == 1) index -= changed->moved;
        if (y->dims[d] == changed->copies * e->dims[d]) index += changed->copy * e->dims[d];
        place += index * stride;
        stride *= y->dims[d];
    }
    return place;
}

static double read_elements(const tb_scalar *scalar, const tb_changed *changed) {
    const elements *e = (const elements *)scalar;
    tiba_tensor y = tiba_run_logits(changed->run);
    double sum = 0;
    for (int k = 0; k < e->n; k++)
        sum += e->factors[k] * (double)((const float *)y.data)[place_of(e, e->at[k], &y, changed)];
    return sum;
}

tiba_status tb_job_elements(const tb_scalar **out, tb_job *job, int n, const int64_t *at,
                            const double *factors, tiba_error *error) {
    elements *e = TB_NEW(job->arena, elements, 1);
    if (!e) return tb_out_of_memory(error);
    tiba_tensor y = tiba_run_logits(job->runs[0]);
    *e = (elements){.scalar.read = read_elements, .n = n, .rank = y.rank};
    memcpy(e->dims, y.dims, sizeof e->dims);
    for (int k = 0; k < n; k++) {
        e->at[k] = at[k];
        e->factors[k] = factors[k];
    }
    *out = &e->scalar;
    return TIBA_OK;
}

/* The scalar of a view of one element. */
static tiba_status set_scalar(tb_view *view, tb_job *job, tiba_error *error) {
    const tiba_target *t = &view->target;
    tiba_tensor y = tiba_run_logits(job->runs[0]);
    int64_t element = 0;
    double one = 1.0;
    for (int d = 0; d < t->rank; d++) element = element * y.dims[d] + t->index[d];
    return tb_job_elements(&view->scalar, job, 1, &element, &one, error);
}

/* -------------------------------------------------------------------- targets */

/* Explains and adds a view for every sample that was asked for, one request after the other. */
static tiba_status add_views(tb_job *job, int n, const tiba_request *requests, tiba_error *error) {
    const tiba_result **results = TB_NEW(job->arena, const tiba_result *, n);
    if (!results) return tb_out_of_memory(error);
    tb_view *view;
    TB_TRY(tb_job_explain(results, job, job->runs[0], n, requests, error));
    for (int i = 0; i < n; i++)
        for (int s = 0; s < tiba_result_targets(results[i]); s++) {
            if (s > 0 && job->sample.given && s >= job->sample.given) break; /* copies */
            TB_TRY(tb_report_view(&view, &job->report, results[i], s, -1, error));
            TB_TRY(set_scalar(view, job, error));
        }
    return TIBA_OK;
}

static tiba_status need_scores(const tb_job *job, const char *option, tiba_error *error) {
    if (job->report.n_samples) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_USAGE, "%s wants an output [samples, classes]; use --target",
                   option);
}

tiba_status tb_job_wanted(int64_t **out, int *count, const tb_job *job, tiba_error *error) {
    const tb_job_options *o = job->options;
    const tb_report *r = &job->report;
    *count = 0;
    *out = TB_NEW(job->arena, int64_t, o->classes.count + o->top + 1);
    if (!*out) return tb_out_of_memory(error);
    if (o->classes.count) TB_TRY(need_scores(job, "--class", error));
    if (o->top) TB_TRY(need_scores(job, "--top", error));
    for (int i = 0; i < o->classes.count; i++) {
        int64_t k = tb_report_class(r, 0);
        if (strcmp(o->classes.items[i], "top") != 0)
            TB_TRY(tb_label_find(&k, &r->labels, r->scores[0].n, o->classes.items[i], error));
        (*out)[(*count)++] = k;
    }
    for (int i = 0; i < o->top && i < r->scores[0].n; i++)
        (*out)[(*count)++] = tb_report_class(r, i);
    return TIBA_OK;
}

/* The output says no classes: the largest element is explained, which a user should know. */
static void note_values(tb_job *job) {
    tb_report *r = &job->report;
    if (r->kind != TB_KIND_VALUES || job->options->target) return;
    const char *name =
        tiba_model_output(job->subject->model, tiba_run_explained_output(job->runs[0])).name;
    tb_report_note(r, tb_arena_format(job->arena,
                                      "output '%s' is no vector of classes: its largest element is "
                                      "explained; --target I,J picks another",
                                      name));
}

static tiba_status explain_targets(tb_job *job, tiba_error *error) {
    const tb_job_options *o = job->options;
    tb_report *r = &job->report;
    tiba_request base;
    TB_TRY(tb_job_request(&base, job, error));
    if (o->target) {
        TB_TRY(parse_target(&base, o->target, error));
        return add_views(job, 1, &base, error);
    }
    int64_t *wanted;
    int n;
    TB_TRY(tb_job_wanted(&wanted, &n, job, error));
    tiba_request *requests = TB_NEW(job->arena, tiba_request, n + 1);
    if (!requests) return tb_out_of_memory(error);
    for (int i = 0; i < n; i++) requests[i] = request_for(job, base, wanted[i]);
    if (n > 0) return add_views(job, n, requests, error);
    note_values(job);
    if (r->kind == TB_KIND_TOKENS) base = request_for(job, base, tb_report_class(r, 0));
    return add_views(job, 1, &base, error);
}

/* -------------------------------------------------------------------- pairs */

int64_t tb_pairs_find(const tb_job *job, const char *text) {
    for (int k = 0; k < job->sample.n_texts; k++)
        if (strcmp(job->sample.texts[k], text) == 0) return k;
    return -1;
}

tiba_status tb_pairs_chosen(int64_t *out, const tb_job *job, tiba_error *error) {
    const tb_job_options *o = job->options;
    const tb_report *r = &job->report;
    int64_t other = o->contrast ? tb_pairs_find(job, o->contrast) : -1;
    *out = tb_report_class(r, 0);
    if (*out == other && r->scores[0].n > 1) *out = tb_report_class(r, 1);
    if (o->choose > r->scores[0].n)
        return tb_fail(error, TIBA_ERROR_USAGE, "--choose %d: there are %lld texts", o->choose,
                       (long long)r->scores[0].n);
    if (o->choose > 0) *out = o->choose - 1;
    if (o->classes.count && strcmp(o->classes.items[0], "top") != 0)
        TB_TRY(tb_label_find(out, &r->labels, r->scores[0].n, o->classes.items[0], error));
    return TIBA_OK;
}

static tiba_status explain_pairs(tb_job *job, tiba_error *error) {
    const tb_job_options *o = job->options;
    int64_t chosen;
    TB_TRY(tb_pairs_chosen(&chosen, job, error));
    if (o->contrast) {
        TB_TRY(tb_pairs_contrast(job, chosen, tb_pairs_find(job, o->contrast), error));
    } else if (o->target || o->top || o->classes.count > 1) {
        TB_TRY(explain_targets(job, error));
    } else {
        tiba_request base;
        TB_TRY(tb_job_request(&base, job, error));
        base = request_for(job, base, chosen);
        TB_TRY(add_views(job, 1, &base, error));
    }
    if (!o->table) return TIBA_OK;
    return tb_pairs_table(job, chosen, job->sample.picture_path, error);
}

/* -------------------------------------------------------------------- the job */

static tiba_status check_options(const tb_job_options *o, tiba_error *error) {
    if ((o->target != NULL) + (o->classes.count > 0) + (o->top > 0) + (o->choose > 0) > 1)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--target, --class, --top and --choose exclude each other");
    if (o->top > MOST_TOP)
        return tb_fail(error, TIBA_ERROR_USAGE, "--top: at most %d are explained at once, not %d",
                       MOST_TOP, o->top);
    if (o->contrast && (o->target || o->top || o->classes.count > 1))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--contrast compares two texts: --choose or --class says the first one");
    return TIBA_OK;
}

/* What was given for pairs and now finds none. */
static tiba_status check_kind(const tb_job *job, tiba_error *error) {
    const tb_job_options *o = job->options;
    const char *option = o->contrast ? "--contrast"
                         : o->choose ? "--choose"
                         : o->table  ? "--table"
                                     : NULL;
    if (!option || job->report.kind == TB_KIND_PAIRS) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_USAGE,
                   "%s wants a picture and texts, and a model that scores them together", option);
}

static tiba_status prepare_graph(tb_job *job, tiba_error *error) {
    const tb_job_options *o = job->options;
    tb_report *r = &job->report;
    bool alone = !o->target && !o->classes.count && !o->top;
    bool two_texts = alone && job->sample.n_texts == 2 && !job->sample.image_input;
    const char *output = o->output;
    if (!output && two_texts) output = tb_embedding_output(job->subject->model);
    TB_TRY(tb_job_forward(job, 0, job->subject, &job->sample, output, error));
    r->run = job->runs[0];
    TB_TRY(tb_report_scores(r, error));
    TB_TRY(check_kind(job, error));
    return r->kind == TB_KIND_VALUES && two_texts ? tb_similarity_prepare(job, error) : TIBA_OK;
}

/* --text, and --contrast where it is none of the texts. */
static tiba_status all_texts(tb_texts *out, const tb_job *job, int count, const char *const *inputs,
                             tiba_error *error) {
    const tb_job_options *o = job->options;
    const char **items = TB_NEW(job->arena, const char *, o->texts.count + 1);
    if (!items) return tb_out_of_memory(error);
    *out = (tb_texts){o->texts.count, items};
    bool there = !o->contrast;
    for (int i = 0; i < count; i++) there |= o->contrast && strcmp(inputs[i], o->contrast) == 0;
    for (int i = 0; i < o->texts.count; i++) {
        items[i] = o->texts.items[i];
        there |= o->contrast && strcmp(items[i], o->contrast) == 0;
    }
    if (!there) items[out->count++] = o->contrast;
    return TIBA_OK;
}

/* Words that --truncate cut off have no value, which is not the value 0. */
static void note_cut(tb_job *job) {
    const tb_sample *s = &job->sample;
    for (int k = 0; k < s->n_texts && job->subject->options.truncate; k++) {
        const tb_encoding *e = &s->encodings[k];
        const char *text = s->texts[k];
        uint32_t end = 0;
        for (size_t i = 0; i < e->count; i++)
            if (!e->special_tokens[i] && e->offsets_utf8[i].end > end) end = e->offsets_utf8[i].end;
        int left = 0; /* characters: bytes that continue none */
        for (const char *c = text + end; *c; c++) left += ((unsigned char)*c & 0xc0) != 0x80;
        if (strspn(text + end, " \t\r\n") == strlen(text + end)) continue;
        tb_report_note(
            &job->report,
            tb_arena_format(job->arena,
                            "text %d is cut to %zu tokens; its last %d characters have no "
                            "value",
                            k + 1, e->count, left));
    }
}

tiba_status tb_job_prepare(tb_job *job, int count, const char *const *inputs, tiba_error *error) {
    static const char *const forms[] = {"default", "raw", "normalized"};
    const tb_job_options *o = job->options;
    tb_texts texts = {0};
    tiba_request request;
    TB_TRY(check_options(o, error));
    TB_TRY(tb_job_request(&request, job, error));
    TB_TRY(all_texts(&texts, job, count, inputs, error));
    job->report.rollout = forms[request.rollout];
    job->report.start_layer = o->start_layer;
    job->report.keeps_sign = o->keep_sign;
    if (job->subject->partner) {
        TB_TRY(tb_encoders_prepare(job, count, inputs, texts.count, texts.items, error));
    } else if (o->scale > 0.0) {
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--scale is for a picture and a text encoder in files of their own");
    } else {
        TB_TRY(tb_job_sample(&job->sample, job, job->subject, count, inputs, texts.count,
                             texts.items, error));
        TB_TRY(prepare_graph(job, error));
    }
    const tb_sample *sample = &job->sample;
    TB_TRY(tb_subject_check(job->subject, sample->picture_path, sample->n_texts > 0, error));
    note_cut(job);
    if (job->sample.guess)
        tb_report_note(&job->report,
                       tb_arena_format(job->report.arena,
                                       "no preprocessor_config.json: the picture was scaled to the "
                                       "model's input, %s",
                                       job->sample.guess));
    if (job->sample.picture.clipped)
        tb_report_note(
            &job->report,
            "a 16-bit grey picture: values above 255 are white, as in the pipelines that "
            "models come from; an 8-bit copy shows the model what you see");
    return TIBA_OK;
}

tiba_status tb_job_views(tb_job *job, tiba_error *error) {
    tiba_request request;
    TB_TRY(tb_job_request(&request, job, error));
    tb_report_use(&job->report, request.method);
    if (job->subject->partner) return tb_encoders_views(job, error);
    if (job->report.kind == TB_KIND_SIMILARITY) return tb_similarity_views(job, error);
    if (job->report.kind == TB_KIND_PAIRS) return explain_pairs(job, error);
    return explain_targets(job, error);
}

tiba_status tb_job_run(tb_job *job, int count, const char *const *inputs, tiba_error *error) {
    TB_TRY(tb_job_prepare(job, count, inputs, error));
    TB_TRY(tb_job_views(job, error));
    return tb_trust(job, error);
}
