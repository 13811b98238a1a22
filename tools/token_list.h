/*
 * token_list.h: the tokens of a tower whose input was given as an array, with their values. There
 * are no words to mark and no picture to lay a map over, so they are named by where they come from.
 */
#ifndef TB_TOOLS_TOKEN_LIST_H
#define TB_TOOLS_TOKEN_LIST_H

#include "tools/subject.h"

typedef struct tb_listed_token {
    const char *name; /**< "token 3, id 101 [CLS]", "row 2, column 5", "'age'" */
    double value;
    bool read; /**< of the few that the score reads: most of its value is its own, of the readout */
} tb_listed_token;

typedef struct tb_token_list {
    const char *title;             /**< the tower's input, or more */
    int64_t rows, columns, prefix; /**< of the patch grid, as in tiba_tower */
    int64_t n;
    tb_listed_token *tokens; /**< [n] in their order */
    int64_t *order;          /**< [n] largest magnitude first */
    bool has_read;           /**< there is a token that is read */
    double most;             /**< largest magnitude of those that are not read; 0: none */
} tb_token_list;

/** Sample `at` of the tower's arrays; ids are the sample's feeds'. Memory is the arena's. */
tiba_status tb_token_list_make(tb_token_list *out, tb_arena *arena, tb_subject *subject,
                               const tb_sample *sample, const tiba_tower *tower, int64_t at,
                               tiba_error *error);

/** Where the token's value stands among those that are not read: [-1, 1]. */
double tb_token_list_scaled(const tb_token_list *list, int64_t token);

#endif
