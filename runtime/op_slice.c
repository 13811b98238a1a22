/*
 * Slice, Split and Concat: parts of an axis to or from a whole.
 */
#include "runtime/move.h"

#include <inttypes.h>
#include <string.h>

/* Slice: inputs starts, ends, axes, steps; one walk with an offset. */

typedef struct cut {
    int64_t start[TIBA_MAX_RANK], step[TIBA_MAX_RANK], count[TIBA_MAX_RANK]; /* per axis of x */
} cut;

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    if (value > high) value = high;
    return value < low ? low : value;
}

static void cut_axis(cut *c, int axis, int64_t n, int64_t start, int64_t end, int64_t step) {
    if (start < 0) start += n;
    if (end < 0) end += n;
    int64_t length;
    if (step > 0) {
        start = clamp(start, 0, n);
        length = clamp(end, 0, n) - start;
    } else {
        start = clamp(start, -1, n - 1);
        if (start < 0) start = n > 0 ? 0 : -1;
        length = start - clamp(end, -1, n - 1);
        step = step == INT64_MIN ? INT64_MAX : -step;
    }
    c->count[axis] = length > 0 ? (length - 1) / step + 1 : 0;
    c->start[axis] = c->count[axis] > 0 ? start : 0;
    /* The step of a single element does not matter, and may be too large to multiply. */
    c->step[axis] = c->count[axis] <= 1 ? 1 : step;
}

static tiba_status read_cut(cut *c, const tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t starts[TIBA_MAX_RANK], ends[TIBA_MAX_RANK], steps[TIBA_MAX_RANK];
    int n, n_ends, n_axes, n_steps, axes[TIBA_MAX_RANK];
    TB_TRY(tb_read_ints(starts, &n, TIBA_MAX_RANK, node, 1, "starts", error));
    TB_TRY(tb_read_ints(ends, &n_ends, TIBA_MAX_RANK, node, 2, "ends", error));
    n_axes = n_steps = n;
    for (int i = 0; i < n; i++) steps[i] = 1;
    if (tb_node_in(node, 3)) {
        TB_TRY(tb_read_axes(axes, &n_axes, x->rank, node, 3, error));
    } else {
        if (n > x->rank) n_axes = x->rank;
        for (int i = 0; i < n_axes; i++) axes[i] = i;
    }
    if (tb_node_in(node, 4))
        TB_TRY(tb_read_ints(steps, &n_steps, TIBA_MAX_RANK, node, 4, "steps", error));
    if (n_ends != n || n_axes != n || n_steps != n)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "%d starts, %d ends, %d axes and %d steps", n, n_ends, n_axes, n_steps);
    for (int i = 0; i < x->rank; i++) cut_axis(c, i, x->dims[i], 0, x->dims[i], 1);
    for (int i = 0; i < n; i++) {
        if (steps[i] == 0) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "a step is 0");
        cut_axis(c, axes[i], x->dims[axes[i]], starts[i], ends[i], steps[i]);
        if (steps[i] < 0) c->step[axes[i]] = -c->step[axes[i]];
    }
    return TIBA_OK;
}

static tiba_status slice_shape(tb_node *node, tiba_error *error) {
    cut c;
    TB_TRY(read_cut(&c, node, error));
    return tb_set_out(node, 0, node->in[0]->t.dtype, node->in[0]->t.rank, c.count, error);
}

static tb_move slice_move(const tb_node *node, const tiba_tensor *in, const tiba_tensor *out) {
    cut c;
    int64_t from[TIBA_MAX_RANK], to[TIBA_MAX_RANK];
    tb_move move = {0};
    if (read_cut(&c, node, NULL) != TIBA_OK) return move;
    tb_strides(from, in->rank, in->dims);
    tb_strides(to, out->rank, out->dims);
    for (int i = 0; i < out->rank; i++) {
        move.from += c.start[i] * from[i];
        tb_walk_axis(&move.walk, out->dims[i], to[i], c.step[i] * from[i]);
    }
    return move;
}
TB_MOVE_KERNELS(slice_move)

const tb_op_def tb_op_def_Slice = {
    .shape = slice_shape, .forward = slice_move_forward, .vjp = slice_move_vjp};

/* The part [start, start + n) of `axis` of `whole`, whose elements stand densely in a part. */
static tb_move part_move(const tiba_tensor *whole, int axis, int64_t start, int64_t n) {
    int64_t outer = tb_product(whole->dims, 0, axis),
            inner = tb_product(whole->dims, axis + 1, whole->rank);
    tb_move move = {.from = start * inner};
    tb_walk_axis(&move.walk, outer, n * inner, whole->dims[axis] * inner);
    tb_walk_axis(&move.walk, n * inner, 1, 1);
    return move;
}

static void copy_part(tb_exec *exec, tiba_tensor *part, const tiba_tensor *whole, int axis,
                      int64_t start) {
    tb_move move = part_move(whole, axis, start, part->dims[axis]);
    tb_move_forward(exec, &move, whole, part);
}

static void put_part(tb_exec *exec, const tiba_tensor *part, tiba_tensor *whole, int axis,
                     int64_t start) {
    tb_move move = part_move(whole, axis, start, part->dims[axis]);
    move.walk = tb_walk_reverse(&move.walk);
    move.to = move.from;
    move.from = 0;
    tb_move_forward(exec, &move, part, whole);
}

/* Concat */

