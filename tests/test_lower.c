/*
 * Older operator forms, lowered operators and control flow: every file of data/lower is a small
 * model with its inputs (graph outputs `feed.NAME`) and onnxruntime's results (`want.NAME`),
 * written by make_lower_cases.py. Bound and run by interpret.h it must give those. With arguments:
 * the files to try.
 */
#include <dirent.h>
#include <stdlib.h>

#include "check.h"
#include "graph/lower.h"
#include "interpret.h"
#include "onnx/onnx.h"
#include "support.h"

enum { MOST_FEEDS = 16, MOST_ROWS = 256 };

/* Rows of lower.def that some case went through. */
static bool tried[MOST_ROWS];

static void note_rows(const tb_graph *graph) {
    int count;
    const tb_lower_row *rows = tb_lower_rows(&count);
    for (const tb_node *node = graph->first; node; node = node->next)
        for (int i = 0; i < count && i < MOST_ROWS; i++)
            if (tb_find_lower(node->domain, node->op_type) == &rows[i]) tried[i] = true;
}

/* A step of the last quantisation, where results may differ by rounding. */
static double tolerance(const char *path) {
    if (strstr(path, "/qlinearsoftmax.") || strstr(path, "/qlinearsigmoid.")) return 1.01 / 256;
    if (strstr(path, "/qlinear") || strstr(path, "/qgemm.")) return 0.051;
    return 2e-5;
}

static void compare(const char *path, const char *name, const tiba_tensor *got,
                    const tiba_tensor *want) {
    char shapes[2][96];
    bool fits = tb_same_shape(got, want);
    CHECK_CASE(fits, "%s: %s has shape %s, expected %s", path, name,
               tb_shape_text(shapes[0], sizeof shapes[0], got->rank, got->dims),
               tb_shape_text(shapes[1], sizeof shapes[1], want->rank, want->dims));
    CHECK_CASE(tb_dtype_is_float(want->dtype) || got->dtype == want->dtype, "%s: %s is %s", path,
               name, tb_dtype_name(got->dtype));
    double worst = 0;
    for (int64_t i = 0; fits && i < tb_tensor_count(want); i++) {
        double g = tb_get_f64(got, i), w = tb_get_f64(want, i);
        double off = g == w ? 0 : fabs(g - w) / fmax(1, fabs(w));
        if (!(off <= worst)) worst = off;
    }
    CHECK_CASE(worst <= tolerance(path), "%s: %s is off by %g", path, name, worst);
}

static void check_outputs(const char *path, const tb_graph *graph) {
    int compared = 0;
    for (int i = 0; i < graph->n_outputs; i++)
        for (int k = 0; k < graph->n_outputs; k++)
            if (strncmp(graph->outputs[k]->name, "want.", 5) == 0 &&
                strcmp(graph->outputs[k]->name + 5, graph->outputs[i]->name) == 0) {
                compare(path, graph->outputs[i]->name, &graph->outputs[i]->t,
                        &graph->outputs[k]->t);
                compared++;
            }
    CHECK_CASE(compared > 0, "%s: nothing to compare", path);
}

