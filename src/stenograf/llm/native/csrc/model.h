/* The weights of a Whisper model and what its two halves share. */
#ifndef MODEL_H
#define MODEL_H

#include "linear.h"
#include "stenograf.h"

typedef struct {
    float *gain, *bias;
} norm;

typedef struct {
    norm attention_norm, hidden_norm;
    matrix qkv, out, expand, shrink;
} encoder_layer;

typedef struct {
    norm attention_norm, cross_norm, hidden_norm;
    matrix qkv, out, cross_query, cross_keys_values, cross_out, expand, shrink;
} decoder_layer;

enum { SPARES = 8 };

typedef struct tensor tensor;

struct st_model {
    st_shape shape;
    int head_size;
    int parts; /* lines of codes per row of activations */
    const kernels *kernels, *attention; /* attention: those of the encoder's */
    pool *pool;
    matrix conv1, conv2;
    float *encoder_positions; /* (max_frames, width) */
    encoder_layer *encoder;
    norm encoder_norm;
    matrix embedding; /* also the last layer */
    float *decoder_positions; /* (max_tokens, width) */
    decoder_layer *decoder;
    norm decoder_norm;
    tensor *tensors; /* by name, until the model is sealed */
    int n_tensors;
    size_t bytes;
    struct encoder *encoder_room; /* memory of the encoder, kept from window to window */
    st_sound *spares[SPARES];     /* of windows that are done: fresh memory costs its clearing */
};

/* What the decoder attends to in one window, per layer and head. Keys are a matrix of `frames`
 * outputs. Values are one of `frames` inputs, the scale of each standing before the products. */
struct st_sound {
    int frames;
    int padded; /* frames in memory, a multiple of DEEP */
    int deep;   /* bytes of a key */
    int wide;   /* values of a frame, a multiple of PANEL */
    int layers, heads;
    int8_t *keys, *values;
    float *key_scale, *value_scale; /* (layers, heads, padded) */
    float *key_sum, *value_sum;     /* (layers, heads, padded) and (layers, heads, wide) */
    float *ones;                    /* (wide) */
    st_sound *rest; /* of a precise model: what rounding left over, ones being 1 / LEFT_OVER */
};

enum { LEFT_OVER = 254 }; /* codes of the rest in one of a value */

void encoder_room_free(st_model *model);

st_sound *sound_new(st_model *model, int frames);
/* Store keys and values of one layer, float32 (last - first, 2 * width), for these frames; `first`
 * is a multiple of four. Threads may do so side by side, and sound_seal when all is there. */
void sound_set(const st_model *model, st_sound *sound, int layer, int first, int last,
               const float *keys_values);
void sound_seal(st_sound *sound, int layer, int head);
/* Matrices over the memory of `sound`; the second is the rest of the first, if there is one. */
void sound_keys(const st_sound *sound, int layer, int head, matrix keys[2]);
void sound_values(const st_sound *sound, int layer, int head, matrix values[2]);
const float *sound_value_scale(const st_sound *sound, int layer, int head);

#endif
