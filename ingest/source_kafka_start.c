/* source_kafka_start.c - metadata, ends, offsets by time: which partitions there are and where each of them begins. */
#include "base/log.h"
#include "base/mem.h"
#include "ingest/parse_text.h"
#include "ingest/source_kafka.h"
#include "ingest/source_kafka_bounds.h"
#include "ingest/source_kafka_conf.h"
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE_MS = 500, SCRAM_MENDED = 0x020601ff }; /* librdkafka 2.6.1 */

static enum status no_memory(const struct source_kafka *s, struct err *e)
{
    return ERR_SET(e, STATUS_OOM, "kafka: no memory for the partitions of %s", s->conf->ingest_topics);
}

/* A right password is refused too where both sides disagree about SCRAM: librdkafka before 2.6.1 repeats its nonce, Kafka
 * from 4.0 on no longer lets that pass. */
static enum status refused(struct source_kafka *s, const char *why, struct err *e)
{
    const char *mechanism = source_kafka_get(s->conf, "sasl.mechanism");
    if (mechanism == NULL) mechanism = source_kafka_get(s->conf, "sasl.mechanisms");
    const bool scram = mechanism != NULL && strncmp(mechanism, "SCRAM", 5) == 0 && rd_kafka_version() < SCRAM_MENDED;
    return ERR_SET(
        e, STATUS_IO,
        "kafka.bootstrap.servers=%s: the login was refused; mend kafka.sasl.mechanism, .username or .password%s%s%s: "
        "%s",
        source_kafka_get(s->conf, "bootstrap.servers"), scram ? " (or SCRAM itself: librdkafka " : "",
        scram ? rd_kafka_version_str() : "",
        scram ? " can't do it with Kafka 4 and later, 2.6.1 can; else PLAIN over TLS, or client certificates)" : "",
        why);
}

static enum status unreachable(struct source_kafka *s, rd_kafka_resp_err_t rc, struct err *e)
{
    const char *why = source_kafka_why(s);
    if (why[0] == 0 && (rc == RD_KAFKA_RESP_ERR__TRANSPORT || rc == RD_KAFKA_RESP_ERR__TIMED_OUT))
        why = "nothing there speaks as a Kafka broker does (another service's port, a firewall, or TLS or a login is "
              "wanted: kafka.security.protocol)";
    if (source_interrupted()) return ERR_SET(e, STATUS_END, "told to stop before the broker answered");
    if (rc == RD_KAFKA_RESP_ERR__AUTHENTICATION) return refused(s, why, e);
    return ERR_SET(e, STATUS_IO, "kafka.bootstrap.servers=%s: no answer within %d ms: %s",
                   source_kafka_get(s->conf, "bootstrap.servers"), s->timeout_ms,
                   why[0] != 0 ? why : rd_kafka_err2str(rc));
}

/* "a, b,c" into names. */
static enum status read_topics(struct source_kafka *s, struct err *e)
{
    struct str name;
    for (const char *at = s->conf->ingest_topics; str_next_word(&at, &name);) {
        if (s->n_topics == SOURCE_KAFKA_TOPICS)
            return ERR_SET(e, STATUS_INVALID, "ingest.topics: more than %d topics", SOURCE_KAFKA_TOPICS);
        if (name.p[0] == '^')
            return ERR_SET(e, STATUS_INVALID, "ingest.topics: \"" STR_FMT "\" is no name that Kafka allows",
                           STR_ARG(name));
        if ((s->topics[s->n_topics++].name = mem_strndup(name.p, name.n)) == NULL) return no_memory(s, e);
    }
    return s->n_topics > 0 ? STATUS_OK : ERR_SET(e, STATUS_INVALID, "ingest.topics is empty; name the topics to read");
}

/* What ingest.start means: a logical end, or a time in ms. */
static enum status read_begin(struct source_kafka *s, struct err *e)
{
    const char *text = s->conf->ingest_start;
    int64_t *ms = &s->begin_ms;
    s->begin = strcmp(text, "latest") == 0 ? SOURCE_KAFKA_LATEST : SOURCE_KAFKA_EARLIEST;
    s->tell_barrier = s->begin == SOURCE_KAFKA_LATEST;
    if (s->tell_barrier || strcmp(text, "earliest") == 0 || strcmp(text, "checkpoint") == 0) return STATUS_OK;
    s->begin = SOURCE_KAFKA_TIME;
    if (strncmp(text, "ts=", 3) == 0) {
        if (parse_digits(str_from(text + 3), ms) || clock_parse_rfc3339(str_from(text + 3), ms)) return STATUS_OK;
        return ERR_SET(e, STATUS_INVALID, "ingest.start=%s: not RFC 3339 with a zone, and not milliseconds", text);
    }
    if (strncmp(text, "last=", 5) == 0) {
        TRY(conf_duration_ms(text + 5, ms, e));
        *ms = s->clock->wall_ms(s->clock) - *ms;
        s->tell_barrier = true;
        return STATUS_OK;
    }
    return ERR_SET(e, STATUS_INVALID, "ingest.start=%s: give checkpoint, earliest, latest, ts=TIME or last=DURATION",
                   text);
}

enum status source_kafka_topics(struct source_kafka *s, struct err *e)
{
    TRY(read_begin(s, e));
    return read_topics(s, e);
}

/* Asks in slices until the time is over: librdkafka's connections come up while it waits, and being told to stop ends it
 * soon.  A refused login is final. */
