#include "graph/build.h"

#include <string.h>

#include "graph/settle.h"

/* No folded constant may be larger, nor all of them together: a hostile shape or loop must not take
 * the whole machine. */
static const size_t LARGEST_CONSTANT = (size_t)1 << 32, MOST_FOLDED = (size_t)1 << 34;

enum { MOST_INPUTS_ON_STACK = 16 };

static bool is_constant(const tb_value *value) {
    return value->t.data != NULL;
}

/* Values that need the shape and type of their input only. */
static bool reads_shape_only(tb_op_kind kind) {
    return kind == TB_OP_Shape || kind == TB_OP_Size || kind == TB_OP_EyeLike;
}

static bool is_lookup_table(const tiba_tensor *t) {
    bool narrow = t->dtype == TIBA_INT8 || t->dtype == TIBA_UINT8 || t->dtype == TIBA_INT16 ||
                  t->dtype == TIBA_UINT16;
    return t->rank >= 2 && (t->dtype == TIBA_FLOAT32 || narrow);
}

/* Constants only, and yet an activation: the embedding of an input's ids. */
static bool is_lookup(const tb_node *node) {
    if (tb_is(node, TB_OP_Gather))
        return node->in[1]->ids_of >= 0 && is_constant(node->in[0]) &&
               is_lookup_table(&node->in[0]->t) && tb_attr_int(node, "axis", 0) == 0;
    if (tb_is(node, TB_OP_GatherND)) {
        const tiba_tensor *at = &node->in[1]->t;
        return node->in[1]->ids_of >= 0 && is_constant(node->in[0]) &&
               is_lookup_table(&node->in[0]->t) && at->rank > 0 && at->dims[at->rank - 1] == 1 &&
               tb_attr_int(node, "batch_dims", 0) == 0;
    }
    if (tb_is(node, TB_OP_OneHot))
        return node->in[0]->ids_of >= 0 && node->in[2]->t.dtype == TIBA_FLOAT32;
    return false;
}

static bool any_active(const tb_node *node) {
    /* A condition chooses between activations, it does not carry them. */
    for (int i = tb_is(node, TB_OP_Where) ? 1 : 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active) return true;
    return false;
}

static void set_activity(const tb_node *node) {
    bool active = is_lookup(node) || (node->op->class != TB_CLASS_SHAPE && any_active(node));
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i])
            node->out[i]->active = active && node->out[i]->t.dtype == TIBA_FLOAT32 &&
                                   !(i < 32 && (node->op->def->inactive_outputs >> i & 1u));
}

/* Is it a product with a scalar? */
static bool scales(const tb_node *node) {
    return tb_is(node, TB_OP_Mul) &&
           (tb_tensor_count(&node->in[0]->t) == 1 || tb_tensor_count(&node->in[1]->t) == 1);
}

/* Does the node take or move elements of its first operand alone? The others are indices and
 * shapes.
 */
static bool moves_first(const tb_node *node) {
    return tb_is(node, TB_OP_Gather) || tb_is(node, TB_OP_GatherElements) ||
           tb_is(node, TB_OP_GatherND) || tb_is(node, TB_OP_Slice) || tb_is(node, TB_OP_Expand) ||
           tb_is(node, TB_OP_Tile) || tb_is(node, TB_OP_Reshape) || tb_is(node, TB_OP_Squeeze) ||
           tb_is(node, TB_OP_Unsqueeze) || tb_is(node, TB_OP_Split) ||
           (node->op->class == TB_CLASS_MOVE && node->n_in == 1);
}

/* Which input's ids the outputs still are. Arithmetic with an offset or a factor keeps them ids (of
 * a shifted table, of hashed rows); comparisons, sums over tokens and products of two rows
 * (positions times a mask) do not. */
static int ids_through(const tb_node *node) {
    switch (node->op->kind) {
    case TB_OP_Cast:
    case TB_OP_Clip:
    case TB_OP_Min:
    case TB_OP_Max:
    case TB_OP_Add:
    case TB_OP_Sub:
    case TB_OP_Mod:
        break;
    case TB_OP_Mul:
        if (!scales(node)) return -1;
        break;
    case TB_OP_Shape:
    case TB_OP_Size:
        return -1;
    default:
        if (node->op->class != TB_CLASS_MOVE) return -1;
    }
    int last = moves_first(node) ? 1 : node->n_in;
    for (int i = 0; i < last; i++)
        if (node->in[i] && node->in[i]->ids_of >= 0) return node->in[i]->ids_of;
    return -1;
}

