/* unicode.c: see unicode.h. */
#include "io/unicode.h"

#include <utf8proc.h>

uint32_t tb_utf8_next(const char *text, size_t *at) {
    const unsigned char *p = (const unsigned char *)text + *at;
    if (p[0] < 0x80) {
        *at += 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *at += 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (p[0] < 0xf0) {
        *at += 3;
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    *at += 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
           (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

uint32_t tb_utf8_previous(const char *text, size_t *at) {
    do --*at;
    while (*at > 0 && ((unsigned char)text[*at] & 0xc0) == 0x80);
    size_t start = *at;
    return tb_utf8_next(text, &start);
}

size_t tb_utf8_length(uint32_t c) {
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

size_t tb_utf8_write(char *out, uint32_t c) {
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = tb_utf8_length(c);
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

size_t tb_utf8_count(const char *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

bool tb_range_has(tb_range_set set, uint32_t c) {
    size_t low = 0, high = set.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > set.ranges[middle].last)
            low = middle + 1;
        else if (c < set.ranges[middle].first)
            high = middle;
        else
            return true;
    }
    return false;
}

tb_category tb_unicode_category(uint32_t c) {
    size_t low = 0, high = tb_unicode_run_count;
    while (high - low > 1) { /* runs[low].first <= c < runs[high].first */
        size_t middle = (low + high) / 2;
        if (tb_unicode_runs[middle].first <= c)
            low = middle;
        else
            high = middle;
    }
    return (tb_category)tb_unicode_runs[low].category;
}

bool tb_unicode_has(tb_set set, uint32_t c) {
    return tb_range_has(tb_unicode_sets[set], c);
}

int tb_unicode_lower_of(uint32_t out[2], uint32_t c) {
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    size_t low = 0, high = tb_unicode_lower_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tb_unicode_lower[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < tb_unicode_lower_count && tb_unicode_lower[low].from == c) {
        out[0] = tb_unicode_lower[low].to;
        out[1] = tb_unicode_lower[low].second;
        return out[1] ? 2 : 1;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

int tb_unicode_decompose(uint32_t out[32], uint32_t c, bool compatibility) {
    utf8proc_int32_t parts[32];
    int boundary = 0;
    out[0] = c;
    if (c < 0xa0) return 1;
    if (tb_unicode_has(compatibility ? TB_SET_NOT_COMPAT_DECOMPOSED : TB_SET_NOT_DECOMPOSED, c))
        return 1;
    int options = UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0);
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, 32,
                                                 (utf8proc_option_t)options, &boundary);
    if (n < 1 || n > 32) return 1;
    for (int i = 0; i < (int)n; i++) out[i] = (uint32_t)parts[i];
    return (int)n;
}

uint32_t tb_unicode_compose(uint32_t a, uint32_t b) {
    utf8proc_int32_t pair[3] = {(utf8proc_int32_t)a, (utf8proc_int32_t)b, 0};
    if (b < 0x300) return 0;
    utf8proc_ssize_t n =
        utf8proc_normalize_utf32(pair, 2, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (n != 1 || tb_unicode_has(TB_SET_NOT_DECOMPOSED, (uint32_t)pair[0])) return 0;
    return (uint32_t)pair[0];
}

int tb_unicode_combining_class(uint32_t c) {
    if (c < 0x300) return 0;
    int value = utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
    return value && tb_unicode_has(TB_SET_NOT_ORDERED, c) ? 0 : value;
}

static int boundary_class(uint32_t c) {
    int value = utf8proc_get_property((utf8proc_int32_t)c)->boundclass;
    if (value == UTF8PROC_BOUNDCLASS_OTHER && c >= 0x300) {
        if (tb_unicode_has(TB_SET_GRAPHEME_EXTEND, c)) return UTF8PROC_BOUNDCLASS_EXTEND;
        if (tb_unicode_has(TB_SET_GRAPHEME_PREPEND, c)) return UTF8PROC_BOUNDCLASS_PREPEND;
    }
    return value;
}

/* UAX #29, GB3 to GB9b between two neighbours. */
static bool joined(int a, int b) {
    enum {
        CR = UTF8PROC_BOUNDCLASS_CR,
        LF = UTF8PROC_BOUNDCLASS_LF,
        CONTROL = UTF8PROC_BOUNDCLASS_CONTROL,
        L = UTF8PROC_BOUNDCLASS_L,
        V = UTF8PROC_BOUNDCLASS_V,
        T = UTF8PROC_BOUNDCLASS_T,
        LV = UTF8PROC_BOUNDCLASS_LV,
        LVT = UTF8PROC_BOUNDCLASS_LVT
    };
    if (a == CR && b == LF) return true;
    if (a == CR || a == LF || a == CONTROL || b == CR || b == LF || b == CONTROL) return false;
    if (a == L && (b == L || b == V || b == LV || b == LVT)) return true;
    if ((a == LV || a == V) && (b == V || b == T)) return true;
    if ((a == LVT || a == T) && b == T) return true;
    return b == UTF8PROC_BOUNDCLASS_EXTEND || b == UTF8PROC_BOUNDCLASS_ZWJ ||
           b == UTF8PROC_BOUNDCLASS_SPACINGMARK || a == UTF8PROC_BOUNDCLASS_PREPEND;
}

size_t tb_grapheme_end(const char *text, size_t size, size_t start) {
    size_t at = start;
    int a = boundary_class(tb_utf8_next(text, &at)), flags = 1;
    bool picture = a == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
    while (at < size) {
        size_t next = at;
        int b = boundary_class(tb_utf8_next(text, &next));
        bool join = joined(a, b);
        if (a == UTF8PROC_BOUNDCLASS_ZWJ && b == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC)
            join = picture; /* GB11 */
        if (a == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR && b == a) {
            join = flags % 2 == 1; /* GB12, GB13 */
            flags++;
        }
        if (!join) break;
        if (b == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC)
            picture = true;
        else if (b != UTF8PROC_BOUNDCLASS_EXTEND && b != UTF8PROC_BOUNDCLASS_ZWJ)
            picture = false;
        a = b;
        at = next;
    }
    return at;
}

int tb_text_cells(const char *text, size_t size) {
    int cells = 0;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                              (utf8proc_ssize_t)(size - at), &c);
        if (n > 0) cells += utf8proc_charwidth(c);
        at += n > 0 ? (size_t)n : 1;
    }
    return cells;
}
