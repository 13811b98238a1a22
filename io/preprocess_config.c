/*
 * preprocess_config.c: reads preprocessor_config.json and timm's config.json into a tb_preprocess.
 *
 * A processor of transformers is one row of a table: what its class does where the file is silent,
 * which steps it has at all (a file may carry keys of steps that its class ignores), what an int
 * as size means to it, and the few classes that compute their sizes in a way of their own.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "io/json.h"
#include "io/preprocess.h"

/* A size as the files give it: height × width, or a shortest (and perhaps longest) edge. */
typedef struct size_entry {
    int height, width, shortest, longest;
} size_entry;

enum {
    HAS_CROP = 1,     /* do_center_crop is one of the class's steps … */
    CROPS = 2,        /* … and done unless the file says otherwise */
    INT_IS_EDGE = 4,  /* "size": 224 means the shortest edge */
    NO_NORMALIZE = 8, /* the class does not normalise */
    HAS_FLIP = 16,    /* do_flip_channel_order is one of the class's steps, done by default */
    NO_EDGE = 32      /* size must be height and width */
};

typedef enum own_way {
    NOTHING_SPECIAL,
    CONVNEXT,   /* below 384 resized to size / crop_pct and cropped, else squashed */
    LEVIT,      /* shortest edge × 256 / 224 */
    POOLFORMER, /* size / crop_pct */
    DPT,        /* may keep proportions and round to multiples */
    DETR,       /* longest edge bounded */
    YOLOS,      /* the same, then down to multiples of 16 */
    DINOV3      /* rescaled first, resized in floats */
} own_way;

typedef enum statistics { HALVES, IMAGENET, OPENAI_CLIP } statistics;

static const float known_mean[][3] = {[HALVES] = {0.5f, 0.5f, 0.5f},
                                      [IMAGENET] = {0.485f, 0.456f, 0.406f},
                                      [OPENAI_CLIP] = {0.48145466f, 0.4578275f, 0.40821073f}};
static const float known_std[][3] = {[HALVES] = {0.5f, 0.5f, 0.5f},
                                     [IMAGENET] = {0.229f, 0.224f, 0.225f},
                                     [OPENAI_CLIP] = {0.26862954f, 0.26130258f, 0.27577711f}};

typedef struct processor {
    const char *name; /* without "ImageProcessor" */
    size_entry size;
    int crop;
    tb_filter filter;
    statistics statistics;
    unsigned flags;
    own_way own;
} processor;

#define SQUARE(n)                                                                                  \
    { .height = (n), .width = (n) }
#define EDGE(n)                                                                                    \
    { .shortest = (n) }
enum { EDGE_CROP = HAS_CROP | CROPS | INT_IS_EDGE };

