/*
 * graph.h: the intermediate representation: values, nodes, use lists.
 *
 * Two kinds of graph use it. A *source* graph is what onnx/ reads from a file: shapes may be
 * unknown, ops are names, sub-graphs hang on attributes. A *bound* graph is what binding makes of
 * it for given inputs (graph/bind.h): every shape is a number, every value that does not depend on
 * a float input or an embedding look-up is a constant, every node has an op with kernels.
 *
 * Everything belongs to the graph's arena and is freed with it.
 */
#ifndef TB_GRAPH_GRAPH_H
#define TB_GRAPH_GRAPH_H

#include "base/tensor.h"

typedef struct tb_value tb_value;
typedef struct tb_node tb_node;
typedef struct tb_graph tb_graph;
typedef struct tb_op tb_op;

typedef enum tb_attr_kind {
    TB_ATTR_INT,
    TB_ATTR_FLOAT,
    TB_ATTR_STRING,
    TB_ATTR_TENSOR,
    TB_ATTR_GRAPH,
    TB_ATTR_INTS,
    TB_ATTR_FLOATS,
    TB_ATTR_STRINGS
} tb_attr_kind;

typedef struct tb_attr {
    const char *name;
    tb_attr_kind kind;
    int64_t count; /**< elements of the list kinds; bytes of a string */
    union {
        int64_t i;
        float f;
        const char *s; /**< NUL-terminated as well */
        const tiba_tensor *tensor;
        tb_graph *graph;
        const int64_t *ints;
        const float *floats;
        const char *const *strings;
    };
} tb_attr;

/** One place where a value is read. */
typedef struct tb_use {
    tb_node *node;
    int index; /**< node->in[index] is the value */
} tb_use;

struct tb_value {
    int id;           /**< index in graph->values; in a source, unique over all its sub-graphs */
    const char *name; /**< as in the file; made-up values get a name too */
    /** Type and shape; rank is -1 where unknown, a dimension -1 where symbolic (source only).
     *  `t.data` is not NULL exactly for constants (initializers included). */
    tiba_tensor t;
    const char *const *dim_names; /**< [t.rank] symbolic names ("" = none) or NULL; inputs only */
    tb_node *producer;            /**< NULL for inputs and constants */
    int index;                    /**< producer->out[index] */
    /** Sources: the constant's or input's onnx.TensorProto.DataType, 0 unknown. Narrow types (4
     *  bits, 8-bit floats) are widened when read; what rounds to them has to know. */
    int file_type;
    tb_use *uses;
    int n_uses, cap_uses;
    int input;      /**< index in graph->inputs, -1 if none */
    bool is_output; /**< one of graph->outputs */
    /** Bound graphs: carries gradient and relevance, that is, depends differentiably on a float
     *  input or an embedding look-up. Not constant does not imply active: a dynamic scale or a
     *  comparison is computed at run time and is not active. */
    bool active;
    /** Bound graphs: the graph input (index) whose integer ids this constant is a copy of (moved,
     *  cast, sliced), -1 if none. Gather from a float table with such indices is an embedding
     *  look-up, and its output is active. */
    int ids_of;
    /** Bound graphs: of ids_of's ids, where each of these stands in flat order, -1: it is none of
     *  them (joined, padded); NULL: not known. */
    const tiba_tensor *places;
    /** Bound graphs: these integers or bools are the one-hot rows (along the last axis) of that
     *  value's ids, NULL if not. Cast to float they are an embedding look-up in waiting: the Cast
     *  becomes OneHot. */
    tb_value *rows_of;
    /** Bound graphs: the elements ought to be small whole numbers times this constant, which is one
     *  number or one for each element of axis `step_axis`: quantised operands. NULL: not known.
     *  Integer products rely on it after a look at the elements (runtime/gemm_whole.h). */
    const tb_value *step;
    int step_axis;
};

