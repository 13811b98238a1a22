/*
 * sha256.h: the SHA-256 of a block of bytes (FIPS 180-4), so that a result can say which file it
 * belongs to.
 */
#ifndef TB_IO_SHA256_H
#define TB_IO_SHA256_H

#include <stdbool.h>
#include <stddef.h>

/** `out` receives 64 lower-case hexadecimal digits and a NUL. */
void tb_sha256_hex(char out[65], const void *data, size_t size);

/** The same of a file, read in blocks: weights that are mapped already are not held a second time.
 *  False where it cannot be read. */
bool tb_sha256_file(char out[65], const char *path);

#endif
