/*
 * tok_normalizer.c: the normalizers, one row each in the table at the end. Classes of characters
 * are those of the library (unicode_tables.h).
 */
#include <string.h>

#include "io/tok_parts.h"

tiba_status tb_part_type(const char **out, const tb_json *json, tiba_error *error) {
    TB_TRY(tb_json_need_object(json, error));
    return tb_json_string(out, json, "type", error);
}

tiba_status tb_part_members(const tb_json *json, const char *known, tiba_error *error) {
    for (tb_json item = {0}; tb_json_next(&item, json);) {
        size_t length = strlen(item.key);
        bool found = strcmp(item.key, "type") == 0;
        for (const char *word = known; !found && *word;) {
            size_t n = strcspn(word, " ");
            found = n == length && memcmp(word, item.key, n) == 0;
            word += n + strspn(word + n, " ");
        }
        if (!found) return tb_json_fail(error, &item, "not supported");
    }
    return TIBA_OK;
}

static tiba_status add_regex(tb_tok_pattern *out, tb_tok_loader *loader, const char *text,
                             size_t size) {
    tb_regex_list *entry = TB_NEW(loader->arena, tb_regex_list, 1);
    if (!entry) return tb_out_of_memory(loader->error);
    TB_TRY(
        tb_regex_create(&entry->regex, tb_arena_budget(loader->arena), text, size, loader->error));
    entry->next = loader->regexes;
    loader->regexes = entry;
    out->regex = entry->regex;
    return TIBA_OK;
}

/* A copy that lives as long as the tokenizer. */
static tiba_status keep_text(tb_text *text, tb_tok_loader *loader) {
    text->data = tb_arena_strndup(loader->arena, text->data, text->size);
    return text->data ? TIBA_OK : tb_out_of_memory(loader->error);
}

tiba_status tb_tok_pattern_parse(tb_tok_pattern *out, tb_tok_loader *loader, const tb_json *json) {
    *out = (tb_tok_pattern){0};
    if (tb_json_kind_of(json) == TB_JSON_STRING) { /* an older form of String */
        TB_TRY(tb_json_as_text(&out->literal, loader->arena, json, loader->error));
        return keep_text(&out->literal, loader);
    }
    TB_TRY(tb_json_need_object(json, loader->error));
    TB_TRY(tb_part_members(json, "String Regex", loader->error));
    tb_json string = tb_json_get(json, "String"), regex = tb_json_get(json, "Regex");
    if (tb_json_absent(&string) == tb_json_absent(&regex))
        return tb_json_fail(loader->error, json, "neither or both of String and Regex");
    tb_text text;
    if (!tb_json_absent(&string)) {
        TB_TRY(tb_json_as_text(&out->literal, loader->arena, &string, loader->error));
        if (out->literal.size == 0)
            return tb_json_fail(loader->error, &string, "an empty pattern is not supported");
        return keep_text(&out->literal, loader);
    }
    TB_TRY(tb_json_as_text(&text, loader->arena, &regex, loader->error));
    tiba_status status = add_regex(out, loader, text.data, text.size);
    return status == TIBA_OK || !loader->error ? status
                                               : tb_error_prefix(loader->error, status, "pattern");
}

tiba_status tb_tok_pattern_match(const tb_tok_pattern *pattern, const tb_tok_string *string,
                                 tb_tok_work *work) {
    if (pattern->regex) return tb_regex_match(pattern->regex, string, work);
    return tb_tok_match_literal(string, pattern->literal.data, pattern->literal.size, work);
}

static tiba_status add_step(tb_normalizer *out, tb_normalizer_step step, tb_tok_loader *loader) {
    if (out->count >= TB_TOK_MAX_STEPS)
        return tb_fail(loader->error, TIBA_ERROR_INPUT, "normalizer: more than %d steps",
                       TB_TOK_MAX_STEPS);
    tb_normalizer_step *steps = TB_NEW(loader->arena, tb_normalizer_step, out->count + 1);
    if (!steps) return tb_out_of_memory(loader->error);
    if (out->count) memcpy(steps, out->steps, out->count * sizeof *steps);
    steps[out->count++] = step;
    out->steps = steps;
    return TIBA_OK;
}

