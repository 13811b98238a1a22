/* Preprocessing: the reference values of transformers and timm, every processor's sizes, what is
 * refused, the options, and the geometry. */
#include "tests/check.h"

#include "io/json.h"
#include "io/preprocess.h"
#include "tests/pictures.h"

static tb_arena *arena;

static tiba_status parse(tb_preprocess *how, const char *text, tiba_error *error) {
    *error = (tiba_error){0};
    return tb_preprocess_parse(how, arena, "config", text, strlen(text), error);
}

static double numbers[1024];
static int read_numbers(const tb_json *object, const char *key) {
    tb_json list = tb_json_get(object, key);
    int n = 0;
    for (tb_json i = {0}; tb_json_next(&i, &list) && n < 1024; n++)
        tb_json_as_number(&numbers[n], &i, NULL);
    return n;
}

/* One configuration and picture: shape and sampled values. */
static void check_case(const char *root, const tb_json *c) {
    const char *config = "", *name = "";
    double low = 0, high = 0;
    char path[1200];
    tiba_error e = {0};
    tb_preprocess how;
    tb_picture picture;
    tb_pixels pixels = {0};
    static double index[1024];
    tb_json_string(&config, c, "config", NULL);
    tb_json_string(&name, c, "picture", NULL);
    tb_json_number_or(&low, c, "min", 0, NULL);
    tb_json_number_or(&high, c, "max", 0, NULL);
    tb_arena *outer = arena;
    arena = tb_arena_create(NULL);
    snprintf(path, sizeof path, "%s/configs/%s", root, config);
    bool done = tb_preprocess_load(&how, arena, path, 0, 0, &e) == TIBA_OK;
    snprintf(path, sizeof path, "%s/pictures/%s", root, name);
    done = done && tb_picture_read(&picture, arena, path, 0, &e) == TIBA_OK &&
           tb_preprocess_run(&pixels, arena, &how, &picture, &e) == TIBA_OK;
    CHECK_CASE(done, "%s %s: %s", config, name, e.message);
    if (done) {
        bool shape = read_numbers(c, "shape") == 3;
        for (int i = 0; i < 3; i++)
            shape = shape && pixels.tensor.dims[i + 1] == (int64_t)numbers[i];
        CHECK_CASE(shape, "%s %s", config, name);
        int n = read_numbers(c, "sample_index");
        memcpy(index, numbers, sizeof index);
        CHECK(n > 0 && n == read_numbers(c, "sample_value"));
        bool exact = strstr(name, ".png");
        double level = fmax(high - low, 1e-6) / 255, worst = 0, sum = 0;
        for (int i = 0; i < n && shape; i++) {
            double d = fabs((double)((float *)pixels.tensor.data)[(int64_t)index[i]] - numbers[i]);
            worst = fmax(worst, d), sum += d;
        }
        CHECK_CASE(exact ? worst <= 2e-6 * fmax(1, fabs(high))
                         : worst <= 4 * level && sum / n < level,
                   "%s %s: %g", config, name, worst);
    }
    tb_arena_destroy(arena);
    arena = outer;
}

static void test_reference(void) {
    for (int r = 0; picture_root(r); r++) {
        char path[1200];
        tb_json root;
        snprintf(path, sizeof path, "%s/cases.json", picture_root(r));
        CHECK(tb_json_read(&root, arena, path, NULL, NULL) == TIBA_OK);
        for (tb_json c = {0}; tb_json_next(&c, &root);) check_case(picture_root(r), &c);
    }
}

#define TYPE(name) "{\"image_processor_type\":\"" name "ImageProcessor\""

