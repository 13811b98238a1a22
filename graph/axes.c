#include "graph/axes.h"

#include <string.h>

int tb_axes_root(const tb_axes *axes, int label) {
    while (label >= 0 && axes->labels[label].same_as != label) label = axes->labels[label].same_as;
    return label;
}

/* -------------------------------------------------------------------------------- labels */

/* A new label, or the one that is already there with the same origin. -1: out of memory. */
static int intern(tb_axes *axes, tb_label wanted, const int *parents, const int64_t *offsets) {
    for (int i = 0; i < axes->n_labels; i++) {
        const tb_label *l = &axes->labels[i];
        if (l->kind != wanted.kind || l->count != wanted.count || l->node != wanted.node ||
            l->input != wanted.input || l->dim != wanted.dim || l->step != wanted.step ||
            l->n_parents != wanted.n_parents)
            continue;
        bool same = true;
        for (int k = 0; k < l->n_parents && same; k++)
            same = tb_axes_root(axes, l->parents[k]) == tb_axes_root(axes, parents[k]) &&
                   l->offsets[k] == offsets[k];
        if (!same) continue;
        if (wanted.rows > l->rows) axes->labels[i].rows = wanted.rows;
        return i;
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

/* Element-wise operators line axes up: from then on they are one. The older label stays. */
static void unify(tb_axes *axes, int a, int b) {
    a = tb_axes_root(axes, a);
    b = tb_axes_root(axes, b);
    if (a == b || axes->labels[a].count != axes->labels[b].count) return;
    const tb_label *first = &axes->labels[a < b ? a : b], *second = &axes->labels[a < b ? b : a];
    if ((a < b) != better_look_up(first, second))
        axes->labels[b].same_as = a;
    else
        axes->labels[a].same_as = b;
}

/* -------------------------------------------------------------------------------- factors */

static const tb_value_axes *axes_of(const tb_axes *axes, const tb_value *value) {
    static const tb_value_axes none;
    const tb_value_axes *found =
        value && value->id < axes->n_values ? axes->values[value->id] : NULL;
    return found ? found : &none;
}

/* Inserts in flat order, outermost (largest inner) first. A factor that is there already (from the
 * other operand of an element-wise operator) is unified; one that overlaps another is dropped. */
static void add_factor(tb_axes *axes, tb_value_axes *to, tb_factor f) {
    if (f.count <= 1 || f.label < 0) return;
    int at = 0;
    for (; at < to->n; at++) {
        const tb_factor *g = &to->factors[at];
        if (g->inner == f.inner && g->count == f.count) {
            unify(axes, g->label, f.label);
            to->factors[at].label = tb_axes_root(axes, g->label);
            return;
        }
        if (f.inner < g->inner * g->count && g->inner < f.inner * f.count) return;
        if (g->inner < f.inner) break;
    }
    if (to->n == TB_MAX_FACTORS) return;
    memmove(&to->factors[at + 1], &to->factors[at], (size_t)(to->n - at) * sizeof f);
    to->factors[at] = f;
    to->n++;
}

static int64_t dim_stride(const tiba_tensor *t, int dim) {
    int64_t stride = 1;
    for (int d = dim + 1; d < t->rank; d++) stride *= t->dims[d];
    return stride;
}

/* The part of parents[0] with stride `step` in it and `count` coordinates. */
static int part_label(tb_axes *axes, int label, int64_t count, int64_t step) {
    label = tb_axes_root(axes, label);
    tb_label part = {
        .kind = TB_LABEL_PART, .count = count, .input = -1, .step = step, .n_parents = 1};
    int64_t offset = 0;
    return intern(axes, part, &label, &offset);
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
            int64_t stride = dim_stride(t, d), end = stride * t->dims[d];
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
                pieces[p].label = part_label(axes, f.label, pieces[p].count, step);
                step *= pieces[p].count;
            }
        for (int p = 0; p < n; p++) add_factor(axes, &out, pieces[p]);
    }
    *va = out;
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
        count == axes->labels[parent].count ? parent : part_label(axes, parent, count, b->step);
    return *label >= 0;
}

