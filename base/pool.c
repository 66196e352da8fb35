/* pool.c - see pool.h.  The ticket holds the run's number above and the next task below, so that a worker that comes late
 * cannot take a task of another run than the one it has read. */
#include "base/pool.h"
#include "base/mem.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SPINS 4000 /* pauses before a worker sleeps: some 50 microseconds */
#define LAST_TASK UINT32_MAX

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned cpu;
};
struct pool {
    _Alignas(64) _Atomic uint64_t ticket; /* run << 32 | next task; LAST_TASK: nothing to do */
    _Alignas(64) _Atomic size_t done;
    _Atomic unsigned sleeping;
    _Atomic int stop;
    pool_fn *fn; /* of the run under way: written before its ticket, read once a task of it is claimed */
    void *user;
    _Atomic size_t n;
    pthread_mutex_t lock;
    pthread_cond_t wake, aside;    /* aside: a job's run is over */
    struct pool_job *first, *last; /* posted, under the lock */
    _Atomic bool posted;           /* there are some */
    unsigned n_workers, threads;
    bool pin;
    struct worker *workers;
};

static void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/* A task of the run that the ticket is at; false: none is left. */
static bool claim(struct pool *p, size_t *out)
{
    uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    while ((uint32_t)t != LAST_TASK) {
        /* when the exchange succeeds the run is still under way, and n is its own */
        const uint32_t task = (uint32_t)t, n = (uint32_t)atomic_load_explicit(&p->n, memory_order_relaxed);
        const uint64_t next = (t & ~(uint64_t)LAST_TASK) | (task + 1 < n ? task + 1 : LAST_TASK);
        if (atomic_compare_exchange_weak_explicit(&p->ticket, &t, next, memory_order_acq_rel, memory_order_acquire)) {
            *out = task;
            return true;
        }
    }
    return false;
}

static void help(struct pool *p)
{
    size_t i;
    while (claim(p, &i)) {
        p->fn(p->user, i);
        atomic_fetch_add_explicit(&p->done, 1, memory_order_acq_rel);
    }
}

static bool idle(struct pool *p)
{
    return (uint32_t)atomic_load(&p->ticket) == LAST_TASK && !atomic_load(&p->posted) && atomic_load(&p->stop) == 0;
}

static void wait_for_work(struct pool *p)
{
    for (int i = 0; i < SPINS && idle(p); i++) relax();
    if (!idle(p)) return;
    (void)pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleeping, 1);
    while (idle(p)) (void)pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleeping, 1);
    (void)pthread_mutex_unlock(&p->lock);
}

