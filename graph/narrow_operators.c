/*
 * narrow_operators.c: two tables, one of operators that treat rows each by itself and one of
 * operators that select rows. What has no row here ends the way of graph/narrow.c.
 */
#include <string.h>

#include "graph/narrow_operators.h"

static int64_t wrapped(int64_t index, int64_t size) {
    return index < 0 ? index + size : index;
}

/* The dimension of an operand that broadcasting lines up with dimension `dim` of the output. */
static int aligned(const tb_node *node, int i, int dim) {
    const tiba_tensor *t = &node->in[i]->t;
    int at = dim - (node->out[0]->t.rank - t->rank);
    return at < 0 || t->dims[at] == 1 ? TB_ROWS_WHOLE : at;
}

/* ---- row-wise operators ---- */

static int unary(const tb_node *node, int i, int dim) {
    if (i == 0) return dim;
    return node->in[i]->t.data ? TB_ROWS_WHOLE : TB_ROWS_MIXED;
}

/* Rounding with one scale for all. */
static int quant(const tb_node *node, int i, int dim) {
    if (node->n_out > 1) return TB_ROWS_MIXED; /* the scale is made of all rows */
    if (i == 0) return dim;
    return tb_tensor_count(&node->in[i]->t) == 1 ? TB_ROWS_WHOLE : TB_ROWS_MIXED;
}

static int broadcast(const tb_node *node, int i, int dim) {
    return aligned(node, i, dim);
}

/* The normalised axes begin at the attribute `axis`; scale and bias have no other. */
static int norm(const tb_node *node, int i, int dim) {
    int rank = node->out[0]->t.rank;
    if (dim >= wrapped(tb_attr_int(node, "axis", -1), rank)) return TB_ROWS_MIXED;
    if (i == 0) return dim;
    return aligned(node, i, dim) == TB_ROWS_WHOLE ? TB_ROWS_WHOLE : TB_ROWS_MIXED;
}

static int one_axis(const tb_node *node, int i, int dim) {
    (void)i;
    return dim == wrapped(tb_attr_int(node, "axis", -1), node->out[0]->t.rank) ? TB_ROWS_MIXED
                                                                               : dim;
}

static int reduce(const tb_node *node, int i, int dim) {
    if (i > 0) return TB_ROWS_WHOLE;
    const tb_value *axes = node->n_in > 1 ? node->in[1] : NULL;
    int64_t count = axes && axes->t.data ? tb_tensor_count(&axes->t) : 0;
    int rank = node->in[0]->t.rank;
    bool gone[TIBA_MAX_RANK] = {false}, keep = tb_attr_int(node, "keepdims", 1) != 0;
    if (count == 0) return TB_ROWS_MIXED;
    for (int64_t k = 0; k < count; k++) gone[wrapped(tb_get_i64(&axes->t, k), rank)] = true;
    if (keep) return gone[dim] ? TB_ROWS_MIXED : dim;
    for (int d = 0; d < rank; d++)
        if (!gone[d] && dim-- == 0) return d;
    return TB_ROWS_MIXED;
}

static int linear(const tb_node *node, int i, int dim) {
    if (dim == node->out[0]->t.rank - 1) return TB_ROWS_MIXED;
    return i == 0 ? dim : TB_ROWS_WHOLE;
}

static int matmul(const tb_node *node, int i, int dim) {
    int rank = node->out[0]->t.rank;
    if (node->in[0]->t.rank < 2 || node->in[1]->t.rank < 2) return TB_ROWS_MIXED;
    if (dim < rank - 2) return aligned(node, i, dim);
    if (dim != rank - 2 + i) return TB_ROWS_WHOLE;
    return node->in[i]->t.rank - 2 + i;
}

static int gemm(const tb_node *node, int i, int dim) {
    if (i == 2) return aligned(node, i, dim);
    if (dim != i) return TB_ROWS_WHOLE;
    bool trans = tb_attr_int(node, i ? "transB" : "transA", 0) != 0;
    return i ? !trans : trans;
}