static void rejoin(tb_axes *axes, tb_value_axes *va) {
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

/* Carries the factors of `in` to `out` by a map of dimensions: in's dimension d is out's map[d], -1
 * where it is gone or changed. */
static void carry(tb_axes *axes, tb_value_axes *to, const tb_value *in, const tb_value *out,
                  const int *map) {
    tb_value_axes va = *axes_of(axes, in);
    align(axes, &va, &in->t);
    for (int i = 0; i < va.n; i++) {
        tb_factor f = va.factors[i];
        for (int d = in->t.rank - 1; d >= 0; d--) {
            int64_t stride = dim_stride(&in->t, d);
            if (in->t.dims[d] <= 1 || f.inner < stride || f.inner >= stride * in->t.dims[d])
                continue;
            if (map[d] >= 0 && out->t.dims[map[d]] == in->t.dims[d]) {
                f.inner = f.inner / stride * dim_stride(&out->t, map[d]);
                add_factor(axes, to, f);
            }
            break;
        }
    }
}

int tb_axes_dim(tb_axes *axes, const tb_value *value, int dim) {
    if (dim < 0 || dim >= value->t.rank || value->t.dims[dim] <= 1) return -1;
    tb_value_axes va = *axes_of(axes, value);
    align(axes, &va, &value->t);
    int64_t stride = dim_stride(&value->t, dim), covered = stride * value->t.dims[dim];
    tb_factor inside[TB_MAX_FACTORS];
    int n = 0;
    for (int i = 0; i < va.n; i++) { /* outermost first, each where the one before begins */
        const tb_factor *f = &va.factors[i];
        if (f->inner * f->count != covered || f->inner < stride) continue;
        inside[n++] = *f;
        covered = f->inner;
    }
    return n > 0 && covered == stride ? tb_axes_merge(axes, n, inside) : -1;
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
    int label = intern(axes, merge, parents, offsets);
    return label < 0 ? -2 : tb_axes_root(axes, label);
}

/* Does the label come from `root` by more than being lined up with it? */
static bool derives(const tb_axes *axes, int label, int root, int depth) {
    const tb_label *l = &axes->labels[label];
    for (int i = 0; i < l->n_parents && depth < 32; i++) /* parents are older: this ends */
        if (l->parents[i] >= 0 && (tb_axes_root(axes, l->parents[i]) == root ||
                                   derives(axes, l->parents[i], root, depth + 1)))
            return true;
    return false;
}

bool tb_axes_moved(tb_axes *axes, const tb_value *value, int dim) {
    if (dim < 0 || dim >= value->t.rank || value->t.dims[dim] <= 1) return false;
    tb_value_axes va = *axes_of(axes, value);
    align(axes, &va, &value->t);
    int64_t stride = dim_stride(&value->t, dim), size = stride * value->t.dims[dim];
    for (int i = 0; i < va.n; i++) {
        const tb_factor *f = &va.factors[i];
        int root = tb_axes_root(axes, f->label);
        if (f->inner == stride && f->inner * f->count == size && f->label != root &&
            derives(axes, f->label, root, 0))
            return true;
    }
    return false;
}

bool tb_axes_carries(const tb_axes *axes, const tb_value *value, int label, int64_t *inner) {
    label = tb_axes_root(axes, label);
    const tb_value_axes *va = axes_of(axes, value);
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

/* -------------------------------------------------------------------------------- operators */

typedef struct pass {
    const tb_graph *graph;
    tb_axes *axes;
    const tb_node *node;
    tb_value_axes *to; /* of the output at hand */
    bool failed;       /* out of memory */
} pass;

/* dimensions aligned at the right, as broadcasting does */
static void carry_broadcast(pass *p, const tb_value *in, const tb_value *out) {
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) map[d] = d + out->t.rank - in->t.rank;
    carry(p->axes, p->to, in, out, map);
}

static void new_axis(pass *p, const tb_value *out, int dim, tb_label label, const int *parents,
                     const int64_t *offsets) {
    label.count = out->t.dims[dim];
    int id = intern(p->axes, label, parents, offsets);
    if (id < 0)
        p->failed = true;
    else
        add_factor(p->axes, p->to, (tb_factor){id, label.count, dim_stride(&out->t, dim)});
}

/* `dim` of `out` is a stretch of dimension `from` of `in` */
static void cut_axis(pass *p, const tb_value *in, int from, const tb_value *out, int dim,
                     int64_t start, int64_t step) {
    int parent = tb_axes_dim(p->axes, in, from);
    if (parent < 0) return;
    if (start == 0 && step == 1 && out->t.dims[dim] == in->t.dims[from]) {
        add_factor(p->axes, p->to, (tb_factor){parent, out->t.dims[dim], dim_stride(&out->t, dim)});
        return;
    }
    const tb_label *join = &p->axes->labels[tb_axes_root(p->axes, parent)];
    for (int i = 0; step == 1 && join->kind == TB_LABEL_JOIN && i < join->n_parents; i++) {
        /* exactly one of the operands that Concat joined: that one's axis again */
        int piece = join->parents[i];
        if (join->offsets[i] != start || piece < 0) continue;
        if (p->axes->labels[tb_axes_root(p->axes, piece)].count != out->t.dims[dim]) continue;
        add_factor(p->axes, p->to, (tb_factor){piece, out->t.dims[dim], dim_stride(&out->t, dim)});
        return;
    }
    tb_label cut = {.kind = TB_LABEL_CUT, .input = -1, .step = step, .n_parents = 1};
    new_axis(p, out, dim, cut, &parent, &start);
}

static int64_t wrapped(int64_t axis, int rank) {
    return axis < 0 ? axis + rank : axis;
}

/* The dimension of which operand k of a Concat along a new axis holds piece k, all of equal length
 * and together the whole: the pieces of a written-out unfold. -1: none. */
static int stacked_dim(pass *p, int axis, int *parent) {
    const tb_node *node = p->node;
    const tb_value *first = node->in[0];
    for (int d = 0; d < first->t.rank; d++) {
        int64_t length = first->t.dims[d];
        bool pieces = d != axis && length > 1;
        *parent = -1;
        for (int k = 0; k < node->n_in && pieces; k++) {
            const tb_value *in = node->in[k];
            pieces =
                in->t.rank == first->t.rank && in->t.dims[axis] == 1 && in->t.dims[d] == length;
            int label = pieces ? tb_axes_dim(p->axes, in, d) : -1;
            const tb_label *cut = label < 0 ? NULL : &p->axes->labels[tb_axes_root(p->axes, label)];
            pieces =
                cut && cut->kind == TB_LABEL_CUT && cut->step == 1 && cut->offsets[0] == k * length;
            if (!pieces) break;
            int whole = tb_axes_root(p->axes, cut->parents[0]);
            pieces = k == 0 || whole == *parent;
            *parent = whole;
        }
        if (pieces && p->axes->labels[*parent].count == node->n_in * length) return d;
    }
    return -1;
}

static bool stack_pieces(pass *p, const tb_value *out, int axis) {
    for (int i = 0; i < p->node->n_in; i++)
        if (!p->node->in[i] || p->node->in[i]->t.rank != out->t.rank) return false;
    int parent, d = p->node->n_in > 1 ? stacked_dim(p, axis, &parent) : -1;
    if (d < 0) return false;
    int map[TIBA_MAX_RANK];
    for (int k = 0; k < out->t.rank; k++) map[k] = k == axis || k == d ? -1 : k;
    for (int i = 0; i < p->node->n_in; i++) carry(p->axes, p->to, p->node->in[i], out, map);
    int64_t n = p->node->n_in, length = out->t.dims[d];
    int which = part_label(p->axes, parent, n, length);
    int inside = part_label(p->axes, parent, length, 1);
    if (which < 0 || inside < 0) p->failed = true;
    add_factor(p->axes, p->to, (tb_factor){which, n, dim_stride(&out->t, axis)});
    add_factor(p->axes, p->to, (tb_factor){inside, length, dim_stride(&out->t, d)});
    return true;
}

static void op_concat(pass *p, const tb_value *out) {
    const tb_node *node = p->node;
    int axis = (int)wrapped(tb_attr_int(node, "axis", 0), out->t.rank);
    int parents[64], n = 0;
    int64_t offsets[64], at = 0;
    bool any = false;
    if (stack_pieces(p, out, axis)) return;
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        if (!in || in->t.rank != out->t.rank) return;
        int map[TIBA_MAX_RANK];
        for (int d = 0; d < in->t.rank; d++) map[d] = d == axis ? -1 : d;
        carry(p->axes, p->to, in, out, map);
        if (in->t.dims[axis] > 0 && n < 64) {
            parents[n] = tb_axes_dim(p->axes, in, axis);
            any |= parents[n] >= 0;
            offsets[n++] = at;
        }
        at += in->t.dims[axis];
    }
    if (!any) return;
    if (n == 1) { /* the other operands are empty (a key-value cache of length 0) */
        add_factor(p->axes, p->to,
                   (tb_factor){parents[0], out->t.dims[axis], dim_stride(&out->t, axis)});
        return;
    }
    tb_label join = {.kind = TB_LABEL_JOIN, .node = node, .input = -1, .n_parents = n};
    new_axis(p, out, axis, join, parents, offsets);
}

