#include "runtime/kernel.h"

#include <string.h>

#include "runtime/lanes.h"

const float *tb_floats(tb_exec *exec, const tiba_tensor *t) {
    if (t->dtype == TIBA_FLOAT32) return t->data;
    tiba_tensor copy = *t;
    copy.dtype = TIBA_FLOAT32;
    copy.data = tb_scratch(exec, (size_t)tb_tensor_count(t), sizeof(float));
    if (copy.data) tb_convert(&copy, t);
    return copy.data;
}

bool tb_broadcasts_to(const tiba_tensor *t, int rank, const int64_t *dims) {
    if (t->rank > rank) return false;
    for (int i = 0; i < t->rank; i++) {
        int64_t wide = dims[rank - t->rank + i];
        if (t->dims[i] != wide && t->dims[i] != 1) return false;
    }
    return true;
}

/* Walks the elements of the wide shape along its last axis and gives each run's place in `t`. */
typedef struct walk {
    int rank;
    int64_t index[TIBA_MAX_RANK], stride[TIBA_MAX_RANK], offset;
} walk;

static walk walk_start(const tiba_tensor *t, int rank) {
    walk w = {.rank = rank};
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        w.stride[rank - t->rank + i] = t->dims[i] == 1 ? 0 : stride;
        stride *= t->dims[i];
    }
    return w;
}

/* On to the next run: carries over all axes but the last. */
static void walk_next(walk *w, const int64_t *dims) {
    for (int i = w->rank - 2; i >= 0; i--) {
        w->offset += w->stride[i];
        if (++w->index[i] < dims[i]) return;
        w->offset -= w->stride[i] * dims[i];
        w->index[i] = 0;
    }
}

void tb_expand_floats(float *out, int rank, const int64_t *dims, const tiba_tensor *t) {
    const float *in = t->data;
    walk w = walk_start(t, rank);
    int64_t run = rank ? dims[rank - 1] : 1, step = rank ? w.stride[rank - 1] : 0;
    int64_t runs = run ? tb_product(dims, 0, rank) / run : 0;
    for (int64_t r = 0; r < runs; r++, out += run, walk_next(&w, dims))
        for (int64_t i = 0; i < run; i++) out[i] = in[w.offset + i * step];
}

bool tb_reduce_floats(tb_exec *exec, tiba_tensor *t, int rank, const int64_t *dims,
                      const float *in) {
    int64_t count = tb_tensor_count(t);
    double *sums = tb_scratch(exec, (size_t)count, sizeof *sums);
    if (!sums) return false;
    for (int64_t i = 0; i < count; i++) sums[i] = 0;
    walk w = walk_start(t, rank);
    int64_t run = rank ? dims[rank - 1] : 1, step = rank ? w.stride[rank - 1] : 0;
    int64_t runs = run ? tb_product(dims, 0, rank) / run : 0;
    for (int64_t r = 0; r < runs; r++, in += run, walk_next(&w, dims))
        for (int64_t i = 0; i < run; i++) sums[w.offset + i * step] += (double)in[i];
    float *out = t->data;
    for (int64_t i = 0; i < count; i++) out[i] = (float)sums[i];
    return true;
}

TB_CLONES static void sum(double *total, const float *x, int64_t n) {
    *total = tb_row_sum(x, n);
}

TB_CLONES static void dot(double *total, const float *x, const float *y, int64_t n) {
    *total = tb_row_product(x, 0, y, 0, n);
}

double tb_sum(const float *x, int64_t n) {
    double total;
    sum(&total, x, n);
    return total;
}

double tb_dot(const float *x, const float *y, int64_t n) {
    double total;
    dot(&total, x, y, n);
    return total;
}

typedef struct ranges {
    int64_t count, step;
    void (*body)(void *, int64_t, int64_t, int);
    void *context;
} ranges;

static void run_range(void *context, int64_t item, int worker) {
    const ranges *r = context;
    int64_t first = item * r->step;
    int64_t last = first + r->step < r->count ? first + r->step : r->count;
    r->body(r->context, first, last, worker);
}

void tb_parallel_ranges(tb_exec *exec, int64_t count, int64_t grain,
                        void (*body)(void *context, int64_t first, int64_t last, int worker),
                        void *context) {
    if (count <= 0) return;
    ranges r = {count, grain < 1 ? 1 : grain, body, context};
    tb_parallel_for(exec->pool, (count + r.step - 1) / r.step, run_range, &r);
}

tiba_status tb_node_axis(int *out, const tb_node *node, int64_t axis, int rank, tiba_error *error) {
    if (axis < -rank || axis >= rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "axis %lld is out of range for rank %d",
                            (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return TIBA_OK;
}

tiba_status tb_need_rank(const tb_node *node, int index, int min_rank, tiba_error *error) {
    if (index >= node->n_in || !node->in[index])
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d is missing", index);
    if (node->in[index]->t.rank < min_rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d has rank %d, needs %d or more",
                            index, node->in[index]->t.rank, min_rank);
    return TIBA_OK;
}

tiba_status tb_need_float(const tb_node *node, int index, tiba_error *error) {
    TB_TRY(tb_need_rank(node, index, 0, error));
    tiba_dtype dtype = node->in[index]->t.dtype;
    if (dtype != TIBA_FLOAT32)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d is %s, needs float32", index,
                            tb_dtype_name(dtype));
    return TIBA_OK;
}