/* Whatever the operator: integers that came out as the ids that went in (a selection written as a
 * product and a sum) are still those ids. */
static int ids_unchanged(const tb_node *node, const tb_value *out) {
    if (!tb_dtype_is_integer(out->t.dtype)) return -1;
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        if (!in || in->ids_of < 0 || !in->t.data || !tb_same_shape(&in->t, &out->t)) continue;
        int64_t count = tb_tensor_count(&in->t), k = 0;
        while (k < count && tb_get_i64(&in->t, k) == tb_get_i64(&out->t, k)) k++;
        if (k == count) return in->ids_of;
    }
    return -1;
}

static bool any_negative(const tiba_tensor *t) {
    for (int64_t i = 0, n = tb_tensor_count(t); i < n; i++)
        if (tb_get_i64(t, i) < 0) return true;
    return false;
}

/* 0, 1, 2, … along the last axis and nothing else? */
static bool counts_from_zero(const tb_value *value) {
    const tiba_tensor *t = &value->t;
    int64_t count = tb_tensor_count(t);
    if (!t->data || t->rank < 1 || count < 2 || count != t->dims[t->rank - 1]) return false;
    for (int64_t i = 0; i < count; i++)
        if (tb_get_f64(t, i) != (double)i) return false;
    return true;
}

/* Whose one-hot rows a folded value holds: OneHot of ids in whole numbers, ids compared with 0, 1,
 * 2, …, and casts of them. */
static tb_value *one_hot_rows(const tb_node *node) {
    const tiba_tensor *out = &node->out[0]->t;
    if (tb_is(node, TB_OP_OneHot)) {
        const tiba_tensor *values = &node->in[2]->t;
        int64_t axis = tb_attr_int(node, "axis", -1);
        bool last = axis == -1 || axis == out->rank - 1;
        bool zero_one = tb_get_f64(values, 0) == 0 && tb_get_f64(values, 1) == 1;
        return last && zero_one && node->in[0]->ids_of >= 0 ? node->in[0] : NULL;
    }
    for (int i = 0; i < 2 && tb_is(node, TB_OP_Equal); i++) {
        const tiba_tensor *ids = &node->in[i]->t;
        if (node->in[i]->ids_of >= 0 && ids->rank == out->rank && ids->dims[ids->rank - 1] == 1 &&
            counts_from_zero(node->in[1 - i]) && !any_negative(ids))
            return node->in[i];
    }
    return tb_is(node, TB_OP_Cast) || tb_is(node, TB_OP_Identity) ? node->in[0]->rows_of : NULL;
}

/* Steps of a quantised value's elements (tb_value.step), which moving leaves alone. */
static void set_step(const tb_node *node) {
    const tb_value *x = node->in[0];
    tb_value *out = node->out[0];
    bool scaled = tb_is(node, TB_OP_DequantizeLinear) || tb_is(node, TB_OP_FakeQuantize);
    if (scaled && is_constant(node->in[1]) && node->in[1]->t.rank <= 1) {
        int64_t axis = tb_attr_int(node, "axis", 1);
        out->step = node->in[1];
        out->step_axis = out->t.rank == 1 ? 0 : (int)(axis < 0 ? axis + out->t.rank : axis);
    } else if (node->op->class == TB_CLASS_MOVE && node->n_in > 0 && x && x->step) {
        bool one = tb_tensor_count(&x->step->t) == 1;
        int64_t count;
        const int64_t *order = tb_attr_ints(node, "perm", &count);
        if (one || tb_is(node, TB_OP_Transpose)) out->step = x->step;
        out->step_axis = x->t.rank - 1 - x->step_axis;
        for (int i = 0; order && i < count; i++)
            if (order[i] == x->step_axis) out->step_axis = i;
    }
}

static tiba_status check_inputs(const tb_node *node, tiba_error *error) {
    const tb_op *op = node->op;
    if (node->n_in < op->min_in && op->max_in < 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "has %d inputs, expected %d or more",
                            node->n_in, op->min_in);
    if (node->n_in < op->min_in || (op->max_in >= 0 && node->n_in > op->max_in))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "has %d inputs, expected %d to %d",
                            node->n_in, op->min_in, op->max_in);
    if (op->max_out >= 0 && node->n_out > op->max_out)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "has %d outputs, at most %d are known",
                            node->n_out, op->max_out);
    for (int i = 0; i < node->n_in; i++)
        if (!node->in[i] && (i < op->min_in || op->max_in < 0))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d is missing", i);
    return TIBA_OK;
}

