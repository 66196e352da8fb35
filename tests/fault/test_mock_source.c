/* test_mock_source.c - every error code of the protocol on every request of a reader and of a dead letter's producer, one after
 * the other, and brokers that go, come back, slow down and hand over, on librdkafka's mock cluster.
 *
 * Nothing crashes, each event comes once and in order, and the chain over all of them is that of an undisturbed reader.  An
 * error that ends the source says so in a sentence that names the topic, group or broker; it is then opened again where it was.
 * FRESHET_LONG=1 takes every code also where the group is joined anew for each.
 * labels: kafka fault
 * timeout: 300
 */
#include "tests/support/check.h"

#include "base/hash.h"
#include "base/log.h"
#include "ingest/reject.h"
#include "ingest/source.h"
#include "ingest/source_kafka_letters.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTITIONS 4
#define BROKERS 3
#define DEADLINE_MS 20000
#define SLOW_MS 1000 /* longer than this is printed */

enum api {
    API_PRODUCE,
    API_FETCH,
    API_LIST_OFFSETS,
    API_METADATA,
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH,
    API_COORDINATOR,
    API_JOIN,
    API_HEARTBEAT,
    API_LEAVE,
    API_SYNC,
    API_INIT_PID = 22
};

struct stream { /* what was read, over all sources that were opened one after the other */
    struct source_offset at[PARTITIONS];
    uint64_t n, produced;
    int fatal;
    char last_fatal[400];
};
static rd_kafka_t *owner, *writer;
static rd_kafka_mock_cluster_t *cluster;
static struct conf *conf;
static struct source *source;
static struct source_batch *batch;
static struct stream stream;
static char topic_name[64];

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void set(const char *key, const char *value)
{
    struct err e = {0};
    assert_ok(conf_set(conf, key, value, &e), &e);
}

static void writer_open(void)
{
    char why[256];
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(c, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), why, sizeof why);
    (void)rd_kafka_conf_set(c, "log_level", "0", why, sizeof why);
    (void)rd_kafka_conf_set(c, "retry.backoff.ms", "20", why, sizeof why);
    (void)rd_kafka_conf_set(c, "reconnect.backoff.max.ms", "100", why, sizeof why);
    (void)rd_kafka_conf_set(c, "topic.metadata.refresh.sparse", "false", why, sizeof why);
    writer = rd_kafka_new(RD_KAFKA_PRODUCER, c, why, sizeof why);
    assert_non_null(writer);
}

