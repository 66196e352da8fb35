/* source_kafka_guard.c - the offsets of each partition, watched: nothing twice, nothing missing in silence, no other topic
 * under the old name.
 */
#include "base/log.h"
#include "ingest/source_kafka.h"
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>

enum { POLICY_MS = 2000 };

static const char *topic_of(const struct source_kafka *s, const struct source_kafka_part *p)
{
    return s->topics[p->topic].name;
}

/* Offsets that never came.  In a compacted topic, or one written by transactions, that is normal. */
static void count_gap(struct source_kafka *s, const struct source_kafka_part *p, uint64_t offset)
{
    source_kafka_hear_policies(s, POLICY_MS);
    const enum source_kafka_policy policy = s->topics[p->topic].policy;
    const bool alarm = policy != SOURCE_KAFKA_COMPACT && strcmp(s->conf->ingest_gaps, "expected") != 0;
    (void)pthread_mutex_lock(&s->lock);
    s->health.gaps += offset - p->next;
    s->health.gap_alarms += alarm ? offset - p->next : 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (!alarm) return;
    log_limited(
        LOG_ERROR, "kafka.gap",
        "topic=%s partition=%u expected=%llu got=%llu cleanup_policy=%s hint=\"messages are missing; if the topic "
        "is written by transactions set ingest.gaps=expected\"",
        topic_of(s, p), p->partition, (unsigned long long)p->next, (unsigned long long)offset,
        policy == SOURCE_KAFKA_DELETE ? "delete" : "unknown");
    source_kafka_trouble(s, "topic %s partition %u: offsets %llu to %llu are missing", topic_of(s, p), p->partition,
                         (unsigned long long)p->next, (unsigned long long)offset - 1);
}

/* The record before next, read again. */
static enum source_kafka_verdict verify(struct source_kafka *s, struct source_kafka_part *p, uint64_t mark)
{
    p->verify = false;
    if (mark == p->mark) return SOURCE_KAFKA_DROP;
    log_error("kafka.replaced", "topic=%s partition=%u offset=%llu", topic_of(s, p), p->partition,
              (unsigned long long)p->next - 1);
    return SOURCE_KAFKA_REPLACED;
}

enum source_kafka_verdict source_kafka_judge(struct source_kafka *s, struct source_kafka_part *p, uint64_t offset,
                                             uint64_t mark)
{
    if (!p->owned || p->leaving) return SOURCE_KAFKA_DROP;
    if (p->doubtful) return SOURCE_KAFKA_AGAIN;
    if (p->verify && offset + 1 == p->next) return verify(s, p, mark);
    if (offset < p->next) {
        (void)pthread_mutex_lock(&s->lock);
        s->health.duplicates++;
        (void)pthread_mutex_unlock(&s->lock);
        return SOURCE_KAFKA_DROP;
    }
    if (offset > p->next && p->follows) {
        const bool again = p->shaken && p->again_at != p->next + 1;
        p->again_at = p->next + 1;
        if (again) return SOURCE_KAFKA_AGAIN;
        count_gap(s, p, offset);
    }
    p->verify = p->shaken = false; /* verify: what was before is gone by compaction or retention */
    p->follows = true;
    return SOURCE_KAFKA_GIVE_OUT;
}

enum status source_kafka_missing(struct source_kafka *s, struct source_kafka_part *p, uint64_t low, const char *what,
                                 struct err *e)
{
    const uint64_t was = p->next;
    const bool earliest = strcmp(s->conf->ingest_missing, "earliest") == 0;
    p->verify = false;
    if (!earliest && strcmp(s->conf->ingest_missing, "latest") != 0)
        return ERR_SET(e, STATUS_IO,
                       "topic %s partition %u: the checkpoint goes on at offset %llu, the topic has %llu to %llu: %s; "
                       "set ingest.missing=earliest (take what is there) or latest (only what comes), or begin anew: "
                       "another state.dir and ingest.start=ts=TIME",
                       topic_of(s, p), p->partition, (unsigned long long)was, (unsigned long long)low,
                       (unsigned long long)p->high, what);
    p->next = earliest ? low : p->high;
    p->mark = 0;
    p->follows = false;
    source_kafka_tell(s, p, SOURCE_KAFKA_JOINED); /* the learner's offset moves with it */
    log_error("kafka.missing", "topic=%s partition=%u checkpoint=%llu low=%llu high=%llu goes_on=%llu reason=\"%s\"",
              topic_of(s, p), p->partition, (unsigned long long)was, (unsigned long long)low,
              (unsigned long long)p->high, (unsigned long long)p->next, what);
    source_kafka_trouble(s, "topic %s partition %u: offset %llu: %s; went on at %llu", topic_of(s, p), p->partition,
                         (unsigned long long)was, what, (unsigned long long)p->next);
    (void)pthread_mutex_lock(&s->lock);
    s->health.gaps += p->next > was ? p->next - was : 1;
    s->health.gap_alarms += p->next > was ? p->next - was : 1;
    (void)pthread_mutex_unlock(&s->lock);
    return STATUS_OK;
}

static void policy_unknown(const struct source_kafka *s, const char *why)
{
    log_warn("kafka", "topics=%s cleanup_policy=unknown gaps=alarm reason=\"%s\"", s->conf->ingest_topics, why);
}

static void read_policy(struct source_kafka *s, const rd_kafka_ConfigResource_t *about)
{
    size_t n = 0;
    if (rd_kafka_ConfigResource_error(about) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *why = rd_kafka_ConfigResource_error_string(about);
        policy_unknown(s, why != NULL ? why : rd_kafka_err2str(rd_kafka_ConfigResource_error(about)));
        return;
    }
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(about, &n);
    for (size_t i = 0; i < n; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "cleanup.policy") != 0 || value == NULL) continue;
        for (uint32_t k = 0; k < s->n_topics; k++)
            if (strcmp(s->topics[k].name, rd_kafka_ConfigResource_name(about)) == 0)
                s->topics[k].policy = strstr(value, "compact") != NULL ? SOURCE_KAFKA_COMPACT : SOURCE_KAFKA_DELETE;
    }
}

void source_kafka_ask_policies(struct source_kafka *s)
{
    char why[200];
    rd_kafka_ConfigResource_t *topics[SOURCE_KAFKA_TOPICS];
    if (strcmp(s->conf->ingest_gaps, "expected") == 0) return;
    s->answers = rd_kafka_queue_new(s->rk);
    for (uint32_t i = 0; i < s->n_topics; i++)
        topics[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, s->topics[i].name);
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(s->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    (void)rd_kafka_AdminOptions_set_request_timeout(o, s->timeout_ms, why, sizeof why);
    rd_kafka_DescribeConfigs(s->rk, topics, s->n_topics, o, s->answers);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_ConfigResource_destroy_array(topics, s->n_topics);
}

void source_kafka_hear_policies(struct source_kafka *s, int wait_ms)
{
    rd_kafka_event_t *answer = s->answers != NULL ? rd_kafka_queue_poll(s->answers, wait_ms) : NULL;
    if (answer == NULL) return;
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(answer);
    size_t n = 0;
    if (result == NULL || rd_kafka_event_error(answer) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        policy_unknown(s, rd_kafka_event_error_string(answer));
    } else {
        const rd_kafka_ConfigResource_t **about = rd_kafka_DescribeConfigs_result_resources(result, &n);
        for (size_t i = 0; i < n; i++) read_policy(s, about[i]);
    }
    rd_kafka_event_destroy(answer);
    rd_kafka_queue_destroy(s->answers);
    s->answers = NULL;
}
