/*
 * raise_norm.c: LayerNormalization, RMSNormalization and LpNormalization written out.
 *
 * The core (x - mean) / √(var + ε) or x / √(mean(x²) + ε) becomes a normalisation with scale one;
 * a constant factor or summand after it becomes its scale or bias in a second step, so that their
 * order and number of nodes do not multiply the rows. Forms in which the scale sits inside the core
 * have rows of their own: x·(r·γ) + (β - mean·(r·γ)) with r = 1/√(var + ε) is what Keras writes.
 */
#include "graph/raise.h"

#define X                ANY("x")
#define GAMMA            CONSTANT("scale", TB_FOR_NORM)
#define BETA             CONSTANT("bias", TB_FOR_NORM)
#define SQUARE(a)        ONE_OF(OP(Pow, a, NUMBER(2)), OP(Mul, a, a))
#define MEAN_OF_SUM(sum) OP(Div, sum, COUNT)
#define MEAN(a)          ONE_OF(ALONG(ReduceMean, a), MEAN_OF_SUM(ALONG(ReduceSum, a)))
#define MEAN_SQUARE(a)                                                                             \
    ONE_OF(MEAN(SQUARE(a)), MEAN_OF_SUM(ALONG(ReduceSumSquare, a)),                                \
           MEAN_OF_SUM(SQUARE(ALONG(ReduceL2, a))))
#define ROOT(a) ONE_OF(OP(Sqrt, a), OP(Pow, a, NUMBER(0.5)))
#define ONE_OVER_ROOT(a)                                                                           \
    ONE_OF(OP(Reciprocal, ROOT(a)), OP(Div, NUMBER(1), ROOT(a)), OP(Pow, a, NUMBER(-0.5)),         \
           OP(Sqrt, OP(Reciprocal, a)), OP(Pow, ROOT(a), NUMBER(-1)))
#define OVER_ROOT(a, v) ONE_OF(OP(Div, a, ROOT(v)), OP(Mul, a, ONE_OVER_ROOT(v)))
/* γ a / √v with γ inside */
#define SCALED_OVER_ROOT(a, v)                                                                     \
    ONE_OF(OP(Div, OP(Mul, a, GAMMA), ROOT(v)), OP(Mul, a, OP(Mul, ONE_OVER_ROOT(v), GAMMA)),      \
           OP(Mul, OP(Mul, a, GAMMA), ONE_OVER_ROOT(v)), OP(Mul, a, OP(Div, GAMMA, ROOT(v))))
#define PLUS_EPSILON(v) ONE_OF(OP(Add, v, SCALAR("epsilon")), v)

static const tb_term mean = ONE_OF_AS_INIT("mean", MEAN(X));
static const tb_term centred =
    ONE_OF_AS_INIT("centred", OP(Sub, X, &mean), OP(Add, X, OP(Neg, &mean)));
/* mean((x - mean)²), or mean(x²) - mean² */
static const tb_term raw_variance = ONE_OF_INIT(OP(Sub, MEAN_SQUARE(X), SQUARE(&mean)));
static const tb_term variance =
    ONE_OF_INIT(MEAN_SQUARE(&centred), MEAN_SQUARE(OP_AS("negated", Sub, &mean, X)), &raw_variance,
                OP(Relu, &raw_variance), OP(Max, &raw_variance, NUMBER(0)),
                OP(Clip, &raw_variance, NUMBER(0)), OP(Abs, &raw_variance));
static const tb_term safe_variance = ONE_OF_INIT(PLUS_EPSILON(&variance));
static const tb_term safe_mean_square = ONE_OF_INIT(PLUS_EPSILON(MEAN_SQUARE(X)));

/* 1/√(var + ε), with γ or without */
static const tb_term inverse =
    ONE_OF_AS_INIT("inverse", OP(Mul, ONE_OVER_ROOT(&safe_variance), GAMMA),
                   OP(Div, GAMMA, ROOT(&safe_variance)), ONE_OVER_ROOT(&safe_variance));
