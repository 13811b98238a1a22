/*
 * rollout.h: from attention gradients and relevances to token relevance.
 *
 *     E_b = mean over heads of max(0, ∇P_b ⊙ R_P_b),  A_b = I + E_b
 *     C = A_last · … · A_start,  token relevance = wᵀ·C
 *
 * Source: Chefer, Gur, Wolf, CVPR 2021, equations 13 and 14. Only vector–matrix products are
 * needed.
 */
#ifndef TB_RULES_ROLLOUT_H
#define TB_RULES_ROLLOUT_H

#include <stdbool.h>
#include <stdint.h>

/** E [queries, keys] from one sample's ∇P and R_P [heads, queries, keys] (transposed: both are
 *  [heads, keys, queries]). Either may be NULL: zero. `keep_sign`: without the max(0, …), which is
 *  not the paper's method (docs/method.md, "Signed maps"). */
void tb_block_relevance(float *e, const float *gradient, const float *relevance, int64_t heads,
                        int64_t queries, int64_t keys, bool transposed, bool keep_sign);

/** The same for every group of heads: e is [groups, queries, keys], row h of the arrays belongs to
 *  group group_of[h], and each group has `heads` of the rows. */
void tb_block_relevance_grouped(float *e, const float *gradient, const float *relevance,
                                int64_t groups, int64_t heads, const int *group_of, int64_t queries,
                                int64_t keys, bool transposed, bool keep_sign);

/** E of every group as above, from arrays `a` and `b` of each head: mean over heads of
 *  max(0, a ⊙ b). `a` NULL: zero; `b` NULL: ones. */
void tb_block_combine(float *e, const float *a, const float *b, int64_t groups, int64_t heads,
                      const int *group_of, int64_t queries, int64_t keys, bool transposed,
                      bool keep_sign);

/** How many of n values are NaN or infinite. */
int64_t tb_not_finite(const float *x, int64_t n);

/** r ← Eᵀ r, r: [tokens]; `scratch` has room for [tokens]. */
void tb_block_read(double *r, double *scratch, const float *e, int64_t tokens);

/** r ← Aᵀ r with A = I + E, its rows divided by their sums (of magnitudes, where E has signs) if
 *  `normalized`. r: [tokens]; `scratch` has room for [tokens]. */
void tb_rollout_step(double *r, double *scratch, const float *e, int64_t tokens, bool normalized);

#endif
