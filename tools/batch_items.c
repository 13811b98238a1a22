#define _GNU_SOURCE
#include "tools/batch_items.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tools/missing.h"

static bool is_input(const char *name) {
    static const char *const ends[] = {".png", ".jpg", ".jpeg", ".txt",
                                       ".PNG", ".JPG", ".JPEG", ".bmp"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        if (n > m && strcmp(name + n - m, ends[i]) == 0) return true;
    }
    return false;
}

static tiba_status add(tb_items *out, int *capacity, tb_arena *arena, const char *text,
                       tiba_error *error) {
    if (out->count == *capacity) {
        int larger = 2 * *capacity + 64;
        tb_item *items = TB_NEW(arena, tb_item, larger);
        if (!items) return tb_out_of_memory(error);
        if (out->count) memcpy(items, out->items, (size_t)out->count * sizeof *items);
        out->items = items;
        *capacity = larger;
    }
    out->items[out->count++] = (tb_item){.text = text};
    return text ? TIBA_OK : tb_out_of_memory(error);
}

static int by_text(const void *a, const void *b) {
    return strcmp(((const tb_item *)a)->text, ((const tb_item *)b)->text);
}

static tiba_status read_folder(tb_items *out, tb_arena *arena, const char *path,
                               tiba_error *error) {
    DIR *folder = opendir(path);
    if (!folder) return tb_fail(error, TIBA_ERROR_INPUT, "%s: cannot be read", path);
    tiba_status status = TIBA_OK;
    int capacity = 0;
    for (struct dirent *e; status == TIBA_OK && (e = readdir(folder));)
        if (is_input(e->d_name))
            status = add(out, &capacity, arena, tb_path_join(arena, path, e->d_name), error);
    closedir(folder);
    if (status == TIBA_OK && out->count)
        qsort(out->items, (size_t)out->count, sizeof *out->items, by_text);
    return status;
}

static tiba_status read_list(tb_items *out, tb_arena *arena, const char *path, tiba_error *error) {
    tb_file file;
    tiba_status status = tb_file_open(&file, path, error);
    if (status != TIBA_OK) return status;
    int capacity = 0;
    const char *at = (const char *)file.data, *end = at + file.size;
    if (file.size && memchr(at, 0, file.size))
        status = tb_fail(error, TIBA_ERROR_INPUT, "%s: no list: it holds NUL bytes", path);
    while (status == TIBA_OK && at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((line ? line : end) - at);
        size_t used = size && at[size - 1] == '\r' ? size - 1 : size;
        if (used) status = add(out, &capacity, arena, tb_arena_strndup(arena, at, used), error);
        at += size + 1;
    }
    tb_file_close(&file);
    return status;
}

/* The line's inputs; files are found beside the list as well. */
static tiba_status split(tb_item *item, tb_arena *arena, const char *folder, tiba_error *error) {
    int n = 1;
    for (const char *c = item->text; *c; c++) n += *c == '\t';
    item->inputs = TB_NEW(arena, const char *, n);
    if (!item->inputs) return tb_out_of_memory(error);
    const char *at = item->text;
    for (int i = 0; i < n; i++) {
        size_t size = strcspn(at, "\t");
        const char *input = tb_arena_strndup(arena, at, size);
        const char *beside = input ? tb_path_join(arena, folder, input) : NULL;
        if (!beside) return tb_out_of_memory(error);
        if (is_input(input) && !tb_is_file(input) && tb_is_file(beside)) input = beside;
        item->inputs[item->n_inputs++] = input;
        at += size + (at[size] != '\0');
    }
    return TIBA_OK;
}

/* The file's name without its ending; item-000012 for texts. */
static const char *stem(tb_arena *arena, const tb_item *item, int index) {
    const char *path = item->inputs[0], *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    if (!is_input(path) || !dot || dot == name || strlen(name) > 200)
        return tb_arena_format(arena, "item-%06d", index + 1);
    return tb_arena_strndup(arena, name, (size_t)(dot - name));
}

static int by_name(const void *a, const void *b) {
    const tb_item *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);
    return order ? order : *x < *y ? -1 : 1;
}

/* Equal names get their place in the list behind them. */
static tiba_status make_unique(tb_items *out, tb_arena *arena, tiba_error *error) {
    tb_item **sorted = TB_NEW(arena, tb_item *, out->count);
    unsigned char *twin = TB_NEW(arena, unsigned char, out->count);
    if (!sorted || !twin) return tb_out_of_memory(error);
    for (int i = 0; i < out->count; i++) sorted[i] = &out->items[i];
    qsort(sorted, (size_t)out->count, sizeof(tb_item *), by_name);
    for (int i = 1; i < out->count; i++)
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0) twin[i] = twin[i - 1] = 1;
    for (int i = 0; i < out->count; i++) {
        if (!twin[i]) continue;
        long place = (long)(sorted[i] - out->items) + 1;
        sorted[i]->name = tb_arena_format(arena, "%s~%ld", sorted[i]->name, place);
        if (!sorted[i]->name) return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

tiba_status tb_items_read(tb_items *out, tb_arena *arena, const char *path, tiba_error *error) {
    *out = (tb_items){0};
    bool folder = tb_is_folder(path);
    if (tb_is_missing(path)) return tb_missing(path, error);
    TB_TRY(folder ? read_folder(out, arena, path, error) : read_list(out, arena, path, error));
    const char *beside = folder ? path : tb_path_folder(arena, path);
    if (!beside) return tb_out_of_memory(error);
    if (out->count == 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: %s", path,
                       folder ? "the folder has no pictures and no .txt files"
                              : "the list is empty");
    for (int i = 0; i < out->count; i++) {
        tb_item *item = &out->items[i];
        if (folder) {
            item->inputs = TB_NEW(arena, const char *, 1);
            if (!item->inputs) return tb_out_of_memory(error);
            item->inputs[item->n_inputs++] = item->text;
        } else {
            TB_TRY(split(item, arena, beside, error));
        }
        item->name = stem(arena, item, i);
        if (!item->name) return tb_out_of_memory(error);
    }
    return make_unique(out, arena, error);
}
