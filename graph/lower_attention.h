/*
 * lower_attention.h: the one attention that all fused forms are lowered to: P = softmax(scale·QKᵀ +
 * masks), O = P·V. The forms differ in how they spell heads, masks and past states only.
 */
#ifndef TB_GRAPH_LOWER_ATTENTION_H
#define TB_GRAPH_LOWER_ATTENTION_H

#include "graph/lower.h"

typedef struct tb_attention {
    tb_value *q, *k, *v; /**< [batch, heads, tokens, size]; k and v may have fewer heads */
    double scale;        /**< 0: 1/sqrt(size of q) */
    double softcap;      /**< 0: none */
    tb_value *masks[4];  /**< added to the scores in this order; NULL: none */
    tb_value *allowed;   /**< bool, computed when the graph runs; scores become -inf where false */
    bool smooth;         /**< one more key with score 0 that has no value */
    tb_value *sink;      /**< the same with a score per head, [heads] */
    /** Results. */
    tb_value *raw, *capped, *masked, *p;
} tb_attention;

/** Emits it; the result is [batch, heads, tokens, size of v]. */
tb_value *tb_emit_attention(tb_call *c, tb_attention *a);
/** Which keys a query may see, as an additive mask; NULL if all. Query i of sample b stands at
 *  position offset[b] + i (offset NULL: 0) and sees key j with start[b] <= j < end[b] (NULL: all)
 *  and position - left <= j <= position + right (negative: no bound). `blocked` is what is added
 *  outside of start … end; outside of the window it is -inf. The mask is [batch or 1, 1, queries,
 *  keys]. */
typedef struct tb_window {
    int64_t batch, queries, keys, left, right;
    const int64_t *offset, *start, *end;
    float blocked;
} tb_window;
tb_value *tb_emit_window(tb_call *c, const tb_window *w);
/** A constant bool mask as an additive one: `blocked` where false. */
tb_value *tb_emit_blocked(tb_call *c, tb_value *allowed, float blocked);
/** `count` int64 in the arena from a constant integer value; NULL after a failure. */
const int64_t *tb_call_ints(tb_call *c, const tb_value *value, int64_t count, const char *what);

/** Rotary position embedding of x [batch, heads, tokens, size]. The caches are [batch, 1, tokens,
 *  dim/2] or broadcastable to it; the first `dim` features are rotated, in halves or (interleaved)
 *  in neighbouring pairs. */
tb_value *tb_emit_rotary(tb_call *c, tb_value *x, tb_value *cos, tb_value *sin, int64_t dim,
                         bool interleaved);
/** Rows of a rotary cache [positions, dim/2] for constant positions [batch or 1, tokens] as [batch
 *  or 1, 1, tokens, dim/2]. The cache is no embedding table whatever the positions are. */
tb_value *tb_emit_rotary_rows(tb_call *c, tb_value *cache, tb_value *positions);

/** past ‖ x along the tokens of [batch, heads, tokens, size]; x alone where the past is NULL or
 *  empty. */
tb_value *tb_emit_past(tb_call *c, tb_value *past, tb_value *x);
/** Positions first, first + 1, … as [batch, tokens], int64. */
tb_value *tb_emit_positions(tb_call *c, int64_t batch, const int64_t *first, int64_t tokens);
/** Puts mask_index or key_padding_mask in all its shapes, input `mask_input` of the call (-1:
 *  none), and causality behind `past` keys into masks[0] and masks[1]. */
void tb_call_mask(tb_call *c, tb_attention *a, int mask_input, bool causal, int64_t past);

/** Inputs of an attention with one projection for q, k and v, by index; -1 or 0: none. */
typedef struct tb_packed_inputs {
    int mask, past, bias; /**< of the scores */
    int length;           /**< how much of a shared past buffer is in use */
} tb_packed_inputs;
/** com.microsoft Attention and its like on projected q, k, v: `packed` is [batch, tokens, 3 ·
 *  hidden]. */
void tb_lower_packed_attention(tb_call *c, tb_value *packed, tb_packed_inputs inputs);

#endif
