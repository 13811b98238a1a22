/*
 * raise_activation.c: element-wise functions written out: GELU in its three forms, Swish (SiLU,
 * QuickGELU), HardSwish, Mish, Softplus, Sigmoid, ReLU.
 *
 * The forms: 0.5 x (1 + erf(x/√2)); 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), of which
 * x sigmoid(2 √(2/π) (…)) is another spelling; x sigmoid(α x); x relu6(x + 3)/6; x tanh(softplus
 * x).
 */
#include "graph/raise.h"

#define ROOT_HALF   0.70710678118654752 /* 1/√2 */
#define ROOT_TWO    1.41421356237309505
#define ROOT_TWO_PI 0.79788456080286536 /* √(2/π) */
#define CUBIC       0.044715
#define X           ANY("x")
#define SQUARE(a)   ONE_OF(OP(Pow, a, NUMBER(2)), OP(Mul, a, a))
#define CUBE(a)     ONE_OF(OP(Pow, a, NUMBER(3)), OP(Mul, SQUARE(a), a))
#define TIMES(a, v) OP(Mul, a, NUMBER(v))
#define ONE_PLUS(a) OP(Add, a, NUMBER(1))
#define NEGATIVE(a) ONE_OF(OP(Neg, a), OP(Mul, a, NUMBER(-1)), OP(Sub, NUMBER(0), a))

/* 1 + erf(x/√2), also as 1 - erf(-x/√2) */
static const tb_term one_plus_erf = ONE_OF_INIT(
    ONE_PLUS(OP(Erf, TIMES(X, ROOT_HALF))), OP(Sub, NUMBER(1), OP(Erf, TIMES(X, -ROOT_HALF))),
    OP(Sub, NUMBER(1), OP(Erf, TIMES(NEGATIVE(X), ROOT_HALF))),
    OP(Sub, NUMBER(1), OP(Erf, NEGATIVE(TIMES(X, ROOT_HALF)))));

/* v x² and v x³ */
#define TIMES_SQUARE(v) ONE_OF(TIMES(SQUARE(X), v), OP(Mul, TIMES(X, v), X))
#define TIMES_CUBE(v)                                                                              \
    ONE_OF(TIMES(CUBE(X), v), OP(Mul, TIMES(X, v), SQUARE(X)), OP(Mul, TIMES(SQUARE(X), v), X),    \
           OP(Mul, X, OP(Mul, TIMES(X, v), X)))
/* c (x + 0.044715 x³) and what comes to the same */
#define CUBIC_SUM(c)                                                                               \
    ONE_OF(TIMES(OP(Add, X, TIMES_CUBE(CUBIC)), c), OP(Mul, TIMES(X, c), &one_plus_cubic_square),  \
           TIMES(OP(Mul, X, &one_plus_cubic_square), c),                                           \
           OP(Mul, X, TIMES(&one_plus_cubic_square, c)),                                           \
           OP(Add, TIMES(X, c), TIMES_CUBE((c)*CUBIC)),                                            \
           OP(Mul, X, OP(Add, TIMES_SQUARE((c)*CUBIC), NUMBER(c))))
static const tb_term one_plus_cubic_square = ONE_OF_INIT(ONE_PLUS(TIMES_SQUARE(CUBIC)));
static const tb_term cubic_sum = ONE_OF_INIT(CUBIC_SUM(ROOT_TWO_PI));
static const tb_term double_cubic_sum =
    ONE_OF_INIT(CUBIC_SUM(2 * ROOT_TWO_PI), TIMES(&cubic_sum, 2.0));
static const tb_term one_plus_tanh = ONE_OF_INIT(ONE_PLUS(OP(Tanh, &cubic_sum)));

/* x f / 2 for f = 1 + erf or 1 + tanh */
#define HALF_PRODUCT(f)                                                                            \
    ONE_OF(OP(Mul, TIMES(X, 0.5), f), OP(Mul, X, TIMES(f, 0.5)), TIMES(OP(Mul, X, f), 0.5))
#define HALF_PRODUCT_OF_SUM(f) OP(Mul, X, OP(Add, TIMES(f, 0.5), NUMBER(0.5)))

/* α x: captured as "alpha"; -α x likewise */
#define ALPHA_X OP(Mul, X, SCALAR("alpha"))
#define MINUS_ALPHA_X                                                                              \
    ONE_OF(NEGATIVE(X), NEGATIVE(ALPHA_X), OP(Mul, X, SCALAR_TIMES("alpha", -1)),                  \
           OP(Mul, NEGATIVE(X), SCALAR("alpha")))
#define SIGMOID_ALPHA_X ONE_OF(OP(Sigmoid, X), OP(Sigmoid, ALPHA_X))
static const tb_term one_plus_exp = ONE_OF_INIT(ONE_PLUS(OP(Exp, MINUS_ALPHA_X)));

