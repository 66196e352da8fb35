/* publish_lease.c - one learner per model name: the key fr:{m}:lease, its owner token and epoch, and the fence it makes.
 *
 * The value is a short JSON text, compared as a whole.  It expires unless renewed.  A lease whose owner is a process of
 * this very host and process-id space that no longer runs is taken over at once: it was killed.  Epochs only grow: the
 * newest one is also in fr:m:info and in each manifest, so that an owner that slept through another's whole life learns of
 * it, and one whose server forgot the newest lease (a replica promoted too early) takes it back.
 */
#include "base/log.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t now_us(const struct publish *p)
{
    return p->clock->mono_us(p->clock);
}

/* The key that fences: the model's own, also for what a variant writes. */
static void fence_key(const struct publish *p, char key[KEY_MAX])
{
    (void)key_lease(key, p->leader != NULL ? p->leader->model : p->model);
}

static void set_state(struct publish *p, enum publish_lease lease)
{
    (void)pthread_mutex_lock(&p->lock);
    p->state.lease = lease;
    (void)pthread_mutex_unlock(&p->lock);
}

static enum status foreign(struct publish *p, const struct publish_holder *h, struct err *e)
{
    set_state(p, p->ever_held ? PUBLISH_LEASE_CONFLICT : PUBLISH_LEASE_FOREIGN);
    return ERR_SET(e, STATUS_CONFLICT,
                   "model %s: another learner (epoch %llu, host %s, pid %ld) holds its lease; stop it, or use another "
                   "model.name",
                   p->model, (unsigned long long)h->epoch, h->host, h->pid);
}

/* WATCH and GET in one go; the text lives until redis_clear.  An empty one: there is no lease. */
static enum status watch_lease(struct publish *p, struct str *text, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    fence_key(p, key);
    *text = STR("");
    redis_clear(p->redis);
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("WATCH"), str_from(key))));
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("GET"), str_from(key))));
    TRY(redis_get(p->redis, e, &reply));
    TRY(redis_get(p->redis, e, &reply));
    if (reply->kind == REDIS_TEXT) *text = reply->text;
    return STATUS_OK;
}

static void unwatch(struct publish *p)
{
    const struct redis_reply *reply;
    if (redis_connected(p->redis)) (void)!redis_call(p->redis, NULL, &reply, REDIS_ARGS(STR("UNWATCH")));
}

/* --- the fence ---------------------------------------------------------------------------------------------------- */

static enum status open_transaction(struct publish *p, struct err *e)
{
    redis_clear(p->redis);
    p->fenced = 0;
    p->in_transaction = true;
    return redis_append(p->redis, e, REDIS_ARGS(STR("MULTI")));
}

void publish_fence_drop(struct publish *p)
{
    if (p->in_transaction && redis_connected(p->redis)) redis_drop(p->redis);
    p->in_transaction = false;
}

enum status publish_fence_begin(struct publish *p, struct err *e)
{
    struct str text;
    struct publish_holder h;
    TRY(watch_lease(p, &text, e));
    if (p->lease[0] != '\0' && str_is(text, p->lease)) return open_transaction(p, e);
    p->renew_us = 0; /* expired, flushed or another's: looked at before anything is written */
    publish_holder_parse(text, &h);
    const enum status st =
        ERR_SET(e, STATUS_AGAIN, "model %s: its lease is not ours any more (%s%.100s); looking again", p->model,
                text.n > 0 ? "now of host " : "gone", text.n > 0 ? h.host : "");
    unwatch(p);
    return st;
}

enum status publish_fence_add(struct publish *p, struct err *e, const struct str *args, size_t n)
{
    p->fenced++;
    return redis_append(p->redis, e, args, n);
}

enum status publish_fence_end(struct publish *p, const struct redis_reply **out, struct err *e)
{
    const struct redis_reply *reply = NULL;
    if (out != NULL) *out = NULL;
    TRY(redis_append(p->redis, e, REDIS_ARGS(STR("EXEC"))));
    p->in_transaction = false;
    for (size_t i = 0; i < p->fenced + 2; i++) TRY(redis_get(p->redis, e, &reply));
    if (reply->kind != REDIS_ARRAY || reply->n != p->fenced) {
        p->renew_us = 0;
        return ERR_SET(e, STATUS_AGAIN, "model %s: its lease changed during a write, which was dropped whole",
                       p->model);
    }
    for (size_t i = 0; i < reply->n; i++)
        if (reply->items[i].kind == REDIS_FAULT)
            return ERR_SET(e, STATUS_INVALID, "redis %s: in a transaction: %s", redis_name(p->redis),
                           reply->items[i].text.p);
    if (out != NULL) *out = reply->items;
    return STATUS_OK;
}

