/*
 * cmd_explain.c: tiba-onnx MODEL INPUT...: prints the scores and writes what speaks for them. The
 * work is done by explain_job.c, what is shown by render_*.c.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/commands.h"
#include "tools/explain_job.h"
#include "tools/job_rows.h"
#include "tools/methods.h"
#include "tools/render.h"
#include "tools/trust.h"

typedef struct options {
    tb_job_options job;
    tb_subject_options how;
    const char *png, *overlay, *json, *npy, *html, *colors, *color;
    double opacity;
    int threads, repeat;
    bool profile, help;
} options;

#define AT(member)    offsetof(options, member)
#define SAID(summary) summary
static const tb_option table[] = {
    TB_JOB_ROWS(AT, SAID),
    {"--png", "-o", TB_ARG_TEXT, AT(png), "FILE", "panel of maps (default: PICTURE.tiba.png)"},
    {"--overlay", NULL, TB_ARG_TEXT, AT(overlay), "FILE", ""},
    {"--html", NULL, TB_ARG_TEXT, AT(html), "FILE", "everything as one page"},
    {"--json", NULL, TB_ARG_TEXT, AT(json), "FILE",
     "everything for programs; - is standard output"},
    {"--npy", NULL, TB_ARG_TEXT, AT(npy), "DIR", "the arrays as .npy files"},
    {"--color", NULL, TB_ARG_TEXT, AT(color), "WHEN", ""},
    {"--repeat", NULL, TB_ARG_COUNT, AT(repeat), "N", ""},
    {"--profile", NULL, TB_ARG_FLAG, AT(profile), NULL, ""},
    {"--threads", "-t", TB_ARG_INT, AT(threads), "N", ""},
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, ""},
    {0}};

typedef struct command {
    options o;
    tb_arena *arena;
    tb_subject subject;
    tb_job job;
    tb_outputs outputs;
    tb_look look;
    int n_files;
    const char *files[8]; /* written ones to name, ended by NULL */
    bool quiet;           /* standard output is one of them */
    tb_profile_report profile;
} command;

/* cat.png -> cat.tiba.png in the working folder */
static const char *default_png(const command *c) {
    const char *path = c->job.sample.picture_path, *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    return tb_arena_format(c->arena, "%.*s.tiba.png", (int)length, name);
}

/* A file for the run to leave; standard output may only be given once. */
static tiba_status add_file(command *c, const char *path, const void *data, size_t size,
                            tiba_error *error) {
    c->quiet |= strcmp(path, "-") == 0;
    c->files[c->n_files++] = path;
    return tb_outputs_add(&c->outputs, path, data, size, error);
}

typedef tiba_status png_maker(uint8_t **, size_t *, const tb_report *, const tb_look *,
                              tiba_error *);

static tiba_status add_png(command *c, const char *path, png_maker *make, tiba_error *error) {
    uint8_t *data;
    size_t size;
    if (!path) return TIBA_OK;
    TB_TRY(make(&data, &size, &c->job.report, &c->look, error));
    return add_file(c, path, data, size, error);
}

/* A file called like a kind that its option does not write; `others` ends with NULL. */
static tiba_status check_name(const char *option, const char *path, const char *const *others,
                              const char *writes, const char *end, tiba_error *error) {
    const char *dot = path ? strrchr(path, '.') : NULL;
    for (; dot && *others; others++)
        if (strcmp(dot, *others) == 0)
            return tb_fail(error, TIBA_ERROR_USAGE, "%s %s: it writes %s, call it %.*s.%s", option,
                           path, writes, (int)(dot - path), path, end);
    return TIBA_OK;
}

/* What can be told before anything is computed. */
static tiba_status check_names(const options *o, tiba_error *error) {
    static const char *const no_png[] = {".jpg", ".jpeg", ".gif",  ".webp",
                                         ".svg", ".pdf",  ".html", NULL};
    static const char *const no_page[] = {".png", ".json", NULL};
    TB_TRY(check_name("-o", o->png, no_png, "PNG", "png", error));
    TB_TRY(check_name("--overlay", o->overlay, no_png, "PNG", "png", error));
    return check_name("--html", o->html, no_page, "a page", "html", error);
}

/* What can be told once the inputs are read. */
static tiba_status check_picture(const command *c, tiba_error *error) {
    const char *option = c->o.png ? "-o" : c->o.overlay ? "--overlay" : NULL;
    if (!option || c->job.sample.picture_path) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_USAGE, "%s wants a picture file as input", option);
}

