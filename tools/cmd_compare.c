/*
 * cmd_compare.c: tiba-onnx compare MODEL INPUT...: one scalar explained by every method, from one
 * forward pass, as a table, a panel, a page and JSON.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/json_write.h"
#include "tools/commands.h"
#include "tools/explain_job.h"
#include "tools/job_rows.h"
#include "tools/methods.h"
#include "tools/render.h"
#include "tools/trust.h"

typedef struct options {
    tb_job_options job;
    tb_subject_options how;
    tb_texts methods;
    const char *png, *json, *html;
    int threads;
    bool help;
} options;

#define AT(member) offsetof(options, member)
static const tb_option table[] = {
    {"--method", "-m", TB_ARG_TEXTS, AT(methods), "NAME", "a method or all; repeatable"},
    {"--class", "-c", TB_ARG_TEXTS, AT(job.classes), "CLASS", "label, index or top"},
    {"--target", NULL, TB_ARG_TEXT, AT(job.target), "I[,J...]", ""},
    {"--choose", NULL, TB_ARG_INT, AT(job.choose), "N", ""},
    {"--contrast", NULL, TB_ARG_TEXT, AT(job.contrast), "TEXT", ""},
    {"--scale", NULL, TB_ARG_FACTOR, AT(job.scale), "X", ""},
    {"--output", NULL, TB_ARG_TEXT, AT(job.output), "NAME", ""},
    {"--text", NULL, TB_ARG_TEXTS, AT(job.texts), "TEXT", ""},
    TB_INPUT_ROWS(AT),
    {"--check", NULL, TB_ARG_FLAG, AT(job.check), NULL, ""},
    {"--png", "-o", TB_ARG_TEXT, AT(png), "FILE", "panel of the maps"},
    {"--html", NULL, TB_ARG_TEXT, AT(html), "FILE", ""},
    {"--json", NULL, TB_ARG_TEXT, AT(json), "FILE", ""},
    {"--threads", "-t", TB_ARG_INT, AT(threads), "N", ""},
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, ""},
    {0}};

/* One method's result, or why there is none. */
typedef struct entry {
    tiba_method_facts facts;
    const char *refusal; /* NULL: it has a view */
    double seconds;
    double likeness; /* correlation of words or patches with TiBA's, NaN: none */
    int view;        /* in the report */
} entry;

typedef struct command {
    options o;
    tb_arena *arena;
    tb_subject subject;
    tb_job job;
    tb_outputs outputs;
    tb_look look;
    int n;
    entry entries[TB_MOST_METHODS];
    tiba_target target;
    const char *label;
} command;

static double correlation(const double *a, const double *b, int64_t n) {
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) ma += a[i], mb += b[i];
    ma /= (double)n, mb /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        double x = a[i] - ma, y = b[i] - mb;
        ab += x * y, aa += x * x, bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}

/* What is compared: words, or else patches, or else tokens. NULL: out of memory. */
static const double *values_of(const command *c, const tb_view *v, int64_t *n) {
    const tiba_tower *tower = v->towers[0].tower;
    bool grid = tower->rows > 0;
    *n = v->words ? v->words->n_words : grid ? tower->rows * tower->columns : tower->tokens;
    const float *from = tower->relevance + (grid ? tower->prefix : 0);
    double *values = TB_NEW(c->arena, double, *n);
    for (int64_t i = 0; values && i < *n; i++)
        values[i] = v->words ? v->words->words[i].value : (double)from[i];
    return values;
}

static double method_seconds(const tb_job *job) {
    const double *seconds = job->report.times.seconds;
    return seconds[TB_TIME_BACKWARD] + seconds[TB_TIME_ROLLOUT];
}

