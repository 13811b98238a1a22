/*
 * words.h: a text's tokens and words with their values. A word's value is the sum of its pieces;
 * special tokens are kept apart: they are listed, but belong to no word and never scale a colour.
 */
#ifndef TB_TOOLS_WORDS_H
#define TB_TOOLS_WORDS_H

#include "io/tokenizer.h"

typedef struct tb_token_value {
    tb_text text; /**< the vocabulary's form */
    int64_t id;
    tb_offsets at, at_utf8; /**< code points and bytes of the text */
    bool special;
    int word; /**< index in words, -1: none */
    double value;
} tb_token_value;

typedef struct tb_word {
    tb_text text; /**< part of the text, without blanks around it */
    tb_offsets at, at_utf8;
    double value;
} tb_word;

typedef struct tb_words {
    const char *text;
    int n_tokens, n_words;
    tb_token_value *tokens;
    tb_word *words;
    double low, high; /**< of the words' values; 0 and 0 if there are none */
    double special;   /**< sum of the special tokens' values */
} tb_words;

/** `relevance` has one value for each of the encoding's tokens. Memory is the arena's; text and
 *  encoding are borrowed. */
tiba_status tb_words_make(tb_words *out, tb_arena *arena, const char *text,
                          const tb_encoding *encoding, const float *relevance, tiba_error *error);

/** Where a value stands on the scale: (v - low) / (high - low), or v / max |v| in [-1, 1] if
 *  `has_sign`. */
double tb_words_scaled(const tb_words *words, double value, bool has_sign);

#endif