static void op_slice(pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) map[d] = in->t.dims[d] == out->t.dims[d] ? d : -1;
    const tb_value *starts = p->node->in[1];
    const tb_value *list = p->node->n_in > 3 ? p->node->in[3] : NULL;
    const tb_value *steps = p->node->n_in > 4 ? p->node->in[4] : NULL;
    if (!starts->t.data || (list && !list->t.data) || (steps && !steps->t.data)) return;
    int64_t count = tb_tensor_count(&starts->t);
    for (int64_t i = 0; i < count; i++) { /* a reversed axis keeps its size but is another axis */
        int64_t step = steps ? tb_get_i64(&steps->t, i) : 1;
        int64_t d = wrapped(list ? tb_get_i64(&list->t, i) : i, in->t.rank);
        if (d >= 0 && d < in->t.rank && step != 1) map[d] = -1;
    }
    carry(p->axes, p->to, in, out, map);
    for (int64_t i = 0; i < count; i++) {
        int64_t d = wrapped(list ? tb_get_i64(&list->t, i) : i, in->t.rank);
        int64_t step = steps ? tb_get_i64(&steps->t, i) : 1;
        if (d < 0 || d >= in->t.rank || map[d] >= 0) continue;
        int64_t start = tb_get_i64(&starts->t, i), size = in->t.dims[d];
        if (start < 0) start += size;
        start = start < 0 ? 0 : start > size - 1 ? size - 1 : start;
        cut_axis(p, in, (int)d, out, (int)d, start, step);
    }
}

