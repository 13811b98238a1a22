#include "tools/token_list.h"

#include <math.h>
#include <string.h>

#include "base/tensor.h"
#include "tools/order.h"

/* The id at a place of an input that was given as whole numbers [samples or answers, places];
 * false: none. */
static bool id_of(const tb_sample *sample, const char *input, int64_t which, int64_t place,
                  int64_t *id) {
    for (int i = 0; i < sample->n_feeds; i++) {
        const tiba_tensor *t = &sample->feeds[i].tensor;
        if (strcmp(sample->feeds[i].name, input) != 0 || !tb_dtype_is_integer(t->dtype)) continue;
        int64_t n = t->rank >= 2 ? t->dims[t->rank - 1] : 0;
        if (place < 0 || (place >= n && which > 0) || which * n + place >= tb_tensor_count(t))
            return false; /* a place beyond the last axis counts through all of them */
        *id = tb_get_i64(t, which * n + place);
        return true;
    }
    return false;
}

/* Is it the only token of its input, such as a column of a table? */
static bool is_single(const tiba_tower *t, int64_t token) {
    for (int64_t i = 0; i < t->tokens; i++)
        if (i != token && t->origins[i] && strcmp(t->origins[i], t->origins[token]) == 0)
            return false;
    return t->places[token] == 0;
}

static const char *name_of(tb_arena *arena, tb_subject *subject, const tb_sample *sample,
                           const tiba_tower *t, int64_t at, int64_t i) {
    int64_t patch = i - t->prefix, id;
    if (t->rows && patch >= 0 && patch < t->rows * t->columns)
        return tb_arena_format(arena, "row %lld, column %lld", (long long)(patch / t->columns + 1),
                               (long long)(patch % t->columns + 1));
    const char *from = t->origins ? t->origins[i] : NULL;
    if (!from) /* a class token, or nobody knows */
        return tb_arena_format(arena, "token %lld%s", (long long)i,
                               t->origins || t->rows ? ", of no input" : "");
    int64_t place = t->places[i];
    bool own = strcmp(from, t->input) == 0 && place == i;
    const char *text = is_single(t, i) ? tb_arena_format(arena, "'%s'", from)
                       : own           ? tb_arena_format(arena, "token %lld", (long long)i)
                       : place < 0
                           ? tb_arena_format(arena, "token %lld, of '%s'", (long long)i, from)
                           : tb_arena_format(arena, "token %lld, place %lld of '%s'", (long long)i,
                                             (long long)place, from);
    if (!text || !id_of(sample, from, t->sample[at], place, &id)) return text;
    tb_text token = tb_subject_token(subject, from, id);
    return tb_arena_format(arena, "%s, id %lld%s%.*s", text, (long long)id, token.size ? " " : "",
                           (int)token.size, token.data);
}

/* Does the score read few of the tokens: a class token, or one in each part of a long text? */
static bool picks_tokens(const tiba_tower *t, const float *w) {
    int64_t others = 0;
    for (int64_t i = 0; i < t->readout_tokens; i++) others += w[i] == 0.0f;
    return t->readout_tokens == t->tokens && 2 * others >= t->tokens;
}

tiba_status tb_token_list_make(tb_token_list *out, tb_arena *arena, tb_subject *subject,
                               const tb_sample *sample, const tiba_tower *t, int64_t at,
                               tiba_error *error) {
    *out = (tb_token_list){.title = t->input,
                           .rows = t->rows,
                           .columns = t->columns,
                           .prefix = t->prefix,
                           .n = t->tokens};
    out->tokens = TB_NEW(arena, tb_listed_token, t->tokens);
    out->order = TB_NEW(arena, int64_t, t->tokens);
    double *sizes = TB_NEW(arena, double, t->tokens);
    if (!out->tokens || !out->order || !sizes) return tb_out_of_memory(error);
    const float *w = t->readout + at * t->readout_tokens;
    bool picks = picks_tokens(t, w);
    for (int64_t i = 0; i < t->tokens; i++) {
        tb_listed_token *token = &out->tokens[i];
        token->value = (double)t->relevance[at * t->tokens + i];
        token->read = picks && w[i] > 0.0f;
        token->name = name_of(arena, subject, sample, t, at, i);
        if (!token->name) return tb_out_of_memory(error);
        sizes[i] = fabs(token->value);
        out->has_read |= token->read;
        if (!token->read) out->most = fmax(out->most, sizes[i]);
    }
    return tb_order(out->order, sizes, t->tokens, error);
}

double tb_token_list_scaled(const tb_token_list *list, int64_t token) {
    double value = list->tokens[token].value;
    if (!(list->most > 0.0)) return 0.0;
    return value > list->most ? 1.0 : value < -list->most ? -1.0 : value / list->most;
}
