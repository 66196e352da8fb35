/* fetch_warm.c - one version's parameters; records by SCAN and MGET. */
#include "serving/fetch_warm.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "schemas/key.h"
#include "serving/fetch_weights.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURSOR_MAX 24

struct fetch_warm {
    struct redis *redis;
    char name[KEY_MODEL_MAX];
    struct arena arena;
    char cursor[CURSOR_MAX]; /* of SCAN; "" before the first slice */
    bool done;
    struct fetch_warm_counts counts;
};

enum status fetch_warm_open(struct fetch_warm **out, const struct conf *c, struct clock *clock, struct err *e)
{
    *out = NULL;
    struct fetch_warm *w = mem_calloc(1, sizeof *w);
    if (w == NULL) return ERR_SET(e, STATUS_OOM, "warm start: no memory");
    (void)snprintf(w->name, sizeof w->name, "%.97s", c->model_name);
    arena_init(&w->arena, 0);
    const enum status st = redis_open(&w->redis, c, clock, e);
    if (st == STATUS_OK)
        *out = w;
    else
        fetch_warm_close(w);
    return st;
}

void fetch_warm_close(struct fetch_warm *w)
{
    if (w == NULL) return;
    redis_close(w->redis);
    arena_fini(&w->arena);
    mem_free(w);
}

/* --- the version -------------------------------------------------------------------------------------------------- */

