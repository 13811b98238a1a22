/*
 * Groups of DequantizeLinear, an operator and QuantizeLinear that onnxruntime runs as one kernel.
 * A kernel rounds in its own way, and files were calibrated and are tested with what it computes.
 */
#include "graph/quant_groups.h"

#include <math.h>
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

/* Files are not checked yet: a node may lack what its operator needs. */
static const tb_value *input(const tb_node *node, int i) {
    return i < node->n_in ? node->in[i] : NULL;
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
    const tb_value *value = input(node, i);
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
        if (!input(node, i)) continue;
        bool dequantized = tb_is_made_by(input(node, i), "DequantizeLinear");
        if (dequantized && !pair && node->n_in > 1) return false;
        if (!can_fold(input(node, i), looks)) return false;
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
    for (int i = 0; i < MOVES && integers && is_move(integers->producer); i++)
        integers = input(integers->producer, 0);
    if (!integers) return 0;
    const tb_node *from = integers->producer;
    if (!tb_is_made_by(integers, "QuantizeLinear")) {
        const tb_attr *attr = from ? tb_find_attr(from, "value") : NULL;
        if (attr && attr->kind == TB_ATTR_TENSOR) return (int)attr->tensor->dtype;
        return integers->file_type ? integers->file_type : (int)integers->t.dtype;
    }
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
        value = input(value->producer, 0);
    if (!tb_is_made_by(value, "DequantizeLinear")) return 0;
    int type = run_type(input(value->producer, 0));
    return moved && type == TIBA_INT8 ? TIBA_UINT8 : type; /* a pair of its own stands behind it */
}

tb_quant_group tb_quantized_group(const tb_node *quantize) {
    const tb_quant_group none = {NULL, 0, false};
    const tb_value *made = input(quantize, 0);
    for (int i = 0; i < MOVES && made && is_read_once(made) && is_move(made->producer); i++)
        made = input(made->producer, 0);
    const tb_node *node = made && is_read_once(made) ? made->producer : NULL;
    if (!node || !find_group(node->op_type) || !quantize->out[0] || is_folded(made)) return none;
    int type = run_type(quantize->out[0]);
    if (type != TIBA_INT8 && type != TIBA_UINT8) return none;
    for (int i = strcmp(node->op_type, "Where") == 0; i < node->n_in; i++)
        if (input(node, i) && operand_type(input(node, i)) != type) return none;
    return (tb_quant_group){node, type, tb_kernel_adds_zero_first(node->op_type)};
}

bool tb_kernel_adds_zero_first(const char *op_type) {
    const struct group *found = find_group(op_type);
    return found && found->zero_first;
}

/* ---- their parameters ---- */

/* A constant in the source, be it made by a node. Its rank and dimensions count. */
static const tiba_tensor *constant_tensor(const tb_value *value) {
    if (!value) return NULL;
    if (tb_is_made_by(value, "QuantizeLinear")) return constant_tensor(input(value->producer, 0));
    if (!tb_is_made_by(value, "Constant")) return value->t.data ? &value->t : NULL;
    const tb_attr *attr = tb_find_attr(value->producer, "value");
    return attr && attr->kind == TB_ATTR_TENSOR ? attr->tensor : NULL;
}

/* Scale and zero point of one of a pair, for a kernel of this type. */
static bool units_of(float units[2], const tb_node *node, int type) {
    const tiba_tensor *scale = constant_tensor(input(node, 1)),
                      *zero = constant_tensor(input(node, 2));
    if (!scale || !scale->data || tb_tensor_count(scale) != 1) return false;
    if (input(node, 2) && (!zero || !zero->data || tb_tensor_count(zero) != 1)) return false;
    bool shifted = type == TIBA_UINT8 && zero_type(node) == TIBA_INT8;
    units[0] = (float)tb_get_f64(scale, 0);
    units[1] = (zero ? (float)tb_get_f64(zero, 0) : 0) + (shifted ? 128 : 0);
    return true;
}

/* The QuantizeLinear that alone reads the value, past moves. */
static const tb_node *quantized_by(const tb_value *value) {
    for (int i = 0; i < MOVES && value && is_read_once(value); i++) {
        const tb_node *reader = value->uses[0].node;
        if (strcmp(reader->op_type, "QuantizeLinear") == 0) return reader;
        value = is_move(reader) ? reader->out[0] : NULL;
    }
    return NULL;
}

