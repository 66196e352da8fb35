/* fetch.c - download, verify, probe. */
#include "serving/fetch.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "schemas/key.h"
#include "schemas/weights.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSED_RETRY_US 1000000
#define CHUNKS_IN_FLIGHT 4
#define PROBE_ITEMS 2
#define PROBE_TIME_MS INT64_C(1700000000000)

struct fetch {
    const struct model *model;
    struct clock *clock;
    struct redis *redis;
    char name[65];
    struct model_run *probe;
    struct slate *slate;    /* the probe's */
    uint64_t manifest_hash; /* of the manifest given out or refused last */
    uint64_t asked;         /* the version that fr:{m}:current named at the last look; 0: none that is one */
    bool refused;
    int64_t refused_us;
    uint64_t version; /* given out last, with its hash */
    char sha256[HASH_SHA256_HEX];
    struct publish_manifest last; /* of file */
    struct buf file, next;        /* the weight file given out last; the one under way */
    struct arena arena;
};

/* --- the probe ---------------------------------------------------------------------------------------------------- */

static enum status fill_probe(struct slate *s, struct feat *feat, const struct record_user *u,
                              struct record_item *items, struct err *e)
{
    struct feat_candidate c[PROBE_ITEMS];
    for (size_t i = 0; i < PROBE_ITEMS; i++) c[i] = (struct feat_candidate){items[i].id, &items[i], NAN, 1, 0, 0};
    slate_reset(s);
    s->id = 1;
    s->source = SLATE_REQUEST;
    s->time_ms = PROBE_TIME_MS;
    s->user = STR("probe");
    return feat_fill(feat, s, u, c, PROBE_ITEMS, NULL, 0, e);
}

/* A user who bought one of two items a minute ago. */
static enum status make_probe(struct fetch *f, struct feat *feat, struct err *e)
{
    struct record_user user = {0};
    struct record_item items[PROBE_ITEMS];
    static const char *const titles[PROBE_ITEMS] = {"white metal lantern", "red wooden toy"};
    memset(items, 0, sizeof items);
    enum status st = slate_new(&f->slate, e);
    for (size_t i = 0; i < PROBE_ITEMS && st == STATUS_OK; i++) {
        const struct event_attr attrs[] = {
            {.name = STR("title"), .kind = EVENT_ATTR_TEXT, .text = str_from(titles[i])},
            {.name = STR("price"), .kind = EVENT_ATTR_NUMBER, .text = STR("2.5"), .number = 2.5},
        };
        st = feat_item_from_attrs(feat, &items[i], str_from(titles[i]), attrs, 2, PROBE_TIME_MS - 60000, e);
    }
    if (st == STATUS_OK)
        st = feat_user_take(feat, &user, &items[0], items[0].id, EVENT_PURCHASE, "purchase", 2.5, PROBE_TIME_MS - 60000,
                            e);
    if (st == STATUS_OK) st = fill_probe(f->slate, feat, &user, items, e);
    for (size_t i = 0; i < PROBE_ITEMS; i++) record_item_fini(&items[i]);
    record_user_fini(&user);
    return st;
}

static enum status run_probe(struct fetch *f, const struct param_set *p, struct err *e)
{
    float logits[PROBE_ITEMS] = {0};
    TRY(model_bind(f->probe, p, e));
    TRY(model_score(f->probe, f->slate, 0, logits, NULL, e));
    for (size_t i = 0; i < PROBE_ITEMS; i++)
        if (!isfinite(logits[i])) return ERR_SET(e, STATUS_CORRUPT, "the probe slate scored %g", (double)logits[i]);
    return STATUS_OK;
}

/* --- making ------------------------------------------------------------------------------------------------------- */

enum status fetch_new(struct fetch **out, const struct conf *c, struct clock *clock, const struct model *m,
                      struct model_run *probe, struct feat *feat, struct err *e)
{
    *out = NULL;
    struct fetch *f = mem_calloc(1, sizeof *f);
    if (f == NULL) return ERR_SET(e, STATUS_OOM, "fetch: no memory");
    f->model = m;
    f->clock = clock;
    f->probe = probe;
    (void)snprintf(f->name, sizeof f->name, "%.64s", c->model_name);
    arena_init(&f->arena, 0);
    enum status st = redis_open(&f->redis, c, clock, e);
    if (st == STATUS_OK) st = make_probe(f, feat, e);
    if (st == STATUS_OK)
        *out = f;
    else
        fetch_free(f);
    return st;
}

void fetch_free(struct fetch *f)
{
    if (f == NULL) return;
    redis_close(f->redis);
    slate_free(f->slate);
    publish_manifest_fini(&f->last);
    buf_fini(&f->file);
    buf_fini(&f->next);
    arena_fini(&f->arena);
    mem_free(f);
}

