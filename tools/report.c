#include "tools/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/heatmap.h"
#include "tools/order.h"

const char *tb_kind_name(tb_kind kind) {
    static const char *const names[] = {
        [TB_KIND_VALUES] = "values",           [TB_KIND_CLASSES] = "classes",
        [TB_KIND_MULTI_LABEL] = "multi-label", [TB_KIND_REGRESSION] = "regression",
        [TB_KIND_TOKENS] = "tokens",           [TB_KIND_PAIRS] = "pairs",
        [TB_KIND_SIMILARITY] = "similarity"};
    return names[kind];
}

void tb_report_note(tb_report *r, const char *text) {
    for (int i = 0; text && i < r->n_notes; i++)
        if (strcmp(r->notes[i], text) == 0) return;
    if (text && r->n_notes < TB_MOST_NOTES) r->notes[r->n_notes++] = text;
}

/* -------------------------------------------------------------------- scores */

static void softmax(double *p, const double *x, int64_t n) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, x[i]);
    for (int64_t i = 0; i < n; i++) sum += p[i] = exp(x[i] - most);
    for (int64_t i = 0; i < n; i++) p[i] /= sum;
}

tiba_status tb_scores_make(tb_scores *out, tb_arena *arena, int64_t n, const double *logit,
                           tb_kind kind, tiba_error *error) {
    *out = (tb_scores){.n = n};
    out->logit = TB_NEW(arena, double, n);
    out->order = TB_NEW(arena, int64_t, n);
    bool some = kind == TB_KIND_CLASSES || kind == TB_KIND_MULTI_LABEL || kind == TB_KIND_TOKENS ||
                (kind == TB_KIND_PAIRS && n > 1);
    if (some) out->probability = TB_NEW(arena, double, n);
    if (!out->logit || !out->order || (some && !out->probability)) return tb_out_of_memory(error);
    for (int64_t i = 0; i < n; i++) {
        out->logit[i] = logit[i];
        if (kind == TB_KIND_MULTI_LABEL) out->probability[i] = 1.0 / (1.0 + exp(-logit[i]));
    }
    if (some && kind != TB_KIND_MULTI_LABEL) softmax(out->probability, logit, n);
    return tb_order(out->order, logit, n, error);
}

