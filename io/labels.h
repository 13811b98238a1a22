/*
 * labels.h: what a model folder's config.json says of the outputs: class names
 * (id2label), the kind of problem, the architecture.
 */
#ifndef TB_IO_LABELS_H
#define TB_IO_LABELS_H

#include "base/memory.h"

/** config.json's problem_type. */
typedef enum tb_problem {
    TB_PROBLEM_UNKNOWN,
    TB_PROBLEM_SINGLE_LABEL,
    TB_PROBLEM_MULTI_LABEL,
    TB_PROBLEM_REGRESSION
} tb_problem;

typedef struct tb_labels {
    int64_t count;      /**< 0: the folder has none */
    const char **names; /**< [count]; NULL where an index has no name */
    tb_problem problem;
    const char *architecture; /**< "BertForTokenClassification"; "" if it does not say */
} tb_labels;

/** Reads folder/config.json; no such file or no id2label is no error. Memory is the arena's. */
tiba_status tb_labels_read(tb_labels *out, tb_arena *arena, const char *folder, tiba_error *error);
/** The name of a class, or "class N" written into `text`. */
const char *tb_label(const tb_labels *labels, int64_t index, char *text, size_t capacity);
/** The class that `text` names: an index, a label (case does not matter), or an unambiguous part of
 *  one. TIBA_ERROR_USAGE with the labels that may be meant on a miss. */
tiba_status tb_label_find(int64_t *out, const tb_labels *labels, int64_t classes, const char *text,
                          tiba_error *error);

#endif