static tiba_status concat_shape(tb_node *node, tiba_error *error) {
    const tb_value *first = tb_node_in(node, 0);
    if (!first) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "an input is left out");
    int64_t dims[TIBA_MAX_RANK];
    int axis, rank = first->t.rank;
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", 0), rank, error));
    for (int i = 0; i < rank; i++) dims[i] = first->t.dims[i];
    for (int k = 1; k < node->n_in; k++) {
        if (!node->in[k])
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d is left out", k);
        const tiba_tensor *t = &node->in[k]->t;
        bool same = t->rank == rank && t->dtype == first->t.dtype;
        for (int i = 0; same && i < rank; i++) same = i == axis || t->dims[i] == dims[i];
        if (!same || !tb_i64_add(&dims[axis], dims[axis], t->dims[axis])) {
            char a[128], b[128];
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "input %d, %s %s, does not continue %s %s along axis %d", k,
                                tb_dtype_name(t->dtype),
                                tb_shape_text(b, sizeof b, t->rank, t->dims),
                                tb_dtype_name(first->t.dtype),
                                tb_shape_text(a, sizeof a, rank, first->t.dims), axis);
        }
    }
    return tb_set_out(node, 0, first->t.dtype, rank, dims, error);
}

static tiba_status concat_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error) {
    (void)error;
    int axis = tb_axis_attr(node, out[0]->rank);
    int64_t start = 0;
    for (int k = 0; k < node->n_in; k++) {
        put_part(exec, in[k], out[0], axis, start);
        start += in[k]->dims[axis];
    }
    return TIBA_OK;
}

static tiba_status concat_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              const tiba_tensor *const *out, const tiba_tensor *const *dout,
                              tiba_tensor *const *din, tiba_error *error) {
    (void)error;
    int axis = tb_axis_attr(node, out[0]->rank);
    int64_t start = 0;
    for (int k = 0; k < node->n_in; k++) {
        if (din[k] && dout[0])
            copy_part(exec, din[k], dout[0], axis, start);
        else if (din[k])
            tb_zero(din[k]);
        start += in[k]->dims[axis];
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_Concat = {
    .shape = concat_shape, .forward = concat_forward, .vjp = concat_vjp};

/* Split: into parts of the sizes of the second input, or into num_outputs (default: as many outputs
 * as there are) equal parts of which the last may be smaller. */

static int64_t part_size(const tb_node *node, int k, int64_t n) {
    if (tb_node_in(node, 1)) return tb_get_i64(&node->in[1]->t, k);
    int64_t parts = tb_attr_int(node, "num_outputs", node->n_out), size = (n + parts - 1) / parts;
    int64_t left = n > k * size ? n - k * size : 0;
    return left < size ? left : size;
}

static tiba_status split_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int axis;
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", 0), x->rank, error));
    int64_t n = x->dims[axis], parts = tb_attr_int(node, "num_outputs", node->n_out), sum = 0;
    if (tb_node_in(node, 1)) {
        TB_TRY(tb_need_ints(node, 1, "sizes", error));
        parts = tb_tensor_count(&node->in[1]->t);
    }
    if (parts < node->n_out || parts > INT32_MAX)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%" PRId64 " parts for %d outputs",
                            parts, node->n_out);
    bool sizes = tb_node_in(node, 1) != NULL;
    for (int k = 0; sizes && k < (int)parts; k++) {
        int64_t size = part_size(node, k, n);
        if (size < 0 || !tb_i64_add(&sum, sum, size))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "part %d has size %" PRId64, k,
                                size);
    }
    if (sizes && sum != n)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "parts of %" PRId64 " in all for axis %d of size %" PRId64, sum, axis,
                            n);
    for (int k = 0; k < node->n_out; k++) {
        int64_t dims[TIBA_MAX_RANK];
        for (int i = 0; i < x->rank; i++) dims[i] = i == axis ? part_size(node, k, n) : x->dims[i];
        TB_TRY(tb_set_out(node, k, x->dtype, x->rank, dims, error));
    }
    return TIBA_OK;
}

static tiba_status split_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                 tiba_tensor *const *out, tiba_error *error) {
    (void)error;
    int axis = tb_axis_attr(node, in[0]->rank);
    int64_t start = 0;
    for (int k = 0; k < node->n_out; k++) {
        if (out[k]) copy_part(exec, out[k], in[0], axis, start);
        start += part_size(node, k, in[0]->dims[axis]);
    }
    return TIBA_OK;
}

static tiba_status split_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                             const tiba_tensor *const *out, const tiba_tensor *const *dout,
                             tiba_tensor *const *din, tiba_error *error) {
    (void)error, (void)out;
    if (!din[0]) return TIBA_OK;
    int axis = tb_axis_attr(node, in[0]->rank);
    int64_t start = 0, n = in[0]->dims[axis];
    bool whole = true;
    for (int k = 0; k < node->n_out; k++) {
        if (!dout[k]) whole = false;
        start += part_size(node, k, n);
    }
    if (!whole || start < n) tb_zero(din[0]);
    start = 0;
    for (int k = 0; k < node->n_out; k++) {
        if (dout[k]) put_part(exec, dout[k], din[0], axis, start);
        start += part_size(node, k, n);
    }
    return TIBA_OK;
}

const tb_op_def tb_op_def_Split = {
    .shape = split_shape, .forward = split_forward, .vjp = split_vjp};
