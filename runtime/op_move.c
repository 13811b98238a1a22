/*
 * Operators that copy every element once or repeatedly in a regular pattern: the reshapes (which
 * need no copy at all), Transpose, Expand, Tile, DepthToSpace, SpaceToDepth. The patterned cuts are
 * in op_slice.c, masks in op_where.c, look-ups in op_gather.c.
 */
#include "runtime/move.h"

#include <inttypes.h>
#include <string.h>

void tb_zero(tiba_tensor *tensor) {
    memset(tensor->data, 0, tb_tensor_bytes(tensor));
}

void tb_move_forward(tb_exec *exec, const tb_move *move, const tiba_tensor *in, tiba_tensor *out) {
    size_t size = tb_dtype_size(out->dtype);
    tb_walk_copy(exec, &move->walk, size, (char *)out->data + move->to * (int64_t)size,
                 (const char *)in->data + move->from * (int64_t)size);
}

void tb_move_vjp(tb_exec *exec, const tb_move *move, const tiba_tensor *dout, tiba_tensor *din) {
    tb_walk back = tb_walk_reverse(&move->walk);
    bool repeats = false;
    int64_t reached = 1;
    for (int i = 0; i < back.rank; i++) {
        if (back.to[i] == 0 && back.dims[i] != 1)
            repeats = true;
        else
            reached *= back.dims[i];
    }
    if (repeats || reached < tb_tensor_count(din)) tb_zero(din);
    float *to = (float *)din->data + move->from;
    const float *from = (const float *)dout->data + move->to;
    if (repeats)
        tb_walk_add(exec, &back, to, from);
    else
        tb_walk_copy(exec, &back, sizeof(float), to, from);
}

/* Reshape and its like: the same elements in the same order. */

static tb_move same_order(const tb_node *node, const tiba_tensor *in, const tiba_tensor *out) {
    (void)node, (void)in;
    tb_move move = {0};
    tb_walk_axis(&move.walk, tb_tensor_count(out), 1, 1);
    return move;
}
TB_MOVE_KERNELS(same_order)

static tiba_status identity_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    return tb_set_out(node, 0, x->dtype, x->rank, x->dims, error);
}

static tiba_status reshape_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t dims[TIBA_MAX_RANK], known = 1, count = tb_tensor_count(x);
    int rank, inferred = -1;
    TB_TRY(tb_read_ints(dims, &rank, TIBA_MAX_RANK, node, 1, "dimensions", error));
    bool allow_zero = tb_attr_int(node, "allowzero", 0) != 0;
    for (int i = 0; i < rank; i++) {
        if (dims[i] == 0 && !allow_zero) {
            if (i >= x->rank)
                return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                    "dimension %d is to be copied from an input of rank %d", i,
                                    x->rank);
            dims[i] = x->dims[i];
        }
        if (dims[i] == -1 && inferred < 0) {
            inferred = i;
            continue;
        }
        if (dims[i] < 0 || !tb_i64_mul(&known, known, dims[i]))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "dimension %d is %" PRId64, i,
                                dims[i]);
    }
    bool fits = inferred < 0 ? known == count : known > 0 && count % known == 0;
    if (!fits) {
        char have[128], want[128];
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "cannot reshape %s to %s",
                            tb_shape_text(have, sizeof have, x->rank, x->dims),
                            tb_shape_text(want, sizeof want, rank, dims));
    }
    if (inferred >= 0) dims[inferred] = count / known;
    return tb_set_out(node, 0, x->dtype, rank, dims, error);
}

static tiba_status flatten_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t axis = tb_attr_int(node, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "axis %" PRId64 " is out of range for %d dimensions", axis, x->rank);
    if (axis < 0) axis += x->rank;
    int64_t dims[2] = {tb_product(x->dims, 0, (int)axis), tb_product(x->dims, (int)axis, x->rank)};
    return tb_set_out(node, 0, x->dtype, 2, dims, error);
}

static tiba_status squeeze_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int axes[TIBA_MAX_RANK], count, rank = 0;
    int64_t dims[TIBA_MAX_RANK];
    bool drop[TIBA_MAX_RANK] = {false}, all = !tb_node_in(node, 1);
    TB_TRY(tb_read_axes(axes, &count, x->rank, node, 1, error));
    for (int i = 0; i < count; i++) {
        drop[axes[i]] = x->dims[axes[i]] == 1;
        if (!drop[axes[i]] && !all)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "axis %d has size %" PRId64 ", not 1", axes[i], x->dims[axes[i]]);
    }
    for (int i = 0; i < x->rank; i++)
        if (!drop[i]) dims[rank++] = x->dims[i];
    return tb_set_out(node, 0, x->dtype, rank, dims, error);
}

