/*
 * op_scan.c: operators along one axis that are no reductions to a number: ArgMax, ArgMin, CumSum,
 * CumProd, TopK. An array is seen as [outer, n, inner] around that axis.
 */
#include <math.h>
#include <string.h>

#include "runtime/shapes.h"

typedef struct around {
    int axis;
    int64_t outer, n, inner;
} around;

static around split_at(const tiba_tensor *x, int axis) {
    return (around){axis, tb_product(x->dims, 0, axis), x->dims[axis],
                    tb_product(x->dims, axis + 1, x->rank)};
}

/* Is element i of x above element k? NaN counts as larger than every number. */
static bool above(const tiba_tensor *x, int64_t i, int64_t k) {
    if (x->dtype == TIBA_FLOAT32) {
        const float a = ((const float *)x->data)[i], b = ((const float *)x->data)[k];
        return a > b || (a != a && b == b);
    }
    const int64_t a = tb_get_i64(x, i), b = tb_get_i64(x, k);
    return x->dtype == TIBA_UINT64 ? (uint64_t)a > (uint64_t)b : a > b;
}

static tiba_status need_number(const tb_node *node, tiba_error *error) {
    const tiba_dtype dtype = node->in[0]->t.dtype;
    if (dtype == TIBA_FLOAT32 || tb_dtype_is_integer(dtype)) return TIBA_OK;
    return tb_node_fail(error, TIBA_ERROR_INPUT, node, "does not take %s", tb_dtype_name(dtype));
}

/* ---------------------------------------------------------------- ArgMax, ArgMin */

static tiba_status arg_axis(around *out, const tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int axis;
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", 0), x->rank, error));
    *out = split_at(x, axis);
    return TIBA_OK;
}

static tiba_status arg_shape(tb_node *node, tiba_error *error) {
    around a;
    TB_TRY(need_number(node, error));
    TB_TRY(arg_axis(&a, node, error));
    if (a.n == 0) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "axis %d is empty", a.axis);
    const tiba_tensor *x = &node->in[0]->t;
    const bool keep = tb_attr_int(node, "keepdims", 1) != 0;
    int rank = 0;
    int64_t dims[TIBA_MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        if (i != a.axis)
            dims[rank++] = x->dims[i];
        else if (keep)
            dims[rank++] = 1;
    return tb_set_out(node, 0, TIBA_INT64, rank, dims, error);
}

static tiba_status arg_forward(const tb_node *node, bool lowest, const tiba_tensor *x,
                               tiba_tensor *y, tiba_error *error) {
    around a;
    TB_TRY(arg_axis(&a, node, error));
    const bool last = tb_attr_int(node, "select_last_index", 0) != 0;
    int64_t *index = y->data;
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++) {
            const int64_t base = o * a.n * a.inner + i;
            int64_t best = 0;
            for (int64_t k = 1; k < a.n; k++) {
                const int64_t here = base + k * a.inner, there = base + best * a.inner;
                const bool wins = lowest ? above(x, there, here) : above(x, here, there);
                const bool loses = lowest ? above(x, here, there) : above(x, there, here);
                if (wins || (last && !loses)) best = k;
            }
            *index++ = best;
        }
    return TIBA_OK;
}

static tiba_status ArgMax_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error) {
    (void)exec;
    return arg_forward(node, false, in[0], out[0], error);
}

static tiba_status ArgMin_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error) {
    (void)exec;
    return arg_forward(node, true, in[0], out[0], error);
}

const tb_op_def tb_op_def_ArgMax = {
    .shape = arg_shape, .forward = ArgMax_forward, .no_vjp = "integer result"};
const tb_op_def tb_op_def_ArgMin = {
    .shape = arg_shape, .forward = ArgMin_forward, .no_vjp = "integer result"};

/* ---------------------------------------------------------------- CumSum, CumProd */

static tiba_status running_axis(around *out, const tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t value;
    int count, axis;
    TB_TRY(tb_read_ints(&value, &count, 1, node, 1, "axis", error));
    if (count != 1) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its axis is empty");
    TB_TRY(tb_node_axis(&axis, node, value, x->rank, error));
    *out = split_at(x, axis);
    return TIBA_OK;
}

static tiba_status running_shape(tb_node *node, tiba_error *error) {
    around a;
    TB_TRY(need_number(node, error));
    TB_TRY(running_axis(&a, node, error));
    const tiba_tensor *x = &node->in[0]->t;
    return tb_set_out(node, 0, x->dtype, x->rank, x->dims, error);
}

