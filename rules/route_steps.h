/*
 * route_steps.h: what the steps of a route are: route.c plans them, the walk down (route_walk.c)
 * and the sums of rows, which go up (route_rows.c), take them.
 */
#ifndef TB_RULES_ROUTE_STEPS_H
#define TB_RULES_ROUTE_STEPS_H

#include "rules/route.h"

/** A question to some attentions for what they add, and the share of each operand in it. */
typedef struct tb_asked {
    uint64_t *members; /**< a set of places in route->members, the first of each `same` */
    float *share;      /**< [n_in]: 0, or `each` */
    float each;
    float rest; /**< of the weight: the operands on the stream are asked for what is missing */
} tb_asked;

/** What a step of several operands does with the weight that reaches it. */
typedef struct tb_split {
    const tb_value *base;   /**< what all operands come from: there what is asked of them ends */
    bool joins;             /**< Concat of features; of each token's weight an operand gets its own
                                 features' part, as much more as other operands get none */
    float *stream;          /**< [n_in]: the share of the weight that goes on down */
    unsigned char *goes_on; /**< [n_in]: is there one? */
    int n_asked;
    tb_asked *asked;
    unsigned char *attends; /**< [n_in]: attentions lie between it and base */
    unsigned char *passes;  /**< [n_in]: is a way through it one past them? */
    unsigned char
        *divides; /**< [n_in]: it is divided by the rows' sums here, as what is asked is */
    bool alone;   /**< all that is asked are parts of one softmax, for each token */
} tb_split;

/** Plans the splits of the steps of a route. */
tiba_status tb_route_plan_splits(tb_route *r, tiba_error *error);
bool tb_set_has(const uint64_t *set, int i);

/** The attention at a place in route->members. */
const tb_attention *tb_route_member(const tb_route *r, int i);
/** Does weight end at the node: is it a member's softmax, whose probabilities also weigh constants?
 */
bool tb_route_ends_at(const tb_route *r, const tb_node *node);
/** The place in route->members of the attention whose product is this node, -1 if none. */
int tb_route_member_of(const tb_route *r, const tb_node *node);
/** Does the label tell tokens apart? Others are features that an input has. */
bool tb_route_is_token(const tb_route *r, int label);
/** A merge with all weights alike: each of the k elements that a result is made of gets 1/k of its
 *  weight m. x: the operand that is merged; `part`: what it gets, in the kernel's scratch. */
tiba_status tb_route_merge_down(tiba_tensor *part, int x, const tb_node *node, const tiba_tensor *m,
                                const tb_program *program, tb_exec *exec, tiba_error *error);
/** to [elements of the result]: the mean of what these are made of, at [value id], of operand x. */
tiba_status tb_route_merge_up(float *to, int x, const tb_node *node, const float *const *at,
                              const tb_program *program, tb_exec *exec, tiba_error *error);

/** Marks in reached [value id] the operands that a step hands weight to. */
void tb_route_mark_step(const tb_route *r, const tb_node *node, unsigned char *reached);
/** The axis of a Concat, counted from the front. */
int tb_concat_axis(const tb_node *node);
/** Of a Concat's result [elements] the part of the operands in `set` [n_in], where each token has
 * as much as all operands had together; 0 elsewhere. False: the tokens' weight is not spread
 * evenly, so that a token of some weight has none in `set`. */
bool tb_route_own_part(float *part, const tb_node *node, const unsigned char *set, const float *m);

/** The sum of each row of what the branches of a step of several operands add to it: s [elements of
 *  its result], where `blocks` are as in tb_route_load. */
tiba_status tb_route_row_sums(float *s, const tb_route *r, const tb_program *program,
                              float *const *blocks, const tb_node *node, tb_budget *budget,
                              tb_exec *exec, tiba_error *error);

#endif
