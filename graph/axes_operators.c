/*
 * axes_operators.c: how operators move axes, and the pass over the graph. See axes.h.
 */
#include <string.h>

#include "graph/axes.h"
#include "graph/axes_labels.h"
#include "graph/axes_pass.h"
#include "graph/reach.h"

/* dimensions aligned at the right, as broadcasting does */
static void carry_broadcast(tb_axes_pass *p, const tb_value *in, const tb_value *out) {
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) map[d] = d + out->t.rank - in->t.rank;
    tb_axes_carry(p->axes, p->to, in, out, map);
}

void tb_axes_new(tb_axes_pass *p, const tb_value *out, int dim, tb_label label, const int *parents,
                 const int64_t *offsets) {
    label.count = out->t.dims[dim];
    int id = tb_axes_intern(p->axes, label, parents, offsets);
    if (id < 0)
        p->failed = true;
    else
        tb_axes_add(p->axes, p->to, (tb_factor){id, label.count, tb_axes_stride(&out->t, dim)});
}

/* `dim` of `out` is a stretch of dimension `from` of `in` */
static void cut_axis(tb_axes_pass *p, const tb_value *in, int from, const tb_value *out, int dim,
                     int64_t start, int64_t step) {
    int parent = tb_axes_dim(p->axes, in, from);
    if (parent < 0) return;
    if (start == 0 && step == 1 && out->t.dims[dim] == in->t.dims[from]) {
        tb_axes_add(p->axes, p->to,
                    (tb_factor){parent, out->t.dims[dim], tb_axes_stride(&out->t, dim)});
        return;
    }
    const tb_label *join = &p->axes->labels[tb_axes_root(p->axes, parent)];
    for (int i = 0; step == 1 && join->kind == TB_LABEL_JOIN && i < join->n_parents; i++) {
        /* exactly one of the operands that Concat joined: that one's axis again */
        int piece = join->parents[i];
        if (join->offsets[i] != start || piece < 0) continue;
        if (p->axes->labels[tb_axes_root(p->axes, piece)].count != out->t.dims[dim]) continue;
        tb_axes_add(p->axes, p->to,
                    (tb_factor){piece, out->t.dims[dim], tb_axes_stride(&out->t, dim)});
        return;
    }
    tb_label cut = {.kind = TB_LABEL_CUT, .input = -1, .step = step, .n_parents = 1};
    tb_axes_new(p, out, dim, cut, &parent, &start);
}

int64_t tb_axes_wrapped(int64_t axis, int rank) {
    return axis < 0 ? axis + rank : axis;
}

static void op_slice(tb_axes_pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) map[d] = in->t.dims[d] == out->t.dims[d] ? d : -1;
    const tb_value *starts = p->node->in[1];
    const tb_value *list = p->node->n_in > 3 ? p->node->in[3] : NULL;
    const tb_value *steps = p->node->n_in > 4 ? p->node->in[4] : NULL;
    if (!starts->t.data || (list && !list->t.data) || (steps && !steps->t.data)) return;
    int64_t count = tb_tensor_count(&starts->t);
    for (int64_t i = 0; i < count; i++) { /* a reversed axis keeps its size but is another axis */
        int64_t step = steps ? tb_get_i64(&steps->t, i) : 1;
        int64_t d = tb_axes_wrapped(list ? tb_get_i64(&list->t, i) : i, in->t.rank);
        if (d >= 0 && d < in->t.rank && step != 1) map[d] = -1;
    }
    tb_axes_carry(p->axes, p->to, in, out, map);
    for (int64_t i = 0; i < count; i++) {
        int64_t d = tb_axes_wrapped(list ? tb_get_i64(&list->t, i) : i, in->t.rank);
        int64_t step = steps ? tb_get_i64(&steps->t, i) : 1;
        if (d < 0 || d >= in->t.rank || map[d] >= 0) continue;
        int64_t start = tb_get_i64(&starts->t, i), size = in->t.dims[d];
        if (start < 0) start += size;
        start = start < 0 ? 0 : start > size - 1 ? size - 1 : start;
        cut_axis(p, in, (int)d, out, (int)d, start, step);
    }
}

