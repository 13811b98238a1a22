#include "tools/settings.h"

#include <string.h>

/* How many arguments the free option at argv[i] takes with itself; 0: it is none. */
static int free_words(char **argv, int i, const tb_free_option *free_ones) {
    for (const tb_free_option *o = free_ones; o->name; o++) {
        size_t n = strlen(o->name);
        if (strcmp(argv[i], o->name) == 0) return o->takes_value ? 2 : 1;
        if (strncmp(argv[i], o->name, n) == 0 && argv[i][n] == '=') return 1;
    }
    return 0;
}

tiba_status tb_settings_text(char **out, tb_arena *arena, tb_subject *subject, int argc,
                             char **argv, const tb_free_option *free_ones, tiba_error *error) {
    char *text = tb_arena_format(arena, "tiba-onnx %s\n", tiba_version());
    for (tb_subject *s = subject; s; s = s->partner) {
        TB_TRY(tb_subject_digests(s, error));
        for (int i = 0; text && i < s->n_digests; i++)
            text = tb_arena_format(arena, "%smodel %s\n", text, s->digests[i].sha256);
    }
    for (int i = 1, skip; text && i < argc; i += skip ? skip : 1) {
        skip = free_words(argv, i, free_ones);
        if (!skip) text = tb_arena_format(arena, "%s%s\n", text, argv[i]);
    }
    *out = text;
    return text ? TIBA_OK : tb_out_of_memory(error);
}
