/* Element-wise work on rows; compiled once per vector width, see build.py. */
#include <math.h>

#include "kernels.h"
#include "vec.h"
#include "variant.h"

enum { TOP = 255 }; /* the largest code */

void VARIANT(quantize)(const float *x, int k, uint8_t *out, int deep, float *scale, int32_t *zero)
{
    vf low = all(0), high = all(0); /* zero is always representable */
    int i = 0;
    for (; i + LANES <= k; i += LANES) {
        vf v = load(x + i);
        low = min_vf(v, low);
        high = max_vf(v, high);
    }
    if (i < k) {
        vf v = load_some(x + i, k - i, 0);
        low = min_vf(v, low);
        high = max_vf(v, high);
    }
    float least = -max_of(-low), most = max_of(high);
    float step = (most - least) / (float)TOP;
    if (!(step > 1e-30f && step < 1e30f)) step = 1; /* zeros, or not finite */
    int32_t origin = (int32_t)(-least / step + 0.5f);
    origin = origin < 0 ? 0 : origin > TOP ? TOP : origin;
    *scale = step;
    *zero = origin;
    vf inverse = all(1 / step), shift = all((float)origin + 0.5f), ceiling = all((float)TOP);
    for (i = 0; i + LANES <= k; i += LANES) {
        vf v = min_vf(max_vf(load(x + i) * inverse + shift, all(0)), ceiling);
        vb bytes = __builtin_convertvector(to_int(v), vb);
        memcpy(out + i, &bytes, sizeof bytes);
    }
    for (; i < k; i++) {
        float v = x[i] / step + (float)origin + 0.5f;
        out[i] = (uint8_t)(v > 0 ? v < (float)TOP ? v : (float)TOP : 0);
    }
    memset(out + k, 0, (size_t)(deep - k)); /* the weights there are zero */
}

void VARIANT(finish)(const int32_t *acc, int rows, const matrix *w, int first, const codes *a,
                     int first_row, const finish *how)
{
    int left = w->n - first < PANEL ? w->n - first : PANEL;
    for (int r = 0; r < rows; r++) {
        size_t row = (size_t)(first_row + r);
        vi zero = all_int(a->zero[row]);
        vf scale = all(a->scale[row]);
        float *out = how->out + row * how->stride + first;
        const float *added = how->added ? how->added + row * how->added_stride + first : NULL;
        for (int j = 0; j < left; j += LANES) {
            int n = left - j < LANES ? left - j : LANES;
            vi sums = load_int(acc + r * PANEL + j) - zero * load_int(w->sum + first + j);
            vf v = to_float(sums) * (scale * load(w->scale + first + j));
            if (n == LANES) {
                if (w->bias) v += load(w->bias + first + j);
                if (how->gelu) v = gelu_vf(v);
                if (added) v += load(added + j);
                store(out + j, v);
            } else {
                if (w->bias) v += load_some(w->bias + first + j, n, 0);
                if (how->gelu) v = gelu_vf(v);
                if (added) v += load_some(added + j, n, 0);
                store_some(out + j, v, n);
            }
        }
    }
}

void VARIANT(norm)(const float *x, int k, const float *gain, const float *bias, float *out)
{
    vf total = all(0);
    float rest = 0;
    int i = 0;
    for (; i + LANES <= k; i += LANES) total += load(x + i);
    for (; i < k; i++) rest += x[i];
    float mean = (sum_of(total) + rest) / (float)k;
    total = all(0);
    rest = 0;
    for (i = 0; i + LANES <= k; i += LANES) {
        vf d = load(x + i) - mean;
        total += d * d;
    }
    for (; i < k; i++) rest += (x[i] - mean) * (x[i] - mean);
    float inverse = 1 / sqrtf((sum_of(total) + rest) / (float)k + 1e-5f);
    for (i = 0; i + LANES <= k; i += LANES)
        store(out + i, (load(x + i) - mean) * inverse * load(gain + i) + load(bias + i));
    for (; i < k; i++) out[i] = (x[i] - mean) * inverse * gain[i] + bias[i];
}

