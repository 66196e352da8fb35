/* source_kafka_read.c - messages of the partitions, in turn, become records; faults are waited out.
 *
 * Only calls that take one message are used (the batch calls of librdkafka 2.0 may give messages twice), and every offset is
 * judged when its message is taken out of its queue.  A head is parsed once, into the batch under way: its event's time says
 * when its turn comes.  Should that be in a later batch it is parsed again.
 */
#include "base/log.h"
#include "ingest/source_kafka.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <string.h>

static struct source_kafka_part *part_of(struct source_kafka *s, const rd_kafka_message_t *m)
{
    return m->rkt != NULL ? source_kafka_part_of(s, rd_kafka_topic_name(m->rkt), m->partition) : NULL;
}

/* p begins anew where it should be: asked of the brokers when its place itself is in doubt. */
static enum status place_again(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    const enum status st = source_kafka_place(s, p, e);
    if (st == STATUS_AGAIN) p->doubtful = true; /* the message that comes next asks again */
    if (st != STATUS_OK && st != STATUS_AGAIN) return st;
    return source_kafka_reposition(s, e);
}

static enum status replaced(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    uint64_t low = 0;
    const enum status st = source_kafka_ends(s, p, &low, e);
    if (st == STATUS_OK)
        TRY(source_kafka_missing(s, p, low,
                                 "the record before it is not the one that was learnt: the topic was made anew", e));
    else
        p->doubtful = true;
    return source_kafka_reposition(s, e);
}

static enum status take_end(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    if (p == NULL || !p->owned) return STATUS_OK;
    if (p->doubtful) return place_again(s, p, e);
    p->verify = p->awaited = false; /* verify: it is gone by compaction */
    if (!p->at_end) p->end_us = s->clock->mono_us(s->clock);
    p->at_end = true;
    source_kafka_answered(s);
    return STATUS_OK;
}

static enum status fatal(struct source_kafka *s, struct err *e)
{
    char why[256] = "";
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(s->rk, why, sizeof why);
    if (code != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) return ERR_SET(e, STATUS_IO, "kafka: %s", why);
    const char *id = source_kafka_get(s->conf, "group.instance.id");
    return ERR_SET(
        e, STATUS_CONFLICT,
        "kafka: another process joined the group as kafka.group.instance.id=%s%s, so this one is fenced and stops; one "
        "learner per model: stop the other, or give it another model.name",
        id != NULL ? id : "freshet-", id != NULL ? "" : s->conf->model_name);
}

/* Its topic is away: whatever answers to the name later is looked at. */
static void topic_gone(struct source_kafka *s, const rd_kafka_message_t *m)
{
    const char *name = m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "";
    for (size_t i = 0; i < s->n_parts; i++)
        if (strcmp(s->topics[s->parts[i].topic].name, name) == 0) s->parts[i].doubtful = true;
}

/* What its own sentence leaves open. */
static const char *hint(rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL)
        return "; another member has another kafka.partition.assignment.strategy: stop it, or set its strategy or "
               "another kafka.group.id";
    return "";
}

/* Faults that pass are logged and waited out; those that don't stop the source. */
static enum status take_fault(struct source_kafka *s, const rd_kafka_message_t *m, struct err *e)
{
    struct source_kafka_part *p = part_of(s, m);
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF: return take_end(s, p, e);
    case RD_KAFKA_RESP_ERR__FATAL: return fatal(s, e);
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return p != NULL && p->owned ? place_again(s, p, e) : STATUS_OK;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: topic_gone(s, m); break;
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        if (!s->joined_once)
            return ERR_SET(e, STATUS_IO,
                           "kafka: this user may not join the group (%s); let it read the group, or set "
                           "ingest.membership=assign",
                           rd_kafka_message_errstr(m));
        break;
    default: break;
    }
    source_kafka_trouble(s, "%s%s%s%s", m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "", m->rkt != NULL ? ": " : "",
                         rd_kafka_message_errstr(m), hint(m->err));
    log_limited(LOG_WARN, "kafka.read", "topic=%s code=%s reason=\"%s%s\"",
                m->rkt != NULL ? rd_kafka_topic_name(m->rkt) : "", rd_kafka_err2name(m->err),
                rd_kafka_message_errstr(m), hint(m->err));
    return STATUS_OK;
}

/* ---- heads ---- */

/* What came out of a partition's queue: a head, or dealt with at once. */
static enum status take_message(struct source_kafka *s, struct source_kafka_part *p, rd_kafka_message_t **take_m,
                                struct source_batch *b, struct err *e)
{
    rd_kafka_message_t *m = *take_m;
    if (m->offset < 0) return STATUS_OK;
    switch (source_kafka_judge(s, p, (uint64_t)m->offset, p->verify ? source_kafka_mark(m) : 0)) {
    case SOURCE_KAFKA_DROP: return STATUS_OK;
    case SOURCE_KAFKA_AGAIN: return p->doubtful ? place_again(s, p, e) : source_kafka_reposition(s, e);
    case SOURCE_KAFKA_REPLACED: return replaced(s, p, e);
    case SOURCE_KAFKA_GIVE_OUT: break;
    }
    TRY(source_kafka_record(s, m, p, &b->arena, &p->record, e));
    p->read = s->reads;
    if (p->record.kind == SOURCE_EVENT) source_kafka_advance(s, p, p->record.event.time_ms);
    p->at_end = p->told_idle = p->awaited = false;
    p->wait_us = 0;
    p->head = m;
    *take_m = NULL;
    source_kafka_answered(s);
    return STATUS_OK;
}

