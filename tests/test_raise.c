/*
 * Raising: the forms that a pattern's own term does not spell (Gemm, shapes of weights and biases,
 * copies, the log, the limit), and the models of the zoo.
 *
 *     test_raise -v bert    what is left in models whose name contains it, and the time it took
 */
#include <time.h>

#include "tests/check.h"
#include "tests/pattern_maker.h"
#include "tests/zoo.h"

enum { K = 7, N = 6 };

typedef struct expectation {
    const char *name;
    tb_value *(*make)(maker *m, tb_value *x);
    int rewrites;
    const char *ops; /* of the raised graph, in order */
} expectation;

static tb_value *op(maker *m, tb_op_kind kind, tb_value *a, tb_value *b) {
    return maker_op(m, kind, b ? 2 : 1, (tb_value *[]){a, b}, 0, NULL);
}
static tb_value *tensor(maker *m, int rank, const int64_t *dims) {
    return maker_tensor(m, rank, dims, -1, 1);
}
static tb_value *weight(maker *m) {
    return tensor(m, 2, (int64_t[]){K, N});
}
static tb_value *flat(maker *m, tb_value *x) {
    tb_value *shape;
    tb_build_ints(&m->b, &shape, 2, (int64_t[]){-1, K}, &m->error);
    return op(m, TB_OP_Reshape, x, shape);
}
static tb_value *gemm(maker *m, tb_value *a, tb_value *b, tb_value *c, float alpha, float beta,
                      int trans_a, int trans_b) {
    tb_attr attrs[] = {TB_FLOAT_ATTR("alpha", alpha), TB_FLOAT_ATTR("beta", beta),
                       TB_INT_ATTR("transA", trans_a), TB_INT_ATTR("transB", trans_b)};
    return maker_op(m, TB_OP_Gemm, c ? 3 : 2, (tb_value *[]){a, b, c}, 4, attrs);
}

/* --- Linear ------------------------------------------------------------------------------- */

static tb_value *gemm_plain(maker *m, tb_value *x) {
    return gemm(m, flat(m, x), weight(m), tensor(m, 1, (int64_t[]){N}), 1, 1, 0, 0);
}
static tb_value *gemm_transposed(maker *m, tb_value *x) {
    tb_value *w = tensor(m, 2, (int64_t[]){N, K});
    return gemm(m, flat(m, x), w, tensor(m, 2, (int64_t[]){1, N}), 0.5f, 2, 0, 1);
}
static tb_value *gemm_scalar_bias(maker *m, tb_value *x) {
    return gemm(m, flat(m, x), weight(m), tensor(m, 0, NULL), 1, 0.25f, 0, 0);
}
static tb_value *gemm_of_columns(maker *m, tb_value *x) {
    tb_value *w = tensor(m, 2, (int64_t[]){10, N});
    return gemm(m, flat(m, x), w, NULL, 1, 1, 1, 0);
}
static tb_value *gemm_residual(maker *m, tb_value *x) {
    tb_value *a = flat(m, x), *w = tensor(m, 2, (int64_t[]){K, K});
    return gemm(m, a, w, a, 1, 0.5f, 0, 0);
}
static tb_value *gemm_table(maker *m, tb_value *x) {
    return gemm(m, flat(m, x), weight(m), tensor(m, 2, (int64_t[]){10, N}), 1, 2, 0, 0);
}
static tb_value *gemm_of_activations(maker *m, tb_value *x) {
    tb_value *a = flat(m, x);
    return gemm(m, a, op(m, TB_OP_Tanh, a, NULL), NULL, 0.125f, 1, 0, 1);
}
static tb_value *gemm_constant_first(maker *m, tb_value *x) {
    return gemm(m, tensor(m, 2, (int64_t[]){4, 10}), flat(m, x), NULL, 0.125f, 1, 0, 0);
}
static tb_value *constant_first(maker *m, tb_value *x) {
    return op(m, TB_OP_MatMul, tensor(m, 2, (int64_t[]){4, 5}), x);
}
static tb_value *many_weights(maker *m, tb_value *x) {
    return op(m, TB_OP_MatMul, x, tensor(m, 3, (int64_t[]){2, K, N}));
}
static tb_value *wider_weight(maker *m, tb_value *x) {
    return op(m, TB_OP_MatMul, flat(m, x), tensor(m, 3, (int64_t[]){1, K, N}));
}
static tb_value *transposed_bias(maker *m, tb_value *x) {
    tb_attr attr = TB_INT_ATTR("trans_w", 1);
    tb_value *w = tensor(m, 2, (int64_t[]){N, K});
    tb_value *y = maker_op(m, TB_OP_Linear, 2, (tb_value *[]){x, w}, 1, &attr);
    return op(m, TB_OP_Sub, y, tensor(m, 1, (int64_t[]){N}));
}
static tb_value *plus(maker *m, tb_value *x, tb_value *c) {
    return op(m, TB_OP_Add, c, op(m, TB_OP_MatMul, x, weight(m)));
}
static tb_value *position_table(maker *m, tb_value *x) {
    return plus(m, x, tensor(m, 3, (int64_t[]){1, 5, N}));
}
static tb_value *token_offset(maker *m, tb_value *x) {
    return plus(m, x, tensor(m, 3, (int64_t[]){1, 5, 1}));
}
static tb_value *expanded_bias(maker *m, tb_value *x) {
    tb_value *shape;
    tb_build_ints(&m->b, &shape, 3, (int64_t[]){2, 5, N}, &m->error);
    return plus(m, x, op(m, TB_OP_Expand, tensor(m, 1, (int64_t[]){N}), shape));
}
static tb_value *widening_bias(maker *m, tb_value *x) {
    return plus(m, x, tensor(m, 4, (int64_t[]){1, 1, 1, N}));
}
static tb_value *two_biases(maker *m, tb_value *x) {
    tb_value *y = plus(m, x, tensor(m, 1, (int64_t[]){N}));
    return op(m, TB_OP_Add, y, tensor(m, 1, (int64_t[]){N}));
}
static tb_value *negated_bias(maker *m, tb_value *x) {
    tb_value *b = tensor(m, 1, (int64_t[]){N});
    return op(m, TB_OP_Sub, b, op(m, TB_OP_MatMul, x, weight(m)));
}

