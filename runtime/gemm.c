#include "runtime/gemm.h"

#include <cblas.h>
#include <string.h>

#include "runtime/clones.h"
#include "runtime/fetch.h"
#include "runtime/gemm_kernel.h"
#include "runtime/gemm_small.h"
#include "runtime/profile.h"

/* A panel of rows of A is copied once, block by block of k, for all threads. Then a strip of
 * columns of B, as wide as a tile, is the unit of work: each block of it is packed into first-level
 * cache and meets all rows of the panel while its next block is on the way from memory. */
enum { PANEL_ROWS = 18 * TB_GEMM_MOST_ROWS, PART_TILES = 4, FEW_STRIPS = 2, BLAS_PARTS = 4 };

typedef struct product {
    bool trans_a, trans_b;
    int64_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *bias;
    const tb_gemm_item *items;
    const tb_gemm_set *set; /* NULL: BLAS */
    int64_t first, rows;    /* the panel at work */
    int64_t strips, parts;  /* its units: strips of columns, each in parts of rows */
    int64_t head;           /* columns of the first strip */
    int64_t threads;
    float *packed; /* the panel's rows of A, or NULL: every unit copies what it reads */
} product;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The first column of a strip. */
static int64_t strip_start(const product *p, int64_t index) {
    return index ? p->head + (index - 1) * p->set->cols : 0;
}

/* ---- the left operand ---- */

