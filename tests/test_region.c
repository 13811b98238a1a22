/*
 * Regions: whatever the patterns can spell is recognised as a function or normalisation of x
 * without them; residual connections, statistics that are read elsewhere, mixing of axes and
 * operands that come from somewhere else are not.
 */
#include "graph/region.h"
#include "graph/unshare.h"
#include "tests/check.h"
#include "tests/pattern_maker.h"

enum { GRAPHS = 200 };

/* From the exit back to the first value that is not certainly a function of another one. */
static const tb_value *follow_back(const tb_regions *regions, const tb_value *value) {
    while (value->producer) {
        const tb_node *node = value->producer;
        int index = regions->of_node[node->id];
        int active = 0;
        const tb_value *only = NULL;
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] && node->in[i]->active) active++, only = node->in[i];
        if (index >= 0 && regions->list[index].exit == value)
            value = regions->list[index].entry;
        else if (index < 0 && active == 1 && tb_same_shape(&only->t, &value->t) &&
                 node->op->class != TB_CLASS_REDUCE && node->op->class != TB_CLASS_CONTRACT)
            value = only;
        else
            break;
    }
    return value;
}

static tb_regions *find_regions(maker *m) {
    tb_regions *regions = NULL;
    tiba_status status = tb_regions_find(&regions, m->b.graph, m->arena, &m->error);
    CHECK_CASE(status == TIBA_OK, "%s", m->error.message);
    return regions;
}

/* The lists agree with each other, and no inner value is read outside. */
static void check_lists(const tb_graph *graph, const tb_regions *regions, const char *what) {
    int listed = 0, marked = 0;
    for (int i = 0; i < regions->n; i++) {
        const tb_region *region = &regions->list[i];
        for (int k = 0; k < region->exit->t.rank; k++) {
            int from = region->axis[k];
            CHECK_CASE(region->turned || from == k, "%s", what);
            CHECK_CASE(region->exit->t.dims[k] == region->entry->t.dims[from], "%s", what);
        }
        for (int k = 0; k < region->n_nodes; k++) {
            const tb_value *out = region->nodes[k]->out[0];
            listed++;
            CHECK_CASE(regions->of_node[region->nodes[k]->id] == i, "%s", what);
            for (int u = 0; u < out->n_uses && out != region->exit; u++)
                CHECK_CASE(regions->of_node[out->uses[u].node->id] == i ||
                               !tb_carries_on(out->uses[u].node),
                           "%s", what);
            CHECK_CASE(out == region->exit || !out->is_output, "%s", what);
        }
    }
    for (const tb_node *node = graph->first; node; node = node->next)
        marked += regions->of_node[node->id] >= 0;
    CHECK_CASE(listed == marked, "%s: %d nodes listed, %d marked", what, listed, marked);
}

static void test_spellings(const tb_pattern *pattern, int number) {
    static maker_coverage coverage;
    coverage = (maker_coverage){0};
    for (int k = 0; k < GRAPHS; k++) {
        maker m;
        uint64_t seed = 0x2545f4914f6cdd1dU * (uint64_t)(1 + k + 1000 * number);
        if (!maker_make(&m, pattern, seed, NO_MUTATION, 0, &coverage)) continue;
        tb_regions *regions = find_regions(&m);
        if (regions && m.b.graph->n_inputs == 1 && !m.by_row) {
            const tb_value *start = follow_back(regions, m.outputs[0]);
            CHECK_CASE(start == m.inputs[0], "%s: seed %llu: stops at a %s", pattern->name,
                       (unsigned long long)seed,
                       start->producer ? start->producer->op_type : "constant");
            check_lists(m.b.graph, regions, pattern->name);
        }
        maker_end(&m);
    }
}

/* --- single graphs ------------------------------------------------------------------------ */

static tb_value *op(maker *m, tb_op_kind kind, tb_value *a, tb_value *b) {
    return maker_op(m, kind, b ? 2 : 1, (tb_value *[]){a, b}, 0, NULL);
}

static tb_value *reduce(maker *m, tb_op_kind kind, tb_value *x, int64_t axis, bool keep) {
    tb_value *axes;
    tb_build_ints(&m->b, &axes, 1, &axis, &m->error);
    return maker_op(m, kind, 2, (tb_value *[]){x, axes}, 1, &TB_INT_ATTR("keepdims", keep));
}

static tb_value *number(maker *m, double v) {
    return maker_tensor(m, 0, NULL, v, v);
}

typedef tb_value *make_fn(maker *m, tb_value *x);

