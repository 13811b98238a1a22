/*
 * tok_folder.c: a folder's tokenizer_config.json, special_tokens_map.json, added_tokens.json and
 * config.json, and what transformers (4.57) makes of them: which class it is, its special tokens,
 * and what it overrides in the parts that tokenizer.json or the vocabulary files gave.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "io/tok_class.h"
#include "io/tok_core.h"
#include "io/tok_files.h"

/* A special token by name: where it comes from decides which of its flags count. */
typedef struct special {
    bool there, object; /* object: has flags of its own */
    tb_added_token token;
} special;

typedef struct reader {
    tb_tokenizer *t;
    tb_arena *arena; /* of the JSON documents */
    const char *folder;
    tb_json tokenizer, config, map, added, model;
    const tb_class *class;
    special specials[TB_SPECIAL_COUNT];
    tiba_error *error;
} reader;

static tiba_status read_file(tb_json *out, reader *r, const char *name) {
    *out = (tb_json){.key = name, .index = -1};
    const char *path = tb_path_join(r->arena, r->folder, name);
    if (!path) return tb_out_of_memory(r->error);
    if (!tb_is_file(path)) return TIBA_OK;
    TB_TRY(tb_json_read(out, r->arena, path, NULL, r->error));
    return tb_json_need_object(out, r->error);
}

static tiba_status find_class(reader *r) {
    const char *name, *model_type;
    TB_TRY(tb_json_string_or(&name, &r->config, "tokenizer_class", NULL, r->error));
    if (!name) TB_TRY(tb_json_string_or(&name, &r->model, "tokenizer_class", NULL, r->error));
    TB_TRY(tb_json_string_or(&model_type, &r->model, "model_type", NULL, r->error));
    if (name) {
        r->class = tb_class_find(name);
        if (!r->class)
            return tb_fail(r->error, TIBA_ERROR_INPUT, "tokenizer class \"%.64s\" is not supported",
                           name);
        return TIBA_OK;
    }
    r->class = model_type ? tb_class_of_model(model_type) : NULL;
    if (!r->class) r->class = tb_class_plain();
    return TIBA_OK;
}

/* Special tokens. */

/* A string, or an object with flags. */
static tiba_status read_token(special *out, reader *r, const tb_json *value) {
    *out = (special){0};
    if (tb_json_absent(value)) return TIBA_OK;
    out->there = true;
    if (tb_json_kind_of(value) == TB_JSON_OBJECT) {
        out->object = true;
        return tb_added_token_read(&out->token, r->arena, value, r->error);
    }
    return tb_json_as_text(&out->token.content, r->arena, value, r->error);
}

/* What the list of added tokens, in whichever file, says of a content. */
static tiba_status take_listed_flags(special *s, reader *r) {
    tb_json decoder = tb_json_get(&r->config, "added_tokens_decoder");
    tb_json list = tb_json_absent(&decoder) ? tb_json_get(&r->tokenizer, "added_tokens") : decoder;
    for (tb_json item = {0}; tb_json_next(&item, &list);) {
        tb_added_token token;
        TB_TRY(tb_added_token_read(&token, r->arena, &item, r->error));
        if (token.content.size != s->token.content.size ||
            memcmp(token.content.data, s->token.content.data, token.content.size) != 0)
            continue;
        s->token = token;
        s->object = true;
    }
    return TIBA_OK;
}

/* Strings become what the class makes of them. */
static void take_class_flags(special *s, const reader *r, int which, bool built) {
    if (!s->there || s->object) return;
    bool mask = which == TB_MASK && r->class->mask != TB_MASK_PLAIN;
    if (mask) {
        s->object = true;
        s->token.lstrip = true;
        s->token.normalized = r->class->mask == TB_MASK_LSTRIP && !built;
    } else if (built && r->class->files >= TB_FILES_GPT2) {
        s->object = true; /* byte-level classes wrap their tokens */
        s->token.normalized = true;
    }
}

