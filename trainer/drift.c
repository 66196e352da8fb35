/* drift.c - see drift.h. */
#include "trainer/drift.h"
#include <math.h>

static double clip(double x, double most)
{
    return x > most ? most : x < -most ? -most : x;
}

/* One step of mean and spread towards x; the first buckets are a plain average. */
static void learn(struct drift *d, double residual, double noise, double pace)
{
    const double n = (double)d->buckets + 1.0, a = 1.0 / (n < DRIFT_HORIZON ? n : DRIFT_HORIZON);
    const double beyond = residual * residual * (1.0 - a) - noise;
    d->spread += a * ((beyond > 0.0 ? beyond : 0.0) - d->spread);
    d->mean += fmax(a, pace) * residual;
    d->buckets++;
}

/* One side of the test; true: alarm. */
static bool accumulate(struct drift *d, int side, double z, double residual, double shift)
{
    const double sum = d->sum[side] + z - DRIFT_ALLOWANCE;
    d->sum[side] = sum < 0.0 ? 0.0 : sum > 2.0 * DRIFT_THRESHOLD ? 2.0 * DRIFT_THRESHOLD : sum;
    if (sum <= 0.0) {
        d->run[side] = 0;
        d->residual[side] = 0.0;
        return false;
    }
    const double n = (double)++d->run[side];
    d->residual[side] += (residual - d->residual[side]) / (n < DRIFT_NEWEST ? n : DRIFT_NEWEST);
    return sum > DRIFT_THRESHOLD && d->residual[side] > shift;
}

static void quiet(struct drift *d)
{
    for (int side = 0; side < 2; side++) {
        d->sum[side] = d->residual[side] = 0.0;
        d->run[side] = 0;
    }
    d->calm = d->outs = 0;
    d->out = false;
}

static enum drift_change add_outside(struct drift *d, double residual, double shift)
{
    d->outs++;
    d->calm = fabs(residual) <= 0.5 * fmax(shift, DRIFT_USUAL * sqrt(d->spread)) ? d->calm + 1 : 0;
    if (d->calm < DRIFT_CALM) return DRIFT_NONE;
    quiet(d);
    return DRIFT_BACK;
}

enum drift_change drift_add(struct drift *d, double x, double noise, double shift, uint32_t warmup, double pace)
{
    if (!isfinite(x) || !isfinite(noise) || noise < 0.0) return DRIFT_NONE;
    const double residual = d->buckets == 0 ? 0.0 : x - d->mean;
    if (d->buckets == 0) d->mean = x;
    if (d->out) return add_outside(d, residual, shift);
    const double s = sqrt(noise + d->spread), least = fmax(shift, DRIFT_USUAL * sqrt(d->spread));
    if (d->buckets >= warmup && s > 0.0) {
        const double z = clip(residual / s, DRIFT_CLIP);
        const bool up = accumulate(d, 0, z, residual, least), down = accumulate(d, 1, -z, -residual, least);
        d->out = up || down;
    }
    if (d->out) return DRIFT_ALARM;
    /* what is tolerated is taken in whole, what is not only as far as a wild bucket may go */
    const double most = fmax(DRIFT_CLIP * s, 0.5 * shift);
    learn(d, d->buckets < warmup ? residual : clip(residual, most), noise,
          fabs(residual) <= least ? pace : 0.0);
    return DRIFT_NONE;
}

void drift_excuse(struct drift *d)
{
    quiet(d);
}

void drift_adopt(struct drift *d)
{
    *d = (struct drift){0};
}

void drift_encode(struct buf *b, const struct drift *d)
{
    buf_f64(b, d->mean);
    buf_f64(b, d->spread);
    for (int side = 0; side < 2; side++) {
        buf_f64(b, d->sum[side]);
        buf_f64(b, d->residual[side]);
        buf_varint(b, d->run[side]);
    }
    buf_varint(b, d->buckets);
    buf_varint(b, d->calm);
    buf_varint(b, d->outs);
    buf_u8(b, d->out);
}

static double finite_at_least(struct buf_reader *r, double least)
{
    const double x = buf_get_f64(r);
    if (isfinite(x) && x >= least) return x;
    r->bad = true;
    return 0.0;
}

void drift_decode(struct drift *d, struct buf_reader *r)
{
    *d = (struct drift){0};
    d->mean = finite_at_least(r, -HUGE_VAL);
    d->spread = finite_at_least(r, 0.0);
    for (int side = 0; side < 2; side++) {
        d->sum[side] = finite_at_least(r, 0.0);
        d->residual[side] = finite_at_least(r, -HUGE_VAL);
        d->run[side] = (uint32_t)buf_get_varint(r);
    }
    d->buckets = (uint32_t)buf_get_varint(r);
    d->calm = (uint32_t)buf_get_varint(r);
    d->outs = (uint32_t)buf_get_varint(r);
    d->out = buf_get_u8(r) != 0;
}
