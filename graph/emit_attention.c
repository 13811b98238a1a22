/*
 * The attention core and its masks (graph/lower_attention.h).
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "graph/lower_attention.h"

const int64_t *tb_call_ints(tb_call *c, const tb_value *value, int64_t count, const char *what) {
    if (c->status != TIBA_OK) return NULL;
    if (!value || !value->t.data || tb_tensor_count(&value->t) < count) {
        tb_call_fail(c, "%s %s", what,
                     value && value->t.data ? "has too few elements"
                                            : "must not depend on a float input");
        return NULL;
    }
    int64_t *list = TB_NEW(c->b->graph->arena, int64_t, count);
    if (!list) {
        c->status = tb_out_of_memory(c->error);
        return NULL;
    }
    for (int64_t i = 0; i < count; i++) list[i] = tb_get_i64(&value->t, i);
    return list;
}

tb_value *tb_emit_blocked(tb_call *c, tb_value *allowed, float blocked) {
    if (c->status != TIBA_OK) return NULL;
    tb_value *value;
    tiba_tensor *t = tb_emit_tensor(c, &value, TIBA_FLOAT32, allowed->t.rank, allowed->t.dims);
    if (!t) return NULL;
    float *mask = t->data;
    for (int64_t i = 0, n = tb_tensor_count(t); i < n; i++)
        if (tb_get_i64(&allowed->t, i) == 0) mask[i] = blocked;
    return value;
}

tb_value *tb_emit_window(tb_call *c, const tb_window *w) {
    if (w->left < 0 && w->right < 0 && !w->start && !w->end) return NULL;
    int64_t batch = w->offset || w->start || w->end ? w->batch : 1;
    tb_value *value;
    tiba_tensor *t =
        tb_emit_tensor(c, &value, TIBA_FLOAT32, 4, (int64_t[]){batch, 1, w->queries, w->keys});
    if (!t) return NULL;
    float *mask = t->data;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < w->queries; i++)
            for (int64_t j = 0; j < w->keys; j++, mask++) {
                int64_t from = (w->offset ? w->offset[b] : 0) + i;
                bool inside = (!w->start || j >= w->start[b]) && (!w->end || j < w->end[b]);
                bool visible =
                    (w->left < 0 || from - w->left <= j) && (w->right < 0 || j <= from + w->right);
                if (!inside) *mask = w->blocked;
                if (!visible) *mask = -INFINITY;
            }
    return value;
}

static bool all_zero(const tb_value *value) {
    if (!value->t.data || value->t.dtype != TIBA_FLOAT32) return false;
    const float *x = value->t.data;
    for (int64_t i = 0, n = tb_tensor_count(&value->t); i < n; i++)
        if (x[i] != 0.0f) return false;
    return true;
}

/* The constant masks as one; the others are added to the scores as they are. */
static tb_value *constant_mask(tb_call *c, tb_attention *a) {
    tb_value *sum = NULL;
    for (int i = 0; i < 4; i++) {
        tb_value *mask = a->masks[i];
        if (!mask || !mask->t.data) continue;
        a->masks[i] = NULL;
        if (all_zero(mask)) continue;
        sum = sum ? tb_emit2(c, TB_OP_Add, sum, mask) : mask;
    }
    return sum;
}

/* A query that sees no key at all gets a zero row of P, not NaN: its row of the mask becomes
 * finite, and *rows [.., queries, 1] is 0 there and 1 elsewhere (NULL if there is no such row). */
