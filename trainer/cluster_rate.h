/* cluster_rate.h - the interval of a share of examples, and of the difference of two, when few of them are positive.
 *
 * Of rare events the jackknife sees little: where nothing was taken yet its variance is 0, which is no certainty.  Here a share is a
 * binomial one of as many examples as there are effective ones, n / max(1, deff), deff the jackknife's variance over that of single
 * examples, fewer still where clusters are few (by the square of the normal quantile over Student's); the interval is the exact one
 * of Clopper and Pearson (1934) (Korn and Graubard 1998).  Differences are put together of both intervals' arms (Newcombe 1998;
 * Zou and Donner 2008).  For many positives all this is cluster_mean's.
 *
 * Of means that are no shares (losses, their differences) cluster_mean knows all there is to know.  Thread: any.
 */
#ifndef TRAINER_CLUSTER_RATE_H
#define TRAINER_CLUSTER_RATE_H
#include "trainer/cluster.h"

/* c: 0 <= y <= n.  As cluster_mean, but for lower and upper: within 0 and 1, and apart, whatever was taken. */
void cluster_rate(const struct cluster *c, struct cluster_interval *out);
/* a's share less b's, of disjoint users. */
void cluster_rate_difference(const struct cluster *a, const struct cluster *b, struct cluster_interval *out);
#endif
