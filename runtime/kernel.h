/*
 * kernel.h: small things that kernels of several families share: inputs seen as float32, broadcast
 * operands, parallel loops over ranges, sums in double.
 */
#ifndef TB_RUNTIME_KERNEL_H
#define TB_RUNTIME_KERNEL_H

#include "graph/op.h"

/** The elements of `t` as float32: its own data, or a converted copy in scratch memory. NULL if out
 *  of memory. */
const float *tb_floats(tb_exec *exec, const tiba_tensor *t);

/** Does `t` (dims aligned at the right) broadcast to `dims` without changing them? */
bool tb_broadcasts_to(const tiba_tensor *t, int rank, const int64_t *dims);
/** Copies the float32 elements of `t`, broadcast to `dims`, into out[Π dims]. */
void tb_expand_floats(float *out, int rank, const int64_t *dims, const tiba_tensor *t);
/** The transpose of that: t[i] = Σ of the in[] that i was copied to, summed in double. False if out
 *  of memory. */
bool tb_reduce_floats(tb_exec *exec, tiba_tensor *t, int rank, const int64_t *dims,
                      const float *in);

/** Σ x[i] and Σ x[i]·y[i] in double, in a fixed order. */
double tb_sum(const float *x, int64_t n);
double tb_dot(const float *x, const float *y, int64_t n);

/** Calls body(context, first, last, worker) for ranges that cover 0 … count-1, in parallel; `grain`
 *  is the number of elements that make a range worth a thread. */
void tb_parallel_ranges(tb_exec *exec, int64_t count, int64_t grain,
                        void (*body)(void *context, int64_t first, int64_t last, int worker),
                        void *context);

/** Product of dims[first … last-1] of a sound shape. */
static inline int64_t tb_product(const int64_t *dims, int first, int last) {
    int64_t product = 1;
    for (int i = first; i < last; i++) product *= dims[i];
    return product;
}

/** An axis attribute made non-negative; fails naming the node where it is out of range. */
tiba_status tb_node_axis(int *out, const tb_node *node, int64_t axis, int rank, tiba_error *error);
/** Fails unless input `index` is a float32 tensor. */
tiba_status tb_need_float(const tb_node *node, int index, tiba_error *error);
/** Fails unless input `index` is given and has rank at least min_rank. */
tiba_status tb_need_rank(const tb_node *node, int index, int min_rank, tiba_error *error);

#endif