static void check_file(const char *path) {
    tiba_error error = {0};
    tb_exec exec = {0};
    tb_arena *arena = tb_arena_create(NULL);
    tb_source *source = NULL;
    tb_bound *bound = NULL;
    tb_feed feeds[MOST_FEEDS];
    int n_feeds = 0;
    tiba_status status = tb_onnx_open(&source, path, NULL, &error);
    for (int i = 0; status == TIBA_OK && i < source->graph->n_outputs; i++) {
        const tb_value *output = source->graph->outputs[i];
        if (strncmp(output->name, "feed.", 5) == 0 && n_feeds < MOST_FEEDS)
            feeds[n_feeds++] = (tb_feed){output->name + 5, output->t};
    }
    if (status == TIBA_OK) note_rows(source->graph);
    if (status == TIBA_OK) status = tb_bind(&bound, source, n_feeds, feeds, &exec, &error);
    if (status == TIBA_OK)
        status = interpret_run(bound->graph, arena, &exec, n_feeds, feeds, &error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", path, error.message);
    if (status == TIBA_OK) check_outputs(path, bound->graph);
    tb_bound_destroy(bound);
    tb_scratch_free(&exec);
    if (source) tb_onnx_close(source);
    tb_arena_destroy(arena);
}

/* Inputs of any shape: binding may refuse them, and must not do more (this runs under sanitizers).
 */
static void check_odd_shapes(const char *path, uint64_t *random) {
    tiba_error error = {0};
    tb_exec exec = {0};
    tb_source *source = NULL;
    if (tb_onnx_open(&source, path, NULL, &error) != TIBA_OK) return;
    tb_feed feeds[MOST_FEEDS];
    static int64_t zeros[4096];
    int n_feeds = source->graph->n_inputs < MOST_FEEDS ? source->graph->n_inputs : MOST_FEEDS;
    for (int trial = 0; trial < 40; trial++) {
        for (int i = 0; i < n_feeds; i++) {
            tb_value *input = source->graph->inputs[i];
            int rank = (int)(test_uniform(random) * 6);
            tiba_tensor t = {.dtype = input->t.dtype, .rank = rank, .data = zeros};
            for (int d = 0; d < rank; d++) t.dims[d] = (int64_t)(test_uniform(random) * 5);
            feeds[i] = (tb_feed){input->name, t};
            input->t.rank = -1;
        }
        tb_bound *bound = NULL;
        tiba_status status = tb_bind(&bound, source, n_feeds, feeds, &exec, &error);
        CHECK_CASE((status == TIBA_OK) == (bound != NULL), "%s", path);
        CHECK_CASE(status == TIBA_OK || error.message[0], "%s: no message", path);
        tb_bound_destroy(bound);
    }
    tb_scratch_free(&exec);
    tb_onnx_close(source);
}

/* One dimension, or one more or fewer of them, than what the case has. */
static void check_near_shapes(const char *path, uint64_t *random) {
    tiba_error error = {0};
    tb_exec exec = {0};
    tb_source *source = NULL;
    if (tb_onnx_open(&source, path, NULL, &error) != TIBA_OK) return;
    static int64_t ones[4096];
    for (int i = 0; i < 4096; i++) ones[i] = 1;
    int n_feeds = source->graph->n_inputs < MOST_FEEDS ? source->graph->n_inputs : MOST_FEEDS;
    tb_feed given[MOST_FEEDS], feeds[MOST_FEEDS];
    for (int i = 0; i < n_feeds; i++) {
        given[i] = (tb_feed){source->graph->inputs[i]->name, source->graph->inputs[i]->t};
        given[i].tensor.data = ones;
        source->graph->inputs[i]->t.rank = -1;
    }
    for (int trial = 0; trial < 40; trial++) {
        memcpy(feeds, given, sizeof feeds);
        tiba_tensor *t = &feeds[(int)(test_uniform(random) * n_feeds)].tensor;
        int at = (int)(test_uniform(random) * (t->rank + 2));
        if (at < t->rank)
            t->dims[at] = (int64_t)(test_uniform(random) * 9);
        else if (at == t->rank && t->rank > 0)
            t->rank--;
        else
            t->dims[t->rank++] = 1;
        tb_bound *bound = NULL;
        tiba_status status = tb_bind(&bound, source, n_feeds, feeds, &exec, &error);
        CHECK_CASE((status == TIBA_OK) == (bound != NULL), "%s", path);
        tb_bound_destroy(bound);
    }
    tb_scratch_free(&exec);
    tb_onnx_close(source);
}

static void check_folder(const char *folder) {
    DIR *files = opendir(folder);
    CHECK_CASE(files != NULL, "%s cannot be read", folder);
    if (!files) return;
    for (struct dirent *entry; (entry = readdir(files));) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!strstr(entry->d_name, ".onnx")) continue;
        uint64_t random = 1; /* the same for every file: folders are read in any order */
        check_file(path);
        check_odd_shapes(path, &random);
        check_near_shapes(path, &random);
    }
    closedir(files);
}

/* A lowering without a case is untested: the table and the cases must grow together. */
static void check_rows(void) {
    int count;
    const tb_lower_row *rows = tb_lower_rows(&count);
    CHECK(count <= MOST_ROWS);
    for (int i = 0; i < count && i < MOST_ROWS; i++) {
        bool same = tried[i];
        for (int k = 0; k < count && k < MOST_ROWS; k++)
            same = same || (tried[k] && rows[k].rewrite == rows[i].rewrite);
        CHECK_CASE(same, "%s.%s has no case", rows[i].domain, rows[i].name);
        CHECK_CASE(tb_find_lower(rows[i].domain, rows[i].name) == &rows[i], "%s.%s stands twice",
                   rows[i].domain, rows[i].name);
        CHECK_CASE(!tb_find_op(rows[i].domain, rows[i].name), "%s.%s is in op.def too",
                   rows[i].domain, rows[i].name);
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) check_file(argv[i]);
    if (argc == 1) {
        check_folder(TEST_DATA "/lower");
        check_rows();
    }
    TEST_END();
}
