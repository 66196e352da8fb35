/* checkpoint.h - the state folder: what is durable, and when.
 *
 *   state.mdb            LMDB: offsets, records, hashed rows, open slates, evaluator, name and hash of the weight file
 *   weights/<version>    parameters and dense moments (schemas/weights.h); <version>.<name>: a variant's
 *   weights/newest       which checkpoint was the last (job/checkpoint_newest.h)
 *   backup/<version>/    hot copies (job/checkpoint_backup.h)
 *   damaged-<time>-<pid>/  what was set aside, the three newest
 *   lock                 who owns the folder (base/store_lock.h)
 *
 * A checkpoint: weight file written, fsync, renamed, folder fsync; then one store commit that names it; then `newest`.  A
 * crash between the first two leaves a file nobody names, removed at the next start; between the last two, a checkpoint that
 * nobody has seen and that counts.  A version is a checkpoint's number, and is never given out twice: after a fall-back
 * numbers go on above all that were there.  Thread: learner's.
 */
#ifndef JOB_CHECKPOINT_H
#define JOB_CHECKPOINT_H
#include "job/learner.h"

#define CHECKPOINT_LOGS_MAX 4096        /* log files remembered as learnt */
#define CHECKPOINT_UNCOUNTED UINT64_MAX /* an earlier version learnt it together with others: not counted */

/* What a log file is known by: its first bytes and, once it was read to its end, the last ones before that, so that a file
 * that grew is still itself, and another that only begins alike is not.  Pipes are not known again. */
struct checkpoint_log {
    uint64_t hash;
    uint32_t n;          /* first bytes hashed, at most 4,096 */
    uint64_t records;    /* of it that were taken, or CHECKPOINT_UNCOUNTED */
    uint64_t size, tail; /* bytes when it was read to its end (0: not yet), and the hash of the last of them */
};
struct checkpoint; /* the open folder */
struct checkpoint_options {
    bool
        take_over; /* the lease is ours, but a process that lost it may still hold the folder: takes it all the same, so that
                       nothing the other one still does reaches it (it finds itself fenced) */
    uint64_t epoch; /* of our lease; 0: none */
};
/* Verifies everything first, in a child process; a damaged store is set aside, and the newest verified backup takes its place
 * (checkpoint_recovered says so).  CONFLICT: another process holds the folder; its pid is in the text.  CORRUPT: damaged, and
 * no backup is sound. */
enum status checkpoint_open(struct checkpoint **out, const struct conf *c, const char *dir, struct checkpoint_options o,
                            struct err *e) MUST_CHECK;
struct checkpoint_recovery {
    bool recovered;
    uint64_t version; /* what it fell back to */
    uint64_t lost;    /* the newest version known to have been there; 0: not known */
    char aside[600];  /* where the damaged files went */
    char reason[400];
};
const struct checkpoint_recovery *checkpoint_recovered(const struct checkpoint *cp);
/* CONFLICT once another learner has taken the folder over: host, pid and epoch are in the text. */
enum status checkpoint_fenced(const struct checkpoint *cp, struct err *e) MUST_CHECK;
void checkpoint_set_epoch(struct checkpoint *cp, uint64_t epoch); /* part of the next checkpoint */
/* A hot copy of the newest checkpoint into backup/<version>, with SHA-256 sums; keeps the state.backup_keep newest.  Begins
 * it on a thread of its own and returns at once (OK and nothing done while one is under way, or when the version is there
 * already); what came of it is logged, and a failure is also returned by the next call.  Failures leave no half of one and harm
 * nothing. */
enum status checkpoint_backup(struct checkpoint *cp, struct err *e) MUST_CHECK;
/* Waits for the one under way; its failure, if any.  checkpoint_close waits a second and gives it up then. */
enum status checkpoint_backup_wait(struct checkpoint *cp, struct err *e) MUST_CHECK;
void checkpoint_close(struct checkpoint *cp);
struct store *checkpoint_store(struct checkpoint *cp);
/* A fresh folder goes on with a line that is published already: its first version is one above this one. */
void checkpoint_go_on_after(struct checkpoint *cp, uint64_t version);
uint64_t checkpoint_version(const struct checkpoint *cp); /* 0: fresh folder */
uint64_t checkpoint_next(const struct checkpoint *cp);    /* the number that the next one will have */
/* Its weight file is kept.  name: a variant's; NULL: the default line's. */
bool checkpoint_has(const struct checkpoint *cp, uint64_t version, const char *name);
/* Weights and dense moments of a kept version into the line of l, and out of its reservoir what was learnt since; accumulators
 * of sparse rows and the sums behind running statistics stay as they are (only the blessed version has those kept).  NOT_FOUND:
 * not kept; CORRUPT; CONFLICT or INVALID: of another model. */
enum status checkpoint_take(struct checkpoint *cp, struct learner *l, uint64_t version, struct err *e) MUST_CHECK;
/* Parameters alone, of the default line (name NULL) or a variant, in a set of their own (refs 1).  Errors as checkpoint_take's;
 * OOM. */
enum status checkpoint_params(struct checkpoint *cp, const struct model *m, uint64_t version, const char *name,
                              struct param_set **out, struct err *e) MUST_CHECK;
const char *checkpoint_sha256(const struct checkpoint *cp); /* of that version; "" when fresh */
/* Of a kept version of the default line, by its weight file.  NOT_FOUND: not kept; CORRUPT; OOM. */
enum status checkpoint_sha256_of(struct checkpoint *cp, const struct model *m, uint64_t version,
                                 char out[HASH_SHA256_HEX], struct err *e) MUST_CHECK;
/* Restores l from the newest checkpoint; OK and nothing done on a fresh folder.  A config that changes what the state
 * means is CONFLICT, naming the key. */
enum status checkpoint_restore(struct checkpoint *cp, struct learner *l, struct err *e) MUST_CHECK;
/* Makes everything durable as version + 1.  On failure the folder still holds the last one.  FULL: the disk is (what was
 * learnt stays in memory: wait and call again); CONFLICT: fenced; all else stops the job. */
enum status checkpoint_write(struct checkpoint *cp, struct learner *l, struct err *e) MUST_CHECK;
/* Where the dead letters stood (reject_sink_sync's mark): set before a checkpoint, read at start. */
uint64_t checkpoint_dead_letters(const struct checkpoint *cp);
void checkpoint_set_dead_letters(struct checkpoint *cp, uint64_t length);
/* The log files of this replay (n; use, skip: n).  next: ordinal of the next record (offset of partition 0).  Marks in use[]
 * which files to read (files learnt whole before are left out) and sets in skip[] how many of their records were taken
 * already.  CONFLICT when the folder is in the middle of other logs, or a file grew that was not counted.  The paths are
 * borrowed until checkpoint_logs_done. */
enum status checkpoint_logs(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, uint64_t *skip,
                            uint64_t next, struct err *e) MUST_CHECK;
/* The same for files that are read whole each time (dead letters): only a replay of them that was cut off is gone on with. */
enum status checkpoint_logs_again(struct checkpoint *cp, const char *const *paths, size_t n, bool *use, uint64_t *skip,
                                  uint64_t next, struct err *e) MUST_CHECK;
/* All part of the next checkpoint; i counts the files in use.  A record of one was taken; its end was found after `size`
 * stored bytes; all ended. */
void checkpoint_log_took(struct checkpoint *cp, size_t i);
void checkpoint_log_read(struct checkpoint *cp, size_t i, uint64_t size);
void checkpoint_logs_done(struct checkpoint *cp);
#endif
