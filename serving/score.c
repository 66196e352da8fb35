/* score.c - building the scorer, the pool of hands, and what it says of itself. */
#include "serving/score.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "schemas/event_json.h"
#include "schemas/jsonload.h"
#include "serving/score_infer.h"
#include "serving/score_private.h"
#include "serving/score_text.h"
#include <string.h>

/* What all variants share. */
static enum status open_language(struct score *s, struct err *e)
{
    const struct conf *c = s->conf;
    TRY(conf_world_new(&s->world, c, e));
    TRY(token_open(&s->vocab, c->model_base, e));
    TRY(describe_open(&s->templates, c, e));
    if (conf_reads_text(s->world)) TRY(encoder_open_conf(&s->encoder, &s->kern, c, e));
    TRY(feat_new(&s->probe_feat, s->world, s->vocab, s->templates, e));
    s->at_a_time = (size_t)(c->kernels_threads < c->serving_threads ? c->kernels_threads : c->serving_threads);
    return c->kernels_threads > 1 ? pool_new(&s->pool, (unsigned)c->kernels_threads, c->kernels_pin, e) : STATUS_OK;
}

static enum status open_hands(struct score *s, struct err *e)
{
    const size_t n = (size_t)s->conf->serving_threads + (s->conf->n_variants > 0 ? SCORE_SHADOW_HANDS : 0);
    s->hands = mem_calloc(n, sizeof *s->hands);
    if (s->hands == NULL) return ERR_SET(e, STATUS_OOM, "scorer: no memory for %zu hands", n);
    s->n_hands = n;
    for (size_t i = 0; i < n; i++) TRY(score_hand_init(&s->hands[i], s, e));
    return STATUS_OK;
}

static enum status make_locks(struct score *s, struct err *e)
{
    pthread_cond_t *const conds[] = {&s->returned, &s->stop, &s->moved};
    size_t n = 0;
    const bool locked = pthread_mutex_init(&s->lock, NULL) == 0;
    while (locked && n < 3 && clock_cond_init(conds[n])) n++;
    if (n == 3) return STATUS_OK;
    while (n > 0) (void)pthread_cond_destroy(conds[--n]);
    if (locked) (void)pthread_mutex_destroy(&s->lock);
    return ERR_SET(e, STATUS_OOM, "scorer: no lock can be made");
}

enum status score_open(struct score **out, const struct conf *c, struct clock *clock, struct metric *m, struct err *e)
{
    enum status st;
    *out = NULL;
    if (c->redis_url[0] == '\0') /* said before the base is read, which takes its time */
        return ERR_SET(e, STATUS_NOT_FOUND, "redis.url is empty; a scorer reads versions and records from Redis");
    struct score *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return ERR_SET(e, STATUS_OOM, "scorer: no memory");
    jsonload_init();
    s->conf = c;
    s->clock = clock;
    s->metric = m;
    s->opened_wall_ms = clock->wall_ms(clock);
    st = make_locks(s, e);
    if (st != STATUS_OK) {
        mem_free(s);
        return st;
    }
    TRY_OUT(st, open_language(s, e));
    TRY_OUT(st, score_lines_open(s, e));
    TRY_OUT(st, score_records_new(&s->records, SCORE_RECORD_BYTES, e));
    TRY_OUT(st, score_served_open(s, e));
    TRY_OUT(st, score_shadow_open(s, e));
    TRY_OUT(st, open_hands(s, e));
    *out = s;
    return STATUS_OK;
out:
    score_close(s);
    return st;
}

enum status score_start(struct score *s, struct err *e)
{
    TRY(score_served_start(s, e));
    TRY(score_shadow_start(s, e));
    return score_watch_start(s, e);
}

