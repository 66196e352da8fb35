/* eval_served.h - figures of what was really served, and how far the learner is from it.
 *
 * Which logit each item of a recorded list was shown with is said by the list itself (it echoes version and scores, items as the
 * re-rank reply gave them), or by the log of answers (eval_logged.h).  Figures: eval.h's, of those logits.  Skew: the learner's
 * logit when the list came, less the served one; it holds what was learnt in between and what the scorer did not yet know.
 * Thread: the learner's.
 */
#ifndef TRAINER_EVAL_SERVED_H
#define TRAINER_EVAL_SERVED_H
#include "schemas/slate.h"
#include "trainer/eval_light.h"
#include "trainer/eval_skew.h"

struct eval_served {
    struct eval_light served, learner; /* the same items */
    struct eval_skew skew;
    uint64_t lists;
};
/* Room for n floats, masks and terms is the caller's. */
struct eval_served_room {
    float *z;      /* (n) logits that were served, where mask is set */
    uint8_t *mask; /* (n) */
    struct eval_term *terms;
};
/* What the list echoes, into room's z and mask. */
void eval_served_echoed(const struct slate *s, const struct eval_served_room *room);
/* t: the learner's terms of the whole slate.  Nothing is done where no mask is set. */
void eval_served_add(struct eval_served *v, const struct eval_terms *t, const struct eval_served_room *room);
void eval_served_report(const struct eval_served *v, struct report_served *out);
void eval_served_encode(struct buf *b, const struct eval_served *v);
void eval_served_decode(struct eval_served *v, struct buf_reader *r);
#endif
