/*
 * explain_job.h: one explanation from inputs to report: makes the sample, runs the model, explains
 * what is asked for. Commands give it an open subject and show or write the report:
 *
 *     tb_job job = {.options = &o, .subject = &subject};
 *     TB_TRY(tb_job_start(&job, error));
 *     status = tb_job_run(&job, count, inputs, error);   … job.report …
 *     tb_job_close(&job);
 */
#ifndef TB_TOOLS_EXPLAIN_JOB_H
#define TB_TOOLS_EXPLAIN_JOB_H

#include "tools/arguments.h"
#include "tools/report.h"

/** What to explain and how; zero-initialise for the defaults. */
typedef struct tb_job_options {
    const char *target, *output, *rollout, *method;
    tb_texts classes, texts;
    int top, start_layer;
    int choose;           /**< pairs: the text to explain, counted from 1; 0: the best */
    const char *contrast; /**< pairs: explain the difference to the score of this text */
    bool table;           /**< pairs: the picture × word table */
    bool keep_sign, blocks;
    bool check;   /**< whether the target falls without what is relevant (trust.h) */
    double scale; /**< of the cosine of separate encoders; 0: 100 */
} tb_job_options;

/** A run of changed inputs. */
typedef struct tb_changed {
    const tiba_run *run;
    bool partner; /**< the run is of the partner's graph: the subject's inputs are as before */
    int64_t copy, copies; /**< which of the changed samples that went through it together */
    int64_t text, fewer;  /**< the text that tokens were left out of, and how many; else 0 */
    int64_t moved;        /**< how many of them stood in front of the target's own token */
} tb_changed;

/** How the scalar that a view explains follows from the explained output of a run, for runs of
 * other inputs. Kinds of scalars have it as their first member. */
typedef struct tb_scalar {
    double (*read)(const struct tb_scalar *scalar, const tb_changed *changed);
} tb_scalar;

typedef struct tb_job {
    const tb_job_options *options;
    tb_subject *subject;
    tb_arena *arena; /**< of everything in the report */
    tb_sample sample;
    tb_sample partner_sample; /**< texts of a text encoder; else empty */
    tiba_run *runs[3]; /**< of the inputs; of the picture × word table; of the text encoder */
    void *ends; /**< encoders.c, similarity.c: where explanations start, if that is in no graph */
    int n_results, result_capacity;
    tiba_result **results;
    tb_report report;
} tb_job;

tiba_status tb_job_start(tb_job *job, tiba_error *error);
tiba_status tb_job_run(tb_job *job, int count, const char *const *inputs, tiba_error *error);
/** The parts of tb_job_run: everything up to the scores; views of what the options ask for, by
 *  their method, each time it is called. Trust lines are tb_trust's (trust.h). */
tiba_status tb_job_prepare(tb_job *job, int count, const char *const *inputs, tiba_error *error);
tiba_status tb_job_views(tb_job *job, tiba_error *error);
void tb_job_close(tb_job *job);

/* For the parts of a job (explain_job.c, pairs.c, encoders.c, similarity.c). */

/** The request that every explanation of the job starts from. */
tiba_status tb_job_request(tiba_request *out, const tb_job *job, tiba_error *error);
/** Makes a sample of inputs (subject.h), and adds up how long that takes. */
tiba_status tb_job_sample(tb_sample *out, tb_job *job, tb_subject *subject, int count,
                          const char *const *inputs, int n_texts, const char *const *texts,
                          tiba_error *error);
/** Runs a sample through the graph into runs[slot], which is still free. */
tiba_status tb_job_forward(tb_job *job, int slot, const tb_subject *subject,
                           const tb_sample *sample, const char *output, tiba_error *error);
/** Σ factor · element over n <= 2 elements of the explained output of runs[0], as a scalar. */
tiba_status tb_job_elements(const tb_scalar **out, tb_job *job, int n, const int64_t *elements,
                            const double *factors, tiba_error *error);
/** Explains n requests into out[n]; the results belong to the job. */
tiba_status tb_job_explain(const tiba_result **out, tb_job *job, tiba_run *run, int n,
                           const tiba_request *requests, tiba_error *error);
/** Pairs: the difference of the chosen text's score and the contrast's. */
tiba_status tb_pairs_contrast(tb_job *job, int64_t chosen, int64_t other, tiba_error *error);
/** Pairs: which text to explain. */
tiba_status tb_pairs_chosen(int64_t *out, const tb_job *job, tiba_error *error);
/** The scores that --class and --top name, in their order; none: 0. */
tiba_status tb_job_wanted(int64_t **out, int *count, const tb_job *job, tiba_error *error);
/** Which of the sample's texts is this one; -1: none. */
int64_t tb_pairs_find(const tb_job *job, const char *text);
/** The relevance of a in a - b, by magnitude as the rules share it; what is missing to 1 is b's. */
double tb_difference_share(double a, double b);
/** Pairs: makes the table's rows; texts[0] is the chosen text, texts[k + 1] row k's without its
 *  word. */
tiba_status tb_table_texts(const char ***texts, tb_job *job, int64_t chosen, tiba_error *error);
/** Fills in what a row's word adds, and its map by the picture's tower of `result`. */
tiba_status tb_table_fill(tb_job *job, int row, const tiba_result *result, double share,
                          tiba_error *error);
/** Pairs: what each word of the chosen text adds, and where. */
tiba_status tb_pairs_table(tb_job *job, int64_t chosen, const char *picture, tiba_error *error);
/** Pairs through two graphs: everything from inputs to scores; views. */
tiba_status tb_encoders_prepare(tb_job *job, int count, const char *const *inputs, int n_texts,
                                const char *const *texts, tiba_error *error);
tiba_status tb_encoders_views(tb_job *job, tiba_error *error);
/** The output that is an encoder's embedding: `wanted` (--output, NULL: none) where this graph has
 *  it, else the usual one, else the only one that can be it. NULL: the first. */
const char *tb_encoder_output(const tb_subject *subject, const tb_subject *other,
                              const char *wanted);
/** Similarity of the sample's two texts: the embeddings; the view. */
tiba_status tb_similarity_prepare(tb_job *job, tiba_error *error);
tiba_status tb_similarity_views(tb_job *job, tiba_error *error);
#endif
