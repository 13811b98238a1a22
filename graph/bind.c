/*
 * The walk of binding: which source nodes are needed, in which order they are bound, and how one
 * plain operator is. Inputs are in bind_feeds.c, control flow in bind_control.c.
 */
#include "graph/bind.h"

#include <stdlib.h>
#include <string.h>

#include "graph/binder.h"
#include "graph/lower.h"
#include "graph/settle.h"

/* More nodes than any model unrolls to; a loop without end must not take all memory. */
static const int64_t MOST_NODES = 1 << 20;

static void mark_outputs(const tb_graph *graph, unsigned char *needed) {
    for (int i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i]) needed[graph->outputs[i]->id] = TB_NEEDED;
}

/* Marks every value that a needed node reads, last node first. Sub-graphs are gone through as a
 * whole: which branch of an If is taken is known only later. */
static void mark_needed(const tb_graph *graph, unsigned char *needed) {
    for (const tb_node *node = graph->last; node; node = node->prev) {
        bool wanted = false;
        for (int i = 0; i < node->n_out && !wanted; i++)
            wanted = node->out[i] && needed[node->out[i]->id];
        if (!wanted) continue;
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i]) needed[node->in[i]->id] = TB_NEEDED;
        for (int i = 0; i < node->n_attrs; i++)
            if (node->attrs[i].kind == TB_ATTR_GRAPH) {
                mark_outputs(node->attrs[i].graph, needed);
                mark_needed(node->attrs[i].graph, needed);
            }
    }
}

tiba_status tb_bind_tensor(tb_binder *binder, const tiba_tensor *tensor, const tb_node *node,
                           tb_value **out, tiba_error *error) {
    if (!tb_dtype_size(tensor->dtype))
        return node ? tb_node_fail(error, TIBA_ERROR_INPUT, node, "strings are not supported")
                    : tb_fail(error, TIBA_ERROR_INPUT, "strings are not supported");
    tiba_tensor t = *tensor;
    if (tb_dtype_is_float(t.dtype) && t.dtype != TIBA_FLOAT32) {
        TB_TRY(tb_tensor_create(&t, binder->arena, TIBA_FLOAT32, t.rank, t.dims, error));
        tb_convert(&t, tensor);
    }
    return tb_build_borrowed(&binder->b, out, &t, error);
}

tiba_status tb_bind_slot(tb_binder *binder, const tb_value *source, tb_slot *out,
                         tiba_error *error) {
    tb_slot *slot = &binder->slots[source->id];
    if (!slot->value && !slot->list && source->t.data) {
        TB_TRY(tb_bind_tensor(binder, &source->t, binder->b.from, &slot->value, error));
        slot->value->name = source->name;
    }
    *out = *slot;
    return TIBA_OK;
}

tiba_status tb_bind_input(tb_binder *binder, const tb_node *node, int i, tb_value **out,
                          tiba_error *error) {
    *out = NULL;
    if (i >= node->n_in || !node->in[i]) return TIBA_OK;
    tb_slot slot;
    TB_TRY(tb_bind_slot(binder, node->in[i], &slot, error));
    if (slot.list)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                            "input '%.80s' is a sequence, which this operator does not take",
                            node->in[i]->name);
    if (!slot.value)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "input '%.80s' has no value",
                            node->in[i]->name);
    *out = slot.value;
    return TIBA_OK;
}

/* The ops that make or pass on floats name a type; all floats are float32 here. */
static tb_attr normal_attr(tb_attr attr) {
    bool names_type = attr.kind == TB_ATTR_INT &&
                      (strcmp(attr.name, "to") == 0 || strcmp(attr.name, "dtype") == 0);
    if (names_type && tb_dtype_is_float((tiba_dtype)attr.i)) attr.i = TIBA_FLOAT32;
    return attr;
}

