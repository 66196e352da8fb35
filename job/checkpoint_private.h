/* checkpoint_private.h - the state folder's insides, shared by the checkpoint*.c files alone. */
#ifndef JOB_CHECKPOINT_PRIVATE_H
#define JOB_CHECKPOINT_PRIVATE_H
#include "base/store_lock.h"
#include "job/checkpoint.h"
#include "job/checkpoint_newest.h"

#define CHECKPOINT_PATH 600
#define CHECKPOINT_FILE_MAX ((size_t)1 << 36)

struct checkpoint {
    const struct conf *conf;
    char dir[CHECKPOINT_PATH - 16], weights_dir[CHECKPOINT_PATH];
    struct store_lock lock;
    int dir_fd, weights_fd, backup_fd; /* as they were opened: a folder of that name may be another one's by now */
    struct store *store;
    uint64_t version, dead_letters, epoch;
    uint64_t txnid, floor;     /* of the newest commit; no version up to floor is given out again */
    bool unfinished;           /* the store holds more than cp->version: `newest` could not be written */
    struct backup *backup;     /* one that is being written, or NULL */
    enum status backup_status; /* of the last one, until it is asked for */
    struct err backup_error;
    char sha256[HASH_SHA256_HEX];
    struct buf file, moments;                        /* kept between checkpoints */
    struct checkpoint_log done[CHECKPOINT_LOGS_MAX]; /* learnt whole, in order */
    struct checkpoint_log now[CHECKPOINT_LOGS_MAX];  /* the logs of this replay */
    const char *now_paths[CHECKPOINT_LOGS_MAX];      /* borrowed */
    uint32_t n_done, n_now;
    bool now_ended;
    struct checkpoint_recovery recovery;
    uint64_t base; /* ordinal of the first record of `now` */
};
/* checkpoint_fence.c: after a take-over, gives a new inode to everything that the old owner may write to. */
enum status checkpoint_fence(struct checkpoint *cp, struct err *e) MUST_CHECK;
/* checkpoint_recover.c: sets the damaged files aside and puts the newest sound backup in their place; fills cp->recovery.
 * CORRUPT when there is none: nothing is touched then. */
enum status checkpoint_recover(struct checkpoint *cp, const struct err *why, struct err *e) MUST_CHECK;
void checkpoint_aside_name(char out[96]); /* damaged-<UTC>-<pid> */
/* checkpoint_backup.c: the one under way gets a second more and is given up then. */
void checkpoint_backup_stop(struct checkpoint *cp);
/* LMDB leaves the pages of a state alone for two commits: waits for a backup of one that is older than that. */
void checkpoint_backup_before_commit(struct checkpoint *cp);
enum status checkpoint_logs_load(struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
enum status checkpoint_logs_save(struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
#endif