static void op_split(pass *p, const tb_value *out, int which) {
    const tb_value *in = p->node->in[0];
    int axis = (int)wrapped(tb_attr_int(p->node, "axis", 0), in->t.rank);
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) map[d] = d == axis ? -1 : d;
    carry(p->axes, p->to, in, out, map);
    int64_t start = 0;
    for (int i = 0; i < which; i++) {
        if (!p->node->out[i]) return; /* an unused piece has no shape: the offset is unknown */
        start += p->node->out[i]->t.dims[axis];
    }
    cut_axis(p, in, axis, out, axis, start, 1);
}

/* Constant indices start, start + step, … are a cut; any others make an axis of their own. */
static void gather_axis(pass *p, const tb_value *in, int axis, const tb_value *indices,
                        const tb_value *out, int dim) {
    int parent = tb_axes_dim(p->axes, in, axis);
    if (parent < 0) return;
    if (indices->t.data && indices->t.rank == 1) {
        int64_t n = indices->t.dims[0],
                first = wrapped(tb_get_i64(&indices->t, 0), (int)in->t.dims[axis]);
        int64_t step = n > 1 ? tb_get_i64(&indices->t, 1) - tb_get_i64(&indices->t, 0) : 1;
        bool even = step > 0;
        for (int64_t i = 1; i < n && even; i++)
            even = tb_get_i64(&indices->t, i) - tb_get_i64(&indices->t, i - 1) == step;
        if (even) {
            cut_axis(p, in, axis, out, dim, first, step);
            return;
        }
    }
    tb_label other = {
        .kind = TB_LABEL_OTHER, .node = p->node, .input = -1, .dim = dim, .n_parents = 1};
    int64_t offset = 0;
    new_axis(p, out, dim, other, &parent, &offset);
}

/* Indices first + a i + c j (unfold): windows and the places in them. Where they cut the axis into
 * equal pieces that is a Reshape; else the windows (the larger step) are a grid of their own. */
