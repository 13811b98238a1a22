/*
 * token_order.h: do tokens stand in the order of the input that they come from?
 *
 * A patch grid says where on the picture each token's relevance is drawn, and words are found by
 * their tokens' places. Both hold only if token i is the input's place i: every token is followed
 * through its label (graph/axes.h) to its coordinates in the axes of the input.
 */
#ifndef TB_GRAPH_TOKEN_ORDER_H
#define TB_GRAPH_TOKEN_ORDER_H

#include "graph/attention.h"

typedef enum tb_token_order {
    TB_ORDER_KEPT,
    TB_ORDER_OTHER,   /**< in other places, or a part of the rows or columns only */
    TB_ORDER_UNKNOWN, /**< not followed to the input */
    TB_ORDER_NO_MEMORY
} tb_token_order;

typedef enum tb_token_place {
    TB_ORDER_OF_SEQUENCE, /**< one behind the other */
    TB_ORDER_OF_PICTURE,  /**< row by row, all rows and columns */
    TB_ORDER_OF_SOUND     /**< or column by column: a spectrogram may be turned */
} tb_token_place;

/** Of tokens `first` to `first + n` of the label. */
tb_token_order tb_token_order_of(const tb_axes *axes, int label, int64_t first, int64_t n,
                                 tb_token_place as);
/** Where each of the label's n tokens comes from, in the axes' arena; *out is NULL where that is
 *  not known. False: out of memory. */
bool tb_token_origins(const tb_token_origin **out, const tb_axes *axes, int label, int64_t n);

#endif
