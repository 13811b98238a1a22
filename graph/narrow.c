#include "graph/narrow.h"

#include <string.h>

#include "graph/build.h"
#include "graph/narrow_operators.h"

/* What the readers of a value need of it: nothing so far, some rows along one dimension, all. */
typedef enum need { NEED_NOTHING, NEED_ROWS, NEED_ALL } need;

typedef struct demand {
    need need;
    int dim;
    int64_t n;
    const int64_t *rows; /* ascending */
} demand;

/* Rows of a value that is computed as a whole, taken for those who read no others. */
typedef struct taken {
    struct taken *next;
    demand of;
    tb_value *value;
} taken;

typedef struct narrower {
    tb_graph *graph;
    tb_arena *arena;
    tb_builder build;
    const tb_regions *regions; /* NULL: they need not stay in one piece */
    const unsigned char *keep; /* by value id, or NULL */
    unsigned char *barred;     /* by region: some node of it needs all rows */
    int n_values;              /* before anything was built */
    demand *demands;           /* by value id */
    taken **taken;             /* by value id */
    tb_narrow *of;             /* by value id: the result */
} narrower;

/* ---- which rows ---- */

typedef struct marking {
    unsigned char *marks;
    int64_t size;
    bool valid;
} marking;

static void mark(void *context, int64_t row) {
    marking *m = context;
    if (row >= 0 && row < m->size)
        m->marks[row] = 1;
    else
        m->valid = false;
}

static tiba_status list_rows(narrower *w, demand *out, int dim, const marking *m,
                             tiba_error *error) {
    int64_t n = 0;
    for (int64_t i = 0; i < m->size; i++) n += m->marks[i];
    /* more than half of them: little is won */
    *out = (demand){.need = n == 0 || 2 * n > m->size ? NEED_ALL : NEED_ROWS, .dim = dim};
    if (out->need == NEED_ALL) return TIBA_OK;
    int64_t *rows = TB_NEW(w->arena, int64_t, n);
    if (!rows) return tb_out_of_memory(error);
    for (int64_t i = 0; i < m->size; i++)
        if (m->marks[i]) rows[out->n++] = i;
    out->rows = rows;
    return TIBA_OK;
}

static bool same_rows(const demand *a, const demand *b) {
    return a->dim == b->dim && a->n == b->n &&
           memcmp(a->rows, b->rows, (size_t)a->n * sizeof *a->rows) == 0;
}

static bool is_computed(const tb_value *value) {
    return value && !value->t.data;
}

/* Do its readers, which are all known, need some of its rows only? */
static bool is_narrow(const narrower *w, const tb_value *value) {
    return is_computed(value) && value->id < w->n_values && value->producer &&
           w->demands[value->id].need == NEED_ROWS;
}

static bool is_kept(const narrower *w, const tb_value *value) {
    return value->is_output || (w->keep && w->keep[value->id]);
}

static int region_of(const narrower *w, const tb_node *node) {
    return w->regions ? w->regions->of_node[node->id] : -1;
}

/* A further reader of the value needs that. */
static tiba_status add_demand(narrower *w, const tb_value *value, demand more, tiba_error *error) {
    if (!is_computed(value)) return TIBA_OK;
    demand *to = &w->demands[value->id];
    if (to->need == NEED_ALL || more.need == NEED_NOTHING) return TIBA_OK;
    if (to->need == NEED_NOTHING) {
        *to = more;
    } else if (more.need == NEED_ALL || more.dim != to->dim) {
        *to = (demand){.need = NEED_ALL};
    } else if (!same_rows(to, &more)) {
        marking m = {.size = value->t.dims[to->dim]};
        m.marks = TB_NEW(w->arena, unsigned char, m.size);
        if (!m.marks) return tb_out_of_memory(error);
        for (int64_t i = 0; i < to->n; i++) m.marks[to->rows[i]] = 1;
        for (int64_t i = 0; i < more.n; i++) m.marks[more.rows[i]] = 1;
        return list_rows(w, to, to->dim, &m, error);
    }
    return TIBA_OK;
}

