/*
 * raise_softmax.c: Softmax and LogSoftmax written out: exp(x - m) / Σ exp(x - m) with m = max(x) or
 * m = 0, and x - log Σ exp(x). An attention may divide by the sum after the product with its
 * values, which is linear: (E·V) / Σ E = (E / Σ E)·V.
 *
 * A constant in the sum, exp(x) / (Σ exp(x) + n), is a key without a value, whose score log n is
 * the sink: the softmax of x and log n side by side, less its last element. Where the exponentials
 * are shifted by any m that is the same along the axis, so is the constant: n exp(-m), or
 * exp(s - m) for the sink s.
 */
#include "graph/raise.h"

#include <math.h>
#include <string.h>

#define X ANY("x")

static const tb_term shifted = ONE_OF_AS_INIT("shifted", OP(Sub, X, ALONG(ReduceMax, X)), X);
static const tb_term exponential = OP_AS_INIT("exponential", Exp, &shifted);
#define SUM_OF_EXPONENTIALS ALONG(ReduceSum, ANY("exponential"))

static bool check_softmax(const tb_match *match) {
    return tb_check_same_shape(match) && (match->axes & (match->axes - 1)) == 0;
}

/* The sums are those of the product's rows. */
static bool check_divided_after(const tb_match *match) {
    const tb_value *e = tb_match_value(match, "exponential");
    const tb_value *values = tb_match_value(match, "values");
    int rank = e->t.rank;
    if (rank < 2 || values->t.rank < 2 || match->axes != 1u << (rank - 1)) return false;
    const tiba_tensor *y = &match->root->out[0]->t;
    return y->rank >= rank && y->dims[y->rank - 2] == e->t.dims[rank - 2] &&
           y->dims[y->rank - 1] == values->t.dims[values->t.rank - 1];
}

/* Does the value broadcast to x's shape with one element along the axis? */
static bool is_along_rows(const tb_value *value, const tiba_tensor *x, unsigned axes) {
    int more = x->rank - value->t.rank;
    for (int i = 0; i < value->t.rank; i++) {
        int64_t most = more + i >= 0 && !(axes >> (more + i) & 1) ? x->dims[more + i] : 1;
        if (value->t.dims[i] != 1 && value->t.dims[i] != most) return false;
    }
    return more >= 0;
}

static bool check_constant(const tb_value *value, const tb_match *match, bool positive) {
    if (!value) return true;
    if (value->t.dtype != TIBA_FLOAT32 ||
        !is_along_rows(value, &tb_match_value(match, "x")->t, match->axes))
        return false;
    const float *data = value->t.data;
    for (int64_t i = tb_tensor_count(&value->t) - 1; i >= 0; i--)
        if (!isfinite(data[i]) || (positive && data[i] <= 0)) return false;
    return true;
}

static bool check_sink(const tb_match *match) {
    const tb_value *shift = tb_match_value(match, "shift");
    const tiba_tensor *x = &tb_match_value(match, "x")->t;
    return (match->axes & (match->axes - 1)) == 0 &&
           tb_same_shape(x, &tb_match_value(match, "exponential")->t) &&
           (!shift || is_along_rows(shift, x, match->axes)) &&
           check_constant(tb_match_value(match, "n"), match, true) &&
           check_constant(tb_match_value(match, "sink"), match, false);
}

static bool check_divided_by_all(const tb_match *match) {
    return tb_check_same_shape(match) && check_sink(match);
}

static bool check_sink_divided_after(const tb_match *match) {
    return check_divided_after(match) && check_sink(match);
}

/* The sink's score for each row, and what is kept of the softmax. */
static tiba_status prepare_sink(tb_builder *builder, tb_match *match, tiba_error *error) {
    const tiba_tensor *x = &tb_match_value(match, "x")->t;
    tb_value *score = tb_match_value(match, "sink"), *n = tb_match_value(match, "n"), *shape;
    int64_t axis = 0, dims[TIBA_MAX_RANK];
    while (!(match->axes >> axis & 1)) axis++;
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = 1;
    if (n)
        TB_TRY(tb_build1(builder, &score, TB_OP_Log, 1, &n, 0, NULL, error));
    else if (!score)
        TB_TRY(tb_build_scalar(builder, &score, 0, error));
    TB_TRY(tb_build_ints(builder, &shape, x->rank, dims, error));
    TB_TRY(
        tb_build1(builder, &score, TB_OP_Expand, 2, (tb_value *[]){score, shape}, 0, NULL, error));
    tb_match_bind(match, "score", score);
    static const char *const names[] = {"from", "to", "along"};
    const int64_t numbers[] = {0, x->dims[axis], axis};
    for (int i = 0; i < 3; i++) {
        tb_value *value;
        TB_TRY(tb_build_ints(builder, &value, 1, &numbers[i], error));
        tb_match_bind(match, names[i], value);
    }
    return TIBA_OK;
}

