/* redis.c - hiredis behind redis.h.  Its reader builds our reply nodes straight into an arena that redis_clear empties;
 * commands are formatted into a kept buffer and sent from there, as hiredis would take a new one for each.  So a warm
 * connection allocates nothing, whatever a reply holds. */
#include "serving/redis.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rand.h"
#include "serving/redis_url.h"
#include <errno.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define SEND_BYTES ((size_t)64 << 10) /* that are queued at most, unless one command is longer */
#define KEEP_BYTES ((size_t)1 << 20)  /* of a buffer between commands: larger ones are given back */
#define BACKOFF_LEAST_MS 50
#define BACKOFF_MOST_MS 2000

struct redis {
    struct redis_url url;
    char password_file[REDIS_URL_MAX];
    char name[REDIS_URL_MAX];
    int64_t timeout_ms;
    struct clock *clock;
    redisContext *c; /* NULL: not connected */
    uint64_t connections, tries;
    bool shut_out;                   /* the newest connection was asked for a password that it had not given */
    int64_t backoff_ms, next_try_us; /* 0: no failure yet */
    size_t outstanding;
    struct rand rand;
    struct arena arena; /* replies */
    struct buf commands; /* queued: not sent yet */
};

static void ignore_sigpipe(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Many clients that lose one server at one moment must not come back at one moment: their waits are drawn from the system's
 * random numbers, not from a time or an address that they may share. */
static void seed(struct redis *r)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = (uint64_t)r->clock->mono_us(r->clock) ^ (uint64_t)(uintptr_t)r;
    rand_init(&r->rand, (struct rand_key){seed, 0, 0, 0, RAND_REQUEST});
}

enum status redis_open(struct redis **out, const struct conf *c, struct clock *clock, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = NULL;
    if (c->redis_url[0] == '\0')
        return ERR_SET(e, STATUS_NOT_FOUND, "redis.url is empty; give unix:/path or redis://host:port/db");
    struct redis *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "redis: no memory for a connection");
    enum status st = redis_url_parse(c->redis_url, &r->url, e);
    struct redis_password password; /* one that can't be read is said at once; it is read anew for each connection */
    if (st == STATUS_OK) st = redis_password_read(c->redis_password_file, &password, e);
    explicit_bzero(&password, sizeof password);
    if (st != STATUS_OK) {
        mem_free(r);
        return st;
    }
    (void)pthread_once(&once, ignore_sigpipe);
    (void)snprintf(r->name, sizeof r->name, "%s", c->redis_url);
    r->timeout_ms = c->redis_timeout_ms;
    r->clock = clock;
    (void)snprintf(r->password_file, sizeof r->password_file, "%s", c->redis_password_file);
    seed(r);
    arena_init(&r->arena, 0);
    if (buf_room(&r->commands, SEND_BYTES) == NULL) {
        mem_free(r);
        return ERR_SET(e, STATUS_OOM, "redis: no memory for a connection");
    }
    buf_clear(&r->commands);
    *out = r;
    return STATUS_OK;
}

static void hang_up(struct redis *r)
{
    if (r->c != NULL) redisFree(r->c);
    r->c = NULL;
    r->outstanding = 0;
    buf_clear(&r->commands);
}

void redis_close(struct redis *r)
{
    if (r == NULL) return;
    hang_up(r);
    arena_fini(&r->arena);
    buf_fini(&r->commands);
    mem_free(r);
}

bool redis_connected(const struct redis *r)
{
    return r->c != NULL;
}
uint64_t redis_connections(const struct redis *r)
{
    return r->connections;
}
const char *redis_name(const struct redis *r)
{
    return r->name;
}

int64_t redis_retry_ms(const struct redis *r)
{
    const int64_t left = r->next_try_us - r->clock->mono_us(r->clock);
    return r->c != NULL || left <= 0 ? 0 : (left + 999) / 1000;
}

void redis_drop(struct redis *r)
{
    hang_up(r);
    r->next_try_us = 0;
}

