/*
 * tok_files.h: tokenizers from vocab.txt, or from vocab.json and merges.txt: what transformers
 * converts them into. Used by tok_folder.c.
 */
#ifndef TB_IO_TOK_FILES_H
#define TB_IO_TOK_FILES_H

#include "io/tok_class.h"
#include "io/tok_core.h"

/** do_lower_case, strip_accents and tokenize_chinese_chars of a tokenizer_config.json. */
tiba_status tb_bert_settings(tb_bert_normalizer *out, const tb_json *config, tiba_error *error);

/** Reads the class's files and builds model, normaliser and pre-tokenizer. `tokens` are the
 *  special tokens in the order of tok_class.h (data NULL: none). */
tiba_status tb_files_build(tb_tokenizer *tokenizer, const char *folder, const tb_class *class,
                           const tb_json *config, const tb_text tokens[TB_SPECIAL_COUNT],
                           tiba_error *error);
/** The post-processor, once the special tokens have ids. */
tiba_status tb_files_template(tb_tokenizer *tokenizer, const tb_class *class, const tb_json *config,
                              const tb_text tokens[TB_SPECIAL_COUNT], tiba_error *error);

#endif
