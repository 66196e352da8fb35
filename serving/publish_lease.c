/* publish_lease.c - one learner per model name: the key fr:{m}:lease, its owner token and epoch.
 *
 * The value is a short JSON text, compared as a whole.  It expires unless renewed.  A lease whose owner is a process of
 * this very host and process-id space that no longer runs is taken over at once: it was killed.
 */
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct holder {
    char host[128], space[64];
    long pid;
    uint64_t epoch;
};

/* This process, as it writes itself into a lease.  space tells apart containers that share a host name. */
static void myself(struct holder *h)
{
    memset(h, 0, sizeof *h);
    if (gethostname(h->host, sizeof h->host - 1) != 0) (void)snprintf(h->host, sizeof h->host, "unknown");
    for (char *p = h->host; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ') *p = '_';
    const ssize_t n = readlink("/proc/self/ns/pid", h->space, sizeof h->space - 1);
    h->space[n > 0 ? n : 0] = '\0';
    h->pid = (long)getpid();
}

static void parse(struct str text, struct holder *h)
{
    const char *host = "?", *space = "";
    json_int_t pid = 0, epoch = 0;
    memset(h, 0, sizeof *h);
    json_t *o = json_loadb(text.p, text.n, 0, NULL);
    (void)json_unpack(o, "{s?s,s?s,s?I,s?I}", "host", &host, "space", &space, "pid", &pid, "epoch", &epoch);
    (void)snprintf(h->host, sizeof h->host, "%s", host);
    (void)snprintf(h->space, sizeof h->space, "%s", space);
    h->pid = (long)pid;
    h->epoch = epoch > 0 ? (uint64_t)epoch : 0;
    json_decref(o);
}

/* The process was this host's and is gone. */
static bool killed(const struct holder *h)
{
    struct holder me;
    myself(&me);
    return h->pid > 0 && h->space[0] != '\0' && strcmp(h->host, me.host) == 0 && strcmp(h->space, me.space) == 0 &&
           kill((pid_t)h->pid, 0) != 0 && errno == ESRCH;
}

static void set_state(struct publish *p, enum publish_lease lease)
{
    (void)pthread_mutex_lock(&p->lock);
    p->state.lease = lease;
    (void)pthread_mutex_unlock(&p->lock);
}

static enum status foreign(struct publish *p, struct str text, struct err *e)
{
    struct holder h;
    parse(text, &h);
    set_state(p, p->ever_held ? PUBLISH_LEASE_CONFLICT : PUBLISH_LEASE_FOREIGN);
    return ERR_SET(e, STATUS_CONFLICT,
                   "model %s: another learner (epoch %llu, host %s, pid %ld) holds its lease; stop it, or use another "
                   "model.name",
                   p->model, (unsigned long long)h.epoch, h.host, h.pid);
}

/* GET of the lease; *text lives until redis_clear. NOT_FOUND when there is none. */
static enum status read_lease(struct publish *p, struct str *text, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_lease(key, p->model);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return STATUS_NOT_FOUND;
    *text = reply->text;
    return STATUS_OK;
}

enum status publish_lease_check(struct publish *p, struct err *e)
{
    struct str text;
    const enum status st = read_lease(p, &text, e);
    if (st == STATUS_NOT_FOUND) { /* expired or flushed: taken again before anything is written */
        p->renew_us = 0;
        return ERR_SET(e, STATUS_AGAIN, "model %s: our lease is gone; taking it again", p->model);
    }
    if (st != STATUS_OK) return st;
    return str_is(text, p->lease) ? STATUS_OK : foreign(p, text, e);
}

static void unwatch(struct publish *p)
{
    const struct redis_reply *reply;
    if (redis_connected(p->redis)) (void)!redis_call(p->redis, NULL, &reply, REDIS_ARGS(STR("UNWATCH")));
}

enum status publish_lease_watch(struct publish *p, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_lease(key, p->model);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("WATCH"), str_from(key))));
    const enum status st = publish_lease_check(p, e);
    if (st != STATUS_OK) unwatch(p);
    return st;
}

/* MULTI <one command> EXEC after a WATCH; AGAIN when the watched key changed. */
static enum status exec_one(struct publish *p, struct err *e, const struct str *args, size_t n)
{
    const struct redis_reply *reply;
    redis_clear(p->redis);
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("MULTI"))));
    TRY(redis_append(p->redis, e, args, n));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("EXEC"))));
    for (int i = 0; i < 3; i++) TRY(redis_get(p->redis, e, &reply));
    if (reply->kind == REDIS_ARRAY && reply->n == 1 && reply->items[0].kind != REDIS_FAULT) return STATUS_OK;
    return ERR_SET(e, STATUS_AGAIN, "model %s: its lease changed while it was taken", p->model);
}