/* Rows of A, first … first + rows - 1, columns at … at + k - 1, as tiles take them. */
static void copy_rows(const product *p, const float *a, int64_t first, int64_t rows, int64_t at,
                      int64_t k, float *out) {
    if (p->trans_a) {
        p->set->pack(true, rows, k, TB_GEMM_STRIDE_A, a + at * p->lda + first, p->lda, out);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        memcpy(out + i * TB_GEMM_STRIDE_A, a + (first + i) * p->lda + at,
               (size_t)k * sizeof(float));
}

static int64_t blocks_of(const product *p) {
    return (p->k + TB_GEMM_DEPTH - 1) / TB_GEMM_DEPTH;
}

static int64_t tiles_of(const product *p, int64_t rows) {
    return (rows + p->set->rows - 1) / p->set->rows;
}

static void copy_block(void *context, int64_t block, int worker) {
    (void)worker;
    const product *p = context;
    int64_t at = block * TB_GEMM_DEPTH;
    copy_rows(p, p->items->a, p->first, p->rows, at, least(p->k - at, TB_GEMM_DEPTH),
              p->packed + block * p->rows * TB_GEMM_STRIDE_A);
}

/* ---- a strip of columns ---- */

typedef struct strip {
    const product *p;
    const tb_gemm_item *item;
    const float *packed; /* of the panel that starts at `origin` and has `height` rows, or NULL */
    int64_t origin, height, first, rows, index, col, cols;
    bool direct; /* B is read where it is */
} strip;

static tb_fetch coming_block(const strip *s, int64_t at) {
    const product *p = s->p;
    int64_t index = s->index;
    at += TB_GEMM_DEPTH;
    if (at >= p->k) {
        at = 0;
        index++;
    }
    if (index >= p->strips) return (tb_fetch){0};
    int64_t col = strip_start(p, index);
    return tb_fetch_block(s->item->b, p->ldb, p->trans_b, at, least(p->k - at, TB_GEMM_DEPTH), col,
                          least(p->n - col, p->set->cols));
}

/* sums (+)= the block of k that starts at `at`; b: packed, or where it is. */
static void run_block(const strip *s, int64_t at, const float *b, float *sums) {
    const product *p = s->p;
    const tb_gemm_set *set = p->set;
    _Alignas(64) float copied[TB_GEMM_MOST_ROWS * TB_GEMM_STRIDE_A];
    int64_t k = least(p->k - at, TB_GEMM_DEPTH), tiles = tiles_of(p, s->rows);
    tb_fetch next = coming_block(s, at);
    for (int64_t i = 0; i < tiles; i++) {
        int64_t row = s->rows * i / tiles, rows = s->rows * (i + 1) / tiles - row;
        const float *a = copied;
        if (s->packed)
            a = s->packed +
                (at / TB_GEMM_DEPTH * s->height + s->first - s->origin + row) * TB_GEMM_STRIDE_A;
        else
            copy_rows(p, s->item->a, s->first + row, rows, at, k, copied);
        tb_fetch_part(&next, i + 1, tiles);
        set->tile(rows, s->direct ? s->cols : set->cols, k, 1, a, b, s->direct ? p->ldb : set->cols,
                  at > 0, sums + row * set->cols, set->cols);
    }
}

/* c = alpha sums + bias + beta c */
TB_CLONES static void finish(float *c, int64_t ldc, const float *sums, int64_t ld_sums,
                             int64_t rows, int64_t cols, const float *restrict bias, float alpha,
                             float beta) {
    for (int64_t i = 0; i < rows; i++) {
        float *restrict to = c + i * ldc;
        const float *restrict from = sums + i * ld_sums;
        if (bias)
            for (int64_t j = 0; j < cols; j++) to[j] = alpha * from[j] + bias[j];
        else if (beta == 0)
            for (int64_t j = 0; j < cols; j++) to[j] = alpha * from[j];
        else
            for (int64_t j = 0; j < cols; j++) to[j] = alpha * from[j] + beta * to[j];
    }
}

static void run_strip(strip *s) {
    const product *p = s->p;
    _Alignas(64) float packed_b[TB_GEMM_DEPTH * TB_GEMM_MOST_COLS];
    _Alignas(64) float sums[PANEL_ROWS * TB_GEMM_MOST_COLS];
    s->col = strip_start(p, s->index);
    s->cols = least(p->n, strip_start(p, s->index + 1)) - s->col;
    /* With few rows packing would cost more than it saves. */
    s->direct = s->rows <= p->set->rows && !p->trans_b && s->cols % p->set->vector == 0;
    if (p->k == 0) memset(sums, 0, (size_t)(s->rows * p->set->cols) * sizeof *sums);
    for (int64_t at = 0; at < p->k; at += TB_GEMM_DEPTH) {
        const float *b = s->item->b + (p->trans_b ? s->col * p->ldb + at : at * p->ldb + s->col);
        if (!s->direct)
            p->set->pack(p->trans_b, least(p->k - at, TB_GEMM_DEPTH), s->cols, p->set->cols, b,
                         p->ldb, packed_b);
        run_block(s, at, s->direct ? b : packed_b, sums);
    }
    finish(s->item->c + s->first * p->ldc + s->col, p->ldc, sums, p->set->cols, s->rows, s->cols,
           p->bias ? p->bias + s->col : NULL, p->alpha, p->beta);
}

/* ---- units of work ---- */

/* Of one product: a strip of the panel, or a part of its rows. */
static void run_unit(void *context, int64_t index, int worker) {
    (void)worker;
    const product *p = context;
    int64_t part = index % p->parts, row = p->rows * part / p->parts;
    strip s = {.p = p,
               .item = p->items,
               .packed = p->packed,
               .origin = p->first,
               .height = p->rows,
               .first = p->first + row,
               .rows = p->rows * (part + 1) / p->parts - row,
               .index = index / p->parts};
    run_strip(&s);
}

static void run_one(tb_exec *exec, product *p) {
    int64_t panels = (p->m + PANEL_ROWS - 1) / PANEL_ROWS, rows = (p->m + panels - 1) / panels;
    float *given = p->packed;
    if (p->strips <= FEW_STRIPS)
        p->packed = NULL;
    else if (!given)
        p->packed = tb_alloc(exec->budget,
                             (size_t)(rows * blocks_of(p) * TB_GEMM_STRIDE_A) * sizeof(float));
    for (p->first = 0; p->first < p->m; p->first += rows) {
        p->rows = least(p->m - p->first, rows);
        if (p->packed) tb_parallel_for(exec->pool, blocks_of(p), copy_block, p);
        int64_t most = tiles_of(p, p->rows) / PART_TILES;
        int64_t wanted = (4 * p->threads + p->strips - 1) / p->strips;
        p->parts = least(wanted < 1 ? 1 : wanted, most < 1 ? 1 : most);
        tb_parallel_for(exec->pool, p->strips * p->parts, run_unit, p);
    }
    if (!given) tb_free(p->packed);
}

/* Of a batch: a panel of one product's rows, all strips. */
static void run_item(void *context, int64_t index, int worker) {
    const product *p = context;
    int64_t part = index % p->parts, row = p->m * part / p->parts;
    strip s = {.p = p,
               .item = &p->items[index / p->parts],
               .origin = row,
               .first = row,
               .rows = p->m * (part + 1) / p->parts - row};
    s.height = s.rows;
    if (p->packed) {
        float *packed = p->packed + worker * p->rows * blocks_of(p) * TB_GEMM_STRIDE_A;
        for (int64_t at = 0; at < p->k; at += TB_GEMM_DEPTH)
            copy_rows(p, s.item->a, row, s.rows, at, least(p->k - at, TB_GEMM_DEPTH),
                      packed + at / TB_GEMM_DEPTH * s.rows * TB_GEMM_STRIDE_A);
        s.packed = packed;
    }
    for (; s.index < p->strips; s.index++) run_strip(&s);
}

static void run_batch(tb_exec *exec, product *p, int64_t count) {
    int64_t most = tiles_of(p, p->m) / PART_TILES, wanted = 2 * p->threads / count;
    p->parts = (p->m + PANEL_ROWS - 1) / PANEL_ROWS;
    if (p->parts < wanted) p->parts = least(wanted, p->parts > most ? p->parts : most);
    p->rows = (p->m + p->parts - 1) / p->parts;
    if (p->strips > FEW_STRIPS)
        p->packed = tb_alloc(exec->budget,
                             (size_t)(p->threads * p->rows * blocks_of(p) * TB_GEMM_STRIDE_A) *
                                 sizeof(float));
    tb_parallel_for(exec->pool, count * p->parts, run_item, p);
    tb_free(p->packed);
}

/* ---- without tiles of our own ---- */

/* The OpenMP build of OpenBLAS keeps the number of threads per calling thread, the pthread build
 * once for all: setting it to 1 once in every thread serves both. */
static void blas_one_thread(void) {
    static _Thread_local bool done;
    if (!done) openblas_set_num_threads(1);
    done = true;
}

/* A fixed cut: other cuts may give other bytes. */
static void run_blas(void *context, int64_t index, int worker) {
    (void)worker;
    const product *p = context;
    const tb_gemm_item *item = &p->items[index / BLAS_PARTS];
    int64_t part = index % BLAS_PARTS, col = p->n * part / BLAS_PARTS,
            cols = p->n * (part + 1) / BLAS_PARTS - col;
    if (cols == 0) return;
    float beta = p->beta;
    for (int64_t i = 0; p->bias && i < p->m; i++)
        memcpy(item->c + i * p->ldc + col, p->bias + col, (size_t)cols * sizeof(float));
    if (p->bias) beta = 1;
    blas_one_thread();
    cblas_sgemm(CblasRowMajor, p->trans_a ? CblasTrans : CblasNoTrans,
                p->trans_b ? CblasTrans : CblasNoTrans, (int)p->m, (int)cols, (int)p->k, p->alpha,
                item->a, (int)p->lda, item->b + (p->trans_b ? col * p->ldb : col), (int)p->ldb,
                beta, item->c + col, (int)p->ldc);
}

static void run_small(void *context, int64_t index, int worker) {
    (void)worker;
    const product *p = context;
    tb_gemm_small(p->trans_a, p->trans_b, p->m, p->n, p->k, p->alpha, &p->items[index], p->lda,
                  p->ldb, p->beta, p->bias, p->ldc);
}

/* Sizes that multiply to TB_GEMM_SMALL at most; each factor is at least 1 here. */
bool tb_gemm_is_small(int64_t count, int64_t m, int64_t n, int64_t k) {
    int64_t work = count, factors[3] = {m, n, k};
    for (int i = 0; i < 3; i++) {
        if (work > TB_GEMM_SMALL || factors[i] > TB_GEMM_SMALL) return false;
        work *= factors[i] ? factors[i] : 1;
    }
    return work <= TB_GEMM_SMALL;
}

/* Columns of the first strip: where rows of B start within a cache line, the others shall not. */
static int64_t first_strip(const product *p) {
    int64_t line = p->set->vector, cols = p->set->cols;
    uintptr_t size = (uintptr_t)line * sizeof(float);
    int64_t over = (int64_t)((uintptr_t)p->items->b % size / sizeof(float));
    return p->trans_b || p->ldb % line != 0 || over == 0 ? cols : cols - over;
}

static void run_sized(tb_exec *exec, product *p, int64_t count, bool small) {
    if (p->m <= 0 || p->n <= 0 || count <= 0) return;
    tb_profile_products(exec, count, p->m, p->n, p->k);
    if (small) {
        tb_parallel_for(exec->pool, count, run_small, p);
        return;
    }
    const tb_gemm_set *sets[TB_GEMM_MOST_SETS];
    if (tb_gemm_sets(sets) == 0) {
        tb_parallel_for(exec->pool, count * BLAS_PARTS, run_blas, p);
        return;
    }
    p->set = sets[0];
    p->head = least(p->n, first_strip(p));
    p->strips = 1 + (p->n - p->head + p->set->cols - 1) / p->set->cols;
    p->threads = tb_pool_threads(exec->pool);
    if (count == 1)
        run_one(exec, p);
    else
        run_batch(exec, p, count);
}

static void run(tb_exec *exec, product *p, int64_t count) {
    run_sized(exec, p, count, tb_gemm_is_small(count, p->m, p->n, p->k));
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

int64_t tb_gemm_room(int64_t m, int64_t k) {
    return least(m, PANEL_ROWS) * ((k + TB_GEMM_DEPTH - 1) / TB_GEMM_DEPTH) * TB_GEMM_STRIDE_A;
}

void tb_gemm_alone(tb_exec *exec, float *room, bool small, bool trans_a, bool trans_b, int64_t m,
                   int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
                   float *c, int64_t ldc) {
    tb_gemm_item item = {a, b, c};
    product p = {.trans_a = trans_a,
                 .trans_b = trans_b,
                 .m = m,
                 .n = n,
                 .k = k,
                 .lda = lda,
                 .ldb = ldb,
                 .ldc = ldc,
                 .alpha = 1,
                 .items = &item,
                 .packed = room};
    run_sized(exec, &p, 1, small);
}
