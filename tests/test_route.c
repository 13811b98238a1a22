/*
 * The rollout through the graph: equal to the plain one on plain towers however their residuals are
 * written, and equal to hand-made mixing matrices where tokens are permuted, rolled, put into
 * windows or merged.
 */
#include "rules/route.h"
#include "tests/rollout.h"

/* -------------------------------------------------------------------- plain towers */

/* How a block's residual is written. All roll out by I + E. */
typedef enum written {
    USUAL,
    WITH_MLP,    /* x + (attention + MLP) */
    BESIDE_MLP,  /* (attention + MLP) + x */
    PROJECTED,   /* the skip connection has weights */
    LONG_SKIP,   /* the usual ones, and the input added to the last one's result */
    LONG_BRANCH, /* the same behind a product */
    WRITTEN_FORMS
} written;

static tb_value *linear(subject *s, tb_value *x) {
    return make2(&s->m, TB_OP_MatMul, x, make_random(&s->m, "4,4"));
}

static tb_value *block_as(subject *s, tb_value *x, bool transposed, written as) {
    making *m = &s->m;
    if (as == PROJECTED) return make2(m, TB_OP_Add, attend(s, x, transposed), linear(s, x));
    if (as != WITH_MLP && as != BESIDE_MLP) return block(s, x, transposed);
    tb_value *branch = attend(s, x, transposed);
    branch = make2(m, TB_OP_Add, branch, make1(m, TB_OP_Relu, linear(s, x)));
    return as == WITH_MLP ? make2(m, TB_OP_Add, x, branch) : make2(m, TB_OP_Add, branch, x);
}

/* The same tower rolled out through the graph. */
static void check_route_on_plain(readout how, bool transposed, written as) {
    subject s;
    tb_value *x = start(&s, "1,5,3"), *y = x;
    for (int i = 0; i < LAYERS; i++) y = block_as(&s, y, transposed, as);
    if (as == LONG_BRANCH) y = linear(&s, y);
    if (as == LONG_SKIP || as == LONG_BRANCH) y = make2(&s.m, TB_OP_Add, x, y);
    tb_value *target =
        how == CLASS_TOKEN
            ? make2(&s.m, TB_OP_MatMul, make_reshape(&s.m, make_slice(&s.m, y, 0, 1, 1, 1), "1,4"),
                    make_random(&s.m, "4,3"))
            : read_out(&s, y, how);
    finish(&s, target);
    int64_t element = how == ONE_TOKEN ? 3 * CLASSES + 2 : 2;
    seen *at = watch(&s, element, y);
    tb_route_graph on = {s.m.graph,           s.analysis->axes,       s.analysis->attentions,
                         s.analysis->regions, s.analysis->dominators, false};
    tiba_error error = {0};
    tb_route *route;
    static const int members[LAYERS] = {0, 1, 2};
    const tb_node *stopped;
    making_try(
        tb_route_create(&route, on, target, NULL, LAYERS, members, &stopped, s.m.arena, &error),
        &error);
    CHECK(route->source.tokens == TOKENS);
    double w[MOST] = {0}, r[MOST] = {0}, even[MOST] = {0}, got[MOST];
    if (route->readout.tokens == 1) { /* the class token that was cut out */
        CHECK(how == CLASS_TOKEN);
        w[0] = r[0] = even[0] = 1;
    } else {
        CHECK(route->readout.tokens == TOKENS);
        for (int t = 0; t < TOKENS; t++) w[t] = r[t] = even[t] = make_number(&s.m) + 1;
    }
    float *blocks[LAYERS], *rows[LAYERS];
    double e[TOKENS * TOKENS], p[TOKENS * TOKENS];
    double above[MOST]; /* what reaches the queries of the first attention */
    for (int b = LAYERS - 1; b >= 0; b--) {
        naive_block(e, &s, at, b, transposed);
        memcpy(above, r, sizeof above);
        naive_step(r, e, TOKENS, false);
        for (int i = 0; i < TOKENS * TOKENS; i++) p[i] = (make_number(&s.m) + 1) * (1 + i / TOKENS);
        if (b > 0) naive_step(even, p, TOKENS, true);
        blocks[b] = TB_NEW(s.m.arena, float, TOKENS *TOKENS);
        rows[b] = TB_NEW(s.m.arena, float, TOKENS *TOKENS);
        for (int i = 0; i < TOKENS * TOKENS; i++) blocks[b][i] = (float)e[i];
        for (int i = 0; i < TOKENS * TOKENS; i++) rows[b][i] = (float)p[i];
    }
    tb_route_load load = {w, 0, blocks, false, NULL};
    making_try(tb_route_run(route, s.m.program, &load, got, NULL, &s.m.exec, &error), &error);
    for (int t = 0; t < TOKENS; t++)
        CHECK_CASE(fabs(got[t] - r[t]) <= 1e-5 * fabs(r[t]) + 1e-6,
                   "written as %d: token %d is %g, not %g", (int)as, t, got[t], r[t]);
    making_try(tb_route_reach(route, s.m.program, &load, 0, got, NULL, &s.m.exec, &error), &error);
    for (int t = 0; t < TOKENS && as != LONG_SKIP && as != LONG_BRANCH; t++)
        CHECK_CASE(fabs(got[t] - above[t]) <= 1e-5 * fabs(above[t]) + 1e-6,
                   "written as %d: %g reaches query %d, not %g", (int)as, got[t], t, above[t]);
    rows[0] = NULL; /* a start layer */
    load = (tb_route_load){w, 0, rows, true, NULL};
    tiba_status status = tb_route_run(route, s.m.program, &load, got, NULL, &s.m.exec, &error);
    if (as == LONG_SKIP || as == LONG_BRANCH) {
        CHECK(status == TIBA_ERROR_INPUT && strstr(error.message, "several attentions share"));
        end(&s);
        return;
    }
    making_try(status, &error);
    for (int t = 0; t < TOKENS; t++)
        CHECK_CASE(fabs(got[t] - even[t]) <= 1e-5 * fabs(even[t]) + 1e-6,
                   "normalized, written as %d: token %d is %g, not %g", (int)as, t, got[t],
                   even[t]);
    end(&s);
}

