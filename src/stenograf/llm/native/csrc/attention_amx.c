/* Encoder attention of one head with AMX: bfloat16 products, float32 sums and exponents. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "variant.h"

enum { AHEAD = 16, TILE = 16 * 32 }; /* a tile: 16 rows of 16 pairs of bfloat16 */

/* Keys and values are laid out tile by tile: a tile holds 32 of the summed dimension in pairs
 * against 16 columns. Scores are (QUERIES, padded) float32, chances the same in bfloat16. */
typedef struct {
    int padded, width; /* frames and head size, multiples of 32 */
    uint16_t *keys, *values, *queries, *chances;
    float *scores, *sums;
} room;

static void *claim(char *memory, size_t *taken, size_t bytes)
{
    size_t start = *taken;
    *taken += (bytes + 63) / 64 * 64;
    return memory ? memory + start : NULL;
}

/* `memory` is where the room lies, aligned to 64 bytes; `taken` tells how many bytes it takes. */
static room layout(int frames, int size, char *memory, size_t *taken)
{
    room r = {.padded = round_up(frames, 32), .width = round_up(size, 32)};
    size_t padded = (size_t)r.padded, width = (size_t)r.width;
    *taken = 0;
    r.keys = claim(memory, taken, padded * width * 2);
    r.values = claim(memory, taken, padded * width * 2);
    r.queries = claim(memory, taken, QUERIES * width * 2);
    r.chances = claim(memory, taken, QUERIES * padded * 2);
    r.scores = claim(memory, taken, QUERIES * padded * sizeof(float));
    r.sums = claim(memory, taken, QUERIES * width * sizeof(float));
    return r;
}

size_t attend_scratch_amx(int frames, int size)
{
    size_t bytes;
    layout(frames, size, NULL, &bytes);
    return bytes;
}

static inline __m256i bf16_of_16(__m512 v) { return (__m256i)_mm512_cvtneps_pbh(v); }

static inline __mmask16 first_n(int n)
{
    return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
}

/* Rows lie as far apart as pages, so the processor does not foresee them. */
static inline void foresee(const float *rows, size_t stride, int row, int size)
{
    uintptr_t at = (uintptr_t)rows + (size_t)row * stride * sizeof *rows; /* or behind the last */
    for (int d = 0; d < size; d += 16) _mm_prefetch((const char *)at + 4 * d, _MM_HINT_T0);
}

/* Row-major bfloat16 of `size` floats, zeros up to `width`. */
static void pack_row(const float *x, int size, int width, float scale, uint16_t *out)
{
    for (int d = 0; d < width; d += 16) {
        __m512 v = _mm512_maskz_loadu_ps(first_n(size - d), x + d);
        _mm256_storeu_si256((__m256i *)(out + d), bf16_of_16(_mm512_mul_ps(v, _mm512_set1_ps(scale))));
    }
}

/* keys: tile (t / 16, d / 32), in it row d / 2, column t, then d % 2 */
static void pack_keys(const float *k, size_t stride, int frames, int size, const room *r)
{
    uint16_t row[256];
    for (int t = 0; t < r->padded; t++) {
        foresee(k, stride, t + AHEAD, size);
        if (t < frames) pack_row(k + (size_t)t * stride, size, r->width, 1, row);
        else memset(row, 0, (size_t)r->width * 2);
        uint16_t *tile = r->keys + (size_t)(t / 16) * (size_t)(r->width / 32) * TILE;
        for (int d = 0; d < r->width; d += 2)
            memcpy(tile + d / 2 * 32 + t % 16 * 2, row + d, 4);
    }
}

/* values: tile (d / 16, t / 32), in it row t / 2, column d, then t % 2 */
static void pack_values(const float *v, size_t stride, int frames, int size, const room *r)
{
    for (int t = 0; t < r->padded; t += 2) {
        foresee(v, stride, t + AHEAD, size);
        foresee(v, stride, t + 1 + AHEAD, size);
        for (int d = 0; d < r->width; d += 16) {
            __mmask16 some = first_n(size - d);
            __m512 even = _mm512_maskz_loadu_ps(t < frames ? some : 0, v + (size_t)t * stride + d);
            __m512 odd = _mm512_maskz_loadu_ps(t + 1 < frames ? some : 0,
                                               v + (size_t)(t + 1) * stride + d);
            __m512i low = _mm512_cvtepu16_epi32(bf16_of_16(even));
            __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16_of_16(odd)), 16);
            uint16_t *tile = r->values + ((size_t)(d / 16) * (size_t)(r->padded / 32) + (size_t)(t / 32)) * TILE;
            _mm512_storeu_si512(tile + t % 32 / 2 * 32, _mm512_or_si512(low, high));
        }
    }
}

