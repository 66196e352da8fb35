/* eval_served.c - see eval_served.h. */
#include "trainer/eval_served.h"
#include <math.h>

#define SMALLEST 1e-6
#define PER_DECADE 8.0

static size_t bin_of(double x)
{
    const double at = x > SMALLEST ? PER_DECADE * log10(x / SMALLEST) + 1.0 : 0.0;
    return at >= EVAL_SKEW_BINS ? EVAL_SKEW_BINS - 1 : (size_t)at;
}

/* The upper edge of the bin that holds this share of the items. */
static double quantile(const struct eval_served *v, double share)
{
    uint64_t sum = 0;
    if (v->items == 0) return NAN;
    for (size_t i = 0; i < EVAL_SKEW_BINS; i++) {
        sum += v->bins[i];
        if ((double)sum >= share * (double)v->items) return fmin(v->most, SMALLEST * pow(10.0, (double)i / PER_DECADE));
    }
    return v->most;
}

static void add_skew(struct eval_served *v, double d)
{
    v->items++;
    v->sum += d;
    v->squares += d * d;
    v->bins[bin_of(fabs(d))]++;
    if (fabs(d) > v->most) v->most = fabs(d);
}

void eval_served_add(struct eval_served *v, const struct slate *s, const struct eval_terms *t,
                     const struct eval_served_room *room)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const double p = fmin(fmax((double)s->items[i].served, 1e-7), 1.0 - 1e-7);
        room->mask[i] = s->items[i].served > 0.0f;
        room->z[i] = (float)log(p / (1.0 - p));
        if (!room->mask[i]) continue;
        n++;
        add_skew(v, (double)t->z[i] - (double)room->z[i]);
    }
    if (n == 0) return;
    struct eval_terms shown = {.z = room->z, .y = t->y, .terms = room->terms, .n = t->n};
    eval_terms_fill(&shown);
    v->lists++;
    eval_light_add(&v->served, &shown, room->mask, 1.0);
    eval_light_add(&v->learner, t, room->mask, 1.0);
}

void eval_served_report(const struct eval_served *v, struct report_detail *out)
{
    const double n = (double)v->items, mean = v->items > 0 ? v->sum / n : NAN;
    eval_light_figures(&v->served, &out->served);
    eval_light_figures(&v->learner, &out->served_learner);
    out->served_lists = v->lists;
    out->skew_mean = mean;
    out->skew_deviation = v->items > 0 ? sqrt(fmax(0.0, v->squares / n - mean * mean)) : NAN;
    out->skew_p50 = quantile(v, 0.5);
    out->skew_p99 = quantile(v, 0.99);
    out->skew_most = v->items > 0 ? v->most : NAN;
}

void eval_served_encode(struct buf *b, const struct eval_served *v)
{
    eval_light_encode(b, &v->served);
    eval_light_encode(b, &v->learner);
    for (int i = 0; i < EVAL_SKEW_BINS; i++) buf_varint(b, v->bins[i]);
    buf_f64(b, v->sum);
    buf_f64(b, v->squares);
    buf_f64(b, v->most);
    buf_varint(b, v->lists);
    buf_varint(b, v->items);
}

void eval_served_decode(struct eval_served *v, struct buf_reader *r)
{
    eval_light_decode(&v->served, r);
    eval_light_decode(&v->learner, r);
    for (int i = 0; i < EVAL_SKEW_BINS; i++) v->bins[i] = buf_get_varint(r);
    v->sum = buf_get_f64(r);
    v->squares = buf_get_f64(r);
    v->most = buf_get_f64(r);
    v->lists = buf_get_varint(r);
    v->items = buf_get_varint(r);
}
