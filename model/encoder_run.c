/* encoder_run.c - one thread's forward pass through the frozen encoder, one sentence at a time. */
#include "base/mem.h"
#include "model/encoder.h"
#include <string.h>

struct encoder_run {
    const struct encoder *m;
    struct kern *kern;
    size_t room;              /* tokens that the scratch is for */
    void *block;              /* all of it */
    float *x, *h, *ctx, *sum; /* (room, C) */
    float *qkv;               /* (room, 3C) */
    float *up;                /* (room, F) */
    float *mean, *rstd;       /* (room) */
    int32_t *id, *pos, *typ;  /* (room) */
};

enum status encoder_run_new(struct encoder_run **out, const struct encoder *m, const char *backend, struct err *e)
{
    enum status st;
    *out = NULL;
    struct encoder_run *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "encoder: no memory for a run");
    r->m = m;
    TRY_OUT(st, kern_new(&r->kern, backend, e));
    if (!r->kern->ops->host_visible) {
        st = ERR_SET(e, STATUS_UNSUPPORTED,
                     "encoder: backend %s keeps its memory apart; the frozen encoder runs on cpu or ref", backend);
        goto out;
    }
    if (encoder_kern(m) != NULL && strcmp(encoder_kern(m)->ops->name, r->kern->ops->name) != 0) {
        st = ERR_SET(e, STATUS_INVALID, "encoder: its matrices are packed for backend %s, the run asks for %s",
                     encoder_kern(m)->ops->name, backend);
        goto out;
    }
    st = encoder_run_reserve(r, encoder_shape(m)->P < 64 ? encoder_shape(m)->P : 64, e);
    if (st == STATUS_OK) *out = r, r = NULL;
out:
    encoder_run_free(r);
    return st;
}

void encoder_run_free(struct encoder_run *r)
{
    if (r == NULL) return;
    if (r->block != NULL) r->kern->ops->release(r->kern, r->block);
    kern_free(r->kern);
    mem_free(r);
}

/* Takes n floats (rounded up to 64 bytes) from *at. */
static float *carve(float **at, size_t n)
{
    float *p = *at;
    *at += (n + 15) / 16 * 16;
    return p;
}

enum status encoder_run_reserve(struct encoder_run *r, size_t n, struct err *e)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    if (n <= r->room) return STATUS_OK;
    if (n > s->P) return ERR_SET(e, STATUS_INVALID, "encoder: %zu tokens, the model has %zu positions", n, s->P);
    const size_t want = 2 * r->room > n ? (2 * r->room < s->P ? 2 * r->room : s->P) : n;
    const size_t floats = want * (7 * s->C + s->F + 5) + 11 * 16;
    void *block = r->kern->ops->alloc(r->kern, floats * sizeof(float));
    if (block == NULL) return ERR_SET(e, STATUS_OOM, "encoder: no memory for sentences of %zu tokens", want);
    if (r->block != NULL) r->kern->ops->release(r->kern, r->block);
    float *at = r->block = block;
    r->room = want;
    r->x = carve(&at, want * s->C);
    r->h = carve(&at, want * s->C);
    r->ctx = carve(&at, want * s->C);
    r->sum = carve(&at, want * s->C);
    r->qkv = carve(&at, want * 3 * s->C);
    r->up = carve(&at, want * s->F);
    r->mean = carve(&at, want);
    r->rstd = carve(&at, want);
    r->id = (int32_t *)(void *)carve(&at, want);
    r->pos = (int32_t *)(void *)carve(&at, want);
    r->typ = (int32_t *)(void *)carve(&at, want);
    return STATUS_OK;
}

static void layer(struct encoder_run *r, float *x, size_t n, const struct encoder_layer *w)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    const struct kern_ops *op = r->kern->ops;
    const size_t C = s->C;
    const int32_t off[2] = {0, (int32_t)n};
    const struct kern_segments one = {.n = 1, .q_off = off, .k_off = off};
    op->linear(r->kern, r->qkv, NULL, x, &w->qkv, w->qkv_b, KERN_ACT_NONE, n);
    op->attention(r->kern, r->ctx, NULL, r->qkv, 3 * C, r->qkv + C, r->qkv + 2 * C, 3 * C, NULL, NULL, 0, &one, s->H,
                  C / s->H);
    op->linear(r->kern, r->sum, NULL, r->ctx, &w->o, w->o_b, KERN_ACT_NONE, n);
    op->layernorm(r->kern, r->h, r->mean, r->rstd, r->sum, r->sum, x, w->ln1_gain, w->ln1_bias, s->eps, n, C);
    op->linear(r->kern, r->up, NULL, r->h, &w->up, w->up_b, s->act, n);
    op->linear(r->kern, r->sum, NULL, r->up, &w->down, w->down_b, KERN_ACT_NONE, n);
    op->layernorm(r->kern, x, r->mean, r->rstd, r->sum, r->sum, r->h, w->ln2_gain, w->ln2_bias, s->eps, n, C);
}

enum status encoder_run_layers(struct encoder_run *r, float *x, size_t n, size_t from, size_t to, struct err *e)
{
    if (to > encoder_shape(r->m)->L || from > to)
        return ERR_SET(e, STATUS_INVALID, "encoder: layers %zu to %zu of %zu", from, to, encoder_shape(r->m)->L);
    TRY(encoder_run_reserve(r, n, e));
    for (size_t l = from; l < to; l++) layer(r, x, n, encoder_layer(r->m, l));
    return STATUS_OK;
}

static enum status take_tokens(struct encoder_run *r, const int32_t *ids, const uint8_t *types, size_t n, struct err *e)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= s->V)
            return ERR_SET(e, STATUS_INVALID,
                           "encoder: token id %d, the vocabulary has %zu: tokenizer and model do not fit", (int)ids[i],
                           s->V);
        if (types != NULL && types[i] >= s->types)
            return ERR_SET(e, STATUS_INVALID, "encoder: token type %u, the model has %zu", types[i], s->types);
        r->id[i] = ids[i];
        r->pos[i] = (int32_t)i;
        r->typ[i] = types != NULL ? types[i] : 0;
    }
    return STATUS_OK;
}

enum status encoder_run_sentence(struct encoder_run *r, const int32_t *ids, const uint8_t *types, size_t n, size_t mid,
                                 float *mid_states, float *final_states, struct err *e)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    const struct encoder_embedding *w = encoder_embedding(r->m);
    const struct kern_ops *op = r->kern->ops;
    if (n == 0 || mid > s->L)
        return ERR_SET(e, STATUS_INVALID, "encoder: %zu tokens, states after layer %zu of %zu asked for", n, mid, s->L);
    TRY(encoder_run_reserve(r, n, e));
    TRY(take_tokens(r, ids, types, n, e));
    op->begin(r->kern);
    op->embed(r->kern, r->sum, w->word, w->position, w->type, r->id, r->pos, r->typ, n, s->C);
    op->layernorm(r->kern, r->x, r->mean, r->rstd, NULL, r->sum, NULL, w->ln_gain, w->ln_bias, s->eps, n, s->C);
    for (size_t l = 0; l < mid; l++) layer(r, r->x, n, encoder_layer(r->m, l));
    if (mid_states != NULL) op->download(r->kern, mid_states, r->x, n * s->C * sizeof *r->x);
    if (final_states != NULL) {
        for (size_t l = mid; l < s->L; l++) layer(r, r->x, n, encoder_layer(r->m, l));
        op->download(r->kern, final_states, r->x, n * s->C * sizeof *r->x);
    }
    op->end(r->kern);
    return STATUS_OK;
}
