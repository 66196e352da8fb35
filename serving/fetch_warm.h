/* fetch_warm.h - what a learner without its state folder finds in Redis: the newest published version, users and items.
 *
 * Parameters, offsets, watermark, epoch and examples come with the version, after all of fetch.h's checks but the probe.
 * Not in Redis, so not found again: optimiser moments, evaluation, open slates, items' and users' changes that were not
 * published yet.  Records come by SCAN, a bounded slice a call, so that a learner may stand by and stay responsive.  Nothing
 * is written.  Thread: one (the learner's), with a connection of its own.
 */
#ifndef SERVING_FETCH_WARM_H
#define SERVING_FETCH_WARM_H
#include "base/clock.h"
#include "model/model.h"
#include "schemas/conf.h"
#include "schemas/record.h"
#include "serving/publish_manifest.h"

struct fetch_warm;
/* Connects to nothing yet; clock is borrowed.  NOT_FOUND: redis.url is empty; else errors as redis_open's. */
enum status fetch_warm_open(struct fetch_warm **out, const struct conf *c, struct clock *clock,
                            struct err *e) MUST_CHECK;
void fetch_warm_close(struct fetch_warm *w); /* NULL is fine */

/* The largest number that was given out as a version, as far as Redis tells (what is in force, and the log of publications);
 * 0: none.  IO or AGAIN (loading): ask later. */
enum status fetch_warm_newest(struct fetch_warm *w, uint64_t *version, struct err *e) MUST_CHECK;

/* The variant in charge ("": the default one), as Redis has it.  IO, AGAIN. */
enum status fetch_warm_champion(struct fetch_warm *w, char name[CONF_VARIANT_NAME], struct err *e) MUST_CHECK;
/* The version in force, or, when that is damaged, the newest older one that is sound (a line in the log says so).  One of
 * publish.dense=bf16 gives its rounded numbers, and a line in the log.
 *
 *   into      its parameters, version and sha256 ("" when rounded); changed only on success
 *   manifest  zeroed; offsets (next, mark, records, chain), watermark_ms, epoch, examples, version, parent; the caller
 *             frees it with publish_manifest_fini
 *
 * NOT_FOUND: nothing is published.  INVALID or CONFLICT: learnt on another base, other parts or shapes.  CORRUPT: no version
 * is sound.  IO, OOM. */
enum status fetch_warm_version(struct fetch_warm *w, const struct model *m, struct param_set *into,
                               struct publish_manifest *manifest, struct err *e) MUST_CHECK;

/* Each record is the callback's to read until it returns (copy, or move its members out and zero them: it is fini'd
 * afterwards).  SCAN may give one twice: the callback puts it in place of the one before.  A non-OK return stops and is
 * returned; the slice may then be asked for again. */
struct fetch_warm_sink {
    enum status (*user)(void *arg, struct record_user *u, struct err *e);
    enum status (*item)(void *arg, struct record_item *i, struct err *e);
    void *arg;
};
struct fetch_warm_counts {
    uint64_t users, items;
    uint64_t damaged; /* failed their check: passed over */
};
/* The next slice: about FETCH_WARM_SLICE keys looked at, milliseconds of work.  OK: call again; END: that was all.
 * IO: the connection was lost; the next call goes on where this one began.  OOM. */
#define FETCH_WARM_SLICE 500
enum status fetch_warm_records(struct fetch_warm *w, const struct fetch_warm_sink *sink, struct err *e) MUST_CHECK;
void fetch_warm_counts(const struct fetch_warm *w, struct fetch_warm_counts *out);
#endif
