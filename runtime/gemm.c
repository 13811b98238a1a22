#include "runtime/gemm.h"

#include <cblas.h>

/* A panel is the unit of work; its size depends on the product's shape only. */
enum { PANEL_ROWS = 256, PANEL_COLS = 192 };

typedef struct product {
    bool trans_a, trans_b;
    int64_t m, n, k, lda, ldb, ldc, panels_m, panels_n;
    float alpha, beta;
    const float *bias;
    const tb_gemm_item *items;
} product;

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
    blas_one_thread();
    int64_t panel = index % (p->panels_m * p->panels_n);
    const tb_gemm_item *item = &p->items[index / (p->panels_m * p->panels_n)];
    int64_t row = panel % p->panels_m * PANEL_ROWS, col = panel / p->panels_m * PANEL_COLS;
    int64_t m = p->m - row < PANEL_ROWS ? p->m - row : PANEL_ROWS;
    int64_t n = p->n - col < PANEL_COLS ? p->n - col : PANEL_COLS;
    const float *a = item->a + (p->trans_a ? row : row * p->lda);
    const float *b = item->b + (p->trans_b ? col * p->ldb : col);
    float *c = item->c + row * p->ldc + col;
    float beta = p->beta;
    if (p->bias) {
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) c[i * p->ldc + j] = p->bias[col + j];
        beta = 1;
    }
    cblas_sgemm(CblasRowMajor, p->trans_a ? CblasTrans : CblasNoTrans,
                p->trans_b ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)p->k, p->alpha, a,
                (int)p->lda, b, (int)p->ldb, beta, c, (int)p->ldc);
}

static void run(tb_exec *exec, product *p, int64_t count) {
    if (p->m <= 0 || p->n <= 0 || count <= 0) return;
    p->panels_m = (p->m + PANEL_ROWS - 1) / PANEL_ROWS;
    p->panels_n = (p->n + PANEL_COLS - 1) / PANEL_COLS;
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
                 .alpha = 1.f,
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
