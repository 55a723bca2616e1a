/* Integer dot products with 512-bit vpdpbusd. */
#include <immintrin.h>

#include "variant.h"
#include "vec.h"

INLINE __m512i four_bytes(const uint8_t *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

INLINE void rows_by_panel(int rows, const uint8_t *a, int stride, const int8_t *panel, int deep,
                          int32_t *acc)
{
    const int8_t *behind = panel + BLOCK * deep;
    __m512i sums[8][2];
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm512_setzero_si512();
    for (int k = 0; k < deep; k += 4) {
        __m512i left = _mm512_loadu_si512(panel + k * BLOCK);
        __m512i right = _mm512_loadu_si512(behind + k * BLOCK);
        for (int r = 0; r < rows; r++) {
            __m512i x = four_bytes(a + (size_t)r * (size_t)stride + k);
            sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], x, left);
            sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], x, right);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < 2; j++)
            _mm512_storeu_si512(acc + r * PANEL + BLOCK * j, sums[r][j]);
}

void dot_avx512(const uint8_t *a, int stride, int rows, const int8_t *panel, int deep, int32_t *acc)
{
    int r = 0;
    for (; r + 8 <= rows; r += 8)
        rows_by_panel(8, a + (size_t)r * (size_t)stride, stride, panel, deep, acc + r * PANEL);
    for (; r + 4 <= rows; r += 4)
        rows_by_panel(4, a + (size_t)r * (size_t)stride, stride, panel, deep, acc + r * PANEL);
    for (; r < rows; r++)
        rows_by_panel(1, a + (size_t)r * (size_t)stride, stride, panel, deep, acc + r * PANEL);
}
