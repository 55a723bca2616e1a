/* Tokens in, logits out. Every layer is a handful of products whose outputs are shared out between
 * the threads; with few rows the weights stream through the cores once per step. */
#include "decoder.h"

#include <stdlib.h>
#include <string.h>

enum { LANES_PER_TASK = 4 };

static int most(int a, int b) { return a > b ? a : b; }

void st_decode_free(st_decode *z)
{
    if (!z) return;
    const int pages = (z->model->shape.max_tokens + PAGE - 1) / PAGE;
    for (int i = 0; z->pages && i < pages; i++) free(z->pages[i]);
    for (int i = 0; z->desks && i < pool_threads(z->model->pool); i++) {
        codes_free(&z->desks[i].queries);
        codes_free(&z->desks[i].chances);
        free(z->desks[i].row);
        free(z->desks[i].scores);
        free(z->desks[i].mixed);
    }
    free(z->desks);
    free(z->pages);
    free(z->sounds);
    free(z->slots);
    free(z->states);
    free(z->wide);
    codes_free(&z->codes);
    free(z);
}

static int make_desks(st_decode *z, int threads)
{
    const st_model *m = z->model;
    const size_t f = sizeof(float), size = (size_t)round_up(m->head_size, DEEP);
    /* scores of tokens before are for one lane, scores of the sound for TOGETHER */
    size_t scores = (size_t)most(TOGETHER * z->longest, round_up(m->shape.max_tokens, 16));
    z->desks = calloc((size_t)threads, sizeof *z->desks);
    for (int i = 0; z->desks && i < threads; i++) {
        desk *desk = &z->desks[i];
        desk->row = aligned((size_t)most((int)size, m->shape.width) * f);
        desk->scores = aligned(scores * f);
        desk->mixed = aligned(TOGETHER * size * f);
        if (!codes_new(&desk->queries, TOGETHER, m->head_size, 2)
            || !codes_new(&desk->chances, TOGETHER, z->longest, 2) || !desk->row || !desk->scores
            || !desk->mixed)
            return 0;
    }
    return z->desks != NULL;
}

/* Memory for `lanes` tokens under way together. */
static int make_lanes(st_decode *z, int lanes)
{
    const st_shape *s = &z->model->shape;
    const int wide = most(3 * s->width, s->decoder_hidden);
    z->lanes = lanes;
    z->states = aligned(2 * (size_t)lanes * (size_t)s->width * sizeof(float));
    z->wide = aligned((size_t)lanes * (size_t)wide * sizeof(float));
    return codes_new(&z->codes, lanes, wide, z->model->parts) && z->states && z->wide;
}

st_decode *st_decode_new(st_model *m, st_sound *const *sounds, int32_t rows)
{
    const st_shape *s = &m->shape;
    st_decode *z = calloc(1, sizeof *z);
    if (!z) return NULL;
    z->model = m;
    z->rows = z->capacity = rows;
    for (int i = 0; i < rows; i++) z->longest = most(z->longest, sounds[i]->padded);
    z->sounds = calloc((size_t)rows, sizeof(st_sound *));
    z->slots = calloc((size_t)rows * (size_t)s->max_tokens, sizeof *z->slots);
    z->pages = calloc((size_t)(s->max_tokens + PAGE - 1) / PAGE, sizeof *z->pages);
    if (z->sounds && z->slots && z->pages && make_lanes(z, most(rows, LANES_AT_ONCE))
        && make_desks(z, pool_threads(m->pool))) {
        memcpy(z->sounds, sounds, (size_t)rows * sizeof *sounds);
        return z;
    }
    st_decode_free(z);
    return NULL;
}

static void prepare_lanes(void *context, int number, int thread)
{
    st_decode *z = context;
    const kernels *k = z->model->kernels;
    const int lanes = z->rows * z->count;
    for (int i = number * LANES_PER_TASK; i < lanes && i < (number + 1) * LANES_PER_TASK; i++) {
        const float *x = z->x + (size_t)i * z->x_stride;
        if (z->norm) {
            k->norm(x, z->x_columns, z->norm->gain, z->norm->bias, z->desks[thread].row);
            x = z->desks[thread].row;
        }
        codes_set(k, &z->codes, i, i + 1, x, 0, z->x_columns);
    }
}

/* Quantize what the next product takes, normalized if there is a norm. */
static void prepare(st_decode *z, const float *x, size_t stride, int columns, const norm *norm)
{
    const int lanes = z->rows * z->count;
    z->x = x;
    z->x_stride = stride;
    z->x_columns = columns;
    z->norm = norm;
    pool_run(z->model->pool, (lanes + LANES_PER_TASK - 1) / LANES_PER_TASK, prepare_lanes, z);
}

static void apply(st_decode *z, const matrix *w, float *out, int gelu, int add)
{
    finish how = {.out = out, .stride = (size_t)w->n, .added = add ? out : NULL,
                  .added_stride = (size_t)w->n, .gelu = gelu};
    multiply_shared(z->model->pool, z->model->kernels, &z->codes, z->rows * z->count, w, &how);
}

