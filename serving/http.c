/* http.c - libmicrohttpd behind http.h: a pool of epoll threads, bodies gathered within bounds, replies handed out.
 * Connections come from http_door.c, which knows what each is doing.
 *
 * Each request has an exchange (body and reply buffers, response objects) from a free list, so a warm server allocates
 * nothing for a usual request over a kept connection; each new connection costs libmicrohttpd a few blocks.
 */
#include "serving/http.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/queue.h"
#include "schemas/conf_live.h"
#include "serving/http_door.h"
#include "serving/http_response.h"
#include "serving/http_routes.h"
#include "serving/page.h"
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IDLE_S 30           /* a connection may be silent this long */
#define SPARE_CONNECTIONS 8 /* on their way out while others come in, for each thread */
#define LEAD_PART 8         /* of drain_ms, while health says no and connections are taken still */
#define LINGER_MS 250       /* a kept connection without a request for so long is not waited for */
#define HEADERS_BYTES 32768 /* of one connection */
#define WAIT_MS 5
#define TOKEN_MAX 4096
#define ROOM_BYTES 4096                /* of a body or reply from the start */
#define KEEP_BYTES ((size_t)512 << 10) /* larger buffers are not kept between requests */
#define BEARER "Bearer "
#define ASIDE_MOST 64 /* requests that wait for Kafka; half the connections at most */

struct exchange {
    struct buf body, reply; /* lives until completed() */
    struct http_responses responses;
    int64_t start_us;
    bool too_large, refused, replied;
    /* of one that was set aside */
    struct MHD_Connection *aside; /* NULL: it was not */
    struct http_request asked;    /* points into the connection, which is suspended */
    struct http_reply answer;
    struct exchange *next;
};
struct http {
    struct http_shared shared;
    struct MHD_Daemon *daemon;
    struct http_door *door;
    char host[NI_MAXHOST];
    int port;
    pthread_mutex_t lock; /* of the free list */
    struct exchange *spare;
    pthread_mutex_t turn; /* suspended before it is resumed */
    struct queue *aside;  /* of struct exchange; NULL: nothing waits for others */
    pthread_t answerer;
    bool answering;
};

/* --- exchanges ---------------------------------------------------------------------------------------------------- */

static void exchange_free(struct exchange *x)
{
    http_responses_fini(&x->responses);
    buf_fini(&x->body);
    buf_fini(&x->reply);
    mem_free(x);
}

/* With room for what is usual; NULL: no memory. */
static struct exchange *exchange_new(void)
{
    struct exchange *x = mem_calloc(1, sizeof *x);
    if (x == NULL) return NULL;
    if (buf_room(&x->body, ROOM_BYTES) != NULL && buf_room(&x->reply, ROOM_BYTES) != NULL) return x;
    exchange_free(x);
    return NULL;
}

static struct exchange *exchange_get(struct http *h)
{
    (void)pthread_mutex_lock(&h->lock);
    struct exchange *x = h->spare;
    if (x != NULL) h->spare = x->next;
    (void)pthread_mutex_unlock(&h->lock);
    if (x == NULL) x = exchange_new();
    if (x == NULL) return NULL;
    buf_clear(&x->body);
    buf_clear(&x->reply);
    x->too_large = x->refused = x->replied = false;
    x->aside = NULL;
    x->start_us = h->shared.o.clock->mono_us(h->shared.o.clock);
    return x;
}

static void exchange_put(struct http *h, struct exchange *x)
{
    if (x->body.cap > KEEP_BYTES) buf_fini(&x->body);
    if (x->reply.cap > KEEP_BYTES) buf_fini(&x->reply);
    (void)pthread_mutex_lock(&h->lock);
    x->next = h->spare;
    h->spare = x;
    (void)pthread_mutex_unlock(&h->lock);
}

/* Two a thread: the next request may come before the last one's end is told. */
static enum status make_exchanges(struct http *h, struct err *e)
{
    for (int64_t i = 0; i < 2 * h->shared.o.conf->serving_threads; i++) {
        struct exchange *x = exchange_new();
        if (x == NULL) return ERR_SET(e, STATUS_OOM, "http: no memory for %lld requests", (long long)i + 1);
        exchange_put(h, x);
    }
    return STATUS_OK;
}

/* --- seats -------------------------------------------------------------------------------------------------------- */

static void seat(struct http *h, struct MHD_Connection *c, enum http_seat s)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL) return;
    if (s == HTTP_SEAT_FREE)
        http_door_leave(h->door, info->connect_fd);
    else
        http_door_seat(h->door, info->connect_fd, s);
}

