/*
 * eval_rationale.c: are the words that a method calls relevant for the label the ones that people
 * marked, and do the words that it calls relevant for the model's answer carry that answer? The
 * paper's token F1 of the k most relevant words, and the measurements of ERASER (DeYoung et al.,
 * ACL 2020): IOU-F1 and the area under precision and recall against the marked words;
 * comprehensiveness and sufficiency by taking words out of the text, as means over the most
 * relevant 1, 5, 10, 20 and 50 % of the words.
 */
#include <math.h>
#include <string.h>

#include "tools/eval.h"
#include "tools/order.h"
#include "tools/words.h"

enum {
    N_TOP = 16,
    N_BINS = 5,
    IOU_F1 = N_TOP,
    AUPRC,
    COMPREHENSIVE,
    SUFFICIENT,
    LENGTH_COMPREHENSIVE,
    LENGTH_SUFFICIENT,
    BIN_COMPREHENSIVE,
    BIN_SUFFICIENT = BIN_COMPREHENSIVE + N_BINS,
    N_METRICS = BIN_SUFFICIENT + N_BINS
};
static const int bins[N_BINS] = {1, 5, 10, 20, 50}; /* % of the words */
#define TOP(k, is_shown)                                                                           \
    {                                                                                              \
        .name = "token F1 at " #k, .summary = "of the " #k " most relevant words, in %",           \
        .shown = is_shown, .curve = "token F1", .x = k, .axis = "most relevant words"              \
    }
#define BIN(of, k)                                                                                 \
    {                                                                                              \
        .name = of " at " #k " %", .summary = "of the " #k " % most relevant words",               \
        .fraction = true, .curve = of, .x = k, .axis = "most relevant words, in %"                 \
    }
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
    [IOU_F1] = {.name = "IOU-F1",
                .summary = "spans that overlap a marked one by half, in %",
                .form = TB_EVAL_F1,
                .shown = true},
    [AUPRC] = {.name = "AUPRC",
               .summary = "area under precision against recall of the words, in %",
               .shown = true},
    [COMPREHENSIVE] = {.name = "comprehensiveness",
                       .summary =
                           "what the answer's probability loses without the most relevant 1, 5, "
                           "10, 20 and 50 % of the words, on average: higher is better",
                       .shown = true,
                       .fraction = true},
    [SUFFICIENT] = {.name = "sufficiency",
                    .summary = "what it loses with those words alone: lower is better",
                    .shown = true,
                    .fraction = true},
    [LENGTH_COMPREHENSIVE] = {.name = "comprehensiveness at the marked length",
                              .summary = "with as many words as people mark on average",
                              .fraction = true},
    [LENGTH_SUFFICIENT] = {.name = "sufficiency at the marked length",
                           .summary = "with as many words as people mark on average",
                           .fraction = true},
    [BIN_COMPREHENSIVE] = BIN("comprehensiveness", 1),
    BIN("comprehensiveness", 5),
    BIN("comprehensiveness", 10),
    BIN("comprehensiveness", 20),
    BIN("comprehensiveness", 50),
    BIN("sufficiency", 1),
    BIN("sufficiency", 5),
    BIN("sufficiency", 10),
    BIN("sufficiency", 20),
    BIN("sufficiency", 50)};

enum { N_TESTS = 2 * (N_BINS + 1), MOST_VARIANTS = N_TESTS * TB_MOST_METHODS, MOST_AT_ONCE = 16 };

typedef struct data {
    tb_review *reviews;
    double share; /* of the words that people mark, over all texts */
} data;