static tb_value *without_empty_rows(tb_call *c, tb_value *mask, tb_value **rows) {
    *rows = NULL;
    if (c->status != TIBA_OK || mask->t.rank < 1 || mask->t.dtype != TIBA_FLOAT32) return mask;
    int64_t keys = mask->t.dims[mask->t.rank - 1], count = tb_tensor_count(&mask->t);
    const float *x = mask->t.data;
    bool any = false;
    for (int64_t i = 0, run = 0; i < count && !any; i++) {
        run = i % keys == 0 ? 0 : run;
        run += x[i] == -INFINITY;
        any = run == keys;
    }
    if (!any) return mask;
    int64_t dims[TIBA_MAX_RANK];
    memcpy(dims, mask->t.dims, sizeof dims);
    dims[mask->t.rank - 1] = 1;
    tb_value *finite;
    tiba_tensor *t = tb_emit_tensor(c, &finite, TIBA_FLOAT32, mask->t.rank, mask->t.dims),
                *r = tb_emit_tensor(c, rows, TIBA_FLOAT32, mask->t.rank, dims);
    if (!t || !r) return NULL;
    float *y = t->data, *seen = r->data;
    for (int64_t i = 0; i < count; i++) {
        y[i] = x[i];
        if (x[i] != -INFINITY) seen[i / keys] = 1.0f;
    }
    for (int64_t i = 0; i < count; i++)
        if (seen[i / keys] == 0.0f) y[i] = -FLT_MAX;
    return finite;
}

/* A key without a value takes part in the softmax: [batch, heads, queries, 1]. */
static tb_value *sink_column(tb_call *c, const tb_attention *a, const tb_value *scores) {
    if (c->status != TIBA_OK) return NULL;
    int64_t dims[] = {scores->t.dims[0], scores->t.dims[1], scores->t.dims[2], 1};
    tb_value *one = a->sink ? tb_emit_reshape(c, a->sink, 4, (int64_t[]){1, dims[1], 1, 1})
                            : tb_emit_scalar(c, 0);
    return tb_emit_expand(c, one, 4, dims);
}

tb_value *tb_emit_attention(tb_call *c, tb_attention *a) {
    if (c->status != TIBA_OK) return NULL;
    int64_t heads = a->q->t.dims[1], kv_heads = a->k->t.dims[1], size = a->q->t.dims[3];
    if (kv_heads <= 0 || heads % kv_heads || a->k->t.dims[3] != size)
        return tb_call_fail(c, "%lld query heads of size %lld do not fit %lld key heads of %lld",
                            (long long)heads, (long long)size, (long long)kv_heads,
                            (long long)a->k->t.dims[3]);
    tb_value *k = tb_emit_repeat_heads(c, a->k, heads / kv_heads),
             *v = tb_emit_repeat_heads(c, a->v, heads / kv_heads), *rows = NULL;
    tb_value *s = tb_emit2(c, TB_OP_MatMul, a->q, tb_emit_swap(c, k));
    s = tb_emit_scale(c, s, a->scale != 0 ? a->scale : 1 / sqrt((double)size));
    a->raw = s;
    if (a->softcap != 0) {
        s = tb_emit1(c, TB_OP_Tanh, tb_emit_scale(c, s, 1 / a->softcap));
        s = tb_emit_scale(c, s, a->softcap);
    }
    a->capped = s;
    tb_value *mask = constant_mask(c, a), *finite = mask;
    if (mask) finite = without_empty_rows(c, mask, &rows);
    a->masked = tb_emit_add_optional(c, s, mask);
    s = rows ? tb_emit_add_optional(c, s, finite) : a->masked;
    for (int i = 0; i < 4; i++) {
        s = tb_emit_add_optional(c, s, a->masks[i]);
        if (a->masks[i]) a->masked = s;
    }
    if (a->allowed) {
        s = tb_emit3(c, TB_OP_Where, a->allowed, s, tb_emit_scalar(c, -INFINITY));
        a->masked = s;
    }
    if (a->smooth || a->sink) {
        tb_value *wide = tb_emit_concat(c, s, sink_column(c, a, s), 3);
        a->p = tb_emit_softmax(c, wide, -1);
        if (c->status == TIBA_OK) a->p = tb_emit_slice(c, a->p, 3, 0, s->t.dims[3]);
    } else {
        a->p = tb_emit_softmax(c, s, -1);
    }
    if (rows) a->p = tb_emit2(c, TB_OP_Mul, a->p, rows);
    return tb_emit2(c, TB_OP_MatMul, a->p, v);
}

