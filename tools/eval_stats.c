/*
 * eval_stats.c: the items of an evaluation and what their numbers come to: means, 95 % intervals by
 * the bootstrap, paired differences.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/eval.h"
#include "tools/order.h"

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

int tb_eval_correct(const tb_eval *eval) {
    int n = 0;
    for (int i = 0; i < eval->n_items; i++) n += eval->items[i].correct;
    return n;
}

/* -------------------------------------------------------------------- numbers */

static double combine(tb_eval_form form, const double num[2], const double den[2]) {
    double a = den[0] > 0 ? num[0] / den[0] : NAN;
    if (form == TB_EVAL_MEAN) return a;
    double b = den[1] > 0 ? num[1] / den[1] : NAN;
    if (form == TB_EVAL_MEAN2) return 0.5 * (a + b);
    return a + b > 0 ? 2 * a * b / (a + b) : 0.0 * (a + b);
}

/* Over the items `pick` [n] (NULL: all n). */
static double value_of(const tb_eval *eval, int method, int metric, int n, const int *pick,
                       bool correct_only) {
    double num[2] = {0}, den[2] = {0};
    for (int i = 0; i < n; i++) {
        const tb_eval_item *item = &eval->items[pick ? pick[i] : i];
        if (correct_only && !item->correct) continue;
        const tb_eval_cell *cell = tb_eval_at(eval, item, method, metric);
        for (int p = 0; p < 2; p++) num[p] += cell->num[p], den[p] += cell->den[p];
    }
    return combine(eval->metrics[metric].form, num, den);
}

double tb_eval_item_value(const tb_eval *eval, int method, int metric, int item) {
    return value_of(eval, method, metric, 1, &item, false);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The middle 95 % of the draws that have a value. */
static tb_eval_interval middle(double value, double *draws, int n) {
    int found = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(draws[i])) draws[found++] = draws[i];
    if (found == 0) return (tb_eval_interval){value, NAN, NAN};
    qsort(draws, (size_t)found, sizeof *draws, by_size);
    int skip = (int)(0.025 * found);
    return (tb_eval_interval){value, draws[skip], draws[found - 1 - skip]};
}

static int find_method(const tb_eval *eval, tiba_method method) {
    for (int m = 0; m < eval->n_methods; m++)
        if (eval->methods[m] == method && !eval->refused[m]) return m;
    return -1;
}

/* A metric's values over the draws, of every method. */
typedef struct bootstrap {
    const tb_eval *eval;
    int draws, metric;
    const int *picks; /* [draws][items] */
    double *values;   /* [methods][draws] */
    double *room;     /* [draws] */
} bootstrap;

static void draw_all(const bootstrap *b) {
    int n = b->eval->n_items;
    for (int m = 0; m < b->eval->n_methods; m++)
        for (int d = 0; d < b->draws; d++)
            b->values[(size_t)m * (size_t)b->draws + (size_t)d] =
                value_of(b->eval, m, b->metric, n, b->picks + (size_t)d * (size_t)n, false);
}

/* A method's value, or its difference to another one's (-1: that is none of the evaluation). */
static tb_eval_interval interval_of(const bootstrap *b, int method, int other, bool difference) {
    if (difference && (other < 0 || other == method)) return (tb_eval_interval){NAN, NAN, NAN};
    int n = b->eval->n_items;
    const double *mine = b->values + (size_t)method * (size_t)b->draws;
    double value = value_of(b->eval, method, b->metric, n, NULL, false);
    memcpy(b->room, mine, (size_t)b->draws * sizeof *b->room);
    if (difference) {
        const double *theirs = b->values + (size_t)other * (size_t)b->draws;
        value -= value_of(b->eval, other, b->metric, n, NULL, false);
        for (int d = 0; d < b->draws; d++) b->room[d] -= theirs[d];
    }
    return middle(value, b->room, b->draws);
}

/* Of the items that the model gets right, by those among each draw. */
static tb_eval_interval correct_of(const bootstrap *b, int method) {
    int n = b->eval->n_items;
    for (int d = 0; d < b->draws; d++)
        b->room[d] =
            value_of(b->eval, method, b->metric, n, b->picks + (size_t)d * (size_t)n, true);
    return middle(value_of(b->eval, method, b->metric, n, NULL, true), b->room, b->draws);
}

tiba_status tb_eval_summarise(tb_eval *eval, tiba_error *error) {
    int n = eval->n_items, methods = eval->n_methods, metrics = eval->n_metrics;
    bootstrap b = {.eval = eval, .draws = eval->draws};
    int *picks = TB_NEW(eval->arena, int, (size_t)b.draws *(size_t)n);
    b.values = TB_NEW(eval->arena, double, (size_t)methods *(size_t)b.draws);
    b.room = TB_NEW(eval->arena, double, b.draws);
    eval->summary = TB_NEW(eval->arena, tb_eval_summary, methods * metrics);
    if (!picks || !b.values || !b.room || !eval->summary) return tb_out_of_memory(error);
    uint64_t state = 1;
    for (size_t i = 0; i < (size_t)b.draws * (size_t)n; i++)
        picks[i] = (int)(tb_random(&state) % (uint64_t)n);
    b.picks = picks;
    int tiba = find_method(eval, TIBA_METHOD_TIBA), chance = find_method(eval, TIBA_METHOD_RANDOM);
    for (b.metric = 0; b.metric < metrics; b.metric++) {
        draw_all(&b);
        for (int m = 0; m < methods; m++)
            eval->summary[m * metrics + b.metric] =
                (tb_eval_summary){.value = interval_of(&b, m, -1, false),
                                  .minus_tiba = interval_of(&b, m, tiba, true),
                                  .minus_random = interval_of(&b, m, chance, true),
                                  .correct = correct_of(&b, m)};
    }
    return TIBA_OK;
}

const tb_eval_summary *tb_eval_summary_at(const tb_eval *eval, int method, int metric) {
    return &eval->summary[method * eval->n_metrics + metric];
}

int tb_eval_counted(const tb_eval *eval, int metric) {
    int n = 0;
    for (int i = 0; i < eval->n_items; i++) {
        bool some = false;
        for (int m = 0; m < eval->n_methods && !some; m++) {
            const tb_eval_cell *cell = tb_eval_at(eval, &eval->items[i], m, metric);
            some = cell->den[0] > 0 || cell->den[1] > 0;
        }
        n += some;
    }
    return n;
}
