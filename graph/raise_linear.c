/*
 * raise_linear.c: tiba.Linear out of MatMul, Gemm and Add with constants; Gemm of two activations
 * becomes MatMul.
 *
 * A row of equal numbers in front of a value and a column of them behind it are no weights: they
 * make sums and means of tokens or features. A constant in front whose rows have a 1 each and are 0
 * else takes rows as they are: that is Gather.
 *
 * A bias is a constant that varies along the last axis only. One that varies along others (a
 * position embedding) stays in an Add of its own.
 */
#include <math.h>
#include <string.h>

#include "graph/raise.h"

#define X      ANY("x")
#define WEIGHT CONSTANT("w", TB_FOR_WEIGHT)
#define BIAS   CONSTANT("b", TB_FOR_BIAS)

/* Elements of a Linear's output row. */
static int64_t row_length(const tb_match *match) {
    const tiba_tensor *out = &match->root->out[0]->t;
    return out->rank > 0 ? out->dims[out->rank - 1] : 1;
}

static bool is_matrix(const tb_value *value) {
    const tiba_tensor *t = &value->t;
    if (t->dtype != TIBA_FLOAT32 || t->rank < 2) return false;
    for (int i = 0; i < t->rank - 2; i++)
        if (t->dims[i] != 1) return false;
    return true;
}

static bool check_matmul(const tb_match *match) {
    const tb_value *x = tb_match_value(match, "x"), *w = tb_match_value(match, "w");
    return is_matrix(w) && x->t.rank >= w->t.rank && x->t.rank >= 2 && !x->t.data;
}

/* [1, …, 1, k, n] is seen as [k, n]: the same data under another shape. */
static tiba_status flatten_weight(tb_builder *builder, tb_match *match, tiba_error *error) {
    tb_value *w = tb_match_value(match, "w");
    if (w->t.rank == 2) return TIBA_OK;
    tb_value *flat = tb_graph_value(builder->graph, w->name);
    if (!flat) return tb_out_of_memory(error);
    flat->t = w->t;
    flat->t.rank = 2;
    memmove(flat->t.dims, w->t.dims + w->t.rank - 2, 2 * sizeof flat->t.dims[0]);
    flat->step = w->step;
    flat->step_axis = w->step_axis - (w->t.rank - 2);
    tb_match_bind(match, "w", flat);
    return TIBA_OK;
}

/* The bias as a vector of `n`, each element times `factor`. */
static tiba_status bias_vector(tb_value **out, tb_builder *builder, const tb_value *bias, int64_t n,
                               double factor, tiba_error *error) {
    int64_t length;
    if (!tb_row_constant(bias, &length) || n < 1)
        return tb_fail(error, TIBA_ERROR_INPUT, "%s is not a bias", bias->name);
    float *data = tb_calloc(builder->exec->budget, (size_t)n, sizeof *data);
    if (!data) return tb_out_of_memory(error);
    const float *row = bias->t.data;
    for (int64_t i = 0; i < n; i++) data[i] = (float)(factor * (double)row[length == 1 ? 0 : i]);
    tiba_status status = tb_build_constant(builder, out, TIBA_FLOAT32, 1, &n, data, error);
    tb_free(data);
    return status;
}

static bool is_bias_of_row(const tb_value *bias, int64_t n) {
    int64_t length;
    return n >= 1 && tb_row_constant(bias, &length) && (length == 1 || length == n);
}

/* The Add must not widen the Linear's shape. */
static bool check_bias(const tb_match *match) {
    const tb_value *y = tb_match_value(match, "y");
    return tb_same_shape(&y->t, &match->root->out[0]->t) &&
           is_bias_of_row(tb_match_value(match, "b"), row_length(match));
}

static tiba_status add_bias(tb_builder *builder, tb_match *match, tiba_error *error) {
    tb_value *b = tb_match_value(match, "b"), *vector;
    double sign = tb_is(match->root, TB_OP_Sub) ? -1 : 1;
    TB_TRY(bias_vector(&vector, builder, b, row_length(match), sign, error));
    tb_match_bind(match, "b", vector);
    return TIBA_OK;
}

