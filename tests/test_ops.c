/*
 * test_ops.c: the ONNX project's own operator tests: every folder with a model.onnx and
 * test_data_set_K/{input,output}_I.pb is opened, bound, run by interpret.h and compared.
 *
 * Float inputs are run-time values, so that kernels run and are not only folded. Where that cannot
 * be (a shape would depend on a float input) the inputs behind the first, at last all, are made
 * constants. What is not supported stands with its reason in ops_expected.txt: a test that is not
 * listed must pass, a listed one that passes is reported, and every operator of op.def must occur
 * in a test that passes. With arguments: patterns of test names to run, with what comes of each.
 */
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>

#include "base/file.h"
#include "check.h"
#include "graph/build.h"
#include "interpret.h"
#include "node.h"
#include "onnx/onnx.h"
#include "support.h"

enum { MOST_TENSORS = 64, MOST_PATTERNS = 400 };

typedef struct pattern {
    char name[96];
    bool must_pass; /* an exception from a later pattern */
    int matched;
} pattern;

static pattern expected[MOST_PATTERNS];
static int n_expected;
static bool covered[TB_OP_COUNT];

/* Every line: a pattern of names, then the reason. The first pattern that matches a name counts;
 * with '!' in front its tests must pass. */
static void read_expected(void) {
    FILE *file = fopen(TEST_DATA "/../ops_expected.txt", "r");
    CHECK(file);
    char line[512];
    while (file && fgets(line, sizeof line, file)) {
        char name[96], reason[256];
        if (line[0] == '#' || sscanf(line, "%95s %255[^\n]", name, reason) < 1) continue;
        CHECK_CASE(sscanf(line, "%95s %255[^\n]", name, reason) == 2, "%s has no reason", name);
        CHECK(n_expected < MOST_PATTERNS);
        if (n_expected == MOST_PATTERNS) break;
        pattern *p = &expected[n_expected++];
        p->must_pass = name[0] == '!';
        snprintf(p->name, sizeof p->name, "%s", name + p->must_pass);
    }
    if (file) fclose(file);
}

static pattern *find_expected(const char *name) {
    for (int i = 0; i < n_expected; i++)
        if (fnmatch(expected[i].name, name, 0) == 0) return &expected[i];
    return NULL;
}

/* ---------------------------------------------------------------- one data set */

/* input_0.pb, … of a data set; returns how many, -1 if one cannot be read. */
static int read_tensors(tiba_tensor *tensors, tb_arena *arena, const char *set, const char *what,
                        tiba_error *error) {
    for (int i = 0;; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s_%d.pb", set, what, i);
        if (!tb_is_file(path)) return i;
        if (i == MOST_TENSORS || tb_onnx_read_tensor(&tensors[i], arena, path, error) != TIBA_OK)
            return -1;
    }
}

/* From input `first` on, float inputs (and integer arrays that would pass for pictures) become
 * initializers of the source graph. */
static tiba_status fix_inputs(tb_source *source, tb_arena *arena, const tiba_tensor *inputs,
                              int n_inputs, int first, int *n_feeds, tb_feed *feeds,
                              tiba_error *error) {
    tb_graph *graph = source->graph;
    int kept = 0;
    if (graph->n_inputs < n_inputs)
        return tb_fail(error, TIBA_ERROR_INPUT, "%d inputs for a graph that takes %d", n_inputs,
                       graph->n_inputs);
    for (int i = 0; i < graph->n_inputs; i++) {
        tb_value *value = graph->inputs[i];
        if (i >= n_inputs)
            return tb_fail(error, TIBA_ERROR_INPUT, "no data for input %s", value->name);
        /* as a graph input an uint8 array of three axes or more would be a picture of floats */
        const bool picture = inputs[i].dtype == TIBA_UINT8 && inputs[i].rank >= 3;
        if (picture || (i >= first && tb_dtype_is_float(inputs[i].dtype))) {
            TB_TRY(tb_tensor_create(&value->t, arena, picture ? TIBA_UINT8 : TIBA_FLOAT32,
                                    inputs[i].rank, inputs[i].dims, error));
            tb_convert(&value->t, &inputs[i]);
            value->input = -1;
            continue;
        }
        feeds[kept] = (tb_feed){value->name, inputs[i]};
        value->input = kept;
        graph->inputs[kept++] = value;
    }
    graph->n_inputs = kept;
    *n_feeds = kept;
    return TIBA_OK;
}