static void completed(void *cls, struct MHD_Connection *c, void **at, enum MHD_RequestTerminationCode why)
{
    (void)why;
    if (*at == NULL) return;
    exchange_put(cls, *at);
    *at = NULL;
    seat(cls, c, HTTP_SEAT_WAITS);
}

static void came_or_went(void *cls, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what)
{
    (void)context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) seat(cls, c, HTTP_SEAT_FREE);
}

static bool hand_over(void *user, int fd, const struct sockaddr *a, socklen_t n)
{
    struct http *h = user;
    return MHD_add_connection(h->daemon, fd, a, n) == MHD_YES;
}

/* --- one request -------------------------------------------------------------------------------------------------- */

static enum MHD_Result send_reply(struct http *h, struct MHD_Connection *c, struct exchange *x,
                                  const struct http_reply *r)
{
    const bool last = x->refused || atomic_load(&h->shared.draining);
    const bool ok = http_response_queue(&x->responses, c, r, last);
    const int64_t us = h->shared.o.clock->mono_us(h->shared.o.clock) - x->start_us;
    metric_request(h->shared.o.metric, r->route, r->status, (double)us * 1e-6);
    x->replied = true;
    seat(h, c, HTTP_SEAT_SENT);
    return ok ? MHD_YES : MHD_NO;
}

static struct str bearer_of(struct MHD_Connection *c)
{
    const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    if (v == NULL || strncasecmp(v, BEARER, strlen(BEARER)) != 0) return (struct str){NULL, 0}; /* RFC 7235, 2.1 */
    return str_from(v + strlen(BEARER));
}

/* A body that is not taken; the connection ends with the answer. */
static enum MHD_Result refuse(struct http *h, struct MHD_Connection *c, struct exchange *x, const char *path,
                              int status, const char *code, const char *text)
{
    struct http_reply r = {.body = &x->reply};
    r.route = http_route_of(str_from(path));
    x->refused = true;
    http_error(&r, status, code, text);
    return send_reply(h, c, x, &r);
}

static enum MHD_Result too_large(struct http *h, struct MHD_Connection *c, struct exchange *x, const char *path)
{
    char text[160];
    (void)snprintf(text, sizeof text, "the body is longer than serving.max_body_bytes=%lld",
                   (long long)conf_now(&h->shared.o.conf->serving_max_body));
    return refuse(h, c, x, path, 413, "too_large", text);
}

static enum MHD_Result count_length(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    size_t *n = cls;
    (void)kind, (void)value;
    *n += strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Transfer-Encoding") == 0;
    return MHD_YES;
}

/* The head is there.  A body that says itself that it is too long is refused before it is read; so is one with two lengths,
 * of which whoever stands before us may have read the other (RFC 9112, 6.3). */
static enum MHD_Result begin(struct http *h, struct MHD_Connection *c, const char *path, void **at)
{
    size_t lengths = 0;
    struct exchange *x = exchange_get(h);
    if (x == NULL) return MHD_NO;
    *at = x;
    seat(h, c, HTTP_SEAT_READS);
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, count_length, &lengths);
    if (lengths > 1)
        return refuse(h, c, x, path, 400, "invalid_request", "the head says more than once how long the body is");
    const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
    if (length != NULL &&
        strtoull(length, NULL, 10) > (unsigned long long)conf_now(&h->shared.o.conf->serving_max_body))
        return too_large(h, c, x, path);
    return MHD_YES;
}

/* Takes a piece of the body.  Past the limit the rest is let go by, as nothing can be answered before the body's end (a
 * restriction of libmicrohttpd); how long that may take is the door's to say. */
static enum MHD_Result gather(struct http *h, struct exchange *x, const char *p, size_t *n)
{
    const size_t limit = (size_t)conf_now(&h->shared.o.conf->serving_max_body);
    x->too_large = x->too_large || *n > limit || x->body.n > limit - *n;
    if (!x->too_large) buf_put(&x->body, p, *n);
    *n = 0;
    return x->body.oom ? MHD_NO : MHD_YES;
}

/* Kafka may be away for long, and the threads that answer everybody don't wait for it: what does is suspended, answered by a
 * thread of its own, and sent when on_request is called again.  False: too many wait already, or the end has come. */
static bool set_aside(struct http *h, struct MHD_Connection *c, struct exchange *x, const struct http_request *q)
{
    x->aside = c;
    x->asked = *q;
    (void)pthread_mutex_lock(&h->turn);
    const bool taken = queue_push_for(h->aside, x, 0) == STATUS_OK;
    if (taken) MHD_suspend_connection(c);
    (void)pthread_mutex_unlock(&h->turn);
    if (!taken) x->aside = NULL;
    return taken;
}

