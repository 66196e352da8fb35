/* fetch.c - look, download, verify, probe; and when to look again. */
#include "serving/fetch.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "schemas/key.h"
#include "serving/fetch_weights.h"
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define RETRY_LEAST_MS 250 /* doubling, half of it random */
#define SUPERSEDED_MAX 8   /* versions in a row that may vanish while they are read */
#define PROBE_ITEMS 2
#define PROBE_TIME_MS INT64_C(1700000000000)

struct fetch {
    const struct model *model;
    struct clock *clock;
    struct redis *redis;
    char name[KEY_MODEL_MAX];
    struct model_run *probe;
    struct slate *slate; /* the probe's */
    struct rand rand;
    atomic_bool cancelled;
    /* A mark stands for what Redis said: a hash of current's text and of the manifest's; 0: it said nothing. */
    uint64_t given, refused; /* marks of what was given out and what was refused last */
    int64_t retry_us;        /* what was refused is not tried before */
    bool blind;              /* Redis answered, but with a fault: not even a mark */
    enum metric_fetch stage; /* what is being done, so what fails */
    uint64_t asked;          /* the version that current named at the last look; 0: none that is one */
    struct fetch_report report;
    uint64_t version; /* given out last, with its hash */
    char sha256[HASH_SHA256_HEX];
    struct fetch_weights weights;
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
    (void)snprintf(f->name, sizeof f->name, "%.97s", c->model_name);
    rand_init(&f->rand,
              (struct rand_key){(uint64_t)clock->mono_us(clock) ^ (uint64_t)(uintptr_t)f, 0, 0, 0, RAND_REQUEST});
    enum status st = redis_open(&f->redis, c, clock, e);
    f->weights = (struct fetch_weights){.redis = f->redis, .name = f->name, .model = m, .cancelled = &f->cancelled};
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
    fetch_weights_fini(&f->weights);
    mem_free(f);
}

struct redis *fetch_redis(struct fetch *f)
{
    return f->redis;
}

void fetch_cancel(struct fetch *f)
{
    atomic_store(&f->cancelled, true);
}

