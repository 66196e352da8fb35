/* arms.h - what users did with what each variant served: rates between arms that users were randomised into.
 *
 * Only recorded impressions that echo the reply's `variant` count, once they are settled (so a list is older than the window),
 * and only those of a known user, since the arm follows from the user's hash.  Rates are per shown item (CTR: any positive label)
 * and per list (conversion: a list with a behaviour of eval.conversion), with intervals clustered by user
 * (trainer/cluster_rate.h), and by cohorts of
 * eval.window_ms by the time of showing.  The sample-ratio check counts each
 * user once and compares with the configured shares (Fabijan et al. 2019), by a test that holds however often it is looked at
 * (trainer/ratio.h): when it fails, the arms do not differ by the variant alone, and no comparison of theirs means anything.  An
 * alarm stays until the split changes.
 *
 * All this is of one split: when shares change, or who is in charge, rates and sample begin anew (users then come to other arms, and
 * another time has other rates: summed up over both, an arm would differ by when it was large).  The cohorts go on.
 *
 * Users are counted in a sample that is chosen by their hash and thinned as it fills, so that memory is bounded and each user of
 * the sample is counted exactly.  Thread: the learner's.
 */
#ifndef TRAINER_ARMS_H
#define TRAINER_ARMS_H
#include "schemas/conf_variant.h"
#include "schemas/report.h"
#include "schemas/slate.h"
#include "trainer/cluster.h"
#include "trainer/eval_cohort.h"

#define ARMS_USERS_MAX 16384 /* of the sample */
#define ARMS_ALARM_P 0.001   /* of the sample-ratio check: so many right splits are ever called wrong, at most */

struct arms;
enum status arms_new(struct arms **out, int64_t cohort_ms, struct err *e) MUST_CHECK;
void arms_free(struct arms *a);
struct arms_seen {  /* one settled list */
    uint64_t slate; /* its id */
    struct str user;
    size_t line; /* that served it (conf_line_find) */
    int64_t shown_ms;
    struct report_cohort counts; /* of this one (eval_cohort_of) */
};
void arms_add(struct arms *a, const struct arms_seen *seen);
/* How c splits users now.  Another split than before: lists that were opened from next_slate on count for it, no others. */
void arms_split(struct arms *a, const struct conf *c, size_t in_charge, uint64_t next_slate);
/* c: names and shares; in_charge: the line that serves the rest, and that the others are compared with. */
void arms_report(const struct arms *a, const struct conf *c, size_t in_charge, struct report_arms *out);
/* Behind one another in a state: all but the cohorts; then these, the split, and the sample-ratio check, which states of before do
 * not have (of them the check goes by the sample that they hold: arms_ratio_recount).
 * The rates are kept by the variants' names in c: a line that is gone is left out, a new one begins at nothing. */
void arms_encode(struct buf *b, const struct arms *a, const struct conf *c);
enum status arms_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e) MUST_CHECK;
void arms_cohorts_encode(struct buf *b, const struct arms *a, const struct conf *c);
enum status arms_cohorts_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e) MUST_CHECK;
void arms_split_encode(struct buf *b, const struct arms *a, const struct conf *c);
enum status arms_split_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e) MUST_CHECK;
void arms_ratio_encode(struct buf *b, const struct arms *a, const struct conf *c);
enum status arms_ratio_decode(struct arms *a, const struct conf *c, struct buf_reader *r, struct err *e) MUST_CHECK;
void arms_ratio_recount(struct arms *a);
#endif
