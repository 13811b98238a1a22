/*
 * eval_run.c: goes through the units of an evaluation with several processes, and keeps what is
 * done in a file so that a run that was stopped can go on. A unit comes back as bytes: whether it
 * failed, which methods have no numbers, and its items; the same bytes are the file's records.
 *
 * The first unit decides which methods are left out, before the others start, so that the results
 * do not depend on who measures what.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "io/sha256.h"
#include "tools/eval.h"
#include "tools/progress.h"
#include "tools/workers.h"

/* A unit's bytes; NULL: not yet measured. */
typedef struct blob {
    const char *data;
    size_t size;
} blob;

typedef struct course {
    tb_eval *eval;
    const tb_eval_course *how;
    blob *units;
    int fd; /* of the file that keeps what is done; -1: none */
    tb_progress progress;
} course;

/* In front of a record of the file. */
typedef struct record {
    int64_t unit, size;
    char check[65]; /* SHA-256 of the bytes */
} record;

/* -------------------------------------------------------------------- writing a unit */

static void put_string(FILE *to, const char *text) {
    int64_t size = text ? (int64_t)strlen(text) : -1;
    fwrite(&size, sizeof size, 1, to);
    if (text) fwrite(text, 1, (size_t)size, to);
}

static void put_number(FILE *to, int64_t number) {
    fwrite(&number, sizeof number, 1, to);
}

static void work(void *context, int unit, FILE *result) {
    tb_eval *eval = ((course *)context)->eval;
    tiba_error error = {0};
    eval->n_items = 0;
    eval->first_unit = unit == 0;
    tiba_status status = eval->kind->measure(eval, unit, &error);
    put_number(result, (int64_t)status);
    put_string(result, status == TIBA_OK ? NULL : error.message);
    for (int m = 0; m < eval->n_methods; m++) put_string(result, eval->refused[m]);
    put_number(result, eval->n_items);
    size_t cells = (size_t)eval->n_methods * (size_t)eval->n_metrics;
    for (int i = 0; i < eval->n_items; i++) {
        put_string(result, eval->items[i].name);
        put_number(result, eval->items[i].correct);
        fwrite(eval->items[i].cells, sizeof *eval->items[i].cells, cells, result);
    }
}

/* -------------------------------------------------------------------- reading one */

typedef struct reader {
    const char *at;
    size_t left;
    bool failed;
} reader;

static void take_bytes(reader *r, void *to, size_t size) {
    if (size > r->left) {
        r->failed = true;
        memset(to, 0, size);
        return;
    }
    memcpy(to, r->at, size);
    r->at += size;
    r->left -= size;
}

static int64_t take_number(reader *r) {
    int64_t number;
    take_bytes(r, &number, sizeof number);
    return number;
}

static const char *take_string(reader *r, tb_arena *arena) {
    int64_t size = take_number(r);
    if (r->failed || size < 0) return NULL;
    if ((size_t)size > r->left) {
        r->failed = true;
        return NULL;
    }
    const char *text = tb_arena_strndup(arena, r->at, (size_t)size);
    if (!text) r->failed = true;
    r->at += size;
    r->left -= (size_t)size;
    return text;
}

/* The unit's items, behind those that are there. */
static tiba_status take_items(tb_eval *eval, const blob *unit, tiba_error *error) {
    reader r = {unit->data, unit->size, false};
    take_number(&r);
    take_string(&r, eval->arena);
    for (int m = 0; m < eval->n_methods; m++) {
        const char *why = take_string(&r, eval->arena);
        if (why && !eval->refused[m]) eval->refused[m] = why;
    }
    int64_t n = take_number(&r);
    for (int64_t i = 0; i < n && !r.failed; i++) {
        tb_eval_item *item;
        const char *name = take_string(&r, eval->arena);
        bool correct = take_number(&r) != 0;
        size_t cells = (size_t)eval->n_methods * (size_t)eval->n_metrics;
        TB_TRY(tb_eval_add(&item, eval, name ? name : "", correct, error));
        take_bytes(&r, item->cells, cells * sizeof *item->cells);
    }
    return r.failed ? tb_fail(error, TIBA_ERROR_RESOURCE, "a unit's result is cut short") : TIBA_OK;
}

/* -------------------------------------------------------------------- the file */

static bool write_all(int fd, const void *data, size_t size) {
    return write(fd, data, size) == (ssize_t)size;
}

static tiba_status keep(course *c, int unit, const blob *bytes, tiba_error *error) {
    if (c->fd < 0) return TIBA_OK;
    record head = {.unit = unit, .size = (int64_t)bytes->size};
    tb_sha256_hex(head.check, bytes->data, bytes->size);
    if (write_all(c->fd, &head, sizeof head) && write_all(c->fd, bytes->data, bytes->size))
        return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_RESOURCE, "%s: cannot write: %s", c->how->resume,
                   strerror(errno));
}

