/* auc.h - area under the ROC curve of many logits in fixed memory: two histograms, one a label; logits in one bin are ties.
 *
 * The caller owns the histograms (counts or weights); here are the bin of a logit, and the sweep over the bins that makes
 * the area of them: the share of pairs (positive, negative) in which the positive lies higher, ties half (Hanley and McNeil
 * 1982).  With bins of width w the error is at most half the share of pairs that lie within w of each other.  Thread: any.
 */
#ifndef BASE_AUC_H
#define BASE_AUC_H
#include <stddef.h>

/* Which of n_bins equal bins over [-max, max] holds z; what lies beyond is in the first or last, NaN in the first. */
static inline size_t auc_bin(double z, size_t n_bins, double max)
{
    const double x = (z + max) * ((double)n_bins / (2.0 * max));
    if (!(x > 0.0)) return 0;
    return x >= (double)n_bins ? n_bins - 1 : (size_t)x;
}

struct auc_sweep { /* zeroed: nothing yet */
    double negatives, positives, wins;
};
/* The next bin, from the lowest up. */
static inline void auc_sweep(struct auc_sweep *s, double negatives, double positives)
{
    s->wins += positives * (s->negatives + 0.5 * negatives);
    s->negatives += negatives;
    s->positives += positives;
}
double auc_swept(const struct auc_sweep *s); /* NaN without both labels */
#endif
