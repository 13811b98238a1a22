/* heads.c: products of heads that stand side by side become one. See heads.h. */
#include "graph/heads.h"

#include <string.h>

#include "graph/send.h"

enum { MOST_STEPS = 24 };

/* Output `to` of the node as it comes from input `at`. */
typedef struct step {
    const tb_node *node;
    int at, to;
} step;

/* An operand of the Concat: a product, or moves of one. */
typedef struct head {
    tb_node *product;
    int side;                         /* which operand of the product is P */
    const tb_node *moves[MOST_STEPS]; /* from the Concat to the product */
    int n;
} head;

typedef struct side_by_side {
    tb_node *concat;
    int axis;     /* that they are joined along */
    bool stacked; /* Unsqueeze made it of the products */
    bool leading; /* it is one in front of the products' matrices */
    int rank;     /* of a product */
    int readers;  /* of an operand of the Concat */
    head *heads;  /* [concat->n_in] */
    tb_exec *exec;
} side_by_side;

static bool is_product(const tb_node *node) {
    return tb_is(node, TB_OP_MatMul) && node->in[0]->active && node->in[1]->active;
}

/* Moves that change nothing but the axes. */
static bool arranges(const tb_node *node) {
    return tb_is(node, TB_OP_Transpose) || tb_is(node, TB_OP_Reshape) ||
           tb_is(node, TB_OP_Unsqueeze) || tb_is(node, TB_OP_Squeeze);
}

/* --- what is sent through steps --- */

/* steps[0] is the last one. Functions leave numbers where they are. */
static const tiba_tensor *send(const side_by_side *s, tb_arena *arena, const step *steps, int n,
                               const tiba_tensor *ids) {
    while (ids && n-- > 0) {
        const tb_node *node = steps[n].node;
        if (node->op->class == TB_CLASS_MOVE)
            ids = tb_send(s->exec, arena, node, steps[n].at, steps[n].to, ids);
        else if (!tb_same_shape(&node->out[steps[n].to]->t, ids))
            ids = NULL;
    }
    return ids;
}

/* The elements along the axis, and how far apart they are. */
static int64_t along(const tiba_tensor *t, int axis, int64_t *inner) {
    *inner = 1;
    for (int d = axis + 1; d < t->rank; d++) *inner *= t->dims[d];
    return t->dims[axis];
}

/* Are the numbers along the axis one, apart from what is padded? */
static bool same_along(const tiba_tensor *ids, int axis) {
    int64_t inner, size = along(ids, axis, &inner), count = tb_tensor_count(ids);
    for (int64_t i = 0; i < count; i++) {
        if (i / inner % size) continue;
        int64_t own = 0;
        for (int64_t k = 0; k < size; k++) {
            int64_t id = tb_send_id(ids, i + k * inner);
            if (id && own && id != own) return false;
            if (id) own = id;
        }
    }
    return true;
}

/* Numbers the elements of `like` by their places on all axes but `axis`. */
static tiba_tensor *number_rows(tb_arena *arena, const tiba_tensor *like, int axis) {
    int64_t inner, size = along(like, axis, &inner), count = tb_tensor_count(like);
    tiba_tensor *ids = size && tb_send_countable(count / size) ? tb_send_new(arena, like) : NULL;
    for (int64_t i = 0; ids && i < count; i++)
        ((float *)ids->data)[i] = (float)(i / (inner * size) * inner + i % inner + 1);
    return ids;
}

/* --- probabilities --- */

/* Does p sum to 1 along the axis: is each row of it a part of one row of a Softmax? */
static bool is_attention(const side_by_side *s, const tb_value *p, int axis) {
    step steps[MOST_STEPS];
    int n = 0;
    bool moves = false;
    for (; p->producer && !tb_is(p->producer, TB_OP_Softmax) && n < MOST_STEPS; n++) {
        const tb_node *node = p->producer;
        bool passes = node->op->class == TB_CLASS_UNARY || node->op->class == TB_CLASS_BINARY ||
                      node->op->class == TB_CLASS_MOVE;
        int at = passes ? tb_only_active(node) : -1;
        if (at < 0) return false;
        moves |= node->op->class == TB_CLASS_MOVE;
        steps[n] = (step){node, at, p->index};
        p = node->in[at];
    }
    if (!tb_is(p->producer, TB_OP_Softmax)) return false;
    int64_t keys = tb_attr_int(p->producer, "axis", -1);
    if (keys < 0) keys += p->t.rank;
    if (!moves) return keys == axis;
    tb_arena *arena = tb_arena_create(s->exec->budget);
    const tiba_tensor *ids = arena ? number_rows(arena, &p->t, (int)keys) : NULL;
    if (ids) ids = send(s, arena, steps, n, ids);
    bool rows = ids && same_along(ids, axis);
    tb_arena_destroy(arena);
    return rows;
}

