#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_write.h"
#include "tools/eval.h"

/* -------------------------------------------------------------------- items */

tiba_status tb_eval_add(tb_eval_item **out, tb_eval *eval, const char *name, bool correct,
                        tiba_error *error) {
    if (eval->n_items == eval->capacity) {
        int capacity = 2 * eval->capacity + 64;
        tb_eval_item *items = TB_NEW(eval->arena, tb_eval_item, capacity);
        if (!items) return tb_out_of_memory(error);
        if (eval->n_items) memcpy(items, eval->items, (size_t)eval->n_items * sizeof *items);
        eval->items = items;
        eval->capacity = capacity;
    }
    tb_eval_item *item = *out = &eval->items[eval->n_items];
    *item = (tb_eval_item){.name = name, .correct = correct};
    item->cells = TB_NEW(eval->arena, tb_eval_cell, eval->n_methods * eval->n_metrics);
    if (!item->cells) return tb_out_of_memory(error);
    eval->n_items++;
    return TIBA_OK;
}

tb_eval_cell *tb_eval_at(const tb_eval *eval, const tb_eval_item *item, int method, int metric) {
    return &item->cells[method * eval->n_metrics + metric];
}

void tb_eval_set(const tb_eval *eval, const tb_eval_item *item, int method, int metric,
                 double value) {
    *tb_eval_at(eval, item, method, metric) = (tb_eval_cell){{value}, {1.0}};
}

/* -------------------------------------------------------------------- numbers */

/* Over the items `pick` [n] (NULL: all n). */
static double value_of(const tb_eval *eval, int method, int metric, int n, const int *pick,
                       bool correct_only) {
    double num[2] = {0}, den[2] = {0}, sum = 0;
    int parts = eval->metrics[metric].parts;
    for (int i = 0; i < n; i++) {
        const tb_eval_item *item = &eval->items[pick ? pick[i] : i];
        if (correct_only && !item->correct) continue;
        const tb_eval_cell *cell = tb_eval_at(eval, item, method, metric);
        for (int p = 0; p < parts; p++) {
            if (isnan(cell->num[p])) continue;
            num[p] += cell->num[p];
            den[p] += cell->den[p];
        }
    }
    for (int p = 0; p < parts; p++) sum += den[p] > 0 ? num[p] / den[p] : NAN;
    return sum / parts;
}

typedef struct interval {
    double value, low, high;
} interval;

typedef struct summary {
    interval value, minus_tiba, minus_random; /* NaN: there is none */
    double correct;                           /* of the items that the model gets right */
} summary;

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The middle 95 % of n draws. */
static interval middle(double value, double *draws, int n) {
    qsort(draws, (size_t)n, sizeof *draws, by_size);
    int skip = (int)(0.025 * n);
    return (interval){value, draws[skip], draws[n - 1 - skip]};
}

static int find_method(const tb_eval *eval, tiba_method method) {
    for (int m = 0; m < eval->n_methods; m++)
        if (eval->methods[m] == method && !eval->refused[m]) return m;
    return -1;
}

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static interval difference(double value, double other, const double *a, const double *b,
                           double *room, int draws) {
    for (int d = 0; d < draws; d++) room[d] = a[d] - b[d];
    return middle(value - other, room, draws);
}

