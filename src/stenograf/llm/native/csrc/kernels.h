/* What every instruction set implements. `kernels` is chosen once per model. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    PANEL = 32,    /* outputs computed together: two vectors of 16 */
    BLOCK = 16,    /* outputs that are interleaved in memory */
    DEEP = 64,     /* inputs are padded to a multiple of this: the depth of an AMX tile */
    TALL = 32,     /* lines computed together; activations are readable up to a multiple of it */
    QUERIES = 32,  /* queries that encoder attention takes at once */
};

static inline int round_up(int n, int step) { return (n + step - 1) / step * step; }

/* A matrix of `n` rows of `k` int8 codes, one scale per row, packed for dot products of unsigned
 * by signed bytes: blocks of 16 rows, in a block groups of four columns, in a group 16 x 4 bytes.
 * The same bytes serve vpmaddubsw, vpdpbusd and AMX tiles. */
typedef struct matrix {
    int n, k, deep;       /* deep: k rounded up to DEEP */
    int8_t *codes;        /* round_up(n, PANEL) * deep */
    float *scale;         /* weight = scale[row] * code; round_up(n, PANEL), zero behind n */
    float *sum;           /* of the codes of a row: corrects the zero point of activations */
    float *bias;          /* may be NULL */
    struct matrix *rest;  /* what rounding left over, to be added; may be NULL */
} matrix;

/* Rows of activations as unsigned bytes, one line of them per row: x = scale * (code - offset -
 * zero). With two lines per row the first is the high byte of a 16-bit code and the second the low
 * one, and x is the sum of what both say. */
typedef struct {
    uint8_t *codes;       /* lines * stride */
    int stride;
    int parts;            /* lines per row: 1 or 2 */
    float *scale, *zero;  /* per line */
} codes;

/* What happens to a row of results, in this order: + bias, gelu, + added row. */
typedef struct {
    float *out;
    size_t stride;
    const float *added;   /* NULL: nothing; may be `out` itself */
    size_t added_stride;
    int gelu;
} finish;

typedef struct kernels {
    const char *name;
    const struct kernels *exact; /* where attention is in float32, if it is not here */
    int offset;           /* what `dot` takes from each activation code */
    /* acc[line][PANEL] = sums over `deep` of (a[line] - offset) * panel, for lines <= TALL */
    void (*dot)(const uint8_t *a, int stride, int lines, const int8_t *panel, int deep,
                int32_t *acc);
    /* Codes of x[0 .. k), zeros behind them up to `deep`, in one line or two. */
    void (*quantize)(const float *x, int k, uint8_t *out, int deep, float *scale, float *zero);
    void (*quantize_fine)(const float *x, int k, uint8_t *high, uint8_t *low, int deep,
                          float *scale, float *zero);
    /* x = scale * out, out in -127 .. 127; returns the scale and the sum of the codes. */
    float (*quantize_signed)(const float *x, int k, int8_t *out, float *sum);
    /* Results of `rows` rows from `acc`, which holds their lines, (TALL, PANEL), and behind them
     * those of w->rest if there is one. */
    void (*finish)(const int32_t *acc, int rows, const matrix *w, int first, const codes *a,
                   int first_row, const finish *how);
    void (*norm)(const float *x, int k, const float *gain, const float *bias, float *out);
    void (*gelu)(float *x, int n);
    /* softmax in place of x[0 .. n); x is readable and written to round_up(n, 16) with zeros */
    void (*softmax)(float *x, int n);
    /* Encoder attention of one head for queries [first, last): rows of q, k, v are `stride` floats
     * apart, rows of out `out_stride`. `scratch` has attend_scratch(frames, size) bytes, aligned. */
    void (*attend)(const float *q, const float *k, const float *v, size_t stride, int frames,
                   int size, int first, int last, float *out, size_t out_stride, void *scratch);
    size_t (*attend_scratch)(int frames, int size);
    float (*dot_bf16)(const float *x, const uint16_t *y, int n);
    void (*add_bf16)(float p, const uint16_t *y, int n, float *out);
    void (*to_bf16)(const float *x, int n, uint16_t *out);
    /* called by each thread around its work */
    void (*begin)(void);
    void (*end)(void);
} kernels;

extern const kernels kernels_base, kernels_avx2, kernels_avxvnni, kernels_avx512, kernels_amx;

/* The kernels called `wanted`, or the best ones for NULL; NULL if CPU or build lack them. */
const kernels *kernels_for(const char *wanted);

#endif
