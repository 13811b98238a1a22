/* sha256.c: see sha256.h. Nettle uses the processor's own instructions where there are any. */
#include "io/sha256.h"

#include <nettle/sha2.h>
#include <stdio.h>

static void finish(char out[65], struct sha256_ctx *state) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(state, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[64] = '\0';
}

void tb_sha256_hex(char out[65], const void *data, size_t size) {
    struct sha256_ctx state;
    sha256_init(&state);
    sha256_update(&state, size, data);
    finish(out, &state);
}

bool tb_sha256_file(char out[65], const char *path) {
    struct sha256_ctx state;
    uint8_t block[1 << 14];
    size_t size;
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    sha256_init(&state);
    while ((size = fread(block, 1, sizeof block, file)) > 0) sha256_update(&state, size, block);
    const bool whole = !ferror(file);
    fclose(file);
    finish(out, &state);
    return whole;
}
