/*
 * elements.h: runs of elements as int64 or float32 whatever their type, so that an integer kernel
 * is written once, over int64. Unsigned 64-bit elements keep their bits.
 */
#ifndef TB_RUNTIME_ELEMENTS_H
#define TB_RUNTIME_ELEMENTS_H

#include "graph/op.h"

/** out[i] = t[start + i * step], 0 <= i < n; step is 0 or 1. Floats are truncated. */
void tb_load_i64(int64_t *out, const tiba_tensor *t, int64_t start, int64_t n, int step);
/** t[start + i] = in[i], wrapped to the type (bool: not zero; floats: rounded). */
void tb_store_i64(tiba_tensor *t, int64_t start, int64_t n, const int64_t *in);
/** out[i] = t[start + i]. */
void tb_load_f32(float *out, const tiba_tensor *t, int64_t start, int64_t n);

#endif