static void end_refused(subject *s, const char *name, tb_value *target) {
    tiba_error error = {0};
    make_output(&s->m, target);
    making_run(&s->m);
    making_try(tb_analysis_create(&s->analysis, s->m.graph, NULL, &error), &error);
    tiba_status status =
        tb_explainer_create(&s->explainer, s->m.graph, s->analysis, 0, NULL, NULL, &error);
    const tiba_error *refusal = status == TIBA_OK ? tb_explainer_refusal(s->explainer) : &error;
    CHECK_CASE(refusal && refusal->code == TIBA_ERROR_INPUT, "%s: a map", name);
    CHECK_CASE(!refusal || refusal->node[0], "%s: '%s'", name, refusal->message);
    end(s);
}

/* Two encoders of the same tokens, their results added: no chain, whatever the order of the nodes.
 */
static void check_two_encoders(void) {
    enum { EACH = LAYERS / 2 + 1 };
    subject s;
    tb_value *x = start(&s, "1,5,3"), *a = x, *b = x;
    for (int i = 0; i < EACH; i++) {
        a = block(&s, a, false);
        b = block(&s, b, false);
    }
    tb_value *y = make2(&s.m, TB_OP_Add, a, b);
    finish(&s, read_out(&s, make2(&s.m, TB_OP_MatMul, y, make_random(&s.m, "4,4")), MEAN));
    tb_tower_explanation tower = explain(&s, 1, (tb_explain_options){.rollout = TB_ROLLOUT_RAW});
    CHECK(tower.routed && tower.readout_tokens == TOKENS);
    seen *at = watch(&s, 1, y);
    double want[TOKENS] = {0}, e[TOKENS * TOKENS];
    for (int branch = 0; branch < 2; branch++) {
        double r[TOKENS];
        for (int t = 0; t < TOKENS; t++) r[t] = (double)tower.readout[t];
        for (int i = EACH - 1; i >= 0; i--) {
            naive_block(e, &s, at, 2 * i + branch, false);
            naive_step(r, e, TOKENS, false);
        }
        /* half of what is read comes by each, and all that each one's attentions add */
        for (int t = 0; t < TOKENS; t++) want[t] += r[t] - 0.5 * (double)tower.readout[t];
    }
    check_tokens("two encoders", tower.tokens, want, TOKENS);
    end(&s);
}

static void check_two_readouts(void) {
    subject s;
    tb_value *x = start(&s, "1,5,3"), *a = block(&s, block(&s, x, false), false);
    tb_value *b = block(&s, block(&s, x, false), false);
    tb_value *both = make2(&s.m, TB_OP_Add, read_out(&s, a, MEAN), read_out(&s, b, MEAN));
    end_refused(&s, "two encoders that are read one by one", both);
}

/* -------------------------------------------------------------------- tokens that move or merge */

