/*
 * picture_png.c: walks a PNG file's chunks, checks their lengths, order and CRCs, and makes the
 * copy that is decoded: header, palette (filled up with black, so that no index is out of range),
 * image data. Everything else is left out; transparency, which is dropped anyway, included.
 */
#include <string.h>

#include "io/picture_formats.h"

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    /* the CRC of each nibble under the reflected polynomial 0xedb88320 */
    static const uint32_t nibble[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

typedef struct walk {
    size_t header, palette, palette_size, data_size; /* offsets and sizes of chunk contents */
    int orientation, xmp_orientation, depth, type;
    bool interlaced, ended_data;
} walk;

static tiba_status read_header(tb_picture_info *out, walk *w, const uint8_t *d, size_t size,
                               int64_t max_pixels, tiba_error *error) {
    if (w->header || size != 13) return tb_fail(error, TIBA_ERROR_INPUT, "corrupt PNG header");
    out->width = tb_read_be(d, 4);
    out->height = tb_read_be(d + 4, 4);
    w->depth = d[8];
    w->type = d[9];
    w->interlaced = d[12] == 1;
    bool sound = d[10] == 0 && d[11] == 0 && d[12] <= 1;
    bool low = w->depth == 1 || w->depth == 2 || w->depth == 4, high = w->depth == 16;
    if (w->type == GREY)
        sound = sound && (low || high || w->depth == 8);
    else if (w->type == PALETTE)
        sound = sound && (low || w->depth == 8);
    else
        sound = sound && (high || w->depth == 8) &&
                (w->type == RGB || w->type == GREY_ALPHA || w->type == RGB_ALPHA);
    if (!sound || out->width > INT32_MAX || out->height > INT32_MAX)
        return tb_fail(error, TIBA_ERROR_INPUT, "corrupt PNG header");
    return tb_picture_check_size(out->width, out->height, max_pixels, error);
}

static void read_international_text(walk *w, const uint8_t *d, size_t size) {
    static const char key[] = "XML:com.adobe.xmp";
    /* key, compression flag and method; compressed packets are not looked into */
    if (size > sizeof key + 2 && memcmp(d, key, sizeof key) == 0 && d[sizeof key] == 0)
        w->xmp_orientation = tb_xmp_orientation(d + sizeof key, size - sizeof key);
}

static tiba_status read_chunk(tb_picture_info *out, walk *w, const uint8_t *bytes, size_t at,
                              size_t size, int64_t max_pixels, tiba_error *error) {
    const uint8_t *name = bytes + at - 4, *d = bytes + at;
    bool critical = !(name[0] & 0x20);
    if (critical && crc32_of(name, size + 4) != tb_read_be(d + size, 4))
        return tb_fail(error, TIBA_ERROR_INPUT, "corrupt PNG picture: wrong checksum");
    if (!w->header && memcmp(name, "IHDR", 4) != 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "PNG picture without a header");
    if (memcmp(name, "IHDR", 4) == 0) {
        TB_TRY(read_header(out, w, d, size, max_pixels, error));
        w->header = at;
    } else if (memcmp(name, "PLTE", 4) == 0) {
        if (w->palette || size == 0 || size > 768 || size % 3 != 0)
            return tb_fail(error, TIBA_ERROR_INPUT, "corrupt PNG palette");
        w->palette = at;
        w->palette_size = size;
    } else if (memcmp(name, "IDAT", 4) == 0) {
        if (w->ended_data || (w->type == PALETTE && !w->palette))
            return tb_fail(error, TIBA_ERROR_INPUT, "corrupt PNG picture: chunks out of order");
        w->data_size += size;
    } else if (memcmp(name, "eXIf", 4) == 0) {
        w->orientation = tb_exif_orientation(d, size);
    } else if (memcmp(name, "iTXt", 4) == 0) {
        read_international_text(w, d, size);
    } else if (critical && memcmp(name, "IEND", 4) != 0) {
        return tb_fail(error, TIBA_ERROR_INPUT, "PNG picture with an unknown chunk '%.4s'", name);
    }
    if (w->data_size && memcmp(name, "IDAT", 4) != 0) w->ended_data = true;
    return TIBA_OK;
}

static uint8_t *append_chunk(uint8_t *to, const char *name, const uint8_t *data, size_t size,
                             size_t padded) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(padded >> (24 - 8 * i));
    memcpy(to + 4, name, 4);
    if (size) memcpy(to + 8, data, size);
    memset(to + 8 + size, 0, padded - size + 4); /* stb_image does not look at the CRC */
    return to + 12 + padded;
}

static tiba_status clean_copy(tb_picture_info *out, const walk *w, tb_budget *budget,
                              const uint8_t *bytes, tiba_error *error) {
    size_t total = 8 + (12 + 13) + (12 + 768) + (12 + w->data_size) + 12;
    uint8_t *to = out->clean = tb_alloc(budget, total);
    if (!to) return tb_out_of_memory(error);
    memcpy(to, bytes, 8);
    to = append_chunk(to + 8, "IHDR", bytes + w->header, 13, 13);
    if (w->type == PALETTE) to = append_chunk(to, "PLTE", bytes + w->palette, w->palette_size, 768);
    /* all image data in one chunk: an empty one, whose length is put right */
    uint8_t *data = append_chunk(to, "IDAT", NULL, 0, 0) - 4;
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(w->data_size >> (24 - 8 * i));
    for (size_t at = 8;;) { /* the walk has checked every length */
        size_t size = tb_read_be(bytes + at, 4);
        if (memcmp(bytes + at + 4, "IEND", 4) == 0) break;
        if (memcmp(bytes + at + 4, "IDAT", 4) == 0) {
            memcpy(data, bytes + at + 8, size);
            data += size;
        }
        at += 12 + size;
    }
    memset(data, 0, 4);
    to = append_chunk(data + 4, "IEND", NULL, 0, 0);
    out->clean_size = (size_t)(to - out->clean);
    return TIBA_OK;
}

tiba_status tb_png_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                           size_t size, int64_t max_pixels, tiba_error *error) {
    walk w = {0};
    for (size_t at = 8;;) {
        if (size - at < 12) return tb_fail(error, TIBA_ERROR_INPUT, "truncated PNG picture");
        size_t length = tb_read_be(bytes + at, 4);
        if (length > size - at - 12)
            return tb_fail(error, TIBA_ERROR_INPUT, "truncated PNG picture");
        TB_TRY(read_chunk(out, &w, bytes, at + 8, length, max_pixels, error));
        if (memcmp(bytes + at + 4, "IEND", 4) == 0) break;
        at += 12 + length;
    }
    if (!w.header || !w.data_size || w.data_size > INT32_MAX / 2)
        return tb_fail(error, TIBA_ERROR_INPUT, "PNG picture without image data");
    static const int channels[] = {1, 0, 3, 1, 2, 0, 4};
    size_t samples = (size_t)(out->width * out->height) * (size_t)channels[w.type];
    size_t raw = samples / 8 * (size_t)w.depth;
    /* deflate packs 1032 bytes into one at the very best */
    if (raw / 1040 > w.data_size)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "truncated PNG picture: %zu bytes cannot hold %lld x %lld pixels",
                       w.data_size, (long long)out->width, (long long)out->height);
    out->orientation = w.orientation ? w.orientation : w.xmp_orientation;
    out->grey16 = w.type == GREY && w.depth == 16;
    out->decode_bytes = 5 * samples * (w.depth == 16 ? 2 : 1) +
                        4 * (size_t)(out->width * out->height + out->height) + 2 * w.data_size;
    return clean_copy(out, &w, budget, bytes, error);
}
