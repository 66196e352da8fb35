/* eval_boot.h - intervals: Poisson bootstrap clustered by user, online and in fixed memory.
 *
 * EVAL_BOOT replicates of every sum.  In replicate b all slates of a user weigh Poisson(1), drawn from the stream that the
 * user's hash names (Chamandy et al. 2012, "Estimating uncertainty for massive data streams"), so a user is in or out as a
 * whole, and one log gives one interval.  Series are summed with the same weights: the replicates of a difference between
 * two are those of a paired comparison on the same slates.  Interval: value +- 1.96 deviations of the replicates.
 */
#ifndef TRAINER_EVAL_BOOT_H
#define TRAINER_EVAL_BOOT_H
#include "base/buf.h"
#include "schemas/report.h"
#include <stdint.h>

#define EVAL_BOOT 200
#define EVAL_SERIES_MAX 24

struct eval_boot {
    uint32_t n_series;
    double slates[EVAL_BOOT], examples[EVAL_BOOT]; /* weights of the sums below */
    double auc[EVAL_SERIES_MAX][EVAL_BOOT], loss[EVAL_SERIES_MAX][EVAL_BOOT];
};
struct eval_boot_slate { /* of each series: the slate's AUC and its summed log-loss */
    double auc[EVAL_SERIES_MAX], loss[EVAL_SERIES_MAX];
    bool ranked; /* the slate has both labels; else auc is not read */
    double examples;
};
void eval_boot_init(struct eval_boot *b, uint32_t n_series);
void eval_boot_add(struct eval_boot *b, uint64_t user, const struct eval_boot_slate *s);
/* Deviation over the replicates of a series' mean, or of the difference of two (b >= 0); NaN below two users' worth. */
double eval_boot_gauc(const struct eval_boot *b, uint32_t series, int minus);
double eval_boot_loss(const struct eval_boot *b, uint32_t series, int minus);
struct report_interval eval_boot_interval(double value, double deviation);
void eval_boot_encode(struct buf *b, const struct eval_boot *boot);
void eval_boot_decode(struct eval_boot *boot, struct buf_reader *r); /* r->bad: other series, or damage */
/* Weights (EVAL_BOOT) of a user: Poisson(1), 8 at most. */
void eval_boot_weights(uint64_t user, uint8_t weights[EVAL_BOOT]);
#endif
