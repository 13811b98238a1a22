#include "graph/attention.h"

#include <string.h>

#include "graph/attention_moved.h"
#include "graph/axis_alone.h"
#include "graph/reach.h"
#include "graph/token_order.h"

/* -------------------------------------------------------------------- attentions */

typedef struct search {
    const tb_graph *graph;
    tb_axes *axes;
    tb_attention *list; /* room for one per node */
    int n;
    unsigned char *seen; /* by value id, one softmax at a time */
    tb_moved_by *by;     /* by value id: how the search came there */
    tb_exec exec;
    const tb_node *odd; /* the first product of moved probabilities that is no attention */
    tb_axis_alone own;  /* where keys without a label (features) go */
    bool unlabelled;    /* the softmax at hand has such keys, */
    bool only_features; /* on another axis than the last one: they are nothing but features */
} search;

static int64_t product_of(const tiba_tensor *t, int from, int to) {
    int64_t product = 1;
    for (int d = from; d < to; d++) product *= t->dims[d];
    return product;
}

/* Sorts p's leading rows into groups by their labelled axes (samples, windows); what has no label
 * are heads. False if out of memory. */
static bool leading(search *s, tb_attention *a) {
    const tb_value *p = a->p;
    int64_t rows = product_of(&p->t, 0, p->t.rank - 2), matrix = a->queries * a->keys;
    const tb_value_axes *va = s->axes->values[p->id];
    const tb_factor *factors[TB_MAX_FACTORS];
    int n = 0;
    a->groups = 1;
    a->plain = true;
    for (int i = 0; va && i < va->n; i++) {
        const tb_factor *f = &va->factors[i];
        if (f->inner < matrix) continue;
        /* plain: one label in front of the matrix, outermost, and an input's first axis */
        const tb_label *l = &s->axes->labels[tb_axes_root(s->axes, f->label)];
        bool batch = l->dim == 0 && (l->kind == TB_LABEL_INPUT || l->kind == TB_LABEL_LOOKUP);
        bool outermost = f->inner * f->count == rows * matrix;
        if (n > 0 || !batch || !outermost) a->plain = false;
        factors[n++] = f;
        a->groups *= f->count;
    }
    a->heads = rows / a->groups;
    a->group_of = TB_NEW(s->axes->arena, int, rows);
    if (!a->group_of) return false;
    for (int64_t row = 0; row < rows; row++)
        for (int i = 0; i < n; i++)
            a->group_of[row] = (int)(a->group_of[row] * factors[i]->count +
                                     row * matrix / factors[i]->inner % factors[i]->count);
    return true;
}

/* The scale of the rounding that p still is the result of: whole numbers, at most less their zero
 * point and moved. What has been multiplied by a scale again is no whole number. */
static const tb_value *unit_of(const tb_value *p) {
    for (int steps = 0; p && p->producer && steps < 16; steps++) {
        const tb_node *node = p->producer;
        if (tb_is(node, TB_OP_QuantizeLinear)) return node->in[1];
        if (tb_is(node, TB_OP_DynamicQuantizeLinear)) return node->out[1];
        bool passes = node->op->class == TB_CLASS_MOVE || tb_is(node, TB_OP_Cast) ||
                      (tb_is(node, TB_OP_Sub) && node->in[0]->active && !node->in[1]->active);
        if (!passes) return NULL;
        p = NULL;
        for (int i = 0; i < node->n_in && !p; i++)
            if (node->in[i] && node->in[i]->active) p = node->in[i];
    }
    return NULL;
}

/* Room for the attention of that product; NULL: it has been found already. */
static tb_attention *add(search *s, const tb_node *softmax, const tb_node *product, int side) {
    const tb_value *p = product->in[side], *v = product->in[1 - side];
    for (int i = 0; i < s->n; i++)
        if (s->list[i].product == product) return NULL;
    tb_attention *a = &s->list[s->n++];
    *a = (tb_attention){.softmax = softmax, .product = product, .p = p, .v = v, .tower = -1};
    a->unit = unit_of(p);
    a->transposed = side == 1;
    a->queries = p->t.dims[p->t.rank - (a->transposed ? 1 : 2)];
    a->keys = p->t.dims[p->t.rank - (a->transposed ? 2 : 1)];
    return a;
}

