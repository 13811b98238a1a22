/*
 * cmd_explain.c: tiba-onnx MODEL INPUT...: prints the scores and writes what speaks for them. The
 * work is done by explain_job.c, what is shown by render_*.c.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/commands.h"
#include "tools/explain_job.h"
#include "tools/methods.h"
#include "tools/render.h"

typedef struct options {
    tb_job_options job;
    tb_subject_options how;
    const char *png, *json, *npy, *html, *colors, *color;
    double opacity;
    int threads;
    bool help;
} options;

#define AT(member) offsetof(options, member)
static const tb_option table[] = {
    {"--class", "-c", TB_ARG_TEXTS, AT(job.classes), "CLASS", "label, index or top; repeatable"},
    {"--top", NULL, TB_ARG_INT, AT(job.top), "K", "explain the K most likely classes"},
    {"--target", NULL, TB_ARG_TEXT, AT(job.target), "I[,J...]",
     "explain this scalar of the output"},
    {"--output", NULL, TB_ARG_TEXT, AT(job.output), "NAME", ""},
    {"--text", NULL, TB_ARG_TEXTS, AT(job.texts), "TEXT", "a text to score the picture with"},
    {"--choose", NULL, TB_ARG_INT, AT(job.choose), "N",
     "explain the N-th text (default: the best)"},
    {"--contrast", NULL, TB_ARG_TEXT, AT(job.contrast), "TEXT", "explain the lead over this text"},
    {"--table", NULL, TB_ARG_FLAG, AT(job.table), NULL, "what each word adds, and where it looks"},
    {"--scale", NULL, TB_ARG_FLOAT, AT(job.scale), "X", ""},
    {"--signed", NULL, TB_ARG_FLAG, AT(job.keep_sign), NULL, "show what speaks against it as well"},
    {"--method", "-m", TB_ARG_TEXT, AT(job.method), "NAME", "how to explain (default: tiba)"},
    {"--rollout", NULL, TB_ARG_TEXT, AT(job.rollout), "FORM", "raw or normalized rows"},
    {"--start-layer", NULL, TB_ARG_INT, AT(job.start_layer), "N", ""},
    {"--tokenizer", NULL, TB_ARG_TEXT, AT(how.tokenizer), "FILE", ""},
    {"--truncate", NULL, TB_ARG_FLAG, AT(how.truncate), NULL, "cut a text that is too long"},
    {"--size", NULL, TB_ARG_TEXT, AT(how.size), "N|HxW", ""},
    {"--crop", NULL, TB_ARG_TEXT, AT(how.crop), "N|HxW|none", ""},
    {"--mean", NULL, TB_ARG_TEXT, AT(how.mean), "M[,M,M]", ""},
    {"--std", NULL, TB_ARG_TEXT, AT(how.std), "S[,S,S]", ""},
    {"--resample", NULL, TB_ARG_TEXT, AT(how.resample), "FILTER", ""},
    {"--layout", NULL, TB_ARG_TEXT, AT(how.layout), "LAYOUT", ""},
    {"--png", "-o", TB_ARG_TEXT, AT(png), "FILE", "panel of maps (default: PICTURE.tiba.png)"},
    {"--colormap", NULL, TB_ARG_TEXT, AT(colors), "MAP", "turbo viridis magma jet gray diverging"},
    {"--opacity", NULL, TB_ARG_FLOAT, AT(opacity), "X", ""},
    {"--html", NULL, TB_ARG_TEXT, AT(html), "FILE", "everything as one page"},
    {"--json", NULL, TB_ARG_TEXT, AT(json), "FILE",
     "everything for programs; - is standard output"},
    {"--npy", NULL, TB_ARG_TEXT, AT(npy), "DIR", "the arrays as .npy files"},
    {"--color", NULL, TB_ARG_TEXT, AT(color), "WHEN", ""},
    {"--repeat", NULL, TB_ARG_INT, AT(job.repeat), "N", ""},
    {"--threads", "-t", TB_ARG_INT, AT(threads), "N", ""},
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, "this text"},
    {0}};

typedef struct command {
    options o;
    tb_arena *arena;
    tb_subject subject;
    tb_job job;
    tb_outputs outputs;
    tb_look look;
    const char *files[4]; /* written ones to name */
} command;

/* cat.png -> cat.tiba.png in the working folder */
static const char *default_png(const command *c) {
    const char *path = c->job.sample.picture_path, *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    return tb_arena_format(c->arena, "%.*s.tiba.png", (int)length, name);
}