static void wake_sleepers(struct pool *p)
{
    if (atomic_load(&p->sleeping) == 0) return;
    (void)pthread_mutex_lock(&p->lock);
    (void)pthread_cond_broadcast(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

/* --- jobs beside the runs ----------------------------------------------------------------------------------------- */

static void append(struct pool *p, struct pool_job *j)
{
    *(p->last != NULL ? &p->last->next : &p->first) = j;
    p->last = j;
    j->next = NULL;
    j->posted = true;
    atomic_store(&p->posted, true);
}

static void take_out(struct pool *p, struct pool_job *j)
{
    struct pool_job **at = &p->first, *before = NULL;
    while (*at != j) before = *at, at = &before->next;
    *at = j->next;
    if (p->last == j) p->last = before;
    j->posted = false;
    atomic_store(&p->posted, p->first != NULL);
}

/* The oldest that is posted, if any. */
static void do_job(struct pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    struct pool_job *j = p->first;
    if (j != NULL) {
        take_out(p, j);
        j->runs = true;
        (void)pthread_mutex_unlock(&p->lock);
        const bool again = j->fn(j->user);
        (void)pthread_mutex_lock(&p->lock);
        j->runs = false;
        if (again && !j->posted && !j->over) append(p, j);
        (void)pthread_cond_broadcast(&p->aside);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

void pool_post(struct pool *p, struct pool_job *j)
{
    (void)pthread_mutex_lock(&p->lock);
    if (!j->posted && !j->over) append(p, j);
    if (atomic_load(&p->sleeping) > 0) (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

void pool_withdraw(struct pool *p, struct pool_job *j)
{
    (void)pthread_mutex_lock(&p->lock);
    j->over = true;
    if (j->posted) take_out(p, j);
    while (j->runs) (void)pthread_cond_wait(&p->aside, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
}

/* --- workers ------------------------------------------------------------------------------------------------------- */

/* The i-th processor of those allowed; a refusal costs speed alone. */
static void keep_to(unsigned i)
{
    cpu_set_t all, one;
    CPU_ZERO(&all);
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || i-- > 0) continue;
        CPU_SET(cpu, &one);
        (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    if (w->pool->pin) keep_to(w->cpu);
    while (atomic_load(&w->pool->stop) == 0) {
        wait_for_work(w->pool);
        help(w->pool);
        if (atomic_load(&w->pool->posted)) do_job(w->pool);
    }
    return NULL;
}

static enum status start(struct pool *p, struct err *e)
{
    for (unsigned i = 0; i + 1 < p->threads; i++) {
        struct worker *w = &p->workers[i];
        *w = (struct worker){.pool = p, .cpu = i + 1};
        const int failed = pthread_create(&w->thread, NULL, worker_main, w);
        if (failed != 0)
            return ERR_SET(e, STATUS_IO, "worker %u of %u cannot start: %s; lower kernels.threads", i + 2, p->threads,
                           strerror(failed));
        p->n_workers++;
    }
    return STATUS_OK;
}

enum status pool_new(struct pool **out, unsigned threads, bool pin, struct err *e)
{
    *out = NULL;
    if (threads == 0 || threads > 1024)
        return ERR_SET(e, STATUS_INVALID, "%u worker threads; 1 to 1024 can be had", threads);
    struct pool *p = mem_aligned(1, sizeof *p);
    struct worker *workers = mem_calloc(threads, sizeof *workers);
    if (p == NULL || workers == NULL) {
        mem_free(p);
        mem_free(workers);
        return ERR_SET(e, STATUS_OOM, "no memory for %u worker threads", threads);
    }
    p->workers = workers;
    p->threads = threads;
    p->pin = pin;
    atomic_store(&p->ticket, LAST_TASK);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->wake, NULL);
    (void)pthread_cond_init(&p->aside, NULL);
    const enum status st = start(p, e);
    if (st == STATUS_OK)
        *out = p;
    else
        pool_free(p);
    return st;
}

void pool_free(struct pool *p)
{
    if (p == NULL) return;
    atomic_store(&p->stop, 1);
    (void)pthread_mutex_lock(&p->lock);
    (void)pthread_cond_broadcast(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_workers; i++) (void)pthread_join(p->workers[i].thread, NULL);
    (void)pthread_cond_destroy(&p->wake);
    (void)pthread_cond_destroy(&p->aside);
    (void)pthread_mutex_destroy(&p->lock);
    mem_free(p->workers);
    mem_free(p);
}

unsigned pool_threads(const struct pool *p)
{
    return p != NULL ? p->threads : 1;
}

void pool_run(struct pool *p, pool_fn *fn, void *user, size_t n)
{
    if (p == NULL || p->threads == 1 || n < 2) {
        for (size_t i = 0; i < n; i++) fn(user, i);
        return;
    }
    const uint64_t run = (atomic_load_explicit(&p->ticket, memory_order_relaxed) >> 32) + 1;
    p->fn = fn;
    p->user = user;
    atomic_store_explicit(&p->n, n, memory_order_relaxed);
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    atomic_store(&p->ticket, run << 32);
    wake_sleepers(p);
    help(p);
    while (atomic_load_explicit(&p->done, memory_order_acquire) < n) relax();
}

struct ranges {
    pool_range_fn *fn;
    void *user;
    size_t n, together;
};

static void run_range(void *ranges, size_t i)
{
    const struct ranges *r = ranges;
    const size_t from = i * r->together, left = r->n - from;
    r->fn(r->user, from, from + (left < r->together ? left : r->together));
}

void pool_run_ranges(struct pool *p, pool_range_fn *fn, void *user, size_t n, size_t together, size_t least)
{
    struct ranges r = {fn, user, n, together};
    if (n < least)
        fn(user, 0, n);
    else
        pool_run(p, run_range, &r, (n + together - 1) / together);
}
