/*
 * Control flow while binding: Constant and Identity leave no node, If takes its branch, Loop and
 * Scan are unrolled, sequences and optionals are followed as lists of values.
 */
#include <string.h>

#include "graph/binder.h"
#include "graph/settle.h"

static tiba_status set_output(tb_binder *binder, const tb_node *node, int i, tb_slot slot) {
    if (i < node->n_out && node->out[i]) binder->slots[node->out[i]->id] = slot;
    return TIBA_OK;
}

static tiba_status input_slot(tb_binder *binder, const tb_node *node, int i, tb_slot *out,
                              tiba_error *error) {
    *out = (tb_slot){0};
    if (i >= node->n_in || !node->in[i]) return TIBA_OK;
    TB_TRY(tb_bind_slot(binder, node->in[i], out, error));
    if (!out->value && !out->list)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input '%.80s' has no value",
                            node->in[i]->name);
    return TIBA_OK;
}

/* ---- constants ------------------------------------------------------------------------------ */

static tiba_status bind_constant(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_slot slot = {0};
    const tb_attr *attr = node->n_attrs > 0 ? &node->attrs[0] : NULL;
    tb_builder *b = &binder->b;
    if (!attr) {
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "has no value");
    } else if (attr->kind == TB_ATTR_TENSOR) {
        TB_TRY(tb_bind_tensor(binder, attr->tensor, node, &slot.value, error));
    } else if (attr->kind == TB_ATTR_INT) {
        TB_TRY(tb_build_constant(b, &slot.value, TIBA_INT64, 0, NULL, &attr->i, error));
    } else if (attr->kind == TB_ATTR_FLOAT) {
        TB_TRY(tb_build_constant(b, &slot.value, TIBA_FLOAT32, 0, NULL, &attr->f, error));
    } else if (attr->kind == TB_ATTR_INTS) {
        TB_TRY(tb_build_constant(b, &slot.value, TIBA_INT64, 1, &attr->count, attr->ints, error));
    } else if (attr->kind == TB_ATTR_FLOATS) {
        TB_TRY(
            tb_build_constant(b, &slot.value, TIBA_FLOAT32, 1, &attr->count, attr->floats, error));
    } else {
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "a constant '%.40s' is not supported",
                            attr->name);
    }
    if (node->n_out > 0 && node->out[0]) slot.value->name = node->out[0]->name;
    return set_output(binder, node, 0, slot);
}

static tiba_status bind_identity(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_slot slot;
    TB_TRY(input_slot(binder, node, 0, &slot, error));
    if (!slot.value && !slot.list)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input 0 is missing");
    return set_output(binder, node, 0, slot);
}

static tiba_status bind_has_element(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_slot in, out = {0};
    TB_TRY(input_slot(binder, node, 0, &in, error));
    bool has = in.value || in.list;
    TB_TRY(tb_build_constant(&binder->b, &out.value, TIBA_BOOL, 0, NULL, &has, error));
    return set_output(binder, node, 0, out);
}

/* ---- branches and loops --------------------------------------------------------------------- */

static const tb_graph *sub_graph(const tb_node *node, const char *name) {
    const tb_attr *attr = tb_find_attr(node, name);
    return attr && attr->kind == TB_ATTR_GRAPH ? attr->graph : NULL;
}

/* Binds a sub-graph's nodes and puts the node's own place back for messages and origins. */
static tiba_status bind_body(tb_binder *binder, const tb_graph *body, tiba_error *error) {
    tb_builder saved = binder->b;
    tiba_status status = tb_bind_nodes(binder, body, error);
    binder->b.from = saved.from;
    binder->b.origin = saved.origin;
    return status;
}

static tiba_status body_output(tb_binder *binder, const tb_node *node, const tb_graph *body, int i,
                               tb_slot *out, tiba_error *error) {
    TB_TRY(tb_bind_slot(binder, body->outputs[i], out, error));
    if (!out->value && !out->list)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "output '%.80s' of its sub-graph has no value", body->outputs[i]->name);
    return TIBA_OK;
}