static int transpose(const tb_node *node, int i, int dim) {
    (void)i;
    int64_t n;
    const int64_t *perm = tb_attr_ints(node, "perm", &n);
    return perm ? (int)perm[dim] : node->out[0]->t.rank - 1 - dim;
}

/* Elements stay in order: the axis is the one with as many rows and as many elements behind it. */
static int reshape(const tb_node *node, int i, int dim) {
    if (i > 0) return TB_ROWS_WHOLE;
    const tiba_tensor *x = &node->in[0]->t, *y = &node->out[0]->t;
    int64_t inner = 1, at = 1;
    for (int d = dim + 1; d < y->rank; d++) inner *= y->dims[d];
    for (int d = x->rank - 1; d >= 0; d--) {
        if (at == inner && x->dims[d] == y->dims[dim]) return d;
        at *= x->dims[d];
    }
    return TB_ROWS_MIXED;
}

static int concat(const tb_node *node, int i, int dim) {
    (void)i;
    return dim == wrapped(tb_attr_int(node, "axis", 0), node->out[0]->t.rank) ? TB_ROWS_MIXED : dim;
}

static int slice(const tb_node *node, int i, int dim) {
    if (i > 0) return node->in[i]->t.data ? TB_ROWS_WHOLE : TB_ROWS_MIXED;
    const tb_value *axes = node->n_in > 3 ? node->in[3] : NULL;
    int64_t count = tb_tensor_count(&node->in[1]->t);
    for (int64_t k = 0; k < count; k++)
        if (wrapped(axes ? tb_get_i64(&axes->t, k) : k, node->in[0]->t.rank) == dim)
            return TB_ROWS_MIXED;
    return dim;
}

static int gather(const tb_node *node, int i, int dim) {
    const tb_value *x = node->in[0], *indices = node->in[1];
    if (!indices->t.data || x->t.data) return TB_ROWS_MIXED;
    if (i > 0) return TB_ROWS_WHOLE;
    int axis = (int)wrapped(tb_attr_int(node, "axis", 0), x->t.rank), rank = indices->t.rank;
    if (dim < axis) return dim;
    return dim < axis + rank ? TB_ROWS_MIXED : dim - rank + 1;
}

static const struct {
    int kind, class; /* -1: any */
    tb_row_wise is;
} row_wise[] = {
    {-1, TB_CLASS_UNARY, {unary, false}},
    {-1, TB_CLASS_BINARY, {broadcast, false}},
    {-1, TB_CLASS_REDUCE, {reduce, false}},
    {-1, TB_CLASS_QUANT, {quant, false}},
    {TB_OP_Where, -1, {broadcast, false}},
    {TB_OP_Softmax, -1, {one_axis, false}},
    {TB_OP_LogSoftmax, -1, {one_axis, false}},
    {TB_OP_LpNormalization, -1, {one_axis, false}},
    {TB_OP_LayerNormalization, -1, {norm, false}},
    {TB_OP_RMSNormalization, -1, {norm, false}},
    {TB_OP_Linear, -1, {linear, false}},
    {TB_OP_MatMul, -1, {matmul, false}},
    {TB_OP_Gemm, -1, {gemm, false}},
    {TB_OP_Transpose, -1, {transpose, false}},
    {TB_OP_Identity, -1, {reshape, true}},
    {TB_OP_Reshape, -1, {reshape, true}},
    {TB_OP_Flatten, -1, {reshape, true}},
    {TB_OP_Squeeze, -1, {reshape, true}},
    {TB_OP_Unsqueeze, -1, {reshape, true}},
    {TB_OP_Concat, -1, {concat, false}},
    {TB_OP_Slice, -1, {slice, false}},
    {TB_OP_Gather, -1, {gather, false}},
};

const tb_row_wise *tb_find_row_wise(const tb_node *node) {
    for (size_t i = 0; i < sizeof row_wise / sizeof *row_wise; i++)
        if (row_wise[i].kind == (int)node->op->kind || row_wise[i].class == (int)node->op->class)
            return &row_wise[i].is;
    return NULL;
}

/* ---- selections ---- */

typedef void row_fn(void *context, int64_t row);

