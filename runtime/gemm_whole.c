#include "runtime/gemm_whole.h"

#include <stdatomic.h>
#include <string.h>

#include "runtime/clones.h"
#include "runtime/fetch.h"
#include "runtime/kernel.h"
#include "runtime/profile.h"

/* As in gemm.c: A is packed once, then a strip of columns of B, as wide as a tile, is the unit of
 * work; blocks of it are packed into first-level cache and meet all rows of a panel. */
enum {
    DEPTH = 2 * TB_WHOLE_PAIRS,
    PANEL_ROWS = 18 * TB_WHOLE_MOST_ROWS,
    /* the longest sum that surely fits in 32 bits */
    LONGEST = INT32_MAX / (TB_WHOLE_MOST * TB_WHOLE_MOST),
    GRAIN = 16384
};

typedef struct product {
    const tb_whole_set *set;
    bool trans_b;
    int64_t m, n, k, lda, ldb, ldc;
    const float *a, *b, *bias;
    tb_whole_units units;
    float *c;
    tb_whole_pair *packed; /* block by block of k, every row of it */
    int64_t strips, panels, threads;
    _Atomic bool other; /* some number was not whole or too large */
} product;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void pack_a(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    product *p = context;
    for (int64_t row = first; row < last && !p->other; row++)
        for (int64_t at = 0; at < p->k; at += DEPTH)
            if (!p->set->pack_steps(p->a + row * p->lda + at, p->units.a, least(p->k - at, DEPTH),
                                    p->packed + (at / DEPTH * p->m + row) * TB_WHOLE_STRIDE_A)) {
                p->other = true;
                return;
            }
}

static bool pack_b(const product *p, int64_t at, int64_t col, int64_t cols, const float *units,
                   tb_whole_pair *out) {
    int64_t k = least(p->k - at, DEPTH), width = p->set->cols;
    if (!p->trans_b)
        return p->set->pack_columns(p->b + at * p->ldb + col, p->ldb, units, k, cols, width, out);
    if (cols < width) memset(out, 0, (size_t)((k + 1) / 2 * width) * sizeof *out);
    bool all = true;
    tb_whole_pair column[TB_WHOLE_PAIRS];
    for (int64_t j = 0; j < cols; j++) {
        all &= p->set->pack_steps(p->b + (col + j) * p->ldb + at, units[j], k, column);
        for (int64_t q = 0; q < (k + 1) / 2; q++) out[q * width + j] = column[q];
    }
    return all;
}

/* The block of B that this thread will likely need next: below, or the head of a later strip. */
static tb_fetch coming_block(const product *p, int64_t strip, int64_t at) {
    at += DEPTH;
    if (at >= p->k) {
        at = 0;
        strip++;
    }
    if (strip >= p->strips) return (tb_fetch){0};
    int64_t col = strip * p->set->cols;
    return tb_fetch_block(p->b, p->ldb, p->trans_b, at, least(p->k - at, DEPTH), col,
                          least(p->n - col, p->set->cols));
}

TB_CLONES static void finish_whole(float *restrict c, const int32_t *restrict sums, int64_t cols,
                                   const float *restrict units, const float *restrict bias) {
    if (bias)
        for (int64_t j = 0; j < cols; j++) c[j] = (float)sums[j] * units[j] + bias[j];
    else
        for (int64_t j = 0; j < cols; j++) c[j] = (float)sums[j] * units[j];
}

/* Units of these columns of B. */
static void units_of(const product *p, int64_t col, int64_t cols, float *units) {
    for (int64_t j = 0; j < cols; j++)
        units[j] = p->units.b ? p->units.b[p->units.each ? col + j : 0] : 1.0f;
}

