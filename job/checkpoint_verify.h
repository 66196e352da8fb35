/* checkpoint_verify.h - is a state folder (or a backup, which is laid out like one) whole?
 *
 * Every page and record of state.mdb, the weight files that it names, and whether it is the newest state that the folder
 * had.  Reads only, without a lock, in a child process: what a damaged disk does to the reader does not reach the caller.
 */
#ifndef JOB_CHECKPOINT_VERIFY_H
#define JOB_CHECKPOINT_VERIFY_H
#include "base/hash.h"
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

#define CHECKPOINT_BAD_MAX 32

struct checkpoint_verdict {
    uint64_t version; /* 0: nothing in it yet */
    char sha256[HASH_SHA256_HEX];
    uint64_t txnid, records, state_bytes, weight_bytes;
    uint32_t weight_files; /* sound ones */
    uint32_t n_bad;        /* older weight files that are damaged: the state does not need them */
    uint64_t bad[CHECKPOINT_BAD_MAX];
    bool stub; /* state.mdb was begun and never finished, and nothing else is there: to be removed */
};
/* CORRUPT says what is wrong; UNSUPPORTED: another format; OOM; IO (no rights, no folder).  drop_fd as child_run's. */
enum status checkpoint_verify(struct checkpoint_verdict *v, const char *dir, int drop_fd, struct err *e) MUST_CHECK;
/* The largest number of a weight file in the open folder, 0 for none. */
uint64_t checkpoint_largest_number(int folder);
#endif