static enum status current_version(struct fetch_warm *w, uint64_t *version, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_current(key, w->name);
    TRY(redis_call(w->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT)
        return ERR_SET(e, STATUS_NOT_FOUND, "redis %s: model %s has no published version", redis_name(w->redis),
                       w->name);
    if (!key_current_read(reply->text, version))
        return ERR_SET(e, STATUS_CORRUPT, "%s: '%.*s' is no version", key, reply->text.n > 20 ? 20 : (int)reply->text.n,
                       reply->text.p);
    return STATUS_OK;
}

static enum status get_manifest(struct fetch_warm *w, uint64_t version, struct publish_manifest *m, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_manifest(key, w->name, version);
    TRY(redis_call(w->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return ERR_SET(e, STATUS_CORRUPT, "%s is missing", key);
    TRY(publish_manifest_decode(m, reply->text, w->name, e));
    if (m->version == version) return STATUS_OK;
    return ERR_SET(e, STATUS_CORRUPT, "%s says version %" PRIu64, key, m->version);
}

static enum status get_weights(struct fetch_warm *w, const struct publish_manifest *m, const struct model *model,
                               struct param_set *into, struct err *e)
{
    struct fetch_weights f = {.redis = w->redis, .name = w->name, .model = model};
    struct param_set *p = NULL;
    const enum status st = fetch_weights_get(&f, m, &p, e);
    if (st == STATUS_OK) {
        param_here(into);
        memcpy(into->w, p->w, into->n * sizeof *into->w);
        param_touch(into);
        into->version = m->version;
        memcpy(into->sha256, p->sha256, sizeof into->sha256);
        if (m->rounded)
            log_warn("warm",
                     "version=%" PRIu64 " was published with publish.dense=bf16: learning goes on from rounded weights",
                     m->version);
    }
    param_set_release(p);
    fetch_weights_fini(&f);
    return st;
}

static enum status try_version(struct fetch_warm *w, uint64_t version, const struct model *model,
                               struct param_set *into, struct publish_manifest *m, struct err *e)
{
    enum status st = get_manifest(w, version, m, e);
    if (st == STATUS_OK) st = get_weights(w, m, model, into, e);
    redis_clear(w->redis);
    return st;
}

/* The versions in Redis, newest first, as the log of publications names them: for when the manifest is damaged that would
 * say so. */
static enum status list_logged(struct fetch_warm *w, uint64_t *versions, size_t cap, size_t *n, struct err *e)
{
    char key[KEY_MAX], count[24];
    const struct redis_reply *reply;
    *n = 0;
    (void)key_log(key, w->name);
    (void)snprintf(count, sizeof count, "%zu", cap);
    TRY(redis_call(w->redis, e, &reply,
                   REDIS_ARGS(STR("XREVRANGE"), str_from(key), STR("+"), STR("-"), STR("COUNT"), str_from(count))));
    for (size_t i = 0; i < reply->n && *n < cap; i++) {
        const struct redis_reply *fields = reply->items[i].n == 2 ? &reply->items[i].items[1] : NULL;
        if (fields == NULL || fields->n < 4 || !redis_is(&fields->items[1], "publish")) continue;
        char text[24];
        const struct str v = fields->items[3].text;
        (void)snprintf(text, sizeof text, STR_FMT, v.n > 20 ? 20 : (int)v.n, v.n > 0 ? v.p : "");
        versions[(*n)++] = strtoull(text, NULL, 10);
    }
    return STATUS_OK;
}

enum status fetch_warm_newest(struct fetch_warm *w, uint64_t *version, struct err *e)
{
    uint64_t logged[64];
    size_t n = 0;
    struct err why = {0};
    *version = 0;
    enum status st = current_version(w, version, &why);
    if (st == STATUS_OK || st == STATUS_NOT_FOUND || st == STATUS_CORRUPT)
        st = list_logged(w, logged, sizeof logged / sizeof *logged, &n, &why);
    for (size_t i = 0; i < n; i++)
        if (logged[i] > *version) *version = logged[i];
    redis_clear(w->redis);
    return st == STATUS_OK ? st : ERR_SET(e, st, "%s", why.text);
}

enum status fetch_warm_champion(struct fetch_warm *w, char name[CONF_VARIANT_NAME], struct err *e)
{
    char key[KEY_MAX], most[8];
    const struct redis_reply *reply;
    name[0] = '\0';
    (void)key_champion(key, w->name);
    (void)snprintf(most, sizeof most, "%d", CONF_VARIANT_NAME - 2);
    const enum status st =
        redis_call(w->redis, e, &reply, REDIS_ARGS(STR("GETRANGE"), str_from(key), STR("0"), str_from(most)));
    if (st == STATUS_OK && reply->kind == REDIS_TEXT)
        (void)snprintf(name, CONF_VARIANT_NAME, STR_FMT, STR_ARG(reply->text));
    redis_clear(w->redis);
    return st;
}

/* The newest sound one of those that were published before `damaged`; keeps e when there is none. */
static enum status try_older(struct fetch_warm *w, uint64_t damaged, const struct model *model, struct param_set *into,
                             struct publish_manifest *m, struct err *e)
{
    uint64_t versions[64];
    struct err later;
    size_t n;
    if (list_logged(w, versions, sizeof versions / sizeof *versions, &n, &later) != STATUS_OK) n = 0;
    for (size_t i = 0; i < n; i++) {
        if (versions[i] >= damaged) continue;
        publish_manifest_fini(m);
        const enum status st = try_version(w, versions[i], model, into, m, &later);
        if (st == STATUS_OK)
            log_warn("warm", "version=%" PRIu64 " used instead of %" PRIu64 ": %s", versions[i], damaged, e->text);
        if (st != STATUS_CORRUPT) {
            *e = later;
            return st;
        }
    }
    return STATUS_CORRUPT;
}

enum status fetch_warm_version(struct fetch_warm *w, const struct model *m, struct param_set *into,
                               struct publish_manifest *manifest, struct err *e)
{
    struct err own;
    uint64_t version = 0;
    if (e == NULL) e = &own;
    memset(manifest, 0, sizeof *manifest);
    TRY(current_version(w, &version, e));
    enum status st = try_version(w, version, m, into, manifest, e);
    if (st == STATUS_CORRUPT) st = try_older(w, version, m, into, manifest, e);
    if (st != STATUS_OK) publish_manifest_fini(manifest);
    return st;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

struct found {
    struct str key, id;
    bool user;
};

/* fr:m:user:<id> and fr:m:item:<id> among the keys that SCAN found. */
static size_t choose(const struct fetch_warm *w, const struct redis_reply *keys, struct found *out)
{
    char user[KEY_MAX], item[KEY_MAX];
    const size_t nu = key_user(user, w->name, STR("")), ni = key_item(item, w->name, STR(""));
    size_t n = 0;
    for (size_t i = 0; i < keys->n; i++) {
        const struct str k = keys->items[i].text;
        const bool is_user = k.n > nu && memcmp(k.p, user, nu) == 0, is_item = k.n > ni && memcmp(k.p, item, ni) == 0;
        const size_t skip = is_user ? nu : ni;
        if (is_user || is_item) out[n++] = (struct found){k, {k.p + skip, k.n - skip}, is_user};
    }
    return n;
}

static enum status damaged(struct fetch_warm *w, const struct found *f, const struct err *why)
{
    w->counts.damaged++;
    log_limited(LOG_WARN, "warm", "key=" STR_FMT " %s", STR_ARG(f->key), why->text);
    return STATUS_OK;
}

static enum status hand_user(struct fetch_warm *w, const struct found *f, struct str packed,
                             const struct fetch_warm_sink *sink, struct err *e)
{
    struct record_user u = {0};
    struct buf_reader r = buf_reader(packed.p, packed.n);
    struct err why;
    enum status st = record_user_decode(&u, &r, &why);
    if (st == STATUS_OK && !str_eq(u.id, f->id))
        st = ERR_SET(&why, STATUS_CORRUPT, "it is the record of " STR_FMT, STR_ARG(u.id));
    if (st == STATUS_OK) {
        st = sink->user(sink->arg, &u, e);
        w->counts.users += st == STATUS_OK;
    } else if (st == STATUS_CORRUPT) {
        st = damaged(w, f, &why);
    } else if (e != NULL) {
        *e = why;
    }
    record_user_fini(&u);
    return st;
}

static enum status hand_item(struct fetch_warm *w, const struct found *f, struct str packed,
                             const struct fetch_warm_sink *sink, struct err *e)
{
    struct record_item it = {0};
    struct buf_reader r = buf_reader(packed.p, packed.n);
    struct err why;
    enum status st = record_item_decode(&it, &r, &why);
    if (st == STATUS_OK && !str_eq(it.id, f->id))
        st = ERR_SET(&why, STATUS_CORRUPT, "it is the record of " STR_FMT, STR_ARG(it.id));
    if (st == STATUS_OK) {
        st = sink->item(sink->arg, &it, e);
        w->counts.items += st == STATUS_OK;
    } else if (st == STATUS_CORRUPT) {
        st = damaged(w, f, &why);
    } else if (e != NULL) {
        *e = why;
    }
    record_item_fini(&it);
    return st;
}

/* MGET of what was chosen; a record that went meanwhile is none. */
static enum status hand_all(struct fetch_warm *w, const struct found *f, size_t n, const struct fetch_warm_sink *sink,
                            struct err *e)
{
    const struct redis_reply *reply;
    struct str *args = arena_alloc(&w->arena, n + 1, sizeof *args);
    if (args == NULL) return ERR_SET(e, STATUS_OOM, "warm start: no memory for %zu keys", n);
    args[0] = STR("MGET");
    for (size_t i = 0; i < n; i++) args[i + 1] = f[i].key;
    TRY(redis_append(w->redis, e, args, n + 1));
    TRY(redis_get(w->redis, e, &reply));
    if (reply->kind != REDIS_ARRAY || reply->n != n)
        return ERR_SET(e, STATUS_IO, "redis %s: MGET of %zu keys answered something else", redis_name(w->redis), n);
    for (size_t i = 0; i < n; i++) {
        const struct redis_reply *v = &reply->items[i];
        if (v->kind != REDIS_TEXT) continue;
        TRY(f[i].user ? hand_user(w, &f[i], v->text, sink, e) : hand_item(w, &f[i], v->text, sink, e));
    }
    return STATUS_OK;
}

static enum status slice(struct fetch_warm *w, const struct fetch_warm_sink *sink, struct err *e)
{
    char pattern[KEY_MODEL_MAX + 32], count[24], next[CURSOR_MAX];
    const struct redis_reply *reply;
    (void)snprintf(pattern, sizeof pattern, "fr:%s:[ui][st]e[rm]:*",
                   w->name); /* no sign of glob is in a model's name */
    (void)snprintf(count, sizeof count, "%d", FETCH_WARM_SLICE);
    TRY(redis_call(w->redis, e, &reply,
                   REDIS_ARGS(STR("SCAN"), str_from(w->cursor[0] ? w->cursor : "0"), STR("MATCH"), str_from(pattern),
                              STR("COUNT"), str_from(count))));
    if (reply->kind != REDIS_ARRAY || reply->n != 2 || reply->items[0].text.n >= CURSOR_MAX)
        return ERR_SET(e, STATUS_IO, "redis %s: SCAN answered something else", redis_name(w->redis));
    (void)snprintf(next, sizeof next, STR_FMT, STR_ARG(reply->items[0].text));
    arena_reset(&w->arena);
    struct found *f = arena_alloc(&w->arena, reply->items[1].n, sizeof *f);
    if (f == NULL && reply->items[1].n > 0) return ERR_SET(e, STATUS_OOM, "warm start: no memory for a slice of keys");
    const size_t n = choose(w, &reply->items[1], f);
    if (n > 0) TRY(hand_all(w, f, n, sink, e));
    memcpy(w->cursor, next, sizeof next);
    w->done = strcmp(next, "0") == 0;
    return STATUS_OK;
}

enum status fetch_warm_records(struct fetch_warm *w, const struct fetch_warm_sink *sink, struct err *e)
{
    if (w->done) return ERR_SET(e, STATUS_END, "redis %s: all records were read", redis_name(w->redis));
    const enum status st = slice(w, sink, e);
    redis_clear(w->redis);
    return st == STATUS_OK && w->done ? ERR_SET(e, STATUS_END, "redis %s: all records were read", redis_name(w->redis))
                                      : st;
}

void fetch_warm_counts(const struct fetch_warm *w, struct fetch_warm_counts *out)
{
    *out = w->counts;
}
