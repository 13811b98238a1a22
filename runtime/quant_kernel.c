#include "runtime/quant_kernel.h"

#include <float.h>
#include <math.h>

#include "runtime/broadcast.h"

enum { NUDGES = 64 };

/* x, or the next float that x / scale + before rounds to `want` for. */
static float settled(float x, float scale, float before, float want) {
    float moved = x;
    for (int i = 0; i < NUDGES; i++) {
        float got = rintf(moved / scale + before);
        if (got == want) return moved;
        if (fabsf(got - want) != 1) break;
        moved = nextafterf(moved, (got < want) == (scale > 0) ? INFINITY : -INFINITY);
    }
    return x;
}

/* As one instruction does it: products of 8 and 24 bits are exact in double. */
static inline float multiply_add(float a, float b, float c) {
    return (float)((double)a * (double)b + (double)c);
}

typedef struct pair {
    tb_broadcast plan;
    const float *a, *b;
    float *y;
    float scale_a, zero_a, scale_b, zero_b, scale, zero;
    bool product;
    /* of a sum: steps of y in an operand's, and what does not depend on the elements */
    float ratio_a, ratio_b, fixed;
} pair;

static float integer_of(float x, float scale, float zero) {
    return rintf(x / scale) + zero;
}

static float kernel_value(const pair *p, float x, float y) {
    float a = integer_of(x, p->scale_a, p->zero_a), b = integer_of(y, p->scale_b, p->zero_b);
    if (p->product) {
        float scaled = (a - p->zero_a) * (b - p->zero_b) * p->ratio_a;
        return scaled + p->zero;
    }
    /* an operand that is one number for a run of the other's is added first */
    if (!p->plan.step_a && p->plan.step_b)
        return multiply_add(b, p->ratio_b, multiply_add(a, p->ratio_a, p->fixed));
    return multiply_add(a, p->ratio_a, multiply_add(b, p->ratio_b, p->fixed));
}

static void settle_tile(void *context, int64_t item, int worker) {
    (void)worker;
    const pair *p = context;
    const int64_t begin = item * TB_TILE;
    const int64_t end = begin + TB_TILE < p->plan.count ? begin + TB_TILE : p->plan.count;
    tb_runs runs = tb_runs_start(&p->plan, begin, end);
    while (tb_runs_next(&runs))
        for (int64_t i = 0; i < runs.n; i++) {
            float a = p->a[runs.a + i * p->plan.step_a], b = p->b[runs.b + i * p->plan.step_b];
            float *y = p->y + runs.at + i;
            *y = settled(*y, p->scale, p->zero, rintf(kernel_value(p, a, b)));
        }
}

static const float *kernel_units(const tb_node *node, int64_t count) {
    const tb_attr *attr = tb_find_attr(node, "kernel");
    return attr && attr->kind == TB_ATTR_FLOATS && attr->count == count ? attr->floats : NULL;
}

void tb_settle_binary(tb_exec *exec, const tb_node *node, const tiba_tensor *a,
                      const tiba_tensor *b, tiba_tensor *y) {
    const float *u = kernel_units(node, 6);
    if (!u || a->dtype != TIBA_FLOAT32 || b->dtype != TIBA_FLOAT32) return;
    pair p = {.a = a->data,
              .b = b->data,
              .y = y->data,
              .scale_a = u[0],
              .zero_a = u[1],
              .scale_b = u[2],
              .zero_b = u[3],
              .scale = u[4],
              .zero = u[5],
              .product = tb_is(node, TB_OP_Mul)};
    tb_broadcast_plan(&p.plan, y, a, b);
    if (p.product) {
        p.ratio_a = u[0] * u[2];
        p.ratio_a /= u[4];
    } else {
        p.ratio_a = u[0] / u[4];
        p.ratio_b = u[2] / u[4];
        p.fixed = u[5] - multiply_add(u[1], p.ratio_a, p.ratio_b * u[3]);
    }
    tb_parallel_for(exec->pool, tb_tiles(p.plan.count), settle_tile, &p);
}

bool tb_quant_softmax_of(tb_quant_softmax *s, const tb_node *node, int64_t n) {
    const float *u = kernel_units(node, 4);
    if (!u || n < 1 || !(u[0] > 0) || !(u[2] > 0)) return false;
    s->unit = u[0];
    s->steps = floorf(1.0f / u[2]);
    s->scale = (float)(1 / (double)s->steps);
    /* so much greater than 1 that the sum stays within float */
    double shift = (double)logf(FLT_MAX / (float)n) - 5;
    shift = (shift > 0 ? shift : 0) / (double)s->unit;
    for (int i = 0; i < 256; i++)
        s->exponentials[i] = (float)exp(((double)i - 255 + shift) * (double)s->unit);
    return true;
}

static float exponential(const tb_quant_softmax *s, float below) {
    float at = 255 + rintf(below / s->unit);
    return s->exponentials[at > 0 ? (int)at : 0];
}

void tb_settle_softmax(const tb_quant_softmax *s, float *y, const float *x, int64_t n,
                       int64_t step) {
    float most = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++) most = x[i * step] > most ? x[i * step] : most;
    for (int64_t i = 0; i < n; i++) sum += exponential(s, x[i * step] - most);
    for (int64_t i = 0; i < n; i++) {
        double steps = (double)exponential(s, x[i * step] - most) * (double)s->steps;
        float want = (float)rint(steps / (double)sum);
        y[i * step] = settled(y[i * step], s->scale, 0, want);
    }
}
