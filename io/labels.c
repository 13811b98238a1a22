#include "io/labels.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "io/json.h"

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

/* Common prefix and letters in common: enough to suggest a label for a misspelt one. */
static int likeness(const char *label, const char *text) {
    int score = 0;
    for (size_t i = 0; label[i] && text[i]; i++)
        score += tolower((unsigned char)label[i]) == tolower((unsigned char)text[i]) ? 2 : 0;
    for (const char *c = text; *c; c++) score += strchr(label, *c) != NULL;
    int longer = (int)strlen(label) - (int)strlen(text);
    return score - (longer < 0 ? -longer : longer);
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
    int64_t partial = -1, nearest = -1;
    int found = 0, best = -1000;
    for (int64_t i = 0; i < labels->count && i < classes; i++) {
        const char *name = labels->names[i];
        if (!name) continue;
        if (strcasecmp(name, text) == 0) {
            *out = i;
            return TIBA_OK;
        }
        if (contains(name, text)) partial = i, found++;
        int score = likeness(name, text);
        if (score > best) best = score, nearest = i;
    }
    if (found == 1) {
        *out = partial;
        return TIBA_OK;
    }
    if (found > 1)
        return tb_fail(error, TIBA_ERROR_USAGE, "'%s' is part of %d labels, for instance '%s'",
                       text, found, labels->names[partial]);
    if (nearest < 0)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "no class '%s': the model has no labels, give an index", text);
    return tb_fail(error, TIBA_ERROR_USAGE, "no class '%s'; the nearest label is '%s'", text,
                   labels->names[nearest]);
}
