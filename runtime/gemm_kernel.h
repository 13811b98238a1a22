/*
 * gemm_kernel.h: the inner loops of tb_gemm on x86-64, for AVX-512 and for AVX2 with FMA. Weights
 * are packed a panel at a time into cache, rows of the other operand are read where they are, and a
 * tile of the result stays in registers. On other machines tb_gemm hands its panels to BLAS.
 */
#ifndef TB_RUNTIME_GEMM_KERNEL_H
#define TB_RUNTIME_GEMM_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TB_GEMM_DEPTH = 256, /**< the longest sum that a tile takes at once */
    /** Row stride of the packed left operand: an odd number of cache lines, so that the rows of a
     *  tile do not compete for the same lines of the cache. */
    TB_GEMM_STRIDE_A = TB_GEMM_DEPTH + 16,
    TB_GEMM_MOST_ROWS = 14,
    TB_GEMM_MOST_COLS = 32
};

/** c[rows, cols] = alpha · Σ_p a[i · TB_GEMM_STRIDE_A + p] b[p · row_b + j] (+ c where `add`), for
 *  rows <= the set's rows and cols <= its cols. `b` must be readable up to a whole vector. */
typedef void tb_gemm_tile_fn(int64_t rows, int64_t cols, int64_t k, float alpha, const float *a,
                             const float *b, int64_t row_b, bool add, float *c, int64_t row_c);

/** Packs b's elements (p, j), p < k, j < cols, in tiles of `width` columns one behind the other:
 *  out[(j / width · k + p) · width + j % width], zero where the last tile has no column. Element
 *  (p, j) is b[p · ld + j], or b[j · ld + p] if trans. */
typedef void tb_gemm_pack_fn(bool trans, int64_t k, int64_t cols, int64_t width, const float *b,
                             int64_t ld, float *out);

typedef struct tb_gemm_set {
    int64_t rows, cols; /**< of a full tile */
    int64_t vector;     /**< floats of a vector: cols is twice that */
    tb_gemm_tile_fn *tile;
    tb_gemm_pack_fn *pack;
} tb_gemm_set;

/** The sets that this machine can run, best first; returns how many. */
enum { TB_GEMM_MOST_SETS = 2 };
int tb_gemm_sets(const tb_gemm_set *out[TB_GEMM_MOST_SETS]);

#endif
