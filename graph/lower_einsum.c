/*
 * Lowering of Einsum to Transpose, Reshape, MatMul, Mul and ReduceSum, so that products and
 * attentions written with it look like any other.
 *
 * Operands are contracted from left to right. Of two, every axis is one of: batch (in both, still
 * needed), contracted (in both, not needed any more), free (in one). Free axes of one operand stand
 * in the result in the order that the equation's right side asks for where possible, so that
 * Q·Kᵀ is a MatMul and not the transpose of K·Qᵀ.
 */
#include <string.h>

#include "graph/lower.h"

enum { ELLIPSIS = 128 /* its axes are labels ELLIPSIS, … from the right */, LABELS = 192 };

typedef struct term {
    tb_value *x;
    int rank, label[TIBA_MAX_RANK];
} term;

typedef struct equation {
    int n_out, out[TIBA_MAX_RANK];
    int pending[LABELS]; /* terms not yet contracted, and the result, that have the label */
} equation;

static int find_label(const int *labels, int count, int label) {
    for (int i = 0; i < count; i++)
        if (labels[i] == label) return i;
    return -1;
}

/* Labels of a text up to ',' or '-' or its end; `dots` axes stand for the ellipsis. */
static const char *read_labels(tb_call *c, const char *text, int dots, int *count, int *labels) {
    *count = 0;
    for (; *text && *text != ',' && *text != '-'; text++) {
        int add = 1, first = *text;
        if (*text == ' ') continue;
        if (strncmp(text, "...", 3) == 0) {
            text += 2;
            add = dots;
            first = ELLIPSIS + dots - 1;
        } else if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z'))) {
            tb_call_fail(c, "its equation has an unexpected '%c'", *text >= ' ' ? *text : '?');
            return text;
        }
        if (*count + add > TIBA_MAX_RANK) {
            tb_call_fail(c, "its equation has too many axes");
            return text;
        }
        for (int i = 0; i < add; i++) labels[(*count)++] = first - i;
    }
    return text;
}

static tb_value *permuted(tb_call *c, const term *t, const int *order) {
    int64_t perm[TIBA_MAX_RANK];
    for (int i = 0; i < t->rank; i++) perm[i] = find_label(t->label, t->rank, order[i]);
    return tb_emit_transpose(c, t->x, t->rank, perm);
}

/* A label twice in one term stands for the diagonal: every (n+1)-th of n·n elements. */
static void take_diagonals(tb_call *c, term *t) {
    for (int i = 0; i < t->rank && c->status == TIBA_OK; i++) {
        int j = i + 1 + find_label(t->label + i + 1, t->rank - i - 1, t->label[i]);
        if (j == i) continue;
        int64_t perm[TIBA_MAX_RANK], dims[TIBA_MAX_RANK], size = t->x->t.dims[i];
        int n = 0, label = t->label[i];
        for (int k = 0; k < t->rank; k++)
            if (k != i && k != j) {
                dims[n] = t->x->t.dims[k];
                perm[n] = k;
                t->label[n++] = t->label[k];
            }
        perm[n] = i, perm[n + 1] = j;
        if (t->x->t.dims[j] != size || !tb_i64_mul(&dims[n], size, size)) {
            tb_call_fail(c, "its equation takes the diagonal of unequal axes");
            return;
        }
        tb_value *flat = tb_emit_reshape(c, tb_emit_transpose(c, t->x, t->rank, perm), n + 1, dims);
        int64_t start = 0, axis = n, step = size + 1;
        tb_value *in[] = {flat, tb_emit_ints(c, 1, &start), tb_emit_ints(c, 1, &dims[n]),
                          tb_emit_ints(c, 1, &axis), tb_emit_ints(c, 1, &step)};
        t->x = tb_emit(c, TB_OP_Slice, 5, in, 0, NULL);
        t->label[n] = label;
        t->rank = n + 1;
        i = -1;
    }
}

/* Sums over the axes that nothing else needs: neither a later term, the result, nor `other`. */
static void drop_unneeded(tb_call *c, const equation *e, term *t, const term *other) {
    int64_t axes[TIBA_MAX_RANK];
    int n = 0, kept = 0;
    for (int i = 0; i < t->rank; i++) {
        if (e->pending[t->label[i]] == 0 &&
            (!other || find_label(other->label, other->rank, t->label[i]) < 0))
            axes[n++] = i;
        else
            t->label[kept++] = t->label[i];
    }
    if (n == 0) return;
    t->rank = kept;
    t->x = tb_emit(c, TB_OP_ReduceSum, 2, (tb_value *[]){t->x, tb_emit_ints(c, n, axes)}, 1,
                   &TB_INT_ATTR("keepdims", 0));
}

/* The axes of two terms by what becomes of them. */
typedef struct pairing {
    int n_batch, n_sum, n_left, n_right;
    int batch[TIBA_MAX_RANK], sum[TIBA_MAX_RANK], left[TIBA_MAX_RANK], right[TIBA_MAX_RANK];
} pairing;

