/* Log-mel features to encoder states. Blocks of frames go through everything that works on single
 * frames without waiting for one another; attention is shared out by head. */
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { FRAMES = 128 }; /* of a block: its activations stay in the core's own cache */

typedef struct {
    codes codes;
    float *row;    /* one normalized row */
    float *hidden; /* of the feed-forward layer, or keys and values */
    void *attention;
} bench;

typedef struct encoder {
    const st_model *model;
    int frames;
    float *input;  /* (2 * frames + 2, mels): a frame of zeros at either end */
    float *middle; /* (2 * frames + 2, width) after the first convolution, the same */
    float *states; /* (frames, width) */
    float *qkv, *mixed;
    bench *benches; /* per thread */
    int splits;     /* of the queries of a head */
    const encoder_layer *layer;
    st_sound *sound;
} encoder;

static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }
static int blocks(int rows) { return (rows + FRAMES - 1) / FRAMES; }

static void encoder_free(encoder *e, int threads)
{
    for (int i = 0; e->benches && i < threads; i++) {
        codes_free(&e->benches[i].codes);
        free(e->benches[i].row);
        free(e->benches[i].hidden);
        free(e->benches[i].attention);
    }
    free(e->benches);
    free(e->input);
    free(e->middle);
    free(e->states);
    free(e->qkv);
    free(e->mixed);
}

static int encoder_new(encoder *e, const st_model *m, int frames)
{
    const st_shape *s = &m->shape;
    const size_t d = (size_t)s->width, t = (size_t)frames, f = sizeof(float);
    const int threads = pool_threads(m->pool);
    const int wide = most(most(s->encoder_hidden, 3 * s->width), 3 * s->mels);
    *e = (encoder){.model = m, .frames = frames};
    e->input = aligned((2 * t + 2) * (size_t)s->mels * f);
    e->middle = aligned((2 * t + 2) * d * f);
    e->states = aligned(t * d * f);
    e->qkv = aligned(t * 3 * d * f);
    e->mixed = aligned(t * d * f);
    e->benches = calloc((size_t)threads, sizeof *e->benches);
    int ready = e->input && e->middle && e->states && e->qkv && e->mixed && e->benches;
    for (int i = 0; ready && i < threads; i++) {
        bench *b = &e->benches[i];
        b->row = aligned(d * f);
        b->hidden = aligned(FRAMES * (size_t)wide * f);
        b->attention = aligned(m->attention->attend_scratch(frames, m->head_size));
        ready = codes_new(&b->codes, FRAMES, wide, m->parts) && b->row && b->hidden && b->attention;
    }
    /* a model with few heads would leave threads without work */
    e->splits = most(1, least(8, (4 * threads + s->heads - 1) / s->heads));
    if (!ready) encoder_free(e, threads);
    return ready;
}

static void norm_codes(const encoder *e, bench *b, const norm *n, const float *x, int rows)
{
    const int d = e->model->shape.width;
    for (int i = 0; i < rows; i++) {
        e->model->kernels->norm(x + (size_t)i * (size_t)d, d, n->gain, n->bias, b->row);
        codes_set(e->model->kernels, &b->codes, i, i + 1, b->row, 0, d);
    }
}

static void apply(const encoder *e, bench *b, int rows, const matrix *w, const finish *how)
{
    multiply(e->model->kernels, &b->codes, 0, rows, w, 0, w->n, how);
}

static void first_convolution(void *context, int number, int thread)
{
    const encoder *e = context;
    bench *b = &e->benches[thread];
    const size_t mels = (size_t)e->model->shape.mels, d = (size_t)e->model->shape.width;
    int first = number * FRAMES, rows = least(FRAMES, 2 * e->frames - first);
    /* three frames side by side in memory are the input of the one in the middle */
    codes_set(e->model->kernels, &b->codes, 0, rows, e->input + (size_t)first * mels, mels,
              (int)(3 * mels));
    finish how = {.out = e->middle + (size_t)(first + 1) * d, .stride = d, .gelu = 1};
    apply(e, b, rows, &e->model->conv1, &how);
}

static void second_convolution(void *context, int number, int thread)
{
    const encoder *e = context;
    bench *b = &e->benches[thread];
    const size_t d = (size_t)e->model->shape.width;
    int first = number * FRAMES, rows = least(FRAMES, e->frames - first);
    codes_set(e->model->kernels, &b->codes, 0, rows, e->middle + (size_t)(2 * first) * d, 2 * d,
              (int)(3 * d));
    finish how = {.out = e->states + (size_t)first * d, .stride = d, .gelu = 1,
                  .added = e->model->encoder_positions + (size_t)first * d, .added_stride = d};
    apply(e, b, rows, &e->model->conv2, &how);
}

static void project(void *context, int number, int thread)
{
    const encoder *e = context;
    bench *b = &e->benches[thread];
    const size_t d = (size_t)e->model->shape.width;
    int first = number * FRAMES, rows = least(FRAMES, e->frames - first);
    norm_codes(e, b, &e->layer->attention_norm, e->states + (size_t)first * d, rows);
    finish how = {.out = e->qkv + (size_t)first * 3 * d, .stride = 3 * d};
    apply(e, b, rows, &e->layer->qkv, &how);
}

