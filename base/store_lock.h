/* store_lock.h - who owns a state folder: `<dir>/lock`, held by flock, with pid, host and epoch of the owner in it.
 *
 * flock rather than fcntl: a second open in this very process is refused too, and closing another descriptor of the file
 * does not drop it.  The kernel drops it when the owner dies.  The file stays: removing it would let two owners hold two
 * files of one name.
 *
 * Take-over: an owner that was stopped still holds its lock and may wake in the middle of anything.  The new one makes
 * another lock file and renames it over: from then on the old one's descriptor is no longer `lock`, which it sees at
 * store_lock_check.  Until store_lock_settled the file says `pending`: whoever comes next knows that what the old owner
 * can write to was not replaced yet (job/checkpoint_fence.c).
 */
#ifndef BASE_STORE_LOCK_H
#define BASE_STORE_LOCK_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct store_lock {
    int fd; /* -1: none */
    dev_t dev;
    ino_t ino;
    char *dir;
    uint64_t epoch;
    bool pending; /* a take-over is under way: replace what the old owner may write to, then store_lock_settled */
};
/* CONFLICT: another process holds it (pid, host and epoch are in the text), and take_over is false.  NOT_FOUND: no such
 * folder. */
enum status store_lock_take(struct store_lock *l, const char *dir, bool take_over, uint64_t epoch,
                            struct err *e) MUST_CHECK;
enum status store_lock_settled(struct store_lock *l, struct err *e) MUST_CHECK;
/* CONFLICT once `lock` is another file than ours: the folder was taken over. */
enum status store_lock_check(const struct store_lock *l, struct err *e) MUST_CHECK;
void store_lock_release(struct store_lock *l); /* zeroed or released is fine */
#endif
