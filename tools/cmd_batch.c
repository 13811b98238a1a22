/*
 * cmd_batch.c: tiba-onnx batch MODEL LIST|FOLDER -O OUTDIR: explains many inputs, each exactly as a
 * run of its own would. The model is opened once and shared by worker processes, which take items
 * from one pipe and answer through another; only this process writes the index.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "io/json.h"
#include "tools/batch_index.h"
#include "tools/commands.h"
#include "tools/explain_job.h"
#include "tools/render.h"

enum { MOST_WORKERS = 256 };

typedef struct options {
    tb_job_options job;
    tb_subject_options how;
    const char *folder, *shard, *colors;
    double opacity;
    int jobs;
    bool png, html, retry, help;
} options;

#define AT(member) offsetof(options, member)
static const tb_option table[] = {
    {"--out", "-O", TB_ARG_TEXT, AT(folder), "OUTDIR",
     "where the results go: NAME.json, the index"},
    {"--jobs", NULL, TB_ARG_INT, AT(jobs), "N", "worker processes (default: one per processor)"},
    {"--shard", NULL, TB_ARG_TEXT, AT(shard), "I/N", "every N-th item from the I-th on"},
    {"--retry", NULL, TB_ARG_FLAG, AT(retry), NULL, "try items again that failed before"},
    {"--png", NULL, TB_ARG_FLAG, AT(png), NULL, "a panel NAME.png for each picture as well"},
    {"--html", NULL, TB_ARG_FLAG, AT(html), NULL, "a page NAME.html for each item as well"},
    {"--class", "-c", TB_ARG_TEXTS, AT(job.classes), "CLASS", "label, index or top; repeatable"},
    {"--top", NULL, TB_ARG_INT, AT(job.top), "K", "explain the K most likely classes"},
    {"--target", NULL, TB_ARG_TEXT, AT(job.target), "I[,J...]", ""},
    {"--output", NULL, TB_ARG_TEXT, AT(job.output), "NAME", ""},
    {"--text", NULL, TB_ARG_TEXTS, AT(job.texts), "TEXT", "a text to score every picture with"},
    {"--choose", NULL, TB_ARG_INT, AT(job.choose), "N", ""},
    {"--contrast", NULL, TB_ARG_TEXT, AT(job.contrast), "TEXT", "explain the lead over this text"},
    {"--table", NULL, TB_ARG_FLAG, AT(job.table), NULL, ""},
    {"--scale", NULL, TB_ARG_FLOAT, AT(job.scale), "X", ""},
    {"--signed", NULL, TB_ARG_FLAG, AT(job.keep_sign), NULL, "show what speaks against it as well"},
    {"--method", "-m", TB_ARG_TEXT, AT(job.method), "NAME", "how to explain (default: tiba)"},
    {"--rollout", NULL, TB_ARG_TEXT, AT(job.rollout), "FORM", ""},
    {"--start-layer", NULL, TB_ARG_INT, AT(job.start_layer), "N", ""},
    {"--tokenizer", NULL, TB_ARG_TEXT, AT(how.tokenizer), "FILE", ""},
    {"--truncate", NULL, TB_ARG_FLAG, AT(how.truncate), NULL, ""},
    {"--size", NULL, TB_ARG_TEXT, AT(how.size), "N|HxW", ""},
    {"--crop", NULL, TB_ARG_TEXT, AT(how.crop), "N|HxW|none", ""},
    {"--mean", NULL, TB_ARG_TEXT, AT(how.mean), "M[,M,M]", ""},
    {"--std", NULL, TB_ARG_TEXT, AT(how.std), "S[,S,S]", ""},
    {"--resample", NULL, TB_ARG_TEXT, AT(how.resample), "FILTER", ""},
    {"--layout", NULL, TB_ARG_TEXT, AT(how.layout), "LAYOUT", ""},
    {"--colormap", NULL, TB_ARG_TEXT, AT(colors), "MAP", ""},
    {"--opacity", NULL, TB_ARG_FLOAT, AT(opacity), "X", ""},
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
    int work[2], results[2];
    int next; /* in todo */
    pid_t workers[MOST_WORKERS];
    int busy[MOST_WORKERS]; /* item, -1: none */
    int n_workers;
    bool terminal;
    double started, shown;
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
    }
    if (b->o.html) {
        TB_TRY(tb_render_html(&text, &size, r, &b->look, error));
        TB_TRY(add_output(&outputs, b, item, "html", text, size, error));
    }
    r->render_seconds = tb_seconds() - start;
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

