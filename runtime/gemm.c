#include "runtime/gemm.h"

#include <cblas.h>
#include <string.h>

#include "runtime/gemm_kernel.h"
#include "runtime/gemm_small.h"

/* A panel is the unit of work. The larger it is, the more often its packed operands are used. */
enum { PANEL_ROWS = 504, PANEL_COLS = 768, LEAST_ROWS = 28, LEAST_COLS = 96, BLAS_PARTS = 4 };

typedef struct product {
    bool trans_a, trans_b;
    int64_t m, n, k, lda, ldb, ldc, panels_m, panels_n, panel_cols;
    float alpha, beta;
    const float *bias;
    const tb_gemm_item *items;
    const tb_gemm_set *set; /* NULL: BLAS */
    tb_budget *budget;
} product;

typedef struct panel {
    int64_t m, n;
    const float *a, *b;
    float *c;
} panel;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static panel panel_at(const product *p, int64_t index, int64_t *col) {
    const tb_gemm_item *item = &p->items[index / (p->panels_m * p->panels_n)];
    index %= p->panels_m * p->panels_n;
    int64_t i = index % p->panels_m, row = p->m * i / p->panels_m;
    *col = index / p->panels_m * p->panel_cols;
    return (panel){.m = p->m * (i + 1) / p->panels_m - row,
                   .n = least(p->n - *col, p->panel_cols),
                   .a = item->a + (p->trans_a ? row : row * p->lda),
                   .b = item->b + (p->trans_b ? *col * p->ldb : *col),
                   .c = item->c + row * p->ldc + *col};
}

/* What the sums are added to: true if c holds it, false if c is to be overwritten. */
static bool prepare(const product *p, const panel *t, int64_t col) {
    if (!p->bias && p->beta == 0 && p->k > 0) return false;
    for (int64_t i = 0; i < t->m; i++) {
        float *c = t->c + i * p->ldc;
        if (p->bias)
            memcpy(c, p->bias + col, (size_t)t->n * sizeof *c);
        else if (p->beta == 0)
            memset(c, 0, (size_t)t->n * sizeof *c);
        else if (p->beta != 1)
            for (int64_t j = 0; j < t->n; j++) c[j] *= p->beta;
    }
    return true;
}

/* All tiles of A against a packed block of B. */
static void run_block(const product *p, const panel *t, int64_t at, const float *b, bool direct,
                      bool add) {
    const tb_gemm_set *set = p->set;
    _Alignas(64) float packed_a[TB_GEMM_MOST_ROWS * TB_GEMM_STRIDE_A];
    int64_t k = least(p->k - at, TB_GEMM_DEPTH), tiles = (t->m + set->rows - 1) / set->rows;
    for (int64_t i = 0; i < tiles; i++) {
        int64_t row = t->m * i / tiles, rows = t->m * (i + 1) / tiles - row;
        if (p->trans_a)
            set->pack(true, rows, k, TB_GEMM_STRIDE_A, t->a + at * p->lda + row, p->lda, packed_a);
        else
            for (int64_t r = 0; r < rows; r++)
                memcpy(packed_a + r * TB_GEMM_STRIDE_A, t->a + (row + r) * p->lda + at,
                       (size_t)k * sizeof(float));
        for (int64_t j = 0; j < t->n; j += set->cols)
            set->tile(rows, least(t->n - j, set->cols), k, p->alpha, packed_a,
                      direct ? b + j : b + j * k, direct ? p->ldb : set->cols, add,
                      t->c + row * p->ldc + j, p->ldc);
    }
}

/* Blocks of the sum; for each, B is packed once, then A tile by tile, and every tile of A meets
 * every tile of B. With few rows B is read where it is: packing would cost more than it saves. */
static void run_tiles(const product *p, const panel *t, float *packed, bool add) {
    const tb_gemm_set *set = p->set;
    for (int64_t at = 0; at < p->k; at += TB_GEMM_DEPTH, add = true) {
        const float *b = t->b + (p->trans_b ? at : at * p->ldb);
        if (packed)
            set->pack(p->trans_b, least(p->k - at, TB_GEMM_DEPTH), t->n, set->cols, b, p->ldb,
                      packed);
        run_block(p, t, at, packed ? packed : b, !packed, add);
    }
}

static void run_tile_panel(const product *p, const panel *t, bool add) {
    if (t->m <= p->set->rows && !p->trans_b && t->n % p->set->vector == 0) {
        run_tiles(p, t, NULL, add);
        return;
    }
    int64_t cols = (t->n + TB_GEMM_MOST_COLS - 1) / TB_GEMM_MOST_COLS * TB_GEMM_MOST_COLS;
    float *packed = tb_alloc(p->budget, (size_t)(cols * TB_GEMM_DEPTH) * sizeof(float));
    if (packed) {
        run_tiles(p, t, packed, add);
        tb_free(packed);
        return;
    }
    /* Without memory it takes longer. */
    _Alignas(64) float few[TB_GEMM_DEPTH * TB_GEMM_MOST_COLS];
    for (int64_t j = 0; j < t->n; j += TB_GEMM_MOST_COLS) {
        panel part = *t;
        part.n = least(t->n - j, TB_GEMM_MOST_COLS);
        part.b += p->trans_b ? j * p->ldb : j;
        part.c += j;
        run_tiles(p, &part, few, add);
    }
}

