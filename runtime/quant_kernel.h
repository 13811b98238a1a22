/*
 * quant_kernel.h: sums, products and softmaxes that onnxruntime computes in integers, and rounds in
 * its own float arithmetic.
 *
 * In the bound graph they are float operators between two quantisations. The internal attribute
 * `kernel` of Add, Mul and Softmax holds scale and zero point of each operand and of the result
 * (graph/quant_groups.h); a result that would round to another integer than the kernel's is moved
 * to the nearest float that does not, some units in the last place away.
 */
#ifndef TB_RUNTIME_QUANT_KERNEL_H
#define TB_RUNTIME_QUANT_KERNEL_H

#include "runtime/kernel.h"

/** y = a + b or a · b, of float32, as it was computed: settles it. Nothing without the attribute.
 */
void tb_settle_binary(tb_exec *exec, const tb_node *node, const tiba_tensor *a,
                      const tiba_tensor *b, tiba_tensor *y);

/** A softmax of quantised rows. */
typedef struct tb_quant_softmax {
    float unit, scale, steps; /* of x; of y, and steps in 1 */
    float exponentials[256];  /* of x less the row's greatest element, by 255 plus that in units */
} tb_quant_softmax;

/** Its table for rows of n elements; false without the attribute, or where a scale is not positive
 *  (a broken file). */
bool tb_quant_softmax_of(tb_quant_softmax *s, const tb_node *node, int64_t n);
/** Settles a row y = softmax(x) of n elements, which lie `step` apart. */
void tb_settle_softmax(const tb_quant_softmax *s, float *y, const float *x, int64_t n,
                       int64_t step);

#endif
