/*
 * quant_softmax.h: a Softmax between quantised values, as the runtime that people measure against
 * computes it.
 *
 * onnxruntime runs DequantizeLinear, Softmax, QuantizeLinear of 8-bit values as one integer
 * operator. It divides the sum of a table of exponentials and scales by the *whole* number
 * ⌊1 / y_scale⌋: with the usual y_scale of 1/255, stored as 0.003921569, that is 254. Its integers
 * are thus those of quantising softmax(x) · ⌊1/y_scale⌋ · y_scale, which this pass writes into the
 * graph.
 */
#ifndef TB_GRAPH_QUANT_SOFTMAX_H
#define TB_GRAPH_QUANT_SOFTMAX_H

#include "graph/build.h"

/** Rewrites such softmaxes of a bound graph. */
tiba_status tb_quant_softmax(tb_graph *graph, tb_exec *exec, tiba_error *error);

#endif