/* Explains by one method; one that refuses leaves its reason. Wrong usage is the same for all. */
static tiba_status run_method(command *c, entry *e, tiba_method method, tiba_error *error) {
    tb_report *r = &c->job.report;
    double before = method_seconds(&c->job);
    tiba_method_at(&e->facts, (int)method);
    e->view = r->n_views;
    c->o.job.method = e->facts.name;
    tiba_status status = tb_job_views(&c->job, error);
    if (status == TIBA_ERROR_INPUT) {
        r->n_views = e->view;
        e->refusal = tb_arena_strdup(c->arena, error->message);
        return e->refusal ? TIBA_OK : tb_out_of_memory(error);
    }
    TB_TRY(status);
    if (r->n_views != e->view + 1)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "compare explains one scalar, but %d are asked for: give one input and one "
                       "class, or --target",
                       r->n_views - e->view);
    e->seconds = method_seconds(&c->job) - before;
    return TIBA_OK;
}

/* A view is headed by its method; what they all explain is said beside it. */
static tiba_status head_view(command *c, const entry *e, tiba_error *error) {
    tb_view *view = &c->job.report.views[e->view];
    c->target = view->target;
    c->label = view->label;
    view->detail = tb_arena_format(c->arena, "%s, %.1f ms", c->label, 1e3 * e->seconds);
    view->label = e->facts.name;
    return view->detail ? TIBA_OK : tb_out_of_memory(error);
}

static tiba_status set_likeness(command *c, entry *e, const entry *reference, tiba_error *error) {
    int64_t n, m;
    e->likeness = NAN;
    if (e->refusal || reference->refusal) return TIBA_OK;
    const double *ours = values_of(c, &c->job.report.views[reference->view], &n);
    const double *its = values_of(c, &c->job.report.views[e->view], &m);
    if (!ours || !its) return tb_out_of_memory(error);
    if (n == m) e->likeness = correlation(ours, its, n);
    return TIBA_OK;
}

static tiba_status run_all(command *c, tiba_error *error) {
    tb_report *r = &c->job.report;
    tiba_method methods[TB_MOST_METHODS];
    entry tiba = {0}; /* what the others are compared with, asked for or not */
    TB_TRY(tb_methods_find(&c->n, methods, &c->o.methods, error));
    bool first = methods[0] == TIBA_METHOD_TIBA;
    if (!first) TB_TRY(run_method(c, &tiba, TIBA_METHOD_TIBA, error));
    for (int i = 0; i < c->n; i++) {
        entry *e = &c->entries[i];
        TB_TRY(run_method(c, e, methods[i], error));
        TB_TRY(set_likeness(c, e, first ? &c->entries[0] : &tiba, error));
    }
    if (!first && !tiba.refusal) { /* it is not shown */
        r->views++;
        r->n_views--;
        for (int i = 0; i < c->n; i++) c->entries[i].view--;
    }
    if (r->n_views == 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "no method applies: %s", c->entries[0].refusal);
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        if (!e->refusal) TB_TRY(head_view(c, e, error));
        if (e->refusal)
            tb_report_note(
                r, tb_arena_format(c->arena, "%s is left out: %s", e->facts.name, e->refusal));
    }
    r->method = "side by side";
    r->explained = c->label;
    return tb_trust(&c->job, error);
}

/* -------------------------------------------------------------------- what is shown */

static void write_tower(tb_json_writer *w, const tb_view *view, const tb_view_tower *at) {
    const tiba_tower *tower = at->tower;
    tb_json_open(w, NULL, '{');
    tb_json_write_text(w, "input", tower->input, strlen(tower->input));
    tb_json_open(w, "relevance", '[');
    for (int64_t i = 0; i < tower->tokens; i++)
        tb_json_write_number(w, NULL, (double)tower->relevance[i]);
    tb_json_close(w, ']');
    if (tower->rows) {
        tb_json_write_integer(w, "rows", tower->rows);
        tb_json_write_integer(w, "columns", tower->columns);
        tb_json_write_integer(w, "prefix_tokens", tower->prefix);
    }
    tb_render_json_trust(w, view, at);
    if (tower->note) tb_json_write_text(w, "note", tower->note, strlen(tower->note));
    tb_json_close(w, '}');
}

