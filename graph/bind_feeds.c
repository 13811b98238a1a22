/*
 * Binding's inputs: what is fed against what the file declares.
 *
 * Float inputs (and pictures as uint8) become inputs of the bound graph; integer and bool inputs
 * become constants. A float input of which, or of parts of which, casts to an integer are the only
 * readers holds ids, as some exporters write them, and is treated as an integer one.
 */
#include <string.h>

#include "graph/binder.h"

static const tb_feed *find_feed(int n_feeds, const tb_feed *feeds, const char *name) {
    for (int i = 0; i < n_feeds; i++)
        if (strcmp(feeds[i].name, name) == 0) return &feeds[i];
    return NULL;
}

static const tb_value *find_input(const tb_graph *graph, const char *name) {
    for (int i = 0; i < graph->n_inputs; i++)
        if (strcmp(graph->inputs[i]->name, name) == 0) return graph->inputs[i];
    return NULL;
}

/* Symbolic names say nothing here: exporters give one name to different sizes, and runtimes take
 * such files. */
static tiba_status check_dims(const tb_value *input, const tiba_tensor *fed, tiba_error *error) {
    const tiba_tensor *declared = &input->t;
    char text[160];
    if (declared->rank < 0) return TIBA_OK;
    if (fed->rank != declared->rank)
        return tb_fail(error, TIBA_ERROR_INPUT, "input '%.80s': expected %d dimensions, got %s",
                       input->name, declared->rank,
                       tb_shape_text(text, sizeof text, fed->rank, fed->dims));
    for (int i = 0; i < fed->rank; i++) {
        if (declared->dims[i] >= 0 && fed->dims[i] != declared->dims[i])
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "input '%.80s': dimension %d is %lld, expected %lld", input->name, i,
                           (long long)fed->dims[i], (long long)declared->dims[i]);
    }
    return TIBA_OK;
}

/* Is one kind of number given where the other is declared? */
static bool types_fit(tiba_dtype declared, tiba_dtype fed) {
    if (declared == TIBA_UNDEFINED || declared == fed) return true;
    if (tb_dtype_is_float(declared)) return tb_dtype_is_float(fed);
    return (tb_dtype_is_integer(declared) || declared == TIBA_BOOL) &&
           (tb_dtype_is_integer(fed) || fed == TIBA_BOOL);
}

/* Operators that take some elements of their first operand, as a tokenizer's columns are taken. */
static bool takes_elements(const tb_node *node) {
    static const char *const ops[] = {"Slice",   "Split",   "Gather",   "Squeeze",  "Unsqueeze",
                                      "Reshape", "Flatten", "Identity", "Transpose"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strcmp(node->op_type, ops[i]) == 0) return !node->domain[0];
    return false;
}

/* Are casts to whole-number types (or to floats) all that reads the value's elements, or parts of
 * them? *casts: set if there is one. */
static bool casts_read(const tb_value *value, bool floats, int depth, bool *casts) {
    for (int i = 0; i < value->n_uses; i++) {
        const tb_node *node = value->uses[i].node;
        if (strcmp(node->op_type, "Shape") == 0 && !node->domain[0]) continue;
        if (takes_elements(node) && value->uses[i].index == 0 && depth < 8) {
            for (int k = 0; k < node->n_out; k++)
                if (node->out[k] && !casts_read(node->out[k], floats, depth + 1, casts))
                    return false;
            continue;
        }
        if (strcmp(node->op_type, "Cast") != 0 || node->domain[0]) return false;
        int64_t to = tb_attr_int(node, "to", 0);
        if (floats ? !tb_dtype_is_float((tiba_dtype)to) : to != TIBA_INT32 && to != TIBA_INT64)
            return false;
        *casts = true;
    }
    return !value->is_output;
}

/* Ids in disguise. */
static bool holds_ids(const tb_value *input) {
    bool casts = false;
    return casts_read(input, false, 0, &casts) && casts;
}

/* Bytes, or other whole numbers in three colours that become floats before anything else. */
static bool holds_picture(const tb_value *input, tiba_dtype dtype, const tiba_tensor *fed) {
    bool casts = false;
    if (dtype == TIBA_UINT8) return fed->rank >= 3;
    if (!tb_dtype_is_integer(dtype) || fed->rank != 4) return false;
    bool colours = fed->dims[1] == 3 || fed->dims[3] == 3;
    return colours && casts_read(input, true, 0, &casts) && casts;
}

/* Copies integers into the declared type; fails if one does not fit. */
static tiba_status copy_integers(tb_value *value, tb_arena *arena, tiba_dtype dtype,
                                 const tiba_tensor *fed, tiba_error *error) {
    TB_TRY(tb_tensor_create(&value->t, arena, dtype, fed->rank, fed->dims, error));
    int64_t count = tb_tensor_count(fed);
    if (count && !fed->data)
        return tb_fail(error, TIBA_ERROR_INPUT, "input '%.80s': its values are needed",
                       value->name);
    if (dtype == fed->dtype) {
        if (count) memcpy(value->t.data, fed->data, tb_tensor_bytes(fed));
        return TIBA_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t x = tb_get_i64(fed, i);
        tb_set_i64(&value->t, i, x);
        if (tb_get_i64(&value->t, i) != x)
            return tb_fail(error, TIBA_ERROR_INPUT, "input '%.80s': %lld does not fit into %s",
                           value->name, (long long)x, tb_dtype_name(dtype));
    }
    return TIBA_OK;
}

