/*
 * test_vjp.c: every operator's vjp against central differences of its own forward.
 *
 * The cases are rows of vjp_cases.def:
 *
 *     VJP(Gemm, "[2,3] [3,4] [4]", "alpha=0.5 transB=0", 1)
 *     VJP(TopK, "[3,7] {3}", "axis=1", 2)
 *
 * An input is one of (float inputs are differentiated unless marked constant):
 *     [2,3]         random floats, all different, of either sign, magnitudes 0.25 to 1.75
 *     [2,3]@0.1:2   random floats between the two numbers
 *     =[2,3]        the same as a constant (also =[2,3]@0.1:2)
 *     {1,-2}        constant int64 vector; {0.5,2.} constant floats; {} empty
 *     #3  #0.5      constant scalar, int64 or float
 *     {1,0}:bool    constant of another type: bool, int8, uint8, int16, uint16, int32
 *     _             left out
 * A constant may be given a shape: {1,2,0,1}:[2,2] or {1,2,0,1}:uint8:[2,2].
 * An attribute is name=1 (int), name=1.5 (float), name=word (string) or name=[1,2] (ints).
 *
 * Every element of every differentiable input is moved by ±h and ±2h; Σ w·(f(+) − f(−)) over the
 * outputs with random weights w must be the vjp of w. Only what the operator says it needs is shown
 * to the vjp, and asking for one gradient alone must give the same bytes as asking for all.
 */
#include <ctype.h>
#include <stdlib.h>

#include "graph/op.h"
#include "tests/check.h"
#include "tests/support.h"

typedef struct vjp_case {
    const char *op, *inputs, *attrs;
    int n_out;
} vjp_case;

static const vjp_case cases[] = {
#define VJP(op, inputs, attrs, n_out) {#op, inputs, attrs, n_out},
#include "tests/vjp_cases.def"
#undef VJP
};

enum { MAX_SLOTS = 16 };

typedef struct subject {
    tb_arena *arena;
    tb_exec exec;
    tb_node *node;
    tiba_tensor in[MAX_SLOTS], out[MAX_SLOTS]; /* all with data */
    bool constant[MAX_SLOTS];
    uint64_t random;
} subject;

/* ---------------------------------------------------------------- reading a row */

static int read_list(const char **text, char end, double *values, bool *fraction) {
    int count = 0;
    *fraction = false;
    while (**text && **text != end) {
        char *after;
        values[count++] = strtod(*text, &after);
        for (const char *c = *text; c < after; c++) *fraction |= *c == '.';
        if (after == *text || count == 64) return -1;
        *text = after + (*after == ',');
    }
    if (**text == end && end) (*text)++;
    return count;
}

/* All different and, for the default range, no nearer than 3/n to each other. */
static void fill_random(subject *s, tiba_tensor *t, bool ranged, double low, double high) {
    const int64_t n = tb_tensor_count(t);
    int64_t *order = TB_NEW(s->arena, int64_t, n);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t k = (int64_t)(test_uniform(&s->random) * (double)(i + 1)), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    for (int64_t i = 0; i < n; i++) {
        const double u = ((double)order[i] + 0.3 + 0.4 * test_uniform(&s->random)) / (double)n;
        double v = ranged ? low + (high - low) * u : u < 0.5 ? -0.25 - 3 * u : 0.25 + 3 * (u - 0.5);
        ((float *)t->data)[i] = (float)(floor(v * 4096) / 4096); /* so that ±h is exact */
    }
}

static bool read_shape(const char **text, tiba_tensor *t) {
    double dims[64];
    bool fraction;
    const int rank = read_list(text, ']', dims, &fraction);
    if (rank < 0 || rank > TIBA_MAX_RANK) return false;
    t->rank = rank;
    for (int i = 0; i < rank; i++) t->dims[i] = (int64_t)dims[i];
    return true;
}

static tiba_dtype dtype_named(const char *name, size_t length) {
    for (int d = TIBA_FLOAT32; d <= TIBA_BFLOAT16; d++) {
        const char *have = tb_dtype_name((tiba_dtype)d);
        if (strlen(have) == length && strncmp(have, name, length) == 0) return (tiba_dtype)d;
    }
    return TIBA_UNDEFINED;
}

static bool read_constant(subject *s, const char **text, bool scalar, tiba_tensor *t) {
    double values[64];
    bool fraction;
    const char *start = *text;
    int count;
    if (scalar) {
        char *after;
        values[0] = strtod(start, &after);
        fraction = memchr(start, '.', (size_t)(after - start)) != NULL;
        *text = after;
        count = after > start ? 1 : -1;
    } else {
        count = read_list(text, '}', values, &fraction);
    }
    if (count < 0) return false;
    t->dtype = fraction ? TIBA_FLOAT32 : TIBA_INT64;
    t->rank = scalar ? 0 : 1;
    t->dims[0] = count;
    while (**text == ':') {
        (*text)++;
        if (**text == '[') {
            (*text)++;
            if (!read_shape(text, t) || tb_tensor_count(t) != count) return false;
        } else {
            const size_t length = strcspn(*text, " :");
            t->dtype = dtype_named(*text, length);
            *text += length;
        }
    }
    if (tb_tensor_create(t, s->arena, t->dtype, t->rank, t->dims, NULL) != TIBA_OK) return false;
    for (int i = 0; i < count; i++) tb_set_f64(t, i, values[i]);
    return true;
}

