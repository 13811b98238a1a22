#include "runtime/places.h"

#include <inttypes.h>
#include <string.h>

enum { GRAIN = 1 << 15 }; /* elements that make a range worth a thread */

tiba_status tb_need_indices(const tb_node *node, tiba_error *error) {
    TB_TRY(tb_need_rank(node, 1, 0, error));
    tiba_dtype dtype = node->in[1]->t.dtype;
    if (dtype != TIBA_INT64 && dtype != TIBA_INT32)
        return tb_node_fail(error, TIBA_ERROR_INPUT, node, "its indices are %s, not int64 or int32",
                            tb_dtype_name(dtype));
    return TIBA_OK;
}

tiba_status tb_check_indices(const tb_node *node, const tiba_tensor *indices, int n_sizes,
                             const int64_t *sizes, tiba_error *error) {
    int64_t n = tb_tensor_count(indices);
    for (int j = 0; j < n_sizes; j++) {
        int64_t low = 0, high = -1, size = sizes[j];
        /* The common case first: two running extremes, which compilers vectorise. */
        for (int64_t i = j; i < n; i += n_sizes) {
            int64_t index = tb_index(indices, i);
            low = index < low ? index : low;
            high = index > high ? index : high;
        }
        if (low >= -size && high < size) continue;
        for (int64_t i = j; i < n; i += n_sizes) {
            int64_t index = tb_index(indices, i);
            if (index < -size || index >= size)
                return tb_node_fail(
                    error, TIBA_ERROR_INPUT, node,
                    "index %" PRId64 " is out of range for an axis of size %" PRId64, index, size);
        }
    }
    return TIBA_OK;
}

static void axis_offsets(const tb_places *p, int64_t first, int64_t n, int64_t *out) {
    int64_t size = p->dims[0], count = p->dims[1], at = first % count;
    int64_t base = first / count * size;
    for (int64_t i = 0; i < n; i++) {
        int64_t index = tb_index(p->indices, at);
        out[i] = (base + (index < 0 ? index + size : index)) * p->length;
        if (++at == count) {
            at = 0;
            base += size;
        }
    }
}

tb_places tb_places_axis(const tiba_tensor *data, const tiba_tensor *indices, int axis) {
    int64_t outer = tb_product(data->dims, 0, axis), count = tb_tensor_count(indices);
    return (tb_places){.blocks = outer * count,
                       .length = tb_product(data->dims, axis + 1, data->rank),
                       .groups = outer,
                       .offsets = axis_offsets,
                       .indices = indices,
                       .dims = {data->dims[axis], count}};
}

static void read_indices(int64_t *out, const tiba_tensor *indices, int64_t first, int64_t n) {
    if (indices->dtype == TIBA_INT64)
        memcpy(out, (const int64_t *)indices->data + first, (size_t)n * sizeof *out);
    else
        for (int64_t k = 0; k < n; k++) out[k] = tb_index(indices, first + k);
}

/* Row by row along the last axis of the indices. */
static void element_offsets(const tb_places *p, int64_t first, int64_t n, int64_t *out) {
    const int64_t *dims = p->indices->dims;
    int64_t at[TIBA_MAX_RANK], rest = first, size = p->dims[p->axis], step = p->strides[p->axis];
    int last = p->rank - 1;
    for (int i = last; i >= 0; i--) {
        at[i] = rest % dims[i];
        rest /= dims[i];
    }
    for (int64_t done = 0; done < n;) {
        int64_t base = 0, run = dims[last] - at[last];
        if (run > n - done) run = n - done;
        for (int i = 0; i < p->rank; i++)
            if (i != p->axis) base += at[i] * p->strides[i];
        int64_t along = p->axis == last ? 0 : 1;
        read_indices(out + done, p->indices, first + done, run);
        for (int64_t k = 0; k < run; k++) {
            int64_t index = out[done + k];
            out[done + k] = base + k * along + (index < 0 ? index + size : index) * step;
        }
        done += run;
        at[last] = 0;
        for (int i = last - 1; i >= 0 && ++at[i] == dims[i]; i--) at[i] = 0;
    }
}

tb_places tb_places_elements(const tiba_tensor *data, const tiba_tensor *indices, int axis) {
    tb_places p = {.blocks = tb_tensor_count(indices),
                   .length = 1,
                   .groups = tb_product(indices->dims, 0, axis),
                   .offsets = element_offsets,
                   .indices = indices,
                   .axis = axis,
                   .rank = data->rank};
    for (int i = 0; i < data->rank; i++) p.dims[i] = data->dims[i];
    tb_strides(p.strides, data->rank, data->dims);
    return p;
}

