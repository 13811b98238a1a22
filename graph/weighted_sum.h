/*
 * weighted_sum.h: a softmax that is multiplied by values and summed up is a product P V.
 *
 * Pooling by attention is as often written Σ_t w_t · v_t (Mul, ReduceSum) as it is written with
 * MatMul. It is the same attention, and gets the same relevance.
 */
#ifndef TB_GRAPH_WEIGHTED_SUM_H
#define TB_GRAPH_WEIGHTED_SUM_H

#include "graph/build.h"

/** Rewrites every such ReduceSum of a bound graph whose Softmaxes have been raised: over the tokens
 * of w · v, where w has no features (one axis of 1, wherever v has them). Dead nodes are left to
 * tb_graph_sweep. */
tiba_status tb_raise_weighted_sums(tb_graph *graph, tb_exec *exec, tiba_error *error);

#endif
