/*
 * picture_jpeg.c: walks a JPEG file's markers: size, sampling, orientation, and whether the file is
 * whole (it has its end marker). Refuses what stb_image would misread: arithmetic coding, lossless
 * and 12-bit pictures, fractional sampling.
 */
#include <string.h>

#include "io/picture_formats.h"

enum {
    DHT = 0xc4,
    SOI = 0xd8,
    EOI = 0xd9,
    SOS = 0xda,
    APP1 = 0xe1,
    APP14 = 0xee,
    MAX_SCANS = 1000
};
/* A progressive scan visits every block of the picture: scans × pixels bounds the time. */
#define MAX_SCAN_PIXELS INT64_C(4000000000)

typedef struct walk {
    int components, orientation, xmp_orientation, scans;
    bool adobe;
} walk;

static tiba_status truncated(tiba_error *error) {
    return tb_fail(error, TIBA_ERROR_INPUT, "truncated JPEG picture");
}

static tiba_status read_frame(tb_picture_info *out, walk *w, int marker, const uint8_t *segment,
                              size_t size, int64_t max_pixels, tiba_error *error) {
    if (marker > 0xc2)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s JPEG pictures are not supported",
                       marker == 0xc9 || marker == 0xca ? "arithmetic-coded"
                                                        : "lossless and hierarchical");
    if (w->components) return tb_fail(error, TIBA_ERROR_INPUT, "JPEG picture with two frames");
    if (size < 6) return truncated(error);
    if (segment[0] != 8)
        return tb_fail(error, TIBA_ERROR_INPUT, "%d-bit JPEG pictures are not supported",
                       segment[0]);
    out->height = tb_read_be(segment + 1, 2);
    out->width = tb_read_be(segment + 3, 2);
    w->components = segment[5];
    if (w->components != 1 && w->components != 3 && w->components != 4)
        return tb_fail(error, TIBA_ERROR_INPUT, "JPEG pictures of %d components are not supported",
                       w->components);
    if (size < 6 + 3 * (size_t)w->components) return truncated(error);
    TB_TRY(tb_picture_check_size(out->width, out->height, max_pixels, error));
    int most[2] = {1, 1}, factor[4][2];
    for (int i = 0; i < w->components; i++) {
        for (int k = 0; k < 2; k++) {
            factor[i][k] = segment[6 + 3 * i + 1] >> (k ? 0 : 4) & 15;
            if (factor[i][k] > most[k]) most[k] = factor[i][k];
        }
    }
    for (int i = 0; i < w->components; i++)
        for (int k = 0; k < 2; k++)
            if (factor[i][k] < 1 || factor[i][k] > 4 || most[k] % factor[i][k] != 0)
                return tb_fail(error, TIBA_ERROR_INPUT,
                               "JPEG picture with unsupported sampling factors");
    return TIBA_OK;
}

/* The tables must fill the segment exactly: stb_image trusts their counts. */
static tiba_status check_huffman(const uint8_t *segment, size_t size, tiba_error *error) {
    while (size >= 17) {
        size_t codes = 0;
        for (int i = 1; i <= 16; i++) codes += segment[i];
        if (codes > 256 || codes > size - 17) break;
        segment += 17 + codes;
        size -= 17 + codes;
        if (size == 0) return TIBA_OK;
    }
    return tb_fail(error, TIBA_ERROR_INPUT, "corrupt JPEG picture: bad Huffman table");
}

static void read_application(walk *w, int marker, const uint8_t *segment, size_t size) {
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/";
    if (marker == APP14 && size >= 12 && memcmp(segment, "Adobe", 5) == 0) w->adobe = true;
    if (marker != APP1) return;
    if (size >= 6 && memcmp(segment, "Exif\0\0", 6) == 0 && !w->orientation)
        w->orientation = tb_exif_orientation(segment, size);
    if (size > sizeof xmp && memcmp(segment, xmp, sizeof xmp) == 0 && !w->xmp_orientation)
        w->xmp_orientation = tb_xmp_orientation(segment + sizeof xmp, size - sizeof xmp);
}

