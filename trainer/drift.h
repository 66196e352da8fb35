/* drift.h - has a series left the level it had?  A two-sided Page-Hinkley test over values of buckets.
 *
 * Page (1954) and Hinkley (1971), on standardised residuals z = (x - mean) / sqrt(noise + spread), clipped, so that one wild
 * bucket is no change.  mean and spread (what buckets differ by beyond their sampling noise) are learnt while in control.  An
 * alarm needs both: a sum that chance does not reach, and a mean residual of the newest buckets beyond `shift`, because in a
 * long log every difference is significant and few matter.  After the alarm the level is kept until x is back at it.  No
 * clock: the same values give the same answers.  Plain data, zeroed at first.  Thread: one.
 */
#ifndef TRAINER_DRIFT_H
#define TRAINER_DRIFT_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>

#define DRIFT_CLIP 5.0       /* largest |z| */
#define DRIFT_ALLOWANCE 1.0  /* what z may be for ever */
#define DRIFT_THRESHOLD 15.0 /* of the sum: four buckets at the clip, one after another */
#define DRIFT_USUAL 3.0      /* a change within so many deviations of the spread is no alarm, whatever shift says */
#define DRIFT_HORIZON 500.0  /* buckets behind mean and spread, about */
#define DRIFT_NEWEST 8.0     /* buckets behind the residual that must be beyond the shift */
#define DRIFT_CALM 3         /* buckets back at the level that end an alarm */

struct drift {
    double mean, spread;          /* of x; spread: variance */
    double sum[2], residual[2];   /* upward and downward: the sum, and the newest residuals' mean while it is above 0 */
    uint32_t run[2];              /* buckets since the sum left 0 */
    uint32_t buckets, calm, outs; /* outs: buckets since the alarm */
    bool out;
};
enum drift_change { DRIFT_NONE, DRIFT_ALARM, DRIFT_BACK };
/* One bucket's value x with the variance that its sampling explains.  warmup: buckets that only teach; shift > 0, in x's
 * unit; pace: least share in the mean of an x that is within the shift, for what has no level but goes up and down slowly (0: by the
 * horizon alone).  A value that is not finite says nothing. */
enum drift_change drift_add(struct drift *d, double x, double noise, double shift, uint32_t warmup, double pace);
/* What brought the alarm is out of the way: the level that was there is tested again. */
void drift_excuse(struct drift *d);
/* The new level is the level: learnt from here on, after a warm-up. */
void drift_adopt(struct drift *d);
void drift_encode(struct buf *b, const struct drift *d);
void drift_decode(struct drift *d, struct buf_reader *r); /* r->bad when it is no drift */
#endif
