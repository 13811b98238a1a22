/*
 * cmd_preprocess.c: `tiba-onnx preprocess FOLDER PICTURE --npy FILE` writes the tensor that a model
 * would be given for a picture: for checking a configuration against the framework that the model
 * comes from, and for feeding the same tensor to something else.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/npy.h"
#include "io/preprocess.h"
#include "tools/arguments.h"
#include "tools/commands.h"
#include "tools/companions.h"

typedef struct options {
    bool help, horizontal_first;
    const char *npy, *size, *crop, *mean, *std, *resample, *layout;
} options;

static const tb_option table[] = {
    {"--npy", "-o", TB_ARG_TEXT, offsetof(options, npy), "FILE", "where to write the tensor"},
    {"--size", NULL, TB_ARG_TEXT, offsetof(options, size), "N|HxW", "of the resize step"},
    {"--crop", NULL, TB_ARG_TEXT, offsetof(options, crop), "N|HxW|none", "of the centre crop"},
    {"--mean", NULL, TB_ARG_TEXT, offsetof(options, mean), "M[,M,M]", "subtracted"},
    {"--std", NULL, TB_ARG_TEXT, offsetof(options, std), "S[,S,S]", "divided by"},
    {"--resample", NULL, TB_ARG_TEXT, offsetof(options, resample), "FILTER",
     "nearest, box, bilinear, hamming, bicubic or lanczos"},
    {"--layout", NULL, TB_ARG_TEXT, offsetof(options, layout), "LAYOUT", "nchw or nhwc"},
    {"--horizontal-first", NULL, TB_ARG_FLAG, offsetof(options, horizontal_first), NULL,
     "the pass order of Pillow up to version 11"},
    {"--help", "-h", TB_ARG_FLAG, offsetof(options, help), NULL, "this help"},
    {0},
};

/* The settings that the options change, in the configuration's place. */
static tiba_status override(tb_preprocess *how, const options *o, tiba_error *error) {
    const struct {
        const char *name, *value;
    } settings[] = {{"size", o->size}, {"crop", o->crop},         {"mean", o->mean},
                    {"std", o->std},   {"resample", o->resample}, {"layout", o->layout}};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (settings[i].value)
            TB_TRY(tb_preprocess_override(how, settings[i].name, settings[i].value, error));
    if (o->horizontal_first) how->horizontal_first = true;
    return TIBA_OK;
}

static tiba_status write_tensor(tb_arena *arena, const options *o, const char *place,
                                const char *path, tiba_error *error) {
    tb_preprocess how;
    tb_picture picture;
    tb_pixels pixels;
    /* without a configuration, a given size is as good as the model's own */
    int size = o->size ? 224 : 0;
    const char *folder = tb_companions_folder(arena, place);
    if (!folder) return tb_out_of_memory(error);
    TB_TRY(tb_preprocess_load(&how, arena, folder, size, size, error));
    TB_TRY(override(&how, o, error));
    if (how.guessed) {
        char text[256];
        fprintf(stderr, "tiba-onnx: note: %s has no preprocessor_config.json; %s\n", folder,
                tb_preprocess_describe(text, sizeof text, &how));
    }
    TB_TRY(tb_picture_read(&picture, arena, path, 0, error));
    TB_TRY(tb_preprocess_run(&pixels, arena, &how, &picture, error));
    return tb_npy_write(o->npy, &pixels.tensor, error);
}

static tiba_status run(tb_arena *arena, int argc, char **argv, tiba_error *error) {
    options o = {0};
    tb_texts rest = {0};
    TB_TRY(tb_arguments_parse(&o, table, arena, argc, argv, &rest, error));
    if (o.help) {
        puts("tiba-onnx preprocess FOLDER PICTURE --npy FILE [options]\n\n"
             "Writes the float32 tensor [1, 3, H, W] that the model in FOLDER is given for a\n"
             "picture, as its preprocessor_config.json or timm's config.json says.\n");
        tb_arguments_help(table);
        return TIBA_OK;
    }
    if (rest.count != 2 || !o.npy)
        return tb_fail(error, TIBA_ERROR_USAGE, "preprocess needs FOLDER, PICTURE and --npy FILE");
    return write_tensor(arena, &o, rest.items[0], rest.items[1], error);
}

int tb_cmd_preprocess(int argc, char **argv) {
    tiba_error error = {0};
    tb_arena *arena = tb_arena_create(NULL);
    tiba_status status = arena ? run(arena, argc, argv, &error) : tb_out_of_memory(&error);
    tb_arena_destroy(arena);
    if (status != TIBA_OK) fprintf(stderr, "tiba-onnx: %s\n", error.message);
    return (int)status;
}
