#include "tools/companions.h"

#include <sys/stat.h>

#include "base/file.h"

static const char *const names[] = {"config.json", "preprocessor_config.json", "tokenizer.json",
                                    "tokenizer_config.json", "vocab.txt"};

static bool has_some(tb_arena *arena, const char *folder) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = tb_path_join(arena, folder, names[i]);
        if (path && tb_is_file(path)) return true;
    }
    return false;
}

/* Whether `folder` is the one that is called "onnx" in `above`, however the path says it. */
static bool is_part(tb_arena *arena, const char *folder, const char *above) {
    const char *part = tb_path_join(arena, above, "onnx");
    struct stat a, b;
    return part && stat(folder, &a) == 0 && stat(part, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

const char *tb_companions_folder(tb_arena *arena, const char *path) {
    if (tb_is_folder(path)) return tb_arena_strdup(arena, path);
    const char *beside = tb_path_folder(arena, path);
    const char *above = beside ? tb_path_join(arena, beside, "..") : NULL;
    if (!above || has_some(arena, beside) || !has_some(arena, above)) return beside;
    return is_part(arena, beside, above) ? above : beside;
}