static void attend(void *context, int number, int thread)
{
    const encoder *e = context;
    const st_model *m = e->model;
    const size_t d = (size_t)m->shape.width;
    int share = round_up((e->frames + e->splits - 1) / e->splits, QUERIES);
    int first = number % e->splits * share, last = least(first + share, e->frames);
    size_t column = (size_t)(number / e->splits) * (size_t)m->head_size;
    if (first >= last) return;
    m->attention->attend(e->qkv + column, e->qkv + d + column, e->qkv + 2 * d + column, 3 * d,
                       e->frames, m->head_size, first, last, e->mixed + column, d,
                       e->benches[thread].attention);
}

static void feed_forward(void *context, int number, int thread)
{
    const encoder *e = context;
    const kernels *k = e->model->kernels;
    bench *b = &e->benches[thread];
    const int width = e->model->shape.width, hidden = e->model->shape.encoder_hidden;
    const size_t d = (size_t)width;
    int first = number * FRAMES, rows = least(FRAMES, e->frames - first);
    float *states = e->states + (size_t)first * d;
    finish back = {.out = states, .stride = d, .added = states, .added_stride = d};
    codes_set(k, &b->codes, 0, rows, e->mixed + (size_t)first * d, d, width);
    apply(e, b, rows, &e->layer->out, &back);
    norm_codes(e, b, &e->layer->hidden_norm, states, rows);
    finish wide = {.out = b->hidden, .stride = (size_t)hidden, .gelu = 1};
    apply(e, b, rows, &e->layer->expand, &wide);
    codes_set(k, &b->codes, 0, rows, b->hidden, (size_t)hidden, hidden);
    apply(e, b, rows, &e->layer->shrink, &back);
}

static void last_norm(void *context, int number, int thread)
{
    const encoder *e = context;
    const st_model *m = e->model;
    bench *b = &e->benches[thread];
    const size_t d = (size_t)m->shape.width;
    int first = number * FRAMES, rows = least(FRAMES, e->frames - first);
    for (int i = 0; i < rows; i++) {
        float *row = e->states + (size_t)(first + i) * d;
        m->kernels->norm(row, m->shape.width, m->encoder_norm.gain, m->encoder_norm.bias, row);
    }
    if (!e->sound) return;
    codes_set(m->kernels, &b->codes, 0, rows, e->states + (size_t)first * d, d, m->shape.width);
    finish how = {.out = b->hidden, .stride = 2 * d};
    for (int i = 0; i < m->shape.decoder_layers; i++) {
        apply(e, b, rows, &m->decoder[i].cross_keys_values, &how);
        sound_set(m, e->sound, i, first, first + rows, b->hidden);
    }
}

static void seal(void *context, int number, int thread)
{
    (void)thread;
    const encoder *e = context;
    sound_seal(e->sound, number / e->sound->heads, number % e->sound->heads);
}

static void run(encoder *e, const float *features)
{
    const st_model *m = e->model;
    const int mels = m->shape.mels;
    for (int i = 0; i < mels; i++)
        for (int t = 0; t < 2 * e->frames; t++)
            e->input[(size_t)(t + 1) * (size_t)mels + (size_t)i] =
                features[(size_t)i * 2 * (size_t)e->frames + (size_t)t];
    pool_run(m->pool, blocks(2 * e->frames), first_convolution, e);
    pool_run(m->pool, blocks(e->frames), second_convolution, e);
    for (int i = 0; i < m->shape.encoder_layers; i++) {
        e->layer = &m->encoder[i];
        pool_run(m->pool, blocks(e->frames), project, e);
        pool_run(m->pool, m->shape.heads * e->splits, attend, e);
        pool_run(m->pool, blocks(e->frames), feed_forward, e);
    }
    pool_run(m->pool, blocks(e->frames), last_norm, e);
    if (e->sound) pool_run(m->pool, m->shape.decoder_layers * m->shape.heads, seal, e);
}

void encoder_room_free(st_model *m)
{
    if (!m->encoder_room) return;
    encoder_free(m->encoder_room, pool_threads(m->pool));
    free(m->encoder_room);
    m->encoder_room = NULL;
}

/* The encoder's memory for windows of this length: nearly all are of one. */
static encoder *room(st_model *m, int frames)
{
    if (m->encoder_room && m->encoder_room->frames == frames) return m->encoder_room;
    encoder_room_free(m);
    encoder *e = calloc(1, sizeof *e);
    if (e && encoder_new(e, m, frames)) return m->encoder_room = e;
    free(e);
    return NULL;
}

st_sound *st_hear(st_model *m, const float *features, int32_t frames)
{
    encoder *e = room(m, frames);
    st_sound *sound = e ? sound_new(m, frames) : NULL;
    if (!sound) return NULL;
    e->sound = sound;
    run(e, features);
    return sound;
}

int32_t st_encode(st_model *m, const float *features, int32_t frames, float *states)
{
    encoder *e = room(m, frames);
    if (!e) return ST_NO_MEMORY;
    e->sound = NULL;
    run(e, features);
    memcpy(states, e->states, (size_t)frames * (size_t)m->shape.width * sizeof *states);
    return ST_OK;
}
