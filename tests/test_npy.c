/* .npy files: round trips of every type, other writers' headers, byte orders, hostile files. */
#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/npy.h"

static char path[64];

/* Writes magic, version, header length and `header`, then `data`. */
static void write_raw(int version, const char *header, const void *data, size_t size) {
    unsigned char file[1024] = "\x93NUMPY";
    size_t length = strlen(header), start = version == 1 ? 10 : 12;
    file[6] = (unsigned char)version;
    file[8] = (unsigned char)(length & 255), file[9] = (unsigned char)(length >> 8);
    memcpy(file + start, header, length);
    if (size) memcpy(file + start + length, data, size);
    tb_file_write(path, file, start + length + size, NULL);
}

static void test_round_trip(tb_arena *arena) {
    static const tiba_dtype types[] = {TIBA_FLOAT32, TIBA_FLOAT64, TIBA_FLOAT16, TIBA_INT64,
                                       TIBA_INT32,   TIBA_INT16,   TIBA_INT8,    TIBA_UINT64,
                                       TIBA_UINT32,  TIBA_UINT16,  TIBA_UINT8,   TIBA_BOOL};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (int rank = 0; rank <= TIBA_MAX_RANK; rank++) {
            int64_t dims[TIBA_MAX_RANK] = {2, 3, 1, 2, 1, 1, 2, 1};
            tiba_tensor a, b = {0};
            CHECK(tb_tensor_create(&a, arena, types[i], rank, dims, NULL) == TIBA_OK);
            for (int64_t n = 0; n < tb_tensor_count(&a); n++) tb_set_i64(&a, n, n + 1);
            CHECK(tb_npy_write(path, &a, NULL) == TIBA_OK);
            CHECK(tb_npy_read(&b, arena, path, NULL) == TIBA_OK);
            CHECK(b.dtype == types[i] && tb_same_shape(&a, &b));
            CHECK(memcmp(a.data, b.data, tb_tensor_bytes(&a)) == 0);
        }
    }
    int64_t empty[] = {0, 7};
    tiba_tensor a, b = {0};
    CHECK(tb_tensor_create(&a, arena, TIBA_FLOAT32, 2, empty, NULL) == TIBA_OK);
    CHECK(tb_npy_write(path, &a, NULL) == TIBA_OK && tb_npy_read(&b, arena, path, NULL) == TIBA_OK);
    CHECK(tb_same_shape(&a, &b));

    int64_t three[] = {3};
    CHECK(tb_tensor_create(&a, arena, TIBA_BFLOAT16, 1, three, NULL) == TIBA_OK);
    for (int i = 0; i < 3; i++) tb_set_f64(&a, i, i - 0.5);
    CHECK(tb_npy_write(path, &a, NULL) == TIBA_OK && tb_npy_read(&b, arena, path, NULL) == TIBA_OK);
    CHECK(b.dtype == TIBA_FLOAT32 && ((float *)b.data)[2] == 1.5f);
    a.dtype = TIBA_STRING;
    CHECK(tb_npy_write(path, &a, NULL) == TIBA_ERROR_USAGE);
}