static bool record(search *s, const tb_node *softmax, const tb_node *product, int side) {
    tb_attention *a = add(s, softmax, product, side);
    if (!a) return true;
    const tb_value *p = a->p;
    int rank = p->t.rank, query = a->transposed ? rank - 1 : rank - 2;
    int key = a->transposed ? rank - 2 : rank - 1;
    a->query_label = tb_axes_dim(s->axes, p, query);
    a->key_label = tb_axes_dim(s->axes, p, key);
    if (a->query_label == -1 && a->key_label == -1)
        a->query_label = a->key_label = tb_axes_spread(s->axes, p, query, key);
    if (a->query_label == -2 || a->key_label == -2) return false;
    return leading(s, a);
}

/* As record(), where moves left no axis of keys. */
static bool record_moved(search *s, const tb_node *softmax, const tb_node *product, int side) {
    bool fits, odd;
    tb_attention *a = add(s, softmax, product, side);
    if (!a) return true;
    if (tb_moved_attention(&fits, &odd, a, s->by, s->axes, &s->exec, NULL) != TIBA_OK) return false;
    if (!fits) s->n--;
    if (odd && !s->odd) s->odd = product;
    return true;
}

/* The dimension of `value` that is the label, -1 if none. */
static int dim_of(search *s, const tb_value *value, int label) {
    for (int d = value->t.rank - 1; d >= 0; d--)
        if (tb_axes_dim(s->axes, value, d) == label) return d;
    return -1;
}

/* The label of the axis that a Softmax runs over, -1: none; -2: out of memory. */
static int softmax_keys(const search *s, const tb_node *node) {
    const tb_value *value = node->out[0];
    int64_t axis = tb_attr_int(node, "axis", -1);
    return tb_axes_dim(s->axes, value, (int)(axis < 0 ? axis + value->t.rank : axis));
}

/* Does the value come from softmaxes over these keys alone, this one or others, by way of sums and
 * functions: its own norm, probabilities that another attention's are taken from? */
static bool from_softmax(const search *s, const tb_value *value, int key, int depth) {
    if (s->seen[value->id]) return true;
    const tb_node *node = value->producer;
    if (!node || depth > 8) return false;
    if (tb_is(node, TB_OP_Softmax)) return key >= 0 && softmax_keys(s, node) == key;
    bool passes = node->op->class == TB_CLASS_UNARY || node->op->class == TB_CLASS_BINARY ||
                  node->op->class == TB_CLASS_REDUCE || node->op->class == TB_CLASS_MOVE;
    bool any = false;
    for (int i = 0; passes && i < node->n_in; i++) {
        if (!node->in[i] || !node->in[i]->active) continue;
        if (!from_softmax(s, node->in[i], key, depth + 1)) return false;
        any = true;
    }
    return any;
}

/* The activation that this one is made of element by element. */
static const tb_value *elements_of(const tb_value *value) {
    for (const tb_node *node; (node = value->producer);) {
        const tb_value *from = NULL;
        int actives = 0;
        bool passes = node->op->class == TB_CLASS_UNARY || node->op->class == TB_CLASS_BINARY ||
                      node->op->class == TB_CLASS_QUANT || tb_is(node, TB_OP_Where) ||
                      node->op->def->alias;
        for (int i = 0; i < node->n_in; i++) {
            if (!node->in[i] || !node->in[i]->active) continue;
            actives += from != node->in[i];
            from = node->in[i];
        }
        if (!passes || actives != 1 || tb_tensor_count(&from->t) != tb_tensor_count(&value->t))
            return value;
        value = from;
    }
    return value;
}

/* Is the operand of a product made of the softmax's own scores, element by element? Then so is the
 * product a function of each query's scores that is applied to them in their places (the sign of
 * scores whose magnitudes were weighed). */
static bool of_scores(const tb_node *node, const tb_value *factor, const tb_node *softmax) {
    return tb_is(node, TB_OP_Mul) && elements_of(factor) == elements_of(softmax->in[0]);
}

