/*
 * gemm_whole_kernel.h: the inner loops of tb_gemm_whole: 16-bit whole numbers, multiplied and added
 * in pairs into 32-bit sums. For AVX-512 with and without VNNI, AVX2, and plain C for any machine;
 * all give the same sums.
 */
#ifndef TB_RUNTIME_GEMM_WHOLE_KERNEL_H
#define TB_RUNTIME_GEMM_WHOLE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TB_WHOLE_PAIRS = 128, /**< the longest sum that a tile takes at once, in pairs of steps */
    /** Row stride of the packed left operand: an odd number of cache lines (gemm_kernel.h). */
    TB_WHOLE_STRIDE_A = TB_WHOLE_PAIRS + 16,
    TB_WHOLE_MOST_ROWS = 14,
    TB_WHOLE_MOST_COLS = 32,
    TB_WHOLE_MOST = 255 /**< the largest number, of either sign */
};

/** Steps 2p and 2p + 1 of a row of A or a column of B in one word. */
typedef uint32_t tb_whole_pair;

/** sums[rows, cols] (+)= Σ_p a[i · TB_WHOLE_STRIDE_A + p] · b[p · cols + j], the products of both
 *  halves added; rows <= the set's rows, cols are the set's. */
typedef void tb_whole_tile_fn(int64_t rows, int64_t pairs, const tb_whole_pair *a,
                              const tb_whole_pair *b, bool add, int32_t *sums);

/** Packs k contiguous numbers, whole ones times `unit`; an odd one has 0 behind it. False if one is
 *  anything else or its whole number is larger than TB_WHOLE_MOST; what is packed then means
 *  nothing. */
typedef bool tb_whole_steps_fn(const float *x, float unit, int64_t k, tb_whole_pair *out);

/** Packs k rows of `cols` columns, element (p, j) at b[p · ld + j] and in units of units[j], as
 *  tiles of that width take them: out[p / 2 · width + j], zeros behind cols and k. */
typedef bool tb_whole_columns_fn(const float *b, int64_t ld, const float *units, int64_t k,
                                 int64_t cols, int64_t width, tb_whole_pair *out);

typedef struct tb_whole_set {
    const char *name;
    int64_t rows, cols; /**< of a full tile */
    tb_whole_tile_fn *tile;
    tb_whole_steps_fn *pack_steps;
    tb_whole_columns_fn *pack_columns;
} tb_whole_set;

/** The sets that this machine can run, best first; returns how many, at least one. */
enum { TB_WHOLE_MOST_SETS = 4 };
int tb_whole_sets(const tb_whole_set *out[TB_WHOLE_MOST_SETS]);

#endif
