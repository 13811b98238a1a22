/*
 * unicode.h: code points for the tokenizers. Classes come from unicode_tables.h; decomposition,
 * composition and grapheme classes from utf8proc, corrected by those tables. Texts handed in are
 * valid UTF-8 (tb_utf8_valid in json.h).
 */
#ifndef TB_IO_UNICODE_H
#define TB_IO_UNICODE_H

#include <stdbool.h>

#include "io/unicode_tables.h"

/** The code point at text[*at], and steps over it. */
uint32_t tb_utf8_next(const char *text, size_t *at);
/** The code point that ends before text[*at] (*at > 0), and steps back over it. */
uint32_t tb_utf8_previous(const char *text, size_t *at);
/** Writes 1 to 4 bytes; how many. */
size_t tb_utf8_write(char *out, uint32_t c);
/** Bytes of a code point. */
size_t tb_utf8_length(uint32_t c);
size_t tb_utf8_count(const char *text, size_t size);

tb_category tb_unicode_category(uint32_t c);
bool tb_unicode_has(tb_set set, uint32_t c);
/** Whether `c` is in ascending ranges. */
bool tb_range_has(tb_range_set set, uint32_t c);

/** Full lower case of one character, without context: 1 or 2 code points; how many. */
int tb_unicode_lower_of(uint32_t out[2], uint32_t c);
/** Full (compatibility) decomposition: 1 to 18 code points; how many. */
int tb_unicode_decompose(uint32_t out[32], uint32_t c, bool compatibility);
/** The canonical composition of two characters, 0 if there is none. */
uint32_t tb_unicode_compose(uint32_t a, uint32_t b);
int tb_unicode_combining_class(uint32_t c);

/** Cells that a text takes on a terminal: 2 for wide characters, 0 for combining ones. */
int tb_text_cells(const char *text, size_t size);

/** The end of the extended grapheme cluster that starts at text[start]. */
size_t tb_grapheme_end(const char *text, size_t size, size_t start);

#endif