/* relu6(x + 3), and relu6(x + 3)/6 */
#define X_PLUS_3 OP(Add, X, NUMBER(3))
static const tb_term relu6 =
    ONE_OF_INIT(OP(Clip, X_PLUS_3, NUMBER(0), NUMBER(6)),
                OP(Min, ONE_OF(OP(Relu, X_PLUS_3), OP(Max, X_PLUS_3, NUMBER(0))), NUMBER(6)),
                ONE_OF(OP(Relu, OP(Min, X_PLUS_3, NUMBER(6))),
                       OP(Max, OP(Min, X_PLUS_3, NUMBER(6)), NUMBER(0))));
static const tb_term hard_sigmoid = ONE_OF_INIT(
    TIMES(&relu6, 1.0 / 6),
    (&(const tb_term){.kind = TB_TERM_OP,
                      .op = TB_OP_HardSigmoid,
                      .in = {X},
                      .attrs = (const tb_term_attr[]){{"alpha", (double)(1.0f / 6), NULL, true},
                                                      {"beta", 0.5, NULL, true},
                                                      {0}}}));

static bool check_sigmoid(const tb_match *match) {
    return tb_check_same_shape(match) && tb_match_number(match, "alpha", 1) == 1;
}

/* The gate of x · (sigmoid(αx) · u), or (x · u) · sigmoid(αx), has the product's shape as well. */
static bool check_gate(const tb_match *match) {
    return tb_check_same_shape(match) && !tb_match_value(match, "u")->t.data;
}

/* clang-format off */
static const tb_pattern activations[] = {
    {"gelu-erf", ONE_OF(HALF_PRODUCT(&one_plus_erf), HALF_PRODUCT_OF_SUM(OP(Erf, TIMES(X, ROOT_HALF)))),
     .with = MAKE(Gelu, GET("x")), .check = tb_check_same_shape},
    {"gelu-tanh", ONE_OF(HALF_PRODUCT(&one_plus_tanh), HALF_PRODUCT_OF_SUM(OP(Tanh, &cubic_sum)),
                         OP(Mul, X, OP(Sigmoid, &double_cubic_sum))),
     .with = MAKE_WITH((TEXT_ATTR("approximate", "tanh")), Gelu, GET("x")),
     .check = tb_check_same_shape},
    {"swish", ONE_OF(OP(Mul, X, SIGMOID_ALPHA_X), OP(Div, X, &one_plus_exp),
                     OP(Mul, X, OP(Reciprocal, &one_plus_exp)),
                     OP(Mul, X, OP(Div, NUMBER(1), &one_plus_exp))),
     .with = MAKE_WITH((NUMBER_ATTR("alpha", "alpha", 1)), Swish, GET("x")),
     .check = tb_check_same_shape},
    {"swish-gate", ONE_OF(OP(Mul, X, OP(Mul, SIGMOID_ALPHA_X, ANY("u"))),
                          OP(Mul, OP(Mul, X, ANY("u")), SIGMOID_ALPHA_X)),
     .with = MAKE(Mul, MAKE_WITH((NUMBER_ATTR("alpha", "alpha", 1)), Swish, GET("x")), GET("u")),
     .check = check_gate},
    {"hard-swish", ONE_OF(OP(Mul, X, &hard_sigmoid), TIMES(OP(Mul, X, &relu6), 1.0 / 6),
                          OP(Mul, TIMES(X, 1.0 / 6), &relu6)),
     .with = MAKE(HardSwish, GET("x")), .check = tb_check_same_shape},
    {"mish", OP(Mul, X, OP(Tanh, ONE_OF(OP(Softplus, X), OP(Log, ONE_PLUS(OP(Exp, X)))))),
     .with = MAKE(Mish, GET("x")), .check = tb_check_same_shape},
    {"softplus", OP(Log, ONE_PLUS(OP(Exp, X))), .with = MAKE(Softplus, GET("x")),
     .check = tb_check_same_shape},
    {"sigmoid", ONE_OF(OP(Reciprocal, &one_plus_exp), OP(Div, NUMBER(1), &one_plus_exp),
                       OP(Div, OP_AS("e", Exp, X), ONE_PLUS(ANY("e"))),
                       TIMES(ONE_PLUS(OP(Tanh, TIMES(X, 0.5))), 0.5),
                       OP(Add, TIMES(OP(Tanh, TIMES(X, 0.5)), 0.5), NUMBER(0.5))),
     .with = MAKE(Sigmoid, GET("x")), .check = check_sigmoid},
    {"relu", OP(Max, X, NUMBER(0)), .with = MAKE(Relu, GET("x")), .check = tb_check_same_shape},
};
/* clang-format on */

const tb_pattern_table tb_raise_activation = {activations,
                                              sizeof activations / sizeof activations[0]};