/* --- normalisation ------------------------------------------------------------------------ */

/* One instance a token: how LayerNormalization is written where only InstanceNormalization is. */
static tb_value *instance(maker *m, tb_value *x, int64_t channels, bool even) {
    tb_value *there, *back;
    tb_build_ints(&m->b, &there, 3, (int64_t[]){1, channels, -1}, &m->error);
    tb_build_ints(&m->b, &back, 3, m->dims, &m->error);
    tb_value *scale = maker_tensor(m, 1, &channels, 1, even ? 1 : 1.1);
    tb_value *bias = maker_tensor(m, 1, &channels, 0, 0);
    tb_value *y = maker_op(m, TB_OP_InstanceNormalization, 3,
                           (tb_value *[]){op(m, TB_OP_Reshape, x, there), scale, bias}, 0, NULL);
    return op(m, TB_OP_Reshape, y, back);
}
static tb_value *instance_rows(maker *m, tb_value *x) {
    tb_value *y = op(m, TB_OP_Mul, instance(m, x, 10, true), tensor(m, 1, (int64_t[]){K}));
    return op(m, TB_OP_Add, y, tensor(m, 1, (int64_t[]){K}));
}
/* Groups of channels as exporters write them: x [2, 5, …] as one row a group. */
static tb_value *groups(maker *m, tb_value *x, int64_t count, bool even, int64_t axis) {
    tb_value *there, *back;
    int64_t per_channel[] = {axis == 1 ? 5 : 1, axis == 1 ? 1 : K};
    tb_build_ints(&m->b, &there, 3, (int64_t[]){2, count, -1}, &m->error);
    tb_build_ints(&m->b, &back, 3, m->dims, &m->error);
    tb_value *in[] = {op(m, TB_OP_Reshape, x, there), maker_tensor(m, 1, &count, 1, even ? 1 : 1.1),
                      maker_tensor(m, 1, &count, 0, 0)};
    tb_value *y = maker_op(m, TB_OP_InstanceNormalization, 3, in, 0, NULL);
    y = op(m, TB_OP_Mul, op(m, TB_OP_Reshape, y, back), tensor(m, 2, per_channel));
    return op(m, TB_OP_Add, tensor(m, 2, per_channel), y);
}
static tb_value *channel_groups(maker *m, tb_value *x) {
    return groups(m, x, 5, true, 1);
}
static tb_value *groups_uneven(maker *m, tb_value *x) {
    return groups(m, x, 5, false, 1);
}
static tb_value *groups_other_axis(maker *m, tb_value *x) {
    return groups(m, x, 5, true, 2);
}
static tb_value *instance_uneven(maker *m, tb_value *x) {
    return instance(m, x, 10, false);
}
static tb_value *instance_groups(maker *m, tb_value *x) {
    return instance(m, x, 14, true);
}
static tb_value *reduced(maker *m, tb_value *x) {
    tb_value *axes;
    tb_build_ints(&m->b, &axes, 1, (int64_t[]){-1}, &m->error);
    return maker_op(m, TB_OP_ReduceMean, 2, (tb_value *[]){x, axes}, 0, NULL);
}
/* Subtracted twice, each time on its own, between casts: what a mixed precision export leaves. */
static tb_value *layer_norm_twice(maker *m, tb_value *x) {
    tb_attr to = TB_INT_ATTR("to", TIBA_FLOAT32);
    tb_value *wide = maker_op(m, TB_OP_Cast, 1, &x, 1, &to);
    tb_value *d = op(m, TB_OP_Sub, wide, reduced(m, wide));
    tb_value *e = op(m, TB_OP_Sub, wide, reduced(m, wide));
    tb_value *var = reduced(m, op(m, TB_OP_Mul, e, e));
    tb_value *std = op(m, TB_OP_Sqrt, op(m, TB_OP_Add, var, maker_number(m, 1e-5)), NULL);
    tb_value *y = op(m, TB_OP_Div, d, std);
    y = op(m, TB_OP_Mul, tensor(m, 1, (int64_t[]){K}), y);
    y = op(m, TB_OP_Add, y, tensor(m, 3, (int64_t[]){1, 1, K}));
    return op(m, TB_OP_Add, y, x);
}
/* Its variance is that of another value. */
static tb_value *layer_norm_of_two(maker *m, tb_value *x) {
    tb_value *z = maker_input(m, "z", 3, m->dims);
    tb_value *d = op(m, TB_OP_Sub, x, reduced(m, x)), *e = op(m, TB_OP_Sub, z, reduced(m, z));
    tb_value *std = op(m, TB_OP_Sqrt, reduced(m, op(m, TB_OP_Mul, e, e)), NULL);
    return op(m, TB_OP_Div, d, std);
}
/* The mean over one axis meets the other one: [7, 7] / [1, 7]. */
static tb_value *norm_of_other_axis(maker *m, tb_value *x) {
    tb_value *axes, *row, *z = maker_input(m, "z", 2, (int64_t[]){K, K});
    (void)x;
    tb_build_ints(&m->b, &axes, 1, (int64_t[]){-1}, &m->error);
    tb_build_ints(&m->b, &row, 2, (int64_t[]){1, K}, &m->error);
    tb_value *square = op(m, TB_OP_Mul, z, z);
    tb_value *mean = maker_op(m, TB_OP_ReduceMean, 2, (tb_value *[]){square, axes}, 1,
                              &TB_INT_ATTR("keepdims", 0));
    mean = op(m, TB_OP_Reshape, mean, row);
    return op(m, TB_OP_Div, z, op(m, TB_OP_Sqrt, mean, NULL));
}
static tb_value *scale_over_tokens(maker *m, tb_value *x) {
    tb_value *ones = maker_tensor(m, 1, (int64_t[]){K}, 1, 1);
    tb_value *y = op(m, TB_OP_RMSNormalization, x, ones);
    return op(m, TB_OP_Mul, y, tensor(m, 3, (int64_t[]){1, 5, K}));
}
static tb_value *scaled_twice(maker *m, tb_value *x) {
    tb_value *y = op(m, TB_OP_RMSNormalization, x, tensor(m, 1, (int64_t[]){K}));
    return op(m, TB_OP_Mul, y, tensor(m, 1, (int64_t[]){K}));
}
/* Divided after the product by sums that are broadcast to more samples than there are: Softmax·V
 * has fewer. What is refused leaves the nodes as they were. */
