/*
 * Lowering of onnxruntime's attentions over a buffer of past keys and values, with several query
 * heads to a key head: GroupQueryAttention and, with blocks of keys left out, SparseAttention.
 */
#include <math.h>

#include "graph/lower_attention.h"

/* ---- com.microsoft: GroupQueryAttention ----------------------------------------------------- */

/* Per sample: how many keys are seen in all and how many of them are of the past. */
typedef struct lengths {
    const int64_t *past, *total;
    int64_t longest; /* of total */
    bool same;       /* all samples' pasts are equal */
} lengths;

/* Where an operator has its inputs. */
typedef struct places {
    int counts;  /* of each sample's keys, `less` too few */
    int longest; /* the count of the longest sample */
    int cos, at; /* rotary caches; positions, -1: none */
    int64_t less;
    const char *what; /* the counts' name */
} places;

/* The call is a first prompt if it has as many tokens as keys: then nothing of the past counts, and
 * a shorter sample is padded at its end. */
static bool read_lengths(tb_call *c, const places *p, int64_t batch, int64_t tokens, int64_t room,
                         lengths *l) {
    const int64_t *given = tb_call_ints(c, tb_call_in(c, p->counts), batch, p->what),
                  *all = tb_call_ints(c, tb_call_in(c, p->longest), 1, "total_sequence_length");
    int64_t *past = TB_NEW(c->b->graph->arena, int64_t, batch),
            *total = TB_NEW(c->b->graph->arena, int64_t, batch);
    if (!given || !all) return false;
    if (!past || !total) {
        c->status = tb_out_of_memory(c->error);
        return false;
    }
    *l = (lengths){.past = past, .total = total, .longest = tokens, .same = true};
    bool prompt = *all == tokens;
    for (int64_t b = 0; b < batch; b++) {
        bool fits = given[b] > -p->less && given[b] <= room + tokens - p->less;
        total[b] = fits ? given[b] + p->less : 0;
        past[b] = prompt ? 0 : total[b] - tokens;
        if (!fits || past[b] < 0 || past[b] > room || total[b] > past[b] + tokens) {
            tb_call_fail(c, "%s = %lld does not fit %lld new tokens and room for %lld past ones",
                         p->what, (long long)given[b], (long long)tokens, (long long)room);
            return false;
        }
        if (past[b] + tokens > l->longest) l->longest = past[b] + tokens;
        if (past[b] != past[0]) l->same = false;
    }
    return true;
}

/* What is in use of the past, then the new tokens, then zeros up to the longest sample. */
static tb_value *cached(tb_call *c, tb_value *past, tb_value *x, const lengths *l) {
    if (c->status != TIBA_OK) return NULL;
    if (l->same)
        return l->past[0] ? tb_emit_past(c, tb_emit_slice(c, past, 2, 0, l->past[0]), x) : x;
    tb_value *all = NULL;
    int64_t tokens = x->t.dims[2];
    for (int64_t b = 0; b < x->t.dims[0]; b++) {
        tb_value *one = tb_emit_slice(c, x, 0, b, b + 1);
        if (l->past[b]) {
            tb_value *old = tb_emit_slice(c, past, 0, b, b + 1);
            one = tb_emit_concat(c, tb_emit_slice(c, old, 2, 0, l->past[b]), one, 2);
        }
        int64_t pads[8] = {0, 0, 0, 0, 0, 0, l->longest - l->past[b] - tokens, 0};
        if (pads[6]) one = tb_emit2(c, TB_OP_Pad, one, tb_emit_ints(c, 8, pads));
        all = all ? tb_emit_concat(c, all, one, 0) : one;
    }
    return all;
}

/* The keys or values in a buffer of the past's size. */
static tb_value *buffered(tb_call *c, tb_value *x, int64_t room) {
    if (c->status != TIBA_OK || x->t.dims[2] >= room) return x;
    int64_t pads[8] = {0, 0, 0, 0, 0, 0, room - x->t.dims[2], 0};
    return tb_emit2(c, TB_OP_Pad, x, tb_emit_ints(c, 8, pads));
}

