/*
 * fetch.h: brings a block of a matrix that will be needed into second-level cache, a part at a time
 * between pieces of other work.
 */
#ifndef TB_RUNTIME_FETCH_H
#define TB_RUNTIME_FETCH_H

#include <stdbool.h>
#include <stdint.h>

/** `runs` contiguous runs of bytes, `ld` apart; how many are on the way. */
typedef struct tb_fetch {
    const char *at;
    int64_t runs, bytes, ld, sent;
} tb_fetch;

/** Rows at … at + k - 1, columns col … col + cols - 1 of op(B), whose row stride as stored is ldb.
 */
static inline tb_fetch tb_fetch_block(const float *b, int64_t ldb, bool trans, int64_t at,
                                      int64_t k, int64_t col, int64_t cols) {
    return (tb_fetch){.at = (const char *)(b + (trans ? col * ldb + at : at * ldb + col)),
                      .runs = trans ? cols : k,
                      .bytes = (trans ? k : cols) * (int64_t)sizeof(float),
                      .ld = ldb * (int64_t)sizeof(float)};
}

/** The given share of it is on the way afterwards. */
static inline void tb_fetch_part(tb_fetch *f, int64_t part, int64_t parts) {
    enum { LINE = 64 };
    for (int64_t end = f->runs * part / parts; f->sent < end; f->sent++) {
        const char *run = f->at + f->sent * f->ld;
        for (int64_t i = 0; i < f->bytes; i += LINE) __builtin_prefetch(run + i, 0, 2);
        __builtin_prefetch(run + f->bytes - 1, 0, 2); /* it may start within a line */
    }
}

#endif