static tb_value *sums_of_more_samples(maker *m, tb_value *x) {
    tb_value *axes, *shape, *values = maker_input(m, "values", 2, (int64_t[]){K, N});
    tb_build_ints(&m->b, &axes, 1, (int64_t[]){-1}, &m->error);
    tb_build_ints(&m->b, &shape, 4, (int64_t[]){3, 2, 5, 1}, &m->error);
    tb_value *e = op(m, TB_OP_Exp, x, NULL), *y = op(m, TB_OP_MatMul, e, values);
    return op(m, TB_OP_Div, y, op(m, TB_OP_Expand, op(m, TB_OP_ReduceSum, e, axes), shape));
}

static const expectation expectations[] = {
    {"Gemm", gemm_plain, 1, "Reshape Linear"},
    {"Gemm, transposed weight and factors", gemm_transposed, 1, "Reshape Linear"},
    {"Gemm with one number as bias", gemm_scalar_bias, 1, "Reshape Linear"},
    {"Gemm of columns", gemm_of_columns, 1, "Reshape Transpose Linear"},
    {"Gemm with a residual", gemm_residual, 1, "Reshape Linear Mul Add"},
    {"Gemm with a table", gemm_table, 1, "Reshape Linear Add"},
    {"Gemm of activations", gemm_of_activations, 1, "Reshape Tanh Transpose MatMul Mul"},
    {"Gemm, constant first", gemm_constant_first, 1, "Reshape MatMul"},
    {"MatMul, constant first", constant_first, 0, "MatMul"},
    {"a weight for each sample", many_weights, 0, "MatMul"},
    {"a weight of higher rank than x", wider_weight, 0, "Reshape MatMul"},
    {"bias after a transposed weight", transposed_bias, 1, "Linear"},
    {"a position table is no bias", position_table, 1, "Linear Add"},
    {"an offset of tokens is no bias", token_offset, 1, "Linear Add"},
    {"an expanded bias", expanded_bias, 2, "Linear"},
    {"a bias that adds an axis", widening_bias, 1, "Linear Add"},
    {"two biases", two_biases, 2, "Linear Add"},
    {"bias minus product", negated_bias, 1, "Linear Sub"},
    {"instances are rows", instance_rows, 3, "LayerNormalization"},
    {"channels in groups", channel_groups, 2, "GroupNormalization"},
    {"groups with scales of their own", groups_uneven, 0,
     "Reshape InstanceNormalization Reshape Mul Add"},
    {"groups scaled along another axis", groups_other_axis, 3, "LayerNormalization"},
    {"instances with scales of their own", instance_uneven, 0,
     "Reshape InstanceNormalization Reshape"},
    {"instances are no rows", instance_groups, 0, "Reshape InstanceNormalization Reshape"},
    {"LayerNormalization, subtracted twice", layer_norm_twice, 3, "LayerNormalization Add"},
    {"variance of another value", layer_norm_of_two, 0,
     "ReduceMean Sub ReduceMean Sub Mul ReduceMean Sqrt Div"},
    {"a mean that meets another axis", norm_of_other_axis, 0, "Mul ReduceMean Reshape Sqrt Div"},
    {"a scale that varies over tokens", scale_over_tokens, 0, "RMSNormalization Mul"},
    {"a second scale", scaled_twice, 0, "RMSNormalization Mul"},
    {"sums of more samples than rows", sums_of_more_samples, 0, "Exp MatMul ReduceSum Expand Div"},
};

