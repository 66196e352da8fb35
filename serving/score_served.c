/* score_served.c - answers as given, into the stream fr:m:served, from a thread of their own.
 *
 * Entries come from a fixed set with room for a usual answer, so a request allocates nothing here.  When none is free, or
 * Redis is away, the answer is not logged, and counted.
 */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "schemas/conf_live.h"
#include "schemas/event_json.h"
#include "schemas/key.h"
#include "serving/score_private.h"
#include "serving/score_text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_MAX 24
#define PACK_BYTES 4096 /* room of an entry from the start: a hundred items */
#define IN_FLIGHT 64

enum status score_served_open(struct score *s, struct err *e)
{
    s->entries = mem_calloc(SCORE_SERVED_QUEUE, sizeof *s->entries);
    if (s->entries == NULL) return ERR_SET(e, STATUS_OOM, "scorer: no memory for the log of answers");
    TRY(queue_new(&s->served, SCORE_SERVED_QUEUE + 1, e));
    TRY(queue_new(&s->spare, SCORE_SERVED_QUEUE + 1, e));
    for (size_t i = 0; i < SCORE_SERVED_QUEUE; i++) {
        struct score_served *x = &s->entries[i];
        if (buf_room(&x->pack, PACK_BYTES) == NULL)
            return ERR_SET(e, STATUS_OOM, "scorer: no memory for the log of answers");
        TRY(queue_push_for(s->spare, x, 0));
    }
    if (buf_room(&s->served_text, 4 * PACK_BYTES) == NULL)
        return ERR_SET(e, STATUS_OOM, "scorer: no memory for the log of answers");
    return redis_open(&s->served_redis, s->conf, s->clock, e);
}

void score_served_close(struct score *s)
{
    for (size_t i = 0; s->entries != NULL && i < SCORE_SERVED_QUEUE; i++) buf_fini(&s->entries[i].pack);
    queue_free(s->served);
    queue_free(s->spare);
    redis_close(s->served_redis);
    buf_fini(&s->served_text);
    mem_free(s->entries);
}

/* --- a request's side --------------------------------------------------------------------------------------------- */

/* Packed as it is; made into text by the logger, off the request's path. */
static void pack(struct buf *b, const struct score_hand *h, const struct score_answer *a, bool shadow)
{
    const struct publish_manifest *m = &a->version->manifest;
    const uint32_t n = a->n < SCORE_SERVED_ITEMS ? a->n : SCORE_SERVED_ITEMS;
    buf_clear(b);
    buf_str(b, str_from(a->request));
    buf_str(b, h->request.user);
    buf_varint(b, m->version);
    buf_str(b, str_from(m->sha256));
    buf_varint(b, (uint64_t)a->time_ms);
    buf_u64(b, hash_bytes(a->features, h->request.n_items * sizeof *a->features));
    buf_varint(b, h->request.n_items);
    buf_u8(b, a->degraded);
    buf_str(b, str_from(h->line->name));
    buf_u8(b, shadow);
    buf_u8(b, a->explored);
    buf_varint(b, n);
    buf_varint(b, a->n_parts);
    for (uint32_t i = 0; i < n; i++) {
        const struct score_ranked *r = &a->items[i];
        buf_str(b, h->request.items[r->index].id);
        buf_f32(b, r->score);
        buf_f32(b, r->logit);
        buf_f32(b, r->propensity);
        buf_u32(b, a->features[r->index]);
        for (uint32_t p = 0; p < a->n_parts; p++) buf_f32(b, a->part_logits[(size_t)p * h->request.n_items + r->index]);
    }
}

void score_served_put(struct score_hand *h, const struct score_answer *a, bool shadow)
{
    struct score *s = h->s;
    void *free_one = NULL;
    if (conf_now(&s->conf->serving_served_max) == 0) return;
    if (queue_pop_for(s->spare, &free_one, 0) != STATUS_OK) {
        metric_add(s->metric, METRIC_SERVED_DROPPED, 1);
        return;
    }
    struct score_served *x = free_one;
    pack(&x->pack, h, a, shadow);
    if (x->pack.oom || queue_push_for(s->served, x, 0) != STATUS_OK) {
        metric_add(s->metric, METRIC_SERVED_DROPPED, 1);
        if (queue_push_for(s->spare, x, 0) != STATUS_OK) return; /* both are closed: the scorer is closing */
    }
}

/* --- the logger --------------------------------------------------------------------------------------------------- */

/* Fields as text, name and value one after the other, a NUL after each: ids hold none. */
struct fields {
    struct buf *text;
    size_t n;
};

static void add_text(struct fields *f, const char *name, struct str value)
{
    buf_put(f->text, name, strlen(name) + 1);
    buf_put(f->text, value.p ? value.p : "", value.n);
    buf_u8(f->text, 0);
    f->n++;
}

static void add_u64(struct fields *f, const char *name, uint64_t value, const char *format)
{
    char text[32];
    (void)snprintf(text, sizeof text, format, value);
    add_text(f, name, str_from(text));
}

