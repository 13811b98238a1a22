/*
 * convert.h: element types of a file that have no tiba_dtype, or that weights are not kept in.
 */
#ifndef TB_ONNX_CONVERT_H
#define TB_ONNX_CONVERT_H

#include "onnx/reader.h"

/** Does an element of the type go through tb_convert_elements on its way in? */
bool tb_needs_conversion(int32_t number, bool widen);
/** Converts `count` elements at `in` (raw data, any alignment) to `out`. `stride` is the distance
 *  of two elements in bits: the type's, or 8 where each stands in a byte of its own. */
void tb_convert_elements(int32_t number, void *out, const unsigned char *in, size_t count,
                         int stride);

#endif
