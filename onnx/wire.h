/*
 * wire.h: the look at a protobuf message's bytes before protobuf-c sees them.
 *
 * The scan checks every length, tag, wire type and string, the nesting depth, the number of
 * messages and that no field stands twice where one is meant. What it writes is the same message in
 * small: fields that nobody reads are left out, and the bytes of tensors (raw_data, or float_data
 * and double_data in one packed piece, which is the same) are replaced by a tb_blob that says where
 * they are. So protobuf-c never copies a weight and never meets a message that is not sound.
 */
#ifndef TB_ONNX_WIRE_H
#define TB_ONNX_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/memory.h"

/** Contents of raw_data in a scanned message. */
typedef struct tb_blob {
    uint64_t offset, size; /**< bytes of the scanned file */
    uint64_t field;        /**< 9: raw_data, 4: float_data, 10: double_data */
} tb_blob;

/** Scans data[0 … size-1] as a message of type `descriptor`. `*out` is the small form, freed by
 *  the caller with tb_free. Errors say at which byte and in which field. */
tiba_status tb_wire_scan(unsigned char **out, size_t *out_size,
                         const ProtobufCMessageDescriptor *descriptor, const unsigned char *data,
                         size_t size, tb_budget *budget, tiba_error *error);

/** Reads a varint of at most 64 bits at data[*position], before `end`; moves *position behind it.
 *  False if it is cut off or longer than ten bytes. */
bool tb_wire_varint(uint64_t *out, const unsigned char *data, size_t *position, size_t end);

#endif
