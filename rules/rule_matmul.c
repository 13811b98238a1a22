/*
 * A·B of two activations: each operand gets half of its z-rule share,
 *
 *     S = R ⊘ AB,  R_A = A ⊙ (S Bᵀ) / 2,  R_B = B ⊙ (Aᵀ S) / 2.
 *
 * The products of attention come in batches of one for each head and sample. A thread does all of a
 * head's, the gradient's with them, while its matrices are in cache; rows in front of the first and
 * behind the last with relevance or gradient (tokens that the target does not read) are left out.
 */
#include <string.h>

#include "rules/elementwise.h"
#include "rules/rule.h"
#include "runtime/gemm.h"

typedef struct heads {
    const tb_step *step;
    int64_t count, m, n, k; /* a: [count, m, k], b: [count, k, n] */
    bool small;
    int64_t room;  /* floats that a product takes beside its operands */
    float *memory; /* [workers]: S [m, n], room */
} heads;

static float *at(const tiba_tensor *t, int64_t index, int64_t size) {
    return t ? (float *)t->data + index * size : NULL;
}

static bool is_zero(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0.0f) return false;
    return true;
}

/* Narrows [*first, *last) to the rows where one of the two, which may be NULL, is not all 0. */
static void find_rows(int64_t *first, int64_t *last, const float *r, const float *d, int64_t n) {
    while (*first < *last && (!r || is_zero(r + *first * n, n)) &&
           (!d || is_zero(d + *first * n, n)))
        ++*first;
    while (*first < *last && (!r || is_zero(r + (*last - 1) * n, n)) &&
           (!d || is_zero(d + (*last - 1) * n, n)))
        --*last;
}

/* to_a = s Bᵀ and to_b = Aᵀ s of the rows from `first` to before `last`; either may be NULL. */
static void multiply(tb_exec *exec, const heads *h, float *room, int64_t first, int64_t last,
                     const float *s, const float *a, const float *b, float *to_a, float *to_b) {
    const int64_t m = last - first, n = h->n, k = h->k;
    if (to_a) {
        memset(to_a, 0, (size_t)(first * k) * sizeof *to_a);
        memset(to_a + last * k, 0, (size_t)((h->m - last) * k) * sizeof *to_a);
        tb_gemm_alone(exec, room, h->small, false, true, m, k, n, s, n, b, n, to_a + first * k, k);
    }
    if (to_b && m == 0) memset(to_b, 0, (size_t)(k * n) * sizeof *to_b);
    if (to_b && m > 0)
        tb_gemm_alone(exec, room, h->small, true, false, k, n, m, a + first * k, k, s, n, to_b, n);
}

static void one_head(void *context, int64_t index, int worker) {
    const heads *h = context;
    const tb_step *step = h->step;
    const int64_t n = h->n, k = h->k, size = h->m * n, size_a = h->m * k, size_b = k * n;
    tb_exec alone = {.budget = step->exec->budget, .profile = step->exec->profile};
    const float *a = at(step->in[0], index, size_a), *b = at(step->in[1], index, size_b);
    const float *r = at(step->r_out[0], index, size);
    const float *d = at(step->d_out ? step->d_out[0] : NULL, index, size);
    int64_t first = 0, last = h->m;
    find_rows(&first, &last, r, d, n);
    float *s = h->memory + worker * (size + h->room), *room = s + size;
    if (d)
        multiply(&alone, h, room, first, last, d + first * n, a, b,
                 at(step->d_in[0], index, size_a), at(step->d_in[1], index, size_b));
    if (!r) return;
    float *r_a = at(step->r_in[0], index, size_a), *r_b = at(step->r_in[1], index, size_b);
    const float *y = at(step->out[0], index, size);
    tb_ratios(&alone, s, r + first * n, y + first * n, (last - first) * n);
    multiply(&alone, h, room, first, last, s, a, b, r_a, r_b);
    if (r_a) tb_times(&alone, r_a, a, 0.5f, size_a);
    if (r_b) tb_times(&alone, r_b, b, 0.5f, size_b);
}

/* Fewer are cut within a product instead, for all threads. */
enum { FEWEST = 8 };

/* False if the operands are not as many matrices as the result, or those are few. */
static bool find_heads(heads *h, const tb_step *s) {
    const tiba_tensor *a = s->in[0], *b = s->in[1];
    const int rank = a->rank;
    *h = (heads){.step = s, .count = 1};
    if (!tb_is(s->node, TB_OP_MatMul) || rank < 2 || b->rank != rank) return false;
    for (int i = 0; i < rank - 2; i++) {
        if (a->dims[i] != b->dims[i]) return false;
        h->count *= a->dims[i];
    }
    if (h->count < FEWEST) return false;
    h->m = a->dims[rank - 2];
    h->k = a->dims[rank - 1];
    h->n = b->dims[rank - 1];
    int64_t by_rows = tb_gemm_room(h->m, h->n), by_columns = tb_gemm_room(h->k, h->m);
    h->room = by_rows > by_columns ? by_rows : by_columns;
    h->small = tb_gemm_is_small(h->count, h->m, h->n, h->k);
    return true;
}

static tiba_status run(heads *h, tiba_error *error) {
    tb_exec *exec = h->step->exec;
    const size_t workers = (size_t)tb_pool_threads(exec->pool);
    size_t size;
    if (!tb_size_mul(&size, workers, (size_t)(h->m * h->n + h->room)) ||
        !(h->memory = tb_scratch(exec, size + 1, sizeof(float))))
        return tb_out_of_memory(error);
    tb_parallel_for(exec->pool, h->count, one_head, h);
    return TIBA_OK;
}

static tiba_status matmul(const tb_step *s, tiba_error *error) {
    heads h;
    if (!find_heads(&h, s)) return tb_z_rule(s, 0.5f, error);
    tb_step alone = *s;
    alone.d_out = NULL;
    h.step = &alone;
    return run(&h, error);
}

static tiba_status matmul_both(const tb_step *s, tiba_error *error) {
    heads h;
    if (find_heads(&h, s)) return run(&h, error);
    TB_TRY(s->node->op->def->vjp(s->exec, s->node, s->in, s->out, s->d_out, s->d_in, error));
    return tb_z_rule(s, 0.5f, error);
}

const tb_rule tb_rule_matmul = {.name = "matmul",
                                .relevance = matmul,
                                .both = matmul_both,
                                .needs = TB_NEEDS_INS | TB_NEEDS_OUT(0),
                                .uses_vjp = true};
