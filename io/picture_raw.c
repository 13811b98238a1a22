/*
 * picture_raw.c: the uncompressed formats, BMP (1, 4, 8, 24 and 32 bits, no run-length coding) and
 * binary PGM/PPM with samples of 0 … 255.
 */
#include <string.h>

#include "io/picture_formats.h"

/* Fills in the stride where the format has not, and checks that all rows are in the file. */
static tiba_status check_rows(tb_picture_info *out, const char *format, size_t size, size_t align,
                              int64_t max_pixels, tiba_error *error) {
    TB_TRY(tb_picture_check_size(out->width, out->height, max_pixels, error));
    size_t bits = (size_t)out->width * (size_t)out->raw.bits;
    out->raw.stride = (bits + 8 * align - 1) / (8 * align) * align;
    size_t used = (bits + 7) / 8 + out->raw.stride * (size_t)(out->height - 1);
    if (out->raw.offset > size || size - out->raw.offset < used)
        return tb_fail(error, TIBA_ERROR_INPUT, "truncated %s picture", format);
    return TIBA_OK;
}

tiba_status tb_bmp_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                           size_t size, int64_t max_pixels, tiba_error *error) {
    (void)budget;
    if (size < 26) return tb_fail(error, TIBA_ERROR_INPUT, "truncated BMP picture");
    size_t header = tb_read_le(bytes + 14, 4);
    bool old = header == 12;
    if (!old && (header < 40 || header > 256))
        return tb_fail(error, TIBA_ERROR_INPUT, "BMP header of an unknown kind");
    if (size - 14 < header) return tb_fail(error, TIBA_ERROR_INPUT, "truncated BMP picture");
    out->width = old ? (int64_t)tb_read_le(bytes + 18, 2) : (int32_t)tb_read_le(bytes + 18, 4);
    out->height = old ? (int64_t)tb_read_le(bytes + 20, 2) : (int32_t)tb_read_le(bytes + 22, 4);
    uint32_t bits = tb_read_le(bytes + (old ? 24 : 28), 2);
    uint32_t compression = old ? 0 : tb_read_le(bytes + 30, 4);
    uint32_t entries = old ? 0 : tb_read_le(bytes + 46, 4);
    if (compression == 3 && bits == 32) { /* the usual order of bytes, spelt out as masks */
        static const uint8_t usual[] = {0, 0, 0xff, 0, 0, 0xff, 0, 0, 0xff, 0, 0, 0};
        if (size >= 66 && memcmp(bytes + 54, usual, sizeof usual) == 0) compression = 0;
    }
    if (compression != 0 || (bits != 1 && bits != 4 && bits != 8 && bits != 24 && bits != 32))
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "BMP pictures of %u bits and compression %u are not supported",
                       (unsigned)bits, (unsigned)compression);
    tb_raw_pixels *raw = &out->raw;
    raw->bits = (int)bits;
    raw->bgr = true;
    raw->bottom_up = out->height > 0;
    if (out->height < 0) out->height = -out->height;
    raw->offset = tb_read_le(bytes + 10, 4);
    if (bits <= 8) {
        uint32_t most = 1u << bits;
        raw->palette = 14 + header;
        raw->palette_entry_size = old ? 3 : 4;
        raw->palette_entries = (int)(entries == 0 || entries > most ? most : entries);
        if (size - raw->palette < (size_t)(raw->palette_entries * raw->palette_entry_size))
            return tb_fail(error, TIBA_ERROR_INPUT, "truncated BMP picture");
    }
    return check_rows(out, "BMP", size, 4, max_pixels, error);
}

/* The next number of a PNM header; -1 if there is none. */
static int64_t read_number(const uint8_t *bytes, size_t size, size_t *at) {
    for (; *at < size; ++*at) {
        uint8_t c = bytes[*at];
        if (c == '#')
            while (*at + 1 < size && bytes[*at + 1] != '\n') ++*at;
        else if (c != ' ' && (c < '\t' || c > '\r'))
            break;
    }
    int64_t value = -1;
    for (; *at < size && bytes[*at] >= '0' && bytes[*at] <= '9' && value < INT32_MAX; ++*at)
        value = (value < 0 ? 0 : value) * 10 + (bytes[*at] - '0');
    return value;
}

tiba_status tb_pnm_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                           size_t size, int64_t max_pixels, tiba_error *error) {
    (void)budget;
    size_t at = 2;
    out->width = read_number(bytes, size, &at);
    out->height = read_number(bytes, size, &at);
    int64_t most = read_number(bytes, size, &at);
    if (out->width < 0 || out->height < 0 || most < 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "corrupt PNM header");
    if (most != 255)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "PNM pictures with samples up to %lld are not supported", (long long)most);
    out->raw.bits = bytes[1] == '6' ? 24 : 8;
    out->raw.offset = at + 1;
    return check_rows(out, "PNM", size, 1, max_pixels, error);
}

void tb_raw_unpack(uint8_t *rgb, const tb_picture_info *info, const uint8_t *bytes) {
    const tb_raw_pixels *raw = &info->raw;
    const int red = raw->bgr ? 2 : 0, blue = 2 - red;
    for (int64_t y = 0; y < info->height; y++) {
        int64_t stored = raw->bottom_up ? info->height - 1 - y : y;
        const uint8_t *row = bytes + raw->offset + (size_t)stored * raw->stride;
        for (int64_t x = 0; x < info->width; x++, rgb += 3) {
            if (raw->bits >= 24) {
                const uint8_t *pixel = row + x * (raw->bits / 8);
                rgb[0] = pixel[red], rgb[1] = pixel[1], rgb[2] = pixel[blue];
                continue;
            }
            int64_t bit = x * raw->bits;
            int value = row[bit / 8] >> (8 - raw->bits - bit % 8) & ((1 << raw->bits) - 1);
            if (!raw->palette) {
                memset(rgb, value, 3);
            } else if (value < raw->palette_entries) {
                const uint8_t *entry =
                    bytes + raw->palette + (size_t)(value * raw->palette_entry_size);
                rgb[0] = entry[red], rgb[1] = entry[1], rgb[2] = entry[blue];
            } else {
                memset(rgb, 0, 3);
            }
        }
    }
}