static void op_split(tb_axes_pass *p, const tb_value *out, int which) {
    const tb_value *in = p->node->in[0];
    int axis = (int)tb_axes_wrapped(tb_attr_int(p->node, "axis", 0), in->t.rank);
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) map[d] = d == axis ? -1 : d;
    tb_axes_carry(p->axes, p->to, in, out, map);
    int64_t start = 0;
    for (int i = 0; i < which; i++) {
        if (!p->node->out[i]) return; /* an unused piece has no shape: the offset is unknown */
        start += p->node->out[i]->t.dims[axis];
    }
    cut_axis(p, in, axis, out, axis, start, 1);
}

/* Constant indices start, start + step, … are a cut; any others make an axis of their own. */
static void gather_axis(tb_axes_pass *p, const tb_value *in, int axis, const tb_value *indices,
                        const tb_value *out, int dim) {
    int parent = tb_axes_dim(p->axes, in, axis);
    if (parent < 0) return;
    int64_t n = indices->t.rank > 0 ? indices->t.dims[0] : 0;
    if (indices->t.data && n > 0 && tb_tensor_count(&indices->t) == n) { /* GatherND has [n, 1] */
        int64_t first = tb_axes_wrapped(tb_get_i64(&indices->t, 0), (int)in->t.dims[axis]);
        int64_t step = n > 1 ? tb_get_i64(&indices->t, 1) - tb_get_i64(&indices->t, 0) : 1;
        bool even = step > 0;
        for (int64_t i = 1; i < n && even; i++)
            even = tb_get_i64(&indices->t, i) - tb_get_i64(&indices->t, i - 1) == step;
        if (even) {
            cut_axis(p, in, axis, out, dim, first, step);
            return;
        }
    }
    tb_label other = {
        .kind = TB_LABEL_OTHER, .node = p->node, .input = -1, .dim = dim, .n_parents = 1};
    int64_t offset = 0;
    tb_axes_new(p, out, dim, other, &parent, &offset);
}

/* One index whose axis is gone: the element stands where the axis was. */
static void gather_one(tb_axes_pass *p, const tb_value *in, int axis, const tb_value *indices) {
    int parent = tb_axes_dim(p->axes, in, axis);
    if (parent < 0 || !indices->t.data) return;
    int64_t start = tb_axes_wrapped(tb_get_i64(&indices->t, 0), (int)in->t.dims[axis]);
    tb_label cut = {.kind = TB_LABEL_CUT, .count = 1, .input = -1, .step = 1, .n_parents = 1};
    int label = tb_axes_intern(p->axes, cut, &parent, &start);
    if (label < 0)
        p->failed = true;
    else
        tb_axes_add(p->axes, p->to, (tb_factor){label, 1, tb_axes_stride(&in->t, axis)});
}

/* Indices first + a i + c j (unfold): windows and the places in them. Where they cut the axis into
 * equal pieces that is a Reshape; else the windows (the larger step) are a grid of their own. */
static void gather_windows(tb_axes_pass *p, const tb_value *in, int axis, const tb_value *indices,
                           const tb_value *out) {
    int parent = tb_axes_dim(p->axes, in, axis);
    const tiba_tensor *t = &indices->t;
    if (parent < 0 || !t->data || tb_tensor_count(t) == 0) return;
    int64_t size = in->t.dims[axis], n[2] = {t->dims[0], t->dims[1]};
    int64_t first = tb_axes_wrapped(tb_get_i64(t, 0), (int)size);
    int64_t step[2] = {n[0] > 1 ? tb_get_i64(t, n[1]) - tb_get_i64(t, 0) : 0,
                       n[1] > 1 ? tb_get_i64(t, 1) - tb_get_i64(t, 0) : 0};
    for (int64_t i = 0; i < n[0] * n[1]; i++)
        if (tb_axes_wrapped(tb_get_i64(t, i), (int)size) !=
            first + i / n[1] * step[0] + i % n[1] * step[1])
            return;
    if (step[0] < 0 || step[1] < 0) return;
    int large = step[0] >= step[1] ? 0 : 1, small = 1 - large;
    bool pieces = first == 0 && n[0] * n[1] == size && step[large] == n[small];
    if (pieces && (step[small] == 1 || n[small] == 1)) {
        for (int k = 0; k < 2; k++) {
            int label = tb_axes_part(p->axes, parent, n[k], step[k]);
            if (label < 0) p->failed = true;
            tb_axes_add(p->axes, p->to,
                        (tb_factor){label, n[k], tb_axes_stride(&out->t, axis + k)});
        }
        return;
    }
    int64_t offset = 0;
    tb_label grid = {
        .kind = TB_LABEL_GRID, .node = p->node, .input = -1, .dim = axis, .n_parents = 1};
    tb_axes_new(p, out, axis + large, grid, &parent, &offset);
}