/* What a picture of 301 x 200 becomes: resized size, input size, corner of the crop. */
static void test_sizes(void) {
    static const struct {
        const char *config;
        int resized_width, resized_height, width, height, left, top;
    } cases[] = {
        {TYPE("ViT") "}", 224, 224, 224, 224, 0, 0},
        {TYPE("ViT") ",\"size\":[100,50]}", 50, 100, 50, 100, 0, 0},
        {TYPE("ViT") ",\"do_resize\":false}", 301, 200, 301, 200, 0, 0},
        {TYPE("ViT") ",\"do_center_crop\":true,\"crop_size\":5}", 224, 224, 224, 224, 0, 0},
        {TYPE("DeiT") "}", 256, 256, 224, 224, 16, 16},
        {TYPE("DeiT") ",\"do_center_crop\":false}", 256, 256, 256, 256, 0, 0},
        {TYPE("CLIP") "}", 337, 224, 224, 224, 56, 0},
        {TYPE("CLIP") ",\"size\":100,\"crop_size\":{\"height\":90,\"width\":201}}", 150, 100, 201,
         90, -26, 5},
        {TYPE("CLIP") ",\"size\":{\"height\":70,\"width\":80},\"do_center_crop\":false}", 80, 70,
         80, 70, 0, 0},
        {TYPE("Bit") ",\"size\":{\"shortest_edge\":256}}", 385, 256, 224, 224, 80, 16},
        {TYPE("ConvNext") "}", 384, 384, 384, 384, 0, 0},
        {TYPE("ConvNext") ",\"size\":224}", 385, 256, 224, 224, 80, 16},
        {TYPE("ConvNext") ",\"size\":{\"shortest_edge\":224},\"crop_pct\":0.95}", 353, 235, 224,
         224, 64, 5},
        {TYPE("Levit") "}", 385, 256, 224, 224, 80, 16},
        {TYPE("PoolFormer") "}", 373, 248, 224, 224, 74, 12},
        {TYPE("PoolFormer") ",\"crop_pct\":null}", 337, 224, 224, 224, 56, 0},
        {TYPE("MobileViT") "}", 337, 224, 256, 256, 40, -16},
        {TYPE("MobileNetV2") "}", 385, 256, 224, 224, 80, 16},
        {TYPE("Segformer") "}", 512, 512, 512, 512, 0, 0},
        {TYPE("DPT") ",\"ensure_multiple_of\":32}", 384, 384, 384, 384, 0, 0},
        {TYPE("Detr") "}", 1204, 800, 1204, 800, 0, 0},
        {TYPE("Detr") ",\"size\":{\"shortest_edge\":800,\"longest_edge\":1000}}", 1000, 664, 1000,
         664, 0, 0},
        {TYPE("Detr") ",\"size\":800,\"max_size\":1000,\"do_pad\":true}", 1000, 664, 1000, 664, 0,
         0},
        {TYPE("Yolos") "}", 1200, 800, 1200, 800, 0, 0},
        {"{\"feature_extractor_type\":\"ViTFeatureExtractor\",\"size\":99}", 99, 99, 99, 99, 0, 0},
        {"{\"image_processor_type\":\"SiglipImageProcessorFast\"}", 224, 224, 224, 224, 0, 0},
        {"{\"pretrained_cfg\":{}}", 385, 256, 224, 224, 80, 16},
        {"{\"pretrained_cfg\":{\"input_size\":[3,224,224],\"crop_pct\":0.9}}", 373, 248, 224, 224,
         74, 12},
        {"{\"pretrained_cfg\":{\"input_size\":[3,111,100],\"crop_pct\":1,\"crop_mode\":\"squash\"}"
         "}",
         100, 111, 100, 111, 0, 0},
        {"{\"pretrained_cfg\":{\"input_size\":[3,100,50],\"crop_pct\":1}}", 150, 100, 50, 100, 50,
         0},
        {"{\"pretrained_cfg\":{\"input_size\":[3,7,7],\"crop_pct\":0.5}}", 21, 14, 7, 7, 7, 4},
        {"{\"architecture\":\"vit\",\"input_size\":[3,32,32],\"crop_pct\":1.0}", 48, 32, 32, 32, 8,
         0},
        {"{\"image_processor_type\":\"TimmWrapperImageProcessor\",\"pretrained_cfg\":{}}", 385, 256,
         224, 224, 80, 16},
    };
    uint8_t *rgb = tb_arena_alloc(arena, 301 * 200 * 3, 1);
    tb_picture picture = {.width = 301, .height = 200, .rgb = rgb};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tiba_error e;
        tb_preprocess how;
        tb_pixels p = {0};
        CHECK_CASE(parse(&how, cases[i].config, &e) == TIBA_OK, "%s: %s", cases[i].config,
                   e.message);
        if (e.code) continue;
        CHECK_CASE(tb_preprocess_run(&p, arena, &how, &picture, &e) == TIBA_OK, "%s", e.message);
        const tb_geometry *g = &p.geometry;
        CHECK_CASE(g->resized_width == cases[i].resized_width &&
                       g->resized_height == cases[i].resized_height && g->width == cases[i].width &&
                       g->height == cases[i].height && g->left == cases[i].left &&
                       g->top == cases[i].top,
                   "%s: %dx%d, input %dx%d at %d, %d", cases[i].config, g->resized_width,
                   g->resized_height, g->width, g->height, g->left, g->top);
        CHECK(p.tensor.dims[2] == g->height && p.tensor.dims[3] == g->width);
    }
}