/* [{"item","score","logit","features","parts":[…]}…] */
static void add_items(struct fields *f, struct buf_reader *r)
{
    struct buf *b = f->text;
    const uint64_t n = buf_get_varint(r), n_parts = buf_get_varint(r);
    buf_put(b, "items", 6);
    for (uint64_t i = 0; i < n; i++) {
        score_text_put(b, i ? ",{\"item\":" : "[{\"item\":");
        event_json_string(b, buf_get_str(r));
        score_text_put(b, ",\"score\":");
        score_text_float(b, buf_get_f32(r));
        score_text_put(b, ",\"logit\":");
        score_text_float(b, buf_get_f32(r));
        const float propensity = buf_get_f32(r);
        if (propensity > 0.0f) {
            score_text_put(b, ",\"propensity\":");
            score_text_float(b, propensity);
        }
        buf_printf(b, ",\"features\":\"%08" PRIx32 "\"", buf_get_u32(r));
        for (uint64_t p = 0; p < n_parts; p++) {
            score_text_put(b, p ? "," : ",\"parts\":[");
            score_text_float(b, buf_get_f32(r));
        }
        score_text_put(b, n_parts ? "]}" : ",\"parts\":[]}");
    }
    buf_put(b, "]", 2); /* with its NUL */
    f->n++;
}

static struct fields unpack(struct buf *text, const struct score_served *x)
{
    struct fields f = {text, 0};
    struct buf_reader r = buf_reader(x->pack.p, x->pack.n);
    buf_clear(text);
    add_text(&f, "request", buf_get_str(&r));
    add_text(&f, "user", buf_get_str(&r));
    add_u64(&f, "version", buf_get_varint(&r), "%" PRIu64);
    add_text(&f, "sha256", buf_get_str(&r));
    add_u64(&f, "time_ms", buf_get_varint(&r), "%" PRIu64);
    add_u64(&f, "features", buf_get_u64(&r), "%016" PRIx64);
    add_u64(&f, "candidates", buf_get_varint(&r), "%" PRIu64);
    add_u64(&f, "degraded", buf_get_u8(&r), "%" PRIu64);
    add_text(&f, "variant", buf_get_str(&r));
    add_u64(&f, "shadow", buf_get_u8(&r), "%" PRIu64);
    add_u64(&f, "explored", buf_get_u8(&r), "%" PRIu64);
    add_items(&f, &r);
    return f;
}

static enum status append(struct score *s, const struct score_served *x, struct err *e)
{
    char key[KEY_MAX], most[24];
    struct str args[FIELDS_MAX + 6];
    const struct fields f = unpack(&s->served_text, x);
    TRY(buf_status(f.text, e));
    const char *at = (const char *)f.text->p;
    size_t n = 0;
    (void)key_served(key, s->conf->model_name);
    (void)snprintf(most, sizeof most, "%lld", (long long)conf_now(&s->conf->serving_served_max));
    args[n++] = STR("XADD"), args[n++] = str_from(key), args[n++] = STR("MAXLEN"), args[n++] = STR("~");
    args[n++] = str_from(most), args[n++] = STR("*");
    for (size_t i = 0; i < 2 * f.n && n < FIELDS_MAX + 6; i++) {
        args[n++] = str_from(at);
        at += strlen(at) + 1;
    }
    return redis_append(s->served_redis, e, args, n);
}

/* What waits, up to IN_FLIGHT answers, in one round trip. */
static void log_some(struct score *s, struct score_served *first)
{
    struct score_served *some[IN_FLIGHT];
    const struct redis_reply *reply;
    void *more;
    struct err e = {0};
    size_t n = 1, written = 0;
    some[0] = first;
    while (n < IN_FLIGHT && queue_pop_for(s->served, &more, 0) == STATUS_OK) some[n++] = more;
    enum status st = STATUS_OK;
    redis_clear(s->served_redis);
    for (size_t i = 0; i < n && st == STATUS_OK; i++) st = append(s, some[i], &e);
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        st = redis_get(s->served_redis, &e, &reply);
        written += st == STATUS_OK;
    }
    redis_clear(s->served_redis);
    if (st != STATUS_OK) log_limited(LOG_WARN, "served", "%s", e.text);
    metric_add(s->metric, METRIC_SERVED_DROPPED, n - written);
    for (size_t i = 0; i < n; i++)
        if (queue_push_for(s->spare, some[i], 0) != STATUS_OK) return; /* closing */
}

static void *logger(void *arg)
{
    struct score *s = arg;
    void *x;
    while (queue_pop(s->served, &x) == STATUS_OK) log_some(s, x);
    return NULL;
}

enum status score_served_start(struct score *s, struct err *e)
{
    if (pthread_create(&s->logger, NULL, logger, s) != 0)
        return ERR_SET(e, STATUS_OOM, "scorer: no thread can be started");
    s->logging = true;
    return STATUS_OK;
}

void score_served_stop(struct score *s)
{
    if (!s->logging) return;
    queue_close(s->served); /* what waits is written still */
    (void)pthread_join(s->logger, NULL);
    s->logging = false;
}
