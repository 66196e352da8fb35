/* cluster.h - a mean and its interval when examples of one user are alike: sums by clusters of users, in fixed memory.
 *
 * Users are put into CLUSTER_BUCKETS clusters by a hash; what is between clusters is the noise that counts.  With y and n
 * summed by cluster, the mean is sum(y)/sum(n), and its variance that of the jackknife, which leaves out one cluster at a time
 * (CR3 of Bell and McCaffrey 2002; Cameron and Miller 2015, VI):
 *
 *     var = sum over b of ((y_b - mean*n_b) / (1 - h_b))^2 / (sum n)^2,     h_b = n_b / sum n
 *
 * A cluster with much of the weight draws the mean towards itself: 1 - h_b makes up for it.  The interval is of Student's t with
 * one less degree of freedom than there are effective clusters, (sum n)^2 / sum n^2 (what Carter, Schnepel and Steigerwald 2017
 * come to where a cluster's examples are as good as one).  A share of few positives has an interval of its own: cluster_rate.h.
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
#define CLUSTER_LEAST 5             /* effective clusters; of fewer an interval holds only by luck */

struct cluster {
    double n[CLUSTER_BUCKETS], y[CLUSTER_BUCKETS];
};
struct cluster_interval { /* NaN where undefined: nothing counted; all but mean and df: too few effective clusters */
    double mean, se, lower, upper, df;
};
uint64_t cluster_user(struct str user); /* a salted hash: its low bits name the cluster, its high bits may sample */
void cluster_add(struct cluster *c, uint64_t user, double n, double y);
void cluster_mean(const struct cluster *c, struct cluster_interval *out);
double cluster_student(double df); /* the 97.5 % quantile of Student's t */
void cluster_encode(struct buf *b, const struct cluster *c);
void cluster_decode(struct cluster *c, struct buf_reader *r); /* a number that is not finite marks r bad */
#endif
