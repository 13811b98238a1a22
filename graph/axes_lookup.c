/*
 * axes_lookup.c: the axes of embedding look-ups: those of the ids, or columns of them. See axes.h.
 */
#include "graph/axes_labels.h"
#include "graph/axes_pass.h"

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
static bool is_input(const tb_axes_pass *p, const tb_value *indices) {
    const tiba_tensor *own = &p->graph->inputs[indices->ids_of]->t, *t = &indices->t;
    int64_t n = tb_tensor_count(t);
    if (!own->data || !t->data || n != tb_tensor_count(own)) return false;
    int64_t offset = n ? (int64_t)tb_get_f64(t, 0) - (int64_t)tb_get_f64(own, 0) : 0;
    for (int64_t i = 0; i < n; i++) /* a table with rows in front shifts all by one number */
        if ((int64_t)tb_get_f64(t, i) - (int64_t)tb_get_f64(own, i) != offset) return false;
    return true;
}

/* Are the indices, [samples] or [samples, k], every sample's ids first, first + step, … of an input
 * [samples, n]: columns of a table? */
static bool are_columns(const tb_value *indices, const tiba_tensor *own, int64_t *first,
                        int64_t *step) {
    const tiba_tensor *t = &indices->t;
    if (!indices->places || own->rank != 2 || t->rank < 1 || t->rank > 2 ||
        t->dims[0] != own->dims[0])
        return false;
    const int64_t *places = indices->places->data, n = own->dims[1];
    int64_t k = t->rank == 2 ? t->dims[1] : 1;
    if (k == 0 || k >= n || t->dims[0] == 0) return false;
    *first = places[0];
    *step = k > 1 ? places[1] - places[0] : 1;
    for (int64_t i = 0; i < t->dims[0] * k; i++)
        if (places[i] != i / k * n + *first + i % k * *step) return false;
    return *first >= 0 && *step > 0;
}

/* Such columns are places along the input's tokens, a single one as well. */
static void look_up_columns(tb_axes_pass *p, tb_label whole, const tb_value *indices,
                            const tb_value *out, int axis, int64_t first, int64_t step) {
    whole.node = NULL;
    whole.dim = 1;
    whole.count = p->graph->inputs[indices->ids_of]->t.dims[1];
    int parent = tb_axes_intern(p->axes, whole, NULL, NULL);
    tb_label cut = {.kind = TB_LABEL_CUT, .input = -1, .step = step, .n_parents = 1};
    cut.count = indices->t.rank == 2 ? indices->t.dims[1] : 1;
    int label = parent < 0 ? -1 : tb_axes_intern(p->axes, cut, &parent, &first);
    if (label < 0)
        p->failed = true;
    else
        tb_axes_add(
            p->axes, p->to,
            (tb_factor){label, cut.count, tb_axes_stride(&out->t, axis + indices->t.rank - 1)});
}

/* Places along the last axis of the input of ids that were put to others: the same ones in every
 * sample, each from its own ids. NULL: they are not, or nobody knows. */
static const int64_t *places_along(tb_axes_pass *p, const tb_value *indices, int dim) {
    const tiba_tensor *own = &p->graph->inputs[indices->ids_of]->t, *t = &indices->t;
    if (!indices->places || dim != t->rank - 1 || own->rank < 1 || t->dims[dim] == 0) return NULL;
    const int64_t *from = indices->places->data, k = t->dims[dim], n = own->dims[own->rank - 1];
    int64_t samples = tb_tensor_count(t) / k;
    if (n == 0 || samples != tb_tensor_count(own) / n) return NULL;
    int64_t *places = TB_NEW(p->axes->arena, int64_t, k);
    if (!places) p->failed = true;
    for (int64_t i = 0; places && i < samples * k; i++) {
        int64_t place = from[i] < 0 ? -1 : from[i] - i / k * n;
        if (from[i] >= 0 && (place < 0 || place >= n)) return NULL;
        if (i >= k && place != places[i % k]) return NULL;
        places[i % k] = place;
    }
    return places;
}

/* An embedding look-up by indices of `rank` dimensions, in a table of `rows` rows. */
void tb_axes_look_up(tb_axes_pass *p, const tb_value *indices, int rank, int64_t rows,
                     const tb_value *out, int axis) {
    if (counts_up(&indices->t)) rows = 0;
    const tb_node *moved = is_input(p, indices) ? NULL : p->node;
    const tiba_tensor *own = &p->graph->inputs[indices->ids_of]->t;
    bool partial = tb_tensor_count(&indices->t) < tb_tensor_count(own);
    int64_t first, step;
    bool columns = rank == indices->t.rank && are_columns(indices, own, &first, &step);
    tb_label label = {.kind = TB_LABEL_LOOKUP,
                      .node = moved,
                      .input = indices->ids_of,
                      .rows = rows,
                      .partial = partial};
    for (int d = 0; d < (columns ? 1 : rank); d++) {
        label.dim = d;
        label.places = moved ? places_along(p, indices, d) : NULL;
        tb_axes_new(p, out, axis + d, label, NULL, NULL);
    }
    if (columns) look_up_columns(p, label, indices, out, axis, first, step);
}
