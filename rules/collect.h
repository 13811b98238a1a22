/*
 * collect.h: what one explanation keeps of its reverse passes, and the result that it makes of it.
 */
#ifndef TB_RULES_COLLECT_H
#define TB_RULES_COLLECT_H

#include "rules/explain_plan.h"
#include "rules/methods.h"

typedef struct tb_collect {
    const tb_explainer *x;
    const tb_explain_options *options;
    const tb_program *program;
    tb_tower_explanation *towers;
    tb_arena *arena;
    tb_budget *budget;
    tb_exec *exec;
    float ***blocks; /**< [tower][block]: E_b, of the target's sample, or of all groups if routed */
    double **read;   /**< [tower][token of the readout]: Σ_d R */
    double **reached; /**< likewise: Σ_d |gradient| */
    double **touched; /**< [tower][sample]: Σ |gradient| at the readout */
    float **pixels;   /**< [tower]: what has arrived at the source, of the target's sample */
    const tb_method *method;
} tb_collect;

/** How many tokens the readout has. */
int64_t tb_collect_tokens(const tb_plan_tower *tower);
/** How many samples the readout value of tower t holds. */
int64_t tb_collect_samples(const tb_collect *c, int t);
/** The sample that the caller wants this tower to show; -1: whichever is reached. */
int64_t tb_collect_asked(const tb_collect *c, int t);
/** The sample whose readout the gradient reaches most. */
int64_t tb_collect_sample(const tb_collect *c, int t);
/** The first block that the method reads: its attentions are the last one or all of a tower. */
int tb_collect_first(const tb_collect *c, const tb_plan_tower *tower);
/** Makes block b of tower t, which is a's; gradient and relevance (NULL: none) are P's. */
tiba_status tb_collect_block(tb_collect *c, int t, int b, const tb_attention *a,
                             const float *gradient, const float *relevance, tiba_error *error);

/** Take what has arrived at a value (see tb_reverse_run); `context` is the tb_collect: at readouts,
 *  at blocks and sources, or at all of these. */
tiba_status tb_collect_at_readout(void *context, const tb_value *value, const float *gradient,
                                  const float *relevance, tiba_error *error);
tiba_status tb_collect_beyond(void *context, const tb_value *value, const float *gradient,
                              const float *relevance, tiba_error *error);
tiba_status tb_collect_arrived(void *context, const tb_value *value, const float *gradient,
                               const float *relevance, tiba_error *error);

/** Fills in the readout w of tower t, when all has arrived at it. */
tiba_status tb_collect_read_out(tb_collect *c, int t, tiba_error *error);
/** Fills in the rest of its explanation, when all has arrived everywhere. Fails where a number is
 *  not finite or no row vector says what the tokens do. */
tiba_status tb_collect_roll_out(tb_collect *c, int t, tiba_error *error);

#endif