/* The largest epoch written anywhere: in the lease itself and in the manifest in force. */
static enum status largest_epoch(struct publish *p, uint64_t in_lease, uint64_t *out, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    *out = in_lease > p->state.epoch ? in_lease : p->state.epoch;
    (void)key_current(key, p->model);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return STATUS_OK;
    char version[24];
    (void)snprintf(version, sizeof version, STR_FMT, STR_ARG(reply->text));
    (void)key_manifest(key, p->model, strtoull(version, NULL, 10));
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    struct publish_manifest m = {0};
    if (reply->kind == REDIS_TEXT && publish_manifest_decode(&m, reply->text, p->model, NULL) == STATUS_OK &&
        m.epoch > *out)
        *out = m.epoch;
    publish_manifest_fini(&m);
    return STATUS_OK;
}

static void write_lease(struct publish *p, uint64_t epoch)
{
    struct holder me;
    myself(&me);
    (void)snprintf(p->lease, sizeof p->lease,
                   "{\"owner\":\"%s\",\"epoch\":%llu,\"host\":\"%s\",\"pid\":%ld,\"space\":\"%s\"}", p->owner,
                   (unsigned long long)epoch, me.host, me.pid, me.space);
    (void)pthread_mutex_lock(&p->lock);
    p->state.epoch = epoch;
    (void)pthread_mutex_unlock(&p->lock);
}

/* After a WATCH that found no lease, or one of a killed process. */
static enum status acquire(struct publish *p, const struct holder *dead, struct err *e)
{
    char key[KEY_MAX], ttl[24];
    uint64_t epoch;
    TRY(largest_epoch(p, dead ? dead->epoch : 0, &epoch, e));
    write_lease(p, epoch + 1);
    (void)key_lease(key, p->model);
    (void)snprintf(ttl, sizeof ttl, "%d", PUBLISH_LEASE_MS);
    return exec_one(p, e, REDIS_ARGS(STR("SET"), str_from(key), str_from(p->lease), STR("PX"), str_from(ttl)));
}

static enum status renew(struct publish *p, struct err *e)
{
    char key[KEY_MAX], ttl[24];
    (void)key_lease(key, p->model);
    (void)snprintf(ttl, sizeof ttl, "%d", PUBLISH_LEASE_MS);
    return exec_one(p, e, REDIS_ARGS(STR("PEXPIRE"), str_from(key), str_from(ttl)));
}

enum status publish_lease_hold(struct publish *p, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    struct holder h;
    struct str text = {NULL, 0};
    const int64_t asked_us = p->clock->mono_us(p->clock);
    (void)key_lease(key, p->model);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("WATCH"), str_from(key))));
    enum status st = read_lease(p, &text, e);
    if (st == STATUS_NOT_FOUND) {
        st = acquire(p, NULL, e);
    } else if (st == STATUS_OK && p->lease[0] != '\0' && str_is(text, p->lease)) {
        st = renew(p, e);
    } else if (st == STATUS_OK) {
        parse(text, &h);
        st = !p->ever_held && killed(&h) ? acquire(p, &h, e) : foreign(p, text, e);
    }
    if (st == STATUS_OK) {
        p->ever_held = true;
        p->renew_us = asked_us + (int64_t)PUBLISH_LEASE_MS * 1000 / 3;
        (void)pthread_mutex_lock(&p->lock);
        p->state.lease_until_us = asked_us + (int64_t)PUBLISH_LEASE_MS * 1000;
        (void)pthread_mutex_unlock(&p->lock);
        set_state(p, PUBLISH_LEASE_HELD);
    } else {
        unwatch(p);
    }
    return st;
}

void publish_lease_release(struct publish *p)
{
    char key[KEY_MAX];
    if (!redis_connected(p->redis) || publish_lease_watch(p, NULL) != STATUS_OK) return;
    (void)key_lease(key, p->model);
    if (exec_one(p, NULL, REDIS_ARGS(STR("DEL"), str_from(key))) != STATUS_OK) return; /* it will expire by itself */
    set_state(p, PUBLISH_LEASE_NONE);
}
