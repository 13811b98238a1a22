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

/* Words [start, end). */
typedef struct span {
    int start, end;
} span;

/* A text's words and which of them are marked. */
typedef struct text {
    tb_eval *eval;
    tb_arena *arena;
    const tb_review *review;
    tb_sample sample;
    const tb_encoding *encoding;
    double share;
    int n, n_all;          /* words that the model reads, and with those beyond its length */
    tb_word *words;        /* [n_all] without values */
    int *group;            /* word of each of the tokenizer's words, -1: none */
    bool *marked, *chosen; /* [n_all] */
    double *value;         /* [n_all] -infinity: the model does not read it */
    int64_t *order;        /* [n] most relevant first */
    int n_spans;
    span *spans;    /* marked ones, each once */
    int64_t answer; /* class that the model gives */
    double full;    /* its probability */
    int n_variants; /* texts without words */
    const char *variants[MOST_VARIANTS];
    double probability[MOST_VARIANTS];
    int tests[TB_MOST_METHODS][N_TESTS]; /* index in variants: the bins', then of the length; each
                                            without and alone */
} text;

static double f1(double hits, double said, double marked) {
    return said + marked > 0 ? 200 * hits / (said + marked) : 0;
}

/* The k most relevant words into `chosen`; how many there are. */
static int choose(text *t, int k) {
    memset(t->chosen, 0, (size_t)t->n_all * sizeof *t->chosen);
    if (k > t->n) k = t->n;
    for (int i = 0; i < k; i++) t->chosen[t->order[i]] = true;
    return k;
}

/* Does it overlap a marked span with an IoU of at least half? */
static bool matches(const text *t, span a) {
    for (int i = 0; i < t->n_spans; i++) {
        span b = t->spans[i];
        int common = (a.end < b.end ? a.end : b.end) - (a.start > b.start ? a.start : b.start);
        if (common > 0 && 2 * common >= a.end - a.start + b.end - b.start - common) return true;
    }
    return false;
}

/* Precision and recall of the runs of chosen words; F1 of their means over the texts is ERASER's
 * macro average. */
static tb_eval_cell iou_f1(const text *t) {
    int said = 0, hits = 0;
    for (int i = 0; i < t->n_all; i++) {
        span run = {i, i};
        while (run.end < t->n_all && t->chosen[run.end]) run.end++;
        if (run.end == i) continue;
        said++;
        hits += matches(t, run);
        i = run.end;
    }
    double precision = said ? 100.0 * hits / said : 0;
    double recall = t->n_spans ? 100.0 * hits / t->n_spans : 0;
    return (tb_eval_cell){{precision, recall}, {said > 0, t->n_spans > 0}};
}

/* -------------------------------------------------------------------- against marked words */

/* A word is as relevant as its most relevant piece, as in the paper's code. */
static tiba_status order_words(text *t, const tb_words *words, tiba_error *error) {
    for (int i = 0; i < t->n_all; i++) t->value[i] = -INFINITY;
    for (int i = 0; i < words->n_tokens; i++) {
        const tb_token_value *token = &words->tokens[i];
        int group = token->word >= 0 ? t->group[token->word] : -1;
        if (group >= 0) t->value[group] = fmax(t->value[group], token->value);
    }
    for (int i = 0; i < t->n; i++) /* a word that the tokenizer made nothing of */
        if (isinf(t->value[i])) t->value[i] = 0.0;
    return tb_order(t->order, t->value, t->n, error);
}

/* As many words as people mark on average. */
static int marked_length(const text *t) {
    int k = (int)(t->share * t->n_all + 0.5);
    return k > 0 ? k : 1;
}

