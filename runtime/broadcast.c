#include "runtime/broadcast.h"

#include <string.h>

#include "runtime/shapes.h"

void tb_broadcast_plan(tb_broadcast *plan, const tiba_tensor *out, const tiba_tensor *a,
                       const tiba_tensor *b) {
    int64_t stride_a[TIBA_MAX_RANK], stride_b[TIBA_MAX_RANK];
    tb_broadcast_strides(stride_a, out->rank, out->dims, a->rank, a->dims);
    tb_broadcast_strides(stride_b, out->rank, out->dims, b->rank, b->dims);
    memset(plan, 0, sizeof *plan);
    plan->count = tb_tensor_count(out);
    for (int axis = out->rank - 1; axis >= 0; axis--) {
        const int64_t size = out->dims[axis];
        if (size == 1) continue;
        const int last = plan->rank - 1;
        if (plan->rank > 0 && stride_a[axis] == plan->stride_a[last] * plan->dims[last] &&
            stride_b[axis] == plan->stride_b[last] * plan->dims[last]) {
            plan->dims[last] *= size;
            continue;
        }
        plan->dims[plan->rank] = size;
        plan->stride_a[plan->rank] = stride_a[axis];
        plan->stride_b[plan->rank] = stride_b[axis];
        plan->rank++;
    }
    if (plan->rank == 0) plan->dims[plan->rank++] = 1;
    plan->step_a = (int)plan->stride_a[0];
    plan->step_b = (int)plan->stride_b[0];
}

tb_runs tb_runs_start(const tb_broadcast *plan, int64_t begin, int64_t end) {
    tb_runs runs = {.plan = plan, .at = begin, .end = end};
    if (begin >= end) return runs;
    int64_t rest = begin;
    for (int i = 0; i < plan->rank; i++) {
        runs.index[i] = rest % plan->dims[i];
        rest /= plan->dims[i];
        runs.a += runs.index[i] * plan->stride_a[i];
        runs.b += runs.index[i] * plan->stride_b[i];
    }
    return runs;
}

bool tb_runs_next(tb_runs *runs) {
    const tb_broadcast *plan = runs->plan;
    if (runs->n > 0) { /* step behind the last run */
        runs->at += runs->n;
        runs->index[0] += runs->n;
        runs->a += runs->n * plan->stride_a[0];
        runs->b += runs->n * plan->stride_b[0];
        for (int i = 0; i + 1 < plan->rank && runs->index[i] == plan->dims[i]; i++) {
            runs->index[i] = 0;
            runs->index[i + 1]++;
            runs->a += plan->stride_a[i + 1] - plan->dims[i] * plan->stride_a[i];
            runs->b += plan->stride_b[i + 1] - plan->dims[i] * plan->stride_b[i];
        }
    }
    if (runs->at >= runs->end) return false;
    const int64_t left = runs->end - runs->at, row = plan->dims[0] - runs->index[0];
    runs->n = left < row ? left : row;
    return true;
}

tiba_status tb_broadcast_shape(tb_node *node, tiba_dtype dtype, tiba_error *error) {
    int rank = 0;
    int64_t dims[TIBA_MAX_RANK];
    for (int i = 0; i < node->n_in; i++)
        TB_TRY(
            tb_broadcast_dims(node, &rank, dims, node->in[i]->t.rank, node->in[i]->t.dims, error));
    return tb_set_out(node, 0, dtype, rank, dims, error);
}
