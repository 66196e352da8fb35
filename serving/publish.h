/* publish.h - the learner's hand towards Redis: versions, features and metrics, uploaded by a thread of its own.
 *
 * The learner hands over immutable snapshots and goes on; it never waits for Redis.  Newest wins for versions and
 * metrics; feature batches wait in a bounded list, and when that is full publish_features_begin says AGAIN, so that what
 * changed stays marked in the learner's tables and is coalesced there.  A batch that was taken is tried until it is in.
 * One learner per model: a lease with a random owner token and an epoch is watched by every transaction that writes, and
 * there are no other writes.  Calls: one thread (the
 * learner's), unless said otherwise.
 */
#ifndef SERVING_PUBLISH_H
#define SERVING_PUBLISH_H
#include "base/buf.h"
#include "base/clock.h"
#include "base/status.h"
#include "schemas/command.h"
#include "schemas/conf.h"
#include "serving/publish_manifest.h"
#include <stdbool.h>

#define PUBLISH_LEASE_MS 10000
#define PUBLISH_HUNG_MS 60000 /* a learner without a sign of life for so long does not keep the lease */
#define PUBLISH_BATCHES_MAX 8 /* feature batches waiting */
#define PUBLISH_BATCH_BYTES ((size_t)8 << 20)
#define PUBLISH_METRICS_MAX 192
#define PUBLISH_INFO_MAX 16

struct publish;

/* Starts the uploader, which connects by itself: Redis being down is no error.  epoch: the largest that the state folder has
 * seen; ours will be larger.  OK with *out NULL when redis.url is empty; every other call takes a NULL p and does nothing.
 * clock is borrowed.  INVALID, IO (password file), UNSUPPORTED, OOM. */
enum status publish_open(struct publish **out, const struct conf *c, struct clock *clock, uint64_t epoch,
                         struct err *e) MUST_CHECK;
/* The same for the weights of a variant of the model that leader publishes: c is the variant's (conf_line_new), its keys are its
 * own, and what it writes is fenced by the leader's lease: while that is not held it waits.  Features are the leader's alone.
 * Close it before the leader.  OK with *out NULL when leader is. */
enum status publish_open_variant(struct publish **out, struct publish *leader, const struct conf *c,
                                 struct err *e) MUST_CHECK;
/* SIGHUP: takes the live keys of c (publish.keep, publish.feature_ttl_s). */
void publish_reload(struct publish *p, const struct conf *c);
/* The job ends: a Redis that is away is not tried again.  The lease stays held until publish_close. */
void publish_ending(struct publish *p);
/* Uploads what waits, for at most 1 s and not at all while Redis is away, gives the lease back, ends the thread. */
void publish_close(struct publish *p);
/* A sign of life.  After the first one the lease is renewed only while they come, PUBLISH_HUNG_MS apart at most: a learner
 * that hangs loses it to whoever stands by. */
void publish_alive(struct publish *p);
/* Waits until nothing waits and nothing is under way.  AGAIN after timeout_ms; CONFLICT or the last error's code when it
 * can't go on.  For the end of a replay and for tests. */
enum status publish_flush(struct publish *p, int64_t timeout_ms, struct err *e) MUST_CHECK;

/* A durable checkpoint that becomes a version.  Strings are copied. */
struct publish_version {
    uint64_t version, parent, examples;
    int64_t watermark_ms;    /* INT64_MIN: no event yet, which outside is 0 */
    int64_t settled_ms;      /* event time that settled its last slate */
    int64_t settled_wall_ms; /* the same by the wall clock: freshness counts from here (equal under live streams) */
    int64_t consumed_wall_ms,
        learnt_wall_ms; /* when the learner took that event, and when it was done with it; 0: not said */
    bool live;          /* true: events come as they happen; false: a replay */
    char sha256[HASH_SHA256_HEX];
    char base[HASH_SHA256_HEX]; /* model_fingerprint in hex */
    uint64_t features;          /* feat_recipe; 0: not said */
    const char *reason;         /* "interval", "steps", "final", … */
    const char *verdict;        /* of the gate; NULL: "accepted" */
    bool rounded;               /* the dense piece holds bf16 */
    const char *champion;       /* the variant in charge from now on, "": the default one; NULL: not said */
    const char *topics;         /* ingest.topics, "a, b", that offsets are of; NULL: none, files were read */
    const struct publish_offset *offsets;
    size_t n_offsets;
};
struct publish_hashed { /* rows besides the dense piece, read during the call; their number is the same at each call */
    const float *rows;
    size_t n;
};
/* take_file: the dense piece (weights_dense_encode), or a whole weight file without moments and then hashed is NULL; taken
 * over and left empty, on failure too.  Of the hashed rows those are copied that were touched since the last call: all of
 * them at the first one. */
enum status publish_weights(struct publish *p, const struct publish_version *v, struct buf *take_file,
                            const struct publish_hashed *hashed, struct err *e) MUST_CHECK;