static void *answer_aside(void *arg)
{
    struct http *h = arg;
    void *p;
    while (queue_pop(h->aside, &p) == STATUS_OK) {
        struct exchange *x = p;
        x->answer = (struct http_reply){.body = &x->reply};
        http_answer(&h->shared, &x->asked, &x->answer);
        (void)pthread_mutex_lock(&h->turn);
        MHD_resume_connection(x->aside);
        (void)pthread_mutex_unlock(&h->turn);
    }
    return NULL;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *protocol, const char *upload, size_t *n_upload, void **at)
{
    struct http *h = cls;
    struct exchange *x = *at;
    (void)protocol;
    if (x == NULL) return begin(h, c, path, at);
    if (x->replied) { /* refused already: what still comes is dropped */
        *n_upload = 0;
        return MHD_YES;
    }
    if (*n_upload > 0) return gather(h, x, upload, n_upload);
    if (x->too_large) return too_large(h, c, x, path);
    if (x->aside != NULL) return send_reply(h, c, x, &x->answer);
    seat(h, c, HTTP_SEAT_ANSWERED);
    x->start_us = h->shared.o.clock->mono_us(h->shared.o.clock);
    const struct http_request q = {
        str_from(method), str_from(path), {(const char *)x->body.p, x->body.n}, bearer_of(c)};
    struct http_reply r = {.body = &x->reply};
    if (h->aside == NULL || !http_waits(&h->shared, &q))
        http_answer(&h->shared, &q, &r);
    else if (set_aside(h, c, x, &q))
        return MHD_YES;
    else
        http_answer_busy(&q, &r);
    return send_reply(h, c, x, &r);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* First line of the token file. */
static enum status read_token(const char *path, struct buf *token, struct err *e)
{
    char line[TOKEN_MAX];
    if (path[0] == '\0') return STATUS_OK;
    FILE *f = fopen(path, "r");
    if (f == NULL) return ERR_SET(e, STATUS_IO, "serving.token_file: %s: %s", path, strerror(errno));
    const bool got = fgets(line, sizeof line, f) != NULL;
    (void)fclose(f);
    const size_t n = got ? strcspn(line, "\r\n") : 0;
    if (n == 0)
        return ERR_SET(e, STATUS_INVALID, "serving.token_file: %s: its first line is empty; put a token there", path);
    if (n == sizeof line - 1)
        return ERR_SET(e, STATUS_INVALID, "serving.token_file: %s: its first line is longer than %d bytes", path,
                       TOKEN_MAX - 2);
    buf_put(token, line, n);
    return buf_status(token, e);
}

/* "127.0.0.1:8080", "[::1]:0", ":8080" (all addresses). */
static enum status resolve(const char *where, struct addrinfo **out, struct err *e)
{
    char host[NI_MAXHOST];
    const char *colon = strrchr(where, ':');
    size_t n = colon ? (size_t)(colon - where) : 0;
    const char *from = where;
    if (colon == NULL || colon[1] == '\0' || n >= sizeof host)
        return ERR_SET(e, STATUS_INVALID, "serving.listen: '%s' is not address:port", where);
    if (n >= 2 && from[0] == '[' && from[n - 1] == ']') from++, n -= 2;
    memcpy(host, from, n);
    host[n] = '\0';
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    const int rc = getaddrinfo(n > 0 ? host : NULL, colon + 1, &hints, out);
    return rc == 0 ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "serving.listen: '%s': %s", where, gai_strerror(rc));
}

static enum status listen_on(const char *where, int *out, struct err *e)
{
    struct addrinfo *a = NULL;
    const int one = 1;
    enum status st = resolve(where, &a, e);
    if (st != STATUS_OK) return st;
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 512) != 0) {
        st = ERR_SET(e, STATUS_IO, "serving.listen: %s: %s; choose another, or port 0 for a free one", where,
                     strerror(errno));
        if (fd >= 0) (void)close(fd);
    } else {
        *out = fd;
    }
    freeaddrinfo(a);
    return st;
}

static enum status name_socket(struct http *h, int fd, struct err *e)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&a, &n) != 0 ||
        getnameinfo((struct sockaddr *)&a, n, h->host, sizeof h->host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return ERR_SET(e, STATUS_IO, "http: the socket's address is not to be had: %s", strerror(errno));
    h->port = (int)strtol(port, NULL, 10); /* the kernel's own digits */
    return STATUS_OK;
}