static tiba_status read_specials(reader *r, bool built) {
    tb_json decoder = tb_json_get(&r->config, "added_tokens_decoder");
    bool legacy = tb_json_absent(&decoder);
    for (int i = 0; i < TB_SPECIAL_COUNT; i++) {
        special *s = &r->specials[i];
        const char *otherwise = r->class->tokens[i];
        tb_json in_config = tb_json_get(&r->config, tb_special_names[i]);
        tb_json in_map = tb_json_get(&r->map, tb_special_names[i]);
        bool named = tb_json_kind_of(&in_config) != TB_JSON_MISSING;
        if (named) TB_TRY(read_token(s, r, &in_config));
        if (legacy && !tb_json_absent(&in_map)) TB_TRY(read_token(s, r, &in_map));
        if (s->there) {
            TB_TRY(take_listed_flags(s, r));
        } else if (!named && otherwise) {
            s->there = true;
            s->token.content = (tb_text){otherwise, strlen(otherwise)};
        }
        take_class_flags(s, r, i, built);
    }
    /* A padding token may be told by tokenizer.json alone. */
    tb_json padding = tb_json_get(&r->tokenizer, "padding");
    tb_json pad = tb_json_get(&padding, "pad_token"), told = tb_json_get(&r->config, "pad_token");
    special *p = &r->specials[TB_PAD];
    if (!p->there && !r->class->tokens[TB_PAD] && tb_json_kind_of(&told) == TB_JSON_MISSING)
        TB_TRY(read_token(p, r, &pad));
    return TIBA_OK;
}

/* Whether one of the first `count` named special tokens has this content. */
static bool is_special(const reader *r, int count, tb_text content) {
    for (int i = 0; i < count; i++) {
        const special *s = &r->specials[i];
        if (s->there && s->token.content.size == content.size &&
            memcmp(s->token.content.data, content.data, content.size) == 0)
            return true;
    }
    return false;
}

static tiba_status add_special(reader *r, const special *s) {
    tb_added_token token = s->token;
    if (!s->object && tb_added_tokens_find(&r->t->added, token.content)) return TIBA_OK;
    token.special = true;
    return tb_added_tokens_add(r->t, &token, r->error);
}

/* Added tokens of tokenizer_config.json in the order of their ids. */
static tiba_status add_decoder_tokens(reader *r) {
    tb_json decoder = tb_json_get(&r->config, "added_tokens_decoder");
    if (tb_json_absent(&decoder)) return TIBA_OK;
    TB_TRY(tb_json_need_object(&decoder, r->error));
    size_t count = tb_json_count(&decoder), n = 0;
    typedef struct numbered {
        uint64_t id;
        tb_added_token token;
    } numbered;
    numbered *list = TB_NEW(r->arena, numbered, count);
    if (!list) return tb_out_of_memory(r->error);
    for (tb_json item = {0}; tb_json_next(&item, &decoder); n++) {
        size_t digits = strspn(item.key, "0123456789");
        if (digits == 0 || digits > 9 || item.key[digits])
            return tb_json_fail(r->error, &item, "not an id");
        for (size_t i = 0; i < digits; i++)
            list[n].id = list[n].id * 10 + (uint64_t)(item.key[i] - '0');
        TB_TRY(tb_added_token_read(&list[n].token, r->arena, &item, r->error));
    }
    for (size_t step = 1; step < count; step *= 2) { /* stable merge sort */
        numbered *sorted = TB_NEW(r->arena, numbered, count);
        if (!sorted) return tb_out_of_memory(r->error);
        for (size_t start = 0; start < count; start += 2 * step) {
            size_t middle = start + step < count ? start + step : count;
            size_t end = start + 2 * step < count ? start + 2 * step : count;
            for (size_t a = start, b = middle, k = start; k < end; k++) {
                bool left = a < middle && (b >= end || list[a].id <= list[b].id);
                sorted[k] = left ? list[a++] : list[b++];
            }
        }
        list = sorted;
    }
    for (size_t i = 0; i < count; i++) {
        const tb_added_token *known = tb_added_tokens_find(&r->t->added, list[i].token.content);
        tb_added_token *token = &list[i].token;
        bool same = known && known->single_word == token->single_word &&
                    known->lstrip == token->lstrip && known->rstrip == token->rstrip &&
                    known->normalized == token->normalized && known->special == token->special;
        if (same) continue;
        if (is_special(r, TB_SPECIAL_COUNT, token->content)) token->special = true;
        TB_TRY(tb_added_tokens_add(r->t, token, r->error));
    }
    return TIBA_OK;
}

