#include "runtime/gemm_panels.h"

#include <math.h>
#include <string.h>

#include "runtime/clones.h"
#include "runtime/gemm_kernel.h"
#include "runtime/profile.h"

/* Columns of a panel: packed block and products together stay within the second-level cache. */
enum { PANEL_COLS = 192, LEAST_COLS = 64 };

typedef struct job {
    const tb_gemm_set *set;
    bool trans_b;
    int64_t n, k, ldb, tiles, panels, ldc, rows; /* tiles of columns; rows of all parts */
    const float *b;
    int n_parts;
    const tb_panel_part *parts;
    tb_panel_fn *done;
    void *context;
    float *memory; /* for each worker: a packed block, then the products */
    size_t each;
} job;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

TB_CLONES static void magnitudes(float *to, const float *from, int64_t n) {
    TB_IVDEP
    for (int64_t i = 0; i < n; i++) to[i] = fabsf(from[i]);
}

/* The block of B that is packed next: `runs` contiguous runs of bytes, `ld` apart. */
typedef struct coming {
    const char *at;
    int64_t runs, bytes, ld, sent, tiles; /* tiles of rows that are still to come before it */
} coming;

/* A tile's share of it is on the way to second-level cache afterwards. */
static void fetch(coming *next) {
    enum { LINE = 64 };
    if (next->tiles <= 0) return;
    int64_t end = next->sent + (next->runs - next->sent + next->tiles - 1) / next->tiles;
    next->tiles--;
    for (; next->sent < end; next->sent++) {
        const char *run = next->at + next->sent * next->ld;
        for (int64_t i = 0; i < next->bytes; i += LINE) __builtin_prefetch(run + i, 0, 2);
    }
}

/* The rows of one part against a packed block, whole tiles: the packed columns end in zeros. */
static void run_part(const job *j, const tb_panel_part *p, const float *packed, int64_t cols,
                     int64_t at, int64_t depth, float *c, coming *next) {
    const tb_gemm_set *set = j->set;
    _Alignas(64) float rows_of_a[TB_GEMM_MOST_ROWS * TB_GEMM_STRIDE_A];
    int64_t tiles = (p->rows + set->rows - 1) / set->rows;
    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = p->rows * t / tiles, rows = p->rows * (t + 1) / tiles - row;
        for (int64_t r = 0; r < rows; r++) {
            const float *a = p->a + (p->index ? p->index[row + r] : row + r) * p->lda + at;
            if (p->abs_a)
                magnitudes(rows_of_a + r * TB_GEMM_STRIDE_A, a, depth);
            else
                memcpy(rows_of_a + r * TB_GEMM_STRIDE_A, a, (size_t)depth * sizeof *a);
        }
        fetch(next);
        for (int64_t col = 0; col < cols; col += set->cols)
            set->tile(rows, set->cols, depth, 1.0f, rows_of_a, packed + col * depth, set->cols,
                      at > 0, c + row * j->ldc + col, j->ldc);
    }
}

static void run_parts(const job *j, bool abs_b, const float *packed, int64_t cols, int64_t at,
                      int64_t depth, float *c, coming *next) {
    for (int i = 0; i < j->n_parts; i++) {
        const tb_panel_part *p = &j->parts[i];
        if (p->abs_b == abs_b) run_part(j, p, packed, cols, at, depth, c, next);
        c += p->rows * j->ldc;
    }
}

/* Where the block at `at` of k starts. */
static const float *block_at(const job *j, int64_t col, int64_t at) {
    return j->b + (j->trans_b ? col * j->ldb + at : at * j->ldb + col);
}

/* What follows the block at `at` of a panel's k. */
static coming coming_block(const job *j, int64_t col, int64_t cols, int64_t at) {
    at += TB_GEMM_DEPTH;
    if (at >= j->k) return (coming){0};
    const int64_t depth = least(j->k - at, TB_GEMM_DEPTH);
    coming next = {.at = (const char *)block_at(j, col, at),
                   .runs = j->trans_b ? cols : depth,
                   .bytes = (j->trans_b ? depth : cols) * (int64_t)sizeof(float),
                   .ld = j->ldb * (int64_t)sizeof(float)};
    for (int i = 0; i < j->n_parts; i++)
        next.tiles += (j->parts[i].rows + j->set->rows - 1) / j->set->rows;
    return next;
}

static void run_panel(void *context, int64_t item, int worker) {
    const job *j = context;
    const int64_t width = j->set->cols;
    int64_t col = j->tiles * item / j->panels * width;
    int64_t padded = j->tiles * (item + 1) / j->panels * width - col;
    int64_t cols = least(padded, j->n - col);
    float *packed = j->memory + (size_t)worker * j->each, *c = packed + j->ldc * TB_GEMM_DEPTH;
    bool any_abs = false;
    for (int i = 0; i < j->n_parts; i++) any_abs |= j->parts[i].abs_b;
    for (int64_t at = 0; at < j->k; at += TB_GEMM_DEPTH) {
        int64_t depth = least(j->k - at, TB_GEMM_DEPTH);
        coming next = coming_block(j, col, cols, at);
        j->set->pack(j->trans_b, depth, cols, width, block_at(j, col, at), j->ldb, packed);
        run_parts(j, false, packed, padded, at, depth, c, &next);
        if (!any_abs) continue;
        magnitudes(packed, packed, padded * depth);
        run_parts(j, true, packed, padded, at, depth, c, &next);
    }
    j->done(j->context, col, cols, c, j->ldc);
}

bool tb_gemm_panels(tb_exec *exec, bool trans_b, int64_t n, int64_t k, const float *b, int64_t ldb,
                    int n_parts, const tb_panel_part *parts, tb_panel_fn *done, void *context) {
    const tb_gemm_set *sets[TB_GEMM_MOST_SETS];
    if (n <= 0 || k <= 0 || tb_gemm_sets(sets) == 0) return false;
    job j = {sets[0],      trans_b,           n, k, ldb, .b = b, .n_parts = n_parts, .parts = parts,
             .done = done, .context = context};
    for (int i = 0; i < n_parts; i++) j.rows += parts[i].rows;
    const int64_t width = j.set->cols, threads = tb_pool_threads(exec->pool);
    j.tiles = (n + width - 1) / width;
    j.panels = (n + PANEL_COLS - 1) / PANEL_COLS;
    /* as many panels for each thread, where that leaves them wide enough */
    int64_t even = (j.panels + threads - 1) / threads * threads;
    if (even * LEAST_COLS <= n) j.panels = even;
    j.ldc = (j.tiles + j.panels - 1) / j.panels * width;
    j.each = (size_t)(j.ldc * (TB_GEMM_DEPTH + j.rows));
    j.memory = tb_scratch(exec, j.each * (size_t)threads, sizeof(float));
    if (!j.memory) return false;
    tb_profile_products(exec, 1, j.rows, n, k);
    tb_parallel_for(exec->pool, j.panels, run_panel, &j);
    return true;
}