/* Does a constant that differs from row to row differ among these? Where it does not any more, an
 * operator with it would be another (a bias instead of a table of positions), and so would its
 * rule of relevance. */
static bool keeps_kind(const tiba_tensor *t, int dim, const demand *rows) {
    int64_t inner = 1, count = t->dims[dim], outer = 1;
    for (int d = 0; d < dim; d++) outer *= t->dims[d];
    for (int d = dim + 1; d < t->rank; d++) inner *= t->dims[d];
    bool varies = false;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            const int64_t at = o * count * inner + i;
            for (int64_t k = 1; k < rows->n; k++)
                if (tb_get_f64(t, at + rows->rows[k] * inner) !=
                    tb_get_f64(t, at + rows->rows[0] * inner))
                    return true;
            for (int64_t k = 1; k < count && !varies; k++)
                varies = tb_get_f64(t, at + k * inner) != tb_get_f64(t, at);
        }
    return !varies;
}

/* Can the node make these rows of its output from rows of its operands? */
static bool passes(const tb_node *node, const demand *rows) {
    const tb_row_wise *row_wise = tb_find_row_wise(node);
    if (!row_wise) return false;
    for (int i = 1; i < node->n_out; i++)
        if (node->out[i] && (node->out[i]->n_uses > 0 || node->out[i]->is_output)) return false;
    bool any = false;
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i]) continue;
        int dim = row_wise->operand(node, i, rows->dim);
        if (dim == TB_ROWS_MIXED) return false;
        if (dim == TB_ROWS_WHOLE) continue;
        any = true;
        if (node->in[i]->t.data ? !keeps_kind(&node->in[i]->t, dim, rows) : !node->in[i]->active)
            return false;
    }
    return any;
}

/* The rows that a selection takes of its first input; NEED_ALL if it is none. */
static tiba_status selected(narrower *w, demand *out, const tb_node *node, tiba_error *error) {
    const tb_selection *selection = tb_find_selection(node);
    *out = (demand){.need = NEED_ALL};
    int dim, common = -1;
    if (!selection || !is_computed(node->in[0])) return TIBA_OK;
    marking m = {.valid = true};
    for (int i = 0; i < node->n_out; i++) {
        if (!node->out[i] || w->demands[node->out[i]->id].need == NEED_NOTHING) continue;
        if (!selection->indices && is_kept(w, node->out[i])) return TIBA_OK;
        if (!selection->find(node, i, &dim, NULL, NULL)) return TIBA_OK;
        if (common < 0) {
            common = dim;
            m.size = node->in[0]->t.dims[dim];
            m.marks = TB_NEW(w->arena, unsigned char, m.size);
            if (!m.marks) return tb_out_of_memory(error);
        }
        selection->find(node, i, &dim, mark, &m);
    }
    return common < 0 || !m.valid ? TIBA_OK : list_rows(w, out, common, &m, error);
}

static bool reads_all(const tb_node *node, const demand *rows) {
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] && node->in[i]->active &&
            tb_find_row_wise(node)->operand(node, i, rows->dim) == TB_ROWS_WHOLE)
            return true;
    return false;
}

/* Can the node be built on the rows of its output that are wanted? A region does it as a whole or
 * not at all: with another part of it on all rows it would be no function of one value any more. */
static bool can_narrow(narrower *w, const tb_node *node, const demand *rows) {
    const int region = region_of(w, node);
    bool can = passes(node, rows);
    if (region < 0) return can;
    can = can && !reads_all(node, rows);
    if (!can) w->barred[region] = 1;
    return can && !w->barred[region];
}

