/*
 * onnx.h: from a file's bytes to a source graph. The only room that sees protobuf; every check of
 * untrusted bytes is here.
 */
#ifndef TB_ONNX_ONNX_H
#define TB_ONNX_ONNX_H

#include "graph/graph.h"

/** Opens a .onnx file. Weights stay in the mapped file (external data files likewise) or where
 *  protobuf put them; float16, bfloat16 and float64 weights become float32, 4-bit and 8-bit float
 *  ones wider types. Model-local functions are inlined. Free with tb_onnx_close. */
tiba_status tb_onnx_open(tb_source **out, const char *path, tb_budget *budget, tiba_error *error);
/** As tb_onnx_open for a file's bytes, which must outlive the source. There is no folder, so
 *  external data is refused. */
tiba_status tb_onnx_open_memory(tb_source **out, const void *data, size_t size, tb_budget *budget,
                                tiba_error *error);
void tb_onnx_close(tb_source *source);
/** The index-th external data file in the order of first use: its path, and its name in the model
 *  (`location` may be NULL). NULL past the last one. */
const char *tb_onnx_data_file(const tb_source *source, int index, const char **location);

/** Reads one serialised TensorProto file (the ONNX tests' input_0.pb); dtype kept as stored, except
 *  for types without a tiba_dtype, which are widened. Data belongs to the arena. */
tiba_status tb_onnx_read_tensor(tiba_tensor *out, tb_arena *arena, const char *path,
                                tiba_error *error);

#endif
