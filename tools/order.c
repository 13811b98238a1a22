#include "tools/order.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

typedef struct ranked {
    double value;
    int64_t index;
} ranked;

static int by_value(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

tiba_status tb_order(int64_t *order, const double *values, int64_t n, tiba_error *error) {
    ranked *list = tb_calloc(NULL, (size_t)n + 1, sizeof *list);
    if (!list) return tb_out_of_memory(error);
    for (int64_t i = 0; i < n; i++) list[i] = (ranked){isnan(values[i]) ? -INFINITY : values[i], i};
    qsort(list, (size_t)n, sizeof *list, by_value);
    for (int64_t i = 0; i < n; i++) order[i] = list[i].index;
    tb_free(list);
    return TIBA_OK;
}

uint64_t tb_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
