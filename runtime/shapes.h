/*
 * shapes.h: what the operators' shape functions share: constant inputs that determine
 * shapes, axes, outputs' shapes, row-major strides. Every function that can fail names the node.
 */
#ifndef TB_RUNTIME_SHAPES_H
#define TB_RUNTIME_SHAPES_H

#include "runtime/kernel.h"

/** node->in[i], NULL where it is left out. */
static inline const tb_value *tb_node_in(const tb_node *node, int i) {
    return i < node->n_in ? node->in[i] : NULL;
}

/** The tensor of an optional kernel input, NULL where it is left out. */
static inline const tiba_tensor *tb_kernel_in(const tb_node *node, const tiba_tensor *const *in,
                                              int i) {
    return i < node->n_in ? in[i] : NULL;
}

/** The type in which values of a file's type are stored: floats of any width are float32. */
static inline tiba_dtype tb_storage_dtype(tiba_dtype dtype) {
    return tb_dtype_is_float(dtype) ? TIBA_FLOAT32 : dtype;
}

/** Sets node->out[k]'s type and shape (nothing if it is NULL); fails if the shape is out of range
 *  or the type has no fixed size. */
tiba_status tb_set_out(tb_node *node, int k, tiba_dtype dtype, int rank, const int64_t *dims,
                       tiba_error *error);

/** The attribute `axis` (default 0) of a node whose shape function has checked it, made
 *  non-negative. */
static inline int tb_axis_attr(const tb_node *node, int rank) {
    int64_t axis = tb_attr_int(node, "axis", 0);
    return (int)(axis < 0 ? axis + rank : axis);
}

/** Fails unless node->in[i] is there, constant and integer with at most one dimension. `what` names
 *  it in the message: "axes", … */
tiba_status tb_need_ints(const tb_node *node, int i, const char *what, tiba_error *error);

/** The elements of such an input; *count = how many, which must be at most `capacity`. */
tiba_status tb_read_ints(int64_t *out, int *count, int capacity, const tb_node *node, int i,
                         const char *what, tiba_error *error);

/** Axes from such an input, or all of 0 … rank-1 if it is left out. Duplicates are refused. */
tiba_status tb_read_axes(int *out, int *count, int rank, const tb_node *node, int i,
                         tiba_error *error);

/** Shape that `a` and `b` broadcast to; fails if they do not. `dims` may be one of them. */
tiba_status tb_broadcast_dims(const tb_node *node, int *rank, int64_t *dims, int rank_b,
                              const int64_t *dims_b, tiba_error *error);

/** Row-major strides in elements. */
void tb_strides(int64_t *out, int rank, const int64_t *dims);

/** Strides with which an array of shape `dims` is read as one of the (broadcast) shape `to`: 0
 * along repeated axes. */
void tb_broadcast_strides(int64_t *out, int rank_to, const int64_t *to, int rank,
                          const int64_t *dims);

#endif
