/* attention_moved.c: numbers sent through moves. See attention_moved.h. */
#include "graph/attention_moved.h"

#include <string.h>

#include "graph/send.h"

enum { MOST_MOVES = 64 };

typedef struct moved {
    tb_attention *a;
    tb_axes *axes;
    tb_exec *exec;
    tb_arena *arena;
    int64_t rows;     /* p's leading axes */
    int64_t *keys;    /* [rows, keys]: which token v holds there, 0 none */
    int64_t *landing; /* [rows, queries]: the vector that the result is a part of, -1 none */
} moved;

/* A move with one output; see tb_send. */
static tiba_tensor *send(const moved *m, const tb_node *node, int at, const tiba_tensor *ids) {
    return node->n_out == 1 ? tb_send(m->exec, m->arena, node, at, 0, ids) : NULL;
}

/* -------------------------------------------------------------------- probabilities */

typedef enum kept { ROWS_KEPT, ROWS_MIXED, ROWS_UNKNOWN } kept;

/* Does each row of p hold elements of one row of the softmax only? */
static kept rows_kept(const moved *m, const tb_moved_by *by) {
    const tb_value *softmax = m->a->softmax->out[0], *value = m->a->p;
    const tb_node *nodes[MOST_MOVES];
    int at[MOST_MOVES], n = 0;
    for (; value != softmax; value = nodes[n - 1]->in[at[n - 1]]) {
        if (n == MOST_MOVES || !by[value->id].node) return ROWS_UNKNOWN;
        nodes[n] = by[value->id].node;
        at[n++] = by[value->id].index;
    }
    int64_t axis = tb_attr_int(m->a->softmax, "axis", -1), inner = 1;
    if (axis < 0) axis += softmax->t.rank;
    for (int d = (int)axis + 1; d < softmax->t.rank; d++) inner *= softmax->t.dims[d];
    int64_t size = softmax->t.dims[axis], count = tb_tensor_count(&softmax->t);
    tiba_tensor *ids = tb_send_new(m->arena, &softmax->t);
    if (!ids || !tb_send_countable(count / size)) return ROWS_UNKNOWN;
    for (int64_t i = 0; i < count; i++)
        ((float *)ids->data)[i] = (float)(i / (inner * size) * inner + i % inner + 1);
    while (n-- > 0) {
        const tb_node *node = nodes[n];
        bool moves = node->op->class == TB_CLASS_MOVE;
        /* functions and the softmax's own norm leave elements where they are */
        if (!moves && tb_tensor_count(&node->out[0]->t) != tb_tensor_count(ids))
            return ROWS_UNKNOWN;
        if (moves && !(ids = send(m, node, at[n], ids))) return ROWS_UNKNOWN;
    }
    const tb_attention *a = m->a;
    int64_t step = a->transposed ? a->queries : 1, next = a->transposed ? 1 : a->keys;
    for (int64_t row = 0; row < m->rows; row++)
        for (int64_t q = 0; q < a->queries; q++) {
            int64_t own = 0, first = row * a->queries * a->keys + q * next;
            for (int64_t k = 0; k < a->keys; k++) {
                int64_t id = tb_send_id(ids, first + k * step);
                if (id && own && id != own) return ROWS_MIXED;
                if (id) own = id;
            }
        }
    return ROWS_KEPT;
}

/* -------------------------------------------------------------------- values */

/* The tokens that the elements of `value` are of, numbered from 1, samples apart; *label: theirs.
 */
static tiba_tensor *number_tokens(const moved *m, const tb_value *value, int *label) {
    const tb_value_axes *va = m->axes->values[value->id];
    tb_factor tokens[TB_MAX_FACTORS], batch = {-1, 1, 1};
    int n = 0;
    int64_t count = tb_tensor_count(&value->t), all = 1;
    for (int i = 0; va && i < va->n; i++) {
        const tb_factor *f = &va->factors[i];
        const tb_label *l = &m->axes->labels[tb_axes_root(m->axes, f->label)];
        bool first = l->dim == 0 && (l->kind == TB_LABEL_INPUT || l->kind == TB_LABEL_LOOKUP);
        if (first && f->inner * f->count == count)
            batch = *f;
        else
            tokens[n++] = *f, all *= f->count;
    }
    tiba_tensor *ids = n > 0 ? tb_send_new(m->arena, &value->t) : NULL;
    if (!ids || !tb_send_countable(all * batch.count)) return NULL;
    *label = tb_axes_merge(m->axes, n, tokens);
    if (*label < 0) return NULL;
    for (int64_t i = 0; i < count; i++) {
        int64_t id = i / batch.inner % batch.count;
        for (int k = 0; k < n; k++)
            id = id * tokens[k].count + i / tokens[k].inner % tokens[k].count;
        ((float *)ids->data)[i] = (float)(id + 1);
    }
    return ids;
}

