/*
 * subject.h: what a command works on: a model with its companions, and inputs for it made from the
 * pictures, texts and arrays that a user names.
 */
#ifndef TB_TOOLS_SUBJECT_H
#define TB_TOOLS_SUBJECT_H

#include "io/labels.h"
#include "io/preprocess.h"
#include "io/tokenizer.h"

/** How inputs are made, where the folder does not say or a user wants it otherwise. */
typedef struct tb_subject_options {
    const char *tokenizer; /**< a tokenizer.json or folder; NULL: the model's folder */
    bool truncate;         /**< cut texts that are too long instead of refusing them */
    /** Settings of tb_preprocess_override, NULL where not given. */
    const char *size, *crop, *mean, *std, *resample, *layout;
} tb_subject_options;

/** The SHA-256 of a model's file. */
typedef struct tb_digest {
    const char *file;   /**< the .onnx file's path, or the external data's name in the model */
    const char *sha256; /**< 64 hexadecimal digits */
} tb_digest;

typedef struct tb_subject {
    tb_arena *arena;
    tiba_model *model;
    const char *path;   /**< of the .onnx file */
    const char *folder; /**< where its companions are */
    tb_labels labels;
    tb_subject_options options;
    int n_digests; /**< 0 until tb_subject_digests */
    tb_digest *digests;
    tb_tokenizer *tokenizer;    /**< opened when the first text comes; NULL until then */
    bool no_tokenizer;          /**< ids were to be read by one, and there is none that opens */
    struct tb_subject *partner; /**< the text encoder, where pictures and texts have a file each;
                                     this one is the picture encoder then. NULL: one graph */
} tb_subject;

/** Opens a .onnx file, or the model.onnx of a folder (also in its onnx/ sub-folder), or a folder's
 *  vision_model.onnx and text_model.onnx together. */
tiba_status tb_subject_open(tb_subject *out, const char *path, const tiba_options *options,
                            const tb_subject_options *how, tiba_error *error);
void tb_subject_close(tb_subject *subject);
/** Fills in the digests of the .onnx file (first) and its external data, once. */
tiba_status tb_subject_digests(tb_subject *subject, tiba_error *error);

/** Inputs for one run. Memory is the arena's. */
typedef struct tb_sample {
    int n_feeds;
    tiba_feed *feeds;
    int64_t given;     /**< samples that were given, where the model takes more at once and the last
                            one fills the other places; 0: all are */
    int64_t text_rows; /**< of the ids: n_texts, or more */
    const char *image_input; /**< graph input that the picture went to, NULL if none */
    const char *picture_path;
    tb_picture picture; /**< upright */
    tb_geometry geometry;
    float black[3];         /**< what a pixel of 0 becomes in each channel of the input */
    const char *guess;      /**< what was done without a preprocessing configuration, or NULL */
    const char *text_input; /**< graph input that the texts' ids went to, NULL if none */
    int n_texts;
    const char **texts;     /**< [n_texts] */
    tb_encoding *encodings; /**< [n_texts] without padding */
} tb_sample;

/** Makes feeds of `count` inputs as given on the command line: pictures, .txt files, texts, or
 *  NAME=FILE.npy for a graph input. Several texts make a batch. Inputs that follow from others
 * (attention_mask, token_type_ids, position_ids) are filled in. An input that is still missing is
 * an error that names it. */
tiba_status tb_subject_sample(tb_sample *out, tb_subject *subject, tb_arena *arena, int count,
                              const char *const *inputs, tiba_error *error);
/** The same with `n_texts` inputs that are texts whatever they look like, behind the others. */
tiba_status tb_subject_sample_texts(tb_sample *out, tb_subject *subject, tb_arena *arena, int count,
                                    const char *const *inputs, int n_texts,
                                    const char *const *texts, tiba_error *error);
/** The text of an id of graph input `input`, by the folder's tokenizer; "" where the input takes no
 *  text, or there is no tokenizer or no such token. */
tb_text tb_subject_token(tb_subject *subject, const char *input, int64_t id);
/** Refuses options for pictures or texts where there are none: they would do nothing. */
tiba_status tb_subject_check(const tb_subject *subject, bool pictures, bool texts,
                             tiba_error *error);
/** Whether a graph has an output of that name. */
bool tb_has_output(const tiba_model *model, const char *name);
/** Whether an input as given on the command line is a picture file. */
bool tb_is_picture_name(const char *text);

#endif