/* r over rows ← mixᵀ r over columns. */
static void mix(double *r, const double *m, int rows, int columns) {
    double to[MOST] = {0};
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < columns; k++) to[k] += r[i] * m[i * columns + k];
    memcpy(r, to, sizeof to);
}

typedef struct moved {
    const char *name;
    int tokens, after; /* in the first block, in the second */
    tb_value *(*move)(subject *s, tb_value *x);
    tb_value *(*back)(subject *s, tb_value *x); /* NULL: stays */
    void (*matrix)(double *m);                  /* [after, tokens] */
} moved;

static const int64_t permutation[6] = {2, 0, 5, 1, 4, 3};

static tb_value *permute(subject *s, tb_value *x) {
    tb_value *in[] = {x, make_ints(&s->m, 6, permutation)};
    return make(&s->m, TB_OP_Gather, 2, in, 1, &TB_INT_ATTR("axis", 1));
}

static void permute_matrix(double *m) {
    for (int i = 0; i < 6; i++) m[i * 6 + permutation[i]] = 1;
}

static tb_value *roll(subject *s, tb_value *x) {
    tb_value *parts[] = {make_slice(&s->m, x, 2, 6, 1, 1), make_slice(&s->m, x, 0, 2, 1, 1)};
    return make_concat(&s->m, 2, parts, 1);
}

static void roll_matrix(double *m) {
    for (int i = 0; i < 6; i++) m[i * 6 + (i + 2) % 6] = 1;
}

/* Four tokens of a 4 × 4 grid in a 2 × 2 window. */
static int in_window(int window, int i) {
    return (window / 2 * 2 + i / 2) * 4 + window % 2 * 2 + i % 2;
}

static tb_value *windows(subject *s, tb_value *x) {
    x = make_transpose(&s->m, make_reshape(&s->m, x, "1,2,2,2,2,4"), "0,1,3,2,4,5");
    return make_reshape(&s->m, x, "4,4,4");
}

static tb_value *windows_back(subject *s, tb_value *x) {
    x = make_transpose(&s->m, make_reshape(&s->m, x, "1,2,2,2,2,4"), "0,1,3,2,4,5");
    return make_reshape(&s->m, x, "1,16,4");
}

static void windows_matrix(double *m) {
    for (int i = 0; i < 16; i++) m[i * 16 + in_window(i / 4, i % 4)] = 1;
}

/* Patch merging: each 2 × 2 neighbourhood becomes one token of four times the features. */
static tb_value *merge(subject *s, tb_value *x) {
    tb_value *grid = make_reshape(&s->m, x, "1,4,4,4"), *parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = make_slice(&s->m, make_slice(&s->m, grid, i % 2, 4, 1, 2), i / 2, 4, 2, 2);
    tb_value *all = make_reshape(&s->m, make_concat(&s->m, 4, parts, -1), "1,4,16");
    return make2(&s->m, TB_OP_MatMul, all, make_random(&s->m, "16,4"));
}

static void merge_matrix(double *m) {
    for (int window = 0; window < 4; window++)
        for (int i = 0; i < 4; i++) m[window * 16 + in_window(window, i)] = 0.25;
}

/* The same by maxima, as Hiera does. */
static tb_value *merge_by_maximum(subject *s, tb_value *x) {
    tb_value *in[] = {windows(s, x), make_ints(&s->m, 1, (int64_t[]){1})};
    tb_value *most = make(&s->m, TB_OP_ReduceMax, 2, in, 1, &TB_INT_ATTR("keepdims", 0));
    return make_reshape(&s->m, most, "1,4,4");
}

static tb_value *merge_by_pool(subject *s, tb_value *x) {
    x = make_transpose(&s->m, make_reshape(&s->m, x, "1,4,4,4"), "0,3,1,2");
    static const int64_t two[] = {2, 2};
    tb_attr attrs[] = {TB_INTS_ATTR("kernel_shape", 2, two), TB_INTS_ATTR("strides", 2, two)};
    x = make(&s->m, TB_OP_MaxPool, 1, &x, 2, attrs);
    return make_reshape(&s->m, make_transpose(&s->m, x, "0,2,3,1"), "1,4,4");
}

/* Overlapping windows that reach beyond the tokens: 2 or 3 rows and columns of tokens are in each.
 */
