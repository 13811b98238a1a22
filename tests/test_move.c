/*
 * Operators that move elements. Each row is one node whose inputs are random numbers or given
 * integers: it fails with the given message, or its vjp is the exact adjoint of its forward,
 * <dy, f(x)> = Σ <vjp(dy)_i, x_i>. Random nodes of every element size are compared with naive
 * index-by-index references.
 */
#include "tests/check.h"

#include "graph/build.h"
#include "tests/support.h"

enum { MAX_INPUTS = 5, MAX_OUTPUTS = 3, MAX_ATTRS = 4, MAX_INTS = 12 };

typedef struct input {
    int rank; /* -1: left out; behind the last input: all zero and no dims */
    int64_t dims[TIBA_MAX_RANK];
    bool given;      /* an int64 (or bool) constant with these values, else random float32 */
    bool dynamic;    /* a given input whose values the shape function may not see */
    tiba_dtype type; /* 0: int64 if given, else float32 */
    int64_t values[MAX_INTS];
} input;

typedef struct row {
    tb_op_kind kind;
    int n_in, n_out;
    input in[MAX_INPUTS];
    int n_attrs;
    tb_attr attrs[MAX_ATTRS];
    const char *error; /* the shape function or the forward fails with this in its message */
} row;

#define SHAPE(...)                                                                                 \
    {                                                                                              \
        sizeof((int64_t[]){__VA_ARGS__}) / 8, {__VA_ARGS__}, false, false, 0, {                    \
            0                                                                                      \
        }                                                                                          \
    }
