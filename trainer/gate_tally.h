/* gate_tally.h - loss and AUC of a group of users, with standard errors that know that a user comes more than once.
 *
 * Users fall into GATE_FOLDS folds by hash; the standard error is that of the delete-one-fold jackknife (Shao and Wu 1989), so
 * slates of one user are never taken for independent ones.  Fixed memory; plain data but for encode.
 */
#ifndef TRAINER_GATE_TALLY_H
#define TRAINER_GATE_TALLY_H
#include "trainer/gate.h"

#define GATE_FOLDS 64
struct gate_tally {
    double sum[GATE_FIGURES][GATE_FOLDS]; /* of loss (gate_loss) and AUC, per slate */
    uint64_t n[GATE_FIGURES][GATE_FOLDS];
};
/* value: NaN where the slate has none. */
void gate_tally_add(struct gate_tally *t, uint64_t user, const double value[GATE_FIGURES]);
struct gate_mean {
    double mean, error; /* NaN: no slate; fewer than two folds with any */
    uint64_t slates;
};
struct gate_mean gate_tally_mean(const struct gate_tally *t, enum gate_figure f);
void gate_tally_encode(struct buf *b, const struct gate_tally *t);
void gate_tally_decode(struct gate_tally *t, struct buf_reader *r); /* sets r->bad when it is cut short */
#endif
