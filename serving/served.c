/* served.c - the thread that reads the log of answers; see served.h. */
#include "serving/served.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/queue.h"
#include "schemas/key.h"
#include "serving/redis.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define AT_ONCE "64"
#define BLOCK_MS 200     /* how long the server holds a question that has no answer yet */
#define PAUSE_MS 250     /* after a failure */
#define DENIED_TURNS 240 /* … that is the server's own answer: so many pauses, a minute */
#define FIELDS 64        /* texts of an entry at most */

struct served {
    const struct conf *conf;
    struct redis *redis;
    struct queue *read;
    struct served_id from;
    pthread_t thread;
    bool running;
    atomic_bool closing, current; /* current: all that was logged when it began was read, or can't be */
};

/* "<ms>-<seq>" */
static bool parse_id(struct str text, struct served_id *out)
{
    char *end;
    if (text.n == 0) return false;
    out->ms = strtoull(text.p, &end, 10);
    if (*end != '-') return false;
    out->seq = strtoull(end + 1, &end, 10);
    return *end == '\0';
}

/* END: the reader is to close. */
static enum status hand_over(struct served *r, struct served_answer *a)
{
    enum status st;
    do st = queue_push_for(r->read, a, BLOCK_MS);
    while (st == STATUS_AGAIN && !atomic_load(&r->closing));
    if (st != STATUS_OK) mem_free(a);
    return st == STATUS_OK ? STATUS_OK : STATUS_END;
}

/* One [id, [name, value, …]]; what is no entry of ours is passed over, with a line in the log. */
static enum status take_entry(struct served *r, const struct redis_reply *entry)
{
    struct str fields[FIELDS];
    struct served_answer *a;
    struct served_id id;
    struct err why;
    size_t n = 0;
    const bool whole = entry->kind == REDIS_ARRAY && entry->n == 2 && entry->items[1].kind == REDIS_ARRAY;
    if (!whole || !parse_id(entry->items[0].text, &id)) return STATUS_OK;
    for (size_t i = 0; i < entry->items[1].n && n < FIELDS; i++) fields[n++] = entry->items[1].items[i].text;
    const enum status st = served_parse(&a, fields, n, r->conf->eval_served_frac, &why);
    if (st == STATUS_INVALID)
        log_limited(LOG_WARN, "served", "entry=%" PRIu64 "-%" PRIu64 " %s", id.ms, id.seq, why.text);
    r->from = id;
    if (st != STATUS_OK) return STATUS_OK;
    a->id = id;
    return hand_over(r, a);
}

static enum status ask(struct served *r, const struct redis_reply **reply, struct err *e)
{
    char key[KEY_MAX], from[48], block[16];
    const int64_t half_ms = r->conf->redis_timeout_ms / 2;
    (void)key_served(key, r->conf->model_name);
    (void)snprintf(from, sizeof from, "%" PRIu64 "-%" PRIu64, r->from.ms, r->from.seq);
    (void)snprintf(block, sizeof block, "%d", half_ms < BLOCK_MS ? (int)half_ms : BLOCK_MS);
    if (!atomic_load(&r->current)) /* nothing to wait for: an empty reply says that this was all */
        return redis_call(
            r->redis, e, reply,
            REDIS_ARGS(STR("XREAD"), STR("COUNT"), STR(AT_ONCE), STR("STREAMS"), str_from(key), str_from(from)));
    return redis_call(r->redis, e, reply,
                      REDIS_ARGS(STR("XREAD"), STR("COUNT"), STR(AT_ONCE), STR("BLOCK"), str_from(block),
                                 STR("STREAMS"), str_from(key), str_from(from)));
}

/* The reply is [[key, [entry, …]]], or nil when nothing came. */
static enum status read_some(struct served *r, struct err *e)
{
    const struct redis_reply *reply;
    enum status st = ask(r, &reply, e);
    const bool any = st == STATUS_OK && reply->kind == REDIS_ARRAY && reply->n == 1 &&
                     reply->items[0].kind == REDIS_ARRAY && reply->items[0].n == 2;
    const struct redis_reply *entries = any ? &reply->items[0].items[1] : NULL;
    for (size_t i = 0; any && i < entries->n && st == STATUS_OK; i++) st = take_entry(r, &entries->items[i]);
    redis_clear(r->redis);
    if (!any || st != STATUS_OK) atomic_store(&r->current, true);
    return st;
}

static void nap(const struct served *r, int turns)
{
    for (int i = 0; i < turns && !atomic_load(&r->closing); i++)
        (void)nanosleep(&(struct timespec){0, PAUSE_MS * 1000000L}, NULL);
}

static void *reader(void *arg)
{
    struct served *r = arg;
    while (!atomic_load(&r->closing)) {
        struct err e = {0};
        const enum status st = read_some(r, &e);
        if (st == STATUS_OK || st == STATUS_END) continue;
        if (st != STATUS_IO) /* that Redis is away is said by whoever writes to it */
            log_limited(LOG_WARN, "served", "%s next=\"figures of what was served are missing meanwhile\"", e.text);
        nap(r, st == STATUS_INVALID ? DENIED_TURNS : 1);
    }
    return NULL;
}

enum status served_open(struct served **out, const struct conf *c, struct clock *clock, struct served_id from,
                        struct err *e)
{
    enum status st;
    *out = NULL;
    if (c->redis_url[0] == '\0' || c->eval_served_answers == 0) return STATUS_OK;
    struct served *r = mem_calloc(1, sizeof *r);
    if (r == NULL) return ERR_SET(e, STATUS_OOM, "log of answers: %zu bytes", sizeof *r);
    r->conf = c;
    r->from = from;
    TRY_OUT(st, redis_open(&r->redis, c, clock, e));
    TRY_OUT(st, queue_new(&r->read, SERVED_WAITING, e));
    if (pthread_create(&r->thread, NULL, reader, r) != 0) {
        st = ERR_SET(e, STATUS_OOM, "log of answers: no thread can be started");
        goto out;
    }
    r->running = true;
    *out = r;
    r = NULL;
out:
    served_close(r);
    return st;
}

void served_close(struct served *r)
{
    if (r == NULL) return;
    atomic_store(&r->closing, true);
    if (r->running) (void)pthread_join(r->thread, NULL);
    for (struct served_answer *a = served_take(r); a != NULL; a = served_take(r)) mem_free(a);
    queue_free(r->read);
    redis_close(r->redis);
    mem_free(r);
}

bool served_current(const struct served *r)
{
    return r == NULL || atomic_load(&r->current);
}

struct served_answer *served_take(struct served *r)
{
    void *a = NULL;
    return r != NULL && r->read != NULL && queue_pop_for(r->read, &a, 0) == STATUS_OK ? a : NULL;
}
