/*
 * Building and binding by hand: what is folded, what stays active, which inputs are refused and how
 * the message reads, the dumps.
 */
#include <stdlib.h>

#include "check.h"
#include "graph/build.h"
#include "graph/dump.h"
#include "interpret.h"

/* A source graph made by hand; everything in one arena. */
typedef struct hand {
    tb_arena *arena;
    tb_source source;
    int ids;
    tb_exec exec;
    tiba_error error;
} hand;

static tb_graph *hand_open(hand *h) {
    *h = (hand){.arena = tb_arena_create(NULL)};
    h->source.graph = tb_graph_create(h->arena);
    h->source.graph->ids = &h->ids;
    return h->source.graph;
}

static void hand_close(hand *h) {
    tb_scratch_free(&h->exec);
    tb_arena_destroy(h->arena);
}

static tb_value *add_input(hand *h, const char *name, tiba_dtype dtype, int rank,
                           const int64_t *dims, const char *const *dim_names) {
    tb_graph *g = h->source.graph;
    tb_value **inputs = TB_NEW(h->arena, tb_value *, g->n_inputs + 1);
    for (int i = 0; i < g->n_inputs; i++) inputs[i] = g->inputs[i];
    tb_value *value = tb_graph_value(g, name);
    value->t = (tiba_tensor){.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++) value->t.dims[i] = dims[i];
    value->dim_names = dim_names;
    value->input = g->n_inputs;
    inputs[g->n_inputs++] = value;
    g->inputs = inputs;
    return value;
}

static tb_value *add_constant(hand *h, const char *name, tiba_dtype dtype, int rank,
                              const int64_t *dims, const void *data) {
    tb_value *value = tb_graph_value(h->source.graph, name);
    tb_tensor_create(&value->t, h->arena, dtype, rank, dims, NULL);
    memcpy(value->t.data, data, tb_tensor_bytes(&value->t));
    return value;
}

static tb_value *add_node(hand *h, const char *op, const char *out, int n_in, tb_value *const *in) {
    tb_node *node = tb_graph_node(h->source.graph, "", op, n_in, 1);
    node->name = out;
    node->opset = 21;
    for (int i = 0; i < n_in; i++) tb_node_set_input(h->source.graph, node, i, in[i]);
    tb_node_set_output(node, 0, tb_graph_value(h->source.graph, out));
    return node->out[0];
}

static void set_outputs(hand *h, int count, tb_value *const *values) {
    tb_graph *g = h->source.graph;
    g->outputs = TB_NEW(h->arena, tb_value *, count);
    g->n_outputs = count;
    for (int i = 0; i < count; i++) {
        g->outputs[i] = values[i];
        values[i]->is_output = true;
    }
    h->source.n_values = h->ids;
}

static const float TABLE[] = {0, 1, 2, 3, 4, 5, 6, 7};

/* ids -> embedding + position row -> scaled; ids also shape a mask */
static void make_embedding(hand *h) {
    static const char *const names[] = {"batch", "tokens"};
    hand_open(h);
    tb_value *ids = add_input(h, "ids", TIBA_INT64, 2, (int64_t[]){-1, -1}, names);
    tb_value *weight = add_input(h, "weight", TIBA_FLOAT32, 2, (int64_t[]){-1, 2}, names);
    tb_value *table = add_constant(h, "table", TIBA_FLOAT32, 2, (int64_t[]){4, 2}, TABLE);
    int64_t zero = 0, one = 1;
    tb_value *zeros = add_constant(h, "zero", TIBA_INT64, 0, NULL, &zero);
    tb_value *ones = add_constant(h, "one", TIBA_INT64, 0, NULL, &one);
    tb_value *embedded = add_node(h, "Gather", "embedded", 2, (tb_value *[]){table, ids});
    tb_value *padding = add_node(h, "Equal", "padding", 2, (tb_value *[]){ids, zeros});
    tb_value *kind = add_node(h, "Where", "kind", 3, (tb_value *[]){padding, zeros, ones});
    tb_value *position = add_node(h, "Gather", "position", 2, (tb_value *[]){table, kind});
    tb_value *sum = add_node(h, "Add", "sum", 2, (tb_value *[]){embedded, position});
    tb_value *moved = add_node(h, "Add", "moved", 2, (tb_value *[]){ids, ones});
    tb_value *later = add_node(h, "Gather", "later", 2, (tb_value *[]){table, moved});
    tb_value *axes = add_constant(h, "axes", TIBA_INT64, 1, (int64_t[]){1}, &zero);
    tb_value *wide = add_node(h, "Unsqueeze", "wide", 2, (tb_value *[]){weight, axes});
    tb_value *total = add_node(h, "Mul", "total", 2, (tb_value *[]){sum, wide});
    add_node(h, "Erf", "unused", 1, (tb_value *[]){later});
    set_outputs(h, 3, (tb_value *[]){total, later, position});
}

