#include "rules/rollout.h"

#include <math.h>
#include <string.h>

/* e += max(0, g ⊙ r) of one head, r NULL: ones; with its sign if `keep_sign`. */
static void add_head(float *e, const float *g, const float *r, int64_t queries, int64_t keys,
                     bool transposed, bool keep_sign) {
    for (int64_t q = 0; q < queries; q++)
        for (int64_t k = 0; k < keys; k++) {
            int64_t at = transposed ? k * queries + q : q * keys + k;
            float product = r ? g[at] * r[at] : g[at];
            e[q * keys + k] += keep_sign || product > 0.0f ? product : 0.0f;
        }
}

void tb_block_combine(float *e, const float *a, const float *b, int64_t groups, int64_t heads,
                      const int *group_of, int64_t queries, int64_t keys, bool transposed,
                      bool keep_sign) {
    int64_t n = queries * keys;
    memset(e, 0, (size_t)(groups * n) * sizeof *e);
    if (!a) return;
    for (int64_t h = 0; h < groups * heads; h++)
        add_head(e + (group_of ? group_of[h] : 0) * n, a + h * n, b ? b + h * n : NULL, queries,
                 keys, transposed, keep_sign);
    float scale = 1.0f / (float)heads;
    for (int64_t i = 0; i < groups * n; i++) e[i] *= scale;
}

void tb_block_relevance_grouped(float *e, const float *gradient, const float *relevance,
                                int64_t groups, int64_t heads, const int *group_of, int64_t queries,
                                int64_t keys, bool transposed, bool keep_sign) {
    tb_block_combine(e, relevance ? gradient : NULL, relevance, groups, heads, group_of, queries,
                     keys, transposed, keep_sign);
}

void tb_block_relevance(float *e, const float *gradient, const float *relevance, int64_t heads,
                        int64_t queries, int64_t keys, bool transposed, bool keep_sign) {
    tb_block_relevance_grouped(e, gradient, relevance, 1, heads, NULL, queries, keys, transposed,
                               keep_sign);
}

/* By their bits, which the compiler makes vectors of. */
int64_t tb_not_finite(const float *x, int64_t n) {
    const uint32_t exponent = 0x7f800000u;
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        found += (bits & exponent) == exponent;
    }
    return found;
}

void tb_block_read(double *r, double *scratch, const float *e, int64_t tokens) {
    memset(scratch, 0, (size_t)tokens * sizeof *scratch);
    for (int64_t i = 0; i < tokens; i++)
        for (int64_t k = 0; k < tokens && r[i] != 0.0; k++)
            scratch[k] += r[i] * (double)e[i * tokens + k];
    memcpy(r, scratch, (size_t)tokens * sizeof *r);
}

void tb_rollout_step(double *r, double *scratch, const float *e, int64_t tokens, bool normalized) {
    memset(scratch, 0, (size_t)tokens * sizeof *scratch);
    for (int64_t i = 0; i < tokens; i++) {
        if (r[i] == 0.0) continue;
        const float *row = e + i * tokens;
        double weight = r[i];
        if (normalized) {
            double sum = 1.0;
            for (int64_t k = 0; k < tokens; k++) sum += fabs((double)row[k]);
            weight /= sum;
        }
        scratch[i] += weight;
        for (int64_t k = 0; k < tokens; k++) scratch[k] += weight * (double)row[k];
    }
    memcpy(r, scratch, (size_t)tokens * sizeof *r);
}
