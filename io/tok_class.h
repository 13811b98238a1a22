/*
 * tok_class.h: what the tokenizer classes of transformers set by themselves, apart from the files
 * of a folder: default special tokens, what they override in tokenizer.json, and what they build
 * from vocab.txt or merges.txt. One row a class.
 */
#ifndef TB_IO_TOK_CLASS_H
#define TB_IO_TOK_CLASS_H

#include <stdbool.h>

/** The named special tokens, in transformers' order. */
enum { TB_BOS, TB_EOS, TB_UNK, TB_SEP, TB_PAD, TB_CLS, TB_MASK, TB_SPECIAL_COUNT };
extern const char *const tb_special_names[TB_SPECIAL_COUNT]; /**< "bos_token", … */

typedef enum tb_class_override {
    TB_OVERRIDE_NONE,
    TB_OVERRIDE_BERT,    /**< do_lower_case, strip_accents, tokenize_chinese_chars */
    TB_OVERRIDE_MPNET,   /**< the first two */
    TB_OVERRIDE_ROBERTA, /**< trim_offsets and add_prefix_space of the post-processor */
    TB_OVERRIDE_BOS_EOS  /**< a template from add_bos_token and add_eos_token */
} tb_class_override;

typedef enum tb_class_files {
    TB_FILES_NONE, /**< needs tokenizer.json */
    TB_FILES_BERT, /**< vocab.txt */
    TB_FILES_MPNET,
    TB_FILES_GPT2, /**< vocab.json and merges.txt */
    TB_FILES_ROBERTA,
    TB_FILES_DEBERTA,
    TB_FILES_CLIP,
    TB_FILES_QWEN2
} tb_class_files;

typedef struct tb_class {
    const char *name; /**< without "Fast" */
    const char *tokens[TB_SPECIAL_COUNT];
    tb_class_override override;
    tb_class_files files;
    enum { TB_MASK_PLAIN, TB_MASK_LSTRIP, TB_MASK_LSTRIP_RAW } mask;
    bool pad_left, add_prefix_space, add_bos;
    bool prefix_space_everywhere; /**< add_prefix_space reaches nested pre-tokenizers */
    bool extra_ids;               /**< <extra_id_0> … are special tokens */
    bool from_slow;               /**< add_prefix_space means a conversion from another file */
} tb_class;

/** The row of a class name, with or without "Fast"; NULL if there is none. */
const tb_class *tb_class_find(const char *name);
/** The row that config.json's model_type implies; NULL if none is known. */
const tb_class *tb_class_of_model(const char *model_type);
/** The class that only runs tokenizer.json. */
const tb_class *tb_class_plain(void);

#endif
