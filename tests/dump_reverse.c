/*
 * dump_reverse.c: everything that one reverse pass brings to every value, for tests that compare it
 * with other programs' numbers.
 *
 *     dump_reverse MODEL FOLDER ELEMENT NAME=FILE.npy...
 *
 * Binds and raises the model, starts gradient and relevance at ELEMENT (flat index) of the first
 * output and writes value.ID.npy, gradient.ID.npy and relevance.ID.npy for each active value that
 * something arrives at. Prints a line "ID NAME" for each, and "attention K ID" for the P of
 * attention K.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/npy.h"
#include "graph/bind.h"
#include "graph/raise.h"
#include "onnx/onnx.h"
#include "rules/explain.h"

enum { MOST_FEEDS = 16 };

typedef struct dump {
    tb_source *source;
    tb_bound *bound;
    tb_analysis *analysis;
    tb_program *program;
    tb_reverse *reverse;
    tb_arena *arena;
    tb_exec exec;
    const char *folder;
    int n_feeds;
    tb_feed feeds[MOST_FEEDS];
} dump;

static tiba_status write_array(const dump *d, const char *what, const tb_value *value,
                               const void *data, tiba_error *error) {
    if (!data) return TIBA_OK;
    char *path = tb_arena_format(d->arena, "%s/%s.%d.npy", d->folder, what, value->id);
    if (!path) return tb_out_of_memory(error);
    tiba_tensor t = value->t;
    t.data = (void *)(uintptr_t)data;
    return tb_npy_write(path, &t, error);
}

static tiba_status arrived(void *context, const tb_value *value, const float *gradient,
                           const float *relevance, tiba_error *error) {
    const dump *d = context;
    printf("%d %s\n", value->id, value->name);
    TB_TRY(write_array(d, "value", value, d->program->values[value->id]->data, error));
    TB_TRY(write_array(d, "gradient", value, gradient, error));
    return write_array(d, "relevance", value, relevance, error);
}

static tiba_status open_all(dump *d, const char *model, int n, char **inputs, tiba_error *error) {
    TB_TRY(tb_onnx_open(&d->source, model, NULL, error));
    for (int i = 0; i < n && i < MOST_FEEDS; i++) {
        char *equals = strchr(inputs[i], '=');
        if (!equals) return tb_fail(error, TIBA_ERROR_USAGE, "%s: no NAME=FILE", inputs[i]);
        *equals = '\0';
        d->feeds[i].name = inputs[i];
        TB_TRY(tb_npy_read(&d->feeds[i].tensor, d->arena, equals + 1, error));
        d->n_feeds++;
    }
    TB_TRY(tb_bind(&d->bound, d->source, d->n_feeds, d->feeds, &d->exec, error));
    TB_TRY(tb_raise(d->bound->graph, &d->exec, NULL, -1, error));
    return tb_analysis_create(&d->analysis, d->bound->graph, NULL, error);
}

static tiba_status run(dump *d, int64_t element, tiba_error *error) {
    const tb_graph *graph = d->bound->graph;
    const tb_value **watch = TB_NEW(d->arena, const tb_value *, graph->n_values);
    unsigned char *keep = TB_NEW(d->arena, unsigned char, graph->n_values + 1);
    const void **inputs = TB_NEW(d->arena, const void *, graph->n_inputs + 1);
    if (!watch || !keep || !inputs) return tb_out_of_memory(error);
    int n = 0;
    for (int i = 0; i < graph->n_values; i++)
        if (graph->values[i] && graph->values[i]->active) watch[n++] = graph->values[i];
    memset(keep, 1, (size_t)graph->n_values);
    for (int i = 0; i < graph->n_inputs; i++)
        for (int k = 0; k < d->n_feeds; k++)
            if (strcmp(d->feeds[k].name, graph->inputs[i]->name) == 0)
                inputs[i] = d->feeds[k].tensor.data;
    const tb_value *target = tb_logit_value(graph->outputs[0]);
    TB_TRY(tb_reverse_create(&d->reverse, graph, d->analysis->regions, target, n, watch,
                             TB_REVERSE_GRADIENT | TB_REVERSE_RELEVANCE, TB_RULESET_TIBA, NULL,
                             NULL, error));
    TB_TRY(tb_program_create(&d->program, graph, keep, 0, NULL, error));
    TB_TRY(tb_program_run(d->program, inputs, &d->exec, error));
    const tb_attentions *found = d->analysis->attentions;
    for (int i = 0; i < found->n_attentions; i++)
        printf("attention %d %d\n", i, found->attentions[i].p->id);
    tb_reverse_start start = {1, &(tb_seed){element, 1, 1}, d};
    return tb_reverse_run(d->reverse, d->program, 1, &start, arrived, &d->exec, error);
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "dump_reverse MODEL FOLDER ELEMENT NAME=FILE.npy...\n");
        return TIBA_ERROR_USAGE;
    }
    tiba_error error = {0};
    dump d = {.arena = tb_arena_create(NULL), .folder = argv[2]};
    tiba_status status = open_all(&d, argv[1], argc - 4, argv + 4, &error);
    if (status == TIBA_OK) status = run(&d, strtoll(argv[3], NULL, 10), &error);
    if (status != TIBA_OK) fprintf(stderr, "dump_reverse: %s\n", error.message);
    tb_reverse_destroy(d.reverse);
    tb_program_destroy(d.program);
    tb_analysis_destroy(d.analysis);
    tb_bound_destroy(d.bound);
    if (d.source) tb_onnx_close(d.source);
    tb_scratch_free(&d.exec);
    tb_arena_destroy(d.arena);
    return (int)status;
}