static tiba_status scale(tb_value **value, tb_builder *builder, double factor, tiba_error *error) {
    if (factor == 1) return TIBA_OK;
    tb_value *by;
    TB_TRY(tb_build_scalar(builder, &by, (float)factor, error));
    return tb_build1(builder, value, TB_OP_Mul, 2, (tb_value *[]){*value, by}, 0, NULL, error);
}

/* --- rows by their numbers ---------------------------------------------------------------- */

/* The place of the one 1 in row i, -1: it is no such row. */
static int64_t place_of_one(const tiba_tensor *t, int64_t i) {
    int64_t n = t->dims[t->rank - 1], at = -1;
    const float *row = (const float *)t->data + i * n;
    for (int64_t k = 0; k < n; k++) {
        if (row[k] == 0.0f) continue;
        if (row[k] != 1.0f || at >= 0) return -1;
        at = k;
    }
    return at;
}

static bool check_rows(const tb_match *match) {
    const tb_value *x = tb_match_value(match, "x"), *w = tb_match_value(match, "rows");
    if (!is_matrix(w) || x->t.data || x->t.rank < w->t.rank || w->t.dims[w->t.rank - 1] < 2)
        return false;
    for (int64_t i = 0; i < w->t.dims[w->t.rank - 2]; i++)
        if (place_of_one(&w->t, i) < 0) return false;
    return true;
}

static tiba_status build_rows(tb_value **out, tb_builder *builder, tb_match *match,
                              tiba_error *error) {
    tb_value *x = tb_match_value(match, "x"), *w = tb_match_value(match, "rows"), *list;
    int64_t n = w->t.dims[w->t.rank - 2];
    int64_t *places = tb_calloc(builder->exec->budget, (size_t)n + 1, sizeof *places);
    if (!places) return tb_out_of_memory(error);
    for (int64_t i = 0; i < n; i++) places[i] = place_of_one(&w->t, i);
    tiba_status status = tb_build_ints(builder, &list, (int)n, places, error);
    tb_free(places);
    TB_TRY(status);
    tb_attr attr = TB_INT_ATTR("axis", x->t.rank - 2);
    return tb_build1(builder, out, TB_OP_Gather, 2, (tb_value *[]){x, list}, 1, &attr, error);
}

/* --- sums and means ----------------------------------------------------------------------- */

/* The constant is one row (or one column) of equal numbers, not a single one. */
static bool is_even(const tb_value *w, bool row) {
    double number;
    if (!is_matrix(w) || !tb_uniform_constant(w, &number) || number == 0) return false;
    const int64_t *last = w->t.dims + w->t.rank - 2;
    return last[row ? 0 : 1] == 1 && last[row ? 1 : 0] > 1;
}

static bool check_row_sum(const tb_match *match) {
    const tb_value *x = tb_match_value(match, "x"), *w = tb_match_value(match, "even row");
    return is_even(w, true) && !x->t.data && x->t.rank >= w->t.rank;
}

static bool check_sum(const tb_match *match) {
    const tb_value *x = tb_match_value(match, "x"), *w = tb_match_value(match, "even column");
    return is_even(w, false) && !x->t.data && x->t.rank >= w->t.rank;
}

static tiba_status build_sum(tb_value **out, tb_builder *builder, tb_match *match,
                             tiba_error *error) {
    tb_value *x = tb_match_value(match, "x"), *w = tb_match_value(match, "even row"), *axes;
    int64_t axis = x->t.rank - (w ? 2 : 1);
    double number = 0, count = (double)x->t.dims[axis];
    tb_uniform_constant(w ? w : tb_match_value(match, "even column"), &number);
    bool mean = fabs(number * count - 1) < 1e-6;
    TB_TRY(tb_build_ints(builder, &axes, 1, &axis, error));
    tb_attr attr = TB_INT_ATTR("keepdims", 1);
    TB_TRY(tb_build1(builder, out, mean ? TB_OP_ReduceMean : TB_OP_ReduceSum, 2,
                     (tb_value *[]){x, axes}, 1, &attr, error));
    return mean ? TIBA_OK : scale(out, builder, number, error);
}

/* --- Gemm --------------------------------------------------------------------------------- */

static tiba_status transpose(tb_value **value, tb_builder *builder, tiba_error *error) {
    const int64_t order[2] = {1, 0};
    tb_attr attr = TB_INTS_ATTR("perm", 2, order);
    return tb_build1(builder, value, TB_OP_Transpose, 1, (tb_value *[]){*value}, 1, &attr, error);
}

