/*
 * tiba.h: the public interface of libtiba.
 *
 * Opens an exported ONNX transformer, runs it and explains one scalar of its output with
 * TiBA (Chefer, Gur, Wolf: "Transformer Interpretability Beyond Attention Visualization",
 * CVPR 2021). The shape of a program:
 *
 *     tiba_model_open -> tiba_run_create (bind + forward) -> tiba_explain -> tiba_result_tower
 *
 * The library never prints, never exits and keeps no global state. Every function that can
 * fail returns a tiba_status and, where `error` is not NULL, fills it with one line that says
 * what failed and where. Objects of different models may be used from different threads.
 */
#ifndef TIBA_H
#define TIBA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TIBA_API __attribute__((visibility("default")))
#else
#define TIBA_API
#endif

/** What a call came to. The values are the exit statuses of the command line program. */
typedef enum tiba_status {
    TIBA_OK = 0,
    TIBA_ERROR_INPUT = 1,   /**< the model or an input cannot be read, run or explained */
    TIBA_ERROR_USAGE = 2,   /**< the call's arguments are wrong */
    TIBA_ERROR_RESOURCE = 3 /**< out of memory, or an output cannot be written */
} tiba_status;

/** Why a call failed. Owned by the caller; start from `tiba_error e = {0}`. */
typedef struct tiba_error {
    tiba_status code;
    char node[128];    /**< name of the graph node it is about, "" if none */
    char message[512]; /**< one line without a full stop, valid UTF-8 */
} tiba_error;

/** Element types, numbered as in onnx.TensorProto.DataType. */
typedef enum tiba_dtype {
    TIBA_UNDEFINED = 0,
    TIBA_FLOAT32 = 1,
    TIBA_UINT8 = 2,
    TIBA_INT8 = 3,
    TIBA_UINT16 = 4,
    TIBA_INT16 = 5,
    TIBA_INT32 = 6,
    TIBA_INT64 = 7,
    TIBA_STRING = 8,
    TIBA_BOOL = 9,
    TIBA_FLOAT16 = 10,
    TIBA_FLOAT64 = 11,
    TIBA_UINT32 = 12,
    TIBA_UINT64 = 13,
    TIBA_BFLOAT16 = 16
} tiba_dtype;

#define TIBA_MAX_RANK 8

/** A dense row-major array. `data` is borrowed unless a function says otherwise. */
typedef struct tiba_tensor {
    tiba_dtype dtype;
    int rank;
    int64_t dims[TIBA_MAX_RANK];
    void *data;
} tiba_tensor;

/** "0.1.0" */
TIBA_API const char *tiba_version(void);

/* ------------------------------------------------------------------------------- models */

/** An opened .onnx file. */
typedef struct tiba_model tiba_model;

/** How to work; zero-initialise for the defaults. */
typedef struct tiba_options {
    int threads;         /**< 0: one per processor that this process may use; 1024 at most */
    size_t memory_limit; /**< bytes that all the model's objects may take; 0: no limit. Weights that
                              stay in the mapped file are not counted */
} tiba_options;

/** One input or output of the graph, as the file declares it. Strings belong to the model. */
typedef struct tiba_port {
    const char *name;
    tiba_dtype dtype;
    int rank;                             /**< -1: not declared */
    int64_t dims[TIBA_MAX_RANK];          /**< -1: symbolic or not declared */
    const char *dim_names[TIBA_MAX_RANK]; /**< of symbolic dimensions, "" if none */
} tiba_port;

/** Opens `path`, a .onnx file with its external data beside it. `options` may be NULL. */
TIBA_API tiba_status tiba_model_open(tiba_model **out, const char *path,
                                     const tiba_options *options, tiba_error *error);
/** Closes a model whose runs have been destroyed. NULL is allowed. */
TIBA_API void tiba_model_close(tiba_model *model);