static bool select_gather(const tb_node *node, int out, int *dim, row_fn *row, void *context) {
    (void)out;
    const tiba_tensor *x = &node->in[0]->t, *indices = &node->in[1]->t;
    if (!indices->data) return false;
    *dim = (int)wrapped(tb_attr_int(node, "axis", 0), x->rank);
    for (int64_t i = 0; row && i < tb_tensor_count(indices); i++)
        row(context, wrapped(tb_get_i64(indices, i), x->dims[*dim]));
    return true;
}

/* Indices [..., k] into k dimensions behind the batch: the one of the most rows is selected. */
static bool select_gather_nd(const tb_node *node, int out, int *dim, row_fn *row, void *context) {
    (void)out;
    const tiba_tensor *x = &node->in[0]->t, *indices = &node->in[1]->t;
    int batch = (int)tb_attr_int(node, "batch_dims", 0);
    if (!indices->data || indices->rank < 1) return false;
    int64_t k = indices->dims[indices->rank - 1];
    if (k < 1) return false;
    *dim = batch;
    for (int d = batch; d < batch + k; d++)
        if (x->dims[d] > x->dims[*dim]) *dim = d;
    for (int64_t i = *dim - batch; row && i < tb_tensor_count(indices); i += k)
        row(context, wrapped(tb_get_i64(indices, i), x->dims[*dim]));
    return true;
}

static bool along_gather_nd(const tb_node *node, int64_t i, int dim) {
    const tiba_tensor *indices = &node->in[1]->t;
    return i % indices->dims[indices->rank - 1] == dim - tb_attr_int(node, "batch_dims", 0);
}

/* One axis is cut, by positive steps. */
static bool select_slice(const tb_node *node, int out, int *dim, row_fn *row, void *context) {
    (void)out;
    const tiba_tensor *x = &node->in[0]->t, *y = &node->out[0]->t;
    const tb_value *axes = node->n_in > 3 ? node->in[3] : NULL;
    const tb_value *steps = node->n_in > 4 ? node->in[4] : NULL;
    const tiba_tensor *starts = &node->in[1]->t;
    if (!starts->data || (axes && !axes->t.data) || (steps && !steps->t.data)) return false;
    int64_t start = 0, step = 1;
    *dim = -1;
    for (int64_t i = 0; i < tb_tensor_count(starts); i++) {
        int64_t d = wrapped(axes ? tb_get_i64(&axes->t, i) : i, x->rank);
        int64_t by = steps ? tb_get_i64(&steps->t, i) : 1;
        if (by < 0) return false;
        if (y->dims[d] == x->dims[d]) continue;
        if (*dim >= 0) return false;
        *dim = (int)d;
        start = wrapped(tb_get_i64(starts, i), x->dims[d]);
        if (start < 0) start = 0;
        step = by;
    }
    for (int64_t i = 0; row && *dim >= 0 && i < y->dims[*dim]; i++) row(context, start + i * step);
    return *dim >= 0;
}

static bool select_split(const tb_node *node, int out, int *dim, row_fn *row, void *context) {
    *dim = (int)wrapped(tb_attr_int(node, "axis", 0), node->in[0]->t.rank);
    int64_t start = 0;
    for (int i = 0; i < out; i++) {
        if (!node->out[i]) return false;
        start += node->out[i]->t.dims[*dim];
    }
    for (int64_t i = 0; row && i < node->out[out]->t.dims[*dim]; i++) row(context, start + i);
    return true;
}

static const struct {
    tb_op_kind kind;
    tb_selection is;
} selections[] = {
    {TB_OP_Gather, {select_gather, 1, NULL}},
    {TB_OP_GatherElements, {select_gather, 1, NULL}},
    {TB_OP_GatherND, {select_gather_nd, 1, along_gather_nd}},
    {TB_OP_Slice, {select_slice, 0, NULL}},
    {TB_OP_Split, {select_split, 0, NULL}},
};

const tb_selection *tb_find_selection(const tb_node *node) {
    for (size_t i = 0; i < sizeof selections / sizeof *selections; i++)
        if (selections[i].kind == node->op->kind) return &selections[i].is;
    return NULL;
}