static void test_refused(void) {
    static const struct {
        const char *config, *part;
    } cases[] = {
        {"", "config"},
        {"[]", "object"},
        {"{}", "image_processor_type: missing"},
        {TYPE("Idefics") "}", "IdeficsImageProcessor"},
        {TYPE("ViT") ",\"do_pan_and_scan\":true}", "do_pan_and_scan"},
        {TYPE("ViT") ",\"do_pad\":true}", "do_pad"},
        {TYPE("Detr") ",\"pad_size\":{\"height\":5,\"width\":5}}", "pad_size"},
        {TYPE("ViT") ",\"size\":{\"shortest_edge\":224}}", "height and width"},
        {TYPE("ViT") ",\"size\":{\"longest_edge\":224}}", "size"},
        {TYPE("ViT") ",\"size\":{\"height\":224}}", "size"},
        {TYPE("ViT") ",\"size\":0}", "size"},
        {TYPE("ViT") ",\"size\":-5}", "size"},
        {TYPE("ViT") ",\"size\":1e30}", "size"},
        {TYPE("ViT") ",\"size\":2.5}", "size"},
        {TYPE("ViT") ",\"size\":\"224\"}", "size"},
        {TYPE("ViT") ",\"size\":[1,2,3]}", "size"},
        {TYPE("ViT") ",\"resample\":6}", "resample"},
        {TYPE("ViT") ",\"resample\":\"area\"}", "area"},
        {TYPE("ViT") ",\"image_mean\":[0.5,0.5]}", "image_mean"},
        {TYPE("ViT") ",\"image_std\":[0.5,0.5,0]}", "image_std"},
        {TYPE("ViT") ",\"image_std\":0}", "image_std"},
        {TYPE("ViT") ",\"do_resize\":\"yes\"}", "do_resize"},
        {TYPE("ViT") ",\"rescale_factor\":\"1/255\"}", "rescale_factor"},
        {TYPE("CLIP") ",\"crop_size\":{\"shortest_edge\":224}}", "crop_size"},
        {TYPE("ConvNext") ",\"size\":{\"height\":224,\"width\":224}}", "shortest_edge"},
        {TYPE("ConvNext") ",\"size\":224,\"crop_pct\":1e-9}", "crop_pct"},
        {TYPE("DPT") ",\"keep_aspect_ratio\":true}", "keep_aspect_ratio"},
        {TYPE("DPT") ",\"ensure_multiple_of\":50}", "ensure_multiple_of"},
        {"{\"pretrained_cfg\":{\"crop_mode\":\"border\"}}", "border"},
        {"{\"pretrained_cfg\":{\"interpolation\":\"random\"}}", "random"},
        {"{\"pretrained_cfg\":{\"input_size\":[1,28,28]}}", "input_size"},
        {"{\"pretrained_cfg\":[]}", "pretrained_cfg"},
        {"{\"image_processor_type\":\"TimmWrapperImageProcessor\"}", "pretrained_cfg"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tiba_error e;
        tb_preprocess how;
        CHECK_CASE(parse(&how, cases[i].config, &e) == TIBA_ERROR_INPUT, "%s", cases[i].config);
        CHECK_CASE(strstr(e.message, cases[i].part), "%s: %s", cases[i].config, e.message);
    }
    /* sizes that a file may ask for and a computer may not be able to give */
    tiba_error e;
    tb_preprocess how;
    tb_pixels pixels;
    uint8_t rgb[3 * 5000] = {0};
    tb_picture strip = {.width = 5000, .height = 1, .rgb = rgb};
    CHECK(parse(&how, TYPE("ViT") ",\"size\":60000}", &e) == TIBA_OK);
    CHECK(tb_preprocess_run(&pixels, arena, &how, &strip, &e) == TIBA_ERROR_INPUT);
    CHECK(strstr(e.message, "60000 x 60000"));
    CHECK(parse(&how, TYPE("CLIP") ",\"do_center_crop\":false}", &e) == TIBA_OK);
    CHECK(tb_preprocess_run(&pixels, arena, &how, &strip, &e) == TIBA_ERROR_INPUT);
    CHECK(parse(&how, TYPE("CLIP") "}", &e) == TIBA_OK);
    CHECK(tb_preprocess_run(&pixels, arena, &how, &strip, &e) == TIBA_OK);
    CHECK(pixels.geometry.resized_width == 1120000);
}

/* Values, by arithmetic that fits on a line. */
static void test_values(void) {
    uint8_t rgb[12] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120};
    tb_picture picture = {.width = 2, .height = 2, .rgb = rgb};
    tiba_error e;
    tb_preprocess how;
    tb_pixels p;
    float *x;
    CHECK(parse(&how, TYPE("MobileViT") ",\"do_resize\":false,\"crop_size\":2}", &e) == TIBA_OK);
    CHECK(tb_preprocess_run(&p, arena, &how, &picture, &e) == TIBA_OK);
    x = p.tensor.data; /* BGR, not normalised */
    CHECK(x[0] == (float)(30 * (1.0 / 255)) && x[4] == (float)(20 * (1.0 / 255)) &&
          x[11] == (float)(100 * (1.0 / 255)));

    CHECK(parse(&how,
                TYPE("ViT") ",\"do_resize\":false,\"do_rescale\":false,\"image_mean\":5,"
                            "\"image_std\":[1,2,4]}",
                &e) == TIBA_OK);
    CHECK(tb_preprocess_run(&p, arena, &how, &picture, &e) == TIBA_OK);
    x = p.tensor.data;
    CHECK(x[0] == 5 && x[4] == 7.5f && x[8] == 6.25f);

    how.channels_last = true;
    CHECK(tb_preprocess_run(&p, arena, &how, &picture, &e) == TIBA_OK);
    x = p.tensor.data;
    CHECK(p.tensor.dims[1] == 2 && p.tensor.dims[3] == 3);
    CHECK(x[0] == 5 && x[1] == 7.5f && x[2] == 6.25f && x[3] == 35);

    /* padding is black before it is normalised */
    CHECK(parse(&how,
                TYPE("CLIP") ",\"do_resize\":false,\"crop_size\":4,\"do_rescale\":false,"
                             "\"image_mean\":1,\"image_std\":1}",
                &e) == TIBA_OK);
    CHECK(tb_preprocess_run(&p, arena, &how, &picture, &e) == TIBA_OK);
    x = p.tensor.data;
    CHECK(x[0] == -1 && x[5] == 9 && x[10] == 99 && x[15] == -1 && p.geometry.left == -1);

    /* floats are resized without rounding: two columns averaged */
    CHECK(parse(&how,
                "{\"image_processor_type\":\"DINOv3ViTImageProcessorFast\",\"size\":{"
                "\"height\":1,\"width\":1},\"do_normalize\":false,\"resample\":4}",
                &e) == TIBA_OK);
    rgb[3] = 41;
    CHECK(tb_preprocess_run(&p, arena, &how, &picture, &e) == TIBA_OK);
    x = p.tensor.data;
    CHECK_NEAR(x[0] * 255, (10 + 41 + 70 + 100) / 4.0, 1e-4);
}