static const processor processors[] = {
    {"ViT", SQUARE(224), 224, TB_FILTER_BILINEAR, HALVES, NO_EDGE, NOTHING_SPECIAL},
    {"DeiT", SQUARE(256), 224, TB_FILTER_BICUBIC, HALVES, HAS_CROP | CROPS | NO_EDGE,
     NOTHING_SPECIAL},
    {"Beit", SQUARE(256), 224, TB_FILTER_BICUBIC, HALVES, HAS_CROP | CROPS | NO_EDGE,
     NOTHING_SPECIAL},
    {"Flava", SQUARE(224), 224, TB_FILTER_BICUBIC, OPENAI_CLIP, HAS_CROP | CROPS | NO_EDGE,
     NOTHING_SPECIAL},
    {"CLIP", EDGE(224), 224, TB_FILTER_BICUBIC, OPENAI_CLIP, EDGE_CROP, NOTHING_SPECIAL},
    {"ChineseCLIP", EDGE(224), 224, TB_FILTER_BICUBIC, OPENAI_CLIP, EDGE_CROP, NOTHING_SPECIAL},
    {"Bit", EDGE(224), 224, TB_FILTER_BICUBIC, OPENAI_CLIP, EDGE_CROP, NOTHING_SPECIAL},
    {"ViTHybrid", EDGE(224), 224, TB_FILTER_BICUBIC, OPENAI_CLIP, EDGE_CROP, NOTHING_SPECIAL},
    {"MobileNetV1", EDGE(256), 224, TB_FILTER_BILINEAR, HALVES, EDGE_CROP, NOTHING_SPECIAL},
    {"MobileNetV2", EDGE(256), 224, TB_FILTER_BILINEAR, HALVES, EDGE_CROP, NOTHING_SPECIAL},
    {"MobileViT", EDGE(224), 256, TB_FILTER_BILINEAR, HALVES, EDGE_CROP | NO_NORMALIZE | HAS_FLIP,
     NOTHING_SPECIAL},
    {"Siglip", SQUARE(224), 224, TB_FILTER_BICUBIC, HALVES, NO_EDGE, NOTHING_SPECIAL},
    {"Blip", SQUARE(384), 384, TB_FILTER_BICUBIC, OPENAI_CLIP, NO_EDGE, NOTHING_SPECIAL},
    {"Pvt", SQUARE(224), 224, TB_FILTER_BILINEAR, IMAGENET, NO_EDGE, NOTHING_SPECIAL},
    {"Segformer", SQUARE(512), 512, TB_FILTER_BILINEAR, IMAGENET, NO_EDGE, NOTHING_SPECIAL},
    {"OwlViT", SQUARE(768), 768, TB_FILTER_BICUBIC, OPENAI_CLIP, HAS_CROP | NO_EDGE,
     NOTHING_SPECIAL},
    {"EfficientFormer", SQUARE(224), 224, TB_FILTER_BICUBIC, IMAGENET, HAS_CROP | CROPS,
     NOTHING_SPECIAL},
    {"LayoutLMv3", SQUARE(224), 224, TB_FILTER_BILINEAR, HALVES, NO_EDGE, NOTHING_SPECIAL},
    {"ConvNext", EDGE(384), 0, TB_FILTER_BILINEAR, HALVES, INT_IS_EDGE, CONVNEXT},
    {"Levit", EDGE(224), 224, TB_FILTER_BICUBIC, IMAGENET, EDGE_CROP, LEVIT},
    {"PoolFormer", EDGE(224), 224, TB_FILTER_BICUBIC, IMAGENET, EDGE_CROP, POOLFORMER},
    {"DPT", SQUARE(384), 384, TB_FILTER_BICUBIC, HALVES, NO_EDGE, DPT},
    {"Detr",
     {.shortest = 800, .longest = 1333},
     0,
     TB_FILTER_BILINEAR,
     IMAGENET,
     INT_IS_EDGE,
     DETR},
    {"ConditionalDetr",
     {.shortest = 800, .longest = 1333},
     0,
     TB_FILTER_BILINEAR,
     IMAGENET,
     INT_IS_EDGE,
     DETR},
    {"DeformableDetr",
     {.shortest = 800, .longest = 1333},
     0,
     TB_FILTER_BILINEAR,
     IMAGENET,
     INT_IS_EDGE,
     DETR},
    {"Yolos",
     {.shortest = 800, .longest = 1333},
     0,
     TB_FILTER_BILINEAR,
     IMAGENET,
     INT_IS_EDGE,
     YOLOS},
    {"DINOv3ViT", SQUARE(224), 224, TB_FILTER_BILINEAR, IMAGENET, HAS_CROP | NO_EDGE, DINOV3},
};
enum { PROCESSORS = sizeof processors / sizeof processors[0] };

/* Which processor a model's pictures go through where preprocessor_config.json does not say. */
static const struct {
    const char *model_type, *processor;
} model_types[] = {
    {"vit", "ViT"},
    {"deit", "DeiT"},
    {"beit", "Beit"},
    {"clip", "CLIP"},
    {"siglip", "Siglip"},
    {"swin", "ViT"},
    {"swinv2", "ViT"},
    {"dinov2", "Bit"},
    {"convnext", "ConvNext"},
    {"convnextv2", "ConvNext"},
    {"cvt", "ConvNext"},
    {"data2vec-vision", "Beit"},
    {"vit_mae", "ViT"},
    {"vit_msn", "ViT"},
    {"mobilevit", "MobileViT"},
    {"levit", "Levit"},
    {"chinese_clip", "ChineseCLIP"},
    {"groupvit", "CLIP"},
    {"segformer", "Segformer"},
    {"blip", "Blip"},
    {"altclip", "CLIP"},
    {"clipseg", "ViT"},
    {"owlvit", "OwlViT"},
    {"dinov2_with_registers", "Bit"},
    {"pvt", "Pvt"},
    {"poolformer", "PoolFormer"},
    {"yolos", "Yolos"},
    {"dpt", "DPT"},
    {"ijepa", "ViT"},
    {"mobilevitv2", "MobileViT"},
    {"hiera", "Bit"},
    {"metaclip_2", "CLIP"},
    {"git", "CLIP"},
};