static bool mentions(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

/* Does the folder or the output's name say that these are no classes? */
static bool is_embedding(const tb_report *r, const char *output) {
    if (mentions(output, "embed") || mentions(output, "pooler") || mentions(output, "hidden"))
        return true;
    const char *pooling = tb_path_join(r->arena, r->subject->folder, "1_Pooling");
    return pooling && tb_is_folder(pooling);
}

static tb_kind find_kind(const tb_report *r, const tiba_tensor *y, const char *output) {
    const tb_labels *labels = &r->subject->labels;
    const tb_sample *sample = r->sample;
    int64_t last = y->rank ? y->dims[y->rank - 1] : 1;
    if (sample->image_input && sample->n_texts && y->rank == 2 &&
        y->dims[0] * y->dims[1] == sample->text_rows)
        return TB_KIND_PAIRS;
    if (y->rank == 3 && sample->n_texts && y->dims[0] == sample->text_rows) {
        int64_t words = (int64_t)tb_tokenizer_vocab_size(r->subject->tokenizer);
        bool language = last == words || (last >= words && mentions(labels->architecture, "LM"));
        bool fits = y->dims[1] >= (int64_t)sample->encodings[0].count;
        return fits && (last == labels->count || language) ? TB_KIND_TOKENS : TB_KIND_VALUES;
    }
    if (y->rank > 2) return TB_KIND_VALUES;
    if (last == 1) return TB_KIND_REGRESSION;
    if (labels->problem == TB_PROBLEM_MULTI_LABEL) return TB_KIND_MULTI_LABEL;
    if (labels->count != last && is_embedding(r, output)) return TB_KIND_VALUES;
    return TB_KIND_CLASSES;
}

static bool is_mask(const tb_text *token) {
    return (token->size == 6 && memcmp(token->data, "[MASK]", 6) == 0) ||
           (token->size == 6 && memcmp(token->data, "<mask>", 6) == 0);
}

static bool is_outside(const char *label) {
    return label && (strcmp(label, "O") == 0 || strcmp(label, "o") == 0);
}

/* Which token to explain when nobody says: the masked or last one of a language model, the first
 * one that a tagger labels. */
static int64_t find_token(tb_report *r, const tiba_tensor *y) {
    const tb_encoding *e = &r->sample->encodings[0];
    const tb_labels *labels = &r->subject->labels;
    int64_t classes = y->dims[2], first = 0, ordinary = -1;
    bool tagger = labels->count == classes;
    const char *why = NULL;
    for (int64_t t = (int64_t)e->count - 1; t >= 0; t--) {
        if (!tagger && is_mask(&e->tokens[t])) first = t, why = "the masked one";
        if (e->special_tokens[t]) continue;
        ordinary = t;
        const float *x = (const float *)y->data + t * classes;
        int64_t best = 0;
        for (int64_t k = 1; k < classes; k++)
            if (x[k] > x[best]) best = k;
        if (tagger && !is_outside(labels->names[best])) first = t, why = "the first with a label";
    }
    if (!why && !tagger && !mentions(labels->architecture, "MaskedLM"))
        first = (int64_t)e->count - 1, why = "the last one, which predicts the next";
    if (!why) first = ordinary < 0 ? 0 : ordinary, why = "the first one";
    tb_report_note(r, tb_arena_format(r->arena,
                                      "token %lld '%.*s' is explained, %s; --target TOKEN,CLASS "
                                      "picks another",
                                      (long long)first, (int)e->tokens[first].size,
                                      e->tokens[first].data, why));
    return first;
}

/* The logits of `n` elements from `first`, and what the graph's own final step made of them. */
static tiba_status scores_of(tb_scores *out, const tb_report *r, const tiba_tensor *y,
                             const tiba_tensor *before, int64_t first, int64_t n,
                             tiba_error *error) {
    double *logit = TB_NEW(r->arena, double, n);
    if (!logit) return tb_out_of_memory(error);
    const float *after = (const float *)y->data + first;
    const float *x = before->data ? (const float *)before->data + first : after;
    for (int64_t i = 0; i < n; i++) logit[i] = (double)x[i];
    TB_TRY(tb_scores_make(out, r->arena, n, logit, r->kind, error));
    out->first = first;
    if (x == after || !out->probability) return TIBA_OK;
    bool logarithm = true; /* LogSoftmax */
    for (int64_t i = 0; i < n; i++) logarithm &= after[i] <= 0.0f;
    for (int64_t i = 0; i < n; i++)
        out->probability[i] = logarithm ? exp((double)after[i]) : (double)after[i];
    return TIBA_OK;
}

tiba_status tb_report_scores(tb_report *r, tiba_error *error) {
    int index = tiba_run_explained_output(r->run);
    tiba_tensor y = tiba_run_output(r->run, index), before = tiba_run_logits(r->run);
    if (tb_tensor_count(&y) == 0) return TIBA_OK;
    const char *name = tiba_model_output(r->subject->model, index).name;
    const char *op, *of = tiba_model_behind(r->subject->model, index, &op);
    if (of)
        tb_report_note(r, tb_arena_format(
                              r->arena, "explained: '%.200s', of which %.60s makes output '%.200s'",
                              name, op, of));
    for (int i = 0; i < tiba_model_outputs(r->subject->model); i++)
        if (tiba_run_blocked(r->run, i))
            tb_report_note(r, tb_arena_format(r->arena, "output '%.200s' is left out: %s",
                                              tiba_model_output(r->subject->model, i).name,
                                              tiba_run_blocked(r->run, i)));
    r->kind = find_kind(r, &y, name);
    r->labels = r->subject->labels;
    int64_t n = y.rank ? y.dims[y.rank - 1] : 1, samples = y.rank > 1 ? y.dims[0] : 1;
    if (r->kind == TB_KIND_VALUES) return TIBA_OK;
    if (r->kind == TB_KIND_TOKENS) {
        r->token = find_token(r, &y);
        samples = 1;
    }
    if (r->kind == TB_KIND_PAIRS) {
        n = r->sample->n_texts;
        samples = 1;
        r->labels = (tb_labels){.count = n, .names = r->sample->texts};
    }
    int64_t given = r->sample->given;
    if (given && given < samples) {
        tb_report_note(r, tb_arena_format(r->arena,
                                          "the model takes %lld samples at once: the last one that "
                                          "was given fills the other places",
                                          (long long)samples));
        samples = given;
    }
    r->scores = TB_NEW(r->arena, tb_scores, samples);
    if (!r->scores) return tb_out_of_memory(error);
    r->n_samples = (int)samples;
    for (int64_t s = 0; s < samples; s++)
        TB_TRY(scores_of(&r->scores[s], r, &y, &before, (s + r->token) * n, n, error));
    return TIBA_OK;
}

const char *tb_report_label(const tb_report *r, int64_t k) {
    if (k >= 0 && k < r->labels.count && r->labels.names[k]) return r->labels.names[k];
    if (r->kind == TB_KIND_REGRESSION) return "value";
    if (r->kind == TB_KIND_TOKENS && r->subject->tokenizer) {
        tb_text token = tb_tokenizer_token(r->subject->tokenizer, k);
        char *text = token.size ? tb_arena_strndup(r->arena, token.data, token.size) : NULL;
        if (text) return text;
    }
    char *text = tb_arena_format(
        r->arena, r->kind == TB_KIND_VALUES ? "element %lld" : "class %lld", (long long)k);
    return text ? text : "";
}

int64_t tb_report_class(const tb_report *r, int64_t place) {
    return r->n_samples && place < r->scores[0].n ? r->scores[0].order[place] : 0;
}

/* -------------------------------------------------------------------- views */

const float *tb_patch_grid(const tiba_tower *tower, int64_t at) {
    return tower->relevance + at * tower->tokens + tower->prefix;
}

const tiba_tower *tb_image_tower(const tiba_result *result, const char *input) {
    for (int t = 0; t < tiba_result_towers(result); t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        if (tower->rows > 0 && input && strcmp(tower->input, input) == 0) return tower;
    }
    return NULL;
}

/* The first tower that has room for all tokens of a text, and which text that is: *k. -1: none. */
static int text_tower(const tb_report *r, const tiba_result *result, int at, int text, int64_t *k) {
    const tb_sample *sample = r->sample;
    for (int t = 0; t < tiba_result_towers(result) && sample->text_input; t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        *k = text >= 0 ? text : tower->sample[at];
        if (tower->rows || strcmp(tower->input, sample->text_input) != 0) continue;
        /* what stands in front of the text (a class token, a picture's tokens) is no word of it */
        int64_t prefix = tower->prefix > 0 ? tower->prefix : 0;
        if (*k < sample->n_texts && tower->tokens - prefix >= (int64_t)sample->encodings[*k].count)
            return t;
    }
    return -1;
}

/* Relevance of the text's own tokens, in their order: those of a tower that holds them in other
 * places (shifted by one that it starts with) are found by these. */
static const float *by_place(const tb_report *r, const tiba_tower *tower, int64_t at) {
    int64_t prefix = tower->prefix > 0 ? tower->prefix : 0;
    const float *relevance = tower->relevance + at * tower->tokens;
    bool moved = false;
    for (int64_t i = 0; tower->origins && i < tower->tokens; i++)
        moved |= tower->origins[i] && strcmp(tower->origins[i], r->sample->text_input) == 0 &&
                 tower->places[i] >= 0 && tower->places[i] != i - prefix;
    if (!moved) return relevance + prefix;
    float *own = TB_NEW(r->arena, float, tower->tokens);
    for (int64_t i = 0; own && i < tower->tokens; i++)
        if (tower->origins[i] && strcmp(tower->origins[i], r->sample->text_input) == 0 &&
            tower->places[i] >= 0 && tower->places[i] < tower->tokens)
            own[tower->places[i]] += relevance[i];
    return own;
}

tiba_status tb_report_words(tb_words **out, tb_report *r, const tiba_result *result, int at,
                            int text, tiba_error *error) {
    *out = NULL;
    int64_t k;
    int t = text_tower(r, result, at, text, &k);
    if (t < 0) return TIBA_OK;
    const float *relevance = by_place(r, tiba_result_tower(result, t), at);
    *out = TB_NEW(r->arena, tb_words, 1);
    if (!*out || !relevance) return tb_out_of_memory(error);
    return tb_words_make(*out, r->arena, r->sample->texts[k], &r->sample->encodings[k], relevance,
                         error);
}

tiba_status tb_view_add_towers(tb_view *v, tb_report *r, const tiba_result *result, int text,
                               tiba_error *error) {
    int at = 0;
    bool partner = r->text_run != NULL;
    for (int t = 0; t < tiba_result_towers(result) && v->n_towers < TB_MOST_TOWERS; t++)
        v->towers[v->n_towers++] =
            (tb_view_tower){.tower = tiba_result_tower(result, t), .at = at, .partner = partner};
    return v->words ? TIBA_OK : tb_report_words(&v->words, r, result, at, text, error);
}

tiba_status tb_view_other(tb_view *v, tb_report *r, const tiba_result *result, int text,
                          tiba_error *error) {
    for (int t = 0; t < tiba_result_towers(result); t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        if (!r->sample->text_input || strcmp(tower->input, r->sample->text_input) != 0) continue;
        v->other_in += tower->relevance_in[0];
        v->other_not_finite += tower->not_finite[0];
    }
    return tb_report_words(&v->other, r, result, 0, text, error);
}

static void describe(tb_view *v, const tb_report *r) {
    if (!isnan(v->probability) && r->kind != TB_KIND_PAIRS)
        v->detail = tb_arena_format(r->arena, "probability %.1f %%", 100.0 * v->probability);
    else
        v->detail = tb_arena_format(r->arena, "%s %.4g",
                                    r->kind == TB_KIND_PAIRS ? "score" : "value", v->logit);
    if (!v->detail) v->detail = "";
}

/* Label and probability of the view's target by the scores. */
static void name_target(tb_view *v, const tb_report *r) {
    const tiba_target *t = &v->target;
    tiba_tensor y = tiba_run_output(r->run, t->output);
    int64_t element = 0, last = t->rank ? t->index[t->rank - 1] : 0;
    for (int d = 0; d < t->rank; d++) element = element * y.dims[d] + t->index[d];
    v->logit = (double)t->logit;
    v->probability = NAN;
    int64_t k = last;
    for (int s = 0; s < r->n_samples; s++) {
        const tb_scores *scores = &r->scores[s];
        if (element < scores->first || element >= scores->first + scores->n) continue;
        k = element - scores->first;
        if (scores->probability) v->probability = scores->probability[k];
    }
    v->label = tb_report_label(r, k);
    describe(v, r);
}

void tb_report_use(tb_report *report, tiba_method method) {
    tiba_method_facts facts;
    if (!tiba_method_at(&facts, (int)method)) return;
    report->method = facts.name;
    report->has_sign = facts.signs || report->keeps_sign;
    report->carries = facts.relevance;
}

tiba_status tb_report_view(tb_view **out, tb_report *r, const tiba_result *result, int at, int text,
                           tiba_error *error) {
    tb_view *list = TB_NEW(r->arena, tb_view, r->n_views + 1);
    if (!list) return tb_out_of_memory(error);
    if (r->n_views) memcpy(list, r->views, (size_t)r->n_views * sizeof *list);
    r->views = list;
    tb_view *v = *out = &list[r->n_views++];
    v->target = *tiba_result_target(result, at);
    v->method = r->method;
    v->carries = r->carries;
    v->has_sign = r->has_sign;
    v->label = "";
    v->logit = v->probability = NAN;
    v->detail = "";
    for (int t = 0; t < tiba_result_towers(result) && v->n_towers < TB_MOST_TOWERS; t++)
        v->towers[v->n_towers++] = (tb_view_tower){.tower = tiba_result_tower(result, t), .at = at};
    for (int t = 0; t < v->n_towers; t++) tb_report_note(r, v->towers[t].tower->note);
    v->image = tb_image_tower(result, r->sample->image_input);
    if (v->image) {
        const tiba_tower *t = v->image;
        v->grid = tb_patch_grid(t, at);
        v->map = t->map + at * t->map_rows * t->map_columns;
        v->map_rows = (int)t->map_rows, v->map_columns = (int)t->map_columns;
        tb_heatmap_range(&v->low, &v->high, v->grid, (size_t)(v->image->rows * v->image->columns));
    }
    if (v->target.rank || !isnan((double)v->target.logit)) name_target(v, r);
    TB_TRY(tb_report_words(&v->words, r, result, at, text, error));
    int64_t k;
    int words = text_tower(r, result, at, text, &k);
    for (int t = 0; t < v->n_towers; t++) {
        const tiba_tower *tower = v->towers[t].tower;
        if (tower == v->image || t == words) continue;
        tb_token_list *own = &v->lists[v->n_lists++];
        TB_TRY(tb_token_list_make(own, r->arena, r->subject, r->sample, tower, at, error));
        int twins = 0; /* towers of the same input get numbers from the second on */
        for (int i = 0; i < t; i++) twins += strcmp(v->towers[i].tower->input, tower->input) == 0;
        if (twins) own->title = tb_arena_format(r->arena, "%s (tower %d)", tower->input, twins + 1);
        if (!own->title) return tb_out_of_memory(error);
    }
    return TIBA_OK;
}
