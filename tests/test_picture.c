/* Decoding: against Pillow's pixels, orientation, the raw formats, and files that lie. */
#include "tests/check.h"

#include "io/json.h"
#include "io/picture_write.h"
#include "tests/pictures.h"
#include "tests/support.h"

static tb_arena *arena;
static tb_budget budget = {.limit = (size_t)256 << 20};

static tiba_status decode(tb_picture *out, const void *bytes, size_t size, tiba_error *error) {
    *error = (tiba_error){0};
    return tb_picture_decode(out, arena, bytes, size, 0, error);
}

/* A copy of a file with `extra` put in at `at`. */
static uint8_t *insert(size_t *size, const uint8_t *bytes, size_t n, size_t at, const void *extra,
                       size_t extra_size) {
    uint8_t *copy = tb_arena_alloc(arena, n + extra_size, 1);
    memcpy(copy, bytes, at);
    memcpy(copy + at, extra, extra_size);
    memcpy(copy + at + extra_size, bytes + at, n - at);
    *size = n + extra_size;
    return copy;
}

/* Sums of all pixels and some pixels, as pictures.json has them. */
static void check_picture(const char *root, const tb_json *entry) {
    char path[1200];
    tiba_error e = {0};
    tb_picture p = {0};
    bool png = strstr(entry->key, ".png");
    snprintf(path, sizeof path, "%s/pictures/%s", root, entry->key);
    CHECK_CASE(tb_picture_read(&p, arena, path, 0, &e) == TIBA_OK, "%s", e.message);
    if (!p.rgb) return;
    tb_json size = tb_json_get(entry, "after_exif_transpose_rgb_size_wh");
    tb_json sums = tb_json_get(entry, "rgb_channel_sums");
    tb_json samples = tb_json_get(entry, "rgb_samples_y_x_r_g_b");
    double want[3] = {0}, wh[2] = {0};
    int n = 0;
    for (tb_json i = {0}; tb_json_next(&i, &size); n++) tb_json_as_number(&wh[n], &i, NULL);
    CHECK_CASE(p.width == (int)wh[0] && p.height == (int)wh[1], "%s", entry->key);
    n = 0;
    for (tb_json i = {0}; tb_json_next(&i, &sums); n++) tb_json_as_number(&want[n], &i, NULL);
    double pixels = (double)p.width * p.height, got[3] = {0};
    for (size_t i = 0; i < (size_t)pixels; i++)
        for (int c = 0; c < 3; c++) got[c] += p.rgb[3 * i + (size_t)c];
    for (int c = 0; c < 3; c++)
        CHECK_CASE(fabs(got[c] - want[c]) <= (png ? 0.0 : 0.5 * pixels), "%s channel %d: %g for %g",
                   entry->key, c, got[c], want[c]);
    for (tb_json s = {0}; tb_json_next(&s, &samples);) {
        double v[5] = {0};
        n = 0;
        for (tb_json i = {0}; tb_json_next(&i, &s); n++) tb_json_as_number(&v[n], &i, NULL);
        const uint8_t *at = p.rgb + 3 * ((size_t)v[0] * (size_t)p.width + (size_t)v[1]);
        for (int c = 0; c < 3; c++)
            CHECK_CASE(fabs(at[c] - v[2 + c]) <= (png ? 0 : 4), "%s (%g, %g): %d for %g",
                       entry->key, v[1], v[0], at[c], v[2 + c]);
    }
}

static void test_reference(void) {
    for (int r = 0; picture_root(r); r++) {
        char path[1200];
        tb_json root;
        snprintf(path, sizeof path, "%s/pictures.json", picture_root(r));
        CHECK(tb_json_read(&root, arena, path, NULL, NULL) == TIBA_OK);
        for (tb_json entry = {0}; tb_json_next(&entry, &root);)
            check_picture(picture_root(r), &entry);
    }
}

/* Where the pixel shown at (x, y) is stored, from EXIF's definition of each orientation. */
static void stored_at(int *sx, int *sy, int orientation, int x, int y, int w, int h) {
    static const char *const rule[9] = {"", "xy", "Xy", "XY", "xY", "yx", "yX", "YX", "Yx"};
    /* the k-th letter says which shown coordinate, mirrored if a capital, the stored one is */
    for (int k = 0; k < 2; k++) {
        char letter = rule[orientation][k];
        int value = letter == 'x' || letter == 'X' ? x : y, last = k == 0 ? w - 1 : h - 1;
        *(k == 0 ? sx : sy) = letter == 'X' || letter == 'Y' ? last - value : value;
    }
}

