/*
 * profile.h: where the time of a forward or reverse pass goes, by operator. Off (exec->profile is
 * NULL) it costs a comparison per node.
 *
 *     tb_stopwatch watch = tb_profile_start(exec);
 *     … the node's kernel …
 *     if (exec->profile) tb_profile_stop(exec, &watch, TB_PHASE_FORWARD, node, read, written);
 *
 * Work is counted where it is done: every door to matrix products (gemm.h) says how many
 * multiply-adds it makes, so rows that were left out are not counted.
 */
#ifndef TB_RUNTIME_PROFILE_H
#define TB_RUNTIME_PROFILE_H

#include <stdatomic.h>

#include "base/clock.h"
#include "graph/op.h"

typedef enum tb_phase { TB_PHASE_FORWARD, TB_PHASE_BACKWARD, TB_PHASES } tb_phase;

typedef struct tb_profile_row {
    int64_t calls;
    double seconds;
    double multiply_adds; /**< of matrix products */
    double bytes;         /**< of the operands that a call reads and writes, once each */
} tb_profile_row;

typedef struct tb_profile {
    tb_profile_row rows[TB_PHASES][TB_OP_COUNT];
    _Atomic uint64_t multiply_adds; /**< of everything so far */
} tb_profile;

/** Called by whoever is about to make `count` products of [m, k] and [k, n]. */
static inline void tb_profile_products(const tb_exec *exec, int64_t count, int64_t m, int64_t n,
                                       int64_t k) {
    if (exec->profile)
        atomic_fetch_add_explicit(&exec->profile->multiply_adds, (uint64_t)(count * m * n * k),
                                  memory_order_relaxed);
}

typedef struct tb_stopwatch {
    double start;
    uint64_t multiply_adds;
} tb_stopwatch;

static inline tb_stopwatch tb_profile_start(const tb_exec *exec) {
    if (!exec->profile) return (tb_stopwatch){0};
    return (tb_stopwatch){tb_seconds(), atomic_load(&exec->profile->multiply_adds)};
}

/** Adds the node's step, which read and wrote that many bytes. Only with a profile. */
void tb_profile_stop(const tb_exec *exec, const tb_stopwatch *watch, tb_phase phase,
                     const tb_node *node, double read, double written);

/** Bytes of those of n tensors that are there and whose bit is set (the last of 16 stands for all
 *  further ones). */
double tb_profile_bytes(int n, const tiba_tensor *const *tensors, unsigned bits);

#endif
