/* Any text as a preprocessing configuration, applied to small pictures of awkward shapes. */
#include <stdlib.h>

#include "io/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int shapes[][2] = {{1, 1}, {37, 2}, {3, 50}};
    static uint8_t rgb[3 * 150];
    tb_budget budget = {.limit = (size_t)16 << 20};
    tb_arena *arena = tb_arena_create(&budget);
    tiba_error error = {0};
    tb_preprocess how;
    tiba_status status = tb_preprocess_parse(&how, arena, "config", data, size, &error);
    if (status != TIBA_OK && !error.message[0]) abort();
    for (int i = 0; i < 3 && status == TIBA_OK; i++) {
        tb_picture picture = {.width = shapes[i][0], .height = shapes[i][1], .rgb = rgb};
        tb_pixels pixels;
        error = (tiba_error){0};
        if (tb_preprocess_run(&pixels, arena, &how, &picture, &error) != TIBA_OK &&
            !error.message[0])
            abort();
    }
    tb_arena_destroy(arena);
    if (budget.used != 0) abort();
    return 0;
}
