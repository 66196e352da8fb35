/* source_kafka_group.c - partitions that come and go.
 *
 * librdkafka asks through the rebalance callback and then waits until assign or unassign is called, however long that
 * takes: heartbeats go on, and so does polling (its own fetchers are paused meanwhile).  So the callback only notes what is
 * asked.  Partitions that are asked back leave when the learner has made durable what it took from them; those that are
 * lost are gone at once.  Where a partition goes on is told in the assignment, from our state alone.
 *
 * A pause of librdkafka's throws away what was fetched ahead and goes on behind what was taken last; should it not, the guard
 * sees it and the position is set anew.
 */
#include "base/log.h"
#include "base/mem.h"
#include "ingest/source_kafka.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_US = 1000000, SEEK_MS = 5000 };

static bool cooperative(const struct source_kafka *s)
{
    const char *protocol = rd_kafka_rebalance_protocol(s->rk);
    return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0;
}

static struct source_kafka_part *part_of(struct source_kafka *s, const rd_kafka_topic_partition_t *at)
{
    return source_kafka_part_of(s, at->topic, at->partition);
}

static enum status no_memory(const struct source_kafka *s, struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "kafka: no memory for %zu partitions", s->n_parts);
}

static void set_owned(struct source_kafka *s, struct source_kafka_part *p, bool owned)
{
    (void)pthread_mutex_lock(&s->lock);
    p->owned = owned;
    p->leaving = false;
    (void)pthread_mutex_unlock(&s->lock);
}

/* What comes next of each partition follows a pause. */
static void shake(struct source_kafka *s)
{
    for (size_t i = 0; i < s->n_parts; i++) s->parts[i].shaken = s->parts[i].shaken || s->parts[i].owned;
}

/* ---- giving back ---- */