/* Casts of what is dequantised and copies are left out before pairs are looked at. */
static bool is_copy(const tb_node *node) {
    if (!node || node->n_in < 1) return false;
    if (strcmp(node->op_type, "Identity") == 0) return true;
    return strcmp(node->op_type, "Cast") == 0 && tb_attr_int(node, "to", 0) == TIBA_FLOAT32;
}

static bool is_half(const tb_node *node) {
    return strcmp(node->op_type, "QuantizeLinear") == 0 ||
           strcmp(node->op_type, "DequantizeLinear") == 0;
}

/* The node of this operator that alone reads `value`, past copies. */
static const tb_node *sole_reader(const tb_value *value, const char *op_type) {
    for (int i = 0; i < MOVES && value && is_read_once(value); i++) {
        const tb_node *reader = value->uses[0].node;
        if (strcmp(reader->op_type, op_type) == 0) return reader;
        value = is_copy(reader) ? reader->out[0] : NULL;
    }
    return NULL;
}

/* The least number of a type of 8 or 16 bits and how many steps there are above it; 0: another
 * type.
 */
static float steps_of(int type, float *least) {
    *least = type == TIBA_INT8 ? -128.0f : type == TIBA_INT16 ? -32768.0f : 0.0f;
    if (type == TIBA_INT8 || type == TIBA_UINT8) return 255;
    return type == TIBA_INT16 || type == TIBA_UINT16 ? 65535 : 0;
}

/* What a pair can hold, given that its parameters are the same constants for both halves. */
static bool pair_range(float range[2], const tb_node *quantize, const tb_node *dequantize) {
    float units[2], least;
    const float steps = steps_of(zero_type(quantize), &least);
    if (!input(quantize, 2) || input(quantize, 1) != input(dequantize, 1) ||
        input(quantize, 2) != input(dequantize, 2) || steps == 0 ||
        !units_of(units, quantize, zero_type(quantize)))
        return false;
    range[0] = (least - units[1]) * units[0];
    range[1] = (least + steps - units[1]) * units[0];
    return true;
}

/* Does this QuantizeLinear begin two pairs that are run as one? Its units. */
static bool begins_two(const tb_node *quantize, float units[2]) {
    const tb_node *end = sole_reader(quantize->out[0], "DequantizeLinear");
    const tb_node *second = end ? sole_reader(end->out[0], "QuantizeLinear") : NULL;
    const tb_node *last = second ? sole_reader(second->out[0], "DequantizeLinear") : NULL;
    float a[2], b[2];
    if (!last || zero_type(second) != zero_type(quantize) || !pair_range(a, quantize, end) ||
        !pair_range(b, second, last) || (a[0] == b[0] && a[1] == b[1]))
        return false;
    float low = a[0] > b[0] ? a[0] : b[0], most = a[1] < b[1] ? a[1] : b[1], least;
    units[0] = (most - low) / steps_of(zero_type(quantize), &least);
    if (!(units[0] > 0)) return false;
    units[1] = roundf(least - low / units[0]);
    return true;
}

bool tb_merged_pairs(const tb_node *node, float units[2], bool *second) {
    for (int i = 0; i < 4 && node; i++) {
        *second = i > 1;
        if (strcmp(node->op_type, "QuantizeLinear") == 0 && begins_two(node, units)) return true;
        const tb_value *from = input(node, 0);
        while (from && is_copy(from->producer)) from = input(from->producer, 0);
        node = from ? from->producer : NULL;
        if (node && !is_half(node)) return false;
    }
    return false;
}

bool tb_group_units(const tb_node *node, int operands, float *units) {
    const tb_node *end = node->out[0] ? quantized_by(node->out[0]) : NULL;
    const tb_quant_group group = end ? tb_quantized_group(end) : (tb_quant_group){NULL, 0, false};
    if (group.node != node || node->n_in < operands) return false;
    for (int i = 0; i < operands; i++) {
        const tb_value *value = input(node, i);
        while (value && is_move(value->producer)) value = input(value->producer, 0);
        if (!value || !units_of(units + 2 * i, value->producer, group.type)) return false;
    }
    float *result = units + 2 * operands;
    if (!begins_two(end, result)) return units_of(result, end, group.type);
    result[1] += group.type == zero_type(end) ? 0 : 128;
    return true;
}

/* ---- biases ---- */

/* Does nothing but a QuantizeLinear read it, past functions that this may make redundant? */
static bool ends_quantized(const tb_value *value) {
    for (; value && is_read_once(value); value = value->uses[0].node->out[0]) {
        const char *reader = value->uses[0].node->op_type;
        if (strcmp(reader, "QuantizeLinear") == 0) return true;
        if (strcmp(reader, "Relu") != 0 && strcmp(reader, "Clip") != 0) return false;
    }
    return false;
}