static rd_kafka_resp_err_t ask_metadata(struct source_kafka *s, rd_kafka_topic_t *topic,
                                        const struct rd_kafka_metadata **about)
{
    struct clock *system = clock_system(); /* tests hold the other one still */
    const int64_t end_us = system->mono_us(system) + s->timeout_ms * 1000ll;
    for (;;) {
        const int64_t left_ms = (end_us - system->mono_us(system)) / 1000;
        const int slice = !s->opening ? s->timeout_ms : left_ms < SLICE_MS ? (int)left_ms : SLICE_MS;
        const rd_kafka_resp_err_t rc = rd_kafka_metadata(s->rk, 0, topic, about, slice > 1 ? slice : 1);
        if (rc == RD_KAFKA_RESP_ERR_NO_ERROR || !s->opening || left_ms <= SLICE_MS || source_interrupted()) return rc;
        if (strstr(source_kafka_why(s), "uthentication") != NULL) return RD_KAFKA_RESP_ERR__AUTHENTICATION;
    }
}

static enum status take_metadata(struct source_kafka *s, uint32_t topic, const struct rd_kafka_metadata *about,
                                 struct err *e)
{
    struct source_kafka_topic *t = &s->topics[topic];
    rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (about->topic_cnt == 1 && about->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
        rc = about->topics[0].err;
    else if (about->topic_cnt == 1 && about->topics[0].partition_cnt > 0)
        rc = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERR_SET(e, STATUS_IO, "topic %s at %s: %s; %s", t->name, source_kafka_get(s->conf, "bootstrap.servers"),
                       rd_kafka_err2str(rc),
                       rc == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ? "let this user describe and read it"
                                                                          : "create it, or mend ingest.topics");
    t->n_parts = (uint32_t)about->topics[0].partition_cnt; /* Kafka numbers them from 0 */
    for (uint32_t i = 0; i < t->n_parts; i++) {
        struct source_kafka_part *p;
        TRY(source_kafka_add_part(s, topic, i, &p, e));
    }
    return STATUS_OK;
}

static enum status find_parts(struct source_kafka *s, uint32_t topic, struct err *e)
{
    const char *name = s->topics[topic].name;
    const struct rd_kafka_metadata *about = NULL;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(s->rk, name, NULL);
    if (rkt == NULL) return ERR_SET(e, STATUS_INVALID, "ingest.topics: \"%s\" is no name that Kafka allows", name);
    const rd_kafka_resp_err_t rc = ask_metadata(s, rkt, &about);
    rd_kafka_topic_destroy(rkt);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) return unreachable(s, rc, e);
    const enum status st = take_metadata(s, topic, about, e);
    rd_kafka_metadata_destroy(about);
    return st;
}

enum status source_kafka_find_parts(struct source_kafka *s, struct err *e)
{
    for (uint32_t i = 0; i < s->n_topics; i++) TRY(find_parts(s, i, e));
    return STATUS_OK;
}

enum status source_kafka_ends(struct source_kafka *s, struct source_kafka_part *p, uint64_t *low, struct err *e)
{
    uint64_t high;
    const char *name = s->topics[p->topic].name;
    const rd_kafka_resp_err_t rc =
        (rd_kafka_resp_err_t)source_kafka_bounds(s->rk, name, p->partition, s->timeout_ms, low, &high);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERR_SET(e, STATUS_AGAIN, "topic %s partition %u: its offsets can't be had: %s", name, p->partition,
                       rd_kafka_err2str(rc));
    p->high = high;
    return STATUS_OK;
}

/* The first offset at or after ms; the end when there is none. */
static enum status query_time(struct source_kafka *s, struct source_kafka_part *p, int64_t ms, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    if (list == NULL) return no_memory(s, e);
    const char *name = s->topics[p->topic].name;
    rd_kafka_topic_partition_list_add(list, name, (int32_t)p->partition)->offset = ms > 0 ? ms : 0;
    rd_kafka_resp_err_t rc = rd_kafka_offsets_for_times(s->rk, list, s->timeout_ms);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) rc = list->elems[0].err;
    p->next = list->elems[0].offset >= 0 ? (uint64_t)list->elems[0].offset : p->high;
    rd_kafka_topic_partition_list_destroy(list);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    return ERR_SET(e, STATUS_AGAIN, "topic %s partition %u: no offset by time: %s", name, p->partition,
                   rd_kafka_err2str(rc));
}

enum status source_kafka_place(struct source_kafka *s, struct source_kafka_part *p, struct err *e)
{
    uint64_t low = 0;
    TRY(source_kafka_ends(s, p, &low, e));
    p->doubtful = p->verify = p->at_end = p->told_idle = false;
    p->shaken = true;
    p->time_ms = INT64_MIN;
    p->jumps = 0;
    if (!p->begun) {
        const enum source_kafka_begin begin = s->topics[p->topic].begun ? SOURCE_KAFKA_EARLIEST : s->begin;
        p->next = begin == SOURCE_KAFKA_LATEST ? p->high : low;
        if (begin == SOURCE_KAFKA_TIME) TRY(query_time(s, p, s->begin_ms, e));
        p->begun = true;
        p->follows = false;
        return STATUS_OK;
    }
    if (p->next > p->high) return source_kafka_missing(s, p, low, "events were lost, or the topic was made anew", e);
    if (p->next < low) return source_kafka_missing(s, p, low, "events were deleted before they were read", e);
    p->verify = p->mark != 0 && p->next > low;
    return STATUS_OK;
}
