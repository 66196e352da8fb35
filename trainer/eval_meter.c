/* eval_meter.c - one set of figures: histogram AUC, per-slate AUC, log-loss, normalised entropy, calibration. */
#include "base/auc.h"
#include "trainer/eval.h"
#include "trainer/eval_light.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define AUC_BLOCK 256

void eval_meter_clear(struct eval_meter *m)
{
    memset(m, 0, sizeof *m);
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
    return (struct term){z, auc_bin((double)z, EVAL_BINS, EVAL_LOGIT_MAX), log1p(exp(-fabs((double)z))),
                         1.0 / (1.0 + exp(-(double)z))};
}

static double loss_of(const struct term *t, int label)
{
    const double s = label ? -(double)t->z : (double)t->z;
    return s > 0.0 ? s + t->softplus : t->softplus; /* stable for any z */
}

static void add(struct eval_meter *m, const struct term *t, int label, double loss)
{
    m->bins[label][t->bin]++;
    m->logloss_sum += loss;
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

struct eval_added eval_meters_add(const struct eval_meter_mask *meters, size_t n_meters, const float *z,
                                  const float *rank, const float *y, size_t n)
{
    struct term t = term_of(0.0f);
    const float *order = rank != NULL ? rank : z;
    struct eval_added all = {eval_auc(order, y, NULL, n), 0.0};
    for (size_t i = 0; i < n; i++) {
        const int label = y[i] > 0.5f;
        if (z[i] != t.z) t = term_of(z[i]);
        const double loss = loss_of(&t, label);
        all.loss += loss;
        for (size_t k = 0; k < n_meters; k++)
            if (meters[k].mask == NULL || meters[k].mask[i]) add(meters[k].meter, &t, label, loss);
    }
    for (size_t k = 0; k < n_meters; k++)
        add_auc(meters[k].meter, meters[k].mask != NULL ? eval_auc(order, y, meters[k].mask, n) : all.auc);
    return all;
}

void eval_meter_add(struct eval_meter *m, const float *z, const float *rank, const float *y, const uint8_t *mask,
                    size_t n)
{
    (void)eval_meters_add(&(struct eval_meter_mask){m, mask}, 1, z, rank, y, n);
}

static double pooled_auc(const struct eval_meter *m)
{
    struct auc_sweep s = {0};
    for (size_t i = 0; i < EVAL_BINS; i++) auc_sweep(&s, (double)m->bins[0][i], (double)m->bins[1][i]);
    return auc_swept(&s);
}

void eval_meter_figures(const struct eval_meter *m, struct report_figures *out)
{
    const struct eval_sums s = {m->gauc_sum,         (double)m->gauc_slates, m->logloss_sum, m->predicted_sum,
                                (double)m->examples, (double)m->positives,   pooled_auc(m)};
    eval_figures(&s, out);
}

/* A share of 95 %: (Wilson 1927). */
static void wilson(struct report_reliability *b, double positives)
{
    const double n = (double)b->examples, z = 1.96, p = positives / n, d = 1.0 + z * z / n;
    const double mid = (p + z * z / (2.0 * n)) / d, half = z * sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n)) / d;
    b->observed = p;
    b->low = mid - half;
    b->high = mid + half;
}

uint32_t eval_meter_reliability(const struct eval_meter *m, struct report_reliability out[REPORT_RELIABILITY],
                                double *error)
{
    double positives = 0.0, predicted = 0.0, n = 0.0, sum = 0.0;
    uint64_t before = 0;
    uint32_t used = 0;
    *error = m->examples > 0 ? 0.0 : NAN;
    for (size_t i = 0; i < EVAL_BINS && m->examples > 0; i++) {
        const uint64_t here = m->bins[0][i] + m->bins[1][i];
        const double z = ((double)i + 0.5) * (2.0 * EVAL_LOGIT_MAX / EVAL_BINS) - EVAL_LOGIT_MAX;
        const uint64_t part = REPORT_RELIABILITY * before / m->examples;
        n += (double)here;
        predicted += (double)here / (1.0 + exp(-z));
        positives += (double)m->bins[1][i];
        before += here;
        if (REPORT_RELIABILITY * before / m->examples == part || here == 0) continue;
        out[used] = (struct report_reliability){.predicted = predicted / n, .examples = (uint64_t)n};
        wilson(&out[used++], positives);
        sum += fabs(predicted - positives);
        n = positives = predicted = 0.0;
    }
    if (m->examples > 0) *error = sum / (double)m->examples;
    return used;
}