#define MEAN_TIMES_INVERSE OP(Mul, &mean, &inverse)
#define MINUS_MEAN_TIMES_INVERSE                                                                   \
    ONE_OF(OP(Neg, MEAN_TIMES_INVERSE), OP(Mul, OP(Neg, &mean), &inverse),                         \
           OP(Mul, &mean, OP(Neg, &inverse)))
#define X_TIMES_INVERSE OP(Mul, X, &inverse)
static const tb_term affine =
    ONE_OF_INIT(OP(Add, X_TIMES_INVERSE, OP(Sub, BETA, MEAN_TIMES_INVERSE)),
                OP(Add, X_TIMES_INVERSE, OP(Add, BETA, MINUS_MEAN_TIMES_INVERSE)),
                OP(Add, OP(Sub, X_TIMES_INVERSE, MEAN_TIMES_INVERSE), BETA),
                OP(Add, OP(Add, X_TIMES_INVERSE, BETA), MINUS_MEAN_TIMES_INVERSE),
                OP(Sub, OP(Add, X_TIMES_INVERSE, BETA), MEAN_TIMES_INVERSE),
                OP(Sub, X_TIMES_INVERSE, MEAN_TIMES_INVERSE),
                OP(Add, X_TIMES_INVERSE, MINUS_MEAN_TIMES_INVERSE));

static const tb_term_attr norm_attrs[] = {
    {"axis", -1, "axis", false}, {"epsilon", (double)1e-5f, "epsilon", true}, {0}};
static const tb_term_attr epsilon_attr[] = {{"epsilon", (double)1e-5f, "epsilon", true}, {0}};
#define UNSCALED(id)                                                                               \
    (&(const tb_term){.kind = TB_TERM_OP,                                                          \
                      .name = "y",                                                                 \
                      .op = TB_OP_##id,                                                            \
                      .attrs = norm_attrs,                                                         \
                      .in = {X, CONSTANT("old scale", TB_FOR_ONES)}})
/* Each row is one channel of an image, all with the same scale and bias. */
static const tb_term instance_norm = {
    .kind = TB_TERM_OP,
    .op = TB_OP_InstanceNormalization,
    .attrs = epsilon_attr,
    .in = {OP_AS("rows", Reshape, X, CONSTANT("rows shape", TB_FOR_SHAPE)), SCALAR("gain"),
           SCALAR("offset")}};

/* Groups of channels normalised together: x [n, channels, …] as rows [n, groups, rest], or channels
 * by themselves; then a scale and a bias for each channel. */
#define SHAPE CONSTANT(NULL, TB_FOR_SHAPE)
#define RESHAPED(n, a)                                                                             \
    ONE_OF(OP_AS(n, Reshape, OP(Reshape, a, SHAPE), SHAPE), OP_AS(n, Reshape, a, SHAPE))
#define UNIT_ROWS(a)                                                                               \
    (&(const tb_term){.kind = TB_TERM_OP,                                                          \
                      .op = TB_OP_LayerNormalization,                                              \
                      .attrs = norm_attrs,                                                         \
                      .in = {a, CONSTANT("old scale", TB_FOR_ONES)}})
static const tb_term unit_groups = {.kind = TB_TERM_OP,
                                    .op = TB_OP_InstanceNormalization,
                                    .attrs = epsilon_attr,
                                    .in = {RESHAPED("rows", X), SCALAR("gain"), SCALAR("offset")}};
static const tb_term grouped = ONE_OF_INIT(RESHAPED("back", UNIT_ROWS(RESHAPED("rows", X))),
                                           RESHAPED("back", &unit_groups), UNIT_ROWS(X));
#define PER_CHANNEL OP(Add, OP(Mul, &grouped, GAMMA), BETA)