static enum status start_answerer(struct http *h, struct err *e)
{
    const size_t half = (size_t)h->shared.o.conf->serving_connections / 2 + 1;
    if (h->shared.o.intake == NULL) return STATUS_OK;
    TRY(queue_new(&h->aside, half < ASIDE_MOST ? half : ASIDE_MOST, e));
    h->answering = pthread_create(&h->answerer, NULL, answer_aside, h) == 0;
    return h->answering ? STATUS_OK : ERR_SET(e, STATUS_OOM, "http: no thread can be started");
}

/* All that were set aside are resumed, and no others come. */
static void stop_answerer(struct http *h)
{
    if (!h->answering) return;
    queue_close(h->aside);
    (void)pthread_join(h->answerer, NULL);
    h->answering = false;
}

/* The door first, so that the daemon's threads know it; opened last. */
static enum status start(struct http *h, int fd, struct err *e)
{
    const struct conf *c = h->shared.o.conf;
    const unsigned threads = (unsigned)c->serving_threads;
    const unsigned most = (unsigned)c->serving_connections;
    const unsigned pool = threads > 1 ? threads : 0; /* one thread is no pool */
    const struct http_door_options o = {.listen_fd = fd,
                                        .most = most,
                                        .clock = h->shared.o.clock,
                                        .metric = h->shared.o.metric,
                                        .hand_over = hand_over,
                                        .user = h};
    TRY(make_exchanges(h, e));
    TRY(start_answerer(h, e));
    TRY(http_door_new(&h->door, &o, e));
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
        NULL, on_request, h, MHD_OPTION_CONNECTION_LIMIT, most + threads * SPARE_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_BYTES,
        MHD_OPTION_THREAD_POOL_SIZE, pool, MHD_OPTION_NOTIFY_COMPLETED, completed, h, MHD_OPTION_NOTIFY_CONNECTION,
        came_or_went, h, MHD_OPTION_END);
    if (h->daemon == NULL)
        return ERR_SET(e, STATUS_IO, "http: the server cannot be started on %s:%d", h->host, h->port);
    const enum status st = http_door_open(h->door, e);
    if (st != STATUS_OK) MHD_stop_daemon(h->daemon);
    return st;
}

static void free_all(struct http *h)
{
    stop_answerer(h);
    queue_free(h->aside);
    for (struct exchange *x = h->spare, *next; x != NULL; x = next) {
        next = x->next;
        exchange_free(x);
    }
    http_door_free(h->door);
    buf_fini(&h->shared.page);
    buf_fini(&h->shared.token);
    (void)pthread_mutex_destroy(&h->lock);
    (void)pthread_mutex_destroy(&h->turn);
    mem_free(h);
}

enum status http_open(struct http **out, const struct http_options *o, struct err *e)
{
    enum status st;
    int fd = -1;
    *out = NULL;
    struct http *h = mem_calloc(1, sizeof *h);
    if (h == NULL) return ERR_SET(e, STATUS_OOM, "http: no memory");
    h->shared.o = *o;
    if (pthread_mutex_init(&h->lock, NULL) != 0 || pthread_mutex_init(&h->turn, NULL) != 0) {
        mem_free(h);
        return ERR_SET(e, STATUS_OOM, "http: no lock can be made");
    }
    page_write(&h->shared.page);
    TRY_OUT(st, buf_status(&h->shared.page, e));
    TRY_OUT(st, read_token(o->conf->serving_token_file, &h->shared.token, e));
    TRY_OUT(st, listen_on(o->conf->serving_listen, &fd, e));
    TRY_OUT(st, name_socket(h, fd, e));
    TRY_OUT(st, start(h, fd, e));
    *out = h;
    return STATUS_OK;
out:
    if (fd >= 0) (void)close(fd);
    free_all(h);
    return st;
}

static void pause_ms(int64_t ms)
{
    (void)nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
}

static void wait_until_quiet(struct http *h, int64_t most_ms)
{
    for (; most_ms > 0 && !http_door_quiet(h->door, LINGER_MS); most_ms -= WAIT_MS) pause_ms(WAIT_MS);
}

/* Health says no first, while all is answered as before (each answer closes its connection); then nobody comes in any
 * more; then who is in gets the rest of the time. */
void http_close(struct http *h, int64_t drain_ms)
{
    if (h == NULL) return;
    atomic_store(&h->shared.draining, true);
    pause_ms(drain_ms / LEAD_PART);
    http_door_shut(h->door);
    wait_until_quiet(h, drain_ms - drain_ms / LEAD_PART);
    if (h->answering) {
        stop_answerer(h);
        wait_until_quiet(h, LINGER_MS); /* events that Kafka has are said to be taken */
    }
    MHD_stop_daemon(h->daemon); /* those that are still in leave now */
    free_all(h);
}

const char *http_address(const struct http *h)
{
    return h->host;
}
int http_port(const struct http *h)
{
    return h->port;
}
