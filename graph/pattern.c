#include "graph/pattern.h"

#include <math.h>
#include <string.h>

/* Enough for every row of the tables many times over; a graph made to be slow stops here. */
enum { MAX_EFFORT = 5000, MAX_SAME_DEPTH = 6 };
/* Larger constants are not looked through: none of them is an expanded scale or bias. */
enum { MAX_CONSTANT = 1 << 22 };

/* How a number is written: x + n is x - (-n), and x · n is x / (1/n). */
typedef enum spelling { AS_IT_IS, NEGATED, INVERTED } spelling;

/* What is left to show: `value` is computed as `term` says. The list lives on the call stack, so
 * that going back to an earlier choice is a return. */
typedef struct goal {
    const tb_term *term;
    tb_value *value;
    const tb_node *reader; /* NULL at the root */
    const struct goal *next;
    spelling spelling; /* of a number */
} goal;

static bool solve(const tb_pattern *pattern, tb_match *match, const goal *g);

/* --- values ------------------------------------------------------------------------------- */

static bool is_float_cast(const tb_node *node) {
    return tb_is(node, TB_OP_Cast) && node->in[0]->t.dtype == TIBA_FLOAT32 &&
           node->out[0]->t.dtype == TIBA_FLOAT32;
}

static bool is_transparent(const tb_node *node) {
    return tb_is(node, TB_OP_Identity) || is_float_cast(node);
}

tb_value *tb_peel(tb_value *value) {
    while (value && is_transparent(value->producer)) value = value->producer->in[0];
    return value;
}

bool tb_uniform_constant(const tb_value *value, double *out) {
    if (!value || !value->t.data ||
        (value->t.dtype != TIBA_FLOAT32 && !tb_dtype_is_integer(value->t.dtype)))
        return false;
    int64_t count = tb_tensor_count(&value->t);
    if (count < 1 || count > MAX_CONSTANT) return false;
    double first = tb_get_f64(&value->t, 0);
    for (int64_t i = 1; i < count; i++)
        if (tb_get_f64(&value->t, i) != first) return false;
    *out = first;
    return true;
}

bool tb_row_constant(const tb_value *value, int64_t *n) {
    if (!value || !value->t.data || value->t.dtype != TIBA_FLOAT32) return false;
    int64_t count = tb_tensor_count(&value->t);
    int64_t row = value->t.rank > 0 ? value->t.dims[value->t.rank - 1] : 1;
    if (count < 1 || (count > MAX_CONSTANT && count > row)) return false;
    const float *data = value->t.data;
    for (int64_t i = row; i < count; i++)
        if (data[i] != data[i - row]) return false;
    *n = row;
    return true;
}

bool tb_term_near(double v, double n) {
    float narrow = (float)n;
    bool exact = tb_bfloat_to_float(tb_float_to_bfloat(narrow)) == narrow;
    return fabs(v - n) <= fabs(n) * (exact ? 1e-6 : 2e-3);
}

static bool under_broadcast(const tb_node *reader) {
    return reader && (reader->op->class == TB_CLASS_BINARY || reader->op->class == TB_CLASS_UNARY);
}

/* The same for a matched value that element-wise arithmetic reads: writing the broadcast out or
 * not makes no difference, since the result's shape is compared in the end. */
static tb_value *peel_inside(tb_value *value, const tb_node *reader) {
    bool widens = under_broadcast(reader);
    while (is_transparent(value->producer) || (widens && tb_is(value->producer, TB_OP_Expand)))
        value = value->producer->in[0];
    return value;
}

/* --- trail -------------------------------------------------------------------------------- */

typedef struct mark {
    int n_bindings, n_nodes, axes_rank;
    unsigned axes;
    int64_t count;
} mark;

static mark set_mark(const tb_match *match) {
    return (mark){match->n_bindings, match->n_nodes, match->axes_rank, match->axes, match->count};
}

static void go_back(tb_match *match, const mark *to) {
    match->n_bindings = to->n_bindings;
    match->n_nodes = to->n_nodes;
    match->axes_rank = to->axes_rank;
    match->axes = to->axes;
    match->count = to->count;
}

static bool has_node(const tb_match *match, const tb_node *node) {
    for (int i = 0; i < match->n_nodes; i++)
        if (match->nodes[i] == node) return true;
    return false;
}

static bool add_node(tb_match *match, tb_node *node) {
    if (has_node(match, node)) return true;
    if (match->n_nodes == TB_MATCH_MAX_NODES) return false;
    match->nodes[match->n_nodes++] = node;
    return true;
}

