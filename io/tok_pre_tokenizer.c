/*
 * tok_pre_tokenizer.c: the pre-tokenizers, one row each in the table at the end. Some types are
 * two steps (BERT splits at white space, then at punctuation).
 */
#include <string.h>

#include "io/tok_parts.h"

static tiba_status add_step(tb_pre_tokenizer *out, tb_pre_tokenizer_step step,
                            tb_tok_loader *loader) {
    if (out->count >= TB_TOK_MAX_STEPS)
        return tb_fail(loader->error, TIBA_ERROR_INPUT, "pre_tokenizer: more than %d steps",
                       TB_TOK_MAX_STEPS);
    tb_pre_tokenizer_step *steps = TB_NEW(loader->arena, tb_pre_tokenizer_step, out->count + 1);
    if (!steps) return tb_out_of_memory(loader->error);
    if (out->count) memcpy(steps, out->steps, out->count * sizeof *steps);
    steps[out->count++] = step;
    out->steps = steps;
    return TIBA_OK;
}

static tiba_status keep_whole(const tb_tok_string *string, tb_tok_pieces *out, tb_tok_work *work) {
    tb_tok_piece piece = {.string = *string};
    return string->size ? tb_tok_push_piece(out, &piece, work) : TIBA_OK;
}

/* Splits at characters of a class. */

typedef struct class_split {
    bool (*in)(uint32_t c);
    tb_split_behavior behavior;
} class_split;

static bool white_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return tb_unicode_has(TB_SET_WHITE_SPACE, c);
}

static bool punctuation(uint32_t c) {
    return tb_unicode_has(TB_SET_PUNCTUATION, c);
}

static bool numeric(uint32_t c) {
    return tb_unicode_has(TB_SET_NUMERIC, c);
}

static tiba_status split_class(const void *data, tb_tok_string string, tb_tok_pieces *out,
                               tb_tok_work *work) {
    const class_split *split = data;
    TB_TRY(tb_tok_match_class(&string, split->in, work));
    return tb_tok_split(out, &string, split->behavior, false, work);
}

static tiba_status add_class(tb_pre_tokenizer *out, tb_tok_loader *loader, bool (*in)(uint32_t),
                             tb_split_behavior behavior) {
    class_split *split = TB_NEW(loader->arena, class_split, 1);
    if (!split) return tb_out_of_memory(loader->error);
    *split = (class_split){in, behavior};
    return add_step(out, (tb_pre_tokenizer_step){split_class, split}, loader);
}

/* Words: \w+ or a run of what is neither \w nor white space. */

static tiba_status split_words(const void *data, tb_tok_string string, tb_tok_pieces *out,
                               tb_tok_work *work) {
    (void)data;
    size_t start = 0;
    int former = 0;
    for (size_t at = 0; at <= string.size;) {
        size_t next = at;
        int kind = 0; /* 0 white space, 1 word, 2 other */
        if (at < string.size) {
            uint32_t c = tb_utf8_next(string.text, &next);
            kind = tb_unicode_has(TB_SET_RUST_WORD, c) ? 1 : white_space(c) ? 0 : 2;
        }
        if (kind != former || at == string.size) {
            tb_tok_piece piece = {0};
            if (former && start < at) {
                piece.string = tb_tok_slice(&string, start, at);
                TB_TRY(tb_tok_push_piece(out, &piece, work));
            }
            start = at;
            former = kind;
        }
        if (at == string.size) break;
        at = next;
    }
    return TIBA_OK;
}

/* Bytes. */

uint32_t tb_byte_level_char(unsigned char byte) {
    bool printable =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    if (printable) return byte;
    /* The others follow U+0100 in their order. */
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xad ? 0x143 : 0x100u + 33 + (byte - 0x7fu);
}

tiba_status tb_byte_level_encode(tb_tok_string *string, tb_tok_work *work) {
    work->change_count = 0;
    for (size_t at = 0; at < string->size;) {
        size_t start = at;
        tb_utf8_next(string->text, &at);
        for (size_t i = start; i < at; i++)
            TB_TRY(tb_tok_push_change(work, tb_byte_level_char((unsigned char)string->text[i]),
                                      i > start));
    }
    return tb_tok_transform(string, 0, work);
}

enum kind { LETTER, NUMBER, SPACE, OTHER };

