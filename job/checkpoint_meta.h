/* checkpoint_meta.h - what a state folder says of itself, read beside a running learner: nothing is locked or changed.
 *
 * Records of STORE_META: "version" (the newest, with its SHA-256), "meaning" (the keys that the state follows from) and,
 * for each version whose weight file is kept, "version/<n>" (what it had learnt).  checkpoint.c writes them.
 */
#ifndef JOB_CHECKPOINT_META_H
#define JOB_CHECKPOINT_META_H
#include "base/buf.h"
#include "base/hash.h"
#include "base/store.h"
#include "job/learner.h"

/* Record "version": the newest. */
struct checkpoint_mark {
    uint64_t version;
    uint64_t dead_letters; /* the mark of their sink */
    uint64_t epoch;        /* the largest that the folder has seen */
    char sha256[HASH_SHA256_HEX];
};
void checkpoint_mark_encode(struct buf *b, const struct checkpoint_mark *m);
enum status checkpoint_mark_decode(struct checkpoint_mark *out, struct str record,
                                   struct err *e) MUST_CHECK; /* CORRUPT */
/* Record "lines": how many variants there are (buf_varint), then each: its name, the hash of its weights, what it follows from. */
struct checkpoint_line {
    struct str name, meaning; /* within the record */
    char sha256[HASH_SHA256_HEX];
};
enum status checkpoint_line_decode(struct checkpoint_line *out, struct buf_reader *r,
                                   struct err *e) MUST_CHECK; /* CORRUPT */

struct checkpoint_meta {
    uint64_t version; /* 0: no checkpoint yet */
    uint64_t epoch;   /* the largest lease epoch the folder has seen */
    char sha256[HASH_SHA256_HEX];
    struct buf meaning; /* one key=value a line; the last line is base+parts=<fingerprint> */
    struct store *store;
};
struct checkpoint_version { /* what a version had learnt */
    uint64_t examples, slates, steps;
    int64_t watermark_ms; /* INT64_MIN: before the first event */
};
/* Tried in a child first: nothing is verified here, and LMDB ends a process that reads some kinds of damage.
 * NOT_FOUND: no state folder there; CORRUPT, UNSUPPORTED (built without LMDB), OOM, IO as store_open. */
enum status checkpoint_meta_open(struct checkpoint_meta *out, const char *dir, struct err *e) MUST_CHECK;
void checkpoint_meta_close(struct checkpoint_meta *m); /* zeroed is fine */
/* NOT_FOUND: nothing is recorded of that version. */
enum status checkpoint_meta_version(const struct checkpoint_meta *m, uint64_t version, struct checkpoint_version *out,
                                    struct err *e) MUST_CHECK;
/* The version log, and the version that is pinned (0: none).  Empty when the folder has none.  verdict_fini afterwards, on
 * failure too.  CORRUPT, UNSUPPORTED, OOM. */
struct verdict_log;
enum status checkpoint_meta_verdicts(const struct checkpoint_meta *m, struct verdict_log *out, uint64_t *pinned,
                                     struct err *e) MUST_CHECK;
/* The writer's half: records what l has learnt as `version`, and drops the record of the one that `keep` versions leave. */
enum status checkpoint_meta_put(struct store_txn *t, const struct learner *l, uint64_t version, uint64_t keep,
                                struct err *e) MUST_CHECK;
#endif
