/* join.h - the label joiner: which open slate a behaviour belongs to, and when a slate's labels are settled.
 *
 * An impression opens a slate; a behaviour marks the item in the newest slate that shows it: of the `request` that it names
 * (pages of one are several slates), else of the same user, where the slate's window holds the behaviour's time.  When the
 * watermark has passed time + join.window_ms the whole
 * slate is settled, unmarked items negative.  Holds ids, hashes and labels only: features stay with the slate itself.
 * Part of the state.  Settling order is by (due time, slate id).
 *
 * What is learnt when is join.loss (trainer/loss_delay.h has the weights): `wait` learns at the window's end; `fnw` when the slate
 * opens, as negatives, and each mark by itself; `importance` once join.wait_ms has passed, and each later mark by itself.  The
 * joiner says when (join_settle with ended false) and, of slates that were learnt from (join_learnt), which marks are copies of
 * their own (join_copy).
 */
#ifndef INGEST_JOIN_H
#define INGEST_JOIN_H
#include "base/buf.h"
#include "base/status.h"
#include "schemas/conf.h"
#include "schemas/event.h"

struct join;
struct join_settled { /* valid until the next call on the joiner */
    uint64_t slate;
    int64_t due_ms;
    uint32_t n;
    /* Leading items that count.  join.cascade: who marks an item has looked at those above it, and at none below the last one
     * marked; nobody stopped at a list without marks, so it counts whole (Craswell et al. 2008).  Else n. */
    uint32_t n_seen;
    const float *labels;   /* n of {0, 1}, in shown order */
    const float *weights;  /* n, of the strongest type that marked it; 1 where unmarked */
    const uint32_t *tasks; /* n, bit t: a behaviour of task t (conf_tasks) met it; SLATE_CONVERTED */
    const uint8_t *early;  /* at the end, of a slate that was handed out before: n, its labels then; else NULL */
    bool learnt;           /* join_learnt was said of it */
    bool ended; /* false: join.wait_ms has passed (loss importance), and the slate stays open until its end */
};
/* A mark that is learnt by itself, as the slate was learnt from before it came: what it adds to the item's weight. */
struct join_copy {
    uint64_t slate;
    uint32_t place; /* in shown order */
    float weight;   /* > 0 */
    bool positive;
    bool first; /* positive, and the item was no positive before */
};
struct join_counts {
    uint64_t matched, unmatched, late; /* late: its request is known to be settled already */
    uint64_t early_settled;            /* slates closed before their window ended: one of the two bounds */
    uint64_t duplicate;                /* behaviours that told nothing new: an equal or stronger one had said it, and its task */
    uint64_t expired;                  /* slates whose window ended without a mark */
};
enum status join_new(struct join **out, const struct conf *c, struct err *e) MUST_CHECK;
void join_free(struct join *j);
/* Opens: `slate` is the new slate's id, > 0; ev an impression.  FULL is never returned: beyond join.open_slates the oldest
 * becomes due at once. */
enum status join_open(struct join *j, uint64_t slate, const struct event *ev, struct err *e) MUST_CHECK;
/* Memory is short: the oldest open slate becomes due at once. */
void join_hurry(struct join *j);
/* One behaviour line.  *matched: it marked (or, for a type without label, merely met) an open slate's item. */
enum status join_mark(struct join *j, const struct event *ev, bool *matched, struct err *e) MUST_CHECK;
/* The same for a line whose order is still being assembled, so that its slate does not settle without it meanwhile: true
 * when it marked.  Else nothing is counted, and join_mark has the last word. */
bool join_mark_early(struct join *j, const struct event *ev);
/* The slate that was opened or handed out (ended false) last was learnt from: its marks are copies from now on. */
void join_learnt(struct join *j);
/* The copy that the last join_mark or join_mark_early made; false: none (always so with loss wait). */
bool join_copy(const struct join *j, struct join_copy *out);
/* Next slate that is due at this watermark, for the first time or at its end; NOT_FOUND when none.  flush: INT64_MAX. */
enum status join_settle(struct join *j, int64_t watermark_ms, struct join_settled *out, struct err *e) MUST_CHECK;
size_t join_open_count(const struct join *j);
const struct join_counts *join_counts(const struct join *j);
void join_encode(struct buf *b, const struct join *j);
/* Formats 1 (loss wait alone) and 2.  CORRUPT; OOM. */
enum status join_decode(struct join *j, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
