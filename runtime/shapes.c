#include "runtime/shapes.h"

#include <inttypes.h>
#include <string.h>

tiba_status tb_set_out(tb_node *node, int k, tiba_dtype dtype, int rank, const int64_t *dims,
                       tiba_error *error) {
    int64_t count;
    if (rank > TIBA_MAX_RANK)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its output has %d dimensions, more than the %d that are supported",
                            rank, TIBA_MAX_RANK);
    if (!tb_count(&count, rank, dims))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its output's shape is out of range");
    if (tb_dtype_size(dtype) == 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "elements of type %s are not supported",
                            tb_dtype_name(dtype));
    if (k >= node->n_out || !node->out[k]) return TIBA_OK;
    tiba_tensor *t = &node->out[k]->t;
    t->dtype = dtype;
    t->rank = rank;
    for (int i = 0; i < rank; i++) t->dims[i] = dims[i];
    return TIBA_OK;
}

tiba_status tb_need_ints(const tb_node *node, int i, const char *what, tiba_error *error) {
    const tb_value *value = tb_node_in(node, i);
    if (!value) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its %s are left out", what);
    if (!tb_dtype_is_integer(value->t.dtype))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its %s are %s, not integers", what,
                            tb_dtype_name(value->t.dtype));
    if (value->t.rank > 1)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its %s have %d dimensions", what,
                            value->t.rank);
    if (!value->t.data)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its %s ('%.60s') depend on the values of a float input", what,
                            value->name);
    return TIBA_OK;
}

tiba_status tb_read_ints(int64_t *out, int *count, int capacity, const tb_node *node, int i,
                         const char *what, tiba_error *error) {
    TB_TRY(tb_need_ints(node, i, what, error));
    const tiba_tensor *t = &node->in[i]->t;
    int64_t n = tb_tensor_count(t);
    if (n > capacity)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its %s have %" PRId64 " elements, more than %d", what, n, capacity);
    for (int64_t k = 0; k < n; k++) out[k] = tb_get_i64(t, k);
    *count = (int)n;
    return TIBA_OK;
}

tiba_status tb_read_axes(int *out, int *count, int rank, const tb_node *node, int i,
                         tiba_error *error) {
    if (!tb_node_in(node, i)) {
        for (int k = 0; k < rank; k++) out[k] = k;
        *count = rank;
        return TIBA_OK;
    }
    int64_t axes[TIBA_MAX_RANK];
    unsigned seen = 0;
    TB_TRY(tb_read_ints(axes, count, TIBA_MAX_RANK, node, i, "axes", error));
    for (int k = 0; k < *count; k++) {
        TB_TRY(tb_node_axis(&out[k], node, axes[k], rank, error));
        if (seen >> out[k] & 1u)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "axis %d is named twice", out[k]);
        seen |= 1u << out[k];
    }
    return TIBA_OK;
}

tiba_status tb_broadcast_dims(const tb_node *node, int *rank, int64_t *dims, int rank_b,
                              const int64_t *dims_b, tiba_error *error) {
    int n = *rank > rank_b ? *rank : rank_b;
    int64_t out[TIBA_MAX_RANK];
    for (int i = 0; i < n; i++) {
        int ia = i - (n - *rank), ib = i - (n - rank_b);
        int64_t a = ia < 0 ? 1 : dims[ia], b = ib < 0 ? 1 : dims_b[ib];
        if (a != b && a != 1 && b != 1) {
            char ta[128], tb[128];
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "shapes %s and %s do not broadcast together",
                                tb_shape_text(ta, sizeof ta, *rank, dims),
                                tb_shape_text(tb, sizeof tb, rank_b, dims_b));
        }
        out[i] = a == 1 ? b : a;
    }
    for (int i = 0; i < n; i++) dims[i] = out[i];
    *rank = n;
    return TIBA_OK;
}

void tb_strides(int64_t *out, int rank, const int64_t *dims) {
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        out[i] = stride;
        stride *= dims[i];
    }
}

void tb_broadcast_strides(int64_t *out, int rank_to, const int64_t *to, int rank,
                          const int64_t *dims) {
    int64_t stride = 1;
    for (int i = rank_to - 1; i >= 0; i--) {
        int k = i - (rank_to - rank);
        int64_t n = k < 0 ? 1 : dims[k];
        out[i] = n == to[i] ? stride : 0;
        stride *= n;
    }
}