/* Half fixed, half random, so that many clients of one server do not come back together. */
static void back_off(struct redis *r)
{
    const int64_t ms = r->backoff_ms == 0 ? BACKOFF_LEAST_MS : r->backoff_ms * 2;
    r->backoff_ms = ms > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : ms;
    const int64_t wait = r->backoff_ms / 2 + (int64_t)rand_below(&r->rand, (uint64_t)r->backoff_ms / 2 + 1);
    r->next_try_us = r->clock->mono_us(r->clock) + wait * 1000;
}

/* Takes hiredis's error text along and hangs up: after any of them the context is of no use. */
static enum status lost(struct redis *r, const char *doing, struct err *e)
{
    char why[160];
    const bool timed_out =
        r->c != NULL && r->c->err == REDIS_ERR_IO && strstr(r->c->errstr, "temporarily unavailable") != NULL;
    if (timed_out)
        (void)snprintf(why, sizeof why, "no answer within redis.timeout_ms=%lld", (long long)r->timeout_ms);
    else
        (void)snprintf(why, sizeof why, "%s", r->c != NULL && r->c->err ? r->c->errstr : "out of memory");
    hang_up(r);
    back_off(r);
    return ERR_SET(e, STATUS_IO, "redis %s: %s: %s", r->name, doing, why);
}

/* One of the commands that open a connection; a refusal hangs up, so that nothing runs half logged in. */
static enum status greet(struct redis *r, int argc, const char **argv, struct err *e)
{
    redisReply *p = redisCommandArgv(r->c, argc, argv, NULL);
    if (p == NULL) return lost(r, argv[0], e);
    const bool refused = p->type == REDIS_REPLY_ERROR;
    const enum status st =
        refused ? ERR_SET(e, STATUS_IO, "redis %s: %s refused: %s", r->name, argv[0], p->str) : STATUS_OK;
    freeReplyObject(p);
    if (refused) {
        hang_up(r);
        back_off(r);
    }
    return st;
}

/* AUTH with what the password file says now: a new password needs no restart. */
static enum status authenticate(struct redis *r, struct err *e)
{
    struct redis_password p;
    enum status st = redis_password_read(r->password_file, &p, e);
    if (st != STATUS_OK) {
        hang_up(r);
        back_off(r);
        st = STATUS_IO;
    } else if (p.password[0] != '\0') {
        const bool user = p.user[0] != '\0';
        const char *argv[] = {"AUTH", user ? p.user : p.password, p.password};
        st = greet(r, user ? 3 : 2, argv, e);
    }
    explicit_bzero(&p, sizeof p);
    return st;
}

static enum status log_in(struct redis *r, struct err *e)
{
    TRY(authenticate(r, e));
    if (r->url.db != 0) {
        char db[16];
        (void)snprintf(db, sizeof db, "%d", r->url.db);
        const char *argv[] = {"SELECT", db};
        TRY(greet(r, 2, argv, e));
    }
    return STATUS_OK;
}

/* --- replies ------------------------------------------------------------------------------------------------------- */

static enum redis_kind kind_of(int type)
{
    switch (type) {
    case REDIS_REPLY_STRING: return REDIS_TEXT;
    case REDIS_REPLY_STATUS: return REDIS_WORD;
    case REDIS_REPLY_INTEGER: return REDIS_INTEGER;
    case REDIS_REPLY_ARRAY: return REDIS_ARRAY;
    case REDIS_REPLY_ERROR: return REDIS_FAULT;
    default: return REDIS_NIL;
    }
}

/* The node of what is being read: its place in the array around it, or one of its own.  NULL: out of memory. */
static struct redis_reply *node_of(const redisReadTask *t)
{
    struct redis *r = t->privdata;
    struct redis_reply *node = t->parent != NULL ? (struct redis_reply *)t->parent->obj : NULL;
    node =
        node != NULL ? (struct redis_reply *)(uintptr_t)node->items + t->idx : arena_alloc(&r->arena, 1, sizeof *node);
    if (node != NULL) *node = (struct redis_reply){.kind = kind_of(t->type)};
    return node;
}

