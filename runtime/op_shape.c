/*
 * Shapes, indices and generators: results that carry no gradient. Binding folds nearly all of them.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "runtime/move.h"

/* Shape: dimensions start … end-1 of the input. */

static void shape_range(const tb_node *node, int rank, int64_t *start, int64_t *end) {
    *start = tb_attr_int(node, "start", 0);
    *end = tb_attr_int(node, "end", rank);
    int64_t *both[2] = {start, end};
    for (int i = 0; i < 2; i++) {
        if (*both[i] < 0) *both[i] += rank;
        if (*both[i] < 0) *both[i] = 0;
        if (*both[i] > rank) *both[i] = rank;
    }
    if (*end < *start) *end = *start;
}

static tiba_status shape_shape(tb_node *node, tiba_error *error) {
    int64_t start, end;
    shape_range(node, node->in[0]->t.rank, &start, &end);
    int64_t count = end - start;
    return tb_set_out(node, 0, TIBA_INT64, 1, &count, error);
}

static tiba_status shape_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)error;
    int64_t start, end;
    shape_range(node, in[0]->rank, &start, &end);
    for (int64_t i = start; i < end; i++) ((int64_t *)out[0]->data)[i - start] = in[0]->dims[i];
    return TIBA_OK;
}

static tiba_status size_shape(tb_node *node, tiba_error *error) {
    return tb_set_out(node, 0, TIBA_INT64, 0, NULL, error);
}

static tiba_status size_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)node, (void)error;
    *(int64_t *)out[0]->data = tb_tensor_count(in[0]);
    return TIBA_OK;
}

const tb_op_def tb_op_def_Shape = {
    .shape = shape_shape, .forward = shape_forward, .no_vjp = "its result is a shape"};
const tb_op_def tb_op_def_Size = {
    .shape = size_shape, .forward = size_forward, .no_vjp = "its result is a shape"};

/* ConstantOfShape: attribute `value`, one element, default float 0. */

static const tiba_tensor *fill_value(const tb_node *node) {
    const tb_attr *attr = tb_find_attr(node, "value");
    return attr && attr->kind == TB_ATTR_TENSOR ? attr->tensor : NULL;
}

static tiba_status constant_of_shape_shape(tb_node *node, tiba_error *error) {
    int64_t dims[TIBA_MAX_RANK];
    int rank;
    TB_TRY(tb_read_ints(dims, &rank, TIBA_MAX_RANK, node, 0, "dimensions", error));
    const tiba_tensor *value = fill_value(node);
    if (value && tb_tensor_count(value) != 1)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its value has %" PRId64 " elements",
                            tb_tensor_count(value));
    return tb_set_out(node, 0, value ? tb_storage_dtype(value->dtype) : TIBA_FLOAT32, rank, dims,
                      error);
}

static tiba_status constant_of_shape_forward(tb_exec *exec, const tb_node *node,
                                             const tiba_tensor *const *in, tiba_tensor *const *out,
                                             tiba_error *error) {
    (void)in, (void)error;
    const tiba_tensor *value = fill_value(node);
    if (!value) {
        tb_zero(out[0]);
        return TIBA_OK;
    }
    int64_t bits = 0;
    tiba_tensor element = {.dtype = out[0]->dtype, .data = &bits};
    tb_convert(&element, value);
    tb_walk walk = {0};
    tb_walk_axis(&walk, tb_tensor_count(out[0]), 1, 0);
    tb_walk_copy(exec, &walk, tb_dtype_size(out[0]->dtype), out[0]->data, &bits);
    return TIBA_OK;
}

const tb_op_def tb_op_def_ConstantOfShape = {.shape = constant_of_shape_shape,
                                             .forward = constant_of_shape_forward,
                                             .no_vjp = "its result is a constant"};

/* Range: start, limit, delta; max(ceil((limit - start) / delta), 0) elements. */

static tiba_status range_count(int64_t *count, const tb_node *node, tiba_error *error) {
    double value[3];
    for (int i = 0; i < 3; i++) {
        const tiba_tensor *t = &node->in[i]->t;
        if (!t->data)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "its length depends on the values of a float input ('%.60s')",
                                node->in[i]->name);
        if (tb_tensor_count(t) != 1 || t->dtype != node->in[0]->t.dtype)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "start, limit and delta are not one element each of the same type");
        value[i] = tb_get_f64(t, 0);
    }
    if (tb_dtype_is_float(node->in[0]->t.dtype)) {
        double n = ceil((value[1] - value[0]) / value[2]);
        if (!(n < 1e15))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%g elements from %g to %g by %g", n,
                                value[0], value[1], value[2]);
        *count = n > 0 ? (int64_t)n : 0;
        return TIBA_OK;
    }
    int64_t start = tb_get_i64(&node->in[0]->t, 0), limit = tb_get_i64(&node->in[1]->t, 0),
            delta = tb_get_i64(&node->in[2]->t, 0), distance;
    if (delta == 0 || delta == INT64_MIN || __builtin_sub_overflow(limit, start, &distance) ||
        distance == INT64_MIN)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "no range from %" PRId64 " to %" PRId64 " by %" PRId64, start, limit,
                            delta);
    if (delta < 0) {
        delta = -delta;
        distance = -distance;
    }
    *count = distance > 0 ? (distance - 1) / delta + 1 : 0;
    return TIBA_OK;
}

static tiba_status range_shape(tb_node *node, tiba_error *error) {
    int64_t count;
    TB_TRY(range_count(&count, node, error));
    return tb_set_out(node, 0, node->in[0]->t.dtype, 1, &count, error);
}

