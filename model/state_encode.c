/* state_encode.c - the arithmetic of an entry: encode, pool, rescale, round to bf16. */
#include "base/bf16.h"
#include "base/mem.h"
#include "model/state_cache.h"
#include <math.h>

static enum status reserve(struct state_worker *w, size_t n, struct err *e)
{
    if (n <= w->room) return STATUS_OK;
    const size_t C = w->cache->C, room = n < 64 ? 64 : n;
    float *p = mem_aligned(room + 2 * STATE_TOGETHER, C * sizeof *p);
    if (p == NULL) return ERR_SET(e, STATUS_OOM, "frozen states: no memory for a sentence of %zu tokens", n);
    mem_free(w->mid);
    w->mid = p;
    w->pooled = p + room * C;
    w->room = room;
    return STATUS_OK;
}

enum status state_worker_init(struct state_worker *w, struct state_cache *c, const char *backend, struct err *e)
{
    w->cache = c;
    TRY(encoder_run_new(&w->run, c->m, backend, e));
    return reserve(w, 1, e);
}

void state_worker_fini(struct state_worker *w)
{
    encoder_run_free(w->run);
    mem_free(w->mid);
}

static double norm_of(const float *x, size_t n)
{
    double s = 0.0;
    for (size_t i = 0; i < n; i++) s += (double)x[i] * x[i];
    return sqrt(s);
}

/* out = bf16(x * length / |x|); false when x is not finite. */
static bool round_to_length(uint16_t *out, const float *x, size_t C, double length)
{
    const double norm = norm_of(x, C);
    if (!isfinite(norm)) return false;
    const double f = length / fmax(norm, 1e-12);
    for (size_t c = 0; c < C; c++) out[c] = bf16_from((float)(x[c] * f));
    return true;
}

/* The numbers of one slot from what the encoder says of its sentence. */
static enum status fill(const struct state_cache *c, struct state_slot *s, const struct encoder_sentence *q,
                        struct err *e)
{
    const size_t C = c->C;
    uint16_t *pooled = s->numbers, *whole = pooled + C, *tokens = whole + C;
    const bool ok = round_to_length(pooled, q->mid_mean, C, c->scale);
    if (!round_to_length(whole, q->vector, C, 1.0) || !ok)
        return ERR_SET(e, STATUS_INVALID, "frozen states: a sentence of %zu tokens has states that are not finite",
                       q->n);
    for (size_t i = 0; i < (size_t)s->entry.n_tokens * C; i++) tokens[i] = bf16_from(q->mid[i]);
    return STATUS_OK;
}

enum status state_worker_encode(struct state_worker *w, struct state_slot *const *slots, size_t n, struct err *e)
{
    struct encoder_sentence q[STATE_TOGETHER] = {{0}};
    const size_t C = w->cache->C;
    size_t tokens = 0;
    for (size_t i = 0; i < n; i++) tokens += slots[i]->entry.n_tokens;
    TRY(reserve(w, tokens, e));
    tokens = 0;
    for (size_t i = 0; i < n; tokens += slots[i]->entry.n_tokens, i++)
        q[i] = (struct encoder_sentence){.ids = slots[i]->ids,
                                         .n = slots[i]->n_ids,
                                         .mid = slots[i]->entry.n_tokens > 0 ? w->mid + tokens * C : NULL,
                                         .mid_mean = w->pooled + i * C,
                                         .vector = w->pooled + (STATE_TOGETHER + i) * C};
    TRY(encoder_run_sentences(w->run, q, n, w->cache->mid, e));
    for (size_t i = 0; i < n; i++) TRY(fill(w->cache, slots[i], &q[i], e));
    return STATUS_OK;
}

/* The probe set's sentences in one pass: the start waits for it. */
enum status state_worker_measure(struct state_worker *w, float *out, struct err *e)
{
    const size_t C = encoder_shape(w->cache->m)->C;
    struct encoder_sentence q[ENCODER_PROBES] = {{0}};
    int32_t ids[ENCODER_PROBES][ENCODER_PROBE_TOKENS];
    size_t n = 0, tokens = 0;
    double sum = 0.0;
    for (size_t at = 0; n < ENCODER_PROBES && (q[n].n = encoder_probe(w->cache->m, &at, ids[n])) > 0; n++)
        tokens += q[n].n;
    TRY(reserve(w, tokens, e));
    for (size_t i = 0, first = 0; i < n; first += q[i++].n) {
        q[i].ids = ids[i];
        q[i].mid = w->mid + first * C;
    }
    TRY(encoder_run_sentences(w->run, q, n, w->cache->mid, e));
    for (size_t j = 0; j < tokens; j++) sum += norm_of(w->mid + j * C, C);
    *out = (float)(sum / (double)tokens);
    if (!isfinite(*out) || *out <= 0.0f)
        return ERR_SET(e, STATUS_INVALID, "frozen states: the mean token norm after layer %zu is %g", w->cache->mid,
                       (double)*out);
    return STATUS_OK;
}