static tb_binding *find(const tb_match *match, const char *name) {
    for (int i = 0; i < match->n_bindings; i++)
        if (match->bindings[i].name == name || strcmp(match->bindings[i].name, name) == 0)
            return (tb_binding *)&match->bindings[i];
    return NULL;
}

static bool add_binding(tb_match *match, tb_binding binding) {
    if (match->n_bindings == TB_MATCH_MAX_NAMES) return false;
    match->bindings[match->n_bindings++] = binding;
    return true;
}

tb_value *tb_match_value(const tb_match *match, const char *name) {
    const tb_binding *binding = find(match, name);
    return binding ? binding->value : NULL;
}

double tb_match_number(const tb_match *match, const char *name, double fallback) {
    const tb_binding *binding = find(match, name);
    return binding ? binding->number : fallback;
}

void tb_match_bind(tb_match *match, const char *name, tb_value *value) {
    tb_binding *binding = find(match, name);
    if (binding)
        binding->value = value;
    else
        add_binding(match, (tb_binding){.name = name, .value = value});
}

/* --- equal computations ------------------------------------------------------------------- */

static bool same_attr(const tb_attr *a, const tb_attr *b) {
    if (!b || a->kind != b->kind) return false;
    switch (a->kind) {
    case TB_ATTR_INT:
        return a->i == b->i;
    case TB_ATTR_FLOAT:
        return a->f == b->f;
    case TB_ATTR_STRING:
        return strcmp(a->s, b->s) == 0;
    case TB_ATTR_INTS:
        return a->count == b->count &&
               memcmp(a->ints, b->ints, (size_t)a->count * sizeof *a->ints) == 0;
    default:
        return false;
    }
}

static bool same_constant(const tb_value *a, const tb_value *b) {
    return a->t.data && b->t.data && a->t.dtype == b->t.dtype && tb_same_shape(&a->t, &b->t) &&
           memcmp(a->t.data, b->t.data, tb_tensor_bytes(&a->t)) == 0;
}

/* Is `b` the value `a`, or computed by equal steps from equal values? The nodes of those steps join
 * the match if `inside`: they are a second copy of matched ones. */
static bool same_value(tb_match *match, tb_value *a, tb_value *b, bool inside, int depth) {
    a = tb_peel(a);
    for (; b && a != b && is_transparent(b->producer); b = b->producer->in[0])
        if (inside && !add_node(match, b->producer)) return false;
    if (a == b) return true;
    if (!a || !b || depth == 0 || match->effort++ > MAX_EFFORT) return false;
    if (same_constant(a, b)) return true;
    tb_node *m = a->producer, *n = b->producer;
    if (!m || !n || m->op != n->op || a->index != b->index || m->n_in != n->n_in ||
        m->n_attrs != n->n_attrs)
        return false;
    for (int i = 0; i < m->n_attrs; i++)
        if (!same_attr(&m->attrs[i], tb_find_attr(n, m->attrs[i].name))) return false;
    for (int i = 0; i < m->n_in; i++)
        if (!same_value(match, m->in[i], n->in[i], inside && has_node(match, m), depth - 1))
            return false;
    return !inside || !has_node(match, m) || add_node(match, n);
}

/* --- reductions --------------------------------------------------------------------------- */

/* The axes that a reduction or Softmax works along, as bits; 0 if they cannot be told. */
static unsigned axes_of(const tb_node *node) {
    int rank = node->in[0]->t.rank;
    unsigned axes = 0;
    if (node->op->class != TB_CLASS_REDUCE) {
        int64_t axis = tb_attr_int(node, "axis", -1);
        if (axis < 0) axis += rank;
        return axis >= 0 && axis < rank ? 1u << axis : 0;
    }
    const tb_value *list = node->n_in > 1 ? node->in[1] : NULL;
    int64_t count = list && list->t.data ? tb_tensor_count(&list->t) : 0;
    if (list && !list->t.data) return 0;
    if (count == 0) return tb_attr_int(node, "noop_with_empty_axes", 0) ? 0 : (1u << rank) - 1;
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = tb_get_i64(&list->t, i);
        if (axis < 0) axis += rank;
        if (axis < 0 || axis >= rank) return 0;
        axes |= 1u << axis;
    }
    return axes;
}

/* Does `value`, made from the reduction by nothing or by Unsqueeze or Reshape, have the input's
 * rank with ones along the axes? */
