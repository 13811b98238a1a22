/*
 * route_steps.h: what the steps of a route are: route.c plans them, the walk down (route_walk.c)
 * and the sums of rows, which go up (route_rows.c), take them.
 */
#ifndef TB_RULES_ROUTE_STEPS_H
#define TB_RULES_ROUTE_STEPS_H

#include "rules/route.h"

/** What an Add does with the weight that reaches it. AROUND: the named operand gets it, the other
 *  one is asked for what its attentions add only. SHARED: each gets half of it and is asked for all
 *  that its attentions add. BOTH: two attentions that nothing passes by. */
enum { ADD_LEFT, ADD_RIGHT, ADD_AROUND_LEFT, ADD_AROUND_RIGHT, ADD_SHARED, ADD_BOTH };

/** The shares of the left and the right operand at each. */
typedef struct tb_add_shares {
    float stream[2], asked[2];
} tb_add_shares;
extern const tb_add_shares tb_add_gets[];

/** The attention at a place in route->members. */
const tb_attention *tb_route_member(const tb_route *r, int i);
/** Does weight end at the node: is it a member's softmax, whose probabilities also weigh constants?
 */
bool tb_route_ends_at(const tb_route *r, const tb_node *node);
/** The place in route->members of the attention whose product is this node, -1 if none. */
int tb_route_member_of(const tb_route *r, const tb_node *node);
/** Is it a sum of two activations? */
bool tb_route_is_sum(const tb_node *node);
/** What merges as a node does with all elements alike: a maximum is a mean then, weights are 1. */
typedef struct tb_even {
    const tb_op_def *def;
    int x;                    /**< the operand that is merged */
    const tiba_tensor *in[8]; /**< in[x] is &ones */
    tiba_tensor ones, weight; /**< of that operand's shape, all 1; likewise of the weight's */
} tb_even;
/** Fills `even`, which stays where it is; its memory is the kernel's scratch. */
tiba_status tb_route_even(tb_even *even, const tb_node *node, const tb_program *program,
                          tb_exec *exec, tiba_error *error);

/** Marks in reached [value id] the operands that a step hands weight to. */
void tb_route_mark_step(const tb_route *r, const tb_node *node, unsigned char *reached);
/** Does operand `i` hold tokens of the result, and `among` how many operands? `asked`: of what a
 * branch was asked for; where only some operands come from attentions, the others are gates and
 * hold nothing of it. */
bool tb_route_carries(const tb_route *r, const tb_node *node, int i, bool asked, int *among);
/** Where features are put side by side and only some come from attentions: how many times their own
 * part these get of what a branch was asked for. 0: all operands are alike. */
float tb_route_asked_share(const tb_route *r, const tb_node *node);

/** The sum of each row of what the branches of a residual sum add to it: s [elements of the sum],
 *  where `blocks` are as in tb_route_load. */
tiba_status tb_route_row_sums(float *s, const tb_route *r, const tb_program *program,
                              float *const *blocks, const tb_node *sum, tb_budget *budget,
                              tb_exec *exec, tiba_error *error);

#endif
