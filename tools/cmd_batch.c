/*
 * cmd_batch.c: tiba-onnx batch MODEL LIST|FOLDER -O OUTDIR: explains many inputs, each exactly as a
 * run of its own would. The model is opened once and shared by worker processes (workers.h); only
 * this process writes the index.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "io/json.h"
#include "tools/batch_index.h"
#include "tools/commands.h"
#include "tools/explain_job.h"
#include "tools/job_rows.h"
#include "tools/progress.h"
#include "tools/render.h"
#include "tools/settings.h"
#include "tools/workers.h"

typedef struct options {
    tb_job_options job;
    tb_subject_options how;
    const char *folder, *shard, *colors;
    double opacity;
    int jobs;
    bool png, html, retry, help;
} options;

#define AT(member)      offsetof(options, member)
#define LISTED(summary) ""
static const tb_option table[] = {
    {"--out", "-O", TB_ARG_TEXT, AT(folder), "OUTDIR",
     "where the results go: NAME.json, the index"},
    {"--jobs", NULL, TB_ARG_COUNT, AT(jobs), "N", "worker processes (default: one per processor)"},
    {"--shard", NULL, TB_ARG_TEXT, AT(shard), "I/N", "every N-th item from the I-th on"},
    {"--retry", NULL, TB_ARG_FLAG, AT(retry), NULL, "try items again that failed before"},
    {"--png", NULL, TB_ARG_FLAG, AT(png), NULL, "a panel NAME.png for each picture as well"},
    {"--html", NULL, TB_ARG_FLAG, AT(html), NULL, "a page NAME.html for each item as well"},
    TB_JOB_ROWS(AT, LISTED),
    {"--help", "-h", TB_ARG_FLAG, AT(help), NULL, "this text"},
    {0}};

typedef struct batch {
    options o;
    tb_arena *arena;
    tb_subject subject;
    tb_items items;
    tb_look look;
    int shard, shards, index;
    int *todo, n_todo; /* item indices */
    int skipped, done, failed, resources;
    int jobs;
    tb_progress progress;
} batch;

/* -------------------------------------------------------------------- one item */

static tiba_status add_output(tb_outputs *outputs, const batch *b, const tb_item *item,
                              const char *end, const void *data, size_t size, tiba_error *error) {
    const char *path = tb_arena_format(outputs->arena, "%s/%s.%s", b->o.folder, item->name, end);
    return path ? tb_outputs_add(outputs, path, data, size, error) : tb_out_of_memory(error);
}

static tiba_status write_results(const batch *b, tb_job *job, const tb_item *item,
                                 tiba_error *error) {
    tb_outputs outputs = {.arena = job->arena};
    tb_report *r = &job->report;
    char *text;
    uint8_t *png;
    size_t size;
    double start = tb_seconds();
    if (b->o.png && job->sample.picture_path) {
        TB_TRY(tb_render_png(&png, &size, r, &b->look, error));
        TB_TRY(add_output(&outputs, b, item, "png", png, size, error));
        tb_report_note(r, tb_png_note(r));
    }
    if (b->o.html) {
        TB_TRY(tb_render_html(&text, &size, r, &b->look, error));
        TB_TRY(add_output(&outputs, b, item, "html", text, size, error));
    }
    r->times.seconds[TB_TIME_RENDER] = tb_seconds() - start;
    TB_TRY(tb_render_json(&text, &size, r, error));
    TB_TRY(add_output(&outputs, b, item, "json", text, size, error));
    return tb_outputs_commit(&outputs, error);
}

/* Copies text, cut between characters if it is too long. */
static void copy_text(char *to, size_t capacity, const char *from) {
    size_t n = strlen(from), bad;
    if (n >= capacity) n = capacity - 1;
    if (!tb_utf8_valid(from, n, &bad)) n = bad;
    memcpy(to, from, n);
    to[n] = '\0';
}