static bool keeps_axes(const tb_value *value, const tb_node *reduction, unsigned axes) {
    const tiba_tensor *in = &reduction->in[0]->t, *out = &value->t;
    if (out->rank != in->rank) return false;
    for (int i = 0; i < in->rank; i++)
        if (out->dims[i] != (axes >> i & 1 ? 1 : in->dims[i])) return false;
    return true;
}

static bool match_axes(tb_match *match, const tb_node *node, const tb_value *restored) {
    unsigned axes = axes_of(node);
    int rank = node->in[0]->t.rank;
    if (axes == 0 || (match->axes && (axes != match->axes || rank != match->axes_rank)))
        return false;
    if (node->op->class == TB_CLASS_REDUCE && !keeps_axes(restored, node, axes)) return false;
    match->axes = axes;
    match->axes_rank = rank;
    match->count = 1;
    for (int i = 0; i < rank; i++)
        if (axes >> i & 1) match->count *= node->in[0]->t.dims[i];
    return true;
}

/* --- goals -------------------------------------------------------------------------------- */

static bool match_attrs(tb_match *match, const tb_term *term, const tb_node *node) {
    for (const tb_term_attr *a = term->attrs; a && a->attr; a++) {
        double v = a->is_float ? (double)tb_attr_float(node, a->attr, (float)a->value)
                               : (double)tb_attr_int(node, a->attr, (int64_t)a->value);
        if (!a->name && !tb_term_near(v, a->value)) return false;
        if (a->name && !add_binding(match, (tb_binding){.name = a->name, .number = v}))
            return false;
    }
    return true;
}

static int count_inputs(const tb_node *node) {
    int n = node->n_in;
    while (n > 0 && !node->in[n - 1]) n--;
    return node->op->class == TB_CLASS_REDUCE && n > 1 ? 1 : n;
}

static bool is_commutative(const tb_op *op) {
    return op->kind == TB_OP_Add || op->kind == TB_OP_Mul || op->kind == TB_OP_Max ||
           op->kind == TB_OP_Min || op->kind == TB_OP_Sum || op->kind == TB_OP_Mean;
}

/* The term's input that is a number and may be written otherwise; -1 if there is none. Of Sub and
 * Div it is the second. */
static int number_input(const tb_term *term) {
    int first = term->op == TB_OP_Sub || term->op == TB_OP_Div;
    for (int i = 1; i >= first && term->in[0] && term->in[1] && !term->in[2]; i--)
        if (term->in[i]->kind == TB_TERM_NUMBER || term->in[i]->kind == TB_TERM_SCALAR ||
            term->in[i]->kind == TB_TERM_COUNT)
            return i;
    return -1;
}

/* The operator that undoes one of the four; the operator itself where it is none of them. */
static tb_op_kind opposite(tb_op_kind op) {
    switch (op) {
    case TB_OP_Add:
        return TB_OP_Sub;
    case TB_OP_Sub:
        return TB_OP_Add;
    case TB_OP_Mul:
        return TB_OP_Div;
    case TB_OP_Div:
        return TB_OP_Mul;
    default:
        return op;
    }
}

/* Is the node the term's operator, or its opposite with a constant? */
static bool spells(const tb_term *term, const tb_node *node) {
    if (tb_is(node, term->op)) return true;
    return tb_is(node, opposite(term->op)) && number_input(term) >= 0 &&
           (node->in[1]->t.data || (is_commutative(node->op) && node->in[0]->t.data));
}

/* The inputs of the opposite operator with a number. */
static bool solve_opposite(const tb_pattern *pattern, tb_match *match, const goal *g,
                           tb_node *node) {
    int at = number_input(g->term), constant = node->in[1]->t.data ? 1 : 0;
    goal number = {.term = g->term->in[at],
                   .value = node->in[constant],
                   .reader = node,
                   .next = g->next,
                   .spelling = node->op->kind == TB_OP_Add || node->op->kind == TB_OP_Sub
                                   ? NEGATED
                                   : INVERTED};
    goal other = {.term = g->term->in[1 - at],
                  .value = node->in[1 - constant],
                  .reader = node,
                  .next = &number};
    return solve(pattern, match, &other);
}