bool tb_bias_units(const tb_node *node, int64_t n, const tiba_tensor *scales[2]) {
    for (int i = 0; i < 2; i++) {
        if (node->n_in < 3 || !tb_is_made_by(input(node, i), "DequantizeLinear")) return false;
        scales[i] = constant_tensor(input(input(node, i)->producer, 1));
        if (!scales[i] || !scales[i]->data) return false;
    }
    int type;
    const tb_node *weight = input(node, 1)->producer;
    const tb_value *bias = constant(node, 2, &type);
    if (!bias || type != TIBA_FLOAT32 || tb_tensor_count(scales[0]) != 1 ||
        !ends_quantized(node->out[0]))
        return false;
    if (tb_tensor_count(scales[1]) == 1) return true;
    bool rows = strcmp(node->op_type, "Gemm") != 0 || tb_attr_int(node, "transB", 0);
    return scales[1]->rank == 1 && scales[1]->dims[0] == n &&
           tb_attr_int(weight, "axis", 1) == (rows ? 0 : 1) &&
           tb_attr_int(weight, "block_size", 0) == 0;
}

/* ---- products of weights ---- */

static bool is_wide(int type) {
    return type == TIBA_INT16 || type == TIBA_UINT16;
}

/* Numbers as in onnx.TensorProto.DataType: 4 bits without and with a sign, 2 bits. */
static bool is_narrow(int type) {
    return type == TIBA_INT8 || type == TIBA_UINT8 || type == 21 || type == 22 || type == 25 ||
           type == 26;
}

/* The size of the weight's blocks, 32 where whole columns have a scale; 0: no such weight. */
static int64_t weight_blocks(const tb_node *dequantize) {
    const tiba_tensor *w = constant_tensor(input(dequantize, 0)),
                      *scale = constant_tensor(input(dequantize, 1)), *zero = NULL;
    if (!w || w->rank != 2 || !is_narrow(run_type(input(dequantize, 0))) || !scale) return 0;
    if (input(dequantize, 1)->file_type && input(dequantize, 1)->file_type != TIBA_FLOAT32)
        return 0;
    if (input(dequantize, 2)) {
        zero = constant_tensor(input(dequantize, 2));
        if (!zero || zero->rank != scale->rank) return 0;
    }
    int64_t size = tb_attr_int(dequantize, "block_size", 0),
            axis = tb_attr_int(dequantize, "axis", 1);
    bool columns = scale->rank == 1 && scale->dims[0] == w->dims[1] && axis == 1;
    if (size == 0) return scale->rank == 0 || columns ? 32 : 0;
    return axis == 0 && scale->rank == 2 && size >= 16 && (size & (size - 1)) == 0 ? size : 0;
}

/* Is a pair of 8 bits behind it? Moves between are passed, as pairs are moved. */
static bool is_rounded_to_bytes(const tb_value *value) {
    for (int i = 0; i < MOVES && value->n_uses == 1 && is_move(value->uses[0].node); i++)
        value = value->uses[0].node->out[0];
    for (int i = 0; i < value->n_uses; i++) {
        const tb_node *reader = value->uses[i].node;
        if (strcmp(reader->op_type, "QuantizeLinear") == 0 && !is_wide(zero_type(reader)))
            return true;
    }
    return false;
}

/* A function that a quantisation might make redundant is looked past for one, and nothing else. */
static bool is_clipped(const tb_value *value) {
    const tb_node *reader = is_read_once(value) ? value->uses[0].node : NULL;
    if (!reader || (strcmp(reader->op_type, "Relu") != 0 && strcmp(reader->op_type, "Clip") != 0))
        return false;
    return reader->out[0] && is_read_once(reader->out[0]);
}

int64_t tb_rounded_block_size(const tb_node *product) {
    const tb_value *weight = input(product, 1);
    if (!input(product, 0) || !product->out[0] || !tb_is_made_by(weight, "DequantizeLinear") ||
        !is_read_once(weight))
        return 0;
    const int left = operand_type(input(product, 0));
    if ((left && !is_wide(left)) || is_rounded_to_bytes(product->out[0]) ||
        is_clipped(product->out[0]))
        return 0;
    bool plain = tb_attr_float(product, "alpha", 1) == 1 && !tb_attr_int(product, "transA", 0) &&
                 !tb_attr_int(product, "transB", 0);
    if (input(product, 2) && tb_attr_float(product, "beta", 1) != 1) return 0;
    return plain ? weight_blocks(weight->producer) : 0;
}
