/* join.h - the label joiner: which open slate a behaviour belongs to, and when a slate's labels are settled.
 *
 * An impression opens a slate; a behaviour with its `request`, else the same user's newest slate that shows the item and
 * whose window holds the behaviour's time, marks that item; when the watermark has passed time + join.window_ms the whole
 * slate is settled, unmarked items negative.  Holds ids, hashes and labels only: features stay with the slate itself.
 * Part of the state.  Settling order is by (due time, slate id).
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
    const float *labels;  /* n of {0, 1}, in shown order */
    const float *weights; /* n, of the strongest type that marked it; 1 where unmarked */
};
struct join_counts {
    uint64_t matched, unmatched, late, early_settled; /* late: its request is known to be settled already */
};
enum status join_new(struct join **out, const struct conf *c, struct err *e) MUST_CHECK;
void join_free(struct join *j);
/* Opens: `slate` is the new slate's id; ev an impression.  FULL is never returned: beyond join.open_slates the oldest
 * becomes due at once. */
enum status join_open(struct join *j, uint64_t slate, const struct event *ev, struct err *e) MUST_CHECK;
/* Memory is short: the oldest open slate becomes due at once. */
void join_hurry(struct join *j);
/* One behaviour line.  *matched: it marked (or, for a type without label, merely met) an open slate's item. */
enum status join_mark(struct join *j, const struct event *ev, bool *matched, struct err *e) MUST_CHECK;
/* The same for a line whose order is still being assembled, so that its slate does not settle without it meanwhile: true
 * when it marked.  Else nothing is counted, and join_mark has the last word. */
bool join_mark_early(struct join *j, const struct event *ev);
/* Next slate that is due at this watermark; NOT_FOUND when none.  flush: INT64_MAX. */
enum status join_settle(struct join *j, int64_t watermark_ms, struct join_settled *out, struct err *e) MUST_CHECK;
size_t join_open_count(const struct join *j);
const struct join_counts *join_counts(const struct join *j);
void join_encode(struct buf *b, const struct join *j);
enum status join_decode(struct join *j, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
