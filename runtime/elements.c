#include "runtime/elements.h"

#define EACH_INTEGER(CASE)                                                                         \
    CASE(TIBA_INT64, int64_t)                                                                      \
    CASE(TIBA_UINT64, uint64_t)                                                                    \
    CASE(TIBA_INT32, int32_t)                                                                      \
    CASE(TIBA_UINT32, uint32_t)                                                                    \
    CASE(TIBA_INT16, int16_t)                                                                      \
    CASE(TIBA_UINT16, uint16_t)                                                                    \
    CASE(TIBA_INT8, int8_t)                                                                        \
    CASE(TIBA_UINT8, uint8_t)

void tb_load_i64(int64_t *out, const tiba_tensor *t, int64_t start, int64_t n, int step) {
#define CASE(dtype, type)                                                                          \
    case dtype: {                                                                                  \
        const type *in = (const type *)t->data + start;                                            \
        for (int64_t i = 0; i < n; i++) out[i] = (int64_t)in[i * step];                            \
        break;                                                                                     \
    }
    switch (t->dtype) {
        EACH_INTEGER(CASE)
        CASE(TIBA_BOOL, uint8_t)
    default:
        for (int64_t i = 0; i < n; i++) out[i] = tb_get_i64(t, start + i * step);
    }
#undef CASE
}

void tb_store_i64(tiba_tensor *t, int64_t start, int64_t n, const int64_t *in) {
#define CASE(dtype, type)                                                                          \
    case dtype: {                                                                                  \
        type *out = (type *)t->data + start;                                                       \
        for (int64_t i = 0; i < n; i++) out[i] = (type)in[i];                                      \
        break;                                                                                     \
    }
    switch (t->dtype) {
        EACH_INTEGER(CASE)
    case TIBA_BOOL: {
        uint8_t *out = (uint8_t *)t->data + start;
        for (int64_t i = 0; i < n; i++) out[i] = in[i] != 0;
        break;
    }
    default:
        for (int64_t i = 0; i < n; i++) tb_set_i64(t, start + i, in[i]);
    }
#undef CASE
}

void tb_load_f32(float *out, const tiba_tensor *t, int64_t start, int64_t n) {
#define CASE(dtype, type)                                                                          \
    case dtype: {                                                                                  \
        const type *in = (const type *)t->data + start;                                            \
        for (int64_t i = 0; i < n; i++) out[i] = (float)in[i];                                     \
        break;                                                                                     \
    }
    switch (t->dtype) {
        EACH_INTEGER(CASE)
        CASE(TIBA_BOOL, uint8_t)
        CASE(TIBA_FLOAT32, float)
    default:
        for (int64_t i = 0; i < n; i++) out[i] = (float)tb_get_f64(t, start + i);
    }
#undef CASE
}
