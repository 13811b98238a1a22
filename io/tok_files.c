/*
 * tok_files.c: see tok_files.h. What a class builds is written down in the form of
 * tokenizer.json and read by the same code.
 */
#include "io/tok_files.h"

#include <string.h>

#include "base/file.h"

#define BYTE_LEVEL                                                                                 \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":"

static const struct recipe {
    const char *normalizer, *pre_tokenizer;
    const char *suffix; /* of the last symbol of a word */
    bool unknown;       /* the model has an unknown token */
    size_t most_merges; /* 0: all */
} recipes[] = {
    [TB_FILES_BERT] = {"{\"type\":\"BertNormalizer\"}", "{\"type\":\"BertPreTokenizer\"}", NULL,
                       true, 0},
    [TB_FILES_MPNET] = {"{\"type\":\"BertNormalizer\"}", "{\"type\":\"BertPreTokenizer\"}", NULL,
                        true, 0},
    [TB_FILES_GPT2] = {"null", BYTE_LEVEL "true}", NULL, false, 0},
    [TB_FILES_ROBERTA] = {"null", BYTE_LEVEL "true}", NULL, false, 0},
    [TB_FILES_DEBERTA] = {"null", BYTE_LEVEL "true}", NULL, false, 0},
    [TB_FILES_CLIP] = {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":"
                       "\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},"
                       "{\"type\":\"Lowercase\"}]}",
                       "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
                       "{\"Regex\":\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|"
                       "[^\\\\s\\\\p{L}\\\\p{N}]+\"},\"behavior\":\"Removed\",\"invert\":true}," //
                       BYTE_LEVEL "true}]}",
                       "</w>", true, 49152 - 256 - 2},
    [TB_FILES_QWEN2] =
        {"{\"type\":\"NFC\"}",
         "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
         "{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"
         "\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|"
         "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\"}," //
         BYTE_LEVEL "false}]}",
         NULL, false, 0},
};

tiba_status tb_bert_settings(tb_bert_normalizer *out, const tb_json *config, tiba_error *error) {
    tb_json accents = tb_json_get(config, "strip_accents");
    bool strip;
    TB_TRY(tb_json_bool_or(&out->lowercase, config, "do_lower_case", true, error));
    TB_TRY(
        tb_json_bool_or(&out->handle_chinese_chars, config, "tokenize_chinese_chars", true, error));
    TB_TRY(tb_json_bool_or(&strip, config, "strip_accents", false, error));
    out->clean_text = true;
    out->strip_accents = tb_json_absent(&accents) ? TB_STRIP_NULL
                         : strip                  ? TB_STRIP_YES
                                                  : TB_STRIP_NO;
    return TIBA_OK;
}

/* Lines of a text file, without their ends (LF, CR LF or CR). */
typedef struct lines {
    const char *text;
    size_t size, at;
} lines;

static bool next_line(tb_text *out, lines *l) {
    if (l->at >= l->size) return false;
    size_t start = l->at;
    while (l->at < l->size && l->text[l->at] != '\n' && l->text[l->at] != '\r') l->at++;
    *out = (tb_text){l->text + start, l->at - start};
    if (l->at < l->size && l->text[l->at++] == '\r' && l->at < l->size && l->text[l->at] == '\n')
        l->at++;
    return true;
}

static size_t count_lines(lines l) {
    size_t count = 0;
    for (tb_text line; next_line(&line, &l);) count++;
    return count;
}

static tiba_status open_lines(lines *out, tb_file *file, const char *path, tiba_error *error) {
    size_t bad;
    TB_TRY(tb_file_open(file, path, error));
    *out = (lines){(const char *)file->data, file->size, 0};
    if (file->size > (size_t)64 << 20)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: %zu bytes, more than 64 MiB", path,
                       file->size);
    if (!tb_utf8_valid(file->data, file->size, &bad))
        return tb_fail(error, TIBA_ERROR_INPUT, "%s: invalid UTF-8 at byte %zu", path, bad);
    return TIBA_OK;
}