/* A constant number that steers control flow; `what` for the message. */
static tiba_status steering(tb_binder *binder, const tb_node *node, tb_value *value,
                            const char *what, int64_t *out, tiba_error *error) {
    bool settled = false;
    if (value) TB_TRY(tb_settle(binder->b.settler, value, &settled, error));
    if (!settled)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "its %s depends on the values of a float input", what);
    if (tb_tensor_count(&value->t) != 1)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its %s is not a single number", what);
    *out = tb_get_i64(&value->t, 0);
    return TIBA_OK;
}

static tiba_status bind_if(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_value *condition;
    int64_t taken = 0;
    TB_TRY(tb_bind_input(binder, node, 0, &condition, error));
    TB_TRY(steering(binder, node, condition, "condition", &taken, error));
    const tb_graph *branch = sub_graph(node, taken ? "then_branch" : "else_branch");
    if (!branch || branch->n_outputs < node->n_out)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "the branch lacks outputs");
    TB_TRY(bind_body(binder, branch, error));
    for (int i = 0; i < node->n_out; i++) {
        tb_slot slot;
        if (!node->out[i]) continue;
        TB_TRY(body_output(binder, node, branch, i, &slot, error));
        TB_TRY(set_output(binder, node, i, slot));
    }
    return TIBA_OK;
}

/* Appends to a list that doubles in the arena. */
static tiba_status list_push(tb_binder *binder, tb_list *list, tb_value *value, tiba_error *error) {
    int count = list->count;
    if ((count & (count - 1)) == 0) { /* full at powers of two */
        tb_value **items = TB_NEW(binder->arena, tb_value *, count ? (size_t)count * 2 : 1);
        if (!items) return tb_out_of_memory(error);
        if (count) memcpy(items, list->items, (size_t)count * sizeof(tb_value *));
        list->items = items;
    }
    list->items[list->count++] = value;
    return TIBA_OK;
}

static tb_list *list_new(tb_binder *binder) {
    return TB_NEW(binder->arena, tb_list, 1);
}

/* The items stacked along a new axis (or joined along an existing one). */
static tiba_status join(tb_binder *binder, const tb_node *node, const tb_list *list, int64_t axis,
                        bool new_axis, tb_value **out, tiba_error *error) {
    if (list->count == 0)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "joins an empty sequence");
    tb_value **parts = TB_NEW(binder->arena, tb_value *, list->count);
    if (!parts) return tb_out_of_memory(error);
    memcpy(parts, list->items, (size_t)list->count * sizeof *parts);
    for (int i = 0; i < list->count && new_axis; i++) {
        tb_value *axes;
        TB_TRY(tb_build_ints(&binder->b, &axes, 1, &axis, error));
        TB_TRY(tb_build1(&binder->b, &parts[i], TB_OP_Unsqueeze, 2, (tb_value *[]){parts[i], axes},
                         0, NULL, error));
    }
    if (list->count == 1) {
        *out = parts[0];
        return TIBA_OK;
    }
    return tb_build1(&binder->b, out, TB_OP_Concat, list->count, parts, 1,
                     &TB_INT_ATTR("axis", axis), error);
}

/* A scan output of a loop that ran zero times: its type and rank are what the body declares. */
static tiba_status empty_scan(tb_binder *binder, const tb_node *node, const tb_value *declared,
                              tb_value **out, tiba_error *error) {
    tiba_dtype dtype = tb_dtype_is_float(declared->t.dtype) ? TIBA_FLOAT32 : declared->t.dtype;
    int rank = declared->t.rank;
    if (rank < 0 || rank >= TIBA_MAX_RANK || !tb_dtype_size(dtype))
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "runs zero times");
    int64_t dims[TIBA_MAX_RANK] = {0};
    for (int i = 0; i < rank; i++) dims[i + 1] = declared->t.dims[i] >= 0 ? declared->t.dims[i] : 0;
    return tb_build_constant(&binder->b, out, dtype, rank + 1, dims, NULL, error);
}

