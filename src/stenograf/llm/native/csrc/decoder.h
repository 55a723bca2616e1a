/* Rows of text that are decoded side by side. */
#ifndef DECODER_H
#define DECODER_H

#include "model.h"

enum {
    PAGE = 32,        /* positions whose keys and values are allocated together */
    TOGETHER = TALL / 2, /* tokens that attend to a sound together */
    LANES_AT_ONCE = 64, /* tokens that go through the layers together, unless there are more rows */
};

/* What one thread needs for attention. Queries and chances have 16 bits: int8 keys and values are
 * noise enough. */
typedef struct {
    codes queries, chances;
    float *row, *scores, *mixed;
} desk;

/* Keys and values stay where they were written, at (position, slot); `slots` says for each row and
 * position which slot holds what that row has read. Going on from another row is copying a line of
 * that table. */
struct st_decode {
    st_model *model;
    int rows, capacity, lanes;
    int position;          /* tokens fed so far */
    st_sound **sounds;     /* per row */
    int *slots;            /* (capacity, max_tokens) */
    uint16_t **pages;      /* bfloat16 (layers, PAGE, capacity, 2, width) each */
    int longest;           /* frames of the longest sound, padded */
    float *states, *wide;  /* (lanes, width), (lanes, the widest layer) */
    codes codes;
    desk *desks;           /* per thread */

    /* of the tokens under way */
    int count;
    int layer;
    const float *x;        /* what is normalized or quantized next */
    const norm *norm;      /* NULL: quantized as it is */
    size_t x_stride;
    int x_columns;
    const int32_t *looked_layers, *looked_heads;
    int n_looked;
    float *looked;         /* of these tokens */
    size_t looked_tokens;  /* per row, of the whole call */
    int looked_frames;
};

void self_attention(st_decode *decode, int layer);
/* Mixed values of all rows go to `out`, (lanes, width); queries are `queries`, the same shape. */
void cross_attention(st_decode *decode, int layer, const float *queries, float *out);

#endif
