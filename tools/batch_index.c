#include "tools/batch_index.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "io/json.h"
#include "io/json_write.h"

enum { LONGEST_ITEM = 1024 };

static tb_item *find(tb_items *items, const char *name) {
    for (int i = 0; i < items->count; i++)
        if (strcmp(items->items[i].name, name) == 0) return &items->items[i];
    return NULL;
}

/* Marks the line's item; a line that is not sound counts for nothing. */
static tiba_status take_line(tb_items *items, tb_arena *arena, const char *text, size_t size,
                             const char *folder, bool retry, tiba_error *error) {
    tb_json root;
    const char *name, *status;
    TB_TRY(tb_json_parse(&root, arena, "index", text, size, NULL, error));
    TB_TRY(tb_json_string(&name, &root, "name", error));
    TB_TRY(tb_json_string(&status, &root, "status", error));
    tb_item *item = find(items, name);
    if (!item) return TIBA_OK;
    if (strcmp(status, "done") != 0) {
        item->state = retry ? TB_ITEM_OPEN : TB_ITEM_FAILED;
        return TIBA_OK;
    }
    const char *file = tb_arena_format(arena, "%s/%s.json", folder, name);
    if (!file) return tb_out_of_memory(error);
    item->state = tb_is_file(file) ? TB_ITEM_DONE : TB_ITEM_OPEN;
    return TIBA_OK;
}

static tiba_status take_lines(size_t *sound, tb_items *items, const char *path, const char *folder,
                              bool retry, tiba_error *error) {
    tb_file file;
    *sound = 0;
    if (!tb_is_file(path)) return TIBA_OK;
    TB_TRY(tb_file_open(&file, path, error));
    tiba_status status = TIBA_OK;
    while (status == TIBA_OK && *sound < file.size) {
        const unsigned char *at = file.data + *sound;
        const unsigned char *end = memchr(at, '\n', file.size - *sound);
        if (!end) break;
        tb_arena *line = tb_arena_create(NULL);
        tiba_error ignored = {0};
        tiba_status read = line ? take_line(items, line, (const char *)at, (size_t)(end - at),
                                            folder, retry, &ignored)
                                : TIBA_ERROR_RESOURCE;
        tb_arena_destroy(line);
        if (read == TIBA_ERROR_RESOURCE) status = tb_out_of_memory(error);
        *sound += (size_t)(end - at) + 1;
    }
    tb_file_close(&file);
    return status;
}

tiba_status tb_index_open(int *fd, tb_items *items, const char *path, const char *folder,
                          bool retry, tiba_error *error) {
    size_t sound;
    *fd = -1;
    TB_TRY(take_lines(&sound, items, path, folder, retry, error));
    *fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*fd < 0 || ftruncate(*fd, (off_t)sound) != 0)
        return tb_fail(error, TIBA_ERROR_RESOURCE, "%s: cannot write: %s", path, strerror(errno));
    return TIBA_OK;
}

tiba_status tb_index_add(int fd, const tb_item *item, const tb_item_result *r, tiba_error *error) {
    tb_json_writer w = {0};
    bool shown =
        strlen(item->text) <= LONGEST_ITEM && tb_utf8_valid(item->text, strlen(item->text), NULL);
    tb_json_open(&w, NULL, '{');
    tb_json_write_text(&w, "name", item->name, strlen(item->name));
    if (shown)
        tb_json_write_text(&w, "item", item->text, strlen(item->text));
    else
        tb_json_write_null(&w, "item");
    const char *status = r->status == TIBA_OK ? "done" : "failed";
    tb_json_write_text(&w, "status", status, strlen(status));
    if (r->status == TIBA_OK) {
        tb_json_write_text(&w, "label", r->label, strlen(r->label));
        tb_json_write_number(&w, "logit", r->logit);
        tb_json_write_number(&w, "probability", r->probability);
    } else {
        tb_json_write_integer(&w, "code", r->status);
        tb_json_write_text(&w, "error", r->message, strlen(r->message));
    }
    tb_json_close(&w, '}');
    tb_json_write_raw(&w, "\n", 1);
    ssize_t written = w.failed ? -1 : write(fd, w.data, w.size);
    bool good = written == (ssize_t)w.size;
    tb_json_writer_free(&w);
    return good ? TIBA_OK
                : tb_fail(error, TIBA_ERROR_RESOURCE, "the index cannot be written: %s",
                          strerror(errno));
}
