/* axes.c: labels, and factors of values. See axes.h; axes_operators.c makes them. */
#include "graph/axes.h"

#include <string.h>

#include "graph/axes_labels.h"

int tb_axes_root(const tb_axes *axes, int label) {
    while (label >= 0 && axes->labels[label].same_as != label) label = axes->labels[label].same_as;
    return label;
}

const tb_node *tb_axes_query(const tb_axes *axes, int label) {
    label = tb_axes_root(axes, label);
    while (label >= 0 && axes->labels[label].kind != TB_LABEL_QUERY) {
        const tb_label *l = &axes->labels[label];
        int parent = l->n_parents == 1 ? tb_axes_root(axes, l->parents[0]) : -1;
        label = parent < label ? parent : -1; /* parents are older */
    }
    return label >= 0 ? axes->labels[label].node : NULL;
}

/* -------------------------------------------------------------------------------- labels */

static int find_label(const tb_axes *axes, const tb_label *wanted, const int *parents,
                      const int64_t *offsets) {
    for (int i = 0; i < axes->n_labels; i++) {
        const tb_label *l = &axes->labels[i];
        if (l->kind != wanted->kind || l->count != wanted->count || l->node != wanted->node ||
            l->input != wanted->input || l->dim != wanted->dim || l->step != wanted->step ||
            l->n_parents != wanted->n_parents)
            continue;
        bool same = true;
        for (int k = 0; k < l->n_parents && same; k++)
            same = tb_axes_root(axes, l->parents[k]) == tb_axes_root(axes, parents[k]) &&
                   l->offsets[k] == offsets[k];
        if (same) return i;
    }
    return -1;
}

int tb_axes_intern(tb_axes *axes, tb_label wanted, const int *parents, const int64_t *offsets) {
    int found = find_label(axes, &wanted, parents, offsets);
    if (found >= 0) {
        if (wanted.rows > axes->labels[found].rows) axes->labels[found].rows = wanted.rows;
        return found;
    }
    if (axes->n_labels == axes->cap_labels) {
        int capacity = axes->cap_labels ? 2 * axes->cap_labels : 64;
        tb_label *labels = TB_NEW(axes->arena, tb_label, capacity);
        if (!labels) return -1;
        if (axes->n_labels) memcpy(labels, axes->labels, (size_t)axes->n_labels * sizeof *labels);
        axes->labels = labels;
        axes->cap_labels = capacity;
    }
    int id = axes->n_labels;
    wanted.same_as = id;
    wanted.parents = TB_NEW(axes->arena, int, wanted.n_parents);
    wanted.offsets = TB_NEW(axes->arena, int64_t, wanted.n_parents);
    if (!wanted.parents || !wanted.offsets) return -1;
    for (int k = 0; k < wanted.n_parents; k++) {
        wanted.parents[k] = parents[k];
        wanted.offsets[k] = offsets[k];
    }
    axes->labels[axes->n_labels++] = wanted;
    return id;
}

/* Of two look-ups that are added, is b's input the text? That of a whole input is (the other holds
 * columns of boxes), then that of the larger table (the other holds segments or positions), in
 * whatever order they are added. */
static bool better_look_up(const tb_label *a, const tb_label *b) {
    if (a->kind != TB_LABEL_LOOKUP || b->kind != TB_LABEL_LOOKUP) return false;
    if (a->partial != b->partial) return a->partial;
    return b->rows != a->rows ? b->rows > a->rows : b->input < a->input;
}

/* Are tokens that are read among those that were joined? */
static bool joins_tokens(const tb_axes *axes, const tb_label *join, int depth) {
    for (int i = 0; i < join->n_parents && depth < 16; i++) {
        if (join->parents[i] < 0) continue;
        const tb_label *l = &axes->labels[tb_axes_root(axes, join->parents[i])];
        if (l->kind == TB_LABEL_LOOKUP || l->kind == TB_LABEL_GRID || l->projected) return true;
        if (joins_tokens(axes, l, depth + 1)) return true;
    }
    return false;
}

/* Is b's input what is read and a's a mask of it? Masks given as floats are lined up with tokens as
 * the tokens themselves are, but are neither looked up nor vectors; so are angles that joined
 * tokens are turned by, which no Linear makes features of. */
static bool masks(const tb_axes *axes, const tb_label *a, const tb_label *b) {
    if (a->kind != TB_LABEL_INPUT) return false;
    if (b->kind == TB_LABEL_JOIN) return !a->projected && joins_tokens(axes, b, 0);
    if (a->vectors) return false;
    return b->kind == TB_LABEL_LOOKUP || (b->kind == TB_LABEL_INPUT && b->vectors && a->dim > 1);
}