/* [..., half] to [..., 2 half]: each value for both features of its pair, which are neighbours
 * (interleaved) or half the features apart. */
static tb_value *twice(tb_call *c, tb_value *cache, bool interleaved) {
    if (!cache) return NULL;
    int rank = cache->t.rank;
    int64_t dims[TIBA_MAX_RANK];
    memcpy(dims, cache->t.dims, sizeof dims);
    if (!interleaved) return tb_emit_concat(c, cache, cache, rank - 1);
    dims[rank] = 1;
    tb_value *one = tb_emit_reshape(c, cache, rank + 1, dims),
             *both = tb_emit_concat(c, one, one, rank);
    dims[rank - 1] *= 2;
    return tb_emit_reshape(c, both, rank, dims);
}

/* The pairs (a, b) of x [batch, heads, tokens, features] become (-b, a). */
static tb_value *quarter_turn(tb_call *c, tb_value *x, bool interleaved) {
    if (!x) return NULL;
    const int64_t *d = x->t.dims, half = d[3] / 2;
    int64_t pairs[] = {d[0], d[1], d[2], half, 2}, whole[] = {d[0], d[1], d[2], d[3]};
    int axis = interleaved ? 4 : 3;
    tb_value *part[2], *from = interleaved ? tb_emit_reshape(c, x, 5, pairs) : x;
    tb_emit_split(c, from, axis, 2, interleaved ? (int64_t[]){1, 1} : (int64_t[]){half, half},
                  part);
    tb_value *turned = tb_emit_concat(c, tb_emit1(c, TB_OP_Neg, part[1]), part[0], axis);
    return interleaved ? tb_emit_reshape(c, turned, 4, whole) : turned;
}

tb_value *tb_emit_rotary(tb_call *c, tb_value *x, tb_value *cos, tb_value *sin, int64_t dim,
                         bool interleaved) {
    if (c->status != TIBA_OK) return NULL;
    const int64_t *d = x->t.dims, half = dim / 2;
    if (dim <= 0 || dim % 2 || dim > d[3] || cos->t.rank < 1 || sin->t.rank < 1 ||
        cos->t.rank > 4 || sin->t.rank > 4 || cos->t.dims[cos->t.rank - 1] != half ||
        sin->t.dims[sin->t.rank - 1] != half)
        return tb_call_fail(c, "the rotary caches do not fit %lld of %lld features", (long long)dim,
                            (long long)d[3]);
    tb_value *turned = x, *kept = NULL, *part[2];
    if (dim < d[3]) {
        tb_emit_split(c, x, 3, 2, (int64_t[]){dim, d[3] - dim}, part);
        turned = part[0];
        kept = part[1];
    }
    /* As models write it, x cos + rotated(x) sin, one sum: relevance is shared out over a whole
     * sum. */
    tb_value *rotated = tb_emit2(
        c, TB_OP_Add, tb_emit2(c, TB_OP_Mul, turned, twice(c, cos, interleaved)),
        tb_emit2(c, TB_OP_Mul, quarter_turn(c, turned, interleaved), twice(c, sin, interleaved)));
    return kept ? tb_emit_concat(c, rotated, kept, 3) : rotated;
}

tb_value *tb_emit_rotary_rows(tb_call *c, tb_value *cache, tb_value *positions) {
    if (c->status != TIBA_OK) return NULL;
    if (!positions->t.data || positions->t.rank != 2 || cache->t.rank != 2)
        return tb_call_fail(c, "its positions must be [batch, tokens] and known, its caches "
                               "[positions, half of the features]");
    tb_value *plain = NULL;
    c->status = tb_build_borrowed(c->b, &plain, &positions->t, c->error);
    tb_value *rows = tb_emit2(c, TB_OP_Gather, cache, plain);
    if (!rows) return NULL;
    const int64_t *d = rows->t.dims;
    return tb_emit_reshape(c, rows, 4, (int64_t[]){d[0], 1, d[1], d[2]});
}
