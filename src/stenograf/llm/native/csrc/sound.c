/* Keys and values of a window for the decoder's cross-attention, int8 with a scale per frame. */
#include <math.h>
#include <stdlib.h>

#include "model.h"

st_sound *sound_new(const st_model *m, int frames)
{
    st_sound *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->frames = frames;
    s->padded = round_up(frames, PANEL);
    s->deep = round_up(m->head_size, DEEP);
    s->wide = round_up(m->head_size, 16);
    s->layers = m->shape.decoder_layers;
    s->heads = m->shape.heads;
    size_t rows = (size_t)s->layers * (size_t)s->heads * (size_t)s->padded;
    s->keys = aligned(rows * (size_t)s->deep);
    s->values = aligned(rows * (size_t)s->wide);
    s->key_scale = aligned(rows * sizeof *s->key_scale);
    s->value_scale = aligned(rows * sizeof *s->value_scale);
    s->key_sum = aligned(rows * sizeof *s->key_sum);
    if (s->keys && s->values && s->key_scale && s->value_scale && s->key_sum) return s;
    st_sound_free(s);
    return NULL;
}

void st_sound_free(st_sound *s)
{
    if (!s) return;
    free(s->keys);
    free(s->values);
    free(s->key_scale);
    free(s->value_scale);
    free(s->key_sum);
    free(s);
}

int32_t st_sound_frames(const st_sound *s) { return s->frames; }

size_t st_sound_bytes(const st_sound *s)
{
    return (size_t)s->layers * (size_t)s->heads * (size_t)s->padded
           * (size_t)(s->deep + s->wide + 12);
}

static size_t first_row(const st_sound *s, int layer, int head)
{
    return ((size_t)layer * (size_t)s->heads + (size_t)head) * (size_t)s->padded;
}

matrix sound_keys(const st_sound *s, int layer, int head)
{
    size_t row = first_row(s, layer, head);
    return (matrix){.n = s->frames, .k = s->deep, .deep = s->deep,
                    .codes = s->keys + row * (size_t)s->deep, .scale = s->key_scale + row,
                    .sum = s->key_sum + row};
}

static void set_value(const float *x, int size, int8_t *out, float *scale)
{
    float most = 1e-30f;
    for (int d = 0; d < size; d++) most = fmaxf(most, fabsf(x[d]));
    *scale = most / 127;
    float inverse = 127 / most;
    for (int d = 0; d < size; d++) out[d] = (int8_t)(x[d] * inverse + (x[d] < 0 ? -0.5f : 0.5f));
}

void sound_set(const st_model *m, st_sound *s, int layer, int first, int last,
               const float *keys_values)
{
    const int size = m->head_size;
    const size_t d = (size_t)m->shape.width;
    for (int head = 0; head < s->heads; head++) {
        matrix keys = sound_keys(s, layer, head);
        keys.k = size;
        size_t row = first_row(s, layer, head);
        for (int t = first; t < last; t++) {
            const float *x = keys_values + (size_t)(t - first) * 2 * d + (size_t)(head * size);
            matrix_set(&keys, t, 1, x);
            size_t at = row + (size_t)t;
            set_value(x + d, size, s->values + at * (size_t)s->wide, s->value_scale + at);
        }
    }
}
