/* http_door.c - one thread that accepts and sweeps; seats in an array by file descriptor. */
#include "serving/http_door.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SWEEP_MS 250
#define DAWDLE_US INT64_C(30000000) /* waiting, reading or being sent to may take this long */
#define EVICT_US INT64_C(1000000)   /* who waits this long makes room when all seats are taken */
#define RETRY_MS 50                 /* after accept failed, for want of descriptors */

struct seat {
    int64_t since_us;
    enum http_seat state;
    bool ended; /* shut down by us; it leaves soon */
};
struct http_door {
    struct http_door_options o;
    pthread_t thread;
    bool open; /* the thread runs */
    int wake;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t is_shut;
    bool shutting, shut, closing;
    struct seat *seats;
    size_t cap, n; /* n: taken and not ended */
};

/* --- seats -------------------------------------------------------------------------------------------------------- */

static void set_count(struct http_door *d, size_t n)
{
    d->n = n;
    metric_set(d->o.metric, METRIC_CONNECTIONS, (double)n);
}

static void end_seat(struct http_door *d, size_t fd)
{
    d->seats[fd].ended = true;
    (void)shutdown((int)fd,
                   SHUT_RDWR); /* its owner sees the end and closes it; under the lock it cannot be another's */
    set_count(d, d->n - 1);
    metric_add(d->o.metric, METRIC_CONNECTIONS_ENDED, 1);
}

static bool dawdles(const struct seat *s, int64_t now_us)
{
    return s->state != HTTP_SEAT_FREE && s->state != HTTP_SEAT_ANSWERED && !s->ended &&
           now_us - s->since_us > DAWDLE_US;
}

static void sweep(struct http_door *d)
{
    const int64_t now_us = d->o.clock->mono_us(d->o.clock);
    (void)pthread_mutex_lock(&d->lock);
    for (size_t fd = 0; fd < d->cap; fd++)
        if (dawdles(&d->seats[fd], now_us)) end_seat(d, fd);
    (void)pthread_mutex_unlock(&d->lock);
}

/* Ends the connection that waits longest, if it has waited long enough. */
static bool make_room(struct http_door *d, int64_t now_us)
{
    size_t longest = 0;
    int64_t since_us = INT64_MAX;
    for (size_t fd = 0; fd < d->cap; fd++) {
        const struct seat *s = &d->seats[fd];
        if (s->state != HTTP_SEAT_WAITS || s->ended || s->since_us >= since_us) continue;
        longest = fd;
        since_us = s->since_us;
    }
    if (since_us == INT64_MAX || now_us - since_us < EVICT_US) return false;
    end_seat(d, longest);
    return true;
}

