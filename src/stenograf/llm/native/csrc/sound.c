/* Keys and values of a window for the decoder's cross-attention, int8 with a scale per frame. */
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { GROUP = 4 }; /* frames that are interleaved in the matrix of values */

static void release(st_sound *s)
{
    if (!s) return;
    release(s->rest);
    free(s->keys);
    free(s->values);
    free(s->key_scale);
    free(s->value_scale);
    free(s->key_sum);
    free(s->value_sum);
    free(s->ones);
    free(s);
}

/* A spare of the same length; what its padding holds is still zero. */
static st_sound *spare(st_model *m, int frames)
{
    for (int i = 0; i < SPARES; i++) {
        st_sound *found = m->spares[i];
        if (!found || found->frames != frames) continue;
        m->spares[i] = NULL;
        return found;
    }
    return NULL;
}

static st_sound *fresh(const st_model *m, int frames, float one, int with_rest)
{
    st_sound *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->frames = frames;
    s->padded = round_up(frames, DEEP);
    s->deep = round_up(m->head_size, DEEP);
    s->wide = round_up(m->head_size, PANEL);
    s->layers = m->shape.decoder_layers;
    s->heads = m->shape.heads;
    size_t heads = (size_t)s->layers * (size_t)s->heads, rows = heads * (size_t)s->padded;
    s->keys = aligned(rows * (size_t)s->deep);
    s->values = aligned(rows * (size_t)s->wide);
    s->key_scale = aligned(rows * sizeof *s->key_scale);
    s->value_scale = aligned(rows * sizeof *s->value_scale);
    s->key_sum = aligned(rows * sizeof *s->key_sum);
    s->value_sum = aligned(heads * (size_t)s->wide * sizeof *s->value_sum);
    s->ones = aligned((size_t)s->wide * sizeof *s->ones);
    s->rest = with_rest ? fresh(m, frames, 1.0f / LEFT_OVER, 0) : NULL;
    if (s->keys && s->values && s->key_scale && s->value_scale && s->key_sum && s->value_sum
        && s->ones && (s->rest || !with_rest)) {
        for (int i = 0; i < s->wide; i++) s->ones[i] = one;
        return s;
    }
    release(s);
    return NULL;
}

st_sound *sound_new(st_model *m, int frames)
{
    st_sound *s = spare(m, frames);
    return s ? s : fresh(m, frames, 1, m->shape.precise);
}

void st_sound_free(st_model *m, st_sound *s)
{
    for (int i = 0; s && m && i < SPARES; i++)
        if (!m->spares[i]) {
            m->spares[i] = s;
            return;
        }
    if (s) release(s);
}

int32_t st_sound_frames(const st_sound *s) { return s->frames; }

size_t st_sound_bytes(const st_sound *s)
{
    size_t head = (size_t)s->padded * (size_t)(s->deep + s->wide + 12) + (size_t)s->wide * 4;
    return (size_t)s->layers * (size_t)s->heads * head + (s->rest ? st_sound_bytes(s->rest) : 0);
}

static size_t number_of(const st_sound *s, int layer, int head)
{
    return (size_t)layer * (size_t)s->heads + (size_t)head;
}

static matrix keys_of(const st_sound *s, int layer, int head)
{
    size_t row = number_of(s, layer, head) * (size_t)s->padded;
    return (matrix){.n = s->frames, .k = s->deep, .deep = s->deep,
                    .codes = s->keys + row * (size_t)s->deep, .scale = s->key_scale + row,
                    .sum = s->key_sum + row};
}

static matrix values_of(const st_sound *s, int layer, int head)
{
    size_t number = number_of(s, layer, head), wide = (size_t)s->wide;
    return (matrix){.n = s->wide, .k = s->frames, .deep = s->padded,
                    .codes = s->values + number * wide * (size_t)s->padded, .scale = s->ones,
                    .sum = s->value_sum + number * wide};
}