enum { MOST_PIXELS = 65536 };

static tiba_status read_side(int *out, const tb_json *object, const char *key, tiba_error *error) {
    tb_json value = tb_json_get(object, key);
    int64_t number;
    if (tb_json_absent(&value)) return TIBA_OK;
    TB_TRY(tb_json_as_integer(&number, &value, 1, MOST_PIXELS, error));
    *out = (int)number;
    return TIBA_OK;
}

/* A number, [height, width], or an object. `out` is untouched if the key is absent. */
static tiba_status read_size(size_entry *out, const tb_json *config, const char *key,
                             bool int_is_edge, tiba_error *error) {
    tb_json value = tb_json_get(config, key);
    size_entry size = {0};
    int64_t number;
    switch (tb_json_kind_of(&value)) {
    case TB_JSON_MISSING:
    case TB_JSON_NULL:
        return TIBA_OK;
    case TB_JSON_NUMBER:
        TB_TRY(tb_json_as_integer(&number, &value, 1, MOST_PIXELS, error));
        if (int_is_edge)
            size.shortest = (int)number;
        else
            size.height = size.width = (int)number;
        break;
    case TB_JSON_ARRAY: {
        int sides[2] = {0}, count = 0;
        for (tb_json item = {0}; tb_json_next(&item, &value); count++) {
            TB_TRY(tb_json_as_integer(&number, &item, 1, MOST_PIXELS, error));
            if (count < 2) sides[count] = (int)number;
        }
        if (count != 2) return tb_json_fail(error, &value, "not [height, width]");
        size.height = sides[0], size.width = sides[1];
        break;
    }
    case TB_JSON_OBJECT:
        TB_TRY(read_side(&size.height, &value, "height", error));
        TB_TRY(read_side(&size.width, &value, "width", error));
        TB_TRY(read_side(&size.shortest, &value, "shortest_edge", error));
        TB_TRY(read_side(&size.longest, &value, "longest_edge", error));
        if (!size.shortest && !(size.height && size.width))
            return tb_json_fail(error, &value, "neither height and width nor shortest_edge");
        break;
    default:
        return tb_json_fail(error, &value, "not a size");
    }
    *out = size;
    return TIBA_OK;
}

/* One number for all channels, or three. `out` is untouched if the key is absent. */
static tiba_status read_channels(float out[3], const tb_json *config, const char *key,
                                 bool zero_allowed, tiba_error *error) {
    tb_json value = tb_json_get(config, key);
    double number, numbers[3];
    int count = 0;
    if (tb_json_absent(&value)) return TIBA_OK;
    if (tb_json_kind_of(&value) == TB_JSON_NUMBER) {
        TB_TRY(tb_json_as_number(&number, &value, error));
        numbers[0] = numbers[1] = numbers[2] = number;
        count = 3;
    } else {
        TB_TRY(tb_json_need_array(&value, error));
        for (tb_json item = {0}; tb_json_next(&item, &value); count++) {
            TB_TRY(tb_json_as_number(&number, &item, error));
            if (count < 3) numbers[count] = number;
        }
    }
    if (count != 3) return tb_json_fail(error, &value, "%d channels instead of 3", count);
    for (int c = 0; c < 3; c++) {
        out[c] = (float)numbers[c];
        if (!isfinite(out[c]) || (!zero_allowed && out[c] == 0.0f))
            return tb_json_fail(error, &value, "out of range");
    }
    return TIBA_OK;
}

static tiba_status read_filter(tb_filter *out, const tb_json *config, tiba_error *error) {
    tb_json value = tb_json_get(config, "resample");
    if (tb_json_absent(&value)) return TIBA_OK;
    int64_t number;
    const char *name;
    if (tb_json_kind_of(&value) == TB_JSON_STRING) {
        TB_TRY(tb_json_as_string(&name, &value, error));
        if (!tb_filter_from_name(out, name))
            return tb_json_fail(error, &value, "unknown filter '%s'", name);
        return TIBA_OK;
    }
    TB_TRY(tb_json_as_integer(&number, &value, 0, TB_FILTERS - 1, error));
    *out = (tb_filter)number;
    return TIBA_OK;
}

