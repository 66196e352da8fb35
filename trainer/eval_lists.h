/* eval_lists.h - what the model puts at the top: coverage, diversity inside a list, exposure by group of items.
 *
 * Top: the first EVAL_TOP of a slate in the model's order (equal logits: by hash of the item).  Lists: recorded ones in the
 * model's own order (what stood in a short one was shown, so all of it is its top), and those of orders with their sampled
 * negatives where these leave a choice: more than EVAL_TOP candidates.  Under join.cascade a list is what was looked at of it.
 *   coverage   different items at the top / different items that were candidates
 *   diversity  mean over lists of the share of pairs at the top whose categories differ (pairs of items with a category);
 *              and of 1 - cosine of the items' final sentence vectors, where a part reads them
 *   exposure   by age of the item, and by decile of its popularity among the candidates: candidates, positives, summed
 *              prediction, times at the top
 * Thread: the learner's.
 */
#ifndef TRAINER_EVAL_LISTS_H
#define TRAINER_EVAL_LISTS_H
#include "base/buf.h"
#include "schemas/slate.h"
#include "trainer/eval_distinct.h"
#include "trainer/eval_light.h"
#include "trainer/eval_rank.h"

#define EVAL_TOP REPORT_TOP
#define EVAL_POPULARITY_BINS 160 /* log2(1 + popularity), eight a doubling */

struct eval_group {
    uint64_t candidates, positives, top;
    double predicted;
};
struct eval_lists {
    struct eval_distinct candidates, top;
    struct eval_group age[REPORT_AGES], popularity[EVAL_POPULARITY_BINS];
    double vectors_sum, categories_sum;
    uint64_t lists, vectors_lists, categories_lists;
};
uint32_t eval_lists_top(const struct slate *s); /* how many of its candidates are its top; 0: it is left out */
/* sorted (n): the slate's items in the model's order (eval_sort), tie = low bits of the item's hash.  vectors: mean of
 * 1 - cosine at its top, NaN: unknown. */
void eval_lists_add(struct eval_lists *l, const struct slate *s, const struct eval_terms *t,
                    const struct eval_place *sorted, float vectors);
void eval_lists_report(const struct eval_lists *l, struct report_detail *out);
void eval_lists_encode(struct buf *b, const struct eval_lists *l);
void eval_lists_decode(struct eval_lists *l, struct buf_reader *r);
#endif
