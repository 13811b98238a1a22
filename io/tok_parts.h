/*
 * tok_parts.h: the parts that a tokenizer.json is made of: normalizers, pre-tokenizers, models and
 * post-processors. Each kind has a table with one row per type: its name, and what reads it.
 * Sequences are flattened, so a tokenizer holds plain lists of steps. A type, field or value that
 * is not in the tables is refused by name.
 */
#ifndef TB_IO_TOK_PARTS_H
#define TB_IO_TOK_PARTS_H

#include "io/json.h"
#include "io/tok_regex.h"
#include "io/tok_string.h"
#include "io/tok_vocab.h"

/** Steps of a normalizer or pre-tokenizer. */
enum { TB_TOK_MAX_STEPS = 100 };

/** Regular expressions do not live in the arena: the list frees them. */
typedef struct tb_regex_list {
    tb_regex *regex;
    struct tb_regex_list *next;
} tb_regex_list;

/** What the reading of a tokenizer needs. */
typedef struct tb_tok_loader {
    tb_arena *arena; /**< of the tokenizer */
    tb_regex_list *regexes;
    tiba_error *error;
} tb_tok_loader;

typedef struct tb_normalizer_step {
    tiba_status (*apply)(const void *data, tb_tok_string *string, tb_tok_work *work);
    void *data;
} tb_normalizer_step;

typedef struct tb_pre_tokenizer_step {
    tiba_status (*split)(const void *data, tb_tok_string string, tb_tok_pieces *out,
                         tb_tok_work *work);
    void *data;
} tb_pre_tokenizer_step;

/** Steps in order; `type` is the outermost type's name. */
typedef struct tb_normalizer {
    const char *type;
    tb_normalizer_step *steps;
    size_t count;
} tb_normalizer;

typedef struct tb_pre_tokenizer {
    const char *type;
    tb_pre_tokenizer_step *steps;
    size_t count;
} tb_pre_tokenizer;

/** What transformers may override in a BertNormalizer. */
typedef struct tb_bert_normalizer {
    bool clean_text, handle_chinese_chars, lowercase;
    enum { TB_STRIP_NULL, TB_STRIP_NO, TB_STRIP_YES } strip_accents;
} tb_bert_normalizer;

/** What transformers may override in a pre-tokenizer of bytes. */
typedef struct tb_byte_level {
    bool add_prefix_space, use_regex;
} tb_byte_level;

tiba_status tb_normalizer_parse(tb_normalizer *out, tb_tok_loader *loader, const tb_json *json);
tiba_status tb_normalizer_apply(const tb_normalizer *normalizer, tb_tok_string *string,
                                tb_tok_work *work);

tiba_status tb_pre_tokenizer_parse(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                   const tb_json *json);
/** Cuts every piece that has no tokens yet. */
tiba_status tb_pre_tokenizer_apply(const tb_pre_tokenizer *pre_tokenizer, tb_tok_pieces *pieces,
                                   tb_tok_work *work);
/** Sets add_prefix_space of every step that splits bytes. */
void tb_pre_tokenizer_set_prefix_space(tb_pre_tokenizer *pre_tokenizer, bool on);

/** A normalizer of sentencepiece: replaces grapheme clusters or characters by way of a double
 *  array of `size` bytes. */
typedef struct tb_charsmap tb_charsmap;
tiba_status tb_charsmap_create(tb_charsmap **out, tb_tok_loader *loader, const tb_json *json);
tiba_status tb_charsmap_apply(const void *charsmap, tb_tok_string *string, tb_tok_work *work);

/** The character that stands for a byte in byte-level vocabularies. */
uint32_t tb_byte_level_char(unsigned char byte);
/** Replaces every byte of the string by its character. */
tiba_status tb_byte_level_encode(tb_tok_string *string, tb_tok_work *work);

/** A search for a string or regular expression in its JSON form. */
typedef struct tb_tok_pattern {
    tb_text literal;
    tb_regex *regex; /**< NULL: the literal */
} tb_tok_pattern;
tiba_status tb_tok_pattern_parse(tb_tok_pattern *out, tb_tok_loader *loader, const tb_json *json);
tiba_status tb_tok_pattern_match(const tb_tok_pattern *pattern, const tb_tok_string *string,
                                 tb_tok_work *work);

/** "type" of a component; an error names the place. */
tiba_status tb_part_type(const char **out, const tb_json *json, tiba_error *error);
/** Refuses members that are neither "type" nor in the space-separated list. */
tiba_status tb_part_members(const tb_json *json, const char *known, tiba_error *error);

/** A model: splits a piece's text into tokens of the vocabulary (pushed to the work). */
typedef struct tb_model {
    const char *type;
    tb_vocab vocab;
    tiba_status (*tokenize)(const void *data, const tb_vocab *vocab, const tb_tok_string *string,
                            tb_tok_work *work);
    void *data;
    tb_trie trie; /**< Unigram's; not in the arena */
} tb_model;

tiba_status tb_model_parse(tb_model *out, tb_tok_loader *loader, const tb_json *json);
void tb_model_destroy(tb_model *model);

/** The models whose vocabulary may come from a file of its own: it is in the model already. */
tiba_status tb_word_piece_create(tb_model *model, tb_tok_loader *loader, const char *unknown,
                                 const char *prefix, int64_t max_characters);
typedef struct tb_bpe_options {
    const char *unknown, *prefix, *suffix; /**< NULL: none */
    bool fuse_unknown, byte_fallback, ignore_merges;
} tb_bpe_options;
/** With room for `merges` merges, which are added next in the order of their ranks. */
tiba_status tb_bpe_create(tb_model *model, tb_tok_loader *loader, const tb_bpe_options *options,
                          size_t merges);
tiba_status tb_bpe_add_merge(tb_model *model, tb_text left, tb_text right, tiba_error *error);
/** The model types with much of their own to read. */
tiba_status tb_bpe_parse(tb_model *model, tb_tok_loader *loader, const tb_json *json);
tiba_status tb_unigram_parse(tb_model *model, tb_tok_loader *loader, const tb_json *json);
/** Reads {"text": id} into the model's vocabulary. */
tiba_status tb_model_read_vocab(tb_model *model, tb_tok_loader *loader, const tb_json *json);
/** "<0x0A>" and the like: the id of a byte's token, or TB_NO_ID. */
uint32_t tb_model_byte_id(const tb_vocab *vocab, unsigned char byte);

#endif
