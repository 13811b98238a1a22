/*
 * collect_result.c: the result of what has been collected: w, the rollout, and what is to be said
 * of them.
 */
#include <math.h>
#include <string.h>

#include "rules/collect.h"

/* w_t = max(0, Σ_d R[t, d]) scaled to sum 1; uniform over the tokens that the gradient reaches if
 * that is nothing, and 0 if it reaches none. */
static void scale_readout(double *w, const double *reached, int64_t tokens) {
    double sum = 0;
    for (int64_t i = 0; i < tokens; i++) {
        w[i] = w[i] > 0.0 ? w[i] : 0.0;
        sum += w[i];
    }
    if (!(sum > 0.0)) {
        sum = 0;
        for (int64_t i = 0; i < tokens; i++) sum += w[i] = reached[i] > 0.0 ? 1.0 : 0.0;
    }
    for (int64_t i = 0; i < tokens; i++) w[i] = sum > 0.0 ? w[i] / sum : 0.0;
}

/* Are rows of I + E divided by their sums? Those of texts are, unless the caller says otherwise. */
static bool divides_rows(const tb_collect *c, int t) {
    return c->options->rollout == TB_ROLLOUT_DEFAULT
               ? c->method->normalized || !c->x->towers[t].tower.image
               : c->options->rollout == TB_ROLLOUT_NORMALIZED;
}

/* wᵀ·C of a plain tower; r: w on entry, [tokens]. */
static tiba_status roll_plain(tb_collect *c, int t, const tb_explain_options *options, double *r,
                              tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    int64_t n = tower->tower.tokens;
    bool normalized = divides_rows(c, t);
    double *scratch = TB_NEW(c->arena, double, n);
    if (!scratch) return tb_out_of_memory(error);
    if (c->method->reads == TB_READS_LAST) {
        tb_block_read(r, scratch, c->blocks[t][tower->tower.n_attentions - 1], n);
        return TIBA_OK;
    }
    for (int b = tower->tower.n_attentions - 1; b >= options->start_layer && b >= 0; b--)
        tb_rollout_step(r, scratch, c->blocks[t][b], n, normalized);
    c->towers[t].blocks = options->blocks ? c->blocks[t] : NULL;
    return TIBA_OK;
}

static int64_t block_size(const tb_attention *a) {
    return a->groups * a->queries * a->keys;
}

/* wᵀ·E of the last attention where tokens move or merge: the rollout through the graph with this
 * block less the one with none. The block is brought to size 1 first, so that little is lost in the
 * difference. */
static tiba_status read_routed(tb_collect *c, int t, const double *w, int64_t sample, double *r,
                               tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    const tb_attentions *found = c->x->analysis->attentions;
    int last = tower->tower.n_attentions - 1;
    int64_t n = tower->tower.tokens;
    int64_t size = block_size(&found->attentions[tower->tower.attentions[last]]);
    float *e = c->blocks[t][last], most = 0.0f;
    double *none = TB_NEW(c->arena, double, n);
    float **blocks = TB_NEW(c->arena, float *, last + 1);
    if (!none || !blocks) return tb_out_of_memory(error);
    tb_route_load load = {w, sample, blocks, false, NULL};
    TB_TRY(tb_route_run(tower->route, c->program, &load, none, c->budget, c->exec, error));
    for (int64_t i = 0; i < size; i++) most = fmaxf(most, fabsf(e[i]));
    for (int64_t i = 0; i < size && most > 0.0f; i++) e[i] /= most;
    blocks[last] = e;
    TB_TRY(tb_route_run(tower->route, c->program, &load, r, c->budget, c->exec, error));
    for (int64_t i = 0; i < n; i++) r[i] = (r[i] - none[i]) * (double)most;
    return TIBA_OK;
}

