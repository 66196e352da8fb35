/* recal.h - from the sum of parts to a probability: sampling correction and recalibration.  For model*.c alone.
 *
 *   r = intercept + sum of parts
 *   logit = slope*r + intercept' + offsets(slices) + shift,   shift = centre - log_kq
 *
 * Sampling correction (MODEL.md; train.sampling_correction): an organic slate's negatives were drawn with probability
 * q(i), k of them per positive, so its labels are learnt and judged by s - log(k*q(i)), and s is served; where nothing was
 * drawn (log_kq is 0: a request, a recorded list) the logit is s itself; a recorded list whose negatives are thinned out for
 * learning (join.negative_rate) is learnt by s - log_kq likewise, about 0.  centre is the running mean of log_kq over what
 * was learnt, so that the parts have nothing to learn of its level (before anything is learnt: the mean over the slate at hand).
 *
 * Recalibration (train.recalibration): per source (recorded impressions, organic slates) log(slope), an intercept and an
 * offset for every slice that a candidate is in: its age, its popularity, cold user, cold item, first time.  Learnt from the
 * settled labels of what is learnt, each as many examples as it stands for (slate_item.examples: 1 without the types' weights; 0 of
 * what is learnt again), on the logits found before the step, by one Newton step of regularised logistic regression per optimiser
 * step (a Gaussian prior shrinks each towards 0, an offset by age towards those of the ages beside it: one that has seen nothing is
 * as its younger neighbour, since a catalogue announced at one time grows into it all at once; A <- 2^(-n/RECAL_HALF_LIFE) A + sum
 * p(1-p)xx').  Within a slice the order of candidates stays; offsets move slices against each other.  The numbers travel with the
 * version (group STAT), the sums behind them stay with the learner's run.
 *
 * Of organic slates the parts learn beside it (`beside`): their labels see r with offsets and shift, so that what the offsets,
 * which are fast, know already is not learnt a second time by parts, which are slow, and then to be taken back.  The slope stays 1
 * then, as a scale is what parts find themselves.  Elsewhere the parts see none of it, it comes after everything else, and the slope
 * is learnt: of recorded lists, whose level moves (here it is as negatives are drawn), since parts and offsets would both run after
 * it; and where parts are to come to another answer than the settled labels, each counted once (types weigh differently, slates
 * are replayed, targets are another version's, the loss orders lists alone), since the two would push each other ever further.
 *
 * Recorded lists that are learnt before they are settled (join.loss other than wait) are not recalibrated: weights of early
 * copies depend on what is predicted, and steps as fast as Newton's run away with that.
 */
#ifndef MODEL_RECAL_H
#define MODEL_RECAL_H
#include "base/buf.h"
#include "base/status.h"
#include "model/param.h"
#include "schemas/conf.h"
#include "schemas/slate.h"

enum { RECAL_AGES = SLATE_AGES, RECAL_POPULARITIES = 10, RECAL_FLAGS = 3 };
enum {
    RECAL_SLOPE,
    RECAL_INTERCEPT,
    RECAL_SLICES,
    RECAL_N = RECAL_SLICES + RECAL_AGES + RECAL_POPULARITIES + RECAL_FLAGS
};
#define RECAL_SOURCES 2 /* SLATE_IMPRESSION, SLATE_ORGANIC */

struct model_recal {                     /* of the architecture: which of the two are on, and where their tensors are */
    bool corrected, recalibrated, early; /* early: labels of recorded lists are not settled ones */
    bool beside;                         /* parts and recalibration are after the same */
    size_t centre, weights;              /* tensors (2): the mean, and 1 once it is known; (RECAL_SOURCES, RECAL_N) */
};
/* Declares the tensors of what is on. */
enum status model_recal_declare(struct model_recal *c, const struct conf *conf, struct param_table *t,
                                struct err *e) MUST_CHECK;

struct recal_sums {                                                                  /* of one source */
    double n;                                                                        /* examples since the last apply */
    double gradient[RECAL_N], recent[RECAL_N][RECAL_N], precision[RECAL_N][RECAL_N]; /* lower triangles */
};
struct model_recal_run { /* plain data; zeroed is empty */
    const struct model_recal *c;
    const float *centre, *weights; /* host, as bound */
    struct recal_sums sums[RECAL_SOURCES];
    double shift_sum, shift_n, shift_total; /* log_kq since the last apply; how many are behind the mean */
};
void model_recal_bind(struct model_recal_run *r, const struct model_recal *c, const struct param_table *t,
                      const float *w);
/* shift (K) between r and what the labels of a slate, whose intercept is `source`'s, are compared with; false: none. */
bool model_recal_shift(const struct model_recal_run *r, const struct slate *s, int source, float *shift);
/* logits (K): r in, logit out.  part_logits (n_parts, K), or NULL, are scaled by the slope, so that logit is still
 * something of the candidate plus the sum of its part logits. */
void model_recal_logits(const struct model_recal_run *r, const struct slate *s, int source, float *logits,
                        float *part_logits, size_t n_parts);
/* A slate that is learnt: raw (K) its r.  apply: w is the block in host memory. */
void model_recal_learnt(struct model_recal_run *r, const struct slate *s, int source, const float *raw);
void model_recal_apply(struct model_recal_run *r, const struct param_table *t, float *w);
void model_recal_drop(struct model_recal_run *r); /* what was learnt since the last apply */
void model_recal_encode(struct buf *b, const struct model_recal_run *r);
enum status model_recal_decode(struct model_recal_run *r, struct buf_reader *rd, struct err *e) MUST_CHECK;
#endif
