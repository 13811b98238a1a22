/*
 * reading.h: how a target reads the tokens of a tower, in words: pooling as a user knows it. For
 * inspection only; explanations read R (SPEC: readout) and never this.
 */
#ifndef TB_RULES_READING_H
#define TB_RULES_READING_H

#include "rules/explain.h"

typedef enum tb_pooling {
    TB_POOLING_EACH,      /**< the output has a token axis itself */
    TB_POOLING_TOKEN,     /**< one token */
    TB_POOLING_MEAN,      /**< a mean over tokens, weighted ones included */
    TB_POOLING_SUM,       /**< a sum over tokens */
    TB_POOLING_MAX,       /**< the largest of each feature */
    TB_POOLING_ATTENTION, /**< an attention with other queries */
    TB_POOLING_LAYERS,    /**< all tokens go through further layers */
    TB_POOLING_SEVERAL    /**< more than one of these */
} tb_pooling;

typedef struct tb_reading {
    tb_pooling pooling;
    const char *text; /**< "the first token", "a mean over 16 of 17 tokens", …; of the arena */
} tb_reading;

/** What follows on the tower's readout on the way to the target. */
tiba_status tb_reading_find(tb_reading *out, const tb_explainer *explainer, int tower,
                            tb_arena *arena, tiba_error *error);

/** As it was found when the explainer was made: later its graph computes read tokens only. */
const tb_reading *tb_reading_of(const tb_explainer *explainer, int tower);

/** The word for programs: "token", "mean", … */
const char *tb_pooling_name(tb_pooling pooling);

#endif
