/* cluster.h - a mean and its interval when examples of one user are alike: sums by clusters of users, in fixed memory.
 *
 * Users are put into CLUSTER_BUCKETS clusters by a hash; what is between clusters is the noise that counts.  With y and n
 * summed by cluster, the mean is sum(y)/sum(n), and its variance that of a ratio estimator (Cochran 1977, 6.3; the
 * linearised form of the bucket jackknife):
 *
 *     var = B/(B-1) * sum over b of (y_b - mean*n_b)^2 / (sum n)^2,     B: clusters that have anything
 *
 * Thread: the owner's.
 */
#ifndef TRAINER_CLUSTER_H
#define TRAINER_CLUSTER_H
#include "base/buf.h"
#include "base/str.h"
#include <stdint.h>

#define CLUSTER_BUCKETS 256
#define CLUSTER_Z 1.959963984540054 /* 95 %, both sides */

struct cluster {
    double n[CLUSTER_BUCKETS], y[CLUSTER_BUCKETS];
};
struct cluster_interval { /* NaN where undefined: nothing counted; fewer than two clusters */
    double mean, se, lower, upper;
};
uint64_t cluster_user(struct str user); /* a salted hash: its low bits name the cluster, its high bits may sample */
void cluster_add(struct cluster *c, uint64_t user, double n, double y);
void cluster_mean(const struct cluster *c, struct cluster_interval *out);
/* a's mean less b's, of disjoint users: the variances add up. */
void cluster_difference(const struct cluster *a, const struct cluster *b, struct cluster_interval *out);
void cluster_encode(struct buf *b, const struct cluster *c);
void cluster_decode(struct cluster *c, struct buf_reader *r); /* a number that is not finite marks r bad */
/* P(X > x) of the chi-square distribution with df degrees of freedom: the upper incomplete gamma function (Numerical Recipes
 * 6.2), to 1e-10.  df 0: 1. */
double cluster_chi_square(double x, unsigned df);
#endif
