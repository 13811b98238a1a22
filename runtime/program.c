#include "runtime/program.h"

#include <string.h>

#include "runtime/profile.h"

/* What the planner knows of a value: values that are the same elements in the same order (Reshape
 * and its like) have one buffer, that of their root. */
typedef struct planning {
    const tb_graph *graph;
    int *root, *home;       /* by value id; of a root: whose interval its memory is */
    tb_interval *intervals; /* by value id of the root */
    unsigned char *outside; /* root's memory is not ours: a graph input's */
} planning;

static void touch(planning *p, const tb_value *value, int step) {
    if (!value || value->t.data) return;
    tb_interval *it = &p->intervals[p->root[value->id]];
    if (step > it->death) it->death = step;
    if (step < it->birth) it->birth = step;
}

void tb_alias_roots(int *root, const tb_graph *graph) {
    for (int i = 0; i < graph->n_values; i++) root[i] = i;
    for (const tb_node *node = graph->first; node; node = node->next) {
        const tb_value *in = node->n_in > 0 ? node->in[0] : NULL;
        if (node->op->def->alias && in && !in->t.data && node->out[0] &&
            in->t.dtype == node->out[0]->t.dtype)
            root[node->out[0]->id] = root[in->id];
    }
}

/* Is operand i as large as the result, and memory that no other operand is in? */
static bool may_write_over(const tb_node *node, int i, const int *root) {
    const tb_value *in = node->in[i], *out = node->out[0];
    if (!in || in->t.data || !(node->op->def->over & TB_NEEDS_IN(i < 15 ? i : 15))) return false;
    if (in->t.dtype != TIBA_FLOAT32 || out->t.dtype != TIBA_FLOAT32 ||
        tb_tensor_count(&in->t) != tb_tensor_count(&out->t))
        return false;
    for (int k = 0; k < node->n_in; k++)
        if (k != i && node->in[k] && root[node->in[k]->id] == root[in->id]) return false;
    return true;
}

void tb_write_over(const tb_node *node, int step, const int *root, int *home, tb_interval *life,
                   const unsigned char *fixed) {
    if (!node->op->def->over || node->n_out != 1 || !node->out[0]) return;
    const int out = node->out[0]->id;
    if (root[out] != out || life[out].size == 0 || life[out].birth != step) return;
    if (tb_find_attr(node, "kernel")) return; /* reads its operands once more (quant_kernel.h) */
    for (int i = 0; i < node->n_in; i++) {
        if (!may_write_over(node, i, root)) continue;
        const int from = root[node->in[i]->id];
        tb_interval *it = &life[home[from]];
        if ((fixed && fixed[from]) || it->death != step || it->size != life[out].size) continue;
        it->death = life[out].death;
        life[out].size = 0;
        home[out] = home[from];
        return;
    }
}

static void plan_lifetimes(planning *p, const unsigned char *keep) {
    const tb_graph *graph = p->graph;
    tb_alias_roots(p->root, graph);
    for (int i = 0; i < graph->n_values; i++) {
        p->intervals[i] = (tb_interval){.birth = graph->n_nodes + 1, .death = -1};
        const tb_value *value = graph->values[i];
        if (value && value->input >= 0 && !value->producer) p->outside[i] = 1;
    }
    int step = 0;
    for (const tb_node *node = graph->first; node; node = node->next, step++) {
        for (int i = 0; i < node->n_out; i++) {
            const tb_value *out = node->out[i];
            if (!out || out->t.data) continue;
            touch(p, out, step);
            int root = p->root[out->id];
            if (root == out->id) p->intervals[root].size = tb_tensor_bytes(&out->t);
            if (out->is_output || (keep && keep[out->id])) touch(p, out, graph->n_nodes);
        }
        for (int i = 0; i < node->n_in; i++) touch(p, node->in[i], step);
    }
    for (int i = 0; i < graph->n_values; i++) p->home[i] = i;
    step = 0;
    for (const tb_node *node = graph->first; node; node = node->next, step++)
        tb_write_over(node, step, p->root, p->home, p->intervals, p->outside);
}

/* Lays out the values that outlive the pass, and behind them the others: what those take, and
 * `spare` at least, is free afterwards. Returns where that begins. */
static tiba_status plan_apart(size_t *start, size_t *total, tb_interval *intervals, int n, int end,
                              size_t spare, tb_arena *arena, tiba_error *error) {
    tb_interval *some = TB_NEW(arena, tb_interval, n);
    size_t bytes[2];
    if (!some) return tb_out_of_memory(error);
    for (int part = 0; part < 2; part++) {
        for (int i = 0; i < n; i++) {
            some[i] = intervals[i];
            if ((intervals[i].death < end) != part) some[i].size = 0;
        }
        TB_TRY(tb_plan(&bytes[part], n, some, error));
        for (int i = 0; i < n; i++)
            if (some[i].size) intervals[i].offset = some[i].offset + (part ? bytes[0] : 0);
    }
    *start = bytes[0];
    if (!tb_size_add(total, bytes[0], bytes[1] > spare ? bytes[1] : spare))
        return tb_out_of_memory(error);
    return TIBA_OK;
}