/* Bootstrap over items with the same draws for every method, so that differences are paired. */
static tiba_status summarise(summary **out, const tb_eval *eval, tiba_error *error) {
    int n = eval->n_items, m = eval->n_methods, k = eval->n_metrics, draws = eval->draws;
    summary *s = TB_NEW(eval->arena, summary, m * k);
    double *values = TB_NEW(eval->arena, double, (size_t)m *(size_t)draws);
    double *room = TB_NEW(eval->arena, double, draws);
    int *picks = TB_NEW(eval->arena, int, (size_t)draws *(size_t)n);
    if (!s || !values || !room || !picks) return tb_out_of_memory(error);
    uint64_t state = 1;
    for (size_t i = 0; i < (size_t)draws * (size_t)n; i++)
        picks[i] = (int)(next_random(&state) % (uint64_t)n);
    int tiba = find_method(eval, TIBA_METHOD_TIBA), chance = find_method(eval, TIBA_METHOD_RANDOM);
    interval none = {NAN, NAN, NAN};
    for (int metric = 0; metric < k; metric++) {
        for (int i = 0; i < m; i++)
            for (int d = 0; d < draws; d++)
                values[(size_t)i * (size_t)draws + (size_t)d] =
                    value_of(eval, i, metric, n, picks + (size_t)d * (size_t)n, false);
        const double *at_tiba = values + (size_t)(tiba < 0 ? 0 : tiba) * (size_t)draws;
        const double *at_chance = values + (size_t)(chance < 0 ? 0 : chance) * (size_t)draws;
        for (int i = 0; i < m; i++) {
            summary *to = &s[i * k + metric];
            const double *mine = values + (size_t)i * (size_t)draws;
            double value = value_of(eval, i, metric, n, NULL, false);
            to->correct = value_of(eval, i, metric, n, NULL, true);
            to->minus_tiba = to->minus_random = none;
            if (tiba >= 0 && tiba != i)
                to->minus_tiba = difference(value, value_of(eval, tiba, metric, n, NULL, false),
                                            mine, at_tiba, room, draws);
            if (chance >= 0 && chance != i)
                to->minus_random = difference(value, value_of(eval, chance, metric, n, NULL, false),
                                              mine, at_chance, room, draws);
            memcpy(room, mine, (size_t)draws * sizeof *room);
            to->value = middle(value, room, draws);
        }
    }
    *out = s;
    return TIBA_OK;
}

/* -------------------------------------------------------------------- tables */

typedef struct text {
    FILE *file;
    char *data;
    size_t size;
} text;

/* The text as the arena's, and its memory freed. */
static tiba_status finish(char **out, size_t *size, text *t, tb_arena *arena, tiba_error *error) {
    bool ok = fclose(t->file) == 0;
    *out = ok ? tb_arena_strndup(arena, t->data, t->size) : NULL;
    *size = t->size;
    free(t->data);
    return *out ? TIBA_OK : tb_out_of_memory(error);
}

static void put_interval(FILE *f, interval x, bool sign) {
    if (isnan(x.value))
        fprintf(f, " |");
    else if (sign)
        fprintf(f, " %+.2f (%+.2f to %+.2f) |", x.value, x.low, x.high);
    else
        fprintf(f, " %.2f (%.2f to %.2f) |", x.value, x.low, x.high);
}

static int count_correct(const tb_eval *eval) {
    int n = 0;
    for (int i = 0; i < eval->n_items; i++) n += eval->items[i].correct;
    return n;
}

tiba_status tb_eval_text(char **out, size_t *size, const tb_eval *eval, tiba_error *error) {
    summary *s;
    text t = {0};
    TB_TRY(summarise(&s, eval, error));
    t.file = open_memstream(&t.data, &t.size);
    if (!t.file) return tb_out_of_memory(error);
    fprintf(t.file,
            "%s: %d items, %d of them classified correctly; in brackets 95 %% intervals "
            "(bootstrap over items, %d draws), differences are paired\n",
            eval->kind, eval->n_items, count_correct(eval), eval->draws);
    for (int k = 0; k < eval->n_metrics; k++) {
        if (!eval->metrics[k].shown) continue;
        fprintf(t.file,
                "\n%s: %s\n\n| method | all items | correct only | minus tiba | minus random |\n"
                "|---|---|---|---|---|\n",
                eval->metrics[k].name, eval->metrics[k].summary);
        for (int m = 0; m < eval->n_methods; m++) {
            const summary *at = &s[m * eval->n_metrics + k];
            if (eval->refused[m]) continue;
            fprintf(t.file, "| %s |", tb_method_name((int)eval->methods[m]));
            put_interval(t.file, at->value, false);
            fprintf(t.file, isnan(at->correct) ? " |" : " %.2f |", at->correct);
            put_interval(t.file, at->minus_tiba, true);
            put_interval(t.file, at->minus_random, true);
            fprintf(t.file, "\n");
        }
    }
    for (int m = 0; m < eval->n_methods; m++)
        if (eval->refused[m])
            fprintf(t.file, "\n%s is left out: %s\n", tb_method_name((int)eval->methods[m]),
                    eval->refused[m]);
    return finish(out, size, &t, eval->arena, error);
}

