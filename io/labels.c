#include "io/labels.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "io/json.h"
#include "io/nearest.h"

enum { MOST_CLASSES = 1 << 20 };

static tiba_status read_map(tb_labels *out, tb_arena *arena, const tb_json *map,
                            tiba_error *error) {
    int64_t most = -1;
    for (tb_json item = {0}; tb_json_next(&item, map);) {
        char *end;
        long index = strtol(item.key, &end, 10);
        if (end == item.key || *end || index < 0 || index >= MOST_CLASSES)
            return tb_json_fail(error, &item, "'%s' is no class index", item.key);
        if (index > most) most = index;
    }
    out->names = TB_NEW(arena, const char *, most + 1);
    if (!out->names) return tb_out_of_memory(error);
    out->count = most + 1;
    for (tb_json item = {0}; tb_json_next(&item, map);)
        TB_TRY(tb_json_as_string(&out->names[strtol(item.key, NULL, 10)], &item, error));
    return TIBA_OK;
}

static tiba_status read_problem(tb_labels *out, const tb_json *root, tiba_error *error) {
    static const char *const names[] = {[TB_PROBLEM_UNKNOWN] = "",
                                        [TB_PROBLEM_SINGLE_LABEL] = "single_label_classification",
                                        [TB_PROBLEM_MULTI_LABEL] = "multi_label_classification",
                                        [TB_PROBLEM_REGRESSION] = "regression"};
    const char *name;
    TB_TRY(tb_json_string_or(&name, root, "problem_type", "", error));
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0) out->problem = (tb_problem)i;
    tb_json list = tb_json_get(root, "architectures"), first = {0};
    if (tb_json_kind_of(&list) != TB_JSON_ARRAY || !tb_json_next(&first, &list)) return TIBA_OK;
    return tb_json_as_string(&out->architecture, &first, error);
}

tiba_status tb_labels_read(tb_labels *out, tb_arena *arena, const char *folder, tiba_error *error) {
    *out = (tb_labels){.architecture = ""};
    const char *path = tb_path_join(arena, folder, "config.json");
    if (!path) return tb_out_of_memory(error);
    if (!tb_is_file(path)) return TIBA_OK;
    tb_json root;
    TB_TRY(tb_json_read(&root, arena, path, NULL, error));
    TB_TRY(read_problem(out, &root, error));
    tb_json map = tb_json_get(&root, "id2label");
    if (tb_json_absent(&map)) return TIBA_OK;
    TB_TRY(tb_json_need_object(&map, error));
    return read_map(out, arena, &map, error);
}

const char *tb_label(const tb_labels *labels, int64_t index, char *text, size_t capacity) {
    if (index >= 0 && index < labels->count && labels->names[index]) return labels->names[index];
    snprintf(text, capacity, "class %lld", (long long)index);
    return text;
}

static bool contains(const char *label, const char *part) {
    size_t n = strlen(part);
    for (; *label; label++)
        if (strncasecmp(label, part, n) == 0) return true;
    return false;
}

enum { LISTED = 8 };

/* What to say of a text that names no single class. */
static tiba_status no_label(const tb_labels *labels, int64_t classes, const char *text, int found,
                            tiba_error *error) {
    const char *some[LISTED];
    char list[240];
    int64_t n = 0, fitting = 0;
    long near = tb_nearest_index(text, (long)classes, labels->names);
    if (!found && near >= 0)
        return tb_fail(error, TIBA_ERROR_USAGE, "no class '%s'; the nearest label is '%s'", text,
                       labels->names[near]);
    for (int64_t i = 0; i < classes; i++) {
        bool fits = labels->names[i] && (!found || contains(labels->names[i], text));
        fitting += fits;
        if (fits && n < LISTED) some[n++] = labels->names[i];
    }
    if (n == 0)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "no class '%s': the model has no labels, give an index", text);
    tb_list_names(list, sizeof list, (long)n, some);
    const char *more = fitting > n ? " …" : "";
    if (found)
        return tb_fail(error, TIBA_ERROR_USAGE, "'%s' is part of %d labels: %s%s", text, found,
                       list, more);
    return tb_fail(error, TIBA_ERROR_USAGE, "no class '%s'; the labels are %s%s", text, list, more);
}

tiba_status tb_label_find(int64_t *out, const tb_labels *labels, int64_t classes, const char *text,
                          tiba_error *error) {
    char *end;
    errno = 0;
    long long index = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && errno == 0) {
        if (index < 0 || index >= classes)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "class %lld is out of range: the model has %lld classes", index,
                           (long long)classes);
        *out = index;
        return TIBA_OK;
    }
    int64_t partial = -1, known = labels->count < classes ? labels->count : classes;
    int found = 0;
    for (int64_t i = 0; i < known; i++) {
        const char *name = labels->names[i];
        if (!name) continue;
        if (strcasecmp(name, text) == 0) {
            *out = i;
            return TIBA_OK;
        }
        if (contains(name, text)) partial = i, found++;
    }
    if (found != 1) return no_label(labels, known, text, found, error);
    *out = partial;
    return TIBA_OK;
}
