/* ranks.h - several processes that learn as one: sums of gradients, small records and agreement between them.
 *
 * n processes (ranks 0 … n-1) read the same stream and make the same steps; of each batch a rank computes its share.  All of
 * them call the same operations in the same order.  Rank 0 listens; the others talk to it alone, so it knows first when one
 * is lost, and tells the rest.  A sum is x_0 + x_1 + … in the order of ranks, made once, by rank 0: every rank has the same bits,
 * in every run.
 *
 * What goes wrong ends the training everywhere, with one sentence that names the rank: a rank that ended or was killed, sends
 * nothing for timeout_ms, or does something else than the others.  After a failure every call returns it again.  There is no
 * authentication: the address belongs on loopback, a Unix socket or a network of one's own.
 *
 * Thread: one user; sums are carried by a thread of its own while the user goes on.
 */
#ifndef TRAINER_RANKS_H
#define TRAINER_RANKS_H
#include "base/buf.h"
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

#define RANKS_MAX 64

struct ranks;
struct ranks_setup {
    int n, rank;         /* 2 … RANKS_MAX; 0 … n-1 */
    const char *address; /* trainer/ranks_link.h */
    int64_t timeout_ms;
    struct str common; /* lines of key=value that must be the same on all */
};
/* Waits until all are there.  CONFLICT: another configuration (the key and both values are named), a rank that is there twice,
 * another n; AGAIN: somebody did not come in time; INVALID, IO, OOM. */
enum status ranks_open(struct ranks **out, const struct ranks_setup *s, struct err *e) MUST_CHECK;
/* why: what the others are told that wait for this one; NULL: it is over for all.  NULL r is fine. */
void ranks_close(struct ranks *r, const char *why);
int ranks_count(const struct ranks *r);
int ranks_rank(const struct ranks *r);
int64_t ranks_timeout_ms(const struct ranks *r);

/* Begins the sum of everybody's x (n), host memory, in place; returns at once.  x is not the caller's until ranks_finish, which
 * waits for all sums that were begun. */
void ranks_sum(struct ranks *r, float *x, size_t n);
enum status ranks_finish(struct ranks *r, struct err *e) MUST_CHECK;
/* Everybody's bytes to everybody, after the sums that were begun: ranks_part is what a rank gave, until the next gather. */
enum status ranks_gather(struct ranks *r, const void *p, size_t n, struct err *e) MUST_CHECK;
struct buf_reader ranks_part(const struct ranks *r, int rank);
/* CONFLICT on every rank, naming the first that says something else of `what` than rank 0 does, and the words in which they
 * differ (value: words with a blank between). */
enum status ranks_agree(struct ranks *r, const char *what, struct str value, struct err *e) MUST_CHECK;
#endif
