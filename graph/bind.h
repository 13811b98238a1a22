/*
 * bind.h: from a source graph and actual inputs to a static graph of float operators.
 *
 * Binding goes through the source graph in execution order and builds the bound graph node by node
 * (graph/build.h): shapes become numbers, every value that needs no float input and no embedding
 * look-up is computed with the operator's own kernel and becomes a constant, `If` takes its branch,
 * `Loop` and `Scan` are unrolled, sequences are followed (bind_control.c), fused operators are
 * lowered to primitives (lower.def), older operator forms are brought to the newest one (opset.c).
 * Nodes that no output needs are left out; Identity, Dropout, casts between float types and Concat
 * with empty parts leave no node. Integer and bool inputs become constants, and so do float inputs
 * that only casts to an integer read (ids); uint8 inputs of three or more dimensions are pictures
 * and become float inputs.
 */
#ifndef TB_GRAPH_BIND_H
#define TB_GRAPH_BIND_H

#include "graph/op.h"

/** A named input. Of float inputs the shape is needed; their data is read where a size or a branch
 *  depends on it (graph/settle.h), which is refused without, and when the graph runs. */
typedef struct tb_feed {
    const char *name;
    tiba_tensor tensor;
} tb_feed;

/** A node of the file that was written as others. */
typedef struct tb_written {
    const tb_node *node;
    bool lowered; /**< a row of lower.def; else an older form brought to the newest (opset.c) */
} tb_written;

/** What became of an output of the file. */
typedef struct tb_bound_output {
    int index;             /**< among the bound graph's outputs; -1: something is in its way */
    const tiba_error *why; /**< then: what */
} tb_bound_output;

typedef struct tb_bound {
    tb_arena *arena; /**< owns the graph */
    tb_graph *graph; /**< inputs and outputs in the source's order; integer inputs are constants */
    tb_bound_output *outputs;  /**< [the source's n_outputs] */
    const tb_written *written; /**< [n_written] in execution order, unrolled ones once each */
    int n_written;
    bool settled; /**< sizes or branches follow from the values of float inputs */
} tb_bound;

/** Binds `source` to the feeds, one for each graph input, in any order. A feed's type may be
 * another float type than declared, or another integer type if every value fits; shapes must fit
 * the declared ones, and symbolic dimensions of one name must agree. Constants that come from the
 * file are borrowed from `source`, which must outlive the result; integer feeds are copied. Outputs
 * that need a node which is refused are left out; it fails where that leaves none. Errors name the
 * input or node. Free with tb_bound_destroy. */
tiba_status tb_bind(tb_bound **out, const tb_source *source, int n_feeds, const tb_feed *feeds,
                    tb_exec *exec, tiba_error *error);
void tb_bound_destroy(tb_bound *bound);
/** Can the bound graph serve these feeds: same shapes and types, same integer data? One that is
 *  settled serves no other feeds than those it was made with. */
bool tb_bound_fits(const tb_bound *bound, int n_feeds, const tb_feed *feeds);

/** A node that binding refuses, and why in one line that names it. */
typedef struct tb_obstacle {
    const tb_node *node;
    const tiba_error *why;
} tb_obstacle;

/** All nodes, in execution order, that tb_bind would refuse for these feeds; it stops at the first.
 *  Nodes that depend on a refused one are not looked at. Fails only if the feeds do not fit or
 *  memory is short. The result belongs to `arena`. */
tiba_status tb_bind_obstacles(const tb_obstacle **out, int *count, tb_arena *arena,
                              const tb_source *source, int n_feeds, const tb_feed *feeds,
                              tb_exec *exec, tiba_error *error);

/** The name of a node, or where it has none of its first output. */
const char *tb_node_title(const tb_node *node);

/** Is the node control flow, a Constant or a sequence, which binding resolves by itself? */
bool tb_bind_resolves(const tb_node *node);

#endif
