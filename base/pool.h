/* pool.h - a few workers for pure arithmetic: one caller hands out numbered tasks and helps until all are done.
 *
 * Tasks of one run are claimed one by one by whoever is free, so a worker that the system has put aside costs nothing: the
 * caller takes its share.  Tasks must not depend on each other or on who runs them: then results do not depend on the
 * number of workers.  Between runs workers spin for some microseconds (products follow each other closely), then do what was
 * posted, or sleep.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>

struct pool;
typedef void pool_fn(void *user, size_t i);

/* threads: the caller counts as one, so threads - 1 workers start.  pin: worker i keeps to the i-th processor that this
 * process may use (the caller stays free).  INVALID: 0 threads or above 1024; IO: a thread cannot start; OOM. */
enum status pool_new(struct pool **out, unsigned threads, bool pin, struct err *e) MUST_CHECK;
void pool_free(struct pool *p);              /* NULL is fine; no run may be under way */
unsigned pool_threads(const struct pool *p); /* NULL: 1 */
/* fn(user, i) once for each i in 0 … n-1, in any order, on any of the threads; returns when all are done.  p NULL: the
 * caller alone, in order.  Allocates nothing.  fn must not call pool_run on p.  n below 2^32.  Thread: one caller at a time. */
void pool_run(struct pool *p, pool_fn *fn, void *user, size_t n);
/* The same for things too small to be a task each: fn(user, from, to) for ranges of `together` of the n things; by the caller alone where
 * they are fewer than `least`, which is not worth another's waking. */
typedef void pool_range_fn(void *user, size_t from, size_t to);
void pool_run_ranges(struct pool *p, pool_range_fn *fn, void *user, size_t n, size_t together, size_t least);

/* What can wait: a worker that finds no task does it, piece by piece.  The caller's; zeroed but for fn and user. */
struct pool_job {
    /* One piece, short beside a run's patience; true: there are more.  Must not call pool_run. */
    bool (*fn)(void *user);
    void *user;
    struct pool_job *next; /* the rest is the pool's */
    bool posted, runs, over;
};
void pool_post(struct pool *p, struct pool_job *j);     /* p has workers (pool_threads > 1).  Thread: any */
void pool_withdraw(struct pool *p, struct pool_job *j); /* for good; when it returns, fn is not running */
#endif