static bool copy_attrs(tb_arena *arena, tb_node *node, int n_attrs, const tb_attr *attrs) {
    if (n_attrs == 0) return true;
    tb_attr *copy = TB_NEW(arena, tb_attr, n_attrs);
    if (!copy) return false;
    for (int i = 0; i < n_attrs; i++) {
        copy[i] = attrs[i];
        if (attrs[i].kind != TB_ATTR_INTS) continue;
        int64_t *ints = TB_NEW(arena, int64_t, attrs[i].count);
        if (!ints) return false;
        if (attrs[i].count) memcpy(ints, attrs[i].ints, (size_t)attrs[i].count * sizeof *ints);
        copy[i].ints = ints;
    }
    node->attrs = copy;
    node->n_attrs = n_attrs;
    return true;
}

/* Where a shape needs values that are known only when the graph runs, they are found out. */
static tiba_status find_shape(const tb_builder *b, tb_node *node, tiba_error *error) {
    tiba_error why = {0};
    bool settled = false;
    tiba_status status = node->op->def->shape(node, &why);
    if (status == TIBA_ERROR_INPUT && b->settler)
        TB_TRY(tb_settle_inputs(b->settler, node, &settled, error));
    if (settled) return node->op->def->shape(node, error);
    if (status != TIBA_OK && error) *error = why;
    return status;
}

/* Memory for a constant's elements. */
static tiba_status constant_memory(tb_builder *b, const tb_node *node, tiba_tensor *t,
                                   tiba_error *error) {
    int64_t count;
    size_t bytes, element = tb_dtype_size(t->dtype);
    if (!element)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "a result has an unsupported type");
    if (!tb_count(&count, t->rank, t->dims) || !tb_size_mul(&bytes, (size_t)count, element) ||
        bytes > LARGEST_CONSTANT || (b->folded += bytes) > MOST_FOLDED)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "a constant result is too large");
    t->data = tb_arena_alloc(b->graph->arena, 1, bytes);
    return t->data ? TIBA_OK : tb_out_of_memory(error);
}

static tiba_status fold(tb_builder *b, const tb_node *node, tiba_error *error) {
    tb_arena *arena = b->graph->arena;
    const tb_op_def *def = node->op->def;
    if (def->alias && node->out[0]->t.dtype == node->in[0]->t.dtype && is_constant(node->in[0])) {
        node->out[0]->t.data = node->in[0]->t.data;
        return TIBA_OK;
    }
    const tiba_tensor *in_few[MOST_INPUTS_ON_STACK];
    tiba_tensor *out_few[MOST_INPUTS_ON_STACK];
    const tiba_tensor **in = in_few;
    tiba_tensor **out = out_few;
    if (node->n_in > MOST_INPUTS_ON_STACK) in = TB_NEW(arena, const tiba_tensor *, node->n_in);
    if (node->n_out > MOST_INPUTS_ON_STACK) out = TB_NEW(arena, tiba_tensor *, node->n_out);
    if (!in || !out) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++) in[i] = node->in[i] ? &node->in[i]->t : NULL;
    tiba_status status = TIBA_OK;
    for (int i = 0; i < node->n_out && status == TIBA_OK; i++) {
        out[i] = &node->out[i]->t;
        status = constant_memory(b, node, out[i], error);
    }
    if (status == TIBA_OK) status = def->forward(b->exec, node, in, out, error);
    tb_scratch_reset(b->exec);
    if (status != TIBA_OK)
        for (int i = 0; i < node->n_out; i++) node->out[i]->t.data = NULL;
    return status;
}

/* What the node makes of places: `in` has those of ids instead of the ids; made [n_out]. */
static tiba_status move_tensor(tb_builder *b, const tb_node *node, tb_value **in, tb_value *made,
                               tiba_error *error) {
    tb_value **out = TB_NEW(b->graph->arena, tb_value *, node->n_out);
    if (!out) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_out; i++) {
        out[i] = &made[i];
        made[i].t = node->out[i]->t;
        made[i].t.dtype = TIBA_INT64;
        made[i].t.data = NULL;
    }
    tb_node like = *node;
    like.in = in;
    like.out = out;
    return fold(b, &like, error);
}