/* The same through the graph. */
static tiba_status roll_routed(tb_collect *c, int t, const tb_explain_options *options,
                               const double *w, double *r, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    int64_t best = tb_collect_sample(c, t);
    c->towers[t].sample = best;
    if (c->method->reads == TB_READS_LAST) return read_routed(c, t, w, best, r, error);
    bool undivided = false;
    tb_route_load load = {w, best, c->blocks[t], divides_rows(c, t), NULL};
    /* unless the caller asks for it, rows are divided where each has one attention of its own */
    if (options->rollout == TB_ROLLOUT_DEFAULT) load.undivided = &undivided;
    for (int b = 0; b < options->start_layer; b++) c->blocks[t][b] = NULL;
    TB_TRY(tb_route_run(tower->route, c->program, &load, r, c->budget, c->exec, error));
    if (!undivided) return TIBA_OK;
    c->towers[t].note = "several attentions share a residual sum: the text's rows are not divided "
                        "by their sums (--rollout raw)";
    load.normalized = false;
    return tb_route_run(tower->route, c->program, &load, r, c->budget, c->exec, error);
}

/* The result of a method that goes to the input; the pixels' sums become their patches'. */
static void read_source(tb_collect *c, int t, double *r) {
    const tb_plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    const tb_tower *at = &tower->tower;
    const float *x = c->pixels[t];
    memset(r, 0, (size_t)at->tokens * sizeof *r);
    if (!x) return; /* nothing has arrived */
    if (!tower->pixels) {
        for (int64_t i = 0; i < at->tokens; i++) r[i] = (double)x[i];
        return;
    }
    tb_pixel_axes axes;
    tb_pixel_axes_of(&axes, &tower->source->t);
    to->map = c->pixels[t];
    to->map_rows = axes.rows, to->map_columns = axes.columns;
    if (at->prefix + at->rows * at->columns > at->tokens) return;
    for (int64_t y = 0; y < axes.rows && at->rows; y++)
        for (int64_t i = 0; i < axes.columns; i++)
            r[at->prefix + y * at->rows / axes.rows * at->columns +
              i * at->columns / axes.columns] += (double)x[y * axes.columns + i];
}

/* The same for an input on every machine, whatever its processor rounds the output to. */
static uint64_t seed_of_inputs(const tb_collect *c) {
    uint64_t seed = 0;
    for (int i = 0; i < c->x->graph->n_inputs; i++) {
        const tb_value *value = c->x->graph->inputs[i];
        if (!value) continue;
        const tiba_tensor *t = value->active ? c->program->values[value->id] : &value->t;
        if (t && t->data) seed = seed * 31 + tb_seed_of(t->data, tb_tensor_bytes(t));
    }
    return seed;
}

static tiba_status read_result(tb_collect *c, int t, const double *w, double *r,
                               tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    if (c->method->reads == TB_READS_INPUT) {
        read_source(c, t, r);
        return TIBA_OK;
    }
    if (c->method->reads == TB_READS_NOTHING) {
        tb_random_numbers(r, tower->tower.tokens, seed_of_inputs(c) + (uint64_t)t);
        c->towers[t].sample = tb_collect_sample(c, t);
        return TIBA_OK;
    }
    if (tower->route) return roll_routed(c, t, c->options, w, r, error);
    memcpy(r, w, (size_t)tower->tower.tokens * sizeof *r);
    return roll_plain(c, t, c->options, r, error);
}

static void note_result(tb_tower_explanation *to, const tb_method *method, int64_t n) {
    bool zero = true;
    for (int64_t i = 0; i < n && zero; i++) zero = to->tokens[i] == 0.0f;
    for (int64_t i = 0; to->map && i < to->map_rows * to->map_columns && zero; i++)
        zero = to->map[i] == 0.0f;
    if (!zero) return;
    bool read = method->reads == TB_READS_INPUT;
    for (int64_t i = 0; i < to->readout_tokens && !read; i++) read = to->readout[i] > 0.0f;
    to->note = !read ? "the target's gradient reaches none of these tokens"
               : method->combine == TB_COMBINE_GRADCAM
                   ? "the map is zero everywhere: the heads' gradients speak against the target"
                   : "the map is zero everywhere";
}

