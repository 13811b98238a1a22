/* Runs for their outputs alone: the same numbers, no explanation, and a plan of their own that the
 * next one uses again. */
#include "check.h"
#include "tiba.h"

enum { SIDE = 32, CLASSES = 6, ROWS = 3 };

static void test_forward(tiba_model *model) {
    static float pixels[ROWS * 3 * SIDE * SIDE];
    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++)
        pixels[i] = (float)(i * 37 % 101) / 50.0f - 1.0f;
    tiba_tensor x = {
        .dtype = TIBA_FLOAT32, .rank = 4, .dims = {ROWS, 3, SIDE, SIDE}, .data = pixels};
    tiba_feed feed = {"pixel_values", x};
    tiba_error error = {0};
    for (int round = 0; round < 2; round++) {
        tiba_run *whole = NULL, *forward = NULL;
        tiba_result *result = NULL;
        CHECK(tiba_run_create(&whole, model, 1, &feed, NULL, &error) == TIBA_OK);
        CHECK(tiba_run_forward(&forward, model, 1, &feed, NULL, &error) == TIBA_OK);
        if (!whole || !forward) return;
        CHECK(tiba_run_output(forward, 0).dims[0] == ROWS);
        CHECK(memcmp(tiba_run_logits(whole).data, tiba_run_logits(forward).data,
                     ROWS * CLASSES * sizeof(float)) == 0);
        /* plans of both kinds are kept for the next round */
        CHECK((tiba_run_timings(whole).bind > 0.0) == (round == 0));
        CHECK((tiba_run_timings(forward).bind > 0.0) == (round == 0));
        tiba_request request = {0};
        CHECK(tiba_explain(&result, forward, &request, &error) == TIBA_ERROR_USAGE && !result);
        CHECK_STRING(error.message, "the run was made for its outputs only");
        CHECK_STRING(tiba_run_refusal(forward), error.message);
        CHECK(tiba_explain(&result, whole, &request, &error) == TIBA_OK);
        tiba_result_destroy(result);
        tiba_run_destroy(forward);
        tiba_run_destroy(whole);
    }
}

int main(void) {
    tiba_model *model = NULL;
    tiba_error error = {0};
    CHECK(tiba_model_open(&model, TEST_DATA "/zoo/vit_hf-ts14/model.onnx", NULL, &error) ==
          TIBA_OK);
    if (model) test_forward(model);
    tiba_model_close(model);
    TEST_END();
}