static enum kind kind_of(uint32_t c) {
    if (c < 0x80) {
        if ((c | 32) >= 'a' && (c | 32) <= 'z') return LETTER;
        return c >= '0' && c <= '9' ? NUMBER : white_space(c) ? SPACE : OTHER;
    }
    tb_category category = tb_unicode_category(c);
    if (category >= LU && category <= LO) return LETTER;
    if (category >= ND && category <= NO) return NUMBER;
    return white_space(c) ? SPACE : OTHER;
}

/* The end of GPT-2's next piece: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|
 * \s+(?!\S)|\s+ */
static size_t gpt2_end(const char *text, size_t size, size_t start) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; text[start] == '\'' && i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (size - start >= n && memcmp(text + start, endings[i], n) == 0) return start + n;
    }
    size_t at = start, before = start;
    enum kind first = kind_of(tb_utf8_next(text, &at));
    if (first == SPACE && text[start] == ' ' && at < size) {
        size_t next = at;
        enum kind second = kind_of(tb_utf8_next(text, &next));
        if (second != SPACE) {
            first = second;
            at = next;
        }
    }
    while (at < size) {
        size_t next = at;
        if (kind_of(tb_utf8_next(text, &next)) != first) break;
        before = at;
        at = next;
    }
    /* White space leaves its last character to the word behind it. */
    return first == SPACE && at < size && before > start ? before : at;
}

static tiba_status split_bytes(const void *data, tb_tok_string string, tb_tok_pieces *out,
                               tb_tok_work *work) {
    const tb_byte_level *level = data;
    if (level->add_prefix_space && string.size && string.text[0] != ' ')
        TB_TRY(tb_tok_prepend(&string, " ", 1, work));
    for (size_t at = 0; at < string.size;) {
        size_t end = level->use_regex ? gpt2_end(string.text, string.size, at) : string.size;
        tb_tok_piece piece = {.string = tb_tok_slice(&string, at, end)};
        TB_TRY(tb_byte_level_encode(&piece.string, work));
        TB_TRY(tb_tok_push_piece(out, &piece, work));
        at = end;
    }
    return TIBA_OK;
}

void tb_pre_tokenizer_set_prefix_space(tb_pre_tokenizer *pre_tokenizer, bool on) {
    for (size_t i = 0; i < pre_tokenizer->count; i++) {
        if (pre_tokenizer->steps[i].split != split_bytes) continue;
        tb_byte_level *level = pre_tokenizer->steps[i].data;
        level->add_prefix_space = on;
    }
}

/* Metaspace. */

typedef struct metaspace {
    char mark[8];
    size_t mark_size;
    enum { ALWAYS, FIRST, NEVER } prepend;
    bool split;
} metaspace;

static tiba_status split_metaspace(const void *data, tb_tok_string string, tb_tok_pieces *out,
                                   tb_tok_work *work) {
    const metaspace *m = data;
    TB_TRY(tb_tok_match_literal(&string, " ", 1, work));
    TB_TRY(tb_tok_replace(&string, m->mark, m->mark_size, work));
    bool marked = string.size >= m->mark_size && memcmp(string.text, m->mark, m->mark_size) == 0;
    if (!marked && (m->prepend == ALWAYS || (m->prepend == FIRST && string.original.start == 0)))
        TB_TRY(tb_tok_prepend(&string, m->mark, m->mark_size, work));
    if (!m->split) return keep_whole(&string, out, work);
    TB_TRY(tb_tok_match_literal(&string, m->mark, m->mark_size, work));
    return tb_tok_split(out, &string, TB_SPLIT_MERGED_WITH_NEXT, false, work);
}

/* Patterns, delimiters, lengths. */

typedef struct pattern_split {
    tb_tok_pattern pattern;
    tb_split_behavior behavior;
    bool invert;
} pattern_split;

static tiba_status split_pattern(const void *data, tb_tok_string string, tb_tok_pieces *out,
                                 tb_tok_work *work) {
    const pattern_split *split = data;
    TB_TRY(tb_tok_pattern_match(&split->pattern, &string, work));
    return tb_tok_split(out, &string, split->behavior, split->invert, work);
}

static tiba_status split_length(const void *data, tb_tok_string string, tb_tok_pieces *out,
                                tb_tok_work *work) {
    const int64_t *length = data;
    for (size_t at = 0; at < string.size;) {
        size_t start = at;
        for (int64_t i = 0; i < *length && at < string.size; i++) tb_utf8_next(string.text, &at);
        tb_tok_piece piece = {.string = tb_tok_slice(&string, start, at)};
        TB_TRY(tb_tok_push_piece(out, &piece, work));
    }
    return TIBA_OK;
}

/* Readers. */