static bool take_seat(struct http_door *d, size_t fd)
{
    const int64_t now_us = d->o.clock->mono_us(d->o.clock);
    (void)pthread_mutex_lock(&d->lock);
    const size_t had = d->cap;
    bool ok = fd < had || MEM_GROW(d->seats, &d->cap, fd + 1) == 0;
    if (ok && d->cap > had) memset(d->seats + had, 0, (d->cap - had) * sizeof *d->seats);
    ok = ok && (d->n < d->o.most || make_room(d, now_us));
    if (ok) {
        d->seats[fd] = (struct seat){now_us, HTTP_SEAT_WAITS, false};
        set_count(d, d->n + 1);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return ok;
}

void http_door_seat(struct http_door *d, int fd, enum http_seat s)
{
    const int64_t now_us = d->o.clock->mono_us(d->o.clock);
    (void)pthread_mutex_lock(&d->lock);
    d->seats[fd].state = s;
    d->seats[fd].since_us = now_us;
    (void)pthread_mutex_unlock(&d->lock);
}

void http_door_leave(struct http_door *d, int fd)
{
    (void)pthread_mutex_lock(&d->lock);
    struct seat *s = &d->seats[fd];
    if (s->state != HTTP_SEAT_FREE && !s->ended) set_count(d, d->n - 1);
    *s = (struct seat){0};
    (void)pthread_mutex_unlock(&d->lock);
}

bool http_door_quiet(struct http_door *d, int64_t waited_ms)
{
    const int64_t now_us = d->o.clock->mono_us(d->o.clock);
    bool quiet = true;
    (void)pthread_mutex_lock(&d->lock);
    for (size_t fd = 0; fd < d->cap && quiet; fd++) {
        const struct seat *s = &d->seats[fd];
        if (s->state == HTTP_SEAT_FREE || s->ended) continue;
        quiet = s->state == HTTP_SEAT_WAITS && now_us - s->since_us >= waited_ms * 1000;
    }
    (void)pthread_mutex_unlock(&d->lock);
    return quiet;
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

/* Full: says so and goes, without waiting for the request. */
static void turn_away(struct http_door *d, int fd)
{
    static const char body[] = "{\"error\":{\"code\":\"too_many_connections\",\"message\":\"all connections that "
                               "serving.max_connections allows are in use; try again\"}}\n";
    char answer[512], rest[4096];
    const int n = snprintf(answer, sizeof answer,
                           "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
                           "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                           sizeof body - 1, body);
    metric_add(d->o.metric, METRIC_CONNECTIONS_REFUSED, 1);
    (void)!send(fd, answer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    (void)!recv(fd, rest, sizeof rest, MSG_DONTWAIT); /* unread bytes would turn the end into a reset */
    (void)close(fd);
    log_limited(LOG_WARN, "connections", "all %zu of serving.max_connections are in use", d->o.most);
}

/* Lets in who stands before the door.  False: accept failed for want of something, or the socket is no good. */
static bool let_in(struct http_door *d)
{
    for (;;) {
        struct sockaddr_storage a;
        socklen_t n = sizeof a;
        const int fd = accept4(d->o.listen_fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
        if (!take_seat(d, (size_t)fd))
            turn_away(d, fd);
        else if (!d->o.hand_over(d->o.user, fd, (const struct sockaddr *)&a, n))
            http_door_leave(d, fd);
    }
}

static void shut(struct http_door *d)
{
    (void)let_in(d);
    (void)close(d->o.listen_fd);
    (void)pthread_mutex_lock(&d->lock);
    d->shut = true;
    (void)pthread_cond_broadcast(&d->is_shut);
    (void)pthread_mutex_unlock(&d->lock);
}

static void *keep(void *arg)
{
    struct http_door *d = arg;
    bool open = true, closing = false;
    while (!closing) {
        struct pollfd p[2] = {{d->wake, POLLIN, 0}, {d->o.listen_fd, POLLIN, 0}};
        uint64_t woken;
        (void)poll(p, open ? 2 : 1, SWEEP_MS);
        (void)!read(d->wake, &woken, sizeof woken);
        (void)pthread_mutex_lock(&d->lock);
        const bool shutting = d->shutting;
        closing = d->closing;
        (void)pthread_mutex_unlock(&d->lock);
        if (open && shutting) {
            shut(d);
            open = false;
        }
        if (open && p[1].revents != 0 && !let_in(d)) {
            log_limited(LOG_WARN, "accept", "reason=\"%s\"", strerror(errno));
            (void)poll(p, 1, RETRY_MS);
        }
        sweep(d);
    }
    return NULL;
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

enum status http_door_new(struct http_door **out, const struct http_door_options *o, struct err *e)
{
    *out = NULL;
    struct http_door *d = mem_calloc(1, sizeof *d);
    if (d == NULL) return ERR_SET(e, STATUS_OOM, "http: no memory");
    d->o = *o;
    d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->wake >= 0 && pthread_mutex_init(&d->lock, NULL) == 0 && pthread_cond_init(&d->is_shut, NULL) == 0) {
        *out = d;
        return STATUS_OK;
    }
    if (d->wake >= 0) (void)close(d->wake);
    mem_free(d);
    return ERR_SET(e, STATUS_OOM, "http: no lock or no event descriptor can be made");
}

enum status http_door_open(struct http_door *d, struct err *e)
{
    if (pthread_create(&d->thread, NULL, keep, d) != 0) return ERR_SET(e, STATUS_OOM, "http: no thread can be started");
    d->open = true;
    return STATUS_OK;
}

static void tell(struct http_door *d, bool closing)
{
    const uint64_t one = 1;
    (void)pthread_mutex_lock(&d->lock);
    d->shutting = true;
    d->closing = closing;
    (void)pthread_mutex_unlock(&d->lock);
    (void)!write(d->wake, &one, sizeof one);
}

void http_door_shut(struct http_door *d)
{
    tell(d, false);
    (void)pthread_mutex_lock(&d->lock);
    while (!d->shut) (void)pthread_cond_wait(&d->is_shut, &d->lock);
    (void)pthread_mutex_unlock(&d->lock);
}

void http_door_free(struct http_door *d)
{
    if (d == NULL) return;
    if (d->open) {
        tell(d, true);
        (void)pthread_join(d->thread, NULL);
    }
    (void)close(d->wake);
    (void)pthread_cond_destroy(&d->is_shut);
    (void)pthread_mutex_destroy(&d->lock);
    mem_free(d->seats);
    mem_free(d);
}