/* The older label stays, if it is as good. Learned queries that are added to tokens, each to one,
 * are not these. */
void tb_axes_unify(tb_axes *axes, int a, int b) {
    a = tb_axes_root(axes, a);
    b = tb_axes_root(axes, b);
    if (a == b || axes->labels[a].count != axes->labels[b].count) return;
    if (!tb_axes_query(axes, a) != !tb_axes_query(axes, b)) return;
    const tb_label *first = &axes->labels[a < b ? a : b], *second = &axes->labels[a < b ? b : a];
    if ((a < b) != (better_look_up(first, second) || masks(axes, first, second)))
        axes->labels[b].same_as = a;
    else
        axes->labels[a].same_as = b;
}

/* -------------------------------------------------------------------------------- factors */

const tb_value_axes *tb_axes_of(const tb_axes *axes, const tb_value *value) {
    static const tb_value_axes none;
    const tb_value_axes *found =
        value && value->id < axes->n_values ? axes->values[value->id] : NULL;
    return found ? found : &none;
}

static bool is_of_input(const tb_label *l) {
    return (l->kind == TB_LABEL_INPUT || l->kind == TB_LABEL_LOOKUP) && l->dim > 0;
}

/* Is `cut` one element of an input along one axis, and `all` the same input's axis of 1 beside it?
 * (Texts one step after the other have samples there.) */
static bool lies_beside(const tb_axes *axes, int cut, int all) {
    if (cut < 0 || all < 0 || axes->labels[cut].kind != TB_LABEL_CUT) return false;
    const tb_label *of = &axes->labels[tb_axes_root(axes, axes->labels[cut].parents[0])];
    const tb_label *l = &axes->labels[all];
    return is_of_input(l) && of->kind == l->kind && of->input == l->input;
}

/* What comes from elements in several places is a unit of none of them, and so is all that is made
 * of it: label -1. */
static void add_unit(tb_axes *axes, tb_value_axes *to, tb_factor f) {
    const tb_label *l = f.label < 0 ? NULL : &axes->labels[f.label];
    if (l && l->kind != TB_LABEL_CUT && !is_of_input(l)) return;
    for (int i = 0; i < to->n_units; i++) {
        tb_factor *g = &to->units[i];
        if (g->inner != f.inner) continue;
        if (lies_beside(axes, f.label, g->label))
            g->label = f.label;
        else if (g->label != f.label && !lies_beside(axes, g->label, f.label))
            g->label = -1;
        return;
    }
    if (to->n_units < TB_MAX_UNITS) to->units[to->n_units++] = f;
}

int tb_axes_unit(const tb_axes *axes, const tb_value *value, int dim) {
    const tb_value_axes *va = tb_axes_of(axes, value);
    for (int i = 0; i < va->n_units; i++)
        if (va->units[i].inner == tb_axes_stride(&value->t, dim)) return va->units[i].label;
    return -1;
}

void tb_axes_add(tb_axes *axes, tb_value_axes *to, tb_factor f) {
    if (f.label >= 0 && f.count == 1) add_unit(axes, to, f);
    if (f.count <= 1 || f.label < 0) return;
    int at = 0;
    for (; at < to->n; at++) {
        const tb_factor *g = &to->factors[at];
        if (g->inner == f.inner && g->count == f.count) {
            tb_axes_unify(axes, g->label, f.label);
            if (tb_axes_query(axes, g->label)) to->factors[at].label = f.label;
            to->factors[at].label = tb_axes_root(axes, to->factors[at].label);
            return;
        }
        if (f.inner < g->inner * g->count && g->inner < f.inner * f.count) {
            /* the same stretch in more steps (tokens that were repeated lie beside their finer
             * ones): what tells more elements apart stays */
            bool finer = f.inner < g->inner && f.inner * f.count == g->inner * g->count;
            if (finer) to->factors[at] = f;
            return;
        }
        if (g->inner < f.inner) break;
    }
    if (to->n == TB_MAX_FACTORS) return;
    memmove(&to->factors[at + 1], &to->factors[at], (size_t)(to->n - at) * sizeof f);
    to->factors[at] = f;
    to->n++;
}

int64_t tb_axes_stride(const tiba_tensor *t, int dim) {
    int64_t stride = 1;
    for (int d = dim + 1; d < t->rank; d++) stride *= t->dims[d];
    return stride;
}

