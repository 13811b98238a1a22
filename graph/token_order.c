/* token_order.c: tokens followed to their places in an input. See token_order.h. */
#include "graph/token_order.h"

enum { MOST_LABELS = 64, MOST_AXES = 4 };

typedef struct tracker {
    const tb_axes *axes;
    int top;                 /* the token label */
    int labels[MOST_LABELS]; /* it and all that it is made of, youngest first */
    int n;
    bool has[MOST_LABELS]; /* the token at hand: does it come from that label, and from where */
    int64_t at[MOST_LABELS];
    int ends[MOST_AXES]; /* places in `labels` of the input's axes */
    int n_ends;
    int64_t *places; /* [tokens, n_ends] */
    bool pairs;      /* an axis beside itself: a token is of two places in it */
} tracker;

static const tb_label *label_at(const tracker *t, int i) {
    return &t->axes->labels[t->labels[i]];
}

static bool is_end(const tb_label *l) {
    return l->kind == TB_LABEL_INPUT || l->kind == TB_LABEL_LOOKUP || l->kind == TB_LABEL_GRID;
}

/* Every operator whose coordinates are known; padding is the only other axis that is. */
static bool is_known(const tb_label *l) {
    return l->kind != TB_LABEL_SPREAD && (l->kind != TB_LABEL_OTHER || tb_is(l->node, TB_OP_Pad));
}

static bool collect(tracker *t, int label) {
    label = tb_axes_root(t->axes, label);
    if (label < 0) return true;
    for (int i = 0; i < t->n; i++)
        if (t->labels[i] == label) return true;
    const tb_label *l = &t->axes->labels[label];
    if (t->n == MOST_LABELS || !is_known(l)) return false;
    t->labels[t->n++] = label;
    for (int i = 1; i < l->n_parents && l->kind == TB_LABEL_MERGE; i++)
        for (int k = 0; k < i; k++)
            t->pairs |=
                tb_axes_root(t->axes, l->parents[i]) == tb_axes_root(t->axes, l->parents[k]);
    for (int i = 0; i < l->n_parents && !is_end(l); i++)
        if (!collect(t, l->parents[i])) return false;
    return true;
}

/* Labels are made after what they are made of; ends may be younger and lead nowhere. */
static void sort(tracker *t) {
    for (int i = 1; i < t->n; i++)
        for (int k = i; k > 0 && t->labels[k] > t->labels[k - 1]; k--) {
            int swap = t->labels[k];
            t->labels[k] = t->labels[k - 1];
            t->labels[k - 1] = swap;
        }
}

/* Parts of one axis come one by one: their coordinates are added. */
static void give(tracker *t, int label, int64_t at) {
    label = tb_axes_root(t->axes, label);
    for (int i = 0; i < t->n && label >= 0; i++) {
        if (t->labels[i] != label) continue;
        t->at[i] = (t->has[i] ? t->at[i] : 0) + at;
        t->has[i] = true;
    }
}

/* How many elements Pad put in front of the dimension; cut off: negative. */
static int64_t pad_before(const tb_label *l) {
    const tb_value *pads = l->node->in[1], *axes = l->node->n_in > 3 ? l->node->in[3] : NULL;
    int64_t n = pads->t.data ? tb_tensor_count(&pads->t) / 2 : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t d = axes ? tb_get_i64(&axes->t, i) : i;
        if (d < 0) d += l->node->out[0]->t.rank;
        if (d == l->dim) return tb_get_i64(&pads->t, i);
    }
    return 0;
}

/* Hands a coordinate on to what the label is made of. */
static void step(tracker *t, int i) {
    const tb_label *l = label_at(t, i);
    int64_t at = t->at[i], count;
    switch (l->kind) {
    case TB_LABEL_MERGE:
        for (int k = l->n_parents - 1; k >= 0; k--) {
            count = t->axes->labels[tb_axes_root(t->axes, l->parents[k])].count;
            give(t, l->parents[k], at % count);
            at /= count;
        }
        break;
    case TB_LABEL_JOIN:
        for (int k = l->n_parents - 1; k >= 0; k--)
            if (l->offsets[k] <= at) {
                give(t, l->parents[k], at - l->offsets[k]);
                break;
            }
        break;
    case TB_LABEL_CUT:
        give(t, l->parents[0], l->offsets[0] + at * l->step);
        break;
    case TB_LABEL_PART:
        give(t, l->parents[0], at * l->step);
        break;
    case TB_LABEL_OTHER:
        count = t->axes->labels[tb_axes_root(t->axes, l->parents[0])].count;
        at -= pad_before(l);
        if (at >= 0 && at < count) give(t, l->parents[0], at);
        break;
    default:
        break;
    }
}

