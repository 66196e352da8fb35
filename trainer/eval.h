/* eval.h - progressive validation: every figure is of predictions made before the label was learnt from.
 *
 * A meter holds pooled AUC (a histogram of logits, ties half), GAUC (mean AUC of slates with both labels, exact), log-loss,
 * normalised entropy (log-loss over the entropy of the base rate, He et al. 2014) and calibration (predicted over observed
 * positives).  struct eval keeps one for the model, one per baseline, slice and left-out part, in fixed memory; beside
 * them what eval_rank.h, eval_boot.h, eval_time.h and eval_lists.h define.  Baselines: popularity, repeat and
 * frozen are one score each, put through a logistic calibrator of its own that learns online, so that their log-loss is
 * fair; constant is the rate so far; cheap is the model's own sum without the parts text and match.  Thread: the learner's; with
 * eval_setup.pool the slates are evaluated by others too (eval_behind.h), what reads figures waits for
 * them, and an error of one is said at a later one, and to the buf of eval_encode.
 */
#ifndef TRAINER_EVAL_H
#define TRAINER_EVAL_H
#include "base/buf.h"
#include "base/pool.h"
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/report.h"
#include "schemas/slate.h"

#define EVAL_BINS 4096
#define EVAL_LOGIT_MAX 16.0
#define EVAL_PARTS_MAX 8
#define EVAL_K_DEFAULT "5,10,20"

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
struct eval_added { /* of the whole slate, whatever the masks: AUC (NaN without both labels) and summed log-loss */
    double auc, loss;
};
struct eval_added eval_meters_add(const struct eval_meter_mask *meters, size_t n_meters, const float *z,
                                  const float *rank, const float *y, size_t n);
void eval_meter_figures(const struct eval_meter *m, struct report_figures *out); /* NaN where undefined */
/* The reliability diagram: examples in order of their logit, cut into REPORT_RELIABILITY parts of as many each (fewer where
 * equal logits span several).  A prediction is known to a bin's width, 1/128 of a logit.  *error: the mean of |predicted -
 * observed| over the parts by their examples (expected calibration error), NaN without examples.  Returns how many. */
uint32_t eval_meter_reliability(const struct eval_meter *m, struct report_reliability out[REPORT_RELIABILITY],
                                double *error);
/* AUC of one list, ties half; NaN without both labels. */
double eval_auc(const float *z, const float *y, const uint8_t *mask, size_t n);

struct eval_warmup { /* not counted before; learning and calibrators go on */
    uint64_t slates;
    int64_t ms; /* after the first event's time */
};
struct eval_setup {
    size_t n_parts;
    const char *const
        *part_names; /* (n_parts), read at the call: text and match are no cheap parts; NULL: all are cheap */
    size_t n_tasks;  /* rows of part_logits after the parts': logits of the tasks' probabilities (model/tasks.h) */
    struct eval_warmup warmup;
    /* There are no sentence states, so that the baseline `frozen` says nothing: its figures are undefined. */
    bool no_frozen;
    /* Of several threads: its workers evaluate beside the learner, with the same bits; NULL: at once. */
    struct pool *pool;
    uint32_t n_segments;             /* configured columns in slate.segments */
    uint32_t n_k, k[REPORT_K_MAX];   /* cuts of NDCG and recall; none: 5, 10, 20 */
    int64_t window_ms, half_life_ms; /* 0: a day */
};
/* Takes eval.* of c; n_parts, part_names, warmup and n_segments are the caller's.  INVALID names the key. */
enum status eval_setup_of(struct eval_setup *out, const struct conf *c, struct err *e) MUST_CHECK;
/* Does the slate after `slates` others, opened so long after the stream's first event, count? */
static inline bool eval_counts(const struct eval_warmup *w, uint64_t slates, int64_t since_ms)
{
    return slates >= w->slates && since_ms >= w->ms;
}
struct eval;
enum status eval_new(struct eval **out, const struct eval_setup *setup, struct err *e) MUST_CHECK;
void eval_free(struct eval *ev);
/* A slate whose labels are settled, with what was predicted when it was opened: logits (K), part_logits (parts and
 * tasks, K), frozen (K) cosine of the baseline. first_ms: time of the stream's first event.  One that was cut off is counted
 * as such, and nothing else is done with it. */
enum status eval_slate(struct eval *ev, const struct slate *s, const float *logits, const float *part_logits,
                       const float *frozen, int64_t first_ms, struct err *e) MUST_CHECK;
bool eval_next_counts(const struct eval *ev, const struct slate *s, int64_t first_ms); /* it is behind the warm-up */
/* part_names: of the parts, then of the tasks. */
void eval_report(const struct eval *ev, const char *const *part_names, struct report *out);
/* The rest, for a report at the end: what report.h's struct says.  names NULL: without segments.  out is zeroed first. */
struct eval_names;
void eval_report_detail(const struct eval *ev, const struct eval_names *names, struct report_detail *out);
/* The model's figures since the last call of eval_recent_clear: progress lines and live metrics. */
void eval_recent(const struct eval *ev, struct report_figures *out);
void eval_recent_clear(struct eval *ev);
void eval_encode(struct buf *b, const struct eval *ev);
enum status eval_decode(struct eval *ev, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