#define N     CONSTANT("n", TB_FOR_SINK)
#define SHIFT ROWS("shift")

static const tb_term less_shift = OP_INIT(Sub, X, SHIFT);
static const tb_term e_of_x = OP_AS_INIT("exponential", Exp, X);
static const tb_term e_shifted = OP_AS_INIT("exponential", Exp, &less_shift);
static const tb_term e_of_minus_shift =
    OP_INIT(Exp, ONE_OF(OP(Neg, SHIFT), OP(Mul, SHIFT, NUMBER(-1))));
static const tb_term shifted_constant =
    ONE_OF_INIT(&e_of_minus_shift, OP(Mul, N, &e_of_minus_shift), OP(Div, N, OP(Exp, SHIFT)),
                OP(Exp, OP(Sub, CONSTANT("sink", TB_FOR_SINK), SHIFT)));
static const tb_term sum_and_constant = OP_INIT(Add, SUM_OF_EXPONENTIALS, N);
static const tb_term sum_and_shifted = OP_INIT(Add, SUM_OF_EXPONENTIALS, &shifted_constant);

#define OVER(of, sum) OP(Div, of, sum), OP(Mul, of, OP(Reciprocal, sum))
#define PRODUCT_OF(e) OP(MatMul, e, ANY("values"))
#define SOFTMAX_LESS_SINK                                                                          \
    MAKE(Slice,                                                                                    \
         MAKE_WITH((AXIS_ATTR("axis")), Softmax,                                                   \
                   MAKE_WITH((AXIS_ATTR("axis")), Concat, GET("x"), GET("score"))),                \
         GET("from"), GET("to"), GET("along"))

/* clang-format off */
static const tb_pattern softmaxes[] = {
    {"softmax", ONE_OF(OVER(&exponential, SUM_OF_EXPONENTIALS),
                       OP(Exp, ALONG(LogSoftmax, X)),
                       OP(Exp, OP(Sub, X, ALONG(ReduceLogSumExp, X)))),
     .with = MAKE_WITH((AXIS_ATTR("axis")), Softmax, GET("x")),
     .check = check_softmax, .any_axis = true},
    {"log-softmax", ONE_OF(OP(Log, ALONG(Softmax, X)),
                           OP(Sub, X, ALONG(ReduceLogSumExp, X)),
                           OP(Sub, &shifted, OP(Log, ALONG(ReduceSum, OP(Exp, ANY("shifted"))))),
                           OP(Sub, X, OP(Add, OP(Log, ALONG(ReduceSum, OP(Exp, OP(Sub, X, ALONG(ReduceMax, X))))),
                                         ALONG(ReduceMax, X)))),
     .with = MAKE_WITH((AXIS_ATTR("axis")), LogSoftmax, GET("x")),
     .check = check_softmax, .any_axis = true},
    {"softmax-divided-after", ONE_OF(OVER(PRODUCT_OF(&exponential), SUM_OF_EXPONENTIALS)),
     .with = MAKE(MatMul, MAKE_WITH((AXIS_ATTR("axis")), Softmax, GET("x")), GET("values")),
     .check = check_divided_after, .last_axis = true},
    {"softmax-with-sink", ONE_OF(OVER(&e_shifted, &sum_and_shifted), OVER(&e_of_x, &sum_and_constant)),
     .with = SOFTMAX_LESS_SINK,
     .check = check_divided_by_all, .prepare = prepare_sink, .any_axis = true},
    {"softmax-with-sink-divided-after", ONE_OF(OVER(PRODUCT_OF(&e_shifted), &sum_and_shifted),
                                               OVER(PRODUCT_OF(&e_of_x), &sum_and_constant)),
     .with = MAKE(MatMul, SOFTMAX_LESS_SINK, GET("values")),
     .check = check_sink_divided_after, .prepare = prepare_sink, .last_axis = true},
};
/* clang-format on */

const tb_pattern_table tb_raise_softmax = {softmaxes, sizeof softmaxes / sizeof softmaxes[0]};
