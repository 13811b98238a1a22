/*
 * report.h: what a run and its explanations come to, before it is shown: the kind of output, scores
 * with their labels, and one view for every explained scalar. The render_*.c files show it; none of
 * them computes anything that another one would have to compute again.
 */
#ifndef TB_TOOLS_REPORT_H
#define TB_TOOLS_REPORT_H

#include "tools/subject.h"
#include "tools/times.h"
#include "tools/token_list.h"
#include "tools/words.h"

/** What the explained output says. */
typedef enum tb_kind {
    TB_KIND_VALUES,      /**< numbers without a meaning that is known here: embeddings */
    TB_KIND_CLASSES,     /**< one of several classes: softmax */
    TB_KIND_MULTI_LABEL, /**< several classes at once: sigmoid */
    TB_KIND_REGRESSION,  /**< one number */
    TB_KIND_TOKENS,      /**< a class or a vocabulary entry for every token */
    TB_KIND_PAIRS,       /**< a score for one picture and each of some texts */
    TB_KIND_SIMILARITY   /**< of two texts' embeddings */
} tb_kind;
const char *tb_kind_name(tb_kind kind);

/** Scores of one sample (of one token of it, for TB_KIND_TOKENS). */
typedef struct tb_scores {
    int64_t n, first;    /**< how many; flat element of the first in the output */
    double *logit;       /**< [n] */
    double *probability; /**< [n]; NULL where there are none */
    int64_t *order;      /**< [n] largest first */
} tb_scores;

/** One tower of a view. */
typedef struct tb_view_tower {
    const tiba_tower *tower;
    int64_t at;                   /**< sample within the tower's arrays */
    bool partner;                 /**< of the subject's partner, which has the texts */
    const struct tb_check *check; /**< tools/trust.h; NULL: not asked for */
} tb_view_tower;

enum { TB_MOST_TOWERS = 8 };

/** One explained scalar. */
typedef struct tb_view {
    const char *label;       /**< class, text or token */
    const char *detail;      /**< its probability, score or value, in words */
    const char *method;      /**< its name */
    bool carries;            /**< the method carries relevance, so that it may be conserved */
    const char *method_note; /**< "difference to ...", NULL: a plain score */
    tiba_target target;      /**< rank 0: a scalar of several elements */
    const struct tb_scalar *scalar; /**< how it follows from an output (explain_job.h) */
    double logit, probability;      /**< probability NaN: none */
    int n_towers;
    tb_view_tower towers[TB_MOST_TOWERS];
    const tiba_tower *image; /**< NULL: no patch grid of the sample's picture */
    const float *grid;       /**< [rows, columns] raw patch relevance of the image tower */
    const float *map;        /**< its map to show: `grid`, or pixels */
    int map_rows, map_columns;
    float low, high; /**< its range */
    bool has_sign;   /**< values may be negative: colours are symmetric around 0 */
    tb_words *words; /**< NULL: none */
    int n_lists;     /**< of towers that neither the picture nor the words show */
    tb_token_list lists[TB_MOST_TOWERS];
    double residual;    /**< of relevance, on the way to the readouts; NaN: it carries none */
    int64_t not_finite; /**< values on the way that are NaN or infinite */
    double other_in;    /**< relevance that arrives at the other text's readout */
    int64_t other_not_finite;
    const char *trust; /**< both and the check in words */
    tb_words *other;   /**< of the second text of a contrast or similarity, NULL: none */
} tb_view;

/** A row of the picture × word table: what the score loses without the word, and where. */
typedef struct tb_table_row {
    const tb_word *word;
    const char *without; /**< the text without it */
    double share;        /**< score(text) - score(without) */
    const float *grid;   /**< [rows, columns] of the view's image tower */
    float low, high;
} tb_table_row;

enum { TB_MOST_NOTES = 12 };

typedef struct tb_report {
    tb_arena *arena;
    tb_subject *subject;
    const tb_sample *sample;
    const tiba_run *run;
    const tiba_run *text_run; /**< where texts have a graph of their own; else NULL */
    tb_kind kind;
    bool has_sign;    /**< of the method at hand, for the views that it makes */
    bool carries;     /**< likewise: it carries relevance */
    bool keeps_sign;  /**< because E_b kept its sign */
    tb_labels labels; /**< of the scores: the model's, or the texts of pairs */
    int64_t token;    /**< TB_KIND_TOKENS: which one */
    int n_samples;
    tb_scores *scores; /**< [n_samples] */
    int n_views;
    tb_view *views;
    int n_rows;
    tb_table_row *rows;  /**< of the first view's text; [n_rows] */
    const char *method;  /**< its name */
    const char *rollout; /**< "raw", "normalized" or "default" */
    int start_layer;
    const char *explained; /**< what all views explain, each by its method; NULL: one or several */
    int n_notes;
    const char *notes[TB_MOST_NOTES];
    tb_times times; /**< medians where repeated */
    int repeats;
    const tb_profile_report *profile; /**< NULL: not asked for */
} tb_report;

/** The method at hand, for the views that follow. */
void tb_report_use(tb_report *report, tiba_method method);
/** Finds the kind of the run's explained output and its scores. */
tiba_status tb_report_scores(tb_report *report, tiba_error *error);
/** Sorts and labels given scores, for kinds whose score is no output of the graph; `logit` is
 *  [n] from the arena. */
tiba_status tb_scores_make(tb_scores *out, tb_arena *arena, int64_t n, const double *logit,
                           tb_kind kind, tiba_error *error);
/** The name of score k, from the arena's or the labels' memory. */
const char *tb_report_label(const tb_report *report, int64_t k);
/** The class at a place in the order of sample 0; 0 if there is none. */
int64_t tb_report_class(const tb_report *report, int64_t place);
/** Adds a view of the result's sample `at`, with its map, words and wording. `text`: which of the
 *  sample's texts the text tower shows, -1: the one that the tower says. */
tiba_status tb_report_view(tb_view **out, tb_report *report, const tiba_result *result, int at,
                           int text, tiba_error *error);
/** Adds towers of another result to a view, or of the partner's graph (separate encoders). */
tiba_status tb_view_add_towers(tb_view *view, tb_report *report, const tiba_result *result,
                               int text, tiba_error *error);
/** The second text of a contrast or similarity: its words, and what arrives at its readout. */
tiba_status tb_view_other(tb_view *view, tb_report *report, const tiba_result *result, int text,
                          tiba_error *error);
/** Words of text `text` by the text tower of a result, NULL if there is none. */
tiba_status tb_report_words(tb_words **out, tb_report *report, const tiba_result *result, int at,
                            int text, tiba_error *error);
/** The patches' part of an image tower's relevance. */
const float *tb_patch_grid(const tiba_tower *tower, int64_t at);
/** The result's tower whose input is the sample's picture and has a grid; NULL if there is none. */
const tiba_tower *tb_image_tower(const tiba_result *result, const char *input);
/** A line for people; what is said already or does not fit any more is left out. NULL text is out
 *  of memory. */
void tb_report_note(tb_report *report, const char *text);

#endif
