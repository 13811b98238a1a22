/* Errors, memory budget, arena, files, checked sizes, conversions, parallel-for. */
#include "tests/check.h"

#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "base/parallel.h"
#include "base/tensor.h"

static void square(void *context, int64_t item, int worker) {
    (void)worker;
    ((int64_t *)context)[item] = item * item;
}

static void test_error(void) {
    tiba_error e = {0};
    CHECK(tb_fail(&e, TIBA_ERROR_INPUT, "a\nb\xff%s", "\xc3\xa9") == TIBA_ERROR_INPUT);
    CHECK_STRING(e.message, "a?b?\xc3\xa9");
    CHECK(tb_error_prefix(&e, TIBA_ERROR_INPUT, "model.onnx") == TIBA_ERROR_INPUT);
    CHECK_STRING(e.message, "model.onnx: a?b?\xc3\xa9");
    char text[600];
    memset(text, 'x', sizeof text);
    text[510] = '\xc3', text[511] = '\xa9', text[512] = '\0';
    tb_fail(&e, TIBA_ERROR_USAGE, "%s", text);
    CHECK(strlen(e.message) == 510);
}

static void test_memory(void) {
    tb_budget budget = {.limit = 1 << 20};
    void *a = tb_alloc(&budget, 1000);
    CHECK(a && (uintptr_t)a % 64 == 0 && budget.used == 1000);
    CHECK(tb_alloc(&budget, 1 << 20) == NULL);
    CHECK(tb_calloc(&budget, SIZE_MAX / 2, 4) == NULL);
    a = tb_realloc(&budget, a, 5000);
    CHECK(a && budget.used == 5000);
    tb_free(a);
    CHECK(budget.used == 0 && budget.peak >= 5000);
    tb_arena *arena = tb_arena_create(&budget);
    for (int i = 0; i < 1000; i++) {
        char *text = tb_arena_format(arena, "item %d", i);
        CHECK(text && atoi(text + 5) == i);
    }
    CHECK(tb_arena_alloc(arena, SIZE_MAX / 4, 8) == NULL);
    CHECK(tb_arena_alloc(arena, 2 << 20, 1) == NULL);
    CHECK(tb_arena_alloc(arena, 0, 8) != NULL);
    const size_t before = budget.used;
    void *large = tb_arena_alloc(arena, 500000, 1), *other = tb_arena_alloc(arena, 100000, 1);
    CHECK(large && other && budget.used >= before + 600000);
    tb_arena_release(arena, large, 500000);
    tb_arena_release(arena, &budget, 500000); /* not of this arena */
    CHECK(budget.used >= before + 100000 && budget.used < before + 500000);
    tb_arena_destroy(arena);
    CHECK(budget.used == 0);
}

static void test_conversions(void) {
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = tb_half_to_float((uint16_t)bits);
        bool nan = (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff);
        if (!nan)
            CHECK_CASE(tb_float_to_half(value) == bits, "half %#x", bits);
        else
            CHECK(value != value);
    }
    CHECK(tb_float_to_half(65520.0f) == 0x7c00 && tb_float_to_half(65519.0f) == 0x7bff);
    CHECK(tb_float_to_half(1.0f + 1.0f / 2048) == 0x3c00);
    CHECK(tb_bfloat_to_float(tb_float_to_bfloat(3.0f)) == 3.0f);
    int64_t count, dims[2] = {INT64_MAX / 2, 4};
    CHECK(!tb_count(&count, 2, dims));
    dims[0] = -1;
    CHECK(!tb_count(&count, 2, dims));
}

/* Pages of files that this process holds in memory. */
static long file_pages(void) {
    long size = 0, resident = 0, shared = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm && fscanf(statm, "%ld %ld %ld", &size, &resident, &shared) == 3);
    if (statm) fclose(statm);
    return shared;
}

static void test_released_file(void) {
    enum { SIZE = 16 << 20, PAGE = 4096 };
    const char *path = "test_base.released";
    tiba_error e = {0};
    tb_file file;
    unsigned char *bytes = malloc(SIZE);
    CHECK(bytes);
    for (int i = 0; bytes && i < SIZE; i++) bytes[i] = (unsigned char)(i * 7 >> 3);
    CHECK(tb_file_write(path, bytes, SIZE, &e) == TIBA_OK);
    CHECK(tb_file_open(&file, path, &e) == TIBA_OK);
    CHECK(memcmp(file.data, bytes, SIZE) == 0);
    long before = file_pages();
    tb_file_release(file.data + 1, SIZE - 2); /* the first and the last page are not whole */
    CHECK(before - file_pages() > SIZE / PAGE / 2);
    tb_file_release(file.data + 1, PAGE); /* no whole page */
    CHECK(memcmp(file.data, bytes, SIZE) == 0);
    tb_file_close(&file);
    remove(path);
    free(bytes);
}

int main(void) {
    test_error();
    test_memory();
    test_released_file();
    test_conversions();
    for (int threads = 1; threads <= 4; threads++) {
        tb_pool *pool = tb_pool_create(NULL, threads);
        int64_t out[257] = {0}, sum = 0;
        for (int round = 0; round < 50; round++) {
            /* now and then after the workers went to sleep */
            if (round % 10 == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
            tb_parallel_for(pool, 257, square, out);
        }
        for (int i = 0; i < 257; i++) sum += out[i];
        CHECK(sum == 256LL * 257 * 513 / 6);
        tb_pool_destroy(pool);
    }
    TEST_END();
}