static void op_gather(tb_axes_pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0], *indices = p->node->in[1];
    int axis = (int)tb_axes_wrapped(tb_attr_int(p->node, "axis", 0), in->t.rank);
    if (!in->active && indices->ids_of >= 0) {
        tb_axes_look_up(p, indices, indices->t.rank, in->t.dims[axis], out, axis);
        return;
    }
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++)
        map[d] = d == axis ? -1 : d < axis ? d : d + indices->t.rank - 1;
    tb_axes_carry(p->axes, p->to, in, out, map);
    if (indices->t.rank == 0) gather_one(p, in, axis, indices);
    if (indices->t.rank == 1) gather_axis(p, in, axis, indices, out, axis);
    if (indices->t.rank == 2) gather_windows(p, in, axis, indices, out);
}

/* Batch dimensions and those behind the indexed ones stay; the indexed ones end. */
/* Dimensions that stay keep their label; one that changes is an axis of its own. */
static void some_change(tb_axes_pass *p, const tb_value *out, unsigned changes) {
    const tb_value *in = p->node->in[0];
    int map[TIBA_MAX_RANK];
    if (in->t.rank != out->t.rank) return;
    for (int d = 0; d < in->t.rank; d++)
        map[d] = in->t.dims[d] == out->t.dims[d] && !(changes >> d & 1) ? d : -1;
    tb_axes_carry(p->axes, p->to, in, out, map);
    for (int d = 0; d < in->t.rank; d++) {
        int parent = map[d] < 0 ? tb_axes_dim(p->axes, in, d) : -1;
        if (parent < 0) continue;
        int64_t offset = 0;
        tb_label other = {
            .kind = TB_LABEL_OTHER, .node = p->node, .input = -1, .dim = d, .n_parents = 1};
        tb_axes_new(p, out, d, other, &parent, &offset);
    }
}

static void op_gather_nd(tb_axes_pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0], *indices = p->node->in[1];
    int batch = (int)tb_attr_int(p->node, "batch_dims", 0), rank = indices->t.rank;
    if (rank < 1) return;
    int behind = batch + (int)indices->t.dims[rank - 1];
    if (!in->active && indices->ids_of >= 0) {
        tb_axes_look_up(p, indices, rank - 1, in->t.dims[batch], out, 0);
        return;
    }
    if (batch > 0 && behind == batch + 1 && rank == batch + 2) { /* each sample's own choice */
        some_change(p, out, 1u << batch);
        return;
    }
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++)
        map[d] = d < batch ? d : d < behind ? -1 : d - behind + rank - 1;
    tb_axes_carry(p->axes, p->to, in, out, map);
    if (batch > 0 || behind > 1) return;
    if (rank == 1) gather_one(p, in, 0, indices);
    if (rank == 2) gather_axis(p, in, 0, indices, out, 0);
}

static void op_one_hot(tb_axes_pass *p, const tb_value *out) {
    const tb_value *indices = p->node->in[0];
    if (indices->ids_of < 0) return;
    int axis = (int)tb_axes_wrapped(tb_attr_int(p->node, "axis", -1), out->t.rank);
    if (axis == out->t.rank - 1)
        tb_axes_look_up(p, indices, indices->t.rank, out->t.dims[axis], out, 0);
}

/* Is the value a softmax that nothing but element-wise operators and moves changed? */
static bool is_softmax(const tb_value *value) {
    for (int depth = 0; value && value->producer && depth < 32; depth++) {
        const tb_node *node = value->producer;
        if (tb_is(node, TB_OP_Softmax)) return true;
        bool passes = node->op->class == TB_CLASS_MOVE || node->op->class == TB_CLASS_UNARY ||
                      node->op->class == TB_CLASS_BINARY || node->op->class == TB_CLASS_QUANT;
        value = NULL;
        for (int i = 0; i < node->n_in && passes; i++) {
            if (!node->in[i] || !node->in[i]->active) continue;
            passes = !value;
            value = passes ? node->in[i] : NULL;
        }
    }
    return false;
}