static tiba_status add_png(command *c, tiba_error *error) {
    const options *o = &c->o;
    const tb_report *r = &c->job.report;
    const char *path = o->png;
    if (!path && !o->npy && !o->json && !o->html && c->job.sample.picture_path) {
        path = default_png(c);
        if (!path) return tb_out_of_memory(error);
    }
    if (!path) return TIBA_OK;
    if (!c->job.sample.picture_path)
        return tb_fail(error, TIBA_ERROR_USAGE, "-o wants a picture as input");
    uint8_t *data;
    size_t size;
    TB_TRY(tb_render_png(&data, &size, r, &c->look, error));
    c->files[c->files[0] ? 1 : 0] = path;
    return tb_outputs_add(&c->outputs, path, data, size, error);
}

static tiba_status add_files(command *c, tiba_error *error) {
    const options *o = &c->o;
    tb_report *r = &c->job.report;
    char *text;
    size_t size;
    double start = tb_seconds();
    if (o->npy) TB_TRY(tb_render_npy(&c->outputs, r, o->npy, error));
    TB_TRY(add_png(c, error));
    if (o->html) {
        TB_TRY(tb_render_html(&text, &size, r, &c->look, error));
        c->files[c->files[0] ? 1 : 0] = o->html;
        TB_TRY(tb_outputs_add(&c->outputs, o->html, text, size, error));
    }
    r->render_seconds = tb_seconds() - start;
    if (!o->json) return TIBA_OK;
    TB_TRY(tb_render_json(&text, &size, r, error));
    return tb_outputs_add(&c->outputs, o->json, text, size, error);
}

static tiba_status find_depth(tb_color_depth *out, const char *when, tiba_error *error) {
    *out = tb_terminal_colors();
    if (!when || strcmp(when, "auto") == 0) return TIBA_OK;
    if (strcmp(when, "never") == 0) {
        *out = TB_COLOR_NONE;
    } else if (strcmp(when, "always") == 0) {
        if (*out == TB_COLOR_NONE) *out = TB_COLOR_256;
    } else {
        return tb_fail(error, TIBA_ERROR_USAGE, "--color: '%s' is none of auto, always, never",
                       when);
    }
    return TIBA_OK;
}

static tiba_status explain(command *c, const tb_texts *rest, tiba_error *error) {
    tiba_options how = {.threads = c->o.threads};
    tb_color_depth depth;
    TB_TRY(tb_look_parse(&c->look, c->o.colors, c->o.opacity, error));
    TB_TRY(find_depth(&depth, c->o.color, error));
    TB_TRY(tb_subject_open(&c->subject, rest->items[0], &how, &c->o.how, error));
    c->job.options = &c->o.job;
    c->job.subject = &c->subject;
    c->o.job.blocks = c->o.npy || c->o.html;
    TB_TRY(tb_job_start(&c->job, error));
    TB_TRY(tb_job_run(&c->job, rest->count - 1, rest->items + 1, error));
    TB_TRY(add_files(c, error));
    TB_TRY(tb_outputs_commit(&c->outputs, error));
    bool quiet = c->o.json && strcmp(c->o.json, "-") == 0;
    if (!quiet) tb_render_text(&c->job.report, &c->look, depth, c->files);
    return TIBA_OK;
}

static void print_help(void) {
    printf("tiba-onnx MODEL INPUT... [options]\n\n"
           "MODEL is a .onnx file or a folder with model.onnx and its companions; INPUT\n"
           "is a picture, a text, a .txt file, or NAME=FILE.npy for a graph input.\n\n");
    tb_arguments_help(table);
    tb_methods_list();
}

int tb_cmd_explain(int argc, char **argv) {
    tiba_error error = {0};
    command c = {.arena = tb_arena_create(NULL)};
    if (!c.arena) {
        fprintf(stderr, "tiba-onnx: out of memory\n");
        return TIBA_ERROR_RESOURCE;
    }
    c.outputs.arena = c.arena;
    tb_texts rest = {0};
    tiba_status status = tb_arguments_parse(&c.o, table, c.arena, argc, argv, &rest, &error);
    int inputs = rest.count + c.o.job.texts.count;
    if (status == TIBA_OK && c.o.help)
        print_help();
    else if (status == TIBA_OK && inputs < 2)
        status = tb_fail(&error, TIBA_ERROR_USAGE,
                         rest.count ? "no input given; --help says more"
                                    : "no model given; --help says more");
    else if (status == TIBA_OK)
        status = explain(&c, &rest, &error);
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    tb_job_close(&c.job);
    tb_subject_close(&c.subject);
    tb_arena_destroy(c.arena);
    return (int)status;
}