/* The offset of the marker's 0xff that ends entropy-coded data; `size` if there is none. */
static size_t skip_scan(const uint8_t *bytes, size_t size, size_t at) {
    while (at + 1 < size) {
        const uint8_t *next = memchr(bytes + at, 0xff, size - at - 1);
        if (!next) break;
        at = (size_t)(next - bytes);
        int code = bytes[at + 1];
        if (code != 0 && code != 0xff && (code < 0xd0 || code > 0xd7)) return at;
        at += code == 0xff ? 1 : 2;
    }
    return size;
}

/* Puts an Adobe marker in front: four components without one are CMYK to libjpeg, whereas
 * stb_image would take them for YCbCr and alpha. */
static tiba_status add_adobe_marker(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                                    size_t size, tiba_error *error) {
    static const uint8_t segment[] = {0xff, APP14, 0,   14, 'A', 'd', 'o', 'b',
                                      'e',  0,     100, 0,  0,   0,   0,   0};
    if (!tb_size_add(&out->clean_size, size, sizeof segment) ||
        !(out->clean = tb_alloc(budget, out->clean_size)))
        return tb_out_of_memory(error);
    memcpy(out->clean, bytes, 2);
    memcpy(out->clean + 2, segment, sizeof segment);
    memcpy(out->clean + 2 + sizeof segment, bytes + 2, size - 2);
    return TIBA_OK;
}

tiba_status tb_jpeg_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                            size_t size, int64_t max_pixels, tiba_error *error) {
    walk w = {0};
    size_t at = 2;
    for (;;) {
        /* anything between markers is skipped, fill bytes included */
        while (at < size && bytes[at] != 0xff) at++;
        while (at < size && bytes[at] == 0xff) at++;
        if (at >= size) return truncated(error);
        int marker = bytes[at++];
        if (marker == EOI) break;
        if (marker == 0 || marker == 1 || marker == SOI || (marker >= 0xd0 && marker <= 0xd7))
            continue;
        if (size - at < 2) return truncated(error);
        size_t length = tb_read_be(bytes + at, 2);
        if (length < 2) return tb_fail(error, TIBA_ERROR_INPUT, "corrupt JPEG picture");
        if (length > size - at) return truncated(error);
        const uint8_t *segment = bytes + at + 2;
        at += length;
        length -= 2;
        if (marker == DHT)
            TB_TRY(check_huffman(segment, length, error));
        else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc)
            TB_TRY(read_frame(out, &w, marker, segment, length, max_pixels, error));
        else if (marker == APP1 || marker == APP14)
            read_application(&w, marker, segment, length);
        if (marker != SOS) continue;
        if (!w.components) return tb_fail(error, TIBA_ERROR_INPUT, "corrupt JPEG picture");
        if (++w.scans > MAX_SCANS || w.scans * out->width * out->height > MAX_SCAN_PIXELS)
            return tb_fail(error, TIBA_ERROR_INPUT, "JPEG picture with %d scans or more", w.scans);
        at = skip_scan(bytes, size, at);
    }
    if (!w.scans) return tb_fail(error, TIBA_ERROR_INPUT, "JPEG picture without image data");
    /* the first scan spends a bit at least on each block of 8 x 8 */
    if ((uint64_t)(out->width * out->height) / 512 > size)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "truncated JPEG picture: %zu bytes cannot hold %lld x %lld pixels", size,
                       (long long)out->width, (long long)out->height);
    out->orientation = w.orientation ? w.orientation : w.xmp_orientation;
    /* samples, coefficients and output, all padded to the largest unit of 32 × 32 */
    out->decode_bytes = (size_t)((out->width + 64) * (out->height + 64)) * 20;
    if (w.components == 4 && !w.adobe) return add_adobe_marker(out, budget, bytes, size, error);
    return TIBA_OK;
}
