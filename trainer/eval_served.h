/* eval_served.h - what was really served, where recorded lists echo it: its figures, and how far the learner is from it.
 *
 * A list that echoes version and scores (items as the re-rank reply gave them, with `score`) says with which probability
 * each item was shown.  Figures: eval.h's, of those probabilities.  Skew: the learner's logit when the list came, less that
 * of the score served; it holds what was learnt in between and what the scorer did not yet know.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_SERVED_H
#define TRAINER_EVAL_SERVED_H
#include "base/buf.h"
#include "schemas/slate.h"
#include "trainer/eval_light.h"

#define EVAL_SKEW_BINS 64 /* of |difference|: eight a factor of ten, from 1e-6 */

struct eval_served {
    struct eval_light served, learner; /* the same items */
    uint64_t bins[EVAL_SKEW_BINS];
    double sum, squares, most;
    uint64_t lists, items;
};
/* t: the learner's terms of the whole slate; room for n floats twice, n masks and n terms are the caller's. */
struct eval_served_room {
    float *z;
    uint8_t *mask;
    struct eval_term *terms;
};
void eval_served_add(struct eval_served *v, const struct slate *s, const struct eval_terms *t,
                     const struct eval_served_room *room);
void eval_served_report(const struct eval_served *v, struct report_detail *out);
void eval_served_encode(struct buf *b, const struct eval_served *v);
void eval_served_decode(struct eval_served *v, struct buf_reader *r);
#endif