const float *sound_value_scale(const st_sound *s, int layer, int head)
{
    return s->value_scale + number_of(s, layer, head) * (size_t)s->padded;
}

void sound_keys(const st_sound *s, int layer, int head, matrix keys[2])
{
    keys[0] = keys_of(s, layer, head);
    if (!s->rest) return;
    keys[1] = keys_of(s->rest, layer, head);
    keys[0].rest = &keys[1];
}

void sound_values(const st_sound *s, int layer, int head, matrix values[2])
{
    values[0] = values_of(s, layer, head);
    if (!s->rest) return;
    values[1] = values_of(s->rest, layer, head);
    values[0].rest = &values[1];
}

/* The code of what is left of a value in codes, at most a half in size. */
static int8_t rest_of(float left)
{
    float code = LEFT_OVER * left;
    return (int8_t)(code < 0 ? code - 0.5f : code + 0.5f);
}

/* Put codes of GROUP frames from frame t on where the matrix of values wants them. */
static void interleave(const st_sound *s, int layer, int head, int t, int size,
                       int8_t rows[GROUP][MOST_HEAD])
{
    int8_t *out = values_of(s, layer, head).codes + t * BLOCK;
    for (int d = 0; d < size; d++) {
        int8_t group[GROUP] = {rows[0][d], rows[1][d], rows[2][d], rows[3][d]};
        memcpy(out + (size_t)(d / BLOCK) * BLOCK * (size_t)s->padded + d % BLOCK * GROUP, group,
               GROUP);
    }
}

/* Values of up to GROUP frames from frame t on, each `stride` floats from the next. */
static void set_values(const st_model *m, st_sound *s, int layer, int head, int t, int n,
                       const float *x, size_t stride)
{
    int8_t rows[GROUP][MOST_HEAD] = {0}, rest[GROUP][MOST_HEAD] = {0};
    const int size = m->head_size;
    float unused;
    float *scale = s->value_scale + number_of(s, layer, head) * (size_t)s->padded + t;
    for (int i = 0; i < n; i++, x += stride) {
        scale[i] = m->kernels->quantize_signed(x, size, rows[i], &unused);
        for (int d = 0; s->rest && d < size; d++)
            rest[i][d] = rest_of(x[d] / scale[i] - (float)rows[i][d]);
    }
    interleave(s, layer, head, t, size, rows);
    if (s->rest) interleave(s->rest, layer, head, t, size, rest);
}

void sound_set(const st_model *m, st_sound *s, int layer, int first, int last,
               const float *keys_values)
{
    const size_t d = (size_t)m->shape.width;
    for (int head = 0; head < s->heads; head++) {
        matrix keys[2];
        sound_keys(s, layer, head, keys);
        keys[0].k = keys[1].k = m->head_size;
        for (int t = first; t < last; t += GROUP) {
            const float *x = keys_values + (size_t)(t - first) * 2 * d + (size_t)(head * m->head_size);
            int n = last - t < GROUP ? last - t : GROUP;
            for (int i = 0; i < n; i++)
                matrix_set(m->kernels, keys, t + i, 1, x + (size_t)i * 2 * d);
            set_values(m, s, layer, head, t, n, x + d, 2 * d);
        }
    }
}

void sound_seal(st_sound *s, int layer, int head)
{
    matrix values = values_of(s, layer, head);
    if (s->rest) sound_seal(s->rest, layer, head);
    for (int d = 0; d < s->wide; d += BLOCK) {
        const int8_t *codes = values.codes + (size_t)d * (size_t)s->padded;
        int32_t sums[BLOCK * GROUP] = {0};
        for (int t = 0; t < s->padded; t += GROUP, codes += BLOCK * GROUP)
            for (int i = 0; i < BLOCK * GROUP; i++) sums[i] += codes[i];
        for (int i = 0; i < BLOCK; i++)
            values.sum[d + i] = sums[4 * i] + sums[4 * i + 1] + sums[4 * i + 2] + sums[4 * i + 3];
    }
}