/* Steps that the table's classes do not have: if a file switches one on, the class that is named
 * is not the one that the model was trained with. Labels and masks are no pixels. */
static tiba_status refuse_unknown_steps(const tb_json *config, own_way own, tiba_error *error) {
    static const char *const known[] = {
        "do_resize",      "do_center_crop",        "do_rescale",       "do_normalize",
        "do_convert_rgb", "do_flip_channel_order", "do_reduce_labels", "do_convert_annotations"};
    static const char *const neutral[] = {"pad_size", "size_divisor", "size_divisibility"};
    for (tb_json item = {0}; tb_json_next(&item, config);) {
        bool on = false, listed = false;
        if (strncmp(item.key, "do_", 3) != 0 || tb_json_kind_of(&item) != TB_JSON_BOOL) continue;
        TB_TRY(tb_json_as_bool(&on, &item, error));
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            listed = listed || strcmp(item.key, known[i]) == 0;
        /* padding to the batch's largest picture does nothing to a single one */
        listed = listed || ((own == DETR || own == YOLOS) && strcmp(item.key, "do_pad") == 0);
        if (on && !listed) return tb_json_fail(error, &item, "this step is not supported");
    }
    for (size_t i = 0; i < sizeof neutral / sizeof neutral[0]; i++) {
        tb_json value = tb_json_get(config, neutral[i]);
        if (!tb_json_absent(&value)) return tb_json_fail(error, &value, "not supported");
    }
    return TIBA_OK;
}

static void set_exact(tb_preprocess *how, int height, int width) {
    how->resize = TB_RESIZE_EXACT;
    how->height = height;
    how->width = width;
}

static void set_shortest(tb_preprocess *how, int edge) {
    how->resize = TB_RESIZE_SHORTEST;
    how->height = how->width = edge;
}

static tiba_status needs_edge(const tb_json *config, const size_entry *size, tiba_error *error) {
    tb_json value = tb_json_get(config, "size");
    if (size->shortest) return TIBA_OK;
    return tb_json_fail(error, tb_json_absent(&value) ? config : &value, "needs shortest_edge");
}

static tiba_status read_crop_pct(double *out, const tb_json *config, double otherwise,
                                 tiba_error *error) {
    TB_TRY(tb_json_number_or(out, config, "crop_pct", otherwise, error));
    tb_json value = tb_json_get(config, "crop_pct");
    /* 0 stands for none; anything else must leave sizes in range */
    if (*out != 0.0 && !(*out >= 0.05 && *out <= 20.0))
        return tb_json_fail(error, &value, "out of range");
    return TIBA_OK;
}

static tiba_status own_convnext(tb_preprocess *how, const tb_json *config, const size_entry *size,
                                tiba_error *error) {
    double crop_pct;
    TB_TRY(needs_edge(config, size, error));
    TB_TRY(read_crop_pct(&crop_pct, config, 224.0 / 256.0, error));
    int edge = size->shortest;
    if (edge >= 384 || crop_pct == 0.0) {
        set_exact(how, edge, edge);
        return TIBA_OK;
    }
    set_shortest(how, (int)(edge / crop_pct));
    how->crop = true;
    how->crop_height = how->crop_width = edge;
    return TIBA_OK;
}

static tiba_status own_poolformer(tb_preprocess *how, const tb_json *config, const size_entry *size,
                                  tiba_error *error) {
    double crop_pct;
    TB_TRY(read_crop_pct(&crop_pct, config, 0.9, error));
    tb_json value = tb_json_get(config, "crop_pct");
    if (tb_json_kind_of(&value) == TB_JSON_NULL || crop_pct == 0.0) crop_pct = 1.0;
    if (size->shortest)
        set_shortest(how, (int)(size->shortest / crop_pct));
    else if (size->height == size->width && crop_pct != 1.0)
        set_shortest(how, (int)(size->height / crop_pct));
    else
        set_exact(how, (int)(size->height / crop_pct), (int)(size->width / crop_pct));
    return TIBA_OK;
}