static void gather_windows(pass *p, const tb_value *in, int axis, const tb_value *indices,
                           const tb_value *out) {
    int parent = tb_axes_dim(p->axes, in, axis);
    const tiba_tensor *t = &indices->t;
    if (parent < 0 || !t->data || tb_tensor_count(t) == 0) return;
    int64_t size = in->t.dims[axis], n[2] = {t->dims[0], t->dims[1]};
    int64_t first = wrapped(tb_get_i64(t, 0), (int)size);
    int64_t step[2] = {n[0] > 1 ? tb_get_i64(t, n[1]) - tb_get_i64(t, 0) : 0,
                       n[1] > 1 ? tb_get_i64(t, 1) - tb_get_i64(t, 0) : 0};
    for (int64_t i = 0; i < n[0] * n[1]; i++)
        if (wrapped(tb_get_i64(t, i), (int)size) != first + i / n[1] * step[0] + i % n[1] * step[1])
            return;
    if (step[0] < 0 || step[1] < 0) return;
    int large = step[0] >= step[1] ? 0 : 1, small = 1 - large;
    bool pieces = first == 0 && n[0] * n[1] == size && step[large] == n[small];
    if (pieces && (step[small] == 1 || n[small] == 1)) {
        for (int k = 0; k < 2; k++) {
            int label = part_label(p->axes, parent, n[k], step[k]);
            if (label < 0) p->failed = true;
            add_factor(p->axes, p->to, (tb_factor){label, n[k], dim_stride(&out->t, axis + k)});
        }
        return;
    }
    int64_t offset = 0;
    tb_label grid = {
        .kind = TB_LABEL_GRID, .node = p->node, .input = -1, .dim = axis, .n_parents = 1};
    new_axis(p, out, axis + large, grid, &parent, &offset);
}

/* Do the indices only ever stay or go up by one, as positions and segments do? */
static bool counts_up(const tiba_tensor *indices) {
    int64_t n = indices->rank ? indices->dims[indices->rank - 1] : 0;
    if (!indices->data || n < 2) return false;
    for (int64_t i = 0; i < tb_tensor_count(indices); i++) {
        int64_t step = i % n ? tb_get_i64(indices, i) - tb_get_i64(indices, i - 1) : 0;
        if (step != 0 && step != 1) return false;
    }
    return true;
}

/* Are the indices the input's own ids in their places? Shifted ids (what a decoder reads) are
 * tokens of another axis. */
static bool is_input(const pass *p, const tb_value *indices) {
    const tiba_tensor *own = &p->graph->inputs[indices->ids_of]->t, *t = &indices->t;
    int64_t n = tb_tensor_count(t);
    if (!own->data || !t->data || n != tb_tensor_count(own)) return false;
    int64_t offset = n ? (int64_t)tb_get_f64(t, 0) - (int64_t)tb_get_f64(own, 0) : 0;
    for (int64_t i = 0; i < n; i++) /* a table with rows in front shifts all by one number */
        if ((int64_t)tb_get_f64(t, i) - (int64_t)tb_get_f64(own, i) != offset) return false;
    return true;
}

/* An embedding look-up by indices of `rank` dimensions, in a table of `rows` rows. */
static void look_up(pass *p, const tb_value *indices, int rank, int64_t rows, const tb_value *out,
                    int axis) {
    if (counts_up(&indices->t)) rows = 0;
    const tb_node *moved = is_input(p, indices) ? NULL : p->node;
    const tiba_tensor *own = &p->graph->inputs[indices->ids_of]->t;
    bool partial = tb_tensor_count(&indices->t) < tb_tensor_count(own);
    for (int d = 0; d < rank; d++) {
        tb_label label = {.kind = TB_LABEL_LOOKUP,
                          .node = moved,
                          .input = indices->ids_of,
                          .dim = d,
                          .rows = rows,
                          .partial = partial};
        new_axis(p, out, axis + d, label, NULL, NULL);
    }
}

static void op_gather(pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0], *indices = p->node->in[1];
    int axis = (int)wrapped(tb_attr_int(p->node, "axis", 0), in->t.rank);
    if (!in->active && indices->ids_of >= 0) {
        look_up(p, indices, indices->t.rank, in->t.dims[axis], out, axis);
        return;
    }
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++)
        map[d] = d == axis ? -1 : d < axis ? d : d + indices->t.rank - 1;
    carry(p->axes, p->to, in, out, map);
    if (indices->t.rank == 1) gather_axis(p, in, axis, indices, out, axis);
    if (indices->t.rank == 2) gather_windows(p, in, axis, indices, out);
}