/* --- taking the lease --------------------------------------------------------------------------------------------- */

/* What the learners before left beside the data. */
struct left {
    struct publish_holder by; /* the last one that held the lease: owner, epoch, host, pid */
    bool stopped;             /* it ended in order, with everything uploaded */
    char sha256[65];
};

static void copy_text(const struct redis_reply *r, char *out, size_t cap)
{
    out[0] = '\0';
    if (r->kind == REDIS_TEXT) (void)snprintf(out, cap, STR_FMT, STR_ARG(r->text));
}

/* "<version>:<chunks>", as publish_weights.c notes a publish under way. */
static void take_stray(struct publish *p, const char *text)
{
    char *end;
    const uint64_t version = strtoull(text, &end, 10);
    const unsigned long long n = *end == ':' ? strtoull(end + 1, NULL, 10) : 0;
    if (version == 0 || n == 0 || n > PUBLISH_CHUNKS_MAX || p->stray.version != 0) return;
    p->stray.version = version;
    p->stray.n = (size_t)n;
}

static enum status read_left(struct publish *p, struct left *l, struct err *e)
{
    char key[KEY_MAX], text[32];
    const struct redis_reply *r;
    memset(l, 0, sizeof *l);
    (void)key_info(key, p->model);
    TRY(redis_call(p->redis, e, &r,
                   REDIS_ARGS(STR("HMGET"), str_from(key), STR("owner"), STR("epoch"), STR("host"), STR("pid"),
                              STR("state"), STR("sha256"), STR("publishing"))));
    if (r->n != 7) return STATUS_OK;
    copy_text(&r->items[0], l->by.owner, sizeof l->by.owner);
    copy_text(&r->items[1], text, sizeof text);
    l->by.epoch = strtoull(text, NULL, 10);
    copy_text(&r->items[2], l->by.host, sizeof l->by.host);
    copy_text(&r->items[3], text, sizeof text);
    l->by.pid = strtol(text, NULL, 10);
    l->stopped = redis_is(&r->items[4], "stopped");
    copy_text(&r->items[5], l->sha256, sizeof l->sha256);
    copy_text(&r->items[6], text, sizeof text);
    take_stray(p, text);
    return STATUS_OK;
}

/* The epoch of the manifest in force, 0 when there is none that can be read. */
static enum status manifest_epoch(struct publish *p, uint64_t *out, struct err *e)
{
    char key[KEY_MAX], version[24];
    const struct redis_reply *reply;
    struct publish_manifest m = {0};
    *out = 0;
    (void)key_current(key, p->model);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return STATUS_OK;
    copy_text(reply, version, sizeof version);
    (void)key_manifest(key, p->model, strtoull(version, NULL, 10));
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind == REDIS_TEXT && publish_manifest_decode(&m, reply->text, p->model, NULL) == STATUS_OK)
        *out = m.epoch;
    publish_manifest_fini(&m);
    return STATUS_OK;
}

/* Lease and marker in one transaction, the fence being that the lease did not change since it was watched. */
static enum status write_lease(struct publish *p, uint64_t epoch, struct err *e)
{
    char key[KEY_MAX], info[KEY_MAX], ttl[24], number[24], pid[24];
    p->self.epoch = epoch;
    publish_holder_format(&p->self, p->lease, sizeof p->lease);
    (void)key_lease(key, p->model);
    (void)key_info(info, p->model);
    (void)snprintf(ttl, sizeof ttl, "%d", PUBLISH_LEASE_MS);
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)epoch);
    (void)snprintf(pid, sizeof pid, "%ld", p->self.pid);
    TRY(open_transaction(p, e));
    TRY(publish_fence_add(p, e, REDIS_ARGS(STR("SET"), str_from(key), str_from(p->lease), STR("PX"), str_from(ttl))));
    TRY(publish_fence_add(p, e,
                          REDIS_ARGS(STR("HSET"), str_from(info), STR("owner"), str_from(p->self.owner), STR("epoch"),
                                     str_from(number), STR("host"), str_from(p->self.host), STR("pid"),
                                     str_from(pid))));
    if (!p->ever_held) /* "stopped" is said last of all, by a learner that ended in order */
        TRY(publish_fence_add(p, e, REDIS_ARGS(STR("HSET"), str_from(info), STR("state"), STR("starting"))));
    return publish_fence_end(p, NULL, e);
}