static tiba_status own_dpt(tb_preprocess *how, const tb_json *config, const size_entry *size,
                           tiba_error *error) {
    bool keeps;
    int64_t multiple;
    TB_TRY(tb_json_bool_or(&keeps, config, "keep_aspect_ratio", false, error));
    TB_TRY(tb_json_integer_or(&multiple, config, "ensure_multiple_of", 1, MOST_PIXELS, 1, error));
    if (keeps) {
        tb_json value = tb_json_get(config, "keep_aspect_ratio");
        return tb_json_fail(error, &value, "not supported");
    }
    if (size->height % multiple != 0 || size->width % multiple != 0) {
        tb_json value = tb_json_get(config, "ensure_multiple_of");
        return tb_json_fail(error, &value, "the size is not a multiple of it");
    }
    set_exact(how, size->height, size->width);
    return TIBA_OK;
}

static tiba_status read_resize(tb_preprocess *how, const processor *p, const tb_json *config,
                               tiba_error *error) {
    size_entry size = p->size;
    TB_TRY(read_size(&size, config, "size", p->flags & INT_IS_EDGE, error));
    if (p->own == DETR || p->own == YOLOS)
        TB_TRY(read_side(&size.longest, config, "max_size", error));
    if ((p->flags & NO_EDGE) && size.shortest) {
        tb_json value = tb_json_get(config, "size");
        return tb_json_fail(error, &value, "%s takes height and width", how->type);
    }
    switch (p->own) {
    case CONVNEXT:
        return own_convnext(how, config, &size, error);
    case POOLFORMER:
        return own_poolformer(how, config, &size, error);
    case DPT:
        return own_dpt(how, config, &size, error);
    case LEVIT:
        if (size.shortest) size.shortest = (int)(256.0 / 224.0 * size.shortest);
        break;
    case DINOV3:
        how->rescale_first = true;
        break;
    default:
        break;
    }
    if (!size.shortest) {
        set_exact(how, size.height, size.width);
    } else if (p->own == DETR || p->own == YOLOS) {
        how->resize = TB_RESIZE_BOUNDED;
        how->height = size.shortest;
        how->width = size.longest;
        how->multiple = p->own == YOLOS ? 16 : 1;
    } else {
        set_shortest(how, size.shortest);
    }
    return TIBA_OK;
}

static tiba_status read_steps(tb_preprocess *how, const processor *p, const tb_json *config,
                              tiba_error *error) {
    bool resizes;
    TB_TRY(refuse_unknown_steps(config, p->own, error));
    how->filter = p->filter;
    TB_TRY(read_filter(&how->filter, config, error));
    TB_TRY(tb_json_bool_or(&resizes, config, "do_resize", true, error));
    if (resizes) TB_TRY(read_resize(how, p, config, error));
    if (how->rescale_first && how->filter == TB_FILTER_NEAREST)
        return tb_json_fail(error, config, "resample nearest is not supported for %s", how->type);

    if (p->flags & HAS_CROP)
        TB_TRY(tb_json_bool_or(&how->crop, config, "do_center_crop", p->flags & CROPS, error));
    if (how->crop && (p->flags & HAS_CROP)) {
        size_entry crop = SQUARE(p->crop);
        TB_TRY(read_size(&crop, config, "crop_size", false, error));
        if (!crop.height || !crop.width) {
            tb_json value = tb_json_get(config, "crop_size");
            return tb_json_fail(error, &value, "needs height and width");
        }
        how->crop_height = crop.height;
        how->crop_width = crop.width;
    }
    TB_TRY(tb_json_bool_or(&how->rescale, config, "do_rescale", true, error));
    TB_TRY(tb_json_number_or(&how->rescale_factor, config, "rescale_factor", 1.0 / 255.0, error));
    if (!(p->flags & NO_NORMALIZE))
        TB_TRY(tb_json_bool_or(&how->normalize, config, "do_normalize", true, error));
    memcpy(how->mean, known_mean[p->statistics], sizeof how->mean);
    memcpy(how->std, known_std[p->statistics], sizeof how->std);
    TB_TRY(read_channels(how->mean, config, "image_mean", true, error));
    TB_TRY(read_channels(how->std, config, "image_std", false, error));
    if (p->flags & HAS_FLIP)
        TB_TRY(tb_json_bool_or(&how->flip_channels, config, "do_flip_channel_order", true, error));
    return TIBA_OK;
}

/* "CLIPImageProcessorFast", "CLIPFeatureExtractor" and the like name the class CLIP. */
static const processor *find_processor(const char *type) {
    static const char *const endings[] = {"ImageProcessor", "ImageProcessorFast",
                                          "ImageProcessorPil", "FeatureExtractor"};
    for (int i = 0; i < PROCESSORS; i++) {
        size_t length = strlen(processors[i].name);
        if (strncmp(type, processors[i].name, length) != 0) continue;
        for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++)
            if (strcmp(type + length, endings[k]) == 0) return &processors[i];
    }
    return NULL;
}

