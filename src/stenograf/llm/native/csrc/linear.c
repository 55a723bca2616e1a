#include "linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *aligned(size_t bytes)
{
    size_t size = (bytes + 63) / 64 * 64;
    void *memory = size < bytes ? NULL : aligned_alloc(64, size ? size : 64);
    if (memory) memset(memory, 0, size);
    return memory;
}

int matrix_new(matrix *w, int n, int k, int with_bias)
{
    *w = (matrix){.n = n, .k = k, .deep = round_up(k, DEEP)};
    size_t rows = (size_t)round_up(n, PANEL);
    w->codes = aligned(rows * (size_t)w->deep);
    w->scale = aligned(rows * sizeof *w->scale);
    w->sum = aligned(rows * sizeof *w->sum);
    if (with_bias) w->bias = aligned(rows * sizeof *w->bias);
    return w->codes && w->scale && w->sum && (w->bias || !with_bias);
}

void matrix_free(matrix *w)
{
    free(w->codes);
    free(w->scale);
    free(w->sum);
    free(w->bias);
    *w = (matrix){0};
}

size_t matrix_bytes(const matrix *w)
{
    return (size_t)round_up(w->n, PANEL) * ((size_t)w->deep + (w->bias ? 12 : 8));
}

static int8_t *block_of(const matrix *w, int row)
{
    return w->codes + (size_t)(row / BLOCK) * BLOCK * (size_t)w->deep + row % BLOCK * 4;
}

void matrix_set(matrix *w, int first, int count, const float *rows)
{
    for (int i = 0; i < count; i++) {
        const float *x = rows + (size_t)i * (size_t)w->k;
        float most = 0;
        for (int k = 0; k < w->k; k++) most = fmaxf(most, fabsf(x[k]));
        float scale = most > 1e-30f ? most / 127 : 1;
        int8_t *out = block_of(w, first + i);
        int32_t sum = 0;
        for (int k = 0; k < w->k; k++) {
            int32_t code = (int32_t)lrintf(x[k] / scale);
            code = code > 127 ? 127 : code < -127 ? -127 : code;
            out[k / 4 * 4 * BLOCK + k % 4] = (int8_t)code;
            sum += code;
        }
        w->scale[first + i] = scale;
        w->sum[first + i] = sum;
    }
}

void matrix_row(const matrix *w, int row, float *out)
{
    const int8_t *codes = block_of(w, row);
    for (int k = 0; k < w->k; k++)
        out[k] = w->scale[row] * (float)codes[k / 4 * 4 * BLOCK + k % 4];
}

int codes_new(codes *a, int rows, int k)
{
    size_t tall = (size_t)round_up(rows, TALL);
    *a = (codes){.stride = round_up(k, DEEP)};
    a->codes = aligned(tall * (size_t)a->stride);
    a->scale = aligned(tall * sizeof *a->scale);
    a->zero = aligned(tall * sizeof *a->zero);
    return a->codes && a->scale && a->zero;
}

void codes_free(codes *a)
{
    free(a->codes);
    free(a->scale);
    free(a->zero);
    *a = (codes){0};
}

void codes_set(const kernels *kernels, codes *a, int first, int last, const float *x, size_t stride,
               int k)
{
    for (int i = first; i < last; i++) {
        kernels->quantize(x + (size_t)(i - first) * stride, k,
                          a->codes + (size_t)i * (size_t)a->stride, round_up(k, DEEP), a->scale + i,
                          a->zero + i);
        a->zero[i] -= kernels->offset;
    }
}

void multiply(const kernels *kernels, const codes *a, int first, int last, const matrix *w,
              int from, int to, const finish *how)
{
    int32_t acc[TALL * PANEL] __attribute__((aligned(64)));
    for (int n = from; n < to; n += PANEL)
        for (int m = first; m < last; m += TALL) {
            int rows = last - m < TALL ? last - m : TALL;
            kernels->dot(a->codes + (size_t)m * (size_t)a->stride, a->stride, rows,
                         w->codes + (size_t)n * (size_t)w->deep, w->deep, acc);
            kernels->finish(acc, rows, w, n, a, m, how);
        }
}

typedef struct {
    const kernels *kernels;
    const codes *a;
    int rows, step;
    const matrix *w;
    const finish *how;
} product;

static void multiply_part(void *context, int number, int thread)
{
    (void)thread;
    const product *p = context;
    int from = number * p->step, to = from + p->step < p->w->n ? from + p->step : p->w->n;
    multiply(p->kernels, p->a, 0, p->rows, p->w, from, to, p->how);
}

void multiply_shared(pool *pool, const kernels *kernels, const codes *a, int rows, const matrix *w,
                     const finish *how)
{
    /* a few parts per thread, so that one that is held up does not hold up the others */
    int parts = 4 * pool_threads(pool);
    product p = {kernels, a, rows, round_up((w->n + parts - 1) / parts, PANEL), w, how};
    pool_run(pool, (w->n + p.step - 1) / p.step, multiply_part, &p);
}
