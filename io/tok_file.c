/*
 * tok_file.c: tokenizer.json, and opening a tokenizer.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "io/tok_core.h"

static tiba_status read_added(tb_tokenizer *tokenizer, const tb_json *list, tiba_error *error) {
    if (tb_json_absent(list)) return TIBA_OK;
    TB_TRY(tb_json_need_array(list, error));
    for (tb_json item = {0}; tb_json_next(&item, list);) {
        tb_added_token token;
        int64_t id;
        TB_TRY(tb_part_members(&item, "id content single_word lstrip rstrip normalized special",
                               error));
        TB_TRY(tb_json_integer(&id, &item, "id", 0, INT32_MAX, error));
        TB_TRY(tb_added_token_read(&token, tokenizer->arena, &item, error));
        TB_TRY(tb_added_tokens_add(tokenizer, &token, error));
        /* The library numbers added tokens itself; an id far from that is a broken file. */
        if ((uint64_t)id > 2 * (uint64_t)tb_tokenizer_vocab_size(tokenizer) + 65536)
            return tb_json_fail(error, &item, "id %lld is far beyond the vocabulary of %zu",
                                (long long)id, tb_tokenizer_vocab_size(tokenizer));
    }
    return TIBA_OK;
}

tiba_status tb_tokenizer_read_json(tb_tokenizer *tokenizer, const tb_json *root,
                                   tiba_error *error) {
    tb_tok_loader loader = {tokenizer->arena, NULL, error};
    TB_TRY(tb_json_need_object(root, error));
    TB_TRY(tb_part_members(root,
                           "version truncation padding added_tokens normalizer pre_tokenizer "
                           "post_processor decoder model",
                           error));
    tb_json normalizer = tb_json_get(root, "normalizer"), model = tb_json_get(root, "model");
    tb_json pre_tokenizer = tb_json_get(root, "pre_tokenizer");
    tb_json post = tb_json_get(root, "post_processor"), added = tb_json_get(root, "added_tokens");
    tiba_status status = tb_normalizer_parse(&tokenizer->normalizer, &loader, &normalizer);
    if (status == TIBA_OK)
        status = tb_pre_tokenizer_parse(&tokenizer->pre_tokenizer, &loader, &pre_tokenizer);
    tokenizer->regexes = loader.regexes;
    TB_TRY(status);
    TB_TRY(tb_model_parse(&tokenizer->model, &loader, &model));
    TB_TRY(read_added(tokenizer, &added, error));
    return tb_post_processor_parse(tokenizer, &post, error);
}

tiba_status tb_tokenizer_parse(tb_tokenizer **out, const char *text, size_t size, tb_budget *budget,
                               tiba_error *error) {
    tb_json root;
    *out = NULL;
    tb_tokenizer *tokenizer = tb_tokenizer_create(budget);
    tb_arena *arena = tb_arena_create(budget);
    tiba_status status = tokenizer && arena ? TIBA_OK : tb_out_of_memory(error);
    if (status == TIBA_OK)
        status = tb_json_parse(&root, arena, "tokenizer.json", text, size, NULL, error);
    if (status == TIBA_OK) status = tb_tokenizer_read_json(tokenizer, &root, error);
    if (status == TIBA_OK) status = tb_added_tokens_prepare(tokenizer, error);
    if (status == TIBA_OK) status = tb_tokenizer_check(tokenizer, error);
    tb_arena_destroy(arena);
    if (status == TIBA_OK)
        *out = tokenizer;
    else
        tb_tokenizer_close(tokenizer);
    return status;
}

tiba_status tb_tokenizer_open(tb_tokenizer **out, const char *path, tb_budget *budget,
                              tiba_error *error) {
    *out = NULL;
    if (!tb_is_folder(path)) {
        tb_file file;
        TB_TRY(tb_file_open(&file, path, error));
        tiba_status status =
            tb_tokenizer_parse(out, (const char *)file.data, file.size, budget, error);
        tb_file_close(&file);
        return status;
    }
    tb_tokenizer *tokenizer = tb_tokenizer_create(budget);
    if (!tokenizer) return tb_out_of_memory(error);
    tiba_status status = tb_tokenizer_read_folder(tokenizer, path, error);
    if (status == TIBA_OK) status = tb_tokenizer_check(tokenizer, error);
    if (status == TIBA_OK)
        *out = tokenizer;
    else
        tb_tokenizer_close(tokenizer);
    return status;
}