/* The first of the last axes that are normalised together; -1 if others are, too. */
static int first_of_last_axes(const tb_match *match) {
    int axis = 0;
    while (axis < match->axes_rank && !(match->axes >> axis & 1)) axis++;
    unsigned last = (1u << match->axes_rank) - (1u << axis);
    return axis < match->axes_rank && match->axes == last ? axis : -1;
}

/* The same where the match has the operator itself, or rows that are reshaped to its like. */
static int norm_axis(const tb_match *match) {
    const tiba_tensor *x = &tb_match_value(match, "x")->t;
    const tb_value *rows = tb_match_value(match, "rows");
    if (rows) {
        int64_t n = 1, last = 1;
        for (int i = 2; i < rows->t.rank; i++) n *= rows->t.dims[i];
        for (int axis = x->rank - 1; axis >= 0; axis--)
            if ((last *= x->dims[axis]) == n) return axis;
        return -1;
    }
    if (match->axes) return first_of_last_axes(match);
    int64_t axis = (int64_t)tb_match_number(match, "axis", -1);
    if (axis < 0) axis += x->rank;
    return axis >= 0 && axis < x->rank ? (int)axis : -1;
}

/* Is `value` the same for all indices of the axes before `axis`, and no wider than x from there? */
static bool is_affine(const tb_value *value, const tiba_tensor *x, int axis) {
    const tiba_tensor *t = &value->t;
    int64_t n;
    if (axis == x->rank - 1 && tb_row_constant(value, &n)) return n == 1 || n == x->dims[axis];
    if (!t->data || t->dtype != TIBA_FLOAT32) return false;
    for (int i = 0; i < t->rank; i++) {
        int at = x->rank - t->rank + i;
        if (t->dims[i] != 1 && (at < axis || t->dims[i] != x->dims[at])) return false;
    }
    return true;
}

/* As is_affine allows it, in the shape of x's axes from `axis` on and times `factor`; ones where
 * `value` is NULL. */
static tiba_status make_affine(tb_value **out, tb_builder *builder, const tb_value *value,
                               const tiba_tensor *x, int axis, double factor, tiba_error *error) {
    int rank = x->rank - axis;
    const int64_t *dims = x->dims + axis;
    int64_t count;
    if (!tb_count(&count, rank, dims)) return tb_out_of_memory(error);
    float *data = tb_calloc(builder->exec->budget, (size_t)count, sizeof *data);
    if (!data) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) {
        int64_t from = 0, step = 1, left = i;
        for (int k = 1; value && k <= rank && k <= value->t.rank; k++) {
            int64_t n = value->t.dims[value->t.rank - k];
            if (n != 1) from += left % dims[rank - k] * step;
            step *= n;
            left /= dims[rank - k];
        }
        data[i] = (float)(factor * (value ? (double)((const float *)value->t.data)[from] : 1.0));
    }
    tiba_status status = tb_build_constant(builder, out, TIBA_FLOAT32, rank, dims, data, error);
    tb_free(data);
    return status;
}

static bool check_norm(const tb_match *match) {
    if (!tb_check_same_shape(match)) return false;
    const tiba_tensor *x = &tb_match_value(match, "x")->t;
    const tb_value *scale = tb_match_value(match, "scale"), *bias = tb_match_value(match, "bias"),
                   *old = tb_match_value(match, "old scale");
    double one;
    if (old && !(tb_uniform_constant(old, &one) && one == 1) && scale) return false;
    if (tb_match_number(match, "epsilon", 0) < 0) return false;
    int axis = norm_axis(match);
    return axis >= 0 && (!scale || is_affine(scale, x, axis)) &&
           (!bias || is_affine(bias, x, axis));
}

/* (x - mean) / (σ + ε) is a LayerNormalization up to rounding for very small ε only. */
static bool check_tiny(const tb_match *match) {
    double tiny = tb_match_number(match, "tiny", 1);
    return tiny >= 0 && tiny <= 1e-8 && check_norm(match);
}

