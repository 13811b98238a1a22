/*
 * From attention gradients and relevances to token relevance: the E_b formula, rollouts against
 * products of matrices, read-outs (class token, mean, one token, nothing), start layers.
 */
#include "tests/rollout.h"

/* -------------------------------------------------------------------- formulas */

static void check_block_formula(bool transposed) {
    enum { H = 3, Q = 4, K = 5, GROUPS = 2 };
    uint64_t seed = 3;
    float g[GROUPS * H * Q * K], r[GROUPS * H * Q * K], e[GROUPS * Q * K];
    static const int group_of[GROUPS * H] = {0, 1, 0, 1, 1, 0};
    for (int i = 0; i < GROUPS * H * Q * K; i++) {
        g[i] = (float)(test_uniform(&seed) * 2 - 1);
        r[i] = (float)(test_uniform(&seed) * 2 - 1);
    }
    tb_block_relevance_grouped(e, g, r, GROUPS, H, group_of, Q, K, transposed, false);
    for (int group = 0; group < GROUPS; group++)
        for (int q = 0; q < Q; q++)
            for (int k = 0; k < K; k++) {
                double want = 0;
                for (int row = 0; row < GROUPS * H; row++) {
                    int at = row * Q * K + (transposed ? k * Q + q : q * K + k);
                    if (group_of[row] == group) want += fmax(0, (double)g[at] * (double)r[at]) / H;
                }
                CHECK_NEAR(e[(group * Q + q) * K + k], want, 1e-6);
            }
    tb_block_relevance_grouped(e, g, r, 1, H, NULL, Q, K, transposed, true);
    double signed_sum = 0;
    for (int h = 0; h < H; h++) signed_sum += (double)g[h * Q * K] * (double)r[h * Q * K] / H;
    CHECK_NEAR(e[0], signed_sum, 1e-6);
    tb_block_relevance(e, NULL, r, H, Q, K, transposed, false);
    CHECK(e[0] == 0.0f && e[Q * K - 1] == 0.0f);
}

/* GradCAM where heads stand in windows: one weight for each head, over all windows. */
static void check_gradcam_groups(bool transposed) {
    enum { GROUPS = 3, H = 2, Q = 4, K = 5, ROWS = GROUPS * H };
    static const int group_of[ROWS] = {0, 2, 1, 1, 0, 2};
    static const int head_of[ROWS] = {0, 0, 0, 1, 1, 1};
    float p[ROWS * Q * K], g[ROWS * Q * K], e[GROUPS * Q * K];
    double read[GROUPS * Q], want[GROUPS * Q * K] = {0};
    uint64_t seed = 5;
    for (int i = 0; i < ROWS * Q * K; i++)
        p[i] = (float)test_uniform(&seed), g[i] = (float)(test_uniform(&seed) * 2 - 1);
    for (int i = 0; i < GROUPS * Q; i++) read[i] = i == 2 ? 0 : test_uniform(&seed);
    for (int h = 0; h < H; h++) {
        double weight = 0;
        for (int part = 0; part < 2; part++)
            for (int row = 0; row < ROWS; row++)
                for (int i = 0; i < Q * K && head_of[row] == h; i++) {
                    int q = i / K, k = i % K, at = row * Q * K + (transposed ? k * Q + q : i);
                    double r = read[group_of[row] * Q + q];
                    if (part == 0 && k >= 1 && k < 4) weight += r * (double)g[at] / 3;
                    if (part == 1) want[group_of[row] * Q * K + i] += weight * (double)p[at] / H;
                }
    }
    tb_gradcam how = {read, GROUPS, H, Q, K, group_of, 1, 4, transposed};
    tb_block_gradcam(e, p, g, &how);
    for (int i = 0; i < GROUPS * Q * K; i++) {
        double w = want[i] > 0 ? want[i] : 0;
        CHECK_CASE(fabs((double)e[i] - w) <= 1e-5 * fabs(w) + 1e-6, "E[%d] is %g, not %g", i,
                   (double)e[i], w);
    }
}

/* -------------------------------------------------------------------- plain towers */