struct redis *fetch_redis(struct fetch *f)
{
    return f->redis;
}

/* --- the manifest ------------------------------------------------------------------------------------------------- */

static enum status current_version(struct fetch *f, uint64_t *version, struct err *e)
{
    char key[KEY_MAX], text[24], *end;
    const struct redis_reply *reply;
    (void)key_current(key, f->name);
    TRY(redis_call(f->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT)
        return ERR_SET(e, STATUS_NOT_FOUND, "model %s: no version is published yet", f->name);
    (void)snprintf(text, sizeof text, STR_FMT, STR_ARG(reply->text));
    *version = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0')
        return ERR_SET(e, STATUS_CORRUPT, "%s: '%s' is no version", key, text);
    return STATUS_OK;
}

static enum status check_manifest(const struct fetch *f, const struct publish_manifest *m, uint64_t version,
                                  struct err *e)
{
    char base[32];
    (void)snprintf(base, sizeof base, "%016" PRIx64, model_fingerprint(f->model));
    if (m->version != version)
        return ERR_SET(e, STATUS_CORRUPT, "the manifest of version %" PRIu64 " says %" PRIu64, version, m->version);
    if (strcmp(m->base, base) != 0)
        return ERR_SET(e, STATUS_INVALID,
                       "version %" PRIu64
                       " was learnt on another base or other parts (fingerprint %s, ours %s); start the scorer "
                       "with the learner's model.* keys",
                       version, m->base, base);
    return STATUS_OK;
}

/* AGAIN when it is the one seen last. */
static enum status get_manifest(struct fetch *f, struct publish_manifest *m, struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    uint64_t version = 0;
    f->asked = 0;
    TRY(current_version(f, &version, e));
    f->asked = version;
    (void)key_manifest(key, f->name, version);
    TRY(redis_call(f->redis, e, &reply, REDIS_ARGS(STR("GET"), str_from(key))));
    if (reply->kind != REDIS_TEXT) return ERR_SET(e, STATUS_CORRUPT, "%s is missing", key);
    const uint64_t hash = hash_mix(hash_str(reply->text), version);
    const bool early = f->refused && f->clock->mono_us(f->clock) - f->refused_us < REFUSED_RETRY_US;
    if (hash == f->manifest_hash && (!f->refused || early))
        return ERR_SET(e, STATUS_AGAIN, "version %" PRIu64 " was seen", version);
    f->manifest_hash = hash;
    f->refused = false;
    TRY(publish_manifest_decode(m, reply->text, f->name, e));
    TRY(check_manifest(f, m, version, e));
    if (m->version == f->version && strcmp(m->sha256, f->sha256) == 0) /* written again after a loss */
        return ERR_SET(e, STATUS_AGAIN, "version %" PRIu64 " is the one we have", version);
    return STATUS_OK;
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static size_t chunk_length(const struct publish_manifest *m, size_t i)
{
    const uint64_t left = m->bytes - i * PUBLISH_CHUNK_BYTES;
    return left < PUBLISH_CHUNK_BYTES ? (size_t)left : PUBLISH_CHUNK_BYTES;
}

static bool had_before(const struct fetch *f, const struct publish_manifest *m, size_t i)
{
    return i < f->last.n_chunks && chunk_length(&f->last, i) == chunk_length(m, i) &&
           strcmp(f->last.chunks[i].sha256, m->chunks[i].sha256) == 0;
}

static enum status ask_chunk(struct fetch *f, const struct publish_manifest *m, size_t i, struct err *e)
{
    char key[KEY_MAX], last[24];
    (void)key_chunk(key, f->name, m->chunks[i].version, (uint32_t)i);
    (void)snprintf(last, sizeof last, "%zu",
                   PUBLISH_CHUNK_BYTES); /* one byte more than a chunk may have: seen as wrong */
    return redis_append(f->redis, e, REDIS_ARGS(STR("GETRANGE"), str_from(key), STR("0"), str_from(last)));
}

static enum status take_chunk(struct fetch *f, const struct publish_manifest *m, size_t i, struct err *e)
{
    const struct redis_reply *reply;
    char hex[HASH_SHA256_HEX];
    TRY(redis_get(f->redis, e, &reply));
    if (reply->kind != REDIS_TEXT || reply->text.n != chunk_length(m, i))
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": chunk %zu has %zu bytes, expected %zu", m->version, i,
                       reply->text.n, chunk_length(m, i));
    TRY(hash_sha256_of(reply->text.p, reply->text.n, hex, e));
    if (strcmp(hex, m->chunks[i].sha256) != 0)
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": chunk %zu has SHA-256 %s, expected %s", m->version, i,
                       hex, m->chunks[i].sha256);
    memcpy(f->next.p + i * PUBLISH_CHUNK_BYTES, reply->text.p, reply->text.n);
    return STATUS_OK;
}