static const char *type_of_model(const char *model_type) {
    for (size_t i = 0; i < sizeof model_types / sizeof model_types[0]; i++)
        if (strcmp(model_type, model_types[i].model_type) == 0) return model_types[i].processor;
    return NULL;
}

static tiba_status read_timm(tb_preprocess *how, const tb_json *config, tiba_error *error);

/* `model` is the folder's config.json, or missing. */
static tiba_status read_transformers(tb_preprocess *how, const tb_json *config,
                                     const tb_json *model, tiba_error *error) {
    const char *type, *model_type;
    char name[64];
    TB_TRY(tb_json_need_object(config, error));
    TB_TRY(tb_json_string_or(&type, config, "image_processor_type", NULL, error));
    if (!type) TB_TRY(tb_json_string_or(&type, config, "feature_extractor_type", NULL, error));
    tb_json timm = tb_json_get(config, "pretrained_cfg");
    if (type && strcmp(type, "TimmWrapperImageProcessor") == 0) {
        if (!tb_json_absent(&timm)) return read_timm(how, &timm, error);
        timm = tb_json_get(model, "pretrained_cfg");
        return read_timm(how, &timm, error);
    }
    if (!type) {
        TB_TRY(tb_json_string_or(&model_type, model, "model_type", NULL, error));
        const char *stem = model_type ? type_of_model(model_type) : NULL;
        if (!stem)
            return tb_json_fail(error, config, "image_processor_type: missing%s%s",
                                model_type ? ", and none is known for model_type " : "",
                                model_type ? model_type : "");
        snprintf(name, sizeof name, "%sImageProcessor", stem);
        type = name;
    }
    const processor *p = find_processor(type);
    if (!p) return tb_json_fail(error, config, "image processor '%s' is not supported", type);
    snprintf(how->type, sizeof how->type, "%s", type);
    return read_steps(how, p, config, error);
}

/* timm's resolve_data_config and the evaluation transform made from it. */
static tiba_status read_timm(tb_preprocess *how, const tb_json *config, tiba_error *error) {
    int64_t size[3] = {3, 224, 224};
    int count = 0;
    TB_TRY(tb_json_need_object(config, error));
    tb_json input = tb_json_get(config, "input_size");
    if (!tb_json_absent(&input)) {
        TB_TRY(tb_json_need_array(&input, error));
        for (tb_json item = {0}; tb_json_next(&item, &input); count++) {
            int64_t number;
            TB_TRY(tb_json_as_integer(&number, &item, 1, MOST_PIXELS, error));
            if (count < 3) size[count] = number;
        }
        if (count != 3 || size[0] != 3)
            return tb_json_fail(error, &input, "not [3, height, width]");
    }
    const char *filter, *mode;
    double crop_pct;
    TB_TRY(tb_json_string_or(&filter, config, "interpolation", "bicubic", error));
    TB_TRY(tb_json_string_or(&mode, config, "crop_mode", "center", error));
    TB_TRY(read_crop_pct(&crop_pct, config, 0.875, error));
    if (crop_pct == 0.0) crop_pct = 0.875;
    if (!tb_filter_from_name(&how->filter, filter)) {
        tb_json value = tb_json_get(config, "interpolation");
        return tb_json_fail(error, &value, "unknown filter '%s'", filter);
    }
    int height = (int)floor((double)size[1] / crop_pct);
    int width = (int)floor((double)size[2] / crop_pct);
    if (strcmp(mode, "squash") == 0) {
        set_exact(how, height, width);
    } else if (strcmp(mode, "center") != 0) {
        tb_json value = tb_json_get(config, "crop_mode");
        return tb_json_fail(error, &value, "'%s' is not supported", mode);
    } else if (height == width) {
        set_shortest(how, height);
    } else {
        set_exact(how, height, width);
        how->resize = TB_RESIZE_COVER;
    }
    how->crop = how->crop_rounds = true;
    how->crop_height = (int)size[1];
    how->crop_width = (int)size[2];
    how->rescale = how->rescale_divides = how->normalize = true;
    memcpy(how->mean, known_mean[IMAGENET], sizeof how->mean);
    memcpy(how->std, known_std[IMAGENET], sizeof how->std);
    TB_TRY(read_channels(how->mean, config, "mean", true, error));
    TB_TRY(read_channels(how->std, config, "std", false, error));
    snprintf(how->type, sizeof how->type, "timm");
    return TIBA_OK;
}

