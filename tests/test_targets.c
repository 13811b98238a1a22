/*
 * Several targets of one reverse pass receive the bytes that each receives alone: products large
 * enough for |x||W| to be shared, targets that read other rows of it, more targets than go
 * together; and the same bytes again where values are made again instead of kept.
 */
#include "rules/reverse.h"
#include "tests/bound.h"

enum { TOKENS = 48, TARGETS = TB_REVERSE_MOST + 1, WATCHED = 2 };

typedef struct seen {
    const tb_value *value[WATCHED];
    float *arrays[WATCHED][2];
} seen;

static tiba_status look(void *context, const tb_value *value, const float *gradient,
                        const float *relevance, tiba_error *error) {
    seen *at = context;
    (void)error;
    CHECK(gradient && relevance);
    for (int i = 0; i < WATCHED; i++) {
        if (at->value[i] != value) continue;
        memcpy(at->arrays[i][0], gradient, tb_tensor_bytes(&value->t));
        memcpy(at->arrays[i][1], relevance, tb_tensor_bytes(&value->t));
    }
    return TIBA_OK;
}

static tb_value *linear(making *m, tb_value *x, const char *w, const char *bias, int64_t trans_w) {
    tb_value *in[] = {x, make_random(m, w), make_random(m, bias)};
    return make(m, TB_OP_Linear, 3, in, 1, &TB_INT_ATTR("trans_w", trans_w));
}

static tb_value *mean_of(making *m, tb_value *x, int64_t from, int64_t to) {
    tb_value *in[] = {make_slice(m, x, from, to, 0, 1), make_ints(m, 1, (int64_t[]){0})};
    return make(m, TB_OP_ReduceMean, 2, in, 1, &TB_INT_ATTR("keepdims", 1));
}

static seen *new_seen(making *m, tb_value *const watch[WATCHED]) {
    seen *list = TB_NEW(m->arena, seen, TARGETS);
    for (int k = 0; k < TARGETS; k++)
        for (int i = 0; i < WATCHED; i++) {
            list[k].value[i] = watch[i];
            for (int j = 0; j < 2; j++)
                list[k].arrays[i][j] = TB_NEW(m->arena, float, tb_tensor_count(&watch[i]->t));
        }
    return list;
}

static tb_reverse *new_reverse(making *m, tb_value *const watch[WATCHED], int what,
                               const tb_remake *remake) {
    tiba_error error = {0};
    tb_reverse *reverse;
    making_try(tb_reverse_create(&reverse, m->graph, NULL, m->graph->outputs[0], WATCHED,
                                 (const tb_value *const *)watch,
                                 TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE | what, TB_RULESET_TIBA,
                                 remake, NULL, &error),
               &error);
    return reverse;
}

/* Targets from `first` on, n of them at once. */
static void run(tb_reverse *reverse, making *m, const tb_program *program, int first, int n,
                seen *list) {
    static const int64_t elements[TARGETS] = {7, 0, 9, 2, 5}; /* of two rows, in no order */
    tiba_error error = {0};
    tb_seed seeds[TARGETS];
    tb_reverse_start starts[TARGETS];
    for (int i = 0; i < n; i++) {
        seeds[i] = (tb_seed){elements[first + i], 1, 1};
        starts[i] = (tb_reverse_start){1, &seeds[i], &list[first + i]};
    }
    making_try(tb_reverse_run(reverse, program, n, starts, look, &m->exec, &error), &error);
}

static void compare(const char *what, const seen *a, const seen *b) {
    for (int k = 0; k < TARGETS; k++)
        for (int i = 0; i < WATCHED; i++)
            for (int j = 0; j < 2; j++) {
                size_t bytes = tb_tensor_bytes(&a[k].value[i]->t), used = 0;
                for (size_t e = 0; e < bytes / sizeof(float); e++)
                    used += a[k].arrays[i][j][e] != 0.0f;
                bool same = memcmp(a[k].arrays[i][j], b[k].arrays[i][j], bytes) == 0;
                CHECK_CASE(used > 0 && same, "%s: target %d, value %d, array %d", what, k, i, j);
            }
}

/* A pass over a program that keeps only what costs much. */
static void check_remade(making *m, tb_value *const watch[WATCHED], const seen *want) {
    tiba_error error = {0};
    unsigned char *reads = TB_NEW(m->arena, unsigned char, m->graph->n_values);
    unsigned char *keep = TB_NEW(m->arena, unsigned char, m->graph->n_values);
    tb_remake *remake;
    tb_program *program;
    tb_reverse *reverse = new_reverse(m, watch, TB_REVERSE_DRY, NULL);
    tb_reverse_reads(reverse, reads);
    tb_reverse_destroy(reverse);
    making_try(tb_remake_find(&remake, m->graph, reads, keep, m->arena, &error), &error);
    int again = 0, kept = 0;
    for (int i = 0; i < m->graph->n_values; i++) {
        const tb_value *value = m->graph->values[i];
        bool sums = value && value->producer && value->producer->op->class == TB_CLASS_CONTRACT;
        again += reads[i] && !keep[i];
        kept += reads[i] && keep[i] && sums;
        CHECK_CASE(!sums || !reads[i] || keep[i], "value %d is not kept", i);
    }
    CHECK(again >= 4 && kept >= 2 && reads[watch[1]->id] && !keep[watch[1]->id]);
    making_try(tb_program_create(&program, m->graph, keep, 0, NULL, &error), &error);
    making_try(tb_program_run(program, (const void *const *)m->inputs, &m->exec, &error), &error);
    reverse = new_reverse(m, watch, 0, remake);
    seen *list = new_seen(m, watch);
    run(reverse, m, program, 0, TARGETS, list);
    compare("made again", want, list);
    run(reverse, m, program, 0, TARGETS, list);
    compare("made again twice", want, list);
    tb_reverse_destroy(reverse);
    tb_program_destroy(program);
}

int main(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "x", "48,160");
    tb_value *h = make1(&m, TB_OP_Gelu, linear(&m, x, "160,192", "192", 0));
    tb_value *y = make2(&m, TB_OP_Add, x, linear(&m, h, "160,192", "160", 1));
    tb_value *z = linear(&m, make1(&m, TB_OP_Tanh, y), "160,160", "160", 0);
    y = make_transpose(&m, make_transpose(&m, make2(&m, TB_OP_Add, y, z), "1,0"), "1,0");
    tb_value *means[] = {mean_of(&m, y, 0, 40), mean_of(&m, y, 8, TOKENS)};
    make_output(&m, linear(&m, make_concat(&m, 2, means, 0), "160,5", "5", 0));
    making_run(&m);
    tb_value *const watch[WATCHED] = {x, h};
    seen *alone = new_seen(&m, watch), *together = new_seen(&m, watch);
    tb_reverse *reverse = new_reverse(&m, watch, 0, NULL);
    for (int k = 0; k < TARGETS; k++) run(reverse, &m, m.program, k, 1, alone);
    run(reverse, &m, m.program, 0, TARGETS, together);
    compare("together", alone, together);
    tb_reverse_destroy(reverse);
    check_remade(&m, watch, alone);
    making_end(&m);
    TEST_END();
}
