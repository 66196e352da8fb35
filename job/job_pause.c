/* job_pause.c - a full disk: learning waits, all else goes on, and nothing is lost or taken twice.
 *
 * What was learnt since the last checkpoint stays in memory and is tried again every second.  No batch is taken meanwhile,
 * so the queue fills and the source holds back; it is polled all the same.
 */
#include "base/log.h"
#include "job/job_notify.h"
#include "job/job_private.h"
#include <time.h>

enum { RETRY_US = 1000000, NAP_MS = 20 };

static const char paused[] = "paused: disk full";

/* The disk of the state folder or of the letters is full, or a topic of dead letters takes none: why says which. */
static enum status stopped_while_full(const struct job *j, const struct err *why, struct err *e)
{
    const unsigned long long version = (unsigned long long)checkpoint_version(j->checkpoint);
    return ERR_SET(
        e, STATUS_FULL,
        "told to stop while learning is paused (%.200s): what came since version %llu is not durable and will be read "
        "again; mend that and start again",
        why->text, version);
}

/* Waits for the next try with everything going on but learning. */
static enum status wait_us(struct job *j, int64_t until_us, struct err *e)
{
    for (int64_t now; (now = job_now_us(j)) < until_us && !atomic_load(&job_stopping);) {
        job_alive(j, now, false);
        TRY(job_publish_views(j, now, e));
        (void)nanosleep(&(struct timespec){0, NAP_MS * 1000000L}, NULL);
    }
    return STATUS_OK;
}

enum status job_pause(struct job *j, const char *publish_reason, const struct err *why, struct err *e)
{
    const char *before = j->phase;
    const int64_t from_us = job_now_us(j);
    struct err now = *why;
    enum status st = STATUS_FULL;
    j->phase = paused;
    j->paused_us = from_us;
    j->pause_why = *why;
    log_error("paused", "state=%s version=%llu reason=\"%s\" next=\"goes on by itself when that is mended\"",
              j->state_dir, (unsigned long long)checkpoint_version(j->checkpoint), why->text);
    job_notify("STATUS=%s: %.300s", paused, why->text);
    while (st == STATUS_FULL) {
        if (atomic_load(&job_stopping)) return stopped_while_full(j, &now, e);
        TRY(wait_us(j, job_now_us(j) + RETRY_US, e));
        st = job_checkpoint_once(j, publish_reason, &now);
        if (st == STATUS_FULL) log_limited(LOG_WARN, "paused", "reason=\"%s\"", now.text);
    }
    j->paused_us = 0;
    if (st != STATUS_OK) {
        if (e != NULL) *e = now;
        return st;
    }
    j->phase = before;
    log_info("resumed", "paused_ms=%lld version=%llu", (long long)((job_now_us(j) - from_us) / 1000),
             (unsigned long long)checkpoint_version(j->checkpoint));
    return STATUS_OK;
}
