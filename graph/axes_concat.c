/*
 * axes_concat.c: what Concat makes of axes: joined ones, samples, pieces put together again, stacks
 * of several inputs' vectors. See axes.h.
 */
#include "graph/axes_labels.h"
#include "graph/axes_pass.h"
#include "graph/reach.h"

/* The dimension of which operand k of a Concat along a new axis holds piece k, all of equal length
 * and together the whole: the pieces of a written-out unfold. -1: none. */
static int stacked_dim(tb_axes_pass *p, int axis, int *parent) {
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

static bool stack_pieces(tb_axes_pass *p, const tb_value *out, int axis) {
    for (int i = 0; i < p->node->n_in; i++)
        if (!p->node->in[i] || p->node->in[i]->t.rank != out->t.rank) return false;
    int parent, d = p->node->n_in > 1 ? stacked_dim(p, axis, &parent) : -1;
    if (d < 0) return false;
    int map[TIBA_MAX_RANK];
    for (int k = 0; k < out->t.rank; k++) map[k] = k == axis || k == d ? -1 : k;
    for (int i = 0; i < p->node->n_in; i++) tb_axes_carry(p->axes, p->to, p->node->in[i], out, map);
    int64_t n = p->node->n_in, length = out->t.dims[d];
    int which = tb_axes_part(p->axes, parent, n, length);
    int inside = tb_axes_part(p->axes, parent, length, 1);
    if (which < 0 || inside < 0) p->failed = true;
    tb_axes_add(p->axes, p->to, (tb_factor){which, n, tb_axes_stride(&out->t, axis)});
    tb_axes_add(p->axes, p->to, (tb_factor){inside, length, tb_axes_stride(&out->t, d)});
    return true;
}

/* The label whose cuts are put together again in their places (a rotation of the patches alone), -1
 * if there is none. */
static int whole_again(const tb_axes *axes, int n, const int *parts, const int64_t *offsets,
                       int64_t count) {
    int whole = -1;
    for (int i = 0; i < n && whole < 0; i++)
        if (parts[i] >= 0 && axes->labels[parts[i]].kind == TB_LABEL_CUT)
            whole = tb_axes_root(axes, axes->labels[parts[i]].parents[0]);
    if (whole < 0 || axes->labels[whole].count != count) return -1;
    const tb_label *w = &axes->labels[whole];
    for (int i = 0; i < n; i++) {
        const tb_label *l = parts[i] < 0 ? NULL : &axes->labels[parts[i]];
        bool fits = l && l->kind == TB_LABEL_CUT && l->step == 1 && l->offsets[0] == offsets[i] &&
                    tb_axes_root(axes, l->parents[0]) == whole;
        for (int k = 0; l && !fits && w->kind == TB_LABEL_JOIN && k < w->n_parents; k++)
            fits = w->offsets[k] == offsets[i] && tb_axes_root(axes, w->parents[k]) == parts[i];
        if (!fits) return -1;
    }
    return whole;
}

/* The label that a dimension has in an operand, where the operands have different ones; -1: none.
 */
static int differing(tb_axes_pass *p, int dim) {
    int first = -1;
    for (int i = 0; i < p->node->n_in; i++) {
        int label = tb_axes_root(p->axes, tb_axes_dim(p->axes, p->node->in[i], dim));
        if (label >= 0 && first >= 0 && label != first) return first;
        if (first < 0) first = label;
    }
    return -1;
}

/* Is the value an input's own elements, moved at most: are all its axes known? */
static bool is_raw(tb_axes_pass *p, const tb_value *value) {
    for (int d = 0; d < value->t.rank; d++)
        if (value->t.dims[d] > 1 && tb_axes_dim(p->axes, value, d) < 0) return false;
    return value->active;
}

/* Samples put one behind the other (views of a picture, two texts): another axis on which they
 * differ, mirrored or of another input, is none of theirs. Feature maps that are joined by their
 * channels or tokens are lined up on the others. True if the samples themselves need a label. */
static bool join_samples(tb_axes_pass *p, const tb_value *out, unsigned *changes) {
    bool raw = true;
    *changes = 0;
    for (int d = 1; d < out->t.rank && out->t.rank > 2; d++) {
        int parent = differing(p, d);
        if (parent < 0) continue;
        int64_t offset = 0;
        tb_label other = {
            .kind = TB_LABEL_OTHER, .node = p->node, .input = -1, .dim = d, .n_parents = 1};
        tb_axes_new(p, out, d, other, &parent, &offset);
        *changes |= 1u << d;
    }
    for (int i = 0; i < p->node->n_in; i++) raw = raw && is_raw(p, p->node->in[i]);
    return raw && out->t.rank > 2;
}

/* The graph inputs that a value depends on, as bits; of the first 64. */
static uint64_t inputs_behind(tb_axes_pass *p, const tb_value *value) {
    uint64_t bits = 0;
    unsigned char *below = TB_NEW(p->axes->arena, unsigned char, p->graph->n_values);
    if (!below) {
        p->failed = true;
        return 0;
    }
    tb_mark_ancestors(p->graph, value, below);
    for (int i = 0; i < p->graph->n_inputs && i < 64; i++)
        if (p->graph->inputs[i] && below[p->graph->inputs[i]->id]) bits |= UINT64_C(1) << i;
    for (const tb_node *node = p->graph->first; node; node = node->next)
        for (int i = 0; i < node->n_in && node->out[0] && below[node->out[0]->id]; i++)
            if (node->in[i] && node->in[i]->ids_of >= 0 && node->in[i]->ids_of < 64)
                bits |= UINT64_C(1) << node->in[i]->ids_of;
    return bits;
}

/* Fills in parents where Concat stacks vectors of one input each (a table's columns; the states and
 * the actions of a trajectory, for all of its steps): what an input has alone makes its vector a
 * token of it. False: they are not. */
static bool stack_inputs(tb_axes_pass *p, int axis, int *parents) {
    const tb_node *node = p->node;
    uint64_t *behind = TB_NEW(p->axes->arena, uint64_t, node->n_in), once = 0, again = 0;
    int n = 0, streams = 0;
    if (!behind) p->failed = true;
    if (!behind || axis == 0) return false; /* along the first axis they are samples */
    for (int i = 0; i < node->n_in; i++) {
        if (!node->in[i]->active || node->in[i]->t.dims[axis] == 0) continue;
        if (node->in[i]->t.dims[axis] != 1) return false;
        behind[i] = inputs_behind(p, node->in[i]);
        again |= once & behind[i];
        once |= behind[i];
    }
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        if (in->t.dims[axis] == 0) continue;
        if (in->active) {
            uint64_t own = behind[i] & ~again;
            if (!own) return false;
            tb_label label = {.kind = TB_LABEL_INPUT, .count = 1, .dim = 1};
            while (!(own >> label.input & 1)) label.input++;
            parents[n] = tb_axes_intern(p->axes, label, NULL, NULL);
            if (parents[n] < 0) p->failed = true;
            streams++;
        }
        n++;
    }
    return streams > 1 && !p->failed;
}

