/* eval.h - progressive validation: every figure is of predictions made before the label was learnt from.
 *
 * A meter holds pooled AUC (a histogram of logits, ties half), GAUC (mean AUC of slates with both labels, exact), log-loss,
 * normalised entropy (He et al. 2014) and calibration.  struct eval keeps one for the model, one per baseline, slice and
 * left-out part, in fixed memory.  Baselines other than `constant` are one score each, put through a logistic
 * calibrator of its own that learns online, so that their log-loss is fair.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_H
#define TRAINER_EVAL_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/report.h"
#include "schemas/slate.h"

#define EVAL_BINS 4096
#define EVAL_LOGIT_MAX 16.0
#define EVAL_PARTS_MAX 8

struct eval_meter {
    uint64_t bins[2][EVAL_BINS]; /* by label */
    double gauc_sum, logloss_sum, predicted_sum;
    uint64_t gauc_slates, examples, positives;
};
void eval_meter_clear(struct eval_meter *m);
/* One slate's examples: logits z and labels y, n of each; where mask is not NULL only examples with mask[i] count.
 * rank, when not NULL, orders the slate's items for GAUC instead of z. */
void eval_meter_add(struct eval_meter *m, const float *z, const float *rank, const float *y, const uint8_t *mask,
                    size_t n);
/* The same slate into several meters at once, each with its own mask: what a logit costs is paid once. */
struct eval_meter_mask {
    struct eval_meter *meter;
    const uint8_t *mask; /* NULL: all */
};
void eval_meters_add(const struct eval_meter_mask *meters, size_t n_meters, const float *z, const float *rank,
                     const float *y, size_t n);
void eval_meter_figures(const struct eval_meter *m, struct report_figures *out); /* NaN where undefined */
/* AUC of one list, ties half; NaN without both labels. */
double eval_auc(const float *z, const float *y, const uint8_t *mask, size_t n);

enum eval_baseline { EVAL_POPULARITY, EVAL_REPEAT, EVAL_FROZEN, EVAL_CONSTANT, EVAL_BASELINES };
enum eval_slice { EVAL_COLD_USER, EVAL_COLD_ITEM, EVAL_FIRST_TIME, EVAL_SLICES };

struct eval_warmup { /* not counted before; learning and calibrators go on */
    uint64_t slates;
    int64_t ms; /* after the first event's time */
};
struct eval;
enum status eval_new(struct eval **out, size_t n_parts, struct eval_warmup warmup, struct err *e) MUST_CHECK;
void eval_free(struct eval *ev);
/* A slate whose labels are settled, with what was predicted when it was opened: logits (K), part_logits (parts, K),
 * frozen (K) cosine of the baseline. first_ms: time of the stream's first event. */
enum status eval_slate(struct eval *ev, const struct slate *s, const float *logits, const float *part_logits,
                       const float *frozen, int64_t first_ms, struct err *e) MUST_CHECK;
void eval_report(const struct eval *ev, const char *const *part_names, struct report *out);
/* The model's figures since the last call of eval_recent_clear: progress lines and live metrics. */
void eval_recent(const struct eval *ev, struct report_figures *out);
void eval_recent_clear(struct eval *ev);
void eval_encode(struct buf *b, const struct eval *ev);
enum status eval_decode(struct eval *ev, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
