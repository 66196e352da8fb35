/* spike.h - is a batch's loss beyond all that was usual?  A running median and a running deviation from it.
 *
 * The median is followed by stochastic steps, and what is beyond the bound moves the deviation as what is at it: outliers hardly
 * move either, while a lasting change does within some batches.  The deviation is a root mean square, so however rare
 * they are, positives are part of what is usual: of all batches no more than 1/deviations^2 can lie beyond in the long run
 * (Chebyshev's inequality), at 20 one in 400.  A median of deviations knows nothing of what happens to fewer than half of
 * all batches: where most have no click it calls each click a spike.  Plain data, zeroed at first.  Thread: one.
 */
#ifndef TRAINER_SPIKE_H
#define TRAINER_SPIKE_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

#define SPIKE_WARMUP 200  /* batches that only teach */
#define SPIKE_IN_A_ROW 20 /* so many are skipped one after another at most: then it is no spike any more */
#define SPIKE_FREE 10     /* of all batches 1/deviations^2 are, and so many more before the bound has settled */

struct spike {
    double size;                /* examples of a batch, a running mean */
    double median, deviation;   /* of the loss an example; deviation: root mean square of loss - median */
    uint32_t batches, row;      /* row: skipped, one after another */
    uint64_t skipped, examples; /* in all */
};
/* One batch's mean loss an example, over so many examples; batches of less than half the usual size (single marks that come
 * late are of one kind only) are not judged.  true: more than `deviations` above the median, the step is to be skipped.
 * deviations 0: never.  A loss that is not finite says nothing (false). */
bool spike_is(struct spike *s, double loss, uint64_t examples, double deviations);
double spike_bound(const struct spike *s, double deviations); /* HUGE_VAL while it learns */
void spike_encode(struct buf *b, const struct spike *s);
void spike_decode(struct spike *s, struct buf_reader *r); /* r->bad when it is none */
#endif