static tb_node *find_node(const tb_graph *graph, const char *origin) {
    for (tb_node *node = graph->first; node; node = node->next)
        if (strcmp(node->origin, origin) == 0) return node;
    return NULL;
}

/* A choice between x and something else that is always the same is x; one that differs is a choice.
 */
static void test_choices(void) {
    hand h;
    hand_open(&h);
    const unsigned char yes[] = {1, 1}, no[] = {0, 0}, either[] = {1, 0};
    const float nan = NAN;
    tb_value *x = add_input(&h, "x", TIBA_FLOAT32, 1, (int64_t[]){2}, NULL);
    tb_value *other = add_constant(&h, "nan", TIBA_FLOAT32, 0, NULL, &nan);
    tb_value *all = add_constant(&h, "all", TIBA_BOOL, 2, (int64_t[]){2, 1}, yes);
    tb_value *none = add_constant(&h, "none", TIBA_BOOL, 1, (int64_t[]){2}, no);
    tb_value *some = add_constant(&h, "some", TIBA_BOOL, 1, (int64_t[]){2}, either);
    tb_value *wide = add_node(&h, "Where", "wide", 3, (tb_value *[]){all, x, other});
    tb_value *kept = add_node(&h, "Where", "kept", 3, (tb_value *[]){none, other, x});
    tb_value *mixed = add_node(&h, "Where", "mixed", 3, (tb_value *[]){some, x, other});
    set_outputs(&h, 3, (tb_value *[]){wide, kept, mixed});
    float data[] = {3, 4};
    tb_feed feed = {"x", {TIBA_FLOAT32, 1, {2}, data}};
    tb_bound *bound = NULL;
    CHECK_CASE(tb_bind(&bound, &h.source, 1, &feed, &h.exec, &h.error) == TIBA_OK, "%s",
               h.error.message);
    if (!bound) return;
    const tb_graph *g = bound->graph;
    CHECK(g->outputs[0]->producer && tb_is(g->outputs[0]->producer, TB_OP_Expand));
    CHECK(g->outputs[0]->t.rank == 2 && g->outputs[0]->t.dims[0] == 2 &&
          g->outputs[0]->t.dims[1] == 2);
    CHECK(g->outputs[1] == g->inputs[0] || tb_is(g->outputs[1]->producer, TB_OP_Identity));
    CHECK(tb_is(g->outputs[2]->producer, TB_OP_Where));
    tb_bound_destroy(bound);
    hand_close(&h);
}