/* Puts labels into the order of the result; those that are not in it stay behind, as they are. */
static void in_result_order(const equation *e, int count, int *labels) {
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0; j--) {
            int a = find_label(e->out, e->n_out, labels[j - 1]),
                b = find_label(e->out, e->n_out, labels[j]);
            if (b < 0 || (a >= 0 && a <= b)) break;
            int swap = labels[j];
            labels[j] = labels[j - 1];
            labels[j - 1] = swap;
        }
}

static void pair_axes(const equation *e, const term *a, const term *b, pairing *p) {
    *p = (pairing){0};
    for (int i = 0; i < a->rank; i++) {
        int label = a->label[i];
        if (find_label(b->label, b->rank, label) < 0)
            p->left[p->n_left++] = label;
        else if (e->pending[label] > 0)
            p->batch[p->n_batch++] = label;
        else
            p->sum[p->n_sum++] = label;
    }
    for (int i = 0; i < b->rank; i++)
        if (find_label(a->label, a->rank, b->label[i]) < 0) p->right[p->n_right++] = b->label[i];
    in_result_order(e, p->n_batch, p->batch);
    in_result_order(e, p->n_left, p->left);
    in_result_order(e, p->n_right, p->right);
}

static int append(int *order, int at, const int *labels, int count) {
    if (count) memcpy(order + at, labels, (size_t)count * sizeof *order);
    return at + count;
}

static int64_t product_of(const int64_t *dims, int count) {
    int64_t product = 1;
    for (int i = 0; i < count; i++)
        if (!tb_i64_mul(&product, product, dims[i])) return -2; /* refused by Reshape */
    return product;
}

/* x with `n_batch` leading axes kept and the others merged into groups of the given counts. */
static tb_value *grouped(tb_call *c, tb_value *x, int n_batch, int first, int second,
                         bool keep_first) {
    if (c->status != TIBA_OK) return NULL;
    int64_t dims[TIBA_MAX_RANK + 2];
    const int64_t *d = x->t.dims;
    int n = 0;
    for (; n < n_batch; n++) dims[n] = d[n];
    if (keep_first)
        for (int i = 0; i < first; i++, n++) dims[n] = d[n];
    else
        dims[n++] = product_of(d + n_batch, first);
    dims[n++] = product_of(d + n_batch + first, second);
    if (n > TIBA_MAX_RANK) return tb_call_fail(c, "its equation has too many axes");
    return tb_emit_reshape(c, x, n, dims);
}

/* Batch axes of both may be 1 in one of them (in the ellipsis): the larger one counts. */
static void result_dims(const pairing *p, const tb_value *a, const tb_value *b, int64_t *dims) {
    int n = 0;
    for (int i = 0; i < p->n_batch; i++, n++)
        dims[n] = a->t.dims[i] == 1 ? b->t.dims[i] : a->t.dims[i];
    for (int i = 0; i < p->n_left; i++, n++) dims[n] = a->t.dims[p->n_batch + i];
    for (int i = 0; i < p->n_right; i++, n++) dims[n] = b->t.dims[p->n_batch + p->n_sum + i];
}

/* a [batch, left, sum] · b [batch, sum, right], or an outer product where nothing is summed. */
static void contract(tb_call *c, const equation *e, term *a, const term *b) {
    pairing p;
    pair_axes(e, a, b, &p);
    int order[2 * TIBA_MAX_RANK], rank = p.n_batch + p.n_left + p.n_right;
    int64_t dims[3 * TIBA_MAX_RANK];
    if (rank > TIBA_MAX_RANK) {
        tb_call_fail(c, "its equation has too many axes");
        return;
    }
    append(order, append(order, append(order, 0, p.batch, p.n_batch), p.left, p.n_left), p.sum,
           p.n_sum);
    tb_value *x = permuted(c, a, order);
    append(order, append(order, append(order, 0, p.batch, p.n_batch), p.sum, p.n_sum), p.right,
           p.n_right);
    tb_value *y = permuted(c, b, order);
    if (c->status != TIBA_OK) return;
    result_dims(&p, x, y, dims);
    if (p.n_sum == 0) {
        int64_t wide[TIBA_MAX_RANK];
        for (int i = 0; i < rank; i++) wide[i] = i < p.n_batch + p.n_left ? x->t.dims[i] : 1;
        x = tb_emit_reshape(c, x, rank, wide);
        for (int i = 0; i < rank; i++)
            wide[i] = i < p.n_batch              ? y->t.dims[i]
                      : i < p.n_batch + p.n_left ? 1
                                                 : y->t.dims[i - p.n_left];
        a->x = tb_emit2(c, TB_OP_Mul, x, tb_emit_reshape(c, y, rank, wide));
    } else if (x == y && p.n_left == 0 && p.n_right == 0) {
        /* a sum of squares: what norms are made of */
        int64_t axes[TIBA_MAX_RANK];
        for (int i = 0; i < p.n_sum; i++) axes[i] = p.n_batch + i;
        tb_value *in[] = {tb_emit2(c, TB_OP_Mul, x, x), tb_emit_ints(c, p.n_sum, axes)};
        a->x = tb_emit(c, TB_OP_ReduceSum, 2, in, 1, &TB_INT_ATTR("keepdims", 0));
    } else {
        /* Without batch axes the left operand keeps its leading axes, as Linear has them. */
        x = grouped(c, x, p.n_batch, p.n_left, p.n_sum, p.n_batch == 0 && p.n_left > 0);
        y = grouped(c, y, p.n_batch, p.n_sum, p.n_right, false);
        a->x = tb_emit_reshape(c, tb_emit2(c, TB_OP_MatMul, x, y), rank, dims);
    }
    a->rank = rank;
    append(a->label, append(a->label, append(a->label, 0, p.batch, p.n_batch), p.left, p.n_left),
           p.right, p.n_right);
}

