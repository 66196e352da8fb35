/* fit.h - a first model from a log: several epochs over its slates, the best one by the last days, then online from there.
 *
 * One pass over the log makes histories, counters and slates, and keeps the settled slates in a file; features follow from the
 * stream alone, so no later epoch needs the log again.  An epoch learns the slates settled before the last `validate_ms` in their
 * order and then scores those shown in them, without learning.  It ends when no epoch was better for `patience` of them; the best
 * one's line (parameters, moments, sums) is put back, and the last days are learnt as they would have been live: each slate scored
 * when it was shown, learnt when it was settled, once.  Slates that were cut off (schemas/slate.h) are learnt there and judged
 * nowhere.  The evaluator sees only that last pass, so that its figures are
 * progressive.  Thread: the learner's.
 */
#ifndef JOB_FIT_H
#define JOB_FIT_H
#include "job/line.h"
#include <stdatomic.h>

struct fit_options {
    uint64_t epochs, patience;
    int64_t validate_ms; /* the last days of the log, up to the opening of the last slate that was not cut off */
};
struct fit_epoch { /* NaN: undefined */
    uint64_t epoch;
    double train_loss, logloss, gauc, calibration; /* train_loss: mean over the epoch, each slate before it is learnt */
    uint64_t examples, validated;                  /* learnt in the epoch; scored after it */
    bool best;
};
struct fit;
/* dir: where the file of slates lies (unlinked: it goes with the process). */
enum status fit_new(struct fit **out, const char *dir, struct err *e) MUST_CHECK;
void fit_free(struct fit *f); /* NULL is fine */
/* Keeps a settled slate.  IO names the folder when the disk is full. */
enum status fit_take(struct fit *f, const struct slate *s, struct err *e) MUST_CHECK;
/* All epochs and the last pass, for one line after the other; told after each epoch.  first_ms: the stream's.  END: *stop became
 * true.  INVALID: no slate before the last days, or none in them. */
enum status fit_run(struct fit *f, struct line *l, const struct fit_options *o, int64_t first_ms,
                    void (*told)(void *user, const struct fit_epoch *epoch), void *user, const atomic_bool *stop,
                    struct err *e) MUST_CHECK;
#endif
