/*
 * The z⁺-rule for tiba.Linear, y = x W (+ b), where nearly all of the work is.
 *
 *     Z = (xW + |x||W|) / 2,  S = R ⊘ Z,  R_x = (x ⊙ (S Wᵀ) + |x| ⊙ (S |W|ᵀ)) / 2
 *
 * equals the sign-matched form of rule_map.c, with xW from the forward pass. Two passes over W
 * (gemm_panels.h): one for Z and S, and one in which a packed panel serves S Wᵀ, the gradient's
 * dY Wᵀ and, its magnitudes taken in cache, S |W|ᵀ. Rows without relevance or gradient (above the
 * last attention: the tokens that the target does not read) are left out. |x||W| is the same for
 * every target of a pass (tb_shared). Small products, which are summed in float64 (gemm_small.h),
 * and machines without tiles of our own take one pass over panels of columns with tb_gemm instead.
 */
#include <math.h>
#include <string.h>

#include "rules/rule.h"
#include "runtime/clones.h"
#include "runtime/gemm.h"
#include "runtime/gemm_panels.h"
#include "runtime/gemm_small.h"
#include "runtime/kernel.h"

/* Floats of a |W| panel: about what the second-level cache holds. */
enum { PANEL_FLOATS = 192 * 1024, PANEL_LEAST = 128 };

/* Rows of a matrix that are not all zero. */
typedef struct rows {
    int64_t n;
    int64_t *index;
} rows;

typedef struct task {
    const tb_step *step;
    int64_t m, k, n; /* x: [m, k], y: [m, n] */
    int64_t ldw;
    bool trans_w; /* W is [n, k] */
    const float *x, *w, *bias, *y, *r, *d;
    float *r_in, *d_in;
    rows relevant, graded;
    rows fresh;      /* relevant ones whose shared |x||W| is not known yet */
    float *abs_x;    /* [relevant.n, k] */
    float *s;        /* [relevant.n + graded.n, panel]: S over the rows of dY */
    float *abs_w;    /* a panel of |W| */
    float *back;     /* [relevant.n + graded.n, k]: S Wᵀ over dY Wᵀ */
    float *abs_back; /* [relevant.n, k]: S |W|ᵀ */
} task;

static tiba_status find_rows(rows *out, const task *t, const float *matrix, tiba_error *error) {
    *out = (rows){0};
    if (!matrix) return TIBA_OK;
    out->index = tb_scratch(t->step->exec, (size_t)t->m, sizeof *out->index);
    if (!out->index) return tb_out_of_memory(error);
    for (int64_t i = 0; i < t->m; i++) {
        const float *row = matrix + i * t->n;
        bool zero = true;
        for (int64_t j = 0; j < t->n && zero; j++) zero = row[j] == 0.0f;
        if (!zero) out->index[out->n++] = i;
    }
    return TIBA_OK;
}

TB_CLONES static void absolute(float *to, const float *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = fabsf(from[i]);
}

/* S = R ⊘ (xW + |x||W|) / 2 for one row; z holds |x||W| and becomes S. Where all products are
 * negative (few active units, as behind a ReLU) Z is 0, but the bias has rounded xW: what is left
 * of the difference is no divisor. */
TB_CLONES static void divide_row(float *z, const float *r, const float *y, const float *bias,
                                 int64_t n) {
    const float rounding = 1e-6f;
    for (int64_t j = 0; j < n; j++) {
        float xw = bias ? y[j] - bias[j] : y[j], b = 0.5f * (z[j] + xw);
        float least = rounding * (z[j] + fabsf(y[j]));
        float ratio = r[j] / (b + TB_EPSILON);
        z[j] = b <= least ? 0.0f : ratio;
    }
}

TB_CLONES static void combine_row(float *to, const float *x, const float *back,
                                  const float *abs_back, int64_t k) {
    for (int64_t i = 0; i < k; i++) to[i] = 0.5f * (x[i] * back[i] + fabsf(x[i]) * abs_back[i]);
}

static int64_t panel_width(const task *t) {
    int64_t width = PANEL_FLOATS / (t->k ? t->k : 1);
    width -= width % 64;
    if (width < PANEL_LEAST) width = PANEL_LEAST;
    return width < t->n ? width : t->n;
}

static tiba_status get_memory(task *t, int64_t width, tiba_error *error) {
    tb_exec *exec = t->step->exec;
    size_t all = (size_t)(t->relevant.n + t->graded.n), some = (size_t)t->relevant.n;
    size_t k = (size_t)t->k, w = (size_t)width;
    t->abs_x = tb_scratch(exec, some * k + 1, sizeof(float));
    t->s = tb_scratch(exec, all * w + 1, sizeof(float));
    t->abs_w = tb_scratch(exec, k * w + 1, sizeof(float));
    t->back = tb_scratch(exec, all * k + 1, sizeof(float));
    t->abs_back = tb_scratch(exec, some * k + 1, sizeof(float));
    bool ok = t->abs_x && t->s && t->abs_w && t->back && t->abs_back;
    return ok ? TIBA_OK : tb_out_of_memory(error);
}