void VARIANT(gelu)(float *x, int n)
{
    int i = 0;
    for (; i + LANES <= n; i += LANES) store(x + i, gelu_vf(load(x + i)));
    if (i < n) store_some(x + i, gelu_vf(load_some(x + i, n - i, 0)), n - i);
}

void VARIANT(softmax)(float *x, int n)
{
    int padded = round_up(n, 16);
    for (int i = n; i < padded; i++) x[i] = -INFINITY;
    vf most = all(-INFINITY);
    for (int i = 0; i < padded; i += LANES) most = max_vf(load(x + i), most);
    float best = max_of(most);
    vf total = all(0);
    for (int i = 0; i < padded; i += LANES) {
        vf p = exp_vf(load(x + i) - best);
        total += p;
        store(x + i, p);
    }
    float inverse = 1 / sum_of(total);
    for (int i = 0; i < padded; i += LANES) store(x + i, load(x + i) * inverse);
    for (int i = n; i < padded; i++) x[i] = 0;
}

/* `vectors` neighbouring vectors of the result for `rows` rows; both are constants where it is
 * inlined, so that the accumulators stay in registers. */
INLINE void blend(int rows, int vectors, const float *p, size_t p_stride, const int8_t *codes,
                  int frames, int size, float *out)
{
    vf acc[4][4];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++) acc[r][j] = all(0);
    for (int t = 0; t < frames; t++) {
        for (int j = 0; j < vectors; j++) {
            vsb bytes;
            memcpy(&bytes, codes + (size_t)t * (size_t)size + j * LANES, sizeof bytes);
            vf v = to_float(__builtin_convertvector(bytes, vi));
            for (int r = 0; r < rows; r++) acc[r][j] += v * p[(size_t)r * p_stride + (size_t)t];
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++) store(out + (size_t)r * (size_t)size + j * LANES, acc[r][j]);
}

INLINE void blend_rows(int rows, const float *p, size_t p_stride, const int8_t *codes, int frames,
                       int size, float *out)
{
    int d = 0;
    for (; d + 4 * LANES <= size; d += 4 * LANES)
        blend(rows, 4, p, p_stride, codes + d, frames, size, out + d);
    for (; d < size; d += 16) blend(rows, 16 / LANES, p, p_stride, codes + d, frames, size, out + d);
}

void VARIANT(blend)(const float *p, size_t p_stride, int rows, const int8_t *codes, int frames,
                    int size, float *out)
{
    switch (rows) {
    case 1: blend_rows(1, p, p_stride, codes, frames, size, out); break;
    case 2: blend_rows(2, p, p_stride, codes, frames, size, out); break;
    case 3: blend_rows(3, p, p_stride, codes, frames, size, out); break;
    default: blend_rows(4, p, p_stride, codes, frames, size, out); break;
    }
}

float VARIANT(dot_bf16)(const float *x, const uint16_t *y, int n)
{
    vf total = all(0);
    int i = 0;
    for (; i + LANES <= n; i += LANES) total += load(x + i) * load_bf16(y + i);
    float rest = 0;
    for (; i < n; i++) {
        uint32_t bits = (uint32_t)y[i] << 16;
        float v;
        memcpy(&v, &bits, sizeof v);
        rest += x[i] * v;
    }
    return sum_of(total) + rest;
}

void VARIANT(add_bf16)(float p, const uint16_t *y, int n, float *out)
{
    int i = 0;
    for (; i + LANES <= n; i += LANES) store(out + i, load(out + i) + p * load_bf16(y + i));
    for (; i < n; i++) {
        uint32_t bits = (uint32_t)y[i] << 16;
        float v;
        memcpy(&v, &bits, sizeof v);
        out[i] += p * v;
    }
}

void VARIANT(to_bf16)(const float *x, int n, uint16_t *out)
{
    for (int i = 0; i < n; i++) out[i] = bf16_of(x[i]);
}
