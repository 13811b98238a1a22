/*
 * cmd_inspect.c: `tiba-onnx inspect MODEL`: what the file is, what binding made of it, which towers
 * were found; and `tiba-onnx ops`: the operators that are supported.
 *
 * Binding needs inputs. Those that are not given are made up: one sample, 16 tokens, or the size
 * that the model declares.
 */
#include <stdio.h>
#include <string.h>

#include "io/json_write.h"
#include "tools/arguments.h"
#include "tools/commands.h"
#include "tools/outputs.h"
#include "tools/subject.h"

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

/* -------------------------------------------------------------------- made-up inputs */

/* A symbolic dimension: samples first; then a picture's channels and sides, or tokens. */
static int64_t made_size(const tb_subject *subject, const tiba_port *port, int d) {
    if (port->dims[d] > 0) return port->dims[d];
    if (d == 0) return 1;
    if (port->rank != 4) return 16;
    if (d == 1) return 3;
    tb_preprocess how;
    tiba_error ignored;
    bool known =
        tb_preprocess_load(&how, subject->arena, subject->folder, 224, 224, &ignored) == TIBA_OK;
    return !known ? 224 : how.crop ? how.crop_height : how.height > 0 ? how.height : 224;
}

static tiba_status make_input(tiba_tensor *out, const tb_subject *subject, const tiba_port *port,
                              tiba_error *error) {
    if (port->rank < 0)
        return tb_fail(error, TIBA_ERROR_USAGE, "input '%s' declares no shape: give %s=FILE.npy",
                       port->name, port->name);
    int64_t dims[TIBA_MAX_RANK];
    for (int d = 0; d < port->rank; d++) dims[d] = made_size(subject, port, d);
    TB_TRY(tb_tensor_create(out, subject->arena, port->dtype, port->rank, dims, error));
    int64_t count = tb_tensor_count(out);
    bool position = strstr(port->name, "position") != NULL,
         type = strstr(port->name, "type") != NULL;
    for (int64_t i = 0; i < count; i++) {
        if (tb_dtype_is_float(port->dtype))
            tb_set_f64(out, i, (double)(i * 37 % 101) / 50.0 - 1.0);
        else if (position)
            tb_set_i64(out, i, i % dims[port->rank - 1]);
        else
            tb_set_i64(out, i, !type);
    }
    return TIBA_OK;
}

static tiba_status make_sample(tb_sample *sample, tb_subject *subject, const tb_texts *rest,
                               tiba_error *error) {
    if (rest->count > 1)
        return tb_subject_sample(sample, subject, subject->arena, rest->count - 1, rest->items + 1,
                                 error);
    int n = tiba_model_inputs(subject->model);
    *sample = (tb_sample){.n_feeds = n, .feeds = TB_NEW(subject->arena, tiba_feed, n)};
    if (!sample->feeds) return tb_out_of_memory(error);
    for (int i = 0; i < n; i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        sample->feeds[i].name = port.name;
        TB_TRY(make_input(&sample->feeds[i].tensor, subject, &port, error));
    }
    return TIBA_OK;
}

/* -------------------------------------------------------------------- for people */

static void print_port(const char *what, const tiba_port *port) {
    printf("%s %-18s %s [", what, port->name, tb_dtype_name(port->dtype));
    for (int d = 0; d < port->rank; d++) {
        if (d) printf(", ");
        if (port->dims[d] >= 0)
            printf("%lld", (long long)port->dims[d]);
        else
            printf("%s", port->dim_names[d][0] ? port->dim_names[d] : "?");
    }
    printf(port->rank < 0 ? "any shape]\n" : "]\n");
}

static void print_tower(const tiba_tower_facts *t) {
    printf("tower     %s: %d attentions, %lld heads, %lld tokens", t->input, t->attentions,
           (long long)t->heads, (long long)t->tokens);
    if (t->rows)
        printf(" = %lld prefix + %lld x %lld patches", (long long)t->prefix, (long long)t->rows,
               (long long)t->columns);
    printf("%s; the target reads %s\n", t->moves ? ", which move or merge" : "", t->reads);
}

