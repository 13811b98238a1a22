/*
 * eval_table.c: the results of an evaluation as Markdown, JSON and CSV.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_write.h"
#include "tools/eval.h"

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

static void put_interval(FILE *f, tb_eval_interval x, bool sign, int digits) {
    if (isnan(x.value))
        fprintf(f, " |");
    else if (sign)
        fprintf(f, " %+.*f (%+.*f to %+.*f) |", digits, x.value, digits, x.low, digits, x.high);
    else
        fprintf(f, " %.*f (%.*f to %.*f) |", digits, x.value, digits, x.low, digits, x.high);
}

tiba_status tb_eval_text(char **out, size_t *size, const tb_eval *eval, tiba_error *error) {
    text t = {0};
    t.file = open_memstream(&t.data, &t.size);
    if (!t.file) return tb_out_of_memory(error);
    fprintf(t.file,
            "%s: %d items, %d of them classified correctly; in brackets 95 %% intervals "
            "(bootstrap over items, %d draws), differences are paired\n",
            eval->kind->name, eval->n_items, tb_eval_correct(eval), eval->draws);
    for (int k = 0; k < eval->n_metrics; k++) {
        if (!eval->metrics[k].shown) continue;
        int counted = tb_eval_counted(eval, k), digits = eval->metrics[k].fraction ? 3 : 2;
        fprintf(t.file, "\n%s: %s", eval->metrics[k].name, eval->metrics[k].summary);
        if (counted < eval->n_items) fprintf(t.file, " (%d items)", counted);
        fprintf(t.file, "\n\n| method | all items | correct only | minus tiba | minus random |\n"
                        "|---|---|---|---|---|\n");
        for (int m = 0; m < eval->n_methods; m++) {
            const tb_eval_summary *at = tb_eval_summary_at(eval, m, k);
            if (eval->refused[m]) continue;
            fprintf(t.file, "| %s |", tb_method_name((int)eval->methods[m]));
            put_interval(t.file, at->value, false, digits);
            put_interval(t.file, at->correct, false, digits);
            put_interval(t.file, at->minus_tiba, true, digits);
            put_interval(t.file, at->minus_random, true, digits);
            fprintf(t.file, "\n");
        }
    }
    for (int m = 0; m < eval->n_methods; m++)
        if (eval->refused[m])
            fprintf(t.file, "\n%s is left out: %s\n", tb_method_name((int)eval->methods[m]),
                    eval->refused[m]);
    return finish(out, size, &t, eval->arena, error);
}

static void put_json_interval(tb_json_writer *w, const char *key, tb_eval_interval x) {
    tb_json_open(w, key, '{');
    tb_json_write_number(w, "value", x.value);
    tb_json_write_number(w, "low", x.low);
    tb_json_write_number(w, "high", x.high);
    tb_json_close(w, '}');
}

static void put_json_method(tb_json_writer *w, const tb_eval *eval, int m) {
    const char *name = tb_method_name((int)eval->methods[m]);
    tb_json_open(w, NULL, '{');
    tb_json_write_text(w, "method", name, strlen(name));
    if (eval->refused[m])
        tb_json_write_text(w, "refused", eval->refused[m], strlen(eval->refused[m]));
    tb_json_open(w, "metrics", '{');
    for (int k = 0; k < eval->n_metrics && !eval->refused[m]; k++) {
        const tb_eval_summary *at = tb_eval_summary_at(eval, m, k);
        tb_json_open(w, eval->metrics[k].name, '{');
        put_json_interval(w, "all", at->value);
        put_json_interval(w, "correct_only", at->correct);
        tb_json_write_integer(w, "items", tb_eval_counted(eval, k));
        if (!isnan(at->minus_tiba.value)) put_json_interval(w, "minus_tiba", at->minus_tiba);
        if (!isnan(at->minus_random.value)) put_json_interval(w, "minus_random", at->minus_random);
        tb_json_close(w, '}');
    }
    tb_json_close(w, '}');
    tb_json_close(w, '}');
}

tiba_status tb_eval_json(char **out, size_t *size, const tb_eval *eval, tiba_error *error) {
    tb_json_writer w = {0};
    tb_json_open(&w, NULL, '{');
    tb_json_write_integer(&w, "version", 1);
    tb_json_write_text(&w, "evaluation", eval->kind->name, strlen(eval->kind->name));
    tb_json_write_integer(&w, "items", eval->n_items);
    tb_json_write_integer(&w, "correct", tb_eval_correct(eval));
    tb_json_write_integer(&w, "bootstrap_draws", eval->draws);
    tb_json_open(&w, "methods", '[');
    for (int m = 0; m < eval->n_methods; m++) put_json_method(&w, eval, m);
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
                double value = tb_eval_item_value(eval, m, k, i);
                if (isnan(value)) continue;
                put_field(t.file, eval->items[i].name);
                fprintf(t.file, ",%d,%s,", eval->items[i].correct,
                        tb_method_name((int)eval->methods[m]));
                put_field(t.file, eval->metrics[k].name);
                fprintf(t.file, ",%.9g\n", value);
            }
    return finish(out, size, &t, eval->arena, error);
}