int tb_axes_part(tb_axes *axes, int label, int64_t count, int64_t step) {
    label = tb_axes_root(axes, label);
    tb_label part = {
        .kind = TB_LABEL_PART, .count = count, .input = -1, .step = step, .n_parents = 1};
    int64_t offset = 0;
    return tb_axes_intern(axes, part, &label, &offset);
}

/* Rewrites factors so that none crosses a border between dimensions of `t`: a factor that does is
 * split, and parts of one label that lie in the same dimension next to each other are joined. */
static void align(tb_axes *axes, tb_value_axes *va, const tiba_tensor *t) {
    tb_value_axes out = {0};
    for (int i = 0; i < va->n; i++) {
        tb_factor f = va->factors[i];
        int64_t inner = f.inner, left = f.count, step = 1;
        /* from the innermost dimension outwards, while the factor reaches over a border */
        tb_factor pieces[TB_MAX_FACTORS];
        int n = 0;
        for (int d = t->rank - 1; d >= 0 && left > 1; d--) {
            int64_t stride = tb_axes_stride(t, d), end = stride * t->dims[d];
            if (t->dims[d] <= 1 || inner >= end || inner < stride) continue;
            int64_t fits = end / inner;
            if (fits >= left) fits = left;
            if (left % fits != 0 || end % inner != 0 || inner % stride != 0 ||
                n == TB_MAX_FACTORS) {
                n = -1;
                break;
            }
            pieces[n++] = (tb_factor){f.label, fits, inner};
            inner *= fits;
            left /= fits;
        }
        if (n <= 0 || left > 1) continue; /* crosses a border at an odd place: lost */
        if (n > 1)
            for (int p = 0; p < n; p++) {
                pieces[p].label = tb_axes_part(axes, f.label, pieces[p].count, step);
                step *= pieces[p].count;
            }
        for (int p = 0; p < n; p++) tb_axes_add(axes, &out, pieces[p]);
    }
    va->n = out.n;
    memcpy(va->factors, out.factors, sizeof out.factors);
}

/* Two neighbouring parts of one label, outer and inner, become the label (or a larger part). */
static bool join_parts(tb_axes *axes, const tb_factor *outer, const tb_factor *inner, int *label) {
    if (outer->inner != inner->inner * inner->count) return false;
    const tb_label *a = &axes->labels[tb_axes_root(axes, outer->label)];
    const tb_label *b = &axes->labels[tb_axes_root(axes, inner->label)];
    if (a->kind != TB_LABEL_PART || b->kind != TB_LABEL_PART) return false;
    int parent = tb_axes_root(axes, a->parents[0]);
    if (parent != tb_axes_root(axes, b->parents[0]) || a->step != b->step * b->count) return false;
    int64_t count = a->count * b->count;
    *label =
        count == axes->labels[parent].count ? parent : tb_axes_part(axes, parent, count, b->step);
    return *label >= 0;
}

void tb_axes_rejoin(tb_axes *axes, tb_value_axes *va) {
    for (int i = 0; i + 1 < va->n;) {
        int label;
        if (!join_parts(axes, &va->factors[i], &va->factors[i + 1], &label)) {
            i++;
            continue;
        }
        tb_factor joined = {label, va->factors[i].count * va->factors[i + 1].count,
                            va->factors[i + 1].inner};
        va->factors[i] = joined;
        memmove(&va->factors[i + 1], &va->factors[i + 2], (size_t)(va->n - i - 2) * sizeof joined);
        va->n--;
        if (i > 0) i--;
    }
}

/* A unit goes where the axes of its place go; one without an axis stays outside of its inner
 * neighbour. */
static void carry_units(tb_axes *axes, tb_value_axes *to, const tb_value *in, const tb_value *out,
                        const int *map) {
    const tb_value_axes *va = tb_axes_of(axes, in);
    for (int i = 0; i < va->n_units; i++) {
        tb_factor f = va->units[i];
        bool has_axis = false;
        for (int d = 0; d < in->t.rank; d++) {
            if (tb_axes_stride(&in->t, d) != va->units[i].inner) continue;
            has_axis = true;
            if (map[d] < 0 || out->t.dims[map[d]] != in->t.dims[d]) continue;
            f.inner = tb_axes_stride(&out->t, map[d]);
            add_unit(axes, to, f);
        }
        for (int d = 0; d < in->t.rank && !has_axis; d++) {
            int64_t stride = tb_axes_stride(&in->t, d);
            if (stride * in->t.dims[d] != va->units[i].inner || in->t.dims[d] == 1 || map[d] < 0)
                continue;
            f.inner = tb_axes_stride(&out->t, map[d]) * out->t.dims[map[d]];
            add_unit(axes, to, f);
        }
    }
}

