/*
 * Only the rows that are read: a small transformer whose target takes tokens in every way that
 * exporters write it. Outputs and explanations are those of the whole graph, and exactly the rows
 * that are not read make no products; what has another reader keeps all of them.
 */
#include "tests/check.h"

#include "graph/narrow.h"
#include "rules/explain.h"
#include "runtime/profile.h"
#include "tests/bound.h"

enum { TOKENS = 6, FEATURES = 4, HIDDEN = 8, HEADS = 2, CLASSES = 3 };

/* ---- the model ---- */

static tb_value *product(making *m, tb_value *x, const char *weight) {
    return make2(m, TB_OP_MatMul, x, make_random(m, weight));
}

static tb_value *heads_of(making *m, tb_value *x, const char *perm) {
    char split[64];
    snprintf(split, sizeof split, "%lld,%d,%d,%d", (long long)x->t.dims[0], TOKENS, HEADS,
             FEATURES / HEADS);
    return make_transpose(m, make_reshape(m, product(m, x, "4,4"), split), perm);
}

static tb_value *layer_norm(making *m, tb_value *x) {
    tb_value *in[] = {x, make_random(m, "4"), make_random(m, "4")};
    return make(m, TB_OP_LayerNormalization, 3, in, 1, &TB_INT_ATTR("axis", -1));
}

/* Written out: a region. */
static tb_value *rms_norm(making *m, tb_value *x) {
    tb_value *square = make2(m, TB_OP_Mul, x, x);
    tb_value *in[] = {square, make_ints(m, 1, (int64_t[]){-1})};
    tb_value *mean = make(m, TB_OP_ReduceMean, 2, in, 0, NULL);
    return make2(m, TB_OP_Div, x, make1(m, TB_OP_Sqrt, mean));
}

static tb_value *block(making *m, tb_value *x, bool written_out) {
    tb_value *y = layer_norm(m, x);
    tb_value *q = heads_of(m, y, "0,2,1,3"), *k = heads_of(m, y, "0,2,3,1"),
             *v = heads_of(m, y, "0,2,1,3");
    tb_value *scores = make2(m, TB_OP_MatMul, q, k);
    tb_value *p = make(m, TB_OP_Softmax, 1, &scores, 1, &TB_INT_ATTR("axis", -1));
    tb_value *o = make_transpose(m, make2(m, TB_OP_MatMul, p, v), "0,2,1,3");
    char whole[64];
    snprintf(whole, sizeof whole, "%lld,%d,%d", (long long)x->t.dims[0], TOKENS, FEATURES);
    x = make2(m, TB_OP_Add, x, product(m, make_reshape(m, o, whole), "4,4"));
    tb_value *h = product(m, written_out ? rms_norm(m, x) : layer_norm(m, x), "4,8");
    h = make1(m, TB_OP_Gelu, make2(m, TB_OP_Add, h, make_random(m, "8")));
    return make2(m, TB_OP_Add, x, product(m, h, "8,4"));
}

/* ---- ways to take tokens ---- */

static tb_value *gather(making *m, tb_value *x, tb_value *indices, int64_t axis) {
    return make(m, TB_OP_Gather, 2, (tb_value *[]){x, indices}, 1, &TB_INT_ATTR("axis", axis));
}

static tb_value *scalar(making *m, int64_t index) {
    tb_value *value;
    tiba_error error = {0};
    making_try(tb_build_constant(&m->b, &value, TIBA_INT64, 0, NULL, &index, &error), &error);
    return value;
}

static tb_value *squeeze(making *m, tb_value *x) {
    return make2(m, TB_OP_Squeeze, x, make_ints(m, 1, (int64_t[]){1}));
}

static tb_value *by_gather(making *m, tb_value *x) {
    return gather(m, x, scalar(m, 0), 1);
}

static tb_value *by_last(making *m, tb_value *x) {
    return squeeze(m, gather(m, x, make_ints(m, 1, (int64_t[]){-1}), 1));
}

static tb_value *by_slice(making *m, tb_value *x) {
    return squeeze(m, make_slice(m, x, 2, 3, 1, 1));
}

static tb_value *by_reshaped_slice(making *m, tb_value *x) {
    return make2(m, TB_OP_Reshape, make_slice(m, x, -1, 100, 1, 1),
                 make_ints(m, 2, (int64_t[]){-1, FEATURES}));
}

static tb_value *by_slice_and_gather(making *m, tb_value *x) {
    return gather(m, make_slice(m, x, 0, 2, 1, 1), scalar(m, 1), 1);
}

