/*
 * quant_groups.h: which operator between DequantizeLinear and QuantizeLinear onnxruntime runs as
 * one integer kernel. Questions to the source graph, before anything is bound.
 */
#ifndef TB_GRAPH_QUANT_GROUPS_H
#define TB_GRAPH_QUANT_GROUPS_H

#include "graph/graph.h"

/** Is the source value made by the operator of this name? */
bool tb_is_made_by(const tb_value *source, const char *op_type);

/** A kernel from 8-bit integers to 8-bit integers. */
typedef struct tb_quant_group {
    const tb_node *node; /**< its operator; NULL: none, what is quantised is computed in float */
    int type;            /**< onnx.TensorProto.DataType that it computes in: signed ones may be
                              shifted into unsigned ones beforehand */
    bool zero_first;     /**< it adds the zero point before it rounds; by the definition, after */
} tb_quant_group;

/** What the source graph's QuantizeLinear ends. The operator may stand before others that only
 *  move. */
tb_quant_group tb_quantized_group(const tb_node *quantize);

/** Does the kernel of this operator's group, which is that of its QLinear form, add the zero point
 *  before it rounds? */
bool tb_kernel_adds_zero_first(const char *op_type);

/** Two pairs that follow each other, with at most copies between, are run as one over the range
 * that both can hold (casts behind a softmax leave such pairs). Is the node one of the four? Scale
 * and zero point of the one in `units`; `second`: is the node of the pair that then does nothing?
 */
bool tb_merged_pairs(const tb_node *node, float units[2], bool *second);

/** Scale and zero point of each of the `operands` of a source node whose kernel is a group's, then
 *  of its result, into units[2 · (operands + 1)], as that kernel has them. False where the node is
 * no group's, or has other parameters than one number each. */
bool tb_group_units(const tb_node *node, int operands, float *units);

/** A constant bias of `n` numbers is rounded to steps of both scales by onnxruntime where Conv,
 *  ConvTranspose or Gemm has dequantised operands and is quantised: the scale of x (one number) and
 *  of the weight (one, or `n`). False where it is not. */
bool tb_bias_units(const tb_node *node, int64_t n, const tiba_tensor *scales[2]);

/** With a constant right operand of up to 8 bits and a left one that is not of 8 bits, onnxruntime
 *  runs this MatMul or Gemm as MatMulNBits, which rounds the left operand to 8 bits in blocks:
 * their size, 0 where it does not. A Gemm's bias must be one row. */
int64_t tb_rounded_block_size(const tb_node *product);

#endif
