/*
 * picture_formats.h: what picture.c's format readers tell it: one `..._inspect` per format walks a
 * file's structure without decoding it, refuses what is truncated or unsupported, and says how the
 * pixels are to be had. Private to picture*.c.
 */
#ifndef TB_IO_PICTURE_FORMATS_H
#define TB_IO_PICTURE_FORMATS_H

#include "io/picture.h"

/** Uncompressed pixels: one palette index or 1, 3 or 4 samples each, rows of whole bytes. */
typedef struct tb_raw_pixels {
    int bits;       /**< of a pixel: 1, 4 or 8 (an index, or a grey sample), 24, 32; 0: none */
    bool bottom_up; /**< the last row is stored first */
    bool bgr;       /**< sample order of pixels and palette entries */
    size_t offset, stride; /**< of the first row; from row to row */
    size_t palette;        /**< offset of the palette, 0 for grey samples */
    int palette_entries, palette_entry_size;
} tb_raw_pixels;

typedef struct tb_picture_info {
    int64_t width, height; /**< as stored, before orientation */
    int orientation;       /**< EXIF's 1 … 8; anything else counts as 1 */
    bool grey16;           /**< 16-bit grey samples, clipped rather than scaled */
    tb_raw_pixels raw;     /**< if raw.bits is 0, stb_image decodes the file */
    uint8_t *clean;        /**< a cleaned copy to decode instead of the file (tb_free), or NULL */
    size_t clean_size;
    size_t decode_bytes; /**< more than decoding can honestly need */
} tb_picture_info;

/** The limit is checked before anything is allocated. */
tiba_status tb_jpeg_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                            size_t size, int64_t max_pixels, tiba_error *error);
tiba_status tb_png_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                           size_t size, int64_t max_pixels, tiba_error *error);
tiba_status tb_bmp_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                           size_t size, int64_t max_pixels, tiba_error *error);
tiba_status tb_pnm_inspect(tb_picture_info *out, tb_budget *budget, const uint8_t *bytes,
                           size_t size, int64_t max_pixels, tiba_error *error);

/** Unpacks info->raw into `rgb` (height × width × 3); inspect has checked that it is all there. */
void tb_raw_unpack(uint8_t *rgb, const tb_picture_info *info, const uint8_t *bytes);

/** TIBA_OK if width × height is at least 1 and within the limit. */
tiba_status tb_picture_check_size(int64_t width, int64_t height, int64_t max_pixels,
                                  tiba_error *error);

/** The orientation of an EXIF block (a TIFF structure, after "Exif\0\0" if that is there);
 *  0 if it says none. */
int tb_exif_orientation(const uint8_t *bytes, size_t size);
/** The orientation of an XMP packet; 0 if it says none. */
int tb_xmp_orientation(const uint8_t *bytes, size_t size);

static inline uint32_t tb_read_be(const uint8_t *bytes, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; i++) value = value << 8 | bytes[i];
    return value;
}
static inline uint32_t tb_read_le(const uint8_t *bytes, int count) {
    uint32_t value = 0;
    for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

#endif
