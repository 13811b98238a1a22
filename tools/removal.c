#include "tools/removal.h"

#include <string.h>

/* The feed of input `name`, and whether the graph takes several samples. */
static tiba_status find_feed(tb_removal *to, const tb_subject *subject, const char *name,
                             tiba_error *error) {
    const tb_sample *sample = to->sample;
    while (to->feed < sample->n_feeds && strcmp(sample->feeds[to->feed].name, name) != 0)
        to->feed++;
    if (to->feed == sample->n_feeds)
        return tb_fail(error, TIBA_ERROR_INPUT, "nothing was given for input '%s'", name);
    to->batches = true;
    for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        if (port.rank < 1 || port.dims[0] > 0) to->batches = false;
    }
    return TIBA_OK;
}

tiba_status tb_removal_picture(tb_removal *out, const tb_subject *subject, const tb_sample *sample,
                               const char *name, int64_t row, int64_t rows, int64_t columns,
                               tiba_error *error) {
    *out = (tb_removal){.sample = sample, .row = row};
    TB_TRY(find_feed(out, subject, name, error));
    const tiba_tensor *t = &sample->feeds[out->feed].tensor;
    if (t->rank != 4 || t->dtype != TIBA_FLOAT32)
        return tb_fail(error, TIBA_ERROR_INPUT, "input '%s' is no float32 picture of four axes",
                       name);
    bool last = t->dims[3] <= 4 && t->dims[1] > 4;
    int64_t height = t->dims[last ? 1 : 2];
    out->width = t->dims[last ? 2 : 3];
    out->channels = t->dims[last ? 3 : 1];
    out->step = last ? out->channels : 1;
    out->channel = last ? 1 : height * out->width;
    out->columns = rows > 0 ? columns : out->width;
    out->n = rows > 0 ? rows * columns : height * out->width;
    out->patch_height = rows > 0 ? height / rows : 1;
    out->patch_width = rows > 0 ? out->width / columns : 1;
    if (sample->image_input && strcmp(sample->image_input, name) == 0)
        memcpy(out->fill, sample->black, sizeof out->fill);
    return TIBA_OK;
}

