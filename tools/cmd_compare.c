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
#include "tools/methods.h"
#include "tools/render.h"
#include "tools/trust.h"

typedef struct options {
    tb_job_options job;
    tb_subject_options how;
    tb_texts methods;
    const char *png, *json, *html;
    int threads;
    bool check, help;
} options;

#define AT(member) offsetof(options, member)
static const tb_option table[] = {
    {"--method", "-m", TB_ARG_TEXTS, AT(methods), "NAME", "a method or all; repeatable"},
    {"--class", "-c", TB_ARG_TEXTS, AT(job.classes), "CLASS", "label, index or top"},
    {"--target", NULL, TB_ARG_TEXT, AT(job.target), "I[,J...]", ""},
    {"--output", NULL, TB_ARG_TEXT, AT(job.output), "NAME", ""},
    {"--text", NULL, TB_ARG_TEXTS, AT(job.texts), "TEXT", ""},
    {"--tokenizer", NULL, TB_ARG_TEXT, AT(how.tokenizer), "FILE", ""},
    {"--truncate", NULL, TB_ARG_FLAG, AT(how.truncate), NULL, ""},
    {"--check", NULL, TB_ARG_FLAG, AT(check), NULL,
     "does the score fall without what is relevant?"},
    {"--png", "-o", TB_ARG_TEXT, AT(png), "FILE", "panel of the maps"},
    {"--html", NULL, TB_ARG_TEXT, AT(html), "FILE", ""},
    {"--json", NULL, TB_ARG_TEXT, AT(json), "FILE", "the results; - is standard output"},
    {"--threads", "-t", TB_ARG_INT, AT(threads), "N", ""},
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, ""},
    {0}};

/* One method's result, or why there is none. */
typedef struct entry {
    tiba_method_facts facts;
    const tiba_result *result; /* NULL: refused */
    const char *refusal;
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

static tiba_status run_method(command *c, entry *e, tiba_method method, tiba_error *error) {
    tb_report *r = &c->job.report;
    tiba_run *run = c->job.runs[0];
    tiba_request request;
    TB_TRY(tb_job_request(&request, &c->job, error));
    request.method = method;
    request.target_rank = c->target.rank;
    memcpy(request.target, c->target.index, sizeof request.target);
    tiba_method_at(&e->facts, (int)method);
    tiba_status status = tb_job_explain(&e->result, &c->job, run, 1, &request, error);
    if (status == TIBA_ERROR_RESOURCE) return status;
    if (status != TIBA_OK) {
        e->result = NULL;
        e->refusal = tb_arena_strdup(c->arena, error->message);
        if (!e->refusal) return tb_out_of_memory(error);
        tb_report_note(r,
                       tb_arena_format(c->arena, "%s is left out: %s", e->facts.name, e->refusal));
        return TIBA_OK;
    }
    tiba_timings t = tiba_run_timings(run);
    tb_view *view;
    e->seconds = t.backward + t.rollout;
    e->view = r->n_views;
    tb_report_use(r, method);
    TB_TRY(tb_report_view(&view, r, e->result, 0, -1, error));
    view->label = e->facts.name;
    view->detail = tb_arena_format(c->arena, "%s, %.1f ms", c->label, 1e3 * e->seconds);
    return view->detail ? TIBA_OK : tb_out_of_memory(error);
}

static tiba_status run_all(command *c, tiba_error *error) {
    tb_report *r = &c->job.report;
    tiba_method methods[TB_MOST_METHODS];
    TB_TRY(tb_methods_find(&c->n, methods, &c->o.methods, error));
    if (c->subject.partner || r->n_views < 1 || r->views[0].target.rank == 0)
        return tb_fail(error, TIBA_ERROR_USAGE, "compare wants one scalar of one graph's output");
    c->target = r->views[0].target;
    c->label = r->views[0].label;
    int64_t n, m;
    const double *reference = values_of(c, &r->views[0], &n); /* the job's own explanation: TiBA */
    if (!reference) return tb_out_of_memory(error);
    r->n_views = 0;
    r->views = NULL;
    r->n_notes = 0;
    for (int i = 0; i < c->n; i++) {
        entry *e = &c->entries[i];
        TB_TRY(run_method(c, e, methods[i], error));
        e->likeness = NAN;
        if (!e->result) continue;
        const double *values = values_of(c, &r->views[e->view], &m);
        if (!values) return tb_out_of_memory(error);
        if (n == m) e->likeness = correlation(reference, values, n);
    }
    r->method = "side by side";
    c->o.job.check = c->o.check; /* not of the job's own explanation */
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
    tb_json_write_number(w, "forward_seconds", tiba_run_timings(c->job.runs[0]).forward);
    tb_json_open(w, "methods", '[');
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        tb_json_open(w, NULL, '{');
        tb_json_write_text(w, "method", e->facts.name, strlen(e->facts.name));
        tb_json_write_bool(w, "per_class", e->facts.per_class != 0);
        if (e->refusal) {
            tb_json_write_text(w, "refused", e->refusal, strlen(e->refusal));
        } else {
            tb_json_write_number(w, "seconds", e->seconds);
            const tb_view *view = &c->job.report.views[e->view];
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

/* The word or the patch with the largest value. */
static void print_place(const tb_view *v) {
    if (v->words && v->words->n_words) {
        int best = 0;
        for (int i = 1; i < v->words->n_words; i++)
            if (v->words->words[i].value > v->words->words[best].value) best = i;
        tb_text word = v->words->words[best].text;
        tb_print_safe(word.data, word.size);
    } else if (v->grid) {
        int64_t best = 0, columns = v->image->columns, n = v->image->rows * columns;
        for (int64_t i = 1; i < n; i++)
            if (v->grid[i] > v->grid[best]) best = i;
        printf("row %lld, column %lld", (long long)(best / columns + 1),
               (long long)(best % columns + 1));
    }
}

static void print_trust(const char *method, const tb_view *view) {
    char start[32];
    snprintf(start, sizeof start, "%-18s ", method);
    tb_render_text_trust(start, view);
}

static void print_table(const command *c) {
    tb_print_safe(c->label, strlen(c->label));
    printf(": forward %.1f ms\n\n%-18s %9s  %9s  %-9s  %s\n",
           1e3 * tiba_run_timings(c->job.runs[0]).forward, "method", "ms", "like tiba", "per class",
           "most at");
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
        const char *note = tiba_result_tower(e->result, 0)->note;
        if (note)
            printf("%s", note);
        else
            print_place(&c->job.report.views[e->view]);
        printf("\n");
    }
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        if (i == 0) printf("\n");
        if (e->result) print_trust(e->facts.name, &c->job.report.views[e->view]);
    }
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
    TB_TRY(tb_job_run(&c->job, rest->count - 1, rest->items + 1, error));
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