/* Lower case and the normal forms. */

static tiba_status apply_lowercase(const void *data, tb_tok_string *string, tb_tok_work *work) {
    (void)data;
    work->change_count = 0;
    for (size_t at = 0; at < string->size;) {
        uint32_t lower[2];
        int n = tb_unicode_lower_of(lower, tb_utf8_next(string->text, &at));
        for (int i = 0; i < n; i++) TB_TRY(tb_tok_push_change(work, lower[i], i > 0));
    }
    return tb_tok_transform(string, 0, work);
}

/* Sorts work->changes[start …) by combining class; equal classes keep their order. */
static tiba_status sort_marks(tb_tok_work *work, size_t start) {
    tb_change *c = work->changes + start;
    size_t n = work->change_count - start, at[256] = {0};
    if (n < 32) {
        for (size_t i = 1; i < n; i++) {
            tb_change moved = c[i];
            int class = tb_unicode_combining_class(moved.c);
            size_t k = i;
            for (; k > 0 && tb_unicode_combining_class(c[k - 1].c) > class; k--) c[k] = c[k - 1];
            c[k] = moved;
        }
        return TIBA_OK;
    }
    tb_change *copy = tb_tok_scratch(work, n * sizeof *c);
    if (!copy) return tb_out_of_memory(work->error);
    memcpy(copy, c, n * sizeof *c);
    for (size_t i = 0; i < n; i++) at[(tb_unicode_combining_class(copy[i].c) + 1) & 255]++;
    for (size_t i = 1; i < 256; i++) at[i] += at[i - 1];
    for (size_t i = 0; i < n; i++) c[at[tb_unicode_combining_class(copy[i].c) & 255]++] = copy[i];
    return TIBA_OK;
}

/* The characters of a normal form with what they change, in canonical order. */
static tiba_status push_decomposed(const tb_tok_string *string, bool compatibility,
                                   tb_tok_work *work) {
    work->change_count = 0;
    size_t marks = 0; /* where the marks behind the last starter begin */
    for (size_t at = 0; at < string->size;) {
        uint32_t parts[32];
        int n = tb_unicode_decompose(parts, tb_utf8_next(string->text, &at), compatibility);
        for (int i = 0; i < n; i++) {
            bool starter = tb_unicode_combining_class(parts[i]) == 0;
            if (starter && work->change_count > marks + 1) TB_TRY(sort_marks(work, marks));
            TB_TRY(tb_tok_push_change(work, parts[i], i > 0));
            if (starter) marks = work->change_count;
        }
    }
    return work->change_count > marks + 1 ? sort_marks(work, marks) : TIBA_OK;
}

/* Composes work->changes in place; a composed character removes one more old character. */
static void compose(tb_tok_work *work) {
    tb_change *c = work->changes;
    size_t n = 0, starter = SIZE_MAX;
    int last = 0; /* combining class of the character before, 0 right behind the starter */
    for (size_t i = 0; i < work->change_count; i++) {
        int class = tb_unicode_combining_class(c[i].c);
        bool blocked = starter == SIZE_MAX || (n > starter + 1 && (last == 0 || last >= class));
        uint32_t composed = blocked ? 0 : tb_unicode_compose(c[starter].c, c[i].c);
        if (composed) {
            c[starter].c = composed;
            c[starter].change += c[i].change - 1;
            continue;
        }
        if (class == 0) starter = n;
        last = class;
        c[n++] = c[i];
    }
    work->change_count = n;
}

typedef struct normal_form {
    bool compatibility, composed;
} normal_form;

static bool is_ascii(const tb_tok_string *string) {
    for (size_t i = 0; i < string->size; i++)
        if ((unsigned char)string->text[i] >= 0x80) return false;
    return true;
}

