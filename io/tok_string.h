/*
 * tok_string.h: a text under normalisation that knows where each of its bytes comes from, and the
 * pieces that pre-tokenizers cut it into.
 *
 * A tb_tok_string is an immutable value: every change makes new buffers in the work's arena, so
 * slices share them. Alignments are byte ranges of the original text; all bytes of a character
 * have the same one. The rules by which changes move alignments are those of the Hugging Face
 * tokenizers library (NormalizedString), down to its odd cases: offsets are expected to be equal.
 */
#ifndef TB_IO_TOK_STRING_H
#define TB_IO_TOK_STRING_H

#include "base/memory.h"
#include "io/unicode.h"

typedef struct tb_span {
    uint32_t start, end;
} tb_span;

typedef struct tb_tok_string {
    const char *text;     /**< valid UTF-8, not NUL-terminated */
    const tb_span *align; /**< per byte of the text */
    uint32_t size;
    tb_span original; /**< the part of the original text that this string covers */
} tb_tok_string;

/** One token of a piece; offsets are bytes of the piece's text. */
typedef struct tb_tok_token {
    uint32_t id, start, end;
    uint32_t text_size;
    const char *text; /**< the vocabulary's or the piece's bytes */
} tb_tok_token;

typedef struct tb_tok_piece {
    tb_tok_string string;
    const tb_tok_token *tokens; /**< once tokenized */
    uint32_t token_count;
    bool tokenized;
} tb_tok_piece;

typedef struct tb_tok_pieces {
    tb_tok_piece *items;
    size_t count, capacity;
} tb_tok_pieces;

/** A character of a changed string: change 0 replaces the next old character, 1 is inserted,
 *  -n replaces the next old one and removes the n behind it. */
typedef struct tb_change {
    uint32_t c;
    int32_t change;
} tb_change;

/** A stretch of a string that a pattern matches, or the text between matches. */
typedef struct tb_match {
    uint32_t start, end;
    bool hit;
} tb_match;

/** What one call of the tokenizer allocates and reuses. */
typedef struct tb_tok_work {
    tb_arena *arena; /**< lives as long as the call */
    tb_budget *budget;
    tb_change *changes;
    size_t change_count, change_capacity;
    tb_match *matches;
    size_t match_count, match_capacity;
    tb_tok_token *tokens; /**< of the piece that the model works on */
    size_t token_count, token_capacity;
    void *scratch; /**< of the model */
    size_t scratch_size;
    tiba_error *error;
} tb_tok_work;

void tb_tok_work_free(tb_tok_work *work);
/** At least `size` bytes that stay until the next call; NULL if out of memory. */
void *tb_tok_scratch(tb_tok_work *work, size_t size);
tiba_status tb_tok_push_token(tb_tok_work *work, tb_tok_token token);
tiba_status tb_tok_push_match(tb_tok_work *work, size_t start, size_t end, bool hit);
tiba_status tb_tok_push_change(tb_tok_work *work, uint32_t c, int32_t change);
tiba_status tb_tok_push_piece(tb_tok_pieces *pieces, const tb_tok_piece *piece, tb_tok_work *work);

/** The string over a text that stays as it is. */
tiba_status tb_tok_string_create(tb_tok_string *out, const char *text, uint32_t size,
                                 tb_tok_work *work);
/** The part text[start … end). */
tb_tok_string tb_tok_slice(const tb_tok_string *string, size_t start, size_t end);
/** Where text[start … end) comes from. */
tb_span tb_tok_source(const tb_tok_string *string, size_t start, size_t end);

/** Replaces the whole string by work->changes; the first `initial` characters are removed. */
tiba_status tb_tok_transform(tb_tok_string *string, size_t initial, tb_tok_work *work);
/** Keeps what `keep` says. */
tiba_status tb_tok_filter(tb_tok_string *string, bool (*keep)(uint32_t c), tb_tok_work *work);
/** Puts `prefix` in front of a string that is not empty. */
tiba_status tb_tok_prepend(tb_tok_string *string, const char *prefix, size_t size,
                           tb_tok_work *work);
/** Replaces every hit of work->matches by `content`. */
tiba_status tb_tok_replace(tb_tok_string *string, const char *content, size_t size,
                           tb_tok_work *work);

typedef enum tb_split_behavior {
    TB_SPLIT_REMOVED,
    TB_SPLIT_ISOLATED,
    TB_SPLIT_MERGED_WITH_PREVIOUS,
    TB_SPLIT_MERGED_WITH_NEXT,
    TB_SPLIT_CONTIGUOUS
} tb_split_behavior;

/** Cuts the string at work->matches (inverted: at what is between them) and appends the pieces
 *  that are not empty. */
tiba_status tb_tok_split(tb_tok_pieces *out, const tb_tok_string *string,
                         tb_split_behavior behavior, bool invert, tb_tok_work *work);

/** Fills work->matches: every character of the class is a hit of its own. */
tiba_status tb_tok_match_class(const tb_tok_string *string, bool (*in)(uint32_t c),
                               tb_tok_work *work);
/** … every occurrence of a literal, left to right. An empty literal matches nothing. */
tiba_status tb_tok_match_literal(const tb_tok_string *string, const char *literal, size_t size,
                                 tb_tok_work *work);

#endif