static void put_json_interval(tb_json_writer *w, const char *key, interval x) {
    tb_json_open(w, key, '{');
    tb_json_write_number(w, "value", x.value);
    tb_json_write_number(w, "low", x.low);
    tb_json_write_number(w, "high", x.high);
    tb_json_close(w, '}');
}

static void put_json_method(tb_json_writer *w, const tb_eval *eval, const summary *s, int m) {
    const char *name = tb_method_name((int)eval->methods[m]);
    tb_json_open(w, NULL, '{');
    tb_json_write_text(w, "method", name, strlen(name));
    if (eval->refused[m])
        tb_json_write_text(w, "refused", eval->refused[m], strlen(eval->refused[m]));
    tb_json_open(w, "metrics", '{');
    for (int k = 0; k < eval->n_metrics && !eval->refused[m]; k++) {
        const summary *at = &s[m * eval->n_metrics + k];
        tb_json_open(w, eval->metrics[k].name, '{');
        put_json_interval(w, "all", at->value);
        tb_json_write_number(w, "correct_only", at->correct);
        if (!isnan(at->minus_tiba.value)) put_json_interval(w, "minus_tiba", at->minus_tiba);
        if (!isnan(at->minus_random.value)) put_json_interval(w, "minus_random", at->minus_random);
        tb_json_close(w, '}');
    }
    tb_json_close(w, '}');
    tb_json_close(w, '}');
}

tiba_status tb_eval_json(char **out, size_t *size, const tb_eval *eval, tiba_error *error) {
    summary *s;
    TB_TRY(summarise(&s, eval, error));
    tb_json_writer w = {0};
    tb_json_open(&w, NULL, '{');
    tb_json_write_integer(&w, "version", 1);
    tb_json_write_text(&w, "evaluation", eval->kind, strlen(eval->kind));
    tb_json_write_integer(&w, "items", eval->n_items);
    tb_json_write_integer(&w, "correct", count_correct(eval));
    tb_json_write_integer(&w, "bootstrap_draws", eval->draws);
    tb_json_open(&w, "methods", '[');
    for (int m = 0; m < eval->n_methods; m++) put_json_method(&w, eval, s, m);
    tb_json_close(&w, ']');
    tb_json_close(&w, '}');
    tb_json_write_raw(&w, "\n", 1);
    *out = w.failed ? NULL : tb_arena_strndup(eval->arena, w.data, w.size);
    *size = w.size;
    tb_json_writer_free(&w);
    return *out ? TIBA_OK : tb_out_of_memory(error);
}

/* A field of CSV: quoted where it has to be. */
static void put_field(FILE *f, const char *field) {
    bool quote = strpbrk(field, ",\"\n\r") != NULL;
    if (quote) fputc('"', f);
    for (const char *c = field; *c; c++) {
        if (*c == '"') fputc('"', f);
        fputc(*c, f);
    }
    if (quote) fputc('"', f);
}

tiba_status tb_eval_csv(char **out, size_t *size, const tb_eval *eval, tiba_error *error) {
    text t = {0};
    t.file = open_memstream(&t.data, &t.size);
    if (!t.file) return tb_out_of_memory(error);
    fprintf(t.file, "item,correct,method,metric,value\n");
    for (int i = 0; i < eval->n_items; i++)
        for (int m = 0; m < eval->n_methods; m++)
            for (int k = 0; k < eval->n_metrics && !eval->refused[m]; k++) {
                put_field(t.file, eval->items[i].name);
                fprintf(t.file, ",%d,%s,%s,%.9g\n", eval->items[i].correct,
                        tb_method_name((int)eval->methods[m]), eval->metrics[k].name,
                        value_of(eval, m, k, 1, &i, false));
            }
    return finish(out, size, &t, eval->arena, error);
}
