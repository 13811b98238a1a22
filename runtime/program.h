/*
 * program.h: the forward pass of a bound graph with planned memory.
 *
 * Which values are kept after the pass (because a gradient or relevance step reads them again) is
 * said when the program is made; everything else shares memory.
 */
#ifndef TB_RUNTIME_PROGRAM_H
#define TB_RUNTIME_PROGRAM_H

#include "graph/op.h"
#include "runtime/plan.h"

typedef struct tb_program {
    const tb_graph *graph;
    tb_arena *arena;
    tb_budget *budget;
    tiba_tensor **values;   /**< by value id: type, shape and memory; NULL where the graph has none.
                                 Memory of values that are not kept is valid during the run only */
    unsigned char *follows; /**< by value id: it is a graph input's memory under another shape */
    tb_block block;
    size_t block_bytes;
    void *spare; /**< memory that the pass has done with when it ends; NULL: none */
    size_t spare_bytes;
} tb_program;

/** root[id]: the value whose elements value `id` is in the same order (Reshape and its like), and
 *  whose memory it therefore shares; itself where there is none. */
void tb_alias_roots(int *root, const tb_graph *graph);

/** May `node`, which runs at `step`, write its result over what it is made of, because nothing
 * reads that later? life[i] is the lifetime of the memory that root i is in, home[root] = i; those
 * that `fixed` marks are no memory of the pass (NULL: none). Then moves it in: home[out] is the
 *  operand's, which lives on. */
void tb_write_over(const tb_node *node, int step, const int *root, int *home, tb_interval *life,
                   const unsigned char *fixed);

/** Plans the pass. keep[id] != 0 keeps a value to the end; graph outputs are always kept. `spare`:
 *  so many bytes are to be free for other use between two passes. Free with tb_program_destroy. */
tiba_status tb_program_create(tb_program **out, const tb_graph *graph, const unsigned char *keep,
                              size_t spare, tb_budget *budget, tiba_error *error);
void tb_program_destroy(tb_program *program);

/** Runs it. inputs[i] is the data of graph->inputs[i] (float32; ignored for inputs that binding
 * made constants), borrowed until the next run. */
tiba_status tb_program_run(tb_program *program, const void *const *inputs, tb_exec *exec,
                           tiba_error *error);

#endif
