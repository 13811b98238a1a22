/*
 * factors.h: look-ups that are factors, not embeddings.
 *
 * Binding takes a Gather from a constant table by an input's ids for an embedding look-up. A table
 * of rotary cosines and sines that is read by explicit position ids looks the same, but what comes
 * out multiplies activations and is never added to them: it is a constant factor, as it is where
 * the exporter computed it from the shape. Without this the same weights would get another
 * explanation when position ids are an input.
 */
#ifndef TB_GRAPH_FACTORS_H
#define TB_GRAPH_FACTORS_H

#include "graph/op.h"

/** Makes such look-ups, and what is computed from them alone, inactive. */
void tb_mark_factors(tb_graph *graph);

#endif