/* --- values --- */

/* A convolution with windows of one element: a linear layer of each place's channels. */
static bool is_pointwise(const tb_node *node) {
    if (!tb_is(node, TB_OP_Conv) || !node->in[0]->active || node->in[1]->active) return false;
    const tiba_tensor *w = &node->in[1]->t, *x = &node->in[0]->t, *y = &node->out[0]->t;
    for (int d = 2; d < w->rank; d++)
        if (w->dims[d] != 1 || x->dims[d] != y->dims[d]) return false;
    int64_t n = 0;
    const int64_t *strides = tb_attr_ints(node, "strides", &n);
    for (int64_t i = 0; strides && i < n; i++)
        if (strides[i] != 1) return false;
    const int64_t *pads = tb_attr_ints(node, "pads", &n);
    for (int64_t i = 0; pads && i < n; i++)
        if (pads[i] != 0) return false;
    return true;
}

static bool is_linear(const tb_node *node) {
    return tb_is(node, TB_OP_Linear) || tb_is(node, TB_OP_MatMul) || tb_is(node, TB_OP_Gemm) ||
           is_pointwise(node);
}

/* The linear layer that a value comes from; NULL: something else lies on the way. */
static const tb_node *projection_of(const tb_value *v, step *steps, int *n) {
    for (*n = 0; v->producer && *n < MOST_STEPS; ++*n) {
        const tb_node *node = v->producer;
        int at = tb_only_active(node);
        if (at < 0 || is_linear(node)) return at < 0 ? NULL : node;
        bool passes = node->op->class == TB_CLASS_MOVE || tb_is(node, TB_OP_Cast) ||
                      tb_is(node, TB_OP_Add) || tb_is(node, TB_OP_Mul);
        if (!passes) return NULL;
        steps[*n] = (step){node, at, v->index};
        v = node->in[at];
    }
    return NULL;
}

static const tb_value *source_of(const tb_node *linear) {
    const tb_value *x = linear->in[tb_only_active(linear)];
    while (tb_is(x->producer, TB_OP_Identity)) x = x->producer->in[0];
    return x;
}

/* Numbers a linear layer's results by their tokens, where `features` is its axis of features.
 * Weights of their own for several heads make several results of one token. */
static tiba_tensor *number_tokens(tb_arena *arena, const tb_node *linear, int features) {
    const tiba_tensor *x = &linear->in[tb_only_active(linear)]->t, *y = &linear->out[0]->t;
    int64_t count = tb_tensor_count(y), size = 1, each[TIBA_MAX_RANK] = {0};
    for (int d = y->rank - 1; d >= 0; d--) {
        int from = d - (y->rank - x->rank);
        bool spread = d < y->rank - 2 && (from < 0 || x->dims[from] == 1);
        if (d == features || spread) continue;
        each[d] = size;
        size *= y->dims[d];
    }
    tiba_tensor *ids = tb_send_countable(size) ? tb_send_new(arena, y) : NULL;
    for (int64_t i = 0; ids && i < count; i++) {
        int64_t id = 0;
        for (int64_t d = y->rank - 1, rest = i; d >= 0; rest /= y->dims[d--])
            id += rest % y->dims[d] * each[d];
        ((float *)ids->data)[i] = (float)(id + 1);
    }
    return ids;
}

/* The tokens that head i's values are of, NULL: its features are of several tokens, or it is not
 * known. */
