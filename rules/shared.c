/*
 * shared.c: what several targets share at one step of the reverse pass (rules/rule.h). The memory
 * is kept from step to step and grows to what the largest needs.
 */
#include <string.h>

#include "rules/rule.h"

bool tb_shared_open(tb_shared *shared, int64_t rows, int64_t cols) {
    size_t count, bytes, total;
    if (!shared) return false;
    if (shared->z) return true;
    if (!tb_size_mul(&count, (size_t)rows, (size_t)cols) ||
        !tb_size_mul(&bytes, count, sizeof(float)) || !tb_size_add(&total, bytes, (size_t)rows))
        return false;
    if (total > shared->bytes) {
        tb_shared_clear(shared);
        shared->memory = tb_alloc(shared->budget, total);
        if (!shared->memory) return false;
        shared->bytes = total;
    }
    shared->z = shared->memory;
    shared->known = (unsigned char *)shared->memory + bytes;
    memset(shared->known, 0, (size_t)rows);
    return true;
}

void tb_shared_reset(tb_shared *shared) {
    shared->z = NULL;
    shared->known = NULL;
}

void tb_shared_clear(tb_shared *shared) {
    tb_free(shared->memory);
    *shared = (tb_shared){.budget = shared->budget};
}
