/* Any bytes as a picture: decoded within a budget, or refused with a message. */
#include <stdlib.h>

#include "io/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tb_budget budget = {.limit = (size_t)64 << 20};
    tb_arena *arena = tb_arena_create(&budget);
    tiba_error error = {0};
    tb_picture picture;
    tb_pixels pixels;
    tb_preprocess how = {.resize = TB_RESIZE_SHORTEST,
                         .height = 8,
                         .crop = true,
                         .crop_height = 9,
                         .crop_width = 8,
                         .filter = TB_FILTER_BICUBIC};
    if (tb_picture_decode(&picture, arena, data, size, 1 << 20, &error) != TIBA_OK) {
        if (!error.message[0]) abort();
    } else if (tb_preprocess_run(&pixels, arena, &how, &picture, &error) != TIBA_OK) {
        if (!error.message[0]) abort();
    }
    (void)tb_picture_sniff(data, size);
    tb_arena_destroy(arena);
    if (budget.used != 0) abort();
    return 0;
}
