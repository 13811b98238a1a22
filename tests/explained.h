/*
 * explained.h: a file of its own inputs taken through binding, raising, analysis, the forward pass
 * and the reverse pass, for tests that compare what comes back.
 *
 *     explained m;
 *     explained_start(&m);
 *     ... m.source, m.feeds ...
 *     status = explained_bind(&m, &error);
 *     status = explained_run(&m, &error);
 *     status = explained_reverse(&m, target, what, n_seeds, seeds, n, watch, fn, context, &error);
 *     explained_end(&m);
 */
#ifndef TB_TESTS_EXPLAINED_H
#define TB_TESTS_EXPLAINED_H

#include <string.h>

#include "graph/bind.h"
#include "graph/raise.h"
#include "onnx/onnx.h"
#include "rules/explain.h"

enum { EXPLAINED_INPUTS = 16 };

typedef struct explained {
    tb_arena *arena;
    tb_exec exec;
    tb_source *source;
    tb_bound *bound;
    tb_analysis *analysis;
    tb_program *program;
    tb_feed feeds[EXPLAINED_INPUTS];
    int n_feeds;
    const float *inputs[EXPLAINED_INPUTS]; /**< by graph input; NULL where it is no float */
} explained;

static inline void explained_start(explained *m) {
    *m = (explained){.arena = tb_arena_create(NULL)};
}

static inline void explained_end(explained *m) {
    tb_program_destroy(m->program);
    tb_analysis_destroy(m->analysis);
    tb_bound_destroy(m->bound);
    if (m->source) tb_onnx_close(m->source);
    tb_scratch_free(&m->exec);
    tb_arena_destroy(m->arena);
}

/** From the source and its feeds to the analysis. */
static inline tiba_status explained_bind(explained *m, tiba_error *error) {
    TB_TRY(tb_bind(&m->bound, m->source, m->n_feeds, m->feeds, &m->exec, error));
    tb_graph *graph = m->bound->graph;
    TB_TRY(tb_raise(graph, &m->exec, NULL, -1, error));
    if (graph->n_inputs > EXPLAINED_INPUTS)
        return tb_fail(error, TIBA_ERROR_INPUT, "%d inputs", graph->n_inputs);
    for (int i = 0; i < graph->n_inputs; i++)
        for (int f = 0; f < m->n_feeds; f++)
            if (strcmp(m->feeds[f].name, graph->inputs[i]->name) == 0 &&
                m->feeds[f].tensor.dtype == TIBA_FLOAT32)
                m->inputs[i] = m->feeds[f].tensor.data;
    return tb_analysis_create(&m->analysis, graph, NULL, error);
}

/** The forward pass; all values are kept. */
static inline tiba_status explained_run(explained *m, tiba_error *error) {
    const tb_graph *graph = m->bound->graph;
    const void *inputs[EXPLAINED_INPUTS];
    for (int i = 0; i < EXPLAINED_INPUTS; i++) inputs[i] = m->inputs[i];
    if (!m->program) {
        unsigned char *keep = TB_NEW(m->arena, unsigned char, graph->n_values + 1);
        if (!keep) return tb_out_of_memory(error);
        memset(keep, 1, (size_t)graph->n_values);
        TB_TRY(tb_program_create(&m->program, graph, keep, 0, NULL, error));
    }
    return tb_program_run(m->program, inputs, &m->exec, error);
}

/** One reverse pass under the ruleset `tiba`. */
static inline tiba_status explained_reverse(explained *m, const tb_value *target, int what,
                                            int n_seeds, const tb_seed *seeds, int n_watch,
                                            const tb_value *const *watch, tb_reverse_watch_fn *fn,
                                            void *context, tiba_error *error) {
    tb_reverse *reverse = NULL;
    tb_reverse_start start = {n_seeds, seeds, context};
    tiba_status status =
        tb_reverse_create(&reverse, m->bound->graph, m->analysis->regions, target, n_watch, watch,
                          what, TB_RULESET_TIBA, NULL, NULL, error);
    if (status == TIBA_OK)
        status = tb_reverse_run(reverse, m->program, 1, &start, fn, &m->exec, error);
    tb_reverse_destroy(reverse);
    return status;
}

#endif