static tiba_status collect_scans(tb_binder *binder, const tb_node *node, const tb_graph *body,
                                 int first_body, int first_out, int count, tb_list *scans,
                                 const int64_t *axes, tiba_error *error) {
    for (int k = 0; k < count; k++) {
        tb_slot slot = {0};
        int i = first_out + k;
        if (i >= node->n_out || !node->out[i]) continue;
        if (scans[k].count == 0)
            TB_TRY(empty_scan(binder, node, body->outputs[first_body + k], &slot.value, error));
        else
            TB_TRY(join(binder, node, &scans[k], axes ? axes[k] : 0, true, &slot.value, error));
        TB_TRY(set_output(binder, node, i, slot));
    }
    return TIBA_OK;
}

static tiba_status loop_limits(tb_binder *binder, const tb_node *node, int64_t *trips,
                               int64_t *going, tiba_error *error) {
    tb_value *trip_value, *condition;
    TB_TRY(tb_bind_input(binder, node, 0, &trip_value, error));
    TB_TRY(tb_bind_input(binder, node, 1, &condition, error));
    *trips = INT64_MAX;
    *going = 1;
    if (trip_value) TB_TRY(steering(binder, node, trip_value, "trip count", trips, error));
    if (condition) TB_TRY(steering(binder, node, condition, "condition", going, error));
    return TIBA_OK;
}

static tiba_status bind_loop(tb_binder *binder, const tb_node *node, tiba_error *error) {
    const tb_graph *body = sub_graph(node, "body");
    int n_state = node->n_in - 2, n_scan = body ? body->n_outputs - 1 - n_state : -1;
    if (!body || n_state < 0 || body->n_inputs != n_state + 2 || n_scan < 0 ||
        node->n_out > n_state + n_scan)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its body has the wrong signature");
    int64_t trips, going;
    TB_TRY(loop_limits(binder, node, &trips, &going, error));
    tb_slot *state = TB_NEW(binder->arena, tb_slot, n_state);
    tb_list *scans = TB_NEW(binder->arena, tb_list, n_scan);
    if (!state || !scans) return tb_out_of_memory(error);
    for (int i = 0; i < n_state; i++) TB_TRY(input_slot(binder, node, i + 2, &state[i], error));
    for (int64_t trip = 0; trip < trips && going; trip++) {
        tb_slot turn = {0}, condition = {0};
        bool yes = true;
        if (++binder->nodes_bound > 1 << 20)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "runs too often");
        TB_TRY(tb_build_constant(&binder->b, &turn.value, TIBA_INT64, 0, NULL, &trip, error));
        TB_TRY(tb_build_constant(&binder->b, &condition.value, TIBA_BOOL, 0, NULL, &yes, error));
        binder->slots[body->inputs[0]->id] = turn;
        binder->slots[body->inputs[1]->id] = condition;
        for (int i = 0; i < n_state; i++) binder->slots[body->inputs[i + 2]->id] = state[i];
        TB_TRY(bind_body(binder, body, error));
        TB_TRY(body_output(binder, node, body, 0, &condition, error));
        TB_TRY(steering(binder, node, condition.value, "condition", &going, error));
        for (int i = 0; i < n_state; i++)
            TB_TRY(body_output(binder, node, body, i + 1, &state[i], error));
        for (int k = 0; k < n_scan; k++) {
            tb_slot item;
            TB_TRY(body_output(binder, node, body, 1 + n_state + k, &item, error));
            if (!item.value)
                return tb_node_fail(error, TIBA_ERROR_INPUT, node, "a scan output is a sequence");
            TB_TRY(list_push(binder, &scans[k], item.value, error));
        }
    }
    for (int i = 0; i < n_state; i++) TB_TRY(set_output(binder, node, i, state[i]));
    return collect_scans(binder, node, body, 1 + n_state, n_state, n_scan, scans, NULL, error);
}

