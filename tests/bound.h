/*
 * bound.h: makes bound graphs by hand, runs them and keeps every value. For tests of rules, of the
 * reverse pass and of the rollout.
 *
 *     making m;
 *     making_start(&m);
 *     tb_value *x = make_input(&m, "x", "1,4,8"), *w = make_random(&m, "8,8");
 *     tb_value *y = make(&m, TB_OP_MatMul, 2, (tb_value *[]){x, w}, 0, NULL);
 *     make_output(&m, y);
 *     making_run(&m);
 *     ... m.program->values[y->id] ...
 *     making_end(&m);
 *
 * Inputs get random numbers. A failed step is a failed check and ends the test program.
 */
#ifndef TB_TESTS_BOUND_H
#define TB_TESTS_BOUND_H

#include "graph/build.h"
#include "runtime/program.h"
#include "tests/check.h"
#include "tests/support.h"

enum { MAKING_MOST = 8 };

typedef struct making {
    tb_arena *arena;
    tb_exec exec;
    tb_graph *graph;
    tb_builder b;
    tb_program *program;
    uint64_t seed;
    float *inputs[MAKING_MOST];
} making;

static inline void making_try(tiba_status status, const tiba_error *error) {
    CHECK_CASE(status == TIBA_OK, "%s", error->message);
    if (status != TIBA_OK) exit(1);
}

static inline void making_start(making *m) {
    *m = (making){.arena = tb_arena_create(NULL), .seed = 7};
    m->graph = tb_graph_create(m->arena);
    m->graph->inputs = TB_NEW(m->arena, tb_value *, MAKING_MOST);
    m->graph->outputs = TB_NEW(m->arena, tb_value *, MAKING_MOST);
    m->b = (tb_builder){.graph = m->graph, .exec = &m->exec, .origin = "made"};
}

static inline void making_end(making *m) {
    tb_program_destroy(m->program);
    tb_scratch_free(&m->exec);
    tb_arena_destroy(m->arena);
}

static inline double make_number(making *m) {
    return test_uniform(&m->seed) * 2 - 1;
}

/* "2,3,4" */
static inline int make_dims(int64_t *dims, const char *text) {
    int rank = 0;
    for (char *end; *text >= '0' && *text <= '9'; text = end + (*end == ',')) {
        dims[rank++] = strtoll(text, &end, 10);
    }
    return rank;
}

static inline tiba_tensor make_shape(const char *dims) {
    tiba_tensor t = {.dtype = TIBA_FLOAT32};
    t.rank = make_dims(t.dims, dims);
    return t;
}

/** An active graph input of random numbers. */
static inline tb_value *make_input(making *m, const char *name, const char *dims) {
    tb_value *value = tb_graph_value(m->graph, name);
    value->t = make_shape(dims);
    value->input = m->graph->n_inputs;
    value->active = true;
    int64_t count = tb_tensor_count(&value->t);
    float *data = TB_NEW(m->arena, float, count);
    for (int64_t i = 0; i < count; i++) data[i] = (float)make_number(m);
    m->inputs[value->input] = data;
    m->graph->inputs[m->graph->n_inputs++] = value;
    return value;
}

static inline tb_value *make_constant(making *m, const char *dims, const float *data) {
    tiba_error error = {0};
    tiba_tensor t = make_shape(dims);
    tb_value *value = NULL;
    making_try(tb_build_constant(&m->b, &value, TIBA_FLOAT32, t.rank, t.dims, data, &error),
               &error);
    return value;
}

static inline tb_value *make_random(making *m, const char *dims) {
    tiba_tensor t = make_shape(dims);
    int64_t count = tb_tensor_count(&t);
    float *data = TB_NEW(m->arena, float, count);
    for (int64_t i = 0; i < count; i++) data[i] = (float)make_number(m);
    return make_constant(m, dims, data);
}

static inline tb_value *make_ints(making *m, int count, const int64_t *values) {
    tiba_error error = {0};
    tb_value *value = NULL;
    making_try(tb_build_ints(&m->b, &value, count, values, &error), &error);
    return value;
}

static inline tb_value *make(making *m, tb_op_kind kind, int n_in, tb_value *const *in, int n_attrs,
                             const tb_attr *attrs) {
    tiba_error error = {0};
    tb_value *value = NULL;
    making_try(tb_build1(&m->b, &value, kind, n_in, in, n_attrs, attrs, &error), &error);
    return value;
}

static inline tb_value *make2(making *m, tb_op_kind kind, tb_value *a, tb_value *b) {
    return make(m, kind, 2, (tb_value *[]){a, b}, 0, NULL);
}

static inline tb_value *make1(making *m, tb_op_kind kind, tb_value *a) {
    return make(m, kind, 1, &a, 0, NULL);
}

static inline tb_value *make_reshape(making *m, tb_value *x, const char *dims) {
    tiba_tensor t = make_shape(dims);
    return make2(m, TB_OP_Reshape, x, make_ints(m, t.rank, t.dims));
}

static inline tb_value *make_transpose(making *m, tb_value *x, const char *perm) {
    tiba_tensor t = make_shape(perm);
    return make(m, TB_OP_Transpose, 1, &x, 1, &TB_INTS_ATTR("perm", t.rank, t.dims));
}

static inline tb_value *make_slice(making *m, tb_value *x, int64_t from, int64_t to, int64_t axis,
                                   int64_t step) {
    tb_value *in[] = {x, make_ints(m, 1, &from), make_ints(m, 1, &to), make_ints(m, 1, &axis),
                      make_ints(m, 1, &step)};
    return make(m, TB_OP_Slice, 5, in, 0, NULL);
}

static inline tb_value *make_concat(making *m, int n, tb_value *const *in, int64_t axis) {
    return make(m, TB_OP_Concat, n, in, 1, &TB_INT_ATTR("axis", axis));
}

static inline void make_output(making *m, tb_value *value) {
    value->is_output = true;
    m->graph->outputs[m->graph->n_outputs++] = value;
}

/** Runs the graph; every value is kept. Change m->inputs before. */
static inline void making_run(making *m) {
    tiba_error error = {0};
    unsigned char *keep = TB_NEW(m->arena, unsigned char, m->graph->n_values + 1);
    memset(keep, 1, (size_t)m->graph->n_values);
    making_try(tb_program_create(&m->program, m->graph, keep, 0, NULL, &error), &error);
    const void *inputs[MAKING_MOST] = {0};
    for (int i = 0; i < m->graph->n_inputs; i++) inputs[i] = m->inputs[i];
    making_try(tb_program_run(m->program, inputs, &m->exec, &error), &error);
}

static inline const float *made(const making *m, const tb_value *value) {
    return m->program->values[value->id]->data;
}

#endif
