/* Whisper inference on x86 CPUs: int8 weights, one model, a fixed number of threads.
 *
 * A model is created with its shape, filled with tensors, sealed, and then hears windows (st_hear)
 * and decodes them side by side (st_decode_*). All calls on one model come from one thread at a
 * time. Arguments are checked by the caller (stenograf.llm.native.library); what can fail here is
 * memory, which returns NULL or ST_NO_MEMORY.
 */
#ifndef STENOGRAF_H
#define STENOGRAF_H

#include <stddef.h>
#include <stdint.h>

#define ST_API __attribute__((visibility("default")))

enum { ST_OK = 0, ST_NO_MEMORY = -1, ST_UNKNOWN = -2, ST_BAD_SHAPE = -3, ST_INCOMPLETE = -4 };

typedef struct {
    int32_t mels, width, heads;               /* width: d_model; heads is that of both halves */
    int32_t encoder_layers, encoder_hidden;   /* hidden: width of the feed-forward layer */
    int32_t decoder_layers, decoder_hidden;
    int32_t vocabulary, max_frames, max_tokens; /* frames: after the convolutions */
    int32_t precise; /* 16 bits instead of 8, at four times the cost of a product */
} st_shape;

typedef struct st_model st_model;
typedef struct st_sound st_sound;
typedef struct st_decode st_decode;

/* What the library was built from: a hash of the sources. */
ST_API const char *st_sources(void);
/* The best instruction set this CPU and build have, of "base", "avx2", "avxvnni", "avx512", "amx";
 * `wanted` may name one: NULL is returned where it is missing. */
ST_API const char *st_isa(const char *wanted);

ST_API st_model *st_model_new(const st_shape *shape, int32_t threads, const char *isa);
ST_API void st_model_free(st_model *model);
/* Name and rows of tensor `number`, from 0; NULL behind the last, and when sealed. */
ST_API const char *st_model_wants(const st_model *model, int32_t number, int32_t *rows);
/* Hand over rows [first, first + count) of the matrix `name`, float32 of `columns` per row. Linear
 * layers are quantized here; vectors and norms are matrices of one row. */
ST_API int32_t st_model_set(st_model *model, const char *name, int32_t first, int32_t count,
                            int32_t columns, const float *rows);
/* ST_OK when every row of every tensor was given; else ST_INCOMPLETE and the name in `missing`. */
ST_API int32_t st_model_seal(st_model *model, char *missing, size_t size);
ST_API size_t st_model_bytes(const st_model *model);

/* Run the encoder over log-mel features, float32 (mels, 2 * frames), and keep what the decoder
 * attends to. */
ST_API st_sound *st_hear(st_model *model, const float *features, int32_t frames);
/* Encoder output, float32 (frames, width), for tests. */
ST_API int32_t st_encode(st_model *model, const float *features, int32_t frames, float *states);
/* `model` is NULL where it was freed before. */
ST_API void st_sound_free(st_model *model, st_sound *sound);
ST_API int32_t st_sound_frames(const st_sound *sound);
ST_API size_t st_sound_bytes(const st_sound *sound);

/* Decode `rows` rows side by side, row i over sounds[i]; sounds must outlive the decode. */
ST_API st_decode *st_decode_new(st_model *model, st_sound *const *sounds, int32_t rows);
ST_API void st_decode_free(st_decode *decode);
/* Feed `count` tokens per row, (rows, count), after all before; float32 logits of the last one,
 * (rows, vocabulary). With `looked` also the scaled scores of the given cross-attention heads,
 * float32 (n_heads, rows * count, frames of the longest sound): layers[i], heads[i]. */
ST_API int32_t st_decode_feed(st_decode *decode, const int32_t *tokens, int32_t count,
                              float *logits, const int32_t *layers, const int32_t *heads,
                              int32_t n_heads, float *looked);
/* Row i goes on from what row parents[i] has; there may be fewer rows than before, or more. After
 * ST_NO_MEMORY the decode can only be freed. */
ST_API int32_t st_decode_select(st_decode *decode, const int32_t *parents, int32_t rows);

/* Kernels alone, for tests. All shapes are unpadded, results float32. */
ST_API int32_t st_test_linear(const char *isa, const float *x, int32_t m, const float *w, int32_t n,
                              int32_t k, const float *bias, int32_t precise, float *out);
ST_API int32_t st_test_norm(const char *isa, const float *x, int32_t m, int32_t k,
                            const float *gain, const float *bias, float *out);
ST_API int32_t st_test_attention(const char *isa, const float *qkv, int32_t frames, int32_t heads,
                                 int32_t head_size, float *out);
ST_API int32_t st_test_gelu(const char *isa, const float *x, int32_t n, float *out);

#endif
