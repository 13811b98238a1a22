/*
 * tok_core.h: the tokenizer object, shared by the files that read it (tok_file.c, tok_folder.c)
 * and the one that runs it (tokenizer.c).
 */
#ifndef TB_IO_TOK_CORE_H
#define TB_IO_TOK_CORE_H

#include "io/tok_parts.h"
#include "io/tokenizer.h"

/** A token that is found in the text before the model sees it. */
typedef struct tb_added_token {
    tb_text content;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
    bool listed_special; /**< has been special once */
    bool raw, cooked;    /**< looked for in the raw text, in the normalised text */
} tb_added_token;

typedef struct tb_added_tokens {
    tb_added_token *items;
    size_t count, capacity;
    uint32_t largest;   /**< id; valid if count > 0 */
    tb_trie by_content; /**< value: index */
    tb_trie raw, cooked;
    size_t longest; /**< bytes of the longest content */
} tb_added_tokens;

/** One item of a template. */
typedef struct tb_template_item {
    enum { TB_ITEM_A, TB_ITEM_B, TB_ITEM_TOKEN } kind;
    uint32_t type_id, token_id;
    tb_text token;
} tb_template_item;

typedef struct tb_template {
    tb_template_item *items;
    size_t count;
} tb_template;

typedef struct tb_post_processor {
    bool trim_offsets, add_prefix_space; /**< take white space out of the offsets */
    bool has_template;                   /**< else A:0, or A:0 B:1 */
    const char *type;                    /**< the outermost type, NULL: none */
    tb_template single, pair;
} tb_post_processor;

struct tb_tokenizer {
    tb_arena *arena;
    tb_regex_list *regexes;
    tb_normalizer normalizer;
    tb_pre_tokenizer pre_tokenizer;
    tb_model model;
    tb_post_processor post;
    tb_added_tokens added;
    int64_t max_length; /**< INT64_MAX: none */
    bool truncate_left, pad_left;
    bool has_pad;
    uint32_t pad_id;
    tb_text pad_token;
};

/** Limits of what is read. */
enum { TB_TOK_MAX_ADDED_BYTES = 1024 };

/** An empty tokenizer; NULL if out of memory. */
tb_tokenizer *tb_tokenizer_create(tb_budget *budget);

/** Reads the parts of a tokenizer.json. */
tiba_status tb_tokenizer_read_json(tb_tokenizer *tokenizer, const tb_json *root, tiba_error *error);
/** Checks ids against the vocabulary. The last step of opening. */
tiba_status tb_tokenizer_check(const tb_tokenizer *tokenizer, tiba_error *error);

/** Adds a token as the library does: one that the vocabulary has keeps that id, another gets the
 *  next free one; a known one takes the new flags. */
tiba_status tb_added_tokens_add(tb_tokenizer *tokenizer, const tb_added_token *token,
                                tiba_error *error);
/** The added token with this content, or NULL. */
const tb_added_token *tb_added_tokens_find(const tb_added_tokens *added, tb_text content);
/** Reads the flags and content of {"content": …, "lstrip": …}. */
tiba_status tb_added_token_read(tb_added_token *out, tb_arena *arena, const tb_json *json,
                                tiba_error *error);
/** Builds what searches for added tokens. Their normalised forms are those of the normaliser as it
 *  is now: transformers' overrides of it come later and do not reach them. */
tiba_status tb_added_tokens_prepare(tb_tokenizer *tokenizer, tiba_error *error);
/** Cuts one untouched text into pieces: added tokens, and normalised text between them. */
tiba_status tb_added_tokens_split(const tb_tokenizer *tokenizer, tb_tok_pieces *pieces,
                                  tb_tok_work *work);
void tb_added_tokens_destroy(tb_added_tokens *added);

/** The id of a token of the whole vocabulary, or TB_NO_ID. */
uint32_t tb_tokenizer_id(const tb_tokenizer *tokenizer, tb_text token);

tiba_status tb_post_processor_parse(tb_tokenizer *tokenizer, const tb_json *json,
                                    tiba_error *error);
/** Appends an item to a template. */
tiba_status tb_template_add(tb_template *out, tb_arena *arena, const tb_template_item *item,
                            tiba_error *error);
/** "cls A sep" and "cls A sep [sep] B sep", B of type `pair_type`. */
tiba_status tb_post_processor_set(tb_post_processor *post, tb_arena *arena, tb_text cls,
                                  uint32_t cls_id, tb_text sep, uint32_t sep_id, bool two_seps,
                                  uint32_t pair_type, tiba_error *error);

/** A folder without tokenizer.json, and transformers' overrides of one that has it. */
tiba_status tb_tokenizer_read_folder(tb_tokenizer *tokenizer, const char *folder,
                                     tiba_error *error);

#endif
