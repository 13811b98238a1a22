/*
 * attention.h: attentions and towers, found by the way of the data.
 *
 * An attention is P·V where P descends from a softmax over an axis that the product contracts; what
 * lies between softmax and product (dropout, masks, casts, head mixing) does not matter, P is the
 * operand that really multiplies V. Attentions whose queries and keys are the same tokens (the same
 * label, graph/axes.h) form the tower of those tokens.
 */
#ifndef TB_GRAPH_ATTENTION_H
#define TB_GRAPH_ATTENTION_H

#include "graph/axes.h"

typedef struct tb_attention {
    const tb_node *softmax;
    const tb_node *product; /**< the MatMul of P and V */
    const tb_value *p, *v;
    /** Where whole numbers are multiplied p is counted in steps of this scale (one number, which
     * the program may compute): the probabilities are unit · p. NULL: p holds them as they are. */
    const tb_value *unit;
    bool transposed;       /**< the product is Vᵀ·Pᵀ: p is [..., keys, queries] */
    int64_t queries, keys; /**< p is [rows, queries, keys] */
    /** p's leading rows fall into groups (samples, windows), which have the same heads each:
     *  group_of[row] for row < groups × heads. In plain attentions the groups are the samples. */
    int64_t groups, heads;
    int *group_of;
    int query_label, key_label; /**< -1 or TB_LABEL_QUERY: not from any input */
    bool plain; /**< nothing but samples and heads in front of [queries, keys]: no windows */
    int tower;  /**< index in towers, -1: none */
} tb_attention;

typedef struct tb_tower {
    int label; /**< of its tokens */
    int64_t tokens;
    int n_attentions;
    int *attentions;       /**< indices, in the order of all */
    int input;             /**< graph input that feeds the tokens, -1 unknown */
    bool image;            /**< tokens are patches of a picture (or spectrogram) */
    int64_t rows, columns; /**< patch grid, 0 × 0 if none; a sequence of frames is 1 × n. Token
                            *   prefix + i is patch i, row by row (graph/token_order.h) */
    int64_t prefix;        /**< tokens in front of the first patch */
    int64_t length;        /**< how many tokens the input has, whatever was put to them */
    bool reordered;        /**< tokens are not in the input's order */
    bool mixed;            /**< tokens of several inputs take turns; each says its own */
    /** Where each token comes from, unless a grid says so: [tokens]; NULL: nobody knows. */
    const struct tb_token_origin *origins;
} tb_tower;

/** A graph input, -1: none (a class token), and the place along the input's tokens, -1: several or
 *  unknown. */
typedef struct tb_token_origin {
    int input;
    int64_t place;
} tb_token_origin;

typedef struct tb_attentions {
    int n_attentions, n_towers;
    tb_attention *attentions; /**< in execution order; parallel ones as their sum reads them */
    tb_tower *towers;         /**< in order of their first attention */
    const tb_node *odd;       /**< a product of probabilities whose keys are no tokens that are
                               *   known: there may be an attention in it; NULL: none */
} tb_attentions;

/** The graph input that a label comes from, -1 if none. */
int tb_label_input(const tb_axes *axes, int label);
/** The graph input whose tokens are an attention's queries, -1 if none. */
int tb_query_input(const tb_axes *axes, const tb_attentions *found, int attention);
/** The graph input whose tokens V has in the place of features, where in[side] of the product is P:
 *  -1 if none, -2 out of memory. */
int tb_features_input(tb_axes *axes, const tb_node *product, int side);
/** Is `label` made of `part` (joined, cut, merged) or `part` itself? */
bool tb_label_includes(const tb_axes *axes, int label, int part);
/** What a token label says of a tower: input, picture, grid, prefix. `tokens` is its count, `found`
 *  the towers below it: tokens that are joined are named by the part that has none of its own.
 *  False: out of memory. */
bool tb_tower_describe(tb_tower *tower, const tb_graph *graph, const tb_axes *axes,
                       const tb_attentions *found, int label, int64_t tokens);

/** Finds them all. The result belongs to axes->arena. No attention at all is no error here. */
tiba_status tb_attentions_find(tb_attentions **out, const tb_graph *graph, tb_axes *axes,
                               tb_budget *budget, tiba_error *error);

/** The value nearest `target` that every path from the tower's last attention to the target passes
 *  through and that carries the tower's token axis (stride *inner); NULL if there is none. */
const tb_value *tb_tower_readout(const tb_graph *graph, const tb_axes *axes,
                                 const tb_attentions *found, const tb_tower *tower,
                                 const tb_value *target, int64_t *inner);

#endif
