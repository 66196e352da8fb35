/* job_bound.h - what a learner's memory can come to by its configuration: a formula for each structure that grows.
 *
 * Bounds, not guesses: a structure that is bounded by bytes counts with them, one that is bounded by number with its largest
 * entry.  Not in it: pages of the store that the system caches (they are given back under pressure).
 */
#ifndef JOB_JOB_BOUND_H
#define JOB_JOB_BOUND_H
#include "base/buf.h"
#include "model/encoder.h"
#include "schemas/conf.h"

#define JOB_BOUND_SHARES 16
struct job_bound {
    struct job_bound_share {
        const char *name; /* static */
        size_t bytes;
    } shares[JOB_BOUND_SHARES]; /* largest first */
    size_t n, total;
};
/* shape NULL: no part needs an encoder. */
void job_bound(struct job_bound *out, const struct conf *c, const struct encoder_shape *shape);
/* "total_mib=812 users_mib=400 ...", the largest shares first, for the log and for `check`. */
void job_bound_text(const struct job_bound *x, struct buf *b);
#endif