static const char *ops_of(const tb_graph *graph, char *text, size_t capacity) {
    size_t used = 0;
    text[0] = '\0';
    for (const tb_node *node = graph->first; node && used < capacity; node = node->next)
        used +=
            (size_t)snprintf(text + used, capacity - used, "%s%s", used ? " " : "", node->op_type);
    return text;
}

static void run_expectation(const expectation *e, uint64_t seed) {
    maker m[2];
    tb_value *out[2];
    tb_rewrite_log log = {0};
    char text[512];
    for (int i = 0; i < 2; i++) {
        maker_begin(&m[i], NULL, seed, NO_MUTATION, 0);
        out[i] = e->make(&m[i], maker_input(&m[i], "x", 3, m[i].dims));
        CHECK_CASE(out[i], "%s: %s", e->name, m[i].error.message);
        maker_output(&m[i], out[i]);
        out[i]->name = "the output";
        if (i == 1)
            CHECK_CASE(tb_raise(m[i].b.graph, &m[i].exec, &log, -1, &m[i].error) == TIBA_OK,
                       "%s: %s", e->name, m[i].error.message);
        if (i == 1) CHECK_STRING(ops_of(m[i].b.graph, text, sizeof text), e->ops);
        CHECK(interpret_run(m[i].b.graph, m[i].arena, &m[i].exec, m[i].b.graph->n_inputs,
                            m[i].feeds, &m[i].error) == TIBA_OK);
        out[i] = m[i].b.graph->outputs[0];
    }
    CHECK_CASE(log.count == e->rewrites, "%s: %d rewrites", e->name, log.count);
    CHECK_STRING(out[1]->name, "the output");
    CHECK(out[1]->is_output && tb_same_shape(&out[0]->t, &out[1]->t));
    for (int64_t i = 0; i < tb_tensor_count(&out[0]->t); i++)
        CHECK_NEAR(tb_get_f64(&out[1]->t, i), tb_get_f64(&out[0]->t, i), 2e-5);
    maker_end(&m[0]);
    maker_end(&m[1]);
}

