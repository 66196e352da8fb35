/* eval_unsampled.h - NDCG and recall among all active items, of the slates that were checked (slate.ranks).
 *
 * The same figures as eval_rank.h's, with every active item as a candidate instead of a handful of sampled ones: positives are
 * the slate's, each at the place that it had when the slate opened.  Where the check saw a choice of the active items, places are
 * estimates.  The model, and popularity on the same slates.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_UNSAMPLED_H
#define TRAINER_EVAL_UNSAMPLED_H
#include "base/buf.h"
#include "schemas/slate.h"
#include "trainer/eval_rank.h"

struct eval_unsampled {
    struct eval_ranked model, popularity;
    double items; /* summed: how many each slate was ranked among */
};
void eval_unsampled_add(struct eval_unsampled *u, const struct eval_cut *c, const struct slate *s); /* none: no ranks */
void eval_unsampled_report(const struct eval_unsampled *u, const struct eval_cut *c, struct report_detail *out);
#endif
