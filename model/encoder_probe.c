/* encoder_probe.c - the probe set, and what it is for: a coarser precision is used only where it says nearly the same. */
#include "base/hash.h"
#include "base/mem.h"
#include "model/encoder_weights.h"
#include "schemas/conf.h"
#include <math.h>
#include <string.h>

static const int32_t probe[] = {
#include "model/encoder_probe.inc"
};

size_t encoder_probe(const struct encoder *m, size_t *at, int32_t ids[ENCODER_PROBE_TOKENS])
{
    const struct encoder_shape *s = &m->shape;
    if (*at >= sizeof probe / sizeof *probe) return 0;
    const size_t length = (size_t)probe[*at], n = length < s->P ? length : s->P;
    for (size_t j = 0; j < n; j++) ids[j] = probe[*at + 1 + j] % (int32_t)s->V; /* other vocabularies: any words */
    *at += 1 + length;
    return n;
}

/* Pooled states of every probe sentence, before the last layer and at the end: (2*sentence + which, C). */
static enum status probe_states(const struct encoder *m, const char *backend, float *out, struct err *e)
{
    const size_t C = m->shape.C, mid = m->shape.L > 0 ? m->shape.L - 1 : 0;
    struct encoder_run *run = NULL;
    int32_t ids[ENCODER_PROBE_TOKENS];
    enum status st;
    float *states = mem_calloc(2 * ENCODER_PROBE_TOKENS, C * sizeof *states);
    if (states == NULL) return ERR_SET(e, STATUS_OOM, "%s: no memory for the probe set", m->dir);
    float *end = states + ENCODER_PROBE_TOKENS * C;
    TRY_OUT(st, encoder_run_new(&run, m, backend, e));
    for (size_t at = 0, n; (n = encoder_probe(m, &at, ids)) > 0; out += 2 * C) {
        TRY_OUT(st, encoder_run_sentence(run, ids, NULL, n, mid, states, end, e));
        encoder_pool(m, states, n, out);
        encoder_pool(m, end, n, out + C);
    }
out:
    encoder_run_free(run);
    mem_free(states);
    return st;
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / fmax(sqrt(aa * bb), 1e-30);
}

/* The least of all; NaN counts as -1. */
static double least_cosine(const float *a, const float *b, size_t rows, size_t C)
{
    double least = 1.0;
    for (size_t r = 0; r < rows; r++) {
        const double c = cosine(a + r * C, b + r * C, C);
        if (!(c >= least)) least = c >= -1.0 ? c : -1.0;
    }
    return least;
}

static enum status round_checked(struct encoder *m, enum kern_precision prec, const char *name, double min_cosine,
                                 const char *backend, float *before, float *after, struct err *e)
{
    TRY(probe_states(m, backend, before, e));
    TRY(encoder_repack(m, prec, e));
    TRY(probe_states(m, backend, after, e));
    m->cosine = least_cosine(before, after, 2 * ENCODER_PROBES, m->shape.C);
    if (m->cosine < min_cosine)
        return ERR_SET(
            e, STATUS_UNSUPPORTED,
            "%s: in kernels.precision=%s a probe sentence has cosine %.6g to f32, kernels.min_cosine asks for "
            "%.6g; use f32 or bf16",
            m->dir, name, m->cosine, min_cosine);
    return STATUS_OK;
}

enum status encoder_round(struct encoder *m, const char *precision, double min_cosine, const char *backend,
                          struct err *e)
{
    const enum kern_precision prec = kern_precision_of(precision);
    if (prec == KERN_F32) return STATUS_OK;
    const size_t floats = 2 * ENCODER_PROBES * m->shape.C;
    float *before = mem_calloc(floats, sizeof *before), *after = mem_calloc(floats, sizeof *after);
    const enum status st = before == NULL || after == NULL
                               ? ERR_SET(e, STATUS_OOM, "%s: no memory for the probe set", m->dir)
                               : round_checked(m, prec, precision, min_cosine, backend, before, after, e);
    mem_free(before);
    mem_free(after);
    if (st == STATUS_OK) m->fingerprint = hash_mix(m->fingerprint, (uint64_t)prec);
    return st;
}

enum status encoder_open_conf(struct encoder **out, struct kern **k, const struct conf *c, struct err *e)
{
    char backend[KERN_NAME_MAX];
    kern_name(c, backend);
    *out = NULL;
    TRY(kern_new(k, backend, e));
    TRY(encoder_open(out, *k, c->model_base, e));
    return encoder_round(*out, c->kernels_precision, c->kernels_min_cosine, backend, e);
}
