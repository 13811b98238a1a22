/*
 * What lowering leaves can be explained: on every case of data/lower (see test_lower.c) the reverse
 * pass gives the slope of the outputs along random directions, as central differences measure it,
 * and a lowered attention is found as one. With arguments: the files to try.
 */
#include <dirent.h>
#include <stdlib.h>

#include "check.h"
#include "graph/bind.h"
#include "graph/raise.h"
#include "onnx/onnx.h"
#include "rules/explain.h"
#include "rules/reverse.h"
#include "support.h"

enum { MOST_FEEDS = 16, MOST_SEEDS = 24, DIRECTIONS = 3 };

typedef struct model {
    tb_arena *arena;
    tb_exec exec;
    tb_source *source;
    tb_bound *bound;
    tb_analysis *analysis;
    tb_program *program;
    tb_feed feeds[MOST_FEEDS];
    int n_feeds;
    /* By graph input: what it is, a copy that changes, a direction, what came back. */
    const float *given[MOST_FEEDS];
    float *moved[MOST_FEEDS], *direction[MOST_FEEDS];
    double slope;
    tb_seed seeds[MOST_SEEDS];
    int n_seeds;
} model;

static bool opened(model *m, const char *path) {
    tiba_error error = {0};
    *m = (model){.arena = tb_arena_create(NULL)};
    tiba_status status = tb_onnx_open(&m->source, path, NULL, &error);
    for (int i = 0; status == TIBA_OK && i < m->source->graph->n_outputs; i++) {
        const tb_value *output = m->source->graph->outputs[i];
        if (strncmp(output->name, "feed.", 5) == 0 && m->n_feeds < MOST_FEEDS)
            m->feeds[m->n_feeds++] = (tb_feed){output->name + 5, output->t};
    }
    if (status == TIBA_OK)
        status = tb_bind(&m->bound, m->source, m->n_feeds, m->feeds, &m->exec, &error);
    if (status == TIBA_OK) status = tb_raise(m->bound->graph, &m->exec, NULL, -1, &error);
    if (status == TIBA_OK) status = tb_analysis_create(&m->analysis, m->bound->graph, NULL, &error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", path, error.message);
    return status == TIBA_OK;
}

static void closed(model *m) {
    tb_program_destroy(m->program);
    tb_analysis_destroy(m->analysis);
    tb_bound_destroy(m->bound);
    if (m->source) tb_onnx_close(m->source);
    tb_scratch_free(&m->exec);
    tb_arena_destroy(m->arena);
}

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
    model *m = context;
    for (int64_t k = 0; gradient && k < tb_tensor_count(&value->t); k++)
        m->slope += (double)gradient[k] * (double)m->direction[value->input][k];
    return TIBA_OK;
}

/* The weighed sum of the output's elements with the inputs moved by `step`. */
static double measured(model *m, const tb_value *output, double step) {
    tiba_error error = {0};
    const void *inputs[MOST_FEEDS] = {0};
    for (int i = 0; i < m->bound->graph->n_inputs; i++) {
        const tb_value *input = m->bound->graph->inputs[i];
        inputs[i] = m->given[i];
        if (!m->moved[i]) continue;
        for (int64_t k = 0; k < tb_tensor_count(&input->t); k++)
            m->moved[i][k] = m->given[i][k] + (float)step * m->direction[i][k];
        inputs[i] = m->moved[i];
    }
    CHECK_CASE(tb_program_run(m->program, inputs, &m->exec, &error) == TIBA_OK, "%s",
               error.message);
    double sum = 0;
    for (int k = 0; k < m->n_seeds; k++)
        sum += (double)m->seeds[k].gradient *
               tb_get_f64(m->program->values[output->id], m->seeds[k].element);
    return sum;
}

