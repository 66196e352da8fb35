/* eval_skew.h - how far two logits of the same item are apart, over many: mean, deviation, quantiles of the distance.
 *
 * Fixed memory.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_SKEW_H
#define TRAINER_EVAL_SKEW_H
#include "base/buf.h"
#include "schemas/report.h"

#define EVAL_SKEW_BINS 64 /* of |difference|: eight a factor of ten, from 1e-6 */

struct eval_skew {
    uint64_t bins[EVAL_SKEW_BINS];
    double sum, squares, most;
    uint64_t items;
};
void eval_skew_add(struct eval_skew *v, double difference);
void eval_skew_report(const struct eval_skew *v, struct report_skew *out); /* NaN without items */
void eval_skew_encode(struct buf *b, const struct eval_skew *v);
void eval_skew_decode(struct eval_skew *v, struct buf_reader *r);
#endif