static tiba_status compare(text *t, const tb_eval_item *item, int m, tiba_error *error) {
    const tb_eval *eval = t->eval;
    int marked = 0;
    double average, area;
    for (int i = 0; i < t->n_all; i++) marked += t->marked[i];
    for (int k = 0; k < N_TOP; k++) {
        int hits = 0, said = choose(t, 5 * (k + 1));
        for (int i = 0; i < t->n; i++) hits += t->chosen[i] && t->marked[i];
        tb_eval_set(eval, item, m, k, f1(hits, said, marked));
    }
    TB_TRY(tb_eval_precision(&average, &area, t->value, t->marked, t->n_all, error));
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
        memcpy(rest + used, t->words[i].text.data, t->words[i].text.size);
        used += t->words[i].text.size;
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
        status = tiba_run_forward(&run, t->eval->subject->model, sample.n_feeds, sample.feeds, NULL,
                                  error);
    for (int i = from; i < to && status == TIBA_OK; i++) {
        int64_t n;
        const float *scores = tb_eval_scores(t->eval, run, i - from, &n);
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

/* What blanks separate, by the tokens that lie in it. */
static tiba_status split_at_blanks(text *t, const tb_words *tokens, tiba_error *error) {
    const char *c = t->review->text;
    tb_word *list = t->words = TB_NEW(t->arena, tb_word, strlen(c) / 2 + 1);
    uint32_t point = 0;
    int next = 0;
    if (!list) return tb_out_of_memory(error);
    while (*c) {
        if (tb_review_blank(*c)) {
            c++, point++;
            continue;
        }
        tb_word *word = &list[t->n_all];
        *word = (tb_word){.text = {c, 0}, .at = {point, point}};
        for (; *c && !tb_review_blank(*c); c++, word->text.size++)
            point += ((unsigned char)*c & 0xC0) != 0x80;
        word->at.end = point;
        for (; next < tokens->n_words && tokens->words[next].at.start < point; next++) {
            t->group[next] = t->n_all;
            t->n = t->n_all + 1;
        }
        t->n_all++;
    }
    for (; next < tokens->n_words; next++) t->group[next] = -1; /* of no letters */
    return TIBA_OK;
}

static tiba_status find_words(text *t, const tb_words *tokens, tiba_error *error) {
    t->group = TB_NEW(t->arena, int, tokens->n_words + 1);
    if (!t->group) return tb_out_of_memory(error);
    if (t->review->blanks) return split_at_blanks(t, tokens, error);
    t->n = t->n_all = tokens->n_words;
    t->words = tokens->words;
    for (int i = 0; i < t->n; i++) t->group[i] = i;
    return TIBA_OK;
}

/* The words that a marked place overlaps. */
static void mark(text *t, tb_offsets at) {
    span found = {0, 0};
    for (int i = 0; i < t->n_all; i++) {
        if (t->words[i].at.start >= at.end || at.start >= t->words[i].at.end) continue;
        if (found.end == 0) found.start = i;
        found.end = i + 1;
        t->marked[i] = true;
    }
    for (int i = 0; i < t->n_spans; i++)
        if (t->spans[i].start == found.start && t->spans[i].end == found.end) return;
    if (found.end > 0) t->spans[t->n_spans++] = found;
}

static tiba_status open_text(text *t, tiba_error *error) {
    TB_TRY(tb_subject_sample_texts(&t->sample, t->eval->subject, t->arena, 0, NULL, 1,
                                   &t->review->text, error));
    t->encoding = &t->sample.encodings[0];
    float *none = TB_NEW(t->arena, float, t->encoding->count + 1);
    if (!none) return tb_out_of_memory(error);
    tb_words words;
    TB_TRY(tb_words_make(&words, t->arena, t->review->text, t->encoding, none, error));
    TB_TRY(find_words(t, &words, error));
    t->marked = TB_NEW(t->arena, bool, t->n_all + 1);
    t->chosen = TB_NEW(t->arena, bool, t->n_all + 1);
    t->value = TB_NEW(t->arena, double, t->n_all + 1);
    t->order = TB_NEW(t->arena, int64_t, t->n + 1);
    t->spans = TB_NEW(t->arena, span, t->review->n_evidence + 1);
    if (!t->marked || !t->chosen || !t->value || !t->order || !t->spans)
        return tb_out_of_memory(error);
    for (int i = 0; i < t->review->n_evidence; i++) mark(t, t->review->evidence[i]);
    return TIBA_OK;
}

/* The order of the words for a class. *there: the method has one. */
static tiba_status explain(bool *there, text *t, int m, tiba_run *run, int64_t class,
                           tiba_error *error) {
    tiba_result *result;
    tb_words words;
    TB_TRY(tb_eval_explain(&result, t->eval, m, run, 1, &class, error));
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
    TB_TRY(tb_eval_forward(&run, eval, &t->sample, t->arena, error));
    const float *scores = tb_eval_scores(eval, run, 0, &n);
    tiba_status status = TIBA_OK;
    if (t->review->label >= n) {
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
    text *t = new_text(eval, unit);
    tiba_status status =
        t && t->arena ? measure_text(t, t->review->name, error) : tb_out_of_memory(error);
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
        for (int k = 0; status == TIBA_OK && k < t->n_all; k++) marked += t->marked[k];
        words += t ? t->n_all : 0;
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