static const tiba_tensor *tokens_of(const side_by_side *s, tb_arena *arena, int i, int features) {
    const head *h = &s->heads[i];
    step steps[MOST_STEPS];
    int n;
    const tb_node *linear = projection_of(h->product->in[1 - h->side], steps, &n);
    if (features < 0 || features >= linear->out[0]->t.rank) return NULL;
    const tiba_tensor *ids = number_tokens(arena, linear, features);
    if (ids) ids = send(s, arena, steps, n, ids);
    int rank = s->rank, key = h->side ? rank - 1 : rank - 2,
        feature = h->side ? rank - 2 : rank - 1;
    if (!ids || !same_along(ids, feature)) return NULL;
    return ids->dims[key] > 1 && same_along(ids, key) ? NULL : ids;
}

/* Are all heads' values of the same tokens, if that is the axis of the linear layers' features? */
static bool tokens_match(const side_by_side *s, int features) {
    tb_arena *first = tb_arena_create(s->exec->budget);
    const tiba_tensor *tokens = first ? tokens_of(s, first, 0, features) : NULL;
    bool same = tokens;
    for (int i = 1; same && i < s->concat->n_in; i++) {
        tb_arena *arena = tb_arena_create(s->exec->budget);
        const tiba_tensor *own = arena ? tokens_of(s, arena, i, features) : NULL;
        same = own && memcmp(own->data, tokens->data, tb_tensor_bytes(own)) == 0;
        tb_arena_destroy(arena);
    }
    tb_arena_destroy(first);
    return same;
}

/* Do all heads' values come from one value, by linear layers of one kind, and with the same token
 * in the same place? The features of a product with weights are on either axis of its matrices. */
static bool of_same_tokens(const side_by_side *s) {
    const tb_value *from = NULL;
    int rank = -1;
    bool conv = false;
    for (int i = 0; i < s->concat->n_in; i++) {
        step steps[MOST_STEPS];
        int n;
        const head *h = &s->heads[i];
        const tb_node *linear = projection_of(h->product->in[1 - h->side], steps, &n);
        if (!linear) return false;
        if (i == 0) {
            from = source_of(linear);
            rank = linear->out[0]->t.rank;
            conv = tb_is(linear, TB_OP_Conv);
        }
        bool same = source_of(linear) == from && linear->out[0]->t.rank == rank &&
                    tb_is(linear, TB_OP_Conv) == conv;
        if (!same) return false;
    }
    if (conv) return tokens_match(s, 1);
    return tokens_match(s, rank - 1) || tokens_match(s, rank - 2);
}

/* --- the Concat --- */

/* Goes from operand i of the Concat to its product. */
static bool find_product(const side_by_side *s, int i) {
    head *h = &s->heads[i];
    const tb_value *value = s->concat->in[i];
    int readers = s->readers;
    for (h->n = 0; value && value->n_uses == readers && !value->is_output;
         value = value->producer->in[0], readers = 1) {
        if (is_product(value->producer)) {
            h->product = value->producer;
            return true;
        }
        if (!arranges(value->producer) || h->n == MOST_STEPS) return false;
        h->moves[h->n++] = value->producer;
    }
    return false;
}

static const int64_t *perm_of(const tb_node *node) {
    int64_t n;
    return tb_attr_ints(node, "perm", &n);
}

static bool same_moves(const head *a, const head *b) {
    if (a->n != b->n) return false;
    for (int i = 0; i < a->n; i++) {
        const tb_node *m = a->moves[i], *o = b->moves[i];
        int rank = m->out[0]->t.rank;
        const int64_t *mine = perm_of(m), *others = perm_of(o);
        if (m->op != o->op || !tb_same_shape(&m->out[0]->t, &o->out[0]->t) || !mine != !others)
            return false;
        if (mine && memcmp(mine, others, (size_t)rank * sizeof *mine) != 0) return false;
    }
    return true;
}

/* Is `list`, an Unsqueeze's axes, that axis alone? */
static bool is_axis(const tb_value *list, int axis, int rank) {
    if (!list->t.data || tb_tensor_count(&list->t) != 1) return false;
    int64_t own = tb_get_i64(&list->t, 0);
    return (own < 0 ? own + rank : own) == axis;
}

