/*
 * gemm.h: the one door to matrix products. Work is cut into panels that run on the pool, with our
 * own inner loops (gemm_kernel.h) or single-threaded BLAS where there are none for the machine.
 * Every element's sum runs in an order that does not depend on how the work is cut, so a result is
 * the same bytes at any number of threads.
 */
#ifndef TB_RUNTIME_GEMM_H
#define TB_RUNTIME_GEMM_H

#include "graph/op.h"

/** C = alpha · op(A) op(B) + beta · C, row-major; op(A) is [m, k], op(B) is [k, n]; lda, ldb, ldc
 * are row strides in elements as stored. */
void tb_gemm(tb_exec *exec, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
             float alpha, const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
             float *c, int64_t ldc);

/** C = A op(B) + bias, the row `bias` [n] added to every row of C; bias may be NULL. */
void tb_gemm_bias(tb_exec *exec, bool trans_b, int64_t m, int64_t n, int64_t k, const float *a,
                  int64_t lda, const float *b, int64_t ldb, const float *bias, float *c,
                  int64_t ldc);

/** One product of a batch. */
typedef struct tb_gemm_item {
    const float *a, *b;
    float *c;
} tb_gemm_item;

/** The same product for `count` items (attention heads): items run in parallel when they are many,
 *  else each is split as well. */
void tb_gemm_batch(tb_exec *exec, int64_t count, const tb_gemm_item *items, bool trans_a,
                   bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, int64_t lda,
                   int64_t ldb, float beta, int64_t ldc);

/** Do `count` such products together count as small (gemm_small.h)? */
bool tb_gemm_is_small(int64_t count, int64_t m, int64_t n, int64_t k);
/** C = op(A) op(B) for a caller that makes such products in parallel itself: `exec` has no pool,
 *  `room` is memory for tb_gemm_room(m, k) floats, `small` is said of all of them together. */
void tb_gemm_alone(tb_exec *exec, float *room, bool small, bool trans_a, bool trans_b, int64_t m,
                   int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
                   float *c, int64_t ldc);
int64_t tb_gemm_room(int64_t m, int64_t k);

#endif