/* Notes that the node was written as others, once however often a loop runs it. */
static tiba_status note_written(tb_binder *binder, const tb_node *node, bool lowered,
                                tiba_error *error) {
    unsigned char *mark = NULL;
    for (int i = 0; i < node->n_out && !mark; i++)
        if (node->out[i]) mark = &binder->needed[node->out[i]->id];
    if (!mark || (*mark & TB_NOTED)) return TIBA_OK;
    *mark |= TB_NOTED;
    if (binder->n_written == binder->written_capacity) {
        int capacity = 2 * binder->written_capacity + 64;
        tb_written *list = TB_NEW(binder->arena, tb_written, capacity);
        if (!list) return tb_out_of_memory(error);
        if (binder->n_written)
            memcpy(list, binder->written, (size_t)binder->n_written * sizeof *list);
        binder->written = list;
        binder->written_capacity = capacity;
    }
    binder->written[binder->n_written++] = (tb_written){node, lowered};
    return TIBA_OK;
}

/* Did opset.c change more than an attribute's value? What passes an operand on changed nothing. */
static bool is_upgraded(const tb_call *c, const tb_op *op, int n_in) {
    if (!c->done) return c->op != op || c->n_in > n_in;
    for (int i = 0; i < n_in; i++)
        if (c->out[0] == c->in[i]) return false;
    return true;
}

static tiba_status run_call(tb_binder *binder, tb_call *c, const tb_lower_row *lower) {
    const tb_op *op = c->op;
    int n_in = c->n_in;
    if (lower) {
        lower->rewrite(c);
        if (c->status == TIBA_OK && !c->op) c->done = true;
    } else {
        tb_upgrade(c);
    }
    TB_TRY(c->status);
    if (lower || is_upgraded(c, op, n_in))
        TB_TRY(note_written(binder, c->node, lower != NULL, c->error));
    if (c->done) return TIBA_OK;
    int n_out = c->n_out;
    if (n_out > c->op->max_out && c->op->max_out >= 0) {
        for (int i = c->op->max_out; i < n_out; i++)
            if (tb_call_wants(c, i))
                return tb_node_fail(c->error, TIBA_ERROR_INPUT, c->node,
                                    "output %d is not supported", i);
        n_out = c->op->max_out;
    }
    return tb_build(c->b, c->out, n_out, c->op->kind, c->n_in, c->in, c->n_attrs, c->attrs,
                    c->error);
}

/* Operators that are known and never computed: no explanation follows from a random number. */
static const char *why_never(const tb_node *node) {
    static const char *const random[] = {"Bernoulli",     "Multinomial",      "RandomNormal",
                                         "RandomUniform", "RandomNormalLike", "RandomUniformLike"};
    for (size_t i = 0; i < sizeof random / sizeof *random && !node->domain[0]; i++)
        if (strcmp(node->op_type, random[i]) == 0)
            return "its result is random, another one in every run";
    return "this operator is not supported";
}

static tiba_status bind_operator(tb_binder *binder, const tb_node *node, tiba_error *error) {
    const tb_lower_row *lower = tb_find_lower(node->domain, node->op_type);
    const tb_op *op = lower ? NULL : tb_find_op(node->domain, node->op_type);
    if (!op && !lower) return tb_node_fail(error, TIBA_ERROR_INPUT, node, "%s", why_never(node));
    enum { FEW = 16 };
    tb_value *in_few[FEW] = {0}, *out_few[FEW] = {0};
    tb_attr attrs_few[FEW];
    tb_call c = {.b = &binder->b, .node = node, .op = op, .error = error};
    c.in = in_few;
    c.out = out_few;
    c.attrs = attrs_few;
    if (node->n_in + TB_CALL_ROOM > FEW)
        c.in = TB_NEW(binder->arena, tb_value *, (size_t)node->n_in + TB_CALL_ROOM);
    if (node->n_out > FEW) c.out = TB_NEW(binder->arena, tb_value *, node->n_out);
    if (node->n_attrs + TB_CALL_ROOM > FEW)
        c.attrs = TB_NEW(binder->arena, tb_attr, (size_t)node->n_attrs + TB_CALL_ROOM);
    if (!c.in || !c.out || !c.attrs) return tb_out_of_memory(error);
    for (c.n_in = 0; c.n_in < node->n_in; c.n_in++)
        TB_TRY(tb_bind_input(binder, node, c.n_in, &c.in[c.n_in], error));
    while (c.n_in > 0 && !c.in[c.n_in - 1]) c.n_in--;
    for (c.n_out = node->n_out; c.n_out > 0 && !node->out[c.n_out - 1];) c.n_out--;
    for (c.n_attrs = 0; c.n_attrs < node->n_attrs; c.n_attrs++)
        c.attrs[c.n_attrs] = normal_attr(node->attrs[c.n_attrs]);

    int first_new = binder->b.graph->n_values;
    TB_TRY(run_call(binder, &c, lower));
    for (int i = 0; i < c.n_out; i++) {
        if (!node->out[i]) continue;
        if (!c.out[i]) {
            if (!(binder->needed[node->out[i]->id] & TB_NEEDED)) continue;
            return tb_node_fail(error, TIBA_ERROR_INPUT, node, "output %d is not supported", i);
        }
        binder->slots[node->out[i]->id] = (tb_slot){.value = c.out[i]};
        /* A value made just now takes the file's name; one that was passed through keeps its own.
         */
        if (c.out[i]->id >= first_new) c.out[i]->name = node->out[i]->name;
    }
    return TIBA_OK;
}

