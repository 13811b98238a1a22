/*
 * settings.h: what a long command was started with, as a text that results are kept with: they are
 * only gone on with by a run of the same program, model and options.
 */
#ifndef TB_TOOLS_SETTINGS_H
#define TB_TOOLS_SETTINGS_H

#include "tools/subject.h"

/** An option that changes no result. */
typedef struct tb_free_option {
    const char *name; /**< NULL ends a list */
    bool takes_value;
} tb_free_option;

/** Lines: the program's version, the SHA-256 of the model's files, the arguments without free
 * options. */
tiba_status tb_settings_text(char **out, tb_arena *arena, tb_subject *subject, int argc,
                             char **argv, const tb_free_option *free_ones, tiba_error *error);

#endif
