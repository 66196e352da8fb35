/* publish_watch.c - is everything that was put into Redis still there?
 *
 * fr:m:info carries our owner token and a beat that grows with every look: gone means flushed or restarted empty, a smaller
 * beat means older data (a replica promoted, a dump loaded).  Then everything goes out again.  The version in force is
 * looked at key by key: what is missing or another one's is put back by itself.
 */
#include "base/log.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last version goes in again unless a newer one waits. */
static void put_back(struct publish *p)
{
    publish_forget_kept(p);
    (void)pthread_mutex_lock(&p->lock);
    if (p->waiting == NULL) {
        p->waiting = p->current;
        p->current = NULL;
    }
    (void)pthread_mutex_unlock(&p->lock);
}

void publish_set_lost(struct publish *p, const char *why)
{
    if (p->said_lost) return; /* a restart shows in more than one way */
    log_warn("publish", "redis=%s lost what was published (%s); publishing all again", redis_name(p->redis), why);
    put_back(p);
    p->said_lost = true;
    p->marked = false;
    (void)pthread_mutex_lock(&p->lock);
    p->lost = true;
    (void)pthread_mutex_unlock(&p->lock);
}

/* --- the server --------------------------------------------------------------------------------------------------- */

static void say_memory(struct publish *p, const struct redis_info *i)
{
    char text[REDIS_INFO_TEXT];
    if (!redis_info_evicts(i) || p->said_evicts) return;
    redis_info_memory(i, text);
    log_warn("publish", "redis=%s maxmemory-policy=%s may throw weights away (%s); set noeviction or volatile-lru",
             redis_name(p->redis), i->policy, text);
    p->said_evicts = true;
}

/* A server with another run id was restarted, or is another one; whatever it still has may be old. */
enum status publish_greet(struct publish *p, struct err *e)
{
    struct redis_info i;
    struct err why;
    if (p->connection == redis_connections(p->redis)) return STATUS_OK;
    const enum status st = redis_info(p->redis, &i, &why);
    if (st == STATUS_INVALID) {
        log_warn("publish", "redis=%s answers no INFO: \"%s\"; a restart is noticed by what is missing",
                 redis_name(p->redis), why.text);
    } else if (st != STATUS_OK) {
        if (e != NULL) *e = why;
        return st;
    }
    if (p->server.run_id[0] != '\0' && strcmp(p->server.run_id, i.run_id) != 0)
        publish_set_lost(p, "the server was restarted");
    p->server = i;
    say_memory(p, &i);
    p->connection = redis_connections(p->redis);
    p->renew_us = p->watch_us = 0;
    p->kept_known = false;
    return STATUS_OK;
}

/* --- the marker --------------------------------------------------------------------------------------------------- */

static uint64_t number(const struct redis_reply *r)
{
    char text[24];
    if (r->kind != REDIS_TEXT) return 0;
    (void)snprintf(text, sizeof text, STR_FMT, r->text.n > 20 ? 20 : (int)r->text.n, r->text.p);
    return strtoull(text, NULL, 10);
}

static enum status read_marker(struct publish *p, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *r;
    if (!p->marked) return STATUS_OK;
    (void)key_info(key, p->model);
    TRY(redis_call(p->redis, e, &r, REDIS_ARGS(STR("HMGET"), str_from(key), STR("owner"), STR("beat"))));
    const bool ours = r->n == 2 && redis_is(&r->items[0], p->self.owner);
    if (!ours)
        publish_set_lost(p, "it was flushed");
    else if (number(&r->items[1]) < p->acked)
        publish_set_lost(p, "its data is older");
    return STATUS_OK;
}

static enum status write_marker(struct publish *p, struct err *e)
{
    char key[KEY_MAX], beat[24], epoch[24];
    (void)key_info(key, p->model);
    if (p->beat == p->acked) p->beat++; /* else it may have arrived before a connection broke, or may not */
    (void)snprintf(beat, sizeof beat, "%llu", (unsigned long long)p->beat);
    (void)snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)p->self.epoch);
    TRY(publish_fence_begin(p, e));
    TRY(publish_fence_add(p, e,
                          REDIS_ARGS(STR("HSET"), str_from(key), STR("owner"), str_from(p->self.owner), STR("epoch"),
                                     str_from(epoch), STR("beat"), str_from(beat))));
    return publish_fence_end(p, NULL, e);
}