const char *tb_node_title(const tb_node *node) {
    if (node->name[0]) return node->name;
    for (int i = 0; i < node->n_out; i++)
        if (node->out[i]) return node->out[i]->name;
    return node->op_type;
}

static tiba_status bind_node(tb_binder *binder, const tb_node *node, tiba_error *error) {
    binder->b.from = node;
    binder->b.origin = tb_node_title(node);
    tb_control_fn *control = tb_find_control(node);
    return (control ? control : bind_operator)(binder, node, error);
}

/* Is what an input is computed by refused, or behind something refused? */
static bool reads_refused(const tb_binder *binder, const tb_node *node) {
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i] || node->in[i]->t.data) continue;
        const tb_slot *slot = &binder->slots[node->in[i]->id];
        if (!slot->value && !slot->list) return true;
    }
    return false;
}

/* As bind_node, but a refused node is noted and its outputs stay without a value. A node whose body
 * holds a refused one fails as well: that is noted already. */
static tiba_status try_node(tb_binder *binder, const tb_node *node, tiba_error *error) {
    tb_obstacles *o = binder->obstacles;
    tiba_error why = {0};
    int before = o->count + o->hidden;
    bool hidden = reads_refused(binder, node);
    tiba_status status = hidden ? TIBA_OK : bind_node(binder, node, &why);
    if (status != TIBA_OK && status != TIBA_ERROR_INPUT) {
        if (error) *error = why;
        return status;
    }
    hidden = hidden || (status != TIBA_OK && o->count + o->hidden > before);
    o->hidden += hidden;
    if (status == TIBA_OK || hidden) return TIBA_OK;
    for (int i = 0; i < o->count; i++)
        if (o->items[i].node == node) return TIBA_OK; /* in a loop */
    if (o->count == o->capacity) {
        int capacity = 2 * o->capacity + 16;
        tb_obstacle *items = TB_NEW(o->arena, tb_obstacle, capacity);
        if (!items) return tb_out_of_memory(error);
        if (o->count) memcpy(items, o->items, (size_t)o->count * sizeof *items);
        o->items = items;
        o->capacity = capacity;
    }
    tiba_error *copy = TB_NEW(o->arena, tiba_error, 1);
    if (!copy) return tb_out_of_memory(error);
    *copy = why;
    o->items[o->count++] = (tb_obstacle){node, copy};
    return TIBA_OK;
}

tiba_status tb_bind_nodes(tb_binder *binder, const tb_graph *graph, tiba_error *error) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        bool wanted = false;
        for (int i = 0; i < node->n_out && !wanted; i++)
            wanted = node->out[i] && (binder->needed[node->out[i]->id] & TB_NEEDED);
        if (!wanted) continue;
        if (++binder->nodes_bound > MOST_NODES)
            return tb_node_fail(error, TIBA_ERROR_INPUT, node,
                                "the graph's loops unroll to more than %lld nodes",
                                (long long)MOST_NODES);
        TB_TRY((binder->obstacles ? try_node : bind_node)(binder, node, error));
    }
    return TIBA_OK;
}

