/* encoder_run.c - one thread's forward pass through the frozen encoder, one sentence at a time.
 *
 * States of sentences are pooled where they lie: of a backend whose memory is apart only the result is copied.
 */
#include "base/mem.h"
#include "model/encoder_weights.h"

struct encoder_run {
    const struct encoder *m;
    struct kern *kern;
    size_t room;              /* tokens that the scratch is for */
    void *block;              /* all of it; backend memory */
    float *x, *h, *ctx, *sum; /* (room, C); from h to up it is one piece, the room of kern_ops.stack */
    float *qkv;               /* (room, 3C) */
    float *up;                /* (room, F) */
    float *mean, *rstd;       /* (room) */
    int32_t *id, *pos, *typ;  /* (room) each, one behind the other */
    int32_t *begin;           /* (room + 1) off, in backend memory */
    int32_t *host;            /* (3 * room) the same in host memory, packed to the pass's tokens */
    int32_t *off;             /* (room + 1) where the sentences of a pass begin; host memory, as is the line above */
};

enum status encoder_run_new(struct encoder_run **out, const struct encoder *m, const char *backend, struct err *e)
{
    enum status st;
    *out = NULL;
    struct encoder_run *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "encoder: no memory for a run");
    r->m = m;
    TRY_OUT(st, kern_new(&r->kern, backend, e));
    if (encoder_kern(m) == NULL && !r->kern->ops->host_visible) {
        st =
            ERR_SET(e, STATUS_INVALID, "encoder: its matrices are not in the memory of backend %s", r->kern->ops->name);
        goto out;
    }
    if (encoder_kern(m) != NULL && encoder_kern(m)->ops != r->kern->ops) {
        st = ERR_SET(e, STATUS_INVALID, "encoder: its matrices are packed by %s, the run asks for %s",
                     kern_describe(encoder_kern(m)), kern_describe(r->kern));
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
    mem_free(r->host);
    mem_free(r);
}

/* Takes n floats (rounded up to 64 bytes) from *at. */
static float *carve(float **at, size_t n)
{
    float *p = *at;
    *at += (n + 15) / 16 * 16;
    return p;
}

size_t encoder_run_chunk(const struct encoder_run *r)
{
    return r->kern->ops->host_visible ? ENCODER_CHUNK : ENCODER_CHUNK_FAR;
}

static enum status grow(struct encoder_run *r, size_t n, struct err *e)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    if (n <= r->room) return STATUS_OK;
    const size_t most = s->P > encoder_run_chunk(r) ? s->P : encoder_run_chunk(r),
                 twice = 2 * r->room < most ? 2 * r->room : most;
    const size_t want = twice > n ? twice : n;
    const size_t floats = want * (7 * s->C + s->F + 6) + 1 + 11 * 16;
    int32_t *host = mem_calloc(4 * want + 1, sizeof *host);
    void *block = host != NULL ? r->kern->ops->alloc(r->kern, floats * sizeof(float)) : NULL;
    if (block == NULL) {
        mem_free(host);
        return ERR_SET(e, STATUS_OOM, "encoder: no memory for sentences of %zu tokens", want);
    }
    if (r->block != NULL) r->kern->ops->release(r->kern, r->block);
    mem_free(r->host);
    r->host = host;
    r->off = host + 3 * want;
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
    r->id = (int32_t *)(void *)carve(&at, 3 * want);
    r->begin = (int32_t *)(void *)carve(&at, want + 1);
    return STATUS_OK;
}

enum status encoder_run_reserve(struct encoder_run *r, size_t n, struct err *e)
{
    const size_t P = encoder_shape(r->m)->P;
    if (n > P) return ERR_SET(e, STATUS_INVALID, "encoder: %zu tokens, the model has %zu positions", n, P);
    return grow(r, n, e);
}

