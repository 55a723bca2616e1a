/* Float vectors of the width that this file is compiled for, through the compiler's own vector
 * types: one source serves SSE2, AVX2 and AVX-512. */
#ifndef VEC_H
#define VEC_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint8_t vb __attribute__((vector_size(LANES)));
typedef int8_t vsb __attribute__((vector_size(LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vi load_int(const int32_t *p) { vi v; memcpy(&v, p, sizeof v); return v; }
INLINE vf all(float x) { return x - (vf){0}; }
INLINE vi all_int(int32_t x) { return x - (vi){0}; }
INLINE vf to_float(vi v) { return __builtin_convertvector(v, vf); }
INLINE vi to_int(vf v) { return __builtin_convertvector(v, vi); } /* towards zero */
INLINE vf select_vf(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
INLINE vf max_vf(vf a, vf b) { return select_vf(a > b, a, b); }
INLINE vf min_vf(vf a, vf b) { return select_vf(a < b, a, b); }

INLINE float sum_of(vf v)
{
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

INLINE float max_of(vf v)
{
    float best = v[0];
    for (int i = 1; i < LANES; i++) best = v[i] > best ? v[i] : best;
    return best;
}

/* Up to `n` < LANES floats, zeros (or `fill`) behind them. */
INLINE vf load_some(const float *p, int n, float fill)
{
    vf v = all(fill);
    memcpy(&v, p, (size_t)n * sizeof(float));
    return v;
}

INLINE void store_some(float *p, vf v, int n) { memcpy(p, &v, (size_t)n * sizeof(float)); }

/* 2^x for x in [-126, 127], relative error 2e-7: a polynomial on [-1/2, 1/2], exponent by bits. */
INLINE vf exp2_vf(vf x)
{
    const float rounder = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = max_vf(min_vf(x, all(127.0f)), all(-126.0f));
    vf shifted = x + rounder;
    vf f = x - (shifted - rounder);
    vf p = all(1.5370710e-4f);
    p = p * f + 1.33998531e-3f;
    p = p * f + 9.61837331e-3f;
    p = p * f + 5.550329023e-2f;
    p = p * f + 2.4022648462e-1f;
    p = p * f + 6.9314720557e-1f;
    p = p * f + 1.0f;
    return (vf)((vi)p + (((vi)shifted) << 23));
}

INLINE vf exp_vf(vf x) { return exp2_vf(x * 1.4426950408889634f); }

/* x * Phi(x), absolute error under 2e-6: an odd polynomial of least greatest error on [-5, 5], in
 * the square of x scaled to [-1, 1]; behind that Phi is 0 or 1 to 3e-7. */
INLINE vf gelu_vf(vf x)
{
    vf z = max_vf(min_vf(x, all(5.0f)), all(-5.0f));
    vf u = z * z * 0.08f - 1.0f;
    vf p = all(4.92947510e-04f);
    p = p * u - 1.51413446e-03f;
    p = p * u + 2.00191235e-03f;
    p = p * u - 2.91571737e-03f;
    p = p * u + 6.16538563e-03f;
    p = p * u - 1.09731955e-02f;
    p = p * u + 1.64976734e-02f;
    p = p * u - 2.33367437e-02f;
    p = p * u + 3.14262267e-02f;
    p = p * u - 4.04329477e-02f;
    p = p * u + 5.15214210e-02f;
    p = p * u - 7.02966524e-02f;
    p = p * u + 1.41363780e-01f;
    return max_vf(x, all(-5.0f)) * (z * p + 0.5f); /* and not Phi's rest times a large x */
}

INLINE vf load_bf16(const uint16_t *p)
{
    vh half;
    memcpy(&half, p, sizeof half);
    return (vf)(__builtin_convertvector(half, vi) << 16);
}

INLINE uint16_t bf16_of(float x) /* to nearest, ties to even */
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#endif
