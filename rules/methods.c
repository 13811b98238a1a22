#include "rules/methods.h"

#include <string.h>

#include "rules/reverse.h"

static const tb_method methods[] = {
#define METHOD(id, name, alias, ruleset, combine, reads, rows, summary)                            \
    [TIBA_METHOD_##id] = {                                                                         \
        name,       alias, summary, TB_RULESET_##ruleset, TB_COMBINE_##combine, TB_READS_##reads,  \
        ROWS_##rows},
#define ROWS_DEFAULT    false
#define ROWS_NORMALIZED true
#include "rules/method.def"
#undef METHOD
};

const tb_method *tb_method_at(int method) {
    int n = (int)(sizeof methods / sizeof *methods);
    return method >= 0 && method < n ? &methods[method] : NULL;
}

bool tb_method_per_class(const tb_method *m) {
    return m->combine != TB_COMBINE_ATTENTION && m->reads != TB_READS_NOTHING;
}

bool tb_method_reads_attention(const tb_method *m) {
    return m->combine == TB_COMBINE_GRADIENT_ATTENTION || m->combine == TB_COMBINE_ATTENTION ||
           m->combine == TB_COMBINE_GRADCAM;
}

int tb_method_carries(const tb_method *m) {
    switch (m->combine) {
    case TB_COMBINE_GRADIENT_RELEVANCE:
        return TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE;
    case TB_COMBINE_GRADIENT_ATTENTION:
    case TB_COMBINE_GRADCAM:
    case TB_COMBINE_GRADIENT_INPUT:
        return TB_REVERSE_GRADIENT;
    case TB_COMBINE_RELEVANCE:
        return TB_REVERSE_RELEVANCE;
    case TB_COMBINE_NONE:
        return m->reads == TB_READS_INPUT ? TB_REVERSE_RELEVANCE : 0;
    case TB_COMBINE_ATTENTION:
        break;
    }
    return 0;
}

/* The group of a row of heads, and which of the group's heads it is. */
static int64_t group_of_row(const tb_gradcam *how, int64_t row, int64_t *head) {
    int64_t group = how->group_of ? how->group_of[row] : row / how->heads;
    *head = 0;
    for (int64_t i = 0; i < row; i++)
        *head += (how->group_of ? how->group_of[i] : i / how->heads) == group;
    return group;
}

void tb_block_gradcam(float *e, const float *p, const float *gradient, const tb_gradcam *how) {
    int64_t nq = how->queries, nk = how->keys, n = nq * nk, rows = how->groups * how->heads;
    double counted = (double)(how->last > how->first ? how->last - how->first : 1);
    memset(e, 0, (size_t)(how->groups * n) * sizeof *e);
    for (int64_t h = 0; h < how->heads; h++) {
        double weight = 0;
        for (int pass = 0; pass < 2; pass++) /* what the head is worth; what it attends to */
            for (int64_t row = 0; row < rows; row++) {
                int64_t head, group = group_of_row(how, row, &head);
                if (head != h) continue;
                const double *read = how->read + group * nq;
                const float *g = gradient + row * n, *ph = p + row * n;
                for (int64_t q = 0; q < nq; q++)
                    for (int64_t k = 0; k < nk; k++) {
                        int64_t at = how->transposed ? k * nq + q : q * nk + k;
                        if (pass)
                            e[group * n + q * nk + k] += (float)(weight * (double)ph[at]);
                        else if (k >= how->first && k < how->last && read[q] > 0.0)
                            weight += read[q] * (double)g[at] / (counted * (double)how->heads);
                    }
            }
    }
    for (int64_t i = 0; i < how->groups * n; i++)
        if (!(e[i] > 0.0f)) e[i] = 0.0f;
}

bool tb_pixel_axes_of(tb_pixel_axes *out, const tiba_tensor *t) {
    *out = (tb_pixel_axes){.channels = 1};
    if (t->rank == 3) {
        out->rows = t->dims[1], out->columns = t->dims[2];
        out->row = out->columns, out->column = 1;
    } else if (t->rank == 4 && t->dims[1] <= t->dims[3]) {
        out->channels = t->dims[1], out->rows = t->dims[2], out->columns = t->dims[3];
        out->channel = out->rows * out->columns, out->row = out->columns, out->column = 1;
    } else if (t->rank == 4) {
        out->rows = t->dims[1], out->columns = t->dims[2], out->channels = t->dims[3];
        out->row = out->columns * out->channels, out->column = out->channels, out->channel = 1;
    }
    return out->rows > 0 && out->columns > 0;
}

void tb_pixel_sums(float *map, const tb_pixel_axes *x, const float *a, const float *b) {
    for (int64_t r = 0; r < x->rows; r++)
        for (int64_t c = 0; c < x->columns; c++) {
            double sum = 0;
            for (int64_t k = 0; k < x->channels; k++) {
                int64_t at = r * x->row + c * x->column + k * x->channel;
                sum += (double)a[at] * (b ? (double)b[at] : 1.0);
            }
            map[r * x->columns + c] = (float)sum;
        }
}

void tb_random_numbers(double *out, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) { /* splitmix64 */
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        out[i] = (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
    }
}

uint64_t tb_seed_of(const void *data, size_t size) {
    const unsigned char *bytes = data;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}
