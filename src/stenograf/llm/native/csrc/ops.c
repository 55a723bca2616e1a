/* Element-wise work on rows; compiled once per vector width, see build.py. */
#include <math.h>

#include "kernels.h"
#include "vec.h"
#include "variant.h"

/* Smallest and largest of x and zero, which every range of codes represents. */
INLINE void range(const float *x, int k, float *least, float *most)
{
    vf low = all(0), high = all(0);
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
    *least = -max_of(-low);
    *most = max_of(high);
}

/* Codes 0 .. top of LANES floats, or of the last `n`, which zeros follow. */
INLINE vi codes_at(const float *x, int n, float inverse, float shift, float top)
{
    vf v = n >= LANES ? load(x) : load_some(x, n, 0);
    return to_int(min_vf(max_vf(v * inverse + shift, all(0)), all(top)));
}

INLINE void store_bytes(uint8_t *out, vi v, int n)
{
    vb bytes = __builtin_convertvector(v, vb);
    if (n >= LANES) memcpy(out, &bytes, sizeof bytes);
    else memcpy(out, &bytes, (size_t)n);
}

/* Step and origin of codes 0 .. top for x; zeros or numbers that are not finite give a step of 1. */
INLINE float step_of(const float *x, int k, int top, int32_t *origin)
{
    float least, most;
    range(x, k, &least, &most);
    float step = (most - least) / (float)top;
    if (!(step > 1e-30f && step < 1e30f)) step = 1;
    float zero = -least / step + 0.5f;
    *origin = zero < (float)top ? (int32_t)zero : top;
    return step;
}

void VARIANT(quantize)(const float *x, int k, uint8_t *out, int deep, float *scale, float *zero)
{
    int32_t origin;
    *scale = step_of(x, k, 255, &origin);
    *zero = (float)origin;
    float inverse = 1 / *scale, shift = *zero + 0.5f;
    for (int i = 0; i < k; i += LANES)
        store_bytes(out + i, codes_at(x + i, k - i, inverse, shift, 255), k - i);
    memset(out + k, 0, (size_t)(deep - k)); /* the weights there are zero */
}

void VARIANT(quantize_fine)(const float *x, int k, uint8_t *high, uint8_t *low, int deep,
                            float *scale, float *zero)
{
    int32_t origin;
    float step = step_of(x, k, 65535, &origin);
    float inverse = 1 / step, shift = (float)origin + 0.5f;
    for (int i = 0; i < k; i += LANES) {
        vi v = codes_at(x + i, k - i, inverse, shift, 65535);
        store_bytes(high + i, v >> 8, k - i);
        store_bytes(low + i, v & 255, k - i);
    }
    memset(high + k, 0, (size_t)(deep - k));
    memset(low + k, 0, (size_t)(deep - k));
    scale[0] = 256 * step;
    scale[1] = step;
    zero[0] = (float)(origin >> 8);
    zero[1] = (float)(origin & 255);
}

float VARIANT(quantize_signed)(const float *x, int k, int8_t *out, float *sum)
{
    float least, most;
    range(x, k, &least, &most);
    most = most > -least ? most : -least;
    float step = most > 1e-30f && most < 1e30f ? most / 127 : 1, inverse = 1 / step;
    vi total = all_int(0);
    for (int i = 0; i < k; i += LANES) {
        vi v = codes_at(x + i, k - i, inverse, 127.5f, 254) - 127; /* zeros behind the last */
        vsb bytes = __builtin_convertvector(v, vsb);
        total += v;
        memcpy(out + i, &bytes, (size_t)(k - i < LANES ? k - i : LANES));
    }
    *sum = sum_of(to_float(total));
    return step;
}

/* One line of sums as floats, its zero point taken out; exact, but for sums over 2^24. */
INLINE vf exact(const int32_t *acc, const float *sum, const codes *a, size_t line)
{
    return (to_float(load_int(acc)) - a->zero[line] * load(sum)) * a->scale[line];
}

/* The vector at output first + j of row r; `parts` and `rest` are constants where it is inlined. */
INLINE vf result(const int32_t *acc, const matrix *w, int at, const codes *a, int parts, int rest,
                 size_t row)
{
    vf v = exact(acc, w->sum + at, a, row * (size_t)parts);
    if (parts == 2) v += exact(acc + PANEL, w->sum + at, a, row * 2 + 1);
    v *= load(w->scale + at);
    if (rest) v += result(acc + TALL * PANEL, w->rest, at, a, parts, 0, row);
    return v;
}

INLINE void finish_rows(const int32_t *acc, int rows, const matrix *w, int first, const codes *a,
                        int first_row, const finish *how, int parts, int rest)
{
    int left = w->n - first < PANEL ? w->n - first : PANEL;
    for (int j = 0; j < left; j += LANES) {
        int n = left - j < LANES ? left - j : LANES, at = first + j;
        vf bias = w->bias ? load(w->bias + at) : all(0); /* padded, as all of a matrix is */
        for (int r = 0; r < rows; r++) {
            size_t row = (size_t)(first_row + r);
            float *out = how->out + row * how->stride + at;
            const float *added = how->added ? how->added + row * how->added_stride + at : NULL;
            vf v = result(acc + r * parts * PANEL + j, w, at, a, parts, rest, row) + bias;
            if (how->gelu) v = gelu_vf(v);
            if (added) v += n == LANES ? load(added) : load_some(added, n, 0);
            if (n == LANES) store(out, v);
            else store_some(out, v, n);
        }
    }
}

void VARIANT(finish)(const int32_t *acc, int rows, const matrix *w, int first, const codes *a,
                     int first_row, const finish *how)
{
    if (w->rest) finish_rows(acc, rows, w, first, a, first_row, how, 2, 1);
    else if (a->parts == 2) finish_rows(acc, rows, w, first, a, first_row, how, 2, 0);
    else finish_rows(acc, rows, w, first, a, first_row, how, 1, 0);
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
