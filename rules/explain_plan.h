/*
 * explain_plan.h: what explain.c and towers.c plan for a bound graph and explain_run.c runs for a
 * target.
 */
#ifndef TB_RULES_EXPLAIN_PLAN_H
#define TB_RULES_EXPLAIN_PLAN_H

#include "graph/narrow.h"
#include "rules/explain.h"
#include "rules/reading.h"
#include "rules/route.h"

/** The attentions of one graph input, as far as the target depends on them. */
typedef struct tb_plan_tower {
    tb_tower tower;
    const tb_value *readout;
    int64_t inner;   /**< plain: stride of the token axis in the readout value */
    tb_route *route; /**< NULL: plain */
    /** Where methods that go to the input end: the picture, or the value where the tokens begin;
     *  NULL: there is none. */
    const tb_value *source;
    bool pixels;             /**< it is the picture */
    int64_t source_inner;    /**< plain tokens: stride of the token axis in it */
    int64_t samples;         /**< without attentions: of the source, outermost; else 0 */
    const tiba_error *apart; /**< why no row vector connects it with other towers of its input;
                                NULL: nobody asked */
    bool carried;           /**< it has attentions of the tower that its tokens come from as well */
    const tb_node *stopped; /**< what no row vector goes through, NULL: nothing, or not planned */
    bool nested;            /**< what arrives here arrives at another tower's readout as well */
    tb_reading reading;     /**< how the target reads the readout's tokens */
    const char *note;       /**< what is to be known of every rollout; NULL: nothing */
} tb_plan_tower;

struct tb_explainer {
    const tb_graph *graph;
    const tb_analysis *analysis;   /**< of the graph as it was given */
    const tb_narrowing *narrowing; /**< what became of the readouts since; NULL: nothing */
    const tb_regions *regions;     /**< of the graph that runs */
    tb_arena *arena;
    tb_budget *budget;
    const tb_value *target;
    int n_towers;
    tb_plan_tower *towers;
    tb_reverse *reverse;  /**< TiBA's: to the readouts and all attentions */
    tb_remake *remake;    /**< what passes make again instead of reading it from the program */
    unsigned char *reads; /**< by value id: what any pass reads */
    unsigned char *keep;  /**< by value id: what the forward pass keeps */
    tiba_error refusal; /**< no tower fits: why, and the methods that apply. `towers` are the inputs
                             that those explain, without attentions, and `reverse` is NULL */
};

/** Plans a tower for each input whose attentions the target depends on, more where its attentions
 * come apart (towers.c). Fails, naming the node, where one fits no tower. `above` as below. */
tiba_status tb_explainer_plan_towers(tb_explainer *explainer, const unsigned char *above,
                                     tiba_error *error);
/** Marks, by value id, where a graph input's numbers enter: itself, or what is looked up by it. */
void tb_explainer_mark_entries(const tb_graph *graph, int input, unsigned char *marks);
/** Plans a result for each input, for methods that read nothing else; none if there is no input
 *  that they can show. `above` marks what the target depends on. */
tiba_status tb_explainer_plan_inputs(tb_explainer *explainer, const unsigned char *above,
                                     tiba_error *error);
#define TB_METHODS_THAT_APPLY "; methods that apply:"
/** How many values a pass watches at most: one and its attentions' for each tower. An attention
 * that reads several inputs is in the tower of each. */
int64_t tb_explainer_most_watched(const tb_explainer *explainer);
/** Fills in the refusal: why, TB_METHODS_THAT_APPLY and their names. */
void tb_explainer_refuse(tb_explainer *explainer, const tiba_error *why);

#endif
