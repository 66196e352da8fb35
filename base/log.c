/* log.c - formats a line on the stack and writes it with one call, so that lines of threads never mix. */
#include "base/log.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define LIMIT_SLOTS 64
#define LIMIT_US INT64_C(1000000)

static atomic_int level_now = LOG_INFO;
static _Atomic(struct clock *) clock_now = NULL;

/* One entry per event and what is said of it (both are string literals, so there are few); the stalest gives way when all are taken. */
static struct limit {
    const char *event, *fmt;
    int64_t last_us;
    unsigned long repeated;
} limits[LIMIT_SLOTS];
static pthread_mutex_t limits_lock = PTHREAD_MUTEX_INITIALIZER;

void log_set_level(enum log_level level)
{
    atomic_store(&level_now, (int)level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load(&level_now);
}

void log_set_clock(struct clock *c)
{
    atomic_store(&clock_now, c);
}

static struct clock *the_clock(void)
{
    struct clock *c = atomic_load(&clock_now);
    return c != NULL ? c : clock_system();
}

static void write_all(const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t w = write(STDERR_FILENO, p, n);
        if (w <= 0) return; /* nobody to tell */
        p += w;
        n -= (size_t)w;
    }
}

static void emit(enum log_level level, const char *event, unsigned long repeated, const char *fmt, va_list ap)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[LINE_BYTES], when[CLOCK_TEXT];
    clock_format(the_clock()->wall_ms(the_clock()), when);
    int n = snprintf(line, sizeof line - 1, "%s %s %.200s", when, names[level], event);
    size_t at = n > 0 ? (size_t)n : 0;
    if (repeated > 0) at += (size_t)snprintf(line + at, sizeof line - 1 - at, " repeated=%lu", repeated);
    if (fmt[0] != 0) {
        line[at++] = ' ';
        n = vsnprintf(line + at, sizeof line - 1 - at, fmt, ap);
        const size_t room = sizeof line - 2 - at;
        if (n > 0) at += (size_t)n < room ? (size_t)n : room;
    }
    for (size_t i = 0; i < at; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = ' '; /* one event, one line */
    line[at++] = '\n';
    write_all(line, at);
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level > atomic_load(&level_now)) return;
    va_list ap;
    va_start(ap, fmt);
    emit(level, event, 0, fmt, ap);
    va_end(ap);
}

static bool is_of(const struct limit *l, const char *event, const char *fmt)
{
    return l->event != NULL && strcmp(l->event, event) == 0 && strcmp(l->fmt, fmt) == 0;
}

static struct limit *limit_of(const char *event, const char *fmt)
{
    struct limit *stalest = &limits[0];
    for (size_t i = 0; i < LIMIT_SLOTS; i++) {
        struct limit *l = &limits[i];
        if (l->event == NULL || is_of(l, event, fmt)) {
            stalest = l;
            break;
        }
        if (l->last_us < stalest->last_us) stalest = l;
    }
    if (!is_of(stalest, event, fmt)) *stalest = (struct limit){event, fmt, INT64_MIN, 0};
    return stalest;
}

void log_limited(enum log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level > atomic_load(&level_now)) return;
    const int64_t now_us = the_clock()->mono_us(the_clock());
    (void)pthread_mutex_lock(&limits_lock);
    struct limit *l = limit_of(event, fmt);
    const bool quiet = l->last_us != INT64_MIN && now_us - l->last_us < LIMIT_US;
    const unsigned long repeated = l->repeated;
    l->repeated = quiet ? repeated + 1 : 0;
    if (!quiet) l->last_us = now_us;
    (void)pthread_mutex_unlock(&limits_lock);
    if (quiet) return;
    va_list ap;
    va_start(ap, fmt);
    emit(level, event, repeated, fmt, ap);
    va_end(ap);
}
