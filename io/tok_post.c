/*
 * tok_post.c: post-processors as templates: where special tokens go, and the type ids.
 */
#include <string.h>

#include "io/tok_core.h"

tiba_status tb_template_add(tb_template *out, tb_arena *arena, const tb_template_item *item,
                            tiba_error *error) {
    if (out->count >= 1000)
        return tb_fail(error, TIBA_ERROR_INPUT, "post_processor: more than 1000 items");
    tb_template_item *items = TB_NEW(arena, tb_template_item, out->count + 1);
    if (!items) return tb_out_of_memory(error);
    if (out->count) memcpy(items, out->items, out->count * sizeof *items);
    items[out->count] = *item;
    if (item->kind == TB_ITEM_TOKEN) {
        const char *copy = tb_arena_strndup(arena, item->token.data, item->token.size);
        if (!copy) return tb_out_of_memory(error);
        items[out->count].token.data = copy;
    }
    out->items = items;
    out->count++;
    return TIBA_OK;
}

tiba_status tb_post_processor_set(tb_post_processor *post, tb_arena *arena, tb_text cls,
                                  uint32_t cls_id, tb_text sep, uint32_t sep_id, bool two_seps,
                                  uint32_t pair_type, tiba_error *error) {
    tb_template_item c = {TB_ITEM_TOKEN, 0, cls_id, cls}, s = {TB_ITEM_TOKEN, 0, sep_id, sep};
    tb_template_item a = {TB_ITEM_A, 0, 0, {"", 0}}, b = {TB_ITEM_B, pair_type, 0, {"", 0}};
    tb_template_item last = s;
    last.type_id = pair_type;
    const tb_template_item single[] = {c, a, s}, pair[] = {c, a, s, s, b, last};
    post->single = post->pair = (tb_template){0};
    post->has_template = true;
    for (size_t i = 0; i < 3; i++) TB_TRY(tb_template_add(&post->single, arena, &single[i], error));
    for (size_t i = 0; i < 6; i++)
        if (i != 3 || two_seps) TB_TRY(tb_template_add(&post->pair, arena, &pair[i], error));
    return TIBA_OK;
}

/* A special token of a template: all ids that its name stands for. */
static tiba_status add_special(tb_template *out, tb_arena *arena, const char *name,
                               uint32_t type_id, const tb_json *specials, tiba_error *error) {
    tb_json special = tb_json_get(specials, name);
    TB_TRY(tb_json_need_object(&special, error));
    tb_json ids = tb_json_get(&special, "ids"), tokens = tb_json_get(&special, "tokens");
    TB_TRY(tb_json_need_array(&ids, error));
    TB_TRY(tb_json_need_array(&tokens, error));
    tb_json token = {0};
    for (tb_json item = {0}; tb_json_next(&item, &ids);) {
        tb_template_item piece = {.kind = TB_ITEM_TOKEN, .type_id = type_id};
        int64_t id;
        TB_TRY(tb_json_as_integer(&id, &item, 0, INT32_MAX, error));
        if (!tb_json_next(&token, &tokens))
            return tb_json_fail(error, &special, "fewer tokens than ids");
        TB_TRY(tb_json_as_text(&piece.token, arena, &token, error));
        piece.token_id = (uint32_t)id;
        TB_TRY(tb_template_add(out, arena, &piece, error));
    }
    return TIBA_OK;
}

static tiba_status read_template(tb_template *out, tb_arena *arena, const tb_json *list,
                                 const tb_json *specials, bool pair, tiba_error *error) {
    TB_TRY(tb_json_need_array(list, error));
    for (tb_json item = {0}; tb_json_next(&item, list);) {
        tb_json sequence = tb_json_get(&item, "Sequence");
        tb_json special = tb_json_get(&item, "SpecialToken");
        bool text = !tb_json_absent(&sequence);
        const tb_json *body = text ? &sequence : &special;
        const char *id;
        int64_t type_id;
        TB_TRY(tb_json_need_object(body, error));
        TB_TRY(tb_json_string(&id, body, "id", error));
        TB_TRY(tb_json_integer_or(&type_id, body, "type_id", 0, INT32_MAX, 0, error));
        if (!text) {
            TB_TRY(add_special(out, arena, id, (uint32_t)type_id, specials, error));
            continue;
        }
        bool second = strcmp(id, "B") == 0;
        if (!second && strcmp(id, "A") != 0)
            return tb_json_fail(error, body, "id \"%.64s\" is not supported", id);
        if (second && !pair) return tb_json_fail(error, body, "the second text in \"single\"");
        tb_template_item piece = {second ? TB_ITEM_B : TB_ITEM_A, (uint32_t)type_id, 0, {"", 0}};
        TB_TRY(tb_template_add(out, arena, &piece, error));
    }
    return TIBA_OK;
}

