#include "rules/reading.h"

#include <string.h>

#include "graph/reach.h"
#include "rules/explain_plan.h"

enum { MOST_READINGS = 6 };

typedef struct reader {
    const tb_explainer *x;
    const tb_plan_tower *tower;
    tb_arena *arena;
    unsigned char *tokens; /* by value id: follows from the readout and has its tokens */
    int n;                 /* different ways of reading so far */
    const char *texts[MOST_READINGS];
    tb_pooling pooling;
} reader;

const tb_reading *tb_reading_of(const tb_explainer *explainer, int tower) {
    return &explainer->towers[tower].reading;
}

const char *tb_pooling_name(tb_pooling pooling) {
    static const char *const names[] = {
        [TB_POOLING_EACH] = "none",     [TB_POOLING_TOKEN] = "token",
        [TB_POOLING_MEAN] = "mean",     [TB_POOLING_SUM] = "sum",
        [TB_POOLING_MAX] = "max",       [TB_POOLING_ATTENTION] = "attention",
        [TB_POOLING_LAYERS] = "layers", [TB_POOLING_SEVERAL] = "several"};
    return names[pooling];
}

/* Is the label one of the readout's token axes, made of one, or a part that it is made of? */
static bool is_token_label(const reader *r, int label) {
    const tb_axes *axes = r->x->analysis->axes;
    const tb_route *route = r->tower->route;
    for (int i = 0; label >= 0 && i < (route ? route->readout.n : 1); i++) {
        int tokens = route ? route->readout.factors[i].label : r->tower->tower.label;
        if (tb_label_includes(axes, label, tokens) || tb_label_includes(axes, tokens, label))
            return true;
    }
    return false;
}

/* How many tokens the value has along its axes; 1: none. */
static int64_t tokens_of(const reader *r, const tb_value *value) {
    const tb_value_axes *axes = r->x->analysis->axes->values[value->id];
    int64_t count = 1;
    for (int i = 0; axes && i < axes->n; i++)
        if (is_token_label(r, axes->factors[i].label)) count *= axes->factors[i].count;
    return count;
}

static int64_t all_tokens(const reader *r) {
    return r->tower->route ? r->tower->route->readout.tokens : r->tower->tower.tokens;
}

static void add_reading(reader *r, tb_pooling pooling, const char *text) {
    for (int i = 0; text && i < r->n; i++)
        if (strcmp(r->texts[i], text) == 0) return;
    if (!text || r->n == MOST_READINGS) return;
    r->pooling = r->n ? TB_POOLING_SEVERAL : pooling;
    r->texts[r->n++] = text;
}

static const char *over(const reader *r, const char *what, const tb_value *value) {
    int64_t some = tokens_of(r, value), all = all_tokens(r);
    if (some == all) return tb_arena_format(r->arena, "%s over all tokens", what);
    return tb_arena_format(r->arena, "%s over %lld of %lld tokens", what, (long long)some,
                           (long long)all);
}

/* The constant index by which the node takes one token of n; false: it takes others, or in another
 * way. */
static bool taken(const tb_node *node, const tb_value *in, int64_t n, int64_t *index) {
    bool nd = tb_is(node, TB_OP_GatherND);
    if (!nd && !tb_is(node, TB_OP_Gather) && !tb_is(node, TB_OP_Slice)) return false;
    const tiba_tensor *t = &node->in[1]->t;
    /* of an element's coordinates the last one is the token's, if it runs along an axis of all */
    int64_t each = nd && t->rank > 0 ? t->dims[t->rank - 1] : 1;
    int64_t dim = tb_attr_int(node, "batch_dims", 0) + each - 1;
    if (!t->data || tb_tensor_count(t) != each || (nd && in->t.dims[dim] != n)) return false;
    *index = tb_get_i64(t, each - 1);
    return true;
}

/* Where along its axis the one token lies that a move of elements takes; -1: not known. */
static int64_t place(const reader *r, const tb_node *node, int out, const tb_value *in) {
    int64_t at = -1, sum = 0, n = all_tokens(r);
    if (tokens_of(r, in) != n) return -1;
    if (taken(node, in, n, &at) && at < 0) at += n;
    if (tb_is(node, TB_OP_Split) && tokens_of(r, node->out[out]) == 1) {
        int64_t axis = tb_attr_int(node, "axis", 0);
        if (axis < 0) axis += in->t.rank;
        for (int i = 0; i < out && sum >= 0; i++)
            sum = node->out[i] ? sum + node->out[i]->t.dims[axis] : -1;
        at = sum;
    }
    return at >= 0 && at < n ? at : -1;
}