/* --- the log ------------------------------------------------------------------------------ */

static tb_value *with_origin(maker *m, const char *origin, tb_op_kind kind, tb_value *a,
                             tb_value *b) {
    m->b.origin = origin;
    return op(m, kind, a, b);
}

static void test_log(void) {
    static const char *const steps[] = {"linear", "linear-bias", "swish"};
    for (int limit = 0; limit <= 4; limit++) {
        maker m;
        tb_rewrite_log log = {0};
        maker_begin(&m, NULL, 5, NO_MUTATION, 0);
        tb_value *x = maker_input(&m, "x", 3, m.dims);
        tb_value *y = with_origin(&m, "fc", TB_OP_MatMul, x, weight(&m));
        y = with_origin(&m, "bias", TB_OP_Add, y, tensor(&m, 1, (int64_t[]){N}));
        tb_value *gate = with_origin(&m, "gate,fc", TB_OP_Sigmoid, y, NULL);
        maker_output(&m, with_origin(&m, "act", TB_OP_Mul, gate, y));
        CHECK(tb_raise(m.b.graph, &m.exec, &log, limit < 4 ? limit : -1, &m.error) == TIBA_OK);
        CHECK_CASE(log.count == (limit < 3 ? limit : 3), "limit %d: %d", limit, log.count);
        for (int i = 0; i < log.count; i++) CHECK_STRING(log.entries[i].pattern, steps[i]);
        if (log.count == 3) {
            CHECK_STRING(log.entries[0].origin, "fc");
            CHECK_STRING(log.entries[1].origin, "bias,fc");
            CHECK_STRING(log.entries[2].origin, "gate,fc,act");
            CHECK_STRING(m.b.graph->last->origin, "gate,fc,act");
            CHECK_STRING(m.b.graph->first->origin, "bias,fc");
        }
        maker_end(&m);
    }
}

/* Names are kept whole up to 16 KB. */
static void test_long_origin(size_t length, bool cut) {
    maker m;
    static char names[4][6000];
    maker_begin(&m, NULL, 6, NO_MUTATION, 0);
    tb_value *x = maker_input(&m, "x", 3, m.dims), *y = x;
    for (int i = 0; i < 4; i++) {
        memset(names[i], 'a' + i, length);
        names[i][length] = '\0';
    }
    y = with_origin(&m, names[0], TB_OP_Exp, with_origin(&m, names[1], TB_OP_Neg, x, NULL), NULL);
    y = with_origin(&m, names[2], TB_OP_Add, y, maker_number(&m, 1));
    maker_output(&m, with_origin(&m, names[3], TB_OP_Reciprocal, y, NULL));
    CHECK(tb_raise(m.b.graph, &m.exec, NULL, -1, &m.error) == TIBA_OK);
    const char *origin = m.b.graph->last->origin;
    size_t n = strlen(origin);
    if (cut)
        CHECK(n < 17000 && strcmp(origin + n - 4, ",...") == 0);
    else
        CHECK(n == 4 * length + 3);
    maker_end(&m);
}