/* Hashed rows of a page changed, or may have.  What was changed and not said would never arrive. */
#define PUBLISH_PAGE 64 /* rows */
void publish_touch(struct publish *p, size_t page);

/* Features: one batch, packed records by key, handed over whole.  A batch that is full (FULL from a put) is ended, and the
 * rest comes with the next one.  begin: AGAIN when PUBLISH_BATCHES_MAX wait (nothing is lost: try at the next interval).
 * An empty record: its key is deleted. */
struct publish_batch;
enum status publish_features_begin(struct publish *p, struct publish_batch **out, struct err *e) MUST_CHECK;
enum status publish_put_user(struct publish_batch *b, struct str id, struct str packed, struct err *e) MUST_CHECK;
enum status publish_put_item(struct publish_batch *b, struct str id, struct str packed, struct err *e) MUST_CHECK;
enum status publish_put_state(struct publish_batch *b, uint64_t hash, struct str packed, struct err *e) MUST_CHECK;
/* False when this state was handed over already and has not half expired: saves the caller the packing. */
bool publish_wants_state(struct publish *p, uint64_t hash);
void publish_features_end(struct publish *p, struct publish_batch *take_b); /* an empty one is dropped; NULL is fine */
void publish_features_cancel(struct publish *p, struct publish_batch *take_b);

/* Figures for dashboards: HSET fr:m:metrics, XADD fr:m:metrics:ts; info: HSET fr:m:info.  Names per docs/METRICS.md; a
 * field that is not finite is written as 0.  freshness_p50_ms and freshness_p99_ms are the scorers': do not give them.
 * Newest wins.  FULL: more than PUBLISH_METRICS_MAX or PUBLISH_INFO_MAX fields. */
struct publish_metric {
    const char *name;
    double value;
};
struct publish_info {
    const char *name, *value;
};
enum status publish_metrics(struct publish *p, const struct publish_metric *fields, size_t n,
                            const struct publish_info *info, size_t n_info, struct err *e) MUST_CHECK;

/* True once after Redis lost what it had (flushed, restarted, older data): the job hands out all records again, in slices of
 * its own time: begin, put until FULL or the slice is over, end, and on with the next tick; AGAIN from begin means that
 * enough waits for now.  (The last version that this process published is put back by the uploader itself, as is one whose
 * manifest, chunks or name in fr:{m}:current are gone.) */
bool publish_lost(struct publish *p);

/* Orders to the learner (schemas/command.h), as they come in through Redis: the next one that was not given out yet; each is
 * answered once, after the version that it led to was handed over.  One that is not answered comes again in the next process. */
bool publish_order(struct publish *p, struct command *out);
void publish_answer(struct publish *p, const struct command_answer *a);
/* What is said of a version besides its publication: an entry of fr:{m}:log.  The newest PUBLISH_NOTES_MAX wait. */
#define PUBLISH_NOTES_MAX 16
struct publish_note {
    char kind[16]; /* "refuse", "rollback", "bless", … */
    uint64_t version, about, at; /* the one it is about, with its hash; the same, 0: it has no number; the newest one then */
    char sha256[HASH_SHA256_HEX], reason[240], who[160];
    bool says_champion;               /* who is in charge is said with it, whatever becomes of the version at hand: */
    char champion[CONF_VARIANT_NAME]; /* "": the default variant */
};
void publish_note(struct publish *p, const struct publish_note *n);

enum publish_lease {
    PUBLISH_LEASE_NONE, /* Redis not reached yet */
    PUBLISH_LEASE_HELD,
    PUBLISH_LEASE_FOREIGN, /* someone else's, we never had it: refuse to start, or stand by; taken when it ends */
    PUBLISH_LEASE_CONFLICT, /* we had it and another took it, and may have gone since: final, nothing is written any more, the
                               job must stop */
};
struct publish_state {
    bool connected;
    enum publish_lease lease;
    uint64_t epoch;         /* of our lease: 1 + the largest seen */
    int64_t lease_until_us; /* clock's mono_us at which our lease ends unless it is renewed; 0: never held */
    uint64_t version;       /* last one put in force by us; 0: none */
    int64_t published_wall_ms;
    /* What Redis had in force, whole, when it was looked at last (every second): by whomever it was published.  A
     * learner that finds another SHA-256 there than its newest checkpoint's, with nothing waiting, publishes that. */
    bool looked;
    uint64_t in_force; /* 0: nothing, or it is damaged */
    char in_force_sha256[HASH_SHA256_HEX];
    uint64_t n_versions, n_batches, n_failures, n_turns; /* turns: rounds of the uploader, good or failed */
    size_t waiting;                                      /* batches, versions and metrics not uploaded yet */
    /* What the learner before us left in Redis if it ended in order, with everything uploaded; else empty. */
    char left_sha256[65];
    /* The last failure; FULL: Redis has no memory, names used and limit; while FOREIGN or CONFLICT it names the owner's host
     * and pid. */
    struct err error;
};
void publish_state(struct publish *p, struct publish_state *out); /* Thread: any */
const char *publish_lease_name(enum publish_lease l);             /* "held" */
#endif
