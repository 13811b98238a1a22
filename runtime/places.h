/*
 * places.h: look-ups. A tb_places lists, for block 0, 1, … of one dense array, where the block
 * starts in another; Gather, GatherElements, GatherND, Compress and ReverseSequence read from the
 * places, their vjps add to them, and the Scatter operators write to them.
 *
 * Offsets are worked out in small batches, so that no second array of the indices' size is needed.
 */
#ifndef TB_RUNTIME_PLACES_H
#define TB_RUNTIME_PLACES_H

#include "runtime/shapes.h"

typedef struct tb_places tb_places;
struct tb_places {
    int64_t blocks; /**< how many */
    int64_t length; /**< elements of each */
    /** The blocks fall into this many equal runs; places of different runs never overlap. */
    int64_t groups;
    /** Offsets in elements of blocks first … first + n-1. */
    void (*offsets)(const tb_places *places, int64_t first, int64_t n, int64_t *out);
    /* What offset functions read: */
    const tiba_tensor *indices;
    int axis, rank, depth; /* depth: coordinates in an index of the ND forms */
    int64_t dims[TIBA_MAX_RANK], strides[TIBA_MAX_RANK];
    const int64_t *maps; /* of Pad: offsets by index, axis after axis */
};

enum { TB_PLACES_BATCH = 512 }; /**< offsets that callers ask for at a time */

/** An index, int32 or int64 (tb_need_indices has made sure); not yet wrapped if negative. */
static inline int64_t tb_index(const tiba_tensor *indices, int64_t i) {
    return indices->dtype == TIBA_INT64 ? ((const int64_t *)indices->data)[i]
                                        : ((const int32_t *)indices->data)[i];
}

/** Fails unless node->in[1] is int32 or int64. */
tiba_status tb_need_indices(const tb_node *node, tiba_error *error);
/** Fails, with the value, unless -size <= i < size for every index. indices[…, j] is checked
 * against sizes[j] where n_sizes > 1. */
tiba_status tb_check_indices(const tb_node *node, const tiba_tensor *indices, int n_sizes,
                             const int64_t *sizes, tiba_error *error);

/** Blocks data[…, index, …] along `axis` for all indices: as Gather. */
tb_places tb_places_axis(const tiba_tensor *data, const tiba_tensor *indices, int axis);
/** Single elements: data[i0, …, index[i0, …], …] with the index at `axis`: as GatherElements. */
tb_places tb_places_elements(const tiba_tensor *data, const tiba_tensor *indices, int axis);
/** Blocks data[batch…, index tuple, …]: as GatherND. */
tb_places tb_places_nd(const tiba_tensor *data, const tiba_tensor *indices, int batch_dims);

/** How an operator finds its places, and whether its indices are sound. */
typedef struct tb_lookup {
    tb_places (*places)(const tb_node *node, const tiba_tensor *data, const tiba_tensor *indices);
    tiba_status (*check)(const tb_node *node, const tiba_tensor *data, const tiba_tensor *indices,
                         tiba_error *error);
} tb_lookup;

/** Single elements along the attribute `axis`: GatherElements and ScatterElements. */
extern const tb_lookup tb_lookup_elements;
/** Do indices of that kind fit the data? Both ranks equal, no axis but `axis` longer. */
bool tb_elements_fit(const tiba_tensor *data, const tiba_tensor *indices, int axis);

/** to's block b = the block at place b of `from`; elements of `size` bytes. */
void tb_places_gather(tb_exec *exec, const tb_places *places, size_t size, void *to,
                      const void *from);
/** The adjoint: the block at place b of `to` += block b of `from`. */
void tb_places_add(tb_exec *exec, const tb_places *places, float *to, const float *from);

#endif