static void read_token(reader *r, const tb_node *node, int out, const tb_value *in) {
    int64_t at = place(r, node, out, in), n = all_tokens(r);
    add_reading(r, TB_POOLING_TOKEN,
                at < 0        ? "one token"
                : at == 0     ? "the first token"
                : at == n - 1 ? "the last token"
                              : tb_arena_format(r->arena, "token %lld", (long long)at));
}

/* A sum that is only divided by, or multiplied with, a constant is a mean. */
static bool is_mean(const tb_value *sum) {
    for (int i = 0; i < sum->n_uses; i++) {
        const tb_use *use = &sum->uses[i];
        bool scales = tb_is(use->node, TB_OP_Div) ? use->index == 0 : tb_is(use->node, TB_OP_Mul);
        if (!scales || use->node->in[!use->index]->active) return false;
    }
    return sum->n_uses > 0;
}

/* The node takes `in`, which has tokens, and its output `out` has none (or fewer axes of them). */
static void read_by(reader *r, const tb_node *node, int out, const tb_value *in) {
    const tb_attentions *found = r->x->analysis->attentions;
    for (int i = 0; i < found->n_attentions; i++)
        if (found->attentions[i].product == node) {
            add_reading(r, TB_POOLING_ATTENTION,
                        tb_arena_format(r->arena,
                                        "an attention of %lld other quer%s over all tokens",
                                        (long long)found->attentions[i].queries,
                                        found->attentions[i].queries == 1 ? "y" : "ies"));
            return;
        }
    static const struct {
        tb_op_kind op;
        tb_pooling pooling;
        const char *what;
    } rows[] = {{TB_OP_ReduceMean, TB_POOLING_MEAN, "a mean"},
                {TB_OP_GlobalAveragePool, TB_POOLING_MEAN, "a mean"},
                {TB_OP_ReduceSum, TB_POOLING_SUM, "a sum"},
                {TB_OP_ReduceMax, TB_POOLING_MAX, "a maximum"},
                {TB_OP_GlobalMaxPool, TB_POOLING_MAX, "a maximum"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!tb_is(node, rows[i].op)) continue;
        bool mean = rows[i].pooling == TB_POOLING_SUM && is_mean(node->out[0]);
        add_reading(r, mean ? TB_POOLING_MEAN : rows[i].pooling,
                    over(r, mean ? "a mean" : rows[i].what, in));
        return;
    }
    /* what moves elements and keeps them all (Concat of flattened tokens and other numbers) takes
     * none of the tokens */
    bool fewer = tb_tensor_count(&node->out[out]->t) < tb_tensor_count(&in->t);
    if (node->op->class == TB_CLASS_MOVE && fewer)
        read_token(r, node, out, in);
    else
        add_reading(r, TB_POOLING_LAYERS, "all tokens through further layers");
}

tiba_status tb_reading_find(tb_reading *out, const tb_explainer *explainer, int tower,
                            tb_arena *arena, tiba_error *error) {
    const tb_graph *graph = explainer->graph;
    reader r = {.x = explainer, .tower = &explainer->towers[tower], .arena = arena};
    unsigned char *above = TB_NEW(arena, unsigned char, graph->n_values);
    r.tokens = TB_NEW(arena, unsigned char, graph->n_values);
    if (!above || !r.tokens) return tb_out_of_memory(error);
    tb_mark_ancestors(graph, explainer->target, above);
    r.tokens[r.tower->readout->id] = 1;
    for (const tb_node *node = graph->first; node; node = node->next)
        for (int k = 0; k < node->n_out; k++) {
            const tb_value *value = node->out[k], *from = NULL;
            if (!value || !above[value->id] || value == r.tower->readout) continue;
            for (int i = 0; i < node->n_in && !from; i++)
                if (node->in[i] && r.tokens[node->in[i]->id]) from = node->in[i];
            if (!from) continue;
            /* a normalisation's own sum over tokens, or a softmax's largest score, reads none */
            bool inside = explainer->regions->of_node[node->id] >= 0;
            if (tokens_of(&r, value) > 1 || tokens_of(&r, from) == 1)
                r.tokens[value->id] = 1;
            else if (!inside)
                read_by(&r, node, k, from);
        }
    out->pooling = r.n ? r.pooling : TB_POOLING_EACH;
    out->text = r.n ? r.texts[0] : "each token for itself";
    for (int i = 1; i < r.n && out->text; i++)
        out->text =
            tb_arena_format(arena, "%s%s%s", out->text, i + 1 < r.n ? ", " : " and ", r.texts[i]);
    return out->text ? TIBA_OK : tb_out_of_memory(error);
}
