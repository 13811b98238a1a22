/*
 * pattern_maker.h: makes a graph from a pattern's own term, at random: which alternative, which
 * order of commutative operands, where a Cast, Identity or Expand stands in between, how a reduced
 * axis is put back, whether a value that is read twice is computed twice. The same seed makes the
 * same graph. A mutation changes one thing that the pattern must not overlook.
 */
#ifndef TB_TESTS_PATTERN_MAKER_H
#define TB_TESTS_PATTERN_MAKER_H

#include <stdlib.h>
#include <string.h>

#include "graph/raise.h"
#include "tests/interpret.h"
#include "tests/support.h"

typedef enum mutation_kind {
    NO_MUTATION,
    OTHER_NUMBER, /* a constant is off by 1 % */
    SWAPPED,      /* operands of Sub, Div or Pow change places */
    INNER_OUTPUT, /* an inner value is a graph output */
    INNER_USE,    /* an inner value is read by another node */
    OTHER_AXIS,   /* one reduction works along another axis */
    MUTATION_KINDS
} mutation_kind;

enum { MAKER_NAMES = 24, MAKER_CHOICES = 512, MAKER_INPUTS = 4, MAKER_OUTPUTS = 4 };

/* Which alternatives of each ONE_OF were taken, over all graphs, and the choices of the last one.
 */
typedef struct maker_coverage {
    const tb_term *terms[MAKER_CHOICES];
    int taken[MAKER_CHOICES][TB_TERM_MAX_IN];
    int count;
    int choices[MAKER_CHOICES], n_choices;
    bool replay; /* make the last graph again */
} maker_coverage;

typedef struct maker {
    tb_budget budget;
    tb_arena *arena;
    tb_exec exec;
    tb_builder b;
    const tb_pattern *pattern;
    uint64_t rng;
    maker_coverage *coverage;
    mutation_kind mutation;
    int target;    /* the how-manieth place that the mutation fits is changed */
    int places;    /* places seen */
    int n_choices; /* taken so far */
    unsigned axes;
    bool by_row; /* a constant differs from row to row */
    int64_t dims[3];
    struct {
        const char *name;
        tb_value *value;
        double number;
    } names[MAKER_NAMES];
    int n_names;
    tb_value *mutated; /* the value of INNER_OUTPUT and INNER_USE */
    tb_value *inputs[MAKER_INPUTS], *outputs[MAKER_OUTPUTS];
    tb_feed feeds[MAKER_INPUTS];
    tiba_error error;
} maker;

static inline int maker_pick(maker *m, int n) {
    return (int)(test_uniform(&m->rng) * n);
}

/* Is this the place that the mutation is for? */
static inline bool maker_mutates(maker *m, mutation_kind kind) {
    return m->mutation == kind && m->places++ == m->target;
}

static inline tb_value *maker_op(maker *m, tb_op_kind kind, int n_in, tb_value *const *in,
                                 int n_attrs, const tb_attr *attrs) {
    tb_value *out = NULL;
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return NULL;
    if (tb_build1(&m->b, &out, kind, n_in, in, n_attrs, attrs, &m->error) != TIBA_OK) return NULL;
    return out;
}

static inline tb_value *maker_tensor(maker *m, int rank, const int64_t *dims, double low,
                                     double high) {
    int64_t count;
    if (!tb_count(&count, rank, dims)) return NULL;
    float *data = calloc((size_t)count + 1, sizeof *data);
    for (int64_t i = 0; i < count; i++)
        data[i] = (float)(low + (high - low) * test_uniform(&m->rng));
    tb_value *value = NULL;
    tb_build_constant(&m->b, &value, TIBA_FLOAT32, rank, dims, data, &m->error);
    free(data);
    return value;
}

static inline tb_value *maker_number(maker *m, double number) {
    return maker_tensor(m, maker_pick(m, 3), (int64_t[]){1, 1, 1}, number, number);
}

