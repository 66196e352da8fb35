/* job_poll.c - the poller: reads and parses ahead of the learner, as far as the queue allows. */
#include "base/log.h"
#include "job/job_private.h"

enum { WAIT_MS = 20, FULL_MS = 300, HOLD_MS = 50 };

struct poll {
    struct source_batch *batch; /* NULL: the learner has them all */
    bool holding;               /* the source was told so */
};

/* Files number their own records from 0; a folder that has learnt others goes on counting. */
static void rebase(const struct job *j, struct source_batch *b)
{
    for (uint32_t i = 0; i < b->n && j->base > 0; i++) {
        b->records[i].at.offset += j->base;
        b->records[i].event.at.offset = b->records[i].at.offset;
    }
}

/* An empty batch, or AGAIN.  A short wait costs nothing; after it the source is told, so that it stays alive, and goes on
 * when half of the batches are back. */
static enum status get_batch(struct job *j, struct poll *p, struct err *e)
{
    void *batch = NULL;
    const bool wait = p->holding && !j->options->replay && 2 * queue_length(j->empty) < (size_t)j->conf->ingest_queue;
    const enum status st = wait ? STATUS_AGAIN : queue_pop_for(j->empty, &batch, FULL_MS);
    p->batch = batch;
    p->holding = st == STATUS_AGAIN;
    if (p->holding) TRY(source_hold(j->source, HOLD_MS, e));
    return st;
}

static enum status poll_once(struct job *j, struct poll *p, struct err *e)
{
    atomic_store(&j->polled_us, job_now_us(j));
    enum status st = p->batch == NULL ? get_batch(j, p, e) : STATUS_OK;
    if (st == STATUS_OK) st = source_next(j->source, p->batch, WAIT_MS, e);
    if (st == STATUS_AGAIN) return STATUS_OK;
    TRY(st);
    rebase(j, p->batch);
    TRY(queue_push(j->full, p->batch));
    p->batch = NULL;
    return STATUS_OK;
}

static void *poll_main(void *arg)
{
    struct job *j = arg;
    struct poll p = {0};
    enum status st = STATUS_OK;
    while (st == STATUS_OK && !atomic_load(&j->stop_polling)) st = poll_once(j, &p, &j->poller_error);
    source_batch_free(p.batch);
    j->poller_status = st == STATUS_END ? STATUS_OK : st;
    queue_close(j->full);
    return NULL;
}

enum status job_poll_start(struct job *j, struct err *e)
{
    TRY(queue_new(&j->full, (size_t)j->conf->ingest_queue, e));
    TRY(queue_new(&j->empty, (size_t)j->conf->ingest_queue, e));
    for (int64_t i = 0; i < j->conf->ingest_queue; i++) {
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
