/* checkpoint_private.h - the state folder's insides, shared by the checkpoint*.c files alone. */
#ifndef JOB_CHECKPOINT_PRIVATE_H
#define JOB_CHECKPOINT_PRIVATE_H
#include "base/store_lock.h"
#include "job/checkpoint.h"
#include "job/checkpoint_newest.h"
#include "schemas/conf_variant.h"

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
    bool old_logs;    /* `done` and `now` are as an earlier version wrote them */
    uint64_t held[2]; /* versions whose files stay beyond state.keep: the pinned one, the blessed one; 0: none */
    struct checkpoint_recovery recovery;
    uint64_t base; /* old_logs: ordinal of the first record of `now` */
};
/* One line's weight file of that version: weights/<version>, or weights/<version>.<name> of a variant (name NULL: the default
 * line).  load: CORRUPT when it is not the one with this hash. */
enum status checkpoint_write_line(struct checkpoint *cp, struct line *l, const char *name, uint64_t version,
                                  struct err *e) MUST_CHECK;
enum status checkpoint_load_line(struct checkpoint *cp, struct line *l, const char *name, const char *sha256,
                                 struct err *e) MUST_CHECK;
/* What a line follows from, one key=value a line; and CONFLICT naming the first that `then` does not have. */
void checkpoint_line_meaning(struct buf *b, const struct line *l);
enum status checkpoint_same_meaning(struct str then, struct str now, const char *dir, struct err *e) MUST_CHECK;
/* checkpoint_variants.c */
enum status checkpoint_variants_write(struct checkpoint *cp, struct learner *l, uint64_t version,
                                      struct err *e) MUST_CHECK;
enum status checkpoint_variants_put(const struct checkpoint *cp, struct store_txn *t, struct learner *l,
                                    struct err *e) MUST_CHECK;
enum status checkpoint_variants_restore(struct checkpoint *cp, struct store_txn *t, struct learner *l,
                                        struct err *e) MUST_CHECK;
/* The weight files of a version in the open folder, in order of their names. */
#define CHECKPOINT_FILE_NAME 64
void checkpoint_file_name(char out[CHECKPOINT_FILE_NAME], uint64_t version,
                          const char *name); /* "<version>[.<name>]" */
size_t checkpoint_files_of(int weights, uint64_t version, char names[CONF_LINES_MAX][CHECKPOINT_FILE_NAME]);
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
/* checkpoint_version.c */
bool checkpoint_holds(const struct checkpoint *cp, uint64_t version);
void checkpoint_hold(struct checkpoint *cp, const struct learner *l);
enum status checkpoint_held_save(const struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
enum status checkpoint_held_load(struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
enum status checkpoint_logs_load(struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
enum status checkpoint_logs_save(struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
#endif