static void test_activity(void) {
    hand h;
    make_embedding(&h);
    int64_t ids[] = {2, 0, 1};
    float weight[] = {10, 100};
    tb_feed feeds[] = {{"ids", {TIBA_INT64, 2, {1, 3}, ids}},
                       {"weight", {TIBA_FLOAT32, 2, {1, 2}, weight}}};
    tb_bound *bound = NULL;
    CHECK_CASE(tb_bind(&bound, &h.source, 2, feeds, &h.exec, &h.error) == TIBA_OK, "%s",
               h.error.message);
    if (!bound) return;
    tb_graph *g = bound->graph;
    tb_node *embedded = find_node(g, "embedded"), *later = find_node(g, "later");
    CHECK(embedded && embedded->out[0]->active && tb_is(embedded, TB_OP_Gather));
    CHECK(later && later->out[0]->active && later->in[1]->ids_of == 0); /* shifted ids are ids */
    CHECK(!find_node(g, "position"));                                   /* computed ids are not */
    CHECK(!find_node(g, "padding") && !find_node(g, "unused"));
    CHECK(g->outputs[2]->t.data && !g->outputs[2]->active);
    CHECK(g->inputs[0]->t.data && g->inputs[0]->ids_of == 0 && !g->inputs[1]->t.data);
    CHECK(tb_bound_fits(bound, 2, feeds));
    ids[1] = 3;
    CHECK(!tb_bound_fits(bound, 2, feeds));
    ids[1] = 0;
    feeds[1].tensor.dims[0] = 2;
    CHECK(!tb_bound_fits(bound, 2, feeds));
    feeds[1].tensor.dims[0] = 1;

    char *text, *dot;
    CHECK(tb_dump_text(&text, h.arena, g, &h.error) == TIBA_OK);
    CHECK(strstr(text, "input %0 ids: int64[1, 3] = {2, 0, 1}\n") != NULL);
    CHECK(strstr(text, "* embedded: float32[1, 3, 2] = Gather(") != NULL);
    CHECK(strstr(text, "output ") != NULL);
    CHECK(tb_dump_dot(&dot, h.arena, g, &h.error) == TIBA_OK);
    CHECK(strncmp(dot, "digraph", 7) == 0 && strstr(dot, "style=bold") != NULL);
    CHECK(tb_dump_text(&text, h.arena, h.source.graph, &h.error) == TIBA_OK);
    CHECK(strstr(text, "input %0 ids: int64[batch, tokens]\n") != NULL);

    CHECK(interpret_run(g, h.arena, &h.exec, 2, feeds, &h.error) == TIBA_OK);
    const float *total = g->outputs[0]->t.data;
    /* token 2 is {4, 5}, its kind 1 {2, 3}; token 0 {0, 1}, kind 0 {0, 1} */
    CHECK_NEAR(total[0], 60, 0);
    CHECK_NEAR(total[1], 800, 0);
    CHECK_NEAR(total[3], 200, 0);
    tb_bound_destroy(bound);
    hand_close(&h);
}