/* Batch dimensions and those behind the indexed ones stay; the indexed ones end. */
static void op_gather_nd(pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0], *indices = p->node->in[1];
    int batch = (int)tb_attr_int(p->node, "batch_dims", 0), rank = indices->t.rank;
    if (rank < 1) return;
    int behind = batch + (int)indices->t.dims[rank - 1];
    if (!in->active && indices->ids_of >= 0) {
        look_up(p, indices, rank - 1, in->t.dims[batch], out, 0);
        return;
    }
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++)
        map[d] = d < batch ? d : d < behind ? -1 : d - behind + rank - 1;
    carry(p->axes, p->to, in, out, map);
}

/* One-hot rows of ids, to be multiplied by an embedding table. */
static void op_one_hot(pass *p, const tb_value *out) {
    const tb_value *indices = p->node->in[0];
    if (indices->ids_of < 0) return;
    int axis = (int)wrapped(tb_attr_int(p->node, "axis", -1), out->t.rank);
    if (axis == out->t.rank - 1) look_up(p, indices, indices->t.rank, out->t.dims[axis], out, 0);
}

static void op_matmul(pass *p, const tb_value *out) {
    const tb_value *a = p->node->in[0], *b = p->node->in[1];
    int map[TIBA_MAX_RANK], ra = a->t.rank, rb = b->t.rank, ro = out->t.rank;
    if (ra < 2 || rb < 2) return;
    for (int d = 0; d < ra; d++) map[d] = d == ra - 1 ? -1 : d + ro - ra;
    carry(p->axes, p->to, a, out, map);
    for (int d = 0; d < rb; d++) map[d] = d == rb - 2 ? -1 : d + ro - rb;
    carry(p->axes, p->to, b, out, map);
    /* what is contracted is one axis seen from both sides */
    int left = tb_axes_dim(p->axes, a, ra - 1), right = tb_axes_dim(p->axes, b, rb - 2);
    if (left >= 0 && right >= 0) unify(p->axes, left, right);
}

static void op_gemm(pass *p, const tb_value *out) {
    int trans_a = tb_attr_int(p->node, "transA", 0) != 0;
    int trans_b = tb_attr_int(p->node, "transB", 0) != 0;
    int row[2] = {trans_a ? -1 : 0, trans_a ? 0 : -1};
    carry(p->axes, p->to, p->node->in[0], out, row);
    int column[2] = {trans_b ? 1 : -1, trans_b ? -1 : 1};
    carry(p->axes, p->to, p->node->in[1], out, column);
}

static void op_linear(pass *p, const tb_value *out) {
    const tb_value *x = p->node->in[0];
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < x->t.rank; d++) map[d] = d == x->t.rank - 1 ? -1 : d;
    carry(p->axes, p->to, x, out, map);
}

/* Convolutions and poolings: batch as it is, features gone, spatial axes new where they change. */
static void op_window(pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    int map[TIBA_MAX_RANK] = {0, -1};
    int64_t n;
    const int64_t *strides = tb_attr_ints(p->node, "strides", &n);
    for (int d = 2; d < in->t.rank; d++) {
        bool same = in->t.dims[d] == out->t.dims[d] && (d - 2 >= n || strides[d - 2] == 1);
        map[d] = same ? d : -1;
    }
    carry(p->axes, p->to, in, out, map);
    for (int d = 2; d < in->t.rank; d++) {
        if (map[d] >= 0) continue;
        int parent = tb_axes_dim(p->axes, in, d);
        int64_t offset = 0;
        tb_label grid = {
            .kind = TB_LABEL_GRID, .node = p->node, .input = -1, .dim = d - 2, .n_parents = 1};
        new_axis(p, out, d, grid, &parent, &offset);
    }
}

