/*
 * tiba.h: the public interface of libtiba.
 *
 * Opens an exported ONNX transformer, runs it and explains one scalar of its output with
 * TiBA (Chefer, Gur, Wolf: "Transformer Interpretability Beyond Attention Visualization",
 * CVPR 2021). The shape of a program:
 *
 *     tiba_model_open -> tiba_run_create (bind + forward) -> tiba_explain -> tiba_result_tower
 *
 * The library never prints, never exits and keeps no global state. Every function that can
 * fail returns a tiba_status and, where `error` is not NULL, fills it with one line that says
 * what failed and where. Objects of different models may be used from different threads.
 */
#ifndef TIBA_H
#define TIBA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TIBA_API __attribute__((visibility("default")))
#else
#define TIBA_API
#endif

/** What a call came to. The values are the exit statuses of the command line program. */
typedef enum tiba_status {
    TIBA_OK = 0,
    TIBA_ERROR_INPUT = 1,   /**< the model or an input cannot be read, run or explained */
    TIBA_ERROR_USAGE = 2,   /**< the call's arguments are wrong */
    TIBA_ERROR_RESOURCE = 3 /**< out of memory, or an output cannot be written */
} tiba_status;

/** Why a call failed. Owned by the caller; start from `tiba_error e = {0}`. */
typedef struct tiba_error {
    tiba_status code;
    char node[128];    /**< name of the graph node it is about, "" if none */
    char message[512]; /**< one line without a full stop, valid UTF-8 */
} tiba_error;

/** Element types, numbered as in onnx.TensorProto.DataType. */
typedef enum tiba_dtype {
    TIBA_UNDEFINED = 0,
    TIBA_FLOAT32 = 1,
    TIBA_UINT8 = 2,
    TIBA_INT8 = 3,
    TIBA_UINT16 = 4,
    TIBA_INT16 = 5,
    TIBA_INT32 = 6,
    TIBA_INT64 = 7,
    TIBA_STRING = 8,
    TIBA_BOOL = 9,
    TIBA_FLOAT16 = 10,
    TIBA_FLOAT64 = 11,
    TIBA_UINT32 = 12,
    TIBA_UINT64 = 13,
    TIBA_BFLOAT16 = 16
} tiba_dtype;

#define TIBA_MAX_RANK 8

/** A dense row-major array. `data` is borrowed unless a function says otherwise. */
typedef struct tiba_tensor {
    tiba_dtype dtype;
    int rank;
    int64_t dims[TIBA_MAX_RANK];
    void *data;
} tiba_tensor;

#ifdef __cplusplus
}
#endif
#endif
