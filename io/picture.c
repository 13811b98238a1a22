/*
 * picture.c: tells the format by its first bytes, has it inspected, decodes it and turns it
 * upright. This is the one file that stb_image is compiled in; its allocations count against a
 * budget made for the picture at hand, so a file that lies about its size cannot take more.
 */
#include "io/picture.h"

#include <string.h>

#include "base/file.h"
#include "io/picture_formats.h"

#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_ASSERT(condition)    ((void)0)
#define STBI_MALLOC(size)         tb_hook_malloc(size)
#define STBI_REALLOC(block, size) tb_hook_realloc(block, size)
#define STBI_FREE(block)          tb_hook_free(block)
#include <stb/stb_image.h>

typedef tiba_status inspect_function(tb_picture_info *, tb_budget *, const uint8_t *, size_t,
                                     int64_t, tiba_error *);

static const struct {
    const char *magic;
    size_t offset, length;
    const char *name;
    inspect_function *inspect; /* NULL: known by sight only */
} formats[] = {
    {"\xff\xd8\xff", 0, 3, "JPEG", tb_jpeg_inspect},
    {"\x89PNG\r\n\x1a\n", 0, 8, "PNG", tb_png_inspect},
    {"P5", 0, 2, "PGM", tb_pnm_inspect},
    {"P6", 0, 2, "PPM", tb_pnm_inspect},
    {"GIF8", 0, 4, "GIF", NULL},
    {"WEBP", 8, 4, "WebP", NULL},
    {"II*\0", 0, 4, "TIFF", NULL},
    {"MM\0*", 0, 4, "TIFF", NULL},
    {"ftypavif", 4, 8, "AVIF", NULL},
    {"ftyphei", 4, 7, "HEIF", NULL},
    {"ftypmif1", 4, 8, "HEIF", NULL},
    {"\0\0\0\x0cjP  ", 0, 8, "JPEG 2000", NULL},
    {"\xff\x4f\xff\x51", 0, 4, "JPEG 2000", NULL},
    {"\xff\x0a", 0, 2, "JPEG XL", NULL},
    {"\0\0\0\x0cJXL ", 0, 8, "JPEG XL", NULL},
    {"8BPS", 0, 4, "Photoshop", NULL},
    {"\0\0\1\0", 0, 4, "icon", NULL},
    {"BM", 0, 2, "BMP", tb_bmp_inspect},
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

static int find_format(const uint8_t *bytes, size_t size) {
    for (int i = 0; i < FORMATS; i++)
        if (size >= formats[i].offset + formats[i].length &&
            memcmp(bytes + formats[i].offset, formats[i].magic, formats[i].length) == 0)
            return i;
    return -1;
}

bool tb_picture_sniff(const uint8_t *bytes, size_t size) {
    int format = find_format(bytes, size);
    if (format < 0) return false;
    /* two letters can begin a text too: see whether what follows is a header */
    if (formats[format].length > 2) return true;
    if (bytes[0] == 'P') return size > 2 && (bytes[2] == '\n' || bytes[2] == ' ') && size > 8;
    return bytes[0] == 0xff || (size >= 26 && tb_read_le(bytes + 6, 4) == 0);
}

tiba_status tb_picture_check_size(int64_t width, int64_t height, int64_t max_pixels,
                                  tiba_error *error) {
    if (width < 1 || height < 1)
        return tb_fail(error, TIBA_ERROR_INPUT, "a picture of %lld x %lld pixels", (long long)width,
                       (long long)height);
    if (width > INT32_MAX || height > INT32_MAX || width * height > max_pixels)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "a picture of %lld x %lld pixels is over the limit of %lld pixels",
                       (long long)width, (long long)height, (long long)max_pixels);
    return TIBA_OK;
}

static tiba_status decode_stb(uint8_t *rgb, bool *clipped, const tb_picture_info *info,
                              tb_budget *budget, const uint8_t *bytes, size_t size,
                              tiba_error *error) {
    if (size > INT32_MAX) return tb_fail(error, TIBA_ERROR_INPUT, "picture file over 2 GiB");
    /* what decoding may take, further bounded by what is left of the caller's budget */
    size_t used = budget ? atomic_load(&budget->used) : 0;
    size_t left = budget && budget->limit
                      ? budget->limit - (used < budget->limit ? used : budget->limit)
                      : SIZE_MAX;
    size_t need = info->decode_bytes + (1 << 20);
    tb_budget own = {.limit = need < left ? need : left > 0 ? left : 1};
    tb_budget *former = tb_budget_enter(&own);
    int width = 0, height = 0, channels;
    size_t pixels = (size_t)(info->width * info->height);
    void *decoded =
        info->grey16
            ? (void *)stbi_load_16_from_memory(bytes, (int)size, &width, &height, &channels, 1)
            : (void *)stbi_load_from_memory(bytes, (int)size, &width, &height, &channels, 3);
    tb_budget_enter(former);
    if (!decoded) {
        const char *reason = stbi_failure_reason();
        bool memory = reason && strcmp(reason, "outofmem") == 0;
        if (memory && left < need) return tb_out_of_memory(error);
        return tb_fail(error, TIBA_ERROR_INPUT, "corrupt picture (%s)",
                       memory   ? "more data than its size calls for"
                       : reason ? reason
                                : "unknown reason");
    }
    bool same = width == info->width && height == info->height;
    if (same && !info->grey16) memcpy(rgb, decoded, pixels * 3);
    if (same && info->grey16) {
        const uint16_t *grey = decoded;
        for (size_t i = 0; i < pixels; i++) {
            memset(rgb + 3 * i, grey[i] < 255 ? grey[i] : 255, 3);
            *clipped |= grey[i] > 255;
        }
    }
    tb_free(decoded);
    return same ? TIBA_OK : tb_fail(error, TIBA_ERROR_INPUT, "corrupt picture (size)");
}