static tiba_status unsqueeze_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    TB_TRY(tb_need_ints(node, 1, "axes", error));
    int64_t added = tb_tensor_count(&node->in[1]->t), dims[TIBA_MAX_RANK];
    if (added > TIBA_MAX_RANK - x->rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its output has more dimensions than the %d that are supported",
                            TIBA_MAX_RANK);
    int axes[TIBA_MAX_RANK], count, rank = x->rank + (int)added;
    TB_TRY(tb_read_axes(axes, &count, rank, node, 1, error));
    bool fresh[TIBA_MAX_RANK] = {false};
    for (int i = 0; i < count; i++) fresh[axes[i]] = true;
    for (int i = 0, from = 0; i < rank; i++) dims[i] = fresh[i] ? 1 : x->dims[from++];
    return tb_set_out(node, 0, x->dtype, rank, dims, error);
}

const tb_op_def tb_op_def_Identity = {
    .shape = identity_shape, .forward = same_order_forward, .vjp = same_order_vjp, .alias = true};
const tb_op_def tb_op_def_Reshape = {
    .shape = reshape_shape, .forward = same_order_forward, .vjp = same_order_vjp, .alias = true};
const tb_op_def tb_op_def_Flatten = {
    .shape = flatten_shape, .forward = same_order_forward, .vjp = same_order_vjp, .alias = true};
const tb_op_def tb_op_def_Squeeze = {
    .shape = squeeze_shape, .forward = same_order_forward, .vjp = same_order_vjp, .alias = true};
const tb_op_def tb_op_def_Unsqueeze = {
    .shape = unsqueeze_shape, .forward = same_order_forward, .vjp = same_order_vjp, .alias = true};

/* Transpose: out.dims[i] = in.dims[perm[i]], perm reverses the axes where it is left out. */

static tiba_status transpose_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t count, dims[TIBA_MAX_RANK];
    const int64_t *perm = tb_attr_ints(node, "perm", &count);
    if (perm && count != x->rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "perm has %" PRId64 " entries for %d dimensions", count, x->rank);
    unsigned seen = 0;
    for (int i = 0; i < x->rank; i++) {
        int64_t from = perm ? perm[i] : x->rank - 1 - i;
        if (from < 0 || from >= x->rank || seen >> from & 1u)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "perm[%d] = %" PRId64, i, from);
        seen |= 1u << from;
        dims[i] = x->dims[from];
    }
    return tb_set_out(node, 0, x->dtype, x->rank, dims, error);
}

static tb_move transpose_move(const tb_node *node, const tiba_tensor *in, const tiba_tensor *out) {
    int64_t count, from[TIBA_MAX_RANK], to[TIBA_MAX_RANK];
    const int64_t *perm = tb_attr_ints(node, "perm", &count);
    tb_strides(from, in->rank, in->dims);
    tb_strides(to, out->rank, out->dims);
    tb_move move = {0};
    for (int i = 0; i < out->rank; i++)
        tb_walk_axis(&move.walk, out->dims[i], to[i],
                     from[perm ? (int)perm[i] : out->rank - 1 - i]);
    return move;
}
TB_MOVE_KERNELS(transpose_move)

const tb_op_def tb_op_def_Transpose = {
    .shape = transpose_shape, .forward = transpose_move_forward, .vjp = transpose_move_vjp};

/* Expand: broadcasting in both directions to the shape given as the second input. */

static tiba_status expand_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t dims[TIBA_MAX_RANK];
    int rank;
    TB_TRY(tb_read_ints(dims, &rank, TIBA_MAX_RANK, node, 1, "dimensions", error));
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "dimension %d is %" PRId64, i,
                                dims[i]);
    TB_TRY(tb_broadcast_dims(node, &rank, dims, x->rank, x->dims, error));
    return tb_set_out(node, 0, x->dtype, rank, dims, error);
}

static tb_move expand_move(const tb_node *node, const tiba_tensor *in, const tiba_tensor *out) {
    (void)node;
    int64_t from[TIBA_MAX_RANK], to[TIBA_MAX_RANK];
    tb_broadcast_strides(from, out->rank, out->dims, in->rank, in->dims);
    tb_strides(to, out->rank, out->dims);
    tb_move move = {0};
    for (int i = 0; i < out->rank; i++) tb_walk_axis(&move.walk, out->dims[i], to[i], from[i]);
    return move;
}
TB_MOVE_KERNELS(expand_move)

const tb_op_def tb_op_def_Expand = {
    .shape = expand_shape, .forward = expand_move_forward, .vjp = expand_move_vjp};

/* Tile: axis i is repeated repeats[i] times. */

static tiba_status tile_shape(tb_node *node, tiba_error *error) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t dims[TIBA_MAX_RANK];
    int count;
    TB_TRY(tb_read_ints(dims, &count, TIBA_MAX_RANK, node, 1, "repeats", error));
    if (count != x->rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%d repeats for %d dimensions", count,
                            x->rank);
    for (int i = 0; i < count; i++)
        if (dims[i] < 0 || !tb_i64_mul(&dims[i], dims[i], x->dims[i]))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "repeats[%d] = %" PRId64, i,
                                dims[i]);
    return tb_set_out(node, 0, x->dtype, count, dims, error);
}