static int setup(void **state)
{
    char why[256];
    struct err e = {0};
    (void)state;
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(c, "log_level", "0", why, sizeof why);
    owner = rd_kafka_new(RD_KAFKA_PRODUCER, c, why, sizeof why);
    cluster = owner != NULL ? rd_kafka_mock_cluster_new(owner, BROKERS) : NULL;
    if (cluster == NULL) return -1;
    assert_ok(conf_new(&conf, &e), &e);
    set("kafka.bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster));
    set("kafka.socket.connection.setup.timeout.ms", "4000");
    set("kafka.fetch.error.backoff.ms", "10");
    set("kafka.fetch.wait.max.ms", "20");
    set("kafka.retry.backoff.ms", "10");
    set("kafka.reconnect.backoff.ms", "10");
    set("kafka.reconnect.backoff.max.ms", "50");
    set("kafka.heartbeat.interval.ms", "50");
    set("kafka.session.timeout.ms", "4500");
    set("kafka.topic.metadata.refresh.fast.interval.ms", "20");
    assert_ok(source_batch_new(&batch, &e), &e);
    writer_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rd_kafka_destroy(writer);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(owner);
    source_batch_free(batch);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

/* One event into each partition. */
static void produce(void)
{
    char value[128];
    for (int32_t p = 0; p < PARTITIONS; p++) {
        const int n =
            snprintf(value, sizeof value, "{\"type\":\"view\",\"user\":\"u%d\",\"item\":\"i%llu\",\"time\":%lld}", p,
                     (unsigned long long)stream.produced, 1600000000000ll + (long long)stream.produced);
        const rd_kafka_resp_err_t rc = rd_kafka_producev(writer, RD_KAFKA_V_TOPIC(topic_name), RD_KAFKA_V_PARTITION(p),
                                                         RD_KAFKA_V_VALUE(value, (size_t)n),
                                                         RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        assert_int_equal(rc, RD_KAFKA_RESP_ERR_NO_ERROR);
        stream.produced++;
    }
    assert_int_equal(rd_kafka_flush(writer, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void take(const struct source_record *r)
{
    assert_true(r->at.partition < PARTITIONS && r->at.topic == 0);
    struct source_offset *o = &stream.at[r->at.partition];
    if (r->kind != SOURCE_EVENT && r->kind != SOURCE_REJECT) return;
    if (r->at.offset != o->next)
        fail_msg("partition %u: offset %llu where %llu was due", r->at.partition, (unsigned long long)r->at.offset,
                 (unsigned long long)o->next);
    const uint64_t value = hash_str(r->raw.value);
    const uint64_t link[] = {o->chain, r->at.offset, value};
    o->next = r->at.offset + 1;
    o->mark = r->mark;
    o->records++;
    o->chain = hash_bytes(link, sizeof link);
    stream.n++;
}

static void stop(void)
{
    source_close(source);
    source = NULL;
}

/* An end of the source names what it is about.  CONFLICT: another member has our place in the group. */
static void told_fatal(enum status st, const struct err *e, const char *during)
{
    if (st != STATUS_IO && st != STATUS_CONFLICT) fail_msg("%s: %s: %s", during, status_name(st), e->text);
    /* an error must not pass for records that are gone: with ingest.missing set they would be skipped or read twice */
    if (strstr(e->text, "ingest.missing") != NULL)
        fail_msg("%s: taken for a topic cut or made anew: %s", during, e->text);
    stream.fatal++;
    (void)snprintf(stream.last_fatal, sizeof stream.last_fatal, "%s", e->text);
    if (strlen(e->text) < 20 ||
        (strstr(e->text, topic_name) == NULL && strstr(e->text, "kafka") == NULL && strstr(e->text, "group") == NULL))
        fail_msg("%s: an error that names nothing: \"%s\"", during, e->text);
}

/* Opens at the places that were reached; errors pushed may have to be used up first. */
static void start(const char *during)
{
    struct err e = {0};
    const int64_t until = now_ms() + DEADLINE_MS;
    const bool any = stream.n > 0;
    while (source == NULL) {
        const enum status st = source_open_kafka(&source, conf, clock_system(), stream.at, any ? PARTITIONS : 0, &e);
        if (st == STATUS_OK) break;
        assert_null(source);
        told_fatal(st, &e, during);
        if (now_ms() > until) fail_msg("%s: can't be opened again: %s", during, e.text);
    }
}

/* Reads until all that was produced is there. */
static void read_all(const char *during)
{
    const int64_t from = now_ms();
    struct err e = {0};
    while (stream.n < stream.produced) {
        if (source == NULL) start(during);
        const enum status st = source_next(source, batch, 20, &e);
        for (uint32_t i = 0; i < batch->n; i++) take(&batch->records[i]);
        if (batch->barrier != 0) source_released(source, batch->barrier);
        if (st != STATUS_OK && st != STATUS_AGAIN) {
            told_fatal(st, &e, during);
            stop();
        }
        if (now_ms() - from > DEADLINE_MS)
            fail_msg("%s: %llu of %llu events after %d s", during, (unsigned long long)stream.n,
                     (unsigned long long)stream.produced, DEADLINE_MS / 1000);
    }
    if (now_ms() - from > SLOW_MS) print_message("%s: %lld ms\n", during, (long long)(now_ms() - from));
}

/* What an undisturbed reader gets of the whole topic is what came, event by event. */
static void compare_with_an_undisturbed_reader(void)
{
    const struct stream had = stream;
    if (source != NULL) stop();
    set("ingest.membership", "assign");
    memset(&stream, 0, sizeof stream);
    for (uint32_t p = 0; p < PARTITIONS; p++) stream.at[p].partition = p;
    stream.produced = had.produced;
    read_all("undisturbed");
    stop();
    for (int p = 0; p < PARTITIONS; p++) {
        assert_true(stream.at[p].next == had.at[p].next && stream.at[p].records == had.at[p].records);
        assert_true(stream.at[p].chain == had.at[p].chain);
    }
}

static void begin(const char *name, const char *membership)
{
    if (source != NULL) stop();
    memset(&stream, 0, sizeof stream);
    for (uint32_t p = 0; p < PARTITIONS; p++) stream.at[p].partition = p;
    (void)snprintf(topic_name, sizeof topic_name, "%s", name);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, name, PARTITIONS, BROKERS), RD_KAFKA_RESP_ERR_NO_ERROR);
    set("ingest.topics", name);
    set("ingest.membership", membership);
    set("model.name", name);
    produce();
    read_all("start");
}

static bool taking_long(void)
{
    return getenv("FRESHET_LONG") != NULL;
}

/* A rejoin costs the mock's members seconds each: some codes that mean something to a group, unless FRESHET_LONG is set. */
static bool left_out(enum api api, rd_kafka_resp_err_t code, bool group)
{
    if (!group || taking_long()) return false;
    if (api == API_JOIN) return code != RD_KAFKA_RESP_ERR_NOT_COORDINATOR && code != RD_KAFKA_RESP_ERR__TRANSPORT;
    if (api == API_SYNC) return code != RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    if (api == API_FETCH) return (int)code % 3 != 0; /* all of them are tried without a group */
    return api == API_OFFSET_COMMIT &&
           (code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
}

/* The codes that a broker can send, and a connection that breaks. */
static size_t codes(rd_kafka_resp_err_t *out)
{
    size_t n = 0;
    for (int code = -1; code < 98; code++)
        if (code != 0) out[n++] = (rd_kafka_resp_err_t)code;
    out[n++] = RD_KAFKA_RESP_ERR__TRANSPORT;
    return n;
}

static void push(enum api api, rd_kafka_resp_err_t code, size_t times)
{
    for (size_t i = 0; i < times; i++) rd_kafka_mock_push_request_errors(cluster, (int16_t)api, 1, code);
}

/* What makes the reader send such a request. */
static void provoke(enum api api, bool group)
{
    switch (api) {
    case API_OFFSET_COMMIT: source_commit(source, stream.at, PARTITIONS); break;
    case API_JOIN:
    case API_SYNC: push(API_HEARTBEAT, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, 1); break;
    case API_LIST_OFFSETS:
    case API_METADATA:
    case API_COORDINATOR:
    case API_OFFSET_FETCH:
        if (!group) stop(); /* asked at the start alone */
        break;
    default: break;
    }
}

static void each_code(enum api api, const char *name, bool group)
{
    rd_kafka_resp_err_t list[128];
    const size_t n = codes(list);
    const int64_t from = now_ms();
    int fatal = 0, tried = 0;
    for (size_t i = 0; i < n; i++) {
        char during[120];
        if (left_out(api, list[i], group)) continue;
        tried++;
        (void)snprintf(during, sizeof during, "%s: %s on %s", group ? "group" : "assign", rd_kafka_err2name(list[i]),
                       name);
        const int before = stream.fatal;
        push(api, list[i], 1 + i % 3);
        if (source != NULL) provoke(api, group);
        produce();
        read_all(during);
        rd_kafka_mock_clear_request_errors(cluster, (int16_t)api);
        if (stream.fatal == before) continue;
        fatal++;
        if (fatal <= 3) print_message("%s ends the source: %s\n", during, stream.last_fatal);
    }
    print_message("%s %s: %d codes, %d end the source, %lld ms\n", group ? "group" : "assign", name, tried, fatal,
                  (long long)(now_ms() - from));
}

static void test_assigned_by_hand(void **state)
{
    (void)state;
    begin("assigned", "assign");
    each_code(API_FETCH, "Fetch", false);
    each_code(API_OFFSET_COMMIT, "OffsetCommit", false);
    each_code(API_LIST_OFFSETS, "ListOffsets", false);
    each_code(API_COORDINATOR, "FindCoordinator", false);
    compare_with_an_undisturbed_reader();
}

static void test_in_a_group(void **state)
{
    (void)state;
    begin("grouped", "group");
    each_code(API_FETCH, "Fetch", true);
    each_code(API_OFFSET_COMMIT, "OffsetCommit", true);
    each_code(API_HEARTBEAT, "Heartbeat", true);
    each_code(API_JOIN, "JoinGroup", true);
    each_code(API_SYNC, "SyncGroup", true);
    compare_with_an_undisturbed_reader();
}

/* Metadata has no error stack in the mock: the topic says it for all requests until it is taken back. */
static void test_topic_errors_of_metadata(void **state)
{
    static const rd_kafka_resp_err_t list[] = {RD_KAFKA_RESP_ERR_UNKNOWN,
                                               RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                                               RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                                               RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
                                               RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                               RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
                                               RD_KAFKA_RESP_ERR_INVALID_PARTITIONS};
    (void)state;
    begin("metadata", "assign");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char during[120];
        struct err e = {0};
        (void)snprintf(during, sizeof during, "%s of the topic", rd_kafka_err2name(list[i]));
        stop();
        rd_kafka_mock_topic_set_error(cluster, topic_name, list[i]);
        const enum status st = source_open_kafka(&source, conf, clock_system(), stream.at, PARTITIONS, &e);
        if (st != STATUS_OK) told_fatal(st, &e, during);
        rd_kafka_mock_topic_set_error(cluster, topic_name, RD_KAFKA_RESP_ERR_NO_ERROR);
        produce();
        read_all(during);
    }
    compare_with_an_undisturbed_reader();
}

static void leaders(int32_t broker)
{
    for (int32_t p = 0; p < PARTITIONS; p++)
        (void)rd_kafka_mock_partition_set_leader(cluster, topic_name, p,
                                                 broker < 0 ? broker : 1 + (broker + p) % BROKERS);
}

static void nap(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* Reads for a while, whatever comes. */
static void read_for(int64_t ms, const char *during)
{
    struct err e = {0};
    for (const int64_t until = now_ms() + ms; now_ms() < until;) {
        const enum status st = source_next(source, batch, 20, &e);
        for (uint32_t i = 0; i < batch->n; i++) take(&batch->records[i]);
        if (batch->barrier != 0) source_released(source, batch->barrier);
        if (st != STATUS_OK && st != STATUS_AGAIN) fail_msg("%s: ended by \"%s\"", during, e.text);
        if (batch->n == 0) nap(5);
    }
}

static void test_brokers(void **state)
{
    const char *const membership = *state;
    char name[40], group[60];
    (void)snprintf(name, sizeof name, "brokers-%s", membership);
    (void)snprintf(group, sizeof group, "freshet-%s", name);
    begin(name, membership);
    for (int round = 0; round < (taking_long() ? 3 : 1); round++) {
        produce();
        rd_kafka_mock_broker_set_down(cluster, -1);
        read_for(400, "all brokers down");
        source_commit(source, stream.at, PARTITIONS);
        rd_kafka_mock_broker_set_up(cluster, -1);
        produce();
        read_all("all brokers up again");
        for (int32_t b = 1; b <= (taking_long() ? BROKERS : 1); b++) {
            rd_kafka_mock_broker_set_down(cluster, b);
            read_for(150, "one broker down");
            rd_kafka_mock_broker_set_up(cluster, b);
            produce();
            read_all("that broker up again");
        }
        leaders(-1);
        read_for(150, "no leader");
        leaders(round + 1);
        produce();
        read_all("another leader");
        rd_kafka_mock_broker_set_rtt(cluster, -1, 300);
        produce();
        read_all("300 ms there and back");
        rd_kafka_mock_broker_set_rtt(cluster, -1, 0);
        (void)rd_kafka_mock_coordinator_set(cluster, "group", group, 1 + round % BROKERS);
        source_commit(source, stream.at, PARTITIONS);
        produce();
        read_all("another coordinator");
    }
    assert_int_equal(stream.fatal, 0);
    compare_with_an_undisturbed_reader();
}

struct seen_letters {
    int times[400];
    int n;
};

static enum status see(void *user, const struct reject_letter *l, struct err *e)
{
    struct seen_letters *s = user;
    (void)e;
    assert_true(l->at.offset < 400);
    s->times[l->at.offset]++;
    s->n++;
    return STATUS_OK;
}

static enum status put(struct reject_sink *s, uint64_t offset, struct err *e)
{
    struct source_record rec = {.kind = SOURCE_REJECT, .at = {0, 0, offset}};
    rec.raw = (struct source_raw){.topic = STR("events"), .value = STR("bad")};
    (void)reject_set(&rec.reject, REJECT_BAD_JSON, "why");
    return reject_sink_write(s, &rec, "parse", e);
}

/* Until the letter is acknowledged; an error that ends the sink is followed by a new one at the last mark. */
static int put_through(struct reject_sink **sink, uint64_t offset, uint64_t *mark, const char *during)
{
    struct err e = {0};
    int ended = 0;
    for (const int64_t until = now_ms() + DEADLINE_MS;;) {
        uint64_t now = 0;
        enum status st = *sink != NULL ? STATUS_OK : reject_sink_open(sink, conf, *mark, &e);
        if (st == STATUS_OK) st = put(*sink, offset, &e);
        for (bool more = st == STATUS_OK || st == STATUS_FULL; more; more = st == STATUS_FULL && now_ms() < until)
            st = reject_sink_sync(*sink, &now, &e);
        if (st == STATUS_OK) {
            *mark = now;
            return ended;
        }
        if (now_ms() > until) fail_msg("%s: not acknowledged: %s", during, e.text);
        assert_int_equal(st, STATUS_IO);
        if (strstr(e.text, topic_name) == NULL && strstr(e.text, "kafka") == NULL)
            fail_msg("%s: names nothing: %s", during, e.text);
        reject_sink_close(*sink);
        *sink = NULL;
        ended++;
    }
}

static void test_dead_letters_through_every_error(void **state)
{
    rd_kafka_resp_err_t list[128];
    const size_t n = codes(list);
    struct reject_sink *sink = NULL;
    struct seen_letters seen = {0};
    struct err e = {0};
    uint64_t mark = 0, offset = 0;
    static const enum api apis[] = {API_PRODUCE, API_INIT_PID};
    (void)state;
    (void)snprintf(topic_name, sizeof topic_name, "letters");
    (void)rd_kafka_mock_topic_create(cluster, topic_name, 1, BROKERS);
    set("ingest.dead_letters", "topic:letters");
    (void)put_through(&sink, offset++, &mark, "start");
    for (size_t a = 0; a < 2; a++) {
        const int64_t from_ms = now_ms();
        int ended = 0;
        for (size_t i = 0; i < n; i++) {
            char during[100];
            if (a == 1 && !taking_long() && i % 8 != 0) continue; /* a new producer for each takes half a second */
            (void)snprintf(during, sizeof during, "%s on %s", rd_kafka_err2name(list[i]),
                           a == 0 ? "Produce" : "InitProducerId");
            const int64_t from = now_ms();
            push(apis[a], list[i], 1);
            if (a == 1) { /* asked for by a new producer */
                reject_sink_close(sink);
                sink = NULL;
            }
            const int times = put_through(&sink, offset++, &mark, during);
            ended += times > 0;
            rd_kafka_mock_clear_request_errors(cluster, (int16_t)apis[a]);
            if (now_ms() - from > SLOW_MS) print_message("%s: %lld ms\n", during, (long long)(now_ms() - from));
        }
        print_message("dead letters, %s: %zu codes, %d end the sink, %lld ms\n", a == 0 ? "Produce" : "InitProducerId",
                      n, ended, (long long)(now_ms() - from_ms));
    }
    reject_sink_close(sink);
    assert_ok(source_letters_read(conf, topic_name, 0, 0, see, &seen, &e), &e);
    /* a broker says DUPLICATE_SEQUENCE_NUMBER of what it has; the mock has it not */
    for (uint64_t i = 0; i < offset; i++)
        if (seen.times[i] != (i != 1 + RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER))
            fail_msg("letter %llu is there %d times", (unsigned long long)i, seen.times[i]);
    set("ingest.dead_letters", "");
}

int main(void)
{
    static char by_hand[] = "assign", group[] = "group";
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assigned_by_hand),         cmocka_unit_test(test_in_a_group),
        cmocka_unit_test(test_topic_errors_of_metadata), cmocka_unit_test_prestate(test_brokers, by_hand),
        cmocka_unit_test_prestate(test_brokers, group),  cmocka_unit_test(test_dead_letters_through_every_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
