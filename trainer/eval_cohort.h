/* eval_cohort.h - recorded lists by the time they were shown: what was shown, what of it was taken, what converted.
 *
 * A list is counted when its window has ended, so no cohort has a list that could still gain a label, and rates of young cohorts
 * are not too low.  Taken: a positive label; converted: a behaviour of eval.conversion met the item (SLATE_CONVERTED).
 * struct eval_cohorts keeps the newest REPORT_COHORTS of one length, aligned to the epoch.  Thread: the learner's.
 */
#ifndef TRAINER_EVAL_COHORT_H
#define TRAINER_EVAL_COHORT_H
#include "base/buf.h"
#include "schemas/report.h"
#include "schemas/slate.h"

struct eval_cohorts {
    int64_t width_ms, newest; /* newest: its number; INT64_MIN: none yet */
    /* Number n lies at n mod REPORT_COHORTS; its times are made for the report. */
    struct report_cohort at[REPORT_COHORTS];
};
/* One recorded list; without times.  Other slates: nothing. */
struct report_cohort eval_cohort_of(const struct slate *s);
void eval_cohort_encode(struct buf *b, const struct report_cohort *c); /* counts */
void eval_cohort_decode(struct report_cohort *c, struct buf_reader *r);
void eval_cohorts_init(struct eval_cohorts *c, int64_t width_ms);
/* Of a list that was shown then; one that is older than all that are kept is dropped. */
void eval_cohorts_add(struct eval_cohorts *c, int64_t shown_ms, const struct report_cohort *list);
uint32_t eval_cohorts_report(const struct eval_cohorts *c, struct report_cohort out[REPORT_COHORTS]); /* oldest first */
void eval_cohorts_encode(struct buf *b, const struct eval_cohorts *c);
/* Of another width than c's: read, and c begins anew. */
void eval_cohorts_decode(struct eval_cohorts *c, struct buf_reader *r); /* r->bad: damage */
#endif
