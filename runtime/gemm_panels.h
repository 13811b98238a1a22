/*
 * gemm_panels.h: several products that share their right operand, for the reverse pass: A·B, A·|B|,
 * |A|·|B| for listed rows of any number of left operands. A panel of columns of B is packed into
 * cache once and serves them all (its magnitudes are taken there, so |B| is never stored), and what
 * a panel yields is handed on while it is still in cache.
 */
#ifndef TB_RUNTIME_GEMM_PANELS_H
#define TB_RUNTIME_GEMM_PANELS_H

#include "graph/op.h"

/** Rows of a left operand: row i is a + index[i] · lda, or a + i · lda where index is NULL. */
typedef struct tb_panel_part {
    const float *a;
    int64_t lda, rows;
    const int64_t *index;
    bool abs_a, abs_b; /**< take the magnitudes of either operand */
} tb_panel_part;

/** Receives columns col … col + cols - 1 of all parts' products, the parts' rows one below the
 *  other. `c` may be written to and is lost afterwards. Called from several threads. */
typedef void tb_panel_fn(void *context, int64_t col, int64_t cols, float *c, int64_t ldc);

/** The products with op(B), [k, n] with row stride ldb as stored. Every sum runs in an order that
 *  depends on k alone. False, with nothing done, where the machine has no tiles of our own
 *  (gemm_kernel.h) or there is no memory for packing. */
bool tb_gemm_panels(tb_exec *exec, bool trans_b, int64_t n, int64_t k, const float *b, int64_t ldb,
                    int n_parts, const tb_panel_part *parts, tb_panel_fn *done, void *context);

#endif
