/*
 * send.h: numbers in place of a value's elements, sent through moves to find out where these end.
 */
#ifndef TB_GRAPH_SEND_H
#define TB_GRAPH_SEND_H

#include "graph/op.h"

/** A tensor of zeroes in the arena, of the shape of `like`; NULL: out of memory. */
tiba_tensor *tb_send_new(tb_arena *arena, const tiba_tensor *like);
/** Output `to` of a move, with `ids` (floats) in place of its input `at`; its other activations
 *  count as 0. NULL: `node` is none, it depends on more than constants, or memory is short. */
tiba_tensor *tb_send(tb_exec *exec, tb_arena *arena, const tb_node *node, int at, int to,
                     const tiba_tensor *ids);
/** The number of element i, 0 where something was padded. */
int64_t tb_send_id(const tiba_tensor *ids, int64_t i);
/** Are numbers up to n exact in floats? */
bool tb_send_countable(int64_t n);
/** Which of the node's inputs is active, -1: none or several. */
int tb_only_active(const tb_node *node);

#endif