/* Are the products joined along something else than their queries? */
static bool finds_place(side_by_side *s) {
    const head *h = &s->heads[0];
    const tiba_tensor *out = &h->product->out[0]->t, *joined = &s->concat->in[0]->t;
    int queries = h->side ? s->rank - 1 : s->rank - 2;
    s->stacked = h->n == 1 && tb_is(h->moves[0], TB_OP_Unsqueeze) &&
                 is_axis(h->moves[0]->in[1], s->axis, joined->rank);
    s->leading = h->n == 0 && s->axis < s->rank - 2;
    if (s->leading) return h->product->in[0]->t.dims[s->axis] == h->product->in[1]->t.dims[s->axis];
    if (s->rank == TIBA_MAX_RANK) return false;
    if (s->stacked) return true;
    if (h->n == 0) return s->axis != queries;
    if (out->dims[queries] == 1 && joined->dims[s->axis] == 1) return false; /* not known */
    step steps[MOST_STEPS];
    for (int i = 0; i < h->n; i++) {
        if (h->moves[i]->out[0]->t.rank == TIBA_MAX_RANK) return false;
        steps[i] = (step){h->moves[i], 0, 0};
    }
    tb_arena *arena = tb_arena_create(s->exec->budget);
    tiba_tensor *numbers = arena ? tb_send_new(arena, out) : NULL;
    int64_t inner, size = along(out, queries, &inner), count = tb_tensor_count(out);
    for (int64_t i = 0; numbers && i < count; i++)
        ((float *)numbers->data)[i] = (float)(i / inner % size + 1);
    const tiba_tensor *ids = numbers ? send(s, arena, steps, h->n, numbers) : NULL;
    bool apart = ids && tb_send_countable(size) && same_along(ids, s->axis);
    tb_arena_destroy(arena);
    return apart;
}

/* Which side is P: what sums to 1 over the product's keys. */
static bool find_probabilities(const side_by_side *s, head *h) {
    for (h->side = 0; h->side < 2; h->side++)
        if (is_attention(s, h->product->in[h->side], h->side ? s->rank - 2 : s->rank - 1))
            return true;
    return false;
}

/* All operands are products of attention with values of one place, in the same shapes. One P that
 * multiplies parts of the values is one head, not several. */
static bool find(side_by_side *s) {
    const tb_node *concat = s->concat;
    int64_t axis = tb_attr_int(concat, "axis", 0);
    s->axis = (int)(axis < 0 ? axis + concat->out[0]->t.rank : axis);
    if (!find_product(s, 0)) return false;
    const head *first = &s->heads[0];
    s->rank = first->product->out[0]->t.rank;
    for (int i = 0; i < concat->n_in; i++) {
        head *h = &s->heads[i];
        if (!find_product(s, i) || !same_moves(h, first)) return false;
        for (int k = 0; k < 2; k++) {
            const tiba_tensor *t = &h->product->in[k]->t;
            if (t->rank != s->rank || t->dtype != TIBA_FLOAT32) return false;
            if (!tb_same_shape(t, &first->product->in[k]->t)) return false;
        }
    }
    for (int i = 0; i < concat->n_in; i++) {
        head *h = &s->heads[i];
        if (!find_probabilities(s, h) || h->side != first->side) return false;
        for (int k = 0; k < i; k++)
            if (h->product->in[h->side] == s->heads[k].product->in[h->side]) return false;
    }
    return finds_place(s) && of_same_tokens(s);
}

/* Operand `side` of all products, stacked along a new axis or joined along theirs. The first axis
 * of all is the samples': matrices alone get one of length 1. */
static tiba_status gather(tb_value **out, tb_builder *b, const side_by_side *s, int side, int axis,
                          tiba_error *error) {
    int n = s->concat->n_in, bare = s->rank == 2;
    tb_value **list = TB_NEW(b->graph->arena, tb_value *, n);
    if (!list) return tb_out_of_memory(error);
    for (int i = 0; i < n; i++) {
        list[i] = s->heads[i].product->in[side];
        if (s->leading) continue;
        tb_value *axes;
        TB_TRY(tb_build_ints(b, &axes, 1 + bare, (int64_t[]){axis, axis + 1}, error));
        TB_TRY(tb_build1(b, &list[i], TB_OP_Unsqueeze, 2, (tb_value *[]){list[i], axes}, 0, NULL,
                         error));
    }
    return tb_build1(b, out, TB_OP_Concat, n, list, 1, &TB_INT_ATTR("axis", axis + bare), error);
}

