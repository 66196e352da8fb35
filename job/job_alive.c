/* job_alive.c - signs of life: READY, STATUS and the watchdog for systemd, and for the lease.
 *
 * Progress alone feeds the watchdog: a batch that was taken, or nothing to take while the poller is alive.
 */
#include "job/job_notify.h"
#include "job/job_private.h"

enum { POLLER_US = 10000000, STATUS_US = 1000000 };

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
