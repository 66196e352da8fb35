/* encoder.c - opens the base model: finds each tensor, checks its shape and numbers, joins q, k, v, packs. */
#include "model/encoder.h"
#include "base/hash.h"
#include "base/mem.h"
#include "model/encoder_config.h"
#include "model/encoder_weights.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const struct encoder_layer_tensor encoder_layer_tensors[ENCODER_LAYER_TENSORS] = {
    {"attention.self.query.weight", NULL},
    {"attention.self.key.weight", NULL},
    {"attention.self.value.weight", NULL},
    {"attention.self.query.bias", NULL},
    {"attention.self.key.bias", NULL},
    {"attention.self.value.bias", NULL},
    {"attention.output.dense.weight", NULL},
    {"attention.output.dense.bias", NULL},
    {"attention.output.LayerNorm.weight", "attention.output.LayerNorm.gamma"},
    {"attention.output.LayerNorm.bias", "attention.output.LayerNorm.beta"},
    {"intermediate.dense.weight", NULL},
    {"intermediate.dense.bias", NULL},
    {"output.dense.weight", NULL},
    {"output.dense.bias", NULL},
    {"output.LayerNorm.weight", "output.LayerNorm.gamma"},
    {"output.LayerNorm.bias", "output.LayerNorm.beta"},
};

const float *encoder_layer_values(const struct kern_layer *w, size_t which, size_t C)
{
    switch (which) {
    case 0: return w->qkv.w;
    case 1: return w->qkv.w + C * C;
    case 2: return w->qkv.w + 2 * C * C;
    case 3: return w->qkv_b;
    case 4: return w->qkv_b + C;
    case 5: return w->qkv_b + 2 * C;
    case 6: return w->o.w;
    case 7: return w->o_b;
    case 8: return w->ln1_gain;
    case 9: return w->ln1_bias;
    case 10: return w->up.w;
    case 11: return w->up_b;
    case 12: return w->down.w;
    case 13: return w->down_b;
    case 14: return w->ln2_gain;
    default: return w->ln2_bias;
    }
}

