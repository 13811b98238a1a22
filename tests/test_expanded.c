/*
 * Operators that ONNX defines as functions of others: exporters and optimisers write the functions
 * out. Each `test_X_expanded` of the node tests must be seen as what `test_X` is: the operator is
 * raised again, the attention is found with the same P, and the same gradient and relevance come
 * back to the inputs. Values inside that are outputs as well stay what they are.
 */
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>

#include "base/file.h"
#include "check.h"
#include "explained.h"
#include "support.h"

/* The operators: names of their tests, what is raised (-1: nothing, relevance is compared only),
 * the inputs that are activations (0: all), and how many tests there are at least. */
typedef struct family {
    const char *tests;
    int raised, activations, least;
    bool attention;
} family;

static const family families[] = {
    {"test_layer_normalization_*", TB_OP_LayerNormalization, 1, 19, false},
    {"test_rms_normalization_*", TB_OP_RMSNormalization, 1, 19, false},
    {"test_group_normalization_*", -1, 1, 2, false},
    {"test_mvn*", -1, 0, 1, false},
    {"test_gelu_*", TB_OP_Gelu, 0, 4, false},
    {"test_hardswish*", TB_OP_HardSwish, 0, 1, false},
    {"test_mish*", TB_OP_Mish, 0, 1, false},
    {"test_swish*", TB_OP_Swish, 0, 1, false},
    {"test_softmax_*", TB_OP_Softmax, 0, 7, false},
    {"test_logsoftmax_*", TB_OP_LogSoftmax, 0, 7, false},
    {"test_attention_*", -1, 0, 60, true},
};
enum { FAMILIES = sizeof families / sizeof *families };
static int seen[FAMILIES];
static char roots[2][1000]; /* folders of node tests: newer ones, the distribution's */

/* Opens a node test with its data set as feeds; inputs from `activations` on become constants. */
static tiba_status start(explained *m, const char *folder, int activations, bool one_output,
                         tiba_error *error) {
    char path[1500];
    explained_start(m);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    TB_TRY(tb_onnx_open(&m->source, path, NULL, error));
    tb_graph *graph = m->source->graph;
    int kept = 0;
    for (int i = 0; i < graph->n_inputs && i < EXPLAINED_INPUTS; i++) {
        tb_value *input = graph->inputs[i];
        tiba_tensor t, wide;
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%d.pb", folder, i);
        TB_TRY(tb_onnx_read_tensor(&t, m->arena, path, error));
        if (tb_dtype_is_float(t.dtype)) {
            TB_TRY(tb_tensor_create(&wide, m->arena, TIBA_FLOAT32, t.rank, t.dims, error));
            tb_convert(&wide, &t);
            t = wide;
        }
        if (activations && i >= activations) {
            input->t = t;
            input->input = -1;
            continue;
        }
        m->feeds[m->n_feeds++] = (tb_feed){input->name, t};
        input->input = kept;
        graph->inputs[kept++] = input;
    }
    graph->n_inputs = kept;
    if (one_output) graph->n_outputs = 1;
    TB_TRY(explained_bind(m, error));
    return explained_run(m, error);
}

/* What came back to a value. */
typedef struct share {
    const tb_value *value;
    const float *gradient, *relevance;
} share;

typedef struct shares {
    explained *m;
    share of[EXPLAINED_INPUTS + 1];
    int n;
} shares;

static const float *copied(const shares *s, const tb_value *value, const float *from) {
    int64_t count = tb_tensor_count(&value->t);
    float *to = TB_NEW(s->m->arena, float, count + 1);
    if (from) memcpy(to, from, (size_t)count * sizeof *to);
    return to;
}

static tiba_status arrived(void *context, const tb_value *value, const float *gradient,
                           const float *relevance, tiba_error *error) {
    (void)error;
    shares *s = context;
    for (int i = 0; i < s->n; i++)
        if (s->of[i].value == value) {
            s->of[i].gradient = copied(s, value, gradient);
            s->of[i].relevance = copied(s, value, relevance);
        }
    return TIBA_OK;
}

/* What comes back from output 0 to the active inputs and to the last attention's P. */
static tiba_status send_back(shares *s, explained *m, tiba_error *error) {
    const tb_graph *graph = m->bound->graph;
    const tb_value *output = graph->outputs[0], *watch[EXPLAINED_INPUTS + 1];
    *s = (shares){.m = m};
    int64_t count = tb_tensor_count(&output->t);
    tb_seed *seeds = TB_NEW(m->arena, tb_seed, count);
    uint64_t random = 5;
    for (int64_t k = 0; k < count; k++)
        seeds[k] = (tb_seed){k, (float)(test_uniform(&random) - 0.5), (float)test_uniform(&random)};
    for (int i = 0; i < graph->n_inputs; i++)
        if (graph->inputs[i]->active) s->of[s->n++].value = graph->inputs[i];
    const tb_attentions *found = m->analysis->attentions;
    if (found->n_attentions > 0) s->of[s->n++].value = found->attentions[found->n_attentions - 1].p;
    for (int i = 0; i < s->n; i++) watch[i] = s->of[i].value;
    return explained_reverse(m, output, TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, (int)count,
                             seeds, s->n, watch, arrived, s, error);
}

static void compare(const char *name, const tb_value *value, const char *what, const float *got,
                    const float *want) {
    double size = 1e-6, off = 0;
    if (!got || !want) {
        CHECK_CASE(!got && !want, "%s: %s of %s is missing", name, what, value->name);
        return;
    }
    for (int64_t k = 0; k < tb_tensor_count(&value->t); k++) {
        if (isnan(got[k]) && isnan(want[k])) continue;
        size = fmax(size, fabs((double)want[k]));
        off = fmax(off, isnan(got[k] - want[k]) ? INFINITY : fabs((double)(got[k] - want[k])));
    }
    CHECK_CASE(off <= 2e-3 * size, "%s: %s of %s differs by %g of %g", name, what, value->name, off,
               size);
}

