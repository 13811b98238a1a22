/* What programs and reverse passes compute with values that share memory, and how little they take.
 */
#include "bound.h"
#include "rules/reverse.h"

enum { SIDE = 40, COUNT = SIDE * SIDE, BYTES = COUNT * (int)sizeof(float) };

/* A cast to another type of the same width is no copy: as neural-compressor writes a bias in whole
 * numbers of a scale that is known when the graph runs, x + whole(10·x) here. */
static void test_cast_of_one_width(void) {
    making m;
    making_start(&m);
    const float ten = 10;
    tb_value *x = make_input(&m, "x", "2,3"),
             *many = make2(&m, TB_OP_Mul, x, make_constant(&m, "1", &ten));
    tb_value *whole = make(&m, TB_OP_Cast, 1, &many, 1, &TB_INT_ATTR("to", TIBA_INT32));
    tb_value *sum = make2(&m, TB_OP_Add, x, make_reshape(&m, whole, "2,3"));
    make_output(&m, sum);
    making_run(&m);
    for (int i = 0; i < 6; i++) {
        const float number = m.inputs[0][i];
        CHECK_NEAR(made(&m, sum)[i], number + truncf(10 * number), 1e-6);
    }
    making_end(&m);
}

/* How many arrays of SIDE x SIDE the graph takes where nothing is kept but its output, which has to
 * be the bytes that it is with all values in memory of their own. */
static int arrays_of(making *m, const tb_value *output) {
    tiba_error error = {0};
    tb_program *program;
    const float *want = made(m, output);
    making_try(tb_program_create(&program, m->graph, NULL, 0, NULL, &error), &error);
    making_try(tb_program_run(program, (const void *const *)m->inputs, &m->exec, &error), &error);
    CHECK(memcmp(program->values[output->id]->data, want, BYTES) == 0);
    const int arrays = (int)(program->block_bytes / BYTES);
    tb_program_destroy(program);
    return arrays;
}

static void test_written_over(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "x", "40,40");
    tb_value *scaled = make2(&m, TB_OP_Mul, make_random(&m, "40"), x);
    tb_value *sum = make2(&m, TB_OP_Sub, x, scaled);
    tb_value *across = make(&m, TB_OP_Softmax, 1, &sum, 1, &TB_INT_ATTR("axis", 0));
    tb_value *along = make(&m, TB_OP_Softmax, 1, &across, 1, &TB_INT_ATTR("axis", 1));
    tb_value *y = make1(&m, TB_OP_Tanh, make_reshape(&m, along, "1600"));
    make_output(&m, y);
    making_run(&m);
    CHECK(arrays_of(&m, y) == 1);
    making_end(&m);
}

/* Not over what is read later, by another name or by the node itself once more. */
static void test_not_written_over(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "x", "40,40");
    tb_value *h = make2(&m, TB_OP_Mul, x, make_random(&m, "40")),
             *same = make_reshape(&m, h, "1600");
    tb_value *bent = make1(&m, TB_OP_Tanh, h);
    tb_value *sum = make2(&m, TB_OP_Add, make_reshape(&m, bent, "1600"), same);
    tb_value *turned = make_transpose(&m, make_reshape(&m, sum, "40,40"), "1,0");
    make_output(&m, turned);
    making_run(&m);
    CHECK(arrays_of(&m, turned) == 2);
    making_end(&m);
}

typedef struct arrived {
    const tb_value *value;
    const float *x, *p;
    const float *factors[2];
    int seen;
} arrived;

/* y = the first row's sum weighted by 1 at element 3: p[0][3]. p = softmax(a + b), a = f x, b = g
 * x: gradient f dS + g dS with dS = p (dP - sum p dP); relevance 1 at that element, shared by a and
 * b. */
static tiba_status look(void *context, const tb_value *value, const float *gradient,
                        const float *relevance, tiba_error *error) {
    arrived *w = context;
    (void)error;
    if (value != w->value) return TIBA_OK;
    w->seen++;
    const float *f = w->factors[0], *g = w->factors[1], *p = w->p;
    for (int i = 0; i < COUNT; i++) {
        double slope = i < SIDE ? (double)p[i] * ((i == 3) - (double)p[3]) : 0;
        CHECK_NEAR(gradient[i], slope * ((double)f[i % SIDE] + (double)g[i % SIDE]), 1e-6);
        CHECK_NEAR(relevance[i], i == 3, 1e-5);
    }
    return TIBA_OK;
}

static void test_reverse_shares(void) {
    making m;
    tiba_error error = {0};
    making_start(&m);
    tb_value *x = make_input(&m, "x", "40,40");
    tb_value *f = make_random(&m, "40"), *g = make_random(&m, "40");
    tb_value *sum = make2(&m, TB_OP_Add, make2(&m, TB_OP_Mul, x, f), make2(&m, TB_OP_Mul, x, g));
    tb_value *p = make(&m, TB_OP_Softmax, 1, &sum, 1, &TB_INT_ATTR("axis", -1));
    make_output(&m, p);
    making_run(&m);
    tb_reverse *reverse;
    making_try(tb_reverse_create(&reverse, m.graph, NULL, p, 1, (const tb_value *const[]){x},
                                 TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, TB_RULESET_TIBA, NULL,
                                 NULL, &error),
               &error);
    /* the gradient: dS over dP, for both terms, and dx; relevance: a's share over what arrives, b's
     * beside it, and x's */
    CHECK((int)(tb_reverse_bytes(reverse) / BYTES) == 5);
    arrived w = {x, m.inputs[0], made(&m, p), {f->t.data, g->t.data}, 0};
    const tb_seed seed = {3, 1, 1};
    tb_reverse_start start = {1, &seed, &w};
    making_try(tb_reverse_run(reverse, m.program, 1, &start, look, &m.exec, &error), &error);
    CHECK(w.seen == 1);
    tb_reverse_destroy(reverse);
    making_end(&m);
}

int main(void) {
    test_cast_of_one_width();
    test_written_over();
    test_not_written_over();
    test_reverse_shares();
    TEST_END();
}
