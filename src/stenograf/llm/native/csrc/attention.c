/* Encoder attention of one head in float32; compiled once per vector width. */
#include <math.h>

#include "vec.h"
#include "variant.h"

/* Rows whose sums are held in registers together, two vectors each: AVX-512 has twice as many. */
enum { ROWS = LANES == 16 ? 8 : 4, PAIR = 2 * LANES };

/* Keys turned round, in blocks of PAIR frames, (padded / PAIR, size, PAIR), values as they are but
 * dense, (frames, width), and the scores of QUERIES queries, (QUERIES, padded). */
typedef struct {
    int padded, width;
    float *keys, *values, *scores, *queries;
} room;

/* `memory` is where the room lies; `floats` tells how many it takes. */
static room layout(int frames, int size, float *memory, size_t *floats)
{
    room r = {.padded = round_up(frames, 32), .width = round_up(size, 32)};
    size_t padded = (size_t)r.padded;
    size_t keys = (size_t)size * padded, values = (size_t)frames * (size_t)r.width;
    size_t scores = QUERIES * padded, queries = QUERIES * (size_t)size;
    if (floats) *floats = keys + values + scores + queries;
    if (!memory) return r;
    r.keys = memory;
    r.values = r.keys + keys;
    r.scores = r.values + values;
    r.queries = r.scores + scores;
    return r;
}

size_t VARIANT(attend_scratch)(int frames, int size)
{
    size_t floats;
    layout(frames, size, NULL, &floats);
    return floats * sizeof(float);
}

/* out[ROWS][2 vectors] = sum over n of a[row][i] * b[i][2 vectors] */
INLINE void product(const float *a, size_t a_stride, const float *b, size_t b_stride, int n,
                    float *out, size_t out_stride)
{
    vf acc[ROWS][2];
    for (int r = 0; r < ROWS; r++) acc[r][0] = acc[r][1] = all(0);
    for (int i = 0; i < n; i++) {
        vf left = load(b + (size_t)i * b_stride), right = load(b + (size_t)i * b_stride + LANES);
        for (int r = 0; r < ROWS; r++) {
            float x = a[(size_t)r * a_stride + (size_t)i];
            acc[r][0] += x * left;
            acc[r][1] += x * right;
        }
    }
    for (int r = 0; r < ROWS; r++) {
        store(out + (size_t)r * out_stride, acc[r][0]);
        store(out + (size_t)r * out_stride + LANES, acc[r][1]);
    }
}

void VARIANT(attend)(const float *q, const float *k, const float *v, size_t stride, int frames,
                     int size, int first, int last, float *out, size_t out_stride, void *scratch)
{
    room r = layout(frames, size, scratch, NULL);
    size_t padded = (size_t)r.padded, width = (size_t)r.width;
    for (int t = 0; t < r.padded; t++) {
        float *key = r.keys + (size_t)(t / PAIR) * (size_t)size * PAIR + t % PAIR;
        for (int d = 0; d < size; d++)
            key[d * PAIR] = t < frames ? k[(size_t)t * stride + (size_t)d] : 0;
    }
    for (int t = 0; t < frames; t++) {
        memcpy(r.values + (size_t)t * width, v + (size_t)t * stride, (size_t)size * sizeof(float));
        memset(r.values + (size_t)t * width + size, 0, (width - (size_t)size) * sizeof(float));
    }
    float scale = 1 / sqrtf((float)size);
    for (int block = first; block < last; block += QUERIES) {
        int rows = last - block < QUERIES ? last - block : QUERIES;
        int full = round_up(rows, ROWS); /* rows behind the last are computed for nothing */
        for (int i = 0; i < full; i++)
            for (int d = 0; d < size; d++)
                r.queries[i * size + d] =
                    i < rows ? q[(size_t)(block + i) * stride + (size_t)d] * scale : 0;
        for (int t = 0; t < r.padded; t += PAIR)
            for (int i = 0; i < full; i += ROWS)
                product(r.queries + i * size, (size_t)size, r.keys + (size_t)t * (size_t)size,
                        PAIR, size, r.scores + (size_t)i * padded + t, padded);
        for (int i = 0; i < rows; i++) VARIANT(softmax)(r.scores + (size_t)i * padded, frames);
        for (int i = 0; i < rows; i += ROWS)
            for (int d = 0; d < size; d += PAIR) {
                float part[ROWS][PAIR];
                product(r.scores + (size_t)i * padded, padded, r.values + d, width, frames,
                        part[0], PAIR);
                int n = size - d < PAIR ? size - d : PAIR;
                for (int j = 0; j < ROWS && i + j < rows; j++)
                    memcpy(out + (size_t)(block + i + j) * out_stride + d, part[j],
                           (size_t)n * sizeof(float));
            }
    }
}