/* One element of x along `axis`, without that axis. */
static tiba_status pick(tb_binder *binder, tb_value *x, int64_t axis, int64_t index, tb_value **out,
                        tiba_error *error) {
    tb_value *at;
    TB_TRY(tb_build_constant(&binder->b, &at, TIBA_INT64, 0, NULL, &index, error));
    return tb_build1(&binder->b, out, TB_OP_Gather, 2, (tb_value *[]){x, at}, 1,
                     &TB_INT_ATTR("axis", axis), error);
}

/* The list attribute, or zeros. NULL if it has another length or there is no memory. */
static const int64_t *scan_list(tb_binder *binder, const tb_node *node, const char *name, int n) {
    int64_t count;
    const int64_t *list = tb_attr_ints(node, name, &count);
    if (!list) return TB_NEW(binder->arena, int64_t, n);
    return count == n ? list : NULL;
}

static tiba_status bind_scan(tb_binder *binder, const tb_node *node, tiba_error *error) {
    const tb_graph *body = sub_graph(node, "body");
    if (node->opset < 9)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "Scan of opset 8, over batches, is not supported; opset 9 or later is");
    int64_t declared = tb_attr_int(node, "num_scan_inputs", 0);
    int m = declared > 0 && declared <= node->n_in ? (int)declared : 0;
    int n_state = node->n_in - m, n_scan = body ? body->n_outputs - n_state : -1;
    if (!body || m == 0 || body->n_inputs != node->n_in || n_scan < 0 ||
        node->n_out > n_state + n_scan)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its body has the wrong signature");
    const int64_t *in_axes = scan_list(binder, node, "scan_input_axes", m);
    const int64_t *backward = scan_list(binder, node, "scan_input_directions", m);
    const int64_t *out_axes = scan_list(binder, node, "scan_output_axes", n_scan);
    const int64_t *prepends = scan_list(binder, node, "scan_output_directions", n_scan);
    tb_value **in = TB_NEW(binder->arena, tb_value *, node->n_in);
    tb_list *scans = TB_NEW(binder->arena, tb_list, n_scan);
    if (!in || !scans) return tb_out_of_memory(error);
    if (!in_axes || !backward || !out_axes || !prepends)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "an attribute has the wrong length");
    int64_t trips = -1;
    for (int i = 0; i < node->n_in; i++) {
        TB_TRY(tb_bind_input(binder, node, i, &in[i], error));
        if (!in[i]) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input %d is missing", i);
        if (i < n_state) continue;
        int64_t axis = in_axes[i - n_state];
        if (axis < 0) axis += in[i]->t.rank;
        if (axis < 0 || axis >= in[i]->t.rank || (trips >= 0 && in[i]->t.dims[axis] != trips))
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its inputs' lengths differ");
        trips = in[i]->t.dims[axis];
    }
    for (int64_t trip = 0; trip < trips; trip++) {
        if (++binder->nodes_bound > 1 << 20)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "runs too often");
        for (int i = 0; i < node->n_in; i++) {
            tb_slot slot = {.value = in[i]};
            if (i >= n_state) {
                int64_t at = backward[i - n_state] ? trips - 1 - trip : trip;
                TB_TRY(pick(binder, in[i], in_axes[i - n_state], at, &slot.value, error));
            }
            binder->slots[body->inputs[i]->id] = slot;
        }
        TB_TRY(bind_body(binder, body, error));
        for (int i = 0; i < body->n_outputs; i++) {
            tb_slot slot;
            TB_TRY(body_output(binder, node, body, i, &slot, error));
            if (!slot.value)
                return tb_node_fail(error, TIBA_ERROR_INPUT, node, "a scan output is a sequence");
            if (i < n_state)
                in[i] = slot.value;
            else
                TB_TRY(list_push(binder, &scans[i - n_state], slot.value, error));
        }
    }
    for (int k = 0; k < n_scan; k++)
        for (int i = 0, j = scans[k].count - 1; prepends[k] && i < j; i++, j--) {
            tb_value *swap = scans[k].items[i];
            scans[k].items[i] = scans[k].items[j];
            scans[k].items[j] = swap;
        }
    for (int i = 0; i < n_state; i++)
        TB_TRY(set_output(binder, node, i, (tb_slot){.value = in[i]}));
    return collect_scans(binder, node, body, n_state, n_state, n_scan, scans, out_axes, error);
}

