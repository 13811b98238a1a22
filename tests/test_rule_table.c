/*
 * Which rule an operator gets in which operand situation. A row is one node; its operands are
 * written as in the graph: A active, C constant that varies everywhere, L constant that varies
 * along its last axis only, from 0 on, R the same but for rounding, S constant of equal numbers.
 */
#include "tests/check.h"

#include "rules/rule.h"
#include "tests/bound.h"

typedef struct row {
    tb_op_kind kind;
    const char *in[3];
    const char *rule;
} row;

static const row rows[] = {
    /* products */
    {TB_OP_Linear, {"A2,3,4", "C4,5", "C5"}, "linear"},
    {TB_OP_MatMul, {"A2,3,4", "C4,5"}, "linear"},
    {TB_OP_MatMul, {"C2,3", "A3,4"}, "linear"},
    {TB_OP_MatMul, {"A2,3,4", "A2,4,3"}, "matmul"},
    {TB_OP_Gemm, {"A3,4", "C4,5", "C5"}, "gemm"},
    /* residual, position embedding, mask, bias, scalar */
    {TB_OP_Add, {"A2,3,4", "A2,3,4"}, "residual"},
    {TB_OP_Add, {"A2,3,4", "A4"}, "add"},
    {TB_OP_Add, {"A2,3,4", "C1,3,4"}, "add"},
    {TB_OP_Add, {"C3,4", "A2,3,4"}, "add"},
    {TB_OP_Add, {"A2,2,3,3", "C2,1,1,3"}, "add"}, /* a padding mask of two samples */
    {TB_OP_Add, {"A1,2,3,3", "C1,1,1,3"}, "identity"},
    {TB_OP_Add, {"A2,3,4", "C4"}, "identity"},
    {TB_OP_Add, {"C4", "A2,3,4"}, "identity"},
    {TB_OP_Add, {"A2,3,4", "L3,4"}, "identity"}, /* a bias that was expanded */
    {TB_OP_Add, {"L1,1,4", "A3,4"}, "identity"}, /* of more axes than the activation */
    {TB_OP_Add, {"A2,3,4", "R3,4"}, "identity"}, /* but for the rounding of what computed it */
    {TB_OP_Add, {"A2,3,4", "S2,3,4"}, "identity"},
    {TB_OP_Add, {"A2,3,4", "C"}, "identity"},
    {TB_OP_Add, {"A2,3,4", "C3,1"}, "add"},
    {TB_OP_Sub, {"A2,3,4", "C4"}, "identity"},
    {TB_OP_Sub, {"C4", "A2,3,4"}, "identity"},
    {TB_OP_Sub, {"A2,3,4", "A2,3,4"}, "residual"},
    {TB_OP_Sub, {"A2,3,4", "A3,1"}, "add"},
    {TB_OP_Sum, {"A2,3,4", "A2,3,4", "C4"}, "add_many"},
    /* gates and scales */
    {TB_OP_Mul, {"A2,3,4", "A2,3,4"}, "gate"},
    {TB_OP_Mul, {"A2,3,4", "C2,3,4"}, "identity"},
    {TB_OP_Mul, {"A2,3,4", "L4"}, "scale"},
    {TB_OP_Mul, {"S", "A2,3,4"}, "identity"},
    {TB_OP_Div, {"A2,3,4", "C2,3,4"}, "identity"},
    {TB_OP_Div, {"A2,3,4", "A2,3,4"}, "general"},
    {TB_OP_Div, {"C2,3,4", "A2,3,4"}, "general"},
    {TB_OP_Pow, {"A2,3,4", "S"}, "identity"},
    {TB_OP_Pow, {"A2,3", "A2,3"}, "general"},
    /* means, sums, maxima, windows */
    {TB_OP_ReduceMean, {"A2,3,4"}, "reduce"},
    {TB_OP_ReduceSum, {"A2,3,4"}, "reduce"},
    {TB_OP_ReduceMax, {"A2,3,4"}, "route"},
    {TB_OP_ReduceL2, {"A2,3,4"}, "general"},
    {TB_OP_GlobalAveragePool, {"A2,3,4,4"}, "reduce"},
    {TB_OP_GlobalMaxPool, {"A2,3,4,4"}, "route"},
    {TB_OP_Max, {"A2,3", "A2,3"}, "route"},
    /* copies, functions, normalisations */
    {TB_OP_Transpose, {"A2,3"}, "route"},
    {TB_OP_Concat, {"A2,3", "C2,3"}, "route"},
    {TB_OP_Cast, {"A2,3"}, "identity"},
    {TB_OP_Neg, {"A2,3"}, "identity"},
    {TB_OP_Erf, {"A2,3"}, "identity"},
    {TB_OP_Sigmoid, {"A2,3"}, "identity"},
    {TB_OP_Tanh, {"A2,3"}, "identity"},
    {TB_OP_Gelu, {"A2,3"}, "identity"},
    {TB_OP_Softmax, {"A2,3"}, "identity"},
    {TB_OP_LayerNormalization, {"A2,3", "C3", "C3"}, "identity"},
    {TB_OP_BatchNormalization, {"A2,3,4,4", "C3", "C3"}, "identity"},
    {TB_OP_Mean, {"A2,3", "A2,3"}, "general"},
};