static bool solve_inputs(const tb_pattern *pattern, tb_match *match, const goal *g, tb_node *node) {
    if (!tb_is(node, g->term->op)) return solve_opposite(pattern, match, g, node);
    int n = 0;
    while (n < TB_TERM_MAX_IN && g->term->in[n]) n++;
    if (n == 0 || n > 4 || n != count_inputs(node)) return false;
    bool swaps = n == 2 && is_commutative(node->op) && node->in[0] != node->in[1];
    mark start = set_mark(match);
    for (int order = 0; order <= swaps; order++) {
        goal list[4];
        for (int i = 0; i < n; i++)
            list[i] = (goal){.term = g->term->in[i],
                             .value = node->in[order ? 1 - i : i],
                             .reader = node,
                             .next = i + 1 < n ? &list[i + 1] : g->next};
        if (solve(pattern, match, list)) return true;
        go_back(match, &start);
    }
    return false;
}

static bool solve_op(const tb_pattern *pattern, tb_match *match, const goal *g) {
    tb_value *value = g->value;
    tb_value *restored = NULL; /* what the reader sees of a reduction */
    tb_node *node = value->producer;
    for (; node && !spells(g->term, node); value = node->in[0], node = value->producer) {
        bool restores = g->term->axes && !restored &&
                        (tb_is(node, TB_OP_Unsqueeze) || tb_is(node, TB_OP_Reshape));
        bool widens = under_broadcast(g->reader) && tb_is(node, TB_OP_Expand);
        if (!restores && !widens && !is_transparent(node)) return false;
        if (restores) restored = value;
        if (!add_node(match, node)) return false;
    }
    if (!node || value->index != 0 || !add_node(match, node)) return false;
    if (g->term->axes && !match_axes(match, node, restored ? restored : value)) return false;
    return match_attrs(match, g->term, node) && solve_inputs(pattern, match, g, node);
}

static bool solve_one_of(const tb_pattern *pattern, tb_match *match, const goal *g) {
    mark start = set_mark(match);
    for (int i = 0; i < TB_TERM_MAX_IN && g->term->in[i]; i++) {
        goal choice = *g;
        choice.term = g->term->in[i];
        if (solve(pattern, match, &choice)) return true;
        go_back(match, &start);
    }
    return false;
}

/* The number that a constant stands for in its place. */
static bool spelled_number(const goal *g, double *v) {
    if (!tb_uniform_constant(g->value, v)) return false;
    if (g->spelling == NEGATED) *v = -*v;
    if (g->spelling == INVERTED) *v = 1 / *v;
    return true;
}

static bool match_scalar(tb_match *match, const goal *g) {
    double v;
    if (!spelled_number(g, &v) || !isfinite(v)) return false;
    const tb_term *term = g->term;
    double number = term->number * v;
    const tb_binding *bound = find(match, term->name);
    if (bound) return fabs(bound->number - number) <= 1e-6 * fabs(number);
    return add_binding(match,
                       (tb_binding){.name = term->name, .value = g->value, .number = number});
}

/* Terms that are constants: one step, nothing to go back to but the caller's mark. */
static bool match_constant(tb_match *match, const goal *g) {
    double v;
    if (!g->value->t.data) return false;
    switch (g->term->kind) {
    case TB_TERM_NUMBER:
        return spelled_number(g, &v) && tb_term_near(v, g->term->number);
    case TB_TERM_SCALAR:
        return match_scalar(match, g);
    case TB_TERM_COUNT: {
        double n = (double)match->count;
        return match->axes && n > 0 && spelled_number(g, &v) && fabs(v / n - 1) <= 2e-3;
    }
    default:
        return true;
    }
}

/* No value inside the match is read outside of it. */
static bool is_closed(const tb_match *match) {
    for (int i = 0; i < match->n_nodes; i++) {
        const tb_node *node = match->nodes[i];
        for (int k = 0; k < node->n_out; k++) {
            const tb_value *value = node->out[k];
            if (!value || (node == match->root && k == 0)) continue;
            if (value->is_output) return false;
            for (int u = 0; u < value->n_uses; u++)
                if (!has_node(match, value->uses[u].node)) return false;
        }
    }
    return true;
}

static bool is_rows(const tb_term *term) {
    return term->kind == TB_TERM_ANY && term->axes;
}

/* Does the goal's value, which has a name that is bound, agree with it? */
static bool same_as_bound(tb_match *match, const tb_binding *bound, const goal *g) {
    tb_value *value = is_rows(g->term) ? peel_inside(g->value, g->reader) : g->value,
             *end = bound->inside ? peel_inside(value, g->reader) : value;
    for (; value != end; value = value->producer->in[0])
        if (!add_node(match, value->producer)) return false;
    return same_value(match, bound->value, value, bound->inside, MAX_SAME_DEPTH);
}