static tiba_status apply_normal_form(const void *data, tb_tok_string *string, tb_tok_work *work) {
    const normal_form *form = data;
    if (is_ascii(string)) return TIBA_OK;
    TB_TRY(push_decomposed(string, form->compatibility, work));
    if (form->composed) compose(work);
    return tb_tok_transform(string, 0, work);
}

/* BERT. */

static bool bert_keeps(uint32_t c) {
    return !tb_unicode_has(TB_SET_BERT_REMOVED, c);
}

static bool bert_mark_free(uint32_t c) {
    return c < 0x300 || !tb_unicode_has(TB_SET_BERT_MARK, c);
}

static tiba_status bert_clean(tb_tok_string *string, tb_tok_work *work) {
    TB_TRY(tb_tok_filter(string, bert_keeps, work));
    work->change_count = 0;
    for (size_t at = 0; at < string->size;) {
        uint32_t c = tb_utf8_next(string->text, &at);
        TB_TRY(tb_tok_push_change(work, tb_unicode_has(TB_SET_BERT_SPACE, c) ? ' ' : c, 0));
    }
    return tb_tok_transform(string, 0, work);
}

static tiba_status bert_isolate(tb_tok_string *string, tb_tok_work *work) {
    work->change_count = 0;
    for (size_t at = 0; at < string->size;) {
        uint32_t c = tb_utf8_next(string->text, &at);
        if (c < 0x3400 || !tb_unicode_has(TB_SET_BERT_IDEOGRAPH, c)) {
            TB_TRY(tb_tok_push_change(work, c, 0));
            continue;
        }
        TB_TRY(tb_tok_push_change(work, ' ', 0));
        TB_TRY(tb_tok_push_change(work, c, 1));
        TB_TRY(tb_tok_push_change(work, ' ', 1));
    }
    return tb_tok_transform(string, 0, work);
}

static tiba_status apply_bert(const void *data, tb_tok_string *string, tb_tok_work *work) {
    const tb_bert_normalizer *bert = data;
    static const normal_form nfd = {false, false};
    bool strip = bert->strip_accents == TB_STRIP_YES ||
                 (bert->strip_accents == TB_STRIP_NULL && bert->lowercase);
    if (bert->clean_text) TB_TRY(bert_clean(string, work));
    if (bert->handle_chinese_chars && !is_ascii(string)) TB_TRY(bert_isolate(string, work));
    if (strip) {
        TB_TRY(apply_normal_form(&nfd, string, work));
        TB_TRY(tb_tok_filter(string, bert_mark_free, work));
    }
    return bert->lowercase ? apply_lowercase(NULL, string, work) : TIBA_OK;
}

/* Filters. */

static bool no_mark(uint32_t c) {
    return c < 0x300 || !tb_unicode_has(TB_SET_MARK, c);
}

static tiba_status apply_strip_accents(const void *data, tb_tok_string *string, tb_tok_work *work) {
    (void)data;
    return tb_tok_filter(string, no_mark, work);
}