static tb_value *make_operand(making *m, const char *text) {
    if (text[0] == 'A') return make_input(m, "x", text + 1);
    tb_value *value = make_random(m, text + 1);
    float *data = value->t.data;
    int64_t last = value->t.rank ? value->t.dims[value->t.rank - 1] : 1;
    for (int64_t i = 0; i < tb_tensor_count(&value->t); i++) {
        if (text[0] == 'S') data[i] = 2;
        if (text[0] == 'L') data[i] = (float)(i % last);
        if (text[0] == 'R') data[i] = (float)(i % last) + 1e-7f * (float)i;
    }
    return value;
}

static void check_rows(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        making m;
        making_start(&m);
        tb_value *in[5];
        int n = 0;
        while (n < 3 && r->in[n]) in[n] = make_operand(&m, r->in[n]), n++;
        tb_attr attrs[2] = {TB_INT_ATTR("to", TIBA_FLOAT32), TB_INT_ATTR("axis", -1)};
        if (r->kind == TB_OP_BatchNormalization) {
            in[3] = make_random(&m, "3");
            in[4] = make_constant(&m, "3", (float[]){1, 2, 3});
            n = 5;
        }
        tb_value *y = make(&m, r->kind, n, in, 2, attrs);
        CHECK_CASE(y->producer, "%s was folded", tb_ops[r->kind].name);
        const char *got = y->producer ? tb_find_rule(y->producer)->name : "";
        CHECK_CASE(strcmp(got, r->rule) == 0, "%s(%s %s): rule '%s', expected '%s'",
                   tb_ops[r->kind].name, r->in[0], r->in[1] ? r->in[1] : "", got, r->rule);
        making_end(&m);
    }
}

static tb_value *patches(making *m, tb_value *x) {
    tb_value *in[] = {x, make_random(m, "5,3,2,2"), make_random(m, "5")};
    return make(m, TB_OP_Conv, 3, in, 1, &TB_INTS_ATTR("strides", 2, ((const int64_t[]){2, 2})));
}

