/*
 * picture.h: picture files into 8-bit RGB, as Pillow would show them: EXIF orientation applied,
 * alpha dropped (not composited), grey replicated, palette and CMYK converted, 16-bit samples cut
 * to their high byte (16-bit grey: clipped to 255, which is what Pillow's conversion does).
 *
 * JPEG, PNG, BMP and binary PGM/PPM; everything else is refused by name. The header is read and
 * judged before anything is decoded: truncated files and pictures over the pixel limit cost
 * neither time nor memory. The pixels themselves are decoded by stb_image.
 */
#ifndef TB_IO_PICTURE_H
#define TB_IO_PICTURE_H

#include "base/memory.h"

/** Twice 1 GiB / 4 / 3, where Pillow calls a picture a decompression bomb. */
#define TB_PICTURE_MAX_PIXELS INT64_C(178956970)

typedef struct tb_picture {
    int width, height; /**< after orientation */
    uint8_t *rgb;      /**< height × width × 3 */
    bool clipped;      /**< 16-bit grey with values above 255, which are all white here */
} tb_picture;

/** Decodes a file held in memory. The pixels belong to the arena. `max_pixels` <= 0 means
 *  TB_PICTURE_MAX_PIXELS. The error's message does not name the file. */
tiba_status tb_picture_decode(tb_picture *out, tb_arena *arena, const uint8_t *bytes, size_t size,
                              int64_t max_pixels, tiba_error *error);
/** The same for a file, which the error names. */
tiba_status tb_picture_read(tb_picture *out, tb_arena *arena, const char *path, int64_t max_pixels,
                            tiba_error *error);

/** True if the bytes begin like a picture file, readable here or not (for telling pictures from
 *  texts among a program's arguments). */
bool tb_picture_sniff(const uint8_t *bytes, size_t size);

#endif
