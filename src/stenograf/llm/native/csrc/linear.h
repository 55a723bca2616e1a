/* Matrices of int8 weights and rows of quantized activations. */
#ifndef LINEAR_H
#define LINEAR_H

#include "kernels.h"
#include "pool.h"

enum { MOST_COLUMNS = 1 << 15, MOST_HEAD = 128 }; /* of a matrix, of a head */

/* Zeroed memory on a 64-byte boundary, for free(); NULL if there is none. */
void *aligned(size_t bytes);

/* Space for n x k weights, with `precise` also for what rounding leaves over; 0 if there is no
 * memory. */
int matrix_new(matrix *w, int n, int k, int with_bias, int precise);
void matrix_free(matrix *w);
size_t matrix_bytes(const matrix *w);
/* Quantize rows [first, first + count) of float32 (count, k). */
void matrix_set(const kernels *kernels, matrix *w, int first, int count, const float *rows);
/* out[0 .. k) = weights of one row as floats. */
void matrix_row(const matrix *w, int row, float *out);

/* Space for `rows` rows of up to `k` codes in `parts` lines; 0 if there is no memory. */
int codes_new(codes *a, int rows, int k, int parts);
void codes_free(codes *a);
/* Quantize rows [first, last), `stride` floats apart, of `k` floats each. */
void codes_set(const kernels *kernels, codes *a, int first, int last, const float *x, size_t stride,
               int k);

/* Rows [first, last) of activations times outputs [from, to) of `w`; `from` is a multiple of PANEL.
 * Runs in the calling thread, within a task of the pool. */
void multiply(const kernels *kernels, const codes *a, int first, int last, const matrix *w,
              int from, int to, const finish *how);
/* Rows [0, rows) times all outputs, shared by the pool's threads. */
void multiply_shared(pool *pool, const kernels *kernels, const codes *a, int rows, const matrix *w,
                     const finish *how);

#endif