/* -------------------------------------------------------------------- progress */

static void show_progress(batch *b, bool last) {
    int through = b->done + b->failed, all = b->n_todo;
    double now = tb_seconds(), seconds = now - b->started;
    if (!last && now - b->shown < (b->terminal ? 0.1 : 5.0)) return;
    b->shown = now;
    double rate = seconds > 0.0 ? through / seconds : 0.0;
    long left = rate > 0.0 ? (long)((all - through) / rate + 0.5) : 0;
    if (!b->terminal) {
        fprintf(stderr, "%d of %d, %.1f per second, %ld:%02ld left\n", through, all, rate,
                left / 60, left % 60);
        return;
    }
    char bar[25];
    for (int i = 0; i < 24; i++) bar[i] = i < 24 * through / (all ? all : 1) ? '#' : '.';
    bar[24] = '\0';
    fprintf(stderr, "\r%s %d of %d, %.1f per second, %ld:%02ld left   %s", bar, through, all, rate,
            left / 60, left % 60, last ? "\n" : "");
    fflush(stderr);
}

static tiba_status take_result(batch *b, const tb_item_result *r, tiba_error *error) {
    const tb_item *item = &b->items.items[r->item];
    TB_TRY(tb_index_add(b->index, item, r, error));
    if (r->status == TIBA_OK) {
        b->done++;
    } else {
        b->failed++;
        b->resources += r->status == TIBA_ERROR_RESOURCE;
        fprintf(stderr, "%s%s: %s\n", b->terminal ? "\r\033[K" : "", item->name, r->message);
    }
    show_progress(b, false);
    return TIBA_OK;
}

/* -------------------------------------------------------------------- workers */

static void work(batch *b, int worker) {
    int item;
    close(b->work[1]);
    close(b->results[0]);
    while (read(b->work[0], &item, sizeof item) == (ssize_t)sizeof item) {
        tb_item_result result = {.item = item, .status = -1, .worker = worker};
        if (write(b->results[1], &result, sizeof result) < 0) break;
        do_item(b, item, &result);
        result.worker = worker;
        if (write(b->results[1], &result, sizeof result) < 0) break;
    }
    _exit(0);
}

static tiba_status start_worker(batch *b, int worker, tiba_error *error) {
    b->busy[worker] = -1;
    fflush(NULL);
    b->workers[worker] = fork();
    if (b->workers[worker] == 0) work(b, worker);
    if (b->workers[worker] > 0) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_RESOURCE, "cannot start a worker: %s", strerror(errno));
}

static void hand_out(batch *b) {
    if (b->next < b->n_todo) {
        int item = b->todo[b->next++];
        ssize_t n = write(b->work[1], &item, sizeof item);
        (void)n; /* a few bytes into a pipe that is never full */
    }
}

/* A worker that died takes its item with it, not the batch. */
static tiba_status replace_dead(batch *b, tiba_error *error) {
    int how;
    for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;) {
        for (int k = 0; k < b->n_workers; k++) {
            if (b->workers[k] != pid) continue;
            int item = b->busy[k];
            TB_TRY(start_worker(b, k, error));
            if (item < 0) continue;
            tb_item_result r = {.item = item, .status = TIBA_ERROR_INPUT, .worker = k};
            snprintf(r.message, sizeof r.message, "the worker process died of signal %d",
                     WIFSIGNALED(how) ? WTERMSIG(how) : 0);
            TB_TRY(take_result(b, &r, error));
            hand_out(b);
        }
    }
    return TIBA_OK;
}