static tiba_status parse_template(tb_tokenizer *t, const tb_json *json, tiba_error *error) {
    TB_TRY(tb_part_members(json, "single pair special_tokens", error));
    tb_json single = tb_json_get(json, "single"), pair = tb_json_get(json, "pair");
    tb_json specials = tb_json_get(json, "special_tokens");
    t->post.has_template = true;
    TB_TRY(read_template(&t->post.single, t->arena, &single, &specials, false, error));
    return read_template(&t->post.pair, t->arena, &pair, &specials, true, error);
}

/* ["[SEP]", 102] */
static tiba_status read_pair(tb_text *token, uint32_t *id, tb_arena *arena, const tb_json *json,
                             const char *key, tiba_error *error) {
    tb_json pair = tb_json_get(json, key);
    TB_TRY(tb_json_need_array(&pair, error));
    int n = 0;
    for (tb_json item = {0}; tb_json_next(&item, &pair); n++) {
        int64_t number;
        if (n == 0) TB_TRY(tb_json_as_text(token, arena, &item, error));
        if (n != 1) continue;
        TB_TRY(tb_json_as_integer(&number, &item, 0, INT32_MAX, error));
        *id = (uint32_t)number;
    }
    return n == 2 ? TIBA_OK : tb_json_fail(error, &pair, "%d members, not [token, id]", n);
}

static tiba_status set_pairs(tb_tokenizer *t, const tb_json *json, bool roberta,
                             tiba_error *error) {
    tb_text cls = {"", 0}, sep = {"", 0};
    uint32_t cls_id = 0, sep_id = 0;
    TB_TRY(read_pair(&cls, &cls_id, t->arena, json, "cls", error));
    TB_TRY(read_pair(&sep, &sep_id, t->arena, json, "sep", error));
    return tb_post_processor_set(&t->post, t->arena, cls, cls_id, sep, sep_id, roberta,
                                 roberta ? 0 : 1, error);
}

static tiba_status parse_bert(tb_tokenizer *t, const tb_json *json, tiba_error *error) {
    TB_TRY(tb_part_members(json, "sep cls", error));
    return set_pairs(t, json, false, error);
}

static tiba_status read_trim(tb_tokenizer *t, const tb_json *json, tiba_error *error) {
    bool trim;
    TB_TRY(tb_json_bool_or(&trim, json, "trim_offsets", true, error));
    if (!trim) return TIBA_OK;
    t->post.trim_offsets = true;
    return tb_json_bool_or(&t->post.add_prefix_space, json, "add_prefix_space", true, error);
}

static tiba_status parse_roberta(tb_tokenizer *t, const tb_json *json, tiba_error *error) {
    TB_TRY(tb_part_members(json, "sep cls trim_offsets add_prefix_space", error));
    TB_TRY(read_trim(t, json, error));
    return set_pairs(t, json, true, error);
}

static tiba_status parse_byte_level(tb_tokenizer *t, const tb_json *json, tiba_error *error) {
    TB_TRY(tb_part_members(json, "trim_offsets add_prefix_space use_regex", error));
    return read_trim(t, json, error);
}

static const struct post_type {
    const char *name;
    tiba_status (*parse)(tb_tokenizer *tokenizer, const tb_json *json, tiba_error *error);
    bool adds_tokens;
} types[] = {
    {"BertProcessing", parse_bert, true},
    {"ByteLevel", parse_byte_level, false},
    {"RobertaProcessing", parse_roberta, true},
    {"TemplateProcessing", parse_template, true},
};

tiba_status tb_post_processor_parse(tb_tokenizer *tokenizer, const tb_json *json,
                                    tiba_error *error) {
    const char *type;
    if (tb_json_absent(json)) return TIBA_OK;
    TB_TRY(tb_part_type(&type, json, error));
    if (strcmp(type, "Sequence") == 0) {
        TB_TRY(tb_part_members(json, "processors", error));
        if (!tokenizer->post.type) tokenizer->post.type = "Sequence";
        tb_json list = tb_json_get(json, "processors");
        TB_TRY(tb_json_need_array(&list, error));
        for (tb_json item = {0}; tb_json_next(&item, &list);)
            TB_TRY(tb_post_processor_parse(tokenizer, &item, error));
        return TIBA_OK;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, type) != 0) continue;
        if (types[i].adds_tokens && tokenizer->post.has_template)
            return tb_json_fail(error, json, "a second template is not supported");
        if (!tokenizer->post.type) tokenizer->post.type = types[i].name;
        return types[i].parse(tokenizer, json, error);
    }
    return tb_json_fail(error, json, "post-processor \"%.64s\" is not supported", type);
}