/* Is each row of v, in its windows, a token or padding? */
static bool values_are_tokens(const moved *m) {
    tb_attention *a = m->a;
    const tb_node *nodes[MOST_MOVES];
    const tb_value *value = a->v;
    int n = 0, label = -1;
    for (; value->producer && value->producer->op->class == TB_CLASS_MOVE;
         value = value->producer->in[tb_only_active(value->producer)]) {
        if (n == MOST_MOVES || tb_only_active(value->producer) < 0) return false;
        nodes[n++] = value->producer;
    }
    tiba_tensor *ids = number_tokens(m, value, &label);
    while (ids && n-- > 0) ids = send(m, nodes[n], tb_only_active(nodes[n]), ids);
    int64_t count = ids ? tb_tensor_count(ids) : 0;
    if (!count || count % (m->rows * a->keys)) return false;
    int64_t features = count / (m->rows * a->keys);
    for (int d = 0; d < a->p->t.rank - 2; d++)
        if (a->v->t.rank != a->p->t.rank || a->v->t.dims[d] != a->p->t.dims[d]) return false;
    for (int64_t row = 0; row < m->rows; row++)
        for (int64_t k = 0; k < a->keys; k++)
            for (int64_t f = 0; f < features; f++) {
                int64_t id = tb_send_id(ids, a->transposed ? (row * features + f) * a->keys + k
                                                           : (row * a->keys + k) * features + f);
                if (f > 0 && id != m->keys[row * a->keys + k]) return false;
                m->keys[row * a->keys + k] = id;
            }
    a->key_label = a->query_label = label;
    return true;
}

/* -------------------------------------------------------------------- results */

/* The one use that carries the value on, NULL: several, or it goes no further in its places. */
static const tb_node *next_of(const tb_value *value, int *at) {
    if (value->n_uses != 1 || value->is_output) return NULL;
    const tb_node *node = value->uses[0].node;
    *at = value->uses[0].index;
    bool adds = tb_is(node, TB_OP_Add) || tb_is(node, TB_OP_Sub) || tb_is(node, TB_OP_Sum);
    bool stays = adds && tb_same_shape(&node->out[0]->t, &value->t);
    return node->op->class == TB_CLASS_MOVE || stays ? node : NULL;
}

/* Follows each row of the product's result to the vector that it ends in. */
static bool follow_results(const moved *m) {
    const tb_attention *a = m->a;
    const tb_value *value = a->product->out[0];
    int64_t count = tb_tensor_count(&value->t), all = m->rows * a->queries, landed = 0;
    int64_t features = count / all;
    tiba_tensor *ids = tb_send_new(m->arena, &value->t);
    if (!ids || !tb_send_countable(all)) return false;
    for (int64_t row = 0; row < m->rows; row++)
        for (int64_t q = 0; q < a->queries; q++)
            for (int64_t f = 0; f < features; f++)
                ((float *)ids->data)[a->transposed ? (row * features + f) * a->queries + q
                                                   : (row * a->queries + q) * features + f] =
                    (float)(row * a->queries + q + 1);
    for (int64_t i = 0; i < all; i++) m->landing[i] = -1;
    int at = 0;
    for (const tb_node *node; (node = next_of(value, &at)); value = node->out[0])
        if (node->op->class == TB_CLASS_MOVE && !(ids = send(m, node, at, ids))) return false;
    int64_t width = ids->rank ? ids->dims[ids->rank - 1] : 1;
    count = tb_tensor_count(ids);
    for (int64_t i = 0; i < count; i++) {
        int64_t id = tb_send_id(ids, i);
        if (!id) continue;
        if (m->landing[id - 1] >= 0 && m->landing[id - 1] != i / width) return false;
        landed += m->landing[id - 1] < 0;
        m->landing[id - 1] = i / width;
    }
    return landed > 0;
}

/* Rows whose results stand in the same vectors are heads of one group: they must have the same
 * keys. */
static bool same_group(const moved *m, int64_t r, int64_t s) {
    int64_t nq = m->a->queries, nk = m->a->keys;
    return memcmp(m->landing + r * nq, m->landing + s * nq, (size_t)nq * sizeof *m->landing) == 0 &&
           memcmp(m->keys + r * nk, m->keys + s * nk, (size_t)nk * sizeof *m->keys) == 0;
}

static bool find_groups(const moved *m) {
    tb_attention *a = m->a;
    int64_t groups = 0;
    int64_t *first = TB_NEW(m->arena, int64_t, m->rows), *size = TB_NEW(m->arena, int64_t, m->rows);
    a->group_of = TB_NEW(m->axes->arena, int, m->rows);
    if (!first || !size || !a->group_of) return false;
    for (int64_t row = 0; row < m->rows; row++) {
        int64_t g = 0;
        while (g < groups && !same_group(m, row, first[g])) g++;
        if (g == groups) first[groups++] = row;
        a->group_of[row] = (int)g;
        size[g]++;
    }
    for (int64_t g = 1; g < groups; g++)
        if (size[g] != size[0]) return false;
    a->groups = groups;
    a->heads = m->rows / groups;
    return true;
}

tiba_status tb_moved_attention(bool *fits, bool *odd, tb_attention *a, const tb_moved_by *by,
                               tb_axes *axes, tb_exec *exec, tiba_error *error) {
    *fits = *odd = false;
    tb_arena *arena = tb_arena_create(exec->budget);
    if (!arena) return tb_out_of_memory(error);
    moved m = {.a = a, .axes = axes, .exec = exec, .arena = arena, .rows = 1};
    for (int d = 0; d < a->p->t.rank - 2; d++) m.rows *= a->p->t.dims[d];
    m.keys = TB_NEW(arena, int64_t, m.rows * a->keys);
    m.landing = TB_NEW(arena, int64_t, m.rows * a->queries);
    bool room = m.keys && m.landing && m.rows > 0;
    kept rows = room ? rows_kept(&m, by) : ROWS_UNKNOWN;
    *fits = rows == ROWS_KEPT && values_are_tokens(&m) && follow_results(&m) && find_groups(&m);
    *odd = !*fits && rows != ROWS_MIXED;
    a->plain = false;
    tb_arena_destroy(arena);
    return TIBA_OK;
}