static void run_layer(st_decode *z, int i)
{
    const st_shape *s = &z->model->shape;
    const decoder_layer *layer = &z->model->decoder[i];
    const size_t d = (size_t)s->width;
    float *mixed = z->states + (size_t)z->lanes * d;
    prepare(z, z->states, d, s->width, &layer->attention_norm);
    apply(z, &layer->qkv, z->wide, 0, 0);
    self_attention(z, i);
    prepare(z, z->wide, 3 * d, s->width, NULL);
    apply(z, &layer->out, z->states, 0, 1);
    prepare(z, z->states, d, s->width, &layer->cross_norm);
    apply(z, &layer->cross_query, z->wide, 0, 0);
    cross_attention(z, i, z->wide, mixed);
    prepare(z, mixed, d, s->width, NULL);
    apply(z, &layer->cross_out, z->states, 0, 1);
    prepare(z, z->states, d, s->width, &layer->hidden_norm);
    apply(z, &layer->expand, z->wide, 1, 0);
    prepare(z, z->wide, (size_t)s->decoder_hidden, s->decoder_hidden, NULL);
    apply(z, &layer->shrink, z->states, 0, 1);
}

/* States of `count` tokens per row, `stride` apart. */
static int run(st_decode *z, const int32_t *tokens, int stride, int count)
{
    const st_model *m = z->model;
    const size_t d = (size_t)m->shape.width;
    const int last_page = (z->position + count - 1) / PAGE;
    for (int i = z->position / PAGE; i <= last_page; i++) {
        size_t elements = (size_t)m->shape.decoder_layers * PAGE * (size_t)z->capacity * 2 * d;
        if (!z->pages[i]) z->pages[i] = aligned(elements * sizeof **z->pages);
        if (!z->pages[i]) return ST_NO_MEMORY;
    }
    z->count = count;
    for (int row = 0; row < z->rows; row++)
        for (int i = 0; i < count; i++) {
            float *x = z->states + (size_t)(row * count + i) * d;
            const float *place = m->decoder_positions + (size_t)(z->position + i) * d;
            matrix_row(&m->embedding, tokens[row * stride + i], x);
            for (size_t j = 0; j < d; j++) x[j] += place[j];
            z->slots[row * m->shape.max_tokens + z->position + i] = row;
        }
    for (int i = 0; i < m->shape.decoder_layers; i++) run_layer(z, i);
    z->position += count;
    return ST_OK;
}

int32_t st_decode_feed(st_decode *z, const int32_t *tokens, int32_t count, float *logits,
                       const int32_t *layers, const int32_t *heads, int32_t n_heads, float *looked)
{
    const st_model *m = z->model;
    if (count < 1 || count > m->shape.max_tokens - z->position) return ST_BAD_SHAPE;
    z->looked_layers = layers;
    z->looked_heads = heads;
    z->n_looked = looked ? n_heads : 0;
    z->looked_tokens = (size_t)count;
    z->looked_frames = 0;
    for (int i = 0; i < z->rows; i++) z->looked_frames = most(z->looked_frames, z->sounds[i]->frames);
    const int at_once = z->lanes / z->rows;
    for (int done = 0; done < count; done += at_once) {
        int part = count - done < at_once ? count - done : at_once;
        z->looked = looked ? looked + (size_t)done * (size_t)z->looked_frames : NULL;
        int failed = run(z, tokens + done, count, part);
        if (failed) return failed;
    }
    if (!logits) return ST_OK;
    const size_t d = (size_t)m->shape.width;
    const float *last = z->states + (size_t)(z->count - 1) * d;
    size_t stride = (size_t)z->count * d;
    z->count = 1;
    prepare(z, last, stride, m->shape.width, &m->decoder_norm);
    apply(z, &m->embedding, logits, 0, 0);
    return ST_OK;
}

/* Make room for more rows: pages are laid out anew, and the lanes' memory if it is too small. */
static int grow(st_decode *z, int rows)
{
    const st_shape *s = &z->model->shape;
    const size_t line = 2 * (size_t)s->width * sizeof **z->pages;
    const int places = s->decoder_layers * PAGE;
    for (int i = 0; i <= (z->position - 1) / PAGE && z->position; i++) {
        char *wider = aligned((size_t)places * (size_t)rows * line);
        if (!wider) return 0;
        for (int j = 0; j < places; j++)
            memcpy(wider + (size_t)j * (size_t)rows * line,
                   (char *)z->pages[i] + (size_t)j * (size_t)z->capacity * line,
                   (size_t)z->capacity * line);
        free(z->pages[i]);
        z->pages[i] = (uint16_t *)wider;
    }
    z->capacity = rows;
    if (rows <= z->lanes) return 1;
    free(z->states);
    free(z->wide);
    codes_free(&z->codes);
    return make_lanes(z, rows);
}

int32_t st_decode_select(st_decode *z, const int32_t *parents, int32_t rows)
{
    const size_t line = (size_t)z->model->shape.max_tokens;
    int *slots = calloc((size_t)rows * line, sizeof *slots);
    st_sound **sounds = calloc((size_t)rows, sizeof(st_sound *));
    if (!slots || !sounds || (rows > z->capacity && !grow(z, rows))) {
        free(slots);
        free(sounds);
        return ST_NO_MEMORY;
    }
    for (int i = 0; i < rows; i++) {
        memcpy(slots + (size_t)i * line, z->slots + (size_t)parents[i] * line,
               (size_t)z->position * sizeof *slots);
        sounds[i] = z->sounds[parents[i]];
    }
    free(z->slots);
    free(z->sounds);
    z->slots = slots;
    z->sounds = sounds;
    z->rows = rows;
    return ST_OK;
}
