/*
 * tiba.c: the public interface on top of the engine's rooms.
 */
#include "tiba.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "graph/choice.h"
#include "graph/factors.h"
#include "graph/narrow.h"
#include "rules/methods.h"
#include "rules/reverse.h"
#include "tiba_internal.h"

#define VERSION "0.1.0"

struct tiba_result {
    tb_arena *arena;
    int n_towers, n_targets;
    tiba_tower *towers;
    tiba_target *targets;
};

const char *tiba_version(void) {
    return VERSION;
}

/* ------------------------------------------------------------------------------- models */

enum { MOST_THREADS = 1024 };

tiba_status tiba_model_open(tiba_model **out, const char *path, const tiba_options *options,
                            tiba_error *error) {
    *out = NULL;
    double start = tb_seconds();
    int threads = options && options->threads > 0 ? options->threads : tb_processors();
    tiba_model *model = tb_calloc(NULL, 1, sizeof *model);
    if (!model) return tb_out_of_memory(error);
    model->budget.limit = options ? options->memory_limit : 0;
    model->exec.budget = &model->budget;
    /* More threads than any machine has processors: refused before the machine is short of them. */
    if (threads <= MOST_THREADS) model->exec.pool = tb_pool_create(&model->budget, threads);
    tiba_status status =
        model->exec.pool ? tb_onnx_open(&model->source, path, &model->budget, error)
                         : tb_fail(error, TIBA_ERROR_RESOURCE, "cannot start %d threads", threads);
    if (status != TIBA_OK) {
        tiba_model_close(model);
        return status;
    }
    model->open_seconds = tb_seconds() - start;
    *out = model;
    return TIBA_OK;
}

static void plan_destroy(plan *p) {
    if (!p) return;
    tb_program_destroy(p->program);
    tb_explainer_destroy(p->explainer);
    tb_analysis_destroy(p->analysis);
    tb_bound_destroy(p->bound);
    tb_free(p);
}

void tiba_model_close(tiba_model *model) {
    if (!model) return;
    for (int i = 0; i < 2; i++) plan_destroy(model->spare[i]);
    tb_onnx_close(model->source);
    tb_free(model->exec.profile);
    tb_scratch_free(&model->exec);
    tb_pool_destroy(model->exec.pool);
    tb_free(model);
}

static tiba_port port_of(const tb_value *value) {
    tiba_port port = {.name = value->name, .dtype = value->t.dtype, .rank = value->t.rank};
    for (int d = 0; d < TIBA_MAX_RANK; d++) {
        port.dims[d] = d < value->t.rank ? value->t.dims[d] : -1;
        const char *name = d < value->t.rank && value->dim_names ? value->dim_names[d] : NULL;
        port.dim_names[d] = name ? name : "";
    }
    return port;
}

tiba_model_facts tiba_model_about(const tiba_model *model) {
    const tb_source *s = model->source;
    return (tiba_model_facts){.producer = s->producer ? s->producer : "",
                              .ir_version = s->ir_version,
                              .n_opsets = s->n_opsets,
                              .parameters = s->n_parameters,
                              .parameter_bytes = s->parameter_bytes};
}

const char *tiba_model_opset(const tiba_model *model, int index, int64_t *version) {
    *version = model->source->opsets[index].version;
    const char *domain = model->source->opsets[index].domain;
    return domain ? domain : "";
}

const char *tiba_model_data_file(const tiba_model *model, int index, const char **location) {
    return tb_onnx_data_file(model->source, index, location);
}

const char *tiba_model_left_out(const tiba_model *model, int index, const char **kind) {
    if (index < 0 || index >= model->source->n_left_out) return NULL;
    *kind = model->source->left_out[index].kind;
    return model->source->left_out[index].name;
}

const char *tiba_model_class(const tiba_model *model, int64_t index) {
    return tb_class_name(model->source, index);
}

const char *tiba_model_behind(const tiba_model *model, int index, const char **op) {
    return tb_choice_of(model->source, index, op);
}

int tiba_model_inputs(const tiba_model *model) {
    return model->source->graph->n_inputs;
}

