/* eval_skew.c - see eval_skew.h. */
#include "trainer/eval_skew.h"
#include <math.h>

#define SMALLEST 1e-6
#define PER_DECADE 8.0

static size_t bin_of(double x)
{
    const double at = x > SMALLEST ? PER_DECADE * log10(x / SMALLEST) + 1.0 : 0.0;
    return at >= EVAL_SKEW_BINS ? EVAL_SKEW_BINS - 1 : (size_t)at;
}

/* The upper edge of the bin that holds this share of the items. */
static double quantile(const struct eval_skew *v, double share)
{
    uint64_t sum = 0;
    if (v->items == 0) return NAN;
    for (size_t i = 0; i < EVAL_SKEW_BINS; i++) {
        sum += v->bins[i];
        if ((double)sum >= share * (double)v->items) return fmin(v->most, SMALLEST * pow(10.0, (double)i / PER_DECADE));
    }
    return v->most;
}

void eval_skew_add(struct eval_skew *v, double d)
{
    v->items++;
    v->sum += d;
    v->squares += d * d;
    v->bins[bin_of(fabs(d))]++;
    if (fabs(d) > v->most) v->most = fabs(d);
}

void eval_skew_report(const struct eval_skew *v, struct report_skew *out)
{
    const double n = (double)v->items, mean = v->items > 0 ? v->sum / n : NAN;
    out->items = v->items;
    out->mean = mean;
    out->deviation = v->items > 0 ? sqrt(fmax(0.0, v->squares / n - mean * mean)) : NAN;
    out->p50 = quantile(v, 0.5);
    out->p99 = quantile(v, 0.99);
    out->most = v->items > 0 ? v->most : NAN;
}

void eval_skew_encode(struct buf *b, const struct eval_skew *v)
{
    for (int i = 0; i < EVAL_SKEW_BINS; i++) buf_varint(b, v->bins[i]);
    buf_f64(b, v->sum);
    buf_f64(b, v->squares);
    buf_f64(b, v->most);
}

void eval_skew_decode(struct eval_skew *v, struct buf_reader *r)
{
    v->items = 0;
    for (int i = 0; i < EVAL_SKEW_BINS; i++) v->items += v->bins[i] = buf_get_varint(r);
    v->sum = buf_get_f64(r);
    v->squares = buf_get_f64(r);
    v->most = buf_get_f64(r);
}
