/*
 * cmd_explain.c: tiba-onnx MODEL INPUT...: prints the classes and writes what speaks for them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "io/panel.h"
#include "io/picture_write.h"
#include "tools/arguments.h"
#include "tools/commands.h"
#include "tools/outputs.h"
#include "tools/report.h"
#include "tools/subject.h"

typedef struct options {
    const char *target, *output, *rollout, *png, *json, *npy;
    tb_texts classes;
    int top, start_layer, threads;
    tb_subject_options how;
    bool help;
} options;

#define AT(member) offsetof(options, member)
static const tb_option table[] = {
    {"--target", NULL, TB_ARG_TEXT, AT(target), "I[,J...]", "the scalar of the output to explain"},
    {"--class", "-c", TB_ARG_TEXTS, AT(classes), "CLASS",
     "label, index or \"top\"; may be repeated"},
    {"--top", NULL, TB_ARG_INT, AT(top), "K", "explain the K most likely classes"},
    {"--output", NULL, TB_ARG_TEXT, AT(output), "NAME", "the graph output (default: the first)"},
    {"--rollout", NULL, TB_ARG_TEXT, AT(rollout), "FORM",
     "raw or normalized rows (default: raw for "
     "pictures, normalized for text)"},
    {"--start-layer", NULL, TB_ARG_INT, AT(start_layer), "N", "leave the first N attentions out"},
    {"--tokenizer", NULL, TB_ARG_TEXT, AT(how.tokenizer), "FILE", "tokenizer.json or its folder"},
    {"--truncate", NULL, TB_ARG_FLAG, AT(how.truncate), NULL, "cut a text that is too long"},
    {"--size", NULL, TB_ARG_TEXT, AT(how.size), "N|HxW", "resize pictures to this"},
    {"--crop", NULL, TB_ARG_TEXT, AT(how.crop), "N|HxW|none", "then crop the centre"},
    {"--mean", NULL, TB_ARG_TEXT, AT(how.mean), "M[,M,M]", "subtracted from the pixels"},
    {"--std", NULL, TB_ARG_TEXT, AT(how.std), "S[,S,S]", "that divides them"},
    {"--resample", NULL, TB_ARG_TEXT, AT(how.resample), "FILTER", "bilinear, bicubic, ..."},
    {"--layout", NULL, TB_ARG_TEXT, AT(how.layout), "LAYOUT", "nchw or nhwc"},
    {"--threads", "-t", TB_ARG_INT, AT(threads), "N", "threads (default: all processors)"},
    {"--png", "-o", TB_ARG_TEXT, AT(png), "FILE",
     "the picture with the maps (default for pictures: "
     "NAME.tiba.png)"},
    {"--json", NULL, TB_ARG_TEXT, AT(json), "FILE", "everything as JSON; - is standard output"},
    {"--npy", NULL, TB_ARG_TEXT, AT(npy), "DIR", "the arrays as .npy files"},
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, "this text"},
    {0}};

typedef struct job {
    options o;
    tb_arena *arena;
    tb_subject subject;
    tb_sample sample;
    tiba_run *run;
    tb_report report;
    tb_outputs outputs;
} job;

/* -------------------------------------------------------------------- what to explain */

static tiba_status parse_target(tiba_request *request, const char *text, tiba_error *error) {
    const char *at = text;
    do {
        char *end;
        long long index = strtoll(at, &end, 10);
        if (end == at || (*end && *end != ',') || request->target_rank == TIBA_MAX_RANK)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "--target: '%s' is no list of indices such as 0,2", text);
        request->target[request->target_rank++] = index;
        at = *end == ',' ? end + 1 : end;
        if (*end == ',' && *at == '\0')
            return tb_fail(error, TIBA_ERROR_USAGE, "--target: '%s' ends in a comma", text);
    } while (*at);
    return TIBA_OK;
}