static void print_model(const tb_subject *subject) {
    const tiba_model *model = subject->model;
    tiba_model_facts facts = tiba_model_about(model);
    printf("file      %s\nproducer  %s, IR version %lld\nopsets   ", subject->path,
           facts.producer[0] ? facts.producer : "not said", (long long)facts.ir_version);
    for (int i = 0; i < facts.n_opsets; i++) {
        int64_t version;
        const char *domain = tiba_model_opset(model, i, &version);
        printf(" %s %lld%s", domain[0] ? domain : "ai.onnx", (long long)version,
               i + 1 < facts.n_opsets ? "," : "");
    }
    printf("\nweights   %.2f million parameters, %.1f MB\n", (double)facts.parameters / 1e6,
           (double)facts.parameter_bytes / 1e6);
    for (int i = 0; i < tiba_model_inputs(model); i++) {
        tiba_port port = tiba_model_input(model, i);
        print_port("input    ", &port);
    }
    for (int i = 0; i < tiba_model_outputs(model); i++) {
        tiba_port port = tiba_model_output(model, i);
        print_port("output   ", &port);
    }
    for (int i = 0; tiba_model_unsupported(model, i); i++)
        printf("unsupported operator: %s\n", tiba_model_unsupported(model, i));
}

static tiba_status print_run(tiba_run *run, tiba_error *error) {
    tiba_tower_facts tower;
    for (int i = 0; tiba_run_tower(run, i, &tower); i++) print_tower(&tower);
    if (tiba_run_refusal(run)) printf("cannot be explained: %s\n", tiba_run_refusal(run));
    const char *summary;
    TB_TRY(tiba_run_listing(&summary, run, TIBA_LISTING_SUMMARY, error));
    fputs(summary, stdout);
    return TIBA_OK;
}

/* -------------------------------------------------------------------- for programs */

static void write_port(tb_json_writer *w, const tiba_port *port) {
    tb_json_open(w, NULL, '{');
    tb_json_write_text(w, "name", port->name, strlen(port->name));
    tb_json_write_text(w, "dtype", tb_dtype_name(port->dtype), strlen(tb_dtype_name(port->dtype)));
    if (port->rank >= 0) {
        tb_json_open(w, "shape", '[');
        for (int d = 0; d < port->rank; d++) {
            if (port->dims[d] >= 0)
                tb_json_write_integer(w, NULL, port->dims[d]);
            else
                tb_json_write_text(w, NULL, port->dim_names[d], strlen(port->dim_names[d]));
        }
        tb_json_close(w, ']');
    }
    tb_json_close(w, '}');
}

