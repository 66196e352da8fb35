/* ratio.h - are users split as configured?  A test of counts against shares that may be looked at after every user.
 *
 * A Bayes factor: the counts' probability under shares that are themselves drawn from a Dirichlet distribution around the configured
 * ones, over that under these.  Where the split is as configured it is a martingale that begins at 1, so that it ever comes to 1/a with
 * a probability of a at most, whatever the shares and however often one looks (Ville; Lindon and Malek 2022, "Anytime-valid inference
 * for multinomial count data").  A chi-square of one look does not hold that: looked at all the way to 2,000 users at a level of 0.0005
 * it cried for 1.2 % of right splits, and for 4.5 % where an arm has a thousandth.
 *
 * The greatest factor is kept: what was once found stays found.  Fixed memory.  Thread: the owner's.
 */
#ifndef TRAINER_RATIO_H
#define TRAINER_RATIO_H
#include "base/buf.h"
#include "schemas/conf.h"
#include "schemas/conf_variant.h"

#define RATIO_WEIGHT                                                                                                   \
    1000.0 /* users that the configured shares weigh as much as: finds a deviation of 2 of 50 soonest */

struct ratio { /* zeroed: nobody counted */
    uint64_t n[CONF_LINES_MAX];
    double now,
        most; /* logarithms of the factor, and of the greatest that it ever was; infinite: someone in an arm without a share */
};
/* One more user, who is in arm.  shares (CONF_LINES_MAX): as configured, of sum 1. */
void ratio_add(struct ratio *r, const double *shares, size_t arm);
/* Counts of nobody knows what order: the factor is that of their end. */
void ratio_from(struct ratio *r, const double *shares, const uint64_t *n);
/* At most this probability has it, where the split is right, that the factor ever came so high; 1: nothing speaks against it. */
double ratio_p(const struct ratio *r);
#endif