/* A text's words and which of them are marked. */
typedef struct text {
    tb_eval *eval;
    tb_arena *arena;
    const tb_review *review;
    tb_sample sample;
    const tb_encoding *encoding;
    double share;
    int n;
    tb_words words;        /* without values */
    bool *marked, *chosen; /* [n] */
    double *value;         /* [n] */
    int64_t *order;        /* [n] most relevant first */
    int64_t answer;        /* class that the model gives */
    double full;           /* its probability */
    int n_variants;        /* texts without words */
    const char *variants[MOST_VARIANTS];
    double probability[MOST_VARIANTS];
    int tests[TB_MOST_METHODS][N_TESTS]; /* index in variants: the bins', then of the length; each
                                            without and alone */
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

/* Precision and recall of the spans; F1 of their means over the texts is ERASER's macro average. */
static tb_eval_cell iou_f1(const text *t) {
    int said, marked, hits = matched_spans(t->chosen, t->marked, t->n, &said);
    matched_spans(t->marked, t->chosen, t->n, &marked);
    double precision = said ? 100.0 * hits / said : 0, recall = marked ? 100.0 * hits / marked : 0;
    return (tb_eval_cell){{precision, recall}, {said > 0, marked > 0}};
}

/* -------------------------------------------------------------------- against marked words */

static tiba_status order_words(text *t, const tb_words *words, tiba_error *error) {
    for (int i = 0; i < t->n; i++) t->value[i] = words->words[i].value;
    return tb_order(t->order, t->value, t->n, error);
}

/* As many words as people mark on average. */
static int marked_length(const text *t) {
    int k = (int)(t->share * t->n + 0.5);
    return k > 0 ? k : 1;
}

static tiba_status compare(text *t, const tb_eval_item *item, int m, tiba_error *error) {
    const tb_eval *eval = t->eval;
    int marked = 0;
    double average, area;
    for (int i = 0; i < t->n; i++) marked += t->marked[i];
    for (int k = 0; k < N_TOP; k++) {
        int hits = 0, said = choose(t, 5 * (k + 1));
        for (int i = 0; i < t->n; i++) hits += t->chosen[i] && t->marked[i];
        tb_eval_set(eval, item, m, k, f1(hits, said, marked));
    }
    TB_TRY(tb_eval_precision(&average, &area, t->value, t->marked, t->n, error));
    if (marked) tb_eval_set(eval, item, m, AUPRC, 100 * area);
    choose(t, marked_length(t));
    *tb_eval_at(eval, item, m, IOU_F1) = iou_f1(t);
    return TIBA_OK;
}

/* -------------------------------------------------------------------- taking words out */

/* The words that are (or are not) chosen as a text of their own: its place in the variants, where
 * methods that choose the same words share one. -1: out of memory. */
static int add_variant(text *t, bool chosen) {
    size_t size = strlen(t->review->text) + (size_t)t->n + 1, used = 0;
    char *rest = TB_NEW(t->arena, char, size);
    for (int i = 0; rest && i < t->n; i++) {
        if (t->chosen[i] != chosen) continue;
        if (used) rest[used++] = ' ';
        memcpy(rest + used, t->words.words[i].text.data, t->words.words[i].text.size);
        used += t->words.words[i].text.size;
    }
    if (!rest) return -1;
    for (int i = 0; i < t->n_variants; i++)
        if (strcmp(t->variants[i], rest) == 0) return i;
    t->variants[t->n_variants] = rest;
    return t->n_variants++;
}

static tiba_status plan_tests(text *t, int m, tiba_error *error) {
    for (int k = 0; k <= N_BINS; k++) {
        int many = k < N_BINS ? (int)ceil(bins[k] * t->n / 100.0) : marked_length(t);
        choose(t, many);
        t->tests[m][2 * k] = add_variant(t, false);
        t->tests[m][2 * k + 1] = add_variant(t, true);
        if (t->tests[m][2 * k] < 0 || t->tests[m][2 * k + 1] < 0) return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

/* The answer's probability in variants [from, to), padded to one length. */
static tiba_status run_variants(text *t, int from, int to, tiba_error *error) {
    tb_arena *arena = tb_arena_create(NULL);
    tb_sample sample;
    tiba_run *run = NULL;
    if (!arena) return tb_out_of_memory(error);
    tiba_status status = tb_subject_sample_texts(&sample, t->eval->subject, arena, 0, NULL,
                                                 to - from, t->variants + from, error);
    if (status == TIBA_OK)
        status = tiba_run_create(&run, t->eval->subject->model, sample.n_feeds, sample.feeds, NULL,
                                 error);
    for (int i = from; i < to && status == TIBA_OK; i++) {
        int64_t n;
        const float *scores = tb_eval_scores(run, i - from, &n);
        t->probability[i] = scores ? tb_eval_probability(scores, n, t->answer) : NAN;
    }
    tiba_run_destroy(run);
    tb_arena_destroy(arena);
    return status;
}

static tiba_status run_tests(text *t, tiba_error *error) {
    int most = tb_eval_pads(t->eval) ? MOST_AT_ONCE : 1;
    for (int i = 0; i < t->n_variants; i += most) {
        int end = i + most < t->n_variants ? i + most : t->n_variants;
        TB_TRY(run_variants(t, i, end, error));
    }
    return TIBA_OK;
}

static void set_tests(const text *t, const tb_eval_item *item, int m) {
    double sum[2] = {0};
    for (int k = 0; k <= N_BINS; k++)
        for (int alone = 0; alone < 2; alone++) {
            double loss = t->full - t->probability[t->tests[m][2 * k + alone]];
            int metric =
                k == N_BINS ? LENGTH_COMPREHENSIVE + alone : BIN_COMPREHENSIVE + N_BINS * alone + k;
            tb_eval_set(t->eval, item, m, metric, loss);
            if (k < N_BINS) sum[alone] += loss / N_BINS;
        }
    tb_eval_set(t->eval, item, m, COMPREHENSIVE, sum[0]);
    tb_eval_set(t->eval, item, m, SUFFICIENT, sum[1]);
}

/* -------------------------------------------------------------------- a text */

static tiba_status words_of(tb_words *out, const text *t, const tiba_result *result,
                            tiba_error *error) {
    for (int k = 0; k < tiba_result_towers(result); k++) {
        const tiba_tower *tower = tiba_result_tower(result, k);
        if (strcmp(tower->input, t->sample.text_input) != 0) continue;
        return tb_words_make(out, t->arena, t->review->text, t->encoding, tower->relevance, error);
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "the model has no text tower");
}

static tiba_status open_text(text *t, tiba_error *error) {
    TB_TRY(tb_subject_sample_texts(&t->sample, t->eval->subject, t->arena, 0, NULL, 1,
                                   &t->review->text, error));
    t->encoding = &t->sample.encodings[0];
    float *none = TB_NEW(t->arena, float, t->encoding->count + 1);
    if (!none) return tb_out_of_memory(error);
    TB_TRY(tb_words_make(&t->words, t->arena, t->review->text, t->encoding, none, error));
    t->n = t->words.n_words;
    t->marked = TB_NEW(t->arena, bool, t->n + 1);
    t->chosen = TB_NEW(t->arena, bool, t->n + 1);
    t->value = TB_NEW(t->arena, double, t->n + 1);
    t->order = TB_NEW(t->arena, int64_t, t->n + 1);
    if (!t->marked || !t->chosen || !t->value || !t->order) return tb_out_of_memory(error);
    for (int i = 0; i < t->n; i++) t->marked[i] = overlaps(t->review, t->words.words[i].at);
    return TIBA_OK;
}

/* The order of the words for a class. *there: the method has one. */
static tiba_status explain(bool *there, text *t, int m, tiba_run *run, int64_t class,
                           tiba_error *error) {
    tiba_result *result;
    tb_words words;
    TB_TRY(tb_eval_explain(&result, t->eval, m, run, class, error));
    *there = result != NULL;
    if (!result) return TIBA_OK;
    tiba_status status = words_of(&words, t, result, error);
    if (status == TIBA_OK) status = order_words(t, &words, error);
    tiba_result_destroy(result);
    return status;
}

/* Words are compared with the marked ones by what speaks for the label, and taken out by what
 * speaks for the model's answer, as the paper and ERASER do. */
static tiba_status explain_all(text *t, const tb_eval_item *item, tiba_run *run,
                               tiba_error *error) {
    for (int m = 0; m < t->eval->n_methods; m++) {
        bool there;
        TB_TRY(explain(&there, t, m, run, t->review->label, error));
        if (!there) continue;
        TB_TRY(compare(t, item, m, error));
        if (t->answer != t->review->label) TB_TRY(explain(&there, t, m, run, t->answer, error));
        TB_TRY(plan_tests(t, m, error));
    }
    return TIBA_OK;
}

static tiba_status measure_text(text *t, const char *name, tiba_error *error) {
    tb_eval *eval = t->eval;
    tiba_run *run;
    tb_eval_item *item;
    int64_t n;
    TB_TRY(open_text(t, error));
    TB_TRY(tiba_run_create(&run, eval->subject->model, t->sample.n_feeds, t->sample.feeds, NULL,
                           error));
    const float *scores = tb_eval_scores(run, 0, &n);
    tiba_status status = TIBA_OK;
    if (!scores || t->review->label >= n) {
        status = tb_fail(error, TIBA_ERROR_INPUT, "the model has no class %lld for %s",
                         (long long)t->review->label, name);
    } else {
        t->answer = tb_eval_best(scores, n);
        t->full = tb_eval_probability(scores, n, t->answer);
        status = tb_eval_add(&item, eval, name, t->answer == t->review->label, error);
    }
    if (status == TIBA_OK) status = explain_all(t, item, run, error);
    tiba_run_destroy(run);
    if (status == TIBA_OK) status = run_tests(t, error);
    for (int m = 0; m < eval->n_methods && status == TIBA_OK; m++)
        if (!eval->refused[m]) set_tests(t, item, m);
    return status;
}

static text *new_text(tb_eval *eval, int unit) {
    const data *d = eval->state;
    text *t = tb_calloc(NULL, 1, sizeof *t);
    if (!t) return NULL;
    t->eval = eval;
    t->review = &d->reviews[unit];
    t->share = d->share;
    t->arena = tb_arena_create(NULL);
    return t;
}

static void free_text(text *t) {
    if (t) tb_arena_destroy(t->arena);
    tb_free(t);
}

static tiba_status measure(tb_eval *eval, int unit, tiba_error *error) {
    const char *name = tb_arena_format(eval->arena, "text %d", unit + 1);
    text *t = new_text(eval, unit);
    tiba_status status =
        name && t && t->arena ? measure_text(t, name, error) : tb_out_of_memory(error);
    free_text(t);
    return status;
}

/* -------------------------------------------------------------------- the data */

/* The marked share of the words, which says how many words a rationale has (ERASER). */
static tiba_status find_share(tb_eval *eval, data *d, tiba_error *error) {
    double marked = 0, words = 0;
    for (int i = 0; i < eval->n_units; i++) {
        text *t = new_text(eval, i);
        tiba_status status = t && t->arena ? open_text(t, error) : tb_out_of_memory(error);
        for (int k = 0; status == TIBA_OK && k < t->n; k++) marked += t->marked[k];
        words += t ? t->n : 0;
        free_text(t);
        TB_TRY(status);
    }
    d->share = words > 0 ? marked / words : 0;
    return TIBA_OK;
}

static tiba_status open_data(tb_eval *eval, tiba_error *error) {
    data *d = TB_NEW(eval->arena, data, 1);
    if (!d) return tb_out_of_memory(error);
    eval->state = d;
    eval->metrics = metrics;
    eval->n_metrics = N_METRICS;
    if (!tb_eval_is_text(eval))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "%s: rationale wants a .json file of texts or a folder with docs/",
                       eval->data);
    TB_TRY(tb_reviews_read(&d->reviews, &eval->n_units, eval, error));
    return find_share(eval, d, error);
}

const tb_eval_kind tb_eval_rationale = {"rationale", "words against those that people marked",
                                        open_data, measure};
