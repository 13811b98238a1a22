/*
 * in_token.h: attentions within a token. Each token has probabilities of its own over what is made
 * of it alone: what several layers said of it, the streams of hyper-connections, softmaxes that are
 * mixed. No token reads another there, so relevance goes through by the rules and the attention is
 * part of no tower.
 */
#ifndef TB_RULES_IN_TOKEN_H
#define TB_RULES_IN_TOKEN_H

#include "rules/explain_plan.h"

/** Does the attention read nothing but the token that its queries belong to? */
bool tb_is_in_token(const tb_explainer *explainer, const tb_attention *a);

#endif