static tiba_status prepare_norm(tb_builder *builder, tb_match *match, tiba_error *error) {
    const tiba_tensor *x = &tb_match_value(match, "x")->t;
    tb_value *scale = tb_match_value(match, "scale"), *bias = tb_match_value(match, "bias"),
             *old = tb_match_value(match, "old scale");
    int axis = norm_axis(match);
    double sign = old && tb_is(match->root, TB_OP_Sub) ? -1 : 1;
    if (scale || !old)
        TB_TRY(
            make_affine(&scale, builder, scale, x, axis, tb_match_number(match, "gain", 1), error));
    else
        scale = old;
    tb_match_bind(match, "scale", scale);
    match->axes_rank = x->rank; /* for the replacement's axis */
    match->axes = 1u << axis;
    double offset = tb_match_number(match, "offset", 0);
    if (!bias && offset == 0) return TIBA_OK;
    TB_TRY(make_affine(&bias, builder, bias, x, axis, bias ? sign : offset, error));
    tb_match_bind(match, "bias", bias);
    return TIBA_OK;
}

/* How many channels x has if `value` has one element for each, behind axis 1 of `shape`. */
static bool is_per_channel(const tb_value *value, const tiba_tensor *shape, int64_t channels) {
    const tiba_tensor *t = &value->t;
    if (!t->data || t->dtype != TIBA_FLOAT32 || t->rank > shape->rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] != (shape->rank - t->rank + i == 1 ? channels : 1)) return false;
    return t->rank >= shape->rank - 1;
}

/* The groups of a match of `grouped`, 0 if the rows are none of them. */
static int64_t group_count(const tb_match *match) {
    const tiba_tensor *x = &tb_match_value(match, "x")->t;
    const tb_value *rows = tb_match_value(match, "rows");
    if (x->rank < 3) return 0;
    int rank = rows ? rows->t.rank : x->rank;
    int64_t axis = (int64_t)tb_match_number(match, "axis", 2); /* of the instances: the third on */
    if (axis < 0) axis += rank;
    if (axis != 2 || rank < 3) return 0;
    int64_t groups = rows ? rows->t.dims[1] : x->dims[1];
    bool fits = !rows || rows->t.dims[0] == x->dims[0];
    return fits && groups > 0 && x->dims[1] % groups == 0 ? groups : 0;
}

static bool check_groups(const tb_match *match) {
    if (!tb_check_same_shape(match) || group_count(match) == 0) return false;
    const tb_value *x = tb_match_value(match, "x"), *back = tb_match_value(match, "back"),
                   *old = tb_match_value(match, "old scale");
    double one;
    if (old ? !tb_uniform_constant(old, &one) || one != 1
            : tb_match_number(match, "gain", 0) != 1 || tb_match_number(match, "offset", 1) != 0)
        return false;
    if (!back) back = x;
    int64_t channels = x->t.dims[1];
    return back->t.rank >= 2 && back->t.dims[0] == x->t.dims[0] && back->t.dims[1] == channels &&
           is_per_channel(tb_match_value(match, "scale"), &back->t, channels) &&
           is_per_channel(tb_match_value(match, "bias"), &back->t, channels);
}

static tiba_status build_groups(tb_value **out, tb_builder *builder, tb_match *match,
                                tiba_error *error) {
    static const char *const names[] = {"scale", "bias"};
    tb_value *in[3] = {tb_match_value(match, "x")};
    for (int i = 0; i < 2; i++) {
        tiba_tensor t = tb_match_value(match, names[i])->t;
        t.rank = 1;
        t.dims[0] = in[0]->t.dims[1];
        TB_TRY(tb_build_borrowed(builder, &in[i + 1], &t, error));
    }
    tb_attr attrs[] = {TB_INT_ATTR("num_groups", group_count(match)),
                       TB_FLOAT_ATTR("epsilon", (float)tb_match_number(match, "epsilon", 0))};
    return tb_build1(builder, out, TB_OP_GroupNormalization, 3, in, 2, attrs, error);
}

