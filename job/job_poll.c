/* job_poll.c - the poller: reads and parses ahead of the learner, as far as the queue allows. */
#include "base/log.h"
#include "job/job_private.h"

enum { WAIT_MS = 20 };

/* Files number their own records from 0; a folder that has learnt others goes on counting. */
static void rebase(const struct job *j, struct source_batch *b)
{
    for (uint32_t i = 0; i < b->n && j->base > 0; i++) {
        b->records[i].at.offset += j->base;
        b->records[i].event.at.offset = b->records[i].at.offset;
    }
}

static enum status poll_once(struct job *j, struct source_batch **held, struct err *e)
{
    atomic_store(&j->polled_us, j->clock->mono_us(j->clock));
    if (*held == NULL) {
        void *p;
        TRY(queue_pop(j->empty, &p));
        *held = p;
    }
    const enum status st = source_next(j->source, *held, WAIT_MS, e);
    if (st == STATUS_AGAIN) return STATUS_OK;
    TRY(st);
    rebase(j, *held);
    TRY(queue_push(j->full, *held));
    *held = NULL;
    return STATUS_OK;
}

static void *poll_main(void *arg)
{
    struct job *j = arg;
    struct source_batch *held = NULL;
    enum status st = STATUS_OK;
    while (st == STATUS_OK && !atomic_load(&j->stop_polling)) st = poll_once(j, &held, &j->poller_error);
    source_batch_free(held);
    j->poller_status = st == STATUS_END ? STATUS_OK : st;
    queue_close(j->full);
    return NULL;
}

enum status job_poll_start(struct job *j, struct err *e)
{
    TRY(queue_new(&j->full, JOB_BATCHES, e));
    TRY(queue_new(&j->empty, JOB_BATCHES, e));
    for (int i = 0; i < JOB_BATCHES; i++) {
        struct source_batch *b;
        TRY(source_batch_new(&b, e));
        TRY(queue_push(j->empty, b));
    }
    if (pthread_create(&j->poller, NULL, poll_main, j) != 0)
        return ERR_SET(e, STATUS_IO, "the poller thread can't be started");
    j->polling = true;
    return STATUS_OK;
}

static void drain(struct queue *q)
{
    void *p;
    while (q != NULL && queue_pop_for(q, &p, 0) == STATUS_OK) source_batch_free(p);
}

void job_poll_stop(struct job *j)
{
    atomic_store(&j->stop_polling, true);
    if (j->full != NULL) queue_close(j->full);
    if (j->empty != NULL) queue_close(j->empty);
    if (j->polling) (void)pthread_join(j->poller, NULL);
    j->polling = false;
    drain(j->full);
    drain(j->empty);
    queue_free(j->full);
    queue_free(j->empty);
    j->full = j->empty = NULL;
}