/** The index-th file beside the .onnx that holds weights of it (external data): its path, and in
 *  *location (NULL: not wanted) its name in the model. NULL past the last one. */
TIBA_API const char *tiba_model_data_file(const tiba_model *model, int index,
                                          const char **location);

/** The index-th output of the file that is no tensor of numbers, which the model does without: its
 *  name, and in *kind what it is ("a sequence"). NULL past the last one. */
TIBA_API const char *tiba_model_left_out(const tiba_model *model, int index, const char **kind);

/** The name that the file itself gives class `index` of its scores (an operator of ai.onnx.ml that
 *  turns them into labels); NULL if it gives none, or past the last one. */
TIBA_API const char *tiba_model_class(const tiba_model *model, int64_t index);

TIBA_API int tiba_model_inputs(const tiba_model *model);
TIBA_API int tiba_model_outputs(const tiba_model *model);
TIBA_API tiba_port tiba_model_input(const tiba_model *model, int index);
TIBA_API tiba_port tiba_model_output(const tiba_model *model, int index);
/** Where no output of a file has scores (it ends in ArgMax, say), what the outputs are made of are
 *  outputs behind its own: the name of the output that operator *op makes of the index-th. NULL for
 *  an output of the file. */
TIBA_API const char *tiba_model_behind(const tiba_model *model, int index, const char **op);

/** What the file says of itself. Strings belong to the model. */
typedef struct tiba_model_facts {
    const char *producer; /**< "pytorch 2.4.0", "" if it does not say */
    int64_t ir_version;
    int n_opsets;
    int64_t parameters, parameter_bytes;
} tiba_model_facts;
TIBA_API tiba_model_facts tiba_model_about(const tiba_model *model);
/** The domain ("" is ai.onnx) and version of operator set `index`. */
TIBA_API const char *tiba_model_opset(const tiba_model *model, int index, int64_t *version);

/* ------------------------------------------------------------------------------- runs */

/** A named input array. Any float type serves a float input, any integer type an integer one. */
typedef struct tiba_feed {
    const char *name;
    tiba_tensor tensor;
} tiba_feed;

/** A model bound to inputs, with the outputs of its forward pass. */
typedef struct tiba_run tiba_run;

/** Binds the model to the feeds (one for each graph input; their data is copied or no longer needed
 *  when the call returns) and runs it. `output` names the output that will be explained: NULL is
 * the first float output, or the scores behind the outputs (tiba_model_behind). Runs after the
 * first with the same shapes and integer inputs reuse its plan. Destroy with tiba_run_destroy. */
TIBA_API tiba_status tiba_run_create(tiba_run **out, tiba_model *model, int n_feeds,
                                     const tiba_feed *feeds, const char *output, tiba_error *error);
/** As tiba_run_create, for the outputs alone: nothing is kept for an explanation, so that many
 * samples at once take little memory. tiba_explain refuses such a run. */
TIBA_API tiba_status tiba_run_forward(tiba_run **out, tiba_model *model, int n_feeds,
                                      const tiba_feed *feeds, const char *output,
                                      tiba_error *error);
TIBA_API void tiba_run_destroy(tiba_run *run);
/** Output `index` of the graph; the data belongs to the run. Floats are float32. Its rank is -1
 *  where a node that the output needs is refused (tiba_run_blocked), which the explained one's are
 *  not. */
TIBA_API tiba_tensor tiba_run_output(const tiba_run *run, int index);
/** Why output `index` has no value, in one line; NULL: it has one. */
TIBA_API const char *tiba_run_blocked(const tiba_run *run, int index);
/** The index of the output that is explained. */
TIBA_API int tiba_run_explained_output(const tiba_run *run);
/** The explained output in front of the Softmax, LogSoftmax or Sigmoid that ends it, if any:
 *  the logits. Its `data` is NULL where
 *  the output cannot be explained. */
TIBA_API tiba_tensor tiba_run_logits(const tiba_run *run);

