/* redis.c - hiredis behind redis.h.  Replies stay hiredis's until redis_clear; our nodes point into them. */
#include "serving/redis.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/rand.h"
#include "serving/redis_url.h"
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define BACKOFF_LEAST_MS 50
#define BACKOFF_MOST_MS 2000
#define REPLY_DEPTH_MAX 7 /* hiredis's own limit */

struct redis {
    struct redis_url url;
    char password_file[REDIS_URL_MAX];
    char name[REDIS_URL_MAX];
    int64_t timeout_ms;
    struct clock *clock;
    redisContext *c; /* NULL: not connected */
    uint64_t connections, tries;
    int64_t backoff_ms, next_try_us; /* 0: no failure yet */
    size_t outstanding;
    struct rand rand;
    struct arena arena; /* reply nodes */
    redisReply **held;
    size_t n_held, cap_held;
    const char **argv;
    size_t *argl;
    size_t cap_argv, cap_argl;
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
    *out = r;
    return STATUS_OK;
}

static void free_replies(struct redis *r)
{
    for (size_t i = 0; i < r->n_held; i++) freeReplyObject(r->held[i]);
    r->n_held = 0;
    arena_reset(&r->arena);
}

static void hang_up(struct redis *r)
{
    if (r->c != NULL) redisFree(r->c);
    r->c = NULL;
    r->outstanding = 0;
}

void redis_close(struct redis *r)
{
    if (r == NULL) return;
    hang_up(r);
    free_replies(r);
    arena_fini(&r->arena);
    mem_free(r->held);
    mem_free(r->argv);
    mem_free(r->argl);
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
    r->backoff_ms = 0;
    r->next_try_us = 0;
    r->connections++;
    return STATUS_OK;
}

enum status redis_append(struct redis *r, struct err *e, const struct str *args, size_t n)
{
    TRY(redis_connect(r, e));
    if (mem_grow((void **)&r->argv, &r->cap_argv, n, sizeof *r->argv) != 0 ||
        mem_grow((void **)&r->argl, &r->cap_argl, n, sizeof *r->argl) != 0)
        return ERR_SET(e, STATUS_OOM, "redis %s: no memory for a command of %zu words", r->name, n);
    for (size_t i = 0; i < n; i++) {
        r->argv[i] = args[i].p ? args[i].p : "";
        r->argl[i] = args[i].n;
    }
    if (redisAppendCommandArgv(r->c, (int)n, r->argv, r->argl) != REDIS_OK) return lost(r, "queue a command", e);
    r->outstanding++;
    return STATUS_OK;
}

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

/* Makes our view of a reply; false when out of memory.  Depth is bounded by hiredis. */
static bool view(struct arena *a, const redisReply *from, struct redis_reply *to, int depth)
{
    *to = (struct redis_reply){.kind = kind_of(from->type), .integer = from->integer};
    if (to->kind == REDIS_TEXT || to->kind == REDIS_WORD || to->kind == REDIS_FAULT)
        to->text = (struct str){from->str, from->len};
    if (to->kind != REDIS_ARRAY || from->elements == 0) return true;
    struct redis_reply *items = arena_alloc(a, from->elements, sizeof *items);
    if (items == NULL || depth >= REPLY_DEPTH_MAX) return false;
    for (size_t i = 0; i < from->elements; i++)
        if (!view(a, from->element[i], &items[i], depth + 1)) return false;
    to->items = items;
    to->n = from->elements;
    return true;
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

enum status redis_get(struct redis *r, struct err *e, const struct redis_reply **out)
{
    void *raw = NULL;
    *out = NULL;
    if (r->outstanding == 0) return ERR_SET(e, STATUS_END, "redis %s: no reply is outstanding", r->name);
    struct redis_reply *node = arena_alloc(&r->arena, 1, sizeof *node);
    if (node == NULL || mem_grow((void **)&r->held, &r->cap_held, r->n_held + 1, sizeof *r->held) != 0)
        return ERR_SET(e, STATUS_OOM, "redis %s: no memory for a reply", r->name);
    if (redisGetReply(r->c, &raw) != REDIS_OK || raw == NULL) return lost(r, "read a reply", e);
    r->outstanding--;
    r->held[r->n_held++] = raw;
    if (!view(&r->arena, raw, node, 0)) return ERR_SET(e, STATUS_OOM, "redis %s: no memory for a reply", r->name);
    if (node->kind == REDIS_FAULT) return fault(r, node->text.p, e);
    *out = node;
    return STATUS_OK;
}

void redis_clear(struct redis *r)
{
    while (r->outstanding > 0) {
        void *raw = NULL;
        if (redisGetReply(r->c, &raw) != REDIS_OK || raw == NULL) {
            (void)lost(r, "read a reply", NULL);
            break;
        }
        freeReplyObject(raw);
        r->outstanding--;
    }
    free_replies(r);
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