static tb_value *merge_padded(subject *s, tb_value *x) {
    x = make_reshape(&s->m, x, "1,4,4,4");
    tb_value *in[] = {x, make_ints(&s->m, 8, (int64_t[]){0, 1, 1, 0, 0, 1, 1, 0})};
    x = make_transpose(&s->m, make(&s->m, TB_OP_Pad, 2, in, 0, NULL), "0,3,1,2");
    tb_value *of[] = {x, make_random(&s->m, "4,4,3,3")};
    x = make(&s->m, TB_OP_Conv, 2, of, 1, &TB_INTS_ATTR("strides", 2, ((const int64_t[]){2, 2})));
    return make_reshape(&s->m, make_transpose(&s->m, x, "0,2,3,1"), "1,4,4");
}

static void padded_matrix(double *m) {
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++)
            for (int i = y; i < 2 + 2 * y; i++)
                for (int j = x; j < 2 + 2 * x; j++)
                    m[(2 * y + x) * 16 + 4 * i + j] = 1.0 / ((2 + y) * (2 + x));
}

static const moved cases[] = {
    {"permutation", 6, 6, permute, NULL, permute_matrix},
    {"roll", 6, 6, roll, NULL, roll_matrix},
    {"windows", 16, 16, windows, windows_back, windows_matrix},
    {"merge", 16, 4, merge, NULL, merge_matrix},
    {"merge by maximum", 16, 4, merge_by_maximum, NULL, merge_matrix},
    {"merge by max pool", 16, 4, merge_by_pool, NULL, merge_matrix},
    {"merge of what Pad has padded", 16, 4, merge_padded, NULL, padded_matrix},
};

/* A block, the move, a block, the move back, mean, class. */
static void check_moved(const moved *c, bool normalized) {
    subject s;
    tb_value *y = start(&s, c->tokens == 16 ? "1,16,3" : "1,6,3");
    y = block(&s, y, false);
    tb_value *moved_y = c->move(&s, y), *z;
    if (c->back) /* windows are undone before the residual, as in Swin */
        z = feed_forward(&s, make2(&s.m, TB_OP_Add, y, c->back(&s, attend(&s, moved_y, false))));
    else
        z = block(&s, moved_y, false);
    tb_value *mean_in[] = {z, make_ints(&s.m, 1, (int64_t[]){1})};
    tb_value *mean = make(&s.m, TB_OP_ReduceMean, 2, mean_in, 1, &TB_INT_ATTR("keepdims", 0));
    finish(&s, make2(&s.m, TB_OP_MatMul, mean, make_random(&s.m, "4,3")));
    seen *at = watch(&s, 1, z);
    double w[MOST] = {0}, sum = 0, r[MOST] = {0}, m[MOST * MOST] = {0}, e[MOST * MOST];
    int last = c->back ? c->tokens : c->after;
    for (int t = 0; t < last; t++) {
        for (int d = 0; d < FEATURES; d++) w[t] += at[2].relevance[t * FEATURES + d];
        sum += w[t] = fmax(0, w[t]);
    }
    for (int t = 0; t < last; t++) r[t] = w[t] / sum;
    c->matrix(m);
    naive_block(e, &s, at, 1, false);
    if (c->back) { /* E of the windows over the tokens in their own order */
        double full[MOST * MOST] = {0};
        for (int q = 0; q < 16; q++)
            for (int k = 0; k < 16; k++)
                full[in_window(q / 4, q % 4) * 16 + in_window(k / 4, k % 4)] = e[q * 16 + k];
        naive_step(r, full, c->tokens, normalized);
    } else {
        naive_step(r, e, c->after, normalized);
        mix(r, m, c->after, c->tokens);
    }
    naive_block(e, &s, at, 0, false);
    naive_step(r, e, c->tokens, normalized);
    tb_explain_options options = {.rollout = normalized ? TB_ROLLOUT_DEFAULT : TB_ROLLOUT_RAW};
    tb_tower_explanation tower = explain(&s, 1, options); /* no picture: rows are divided */
    CHECK_CASE(tower.routed, "%s: a plain tower", c->name);
    CHECK_CASE(tower.tower->tokens == c->tokens, "%s: %d tokens", c->name,
               (int)tower.tower->tokens);
    if (tower.tower->tokens == c->tokens) check_tokens(c->name, tower.tokens, r, c->tokens);
    end(&s);
}

/* -------------------------------------------------------------------- tokens beside their places
 */

static tb_value *reversed(subject *s, tb_value *x) {
    return make_slice(&s->m, x, 5, INT64_MIN / 2, 1, -1);
}

static void reversed_matrix(double *m) {
    for (int i = 0; i < 6; i++) m[i * 6 + 5 - i] = 1;
}