/* vocab.txt: a token a line; its id is the line's number, of the last line if there are two. */
static tiba_status read_vocab_lines(tb_tokenizer *t, lines l, tiba_error *error) {
    size_t count = count_lines(l);
    uint32_t id = 0;
    if (count > 4u << 20)
        return tb_fail(error, TIBA_ERROR_INPUT, "vocab.txt: %zu lines, more than 4 million", count);
    TB_TRY(tb_vocab_create(&t->model.vocab, t->arena, count, count, error));
    for (tb_text line; next_line(&line, &l); id++)
        TB_TRY(tb_vocab_add(&t->model.vocab, t->arena, line, id, error));
    return TIBA_OK;
}

/* merges.txt: a line that says the version, then two texts with a space between a line. */
static tiba_status read_merge_lines(tb_tokenizer *t, lines l, size_t most, tiba_error *error) {
    tb_text line;
    if (!next_line(&line, &l)) return TIBA_OK;
    for (size_t number = 2; next_line(&line, &l) && (most == 0 || number - 2 < most); number++) {
        const char *space = memchr(line.data, ' ', line.size);
        size_t first = space ? (size_t)(space - line.data) : 0;
        if (line.size == 0 && l.at >= l.size) break;
        if (!space || first == 0 || first + 1 == line.size ||
            memchr(space + 1, ' ', line.size - first - 1))
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "merges.txt: line %zu is not two texts with a space between", number);
        tiba_status status = tb_bpe_add_merge(&t->model, (tb_text){line.data, first},
                                              (tb_text){space + 1, line.size - first - 1}, error);
        if (status != TIBA_OK) return tb_error_prefix(error, status, "merges.txt");
    }
    return TIBA_OK;
}

static tiba_status build_word_piece(tb_tokenizer *t, tb_tok_loader *loader, tb_arena *arena,
                                    const char *folder, tb_text unknown) {
    tb_file file;
    lines l;
    const char *path = tb_path_join(arena, folder, "vocab.txt");
    const char *name = tb_arena_strndup(arena, unknown.data ? unknown.data : "", unknown.size);
    if (!path || !name) return tb_out_of_memory(loader->error);
    if (!tb_is_file(path))
        return tb_fail(loader->error, TIBA_ERROR_INPUT,
                       "%s: no tokenizer.json and no vocab.txt in the folder", folder);
    tiba_status status = open_lines(&l, &file, path, loader->error);
    if (status == TIBA_OK) status = read_vocab_lines(t, l, loader->error);
    tb_file_close(&file);
    TB_TRY(status);
    return tb_word_piece_create(&t->model, loader, name, "##", 100);
}

static tiba_status build_bpe(tb_tokenizer *t, tb_tok_loader *loader, tb_arena *arena,
                             const char *folder, const struct recipe *recipe, tb_text unknown) {
    tb_file file;
    tb_json vocab;
    lines l;
    const char *path = tb_path_join(arena, folder, "vocab.json");
    const char *merges = tb_path_join(arena, folder, "merges.txt");
    const char *name = tb_arena_strndup(arena, unknown.data ? unknown.data : "", unknown.size);
    if (!path || !merges || !name) return tb_out_of_memory(loader->error);
    if (!tb_is_file(path) || !tb_is_file(merges))
        return tb_fail(loader->error, TIBA_ERROR_INPUT,
                       "%s: no tokenizer.json, and no vocab.json with merges.txt in the folder",
                       folder);
    TB_TRY(tb_json_read(&vocab, arena, path, NULL, loader->error));
    TB_TRY(tb_model_read_vocab(&t->model, loader, &vocab));
    tiba_status status = open_lines(&l, &file, merges, loader->error);
    tb_bpe_options options = {.unknown = recipe->unknown ? name : NULL, .suffix = recipe->suffix};
    if (status == TIBA_OK) status = tb_bpe_create(&t->model, loader, &options, count_lines(l));
    if (status == TIBA_OK) status = read_merge_lines(t, l, recipe->most_merges, loader->error);
    tb_file_close(&file);
    return status;
}

static tiba_status build_parts(tb_tokenizer *t, tb_tok_loader *loader, tb_arena *arena,
                               const struct recipe *recipe) {
    tb_json normalizer, pre_tokenizer;
    TB_TRY(tb_json_parse(&normalizer, arena, "normalizer", recipe->normalizer,
                         strlen(recipe->normalizer), NULL, loader->error));
    TB_TRY(tb_json_parse(&pre_tokenizer, arena, "pre_tokenizer", recipe->pre_tokenizer,
                         strlen(recipe->pre_tokenizer), NULL, loader->error));
    TB_TRY(tb_normalizer_parse(&t->normalizer, loader, &normalizer));
    return tb_pre_tokenizer_parse(&t->pre_tokenizer, loader, &pre_tokenizer);
}