static tiba_status add_listed(reader *r, const tb_json *list, bool *extra) {
    if (tb_json_absent(list)) return TIBA_OK;
    for (tb_json item = {0}; tb_json_next(&item, list);) {
        special s;
        TB_TRY(read_token(&s, r, &item));
        if (s.there && s.token.content.size > 10 &&
            memcmp(s.token.content.data, "<extra_id_", 10) == 0)
            *extra = true;
        if (s.there) TB_TRY(add_special(r, &s));
    }
    return TIBA_OK;
}

static tiba_status add_specials(reader *r) {
    tb_json decoder = tb_json_get(&r->config, "added_tokens_decoder");
    tb_json in_config = tb_json_get(&r->config, "additional_special_tokens");
    tb_json in_map = tb_json_get(&r->map, "additional_special_tokens");
    bool extra = false;
    for (int i = 0; i < TB_SPECIAL_COUNT; i++)
        if (r->specials[i].there && !is_special(r, i, r->specials[i].token.content))
            TB_TRY(add_special(r, &r->specials[i]));
    TB_TRY(add_listed(r, &in_config, &extra));
    if (tb_json_absent(&decoder)) TB_TRY(add_listed(r, &in_map, &extra));
    if (!r->class->extra_ids || extra) return TIBA_OK;
    int64_t count;
    TB_TRY(tb_json_integer_or(&count, &r->config, "extra_ids", 0, 10000, 100, r->error));
    for (int64_t i = 0; i < count; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "<extra_id_%lld>", (long long)i);
        special s = {.there = true, .token.content = {text, (size_t)n}};
        TB_TRY(add_special(r, &s));
    }
    return TIBA_OK;
}

/* {"content": id, …} of older folders. */
static tiba_status add_legacy_tokens(reader *r) {
    for (tb_json item = {0}; tb_json_next(&item, &r->added);) {
        tb_added_token token = {0};
        int64_t id;
        TB_TRY(tb_json_as_integer(&id, &item, 0, INT32_MAX, r->error));
        TB_TRY(tb_json_key_text(&token.content, r->arena, &item, r->error));
        if (tb_added_tokens_find(&r->t->added, token.content)) continue;
        token.special = is_special(r, TB_SPECIAL_COUNT, token.content);
        token.normalized = !token.special;
        TB_TRY(tb_added_tokens_add(r->t, &token, r->error));
    }
    return TIBA_OK;
}

/* Overrides. */

static tiba_status override_normalizer(reader *r) {
    if (!r->t->normalizer.type || strcmp(r->t->normalizer.type, "BertNormalizer") != 0)
        return TIBA_OK;
    tb_bert_normalizer *bert = r->t->normalizer.steps[0].data, wanted = *bert;
    TB_TRY(tb_bert_settings(&wanted, &r->config, r->error));
    bool chinese = r->class->override == TB_OVERRIDE_BERT;
    if (!chinese) wanted.handle_chinese_chars = bert->handle_chinese_chars;
    wanted.clean_text = bert->clean_text;
    *bert = wanted;
    return TIBA_OK;
}

static tiba_status override_post_processor(reader *r) {
    tb_post_processor *post = &r->t->post;
    bool trims = post->type && (strcmp(post->type, "RobertaProcessing") == 0 ||
                                strcmp(post->type, "ByteLevel") == 0);
    if (!trims) return TIBA_OK;
    TB_TRY(tb_json_bool_or(&post->trim_offsets, &r->config, "trim_offsets", true, r->error));
    return tb_json_bool_or(&post->add_prefix_space, &r->config, "add_prefix_space",
                           r->class->add_prefix_space, r->error);
}