int tiba_model_outputs(const tiba_model *model) {
    return model->source->graph->n_outputs;
}

tiba_port tiba_model_input(const tiba_model *model, int index) {
    return port_of(model->source->graph->inputs[index]);
}

tiba_port tiba_model_output(const tiba_model *model, int index) {
    return port_of(model->source->graph->outputs[index]);
}

/* ------------------------------------------------------------------------------- runs */

/* Does output `i` of the file hold floats? One that is blocked has only a declared type. */
static bool is_float_output(const tb_source *source, const tb_bound *bound, int i) {
    int at = bound->outputs[i].index;
    if (at >= 0) return tb_dtype_is_float(bound->graph->outputs[at]->t.dtype);
    tiba_dtype declared = source->graph->outputs[i]->t.dtype;
    return declared == TIBA_UNDEFINED || tb_dtype_is_float(declared);
}

/* Something is in the way of output `i`; others may be free. */
static tiba_status blocked(const tb_source *source, const tb_bound *bound, int i,
                           tiba_error *error) {
    char free[200] = "";
    size_t used = 0;
    for (int k = 0; k < source->graph->n_outputs; k++) {
        if (bound->outputs[k].index < 0 || !is_float_output(source, bound, k)) continue;
        int n = snprintf(free + used, sizeof free - used, "%s'%.60s'", used ? ", " : "",
                         source->graph->outputs[k]->name);
        if (n < 0 || (size_t)n >= sizeof free - used) {
            free[used] = '\0';
            break;
        }
        used += (size_t)n;
    }
    const tiba_error *why = bound->outputs[i].why;
    tb_fail(error, why->code, "%.240s; output '%.60s' needs it%s%s", why->message,
            source->graph->outputs[i]->name, used ? ", --output may name one that does not: " : "",
            free);
    if (error) memcpy(error->node, why->node, sizeof error->node);
    return why->code;
}

/* The output to explain, as the file counts them: by name, or the first float one. */
static tiba_status find_output(int *out, const tb_source *source, const tb_bound *bound,
                               const char *name, tiba_error *error) {
    const tb_graph *graph = source->graph;
    int behind = tb_choice_behind(source, name), found = -1;
    for (int i = 0; i < graph->n_outputs && name && behind >= 0; i++) /* or the scores themselves */
        if (strcmp(graph->outputs[i]->name, name) == 0 && is_float_output(source, bound, i))
            behind = i;
    if (behind >= 0 && is_float_output(source, bound, behind)) found = behind;
    for (int i = 0; i < graph->n_outputs && found < 0; i++)
        if (name ? strcmp(graph->outputs[i]->name, name) == 0 : is_float_output(source, bound, i))
            found = i;
    if (found >= 0) {
        if (!is_float_output(source, bound, found))
            return tb_fail(error, TIBA_ERROR_USAGE, "output '%s' is no float output", name);
        if (bound->outputs[found].index < 0) return blocked(source, bound, found, error);
        *out = found;
        return TIBA_OK;
    }
    if (!name) return tb_fail(error, TIBA_ERROR_INPUT, "the model has no float output");
    for (int i = 0; i < source->n_left_out; i++)
        if (strcmp(source->left_out[i].name, name) == 0)
            return tb_fail(error, TIBA_ERROR_USAGE, "output '%s' is %s, no tensor of floats", name,
                           source->left_out[i].kind);
    return tb_fail(error, TIBA_ERROR_USAGE, "the model has no output '%s'; its first one is '%s'",
                   name, graph->n_outputs ? graph->outputs[0]->name : "");
}

/* The bound value that is explained. */
static const tb_value *explained(const plan *p) {
    return p->bound->graph->outputs[p->bound->outputs[p->output].index];
}

/* What the outputs read, and their logits, is all that a run for them computes. */
static tiba_status narrow(plan *p, tb_exec *exec, tiba_error *error) {
    const tb_narrowing *narrowing;
    tb_graph *graph = p->bound->graph;
    unsigned char *keep = TB_NEW(graph->arena, unsigned char, graph->n_values);
    if (!keep) return tb_out_of_memory(error);
    keep[tb_logit_value(explained(p))->id] = 1;
    return tb_narrow_rows(&narrowing, graph, NULL, keep, exec, graph->arena, error);
}

