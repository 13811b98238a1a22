/*
 * reader.h: what the files of onnx/ share while one model is being read: the source in the making,
 * where bytes come from, and the steps of the way: tensors, attributes, functions, graphs.
 */
#ifndef TB_ONNX_READER_H
#define TB_ONNX_READER_H

#include "base/file.h"
#include "onnx.pb-c.h"
#include "onnx/names.h"
#include "onnx/onnx.h"
#include "onnx/wire.h"

typedef struct tb_open_file {
    struct tb_open_file *next;
    const char *location; /* as the model says */
    const char *path;     /* resolved */
    tb_file file;
} tb_open_file;

typedef struct tb_function {
    const Onnx__FunctionProto *proto;
    const char *name;
    tb_names outputs;  /* name -> index in proto->output, the first of a name */
    tb_names defaults; /* name -> index in default_attrs */
    int n_defaults;
    Onnx__AttributeProto **default_attrs;
    int n_opsets;
    struct tb_opset *opsets;
    bool active; /* being inlined */
} tb_function;

typedef struct tb_reader {
    tb_source *source;         /* NULL while a single tensor is read */
    tb_arena *arena;           /* what lives as long as the source */
    tb_arena *scratch;         /* messages and tables */
    const unsigned char *data; /* the file: what blobs refer to */
    bool borrow;               /* weights may stay in `data` */
    bool mapped;               /* `data` is a file's pages */
    const char *path;          /* for the folder of external data; NULL: there is none */
    const char *folders[2];    /* resolved folders that external data may lie in */
    tb_open_file *files;
    tb_names names; /* every value name of the model */
    tb_function *functions;
    tb_names function_index; /* "domain\nname\noverload" */
    int depth;               /* functions being inlined */
    int made_up;             /* numbers given to names */
    int64_t steps;           /* nodes read and functions inlined so far */
    tiba_error *error;
} tb_reader;

/** An element type of the file. */
typedef struct tb_onnx_type {
    const char *name;
    tiba_dtype dtype; /**< what its elements are kept as; TIBA_UNDEFINED: refused */
    tiba_dtype exact; /**< the same without widening floats (16 bit, float64) */
    int bits;         /**< of an element in raw data */
} tb_onnx_type;

/** The row of a TensorProto.DataType; NULL for numbers it does not know. */
const tb_onnx_type *tb_onnx_type_of(int32_t number);

/** "" for an absent string. */
static inline const char *tb_text(const char *text) {
    return text ? text : "";
}
/** "ai.onnx" is another way to write "". */
const char *tb_domain(const char *domain);

/** tb_arena_strdup into the source's arena; a NULL text is "". */
char *tb_keep(tb_reader *r, const char *text);

/** Allocator for protobuf-c on an arena. */
ProtobufCAllocator tb_proto_allocator(tb_arena *arena);

/** The bytes of an external tensor; `wanted` many where the file does not say how many. */
tiba_status tb_external_bytes(tb_reader *r, const Onnx__TensorProto *proto, size_t wanted,
                              const unsigned char **data, size_t *size);
void tb_close_files(tb_open_file *files);

/** Reads a tensor. `widen`: 16-bit floats and float64 become float32. The data is borrowed from a
 *  mapped file where its alignment allows and r->borrow says so, else it is the arena's.
 *  A string tensor has no data. Errors name the tensor. */
tiba_status tb_read_tensor(tb_reader *r, const Onnx__TensorProto *proto, bool widen,
                           tiba_tensor *out);
/** Reads a sparse tensor into a dense one. */
tiba_status tb_read_sparse(tb_reader *r, const Onnx__SparseTensorProto *proto, tiba_tensor *out);
/** What a declared value is if not a tensor of numbers ("a sequence"), else NULL. */
const char *tb_no_tensor(const Onnx__ValueInfoProto *info);
/** Element type and shape of a declared input or output; `what` names it in errors. `lists`: it may
 *  be a sequence or an optional, which have neither (what the body of a loop hands on). */
tiba_status tb_read_type(tb_reader *r, const Onnx__ValueInfoProto *info, const char *what,
                         bool lists, tiba_tensor *out, const char *const **dim_names);

/** What a graph's names mean, and the order of its nodes. One per graph and per inlined function.
 */