/* timm's config.json: the newer form has pretrained_cfg, the older one its fields beside the
 * architecture's name. `*found` is false if `config` is neither. */
static tiba_status read_timm_model(bool *found, tb_preprocess *how, const tb_json *config,
                                   tiba_error *error) {
    tb_json nested = tb_json_get(config, "pretrained_cfg");
    tb_json type = tb_json_get(config, "image_processor_type");
    tb_json architecture = tb_json_get(config, "architecture");
    tb_json input = tb_json_get(config, "input_size");
    bool old = !tb_json_absent(&architecture) && !tb_json_absent(&input);
    *found = tb_json_absent(&type) && (!tb_json_absent(&nested) || old);
    if (!*found) return TIBA_OK;
    return read_timm(how, tb_json_absent(&nested) ? config : &nested, error);
}

/* config.json's image_size, of the model itself or of its vision half. */
static tiba_status model_size(size_entry *out, const tb_json *model, tiba_error *error) {
    TB_TRY(read_size(out, model, "image_size", false, error));
    tb_json vision = tb_json_get(model, "vision_config");
    if (!out->height && !tb_json_absent(&vision))
        TB_TRY(read_size(out, &vision, "image_size", false, error));
    return TIBA_OK;
}

static tiba_status guess(tb_preprocess *how, const tb_json *model, const char *folder, int height,
                         int width, tiba_error *error) {
    size_entry size = {.height = height, .width = width};
    if (height < 1 || width < 1) {
        size = (size_entry){0};
        TB_TRY(model_size(&size, model, error));
    }
    if (!size.height || !size.width)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "%s: no preprocessor_config.json, and the model's input has no fixed size; "
                       "--size HxW gives one",
                       folder);
    set_exact(how, size.height, size.width);
    how->guessed = how->rescale = how->normalize = true;
    how->rescale_factor = 1.0 / 255.0;
    how->filter = TB_FILTER_BILINEAR;
    memcpy(how->mean, known_mean[HALVES], sizeof how->mean);
    memcpy(how->std, known_std[HALVES], sizeof how->std);
    snprintf(how->type, sizeof how->type, "none");
    return TIBA_OK;
}

/* Reads folder/name if there is such a file; otherwise the value stays missing. */
static tiba_status read_optional(tb_json *out, tb_arena *arena, const char *folder,
                                 const char *name, tiba_error *error) {
    *out = (tb_json){.index = -1};
    char *path = tb_path_join(arena, folder, name);
    if (!path) return tb_out_of_memory(error);
    return tb_is_file(path) ? tb_json_read(out, arena, path, NULL, error) : TIBA_OK;
}

tiba_status tb_preprocess_load(tb_preprocess *how, tb_arena *arena, const char *folder, int height,
                               int width, tiba_error *error) {
    tb_preprocess result = {0};
    tb_json own, nested, model;
    TB_TRY(read_optional(&own, arena, folder, "preprocessor_config.json", error));
    TB_TRY(read_optional(&model, arena, folder, "config.json", error));
    tb_json inner = own;
    if (!own.node) {
        TB_TRY(read_optional(&nested, arena, folder, "processor_config.json", error));
        inner = tb_json_get(&nested, "image_processor");
    }
    bool found;
    TB_TRY(read_timm_model(&found, &result, inner.node ? &inner : &model, error));
    if (!found && inner.node)
        TB_TRY(read_transformers(&result, &inner, &model, error));
    else if (!found)
        TB_TRY(guess(&result, &model, folder, height, width, error));
    *how = result;
    return TIBA_OK;
}

tiba_status tb_preprocess_parse(tb_preprocess *how, tb_arena *arena, const char *name,
                                const void *text, size_t size, tiba_error *error) {
    tb_preprocess result = {0};
    tb_json config, none = {.index = -1};
    bool found;
    TB_TRY(tb_json_parse(&config, arena, name, text, size, NULL, error));
    TB_TRY(read_timm_model(&found, &result, &config, error));
    if (!found) TB_TRY(read_transformers(&result, &config, &none, error));
    *how = result;
    return TIBA_OK;
}
