/*
 * op.h: what an operator is. One row of op.def, one tb_op_def (runtime/), one test row.
 *
 * Kernels see the newest form of an operator only: graph/opset.c turns older forms (axes as an
 * attribute, …) into it while binding. Storage: floats of any width are float32; integers and
 * bools keep their type; quantised activations (outputs of QuantizeLinear and relatives) are
 * float32 arrays that hold integers.
 */
#ifndef TB_GRAPH_OP_H
#define TB_GRAPH_OP_H

#include "base/parallel.h"
#include "graph/graph.h"

/** What kind of step an operator is; passes and rules ask for this before they ask for the op. */
typedef enum tb_op_class {
    TB_CLASS_UNARY,    /**< y[i] = f(x[i]), parameters constant */
    TB_CLASS_BINARY,   /**< broadcast arithmetic of two or more operands */
    TB_CLASS_MOVE,     /**< elements are copied from somewhere, never changed */
    TB_CLASS_REDUCE,   /**< along axes to one element */
    TB_CLASS_CONTRACT, /**< sums of products */
    TB_CLASS_NORM,     /**< normalisation of the shape of its first input */
    TB_CLASS_POOL,     /**< windows of the trailing axes to one element */
    TB_CLASS_QUANT,    /**< rounding with a straight-through gradient */
    TB_CLASS_SHAPE,    /**< not differentiable: shapes, comparisons, logic, indices, generators */
    TB_CLASS_OTHER
} tb_op_class;

typedef enum tb_op_kind {
#define OP(id, domain, class, min_in, max_in, max_out) TB_OP_##id,
#include "graph/op.def"
#undef OP
    TB_OP_COUNT
} tb_op_kind;

/** What kernels run with. */
typedef struct tb_exec {
    tb_pool *pool;              /**< may be NULL: one thread */
    tb_budget *budget;          /**< for scratch memory */
    void *scratch;              /**< internal to tb_scratch */
    struct tb_profile *profile; /**< where time is counted (runtime/profile.h); NULL: it is not */
} tb_exec;

/** Scratch memory for count × size bytes, 64-byte aligned, not zeroed, valid until the kernel
 *  returns; NULL if out of memory. Call it outside parallel bodies only. */
void *tb_scratch(tb_exec *exec, size_t count, size_t size);
/** Gives scratch memory back for reuse: whoever calls a kernel calls it afterwards. */
void tb_scratch_reset(tb_exec *exec);
/** Frees it. */
void tb_scratch_free(tb_exec *exec);

/** Sets dtype and shape of every node->out[i] (skipping NULL) from node->in[i]->t and attributes.
 *  Inputs that determine a shape (axes, sizes …) are constants by then, or it fails saying so. */
typedef tiba_status tb_shape_fn(tb_node *node, tiba_error *error);

/** Computes the outputs. in[i] is NULL where left out, out[i] where unused; out[i] has its shape
 *  and memory (uninitialised), never overlapping an input's. */
typedef tiba_status tb_forward_fn(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                                  tiba_tensor *const *out, tiba_error *error);

/** Vector–Jacobian product: overwrites din[i] (NULL where not wanted) with the gradient of
 *  Σ_k <dout[k], out[k]> with respect to in[i]. dout[k] is NULL where zero. Only the values named
 * in `needs` have data; the others have a shape and data = NULL (constant inputs always have data).
 */
typedef tiba_status tb_vjp_fn(tb_exec *exec, const tb_node *node, const tiba_tensor *const *in,
                              const tiba_tensor *const *out, const tiba_tensor *const *dout,
                              tiba_tensor *const *din, tiba_error *error);

#define TB_NEEDS_IN(i)  (1u << (i))
#define TB_NEEDS_INS    0xffffu
#define TB_NEEDS_OUT(i) (0x10000u << (i))

typedef struct tb_op_def {
    tb_shape_fn *shape;
    tb_forward_fn *forward;
    tb_vjp_fn *vjp;
    const char *no_vjp; /**< why vjp is NULL: "integer result", … ; exactly one of the two is set */
    unsigned needs;     /**< which values vjp reads: TB_NEEDS_IN(i) | TB_NEEDS_OUT(i) */
    bool alias; /**< where their types are equal, out[0] is in[0]'s elements in the same order:
                     no copy is needed */
    unsigned straight; /**< TB_NEEDS_IN(i): where in[i] is of out[0]'s size, its gradient is that
                            of out[0], the same elements in the same order: no copy is needed */
    unsigned over;     /**< TB_NEEDS_IN(i): where in[i] is of out[0]'s size and both are float32,
                            forward may write out[0] over it */
    bool back_over;    /**< where one operand alone receives a gradient, of out[0]'s size, vjp may
                            write it over out[0]'s */
    unsigned sized_by; /**< TB_NEEDS_IN(i): the shape follows from the values of in[i], also where
                            they are floats */
    unsigned inactive_outputs; /**< bit i: out[i] never carries gradient (a scale, an index, …) */
} tb_op_def;

struct tb_op {
    tb_op_kind kind;
    const char *domain, *name;
    tb_op_class class;
    int min_in, max_in; /**< max_in = -1: any number */
    int max_out;
    const tb_op_def *def;
};

extern const tb_op tb_ops[TB_OP_COUNT];

#define OP(id, domain, class, min_in, max_in, max_out) extern const tb_op_def tb_op_def_##id;
#include "graph/op.def"
#undef OP

/** The op of that name, NULL if the table has none. */
const tb_op *tb_find_op(const char *domain, const char *name);

/** Does binding take an operator of that name as it is? Then onnx/ does not put a function of that
 *  name in its place. */
bool tb_op_known(const char *domain, const char *name);

/** Is the node this op? False for NULL. */
static inline bool tb_is(const tb_node *node, tb_op_kind kind) {
    return node && node->op && node->op->kind == kind;
}

#endif
