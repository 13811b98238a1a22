/*
 * lower.h: one source node on its way into a bound graph. What opset.c (older forms) and lower_*.c
 * (fused operators, lower.def) share.
 *
 * A rewriting function gets a tb_call: the source node with its inputs already bound. It either
 * edits the call (inputs, attributes, op), which is then built as usual, or emits primitives
 * itself and sets out[] and `done`. The tb_emit functions are sticky: the first failure is kept in
 * call->status, everything after it does nothing and returns NULL, so a rewriting reads as a list
 * of steps:
 *
 *     static void lower_bias_gelu(tb_call *c) {
 *         tb_value *sum = tb_emit2(c, TB_OP_Add, c->in[0], c->in[1]);
 *         c->out[0] = tb_emit1(c, TB_OP_Gelu, sum);
 *     }
 */
#ifndef TB_GRAPH_LOWER_H
#define TB_GRAPH_LOWER_H

#include "graph/build.h"

enum { TB_CALL_ROOM = 8 /**< inputs and attributes that a rewriting may add */ };

typedef struct tb_call {
    tb_builder *b;
    const tb_node *node; /**< source node: attributes, opset, which outputs are wanted */
    const tb_op *op;     /**< what to build if not `done`; NULL for an op of lower.def */
    int n_in;
    tb_value **in; /**< room for TB_CALL_ROOM more, all NULL beyond n_in */
    int n_attrs;
    tb_attr *attrs; /**< room for TB_CALL_ROOM more */
    int n_out;
    tb_value **out; /**< [n_out], set by the rewriting; NULL where it has no such output */
    bool done;      /**< out[] is set */
    tiba_status status;
    tiba_error *error;
} tb_call;

typedef void tb_rewrite_fn(tb_call *c);

#define LOWER(function, domain, name) tb_rewrite_fn tb_lower_##function;
#include "graph/lower.def"
#undef LOWER

/** A row of lower.def. */
typedef struct tb_lower_row {
    const char *domain, *name;
    tb_rewrite_fn *rewrite;
} tb_lower_row;

/** All rows; *count of them. */
const tb_lower_row *tb_lower_rows(int *count);
/** The row of that operator, NULL if there is none. */
const tb_lower_row *tb_find_lower(const char *domain, const char *name);

/** Brings an older form of call->op to the newest one (opset.c). */
void tb_upgrade(tb_call *c);
/** The rows of QuantizeLinear, DequantizeLinear and of products with what that makes of a weight
 *  (opset_quant.c). */
void tb_upgrade_product(tb_call *c);
/** Operands of one type in the file differ here if one is a quantised activation, stored as float,
 * and another a constant: from operand `first` on, constants become float beside floats. */
void tb_match_types(tb_call *c, int first);
/** Of Conv, ConvTranspose and Gemm: a bias as integer kernels have it. */
void tb_upgrade_bias(tb_call *c);
/** Gives a node of so many operands what its integer kernel computes with, if it has one. */
void tb_upgrade_kernel(tb_call *c, int operands);
void tb_upgrade_quantize(tb_call *c);
void tb_upgrade_dequantize(tb_call *c);

/** Keeps the failure, first one wins. Returns NULL for use as a value. */
tb_value *tb_call_fail(tb_call *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Input i, NULL if left out. */
tb_value *tb_call_in(const tb_call *c, int i);
/** The onnx.TensorProto.DataType that input i has in the file, found behind operators that only
 * move elements; 0 where a computation gave it. Types of few bits are held widened. */
int tb_call_file_type(const tb_call *c, int i);
/** Is output i read by someone? */
bool tb_call_wants(const tb_call *c, int i);
/** Fails if one of the inputs first … last is given: `what` says what is not supported. */
void tb_call_refuse_inputs(tb_call *c, int first, int last, const char *what);
/** Fails unless input i is given and has this rank. */
bool tb_call_needs_rank(tb_call *c, int i, int rank);
/** What stands for the integers of a bound QuantizeLinear: its FakeQuantize, the one that there is
 *  already or a new one (opset_quant.c). */
tb_value *tb_emit_fake_quantize(tb_call *c, const tb_node *quantize);
/** Activations as onnxruntime's integer kernels read them (accuracy_level 4): every `size` elements
 *  of the last axis rounded to 8 bits over their largest magnitude (lower_blocks.c). */
tb_value *tb_emit_rounded_blocks(tb_call *c, tb_value *x, int64_t size);
/** Adds or overrides an attribute of the call; removes one. */
void tb_call_set_attr(tb_call *c, tb_attr attr);
void tb_call_drop_attr(tb_call *c, const char *name);

/* Emitting. Inputs may be NULL where the op takes optional ones. */
tb_value *tb_emit(tb_call *c, tb_op_kind kind, int n_in, tb_value *const *in, int n_attrs,
                  const tb_attr *attrs);
tb_value *tb_emit1(tb_call *c, tb_op_kind kind, tb_value *a);
tb_value *tb_emit2(tb_call *c, tb_op_kind kind, tb_value *a, tb_value *b);
tb_value *tb_emit3(tb_call *c, tb_op_kind kind, tb_value *a, tb_value *b, tb_value *d);
tb_value *tb_emit_scalar(tb_call *c, double value);
tb_value *tb_emit_ints(tb_call *c, int count, const int64_t *values);
/** x itself if it has this type already. */
tb_value *tb_emit_cast(tb_call *c, tb_value *x, tiba_dtype dtype);
/** x itself if nothing changes; a dimension may be -1. */
tb_value *tb_emit_reshape(tb_call *c, tb_value *x, int rank, const int64_t *dims);
tb_value *tb_emit_transpose(tb_call *c, tb_value *x, int rank, const int64_t *perm);
/** Swaps the last two axes. */
tb_value *tb_emit_swap(tb_call *c, tb_value *x);
tb_value *tb_emit_concat(tb_call *c, tb_value *a, tb_value *b, int64_t axis);
/** x[…, start:end, …] along `axis`. */
tb_value *tb_emit_slice(tb_call *c, tb_value *x, int64_t axis, int64_t start, int64_t end);
tb_value *tb_emit_expand(tb_call *c, tb_value *x, int rank, const int64_t *dims);
/** factor · x; x itself for factor 1. */
tb_value *tb_emit_scale(tb_call *c, tb_value *x, double factor);
/** x + y, or x if y is NULL. */
tb_value *tb_emit_add_optional(tb_call *c, tb_value *x, tb_value *y);
tb_value *tb_emit_softmax(tb_call *c, tb_value *x, int64_t axis);
/** The scale that a quantised softmax really has in onnxruntime: one over a whole number. */
tb_value *tb_emit_whole_steps(tb_call *c, tb_value *scale);
/** Parts of `sizes` along `axis` into parts[count]. */
void tb_emit_split(tb_call *c, tb_value *x, int64_t axis, int count, const int64_t *sizes,
                   tb_value **parts);
/** A constant tensor with zeroed elements to fill in, and its value; NULL on failure. */
tiba_tensor *tb_emit_tensor(tb_call *c, tb_value **value, tiba_dtype dtype, int rank,
                            const int64_t *dims);
/** [batch, tokens, heads·size] to [batch, heads, tokens, size] and back. */
tb_value *tb_emit_split_heads(tb_call *c, tb_value *x, int64_t heads);
tb_value *tb_emit_merge_heads(tb_call *c, tb_value *x);
/** [batch, kv_heads, …] to [batch, kv_heads · repeats, …], each head `repeats` times in a row. */
tb_value *tb_emit_repeat_heads(tb_call *c, tb_value *x, int64_t repeats);

#endif
