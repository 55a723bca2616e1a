/* Integer dot products in plain C: the reference, and what a CPU without AVX2 gets. */
#include "variant.h"

void dot_base(const uint8_t *a, int stride, int rows, const int8_t *panel, int deep, int32_t *acc)
{
    for (int r = 0; r < rows; r++) {
        const uint8_t *row = a + (size_t)r * (size_t)stride;
        for (int half = 0; half < PANEL / BLOCK; half++) {
            const int8_t *b = panel + half * BLOCK * deep;
            int32_t sums[BLOCK] = {0};
            for (int k = 0; k < deep; k += 4)
                for (int j = 0; j < BLOCK; j++) {
                    const int8_t *w = b + k * BLOCK + j * 4;
                    sums[j] += row[k] * w[0] + row[k + 1] * w[1] + row[k + 2] * w[2]
                               + row[k + 3] * w[3];
                }
            for (int j = 0; j < BLOCK; j++) acc[r * PANEL + half * BLOCK + j] = sums[j];
        }
    }
}
