/* clock.h - time as an argument, so that tests can hold it still; and RFC 3339 text.
 *
 * wall_ms: milliseconds since 1970 UTC.  mono_us: monotonic microseconds.  Event time is never read from here.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include "base/str.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct clock {
    int64_t (*wall_ms)(struct clock *c);
    int64_t (*mono_us)(struct clock *c);
    void *user;
};
struct clock *clock_system(void); /* static */
double clock_cpu_s(void);         /* processor seconds of this process, all its threads; for figures only */
/* For measuring what something costs, never for what is done: nanoseconds that this thread has had a processor. */
uint64_t clock_cost_ns(void);
/* The moment on CLOCK_MONOTONIC so far from now (negative: now): where timed waits end, whatever the wall clock does. */
struct timespec clock_until(int64_t us);
bool clock_cond_init(pthread_cond_t *c); /* one whose timed waits are on CLOCK_MONOTONIC; false: it can't be made */
struct clock_fake {
    struct clock base;
    int64_t wall_ms_now, mono_us_now;
};
void clock_fake_init(struct clock_fake *f, int64_t wall_ms);
void clock_fake_advance(struct clock_fake *f, int64_t ms);

#define CLOCK_TEXT 25 /* "2026-01-02T03:04:05.678Z" and NUL */
void clock_format(int64_t wall_ms, char out[CLOCK_TEXT]);
/* Date-time with zone, RFC 3339 section 5.6, a leap second where one can be.  false: malformed, *wall_ms untouched. */
bool clock_parse_rfc3339(struct str s, int64_t *wall_ms);
int64_t clock_from_civil(int y, int m, int d, int hh, int mm, int ss, int ms); /* UTC; proleptic Gregorian */
#endif
