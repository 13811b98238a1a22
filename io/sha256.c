/* sha256.c: see sha256.h. Nettle uses the processor's own instructions where there are any. */
#include "io/sha256.h"

#include <nettle/sha2.h>

void tb_sha256_hex(char out[65], const void *data, size_t size) {
    static const char digits[] = "0123456789abcdef";
    struct sha256_ctx state;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&state);
    sha256_update(&state, size, data);
    sha256_digest(&state, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[64] = '\0';
}