static void check_turned(const uint8_t *file, size_t size, const tb_picture *stored,
                         int orientation) {
    tb_picture p;
    tiba_error e;
    CHECK_CASE(decode(&p, file, size, &e) == TIBA_OK, "%s", e.message);
    int w = stored->width, h = stored->height, wrong = 0;
    CHECK(p.width == (orientation < 5 ? w : h) && p.height == (orientation < 5 ? h : w));
    for (int y = 0; y < p.height; y++)
        for (int x = 0; x < p.width; x++) {
            int sx, sy;
            stored_at(&sx, &sy, orientation, x, y, w, h);
            wrong += memcmp(p.rgb + 3 * (y * p.width + x), stored->rgb + 3 * (sy * w + sx), 3) != 0;
        }
    CHECK_CASE(wrong == 0, "orientation %d: %d pixels", orientation, wrong);
}

static void test_orientation(void) {
    uint8_t pixels[5 * 3 * 3], *png;
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 5);
    tb_picture stored = {.width = 5, .height = 3, .rgb = pixels};
    size_t png_size, size;
    CHECK(tb_picture_encode_png(&png, &png_size, arena, &stored, NULL) == TIBA_OK);
    for (int o = 1; o <= 8; o++) {
        uint8_t little[] = "\0\0\0\x1a"
                           "eXIfII*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0?\0\0\0\0\0\0\0crc";
        uint8_t big[] = "\0\0\0\x1a"
                        "eXIfMM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0?\0\0\0\0\0\0crc";
        little[26] = (uint8_t)o;
        big[27] = (uint8_t)o;
        char xmp[] = "\0\0\0\x2f"
                     "iTXtXML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation=\"?\"/>crc";
        *strchr(xmp + 45, '?') = (char)('0' + o);
        uint8_t *file = insert(&size, png, png_size, 33, little, 38);
        check_turned(file, size, &stored, o);
        file = insert(&size, png, png_size, 33, big, 38);
        check_turned(file, size, &stored, o);
        file = insert(&size, png, png_size, 33, xmp, 47 + 12);
        check_turned(file, size, &stored, o);
    }
    /* no orientation, or one that does not exist */
    static const int none[] = {0, 9, 255};
    for (int i = 0; i < 3; i++) {
        uint8_t exif[] = "\0\0\0\x1a"
                         "eXIfII*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0?\0\0\0\0\0\0\0crc";
        exif[26] = (uint8_t)none[i];
        uint8_t *file = insert(&size, png, png_size, 33, exif, 38);
        check_turned(file, size, &stored, 1);
    }
}

static void test_raw_formats(void) {
    static const uint8_t ppm[] = "P6\n# two\n2 1\n255\n\1\2\3\4\5\6";
    static const uint8_t pgm[] = "P5 2 1 255\n\7\x08";
    static const uint8_t bmp24[] =
        "BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\1\0\0\0\2\0\0\0\1\0\x18\0"
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "\3\2\1\0\6\5\4\0";
    static const uint8_t bmp1[] = "BM\0\0\0\0\0\0\0\0\x3e\0\0\0\x28\0\0\0\3\0\0\0\xff\xff\xff\xff"
                                  "\1\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                  "\3\2\1\0\6\5\4\0\xa0\0\0\0";
    tb_picture p;
    tiba_error e;
    CHECK(decode(&p, ppm, sizeof ppm - 1, &e) == TIBA_OK && p.width == 2 && p.height == 1);
    CHECK(memcmp(p.rgb, "\1\2\3\4\5\6", 6) == 0);
    CHECK(decode(&p, pgm, sizeof pgm - 1, &e) == TIBA_OK);
    CHECK(memcmp(p.rgb, "\7\7\7\x08\x08\x08", 6) == 0);
    CHECK(decode(&p, bmp24, sizeof bmp24 - 1, &e) == TIBA_OK && p.width == 1 && p.height == 2);
    CHECK(memcmp(p.rgb, "\4\5\6\1\2\3", 6) == 0);
    CHECK(decode(&p, bmp1, sizeof bmp1 - 1, &e) == TIBA_OK && p.width == 3 && p.height == 1);
    CHECK(memcmp(p.rgb, "\4\5\6\1\2\3\4\5\6", 9) == 0);
    CHECK(decode(&p, ppm, sizeof ppm - 2, &e) == TIBA_ERROR_INPUT &&
          strstr(e.message, "truncated"));
    CHECK(decode(&p, bmp24, sizeof bmp24 - 3, &e) == TIBA_ERROR_INPUT);
}

