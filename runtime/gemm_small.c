#include "runtime/gemm_small.h"

#include <string.h>

#include "runtime/clones.h"

enum { CHUNK = 64 };

/* sums[j] += a · b[j · step] */
TB_CLONES static void add_row(double *sums, double a, const float *b, int64_t step, int64_t n) {
    if (step == 1)
        for (int64_t j = 0; j < n; j++) sums[j] += a * (double)b[j];
    else
        for (int64_t j = 0; j < n; j++) sums[j] += a * (double)b[j * step];
}

void tb_gemm_small(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
                   const tb_gemm_item *item, int64_t lda, int64_t ldb, float beta,
                   const float *bias, int64_t ldc) {
    double sums[CHUNK];
    int64_t row_a = trans_a ? 1 : lda, step_a = trans_a ? lda : 1;
    int64_t row_b = trans_b ? 1 : ldb, step_b = trans_b ? ldb : 1;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += CHUNK) {
            int64_t width = n - j < CHUNK ? n - j : CHUNK;
            memset(sums, 0, sizeof sums);
            for (int64_t l = 0; l < k; l++)
                add_row(sums, (double)item->a[i * row_a + l * step_a],
                        item->b + l * row_b + j * step_b, step_b, width);
            float *c = item->c + i * ldc + j;
            for (int64_t x = 0; x < width; x++) {
                double sum = (double)alpha * sums[x];
                if (bias)
                    sum += (double)bias[j + x];
                else if (beta != 0.0f)
                    sum += (double)beta * (double)c[x];
                c[x] = (float)sum;
            }
        }
}