void source_kafka_settle(struct source_kafka *s)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    if (rd_kafka_assignment(s->rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_topic_partition_list_destroy(list);
}

static void unassign(struct source_kafka *s)
{
    source_kafka_settle(s);
    if (!cooperative(s)) {
        const rd_kafka_resp_err_t rc = rd_kafka_assign(s->rk, NULL);
        if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) log_warn("kafka.group", "unassign=\"%s\"", rd_kafka_err2str(rc));
        return;
    }
    rd_kafka_error_t *error = rd_kafka_incremental_unassign(s->rk, s->list);
    if (error != NULL) log_warn("kafka.group", "unassign=\"%s\"", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

static void end_change(struct source_kafka *s)
{
    if (s->list != NULL) rd_kafka_topic_partition_list_destroy(s->list);
    s->list = NULL;
    s->change = SOURCE_KAFKA_STEADY;
    s->waits_for = 0;
    s->lost = false;
}

static void finish_giving(struct source_kafka *s)
{
    unassign(s);
    for (int i = 0; i < s->list->cnt; i++) {
        struct source_kafka_part *p = part_of(s, &s->list->elems[i]);
        if (p != NULL) set_owned(s, p, false);
    }
    log_info("kafka.group", "left=%d %s after_ms=%lld", s->list->cnt, s->lost ? "lost" : "given_back",
             (long long)(s->clock->mono_us(s->clock) - s->change_us) / 1000);
    end_change(s);
}

static bool may_go(struct source_kafka *s)
{
    const int64_t waited_ms = (s->clock->mono_us(s->clock) - s->change_us) / 1000;
    if (s->waits_for != 0 && atomic_load(&s->released) >= s->waits_for) return true;
    if (waited_ms < s->give_ms) return false;
    log_warn("kafka.group",
             "given_back_without_checkpoint=%d waited_ms=%lld hint=\"the learner is slow; raise "
             "kafka.max.poll.interval.ms\"",
             s->list->cnt, (long long)waited_ms);
    return true;
}

static void set_lost(struct source_kafka *s)
{
    s->lost = true;
    for (int i = 0; i < s->list->cnt; i++) {
        struct source_kafka_part *p = part_of(s, &s->list->elems[i]);
        if (p != NULL) set_owned(s, p, false);
    }
    (void)pthread_mutex_lock(&s->lock);
    s->health.lost += (uint64_t)s->list->cnt;
    (void)pthread_mutex_unlock(&s->lock);
    source_kafka_trouble(s, "%d partitions were lost: the group went on without this member", s->list->cnt);
    log_warn("kafka.group", "lost=%d", s->list->cnt);
}

static void begin_giving(struct source_kafka *s)
{
    uint32_t n = 0;
    for (int i = 0; i < s->list->cnt; i++) {
        struct source_kafka_part *p = part_of(s, &s->list->elems[i]);
        if (p == NULL || !p->owned) continue;
        n++;
        p->leaving = true;
        source_kafka_drop_head(s, p);
        source_kafka_tell(s, p, SOURCE_KAFKA_LEFT);
    }
    if (rd_kafka_assignment_lost(s->rk)) set_lost(s);
    if (n == 0 || s->lost || s->closing) finish_giving(s);
}

/* ---- taking ---- */

static enum status assign(struct source_kafka *s, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    for (int i = 0; i < list->cnt; i++) {
        struct source_kafka_part *p = part_of(s, &list->elems[i]);
        if (p != NULL) TRY(source_kafka_split(s, p, e));
    }
    source_kafka_settle(s);
    if (!cooperative(s)) {
        const rd_kafka_resp_err_t rc = rd_kafka_assign(s->rk, list);
        if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
        return ERR_SET(e, STATUS_IO, "kafka: the partitions can't be assigned: %s", rd_kafka_err2str(rc));
    }
    rd_kafka_error_t *error = rd_kafka_incremental_assign(s->rk, list);
    if (error == NULL) return STATUS_OK;
    (void)ERR_SET(e, STATUS_IO, "kafka: the partitions can't be assigned: %s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return STATUS_IO;
}

static enum status place_one(struct source_kafka *s, rd_kafka_topic_partition_t *at, struct err *e)
{
    struct source_kafka_part *p = part_of(s, at);
    for (uint32_t i = 0; p == NULL && i < s->n_topics; i++)
        if (strcmp(s->topics[i].name, at->topic) == 0) TRY(source_kafka_add_part(s, i, (uint32_t)at->partition, &p, e));
    if (p == NULL) return STATUS_OK; /* no topic of ours: can't be */
    TRY(source_kafka_place(s, p, e));
    at->offset = (int64_t)(p->verify ? p->next - 1 : p->next);
    return STATUS_OK;
}

static void take_over(struct source_kafka *s, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct source_kafka_part *p = part_of(s, &list->elems[i]);
        if (p == NULL) continue;
        set_owned(s, p, true);
        source_kafka_tell(s, p, SOURCE_KAFKA_JOINED);
    }
    (void)pthread_mutex_lock(&s->lock);
    s->health.rebalances++;
    (void)pthread_mutex_unlock(&s->lock);
    s->joined_once = true;
}

static enum status subscribe(struct source_kafka *s, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_topics);
    if (list == NULL) return no_memory(s, e);
    for (uint32_t i = 0; i < s->n_topics; i++)
        rd_kafka_topic_partition_list_add(list, s->topics[i].name, RD_KAFKA_PARTITION_UA);
    const rd_kafka_resp_err_t rc = rd_kafka_subscribe(s->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(e, STATUS_IO, "kafka: %s can't be subscribed to: %s", s->conf->ingest_topics, rd_kafka_err2str(rc));
}

/* A static member that comes back is given what it had, whatever topics and partitions there are by now: the group shares
 * out anew only when asked by a member that it knows.  So the first assignment is looked at, and asked for again, once,
 * when it is not all of our partitions and nothing else. */
static enum status ask_again(struct source_kafka *s, const rd_kafka_topic_partition_list_t *list, struct err *e)
{
    const char *id = source_kafka_get(s->conf, "group.instance.id");
    bool all = true;
    if (s->rejoined || (id != NULL && id[0] == 0)) return STATUS_OK;
    s->rejoined = true;
    for (int i = 0; i < list->cnt; i++) all = all && part_of(s, &list->elems[i]) != NULL;
    for (size_t i = 0; i < s->n_parts; i++) all = all && s->parts[i].owned;
    if (all) return STATUS_OK;
    log_info("kafka.group", "asks_again=\"assigned %d of %zu partitions, as before the restart perhaps\"", list->cnt,
             s->n_parts);
    (void)rd_kafka_unsubscribe(s->rk);
    return subscribe(s, e);
}

/* AGAIN: the brokers don't say where; tried again. */
static enum status finish_taking(struct source_kafka *s, struct err *e)
{
    const bool others = cooperative(s);
    for (int i = 0; i < s->list->cnt; i++) TRY(place_one(s, &s->list->elems[i], e));
    shake(s);
    TRY(assign(s, s->list, e));
    take_over(s, s->list);
    log_info("kafka.group", "joined=%d protocol=%s", s->list->cnt, others ? "cooperative" : "eager");
    rd_kafka_topic_partition_list_t *list = s->list;
    s->list = NULL;
    end_change(s);
    const enum status st = ask_again(s, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    return st;
}

/* ---- what librdkafka asks ---- */

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct source_kafka *s = opaque;
    (void)rk;
    end_change(s); /* what was asked before is overtaken */
    s->list = rd_kafka_topic_partition_list_copy(list);
    s->change_us = s->clock->mono_us(s->clock);
    s->retry_us = 0;
    s->change = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? SOURCE_KAFKA_TAKE : SOURCE_KAFKA_GIVE;
    if (s->change == SOURCE_KAFKA_GIVE)
        begin_giving(s);
    else if (s->closing)
        finish_giving(s);
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t rc, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    (void)rk;
    (void)list;
    (void)opaque;
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR && rc != RD_KAFKA_RESP_ERR__NO_OFFSET)
        log_limited(LOG_WARN, "kafka.commit", "reason=\"%s\"", rd_kafka_err2str(rc));
}

void source_kafka_group_conf(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
}

enum status source_kafka_group_serve(struct source_kafka *s, struct err *e)
{
    const int64_t now_us = s->clock->mono_us(s->clock);
    if (s->change == SOURCE_KAFKA_GIVE) {
        if (!s->lost && rd_kafka_assignment_lost(s->rk)) set_lost(s);
        if (s->lost || may_go(s)) {
            finish_giving(s);
            shake(s); /* those that stay were paused */
        }
    }
    if (s->change != SOURCE_KAFKA_TAKE || now_us < s->retry_us) return STATUS_OK;
    struct err why;
    const enum status st = finish_taking(s, &why);
    if (st == STATUS_AGAIN) {
        s->retry_us = now_us + RETRY_US;
        source_kafka_trouble(s, "%s", why.text);
        log_limited(LOG_WARN, "kafka.group", "waits=\"%s\"", why.text);
        return STATUS_OK;
    }
    if (st != STATUS_OK && e != NULL) *e = why;
    return st;
}

/* ---- to the learner ---- */

void source_kafka_tell(struct source_kafka *s, struct source_kafka_part *p, enum source_kafka_tell what)
{
    p->tell = what;
    s->telling = true;
}

static void tell(struct source_kafka_part *p, struct source_batch *b)
{
    const enum source_kind kind = p->tell == SOURCE_KAFKA_JOINED ? SOURCE_JOINED : SOURCE_LEFT;
    b->records[b->n++] = (struct source_record){.kind = kind, .at = {p->topic, p->partition, p->next}};
    p->tell = SOURCE_KAFKA_QUIET;
}

bool source_kafka_group_tell(struct source_kafka *s, struct source_batch *b)
{
    const bool waits = s->change == SOURCE_KAFKA_GIVE && s->waits_for == 0;
    const bool begins = s->joined_once && s->tell_barrier;
    const uint32_t before = b->n;
    for (size_t i = 0; i < s->n_parts; i++) {
        if (s->parts[i].tell == SOURCE_KAFKA_QUIET) continue;
        if (b->n == SOURCE_BATCH) return false;
        tell(&s->parts[i], b);
    }
    s->telling = false;
    if (!waits && !begins) return true;
    if (b->n == SOURCE_BATCH && b->n == before) return false; /* a batch of its own */
    for (size_t i = 0; i < s->n_parts && b->n == 0; i++)      /* said in the batch before; a barrier needs a record */
        if (s->parts[i].leaving || s->parts[i].owned) {
            s->parts[i].tell = s->parts[i].leaving ? SOURCE_KAFKA_LEFT : SOURCE_KAFKA_JOINED;
            tell(&s->parts[i], b);
        }
    b->barrier = ++s->barrier;
    if (waits) s->waits_for = s->barrier;
    s->tell_barrier = s->tell_barrier && !begins; /* where a new state begins is durable before anything is learnt */
    return true;
}

/* ---- positions ---- */

/* Partitions that stay are sought to where they are: leaving and joining again would need the group. */
static enum status seek_all(struct source_kafka *s, rd_kafka_topic_partition_list_t *list, struct err *e)
{
    rd_kafka_error_t *error = rd_kafka_seek_partitions(s->rk, list, SEEK_MS);
    bool stopped = error != NULL;
    if (error != NULL) log_warn("kafka.group", "seek=\"%s\"", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    for (int i = 0; i < list->cnt; i++) stopped = stopped || list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!stopped) return STATUS_OK;
    for (int i = 0; i < list->cnt; i++) list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
    source_kafka_settle(s);
    error = rd_kafka_incremental_unassign(s->rk, list);
    rd_kafka_error_destroy(error);
    return assign(s, list, e);
}

enum status source_kafka_reposition(struct source_kafka *s, struct err *e)
{
    enum status st = STATUS_OK;
    rd_kafka_topic_partition_list_t *list = source_kafka_owned(s);
    if (list == NULL) return no_memory(s, e);
    for (size_t i = 0; i < s->n_parts; i++)
        if (s->parts[i].owned) source_kafka_drop_head(s, &s->parts[i]); /* it comes again */
    shake(s);
    if (list->cnt > 0) st = cooperative(s) ? seek_all(s, list, e) : assign(s, list, e);
    rd_kafka_topic_partition_list_destroy(list);
    return st;
}

/* ---- beginning and end ---- */

enum status source_kafka_join(struct source_kafka *s, struct err *e)
{
    s->opening = false;
    if (s->group) return subscribe(s, e);
    for (size_t i = 0; i < s->n_parts; i++) set_owned(s, &s->parts[i], true);
    rd_kafka_topic_partition_list_t *list = source_kafka_owned(s);
    if (list == NULL) return no_memory(s, e);
    const enum status st = assign(s, list, e);
    if (st == STATUS_OK) take_over(s, list);
    rd_kafka_topic_partition_list_destroy(list);
    return st;
}

void source_kafka_commit(struct source *base, const struct source_offset *offsets, size_t n)
{
    struct source_kafka *s = (struct source_kafka *)base;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    if (list == NULL) return;
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        const struct source_kafka_part *p = source_kafka_part_at(s, offsets[i].topic, offsets[i].partition);
        if (p != NULL && p->owned)
            rd_kafka_topic_partition_list_add(list, s->topics[p->topic].name, (int32_t)p->partition)->offset =
                (int64_t)offsets[i].next;
    }
    (void)pthread_mutex_unlock(&s->lock);
    const rd_kafka_resp_err_t rc = list->cnt > 0 ? rd_kafka_commit(s->rk, list, 1) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) log_limited(LOG_WARN, "kafka.commit", "reason=\"%s\"", rd_kafka_err2str(rc));
    rd_kafka_topic_partition_list_destroy(list);
}

void source_kafka_group_close(struct source_kafka *s)
{
    s->closing = true;
    if (s->change != SOURCE_KAFKA_STEADY) finish_giving(s);
    source_kafka_split_close(s);
}