/** Seconds that the phases took. */
typedef struct tiba_timings {
    double open, bind, plan;  /**< of the model and of this run; bind and plan are 0 where the plan
                                   of an earlier run was used again */
    double forward;           /**< of this run */
    double backward, rollout; /**< of the run's latest tiba_explain, all targets together */
} tiba_timings;
TIBA_API tiba_timings tiba_run_timings(const tiba_run *run);

/** What one kind of operator took in one phase. */
typedef struct tiba_profile_row {
    const char *phase;       /**< "forward", or "backward": gradient and relevance together */
    const char *domain, *op; /**< operators of the bound graph, as tiba_operator names them */
    int64_t calls;
    double seconds;
    double flop;  /**< of the matrix products that were made; a multiply-add is two */
    double bytes; /**< of the operands that the calls read and wrote, once each */
} tiba_profile_row;
/** Counts from now on (and from zero) where the model's runs and explanations spend their time, or
 *  (on = 0) no longer. */
TIBA_API tiba_status tiba_model_profile(tiba_model *model, int on, tiba_error *error);
/** False past the last row, and where nothing was counted. */
TIBA_API int tiba_profile_at(tiba_profile_row *out, const tiba_model *model, int index);

/* ------------------------------------------------------------------------------- inspection */

/** An operator of the file that is not supported, and its nodes (an output's name where a node has
 *  none). Nodes that a run never reaches count as well. Strings belong to the model. */
typedef struct tiba_unsupported {
    const char *domain, *op;
    int count;
    const char *const *nodes;
} tiba_unsupported;
/** False past the last one. */
TIBA_API int tiba_model_unsupported(tiba_unsupported *out, const tiba_model *model, int index);

/** A node of a supported operator that binding refuses, and why in one line that names it. */
typedef struct tiba_obstacle {
    const char *node, *op, *reason;
} tiba_obstacle;
/** All nodes that tiba_run_create would refuse for these feeds; it stops at the first. What depends
 *  on a refused node is not looked at. Fails only if the feeds themselves do not fit. The result
 *  belongs to the model. */
TIBA_API tiba_status tiba_model_obstacles(const tiba_obstacle **out, int *count, tiba_model *model,
                                          int n_feeds, const tiba_feed *feeds, tiba_error *error);

/** As tiba_run_create without the forward pass, for inspection: outputs have shapes but no data,
 *  and nothing can be explained. */
TIBA_API tiba_status tiba_run_plan(tiba_run **out, tiba_model *model, int n_feeds,
                                   const tiba_feed *feeds, const char *output, tiba_error *error);

/** The library's operators. `kind` is "op" (kernels of its own) or "lowered" (written as others);
 *  `gradient` is "yes" or the reason why there is none. False past the last one. */
typedef struct tiba_operator {
    const char *domain, *name, *kind, *gradient;
} tiba_operator;
TIBA_API int tiba_operator_at(tiba_operator *out, int index);

/** What was found between the inputs and the explained output. */
typedef struct tiba_tower_facts {
    const char *input; /**< graph input that feeds it */
    int is_image;
    int64_t tokens, rows, columns, prefix; /**< as in tiba_tower */
    int blocks;                            /**< attentions, in graph order */
    int moves;                             /**< tokens move or merge on the way */
    const char *pooling; /**< "none" (the output has the tokens), "token", "mean", "sum", "max",
                              "attention", "layers", "several" */
    const char *reads;   /**< what the target reads, in words: "the first token", … */
    const char *note;    /**< what is to be known of its rollouts, NULL if nothing */
} tiba_tower_facts;
/** False past the last tower. */
TIBA_API int tiba_run_tower(const tiba_run *run, int index, tiba_tower_facts *out);

