/* job_alive.c - signs of life: READY, STATUS and the watchdog for systemd, and for the lease.
 *
 * Progress alone feeds the watchdog: a batch that was taken, a list of one that settled, or nothing to take while the poller is
 * alive.
 */
#include "base/log.h"
#include "job/job_notify.h"
#include "job/job_private.h"

enum { POLLER_US = 10000000, STATUS_US = 1000000, ABANDON_US = 2000000, FLUSH_MS = 1000 };

static void say_status(struct job *j)
{
    const double rate = j->events_per_s;
    if (j->lag_events >= 0)
        job_notify("STATUS=%s; version %llu, %.0f events/s, %lld events behind", j->phase,
                   (unsigned long long)checkpoint_version(j->checkpoint), rate, (long long)j->lag_events);
    else
        job_notify("STATUS=%s; version %llu, %.0f events/s", j->phase,
                   (unsigned long long)checkpoint_version(j->checkpoint), rate);
}

void job_alive(struct job *j, int64_t now_us, bool took)
{
    const bool polls = !j->polling || now_us - atomic_load(&j->polled_us) < POLLER_US || queue_length(j->full) > 0;
    publish_alive(j->publish);
    if (took || polls) job_notify_watchdog(now_us);
    if (!j->ready && j->polling) {
        job_notify("READY=1");
        j->ready = true;
    }
    if (now_us < j->next_status_us) return;
    j->next_status_us = now_us + STATUS_US;
    say_status(j);
}

/* One record may settle thousands of lists.  A stream job that is told to stop meanwhile does not wait for them: what came since
 * the newest checkpoint is read again.  A replay goes on, as its report is of the whole record. */
static enum status going(void *job, struct err *e)
{
    struct job *j = job;
    const int64_t now_us = job_now_us(j);
    job_alive(j, now_us, true);
    if (j->options->replay || !atomic_load(&job_stopping)) return STATUS_OK;
    if (j->stop_us == 0) j->stop_us = now_us;
    if (now_us - j->stop_us < ABANDON_US) return STATUS_OK;
    return ERR_SET(e, STATUS_END, "stopped in the middle of a record");
}

void job_watch_going(struct job *j)
{
    learner_on_going(j->learner, going, j);
}

void job_abandon(struct job *j)
{
    log_info("stopped", "in=\"the middle of a record that settles many lists\" next=\"what came after version %llu is read again\"",
             (unsigned long long)checkpoint_version(j->checkpoint));
    job_notify("STOPPING=1\nSTATUS=stopping");
    j->phase = "stopped";
    job_figures(j, job_now_us(j));
    if (publish_flush(j->publish, FLUSH_MS, NULL) != STATUS_OK) log_warn("publish", "unfinished=\"its last word\"");
}