typedef struct abs_task {
    const task *t;
    int64_t column, width;
} abs_task;

static void panel_of_abs_w(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const abs_task *a = context;
    const task *t = a->t;
    for (int64_t i = first; i < last; i++) {
        if (t->trans_w)
            absolute(t->abs_w + i * t->k, t->w + (a->column + i) * t->ldw, t->k);
        else
            absolute(t->abs_w + i * a->width, t->w + i * t->ldw + a->column, a->width);
    }
}

static void divide_rows(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const abs_task *a = context;
    const task *t = a->t;
    for (int64_t i = first; i < last; i++) {
        int64_t row = t->relevant.index[i];
        divide_row(t->s + i * a->width, t->r + row * t->n + a->column,
                   t->y + row * t->n + a->column, t->bias ? t->bias + a->column : NULL, a->width);
    }
}

/* One panel of columns: Z, S and what the panel adds to both back-products. */
static void run_panel(task *t, int64_t column, int64_t width) {
    tb_exec *exec = t->step->exec;
    int64_t some = t->relevant.n, all = some + t->graded.n, ld_abs = t->trans_w ? t->k : width;
    float beta = column ? 1.0f : 0.0f;
    abs_task a = {t, column, width};
    if (some) {
        int64_t lines = t->trans_w ? width : t->k;
        tb_parallel_ranges(exec, lines, 1 + 65536 / (t->trans_w ? t->k : width), panel_of_abs_w,
                           &a);
        tb_gemm(exec, false, t->trans_w, some, width, t->k, 1.0f, t->abs_x, t->k, t->abs_w, ld_abs,
                0.0f, t->s, width);
        tb_parallel_ranges(exec, some, 1 + 16384 / width, divide_rows, &a);
        tb_gemm(exec, false, !t->trans_w, some, t->k, width, 1.0f, t->s, width, t->abs_w, ld_abs,
                beta, t->abs_back, t->k);
    }
    for (int64_t i = 0; i < t->graded.n; i++)
        memcpy(t->s + (some + i) * width, t->d + t->graded.index[i] * t->n + column,
               (size_t)width * sizeof(float));
    const float *w = t->w + (t->trans_w ? column * t->ldw : column);
    tb_gemm(exec, false, !t->trans_w, all, t->k, width, 1.0f, t->s, width, w, t->ldw, beta, t->back,
            t->k);
}

static void write_results(task *t) {
    for (int64_t i = 0; i < t->relevant.n; i++) {
        int64_t row = t->relevant.index[i];
        combine_row(t->r_in + row * t->k, t->x + row * t->k, t->back + i * t->k,
                    t->abs_back + i * t->k, t->k);
    }
    for (int64_t i = 0; i < t->graded.n; i++)
        memcpy(t->d_in + t->graded.index[i] * t->k, t->back + (t->relevant.n + i) * t->k,
               (size_t)t->k * sizeof(float));
}

/* ---- two passes of panels ---- */

/* S of the panel's columns, from |x||W|. */
static void divide_panel(void *context, int64_t col, int64_t cols, float *c, int64_t ldc) {
    task *t = context;
    for (int64_t i = 0; i < t->relevant.n; i++) {
        int64_t at = t->relevant.index[i] * t->n + col;
        divide_row(c + i * ldc, t->r + at, t->y + at, t->bias ? t->bias + col : NULL, cols);
        memcpy(t->s + i * t->n + col, c + i * ldc, (size_t)cols * sizeof *c);
    }
}

/* |x||W| of the panel's columns, for all targets. */
static void store_panel(void *context, int64_t col, int64_t cols, float *c, int64_t ldc) {
    const task *t = context;
    for (int64_t i = 0; i < t->fresh.n; i++)
        memcpy(t->step->shared->z + t->fresh.index[i] * t->n + col, c + i * ldc,
               (size_t)cols * sizeof *c);
}

/* S of all columns, from the shared |x||W|. */
static void divide_shared(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const task *t = context;
    for (int64_t i = first; i < last; i++) {
        int64_t at = t->relevant.index[i] * t->n;
        float *to = t->s + i * t->n;
        memcpy(to, t->step->shared->z + at, (size_t)t->n * sizeof *to);
        divide_row(to, t->r + at, t->y + at, t->bias, t->n);
    }
}

/* From S Wᵀ, dY Wᵀ and S |W|ᵀ of the panel's columns, one below the other. */
static void write_panel(void *context, int64_t col, int64_t cols, float *c, int64_t ldc) {
    const task *t = context;
    const float *graded = c + t->relevant.n * ldc, *abs_back = graded + t->graded.n * ldc;
    for (int64_t i = 0; i < t->relevant.n; i++) {
        int64_t at = t->relevant.index[i] * t->k + col;
        combine_row(t->r_in + at, t->x + at, c + i * ldc, abs_back + i * ldc, cols);
    }
    for (int64_t i = 0; i < t->graded.n; i++)
        memcpy(t->d_in + t->graded.index[i] * t->k + col, graded + i * ldc,
               (size_t)cols * sizeof *c);
}

