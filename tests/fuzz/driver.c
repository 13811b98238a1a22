/*
 * driver.c: runs a fuzz target without a fuzzer: over the files of its corpus as they are, cut
 * short, and with a few bytes changed in ways that are the same every time.
 *
 *     fuzz_NAME ROUNDS FILE-OR-FOLDER...     (environment: FUZZ_SEED, another run of changes)
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int files;

static void change(uint8_t *data, size_t size, uint64_t *seed) {
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '9', '-', '.'};
    int changes = 1 + (int)(test_uniform(seed) * 6);
    for (int i = 0; i < changes && size > 0; i++) {
        /* half of the changes near the front, where the structure is */
        double u = test_uniform(seed),
               span = test_uniform(seed) < 0.5 && size > 256 ? 256.0 : (double)size;
        uint8_t *at = data + (size_t)(u * span);
        double kind = test_uniform(seed);
        if (kind < 0.4)
            *at = (uint8_t)(test_uniform(seed) * 256);
        else if (kind < 0.7)
            *at = telling[(size_t)(test_uniform(seed) * sizeof telling)];
        else
            *at ^= (uint8_t)(1u << (int)(test_uniform(seed) * 8));
    }
}

/* Each run gets a block of exactly its size, so that a sanitizer sees one byte too many. */
static void run(const uint8_t *data, size_t size, uint64_t *seed) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(2);
    if (size) memcpy(copy, data, size);
    if (seed) change(copy, size, seed);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_file(const char *path, int rounds, uint64_t seed) {
    tb_file file;
    if (tb_file_open(&file, path, NULL) != TIBA_OK) exit(2);
    files++;
    run(file.data, file.size, NULL);
    for (int i = 0; i < rounds; i++) {
        size_t size = file.size;
        if (i % 8 == 0) size = (size_t)(test_uniform(&seed) * (double)size);
        run(file.data, size, &seed);
    }
    tb_file_close(&file);
}

int main(int argc, char **argv) {
    const char *text = getenv("FUZZ_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) + 1 : 1;
    int rounds = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 2; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (!folder) {
            run_file(argv[i], rounds, seed * 7919);
            continue;
        }
        for (struct dirent *entry; (entry = readdir(folder));) {
            char path[2048];
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            if (tb_is_file(path)) run_file(path, rounds, seed * 7919);
        }
        closedir(folder);
    }
    printf("%d files, %d changes of each\n", files, rounds);
    return files == 0;
}
