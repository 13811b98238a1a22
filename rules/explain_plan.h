/*
 * explain_plan.h: what explain.c plans for a bound graph and explain_run.c runs for a target.
 */
#ifndef TB_RULES_EXPLAIN_PLAN_H
#define TB_RULES_EXPLAIN_PLAN_H

#include "rules/explain.h"
#include "rules/route.h"

/** The attentions of one graph input, as far as the target depends on them. */
typedef struct tb_plan_tower {
    tb_tower tower;
    const tb_value *readout;
    int64_t inner;   /**< plain: stride of the token axis in the readout value */
    tb_route *route; /**< NULL: plain */
    /** Where methods that go to the input end: the picture, or the value where the tokens begin;
     *  NULL: there is none. */
    const tb_value *source;
    bool pixels;          /**< it is the picture */
    int64_t source_inner; /**< plain tokens: stride of the token axis in it */
} tb_plan_tower;

struct tb_explainer {
    const tb_graph *graph;
    const tb_analysis *analysis;
    tb_arena *arena;
    tb_budget *budget;
    const tb_value *target;
    int n_towers;
    tb_plan_tower *towers;
    tb_reverse *reverse;  /**< TiBA's: to the readouts and all attentions */
    tb_remake *remake;    /**< what passes make again instead of reading it from the program */
    unsigned char *reads; /**< by value id: what any pass reads */
    unsigned char *keep;  /**< by value id: what the forward pass keeps */
};

#endif
