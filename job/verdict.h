/* verdict.h - the version log: what was said of versions, by the gate or by an operator, and which offsets a discarded line had learnt.
 *
 * The VERDICTS_MAX newest, oldest first; part of the learner's state, read from outside by `freshet model versions`.  After a
 * rollback "each event is learnt from exactly once" is said per line: ranges says what the discarded one had learnt beyond
 * the version that took its place.
 */
#ifndef JOB_VERDICT_H
#define JOB_VERDICT_H
#include "base/buf.h"
#include "base/status.h"
#include "ingest/source.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERDICTS_MAX 64
#define VERDICT_WHO 160
#define VERDICT_REASON 240

enum verdict_kind {
    VERDICT_BLESS,
    VERDICT_ROLLBACK,
    VERDICT_REFUSE,
    VERDICT_PROMOTE,
    VERDICT_PIN,
    VERDICT_UNPIN,
    VERDICT_CHAMPION, /* another variant is in charge */
    VERDICT_VARIANT,  /* of a challenger's line, which the reason names */
    VERDICT_KINDS
};
struct verdict_range { /* records [from, to) of a partition; a log file is partition 0 */
    uint32_t topic, partition;
    uint64_t from, to;
};
struct verdict {
    enum verdict_kind kind;
    uint64_t version;  /* the newest one when it was said; of a refusal the one refused */
    uint64_t about;    /* what was gone back to, blessed or pinned; 0: it has no number */
    uint64_t examples; /* learnt by then */
    int64_t time_ms;   /* event time; INT64_MIN: before the first event */
    int64_t wall_ms;   /* an order's; 0: the gate's own */
    char who[VERDICT_WHO], reason[VERDICT_REASON];
    struct verdict_range *ranges; /* (n_ranges), the log's */
    size_t n_ranges;
};
struct verdict_log { /* zeroed is empty */
    struct verdict items[VERDICTS_MAX];
    size_t n;
    uint64_t total; /* ever said */
};
/* A copy of v goes in, the oldest out.  ranges: from's places to now's, of the partitions in both; n_from 0: none.  OOM. */
enum status verdict_add(struct verdict_log *g, const struct verdict *v, const struct source_offset *from, size_t n_from,
                        const struct source_offset *now, size_t n_now, struct err *e) MUST_CHECK;
void verdict_fini(struct verdict_log *g);
const char *verdict_name(enum verdict_kind k); /* "rollback" */
/* What is said of a version: the newest verdict that made it blessed, refused or gone back from; NULL: nothing. */
const struct verdict *verdict_of(const struct verdict_log *g, uint64_t version);
bool verdict_discards(const struct verdict_log *g, uint64_t version); /* it lies on a line that was discarded */
void verdict_encode(struct buf *b, const struct verdict_log *g);
enum status verdict_decode(struct verdict_log *g, struct buf_reader *r, struct err *e) MUST_CHECK;
#endif
