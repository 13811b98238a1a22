#include "tools/missing.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/nearest.h"

enum { MOST_FILES = 1024, LETTERS_FOR_AN_EDIT = 4 };

int tb_is_missing(const char *path) {
    return access(path, F_OK) != 0;
}

static const char *near_file(tb_arena *arena, const char *folder, const char *name) {
    const char *names[MOST_FILES];
    int n = 0;
    DIR *list = opendir(folder);
    for (struct dirent *e; list && n < MOST_FILES && (e = readdir(list));)
        if (e->d_name[0] != '.' && (names[n] = tb_arena_strdup(arena, e->d_name))) n++;
    if (list) closedir(list);
    /* few edits: another file of the same kind is no misspelling */
    long k = tb_nearest_within(name, n, names, (int)strlen(name) / LETTERS_FOR_AN_EDIT);
    return k < 0 ? NULL : names[k];
}

tiba_status tb_missing(const char *path, tiba_error *error) {
    tb_arena *arena = tb_arena_create(NULL);
    if (!arena) return tb_out_of_memory(error);
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    const char *name = tb_arena_strndup(arena, path + start, end - start);
    const char *folder = start ? tb_arena_strndup(arena, path, start) : ".";
    const char *near = name && folder ? near_file(arena, folder, name) : NULL;
    tiba_status status =
        tb_fail(error, TIBA_ERROR_INPUT, "%.300s: no such file or folder%s%s%s", path,
                near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    tb_arena_destroy(arena);
    return status;
}
