#include "graph/region.h"

#include <string.h>

#include "graph/dominators.h"

/* A written-out normalisation has some twenty nodes. */
enum { MAX_NODES = 96, MAX_CONSTANT = 1 << 22 };

/* What an inner value is in terms of the entry's axes (bit i: axis i). */
typedef struct layout {
    unsigned reduced; /* axes along which all its elements are, or were before Expand, one */
    unsigned removed; /* axes that it does not have any more */
    unsigned order;   /* four bits a place: the entry's axis that stands there (its own, if any are
                         removed) */
} layout;

enum { IN_PLACE = 0x76543210 };

typedef struct finder {
    const tb_graph *graph;
    tb_arena *arena;
    tb_regions *regions;
    const tb_dominators *dominators;
    layout *layouts;  /* by value id, of the candidate */
    int *position;    /* by node id: place in execution order */
    int *candidate;   /* by node id: number of the last candidate that the node was in */
    int n_candidates; /* so far */
    const tb_value *entry;
    tb_node *nodes[MAX_NODES]; /* of the candidate, the exit's first */
    int n_nodes;
    unsigned normalised; /* the entry's axes that the candidate's reductions work along */
    unsigned met;        /* those of the reductions that have been followed */
    bool open;           /* what is between may be read elsewhere, by other regions too */
} finder;

static bool is_join_op(const tb_node *node) {
    switch (node->op->kind) {
    case TB_OP_Add:
    case TB_OP_Sub:
    case TB_OP_Mul:
    case TB_OP_Div:
    case TB_OP_Pow:
    case TB_OP_Max:
    case TB_OP_Min:
    case TB_OP_Where:
        return true;
    default:
        return false;
    }
}

/* A condition is none. */
static int first_operand(const tb_node *node) {
    return tb_is(node, TB_OP_Where) ? 1 : 0;
}

static bool is_move(const tb_node *node) {
    return tb_is(node, TB_OP_Identity) || tb_is(node, TB_OP_Expand) || tb_is(node, TB_OP_Squeeze) ||
           tb_is(node, TB_OP_Unsqueeze) || tb_is(node, TB_OP_Reshape) ||
           tb_is(node, TB_OP_Transpose);
}

/* Element by element, and no more than rounding where it quantises. */
static bool is_function(const tb_node *node) {
    return node->op->class == TB_CLASS_UNARY || tb_is(node, TB_OP_QuantizeLinear) ||
           tb_is(node, TB_OP_DequantizeLinear) || tb_is(node, TB_OP_FakeQuantize);
}

static bool is_allowed(const tb_node *node) {
    if (node->n_out < 1 || !node->out[0]) return false;
    for (int i = 1; i < node->n_out; i++)
        if (node->out[i]) return false;
    return is_function(node) || node->op->class == TB_CLASS_REDUCE || is_join_op(node) ||
           is_move(node);
}

static int active_inputs(const tb_node *node) {
    int n = 0;
    for (int i = 0; i < node->n_in; i++) n += node->in[i] && node->in[i]->active;
    return n;
}

static int count_bits(unsigned bits) {
    int n = 0;
    for (; bits; bits &= bits - 1) n++;
    return n;
}

/* --- what lies between -------------------------------------------------------------------- */

/* Does `t` have the entry's rank, with ones along the axes in `ones`? */
static bool has_ones(const finder *f, const tiba_tensor *t, unsigned ones) {
    const tiba_tensor *x = &f->entry->t;
    if (t->rank != x->rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] != (ones >> i & 1 ? 1 : x->dims[i])) return false;
    return true;
}

/* Has `t` the entry's axes, all or some of them reduced to one? */
static bool is_like_entry(const finder *f, const tiba_tensor *t) {
    const tiba_tensor *x = &f->entry->t;
    if (t->rank != x->rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] != 1 && t->dims[i] != x->dims[i]) return false;
    return true;
}

/* Is a condition found from the entry, element by element or from statistics of it: which piece of
 * a function holds, whether there is something to divide by? */
static bool is_of_entry(const finder *f, const tb_value *value, int *steps) {
    if (value == f->entry || (value->t.data && tb_tensor_count(&value->t) == 1)) return true;
    const tb_node *node = value->producer;
    if (!node || --*steps < 0 || !is_like_entry(f, &value->t)) return false;
    if (node->op->class == TB_CLASS_REDUCE) return is_of_entry(f, node->in[0], steps);
    bool passes = node->op->class == TB_CLASS_SHAPE || node->op->class == TB_CLASS_UNARY ||
                  node->op->class == TB_CLASS_BINARY || tb_is(node, TB_OP_Where);
    for (int i = 0; i < node->n_in && passes; i++)
        passes = !node->in[i] || is_of_entry(f, node->in[i], steps);
    return passes;
}