static tb_value *chosen(subject *s, tb_value *x) {
    int64_t at[6 * FEATURES];
    for (int i = 0; i < 6 * FEATURES; i++) at[i] = permutation[i / FEATURES];
    tb_value *in[] = {x, make_ints(&s->m, 6 * FEATURES, at)};
    in[1] = make_reshape(&s->m, in[1], "1,6,4");
    return make(&s->m, TB_OP_GatherElements, 2, in, 1, &TB_INT_ATTR("axis", 1));
}

/* Token `permutation[i]` is put to place i. */
static tb_value *put_rows(subject *s, tb_value *x) {
    int64_t at[12];
    for (int i = 0; i < 6; i++) at[2 * permutation[i]] = 0, at[2 * permutation[i] + 1] = i;
    tb_value *where = make_reshape(&s->m, make_ints(&s->m, 12, at), "1,6,2");
    return make(&s->m, TB_OP_ScatterND, 3, (tb_value *[]){x, where, x}, 0, NULL);
}

static tb_value *put_elements(subject *s, tb_value *x) {
    int64_t at[6 * FEATURES];
    for (int i = 0; i < 6; i++)
        for (int d = 0; d < FEATURES; d++) at[permutation[i] * FEATURES + d] = i;
    tb_value *where = make_reshape(&s->m, make_ints(&s->m, 6 * FEATURES, at), "1,6,4");
    return make(&s->m, TB_OP_ScatterElements, 3, (tb_value *[]){x, where, x}, 1,
                &TB_INT_ATTR("axis", 1));
}

/* Three tokens are put where they are. */
static tb_value *put_back(subject *s, tb_value *x) {
    tb_value *where = make_ints(&s->m, 6, (int64_t[]){0, 2, 0, 3, 0, 4});
    tb_value *in[] = {x, make_reshape(&s->m, where, "1,3,2"), make_slice(&s->m, x, 2, 5, 1, 1)};
    return make(&s->m, TB_OP_ScatterND, 3, in, 0, NULL);
}

static void same_matrix(double *m) {
    for (int i = 0; i < 6; i++) m[i * 6 + i] = 1;
}

static tb_value *shifted(subject *s, tb_value *x) {
    tb_value *in[] = {x, make_ints(&s->m, 6, (int64_t[]){0, 1, 0, 0, -1, 0})};
    return make(&s->m, TB_OP_Pad, 2, in, 0, NULL);
}

static void shifted_matrix(double *m) {
    for (int i = 1; i < 6; i++) m[i * 6 + i - 1] = 1;
}

/* Read between tokens, and outside of them. */
static const double read_at[6] = {5, 0.5, 1.25, 9, 3, 2};

static tb_value *sampled(subject *s, tb_value *x) {
    float grid[6];
    for (int i = 0; i < 6; i++) grid[i] = (float)(read_at[i] / 2.5 - 1);
    tb_value *in[] = {make_transpose(&s->m, x, "0,2,1"), make_constant(&s->m, "1,6,1", grid)};
    tb_value *y = make(&s->m, TB_OP_GridSample, 2, in, 1, &TB_INT_ATTR("align_corners", 1));
    return make_transpose(&s->m, y, "0,2,1");
}

static void sampled_matrix(double *m) {
    for (int i = 0; i < 6; i++)
        for (int t = 0; t < 6; t++) m[i * 6 + t] = fmax(0, 1 - fabs(read_at[i] - t));
}

static tb_value *by_sequence(subject *s, tb_value *x) {
    tb_attr attrs[] = {TB_INT_ATTR("time_axis", 1), TB_INT_ATTR("batch_axis", 0)};
    tb_value *in[] = {x, make_ints(&s->m, 1, (int64_t[]){6})};
    return make(&s->m, TB_OP_ReverseSequence, 2, in, 2, attrs);
}

static tb_value *by_matrix(subject *s, tb_value *x) {
    return make2(&s->m, TB_OP_MatMul, make_random(&s->m, "6,6"), x);
}

static tb_value *with_features(subject *s, tb_value *x) {
    return make_reshape(&s->m, make_transpose(&s->m, x, "0,2,1"), "1,6,4");
}

static tb_value *compressed(subject *s, tb_value *x) {
    static const float all[6] = {1, 1, 1, 1, 1, 1};
    tb_value *bits = make_constant(&s->m, "6", all);
    bits = make(&s->m, TB_OP_Cast, 1, &bits, 1, &TB_INT_ATTR("to", TIBA_BOOL));
    return make(&s->m, TB_OP_Compress, 2, (tb_value *[]){x, bits}, 1, &TB_INT_ATTR("axis", 1));
}