/* Query, key and value in heads: from three inputs or from a packed one. */
static void grouped_heads(tb_call *c, tb_value **x) {
    int64_t heads = tb_attr_int(c->node, "num_heads", 0),
            kv_heads = tb_attr_int(c->node, "kv_num_heads", 0);
    if (!tb_call_needs_rank(c, 0, 3)) return;
    for (int i = 0; i < 3; i++) x[i] = tb_call_in(c, i);
    if (!x[1] && heads > 0 && kv_heads > 0) {
        int64_t size = x[0]->t.dims[2] / (heads + 2 * kv_heads);
        tb_emit_split(c, x[0], 2, 3, (int64_t[]){heads * size, kv_heads * size, kv_heads * size},
                      x);
    }
    if (c->status == TIBA_OK && (!x[1] || !x[2])) tb_call_fail(c, "key and value go together");
    for (int i = 0; i < 3; i++)
        x[i] = c->status == TIBA_OK ? tb_emit_split_heads(c, x[i], i ? kv_heads : heads) : NULL;
}

static void grouped_rotary(tb_call *c, const places *p, tb_value **x, const lengths *l) {
    if (c->status != TIBA_OK || !tb_attr_int(c->node, "do_rotary", 0)) return;
    tb_value *cache[] = {tb_call_in(c, p->cos), tb_call_in(c, p->cos + 1)};
    if (!cache[0] || !cache[1] || cache[0]->t.rank != 2) {
        tb_call_fail(c, "do_rotary needs two caches");
        return;
    }
    int64_t batch = x[0]->t.dims[0], tokens = x[0]->t.dims[2];
    tb_value *at = p->at >= 0 ? tb_call_in(c, p->at) : NULL;
    if (!at) at = tb_emit_positions(c, batch, l->past, tokens);
    tb_value *cos = tb_emit_rotary_rows(c, cache[0], at),
             *sin = tb_emit_rotary_rows(c, cache[1], at);
    bool pairs = tb_attr_int(c->node, "rotary_interleaved", 0) != 0;
    for (int i = 0; i < 2 && c->status == TIBA_OK; i++)
        x[i] = tb_emit_rotary(c, x[i], cos, sin, 2 * cache[0]->t.dims[1], pairs);
}

void tb_lower_GroupQueryAttention(tb_call *c) {
    tb_value *x[3] = {NULL}, *past = tb_call_in(c, 3);
    static const places p = {5, 6, 7, 9, 1, "seqlens_k"};
    lengths l;
    tb_call_refuse_inputs(c, 12, 13, "a quantised past");
    if (!past != !tb_call_in(c, 4)) tb_call_fail(c, "past_key and past_value go together");
    grouped_heads(c, x);
    if (c->status != TIBA_OK || (past && !tb_call_needs_rank(c, 3, 4))) return;
    int64_t batch = x[0]->t.dims[0], tokens = x[0]->t.dims[2], room = past ? past->t.dims[2] : 0,
            window = tb_attr_int(c->node, "local_window_size", -1);
    if (!read_lengths(c, &p, batch, tokens, room, &l)) return;
    grouped_rotary(c, &p, x, &l);
    tb_attention a = {.q = x[0],
                      .k = cached(c, past, x[1], &l),
                      .v = cached(c, tb_call_in(c, 4), x[2], &l),
                      .scale = (double)tb_attr_float(c->node, "scale", 0),
                      .softcap = (double)tb_attr_float(c->node, "softcap", 0),
                      .smooth = tb_attr_int(c->node, "smooth_softmax", 0) > 0,
                      .sink = tb_call_in(c, 11)};
    tb_window w = {.batch = batch,
                   .queries = tokens,
                   .keys = l.longest,
                   .right = 0,
                   .left = window > 0 ? window - 1 : -1,
                   .offset = l.past};
    a.masks[0] = tb_emit_window(c, &w);
    a.masks[1] = tb_call_in(c, 10);
    c->out[0] = tb_emit_merge_heads(c, tb_emit_attention(c, &a));
    if (c->n_out > 1) c->out[1] = buffered(c, a.k, room);
    if (c->n_out > 2) c->out[2] = buffered(c, a.v, room);
}

/* ---- com.microsoft: SparseAttention --------------------------------------------------------- */

/* Blocks that a query sees: for each layout the columns of row r are columns[starts[r] …]. Heads
 * take the layouts in turns. */
