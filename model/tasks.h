/* tasks.h - several labels on one trunk: a probability for each behaviour type of train.tasks.  For model*.c alone.
 *
 * The trunk is the main logit r = intercept + parts, learnt by "any positive behaviour".  Task t reads it and the
 * standardised numeric features x:
 *   h_t = a_t + w_t x + c_t r
 *   P(t) = sigmoid(logit) * sigmoid(h_t)   of a positive type: given any positive behaviour, as a product over all that was
 *                                          shown, so that no selection of clicked examples biases it (ESMM, Ma et al. 2018)
 *   P(t) = sigmoid(h_t)                    of a reversing one (refund, uncart, dislike): an example of its own
 * Of a list whose negatives are thinned out (join.negative_rate, log_kq = ln r) the kept ones are learnt, among which positives are
 * more often: P(positive | kept) = sigmoid(logit - ln r), and all of them are kept, so the product with that is P(t | kept).  Who
 * reverses may be among the positives or not, so there a kept negative counts for the 1/r that it stands for.
 * Heads are linear because what tells a purchase from a click is mostly price, recency and habit, which are features; what
 * text and identity add arrives through r, so candidates with equal r and equal numbers get equal shares.  Both losses reach
 * the trunk: through the product (sigmoid(logit) as it is served, recalibration included) and through c_t (0 at first).
 * a_t is found by one Newton step an optimiser step, so that the P(t) that are served (after recalibration) sum up to the labels that
 * were settled: A <- 2^(-n/TASKS_HALF_LIFE) A + sum dP/dh, beside a prior, as in model/recal.h.  It takes no gradient: AdaGrad's way to
 * a share of nearly 1, as of clicks among positives, is long, and its level is that of r, which is not what is served.
 * A reversal's a_t begins at the log-odds of 1 in 50: from one half AdaGrad's sums would be those of the way down, which goes too
 * far, and every later step too short (log-loss 0.189 for 0.085 where 1 in 60 is one).
 * Learnt from recorded lists alone: an order's sampled slate has one type by construction.  AdaGrad, train.linear_rate.
 */
#ifndef MODEL_TASKS_H
#define MODEL_TASKS_H
#include "model/part.h"

struct model_tasks { /* of the architecture; n 0: none, no tensors */
    size_t n, F;     /* F: numeric features, 0 without that part */
    uint8_t chained[CONF_TASKS_MAX];
    char names[CONF_TASKS_MAX][64];
    size_t weights, trunk, level; /* tensors: (n, F), if F > 0; (n, 1); (n, 2): a_t and its A */
    bool by_utility;              /* rank.utility is what is ranked by: */
    double worth[CONF_TASKS_MAX];
};
struct model_tasks_run { /* zeroed is empty */
    const struct model_tasks *c;
    const struct part_run *numeric; /* borrowed; NULL without */
    struct op_matrix weights, trunk;
    const float *w, *of_trunk, *level; /* host */
    struct tasks_sums {
        double n, gradient, precision;
    } sums[CONF_TASKS_MAX]; /* since the last apply */
};
enum status model_tasks_declare(struct model_tasks *c, const struct conf *conf, size_t n_numeric, struct param_table *t,
                                struct err *e) MUST_CHECK;
void model_tasks_init(const struct model_tasks *c, const struct param_table *t, float *w); /* w: the zeroed block */
void model_tasks_bind(struct model_tasks_run *r, const struct model_tasks *c, const struct part_params *p,
                      const struct part_run *numeric);
/* The tasks' loss of a recorded list whose trunk is r (K,1), added to loss (one float of backend memory); gradients at once
 * (op_task_loss).  kept (K,1): the main label's logit as it is served, of what is kept where negatives are thinned out.  Other slates:
 * nothing.  The tape says what failed. */
void model_tasks_learn(struct model_tasks_run *t, struct tape *tape, const struct slate *s, struct tape_value r,
                       struct tape_value kept, float *loss);
/* A slate that is learnt: raw, logits (K) its r and the main label's logit; for a_t.  apply: w is the block in host memory.
 * drop: what was learnt since the last apply. */
void model_tasks_learnt(struct model_tasks_run *t, const struct slate *s, const float *raw, const float *logits);
void model_tasks_apply(struct model_tasks_run *t, const struct param_table *table, float *w);
void model_tasks_drop(struct model_tasks_run *t);
/* out (n, K): logits of P(t).  raw, logits (K): r and the main label's logit. */
void model_tasks_logits(const struct model_tasks_run *t, const struct slate *s, const float *raw, const float *logits,
                        float *out);
/* Sum of the tasks' probabilities times their worth, of a candidate; logits (n, K). */
float model_tasks_utility(const struct model_tasks *c, const float *logits, size_t K, size_t item);
#endif