static inline tb_value *maker_input(maker *m, const char *name, int rank, const int64_t *dims) {
    int at = m->b.graph->n_inputs;
    if (at == MAKER_INPUTS) return NULL;
    tb_value *value = tb_graph_value(m->b.graph, name);
    value->t = (tiba_tensor){.dtype = TIBA_FLOAT32, .rank = rank};
    memcpy(value->t.dims, dims, (size_t)rank * sizeof *dims);
    value->input = at;
    value->active = true;
    m->inputs[at] = value;
    m->b.graph->inputs = m->inputs;
    m->b.graph->n_inputs++;
    tiba_tensor data;
    tb_tensor_create(&data, m->arena, TIBA_FLOAT32, rank, dims, &m->error);
    for (int64_t i = 0; i < tb_tensor_count(&data); i++)
        ((float *)data.data)[i] = (float)(4 * test_uniform(&m->rng) - 1.8);
    m->feeds[at] = (tb_feed){name, data};
    return value;
}

/* An input that is the same along the axes. */
static inline tb_value *maker_rows(maker *m, const char *name) {
    int64_t dims[3];
    for (int i = 0; i < 3; i++) dims[i] = m->axes >> i & 1 ? 1 : m->dims[i];
    return maker_input(m, name, 3, dims);
}

static inline void maker_output(maker *m, tb_value *value) {
    if (!value || value->is_output || m->b.graph->n_outputs == MAKER_OUTPUTS) return;
    value->is_output = true;
    m->outputs[m->b.graph->n_outputs++] = value;
    m->b.graph->outputs = m->outputs;
}

static inline void maker_name(maker *m, const char *name, tb_value *value, double number) {
    if (!name || m->n_names == MAKER_NAMES) return;
    m->names[m->n_names].name = name;
    m->names[m->n_names].value = value;
    m->names[m->n_names++].number = number;
}

static inline int maker_find(const maker *m, const char *name) {
    for (int i = 0; name && i < m->n_names; i++)
        if (strcmp(m->names[i].name, name) == 0) return i;
    return -1;
}

static inline tb_value *maker_constant(maker *m, tb_constant_use use) {
    int first = 0, extra = maker_pick(m, 2);
    while (first < 2 && !(m->axes >> first & 1)) first++;
    int64_t one[3] = {1, 1, 1}, row = m->dims[2] + 1;
    switch (use) {
    case TB_FOR_MATRIX:
        extra = 0; /* fall through */
    case TB_FOR_WEIGHT:
        return maker_tensor(m, 2 + extra,
                            extra ? (int64_t[]){1, m->dims[2], row} : (int64_t[]){m->dims[2], row},
                            -1, 1);
    case TB_FOR_ROWS: {
        const int64_t last = m->dims[1] - 1;
        tb_value *rows = maker_tensor(m, 2, (int64_t[]){2, last + 1}, 0, 0);
        ((float *)rows->t.data)[last] = ((float *)rows->t.data)[last + 1] = 1; /* last, first */
        return rows;
    }
    case TB_FOR_ROW_SUM:
        return maker_tensor(m, 2, (int64_t[]){1, m->dims[1]}, 0.4, 0.4);
    case TB_FOR_SUM:
        return maker_tensor(m, 2, (int64_t[]){m->dims[2], 1}, 0.4, 0.4);
    case TB_FOR_BIAS:
        return extra ? maker_tensor(m, 3, (int64_t[]){1, 1, maker_pick(m, 2) ? row : 1}, -1, 1)
                     : maker_tensor(m, 1, &row, -1, 1);
    case TB_FOR_SINK:
        for (int i = 0; i < 3; i++) one[i] = m->axes >> i & 1 ? 1 : m->dims[i];
        m->by_row |= extra > 0;
        return extra ? maker_tensor(m, 3, one, 0.5, 1.5) : maker_tensor(m, 0, one, 0.5, 1.5);
    case TB_FOR_ONES:
        return maker_tensor(m, 3 - first, m->dims + first, 1, 1);
    default:
        if (extra) {
            memcpy(one + first, m->dims + first, (size_t)(3 - first) * sizeof *one);
            return maker_tensor(m, 3, one, 0.5, 1.5);
        }
        return maker_tensor(m, 3 - first, m->dims + first, 0.5, 1.5);
    }
}