static void check_plain(readout how, bool transposed) {
    static const char *const names[] = {"class token", "mean", "one token", "silent"};
    subject s;
    tb_value *y = start(&s, "2,5,3");
    for (int i = 0; i < LAYERS; i++) y = block(&s, y, transposed);
    finish(&s, read_out(&s, y, how));
    /* sample 1, class 2; of token 3 where there is one for each token */
    bool per_token = how == ONE_TOKEN || how == SILENT;
    int64_t element = per_token ? (TOKENS + 3) * CLASSES + 2 : CLASSES + 2;
    seen *at = watch(&s, element, y);
    double w[TOKENS] = {0}, sum = 0;
    for (int t = 0; t < TOKENS; t++) {
        for (int d = 0; d < FEATURES; d++)
            w[t] += at[LAYERS].relevance[(TOKENS + t) * FEATURES + d];
        sum += w[t] = fmax(0, w[t]);
    }
    if (how == SILENT) {
        CHECK(sum == 0);
        w[3] = sum = 1; /* what the gradient reaches */
    }
    for (int t = 0; t < TOKENS; t++) w[t] /= sum;
    if (how == CLASS_TOKEN) CHECK(w[0] == 1.0 && w[1] == 0.0);
    if (how == ONE_TOKEN) CHECK(w[3] == 1.0 && w[0] == 0.0);
    for (int first = 0; first < LAYERS; first++)
        for (int form = TB_ROLLOUT_DEFAULT; form <= TB_ROLLOUT_NORMALIZED; form++) {
            tb_tower_explanation tower = explain(
                &s, element,
                (tb_explain_options){
                    .rollout = (tb_rollout_form)form, .start_layer = first, .blocks = true});
            CHECK(!tower.routed && tower.sample == 1 && tower.n_blocks == LAYERS);
            double r[TOKENS], e[4 * TOKENS * TOKENS];
            memcpy(r, w, sizeof r);
            for (int b = LAYERS - 1; b >= 0; b--) {
                naive_block(e, &s, at, b, transposed);
                double own[TOKENS * TOKENS]; /* of sample 1 */
                for (int i = 0; i < TOKENS * TOKENS; i++)
                    own[i] = e[(TOKENS + i / TOKENS) * 2 * TOKENS + TOKENS + i % TOKENS];
                check_tokens("E", tower.blocks[b], own, TOKENS * TOKENS);
                bool normalized = form == TB_ROLLOUT_NORMALIZED ||
                                  (form == TB_ROLLOUT_DEFAULT && !tower.tower->image);
                if (b >= first) naive_step(r, own, TOKENS, normalized);
            }
            check_tokens(names[how], tower.readout, w, TOKENS);
            check_tokens(names[how], tower.tokens, r, TOKENS);
        }
    tiba_error error = {0};
    tb_tower_explanation tower;
    tb_explain_options late = {.start_layer = LAYERS};
    tb_explain_job job = {element, &late, &tower, s.m.arena};
    CHECK(tb_explainer_run(s.explainer, s.m.program, 1, &job, &s.m.exec, &error) ==
          TIBA_ERROR_USAGE);
    CHECK_CASE(strstr(error.message, "start layer 3"), "%s", error.message);
    end(&s);
}

/* One score of two samples: whose tokens? */
static void check_two_samples(void) {
    subject s;
    tb_value *y = block(&s, start(&s, "2,5,3"), false);
    tb_value *axes = make_ints(&s.m, 2, (int64_t[]){0, 1});
    y = make(&s.m, TB_OP_ReduceMean, 2, (tb_value *[]){y, axes}, 1, &TB_INT_ATTR("keepdims", 0));
    y = make_reshape(&s.m, y, "1,4");
    finish(&s, make2(&s.m, TB_OP_MatMul, y, make_random(&s.m, "4,3")));
    tiba_error error = {0};
    tb_tower_explanation tower;
    tb_explain_options options = {0};
    tb_explain_job job = {1, &options, &tower, s.m.arena};
    tiba_status status = tb_explainer_run(s.explainer, s.m.program, 1, &job, &s.m.exec, &error);
    CHECK_CASE(
        status == TIBA_ERROR_INPUT &&
            strstr(error.message, "2 samples of input 'tokens' at once (2 along its dimension 0)"),
        "'%s'", error.message);
    options.samples = (int64_t[]){1}; /* whoever asks for one gets it */
    making_try(tb_explainer_run(s.explainer, s.m.program, 1, &job, &s.m.exec, &error), &error);
    CHECK(tower.sample == 1);
    end(&s);
}

int main(void) {
    check_two_samples();
    for (int transposed = 0; transposed < 2; transposed++) {
        check_block_formula(transposed);
        check_gradcam_groups(transposed);
        for (int how = CLASS_TOKEN; how <= SILENT; how++) check_plain((readout)how, transposed);
    }
    TEST_END();
}