static tb_value *summed(subject *s, tb_value *x) {
    return make2(&s->m, TB_OP_CumSum, x, make_ints(&s->m, 1, (int64_t[]){1}));
}

/* The second block attends over moved tokens and its result is added to those that stayed: the
 * weights of its keys go to where the tokens came from. */
typedef struct beside {
    const char *name;
    tb_value *(*move)(subject *s, tb_value *x);
    void (*matrix)(double *m); /* NULL: refused */
    bool queries;              /* only the queries are moved, and the result moved back */
    bool plain;                /* nothing has moved */
} beside;

static const beside stays[] = {
    {"permuted beside", permute, permute_matrix, false, false},
    {"rolled beside", roll, roll_matrix, false, false},
    {"reversed beside", reversed, reversed_matrix, false, false},
    {"chosen beside", chosen, permute_matrix, false, false},
    {"put to other rows", put_rows, permute_matrix, false, false},
    {"put to other places", put_elements, permute_matrix, false, false},
    {"put back", put_back, same_matrix, false, true},
    {"shifted beside", shifted, shifted_matrix, false, false},
    {"sampled beside", sampled, sampled_matrix, false, false},
    {"reversed queries", reversed, reversed_matrix, true, false},
    {"reversed by lengths", by_sequence, NULL, false, false},
    {"mixed by a matrix", by_matrix, NULL, false, false},
    {"mixed with features", with_features, NULL, false, false},
    {"compressed", compressed, NULL, false, false},
};

static void check_beside(const beside *c, bool normalized) {
    subject s;
    tb_value *y = block(&s, start(&s, "1,6,3"), false), *moved_y = c->move(&s, y), *o;
    if (c->queries)
        o = c->move(&s, attend_to(&s, moved_y, y, false));
    else
        o = attend(&s, moved_y, false);
    tb_value *z = block(&s, feed_forward(&s, make2(&s.m, TB_OP_Add, y, o)), false);
    tb_value *mean_in[] = {z, make_ints(&s.m, 1, (int64_t[]){1})};
    tb_value *mean = make(&s.m, TB_OP_ReduceMean, 2, mean_in, 1, &TB_INT_ATTR("keepdims", 0));
    tb_value *target = make2(&s.m, TB_OP_MatMul, mean, make_random(&s.m, "4,3"));
    if (!c->matrix) {
        end_refused(&s, c->name, target);
        return;
    }
    finish(&s, target);
    seen *at = watch(&s, 1, z);
    double r[MOST] = {0}, w[MOST] = {0}, sum = 0, m[MOST * MOST] = {0}, e[MOST * MOST];
    for (int t = 0; t < 6; t++) {
        for (int d = 0; d < FEATURES; d++) w[t] += at[3].relevance[t * FEATURES + d];
        sum += w[t] = fmax(0, w[t]);
    }
    for (int t = 0; t < 6; t++) r[t] = w[t] / sum;
    naive_block(e, &s, at, 2, false);
    naive_step(r, e, 6, normalized);
    double handed[MOST] = {0}, rows[MOST], sums[MOST] = {0};
    c->matrix(m);
    naive_block(e, &s, at, 1, false);
    for (int i = 0; i < 36; i++) sums[i / 6] += e[i];
    for (int t = 0; t < 6 && normalized; t++) {
        double row = 1 + (c->queries ? 0 : sums[t]); /* of the row of the token's query */
        for (int q = 0; q < 6 && c->queries; q++) row += m[t * 6 + q] * sums[q];
        r[t] /= row;
    }
    memcpy(rows, r, sizeof rows);
    if (c->queries) mix(rows, m, 6, 6);
    for (int q = 0; q < 6; q++)
        for (int k = 0; k < 6; k++) handed[k] += rows[q] * e[q * 6 + k];
    if (!c->queries) mix(handed, m, 6, 6);
    for (int t = 0; t < 6; t++) r[t] += handed[t];
    naive_block(e, &s, at, 0, false);
    naive_step(r, e, 6, normalized);
    tb_explain_options options = {.rollout = normalized ? TB_ROLLOUT_DEFAULT : TB_ROLLOUT_RAW};
    tb_tower_explanation tower = explain(&s, 1, options);
    CHECK_CASE(tower.routed != c->plain, "%s: routed is %d", c->name, tower.routed);
    check_tokens(c->name, tower.tokens, r, 6);
    end(&s);
}

/* Two attentions in one residual sum, tokens moved for one of them: no row is one attention's, so a
 * text's rows stay undivided, unless they are asked for. */