static tb_move tile_move(const tb_node *node, const tiba_tensor *in, const tiba_tensor *out) {
    (void)node;
    int64_t from[TIBA_MAX_RANK], to[TIBA_MAX_RANK];
    tb_strides(from, in->rank, in->dims);
    tb_strides(to, out->rank, out->dims);
    tb_move move = {0};
    for (int i = 0; i < out->rank; i++) {
        int64_t n = in->dims[i];
        tb_walk_axis(&move.walk, n > 0 ? out->dims[i] / n : 0, n * to[i], 0);
        tb_walk_axis(&move.walk, n, to[i], from[i]);
    }
    return move;
}
TB_MOVE_KERNELS(tile_move)

const tb_op_def tb_op_def_Tile = {
    .shape = tile_shape, .forward = tile_move_forward, .vjp = tile_move_vjp};

/* DepthToSpace and SpaceToDepth on [N, C, H, W]: a transposition of six axes
 * (N, block row, block column, C, H, W) against (N, C, H, block row, W, block column). */

typedef struct blocks {
    int64_t n, c, h, w, b; /* c: channels on the deep side per block cell; h, w: on that side */
    bool channels_first;   /* CRD: the block's cells are the inner part of the channel axis */
} blocks;

static tiba_status depth_shape(tb_node *node, tiba_error *error, bool to_space) {
    const tiba_tensor *x = &node->in[0]->t;
    int64_t b = tb_attr_int(node, "blocksize", 0), area;
    if (x->rank != 4)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its input has %d dimensions, not 4",
                            x->rank);
    const char *mode = tb_attr_string(node, "mode", "DCR");
    if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "mode '%.20s' is not supported", mode);
    if (b < 1 || !tb_i64_mul(&area, b, b) || (to_space && x->dims[1] % area != 0) ||
        (!to_space && (x->dims[2] % b != 0 || x->dims[3] % b != 0)))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "blocksize %" PRId64 " does not fit", b);
    int64_t dims[4] = {x->dims[0]};
    bool fits = to_space
                    ? tb_i64_mul(&dims[2], x->dims[2], b) && tb_i64_mul(&dims[3], x->dims[3], b)
                    : tb_i64_mul(&dims[1], x->dims[1], area);
    if (!fits)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "blocksize %" PRId64 " does not fit", b);
    if (to_space) {
        dims[1] = x->dims[1] / area;
    } else {
        dims[2] = x->dims[2] / b;
        dims[3] = x->dims[3] / b;
    }
    return tb_set_out(node, 0, x->dtype, 4, dims, error);
}

static blocks read_blocks(const tb_node *node, int64_t n, int64_t c, int64_t h, int64_t w) {
    return (blocks){n,
                    c,
                    h,
                    w,
                    tb_attr_int(node, "blocksize", 0),
                    strcmp(tb_attr_string(node, "mode", "DCR"), "CRD") == 0};
}

static tb_move depth_move(const blocks *s) {
    int64_t b = s->b, plane = s->h * s->w, cell = s->channels_first ? plane : s->c * plane,
            channel = s->channels_first ? b * b * plane : plane, width = s->w * b;
    tb_move move = {0};
    tb_walk_axis(&move.walk, s->n, s->c * b * b * plane, s->c * b * b * plane);
    tb_walk_axis(&move.walk, s->c, plane * b * b, channel);
    tb_walk_axis(&move.walk, s->h, b * width, s->w);
    tb_walk_axis(&move.walk, b, width, b * cell);
    tb_walk_axis(&move.walk, s->w, b, 1);
    tb_walk_axis(&move.walk, b, 1, cell);
    return move;
}

static tiba_status depth_to_space_shape(tb_node *node, tiba_error *error) {
    return depth_shape(node, error, true);
}

static tb_move depth_to_space(const tb_node *node, const tiba_tensor *in, const tiba_tensor *out) {
    blocks s = read_blocks(node, in->dims[0], out->dims[1], in->dims[2], in->dims[3]);
    return depth_move(&s);
}
TB_MOVE_KERNELS(depth_to_space)

static tiba_status space_to_depth_shape(tb_node *node, tiba_error *error) {
    return depth_shape(node, error, false);
}

static tb_move space_to_depth(const tb_node *node, const tiba_tensor *in, const tiba_tensor *out) {
    blocks s = read_blocks(node, in->dims[0], in->dims[1], out->dims[2], out->dims[3]);
    tb_move move = depth_move(&s);
    move.walk = tb_walk_reverse(&move.walk);
    return move;
}
TB_MOVE_KERNELS(space_to_depth)

const tb_op_def tb_op_def_DepthToSpace = {
    .shape = depth_to_space_shape, .forward = depth_to_space_forward, .vjp = depth_to_space_vjp};
const tb_op_def tb_op_def_SpaceToDepth = {
    .shape = space_to_depth_shape, .forward = space_to_depth_forward, .vjp = space_to_depth_vjp};