/* Where else an operator with several activations is still this softmax's result: moves, division
 * by its own sum, sums and products with another one's, and products with its own scores. A sum
 * with another activation (a residual) is not. */
static bool still_softmax(const search *s, const tb_node *softmax, const tb_node *node, int key) {
    if (node->op->class == TB_CLASS_MOVE) return true;
    if (node->op->class != TB_CLASS_BINARY) return false;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active && !from_softmax(s, node->in[i], key, 0) &&
            !of_scores(node, node->in[i], softmax))
            return false;
    return true;
}

int tb_features_input(tb_axes *axes, const tb_node *product, int side) {
    const tb_value *v = product->in[1 - side];
    int label = tb_axes_dim(axes, v, v->t.rank - (side == 1 ? 2 : 1));
    return label < 0 ? label : tb_label_input(axes, label);
}

/* Is it a product that sums over keys without a label, for queries of no input, and has an input's
 * tokens in the place of V's features? 1 or 0, -2: out of memory. */
static int over_features(search *s, const tb_node *node, int at) {
    const tb_value *p = node->in[at], *v = node->in[1 - at];
    int rank = p->t.rank, keys = rank - (at == 0 ? 1 : 2), queries = rank - (at == 0 ? 2 : 1);
    if (!s->unlabelled || rank < 2 || v->t.rank < 2 || !tb_axis_alone_at(&s->own, p, keys))
        return 0;
    int query = tb_axes_dim(s->axes, p, queries), input = tb_features_input(s->axes, node, at);
    if (query == -2 || input == -2) return -2;
    return input >= 0 && (query < 0 || tb_label_input(s->axes, query) < 0);
}

/* Are the keys, which were left as a part of the value's dimensions (head mixing by a Gemm), still
 * one of the other's? */
static bool carried(const search *s, const tb_value *value, const tb_value *out, int key) {
    int64_t inner;
    return tb_axes_carries(s->axes, value, key, &inner) &&
           tb_axes_carries(s->axes, out, key, &inner);
}

/* The label of the key axis after `node`; -1: gone. Slices and joints of keys (a sink that takes
 * part in the softmax only) make another axis of them. */
static int key_after(search *s, const tb_node *node, const tb_value *value, const tb_value *out,
                     int key) {
    int d = dim_of(s, out, key);
    if (d >= 0) return key;
    bool cuts = tb_is(node, TB_OP_Slice) || tb_is(node, TB_OP_Split) || tb_is(node, TB_OP_Concat);
    d = dim_of(s, value, key);
    if (d < 0) return carried(s, value, out, key) ? key : -1;
    if (!cuts || out->t.rank != value->t.rank) return -1;
    return tb_axes_dim(s->axes, out, d);
}

/* Follows what descends from the softmax while it still has the key axis, to the products that
 * contract it; where a move takes the axis away, on through moves alone, or through what keeps
 * apart the keys that it made a part of another axis. */
