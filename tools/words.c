#include "tools/words.h"

#include <math.h>
#include <string.h>

static bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The word's own letters: tokenizers that mark blanks count them to the word behind. */
static void trim(tb_word *word, const char *text) {
    const char *from = text + word->at_utf8.start, *to = text + word->at_utf8.end;
    while (from < to && blank(*from)) from++, word->at_utf8.start++, word->at.start++;
    while (to > from && blank(to[-1])) to--, word->at_utf8.end--, word->at.end--;
    word->text = (tb_text){from, (size_t)(to - from)};
}

static bool continues(const tb_encoding *e, size_t i) {
    return i > 0 && e->word_ids[i] >= 0 && !e->special_tokens[i - 1] &&
           e->word_ids[i] == e->word_ids[i - 1] && e->sequence_ids[i] == e->sequence_ids[i - 1];
}

tiba_status tb_words_make(tb_words *out, tb_arena *arena, const char *text, const tb_encoding *e,
                          const float *relevance, tiba_error *error) {
    *out = (tb_words){.text = text, .n_tokens = (int)e->count};
    out->tokens = TB_NEW(arena, tb_token_value, e->count);
    out->words = TB_NEW(arena, tb_word, e->count);
    if (!out->tokens || !out->words) return tb_out_of_memory(error);
    for (size_t i = 0; i < e->count; i++) {
        tb_token_value *t = &out->tokens[i];
        *t = (tb_token_value){.text = e->tokens[i],
                              .id = e->ids[i],
                              .at = e->offsets[i],
                              .at_utf8 = e->offsets_utf8[i],
                              .special = e->special_tokens[i],
                              .word = -1,
                              .value = (double)relevance[i]};
        if (t->special || e->sequence_ids[i] > 0) {
            out->special += t->special ? t->value : 0.0;
            continue;
        }
        if (!continues(e, i))
            out->words[out->n_words++] = (tb_word){.at = t->at, .at_utf8 = t->at_utf8};
        t->word = out->n_words - 1;
        tb_word *word = &out->words[t->word];
        word->value += t->value;
        if (t->at.end > word->at.end) word->at.end = t->at.end;
        if (t->at_utf8.end > word->at_utf8.end) word->at_utf8.end = t->at_utf8.end;
    }
    for (int i = 0; i < out->n_words; i++) {
        double v = out->words[i].value;
        trim(&out->words[i], text);
        if (i == 0 || v < out->low) out->low = v;
        if (i == 0 || v > out->high) out->high = v;
    }
    return TIBA_OK;
}

double tb_words_scaled(const tb_words *words, double value, bool has_sign) {
    double most = fmax(fabs(words->low), fabs(words->high));
    if (has_sign) return most > 0.0 ? value / most : 0.0;
    double room = words->high - words->low;
    return room > 0.0 ? (value - words->low) / room : 1.0;
}