/* out[32][32] = a (32 rows of `stride` bfloat16) times two columns of `steps` tiles each */
static inline void product(const uint16_t *a, int stride, const uint16_t *left,
                           const uint16_t *right, int steps, float *out, int out_stride)
{
    long row = (long)stride * 2, out_row = (long)out_stride * (long)sizeof(float);
    __asm__ volatile("" ::: "memory"); /* loading a tile is not always known to read memory */
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < steps; i++) {
        _tile_loadd(4, a + i * 32, row);
        _tile_loadd(6, left + i * TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + i * TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + i * 32 + 16 * stride, row);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, out_row);
    _tile_stored(1, out + 16, out_row);
    _tile_stored(2, out + 16 * out_stride, out_row);
    _tile_stored(3, out + 16 * out_stride + 16, out_row);
}

/* Look at the scores of 32 more keys, of which `columns` are real, while they are in the cache. */
static inline void note_largest(const float *scores, int stride, int columns,
                                __m512 largest[QUERIES])
{
    const __mmask16 left = first_n(columns), right = first_n(columns - 16);
    for (int i = 0; i < QUERIES; i++, scores += stride) {
        __m512 most = _mm512_mask_max_ps(largest[i], left, largest[i], _mm512_loadu_ps(scores));
        largest[i] = _mm512_mask_max_ps(most, right, most, _mm512_loadu_ps(scores + 16));
    }
}

/* 2^x: scalef takes the power of two from the whole part of x. A polynomial of degree 3, relative
 * error 1e-4, is well inside what bfloat16 keeps. */
static inline __m512 power_of_two(__m512 x)
{
    __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(7.7907286e-02f), f, _mm512_set1_ps(2.2623387e-01f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9577638e-01f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9992794e-01f));
    return _mm512_scalef_ps(p, x);
}

/* chances = 2^(scores - largest) as bfloat16, zeros behind `frames`; returns 1 / sum. */
static float exponents(const float *scores, __m512 largest, int frames, int padded,
                       uint16_t *chances)
{
    const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    __m512 total = _mm512_setzero_ps(), other = total;
    int t = 0;
    for (; t + 32 <= frames; t += 32) {
        __m512 left = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(scores + t), most));
        __m512 right = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(scores + t + 16), most));
        total = _mm512_add_ps(total, left);
        other = _mm512_add_ps(other, right);
        _mm512_storeu_si512(chances + t, (__m512i)_mm512_cvtne2ps_pbh(right, left));
    }
    for (; t < padded; t += 16) {
        __m512 p = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(scores + t), most));
        p = _mm512_maskz_mov_ps(first_n(frames - t), p);
        total = _mm512_add_ps(total, p);
        _mm256_storeu_si256((__m256i *)(chances + t), bf16_of_16(p));
    }
    return 1 / _mm512_reduce_add_ps(_mm512_add_ps(total, other));
}

void attend_amx(const float *q, const float *k, const float *v, size_t stride, int frames, int size,
                int first, int last, float *out, size_t out_stride, void *scratch)
{
    size_t taken;
    room r = layout(frames, size, scratch, &taken);
    const int deep = r.width / 32, long_deep = r.padded / 32;
    pack_keys(k, stride, frames, size, &r);
    pack_values(v, stride, frames, size, &r);
    float scale = 1.4426950408889634f / sqrtf((float)size); /* exponents are of base 2 */
    for (int block = first; block < last; block += QUERIES) {
        int rows = last - block < QUERIES ? last - block : QUERIES;
        float inverse[QUERIES];
        __m512 largest[QUERIES];
        for (int i = 0; i < rows; i++)
            pack_row(q + (size_t)(block + i) * stride, size, r.width, scale, r.queries + i * r.width);
        memset(r.queries + rows * r.width, 0, (size_t)((QUERIES - rows) * r.width) * 2);
        for (int i = 0; i < QUERIES; i++) {
            foresee(q, stride, block + QUERIES + i, size);
            foresee(out, out_stride, block + i, size);
        }
        for (int i = 0; i < QUERIES; i++) largest[i] = _mm512_set1_ps(-INFINITY);
        for (int t = 0; t < r.padded; t += 32) {
            const uint16_t *left = r.keys + (size_t)(t / 16 * deep) * TILE;
            product(r.queries, r.width, left, left + deep * TILE, deep, r.scores + t, r.padded);
            note_largest(r.scores + t, r.padded, frames - t, largest);
        }
        for (int i = 0; i < QUERIES; i++)
            inverse[i] = exponents(r.scores + (size_t)i * (size_t)r.padded, largest[i], frames, r.padded,
                                   r.chances + (size_t)i * (size_t)r.padded);
        for (int d = 0; d < r.width; d += 32) {
            const uint16_t *left = r.values + (size_t)(d / 16 * long_deep) * TILE;
            product(r.chances, r.padded, left, left + (size_t)long_deep * TILE, long_deep,
                    r.sums + d, r.width);
        }
        for (int i = 0; i < rows; i++)
            for (int d = 0; d < size; d += 16) {
                __m512 x = _mm512_loadu_ps(r.sums + i * r.width + d);
                _mm512_mask_storeu_ps(out + (size_t)(block + i) * out_stride + d,
                                      first_n(size - d), _mm512_mul_ps(x, _mm512_set1_ps(inverse[i])));
            }
    }
}