static bool follow(search *s, const tb_node *softmax, const tb_value *value, int key, bool moved,
                   int depth) {
    if (s->seen[value->id] || depth > 64) return true;
    s->seen[value->id] = 1;
    for (int i = 0; i < value->n_uses; i++) {
        const tb_node *node = value->uses[i].node;
        int at = value->uses[i].index;
        bool product = tb_is(node, TB_OP_MatMul) && node->in[0]->active && node->in[1]->active;
        int features = product ? over_features(s, node, at) : 0;
        if (features == -2 || (features && !record(s, softmax, node, at))) return false;
        if (features) continue;
        product &= !s->only_features;
        if (product && moved) {
            if (value->t.rank >= 2 && !record_moved(s, softmax, node, at)) return false;
            continue;
        }
        if (product) {
            int contracted = at == 0 ? value->t.rank - 1 : value->t.rank - 2;
            int64_t size = contracted >= 0 ? value->t.dims[contracted] : 0;
            bool keys =
                key >= 0 ? tb_axes_dim(s->axes, value, contracted) == key : at == 0 && size > 1;
            if (value->t.rank >= 2 && keys) {
                if (!record(s, softmax, node, at)) return false;
                continue;
            }
        }
        int actives = 0;
        for (int k = 0; k < node->n_in; k++) actives += node->in[k] && node->in[k]->active;
        if (actives > 1 && !still_softmax(s, softmax, node, key)) continue;
        bool moves = node->op->class == TB_CLASS_MOVE;
        for (int k = 0; k < node->n_out; k++) {
            const tb_value *out = node->out[k];
            if (!out || !out->active) continue;
            if (s->unlabelled && !tb_axis_alone_carry(&s->own, node, k)) return false;
            if (s->only_features && !tb_axis_alone_at(&s->own, out, -1)) continue;
            int next = key;
            bool gone = moved;
            if (moved && !moves && key >= 0)
                gone = !carried(s, value, out, key);
            else if (!moved && key < 0)
                gone = !s->only_features && tb_tensor_count(&out->t) != tb_tensor_count(&value->t);
            else if (!moved) {
                next = key_after(s, node, value, out, key);
                if (next == -2) return false;
                gone = next < 0;
                if (gone && dim_of(s, value, key) < 0) continue;
                if (gone) next = key;
            }
            if (gone && (!moves || actives > 1)) continue;
            s->by[out->id] = (tb_moved_by){node, at};
            if (!follow(s, softmax, out, next, gone, depth + 1)) return false;
        }
    }
    return true;
}

