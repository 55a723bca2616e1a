/* Kernels alone, with plain arrays in and out. */
#include <stdlib.h>
#include <string.h>

#include "linear.h"
#include "stenograf.h"

int32_t st_test_linear(const char *isa, const float *x, int32_t m, const float *w, int32_t n,
                       int32_t k, const float *bias, int32_t precise, float *out)
{
    const kernels *chosen = kernels_for(isa);
    matrix weights = {0};
    codes a = {0};
    if (!chosen) return ST_UNKNOWN;
    int ready = matrix_new(&weights, n, k, bias != NULL, precise) && codes_new(&a, m, k, precise ? 2 : 1);
    if (ready) {
        matrix_set(chosen, &weights, 0, n, w);
        if (bias) memcpy(weights.bias, bias, (size_t)n * sizeof *bias);
        finish how = {.out = out, .stride = (size_t)n};
        chosen->begin();
        codes_set(chosen, &a, 0, m, x, (size_t)k, k);
        multiply(chosen, &a, 0, m, &weights, 0, n, &how);
        chosen->end();
    }
    matrix_free(&weights);
    codes_free(&a);
    return ready ? ST_OK : ST_NO_MEMORY;
}

int32_t st_test_norm(const char *isa, const float *x, int32_t m, int32_t k, const float *gain,
                     const float *bias, float *out)
{
    const kernels *chosen = kernels_for(isa);
    if (!chosen) return ST_UNKNOWN;
    for (int i = 0; i < m; i++)
        chosen->norm(x + (size_t)i * (size_t)k, k, gain, bias, out + (size_t)i * (size_t)k);
    return ST_OK;
}

int32_t st_test_attention(const char *isa, const float *qkv, int32_t frames, int32_t heads,
                          int32_t head_size, float *out)
{
    const kernels *chosen = kernels_for(isa);
    if (!chosen) return ST_UNKNOWN;
    void *scratch = aligned(chosen->attend_scratch(frames, head_size));
    if (!scratch) return ST_NO_MEMORY;
    const size_t d = (size_t)heads * (size_t)head_size;
    chosen->begin();
    for (int head = 0; head < heads; head++) {
        const float *q = qkv + (size_t)head * (size_t)head_size;
        chosen->attend(q, q + d, q + 2 * d, 3 * d, frames, head_size, 0, frames,
                       out + (size_t)head * (size_t)head_size, d, scratch);
    }
    chosen->end();
    free(scratch);
    return ST_OK;
}

int32_t st_test_gelu(const char *isa, const float *x, int32_t n, float *out)
{
    const kernels *chosen = kernels_for(isa);
    if (!chosen) return ST_UNKNOWN;
    memcpy(out, x, (size_t)n * sizeof *x);
    chosen->gelu(out, n);
    return ST_OK;
}