/* One input; its place in the row moves on. */
static bool read_input(subject *s, const char **text, int index) {
    tiba_tensor *t = &s->in[index];
    if (**text == '=') {
        s->constant[index] = true;
        (*text)++;
    }
    const char kind = *(*text)++;
    if (kind == '_') {
        s->constant[index] = true;
        return true;
    }
    if (kind == '#' || kind == '{') {
        s->constant[index] = true;
        return read_constant(s, text, kind == '#', t);
    }
    if (kind != '[' || !read_shape(text, t)) return false;
    if (tb_tensor_create(t, s->arena, TIBA_FLOAT32, t->rank, t->dims, NULL) != TIBA_OK)
        return false;
    double low = 0, high = 0;
    const bool ranged = **text == '@';
    if (ranged) {
        char *after;
        low = strtod(*text + 1, &after);
        if (*after != ':') return false;
        high = strtod(after + 1, &after);
        *text = after;
    }
    fill_random(s, t, ranged, low, high);
    return true;
}

static bool read_attr(subject *s, const char **text, tb_attr *attr) {
    const size_t name = strcspn(*text, "=");
    attr->name = tb_arena_strndup(s->arena, *text, name);
    *text += name;
    if (*(*text)++ != '=') return false;
    if (**text == '[') {
        (*text)++;
        double values[64];
        bool fraction;
        const int count = read_list(text, ']', values, &fraction);
        if (count < 0) return false;
        int64_t *ints = TB_NEW(s->arena, int64_t, count);
        float *floats = TB_NEW(s->arena, float, count);
        for (int i = 0; i < count; i++) {
            ints[i] = (int64_t)values[i];
            floats[i] = (float)values[i];
        }
        attr->kind = fraction ? TB_ATTR_FLOATS : TB_ATTR_INTS;
        attr->count = count;
        if (fraction)
            attr->floats = floats;
        else
            attr->ints = ints;
        return true;
    }
    const size_t length = strcspn(*text, " ");
    char *word = tb_arena_strndup(s->arena, *text, length), *after;
    *text += length;
    const double value = strtod(word, &after);
    if (*after || after == word) {
        attr->kind = TB_ATTR_STRING;
        attr->s = word;
        attr->count = (int64_t)length;
    } else if (strchr(word, '.')) {
        attr->kind = TB_ATTR_FLOAT;
        attr->f = (float)value;
    } else {
        attr->kind = TB_ATTR_INT;
        attr->i = (int64_t)value;
    }
    return true;
}

