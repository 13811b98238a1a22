/*
 * raise_softmax.c: Softmax and LogSoftmax written out: exp(x - m) / Σ exp(x - m) with m = max(x) or
 * m = 0, and x - log Σ exp(x).
 */
#include "graph/raise.h"

#define X ANY("x")

static const tb_term shifted = ONE_OF_AS_INIT("shifted", OP(Sub, X, ALONG(ReduceMax, X)), X);
static const tb_term exponential = OP_AS_INIT("exponential", Exp, &shifted);
#define SUM_OF_EXPONENTIALS ALONG(ReduceSum, ANY("exponential"))

static bool check_softmax(const tb_match *match) {
    return tb_check_same_shape(match) && (match->axes & (match->axes - 1)) == 0;
}

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
};
/* clang-format on */

const tb_pattern_table tb_raise_softmax = {softmaxes, sizeof softmaxes / sizeof softmaxes[0]};