/* The tokens of an operand by what they are joined as. Those of one frame of a video (one window,
 * one column) that was cut out of all are not those of the next, though each has its patches in the
 * same places: what each is joined with attends to its own. Samples are told apart anyway. */
static int joined_label(tb_axes_pass *p, const tb_value *in, int axis) {
    if (in->t.dims[axis] == 1) return tb_axes_root(p->axes, tb_axes_unit(p->axes, in, axis));
    int label = tb_axes_root(p->axes, tb_axes_dim(p->axes, in, axis));
    const tb_value_axes *va = p->axes->values[in->id];
    for (int i = 0; label >= 0 && va && i < va->n_units; i++) {
        int unit = tb_axes_root(p->axes, va->units[i].label);
        if (unit < 0 || p->axes->labels[unit].kind != TB_LABEL_CUT) continue;
        const tb_label *all =
            &p->axes->labels[tb_axes_root(p->axes, p->axes->labels[unit].parents[0])];
        bool samples =
            (all->kind == TB_LABEL_INPUT || all->kind == TB_LABEL_LOOKUP) && all->dim == 0;
        if (samples || all->count < 2) continue;
        tb_label own = {
            .kind = TB_LABEL_PART, .input = -1, .step = 1, .dim = unit + 1, .n_parents = 1};
        int64_t offset = 0;
        own.count = p->axes->labels[label].count;
        label = tb_axes_intern(p->axes, own, &label, &offset);
        if (label < 0) p->failed = true;
    }
    return label;
}

void tb_axes_concat(tb_axes_pass *p, const tb_value *out) {
    const tb_node *node = p->node;
    int axis = (int)tb_axes_wrapped(tb_attr_int(node, "axis", 0), out->t.rank);
    int *parents = TB_NEW(p->axes->arena, int, node->n_in), n = 0;
    int64_t *offsets = TB_NEW(p->axes->arena, int64_t, node->n_in), at = 0;
    bool any = false, all = true;
    if (!parents || !offsets) {
        p->failed = true;
        return;
    }
    if (stack_pieces(p, out, axis)) return;
    for (int i = 0; i < node->n_in; i++)
        if (!node->in[i] || node->in[i]->t.rank != out->t.rank) return;
    unsigned changes = 0;
    if (axis == 0 && node->n_in > 1) any = join_samples(p, out, &changes);
    for (int i = 0; i < node->n_in; i++) {
        const tb_value *in = node->in[i];
        int map[TIBA_MAX_RANK];
        for (int d = 0; d < in->t.rank; d++) {
            /* an axis of 1 beside the one that is joined has the same place, but not its token */
            bool beside = in->t.dims[axis] == 1 && in->t.dims[d] == 1 &&
                          tb_axes_stride(&in->t, d) == tb_axes_stride(&in->t, axis);
            map[d] = d == axis || beside || changes >> d & 1 ? -1 : d;
        }
        tb_axes_carry(p->axes, p->to, in, out, map);
        if (in->t.dims[axis] > 0) {
            parents[n] = joined_label(p, in, axis);
            any |= parents[n] >= 0;
            all &= parents[n] >= 0;
            offsets[n++] = at;
        }
        at += in->t.dims[axis];
    }
    int steps = all ? -1 : tb_axes_steps(p, axis);
    if (steps >= 0) { /* in the places of these tokens, but made of others too */
        tb_label each = {.kind = TB_LABEL_CUT, .input = -1, .step = 1, .n_parents = 1};
        int64_t offset = 0;
        tb_axes_new(p, out, axis, each, &steps, &offset);
        return;
    }
    if (!any && !stack_inputs(p, axis, parents)) return;
    /* one operand: the others are empty (a key-value cache of length 0) */
    int whole = n == 1 ? parents[0] : whole_again(p->axes, n, parents, offsets, at);
    if (whole >= 0) {
        tb_axes_add(p->axes, p->to, (tb_factor){whole, at, tb_axes_stride(&out->t, axis)});
        return;
    }
    /* the same tokens joined the same way are the same axis, wherever that is done */
    tb_label join = {.kind = TB_LABEL_JOIN, .node = all ? NULL : node, .input = -1, .n_parents = n};
    tb_axes_new(p, out, axis, join, parents, offsets);
}