static bool close_enough(const tiba_tensor *got, const tiba_tensor *want, int64_t i) {
    if (!tb_dtype_is_float(want->dtype) && !tb_dtype_is_float(got->dtype))
        return tb_get_i64(got, i) == tb_get_i64(want, i);
    const double g = tb_get_f64(got, i), w = tb_get_f64(want, i);
    if (g == w || (g != g && w != w)) return true;
    const double relative = want->dtype == TIBA_BFLOAT16  ? 2e-2
                            : want->dtype == TIBA_FLOAT16 ? 2e-3
                                                          : 1e-3;
    return fabs(g - w) <= 1e-5 + relative * fabs(w);
}

static tiba_status compare_outputs(const tb_graph *graph, const tiba_tensor *wanted, int n_wanted,
                                   tiba_error *error) {
    if (n_wanted > graph->n_outputs)
        return tb_fail(error, TIBA_ERROR_INPUT, "%d outputs instead of %d", graph->n_outputs,
                       n_wanted);
    for (int k = 0; k < n_wanted; k++) {
        const tiba_tensor *got = &graph->outputs[k]->t, *want = &wanted[k];
        char have[128], other[128];
        /* quantised values are float arrays that hold integers */
        if (got->dtype != TIBA_FLOAT32 && got->dtype != want->dtype)
            return tb_fail(error, TIBA_ERROR_INPUT, "output %d is %s instead of %s", k,
                           tb_dtype_name(got->dtype), tb_dtype_name(want->dtype));
        if (!tb_same_shape(got, want))
            return tb_fail(error, TIBA_ERROR_INPUT, "output %d has shape %s instead of %s", k,
                           tb_shape_text(have, sizeof have, got->rank, got->dims),
                           tb_shape_text(other, sizeof other, want->rank, want->dims));
        const int64_t count = tb_tensor_count(want);
        for (int64_t i = 0; i < count; i++)
            if (!close_enough(got, want, i))
                return tb_fail(error, TIBA_ERROR_INPUT, "output %d [%lld] is %.9g instead of %.9g",
                               k, (long long)i, tb_get_f64(got, i), tb_get_f64(want, i));
    }
    return TIBA_OK;
}

static void mark_covered(const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        const tb_op *op = node->op ? node->op : tb_find_op(node->domain, node->op_type);
        if (op) covered[op->kind] = true;
    }
}

/* Binds with the float inputs from `first` on as constants, runs and compares. *bound tells how
 * far it got. */
static tiba_status attempt(const char *model, const char *set, int first, bool *bound,
                           tb_arena *arena, tiba_error *error) {
    tiba_tensor inputs[MOST_TENSORS], wanted[MOST_TENSORS];
    tb_feed feeds[MOST_TENSORS];
    tb_exec exec = {0};
    tb_source *source = NULL;
    tb_bound *graph = NULL;
    int n_feeds;
    *bound = false;
    const int n_inputs = read_tensors(inputs, arena, set, "input", error);
    const int n_wanted = read_tensors(wanted, arena, set, "output", error);
    if (n_inputs < 0 || n_wanted < 0) return TIBA_ERROR_INPUT;
    if (n_wanted == 0) return tb_fail(error, TIBA_ERROR_INPUT, "no outputs to compare with");
    tiba_status status = tb_onnx_open(&source, model, NULL, error);
    if (status == TIBA_OK)
        status = fix_inputs(source, arena, inputs, n_inputs, first, &n_feeds, feeds, error);
    if (status == TIBA_OK) status = tb_bind(&graph, source, n_feeds, feeds, &exec, error);
    *bound = status == TIBA_OK;
    if (status == TIBA_OK)
        status = interpret_run(graph->graph, arena, &exec, n_feeds, feeds, error);
    if (status == TIBA_OK) status = compare_outputs(graph->graph, wanted, n_wanted, error);
    if (status == TIBA_OK) {
        mark_covered(source->graph);
        mark_covered(graph->graph);
    }
    tb_scratch_free(&exec);
    if (graph) tb_bound_destroy(graph);
    if (source) tb_onnx_close(source);
    return status;
}

static tiba_status run_set(const char *model, const char *set, tiba_error *error) {
    static const int firsts[] = {MOST_TENSORS, 1, 0};
    tiba_status status = TIBA_OK;
    bool bound = false;
    for (int i = 0; i < 3 && !bound; i++) {
        tb_arena *arena = tb_arena_create(NULL);
        tiba_error now = {0};
        status = attempt(model, set, firsts[i], &bound, arena, &now);
        /* the first reason is the telling one, unless a later attempt came further */
        if (i == 0 || bound) *error = now;
        tb_arena_destroy(arena);
    }
    return status;
}