/* Do elements of input `i` of a node that moves come out, rather than say where others go? */
static bool gives_elements(const tb_node *node, int i) {
    switch (node->op->kind) {
    case TB_OP_Concat:
        return true;
    case TB_OP_Where:
        return i > 0;
    case TB_OP_Pad:
    case TB_OP_ScatterND:
    case TB_OP_ScatterElements:
        return i == 0 || i == 2;
    default:
        return i == 0;
    }
}

/* A node's operands with places instead of ids: -1 for what is joined or written beside them.
 * *known: is the place of every id known? */
static tiba_status places_in(tb_value **out, bool *known, tb_builder *b, const tb_node *node,
                             int ids, tiba_error *error) {
    tb_arena *arena = b->graph->arena;
    bool adds = strcmp(tb_attr_string(node, "reduction", "none"), "none") != 0;
    bool fills = tb_is(node, TB_OP_Pad) && (node->n_in < 3 || !node->in[2]);
    *known = !adds && !fills;
    for (int i = 0; i < node->n_in && *known; i++) {
        tb_value *value = out[i] = node->in[i];
        if (!value || !gives_elements(node, i)) continue;
        tb_value *made = out[i] = TB_NEW(arena, tb_value, 1);
        if (!made) return tb_out_of_memory(error);
        if (value->places) made->t = *value->places;
        *known = value->places ? value->ids_of == ids : value->ids_of < 0;
        if (value->places || !*known) continue;
        TB_TRY(tb_tensor_create(&made->t, arena, TIBA_INT64, value->t.rank, value->t.dims, error));
        for (int64_t k = 0; k < tb_tensor_count(&made->t); k++) ((int64_t *)made->t.data)[k] = -1;
    }
    return TIBA_OK;
}

/* Where the ids that came out stand in their input: moved as the ids were, if that is known. */
static tiba_status move_places(tb_builder *b, const tb_node *node, int ids, tiba_error *error) {
    const tb_value *from = NULL;
    for (int i = 0; i < node->n_in && !from; i++)
        if (node->in[i] && node->in[i]->places && node->in[i]->ids_of == ids) from = node->in[i];
    if (!from) return TIBA_OK;
    bool moves = node->op->class == TB_CLASS_MOVE, known = true;
    tb_value *made = TB_NEW(b->graph->arena, tb_value, node->n_out);
    tb_value **in = TB_NEW(b->graph->arena, tb_value *, node->n_in);
    if (!made || !in) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_out && !moves; i++) {
        made[i].t = node->out[i]->t;
        made[i].t.dtype = TIBA_INT64;
        made[i].t.data = from->places->data;
        if (tb_tensor_count(&made[i].t) != tb_tensor_count(&from->t)) return TIBA_OK;
    }
    if (moves) TB_TRY(places_in(in, &known, b, node, ids, error));
    if (!known) return TIBA_OK;
    if (moves) TB_TRY(move_tensor(b, node, in, made, error));
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i]->ids_of == ids) node->out[i]->places = &made[i].t;
    return TIBA_OK;
}

/* Whole numbers that stand among others in one float input, from which they are taken by moves and
 * casts, and look rows up: *places [as value] says where. NULL: the value is something else. */
static tiba_status find_places(tb_builder *b, const tb_value *value, const tiba_tensor **places,
                               int *input, int depth, tiba_error *error) {
    tb_arena *arena = b->graph->arena;
    const tb_node *node = value->producer;
    *places = NULL;
    if (!node) {
        if (value->input < 0 || !value->active) return TIBA_OK;
        tiba_tensor *all = TB_NEW(arena, tiba_tensor, 1);
        if (!all) return tb_out_of_memory(error);
        TB_TRY(tb_tensor_create(all, arena, TIBA_INT64, value->t.rank, value->t.dims, error));
        for (int64_t i = 0, n = tb_tensor_count(all); i < n; i++) ((int64_t *)all->data)[i] = i;
        *places = all;
        *input = value->input;
        return TIBA_OK;
    }
    bool casts = tb_is(node, TB_OP_Cast);
    if ((!casts && !moves_first(node)) || depth > 32) return TIBA_OK;
    for (int i = 1; i < node->n_in; i++)
        if (node->in[i] && !is_constant(node->in[i])) return TIBA_OK;
    TB_TRY(find_places(b, node->in[0], places, input, depth + 1, error));
    if (casts || !*places) return TIBA_OK;
    tb_value *made = TB_NEW(arena, tb_value, node->n_out), moved = {.t = **places};
    tb_value **in = TB_NEW(arena, tb_value *, node->n_in);
    if (!made || !in) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++) in[i] = i ? node->in[i] : &moved;
    TB_TRY(move_tensor(b, node, in, made, error));
    *places = &made[value->index].t;
    return TIBA_OK;
}