void fetch_report(const struct fetch *f, struct fetch_report *out)
{
    const int64_t left_us = f->retry_us - f->clock->mono_us(f->clock);
    *out = f->report;
    if (out->reason == METRIC_FETCH_REDIS)
        out->retry_ms = redis_retry_ms(f->redis);
    else
        out->retry_ms = out->status != STATUS_OK && left_us > 0 ? (left_us + 999) / 1000 : 0;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

/* At most max bytes of a text key; "" when there is none.  A server that is not ready (AGAIN) is one that is away. */
static enum status get(struct fetch *f, const char *key, size_t max, struct str *out, struct err *e)
{
    char last[24];
    const struct redis_reply *reply;
    (void)snprintf(last, sizeof last, "%zu", max); /* one byte more than it may have: seen as wrong */
    const enum status st =
        redis_call(f->redis, e, &reply, REDIS_ARGS(STR("GETRANGE"), str_from(key), STR("0"), str_from(last)));
    if (st == STATUS_AGAIN) return ERR_SET(e, STATUS_IO, "redis %s is not ready yet", redis_name(f->redis));
    TRY(st);
    *out = reply->kind == REDIS_TEXT ? reply->text : STR("");
    return STATUS_OK;
}

static enum status current_version(struct fetch *f, uint64_t *mark, struct err *e)
{
    char key[KEY_MAX];
    struct str value;
    f->stage = METRIC_FETCH_CURRENT;
    f->asked = 0;
    (void)key_current(key, f->name);
    TRY(get(f, key, KEY_CURRENT_MAX, &value, e));
    if (value.n == 0) return ERR_SET(e, STATUS_NOT_FOUND, "model %s: no version is published yet", f->name);
    *mark = hash_str(value);
    if (!key_current_read(value, &f->asked))
        return ERR_SET(e, STATUS_CORRUPT, "%s: '" STR_FMT "' is no version", key, STR_ARG(value));
    return STATUS_OK;
}

/* What current names, and the text of its manifest (until the next call).  *mark is set as far as Redis said anything. */
static enum status look(struct fetch *f, struct str *json, uint64_t *mark, struct err *e)
{
    char key[KEY_MAX];
    *mark = 0;
    TRY(current_version(f, mark, e));
    f->stage = METRIC_FETCH_MANIFEST;
    (void)key_manifest(key, f->name, f->asked);
    TRY(get(f, key, PUBLISH_MANIFEST_BYTES_MAX, json, e));
    if (json->n == 0) return ERR_SET(e, STATUS_CORRUPT, "%s is missing", key);
    *mark = hash_mix(hash_str(*json), f->asked);
    return STATUS_OK;
}

/* --- the manifest ------------------------------------------------------------------------------------------------- */

static enum status check_manifest(struct fetch *f, const struct publish_manifest *m, uint64_t version, struct err *e)
{
    if (m->version != version) {
        f->stage = METRIC_FETCH_MANIFEST;
        return ERR_SET(e, STATUS_CORRUPT, "the manifest of version %" PRIu64 " says %" PRIu64, version, m->version);
    }
    return publish_manifest_fits(m, model_fingerprint(f->model), e);
}

/* AGAIN when it is the one given out last, or was refused a short while ago. */
static enum status get_manifest(struct fetch *f, struct publish_manifest *m, uint64_t *mark, struct err *e)
{
    struct str json = {NULL, 0};
    const bool early = f->clock->mono_us(f->clock) < f->retry_us;
    *mark = 0;
    if (f->blind && early) return ERR_SET(e, STATUS_AGAIN, "model %s: asked a short while ago", f->name);
    const enum status st = look(f, &json, mark, e);
    if (*mark != 0 && *mark == f->given) return ERR_SET(e, STATUS_AGAIN, "version %" PRIu64 " was seen", f->asked);
    if (*mark != 0 && *mark == f->refused && early)
        return ERR_SET(e, STATUS_AGAIN, "version %" PRIu64 " was refused a short while ago", f->asked);
    TRY(st);
    TRY(publish_manifest_decode(m, json, f->name, e));
    f->stage = METRIC_FETCH_BASE;
    TRY(check_manifest(f, m, f->asked, e));
    if (m->version != f->version || strcmp(m->sha256, f->sha256) != 0) return STATUS_OK;
    f->given = *mark; /* written again after a loss */
    return ERR_SET(e, STATUS_AGAIN, "version %" PRIu64 " is the one we have", f->asked);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static enum status get_version(struct fetch *f, const struct publish_manifest *m, struct slot_version *v, struct err *e)
{
    const enum status st = fetch_weights_get(&f->weights, m, &v->params, e);
    f->stage = f->weights.stage;
    TRY(st);
    f->stage = METRIC_FETCH_PROBE;
    return run_probe(f, v->params, e);
}

static void log_refusal(struct fetch *f, const char *sha256, const char *why)
{
    char key[KEY_MAX], text[24];
    const struct redis_reply *reply;
    (void)key_log(key, f->name);
    (void)snprintf(text, sizeof text, "%" PRIu64, f->asked);
    const enum status st = redis_call(f->redis, NULL, &reply,
                                      REDIS_ARGS(STR("XADD"), str_from(key), STR("MAXLEN"), STR("~"), STR("1000"),
                                                 STR("*"), STR("kind"), STR("refuse"), STR("version"), str_from(text),
                                                 STR("sha256"), str_from(sha256), STR("reason"), str_from(why)));
    if (st != STATUS_OK) log_limited(LOG_WARN, "fetch", "the refusal could not be written to %s", key);
}

static void accept(struct fetch *f, struct publish_manifest *m, struct slot_version *v)
{
    v->manifest = *m;
    v->manifest.chunks = NULL;
    v->manifest.n_chunks = 0;
    v->fetched_bytes = f->weights.fetched_bytes;
    fetch_weights_keep(&f->weights, m, v->params);
    *m = (struct publish_manifest){0};
    f->version = v->manifest.version;
    memcpy(f->sha256, v->manifest.sha256, sizeof f->sha256);
    v->loaded_wall_ms = f->clock->wall_ms(f->clock);
}

/* --- what came of it ---------------------------------------------------------------------------------------------- */

static bool is_refusal(enum status st)
{
    return st != STATUS_OK && st != STATUS_AGAIN && st != STATUS_NOT_FOUND && st != STATUS_IO;
}

static void report(struct fetch *f, enum status st, enum metric_fetch reason, const char *text)
{
    struct fetch_report *r = &f->report;
    r->status = st;
    r->reason = reason;
    r->version = reason == METRIC_FETCH_REDIS ? 0 : f->asked;
    r->failures++;
    r->total++;
    (void)snprintf(r->text, sizeof r->text, "%s", text);
}

/* Nothing is wrong, or (NOT_FOUND) nothing is there. */
static void report_none(struct fetch *f, enum status st, const char *text)
{
    struct fetch_report *r = &f->report;
    f->refused = 0;
    f->blind = false;
    r->status = st;
    r->version = 0;
    r->failures = 0;
    (void)snprintf(r->text, sizeof r->text, "%s", text);
}

static void refuse(struct fetch *f, enum status st, uint64_t mark, const char *sha256, const char *why)
{
    const bool again = f->report.failures > 0 && f->report.reason != METRIC_FETCH_REDIS && mark == f->refused;
    if (!again) f->report.failures = 0;
    f->refused = mark;
    f->blind = mark == 0;
    report(f, st, st == STATUS_OOM ? METRIC_FETCH_MEMORY : f->stage, why);
    const unsigned doubled = f->report.failures < 16 ? (unsigned)f->report.failures - 1 : 15;
    int64_t ms = (int64_t)RETRY_LEAST_MS << doubled;
    if (ms > FETCH_RETRY_MOST_MS) ms = FETCH_RETRY_MOST_MS;
    ms = ms / 2 + (int64_t)rand_below(&f->rand, (uint64_t)ms / 2 + 1);
    f->retry_us = f->clock->mono_us(f->clock) + ms * 1000;
    if (!again && mark != 0 && st != STATUS_OOM) log_refusal(f, sha256, why);
}

/* True when Redis names another version by now: what failed was a version that was being replaced. */
static bool superseded(struct fetch *f, uint64_t mark)
{
    struct str json;
    uint64_t now;
    const uint64_t asked = f->asked;
    const enum metric_fetch stage = f->stage;
    redis_clear(f->redis);
    const enum status st = look(f, &json, &now, NULL);
    f->asked = asked;
    f->stage = stage;
    return mark != 0 && (st == STATUS_OK || st == STATUS_CORRUPT || st == STATUS_NOT_FOUND) && now != mark;
}

static enum status try_once(struct fetch *f, struct publish_manifest *m, struct slot_version **out, uint64_t *mark,
                            struct err *e)
{
    struct slot_version *v = NULL;
    enum status st = get_manifest(f, m, mark, e);
    const int64_t start_us = f->clock->mono_us(f->clock);
    if (st == STATUS_OK) st = slot_version_new(&v, e);
    if (st == STATUS_OK) st = get_version(f, m, v, e);
    redis_clear(f->redis);
    if (st == STATUS_OK) {
        accept(f, m, v);
        v->load_us = f->clock->mono_us(f->clock) - start_us;
        f->given = *mark;
        *out = v;
    } else {
        slot_version_free(v);
    }
    return st;
}

enum status fetch_next(struct fetch *f, struct slot_version **out, struct err *e)
{
    struct publish_manifest m = {0};
    struct err own;
    uint64_t mark = 0;
    enum status st;
    if (e == NULL) e = &own;
    *out = NULL;
    const bool waits = redis_retry_ms(f->redis) > 0; /* between two tries to connect: no failure of its own */
    for (int turn = 0;; turn++) {
        st = try_once(f, &m, out, &mark, e);
        if (!is_refusal(st) || st == STATUS_OOM || turn == SUPERSEDED_MAX || !superseded(f, mark)) break;
        f->report.superseded++;
        publish_manifest_fini(&m);
    }
    if (is_refusal(st))
        refuse(f, st, mark, m.sha256, e->text);
    else if (st == STATUS_IO && !waits)
        report(f, st, METRIC_FETCH_REDIS, e->text);
    else if (st == STATUS_OK || st == STATUS_NOT_FOUND || (st == STATUS_AGAIN && mark != 0 && mark == f->given))
        report_none(f, st == STATUS_NOT_FOUND ? st : STATUS_OK, st == STATUS_NOT_FOUND ? e->text : "");
    publish_manifest_fini(&m);
    return st;
}
