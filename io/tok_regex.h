/*
 * tok_regex.h: the regular expressions of tokenizer.json, which are written for Oniguruma, run by
 * PCRE2. A pattern is translated: character classes get the ranges of the library's Unicode
 * version, and a construct that means something else to PCRE2 is refused by name.
 */
#ifndef TB_IO_TOK_REGEX_H
#define TB_IO_TOK_REGEX_H

#include "io/tok_string.h"

typedef struct tb_regex tb_regex;

/** Compiles a pattern; the message of a failure says which construct is not supported. The
 *  caller frees it with tb_regex_destroy. */
tiba_status tb_regex_create(tb_regex **out, tb_budget *budget, const char *pattern, size_t size,
                            tiba_error *error);
void tb_regex_destroy(tb_regex *regex);

/** Fills work->matches with the matches, left to right, and what is between them. A pattern that
 *  needs too many steps is an error. */
tiba_status tb_regex_match(const tb_regex *regex, const tb_tok_string *string, tb_tok_work *work);

/** The translated pattern, for tests. */
tiba_status tb_regex_translate(char **out, tb_arena *arena, const char *pattern, size_t size,
                               tiba_error *error);

#endif