static void *make_text(const redisReadTask *t, char *p, size_t n)
{
    struct redis *r = t->privdata;
    struct redis_reply *node = node_of(t);
    char *copy = arena_raw(&r->arena, n + 1, 1);
    if (node == NULL || copy == NULL) return NULL;
    memcpy(copy, p, n);
    copy[n] = '\0';
    node->text = (struct str){copy, n};
    return node;
}

#if HIREDIS_MAJOR >= 1
typedef size_t count;
#else
typedef int count;
#endif
static void *make_array(const redisReadTask *t, count n)
{
    struct redis *r = t->privdata;
    struct redis_reply *node = node_of(t), *items = n > 0 ? arena_alloc(&r->arena, (size_t)n, sizeof *items) : NULL;
    if (node == NULL || (items == NULL && n > 0)) return NULL;
    node->items = items;
    node->n = (size_t)n;
    return node;
}

static void *make_integer(const redisReadTask *t, long long v)
{
    struct redis_reply *node = node_of(t);
    if (node != NULL) node->integer = v;
    return node;
}

static void *make_nil(const redisReadTask *t)
{
    struct redis_reply *node = node_of(t); /* its type says what it would have been */
    if (node != NULL) node->kind = REDIS_NIL;
    return node;
}

static void let_be(void *node)
{
    (void)node; /* the arena's */
}

static void build_ourselves(struct redis *r)
{
    static redisReplyObjectFunctions ours = {.createString = make_text,
                                             .createArray = make_array,
                                             .createInteger = make_integer,
                                             .createNil = make_nil,
                                             .freeObject = let_be};
    r->c->reader->fn = &ours;
    r->c->reader->privdata = r;
    r->c->reader->maxbuf = KEEP_BYTES;
}

/* --- calls --------------------------------------------------------------------------------------------------------- */

enum status redis_connect(struct redis *r, struct err *e)
{
    if (r->c != NULL) return STATUS_OK;
    const int64_t wait_ms = redis_retry_ms(r);
    if (wait_ms > 0)
        return ERR_SET(e, STATUS_IO, "redis %s: not connected; next try in %lld ms", r->name, (long long)wait_ms);
    const struct timeval tv = {r->timeout_ms / 1000, (suseconds_t)(r->timeout_ms % 1000) * 1000};
    r->c = r->url.is_unix ? redisConnectUnixWithTimeout(r->url.host, tv)
                          : redisConnectWithTimeout(r->url.host, r->url.port, tv);
    if (r->c == NULL || r->c->err || redisSetTimeout(r->c, tv) != REDIS_OK) return lost(r, "connect", e);
    if (!r->url.is_unix) (void)redisEnableKeepAlive(r->c);
    TRY(log_in(r, e));
    build_ourselves(r);
    if (!r->shut_out) r->backoff_ms = 0;
    r->next_try_us = 0;
    r->connections++;
    return STATUS_OK;
}

/* What is queued.  What fails leaves no connection. */
static enum status send_commands(struct redis *r, struct err *e)
{
    struct buf *b = &r->commands;
    for (size_t at = 0; at < b->n;) {
        const ssize_t n = send(r->c->fd, b->p + at, b->n - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            r->c->err = REDIS_ERR_IO; /* as hiredis says it */
            (void)snprintf(r->c->errstr, sizeof r->c->errstr, "%s", strerror(errno));
            return lost(r, "send commands", e);
        }
        at += (size_t)n;
    }
    buf_clear(b);
    if (b->cap > KEEP_BYTES) buf_fini(b);
    return STATUS_OK;
}

static size_t bytes_of(const struct str *args, size_t n)
{
    size_t bytes = 32 * (n + 1); /* lengths and line ends */
    for (size_t i = 0; i < n; i++) bytes += args[i].n;
    return bytes;
}

static void put_length(struct buf *b, char mark, size_t n)
{
    char text[24], *at = text + sizeof text;
    *--at = '\n', *--at = '\r';
    do *--at = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    *--at = mark;
    buf_put(b, at, (size_t)(text + sizeof text - at));
}