/* What the file must start with: the settings and the list of units that it belongs to. */
static tiba_status file_head(char **out, const course *c, tiba_error *error) {
    char digest[65];
    tb_file list;
    TB_TRY(tb_file_open(&list, c->eval->list, error));
    tb_sha256_hex(digest, list.data, list.size);
    tb_file_close(&list);
    *out = tb_arena_format(c->eval->arena, "%sdata %s\n", c->how->settings, digest);
    return *out ? TIBA_OK : tb_out_of_memory(error);
}

/* Takes the whole records behind the head; *sound: where they end. */
static tiba_status take_records(course *c, const tb_file *file, size_t *sound, tiba_error *error) {
    while (file->size - *sound >= sizeof(record)) {
        record head;
        memcpy(&head, file->data + *sound, sizeof head);
        size_t left = file->size - *sound - sizeof head;
        bool fits = head.unit >= 0 && head.unit < c->eval->n_units && head.size >= 0 &&
                    (uint64_t)head.size <= left;
        if (!fits) break;
        char digest[65];
        const char *at = (const char *)file->data + *sound + sizeof head;
        tb_sha256_hex(digest, at, (size_t)head.size);
        if (memcmp(digest, head.check, sizeof digest) != 0) break;
        blob *to = &c->units[head.unit];
        to->size = (size_t)head.size;
        to->data = tb_arena_strndup(c->eval->arena, at, to->size);
        if (!to->data) return tb_out_of_memory(error);
        *sound += sizeof head + (size_t)head.size;
    }
    return TIBA_OK;
}

static tiba_status open_file(course *c, tiba_error *error) {
    char *head;
    const char *path = c->how->resume;
    if (!path) return TIBA_OK;
    TB_TRY(file_head(&head, c, error));
    size_t sound = strlen(head);
    bool there = tb_is_file(path);
    if (there) {
        tb_file file;
        TB_TRY(tb_file_open(&file, path, error));
        bool same = file.size >= sound && memcmp(file.data, head, sound) == 0;
        bool started = file.size > 0;
        tiba_status status = same ? take_records(c, &file, &sound, error) : TIBA_OK;
        tb_file_close(&file);
        TB_TRY(status);
        if (!same && started)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "%s holds results of other options, data or another model: remove it or "
                           "name another file",
                           path);
        there = same;
    }
    c->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool good = c->fd >= 0;
    if (good && there) good = ftruncate(c->fd, (off_t)sound) == 0;
    if (good && !there) good = write_all(c->fd, head, sound);
    return good
               ? TIBA_OK
               : tb_fail(error, TIBA_ERROR_RESOURCE, "%s: cannot write: %s", path, strerror(errno));
}

/* -------------------------------------------------------------------- the course */

static tiba_status take(void *context, int unit, const void *data, size_t size, const char *death,
                        tiba_error *error) {
    course *c = context;
    if (death) return tb_fail(error, TIBA_ERROR_RESOURCE, "unit %d: %s", unit + 1, death);
    reader r = {data, size, false};
    int64_t status = take_number(&r);
    const char *message = take_string(&r, c->eval->arena);
    if (status != TIBA_OK)
        return tb_fail(error, (tiba_status)status, "%s", message ? message : "out of memory");
    blob *to = &c->units[unit];
    *to = (blob){tb_arena_strndup(c->eval->arena, data, size), size};
    if (!to->data) return tb_out_of_memory(error);
    TB_TRY(keep(c, unit, to, error));
    tb_progress_step(&c->progress);
    return TIBA_OK;
}

static tiba_status run_units(course *c, tiba_error *error) {
    tb_eval *eval = c->eval;
    int *todo = TB_NEW(eval->arena, int, eval->n_units), n = 0;
    if (!todo) return tb_out_of_memory(error);
    for (int i = 0; i < eval->n_units; i++)
        if (!c->units[i].data) todo[n++] = i;
    tb_workers workers = {
        .jobs = c->how->jobs, .items = todo, .context = c, .work = work, .take = take};
    tb_progress_start(&c->progress, n);
    if (n && todo[0] == 0) {
        workers.count = 1;
        TB_TRY(tb_workers_run(&workers, error));
        workers.items++;
        n--;
    }
    eval->n_items = 0;
    TB_TRY(take_items(eval, &c->units[0], error)); /* which methods are refused */
    workers.count = n;
    TB_TRY(tb_workers_run(&workers, error));
    if (c->progress.all) tb_progress_end(&c->progress);
    eval->n_items = 0;
    for (int i = 0; i < eval->n_units; i++) TB_TRY(take_items(eval, &c->units[i], error));
    if (eval->n_items) return TIBA_OK;
    return tb_fail(error, TIBA_ERROR_INPUT, "%s: nothing in it can be measured", eval->data);
}

tiba_status tb_eval_run(tb_eval *eval, const tb_eval_course *how, tiba_error *error) {
    course c = {.eval = eval, .how = how, .fd = -1};
    TB_TRY(eval->kind->open(eval, error));
    c.units = TB_NEW(eval->arena, blob, eval->n_units + 1);
    if (!c.units) return tb_out_of_memory(error);
    tiba_status status = open_file(&c, error);
    if (status == TIBA_OK) status = run_units(&c, error);
    if (c.fd >= 0) close(c.fd);
    return status;
}