/* Names the goal's value where its term has a name; the name is not bound yet. */
static bool name_value(tb_match *match, const goal *g, bool inside) {
    if (!g->term->name || g->term->kind == TB_TERM_SCALAR) return true;
    tb_value *value =
        inside || is_rows(g->term) ? peel_inside(g->value, g->reader) : tb_peel(g->value);
    return add_binding(match,
                       (tb_binding){.name = g->term->name, .value = value, .inside = inside});
}

static bool solve(const tb_pattern *pattern, tb_match *match, const goal *g) {
    if (!g) return is_closed(match) && (!pattern->check || pattern->check(match));
    if (match->effort++ > MAX_EFFORT || !g->value) return false;
    const tb_term *term = g->term;
    bool nests = term->kind == TB_TERM_OP || term->kind == TB_TERM_ONE_OF;
    bool named = term->name && term->kind != TB_TERM_SCALAR, solved = false;
    const tb_binding *bound = named ? find(match, term->name) : NULL;
    mark start = set_mark(match);
    if (bound)
        solved = same_as_bound(match, bound, g) && solve(pattern, match, g->next);
    else if (!nests)
        solved = (term->kind == TB_TERM_ANY || match_constant(match, g)) &&
                 name_value(match, g, false) && solve(pattern, match, g->next);
    else if (name_value(match, g, true))
        solved = term->kind == TB_TERM_OP ? solve_op(pattern, match, g)
                                          : solve_one_of(pattern, match, g);
    if (!solved) go_back(match, &start);
    return solved;
}

bool tb_pattern_match(const tb_pattern *pattern, tb_node *root, tb_match *match) {
    *match = (tb_match){.root = root};
    if (root->n_out < 1 || !root->out[0]) return false;
    goal first = {.term = pattern->term, .value = root->out[0]};
    return solve(pattern, match, &first);
}

void tb_pattern_roots(const tb_term *term, void (*visit)(void *context, tb_op_kind op),
                      void *context) {
    if (term->kind == TB_TERM_OP) visit(context, term->op);
    if (term->kind == TB_TERM_OP && number_input(term) >= 0) visit(context, opposite(term->op));
    if (term->kind != TB_TERM_ONE_OF) return;
    for (int i = 0; i < TB_TERM_MAX_IN && term->in[i]; i++)
        tb_pattern_roots(term->in[i], visit, context);
}

/* --- replacement -------------------------------------------------------------------------- */

static int first_axis(const tb_match *match) {
    for (int i = 0; i < match->axes_rank; i++)
        if (match->axes >> i & 1) return i;
    return 0;
}

static tb_attr make_attr(const tb_match *match, const tb_made_attr *made) {
    double v = made->from ? tb_match_number(match, made->from, made->value) : made->value;
    switch (made->kind) {
    case TB_ATTR_IS_FLOAT:
        return TB_FLOAT_ATTR(made->attr, (float)v);
    case TB_ATTR_IS_STRING:
        return (tb_attr){.name = made->attr,
                         .kind = TB_ATTR_STRING,
                         .count = (int64_t)strlen(made->text),
                         .s = made->text};
    case TB_ATTR_IS_FIRST_AXIS:
        return TB_INT_ATTR(made->attr, first_axis(match));
    default:
        return TB_INT_ATTR(made->attr, (int64_t)v);
    }
}

static tiba_status make(tb_value **out, const tb_made *made, tb_builder *builder,
                        const tb_match *match, tiba_error *error) {
    if (made->name) {
        *out = tb_match_value(match, made->name);
        return TIBA_OK;
    }
    tb_value *in[TB_MADE_MAX_IN];
    tb_attr attrs[3];
    int n_in = 0, n_attrs = 0;
    for (; n_in < TB_MADE_MAX_IN && made->in[n_in]; n_in++)
        TB_TRY(make(&in[n_in], made->in[n_in], builder, match, error));
    while (n_in > 0 && !in[n_in - 1]) n_in--;
    for (; n_attrs < 3 && made->attrs[n_attrs].attr; n_attrs++)
        attrs[n_attrs] = make_attr(match, &made->attrs[n_attrs]);
    return tb_build1(builder, out, made->op, n_in, in, n_attrs, attrs, error);
}

tiba_status tb_pattern_build(tb_value **out, const tb_pattern *pattern, tb_builder *builder,
                             tb_match *match, tiba_error *error) {
    if (pattern->prepare) TB_TRY(pattern->prepare(builder, match, error));
    if (pattern->build) return pattern->build(out, builder, match, error);
    return make(out, pattern->with, builder, match, error);
}