static inline tb_value *maker_scalar(maker *m, const tb_term *term) {
    int known = maker_find(m, term->name);
    double number = 1 + test_uniform(&m->rng);
    if (strcmp(term->name, "epsilon") == 0) number *= 1e-2;
    if (strcmp(term->name, "tiny") == 0) number *= 1e-9;
    if (strcmp(m->pattern->name, "sigmoid") == 0) number = 1;
    if (known >= 0)
        number = m->names[known].number;
    else
        maker_name(m, term->name, NULL, number);
    return maker_number(m, number / term->number);
}

static inline int maker_attrs(const maker *m, const tb_term *term, tb_attr *attrs) {
    int n = 0, first = 0;
    while (!(m->axes >> first & 1)) first++;
    for (const tb_term_attr *a = term->attrs; a && a->attr; a++)
        attrs[n++] = a->is_float                    ? TB_FLOAT_ATTR(a->attr, (float)a->value)
                     : strcmp(a->attr, "axis") == 0 ? TB_INT_ATTR(a->attr, first)
                                                    : TB_INT_ATTR(a->attr, (int64_t)a->value);
    return n;
}

/* A reduction or Softmax along the pattern's axes (or others, as the mutation has it). */
static inline tb_value *maker_along(maker *m, const tb_term *term, tb_value *in) {
    unsigned axes = m->axes;
    if (maker_mutates(m, OTHER_AXIS)) axes = m->axes == 2 ? 4 : 2;
    int64_t list[3], n = 0;
    int64_t kept[3] = {m->dims[0], m->dims[1], m->dims[2]};
    for (int i = 0; i < 3; i++)
        if (axes >> i & 1) {
            kept[i] = 1;
            list[n++] = maker_pick(m, 2) ? i : i - 3;
        }
    tb_value *positions = NULL, *shape = NULL;
    if (tb_ops[term->op].class != TB_CLASS_REDUCE)
        return maker_op(m, term->op, 1, &in, 1, &TB_INT_ATTR("axis", list[0]));
    tb_build_ints(&m->b, &positions, (int)n, list, &m->error);
    tb_build_ints(&m->b, &shape, 3, kept, &m->error);
    int how = maker_pick(m, 4);
    tb_value *out = maker_op(m, term->op, 2, (tb_value *[]){in, positions}, 1,
                             &TB_INT_ATTR("keepdims", how > 1));
    if (how == 0) out = maker_op(m, TB_OP_Unsqueeze, 2, (tb_value *[]){out, positions}, 0, NULL);
    if (how == 1) out = maker_op(m, TB_OP_Reshape, 2, (tb_value *[]){out, shape}, 0, NULL);
    return out;
}

/* A second copy of the value's node, a Cast, an Identity, or the value itself. */
static inline tb_value *maker_wrap(maker *m, tb_value *value, bool again) {
    int how = maker_pick(m, 12);
    tb_node *node = value ? value->producer : NULL;
    if (again && how < 3 && node && node->n_out == 1)
        return maker_op(m, node->op->kind, node->n_in, node->in, node->n_attrs, node->attrs);
    if (how == 3) return maker_op(m, TB_OP_Identity, 1, &value, 0, NULL);
    if (how == 4) return maker_op(m, TB_OP_Cast, 1, &value, 1, &TB_INT_ATTR("to", TIBA_FLOAT32));
    return value;
}

static inline tb_value *maker_term(maker *m, const tb_term *term, bool is_root);

/* x + n as x - (-n), x / n as x · (1/n) and the other way about, now and then. */
static inline tb_op_kind maker_respell(maker *m, const tb_term *term, tb_value **in) {
    static const tb_op_kind pairs[][2] = {{TB_OP_Add, TB_OP_Sub}, {TB_OP_Mul, TB_OP_Div}};
    for (int k = 0; k < 4; k++) {
        const tb_term *number = term->in[0] && term->in[1] && !term->in[2] ? term->in[1] : NULL;
        if (term->op != pairs[k / 2][k % 2] || !number || maker_pick(m, 3)) continue;
        bool one = number->kind == TB_TERM_NUMBER || number->kind == TB_TERM_SCALAR ||
                   number->kind == TB_TERM_COUNT;
        if (!one || !in[1] || tb_tensor_count(&in[1]->t) != 1) continue;
        double v = tb_get_f64(&in[1]->t, 0);
        in[1] = maker_number(m, k < 2 ? -v : 1 / v);
        return pairs[k / 2][1 - k % 2];
    }
    return term->op;
}