/* "bos A eos" and "bos A eos bos:1 B:1 eos:1". */
static tiba_status override_template(reader *r) {
    tb_post_processor *post = &r->t->post;
    bool add[2];
    TB_TRY(tb_json_bool_or(&add[0], &r->config, "add_bos_token", r->class->add_bos, r->error));
    TB_TRY(tb_json_bool_or(&add[1], &r->config, "add_eos_token", false, r->error));
    tb_template_item ends[2] = {{.kind = TB_ITEM_TOKEN}, {.kind = TB_ITEM_TOKEN}};
    for (int i = 0; i < 2; i++) {
        const special *s = &r->specials[i == 0 ? TB_BOS : TB_EOS];
        if (!add[i]) continue;
        if (!s->there)
            return tb_fail(r->error, TIBA_ERROR_INPUT,
                           "tokenizer_config.json: add_%s_token without a %s_token",
                           i ? "eos" : "bos", i ? "eos" : "bos");
        ends[i].token = s->token.content;
        ends[i].token_id = tb_tokenizer_id(r->t, s->token.content);
    }
    post->single = post->pair = (tb_template){0};
    post->has_template = true;
    post->trim_offsets = false;
    for (uint32_t type = 0; type < 2; type++) {
        tb_template_item text = {.kind = type ? TB_ITEM_B : TB_ITEM_A, .type_id = type};
        const tb_template_item *items[] = {&ends[0], &text, &ends[1]};
        ends[0].type_id = ends[1].type_id = type;
        for (int i = 0; i < 3; i++) {
            if (i != 1 && !add[i / 2]) continue;
            TB_TRY(tb_template_add(&post->pair, r->t->arena, items[i], r->error));
            if (type == 0) TB_TRY(tb_template_add(&post->single, r->t->arena, items[i], r->error));
        }
    }
    return TIBA_OK;
}

static tiba_status override_prefix_space(reader *r) {
    tb_json value = tb_json_get(&r->config, "add_prefix_space");
    tb_pre_tokenizer *p = &r->t->pre_tokenizer;
    bool on = r->class->add_prefix_space;
    if (tb_json_kind_of(&value) == TB_JSON_NULL) return TIBA_OK;
    TB_TRY(tb_json_bool_or(&on, &r->config, "add_prefix_space", on, r->error));
    if (!tb_json_absent(&value) && r->class->from_slow)
        return tb_json_fail(r->error, &value,
                            "%s rebuilds itself from a sentencepiece model for this, which is "
                            "not supported",
                            r->class->name);
    bool outer = p->type && strcmp(p->type, "ByteLevel") == 0;
    if (outer || (r->class->prefix_space_everywhere && on))
        tb_pre_tokenizer_set_prefix_space(p, on);
    return TIBA_OK;
}

static tiba_status override_parts(reader *r) {
    TB_TRY(override_prefix_space(r));
    switch (r->class->override) {
    case TB_OVERRIDE_NONE:
        return TIBA_OK;
    case TB_OVERRIDE_BERT:
    case TB_OVERRIDE_MPNET:
        return override_normalizer(r);
    case TB_OVERRIDE_ROBERTA:
        return override_post_processor(r);
    case TB_OVERRIDE_BOS_EOS:
        return override_template(r);
    }
    return TIBA_OK;
}

/* Lengths, sides, padding. */

