/*
 * tensor.h: what every room knows about arrays: element sizes, counts, conversions, .npy files.
 */
#ifndef TB_BASE_TENSOR_H
#define TB_BASE_TENSOR_H

#include "base/memory.h"

/** Bytes of an element; 0 for types without a fixed size. */
size_t tb_dtype_size(tiba_dtype dtype);
/** "float32", "int64", … as numpy names them. */
const char *tb_dtype_name(tiba_dtype dtype);
bool tb_dtype_is_float(tiba_dtype dtype);   /* float16, bfloat16, float32, float64 */
bool tb_dtype_is_integer(tiba_dtype dtype); /* signed or unsigned; bool is not one */

/** Elements of a shape; false if a dimension is negative or the product overflows. */
bool tb_count(int64_t *out, int rank, const int64_t *dims);
/** Elements and bytes of a tensor whose shape is known to be sound. */
int64_t tb_tensor_count(const tiba_tensor *tensor);
size_t tb_tensor_bytes(const tiba_tensor *tensor);
bool tb_same_shape(const tiba_tensor *a, const tiba_tensor *b);
/** A tensor with memory from the arena, zeroed. */
tiba_status tb_tensor_create(tiba_tensor *out, tb_arena *arena, tiba_dtype dtype, int rank,
                             const int64_t *dims, tiba_error *error);

/** One element as a number. Integers beyond 2^53 lose bits in the double form. */
double tb_get_f64(const tiba_tensor *tensor, int64_t index);
int64_t tb_get_i64(const tiba_tensor *tensor, int64_t index); /* floats are truncated */
void tb_set_f64(tiba_tensor *tensor, int64_t index, double value);
void tb_set_i64(tiba_tensor *tensor, int64_t index, int64_t value);
/** Converts every element of `in` to out's dtype; shapes have equal counts. */
void tb_convert(tiba_tensor *out, const tiba_tensor *in);

float tb_half_to_float(uint16_t bits);
uint16_t tb_float_to_half(float value); /* to nearest even */
float tb_bfloat_to_float(uint16_t bits);
uint16_t tb_float_to_bfloat(float value);

/** "[2, 3, 5]" into `text`; returns `text`. */
char *tb_shape_text(char *text, size_t capacity, int rank, const int64_t *dims);

#endif
