/*
 * vector_math.h: exp, tanh, sigmoid, erf, GELU in float32 without branches, for loops that the
 * compiler vectorises (clones.h). Within about 2 units in the last place of the true value wherever
 * the function is well-conditioned, infinities and subnormal results included; NaN stays NaN.
 *
 * The polynomials are weighted least-maximum fits of our own: of (e^r - 1 - r) / r², of
 * (tanh x / x - 1) / x² and erf x / x in x², and of (1 + 2t) e^(t²) erfc t in (t - 2) / (t + 2).
 */
#ifndef TB_RUNTIME_VECTOR_MATH_H
#define TB_RUNTIME_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "runtime/clones.h"

static TB_INLINE uint32_t tb_float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static TB_INLINE float tb_float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/** e^(x + low), where low is a small correction (|low| < 0.1). */
static TB_INLINE float tb_exp2parts(float x, float low) {
    const float round = 12582912.0f; /* 1.5 · 2^23: adding it leaves an integer in the low bits */
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.5f ? -104.5f : x;
    const float shifted = x * 1.44269504f + round;
    const float n = shifted - round;
    const int32_t exponent = (int32_t)(tb_float_bits(shifted) - tb_float_bits(round));
    /* ln 2 in two parts, the first with few enough bits that n times it is exact */
    const float r = ((x - n * 0.693359375f) + n * 2.12194440e-4f) + low;
    float p = 1.390118840e-3f;
    p = p * r + 8.363144826e-3f;
    p = p * r + 4.166685416e-2f;
    p = p * r + 1.666657729e-1f;
    p = p * r + 4.999999955e-01f;
    p = (p * (r * r) + r) + 1.0f;
    /* 2^exponent in two factors: results may be subnormal or overflow */
    const int32_t half = exponent >> 1;
    const float first = tb_float_from_bits((uint32_t)(half + 127) << 23);
    const float second = tb_float_from_bits((uint32_t)(exponent - half + 127) << 23);
    return (p * first) * second;
}

static TB_INLINE float tb_exp(float x) {
    return tb_exp2parts(x, 0.0f);
}

static TB_INLINE float tb_sigmoid(float x) {
    const float e = tb_exp(-fabsf(x)), r = 1.0f / (1.0f + e);
    return x < 0.0f ? e * r : r;
}

static TB_INLINE float tb_tanh(float x) {
    const float a = fabsf(x), s = x * x;
    float p = -5.993195208e-03f;
    p = p * s + 2.092434085e-02f;
    p = p * s + -5.383519095e-02f;
    p = p * s + 1.333266389e-01f;
    p = p * s + -3.333332787e-01f;
    const float near = p * s * x + x;
    const float far = 1.0f - 2.0f / (tb_exp(2.0f * a) + 1.0f);
    return a < 0.625f ? near : copysignf(far, x);
}

/** e^(-scale x²) for |x| <= 15: x² as an exact square and a small rest, since a relative error of
 *  the exponent would be multiplied by its size. scale is 1 or 1/2. */
static TB_INLINE float tb_gauss(float x, float scale) {
    const float high = tb_float_from_bits(tb_float_bits(x) & 0xfffff000u);
    return tb_exp2parts(-scale * (high * high), -scale * ((x - high) * (x + high)));
}

/** e^(t²) erfc(t) for 0 <= t <= 10.6. */
static TB_INLINE float tb_erfcx(float t) {
    const float u = (t - 2.0f) / (t + 2.0f);
    float p = -4.005831202e-04f;
    p = p * u + -1.229935059e-03f;
    p = p * u + 1.313528710e-03f;
    p = p * u + 8.631688755e-03f;
    p = p * u + -8.059877247e-03f;
    p = p * u + -5.420430087e-02f;
    p = p * u + 1.640553471e-01f;
    p = p * u + -1.660314249e-01f;
    p = p * u + -9.276398087e-02f;
    p = p * u + 1.276978393e+00f;
    return p / (1.0f + 2.0f * t);
}

/** erf(x) for |x| < 0.95. */
static TB_INLINE float tb_erf_near(float x) {
    const float s = x * x;
    float p = 8.185087022e-05f;
    p = p * s + -8.097701701e-04f;
    p = p * s + 5.196951916e-03f;
    p = p * s + -2.685770502e-02f;
    p = p * s + 1.128366400e-01f;
    p = p * s + -3.761263161e-01f;
    p = p * s + 1.283791671e-01f;
    return x + x * p;
}

static TB_INLINE float tb_erf(float x) {
    const float a = fabsf(x), t = a > 10.0f ? 10.0f : a;
    const float far = 1.0f - tb_gauss(t, 1.0f) * tb_erfcx(t);
    return a < 0.9f ? tb_erf_near(x) : copysignf(far, x);
}

/** Φ(-x) for 0 <= x <= 15; `gauss` is e^(-x²/2). */
static TB_INLINE float tb_normal_tail(float x, float gauss) {
    const float t = x * 0.707106781f;
    const float near = 0.5f - 0.5f * tb_erf_near(t), far = 0.5f * (gauss * tb_erfcx(t));
    return t < 0.9f ? near : far;
}

/** x Φ(x). */
static TB_INLINE float tb_gelu(float x) {
    const float a = fabsf(x), c = a > 15.0f ? 15.0f : a;
    const float tail = tb_normal_tail(c, tb_gauss(c, 0.5f));
    return x < 0.0f ? (x < -15.0f ? -15.0f : x) * tail : x * (1.0f - tail);
}

/** Φ(x) + x φ(x). */
static TB_INLINE float tb_gelu_slope(float x) {
    const float a = fabsf(x), c = a > 15.0f ? 15.0f : a;
    const float gauss = tb_gauss(c, 0.5f), tail = tb_normal_tail(c, gauss);
    const float slope = c * gauss * 0.398942280f;
    return x < 0.0f ? tail - slope : (1.0f - tail) + slope;
}

/** x σ(2 √(2/π) (x + 0.044715 x³)), which is GELU's tanh form. */
static TB_INLINE float tb_gelu_tanh(float x) {
    const float c = x < -20.0f ? -20.0f : x;
    return c * tb_sigmoid(1.59576912f * (c + 0.044715f * (c * c * c)));
}

static TB_INLINE float tb_gelu_tanh_slope(float x) {
    const float low = x < -15.0f ? -15.0f : x, c = low > 15.0f ? 15.0f : low;
    const float s = tb_sigmoid(1.59576912f * (c + 0.044715f * (c * c * c)));
    return s + c * (s * (1.0f - s)) * (1.59576912f * (1.0f + 0.134145f * (c * c)));
}

#endif