static void check_shared_sum(void) {
    subject s;
    tb_value *y = block(&s, start(&s, "1,6,3"), false);
    tb_value *both = make2(&s.m, TB_OP_Add, attend(&s, y, false), attend(&s, roll(&s, y), false));
    tb_value *z = feed_forward(&s, make2(&s.m, TB_OP_Add, y, both));
    finish(&s, read_out(&s, z, ONE_TOKEN));
    double raw[6];
    tb_tower_explanation tower = explain(&s, 0, (tb_explain_options){.rollout = TB_ROLLOUT_RAW});
    CHECK(tower.routed && !tower.note);
    for (int t = 0; t < 6; t++) raw[t] = (double)tower.tokens[t];
    tower = explain(&s, 0, (tb_explain_options){0});
    CHECK(tower.note && strstr(tower.note, "share a residual sum"));
    check_tokens("shared sum", tower.tokens, raw, 6);
    tiba_error error = {0};
    tb_explain_options asked = {.rollout = TB_ROLLOUT_NORMALIZED};
    tb_explain_job job = {1, &asked, &tower, s.m.arena};
    CHECK(tb_explainer_run(s.explainer, s.m.program, 1, &job, &s.m.exec, &error) ==
          TIBA_ERROR_INPUT);
    CHECK_CASE(strstr(error.message, "share a residual sum"), "'%s'", error.message);
    end(&s);
}

/* What only another output reads does not count among the ways to the target. */
static void check_side_reader(void) {
    subject s;
    tb_value *y = block(&s, start(&s, "1,6,3"), false);
    make1(&s.m, TB_OP_Relu, y);
    tb_value *parts[] = {make1(&s.m, TB_OP_Gelu, y), y};
    for (int i = 0; i < 2; i++) {
        tb_value *in[] = {parts[i], make_ints(&s.m, 1, (int64_t[]){1})};
        parts[i] = make(&s.m, TB_OP_ReduceMean, 2, in, 1, &TB_INT_ATTR("keepdims", 0));
    }
    tb_value *sum = make2(&s.m, TB_OP_Add, parts[0], parts[1]);
    finish(&s, make2(&s.m, TB_OP_MatMul, sum, make_random(&s.m, "4,3")));
    seen *at = watch(&s, 2, y);
    double w[6] = {0}, all = 0;
    for (int t = 0; t < 6; t++) {
        for (int d = 0; d < FEATURES; d++) w[t] += at[s.n_ps].relevance[t * FEATURES + d];
        all += w[t] = fmax(0, w[t]);
    }
    for (int t = 0; t < 6; t++) w[t] /= all;
    tb_tower_explanation tower = explain(&s, 2, (tb_explain_options){0});
    check_tokens("side reader", tower.readout, w, 6);
    end(&s);
}

/* A decoder reads the tokens as they came in, in front of the moves that the attentions read: half
 * of the weight goes to either, and the attentions are asked for all that they add. */
static void check_read_in_front(void) {
    subject s;
    making *m = &s.m;
    tb_value *x = start(&s, "1,6,3");
    tb_value *y = make_transpose(m, make_transpose(m, x, "0,2,1"), "0,2,1");
    y = block(&s, roll(&s, block(&s, y, false)), false);
    tb_value *parts[] = {y, make1(m, TB_OP_Relu, x)};
    y = make2(m, TB_OP_MatMul, make_concat(m, 2, parts, 2), make_random(m, "8,4"));
    finish(&s, read_out(&s, y, ONE_TOKEN));
    seen *at = watch(&s, 3 * CLASSES + 1, y);
    double r[MOST] = {0}, passed[MOST] = {0}, move[MOST * MOST] = {0}, e[MOST * MOST];
    r[3] = passed[3] = 1.0;
    naive_block(e, &s, at, 1, false);
    naive_step(r, e, 6, false);
    roll_matrix(move);
    mix(r, move, 6, 6);
    mix(passed, move, 6, 6);
    naive_block(e, &s, at, 0, false);
    naive_step(r, e, 6, false);
    for (int i = 0; i < 6; i++) r[i] -= 0.5 * passed[i];
    r[3] += 0.5;
    tb_explain_options raw = {.rollout = TB_ROLLOUT_RAW};
    check_tokens("read in front", explain(&s, 3 * CLASSES + 1, raw).tokens, r, 6);
    end(&s);
}

/* Tokens by their own products: an attention, though none that is known; what is tokens behind it
 * is not known either. */
