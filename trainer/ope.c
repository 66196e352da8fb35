/* ope.c - see ope.h. */
#include "trainer/ope.h"
#include "model/policy.h"
#include <math.h>

#define WHOLE 0.9999 /* the last of a whole list is certain; propensities are echoed with seven digits or so */

static bool explored(const struct slate *s)
{
    bool all = s->source == SLATE_IMPRESSION && s->n_items >= 2 && s->n_items <= EVENT_ITEMS_MAX;
    for (uint32_t i = 0; i < s->n_items && all; i++) all = s->items[i].propensity > 0.0f;
    return all;
}

/* What a list adds: logged, IPS and DR values, the sum of its weights by position, the weight of all of it. */
struct values {
    double logged, ips, dr, weights, whole;
};

static struct values values_of(const struct slate *s, const float *logits, double temperature)
{
    double target[EVENT_ITEMS_MAX], expected = 0.0, left[EVENT_ITEMS_MAX], w = 1.0;
    struct values v = {0};
    const uint32_t n = s->n_items;
    policy_propensities(logits, n, -INFINITY, temperature, target);
    for (uint32_t i = n; i-- > 0;) { /* E[q] of who is next, among those left at i */
        const double q = 1.0 / (1.0 + exp(-(double)logits[i]));
        expected = target[i] * q + (1.0 - target[i]) * expected;
        left[i] = expected;
    }
    for (uint32_t i = 0; i < n; i++) {
        const double d = 1.0 / log2(2.0 + i), r = s->items[i].label > 0.5f, before = w;
        w *= target[i] / (double)s->items[i].propensity;
        v.logged += d * r;
        v.ips += d * w * r;
        v.dr += d * (w * (r - 1.0 / (1.0 + exp(-(double)logits[i]))) + before * left[i]);
        v.weights += w;
    }
    v.whole = w;
    return v;
}

void ope_list(struct ope *o, const struct slate *s, const float *logits, double temperature)
{
    if (!explored(s)) return;
    if (s->items[s->n_items - 1].propensity < (float)WHOLE) {
        o->partial++;
        return;
    }
    const uint64_t user = cluster_user(str_has(s->user) ? s->user : s->request);
    const struct values v = values_of(s, logits, temperature);
    if (!isfinite(v.ips) || !isfinite(v.dr)) return; /* nobody predicted */
    o->lists++;
    o->weight += v.whole;
    o->weight_squares += v.whole * v.whole;
    cluster_add(&o->logged, user, 1.0, v.logged);
    cluster_add(&o->ips, user, 1.0, v.ips);
    cluster_add(&o->snips, user, v.weights / s->n_items, v.ips);
    cluster_add(&o->dr, user, 1.0, v.dr);
}

static struct report_interval interval(const struct cluster *c)
{
    struct cluster_interval x;
    cluster_mean(c, &x);
    if (!(x.se > 0.0)) x.lower = x.upper = NAN; /* where nothing was taken yet, nobody knows how much it could be */
    return (struct report_interval){x.mean, x.lower, x.upper};
}

void ope_report(const struct ope *o, struct report_ope *out)
{
    out->lists = o->lists;
    out->partial = o->partial;
    out->effective = o->weight_squares > 0.0 ? o->weight * o->weight / o->weight_squares : 0.0;
    out->logged = interval(&o->logged);
    out->ips = interval(&o->ips);
    out->snips = interval(&o->snips);
    out->dr = interval(&o->dr);
}

void ope_encode(struct buf *b, const struct ope *o)
{
    buf_u64(b, o->lists);
    buf_u64(b, o->partial);
    buf_f64(b, o->weight);
    buf_f64(b, o->weight_squares);
    if (o->lists == 0) return; /* most have none */
    cluster_encode(b, &o->logged);
    cluster_encode(b, &o->ips);
    cluster_encode(b, &o->snips);
    cluster_encode(b, &o->dr);
}

enum status ope_decode(struct ope *o, struct buf_reader *r, struct err *e)
{
    o->lists = buf_get_u64(r);
    o->partial = buf_get_u64(r);
    o->weight = buf_get_f64(r);
    o->weight_squares = buf_get_f64(r);
    if (o->lists > 0) {
        cluster_decode(&o->logged, r);
        cluster_decode(&o->ips, r);
        cluster_decode(&o->snips, r);
        cluster_decode(&o->dr, r);
    }
    return r->bad ? ERR_SET(e, STATUS_CORRUPT, "off-policy estimates are cut short") : STATUS_OK;
}
