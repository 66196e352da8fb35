/* job_notify.c - see job_notify.h: the one file that includes systemd/sd-daemon.h. */
#include <systemd/sd-daemon.h>

#include "job/job_notify.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void job_notify(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (getenv("NOTIFY_SOCKET") == NULL) return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)sd_notify(0, text);
}

void job_notify_watchdog(int64_t now_us)
{
    static uint64_t period_us; /* 0: not asked yet, 1: none */
    static int64_t next_us;
    if (period_us == 0 && sd_watchdog_enabled(0, &period_us) <= 0) period_us = 1;
    if (period_us == 1 || now_us < next_us) return;
    next_us = now_us + (int64_t)(period_us / 4);
    job_notify("WATCHDOG=1");
}

void job_notify_reloading(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    job_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}