enum status redis_append(struct redis *r, struct err *e, const struct str *args, size_t n)
{
    struct buf *b = &r->commands;
    TRY(redis_connect(r, e));
    if (b->n + bytes_of(args, n) > SEND_BYTES) TRY(send_commands(r, e));
    const size_t before = b->n;
    put_length(b, '*', n);
    for (size_t i = 0; i < n; i++) {
        put_length(b, '$', args[i].n);
        buf_put(b, args[i].p ? args[i].p : "", args[i].n);
        buf_put(b, "\r\n", 2);
    }
    if (!b->oom) {
        r->outstanding++;
        return STATUS_OK;
    }
    b->n = before; /* those before it stand */
    b->oom = false;
    return ERR_SET(e, STATUS_OOM, "redis %s: no memory for a command of %zu words", r->name, n);
}

static bool begins(const char *s, const char *word)
{
    return strncmp(s, word, strlen(word)) == 0;
}

static enum status fault(const struct redis *r, const char *text, struct err *e)
{
    static const char *const later[] = {"LOADING",    "BUSY",     "TRYAGAIN",  "CLUSTERDOWN",
                                        "MASTERDOWN", "READONLY", "NOREPLICAS"};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (begins(text, later[i])) return ERR_SET(e, STATUS_AGAIN, "redis %s: %s", r->name, text);
    const bool aborted = begins(text, "EXECABORT") && strstr(text, "OOM") != NULL;
    if (begins(text, "OOM") || aborted)
        return ERR_SET(e, STATUS_FULL, "redis %s: %s; raise its maxmemory or lower publish.feature_ttl_s", r->name,
                       text);
    return ERR_SET(e, STATUS_INVALID, "redis %s: %s", r->name, text);
}

static bool wants_login(const char *text)
{
    return begins(text, "NOAUTH") ||
           begins(text, "ERR Protocol error: unauthenticated"); /* to many or large arguments */
}

/* No fault of the command: whoever is not let in has not reached the server, and logs in anew once there is a password. */
static enum status not_let_in(struct redis *r, struct err *e)
{
    r->shut_out = true;
    hang_up(r);
    back_off(r);
    return ERR_SET(e, STATUS_IO, "redis %s: it asks for a password; name a file with it in redis.password_file",
                   r->name);
}

/* The next reply from the wire, after what is queued was sent.  What fails leaves no connection. */
static enum status read_reply(struct redis *r, const struct redis_reply **out, struct err *e)
{
    void *raw = NULL;
    TRY(send_commands(r, e));
    if (redisGetReply(r->c, &raw) == REDIS_OK && raw != NULL) {
        r->outstanding--;
        *out = raw;
        return STATUS_OK;
    }
    if (r->c->err != REDIS_ERR_OOM) return lost(r, "read a reply", e);
    hang_up(r);
    return ERR_SET(e, STATUS_OOM, "redis %s: no memory for a reply", r->name);
}

enum status redis_get(struct redis *r, struct err *e, const struct redis_reply **out)
{
    const struct redis_reply *node = NULL;
    *out = NULL;
    if (r->outstanding == 0) return ERR_SET(e, STATUS_END, "redis %s: no reply is outstanding", r->name);
    TRY(read_reply(r, &node, e));
    if (node->kind == REDIS_FAULT && wants_login(node->text.p)) return not_let_in(r, e);
    r->shut_out = false;
    if (node->kind == REDIS_FAULT) return fault(r, node->text.p, e);
    *out = node;
    return STATUS_OK;
}

void redis_clear(struct redis *r)
{
    const struct redis_reply *dropped;
    while (r->outstanding > 0 && read_reply(r, &dropped, NULL) == STATUS_OK) continue;
    arena_reset(&r->arena);
}

enum status redis_call(struct redis *r, struct err *e, const struct redis_reply **out, const struct str *args, size_t n)
{
    redis_clear(r);
    *out = NULL;
    TRY(redis_append(r, e, args, n));
    return redis_get(r, e, out);
}

bool redis_is(const struct redis_reply *p, const char *word)
{
    return (p->kind == REDIS_TEXT || p->kind == REDIS_WORD) && str_is(p->text, word);
}
