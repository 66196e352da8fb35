/* fetch.h - the newest version out of Redis, believed only after every check.
 *
 * current → manifest → chunks: each chunk's length and SHA-256; the weight file's own checks; names and shapes against
 * this model's table; the base's fingerprint; SHA-256 of the parameters; every number finite; and at last a probe: a fixed
 * synthetic slate must score finite.  What fails any of it is refused whole, and the caller keeps what it has.  Chunks
 * that the last version had already are not fetched again.  Thread: one (the scorer's watch).
 */
#ifndef SERVING_FETCH_H
#define SERVING_FETCH_H
#include "base/clock.h"
#include "featurize/feat.h"
#include "model/model.h"
#include "serving/metric.h"
#include "serving/redis.h"
#include "serving/slot.h"

struct fetch;
/* Everything is borrowed; probe (a run without tape) and feat are used by fetch_next alone.  Errors as redis_open's. */
enum status fetch_new(struct fetch **out, const struct conf *c, struct clock *clock, const struct model *m,
                      struct model_run *probe, struct feat *feat, struct err *e) MUST_CHECK;
void fetch_free(struct fetch *f);
/* *out is the caller's (slot_publish takes it).
 * AGAIN: nothing newer than what was given out last, or the newest was refused and its back-off has not passed.
 * NOT_FOUND: nothing is published.  CORRUPT: a hash, size, number or the probe failed.  INVALID, CONFLICT: another base or
 * other shapes.  IO, OOM.  A refused version is tried again after a back-off with jitter (a quarter of a second, doubling to
 * FETCH_RETRY_MOST_MS); another one that is published meanwhile is taken at once.  A version that vanishes while it is read,
 * because a newer one replaced it, is no failure: the newer one is read. */
#define FETCH_RETRY_MOST_MS 10000
enum status fetch_next(struct fetch *f, struct slot_version **out, struct err *e) MUST_CHECK;
/* What keeps the newest version out. */
struct fetch_report {
    enum status status;       /* OK: nothing; NOT_FOUND: nothing is published; else the last failure's */
    enum metric_fetch reason; /* of the failure */
    uint64_t version;         /* that was refused; 0: not known */
    uint64_t failures, total; /* in a row, and all so far */
    uint64_t superseded;      /* versions that a newer one replaced while they were read */
    int64_t retry_ms;         /* until the next try */
    char text[sizeof(((struct err *)0)->text)];
};
void fetch_report(const struct fetch *f, struct fetch_report *out);
void fetch_cancel(struct fetch *f);         /* a download under way ends soon, with IO.  Thread: any */
struct redis *fetch_redis(struct fetch *f); /* its connection, for the watch's own small writes between calls */
#endif
