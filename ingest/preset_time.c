/* preset_time.c - times by a format: a subset of strptime (POSIX) without locale: %Y %y %m %d %H %M %S %f %z %%. */
#include "base/clock.h"
#include "ingest/preset_map.h"

struct time_parts {
    int year, month, day, hour, minute, second, ms, zone_minutes;
};

/* One to `most` digits at *s; false when there is none. */
static bool digits(struct str *s, size_t most, int *out)
{
    size_t n = 0;
    int v = 0;
    while (n < most && n < s->n && s->p[n] >= '0' && s->p[n] <= '9') v = v * 10 + (s->p[n++] - '0');
    *s = (struct str){s->p + n, s->n - n};
    *out = v;
    return n > 0;
}

/* A fraction of a second: its first three digits count, up to nine are read. */
static bool fraction(struct str *s, int *ms)
{
    size_t n = 0;
    *ms = 0;
    for (; n < 9 && n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        if (n < 3) *ms = *ms * 10 + (s->p[n] - '0');
    for (size_t i = n; i < 3; i++) *ms *= 10;
    *s = (struct str){s->p + n, s->n - n};
    return n > 0;
}

/* Z, +hh:mm, +hhmm. */
static bool zone(struct str *s, int *minutes)
{
    int h = 0, m = 0;
    if (s->n == 0) return false;
    const char sign = s->p[0];
    *s = (struct str){s->p + 1, s->n - 1};
    *minutes = 0;
    if (sign == 'Z') return true;
    if ((sign != '+' && sign != '-') || !digits(s, 2, &h)) return false;
    if (s->n > 0 && s->p[0] == ':') *s = (struct str){s->p + 1, s->n - 1};
    if (!digits(s, 2, &m) || h > 23 || m > 59) return false;
    *minutes = (sign == '-' ? -1 : 1) * (h * 60 + m);
    return true;
}

static bool directive(char c, struct str *s, struct time_parts *t)
{
    switch (c) {
    case 'Y': return digits(s, 4, &t->year);
    case 'y':
        if (!digits(s, 2, &t->year)) return false;
        t->year += t->year < 69 ? 2000 : 1900; /* as POSIX strptime */
        return true;
    case 'm': return digits(s, 2, &t->month);
    case 'd': return digits(s, 2, &t->day);
    case 'H': return digits(s, 2, &t->hour);
    case 'M': return digits(s, 2, &t->minute);
    case 'S': return digits(s, 2, &t->second);
    case 'f': return fraction(s, &t->ms);
    case 'z': return zone(s, &t->zone_minutes);
    default: return false;
    }
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool in_range(const struct time_parts *t)
{
    return t->year >= 1 && t->month >= 1 && t->month <= 12 && t->day >= 1 && t->day <= days_in(t->year, t->month) &&
           t->hour <= 23 && t->minute <= 59 && t->second <= 60;
}

bool preset_time_parse(struct str format, struct str s, int64_t *ms)
{
    struct time_parts t = {.month = 1, .day = 1};
    for (size_t i = 0; i < format.n; i++) {
        if (format.p[i] == '%' && i + 1 < format.n && format.p[i + 1] != '%') {
            if (!directive(format.p[++i], &s, &t)) return false;
            continue;
        }
        if (format.p[i] == '%') i++;
        if (s.n == 0 || s.p[0] != format.p[i]) return false;
        s = (struct str){s.p + 1, s.n - 1};
    }
    if (s.n > 0 || !in_range(&t)) return false;
    *ms = clock_from_civil(t.year, t.month, t.day, t.hour, t.minute, t.second, t.ms) - (int64_t)t.zone_minutes * 60000;
    return true;
}