static tiba_status read_behavior(tb_split_behavior *out, tb_tok_loader *loader, const tb_json *json,
                                 tb_split_behavior otherwise) {
    static const char *const names[] = {
        [TB_SPLIT_REMOVED] = "Removed",
        [TB_SPLIT_ISOLATED] = "Isolated",
        [TB_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [TB_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [TB_SPLIT_CONTIGUOUS] = "Contiguous",
    };
    const char *name;
    TB_TRY(tb_json_string_or(&name, json, "behavior", names[otherwise], loader->error));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (tb_split_behavior)i;
            return TIBA_OK;
        }
    return tb_json_fail(loader->error, json, "behavior \"%.64s\" is not supported", name);
}

static tiba_status parse_bert(tb_pre_tokenizer *out, tb_tok_loader *loader, const tb_json *json) {
    TB_TRY(tb_part_members(json, "", loader->error));
    TB_TRY(add_class(out, loader, white_space, TB_SPLIT_REMOVED));
    return add_class(out, loader, punctuation, TB_SPLIT_ISOLATED);
}

static tiba_status parse_whitespace_split(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                          const tb_json *json) {
    TB_TRY(tb_part_members(json, "", loader->error));
    return add_class(out, loader, white_space, TB_SPLIT_REMOVED);
}

static tiba_status parse_whitespace(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                    const tb_json *json) {
    TB_TRY(tb_part_members(json, "", loader->error));
    return add_step(out, (tb_pre_tokenizer_step){split_words, NULL}, loader);
}

static tiba_status parse_punctuation(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                     const tb_json *json) {
    tb_split_behavior behavior = (tb_split_behavior)0;
    TB_TRY(tb_part_members(json, "behavior", loader->error));
    TB_TRY(read_behavior(&behavior, loader, json, TB_SPLIT_ISOLATED));
    return add_class(out, loader, punctuation, behavior);
}

static tiba_status parse_digits(tb_pre_tokenizer *out, tb_tok_loader *loader, const tb_json *json) {
    bool individual;
    TB_TRY(tb_part_members(json, "individual_digits", loader->error));
    TB_TRY(tb_json_bool_or(&individual, json, "individual_digits", false, loader->error));
    return add_class(out, loader, numeric, individual ? TB_SPLIT_ISOLATED : TB_SPLIT_CONTIGUOUS);
}

static tiba_status parse_byte_level(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                    const tb_json *json) {
    tb_byte_level *level = TB_NEW(loader->arena, tb_byte_level, 1);
    if (!level) return tb_out_of_memory(loader->error);
    TB_TRY(tb_part_members(json, "add_prefix_space trim_offsets use_regex", loader->error));
    TB_TRY(
        tb_json_bool_or(&level->add_prefix_space, json, "add_prefix_space", true, loader->error));
    TB_TRY(tb_json_bool_or(&level->use_regex, json, "use_regex", true, loader->error));
    return add_step(out, (tb_pre_tokenizer_step){split_bytes, level}, loader);
}

static tiba_status parse_metaspace(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                   const tb_json *json) {
    static const char *const schemes[] = {"always", "first", "never"};
    metaspace *m = TB_NEW(loader->arena, metaspace, 1);
    if (!m) return tb_out_of_memory(loader->error);
    const char *mark, *scheme;
    bool prefix;
    TB_TRY(tb_part_members(json, "replacement str_rep add_prefix_space prepend_scheme split",
                           loader->error));
    TB_TRY(tb_json_string_or(&mark, json, "replacement", "\xe2\x96\x81", loader->error));
    m->mark_size = strlen(mark);
    if (m->mark_size == 0 || tb_utf8_count(mark, m->mark_size) != 1)
        return tb_json_fail(loader->error, json, "replacement is not one character");
    memcpy(m->mark, mark, m->mark_size);
    TB_TRY(tb_json_string_or(&scheme, json, "prepend_scheme", "always", loader->error));
    size_t i = 0;
    while (i < 3 && strcmp(schemes[i], scheme) != 0) i++;
    if (i == 3)
        return tb_json_fail(loader->error, json, "prepend_scheme \"%.64s\" is not supported",
                            scheme);
    m->prepend = i == 0 ? ALWAYS : i == 1 ? FIRST : NEVER;
    TB_TRY(tb_json_bool_or(&prefix, json, "add_prefix_space", true, loader->error));
    if (!prefix) m->prepend = NEVER;
    TB_TRY(tb_json_bool_or(&m->split, json, "split", true, loader->error));
    return add_step(out, (tb_pre_tokenizer_step){split_metaspace, m}, loader);
}

static tiba_status parse_split(tb_pre_tokenizer *out, tb_tok_loader *loader, const tb_json *json) {
    pattern_split *split = TB_NEW(loader->arena, pattern_split, 1);
    if (!split) return tb_out_of_memory(loader->error);
    TB_TRY(tb_part_members(json, "pattern behavior invert", loader->error));
    tb_json pattern = tb_json_get(json, "pattern");
    TB_TRY(tb_tok_pattern_parse(&split->pattern, loader, &pattern));
    TB_TRY(read_behavior(&split->behavior, loader, json, TB_SPLIT_ISOLATED));
    TB_TRY(tb_json_bool_or(&split->invert, json, "invert", false, loader->error));
    return add_step(out, (tb_pre_tokenizer_step){split_pattern, split}, loader);
}

static tiba_status parse_delimiter(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                   const tb_json *json) {
    pattern_split *split = TB_NEW(loader->arena, pattern_split, 1);
    if (!split) return tb_out_of_memory(loader->error);
    TB_TRY(tb_part_members(json, "delimiter", loader->error));
    tb_json value = tb_json_get(json, "delimiter");
    TB_TRY(tb_tok_pattern_parse(&split->pattern, loader, &value));
    if (tb_utf8_count(split->pattern.literal.data, split->pattern.literal.size) != 1)
        return tb_json_fail(loader->error, &value, "not one character");
    split->behavior = TB_SPLIT_REMOVED;
    return add_step(out, (tb_pre_tokenizer_step){split_pattern, split}, loader);
}

static tiba_status parse_length(tb_pre_tokenizer *out, tb_tok_loader *loader, const tb_json *json) {
    int64_t *length = TB_NEW(loader->arena, int64_t, 1);
    if (!length) return tb_out_of_memory(loader->error);
    TB_TRY(tb_part_members(json, "length", loader->error));
    TB_TRY(tb_json_integer_or(length, json, "length", 1, 1 << 30, 5, loader->error));
    return add_step(out, (tb_pre_tokenizer_step){split_length, length}, loader);
}

static const struct pre_tokenizer_type {
    const char *name;
    tiba_status (*parse)(tb_pre_tokenizer *out, tb_tok_loader *loader, const tb_json *json);
} types[] = {
    {"BertPreTokenizer", parse_bert},        {"ByteLevel", parse_byte_level},
    {"CharDelimiterSplit", parse_delimiter}, {"Digits", parse_digits},
    {"FixedLength", parse_length},           {"Metaspace", parse_metaspace},
    {"Punctuation", parse_punctuation},      {"Split", parse_split},
    {"Whitespace", parse_whitespace},        {"WhitespaceSplit", parse_whitespace_split},
};

tiba_status tb_pre_tokenizer_parse(tb_pre_tokenizer *out, tb_tok_loader *loader,
                                   const tb_json *json) {
    const char *type;
    if (tb_json_absent(json)) return TIBA_OK;
    TB_TRY(tb_part_type(&type, json, loader->error));
    if (strcmp(type, "Sequence") == 0) {
        if (!out->type) out->type = "Sequence";
        TB_TRY(tb_part_members(json, "pretokenizers", loader->error));
        tb_json list = tb_json_get(json, "pretokenizers");
        TB_TRY(tb_json_need_array(&list, loader->error));
        for (tb_json item = {0}; tb_json_next(&item, &list);)
            TB_TRY(tb_pre_tokenizer_parse(out, loader, &item));
        return TIBA_OK;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, type) == 0) {
            if (!out->type) out->type = types[i].name;
            return types[i].parse(out, loader, json);
        }
    return tb_json_fail(loader->error, json, "pre-tokenizer \"%.64s\" is not supported", type);
}

tiba_status tb_pre_tokenizer_apply(const tb_pre_tokenizer *pre_tokenizer, tb_tok_pieces *pieces,
                                   tb_tok_work *work) {
    tiba_status status = TIBA_OK;
    for (size_t i = 0; i < pre_tokenizer->count && status == TIBA_OK; i++) {
        const tb_pre_tokenizer_step *step = &pre_tokenizer->steps[i];
        tb_tok_pieces next = {0};
        for (size_t k = 0; k < pieces->count && status == TIBA_OK; k++) {
            const tb_tok_piece *piece = &pieces->items[k];
            status = piece->tokenized ? tb_tok_push_piece(&next, piece, work)
                                      : step->split(step->data, piece->string, &next, work);
        }
        tb_free(pieces->items);
        *pieces = next;
    }
    return status;
}