static tiba_status demand_operands(narrower *w, const tb_node *node, const demand *rows,
                                   tiba_error *error) {
    const tb_row_wise *row_wise = tb_find_row_wise(node);
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i]) continue;
        const int dim = row_wise->operand(node, i, rows->dim);
        demand more = {.need = NEED_ALL};
        if (dim >= 0) more = (demand){NEED_ROWS, dim, rows->n, rows->rows};
        TB_TRY(add_demand(w, node->in[i], more, error));
    }
    return TIBA_OK;
}

/* Readers before what they read. */
static tiba_status find_demands(narrower *w, tiba_error *error) {
    for (int i = 0; i < w->n_values; i++) {
        const tb_value *value = w->graph->values[i];
        w->demands[i] = (demand){.need = value && is_kept(w, value) ? NEED_ALL : NEED_NOTHING};
    }
    for (const tb_node *node = w->graph->last; node; node = node->prev) {
        need most = NEED_NOTHING;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && w->demands[node->out[i]->id].need > most)
                most = w->demands[node->out[i]->id].need;
        if (most == NEED_NOTHING) continue;
        const demand *first = node->out[0] ? &w->demands[node->out[0]->id] : NULL;
        if (first && first->need == NEED_ROWS && can_narrow(w, node, first)) {
            TB_TRY(demand_operands(w, node, first, error));
            continue;
        }
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] && w->demands[node->out[i]->id].need == NEED_ROWS)
                w->demands[node->out[i]->id] = (demand){.need = NEED_ALL};
        demand rows;
        TB_TRY(selected(w, &rows, node, error));
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i])
                TB_TRY(add_demand(w, node->in[i], i ? (demand){.need = NEED_ALL} : rows, error));
    }
    return TIBA_OK;
}

/* Again where a region turned out to need all rows after it had been entered. */
static tiba_status settle_demands(narrower *w, tiba_error *error) {
    const int n = w->regions ? w->regions->n : 0;
    int barred = -1, before;
    do {
        before = barred;
        TB_TRY(find_demands(w, error));
        barred = 0;
        for (int i = 0; i < n; i++) barred += w->barred[i];
    } while (barred != before && n > 0);
    return TIBA_OK;
}

/* ---- building ---- */

/* Where a row stands among others. */
static int64_t position(const demand *among, int64_t row) {
    int64_t at = 0;
    while (at < among->n && among->rows[at] < row) at++;
    return at;
}

static tiba_status take(narrower *w, tb_value **out, tb_value *from, int dim, int64_t n,
                        const int64_t *rows, tiba_error *error) {
    tb_value *indices;
    const tb_attr axis = TB_INT_ATTR("axis", dim);
    TB_TRY(tb_build_ints(&w->build, &indices, (int)n, rows, error));
    TB_TRY(
        tb_build1(&w->build, out, TB_OP_Gather, 2, (tb_value *[]){from, indices}, 1, &axis, error));
    (*out)->name = from->name;
    return TIBA_OK;
}

/* Rows of a narrowed value. */
static tiba_status take_of_some(narrower *w, tb_value **out, const tb_value *value,
                                const demand *rows, tiba_error *error) {
    const demand *there = &w->demands[value->id];
    *out = w->of[value->id].value;
    if (same_rows(there, rows)) return TIBA_OK;
    int64_t *at = TB_NEW(w->arena, int64_t, rows->n);
    if (!at) return tb_out_of_memory(error);
    for (int64_t i = 0; i < rows->n; i++) at[i] = position(there, rows->rows[i]);
    return take(w, out, *out, rows->dim, rows->n, at, error);
}

/* Rows of a value that has all; once for all who read them. */
static tiba_status take_of_all(narrower *w, tb_value **out, tb_value *value, const demand *rows,
                               tiba_error *error) {
    if (value->id >= w->n_values) return take(w, out, value, rows->dim, rows->n, rows->rows, error);
    taken **list = &w->taken[value->id];
    for (const taken *t = *list; t; t = t->next)
        if (same_rows(&t->of, rows)) {
            *out = t->value;
            return TIBA_OK;
        }
    taken *added = TB_NEW(w->arena, taken, 1);
    if (!added) return tb_out_of_memory(error);
    TB_TRY(take(w, out, value, rows->dim, rows->n, rows->rows, error));
    *added = (taken){*list, *rows, *out};
    *list = added;
    return TIBA_OK;
}

