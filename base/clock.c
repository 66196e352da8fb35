/* clock.c - the system's clocks, the fake one, and civil dates by days-from-civil (Hinnant, public domain). */
#include "base/clock.h"
#include <stdio.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)

static int64_t system_wall_ms(struct clock *c)
{
    struct timespec t;
    (void)c;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t system_mono_us(struct clock *c)
{
    struct timespec t;
    (void)c;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct timespec clock_until(int64_t us)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    if (us < 0) us = 0;
    t.tv_sec += (time_t)(us / 1000000);
    t.tv_nsec += (long)(us % 1000000) * 1000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}

bool clock_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0) return false;
    const bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 && pthread_cond_init(c, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

struct clock *clock_system(void)
{
    static struct clock c = {system_wall_ms, system_mono_us, NULL};
    return &c;
}

uint64_t clock_cost_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int64_t fake_wall_ms(struct clock *c)
{
    return ((const struct clock_fake *)c)->wall_ms_now; /* base is its first member */
}

static int64_t fake_mono_us(struct clock *c)
{
    return ((const struct clock_fake *)c)->mono_us_now;
}

double clock_cpu_s(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void clock_fake_init(struct clock_fake *f, int64_t wall_ms)
{
    *f = (struct clock_fake){{fake_wall_ms, fake_mono_us, NULL}, wall_ms, 0};
}

void clock_fake_advance(struct clock_fake *f, int64_t ms)
{
    f->wall_ms_now += ms;
    f->mono_us_now += ms * 1000;
}

static int64_t days_from_civil(int y, int m, int d)
{
    y -= m <= 2;
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t yoe = y - era * 400;
    const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

int64_t clock_from_civil(int y, int m, int d, int hh, int mm, int ss, int ms)
{
    return days_from_civil(y, m, d) * DAY_MS + (((int64_t)hh * 60 + mm) * 60 + ss) * 1000 + ms;
}

static void civil_from_days(int64_t z, int *y, int *m, int *d)
{
    z += 719468;
    const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const int64_t doe = z - era * 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

void clock_format(int64_t wall_ms, char out[CLOCK_TEXT])
{
    const int64_t first = clock_from_civil(0, 1, 1, 0, 0, 0, 0), last = clock_from_civil(9999, 12, 31, 23, 59, 59, 999);
    if (wall_ms < first) wall_ms = first;
    if (wall_ms > last) wall_ms = last;
    int64_t day = wall_ms / DAY_MS, rest = wall_ms % DAY_MS;
    if (rest < 0) {
        rest += DAY_MS;
        day--;
    }
    int y, m, d;
    char text[64];
    civil_from_days(day, &y, &m, &d);
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", y, m, d, (int)(rest / 3600000),
                   (int)(rest / 60000 % 60), (int)(rest / 1000 % 60), (int)(rest % 1000));
    (void)snprintf(out, CLOCK_TEXT, "%.24s", text);
}

/* Exactly n digits at *p; -1 when one is missing. */
static int digits(const char **p, const char *end, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (*p == end || **p < '0' || **p > '9') return -1;
        v = v * 10 + (**p - '0');
    }
    return v;
}

static bool one_of(const char **p, const char *end, const char *set)
{
    if (*p == end || **p == 0 || strchr(set, **p) == NULL) return false;
    (*p)++;
    return true;
}

static int days_in_month(int y, int m)
{
    static const int n[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : n[m - 1];
}

/* ".123456" → 123: what is finer than a millisecond is cut off.  No point is 0; a point without digits is -1. */
static int fraction_ms(const char **p, const char *end)
{
    int ms = 0, n = 0;
    if (!one_of(p, end, ".")) return 0;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, n++)
        if (n < 3) ms = ms * 10 + (**p - '0');
    for (int i = n; i < 3; i++) ms *= 10;
    return n > 0 ? ms : -1;
}

/* "Z" or "+hh:mm"; false when it is neither. */
static bool zone_minutes(const char **p, const char *end, int *minutes)
{
    *minutes = 0;
    if (one_of(p, end, "Zz")) return true;
    if (*p == end || (**p != '+' && **p != '-')) return false;
    const int sign = *(*p)++ == '-' ? -1 : 1;
    const int hh = digits(p, end, 2);
    if (hh < 0 || hh > 23 || !one_of(p, end, ":")) return false;
    const int mm = digits(p, end, 2);
    if (mm < 0 || mm > 59) return false;
    *minutes = sign * (hh * 60 + mm);
    return true;
}

bool clock_parse_rfc3339(struct str s, int64_t *wall_ms)
{
    const char *p = s.p, *const end = s.p ? s.p + s.n : NULL;
    const int y = digits(&p, end, 4);
    if (y < 0 || !one_of(&p, end, "-")) return false;
    const int m = digits(&p, end, 2);
    if (m < 1 || m > 12 || !one_of(&p, end, "-")) return false;
    const int d = digits(&p, end, 2);
    if (d < 1 || d > days_in_month(y, m) || !one_of(&p, end, "Tt ")) return false;
    const int hh = digits(&p, end, 2);
    if (hh < 0 || hh > 23 || !one_of(&p, end, ":")) return false;
    const int mm = digits(&p, end, 2);
    if (mm < 0 || mm > 59 || !one_of(&p, end, ":")) return false;
    const int ss = digits(&p, end, 2);
    if (ss < 0 || ss > 60) return false;
    const int ms = fraction_ms(&p, end);
    int zone;
    if (ms < 0 || !zone_minutes(&p, end, &zone) || p != end) return false;
    const int64_t t = clock_from_civil(y, m, d, hh, mm, ss, ms) - (int64_t)zone * 60000;
    if (ss == 60 && (t % DAY_MS + DAY_MS) % DAY_MS >= 1000) return false; /* a leap second ends a UTC day */
    *wall_ms = t;
    return true;
}