/* Queries that come from no input, where a softmax of theirs reads tokens: `dim` of the product. */
static void new_queries(tb_axes_pass *p, const tb_value *weights, const tb_value *out, int dim) {
    if (out->t.dims[dim] < 2 || tb_axes_dim(p->axes, weights, dim) != -1 || !is_softmax(weights))
        return;
    tb_axes_new(p, out, dim, (tb_label){.kind = TB_LABEL_QUERY, .node = p->node, .input = -1}, NULL,
                NULL);
}

static void op_matmul(tb_axes_pass *p, const tb_value *out) {
    const tb_value *a = p->node->in[0], *b = p->node->in[1];
    int map[TIBA_MAX_RANK], ra = a->t.rank, rb = b->t.rank, ro = out->t.rank;
    if (ra < 1 || rb < 1) return;
    int inner = rb == 1 ? 0 : rb - 2; /* a vector has no axis beside the one that is contracted */
    for (int d = 0; d < ra; d++) map[d] = d == ra - 1 ? -1 : d + ro - ra + (rb == 1);
    tb_axes_carry(p->axes, p->to, a, out, map);
    for (int d = 0; d < rb; d++) map[d] = d == inner ? -1 : d + ro - rb + (ra == 1 && d < inner);
    tb_axes_carry(p->axes, p->to, b, out, map);
    /* what is contracted is one axis seen from both sides */
    int left = tb_axes_dim(p->axes, a, ra - 1), right = tb_axes_dim(p->axes, b, inner);
    if (left >= 0 && right >= 0) tb_axes_unify(p->axes, left, right);
    if (ra < 2 || ra != rb || !a->active || !b->active) return;
    if (left >= 0) new_queries(p, a, out, ra - 2);
    if (right >= 0) new_queries(p, b, out, ra - 1);
}

static void op_gemm(tb_axes_pass *p, const tb_value *out) {
    int trans_a = tb_attr_int(p->node, "transA", 0) != 0;
    int trans_b = tb_attr_int(p->node, "transB", 0) != 0;
    int row[2] = {trans_a ? -1 : 0, trans_a ? 0 : -1};
    tb_axes_carry(p->axes, p->to, p->node->in[0], out, row);
    int column[2] = {trans_b ? 1 : -1, trans_b ? -1 : 1};
    tb_axes_carry(p->axes, p->to, p->node->in[1], out, column);
}

static void op_linear(tb_axes_pass *p, const tb_value *out) {
    const tb_value *x = p->node->in[0];
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < x->t.rank; d++) map[d] = d == x->t.rank - 1 ? -1 : d;
    tb_axes_carry(p->axes, p->to, x, out, map);
}

/* Batch as it is, features gone, spatial axes new where they change. */
static void windows(tb_axes_pass *p, const tb_value *out, tb_label_kind kind) {
    const tb_value *in = p->node->in[0];
    int map[TIBA_MAX_RANK] = {0, -1};
    int64_t n;
    const int64_t *strides = tb_attr_ints(p->node, "strides", &n);
    for (int d = 2; d < in->t.rank; d++) {
        bool same = in->t.dims[d] == out->t.dims[d] && (d - 2 >= n || strides[d - 2] == 1);
        map[d] = same ? d : -1;
    }
    tb_axes_carry(p->axes, p->to, in, out, map);
    for (int d = 2; d < in->t.rank; d++) {
        if (map[d] >= 0) continue;
        int parent = tb_axes_dim(p->axes, in, d);
        int64_t offset = 0;
        tb_label axis = {.kind = kind, .node = p->node, .input = -1, .dim = d - 2, .n_parents = 1};
        tb_axes_new(p, out, d, axis, &parent, &offset);
    }
}

static void op_window(tb_axes_pass *p, const tb_value *out) {
    windows(p, out, TB_LABEL_GRID);
}

/* A transposed convolution makes more places of what it reads, as resampling does: no grid of
 * patches. */
static void op_transposed_window(tb_axes_pass *p, const tb_value *out) {
    windows(p, out, TB_LABEL_OTHER);
}

