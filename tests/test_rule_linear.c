/*
 * test_rule_linear.c: the fast form of the z⁺-rule for Linear at sizes that take its tiles, against
 * the definition in double: relevance and gradient, rows without either, both orders of the weight,
 * and the same bytes at 1, 2, 3 and 8 threads. (tests/test_rules.c has all rules at small sizes.)
 */
#include "tests/check.h"

#include "rules/rule.h"
#include "tests/bound.h"

enum { M = 70, K = 300, N = 290 };

typedef struct arrays {
    float x[M * K], w[K * N], r[M * N], d[M * N];
    double want_r[M * K], want_d[M * K];
} arrays;

/* R_x = x⁺ ⊙ (S W⁺ᵀ) + x⁻ ⊙ (S W⁻ᵀ), S = R / (x⁺W⁺ + x⁻W⁻). */
static void definition(arrays *a, bool trans_w) {
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double z = 0;
            for (int k = 0; k < K; k++) {
                double p = (double)a->x[i * K + k] * (double)a->w[trans_w ? j * K + k : k * N + j];
                z += p > 0 ? p : 0;
            }
            double s = (double)a->r[i * N + j] / z, d = (double)a->d[i * N + j];
            for (int k = 0; k < K; k++) {
                double w = (double)a->w[trans_w ? j * K + k : k * N + j];
                double p = (double)a->x[i * K + k] * w;
                a->want_r[i * K + k] += p > 0 ? s * p : 0;
                a->want_d[i * K + k] += d * w;
            }
        }
}

static double off_by(const float *got, const double *want) {
    double worst = 0, size = 0;
    for (int i = 0; i < M * K; i++) {
        size = fmax(size, fabs(want[i]));
        double error = fabs((double)got[i] - want[i]);
        if (!(error <= worst)) worst = error;
    }
    return worst / size;
}

static void check_form(bool trans_w) {
    static arrays a;
    static float got[2][M * K], first[2][M * K];
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "x", "70,300");
    tb_value *in[3] = {x, make_random(&m, trans_w ? "290,300" : "300,290"), make_random(&m, "290")};
    const tb_attr attrs[] = {{.name = "trans_w", .kind = TB_ATTR_INT, .i = trans_w}};
    tb_value *y = make(&m, TB_OP_Linear, 3, in, 1, attrs);
    make_output(&m, y);
    making_run(&m);
    memset(&a, 0, sizeof a);
    memcpy(a.x, m.inputs[0], sizeof a.x);
    memcpy(a.w, in[1]->t.data, sizeof a.w);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            a.r[i * N + j] = i % 7 == 2 ? 0.0f : (float)make_number(&m);
            a.d[i * N + j] = i % 5 == 3 ? 0.0f : (float)make_number(&m);
        }
    definition(&a, trans_w);
    tiba_tensor r = y->t, d = y->t, to[2] = {x->t, x->t};
    r.data = a.r, d.data = a.d;
    to[0].data = got[0], to[1].data = got[1];
    const tiba_tensor *values[3] = {m.program->values[x->id], &in[1]->t, &in[2]->t};
    tb_step step = {.node = y->producer,
                    .ruleset = TB_RULESET_TIBA,
                    .in = values,
                    .out = (const tiba_tensor *[]){m.program->values[y->id]},
                    .r_out = (const tiba_tensor *[]){&r},
                    .d_out = (const tiba_tensor *[]){&d},
                    .r_in = (tiba_tensor *[]){&to[0], NULL, NULL},
                    .d_in = (tiba_tensor *[]){&to[1], NULL, NULL}};
    static const int threads[4] = {1, 2, 3, 8};
    for (int p = 0; p < 4; p++) {
        tb_exec exec = {.pool = tb_pool_create(NULL, threads[p])};
        tiba_error error = {0};
        step.exec = &exec;
        memset(got, 0xff, sizeof got);
        CHECK(tb_rule_linear.both(&step, &error) == TIBA_OK);
        if (p == 0) memcpy(first, got, sizeof got);
        CHECK_CASE(memcmp(first, got, sizeof got) == 0, "%d threads give other bytes", threads[p]);
        tb_scratch_free(&exec);
        tb_pool_destroy(exec.pool);
    }
    CHECK_CASE(off_by(got[0], a.want_r) < 1e-5, "off by %g", off_by(got[0], a.want_r));
    CHECK_CASE(off_by(got[1], a.want_d) < 1e-5, "off by %g", off_by(got[1], a.want_d));
    making_end(&m);
}

int main(void) {
    check_form(false);
    check_form(true);
    TEST_END();
}