static void test_orders(tb_arena *arena) {
    static const unsigned char big[] = {0, 1, 0, 2, 0, 3, 1, 4, 0, 5, 0xff, 0xff};
    static const int64_t c_order[] = {1, 2, 3, 260, 5, -1}, f_order[] = {1, 3, 5, 2, 260, -1};
    for (int version = 1; version <= 3; version++) {
        tiba_tensor t = {0};
        write_raw(version, "{'descr': '>i2', 'fortran_order': False, 'shape': (2, 3), }  \n", big,
                  sizeof big);
        CHECK(tb_npy_read(&t, arena, path, NULL) == TIBA_OK);
        CHECK(t.dtype == TIBA_INT16 && t.rank == 2 && t.dims[0] == 2 && t.dims[1] == 3);
        for (int i = 0; i < 6; i++) CHECK(tb_get_i64(&t, i) == c_order[i]);
        write_raw(version, "{\"descr\":\">i2\",\"fortran_order\":True,\"shape\":(2L,3L)}", big,
                  sizeof big);
        CHECK(tb_npy_read(&t, arena, path, NULL) == TIBA_OK);
        for (int i = 0; i < 6; i++) CHECK(tb_get_i64(&t, i) == f_order[i]);
    }
    tiba_tensor t = {0};
    write_raw(1, "{'descr': '|b1', 'fortran_order': True, 'shape': (3,), }\n", "\x00\x01\x07", 3);
    CHECK(tb_npy_read(&t, arena, path, NULL) == TIBA_OK && t.dtype == TIBA_BOOL);
    CHECK(memcmp(t.data, "\x00\x01\x01", 3) == 0);
    write_raw(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", "\0\0\x80\x3f", 4);
    CHECK(tb_npy_read(&t, arena, path, NULL) == TIBA_OK && t.rank == 0);
    CHECK(tb_get_f64(&t, 0) == 1.0);
}

static void test_refused(tb_arena *arena) {
    static const struct {
        const char *header, *part;
    } cases[] = {
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "'|O'"},
        {"{'descr': '<U3', 'fortran_order': False, 'shape': (1,), }", "'<U3'"},
        {"{'descr': '|S3', 'fortran_order': False, 'shape': (1,), }", "'|S3'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "'<c8'"},
        {"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,), }", "'<M8[ns]'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "structured"},
        {"{'descr': '', 'fortran_order': False, 'shape': (1,), }", "''"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (100,), }", "truncated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "tuple of sizes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", "large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296), }", "range"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", "dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 3, }", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': 1, 'shape': (1,), }", "malformed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", "malformed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), ", "malformed"},
        {"{'descr': '<f4', 'shape': (1,), }", "lacks"},
        {"{'descr': '<f4', 'titel': 'x', 'shape': (1,), }", "'titel'"},
        {"[]", "not a dictionary"},
        {"", "not a dictionary"},
    };
    tiba_tensor t = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tiba_error e = {0};
        write_raw(1, cases[i].header, "12345678", 8);
        CHECK_CASE(tb_npy_read(&t, arena, path, &e) == TIBA_ERROR_INPUT, "%s", cases[i].header);
        CHECK_CASE(strstr(e.message, cases[i].part), "%s: %s", cases[i].header, e.message);
    }
    static const char *raw[] = {"", "\x93NUMPY", "PK\3\4 an archive", "\x93NUMPY\x04\0\2\0{}",
                                "\x93NUMPY\x01\0\xff\0{}"};
    static const size_t sizes[] = {0, 6, 15, 12, 12};
    for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++) {
        tb_file_write(path, raw[i], sizes[i], NULL);
        CHECK_CASE(tb_npy_read(&t, arena, path, NULL) == TIBA_ERROR_INPUT, "%zu", i);
    }
    tb_file_write(path, "\x93NUMPY\x02\0\xff\xff\xff\xff{}", 14, NULL);
    tiba_error e = {0};
    CHECK(tb_npy_read(&t, arena, path, &e) == TIBA_ERROR_INPUT && strstr(e.message, "limit"));
    CHECK(tb_npy_read(&t, arena, "no/such/file.npy", &e) == TIBA_ERROR_INPUT);
    float one = 1;
    tiba_tensor out = {.dtype = TIBA_FLOAT32, .rank = 0, .data = &one};
    CHECK(tb_npy_write("no/such/file.npy", &out, &e) == TIBA_ERROR_RESOURCE);
}

int main(void) {
    snprintf(path, sizeof path, "test_npy.%ld.npy", (long)getpid());
    tb_arena *arena = tb_arena_create(NULL);
    test_round_trip(arena);
    test_orders(arena);
    test_refused(arena);
    tb_arena_destroy(arena);
    remove(path);
    TEST_END();
}