static bool is_small(const task *t, int64_t width) {
    double all = (double)(t->relevant.n + t->graded.n);
    return all * (double)width * (double)t->k <= (double)TB_GEMM_SMALL;
}

/* S of the relevant rows. False, with nothing done, where that is not possible. */
static bool divide_all(task *t) {
    tb_exec *exec = t->step->exec;
    tb_shared *shared = t->step->shared;
    int64_t some = t->relevant.n;
    if (!tb_shared_open(shared, t->m, t->n)) {
        tb_panel_part x = {t->x, t->k, some, t->relevant.index, true, true};
        return tb_gemm_panels(exec, t->trans_w, t->n, t->k, t->w, t->ldw, 1, &x, divide_panel, t);
    }
    t->fresh.index = tb_scratch(exec, (size_t)some, sizeof *t->fresh.index);
    if (!t->fresh.index) return false;
    for (int64_t i = 0; i < some; i++) {
        int64_t row = t->relevant.index[i];
        if (!shared->known[row]) t->fresh.index[t->fresh.n++] = row;
    }
    tb_panel_part x = {t->x, t->k, t->fresh.n, t->fresh.index, true, true};
    if (t->fresh.n &&
        !tb_gemm_panels(exec, t->trans_w, t->n, t->k, t->w, t->ldw, 1, &x, store_panel, t))
        return false;
    for (int64_t i = 0; i < t->fresh.n; i++) shared->known[t->fresh.index[i]] = 1;
    tb_parallel_ranges(exec, some, 1 + 16384 / t->n, divide_shared, t);
    return true;
}

/* False, with nothing done, where that is not possible. */
static bool run_two_passes(task *t, tiba_status *status, tiba_error *error) {
    tb_exec *exec = t->step->exec;
    int64_t some = t->relevant.n;
    t->s = tb_scratch(exec, (size_t)(some * t->n + 1), sizeof(float));
    *status = t->s ? TIBA_OK : tb_out_of_memory(error);
    if (!t->s) return true;
    if (some && !divide_all(t)) return false;
    const tb_panel_part back[3] = {{t->s, t->n, some, NULL, false, false},
                                   {t->d, t->n, t->graded.n, t->graded.index, false, false},
                                   {t->s, t->n, some, NULL, false, true}};
    return tb_gemm_panels(exec, !t->trans_w, t->k, t->n, t->w, t->ldw, 3, back, write_panel, t);
}

/* Relevance, gradient or both. */
static tiba_status linear_rows(const tb_step *s, bool relevance, bool gradient, tiba_error *error) {
    const tiba_tensor *x = s->in[0], *w = s->in[1], *bias = s->node->n_in > 2 ? s->in[2] : NULL;
    task t = {.step = s, .trans_w = tb_attr_int(s->node, "trans_w", 0) != 0, .ldw = w->dims[1]};
    t.k = w->dims[t.trans_w];
    t.n = w->dims[!t.trans_w];
    t.m = t.k ? tb_tensor_count(x) / t.k : 0;
    t.x = x->data, t.w = w->data, t.y = s->out[0]->data;
    t.bias = bias ? bias->data : NULL;
    t.r = relevance && s->r_in[0] ? s->r_out[0]->data : NULL;
    t.d = gradient && s->d_in[0] ? s->d_out[0]->data : NULL;
    t.r_in = t.r ? s->r_in[0]->data : NULL;
    t.d_in = t.d ? s->d_in[0]->data : NULL;
    TB_TRY(find_rows(&t.relevant, &t, t.r, error));
    TB_TRY(find_rows(&t.graded, &t, t.d, error));
    if (t.r_in && t.relevant.n < t.m) memset(t.r_in, 0, (size_t)(t.m * t.k) * sizeof(float));
    if (t.d_in && t.graded.n < t.m) memset(t.d_in, 0, (size_t)(t.m * t.k) * sizeof(float));
    int64_t width = panel_width(&t);
    tiba_status status;
    if (!is_small(&t, width) && run_two_passes(&t, &status, error)) return status;
    TB_TRY(get_memory(&t, width, error));
    for (int64_t i = 0; i < t.relevant.n; i++)
        absolute(t.abs_x + i * t.k, t.x + t.relevant.index[i] * t.k, t.k);
    for (int64_t column = 0; column < t.n && t.relevant.n + t.graded.n > 0; column += width)
        run_panel(&t, column, t.n - column < width ? t.n - column : width);
    write_results(&t);
    return TIBA_OK;
}

static tiba_status linear(const tb_step *s, tiba_error *error) {
    if (s->ruleset != TB_RULESET_TIBA) return tb_linear_map_rule(s, error);
    return linear_rows(s, true, false, error);
}

static tiba_status linear_both(const tb_step *s, tiba_error *error) {
    if (s->ruleset == TB_RULESET_TIBA) return linear_rows(s, true, true, error);
    TB_TRY(tb_linear_map_rule(s, error));
    return linear_rows(s, false, true, error);
}

const tb_rule tb_rule_linear = {.name = "linear",
                                .relevance = linear,
                                .both = linear_both,
                                .needs = TB_NEEDS_IN(0) | TB_NEEDS_OUT(0)};
