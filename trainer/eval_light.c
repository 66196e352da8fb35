/* eval_light.c - see eval_light.h. */
#include "trainer/eval_light.h"
#include "base/auc.h"
#include "trainer/eval.h"
#include "trainer/eval_loss.h"
#include <math.h>
#include <string.h>

void eval_figures(const struct eval_sums *s, struct report_figures *out)
{
    const double n = s->examples, rate = n > 0.0 ? s->positives / n : NAN;
    const double entropy = rate > 0.0 && rate < 1.0 ? -(rate * log(rate) + (1.0 - rate) * log(1.0 - rate)) : NAN;
    out->examples = (uint64_t)llround(n);
    out->positives = (uint64_t)llround(s->positives);
    out->slates = (uint64_t)llround(s->gauc_slates);
    out->auc = s->auc;
    out->gauc = s->gauc_slates > 0.0 ? s->gauc_sum / s->gauc_slates : NAN;
    out->logloss = n > 0.0 ? s->logloss_sum / n : NAN;
    out->ne = out->logloss / entropy;
    out->calibration = s->positives > 0.0 ? s->predicted_sum / s->positives : NAN;
}

void eval_terms_fill(struct eval_terms *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const double z = (double)t->z[i];
        const uint8_t label = t->y[i] > 0.5f;
        t->terms[i] = (struct eval_term){.loss = eval_log_loss(z, label),
                                         .p = 1.0 / (1.0 + exp(-z)),
                                         .bin = (uint16_t)auc_bin(z, EVAL_LIGHT_BINS, EVAL_LIGHT_LOGIT_MAX),
                                         .label = label};
    }
    t->auc = eval_auc(t->z, t->y, NULL, t->n);
}

void eval_light_add(struct eval_light *m, const struct eval_terms *t, const uint8_t *mask, double weight)
{
    const double auc = mask != NULL ? eval_auc(t->z, t->y, mask, t->n) : t->auc;
    for (size_t i = 0; i < t->n; i++) {
        const struct eval_term *x = &t->terms[i];
        if (mask != NULL && !mask[i]) continue;
        m->bins[x->label][x->bin] += weight;
        m->logloss_sum += weight * x->loss;
        m->predicted_sum += weight * x->p;
        m->examples += weight;
        m->positives += x->label ? weight : 0.0;
    }
    if (isnan(auc)) return;
    m->gauc_sum += weight * auc;
    m->gauc_slates += weight;
}

/* All of it is doubles. */
#define DOUBLES (sizeof(struct eval_light) / sizeof(double))
static double *doubles_of(struct eval_light *m)
{
    return (double *)(void *)m;
}

static const double *doubles_in(const struct eval_light *m)
{
    return (const double *)(const void *)m;
}

void eval_light_merge(struct eval_light *into, const struct eval_light *from)
{
    double *x = doubles_of(into);
    const double *y = doubles_in(from);
    for (size_t i = 0; i < DOUBLES; i++) x[i] += y[i];
}

void eval_light_scale(struct eval_light *m, double factor)
{
    double *x = doubles_of(m);
    for (size_t i = 0; i < DOUBLES; i++) x[i] *= factor;
}

void eval_light_figures(const struct eval_light *m, struct report_figures *out)
{
    struct auc_sweep area = {0};
    for (size_t i = 0; i < EVAL_LIGHT_BINS; i++) auc_sweep(&area, m->bins[0][i], m->bins[1][i]);
    const struct eval_sums s = {m->gauc_sum, m->gauc_slates, m->logloss_sum,  m->predicted_sum,
                                m->examples, m->positives,   auc_swept(&area)};
    eval_figures(&s, out);
}

/* Runs of zeros as their length, what stands between as it is. */
void eval_light_encode(struct buf *b, const struct eval_light *m)
{
    const double *x = doubles_in(m);
    for (size_t i = 0; i < DOUBLES;) {
        size_t zeros = 0, n = 0;
        while (i + zeros < DOUBLES && memcmp(&x[i + zeros], &(double){0}, sizeof *x) == 0) zeros++;
        while (i + zeros + n < DOUBLES && memcmp(&x[i + zeros + n], &(double){0}, sizeof *x) != 0) n++;
        buf_varint(b, zeros);
        buf_varint(b, n);
        for (size_t k = 0; k < n; k++) buf_f64(b, x[i + zeros + k]);
        i += zeros + n;
    }
}

void eval_light_decode(struct eval_light *m, struct buf_reader *r)
{
    double *x = doubles_of(m);
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < DOUBLES && !r->bad;) {
        const uint64_t zeros = buf_get_varint(r), n = buf_get_varint(r);
        r->bad = r->bad || zeros > DOUBLES - i || n > DOUBLES - i - zeros || zeros + n == 0;
        for (uint64_t k = 0; k < n && !r->bad; k++) x[i + zeros + k] = buf_get_f64(r);
        i += zeros + n;
    }
}
