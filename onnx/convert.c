#include "onnx/convert.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are read as they lie in the file: little-endian"
#endif

/* What the codes of a narrow type mean. */
typedef enum flavour {
    NOT_NARROW,
    SIGNED, /* two's complement */
    UNSIGNED,
    IEEE,          /* the top exponent is infinity and NaN */
    FINITE,        /* no infinity, no NaN */
    FINITE_NAN,    /* no infinity; NaN is the code of all ones */
    UNSIGNED_ZERO, /* no infinity, no -0: NaN is the code of -0 */
    SCALE          /* a power of two without sign; NaN is the code of all ones */
} flavour;

typedef struct type_row {
    tb_onnx_type type;
    flavour flavour;
    int mantissa, bias; /* bits; of the narrow floats */
} type_row;

#define PLAIN(name, dtype, bits)                                                                   \
    { {name, dtype, dtype, bits}, NOT_NARROW, 0, 0 }
#define FLOAT(name, exact, bits)                                                                   \
    { {name, TIBA_FLOAT32, exact, bits}, NOT_NARROW, 0, 0 }
#define SMALL(name, bits, flavour, mantissa, bias)                                                 \
    { {name, TIBA_FLOAT32, TIBA_FLOAT32, bits}, flavour, mantissa, bias }
#define INTEGER(name, dtype, bits, flavour)                                                        \
    { {name, dtype, dtype, bits}, flavour, 0, 0 }

/* By TensorProto.DataType. */
static const type_row types[] = {
    PLAIN("undefined", TIBA_UNDEFINED, 0),
    PLAIN("float32", TIBA_FLOAT32, 32),
    PLAIN("uint8", TIBA_UINT8, 8),
    PLAIN("int8", TIBA_INT8, 8),
    PLAIN("uint16", TIBA_UINT16, 16),
    PLAIN("int16", TIBA_INT16, 16),
    PLAIN("int32", TIBA_INT32, 32),
    PLAIN("int64", TIBA_INT64, 64),
    PLAIN("string", TIBA_STRING, 0),
    PLAIN("bool", TIBA_BOOL, 8),
    FLOAT("float16", TIBA_FLOAT16, 16),
    FLOAT("float64", TIBA_FLOAT64, 64),
    PLAIN("uint32", TIBA_UINT32, 32),
    PLAIN("uint64", TIBA_UINT64, 64),
    PLAIN("complex64", TIBA_UNDEFINED, 64),
    PLAIN("complex128", TIBA_UNDEFINED, 128),
    FLOAT("bfloat16", TIBA_BFLOAT16, 16),
    SMALL("float8e4m3fn", 8, FINITE_NAN, 3, 7),
    SMALL("float8e4m3fnuz", 8, UNSIGNED_ZERO, 3, 8),
    SMALL("float8e5m2", 8, IEEE, 2, 15),
    SMALL("float8e5m2fnuz", 8, UNSIGNED_ZERO, 2, 16),
    INTEGER("uint4", TIBA_UINT8, 4, UNSIGNED),
    INTEGER("int4", TIBA_INT8, 4, SIGNED),
    SMALL("float4e2m1", 4, FINITE, 1, 1),
    SMALL("float8e8m0", 8, SCALE, 0, 127),
    INTEGER("uint2", TIBA_UINT8, 2, UNSIGNED),
    INTEGER("int2", TIBA_INT8, 2, SIGNED),
    SMALL("float6e2m3", 6, FINITE, 3, 1),
    SMALL("float6e3m2", 6, FINITE, 2, 3),
};

const tb_onnx_type *tb_onnx_type_of(int32_t number) {
    if (number < 0 || (size_t)number >= sizeof types / sizeof *types) return NULL;
    return &types[number].type;
}

bool tb_needs_conversion(int32_t number, bool widen) {
    const type_row *row = &types[number];
    return row->flavour != NOT_NARROW || (widen && row->type.dtype != row->type.exact);
}

/* Half to float without tables, branches or denormal arithmetic, so that compilers vectorise it:
 * the exponent is moved by 112; the top exponent moves twice; denormal halves are normalised by
 * taking the implicit one off again. */
