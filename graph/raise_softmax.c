/*
 * raise_softmax.c: Softmax and LogSoftmax written out: exp(x - m) / Σ exp(x - m) with m = max(x) or
 * m = 0, and x - log Σ exp(x). An attention may divide by the sum after the product with its
 * values, which is linear: (E·V) / Σ E = (E / Σ E)·V.
 */
#include "graph/raise.h"

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

#define PRODUCT OP(MatMul, &exponential, ANY("values"))

/* clang-format off */
static const tb_pattern softmaxes[] = {
    {"softmax", ONE_OF(OP(Div, &exponential, SUM_OF_EXPONENTIALS),
                       OP(Mul, &exponential, OP(Reciprocal, SUM_OF_EXPONENTIALS)),
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
    {"softmax-divided-after", ONE_OF(OP(Div, PRODUCT, SUM_OF_EXPONENTIALS),
                                     OP(Mul, PRODUCT, OP(Reciprocal, SUM_OF_EXPONENTIALS))),
     .with = MAKE(MatMul, MAKE_WITH((AXIS_ATTR("axis")), Softmax, GET("x")), GET("values")),
     .check = check_divided_after, .last_axis = true},
};
/* clang-format on */

const tb_pattern_table tb_raise_softmax = {softmaxes, sizeof softmaxes / sizeof softmaxes[0]};
