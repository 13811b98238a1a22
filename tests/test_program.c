/* What a program computes with values that share memory. */
#include "bound.h"

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

int main(void) {
    test_cast_of_one_width();
    TEST_END();
}