/* x (n, C) through one layer; the rows are cut into n_segments sentences by r->off. */
static void layer(struct encoder_run *r, float *x, size_t n, size_t n_segments, const struct kern_layer *w)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    const struct kern_ops *op = r->kern->ops;
    const size_t C = s->C;
    const struct kern_segments seg = {.n = n_segments, .q_off = r->off, .k_off = r->off};
    op->linear(r->kern, r->qkv, NULL, x, &w->qkv, w->qkv_b, KERN_ACT_NONE, n);
    op->attention(r->kern, r->ctx, NULL, r->qkv, 3 * C, r->qkv + C, r->qkv + 2 * C, 3 * C, NULL, NULL, 0, &seg, s->H,
                  C / s->H);
    op->linear(r->kern, r->sum, NULL, r->ctx, &w->o, w->o_b, KERN_ACT_NONE, n);
    op->layernorm(r->kern, r->h, r->mean, r->rstd, r->sum, r->sum, x, w->ln1_gain, w->ln1_bias, s->eps, n, C);
    op->linear(r->kern, r->up, NULL, r->h, &w->up, w->up_b, s->act, n);
    op->linear(r->kern, r->sum, NULL, r->up, &w->down, w->down_b, KERN_ACT_NONE, n);
    op->layernorm(r->kern, x, r->mean, r->rstd, r->sum, r->sum, r->h, w->ln2_gain, w->ln2_bias, s->eps, n, C);
}

/* Layers from … to-1 of r->x (n, C), all in one where the backend has that. */
static void layers(struct encoder_run *r, size_t n, size_t n_segments, size_t from, size_t to)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    const struct kern_ops *op = r->kern->ops;
    const struct kern_segments seg = {.n = n_segments, .q_off = r->off, .k_off = r->off};
    if (from == to) return;
    const struct kern_stack stack = {encoder_placed_layer(r->m, from), to - from, s->C, s->H, s->F, s->eps, s->act};
    if (op->stack != NULL && op->stack(r->kern, r->x, r->h, &stack, &seg, n)) return;
    for (size_t l = from; l < to; l++) layer(r, r->x, n, n_segments, encoder_placed_layer(r->m, l));
}

static enum status check(const struct encoder_run *r, const struct encoder_sentence *q, size_t mid, struct err *e)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    if (q->n == 0 || q->n > s->P || mid > s->L)
        return ERR_SET(
            e, STATUS_INVALID,
            "encoder: %zu tokens and states after layer %zu asked for; the model has %zu positions, %zu layers", q->n,
            mid, s->P, s->L);
    for (size_t i = 0; i < q->n; i++) {
        if (q->ids[i] < 0 || (size_t)q->ids[i] >= s->V)
            return ERR_SET(e, STATUS_INVALID,
                           "encoder: token id %d, the vocabulary has %zu: tokenizer and model do not fit",
                           (int)q->ids[i], s->V);
        if (q->types != NULL && q->types[i] >= s->types)
            return ERR_SET(e, STATUS_INVALID, "encoder: token type %u, the model has %zu", q->types[i], s->types);
    }
    return STATUS_OK;
}

/* Puts the sentences' tokens one after the other; returns how many. */
static size_t take_tokens(struct encoder_run *r, const struct encoder_sentence *q, size_t count)
{
    size_t n = 0;
    for (size_t s = 0; s < count; n += q[s++].n) r->off[s] = (int32_t)n;
    r->off[count] = (int32_t)n;
    int32_t *id = r->host, *pos = id + n, *typ = pos + n;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < q[s].n; i++) {
            *id++ = q[s].ids[i];
            *pos++ = (int32_t)i;
            *typ++ = q[s].types != NULL ? q[s].types[i] : 0;
        }
    r->pos = r->id + n;
    r->typ = r->pos + n;
    r->kern->ops->upload(r->kern, r->id, r->host, 3 * n * sizeof *r->host);
    if (!r->kern->ops->host_visible) r->kern->ops->upload(r->kern, r->begin, r->off, (count + 1) * sizeof *r->off);
    return n;
}

enum kept { MID, FINAL, MID_MEAN, VECTOR };

static float *place_of(const struct encoder_sentence *q, enum kept what)
{
    float *const places[] = {q->mid, q->final, q->mid_mean, q->vector};
    return places[what];
}

static bool wanted(const struct encoder_sentence *q, size_t count, enum kept what)
{
    for (size_t i = 0; i < count; i++)
        if (place_of(&q[i], what) != NULL) return true;
    return false;
}

