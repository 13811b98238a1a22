/*
 * tok_regex.c: see tok_regex.h. The translation walks over the pattern once; a class is written
 * as PCRE2's own property plus what Unicode has added since, or, where PCRE2 was built with
 * another Unicode version, as a list of all ranges.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "io/tok_regex.h"

#include <pcre2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MATCH_LIMIT = 20000000, DEPTH_LIMIT = 100000, HEAP_LIMIT_KIB = 65536, MAX_PATTERN = 65536 };

struct tb_regex {
    pcre2_code *code;
    pcre2_general_context *general;
    pcre2_match_context *context;
};

/* The translation in progress. */
typedef struct translator {
    const char *in;
    size_t size, at;
    char *out;
    size_t length, capacity;
    tb_budget *budget;
    int depth;
    bool caseless[64]; /* per open group */
    bool old_unicode;  /* PCRE2 knows Unicode 14 */
    bool failed;       /* out of memory */
    tiba_error *error;
} translator;

static void emit_bytes(translator *t, const char *bytes, size_t size) {
    if (t->failed) return;
    if (t->length + size + 1 > t->capacity) {
        size_t larger = (t->length + size + 1) * 2;
        char *fresh = tb_realloc(t->budget, t->out, larger);
        if (!fresh) {
            t->failed = true;
            return;
        }
        t->out = fresh;
        t->capacity = larger;
    }
    memcpy(t->out + t->length, bytes, size);
    t->length += size;
    t->out[t->length] = '\0';
}