/* A Redis whose memory is full takes no beat: the last one that arrived stays the one that is looked for. */
static enum status beat(struct publish *p, struct err *e)
{
    TRY(read_marker(p, e));
    const enum status st = write_marker(p, e);
    if (st == STATUS_OK) p->acked = p->beat;
    if (st == STATUS_OK) p->marked = true;
    return st == STATUS_FULL ? STATUS_OK : st;
}

/* --- the version in force ----------------------------------------------------------------------------------------- */

static enum status count_missing(struct publish *p, const struct publish_manifest *m, size_t *missing, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    *missing = 0;
    redis_clear(p->redis);
    for (size_t i = 0; i < m->n_chunks; i++) {
        (void)key_chunk(key, p->model, m->chunks[i].version, (uint32_t)i);
        TRY(redis_append(p->redis, e, REDIS_ARGS(STR("EXISTS"), str_from(key))));
    }
    for (size_t i = 0; i < m->n_chunks; i++) {
        TRY(redis_get(p->redis, e, &reply));
        *missing += reply->integer == 0;
    }
    return STATUS_OK;
}

/* Reads it into a zeroed m; why: what is wrong with it, "" nothing. */
static enum status look_at_current(struct publish *p, struct publish_manifest *m, char why[200], struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    struct err damage;
    size_t missing;
    why[0] = '\0';
    (void)key_current(key, p->model);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    const uint64_t version = number(reply);
    if (reply->kind != REDIS_TEXT) (void)snprintf(why, 200, "no version is in force");
    if (reply->kind != REDIS_TEXT) return STATUS_OK;
    (void)key_manifest(key, p->model, version);
    TRY(redis_call(p->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) {
        (void)snprintf(why, 200, "the manifest of version %llu is gone", (unsigned long long)version);
        return STATUS_OK;
    }
    const enum status st = publish_manifest_decode(m, reply->text, p->model, &damage);
    if (st == STATUS_OOM) return ERR_SET(e, st, "%s", damage.text);
    if (st != STATUS_OK) (void)snprintf(why, 200, "version %llu: %.150s", (unsigned long long)version, damage.text);
    if (st != STATUS_OK) return STATUS_OK;
    TRY(count_missing(p, m, &missing, e));
    if (missing > 0)
        (void)snprintf(why, 200, "%zu of the %zu chunks of version %llu are gone", missing, m->n_chunks,
                       (unsigned long long)version);
    return STATUS_OK;
}

static bool same_version(const struct publish_manifest *a, const struct publish_manifest *b)
{
    return a->version == b->version && strcmp(a->sha256, b->sha256) == 0;
}

static enum status watch_version(struct publish *p, struct err *e)
{
    struct publish_manifest m = {0};
    char why[200];
    const enum status st = look_at_current(p, &m, why, e);
    (void)pthread_mutex_lock(&p->lock);
    const bool newer_waits = p->waiting != NULL;
    if (st == STATUS_OK) {
        p->state.looked = true;
        p->state.in_force = why[0] == '\0' ? m.version : 0;
        memcpy(p->state.in_force_sha256, why[0] == '\0' ? m.sha256 : "", why[0] == '\0' ? sizeof m.sha256 : 1);
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (st == STATUS_OK && why[0] == '\0' && p->current != NULL && !same_version(&m, &p->current->manifest))
        (void)snprintf(why, sizeof why, "version %llu is in force", (unsigned long long)m.version);
    if (st == STATUS_OK && why[0] != '\0' && p->current != NULL && !newer_waits) {
        log_warn("publish", "redis=%s %s; version %llu is put back", redis_name(p->redis), why,
                 (unsigned long long)p->current->manifest.version);
        put_back(p);
    }
    publish_manifest_fini(&m);
    return st;
}

enum status publish_watch(struct publish *p, struct err *e)
{
    const int64_t now_us = p->clock->mono_us(p->clock);
    if (now_us < p->watch_us) return STATUS_OK;
    TRY(beat(p, e));
    TRY(watch_version(p, e));
    TRY(publish_clean_strays(p, e));
    p->said_lost = false;
    p->watch_us = now_us + (int64_t)PUBLISH_WATCH_MS * 1000;
    return STATUS_OK;
}
