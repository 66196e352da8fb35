/* checkpoint_newest.h - weights/newest: which checkpoint was the last one, said beside the store, so that an older state of
 * the store can't pass for the newest.
 *
 * Written after the store's commit and before anything of the checkpoint is shown to others: a store that is ahead of it
 * is one whose checkpoint was cut off between the two, a store that is behind it is damaged.  One line of text with its own
 * hash.  It lies in weights/ because a learner that lost the folder keeps writing into the folder it had opened.
 */
#ifndef JOB_CHECKPOINT_NEWEST_H
#define JOB_CHECKPOINT_NEWEST_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

struct checkpoint_newest {
    bool there;              /* false: absent, or damaged */
    uint64_t version, txnid; /* of the store's commit */
    uint64_t floor;          /* no version up to this one is given out again */
};
/* weights: the open folder. */
void checkpoint_newest_read(int weights, struct checkpoint_newest *out);
enum status checkpoint_newest_write(int weights, const struct checkpoint_newest *n, struct err *e) MUST_CHECK;
#endif
