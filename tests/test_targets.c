/*
 * Several targets of one reverse pass receive the bytes that each receives alone: products large
 * enough for |x||W| to be shared, targets that read other rows of it, more targets than go
 * together.
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

int main(void) {
    making m;
    tiba_error error = {0};
    making_start(&m);
    tb_value *x = make_input(&m, "x", "48,160");
    tb_value *h = make1(&m, TB_OP_Gelu, linear(&m, x, "160,192", "192", 0));
    tb_value *y = make2(&m, TB_OP_Add, x, linear(&m, h, "160,192", "160", 1));
    tb_value *means[] = {mean_of(&m, y, 0, 40), mean_of(&m, y, 8, TOKENS)};
    make_output(&m, linear(&m, make_concat(&m, 2, means, 0), "160,5", "5", 0));
    making_run(&m);
    tb_value *const watch[WATCHED] = {x, h};
    seen *alone = new_seen(&m, watch), *together = new_seen(&m, watch);
    tb_reverse *reverse;
    making_try(tb_reverse_create(&reverse, m.graph, NULL, m.graph->outputs[0], WATCHED,
                                 (const tb_value *const *)watch,
                                 TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, TB_RULESET_TIBA, NULL,
                                 NULL, &error),
               &error);
    static const int64_t elements[TARGETS] = {7, 0, 9, 2, 5}; /* of two rows, in no order */
    tb_seed seeds[TARGETS];
    tb_reverse_start starts[TARGETS];
    for (int k = 0; k < TARGETS; k++) {
        seeds[k] = (tb_seed){elements[k], 1, 1};
        starts[k] = (tb_reverse_start){1, &seeds[k], &alone[k]};
        making_try(tb_reverse_run(reverse, m.program, 1, &starts[k], look, &m.exec, &error),
                   &error);
        starts[k].context = &together[k];
    }
    making_try(tb_reverse_run(reverse, m.program, TARGETS, starts, look, &m.exec, &error), &error);
    for (int k = 0; k < TARGETS; k++)
        for (int i = 0; i < WATCHED; i++)
            for (int j = 0; j < 2; j++) {
                const float *a = alone[k].arrays[i][j], *b = together[k].arrays[i][j];
                size_t bytes = tb_tensor_bytes(&watch[i]->t), used = 0;
                for (size_t e = 0; e < bytes / sizeof *a; e++) used += a[e] != 0.0f;
                CHECK_CASE(used > 0 && memcmp(a, b, bytes) == 0, "target %d, value %d, array %d", k,
                           i, j);
            }
    tb_reverse_destroy(reverse);
    making_end(&m);
    TEST_END();
}