/* The value holds the input's ids, each in its place. */
static tiba_status set_ids(tb_value *value, tb_arena *arena, tiba_error *error) {
    tiba_tensor *places = TB_NEW(arena, tiba_tensor, 1);
    if (!places) return tb_out_of_memory(error);
    TB_TRY(tb_tensor_create(places, arena, TIBA_INT64, value->t.rank, value->t.dims, error));
    int64_t count = tb_tensor_count(places);
    for (int64_t i = 0; i < count; i++) ((int64_t *)places->data)[i] = i;
    value->places = places;
    value->ids_of = value->input;
    return TIBA_OK;
}

static tiba_status bind_feed(tb_binder *binder, tb_value *value, const tb_value *input,
                             const tiba_tensor *fed, tiba_error *error) {
    tiba_dtype dtype = input->t.dtype == TIBA_UNDEFINED ? fed->dtype : input->t.dtype;
    bool picture = holds_picture(input, dtype, fed);
    int64_t count;
    if (fed->rank < 0 || fed->rank > TIBA_MAX_RANK || !tb_count(&count, fed->rank, fed->dims))
        return tb_fail(error, TIBA_ERROR_INPUT, "input '%.80s': its shape is out of range",
                       input->name);
    if (!tb_dtype_is_float(dtype) && !picture) {
        TB_TRY(copy_integers(value, binder->arena, dtype, fed, error));
        return dtype != TIBA_BOOL ? set_ids(value, binder->arena, error) : TIBA_OK;
    }
    value->t = (tiba_tensor){.dtype = TIBA_FLOAT32, .rank = fed->rank};
    memcpy(value->t.dims, fed->dims, sizeof value->t.dims);
    bool ids = holds_ids(input);
    if (count > 0 && !ids) {
        value->active = true;
        return TIBA_OK;
    }
    if (count > 0 && !fed->data)
        return tb_fail(error, TIBA_ERROR_INPUT, "input '%.80s': its values are needed",
                       input->name);
    TB_TRY(tb_tensor_create(&value->t, binder->arena, TIBA_FLOAT32, fed->rank, fed->dims, error));
    if (count > 0) tb_convert(&value->t, fed);
    return ids ? set_ids(value, binder->arena, error) : TIBA_OK;
}

tiba_status tb_bind_feeds(tb_binder *binder, int n_feeds, const tb_feed *feeds, tiba_error *error) {
    const tb_graph *source = binder->source->graph;
    tb_graph *graph = binder->b.graph;
    for (int i = 0; i < n_feeds; i++) {
        if (!find_input(source, feeds[i].name))
            return tb_fail(error, TIBA_ERROR_INPUT, "the model has no input '%.100s'",
                           feeds[i].name);
        if (find_feed(i, feeds, feeds[i].name))
            return tb_fail(error, TIBA_ERROR_INPUT, "input '%.100s' is given twice", feeds[i].name);
    }
    graph->inputs = TB_NEW(binder->arena, tb_value *, source->n_inputs);
    if (!graph->inputs) return tb_out_of_memory(error);
    for (int i = 0; i < source->n_inputs; i++) {
        const tb_value *input = source->inputs[i];
        const tb_feed *feed = find_feed(n_feeds, feeds, input->name);
        if (!feed)
            return tb_fail(error, TIBA_ERROR_INPUT, "input '%.100s' is not given", input->name);
        if (!types_fit(input->t.dtype, feed->tensor.dtype))
            return tb_fail(error, TIBA_ERROR_INPUT, "input '%.80s': expected %s, got %s",
                           input->name, tb_dtype_name(input->t.dtype),
                           tb_dtype_name(feed->tensor.dtype));
        TB_TRY(check_dims(input, &feed->tensor, error));
        tb_value *value = tb_graph_value(graph, input->name);
        if (!value) return tb_out_of_memory(error);
        value->input = i;
        graph->inputs[graph->n_inputs++] = value;
        TB_TRY(bind_feed(binder, value, input, &feed->tensor, error));
        binder->slots[input->id].value = value;
    }
    return TIBA_OK;
}

/* Whether a feed holds the integers that the graph was bound with. */
static bool same_values(const tiba_tensor *bound, const tiba_tensor *fed) {
    int64_t count = tb_tensor_count(fed);
    if (count && !fed->data) return false;
    if (bound->dtype == fed->dtype)
        return count == 0 || memcmp(bound->data, fed->data, tb_tensor_bytes(fed)) == 0;
    for (int64_t i = 0; i < count; i++) {
        if (tb_dtype_is_float(fed->dtype) ? tb_get_f64(bound, i) != tb_get_f64(fed, i)
                                          : tb_get_i64(bound, i) != tb_get_i64(fed, i))
            return false;
    }
    return true;
}

bool tb_bound_fits(const tb_bound *bound, int n_feeds, const tb_feed *feeds) {
    const tb_graph *graph = bound->graph;
    if (bound->settled || n_feeds != graph->n_inputs) return false;
    for (int i = 0; i < graph->n_inputs; i++) {
        const tb_value *input = graph->inputs[i];
        const tb_feed *feed = find_feed(n_feeds, feeds, input->name);
        if (!feed || !tb_same_shape(&feed->tensor, &input->t)) return false;
        if (!types_fit(input->t.dtype, feed->tensor.dtype) &&
            !(tb_dtype_is_integer(feed->tensor.dtype) && input->t.dtype == TIBA_FLOAT32))
            return false;
        if (input->t.data && !same_values(&input->t, &feed->tensor)) return false;
    }
    return true;
}
