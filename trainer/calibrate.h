/* calibrate.h - one score made a probability: z = a*x + b by online logistic regression (Platt 1999), AdaGrad.
 *
 * What gives the baselines their log-loss.  Plain data: copied and packed as it is.
 */
#ifndef TRAINER_CALIBRATE_H
#define TRAINER_CALIBRATE_H
#include <stddef.h>

struct calibrate {
    double a, b, acc_a, acc_b;
};
void calibrate_init(struct calibrate *c); /* a = b = 0 */
float calibrate_logit(const struct calibrate *c, float x);
void calibrate_learn(struct calibrate *c, const float *x, const float *y, size_t n); /* one step over n examples */
#endif
