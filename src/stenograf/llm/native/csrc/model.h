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

typedef struct tensor tensor;

struct st_model {
    st_shape shape;
    int head_size;
    const kernels *kernels;
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
};

/* What the decoder attends to in one window, per layer and head: keys as a matrix of `frames`
 * outputs, values as rows of int8 with one scale each. */
struct st_sound {
    int frames, padded; /* padded: rows of keys and scales, a multiple of PANEL */
    int deep, wide;     /* bytes of a key and of a value */
    int layers, heads;
    int8_t *keys, *values;
    float *key_scale, *value_scale; /* (layers, heads, padded) */
    int32_t *key_sum;
};

st_sound *sound_new(const st_model *model, int frames);
/* Store keys and values of one layer, float32 (last - first, 2 * width), for these frames. */
void sound_set(const st_model *model, st_sound *sound, int layer, int first, int last,
               const float *keys_values);
matrix sound_keys(const st_sound *sound, int layer, int head);

#endif
