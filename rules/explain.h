/*
 * explain.h: explanations of a bound graph, by TiBA or another method of rules/methods.h: from one
 * scalar of one output to the relevance of every token.
 *
 *     tb_analysis_create -> tb_explainer_create -> (forward pass with tb_explainer_keep)
 *                        -> tb_explainer_run, once for each scalar
 */
#ifndef TB_RULES_EXPLAIN_H
#define TB_RULES_EXPLAIN_H

#include "graph/attention.h"
#include "graph/dominators.h"
#include "rules/reverse.h"

/** What the graph is, found once for a bound graph. */
typedef struct tb_analysis {
    tb_arena *arena;
    tb_axes *axes;
    tb_attentions *attentions;
    tb_regions *regions;
    tb_dominators *dominators;
} tb_analysis;

tiba_status tb_analysis_create(tb_analysis **out, const tb_graph *graph, tb_budget *budget,
                               tiba_error *error);
void tb_analysis_destroy(tb_analysis *analysis);

typedef enum tb_rollout_form {
    TB_ROLLOUT_DEFAULT,
    TB_ROLLOUT_RAW,
    TB_ROLLOUT_NORMALIZED
} tb_rollout_form;

typedef struct tb_explain_options {
    tiba_method method;
    tb_rollout_form rollout; /**< default: raw for images, normalized for text */
    int start_layer;         /**< the first attentions that are left out of the rollout */
    bool blocks;             /**< keep every E_b */
    bool keep_sign;          /**< E_b without the max(0, …) */
    int n_seeds;             /**< not 0: start from these instead of {element, 1, 1} */
    const tb_seed *seeds;
    const int64_t *samples; /**< [towers] which sample of its input each tower shows; < 0 or NULL:
                                 the one that the gradient reaches (most) */
    double *backward_seconds, *rollout_seconds; /**< added to; may be NULL */
} tb_explain_options;

/** One tower's share of an explanation. Arrays belong to the arena given to tb_explainer_run. */
typedef struct tb_tower_explanation {
    const tb_tower *tower;
    int64_t sample;         /**< the sample of the tower's input that the target reads */
    float *tokens;          /**< [tower->tokens] relevance */
    float *readout;         /**< [readout_tokens] w, sum 1 */
    int64_t readout_tokens; /**< tower->tokens unless routed */
    bool routed; /**< tokens move or merge: the rollout went through the graph (rules/route.h) */
    int n_blocks;
    float **blocks;      /**< E_b [tokens, tokens] each, NULL unless asked for or if routed */
    double relevance_in; /**< ΣR at the readout: 1 where relevance is conserved */
    bool nested;         /**< it arrives by way of another tower's readout, which counts it too */
    int64_t not_finite;  /**< values of P, ∇P and R_P that were read and are no finite numbers */
    int64_t map_rows, map_columns; /**< of `map` */
    float *map;                    /**< per pixel, of methods that go to the picture; else NULL */
    const char *note;              /**< what is to be known of the result; NULL: nothing */
} tb_tower_explanation;

typedef struct tb_explainer tb_explainer;

/** The value in front of a Softmax, LogSoftmax or Sigmoid that ends the graph; else the value. */
const tb_value *tb_logit_value(const tb_value *output);

/** Plans the explanation of scalars of graph->outputs[output]. Where no attention tower lies
 * between an input and the output, or one does that cannot be treated, only methods that go to the
 * input apply (tb_explainer_refusal). Fails if not even they do, naming what is in the way. With
 * `exec` (which folds constants) the graph is rewritten so that it computes read tokens only
 * (graph/narrow.h); the analysis stays one of the graph before. NULL: it is left as it is. */
tiba_status tb_explainer_create(tb_explainer **out, tb_graph *graph, const tb_analysis *analysis,
                                int output, tb_exec *exec, tb_budget *budget, tiba_error *error);
void tb_explainer_destroy(tb_explainer *explainer);
/** How many bytes of the program's that are free after the forward pass it makes use of. */
size_t tb_explainer_spare(const tb_explainer *explainer);
void tb_explainer_keep(const tb_explainer *explainer, unsigned char *keep);
/** Why only methods that go to the input apply, and which they are; NULL: all methods do. */
const tiba_error *tb_explainer_refusal(const tb_explainer *explainer);
/** How many results an explanation has. */
int tb_explainer_towers(const tb_explainer *explainer);

/** The tower at `index`, and whether its tokens move. */
const tb_tower *tb_explainer_tower(const tb_explainer *explainer, int index, bool *moves);
/** What is to be known of its rollouts; NULL: nothing. */
const char *tb_explainer_note(const tb_explainer *explainer, int index);

/** One explanation: of element `element` (flat index) of the output. */
typedef struct tb_explain_job {
    int64_t element;
    const tb_explain_options *options;
    tb_tower_explanation *towers; /**< [tb_explainer_towers()], filled */
    tb_arena *arena;              /**< for what the towers hold */
} tb_explain_job;

/** Runs n explanations of one forward pass; each is exactly what it is alone. TiBA's share the work
 *  that does not depend on the target. */
tiba_status tb_explainer_run(tb_explainer *explainer, const tb_program *program, int n,
                             const tb_explain_job *jobs, tb_exec *exec, tiba_error *error);

#endif