/* ---- sequences ------------------------------------------------------------------------------ */

static tiba_status input_list(tb_binder *binder, const tb_node *node, tb_list **out,
                              tiba_error *error) {
    tb_slot slot;
    TB_TRY(input_slot(binder, node, 0, &slot, error));
    if (!slot.list) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input 0 is no sequence");
    *out = slot.list;
    return TIBA_OK;
}

/* A position in a list from input i; `fallback` where it is left out. */
static tiba_status input_position(tb_binder *binder, const tb_node *node, int i, int count,
                                  int64_t fallback, int64_t last, int *out, tiba_error *error) {
    tb_value *value;
    int64_t position = fallback;
    TB_TRY(tb_bind_input(binder, node, i, &value, error));
    if (value) TB_TRY(steering(binder, node, value, "position", &position, error));
    if (position < 0) position += count;
    if (position < 0 || position > last)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "position %lld is outside the sequence",
                            (long long)position);
    *out = (int)position;
    return TIBA_OK;
}

static tiba_status bind_sequence_construct(tb_binder *binder, const tb_node *node,
                                           tiba_error *error) {
    tb_list *list = list_new(binder);
    if (!list) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++) {
        tb_value *value;
        TB_TRY(tb_bind_input(binder, node, i, &value, error));
        if (value) TB_TRY(list_push(binder, list, value, error));
    }
    return set_output(binder, node, 0, (tb_slot){.list = list});
}

static tiba_status bind_sequence_at(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_list *list = NULL;
    int at = 0;
    TB_TRY(input_list(binder, node, &list, error));
    TB_TRY(input_position(binder, node, 1, list->count, 0, list->count - 1, &at, error));
    return set_output(binder, node, 0, (tb_slot){.value = list->items[at]});
}

static tiba_status bind_sequence_length(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_list *list = NULL;
    tb_slot out = {0};
    TB_TRY(input_list(binder, node, &list, error));
    int64_t count = list->count;
    TB_TRY(tb_build_constant(&binder->b, &out.value, TIBA_INT64, 0, NULL, &count, error));
    return set_output(binder, node, 0, out);
}

static tiba_status bind_sequence_insert(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_list *list = NULL, *longer = list_new(binder);
    tb_value *value;
    int at;
    if (!longer) return tb_out_of_memory(error);
    TB_TRY(input_list(binder, node, &list, error));
    TB_TRY(tb_bind_input(binder, node, 1, &value, error));
    TB_TRY(input_position(binder, node, 2, list->count, list->count, list->count, &at, error));
    if (!value) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input 1 is missing");
    for (int i = 0; i <= list->count; i++) {
        if (i == at) TB_TRY(list_push(binder, longer, value, error));
        if (i < list->count) TB_TRY(list_push(binder, longer, list->items[i], error));
    }
    return set_output(binder, node, 0, (tb_slot){.list = longer});
}

static tiba_status bind_sequence_erase(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_list *list = NULL, *shorter = list_new(binder);
    int at;
    if (!shorter) return tb_out_of_memory(error);
    TB_TRY(input_list(binder, node, &list, error));
    TB_TRY(
        input_position(binder, node, 1, list->count, list->count - 1, list->count - 1, &at, error));
    for (int i = 0; i < list->count; i++)
        if (i != at) TB_TRY(list_push(binder, shorter, list->items[i], error));
    return set_output(binder, node, 0, (tb_slot){.list = shorter});
}

