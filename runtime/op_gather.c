/*
 * Look-ups: Gather, GatherElements, GatherND, Compress, ReverseSequence. The indices may be
 * computed at run time (by an ArgMax, for instance); they are checked when they are known: here,
 * while shapes are found, if constant, and in every forward pass if not.
 */
#include <inttypes.h>
#include <string.h>

#include "runtime/move.h"
#include "runtime/places.h"

static void gather_grad(tb_exec *exec, const tb_places *places, const tiba_tensor *dout,
                        tiba_tensor *din) {
    tb_zero(din);
    if (dout) tb_places_add(exec, places, din->data, dout->data);
}

/* Defines NAME_forward and NAME_vjp from `tb_lookup NAME_lookup`. */
#define GATHER_KERNELS(name)                                                                       \
    static tiba_status name##_forward(tb_exec *exec, const tb_node *node,                          \
                                      const tiba_tensor *const *in, tiba_tensor *const *out,       \
                                      tiba_error *error) {                                         \
        if (!node->in[1]->t.data) TB_TRY(name##_lookup.check(node, in[0], in[1], error));          \
        tb_places places = name##_lookup.places(node, in[0], in[1]);                               \
        tb_places_gather(exec, &places, tb_dtype_size(out[0]->dtype), out[0]->data, in[0]->data);  \
        return TIBA_OK;                                                                            \
    }                                                                                              \
    static tiba_status name##_vjp(tb_exec *exec, const tb_node *node,                              \
                                  const tiba_tensor *const *in, const tiba_tensor *const *out,     \
                                  const tiba_tensor *const *dout, tiba_tensor *const *din,         \
                                  tiba_error *error) {                                             \
        (void)out, (void)error;                                                                    \
        if (!din[0]) return TIBA_OK;                                                               \
        tb_places places = name##_lookup.places(node, in[0], in[1]);                               \
        gather_grad(exec, &places, dout[0], din[0]);                                               \
        return TIBA_OK;                                                                            \
    }

/* Gather: out = data[…, indices, …] at `axis`. */

static tb_places gather_places(const tb_node *node, const tiba_tensor *data,
                               const tiba_tensor *indices) {
    return tb_places_axis(data, indices, tb_axis_attr(node, data->rank));
}

static tiba_status gather_check(const tb_node *node, const tiba_tensor *data,
                                const tiba_tensor *indices, tiba_error *error) {
    return tb_check_indices(node, indices, 1, &data->dims[tb_axis_attr(node, data->rank)], error);
}

static const tb_lookup gather_lookup = {gather_places, gather_check};
GATHER_KERNELS(gather)

static tiba_status gather_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *data = &node->in[0]->t, *indices = &node->in[1]->t;
    int axis, rank = data->rank + indices->rank - 1;
    TB_TRY(tb_need_indices(node, error));
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", 0), data->rank, error));
    int64_t dims[2 * TIBA_MAX_RANK];
    for (int i = 0; i < rank; i++)
        dims[i] = i < axis                   ? data->dims[i]
                  : i < axis + indices->rank ? indices->dims[i - axis]
                                             : data->dims[i - indices->rank + 1];
    if (indices->data) TB_TRY(gather_check(node, data, indices, error));
    return tb_set_out(node, 0, data->dtype, rank, dims, error);
}

const tb_op_def tb_op_def_Gather = {
    .shape = gather_shape, .forward = gather_forward, .vjp = gather_vjp, .needs = TB_NEEDS_IN(1)};

/* GatherElements */

#define elements_lookup tb_lookup_elements
GATHER_KERNELS(elements)

static tiba_status elements_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *data = &node->in[0]->t, *indices = &node->in[1]->t;
    int axis;
    TB_TRY(tb_need_indices(node, error));
    TB_TRY(tb_node_axis(&axis, node, tb_attr_int(node, "axis", 0), data->rank, error));
    if (!tb_elements_fit(data, indices, axis)) {
        char a[128], b[128];
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "indices %s do not fit data %s",
                            tb_shape_text(a, sizeof a, indices->rank, indices->dims),
                            tb_shape_text(b, sizeof b, data->rank, data->dims));
    }
    if (indices->data) TB_TRY(elements_lookup.check(node, data, indices, error));
    return tb_set_out(node, 0, data->dtype, indices->rank, indices->dims, error);
}

const tb_op_def tb_op_def_GatherElements = {.shape = elements_shape,
                                            .forward = elements_forward,
                                            .vjp = elements_vjp,
                                            .needs = TB_NEEDS_IN(1)};