static bool nmt_keeps(uint32_t c) {
    return !((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f ||
             c == 0x9f);
}

static bool nmt_space(uint32_t c) {
    return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
           (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xfeff || c == 0xfffd;
}

static tiba_status apply_nmt(const void *data, tb_tok_string *string, tb_tok_work *work) {
    (void)data;
    TB_TRY(tb_tok_filter(string, nmt_keeps, work));
    work->change_count = 0;
    for (size_t at = 0; at < string->size;) {
        uint32_t c = tb_utf8_next(string->text, &at);
        TB_TRY(tb_tok_push_change(work, nmt_space(c) ? ' ' : c, 0));
    }
    return tb_tok_transform(string, 0, work);
}

typedef struct strip {
    bool left, right;
} strip;

static tiba_status apply_strip(const void *data, tb_tok_string *string, tb_tok_work *work) {
    const strip *sides = data;
    size_t start = 0, end = string->size;
    (void)work;
    while (sides->left && start < end) {
        size_t next = start;
        if (!tb_unicode_has(TB_SET_WHITE_SPACE, tb_utf8_next(string->text, &next))) break;
        start = next;
    }
    while (sides->right && end > start) {
        size_t before = end;
        if (!tb_unicode_has(TB_SET_WHITE_SPACE, tb_utf8_previous(string->text, &before))) break;
        end = before;
    }
    string->text += start;
    string->align += start;
    string->size = (uint32_t)(end - start);
    return TIBA_OK;
}

/* Text for text. */

typedef struct replace {
    tb_tok_pattern pattern;
    tb_text content;
} replace;

static tiba_status apply_replace(const void *data, tb_tok_string *string, tb_tok_work *work) {
    const replace *r = data;
    TB_TRY(tb_tok_pattern_match(&r->pattern, string, work));
    return tb_tok_replace(string, r->content.data, r->content.size, work);
}

static tiba_status apply_prepend(const void *data, tb_tok_string *string, tb_tok_work *work) {
    const tb_text *prefix = data;
    return tb_tok_prepend(string, prefix->data, prefix->size, work);
}

static tiba_status apply_bytes(const void *data, tb_tok_string *string, tb_tok_work *work) {
    (void)data;
    return tb_byte_level_encode(string, work);
}

/* Readers: each allocates its data and checks its members. */

static tiba_status parse_bert(void **data, tb_tok_loader *loader, const tb_json *json) {
    tb_bert_normalizer *bert = TB_NEW(loader->arena, tb_bert_normalizer, 1);
    if (!bert) return tb_out_of_memory(loader->error);
    *data = bert;
    TB_TRY(tb_part_members(json, "clean_text handle_chinese_chars strip_accents lowercase",
                           loader->error));
    TB_TRY(tb_json_bool_or(&bert->clean_text, json, "clean_text", true, loader->error));
    TB_TRY(tb_json_bool_or(&bert->handle_chinese_chars, json, "handle_chinese_chars", true,
                           loader->error));
    TB_TRY(tb_json_bool_or(&bert->lowercase, json, "lowercase", true, loader->error));
    tb_json accents = tb_json_get(json, "strip_accents");
    bool on = false;
    TB_TRY(tb_json_bool_or(&on, json, "strip_accents", false, loader->error));
    bert->strip_accents = tb_json_absent(&accents) ? TB_STRIP_NULL
                          : on                     ? TB_STRIP_YES
                                                   : TB_STRIP_NO;
    return TIBA_OK;
}

static tiba_status parse_strip(void **data, tb_tok_loader *loader, const tb_json *json) {
    strip *sides = TB_NEW(loader->arena, strip, 1);
    if (!sides) return tb_out_of_memory(loader->error);
    *data = sides;
    TB_TRY(tb_part_members(json, "strip_left strip_right", loader->error));
    TB_TRY(tb_json_bool_or(&sides->left, json, "strip_left", true, loader->error));
    return tb_json_bool_or(&sides->right, json, "strip_right", true, loader->error);
}

static tiba_status parse_text(tb_text *out, tb_tok_loader *loader, const tb_json *json,
                              const char *key) {
    tb_json value = tb_json_get(json, key);
    TB_TRY(tb_json_as_text(out, loader->arena, &value, loader->error));
    return keep_text(out, loader);
}

static tiba_status parse_replace(void **data, tb_tok_loader *loader, const tb_json *json) {
    replace *r = TB_NEW(loader->arena, replace, 1);
    if (!r) return tb_out_of_memory(loader->error);
    *data = r;
    TB_TRY(tb_part_members(json, "pattern content", loader->error));
    tb_json pattern = tb_json_get(json, "pattern");
    TB_TRY(tb_tok_pattern_parse(&r->pattern, loader, &pattern));
    return parse_text(&r->content, loader, json, "content");
}

static tiba_status parse_prepend(void **data, tb_tok_loader *loader, const tb_json *json) {
    tb_text *prefix = TB_NEW(loader->arena, tb_text, 1);
    if (!prefix) return tb_out_of_memory(loader->error);
    *data = prefix;
    TB_TRY(tb_part_members(json, "prepend", loader->error));
    return parse_text(prefix, loader, json, "prepend");
}

static tiba_status parse_charsmap(void **data, tb_tok_loader *loader, const tb_json *json) {
    tb_charsmap *map;
    TB_TRY(tb_part_members(json, "precompiled_charsmap", loader->error));
    tb_json value = tb_json_get(json, "precompiled_charsmap");
    TB_TRY(tb_charsmap_create(&map, loader, &value));
    *data = map;
    return TIBA_OK;
}

static tiba_status parse_form(void **data, tb_tok_loader *loader, const tb_json *json) {
    const char *type;
    TB_TRY(tb_part_members(json, "", loader->error));
    TB_TRY(tb_part_type(&type, json, loader->error));
    normal_form *form = TB_NEW(loader->arena, normal_form, 1);
    if (!form) return tb_out_of_memory(loader->error);
    form->compatibility = type[2] == 'K';
    form->composed = type[strlen(type) - 1] == 'C';
    *data = form;
    return TIBA_OK;
}

static tiba_status parse_plain(void **data, tb_tok_loader *loader, const tb_json *json) {
    *data = NULL;
    return tb_part_members(json, "", loader->error);
}

static const struct normalizer_type {
    const char *name;
    tiba_status (*parse)(void **data, tb_tok_loader *loader, const tb_json *json);
    tiba_status (*apply)(const void *data, tb_tok_string *string, tb_tok_work *work);
} types[] = {
    {"BertNormalizer", parse_bert, apply_bert},
    {"Lowercase", parse_plain, apply_lowercase},
    {"NFC", parse_form, apply_normal_form},
    {"NFD", parse_form, apply_normal_form},
    {"NFKC", parse_form, apply_normal_form},
    {"NFKD", parse_form, apply_normal_form},
    {"Nmt", parse_plain, apply_nmt},
    {"Precompiled", parse_charsmap, tb_charsmap_apply},
    {"Prepend", parse_prepend, apply_prepend},
    {"Replace", parse_replace, apply_replace},
    {"Strip", parse_strip, apply_strip},
    {"StripAccents", parse_plain, apply_strip_accents},
    {"ByteLevel", parse_plain, apply_bytes},
};

tiba_status tb_normalizer_parse(tb_normalizer *out, tb_tok_loader *loader, const tb_json *json) {
    const char *type;
    if (tb_json_absent(json)) return TIBA_OK;
    TB_TRY(tb_part_type(&type, json, loader->error));
    if (strcmp(type, "Sequence") == 0) {
        if (!out->type) out->type = "Sequence";
        TB_TRY(tb_part_members(json, "normalizers", loader->error));
        tb_json list = tb_json_get(json, "normalizers");
        TB_TRY(tb_json_need_array(&list, loader->error));
        for (tb_json item = {0}; tb_json_next(&item, &list);)
            TB_TRY(tb_normalizer_parse(out, loader, &item));
        return TIBA_OK;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, type) != 0) continue;
        tb_normalizer_step step = {types[i].apply, NULL};
        TB_TRY(types[i].parse(&step.data, loader, json));
        if (!out->type) out->type = types[i].name;
        return add_step(out, step, loader);
    }
    return tb_json_fail(loader->error, json, "normalizer \"%.64s\" is not supported", type);
}

tiba_status tb_normalizer_apply(const tb_normalizer *normalizer, tb_tok_string *string,
                                tb_tok_work *work) {
    for (size_t i = 0; i < normalizer->count && string->size > 0; i++)
        TB_TRY(normalizer->steps[i].apply(normalizer->steps[i].data, string, work));
    return TIBA_OK;
}
