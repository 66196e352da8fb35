/* line_ranks.h - a line's steps, where several processes learn as one (train.ranks).
 *
 * All ranks are replicas: they read the same stream, so their batches, states and steps are the same; of a batch, slate i is
 * learnt by rank i mod n.  Dense gradients are summed beside the way back (trainer/ranks_grads.h); then one record a step
 * carries losses, what parts gather, sparse rows, and what must be the same on all: the step, the batch, and every
 * RANKS_CHECK steps the hash of the parameters.  What is refused (a loss that is not finite, a spike) is refused by all.
 * Thread: the learner's.
 */
#ifndef JOB_LINE_RANKS_H
#define JOB_LINE_RANKS_H
#include "base/status.h"
#include "trainer/ranks.h"
#include <stdatomic.h>

#define RANKS_CHECK 64

struct line;
struct line_ranks;
/* How a wish to stop becomes everybody's at the same step: `asked` is read, `stop` is set on all ranks once one was asked. */
struct line_stop {
    const atomic_bool *asked;
    atomic_bool *stop;
};
/* All are borrowed; l gets it, and frees it. */
enum status line_join(struct line *l, struct ranks *ranks, struct line_stop stop, struct err *e) MUST_CHECK;
void line_ranks_free(struct line_ranks *q);
const char *line_ranks_by(const struct line_ranks *q); /* what carries its gradients: "sockets", "nccl" */
/* In the place of model_learn_many for l's batch: l->losses of all its slates, gradients of all.  CONFLICT: ranks differ, in
 * what and by which values; errors of model_learn_many and the exchange. */
enum status line_ranks_learn(struct line *l, struct err *e) MUST_CHECK;
#endif