static tiba_status rows_of(narrower *w, tb_value **out, tb_value *value, const demand *rows,
                           tiba_error *error) {
    if (is_narrow(w, value)) return take_of_some(w, out, value, rows, error);
    return take_of_all(w, out, value, rows, error);
}

/* A sum or product with a constant whose features stand where what makes the other operand put
 * them (rules/table.c looks there) reads that operand as it is: then all rows are computed. */
static bool stays_whole(const narrower *w, const tb_node *node) {
    if (node->op->class != TB_CLASS_BINARY || node->n_in != 2 || region_of(w, node) >= 0)
        return false;
    for (int i = 0; i < 2; i++)
        if (is_computed(node->in[i]) && node->in[1 - i]->t.data &&
            tb_tensor_count(&node->in[1 - i]->t) > 1)
            return !is_narrow(w, node->in[i]);
    return false;
}

/* The node on the rows of its output that are read. */
static tiba_status build_rows(narrower *w, tb_node *node, tiba_error *error) {
    const demand *rows = &w->demands[node->out[0]->id];
    if (stays_whole(w, node)) {
        w->demands[node->out[0]->id] = (demand){.need = NEED_ALL};
        return TIBA_OK;
    }
    const tb_row_wise *row_wise = tb_find_row_wise(node);
    tb_value **in = TB_NEW(w->arena, tb_value *, node->n_in);
    if (!in) return tb_out_of_memory(error);
    for (int i = 0; i < node->n_in; i++) {
        in[i] = node->in[i];
        if (!in[i]) continue;
        demand of = *rows;
        of.dim = row_wise->operand(node, i, rows->dim);
        if (of.dim >= 0) TB_TRY(rows_of(w, &in[i], node->in[i], &of, error));
    }
    tb_value *made, *shape;
    if (row_wise->reshapes) {
        tiba_tensor some = node->out[0]->t;
        some.dims[rows->dim] = rows->n;
        TB_TRY(tb_build_ints(&w->build, &shape, some.rank, some.dims, error));
        TB_TRY(tb_build1(&w->build, &made, TB_OP_Reshape, 2, (tb_value *[]){in[0], shape}, 0, NULL,
                         error));
    } else {
        TB_TRY(tb_build1(&w->build, &made, node->op->kind, node->n_in, in, node->n_attrs,
                         node->attrs, error));
    }
    made->name = node->out[0]->name;
    w->of[node->out[0]->id] = (tb_narrow){made, rows->dim, rows->n, rows->rows};
    return TIBA_OK;
}

/* The indices of a selection among the rows that are left. */
static tiba_status put_indices(narrower *w, tb_value **out, const tb_selection *selection,
                               const tb_node *node, const demand *there, tiba_error *error) {
    const tiba_tensor *from = &node->in[selection->indices]->t;
    int64_t count = tb_tensor_count(from), size = node->in[0]->t.dims[there->dim];
    int64_t *to = TB_NEW(w->arena, int64_t, count);
    if (!to) return tb_out_of_memory(error);
    for (int64_t i = 0; i < count; i++) {
        to[i] = tb_get_i64(from, i);
        if (selection->along && !selection->along(node, i, there->dim)) continue;
        to[i] = position(there, to[i] < 0 ? to[i] + size : to[i]);
    }
    return tb_build_constant(&w->build, out, TIBA_INT64, from->rank, from->dims, to, error);
}