/* Makes such numbers ids, as those of an input that holds nothing else. */
static tiba_status find_ids(tb_builder *b, const tb_node *node, tiba_error *error) {
    const tiba_tensor *places;
    bool settled;
    int input;
    if (!tb_is(node, TB_OP_Gather) || !b->settler || is_constant(node->in[1]) ||
        !is_constant(node->in[0]) || !is_lookup_table(&node->in[0]->t))
        return TIBA_OK;
    TB_TRY(find_places(b, node->in[1], &places, &input, 0, error));
    if (!places) return TIBA_OK;
    TB_TRY(tb_settle(b->settler, node->in[1], &settled, error));
    if (!settled) return TIBA_OK;
    node->in[1]->ids_of = input;
    node->in[1]->places = places;
    return TIBA_OK;
}

/* Puts the node, which so far exists on its own, into the graph. */
static tiba_status insert(tb_builder *b, const tb_node *draft, tiba_error *error) {
    tb_node *node =
        tb_graph_node(b->graph, draft->domain, draft->op_type, draft->n_in, draft->n_out);
    if (!node) return tb_out_of_memory(error);
    node->name = draft->name;
    node->origin = draft->origin;
    node->opset = draft->opset;
    node->op = draft->op;
    node->attrs = draft->attrs;
    node->n_attrs = draft->n_attrs;
    for (int i = 0; i < draft->n_in; i++)
        if (draft->in[i] && !tb_node_set_input(b->graph, node, i, draft->in[i]))
            return tb_out_of_memory(error);
    for (int i = 0; i < draft->n_out; i++) tb_node_set_output(node, i, draft->out[i]);
    if (b->before) tb_node_move(b->graph, node, b->before);
    return TIBA_OK;
}

/* A quantised embedding table is read as the numbers that quantised activations are stored as. */
static tiba_status widen_table(tb_builder *b, tb_node *node, tiba_error *error) {
    bool gathers = tb_is(node, TB_OP_Gather) || tb_is(node, TB_OP_GatherND);
    if (!gathers || !is_lookup(node) || node->in[0]->t.dtype == TIBA_FLOAT32) return TIBA_OK;
    const tiba_tensor *narrow = &node->in[0]->t;
    tiba_tensor wide;
    TB_TRY(
        tb_tensor_create(&wide, b->graph->arena, TIBA_FLOAT32, narrow->rank, narrow->dims, error));
    tb_convert(&wide, narrow);
    return tb_build_borrowed(b, &node->in[0], &wide, error);
}

