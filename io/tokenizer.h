/*
 * tokenizer.h: text to token ids, as the tokenizer of the model's folder does it.
 *
 * A folder holds tokenizer.json, or vocab.txt, or vocab.json and merges.txt, with
 * tokenizer_config.json, special_tokens_map.json and config.json beside it, which override parts
 * of it as the transformers library does. What is not supported is refused by name.
 *
 *     tb_tokenizer *tokenizer;
 *     tb_encoding encoding;
 *     TB_TRY(tb_tokenizer_open(&tokenizer, folder, budget, error));
 *     TB_TRY(tb_tokenizer_encode(&encoding, tokenizer, arena, text, NULL, NULL, error));
 *     tb_tokenizer_close(tokenizer);
 *
 * A tokenizer does not change once it is open: several threads may encode with it.
 */
#ifndef TB_IO_TOKENIZER_H
#define TB_IO_TOKENIZER_H

#include "io/json.h"

typedef struct tb_tokenizer tb_tokenizer;

typedef enum tb_truncation {
    TB_TRUNCATE_NOT,
    TB_TRUNCATE_LONGEST_FIRST,
    TB_TRUNCATE_ONLY_FIRST,
    TB_TRUNCATE_ONLY_SECOND
} tb_truncation;

/** All zero: everything that the text gives, with special tokens. */
typedef struct tb_encode_options {
    tb_truncation truncation;
    int64_t max_length; /**< tokens, special ones included; 0: the model's */
    bool pad;           /**< to max_length */
    bool refuse_long;   /**< more tokens than max_length are an error, not a result */
} tb_encode_options;

/** Start and end. */
typedef struct tb_offsets {
    uint32_t start, end;
} tb_offsets;

/** `count` tokens. All arrays belong to the arena. */
typedef struct tb_encoding {
    size_t count;
    int64_t *ids, *type_ids, *attention_mask;
    int32_t *word_ids;        /**< -1: none; counted per text */
    int32_t *sequence_ids;    /**< 0 the text, 1 the pair, -1 neither */
    bool *special_tokens;     /**< put in by the template or by padding */
    tb_text *tokens;          /**< the vocabulary's form of the token */
    tb_offsets *offsets;      /**< code points of the text that the token comes from */
    tb_offsets *offsets_utf8; /**< bytes of that text */
} tb_encoding;

/** Opens a folder or a tokenizer.json. The budget (may be NULL) outlives the tokenizer. */
tiba_status tb_tokenizer_open(tb_tokenizer **out, const char *path, tb_budget *budget,
                              tiba_error *error);
/** Opens the text of a tokenizer.json alone, for tests. */
tiba_status tb_tokenizer_parse(tb_tokenizer **out, const char *text, size_t size, tb_budget *budget,
                               tiba_error *error);
void tb_tokenizer_close(tb_tokenizer *tokenizer);

/** Encodes a text and, if `pair` is not NULL and not empty, a second one. Texts are UTF-8 of at
 *  most 4 MiB each; invalid UTF-8 is an error. `options` may be NULL. */
tiba_status tb_tokenizer_encode(tb_encoding *out, const tb_tokenizer *tokenizer, tb_arena *arena,
                                tb_text text, const tb_text *pair, const tb_encode_options *options,
                                tiba_error *error);

/** The most tokens that the model takes; INT64_MAX if the folder does not say. */
int64_t tb_tokenizer_max_length(const tb_tokenizer *tokenizer);
/** Tokens of the vocabulary, added ones included: the largest id + 1. */
size_t tb_tokenizer_vocab_size(const tb_tokenizer *tokenizer);
/** The text of a token; "" if no token has this id. */
tb_text tb_tokenizer_token(const tb_tokenizer *tokenizer, int64_t id);
/** The padding token's id, or -1. */
int64_t tb_tokenizer_pad_id(const tb_tokenizer *tokenizer);

#endif
