/* test_reject_topic.c - dead letters in a topic, on librdkafka's mock cluster: their headers, and once after a crash.
 * labels: kafka
 * timeout: 120
 */
#include "tests/support/check.h"

#include "ingest/reject.h"
#include "ingest/source.h"
#include "ingest/source_kafka_letters.h"
#include "ingest/source_kafka_producer.h"
#include "ingest/source_ops.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <string.h>

static rd_kafka_t *owner;
static rd_kafka_mock_cluster_t *cluster;
static struct conf *conf;

static void set(const char *key, const char *value)
{
    struct err e = {0};
    assert_ok(conf_set(conf, key, value, &e), &e);
}

static int setup(void **state)
{
    char why[256];
    struct err e = {0};
    (void)state;
    owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    cluster = owner != NULL ? rd_kafka_mock_cluster_new(owner, 1) : NULL;
    if (cluster == NULL) return -1;
    assert_ok(conf_new(&conf, &e), &e);
    set("kafka.bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster));
    set("kafka.socket.connection.setup.timeout.ms", "3000");
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

static struct reject_sink *open_sink(const char *topic, uint64_t mark)
{
    char name[100];
    struct reject_sink *s = NULL;
    struct err e = {0};
    (void)snprintf(name, sizeof name, "topic:%s", topic);
    set("ingest.dead_letters", name);
    assert_ok(reject_sink_open(&s, conf, mark, &e), &e);
    return s;
}

static enum status put(struct reject_sink *s, uint32_t partition, uint64_t offset, struct str value, struct err *e)
{
    struct source_record rec = {.kind = SOURCE_REJECT, .at = {0, partition, offset}};
    rec.raw =
        (struct source_raw){.topic = STR("events"),
                            .key = STR("k\xff"),
                            .value = value,
                            .time_ms = 1600000000123,
                            .headers = STR("{\"trace\":[\"a\",\"b\"],\"raw\":{\"base64\":\"/wA=\"},\"none\":null}")};
    (void)reject_set(&rec.reject, REJECT_BAD_JSON, "why \"quoted\"");
    return reject_sink_write(s, &rec, "parse", e);
}

static uint64_t sync_close(struct reject_sink *s)
{
    struct err e = {0};
    uint64_t mark = 0;
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    reject_sink_close(s);
    return mark;
}

struct seen {
    int times[2][200]; /* by partition and offset */
    int n, without_value, large;
};

static enum status take(void *user, const struct reject_letter *l, struct err *e)
{
    struct seen *s = user;
    (void)e;
    assert_true(str_is(l->raw.topic, "events") && str_is(l->stage, "parse") && str_is(l->reason, "bad_json"));
    assert_true(str_is(l->message, "why \"quoted\"") && str_is(l->raw.key, "k\xff"));
    assert_true(str_is(l->raw.headers, "{\"trace\":[\"a\",\"b\"],\"raw\":{\"base64\":\"/wA=\"},\"none\":null}"));
    assert_true(l->at.partition < 2 && l->at.offset < 200);
    s->times[l->at.partition][l->at.offset]++;
    s->without_value += l->raw.value.p == NULL;
    s->large += l->raw.value.n > 3;
    if (l->raw.value.p != NULL && l->raw.value.n <= 3)
        assert_true(str_eq(l->raw.value, STR("\x01\x00\xff")) && l->raw.time_ms == 1600000000123);
    s->n++;
    return STATUS_OK;
}

static struct seen read_all(const char *topic)
{
    struct seen s = {0};
    struct err e = {0};
    assert_ok(source_letters_read(conf, topic, SOURCE_LETTERS_ALL, 0, take, &s, &e), &e);
    return s;
}

static void put_some(struct reject_sink *s, uint32_t partition, uint64_t from, uint64_t to)
{
    struct err e = {0};
    for (uint64_t i = from; i < to; i++) assert_ok(put(s, partition, i, STR("\x01\x00\xff"), &e), &e);
}

static void test_the_message_comes_back_whole(void **state)
{
    (void)state;
    (void)rd_kafka_mock_topic_create(cluster, "whole", 3, 1);
    struct reject_sink *s = open_sink("whole", 0);
    assert_true(reject_sink_unmarked(s));
    put_some(s, 0, 0, 200);
    put_some(s, 1, 0, 100);
    (void)sync_close(s);
    const struct seen seen = read_all("whole");
    assert_int_equal(seen.n, 300);
    for (int i = 0; i < 200; i++) assert_true(seen.times[0][i] == 1 && seen.times[1][i] == (i < 100));
}

static void on_header(const char *name, struct str value, unsigned *found)
{
    static const struct {
        const char *name, *value;
    } want[] = {{"trace", "a"},
                {"trace", "b"},
                {"__connect.errors.topic", "events"},
                {"__connect.errors.partition", "1"},
                {"__connect.errors.offset", "77"},
                {"__connect.errors.connector.name", "freshet-default"},
                {"__connect.errors.task.id", "0"},
                {"__connect.errors.stage", "parse"},
                {"__connect.errors.class.name", "freshet.parse"},
                {"__connect.errors.exception.class.name", "freshet.reject.bad_json"},
                {"__connect.errors.exception.message", "why \"quoted\""},
                {"freshet.reason", "bad_json"}};
    for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
        if (strcmp(name, want[i].name) == 0 && str_is(value, want[i].value)) *found |= 1u << i;
    if (strcmp(name, "raw") == 0 && str_eq(value, STR("\xff\x00"))) *found |= 1u << 12;
    if (strcmp(name, "none") == 0 && value.p == NULL) *found |= 1u << 13;
}

static void test_headers_are_those_of_kafka_connect(void **state)
{
    char why[256];
    unsigned found = 0;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(cluster, "headers", 1, 1);
    struct reject_sink *s = open_sink("headers", 0);
    assert_ok(put(s, 1, 77, STR("\x01\x00\xff"), &e), &e);
    (void)sync_close(s);
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(c, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), why, sizeof why);
    (void)rd_kafka_conf_set(c, "group.id", "plain", why, sizeof why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, c, why, sizeof why);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "headers", 0)->offset = 0;
    (void)rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_message_t *m = NULL;
    for (int i = 0; i < 100 && (m == NULL || m->err != RD_KAFKA_RESP_ERR_NO_ERROR); i++) {
        if (m != NULL) rd_kafka_message_destroy(m);
        m = rd_kafka_consumer_poll(rk, 100);
    }
    assert_non_null(m);
    rd_kafka_headers_t *headers;
    assert_int_equal(rd_kafka_message_headers(m, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    const char *name;
    const void *value;
    size_t n, i = 0;
    for (; rd_kafka_header_get_all(headers, i, &name, &value, &n) == 0; i++)
        on_header(name, (struct str){value, n}, &found);
    assert_int_equal(i, 14);
    assert_int_equal(found, 0x3fff);
    assert_true(str_eq((struct str){m->payload, m->len}, STR("\x01\x00\xff")));
    assert_true(str_eq((struct str){m->key, m->key_len}, STR("k\xff")));
    rd_kafka_message_destroy(m);
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

static void test_letters_sent_before_a_crash_are_not_sent_again(void **state)
{
    struct err e = {0};
    uint64_t mark, none;
    (void)state;
    (void)rd_kafka_mock_topic_create(cluster, "once", 1, 1);
    struct reject_sink *s = open_sink("once", 0);
    put_some(s, 0, 0, 50);
    assert_ok(reject_sink_sync(s, &mark, &e), &e); /* a checkpoint */
    put_some(s, 0, 50, 80);
    assert_ok(reject_sink_sync(s, &none, &e), &e); /* sent and acknowledged, but no checkpoint: killed */
    reject_sink_close(s);
    s = open_sink("once", mark);
    assert_false(reject_sink_unmarked(s));
    put_some(s, 0, 50, 120);
    const uint64_t later = sync_close(s);
    assert_true(later > mark);
    struct seen seen = read_all("once");
    assert_int_equal(seen.n, 120);
    for (int i = 0; i < 120; i++) assert_int_equal(seen.times[0][i], 1);
    s = open_sink("once", later); /* nothing behind the newest checkpoint: what comes is new */
    put_some(s, 0, 0, 10);
    (void)sync_close(s);
    seen = read_all("once");
    assert_int_equal(seen.n, 130);
}

/* A checkpoint that comes before all of them were met again must not hide the others. */
static void test_a_checkpoint_amid_known_letters_hides_none(void **state)
{
    struct err e = {0};
    uint64_t mark, none;
    (void)state;
    (void)rd_kafka_mock_topic_create(cluster, "amid", 1, 1);
    struct reject_sink *s = open_sink("amid", 0);
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    put_some(s, 0, 0, 60);
    assert_ok(reject_sink_sync(s, &none, &e), &e); /* killed */
    reject_sink_close(s);
    for (uint64_t at = 0; at < 100; at += 20) { /* a checkpoint every 20, and killed 30 further each time */
        s = open_sink("amid", mark);
        put_some(s, 0, at, at + 20);
        assert_ok(reject_sink_sync(s, &mark, &e), &e);
        put_some(s, 0, at + 20, at + 50);
        assert_ok(reject_sink_sync(s, &none, &e), &e);
        reject_sink_close(s);
    }
    const struct seen seen = read_all("amid");
    assert_int_equal(seen.n, 130);
    for (int i = 0; i < 130; i++) assert_int_equal(seen.times[0][i], 1);
}

static void test_a_mark_beyond_the_end_reads_from_the_begin(void **state)
{
    struct err e = {0};
    uint64_t mark;
    (void)state;
    (void)rd_kafka_mock_topic_create(cluster, "anew", 1, 1);
    struct reject_sink *s = open_sink("anew", 0);
    put_some(s, 0, 0, 20);
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    reject_sink_close(s);
    s = open_sink("anew", mark + 1000); /* the topic was made anew since */
    put_some(s, 0, 10, 30);
    (void)sync_close(s);
    const struct seen seen = read_all("anew");
    assert_int_equal(seen.n, 30);
}

static void test_a_letter_too_large_goes_without_its_value(void **state)
{
    static char big[2000000];
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(cluster, "large", 1, 1);
    struct reject_sink *s = open_sink("large", 0);
    assert_ok(put(s, 0, 0, STR("\x01\x00\xff"), &e), &e);
    assert_ok(put(s, 0, 1, (struct str){big, sizeof big}, &e), &e); /* beyond our own limit */
    uint64_t mark;
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    rd_kafka_mock_push_request_errors(cluster, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    assert_ok(put(s, 0, 2, STR("\x01\x00\xff"), &e), &e); /* beyond the brokers' */
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    assert_ok(put(s, 0, 3, STR("\x01\x00\xff"), &e), &e); /* and the stream goes on */
    (void)sync_close(s);
    const struct seen seen = read_all("large");
    assert_int_equal(seen.n, 4);
    assert_int_equal(seen.without_value, 2);
    for (int i = 0; i < 4; i++) assert_int_equal(seen.times[0][i], 1);
}

static void test_brokers_away_is_a_wait_and_not_a_loss(void **state)
{
    struct err e = {0};
    uint64_t mark = 9;
    (void)state;
    (void)rd_kafka_mock_topic_create(cluster, "away", 1, 1);
    struct reject_sink *s = open_sink("away", 0);
    put_some(s, 0, 0, 10);
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    rd_kafka_mock_broker_set_down(cluster, -1);
    put_some(s, 0, 10, 20);
    assert_int_equal(reject_sink_sync(s, &mark, &e), STATUS_FULL);
    assert_non_null(strstr(e.text, "away"));
    rd_kafka_mock_broker_set_up(cluster, -1);
    enum status st = STATUS_FULL;
    for (int i = 0; i < 20 && st == STATUS_FULL; i++) st = reject_sink_sync(s, &mark, &e);
    assert_ok(st, &e);
    reject_sink_close(s);
    const struct seen seen = read_all("away");
    assert_int_equal(seen.n, 20);
}

/* With the brokers away; the queue takes 4 MiB. */
static struct reject_sink *open_small(const char *topic)
{
    struct err e = {0};
    uint64_t mark;
    (void)rd_kafka_mock_topic_create(cluster, topic, 1, 1);
    set("kafka.queue.buffering.max.kbytes", "4096");
    struct reject_sink *s = open_sink(topic, 0);
    set("kafka.queue.buffering.max.kbytes", "131072");
    put_some(s, 0, 0, 1);
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    rd_kafka_mock_broker_set_down(cluster, -1);
    return s;
}

static void test_few_large_letters_are_full_before_the_queue_is(void **state)
{
    static char large[100000];
    struct err e = {0};
    uint64_t mark, n = 1;
    (void)state;
    struct reject_sink *s = open_small("bytes");
    while (n < 30 && put(s, 0, n, (struct str){large, sizeof large}, &e) == STATUS_OK) n++;
    assert_int_equal(n, 11);
    rd_kafka_mock_broker_set_up(cluster, -1);
    enum status st = STATUS_FULL;
    for (int i = 0; i < 20 && st == STATUS_FULL; i++) st = reject_sink_sync(s, &mark, &e);
    assert_ok(st, &e);
    assert_ok(put(s, 0, n + 1, (struct str){large, sizeof large}, &e), &e); /* all are out: there is room again */
    (void)sync_close(s);
    const struct seen seen = read_all("bytes");
    assert_int_equal(seen.large, 12);
}

static void test_a_letter_beyond_the_queue_goes_without_its_value(void **state)
{
    static char huge[5000000];
    struct err e = {0};
    (void)state;
    set("ingest.max_bytes", "8000000"); /* message.max.bytes with it */
    struct reject_sink *s = open_small("beyond");
    rd_kafka_mock_broker_set_up(cluster, -1);
    assert_ok(put(s, 0, 1, (struct str){huge, sizeof huge}, &e), &e);
    (void)sync_close(s);
    assert_int_equal(read_all("beyond").without_value, 1);
}

/* For good in this process: the last test.  What did not go is an error, so that no checkpoint comes to lie behind it. */
static void test_a_stop_ends_the_wait_for_room(void **state)
{
    static char large[100000];
    struct err e = {0};
    enum status st = STATUS_OK;
    (void)state;
    struct reject_sink *s = open_small("stop");
    source_interrupt();
    assert_true(source_interrupted());
    for (uint64_t n = 1; n < 60 && (st == STATUS_OK || st == STATUS_FULL); n++)
        st = put(s, 0, n, (struct str){large, sizeof large}, &e);
    assert_int_equal(st, STATUS_IO);
    assert_non_null(strstr(e.text, "stop"));
    reject_sink_close(s);
    rd_kafka_mock_broker_set_up(cluster, -1);
}

static void test_a_topic_that_is_not_there_is_named(void **state)
{
    struct reject_sink *s = NULL;
    struct err e = {0};
    (void)state;
    rd_kafka_mock_topic_set_error(cluster, "absent", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    set("ingest.dead_letters", "topic:absent");
    assert_int_equal(reject_sink_open(&s, conf, 0, &e), STATUS_IO);
    assert_null(s);
    assert_non_null(strstr(e.text, "absent"));
    struct seen seen = {0};
    assert_int_equal(source_letters_read(conf, "absent", SOURCE_LETTERS_ALL, 0, take, &seen, &e), STATUS_IO);
    assert_non_null(strstr(e.text, "absent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_message_comes_back_whole),
        cmocka_unit_test(test_headers_are_those_of_kafka_connect),
        cmocka_unit_test(test_letters_sent_before_a_crash_are_not_sent_again),
        cmocka_unit_test(test_a_checkpoint_amid_known_letters_hides_none),
        cmocka_unit_test(test_a_mark_beyond_the_end_reads_from_the_begin),
        cmocka_unit_test(test_a_letter_too_large_goes_without_its_value),
        cmocka_unit_test(test_brokers_away_is_a_wait_and_not_a_loss),
        cmocka_unit_test(test_few_large_letters_are_full_before_the_queue_is),
        cmocka_unit_test(test_a_letter_beyond_the_queue_goes_without_its_value),
        cmocka_unit_test(test_a_topic_that_is_not_there_is_named),
        cmocka_unit_test(test_a_stop_ends_the_wait_for_room),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
