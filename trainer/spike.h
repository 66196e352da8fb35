/* spike.h - is a batch's loss beyond all that was usual?  A running median and a running deviation from it.
 *
 * Both are followed by stochastic steps (one observation moves them by a fixed share of the deviation, however far off it
 * is), so outliers hardly move the bound, while a lasting change does within some hundred batches: nothing is skipped for
 * ever.  Plain data, zeroed at first.  Thread: one.
 */
#ifndef TRAINER_SPIKE_H
#define TRAINER_SPIKE_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

#define SPIKE_WARMUP 200  /* batches that only teach */
#define SPIKE_IN_A_ROW 20 /* so many are skipped one after another at most: then it is no spike any more */

struct spike {
    double size;                /* examples of a batch, a running mean */
    double median, deviation;   /* of the loss an example; deviation: median of |loss - median| */
    uint32_t batches, row;      /* row: skipped, one after another */
    uint64_t skipped, examples; /* in all; for the owner to count */
};
/* One batch's mean loss an example, over so many examples; batches of less than half the usual size (single marks that come
 * late are of one kind only) are not judged.  true: more than `deviations` above the median, the step is to be skipped.
 * deviations 0: never.  A loss that is not finite says nothing (false). */
bool spike_is(struct spike *s, double loss, uint64_t examples, double deviations);
double spike_bound(const struct spike *s, double deviations); /* HUGE_VAL while it learns */
void spike_encode(struct buf *b, const struct spike *s);
void spike_decode(struct spike *s, struct buf_reader *r); /* r->bad when it is none */
#endif