static tiba_status read_side(bool *left, reader *r, const char *key, const char *part,
                             bool otherwise) {
    tb_json stored = tb_json_get(&r->tokenizer, part);
    const char *side, *direction;
    TB_TRY(tb_json_string_or(&direction, &stored, "direction",
                             tb_json_absent(&stored) ? (otherwise ? "Left" : "Right") : "Right",
                             r->error));
    bool stored_left = strcmp(direction, "Left") == 0;
    if (!stored_left && strcmp(direction, "Right") != 0)
        return tb_json_fail(r->error, &stored, "direction \"%.32s\" is not supported", direction);
    TB_TRY(tb_json_string_or(&side, &r->config, key, stored_left ? "left" : "right", r->error));
    *left = strcmp(side, "left") == 0;
    if (*left || strcmp(side, "right") == 0) return TIBA_OK;
    return tb_fail(r->error, TIBA_ERROR_INPUT, "tokenizer_config.json: %s \"%.32s\"", key, side);
}

static tiba_status read_length(reader *r) {
    double length;
    TB_TRY(tb_json_number_or(&length, &r->config, "model_max_length", 1e30, r->error));
    if (length < 1)
        return tb_fail(r->error, TIBA_ERROR_INPUT, "tokenizer_config.json: model_max_length %g",
                       length);
    r->t->max_length = length > 1e9 ? INT64_MAX : (int64_t)length;
    return TIBA_OK;
}

static tiba_status read_padding(reader *r) {
    const special *pad = &r->specials[TB_PAD];
    if (!pad->there) return TIBA_OK;
    r->t->pad_id = tb_tokenizer_id(r->t, pad->token.content);
    r->t->pad_token.size = pad->token.content.size;
    r->t->pad_token.data =
        tb_arena_strndup(r->t->arena, pad->token.content.data, pad->token.content.size);
    if (!r->t->pad_token.data) return tb_out_of_memory(r->error);
    r->t->has_pad = r->t->pad_id != TB_NO_ID;
    return TIBA_OK;
}

/* Builds from the vocabulary files: first the parts, later the template, which needs ids. */
static tiba_status build(reader *r, bool template) {
    tb_text tokens[TB_SPECIAL_COUNT];
    for (int i = 0; i < TB_SPECIAL_COUNT; i++)
        tokens[i] = r->specials[i].there ? r->specials[i].token.content : (tb_text){NULL, 0};
    if (template) return tb_files_template(r->t, r->class, &r->config, tokens, r->error);
    return tb_files_build(r->t, r->folder, r->class, &r->config, tokens, r->error);
}

static tiba_status read_all(reader *r) {
    TB_TRY(read_file(&r->tokenizer, r, "tokenizer.json"));
    TB_TRY(read_file(&r->config, r, "tokenizer_config.json"));
    TB_TRY(read_file(&r->map, r, "special_tokens_map.json"));
    TB_TRY(read_file(&r->added, r, "added_tokens.json"));
    TB_TRY(read_file(&r->model, r, "config.json"));
    TB_TRY(find_class(r));
    bool built = !r->tokenizer.node;
    if (!built) TB_TRY(tb_tokenizer_read_json(r->t, &r->tokenizer, r->error));
    TB_TRY(read_specials(r, built));
    if (built) TB_TRY(build(r, false));
    TB_TRY(add_legacy_tokens(r));
    TB_TRY(add_decoder_tokens(r));
    TB_TRY(add_specials(r));
    if (built) TB_TRY(build(r, true));
    TB_TRY(tb_added_tokens_prepare(r->t, r->error));
    TB_TRY(override_parts(r));
    TB_TRY(read_length(r));
    TB_TRY(read_padding(r));
    TB_TRY(read_side(&r->t->truncate_left, r, "truncation_side", "truncation", false));
    return read_side(&r->t->pad_left, r, "padding_side", "padding", r->class->pad_left);
}

tiba_status tb_tokenizer_read_folder(tb_tokenizer *tokenizer, const char *folder,
                                     tiba_error *error) {
    reader r = {.t = tokenizer, .folder = folder, .error = error};
    r.arena = tb_arena_create(tb_arena_budget(tokenizer->arena));
    if (!r.arena) return tb_out_of_memory(error);
    tiba_status status = read_all(&r);
    tb_arena_destroy(r.arena);
    return status;
}