static tiba_status parse_rollout(tiba_request *request, const char *text, tiba_error *error) {
    if (!text) return TIBA_OK;
    if (strcmp(text, "raw") == 0)
        request->rollout = TIBA_ROLLOUT_RAW;
    else if (strcmp(text, "normalized") == 0)
        request->rollout = TIBA_ROLLOUT_NORMALIZED;
    else
        return tb_fail(error, TIBA_ERROR_USAGE, "--rollout: '%s' is neither raw nor normalized",
                       text);
    return TIBA_OK;
}

static tiba_status add_request(job *j, tiba_request request, tiba_error *error) {
    tb_report *r = &j->report;
    tb_explained *list = TB_NEW(j->arena, tb_explained, r->n_explained + 1);
    if (!list) return tb_out_of_memory(error);
    if (r->n_explained) memcpy(list, r->explained, (size_t)r->n_explained * sizeof *list);
    list[r->n_explained++] = (tb_explained){.request = request};
    r->explained = list;
    return TIBA_OK;
}

/* The requests that --target, --class and --top ask for; one for the arg-max without them. */
static tiba_status find_requests(job *j, tiba_error *error) {
    const options *o = &j->o;
    tiba_request base = {.start_layer = o->start_layer, .blocks = o->npy != NULL};
    TB_TRY(parse_rollout(&base, o->rollout, error));
    if ((o->target != NULL) + (o->classes.count > 0) + (o->top > 0) > 1)
        return tb_fail(error, TIBA_ERROR_USAGE, "--target, --class and --top exclude each other");
    if (o->target) {
        TB_TRY(parse_target(&base, o->target, error));
        return add_request(j, base, error);
    }
    tiba_tensor y = tiba_run_output(j->run, tiba_run_explained_output(j->run));
    int64_t classes = y.rank ? y.dims[y.rank - 1] : 1;
    if (o->classes.count == 0 && o->top == 0) return add_request(j, base, error);
    if (y.rank != 2)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--class and --top want an output [samples, classes]; use --target");
    base.target_rank = 1;
    for (int i = 0; i < o->classes.count; i++) {
        bool top = strcmp(o->classes.items[i], "top") == 0;
        if (top)
            base.target[0] = tb_report_class(&j->report, 0);
        else
            TB_TRY(tb_label_find(&base.target[0], &j->subject.labels, classes, o->classes.items[i],
                                 error));
        TB_TRY(add_request(j, base, error));
    }
    for (int i = 0; i < o->top && i < classes && i < TB_PANEL_MOST_MAPS; i++) {
        base.target[0] = tb_report_class(&j->report, i);
        TB_TRY(add_request(j, base, error));
    }
    return TIBA_OK;
}

/* -------------------------------------------------------------------- files */

static tiba_status add_npy(job *j, const char *name, const tiba_tensor *tensor, tiba_error *error) {
    /* a graph may call an output a/b */
    char *file = tb_arena_strdup(j->arena, name);
    if (!file) return tb_out_of_memory(error);
    for (char *c = file; *c; c++)
        if (*c == '/' || *c == '\\') *c = '_';
    const char *path = tb_path_join(j->arena, j->o.npy, file);
    unsigned char *data;
    size_t size;
    if (!path) return tb_out_of_memory(error);
    TB_TRY(tb_npy_encode(&data, &size, j->arena, tensor, error));
    return tb_outputs_add(&j->outputs, path, data, size, error);
}

/* An array of a tower: a sample axis in front only if there is more than one sample. */
static tiba_status add_array(job *j, const char *name, const tiba_tower *tower, int rank, int64_t a,
                             int64_t b, const float *data, tiba_error *error) {
    tiba_tensor t = {.dtype = TIBA_FLOAT32, .data = (void *)(uintptr_t)data};
    if (tower->samples > 1) t.dims[t.rank++] = tower->samples;
    t.dims[t.rank++] = a;
    if (rank == 2) t.dims[t.rank++] = b;
    return add_npy(j, name, &t, error);
}

/* The patches' share of the token relevance. */
static const float *patch_map(const tiba_tower *tower, tb_arena *arena) {
    int64_t patches = tower->rows * tower->columns;
    float *map = TB_NEW(arena, float, tower->samples *patches);
    for (int64_t s = 0; map && s < tower->samples; s++)
        memcpy(map + s * patches, tower->relevance + s * tower->tokens + tower->prefix,
               (size_t)patches * sizeof *map);
    return map;
}