static void write_towers(tb_json_writer *w, const tiba_run *run) {
    tiba_tower_facts t;
    tb_json_open(w, "towers", '[');
    for (int i = 0; tiba_run_tower(run, i, &t); i++) {
        tb_json_open(w, NULL, '{');
        tb_json_write_text(w, "input", t.input, strlen(t.input));
        tb_json_write_integer(w, "attentions", t.attentions);
        tb_json_write_integer(w, "heads", t.heads);
        tb_json_write_integer(w, "tokens", t.tokens);
        tb_json_write_integer(w, "prefix_tokens", t.prefix);
        tb_json_write_integer(w, "rows", t.rows);
        tb_json_write_integer(w, "columns", t.columns);
        tb_json_write_integer(w, "tokens_move", t.moves);
        tb_json_write_text(w, "target_reads", t.reads, strlen(t.reads));
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
}

static void write_model(tb_json_writer *w, const tb_subject *subject) {
    const tiba_model *model = subject->model;
    tiba_model_facts facts = tiba_model_about(model);
    tb_json_write_text(w, "file", subject->path, strlen(subject->path));
    tb_json_write_text(w, "producer", facts.producer, strlen(facts.producer));
    tb_json_write_integer(w, "ir_version", facts.ir_version);
    tb_json_open(w, "opsets", '[');
    for (int i = 0; i < facts.n_opsets; i++) {
        int64_t version;
        const char *domain = tiba_model_opset(model, i, &version);
        tb_json_open(w, NULL, '{');
        tb_json_write_text(w, "domain", domain, strlen(domain));
        tb_json_write_integer(w, "version", version);
        tb_json_close(w, '}');
    }
    tb_json_close(w, ']');
    tb_json_write_integer(w, "parameters", facts.parameters);
    tb_json_write_integer(w, "parameter_bytes", facts.parameter_bytes);
    tb_json_open(w, "inputs", '[');
    for (int i = 0; i < tiba_model_inputs(model); i++) {
        tiba_port port = tiba_model_input(model, i);
        write_port(w, &port);
    }
    tb_json_close(w, ']');
    tb_json_open(w, "outputs", '[');
    for (int i = 0; i < tiba_model_outputs(model); i++) {
        tiba_port port = tiba_model_output(model, i);
        write_port(w, &port);
    }
    tb_json_close(w, ']');
    tb_json_open(w, "unsupported", '[');
    for (int i = 0; tiba_model_unsupported(model, i); i++) {
        const char *name = tiba_model_unsupported(model, i);
        tb_json_write_text(w, NULL, name, strlen(name));
    }
    tb_json_close(w, ']');
}

/* `run` is NULL where the model cannot be bound: `why` says why. */
static tiba_status print_json(const tb_subject *subject, tiba_run *run, const char *why,
                              tiba_error *error) {
    tb_json_writer w = {0};
    tb_json_open(&w, NULL, '{');
    write_model(&w, subject);
    if (run) {
        write_towers(&w, run);
        const char *summary;
        TB_TRY(tiba_run_listing(&summary, run, TIBA_LISTING_SUMMARY, error));
        tb_json_open(&w, "rewrites", '[');
        for (const char *line = summary; *line;) {
            size_t n = strcspn(line, "\n");
            tb_json_write_text(&w, NULL, line, n);
            line += n + (line[n] == '\n');
        }
        tb_json_close(&w, ']');
        why = tiba_run_refusal(run);
    }
    if (why) tb_json_write_text(&w, "refusal", why, strlen(why));
    tb_json_close(&w, '}');
    bool good = !w.failed && fwrite(w.data, 1, w.size, stdout) == w.size && putchar('\n') != EOF;
    tb_json_writer_free(&w);
    return good ? TIBA_OK : tb_fail(error, TIBA_ERROR_RESOURCE, "standard output: cannot write");
}

/* -------------------------------------------------------------------- the commands */

static tiba_status show_run(const options *o, tb_subject *subject, tiba_run *run,
                            tiba_error *error) {
    const char *text;
    if (o->dot) {
        tb_outputs outputs = {.arena = subject->arena};
        TB_TRY(tiba_run_listing(&text, run, TIBA_LISTING_DOT, error));
        TB_TRY(tb_outputs_add(&outputs, o->dot, text, strlen(text), error));
        return tb_outputs_commit(&outputs, error);
    }
    if (o->json) return print_json(subject, run, NULL, error);
    if (o->rewrites || o->graph) {
        TB_TRY(tiba_run_listing(&text, run, o->graph ? TIBA_LISTING_GRAPH : TIBA_LISTING_REWRITES,
                                error));
        fputs(text, stdout);
        return TIBA_OK;
    }
    print_model(subject);
    return print_run(run, error);
}

static tiba_status inspect(const options *o, tb_subject *subject, const tb_texts *rest,
                           tiba_error *error) {
    tb_sample sample;
    tiba_run *run = NULL;
    TB_TRY(make_sample(&sample, subject, rest, error));
    tiba_status status =
        tiba_run_create(&run, subject->model, sample.n_feeds, sample.feeds, o->output, error);
    if (status == TIBA_OK) {
        status = show_run(o, subject, run, error);
        tiba_run_destroy(run);
        return status;
    }
    /* What the file says of itself is worth having even if it cannot be run. */
    if (status == TIBA_ERROR_INPUT && o->json) {
        tiba_error ignored;
        print_json(subject, NULL, error ? error->message : "", &ignored);
    } else if (status == TIBA_ERROR_INPUT && !o->dot && !o->rewrites && !o->graph) {
        print_model(subject);
    }
    return status;
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
        if (status == TIBA_OK) status = inspect(&o, &subject, &rest, &error);
    }
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    tb_subject_close(&subject);
    tb_arena_destroy(arena);
    return (int)status;
}

int tb_cmd_ops(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("tiba-onnx ops\n\n"
               "Prints the operators that are supported as a table: what each one is, and\n"
               "whether gradients pass it. docs/operators.md is this table.\n\n"
               "  -h, --help             this text\n");
        return TIBA_OK;
    }
    if (argc > 1) {
        fprintf(stderr, "tiba-onnx: ops takes no arguments, not '%.60s'\n", argv[1]);
        return TIBA_ERROR_USAGE;
    }
    tiba_operator op;
    printf("| operator | kind | gradient |\n|---|---|---|\n");
    for (int i = 0; tiba_operator_at(&op, i); i++)
        printf("| %s%s%s | %s | %s |\n", op.domain, op.domain[0] ? "." : "", op.name, op.kind,
               op.gradient);
    return TIBA_OK;
}
