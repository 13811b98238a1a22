/*
 * cmd_inspect.c: `tiba-onnx inspect MODEL`: what the file is, what binding made of it, which towers
 * were found, and what is in the way. Nothing is run.
 *
 * Binding needs inputs. Those that are not given are made up (inspect_inputs.c).
 */
#include <stdio.h>
#include <string.h>

#include "io/json_write.h"
#include "tools/arguments.h"
#include "tools/commands.h"
#include "tools/inspect.h"
#include "tools/outputs.h"

typedef struct options {
    bool json, rewrites, graph, help;
    const char *dot, *output;
    int threads;
} options;

#define AT(member) offsetof(options, member)
static const tb_option table[] = {
    {"--json", NULL, TB_ARG_FLAG, AT(json), NULL, "for programs"},
    {"--explain-graph", NULL, TB_ARG_FLAG, AT(rewrites), NULL,
     "every rewrite with the file's node names"},
    {"--graph", NULL, TB_ARG_FLAG, AT(graph), NULL, "the bound graph, a line for each node"},
    {"--dot", NULL, TB_ARG_TEXT, AT(dot), "FILE",
     "the bound graph for graphviz; - is standard output"},
    {"--output", NULL, TB_ARG_TEXT, AT(output), "NAME", "the output that would be explained"},
    {"--threads", "-t", TB_ARG_INT, AT(threads), "N", "threads"},
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, "this text"},
    {0}};

static bool any_blocked(const tb_subject *subject, const tiba_run *run) {
    for (int i = 0; i < tiba_model_outputs(subject->model); i++)
        if (tiba_run_blocked(run, i)) return true;
    return false;
}

/* Binds to the inputs that are given, or to made-up ones until some of them fit: all outputs, or
 * where none do so the explained one. What fails first is what is said. */
static tiba_status bind(tb_inspection *x, const options *o, tb_subject *subject, tb_sample *sample,
                        int n_inputs, const char *const *inputs, tiba_error *error) {
    tiba_status status = TIBA_OK;
    if (n_inputs > 0) {
        TB_TRY(tb_subject_sample(sample, subject, subject->arena, n_inputs, inputs, error));
        x->sample = sample;
        return tiba_run_plan(&x->run, subject->model, sample->n_feeds, sample->feeds, o->output,
                             error);
    }
    x->made_up = true;
    tb_sample tried;
    for (int i = 0; tb_made_up(&tried, subject, i, &status, error); i++) {
        tiba_error why = {0};
        TB_TRY(status);
        if (i == 0) {
            *sample = tried;
            x->sample = sample;
        }
        tiba_run *run;
        status = tiba_run_plan(&run, subject->model, tried.n_feeds, tried.feeds, o->output, &why);
        if (i == 0 || status != TIBA_ERROR_INPUT) *error = why;
        if (status == TIBA_ERROR_INPUT) continue;
        if (status != TIBA_OK || !any_blocked(subject, run) || !x->run) {
            tiba_run_destroy(x->run);
            x->run = run;
            *sample = tried;
        } else {
            tiba_run_destroy(run);
        }
        if (status != TIBA_OK || !any_blocked(subject, x->run)) return status;
    }
    if (x->run) return TIBA_OK;
    tiba_error first = *error;
    return tb_fail(error, TIBA_ERROR_INPUT, "%.380s (with made-up inputs; real ones may be given)",
                   first.message);
}

static tiba_status write_dot(const options *o, tb_subject *subject, tiba_run *run,
                             tiba_error *error) {
    tb_outputs outputs = {.arena = subject->arena};
    const char *text;
    TB_TRY(tiba_run_listing(&text, run, TIBA_LISTING_DOT, error));
    TB_TRY(tb_outputs_add(&outputs, o->dot, text, strlen(text), error));
    return tb_outputs_commit(&outputs, error);
}

/* All that is asked for; what the file says of itself is worth having even if it cannot be bound.
 */
