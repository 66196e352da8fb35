/* test_source_kafka.c - the Kafka source and producer on librdkafka's own mock cluster: no broker, loopback only.
 * labels: kafka helgrind
 * timeout: 120
 */
#include "tests/support/check.h"

#include "ingest/source.h"
#include "ingest/source_kafka_producer.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <string.h>

#define PARTITIONS 4

static rd_kafka_t *owner;
static rd_kafka_mock_cluster_t *cluster;
static struct conf *conf;
static struct clock_fake fake;

static void set(const char *key, const char *value)
{
    struct err e = {0};
    assert_ok(conf_set(conf, key, value, &e), &e);
}

static int setup(void **state)
{
    char why[256];
    struct err e = {0};
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    (void)state;
    owner = rd_kafka_new(RD_KAFKA_PRODUCER, c, why, sizeof why);
    cluster = owner != NULL ? rd_kafka_mock_cluster_new(owner, 3) : NULL;
    if (cluster == NULL) return -1;
    assert_ok(conf_new(&conf, &e), &e);
    set("kafka.bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster));
    set("kafka.socket.connection.setup.timeout.ms", "3000");
    set("ingest.membership", "assign"); /* test_source_kafka_group.c has members */
    clock_fake_init(&fake, 1600000000000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(owner);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static void topic(const char *name, int partitions)
{
    (void)rd_kafka_mock_topic_create(cluster, name, partitions, 1);
    set("ingest.topics", name);
}

/* n events of 20 users, item = i<number>, into the topic. */
static void produce(const char *name, int from, int to)
{
    struct source_producer *p = NULL;
    struct err e = {0};
    assert_ok(source_producer_open(&p, conf, name, &e), &e);
    for (int i = from; i < to; i++) {
        char key[16], value[128];
        (void)snprintf(key, sizeof key, "u%d", i % 20);
        (void)snprintf(value, sizeof value, "{\"type\":\"view\",\"user\":\"%s\",\"item\":\"i%d\",\"time\":%lld}", key,
                       i, 1600000000000ll + i);
        assert_ok(source_producer_send(p, str_from(key), str_from(value), NULL, 0, &e), &e);
    }
    assert_ok(source_producer_flush(p, 20000, &e), &e);
    source_producer_close(p);
}

struct seen { /* what a reader got */
    uint64_t next[PARTITIONS];
    int last_item[20]; /* per user: order is kept inside a partition */
    size_t n, rejects, idle, joined;
    uint8_t items[20000];
};

static struct source *open_source(const struct source_offset *offsets, size_t n)
{
    struct source *s = NULL;
    struct err e = {0};
    assert_ok(source_open_kafka(&s, conf, &fake.base, offsets, n, &e), &e);
    return s;
}

static void take(struct seen *seen, const struct source_record *r)
{
    int item = -1, user = -1;
    assert_true(r->at.partition < PARTITIONS);
    if (r->kind == SOURCE_IDLE) {
        seen->idle++;
        return;
    }
    if (r->kind == SOURCE_JOINED) { /* before anything of it */
        assert_true(r->at.offset == seen->next[r->at.partition]);
        seen->joined++;
        return;
    }
    assert_true(r->mark != 0);
    assert_true(r->at.offset == seen->next[r->at.partition]); /* no gap, nothing twice */
    seen->next[r->at.partition] = r->at.offset + 1;
    seen->rejects += r->kind == SOURCE_REJECT;
    if (r->kind != SOURCE_EVENT) return;
    assert_true(str_has(r->raw.value) && str_has(r->raw.key) && str_eq(r->raw.key, r->event.user));
    assert_int_equal(sscanf(r->event.item.p, "i%d", &item), 1);
    assert_int_equal(sscanf(r->event.user.p, "u%d", &user), 1);
    assert_true(item > seen->last_item[user]);
    seen->last_item[user] = item;
    seen->items[item]++;
    seen->n++;
}

/* Reads until `want` records came. */
static void read_some(struct source *s, struct seen *seen, size_t want)
{
    struct source_batch *b = NULL;
    struct err e = {0};
    assert_ok(source_batch_new(&b, &e), &e);
    for (int quiet = 0; seen->n + seen->rejects < want && quiet < 300;) {
        const enum status st = source_next(s, b, 100, &e);
        if (st != STATUS_AGAIN) assert_ok(st, &e);
        quiet = st == STATUS_OK ? 0 : quiet + 1;
        for (uint32_t i = 0; i < b->n; i++) take(seen, &b->records[i]);
    }
    assert_true(seen->n + seen->rejects >= want); /* a batch may hold more */
    source_batch_free(b);
}

static void new_seen(struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    for (int i = 0; i < 20; i++) seen->last_item[i] = -1;
}

static struct seen seen;

static void test_all_partitions_are_read_once_through_errors(void **state)
{
    struct source_offset parts[8];
    (void)state;
    topic("errors", PARTITIONS);
    produce("errors", 0, 3000);
    new_seen(&seen);
    rd_kafka_mock_push_request_errors(cluster, 1 /* Fetch */, 4, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT,
                                      RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR);
    struct source *s = open_source(NULL, 0);
    assert_int_equal(source_partitions(s, parts, 8), PARTITIONS);
    for (uint32_t i = 0; i < PARTITIONS; i++) assert_true(parts[i].partition == i && parts[i].next == 0);
    read_some(s, &seen, 1000);
    rd_kafka_mock_push_request_errors(cluster, 1, 2, RD_KAFKA_RESP_ERR__TRANSPORT,
                                      RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    read_some(s, &seen, 3000);
    for (int i = 0; i < 3000; i++) assert_int_equal(seen.items[i], 1);
    source_close(s);
}

static void test_a_resume_begins_at_the_checkpoint(void **state)
{
    struct source_offset offsets[PARTITIONS];
    struct err e = {0};
    (void)state;
    topic("resume", PARTITIONS);
    produce("resume", 0, 2000);
    new_seen(&seen);
    for (size_t want = 500; want <= 2000; want += 500) { /* killed and opened again at its own offsets */
        for (uint32_t i = 0; i < PARTITIONS; i++)
            offsets[i] = (struct source_offset){.partition = i, .next = seen.next[i]};
        struct source *s = open_source(offsets, want == 500 ? 0 : PARTITIONS);
        struct source_batch *b = NULL;
        assert_ok(source_batch_new(&b, &e), &e);
        while (seen.n < want) {
            const enum status st = source_next(s, b, 200, &e);
            for (uint32_t i = 0; st == STATUS_OK && i < b->n && seen.n < want; i++) take(&seen, &b->records[i]);
        }
        source_commit(s, offsets, PARTITIONS);
        source_batch_free(b);
        source_close(s);
    }
    for (int i = 0; i < 2000; i++) assert_int_equal(seen.items[i], 1);
    struct source *s = NULL;
    offsets[2].next = 100000; /* another topic of that name? */
    assert_int_equal(source_open_kafka(&s, conf, &fake.base, offsets, PARTITIONS, &e), STATUS_IO);
    assert_null(s);
    assert_non_null(strstr(e.text, "partition 2"));
    assert_non_null(strstr(e.text, "100000"));
    offsets[2].partition = 9;
    assert_int_equal(source_open_kafka(&s, conf, &fake.base, offsets, PARTITIONS, &e), STATUS_IO);
    assert_non_null(strstr(e.text, "partition 9"));
}

static void test_idle_partitions_are_told_once_and_lag_falls_to_0(void **state)
{
    struct source_batch *b = NULL;
    struct err e = {0};
    int64_t lag = -1;
    (void)state;
    topic("idle", 2);
    produce("idle", 0, 300);
    new_seen(&seen);
    struct source *s = open_source(NULL, 0);
    read_some(s, &seen, 300);
    assert_int_equal(seen.idle, 0); /* the clock stands still */
    assert_ok(source_batch_new(&b, &e), &e);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(source_next(s, b, 50, &e), STATUS_AGAIN);
        lag = b->lag_events;
        assert_int_equal(b->n, 0);
    }
    assert_true(lag == 0);
    clock_fake_advance(&fake, 499);
    assert_int_equal(source_next(s, b, 0, &e), STATUS_AGAIN);
    clock_fake_advance(&fake, 1);
    for (int i = 0; i < 50 && seen.idle < 2; i++) {
        if (source_next(s, b, 50, &e) != STATUS_OK) continue;
        for (uint32_t k = 0; k < b->n; k++) {
            assert_int_equal(b->records[k].kind, SOURCE_IDLE);
            assert_true(b->records[k].at.offset == seen.next[b->records[k].at.partition]);
            take(&seen, &b->records[k]);
        }
    }
    assert_int_equal(seen.idle, 2);
    clock_fake_advance(&fake, 100000);
    for (int i = 0; i < 5; i++) assert_int_equal(source_next(s, b, 20, &e), STATUS_AGAIN); /* once is enough */
    produce("idle", 300, 320);
    read_some(s, &seen, 320); /* awake again, and then idle again */
    clock_fake_advance(&fake, 1000);
    for (int i = 0; i < 50 && seen.idle < 4; i++) {
        if (source_next(s, b, 50, &e) == STATUS_OK)
            for (uint32_t k = 0; k < b->n; k++) take(&seen, &b->records[k]);
        clock_fake_advance(&fake, 100);
    }
    assert_int_equal(seen.idle, 4);
    source_batch_free(b);
    source_close(s);
}

static void test_bad_messages_keep_bytes_key_and_headers(void **state)
{
    struct source_producer *p = NULL;
    struct source_batch *b = NULL;
    struct err e = {0};
    const struct source_producer_header headers[] = {
        {"trace", STR("a\"b")}, {"trace", STR("again")}, {"raw", STR("\xff")}, {"none", {NULL, 0}}};
    (void)state;
    topic("bad", 1);
    assert_ok(source_producer_open(&p, conf, "bad", &e), &e);
    assert_ok(source_producer_send(p, STR("k\xff"), STR("not json \xfe"), headers, 4, &e), &e);
    assert_ok(source_producer_send(p, (struct str){NULL, 0}, (struct str){NULL, 0}, NULL, 0, &e), &e);
    assert_ok(source_producer_flush(p, 20000, &e), &e);
    source_producer_close(p);
    struct source *s = open_source(NULL, 0);
    assert_ok(source_batch_new(&b, &e), &e);
    struct source_record got[2];
    size_t n = 0;
    for (int i = 0; i < 100 && n < 2; i++) {
        if (source_next(s, b, 100, &e) != STATUS_OK) continue;
        for (uint32_t k = 0; k < b->n; k++) {
            const struct source_record *r = &b->records[k];
            if (r->kind == SOURCE_JOINED) continue;
            assert_int_equal(r->kind, SOURCE_REJECT);
            assert_true(str_is(r->raw.topic, "bad"));
            if (n == 0) {
                assert_int_equal(r->reject.code, REJECT_BAD_JSON);
                assert_true(str_eq(r->raw.key, STR("k\xff")) && str_eq(r->raw.value, STR("not json \xfe")));
                assert_true(str_is(r->raw.headers,
                                   "{\"trace\":[\"a\\\"b\",\"again\"],\"raw\":{\"base64\":\"/w==\"},\"none\":null}"));
            } else {
                assert_true(r->raw.key.p == NULL && r->raw.value.p == NULL && r->raw.headers.p == NULL);
            }
            got[n++] = *r;
        }
    }
    assert_int_equal(n, 2);
    (void)got;
    source_batch_free(b);
    source_close(s);
}

static void test_where_a_new_state_begins(void **state)
{
    struct source_offset part;
    struct source *s = NULL;
    struct err e = {0};
    (void)state;
    topic("start", 1);
    produce("start", 0, 100);
    set("ingest.start", "latest");
    s = open_source(NULL, 0);
    assert_int_equal(source_partitions(s, &part, 1), 1);
    assert_int_equal(part.next, 100);
    new_seen(&seen);
    seen.next[0] = 100;
    produce("start", 100, 110);
    read_some(s, &seen, 10);
    assert_int_equal(seen.items[100], 1);
    source_close(s);
    const struct source_offset at = {.next = 40}; /* a checkpoint goes before ingest.start */
    s = open_source(&at, 1);
    (void)source_partitions(s, &part, 1);
    assert_int_equal(part.next, 40);
    source_close(s);
    set("ingest.start", "ts=2030-01-01T00:00:00Z"); /* the mock answers every time with the end */
    s = open_source(NULL, 0);
    (void)source_partitions(s, &part, 1);
    assert_int_equal(part.next, 110);
    source_close(s);
    set("ingest.start", "last=2h");
    s = open_source(NULL, 0);
    source_close(s);
    (void)snprintf(conf->ingest_start, sizeof conf->ingest_start, "ts=yesterday"); /* past conf's own check */
    assert_int_equal(source_open_kafka(&s, conf, &fake.base, NULL, 0, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "ts=yesterday"));
    (void)snprintf(conf->ingest_start, sizeof conf->ingest_start, "sometime");
    assert_int_equal(source_open_kafka(&s, conf, &fake.base, NULL, 0, &e), STATUS_INVALID);
    set("ingest.start", "checkpoint");
}

static void test_a_missing_topic_and_no_broker_are_named(void **state)
{
    struct source *s = NULL;
    struct source_producer *p = NULL;
    struct err e = {0};
    char servers[300];
    (void)state;
    (void)snprintf(servers, sizeof servers, "%s", rd_kafka_mock_cluster_bootstraps(cluster));
    rd_kafka_mock_topic_set_error(cluster, "absent", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    set("ingest.topics", "absent");
    assert_int_equal(source_open_kafka(&s, conf, &fake.base, NULL, 0, &e), STATUS_IO);
    assert_null(s);
    assert_non_null(strstr(e.text, "absent"));
    assert_int_equal(source_producer_open(&p, conf, "absent", &e), STATUS_IO);
    assert_non_null(strstr(e.text, "absent"));
    set("kafka.bootstrap.servers", "127.0.0.1:1");
    set("kafka.socket.connection.setup.timeout.ms", "1000");
    assert_int_equal(source_open_kafka(&s, conf, &fake.base, NULL, 0, &e), STATUS_IO);
    assert_non_null(strstr(e.text, "127.0.0.1:1"));
    assert_int_equal(source_producer_open(&p, conf, "absent", &e), STATUS_IO);
    assert_null(p);
    set("kafka.bootstrap.servers", servers);
    set("kafka.socket.connection.setup.timeout.ms", "3000");
}

static void test_settings_that_guarantees_hang_on_are_refused(void **state)
{
    struct source *s = NULL;
    struct conf *c = NULL;
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&c, &e), &e);
    assert_int_equal(source_open_kafka(&s, c, &fake.base, NULL, 0, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "kafka.bootstrap.servers"));
    assert_ok(conf_set(c, "kafka.bootstrap.servers", "127.0.0.1:1", &e), &e);
    assert_ok(conf_set(c, "kafka.enable.auto.commit", "true", &e), &e);
    assert_int_equal(source_open_kafka(&s, c, &fake.base, NULL, 0, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "enable.auto.commit"));
    conf_free(c);
    assert_ok(conf_new(&c, &e), &e);
    assert_ok(conf_set(c, "kafka.bootstrap.servers", "127.0.0.1:1", &e), &e);
    assert_ok(conf_set(c, "kafka.no.such.key", "1", &e), &e);
    assert_int_equal(source_open_kafka(&s, c, &fake.base, NULL, 0, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "no.such.key"));
    assert_ok(conf_set(c, "ingest.schema", "csv", &e), &e);
    assert_int_equal(source_open_kafka(&s, c, &fake.base, NULL, 0, &e), STATUS_UNSUPPORTED);
    conf_free(c);
}

static void test_a_failed_delivery_is_told(void **state)
{
    struct source_producer *p = NULL;
    struct err e = {0};
    enum status st;
    (void)state;
    topic("full", 1);
    set("kafka.message.timeout.ms", "2000");
    set("kafka.request.timeout.ms", "1000");
    assert_ok(source_producer_open(&p, conf, "full", &e), &e);
    for (int i = 0; i < 20; i++)
        rd_kafka_mock_push_request_errors(cluster, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    st = source_producer_send(p, STR("k"), STR("v"), NULL, 0, &e);
    if (st == STATUS_OK) st = source_producer_flush(p, 20000, &e);
    assert_int_equal(st, STATUS_IO);
    assert_non_null(strstr(e.text, "full"));
    source_producer_close(p);
    rd_kafka_mock_clear_request_errors(cluster, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_partitions_are_read_once_through_errors),
        cmocka_unit_test(test_a_resume_begins_at_the_checkpoint),
        cmocka_unit_test(test_idle_partitions_are_told_once_and_lag_falls_to_0),
        cmocka_unit_test(test_bad_messages_keep_bytes_key_and_headers),
        cmocka_unit_test(test_where_a_new_state_begins),
        cmocka_unit_test(test_a_missing_topic_and_no_broker_are_named),
        cmocka_unit_test(test_settings_that_guarantees_hang_on_are_refused),
        cmocka_unit_test(test_a_failed_delivery_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