static void check_slope(model *m, const char *path, const tb_value *output, uint64_t *random) {
    tiba_error error = {0};
    const tb_graph *graph = m->bound->graph;
    const tb_value *watch[MOST_FEEDS];
    int n_watch = 0;
    for (int i = 0; i < graph->n_inputs; i++) {
        const tb_value *input = graph->inputs[i];
        m->given[i] = NULL;
        m->moved[i] = NULL;
        for (int f = 0; f < m->n_feeds; f++)
            if (strcmp(m->feeds[f].name, input->name) == 0) m->given[i] = m->feeds[f].tensor.data;
        if (!input->active || input->t.dtype != TIBA_FLOAT32) continue;
        watch[n_watch++] = input;
        m->moved[i] = TB_NEW(m->arena, float, tb_tensor_count(&input->t) + 1);
        m->direction[i] = TB_NEW(m->arena, float, tb_tensor_count(&input->t) + 1);
    }
    int64_t count = tb_tensor_count(&output->t);
    m->n_seeds = count < MOST_SEEDS ? (int)count : MOST_SEEDS;
    for (int k = 0; k < m->n_seeds; k++)
        m->seeds[k] = (tb_seed){k * count / m->n_seeds, (float)(0.5 + test_uniform(random)), 0};
    unsigned char *keep = TB_NEW(m->arena, unsigned char, graph->n_values + 1);
    memset(keep, 1, (size_t)graph->n_values);
    tb_reverse *reverse = NULL;
    tiba_status status =
        tb_reverse_create(&reverse, graph, m->analysis->regions, output, n_watch, watch,
                          TB_REVERSE_GRADIENT, TB_RULESET_TIBA, NULL, NULL, &error);
    if (status == TIBA_OK && !m->program)
        status = tb_program_create(&m->program, graph, keep, 0, NULL, &error);
    CHECK_CASE(status == TIBA_OK, "%s: %s", path, error.message);
    for (int trial = 0; status == TIBA_OK && trial < DIRECTIONS; trial++) {
        for (int i = 0; i < graph->n_inputs; i++)
            for (int64_t k = 0; m->moved[i] && k < tb_tensor_count(&graph->inputs[i]->t); k++)
                m->direction[i][k] = (float)(2 * test_uniform(random) - 1);
        /* a kink may lie within a step: one step of several must agree */
        double best = INFINITY, closest = 0, at = measured(m, output, 0);
        m->slope = 0;
        tb_reverse_start start = {m->n_seeds, m->seeds, m};
        status = tb_reverse_run(reverse, m->program, 1, &start, arrived, &m->exec, &error);
        CHECK_CASE(status == TIBA_OK, "%s: %s", path, error.message);
        for (double step = 3e-2; step > 1e-3; step /= 3) {
            double slope = (measured(m, output, step) - measured(m, output, -step)) / (2 * step);
            if (!(fabs(slope - m->slope) < best)) continue;
            best = fabs(slope - m->slope);
            closest = slope;
        }
        CHECK_CASE(best <= 1e-2 * fmax(1, fmax(fabs(m->slope), 1e-2 * fabs(at))),
                   "%s: %s changes by %g, the gradient says %g", path, output->name, closest,
                   m->slope);
    }
    tb_reverse_destroy(reverse);
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

static void check_file(const char *path) {
    model m;
    if (opened(&m, path)) {
        uint64_t random = 3;
        const tb_graph *graph = m.bound->graph;
        if (is_attention(m.source->graph) && has_scores(graph))
            CHECK_CASE(m.analysis->attentions->n_attentions > 0, "%s: no attention is found", path);
        for (int i = 0; is_smooth(graph) && i < graph->n_outputs; i++)
            if (graph->outputs[i]->active && graph->outputs[i]->t.dtype == TIBA_FLOAT32 &&
                graph->n_inputs <= MOST_FEEDS && tb_tensor_count(&graph->outputs[i]->t) > 0)
                check_slope(&m, path, graph->outputs[i], &random);
    }
    closed(&m);
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
