/*
 * pooling.h: how a sentence-embedding folder turns the tokens' embeddings into one: the Pooling
 * module of modules.json, by its config.json. It is treated as the relevance rules treat the same
 * steps inside a graph: gradients by weight, relevance by the rule of means (weighted sums) or to
 * the winner (maxima).
 */
#ifndef TB_TOOLS_POOLING_H
#define TB_TOOLS_POOLING_H

#include "base/memory.h"

typedef enum tb_pool_mode {
    TB_POOL_CLS,
    TB_POOL_MAX,
    TB_POOL_MEAN,
    TB_POOL_MEAN_SQRT,
    TB_POOL_WEIGHTED_MEAN, /**< later tokens count more: weights 1 … n */
    TB_POOL_LAST,
    TB_POOL_MODES
} tb_pool_mode;

/** Several modes give an embedding each, one behind the other. */
typedef struct tb_pooling {
    int n;
    tb_pool_mode modes[TB_POOL_MODES];
    bool guessed; /**< the folder says nothing: the mean */
} tb_pooling;

/** Of a model's folder. A module that changes the embedding and is not part of the graph (Dense) is
 * an error that names it. */
tiba_status tb_pooling_read(tb_pooling *out, tb_arena *arena, const char *folder,
                            tiba_error *error);

/** x [tokens, size], of which the first `count` are a text's: out [n modes, size]. */
void tb_pool(float *out, const tb_pooling *how, const float *x, int64_t count, int64_t size);
/** Adds to `gradient` and `relevance` [tokens, size] what those of the pooled vector [n modes,
 * size] hand down. */
void tb_pool_back(double *gradient, double *relevance, const double *pooled_gradient,
                  const double *pooled_relevance, const tb_pooling *how, const float *x,
                  int64_t count, int64_t size);

#endif