static void test_feeds(void) {
    int64_t ids[] = {2, 0, 1, 1, 1, 1};
    int32_t narrow[] = {2, 0, 1};
    float weight[] = {10, 100, 1, 1};
    const tb_feed good[] = {{"ids", {TIBA_INT64, 2, {1, 3}, ids}},
                            {"weight", {TIBA_FLOAT32, 2, {1, 2}, weight}}};
    const struct {
        int n;
        tb_feed feeds[3];
        const char *message; /* NULL: accepted */
    } rows[] = {
        {1, {good[0]}, "input 'weight' is not given"},
        {3, {good[0], good[1], {"mask", good[0].tensor}}, "the model has no input 'mask'"},
        {3, {good[0], good[1], good[0]}, "input 'ids' is given twice"},
        {2,
         {{"ids", {TIBA_FLOAT32, 2, {1, 3}, weight}}, good[1]},
         "input 'ids': expected int64, got float32"},
        {2,
         {{"ids", {TIBA_INT64, 1, {3}, ids}}, good[1]},
         "input 'ids': expected 2 dimensions, got [3]"},
        {2,
         {good[0], {"weight", {TIBA_FLOAT32, 2, {1, 3}, weight}}},
         "input 'weight': dimension 1 is 3, expected 2"},
        {2,
         {good[0], {"weight", {TIBA_FLOAT32, 2, {2, 2}, weight}}},
         "node 'total' (Mul): shapes [1, 3, 2] and [1, 2, 2] do not broadcast together"},
        {2,
         {{"ids", {TIBA_INT64, 2, {1, 3}, NULL}}, good[1]},
         "input 'ids': its values are needed"},
        {2, {{"ids", {TIBA_INT32, 2, {1, 3}, narrow}}, good[1]}, NULL},
        {2, {good[0], {"weight", {TIBA_FLOAT32, 2, {1, 2}, NULL}}}, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hand h;
        make_embedding(&h);
        tb_bound *bound = NULL;
        tiba_status status =
            tb_bind(&bound, &h.source, rows[i].n, rows[i].feeds, &h.exec, &h.error);
        if (rows[i].message && bound) { /* other outputs have a value */
            CHECK(bound->graph->n_outputs == 2 && bound->outputs[0].index < 0);
            CHECK(bound->outputs[1].index == 0 && bound->outputs[2].index == 1);
            CHECK_STRING(bound->outputs[0].why->message, rows[i].message);
            CHECK_STRING(bound->outputs[0].why->node, "total");
        } else if (rows[i].message) {
            CHECK_CASE(status == TIBA_ERROR_INPUT && i != 6, "row %zu", i);
            CHECK_STRING(h.error.message, rows[i].message);
        } else {
            CHECK_CASE(status == TIBA_OK, "row %zu: %s", i, h.error.message);
        }
        tb_bound_destroy(bound);
        hand_close(&h);
    }
}

/* What depends on a float's values cannot be a shape or a condition. */
static void test_refusals(void) {
    const struct {
        const char *op;
        int n_in;
        const char *message;
    } rows[] = {
        {"NonZero", 1, "float input"},
        {"If", 1, "its condition depends on the values of a float input"},
        {"NoSuchOperator", 1, "this operator is not supported"},
        {"Erf", 2, "has 2 inputs, expected 1 to 1"},
        {"Sum", 0, "has 0 inputs, expected 1 or more"},
        {"Gather", 1, "has 1 inputs, expected 2 to 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hand h;
        hand_open(&h);
        tb_value *x = add_input(&h, "x", TIBA_FLOAT32, 1, (int64_t[]){3}, NULL);
        tb_value *y = add_node(&h, rows[i].op, "y", rows[i].n_in, (tb_value *[]){x, x});
        set_outputs(&h, 1, &y);
        tb_bound *bound = NULL;
        tb_feed feed = {"x", {TIBA_FLOAT32, 1, {3}, NULL}};
        CHECK(tb_bind(&bound, &h.source, 1, &feed, &h.exec, &h.error) == TIBA_ERROR_INPUT);
        CHECK_CASE(strstr(h.error.message, rows[i].message) != NULL, "%s", h.error.message);
        CHECK_STRING(h.error.node, "y");
        hand_close(&h);
    }
}

/* Where the data is there, it says what shapes and branches are: the rows of x that are positive,
 * by NonZero of a bool or of a float and by Compress, a Range up to the largest of x, and a TopK
 * whose indices become a constant and whose values stay. */
static void test_settled(void) {
    hand h;
    hand_open(&h);
    tb_value *x = add_input(&h, "x", TIBA_FLOAT32, 1, (int64_t[]){4}, NULL);
    float no = 0;
    int64_t two = 2;
    tb_value *zero = add_constant(&h, "zero", TIBA_FLOAT32, 0, NULL, &no);
    tb_value *k = add_constant(&h, "k", TIBA_INT64, 1, (int64_t[]){1}, &two);
    tb_value *positive = add_node(&h, "Greater", "positive", 2, (tb_value *[]){x, zero});
    tb_value *relu = add_node(&h, "Relu", "relu", 1, (tb_value *[]){x});
    tb_node *top = tb_graph_node(h.source.graph, "", "TopK", 2, 2);
    top->name = "top";
    top->opset = 21;
    tb_node_set_input(h.source.graph, top, 0, x);
    tb_node_set_input(h.source.graph, top, 1, k);
    for (int i = 0; i < 2; i++)
        tb_node_set_output(top, i, tb_graph_value(h.source.graph, i ? "at" : "best"));
    float one = 1;
    tb_value *largest = add_node(&h, "ReduceMax", "largest", 1, &x);
    tb_value *zeroth = add_constant(&h, "start", TIBA_FLOAT32, 1, (int64_t[]){1}, &no);
    tb_value *step = add_constant(&h, "step", TIBA_FLOAT32, 1, (int64_t[]){1}, &one);
    set_outputs(
        &h, 7,
        (tb_value *[]){add_node(&h, "NonZero", "where", 1, &positive),
                       add_node(&h, "NonZero", "there", 1, &relu),
                       add_node(&h, "Compress", "rows", 2, (tb_value *[]){x, positive}),
                       add_node(&h, "Expand", "wide", 2, (tb_value *[]){zero, top->out[1]}),
                       add_node(&h, "Exp", "sum", 1, (tb_value *[]){top->out[0]}),
                       add_node(&h, "Range", "up", 3, (tb_value *[]){zeroth, largest, step}),
                       add_node(&h, "Neg", "least", 1, &largest)});
    float data[2][4] = {{1, -1, 2, 3}, {-3, -2, -1, 4}};
    for (int round = 0; round < 2; round++) {
        tb_feed feed = {"x", {TIBA_FLOAT32, 1, {4}, data[round]}};
        tb_bound *bound = NULL;
        CHECK_CASE(tb_bind(&bound, &h.source, 1, &feed, &h.exec, &h.error) == TIBA_OK, "%s",
                   h.error.message);
        if (!bound) return;
        tb_value **out = bound->graph->outputs;
        int64_t found = round ? 1 : 3;
        CHECK(out[0]->t.dims[1] == found && out[1]->t.dims[1] == found);
        CHECK(out[0]->t.data && out[1]->t.data && tb_get_i64(&out[0]->t, found - 1) == 3);
        CHECK(out[2]->t.dims[0] == found && out[2]->active && !out[2]->t.data);
        CHECK(interpret_run(bound->graph, h.arena, &h.exec, 1, &feed, &h.error) == TIBA_OK);
        CHECK(((const float *)out[2]->t.data)[found - 1] == data[round][3]);
        CHECK(out[3]->t.dims[0] == 3 && out[3]->t.dims[1] == 2); /* the best two */
        CHECK(out[4]->active &&
              fabsf(((const float *)out[4]->t.data)[0] - expf(data[round][3])) < 1e-4f);
        CHECK(out[5]->t.data && out[5]->t.dims[0] == (int64_t)data[round][3]);
        CHECK(out[6]->active); /* the limit is still an activation for others */
        CHECK(bound->settled && !tb_bound_fits(bound, 1, &feed));
        tb_bound_destroy(bound);
    }
    hand_close(&h);
}

/* A constant may be an output, an input may be one, and two outputs may be the same value. */
static void test_outputs(void) {
    hand h;
    hand_open(&h);
    tb_value *x = add_input(&h, "x", TIBA_FLOAT32, 1, (int64_t[]){3}, NULL);
    tb_value *same = add_node(&h, "Identity", "same", 1, &x);
    tb_value *y = add_node(&h, "Neg", "y", 1, &x),
             *again = add_node(&h, "Identity", "again", 1, &y);
    tb_value *size = add_node(&h, "Size", "size", 1, &y);
    set_outputs(&h, 4, (tb_value *[]){same, y, again, size});
    tb_bound *bound = NULL;
    float data[] = {1, 2, 3};
    tb_feed feed = {"x", {TIBA_FLOAT32, 1, {3}, data}};
    CHECK_CASE(tb_bind(&bound, &h.source, 1, &feed, &h.exec, &h.error) == TIBA_OK, "%s",
               h.error.message);
    if (!bound) return;
    static const char *const names[] = {"same", "y", "again", "size"};
    for (int i = 0; i < 4; i++) CHECK_STRING(bound->graph->outputs[i]->name, names[i]);
    CHECK_STRING(bound->graph->inputs[0]->name, "x");
    CHECK(interpret_run(bound->graph, h.arena, &h.exec, 1, &feed, &h.error) == TIBA_OK);
    CHECK_NEAR(((const float *)bound->graph->outputs[0]->t.data)[2], 3, 0);
    CHECK_NEAR(((const float *)bound->graph->outputs[2]->t.data)[2], -3, 0);
    CHECK(tb_get_i64(&bound->graph->outputs[3]->t, 0) == 3);
    tb_bound_destroy(bound);
    hand_close(&h);
}

/* Float inputs that only casts to an integer read hold ids; uint8 pictures are active. */
static void test_disguises(void) {
    hand h;
    hand_open(&h);
    tb_value *ids = add_input(&h, "ids", TIBA_FLOAT32, 1, (int64_t[]){2}, NULL);
    tb_value *image = add_input(&h, "image", TIBA_UINT8, 3, (int64_t[]){1, 2, 2}, NULL);
    tb_value *table = add_constant(&h, "table", TIBA_FLOAT32, 2, (int64_t[]){4, 2}, TABLE);
    tb_value *whole = add_node(&h, "Cast", "whole", 1, &ids),
             *pixels = add_node(&h, "Cast", "pixels", 1, &image);
    static const tb_attr to[] = {TB_INT_ATTR("to", TIBA_INT32), TB_INT_ATTR("to", TIBA_FLOAT32)};
    whole->producer->attrs = &to[0];
    pixels->producer->attrs = &to[1];
    whole->producer->n_attrs = pixels->producer->n_attrs = 1;
    tb_value *embedded = add_node(&h, "Gather", "embedded", 2, (tb_value *[]){table, whole});
    tb_value *sum = add_node(&h, "Add", "sum", 2, (tb_value *[]){embedded, pixels});
    set_outputs(&h, 1, &sum);
    float two[] = {3, 1};
    uint8_t bytes[] = {1, 2, 3, 4};
    tb_feed feeds[] = {{"ids", {TIBA_FLOAT32, 1, {2}, two}},
                       {"image", {TIBA_UINT8, 3, {1, 2, 2}, bytes}}};
    tb_bound *bound = NULL;
    CHECK_CASE(tb_bind(&bound, &h.source, 2, feeds, &h.exec, &h.error) == TIBA_OK, "%s",
               h.error.message);
    if (!bound) return;
    CHECK(tb_bound_fits(bound, 2, feeds));
    CHECK(find_node(bound->graph, "embedded") != NULL);
    CHECK(bound->graph->inputs[1]->active && bound->graph->inputs[1]->t.dtype == TIBA_FLOAT32);
    CHECK(interpret_run(bound->graph, h.arena, &h.exec, 2, feeds, &h.error) == TIBA_OK);
    const float *y = bound->graph->outputs[0]->t.data;
    CHECK(y[0] == 7 && y[1] == 9 && y[2] == 5 && y[3] == 7);
    two[0] = 2;
    CHECK(!tb_bound_fits(bound, 2, feeds));
    tb_bound_destroy(bound);
    hand_close(&h);
}

/* One-hot rows of ids that are made in whole numbers or by comparison and cast to float are an
 * embedding look-up; rows of anything else are a constant. */
static void test_one_hot_rows(void) {
    static const int64_t digits[] = {0, 1, 2, 3}, others[] = {0, 1, 3, 2}, pair[] = {0, 1};
    static const tb_attr to = TB_INT_ATTR("to", TIBA_FLOAT32);
    enum { ONE_HOT, EQUAL, OTHER_DIGITS, OF_IDS, KINDS };
    for (int kind = ONE_HOT; kind < KINDS; kind++) {
        hand h;
        hand_open(&h);
        tb_value *ids = add_input(&h, "ids", TIBA_INT64, 2, (int64_t[]){1, 3}, NULL);
        int64_t depth = 4, last = 2;
        tb_value *axis = add_constant(&h, "axis", TIBA_INT64, 1, (int64_t[]){1}, &last);
        tb_value *column = add_node(&h, "Unsqueeze", "column", 2, (tb_value *[]){ids, axis});
        tb_value *row = add_constant(&h, "row", TIBA_INT64, 1, (int64_t[]){4},
                                     kind == OTHER_DIGITS ? others : digits);
        tb_value *rows;
        if (kind == ONE_HOT) {
            tb_value *n = add_constant(&h, "depth", TIBA_INT64, 0, NULL, &depth);
            tb_value *values = add_constant(&h, "values", TIBA_INT64, 1, (int64_t[]){2}, pair);
            rows = add_node(&h, "OneHot", "rows", 3, (tb_value *[]){ids, n, values});
        } else {
            axis = add_constant(&h, "inner", TIBA_INT64, 1, (int64_t[]){1}, &pair[1]);
            tb_value *other = add_node(&h, "Unsqueeze", "other", 2, (tb_value *[]){ids, axis});
            rows = add_node(&h, "Equal", "rows", 2,
                            (tb_value *[]){kind == OF_IDS ? other : row, column});
        }
        tb_value *floats = add_node(&h, "Cast", "floats", 1, &rows);
        floats->producer->attrs = &to;
        floats->producer->n_attrs = 1;
        tb_value *table = add_constant(&h, "table", TIBA_FLOAT32, 2,
                                       (int64_t[]){kind == OF_IDS ? 3 : 4, 2}, TABLE);
        tb_value *embedded = add_node(&h, "MatMul", "embedded", 2, (tb_value *[]){floats, table});
        set_outputs(&h, 1, &embedded);
        int64_t three[] = {2, 0, 3};
        tb_feed feed = {"ids", {TIBA_INT64, 2, {1, 3}, three}};
        tb_bound *bound = NULL;
        CHECK_CASE(tb_bind(&bound, &h.source, 1, &feed, &h.exec, &h.error) == TIBA_OK, "%s",
                   h.error.message);
        if (!bound) return;
        const tb_value *y = bound->graph->outputs[0];
        bool look_up = kind == ONE_HOT || kind == EQUAL;
        CHECK_CASE(y->active == look_up, "kind %d", kind);
        if (look_up) {
            CHECK(tb_is(find_node(bound->graph, "floats"), TB_OP_OneHot));
            CHECK(interpret_run(bound->graph, h.arena, &h.exec, 1, &feed, &h.error) == TIBA_OK);
            for (int i = 0; i < 6; i++)
                CHECK(((const float *)y->t.data)[i] == TABLE[2 * three[i / 2] + i % 2]);
        }
        tb_bound_destroy(bound);
        hand_close(&h);
    }
}

/* Ids that are moved keep their places in the input; what is joined with them or written over them
 * has -1. */
static void test_places(void) {
    hand h;
    hand_open(&h);
    const int64_t at[] = {2, 1}, first[] = {0};
    const int32_t more[] = {3}, given[] = {7, 7, 9, 7};
    tb_value *ids = add_input(&h, "ids", TIBA_INT32, 1, (int64_t[]){4}, NULL);
    tb_value *two = add_constant(&h, "two", TIBA_INT64, 1, (int64_t[]){2}, at);
    tb_value *one = add_constant(&h, "one", TIBA_INT64, 2, (int64_t[]){1, 1}, first);
    tb_value *other = add_constant(&h, "other", TIBA_INT32, 1, (int64_t[]){1}, more);
    tb_value *taken = add_node(&h, "Gather", "taken", 2, (tb_value *[]){ids, two});
    tb_value *shifted = add_node(&h, "Add", "shifted", 2, (tb_value *[]){taken, other});
    tb_value *joined = add_node(&h, "Concat", "joined", 2, (tb_value *[]){taken, other});
    tb_value *written = add_node(&h, "ScatterND", "written", 3, (tb_value *[]){ids, one, other});
    set_outputs(&h, 4, (tb_value *[]){taken, shifted, joined, written});
    const int64_t want[4][4] = {{2, 1}, {2, 1}, {2, 1, -1}, {-1, 1, 2, 3}}, count[] = {2, 2, 3, 4};
    tb_feed feed = {"ids", {TIBA_INT32, 1, {4}, (void *)given}};
    tb_bound *bound = NULL;
    CHECK_CASE(tb_bind(&bound, &h.source, 1, &feed, &h.exec, &h.error) == TIBA_OK, "%s",
               h.error.message);
    for (int i = 0; bound && i < 4; i++) {
        const tb_value *out = bound->graph->outputs[i];
        if (out->producer) out = out->producer->in[0];
        const int64_t *places = out->places ? out->places->data : NULL;
        CHECK_CASE(places && memcmp(places, want[i], (size_t)count[i] * sizeof *places) == 0,
                   "output %d", i);
    }
    tb_bound_destroy(bound);
    hand_close(&h);
}

/* Arrays that folding used up are given back, but not what another value has under another shape.
 */
static void test_used_up(void) {
    enum { SIDE = 256, COUNT = SIDE * SIDE };
    hand h;
    hand_open(&h);
    tb_budget budget = {0};
    h.exec.budget = &budget;
    float *ones = TB_NEW(h.arena, float, COUNT), *data = TB_NEW(h.arena, float, COUNT);
    for (int i = 0; i < COUNT; i++) ones[i] = 1;
    const int64_t all = -1;
    tb_value *x = add_input(&h, "x", TIBA_FLOAT32, 1, (int64_t[]){COUNT}, NULL);
    tb_value *big = add_constant(&h, "ones", TIBA_FLOAT32, 2, (int64_t[]){SIDE, SIDE}, ones);
    tb_value *shape = add_constant(&h, "shape", TIBA_INT64, 1, (int64_t[]){1}, &all);
    tb_value *negative = add_node(&h, "Neg", "negative", 1, &big);
    tb_value *power = add_node(&h, "Exp", "power", 1, &negative);
    tb_value *flat = add_node(&h, "Reshape", "flat", 2, (tb_value *[]){power, shape});
    tb_value *y = add_node(&h, "Mul", "y", 2, (tb_value *[]){x, flat});
    set_outputs(&h, 1, &y);
    tb_feed feed = {"x", {TIBA_FLOAT32, 1, {COUNT}, data}};
    tb_bound *bound = NULL;
    CHECK_CASE(tb_bind(&bound, &h.source, 1, &feed, &h.exec, &h.error) == TIBA_OK, "%s",
               h.error.message);
    if (!bound) return;
    const size_t bytes = COUNT * sizeof(float);
    CHECK(budget.peak > 2 * bytes && budget.used > bytes && budget.used < 2 * bytes);
    const float *kept = bound->graph->last->in[1]->t.data;
    for (int i = 0; i < COUNT; i++) CHECK_NEAR(kept[i], exp(-1), 1e-6);
    tb_bound_destroy(bound);
    hand_close(&h);
}

int main(void) {
    test_choices();
    test_used_up();
    test_places();
    test_one_hot_rows();
    test_activity();
    test_feeds();
    test_refusals();
    test_settled();
    test_outputs();
    test_disguises();
    TEST_END();
}
