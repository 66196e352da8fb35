/* loss_delay.h - weights of examples that are learnt from before their labels are settled (join.loss).
 *
 * Let q be P(positive within the window | x), f the model's output, so that learning stands still where the expected
 * gradient Σ weight·(f - y) is 0.  Each loss learns copies of an example and weighs them so that this is at f = q:
 *
 *   fnw, fake negative weighted (Ktena et al., RecSys 2019): every example at once as a negative, and again as a positive when
 *   its mark comes.  Negatives weigh (1 - p)(1 + p), positives 1 + p, with p = f, held constant:
 *       (1 - p)(1 + p)·f + q·(1 + p)·(f - 1) = 0   at  f = p = q.
 *
 *   importance, ES-DFM (Yang et al., AAAI 2021): every example once it has waited join.wait_ms, with what is known then, and
 *   again as a positive when its mark comes later.  With p_dp = P(positive, but later | x) and p_rn = P(negative to the end |
 *   unmarked then, x), positives weigh 1 + p_dp, negatives (1 + p_dp)·p_rn.  Unmarked then are 1 - q + p_dp, so
 *       (1 + p_dp)·[(1 - q + p_dp)·p_rn·f + q·(f - 1)] = 0   at  f = q,  as (1 - q + p_dp)·p_rn = 1 - q;
 *   p_dp alone decides nothing of where that is.  Both are logistic in the model's own logit z when the list was shown, each
 *   learnt online from slates whose window has ended.  If the share S of positives that come later is the same for all,
 *   logit p_rn = -z - ln S exactly; S = 1/2 is where they begin.  What a delay has to do with x beyond z they don't see.
 *
 * Learnt by heart: sparse weights of what a list alone has (a user with an item) know its first copy when the mark comes, so the
 * logit then is lower than that of another list like it, and f - 1 above would be too large: positives would teach what lists have
 * in common too much (12 % at a rate of 0.57).  A mark's copy is therefore learnt from the logit of the showing, where that is
 * the higher one (model/model_learn.c).
 *
 * Counts: copies have the features of the showing, positives later than the negatives that are learnt beside them.  Features
 * that all move with time (counters of a young shop, an item's age) then tell late from early in the place of liked from not, and
 * the model with them.  So parts that read counts learn no copies: they learn the slate at its end, where the labels are settled.
 * f above is then the sum of the other parts alone, which learn as if there were no more, and those that count learn what is
 * missing to what that sum was when the slate was shown (now it knows the slate's labels).  Were both to see each other, each
 * would mend the same error, one of them a window too late, and then both what came of it.  Slates shown before the first one had
 * ended are left out there: that sum had just begun.
 *
 * Combined with others:
 *   weights of event types: positives w, negatives v.  The model is to stand where waiting puts it, f/(1 - f) = (w/v)·q/(1 - q).
 *   Both losses multiply their copies by these weights; p_rn is about events and needs no more; fnw's p must be q, not f:
 *   z - ln(w/v), with the means of w and v over settled labels (exact if all positives weigh the same and all negatives do).
 *   A mark that makes an item weigh more adds a copy of the difference; a marked negative is no fake, so its copy weighs
 *   1 + p (1 + p_dp).
 *   down-sampled negatives (join.negative_rate = r): a negative copy is learnt with probability r, and the logit in the loss is
 *   z - ln r while z is served: the negatives' sum above times r, so odds in the loss are 1/r times those of z, and z stays the
 *   logit of q.  p and p_rn are taken from z, so no weight changes.
 *   sampled negatives (orders): settled at once; no copies, no weights.
 *   places (model.position): learnt but never scored, so that f of the loss is not p of the weights; refused by conf_check.
 *
 * Plain data, one per learning model.  Thread: the learner's.
 */
#ifndef TRAINER_LOSS_DELAY_H
#define TRAINER_LOSS_DELAY_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/conf.h"
#include "trainer/calibrate.h"

enum loss_delay_kind { LOSS_DELAY_WAIT, LOSS_DELAY_FNW, LOSS_DELAY_IMPORTANCE };
struct loss_delay {
    enum loss_delay_kind kind;
    struct calibrate real_negative, delayed; /* p_rn, p_dp */
    double weights[2], examples[2];          /* settled ones by label: sum of weights, number; both begin at 1 */
    int64_t first_end_ms;                    /* event time at which the first slate ended; INT64_MAX: none has */
};
void loss_delay_init(struct loss_delay *d, const struct conf *c);
/* What to multiply the weight of one copy by; z: the model's logit of it, as served.  marked: a behaviour said so, so a
 * negative is no fake one.  1 with loss wait.  NaN (a line that had not seen the list) counts as 0. */
float loss_delay_factor(const struct loss_delay *d, float z, bool positive, bool marked);
/* n settled examples of one slate, which ended at end_ms: logits when it was shown, labels and weights at the window's end, and
 * labels when it was first learnt from (importance; NULL: it was not). */
struct loss_delay_settled {
    const float *z, *labels, *weights;
    const uint8_t *early;
    size_t n;
    int64_t end_ms;
};
void loss_delay_settle(struct loss_delay *d, const struct loss_delay_settled *s);
void loss_delay_encode(struct buf *b, const struct loss_delay *d);
enum status loss_delay_decode(struct loss_delay *d, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