tiba_status tb_build(tb_builder *b, tb_value **out, int n_out, tb_op_kind kind, int n_in,
                     tb_value *const *in, int n_attrs, const tb_attr *attrs, tiba_error *error) {
    tb_arena *arena = b->graph->arena;
    const tb_op *op = &tb_ops[kind];
    while (n_in > 0 && !in[n_in - 1]) n_in--;
    tb_value *in_few[MOST_INPUTS_ON_STACK];
    tb_value **in_copy = in_few;
    if (n_in > MOST_INPUTS_ON_STACK && !(in_copy = TB_NEW(arena, tb_value *, n_in)))
        return tb_out_of_memory(error);
    if (n_in) memcpy(in_copy, in, (size_t)n_in * sizeof *in);
    tb_node node = {
        .name = b->from ? b->from->name : "",
        .domain = op->domain,
        .op_type = op->name,
        .origin = b->origin ? b->origin : "",
        .op = op,
        .n_in = n_in,
        .n_out = n_out,
        .in = in_copy,
        .out = out,
    };
    for (int i = 0; i < n_out; i++) out[i] = NULL;
    TB_TRY(check_inputs(&node, error));
    TB_TRY(find_ids(b, &node, error));
    TB_TRY(widen_table(b, &node, error));
    if (!copy_attrs(arena, &node, n_attrs, attrs)) return tb_out_of_memory(error);
    for (int i = 0; i < n_out; i++) {
        out[i] = tb_graph_value(b->graph, node.origin[0] ? node.origin : op->name);
        if (!out[i]) return tb_out_of_memory(error);
    }
    TB_TRY(find_shape(b, &node, error));

    bool constant = true, empty = true;
    for (int i = 0; i < n_in; i++)
        if (node.in[i] && !is_constant(node.in[i])) constant = false;
    for (int i = 0; i < n_out; i++) {
        int64_t count;
        if (!tb_count(&count, out[i]->t.rank, out[i]->t.dims))
            return tb_node_fail(error, TIBA_ERROR_INPUT, &node, "a result is too large");
        if (count) empty = false;
    }
    if (empty) {
        for (int i = 0; i < n_out; i++) TB_TRY(constant_memory(b, &node, &out[i]->t, error));
        return TIBA_OK;
    }
    if (reads_shape_only(kind) || (constant && !is_lookup(&node))) {
        TB_TRY(fold(b, &node, error));
        set_step(&node);
        int ids = ids_through(&node);
        if (!tb_dtype_is_float(out[0]->t.dtype)) out[0]->rows_of = one_hot_rows(&node);
        /* of floats only what an input's ids came as, and parts of it */
        bool parts = op->class == TB_CLASS_MOVE && node.in[0] && node.in[0]->ids_of == ids;
        for (int i = 0; i < n_out; i++)
            out[i]->ids_of = (tb_dtype_is_integer(out[i]->t.dtype) || parts) && ids >= 0
                                 ? ids
                                 : ids_unchanged(&node, out[i]);
        return ids >= 0 ? move_places(b, &node, ids, error) : TIBA_OK;
    }
    set_activity(&node);
    set_step(&node);
    return insert(b, &node, error);
}

tiba_status tb_build1(tb_builder *b, tb_value **out, tb_op_kind kind, int n_in, tb_value *const *in,
                      int n_attrs, const tb_attr *attrs, tiba_error *error) {
    return tb_build(b, out, 1, kind, n_in, in, n_attrs, attrs, error);
}

tiba_status tb_build_borrowed(tb_builder *b, tb_value **out, const tiba_tensor *tensor,
                              tiba_error *error) {
    tb_value *value = tb_graph_value(b->graph, b->origin && b->origin[0] ? b->origin : "constant");
    if (!value) return tb_out_of_memory(error);
    value->t = *tensor;
    *out = value;
    return TIBA_OK;
}

tiba_status tb_build_constant(tb_builder *b, tb_value **out, tiba_dtype dtype, int rank,
                              const int64_t *dims, const void *data, tiba_error *error) {
    tiba_tensor t;
    TB_TRY(tb_tensor_create(&t, b->graph->arena, dtype, rank, dims, error));
    size_t bytes = tb_tensor_bytes(&t);
    if (bytes) memcpy(t.data, data, bytes);
    return tb_build_borrowed(b, out, &t, error);
}

tiba_status tb_build_scalar(tb_builder *b, tb_value **out, float value, tiba_error *error) {
    return tb_build_constant(b, out, TIBA_FLOAT32, 0, NULL, &value, error);
}

tiba_status tb_build_ints(tb_builder *b, tb_value **out, int count, const int64_t *values,
                          tiba_error *error) {
    return tb_build_constant(b, out, TIBA_INT64, 1, (int64_t[]){count}, values, error);
}

tiba_status tb_build_reshape(tb_builder *b, tb_value **value, int rank, const int64_t *dims,
                             tiba_error *error) {
    tb_value *shape = NULL;
    TB_TRY(tb_build_ints(b, &shape, rank, dims, error));
    return tb_build1(b, value, TB_OP_Reshape, 2, (tb_value *[]){*value, shape}, 0, NULL, error);
}

tiba_status tb_build_move_axis(tb_builder *b, tb_value **value, int from, int to,
                               tiba_error *error) {
    int64_t perm[TIBA_MAX_RANK];
    if (from == to) return TIBA_OK;
    for (int i = 0, next = 0; i < (*value)->t.rank; i++) {
        next += next == from;
        perm[i] = i == to ? from : next++;
    }
    tb_attr attr = TB_INTS_ATTR("perm", (*value)->t.rank, perm);
    return tb_build1(b, value, TB_OP_Transpose, 1, value, 1, &attr, error);
}
