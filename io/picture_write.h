/* picture_write.h: pictures as PNG files. */
#ifndef TB_IO_PICTURE_WRITE_H
#define TB_IO_PICTURE_WRITE_H

#include "io/picture.h"

/** The bytes of a PNG file, from the arena (for a file, or for embedding in a page). */
tiba_status tb_picture_encode_png(uint8_t **out, size_t *size, tb_arena *arena,
                                  const tb_picture *picture, tiba_error *error);
/** Writes the file whole or not at all. */
tiba_status tb_picture_write_png(const char *path, const tb_picture *picture, tiba_error *error);

#endif