/* What was done to each product, done to all at once; the heads are axis 0. */
static tiba_status move_all(tb_value **value, tb_builder *b, const head *h, tiba_error *error) {
    for (int i = h->n - 1; i >= 0; i--) {
        const tb_node *node = h->moves[i];
        const tiba_tensor *out = &node->out[0]->t;
        int64_t list[TIBA_MAX_RANK] = {0};
        const int64_t *perm = perm_of(node);
        if (!tb_is(node, TB_OP_Transpose)) {
            list[0] = (*value)->t.dims[0];
            memcpy(list + 1, out->dims, (size_t)out->rank * sizeof *list);
            TB_TRY(tb_build_reshape(b, value, out->rank + 1, list, error));
            continue;
        }
        for (int d = 0; d < out->rank; d++) list[d + 1] = 1 + (perm ? perm[d] : out->rank - 1 - d);
        tb_attr attr = TB_INTS_ATTR("perm", out->rank + 1, list);
        TB_TRY(tb_build1(b, value, TB_OP_Transpose, 1, value, 1, &attr, error));
    }
    return TIBA_OK;
}

static tiba_status join(const side_by_side *s, tb_graph *graph, tiba_error *error) {
    tb_builder b = {.graph = graph,
                    .exec = s->exec,
                    .origin = s->concat->origin,
                    .before = s->concat,
                    .from = s->concat};
    tb_value *old = s->concat->out[0], *in[2], *made;
    int axis = s->leading ? s->axis : s->rank - 2; /* of heads, in front of the matrices */
    for (int k = 0; k < 2; k++) TB_TRY(gather(&in[k], &b, s, k, axis, error));
    TB_TRY(tb_build1(&b, &made, TB_OP_MatMul, 2, in, 0, NULL, error));
    if (s->rank == 2) TB_TRY(tb_build_reshape(&b, &made, 3, made->t.dims + 1, error));
    if (s->heads[0].n > 0 && !s->stacked) {
        TB_TRY(tb_build_move_axis(&b, &made, axis, 0, error));
        TB_TRY(move_all(&made, &b, &s->heads[0], error));
        axis = 0;
    }
    TB_TRY(tb_build_move_axis(&b, &made, axis, s->axis, error));
    if (!tb_same_shape(&made->t, &old->t))
        TB_TRY(tb_build_reshape(&b, &made, old->t.rank, old->t.dims, error));
    made->name = old->name;
    return tb_replace_uses(graph, old, made) ? TIBA_OK : tb_out_of_memory(error);
}

/* Finds the heads of a node and joins them, unless `only` asks whether that could be done. */
static tiba_status visit(tb_graph *graph, tb_node *node, bool *only, tb_exec *exec,
                         tiba_error *error) {
    if (!tb_is(node, TB_OP_Concat) || node->n_in < 2 || !node->out[0]->active) return TIBA_OK;
    tb_arena *arena = tb_arena_create(exec->budget);
    head *heads = arena ? TB_NEW(arena, head, node->n_in) : NULL;
    side_by_side s = {.concat = node, .readers = only ? 2 : 1, .heads = heads, .exec = exec};
    tiba_status status = heads ? TIBA_OK : tb_out_of_memory(error);
    bool found = heads && find(&s);
    if (only)
        *only = found;
    else if (found)
        status = join(&s, graph, error);
    tb_arena_destroy(arena);
    return status;
}

tiba_status tb_are_heads(bool *are, tb_node *concat, tb_exec *exec, tiba_error *error) {
    *are = false;
    return visit(NULL, concat, are, exec, error);
}

tiba_status tb_join_heads(tb_graph *graph, tb_exec *exec, tiba_error *error) {
    for (tb_node *node = graph->first; node; node = node->next)
        TB_TRY(visit(graph, node, NULL, exec, error));
    return TIBA_OK;
}
