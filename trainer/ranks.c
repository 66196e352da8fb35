/* ranks.c - see ranks.h: opening, closing, the thread that carries sums, agreement.  What travels is ranks_star.c's. */
#include "base/mem.h"
#include "trainer/ranks_private.h"
#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 100 };

static void *carry_main(void *arg)
{
    struct ranks *r = arg;
    (void)pthread_mutex_lock(&r->lock);
    for (;;) {
        while (r->waiting == 0 && !r->quit) (void)pthread_cond_wait(&r->more, &r->lock);
        if (r->quit) break;
        const struct ranks_wanted w = r->queue[r->first];
        const bool go = r->failed == STATUS_OK;
        (void)pthread_mutex_unlock(&r->lock);
        if (go) (void)!ranks_star_sum(r, w.x, w.n); /* a failure is kept in r */
        (void)pthread_mutex_lock(&r->lock);
        r->first = (r->first + 1) % RANKS_QUEUE;
        r->waiting--;
        (void)pthread_cond_signal(&r->done);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return NULL;
}

static enum status start(struct ranks *r, struct err *e)
{
    if (pthread_create(&r->thread, NULL, carry_main, r) != 0)
        return ERR_SET(e, STATUS_IO, "rank %d: no thread for its sums", r->rank);
    r->running = true;
    return STATUS_OK;
}

static enum status check(const struct ranks_setup *s, struct err *e)
{
    if (s->n < 2 || s->n > RANKS_MAX)
        return ERR_SET(e, STATUS_INVALID, "train.ranks=%d: 2 to %d can learn together", s->n, RANKS_MAX);
    if (s->rank >= 0 && s->rank < s->n) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "train.rank=%d: the %d ranks are 0 to %d", s->rank, s->n, s->n - 1);
}

static void release(struct ranks *r)
{
    for (int i = 0; i < RANKS_MAX; i++) ranks_hang_up(&r->links[i]);
    ranks_unlisten(r->listener, r->address);
    (void)pthread_mutex_destroy(&r->lock);
    (void)pthread_cond_destroy(&r->more);
    (void)pthread_cond_destroy(&r->done);
    buf_fini(&r->gathered);
    mem_free(r->chunk);
    mem_free(r);
}

static struct ranks *create(const struct ranks_setup *s)
{
    struct ranks *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->n = s->n;
    r->rank = s->rank;
    r->timeout_ms = s->timeout_ms;
    r->listener = -1;
    for (int i = 0; i < RANKS_MAX; i++) r->links[i] = -1;
    (void)snprintf(r->address, sizeof r->address, "%s", s->address);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->more, NULL);
    (void)pthread_cond_init(&r->done, NULL);
    r->chunk = mem_aligned(RANKS_CHUNK, sizeof *r->chunk);
    if (r->chunk != NULL) return r;
    release(r);
    return NULL;
}

enum status ranks_open(struct ranks **out, const struct ranks_setup *s, struct err *e)
{
    *out = NULL;
    TRY(check(s, e));
    struct ranks *r = create(s);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "rank %d: no memory for its exchange", s->rank);
    enum status st = ranks_meet(r, s->common, e);
    if (st == STATUS_OK) st = start(r, e);
    if (st == STATUS_OK)
        *out = r;
    else
        release(r);
    return st;
}

void ranks_close(struct ranks *r, const char *why)
{
    if (r == NULL) return;
    (void)pthread_mutex_lock(&r->lock);
    const bool idle = r->waiting == 0;
    r->quit = true;
    (void)pthread_cond_signal(&r->more);
    for (int i = 0; !idle && i < RANKS_MAX; i++) /* in the middle of a sum no sentence can be said */
        if (r->links[i] >= 0) ranks_cut(r->links[i]);
    (void)pthread_mutex_unlock(&r->lock);
    if (r->running) (void)pthread_join(r->thread, NULL);
    if (idle && why != NULL && r->failed == STATUS_OK)
        (void)ranks_fail(r, STATUS_END, "rank %d ended: %s", r->rank, why);
    release(r);
}

int ranks_count(const struct ranks *r)
{
    return r->n;
}

int ranks_rank(const struct ranks *r)
{
    return r->rank;
}

int64_t ranks_timeout_ms(const struct ranks *r)
{
    return r->timeout_ms;
}

/* --- operations ---------------------------------------------------------------------------------------------------- */

void ranks_sum(struct ranks *r, float *x, size_t n)
{
    if (n == 0) return;
    (void)pthread_mutex_lock(&r->lock);
    while (r->waiting == RANKS_QUEUE) (void)pthread_cond_wait(&r->done, &r->lock);
    r->queue[(r->first + r->waiting) % RANKS_QUEUE] = (struct ranks_wanted){x, n};
    r->waiting++;
    (void)pthread_cond_signal(&r->more);
    (void)pthread_mutex_unlock(&r->lock);
}

static enum status failure(const struct ranks *r, struct err *e)
{
    if (r->failed != STATUS_OK && e != NULL) *e = r->error;
    return r->failed;
}

enum status ranks_finish(struct ranks *r, struct err *e)
{
    (void)pthread_mutex_lock(&r->lock);
    while (r->waiting > 0) (void)pthread_cond_wait(&r->done, &r->lock);
    const enum status st = failure(r, e);
    (void)pthread_mutex_unlock(&r->lock);
    return st;
}

enum status ranks_gather(struct ranks *r, const void *p, size_t n, struct err *e)
{
    TRY(ranks_finish(r, e));
    if (ranks_star_gather(r, p, n) == STATUS_OK) return STATUS_OK;
    return failure(r, e);
}

struct buf_reader ranks_part(const struct ranks *r, int rank)
{
    return buf_reader(r->gathered.p + r->part_at[rank], r->part_n[rank]);
}

/* The word in which a first differs from b, or the end of it. */
static struct str word_at(struct str a, struct str b)
{
    size_t at = 0, end;
    while (at < a.n && at < b.n && a.p[at] == b.p[at]) at++;
    while (at > 0 && a.p[at - 1] != ' ') at--;
    for (end = at; end < a.n && a.p[end] != ' ' && end - at < WORD_MAX; end++) {
    }
    return (struct str){a.p + at, end - at};
}

enum status ranks_agree(struct ranks *r, const char *what, struct str value, struct err *e)
{
    TRY(ranks_gather(r, value.p, value.n, e));
    const char *all = (const char *)r->gathered.p;
    for (int i = 1; i < r->n; i++) {
        const struct str a = {all + r->part_at[0], r->part_n[0]}, b = {all + r->part_at[i], r->part_n[i]};
        if (a.n == b.n && memcmp(a.p, b.p, a.n) == 0) continue;
        const struct str ours = word_at(a, b), theirs = word_at(b, a);
        return ERR_SET(
            e, STATUS_CONFLICT,
            "rank %d has another %s than rank 0: %.*s against %.*s; give all ranks the same logs, state.dir and "
            "program, and start them again",
            i, what, (int)theirs.n, theirs.p, (int)ours.n, ours.p);
    }
    return STATUS_OK;
}
