/*
 * eval.h: how well the methods explain a model, measured on a user's data. A measurement
 * (eval_perturbation.c, eval_segmentation.c, eval_rationale.c) adds items, each with a number for
 * every method and metric; eval_table.c makes means, intervals and paired differences of them.
 */
#ifndef TB_TOOLS_EVAL_H
#define TB_TOOLS_EVAL_H

#include "tools/methods.h"
#include "tools/subject.h"

/** A metric of a set of items is the mean over its parts of Σ num / Σ den: one part with den = 1
 *  for a mean over items, two for the mean IoU of foreground and background. */
typedef struct tb_eval_cell {
    double num[2], den[2];
} tb_eval_cell;

typedef struct tb_eval_metric {
    const char *name, *summary;
    int parts;
    bool shown; /**< in the text; JSON and CSV have all */
} tb_eval_metric;

typedef struct tb_eval_item {
    const char *name;
    bool correct;        /**< the model gets it right */
    tb_eval_cell *cells; /**< [methods][metrics] */
} tb_eval_item;

typedef struct tb_eval {
    tb_arena *arena;
    tb_subject *subject;
    const char *data;
    int limit; /**< items at most; 0: all */
    int draws; /**< of the bootstrap */
    int n_methods;
    tiba_method methods[TB_MOST_METHODS];
    const char *refused[TB_MOST_METHODS]; /**< why a method has no numbers; NULL: it has */
    const char *kind;
    int n_metrics;
    const tb_eval_metric *metrics;
    int n_items, capacity;
    tb_eval_item *items;
} tb_eval;

/** Measurements: fill metrics and items. */
tiba_status tb_eval_perturbation(tb_eval *eval, tiba_error *error);
tiba_status tb_eval_segmentation(tb_eval *eval, tiba_error *error);
tiba_status tb_eval_rationale(tb_eval *eval, tiba_error *error);

/** A new item; its name is borrowed. */
tiba_status tb_eval_add(tb_eval_item **out, tb_eval *eval, const char *name, bool correct,
                        tiba_error *error);
/** The item's cell of a method and a metric. */
tb_eval_cell *tb_eval_at(const tb_eval *eval, const tb_eval_item *item, int method, int metric);
void tb_eval_set(const tb_eval *eval, const tb_eval_item *item, int method, int metric,
                 double value);

/** Tables: for people (Markdown), as JSON, as CSV (a row per item, method and metric). */
tiba_status tb_eval_text(char **out, size_t *size, const tb_eval *eval, tiba_error *error);
tiba_status tb_eval_json(char **out, size_t *size, const tb_eval *eval, tiba_error *error);
tiba_status tb_eval_csv(char **out, size_t *size, const tb_eval *eval, tiba_error *error);

/* Shared by the measurements. */

/** Explains class `target` by a method of the evaluation. A method that refuses is noted with its
 *  reason and *out is NULL. */
tiba_status tb_eval_explain(tiba_result **out, tb_eval *eval, int method, tiba_run *run,
                            int64_t target, tiba_error *error);
/** Scores of the explained output's sample `sample`: [*n]; NULL if it is no class vector. */
const float *tb_eval_scores(const tiba_run *run, int64_t sample, int64_t *n);
int64_t tb_eval_best(const float *scores, int64_t n);
/** Softmax probability of class k. */
double tb_eval_probability(const float *scores, int64_t n, int64_t k);
/** Average precision of `n` scores with labels (ties are one step), NAN without a positive one. */
tiba_status tb_eval_precision(double *out, const double *scores, const bool *labels, int64_t n,
                              tiba_error *error);
/** Indices of n values, largest first, ties by index. */
tiba_status tb_eval_order(int64_t *order, const double *values, int64_t n, tiba_error *error);

enum { TB_MOST_OBJECTS = 32 };

/** One picture of a folder with truth.json: [{"picture": FILE, "classes": [C, …], "masks": {"C":
 *  FILE}}]; masks may be missing. */
typedef struct tb_scene {
    const char *path, *name;
    int n;
    int64_t classes[TB_MOST_OBJECTS];
    const char *masks[TB_MOST_OBJECTS]; /**< NULL: none */
} tb_scene;
tiba_status tb_scenes_read(tb_scene **out, int *count, tb_eval *eval, tiba_error *error);
/** Is class k among the `places` best? */
bool tb_eval_among(const float *scores, int64_t n, int64_t k, int places);
/** The picture's map of a result, brought to the model's input size [height, width]; NULL data is
 *  out of memory. Fails where the result has no map. */
tiba_status tb_eval_map(float **out, tb_arena *arena, const tiba_result *result,
                        const tb_sample *sample, tiba_error *error);

/** One text with what is known of it. */
typedef struct tb_review {
    const char *text;
    int64_t label;
    int n_evidence;
    tb_offsets *evidence; /**< code points */
} tb_review;
/** reviews.json, or a folder in ERASER's layout. */
tiba_status tb_reviews_read(tb_review **out, int *count, tb_eval *eval, tiba_error *error);
/** Is a folder of ERASER's or a .json file of texts. */
bool tb_eval_is_text(const tb_eval *eval);

#endif