/* A selection of rows that are there: by other indices, or nothing is left to select. */
static tiba_status build_selection(narrower *w, tb_node *node, tiba_error *error) {
    const tb_selection *selection = tb_find_selection(node);
    const tb_value *whole = node->in[0];
    const demand *there = &w->demands[whole->id];
    if (selection->indices) {
        tb_value *indices;
        TB_TRY(put_indices(w, &indices, selection, node, there, error));
        bool set = tb_node_set_input(w->graph, node, selection->indices, indices) &&
                   tb_node_set_input(w->graph, node, 0, w->of[whole->id].value);
        return set ? TIBA_OK : tb_out_of_memory(error);
    }
    for (int i = 0; i < node->n_out; i++) {
        tb_value *out = node->out[i], *made;
        if (!out || w->demands[out->id].need == NEED_NOTHING) continue;
        int dim;
        demand rows;
        marking m = {.size = whole->t.dims[there->dim], .valid = true};
        m.marks = TB_NEW(w->arena, unsigned char, m.size);
        if (!m.marks) return tb_out_of_memory(error);
        selection->find(node, i, &dim, mark, &m);
        TB_TRY(list_rows(w, &rows, dim, &m, error));
        TB_TRY(take_of_some(w, &made, whole, &rows, error));
        if (!tb_replace_uses(w->graph, out, made)) return tb_out_of_memory(error);
    }
    return TIBA_OK;
}

static tiba_status build(narrower *w, tiba_error *error) {
    for (tb_node *node = w->graph->first, *next; node; node = next) {
        next = node->next;
        w->build.before = node;
        w->build.from = node;
        w->build.origin = node->origin;
        const tb_value *in = node->n_in > 0 ? node->in[0] : NULL;
        if (node->n_out > 0 && is_narrow(w, node->out[0]))
            TB_TRY(build_rows(w, node, error));
        else if (in && is_narrow(w, in))
            TB_TRY(build_selection(w, node, error));
    }
    return TIBA_OK;
}

tiba_status tb_narrow_rows(const tb_narrowing **out, tb_graph *graph, const tb_regions *regions,
                           const unsigned char *keep, tb_exec *exec, tb_arena *arena,
                           tiba_error *error) {
    *out = NULL;
    const int n = graph->n_values;
    narrower w = {.graph = graph,
                  .arena = arena,
                  .build = {.graph = graph, .exec = exec},
                  .regions = regions,
                  .keep = keep,
                  .n_values = n};
    w.barred = TB_NEW(arena, unsigned char, regions ? regions->n : 0);
    w.demands = TB_NEW(arena, demand, n);
    w.taken = TB_NEW(arena, taken *, n);
    w.of = TB_NEW(arena, tb_narrow, n);
    tb_narrowing *result = TB_NEW(arena, tb_narrowing, 1);
    if (!w.barred || !w.demands || !w.taken || !w.of || !result) return tb_out_of_memory(error);
    TB_TRY(settle_demands(&w, error));
    bool any = false;
    for (int i = 0; i < n && !any; i++) any = graph->values[i] && is_narrow(&w, graph->values[i]);
    if (!any) return TIBA_OK;
    TB_TRY(build(&w, error));
    tb_graph_sweep(graph);
    *result = (tb_narrowing){n, w.of};
    *out = result;
    return TIBA_OK;
}

const tb_value *tb_narrow_now(const tb_narrowing *narrowing, const tb_value *value) {
    bool now = narrowing && value->id < narrowing->n_values && narrowing->of[value->id].value;
    return now ? narrowing->of[value->id].value : value;
}

void tb_narrow_expand(float *all, const tiba_tensor *whole, const tb_narrow *narrow,
                      const float *some) {
    int64_t outer = 1, inner = 1, count = whole->dims[narrow->dim];
    for (int d = 0; d < narrow->dim; d++) outer *= whole->dims[d];
    for (int d = narrow->dim + 1; d < whole->rank; d++) inner *= whole->dims[d];
    memset(all, 0, (size_t)(outer * count * inner) * sizeof *all);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < narrow->n; i++)
            memcpy(all + (o * count + narrow->rows[i]) * inner, some + (o * narrow->n + i) * inner,
                   (size_t)inner * sizeof *all);
}