/* What is in Redis when the lease became ours, set against what we had put there. */
static void compare(struct publish *p, const struct left *l)
{
    if (p->ever_held) {
        if (l->by.epoch == 0) publish_set_lost(p, "it was flushed");
        if (l->by.epoch != 0 && strcmp(l->by.owner, p->self.owner) != 0) publish_set_lost(p, "its data is older");
    } else if (l->stopped) {
        (void)pthread_mutex_lock(&p->lock);
        (void)snprintf(p->state.left_sha256, sizeof p->state.left_sha256, "%s", l->sha256);
        (void)pthread_mutex_unlock(&p->lock);
    }
}

/* After a WATCH that found no lease, one of a killed process or an outdated one. */
static enum status acquire(struct publish *p, uint64_t in_lease, struct err *e)
{
    struct left l;
    uint64_t in_manifest;
    TRY(read_left(p, &l, e));
    TRY(manifest_epoch(p, &in_manifest, e));
    const bool other = l.by.epoch >= p->self.epoch && strcmp(l.by.owner, p->self.owner) != 0;
    if (p->ever_held && (other || in_manifest > p->self.epoch)) {
        if (l.by.epoch < in_manifest) l.by.epoch = in_manifest;
        return foreign(p, &l.by, e); /* it has come and gone while we slept */
    }
    uint64_t epoch = p->self.epoch > in_lease ? p->self.epoch : in_lease;
    if (epoch < l.by.epoch) epoch = l.by.epoch;
    if (epoch < in_manifest) epoch = in_manifest;
    TRY(write_lease(p, epoch + 1, e));
    compare(p, &l);
    return STATUS_OK;
}

/* A Redis without memory takes no transaction at all.  By itself PEXPIRE needs none: it may at worst lengthen the lease of
 * one who took it in this very moment, and a lease is what keeps the next one from a Redis that can't be written anyway. */
static enum status renew_without_memory(struct publish *p, const struct str *args, size_t n, struct err *e)
{
    struct str text;
    const struct redis_reply *reply;
    TRY(watch_lease(p, &text, e));
    if (!str_is(text, p->lease)) return ERR_SET(e, STATUS_AGAIN, "model %s: its lease changed", p->model);
    TRY(redis_append(p->redis, e, args, n));
    TRY(redis_get(p->redis, e, &reply));
    unwatch(p);
    return STATUS_OK;
}

static enum status renew(struct publish *p, struct err *e)
{
    char key[KEY_MAX], ttl[24];
    (void)key_lease(key, p->model);
    (void)snprintf(ttl, sizeof ttl, "%d", PUBLISH_LEASE_MS);
    const struct str args[] = {STR("PEXPIRE"), str_from(key), str_from(ttl)};
    TRY(open_transaction(p, e));
    TRY(publish_fence_add(p, e, args, 3));
    const enum status st = publish_fence_end(p, NULL, e);
    return st == STATUS_FULL ? renew_without_memory(p, args, 3, e) : st;
}

static enum status hold(struct publish *p, struct err *e)
{
    struct publish_holder h;
    struct str text;
    TRY(watch_lease(p, &text, e));
    if (text.n == 0) return acquire(p, 0, e);
    if (p->lease[0] != '\0' && str_is(text, p->lease)) return renew(p, e);
    publish_holder_parse(text, &h);
    const bool outdated = p->ever_held && h.epoch < p->self.epoch;
    if (outdated)
        log_warn("publish", "redis=%s lease=\"of epoch %llu, host %s, pid %ld\" is older than ours; taking it back",
                 redis_name(p->redis), (unsigned long long)h.epoch, h.host, h.pid);
    return outdated || (!p->ever_held && publish_holder_killed(&h)) ? acquire(p, h.epoch, e) : foreign(p, &h, e);
}