static void do_item(batch *b, int index, tb_item_result *out) {
    const tb_item *item = &b->items.items[index];
    tiba_error error = {0};
    tb_job job = {.options = &b->o.job, .subject = &b->subject};
    *out = (tb_item_result){.item = index, .logit = NAN, .probability = NAN};
    tiba_status status = tb_job_start(&job, &error);
    if (status == TIBA_OK) status = tb_job_run(&job, item->n_inputs, item->inputs, &error);
    if (status == TIBA_OK) status = write_results(b, &job, item, &error);
    if (status == TIBA_OK && job.report.n_views) {
        out->logit = job.report.views[0].logit;
        out->probability = job.report.views[0].probability;
        copy_text(out->label, sizeof out->label, job.report.views[0].label);
    }
    out->status = (int)status;
    copy_text(out->message, sizeof out->message, error.message);
    tb_job_close(&job);
}

/* -------------------------------------------------------------------- all items */

static void work(void *context, int item, FILE *result) {
    tb_item_result r;
    do_item(context, item, &r);
    fwrite(&r, sizeof r, 1, result);
}

static tiba_status take(void *context, int item, const void *data, size_t size, const char *death,
                        tiba_error *error) {
    batch *b = context;
    tb_item_result r = {.item = item, .status = TIBA_ERROR_INPUT};
    if (death)
        copy_text(r.message, sizeof r.message, death);
    else
        memcpy(&r, data, size);
    TB_TRY(tb_index_add(b->index, &b->items.items[item], &r, error));
    if (r.status == TIBA_OK) {
        b->done++;
    } else {
        b->failed++;
        b->resources += r.status == TIBA_ERROR_RESOURCE;
        tb_progress_say(&b->progress, b->items.items[item].name, r.message);
    }
    tb_progress_step(&b->progress);
    return TIBA_OK;
}

/* -------------------------------------------------------------------- the command */

/* A folder's results belong to one model and one set of options. */
static tiba_status check_settings(batch *b, int argc, char **argv, tiba_error *error) {
    static const tb_free_option free_ones[] = {{"-O", true},       {"--out", true},
                                               {"--jobs", true},   {"--shard", true},
                                               {"--retry", false}, {0}};
    char *text;
    const char *path = tb_path_join(b->arena, b->o.folder, "batch.txt");
    if (!path) return tb_out_of_memory(error);
    TB_TRY(tb_settings_text(&text, b->arena, &b->subject, argc, argv, free_ones, error));
    if (!tb_is_file(path)) return tb_file_write(path, text, strlen(text), error);
    tb_file file;
    TB_TRY(tb_file_open(&file, path, error));
    bool same = file.size == strlen(text) && memcmp(file.data, text, file.size) == 0;
    tb_file_close(&file);
    return same ? TIBA_OK
                : tb_fail(error, TIBA_ERROR_USAGE,
                          "%s holds results of other options or another model (%s): give an empty "
                          "folder",
                          b->o.folder, path);
}

static tiba_status parse_shard(batch *b, tiba_error *error) {
    char rest;
    b->shard = b->shards = 1;
    if (!b->o.shard) return TIBA_OK;
    if (sscanf(b->o.shard, "%d/%d%c", &b->shard, &b->shards, &rest) == 2 && b->shard >= 1 &&
        b->shards >= b->shard)
        return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_USAGE, "--shard: '%s' is not I/N with 1 <= I <= N",
                   b->o.shard);
}