/* A model that cannot be explained can still be run. */
static tiba_status plan_explanation(plan *p, tb_exec *exec, tiba_error *error) {
    tb_graph *graph = p->bound->graph;
    tb_budget *budget = exec->budget;
    TB_TRY(tb_analysis_create(&p->analysis, graph, budget, error));
    tiba_status status =
        tb_explainer_create(&p->explainer, graph, p->analysis, p->bound->outputs[p->output].index,
                            exec, budget, &p->why_not);
    if (status != TIBA_ERROR_RESOURCE) return TIBA_OK;
    if (error) *error = p->why_not;
    return status;
}

static tiba_status make_plan(plan *p, tiba_model *model, int n_feeds, const tb_feed *feeds,
                             const char *output, tiba_timings *timings, tiba_error *error) {
    double start = tb_seconds();
    tb_budget *budget = &model->budget;
    TB_TRY(tb_bind(&p->bound, model->source, n_feeds, feeds, &model->exec, error));
    tb_graph *graph = p->bound->graph;
    double bound = tb_seconds();
    timings->bind = bound - start;
    tb_mark_factors(graph);
    TB_TRY(tb_raise(graph, &model->exec, &p->rewrites, -1, error));
    TB_TRY(find_output(&p->output, model->source, p->bound, output, error));
    if (!p->only_forward) TB_TRY(plan_explanation(p, &model->exec, error));
    if (!p->explainer) TB_TRY(narrow(p, &model->exec, error));
    unsigned char *keep = tb_calloc(budget, (size_t)graph->n_values + 1, 1);
    if (!keep) return tb_out_of_memory(error);
    if (p->explainer) tb_explainer_keep(p->explainer, keep);
    keep[tb_logit_value(explained(p))->id] = 1;
    size_t spare = p->explainer ? tb_explainer_spare(p->explainer) : 0;
    tiba_status status = tb_program_create(&p->program, graph, keep, spare, budget, error);
    tb_free(keep);
    timings->plan = tb_seconds() - bound;
    return status;
}

/* Is the spare plan good for these feeds and this output? */
static bool fits(const plan *p, const tb_source *source, int n_feeds, const tb_feed *feeds,
                 const char *output) {
    if (!p || !tb_bound_fits(p->bound, n_feeds, feeds)) return false;
    int index;
    return find_output(&index, source, p->bound, output, NULL) == TIBA_OK && index == p->output;
}

/* Float inputs as float32 in the run's arena, in the graph's order. */
static tiba_status copy_inputs(tiba_run *run, const void ***out, int n_feeds, const tb_feed *feeds,
                               tiba_error *error) {
    const tb_graph *graph = run->plan->bound->graph;
    const void **inputs = TB_NEW(run->arena, const void *, graph->n_inputs);
    if (!inputs) return tb_out_of_memory(error);
    for (int i = 0; i < graph->n_inputs; i++) {
        const tb_value *value = graph->inputs[i];
        if (!value || value->t.data) continue;
        for (int k = 0; k < n_feeds; k++) {
            if (strcmp(feeds[k].name, value->name) != 0) continue;
            tiba_tensor copy;
            TB_TRY(tb_tensor_create(&copy, run->arena, value->t.dtype, value->t.rank, value->t.dims,
                                    error));
            tb_convert(&copy, &feeds[k].tensor);
            inputs[i] = copy.data;
        }
        if (!inputs[i])
            return tb_fail(error, TIBA_ERROR_USAGE, "input '%s' is missing", value->name);
    }
    *out = inputs;
    return TIBA_OK;
}

/* What a run is for. */
typedef enum run_kind { RUN_EXPLAIN, RUN_OUTPUTS, RUN_PLAN } run_kind;