/* The id that stands for a word that is not there, -1: none. */
static int64_t mask_id(const tb_tokenizer *tokenizer) {
    static const char *const names[] = {"[MASK]", "<mask>", "[UNK]", "<unk>"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (size_t i = 0; i < tb_tokenizer_vocab_size(tokenizer); i++) {
            tb_text token = tb_tokenizer_token(tokenizer, (int64_t)i);
            if (token.size == strlen(names[k]) && memcmp(token.data, names[k], token.size) == 0)
                return (int64_t)i;
        }
    return -1;
}

/* Whether the graph takes texts of any length, and this one is alone. */
static bool may_shorten(const tb_removal *r, const tb_subject *subject) {
    const tiba_tensor *ids = &r->sample->feeds[r->feed].tensor;
    if (ids->rank != 2 || ids->dims[0] != 1) return false;
    for (int i = 0; i < tiba_model_inputs(subject->model); i++) {
        tiba_port port = tiba_model_input(subject->model, i);
        if (port.rank != 2 || port.dims[1] > 0) return false;
    }
    return true;
}

tiba_status tb_removal_text(tb_removal *out, const tb_subject *subject, const tb_sample *sample,
                            int text, bool drop, tb_arena *arena, tiba_error *error) {
    *out = (tb_removal){.sample = sample, .row = text};
    TB_TRY(find_feed(out, subject, sample->text_input, error));
    const tb_encoding *e = &sample->encodings[text];
    int64_t *tokens = TB_NEW(arena, int64_t, e->count + 1);
    if (!tokens) return tb_out_of_memory(error);
    for (size_t i = 0; i < e->count; i++)
        if (!e->special_tokens[i]) tokens[out->n++] = (int64_t)i;
    out->tokens = tokens;
    out->mask = drop ? -1 : mask_id(subject->tokenizer);
    if (out->mask >= 0) return TIBA_OK;
    out->pad = tb_tokenizer_pad_id(subject->tokenizer);
    if (out->pad < 0) out->pad = 0;
    out->shortens = may_shorten(out, subject);
    if (out->shortens) out->batches = false;
    return TIBA_OK;
}

tiba_status tb_removal_feeds(tiba_feed **out, const tb_removal *r, int64_t copies, tb_arena *arena,
                             tiba_error *error) {
    tiba_feed *feeds = TB_NEW(arena, tiba_feed, r->sample->n_feeds);
    if (!feeds) return tb_out_of_memory(error);
    for (int i = 0; i < r->sample->n_feeds; i++) {
        const tiba_tensor *from = &r->sample->feeds[i].tensor;
        int64_t dims[TIBA_MAX_RANK], times = r->alone && i != r->feed ? 1 : copies;
        memcpy(dims, from->dims, sizeof dims);
        if (from->rank > 0) dims[0] *= times;
        feeds[i].name = r->sample->feeds[i].name;
        TB_TRY(tb_tensor_create(&feeds[i].tensor, arena, from->dtype, from->rank, dims, error));
        size_t bytes = tb_tensor_bytes(from);
        for (int64_t c = 0; c < (from->rank > 0 ? times : 1); c++)
            memcpy((char *)feeds[i].tensor.data + (size_t)c * bytes, from->data, bytes);
    }
    *out = feeds;
    return TIBA_OK;
}

void tb_removal_apply(const tb_removal *r, tiba_feed *feeds, int64_t copy, int64_t part) {
    const tiba_tensor *from = &r->sample->feeds[r->feed].tensor;
    tiba_tensor *to = &feeds[r->feed].tensor;
    int64_t at = copy * tb_tensor_count(from) + r->row * (tb_tensor_count(from) / from->dims[0]);
    if (r->tokens) {
        tb_set_i64(to, at + r->tokens[part], r->mask);
        return;
    }
    int64_t top = part / r->columns * r->patch_height, left = part % r->columns * r->patch_width;
    for (int64_t y = top; y < top + r->patch_height; y++)
        for (int64_t x = left; x < left + r->patch_width; x++) {
            float *pixel = (float *)to->data + at + (y * r->width + x) * r->step;
            for (int64_t c = 0; c < r->channels; c++)
                pixel[c * r->channel] = r->fill[c < 3 ? c : 2];
        }
}

/* Moves what is left of a row of ids and its mask together, padding behind; how many are left. */
static int64_t close_gaps(const tb_removal *r, tiba_tensor *ids, tiba_tensor *mask, int64_t first,
                          int64_t length) {
    int64_t to = 0;
    for (int64_t i = 0; i < length; i++) {
        int64_t id = tb_get_i64(ids, first + i);
        if (id < 0) continue;
        tb_set_i64(ids, first + to, id);
        if (mask) tb_set_i64(mask, first + to, tb_get_i64(mask, first + i));
        to++;
    }
    for (int64_t i = to; i < length; i++) {
        tb_set_i64(ids, first + i, r->pad);
        if (mask) tb_set_i64(mask, first + i, 0);
    }
    return to;
}

void tb_removal_close(const tb_removal *r, tiba_feed *feeds, int64_t copies) {
    if (!r->tokens || r->mask >= 0) return;
    const tiba_tensor *from = &r->sample->feeds[r->feed].tensor;
    int64_t each = tb_tensor_count(from), length = each / from->dims[0], left = length;
    tiba_tensor *mask = NULL;
    for (int i = 0; i < r->sample->n_feeds; i++)
        if (strcmp(feeds[i].name, "attention_mask") == 0) mask = &feeds[i].tensor;
    for (int64_t c = 0; c < copies; c++)
        left = close_gaps(r, &feeds[r->feed].tensor, mask, c * each + r->row * length, length);
    for (int i = 0; i < r->sample->n_feeds && r->shortens; i++) feeds[i].tensor.dims[1] = left;
}