/* Exponent bits all set: infinite or not a number. */
static bool all_finite(const float *x, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        bad |= (u & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

/* Finds <prefix><name> (or its old name) with shape (rows, cols), or (cols) when rows is 0. */
static enum status find(const struct encoder *m, const char *name, const char *old, size_t rows, size_t cols,
                        const struct safetensors_tensor **out, struct err *e)
{
    char full[200];
    (void)snprintf(full, sizeof full, "%s%s", m->prefix, name);
    const struct safetensors_tensor *t = safetensors_find(m->file, full);
    if (t == NULL && old != NULL) {
        (void)snprintf(full, sizeof full, "%s%s", m->prefix, old);
        t = safetensors_find(m->file, full);
    }
    if (t == NULL)
        return ERR_SET(e, STATUS_NOT_FOUND, "%s/model.safetensors: there is no tensor '%s%s'", m->dir, m->prefix, name);
    const bool fits =
        rows > 0 ? t->rank == 2 && t->shape[0] == rows && t->shape[1] == cols : t->rank == 1 && t->shape[0] == cols;
    if (!fits)
        return ERR_SET(e, STATUS_INVALID,
                       "%s/model.safetensors: tensor '%s' has not the shape (%zu, %zu) that config.json asks for",
                       m->dir, full, rows > 0 ? rows : 1, cols);
    *out = t;
    return STATUS_OK;
}

/* Finite values only; they enter the fingerprint in the order in which they are taken. */
static enum status admit(struct encoder *m, const char *name, const float *v, size_t n, struct err *e)
{
    if (!all_finite(v, n))
        return ERR_SET(e, STATUS_INVALID, "%s/model.safetensors: tensor '%s' has values that are not finite", m->dir,
                       name);
    m->fingerprint = hash_mix(m->fingerprint, hash_bytes(v, n * sizeof *v));
    return STATUS_OK;
}

/* *out = the tensor's values: in the map where they can be used as they lie, else converted into `to` or the arena. */
static enum status take(struct encoder *m, const char *name, const char *old, size_t rows, size_t cols, float *to,
                        const float **out, struct err *e)
{
    const struct safetensors_tensor *t = NULL;
    TRY(find(m, name, old, rows, cols, &t, e));
    const float *v = to == NULL ? safetensors_f32(t) : NULL;
    if (v == NULL) {
        float *made = to != NULL ? to : arena_raw(&m->arena, t->n, sizeof *made);
        if (made == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for tensor '%s'", m->dir, name);
        TRY(safetensors_read(t, made, e));
        v = made;
    }
    if (out != NULL) *out = v;
    return admit(m, name, v, t->n, e);
}

static enum status take_layer(struct encoder *m, size_t l, struct err *e)
{
    struct kern_layer *w = &m->layers[l];
    const size_t C = m->shape.C, F = m->shape.F;
    float *qkv = arena_raw(&m->arena, 3 * C * C, sizeof *qkv), *qkv_b = arena_raw(&m->arena, 3 * C, sizeof *qkv_b);
    if (qkv == NULL || qkv_b == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for layer %zu", m->dir, l);
    w->qkv = (struct kern_matrix){.w = qkv, .out = 3 * C, .in = C};
    w->o = (struct kern_matrix){.out = C, .in = C};
    w->up = (struct kern_matrix){.out = F, .in = C};
    w->down = (struct kern_matrix){.out = C, .in = F};
    w->qkv_b = qkv_b;
    const struct {
        size_t rows, cols;
        float *to;
        const float **out;
    } places[ENCODER_LAYER_TENSORS] = {
        {C, C, qkv, NULL},          {C, C, qkv + C * C, NULL}, {C, C, qkv + 2 * C * C, NULL},
        {0, C, qkv_b, NULL},        {0, C, qkv_b + C, NULL},   {0, C, qkv_b + 2 * C, NULL},
        {C, C, NULL, &w->o.w},      {0, C, NULL, &w->o_b},     {0, C, NULL, &w->ln1_gain},
        {0, C, NULL, &w->ln1_bias}, {F, C, NULL, &w->up.w},    {0, F, NULL, &w->up_b},
        {C, F, NULL, &w->down.w},   {0, C, NULL, &w->down_b},  {0, C, NULL, &w->ln2_gain},
        {0, C, NULL, &w->ln2_bias},
    };
    for (size_t i = 0; i < ENCODER_LAYER_TENSORS; i++) {
        char name[100], old[100];
        const struct encoder_layer_tensor *t = &encoder_layer_tensors[i];
        (void)snprintf(name, sizeof name, "encoder.layer.%zu.%s", l, t->name);
        (void)snprintf(old, sizeof old, "encoder.layer.%zu.%s", l, t->old != NULL ? t->old : t->name);
        TRY(take(m, name, old, places[i].rows, places[i].cols, places[i].to, places[i].out, e));
    }
    return STATUS_OK;
}

static enum status take_embedding(struct encoder *m, struct err *e)
{
    struct encoder_embedding *w = &m->embedding;
    const struct encoder_shape *s = &m->shape;
    TRY(take(m, "embeddings.word_embeddings.weight", NULL, s->V, s->C, NULL, &w->word, e));
    TRY(take(m, "embeddings.position_embeddings.weight", NULL, s->P, s->C, NULL, &w->position, e));
    TRY(take(m, "embeddings.token_type_embeddings.weight", NULL, s->types, s->C, NULL, &w->type, e));
    TRY(take(m, "embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma", 0, s->C, NULL, &w->ln_gain, e));
    return take(m, "embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta", 0, s->C, NULL, &w->ln_bias, e);
}

/* Other runs read what was queued so far (kern.h). */
static void wait_for_kern(struct encoder *m)
{
    float any;
    m->kern->ops->download(m->kern, &any, m->placed_embedding.ln_gain, sizeof any);
}

static enum status pack(struct encoder *m, struct kern *k, struct err *e)
{
    TRY(encoder_place(m, k, e));
    if (k == NULL) return STATUS_OK;
    m->kern = k;
    for (; m->n_packed < 4 * m->shape.L; m->n_packed++) TRY(k->ops->pack(k, encoder_matrix(m, m->n_packed), e));
    wait_for_kern(m);
    return STATUS_OK;
}

enum status encoder_repack(struct encoder *m, enum kern_precision prec, struct err *e)
{
    for (size_t i = 0; i < 4 * m->shape.L; i++) encoder_matrix(m, i)->prec = prec;
    for (size_t i = 0; i < m->n_packed; i++) TRY(m->kern->ops->pack(m->kern, encoder_matrix(m, i), e));
    if (m->n_packed > 0) wait_for_kern(m);
    return STATUS_OK;
}

static void hash_shape(struct encoder *m)
{
    const struct encoder_shape *s = &m->shape;
    uint32_t eps;
    memcpy(&eps, &s->eps, sizeof eps);
    const uint64_t v[] = {s->C, s->H, s->F, s->L, s->V, s->P, s->types, eps, (uint64_t)s->act, s->pool_cls, s->unit};
    m->fingerprint = hash_bytes(v, sizeof v);
}

static enum status load(struct encoder *m, struct kern *k, struct err *e)
{
    TRY(encoder_config_read(&m->shape, m->dir, e));
    char *path = encoder_path(m->dir, "model.safetensors");
    if (path == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory", m->dir);
    const enum status st = safetensors_open(&m->file, path, e);
    mem_free(path);
    if (st != STATUS_OK) return st;
    m->layers = mem_calloc(m->shape.L, sizeof *m->layers);
    if (m->layers == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for %zu layers", m->dir, m->shape.L);
    m->prefix = safetensors_find(m->file, "bert.embeddings.word_embeddings.weight") != NULL ? "bert." : "";
    hash_shape(m);
    TRY(take_embedding(m, e));
    for (size_t l = 0; l < m->shape.L; l++) TRY(take_layer(m, l, e));
    return pack(m, k, e);
}

enum status encoder_open(struct encoder **out, struct kern *k, const char *dir, struct err *e)
{
    *out = NULL;
    struct encoder *m = mem_calloc(1, sizeof *m);
    if (m == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory", dir);
    m->dir = mem_strdup(dir);
    m->cosine = 1.0;
    const enum status st = m->dir == NULL ? ERR_SET(e, STATUS_OOM, "%s: no memory", dir) : load(m, k, e);
    if (st != STATUS_OK)
        encoder_free(m);
    else
        *out = m;
    return st;
}

void encoder_free(struct encoder *m)
{
    if (m == NULL) return;
    encoder_unplace(m);
    mem_free(m->layers);
    safetensors_close(m->file);
    arena_fini(&m->arena);
    mem_free(m->dir);
    mem_free(m);
}

const struct encoder_shape *encoder_shape(const struct encoder *m)
{
    return &m->shape;
}

const char *encoder_dir(const struct encoder *m)
{
    return m->dir;
}

const struct kern *encoder_kern(const struct encoder *m)
{
    return m->kern;
}

double encoder_precision_cosine(const struct encoder *m)
{
    return m->cosine;
}

uint64_t encoder_fingerprint(const struct encoder *m)
{
    return m->fingerprint;
}

const struct kern_layer *encoder_layer(const struct encoder *m, size_t l)
{
    return &m->layers[l];
}

const struct encoder_embedding *encoder_embedding(const struct encoder *m)
{
    return &m->embedding;
}

void encoder_pool_end(const struct encoder *m, float *vector)
{
    double length = 0.0;
    if (!m->shape.unit) return;
    for (size_t c = 0; c < m->shape.C; c++) length += (double)vector[c] * vector[c];
    length = fmax(sqrt(length), 1e-12);
    for (size_t c = 0; c < m->shape.C; c++) vector[c] = (float)(vector[c] / length);
}

void encoder_mean(float *out, const float *x, size_t n, size_t C)
{
    for (size_t c = 0; c < C; c++) {
        double s = 0.0;
        for (size_t r = 0; r < n; r++) s += x[r * C + c];
        out[c] = (float)(s / (double)n);
    }
}

void encoder_pool(const struct encoder *m, const float *final_states, size_t n, float *out)
{
    encoder_mean(out, final_states, m->shape.pool_cls ? 1 : n, m->shape.C);
    encoder_pool_end(m, out);
}
