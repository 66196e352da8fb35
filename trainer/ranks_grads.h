/* ranks_grads.h - the gradients of one step, summed over all ranks (trainer/ranks.h).
 *
 * Dense ones are summed run by run as soon as the model says that nothing more is added to them, beside the rest of the way
 * back: where the host sees the backend's memory in place; else by NCCL on the devices, or through a copy.  Sparse rows
 * travel in the step's record, and are put together in the order of ranks.  Afterwards the run's gradients are those of the
 * whole batch, with the same bits on every rank.  Thread: the learner's.
 */
#ifndef TRAINER_RANKS_GRADS_H
#define TRAINER_RANKS_GRADS_H
#include "base/buf.h"
#include "model/model.h"
#include "trainer/ranks.h"

struct ranks_grads;
/* ranks and run (one that learns) are borrowed.  All ranks call it at once, with the same `reduce` ("auto", "sockets", "nccl": what
 * carries dense sums).  UNSUPPORTED: nccl, and a rank cannot (it and the reason are named on all); OOM; errors of the exchange. */
enum status ranks_grads_new(struct ranks_grads **out, struct ranks *ranks, struct model_run *run,
                            const struct param_table *t, const char *reduce, struct err *e) MUST_CHECK;
const char *ranks_grads_by(const struct ranks_grads *g); /* "sockets", "nccl" */
void ranks_grads_free(struct ranks_grads *g);
/* model_share.ready, with g as its user. */
void ranks_grads_ready(void *g, float *dense, size_t n);
/* Waits until the dense ones are summed.  Errors of ranks_finish. */
enum status ranks_grads_finish(struct ranks_grads *g, struct err *e) MUST_CHECK;
/* This rank's sparse rows, packed; and in the place of them those that a rank packed, added after what is there.  CORRUPT; OOM. */
void ranks_rows_encode(struct buf *b, const struct ranks_grads *g);
enum status ranks_rows_add(struct ranks_grads *g, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
