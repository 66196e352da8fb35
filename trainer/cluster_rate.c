/* cluster_rate.c - see cluster_rate.h. */
#include "trainer/cluster_rate.h"
#include <math.h>

#define TAIL 0.025

/* The continued fraction of the incomplete beta function (Lentz; Numerical Recipes 6.4), for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    double c = 1.0, d = 1.0 / (1.0 - (a + b) * x / (a + 1.0)), h = d;
    for (int m = 1; m < 100000; m++) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
                     odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0));
        d = 1.0 / (1.0 + even * d);
        c = 1.0 + even / c;
        h *= d * c;
        d = 1.0 / (1.0 + odd * d);
        c = 1.0 + odd / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-12) break;
    }
    return h;
}

/* P(X < x) of the beta distribution, 0 < x < 1. */
static double beta_below(double a, double b, double x)
{
    const double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

/* Where P(X < x) is what, between low and high. */
static double beta_quantile(double a, double b, double what, double low, double high)
{
    while (high - low > 1e-7 * high) {
        const double mid = 0.5 * (low + high);
        if (beta_below(a, b, mid) < what)
            low = mid;
        else
            high = mid;
    }
    return 0.5 * (low + high);
}

void cluster_rate(const struct cluster *c, struct cluster_interval *out)
{
    double n = 0.0;
    cluster_mean(c, out);
    if (isnan(out->se)) return;
    for (int i = 0; i < CLUSTER_BUCKETS; i++) n += c->n[i];
    const double p = out->mean, alone = p * (1.0 - p) / n, few = CLUSTER_Z / cluster_student(out->df);
    const double deff = alone > 0.0 ? fmax(1.0, out->se * out->se / alone) : 1.0;
    const double all = few * few * n / deff, yes = p * all, no = all - yes;
    out->lower = yes > 0.0 ? beta_quantile(yes, no + 1.0, TAIL, 0.0, p) : 0.0;
    out->upper = no > 0.0 ? beta_quantile(yes + 1.0, no, 1.0 - TAIL, p, 1.0) : 1.0;
}

void cluster_rate_difference(const struct cluster *a, const struct cluster *b, struct cluster_interval *out)
{
    struct cluster_interval x, y;
    cluster_rate(a, &x);
    cluster_rate(b, &y);
    out->mean = x.mean - y.mean;
    out->se = hypot(x.se, y.se);
    out->df = fmin(x.df, y.df);
    out->lower = out->mean - hypot(x.mean - x.lower, y.upper - y.mean);
    out->upper = out->mean + hypot(x.upper - x.mean, y.mean - y.lower);
}