static void cumulate(const around *a, bool product, bool exclusive, bool reverse,
                     const tiba_tensor *x, tiba_tensor *y) {
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++) {
            double sum = product;
            uint64_t total = product;
            for (int64_t k = 0; k < a->n; k++) {
                const int64_t at = (o * a->n + (reverse ? a->n - 1 - k : k)) * a->inner + i;
                if (x->dtype == TIBA_FLOAT32) {
                    const double value = (double)((const float *)x->data)[at];
                    const double next = product ? sum * value : sum + value;
                    ((float *)y->data)[at] = (float)(exclusive ? sum : next);
                    sum = next;
                } else {
                    const uint64_t value = (uint64_t)tb_get_i64(x, at);
                    const uint64_t next = product ? total * value : total + value;
                    tb_set_i64(y, at, (int64_t)(exclusive ? total : next));
                    total = next;
                }
            }
        }
}

static tiba_status running_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                   tiba_tensor *const *out, tiba_error *error) {
    (void)exec;
    around a;
    TB_TRY(running_axis(&a, node, error));
    cumulate(&a, node->op->kind == TB_OP_CumProd, tb_attr_int(node, "exclusive", 0) != 0,
             tb_attr_int(node, "reverse", 0) != 0, in[0], out[0]);
    return TIBA_OK;
}

static tiba_status CumSum_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              const tiba_tensor *const *out, const tiba_tensor *const *dout,
                              tiba_tensor *const *din, tiba_error *error) {
    (void)exec, (void)in, (void)out;
    if (!din[0]) return TIBA_OK;
    if (!dout[0]) {
        memset(din[0]->data, 0, tb_tensor_bytes(din[0]));
        return TIBA_OK;
    }
    around a;
    TB_TRY(running_axis(&a, node, error));
    cumulate(&a, false, tb_attr_int(node, "exclusive", 0) != 0,
             tb_attr_int(node, "reverse", 0) == 0, dout[0], din[0]);
    return TIBA_OK;
}

/* Σ over the products that x[i] is in of dy times the others, so that zeros divide nothing. */
static double product_grad(const float *x, const float *dy, int64_t n, int64_t step, int64_t i,
                           bool exclusive) {
    double others = 1, sum = 0;
    for (int64_t k = 0; k < i; k++) others *= (double)x[k * step];
    for (int64_t k = i; k < n; k++) {
        if (k > i && exclusive) sum += (double)dy[k * step] * others;
        if (k > i) others *= (double)x[k * step];
        if (!exclusive) sum += (double)dy[k * step] * others;
    }
    return sum;
}

