/*
 * remake.h: values that the reverse pass makes again instead of keeping them from the forward pass.
 *
 * A value is made again where that costs little beside the memory: moved copies, sums,
 * element-wise functions, normalisations, products with short sums (Q·Kᵀ), by the forward kernels
 * and so to the same bytes. It is made when the first step needs it and lives until the last one,
 * for all targets of the pass.
 */
#ifndef TB_RULES_REMAKE_H
#define TB_RULES_REMAKE_H

#include "runtime/program.h"

/** Which values, once for a graph. */
typedef struct tb_remake {
    const tb_graph *graph;
    int *root;           /**< by value id: whose elements it is (tb_alias_roots) */
    unsigned char *node; /**< by node id: what it makes is not kept but made again */
} tb_remake;

/** reads[id] != 0: a reverse pass reads the value; kept[id] != 0: it is kept whatever it costs. On
 *  return kept[id] is set for everything that the forward pass has to keep. */
tiba_status tb_remake_find(tb_remake **out, const tb_graph *graph, const unsigned char *reads,
                           unsigned char *kept, tb_arena *arena, tiba_error *error);

/** One pass's schedule and memory. */
typedef struct tb_remaking tb_remaking;

/** For a pass of n steps; needs[s] says what step s reads of its node's operands (TB_NEEDS_…). */
tiba_status tb_remaking_create(tb_remaking **out, const tb_remake *remake, int n_steps,
                               const tb_node *const *steps, const unsigned *needs,
                               tb_budget *budget, tiba_error *error);
void tb_remaking_destroy(tb_remaking *remaking);

/** Makes what step s is the first to need. */
tiba_status tb_remaking_step(tb_remaking *remaking, const tb_program *program, int s, tb_exec *exec,
                             tiba_error *error);

/** The value as the pass sees it: made again, or the program's. `remaking` may be NULL. */
const tiba_tensor *tb_remaking_value(const tb_remaking *remaking, const tb_program *program,
                                     const tb_value *value);

#endif