static void op_reduce(tb_axes_pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    bool keep = tb_attr_int(p->node, "keepdims", 1) != 0, gone[TIBA_MAX_RANK] = {false};
    const tb_value *list = p->node->n_in > 1 ? p->node->in[1] : NULL;
    int64_t count = list && list->t.data ? tb_tensor_count(&list->t) : 0;
    if (list && !list->t.data) return;
    if (tb_find_attr(p->node, "axis")) { /* ArgMax and its like */
        gone[tb_axes_wrapped(tb_attr_int(p->node, "axis", 0), in->t.rank)] = true;
    } else {
        if (count == 0 && tb_attr_int(p->node, "noop_with_empty_axes", 0) == 0) return;
        for (int64_t i = 0; i < count; i++) {
            int64_t d = tb_axes_wrapped(tb_get_i64(&list->t, i), in->t.rank);
            if (d >= 0 && d < in->t.rank) gone[d] = true;
        }
    }
    int map[TIBA_MAX_RANK], at = 0;
    for (int d = 0; d < in->t.rank; d++) {
        map[d] = gone[d] ? -1 : keep ? d : at;
        at += !gone[d];
    }
    tb_axes_carry(p->axes, p->to, in, out, map);
}

static void op_transpose(tb_axes_pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    int64_t n;
    const int64_t *perm = tb_attr_ints(p->node, "perm", &n);
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) {
        int64_t from = perm && d < n ? perm[d] : in->t.rank - 1 - d;
        if (from >= 0 && from < in->t.rank) map[from] = d;
    }
    tb_axes_carry(p->axes, p->to, in, out, map);
}

static void op_resized(tb_axes_pass *p, const tb_value *out) {
    some_change(p, out, 0);
}

/* All axes of places are axes of their own, though of the same size. */
static void op_sampled(tb_axes_pass *p, const tb_value *out) {
    some_change(p, out, ~3u);
}

/* Elements of one axis are chosen, each line's on its own. */
static void op_chosen(tb_axes_pass *p, const tb_value *out) {
    int64_t axis = tb_is(p->node, TB_OP_TopK) ? -1 : 0;
    some_change(p, out, 1u << tb_axes_wrapped(tb_attr_int(p->node, "axis", axis), out->t.rank));
}

/* Where element i of ScatterElements' or ScatterND's updates is put, in the data's flat order. */
static int64_t scattered_to(const tb_node *node, int64_t i) {
    const tiba_tensor *data = &node->in[0]->t, *indices = &node->in[1]->t,
                      *updates = &node->in[2]->t;
    int64_t at = 0;
    if (tb_is(node, TB_OP_ScatterElements)) {
        const int64_t axis = tb_axes_wrapped(tb_attr_int(node, "axis", 0), data->rank), index = i;
        int64_t step = 1;
        for (int d = data->rank - 1; d >= 0; d--) {
            int64_t coordinate = i % updates->dims[d];
            i /= updates->dims[d];
            if (d == axis)
                coordinate = tb_axes_wrapped(tb_get_i64(indices, index), (int)data->dims[d]);
            at += coordinate * step;
            step *= data->dims[d];
        }
        return at;
    }
    int64_t depth = indices->dims[indices->rank - 1], block = tb_axes_stride(data, (int)depth - 1);
    for (int64_t k = 0; k < depth; k++)
        at = at * data->dims[k] +
             tb_axes_wrapped(tb_get_i64(indices, i / block * depth + k), (int)data->dims[k]);
    return at * block + i % block;
}

/* Where the tokens of axis `part` begin among those of `whole`, -1: in no known place. Axes of
 * other tokens have none and are not asked for. */
static int64_t place_among(const tb_axes *axes, int part, int whole) {
    const tb_label *l = &axes->labels[part], *join = &axes->labels[whole];
    if (part == whole) return 0;
    if (l->kind == TB_LABEL_CUT && l->step == 1 && tb_axes_root(axes, l->parents[0]) == whole)
        return l->offsets[0];
    for (int i = 0; join->kind == TB_LABEL_JOIN && i < join->n_parents; i++)
        if (tb_axes_root(axes, join->parents[i]) == part) return join->offsets[i];
    return -1;
}

