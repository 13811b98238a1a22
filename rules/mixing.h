/*
 * mixing.h: where tokens of a tower act on each other without an attention: convolutions along
 * them, running sums, recurrences, products that sum over them (linear attention, weights for each
 * place). No row of an E_b says so: the row vector passes down the skip connection around them.
 */
#ifndef TB_RULES_MIXING_H
#define TB_RULES_MIXING_H

#include "rules/explain_plan.h"

/** Notes at each planned tower the nodes between its first tokens and its readout, or what its
 *  attentions read, that mix tokens where no weight of the row vector goes through. What merges
 *  tokens on its way is no such node (docs/method.md), and no normalisation is. */
tiba_status tb_note_mixing(tb_explainer *explainer, tiba_error *error);

#endif