/* Is it computed and as large as x? */
static inline bool maker_is_whole(const maker *m, const tb_value *value) {
    return !value->t.data && value->t.rank == 3 &&
           memcmp(value->t.dims, m->dims, sizeof m->dims) == 0 &&
           !(value->producer && tb_is(value->producer, TB_OP_Expand));
}

/* a · (b · c) instead of (a · b) · c, now and then. Statistics stay in one piece, and where a
 * number may stand is said by the patterns' alternatives. */
static inline void maker_reassociate(maker *m, tb_op_kind op, tb_value **in) {
    if ((op != TB_OP_Add && op != TB_OP_Mul) || maker_pick(m, 4)) return;
    for (int k = 0; k < 2; k++) {
        tb_node *node = in[k] ? in[k]->producer : NULL;
        if (!node || !in[1 - k] || !tb_is(node, op) || in[k]->n_uses || in[k]->is_output) continue;
        bool whole = maker_is_whole(m, node->in[0]) && maker_is_whole(m, node->in[1]) &&
                     maker_is_whole(m, in[1 - k]);
        bool named = in[k] == m->mutated;
        for (int i = 0; i < m->n_names; i++) named = named || m->names[i].value == in[k];
        if (named || !whole) continue;
        int stays = maker_pick(m, 2);
        tb_value *first = node->in[stays], *second = node->in[1 - stays], *other = in[1 - k];
        tb_node_remove(m->b.graph, node);
        in[0] = first;
        in[1] = maker_op(m, op, 2, (tb_value *[]){second, other}, 0, NULL);
        return;
    }
}

static inline tb_value *maker_node(maker *m, const tb_term *term, bool is_root) {
    tb_value *in[4] = {NULL};
    tb_attr attrs[8];
    int n = 0;
    for (; n < 4 && term->in[n]; n++) in[n] = maker_term(m, term->in[n], false);
    tb_op_kind op = maker_respell(m, term, in);
    maker_reassociate(m, op, in);
    bool commutes = op == TB_OP_Add || op == TB_OP_Mul || op == TB_OP_Max || op == TB_OP_Min;
    bool directed = op == TB_OP_Sub || op == TB_OP_Div || op == TB_OP_Pow;
    if ((commutes && maker_pick(m, 2)) || (directed && maker_mutates(m, SWAPPED))) {
        tb_value *first = in[0];
        in[0] = in[1];
        in[1] = first;
    }
    /* Broadcasting written out. */
    for (int i = 0; i < n && (commutes || directed); i++)
        if (in[i] && in[i]->t.rank == 3 && !in[i]->t.data && in[i]->producer &&
            in[i]->t.dims[2] == 1 && maker_pick(m, 6) == 0) {
            tb_value *shape;
            tb_build_ints(&m->b, &shape, 3, m->dims, &m->error);
            in[i] = maker_op(m, TB_OP_Expand, 2, (tb_value *[]){in[i], shape}, 0, NULL);
        }
    int n_attrs = maker_attrs(m, term, attrs);
    tb_value *out =
        term->axes ? maker_along(m, term, in[0]) : maker_op(m, op, n, in, n_attrs, attrs);
    if (is_root || !out || out->t.data) return out;
    if (maker_mutates(m, INNER_OUTPUT)) maker_output(m, m->mutated = out);
    if (maker_mutates(m, INNER_USE)) {
        m->mutated = out;
        maker_output(m, maker_op(m, TB_OP_Neg, 1, &out, 0, NULL));
    }
    return maker_wrap(m, out, false);
}