/* What an output that has no value is in want of: the first obstacle that it depends on. */
static tiba_status why_no_output(tb_binder *binder, int index, tiba_error *error) {
    const tb_obstacles *o = binder->obstacles;
    const tb_value *output = binder->source->graph->outputs[index];
    unsigned char *needed = TB_NEW(binder->arena, unsigned char, binder->source->n_values);
    if (!needed) return tb_out_of_memory(error);
    needed[output->id] = TB_NEEDED;
    mark_needed(binder->source->graph, needed);
    for (int i = 0; o && i < o->count; i++)
        for (int k = 0; k < o->items[i].node->n_out; k++)
            if (o->items[i].node->out[k] && needed[o->items[i].node->out[k]->id]) {
                *error = *o->items[i].why;
                return TIBA_OK;
            }
    const tb_slot *slot = &binder->slots[output->id];
    tb_fail(error, TIBA_ERROR_INPUT, "output '%.100s' %s", output->name,
            slot->list ? "is a sequence" : "is computed by no node");
    return TIBA_OK;
}

static tiba_status bind_outputs(tb_binder *binder, tb_bound *bound, tiba_error *error) {
    const tb_graph *source = binder->source->graph;
    tb_graph *graph = binder->b.graph;
    graph->outputs = TB_NEW(binder->arena, tb_value *, source->n_outputs);
    bound->outputs = TB_NEW(binder->arena, tb_bound_output, source->n_outputs);
    if (!graph->outputs || !bound->outputs) return tb_out_of_memory(error);
    binder->b.from = NULL;
    for (int i = 0; i < source->n_outputs; i++) {
        tb_slot slot;
        TB_TRY(tb_bind_slot(binder, source->outputs[i], &slot, error));
        if (!slot.value) {
            tiba_error *why = TB_NEW(binder->arena, tiba_error, 1);
            if (!why) return tb_out_of_memory(error);
            TB_TRY(why_no_output(binder, i, why));
            bound->outputs[i] = (tb_bound_output){-1, why};
            if (binder->obstacles) continue;
            if (error) *error = *why;
            return why->code;
        }
        /* An output under two names, or one that is an input, needs a value of its own name. */
        if (slot.value->is_output || slot.value->input >= 0) {
            binder->b.origin = source->outputs[i]->name;
            TB_TRY(tb_build1(&binder->b, &slot.value, TB_OP_Identity, 1, (tb_value *[]){slot.value},
                             0, NULL, error));
        }
        slot.value->name = source->outputs[i]->name;
        slot.value->is_output = true;
        bound->outputs[i].index = graph->n_outputs;
        graph->outputs[graph->n_outputs++] = slot.value;
    }
    return TIBA_OK;
}

typedef struct used_up { /* an array that folding used up */
    const void *data;
    size_t bytes;
    bool read; /* another value is made of the same memory */
} used_up;

static int by_place(const void *a, const void *b) {
    const char *x = ((const used_up *)a)->data, *y = ((const used_up *)b)->data;
    return x < y ? -1 : x > y;
}

/* Marks the first of the sorted arrays that is this memory. */
static void mark_read(used_up *list, int n, const tb_value *value) {
    if (!value || !value->t.data) return;
    const used_up key = {.data = value->t.data};
    used_up *found = bsearch(&key, list, (size_t)n, sizeof *list, by_place);
    if (!found) return;
    while (found > list && found[-1].data == key.data) found--;
    found->read = true;
}

/* Takes out what no one reads: dead nodes, then the constants that folding used up, which are most
 * of a mask that is worked out in each layer. */
static tiba_status sweep(tb_graph *graph, tiba_error *error) {
    tb_graph_sweep(graph);
    used_up *list =
        tb_calloc(tb_arena_budget(graph->arena), (size_t)graph->n_values + 1, sizeof *list);
    if (!list) return tb_out_of_memory(error);
    int n = 0;
    for (int i = 0; i < graph->n_values; i++) {
        tb_value *value = graph->values[i];
        if (!value || value->producer || value->n_uses > 0 || value->input >= 0 || value->is_output)
            continue;
        if (value->t.data) list[n++] = (used_up){value->t.data, tb_tensor_bytes(&value->t), false};
        graph->values[i] = NULL;
    }
    qsort(list, (size_t)n, sizeof *list, by_place);
    for (int i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        mark_read(list, n, value);
        if (value) mark_read(list, n, value->step), mark_read(list, n, value->rows_of);
    }
    for (int i = 0; i < n; i++)
        if (i > 0 && list[i].data == list[i - 1].data)
            list[i].read = true; /* what is said of the first holds */
        else if (!list[i].read)
            tb_arena_release(graph->arena, list[i].data, list[i].bytes);
    tb_free(list);
    return TIBA_OK;
}