/* A convolution reads the picture if nothing but moves and constants is in front of it. */
static void check_convolutions(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "pixels", "1,3,4,6"), *nhwc = make_input(&m, "nhwc", "1,4,6,3");
    tb_value *mean = make_random(&m, "1,3,1,1"), *wave = make_input(&m, "wave", "1,3,8");
    tb_value *scaled = make2(&m, TB_OP_Div, make2(&m, TB_OP_Sub, x, mean), mean);
    tb_value *gray[] = {x, make_random(&m, "5,1,2,2")};
    gray[0] = make_input(&m, "gray", "1,1,4,4");
    tb_value *dynamic[] = {x, make_input(&m, "kernel", "5,3,2,2")};
    tb_value *sound[] = {wave, make_random(&m, "5,3,2")};
    const struct {
        const char *what;
        tb_value *y;
        const char *rule;
    } cases[] = {
        {"picture", patches(&m, x), "zB"},
        {"gray picture", make(&m, TB_OP_Conv, 2, gray, 0, NULL), "zB"},
        {"normalised picture", patches(&m, scaled), "zB"},
        {"channels last", patches(&m, make_transpose(&m, nhwc, "0,3,1,2")), "zB"},
        {"features", patches(&m, make1(&m, TB_OP_Relu, x)), "linear"},
        {"sum of pictures", patches(&m, make2(&m, TB_OP_Add, x, x)), "linear"},
        {"sound", make(&m, TB_OP_Conv, 2, sound, 0, NULL), "linear"},
        {"weights that are an activation", make(&m, TB_OP_Conv, 2, dynamic, 0, NULL), "general"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = tb_find_rule(cases[i].y->producer)->name;
        CHECK_CASE(strcmp(got, cases[i].rule) == 0, "convolution of %s: rule '%s'", cases[i].what,
                   got);
    }
    /* the channels of a convolution are its features */
    tb_value *y = patches(&m, x);
    CHECK_STRING(tb_find_rule(make2(&m, TB_OP_Add, y, make_random(&m, "1,5,1,1"))->producer)->name,
                 "identity");
    CHECK_STRING(tb_find_rule(make2(&m, TB_OP_Add, y, make_random(&m, "1,1,2,3"))->producer)->name,
                 "add");
    /* W x has its features in the rows */
    tb_value *wx = make2(&m, TB_OP_MatMul, make_random(&m, "4,3"), make_input(&m, "x", "2,3,5"));
    CHECK_STRING(tb_find_rule(make2(&m, TB_OP_Add, wx, make_random(&m, "4,1"))->producer)->name,
                 "identity");
    CHECK_STRING(tb_find_rule(make2(&m, TB_OP_Add, wx, make_random(&m, "5"))->producer)->name,
                 "add");
    making_end(&m);
}

static tb_value *summed(making *m, tb_op_kind kind, tb_value *x) {
    return make(m, kind, 1, &x, 1, &TB_INT_ATTR("keepdims", 0));
}

static tb_value *rounded(making *m, tb_value *x) {
    return make2(m, TB_OP_FakeQuantize, x, make_constant(m, "", (float[]){0.1f}));
}

/* The norms of its own factors that a product is divided by get no relevance; other divisions have
 * the general rule. */
static void check_norms(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "x", "3,4"), *y = make_input(&m, "y", "3,4");
    tb_value *square = make_input(&m, "square", "3,3");
    tb_value *dot = summed(&m, TB_OP_ReduceSum, make2(&m, TB_OP_Mul, x, y));
    tb_value *xx = summed(&m, TB_OP_ReduceSum, make2(&m, TB_OP_Mul, x, x));
    tb_value *yy = summed(&m, TB_OP_ReduceSumSquare, y);
    tb_value *eps = make_constant(&m, "", (float[]){1e-8f});
    tb_value *mean = summed(&m, TB_OP_ReduceMean, make2(&m, TB_OP_Mul, x, x));
    tb_value *root = make1(&m, TB_OP_Sqrt, make2(&m, TB_OP_Mul, xx, yy));
    tb_value *apart =
        make2(&m, TB_OP_Mul, make1(&m, TB_OP_Sqrt, xx), summed(&m, TB_OP_ReduceL2, y));
    tb_value *rx = rounded(&m, x),
             *rounded_xx =
                 summed(&m, TB_OP_ReduceSum, rounded(&m, make2(&m, TB_OP_Mul, rx, rounded(&m, x))));
    tb_value *turned = make2(&m, TB_OP_Mul, square, make1(&m, TB_OP_Transpose, square));
    const struct {
        const char *what;
        tb_value *top, *bottom;
        const char *rule;
    } cases[] = {
        {"cosine", dot, make2(&m, TB_OP_Max, root, eps), "numerator"},
        {"cosine, scaled", make2(&m, TB_OP_Mul, dot, eps), apart, "numerator"},
        {"x / |x|", x, make1(&m, TB_OP_Sqrt, xx), "numerator"},
        {"projection on y", dot, summed(&m, TB_OP_ReduceL2, y), "numerator"},
        {"x y / rms(x)", make2(&m, TB_OP_Mul, x, y), make1(&m, TB_OP_Sqrt, mean), "numerator"},
        {"by one norm twice", dot, make1(&m, TB_OP_Sqrt, make2(&m, TB_OP_Mul, xx, xx)), "general"},
        {"without a root", dot, make2(&m, TB_OP_Mul, xx, yy), "general"},
        {"x / |x|, rounded on the way", rx, make1(&m, TB_OP_Sqrt, rounded(&m, rounded_xx)),
         "numerator"},
        {"not by a square", square, make1(&m, TB_OP_Sqrt, summed(&m, TB_OP_ReduceSum, turned)),
         "general"},
        {"y / |x|", y, make1(&m, TB_OP_Sqrt, xx), "general"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_value *q = make2(&m, TB_OP_Div, cases[i].top, cases[i].bottom);
        const char *got = tb_find_rule(q->producer)->name;
        CHECK_CASE(strcmp(got, cases[i].rule) == 0, "%s: rule '%s'", cases[i].what, got);
    }
    making_end(&m);
}

