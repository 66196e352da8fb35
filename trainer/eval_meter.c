/* eval_meter.c - one set of figures: histogram AUC, per-slate AUC, log-loss, normalised entropy, calibration. */
#include "trainer/eval.h"
#include <math.h>
#include <string.h>

void eval_meter_clear(struct eval_meter *m)
{
    memset(m, 0, sizeof *m);
}

static size_t bin_of(double z)
{
    const double x = (z + EVAL_LOGIT_MAX) * (EVAL_BINS / (2.0 * EVAL_LOGIT_MAX));
    if (!(x > 0.0)) return 0;
    return x >= EVAL_BINS ? EVAL_BINS - 1 : (size_t)x;
}

/* -log of the probability given to the label that came true; stable for any z. */
static double logloss_of(double z, int y)
{
    const double s = y ? -z : z;
    return s > 0.0 ? s + log1p(exp(-s)) : log1p(exp(s));
}

double eval_auc(const float *z, const float *y, const uint8_t *mask, size_t n)
{
    double wins = 0.0, pairs = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (y[i] < 0.5f || (mask != NULL && !mask[i])) continue;
        for (size_t j = 0; j < n; j++) {
            if (y[j] > 0.5f || (mask != NULL && !mask[j])) continue;
            pairs += 1.0;
            wins += z[i] > z[j] ? 1.0 : z[i] == z[j] ? 0.5 : 0.0;
        }
    }
    return pairs > 0.0 ? wins / pairs : NAN;
}

void eval_meter_add(struct eval_meter *m, const float *z, const float *rank, const float *y, const uint8_t *mask,
                    size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (mask != NULL && !mask[i]) continue;
        const int label = y[i] > 0.5f;
        m->bins[label][bin_of((double)z[i])]++;
        m->logloss_sum += logloss_of((double)z[i], label);
        m->predicted_sum += 1.0 / (1.0 + exp(-(double)z[i]));
        m->examples++;
        m->positives += (uint64_t)label;
    }
    const double auc = eval_auc(rank != NULL ? rank : z, y, mask, n);
    if (isnan(auc)) return;
    m->gauc_sum += auc;
    m->gauc_slates++;
}

static double pooled_auc(const struct eval_meter *m)
{
    double below = 0.0, wins = 0.0;
    const double neg = (double)(m->examples - m->positives), pos = (double)m->positives;
    for (size_t i = 0; i < EVAL_BINS; i++) {
        wins += (double)m->bins[1][i] * (below + 0.5 * (double)m->bins[0][i]);
        below += (double)m->bins[0][i];
    }
    return neg > 0.0 && pos > 0.0 ? wins / (neg * pos) : NAN;
}

void eval_meter_figures(const struct eval_meter *m, struct report_figures *out)
{
    const double n = (double)m->examples, pos = (double)m->positives, rate = n > 0.0 ? pos / n : NAN;
    const double entropy = rate > 0.0 && rate < 1.0 ? -(rate * log(rate) + (1.0 - rate) * log(1.0 - rate)) : NAN;
    out->examples = m->examples;
    out->slates = m->gauc_slates;
    out->auc = pooled_auc(m);
    out->gauc = m->gauc_slates ? m->gauc_sum / (double)m->gauc_slates : NAN;
    out->logloss = n > 0.0 ? m->logloss_sum / n : NAN;
    out->ne = out->logloss / entropy;
    out->calibration = pos > 0.0 ? m->predicted_sum / pos : NAN;
}