static tiba_status create(tb_program *program, const unsigned char *keep, size_t spare,
                          tiba_error *error) {
    const tb_graph *graph = program->graph;
    planning p = {.graph = graph};
    int n = graph->n_values;
    p.root = TB_NEW(program->arena, int, n);
    p.home = TB_NEW(program->arena, int, n);
    p.intervals = TB_NEW(program->arena, tb_interval, n);
    p.outside = TB_NEW(program->arena, unsigned char, n);
    void **buffers = TB_NEW(program->arena, void *, n);
    program->values = TB_NEW(program->arena, tiba_tensor *, n);
    program->follows = TB_NEW(program->arena, unsigned char, n);
    if (!p.root || !p.home || !p.intervals || !p.outside || !buffers || !program->values ||
        !program->follows)
        return tb_out_of_memory(error);
    plan_lifetimes(&p, keep);
    size_t start = 0;
    if (spare)
        TB_TRY(plan_apart(&start, &program->block_bytes, p.intervals, n, graph->n_nodes, spare,
                          program->arena, error));
    else
        TB_TRY(tb_plan(&program->block_bytes, n, p.intervals, error));
    TB_TRY(tb_block_create(&program->block, buffers, program->block_bytes, n, p.intervals,
                           program->budget, error));
    if (spare) program->spare = tb_block_from(&program->block, start);
    if (program->spare) program->spare_bytes = program->block_bytes - start;
    for (int i = 0; i < n; i++) {
        const tb_value *value = graph->values[i];
        if (!value) continue;
        tiba_tensor *tensor = TB_NEW(program->arena, tiba_tensor, 1);
        if (!tensor) return tb_out_of_memory(error);
        *tensor = value->t;
        program->follows[i] = value->producer && p.outside[p.root[i]];
        if (!tensor->data && !p.outside[p.root[i]]) tensor->data = buffers[p.home[p.root[i]]];
        program->values[i] = tensor;
    }
    return TIBA_OK;
}

tiba_status tb_program_create(tb_program **out, const tb_graph *graph, const unsigned char *keep,
                              size_t spare, tb_budget *budget, tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(budget);
    tb_program *program = arena ? TB_NEW(arena, tb_program, 1) : NULL;
    if (!program) {
        tb_arena_destroy(arena);
        return tb_out_of_memory(error);
    }
    program->graph = graph;
    program->arena = arena;
    program->budget = budget;
    tiba_status status = create(program, keep, spare, error);
    if (status != TIBA_OK) {
        tb_program_destroy(program);
        return status;
    }
    *out = program;
    return TIBA_OK;
}

void tb_program_destroy(tb_program *program) {
    if (!program) return;
    tb_block_destroy(&program->block);
    tb_arena_destroy(program->arena);
}

enum { MAX_OPERANDS = 64 };

static tiba_status run_node(tb_program *program, const tb_node *node, tb_exec *exec,
                            tiba_error *error) {
    const tiba_tensor *in_few[MAX_OPERANDS];
    tiba_tensor *out_few[MAX_OPERANDS];
    const tiba_tensor **in = in_few;
    tiba_tensor **out = out_few;
    if (node->n_in > MAX_OPERANDS) in = tb_scratch(exec, (size_t)node->n_in, sizeof *in);
    if (node->n_out > MAX_OPERANDS) out = tb_scratch(exec, (size_t)node->n_out, sizeof *out);
    if (!in || !out) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++)
        in[i] = node->in[i] ? program->values[node->in[i]->id] : NULL;
    for (int i = 0; i < node->n_out; i++)
        out[i] = node->out[i] ? program->values[node->out[i]->id] : NULL;
    bool same = node->op->def->alias && in[0] && out[0] && in[0]->data == out[0]->data;
    tb_stopwatch watch = tb_profile_start(exec);
    tiba_status status = same ? TIBA_OK : node->op->def->forward(exec, node, in, out, error);
    if (exec->profile && !same)
        tb_profile_stop(exec, &watch, TB_PHASE_FORWARD, node, tb_profile_bytes(node->n_in, in, ~0u),
                        tb_profile_bytes(node->n_out, (const tiba_tensor *const *)out, ~0u));
    tb_scratch_reset(exec);
    return status;
}

tiba_status tb_program_run(tb_program *program, const void *const *inputs, tb_exec *exec,
                           tiba_error *error) {
    const tb_graph *graph = program->graph;
    for (int i = 0; i < graph->n_inputs; i++) {
        tb_value *value = graph->inputs[i];
        if (!value || value->t.data) continue;
        program->values[value->id]->data = (void *)(uintptr_t)inputs[i];
    }
    for (const tb_node *node = graph->first; node; node = node->next) {
        const tb_value *in = node->n_in > 0 ? node->in[0] : NULL;
        /* what aliases a graph input follows it to its memory of this run */
        if (node->n_out > 0 && node->out[0] && program->follows[node->out[0]->id])
            program->values[node->out[0]->id]->data = program->values[in->id]->data;
        TB_TRY(run_node(program, node, exec, error));
    }
    return TIBA_OK;
}