static inline tb_value *maker_one_of(maker *m, const tb_term *term, bool is_root) {
    int n = 0, at = 0;
    while (n < TB_TERM_MAX_IN && term->in[n]) n++;
    int choice = maker_pick(m, n);
    maker_coverage *c = m->coverage;
    if (c) {
        while (at < c->count && c->terms[at] != term) at++;
        if (at == c->count && at < MAKER_CHOICES) c->terms[c->count++] = term;
        if (at == MAKER_CHOICES || m->n_choices == MAKER_CHOICES) return NULL;
        for (int i = 0; i < n && c->taken[at][choice]; i++) choice = (choice + 1) % n;
        if (c->replay) choice = c->choices[m->n_choices];
        c->choices[m->n_choices++] = choice;
        c->taken[at][choice] = 1;
    }
    return maker_term(m, term->in[choice], is_root);
}

static inline tb_value *maker_term(maker *m, const tb_term *term, bool is_root) {
    int known = maker_find(m, term->name);
    if (known >= 0 && term->kind != TB_TERM_SCALAR)
        return maker_wrap(m, m->names[known].value, true);
    tb_value *value = NULL;
    double count = 1;
    for (int i = 0; i < 3; i++)
        if (m->axes >> i & 1) count *= (double)m->dims[i];
    switch (term->kind) {
    case TB_TERM_ANY:
        if (m->pattern->last_axis && strcmp(term->name, "values") == 0)
            value = maker_input(m, term->name, 3, (int64_t[]){m->dims[0], m->dims[2], m->dims[2]});
        else if (term->axes)
            value = maker_rows(m, term->name);
        else
            value = maker_input(m, term->name, 3, m->dims);
        break;
    case TB_TERM_CONSTANT:
        value = maker_constant(m, term->use);
        break;
    case TB_TERM_SCALAR:
        return maker_scalar(m, term);
    case TB_TERM_COUNT:
        return maker_number(m, count);
    case TB_TERM_NUMBER: {
        double off = maker_mutates(m, OTHER_NUMBER) ? 0.01 : 0;
        return maker_number(m, term->number + off * (term->number == 0 ? 1 : term->number));
    }
    case TB_TERM_OP:
        value = maker_node(m, term, is_root);
        break;
    case TB_TERM_ONE_OF:
        value = maker_one_of(m, term, is_root);
        break;
    }
    maker_name(m, term->name, value, 0);
    return value;
}

/* Starts an empty graph; maker_end frees it. */
static inline void maker_begin(maker *m, const tb_pattern *pattern, uint64_t seed,
                               mutation_kind mutation, int target) {
    *m = (maker){.pattern = pattern, .rng = seed, .mutation = mutation, .target = target};
    m->arena = tb_arena_create(&m->budget);
    m->exec = (tb_exec){.budget = &m->budget};
    m->b = (tb_builder){.graph = tb_graph_create(m->arena), .exec = &m->exec, .origin = "made"};
    static const int64_t dims[3] = {2, 5, 7};
    memcpy(m->dims, dims, sizeof dims);
}

static inline void maker_end(maker *m) {
    tb_scratch_free(&m->exec);
    tb_arena_destroy(m->arena);
}

/* The pattern's graph; false if the mutation had no place or made shapes that do not fit. */
static inline bool maker_make(maker *m, const tb_pattern *pattern, uint64_t seed,
                              mutation_kind mutation, int target, maker_coverage *coverage) {
    maker_begin(m, pattern, seed, mutation, target);
    m->coverage = coverage;
    m->axes = pattern->any_axis                             ? 1u << maker_pick(m, 3)
              : pattern->last_axis || maker_pick(m, 4) != 0 ? 4
                                                            : 6;
    tb_value *out = maker_term(m, pattern->term, true);
    bool fits = mutation == NO_MUTATION || m->places > target;
    if (!out || out->t.data || !fits) {
        maker_end(m);
        return false;
    }
    maker_output(m, out);
    return true;
}

/* Does the pattern have shapes of Reshape, which are not made up here? */
static inline bool maker_needs_shapes(const tb_term *term) {
    if (term->kind == TB_TERM_CONSTANT) return term->use == TB_FOR_SHAPE;
    for (int i = 0; i < TB_TERM_MAX_IN && term->in[i]; i++)
        if (maker_needs_shapes(term->in[i])) return true;
    return false;
}

#endif