void score_close(struct score *s)
{
    if (s == NULL) return;
    score_watch_stop(s);
    score_shadow_stop(s);
    score_served_stop(s);
    for (size_t i = 0; i < s->n_hands; i++) score_hand_fini(&s->hands[i]);
    mem_free(s->hands);
    score_shadow_close(s);
    score_served_close(s);
    score_records_free(s->records);
    score_lines_close(s);
    feat_free(s->probe_feat);
    pool_free(s->pool);
    encoder_free(s->encoder);
    kern_free(s->kern);
    describe_close(s->templates);
    token_free(s->vocab);
    conf_free(s->world);
    (void)pthread_cond_destroy(&s->stop);
    (void)pthread_cond_destroy(&s->returned);
    (void)pthread_cond_destroy(&s->moved);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* --- the pool ----------------------------------------------------------------------------------------------------- */

static struct score_hand *free_hand(struct score *s)
{
    for (size_t i = 0; i < s->n_hands; i++)
        if (!s->hands[i].out) return &s->hands[i];
    return NULL;
}

struct score_hand *score_borrow(struct score *s)
{
    struct score_hand *h;
    (void)pthread_mutex_lock(&s->lock);
    while ((h = free_hand(s)) == NULL) (void)pthread_cond_wait(&s->returned, &s->lock);
    h->out = h->coming = true;
    s->n_coming++;
    (void)pthread_mutex_unlock(&s->lock);
    h->answered = false; /* the request that is parsed into it now may never be ranked */
    return h;
}

void score_return(struct score *s, struct score_hand *h)
{
    if (!score_shadow_take(s, h)) score_give_back(s, h);
}

void score_give_back(struct score *s, struct score_hand *h)
{
    score_hand_rest(h);
    (void)pthread_mutex_lock(&s->lock);
    score_pass_end(h);
    h->out = false;
    (void)pthread_cond_signal(&s->returned);
    (void)pthread_mutex_unlock(&s->lock);
}

static enum status offer(struct score_line *l, struct slot_version *take_v, struct err *e)
{
    slot_publish(l->slot, take_v);
    metric_add(l->s->metric, METRIC_VERSIONS_LOADED, 1);
    return score_bind_all(l, e);
}

/* What came of a look, for metrics and health. */
static void note(struct score_line *l, enum status st)
{
    struct score *s = l->s;
    struct fetch_report r;
    fetch_report(l->fetch, &r);
    if (r.total != l->report.total) {
        metric_fetch_failure(s->metric, r.reason);
        if (r.reason != METRIC_FETCH_REDIS) metric_add(s->metric, METRIC_VERSIONS_REFUSED, 1);
    }
    metric_add(s->metric, METRIC_VERSIONS_SUPERSEDED, r.superseded - l->report.superseded);
    if (l == score_line_in_charge(s)) {
        metric_set(s->metric, METRIC_REFUSED_VERSION, (double)r.version);
        metric_set(s->metric, METRIC_FETCH_FAILURES, (double)r.failures);
    }
    metric_set(s->metric, METRIC_REDIS_UP, redis_connected(fetch_redis(l->fetch)));
    if (st != STATUS_IO) atomic_store(&s->away, false);
    (void)pthread_mutex_lock(&s->lock);
    l->report = r; /* written by the watch alone */
    (void)pthread_mutex_unlock(&s->lock);
}

/* It is scored with all the same. */
static void say_recipe(const struct score_line *l, const struct publish_manifest *m)
{
    struct err why = {0};
    if (publish_manifest_agrees(m, feat_recipe(l->s->probe_feat), &why) != STATUS_OK)
        log_limited(LOG_WARN, "version", "variant=%s reason=\"%s\"", l->name, why.text);
}

static enum status look(struct score_line *l, struct err *e)
{
    struct slot_version *v = NULL;
    const enum status st = fetch_next(l->fetch, &v, e);
    note(l, st);
    if (st != STATUS_OK && l->bind_again) return score_bind_all(l, e);
    if (st != STATUS_OK) return st;
    const struct publish_manifest *m = &v->manifest;
    const double ms = (double)v->load_us * 1e-3;
    metric_set(l->s->metric, METRIC_LOAD_MS, ms);
    log_info("version", "variant=%s version=%llu sha256=%s examples=%llu load_ms=%.1f fetched=%llu", l->name,
             (unsigned long long)m->version, m->sha256, (unsigned long long)m->examples, ms,
             (unsigned long long)v->fetched_bytes);
    say_recipe(l, m);
    return offer(l, v, e);
}

/* Whose users somebody else answers meanwhile. */
static void say_missing(struct score *s, size_t line)
{
    const size_t in_charge = atomic_load(&s->in_charge);
    const double share = conf_line_share(s->conf, line, in_charge);
    if (s->lines[line].bound != NULL || s->lines[in_charge].bound == NULL || !(share > 0)) return;
    log_limited(LOG_WARN, "variant", "variant=%s share=%g reason=\"it has no version yet: %s answers its users\"",
                s->lines[line].name, share, s->lines[in_charge].name);
}

/* The default variant's result, unless another one brought a version or a fault: a challenger that nobody has published yet is
 * none. */
enum status score_look(struct score *s, struct err *e)
{
    enum status st = look(&s->lines[0], e);
    score_look_champion(s);
    for (size_t i = 1; i < s->n_lines && !atomic_load(&s->stopping); i++) {
        struct err why = {0};
        const enum status one = look(&s->lines[i], &why);
        if (one == STATUS_NOT_FOUND) say_missing(s, i);
        const bool worth_saying = one == STATUS_OK || (one != STATUS_AGAIN && one != STATUS_NOT_FOUND);
        if (!worth_saying || (st != STATUS_AGAIN && st != STATUS_NOT_FOUND)) continue;
        st = one;
        if (one != STATUS_OK && e != NULL) *e = why;
    }
    return st;
}

/* --- what it says of itself --------------------------------------------------------------------------------------- */

/* Bound, not only published to the slot: a request that comes now is answered. */
bool score_ready(struct score *s)
{
    (void)pthread_mutex_lock(&s->lock);
    const bool ready = score_line_of(s, STR(""))->bound != NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return ready;
}

static void copy_report(struct score *s, struct fetch_report *r)
{
    (void)pthread_mutex_lock(&s->lock);
    *r = score_line_in_charge(s)->report;
    (void)pthread_mutex_unlock(&s->lock);
}

void score_why_not(struct score *s, struct err *e)
{
    struct fetch_report r;
    copy_report(s, &r);
    if (r.failures == 0)
        (void)ERR_SET(e, STATUS_NOT_FOUND, "model %s has no version yet: %s", s->conf->model_name,
                      r.status == STATUS_AGAIN ? "the scorer is starting" : "the learner has published none");
    else if (r.reason == METRIC_FETCH_REDIS)
        (void)ERR_SET(e, STATUS_NOT_FOUND, "model %s has no version yet: Redis is away", s->conf->model_name);
    else if (r.version == 0)
        (void)ERR_SET(e, STATUS_NOT_FOUND,
                      "model %s has no version yet: what Redis answers names none (%s); GET /v1/models says why",
                      s->conf->model_name, metric_fetch_name(r.reason));
    else
        (void)ERR_SET(e, STATUS_NOT_FOUND,
                      "model %s has no version yet: version %llu was refused (%s); GET /v1/models says why",
                      s->conf->model_name, (unsigned long long)r.version, metric_fetch_name(r.reason));
}

/* "fetch":{…}: what keeps the newest version out; text: with the sentence, which may name what is not everybody's. */
static void write_fetch(struct score *s, bool text, struct buf *b)
{
    struct fetch_report r;
    copy_report(s, &r);
    const bool bad = r.failures > 0;
    const char *good = r.status == STATUS_OK ? "ok" : r.status == STATUS_NOT_FOUND ? "nothing_published" : "starting";
    buf_printf(b, "\"fetch\":{\"state\":\"%s\"",
               !bad                             ? good
               : r.reason == METRIC_FETCH_REDIS ? "redis_away"
                                                : "refused");
    if (bad) {
        buf_printf(b, ",\"reason\":\"%s\",\"failures\":%llu,\"retry_ms\":%lld", metric_fetch_name(r.reason),
                   (unsigned long long)r.failures, (long long)r.retry_ms);
        if (r.version != 0) buf_printf(b, ",\"version\":%llu", (unsigned long long)r.version);
        if (text) buf_printf(b, ",\"message\":"), event_json_string(b, str_from(r.text));
    }
    buf_printf(b, "}");
}

void score_write_health(struct score *s, struct buf *b)
{
    struct slot *slot = score_line_in_charge(s)->slot;
    struct slot_version *v = slot_acquire(slot);
    buf_printf(b, "{\"ready\":%s", v ? "true" : "false");
    if (v != NULL)
        buf_printf(b, ",\"version\":%llu,\"age_ms\":%lld", (unsigned long long)v->manifest.version,
                   (long long)(s->clock->wall_ms(s->clock) - v->manifest.published_wall_ms));
    buf_printf(b, ",");
    write_fetch(s, false, b);
    buf_printf(b, "}");
    slot_release(slot, v);
}

uint64_t score_version(struct score *s)
{
    struct slot *slot = score_line_in_charge(s)->slot;
    struct slot_version *v = slot_acquire(slot);
    const uint64_t version = v != NULL ? v->manifest.version : 0;
    slot_release(slot, v);
    return version;
}

const char *score_model_name(const struct score *s)
{
    return s->conf->model_name;
}

static void write_parts(const struct model *m, struct buf *b)
{
    buf_printf(b, ",\"parts\":[");
    for (size_t i = 0; i < model_n_parts(m); i++) {
        if (i > 0) buf_u8(b, (uint8_t)',');
        event_json_string(b, str_from(model_part_name(m, i)));
    }
    buf_printf(b, "]");
}

static void write_model(const struct score_line *l, const struct slot_version *v, struct buf *b)
{
    struct score *s = l->s;
    const size_t in_charge = atomic_load(&s->in_charge), line = (size_t)(l - s->lines);
    const struct publish_manifest *m = &v->manifest;
    char loaded[CLOCK_TEXT];
    clock_format(v->loaded_wall_ms, loaded);
    buf_printf(b, "{\"name\":");
    event_json_string(b, str_from(s->conf->model_name));
    buf_printf(b, ",\"version\":%llu,\"parent\":%llu,\"sha256\":\"%s\",\"base\":\"%s\",\"age_ms\":%lld,\"watermark\":",
               (unsigned long long)m->version, (unsigned long long)m->parent, m->sha256, m->base,
               (long long)(s->clock->wall_ms(s->clock) - m->published_wall_ms));
    score_text_time(b, m->watermark_ms);
    buf_printf(b, ",\"examples\":%llu,\"bytes\":%llu,\"live\":%s,\"loaded\":\"%s\",\"variant\":\"%s\",\"share\":",
               (unsigned long long)m->examples, (unsigned long long)m->bytes, m->live ? "true" : "false", loaded,
               l->name);
    event_json_number(b, conf_line_share(s->conf, line, in_charge));
    buf_printf(b, ",\"shadow\":%s,\"in_charge\":%s,\"reason\":",
               conf_line_shadow(s->conf, line, in_charge) ? "true" : "false", line == in_charge ? "true" : "false");
    event_json_string(b, str_from(m->reason));
    buf_printf(b, ",\"verdict\":");
    event_json_string(b, str_from(m->verdict));
    write_parts(l->model, b);
    buf_printf(b, "}");
}

void score_write_models(struct score *s, struct buf *b)
{
    bool first = true;
    buf_printf(b, "{\"models\":[");
    for (size_t i = 0; i < s->n_lines; i++) {
        struct score_line *l = &s->lines[i];
        struct slot_version *v = slot_acquire(l->slot);
        if (v == NULL) continue;
        if (!first) buf_u8(b, (uint8_t)',');
        first = false;
        write_model(l, v, b);
        slot_release(l->slot, v);
    }
    buf_printf(b, "],");
    write_fetch(s, true, b);
    buf_printf(b, "}");
}

void score_update_gauges(struct score *s)
{
    struct score_records_stats r;
    struct state_stats t = {0};
    struct slot *slot = score_line_in_charge(s)->slot;
    struct slot_version *v = slot_acquire(slot);
    metric_set(s->metric, METRIC_VERSION, v ? (double)v->manifest.version : 0);
    metric_set(s->metric, METRIC_VERSION_AGE_MS,
               v ? (double)(s->clock->wall_ms(s->clock) - v->manifest.published_wall_ms) : 0);
    slot_release(slot, v);
    score_records_stats(s->records, &r);
    metric_set(s->metric, METRIC_RECORD_BYTES, (double)r.bytes);
    struct state_cache *states = score_line_in_charge(s)->states;
    if (states != NULL) state_stats(states, &t);
    metric_set(s->metric, METRIC_STATE_BYTES, (double)t.bytes);
    metric_set(s->metric, METRIC_STATE_ENTRIES, (double)t.entries);
    metric_set(s->metric, METRIC_STATE_HIT_FRAC, state_hit_rate(&t));
    metric_total(s->metric, METRIC_STATE_HITS, t.hits);
    metric_total(s->metric, METRIC_STATE_MISSES, t.misses);
    metric_total(s->metric, METRIC_STATE_FILE_HITS, t.file_hits);
    metric_total(s->metric, METRIC_STATE_FILE_DAMAGED, t.file_damaged);
    metric_total(s->metric, METRIC_STATES_EVICTED, t.evicted);
}

void score_write_metadata(struct score *s, struct buf *b)
{
    struct slot *slot = score_line_in_charge(s)->slot;
    struct slot_version *v = slot_acquire(slot);
    score_infer_metadata(s->conf->model_name, v, b);
    slot_release(slot, v);
}