static void follow(tracker *t, int64_t token) {
    for (int i = 0; i < t->n; i++) t->has[i] = false;
    give(t, t->top, token);
    for (int i = 0; i < t->n; i++)
        if (t->has[i]) step(t, i);
}

/* The dimension of the input that an axis of a grid runs along, -1 unknown. */
static int input_dim(const tb_axes *axes, int label) {
    for (int depth = 0; label >= 0 && depth < 64; depth++) {
        const tb_label *l = &axes->labels[tb_axes_root(axes, label)];
        if (l->kind == TB_LABEL_INPUT || l->kind == TB_LABEL_LOOKUP) return l->dim;
        label = -1;
        for (int k = 0; k < l->n_parents && label < 0; k++) label = l->parents[k];
    }
    return -1;
}

/* Sorts the ends by the input's dimensions, or those of the convolution that made the grid. */
static void sort_ends(tracker *t) {
    bool known = true;
    int dims[MOST_AXES];
    for (int i = 0; i < t->n_ends; i++) {
        dims[i] = input_dim(t->axes, t->labels[t->ends[i]]);
        known = known && dims[i] >= 0;
    }
    for (int i = 0; i < t->n_ends && !known; i++) dims[i] = label_at(t, t->ends[i])->dim;
    for (int i = 1; i < t->n_ends; i++)
        for (int k = i; k > 0 && dims[k] < dims[k - 1]; k--) {
            int end = t->ends[k], dim = dims[k];
            t->ends[k] = t->ends[k - 1], dims[k] = dims[k - 1];
            t->ends[k - 1] = end, dims[k - 1] = dim;
        }
}

/* Are they the same places of the same input: of a table, columns that are looked up and columns
 * that are numbers? */
static bool is_same_axis(const tb_label *a, const tb_label *b) {
    return a->kind != TB_LABEL_GRID && b->kind != TB_LABEL_GRID && !a->node && !b->node &&
           a->input == b->input && a->dim == b->dim && a->count == b->count;
}

/* Where the token at hand lies on an axis that the first one comes from; -1: it does not. */
static int64_t place_on(const tracker *t, int end) {
    for (int i = 0; i < t->n; i++)
        if (t->has[i] && (i == end || (is_end(label_at(t, i)) &&
                                       is_same_axis(label_at(t, i), label_at(t, end)))))
            return t->at[i];
    return -1;
}

/* Finds the axes that the first token comes from, and all tokens' places in them. */
static tb_token_order find_places(tracker *t, int64_t first, int64_t n) {
    for (int64_t token = 0; token < n; token++) {
        follow(t, first + token);
        if (token == 0) {
            for (int i = 0; i < t->n; i++) {
                if (!t->has[i] || !is_end(label_at(t, i))) continue;
                if (t->n_ends == MOST_AXES) return TB_ORDER_UNKNOWN;
                t->ends[t->n_ends++] = i;
            }
            if (t->n_ends == 0) return TB_ORDER_OTHER; /* it comes from no input */
            sort_ends(t);
            t->places = TB_NEW(t->axes->arena, int64_t, n * t->n_ends);
            if (!t->places) return TB_ORDER_NO_MEMORY;
        }
        for (int i = 0; i < t->n_ends; i++) {
            int64_t place = place_on(t, t->ends[i]);
            if (place < 0) return TB_ORDER_OTHER;
            t->places[token * t->n_ends + i] = place;
        }
    }
    return TB_ORDER_KEPT;
}

