#include "graph/op.h"

#include <string.h>

#include "graph/lower.h"

#include "graph/lower.h"

const tb_op tb_ops[TB_OP_COUNT] = {
#define OP(id, domain, class, min_in, max_in, max_out)                                             \
    {TB_OP_##id, domain, #id, class, min_in, max_in, max_out, &tb_op_def_##id},
#include "graph/op.def"
#undef OP
};

const tb_op *tb_find_op(const char *domain, const char *name) {
    for (int i = 0; i < TB_OP_COUNT; i++)
        if (tb_ops[i].name[0] == name[0] && strcmp(tb_ops[i].name, name) == 0 &&
            strcmp(tb_ops[i].domain, domain) == 0)
            return &tb_ops[i];
    return NULL;
}

bool tb_op_known(const char *domain, const char *name) {
    return tb_find_op(domain, name) || tb_find_lower(domain, name);
}

/* Blocks are kept for reuse; their sizes grow to what the largest kernel needs. */
typedef struct block {
    struct block *next;
    size_t size;
    bool taken;
} block;

enum { BLOCK_HEADER = 64 };

void *tb_scratch(tb_exec *exec, size_t count, size_t size) {
    size_t bytes, total;
    if (!tb_size_mul(&bytes, count, size) || !tb_size_add(&total, bytes, BLOCK_HEADER)) return NULL;
    block *best = NULL;
    for (block *b = exec->scratch; b; b = b->next)
        if (!b->taken && b->size >= bytes && (!best || b->size < best->size)) best = b;
    if (!best) {
        /* A free block that is too small would never be used again: replace it. */
        for (block **p = (block **)(void *)&exec->scratch; *p; p = &(*p)->next)
            if (!(*p)->taken) {
                block *old = *p;
                *p = old->next;
                tb_free(old);
                break;
            }
        best = tb_alloc(exec->budget, total);
        if (!best) return NULL;
        best->size = bytes;
        best->next = exec->scratch;
        exec->scratch = best;
    }
    best->taken = true;
    return (char *)best + BLOCK_HEADER;
}

void tb_scratch_reset(tb_exec *exec) {
    for (block *b = exec->scratch; b; b = b->next) b->taken = false;
}

void tb_scratch_free(tb_exec *exec) {
    for (block *b = exec->scratch; b;) {
        block *next = b->next;
        tb_free(b);
        b = next;
    }
    exec->scratch = NULL;
}
