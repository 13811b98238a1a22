/*
 * Groups of DequantizeLinear, an operator and QuantizeLinear that onnxruntime runs as one kernel.
 * A kernel rounds in its own way, and files were calibrated and are tested with what it computes.
 */
#include "graph/quant_groups.h"

#include <string.h>

enum { MOVES = 8 /* that are looked through */ };

/* Operators of 8-bit kernels, all of one type, and how these round. */
static const struct group {
    const char *op_type;
    bool zero_first;
} groups[] = {
    {"Add", true},        {"AveragePool", true}, {"Concat", false},  {"GlobalAveragePool", false},
    {"LeakyRelu", false}, {"Mul", true},         {"Sigmoid", false}, {"Softmax", false},
    {"Where", false},
};

static const struct group *find_group(const char *op_type) {
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (strcmp(op_type, groups[i].op_type) == 0) return &groups[i];
    return NULL;
}

bool tb_is_made_by(const tb_value *source, const char *op_type) {
    return source && source->producer && strcmp(source->producer->op_type, op_type) == 0;
}

/* Operators that pairs are moved past. */
static bool is_move(const tb_node *node) {
    const char *names[] = {"Reshape", "Squeeze", "Transpose", "Unsqueeze"};
    for (int i = 0; node && i < 4; i++)
        if (strcmp(node->op_type, names[i]) == 0) return true;
    return false;
}

static bool is_read_once(const tb_value *value) {
    return value->n_uses == 1 && !value->is_output;
}

/* The source constant, given as such or by a node. */
static const tb_value *constant(const tb_node *node, int i, int *type) {
    const tb_value *value = i < node->n_in ? node->in[i] : NULL;
    if (!value) return NULL;
    *type = value->file_type ? value->file_type : (int)value->t.dtype;
    if (!tb_is_made_by(value, "Constant")) return value->t.data ? value : NULL;
    const tb_attr *attr = tb_find_attr(value->producer, "value");
    if (attr && attr->kind == TB_ATTR_TENSOR) *type = (int)attr->tensor->dtype;
    return value;
}

/* The type of the integers that `node` quantises to or dequantises, as the file has it. */
static int zero_type(const tb_node *node) {
    int type = 0;
    return constant(node, 2, &type) ? type : 0;
}

/* Does onnxruntime compute the source value beforehand? It folds neither dequantised operands nor
 * what is made of them, but what lies between a pair and has one input. */
static bool can_fold(const tb_value *source, int *looks) {
    const tb_node *node = source->producer;
    if (!node || --*looks < 0) return source->t.data != NULL;
    bool pair =
        tb_is_made_by(source, "QuantizeLinear") || tb_is_made_by(source, "DequantizeLinear");
    for (int i = 0; i < node->n_in && (i == 0 || !pair); i++) {
        if (!node->in[i]) continue;
        bool dequantized = tb_is_made_by(node->in[i], "DequantizeLinear");
        if (dequantized && !pair && node->n_in > 1) return false;
        if (!can_fold(node->in[i], looks)) return false;
    }
    return true;
}

static bool is_folded(const tb_value *source) {
    int looks = 1000; /* paths, of which there may be more than anybody wants to know */
    return can_fold(source, &looks);
}

/* Signed integers are run as unsigned ones where a QuantizeLinear is read by one DequantizeLinear:
 * several readers of that have one each. What is computed beforehand stays as it is. */
static int run_type(const tb_value *integers) {
    const tb_node *from = integers->producer;
    if (!tb_is_made_by(integers, "QuantizeLinear"))
        return integers->file_type ? integers->file_type : (int)integers->t.dtype;
    int type = zero_type(from);
    if (type != TIBA_INT8 || !is_read_once(integers) || is_folded(integers)) return type;
    const tb_node *reader = integers->uses[0].node;
    bool pair = strcmp(reader->op_type, "DequantizeLinear") == 0 && reader->out[0] &&
                reader->out[0]->n_uses <= 1 && zero_type(reader) == type;
    return pair ? TIBA_UINT8 : type;
}

/* The type of the integers behind an operand; 0 where it is not dequantised. */
static int operand_type(const tb_value *value) {
    bool moved = false;
    for (int i = 0; i < MOVES && value && is_move(value->producer); i++, moved = true)
        value = value->producer->in[0];
    if (!tb_is_made_by(value, "DequantizeLinear")) return 0;
    int type = run_type(value->producer->in[0]);
    return moved && type == TIBA_INT8 ? TIBA_UINT8 : type; /* a pair of its own stands behind it */
}

tb_quant_group tb_quantized_group(const tb_node *quantize) {
    const tb_quant_group none = {NULL, 0, false};
    const tb_value *made = quantize->in[0];
    for (int i = 0; i < MOVES && made && is_read_once(made) && is_move(made->producer); i++)
        made = made->producer->in[0];
    const tb_node *node = made && is_read_once(made) ? made->producer : NULL;
    if (!node || !find_group(node->op_type) || !quantize->out[0] || is_folded(made)) return none;
    int type = run_type(quantize->out[0]);
    if (type != TIBA_INT8 && type != TIBA_UINT8) return none;
    for (int i = strcmp(node->op_type, "Where") == 0; i < node->n_in; i++)
        if (node->in[i] && operand_type(node->in[i]) != type) return none;
    return (tb_quant_group){node->op_type, type, tb_kernel_adds_zero_first(node->op_type)};
}

bool tb_kernel_adds_zero_first(const char *op_type) {
    const struct group *found = find_group(op_type);
    return found && found->zero_first;
}
