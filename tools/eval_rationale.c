/*
 * eval_rationale.c: are the words that a method calls relevant for the label the ones that people
 * marked? The paper's token F1 of the k most relevant words, and the measurements of ERASER
 * (DeYoung et al., ACL 2020): IOU-F1 and average precision against the marked words,
 * comprehensiveness and sufficiency by taking words out of the text.
 */
#include <math.h>
#include <string.h>

#include "tools/eval.h"
#include "tools/words.h"

enum { N_TOP = 16, IOU_F1 = N_TOP, AUPRC, COMPREHENSIVE, SUFFICIENT, N_METRICS };
#define TOP(k, shown)                                                                              \
    { "token F1 at " #k, "of the " #k " most relevant words, in %", 1, shown }
static const tb_eval_metric metrics[N_METRICS] = {
    TOP(5, true),
    TOP(10, true),
    TOP(15, false),
    TOP(20, false),
    TOP(25, false),
    TOP(30, false),
    TOP(35, false),
    TOP(40, false),
    TOP(45, false),
    TOP(50, false),
    TOP(55, false),
    TOP(60, false),
    TOP(65, false),
    TOP(70, false),
    TOP(75, false),
    TOP(80, false),
    [IOU_F1] = {"IOU-F1", "spans that overlap a marked one by half, in %", 1, true},
    [AUPRC] = {"AUPRC", "average precision of the words' relevance, in %", 1, true},
    [COMPREHENSIVE] = {"comprehensiveness",
                       "what the probability loses without the relevant words: higher is better", 1,
                       true},
    [SUFFICIENT] = {"sufficiency", "what it loses with the relevant words alone: lower is better",
                    1, true}};

/* A text's words and which of them are marked. */
typedef struct text {
    tb_arena *arena;
    const tb_review *review;
    tb_sample sample;
    const tb_encoding *encoding;
    int n;
    bool *marked, *chosen; /* [n] */
    double *value;         /* [n] */
    int64_t *order;        /* [n] most relevant first */
    double full;           /* probability of the label */
} text;

static bool overlaps(const tb_review *r, tb_offsets at) {
    for (int i = 0; i < r->n_evidence; i++)
        if (at.start < r->evidence[i].end && r->evidence[i].start < at.end) return true;
    return false;
}

static double f1(double hits, double said, double marked) {
    return said + marked > 0 ? 200 * hits / (said + marked) : 0;
}

/* The k most relevant words into `chosen`; how many there are. */
static int choose(text *t, int k) {
    memset(t->chosen, 0, (size_t)t->n * sizeof *t->chosen);
    if (k > t->n) k = t->n;
    for (int i = 0; i < k; i++) t->chosen[t->order[i]] = true;
    return k;
}

/* The next run of set words from *at on: [start, end); false if there is none. */
static bool next_span(const bool *set, int n, int *at, int *start, int *end) {
    while (*at < n && !set[*at]) ++*at;
    *start = *at;
    while (*at < n && set[*at]) ++*at;
    *end = *at;
    return *start < *end;
}

/* Spans of a that overlap one of b with an IoU of at least half; *n: spans of a. */
static int matched_spans(const bool *a, const bool *b, int words, int *n) {
    int at = 0, start, end, found = 0;
    *n = 0;
    while (next_span(a, words, &at, &start, &end)) {
        int other = 0, s, e, match = 0;
        while (next_span(b, words, &other, &s, &e)) {
            int common = (end < e ? end : e) - (start > s ? start : s);
            match |= common > 0 && 2 * common >= end - start + e - s - common;
        }
        found += match;
        ++*n;
    }
    return found;
}

static double iou_f1(const text *t) {
    int said, marked, hits = matched_spans(t->chosen, t->marked, t->n, &said);
    matched_spans(t->marked, t->chosen, t->n, &marked);
    return f1(hits, said, marked);
}

/* Probability of the label for the words that are (or are not) chosen, as a text of their own. */
static tiba_status probability_of(double *out, const tb_eval *eval, const text *t,
                                  const tb_words *words, bool chosen, tiba_error *error) {
    tb_arena *arena = tb_arena_create(NULL);
    size_t size = strlen(t->review->text) + (size_t)t->n + 1, used = 0;
    char *rest = arena ? TB_NEW(arena, char, size) : NULL;
    tiba_status status = rest ? TIBA_OK : tb_out_of_memory(error);
    for (int i = 0; rest && i < t->n; i++) {
        if (t->chosen[i] != chosen) continue;
        if (used) rest[used++] = ' ';
        memcpy(rest + used, words->words[i].text.data, words->words[i].text.size);
        used += words->words[i].text.size;
    }
    tb_sample sample;
    tiba_run *run = NULL;
    const char *texts[1] = {rest};
    if (status == TIBA_OK)
        status = tb_subject_sample_texts(&sample, eval->subject, arena, 0, NULL, 1, texts, error);
    if (status == TIBA_OK)
        status =
            tiba_run_create(&run, eval->subject->model, sample.n_feeds, sample.feeds, NULL, error);
    int64_t n;
    const float *scores = run ? tb_eval_scores(run, 0, &n) : NULL;
    *out = scores ? tb_eval_probability(scores, n, t->review->label) : NAN;
    tiba_run_destroy(run);
    tb_arena_destroy(arena);
    return status;
}

static tiba_status measure(tb_eval *eval, const tb_eval_item *item, int m, text *t,
                           const tb_words *words, double share, tiba_error *error) {
    int marked = 0;
    for (int i = 0; i < t->n; i++) {
        t->value[i] = words->words[i].value;
        marked += t->marked[i];
    }
    TB_TRY(tb_eval_order(t->order, t->value, t->n, error));
    for (int k = 0; k < N_TOP; k++) {
        int hits = 0, said = choose(t, 5 * (k + 1));
        for (int i = 0; i < t->n; i++) hits += t->chosen[i] && t->marked[i];
        tb_eval_set(eval, item, m, k, f1(hits, said, marked));
    }
    double precision, without, alone;
    TB_TRY(tb_eval_precision(&precision, t->value, t->marked, t->n, error));
    tb_eval_set(eval, item, m, AUPRC, 100 * precision);
    int k = (int)(share * t->n + 0.5);
    choose(t, k > 0 ? k : 1);
    tb_eval_set(eval, item, m, IOU_F1, iou_f1(t));
    TB_TRY(probability_of(&without, eval, t, words, false, error));
    TB_TRY(probability_of(&alone, eval, t, words, true, error));
    tb_eval_set(eval, item, m, COMPREHENSIVE, t->full - without);
    tb_eval_set(eval, item, m, SUFFICIENT, t->full - alone);
    return TIBA_OK;
}

static tiba_status words_of(tb_words *out, const text *t, const tiba_result *result,
                            tiba_error *error) {
    for (int k = 0; k < tiba_result_towers(result); k++) {
        const tiba_tower *tower = tiba_result_tower(result, k);
        if (strcmp(tower->input, t->sample.text_input) != 0) continue;
        return tb_words_make(out, t->arena, t->review->text, t->encoding, tower->relevance, error);
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "the model has no text tower");
}

static tiba_status open_text(text *t, tb_eval *eval, tiba_error *error) {
    tb_words words;
    TB_TRY(tb_subject_sample_texts(&t->sample, eval->subject, t->arena, 0, NULL, 1,
                                   &t->review->text, error));
    t->encoding = &t->sample.encodings[0];
    float *none = TB_NEW(t->arena, float, t->encoding->count + 1);
    if (!none) return tb_out_of_memory(error);
    TB_TRY(tb_words_make(&words, t->arena, t->review->text, t->encoding, none, error));
    t->n = words.n_words;
    t->marked = TB_NEW(t->arena, bool, t->n + 1);
    t->chosen = TB_NEW(t->arena, bool, t->n + 1);
    t->value = TB_NEW(t->arena, double, t->n + 1);
    t->order = TB_NEW(t->arena, int64_t, t->n + 1);
    if (!t->marked || !t->chosen || !t->value || !t->order) return tb_out_of_memory(error);
    for (int i = 0; i < t->n; i++) t->marked[i] = overlaps(t->review, words.words[i].at);
    return TIBA_OK;
}

static tiba_status run_text(tb_eval *eval, text *t, const char *name, double share,
                            tiba_error *error) {
    tiba_run *run;
    tiba_result *results[TB_MOST_METHODS] = {NULL};
    TB_TRY(tiba_run_create(&run, eval->subject->model, t->sample.n_feeds, t->sample.feeds, NULL,
                           error));
    int64_t n;
    tb_eval_item *item = NULL;
    const float *scores = tb_eval_scores(run, 0, &n);
    tiba_status status = TIBA_OK;
    if (!scores || t->review->label >= n)
        status = tb_fail(error, TIBA_ERROR_INPUT, "the model has no class %lld for %s",
                         (long long)t->review->label, name);
    else
        status = tb_eval_add(&item, eval, name, tb_eval_best(scores, n) == t->review->label, error);
    if (status == TIBA_OK) t->full = tb_eval_probability(scores, n, t->review->label);
    for (int m = 0; m < eval->n_methods && status == TIBA_OK; m++)
        status = tb_eval_explain(&results[m], eval, m, run, t->review->label, error);
    tiba_run_destroy(run); /* its plan is not that of the shorter texts */
    for (int m = 0; m < eval->n_methods; m++) {
        tb_words words;
        if (results[m] && status == TIBA_OK) status = words_of(&words, t, results[m], error);
        if (results[m] && status == TIBA_OK)
            status = measure(eval, item, m, t, &words, share, error);
        tiba_result_destroy(results[m]);
    }
    return status;
}

/* The marked share of the words, which says how many words a rationale has (ERASER). */
static tiba_status run_texts(tb_eval *eval, text *texts, const tb_review *reviews, int count,
                             tiba_error *error) {
    double marked = 0, words = 0;
    for (int i = 0; i < count; i++) {
        texts[i].review = &reviews[i];
        texts[i].arena = tb_arena_create(NULL);
        if (!texts[i].arena) return tb_out_of_memory(error);
        TB_TRY(open_text(&texts[i], eval, error));
        for (int k = 0; k < texts[i].n; k++) marked += texts[i].marked[k];
        words += texts[i].n;
    }
    for (int i = 0; i < count; i++) {
        const char *name = tb_arena_format(eval->arena, "text %d", i + 1);
        if (!name) return tb_out_of_memory(error);
        TB_TRY(run_text(eval, &texts[i], name, words > 0 ? marked / words : 0, error));
    }
    return TIBA_OK;
}

tiba_status tb_eval_rationale(tb_eval *eval, tiba_error *error) {
    tb_review *reviews;
    int count;
    eval->metrics = metrics;
    eval->n_metrics = N_METRICS;
    if (!tb_eval_is_text(eval))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "%s: rationale wants a .json file of texts or a folder with docs/",
                       eval->data);
    TB_TRY(tb_reviews_read(&reviews, &count, eval, error));
    text *texts = TB_NEW(eval->arena, text, count);
    if (!texts) return tb_out_of_memory(error);
    tiba_status status = run_texts(eval, texts, reviews, count, error);
    for (int i = 0; i < count; i++) tb_arena_destroy(texts[i].arena);
    return status;
}