/* A strip of columns of one panel of rows. */
static void run_unit(void *context, int64_t index, int worker) {
    (void)worker;
    product *p = context;
    _Alignas(64) tb_whole_pair packed_b[TB_WHOLE_PAIRS * TB_WHOLE_MOST_COLS];
    _Alignas(64) int32_t sums[PANEL_ROWS * TB_WHOLE_MOST_COLS];
    int64_t strip = index / p->panels, panel = index % p->panels, width = p->set->cols;
    int64_t col = strip * width, cols = least(p->n - col, width);
    int64_t first = p->m * panel / p->panels, rows = p->m * (panel + 1) / p->panels - first;
    int64_t tiles = (rows + p->set->rows - 1) / p->set->rows;
    float units[TB_WHOLE_MOST_COLS];
    units_of(p, col, cols, units);
    if (p->k == 0) memset(sums, 0, (size_t)(rows * width) * sizeof *sums);
    for (int64_t at = 0; at < p->k; at += DEPTH) {
        if (p->other || !pack_b(p, at, col, cols, units, packed_b)) {
            p->other = true;
            return;
        }
        int64_t pairs = (least(p->k - at, DEPTH) + 1) / 2;
        tb_fetch next = coming_block(p, strip, at);
        for (int64_t t = 0; t < tiles; t++) {
            int64_t row = rows * t / tiles, height = rows * (t + 1) / tiles - row;
            tb_fetch_part(&next, t + 1, tiles);
            p->set->tile(height, pairs,
                         p->packed + (at / DEPTH * p->m + first + row) * TB_WHOLE_STRIDE_A,
                         packed_b, at > 0, sums + row * width);
        }
    }
    for (int64_t j = 0; j < cols; j++) units[j] *= p->units.a;
    for (int64_t i = 0; i < rows; i++)
        finish_whole(p->c + (first + i) * p->ldc + col, sums + i * width, cols, units,
                     p->bias ? p->bias + col : NULL);
}

bool tb_gemm_whole_with(const tb_whole_set *set, tb_exec *exec, bool trans_b, int64_t m, int64_t n,
                        int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
                        tb_whole_units units, const float *bias, float *c, int64_t ldc) {
    if (k > LONGEST) return false;
    if (m <= 0 || n <= 0) return true;
    product p = {set,          trans_b,        m,     n, k, lda, ldb, ldc, .a = a, .b = b,
                 .bias = bias, .units = units, .c = c};
    int64_t blocks = (k + DEPTH - 1) / DEPTH;
    p.packed = tb_alloc(exec->budget, (size_t)(blocks * m * TB_WHOLE_STRIDE_A) * sizeof *p.packed);
    if (!p.packed) return false;
    tb_parallel_ranges(exec, m, 1 + GRAIN / (k + 1), pack_a, &p);
    if (!p.other) {
        p.threads = tb_pool_threads(exec->pool);
        p.strips = (n + set->cols - 1) / set->cols;
        p.panels = (m + PANEL_ROWS - 1) / PANEL_ROWS;
        int64_t most = 1 + m / (4 * set->rows), wanted = 4 * p.threads / p.strips;
        if (p.panels < least(wanted, most)) p.panels = least(wanted, most);
        tb_parallel_for(exec->pool, p.strips * p.panels, run_unit, &p);
    }
    tb_free(p.packed);
    if (!p.other) tb_profile_products(exec, 1, m, n, k);
    return !p.other;
}

bool tb_gemm_whole(tb_exec *exec, bool trans_b, int64_t m, int64_t n, int64_t k, const float *a,
                   int64_t lda, const float *b, int64_t ldb, tb_whole_units units,
                   const float *bias, float *c, int64_t ldc) {
    const tb_whole_set *sets[TB_WHOLE_MOST_SETS];
    tb_whole_sets(sets);
    /* most operands are no whole numbers: the first ones say so */
    tb_whole_pair first;
    if (m > 0 && n > 0 && k > 0 &&
        !(sets[0]->pack_steps(a, units.a, 1, &first) &&
          sets[0]->pack_steps(b, units.b ? units.b[0] : 1, 1, &first)))
        return false;
    return tb_gemm_whole_with(sets[0], exec, trans_b, m, n, k, a, lda, b, ldb, units, bias, c, ldc);
}
