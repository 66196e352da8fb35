/* job_notify.h - what systemd (or any other manager that sets NOTIFY_SOCKET) is told: sd_notify(3).
 *
 * Without NOTIFY_SOCKET, or built without libsystemd, every call does nothing.  The watchdog is fed by progress alone:
 * whoever calls job_notify_watchdog has just seen that work goes on.  Thread: any, one at a time.
 */
#ifndef JOB_JOB_NOTIFY_H
#define JOB_JOB_NOTIFY_H
#include <stdint.h>

/* Assignments as in sd_notify(3), one a line: "READY=1", "STATUS=...", "STOPPING=1"; cut at 1 KiB. */
void job_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* WATCHDOG=1, at most every quarter of WATCHDOG_USEC; nothing when no watchdog was asked for. */
void job_notify_watchdog(int64_t now_us);
/* "RELOADING=1" with its time stamp; say "READY=1" when done. */
void job_notify_reloading(void);
#endif