/* Everything but JSON, which says how long that took. */
static tiba_status add_files(command *c, tiba_error *error) {
    const options *o = &c->o;
    tb_report *r = &c->job.report;
    char *text;
    size_t size;
    double start = tb_seconds();
    const char *png = o->png;
    if (!png && !o->overlay && !o->npy && !o->json && !o->html && c->job.sample.picture_path) {
        png = default_png(c);
        if (!png) return tb_out_of_memory(error);
    }
    if (o->npy) {
        TB_TRY(tb_render_npy(&c->outputs, r, o->npy, error));
        c->files[c->n_files++] = o->npy;
    }
    TB_TRY(add_png(c, png, tb_render_png, error));
    if (png) tb_report_note(r, tb_png_note(r));
    TB_TRY(add_png(c, o->overlay, tb_render_overlay, error));
    if (o->html) {
        TB_TRY(tb_render_html(&text, &size, r, &c->look, error));
        TB_TRY(add_file(c, o->html, text, size, error));
    }
    r->times.seconds[TB_TIME_RENDER] = tb_seconds() - start;
    return TIBA_OK;
}

static tiba_status add_json(command *c, tiba_error *error) {
    char *text;
    size_t size;
    if (!c->o.json) return TIBA_OK;
    TB_TRY(tb_render_json(&text, &size, &c->job.report, error));
    return add_file(c, c->o.json, text, size, error);
}

/* From input files to what is to be written, as if for the first time but for the plan. */
static tiba_status work(command *c, const tb_texts *rest, tiba_error *error) {
    tb_job_close(&c->job);
    c->job = (tb_job){.options = &c->o.job, .subject = &c->subject};
    TB_TRY(tb_job_start(&c->job, error));
    c->outputs = (tb_outputs){.arena = c->job.arena};
    memset(c->files, 0, sizeof c->files);
    c->n_files = 0;
    c->quiet = false;
    TB_TRY(tb_job_prepare(&c->job, rest->count - 1, rest->items + 1, error));
    TB_TRY(check_picture(c, error));
    TB_TRY(tb_job_views(&c->job, error));
    TB_TRY(tb_trust(&c->job, error));
    return add_files(c, error);
}

static tiba_status set_profile(const command *c, bool on, tiba_error *error) {
    if (c->subject.partner) TB_TRY(tiba_model_profile(c->subject.partner->model, on, error));
    return tiba_model_profile(c->subject.model, on, error);
}

static tiba_status work_often(command *c, const tb_texts *rest, tiba_error *error) {
    int n = c->o.repeat > 0 ? c->o.repeat : 1;
    tb_report *r = &c->job.report;
    tb_times *each = TB_NEW(c->arena, tb_times, n);
    if (!each) return tb_out_of_memory(error);
    if (c->o.profile) TB_TRY(set_profile(c, true, error));
    for (int i = 0; i < n; i++) {
        TB_TRY(work(c, rest, error));
        each[i] = r->times;
    }
    tb_times_median(&r->times, n, each);
    r->repeats = n;
    if (!c->o.profile) return TIBA_OK;
    const tb_subject *partner = c->subject.partner;
    TB_TRY(tb_profile_collect(&c->profile, c->arena, c->subject.model,
                              partner ? partner->model : NULL, n, error));
    r->profile = &c->profile;
    return TIBA_OK;
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
    TB_TRY(check_names(&c->o, error));
    TB_TRY(tb_look_parse(&c->look, c->o.colors, c->o.opacity, error));
    TB_TRY(find_depth(&depth, c->o.color, error));
    TB_TRY(tb_subject_open(&c->subject, rest->items[0], &how, &c->o.how, error));
    c->o.job.blocks = c->o.npy || c->o.html;
    TB_TRY(work_often(c, rest, error));
    TB_TRY(add_json(c, error));
    TB_TRY(tb_outputs_commit(&c->outputs, error));
    if (c->o.profile) tb_profile_print(&c->profile, &c->job.report.times, c->job.report.repeats);
    if (!c->quiet) tb_render_text(&c->job.report, &c->look, depth, c->files);
    return TIBA_OK;
}

static void print_help(void) {
    printf("tiba-onnx [explain] MODEL INPUT... [options]\n"
           "MODEL is a .onnx file or a folder with model.onnx and its companions; INPUT\n"
           "is a picture, a text, a .txt file, or NAME=FILE.npy for a graph input.\n\n");
    tb_arguments_help(table);
}

int tb_cmd_explain(int argc, char **argv) {
    tiba_error error = {0};
    command c = {.arena = tb_arena_create(NULL), .o.opacity = TB_DEFAULT_OPACITY};
    if (!c.arena) {
        fprintf(stderr, "tiba-onnx: out of memory\n");
        return TIBA_ERROR_RESOURCE;
    }
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