/* GatherND: indices[batch…, …, depth], out = data[batch…, index tuple, …]. */

static int batch_dims_of(const tb_node *node) {
    return (int)tb_attr_int(node, "batch_dims", 0);
}

static tb_places nd_places(const tb_node *node, const tiba_tensor *data,
                           const tiba_tensor *indices) {
    return tb_places_nd(data, indices, batch_dims_of(node));
}

static tiba_status nd_check(const tb_node *node, const tiba_tensor *data,
                            const tiba_tensor *indices, tiba_error *error) {
    return tb_check_indices(node, indices, (int)indices->dims[indices->rank - 1],
                            data->dims + batch_dims_of(node), error);
}

static const tb_lookup nd_lookup = {nd_places, nd_check};
GATHER_KERNELS(nd)

static tiba_status nd_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *data = &node->in[0]->t, *indices = &node->in[1]->t;
    TB_TRY(tb_need_indices(node, error));
    int64_t batch = tb_attr_int(node, "batch_dims", 0),
            depth = indices->rank > 0 ? indices->dims[indices->rank - 1] : 0;
    bool fits = batch >= 0 && batch < indices->rank && depth >= 1 && depth <= data->rank - batch;
    for (int i = 0; fits && i < batch; i++) fits = indices->dims[i] == data->dims[i];
    if (!fits) {
        char a[128], b[128];
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "indices %s do not fit data %s with %" PRId64 " batch dimensions",
                            tb_shape_text(a, sizeof a, indices->rank, indices->dims),
                            tb_shape_text(b, sizeof b, data->rank, data->dims), batch);
    }
    int64_t dims[2 * TIBA_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < indices->rank - 1; i++) dims[rank++] = indices->dims[i];
    for (int i = (int)(batch + depth); i < data->rank; i++) dims[rank++] = data->dims[i];
    if (indices->data) TB_TRY(nd_check(node, data, indices, error));
    return tb_set_out(node, 0, data->dtype, rank, dims, error);
}

const tb_op_def tb_op_def_GatherND = {
    .shape = nd_shape, .forward = nd_forward, .vjp = nd_vjp, .needs = TB_NEEDS_IN(1)};

/* Compress: the slices along `axis` (default: of the flattened input) where the condition holds. */

typedef struct selection {
    tiba_tensor data, indices; /* the input, flattened if there is no axis; what is kept */
    int axis;
} selection;

/* The number of slices that the condition keeps; fails if it is longer than the axis. */
static tiba_status count_kept(int64_t *kept, selection *s, const tb_node *node, tiba_error *error) {
    const tiba_tensor *condition = &node->in[1]->t;
    s->data = node->in[0]->t;
    s->axis = 0;
    if (tb_find_attr(node, "axis")) {
        TB_TRY(tb_node_axis(&s->axis, node, tb_attr_int(node, "axis", 0), s->data.rank, error));
    } else {
        s->data.dims[0] = tb_tensor_count(&s->data);
        s->data.rank = 1;
    }
    if (!condition->data)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its condition ('%.60s') depends on the values of a float input",
                            node->in[1]->name);
    int64_t n = tb_tensor_count(condition), size = s->data.dims[s->axis];
    if (condition->dtype != TIBA_BOOL || condition->rank != 1)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its condition is no list of bools");
    *kept = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!tb_get_i64(condition, i)) continue;
        if (i >= size)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "index %" PRId64 " is out of range for an axis of size %" PRId64, i,
                                size);
        ++*kept;
    }
    return TIBA_OK;
}

static tiba_status compress_shape(tb_node *node, tiba_error *error) {
    selection s;
    int64_t kept;
    TB_TRY(count_kept(&kept, &s, node, error));
    s.data.dims[s.axis] = kept;
    return tb_set_out(node, 0, s.data.dtype, s.data.rank, s.data.dims, error);
}

static tiba_status select_kept(tb_exec *exec, selection *s, const tb_node *node,
                               tiba_error *error) {
    int64_t kept;
    TB_TRY(count_kept(&kept, s, node, error));
    const tiba_tensor *condition = &node->in[1]->t;
    int64_t *list = tb_scratch(exec, (size_t)kept, sizeof *list);
    if (!list) return tb_out_of_memory(error);
    s->indices = (tiba_tensor){.dtype = TIBA_INT64, .rank = 1, .dims = {kept}, .data = list};
    for (int64_t i = 0, k = 0; k < kept; i++)
        if (tb_get_i64(condition, i)) list[k++] = i;
    return TIBA_OK;
}

