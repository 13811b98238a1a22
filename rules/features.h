/*
 * features.h: which axes of a value hold its features.
 */
#ifndef TB_RULES_FEATURES_H
#define TB_RULES_FEATURES_H

#include "graph/graph.h"

/** Bit i: axis i. The last axis, the channels of a convolution, the rows of W x, the axis that was
 *  normalised; and, where a product's output is read here alone, all axes of it that are those of
 *  its constant operand, wherever Reshape and Transpose have brought them: heads and their
 * features, experts. */
unsigned tb_feature_axes(const tb_value *x);

#endif
