#include "tools/embedding.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

const char *tb_embedding_output(const tiba_model *model) {
    for (int i = 0; i < tiba_model_outputs(model); i++) {
        tiba_port port = tiba_model_output(model, i);
        bool named = strstr(port.name, "embeds") || strcmp(port.name, "sentence_embedding") == 0;
        if (named && (port.rank == 2 || port.rank < 0)) return port.name;
    }
    return NULL;
}

double tb_cosine(const float *a, const float *b, int64_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0.0 && bb > 0.0 ? ab / sqrt(aa * bb) : 0.0;
}

void tb_cosine_seeds(tiba_seed *seeds, int *count, const float *a, const float *b, int64_t n,
                     int64_t first, double scale) {
    double aa = 0, bb = 0, cosine = tb_cosine(a, b, n);
    for (int64_t i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    double la = sqrt(aa), lb = sqrt(bb);
    for (int64_t i = 0; i < n; i++) {
        double x = la > 0.0 ? (double)a[i] / la : 0.0, y = lb > 0.0 ? (double)b[i] / lb : 0.0;
        double gradient = la > 0.0 ? scale * (y - cosine * x) / la : 0.0;
        /* the rule of a product of two activations, then of the division by the norm */
        double relevance = cosine != 0.0 ? 0.5 * x * y / cosine : 0.0;
        seeds[(*count)++] = (tiba_seed){first + i, (float)gradient, (float)relevance};
    }
}