/* Are tokens that dimension `dim` of the data has put to other places than their own? */
static bool scatter_moves(tb_axes_pass *p, int dim) {
    const tb_value *data = p->node->in[0], *updates = p->node->in[2];
    const int64_t stride = tb_axes_stride(&data->t, dim), n = tb_tensor_count(&updates->t);
    const int whole = tb_axes_root(p->axes, tb_axes_dim(p->axes, data, dim));
    for (int d = 0; d < updates->t.rank && whole >= 0; d++) {
        int part = tb_axes_root(p->axes, tb_axes_dim(p->axes, updates, d));
        if (part < 0 || (part != whole && !tb_axes_derives(p->axes, part, whole, 0) &&
                         !tb_axes_derives(p->axes, whole, part, 0)))
            continue;
        const int64_t first = place_among(p->axes, part, whole);
        const int64_t inner = tb_axes_stride(&updates->t, d), count = updates->t.dims[d];
        if (first < 0 || !p->node->in[1]->t.data) return true;
        for (int64_t i = 0; i < n; i++)
            if (scattered_to(p->node, i) / stride % data->t.dims[dim] != first + i / inner % count)
                return true;
    }
    return false;
}

/* Does every update keep its place along its dimension `from` as the place along `to`? */
static bool scatter_keeps(const tb_axes_pass *p, int from, int to) {
    const tiba_tensor *data = &p->node->in[0]->t, *updates = &p->node->in[2]->t;
    const int64_t stride = tb_axes_stride(data, to), inner = tb_axes_stride(updates, from);
    const int64_t n = tb_tensor_count(updates), count = updates->dims[from];
    if (count != data->dims[to]) return false;
    for (int64_t i = 0; i < n; i++)
        if (scattered_to(p->node, i) / stride % count != i / inner % count) return false;
    return true;
}

/* Axes that are written as a whole into memory which holds nothing yet: x[..., :n] = y. */
static void op_written(tb_axes_pass *p, const tb_value *out) {
    const tb_value *updates = p->node->in[2];
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < updates->t.rank; d++) {
        map[d] = -1;
        if (updates->t.dims[d] < 2 || tb_axes_dim(p->axes, updates, d) < 0) continue;
        for (int e = 0; e < out->t.rank && map[d] < 0; e++)
            if (scatter_keeps(p, d, e)) map[d] = e;
    }
    tb_axes_carry(p->axes, p->to, updates, out, map);
}

/* The data's axes, but for those whose tokens are put to other places. */
static void op_scatter(tb_axes_pass *p, const tb_value *out) {
    const tb_value *data = p->node->in[0], *updates = p->node->in[2];
    unsigned changes = 0;
    for (int d = 0; d < out->t.rank && data->active && updates->active; d++)
        if (scatter_moves(p, d)) changes |= 1u << d;
    some_change(p, out, changes);
    if (!data->active && updates->active && p->node->in[1]->t.data) op_written(p, out);
}

/* What is cut off in front and put on behind is another axis, though of the same size. */
static void op_pad(tb_axes_pass *p, const tb_value *out) {
    const tb_value *pads = p->node->in[1], *axes = p->node->n_in > 3 ? p->node->in[3] : NULL;
    unsigned changes = 0;
    int64_t n = pads->t.data ? tb_tensor_count(&pads->t) / 2 : 0;
    for (int64_t i = 0; i < n; i++)
        if (tb_get_i64(&pads->t, i) != 0)
            changes |= 1u << tb_axes_wrapped(axes ? tb_get_i64(&axes->t, i) : i, out->t.rank);
    some_change(p, out, changes);
}

/* All but the axis that is transformed and the parts of a number. */
static void op_dft(tb_axes_pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0], *axis = p->node->n_in > 2 ? p->node->in[2] : NULL;
    int map[TIBA_MAX_RANK];
    int64_t gone = tb_axes_wrapped(axis && axis->t.data ? tb_get_i64(&axis->t, 0) : -2, in->t.rank);
    for (int d = 0; d < in->t.rank; d++) map[d] = d == gone || d == in->t.rank - 1 ? -1 : d;
    tb_axes_carry(p->axes, p->to, in, out, map);
}

static void op_elementwise(tb_axes_pass *p, const tb_value *out) {
    for (int i = 0; i < p->node->n_in; i++)
        if (p->node->in[i] && p->node->in[i]->t.rank <= out->t.rank)
            carry_broadcast(p, p->node->in[i], out);
}

