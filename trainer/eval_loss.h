/* eval_loss.h - the log-loss of one prediction, from its logit: log(1 + exp(-z)) of a positive, log(1 + exp(z)) of a negative.
 *
 * Stable for any z; NaN of NaN.  Thread: any.
 */
#ifndef TRAINER_EVAL_LOSS_H
#define TRAINER_EVAL_LOSS_H
#include <math.h>
#include <stdbool.h>

static inline double eval_log_loss(double z, bool positive)
{
    const double s = positive ? -z : z;
    return (s > 0.0 ? s : 0.0) + log1p(exp(-fabs(z)));
}
#endif