static tiba_status start_run(tiba_run *run, run_kind kind, int n_feeds, const tb_feed *feeds,
                             const char *output, tiba_error *error) {
    bool only_forward = kind == RUN_OUTPUTS;
    tiba_model *model = run->model;
    plan **spare = &model->spare[only_forward];
    if (fits(*spare, model->source, n_feeds, feeds, output)) {
        run->plan = *spare;
        *spare = NULL;
    } else {
        run->plan = tb_calloc(&model->budget, 1, sizeof *run->plan);
        if (!run->plan) return tb_out_of_memory(error);
        run->plan->only_forward = only_forward;
        if (only_forward)
            tb_fail(&run->plan->why_not, TIBA_ERROR_USAGE, "the run was made for its outputs only");
        TB_TRY(make_plan(run->plan, model, n_feeds, feeds, output, &run->timings, error));
    }
    const void **inputs = NULL;
    TB_TRY(copy_inputs(run, &inputs, n_feeds, feeds, error));
    if (kind == RUN_PLAN) return TIBA_OK;
    run->ran = true;
    double start = tb_seconds();
    tiba_status status = tb_program_run(run->plan->program, inputs, &model->exec, error);
    run->timings.forward = tb_seconds() - start;
    return status;
}

static tiba_status create_run(tiba_run **out, tiba_model *model, run_kind kind, int n_feeds,
                              const tiba_feed *feeds, const char *output, tiba_error *error) {
    *out = NULL;
    tb_arena *arena = tb_arena_create(&model->budget);
    tiba_run *run = arena ? TB_NEW(arena, tiba_run, 1) : NULL;
    tb_feed *list = arena ? TB_NEW(arena, tb_feed, n_feeds) : NULL;
    if (!run || !list) {
        tb_arena_destroy(arena);
        return tb_out_of_memory(error);
    }
    *run = (tiba_run){.model = model, .arena = arena, .timings.open = model->open_seconds};
    for (int i = 0; i < n_feeds; i++) list[i] = (tb_feed){feeds[i].name, feeds[i].tensor};
    tiba_status status = start_run(run, kind, n_feeds, list, output, error);
    if (status != TIBA_OK) {
        plan_destroy(run->plan);
        tb_arena_destroy(arena);
        return status;
    }
    *out = run;
    return TIBA_OK;
}

tiba_status tiba_run_create(tiba_run **out, tiba_model *model, int n_feeds, const tiba_feed *feeds,
                            const char *output, tiba_error *error) {
    return create_run(out, model, RUN_EXPLAIN, n_feeds, feeds, output, error);
}

tiba_status tiba_run_plan(tiba_run **out, tiba_model *model, int n_feeds, const tiba_feed *feeds,
                          const char *output, tiba_error *error) {
    return create_run(out, model, RUN_PLAN, n_feeds, feeds, output, error);
}

tiba_status tiba_run_forward(tiba_run **out, tiba_model *model, int n_feeds, const tiba_feed *feeds,
                             const char *output, tiba_error *error) {
    return create_run(out, model, RUN_OUTPUTS, n_feeds, feeds, output, error);
}

void tiba_run_destroy(tiba_run *run) {
    if (!run) return;
    plan **spare = &run->model->spare[run->plan->only_forward];
    plan_destroy(*spare);
    *spare = run->plan;
    tb_arena_destroy(run->arena);
}

tiba_tensor tiba_run_output(const tiba_run *run, int index) {
    const tb_bound *bound = run->plan->bound;
    int at = bound->outputs[index].index;
    if (at < 0) return (tiba_tensor){.rank = -1};
    return *run->plan->program->values[bound->graph->outputs[at]->id];
}

int tiba_run_explained_output(const tiba_run *run) {
    return run->plan->output;
}

tiba_tensor tiba_run_logits(const tiba_run *run) {
    const tb_value *value = explained(run->plan);
    return *run->plan->program->values[tb_logit_value(value)->id];
}

tiba_timings tiba_run_timings(const tiba_run *run) {
    return run->timings;
}

/* ------------------------------------------------------------------------------- targets */

/* Index of the largest of n floats; NaN never wins. */
static int64_t arg_max(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best] || isnan(x[best])) best = i;
    return best;
}