/* Makes the node, sets its shapes and allocates the outputs. */
static bool make_subject(subject *s, const vjp_case *c, tiba_error *error) {
    const tb_op *op = NULL;
    for (int i = 0; i < TB_OP_COUNT; i++)
        if (strcmp(tb_ops[i].name, c->op) == 0) op = &tb_ops[i];
    if (!op) return tb_fail(error, TIBA_ERROR_USAGE, "no such operator"), false;
    int n_in = 0, n_attrs = 0;
    const int n_out = c->n_out;
    for (const char *text = c->inputs; *text; n_in++) {
        if (n_in == MAX_SLOTS || !read_input(s, &text, n_in))
            return tb_fail(error, TIBA_ERROR_USAGE, "input %d cannot be read", n_in), false;
        text += strspn(text, " ");
    }
    tb_attr *attrs = TB_NEW(s->arena, tb_attr, 16);
    for (const char *text = c->attrs; *text; n_attrs++) {
        if (n_attrs == 16 || !read_attr(s, &text, &attrs[n_attrs]))
            return tb_fail(error, TIBA_ERROR_USAGE, "attribute %d cannot be read", n_attrs), false;
        text += strspn(text, " ");
    }
    tb_graph *graph = tb_graph_create(s->arena);
    s->node = tb_graph_node(graph, op->domain, op->name, n_in, n_out);
    s->node->op = op;
    s->node->opset = 1000;
    s->node->attrs = attrs;
    s->node->n_attrs = n_attrs;
    for (int i = 0; i < n_in; i++) {
        if (s->in[i].dtype == TIBA_UNDEFINED) continue;
        tb_value *value = tb_graph_value(graph, "input");
        value->t = s->in[i];
        if (!s->constant[i]) value->t.data = NULL;
        tb_node_set_input(graph, s->node, i, value);
    }
    for (int k = 0; k < n_out; k++) tb_node_set_output(s->node, k, tb_graph_value(graph, "output"));
    if (op->def->shape(s->node, error) != TIBA_OK) return false;
    for (int k = 0; k < n_out; k++) {
        const tiba_tensor *t = &s->node->out[k]->t;
        if (tb_tensor_create(&s->out[k], s->arena, t->dtype, t->rank, t->dims, error) != TIBA_OK)
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------- comparing */

static tiba_status run_forward(subject *s, tiba_error *error) {
    const tiba_tensor *in[MAX_SLOTS];
    tiba_tensor *out[MAX_SLOTS];
    for (int i = 0; i < s->node->n_in; i++) in[i] = s->node->in[i] ? &s->in[i] : NULL;
    for (int k = 0; k < s->node->n_out; k++) out[k] = &s->out[k];
    tiba_status status = s->node->op->def->forward(&s->exec, s->node, in, out, error);
    tb_scratch_reset(&s->exec);
    return status;
}

static tiba_status run_vjp(subject *s, const tiba_tensor *dout, unsigned shown, tiba_tensor *din,
                           unsigned wanted, tiba_error *error) {
    const tb_op_def *def = s->node->op->def;
    tiba_tensor seen_in[MAX_SLOTS], seen_out[MAX_SLOTS];
    const tiba_tensor *in[MAX_SLOTS], *out[MAX_SLOTS], *given[MAX_SLOTS];
    tiba_tensor *gradient[MAX_SLOTS];
    for (int i = 0; i < s->node->n_in; i++) {
        seen_in[i] = s->in[i];
        if (!s->constant[i] && !(def->needs & TB_NEEDS_IN(i))) seen_in[i].data = NULL;
        in[i] = s->node->in[i] ? &seen_in[i] : NULL;
        gradient[i] = wanted >> i & 1u ? &din[i] : NULL;
    }
    for (int k = 0; k < s->node->n_out; k++) {
        seen_out[k] = s->out[k];
        if (!(def->needs & TB_NEEDS_OUT(k))) seen_out[k].data = NULL;
        out[k] = &seen_out[k];
        given[k] = shown >> k & 1u ? &dout[k] : NULL;
    }
    tiba_status status = def->vjp(&s->exec, s->node, in, out, given, gradient, error);
    tb_scratch_reset(&s->exec);
    return status;
}

/* Σ w·(f(x[at] + h) − f(x[at] − h)) */
static double difference(subject *s, int input, int64_t at, double h, const tiba_tensor *dout,
                         unsigned shown, double *before) {
    tiba_error error = {0};
    float *x = (float *)s->in[input].data + at;
    const float x0 = *x;
    double sum = 0;
    for (int side = 0; side < 2; side++) {
        *x = (float)((double)x0 + (side ? -h : h));
        CHECK_CASE(run_forward(s, &error) == TIBA_OK, "%s", error.message);
        double *value = before;
        for (int k = 0; k < s->node->n_out; k++) {
            if (!(shown >> k & 1u)) continue;
            const int64_t n = tb_tensor_count(&s->out[k]);
            for (int64_t i = 0; i < n; i++, value++) {
                const double y = tb_get_f64(&s->out[k], i);
                if (side == 0)
                    *value = y;
                else
                    sum += (*value - y) * (double)((const float *)dout[k].data)[i];
            }
        }
    }
    *x = x0;
    return sum;
}

static void compare(subject *s, const vjp_case *c, int row, unsigned shown, unsigned wanted,
                    const tiba_tensor *dout) {
    tiba_error error = {0};
    tiba_tensor all[MAX_SLOTS], alone[MAX_SLOTS];
    int64_t outputs = 0;
    for (int k = 0; k < s->node->n_out; k++) outputs += tb_tensor_count(&s->out[k]);
    double *before = TB_NEW(s->arena, double, outputs);
    for (int i = 0; i < s->node->n_in; i++)
        if (wanted >> i & 1u)
            for (int twice = 0; twice < 2; twice++) {
                tiba_tensor *t = twice ? &alone[i] : &all[i];
                tb_tensor_create(t, s->arena, TIBA_FLOAT32, s->in[i].rank, s->in[i].dims, NULL);
                memset(t->data, 0xff, tb_tensor_bytes(t)); /* NaN: must be overwritten */
            }
    CHECK_CASE(run_forward(s, &error) == TIBA_OK, "%s: %s", c->op, error.message);
    const tiba_status status = run_vjp(s, dout, shown, all, wanted, &error);
    CHECK_CASE(status == TIBA_OK, "%s, case %d: %s", c->op, row, error.message);
    if (status != TIBA_OK) return;
    for (int i = 0; i < s->node->n_in; i++) {
        if (!(wanted >> i & 1u)) continue;
        CHECK(run_vjp(s, dout, shown, alone, 1u << i, &error) == TIBA_OK);
        CHECK_CASE(memcmp(all[i].data, alone[i].data, tb_tensor_bytes(&all[i])) == 0,
                   "%s, case %d: gradient %d differs when asked for alone", c->op, row, i);
    }
    const double h = 1.0 / 256, tolerance = 2e-3;
    for (int i = 0; i < s->node->n_in; i++) {
        if (!(wanted >> i & 1u)) continue;
        const int64_t n = tb_tensor_count(&s->in[i]);
        const float *got = all[i].data;
        double largest = 0.1;
        for (int64_t k = 0; k < n; k++) largest = fmax(largest, fabs((double)got[k]));
        for (int64_t k = 0; k < n; k++) {
            const double near = difference(s, i, k, h, dout, shown, before) / (2 * h);
            const double far = difference(s, i, k, 2 * h, dout, shown, before) / (4 * h);
            const double want = (4 * near - far) / 3;
            CHECK_CASE(fabs((double)got[k] - want) <= tolerance * largest,
                       "%s (%s; %s): d[%d][%lld] is %.6g, differences say %.6g", c->op, c->inputs,
                       c->attrs, i, (long long)k, (double)got[k], want);
        }
    }
}

static void run_case(const vjp_case *c, int row) {
    subject s = {.arena = tb_arena_create(NULL), .random = 1234567u + (unsigned)row};
    tiba_error error = {0};
    const bool made = make_subject(&s, c, &error);
    CHECK_CASE(made, "%s (%s; %s): %s", c->op, c->inputs, c->attrs, error.message);
    if (made && s.node->op->def->vjp) {
        unsigned wanted = 0, active = 0;
        tiba_tensor dout[MAX_SLOTS];
        for (int i = 0; i < s.node->n_in; i++)
            if (!s.constant[i]) wanted |= 1u << i;
        for (int k = 0; k < s.node->n_out; k++) {
            if (s.out[k].dtype != TIBA_FLOAT32 || s.node->op->def->inactive_outputs >> k & 1u)
                continue;
            active |= 1u << k;
            tb_tensor_create(&dout[k], s.arena, TIBA_FLOAT32, s.out[k].rank, s.out[k].dims, NULL);
            const int64_t n = tb_tensor_count(&dout[k]);
            for (int64_t i = 0; i < n; i++)
                ((float *)dout[k].data)[i] = (float)(2 * test_uniform(&s.random) - 1);
        }
        compare(&s, c, row, active, wanted, dout);
        for (int k = 0; k < s.node->n_out && (active & (active - 1)); k++) /* each output alone */
            if (active >> k & 1u) compare(&s, c, row, 1u << k, wanted, dout);
    }
    tb_scratch_free(&s.exec);
    tb_arena_destroy(s.arena);
}

/* The scale of DynamicQuantizeLinear follows the input, in large steps: no difference shows its
 * straight-through slope, which is 1 / scale. */
static void check_dynamic_quantization(void) {
    const vjp_case c = {"DynamicQuantizeLinear", "[3,4]", "", 3};
    subject s = {.arena = tb_arena_create(NULL)};
    tiba_error error = {0};
    CHECK(make_subject(&s, &c, &error));
    CHECK(run_forward(&s, &error) == TIBA_OK);
    tiba_tensor dx, *dy = &s.in[0];
    tb_tensor_create(&dx, s.arena, TIBA_FLOAT32, 2, dy->dims, NULL);
    CHECK(run_vjp(&s, dy, 1u, &dx, 1u, &error) == TIBA_OK);
    for (int i = 0; i < 12; i++)
        CHECK_NEAR(tb_get_f64(&dx, i), tb_get_f64(dy, i) / tb_get_f64(&s.out[1], 0), 1e-3);
    tb_scratch_free(&s.exec);
    tb_arena_destroy(s.arena);
}

int main(void) {
    const int n_cases = (int)(sizeof cases / sizeof *cases);
    for (int i = 0; i < TB_OP_COUNT; i++) {
        const tb_op_def *def = tb_ops[i].def;
        CHECK_CASE(def->shape && def->forward, "%s lacks kernels", tb_ops[i].name);
        CHECK_CASE(!def->vjp == !!def->no_vjp, "%s: vjp and the reason for none", tb_ops[i].name);
        bool covered = !def->vjp || i == TB_OP_DynamicQuantizeLinear;
        for (int k = 0; k < n_cases; k++) covered |= strcmp(cases[k].op, tb_ops[i].name) == 0;
        CHECK_CASE(covered, "%s has no row in vjp_cases.def", tb_ops[i].name);
    }
    for (int k = 0; k < n_cases; k++) run_case(&cases[k], k);
    check_dynamic_quantization();
    TEST_END();
}