static void test_refused(void) {
    static const struct {
        const char *bytes;
        size_t size;
        const char *part;
    } cases[] = {
        {"", 0, "known format"},
        {"hello", 5, "known format"},
        {"GIF89a...", 9, "GIF"},
        {"RIFF....WEBPVP8 ", 16, "WebP"},
        {"II*\0....", 8, "TIFF"},
        {"\0\0\0\x1c"
         "ftypavif",
         12, "AVIF"},
        {"\0\0\0\x1c"
         "ftypheic",
         12, "HEIF"},
        {"\xff\xd8\xff", 3, "truncated JPEG"},
        {"\xff\xd8\xff\xd9", 4, "without image data"},
        {"\xff\xd8\xff\xc9\0\x0b\x08\0\1\0\1\1\1\x11\0", 15, "arithmetic"},
        {"\xff\xd8\xff\xc3\0\x0b\x08\0\1\0\1\1\1\x11\0", 15, "lossless"},
        {"\xff\xd8\xff\xc0\0\x0b\x0c\0\1\0\1\1\1\x11\0", 15, "12-bit"},
        {"\xff\xd8\xff\xc0\0\x11\x08\x75\x30\x75\x30\3\1\x11\0\2\x11\0\3\x11\0", 21, "limit"},
        {"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\1\1\1\x11\0", 15, "1 x 0"},
        {"\xff\xd8\xff\xc4\0\x13\0\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 23, "Huffman"},
        {"\xff\xd8\xff\xc4\0\3\0\xff\xff\xff\xff\xff", 12, "Huffman"},
        {"\xff\xd8\xff\xc0\0\x0b\x08\x30\0\x30\0\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9", 27,
         "cannot hold"},
        {"\x89PNG\r\n\x1a\n", 8, "truncated PNG"},
        {"P6\n30000 30000\n255\n", 19, "limit"},
        {"P6\n3 3\n65535\n", 13, "65535"},
        {"P6\n-3 3\n255\n", 12, "header"},
        {"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", 18, "truncated BMP"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tb_picture p;
        tiba_error e;
        CHECK_CASE(decode(&p, cases[i].bytes, cases[i].size, &e) == TIBA_ERROR_INPUT, "case %zu",
                   i);
        CHECK_CASE(strstr(e.message, cases[i].part), "case %zu: %s", i, e.message);
    }
}

static uint32_t crc_of(const uint8_t *bytes, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* A PNG that claims to be w x h, with the image data of a small one. */
static void test_bombs(void) {
    uint8_t pixels[3] = {1, 2, 3}, *png;
    tb_picture p, one = {.width = 1, .height = 1, .rgb = pixels};
    size_t size;
    tiba_error e;
    CHECK(tb_picture_encode_png(&png, &size, arena, &one, NULL) == TIBA_OK);
    static const struct {
        uint32_t w, h;
        const char *part;
    } cases[] = {{30000, 30000, "limit"},       {0x7fffffff, 0x7fffffff, "limit"},
                 {0xffffffff, 1, "corrupt"},    {0, 5, "0 x 5"},
                 {13000, 13000, "cannot hold"}, {2, 1, "corrupt"},
                 {600, 600, "cannot hold"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int k = 0; k < 4; k++) {
            png[16 + k] = (uint8_t)(cases[i].w >> (24 - 8 * k));
            png[20 + k] = (uint8_t)(cases[i].h >> (24 - 8 * k));
        }
        uint32_t crc = crc_of(png + 12, 17);
        for (int k = 0; k < 4; k++) png[29 + k] = (uint8_t)(crc >> (24 - 8 * k));
        size_t before = atomic_load(&budget.used);
        atomic_store(&budget.peak, before);
        CHECK_CASE(decode(&p, png, size, &e) == TIBA_ERROR_INPUT, "case %zu", i);
        CHECK_CASE(strstr(e.message, cases[i].part), "case %zu: %s", i, e.message);
        size_t took = atomic_load(&budget.peak) - before;
        CHECK_CASE(took < (4 << 20), "case %zu took %zu", i, took);
    }
    /* the caller's own limits */
    CHECK(tb_picture_decode(&p, arena, png, size, 1, &e) == TIBA_ERROR_INPUT);
    CHECK(tb_picture_read(&p, arena, "no/such.png", 0, &e) == TIBA_ERROR_INPUT);
    CHECK(strstr(e.message, "no/such.png"));
}

/* Each progressive scan costs a walk over the whole picture. */
static void test_scans(void) {
    static const uint8_t head[] = "\xff\xd8\xff\xc2\0\x0b\x08\0\1\0\1\1\1\x11\0",
                         scan[] = "\xff\xda\0\x08\1\1\0\0\x3f\0";
    const size_t start = sizeof head - 1, length = sizeof scan - 1;
    uint8_t *file = tb_arena_alloc(arena, start + 1001 * length, 1);
    memcpy(file, head, start);
    for (size_t i = 0; i < 1001; i++) memcpy(file + start + i * length, scan, length);
    tb_picture p;
    tiba_error e;
    CHECK(decode(&p, file, start + 1001 * length, &e) == TIBA_ERROR_INPUT);
    CHECK_CASE(strstr(e.message, "1001 scans"), "%s", e.message);
}

/* Cut anywhere a file must be refused; with bytes changed it must not do harm. */
static void test_damaged(void) {
    static const char *const names[] = {"grey.jpg", "palette_transparent.png", "bilevel.png",
                                        "grey16.png"};
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[600];
        tb_file file;
        tb_picture p;
        tiba_error e;
        snprintf(path, sizeof path, TEST_DATA "/img/pictures/%s", names[i]);
        CHECK(tb_file_open(&file, path, NULL) == TIBA_OK);
        uint8_t *copy = tb_alloc(NULL, file.size);
        for (size_t n = 0; n < file.size; n += 1 + file.size / 400) {
            CHECK_CASE(decode(&p, file.data, n, &e) == TIBA_ERROR_INPUT, "%s cut to %zu", names[i],
                       n);
            CHECK(e.message[0]);
        }
        for (int round = 0; round < 300; round++) {
            memcpy(copy, file.data, file.size);
            for (int k = 0; k < 1 + round % 8; k++)
                copy[(size_t)(test_uniform(&seed) * (double)file.size)] =
                    (uint8_t)(test_uniform(&seed) * 256);
            tiba_status status = decode(&p, copy, file.size, &e);
            CHECK(status == TIBA_OK || (status == TIBA_ERROR_INPUT && e.message[0]));
        }
        tb_free(copy);
        tb_file_close(&file);
    }
}

static void test_budget(void) {
    tb_budget small = {.limit = 40000};
    tb_arena *tight = tb_arena_create(&small);
    tb_picture p;
    tiba_error e = {0};
    CHECK(tb_picture_read(&p, tight, TEST_DATA "/img/pictures/grey.jpg", 0, &e) ==
          TIBA_ERROR_RESOURCE);
    tb_arena_destroy(tight);
    CHECK(small.used == 0);
}

static void test_sniff(void) {
    CHECK(tb_picture_sniff((const uint8_t *)"\xff\xd8\xff\xe0", 4));
    CHECK(tb_picture_sniff((const uint8_t *)"\x89PNG\r\n\x1a\n", 8));
    CHECK(tb_picture_sniff((const uint8_t *)"GIF89a", 6));
    CHECK(tb_picture_sniff((const uint8_t *)"P6\n1 1\n255\nabc", 14));
    CHECK(!tb_picture_sniff((const uint8_t *)"P5 was a psychedelic", 2));
    CHECK(!tb_picture_sniff((const uint8_t *)"BMW builds cars, and they are fast", 34));
    CHECK(!tb_picture_sniff((const uint8_t *)"a film", 6));
}

int main(void) {
    void (*const tests[])(void) = {test_reference, test_orientation, test_raw_formats,
                                   test_refused,   test_bombs,       test_scans,
                                   test_damaged,   test_budget,      test_sniff};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        arena = tb_arena_create(&budget);
        tests[i]();
        tb_arena_destroy(arena);
        CHECK_CASE(budget.used == 0, "test %zu leaks", i);
    }
    TEST_END();
}