static tiba_status bind_all(tb_binder *binder, int n_feeds, const tb_feed *feeds,
                            tiba_error *error) {
    const tb_graph *source = binder->source->graph;
    int n_values = binder->source->n_values;
    binder->slots = TB_NEW(binder->arena, tb_slot, n_values);
    binder->needed = TB_NEW(binder->arena, unsigned char, n_values);
    binder->b.graph = tb_graph_create(binder->arena);
    if (!binder->slots || !binder->needed || !binder->b.graph) return tb_out_of_memory(error);
    binder->b.graph->name = source->name;
    TB_TRY(tb_bind_feeds(binder, n_feeds, feeds, error));
    binder->b.settler = tb_settler_create(binder->b.graph, n_feeds, feeds, binder->b.exec);
    if (!binder->b.settler) return tb_out_of_memory(error);
    mark_outputs(source, binder->needed);
    mark_needed(source, binder->needed);
    TB_TRY(tb_bind_nodes(binder, source, error));
    return TIBA_OK;
}

/* With obstacles: as far as they let it. */
static tiba_status bind(tb_bound **out, const tb_source *source, int n_feeds, const tb_feed *feeds,
                        bool obstacles, tb_exec *exec, tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(exec->budget);
    if (!arena) return tb_out_of_memory(error);
    tb_bound *bound = TB_NEW(arena, tb_bound, 1);
    tb_obstacles found = {.arena = arena};
    tb_binder binder = {.b = {.exec = exec},
                        .arena = arena,
                        .source = source,
                        .obstacles = obstacles ? &found : NULL};
    tiba_status status = bound ? bind_all(&binder, n_feeds, feeds, error) : tb_out_of_memory(error);
    if (status == TIBA_OK) status = bind_outputs(&binder, bound, error);
    if (status == TIBA_OK) status = sweep(binder.b.graph, error);
    if (status == TIBA_OK) {
        bound->settled = tb_settled_any(binder.b.settler);
    }
    tb_settler_destroy(binder.b.settler);
    if (status != TIBA_OK) {
        tb_arena_destroy(arena);
        return status;
    }
    bound->arena = arena;
    bound->graph = binder.b.graph;
    bound->written = binder.written;
    bound->n_written = binder.n_written;
    *out = bound;
    return TIBA_OK;
}

tiba_status tb_bind(tb_bound **out, const tb_source *source, int n_feeds, const tb_feed *feeds,
                    tb_exec *exec, tiba_error *error) {
    tiba_error first = {0};
    tiba_status status = bind(out, source, n_feeds, feeds, false, exec, &first);
    if (status == TIBA_ERROR_INPUT && source->graph->n_outputs > 1) {
        status = bind(out, source, n_feeds, feeds, true, exec, NULL);
        if (status == TIBA_OK && (*out)->graph->n_outputs == 0) {
            status = TIBA_ERROR_INPUT;
            tb_bound_destroy(*out);
            *out = NULL;
        }
    }
    if (status == TIBA_ERROR_RESOURCE) return tb_out_of_memory(error);
    if (status != TIBA_OK && error) *error = first;
    return status;
}

tiba_status tb_bind_obstacles(const tb_obstacle **out, int *count, tb_arena *arena,
                              const tb_source *source, int n_feeds, const tb_feed *feeds,
                              tb_exec *exec, tiba_error *error) {
    *out = NULL;
    *count = 0;
    tb_obstacles found = {.arena = arena};
    tb_binder binder = {.b = {.exec = exec},
                        .source = source,
                        .obstacles = &found,
                        .arena = tb_arena_create(exec->budget)};
    if (!binder.arena) return tb_out_of_memory(error);
    tiba_status status = bind_all(&binder, n_feeds, feeds, error);
    tb_settler_destroy(binder.b.settler);
    tb_arena_destroy(binder.arena);
    if (status != TIBA_OK) return status;
    *out = found.items;
    *count = found.count;
    return TIBA_OK;
}

void tb_bound_destroy(tb_bound *bound) {
    if (bound) tb_arena_destroy(bound->arena);
}