static void write_json(tb_json_writer *w, const command *c) {
    tb_json_open(w, NULL, '{');
    tb_json_write_integer(w, "version", 1);
    tb_json_write_text(w, "label", c->label, strlen(c->label));
    tb_json_open(w, "target", '[');
    for (int d = 0; d < c->target.rank; d++) tb_json_write_integer(w, NULL, c->target.index[d]);
    tb_json_close(w, ']');
    tb_json_write_number(w, "forward_seconds", c->job.report.times.seconds[TB_TIME_FORWARD]);
    tb_json_open(w, "methods", '[');
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        tb_json_open(w, NULL, '{');
        tb_json_write_text(w, "method", e->facts.name, strlen(e->facts.name));
        tb_json_write_bool(w, "per_class", e->facts.per_class != 0);
        if (e->refusal) {
            tb_json_write_text(w, "refused", e->refusal, strlen(e->refusal));
        } else {
            const tb_view *view = &c->job.report.views[e->view];
            tb_json_write_number(w, "seconds", e->seconds);
            tb_json_write_number(w, "correlation_with_tiba", e->likeness);
            tb_json_write_text(w, "trust", view->trust, strlen(view->trust));
            tb_json_open(w, "towers", '[');
            for (int t = 0; t < view->n_towers; t++) write_tower(w, view, &view->towers[t]);
            tb_json_close(w, ']');
        }
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_close(w, '}');
    tb_json_write_raw(w, "\n", 1);
}

/* The largest of n values, in rows of `columns` (0: none). */
static void print_largest(const float *x, int64_t n, int64_t columns) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    if (columns)
        printf("row %lld, column %lld", (long long)(best / columns + 1),
               (long long)(best % columns + 1));
    else
        printf("token %lld", (long long)best);
}

/* The patch and the word with the largest value; the token, where the input is an array. */
static void print_place(const tb_view *v) {
    const tiba_tower *tower = v->towers[0].tower;
    bool words = v->words && v->words->n_words;
    if (v->grid)
        print_largest(v->grid, v->image->rows * v->image->columns, v->image->columns);
    else if (!words)
        print_largest(tower->relevance + (tower->rows ? tower->prefix : 0),
                      tower->rows ? tower->rows * tower->columns : tower->tokens, tower->columns);
    if (!words) return;
    if (v->grid) printf("; ");
    int best = 0;
    for (int i = 1; i < v->words->n_words; i++)
        if (v->words->words[i].value > v->words->words[best].value) best = i;
    tb_text word = v->words->words[best].text;
    tb_print_safe(word.data, word.size);
}

static void print_trust(const command *c) {
    printf("\ntrust\n");
    for (int i = 0; i < c->n; i++)
        if (!c->entries[i].refusal)
            printf("%-18s %s\n", c->entries[i].facts.name,
                   c->job.report.views[c->entries[i].view].trust);
}

/* The check of one tower by all methods: what is the same for all of them is said once. */
static void print_checks(const command *c, int tower) {
    bool said = false;
    for (int i = 0; i < c->n; i++) {
        const tb_view *v = c->entries[i].refusal ? NULL : &c->job.report.views[c->entries[i].view];
        const tb_check *check = v && tower < v->n_towers ? v->towers[tower].check : NULL;
        if (!check) continue;
        if (!said && check->verdict)
            printf("\ncheck: the score is %.4g, without random %lld of %lld %s %.4g on average (%d "
                   "draws,\n%.4g at least), and without the most relevant ones by\n",
                   check->before, (long long)check->removed, (long long)check->parts, check->what,
                   check->random_mean, TB_TRUST_DRAWS, check->random_least);
        else if (!said)
            printf("\n%s\n", check->text);
        said = true;
        if (check->verdict)
            printf("%-18s %9.4g  %s\n", c->entries[i].facts.name, check->after, check->verdict);
    }
}

