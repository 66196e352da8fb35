/* ope.h - off-policy estimates: what lists ordered by this model would have earned, from lists that were ordered at random.
 *
 * Lists that echo the propensity of each position (served with serving.explore = plackett_luce) and show all their candidates
 * are reordered in thought by the target policy: Plackett–Luce over the line's logits, as they were before the list was
 * learnt from, at the same temperature.  With r_k the label at position k, d_k = 1/log2(1 + k), w_k the product over the first
 * k positions of target over logged probability, and q an item's predicted probability:
 *
 *   logged  sum d_k r_k                                                        (what was earned)
 *   IPS     sum d_k w_k r_k                                                    (sequential: McInerney et al. 2020)
 *   SNIPS   the same over the mean weight of the list, as a ratio of sums      (Swaminathan and Joachims 2015)
 *   DR      sum d_k (w_k (r_k - q_k) + w_{k-1} E_target[q | left at k])        (cascade: Kiyohara et al. 2022)
 *
 * IPS and DR are unbiased when a label depends on its item, position and what stands before it.  Intervals are clustered by
 * user; there is none before anything was taken.  Thread: the learner's.
 */
#ifndef TRAINER_OPE_H
#define TRAINER_OPE_H
#include "schemas/report.h"
#include "schemas/slate.h"
#include "trainer/cluster.h"

struct ope {
    struct cluster logged, ips, snips, dr;
    uint64_t lists, partial;       /* partial: propensities were echoed, but not all candidates were shown */
    double weight, weight_squares; /* of whole lists: for the effective number */
};
/* A settled list; logits (K) in its order, as predicted when it opened.  One without propensities is passed over. */
void ope_list(struct ope *o, const struct slate *s, const float *logits, double temperature);
void ope_report(const struct ope *o, struct report_ope *out);
void ope_encode(struct buf *b, const struct ope *o);
enum status ope_decode(struct ope *o, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