static tb_value *residual(maker *m, tb_value *x) {
    return op(m, TB_OP_Add, x, op(m, TB_OP_Gelu, x, NULL));
}
static tb_value *residual_of_norm(maker *m, tb_value *x) {
    tb_value *norm = op(m, TB_OP_Div, x, reduce(m, TB_OP_ReduceL2, x, -1, true));
    return op(m, TB_OP_Add, op(m, TB_OP_Identity, x, NULL), norm);
}
static tb_value *doubled(maker *m, tb_value *x) {
    return op(m, TB_OP_Add, x, x);
}
static tb_value *clipped_norm(maker *m, tb_value *x) {
    tb_value *norm = reduce(m, TB_OP_ReduceL2, x, -1, true);
    norm = maker_op(m, TB_OP_Clip, 2, (tb_value *[]){norm, number(m, 1e-12)}, 0, NULL);
    return op(m, TB_OP_Div, x, norm);
}
static tb_value *std_plus_epsilon(maker *m, tb_value *x) {
    tb_value *d = op(m, TB_OP_Sub, x, reduce(m, TB_OP_ReduceMean, x, 1, true));
    tb_value *var = reduce(m, TB_OP_ReduceMean, op(m, TB_OP_Mul, d, d), 1, true);
    tb_value *std = op(m, TB_OP_Add, op(m, TB_OP_Sqrt, var, NULL), number(m, 1e-3));
    return op(m, TB_OP_Div, d, std);
}
static tb_value *square(maker *m, tb_value *x) {
    return op(m, TB_OP_Mul, op(m, TB_OP_Relu, x, NULL), op(m, TB_OP_Relu, x, NULL));
}
/* x [2, 7, 7]: the mean over one axis meets another one. */
static tb_value *mixed_axes(maker *m, tb_value *x) {
    tb_value *rows = maker_input(m, "z", 2, (int64_t[]){7, 7});
    (void)x;
    return op(m, TB_OP_Sub, rows, reduce(m, TB_OP_ReduceMean, rows, 1, false));
}
static tb_value *position(maker *m, tb_value *x) {
    tb_value *table = maker_tensor(m, 3, (int64_t[]){1, 5, 7}, -1, 1);
    return op(m, TB_OP_Mul, x, op(m, TB_OP_Tanh, op(m, TB_OP_Add, x, table), NULL));
}
static tb_value *row_constant(maker *m, tb_value *x) {
    tb_value *row = maker_tensor(m, 1, (int64_t[]){7}, -1, 1);
    return op(m, TB_OP_Mul, x, op(m, TB_OP_Tanh, op(m, TB_OP_Mul, x, row), NULL));
}
static tb_value *other_input(maker *m, tb_value *x) {
    tb_value *z = maker_input(m, "z", 3, m->dims);
    return op(m, TB_OP_Mul, x, op(m, TB_OP_Sigmoid, z, NULL));
}
static tb_value *read_outside(maker *m, tb_value *x) {
    tb_value *mean = reduce(m, TB_OP_ReduceMean, x, -1, true);
    maker_output(m, op(m, TB_OP_Exp, mean, NULL));
    return op(m, TB_OP_Sub, x, mean);
}
static tb_value *inner_output(maker *m, tb_value *x) {
    tb_value *gate = op(m, TB_OP_Sigmoid, x, NULL);
    maker_output(m, gate);
    return op(m, TB_OP_Mul, x, gate);
}
static tb_value *contraction(maker *m, tb_value *x) {
    tb_value *w = maker_tensor(m, 2, (int64_t[]){7, 7}, -1, 1);
    return op(m, TB_OP_Mul, x, op(m, TB_OP_MatMul, x, w));
}
static tb_value *softmax_gate(maker *m, tb_value *x) {
    return op(m, TB_OP_Mul, x, op(m, TB_OP_Softmax, x, NULL));
}
static tb_value *moved(maker *m, tb_value *x) {
    const int64_t order[3] = {0, 2, 1};
    tb_value *z = maker_input(m, "z", 3, (int64_t[]){2, 7, 7});
    (void)x;
    return op(m, TB_OP_Mul, z,
              maker_op(m, TB_OP_Transpose, 1, &z, 1, &TB_INTS_ATTR("perm", 3, order)));
}
/* Only statistics of x reach the exit: nothing of x's own place is left. */
static tb_value *statistics(maker *m, tb_value *x) {
    tb_value *shape;
    tb_build_ints(&m->b, &shape, 3, m->dims, &m->error);
    tb_value *mean = reduce(m, TB_OP_ReduceMean, x, -1, true);
    tb_value *wide = op(m, TB_OP_Expand, mean, shape);
    return op(m, TB_OP_Mul, wide, reduce(m, TB_OP_ReduceMax, x, -1, true));
}
/* Probabilities that are divided by their sum again, or by 1 where it is 0. */
static tb_value *renormalised(maker *m, tb_value *x) {
    tb_value *sum = reduce(m, TB_OP_ReduceSum, x, -1, true);
    tb_value *any = op(m, TB_OP_Greater, sum, number(m, 0));
    tb_value *by = maker_op(m, TB_OP_Where, 3, (tb_value *[]){any, sum, number(m, 1)}, 0, NULL);
    return op(m, TB_OP_Div, x, by);
}
/* A residual connection inside of what is a function of it. */
static tb_value *after_residual(maker *m, tb_value *x) {
    tb_value *y = residual(m, x);
    return op(m, TB_OP_Mul, y, op(m, TB_OP_Sigmoid, y, NULL));
}
static tb_value *whole_mean(maker *m, tb_value *x) {
    tb_value *mean = maker_op(m, TB_OP_ReduceMean, 1, &x, 1, &TB_INT_ATTR("keepdims", 0));
    return op(m, TB_OP_Sub, x, mean);
}
static tb_value *squeezed(maker *m, tb_value *x) {
    tb_value *axis, *sum = reduce(m, TB_OP_ReduceSum, op(m, TB_OP_Exp, x, NULL), -1, true);
    tb_build_ints(&m->b, &axis, 1, (int64_t[]){-1}, &m->error);
    sum = op(m, TB_OP_Log, op(m, TB_OP_Squeeze, sum, axis), NULL);
    return op(m, TB_OP_Sub, x, op(m, TB_OP_Unsqueeze, sum, axis));
}