void tb_axes_carry(tb_axes *axes, tb_value_axes *to, const tb_value *in, const tb_value *out,
                   const int *map) {
    carry_units(axes, to, in, out, map);
    tb_value_axes va = *tb_axes_of(axes, in);
    align(axes, &va, &in->t);
    for (int i = 0; i < va.n; i++) {
        tb_factor f = va.factors[i];
        for (int d = in->t.rank - 1; d >= 0; d--) {
            int64_t stride = tb_axes_stride(&in->t, d);
            if (in->t.dims[d] <= 1 || f.inner < stride || f.inner >= stride * in->t.dims[d])
                continue;
            if (map[d] >= 0 && out->t.dims[map[d]] == in->t.dims[d]) {
                f.inner = f.inner / stride * tb_axes_stride(&out->t, map[d]);
                tb_axes_add(axes, to, f);
            }
            break;
        }
    }
}

/* A dimension in which labelled factors leave gaps. false: there are none, or nothing else. */
static bool spread_of(const tb_axes *axes, const tb_value_axes *va, const tb_value *value, int dim,
                      tb_label *label, int *parents, int64_t *offsets) {
    int64_t stride = tb_axes_stride(&value->t, dim), end = stride * value->t.dims[dim], known = 1;
    *label = (tb_label){.kind = TB_LABEL_SPREAD, .count = value->t.dims[dim], .input = -1};
    for (int i = 0; i < va->n; i++) {
        const tb_factor *f = &va->factors[i];
        if (f->inner < stride || f->inner * f->count > end) continue;
        parents[label->n_parents] = tb_axes_root(axes, f->label);
        offsets[label->n_parents++] = f->inner / stride;
        known *= f->count;
    }
    return label->n_parents > 0 && known < label->count;
}

int tb_axes_spread(tb_axes *axes, const tb_value *value, int dim, int other) {
    tb_value_axes va = *tb_axes_of(axes, value);
    align(axes, &va, &value->t);
    tb_label label, second;
    int parents[TB_MAX_FACTORS], twins[TB_MAX_FACTORS];
    int64_t offsets[TB_MAX_FACTORS], beside[TB_MAX_FACTORS];
    if (!spread_of(axes, &va, value, dim, &label, parents, offsets) ||
        !spread_of(axes, &va, value, other, &second, twins, beside) ||
        label.count != second.count || label.n_parents != second.n_parents)
        return -1;
    for (int i = 0; i < label.n_parents; i++)
        if (parents[i] != twins[i] || offsets[i] != beside[i]) return -1;
    axes->spread = true;
    int id = tb_axes_intern(axes, label, parents, offsets);
    return id < 0 ? -2 : tb_axes_root(axes, id);
}

/* The label that tb_axes_spread() has given to such dimensions, -1: none. */
static int known_spread(const tb_axes *axes, const tb_value_axes *va, const tb_value *value,
                        int dim) {
    tb_label label;
    int parents[TB_MAX_FACTORS];
    int64_t offsets[TB_MAX_FACTORS];
    if (!axes->spread || !spread_of(axes, va, value, dim, &label, parents, offsets)) return -1;
    int found = find_label(axes, &label, parents, offsets);
    return found < 0 ? -1 : tb_axes_root(axes, found);
}

int tb_axes_dim(tb_axes *axes, const tb_value *value, int dim) {
    if (dim < 0 || dim >= value->t.rank || value->t.dims[dim] <= 1) return -1;
    tb_value_axes va = *tb_axes_of(axes, value);
    align(axes, &va, &value->t);
    int64_t stride = tb_axes_stride(&value->t, dim), covered = stride * value->t.dims[dim];
    tb_factor inside[TB_MAX_FACTORS];
    int n = 0;
    for (int i = 0; i < va.n; i++) { /* outermost first, each where the one before begins */
        const tb_factor *f = &va.factors[i];
        if (f->inner * f->count != covered || f->inner < stride) continue;
        inside[n++] = *f;
        covered = f->inner;
    }
    if (n > 0 && covered == stride) return tb_axes_merge(axes, n, inside);
    return known_spread(axes, &va, value, dim);
}

int tb_axes_merge(tb_axes *axes, int n, const tb_factor *factors) {
    int parents[TB_MAX_FACTORS];
    int64_t offsets[TB_MAX_FACTORS] = {0};
    tb_label merge = {.kind = TB_LABEL_MERGE, .count = 1, .input = -1, .n_parents = n};
    for (int i = 0; i < n; i++) {
        parents[i] = tb_axes_root(axes, factors[i].label);
        merge.count *= factors[i].count;
    }
    if (n == 1) return parents[0];
    int label = tb_axes_intern(axes, merge, parents, offsets);
    return label < 0 ? -2 : tb_axes_root(axes, label);
}