/* Do the tokens count through the axes, the last fastest, in equal steps that cover each? */
static bool counts_through(const tracker *t, int64_t n, bool turned) {
    int64_t step_of[MOST_AXES], counts[MOST_AXES], all = 1;
    for (int i = 0; i < t->n_ends; i++) {
        int64_t least = 0, most = 0, size = label_at(t, t->ends[i])->count;
        for (int64_t token = 0; token < n; token++) {
            int64_t at = t->places[token * t->n_ends + i];
            if (at > most) most = at;
            if (at > 0 && (least == 0 || at < least)) least = at;
        }
        step_of[i] = least ? least : size;
        counts[i] = most / step_of[i] + 1;
        if ((counts[i] + 1) * step_of[i] <= size) return false;
        all *= counts[i];
    }
    if (all != n) return false;
    for (int64_t token = 0; token < n; token++) {
        int64_t rest = token;
        for (int k = t->n_ends - 1; k >= 0; k--) {
            int i = turned ? t->n_ends - 1 - k : k;
            if (t->places[token * t->n_ends + i] != rest % counts[i] * step_of[i]) return false;
            rest /= counts[i];
        }
    }
    return true;
}

/* Are the tokens one behind the other on one axis? They may begin and end anywhere. */
static bool counts_up(const tracker *t, int64_t n) {
    if (t->n_ends > 1) return counts_through(t, n, false);
    int64_t each = n > 1 ? t->places[1] - t->places[0] : 1;
    for (int64_t token = 1; token < n; token++)
        if (t->places[token] - t->places[token - 1] != each) return false;
    return each > 0;
}

/* Were pieces of one axis put together in another order (rolled)? */
static bool is_shuffled(const tb_axes *axes, const tb_label *join) {
    const tb_label *before = NULL;
    for (int i = 0; join->kind == TB_LABEL_JOIN && i < join->n_parents; i++) {
        int part = tb_axes_root(axes, join->parents[i]);
        const tb_label *l = part < 0 ? NULL : &axes->labels[part];
        if (!l || l->kind != TB_LABEL_CUT) continue;
        if (before && tb_axes_root(axes, before->parents[0]) == tb_axes_root(axes, l->parents[0]) &&
            before->offsets[0] > l->offsets[0])
            return true;
        before = l;
    }
    return false;
}

/* A stretch of an axis, in places of the one at hand, that patches are made of. */
typedef struct stretch {
    double from, to;
    bool whole; /* all that their kernels read; else where they lie */
    bool turned;
} stretch;

/* Windows lie in the middle of what they read: a kernel that is larger than its step reads as much
 * more at both ends, where it may have been padded for that. */
static void through_grid(stretch *s, const tb_label *l, int64_t below) {
    int64_t n;
    const int64_t *strides = tb_attr_ints(l->node, "strides", &n);
    double each = s->whole || below < l->count ? (double)below / (double)l->count
                  : strides && l->dim < n      ? (double)strides[l->dim]
                                               : (double)(below / l->count);
    double before = ((double)below - (double)l->count * each) / 2;
    s->from = s->from * each + before;
    s->to = s->to * each + before;
}

static void through_cut(stretch *s, const tb_label *l) {
    double first = (double)l->offsets[0], step = (double)l->step, from = s->from, to = s->to;
    s->turned ^= step < 0;
    s->from = step < 0 ? first + 1 + to * step : first + from * step;
    s->to = step < 0 ? first + 1 + from * step : first + to * step;
}

/* Takes the stretch to the axis that this one was (for the greater part) made of; -1: none. */
static int through(stretch *s, const tb_axes *axes, const tb_label *l) {
    int of = 0;
    int64_t most = 0, count;
    for (int i = 0; i < l->n_parents && l->kind == TB_LABEL_JOIN; i++) {
        if (l->parents[i] < 0) continue;
        count = axes->labels[tb_axes_root(axes, l->parents[i])].count;
        if (count > most) most = count, of = i;
    }
    int parent = tb_axes_root(axes, l->parents[of]);
    if (parent < 0) return -1;
    count = axes->labels[parent].count;
    bool padded = l->kind == TB_LABEL_OTHER && tb_is(l->node, TB_OP_Pad);
    if (l->kind == TB_LABEL_CUT) {
        through_cut(s, l);
    } else if (l->kind == TB_LABEL_GRID) {
        through_grid(s, l, count);
    } else if (padded || l->kind == TB_LABEL_JOIN) {
        double before = padded ? (double)pad_before(l) : (double)l->offsets[of];
        s->from -= before;
        s->to -= before;
    } else {
        s->from *= (double)count / (double)l->count;
        s->to *= (double)count / (double)l->count;
    }
    return parent;
}

