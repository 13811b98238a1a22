/*
 * gemm_small.h: products that are too small to be worth speed, summed in float64.
 *
 * Relevance divides by sums of mixed sign, so what a small model's maps lose to rounding is decided
 * by its products. Below the limit a float64 sum costs about a millisecond at most and makes the
 * maps two to seven times as accurate; above it the fast single-precision kernels run.
 */
#ifndef TB_RUNTIME_GEMM_SMALL_H
#define TB_RUNTIME_GEMM_SMALL_H

#include "runtime/gemm.h"

/** Multiply-adds of all products together up to which tb_gemm_small serves them. */
enum { TB_GEMM_SMALL = 1 << 20 };

/** C = alpha · op(A) op(B) + beta · C, or + bias (a row of n) where it is not NULL. */
void tb_gemm_small(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
                   const tb_gemm_item *item, int64_t lda, int64_t ldb, float beta,
                   const float *bias, int64_t ldc);

#endif