static tiba_status find_attentions(search *s, tiba_error *error) {
    const tb_graph *graph = s->graph;
    for (const tb_node *node = graph->first; node; node = node->next) {
        if (!tb_is(node, TB_OP_Softmax) || !node->out[0] || !node->out[0]->active) continue;
        const tb_value *value = node->out[0];
        int64_t axis = tb_attr_int(node, "axis", -1);
        if (axis < 0) axis += value->t.rank;
        memset(s->seen, 0, (size_t)graph->n_values);
        int key = softmax_keys(s, node);
        s->unlabelled = key == -1;
        s->only_features = key == -1 && axis != value->t.rank - 1;
        if (s->unlabelled && !tb_axis_alone_begin(&s->own, value, (int)axis))
            return tb_out_of_memory(error);
        if (key == -2 || !follow(s, node, value, key, false, 0)) return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

/* -------------------------------------------------------------------- towers */

/* The graph input that feeds a node's data, by way of the first active operands. */
static int input_behind(const tb_node *node) {
    const tb_value *value = node->in[0];
    for (int depth = 0; value && depth < 100000; depth++) {
        if (value->input >= 0 && !value->producer) return value->input;
        if (!value->producer) return -1;
        const tb_value *next = NULL;
        for (int i = 0; i < value->producer->n_in && !next; i++) {
            tb_value *in = value->producer->in[i];
            if (in && in->active)
                next = in;
            else if (in && in->ids_of >= 0)
                return in->ids_of;
        }
        value = next;
    }
    return -1;
}

/* Do the label's tokens begin with ids that are looked up? */
static bool is_looked_up(const tb_axes *axes, int label) {
    const tb_label *l = &axes->labels[tb_axes_root(axes, label)];
    for (int depth = 0; depth < 32 && l->n_parents > 0 && l->parents[0] >= 0; depth++)
        l = &axes->labels[tb_axes_root(axes, l->parents[0])];
    return l->kind == TB_LABEL_LOOKUP;
}

/* Do tokens of several inputs take turns: is one of the axes a stack of these? */
static bool takes_turns(const tb_axes *axes, const tb_label *merge) {
    for (int i = 0; i < merge->n_parents; i++) {
        const tb_label *l = &axes->labels[tb_axes_root(axes, merge->parents[i])];
        for (int k = 1; k < l->n_parents && l->kind == TB_LABEL_JOIN; k++) {
            int a = l->parents[0], b = l->parents[k];
            const tb_label *first = a < 0 ? NULL : &axes->labels[tb_axes_root(axes, a)];
            const tb_label *other = b < 0 ? NULL : &axes->labels[tb_axes_root(axes, b)];
            bool inputs = first && first->kind == TB_LABEL_INPUT && first->count == 1 && other &&
                          other->kind == TB_LABEL_INPUT;
            if (inputs && first->input != other->input) return true;
        }
    }
    return false;
}

/* Fills what a merged label says of the grid: its parents are rows and columns. */
static void grid_of_merge(const tb_axes *axes, const tb_label *l, tb_tower *tower) {
    tower->rows = 1;
    for (int i = 0; i + 1 < l->n_parents; i++)
        tower->rows *= axes->labels[tb_axes_root(axes, l->parents[i])].count;
    tower->columns = axes->labels[tb_axes_root(axes, l->parents[l->n_parents - 1])].count;
}

static void trace(const tb_axes *axes, const tb_attentions *found, int label, int64_t from,
                  tb_tower *tower, int depth);

/* Do the operands that Concat joined hold tokens of one input at different distances from where
 * they were: rolled, say? What is only put together again is in order. */
static bool is_out_of_order(const tb_axes *axes, const tb_label *join, int64_t from, int depth) {
    tb_tower before = {.input = -1};
    for (int i = 0; i < join->n_parents; i++) {
        if (join->parents[i] < 0) continue;
        tb_tower piece = {.input = -1, .tokens = INT64_MAX};
        int64_t first = from + join->offsets[i];
        int64_t end = first + axes->labels[tb_axes_root(axes, join->parents[i])].count;
        trace(axes, NULL, join->parents[i], first, &piece, depth + 1);
        bool holds = piece.input >= 0 && piece.prefix < end && first < piece.prefix + piece.length;
        if (!holds) continue;
        if (before.input == piece.input && before.prefix != piece.prefix) return true;
        before = piece;
    }
    return false;
}

/* Are these the tokens of a tower? `found` may be NULL: nobody knows yet. */
static bool is_tower(const tb_attentions *found, int label) {
    for (int i = 0; found && i < found->n_towers; i++)
        if (found->towers[i].label == label) return true;
    return false;
}

/* Of joined tokens the part that gives them their name: the longest that comes from an input;
 * where parts have towers of their own (a picture's in front of a text), one that has none. */
static int leading_part(const tb_axes *axes, const tb_attentions *found, const tb_label *join) {
    int best = -1;
    int64_t most = 0;
    for (int i = 0; i < join->n_parents; i++) {
        if (join->parents[i] < 0 || tb_axes_query(axes, join->parents[i])) continue;
        int part = tb_axes_root(axes, join->parents[i]);
        /* any part without a tower counts more than the longest with one */
        int64_t count = axes->labels[part].count + (is_tower(found, part) ? 0 : join->count);
        if (count > most) most = count, best = i;
    }
    return best;
}

/* Follows a token label back to the input that feeds it; `from` is its place in the tower's axis.
 */
static void trace(const tb_axes *axes, const tb_attentions *found, int label, int64_t from,
                  tb_tower *tower, int depth) {
    label = tb_axes_root(axes, label);
    if (label < 0 || depth > 32) return;
    const tb_label *l = &axes->labels[label];
    switch (l->kind) {
    case TB_LABEL_INPUT:
    case TB_LABEL_LOOKUP:
        tower->input = l->input;
        tower->prefix = from;
        tower->length = l->count;
        break;
    case TB_LABEL_GRID: /* frames of a one-dimensional convolution */
        tower->input = input_behind(l->node);
        tower->image = true;
        tower->rows = 1;
        tower->columns = l->count;
        tower->prefix = from;
        tower->length = l->count;
        break;
    case TB_LABEL_MERGE:
        trace(axes, found, l->parents[0], from, tower, depth + 1);
        if (tower->input < 0) break;
        tower->mixed = takes_turns(axes, l);
        tower->image = !tower->mixed && !is_looked_up(axes, l->parents[0]);
        grid_of_merge(axes, l, tower);
        tower->prefix = from;
        tower->length = l->count;
        break;
    case TB_LABEL_JOIN: {
        int part = leading_part(axes, found, l);
        tower->reordered |= depth < 8 && is_out_of_order(axes, l, from, depth);
        if (part >= 0)
            trace(axes, found, l->parents[part], from + l->offsets[part], tower, depth + 1);
        break;
    }
    case TB_LABEL_CUT: {
        const tb_label *parent = &axes->labels[tb_axes_root(axes, l->parents[0])];
        int64_t start = l->offsets[0];
        trace(axes, found, l->parents[0], from - start, tower, depth + 1);
        /* a piece of the patches has no grid of its own */
        if (l->step != 1 || tower->prefix < 0 || parent->count < l->count)
            tower->rows = tower->columns = 0;
        tower->reordered |= l->step != 1;
        break;
    }
    case TB_LABEL_PART:
        trace(axes, found, l->parents[0], from, tower, depth + 1);
        if (tower->input >= 0 && tower->rows == 0) {
            tower->rows = 1;
            tower->columns = l->count;
            tower->length = l->count;
        }
        break;
    case TB_LABEL_SPREAD:
    case TB_LABEL_OTHER:
        if (l->n_parents) trace(axes, found, l->parents[0], from, tower, depth + 1);
        tower->rows = tower->columns = 0;
        tower->reordered |= !tb_is(l->node, TB_OP_Pad) && !tb_is(l->node, TB_OP_Resize) &&
                            !tb_is(l->node, TB_OP_Tile);
        break;
    case TB_LABEL_QUERY:
        break;
    }
    /* the grid must fit into the tokens */
    if (tower->reordered) tower->rows = tower->columns = 0;
    if (tower->rows * tower->columns + tower->prefix > tower->tokens)
        tower->rows = tower->columns = 0;
}

int tb_label_input(const tb_axes *axes, int label) {
    tb_tower tower = {.input = -1, .tokens = INT64_MAX};
    trace(axes, NULL, label, 0, &tower, 0);
    return tower.input;
}

int tb_query_input(const tb_axes *axes, const tb_attentions *found, int attention) {
    const tb_attention *a = &found->attentions[attention];
    return a->tower >= 0 ? found->towers[a->tower].input : tb_label_input(axes, a->query_label);
}

bool tb_label_includes(const tb_axes *axes, int label, int part) {
    label = tb_axes_root(axes, label);
    part = tb_axes_root(axes, part);
    if (label < 0 || label == part) return label >= 0;
    const tb_label *l = &axes->labels[label];
    for (int i = 0; i < l->n_parents; i++) /* parents are older: this ends */
        if (l->parents[i] >= 0 && tb_axes_root(axes, l->parents[i]) < label &&
            tb_label_includes(axes, l->parents[i], part))
            return true;
    return false;
}

/* Finds out whether every single token is where trace() supposes it. False if out of memory. */
static bool check_order(tb_tower *tower, const tb_axes *axes, int rank) {
    bool grid = tower->rows > 0;
    int64_t first = tower->prefix > 0 ? tower->prefix : 0, end = tower->prefix + tower->length;
    int64_t n = grid                  ? tower->rows * tower->columns
                : end < tower->tokens ? end - first
                                      : tower->tokens - first;
    if (tower->reordered || tower->mixed || (tower->image && !grid)) return true;
    tb_token_place as = !grid      ? TB_ORDER_OF_SEQUENCE
                        : rank < 4 ? TB_ORDER_OF_SOUND
                                   : TB_ORDER_OF_PICTURE;
    tb_token_order order = tb_token_order_of(axes, tower->label, first, n, as);
    if (order == TB_ORDER_OTHER) {
        tower->reordered = true;
        tower->rows = tower->columns = 0;
    }
    return order != TB_ORDER_NO_MEMORY;
}

bool tb_tower_describe(tb_tower *tower, const tb_graph *graph, const tb_axes *axes,
                       const tb_attentions *found, int label, int64_t tokens) {
    *tower = (tb_tower){.label = label, .tokens = tokens, .input = -1};
    trace(axes, found, label, 0, tower, 0);
    const tb_value *input = tower->input >= 0 ? graph->inputs[tower->input] : NULL;
    /* embeddings given as they are have tokens but no picture */
    if (!input || !tower->image || tower->rows == 0) tower->rows = tower->columns = 0;
    if (!input) return true;
    if (!check_order(tower, axes, input->t.rank)) return false;
    return tower->rows > 0 || tb_token_origins(&tower->origins, axes, label, tokens);
}

static tiba_status find_towers(tb_attentions *found, const tb_graph *graph, tb_axes *axes,
                               tiba_error *error) {
    tb_arena *arena = axes->arena;
    found->towers = TB_NEW(arena, tb_tower, found->n_attentions);
    if (!found->towers) return tb_out_of_memory(error);
    for (int i = 0; i < found->n_attentions; i++) {
        tb_attention *a = &found->attentions[i];
        /* keys or values may be in other places than the tokens they were lined up with */
        int key = a->p->t.rank - (a->transposed ? 2 : 1),
            token = a->v->t.rank - (a->transposed ? 1 : 2);
        if (tb_axes_moved(axes, a->p, key) || tb_axes_moved(axes, a->v, token)) a->plain = false;
        /* labels may have been lined up since */
        a->query_label = tb_axes_root(axes, a->query_label);
        a->key_label = tb_axes_root(axes, a->key_label);
        if (!a->plain || a->key_label < 0 || a->query_label != a->key_label ||
            a->queries != a->keys)
            continue;
        int t = 0;
        while (t < found->n_towers && found->towers[t].label != a->key_label) t++;
        tb_tower *tower = &found->towers[t];
        if (t == found->n_towers) {
            if (!tb_tower_describe(tower, graph, axes, found, a->key_label, a->keys))
                return tb_out_of_memory(error);
            found->n_towers++;
            tower->attentions = TB_NEW(arena, int, found->n_attentions);
            if (!tower->attentions) return tb_out_of_memory(error);
        }
        a->tower = t;
        tower->attentions[tower->n_attentions++] = i;
    }
    return TIBA_OK;
}

tiba_status tb_attentions_find(tb_attentions **out, const tb_graph *graph, tb_axes *axes,
                               tb_budget *budget, tiba_error *error) {
    tb_attentions *found = TB_NEW(axes->arena, tb_attentions, 1);
    search s = {.graph = graph, .axes = axes, .exec = {.budget = budget}};
    s.list = TB_NEW(axes->arena, tb_attention, graph->n_nodes + 1);
    s.seen = TB_NEW(axes->arena, unsigned char, graph->n_values + 1);
    s.by = TB_NEW(axes->arena, tb_moved_by, graph->n_values + 1);
    bool room = tb_axis_alone_create(&s.own, graph, axes);
    if (!found || !s.list || !s.seen || !s.by || !room) return tb_out_of_memory(error);
    tiba_status status = find_attentions(&s, error);
    tb_scratch_free(&s.exec);
    TB_TRY(status);
    /* by the products, not the softmaxes */
    tb_node **nodes = tb_reading_order(graph, axes->arena);
    int *order = TB_NEW(axes->arena, int, graph->next_node_id + 1);
    if (!nodes || !order) return tb_out_of_memory(error);
    for (int i = 0; i < graph->n_nodes; i++) order[nodes[i]->id] = i;
    for (int i = 1; i < s.n; i++)
        for (int k = i; k > 0 && order[s.list[k].product->id] < order[s.list[k - 1].product->id];
             k--) {
            tb_attention swap = s.list[k];
            s.list[k] = s.list[k - 1];
            s.list[k - 1] = swap;
        }
    found->attentions = s.list;
    found->n_attentions = s.n;
    found->odd = s.odd;
    TB_TRY(find_towers(found, graph, axes, error));
    *out = found;
    return TIBA_OK;
}

/* -------------------------------------------------------------------- readout */

const tb_value *tb_tower_readout(const tb_graph *graph, const tb_axes *axes,
                                 const tb_attentions *found, const tb_tower *tower,
                                 const tb_value *target, int64_t *inner) {
    const tb_attention *last = &found->attentions[tower->attentions[tower->n_attentions - 1]];
    int n;
    const tb_value **passed =
        tb_values_passed(&n, graph, last->product->out[0], target, axes->arena);
    while (passed && n-- > 0)
        if (tb_axes_carries(axes, passed[n], tower->label, inner)) return passed[n];
    return NULL;
}
