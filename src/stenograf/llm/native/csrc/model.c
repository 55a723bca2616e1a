/* Tensors by name: a table that says where each goes, filled row by row, checked when sealed. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 96, PREFIX = 40 };

struct tensor {
    char name[NAME];
    int rows, columns, given;
    matrix *linear; /* rows go to linear->codes from row `first`, or to `floats` */
    int first;
    float *floats;
};

typedef struct {
    st_model *model;
    int room, failed;
} table;

static tensor *add(table *t, const char *prefix, const char *name, const char *kind, int rows,
                   int columns)
{
    st_model *model = t->model;
    if (model->n_tensors == t->room) {
        int room = t->room ? 2 * t->room : 64;
        tensor *grown = realloc(model->tensors, (size_t)room * sizeof *grown);
        if (!grown) {
            t->failed = 1;
            return NULL;
        }
        model->tensors = grown;
        t->room = room;
    }
    tensor *made = &model->tensors[model->n_tensors++];
    *made = (tensor){.rows = rows, .columns = columns};
    snprintf(made->name, NAME, "%s%s%s", prefix, name, kind);
    return made;
}

static void add_floats(table *t, const char *prefix, const char *name, const char *kind, int rows,
                       int columns, float **place)
{
    *place = aligned((size_t)rows * (size_t)columns * sizeof(float));
    tensor *made = add(t, prefix, name, kind, rows, columns);
    if (!*place) t->failed = 1;
    else if (made) made->floats = *place;
    t->model->bytes += (size_t)rows * (size_t)columns * sizeof(float);
}

static void add_norm(table *t, const char *prefix, const char *name, norm *place)
{
    add_floats(t, prefix, name, ".weight", 1, t->model->shape.width, &place->gain);
    add_floats(t, prefix, name, ".bias", 1, t->model->shape.width, &place->bias);
}

static void add_matrix(table *t, matrix *w, int n, int k, int with_bias)
{
    if (!matrix_new(w, n, k, with_bias, t->model->shape.precise)) t->failed = 1;
    t->model->bytes += matrix_bytes(w);
}

/* `n` rows of `w` from row `first`, under a name of their own */
static void add_part(table *t, const char *prefix, const char *name, matrix *w, int first, int n,
                     int with_bias)
{
    tensor *made = add(t, prefix, name, ".weight", n, w->k);
    if (made) {
        made->linear = w;
        made->first = first;
    }
    if (!with_bias) return;
    made = add(t, prefix, name, ".bias", 1, n);
    if (made && w->bias) made->floats = w->bias + first;
}

static void add_linear(table *t, const char *prefix, const char *name, matrix *w, int n, int k)
{
    add_matrix(t, w, n, k, 1);
    add_part(t, prefix, name, w, 0, n, 1);
}

static void add_attention(table *t, const char *prefix, matrix *qkv, matrix *out)
{
    int d = t->model->shape.width;
    add_matrix(t, qkv, 3 * d, d, 1);
    add_part(t, prefix, "self_attn.q_proj", qkv, 0, d, 1);
    add_part(t, prefix, "self_attn.k_proj", qkv, d, d, 0); /* has no bias: it stays zero */
    add_part(t, prefix, "self_attn.v_proj", qkv, 2 * d, d, 1);
    add_linear(t, prefix, "self_attn.out_proj", out, d, d);
}

static void add_encoder(table *t)
{
    st_model *m = t->model;
    const st_shape *s = &m->shape;
    /* convolutions over three frames are linear layers over frames side by side */
    add_linear(t, "encoder.", "conv1", &m->conv1, s->width, 3 * s->mels);
    add_linear(t, "encoder.", "conv2", &m->conv2, s->width, 3 * s->width);
    add_floats(t, "encoder.", "embed_positions", ".weight", s->max_frames, s->width,
               &m->encoder_positions);
    for (int i = 0; i < s->encoder_layers; i++) {
        char prefix[PREFIX];
        encoder_layer *layer = &m->encoder[i];
        snprintf(prefix, PREFIX, "encoder.layers.%d.", i);
        add_norm(t, prefix, "self_attn_layer_norm", &layer->attention_norm);
        add_attention(t, prefix, &layer->qkv, &layer->out);
        add_norm(t, prefix, "final_layer_norm", &layer->hidden_norm);
        add_linear(t, prefix, "fc1", &layer->expand, s->encoder_hidden, s->width);
        add_linear(t, prefix, "fc2", &layer->shrink, s->width, s->encoder_hidden);
    }
    add_norm(t, "encoder.", "layer_norm", &m->encoder_norm);
}

