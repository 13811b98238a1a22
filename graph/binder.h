/*
 * binder.h: the state of one binding, shared by bind.c (the walk), bind_feeds.c (inputs) and
 * bind_control.c (If, Loop, Scan, sequences). Internal to graph/.
 */
#ifndef TB_GRAPH_BINDER_H
#define TB_GRAPH_BINDER_H

#include "graph/bind.h"
#include "graph/build.h"

/** A sequence value: exists while binding only. */
typedef struct tb_list {
    int count;
    tb_value **items;
} tb_list;

/** What a source value became. Both NULL: not (yet) computed. */
typedef struct tb_slot {
    tb_value *value;
    tb_list *list;
} tb_slot;

/** What stands in the way, where all of it is wanted (tb_bind_obstacles). */
typedef struct tb_obstacles {
    tb_arena *arena;
    tb_obstacle *items;
    int count, capacity;
    int hidden; /**< nodes that could not be looked at because of the others */
} tb_obstacles;

/** Marks of source values: on a path to an output; the node it is the first output of stands in
 *  `written`. */
enum { TB_NEEDED = 1, TB_NOTED = 2 };

typedef struct tb_binder {
    tb_builder b;
    tb_arena *arena; /**< of the bound graph */
    const tb_source *source;
    tb_slot *slots;        /**< [source->n_values] by source value id */
    unsigned char *needed; /**< [source->n_values]: TB_NEEDED, TB_NOTED */
    int64_t nodes_bound;   /**< unrolled nodes so far, to stop runaway loops */
    tb_written *written;   /**< see tb_bound */
    int n_written, written_capacity;
    tb_obstacles *obstacles; /**< NULL: the first refused node ends the binding */
} tb_binder;

/** Declares the bound graph's inputs from the feeds and checks them. */
tiba_status tb_bind_feeds(tb_binder *binder, int n_feeds, const tb_feed *feeds, tiba_error *error);

/** Binds the needed nodes of a (sub-)graph in execution order. */
tiba_status tb_bind_nodes(tb_binder *binder, const tb_graph *graph, tiba_error *error);
/** The slot of a source value; constants of the file get their bound value here. */
tiba_status tb_bind_slot(tb_binder *binder, const tb_value *source, tb_slot *out,
                         tiba_error *error);
/** As tb_bind_slot for a node's input, which must be a tensor; *out is NULL where left out. */
tiba_status tb_bind_input(tb_binder *binder, const tb_node *node, int i, tb_value **out,
                          tiba_error *error);
/** A bound constant for a tensor of the file: borrowed, or widened to float32. */
tiba_status tb_bind_tensor(tb_binder *binder, const tiba_tensor *tensor, const tb_node *node,
                           tb_value **out, tiba_error *error);

/** How a node that is no plain operator is bound. */
typedef tiba_status tb_control_fn(tb_binder *binder, const tb_node *node, tiba_error *error);
/** The function for control flow, Constant and sequences; NULL for all other operators. */
tb_control_fn *tb_find_control(const tb_node *node);

#endif