static tiba_status run_workers(batch *b, tiba_error *error) {
    if (pipe(b->work) != 0 || pipe(b->results) != 0)
        return tb_fail(error, TIBA_ERROR_RESOURCE, "no pipe: %s", strerror(errno));
    for (int k = 0; k < b->n_workers; k++) TB_TRY(start_worker(b, k, error));
    for (int k = 0; k < 2 * b->n_workers; k++) hand_out(b);
    while (b->done + b->failed < b->n_todo) {
        struct pollfd wait = {.fd = b->results[0], .events = POLLIN};
        tb_item_result r;
        if (poll(&wait, 1, 200) <= 0) {
            TB_TRY(replace_dead(b, error));
            continue;
        }
        if (read(b->results[0], &r, sizeof r) != (ssize_t)sizeof r) continue;
        b->busy[r.worker] = r.status < 0 ? r.item : -1;
        if (r.status < 0) continue;
        hand_out(b);
        TB_TRY(take_result(b, &r, error));
    }
    return TIBA_OK;
}

static void stop_workers(batch *b) {
    if (b->work[1] > 0) close(b->work[1]);
    for (int k = 0; k < b->n_workers; k++)
        if (b->workers[k] > 0) waitpid(b->workers[k], NULL, 0);
}

/* -------------------------------------------------------------------- the command */

/* A folder's results belong to one model and one set of options. */
static tiba_status check_settings(batch *b, int argc, char **argv, tiba_error *error) {
    static const char *const free_ones[] = {"-O", "--out", "--jobs", "--shard", "--retry"};
    const char *digest = NULL, *path = tb_path_join(b->arena, b->o.folder, "batch.txt");
    TB_TRY(tb_model_digest(&digest, b->arena, b->subject.path, error));
    char *text = tb_arena_format(b->arena, "tiba-onnx %s\nmodel %s\n", tiba_version(), digest);
    for (int i = 1; text && i < argc; i++) {
        bool skip = false;
        for (size_t k = 0; k < sizeof free_ones / sizeof *free_ones; k++) {
            size_t n = strlen(free_ones[k]);
            if (strcmp(argv[i], free_ones[k]) == 0) skip = true, i += k < 4;
            if (!skip && strncmp(argv[i], free_ones[k], n) == 0 && argv[i][n] == '=') skip = true;
            if (skip) break;
        }
        if (!skip) text = tb_arena_format(b->arena, "%s%s\n", text, argv[i]);
    }
    if (!text || !path) return tb_out_of_memory(error);
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
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    b->n_workers = b->o.jobs > 0 ? b->o.jobs : cores;
    if (b->n_workers > MOST_WORKERS) b->n_workers = MOST_WORKERS;
    /* threads would not survive the fork */
    tiba_options how = {.threads = b->n_workers > 1 ? 1 : 0};
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
    b->terminal = isatty(STDERR_FILENO);
    b->started = b->shown = tb_seconds();
    bool alone = b->n_workers == 1;
    if (b->n_workers > b->n_todo) b->n_workers = b->n_todo;
    if (alone) {
        for (int i = 0; i < b->n_todo; i++) {
            tb_item_result r;
            do_item(b, b->todo[i], &r);
            TB_TRY(take_result(b, &r, error));
        }
    } else if (b->n_todo) {
        TB_TRY(run_workers(b, error));
    }
    show_progress(b, true);
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
    batch b = {.arena = tb_arena_create(NULL), .index = -1};
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
        stop_workers(&b);
    }
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    if (b.index >= 0) close(b.index);
    tb_subject_close(&b.subject);
    tb_arena_destroy(b.arena);
    return (int)status;
}