static void add_decoder(table *t)
{
    st_model *m = t->model;
    const st_shape *s = &m->shape;
    int d = s->width;
    add_matrix(t, &m->embedding, s->vocabulary, d, 0);
    add_part(t, "decoder.", "embed_tokens", &m->embedding, 0, s->vocabulary, 0);
    add_floats(t, "decoder.", "embed_positions", ".weight", s->max_tokens, d,
               &m->decoder_positions);
    for (int i = 0; i < s->decoder_layers; i++) {
        char prefix[PREFIX];
        decoder_layer *layer = &m->decoder[i];
        snprintf(prefix, PREFIX, "decoder.layers.%d.", i);
        add_norm(t, prefix, "self_attn_layer_norm", &layer->attention_norm);
        add_attention(t, prefix, &layer->qkv, &layer->out);
        add_norm(t, prefix, "encoder_attn_layer_norm", &layer->cross_norm);
        add_linear(t, prefix, "encoder_attn.q_proj", &layer->cross_query, d, d);
        add_matrix(t, &layer->cross_keys_values, 2 * d, d, 1);
        add_part(t, prefix, "encoder_attn.k_proj", &layer->cross_keys_values, 0, d, 0);
        add_part(t, prefix, "encoder_attn.v_proj", &layer->cross_keys_values, d, d, 1);
        add_linear(t, prefix, "encoder_attn.out_proj", &layer->cross_out, d, d);
        add_norm(t, prefix, "final_layer_norm", &layer->hidden_norm);
        add_linear(t, prefix, "fc1", &layer->expand, s->decoder_hidden, d);
        add_linear(t, prefix, "fc2", &layer->shrink, d, s->decoder_hidden);
    }
    add_norm(t, "decoder.", "layer_norm", &m->decoder_norm);
}

st_model *st_model_new(const st_shape *shape, int32_t threads, const char *isa)
{
    const kernels *chosen = kernels_for(isa);
    st_model *m = chosen ? calloc(1, sizeof *m) : NULL;
    if (!m) return NULL;
    m->shape = *shape;
    m->head_size = shape->width / shape->heads;
    m->parts = shape->precise ? 2 : 1;
    m->kernels = chosen;
    m->attention = shape->precise && chosen->exact ? chosen->exact : chosen;
    m->pool = pool_new(threads, chosen);
    m->encoder = calloc((size_t)shape->encoder_layers, sizeof *m->encoder);
    m->decoder = calloc((size_t)shape->decoder_layers, sizeof *m->decoder);
    table t = {.model = m, .failed = !m->pool || !m->encoder || !m->decoder};
    if (!t.failed) add_encoder(&t);
    if (!t.failed) add_decoder(&t);
    if (!t.failed) return m;
    st_model_free(m);
    return NULL;
}

static void norm_free(norm *n)
{
    free(n->gain);
    free(n->bias);
}

void st_model_free(st_model *m)
{
    if (!m) return;
    for (int i = 0; m->encoder && i < m->shape.encoder_layers; i++) {
        encoder_layer *layer = &m->encoder[i];
        matrix *all[] = {&layer->qkv, &layer->out, &layer->expand, &layer->shrink};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) matrix_free(all[j]);
        norm_free(&layer->attention_norm);
        norm_free(&layer->hidden_norm);
    }
    for (int i = 0; m->decoder && i < m->shape.decoder_layers; i++) {
        decoder_layer *layer = &m->decoder[i];
        matrix *all[] = {&layer->qkv, &layer->out, &layer->cross_query, &layer->cross_keys_values,
                         &layer->cross_out, &layer->expand, &layer->shrink};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) matrix_free(all[j]);
        norm_free(&layer->attention_norm);
        norm_free(&layer->cross_norm);
        norm_free(&layer->hidden_norm);
    }
    matrix_free(&m->conv1);
    matrix_free(&m->conv2);
    matrix_free(&m->embedding);
    norm_free(&m->encoder_norm);
    norm_free(&m->decoder_norm);
    free(m->encoder_positions);
    free(m->decoder_positions);
    free(m->encoder);
    free(m->decoder);
    free(m->tensors);
    encoder_room_free(m);
    for (int i = 0; i < SPARES; i++) st_sound_free(NULL, m->spares[i]);
    pool_free(m->pool);
    free(m);
}

const char *st_model_wants(const st_model *m, int32_t number, int32_t *rows)
{
    if (number < 0 || number >= m->n_tensors) return NULL;
    *rows = m->tensors[number].rows;
    return m->tensors[number].name;
}

int32_t st_model_set(st_model *m, const char *name, int32_t first, int32_t count, int32_t columns,
                     const float *rows)
{
    for (int i = 0; i < m->n_tensors; i++) {
        tensor *t = &m->tensors[i];
        if (strcmp(t->name, name)) continue;
        if (columns != t->columns || first != t->given || count < 0 || count > t->rows - first)
            return ST_BAD_SHAPE;
        if (t->linear)
            matrix_set(m->kernels, t->linear, t->first + first, count, rows);
        else
            memcpy(t->floats + (size_t)first * (size_t)columns, rows,
                   (size_t)count * (size_t)columns * sizeof *rows);
        t->given += count;
        return ST_OK;
    }
    return ST_UNKNOWN;
}

int32_t st_model_seal(st_model *m, char *missing, size_t size)
{
    for (int i = 0; i < m->n_tensors; i++)
        if (m->tensors[i].given < m->tensors[i].rows) {
            snprintf(missing, size, "%s", m->tensors[i].name);
            return ST_INCOMPLETE;
        }
    free(m->tensors);
    m->tensors = NULL;
    m->n_tensors = 0;
    return ST_OK;
}

size_t st_model_bytes(const st_model *m) { return m->bytes; }