static tb_value *by_split(making *m, tb_value *x) {
    tb_value *out[2], *in[] = {x, make_ints(m, 2, (int64_t[]){1, TOKENS - 1})};
    tiba_error error = {0};
    making_try(tb_build(&m->b, out, 2, TB_OP_Split, 2, in, 1, &TB_INT_ATTR("axis", 1), &error),
               &error);
    return squeeze(m, out[0]);
}

static tb_value *by_gather_nd(making *m, tb_value *x) {
    int64_t indices[] = {0, 3, 1, 3}, dims[] = {x->t.dims[0], 2};
    tb_value *places;
    tiba_error error = {0};
    making_try(tb_build_constant(&m->b, &places, TIBA_INT64, 2, dims, indices, &error), &error);
    return make2(m, TB_OP_GatherND, x, places);
}

static tb_value *by_gather_elements(making *m, tb_value *x) {
    int64_t indices[2 * FEATURES], dims[] = {x->t.dims[0], 1, FEATURES};
    for (int i = 0; i < 2 * FEATURES; i++) indices[i] = 4;
    tb_value *in[] = {x, NULL};
    tiba_error error = {0};
    making_try(tb_build_constant(&m->b, &in[1], TIBA_INT64, 3, dims, indices, &error), &error);
    return squeeze(m, make(m, TB_OP_GatherElements, 2, in, 1, &TB_INT_ATTR("axis", 1)));
}

/* A class token and one of distillation: their rows together. */
static tb_value *by_two(making *m, tb_value *x) {
    return make2(m, TB_OP_Add, gather(m, x, scalar(m, 5), 1), gather(m, x, scalar(m, 1), 1));
}

static tb_value *by_mean_of_two(making *m, tb_value *x) {
    tb_value *in[] = {make_slice(m, x, 0, 4, 1, 3), make_ints(m, 1, (int64_t[]){1})};
    return make(m, TB_OP_ReduceMean, 2, in, 1, &TB_INT_ATTR("keepdims", 0));
}

typedef struct way {
    const char *name;
    tb_value *(*take)(making *m, tb_value *x);
    int64_t rows; /* that are computed */
} way;

static const way ways[] = {
    {"Gather", by_gather, 1},
    {"Gather, last", by_last, 1},
    {"Slice, Squeeze", by_slice, 1},
    {"Slice, Reshape", by_reshaped_slice, 1},
    {"Slice, Gather", by_slice_and_gather, 2},
    {"Split", by_split, 1},
    {"GatherND", by_gather_nd, 1},
    {"GatherElements", by_gather_elements, 1},
    {"two tokens", by_two, 2},
    {"mean of two", by_mean_of_two, 2},
};

/* ---- comparing ---- */

typedef struct subject {
    making m;
    tb_profile profile;
    tb_value *middle; /* the last block's result */
    const tb_narrowing *narrowing;
    tb_analysis *analysis;
    tb_explainer *explainer;
    double multiply_adds; /* of the forward pass */
} subject;

typedef enum treatment { WHOLE, OUTPUTS, EXPLAINED } treatment;

/* More than one way to be read: what makes the rows of the last block be needed after all. */
typedef enum reader { NONE, IS_OUTPUT, IS_SUMMED } reader;

static void make_model(subject *s, const way *w, int64_t samples, reader also, bool written_out) {
    making *m = &s->m;
    *s = (subject){0};
    making_start(m);
    char shape[32];
    snprintf(shape, sizeof shape, "%lld,%d,3", (long long)samples, TOKENS);
    tb_value *x = product(m, make_input(m, "tokens", shape), "3,4");
    for (int i = 0; i < 2; i++) x = block(m, x, written_out);
    s->middle = x;
    x = w->take(m, layer_norm(m, x));
    tb_value *y = make2(m, TB_OP_Add, product(m, x, "4,3"), make_random(m, "3"));
    if (also == IS_SUMMED) {
        tb_value *in[] = {s->middle, make_ints(m, 2, (int64_t[]){1, 2})};
        tb_value *sum = make(m, TB_OP_ReduceSum, 2, in, 1, &TB_INT_ATTR("keepdims", 0));
        y = make2(m, TB_OP_Add, y, make_reshape(m, sum, "1,1"));
    }
    make_output(m, y);
    if (also == IS_OUTPUT) make_output(m, s->middle);
}