static tb_value *turned(maker *m, tb_value *x, int64_t a, int64_t b, int64_t c) {
    const int64_t order[3] = {a, b, c};
    return maker_op(m, TB_OP_Transpose, 1, &x, 1, &TB_INTS_ATTR("perm", 3, order));
}
/* A tool moved the Transpose in front of the division up to the norm alone, and back again. */
static tb_value *turned_norm(maker *m, tb_value *x) {
    tb_value *norm = turned(m, reduce(m, TB_OP_ReduceL2, x, -1, true), 2, 0, 1);
    norm = maker_op(m, TB_OP_Clip, 2, (tb_value *[]){norm, number(m, 1e-12)}, 0, NULL);
    return op(m, TB_OP_Div, x, turned(m, norm, 1, 2, 0));
}
static tb_value *turned_mean(maker *m, tb_value *x) {
    tb_value *mean = reduce(m, TB_OP_ReduceMean, turned(m, x, 1, 2, 0), 1, true);
    return op(m, TB_OP_Sub, x, turned(m, mean, 2, 0, 1));
}
static tb_value *turned_exit(maker *m, tb_value *x) {
    tb_value *norm = turned(m, reduce(m, TB_OP_ReduceL2, x, -1, true), 1, 2, 0);
    return op(m, TB_OP_Div, turned(m, x, 1, 2, 0), norm);
}
static tb_value *turned_residual(maker *m, tb_value *x) {
    return op(m, TB_OP_Add, turned(m, x, 1, 2, 0), turned(m, op(m, TB_OP_Gelu, x, NULL), 1, 2, 0));
}
static tb_value *turned_position(maker *m, tb_value *x) {
    tb_value *table = maker_tensor(m, 3, (int64_t[]){5, 7, 1}, -1, 1);
    tb_value *gate = op(m, TB_OP_Tanh, op(m, TB_OP_Mul, turned(m, x, 1, 2, 0), table), NULL);
    return op(m, TB_OP_Mul, x, turned(m, gate, 2, 0, 1));
}
static tb_value *not_turned_back(maker *m, tb_value *x) {
    tb_value *z = maker_input(m, "z", 3, (int64_t[]){7, 7, 7});
    (void)x;
    return op(m, TB_OP_Div, z, turned(m, reduce(m, TB_OP_ReduceL2, z, -1, true), 1, 0, 2));
}

static tb_value *quantised(maker *m, tb_value *x) {
    tb_value *scale = number(m, 0.1), *zero = number(m, 0);
    tb_value *q = maker_op(m, TB_OP_QuantizeLinear, 3, (tb_value *[]){x, scale, zero}, 0, NULL);
    return maker_op(m, TB_OP_DequantizeLinear, 3, (tb_value *[]){q, scale, zero}, 0, NULL);
}
static tb_value *quantised_norm(maker *m, tb_value *x) {
    tb_value *mean = quantised(m, reduce(m, TB_OP_ReduceMean, x, -1, true));
    tb_value *d = quantised(m, op(m, TB_OP_Sub, x, mean));
    tb_value *var = quantised(m, reduce(m, TB_OP_ReduceMean, op(m, TB_OP_Mul, d, d), -1, true));
    return quantised(m, op(m, TB_OP_Div, d, op(m, TB_OP_Sqrt, var, NULL)));
}