static void op_reduce(pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    bool keep = tb_attr_int(p->node, "keepdims", 1) != 0, gone[TIBA_MAX_RANK] = {false};
    const tb_value *list = p->node->n_in > 1 ? p->node->in[1] : NULL;
    int64_t count = list && list->t.data ? tb_tensor_count(&list->t) : 0;
    if (list && !list->t.data) return;
    if (tb_find_attr(p->node, "axis")) { /* ArgMax and its like */
        gone[wrapped(tb_attr_int(p->node, "axis", 0), in->t.rank)] = true;
    } else {
        if (count == 0 && tb_attr_int(p->node, "noop_with_empty_axes", 0) == 0) return;
        for (int64_t i = 0; i < count; i++) {
            int64_t d = wrapped(tb_get_i64(&list->t, i), in->t.rank);
            if (d >= 0 && d < in->t.rank) gone[d] = true;
        }
    }
    int map[TIBA_MAX_RANK], at = 0;
    for (int d = 0; d < in->t.rank; d++) {
        map[d] = gone[d] ? -1 : keep ? d : at;
        at += !gone[d];
    }
    carry(p->axes, p->to, in, out, map);
}

static void op_transpose(pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0];
    int64_t n;
    const int64_t *perm = tb_attr_ints(p->node, "perm", &n);
    int map[TIBA_MAX_RANK];
    for (int d = 0; d < in->t.rank; d++) {
        int64_t from = perm && d < n ? perm[d] : in->t.rank - 1 - d;
        if (from >= 0 && from < in->t.rank) map[from] = d;
    }
    carry(p->axes, p->to, in, out, map);
}

/* Dimensions that stay keep their label; one that changes is an axis of its own. */
static void some_change(pass *p, const tb_value *out, unsigned changes) {
    const tb_value *in = p->node->in[0];
    int map[TIBA_MAX_RANK];
    if (in->t.rank != out->t.rank) return;
    for (int d = 0; d < in->t.rank; d++)
        map[d] = in->t.dims[d] == out->t.dims[d] && !(changes >> d & 1) ? d : -1;
    carry(p->axes, p->to, in, out, map);
    for (int d = 0; d < in->t.rank; d++) {
        int parent = map[d] < 0 ? tb_axes_dim(p->axes, in, d) : -1;
        if (parent < 0) continue;
        int64_t offset = 0;
        tb_label other = {
            .kind = TB_LABEL_OTHER, .node = p->node, .input = -1, .dim = d, .n_parents = 1};
        new_axis(p, out, d, other, &parent, &offset);
    }
}

static void op_resized(pass *p, const tb_value *out) {
    some_change(p, out, 0);
}

/* Elements of one axis are chosen, each line's on its own. */
static void op_chosen(pass *p, const tb_value *out) {
    int64_t axis = tb_is(p->node, TB_OP_TopK) ? -1 : 0;
    some_change(p, out, 1u << wrapped(tb_attr_int(p->node, "axis", axis), out->t.rank));
}

/* What is cut off in front and put on behind is another axis, though of the same size. */
static void op_pad(pass *p, const tb_value *out) {
    const tb_value *pads = p->node->in[1], *axes = p->node->n_in > 3 ? p->node->in[3] : NULL;
    unsigned changes = 0;
    int64_t n = pads->t.data ? tb_tensor_count(&pads->t) / 2 : 0;
    for (int64_t i = 0; i < n; i++)
        if (tb_get_i64(&pads->t, i) != 0)
            changes |= 1u << wrapped(axes ? tb_get_i64(&axes->t, i) : i, out->t.rank);
    some_change(p, out, changes);
}

/* All but the axis that is transformed and the parts of a number. */
static void op_dft(pass *p, const tb_value *out) {
    const tb_value *in = p->node->in[0], *axis = p->node->n_in > 2 ? p->node->in[2] : NULL;
    int map[TIBA_MAX_RANK];
    int64_t gone = wrapped(axis && axis->t.data ? tb_get_i64(&axis->t, 0) : -2, in->t.rank);
    for (int d = 0; d < in->t.rank; d++) map[d] = d == gone || d == in->t.rank - 1 ? -1 : d;
    carry(p->axes, p->to, in, out, map);
}

static void op_elementwise(pass *p, const tb_value *out) {
    for (int i = 0; i < p->node->n_in; i++)
        if (p->node->in[i] && p->node->in[i]->t.rank <= out->t.rank)
            carry_broadcast(p, p->node->in[i], out);
}

static void op_first(pass *p, const tb_value *out) {
    carry_broadcast(p, p->node->in[0], out);
}

static void op_alias(pass *p, const tb_value *out) {
    (void)out;
    *p->to = *axes_of(p->axes, p->node->in[0]);
    rejoin(p->axes, p->to);
}

