/*
 * elementwise.h: what the rules do to whole arrays, in parallel: guarded ratios, products, sums.
 * Arrays are cut into pieces by their size alone and sums of pieces are added in their order, so
 * results are the same bytes at any number of threads.
 */
#ifndef TB_RULES_ELEMENTWISE_H
#define TB_RULES_ELEMENTWISE_H

#include "graph/op.h"

/** out[i] = r[i] ⊘ z[i], 0 where z[i] is infinite (tb_guarded in rule.h). */
void tb_ratios(tb_exec *exec, float *out, const float *r, const float *z, int64_t n);
/** s[i] = factor · x[i] · s[i], 0 where x[i] is infinite. */
void tb_times(tb_exec *exec, float *s, const float *x, float factor, int64_t n);
/** a[i] += b[i]. */
void tb_add_to(tb_exec *exec, float *a, const float *b, int64_t n);
/** a[i] = factor · b[i]; a and b may be the same. */
void tb_scaled(tb_exec *exec, float *a, const float *b, float factor, int64_t n);

/** Both shares of a sum z = sign[0] x[0] + sign[1] x[1] of equal shapes: share[i] = sign[i] x[i] ⊙
 *  (r ⊘ z), and sums[i] its total in float64; sums[2] is Σ r. share[i] may be NULL, and one may be
 *  r; z may be NULL, then it is added up again. False if there is no memory. */
bool tb_share_two(tb_exec *exec, float *const share[2], double sums[3], const float *const x[2],
                  const float sign[2], const float *r, const float *z, int64_t n);

#endif
