/*
 * cmd_eval.c: tiba-onnx eval perturbation|segmentation|rationale MODEL DATA: how well the methods
 * explain this model, by the measurements of the paper.
 */
#include <stdio.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/drawing.h"
#include "tools/eval.h"
#include "tools/job_rows.h"
#include "tools/outputs.h"
#include "tools/settings.h"
#include "tools/workers.h"

typedef struct options {
    tb_texts methods, texts;
    tb_subject_options how;
    const char *json, *csv, *plot, *resume;
    double scale;
    int limit, draws, jobs;
    bool drop, help;
} options;

#define AT(member) offsetof(options, member)
static const tb_option table[] = {
    {"--method", "-m", TB_ARG_TEXTS, AT(methods), "NAME", "a method or all (default); repeatable"},
    {"--limit", NULL, TB_ARG_INT, AT(limit), "N", ""},
    {"--text", NULL, TB_ARG_TEXTS, AT(texts), "TEXT", "of a class of pictures; one for each"},
    {"--drop", NULL, TB_ARG_FLAG, AT(drop), NULL, "perturbation: leave tokens out, not masked"},
    {"--scale", NULL, TB_ARG_FACTOR, AT(scale), "X", ""},
    {"--draws", NULL, TB_ARG_INT, AT(draws), "N", ""},
    {"--json", NULL, TB_ARG_TEXT, AT(json), "FILE", "the tables; - is standard output"},
    {"--csv", NULL, TB_ARG_TEXT, AT(csv), "FILE", "a row for every item, method and metric; or -"},
    TB_INPUT_ROWS(AT),
    {"--plot", NULL, TB_ARG_TEXT, AT(plot), "FILE", "curves and intervals, as .png or .svg"},
    {"--resume", NULL, TB_ARG_TEXT, AT(resume), "FILE",
     "keeps what is done; a run that was stopped goes on"},
    {"--jobs", "-j", TB_ARG_INT, AT(jobs), "N", ""},
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, ""},
    {0}};

static const tb_eval_kind *const kinds[] = {&tb_eval_perturbation, &tb_eval_segmentation,
                                            &tb_eval_rationale};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static void print_help(void) {
    printf("tiba-onnx eval KIND MODEL DATA [options]\n\nkinds:\n");
    for (int i = 0; i < N_KINDS; i++) printf("  %-13s %s\n", kinds[i]->name, kinds[i]->summary);
    printf("\nDATA is a folder with truth.json and pictures, a reviews.json, or a folder in\n"
           "ERASER's layout (docs/ and *.jsonl). docs/evaluation.md says more.\n\n");
    tb_arguments_help(table);
    tb_methods_list();
}

static bool is_output(const char *path) {
    return path && strcmp(path, "-") == 0;
}

static tiba_status add_files(tb_eval *eval, const options *o, tb_outputs *outputs,
                             tiba_error *error) {
    char *text;
    size_t size;
    if (o->json) {
        TB_TRY(tb_eval_json(&text, &size, eval, error));
        TB_TRY(tb_outputs_add(outputs, o->json, text, size, error));
    }
    if (o->csv) {
        TB_TRY(tb_eval_csv(&text, &size, eval, error));
        TB_TRY(tb_outputs_add(outputs, o->csv, text, size, error));
    }
    if (o->plot) {
        uint8_t *plot;
        TB_TRY(tb_eval_plot(&plot, &size, eval, o->plot, error));
        TB_TRY(tb_outputs_add(outputs, o->plot, plot, size, error));
    }
    if (!is_output(o->json) && !is_output(o->csv)) {
        TB_TRY(tb_eval_text(&text, &size, eval, error));
        TB_TRY(tb_outputs_add(outputs, "-", text, size, error));
    }
    return tb_outputs_commit(outputs, error);
}

static tiba_status find_kind(const tb_eval_kind **out, const char *name, tiba_error *error) {
    for (int i = 0; i < N_KINDS; i++) {
        *out = kinds[i];
        if (strcmp(kinds[i]->name, name) == 0) return TIBA_OK;
    }
    return tb_fail(error, TIBA_ERROR_USAGE,
                   "eval: '%s' is none of perturbation, segmentation, rationale", name);
}

static tiba_status evaluate(tb_eval *eval, const options *o, const tb_texts *rest, int argc,
                            char **argv, tiba_error *error) {
    static const tb_free_option free_ones[] = {
        {"--json", true},   {"--csv", true},  {"--plot", true}, {"--draws", true},
        {"--resume", true}, {"--jobs", true}, {"-j", true},     {0}};
    TB_TRY(find_kind(&eval->kind, rest->items[0], error));
    eval->data = rest->items[2];
    eval->limit = o->limit;
    eval->drop = o->drop;
    if (o->drop && eval->kind != &tb_eval_perturbation)
        return tb_fail(error, TIBA_ERROR_USAGE, "--drop is for perturbation");
    eval->draws = o->draws ? o->draws : 1000;
    if (eval->draws < 40 || eval->draws > 100000)
        return tb_fail(error, TIBA_ERROR_USAGE, "--draws: between 40 and 100000");
    if (o->plot) TB_TRY(tb_drawing_named(o->plot, error));
    tb_eval_course course = {.jobs = tb_workers_jobs(o->jobs), .resume = o->resume};
    /* threads would not survive the fork */
    tiba_options how = {.threads = course.jobs > 1 ? 1 : 0};
    char *settings = NULL;
    TB_TRY(tb_methods_find(&eval->n_methods, eval->methods, &o->methods, error));
    TB_TRY(tb_subject_open(eval->subject, rest->items[1], &how, &o->how, error));
    bool text = tb_eval_is_text(eval);
    TB_TRY(tb_subject_check(eval->subject, !text, text || o->texts.count > 0, error));
    TB_TRY(tb_eval_labels_read(eval, &o->texts, o->scale, error));
    if (o->resume)
        TB_TRY(
            tb_settings_text(&settings, eval->arena, eval->subject, argc, argv, free_ones, error));
    course.settings = settings;
    TB_TRY(tb_eval_run(eval, &course, error));
    TB_TRY(tb_eval_summarise(eval, error));
    tb_outputs outputs = {.arena = eval->arena};
    return add_files(eval, o, &outputs, error);
}

int tb_cmd_eval(int argc, char **argv) {
    tiba_error error = {0};
    options o = {0};
    tb_subject subject = {0};
    tb_eval eval = {.arena = tb_arena_create(NULL), .subject = &subject};
    if (!eval.arena) {
        fprintf(stderr, "tiba-onnx: out of memory\n");
        return TIBA_ERROR_RESOURCE;
    }
    tb_texts rest = {0};
    tiba_status status = tb_arguments_parse(&o, table, eval.arena, argc, argv, &rest, &error);
    if (status == TIBA_OK && o.help)
        print_help();
    else if (status == TIBA_OK && rest.count != 3)
        status = tb_fail(&error, TIBA_ERROR_USAGE,
                         "eval wants a kind, a model and data; eval --help says more");
    else if (status == TIBA_OK)
        status = evaluate(&eval, &o, &rest, argc, argv, &error);
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    tb_subject_close(&subject);
    tb_arena_destroy(eval.arena);
    return (int)status;
}
