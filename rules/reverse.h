/*
 * reverse.h: one pass from the target back to the watched values that carries the gradient and the
 * relevance side by side, of one target or of several that take each step together.
 *
 * Work is only done where it can matter: a step is taken if it lies between the target and a
 * watched value. Memory is planned like the forward pass's.
 */
#ifndef TB_RULES_REVERSE_H
#define TB_RULES_REVERSE_H

#include "graph/region.h"
#include "rules/remake.h"
#include "rules/rule.h"
#include "runtime/program.h"

/** What a pass carries. TB_REVERSE_DRY: it is planned for tb_reverse_reads only and never run, so
 * it takes no memory for arrays. */
enum { TB_REVERSE_GRADIENT = 1, TB_REVERSE_RELEVANCE = 2, TB_REVERSE_DRY = 4 };

typedef struct tb_reverse tb_reverse;

/** Receives what has arrived at a watched value, in its shape; NULL where zero. Valid during the
 * call only: afterwards the memory is used again. */
typedef tiba_status tb_reverse_watch_fn(void *context, const tb_value *value, const float *gradient,
                                        const float *relevance, tiba_error *error);

/** Plans a pass from `target` (an active value of the graph) to the values in `watch`. `what` says
 *  what to carry. `regions` may be NULL, `remake` too: then the program keeps all that the pass
 * reads. Free with tb_reverse_destroy. */
tiba_status tb_reverse_create(tb_reverse **out, const tb_graph *graph, const tb_regions *regions,
                              const tb_value *target, int n_watch, const tb_value *const *watch,
                              int what, tb_ruleset ruleset, const tb_remake *remake,
                              tb_budget *budget, tiba_error *error);
void tb_reverse_destroy(tb_reverse *reverse);

/** Sets reads[id] for every value of the forward pass that this pass reads. */
void tb_reverse_reads(const tb_reverse *reverse, unsigned char *reads);

/** What the arrays of one target take. The first target's are put into the program's spare memory
 *  where that is as large. */
size_t tb_reverse_bytes(const tb_reverse *reverse);

/** What one element of the target starts with. */
typedef struct tb_seed {
    int64_t element; /**< flat index */
    float gradient, relevance;
} tb_seed;

/** One target of a run: gradient and relevance start from the seeds (added up where several name
 *  one element) and are 0 elsewhere; the usual one is {element, 1, 1}. */
typedef struct tb_reverse_start {
    int n_seeds;
    const tb_seed *seeds;
    void *context; /**< for `arrived` */
} tb_reverse_start;

enum { TB_REVERSE_MOST = 4 /**< targets that go together */ };

/** Runs it for n targets; each receives exactly what it would alone. Up to TB_REVERSE_MOST go
 *  together, where there is memory, and share what does not depend on the target. The program has
 *  run, with what tb_reverse_reads asked for. `arrived` is called once for each target and watched
 *  value, in the order of the pass. */
tiba_status tb_reverse_run(tb_reverse *reverse, const tb_program *program, int n,
                           const tb_reverse_start *starts, tb_reverse_watch_fn *arrived,
                           tb_exec *exec, tiba_error *error);

#endif
