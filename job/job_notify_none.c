/* job_notify_none.c - built without libsystemd: nobody is told. */
#include "job/job_notify.h"

void job_notify(const char *fmt, ...)
{
    (void)fmt;
}

void job_notify_watchdog(int64_t now_us)
{
    (void)now_us;
}

void job_notify_reloading(void)
{
}
