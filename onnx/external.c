/*
 * external.c: tensors whose bytes lie in files beside the model.
 *
 * A location is a path relative to the model's folder. It must stay in it: absolute paths, ".." and
 * links that lead out are refused, so that a model cannot read other files of its reader. The
 * folder of the file that the model's own path links to counts too (download caches are built like
 * that: a folder of links into one folder of files). Every file is mapped once.
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/reader.h"

static tiba_status fail(tb_reader *r, const Onnx__TensorProto *proto, const char *location,
                        const char *why) {
    return tb_fail(r->error, TIBA_ERROR_INPUT, "tensor '%.100s': external data '%.200s': %s",
                   tb_text(proto->name), location, why);
}

static bool read_number(const char *text, size_t *out) {
    size_t value = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || !tb_size_mul(&value, value, 10) ||
            !tb_size_add(&value, value, (size_t)(*text - '0')))
            return false;
    }
    *out = value;
    return true;
}

static bool leads_up(const char *location) {
    for (const char *part = location; part;) {
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) return true;
        part = strchr(part, '/');
        if (part) part++;
    }
    return false;
}

/* The folders of the model's path, as it is and with its last link followed. */
static tiba_status find_folders(tb_reader *r) {
    char resolved[PATH_MAX];
    if (r->folders[0]) return TIBA_OK;
    const char *folder = tb_path_folder(r->scratch, r->path);
    if (!folder) return tb_out_of_memory(r->error);
    if (!realpath(folder, resolved))
        return tb_fail(r->error, TIBA_ERROR_INPUT, "%.300s: %s", folder, strerror(errno));
    const char *first = tb_arena_strdup(r->scratch, resolved);
    const char *second =
        tb_path_folder(r->scratch, realpath(r->path, resolved) ? resolved : r->path);
    if (!first || !second) return tb_out_of_memory(r->error);
    r->folders[0] = first;
    r->folders[1] = second;
    return TIBA_OK;
}

static bool lies_in(const char *path, const char *folder) {
    size_t n = strlen(folder);
    if (n > 0 && folder[n - 1] == '/') n--;
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static tiba_status open_location(tb_reader *r, const Onnx__TensorProto *proto, const char *location,
                                 const tb_file **out) {
    char resolved[PATH_MAX];
    if (!r->path) return fail(r, proto, location, "the model is not a file, it has no folder");
    if (!*location) return fail(r, proto, location, "no location is given");
    if (*location == '/') return fail(r, proto, location, "an absolute path is refused");
    if (leads_up(location)) return fail(r, proto, location, "a path with '..' is refused");
    for (tb_open_file *open = r->files; open; open = open->next)
        if (strcmp(open->location, location) == 0) {
            *out = &open->file;
            return TIBA_OK;
        }
    TB_TRY(find_folders(r));
    const char *joined = tb_path_join(r->scratch, r->folders[0], location);
    if (!joined) return tb_out_of_memory(r->error);
    if (!realpath(joined, resolved)) return fail(r, proto, location, strerror(errno));
    if (!lies_in(resolved, r->folders[0]) && !lies_in(resolved, r->folders[1]))
        return fail(r, proto, location, "a link that leaves the model's folder is refused");
    for (tb_open_file *open = r->files; open; open = open->next)
        if (strcmp(open->path, resolved) == 0) {
            *out = &open->file;
            return TIBA_OK;
        }
    tb_open_file *open = TB_NEW(r->arena, tb_open_file, 1);
    if (!open) return tb_out_of_memory(r->error);
    open->path = tb_arena_strdup(r->arena, resolved);
    open->location = tb_keep(r, location);
    if (!open->path || !open->location) return tb_out_of_memory(r->error);
    tiba_error why = {0};
    if (tb_file_open(&open->file, resolved, &why) != TIBA_OK)
        return fail(r, proto, location, why.message);
    open->next = r->files;
    r->files = open;
    *out = &open->file;
    return TIBA_OK;
}

tiba_status tb_external_bytes(tb_reader *r, const Onnx__TensorProto *proto, size_t wanted,
                              const unsigned char **data, size_t *size) {
    const char *location = "";
    size_t offset = 0, length = wanted, end;
    bool has_length = false;
    for (size_t i = 0; i < proto->n_external_data; i++) {
        const char *key = tb_text(proto->external_data[i]->key);
        const char *value = tb_text(proto->external_data[i]->value);
        if (strcmp(key, "location") == 0) location = value;
        if (strcmp(key, "offset") == 0 && !read_number(value, &offset))
            return fail(r, proto, location, "its offset is not a number");
        if (strcmp(key, "length") == 0) {
            if (!read_number(value, &length))
                return fail(r, proto, location, "its length is not a number");
            has_length = true;
        }
    }
    const tb_file *file = NULL;
    TB_TRY(open_location(r, proto, location, &file));
    if (!has_length) length = wanted;
    if (!tb_size_add(&end, offset, length) || end > file->size)
        return tb_fail(r->error, TIBA_ERROR_INPUT,
                       "tensor '%.100s': external data '%.200s': needs %zu bytes from %zu on, the "
                       "file has %zu",
                       tb_text(proto->name), location, length, offset, file->size);
    *data = file->data + offset;
    *size = length;
    return TIBA_OK;
}

void tb_close_files(tb_open_file *files) {
    /* The list itself is the arena's. */
    for (; files; files = files->next) tb_file_close(&files->file);
}