/* Without ε: what ONNX has as LpNormalization. With one, graph/region.h recognises it. */
static bool check_one_axis(const tb_match *match) {
    return tb_check_same_shape(match) && (match->axes & (match->axes - 1)) == 0;
}

#define LAYER_NORM(epsilon)                                                                        \
    MAKE_WITH((AXIS_ATTR("axis"), epsilon), LayerNormalization, GET("x"), GET("scale"), GET("bias"))
#define EPSILON     NUMBER_ATTR("epsilon", "epsilon", 0)
#define AS_THE_NORM (INT_ATTR_FROM("axis", "axis"), EPSILON)

/* clang-format off */
static const tb_pattern norms[] = {
    {"layer-norm", OVER_ROOT(&centred, &safe_variance), .with = LAYER_NORM(EPSILON),
     .check = check_norm, .prepare = prepare_norm},
    {"layer-norm-scaled", SCALED_OVER_ROOT(&centred, &safe_variance), .with = LAYER_NORM(EPSILON),
     .check = check_norm, .prepare = prepare_norm},
    {"layer-norm-affine", &affine, .with = LAYER_NORM(EPSILON),
     .check = check_norm, .prepare = prepare_norm},
    {"layer-norm-of-std", OP(Div, &centred, OP(Add, ROOT(&variance), SCALAR("tiny"))),
     .with = LAYER_NORM(NUMBER_ATTR("epsilon", NULL, 1e-18)),
     .check = check_tiny, .prepare = prepare_norm},
    {"layer-norm-instance", OP(Reshape, &instance_norm, CONSTANT("shape", TB_FOR_SHAPE)),
     .with = LAYER_NORM(EPSILON), .check = check_norm, .prepare = prepare_norm},
    {"group-norm", ONE_OF(OP(Reshape, PER_CHANNEL, SHAPE), PER_CHANNEL),
     .build = build_groups, .check = check_groups},
    {"layer-norm-scale", OP(Mul, UNSCALED(LayerNormalization), GAMMA),
     .with = MAKE_WITH(AS_THE_NORM, LayerNormalization, GET("x"), GET("scale")),
     .check = check_norm, .prepare = prepare_norm},
    {"layer-norm-bias", ONE_OF(OP(Add, UNSCALED(LayerNormalization), BETA),
                               OP(Sub, UNSCALED(LayerNormalization), BETA)),
     .with = MAKE_WITH(AS_THE_NORM, LayerNormalization, GET("x"), GET("scale"), GET("bias")),
     .check = check_norm, .prepare = prepare_norm},

    {"rms-norm", OVER_ROOT(X, &safe_mean_square),
     .with = MAKE_WITH((AXIS_ATTR("axis"), EPSILON), RMSNormalization, GET("x"), GET("scale")),
     .check = check_norm, .prepare = prepare_norm},
    {"rms-norm-scaled", SCALED_OVER_ROOT(X, &safe_mean_square),
     .with = MAKE_WITH((AXIS_ATTR("axis"), EPSILON), RMSNormalization, GET("x"), GET("scale")),
     .check = check_norm, .prepare = prepare_norm},
    {"rms-norm-scale", OP(Mul, UNSCALED(RMSNormalization), GAMMA),
     .with = MAKE_WITH(AS_THE_NORM, RMSNormalization, GET("x"), GET("scale")),
     .check = check_norm, .prepare = prepare_norm},

    {"l2-norm", ONE_OF(OP(Div, X, ALONG(ReduceL2, X)), OP(Mul, X, OP(Reciprocal, ALONG(ReduceL2, X))),
                       OVER_ROOT(X, ALONG(ReduceSumSquare, X)),
                       OVER_ROOT(X, ALONG(ReduceSum, SQUARE(X)))),
     .with = MAKE_WITH((AXIS_ATTR("axis"), INT_ATTR("p", 2)), LpNormalization, GET("x")),
     .check = check_one_axis, .any_axis = true},
};
/* clang-format on */

const tb_pattern_table tb_raise_norm = {norms, sizeof norms / sizeof norms[0]};