static float half(uint16_t h) {
    union {
        uint32_t u;
        float f;
    } normal, small, offset = {.u = 113u << 23};
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    normal.u = magnitude + (112u << 23) + (magnitude >= 0x1fu << 23 ? 112u << 23 : 0);
    small.u = magnitude + (113u << 23);
    small.f -= offset.f;
    normal.u = magnitude < 1u << 23 ? small.u : normal.u;
    normal.u |= (uint32_t)(h & 0x8000) << 16;
    return normal.f;
}

static void convert_half(float *restrict out, const unsigned char *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        out[i] = half(bits);
    }
}

static void convert_bfloat(float *restrict out, const unsigned char *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, in + 2 * i, sizeof bits);
        uint32_t wide = (uint32_t)bits << 16;
        memcpy(&out[i], &wide, sizeof wide);
    }
}

/* What is finite stays finite: masks are often filled with float64's lowest number. */
static void convert_double(float *restrict out, const unsigned char *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, in + 8 * i, sizeof value);
        if (value > FLT_MAX && value <= DBL_MAX) value = FLT_MAX;
        if (value < -FLT_MAX && value >= -DBL_MAX) value = -FLT_MAX;
        out[i] = (float)value;
    }
}

static float decode_float(const type_row *row, unsigned code) {
    int bits = row->type.bits;
    unsigned ones = (1u << bits) - 1;
    if (row->flavour == SCALE) return code == ones ? NAN : ldexpf(1.0f, (int)code - row->bias);
    unsigned sign = code >> (bits - 1), rest = code & (ones >> 1);
    unsigned exponent = rest >> row->mantissa, mantissa = rest & ((1u << row->mantissa) - 1);
    unsigned top = (ones >> 1) >> row->mantissa;
    if (row->flavour == UNSIGNED_ZERO && sign && rest == 0) return NAN;
    if (row->flavour == FINITE_NAN && rest == ones >> 1) return NAN;
    if (row->flavour == IEEE && exponent == top)
        return mantissa ? NAN : sign ? -INFINITY : INFINITY;
    float value = exponent ? ldexpf((float)(mantissa + (1u << row->mantissa)),
                                    (int)exponent - row->bias - row->mantissa)
                           : ldexpf((float)mantissa, 1 - row->bias - row->mantissa);
    return sign ? -value : value;
}

static void convert_narrow(const type_row *row, void *out, const unsigned char *in, size_t count,
                           int stride) {
    int bits = row->type.bits;
    unsigned mask = (1u << bits) - 1, top = 1u << (bits - 1);
    float floats[256];
    bool integer = row->flavour == SIGNED || row->flavour == UNSIGNED;
    for (unsigned code = 0; !integer && code <= mask; code++)
        floats[code] = decode_float(row, code);
    size_t bytes = count / 8 * (size_t)stride + (count % 8 * (size_t)stride + 7) / 8;
    for (size_t i = 0; i < count; i++) {
        size_t bit = i % 8 * (size_t)stride, at = i / 8 * (size_t)stride + bit / 8;
        unsigned word = in[at] | (at + 1 < bytes ? (unsigned)in[at + 1] << 8 : 0);
        unsigned code = word >> bit % 8 & mask;
        if (!integer)
            ((float *)out)[i] = floats[code];
        else if (row->flavour == UNSIGNED)
            ((uint8_t *)out)[i] = (uint8_t)code;
        else
            ((int8_t *)out)[i] = (int8_t)((int)(code ^ top) - (int)top);
    }
}

void tb_convert_elements(int32_t number, void *out, const unsigned char *in, size_t count,
                         int stride) {
    const type_row *row = &types[number];
    if (row->flavour != NOT_NARROW)
        convert_narrow(row, out, in, count, stride);
    else if (row->type.exact == TIBA_FLOAT16)
        convert_half(out, in, count);
    else if (row->type.exact == TIBA_BFLOAT16)
        convert_bfloat(out, in, count);
    else
        convert_double(out, in, count);
}
