/*
 * Runs the part of an unfinished graph below one value, each node once, with the operators' own
 * kernels.
 */
#include "graph/settle.h"

#include <string.h>

struct tb_settler {
    tb_arena *arena; /* of the values below */
    tb_graph *graph;
    tb_exec *exec;
    int n_feeds;
    const tb_feed *feeds;
    tiba_tensor **known; /* [n_known] by value id: computed so far */
    int n_known;
    tb_node **stack; /* [room] nodes that wait for their inputs */
    int room;
    bool any;
};

tb_settler *tb_settler_create(tb_graph *graph, int n_feeds, const tb_feed *feeds, tb_exec *exec) {
    tb_arena *arena = tb_arena_create(exec->budget);
    tb_settler *settler = arena ? TB_NEW(arena, tb_settler, 1) : NULL;
    if (!settler) {
        tb_arena_destroy(arena);
        return NULL;
    }
    *settler = (tb_settler){
        .arena = arena, .graph = graph, .exec = exec, .n_feeds = n_feeds, .feeds = feeds};
    return settler;
}

void tb_settler_destroy(tb_settler *settler) {
    if (settler) tb_arena_destroy(settler->arena);
}

bool tb_settled_any(const tb_settler *settler) {
    return settler->any;
}

/* Room for every value that the graph has by now. */
static tiba_status make_room(tb_settler *s, tiba_error *error) {
    int n = s->graph->n_values;
    if (n <= s->n_known) return TIBA_OK;
    tiba_tensor **known = TB_NEW(s->arena, tiba_tensor *, 2 * (size_t)n);
    if (!known) return tb_out_of_memory(error);
    if (s->n_known) memcpy(known, s->known, (size_t)s->n_known * sizeof(tiba_tensor *));
    s->known = known;
    s->n_known = 2 * n;
    return TIBA_OK;
}

/* A graph input's data as the graph has it; *known stays NULL where it is not fed. */
static tiba_status read_feed(tb_settler *s, const tb_value *input, tiba_error *error) {
    for (int i = 0; i < s->n_feeds; i++) {
        if (strcmp(s->feeds[i].name, input->name) != 0 || !s->feeds[i].tensor.data) continue;
        tiba_tensor *t = TB_NEW(s->arena, tiba_tensor, 1);
        if (!t) return tb_out_of_memory(error);
        TB_TRY(tb_tensor_create(t, s->arena, input->t.dtype, input->t.rank, input->t.dims, error));
        tb_convert(t, &s->feeds[i].tensor);
        s->known[input->id] = t;
    }
    return TIBA_OK;
}

static const tiba_tensor *tensor_of(const tb_settler *s, const tb_value *value) {
    if (!value) return NULL;
    return value->t.data ? &value->t : s->known[value->id];
}

static tiba_status run_node(tb_settler *s, const tb_node *node, tiba_error *error) {
    const tiba_tensor **in = TB_NEW(s->arena, const tiba_tensor *, node->n_in);
    tiba_tensor **out = TB_NEW(s->arena, tiba_tensor *, node->n_out);
    if (!in || !out) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++) in[i] = tensor_of(s, node->in[i]);
    for (int i = 0; i < node->n_out; i++) {
        const tb_value *value = node->out[i];
        if (!value) continue;
        out[i] = TB_NEW(s->arena, tiba_tensor, 1);
        if (!out[i]) return tb_out_of_memory(error);
        TB_TRY(tb_tensor_create(out[i], s->arena, value->t.dtype, value->t.rank, value->t.dims,
                                error));
        s->known[value->id] = out[i];
    }
    tiba_status status = node->op->def->forward(s->exec, node, in, out, error);
    tb_scratch_reset(s->exec);
    return status;
}

static tiba_status push(tb_settler *s, int count, tb_node *node, tiba_error *error) {
    if (count == s->room) {
        int room = 2 * s->room + 64;
        tb_node **stack = TB_NEW(s->arena, tb_node *, room);
        if (!stack) return tb_out_of_memory(error);
        if (count) memcpy(stack, s->stack, (size_t)count * sizeof *stack);
        s->stack = stack;
        s->room = room;
    }
    s->stack[count] = node;
    return TIBA_OK;
}