static void emit(translator *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void emit(translator *t, const char *format, ...) {
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (n > 0) emit_bytes(t, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void emit_range(translator *t, uint32_t first, uint32_t last) {
    if (first > last) return;
    if (first < 0xd800 && last > 0xdfff) { /* PCRE2 refuses surrogates as ends only */
        emit_range(t, first, 0xd7ff);
        first = 0xe000;
    }
    if (first >= 0xd800 && first <= 0xdfff) first = 0xe000;
    if (last >= 0xd800 && last <= 0xdfff) last = 0xd7ff;
    if (first > last) return;
    emit(t, first == last ? "\\x{%x}" : "\\x{%x}-\\x{%x}", first, last);
}

/* The ranges of a set, or of its complement. */
static void emit_set(translator *t, tb_range_set set, bool negated) {
    uint32_t next = 0;
    for (size_t i = 0; i < set.count; i++) {
        if (!negated) {
            emit_range(t, set.ranges[i].first, set.ranges[i].last);
        } else {
            if (set.ranges[i].first > next) emit_range(t, next, set.ranges[i].first - 1);
            next = set.ranges[i].last + 1;
        }
    }
    if (negated && next <= 0x10ffff) emit_range(t, next, 0x10ffff);
}

/* \w. Inside a class the engine leaves six Latin-1 numbers out of it, outside it does not. */
static void emit_word(translator *t, bool in_class, bool negated) {
    static const tb_range latin[] = {{0x30, 0x39}, {0x41, 0x5a}, {0x5f, 0x5f}, {0x61, 0x7a},
                                     {0xaa, 0xaa}, {0xb5, 0xb5}, {0xba, 0xba}, {0xc0, 0xd6},
                                     {0xd8, 0xf6}, {0xf8, 0xff}};
    enum { LATIN = sizeof latin / sizeof *latin };
    tb_range ranges[2048];
    tb_range_set all = tb_unicode_sets[TB_SET_ONIG_WORD], set = {ranges, 0};
    if (!in_class || all.count > 2048 - LATIN) {
        emit_set(t, all, negated);
        return;
    }
    for (size_t i = 0; i < LATIN; i++) ranges[set.count++] = latin[i];
    for (size_t i = 0; i < all.count; i++) {
        if (all.ranges[i].last < 0x100) continue;
        ranges[set.count] = all.ranges[i];
        if (ranges[set.count].first < 0x100) ranges[set.count].first = 0x100;
        set.count++;
    }
    emit_set(t, set, negated);
}

/* General categories as bits. */
typedef struct property {
    const char *name;
    uint32_t mask;
} property;

#define BIT(category) (1u << (category))
static const property properties[] = {
    {"L", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"Letter", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"M", BIT(MN) | BIT(MC) | BIT(ME)},
    {"Mark", BIT(MN) | BIT(MC) | BIT(ME)},
    {"N", BIT(ND) | BIT(NL) | BIT(NO)},
    {"Number", BIT(ND) | BIT(NL) | BIT(NO)},
    {"P", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"Punctuation", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"S", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"Symbol", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"Z", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"Separator", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"Lu", BIT(LU)},
    {"Ll", BIT(LL)},
    {"Lt", BIT(LT)},
    {"Lm", BIT(LM)},
    {"Lo", BIT(LO)},
    {"Mn", BIT(MN)},
    {"Mc", BIT(MC)},
    {"Me", BIT(ME)},
    {"Nd", BIT(ND)},
    {"Nl", BIT(NL)},
    {"No", BIT(NO)},
    {"Pc", BIT(PC)},
    {"Pd", BIT(PD)},
    {"Ps", BIT(PS)},
    {"Pe", BIT(PE)},
    {"Pi", BIT(PI)},
    {"Pf", BIT(PF)},
    {"Po", BIT(PO)},
    {"Sm", BIT(SM)},
    {"Sc", BIT(SC)},
    {"Sk", BIT(SK)},
    {"So", BIT(SO)},
    {"Zs", BIT(ZS)},
    {"Zl", BIT(ZL)},
    {"Zp", BIT(ZP)},
    {"Cc", BIT(CC)},
    {"Cf", BIT(CF)},
    {"Co", BIT(CO)},
};
static const char *const short_names[] = {
    [LU] = "Lu", [LL] = "Ll", [LT] = "Lt", [LM] = "Lm", [LO] = "Lo", [MN] = "Mn", [MC] = "Mc",
    [ME] = "Me", [ND] = "Nd", [NL] = "Nl", [NO] = "No", [PC] = "Pc", [PD] = "Pd", [PS] = "Ps",
    [PE] = "Pe", [PI] = "Pi", [PF] = "Pf", [PO] = "Po", [SM] = "Sm", [SC] = "Sc", [SK] = "Sk",
    [SO] = "So", [ZS] = "Zs", [ZL] = "Zl", [ZP] = "Zp", [CC] = "Cc", [CF] = "Cf", [CO] = "Co"};

/* Class items for the categories of `mask`, or for all others. */
static void emit_categories(translator *t, uint32_t mask, bool negated) {
    uint32_t moved = tb_unicode_moved14 & mask;
    bool same = moved == 0 || moved == tb_unicode_moved14;
    if (t->old_unicode && same && !negated) {
        uint32_t letters = BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO);
        if (mask == letters)
            emit(t, "\\p{L}");
        else
            for (int c = LU; c <= CO; c++)
                if (mask & BIT(c)) emit(t, "\\p{%s}", short_names[c]);
        for (size_t i = 0; i < tb_unicode_since14_count; i++) {
            const tb_unicode_fresh *fresh = &tb_unicode_since14[i];
            if (mask & BIT(fresh->category)) emit_range(t, fresh->first, fresh->last);
        }
        return;
    }
    for (size_t i = 0; i < tb_unicode_run_count;) {
        size_t end = i + 1;
        bool in = (mask & BIT(tb_unicode_runs[i].category)) != 0;
        while (end < tb_unicode_run_count &&
               ((mask & BIT(tb_unicode_runs[end].category)) != 0) == in)
            end++;
        uint32_t last = end < tb_unicode_run_count ? tb_unicode_runs[end].first - 1 : 0x10ffff;
        if (in != negated) emit_range(t, tb_unicode_runs[i].first, last);
        i = end;
    }
}

static tiba_status unsupported(translator *t, const char *what, size_t start) {
    int length = t->at - start < 24 ? (int)(t->at - start) : 24;
    return tb_fail(t->error, TIBA_ERROR_INPUT,
                   "regular expression: %s \"%.*s\" at byte %zu is not supported", what,
                   length > 0 ? length : 1, t->in + start, start);
}

/* \p{…}, \P{…}, \p{^…}; `at` is behind the p. Inside a class only the items are written. */
static tiba_status translate_property(translator *t, bool negated, bool in_class, size_t start) {
    char name[32];
    size_t n = 0;
    if (t->at >= t->size || t->in[t->at] != '{') return unsupported(t, "property", start);
    t->at++;
    if (t->at < t->size && t->in[t->at] == '^') {
        negated = !negated;
        t->at++;
    }
    while (t->at < t->size && t->in[t->at] != '}' && n + 1 < sizeof name)
        name[n++] = t->in[t->at++];
    name[n] = '\0';
    if (t->at >= t->size || t->in[t->at] != '}') return unsupported(t, "property", start);
    t->at++;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (strcmp(properties[i].name, name) != 0) continue;
        uint32_t mask = properties[i].mask, cased = BIT(LU) | BIT(LL) | BIT(LT);
        if (t->caseless[t->depth] && (mask & cased) && (mask & cased) != cased)
            return unsupported(t, "case-insensitive property", start);
        if (!in_class) emit(t, negated ? "[^" : "[");
        emit_categories(t, mask, negated && in_class);
        if (!in_class) emit(t, "]");
        return TIBA_OK;
    }
    for (size_t i = 0; i < tb_unicode_script_count; i++) {
        if (strcmp(tb_unicode_scripts[i].name, name) != 0) continue;
        if (!in_class) emit(t, "[");
        emit_set(t, tb_unicode_scripts[i].set, negated);
        if (!in_class) emit(t, "]");
        return TIBA_OK;
    }
    return unsupported(t, "property", start);
}

/* Word boundaries, by the engine's own \w. */
static void emit_boundary(translator *t, bool negated) {
    tb_range_set word = tb_unicode_sets[TB_SET_ONIG_WORD];
    for (int side = 0; side < 2; side++) {
        emit(t, side == 0 ? "(?:(?<=[" : "|(?<![");
        emit_set(t, word, false);
        emit(t, (side == 0) != negated ? "])(?![" : "])(?=[");
        emit_set(t, word, false);
        emit(t, "])");
    }
    emit(t, ")");
}

static bool hex_value(uint32_t *value, char c) {
    if (c >= '0' && c <= '9')
        *value = *value * 16 + (uint32_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
        *value = *value * 16 + (uint32_t)(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
        *value = *value * 16 + (uint32_t)(c - 'A') + 10;
    else
        return false;
    return *value <= 0x10ffff;
}

/* \xHH, \x{H…}, \uHHHH; `at` is behind the letter. */
static tiba_status translate_hex(translator *t, char letter, size_t start) {
    uint32_t value = 0;
    size_t digits = 0, most = letter == 'u' ? 4 : 2;
    bool braced = letter == 'x' && t->at < t->size && t->in[t->at] == '{';
    if (braced) {
        most = 8;
        t->at++;
    }
    while (digits < most && t->at < t->size && hex_value(&value, t->in[t->at])) {
        t->at++;
        digits++;
    }
    if (braced && (t->at >= t->size || t->in[t->at++] != '}'))
        return unsupported(t, "escape", start);
    if (digits == 0 || (letter == 'u' && digits < 4) || (!braced && value > 0x7f && letter == 'x'))
        return unsupported(t, "escape", start);
    emit(t, "\\x{%x}", value);
    return TIBA_OK;
}

/* An escape; `at` is on the backslash. */
static tiba_status translate_escape(translator *t, bool in_class) {
    size_t start = t->at++;
    if (t->at >= t->size) return unsupported(t, "escape", start);
    char c = t->in[t->at++];
    bool upper = c >= 'A' && c <= 'Z';
    if ((unsigned char)c >= 0x80) {
        t->at--;
        return TIBA_OK; /* an escaped character is itself */
    }
    if (strchr("pP", c)) return translate_property(t, c == 'P', in_class, start);
    if (strchr("sSwWdDhH", c)) {
        static const tb_range hex[] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
        tb_range_set set =
            strchr("sS", c) ? tb_unicode_sets[TB_SET_WHITE_SPACE] : (tb_range_set){hex, 3};
        if (!in_class) emit(t, upper ? "[^" : "[");
        if (strchr("dD", c))
            emit_categories(t, BIT(ND), upper && in_class);
        else if (strchr("wW", c))
            emit_word(t, in_class, upper && in_class);
        else
            emit_set(t, set, upper && in_class);
        if (!in_class) emit(t, "]");
        return TIBA_OK;
    }
    if (strchr("xu", c)) return translate_hex(t, c, start);
    if (c == 'v') {
        emit(t, "\\x{b}");
        return TIBA_OK;
    }
    if (strchr("rntfae", c)) {
        emit(t, "\\%c", c);
        return TIBA_OK;
    }
    if (!in_class && strchr("bB", c)) {
        emit_boundary(t, c == 'B');
        return TIBA_OK;
    }
    bool letter_or_digit = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (letter_or_digit && (in_class || !strchr("AzZ", c))) return unsupported(t, "escape", start);
    emit(t, "\\%c", c);
    return TIBA_OK;
}

static tiba_status translate_posix(translator *t, size_t start) {
    static const struct {
        const char *name;
        uint32_t mask;
    } classes[] = {
        {"punct", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO) | BIT(SM) |
                      BIT(SC) | BIT(SK) | BIT(SO)},
        {"digit", BIT(ND)},
        {"cntrl", BIT(CC)},
    };
    size_t name = t->at + 2;
    bool negated = name < t->size && t->in[name] == '^';
    if (negated) name++;
    size_t end = name;
    while (end + 1 < t->size && t->in[end] >= 'a' && t->in[end] <= 'z') end++;
    if (end + 1 >= t->size || t->in[end] != ':' || t->in[end + 1] != ']')
        return unsupported(t, "class", start);
    t->at = end + 2;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == end - name &&
            memcmp(classes[i].name, t->in + name, end - name) == 0) {
            emit_categories(t, classes[i].mask, negated);
            return TIBA_OK;
        }
    if (end - name == 5 && memcmp(t->in + name, "space", 5) == 0) {
        emit_set(t, tb_unicode_sets[TB_SET_WHITE_SPACE], negated);
        return TIBA_OK;
    }
    return unsupported(t, "class", start);
}

/* […]; `at` is on the bracket. */
static tiba_status translate_class(translator *t) {
    size_t start = t->at++;
    bool first = true;
    emit(t, "[");
    if (t->at < t->size && t->in[t->at] == '^') {
        emit(t, "^");
        t->at++;
    }
    for (; t->at < t->size; first = false) {
        char c = t->in[t->at];
        if (c == ']' && !first) {
            emit(t, "]");
            t->at++;
            return TIBA_OK;
        }
        if (c == ']') return unsupported(t, "empty class", start);
        if (c == '\\') {
            TB_TRY(translate_escape(t, true));
        } else if (c == '[' && t->at + 1 < t->size && t->in[t->at + 1] == ':') {
            TB_TRY(translate_posix(t, t->at));
        } else if (c == '[') {
            return unsupported(t, "nested class", start);
        } else if (c == '&' && t->at + 1 < t->size && t->in[t->at + 1] == '&') {
            return unsupported(t, "class intersection", start);
        } else {
            emit_bytes(t, &c, 1);
            t->at++;
        }
    }
    return unsupported(t, "open class", start);
}

/* What follows "(?"; `at` is on the parenthesis. */
static tiba_status translate_group(translator *t) {
    size_t start = t->at++;
    if (t->depth + 1 >= (int)(sizeof t->caseless)) return unsupported(t, "depth of", start);
    bool caseless = t->caseless[t->depth];
    if (t->at >= t->size || t->in[t->at] != '?') {
        emit(t, "(");
        t->caseless[++t->depth] = caseless;
        return TIBA_OK;
    }
    t->at++;
    static const char *const plain[] = {":", "=", "!", ">", "<=", "<!"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        size_t n = strlen(plain[i]);
        if (t->size - t->at >= n && memcmp(t->in + t->at, plain[i], n) == 0) {
            t->at += n;
            emit(t, "(?%s", plain[i]);
            t->caseless[++t->depth] = caseless;
            return TIBA_OK;
        }
    }
    char flags[8] = "";
    bool on = true;
    size_t n = 0;
    for (; t->at < t->size && n + 2 < sizeof flags; t->at++) {
        char c = t->in[t->at];
        if (c == 'i')
            caseless = on;
        else if (c == '-')
            on = false;
        else if (c != 'm')
            break;
        flags[n++] = c == 'm' ? 's' : c; /* Oniguruma's m is what PCRE2 calls s */
    }
    if (n == 0 || t->at >= t->size || (t->in[t->at] != ':' && t->in[t->at] != ')'))
        return unsupported(t, "group", start);
    bool rest = t->in[t->at++] == ')'; /* to the end of the group it stands in */
    emit(t, rest ? "(?%s)" : "(?%s:", flags);
    if (!rest) t->depth++;
    t->caseless[t->depth] = caseless;
    return TIBA_OK;
}

static tiba_status translate(translator *t) {
    bool interval = false; /* the character before ends one */
    while (t->at < t->size) {
        char c = t->in[t->at];
        if (c == '\\') {
            TB_TRY(translate_escape(t, false));
        } else if (c == '[') {
            TB_TRY(translate_class(t));
        } else if (c == '(') {
            TB_TRY(translate_group(t));
        } else if (c == '+' && interval) { /* possessive to PCRE2, a repeat to Oniguruma */
            return unsupported(t, "repeated interval", t->at++);
        } else {
            if (c == ')' && t->depth > 0) t->depth--;
            emit_bytes(t, &c, 1);
            t->at++;
        }
        interval = c == '}';
        if (t->failed) return tb_out_of_memory(t->error);
    }
    return TIBA_OK;
}

static tiba_status translate_all(translator *t, tb_budget *budget, const char *pattern, size_t size,
                                 tiba_error *error) {
    char version[64] = "";
    *t = (translator){.in = pattern, .size = size, .budget = budget, .error = error};
    if (size > MAX_PATTERN)
        return tb_fail(error, TIBA_ERROR_INPUT, "regular expression of %zu bytes", size);
    if (memchr(pattern, '\0', size))
        return tb_fail(error, TIBA_ERROR_INPUT, "regular expression with U+0000");
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
    t->old_unicode = strcmp(version, "14.0.0") == 0;
    emit_bytes(t, "", 0);
    return translate(t);
}

tiba_status tb_regex_translate(char **out, tb_arena *arena, const char *pattern, size_t size,
                               tiba_error *error) {
    translator t;
    tiba_status status = translate_all(&t, tb_arena_budget(arena), pattern, size, error);
    *out = status == TIBA_OK ? tb_arena_strdup(arena, t.out) : NULL;
    tb_free(t.out);
    return status == TIBA_OK && !*out ? tb_out_of_memory(error) : status;
}

static void *general_malloc(size_t size, void *budget) {
    return tb_alloc(budget, size);
}

static void general_free(void *block, void *budget) {
    (void)budget;
    tb_free(block);
}

tiba_status tb_regex_create(tb_regex **out, tb_budget *budget, const char *pattern, size_t size,
                            tiba_error *error) {
    translator t;
    *out = NULL;
    tiba_status status = translate_all(&t, budget, pattern, size, error);
    if (status != TIBA_OK) {
        tb_free(t.out);
        return status;
    }
    tb_regex *regex = tb_calloc(budget, 1, sizeof *regex);
    pcre2_compile_context *compile = NULL;
    if (regex) regex->general = pcre2_general_context_create(general_malloc, general_free, budget);
    if (regex && regex->general) {
        regex->context = pcre2_match_context_create(regex->general);
        compile = pcre2_compile_context_create(regex->general);
    }
    if (!compile || !regex->context) {
        tb_free(t.out);
        pcre2_compile_context_free(compile);
        tb_regex_destroy(regex);
        return tb_out_of_memory(error);
    }
    pcre2_set_newline(compile, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(compile, 100);
    pcre2_set_match_limit(regex->context, MATCH_LIMIT);
    pcre2_set_depth_limit(regex->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT_KIB);
    int code = 0;
    PCRE2_SIZE at = 0;
    regex->code =
        pcre2_compile((PCRE2_SPTR)t.out, t.length,
                      PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                      &code, &at, compile);
    tb_free(t.out);
    pcre2_compile_context_free(compile);
    if (!regex->code) {
        char reason[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        tb_regex_destroy(regex);
        return tb_fail(error, TIBA_ERROR_INPUT, "regular expression \"%.*s\": %s",
                       (int)(size < 80 ? size : 80), pattern, reason);
    }
    *out = regex;
    return TIBA_OK;
}

void tb_regex_destroy(tb_regex *regex) {
    if (!regex) return;
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->context);
    pcre2_general_context_free(regex->general);
    tb_free(regex);
}

tiba_status tb_regex_match(const tb_regex *regex, const tb_tok_string *string, tb_tok_work *work) {
    work->match_count = 0;
    if (string->size == 0) return TIBA_OK;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(regex->code, regex->general);
    if (!data) return tb_out_of_memory(work->error);
    tiba_status status = TIBA_OK;
    size_t from = 0, done = 0, last_end = SIZE_MAX;
    while (from <= string->size && status == TIBA_OK) {
        int code = pcre2_match(regex->code, (PCRE2_SPTR)string->text, string->size, from,
                               PCRE2_NO_UTF_CHECK, data, regex->context);
        if (code == PCRE2_ERROR_NOMATCH) break;
        if (code < 0) {
            char reason[128] = "";
            pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
            status = tb_fail(work->error, TIBA_ERROR_INPUT,
                             "a regular expression of the tokenizer on this text: %s", reason);
            break;
        }
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
        size_t start = ends[0], end = ends[1];
        if (start == end && end == last_end) { /* no empty match right behind a match */
            if (from >= string->size) break;
            tb_utf8_next(string->text, &from);
            continue;
        }
        if (start < done || end < start) break; /* \K and the like are not translated */
        if (done < start) status = tb_tok_push_match(work, done, start, false);
        if (status == TIBA_OK) status = tb_tok_push_match(work, start, end, true);
        done = from = last_end = end;
    }
    pcre2_match_data_free(data);
    if (status == TIBA_OK && done < string->size)
        status = tb_tok_push_match(work, done, string->size, false);
    return status;
}