static enum status get_chunks(struct fetch *f, const struct publish_manifest *m, struct err *e)
{
    buf_clear(&f->next);
    if (buf_room(&f->next, m->bytes) == NULL)
        return ERR_SET(e, STATUS_OOM, "fetch: no memory for %" PRIu64 " bytes", m->bytes);
    size_t asked[CHUNKS_IN_FLIGHT];
    for (size_t i = 0; i < m->n_chunks;) {
        size_t n = 0;
        for (; i < m->n_chunks && n < CHUNKS_IN_FLIGHT; i++) {
            if (had_before(f, m, i)) {
                memcpy(f->next.p + i * PUBLISH_CHUNK_BYTES, f->file.p + i * PUBLISH_CHUNK_BYTES, chunk_length(m, i));
                continue;
            }
            TRY(ask_chunk(f, m, i, e));
            asked[n++] = i;
        }
        for (size_t k = 0; k < n; k++) TRY(take_chunk(f, m, asked[k], e));
        redis_clear(f->redis);
    }
    return STATUS_OK;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static enum status verify(struct fetch *f, const struct publish_manifest *m, struct slot_version *v, struct err *e)
{
    struct weights_view view;
    arena_reset(&f->arena);
    TRY(weights_decode(&view, f->next.p, f->next.n, true, &f->arena, e));
    if (view.version != m->version || strcmp(view.sha256, m->sha256) != 0)
        return ERR_SET(e, STATUS_CORRUPT, "version %" PRIu64 ": its weight file is that of version %" PRIu64,
                       m->version, view.version);
    TRY(param_set_new(&v->params, model_table(f->model), e));
    TRY(param_from_view(model_table(f->model), &view, model_fingerprint(f->model), v->params, e));
    TRY(run_probe(f, v->params, e));
    return STATUS_OK;
}

static void log_refusal(struct fetch *f, const struct publish_manifest *m, const char *why)
{
    char key[KEY_MAX], text[24];
    const struct redis_reply *reply;
    (void)key_log(key, f->name);
    (void)snprintf(text, sizeof text, "%" PRIu64, m->version ? m->version : f->asked);
    const enum status st = redis_call(f->redis, NULL, &reply,
                                      REDIS_ARGS(STR("XADD"), str_from(key), STR("MAXLEN"), STR("~"), STR("1000"),
                                                 STR("*"), STR("kind"), STR("refuse"), STR("version"), str_from(text),
                                                 STR("sha256"), str_from(m->sha256), STR("reason"), str_from(why)));
    if (st != STATUS_OK) log_limited(LOG_WARN, "fetch", "the refusal could not be written to %s", key);
}

static void accept(struct fetch *f, struct publish_manifest *m, struct slot_version *v)
{
    const struct buf spare = f->file;
    f->file = f->next;
    f->next = spare;
    publish_manifest_fini(&f->last);
    f->last = *m; /* chunks are kept here */
    v->manifest = *m;
    v->manifest.chunks = NULL;
    v->manifest.n_chunks = 0;
    f->last.offsets = NULL, f->last.n_offsets = 0;
    f->last.kept = NULL, f->last.n_kept = 0;
    *m = (struct publish_manifest){0};
    f->version = v->manifest.version;
    memcpy(f->sha256, v->manifest.sha256, sizeof f->sha256);
    v->loaded_wall_ms = f->clock->wall_ms(f->clock);
}

enum status fetch_next(struct fetch *f, struct slot_version **out, struct err *e)
{
    struct publish_manifest m = {0};
    struct slot_version *v = NULL;
    struct err own;
    if (e == NULL) e = &own;
    *out = NULL;
    const uint64_t seen = f->manifest_hash;
    const bool again = f->refused;
    enum status st = get_manifest(f, &m, e);
    if (st == STATUS_OK) st = slot_version_new(&v, e);
    if (st == STATUS_OK) st = get_chunks(f, &m, e);
    if (st == STATUS_OK) st = verify(f, &m, v, e);
    redis_clear(f->redis);
    if (st == STATUS_OK) {
        accept(f, &m, v);
        *out = v;
        return st;
    }
    if (st == STATUS_CORRUPT || st == STATUS_INVALID) {
        f->refused = true;
        f->refused_us = f->clock->mono_us(f->clock);
        if (!again || seen != f->manifest_hash) log_refusal(f, &m, e->text);
    } else if (st != STATUS_AGAIN) {
        f->manifest_hash = seen; /* nothing is known of it: asked again at once */
        f->refused = again;
    }
    publish_manifest_fini(&m);
    slot_version_free(v);
    return st;
}
