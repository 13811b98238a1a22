/*
 * rollout.h: small towers made by hand (a softmax attention, a feed-forward step, a readout),
 * explained, and the naive forms that explanations are compared with. For the tests of the rollout,
 * plain and through the graph.
 */
#ifndef TB_TESTS_ROLLOUT_H
#define TB_TESTS_ROLLOUT_H

#include "rules/explain.h"
#include "rules/methods.h"
#include "rules/rollout.h"
#include "tests/bound.h"
#include "tests/check.h"

enum { MOST = 16, HEADS = 2, FEATURES = 4 };

/* r ← (I + E)ᵀ r, rows divided by their sums if asked for. */
static inline void naive_step(double *r, const double *e, int n, bool normalized) {
    double to[MOST] = {0};
    for (int q = 0; q < n; q++) {
        double sum = 1;
        for (int k = 0; k < n; k++) sum += e[q * n + k];
        for (int k = 0; k < n; k++)
            to[k] += r[q] * ((q == k) + e[q * n + k]) / (normalized ? sum : 1);
    }
    memcpy(r, to, (size_t)n * sizeof *r);
}

/* -------------------------------------------------------------------- graphs */

typedef struct subject {
    making m;
    tb_value *ps[4]; /* attention probabilities, [windows, heads, queries, keys] */
    int n_ps;
    tb_analysis *analysis;
    tb_explainer *explainer;
} subject;

/* O of a softmax attention of `query` over x, both [windows, tokens, features]. */
static inline tb_value *attend_to(subject *s, tb_value *query, tb_value *x, bool transposed) {
    making *m = &s->m;
    char split[64], whole[64];
    long long w = x->t.dims[0], n = x->t.dims[1];
    snprintf(split, sizeof split, "%lld,%lld,%d,%d", w, n, HEADS, FEATURES / HEADS);
    snprintf(whole, sizeof whole, "%lld,%lld,%d", w, n, FEATURES);
    tb_value *qkv[3];
    for (int i = 0; i < 3; i++)
        qkv[i] =
            make_reshape(m, make2(m, TB_OP_MatMul, i ? x : query, make_random(m, "4,4")), split);
    tb_value *o;
    if (transposed) { /* Pᵀ = softmax of K Qᵀ over the keys, O = (Vᵀ Pᵀ)ᵀ */
        tb_value *scores = make2(m, TB_OP_MatMul, make_transpose(m, qkv[1], "0,2,1,3"),
                                 make_transpose(m, qkv[0], "0,2,3,1"));
        tb_value *p = make(m, TB_OP_Softmax, 1, &scores, 1, &TB_INT_ATTR("axis", -2));
        s->ps[s->n_ps++] = p;
        o = make2(m, TB_OP_MatMul, make_transpose(m, qkv[2], "0,2,3,1"), p);
        o = make_transpose(m, o, "0,3,1,2");
    } else {
        tb_value *scores = make2(m, TB_OP_MatMul, make_transpose(m, qkv[0], "0,2,1,3"),
                                 make_transpose(m, qkv[1], "0,2,3,1"));
        tb_value *p = make(m, TB_OP_Softmax, 1, &scores, 1, &TB_INT_ATTR("axis", -1));
        s->ps[s->n_ps++] = p;
        o = make2(m, TB_OP_MatMul, p, make_transpose(m, qkv[2], "0,2,1,3"));
        o = make_transpose(m, o, "0,2,1,3");
    }
    return make2(m, TB_OP_MatMul, make_reshape(m, o, whole), make_random(m, "4,4"));
}

static inline tb_value *attend(subject *s, tb_value *x, bool transposed) {
    return attend_to(s, x, x, transposed);
}

static inline tb_value *feed_forward(subject *s, tb_value *x) {
    making *m = &s->m;
    tb_value *h = make1(m, TB_OP_Relu, make2(m, TB_OP_MatMul, x, make_random(m, "4,8")));
    return make2(m, TB_OP_Add, x, make2(m, TB_OP_MatMul, h, make_random(m, "8,4")));
}

static inline tb_value *block(subject *s, tb_value *x, bool transposed) {
    return feed_forward(s, make2(&s->m, TB_OP_Add, x, attend(s, x, transposed)));
}

static inline tb_value *start(subject *s, const char *shape) {
    *s = (subject){0};
    making_start(&s->m);
    return make2(&s->m, TB_OP_MatMul, make_input(&s->m, "tokens", shape),
                 make_random(&s->m, "3,4"));
}

static inline void finish(subject *s, tb_value *target) {
    tiba_error error = {0};
    make_output(&s->m, target);
    making_run(&s->m);
    making_try(tb_analysis_create(&s->analysis, s->m.graph, NULL, &error), &error);
    making_try(tb_explainer_create(&s->explainer, s->m.graph, s->analysis, 0, NULL, NULL, &error),
               &error);
    CHECK(tb_explainer_towers(s->explainer) == 1);
    CHECK(s->analysis->attentions->n_attentions == s->n_ps);
}

