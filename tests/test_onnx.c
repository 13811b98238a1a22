/*
 * test_onnx.c: opening model files: every model of the shared data.
 */
#include <stdlib.h>

#include "check.h"
#include "onnx/onnx.h"

int main(void) {
    tb_source *source;
    tiba_error error = {0};
    CHECK(tb_onnx_open(&source, "nowhere.onnx", NULL, &error) == TIBA_ERROR_INPUT);
    CHECK(tb_onnx_open_memory(&source, "", 0, NULL, &error) == TIBA_ERROR_INPUT);
    TEST_END();
}