/* The OpenMP build of OpenBLAS keeps the number of threads per calling thread, the pthread build
 * once for all: setting it to 1 once in every thread serves both. */
static void blas_one_thread(void) {
    static _Thread_local bool done;
    if (!done) openblas_set_num_threads(1);
    done = true;
}

static void run_panel(void *context, int64_t index, int worker) {
    (void)worker;
    const product *p = context;
    int64_t col;
    panel t = panel_at(p, index, &col);
    bool add = prepare(p, &t, col);
    if (p->set) {
        run_tile_panel(p, &t, add);
    } else if (p->k > 0) {
        blas_one_thread();
        cblas_sgemm(CblasRowMajor, p->trans_a ? CblasTrans : CblasNoTrans,
                    p->trans_b ? CblasTrans : CblasNoTrans, (int)t.m, (int)t.n, (int)p->k, p->alpha,
                    t.a, (int)p->lda, t.b, (int)p->ldb, add ? 1.f : 0.f, t.c, (int)p->ldc);
    }
}

static void run_small(void *context, int64_t index, int worker) {
    (void)worker;
    const product *p = context;
    tb_gemm_small(p->trans_a, p->trans_b, p->m, p->n, p->k, p->alpha, &p->items[index], p->lda,
                  p->ldb, p->beta, p->bias, p->ldc);
}

/* Sizes that multiply to TB_GEMM_SMALL at most; each factor is at least 1 here. */
static bool is_small(const product *p, int64_t count) {
    int64_t work = count, factors[3] = {p->m, p->n, p->k};
    for (int i = 0; i < 3; i++) {
        if (work > TB_GEMM_SMALL || factors[i] > TB_GEMM_SMALL) return false;
        work *= factors[i] ? factors[i] : 1;
    }
    return work <= TB_GEMM_SMALL;
}

/* Cuts the product into panels for `parts` threads. Every sum runs in an order that depends on k
 * alone, so our own tiles give the same bytes however it is cut; BLAS may not. */
static void cut(product *p, int64_t count, int64_t parts) {
    int64_t rows = (p->m + PANEL_ROWS - 1) / PANEL_ROWS,
            cols = (p->n + PANEL_COLS - 1) / PANEL_COLS;
    while (count * rows * cols < 4 * parts && count * rows * cols % parts != 0) {
        if (p->n > cols * LEAST_COLS)
            cols++;
        else if (p->m > rows * LEAST_ROWS)
            rows++;
        else
            break;
    }
    int64_t tiles = (p->n + TB_GEMM_MOST_COLS - 1) / TB_GEMM_MOST_COLS;
    p->panel_cols = (tiles + cols - 1) / cols * TB_GEMM_MOST_COLS;
    p->panels_n = (p->n + p->panel_cols - 1) / p->panel_cols;
    p->panels_m = rows;
}

static void run(tb_exec *exec, product *p, int64_t count) {
    if (p->m <= 0 || p->n <= 0 || count <= 0) return;
    if (is_small(p, count)) {
        tb_parallel_for(exec->pool, count, run_small, p);
        return;
    }
    const tb_gemm_set *sets[TB_GEMM_MOST_SETS];
    if (tb_gemm_sets(sets) > 0) p->set = sets[0];
    p->budget = exec->budget;
    cut(p, count, p->set ? tb_pool_threads(exec->pool) : BLAS_PARTS);
    tb_parallel_for(exec->pool, count * p->panels_m * p->panels_n, run_panel, p);
}

void tb_gemm(tb_exec *exec, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
             float alpha, const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
             float *c, int64_t ldc) {
    tb_gemm_item item = {a, b, c};
    tb_gemm_batch(exec, 1, &item, trans_a, trans_b, m, n, k, alpha, lda, ldb, beta, ldc);
}

void tb_gemm_bias(tb_exec *exec, bool trans_b, int64_t m, int64_t n, int64_t k, const float *a,
                  int64_t lda, const float *b, int64_t ldb, const float *bias, float *c,
                  int64_t ldc) {
    tb_gemm_item item = {a, b, c};
    product p = {.trans_b = trans_b,
                 .m = m,
                 .n = n,
                 .k = k,
                 .lda = lda,
                 .ldb = ldb,
                 .ldc = ldc,
                 .alpha = 1,
                 .bias = bias,
                 .items = &item};
    run(exec, &p, 1);
}

void tb_gemm_batch(tb_exec *exec, int64_t count, const tb_gemm_item *items, bool trans_a,
                   bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, int64_t lda,
                   int64_t ldb, float beta, int64_t ldc) {
    product p = {.trans_a = trans_a,
                 .trans_b = trans_b,
                 .m = m,
                 .n = n,
                 .k = k,
                 .lda = lda,
                 .ldb = ldb,
                 .ldc = ldc,
                 .beta = beta,
                 .alpha = alpha,
                 .items = items};
    run(exec, &p, count);
}
