/* cluster.c - see cluster.h. */
#include "trainer/cluster.h"
#include "base/hash.h"
#include <math.h>

#define USER_SALT UINT64_C(0x636c757374657273) /* "clusters" */

uint64_t cluster_user(struct str user)
{
    return hash_seeded(user.p != NULL ? user.p : "", user.n, USER_SALT);
}

void cluster_add(struct cluster *c, uint64_t user, double n, double y)
{
    c->n[user % CLUSTER_BUCKETS] += n;
    c->y[user % CLUSTER_BUCKETS] += y;
}

static void bounds(struct cluster_interval *x)
{
    x->lower = x->mean - CLUSTER_Z * x->se;
    x->upper = x->mean + CLUSTER_Z * x->se;
}

void cluster_mean(const struct cluster *c, struct cluster_interval *out)
{
    double n = 0.0, y = 0.0, squares = 0.0, used = 0.0;
    for (int i = 0; i < CLUSTER_BUCKETS; i++) {
        n += c->n[i];
        y += c->y[i];
        used += c->n[i] > 0.0;
    }
    out->mean = n > 0.0 ? y / n : NAN;
    for (int i = 0; i < CLUSTER_BUCKETS; i++) {
        const double d = c->y[i] - out->mean * c->n[i];
        squares += d * d;
    }
    out->se = used > 1.0 ? sqrt(squares * used / (used - 1.0)) / n : NAN;
    bounds(out);
}

void cluster_difference(const struct cluster *a, const struct cluster *b, struct cluster_interval *out)
{
    struct cluster_interval x, y;
    cluster_mean(a, &x);
    cluster_mean(b, &y);
    out->mean = x.mean - y.mean;
    out->se = sqrt(x.se * x.se + y.se * y.se);
    bounds(out);
}

void cluster_encode(struct buf *b, const struct cluster *c)
{
    for (int i = 0; i < CLUSTER_BUCKETS; i++) {
        buf_f64(b, c->n[i]);
        buf_f64(b, c->y[i]);
    }
}

void cluster_decode(struct cluster *c, struct buf_reader *r)
{
    for (int i = 0; i < CLUSTER_BUCKETS; i++) {
        c->n[i] = buf_get_f64(r);
        c->y[i] = buf_get_f64(r);
        if (!isfinite(c->n[i]) || !isfinite(c->y[i])) r->bad = true;
    }
}

/* ---- chi-square ---- */

/* The lower function by its series, for x < a + 1. */
static double gamma_series(double a, double x)
{
    double term = 1.0 / a, sum = term;
    for (double k = a + 1.0; fabs(term) > fabs(sum) * 1e-15; k += 1.0) {
        term *= x / k;
        sum += term;
    }
    return sum * exp(-x + a * log(x) - lgamma(a));
}

/* The upper one by its continued fraction (Lentz), elsewhere. */
static double gamma_fraction(double a, double x)
{
    double b = x + 1.0 - a, c = 1e300, d = 1.0 / b, h = d;
    for (int i = 1; i < 10000; i++) {
        const double an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-15) break;
    }
    return h * exp(-x + a * log(x) - lgamma(a));
}

double cluster_chi_square(double x, unsigned df)
{
    const double a = 0.5 * df, half = 0.5 * x;
    if (df == 0 || !(x > 0.0)) return 1.0;
    return half < a + 1.0 ? 1.0 - gamma_series(a, half) : gamma_fraction(a, half);
}
