/* checkpoint_private.h - the state folder's insides, shared by checkpoint.c and checkpoint_logs.c alone. */
#ifndef JOB_CHECKPOINT_PRIVATE_H
#define JOB_CHECKPOINT_PRIVATE_H
#include "job/checkpoint.h"

#define CHECKPOINT_PATH 600
#define CHECKPOINT_FILE_MAX ((size_t)1 << 36)

struct checkpoint {
    const struct conf *conf;
    char dir[CHECKPOINT_PATH - 16], weights_dir[CHECKPOINT_PATH];
    struct store *store;
    uint64_t version, dead_letters, epoch;
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
enum status checkpoint_logs_load(struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
enum status checkpoint_logs_save(struct checkpoint *cp, struct store_txn *t, struct err *e) MUST_CHECK;
#endif