static void test_options(void) {
    tiba_error e;
    tb_preprocess how;
    char text[200];
    CHECK(parse(&how, TYPE("CLIP") "}", &e) == TIBA_OK);
    static const char *const good[][2] = {{"size", "100"},         {"crop", "90x80"},
                                          {"mean", "0.1,0.2,-3"},  {"std", "2"},
                                          {"resample", "lanczos"}, {"layout", "nhwc"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CHECK_CASE(tb_preprocess_override(&how, good[i][0], good[i][1], &e) == TIBA_OK, "%s",
                   e.message);
    CHECK(how.resize == TB_RESIZE_SHORTEST && how.height == 100 && how.crop_height == 90 &&
          how.crop_width == 80 && how.mean[2] == -3 && how.std[2] == 2 &&
          how.filter == TB_FILTER_LANCZOS && how.channels_last);
    CHECK_STRING(tb_preprocess_describe(text, sizeof text, &how),
                 "shorter edge to 100 (lanczos), centre crop 90x80, mean 0.1,0.2,-3 std 2,2,2");
    CHECK(tb_preprocess_override(&how, "size", "30x40", &e) == TIBA_OK);
    CHECK(how.resize == TB_RESIZE_EXACT && how.height == 30 && how.width == 40);
    CHECK(tb_preprocess_override(&how, "crop", "none", &e) == TIBA_OK && !how.crop);
    CHECK(tb_preprocess_override(&how, "resample", "0", &e) == TIBA_OK &&
          how.filter == TB_FILTER_NEAREST);
    static const char *const bad[][2] = {
        {"size", ""},        {"size", "0"},         {"size", "x5"},      {"size", "5x"},
        {"size", "5x5x5"},   {"size", "99999999"},  {"crop", "nothing"}, {"mean", "1,2"},
        {"mean", "1,2,3,4"}, {"mean", "nan"},       {"std", "0"},        {"std", "1,,2"},
        {"resample", "6"},   {"resample", "cubic"}, {"layout", "hwc"},   {"scale", "5"}};
    tb_preprocess before = how;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_CASE(tb_preprocess_override(&how, bad[i][0], bad[i][1], &e) == TIBA_ERROR_USAGE,
                   "--%s %s", bad[i][0], bad[i][1]);
    CHECK(memcmp(&before, &how, sizeof how) == 0);
}

static void write_text(const char *path, const char *text) {
    CHECK(tb_file_write(path, text, strlen(text), NULL) == TIBA_OK);
}

/* Which file of a folder counts, and what is done without any. */
static void test_folders(void) {
    char folder[] = "test_preprocess.XXXXXX", config[64], own[64], processor[64];
    tiba_error e = {0};
    tb_preprocess how;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(config, sizeof config, "%s/config.json", folder);
    snprintf(own, sizeof own, "%s/preprocessor_config.json", folder);
    snprintf(processor, sizeof processor, "%s/processor_config.json", folder);
    CHECK(tb_preprocess_load(&how, arena, folder, 0, 0, &e) == TIBA_ERROR_INPUT);
    CHECK(tb_preprocess_load(&how, arena, folder, 48, 64, &e) == TIBA_OK);
    CHECK(how.guessed && how.height == 48 && how.width == 64 && how.mean[1] == 0.5f);
    write_text(config, "{\"model_type\":\"clip\",\"vision_config\":{\"image_size\":336}}");
    CHECK(tb_preprocess_load(&how, arena, folder, 0, 0, &e) == TIBA_OK);
    CHECK(how.guessed && how.height == 336);
    write_text(processor, "{\"image_processor\":{\"size\":{\"shortest_edge\":100}}}");
    CHECK(tb_preprocess_load(&how, arena, folder, 0, 0, &e) == TIBA_OK);
    CHECK(!how.guessed && how.resize == TB_RESIZE_SHORTEST && how.height == 100 && how.crop);
    CHECK_STRING(how.type, "CLIPImageProcessor");
    write_text(own, "{\"image_processor_type\":\"ViTImageProcessor\",\"size\":50}");
    CHECK(tb_preprocess_load(&how, arena, folder, 0, 0, &e) == TIBA_OK);
    CHECK(!how.guessed && how.resize == TB_RESIZE_EXACT && how.height == 50);
    write_text(own, "{\"size\":50}");
    write_text(config, "{\"model_type\":\"gpt2\"}");
    CHECK(tb_preprocess_load(&how, arena, folder, 0, 0, &e) == TIBA_ERROR_INPUT);
    CHECK_CASE(strstr(e.message, "gpt2"), "%s", e.message);
    write_text(own, "{");
    CHECK(tb_preprocess_load(&how, arena, folder, 0, 0, &e) == TIBA_ERROR_INPUT);
    CHECK_CASE(strstr(e.message, "preprocessor_config.json"), "%s", e.message);
    remove(own);
    remove(processor);
    write_text(config, "{\"pretrained_cfg\":{\"input_size\":[3,64,64]}}");
    CHECK(tb_preprocess_load(&how, arena, folder, 5, 5, &e) == TIBA_OK && how.crop_width == 64);
    remove(config);
    remove(folder);
}

int main(void) {
    void (*const tests[])(void) = {test_reference, test_sizes,   test_refused,
                                   test_values,    test_options, test_folders};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        arena = tb_arena_create(NULL);
        tests[i]();
        tb_arena_destroy(arena);
    }
    TEST_END();
}