bool tb_axes_derives(const tb_axes *axes, int label, int root, int depth) {
    const tb_label *l = &axes->labels[label];
    for (int i = 0; i < l->n_parents && depth < 32; i++) /* parents are older: this ends */
        if (l->parents[i] >= 0 && (tb_axes_root(axes, l->parents[i]) == root ||
                                   tb_axes_derives(axes, l->parents[i], root, depth + 1)))
            return true;
    return false;
}

static bool made_of(const tb_axes *axes, const unsigned char *marks, int n, int label, int depth) {
    label = tb_axes_root(axes, label);
    if (label < 0 || depth > 32) return false;
    if (label < n && marks[label]) return true;
    const tb_label *l = &axes->labels[label];
    for (int i = 0; i < l->n_parents; i++)
        if (made_of(axes, marks, n, l->parents[i], depth + 1)) return true;
    return false;
}

bool tb_axes_made_of(const tb_axes *axes, const unsigned char *marks, int n, int label) {
    return made_of(axes, marks, n, label, 0);
}

int tb_axes_states_of(const tb_axes *axes, int label) {
    const tb_label *l = &axes->labels[label];
    if (l->kind != TB_LABEL_CUT || l->step != 1) return -1;
    int whole = tb_axes_root(axes, l->parents[0]);
    return axes->labels[whole].count == l->count ? whole : -1;
}

bool tb_axes_moved(tb_axes *axes, const tb_value *value, int dim) {
    if (dim < 0 || dim >= value->t.rank || value->t.dims[dim] <= 1) return false;
    tb_value_axes va = *tb_axes_of(axes, value);
    align(axes, &va, &value->t);
    int64_t stride = tb_axes_stride(&value->t, dim), size = stride * value->t.dims[dim];
    for (int i = 0; i < va.n; i++) {
        const tb_factor *f = &va.factors[i];
        int root = tb_axes_root(axes, f->label);
        if (f->inner == stride && f->inner * f->count == size && f->label != root &&
            tb_axes_states_of(axes, f->label) < 0 && tb_axes_derives(axes, f->label, root, 0))
            return true;
    }
    return false;
}

bool tb_axes_is_recurrent(const tb_axes *axes, const tb_value *value, int dim) {
    const tb_value_axes *va = tb_axes_of(axes, value);
    for (int i = 0; i < va->n; i++)
        if (va->factors[i].inner == tb_axes_stride(&value->t, dim) &&
            va->factors[i].count == value->t.dims[dim])
            return tb_axes_states_of(axes, va->factors[i].label) >= 0;
    return false;
}

bool tb_axes_carries(const tb_axes *axes, const tb_value *value, int label, int64_t *inner) {
    label = tb_axes_root(axes, label);
    const tb_value_axes *va = tb_axes_of(axes, value);
    for (int i = 0; i < va->n; i++)
        if (tb_axes_root(axes, va->factors[i].label) == label) {
            *inner = va->factors[i].inner;
            return true;
        }
    const tb_label *l = &axes->labels[label];
    if (l->kind != TB_LABEL_MERGE && l->kind != TB_LABEL_PART) {
        /* split by a Reshape: its parts next to each other */
        for (int i = 0; i + 1 < va->n; i++) {
            int64_t count = 1;
            for (int k = i; k < va->n; k++) {
                const tb_label *p = &axes->labels[tb_axes_root(axes, va->factors[k].label)];
                if (p->kind != TB_LABEL_PART || tb_axes_root(axes, p->parents[0]) != label) break;
                count *= va->factors[k].count;
                if (p->step == 1 && count == l->count &&
                    va->factors[i].inner * va->factors[i].count ==
                        va->factors[k].inner * l->count) {
                    *inner = va->factors[k].inner;
                    return true;
                }
            }
        }
        return false;
    }
    if (l->kind != TB_LABEL_MERGE) return false;
    for (int i = 0; i + l->n_parents <= va->n; i++) {
        bool all = true;
        for (int k = 0; k < l->n_parents && all; k++) {
            const tb_factor *f = &va->factors[i + k];
            all = tb_axes_root(axes, f->label) == tb_axes_root(axes, l->parents[k]) &&
                  (k == 0 || va->factors[i + k - 1].inner == f->inner * f->count);
        }
        if (all) {
            *inner = va->factors[i + l->n_parents - 1].inner;
            return true;
        }
    }
    return false;
}
