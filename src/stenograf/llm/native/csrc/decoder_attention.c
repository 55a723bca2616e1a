/* Attention of tokens to those before them, and to the window's sound. */
#include <math.h>
#include <string.h>

#include "decoder.h"

static uint16_t *cached(const st_decode *z, int layer, int position, int slot)
{
    const size_t d = (size_t)z->model->shape.width;
    size_t place = (size_t)(layer * PAGE + position % PAGE) * (size_t)z->capacity + (size_t)slot;
    return z->pages[position / PAGE] + place * 2 * d;
}

/* `wide` holds queries, keys and values of each lane; the queries are replaced by the answer. */
static void attend_to_tokens(void *context, int lane, int thread)
{
    st_decode *z = context;
    const st_model *m = z->model;
    const kernels *k = m->kernels;
    const int size = m->head_size, width = m->shape.width;
    const int row = lane / z->count, last = z->position + lane % z->count;
    const int *slots = z->slots + (size_t)row * (size_t)m->shape.max_tokens;
    float *scores = z->desks[thread].scores, *query = z->wide + (size_t)lane * 3 * (size_t)width;
    float scale = 1 / sqrtf((float)size);
    for (int head = 0; head < m->shape.heads; head++) {
        float *part = query + head * size;
        for (int p = 0; p <= last; p++)
            scores[p] = scale * k->dot_bf16(part, cached(z, z->layer, p, slots[p]) + head * size, size);
        k->softmax(scores, last + 1);
        memset(part, 0, (size_t)size * sizeof *part);
        for (int p = 0; p <= last; p++)
            k->add_bf16(scores[p], cached(z, z->layer, p, slots[p]) + width + head * size, size, part);
    }
}

void self_attention(st_decode *z, int layer)
{
    const int width = z->model->shape.width, lanes = z->rows * z->count;
    z->layer = layer;
    for (int lane = 0; lane < lanes; lane++)
        z->model->kernels->to_bf16(
            z->wide + ((size_t)lane * 3 + 1) * (size_t)width, 2 * width,
            cached(z, layer, z->position + lane % z->count, lane / z->count));
    pool_run(z->model->pool, lanes, attend_to_tokens, z);
}

typedef struct {
    st_decode *decode;
    const float *queries;
    float *out;
} crossing;

/* Scores of the lanes `lanes[0 .. n)` go to the desk, (n, longest). */
static void score(st_decode *z, desk *desk, const matrix *keys, const float *queries,
                  const int *lanes, int n, int head)
{
    const st_model *m = z->model;
    const int size = m->head_size;
    float scale = 1 / sqrtf((float)size);
    for (int i = 0; i < n; i++) {
        const float *q = queries + (size_t)lanes[i] * (size_t)m->shape.width + head * size;
        for (int d = 0; d < size; d++) desk->row[d] = q[d] * scale;
        codes_set(m->kernels, &desk->queries, i, i + 1, desk->row, 0, size);
    }
    finish how = {.out = desk->scores, .stride = (size_t)z->longest};
    multiply(m->kernels, &desk->queries, 0, n, keys, 0, keys->n, &how);
}

static void keep_scores(const st_decode *z, const desk *desk, const int *lanes, int n, int head,
                        int frames)
{
    for (int i = 0; i < z->n_looked; i++) {
        if (z->looked_layers[i] != z->layer || z->looked_heads[i] != head) continue;
        for (int j = 0; j < n; j++) {
            size_t token = (size_t)(lanes[j] / z->count) * z->looked_tokens
                           + (size_t)(lanes[j] % z->count);
            size_t all = (size_t)z->rows * z->looked_tokens;
            memcpy(z->looked + ((size_t)i * all + token) * (size_t)z->looked_frames,
                   desk->scores + (size_t)j * (size_t)z->longest, (size_t)frames * sizeof(float));
        }
    }
}

static void answer(st_decode *z, desk *desk, const st_sound *sound, const int *lanes, int n,
                   int head, float *out)
{
    const st_model *m = z->model;
    const float *scale = sound_value_scale(sound, z->layer, head);
    matrix values[2];
    sound_values(sound, z->layer, head, values);
    for (int i = 0; i < n; i++) {
        float *chances = desk->scores + (size_t)i * (size_t)z->longest;
        m->kernels->softmax(chances, sound->frames);
        for (int t = 0; t < sound->frames; t++) chances[t] *= scale[t];
        codes_set(m->kernels, &desk->chances, i, i + 1, chances, 0, sound->frames);
    }
    finish how = {.out = desk->mixed, .stride = (size_t)sound->wide};
    multiply(m->kernels, &desk->chances, 0, n, values, 0, values[0].n, &how);
    for (int i = 0; i < n; i++)
        memcpy(out + (size_t)lanes[i] * (size_t)m->shape.width + head * m->head_size,
               desk->mixed + (size_t)i * (size_t)sound->wide, (size_t)m->head_size * sizeof *out);
}

/* One head for all rows over the sound of row `number / heads`: only its first row does the work,
 * so that keys and values are read once for beams of one window. */
static void attend_to_sound(void *context, int number, int thread)
{
    const crossing *c = context;
    st_decode *z = c->decode;
    desk *desk = &z->desks[thread];
    const int heads = z->model->shape.heads, row = number / heads, head = number % heads;
    const st_sound *sound = z->sounds[row];
    for (int i = 0; i < row; i++)
        if (z->sounds[i] == sound) return;
    matrix keys[2];
    sound_keys(sound, z->layer, head, keys);
    int lanes[TOGETHER], n = 0;
    for (int lane = row * z->count; lane < z->rows * z->count; lane++) {
        if (z->sounds[lane / z->count] == sound) lanes[n++] = lane;
        if (n < TOGETHER && lane + 1 < z->rows * z->count) continue;
        if (n) {
            score(z, desk, keys, c->queries, lanes, n, head);
            keep_scores(z, desk, lanes, n, head, sound->frames);
            answer(z, desk, sound, lanes, n, head, c->out);
        }
        n = 0;
    }
}

void cross_attention(st_decode *z, int layer, const float *queries, float *out)
{
    z->layer = layer;
    crossing c = {z, queries, out};
    pool_run(z->model->pool, z->rows * z->model->shape.heads, attend_to_sound, &c);
}