static tiba_status run_test(const char *folder, tiba_error *error) {
    char model[1100], set[1100];
    snprintf(model, sizeof model, "%s/model.onnx", folder);
    for (int k = 0;; k++) {
        snprintf(set, sizeof set, "%s/test_data_set_%d", folder, k);
        if (!tb_is_folder(set))
            return k > 0 ? TIBA_OK : tb_fail(error, TIBA_ERROR_INPUT, "no data set");
        TB_TRY(run_set(model, set, error));
    }
}

/* ---------------------------------------------------------------- folders */

static int only(const struct dirent *entry) {
    return strncmp(entry->d_name, "test_", 5) == 0;
}

static bool chosen(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (fnmatch(argv[i], name, 0) == 0) return true;
    return argc == 1;
}

/* Returns how many tests there were. */
static int run_folder(const char *folder, int argc, char **argv) {
    struct dirent **entries;
    const int n = scandir(folder, &entries, only, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (chosen(name, argc, argv)) {
            tiba_error error = {0};
            const bool passed = run_test(path, &error) == TIBA_OK;
            pattern *listed = find_expected(name);
            if (listed) listed->matched++;
            if (listed && !listed->must_pass)
                CHECK_CASE(!passed, "%s passes, take it out of ops_expected.txt", name);
            else
                CHECK_CASE(passed, "%s: %s", name, error.message);
            if (argc > 1) printf("%s: %s\n", name, passed ? "passed" : error.message);
        }
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return n > 0 ? n : 0;
}

/* ---------------------------------------------------------------- operators of our own */

/* x W + b with W as [in, out] or, transposed, [out, in]. */
static void check_linear(bool transposed) {
    enum { ROWS = 6, IN = 5, OUT = 3 };
    tb_arena *arena = tb_arena_create(NULL);
    tb_exec exec = {0};
    tiba_error error = {0};
    uint64_t random = 7;
    tiba_tensor in[3], y;
    tb_tensor_create(&in[0], arena, TIBA_FLOAT32, 3, (int64_t[]){2, 3, IN}, NULL);
    tb_tensor_create(&in[1], arena, TIBA_FLOAT32, 2,
                     transposed ? (int64_t[]){OUT, IN} : (int64_t[]){IN, OUT}, NULL);
    tb_tensor_create(&in[2], arena, TIBA_FLOAT32, 1, (int64_t[]){OUT}, NULL);
    for (int i = 0; i < 3; i++)
        for (int64_t k = 0; k < tb_tensor_count(&in[i]); k++)
            tb_set_f64(&in[i], k, test_uniform(&random) - 0.5);
    const tb_attr attr = {.name = "trans_w", .kind = TB_ATTR_INT, .i = transposed};
    CHECK_CASE(test_node(&y, arena, &exec, "tiba", "Linear", 3, in, 1, &attr, &error) == TIBA_OK,
               "%s", error.message);
    CHECK(y.rank == 3 && y.dims[0] == 2 && y.dims[1] == 3 && y.dims[2] == OUT);
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUT; o++) {
            double want = tb_get_f64(&in[2], o);
            for (int i = 0; i < IN; i++)
                want += tb_get_f64(&in[0], r * IN + i) *
                        tb_get_f64(&in[1], transposed ? o * IN + i : i * OUT + o);
            CHECK_NEAR(tb_get_f64(&y, r * OUT + o), want, 1e-6);
        }
    covered[TB_OP_Linear] = true;
    tb_scratch_free(&exec);
    tb_arena_destroy(arena);
}

