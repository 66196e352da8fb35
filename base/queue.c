/* queue.c - a ring under one mutex; waits are on the monotonic clock, so that a changed wall clock wakes nobody. */
#include "base/queue.h"
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    void **ring;
    size_t capacity, head, length; /* head: the oldest item */
    bool closed;
};

enum status queue_new(struct queue **out, size_t capacity, struct err *e)
{
    *out = NULL;
    if (capacity == 0) return ERR_SET(e, STATUS_INVALID, "queue: capacity is 0; give at least 1");
    struct queue *q = mem_calloc(1, sizeof *q);
    void **ring = mem_calloc(capacity, sizeof *ring);
    if (q == NULL || ring == NULL || !clock_cond_init(&q->not_empty)) goto oom;
    if (!clock_cond_init(&q->not_full)) goto oom_not_empty;
    if (pthread_mutex_init(&q->lock, NULL) != 0) goto oom_not_full;
    q->ring = ring;
    q->capacity = capacity;
    *out = q;
    return STATUS_OK;
oom_not_full:
    (void)pthread_cond_destroy(&q->not_full);
oom_not_empty:
    (void)pthread_cond_destroy(&q->not_empty);
oom:
    mem_free(ring);
    mem_free(q);
    return ERR_SET(e, STATUS_OOM, "queue: no memory for %zu places", capacity);
}

void queue_free(struct queue *q)
{
    if (q == NULL) return;
    (void)pthread_mutex_destroy(&q->lock);
    (void)pthread_cond_destroy(&q->not_full);
    (void)pthread_cond_destroy(&q->not_empty);
    mem_free(q->ring);
    mem_free(q);
}

/* Waits on c under q->lock; false when the deadline (NULL: never) has passed. */
static bool wait_on(struct queue *q, pthread_cond_t *c, const struct timespec *deadline)
{
    if (deadline == NULL) return pthread_cond_wait(c, &q->lock) == 0;
    return pthread_cond_timedwait(c, &q->lock, deadline) != ETIMEDOUT;
}

static enum status push(struct queue *q, void *item, const struct timespec *deadline)
{
    enum status st = STATUS_OK;
    (void)pthread_mutex_lock(&q->lock);
    while (!q->closed && q->length == q->capacity && st == STATUS_OK)
        if (!wait_on(q, &q->not_full, deadline) && q->length == q->capacity) st = STATUS_AGAIN;
    if (q->closed) {
        st = STATUS_END;
    } else if (st == STATUS_OK) {
        q->ring[(q->head + q->length++) % q->capacity] = item;
        (void)pthread_cond_signal(&q->not_empty);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return st;
}

static enum status pop(struct queue *q, void **out, const struct timespec *deadline)
{
    enum status st = STATUS_OK;
    *out = NULL;
    (void)pthread_mutex_lock(&q->lock);
    while (!q->closed && q->length == 0 && st == STATUS_OK)
        if (!wait_on(q, &q->not_empty, deadline) && q->length == 0) st = STATUS_AGAIN;
    if (q->length > 0) {
        st = STATUS_OK;
        *out = q->ring[q->head];
        q->head = (q->head + 1) % q->capacity;
        q->length--;
        (void)pthread_cond_signal(&q->not_full);
    } else if (q->closed) {
        st = STATUS_END;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return st;
}

enum status queue_push(struct queue *q, void *item)
{
    return push(q, item, NULL);
}

enum status queue_push_for(struct queue *q, void *item, int64_t timeout_ms)
{
    const struct timespec deadline = clock_until(timeout_ms * 1000);
    return push(q, item, &deadline);
}

enum status queue_pop(struct queue *q, void **out)
{
    return pop(q, out, NULL);
}

enum status queue_pop_for(struct queue *q, void **out, int64_t timeout_ms)
{
    const struct timespec deadline = clock_until(timeout_ms * 1000);
    return pop(q, out, &deadline);
}

void queue_close(struct queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->closed = true;
    (void)pthread_cond_broadcast(&q->not_empty);
    (void)pthread_cond_broadcast(&q->not_full);
    (void)pthread_mutex_unlock(&q->lock);
}

size_t queue_length(struct queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    const size_t n = q->length;
    (void)pthread_mutex_unlock(&q->lock);
    return n;
}
