/* eval_time.h - the figures over time: the newest windows, exponentially decayed, and the whole curve in a bounded number of points.
 *
 * All by the time at which a slate was shown (slate.time_ms), aligned to the epoch.  Windows: the newest 29 of eval.window_ms.
 * Curve: at most 128 spans, of a minute at first; when the stream outgrows them, neighbours are merged into the next coarser
 * span (1 5 15 minutes, 1 3 6 12 hours, 1 2 4 … days).  Decayed: forward decay (Cormode et al. 2009) with eval.half_life_ms.
 * Cohorts of recorded lists (eval_cohort.h) are counted in the spans.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_TIME_H
#define TRAINER_EVAL_TIME_H
#include "schemas/slate.h"
#include "trainer/eval_cohort.h"
#include "trainer/eval_light.h"

#define EVAL_WINDOWS 29
#define EVAL_SPANS REPORT_CURVE_MAX

struct eval_span {
    struct eval_light model;
    double baselines[REPORT_BASELINES]; /* sums of AUC over model.gauc_slates slates */
    struct report_cohort cohort;        /* counts */
};
struct eval_time {
    int64_t window_ms, half_life_ms;
    int64_t newest_window;                   /* index of the newest; INT64_MIN: none yet */
    struct eval_light windows[EVAL_WINDOWS]; /* window w lies at w mod EVAL_WINDOWS */
    int64_t decay_base_ms;                   /* time at which a weight in `decayed` is 1 */
    int64_t newest_ms;
    struct eval_light decayed;
    uint32_t width;     /* which of the spans' widths is in force */
    int64_t first_span; /* index of spans[0]; INT64_MIN: none yet */
    struct eval_span spans[EVAL_SPANS];
    uint32_t n_spans;
};
void eval_time_init(struct eval_time *t, int64_t window_ms, int64_t half_life_ms);
/* One settled slate: its terms, and the AUC of each baseline (read only when the slate has both labels).  counted: it is behind
 * the warm-up; else only the course over time has it. */
void eval_time_add(struct eval_time *t, const struct slate *s, const struct eval_terms *terms,
                   const double baselines[REPORT_BASELINES], bool counted);
void eval_time_report(const struct eval_time *t, struct report_detail *out);
void eval_time_encode(struct buf *b, const struct eval_time *t);
/* converted: the state has conversions; r->bad: damage. */
void eval_time_decode(struct eval_time *t, bool converted, struct buf_reader *r);
#endif
