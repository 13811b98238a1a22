/*
 * choice.h: the scores behind outputs that are choices among them.
 *
 * A file may end in ArgMax, TopK, a comparison or a map of labels and have no output of floats that
 * could be explained. The value that the last such operator reads then is an output as well.
 */
#ifndef TB_GRAPH_CHOICE_H
#define TB_GRAPH_CHOICE_H

#include "graph/graph.h"

/** Adds to the source's outputs what choices read, if all of its outputs are choices, and notes of
 *  which; else does nothing. */
tiba_status tb_add_choices(tb_source *source, tiba_error *error);
/** Of which output (a file's, or one left out) the value `outputs[index]` is what *op reads; NULL
 *  for an output of the file. */
const char *tb_choice_of(const tb_source *source, int index, const char **op);
/** The index of the scores behind output `name` (NULL: the first choice), -1: it is no choice. */
int tb_choice_behind(const tb_source *source, const char *name);
/** The name that the graph itself gives class `index` (classlabels_strings of the last operator of
 *  ai.onnx.ml that has them); NULL if none does, or past the last one. */
const char *tb_class_name(const tb_source *source, int64_t index);

#endif