static tiba_status check_index(const tiba_request *request, const tiba_tensor *y, int shift,
                               const char *name, tiba_error *error) {
    for (int i = 0; i < request->target_rank; i++) {
        int64_t size = y->dims[i + shift], index = request->target[i];
        if (index < 0 || index >= size)
            return tb_fail(error, TIBA_ERROR_USAGE,
                           "target index %lld is out of range: axis %d of output '%s' has %lld "
                           "elements",
                           (long long)index, i + shift, name, (long long)size);
    }
    return TIBA_OK;
}

/* Which elements to explain: targets[*n], one for each sample that is asked for. */
static tiba_status find_targets(tiba_result *result, const tiba_run *run,
                                const tiba_request *request, tiba_error *error) {
    const plan *p = run->plan;
    const tb_value *value = explained(p);
    tiba_tensor y = *p->program->values[tb_logit_value(value)->id];
    int given = request->target_rank, rank = y.rank;
    char shape[128];
    tb_shape_text(shape, sizeof shape, y.rank, y.dims);
    if (tb_tensor_count(&y) == 0)
        return tb_fail(error, TIBA_ERROR_INPUT, "output '%s' is empty: %s", value->name, shape);
    bool whole = given == rank || (given == 0 && rank < 2);
    if (given != 0 && given != rank && given != rank - 1)
        return tb_fail(error, TIBA_ERROR_USAGE,
                       "the target has %d indices but output '%s' has the shape %s", given,
                       value->name, shape);
    int64_t samples = whole || rank == 0 ? 1 : y.dims[0], classes = rank ? y.dims[rank - 1] : 1;
    if (given) TB_TRY(check_index(request, &y, rank - given, value->name, error));
    result->n_targets = (int)samples;
    result->targets = TB_NEW(result->arena, tiba_target, samples);
    if (!result->targets) return tb_out_of_memory(error);
    int64_t size = tb_tensor_count(&y) / (whole ? 1 : samples);
    for (int64_t s = 0; s < samples; s++) {
        tiba_target *target = &result->targets[s];
        *target = (tiba_target){.output = p->output, .rank = rank};
        if (!whole) target->index[0] = s;
        for (int i = 0; i < given; i++) target->index[i + rank - given] = request->target[i];
        if (!given && rank)
            target->index[rank - 1] = arg_max((const float *)y.data + s * size, classes);
        int64_t element = 0;
        for (int d = 0; d < rank; d++) element = element * y.dims[d] + target->index[d];
        target->logit = ((const float *)y.data)[element];
        if (!isfinite(target->logit))
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "output '%s' is not a finite number at the target", value->name);
    }
    return TIBA_OK;
}

/* ------------------------------------------------------------------------------- explanations */

int tiba_method_at(tiba_method_facts *out, int index) {
    const tb_method *method = tb_method_at(index);
    if (!method) return 0;
    bool input = method->reads == TB_READS_INPUT;
    *out =
        (tiba_method_facts){.name = method->name,
                            .alias = method->alias,
                            .summary = method->summary,
                            .per_class = tb_method_per_class(method),
                            .to_input = input,
                            .signs = input,
                            .relevance = (tb_method_carries(method) & TB_REVERSE_RELEVANCE) != 0};
    return 1;
}

/* Where the tokens come from, as the caller sees it. */
static tiba_status put_origins(tiba_tower *to, tiba_result *result, const tb_graph *file,
                               const tb_tower *tower, tiba_error *error) {
    if (!tower->origins) return TIBA_OK;
    const char **origins = TB_NEW(result->arena, const char *, tower->tokens);
    int64_t *places = TB_NEW(result->arena, int64_t, tower->tokens);
    if (!origins || !places) return tb_out_of_memory(error);
    for (int64_t i = 0; i < tower->tokens; i++) {
        const tb_token_origin *of = &tower->origins[i];
        origins[i] = of->input >= 0 ? file->inputs[of->input]->name : NULL;
        places[i] = of->place;
    }
    to->origins = origins;
    to->places = places;
    return TIBA_OK;
}