static inline void end(subject *s) {
    tb_explainer_destroy(s->explainer);
    tb_analysis_destroy(s->analysis);
    making_end(&s->m);
}

typedef struct seen {
    const tb_value *value;
    double gradient[2048], relevance[2048];
} seen;

static inline tiba_status look(void *context, const tb_value *value, const float *gradient,
                               const float *relevance, tiba_error *error) {
    seen *at = context;
    (void)error;
    for (; at->value && at->value != value; at++) {
    }
    for (int64_t i = 0; at->value && i < tb_tensor_count(&value->t); i++) {
        at->gradient[i] = gradient ? (double)gradient[i] : 0;
        at->relevance[i] = relevance ? (double)relevance[i] : 0;
    }
    return TIBA_OK;
}

/* What arrives at the attention probabilities and at one more value. */
static inline seen *watch(subject *s, int64_t element, tb_value *also) {
    tiba_error error = {0};
    seen *list = TB_NEW(s->m.arena, seen, 6);
    const tb_value *values[5];
    int n = 0;
    for (; n < s->n_ps; n++) values[n] = list[n].value = s->ps[n];
    values[n] = list[n].value = also;
    tb_reverse *reverse;
    making_try(tb_reverse_create(&reverse, s->m.graph, s->analysis->regions, s->m.graph->outputs[0],
                                 n + 1, values, TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE,
                                 TB_RULESET_TIBA, NULL, NULL, &error),
               &error);
    tb_reverse_start begin = {1, &(tb_seed){element, 1, 1}, list};
    making_try(tb_reverse_run(reverse, s->m.program, 1, &begin, look, &s->m.exec, &error), &error);
    tb_reverse_destroy(reverse);
    return list;
}

/* E of attention `b` as a matrix over the tokens of its windows, one window after another. */
static inline void naive_block(double *e, const subject *s, const seen *at, int b,
                               bool transposed) {
    const tiba_tensor *p = &s->ps[b]->t;
    int windows = (int)p->dims[0], n = (int)p->dims[2], all = windows * n;
    memset(e, 0, (size_t)(all * all) * sizeof *e);
    for (int w = 0; w < windows; w++)
        for (int h = 0; h < HEADS; h++)
            for (int q = 0; q < n; q++)
                for (int k = 0; k < n; k++) {
                    int i = ((w * HEADS + h) * n + (transposed ? k : q)) * n + (transposed ? q : k);
                    e[(w * n + q) * all + w * n + k] +=
                        fmax(0, at[b].gradient[i] * at[b].relevance[i]) / HEADS;
                }
}

static inline tb_tower_explanation explain(subject *s, int64_t element,
                                           tb_explain_options options) {
    tiba_error error = {0};
    tb_tower_explanation tower;
    tb_explain_job job = {element, &options, &tower, s->m.arena};
    making_try(tb_explainer_run(s->explainer, s->m.program, 1, &job, &s->m.exec, &error), &error);
    return tower;
}

static inline void check_tokens(const char *what, const float *got, const double *want, int n) {
    double most = 0;
    for (int i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    for (int i = 0; i < n; i++)
        CHECK_CASE(fabs((double)got[i] - want[i]) <= 1e-5 * most, "%s: token %d is %g, not %g",
                   what, i, (double)got[i], want[i]);
}

/* -------------------------------------------------------------------- plain towers */

typedef enum readout { CLASS_TOKEN, MEAN, ONE_TOKEN, SILENT } readout;

enum { TOKENS = 5, LAYERS = 3, CLASSES = 3 };

static inline tb_value *read_out(subject *s, tb_value *y, readout how) {
    making *m = &s->m;
    tb_value *axis = make_ints(m, 1, (int64_t[]){1});
    if (how == CLASS_TOKEN) y = make_reshape(m, make_slice(m, y, 0, 1, 1, 1), "2,4");
    if (how == MEAN) {
        y = make(m, TB_OP_ReduceMean, 2, (tb_value *[]){y, axis}, 1, &TB_INT_ATTR("keepdims", 0));
    }
    if (how != SILENT) return make2(m, TB_OP_MatMul, y, make_random(m, "4,3"));
    /* nothing is positive behind the Relu: Z = 0 and no relevance arrives */
    float negative[FEATURES * CLASSES];
    for (int i = 0; i < FEATURES * CLASSES; i++) negative[i] = -0.5f;
    y = make1(m, TB_OP_Relu, y);
    return make2(m, TB_OP_MatMul, y, make_constant(m, "4,3", negative));
}

#endif
