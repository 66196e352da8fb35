/* score_served.c - answers as given, into the stream fr:m:served, from a thread of their own.
 *
 * Entries come from a fixed set with room for a usual answer, so a request allocates nothing here.  When none is free, or
 * Redis is away, the answer is not logged, and counted.
 */
#include "base/log.h"
#include "base/mem.h"
#include "schemas/conf_live.h"
#include "schemas/event_json.h"
#include "schemas/key.h"
#include "serving/score_private.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_MAX 24
#define TEXT_BYTES 4096 /* room of an entry from the start: some forty items */
#define IN_FLIGHT 64

enum status score_served_open(struct score *s, struct err *e)
{
    s->entries = mem_calloc(SCORE_SERVED_QUEUE, sizeof *s->entries);
    if (s->entries == NULL) return ERR_SET(e, STATUS_OOM, "scorer: no memory for the log of answers");
    TRY(queue_new(&s->served, SCORE_SERVED_QUEUE + 1, e));
    TRY(queue_new(&s->spare, SCORE_SERVED_QUEUE + 1, e));
    for (size_t i = 0; i < SCORE_SERVED_QUEUE; i++) {
        struct score_served *x = &s->entries[i];
        if (buf_room(&x->text, TEXT_BYTES) == NULL)
            return ERR_SET(e, STATUS_OOM, "scorer: no memory for the log of answers");
        TRY(queue_push_for(s->spare, x, 0));
    }
    return redis_open(&s->served_redis, s->conf, s->clock, e);
}

void score_served_close(struct score *s)
{
    for (size_t i = 0; s->entries != NULL && i < SCORE_SERVED_QUEUE; i++) buf_fini(&s->entries[i].text);
    queue_free(s->served);
    queue_free(s->spare);
    redis_close(s->served_redis);
    mem_free(s->entries);
}

/* --- a request's side --------------------------------------------------------------------------------------------- */

static void add_text(struct score_served *x, const char *name, struct str value)
{
    buf_put(&x->text, name, strlen(name) + 1);
    buf_put(&x->text, value.p ? value.p : "", value.n);
    buf_u8(&x->text, 0);
    x->n++;
}

static void add_u64(struct score_served *x, const char *name, uint64_t value, const char *format)
{
    char text[32];
    (void)snprintf(text, sizeof text, format, value);
    add_text(x, name, str_from(text));
}

/* [{"item","score","logit","known","parts":[…]}…]: ids hold no NUL, so neither does the text. */
static void add_items(struct score_served *x, const struct score_hand *h, const struct score_answer *a)
{
    buf_put(&x->text, "items", 6);
    buf_u8(&x->text, '[');
    for (uint32_t i = 0; i < a->n && i < SCORE_SERVED_ITEMS; i++) {
        const struct score_ranked *r = &a->items[i];
        buf_printf(&x->text, i ? ",{\"item\":" : "{\"item\":");
        event_json_string(&x->text, h->request.items[r->index].id);
        buf_printf(&x->text, ",\"score\":%.9g,\"logit\":%.9g,\"parts\":[", (double)r->score, (double)r->logit);
        for (uint32_t p = 0; p < a->n_parts; p++)
            buf_printf(&x->text, p ? ",%.9g" : "%.9g",
                       (double)a->part_logits[(size_t)p * h->request.n_items + r->index]);
        buf_printf(&x->text, "]}");
    }
    buf_put(&x->text, "]", 2); /* with its NUL */
    x->n++;
}

void score_served_put(struct score_hand *h, const struct score_answer *a)
{
    struct score *s = h->s;
    void *free_one = NULL;
    if (conf_now(&s->conf->serving_served_max) == 0) return;
    if (queue_pop_for(s->spare, &free_one, 0) != STATUS_OK) {
        metric_add(s->metric, METRIC_SERVED_DROPPED, 1);
        return;
    }
    struct score_served *x = free_one;
    buf_clear(&x->text);
    x->n = 0;
    add_text(x, "request", str_from(a->request));
    add_text(x, "user", h->request.user);
    add_u64(x, "version", a->version->manifest.version, "%" PRIu64);
    add_text(x, "sha256", str_from(a->version->manifest.sha256));
    add_u64(x, "time_ms", (uint64_t)a->time_ms, "%" PRIu64);
    add_u64(x, "features", a->features, "%016" PRIx64);
    add_u64(x, "candidates", h->request.n_items, "%" PRIu64);
    add_u64(x, "degraded", a->degraded, "%" PRIu64);
    add_items(x, h, a);
    if (x->text.oom || queue_push_for(s->served, x, 0) != STATUS_OK) {
        metric_add(s->metric, METRIC_SERVED_DROPPED, 1);
        if (queue_push_for(s->spare, x, 0) != STATUS_OK) return; /* both are closed: the scorer is closing */
    }
}

/* --- the logger --------------------------------------------------------------------------------------------------- */

static enum status append(struct score *s, const struct score_served *x, struct err *e)
{
    char key[KEY_MAX], most[24];
    struct str args[FIELDS_MAX + 6];
    const char *at = (const char *)x->text.p;
    size_t n = 0;
    (void)key_served(key, s->conf->model_name);
    (void)snprintf(most, sizeof most, "%lld", (long long)conf_now(&s->conf->serving_served_max));
    args[n++] = STR("XADD"), args[n++] = str_from(key), args[n++] = STR("MAXLEN"), args[n++] = STR("~");
    args[n++] = str_from(most), args[n++] = STR("*");
    for (size_t i = 0; i < 2 * x->n && n < FIELDS_MAX + 6; i++) {
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