typedef struct sparse {
    int64_t layouts, rows, most, size;
    const int64_t *starts, *columns;
} sparse;

static bool sees(const sparse *s, int64_t layout, int64_t row, int64_t column) {
    const int64_t *starts = s->starts + layout * (s->rows + 1),
                  *list = s->columns + layout * s->most;
    for (int64_t i = starts[row]; i < starts[row + 1]; i++)
        if (list[i] == column) return true;
    return false;
}

static bool read_layouts(tb_call *c, sparse *s, int64_t heads, int64_t keys) {
    if (!tb_call_needs_rank(c, 5, 2) || !tb_call_needs_rank(c, 6, 2)) return false;
    const int64_t *rows = c->in[5]->t.dims, *columns = c->in[6]->t.dims;
    *s = (sparse){.layouts = rows[0],
                  .rows = rows[1] - 1,
                  .most = columns[1],
                  .size = tb_attr_int(c->node, "sparse_block_size", 0)};
    bool fits = s->layouts > 0 && columns[0] == s->layouts && heads % s->layouts == 0 &&
                s->size > 0 && s->rows >= (keys - 1) / s->size + 1;
    s->starts = tb_call_ints(c, c->in[5], rows[0] * rows[1], "block_row_indices");
    s->columns = tb_call_ints(c, c->in[6], columns[0] * columns[1], "block_col_indices");
    if (c->status != TIBA_OK) return false;
    for (int64_t i = 0; fits && i < rows[0] * rows[1]; i++)
        fits = s->starts[i] >= 0 && s->starts[i] <= s->most &&
               (i % rows[1] == 0 || s->starts[i] >= s->starts[i - 1]);
    if (!fits)
        tb_call_fail(c, "its block layout does not fit %lld heads and %lld keys", (long long)heads,
                     (long long)keys);
    return fits;
}

/* -inf where a query's block does not see a key's. */
static tb_value *block_mask(tb_call *c, const sparse *s, int64_t batch, int64_t heads,
                            int64_t queries, const lengths *l) {
    tb_value *value;
    int64_t dims[] = {l->same ? 1 : batch, s->layouts == 1 ? 1 : heads, queries, l->longest};
    tiba_tensor *t = tb_emit_tensor(c, &value, TIBA_FLOAT32, 4, dims);
    if (!t) return NULL;
    float *mask = t->data;
    for (int64_t b = 0; b < dims[0]; b++)
        for (int64_t h = 0; h < dims[1]; h++)
            for (int64_t i = 0; i < queries; i++)
                for (int64_t j = 0; j < l->longest; j++, mask++)
                    if (!sees(s, h % s->layouts, (l->past[b] + i) / s->size, j / s->size))
                        *mask = -INFINITY;
    return value;
}

void tb_lower_SparseAttention(tb_call *c) {
    static const places p = {8, 7, 9, -1, 0, "key_total_sequence_lengths"};
    tb_value *x[3] = {NULL};
    lengths l;
    sparse s;
    grouped_heads(c, x);
    if (!tb_call_needs_rank(c, 3, 4) || !tb_call_needs_rank(c, 4, 4)) return;
    const int64_t *d = x[0]->t.dims, room = c->in[3]->t.dims[2];
    if (!read_lengths(c, &p, d[0], d[2], room, &l) || !read_layouts(c, &s, d[1], l.longest)) return;
    grouped_rotary(c, &p, x, &l);
    tb_attention a = {.q = x[0],
                      .k = cached(c, c->in[3], x[1], &l),
                      .v = cached(c, c->in[4], x[2], &l),
                      .scale = (double)tb_attr_float(c->node, "scale", 0)};
    tb_window w = {.batch = d[0],
                   .queries = d[2],
                   .keys = l.longest,
                   .right = 0,
                   .left = -1,
                   .offset = l.past};
    a.masks[0] = tb_emit_window(c, &w);
    a.masks[1] = block_mask(c, &s, d[0], d[1], d[2], &l);
    c->out[0] = tb_emit_merge_heads(c, tb_emit_attention(c, &a));
    if (c->n_out > 1) c->out[1] = buffered(c, a.k, room);
    if (c->n_out > 2) c->out[2] = buffered(c, a.v, room);
}