/* A function in pieces; a choice by anything else, a mask, is where relevance goes or not. */
static bool is_piecewise(const finder *f, const tb_node *node) {
    int steps = MAX_NODES;
    return !tb_is(node, TB_OP_Where) ||
           (!node->in[0]->t.data && is_of_entry(f, node->in[0], &steps));
}

/* Collects the nodes on all ways from the entry to `join`; false if one may not be there. */
static bool collect(finder *f, tb_node *join) {
    int number = ++f->n_candidates;
    f->n_nodes = 0;
    f->nodes[f->n_nodes++] = join;
    f->candidate[join->id] = number;
    for (int at = 0; at < f->n_nodes; at++) {
        const tb_node *node = f->nodes[at];
        if (!is_allowed(node) || !is_piecewise(f, node)) return false;
        if (!f->open && f->regions->of_node[node->id] >= 0) return false;
        for (int i = first_operand(node); i < node->n_in; i++) {
            const tb_value *in = node->in[i];
            if (!in || in == f->entry || in->t.data) continue;
            tb_node *from = in->producer;
            /* What is neither constant nor active is computed from something else. */
            if (!in->active || !from || f->n_nodes == MAX_NODES) return false;
            if (f->candidate[from->id] == number) continue;
            f->candidate[from->id] = number;
            f->nodes[f->n_nodes++] = from;
        }
    }
    return true;
}

bool tb_carries_on(const tb_node *node) {
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i] && node->out[i]->active) return true;
    return false;
}

static bool is_closed(const finder *f) {
    for (int i = 1; i < f->n_nodes; i++) {
        const tb_value *out = f->nodes[i]->out[0];
        if (out->is_output) return false;
        for (int u = 0; u < out->n_uses; u++) {
            const tb_node *by = out->uses[u].node;
            if (tb_carries_on(by) && f->candidate[by->id] != f->n_candidates) return false;
        }
    }
    return true;
}

/* --- axes --------------------------------------------------------------------------------- */

static int axis_at(layout of, int place) {
    return (int)(of.order >> 4 * place & 15);
}

/* Axes in the list as bits, 0 if there is none. */
static bool list_axes(unsigned *axes, const tb_value *list, int rank) {
    *axes = 0;
    int64_t count = list && list->t.data ? tb_tensor_count(&list->t) : 0;
    if (list && !list->t.data) return false;
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = tb_get_i64(&list->t, i);
        if (axis < 0) axis += rank;
        if (axis < 0 || axis >= rank) return false;
        *axes |= 1u << axis;
    }
    return true;
}

/* Places of a value as the entry's axes. */
static unsigned axes_at(layout of, unsigned places) {
    unsigned axes = 0;
    for (int i = 0; places >> i; i++)
        if (places >> i & 1) axes |= 1u << axis_at(of, i);
    return axes;
}

/* A constant operand is a scale or shift of features: it may vary along the last axis and along the
 * axes that are normalised. One that varies over tokens otherwise is a position embedding. */
static bool fits_constant(const finder *f, const tb_value *constant, const tb_node *node,
                          layout of) {
    const tiba_tensor *t = &constant->t;
    int rank = f->entry->t.rank;
    int64_t count = tb_tensor_count(t);
    if (count == 1) return t->rank <= node->out[0]->t.rank;
    if (of.removed || t->rank == 0 || t->rank > rank) return false;
    unsigned varies = 0;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] != 1) varies |= 1u << axis_at(of, rank - t->rank + i);
    if (!(varies & ~(f->normalised | 1u << (rank - 1)))) return true;
    if (t->dtype != TIBA_FLOAT32 || count > MAX_CONSTANT || of.order != IN_PLACE) return false;
    int64_t row = t->dims[t->rank - 1]; /* or a row that was expanded */
    const float *data = t->data;
    for (int64_t i = row; i < count; i++)
        if (data[i] != data[i - row]) return false;
    return true;
}

static bool follow_join(const finder *f, const tb_node *node, layout *out) {
    unsigned all = (1u << f->entry->t.rank) - 1;
    bool seen = false;
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        if (!in || !in->active) continue;
        layout of = f->layouts[in->id];
        if (!seen) {
            *out = of;
        } else {
            /* One number for everything fits whatever its rank. */
            bool fits = of.removed == out->removed && of.order == out->order;
            if (!fits && of.reduced != all && out->reduced != all) return false;
            if (out->reduced == all) out->order = of.order;
            out->removed &= of.removed;
            out->reduced &= of.reduced;
        }
        seen = true;
    }
    for (int i = first_operand(node); i < node->n_in; i++)
        if (node->in[i] && !node->in[i]->active && !fits_constant(f, node->in[i], node, *out))
            return false;
    return seen;
}