/** One attention of a tower. */
typedef struct tiba_block_facts {
    const char *node; /**< the file's nodes that multiply P with V, comma-separated */
    int64_t heads, queries, keys;
    int64_t groups; /**< samples, times windows where there are such */
} tiba_block_facts;
/** False past the last block. */
TIBA_API int tiba_run_block(const tiba_run *run, int tower, int index, tiba_block_facts *out);
/** Nodes of the file, and of the bound graph. */
TIBA_API void tiba_run_nodes(const tiba_run *run, int *file, int *bound);

/** Something that was rewritten on the way from the file to the bound graph. */
typedef struct tiba_rewrite {
    const char *kind;  /**< "upgraded" (an older form of an operator), "lowered" (a fused one),
                            "raised" (one that was written out) */
    const char *name;  /**< the operator's or the pattern's */
    const char *nodes; /**< the file's nodes, comma-separated */
} tiba_rewrite;
/** False past the last one. */
TIBA_API int tiba_run_rewrite(const tiba_run *run, int index, tiba_rewrite *out);
/** Why the output cannot be explained, or not by all methods: then it lists those that apply. NULL
 *  if all do. */
TIBA_API const char *tiba_run_refusal(const tiba_run *run);

typedef enum tiba_listing {
    TIBA_LISTING_GRAPH, /**< the bound graph, a line for each node */
    TIBA_LISTING_DOT    /**< the same for graphviz */
} tiba_listing;
/** A text about the run's graph. It belongs to the run. */
TIBA_API tiba_status tiba_run_listing(const char **out, tiba_run *run, tiba_listing listing,
                                      tiba_error *error);

/* ------------------------------------------------------------------------------- explanations */

typedef enum tiba_rollout {
    TIBA_ROLLOUT_DEFAULT,   /**< raw for images, normalized for text, as the paper's authors do */
    TIBA_ROLLOUT_RAW,       /**< A_b = I + E_b */
    TIBA_ROLLOUT_NORMALIZED /**< its rows divided by their sums */
} tiba_rollout;

/** How to explain. docs/method.md defines each. */
typedef enum tiba_method {
    TIBA_METHOD_TIBA, /**< the default */
    TIBA_METHOD_ROLLOUT,
    TIBA_METHOD_RAW_ATTENTION,
    TIBA_METHOD_ATTENTION_GRADCAM,
    TIBA_METHOD_LRP,
    TIBA_METHOD_PARTIAL_LRP,
    TIBA_METHOD_FULL_TIBA_LRP,
    TIBA_METHOD_LAST_TIBA_LRP,
    TIBA_METHOD_LRP_ROLLOUT,
    TIBA_METHOD_GENERIC,
    TIBA_METHOD_GRAD_X_INPUT,
    TIBA_METHOD_RANDOM
} tiba_method;

typedef struct tiba_method_facts {
    const char *name, *alias; /**< alias: in the paper's code, "" if none */
    const char *summary;
    int per_class; /**< the result depends on the target */
    int to_input;  /**< a picture's result is per pixel */
    int signs;     /**< the result has both signs */
    int relevance; /**< it carries relevance by rules, which is conserved or not */
} tiba_method_facts;
/** False past the last method. `index` is a tiba_method. */
TIBA_API int tiba_method_at(tiba_method_facts *out, int index);

/** What one element of the explained output (in front of its final Softmax, LogSoftmax or Sigmoid)
 *  starts with, where a function of several elements is explained. */
typedef struct tiba_seed {
    int64_t element; /**< flat index */
    float gradient, relevance;
} tiba_seed;

/** What to explain; zero-initialise for the defaults. */
typedef struct tiba_request {
    int target_rank; /**< how many of `target` are given; 0: the arg-max over the last axis */
    int64_t target[TIBA_MAX_RANK]; /**< index into the output, with or without the sample index in
                                        front; without it every sample is explained */
    tiba_rollout rollout;
    int start_layer; /**< the first attentions that are left out of the rollout */
    int blocks;      /**< not 0: keep the E_b of every attention */
    int keep_sign; /**< not 0: E_b keeps its sign instead of max(0, …); not the paper's method */
    int n_seeds;   /**< not 0: start from these seeds instead of 1 at one element; the caller's
                        gradient and relevance of a scalar made of several elements */
    const tiba_seed *seeds;
    const int64_t *samples; /**< [towers] which sample of its input each tower shows, -1 or NULL:
                               the one that the target reads. For scalars that read several */
    tiba_method method;     /**< 0: TiBA. rollout, start_layer and blocks are for rollouts */
} tiba_request;