static tiba_status bind_concat_sequence(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_list *list = NULL;
    tb_slot out = {0};
    TB_TRY(input_list(binder, node, &list, error));
    TB_TRY(join(binder, node, list, tb_attr_int(node, "axis", 0),
                tb_attr_int(node, "new_axis", 0) != 0, &out.value, error));
    return set_output(binder, node, 0, out);
}

/* Parts of equal length (a scalar `split`, or 1), or of the lengths that `split` lists. */
static tiba_status bind_split_sequence(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_value *x, *split;
    tb_list *list = list_new(binder);
    if (!list) return tb_out_of_memory(error);
    TB_TRY(tb_bind_input(binder, node, 0, &x, error));
    TB_TRY(tb_bind_input(binder, node, 1, &split, error));
    bool settled = true;
    if (split) TB_TRY(tb_settle(binder->b.settler, split, &settled, error));
    if (!x || !settled)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its sizes are not constant");
    int64_t axis = tb_attr_int(node, "axis", 0), start = 0;
    if (axis < 0) axis += x->t.rank;
    if (axis < 0 || axis >= x->t.rank)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "axis is out of range");
    bool each = !split || split->t.rank == 0,
         squeezes = !split && !tb_attr_int(node, "keepdims", 1);
    int64_t n_sizes = each ? 0 : tb_tensor_count(&split->t), size = x->t.dims[axis];
    for (int64_t i = 0; start < size; i++) {
        int64_t length = !split ? 1
                         : each ? tb_get_i64(&split->t, 0)
                                : (i < n_sizes ? tb_get_i64(&split->t, i) : 0);
        if (length <= 0 || ++binder->nodes_bound > 1 << 20)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its sizes do not fit the input");
        int64_t end = length < size - start ? start + length : size;
        tb_value *at[3], *part;
        if (squeezes) {
            TB_TRY(pick(binder, x, axis, start, &part, error));
        } else {
            TB_TRY(tb_build_ints(&binder->b, &at[0], 1, &start, error));
            TB_TRY(tb_build_ints(&binder->b, &at[1], 1, &end, error));
            TB_TRY(tb_build_ints(&binder->b, &at[2], 1, &axis, error));
            TB_TRY(tb_build1(&binder->b, &part, TB_OP_Slice, 4,
                             (tb_value *[]){x, at[0], at[1], at[2]}, 0, NULL, error));
        }
        TB_TRY(list_push(binder, list, part, error));
        start = end;
    }
    return set_output(binder, node, 0, (tb_slot){.list = list});
}

tb_control_fn *tb_find_control(const tb_node *node) {
    static const struct {
        const char *name;
        tb_control_fn *bind;
    } rows[] = {
        {"Constant", bind_constant},
        {"Identity", bind_identity},
        {"If", bind_if},
        {"Loop", bind_loop},
        {"Scan", bind_scan},
        {"Optional", bind_identity},
        {"OptionalGetElement", bind_identity},
        {"OptionalHasElement", bind_has_element},
        {"SequenceAt", bind_sequence_at},
        {"SequenceConstruct", bind_sequence_construct},
        {"SequenceEmpty", bind_sequence_construct},
        {"SequenceErase", bind_sequence_erase},
        {"SequenceInsert", bind_sequence_insert},
        {"SequenceLength", bind_sequence_length},
        {"ConcatFromSequence", bind_concat_sequence},
        {"SplitToSequence", bind_split_sequence},
    };
    if (node->domain[0]) return NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].name[0] == node->op_type[0] && strcmp(rows[i].name, node->op_type) == 0)
            return rows[i].bind;
    return NULL;
}

bool tb_bind_resolves(const tb_node *node) {
    return tb_find_control(node) != NULL;
}
