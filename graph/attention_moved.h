/*
 * attention_moved.h: attentions whose probabilities are moved into other places before the product.
 *
 * A band of keys around each query (Longformer, LED) is computed in blocks: scores are skewed by
 * padding and reshaping so that each row holds a query's own keys, and so are the probabilities
 * before they multiply windows of values. No axis of keys survives that. What the product sums over
 * is found out element by element instead: numbers are sent through the moves.
 */
#ifndef TB_GRAPH_ATTENTION_MOVED_H
#define TB_GRAPH_ATTENTION_MOVED_H

#include "graph/attention.h"

/** How the search came to a value: node->in[index] is the one before; node NULL: it began there. */
typedef struct tb_moved_by {
    const tb_node *node;
    int index;
} tb_moved_by;

/** Is `a` (softmax, product, p, v, transposed, queries and keys are set) an attention: does each
 *  sum run over elements of one row of the softmax, times rows of tokens, and do the results come
 *  to stand with those of other heads in one vector? Then its groups, heads and labels are set.
 * *odd: it does not fit and yet may be one; sums over several rows (of class probabilities, over
 * queries) are none. by: the moves from the softmax to p, by value id. */
tiba_status tb_moved_attention(bool *fits, bool *odd, tb_attention *a, const tb_moved_by *by,
                               tb_axes *axes, tb_exec *exec, tiba_error *error);

#endif