/* Which operand goes left: the activation of a product with a weight, else the one whose free axes
 * come first in the result. */
static bool should_swap(const equation *e, const term *a, const term *b) {
    pairing p;
    pair_axes(e, a, b, &p);
    if (p.n_batch == 0 && a->x->active != b->x->active) return b->x->active;
    if (p.n_left == 0 || p.n_right == 0) return false;
    int left = find_label(e->out, e->n_out, p.left[0]),
        right = find_label(e->out, e->n_out, p.right[0]);
    return right >= 0 && left > right;
}

/* Reads the equation: the result's labels, and how often each label is still to come. */
static void read_equation(tb_call *c, equation *e, term *terms, const char *text) {
    int dots[TIBA_MAX_RANK * 8], most_dots = 0, seen[LABELS] = {0};
    const char *at = text;
    for (int i = 0; i < c->n_in && c->status == TIBA_OK; i++) {
        term *t = &terms[i];
        t->x = c->in[i];
        if (!t->x) {
            tb_call_fail(c, "input %d is missing", i);
            return;
        }
        const char *end = read_labels(c, at, 0, &t->rank, t->label);
        bool ellipsis = false;
        for (const char *p = at; p < end; p++) ellipsis = ellipsis || *p == '.';
        dots[i] = ellipsis ? t->x->t.rank - t->rank : 0;
        if (dots[i] < 0 || t->rank + dots[i] != t->x->t.rank) {
            tb_call_fail(c, "its equation does not fit the %d dimensions of input %d", t->x->t.rank,
                         i);
            return;
        }
        if (dots[i] > most_dots) most_dots = dots[i];
        at = read_labels(c, at, dots[i], &t->rank, t->label);
        for (int k = 0; k < t->rank; k++) {
            bool first = find_label(t->label, k, t->label[k]) < 0;
            seen[t->label[k]]++;
            if (first) e->pending[t->label[k]]++;
        }
        if (i + 1 < c->n_in && *at++ != ',') tb_call_fail(c, "its equation has too few terms");
    }
    if (c->status != TIBA_OK) return;
    if (at[0] == '-' && at[1] == '>') {
        at = read_labels(c, at + 2, most_dots, &e->n_out, e->out);
        if (*at) tb_call_fail(c, "its equation does not end after the result");
    } else if (*at) {
        tb_call_fail(c, "its equation has too many terms");
    } else {
        for (int k = most_dots; k > 0; k--) e->out[e->n_out++] = ELLIPSIS + k - 1;
        for (int label = 0; label < ELLIPSIS; label++)
            if (seen[label] == 1 && e->n_out < TIBA_MAX_RANK) e->out[e->n_out++] = label;
    }
    for (int i = 0; i < e->n_out && c->status == TIBA_OK; i++) {
        if (e->pending[e->out[i]] == 0 || find_label(e->out, i, e->out[i]) >= 0)
            tb_call_fail(c, "its result has an axis that no term has, or has it twice");
        e->pending[e->out[i]]++;
    }
}

void tb_lower_Einsum(tb_call *c) {
    enum { MOST_TERMS = TIBA_MAX_RANK * 8 };
    term terms[MOST_TERMS];
    equation e = {0};
    if (c->n_in < 1 || c->n_in > MOST_TERMS) {
        tb_call_fail(c, "has %d inputs", c->n_in);
        return;
    }
    read_equation(c, &e, terms, tb_attr_string(c->node, "equation", ""));
    for (int i = 0; i < c->n_in; i++) take_diagonals(c, &terms[i]);
    for (int i = 0; i < c->n_in && c->status == TIBA_OK; i++) {
        for (int k = 0; k < terms[i].rank; k++) e.pending[terms[i].label[k]]--;
        drop_unneeded(c, &e, &terms[i], i > 0 ? &terms[0] : NULL);
        if (i == 0 || c->status != TIBA_OK) continue;
        if (should_swap(&e, &terms[0], &terms[i])) {
            term swap = terms[0];
            terms[0] = terms[i];
            contract(c, &e, &terms[0], &swap);
        } else {
            contract(c, &e, &terms[0], &terms[i]);
        }
    }
    if (c->status != TIBA_OK) return;
    c->out[0] = permuted(c, &terms[0], e.out);
}
