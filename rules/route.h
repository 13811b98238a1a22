/*
 * route.h: the rollout for towers whose tokens move or merge (windows, hierarchies): the row vector
 * is carried back through the graph itself.
 *
 * Every element of a value carries a share of the token weights ("mass"). From the readout value
 * back to the value where the tokens begin,
 *   - moves of elements (permutations, rolls, windows, slices) route it;
 *   - a merge of k elements into one (Linear, Conv, means) gives each of them 1/k, so that a merge
 * of k tokens gives each token 1/k and token-wise operators leave tokens alone;
 *   - a sum whose branch holds no attention passes it down the skip connection unchanged;
 *   - where several operands meet around attentions, what passes by these gets it, and each
 * attention is asked once for what it adds: it hands V's tokens Eᵀ r (route_split.c). Together r +
 * Eᵀ r, however the block is written and however far the skip reaches. On a plain tower this is
 * exactly wᵀ·Π(I + E_b). With rows divided by their sum 1 + s (route_rows.c) it is both over 1 + s,
 * where one attention is asked.
 */
#ifndef TB_RULES_ROUTE_H
#define TB_RULES_ROUTE_H

#include "graph/attention.h"
#include "graph/dominators.h"
#include "graph/region.h"
#include "runtime/program.h"

/** What a route is planned from; everything outlives it. */
typedef struct tb_route_graph {
    const tb_graph *graph;
    tb_axes *axes;
    const tb_attentions *attentions;
    const tb_regions *regions;
    const tb_dominators *dominators;
    bool last_alone; /**< only ways from the last member's tower lead to the readout: other members
                          have more that this route does not go back */
} tb_route_graph;

/** Token coordinates of a value: its labelled axes but the batch. */
typedef struct tb_token_axes {
    const tb_value *value;
    int n;
    tb_factor factors[TB_MAX_FACTORS];
    int64_t tokens;             /**< product of the counts */
    int64_t batch, batch_inner; /**< samples and their stride; batch = 1: none */
} tb_token_axes;

typedef struct tb_route {
    tb_route_graph on;
    tb_arena *arena;
    const tb_value *target;
    int n_attentions;
    const int *members;    /**< [n_attentions] indices in attentions, execution order */
    tb_token_axes readout; /**< where the row vector starts */
    tb_token_axes source;  /**< where it ends: the tokens of the explanation */
    tb_tower tower;        /**< what they are; its attentions are not filled in */
    const tb_node **steps; /**< last first */
    int n_steps;
    int n_labels;              /**< how many labels there were when these were marked: */
    unsigned char *attended;   /**< by label: axes of keys, and what they are made of */
    unsigned char *told_apart; /**< by label: axes of the attentions, and what they are made of */
    unsigned char *between;    /**< by value id: on a way from source to readout */
    int *same;            /**< by member: the first one with the same probabilities, or heads of
                               the same softmax */
    signed char *carrier; /**< by node id: the operand of a step that its tokens are, -1: none */
    struct tb_split **splits; /**< by node id: what a step of several operands does with weight
                                   (route_steps.h); NULL: it has one operand */
} tb_route;

/** Plans the route of some attentions from `target` down; memory is the arena's. Values that are
 *  marked in `beyond` (by id; NULL: none) are no readout. Fails naming the first node that does not
 *  fit; *stopped is then the one that no weight goes through, NULL where it fails otherwise. */
tiba_status tb_route_create(tb_route **out, tb_route_graph on, const tb_value *target,
                            const unsigned char *beyond, int n_attentions, const int *members,
                            const tb_node **stopped, tb_arena *arena, tiba_error *error);
/** The forward values that a run reads. */
void tb_route_keep(const tb_route *route, unsigned char *keep);
/** What is carried back: w [readout.tokens] of a sample, through these E. */
typedef struct tb_route_load {
    const double *w;
    int64_t sample;
    float *const *blocks; /**< [member] E [groups, queries, keys] (see tb_attention); NULL: 0 */
    bool normalized;      /**< rows of I + E divided by their sums, see route_rows.c */
    bool *undivided; /**< set where that is not defined; NULL: the run fails, naming the node */
} tb_route_load;
/** Carries it to `tokens` [source.tokens]. */
tiba_status tb_route_run(const tb_route *route, const tb_program *program,
                         const tb_route_load *load, double *tokens, tb_budget *budget,
                         tb_exec *exec, tiba_error *error);
/** What of `load` reaches the queries of a member: `held` [groups, queries]. */
tiba_status tb_route_reach(const tb_route *route, const tb_program *program,
                           const tb_route_load *load, int member, double *held, tb_budget *budget,
                           tb_exec *exec, tiba_error *error);
/** Are the coordinates along the label samples, which have tokens of their own? The places along an
 *  input's first axis are, and what a model put in front (answers that are to be compared) if the
 *  target has them apart. Parts of a text that it reads together are not. */
bool tb_is_samples(const tb_graph *graph, const tb_axes *axes, int label, const tb_value *target);
/** The token of element `element` of the value. */
int64_t tb_token_of(const tb_token_axes *axes, int64_t element);

#endif
