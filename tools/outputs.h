/*
 * outputs.h: the files that a command leaves behind, all or none. Files are collected in memory,
 * staged beside their destinations and renamed together at the end, so a failed run leaves no
 * output behind and no old one damaged.
 */
#ifndef TB_TOOLS_OUTPUTS_H
#define TB_TOOLS_OUTPUTS_H

#include "base/file.h"

typedef struct tb_output {
    const char *path; /**< "-": standard output */
    const void *data;
    size_t size;
    char *temporary;
    struct tb_output *next;
} tb_output;

typedef struct tb_outputs {
    tb_arena *arena;
    tb_output *first, *last;
    const char *folder; /**< made if it is not there; NULL: none */
} tb_outputs;

/** Adds a file; `path` and `data` must live until the commit. */
tiba_status tb_outputs_add(tb_outputs *outputs, const char *path, const void *data, size_t size,
                           tiba_error *error);
/** Writes them all. */
tiba_status tb_outputs_commit(tb_outputs *outputs, tiba_error *error);

#endif