static tiba_status CumProd_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               const tiba_tensor *const *out, const tiba_tensor *const *dout,
                               tiba_tensor *const *din, tiba_error *error) {
    (void)exec, (void)out;
    if (!din[0]) return TIBA_OK;
    memset(din[0]->data, 0, tb_tensor_bytes(din[0]));
    if (!dout[0]) return TIBA_OK;
    around a;
    TB_TRY(running_axis(&a, node, error));
    const bool exclusive = tb_attr_int(node, "exclusive", 0) != 0;
    const bool reverse = tb_attr_int(node, "reverse", 0) != 0;
    for (int64_t line = 0; line < a.outer * a.inner; line++) {
        int64_t first = line / a.inner * a.n * a.inner + line % a.inner, step = a.inner;
        if (reverse) { /* the same from the other end */
            first += (a.n - 1) * step;
            step = -step;
        }
        const float *x = (const float *)in[0]->data + first;
        const float *dy = (const float *)dout[0]->data + first;
        for (int64_t i = 0; i < a.n; i++)
            ((float *)din[0]->data + first)[i * step] =
                (float)product_grad(x, dy, a.n, step, i, exclusive);
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_CumSum = {
    .shape = running_shape, .forward = running_forward, .vjp = CumSum_vjp};
const tb_op_def tb_op_def_CumProd = {.shape = running_shape,
                                     .forward = running_forward,
                                     .vjp = CumProd_vjp,
                                     .needs = TB_NEEDS_IN(0)};

/* ---------------------------------------------------------------- TopK */

static tiba_status TopK_axis(around *out, int64_t *k, const tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int count, axis;
    TB_TRY(tb_read_ints(k, &count, 1, node, 1, "k", error));
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", -1), x->rank, error));
    *out = split_at(x, axis);
    if (count != 1 || *k < 0 || *k > out->n)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "k is not one of 0 to %lld",
                            (long long)out->n);
    return TIBA_OK;
}

static tiba_status TopK_shape(tb_node *node, tiba_error *error) {
    around a;
    int64_t k, dims[TIBA_MAX_RANK];
    TB_TRY(need_number(node, error));
    TB_TRY(TopK_axis(&a, &k, node, error));
    const tiba_tensor *x = &node->in[0]->t;
    for (int i = 0; i < x->rank; i++) dims[i] = i == a.axis ? k : x->dims[i];
    TB_TRY(tb_set_out(node, 0, x->dtype, x->rank, dims, error));
    return tb_set_out(node, 1, TIBA_INT64, x->rank, dims, error);
}

/* One line of the axis; `best` is a heap of positions with the worst one at the top. */
typedef struct lane {
    const tiba_tensor *x;
    int64_t base, step;
    bool largest;
} lane;

/* Of equals the one in front is better. */
static bool better(const lane *l, int64_t a, int64_t b) {
    const int64_t at_a = l->base + a * l->step, at_b = l->base + b * l->step;
    if (l->largest ? above(l->x, at_a, at_b) : above(l->x, at_b, at_a)) return true;
    if (l->largest ? above(l->x, at_b, at_a) : above(l->x, at_a, at_b)) return false;
    return a < b;
}

static void sink(const lane *l, int64_t *heap, int64_t size, int64_t at) {
    const int64_t item = heap[at];
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && better(l, heap[child], heap[child + 1])) child++;
        if (better(l, heap[child], item)) break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

/* The k best positions, best first, into best[k]. */
static void select_best(const lane *l, int64_t n, int64_t k, int64_t *best) {
    for (int64_t i = 0; i < k; i++) best[i] = i;
    for (int64_t i = k / 2; i-- > 0;) sink(l, best, k, i);
    for (int64_t i = k; i < n && k > 0; i++)
        if (better(l, i, best[0])) {
            best[0] = i;
            sink(l, best, k, 0);
        }
    for (int64_t size = k; size-- > 1;) { /* the worst goes to the end */
        const int64_t worst = best[0];
        best[0] = best[size];
        best[size] = worst;
        sink(l, best, size, 0);
    }
}

static tiba_status TopK_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    around a;
    int64_t k;
    TB_TRY(TopK_axis(&a, &k, node, error));
    int64_t *best = tb_scratch(exec, (size_t)k, sizeof *best);
    if (!best) return tb_out_of_memory(error);
    lane l = {.x = in[0], .step = a.inner, .largest = tb_attr_int(node, "largest", 1) != 0};
    tiba_tensor *values = out[0], *indices = node->n_out > 1 ? out[1] : NULL;
    const size_t size = tb_dtype_size(in[0]->dtype);
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++) {
            l.base = o * a.n * a.inner + i;
            select_best(&l, a.n, k, best);
            for (int64_t r = 0; r < k; r++) {
                const int64_t to = (o * k + r) * a.inner + i;
                const int64_t from = l.base + best[r] * a.inner;
                if (values)
                    memcpy((char *)values->data + (size_t)to * size,
                           (const char *)in[0]->data + (size_t)from * size, size);
                if (indices) ((int64_t *)indices->data)[to] = best[r];
            }
        }
    return TIBA_OK;
}

/* The indices are an output that the node may not have, so the selection is made again. */
static tiba_status TopK_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                            const tiba_tensor *const *out, const tiba_tensor *const *dout,
                            tiba_tensor *const *din, tiba_error *error) {
    (void)out;
    if (!din[0]) return TIBA_OK;
    memset(din[0]->data, 0, tb_tensor_bytes(din[0]));
    if (!dout[0]) return TIBA_OK;
    around a;
    int64_t k;
    TB_TRY(TopK_axis(&a, &k, node, error));
    int64_t *best = tb_scratch(exec, (size_t)k, sizeof *best);
    if (!best) return tb_out_of_memory(error);
    lane l = {.x = in[0], .step = a.inner, .largest = tb_attr_int(node, "largest", 1) != 0};
    const float *dy = dout[0]->data;
    float *dx = din[0]->data;
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++) {
            l.base = o * a.n * a.inner + i;
            select_best(&l, a.n, k, best);
            for (int64_t r = 0; r < k; r++)
                dx[l.base + best[r] * a.inner] = dy[(o * k + r) * a.inner + i];
        }
    return TIBA_OK;
}

const tb_op_def tb_op_def_TopK = {.shape = TopK_shape,
                                  .forward = TopK_forward,
                                  .vjp = TopK_vjp,
                                  .needs = TB_NEEDS_IN(0),
                                  .inactive_outputs = 1u << 1};