/* Heads [2, 3, 5, 2] that a product with constant weights made of tokens. */
static tb_value *make_heads(making *m, tb_value *x) {
    return make_reshape(m, make2(m, TB_OP_MatMul, x, make_random(m, "4,10")), "2,3,5,2");
}

static tb_value *make_turned(making *m, tb_value *x) {
    return make_transpose(m, make_heads(m, x), "0,2,1,3");
}

/* What is added to a product's output, and nowhere else is it read, is a bias where it varies along
 * the axes of the weights only, wherever these have been moved. */
static void check_moved_biases(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "x", "2,3,4"), *e = make_input(&m, "e", "4,3,5");
    tb_value *split = make_reshape(&m, make_heads(&m, x), "2,3,5,2,1"), *two = make_heads(&m, x);
    tb_value *scaled = make2(&m, TB_OP_Mul, make_turned(&m, x), make_random(&m, "5,1,1"));
    tb_value *weights = make_random(&m, "4,5,6"), *mix = make_random(&m, "4,3,3");
    const struct {
        const char *what;
        tb_value *x;
        const char *constant, *rule;
    } cases[] = {
        {"heads", make_heads(&m, x), "5,2", "identity"},
        {"heads and tokens", make_heads(&m, x), "3,5,2", "add"},
        {"an axis of one more", make_reshape(&m, split, "2,3,5,2"), "5,2", "identity"},
        {"turned heads", make_turned(&m, x), "5,1,2", "identity"},
        {"one number a head", make_turned(&m, x), "5,1,1", "identity"},
        {"turned heads' tokens", make_turned(&m, x), "3,1", "add"},
        {"turned heads, scaled", scaled, "5,1,2", "add"},
        {"a piece of them", make_slice(&m, make_turned(&m, x), 1, 3, 1, 1), "2,1,2", "add"},
        {"the second of two", two, "5,2", "add"},
        {"experts", make2(&m, TB_OP_MatMul, e, weights), "4,1,6", "identity"},
        {"experts' tokens", make2(&m, TB_OP_MatMul, e, weights), "4,3,6", "add"},
        {"tokens mixed", make2(&m, TB_OP_MatMul, mix, e), "3,1", "identity"},
        {"features that tokens were joined to", make_reshape(&m, make_heads(&m, x), "2,30"), "2,1",
         "add"},
    };
    make2(&m, TB_OP_Add, two, make_random(&m, "5,2"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_value *sum = make2(&m, TB_OP_Add, cases[i].x, make_random(&m, cases[i].constant));
        const char *got = tb_find_rule(sum->producer)->name;
        CHECK_CASE(strcmp(got, cases[i].rule) == 0, "%s: rule '%s'", cases[i].what, got);
    }
    making_end(&m);
}

int main(void) {
    check_norms();
    check_moved_biases();
    check_rows();
    check_convolutions();
    TEST_END();
}
