/*
 * eval.h: how well the methods explain a model, measured on a user's data. A measurement
 * (eval_perturbation.c, eval_segmentation.c, eval_rationale.c) goes through units, pictures or
 * texts, which eval_run.c shares among processes; each adds items with a number for every method
 * and metric. eval_table.c makes means, intervals and paired differences of them, eval_plot.c a
 * picture.
 */
#ifndef TB_TOOLS_EVAL_H
#define TB_TOOLS_EVAL_H

#include "tools/methods.h"
#include "tools/subject.h"

/** A metric of a set of items comes from its parts' Σ num / Σ den. */
typedef struct tb_eval_cell {
    double num[2], den[2];
} tb_eval_cell;

typedef enum tb_eval_form {
    TB_EVAL_MEAN,  /**< one part: with den = 1 a mean over items */
    TB_EVAL_MEAN2, /**< the mean of two parts: IoU of foreground and background */
    TB_EVAL_F1     /**< the harmonic mean of two parts: precision and recall */
} tb_eval_form;

typedef struct tb_eval_metric {
    const char *name, *summary;
    tb_eval_form form;
    bool shown;        /**< in the text; JSON and CSV have all */
    bool fraction;     /**< of 1, not of 100 */
    const char *curve; /**< of which it is the point at x; NULL: none */
    double x;
    const char *axis; /**< what x is */
} tb_eval_metric;

/** A measurement. */
typedef struct tb_eval tb_eval;
typedef struct tb_eval_kind {
    const char *name, *summary;
    /** Reads the data: sets metrics, n_units, list and state. */
    tiba_status (*open)(tb_eval *eval, tiba_error *error);
    /** Measures a unit and adds its items. */
    tiba_status (*measure)(tb_eval *eval, int unit, tiba_error *error);
} tb_eval_kind;
extern const tb_eval_kind tb_eval_perturbation, tb_eval_segmentation, tb_eval_rationale;

/** Classes that are texts (--text), which pictures are scored against. */
typedef struct tb_eval_labels {
    tb_texts texts;
    const float *vectors; /**< [texts, size] embeddings, where the text encoder has a file of its
                               own; NULL: the texts go in with the picture */
    int64_t size;
    double scale;       /**< of two encoders' cosine */
    const char *output; /**< the picture encoder's embedding */
    float *scores;      /**< [texts] room for those of one picture */
} tb_eval_labels;

typedef struct tb_eval_item {
    const char *name;
    bool correct;        /**< the model gets it right */
    tb_eval_cell *cells; /**< [methods][metrics] */
} tb_eval_item;

struct tb_eval {
    tb_arena *arena;
    tb_subject *subject;
    const tb_eval_kind *kind;
    const char *data, *list; /**< as the user names it; the file that lists the units */
    tb_eval_labels labels;
    int limit; /**< units at most; 0: all */
    bool drop; /**< perturbation leaves tokens out, where it would mask them */
    int draws; /**< of the bootstrap */
    int n_methods;
    tiba_method methods[TB_MOST_METHODS];
    const char *refused[TB_MOST_METHODS]; /**< why a method has no numbers; NULL: it has */
    bool first_unit; /**< is being measured: it decides which methods have none */
    int n_metrics;
    const tb_eval_metric *metrics;
    int n_units;
    void *state; /**< of the measurement */
    int n_items, capacity;
    tb_eval_item *items;
    struct tb_eval_summary *summary; /**< [methods][metrics], of tb_eval_summarise */
};

typedef struct tb_eval_interval {
    double value, low, high;
} tb_eval_interval;

/** A method's metric over all items. NaN: there is none. */
typedef struct tb_eval_summary {
    tb_eval_interval value, minus_tiba, minus_random;
    tb_eval_interval correct; /**< of the items that the model gets right */
} tb_eval_summary;
/** Bootstrap over items with the same draws for every method, so that differences are paired. */
tiba_status tb_eval_summarise(tb_eval *eval, tiba_error *error);
const tb_eval_summary *tb_eval_summary_at(const tb_eval *eval, int method, int metric);

/** How to go through the units. */
typedef struct tb_eval_course {
    int jobs;             /**< processes */
    const char *resume;   /**< file that keeps what is done; NULL: none */
    const char *settings; /**< what `resume` must have been started with */
} tb_eval_course;
/** Measures all units; items are in the units' order at any number of jobs. */
tiba_status tb_eval_run(tb_eval *eval, const tb_eval_course *course, tiba_error *error);