static void print_table(const command *c) {
    tb_print_safe(c->label, strlen(c->label));
    printf(": forward %.1f ms\n\n%-18s %9s  %9s  %-9s  %s\n",
           1e3 * c->job.report.times.seconds[TB_TIME_FORWARD], "method", "ms", "like tiba",
           "per class", "most at");
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        printf("%-18s ", e->facts.name);
        if (e->refusal) {
            printf("refused: %s\n", e->refusal);
            continue;
        }
        printf("%9.1f  ", 1e3 * e->seconds);
        if (isnan(e->likeness))
            printf("%9s", "-");
        else
            printf("%9.2f", e->likeness);
        printf("  %-9s  ", e->facts.per_class ? "yes" : "no");
        const char *note = c->job.report.views[e->view].towers[0].tower->note;
        if (note)
            printf("%s", note);
        else
            print_place(&c->job.report.views[e->view]);
        printf("\n");
    }
    print_trust(c);
    for (int t = 0; t < TB_MOST_TOWERS; t++) print_checks(c, t);
}

static tiba_status add_files(command *c, tiba_error *error) {
    const options *o = &c->o;
    uint8_t *png;
    char *html;
    size_t size;
    if (o->png) {
        if (!c->job.sample.picture_path)
            return tb_fail(error, TIBA_ERROR_USAGE, "-o wants a picture as input");
        TB_TRY(tb_render_png(&png, &size, &c->job.report, &c->look, error));
        TB_TRY(tb_outputs_add(&c->outputs, o->png, png, size, error));
    }
    if (o->html) {
        TB_TRY(tb_render_html(&html, &size, &c->job.report, &c->look, error));
        TB_TRY(tb_outputs_add(&c->outputs, o->html, html, size, error));
    }
    if (!o->json) return TIBA_OK;
    tb_json_writer w = {0};
    write_json(&w, c);
    char *text = w.failed ? NULL : tb_arena_strndup(c->arena, w.data, w.size);
    size = w.size;
    tb_json_writer_free(&w);
    return text ? tb_outputs_add(&c->outputs, o->json, text, size, error) : tb_out_of_memory(error);
}

static tiba_status compare(command *c, const tb_texts *rest, tiba_error *error) {
    tiba_options how = {.threads = c->o.threads};
    TB_TRY(tb_look_parse(&c->look, NULL, TB_DEFAULT_OPACITY, error));
    TB_TRY(tb_subject_open(&c->subject, rest->items[0], &how, &c->o.how, error));
    c->job.options = &c->o.job;
    c->job.subject = &c->subject;
    TB_TRY(tb_job_start(&c->job, error));
    TB_TRY(tb_job_prepare(&c->job, rest->count - 1, rest->items + 1, error));
    TB_TRY(run_all(c, error));
    TB_TRY(add_files(c, error));
    TB_TRY(tb_outputs_commit(&c->outputs, error));
    if (!c->o.json || strcmp(c->o.json, "-") != 0) print_table(c);
    return TIBA_OK;
}

static void print_help(void) {
    printf("tiba-onnx compare MODEL INPUT... [options]\n"
           "One scalar explained by every method, from one forward pass.\n");
    tb_arguments_help(table);
    tb_methods_help();
}

int tb_cmd_compare(int argc, char **argv) {
    tiba_error error = {0};
    command c = {.arena = tb_arena_create(NULL)};
    if (!c.arena) {
        fprintf(stderr, "tiba-onnx: out of memory\n");
        return TIBA_ERROR_RESOURCE;
    }
    c.outputs.arena = c.arena;
    tb_texts rest = {0};
    tiba_status status = tb_arguments_parse(&c.o, table, c.arena, argc, argv, &rest, &error);
    if (status == TIBA_OK && c.o.help)
        print_help();
    else if (status == TIBA_OK && rest.count + c.o.job.texts.count < 2)
        status = tb_fail(&error, TIBA_ERROR_USAGE,
                         rest.count ? "no input given; compare --help says more"
                                    : "no model given; compare --help says more");
    else if (status == TIBA_OK)
        status = compare(&c, &rest, &error);
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    tb_job_close(&c.job);
    tb_subject_close(&c.subject);
    tb_arena_destroy(c.arena);
    return (int)status;
}