/* Until p has a head or nothing is there.  A fault may move any partition. */
static enum status find_head(struct source_kafka *s, struct source_kafka_part *p, struct source_batch *b, struct err *e)
{
    while (p->owned && !p->leaving && p->head == NULL) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(p->queue, 0);
        source_kafka_taken(s, p, m);
        if (m == NULL) return STATUS_OK;
        const enum status st =
            m->err != RD_KAFKA_RESP_ERR_NO_ERROR ? take_fault(s, m, e) : take_message(s, p, &m, b, e);
        if (m != NULL) rd_kafka_message_destroy(m);
        TRY(st);
    }
    return STATUS_OK;
}

static enum status find_heads(struct source_kafka *s, struct source_batch *b, struct err *e)
{
    while (atomic_exchange(&s->filled, false)) {
        for (size_t i = 0; i < s->n_parts; i++) TRY(find_head(s, &s->parts[i], b, e));
        TRY(source_kafka_order(s, e));
    }
    return STATUS_OK;
}

static enum status give_out(struct source_kafka *s, struct source_kafka_part *p, struct source_batch *b, struct err *e)
{
    struct source_record *rec = &b->records[b->n];
    if (p->read == s->reads)
        *rec = p->record;
    else
        TRY(source_kafka_record(s, p->head, p, &b->arena, rec, e));
    p->next = rec->at.offset + 1;
    p->mark = rec->mark;
    b->n++;
    rd_kafka_message_destroy(p->head);
    p->head = NULL;
    TRY(find_head(s, p, b, e));
    if (p->head == NULL) p->awaited = source_kafka_behind(s, p);
    source_kafka_reorder_first(s);
    return STATUS_OK;
}

/* ---- waiting ---- */

/* p is first in turn and has nothing: how long it may still hold the others back, in ms.  0: it is given up until something
 * comes of it. */
static int64_t may_wait_ms(struct source_kafka *s, struct source_kafka_part *p)
{
    const int64_t now_us = s->clock->mono_us(s->clock);
    if (p->wait_us == 0) p->wait_us = now_us;
    const int64_t left_ms = s->conf->ingest_align_ms - (now_us - p->wait_us) / 1000;
    if (left_ms > 0) return left_ms;
    p->awaited = false;
    p->wait_us = 0;
    source_kafka_reorder_first(s);
    if (s->conf->ingest_align_ms == 0) return 0; /* as told */
    (void)pthread_mutex_lock(&s->lock);
    s->health.unaligned++;
    (void)pthread_mutex_unlock(&s->lock);
    log_limited(
        LOG_WARN, "kafka.align",
        "topic=%s partition=%u waited_ms=%lld hint=\"nothing comes of it, though it has more: the others go on\"",
        s->topics[p->topic].name, p->partition, (long long)s->conf->ingest_align_ms);
    return 0;
}

/* Of the queue that all partitions have together.  A message there came before its partition had a queue. */
static enum status take_event(struct source_kafka *s, rd_kafka_message_t *m, struct err *e)
{
    const enum status st = m->err != RD_KAFKA_RESP_ERR_NO_ERROR ? take_fault(s, m, e) : source_kafka_reposition(s, e);
    rd_kafka_message_destroy(m);
    return st;
}

enum status source_kafka_serve(struct source_kafka *s, int *wait_ms, struct err *e)
{
    struct clock *system = clock_system(); /* tests hold the other one still */
    const int64_t end_us = system->mono_us(system) + *wait_ms * 1000ll;
    do { /* partitions that were filled before may end a wait early */
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->rk, *wait_ms);
        *wait_ms = m != NULL ? 0 : (int)((end_us - system->mono_us(system) + 999) / 1000);
        if (m != NULL) return take_event(s, m, e); /* a fault told once is enough waiting */
    } while (*wait_ms > 0 && !atomic_load(&s->filled) && s->change == SOURCE_KAFKA_STEADY && !s->telling);
    return STATUS_OK;
}

/* Until something comes, but not longer than the one that is waited for may hold the others back. */
static enum status wait_for_more(struct source_kafka *s, int64_t most_ms, int *wait_ms, struct err *e)
{
    int slice_ms = *wait_ms < most_ms ? *wait_ms : (int)most_ms;
    const int rest_ms = *wait_ms - slice_ms;
    source_kafka_wake(s);
    TRY(source_kafka_serve(s, &slice_ms, e));
    *wait_ms = rest_ms + (slice_ms > 0 ? slice_ms : 0);
    return STATUS_OK;
}

enum status source_kafka_read(struct source_kafka *s, struct source_batch *b, int wait_ms, struct err *e)
{
    int none = 0;
    s->reads++;
    TRY(source_kafka_serve(s, &none, e));
    while (!source_batch_full(b) && s->change == SOURCE_KAFKA_STEADY && !s->telling) {
        int64_t most_ms = wait_ms;
        TRY(find_heads(s, b, e));
        struct source_kafka_part *p = source_kafka_first(s);
        if (p != NULL && p->head != NULL) {
            TRY(give_out(s, p, b, e));
            continue;
        }
        if (p != NULL && (most_ms = may_wait_ms(s, p)) == 0) continue;
        if (b->n > 0 || wait_ms <= 0) break;
        TRY(wait_for_more(s, most_ms, &wait_ms, e));
    }
    return STATUS_OK;
}
