#include "tools/eval.h"
tiba_status tb_eval_plot(uint8_t **out, size_t *size, const tb_eval *eval, const char *path,
                         tiba_error *error) {
    (void)out;
    (void)size;
    (void)eval;
    (void)path;
    return tb_fail(error, TIBA_ERROR_USAGE, "no plot yet");
}
