/*
 * What lowering leaves can be explained: on every case of data/lower (see test_lower.c) the reverse
 * pass gives the slope of the outputs along random directions, as central differences measure it,
 * and a lowered attention is found as one. With arguments: the files to try.
 */
#include <dirent.h>
#include <stdlib.h>

#include "check.h"
#include "explained.h"
#include "support.h"

enum { MOST_SEEDS = 24, DIRECTIONS = 3 };

/* By graph input: a copy that changes, where it goes, what it was; NULL where it is not active. */
typedef struct slopes {
    explained *m;
    const float *given[EXPLAINED_INPUTS];
    float *moved[EXPLAINED_INPUTS], *direction[EXPLAINED_INPUTS];
    tb_seed seeds[MOST_SEEDS];
    int n_seeds;
    double slope; /* of the weighed sum of the seeds' elements */
} slopes;

/* Rounding has no slope that differences could measure, and order statistics jump. */
static bool is_smooth(const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next)
        if (node->op->class == TB_CLASS_QUANT || tb_is(node, TB_OP_TopK) ||
            tb_is(node, TB_OP_GlobalMaxPool) || tb_is(node, TB_OP_Round) ||
            tb_is(node, TB_OP_Hardmax))
            return false;
    return true;
}

static tiba_status arrived(void *context, const tb_value *value, const float *gradient,
                           const float *relevance, tiba_error *error) {
    (void)relevance;
    (void)error;
    slopes *s = context;
    for (int64_t k = 0; gradient && k < tb_tensor_count(&value->t); k++)
        s->slope += (double)gradient[k] * (double)s->direction[value->input][k];
    return TIBA_OK;
}

/* The weighed sum of the output's elements with the inputs moved by `step`. */
static double measured(slopes *s, const tb_value *output, double step) {
    tiba_error error = {0};
    const tb_graph *graph = s->m->bound->graph;
    for (int i = 0; i < graph->n_inputs; i++)
        for (int64_t k = 0; s->moved[i] && k < tb_tensor_count(&graph->inputs[i]->t); k++)
            s->moved[i][k] = s->given[i][k] + (float)step * s->direction[i][k];
    CHECK_CASE(explained_run(s->m, &error) == TIBA_OK, "%s", error.message);
    double sum = 0;
    for (int k = 0; k < s->n_seeds; k++)
        sum += (double)s->seeds[k].gradient *
               tb_get_f64(s->m->program->values[output->id], s->seeds[k].element);
    return sum;
}

/* Copies of the active inputs, which the passes read from now on. */
static int start(slopes *s, const tb_value **watch) {
    const tb_graph *graph = s->m->bound->graph;
    int n = 0;
    for (int i = 0; i < graph->n_inputs; i++) {
        const tb_value *input = graph->inputs[i];
        s->given[i] = s->m->inputs[i];
        if (!input->active || input->t.dtype != TIBA_FLOAT32 || !s->given[i]) continue;
        watch[n++] = input;
        s->moved[i] = TB_NEW(s->m->arena, float, tb_tensor_count(&input->t) + 1);
        s->direction[i] = TB_NEW(s->m->arena, float, tb_tensor_count(&input->t) + 1);
        s->m->inputs[i] = s->moved[i];
    }
    return n;
}

static void check_slope(slopes *s, const char *path, const tb_value *output, int n_watch,
                        const tb_value *const *watch, uint64_t *random) {
    tiba_error error = {0};
    int64_t count = tb_tensor_count(&output->t);
    s->n_seeds = count < MOST_SEEDS ? (int)count : MOST_SEEDS;
    for (int k = 0; k < s->n_seeds; k++)
        s->seeds[k] = (tb_seed){k * count / s->n_seeds, (float)(0.5 + test_uniform(random)), 0};
    for (int trial = 0; trial < DIRECTIONS; trial++) {
        for (int i = 0; i < n_watch; i++)
            for (int64_t k = 0; k < tb_tensor_count(&watch[i]->t); k++)
                s->direction[watch[i]->input][k] = (float)(2 * test_uniform(random) - 1);
        double best = INFINITY, closest = 0, at = measured(s, output, 0);
        s->slope = 0;
        tiba_status status = explained_reverse(s->m, output, TB_REVERSE_GRADIENT, s->n_seeds,
                                               s->seeds, n_watch, watch, arrived, s, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", path, error.message);
        /* a kink may lie within a step: one step of several must agree */
        for (double step = 3e-2; step > 1e-3; step /= 3) {
            double slope = (measured(s, output, step) - measured(s, output, -step)) / (2 * step);
            if (!(fabs(slope - s->slope) < best)) continue;
            best = fabs(slope - s->slope);
            closest = slope;
        }
        CHECK_CASE(best <= 1e-2 * fmax(1, fmax(fabs(s->slope), 1e-2 * fabs(at))),
                   "%s: %s changes by %g, the gradient says %g", path, output->name, closest,
                   s->slope);
    }
}

/* Is it an attention in one node? Biases and rotations are named after it, too. */
static bool is_attention(const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        const char *end = strstr(node->op_type, "Attention");
        if (end && strcmp(end, "Attention") == 0) return true;
    }
    return false;
}

/* A softmax over a single key says nothing. */
static bool has_scores(const tb_graph *graph) {
    for (const tb_node *node = graph->first; node; node = node->next) {
        if (!tb_is(node, TB_OP_Softmax)) continue;
        const tiba_tensor *t = &node->out[0]->t;
        if (t->dims[t->rank - 1] > 1) return true;
    }
    return false;
}

static void check_model(explained *m, const char *path) {
    uint64_t random = 3;
    const tb_graph *graph = m->bound->graph;
    if (is_attention(m->source->graph) && has_scores(graph))
        CHECK_CASE(m->analysis->attentions->n_attentions > 0, "%s: no attention is found", path);
    if (!is_smooth(graph)) return;
    slopes s = {.m = m};
    const tb_value *watch[EXPLAINED_INPUTS];
    int n_watch = start(&s, watch);
    for (int i = 0; i < graph->n_outputs; i++) {
        const tb_value *output = graph->outputs[i];
        if (output->active && output->t.dtype == TIBA_FLOAT32 && tb_tensor_count(&output->t) > 0)
            check_slope(&s, path, output, n_watch, watch, &random);
    }
}

static void check_file(const char *path) {
    explained m;
    tiba_error error = {0};
    explained_start(&m);
    tiba_status status = tb_onnx_open(&m.source, path, NULL, &error);
    for (int i = 0; status == TIBA_OK && i < m.source->graph->n_outputs; i++) {
        const tb_value *output = m.source->graph->outputs[i];
        if (strncmp(output->name, "feed.", 5) == 0 && m.n_feeds < EXPLAINED_INPUTS)
            m.feeds[m.n_feeds++] = (tb_feed){output->name + 5, output->t};
    }
    if (status == TIBA_OK) status = explained_bind(&m, &error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", path, error.message);
    if (status == TIBA_OK) check_model(&m, path);
    explained_end(&m);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) check_file(argv[i]);
    DIR *files = argc == 1 ? opendir(TEST_DATA "/lower") : NULL;
    for (struct dirent *entry; files && (entry = readdir(files));) {
        char path[1024];
        snprintf(path, sizeof path, TEST_DATA "/lower/%s", entry->d_name);
        if (strstr(entry->d_name, ".onnx")) check_file(path);
    }
    if (files) closedir(files);
    TEST_END();
}