/** A new item; its name is borrowed. */
tiba_status tb_eval_add(tb_eval_item **out, tb_eval *eval, const char *name, bool correct,
                        tiba_error *error);
/** The item's cell of a method and a metric. */
tb_eval_cell *tb_eval_at(const tb_eval *eval, const tb_eval_item *item, int method, int metric);
void tb_eval_set(const tb_eval *eval, const tb_eval_item *item, int method, int metric,
                 double value);

/** A metric of one item; NaN: none. */
double tb_eval_item_value(const tb_eval *eval, int method, int metric, int item);
/** Items that the model gets right; items that a metric has a number of. */
int tb_eval_correct(const tb_eval *eval);
int tb_eval_counted(const tb_eval *eval, int metric);

/** Tables: for people (Markdown), as JSON, as CSV (a row per item, method and metric). */
tiba_status tb_eval_text(char **out, size_t *size, const tb_eval *eval, tiba_error *error);
tiba_status tb_eval_json(char **out, size_t *size, const tb_eval *eval, tiba_error *error);
tiba_status tb_eval_csv(char **out, size_t *size, const tb_eval *eval, tiba_error *error);

/** Curves with their intervals, and the other shown metrics as points on a scale: as PNG, or as SVG
 *  if `path` ends so. */
tiba_status tb_eval_plot(uint8_t **out, size_t *size, const tb_eval *eval, const char *path,
                         tiba_error *error);

/* Shared by the measurements. */

/** Explains n classes (at most TB_MOST_OBJECTS) by a method of the evaluation: out[n]. A method
 * that refuses is noted with its reason and all are NULL. */
tiba_status tb_eval_explain(tiba_result **out, tb_eval *eval, int method, tiba_run *run, int n,
                            const int64_t *targets, tiba_error *error);
/** Takes --text, and encodes it where the model is two encoders; --scale, 0: not given. */
tiba_status tb_eval_labels_read(tb_eval *eval, const tb_texts *texts, double scale,
                                tiba_error *error);
/** The inputs for a picture, with the texts that are its classes. */
tiba_status tb_eval_sample(tb_sample *out, const tb_eval *eval, tb_arena *arena,
                           const char *picture, tiba_error *error);
/** Runs a sample. An output that has no score for each class of an input is refused. */
tiba_status tb_eval_forward(tiba_run **out, const tb_eval *eval, const tb_sample *sample,
                            tb_arena *arena, tiba_error *error);
/** Scores of the run's sample `sample`: [*n], until the next call; NULL: it has no such sample. */
const float *tb_eval_scores(const tb_eval *eval, const tiba_run *run, int64_t sample, int64_t *n);
int64_t tb_eval_best(const float *scores, int64_t n);
/** Softmax probability of class k. */
double tb_eval_probability(const float *scores, int64_t n, int64_t k);
/** Average precision of `n` scores with labels, and the area under the line through the points of
 *  precision against recall; ties are one point. NAN without a positive one. */
tiba_status tb_eval_precision(double *average, double *area, const double *scores,
                              const bool *labels, int64_t n, tiba_error *error);

enum { TB_MOST_OBJECTS = 32, TB_CLASS_TOP = -1, TB_NO_LABEL = -1 };

/** One picture of a folder with truth.json: [{"picture": FILE, "classes": [C, …], "masks": {"C":
 *  FILE}}]; masks may be missing. A class may be "top": the model's own answer, whatever it is;
 * then "label": C may say what would be right. */
typedef struct tb_scene {
    const char *path, *name;
    int n;
    int64_t classes[TB_MOST_OBJECTS];   /**< TB_CLASS_TOP: the model's answer */
    int64_t label;                      /**< TB_NO_LABEL: not given */
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
    const char *name; /**< of the item */
    const char *text;
    int64_t label;
    int n_evidence;
    tb_offsets *evidence; /**< code points */
    bool blanks;          /**< words are what blanks separate (ERASER), not the tokenizer's */
} tb_review;
/** reviews.json, or a folder in ERASER's layout. */
tiba_status tb_reviews_read(tb_review **out, int *count, tb_eval *eval, tiba_error *error);
/** What separates the words of ERASER's documents. */
bool tb_review_blank(char c);
/** Whether texts of different length go through the model together: padding is masked. */
bool tb_eval_pads(const tb_eval *eval);
/** Is a folder of ERASER's or a .json file of texts. */
bool tb_eval_is_text(const tb_eval *eval);

#endif