/* w of a tower, from what has arrived at its readout. */
tiba_status tb_collect_read_out(tb_collect *c, int t, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    int64_t m = tb_collect_tokens(tower);
    double *w = c->read[t];
    to->readout = TB_NEW(c->arena, float, m);
    if (!to->readout) return tb_out_of_memory(error);
    for (int64_t i = 0; i < m; i++) to->relevance_in += w[i];
    to->nested = tower->nested;
    if (!tb_method_per_class(c->method)) memset(w, 0, (size_t)m * sizeof *w);
    scale_readout(w, c->reached[t], m);
    for (int64_t i = 0; i < m; i++) to->readout[i] = (float)w[i];
    to->readout_tokens = m;
    return TIBA_OK;
}

/* Adds what is to be known of the way that the row vector takes. */
static tiba_status note_way(tb_collect *c, int t, tiba_error *error) {
    const char *way = c->x->towers[t].note, **note = &c->towers[t].note;
    bool rolled = c->method->reads == TB_READS_ROLLOUT || c->method->reads == TB_READS_LAST;
    if (!way || !rolled) return TIBA_OK;
    *note = *note ? tb_arena_format(c->arena, "%s; %s", *note, way) : way;
    return *note ? TIBA_OK : tb_out_of_memory(error);
}

/* Is the attention in another tower as well, whose row vector comes to it? */
static bool is_elsewhere(const tb_collect *c, int t, int attention) {
    for (int of = 0; of < c->x->n_towers; of++)
        for (int b = 0; of != t && b < c->x->towers[of].tower.n_attentions; b++)
            if (c->x->towers[of].tower.attentions[b] == attention) return true;
    return false;
}

/* Does the gradient come to the tower's attentions, though none of what lies behind the last one
 * (at the readout) is read? Relevance 0 would say that the tokens do not matter. */
static tiba_status check_ways(const tb_collect *c, int t, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    bool read = c->method->combine != TB_COMBINE_GRADIENT_RELEVANCE, used = false;
    for (int64_t i = 0; i < tb_collect_tokens(tower) && !read; i++) read = c->reached[t][i] > 0.0;
    for (int b = 0; b < tower->tower.n_attentions && !read && !used; b++) {
        int index = tower->tower.attentions[b];
        const tb_attention *a = &c->x->analysis->attentions->attentions[index];
        const float *e = is_elsewhere(c, t, index) ? NULL : c->blocks[t][b];
        int64_t n = (tower->route ? a->groups : 1) * a->queries * a->keys;
        for (int64_t i = 0; e && i < n && !used; i++) used = e[i] > 0.0f;
    }
    if (!used) return TIBA_OK;
    const tb_value *input = c->x->graph->inputs[tower->tower.input];
    return tb_fail(error, TIBA_ERROR_INPUT,
                   "the target reads tokens of input '%s' below the last of their attentions, and "
                   "none behind it: no row vector begins there",
                   input ? input->name : "");
}

tiba_status tb_collect_roll_out(tb_collect *c, int t, tiba_error *error) {
    const tb_plan_tower *tower = &c->x->towers[t];
    tb_tower_explanation *to = &c->towers[t];
    int64_t n = tower->tower.tokens;
    to->tower = &tower->tower;
    to->routed = tower->route != NULL;
    to->tokens = TB_NEW(c->arena, float, n);
    double *r = TB_NEW(c->arena, double, n);
    if (!to->tokens || !r) return tb_out_of_memory(error);
    TB_TRY(check_ways(c, t, error));
    TB_TRY(read_result(c, t, c->read[t], r, error));
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(r[i]))
            return tb_fail(error, TIBA_ERROR_INPUT,
                           "the relevance of token %lld is not a finite number", (long long)i);
        to->tokens[i] = (float)r[i];
    }
    to->n_blocks = tower->tower.n_attentions;
    note_result(to, c->method, n);
    return note_way(c, t, error);
}