static enum status check_alive(const struct publish *p, struct err *e)
{
    const int64_t alive_us = atomic_load(&p->alive_us), silent_us = now_us(p) - alive_us;
    if (alive_us == 0 || silent_us <= (int64_t)PUBLISH_HUNG_MS * 1000) return STATUS_OK;
    return ERR_SET(e, STATUS_AGAIN, "model %s: the learner has hung for %lld s; its lease is not renewed", p->model,
                   (long long)(silent_us / 1000000));
}

/* A variant's publisher has the lease that its leader has. */
static enum status follow(struct publish *p, struct err *e)
{
    struct left l;
    struct publish *leader = p->leader;
    (void)pthread_mutex_lock(&leader->lock);
    const struct publish_state s = leader->state;
    memcpy(p->lease, leader->held, sizeof p->lease);
    (void)pthread_mutex_unlock(&leader->lock);
    set_state(p, s.lease);
    if (s.lease == PUBLISH_LEASE_CONFLICT || s.lease == PUBLISH_LEASE_FOREIGN)
        return ERR_SET(e, STATUS_CONFLICT, "%s", s.error.text);
    if (s.lease != PUBLISH_LEASE_HELD || p->lease[0] == '\0')
        return ERR_SET(e, STATUS_AGAIN, "model %s: the model's lease is not held yet", p->model);
    if (!p->ever_held) {
        TRY(read_left(p, &l, e));
        compare(p, &l);
    }
    p->self.epoch = s.epoch;
    (void)pthread_mutex_lock(&p->lock);
    p->state.epoch = s.epoch;
    p->state.lease_until_us = s.lease_until_us;
    (void)pthread_mutex_unlock(&p->lock);
    return STATUS_OK;
}

enum status publish_lease_keep(struct publish *p, struct err *e)
{
    const int64_t asked_us = now_us(p);
    if (asked_us < p->renew_us) return STATUS_OK;
    if (p->leader != NULL) {
        TRY(follow(p, e));
        if (!p->ever_held) p->watch_us = 0;
        p->ever_held = true;
        p->renew_us = asked_us + (int64_t)PUBLISH_LEASE_MS * 1000 / 3;
        return STATUS_OK;
    }
    TRY(check_alive(p, e));
    const enum status st = hold(p, e);
    if (st != STATUS_OK) {
        unwatch(p);
        return st;
    }
    if (!p->ever_held) p->watch_us = 0;
    p->ever_held = true;
    p->renew_us = asked_us + (int64_t)PUBLISH_LEASE_MS * 1000 / 3;
    (void)pthread_mutex_lock(&p->lock);
    p->state.lease = PUBLISH_LEASE_HELD;
    p->state.epoch = p->self.epoch;
    p->state.lease_until_us = asked_us + (int64_t)PUBLISH_LEASE_MS * 1000;
    memcpy(p->held, p->lease, sizeof p->held);
    (void)pthread_mutex_unlock(&p->lock);
    return STATUS_OK;
}

/* The lease and, in the same transaction, what was said of it: hashes don't expire. */
static enum status give_back(struct publish *p)
{
    char key[KEY_MAX], info[KEY_MAX], metrics[KEY_MAX];
    const struct str none = str_from(publish_lease_name(PUBLISH_LEASE_NONE));
    (void)key_lease(key, p->model);
    (void)key_info(info, p->model);
    (void)key_metrics(metrics, p->model);
    TRY(publish_fence_begin(p, NULL));
    TRY(publish_fence_add(p, NULL, REDIS_ARGS(STR("DEL"), str_from(key))));
    TRY(publish_fence_add(p, NULL, REDIS_ARGS(STR("HSET"), str_from(info), STR("lease"), none)));
    TRY(publish_fence_add(p, NULL, REDIS_ARGS(STR("HSET"), str_from(metrics), STR("lease_held"), STR("0"))));
    return publish_fence_end(p, NULL, NULL);
}

void publish_lease_release(struct publish *p)
{
    if (p->leader != NULL) return; /* its leader's to give back */
    if (redis_connected(p->redis) && give_back(p) == STATUS_OK)
        set_state(p, PUBLISH_LEASE_NONE); /* else it expires by itself */
}