static bool follow_reduction(finder *f, const tb_node *node, layout *out) {
    unsigned axes;
    int rank = f->entry->t.rank;
    if (out->removed || !list_axes(&axes, node->n_in > 1 ? node->in[1] : NULL, rank)) return false;
    if (axes == 0) {
        if (tb_attr_int(node, "noop_with_empty_axes", 0)) return false;
        axes = (1u << rank) - 1;
    }
    axes = axes_at(*out, axes);
    f->met |= axes;
    out->reduced |= axes;
    if (tb_attr_int(node, "keepdims", 1)) return true;
    out->removed = axes;
    return out->order == IN_PLACE;
}

/* Axes that change places, as tools that move Transpose about leave them: they must come back. */
static bool follow_transpose(const finder *f, const tb_node *node, layout *out) {
    int64_t n;
    int rank = f->entry->t.rank;
    const int64_t *perm = tb_attr_ints(node, "perm", &n);
    if (out->removed || (perm && n != rank)) return false;
    layout before = *out;
    for (int i = 0; i < rank; i++) {
        int from = perm ? (int)perm[i] : rank - 1 - i;
        out->order &= ~(15u << 4 * i);
        out->order |= (unsigned)axis_at(before, from) << 4 * i;
    }
    return true;
}

/* Reduced axes are put back, taken away or broadcast. */
static bool follow_move(const finder *f, const tb_node *node, layout *out) {
    const tiba_tensor *from = &node->in[0]->t, *to = &node->out[0]->t;
    if (tb_is(node, TB_OP_Transpose)) return follow_transpose(f, node, out);
    if (tb_is(node, TB_OP_Identity) || tb_same_shape(from, to)) return true;
    unsigned axes;
    switch (node->op->kind) {
    case TB_OP_Expand:
        return !out->removed && to->rank == f->entry->t.rank;
    case TB_OP_Squeeze:
        if (out->removed || node->n_in < 2 || !list_axes(&axes, node->in[1], from->rank) ||
            (axes & ~out->reduced) || axes == 0 || out->order != IN_PLACE)
            return false;
        out->removed = axes;
        return true;
    case TB_OP_Unsqueeze:
        if (!list_axes(&axes, node->in[1], to->rank) || axes != out->removed) return false;
        out->removed = 0;
        return to->rank == f->entry->t.rank;
    case TB_OP_Reshape:
        if (!out->removed || !has_ones(f, to, out->reduced)) return false;
        out->removed = 0;
        return true;
    default:
        return false;
    }
}

static bool follow(finder *f, const tb_node *node) {
    layout out = {0, 0, IN_PLACE};
    if (is_join_op(node)) {
        if (!follow_join(f, node, &out)) return false;
    } else {
        if (!node->in[0] || !node->in[0]->active || active_inputs(node) != 1) return false;
        out = f->layouts[node->in[0]->id];
        if (node->op->class == TB_CLASS_REDUCE && !follow_reduction(f, node, &out)) return false;
        if (is_move(node) && !follow_move(f, node, &out)) return false;
        for (int i = 1; i < node->n_in && is_function(node); i++)
            if (node->in[i] && tb_tensor_count(&node->in[i]->t) != 1) return false;
    }
    if (node->out[0]->t.rank + count_bits(out.removed) != f->entry->t.rank) return false;
    f->layouts[node->out[0]->id] = out;
    return true;
}