static void run_model(subject *s, treatment how) {
    making *m = &s->m;
    tiba_error error = {0};
    unsigned char *keep = NULL;
    if (how == OUTPUTS)
        making_try(tb_narrow_rows(&s->narrowing, m->graph, NULL, NULL, &m->exec, m->arena, &error),
                   &error);
    making_try(tb_analysis_create(&s->analysis, m->graph, NULL, &error), &error);
    if (how != OUTPUTS) {
        tb_exec *exec = how == EXPLAINED ? &m->exec : NULL;
        making_try(tb_explainer_create(&s->explainer, m->graph, s->analysis, 0, exec, NULL, &error),
                   &error);
        keep = TB_NEW(m->arena, unsigned char, m->graph->n_values);
        tb_explainer_keep(s->explainer, keep);
    }
    /* the explanation's memory is its own here, there what the forward pass has done with */
    size_t spare = how == EXPLAINED ? tb_explainer_spare(s->explainer) : 0;
    making_try(tb_program_create(&m->program, m->graph, keep, spare, NULL, &error), &error);
    CHECK(!m->program->spare || (spare > 0 && m->program->spare_bytes >= spare));
    m->exec.profile = &s->profile;
    making_try(tb_program_run(m->program, (const void *[]){m->inputs[0]}, &m->exec, &error),
               &error);
    s->multiply_adds = (double)s->profile.multiply_adds;
}

static void end(subject *s) {
    tb_explainer_destroy(s->explainer);
    tb_analysis_destroy(s->analysis);
    making_end(&s->m);
}

static void check_outputs(const subject *a, const subject *b, const char *name) {
    for (int i = 0; i < a->m.graph->n_outputs; i++) {
        const tb_value *x = a->m.graph->outputs[i], *y = b->m.graph->outputs[i];
        CHECK_CASE(tb_same_shape(&x->t, &y->t), "%s: another shape", name);
        for (int64_t k = 0; k < tb_tensor_count(&x->t); k++)
            CHECK_CASE(fabsf(made(&a->m, x)[k] - made(&b->m, y)[k]) <= 1e-5f, "%s: output %d", name,
                       i);
    }
}

static void check_explanations(subject *a, subject *b, tiba_method method, int64_t element,
                               const char *name) {
    tb_explain_options options = {.method = method, .blocks = true};
    tb_tower_explanation towers[2] = {{0}};
    tiba_error error = {0};
    subject *both[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        tb_explain_job job = {element, &options, &towers[i], both[i]->m.arena};
        making_try(tb_explainer_run(both[i]->explainer, both[i]->m.program, 1, &job,
                                    &both[i]->m.exec, &error),
                   &error);
    }
    CHECK_CASE(towers[0].readout_tokens == TOKENS && towers[1].readout_tokens == TOKENS, "%s",
               name);
    for (int t = 0; t < TOKENS; t++) {
        CHECK_CASE(fabsf(towers[0].tokens[t] - towers[1].tokens[t]) <= 1e-5f, "%s: token %d", name,
                   t);
        CHECK_CASE(fabsf(towers[0].readout[t] - towers[1].readout[t]) <= 1e-5f, "%s: readout %d",
                   name, t);
    }
    for (int e = 0; towers[0].blocks && e < TOKENS * TOKENS; e++)
        CHECK_CASE(fabsf(towers[0].blocks[1][e] - towers[1].blocks[1][e]) <= 1e-5f, "%s: block",
                   name);
    CHECK_CASE(fabs(towers[0].relevance_in - towers[1].relevance_in) <= 1e-5, "%s: sum", name);
}

/* Multiply-adds of a row above the last attention's P, and of its query and scores. */
enum {
    PER_ROW = FEATURES * FEATURES + 2 * FEATURES * HIDDEN + TOKENS * FEATURES,
    PER_QUERY = FEATURES * FEATURES + TOKENS * FEATURES
};

static void check_way(const way *w, int64_t samples, bool written_out) {
    subject whole, outputs, explained;
    make_model(&whole, w, samples, NONE, written_out);
    make_model(&outputs, w, samples, NONE, written_out);
    make_model(&explained, w, samples, NONE, written_out);
    run_model(&whole, WHOLE);
    run_model(&outputs, OUTPUTS);
    run_model(&explained, EXPLAINED);
    double rows = (double)(samples * (TOKENS - w->rows));
    CHECK_CASE(whole.multiply_adds - explained.multiply_adds == rows * PER_ROW, "%s: %g", w->name,
               whole.multiply_adds - explained.multiply_adds);
    CHECK_CASE(whole.multiply_adds - outputs.multiply_adds == rows * (PER_ROW + PER_QUERY),
               "%s: %g", w->name, whole.multiply_adds - outputs.multiply_adds);
    CHECK(outputs.narrowing && tb_narrow_now(outputs.narrowing, outputs.middle) != outputs.middle);
    check_outputs(&whole, &outputs, w->name);
    check_outputs(&whole, &explained, w->name);
    static const tiba_method methods[] = {TIBA_METHOD_TIBA,          TIBA_METHOD_ROLLOUT,
                                          TIBA_METHOD_RAW_ATTENTION, TIBA_METHOD_GENERIC,
                                          TIBA_METHOD_PARTIAL_LRP,   TIBA_METHOD_ATTENTION_GRADCAM,
                                          TIBA_METHOD_LRP,           TIBA_METHOD_GRAD_X_INPUT};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        check_explanations(&whole, &explained, methods[i], samples * CLASSES - 2, w->name);
    end(&whole);
    end(&outputs);
    end(&explained);
}