struct tb_node {
    int id;
    const char *name;    /**< as in the file, "" if it has none */
    const char *domain;  /**< "" is ai.onnx */
    const char *op_type; /**< as in the file */
    int opset;           /**< version of the domain's operator set; newest known in bound graphs */
    const tb_op *op;     /**< NULL in source graphs */
    int n_in, n_out;
    tb_value **in;  /**< NULL where an optional input is left out */
    tb_value **out; /**< NULL where an optional output is left out */
    int n_attrs;
    const tb_attr *attrs;
    tb_node *prev, *next; /**< execution order */
    /** Bound graphs: names of the file's nodes that this one stands for, comma-separated. */
    const char *origin;
};

struct tb_graph {
    tb_arena *arena;
    const char *name;
    tb_value **values; /**< by id (sources: in order of creation); may be NULL after removal */
    int *ids; /**< sources: the next id, shared with all sub-graphs; NULL: ids index values */
    int n_values, cap_values;
    tb_node *first, *last;
    int n_nodes, next_node_id;
    tb_value **inputs; /**< without initializers */
    int n_inputs;
    tb_value **outputs; /**< entries may be constants */
    int n_outputs;
    const tb_graph
        *parent; /**< source sub-graphs: the enclosing graph, whose values they may read */
};

/** An opened model file: the source graph and what the file says of itself. */
typedef struct tb_source {
    tb_arena *arena;
    const char *path;
    const char *producer; /**< "pytorch 2.4.0" */
    int64_t ir_version;
    int n_opsets;
    struct tb_opset {
        const char *domain;
        int64_t version;
    } * opsets;
    tb_graph *graph;
    int n_left_out; /**< outputs that are no tensors of numbers: the graph does not have them */
    struct tb_left_out {
        const char *name, *kind; /**< "a sequence" */
        tb_value *value;         /**< NULL: the file does not define it */
    } * left_out;
    int n_choices; /**< outputs that the file has not: what an operator makes another one of */
    struct tb_choice {
        int output; /**< index in the graph's outputs */
        const char *of, *op;
    } * choices;
    int n_values; /**< value ids of the graph and all sub-graphs are below it */
    int64_t n_parameters, parameter_bytes;
    void *files; /**< mapped files, owned by onnx/ */
} tb_source;

/** New empty graph in `arena`; NULL if out of memory. */
tb_graph *tb_graph_create(tb_arena *arena);
/** New value without producer and uses; NULL if out of memory. `name` is borrowed. */
tb_value *tb_graph_value(tb_graph *graph, const char *name);
/** New node with room for n_in inputs and n_out outputs (all NULL), appended to the order; NULL if
 *  out of memory. Strings and attributes are borrowed. */
tb_node *tb_graph_node(tb_graph *graph, const char *domain, const char *op_type, int n_in,
                       int n_out);
/** Moves `node` in front of `before` (NULL: to the end). */
void tb_node_move(tb_graph *graph, tb_node *node, tb_node *before);
/** Sets node->in[index] and keeps both values' use lists; false if out of memory. */
bool tb_node_set_input(tb_graph *graph, tb_node *node, int index, tb_value *value);
void tb_node_set_output(tb_node *node, int index, tb_value *value);
/** Lets every use of `old` (graph outputs included) read `value`; false if out of memory. */
bool tb_replace_uses(tb_graph *graph, tb_value *old, tb_value *value);
/** Takes a node without used outputs out of the graph. */
void tb_node_remove(tb_graph *graph, tb_node *node);
/** Removes nodes whose outputs no one reads; returns how many. */
int tb_graph_sweep(tb_graph *graph);
/** The single constant element of `value` as a number; false if it is no one-element constant. */
bool tb_scalar_constant(const tb_value *value, double *out);

/* Attributes, by name; the default where absent or of another kind. */
const tb_attr *tb_find_attr(const tb_node *node, const char *name);
int64_t tb_attr_int(const tb_node *node, const char *name, int64_t fallback);
float tb_attr_float(const tb_node *node, const char *name, float fallback);
const char *tb_attr_string(const tb_node *node, const char *name, const char *fallback);
/** The list and its length, or NULL with *count = 0. */
const int64_t *tb_attr_ints(const tb_node *node, const char *name, int64_t *count);

/** As tb_fail with "node 'NAME' (OP): " in front, and error->node set. */
tiba_status tb_node_fail(tiba_error *error, tiba_status code, const tb_node *node,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
