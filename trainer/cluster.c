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

/* The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5), to 0.001 from 4 degrees of freedom on. */
double cluster_student(double df)
{
    const double z = CLUSTER_Z, z2 = z * z;
    return z + z * (z2 + 1.0) / (4.0 * df) + z * ((5.0 * z2 + 16.0) * z2 + 3.0) / (96.0 * df * df) +
           z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / (384.0 * df * df * df) +
           z * ((((79.0 * z2 + 776.0) * z2 + 1482.0) * z2 - 1920.0) * z2 - 945.0) / (92160.0 * df * df * df * df);
}

void cluster_mean(const struct cluster *c, struct cluster_interval *out)
{
    double n = 0.0, y = 0.0, weights = 0.0, squares = 0.0;
    for (int i = 0; i < CLUSTER_BUCKETS; i++) {
        n += c->n[i];
        y += c->y[i];
        weights += c->n[i] * c->n[i];
    }
    out->mean = n > 0.0 ? y / n : NAN;
    out->df = n > 0.0 ? n * n / weights - 1.0 : NAN;
    out->se = NAN;
    if (out->df >= CLUSTER_LEAST - 1.0) {
        for (int i = 0; i < CLUSTER_BUCKETS; i++) {
            const double d = (c->y[i] - out->mean * c->n[i]) / (1.0 - c->n[i] / n);
            squares += d * d;
        }
        out->se = sqrt(squares) / n;
    }
    const double half = cluster_student(out->df) * out->se;
    out->lower = out->mean - half;
    out->upper = out->mean + half;
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