static tiba_status new_tower(tiba_tower *to, tiba_result *result, const tiba_run *run,
                             const tb_tower_explanation *from, int64_t samples, tiba_error *error) {
    const tb_tower *tower = from->tower;
    const tb_source *source = run->model->source;
    const char *input = tower->input >= 0 ? source->graph->inputs[tower->input]->name : "";
    size_t n = (size_t)tower->tokens, m = (size_t)from->readout_tokens, count, count_read;
    if (!tb_size_mul(&count, n, (size_t)samples) || !tb_size_mul(&count_read, m, (size_t)samples))
        return tb_out_of_memory(error);
    float *relevance = TB_NEW(result->arena, float, count);
    float *readout = TB_NEW(result->arena, float, count_read);
    int64_t *sample = TB_NEW(result->arena, int64_t, samples);
    int64_t *not_finite = TB_NEW(result->arena, int64_t, samples);
    double *relevance_in = TB_NEW(result->arena, double, samples);
    const float **blocks =
        from->blocks ? TB_NEW(result->arena, const float *, from->n_blocks) : NULL;
    if (!relevance || !readout || !sample || !not_finite || !relevance_in ||
        (from->blocks && !blocks))
        return tb_out_of_memory(error);
    for (int b = 0; blocks && b < from->n_blocks; b++) {
        float *block = tb_arena_alloc(result->arena, count, n * sizeof(float));
        if (!block) return tb_out_of_memory(error);
        blocks[b] = block;
    }
    float *map = NULL;
    int64_t rows = from->map ? from->map_rows : tower->rows;
    int64_t columns = from->map ? from->map_columns : tower->columns;
    if (rows > 0) {
        size_t size;
        if (!tb_size_mul(&size, (size_t)rows, (size_t)columns)) return tb_out_of_memory(error);
        map = tb_arena_alloc(result->arena, (size_t)samples, size * sizeof(float));
        if (!map) return tb_out_of_memory(error);
    }
    *to = (tiba_tower){.input = input,
                       .is_image = tower->image,
                       .samples = samples,
                       .tokens = tower->tokens,
                       .rows = tower->rows,
                       .columns = tower->columns,
                       .prefix = tower->prefix,
                       .relevance = relevance,
                       .readout = readout,
                       .readout_tokens = from->readout_tokens,
                       .n_blocks = from->n_blocks,
                       .blocks = blocks,
                       .sample = sample,
                       .relevance_in = relevance_in,
                       .nested = from->nested,
                       .not_finite = not_finite,
                       .map_rows = rows,
                       .map_columns = columns,
                       .map = map,
                       .note = from->note};
    return put_origins(to, result, source->graph, tower, error);
}

static void put_sample(const tiba_tower *to, const tb_tower_explanation *from, int64_t s) {
    size_t n = (size_t)to->tokens, bytes = n * sizeof(float), at = (size_t)s;
    memcpy((float *)(uintptr_t)to->relevance + at * n, from->tokens, bytes);
    size_t m = (size_t)to->readout_tokens;
    memcpy((float *)(uintptr_t)to->readout + at * m, from->readout, m * sizeof(float));
    ((int64_t *)(uintptr_t)to->sample)[s] = from->sample;
    ((int64_t *)(uintptr_t)to->not_finite)[s] = from->not_finite;
    ((double *)(uintptr_t)to->relevance_in)[s] = from->relevance_in;
    size_t size = (size_t)(to->map_rows * to->map_columns);
    const float *map = from->map ? from->map : from->tokens + from->tower->prefix;
    if (to->map) memcpy((float *)(uintptr_t)to->map + at * size, map, size * sizeof(float));
    for (int b = 0; to->blocks && b < to->n_blocks; b++)
        memcpy((float *)(uintptr_t)to->blocks[b] + at * n * n, from->blocks[b], bytes * n);
}