/* --- the zoo ------------------------------------------------------------------------------ */

static bool verbose;

static int count_ops(const tb_graph *graph, tb_op_kind kind) {
    int n = 0;
    for (const tb_node *node = graph->first; node; node = node->next) n += tb_is(node, kind);
    return n;
}

static void print_model(const zoo_model *m, const tb_rewrite_log *log, double ms, int before) {
    const tb_graph *graph = m->bound->graph;
    printf("%s: %d nodes -> %d by %d rewrites in %.2f ms:", m->name, before, graph->n_nodes,
           log->count, ms);
    for (int i = 0; i < TB_OP_COUNT; i++) {
        int n = count_ops(graph, (tb_op_kind)i);
        if (n) printf(" %s %d", tb_ops[i].name, n);
    }
    printf("\n");
}

/* The raised graph still gives the model's outputs. */
static void check_outputs(zoo_model *m) {
    bool rough = strstr(m->name, "-fp16") || strstr(m->name, "-int8");
    tb_graph *graph = m->bound->graph;
    tiba_status status = interpret_run(graph, m->arena, &m->exec, m->n_feeds, m->feeds, &m->error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", m->name, m->error.message);
    for (int i = 0; status == TIBA_OK && i < graph->n_outputs; i++) {
        char path[1280];
        tiba_tensor want;
        snprintf(path, sizeof path, "%s/output.%s.npy", m->folder, graph->outputs[i]->name);
        if (!tb_is_file(path)) continue;
        CHECK(tb_npy_read(&want, m->arena, path, &m->error) == TIBA_OK);
        double off = 0, size = 1e-30;
        CHECK_CASE(tb_same_shape(&want, &graph->outputs[i]->t), "%s", m->name);
        for (int64_t k = 0; k < tb_tensor_count(&want); k++) {
            double w = tb_get_f64(&want, k);
            off = fmax(off, fabs(tb_get_f64(&graph->outputs[i]->t, k) - w));
            size = fmax(size, fabs(w));
        }
        CHECK_CASE(off <= (rough ? 2e-2 : 1e-4) * size, "%s: %s is off by %g", m->name,
                   graph->outputs[i]->name, off / size);
    }
}

static void visit_model(zoo_model *m) {
    /* What the zoo's models never have but as a part of what is raised. */
    static const tb_op_kind raised[] = {TB_OP_Erf, TB_OP_Gemm, TB_OP_Sqrt, TB_OP_Reciprocal,
                                        TB_OP_Sigmoid};
    if (!m->bound) {
        CHECK_CASE(false, "%s: %s", m->name, m->error.message);
        return;
    }
    struct timespec start, end;
    tb_rewrite_log log = {0};
    int before = m->bound->graph->n_nodes;
    clock_gettime(CLOCK_MONOTONIC, &start);
    CHECK_CASE(tb_raise(m->bound->graph, &m->exec, &log, -1, &m->error) == TIBA_OK, "%s: %s",
               m->name, m->error.message);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (verbose)
        print_model(m, &log,
                    (double)(end.tv_sec - start.tv_sec) * 1e3 +
                        (double)(end.tv_nsec - start.tv_nsec) * 1e-6,
                    before);
    check_outputs(m);
    /* Quantising between the steps of a function makes it another one. */
    if (strstr(m->name, "-int8qdq")) return;
    for (size_t i = 0; i < sizeof raised / sizeof raised[0]; i++)
        CHECK_CASE(count_ops(m->bound->graph, raised[i]) == 0, "%s: %s is left", m->name,
                   tb_ops[raised[i]].name);
    int norms = count_ops(m->bound->graph, TB_OP_LayerNormalization) +
                count_ops(m->bound->graph, TB_OP_RMSNormalization);
    CHECK_CASE(norms >= 7, "%s: %d normalisations", m->name, norms);
}

int main(int argc, char **argv) {
    verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    for (size_t i = 0; i < sizeof expectations / sizeof expectations[0]; i++)
        run_expectation(&expectations[i], 11 + i);
    test_log();
    test_long_origin(199, false);
    test_long_origin(5000, true);
    if (zoo_visit(argc > 2 ? argv[2] : "", visit_model) == 0) printf("no zoo: skipped\n");
    TEST_END();
}