static tb_value *by_products(subject *s, tb_value *x) {
    tb_value *turned = make_transpose(&s->m, x, "0,2,1");
    tb_value *mixed = make2(&s->m, TB_OP_MatMul, make2(&s->m, TB_OP_MatMul, x, turned), x);
    return with_features(s, mixed);
}

/* Between attentions whose tokens move, an operator that is neither a move nor a merge. */
static void check_refused_step(tb_value *(*step)(subject *, tb_value *), const char *name) {
    subject s;
    tb_value *y = roll(&s, block(&s, start(&s, "1,6,3"), false));
    tb_value *z = block(&s, step(&s, y), false);
    tb_value *mean_in[] = {z, make_ints(&s.m, 1, (int64_t[]){1})};
    tb_value *mean = make(&s.m, TB_OP_ReduceMean, 2, mean_in, 1, &TB_INT_ATTR("keepdims", 0));
    make_output(&s.m, make2(&s.m, TB_OP_MatMul, mean, make_random(&s.m, "4,3")));
    tiba_error error = {0};
    tb_tower_explanation tower;
    making_run(&s.m);
    making_try(tb_analysis_create(&s.analysis, s.m.graph, NULL, &error), &error);
    tiba_status status =
        tb_explainer_create(&s.explainer, s.m.graph, s.analysis, 0, NULL, NULL, &error);
    tb_explain_job job = {1, &(tb_explain_options){0}, &tower, s.m.arena};
    if (status == TIBA_OK)
        status = tb_explainer_run(s.explainer, s.m.program, 1, &job, &s.m.exec, &error);
    CHECK_CASE(status == TIBA_ERROR_INPUT && strstr(error.message, name), "'%s'", error.message);
    end(&s);
}

/* An input's features are no tokens, though they have an axis of it all the way up. */
static void check_given_embeddings(void) {
    subject s = {0};
    making_start(&s.m);
    tb_value *x = make_input(&s.m, "embeddings", "1,16,4");
    tb_value *y = block(&s, x, false);
    y = make2(&s.m, TB_OP_Add, y, windows_back(&s, attend(&s, windows(&s, y), false)));
    finish(&s, read_out(&s, y, ONE_TOKEN));
    tb_tower_explanation tower = explain(&s, 5 * CLASSES + 1, (tb_explain_options){0});
    CHECK(tower.routed && tower.tower->tokens == 16 && tower.readout_tokens == 16);
    CHECK(tower.readout[5] == 1.0f);
    end(&s);
}

/* Pairs of tokens are merged, attended to, repeated and added to what they were: the sum tells all
 * tokens apart, though the operand in front holds each pair as one. */
static void check_repeated(bool first) {
    subject s;
    tb_value *y = block(&s, start(&s, "1,6,3"), false);
    tb_value *pairs =
        make2(&s.m, TB_OP_MatMul, make_reshape(&s.m, y, "1,3,8"), make_random(&s.m, "8,4"));
    pairs = make_reshape(&s.m, block(&s, pairs, false), "1,3,1,4");
    tb_value *shape = make_ints(&s.m, 4, (int64_t[]){1, 3, 2, 4});
    pairs = make_reshape(&s.m, make2(&s.m, TB_OP_Expand, pairs, shape), "1,6,4");
    y = first ? make2(&s.m, TB_OP_Add, pairs, y) : make2(&s.m, TB_OP_Add, y, pairs);
    finish(&s, read_out(&s, y, ONE_TOKEN));
    tb_tower_explanation tower = explain(&s, 3 * CLASSES + 1, (tb_explain_options){0});
    CHECK(tower.routed && tower.tower->tokens == 6 && tower.readout_tokens == 6);
    for (int t = 0; t < 6; t++) CHECK(tower.readout[t] == (t == 3 ? 1.0f : 0.0f));
    end(&s);
}

int main(void) {
    check_given_embeddings();
    check_repeated(true);
    check_repeated(false);
    for (size_t i = 0; i < sizeof stays / sizeof *stays; i++)
        check_beside(&stays[i], false), check_beside(&stays[i], true);
    check_refused_step(summed, "CumSum");
    check_refused_step(by_products, "MatMul");
    check_shared_sum();
    check_side_reader();
    check_read_in_front();
    check_two_encoders();
    check_two_readouts();
    for (int transposed = 0; transposed < 2; transposed++)
        for (int how = CLASS_TOKEN; how <= ONE_TOKEN; how++)
            for (int as = USUAL; as < WRITTEN_FORMS; as++)
                check_route_on_plain((readout)how, transposed, (written)as);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_moved(&cases[i], false), check_moved(&cases[i], true);
    TEST_END();
}