static void op_first(tb_axes_pass *p, const tb_value *out) {
    carry_broadcast(p, p->node->in[0], out);
}

static void op_alias(tb_axes_pass *p, const tb_value *out) {
    (void)out;
    *p->to = *tb_axes_of(p->axes, p->node->in[0]);
    tb_axes_rejoin(p->axes, p->to);
}

/* SpaceToDepth, DepthToSpace: rows and columns are split or joined, as by Reshape, Transpose and
 * Reshape on six axes. */
static void op_blocks(tb_axes_pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    const int64_t *d = in->t.dims, b = tb_attr_int(p->node, "blocksize", 1);
    bool columns_first = strcmp(tb_attr_string(p->node, "mode", "DCR"), "CRD") == 0;
    int way = tb_is(p->node, TB_OP_SpaceToDepth) ? 0 : columns_first ? 2 : 1;
    static const int maps[3][TIBA_MAX_RANK] = {
        {0, 3, 4, 1, 5, 2}, {0, 3, 5, 1, 2, 4}, {0, 1, 3, 5, 2, 4}};
    const int *map = maps[way];
    const int64_t split[3][6] = {{d[0], d[1], d[2] / b, b, d[3] / b, b},
                                 {d[0], b, b, d[1] / (b * b), d[2], d[3]},
                                 {d[0], d[1] / (b * b), b, b, d[2], d[3]}};
    tb_value from = *in, to = *out;
    from.t.rank = to.t.rank = 6;
    for (int i = 0; i < 6; i++) from.t.dims[i] = to.t.dims[map[i]] = split[way][i];
    tb_axes_carry(p->axes, p->to, &from, &to, map);
    tb_axes_rejoin(p->axes, p->to);
}

/* How an operator moves axes, by op first and by class second. Without a row labels end there. */
/* clang-format off */
static const struct {
    tb_op_kind kind;
    void (*carry)(tb_axes_pass *, const tb_value *);
} by_kind[] = {
    {TB_OP_Concat, tb_axes_concat},
    {TB_OP_Slice, op_slice},
    {TB_OP_Gather, op_gather},
    {TB_OP_GatherND, op_gather_nd},
    {TB_OP_OneHot, op_one_hot},
    {TB_OP_MatMul, op_matmul},
    {TB_OP_Gemm, op_gemm},
    {TB_OP_Linear, op_linear},
    {TB_OP_Conv, op_window},
    {TB_OP_ConvTranspose, op_transposed_window},
    {TB_OP_DFT, op_dft},
    {TB_OP_DepthToSpace, op_blocks},
    {TB_OP_SpaceToDepth, op_blocks},
    {TB_OP_Transpose, op_transpose},
    {TB_OP_Expand, op_first},
    {TB_OP_Where, op_elementwise},
    {TB_OP_Pad, op_pad},
    {TB_OP_Resize, op_resized},
    {TB_OP_GridSample, op_sampled},
    {TB_OP_Tile, op_resized},
    {TB_OP_Trilu, op_first},
    {TB_OP_CumSum, op_first},
    {TB_OP_CumProd, op_first},
    {TB_OP_ScatterND, op_scatter},
    {TB_OP_ScatterElements, op_scatter},
    {TB_OP_ArgMax, op_reduce},
    {TB_OP_ArgMin, op_reduce},
    {TB_OP_Equal, op_elementwise},
    {TB_OP_Greater, op_elementwise},
    {TB_OP_Less, op_elementwise},
    {TB_OP_GatherElements, op_chosen},
    {TB_OP_TopK, op_chosen},
};
/* clang-format on */

static void carry_node(tb_axes_pass *p, const tb_value *out, int which) {
    if (p->node->op->def->alias) {
        op_alias(p, out);
        return;
    }
    if (p->node->op->kind == TB_OP_Split) {
        op_split(p, out, which);
        return;
    }
    for (size_t i = 0; i < sizeof by_kind / sizeof *by_kind; i++)
        if (p->node->op->kind == by_kind[i].kind) {
            by_kind[i].carry(p, out);
            return;
        }
    switch (p->node->op->class) {
    case TB_CLASS_UNARY:
    case TB_CLASS_NORM:
    case TB_CLASS_QUANT:
        if (which == 0) op_first(p, out);
        break;
    case TB_CLASS_BINARY:
        op_elementwise(p, out);
        break;
    case TB_CLASS_REDUCE:
        op_reduce(p, out);
        break;
    case TB_CLASS_POOL:
        op_window(p, out);
        break;
    default:
        break;
    }
}