static tiba_status show(const options *o, tb_subject *subject, const tb_inspection *x,
                        tb_json_writer *w, tiba_error *error) {
    const char *text;
    if (o->json) {
        tb_inspect_json(w, x);
    } else if (!o->dot && !o->rewrites && !o->graph) {
        tb_inspect_text(x);
    } else if (x->run && o->dot) {
        return write_dot(o, subject, x->run, error);
    } else if (x->run && o->graph) {
        TB_TRY(tiba_run_listing(&text, x->run, TIBA_LISTING_GRAPH, error));
        fputs(text, stdout);
    } else if (x->run) {
        tb_inspect_rewrites(x->run);
    }
    return TIBA_OK;
}

static tiba_status inspect(const options *o, tb_subject *subject, int n_inputs,
                           const char *const *inputs, tb_json_writer *w, tiba_error *error) {
    tb_inspection x = {.subject = subject, .nodes = o->rewrites};
    tb_sample sample;
    tiba_status status = bind(&x, o, subject, &sample, n_inputs, inputs, error);
    if (status == TIBA_ERROR_USAGE || status == TIBA_ERROR_RESOURCE) return status;
    if (status != TIBA_OK) {
        tiba_error ignored;
        x.why = error->message;
        if (x.sample)
            tiba_model_obstacles(&x.obstacles, &x.n_obstacles, subject->model, sample.n_feeds,
                                 sample.feeds, &ignored);
    }
    tiba_error why = {0};
    tiba_status shown = show(o, subject, &x, w, &why);
    tiba_run_destroy(x.run);
    if (shown != TIBA_OK) *error = why;
    return shown != TIBA_OK ? shown : status;
}

/* A folder may hold two graphs: the picture's and the text's. */
static tiba_status inspect_all(const options *o, tb_subject *subject, const tb_texts *rest,
                               tiba_error *error) {
    tb_json_writer w = {0};
    int n = rest->count - 1;
    if ((o->json && (o->dot || o->graph)) || (o->dot != NULL) + o->graph + o->rewrites > 1)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--dot, --graph and --explain-graph exclude each other, and only the last "
                       "goes with --json");
    if (subject->partner && (n > 0 || o->dot))
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "%s holds two graphs: name one of their files to give it inputs or to draw "
                       "it",
                       subject->folder);
    if (o->json) tb_json_open(&w, NULL, '{');
    tiba_status status = inspect(o, subject, n, rest->items + 1, &w, error);
    if (subject->partner && status == TIBA_OK) {
        if (o->json) tb_json_open(&w, "text_encoder", '{');
        if (!o->json) printf("\n");
        status = inspect(o, subject->partner, 0, NULL, &w, error);
        if (o->json) tb_json_close(&w, '}');
    }
    if (o->json) tb_json_close(&w, '}');
    bool shown = o->json && (status == TIBA_OK || status == TIBA_ERROR_INPUT);
    bool good = !shown ||
                (!w.failed && fwrite(w.data, 1, w.size, stdout) == w.size && putchar('\n') != EOF);
    tb_json_writer_free(&w);
    return good ? status : tb_fail(error, TIBA_ERROR_RESOURCE, "standard output: cannot write");
}

int tb_cmd_inspect(int argc, char **argv) {
    tiba_error error = {0};
    options o = {0};
    tb_texts rest = {0};
    tb_subject subject = {0};
    tb_arena *arena = tb_arena_create(NULL);
    tiba_status status = arena ? tb_arguments_parse(&o, table, arena, argc, argv, &rest, &error)
                               : tb_out_of_memory(&error);
    if (status == TIBA_OK && o.help) {
        printf("tiba-onnx inspect MODEL [INPUT...] [options]\n\n"
               "Prints what the file is and how it was understood. Inputs that are not given\n"
               "are made up.\n\n");
        tb_arguments_help(table);
    } else if (status == TIBA_OK && rest.count == 0) {
        status = tb_fail(&error, TIBA_ERROR_USAGE, "inspect: no model given; --help says more");
    } else if (status == TIBA_OK) {
        tiba_options how = {.threads = o.threads};
        status = tb_subject_open(&subject, rest.items[0], &how, NULL, &error);
        if (status == TIBA_OK) status = inspect_all(&o, &subject, &rest, &error);
    }
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    tb_subject_close(&subject);
    tb_arena_destroy(arena);
    return (int)status;
}