static const struct {
    const char *name;
    make_fn *make;
    int regions;
    bool to_input; /* the way back ends at x */
} cases[] = {
    {"x + gelu(x)", residual, 0, false},
    {"x + x/|x|", residual_of_norm, 1, false},
    {"x + x", doubled, 0, false},
    {"x / max(|x|, eps)", clipped_norm, 1, true},
    {"(x - m) / (s + eps) along axis 1", std_plus_epsilon, 2, true},
    {"a norm with quantised steps", quantised_norm, 2, true},
    {"relu(x) relu(x)", square, 1, true},
    {"mean over one axis, read along the other", mixed_axes, 0, false},
    {"a constant that varies over tokens", position, 0, false},
    {"a constant that varies over features", row_constant, 1, true},
    {"a gate from another input", other_input, 0, false},
    {"a mean that is read elsewhere", read_outside, 0, false},
    {"a gate that is an output", inner_output, 0, false},
    {"a gate through a weight", contraction, 0, false},
    {"a gate through Softmax", softmax_gate, 0, false},
    {"x times its transpose", moved, 0, false},
    {"statistics only", statistics, 0, false},
    {"a gate after a residual", after_residual, 1, false},
    {"mean of everything", whole_mean, 1, true},
    {"statistics without their axis", squeezed, 1, true},
    {"a norm that was turned and turned back", turned_norm, 1, true},
    {"a mean along an axis in another place", turned_mean, 1, true},
    {"a norm of x that divides its transpose", turned_exit, 1, true},
    {"x + gelu(x), both turned", turned_residual, 0, false},
    {"a constant that varies over turned tokens", turned_position, 0, false},
    {"a norm of other tokens", not_turned_back, 0, false},
    {"x / sum(x), where that is not 0", renormalised, 1, true},
};

static void test_cases(void) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m;
        maker_begin(&m, NULL, 1 + i, NO_MUTATION, 0);
        tb_value *x = maker_input(&m, "x", 3, m.dims);
        tb_value *y = cases[i].make(&m, x);
        CHECK_CASE(y && !y->t.data, "%s: %s", cases[i].name, m.error.message);
        if (y) {
            maker_output(&m, y);
            tb_regions *regions = find_regions(&m);
            CHECK_CASE(regions->n == cases[i].regions, "%s: %d regions", cases[i].name, regions->n);
            CHECK_CASE((follow_back(regions, y) == x) == cases[i].to_input, "%s", cases[i].name);
            check_lists(m.b.graph, regions, cases[i].name);
        }
        maker_end(&m);
    }
}

/* x scale - mean scale, from statistics that others read as well. */
static tb_value *norm_of(maker *m, tb_value *x, tb_value *mean, tb_value *inverse) {
    tb_value *scale = op(m, TB_OP_Mul, inverse, maker_tensor(m, 1, (int64_t[]){7}, 0.5, 2));
    tb_value *shift = op(m, TB_OP_Mul, op(m, TB_OP_Neg, mean, NULL), scale);
    return op(m, TB_OP_Add, op(m, TB_OP_Mul, x, scale), shift);
}

/* Norms of one x that share its mean and variance get their own, and so does what else reads these.
 */
static void test_shared(int norms, bool read_outside, int regions_after) {
    maker m;
    maker_begin(&m, NULL, 7, NO_MUTATION, 0);
    tb_value *x = maker_input(&m, "x", 3, m.dims);
    tb_value *mean = reduce(&m, TB_OP_ReduceMean, x, -1, true);
    tb_value *d = op(&m, TB_OP_Sub, x, mean);
    tb_value *var = reduce(&m, TB_OP_ReduceMean, op(&m, TB_OP_Mul, d, d), -1, true);
    tb_value *inverse = op(&m, TB_OP_Reciprocal, op(&m, TB_OP_Sqrt, var, NULL), NULL);
    tb_value *y[3];
    for (int i = 0; i < norms; i++) maker_output(&m, y[i] = norm_of(&m, x, mean, inverse));
    if (read_outside) maker_output(&m, op(&m, TB_OP_Exp, mean, NULL));
    CHECK((follow_back(find_regions(&m), y[0]) == x) == (norms == 1 && !read_outside));
    CHECK(tb_unshare_regions(m.b.graph, &m.exec, &m.error) == TIBA_OK);
    tb_regions *regions = find_regions(&m);
    CHECK_CASE(regions->n == regions_after, "%d regions", regions->n);
    for (int i = 0; i < norms; i++) CHECK(follow_back(regions, y[i]) == x);
    check_lists(m.b.graph, regions, "shared statistics");
    maker_end(&m);
}

int main(void) {
    test_cases();
    test_shared(1, false, 1);
    test_shared(2, false, 2);
    test_shared(3, false, 3);
    test_shared(1, true, 1);
    test_shared(2, true, 2);
    int number = 0;
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < tb_raise_tables[t]->count; i++)
            if (tb_raise_tables[t] != &tb_raise_linear &&
                !maker_needs_shapes(tb_raise_tables[t]->patterns[i].term))
                test_spellings(&tb_raise_tables[t]->patterns[i], number++);
    TEST_END();
}
