/*
 * norms.h: divisions that only take lengths away: x / |x|, and the cosine x·y / (|x| |y|) in
 * whatever spelling.
 */
#ifndef TB_RULES_NORMS_H
#define TB_RULES_NORMS_H

#include "graph/op.h"

/** Is this Div's second operand the product of the norms of just those values whose product (summed
 *  up, moved, scaled) the first one is? */
bool tb_divides_by_norms(const tb_node *node);

#endif