static tiba_status add_tower_arrays(job *j, const tiba_tower *tower, const char *suffix,
                                    tiba_error *error) {
    tb_arena *a = j->arena;
    int64_t n = tower->tokens;
    TB_TRY(add_array(j, tb_arena_format(a, "tokens.%s%s.npy", tower->input, suffix), tower, 1, n, 0,
                     tower->relevance, error));
    TB_TRY(add_array(j, tb_arena_format(a, "readout.%s%s.npy", tower->input, suffix), tower, 1,
                     tower->readout_tokens, 0, tower->readout, error));
    for (int b = 0; tower->blocks && b < tower->n_blocks; b++)
        TB_TRY(add_array(j, tb_arena_format(a, "block.%d.%s%s.npy", b, tower->input, suffix), tower,
                         2, n, n, tower->blocks[b], error));
    if (tower->rows == 0) return TIBA_OK;
    const float *map = patch_map(tower, a);
    if (!map) return tb_out_of_memory(error);
    return add_array(j, tb_arena_format(a, "map.%s%s.npy", tower->input, suffix), tower, 2,
                     tower->rows, tower->columns, map, error);
}

static tiba_status add_arrays(job *j, tiba_error *error) {
    j->outputs.folder = j->o.npy;
    for (int i = 0; i < tiba_model_outputs(j->subject.model); i++) {
        tiba_tensor tensor = tiba_run_output(j->run, i);
        const char *name = tiba_model_output(j->subject.model, i).name;
        TB_TRY(add_npy(j, tb_arena_format(j->arena, "output.%s.npy", name), &tensor, error));
    }
    if (j->report.n_explained != 1)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "--npy writes one target: give one --class or --target");
    const tiba_result *result = j->report.explained[0].result;
    for (int t = 0; t < tiba_result_towers(result); t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        int twins = 0; /* towers of the same input get numbers from the second on */
        for (int k = 0; k < t; k++)
            twins += strcmp(tiba_result_tower(result, k)->input, tower->input) == 0;
        const char *suffix = twins ? tb_arena_format(j->arena, ".%d", twins + 1) : "";
        TB_TRY(add_tower_arrays(j, tower, suffix, error));
    }
    return TIBA_OK;
}

static const tiba_tower *image_tower(const tiba_result *result, const char *input) {
    for (int t = 0; t < tiba_result_towers(result); t++) {
        const tiba_tower *tower = tiba_result_tower(result, t);
        if (tower->rows > 0 && input && strcmp(tower->input, input) == 0) return tower;
    }
    return NULL;
}

/* The original and a map for each explained class. */
static tiba_status add_panel(job *j, const char *path, tiba_error *error) {
    tb_report *r = &j->report;
    tb_panel_map *maps = TB_NEW(j->arena, tb_panel_map, r->n_explained);
    if (!maps) return tb_out_of_memory(error);
    for (int i = 0; i < r->n_explained; i++) {
        const tiba_result *result = r->explained[i].result;
        const tiba_tower *tower = image_tower(result, j->sample.image_input);
        if (!tower)
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "no picture to write: the tokens of input '%s' form no patch grid",
                           j->sample.image_input ? j->sample.image_input : "");
        const float *grid = patch_map(tower, j->arena);
        char *caption = TB_NEW(j->arena, char, 128), *detail = TB_NEW(j->arena, char, 128);
        if (!grid || !caption || !detail) return tb_out_of_memory(error);
        tb_report_caption(r, i, caption, detail, 128);
        maps[i] = (tb_panel_map){caption, detail, grid, (int)tower->rows, (int)tower->columns};
    }
    const char *slash = strrchr(j->sample.picture_path, '/');
    tb_panel_options look = {.colors = TB_COLORMAP_TURBO,
                             .title = slash ? slash + 1 : j->sample.picture_path};
    tb_picture panel;
    uint8_t *data;
    size_t size;
    TB_TRY(tb_panel_draw(&panel, j->arena, &j->sample.picture, &j->sample.geometry, maps,
                         r->n_explained, &look, error));
    TB_TRY(tb_picture_encode_png(&data, &size, j->arena, &panel, error));
    return tb_outputs_add(&j->outputs, path, data, size, error);
}