bool tb_axes_label(tb_axes_pass *p, const tb_node *node, int which) {
    const tb_value *value = node->out[which];
    if (!value || value->t.data) return true;
    tb_value_axes va = {0};
    p->node = node;
    p->to = &va;
    carry_node(p, value, which);
    if (va.n == 0 && va.n_units == 0) return !p->failed;
    tb_value_axes *kept = TB_NEW(p->axes->arena, tb_value_axes, 1);
    if (!kept) return false;
    *kept = va;
    p->axes->values[value->id] = kept;
    return !p->failed;
}

/* Do the value's elements become features by a Linear or a convolution, before anything else? */
static bool is_projected(const tb_value *value, unsigned char *seen, int depth) {
    for (int i = 0; i < value->n_uses && depth < 12 && !seen[value->id]; i++) {
        const tb_node *node = value->uses[i].node;
        int actives = 0;
        for (int k = 0; k < node->n_in; k++) actives += node->in[k] && node->in[k]->active;
        bool passes = node->op->class == TB_CLASS_MOVE ||
                      (actives == 1 &&
                       (node->op->class == TB_CLASS_UNARY || node->op->class == TB_CLASS_BINARY));
        if (node->op->class == TB_CLASS_CONTRACT && actives == 1) return true;
        for (int k = 0; k < node->n_out && passes; k++)
            if (node->out[k] && is_projected(node->out[k], seen, depth + 1)) return true;
    }
    seen[value->id] = 1;
    return false;
}

/* [batch, tokens, features], but not a mask of tokens by tokens, or a series of numbers; one number
 * for each token, unless features are made of it, is a mask too. */
static bool is_sequence(const tb_value *input, unsigned char *seen) {
    const tiba_tensor *t = &input->t;
    if (t->rank == 3 && t->dims[2] > 1) return t->dims[1] != t->dims[2];
    return (t->rank == 2 || t->rank == 3) && is_projected(input, seen, 0);
}

tiba_status tb_axes_find(tb_axes **out, const tb_graph *graph, tb_arena *arena, tiba_error *error) {
    tb_axes *axes = TB_NEW(arena, tb_axes, 1);
    if (!axes) return tb_out_of_memory(error);
    axes->arena = arena;
    axes->n_values = graph->n_values;
    axes->values = TB_NEW(arena, tb_value_axes *, graph->n_values);
    if (!axes->values) return tb_out_of_memory(error);
    tb_axes_pass p = {.graph = graph, .axes = axes};
    unsigned char *seen = TB_NEW(arena, unsigned char, graph->n_values);
    if (!seen) return tb_out_of_memory(error);
    for (int i = 0; i < graph->n_inputs; i++) {
        const tb_value *input = graph->inputs[i];
        if (!input || !input->active) continue;
        tb_value_axes *va = TB_NEW(arena, tb_value_axes, 1);
        if (!va) return tb_out_of_memory(error);
        p.to = va;
        for (int d = 0; d < input->t.rank; d++) {
            /* of axes of 1 beside each other the last one is that of a single token */
            if (input->t.dims[d] == 1 && d + 1 < input->t.rank && input->t.dims[d + 1] == 1)
                continue;
            tb_label label = {.kind = TB_LABEL_INPUT, .input = i, .dim = d};
            label.vectors = d == 1 && is_sequence(input, seen);
            label.projected = is_projected(input, seen, 0);
            tb_axes_new(&p, input, d, label, NULL, NULL);
        }
        axes->values[input->id] = va;
    }
    tb_node **nodes = tb_reading_order(graph, arena); /* the first labels speak for those joined */
    if (!nodes) return tb_out_of_memory(error);
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < nodes[i]->n_out; k++)
            if (!tb_axes_label(&p, nodes[i], k)) return tb_out_of_memory(error);
    if (p.failed) return tb_out_of_memory(error);
    *out = axes;
    return TIBA_OK;
}
