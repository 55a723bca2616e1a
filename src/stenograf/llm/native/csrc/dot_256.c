/* Integer dot products with 256-bit vectors, compiled twice: with vpdpbusd (AVX-VNNI), and with
 * vpmaddubsw, whose 16-bit sums of two products would saturate with codes up to 255. There codes
 * are taken less 128 (`offset` in cpu.c), their magnitudes multiply weights that carry their signs:
 * 2 * 128 * 127 fits. */
#include <immintrin.h>

#include "variant.h"
#include "vec.h"

#ifdef __AVXVNNI__
INLINE __m256i codes_of(const uint8_t *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
}

INLINE __m256i add_products(__m256i sums, __m256i a, __m256i b)
{
    return _mm256_dpbusd_avx_epi32(sums, a, b);
}
#else
INLINE __m256i codes_of(const uint8_t *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word ^ (int32_t)0x80808080); /* each byte less 128 */
}

INLINE __m256i add_products(__m256i sums, __m256i a, __m256i b)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif

INLINE void rows_by_panel(int rows, const uint8_t *a, int stride, const int8_t *panel, int deep,
                          int32_t *acc)
{
    for (int half = 0; half < PANEL / BLOCK; half++) {
        const int8_t *b = panel + half * BLOCK * deep;
        __m256i sums[4][2];
        for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
        for (int k = 0; k < deep; k += 4) {
            __m256i left = _mm256_loadu_si256((const __m256i *)(b + k * BLOCK));
            __m256i right = _mm256_loadu_si256((const __m256i *)(b + k * BLOCK + 32));
            for (int r = 0; r < rows; r++) {
                __m256i x = codes_of(a + (size_t)r * (size_t)stride + k);
                sums[r][0] = add_products(sums[r][0], x, left);
                sums[r][1] = add_products(sums[r][1], x, right);
            }
        }
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < 2; j++)
                _mm256_storeu_si256((__m256i *)(acc + r * PANEL + half * BLOCK + 8 * j),
                                    sums[r][j]);
    }
}

void VARIANT(dot)(const uint8_t *a, int stride, int rows, const int8_t *panel, int deep,
                  int32_t *acc)
{
    int r = 0;
    for (; r + 4 <= rows; r += 4)
        rows_by_panel(4, a + (size_t)r * (size_t)stride, stride, panel, deep, acc + r * PANEL);
    for (; r < rows; r++)
        rows_by_panel(1, a + (size_t)r * (size_t)stride, stride, panel, deep, acc + r * PANEL);
}
