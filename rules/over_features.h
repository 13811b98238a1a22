/*
 * over_features.h: attentions over features. Their softmax weighs features by products over all
 * tokens (cross-covariance attention, channel attention), so tokens act on each other, but no row
 * of P is a token's: they are no part of any tower. Where one lies on a residual branch, the row
 * vector passes down the skip connection, as at every branch without attention over tokens.
 */
#ifndef TB_RULES_OVER_FEATURES_H
#define TB_RULES_OVER_FEATURES_H

#include "rules/explain_plan.h"

/** Has V tokens of an input in the place of features? */
tiba_status tb_is_over_features(bool *out, const tb_explainer *explainer, const tb_attention *a,
                                tiba_error *error);
/** Fails, naming the node, if one of the n attentions over features (indices) lies on no skip
 *  connection on the way from a planned tower's input to its readout or to what one of its
 *  attentions reads, or has a part in no tower's way to the target. Notes them at the towers. */
tiba_status tb_note_over_features(tb_explainer *explainer, int n, const int *attentions,
                                  tiba_error *error);

#endif
