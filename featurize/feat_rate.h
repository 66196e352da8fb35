/* feat_rate.h - shrunk rates: how often something is taken when it is shown, against all items, in log-odds.
 *
 *   r(c, n, p) = (c + kappa p) / (n + kappa)      rate = log-odds r - log-odds of all items' rate
 *
 * c taken of n shown, only recorded impressions, both counted when the list was settled and decayed alike; p is the parent's rate: of
 * an item its category's, else its brand's, else that of all; of all others that of all.  Nothing shown, nor of the parent: 0.
 */
#ifndef FEATURIZE_FEAT_RATE_H
#define FEATURIZE_FEAT_RATE_H
#include "featurize/feat_private.h"

#define FEAT_RATE_KAPPA 20 /* impressions that the parent counts for, unless the feature's name says */

double feat_rate_item(const struct feat_view *v, double kappa); /* v->item not NULL */
double feat_rate_group(const struct feat_view *v, enum record_rate_kind group, double kappa);
double feat_rate_user(const struct feat_view *v, double kappa); /* v->user not NULL */
#endif
