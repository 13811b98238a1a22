/*
 * build.h: adds nodes to a bound graph. Each new node gets its shape at once; if all its inputs are
 * constants it is computed at once and leaves constants behind instead of a node.
 *
 *     tb_value *scaled;
 *     TB_TRY(tb_build1(b, &scaled, TB_OP_Mul, 2, (tb_value *[]){x, scale}, 0, NULL, error));
 *
 * One operator on constants is not computed: an embedding look-up, that is, Gather (or GatherND)
 * along axis 0 from a constant float table of rank 2 or more (a quantised one included) with
 * indices that are a copy of an integer graph input, or OneHot of such indices. It stays as a node
 * and is where activity starts. Indices that a float input holds among other numbers (the columns
 * of a table in one array) are made such a copy by the settler, for Gather.
 */
#ifndef TB_GRAPH_BUILD_H
#define TB_GRAPH_BUILD_H

#include "graph/op.h"

typedef struct tb_builder {
    tb_graph *graph;
    tb_exec *exec;
    const char *origin;         /**< file node name(s) that new nodes stand for; borrowed */
    tb_node *before;            /**< new nodes go in front of this one (NULL: at the end) */
    const tb_node *from;        /**< source node for error messages, may be NULL */
    size_t folded;              /**< internal: bytes of constants so far */
    struct tb_settler *settler; /**< what finds values that shapes need (graph/settle.h); NULL: a
                                     shape that depends on values of a float input is refused */
} tb_builder;

/** Adds a node; out[0 … n_out-1] receive its output values (constants if it was folded, or if they
 *  have no elements). `attrs` and their integer lists are copied, strings and tensors are borrowed.
 *  Sets `active` and `ids_of` of the outputs. Fails if the op has no kernels, the inputs' number
 *  does not fit it, or a shape depends on values that are known only when the graph runs. */
tiba_status tb_build(tb_builder *b, tb_value **out, int n_out, tb_op_kind kind, int n_in,
                     tb_value *const *in, int n_attrs, const tb_attr *attrs, tiba_error *error);
/** As tb_build with one output. */
tiba_status tb_build1(tb_builder *b, tb_value **out, tb_op_kind kind, int n_in, tb_value *const *in,
                      int n_attrs, const tb_attr *attrs, tiba_error *error);
/** Constants: `data` is copied. */
tiba_status tb_build_constant(tb_builder *b, tb_value **out, tiba_dtype dtype, int rank,
                              const int64_t *dims, const void *data, tiba_error *error);
/** A constant that borrows the tensor's data, which must live as long as the graph. */
tiba_status tb_build_borrowed(tb_builder *b, tb_value **out, const tiba_tensor *tensor,
                              tiba_error *error);
tiba_status tb_build_scalar(tb_builder *b, tb_value **out, float value, tiba_error *error);
/** One-dimensional int64 constant, as Reshape, Slice, … take it. */
tiba_status tb_build_ints(tb_builder *b, tb_value **out, int count, const int64_t *values,
                          tiba_error *error);
/** *value in other dimensions. */
tiba_status tb_build_reshape(tb_builder *b, tb_value **value, int rank, const int64_t *dims,
                             tiba_error *error);
/** *value with axis `from` at place `to`, the others in their order. */
tiba_status tb_build_move_axis(tb_builder *b, tb_value **value, int from, int to,
                               tiba_error *error);

/* Attributes for the calls above. */
#define TB_INT_ATTR(n, v)    ((tb_attr){.name = (n), .kind = TB_ATTR_INT, .i = (v)})
#define TB_FLOAT_ATTR(n, v)  ((tb_attr){.name = (n), .kind = TB_ATTR_FLOAT, .f = (v)})
#define TB_STRING_ATTR(n, v) ((tb_attr){.name = (n), .kind = TB_ATTR_STRING, .s = (v)})
#define TB_INTS_ATTR(n, c, v)                                                                      \
    ((tb_attr){.name = (n), .kind = TB_ATTR_INTS, .count = (c), .ints = (v)})

#endif