static tb_places places_of_elements(const tb_node *node, const tiba_tensor *data,
                                    const tiba_tensor *indices) {
    return tb_places_elements(data, indices, tb_axis_attr(node, data->rank));
}

static tiba_status check_elements(const tb_node *node, const tiba_tensor *data,
                                  const tiba_tensor *indices, tiba_error *error) {
    return tb_check_indices(node, indices, 1, &data->dims[tb_axis_attr(node, data->rank)], error);
}

const tb_lookup tb_lookup_elements = {places_of_elements, check_elements};

bool tb_elements_fit(const tiba_tensor *data, const tiba_tensor *indices, int axis) {
    bool fits = indices->rank == data->rank;
    for (int i = 0; fits && i < data->rank; i++)
        fits = i == axis || indices->dims[i] <= data->dims[i];
    return fits;
}

static void nd_offsets(const tb_places *p, int64_t first, int64_t n, int64_t *out) {
    int64_t per_group = p->blocks / p->groups;
    for (int64_t i = 0; i < n; i++) {
        int64_t block = first + i, offset = block / per_group * p->strides[p->depth];
        for (int j = 0; j < p->depth; j++) {
            int64_t index = tb_index(p->indices, block * p->depth + j);
            offset += (index < 0 ? index + p->dims[j] : index) * p->strides[j];
        }
        out[i] = offset;
    }
}

tb_places tb_places_nd(const tiba_tensor *data, const tiba_tensor *indices, int batch_dims) {
    int depth = (int)indices->dims[indices->rank - 1];
    tb_places p = {.blocks = tb_product(indices->dims, 0, indices->rank - 1),
                   .length = tb_product(data->dims, batch_dims + depth, data->rank),
                   .groups = tb_product(data->dims, 0, batch_dims),
                   .offsets = nd_offsets,
                   .indices = indices,
                   .depth = depth};
    int64_t stride = p.length;
    for (int j = depth - 1; j >= 0; j--) {
        p.dims[j] = data->dims[batch_dims + j];
        p.strides[j] = stride;
        stride *= p.dims[j];
    }
    /* from one batch to the next; depth < TIBA_MAX_RANK where there is a batch */
    if (depth < TIBA_MAX_RANK) p.strides[depth] = stride;
    return p;
}

typedef struct job {
    const tb_places *places;
    size_t size;
    char *to;
    const char *from;
} job;

static void gather_range(void *context, int64_t first, int64_t last, int worker) {
    (void)worker;
    const job *j = context;
    const tb_places *p = j->places;
    int64_t offsets[TB_PLACES_BATCH], size = (int64_t)j->size, bytes = p->length * size;
    while (first < last) {
        int64_t n = last - first < TB_PLACES_BATCH ? last - first : TB_PLACES_BATCH;
        p->offsets(p, first, n, offsets);
        char *to = j->to + first * bytes;
        if (bytes == 4)
            for (int64_t i = 0; i < n; i++) memcpy(to + i * 4, j->from + offsets[i] * size, 4);
        else if (bytes == 8)
            for (int64_t i = 0; i < n; i++) memcpy(to + i * 8, j->from + offsets[i] * size, 8);
        else
            for (int64_t i = 0; i < n; i++)
                memcpy(to + i * bytes, j->from + offsets[i] * size, (size_t)bytes);
        first += n;
    }
}

void tb_places_gather(tb_exec *exec, const tb_places *places, size_t size, void *to,
                      const void *from) {
    if (places->length == 0) return;
    job j = {places, size, to, from};
    tb_parallel_ranges(exec, places->blocks, GRAIN / places->length, gather_range, &j);
}

static void add_groups(void *context, int64_t first_group, int64_t last_group, int worker) {
    (void)worker;
    const job *j = context;
    const tb_places *p = j->places;
    int64_t offsets[TB_PLACES_BATCH], per_group = p->blocks / p->groups;
    int64_t first = first_group * per_group, last = last_group * per_group;
    while (first < last) {
        int64_t n = last - first < TB_PLACES_BATCH ? last - first : TB_PLACES_BATCH;
        p->offsets(p, first, n, offsets);
        for (int64_t i = 0; i < n; i++) {
            float *to = (float *)(void *)j->to + offsets[i];
            const float *from = (const float *)(const void *)j->from + (first + i) * p->length;
            for (int64_t k = 0; k < p->length; k++) to[k] += from[k];
        }
        first += n;
    }
}

void tb_places_add(tb_exec *exec, const tb_places *places, float *to, const float *from) {
    if (places->length == 0 || places->blocks == 0) return;
    job j = {places, sizeof(float), (char *)to, (const char *)from};
    int64_t per_group = places->blocks / places->groups * places->length;
    tb_parallel_ranges(exec, places->groups, GRAIN / per_group, add_groups, &j);
}