tiba_status tb_files_build(tb_tokenizer *t, const char *folder, const tb_class *class,
                           const tb_json *config, const tb_text tokens[TB_SPECIAL_COUNT],
                           tiba_error *error) {
    if (class->files == TB_FILES_NONE)
        return tb_fail(error, TIBA_ERROR_INPUT,
                       "%s: no tokenizer.json in the folder, which %s needs", folder, class->name);
    const struct recipe *recipe = &recipes[class->files];
    tb_tok_loader loader = {t->arena, NULL, error};
    tb_arena *arena = tb_arena_create(tb_arena_budget(t->arena));
    if (!arena) return tb_out_of_memory(error);
    bool word_piece = class->files == TB_FILES_BERT || class->files == TB_FILES_MPNET;
    tiba_status status = build_parts(t, &loader, arena, recipe);
    t->regexes = loader.regexes;
    if (status == TIBA_OK && word_piece)
        status = tb_bert_settings(t->normalizer.steps[0].data, config, error);
    if (status == TIBA_OK)
        status = word_piece ? build_word_piece(t, &loader, arena, folder, tokens[TB_UNK])
                            : build_bpe(t, &loader, arena, folder, recipe, tokens[TB_UNK]);
    tb_arena_destroy(arena);
    return status;
}

/* "bos A" and "bos A B:1". */
static tiba_status begin_with(tb_tokenizer *t, tb_text bos, const tb_class *class,
                              tiba_error *error) {
    if (!bos.data)
        return tb_fail(error, TIBA_ERROR_INPUT, "tokenizer_config.json: %s needs a bos_token",
                       class->name);
    const tb_template_item items[] = {{TB_ITEM_TOKEN, 0, tb_tokenizer_id(t, bos), bos},
                                      {TB_ITEM_A, 0, 0, {"", 0}},
                                      {TB_ITEM_B, 1, 0, {"", 0}}};
    t->post.type = "TemplateProcessing";
    t->post.has_template = true;
    for (int i = 0; i < 3; i++) {
        if (i < 2) TB_TRY(tb_template_add(&t->post.single, t->arena, &items[i], error));
        TB_TRY(tb_template_add(&t->post.pair, t->arena, &items[i], error));
    }
    return TIBA_OK;
}

tiba_status tb_files_template(tb_tokenizer *t, const tb_class *class, const tb_json *config,
                              const tb_text tokens[TB_SPECIAL_COUNT], tiba_error *error) {
    bool bos = false;
    tb_text cls = tokens[TB_CLS], sep = tokens[TB_SEP];
    tb_class_files files = class->files;
    TB_TRY(tb_json_bool_or(&bos, config, "add_bos_token", false, error));
    if (files == TB_FILES_CLIP) {
        cls = tokens[TB_BOS];
        sep = tokens[TB_EOS];
    }
    bool plain = files == TB_FILES_GPT2 || files == TB_FILES_QWEN2;
    if (plain && !(bos && files == TB_FILES_GPT2)) {
        t->post.type = "ByteLevel";
        return TIBA_OK;
    }
    if (plain) return begin_with(t, tokens[TB_BOS], class, error);
    if (!cls.data || !sep.data)
        return tb_fail(error, TIBA_ERROR_INPUT, "tokenizer_config.json: %s needs %s", class->name,
                       cls.data ? "a sep_token" : "a cls_token");
    bool two = files == TB_FILES_ROBERTA || files == TB_FILES_CLIP || files == TB_FILES_MPNET;
    bool roberta = files == TB_FILES_ROBERTA || files == TB_FILES_CLIP;
    t->post.type = roberta ? "RobertaProcessing" : "TemplateProcessing";
    t->post.trim_offsets = files == TB_FILES_ROBERTA;
    return tb_post_processor_set(&t->post, t->arena, cls, tb_tokenizer_id(t, cls), sep,
                                 tb_tokenizer_id(t, sep), two, roberta ? 0 : 1, error);
}