/** One tower's token relevance. All arrays belong to the result and have `samples` in front. */
typedef struct tiba_tower {
    const char *input; /**< name of the graph input that feeds the tower, "" if unknown */
    int is_image;      /**< the tokens are patches */
    int64_t samples, tokens;
    int64_t rows, columns;  /**< of the patch grid; 0 if there is none */
    int64_t prefix;         /**< tokens in front of the patches: class, distillation, registers */
    const float *relevance; /**< [samples, tokens] */
    const float *readout;   /**< [samples, readout_tokens] w_t: what the target reads, sum 1 */
    int64_t readout_tokens; /**< `tokens`, or fewer where tokens merge on the way (Swin) */
    int n_blocks;
    const float *const *blocks; /**< [n_blocks] of E_b [samples, tokens, tokens]; NULL unless asked
                                     for, and where tokens move or merge */
    const int64_t *sample;      /**< [samples] which sample of the input each one is */
    const double *relevance_in; /**< [samples] relevance that arrives at the readout, summed over
                                     tokens: 1 where it is conserved, shared by several towers */
    int nested; /**< the target reads the tower only by way of another one's readout (a decoder's),
                   or all of its tokens are made of what another one's readout holds,
                   or they have one readout, so that its relevance_in is a part of that one's */
    const int64_t *not_finite;     /**< [samples] how many of the attentions' values that the method
                                        read are NaN or infinite: a sound graph has none */
    int64_t map_rows, map_columns; /**< of `map`; 0 if there is none */
    const float *map; /**< [samples, map_rows, map_columns] of a picture: the patches' relevance, or
                           the pixels' of methods that go to the input (`relevance` then has the
                           patches' sums) */
    const char *note; /**< what is to be known of the result, NULL if nothing */
    /** Where each token comes from, NULL where a grid says so or nobody knows: [tokens] names of
     *  graph inputs, NULL for a class token and the like; [tokens] places along the input's tokens,
     *  -1: none, or several (frames). */
    const char *const *origins;
    const int64_t *places;
} tiba_tower;

/** The scalar that was explained. */
typedef struct tiba_target {
    int output;
    int rank;
    int64_t index[TIBA_MAX_RANK];
    float logit; /**< its value, in front of a final Softmax, LogSoftmax or Sigmoid; NaN where seeds
                      were given */
} tiba_target;

typedef struct tiba_result tiba_result;

/** Explains one scalar of the run's output (one for each sample) by
 *  the request's method. `request` may be NULL.
 *  Destroy with tiba_result_destroy. */
TIBA_API tiba_status tiba_explain(tiba_result **out, tiba_run *run, const tiba_request *request,
                                  tiba_error *error);
/** Explains n requests of one run: out[i] is what tiba_explain gives for requests[i], the same
 *  bytes. What TiBA's passes share is worked out once, so that a further target costs less than the
 *  first. On failure every out[i] is NULL. */
TIBA_API tiba_status tiba_explain_several(tiba_result **out, tiba_run *run, int n,
                                          const tiba_request *requests, tiba_error *error);
TIBA_API void tiba_result_destroy(tiba_result *result);
TIBA_API int tiba_result_towers(const tiba_result *result);
TIBA_API const tiba_tower *tiba_result_tower(const tiba_result *result, int index);
TIBA_API int tiba_result_targets(const tiba_result *result);
TIBA_API const tiba_target *tiba_result_target(const tiba_result *result, int index);

#ifdef __cplusplus
}
#endif
#endif
