/*
 * heads.h: heads that a model computes one by one are heads of one attention.
 *
 * What a class of its own for each head, or a loop over them, leaves is P₁V₁, P₂V₂, … joined along
 * their features or stacked. It is the same product with P and V stacked, and E is the mean over
 * its heads. Features may be channels (1x1 convolutions), P may stand on either side, and products
 * may be transposed or reshaped before they are joined: numbers sent through the moves (send.h)
 * tell which axis is what.
 */
#ifndef TB_GRAPH_HEADS_H
#define TB_GRAPH_HEADS_H

#include "graph/build.h"

/** Rewrites every such Concat of a bound graph whose Softmaxes have been raised. The values come
 *  from one value by a linear layer each and are of the same tokens, so that samples, views put
 *  into a batch or windows are not taken for heads. Dead nodes are left to tb_graph_sweep. */
tiba_status tb_join_heads(tb_graph *graph, tb_exec *exec, tiba_error *error);
/** *are: would the Concat be rewritten if no node but itself read its operands? Now each is read by
 *  one more. */
tiba_status tb_are_heads(bool *are, tb_node *concat, tb_exec *exec, tiba_error *error);
/** Brings sums of Linear layers of one Softmax's heads to that form first: W₁h₁ + W₂h₂ + … is
 *  [W₁ W₂ …] times the heads side by side. Dead nodes are swept. */
tiba_status tb_join_head_sums(tb_graph *graph, tb_exec *exec, tiba_error *error);

#endif