#define INTS(n, ...)                                                                               \
    {                                                                                              \
        1, {n}, true, false, 0, {                                                                  \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define BOOLS(n, ...)                                                                              \
    {                                                                                              \
        1, {n}, true, false, TIBA_BOOL, {                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define RUNTIME(n, ...)                                                                            \
    {                                                                                              \
        1, {n}, true, true, 0, {                                                                   \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define SCALAR(v)                                                                                  \
    {                                                                                              \
        0, {0}, true, false, 0, {                                                                  \
            v                                                                                      \
        }                                                                                          \
    }
#define GRID(a, b, ...)                                                                            \
    {                                                                                              \
        2, {a, b}, true, false, 0, {                                                               \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define NONE                                                                                       \
    {                                                                                              \
        -1, {0}, false, false, 0, {                                                                \
            0                                                                                      \
        }                                                                                          \
    }
#define INTS_ATTR(n, ...)                                                                          \
    {                                                                                              \
        .name = n, .kind = TB_ATTR_INTS, .count = sizeof((int64_t[]){__VA_ARGS__}) / 8,            \
        .ints = (const int64_t[]) {                                                                \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define INT_ATTR(n, v)                                                                             \
    { .name = n, .kind = TB_ATTR_INT, .i = v }
#define STRING_ATTR(n, v)                                                                          \
    { .name = n, .kind = TB_ATTR_STRING, .s = v }

static const row rows[] = {
    {TB_OP_Identity, 1, 1, {SHAPE(2, 3)}, 0, {{0}}, NULL},
    {TB_OP_Reshape, 2, 1, {SHAPE(2, 3, 4), INTS(3, 0, -1, 2)}, 0, {{0}}, NULL},
    {TB_OP_Reshape, 2, 1, {SHAPE(2, 3, 4), INTS(2, 5, -1)}, 0, {{0}}, "cannot reshape"},
    {TB_OP_Reshape, 2, 1, {SHAPE(2, 3, 4), RUNTIME(2, 6, 4)}, 0, {{0}}, "depend on the values"},
    {TB_OP_Flatten, 1, 1, {SHAPE(2, 3, 4)}, 1, {INT_ATTR("axis", -1)}, NULL},
    {TB_OP_Squeeze, 2, 1, {SHAPE(1, 3, 1), INTS(1, -1)}, 0, {{0}}, NULL},
    {TB_OP_Squeeze, 2, 1, {SHAPE(1, 3, 1), INTS(1, 1)}, 0, {{0}}, "size 3"},
    {TB_OP_Unsqueeze, 2, 1, {SHAPE(2, 3), INTS(2, 0, -1)}, 0, {{0}}, NULL},
    {TB_OP_Unsqueeze, 2, 1, {SHAPE(2, 3), INTS(2, 1, -3)}, 0, {{0}}, "named twice"},
    {TB_OP_Transpose, 1, 1, {SHAPE(2, 3, 4, 5)}, 1, {INTS_ATTR("perm", 0, 2, 1, 3)}, NULL},
    {TB_OP_Transpose, 1, 1, {SHAPE(2, 33, 40)}, 1, {INTS_ATTR("perm", 0, 2, 1)}, NULL},
    {TB_OP_Transpose, 1, 1, {SHAPE(70, 1, 81, 2)}, 1, {INTS_ATTR("perm", 2, 3, 0, 1)}, NULL},
    {TB_OP_Transpose, 1, 1, {SHAPE(300, 500)}, 0, {{0}}, NULL},
    {TB_OP_Transpose, 1, 1, {SHAPE(3, 4)}, 1, {INTS_ATTR("perm", 1, 1)}, "perm[1] = 1"},
    {TB_OP_Concat,
     3,
     1,
     {SHAPE(2, 1, 3), SHAPE(2, 4, 3), SHAPE(2, 0, 3)},
     1,
     {INT_ATTR("axis", -2)},
     NULL},
    {TB_OP_Concat, 2, 1, {SHAPE(2, 1), SHAPE(3, 1)}, 1, {INT_ATTR("axis", 1)}, "does not continue"},
    {TB_OP_Split, 2, 3, {SHAPE(2, 7), INTS(3, 2, 0, 5)}, 1, {INT_ATTR("axis", 1)}, NULL},
    {TB_OP_Split, 1, 3, {SHAPE(7, 2)}, 1, {INT_ATTR("num_outputs", 3)}, NULL},
    {TB_OP_Split, 2, 2, {SHAPE(2, 7), INTS(2, 2, 4)}, 1, {INT_ATTR("axis", 1)}, "parts of 6"},
    {TB_OP_Slice,
     5,
     1,
     {SHAPE(6, 7), INTS(2, 1, -1), INTS(2, 5, INT64_MIN), INTS(2, 0, 1), INTS(2, 2, -3)},
     0,
     {{0}},
     NULL},
    {TB_OP_Slice,
     4,
     1,
     {SHAPE(3, 4, 5), INTS(1, -2), INTS(1, INT64_MAX), INTS(1, 1)},
     0,
     {{0}},
     NULL},
    {TB_OP_Slice, 5, 1, {SHAPE(6), INTS(1, 9), INTS(1, 3), INTS(1, 0), INTS(1, 1)}, 0, {{0}}, NULL},
    {TB_OP_Expand, 2, 1, {SHAPE(3, 1), INTS(3, 2, 1, 4)}, 0, {{0}}, NULL},
    {TB_OP_Expand, 2, 1, {SHAPE(1, 5), INTS(2, 300, 1)}, 0, {{0}}, NULL},
    {TB_OP_Expand, 2, 1, {SHAPE(3, 2), INTS(1, 4)}, 0, {{0}}, "do not broadcast"},
    {TB_OP_Tile, 2, 1, {SHAPE(2, 3, 2), INTS(3, 2, 1, 3)}, 0, {{0}}, NULL},
    {TB_OP_Where, 3, 1, {BOOLS(3, 1, 0, 1), SHAPE(2, 3), SHAPE(1)}, 0, {{0}}, NULL},
    {TB_OP_Where, 3, 1, {BOOLS(3, 1, 0, 1), SHAPE(2, 1), SHAPE(4, 1, 1)}, 0, {{0}}, NULL},
    {TB_OP_Gather, 2, 1, {SHAPE(2, 5, 3), GRID(2, 2, 0, -1, 4, 4)}, 1, {INT_ATTR("axis", 1)}, NULL},
    {TB_OP_Gather, 2, 1, {SHAPE(4, 3), SCALAR(-2)}, 0, {{0}}, NULL},
    {TB_OP_Gather, 2, 1, {SHAPE(4, 3), RUNTIME(2, 3, -4)}, 0, {{0}}, NULL},
    {TB_OP_Gather, 2, 1, {SHAPE(4, 3), INTS(2, 3, 4)}, 0, {{0}}, "index 4 is out of range"},
    {TB_OP_Gather, 2, 1, {SHAPE(4, 3), RUNTIME(2, -5, 3)}, 0, {{0}}, "index -5 is out of range"},
    {TB_OP_GatherElements, 2, 1, {SHAPE(3, 3), GRID(2, 3, 0, 1, -1, 2, 2, 0)}, 0, {{0}}, NULL},
    {TB_OP_GatherElements,
     2,
     1,
     {SHAPE(2, 4), GRID(2, 3, 0, 3, 3, 1, 1, -4)},
     1,
     {INT_ATTR("axis", 1)},
     NULL},
    {TB_OP_GatherElements,
     2,
     1,
     {SHAPE(2, 4), GRID(2, 1, 0, 4)},
     1,
     {INT_ATTR("axis", 1)},
     "index 4"},
    {TB_OP_GatherND, 2, 1, {SHAPE(3, 4, 2), GRID(3, 2, 0, 1, 2, -1, 0, 1)}, 0, {{0}}, NULL},
    {TB_OP_GatherND,
     2,
     1,
     {SHAPE(3, 4, 2), GRID(3, 1, 3, 3, -1)},
     1,
     {INT_ATTR("batch_dims", 1)},
     NULL},
    {TB_OP_GatherND, 2, 1, {SHAPE(3, 4), GRID(1, 2, 0, 4)}, 0, {{0}}, "index 4"},
    {TB_OP_Compress, 2, 1, {SHAPE(3, 4), BOOLS(3, 1, 0, 1)}, 1, {INT_ATTR("axis", 1)}, NULL},
    {TB_OP_Compress, 2, 1, {SHAPE(3, 2), BOOLS(5, 0, 1, 0, 0, 1)}, 0, {{0}}, NULL},
    {TB_OP_ReverseSequence, 2, 1, {SHAPE(4, 3, 2), INTS(3, 4, 1, 3)}, 0, {{0}}, NULL},
    {TB_OP_ReverseSequence,
     2,
     1,
     {SHAPE(3, 4), INTS(3, 0, 2, 4)},
     2,
     {INT_ATTR("time_axis", 1), INT_ATTR("batch_axis", 0)},
     NULL},
    {TB_OP_Trilu, 2, 1, {SHAPE(2, 3, 4), SCALAR(-1)}, 0, {{0}}, NULL},
    {TB_OP_Trilu, 2, 1, {SHAPE(4, 3), SCALAR(INT64_MAX)}, 1, {INT_ATTR("upper", 0)}, NULL},
    {TB_OP_DepthToSpace, 1, 1, {SHAPE(2, 8, 2, 3)}, 1, {INT_ATTR("blocksize", 2)}, NULL},
    {TB_OP_DepthToSpace,
     1,
     1,
     {SHAPE(1, 8, 2, 3)},
     2,
     {INT_ATTR("blocksize", 2), STRING_ATTR("mode", "CRD")},
     NULL},
    {TB_OP_SpaceToDepth, 1, 1, {SHAPE(2, 3, 4, 6)}, 1, {INT_ATTR("blocksize", 2)}, NULL},
    {TB_OP_ScatterElements,
     3,
     1,
     {SHAPE(3, 4), GRID(2, 2, 0, 2, 1, -1), SHAPE(2, 2)},
     0,
     {{0}},
     NULL},
    {TB_OP_ScatterElements,
     3,
     1,
     {SHAPE(3, 4), GRID(1, 3, 3, 1, 3), SHAPE(1, 3)},
     1,
     {INT_ATTR("axis", -1)},
     NULL},
    {TB_OP_ScatterElements,
     3,
     1,
     {SHAPE(3, 4), GRID(1, 3, 3, 1, 3), SHAPE(1, 3)},
     2,
     {INT_ATTR("axis", 1), STRING_ATTR("reduction", "add")},
     NULL},
    {TB_OP_ScatterElements,
     3,
     1,
     {SHAPE(3, 4), GRID(1, 3, 3, 1, 3), SHAPE(1, 3)},
     2,
     {INT_ATTR("axis", 1), STRING_ATTR("reduction", "max")},
     NULL},
    {TB_OP_ScatterElements,
     3,
     1,
     {SHAPE(3, 4), GRID(1, 3, 3, 1, 4), SHAPE(1, 3)},
     1,
     {INT_ATTR("axis", 1)},
     "index 4"},
    {TB_OP_ScatterElements,
     3,
     1,
     {SHAPE(3), RUNTIME(1, 0), SHAPE(1)},
     1,
     {STRING_ATTR("reduction", "xor")},
     "reduction 'xor'"},
    {TB_OP_ScatterND, 3, 1, {SHAPE(4, 3), GRID(3, 1, 2, 0, 2), SHAPE(3, 3)}, 0, {{0}}, NULL},
    {TB_OP_ScatterND,
     3,
     1,
     {SHAPE(4, 3), GRID(2, 2, 2, 0, -1, -1), SHAPE(2)},
     1,
     {STRING_ATTR("reduction", "min")},
     NULL},
    {TB_OP_ScatterND,
     3,
     1,
     {SHAPE(4, 3), GRID(2, 1, 2, 2), SHAPE(2, 3)},
     1,
     {STRING_ATTR("reduction", "add")},
     NULL},
    {TB_OP_ScatterND, 3, 1, {SHAPE(4, 3), GRID(2, 1, 2, 2), SHAPE(2, 2)}, 0, {{0}}, "do not fit"},
    {TB_OP_Pad, 2, 1, {SHAPE(2, 3), INTS(4, 1, -1, 0, 2)}, 0, {{0}}, NULL},
    {TB_OP_Pad, 4, 1, {SHAPE(2, 3, 2), INTS(2, 1, 2), SHAPE(1), INTS(1, -2)}, 0, {{0}}, NULL},
    {TB_OP_Pad,
     2,
     1,
     {SHAPE(2, 3, 2), INTS(6, 0, 5, 0, 0, 4, 0)},
     1,
     {STRING_ATTR("mode", "reflect")},
     NULL},
    {TB_OP_Pad,
     2,
     1,
     {SHAPE(2, 3), INTS(4, 3, -1, 2, 3)},
     1,
     {STRING_ATTR("mode", "reflect")},
     NULL},
    {TB_OP_Pad, 2, 1, {SHAPE(2, 3), INTS(4, 0, 2, 0, 1)}, 1, {STRING_ATTR("mode", "edge")}, NULL},
    {TB_OP_Pad, 2, 1, {SHAPE(2, 3), INTS(4, 1, 2, 3, 7)}, 1, {STRING_ATTR("mode", "wrap")}, NULL},
    {TB_OP_Pad, 2, 1, {SHAPE(2, 3), INTS(4, 0, -4, 0, 9)}, 0, {{0}}, "do not fit axis 1"},
    {TB_OP_Resize,
     4,
     1,
     {SHAPE(1, 2, 4, 3), NONE, NONE, INTS(4, 1, 2, 3, 7)},
     1,
     {STRING_ATTR("mode", "linear")},
     NULL},
    {TB_OP_Resize,
     4,
     1,
     {SHAPE(2, 7, 5), NONE, NONE, INTS(2, 3, 2)},
     3,
     {STRING_ATTR("mode", "cubic"), INT_ATTR("antialias", 1), INTS_ATTR("axes", 1, 2)},
     NULL},
    {TB_OP_Resize,
     4,
     1,
     {SHAPE(3, 4), NONE, NONE, INTS(2, 8, 9)},
     3,
     {STRING_ATTR("mode", "cubic"), INT_ATTR("exclude_outside", 1),
      STRING_ATTR("coordinate_transformation_mode", "align_corners")},
     NULL},
    {TB_OP_Resize,
     4,
     1,
     {SHAPE(3, 4), NONE, NONE, INTS(2, 2, 9)},
     2,
     {STRING_ATTR("nearest_mode", "ceil"),
      STRING_ATTR("coordinate_transformation_mode", "asymmetric")},
     NULL},
    {TB_OP_Resize,
     4,
     1,
     {SHAPE(3, 4), INTS(4, -1, 0, 1, 2), NONE, INTS(2, 6, 5)},
     2,
     {STRING_ATTR("mode", "linear"),
      STRING_ATTR("coordinate_transformation_mode", "tf_crop_and_resize")},
     NULL},
    {TB_OP_Resize, 4, 1, {SHAPE(3, 4), NONE, NONE, NONE}, 0, {{0}}, "either scales or sizes"},
};

/* A node with values for everything, as binding would hand it to the kernels. */
typedef struct bench {
    tb_arena *arena;
    tb_exec *exec;
    tb_node node;
    tb_value values[MAX_INPUTS + MAX_OUTPUTS];
    tb_value *in[MAX_INPUTS], *out[MAX_OUTPUTS];
    tiba_tensor x[MAX_INPUTS], y[MAX_OUTPUTS];
    const tiba_tensor *px[MAX_INPUTS];
    tiba_tensor *py[MAX_OUTPUTS];
} bench;

static uint64_t seed = 1;

static void fill(tiba_tensor *t) {
    double scale = tb_dtype_is_float(t->dtype) ? 1 : 100;
    for (int64_t i = 0; i < tb_tensor_count(t); i++)
        tb_set_f64(t, i, (test_uniform(&seed) * 2 - 1) * scale);
}

static tiba_status start(bench *b, const row *r, tiba_error *error) {
    const tb_op *op = &tb_ops[r->kind];
    b->node = (tb_node){.name = "n",
                        .domain = op->domain,
                        .op_type = op->name,
                        .origin = "",
                        .op = op,
                        .n_in = r->n_in,
                        .n_out = r->n_out,
                        .in = b->in,
                        .out = b->out,
                        .n_attrs = r->n_attrs,
                        .attrs = r->attrs};
    for (int i = 0; i < r->n_in; i++) {
        const input *in = &r->in[i];
        if (in->rank < 0) continue;
        tiba_dtype dtype = in->type ? in->type : in->given ? TIBA_INT64 : TIBA_FLOAT32;
        TB_TRY(tb_tensor_create(&b->x[i], b->arena, dtype, in->rank, in->dims, error));
        if (in->given)
            for (int64_t k = 0; k < tb_tensor_count(&b->x[i]); k++)
                tb_set_i64(&b->x[i], k, in->values[k]);
        else
            fill(&b->x[i]);
        b->in[i] = &b->values[i];
        b->in[i]->name = "v";
        b->in[i]->t = b->x[i];
        if (!in->given || in->dynamic) b->in[i]->t.data = NULL;
        b->px[i] = &b->x[i];
    }
    for (int k = 0; k < r->n_out; k++) {
        b->out[k] = &b->values[MAX_INPUTS + k];
        b->out[k]->name = "y";
    }
    TB_TRY(op->def->shape(&b->node, error));
    for (int k = 0; k < r->n_out; k++) {
        const tiba_tensor *t = &b->out[k]->t;
        TB_TRY(tb_tensor_create(&b->y[k], b->arena, t->dtype, t->rank, t->dims, error));
        memset(b->y[k].data, 0x5a, tb_tensor_bytes(&b->y[k]));
        b->py[k] = &b->y[k];
    }
    return op->def->forward(b->exec, &b->node, b->px, b->py, error);
}

static double dot(const tiba_tensor *a, const tiba_tensor *b) {
    double sum = 0;
    for (int64_t i = 0; i < tb_tensor_count(a); i++) sum += tb_get_f64(a, i) * tb_get_f64(b, i);
    return sum;
}

static void check_adjoint(bench *b, const row *r, int number) {
    const tb_op_def *def = tb_ops[r->kind].def;
    tiba_error error = {0};
    tiba_tensor dy[MAX_OUTPUTS], dx[MAX_INPUTS];
    const tiba_tensor *pdy[MAX_OUTPUTS] = {NULL};
    tiba_tensor *pdx[MAX_INPUTS] = {NULL};
    double forward = 0, backward = 0, scale = 0;
    for (int k = 0; k < r->n_out; k++) {
        if (tb_tensor_create(&dy[k], b->arena, TIBA_FLOAT32, b->y[k].rank, b->y[k].dims, NULL))
            return;
        fill(&dy[k]);
        pdy[k] = k == 1 ? NULL : &dy[k]; /* a second output's gradient is zero */
        if (pdy[k]) forward += dot(&dy[k], &b->y[k]), scale += (double)tb_tensor_count(&dy[k]);
    }
    for (int i = 0; i < r->n_in; i++) {
        if (r->in[i].given || r->in[i].rank < 0) continue;
        if (tb_tensor_create(&dx[i], b->arena, TIBA_FLOAT32, b->x[i].rank, b->x[i].dims, NULL))
            return;
        memset(dx[i].data, 0x5a, tb_tensor_bytes(&dx[i]));
        pdx[i] = &dx[i];
    }
    /* what the op does not say it needs has no data */
    tiba_tensor bare[MAX_INPUTS + MAX_OUTPUTS];
    const tiba_tensor *px[MAX_INPUTS] = {NULL}, *py[MAX_OUTPUTS] = {NULL};
    for (int i = 0; i < r->n_in; i++) {
        if (!b->px[i]) continue;
        bare[i] = b->x[i];
        if (!(def->needs & TB_NEEDS_IN(i)) && !b->in[i]->t.data) bare[i].data = NULL;
        px[i] = &bare[i];
    }
    for (int k = 0; k < r->n_out; k++) {
        bare[MAX_INPUTS + k] = b->y[k];
        if (!(def->needs & TB_NEEDS_OUT(k))) bare[MAX_INPUTS + k].data = NULL;
        py[k] = &bare[MAX_INPUTS + k];
    }
    tiba_status status = def->vjp(b->exec, &b->node, px, py, pdy, pdx, &error);
    CHECK_CASE(status == TIBA_OK, "row %d: %s", number, error.message);
    if (status != TIBA_OK) return;
    for (int i = 0; i < r->n_in; i++)
        if (pdx[i]) backward += dot(&dx[i], &b->x[i]);
    CHECK_CASE(fabs(forward - backward) <= 1e-6 * (1 + sqrt(scale)), "row %d (%s): %.9g and %.9g",
               number, tb_ops[r->kind].name, forward, backward);
}

/* Multiplying is not linear: the product of the other factors, with one or two of them 0. */
static void check_scattered_product(tb_exec *exec) {
    static const row r = {TB_OP_ScatterElements,
                          3,
                          1,
                          {{1, {4}, true, false, TIBA_FLOAT32, {2, 3, 0, 6}},
                           INTS(5, 0, 2, 0, 3, -1),
                           {1, {5}, true, false, TIBA_FLOAT32, {4, 7, 5, 0, 0}}},
                          1,
                          {STRING_ATTR("reduction", "mul")},
                          NULL};
    static const float want_y[] = {40, 3, 0, 0}, want_data[] = {20, 1, 7, 0},
                       want_updates[] = {10, 0, 8, 0, 0};
    tiba_error error = {0};
    bench b = {.arena = tb_arena_create(NULL), .exec = exec};
    tiba_status status = start(&b, &r, &error);
    CHECK_CASE(status == TIBA_OK, "%s", error.message);
    if (status == TIBA_OK) {
        float ones[4] = {1, 1, 1, 1}, data[4], updates[5];
        tiba_tensor dy = b.y[0], dx[3] = {b.x[0], b.x[1], b.x[2]};
        dy.data = ones;
        dx[0].data = data;
        dx[2].data = updates;
        const tiba_tensor *pdy[] = {&dy}, *py[] = {&b.y[0]};
        tiba_tensor *pdx[] = {&dx[0], NULL, &dx[2]};
        status = tb_ops[r.kind].def->vjp(exec, &b.node, b.px, py, pdy, pdx, &error);
        CHECK(status == TIBA_OK && memcmp(b.y[0].data, want_y, sizeof want_y) == 0);
        CHECK(memcmp(data, want_data, sizeof data) == 0);
        CHECK(memcmp(updates, want_updates, sizeof updates) == 0);
    }
    tb_scratch_reset(exec);
    tb_arena_destroy(b.arena);
}

/* Random nodes against their definition: where does output element at[] come from? */

static int64_t below(int64_t n) {
    return (int64_t)(test_uniform(&seed) * (double)n);
}

static int64_t flat(const tiba_tensor *t, const int64_t *at) {
    int64_t index = 0;
    for (int i = 0; i < t->rank; i++) index = index * t->dims[i] + at[i];
    return index;
}

typedef int64_t source_fn(const bench *b, const int64_t *at, int *which);

static int64_t int_of(const bench *b, int which, int i) {
    return tb_get_i64(&b->x[which], i);
}

static int64_t transpose_source(const bench *b, const int64_t *at, int *which) {
    int64_t from[TIBA_MAX_RANK];
    (void)which;
    for (int i = 0; i < b->x[0].rank; i++) from[b->node.attrs[0].ints[i]] = at[i];
    return flat(&b->x[0], from);
}

static int64_t slice_source(const bench *b, const int64_t *at, int *which) {
    int64_t from[TIBA_MAX_RANK];
    (void)which;
    for (int i = 0; i < b->x[0].rank; i++) {
        int64_t start = int_of(b, 1, i), n = b->x[0].dims[i], step = int_of(b, 4, i);
        if (start < 0) start += n;
        if (start < 0) start = 0;
        if (start >= n && step < 0) start = n - 1;
        from[i] = start + at[i] * step;
    }
    return flat(&b->x[0], from);
}

static int64_t gather_source(const bench *b, const int64_t *at, int *which) {
    int64_t from[TIBA_MAX_RANK], k[2];
    int axis = (int)b->node.attrs[0].i;
    (void)which;
    for (int i = 0; i < axis; i++) from[i] = at[i];
    for (int i = 0; i < 2; i++) k[i] = at[axis + i];
    from[axis] = int_of(b, 1, (int)flat(&b->x[1], k));
    if (from[axis] < 0) from[axis] += b->x[0].dims[axis];
    for (int i = axis + 1; i < b->x[0].rank; i++) from[i] = at[i + 1];
    return flat(&b->x[0], from);
}

static int64_t concat_source(const bench *b, const int64_t *at, int *which) {
    int64_t from[TIBA_MAX_RANK];
    int axis = (int)b->node.attrs[0].i;
    memcpy(from, at, sizeof from);
    for (*which = 0; from[axis] >= b->x[*which].dims[axis]; ++*which)
        from[axis] -= b->x[*which].dims[axis];
    return flat(&b->x[*which], from);
}

static int64_t pad_source(const bench *b, const int64_t *at, int *which) {
    int64_t from[TIBA_MAX_RANK];
    const tiba_tensor *x = &b->x[0];
    (void)which;
    for (int i = 0; i < x->rank; i++) {
        from[i] = at[i] - int_of(b, 1, i);
        if (from[i] >= 0 && from[i] < x->dims[i]) continue;
        if (strcmp(b->node.attrs[0].s, "constant") == 0) return -1;
        bool reflect = strcmp(b->node.attrs[0].s, "reflect") == 0;
        if (strcmp(b->node.attrs[0].s, "edge") == 0) from[i] = from[i] < 0 ? 0 : x->dims[i] - 1;
        while (from[i] < 0 || from[i] >= x->dims[i])
            from[i] = !reflect          ? from[i] + (from[i] < 0 ? x->dims[i] : -x->dims[i])
                      : x->dims[i] == 1 ? 0
                      : from[i] < 0     ? -from[i]
                                        : 2 * (x->dims[i] - 1) - from[i];
    }
    return flat(x, from);
}

static int64_t tile_source(const bench *b, const int64_t *at, int *which) {
    int64_t from[TIBA_MAX_RANK];
    (void)which;
    for (int i = 0; i < b->x[0].rank; i++) from[i] = at[i] % b->x[0].dims[i];
    return flat(&b->x[0], from);
}

/* Rank 1 to 4 with axes of up to `most`, now and then none or one. */
static input random_input(tiba_dtype type, int64_t most) {
    input in = {.rank = 1 + (int)below(4), .type = type};
    for (int i = 0; i < in.rank; i++) in.dims[i] = 1 + (below(4) ? below(most) : 0);
    return in;
}

static input random_ints(int count, int64_t low, int64_t high) {
    input in = {.rank = 1, .dims = {count}, .given = true};
    for (int i = 0; i < count; i++) in.values[i] = low + below(high - low + 1);
    return in;
}

static source_fn *random_row(row *r, tb_attr *attr, int64_t *perm, int kind, tiba_dtype type) {
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    *r = (row){.n_in = 2, .n_out = 1, .in = {random_input(type, kind == 0 ? 40 : 9)}};
    int rank = r->in[0].rank, axis = (int)below(rank);
    r->n_attrs = 1;
    *attr = (tb_attr){.name = "axis", .kind = TB_ATTR_INT, .i = axis};
    switch (kind) {
    case 0:
        r->kind = TB_OP_Transpose;
        r->n_in = 1;
        for (int i = 0; i < rank; i++) {
            int k = (int)below(i + 1);
            perm[i] = perm[k];
            perm[k] = i;
        }
        *attr = (tb_attr){.name = "perm", .kind = TB_ATTR_INTS, .count = rank, .ints = perm};
        return transpose_source;
    case 1:
        r->kind = TB_OP_Slice;
        r->n_in = 5;
        for (int k = 1; k < 4; k++) r->in[k] = random_ints(rank, -12, 12);
        for (int i = 0; i < rank; i++) r->in[3].values[i] = i;
        r->in[4] = random_ints(rank, 1, 3);
        for (int i = 0; i < rank; i++)
            if (below(2)) r->in[4].values[i] *= -1;
        return slice_source;
    case 2:
        r->kind = TB_OP_Gather;
        r->in[1] = random_ints(6, -r->in[0].dims[axis], r->in[0].dims[axis] - 1);
        r->in[1].rank = 2;
        r->in[1].dims[0] = 3, r->in[1].dims[1] = 2;
        return gather_source;
    case 3:
        r->kind = TB_OP_Concat;
        r->n_in = 3;
        for (int k = 1; k < 3; k++) {
            r->in[k] = r->in[0];
            r->in[k].dims[axis] = below(6);
        }
        return concat_source;
    case 4:
        r->kind = TB_OP_Pad;
        r->in[1] = random_ints(2 * rank, 0, 5);
        *attr = (tb_attr){.name = "mode", .kind = TB_ATTR_STRING, .s = modes[below(4)]};
        return pad_source;
    default:
        r->kind = TB_OP_Tile;
        r->in[1] = random_ints(rank, 0, 3);
        return tile_source;
    }
}

static void check_random(tb_exec *exec, int number) {
    static const tiba_dtype types[] = {TIBA_FLOAT32, TIBA_UINT8, TIBA_INT16, TIBA_INT64};
    row r;
    int64_t perm[TIBA_MAX_RANK] = {0};
    tb_attr attr;
    tiba_error error = {0};
    bench b = {.arena = tb_arena_create(NULL), .exec = exec};
    source_fn *source = random_row(&r, &attr, perm, number % 6, types[number / 6 % 4]);
    r.attrs[0] = attr;
    tiba_status status = start(&b, &r, &error);
    CHECK_CASE(status == TIBA_OK, "random %d (%s): %s", number, tb_ops[r.kind].name, error.message);
    size_t size = tb_dtype_size(b.y[0].dtype);
    int64_t wrong = 0, count = status == TIBA_OK ? tb_tensor_count(&b.y[0]) : 0;
    for (int64_t k = 0; k < count; k++) {
        int64_t at[TIBA_MAX_RANK], rest = k;
        int from = 0;
        for (int i = b.y[0].rank - 1; i >= 0; i--) {
            at[i] = rest % b.y[0].dims[i];
            rest /= b.y[0].dims[i];
        }
        int64_t place = source(&b, at, &from);
        static const char zero[8];
        const char *want = place < 0 ? zero : (const char *)b.x[from].data + (size_t)place * size;
        wrong += memcmp((const char *)b.y[0].data + (size_t)k * size, want, size) != 0;
    }
    CHECK_CASE(wrong == 0, "random %d (%s): %lld of %lld elements", number, tb_ops[r.kind].name,
               (long long)wrong, (long long)count);
    if (status == TIBA_OK && types[number / 6 % 4] == TIBA_FLOAT32) check_adjoint(&b, &r, number);
    tb_scratch_reset(exec);
    tb_arena_destroy(b.arena);
}

int main(void) {
    tb_pool *pool = tb_pool_create(NULL, 2);
    tb_exec exec = {.pool = pool};
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        const row *r = &rows[i];
        tiba_error error = {0};
        bench b = {.arena = tb_arena_create(NULL), .exec = &exec};
        tiba_status status = start(&b, r, &error);
        if (r->error)
            CHECK_CASE(status != TIBA_OK && strstr(error.message, r->error), "row %d (%s): \"%s\"",
                       i, tb_ops[r->kind].name, error.message);
        else
            CHECK_CASE(status == TIBA_OK, "row %d: %s", i, error.message);
        if (status == TIBA_OK) check_adjoint(&b, r, i);
        tb_scratch_reset(&exec);
        tb_arena_destroy(b.arena);
    }
    check_scattered_product(&exec);
    for (int i = 0; i < 1200; i++) check_random(&exec, i);
    tb_scratch_free(&exec);
    tb_pool_destroy(pool);
    TEST_END();
}