static tiba_status compress_forward(tb_exec *exec, const tb_node *node,
                                    const tiba_tensor *const *in, tiba_tensor *const *out,
                                    tiba_error *error) {
    selection s;
    TB_TRY(select_kept(exec, &s, node, error));
    tb_places places = tb_places_axis(&s.data, &s.indices, s.axis);
    tb_places_gather(exec, &places, tb_dtype_size(out[0]->dtype), out[0]->data, in[0]->data);
    return TIBA_OK;
}

static tiba_status compress_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                const tiba_tensor *const *out, const tiba_tensor *const *dout,
                                tiba_tensor *const *din, tiba_error *error) {
    (void)in, (void)out;
    if (!din[0]) return TIBA_OK;
    selection s;
    TB_TRY(select_kept(exec, &s, node, error));
    tb_places places = tb_places_axis(&s.data, &s.indices, s.axis);
    gather_grad(exec, &places, dout[0], din[0]);
    return TIBA_OK;
}

const tb_op_def tb_op_def_Compress = {
    .shape = compress_shape, .forward = compress_forward, .vjp = compress_vjp};

/* ReverseSequence: the first lengths[b] steps of batch entry b in reverse order. */

static tiba_status check_lengths(const tb_node *node, const tiba_tensor *x,
                                 const tiba_tensor *lengths, tiba_error *error) {
    int64_t steps = x->dims[tb_attr_int(node, "time_axis", 0)];
    for (int64_t i = 0; i < lengths->dims[0]; i++) {
        int64_t length = tb_index(lengths, i);
        if (length < 0 || length > steps)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "length %" PRId64 " of a sequence of %" PRId64 " steps", length,
                                steps);
    }
    return TIBA_OK;
}

static tiba_status reverse_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t, *lengths = &node->in[1]->t;
    int64_t time = tb_attr_int(node, "time_axis", 0), batch = tb_attr_int(node, "batch_axis", 1);
    TB_TRY(tb_need_rank(node, 0, 2, error));
    TB_TRY(tb_need_indices(node, error));
    if (time < 0 || time > 1 || batch != 1 - time)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "time axis %" PRId64 " and batch axis %" PRId64 " are not 0 and 1",
                            time, batch);
    if (lengths->rank != 1 || lengths->dims[0] != x->dims[batch])
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "it has not one length for each of %" PRId64 " sequences",
                            x->dims[batch]);
    if (lengths->data) TB_TRY(check_lengths(node, x, lengths, error));
    return tb_set_out(node, 0, x->dtype, x->rank, x->dims, error);
}

static void reversed_offsets(const tb_places *p, int64_t first, int64_t n, int64_t *out) {
    for (int64_t i = 0; i < n; i++) {
        int64_t at[2] = {(first + i) / p->dims[1], (first + i) % p->dims[1]}, *step = &at[p->axis];
        int64_t length = tb_index(p->indices, at[1 - p->axis]);
        if (*step < length) *step = length - 1 - *step;
        out[i] = (at[0] * p->dims[1] + at[1]) * p->length;
    }
}

static tb_places reversed(const tb_node *node, const tiba_tensor *x, const tiba_tensor *lengths) {
    return (tb_places){.blocks = tb_product(x->dims, 0, 2),
                       .length = tb_product(x->dims, 2, x->rank),
                       .groups = 1,
                       .offsets = reversed_offsets,
                       .indices = lengths,
                       .axis = (int)tb_attr_int(node, "time_axis", 0),
                       .dims = {x->dims[0], x->dims[1]}};
}

static tiba_status reverse_forward(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                   tiba_tensor *const *out, tiba_error *error) {
    if (!node->in[1]->t.data) TB_TRY(check_lengths(node, in[0], in[1], error));
    tb_places places = reversed(node, in[0], in[1]);
    tb_places_gather(exec, &places, tb_dtype_size(out[0]->dtype), out[0]->data, in[0]->data);
    return TIBA_OK;
}

static tiba_status reverse_vjp(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                               const tiba_tensor *const *out, const tiba_tensor *const *dout,
                               tiba_tensor *const *din, tiba_error *error) {
    (void)out, (void)error;
    if (!din[0]) return TIBA_OK;
    tb_places places = reversed(node, in[0], in[1]);
    gather_grad(exec, &places, dout[0], din[0]);
    return TIBA_OK;
}

const tb_op_def tb_op_def_ReverseSequence = {.shape = reverse_shape,
                                             .forward = reverse_forward,
                                             .vjp = reverse_vjp,
                                             .needs = TB_NEEDS_IN(1)};
