/*
 * norms.h: divisions that only take lengths away: x / |x|, the cosine x·y / (|x| |y|), x m /
 * rms(x), in whatever spelling.
 */
#ifndef TB_RULES_NORMS_H
#define TB_RULES_NORMS_H

#include "graph/op.h"

/** Is this Div's second operand a product of norms, each of another factor of the first one (a
 *  product that may be summed up, moved, scaled)? */
bool tb_divides_by_norms(const tb_node *node);

#endif
