/*
 * A picture's tokens have a grid exactly if they stand row by row; a text's tokens that do not
 * stand in its order have no words.
 */
#include "tests/check.h"

#include "graph/attention.h"
#include "tests/bound.h"

enum { ROWS = 4, COLUMNS = 6, TOKENS = ROWS * COLUMNS };

static tb_value *flat(making *m, tb_value *x) {
    return make_reshape(m, x, "1,24,3");
}

static tb_value *as_it_is(making *m, tb_value *x) {
    return flat(m, x);
}

static tb_value *columns_first(making *m, tb_value *x) {
    return flat(m, make_transpose(m, x, "0,2,1,3"));
}

static tb_value *rows_upside_down(making *m, tb_value *x) {
    return flat(m, make_slice(m, x, -1, INT64_MIN / 2, 1, -1));
}

static tb_value *mirrored(making *m, tb_value *x) {
    return flat(m, make_slice(m, x, -1, INT64_MIN / 2, 2, -1));
}

static tb_value *rolled(making *m, tb_value *x, int axis, int by) {
    tb_value *parts[] = {make_slice(m, x, by, INT64_MAX / 2, axis, 1),
                         make_slice(m, x, 0, by, axis, 1)};
    return flat(m, make_concat(m, 2, parts, axis));
}

static tb_value *rolled_down(making *m, tb_value *x) {
    return rolled(m, x, 1, 3);
}

static tb_value *rolled_aside(making *m, tb_value *x) {
    return rolled(m, x, 2, 2);
}

static tb_value *in_windows(making *m, tb_value *x) {
    return flat(m, make_transpose(m, make_reshape(m, x, "1,2,2,3,2,3"), "0,1,3,2,4,5"));
}

static tb_value *there_and_back(making *m, tb_value *x) {
    x = make_transpose(m, make_reshape(m, x, "1,2,2,3,2,3"), "0,1,3,2,4,5");
    x = make_reshape(m, make_reshape(m, x, "1,24,3"), "1,2,3,2,2,3");
    return flat(m, make_transpose(m, x, "0,1,3,2,4,5"));
}

static tb_value *some_columns(making *m, tb_value *x) {
    return make_reshape(m, make_slice(m, x, 0, 5, 2, 1), "1,20,3");
}

static tb_value *some_rows(making *m, tb_value *x) {
    return make_reshape(m, make_slice(m, x, 1, 4, 1, 1), "1,18,3");
}

static tb_value *behind_others(making *m, tb_value *x) {
    tb_value *parts[] = {make_random(m, "1,2,3"), flat(m, x)};
    return make_concat(m, 2, parts, 1);
}

static const struct {
    const char *name;
    tb_value *(*move)(making *m, tb_value *x);
    bool grid;
    int64_t tokens, prefix;
} cases[] = {
    {"as it is", as_it_is, true, TOKENS, 0},
    {"columns first", columns_first, false, TOKENS, 0},
    {"upside down", rows_upside_down, false, TOKENS, 0},
    {"mirrored", mirrored, false, TOKENS, 0},
    {"rolled down", rolled_down, false, TOKENS, 0},
    {"rolled aside", rolled_aside, false, TOKENS, 0},
    {"in windows", in_windows, false, TOKENS, 0},
    {"windows undone", there_and_back, true, TOKENS, 0},
    {"some columns", some_columns, false, 20, 0},
    {"some rows", some_rows, false, 18, 0},
    {"behind others", behind_others, true, TOKENS + 2, 2},
};

static void attend(making *m, tb_value *x) {
    tb_value *q = make2(m, TB_OP_MatMul, x, make_random(m, "3,4"));
    tb_value *k = make2(m, TB_OP_MatMul, x, make_random(m, "3,4"));
    tb_value *v = make2(m, TB_OP_MatMul, x, make_random(m, "3,4"));
    tb_value *scores = make2(m, TB_OP_MatMul, q, make_transpose(m, k, "0,2,1"));
    tb_value *p = make(m, TB_OP_Softmax, 1, &scores, 1, &TB_INT_ATTR("axis", -1));
    make_output(m, make2(m, TB_OP_MatMul, p, v));
}

static const tb_attentions *find(making *m) {
    tiba_error error = {0};
    tb_axes *axes;
    tb_attentions *found;
    making_run(m);
    making_try(tb_axes_find(&axes, m->graph, m->arena, &error), &error);
    making_try(tb_attentions_find(&found, m->graph, axes, NULL, &error), &error);
    return found;
}

static void check_case(int i) {
    making m;
    making_start(&m);
    attend(&m, cases[i].move(&m, make_input(&m, "picture", "1,4,6,3")));
    const tb_attentions *found = find(&m);
    CHECK_CASE(found->n_towers == 1, "%s: %d towers", cases[i].name, found->n_towers);
    const tb_tower *tower = &found->towers[0];
    CHECK_CASE(tower->tokens == cases[i].tokens, "%s: %d tokens", cases[i].name,
               (int)tower->tokens);
    CHECK_CASE(tower->rows == (cases[i].grid ? ROWS : 0) &&
                   tower->columns == (cases[i].grid ? COLUMNS : 0),
               "%s: a grid of %d x %d", cases[i].name, (int)tower->rows, (int)tower->columns);
    if (cases[i].grid)
        CHECK_CASE(tower->prefix == cases[i].prefix && !tower->reordered, "%s: prefix %d",
                   cases[i].name, (int)tower->prefix);
    making_end(&m);
}