/* alpha A B + beta C: a Linear where B alone is constant, else a MatMul; C is its bias where it can
 * be one, else an operand of Add. The factors go into constants where there are any. */
static tiba_status build_gemm(tb_value **out, tb_builder *builder, tb_match *match,
                              tiba_error *error) {
    tb_value *a = tb_match_value(match, "x"), *b = tb_match_value(match, "w"),
             *c = tb_match_value(match, "c"), *bias = NULL;
    double alpha = tb_match_number(match, "alpha", 1), beta = tb_match_number(match, "beta", 1);
    bool trans_b = tb_match_number(match, "transB", 0) != 0;
    if (tb_match_number(match, "transA", 0) != 0) TB_TRY(transpose(&a, builder, error));
    if (b->t.data && !a->t.data) {
        TB_TRY(scale(&b, builder, alpha, error));
        if (c && is_bias_of_row(c, row_length(match))) {
            TB_TRY(bias_vector(&bias, builder, c, row_length(match), beta, error));
            c = NULL;
        }
        tb_attr attr = TB_INT_ATTR("trans_w", trans_b);
        TB_TRY(tb_build1(builder, out, TB_OP_Linear, bias ? 3 : 2, (tb_value *[]){a, b, bias}, 1,
                         &attr, error));
    } else {
        if (trans_b) TB_TRY(transpose(&b, builder, error));
        if (a->t.data) TB_TRY(scale(&a, builder, alpha, error));
        TB_TRY(tb_build1(builder, out, TB_OP_MatMul, 2, (tb_value *[]){a, b}, 0, NULL, error));
        if (!a->t.data) TB_TRY(scale(out, builder, alpha, error));
    }
    if (!c) return TIBA_OK;
    TB_TRY(scale(&c, builder, beta, error));
    return tb_build1(builder, out, TB_OP_Add, 2, (tb_value *[]){*out, c}, 0, NULL, error);
}

static const tb_term_attr gemm_attrs[] = {
    {"transA", 0, "transA", false},
    {"transB", 0, "transB", false},
    {"alpha", 1, "alpha", true},
    {"beta", 1, "beta", true},
    {0},
};
static const tb_term_attr linear_attrs[] = {{"trans_w", 0, "trans_w", false}, {0}};

static const tb_term unbiased = {.kind = TB_TERM_OP,
                                 .name = "y",
                                 .op = TB_OP_Linear,
                                 .attrs = linear_attrs,
                                 .in = {X, CONSTANT("w", TB_FOR_MATRIX)}};
static const tb_term gemm_2 = {
    .kind = TB_TERM_OP, .op = TB_OP_Gemm, .attrs = gemm_attrs, .in = {X, ANY("w")}};
static const tb_term gemm_3 = {
    .kind = TB_TERM_OP, .op = TB_OP_Gemm, .attrs = gemm_attrs, .in = {X, ANY("w"), ANY("c")}};

/* clang-format off */
static const tb_pattern linears[] = {
    {"sum-of-features", OP(MatMul, X, CONSTANT("even column", TB_FOR_SUM)), .check = check_sum,
     .build = build_sum},
    {"sum-of-rows", OP(MatMul, CONSTANT("even row", TB_FOR_ROW_SUM), X), .check = check_row_sum,
     .build = build_sum},
    {"linear", OP(MatMul, X, WEIGHT), .with = MAKE(Linear, GET("x"), GET("w")),
     .check = check_matmul, .prepare = flatten_weight},
    {"rows", OP(MatMul, CONSTANT("rows", TB_FOR_ROWS), X), .check = check_rows, .build = build_rows},
    {"linear-bias", ONE_OF(OP(Add, &unbiased, BIAS), OP(Sub, &unbiased, BIAS)),
     .with = MAKE_WITH((INT_ATTR_FROM("trans_w", "trans_w")), Linear, GET("x"), GET("w"), GET("b")),
     .check = check_bias, .prepare = add_bias},
    {"gemm", ONE_OF(&gemm_2, &gemm_3), .build = build_gemm},
    {"add", OP(Sum, X, ANY("y")), .with = MAKE(Add, GET("x"), GET("y"))},
};
/* clang-format on */

const tb_pattern_table tb_raise_linear = {linears, sizeof linears / sizeof linears[0]};
