/*
 * Quantised operands (data/lower/pairs_*, onnxruntime's results with them): a pair of
 * QuantizeLinear and DequantizeLinear becomes one FakeQuantize for all its readers, and a product
 * of steps of scales is computed in integers.
 */
#include <stdlib.h>

#include "check.h"
#include "graph/raise.h"
#include "interpret.h"
#include "onnx/onnx.h"
#include "runtime/gemm_whole.h"
#include "support.h"

static const struct {
    const char *name;
    int fakes, pairs; /* FakeQuantize; QuantizeLinear that stay */
    bool integers;    /* both operands of Linear are known to be steps, and are small ones */
} cases[] = {
    {"matmul", 1, 0, true}, {"columns", 1, 0, true}, {"gemm", 1, 0, true},
    {"turned", 1, 0, true}, {"readers", 1, 0, true}, {"moved", 0, 1, true},
    {"halves", 0, 1, true}, {"wide", 2, 0, false}, /* which is rounded to 8 bits in blocks */
};

static int count(const tb_graph *graph, tb_op_kind kind) {
    int n = 0;
    for (const tb_node *node = graph->first; node; node = node->next) n += tb_is(node, kind);
    return n;
}

/* What the integer product of a Linear's operands is; false where they are no integers. */
static bool in_integers(const tb_node *node, tb_exec *exec, float *y) {
    const tb_value *x = node->in[0], *w = node->in[1];
    if (!x->step || !w->step) return false;
    const bool trans_w = tb_attr_int(node, "trans_w", 0);
    const int64_t n = w->t.dims[!trans_w], k = w->t.dims[trans_w];
    const tb_whole_units units = {*(float *)x->step->t.data, w->step->t.data,
                                  tb_tensor_count(&w->step->t) > 1};
    if (units.each) CHECK(w->step_axis == !trans_w);
    const float *bias = node->n_in > 2 ? node->in[2]->t.data : NULL;
    return tb_gemm_whole(exec, trans_w, tb_tensor_count(&x->t) / k, n, k, x->t.data, k, w->t.data,
                         w->t.dims[1], units, bias, y, n);
}

static void check_linears(const char *name, const tb_graph *graph, tb_exec *exec, bool integers) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        if (!tb_is(node, TB_OP_Linear)) continue;
        const int64_t size = tb_tensor_count(&node->out[0]->t);
        float *y = malloc((size_t)size * sizeof *y);
        if (!y) abort();
        CHECK_CASE(in_integers(node, exec, y) == integers, "%s", name);
        if (integers)
            CHECK_CASE(memcmp(y, node->out[0]->t.data, (size_t)size * sizeof *y) == 0, "%s", name);
        free(y);
    }
}

static void check_outputs(const char *name, const tb_graph *graph) {
    for (int i = 0; i < graph->n_outputs; i++)
        for (int k = 0; k < graph->n_outputs; k++) {
            const tb_value *got = graph->outputs[i], *want = graph->outputs[k];
            if (strncmp(want->name, "want.", 5) != 0 || strcmp(want->name + 5, got->name) != 0)
                continue;
            CHECK(tb_same_shape(&got->t, &want->t));
            for (int64_t e = 0; e < tb_tensor_count(&want->t); e++)
                CHECK_CASE(fabs(tb_get_f64(&got->t, e) - tb_get_f64(&want->t, e)) < 1e-5, "%s",
                           name);
        }
}

int main(void) {
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const char *name = cases[c].name;
        char path[1024];
        snprintf(path, sizeof path, "%s/lower/pairs_%s.onnx", TEST_DATA, name);
        tiba_error error = {0};
        tb_exec exec = {0};
        tb_arena *arena = tb_arena_create(NULL);
        tb_source *source = NULL;
        tb_bound *bound = NULL;
        tb_feed feed = {0};
        tiba_status status = tb_onnx_open(&source, path, NULL, &error);
        for (int i = 0; status == TIBA_OK && i < source->graph->n_outputs; i++)
            if (strcmp(source->graph->outputs[i]->name, "feed.x") == 0)
                feed = (tb_feed){"x", source->graph->outputs[i]->t};
        if (status == TIBA_OK) status = tb_bind(&bound, source, 1, &feed, &exec, &error);
        if (status == TIBA_OK) status = tb_raise(bound->graph, &exec, NULL, -1, &error);
        if (status == TIBA_OK) status = interpret_run(bound->graph, arena, &exec, 1, &feed, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", name, error.message);
        if (status == TIBA_OK) {
            CHECK_CASE(count(bound->graph, TB_OP_FakeQuantize) == cases[c].fakes, "%s", name);
            CHECK_CASE(count(bound->graph, TB_OP_QuantizeLinear) == cases[c].pairs, "%s", name);
            CHECK_CASE(count(bound->graph, TB_OP_Linear) == 1, "%s", name);
            check_linears(name, bound->graph, &exec, cases[c].integers);
            check_outputs(name, bound->graph);
        }
        tb_bound_destroy(bound);
        tb_scratch_free(&exec);
        if (source) tb_onnx_close(source);
        tb_arena_destroy(arena);
    }
    TEST_END();
}