/* How an operator moves axes, by op first and by class second. Without a row labels end there. */
/* clang-format off */
static const struct {
    tb_op_kind kind;
    void (*carry)(pass *, const tb_value *);
} by_kind[] = {
    {TB_OP_Concat, op_concat},
    {TB_OP_Slice, op_slice},
    {TB_OP_Gather, op_gather},
    {TB_OP_GatherND, op_gather_nd},
    {TB_OP_OneHot, op_one_hot},
    {TB_OP_MatMul, op_matmul},
    {TB_OP_Gemm, op_gemm},
    {TB_OP_Linear, op_linear},
    {TB_OP_Conv, op_window},
    {TB_OP_DFT, op_dft},
    {TB_OP_Transpose, op_transpose},
    {TB_OP_Expand, op_first},
    {TB_OP_Where, op_elementwise},
    {TB_OP_Pad, op_pad},
    {TB_OP_Resize, op_resized},
    {TB_OP_Tile, op_resized},
    {TB_OP_Trilu, op_first},
    {TB_OP_CumSum, op_first},
    {TB_OP_ScatterND, op_first},
    {TB_OP_ScatterElements, op_first},
    {TB_OP_ArgMax, op_reduce},
    {TB_OP_ArgMin, op_reduce},
    {TB_OP_Equal, op_elementwise},
    {TB_OP_Greater, op_elementwise},
    {TB_OP_Less, op_elementwise},
    {TB_OP_GatherElements, op_chosen},
    {TB_OP_TopK, op_chosen},
};
/* clang-format on */

static void carry_node(pass *p, const tb_value *out, int which) {
    if (p->node->op->def->alias) {
        op_alias(p, out);
        return;
    }
    if (p->node->op->kind == TB_OP_Split) {
        op_split(p, out, which);
        return;
    }
    for (size_t i = 0; i < sizeof by_kind / sizeof *by_kind; i++)
        if (p->node->op->kind == by_kind[i].kind) {
            by_kind[i].carry(p, out);
            return;
        }
    switch (p->node->op->class) {
    case TB_CLASS_UNARY:
    case TB_CLASS_NORM:
    case TB_CLASS_QUANT:
        if (which == 0) op_first(p, out);
        break;
    case TB_CLASS_BINARY:
        op_elementwise(p, out);
        break;
    case TB_CLASS_REDUCE:
        op_reduce(p, out);
        break;
    case TB_CLASS_POOL:
        op_window(p, out);
        break;
    default:
        break;
    }
}

tiba_status tb_axes_find(tb_axes **out, const tb_graph *graph, tb_arena *arena, tiba_error *error) {
    tb_axes *axes = TB_NEW(arena, tb_axes, 1);
    if (!axes) return tb_out_of_memory(error);
    axes->arena = arena;
    axes->n_values = graph->n_values;
    axes->values = TB_NEW(arena, tb_value_axes *, graph->n_values);
    if (!axes->values) return tb_out_of_memory(error);
    pass p = {.graph = graph, .axes = axes};
    for (int i = 0; i < graph->n_inputs; i++) {
        const tb_value *input = graph->inputs[i];
        if (!input || !input->active) continue;
        tb_value_axes *va = TB_NEW(arena, tb_value_axes, 1);
        if (!va) return tb_out_of_memory(error);
        p.to = va;
        for (int d = 0; d < input->t.rank; d++) {
            tb_label label = {.kind = TB_LABEL_INPUT, .input = i, .dim = d};
            new_axis(&p, input, d, label, NULL, NULL);
        }
        axes->values[input->id] = va;
    }
    for (const tb_node *node = graph->first; node && !p.failed; node = node->next)
        for (int k = 0; k < node->n_out; k++) {
            const tb_value *value = node->out[k];
            if (!value || value->t.data) continue;
            tb_value_axes va = {0};
            p.node = node;
            p.to = &va;
            carry_node(&p, value, k);
            if (va.n == 0) continue;
            tb_value_axes *kept = TB_NEW(arena, tb_value_axes, 1);
            if (!kept) return tb_out_of_memory(error);
            *kept = va;
            axes->values[value->id] = kept;
        }
    if (p.failed) return tb_out_of_memory(error);
    *out = axes;
    return TIBA_OK;
}
