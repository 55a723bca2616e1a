#include "linear.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *aligned(size_t bytes)
{
    const size_t step = bytes < HUGE_PAGE ? 64 : HUGE_PAGE;
    size_t size = (bytes + step - 1) / step * step;
    void *memory = size < bytes ? NULL : aligned_alloc(step, size ? size : step);
    if (!memory) return NULL;
#ifdef MADV_HUGEPAGE
    if (step == HUGE_PAGE) madvise(memory, size, MADV_HUGEPAGE); /* a wish: it may be refused */
#endif
    memset(memory, 0, size);
    return memory;
}

int matrix_new(matrix *w, int n, int k, int with_bias, int precise)
{
    *w = (matrix){.n = n, .k = k, .deep = round_up(k, DEEP)};
    size_t rows = (size_t)round_up(n, PANEL);
    w->codes = aligned(rows * (size_t)w->deep);
    w->scale = aligned(rows * sizeof *w->scale);
    w->sum = aligned(rows * sizeof *w->sum);
    if (with_bias) w->bias = aligned(rows * sizeof *w->bias);
    if (precise) w->rest = calloc(1, sizeof *w->rest);
    if (w->rest && !matrix_new(w->rest, n, k, 0, 0)) return 0;
    return w->codes && w->scale && w->sum && (w->bias || !with_bias) && (w->rest || !precise);
}

void matrix_free(matrix *w)
{
    if (w->rest) matrix_free(w->rest);
    free(w->rest);
    free(w->codes);
    free(w->scale);
    free(w->sum);
    free(w->bias);
    *w = (matrix){0};
}

size_t matrix_bytes(const matrix *w)
{
    size_t own = (size_t)round_up(w->n, PANEL) * ((size_t)w->deep + (w->bias ? 12 : 8));
    return own + (w->rest ? matrix_bytes(w->rest) : 0);
}

static int8_t *block_of(const matrix *w, int row)
{
    return w->codes + (size_t)(row / BLOCK) * BLOCK * (size_t)w->deep + row % BLOCK * 4;
}

void matrix_set(const kernels *kernels, matrix *w, int first, int count, const float *rows)
{
    for (int i = first; i < first + count; i++) {
        const float *x = rows + (size_t)(i - first) * (size_t)w->k;
        int8_t codes[MOST_COLUMNS];
        w->scale[i] = kernels->quantize_signed(x, w->k, codes, &w->sum[i]);
        for (int k = 0; k < w->k; k += 4)
            memcpy(block_of(w, i) + k * BLOCK, codes + k, (size_t)(w->k - k < 4 ? w->k - k : 4));
        if (!w->rest) continue;
        float left[MOST_COLUMNS];
        for (int k = 0; k < w->k; k++) left[k] = x[k] - w->scale[i] * (float)codes[k];
        matrix_set(kernels, w->rest, i, 1, left);
    }
}

void matrix_row(const matrix *w, int row, float *out)
{
    for (int k = 0; k < w->k; k++) out[k] = 0;
    for (; w; w = w->rest) {
        const int8_t *codes = block_of(w, row);
        for (int k = 0; k < w->k; k++)
            out[k] += w->scale[row] * (float)codes[k / 4 * 4 * BLOCK + k % 4];
    }
}

int codes_new(codes *a, int rows, int k, int parts)
{
    size_t lines = (size_t)round_up(rows * parts, TALL);
    /* an odd number of cache lines apart, rows do not drive one another out of the cache */
    *a = (codes){.stride = round_up(k, DEEP) | DEEP, .parts = parts};
    a->codes = aligned(lines * (size_t)a->stride);
    a->scale = aligned(lines * sizeof *a->scale);
    a->zero = aligned(lines * sizeof *a->zero);
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
    const int deep = round_up(k, DEEP);
    for (int i = first; i < last; i++, x += stride) {
        const int line = i * a->parts;
        uint8_t *out = a->codes + (size_t)line * (size_t)a->stride;
        if (a->parts == 2)
            kernels->quantize_fine(x, k, out, out + a->stride, deep, a->scale + line,
                                   a->zero + line);
        else
            kernels->quantize(x, k, out, deep, a->scale + line, a->zero + line);
        for (int part = 0; part < a->parts; part++) a->zero[line + part] -= (float)kernels->offset;
    }
}

void multiply(const kernels *kernels, const codes *a, int first, int last, const matrix *w,
              int from, int to, const finish *how)
{
    int32_t acc[2][TALL * PANEL] __attribute__((aligned(64)));
    const int step = TALL / a->parts;
    for (int n = from; n < to; n += PANEL)
        for (int m = first; m < last; m += step) {
            int rows = last - m < step ? last - m : step;
            const uint8_t *lines = a->codes + (size_t)(m * a->parts) * (size_t)a->stride;
            int32_t *sums = acc[0];
            for (const matrix *each = w; each; each = each->rest, sums = acc[1])
                kernels->dot(lines, a->stride, rows * a->parts,
                             each->codes + (size_t)n * (size_t)each->deep, each->deep, sums);
            kernels->finish(acc[0], rows, w, n, a, m, how);
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