/* Rows of `from`, each sentence's n of its states or one; neighbours in the caller's memory come together. */
static void give(struct encoder_run *r, const struct encoder_sentence *q, size_t count, enum kept what,
                 const float *from)
{
    const size_t C = encoder_shape(r->m)->C;
    const bool states = what == MID || what == FINAL;
    for (size_t i = 0, row = 0, last; i < count; i = last) {
        float *to = place_of(&q[i], what);
        size_t n = states ? q[i].n : 1;
        for (last = i + 1; to != NULL && last < count && place_of(&q[last], what) == to + n * C; last++)
            n += states ? q[last].n : 1;
        if (to != NULL) r->kern->ops->download(r->kern, to, from + row * C, n * C * sizeof *to);
        row += n;
    }
}

/* Where the host sees the states it pools them itself. */
static void pool_here(struct encoder_run *r, const struct encoder_sentence *q, size_t count, enum kept what)
{
    const size_t C = encoder_shape(r->m)->C;
    for (size_t i = 0; i < count; i++) {
        const float *states = r->x + (size_t)r->off[i] * C;
        float *to = place_of(&q[i], what);
        if (to == NULL) continue;
        if (what == VECTOR)
            encoder_pool(r->m, states, q[i].n, to);
        else
            encoder_mean(to, states, q[i].n, C);
    }
}

/* The scratch of the layers is free by now: there the rows are made. */
static void pool_there(struct encoder_run *r, const struct encoder_sentence *q, size_t count, enum kept what)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    if (what == VECTOR && s->pool_cls)
        r->kern->ops->gather(r->kern, r->h, r->x, r->begin, count, s->C);
    else
        r->kern->ops->mean_rows(r->kern, r->h, r->x, r->begin, count, s->C);
    give(r, q, count, what, r->h);
    for (size_t i = 0; what == VECTOR && i < count; i++)
        if (q[i].vector != NULL) encoder_pool_end(r->m, q[i].vector);
}

/* What is asked for of the states at the middle layer, or at the end. */
static void keep(struct encoder_run *r, const struct encoder_sentence *q, size_t count, bool final)
{
    const enum kept states = final ? FINAL : MID, pooled = final ? VECTOR : MID_MEAN;
    if (wanted(q, count, states)) give(r, q, count, states, r->x);
    if (wanted(q, count, pooled)) (r->kern->ops->host_visible ? pool_here : pool_there)(r, q, count, pooled);
}

/* One pass: all sentences together through the layers. */
static void pass(struct encoder_run *r, const struct encoder_sentence *q, size_t count, size_t mid)
{
    const struct encoder_shape *s = encoder_shape(r->m);
    const struct encoder_embedding *w = encoder_placed_embedding(r->m);
    const struct kern_ops *op = r->kern->ops;
    const bool whole = wanted(q, count, FINAL) || wanted(q, count, VECTOR);
    op->begin(r->kern);
    const size_t n = take_tokens(r, q, count);
    op->embed(r->kern, r->sum, w->word, w->position, w->type, r->id, r->pos, r->typ, n, s->C);
    op->layernorm(r->kern, r->x, r->mean, r->rstd, NULL, r->sum, NULL, w->ln_gain, w->ln_bias, s->eps, n, s->C);
    layers(r, n, count, 0, mid);
    keep(r, q, count, false);
    if (whole) layers(r, n, count, mid, s->L);
    if (whole) keep(r, q, count, true);
    op->end(r->kern);
}

enum status encoder_run_sentences(struct encoder_run *r, const struct encoder_sentence *q, size_t count, size_t mid,
                                  struct err *e)
{
    const bool together = r->kern->ops->rows_alone;
    for (size_t i = 0; i < count; i++) TRY(check(r, &q[i], mid, e));
    for (size_t first = 0, last; first < count; first = last) {
        size_t n = q[first].n;
        for (last = first + 1; together && last < count && n + q[last].n <= encoder_run_chunk(r); last++)
            n += q[last].n;
        TRY(grow(r, n, e));
        pass(r, q + first, last - first, mid);
    }
    return STATUS_OK;
}

enum status encoder_run_sentence(struct encoder_run *r, const int32_t *ids, const uint8_t *types, size_t n, size_t mid,
                                 float *mid_states, float *final_states, struct err *e)
{
    const struct encoder_sentence one = {.ids = ids, .types = types, .n = n, .mid = mid_states, .final = final_states};
    return encoder_run_sentences(r, &one, 1, mid, e);
}
