/* eval_meter.c - one set of figures: histogram AUC, per-slate AUC, log-loss, normalised entropy, calibration. */
#include "trainer/eval.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define AUC_BLOCK 256

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

/* What one logit adds to a meter: computed once for all meters that count it, and for equal logits in a row. */
struct term {
    float z;
    size_t bin;
    double softplus; /* log(1 + exp(-|z|)) */
    double p;
};

static struct term term_of(float z)
{
    return (struct term){z, bin_of((double)z), log1p(exp(-fabs((double)z))), 1.0 / (1.0 + exp(-(double)z))};
}

static void add(struct eval_meter *m, const struct term *t, int label)
{
    const double s = label ? -(double)t->z : (double)t->z;
    m->bins[label][t->bin]++;
    m->logloss_sum += s > 0.0 ? s + t->softplus : t->softplus; /* stable for any z */
    m->predicted_sum += t->p;
    m->examples++;
    m->positives += (uint64_t)label;
}

/* Pairs with the negatives of one block: small enough for the first cache, long enough for the compiler's vectors. */
static void count_block(const float *z, const float *y, const uint8_t *mask, size_t n, const float *negative,
                        uint32_t n_negative, uint64_t *pairs, uint64_t *halves)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t more = 0, same = 0;
        if (y[i] < 0.5f || (mask != NULL && !mask[i])) continue;
        for (uint32_t k = 0; k < n_negative; k++) {
            more += z[i] > negative[k];
            same += z[i] == negative[k];
        }
        *pairs += n_negative;
        *halves += 2 * (uint64_t)more + same;
    }
}

double eval_auc(const float *z, const float *y, const uint8_t *mask, size_t n)
{
    uint64_t pairs = 0, halves = 0;
    float negative[AUC_BLOCK];
    for (size_t j = 0; j < n;) {
        uint32_t n_negative = 0;
        for (; j < n && n_negative < AUC_BLOCK; j++)
            if (!(y[j] > 0.5f) && (mask == NULL || mask[j])) negative[n_negative++] = z[j];
        count_block(z, y, mask, n, negative, n_negative, &pairs, &halves);
    }
    return pairs > 0 ? 0.5 * (double)halves / (double)pairs : NAN;
}

static void add_auc(struct eval_meter *m, double auc)
{
    if (isnan(auc)) return;
    m->gauc_sum += auc;
    m->gauc_slates++;
}

void eval_meters_add(const struct eval_meter_mask *meters, size_t n_meters, const float *z, const float *rank,
                     const float *y, size_t n)
{
    struct term t = term_of(0.0f);
    double all = NAN; /* AUC of the whole slate, for those that count all of it */
    bool known = false;
    for (size_t i = 0; i < n; i++) {
        if (z[i] != t.z) t = term_of(z[i]);
        for (size_t k = 0; k < n_meters; k++)
            if (meters[k].mask == NULL || meters[k].mask[i]) add(meters[k].meter, &t, y[i] > 0.5f);
    }
    for (size_t k = 0; k < n_meters; k++) {
        if (meters[k].mask != NULL) {
            add_auc(meters[k].meter, eval_auc(rank != NULL ? rank : z, y, meters[k].mask, n));
            continue;
        }
        if (!known) all = eval_auc(rank != NULL ? rank : z, y, NULL, n);
        known = true;
        add_auc(meters[k].meter, all);
    }
}

void eval_meter_add(struct eval_meter *m, const float *z, const float *rank, const float *y, const uint8_t *mask,
                    size_t n)
{
    eval_meters_add(&(struct eval_meter_mask){m, mask}, 1, z, rank, y, n);
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
