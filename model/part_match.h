/* part_match.h - part match over changed vectors, for part idvec, which adds a learned one to each.
 *
 * With idvec in the model, match's own logit is that of the frozen vectors, and idvec's is what the change brings: so either
 * can be left out of the sum.  The way back goes through the changed vectors alone, once: while the tape records, match
 * contributes 0 and idvec the whole.
 */
#ifndef MODEL_PART_MATCH_H
#define MODEL_PART_MATCH_H
#include "model/part.h"

/* v (n,C) with something added: v of the slate's events (which NULL) or of its items which[0..n). */
typedef struct tape_value part_match_add(void *user, struct part_slate *s, struct tape_value v, const uint32_t *which);
/* z (n,1): match's logit of items which[0..n) with v_e and v_item changed wherever something is learnt (scores, pooling, the
 * linear term on v_item); the fixed features stay those of the frozen vectors.  run: match's; s was prepared for it, if not last.
 * OOM; errors of state_acquire. */
enum status part_match_changed(struct part_run *run, struct part_slate *s, const uint32_t *which, size_t n,
                               part_match_add *add, void *user, struct tape_value *z, struct err *e) MUST_CHECK;
#endif
