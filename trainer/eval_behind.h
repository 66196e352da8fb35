/* eval_behind.h - slates that wait to be evaluated: copies, in the order in which they were given, so that the figures have the same
 * bits as without.  A worker of the pool that has nothing else to do evaluates them, and the learner itself where many wait or
 * the figures are read: eval_behind_wait comes first then.  Of the evaluator's own files alone.
 */
#ifndef TRAINER_EVAL_BEHIND_H
#define TRAINER_EVAL_BEHIND_H
#include "base/pool.h"
#include "base/status.h"
#include "schemas/slate.h"
#include <stdint.h>

struct eval;
struct eval_seen { /* one slate with what was predicted of it */
    const struct slate *s;
    const float *logits, *part_logits, *frozen;
    bool counted;     /* behind the warm-up */
    uint64_t ordinal; /* of the slate, from 1 */
};
enum status eval_add(struct eval *ev, const struct eval_seen *seen, struct err *e) MUST_CHECK; /* here and now */

struct eval_behind;
/* pool: of more threads than the caller's, borrowed; rows: of part_logits.  OOM. */
enum status eval_behind_new(struct eval_behind **out, struct eval *ev, struct pool *pool, size_t rows,
                            struct err *e) MUST_CHECK;
void eval_behind_free(struct eval_behind *b); /* what waits is dropped; NULL is fine */
/* Also the first error of an earlier slate, which stays.  OOM.  Thread: one. */
enum status eval_behind_put(struct eval_behind *b, const struct eval_seen *seen, struct err *e) MUST_CHECK;
enum status eval_behind_wait(struct eval_behind *b); /* until none waits; the first error.  NULL: nothing to wait for */
#endif