/* The request's seeds, checked. With them there is one target, which has no index of its own. */
static tiba_status take_seeds(tb_explain_options *options, tiba_result *result, const tiba_run *run,
                              const tiba_request *request, tiba_error *error) {
    if (request->n_seeds == 0) return TIBA_OK;
    tiba_tensor y = tiba_run_logits(run);
    int64_t count = tb_tensor_count(&y);
    tb_seed *seeds = TB_NEW(result->arena, tb_seed, request->n_seeds);
    result->targets = TB_NEW(result->arena, tiba_target, 1);
    if (!seeds || !result->targets) return tb_out_of_memory(error);
    for (int i = 0; i < request->n_seeds; i++) {
        tiba_seed seed = request->seeds[i];
        if (seed.element < 0 || seed.element >= count)
            return tb_fail(error, TIBA_ERROR_USAGE, "seed %d: the output has no element %lld", i,
                           (long long)seed.element);
        if (!isfinite(seed.gradient) || !isfinite(seed.relevance))
            return tb_fail(error, TIBA_ERROR_USAGE, "seed %d is not a finite number", i);
        seeds[i] = (tb_seed){seed.element, seed.gradient, seed.relevance};
    }
    options->n_seeds = request->n_seeds;
    options->seeds = seeds;
    result->n_targets = 1;
    *result->targets = (tiba_target){.output = run->plan->output, .logit = NAN};
    return TIBA_OK;
}

/* One target of one of the requests. */
typedef struct asked {
    tiba_result *result;
    const tb_explain_options *options;
    int sample;
} asked;

static int64_t element_of(const plan *p, const tiba_target *target) {
    const tiba_tensor *y = p->program->values[explained(p)->id];
    int64_t element = 0;
    for (int d = 0; d < target->rank; d++) element = element * y->dims[d] + target->index[d];
    return element;
}

static tiba_status put_towers(const asked *a, const tiba_run *run, int n,
                              const tb_tower_explanation *towers, tiba_error *error) {
    for (int t = 0; t < n; t++) {
        tiba_tower *to = &a->result->towers[t];
        if (a->sample == 0)
            TB_TRY(new_tower(to, a->result, run, &towers[t], a->result->n_targets, error));
        put_sample(to, &towers[t], a->sample);
    }
    return TIBA_OK;
}

static tiba_status explain_together(tiba_run *run, int n, const asked *list, tb_arena *arena,
                                    tiba_error *error) {
    const plan *p = run->plan;
    int n_towers = tb_explainer_towers(p->explainer);
    tb_explain_job jobs[TB_REVERSE_MOST];
    tb_tower_explanation *towers = TB_NEW(arena, tb_tower_explanation, n * n_towers);
    if (!towers) return tb_out_of_memory(error);
    for (int i = 0; i < n; i++)
        jobs[i] = (tb_explain_job){element_of(p, &list[i].result->targets[list[i].sample]),
                                   list[i].options, towers + i * n_towers, arena};
    TB_TRY(tb_explainer_run(p->explainer, p->program, n, jobs, &run->model->exec, error));
    for (int i = 0; i < n; i++)
        TB_TRY(put_towers(&list[i], run, n_towers, towers + i * n_towers, error));
    return TIBA_OK;
}

static tiba_status prepare(tiba_result *result, tb_explain_options *options, tiba_run *run,
                           const tiba_request *request, tiba_error *error) {
    static const tb_rollout_form forms[] = {[TIBA_ROLLOUT_DEFAULT] = TB_ROLLOUT_DEFAULT,
                                            [TIBA_ROLLOUT_RAW] = TB_ROLLOUT_RAW,
                                            [TIBA_ROLLOUT_NORMALIZED] = TB_ROLLOUT_NORMALIZED};
    if (request->n_seeds == 0) TB_TRY(find_targets(result, run, request, error));
    *options = (tb_explain_options){.method = request->method,
                                    .rollout = forms[request->rollout],
                                    .start_layer = request->start_layer,
                                    .blocks = request->blocks != 0,
                                    .keep_sign = request->keep_sign != 0,
                                    .samples = request->samples,
                                    .backward_seconds = &run->timings.backward,
                                    .rollout_seconds = &run->timings.rollout};
    TB_TRY(take_seeds(options, result, run, request, error));
    result->n_towers = tb_explainer_towers(run->plan->explainer);
    result->towers = TB_NEW(result->arena, tiba_tower, result->n_towers);
    return result->towers ? TIBA_OK : tb_out_of_memory(error);
}