/* Rounds as QuantizeLinear and DequantizeLinear one after the other do, to the bit. */
static void check_fake_quantize(void) {
    static const struct {
        const char *name;
        int64_t axis, block, type; /* element type in numbers of onnx.TensorProto.DataType */
        int rank;                  /* of the scale */
        int64_t dims[3];
        tiba_dtype zero;
    } rows[] = {
        {"uint8", 1, 0, 0, 0, {0}, TIBA_UINT8},       {"int8", 1, 0, 0, 1, {1}, TIBA_INT8},
        {"channels", 1, 0, 0, 1, {3}, TIBA_INT8},     {"last axis", -1, 0, 0, 1, {4}, TIBA_UINT8},
        {"blocks", 1, 2, 0, 3, {2, 2, 4}, TIBA_INT8}, {"int4", 1, 0, 22, 0, {0}, TIBA_INT8},
        {"float8", 1, 0, 17, 1, {3}, TIBA_FLOAT32},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        tb_arena *arena = tb_arena_create(NULL);
        tb_exec exec = {0};
        tiba_error error = {0};
        uint64_t random = 11;
        tiba_tensor in[3], q, want, got;
        tb_tensor_create(&in[0], arena, TIBA_FLOAT32, 3, (int64_t[]){2, 3, 4}, NULL);
        tb_tensor_create(&in[1], arena, TIBA_FLOAT32, rows[r].rank, rows[r].dims, NULL);
        tb_tensor_create(&in[2], arena, rows[r].zero, rows[r].rank, rows[r].dims, NULL);
        for (int64_t k = 0; k < 24; k++) tb_set_f64(&in[0], k, 9 * test_uniform(&random) - 4.5);
        tb_set_f64(&in[0], 5, 1e30);
        tb_set_f64(&in[0], 6, NAN);
        for (int64_t k = 0; k < tb_tensor_count(&in[1]); k++) {
            tb_set_f64(&in[1], k, 0.02 + 0.1 * test_uniform(&random));
            tb_set_f64(&in[2], k, rows[r].type ? 0 : (double)(k % 7));
        }
        const tb_attr attrs[] = {TB_INT_ATTR("axis", rows[r].axis),
                                 TB_INT_ATTR("block_size", rows[r].block),
                                 TB_INT_ATTR("output_dtype", rows[r].type)};
        tiba_status status =
            test_node(&q, arena, &exec, "", "QuantizeLinear", 3, in, 3, attrs, &error);
        tiba_tensor second[] = {q, in[1], in[2]};
        if (status == TIBA_OK)
            status =
                test_node(&want, arena, &exec, "", "DequantizeLinear", 3, second, 3, attrs, &error);
        if (status == TIBA_OK)
            status = test_node(&got, arena, &exec, "tiba", "FakeQuantize", 3, in, 3, attrs, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", rows[r].name, error.message);
        for (int64_t k = 0; status == TIBA_OK && k < 24; k++)
            CHECK_CASE(memcmp((float *)got.data + k, (float *)want.data + k, 4) == 0, "%s [%d]",
                       rows[r].name, (int)k);
        tb_scratch_free(&exec);
        tb_arena_destroy(arena);
    }
    covered[TB_OP_FakeQuantize] = true;
}

/* Operators that neither collection has a test of. */
static void check_bits(void) {
    static const struct {
        const char *op;
        int n_in;
        int64_t want[4];
    } rows[] = {
        {"BitwiseAnd", 2, {0x10, 0, 0x0f, 0x80}},
        {"BitwiseOr", 2, {0x35, 0xff, 0x0f, 0x81}},
        {"BitwiseXor", 2, {0x25, 0xff, 0, 1}},
        {"BitwiseNot", 1, {0xea, 0xff, 0xf0, 0x7f}},
    };
    static const uint8_t a[] = {0x15, 0, 0x0f, 0x80}, b[] = {0x30, 0xff, 0x0f, 0x81};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        tb_arena *arena = tb_arena_create(NULL);
        tb_exec exec = {0};
        tiba_error error = {0};
        tiba_tensor in[2], y;
        for (int i = 0; i < 2; i++) {
            tb_tensor_create(&in[i], arena, TIBA_UINT8, 1, (int64_t[]){4}, NULL);
            memcpy(in[i].data, i ? b : a, 4);
        }
        const tiba_status status =
            test_node(&y, arena, &exec, "", rows[k].op, rows[k].n_in, in, 0, NULL, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", rows[k].op, error.message);
        for (int i = 0; status == TIBA_OK && i < 4; i++)
            CHECK_CASE(tb_get_i64(&y, i) == rows[k].want[i], "%s [%d]", rows[k].op, i);
        covered[tb_find_op("", rows[k].op)->kind] = true;
        tb_scratch_free(&exec);
        tb_arena_destroy(arena);
    }
}

int main(int argc, char **argv) {
    const char *shared = getenv("TIBA_SHARED");
    static const char *const kinds[] = {"node", "simple", "pytorch-operator", "pytorch-converted"};
    char path[1024];
    int old = 0, newer = 0;
    read_expected();
    check_linear(false);
    check_linear(true);
    check_fake_quantize();
    check_bits();
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", TEST_ONNX_DATA, kinds[i]);
        old += run_folder(path, argc, argv);
    }
    snprintf(path, sizeof path, "%s/onnx-node", shared ? shared : TEST_SHARED);
    newer = run_folder(path, argc, argv);
    if (argc == 1 && old > 0 && newer > 0) { /* with a part of the data nothing can be said */
        for (int i = 0; i < n_expected; i++)
            CHECK_CASE(expected[i].matched, "%s matches no test", expected[i].name);
        for (int i = 0; i < TB_OP_COUNT; i++)
            CHECK_CASE(covered[i], "no test of %s passes", tb_ops[i].name);
    }
    printf("%d + %d tests\n", old, newer);
    TEST_END();
}
