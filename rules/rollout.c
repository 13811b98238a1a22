#include "rules/rollout.h"

#include <string.h>

void tb_block_relevance(float *e, const float *gradient, const float *relevance, int64_t heads,
                        int64_t queries, int64_t keys, bool transposed) {
    int64_t n = queries * keys;
    memset(e, 0, (size_t)n * sizeof *e);
    if (!gradient || !relevance) return;
    for (int64_t h = 0; h < heads; h++) {
        const float *g = gradient + h * n, *r = relevance + h * n;
        if (transposed) {
            for (int64_t k = 0; k < keys; k++)
                for (int64_t q = 0; q < queries; q++) {
                    float product = g[k * queries + q] * r[k * queries + q];
                    e[q * keys + k] += product > 0.0f ? product : 0.0f;
                }
        } else {
            for (int64_t i = 0; i < n; i++) {
                float product = g[i] * r[i];
                e[i] += product > 0.0f ? product : 0.0f;
            }
        }
    }
    float scale = 1.0f / (float)heads;
    for (int64_t i = 0; i < n; i++) e[i] *= scale;
}

void tb_rollout_step(double *r, double *scratch, const float *e, int64_t tokens, bool normalized) {
    memset(scratch, 0, (size_t)tokens * sizeof *scratch);
    for (int64_t i = 0; i < tokens; i++) {
        if (r[i] == 0.0) continue;
        const float *row = e + i * tokens;
        double weight = r[i];
        if (normalized) {
            double sum = 1.0;
            for (int64_t k = 0; k < tokens; k++) sum += (double)row[k];
            weight /= sum;
        }
        scratch[i] += weight;
        for (int64_t k = 0; k < tokens; k++) scratch[k] += weight * (double)row[k];
    }
    memcpy(r, scratch, (size_t)tokens * sizeof *r);
}