/* All targets of all requests, as many together as share a reverse pass. */
static tiba_status explain_all(tiba_result *const *results, tiba_run *run, int n,
                               const tiba_request *requests, tb_arena *arena, tiba_error *error) {
    tb_explain_options *options = TB_NEW(arena, tb_explain_options, n);
    if (!options) return tb_out_of_memory(error);
    run->timings.backward = run->timings.rollout = 0;
    asked together[TB_REVERSE_MOST];
    int waiting = 0;
    for (int i = 0; i < n; i++) TB_TRY(prepare(results[i], &options[i], run, &requests[i], error));
    for (int i = 0; i < n; i++)
        for (int s = 0; s < results[i]->n_targets; s++) {
            together[waiting++] = (asked){results[i], &options[i], s};
            bool last = i == n - 1 && s == results[i]->n_targets - 1;
            if (waiting < TB_REVERSE_MOST && !last) continue;
            tb_arena *room = tb_arena_create(&run->model->budget);
            if (!room) return tb_out_of_memory(error);
            tiba_status status = explain_together(run, waiting, together, room, error);
            tb_arena_destroy(room);
            TB_TRY(status);
            waiting = 0;
        }
    return TIBA_OK;
}

static tiba_status check_request(const tiba_request *request, tiba_error *error) {
    if (request->rollout < TIBA_ROLLOUT_DEFAULT || request->rollout > TIBA_ROLLOUT_NORMALIZED ||
        !tb_method_at((int)request->method) || request->target_rank < 0 ||
        request->target_rank > TIBA_MAX_RANK)
        return tb_fail(error, TIBA_ERROR_USAGE, "the request's fields are out of range");
    return TIBA_OK;
}

static tiba_result *new_result(tb_budget *budget) {
    tb_arena *arena = tb_arena_create(budget);
    tiba_result *result = arena ? TB_NEW(arena, tiba_result, 1) : NULL;
    if (result)
        result->arena = arena;
    else
        tb_arena_destroy(arena);
    return result;
}

tiba_status tiba_explain_several(tiba_result **out, tiba_run *run, int n,
                                 const tiba_request *requests, tiba_error *error) {
    for (int i = 0; i < n; i++) out[i] = NULL;
    for (int i = 0; i < n; i++) TB_TRY(check_request(&requests[i], error));
    if (!run->ran) return tb_fail(error, TIBA_ERROR_USAGE, "the run was planned only");
    if (!run->plan->explainer) {
        if (error) *error = run->plan->why_not;
        return run->plan->why_not.code;
    }
    tb_budget *budget = &run->model->budget;
    tb_arena *arena = tb_arena_create(budget);
    bool room = arena != NULL;
    for (int i = 0; i < n && room; i++) room = (out[i] = new_result(budget)) != NULL;
    tiba_status status =
        room ? explain_all(out, run, n, requests, arena, error) : tb_out_of_memory(error);
    tb_arena_destroy(arena);
    for (int i = 0; i < n && status != TIBA_OK; i++) {
        tiba_result_destroy(out[i]);
        out[i] = NULL;
    }
    return status;
}

tiba_status tiba_explain(tiba_result **out, tiba_run *run, const tiba_request *request,
                         tiba_error *error) {
    static const tiba_request defaults;
    return tiba_explain_several(out, run, 1, request ? request : &defaults, error);
}

void tiba_result_destroy(tiba_result *result) {
    if (result) tb_arena_destroy(result->arena);
}

int tiba_result_towers(const tiba_result *result) {
    return result->n_towers;
}

const tiba_tower *tiba_result_tower(const tiba_result *result, int index) {
    return &result->towers[index];
}

int tiba_result_targets(const tiba_result *result) {
    return result->n_targets;
}

const tiba_target *tiba_result_target(const tiba_result *result, int index) {
    return &result->targets[index];
}
