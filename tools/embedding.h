/*
 * embedding.h: vectors that stand for a picture or a text, and their cosine as the end of a graph:
 * where explanations of a score that no graph computes start from.
 */
#ifndef TB_TOOLS_EMBEDDING_H
#define TB_TOOLS_EMBEDDING_H

#include "tiba.h"

/** The output of one vector [samples, features] for a sample by the names that exporters use:
 *  image_embeds, text_embeds, sentence_embedding. NULL: there is none. */
const char *tb_embedding_output(const tiba_model *model);
double tb_cosine(const float *a, const float *b, int64_t n);
/** Seeds of the scaled cosine of two vectors at `a`: [n] with elements from `first` on. Appended to
 *  seeds[*count]. */
void tb_cosine_seeds(tiba_seed *seeds, int *count, const float *a, const float *b, int64_t n,
                     int64_t first, double scale);

#endif