/* Somebody else reads all rows. */
static void check_read(reader also) {
    subject whole, outputs, explained;
    make_model(&whole, &ways[0], 1, also, false);
    make_model(&outputs, &ways[0], 1, also, false);
    make_model(&explained, &ways[0], 1, also, false);
    run_model(&whole, WHOLE);
    run_model(&outputs, OUTPUTS);
    run_model(&explained, EXPLAINED);
    CHECK(outputs.multiply_adds == whole.multiply_adds);
    CHECK(tb_narrow_now(outputs.narrowing, outputs.middle) == outputs.middle);
    check_outputs(&whole, &outputs, "read");
    check_outputs(&whole, &explained, "read");
    check_explanations(&whole, &explained, TIBA_METHOD_TIBA, 1, "read");
    end(&whole);
    end(&outputs);
    end(&explained);
}

/* ---- where the way ends ---- */

/* x -> step -> Gather; is the step done on one row? */
static bool narrows(tb_value *(*step)(making *m, tb_value *x), bool regions) {
    making m;
    tiba_error error = {0};
    making_start(&m);
    tb_value *x = make_input(&m, "x", "1,6,4"), *y = step(&m, make1(&m, TB_OP_Tanh, x));
    make_output(&m, by_gather(&m, y));
    making_run(&m);
    float want[FEATURES];
    memcpy(want, made(&m, m.graph->outputs[0]), sizeof want);
    tb_program_destroy(m.program);
    tb_regions *found = NULL;
    if (regions) making_try(tb_regions_find(&found, m.graph, m.arena, &error), &error);
    const tb_narrowing *narrowing;
    making_try(tb_narrow_rows(&narrowing, m.graph, found, NULL, &m.exec, m.arena, &error), &error);
    making_run(&m);
    for (int i = 0; i < FEATURES; i++) CHECK_NEAR(made(&m, m.graph->outputs[0])[i], want[i], 1e-6);
    bool narrow = tb_narrow_now(narrowing, y) != y;
    making_end(&m);
    return narrow;
}

static tb_value *add_bias(making *m, tb_value *x) {
    return make2(m, TB_OP_Add, x, make_random(m, "4"));
}

static tb_value *add_positions(making *m, tb_value *x) {
    return make2(m, TB_OP_Add, x, make_random(m, "6,4"));
}

static tb_value *mix_tokens(making *m, tb_value *x) {
    return make2(m, TB_OP_MatMul, make_random(m, "6,6"), x);
}

static tb_value *norm_of_tokens(making *m, tb_value *x) {
    return make(m, TB_OP_Softmax, 1, &x, 1, &TB_INT_ATTR("axis", 1));
}

static tb_value *scale_of_all(making *m, tb_value *x) {
    return make2(m, TB_OP_Div, x, make(m, TB_OP_ReduceMax, 1, &x, 0, NULL));
}

static tb_value *join_features(making *m, tb_value *x) {
    tb_value *both = make_concat(m, 2, (tb_value *[]){x, make1(m, TB_OP_Relu, x)}, 2);
    return make_slice(m, both, 0, 4, 2, 1);
}

static void check_ends(void) {
    CHECK(narrows(add_bias, false));
    CHECK(narrows(join_features, false));
    CHECK(narrows(rms_norm, true));
    CHECK(!narrows(add_positions, false)); /* one row of them would be a bias */
    CHECK(!narrows(mix_tokens, false));
    CHECK(!narrows(norm_of_tokens, false));
    CHECK(narrows(scale_of_all, false));
    CHECK(!narrows(scale_of_all, true)); /* a region in one piece or not at all */
}

int main(void) {
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (int samples = 1; samples <= 2; samples++)
            for (int out = 0; out < 2; out++) check_way(&ways[i], samples, out);
    check_read(IS_OUTPUT);
    check_read(IS_SUMMED);
    check_ends();
    TEST_END();
}
