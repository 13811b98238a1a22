#include "tools/arguments.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/nearest.h"

static const tb_option *find(const tb_option *table, const char *name, size_t length) {
    for (const tb_option *o = table; o->name; o++)
        if ((strlen(o->name) == length && strncmp(o->name, name, length) == 0) ||
            (o->alias && strlen(o->alias) == length && strncmp(o->alias, name, length) == 0))
            return o;
    return NULL;
}

static tiba_status unknown(const tb_option *table, const char *name, tiba_error *error) {
    const char *names[64];
    int n = 0;
    for (const tb_option *o = table; o->name && n < 64; o++) names[n++] = o->name;
    const char *near = tb_nearest(name, n, names);
    for (const tb_option *o = table; o->name; o++) /* -o for -O */
        if (o->alias && strcasecmp(o->alias, name) == 0) near = o->alias;
    return tb_fail(error, TIBA_ERROR_USAGE, "unknown option %s%s%s%s", name,
                   near ? " (did you mean " : "; --help lists them", near ? near : "",
                   near ? "?)" : "");
}

static tiba_status append(tb_texts *list, tb_arena *arena, const char *text, tiba_error *error) {
    const char **items = TB_NEW(arena, const char *, list->count + 1);
    if (!items) return tb_out_of_memory(error);
    if (list->count) memcpy(items, list->items, (size_t)list->count * sizeof *items);
    items[list->count++] = text;
    list->items = items;
    return TIBA_OK;
}

static tiba_status store(void *options, const tb_option *o, tb_arena *arena, const char *value,
                         tiba_error *error) {
    void *to = (char *)options + o->offset;
    char *end;
    errno = 0;
    switch (o->kind) {
    case TB_ARG_FLAG:
        *(bool *)to = true;
        return TIBA_OK;
    case TB_ARG_TEXT:
        *(const char **)to = value;
        return TIBA_OK;
    case TB_ARG_TEXTS:
        return append(to, arena, value, error);
    case TB_ARG_INT:
    case TB_ARG_COUNT: {
        long number = strtol(value, &end, 10), least = o->kind == TB_ARG_COUNT;
        if (end == value || *end || errno || number < least || number > INT_MAX)
            return tb_fail(error, TIBA_ERROR_USAGE, "%s: '%s' is no whole number from %ld on",
                           o->name, value, least);
        *(int *)to = (int)number;
        return TIBA_OK;
    }
    case TB_ARG_FLOAT:
    case TB_ARG_FACTOR: {
        double number = strtod(value, &end);
        bool factor = o->kind == TB_ARG_FACTOR;
        if (end == value || *end || errno || !isfinite(number) || (factor && number <= 0.0))
            return tb_fail(error, TIBA_ERROR_USAGE, "%s: '%s' is no number%s", o->name, value,
                           factor ? " above 0" : "");
        *(double *)to = number;
        return TIBA_OK;
    }
    }
    return TIBA_OK;
}

tiba_status tb_arguments_parse(void *options, const tb_option *table, tb_arena *arena, int argc,
                               char **argv, tb_texts *rest, tiba_error *error) {
    bool ended = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (ended || word[0] != '-' || word[1] == '\0') {
            TB_TRY(append(rest, arena, word, error));
            continue;
        }
        if (strcmp(word, "--") == 0) {
            ended = true;
            continue;
        }
        const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const tb_option *o = find(table, word, length);
        if (!o) return unknown(table, word, error);
        const char *value = equals ? equals + 1 : NULL;
        if (o->kind == TB_ARG_FLAG && value)
            return tb_fail(error, TIBA_ERROR_USAGE, "%s takes no value", o->name);
        if (o->kind != TB_ARG_FLAG && !value) {
            if (++i == argc)
                return tb_fail(error, TIBA_ERROR_USAGE, "%s needs a value: %s", o->name, o->value);
            value = argv[i];
        }
        TB_TRY(store(options, o, arena, value, error));
    }
    return TIBA_OK;
}

void tb_arguments_help(const tb_option *table) {
    int column = 0;
    for (const tb_option *o = table; o->name; o++) {
        if (!*o->summary) continue;
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s%s", o->alias ? o->alias : "", o->alias ? ", " : "",
                 o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-22s %s\n", left, o->summary);
    }
    for (const tb_option *o = table; o->name; o++) {
        if (*o->summary) continue;
        char word[64];
        snprintf(word, sizeof word, "%s%s%s%s%s", o->alias ? o->alias : "", o->alias ? "/" : "",
                 o->name, o->value ? " " : "", o->value ? o->value : "");
        int width = 2 + (int)strlen(word);
        if (column == 0 || column + width > 79) {
            printf("%s", column ? "\n" : "and, explained by man tiba-onnx:\n");
            column = 0;
        }
        printf("  %s", word);
        column += width;
    }
    if (column) printf("\n");
}