/* For each orientation: does the picture's x run along the stored y, and are the stored x and y
 * walked backwards? */
static void turn_upright(tb_picture *out, const uint8_t *stored, const tb_picture_info *info) {
    static const struct {
        bool swap, back_x, back_y;
    } turns[9] = {{0, 0, 0}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1},
                  {1, 0, 0}, {1, 0, 1}, {1, 1, 1}, {1, 1, 0}};
    int64_t w = info->width, h = info->height;
    bool swap = turns[info->orientation].swap;
    int64_t step_x = turns[info->orientation].back_x ? -1 : 1;
    int64_t step_y = turns[info->orientation].back_y ? -w : w;
    const uint8_t *start = stored + 3 * ((step_x < 0 ? w - 1 : 0) + (step_y < 0 ? (h - 1) * w : 0));
    uint8_t *to = out->rgb;
    for (int64_t y = 0; y < out->height; y++) {
        const uint8_t *from = start + 3 * y * (swap ? step_x : step_y);
        for (int64_t x = 0; x < out->width; x++, to += 3, from += 3 * (swap ? step_y : step_x))
            memcpy(to, from, 3);
    }
}

static tiba_status decode_inspected(tb_picture *out, tb_arena *arena, const tb_picture_info *info,
                                    const uint8_t *bytes, size_t size, tiba_error *error) {
    bool turned = info->orientation >= 2 && info->orientation <= 8;
    tb_budget *budget = tb_arena_budget(arena);
    size_t count = (size_t)(info->width * info->height) * 3;
    tb_picture picture = {.width = (int)info->width, .height = (int)info->height};
    if (turned && info->orientation >= 5) {
        picture.width = (int)info->height;
        picture.height = (int)info->width;
    }
    picture.rgb = tb_arena_alloc(arena, count, 1);
    uint8_t *stored = turned ? tb_alloc(budget, count) : picture.rgb;
    tiba_status status = TIBA_OK;
    if (!picture.rgb || !stored)
        status = tb_out_of_memory(error);
    else if (info->raw.bits)
        tb_raw_unpack(stored, info, bytes);
    else
        status =
            decode_stb(stored, &picture.clipped, info, budget, info->clean ? info->clean : bytes,
                       info->clean ? info->clean_size : size, error);
    if (status == TIBA_OK && turned) turn_upright(&picture, stored, info);
    if (turned) tb_free(stored);
    if (status == TIBA_OK) *out = picture;
    return status;
}

tiba_status tb_picture_decode(tb_picture *out, tb_arena *arena, const uint8_t *bytes, size_t size,
                              int64_t max_pixels, tiba_error *error) {
    int format = find_format(bytes, size);
    if (format < 0) return tb_fail(error, TIBA_ERROR_INPUT, "not a picture of a known format");
    if (!formats[format].inspect)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "%s pictures are not supported (JPEG, PNG, BMP, PGM and PPM are)",
                       formats[format].name);
    /* an upper bound on what a caller may allow keeps every size below overflow */
    if (max_pixels <= 0 || max_pixels > INT32_MAX) max_pixels = TB_PICTURE_MAX_PIXELS;
    tb_picture_info info = {0};
    tiba_status status =
        formats[format].inspect(&info, tb_arena_budget(arena), bytes, size, max_pixels, error);
    if (status == TIBA_OK) status = decode_inspected(out, arena, &info, bytes, size, error);
    tb_free(info.clean);
    return status;
}

tiba_status tb_picture_read(tb_picture *out, tb_arena *arena, const char *path, int64_t max_pixels,
                            tiba_error *error) {
    tb_file file;
    TB_TRY(tb_file_open(&file, path, error));
    tiba_status status = tb_picture_decode(out, arena, file.data, file.size, max_pixels, error);
    tb_file_close(&file);
    return status == TIBA_OK ? status : tb_error_prefix(error, status, path);
}
