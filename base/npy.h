/*
 * npy.h: numpy's .npy files, versions 1, 2 and 3, C and Fortran order, either byte order.
 */
#ifndef TB_BASE_NPY_H
#define TB_BASE_NPY_H

#include "base/tensor.h"

/** Reads `path`; the data belongs to the arena, in C order and native byte order. */
tiba_status tb_npy_read(tiba_tensor *out, tb_arena *arena, const char *path, tiba_error *error);
/** The bytes of such a file (version 1, C order), from the arena. bfloat16 becomes float32. */
tiba_status tb_npy_encode(unsigned char **out, size_t *size, tb_arena *arena,
                          const tiba_tensor *tensor, tiba_error *error);
/** Writes `path` atomically (version 1, C order). bfloat16 is written as float32. */
tiba_status tb_npy_write(const char *path, const tiba_tensor *tensor, tiba_error *error);

#endif