typedef struct tb_scope tb_scope;
struct tb_scope {
    tb_scope *outer; /* enclosing graph; NULL: none */
    tb_graph *graph; /* where nodes and values go: a function's is its caller's */
    tb_names names;  /* -> entries */
    struct tb_entry {
        tb_value *value; /* NULL: a function's input that its caller leaves out */
        int position;    /* of the node that makes it, -1: none */
    } * entries;
    int n_entries, cap_entries;
    int current; /* position of the node being built */
    bool unsorted;
    struct tb_edge {
        int from, to; /* `to` reads what `from` makes */
    } * edges;
    int n_edges, cap_edges;
    struct tb_invocation *call; /* the function that is being inlined, NULL: none */
};

/** A function at work: what its body's names and attributes stand for. */
typedef struct tb_invocation {
    tb_function *function;
    const char *prefix; /* of made-up names */
    int n_attrs;
    const tb_attr *attrs; /* the caller's */
    int n_out;
    tb_value **out; /* the caller's values by output index; NULL: not wanted */
    const tb_scope *body;
} tb_invocation;

/** Reads the nodes' attributes. In a function's body references are looked up in the call. */
tiba_status tb_read_attrs(tb_reader *r, tb_scope *scope, const Onnx__NodeProto *proto, int *n_attrs,
                          const tb_attr **attrs);

/** Reads a graph (`outer` NULL: the model's) on behalf of `call` (NULL: not in a function). */
tiba_status tb_read_graph(tb_reader *r, const Onnx__GraphProto *proto, tb_scope *outer,
                          tb_invocation *call, tb_graph **out);
/** Reads nodes into scope->graph, in an order in which every value is made before it is read. */
tiba_status tb_read_nodes(tb_reader *r, tb_scope *scope, size_t n, Onnx__NodeProto **nodes);
/** Adds Identity from `in` to `out`. */
tiba_status tb_add_identity(tb_reader *r, tb_scope *scope, tb_value *in, tb_value *out);
/** Counts work, of which a file may ask for only so much. */
tiba_status tb_step(tb_reader *r, size_t cost);
/** Adds a constant to the source's parameters if it is one; `proto` (or NULL) knows its width. */
void tb_count_parameters(tb_reader *r, const tiba_tensor *tensor, const Onnx__TensorProto *proto);

/** Gives `name` its value in `scope`; an error (at `node`, may be NULL) if it has one. */
tiba_status tb_scope_define(tb_reader *r, tb_scope *scope, const char *name, tb_value *value,
                            int position, const Onnx__NodeProto *node);
/** What `name` stands for here or in an enclosing graph; *out is NULL if nothing defines it.
 *  Records that the node being built needs it. */
tiba_status tb_scope_find(tb_reader *r, tb_scope *scope, const char *name,
                          const struct tb_entry **out);
/** An order of the nodes in which every value is made before it is read, else as in the file. */
tiba_status tb_scope_sort(tb_reader *r, const tb_scope *scope, int n, Onnx__NodeProto **nodes,
                          const int **order);
/** The name of a function's value or node at a call: "CALL/NAME"; `name` itself without a call. */
char *tb_made_up_name(tb_reader *r, const tb_invocation *call, const char *name);
/** A new value of the scope's graph. In functions its name is made up and no other's, and a
 *  function's output is the caller's value. */
tb_value *tb_new_value(tb_reader *r, const tb_scope *scope, const char *name);

/** Reads the model's function table. */
tiba_status tb_read_functions(tb_reader *r, const Onnx__ModelProto *model);
/** The function that a node calls; NULL if it is an operator. */
tiba_status tb_find_function(tb_reader *r, const Onnx__NodeProto *node, tb_function **out);
/** Puts the function's nodes in place of a node that calls it: in[i] may be NULL (left out), out[i]
 *  are the caller's values. */
tiba_status tb_inline(tb_reader *r, tb_scope *caller, const Onnx__NodeProto *node,
                      tb_function *function, tb_value **in, tb_value **out, int n_attrs,
                      const tb_attr *attrs);

/** Operator sets of a model or function. */
tiba_status tb_read_opsets(tb_reader *r, size_t n, Onnx__OperatorSetIdProto **protos, int *n_out,
                           struct tb_opset **out);
/** The version of a node's operator set; 0 if the file names none. */
int tb_opset_of(const tb_reader *r, const tb_scope *scope, const char *domain);

/** TIBA_ERROR_INPUT with "node 'NAME' (OP): " in front, and error->node set. */
tiba_status tb_fail_at(tb_reader *r, const Onnx__NodeProto *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