static tiba_status prepare(batch *b, const tb_texts *rest, int argc, char **argv,
                           tiba_error *error) {
    TB_TRY(tb_look_parse(&b->look, b->o.colors, b->o.opacity, error));
    TB_TRY(parse_shard(b, error));
    TB_TRY(tb_items_read(&b->items, b->arena, rest->items[1], error));
    b->o.job.blocks = b->o.html; /* the page's layers */
    b->jobs = tb_workers_jobs(b->o.jobs);
    /* threads would not survive the fork */
    tiba_options how = {.threads = b->jobs > 1 ? 1 : 0};
    TB_TRY(tb_subject_open(&b->subject, rest->items[0], &how, &b->o.how, error));
    if (mkdir(b->o.folder, 0777) != 0 && errno != EEXIST)
        return tb_fail(error, TIBA_ERROR_RESOURCE, "%s: cannot create: %s", b->o.folder,
                       strerror(errno));
    TB_TRY(check_settings(b, argc, argv, error));
    const char *path = b->shards > 1 ? tb_arena_format(b->arena, "%s/index-%d-of-%d.jsonl",
                                                       b->o.folder, b->shard, b->shards)
                                     : tb_arena_format(b->arena, "%s/index.jsonl", b->o.folder);
    if (!path) return tb_out_of_memory(error);
    TB_TRY(tb_index_open(&b->index, &b->items, path, b->o.folder, b->o.retry, error));
    b->todo = TB_NEW(b->arena, int, b->items.count);
    if (!b->todo) return tb_out_of_memory(error);
    for (int i = b->shard - 1; i < b->items.count; i += b->shards) {
        tb_item_state state = b->items.items[i].state;
        if (state == TB_ITEM_OPEN) b->todo[b->n_todo++] = i;
        b->skipped += state == TB_ITEM_DONE;
        if (state == TB_ITEM_FAILED) b->failed++;
    }
    return TIBA_OK;
}

static tiba_status run(batch *b, tiba_error *error) {
    int failed_before = b->failed;
    b->failed = 0;
    tb_progress_start(&b->progress, b->n_todo);
    tb_workers workers = {.jobs = b->jobs,
                          .count = b->n_todo,
                          .items = b->todo,
                          .context = b,
                          .work = work,
                          .take = take};
    TB_TRY(tb_workers_run(&workers, error));
    tb_progress_end(&b->progress);
    printf("%d explained, %d failed, %d were done before%s\n", b->done, b->failed + failed_before,
           b->skipped, failed_before ? "; --retry tries failed ones again" : "");
    if (b->failed + failed_before == 0) return TIBA_OK;
    tiba_status status = b->resources ? TIBA_ERROR_RESOURCE : TIBA_ERROR_INPUT;
    return tb_fail(error, status, "%d of the items failed", b->failed + failed_before);
}

static void print_help(void) {
    printf("tiba-onnx batch MODEL LIST|FOLDER -O OUTDIR [options]\n\n"
           "Explains the pictures and .txt files of FOLDER, or each line of the file LIST\n"
           "(a picture or a text; tabs between several inputs). Stopped and started again\n"
           "it goes on where it was.\n\n");
    tb_arguments_help(table);
}

int tb_cmd_batch(int argc, char **argv) {
    tiba_error error = {0};
    batch b = {.arena = tb_arena_create(NULL), .index = -1, .o.opacity = TB_DEFAULT_OPACITY};
    if (!b.arena) {
        fprintf(stderr, "tiba-onnx: out of memory\n");
        return TIBA_ERROR_RESOURCE;
    }
    tb_texts rest = {0};
    tiba_status status = tb_arguments_parse(&b.o, table, b.arena, argc, argv, &rest, &error);
    if (status == TIBA_OK && b.o.help) {
        print_help();
    } else if (status == TIBA_OK && (rest.count != 2 || !b.o.folder)) {
        status = tb_fail(&error, TIBA_ERROR_USAGE, "batch wants MODEL, LIST or FOLDER, -O OUTDIR%s",
                         rest.count > 2 ? "; inputs go into the list" : "");
    } else if (status == TIBA_OK) {
        status = prepare(&b, &rest, argc, argv, &error);
        if (status == TIBA_OK) status = run(&b, &error);
    }
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    if (b.index >= 0) close(b.index);
    tb_subject_close(&b.subject);
    tb_arena_destroy(b.arena);
    return (int)status;
}