static tiba_status range_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    (void)exec, (void)node, (void)error;
    int64_t count = out[0]->dims[0];
    if (tb_dtype_is_float(out[0]->dtype)) {
        double start = tb_get_f64(in[0], 0), delta = tb_get_f64(in[2], 0);
        for (int64_t i = 0; i < count; i++) tb_set_f64(out[0], i, start + (double)i * delta);
    } else {
        int64_t start = tb_get_i64(in[0], 0), delta = tb_get_i64(in[2], 0);
        for (int64_t i = 0; i < count; i++) tb_set_i64(out[0], i, start + i * delta);
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_Range = {.shape = range_shape,
                                   .forward = range_forward,
                                   .no_vjp = "its result is a sequence of indices",
                                   .sized_by = TB_NEEDS_INS};

/* NonZero: [rank, number of elements that are not 0], row-major order. */

static tiba_status non_zero_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    if (!x->data)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its size depends on the values of a float input ('%.60s')",
                            node->in[0]->name);
    int64_t n = tb_tensor_count(x), dims[2] = {x->rank, 0};
    for (int64_t i = 0; i < n; i++) dims[1] += tb_get_f64(x, i) != 0;
    return tb_set_out(node, 0, TIBA_INT64, 2, dims, error);
}

static tiba_status non_zero_forward(tb_exec *exec, const tb_node *node,
                                    const tiba_tensor *const *in, tiba_tensor *const *out,
                                    tiba_error *error) {
    (void)exec, (void)node, (void)error;
    int64_t n = tb_tensor_count(in[0]), *to = out[0]->data, found = out[0]->dims[1];
    for (int64_t i = 0, k = 0; i < n && k < found; i++) {
        if (tb_get_f64(in[0], i) == 0) continue;
        int64_t rest = i;
        for (int axis = in[0]->rank - 1; axis >= 0; axis--) {
            to[axis * found + k] = rest % in[0]->dims[axis];
            rest /= in[0]->dims[axis];
        }
        k++;
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_NonZero = {.shape = non_zero_shape,
                                     .forward = non_zero_forward,
                                     .no_vjp = "its result is indices",
                                     .sized_by = TB_NEEDS_IN(0)};

/* OneHot: indices, depth, values [off, on]; indices outside of -depth … depth-1 give only `off`. */

static tiba_status one_hot_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *indices = &node->in[0]->t, *depth = &node->in[1]->t,
                      *values = &node->in[2]->t;
    if (!depth->data)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its depth depends on the values of a float input ('%.60s')",
                            node->in[1]->name);
    if (tb_tensor_count(depth) != 1 || tb_tensor_count(values) != 2)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its depth is not one element or its values are not two");
    int64_t dims[TIBA_MAX_RANK + 1], n = tb_get_i64(depth, 0);
    int axis;
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", -1), indices->rank + 1, error));
    for (int i = 0; i <= indices->rank; i++)
        dims[i] = i == axis ? n : indices->dims[i - (i > axis)];
    return tb_set_out(node, 0, values->dtype, indices->rank + 1, dims, error);
}

static tiba_status one_hot_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                   tiba_tensor *const *out, tiba_error *error) {
    int axis;
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", -1), out[0]->rank, error));
    int64_t depth = out[0]->dims[axis], outer = tb_product(out[0]->dims, 0, axis),
            inner = tb_product(out[0]->dims, axis + 1, out[0]->rank);
    size_t size = tb_dtype_size(out[0]->dtype);
    const char *on = (const char *)in[2]->data + size;
    tb_walk walk = {0};
    tb_walk_axis(&walk, tb_tensor_count(out[0]), 1, 0);
    tb_walk_copy(exec, &walk, size, out[0]->data, in[2]->data);
    for (int64_t i = 0; i < outer * inner; i++) {
        double index = tb_get_f64(in[0], i); /* a float type is allowed */
        if (index < 0) index += (double)depth;
        if (!(index >= 0 && index < (double)depth)) continue;
        int64_t at = (i / inner * depth + (int64_t)index) * inner + i % inner;
        memcpy((char *)out[0]->data + at * (int64_t)size, on, size);
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_OneHot = {.shape = one_hot_shape,
                                    .forward = one_hot_forward,
                                    .no_vjp = "its result depends on indices",
                                    .sized_by = TB_NEEDS_IN(1)};

/* EyeLike: ones on the k-th diagonal, in the input's type or `dtype`. */

static tiba_status eye_like_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    if (x->rank != 2)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its input has %d dimensions, not 2",
                            x->rank);
    int64_t dtype = tb_attr_int(node, "dtype", x->dtype);
    if (dtype < 0 || dtype > TIBA_BFLOAT16) dtype = TIBA_UNDEFINED;
    return tb_set_out(node, 0, tb_storage_dtype((tiba_dtype)dtype), 2, x->dims, error);
}

static tiba_status eye_like_forward(tb_exec *exec, const tb_node *node,
                                    const tiba_tensor *const *in, tiba_tensor *const *out,
                                    tiba_error *error) {
    (void)exec, (void)in, (void)error;
    int64_t k = tb_attr_int(node, "k", 0), rows = out[0]->dims[0], columns = out[0]->dims[1];
    tb_zero(out[0]);
    if (k < -rows || k > columns) return TIBA_OK;
    for (int64_t r = 0; r < rows; r++)
        if (r + k >= 0 && r + k < columns) tb_set_i64(out[0], r * columns + r + k, 1);
    return TIBA_OK;
}

const tb_op_def tb_op_def_EyeLike = {
    .shape = eye_like_shape, .forward = eye_like_forward, .no_vjp = "its result is a constant"};
