/* filter.h - the best reachable prediction: a Bayesian filter that knows how the shop was made and sees what a learner
 * sees (lists, items' words, clicks inside the window, in time), but not the hidden tastes and qualities.
 *
 * Logit = bias + taste · words + quality with Gaussian priors: per user a mean and full covariance over words, per item a
 * mean and variance of its quality; a settled label is one step of online Bayesian logistic regression (the Laplace
 * approximation; Spiegelhalter and Lauritzen 1990), drift is the known forgetting.  Scores are the predictive probability
 * (MacKay's approximation).
 */
#ifndef SIMULATE_FILTER_H
#define SIMULATE_FILTER_H
#include "simulate/shop.h"

struct filter;
enum status filter_new(struct filter **out, const struct shop_options *o, const struct shop *s,
                       struct err *e) MUST_CHECK;
void filter_free(struct filter *f);
/* l->n logits, at the list's time.  OOM: a user seen for the first time. */
enum status filter_score(struct filter *f, const struct shop_list *l, double *logit, struct err *e) MUST_CHECK;
void filter_learn(struct filter *f, const struct shop_list *l); /* once its window has ended; it was scored before */
#endif