static void compare_all(const char *name, const shares *got, const shares *want) {
    CHECK_CASE(got->n == want->n, "%s: %d values instead of %d", name, got->n, want->n);
    for (int i = 0; i < got->n && i < want->n; i++) {
        const tb_value *value = got->of[i].value, *other = want->of[i].value;
        bool same = tb_tensor_count(&value->t) == tb_tensor_count(&other->t);
        CHECK_CASE(same, "%s: %s has another size than %s", name, value->name, other->name);
        if (!same) continue;
        compare(name, value, "the value", (const float *)got->m->program->values[value->id]->data,
                (const float *)want->m->program->values[other->id]->data);
        compare(name, value, "the gradient", got->of[i].gradient, want->of[i].gradient);
        compare(name, value, "the relevance", got->of[i].relevance, want->of[i].relevance);
    }
}

static bool holds(const tb_graph *graph, int kind) {
    for (const tb_node *node = graph->first; node; node = node->next)
        if (tb_is(node, (tb_op_kind)kind)) return true;
    return false;
}

/* Where inner results of the function are outputs as well, they are what the operator's are. */
static void check_outputs(const char *const *folders, const char *name, const family *f) {
    explained m[2];
    tiba_error error = {0};
    tiba_status status = TIBA_OK;
    for (int i = 0; i < 2; i++) {
        tiba_status started = start(&m[i], folders[i], f->activations, false, &error);
        if (started != TIBA_OK) status = started;
    }
    CHECK_CASE(status == TIBA_OK, "%s: %s", name, error.message);
    for (int i = 0; status == TIBA_OK && i < m[0].bound->graph->n_outputs; i++) {
        const tb_value *value = m[0].bound->graph->outputs[i],
                       *other = m[1].bound->graph->outputs[i];
        bool same = tb_tensor_count(&value->t) == tb_tensor_count(&other->t);
        CHECK_CASE(same, "%s: %s has another size", name, value->name);
        if (same)
            compare(name, value, "the output", m[0].program->values[value->id]->data,
                    m[1].program->values[other->id]->data);
    }
    for (int i = 0; i < 2; i++) explained_end(&m[i]);
}

/* The function written out, then the operator. */
static void check_models(const char *const *folders, const char *name, const family *f) {
    explained m[2];
    shares s[2];
    tiba_error error = {0};
    tiba_status status[2];
    for (int i = 0; i < 2; i++) {
        status[i] = start(&m[i], folders[i], f->activations, true, &error);
        if (status[i] == TIBA_OK) status[i] = send_back(&s[i], &m[i], &error);
        CHECK_CASE(status[i] == TIBA_OK, "%s: %s", folders[i], error.message);
    }
    if (status[0] == TIBA_OK && status[1] == TIBA_OK) {
        int n = m[0].analysis->attentions->n_attentions;
        CHECK_CASE(!f->attention || n == 1, "%s: %d attentions", name, n);
        CHECK_CASE(f->raised < 0 || holds(m[0].bound->graph, f->raised), "%s is not raised", name);
        compare_all(name, &s[0], &s[1]);
    }
    for (int i = 0; i < 2; i++) explained_end(&m[i]);
}

static void check_pair(const char *root, const char *name, int index) {
    tb_arena *arena = tb_arena_create(NULL);
    const family *f = &families[index];
    int stem = (int)(strlen(name) - strlen("_expanded"));
    const char *folders[2] = {tb_arena_format(arena, "%s/%s", root, name), NULL};
    for (int i = 0; i < 2; i++) {
        const char *plain = tb_arena_format(arena, "%s/%.*s", roots[i], stem, name);
        if (tb_is_folder(plain)) folders[1] = plain;
    }
    if (folders[1]) {
        seen[index]++;
        check_models(folders, name, f);
        if (f->raised >= 0) check_outputs(folders, name, f);
    }
    tb_arena_destroy(arena);
}

static int only(const struct dirent *entry) {
    size_t n = strlen(entry->d_name), end = strlen("_expanded");
    return n > end && strcmp(entry->d_name + n - end, "_expanded") == 0;
}

static void check_folder(const char *root, int argc, char **argv) {
    struct dirent **entries;
    const int n = scandir(root, &entries, only, alphasort);
    for (int i = 0; i < n; i++) {
        bool chosen = argc == 1;
        for (int k = 1; k < argc; k++)
            chosen = chosen || fnmatch(argv[k], entries[i]->d_name, 0) == 0;
        for (int k = 0; chosen && k < FAMILIES; k++)
            if (fnmatch(families[k].tests, entries[i]->d_name, 0) == 0) {
                check_pair(root, entries[i]->d_name, k);
                break;
            }
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

int main(int argc, char **argv) {
    const char *shared = getenv("TIBA_SHARED");
    snprintf(roots[0], sizeof roots[0], "%s/onnx-node", shared ? shared : TEST_SHARED);
    snprintf(roots[1], sizeof roots[1], "%s/node", TEST_ONNX_DATA);
    if (!tb_is_folder(roots[0]) || !tb_is_folder(roots[1])) { /* with a part nothing can be said */
        printf("no node tests\n");
        return 0;
    }
    for (int i = 0; i < 2; i++) check_folder(roots[i], argc, argv);
    for (int i = 0; argc == 1 && i < FAMILIES; i++)
        CHECK_CASE(seen[i] >= families[i].least, "%s: %d tests", families[i].tests, seen[i]);
    TEST_END();
}