/* A picture and its mirror image as two samples have no place in common: no tower holds both. */
static void check_views(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "picture", "1,4,6,3");
    tb_value *views[] = {x, make_slice(&m, x, -1, INT64_MIN / 2, 2, -1)};
    attend(&m, make_reshape(&m, make_concat(&m, 2, views, 0), "2,24,3"));
    const tb_attentions *found = find(&m);
    CHECK(found->n_attentions == 1 && found->n_towers == 0);
    CHECK(found->attentions[0].groups == 2 && found->attentions[0].heads == 1);
    making_end(&m);
}

/* Tokens that are pairs of tokens come from the input, but from no one place of it. */
static void check_pairs(void) {
    making m;
    making_start(&m);
    tb_value *x = make_input(&m, "points", "1,5,3");
    tb_value *pairs =
        make2(&m, TB_OP_Sub, make_reshape(&m, x, "1,5,1,3"), make_reshape(&m, x, "1,1,5,3"));
    attend(&m, make_reshape(&m, pairs, "1,25,3"));
    const tb_attentions *found = find(&m);
    CHECK(found->n_towers == 1 && found->towers[0].tokens == 25 && found->towers[0].input == 0);
    for (int i = 0; found->towers[0].origins && i < 25; i++)
        CHECK_CASE(found->towers[0].origins[i].place < 0, "pair %d: place %d", i,
                   (int)found->towers[0].origins[i].place);
    making_end(&m);
}

/* What patches are made of may be in another place before: then the grid is not the picture's. */
static tb_value *cut(making *m, tb_value *x, int64_t from, int64_t to) {
    return make_slice(m, x, from, to, 3, 1);
}

static tb_value *turn(making *m, tb_value *x) {
    return make_slice(m, x, -1, INT64_MIN / 2, 3, -1);
}

static tb_value *turn_twice(making *m, tb_value *x) {
    return turn(m, turn(m, x));
}

static tb_value *roll(making *m, tb_value *x) {
    tb_value *parts[] = {cut(m, x, 2, 12), cut(m, x, 0, 2)};
    return make_concat(m, 2, parts, 3);
}

static tb_value *together_again(making *m, tb_value *x) {
    tb_value *parts[] = {cut(m, x, 0, 2), cut(m, x, 2, 12)};
    return make_concat(m, 2, parts, 3);
}

static tb_value *without_a_patch(making *m, tb_value *x) {
    return cut(m, x, 2, 12);
}

static tb_value *without_an_edge(making *m, tb_value *x) {
    return cut(m, x, 1, 11);
}

static tb_value *pad(making *m, tb_value *x, int64_t before, int64_t behind) {
    const int64_t n[8] = {0, 0, 0, before, 0, 0, 0, behind};
    return make2(m, TB_OP_Pad, x, make_ints(m, 8, n));
}

static tb_value *padded(making *m, tb_value *x) {
    return pad(m, x, 2, 2);
}

static tb_value *padded_behind(making *m, tb_value *x) {
    return pad(m, x, 0, 2);
}

static tb_value *padded_to_a_multiple(making *m, tb_value *x) {
    return pad(m, cut(m, x, 0, 11), 0, 1);
}

static tb_value *cut_from_padded(making *m, tb_value *x) {
    return cut(m, pad(m, x, 4, 0), 4, 16);
}

static tb_value *padded_for_a_kernel(making *m, tb_value *x) {
    const int64_t one[] = {1, 1};
    return make(m, TB_OP_Conv, 2, (tb_value *[]){pad(m, x, 3, 3), make_random(m, "3,3,1,7")}, 1,
                &TB_INTS_ATTR("strides", 2, one));
}

static tb_value *read_without_padding(making *m, tb_value *x) {
    const int64_t one[] = {1, 1};
    return make(m, TB_OP_Conv, 2, (tb_value *[]){x, make_random(m, "3,3,1,5")}, 1,
                &TB_INTS_ATTR("strides", 2, one));
}

static const struct {
    const char *name;
    tb_value *(*move)(making *m, tb_value *x);
    const char *tokens;
    int64_t columns;
} pictures[] = {
    {"turned before", turn, "1,3,24", 0},
    {"turned twice before", turn_twice, "1,3,24", 6},
    {"rolled before", roll, "1,3,24", 0},
    {"together again", together_again, "1,3,24", 6},
    {"without a patch", without_a_patch, "1,3,20", 0},
    {"without an edge", without_an_edge, "1,3,20", 5},
    {"padded", padded, "1,3,32", 0},
    {"padded behind", padded_behind, "1,3,28", 0},
    {"padded to a multiple", padded_to_a_multiple, "1,3,24", 6},
    {"cut from padded", cut_from_padded, "1,3,24", 6},
    {"padded for a kernel", padded_for_a_kernel, "1,3,24", 6},
    {"read without padding", read_without_padding, "1,3,16", 4},
};

static void check_picture(int i) {
    making m;
    making_start(&m);
    tb_value *x = pictures[i].move(&m, make_input(&m, "picture", "1,3,8,12"));
    const int64_t two[] = {2, 2};
    tb_value *patches = make(&m, TB_OP_Conv, 2, (tb_value *[]){x, make_random(&m, "3,3,2,2")}, 1,
                             &TB_INTS_ATTR("strides", 2, two));
    attend(&m, make_transpose(&m, make_reshape(&m, patches, pictures[i].tokens), "0,2,1"));
    const tb_attentions *found = find(&m);
    CHECK_CASE(found->n_towers == 1, "%s: %d towers", pictures[i].name, found->n_towers);
    CHECK_CASE(found->towers[0].columns == pictures[i].columns, "%s: %d columns", pictures[i].name,
               (int)found->towers[0].columns);
    making_end(&m);
}

int main(void) {
    check_views();
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) check_picture((int)i);
    check_pairs();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case((int)i);
    TEST_END();
}
