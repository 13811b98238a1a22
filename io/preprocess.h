/*
 * preprocess.h: from a picture to the tensor that a model was trained on: resize, centre crop,
 * rescale, normalise, as the model's preprocessor_config.json (transformers) or config.json (timm)
 * says, and the geometry that leads from the model's input back to the picture.
 *
 *     tb_preprocess how;
 *     TB_TRY(tb_preprocess_load(&how, arena, folder, height, width, error));
 *     TB_TRY(tb_preprocess_override(&how, "size", "384", error));      // as the options say
 *     TB_TRY(tb_preprocess_run(&pixels, arena, &how, &picture, error));
 */
#ifndef TB_IO_PREPROCESS_H
#define TB_IO_PREPROCESS_H

#include "base/tensor.h"
#include "io/resample.h"

typedef enum tb_resize {
    TB_RESIZE_NONE,
    TB_RESIZE_EXACT,    /**< to height × width, whatever the picture's proportions */
    TB_RESIZE_SHORTEST, /**< the shorter edge to `height`, the longer one in proportion */
    TB_RESIZE_BOUNDED,  /**< the same, but the longer edge at most `width` (DETR) */
    TB_RESIZE_COVER     /**< in proportion, so that height × width is just covered (timm) */
} tb_resize;

/** What is to be done to a picture. All steps are resolved: no defaults are left to look up. */
typedef struct tb_preprocess {
    char type[64]; /**< the processor's name, for messages */
    bool guessed;  /**< there was no configuration: size of the model, mean and std 0.5 */

    tb_resize resize;
    int height, width; /**< of the resize step */
    int multiple;      /**< TB_RESIZE_BOUNDED: then down to multiples of this; 0 and 1: as it is */
    tb_filter filter;
    bool horizontal_first; /**< the pass order of Pillow up to 11 (see resample.h) */
    bool rescale_first;    /**< rescale, then resize in floats (DINOv3) */
    bool crop;
    int crop_height, crop_width;
    bool crop_rounds; /**< the crop's corner is rounded half to even (torchvision), not down */
    bool rescale;
    double rescale_factor;
    bool rescale_divides; /**< a float division by 255 (torchvision) instead of the factor */
    bool normalize;
    float mean[3], std[3];
    bool flip_channels; /**< BGR */
    bool channels_last; /**< [1, H, W, 3] instead of [1, 3, H, W] */
    bool bytes;         /**< uint8, for a model that rescales and normalises by itself */
} tb_preprocess;

/** Where the model's input lies in the upright picture: the picture is resized to
 *  resized_width × resized_height, of which the input shows width × height from (left, top) on.
 *  Negative left or top: the input is padded there. */
typedef struct tb_geometry {
    int picture_width, picture_height;
    int resized_width, resized_height;
    int left, top, width, height;
} tb_geometry;

typedef struct tb_pixels {
    tiba_tensor tensor; /**< float32 or uint8, [1, 3, H, W] or [1, H, W, 3] */
    tb_geometry geometry;
    float black[3]; /**< what a pixel of 0 becomes, in the tensor's order of channels */
} tb_pixels;

/** Reads how the model in `folder` wants its pictures: preprocessor_config.json, or
 *  processor_config.json's image_processor, or a timm config.json. Processors and features that
 *  are not known to the letter are refused by name. Without any of them `how->guessed` is set and
 *  the size is height × width (the model's input; 0: unknown), else config.json's image_size.
 *  `arena` holds the parsed files. */
tiba_status tb_preprocess_load(tb_preprocess *how, tb_arena *arena, const char *folder, int height,
                               int width, tiba_error *error);

/** The same from one configuration's text, preprocessor_config.json's or timm's config.json's.
 *  `name` starts the error messages. */
tiba_status tb_preprocess_parse(tb_preprocess *how, tb_arena *arena, const char *name,
                                const void *text, size_t size, tiba_error *error);

/** Changes one setting as the command line's option --`name` says: size, crop (N, HxW; crop also
 *  "none"), mean, std (one number or three with commas), resample (a name or Pillow's number),
 *  layout (nchw, nhwc). TIBA_ERROR_USAGE if the value is not understood. */
tiba_status tb_preprocess_override(tb_preprocess *how, const char *name, const char *value,
                                   tiba_error *error);

/** The tensor belongs to the arena. */
tiba_status tb_preprocess_run(tb_pixels *out, tb_arena *arena, const tb_preprocess *how,
                              const tb_picture *picture, tiba_error *error);

/** One line that says what will be done, into `text`; returns `text`. */
char *tb_preprocess_describe(char *text, size_t capacity, const tb_preprocess *how);

#endif
