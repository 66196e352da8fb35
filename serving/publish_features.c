/* publish_features.c - batches of packed records, metrics: filled on the learner's thread, uploaded on the other. */
#include "base/mem.h"
#include "schemas/key.h"
#include "serving/publish_private.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define IN_FLIGHT 512
#define IN_FLIGHT_BYTES ((size_t)1 << 20)
#define SERIES_MAX "10000" /* entries of fr:m:metrics:ts */

void publish_batch_free(struct publish_batch *b)
{
    if (b == NULL) return;
    buf_fini(&b->entries);
    mem_free(b);
}

enum status publish_features_begin(struct publish *p, struct publish_batch **out, struct err *e)
{
    *out = NULL;
    if (p == NULL) return ERR_SET(e, STATUS_NOT_FOUND, "features: there is no Redis to publish to");
    (void)pthread_mutex_lock(&p->lock);
    const bool full = p->n_batches >= PUBLISH_BATCHES_MAX;
    if (!full && p->pool != NULL) {
        *out = p->pool;
        p->pool = p->pool->next;
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (full) return ERR_SET(e, STATUS_AGAIN, "features: %d batches wait for Redis already", PUBLISH_BATCHES_MAX);
    if (*out == NULL) *out = mem_calloc(1, sizeof **out);
    if (*out == NULL) return ERR_SET(e, STATUS_OOM, "features: no memory for a batch");
    (*out)->next = NULL;
    return STATUS_OK;
}

static enum status room(const struct publish_batch *b, size_t n, struct err *e)
{
    if (b->n == 0 || b->entries.n + n <= PUBLISH_BATCH_BYTES) return STATUS_OK;
    return ERR_SET(e, STATUS_FULL, "features: the batch holds %zu bytes; the rest goes with the next", b->entries.n);
}

/* What was begun at `from` is whole, or none of it stays: a reader would take half a record for one. */
static enum status finish_entry(struct publish_batch *b, size_t from, struct err *e)
{
    const enum status st = buf_status(&b->entries, e);
    if (st == STATUS_OK) {
        b->n++;
    } else {
        b->entries.n = from;
        b->entries.oom = false;
    }
    return st;
}

static enum status put_named(struct publish_batch *b, enum publish_entry kind, struct str id, struct str packed,
                             struct err *e)
{
    TRY(room(b, id.n + packed.n, e));
    if (id.n > EVENT_ID_MAX)
        return ERR_SET(e, STATUS_INVALID, "features: an id of %zu bytes, more than %d", id.n, EVENT_ID_MAX);
    const size_t from = b->entries.n;
    buf_u8(&b->entries, (uint8_t)kind);
    buf_str(&b->entries, id);
    buf_str(&b->entries, packed);
    return finish_entry(b, from, e);
}

enum status publish_put_user(struct publish_batch *b, struct str id, struct str packed, struct err *e)
{
    return put_named(b, PUBLISH_ENTRY_USER, id, packed, e);
}

enum status publish_put_item(struct publish_batch *b, struct str id, struct str packed, struct err *e)
{
    return put_named(b, PUBLISH_ENTRY_ITEM, id, packed, e);
}

enum status publish_put_state(struct publish_batch *b, uint64_t hash, struct str packed, struct err *e)
{
    TRY(room(b, packed.n, e));
    const size_t from = b->entries.n;
    buf_u8(&b->entries, PUBLISH_ENTRY_STATE);
    buf_u64(&b->entries, hash);
    buf_str(&b->entries, packed);
    return finish_entry(b, from, e);
}

bool publish_wants_state(struct publish *p, uint64_t hash)
{
    if (p == NULL) return false;
    const struct publish_seen *s = &p->seen[hash % PUBLISH_SEEN];
    return s->hash != hash || s->time_ms == 0 || p->clock->mono_us(p->clock) / 1000 - s->time_ms > p->ttl_s * 500;
}

/* The states in b are on their way: publish_wants_state says no to them from now on. */
static void mark_seen(struct publish *p, const struct publish_batch *b)
{
    struct buf_reader r = buf_reader(b->entries.p, b->entries.n);
    const int64_t now_ms = p->clock->mono_us(p->clock) / 1000;
    while (buf_left(&r) > 0 && !r.bad) {
        const uint8_t kind = buf_get_u8(&r);
        if (kind == PUBLISH_ENTRY_STATE) {
            const uint64_t hash = buf_get_u64(&r);
            p->seen[hash % PUBLISH_SEEN] = (struct publish_seen){hash, now_ms ? now_ms : 1};
        } else {
            (void)buf_get_str(&r);
        }
        (void)buf_get_str(&r);
    }
}

void publish_features_cancel(struct publish *p, struct publish_batch *take_b)
{
    if (take_b == NULL) return;
    buf_clear(&take_b->entries);
    take_b->n = 0;
    (void)pthread_mutex_lock(&p->lock);
    take_b->next = p->pool;
    p->pool = take_b;
    (void)pthread_mutex_unlock(&p->lock);
}

void publish_features_end(struct publish *p, struct publish_batch *take_b)
{
    if (take_b == NULL) return;
    if (take_b->n == 0) {
        publish_features_cancel(p, take_b);
        return;
    }
    mark_seen(p, take_b);
    (void)pthread_mutex_lock(&p->lock);
    if (p->last != NULL)
        p->last->next = take_b;
    else
        p->first = take_b;
    p->last = take_b;
    p->n_batches++;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
}

/* --- uploader's side ---------------------------------------------------------------------------------------------- */

static size_t entry_key(const struct publish *p, struct buf_reader *r, char key[KEY_MAX])
{
    switch (buf_get_u8(r)) {
    case PUBLISH_ENTRY_USER: return key_user(key, p->model, buf_get_str(r));
    case PUBLISH_ENTRY_ITEM: return key_item(key, p->model, buf_get_str(r));
    default: return key_state(key, p->model, buf_get_u64(r));
    }
}

/* One transaction: as many entries as go in one flight. */
static enum status upload_some(struct publish *p, struct buf_reader *r, const char *ttl, struct err *e)
{
    char key[KEY_MAX];
    size_t bytes = 0;
    TRY(publish_fence_begin(p, e));
    while (buf_left(r) > 0 && !r->bad && p->fenced < IN_FLIGHT && bytes < IN_FLIGHT_BYTES) {
        const size_t n = entry_key(p, r, key);
        const struct str packed = buf_get_str(r);
        const struct str name = {key, n};
        if (r->bad) break;
        if (packed.n > 0)
            TRY(publish_fence_add(p, e, REDIS_ARGS(STR("SET"), name, packed, STR("EX"), str_from(ttl))));
        else
            TRY(publish_fence_add(p, e, REDIS_ARGS(STR("DEL"), name)));
        bytes += packed.n;
    }
    return publish_fence_end(p, NULL, e);
}

enum status publish_upload_batch(struct publish *p, const struct publish_batch *b, struct err *e)
{
    struct buf_reader r = buf_reader(b->entries.p, b->entries.n);
    char ttl[24];
    (void)snprintf(ttl, sizeof ttl, "%lld", (long long)p->ttl_s);
    while (buf_left(&r) > 0 && !r.bad) TRY(upload_some(p, &r, ttl, e));
    redis_clear(p->redis);
    return STATUS_OK;
}

/* --- metrics ------------------------------------------------------------------------------------------------------ */

enum status publish_metrics(struct publish *p, const struct publish_metric *fields, size_t n,
                            const struct publish_info *info, size_t n_info, struct err *e)
{
    if (p == NULL) return STATUS_OK;
    if (n > PUBLISH_METRICS_MAX || n_info > PUBLISH_INFO_MAX)
        return ERR_SET(e, STATUS_FULL, "metrics: %zu figures and %zu texts, more than %d and %d", n, n_info,
                       PUBLISH_METRICS_MAX, PUBLISH_INFO_MAX);
    (void)pthread_mutex_lock(&p->lock);
    struct publish_metrics_job *m = &p->metrics;
    buf_clear(&m->text);
    for (size_t i = 0; i < n; i++) {
        buf_put(&m->text, fields[i].name, strlen(fields[i].name) + 1);
        m->values[i] = isfinite(fields[i].value) ? fields[i].value : 0;
    }
    for (size_t i = 0; i < n_info; i++) {
        buf_put(&m->text, info[i].name, strlen(info[i].name) + 1);
        buf_put(&m->text, info[i].value, strlen(info[i].value) + 1);
    }
    m->n = n;
    m->n_info = n_info;
    const enum status st = buf_status(&m->text, e);
    m->full = st == STATUS_OK;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    return st;
}

/* Two NUL-terminated texts, one after the other, as publish_metrics wrote them. */
static const char *next_text(const char **at)
{
    const char *s = *at;
    *at += strlen(s) + 1;
    return s;
}

static const char *const freshness[] = {"freshness_p50_ms", "freshness_p99_ms"};

/* What scorers wrote, so that every entry of the series has every field. */
static enum status read_freshness(struct publish *p, char out[2][32], struct err *e)
{
    char key[KEY_MAX];
    const struct redis_reply *reply;
    (void)key_metrics(key, p->model);
    TRY(redis_call(p->redis, e, &reply,
                   REDIS_ARGS(STR("HMGET"), str_from(key), str_from(freshness[0]), str_from(freshness[1]))));
    for (size_t i = 0; i < 2; i++) {
        const bool there = reply->n == 2 && reply->items[i].kind == REDIS_TEXT;
        (void)snprintf(out[i], 32, STR_FMT, there ? (int)reply->items[i].text.n : 1,
                       there ? reply->items[i].text.p : "0");
    }
    return STATUS_OK;
}

/* Counts and times exactly, shares as short as they say themselves. */
static void write_number(char out[32], double value)
{
    if (fabs(value) < 9e15 && value == floor(value))
        (void)snprintf(out, 32, "%.0f", value);
    else
        (void)snprintf(out, 32, "%.10g", value);
}

/* What a metrics job becomes on the wire; words point into the job and in here. */
struct metrics_words {
    struct str pairs[2 * (PUBLISH_METRICS_MAX + 2)];
    size_t n; /* words of our own fields; the scorers' two come after them */
    char values[PUBLISH_METRICS_MAX][32], fresh[2][32];
    const char *info; /* where the job's texts go on */
};

static void make_words(struct metrics_words *w, const struct publish_metrics_job *m)
{
    const char *at = (const char *)m->text.p;
    w->n = 0;
    for (size_t i = 0; i < m->n; i++) {
        write_number(w->values[i], m->values[i]);
        w->pairs[w->n++] = str_from(next_text(&at));
        w->pairs[w->n++] = str_from(w->values[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        w->pairs[w->n + 2 * i] = str_from(freshness[i]);
        w->pairs[w->n + 2 * i + 1] = str_from(w->fresh[i]);
    }
    w->info = at;
}

#define WORDS_MAX (2 * (PUBLISH_METRICS_MAX + 2) + 8)
static enum status add_words(struct publish *p, struct err *e, const struct str *head, size_t n_head,
                             const struct str *words, size_t n)
{
    struct str all[WORDS_MAX];
    memcpy(all, head, n_head * sizeof *all);
    memcpy(all + n_head, words, n * sizeof *all);
    return publish_fence_add(p, e, all, n_head + n);
}

static enum status add_info(struct publish *p, const struct publish_metrics_job *m, const char *at, struct err *e)
{
    char key[KEY_MAX];
    struct str words[2 * PUBLISH_INFO_MAX];
    if (m->n_info == 0) return STATUS_OK;
    (void)key_info(key, p->model);
    for (size_t i = 0; i < 2 * m->n_info; i++) words[i] = str_from(next_text(&at));
    return add_words(p, e, REDIS_ARGS(STR("HSET"), str_from(key)), words, 2 * m->n_info);
}

enum status publish_upload_metrics(struct publish *p, const struct publish_metrics_job *m, struct err *e)
{
    struct metrics_words w;
    char hash[KEY_MAX], series[KEY_MAX];
    (void)key_metrics(hash, p->model);
    (void)key_metrics_ts(series, p->model);
    TRY(read_freshness(p, w.fresh, e));
    make_words(&w, m);
    TRY(publish_fence_begin(p, e));
    if (w.n > 0) TRY(add_words(p, e, REDIS_ARGS(STR("HSET"), str_from(hash)), w.pairs, w.n));
    for (size_t i = 0; i < 2; i++) /* the scorers' to change, there from the start */
        TRY(publish_fence_add(p, e, REDIS_ARGS(STR("HSETNX"), str_from(hash), str_from(freshness[i]), STR("0"))));
    TRY(add_words(p, e, REDIS_ARGS(STR("XADD"), str_from(series), STR("MAXLEN"), STR("~"), STR(SERIES_MAX), STR("*")),
                  w.pairs, w.n + 4));
    TRY(add_info(p, m, w.info, e));
    const enum status st = publish_fence_end(p, NULL, e);
    redis_clear(p->redis);
    return st;
}