/* cat.png → cat.tiba.png in the working folder */
static const char *default_png(job *j) {
    const char *path = j->sample.picture_path, *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    return tb_arena_format(j->arena, "%.*s.tiba.png", (int)length, name);
}

static tiba_status add_files(job *j, const char **png, tiba_error *error) {
    const options *o = &j->o;
    if (o->npy) TB_TRY(add_arrays(j, error));
    *png = o->png;
    if (!*png && !o->npy && !o->json && j->sample.picture_path) {
        *png = default_png(j);
        if (!*png) return tb_out_of_memory(error);
    }
    if (*png && !j->sample.picture_path)
        return tb_fail(error, TIBA_ERROR_USAGE, "-o wants a picture as input");
    if (*png) TB_TRY(add_panel(j, *png, error));
    if (!o->json) return TIBA_OK;
    char *text;
    TB_TRY(tb_report_json(&text, &j->report, j->arena, error));
    return tb_outputs_add(&j->outputs, o->json, text, strlen(text), error);
}

/* -------------------------------------------------------------------- the command */

static tiba_status explain(job *j, const tb_texts *rest, tiba_error *error) {
    tiba_options how = {.threads = j->o.threads};
    TB_TRY(tb_subject_open(&j->subject, rest->items[0], &how, &j->o.how, error));
    TB_TRY(tb_subject_sample(&j->sample, &j->subject, j->arena, rest->count - 1, rest->items + 1,
                             error));
    TB_TRY(tiba_run_create(&j->run, j->subject.model, j->sample.n_feeds, j->sample.feeds,
                           j->o.output, error));
    j->report = (tb_report){.subject = &j->subject, .sample = &j->sample, .run = j->run};
    TB_TRY(tb_report_classes(&j->report, j->arena, error));
    TB_TRY(find_requests(j, error));
    for (int i = 0; i < j->report.n_explained; i++)
        TB_TRY(tiba_explain(&j->report.explained[i].result, j->run, &j->report.explained[i].request,
                            error));
    const char *png;
    TB_TRY(add_files(j, &png, error));
    TB_TRY(tb_outputs_commit(&j->outputs, error));
    bool quiet = j->o.json && strcmp(j->o.json, "-") == 0;
    if (!quiet) tb_report_print(&j->report, png);
    return TIBA_OK;
}

static void print_help(void) {
    printf("tiba-onnx MODEL INPUT... [options]\n\n"
           "MODEL is a .onnx file or a folder with model.onnx and its companions; INPUT is a "
           "picture, a\ntext, a .txt file, or NAME=FILE.npy for the graph input NAME.\n\n");
    tb_arguments_help(table);
}

int tb_cmd_explain(int argc, char **argv) {
    tiba_error error = {0};
    job j = {.arena = tb_arena_create(NULL)};
    if (!j.arena) {
        fprintf(stderr, "tiba-onnx: out of memory\n");
        return TIBA_ERROR_RESOURCE;
    }
    j.outputs.arena = j.arena;
    tb_texts rest = {0};
    tiba_status status = tb_arguments_parse(&j.o, table, j.arena, argc, argv, &rest, &error);
    if (status == TIBA_OK && j.o.help)
        print_help();
    else if (status == TIBA_OK && rest.count < 2)
        status = tb_fail(&error, TIBA_ERROR_USAGE,
                         rest.count ? "no input given; --help says more"
                                    : "no model given; --help says more");
    else if (status == TIBA_OK)
        status = explain(&j, &rest, &error);
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    for (int i = 0; i < j.report.n_explained; i++)
        tiba_result_destroy(j.report.explained[i].result);
    tiba_run_destroy(j.run);
    tb_subject_close(&j.subject);
    tb_arena_destroy(j.arena);
    return status;
}
