/* reject_topic.c - see reject_topic.h. */
#include "ingest/reject_topic.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/reject_headers.h"
#include "ingest/reject_places.h"
#include "ingest/source_kafka_letters.h"
#include "ingest/source_kafka_producer.h"
#include <stdio.h>

#define FLUSH_MS 2000
#define OUR_HEADERS 11

struct reject_topic {
    struct source_producer *producer;
    char connector[128];
    uint64_t end;  /* as the last sync or the start left it */
    uint64_t from; /* where the letters of `sent` begin */
    struct reject_places sent,
        met; /* sent by an earlier run after the checkpoint that we begin with; those refused again */
    struct arena arena; /* of one letter */
};

static enum status remember(void *user, const struct reject_letter *letter, struct err *e)
{
    struct reject_topic *t = user;
    if (letter->raw.topic.p == NULL) return STATUS_OK; /* somebody else's message */
    return reject_places_add(&t->sent, reject_place(letter->raw.topic, letter->at.partition, letter->at.offset), e);
}

static enum status read_back(struct reject_topic *t, const struct conf *c, const char *topic,
                             struct reject_topic_start start, struct err *e)
{
    uint64_t first, next;
    struct err why;
    TRY(source_producer_bounds(t->producer, &first, &next, e));
    t->end = next;
    if (!start.known) return STATUS_OK;
    t->from = start.end <= next ? start.end : first;
    const enum status st = source_letters_read(c, topic, 0, t->from, remember, t, &why);
    if (st == STATUS_OOM) return ERR_SET(e, st, "%s", why.text);
    if (st != STATUS_OK)
        log_warn("dead_letters",
                 "text=\"letters since the checkpoint can't be read back; some may be there twice\" reason=\"%s\"",
                 why.text);
    if (t->sent.n > 0)
        log_info("dead_letters", "topic=%s sent_before=%zu from_offset=%llu", topic, t->sent.n,
                 (unsigned long long)t->from);
    return STATUS_OK;
}

enum status reject_topic_open(struct reject_topic **out, const struct conf *c, const char *topic,
                              struct reject_topic_start start, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    struct reject_topic *t = mem_calloc(1, sizeof *t);
    if (t == NULL) return ERR_SET(e, STATUS_OOM, "dead letters: no memory for their topic");
    arena_init(&t->arena, 4096);
    (void)snprintf(t->connector, sizeof t->connector, "freshet-%.100s", c->model_name);
    TRY_OUT(st, source_producer_open_letters(&t->producer, c, topic, e));
    TRY_OUT(st, read_back(t, c, topic, start, e));
    *out = t;
    t = NULL;
out:
    reject_topic_close(t);
    return st;
}

void reject_topic_close(struct reject_topic *t)
{
    if (t == NULL) return;
    source_producer_close(t->producer);
    reject_places_fini(&t->sent);
    reject_places_fini(&t->met);
    arena_fini(&t->arena);
    mem_free(t);
}

/* The message's own headers, as they were; what can't be told from JSON any more is left out with a word. */
static enum status own_headers(struct reject_topic *t, const struct source_record *rec,
                               struct source_producer_header *out, size_t *n, struct err *e)
{
    struct reject_header list[REJECT_HEADERS_MAX];
    struct err why;
    size_t n_list;
    const enum status st = reject_headers_get(list, REJECT_HEADERS_MAX, &n_list, rec->raw.headers, &t->arena, &why);
    if (st == STATUS_OOM) return ERR_SET(e, st, "%s", why.text);
    if (st != STATUS_OK) log_limited(LOG_WARN, "dead_letters", "text=\"headers left out\" reason=\"%s\"", why.text);
    for (size_t i = 0; i < n_list; i++) out[(*n)++] = (struct source_producer_header){list[i].name.p, list[i].value};
    return STATUS_OK;
}

static enum status send(struct reject_topic *t, const struct source_record *rec, const char *stage, struct err *e)
{
    struct source_producer_header headers[REJECT_HEADERS_MAX + OUR_HEADERS];
    const struct reject_where at = reject_where(rec);
    const char *reason = reject_name(rec->reject.code);
    char partition[16], offset[24], class[32], exception[64];
    size_t n = 0;
    TRY(own_headers(t, rec, headers, &n, e));
    (void)snprintf(partition, sizeof partition, "%u", at.partition);
    (void)snprintf(offset, sizeof offset, "%llu", (unsigned long long)at.offset);
    (void)snprintf(class, sizeof class, "freshet.%.20s", stage);
    (void)snprintf(exception, sizeof exception, "freshet.reject.%.40s", reason);
    const struct source_producer_header ours[] = {
        {"__connect.errors.topic", rec->raw.topic},
        {"__connect.errors.partition", str_from(partition)},
        {"__connect.errors.offset", str_from(offset)},
        {"__connect.errors.connector.name", str_from(t->connector)},
        {"__connect.errors.task.id", STR("0")},
        {"__connect.errors.stage", str_from(stage)},
        {"__connect.errors.class.name", str_from(class)},
        {"__connect.errors.exception.class.name", str_from(exception)},
        {"__connect.errors.exception.message", str_from(rec->reject.text)},
        {"freshet.reason", str_from(reason)},
    };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) headers[n++] = ours[i];
    return source_producer_send_at(t->producer, rec->raw.key, rec->raw.value, rec->raw.time_ms, headers, n, e);
}

enum status reject_topic_write(struct reject_topic *t, const struct source_record *rec, const char *stage,
                               struct err *e)
{
    const struct reject_where at = reject_where(rec);
    const uint64_t place = t->sent.n > 0 ? reject_place(rec->raw.topic, at.partition, at.offset) : 0;
    if (reject_places_has(&t->sent, place)) return reject_places_add(&t->met, place, e);
    arena_reset(&t->arena);
    TRY(send(t, rec, stage, e));
    if (!source_producer_filled(t->producer)) return STATUS_OK;
    return ERR_SET(e, STATUS_FULL, "dead letters: too many wait for the brokers to acknowledge them");
}

enum status reject_topic_sync(struct reject_topic *t, uint64_t *end, struct err *e)
{
    TRY(source_producer_flush(t->producer, FLUSH_MS, e));
    const uint64_t newest = source_producer_end(t->producer);
    if (newest > t->end) t->end = newest;
    if (t->sent.n > 0 && t->met.n == t->sent.n) {
        reject_places_fini(&t->sent);
        reject_places_fini(&t->met);
    }
    *end = t->sent.n > 0 ? t->from : t->end; /* those not met again yet lie behind this checkpoint too */
    return STATUS_OK;
}