/* In execution order, so that a node is followed after all that it reads. */
static bool follow_all(finder *f) {
    int order[MAX_NODES];
    for (int i = 0; i < f->n_nodes; i++) {
        int k = i;
        for (; k > 0 && f->position[f->nodes[order[k - 1]]->id] > f->position[f->nodes[i]->id]; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    f->layouts[f->entry->id] = (layout){0, 0, IN_PLACE};
    /* what constants may vary along is known when all reductions have been met */
    f->normalised = ~0u;
    for (int pass = 0; pass < 2; pass++) {
        f->met = 0;
        for (int i = 0; i < f->n_nodes; i++)
            if (!follow(f, f->nodes[order[i]])) return false;
        f->normalised = f->met;
    }
    return true;
}

/* --- regions ------------------------------------------------------------------------------ */

static bool is_entry(const finder *f, const tb_value *value) {
    while (value != f->entry && value->producer &&
           (tb_is(value->producer, TB_OP_Identity) || tb_is(value->producer, TB_OP_Cast) ||
            tb_is(value->producer, TB_OP_Transpose)))
        value = value->producer->in[0];
    return value == f->entry;
}

/* x + f(x) is a residual connection, unless f(x) is a statistic of x that is broadcast. */
static bool is_residual(const finder *f, const tb_node *join) {
    if (!tb_is(join, TB_OP_Add) && !tb_is(join, TB_OP_Sub)) return false;
    for (int i = 0; i < 2; i++)
        if (is_entry(f, join->in[i]) && f->layouts[join->in[1 - i]->id].reduced == 0) return true;
    return false;
}

/* Is the exit within a larger region of the same entry (or, where regions are closed, of any)? */
static bool is_within(const finder *f, const tb_node *join) {
    int of = f->regions->of_node[join->id];
    return of >= 0 && (!f->open || f->regions->list[of].entry == f->entry);
}

static bool is_region(finder *f, tb_node *join) {
    if (!is_join_op(join) || active_inputs(join) < 2 || !join->out[0] || !join->out[0]->active)
        return false;
    int id = f->dominators->parent[join->out[0]->id];
    f->entry = id >= 0 ? f->graph->values[id] : NULL;
    if (!f->entry || f->entry->t.rank != join->out[0]->t.rank || is_within(f, join)) return false;
    if (!collect(f, join) || !(f->open || is_closed(f)) || !follow_all(f)) return false;
    layout exit = f->layouts[join->out[0]->id];
    for (int i = 0; i < f->entry->t.rank; i++)
        if (join->out[0]->t.dims[i] != f->entry->t.dims[axis_at(exit, i)]) return false;
    return exit.reduced == 0 && !is_residual(f, join);
}

static bool add_region(finder *f, int *capacity) {
    tb_regions *regions = f->regions;
    if (regions->n == *capacity) {
        int wider = *capacity ? 2 * *capacity : 16;
        tb_region *list = TB_NEW(f->arena, tb_region, wider);
        if (!list) return false;
        if (regions->n) memcpy(list, regions->list, (size_t)regions->n * sizeof *list);
        regions->list = list;
        *capacity = wider;
    }
    tb_region *region = &regions->list[regions->n];
    region->entry = f->graph->values[f->entry->id];
    region->exit = f->nodes[0]->out[0];
    for (int i = 0; i < region->exit->t.rank; i++) {
        region->axis[i] = axis_at(f->layouts[region->exit->id], i);
        region->turned |= region->axis[i] != i;
    }
    region->n_nodes = f->n_nodes;
    region->nodes = TB_NEW(f->arena, tb_node *, f->n_nodes);
    if (!region->nodes) return false;
    for (int i = 0; i < f->n_nodes; i++) {
        region->nodes[i] = f->nodes[i];
        regions->of_node[f->nodes[i]->id] = regions->n;
    }
    regions->n++;
    return true;
}

static tiba_status find(tb_regions **out, const tb_graph *graph, bool open, tb_arena *arena,
                        tiba_error *error) {
    finder *f = TB_NEW(arena, finder, 1);
    tb_regions *regions = TB_NEW(arena, tb_regions, 1);
    if (!f || !regions) return tb_out_of_memory(error);
    tb_dominators *dominators;
    TB_TRY(tb_dominators_find(&dominators, graph, NULL, arena, error));
    *f = (finder){
        .graph = graph, .arena = arena, .regions = regions, .dominators = dominators, .open = open};
    f->layouts = TB_NEW(arena, layout, graph->n_values);
    f->candidate = TB_NEW(arena, int, graph->next_node_id);
    f->position = TB_NEW(arena, int, graph->next_node_id);
    regions->of_node = TB_NEW(arena, int, graph->next_node_id);
    if (!f->layouts || !f->position || !f->candidate || !regions->of_node)
        return tb_out_of_memory(error);
    for (int i = 0; i < graph->next_node_id; i++) regions->of_node[i] = -1;
    int at = 0, capacity = 0;
    for (const tb_node *node = graph->first; node; node = node->next) f->position[node->id] = at++;
    /* The last exit first: it has the largest region. */
    for (tb_node *node = graph->last; node; node = node->prev)
        if (is_region(f, node) && !add_region(f, &capacity)) return tb_out_of_memory(error);
    *out = regions;
    return TIBA_OK;
}

tiba_status tb_regions_find(tb_regions **out, const tb_graph *graph, tb_arena *arena,
                            tiba_error *error) {
    return find(out, graph, false, arena, error);
}

tiba_status tb_regions_find_open(tb_regions **out, const tb_graph *graph, tb_arena *arena,
                                 tiba_error *error) {
    return find(out, graph, true, arena, error);
}
