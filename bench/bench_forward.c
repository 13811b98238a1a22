/*
 * bench_forward.c: time of a model's forward pass, and which operators it goes to.
 *
 *     bench_forward MODEL.onnx [threads] [repetitions] [size of unknown dimensions]
 *
 * Unknown leading dimensions are 1. Float inputs hold noise, integer inputs ones. Prints the best
 * and the median time of the whole pass and the processor time (all threads), then a table by
 * operator from passes that are timed node by node.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "graph/bind.h"
#include "graph/raise.h"
#include "onnx/onnx.h"
#include "runtime/program.h"

enum { MOST_INPUTS = 16 };

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static tiba_status make_feed(tb_feed *feed, const tb_value *input, int64_t size, tb_arena *arena,
                             tiba_error *error) {
    tiba_tensor t = input->t;
    for (int i = 0; i < t.rank; i++)
        if (t.dims[i] < 0) t.dims[i] = i == 0 ? 1 : size;
    feed->name = input->name;
    TB_TRY(tb_tensor_create(&feed->tensor, arena, t.dtype, t.rank, t.dims, error));
    for (int64_t i = tb_tensor_count(&feed->tensor) - 1; i >= 0; i--)
        tb_set_f64(&feed->tensor, i,
                   tb_dtype_is_float(t.dtype) ? (double)(i * 7919 % 1000) / 500 - 1 : 1);
    return TIBA_OK;
}

/* Processor seconds and calls by operator, over one pass. */
static tiba_status profile(tb_program *program, tb_exec *exec, double *seconds, int *calls,
                           tiba_error *error) {
    for (const tb_node *node = program->graph->first; node; node = node->next) {
        const tiba_tensor *in[256];
        tiba_tensor *out[256];
        if (node->n_in > 256 || node->n_out > 256) continue;
        for (int i = 0; i < node->n_in; i++)
            in[i] = node->in[i] ? program->values[node->in[i]->id] : NULL;
        for (int i = 0; i < node->n_out; i++)
            out[i] = node->out[i] ? program->values[node->out[i]->id] : NULL;
        if (node->op->def->alias && in[0] && out[0] && in[0]->data == out[0]->data) continue;
        clock_t start = clock();
        TB_TRY(node->op->def->forward(exec, node, in, out, error));
        seconds[node->op->kind] += (double)(clock() - start) / CLOCKS_PER_SEC;
        calls[node->op->kind]++;
        tb_scratch_reset(exec);
    }
    return TIBA_OK;
}

static tiba_status measure(tb_program *program, tb_exec *exec, const void *const *inputs,
                           int repetitions, tiba_error *error) {
    double times[1000], seconds[TB_OP_COUNT] = {0};
    int calls[TB_OP_COUNT] = {0};
    clock_t least_cpu = 0;
    for (int r = 0; r < repetitions; r++) {
        double start = tb_seconds();
        clock_t cpu = clock();
        TB_TRY(tb_program_run(program, inputs, exec, error));
        times[r] = tb_seconds() - start;
        cpu = clock() - cpu;
        if (r == 0 || cpu < least_cpu) least_cpu = cpu;
    }
    qsort(times, (size_t)repetitions, sizeof *times, by_size);
    printf("forward: best %.1f ms, median %.1f ms, least processor time %.1f ms\n", 1e3 * times[0],
           1e3 * times[repetitions / 2], 1e3 * (double)least_cpu / CLOCKS_PER_SEC);
    for (int r = 0; r < repetitions; r++) TB_TRY(profile(program, exec, seconds, calls, error));
    for (;;) {
        int worst = 0;
        for (int i = 0; i < TB_OP_COUNT; i++)
            if (seconds[i] > seconds[worst]) worst = i;
        if (seconds[worst] <= 0) return TIBA_OK;
        printf("%8.2f ms %5d x %s\n", 1e3 * seconds[worst] / repetitions,
               calls[worst] / repetitions, tb_ops[worst].name);
        seconds[worst] = 0;
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: bench_forward MODEL.onnx [threads] [repetitions] [size]\n");
        return 2;
    }
    int threads = argc > 2 ? atoi(argv[2]) : 1, repetitions = argc > 3 ? atoi(argv[3]) : 10;
    int64_t size = argc > 4 ? atoi(argv[4]) : 128;
    if (repetitions < 1 || repetitions > 1000) repetitions = 10;
    tiba_error error = {0};
    tb_budget budget = {0};
    tb_exec exec = {.pool = tb_pool_create(&budget, threads < 1 ? 1 : threads), .budget = &budget};
    tb_arena *arena = tb_arena_create(&budget);
    tb_source *source = NULL;
    tb_bound *bound = NULL;
    tb_program *program = NULL;
    tb_feed feeds[MOST_INPUTS];
    const void *inputs[MOST_INPUTS];
    tiba_status status = exec.pool && arena ? tb_onnx_open(&source, argv[1], &budget, &error)
                                            : tb_out_of_memory(&error);
    int n = status == TIBA_OK ? source->graph->n_inputs : 0;
    if (n > MOST_INPUTS) status = tb_fail(&error, TIBA_ERROR_INPUT, "%d inputs are too many", n);
    for (int i = 0; i < n && status == TIBA_OK; i++) {
        status = make_feed(&feeds[i], source->graph->inputs[i], size, arena, &error);
        inputs[i] = feeds[i].tensor.data;
    }
    if (status == TIBA_OK) status = tb_bind(&bound, source, n, feeds, &exec, &error);
    if (status == TIBA_OK) status = tb_raise(bound->graph, &exec, NULL, -1, &error);
    if (status == TIBA_OK)
        status = tb_program_create(&program, bound->graph, NULL, 0, &budget, &error);
    if (status == TIBA_OK) status = measure(program, &exec, inputs, repetitions, &error);
    if (status != TIBA_OK) fprintf(stderr, "%s\n", error.message);
    tb_program_destroy(program);
    tb_bound_destroy(bound);
    if (source) tb_onnx_close(source);
    tb_arena_destroy(arena);
    tb_scratch_free(&exec);
    tb_pool_destroy(exec.pool);
    return (int)status;
}