/* The first input that is not known yet; *lacking: one that never will be. */
static tiba_status next_input(tb_settler *s, const tb_node *node, tb_node **out, bool *lacking,
                              tiba_error *error) {
    *out = NULL;
    for (int i = 0; i < node->n_in && !*out && !*lacking; i++) {
        const tb_value *value = node->in[i];
        if (!value || tensor_of(s, value)) continue;
        if (!value->producer) TB_TRY(read_feed(s, value, error));
        *out = value->producer;
        *lacking = !value->producer && !tensor_of(s, value);
    }
    return TIBA_OK;
}

/* Computes what `value` needs and the value itself, if all inputs below it are fed. */
static tiba_status compute(tb_settler *s, const tb_value *value, tiba_error *error) {
    int count = 0;
    bool lacking = false;
    if (tensor_of(s, value) || !value->producer) return TIBA_OK;
    TB_TRY(push(s, count++, value->producer, error));
    while (count > 0 && !lacking) {
        tb_node *node = s->stack[count - 1], *below;
        TB_TRY(next_input(s, node, &below, &lacking, error));
        if (below) {
            TB_TRY(push(s, count++, below, error));
        } else if (!lacking) {
            TB_TRY(run_node(s, node, error));
            count--;
        }
    }
    return TIBA_OK;
}

/* The value's elements, in memory of the graph; NULL where they cannot be known. */
static tiba_status find_out(tb_settler *s, const tb_value *value, void **data, tiba_error *error) {
    *data = NULL;
    TB_TRY(make_room(s, error));
    if (!value->producer && !s->known[value->id]) TB_TRY(read_feed(s, value, error));
    TB_TRY(compute(s, value, error));
    const tiba_tensor *t = s->known[value->id];
    if (!t) return TIBA_OK;
    size_t bytes = tb_tensor_bytes(t);
    *data = tb_arena_alloc_raw(s->graph->arena, 1, bytes ? bytes : 1);
    if (!*data) return tb_out_of_memory(error);
    memcpy(*data, t->data, bytes);
    return TIBA_OK;
}

/* A constant of its own that holds a float's elements. */
static tiba_status settle_copy(tb_settler *s, tb_value **value, bool *settled, tiba_error *error) {
    void *data;
    TB_TRY(find_out(s, *value, &data, error));
    if (!data) return TIBA_OK;
    tb_value *copy = tb_graph_value(s->graph, (*value)->name);
    if (!copy) return tb_out_of_memory(error);
    copy->t = (*value)->t;
    copy->t.data = data;
    *value = copy;
    *settled = s->any = true;
    return TIBA_OK;
}

tiba_status tb_settle(tb_settler *settler, tb_value *value, bool *settled, tiba_error *error) {
    *settled = value->t.data != NULL;
    if (*settled || tb_dtype_is_float(value->t.dtype) || !value->producer) return TIBA_OK;
    void *data;
    TB_TRY(find_out(settler, value, &data, error));
    if (!data) return TIBA_OK;
    /* The node that made it may need the result for its own gradient (TopK its indices). */
    tb_value *made = tb_graph_value(settler->graph, value->name);
    if (!made) return tb_out_of_memory(error);
    made->t = value->t;
    tb_node_set_output(value->producer, value->index, made);
    value->producer = NULL;
    value->t.data = data;
    *settled = settler->any = true;
    return TIBA_OK;
}

tiba_status tb_settle_inputs(tb_settler *settler, tb_node *node, bool *settled, tiba_error *error) {
    *settled = false;
    for (int i = 0; i < node->n_in; i++) {
        bool known = false;
        if (!node->in[i] || node->in[i]->t.data) continue;
        bool floats = tb_dtype_is_float(node->in[i]->t.dtype);
        if (floats && i < 16 && (node->op->def->sized_by & TB_NEEDS_IN(i)))
            TB_TRY(settle_copy(settler, &node->in[i], &known, error));
        else
            TB_TRY(tb_settle(settler, node->in[i], &known, error));
        *settled |= known;
    }
    return TIBA_OK;
}
