/*
 * gemm_whole.h: matrix products of quantised operands in integer arithmetic: exact, and two or more
 * times as fast as tb_gemm. An operand's elements are whole numbers of up to 255 in size times a
 * unit: 1 for integers behind their zero points (graph/op.h), a scale for dequantised ones
 * (tb_value.step).
 */
#ifndef TB_RUNTIME_GEMM_WHOLE_H
#define TB_RUNTIME_GEMM_WHOLE_H

#include "graph/op.h"
#include "runtime/gemm_whole_kernel.h"

/** What an operand's elements are multiples of. */
typedef struct tb_whole_units {
    float a;        /**< of A */
    const float *b; /**< of B, NULL: 1 */
    bool each;      /**< one for each of B's n columns */
} tb_whole_units;

/** C = A op(B) + bias as tb_gemm_bias has it, each sum exact before it is rounded to a float,
 *  multiplied by both units and the bias is added. False, and C is lost, where an operand holds
 *  other numbers, of which the first ones are looked at first, or where sums may not fit. */
bool tb_gemm_whole(tb_exec *exec, bool trans_b, int64_t m, int64_t n, int64_t k, const float *a,
                   int64_t lda, const float *b, int64_t ldb, tb_whole_units units,
                   const float *bias, float *c, int64_t ldc);

/** The same with chosen inner loops, for tests. */
bool tb_gemm_whole_with(const tb_whole_set *set, tb_exec *exec, bool trans_b, int64_t m, int64_t n,
                        int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
                        tb_whole_units units, const float *bias, float *c, int64_t ldc);

#endif