/* Does the axis that `cells` patches were made of hold an input's places in another order, not all
 * of them, or more: mirrored, rolled, with a patch or more missing or padded at one end? */
static bool is_elsewhere(const tb_axes *axes, int label, int64_t cells) {
    stretch all = {0, (double)cells, true, false}, own = {0, (double)cells, false, false};
    const tb_label *l = &axes->labels[tb_axes_root(axes, label)];
    for (int depth = 0; l->n_parents > 0 && depth < 32; depth++) {
        if (is_shuffled(axes, l)) return true;
        through(&all, axes, l);
        int parent = through(&own, axes, l);
        if (parent < 0) return own.turned;
        l = &axes->labels[parent];
    }
    double end = (double)l->count, patch = (own.to - own.from) / (double)cells;
    bool missing = all.from >= patch || end - all.to >= patch;
    bool padded = own.from <= -patch || own.to - end >= patch;
    return own.turned || missing || padded;
}

/* The same of the picture (or sound) that the patches at hand were made of. */
static bool is_made_elsewhere(const tracker *t) {
    for (int i = 0; i < t->n_ends; i++) {
        const tb_label *l = label_at(t, t->ends[i]);
        if (l->kind == TB_LABEL_GRID && l->n_parents > 0 &&
            is_elsewhere(t->axes, t->labels[t->ends[i]], l->count))
            return true;
    }
    return false;
}

tb_token_order tb_token_order_of(const tb_axes *axes, int label, int64_t first, int64_t n,
                                 tb_token_place as) {
    tracker t = {.axes = axes, .top = label};
    if (n <= 0 || !collect(&t, label)) return TB_ORDER_UNKNOWN;
    sort(&t);
    tb_token_order found = find_places(&t, first, n);
    if (found != TB_ORDER_KEPT) return found;
    if (is_made_elsewhere(&t)) return TB_ORDER_OTHER;
    bool kept = as == TB_ORDER_OF_SEQUENCE
                    ? counts_up(&t, n)
                    : counts_through(&t, n, false) ||
                          (as == TB_ORDER_OF_SOUND && counts_through(&t, n, true));
    return kept ? TB_ORDER_KEPT : TB_ORDER_OTHER;
}

/* Where the token at hand comes from. Frames and patches lie along several of an input's places; of
 * an input's own axes the places count through, the last fastest. Of vectors that were stacked
 * each is its own input's, and the other axes only say which of its tokens it is. */
static tb_token_origin origin_of(const tracker *t) {
    tb_token_origin origin = {.input = -1, .place = -1};
    int ends = 0, before = -1, stacked = -1;
    for (int i = t->n - 1; i >= 0; i--) { /* oldest first: an input's axes in order */
        const tb_label *l = label_at(t, i);
        if (!t->has[i] || !is_end(l)) continue;
        int input = tb_label_input(t->axes, t->labels[i]);
        if (l->kind == TB_LABEL_INPUT && l->count == 1) {
            stacked = input;
            continue;
        }
        bool known = l->kind != TB_LABEL_GRID && (!l->node || l->places) && input == l->input;
        bool first = ends++ == 0, next = origin.place >= 0 && l->dim == before + 1;
        int64_t at = known && l->places ? l->places[t->at[i]] : t->at[i];
        if (at < 0) input = -1; /* joined with ids, such as the token that a decoder starts with */
        origin.place = !known ? -1 : first ? at : next ? origin.place * l->count + at : -1;
        if (!first && input != origin.input) input = -1, origin.place = -1;
        origin.input = input;
        before = l->dim;
    }
    if (stacked >= 0) {
        origin.input = stacked;
        if (ends == 0) origin.place = 0;
    }
    if (t->pairs) origin.place = -1;
    return origin;
}

bool tb_token_origins(const tb_token_origin **out, const tb_axes *axes, int label, int64_t n) {
    tracker t = {.axes = axes, .top = label};
    *out = NULL;
    if (n <= 0 || !collect(&t, label)) return true;
    sort(&t);
    tb_token_origin *origins = TB_NEW(axes->arena, tb_token_origin, n);
    if (!origins) return false;
    for (int64_t token = 0; token < n; token++) {
        follow(&t, token);
        origins[token] = origin_of(&t);
    }
    *out = origins;
    return true;
}
