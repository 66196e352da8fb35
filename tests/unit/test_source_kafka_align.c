/* test_source_kafka_align.c - several partitions that are far behind come in the order of event time, however unevenly they
 * are filled and however they are fetched; none waits for one at its end, or for ever for one that gives nothing.
 *
 * On librdkafka's mock cluster.  The source's clock stands still: no time limit passes but by the test's will.
 * labels: kafka helgrind
 * timeout: 180
 */
#include "tests/support/check.h"

#include "base/rand.h"
#include "ingest/source_kafka.h"
#include "ingest/watermark.h"
#include "tests/support/kafka_mock.h"
#include <stdio.h>
#include <string.h>

enum { PARTITIONS = 4, EVENTS = 12000, STEP_MS = 1000, WAIT_MS = 8000, SOON_MS = 4000 };
#define FIRST_MS 1600000000000ll

static struct kafka_mock mock;
static struct clock_fake fake;

static int setup(void **state)
{
    (void)state;
    mock = kafka_mock_start(2);
    clock_fake_init(&fake, FIRST_MS);
    clock_fake_advance(&fake, 1); /* 0 is no time since when anything may wait */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kafka_mock_stop(&mock);
    return mem_live() == 0 ? 0 : -1;
}

/* ---- events with a place and a time of our own ---- */

static rd_kafka_t *producer_open(void)
{
    char why[256];
    rd_kafka_conf_t *k = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(k, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(mock.cluster), why, sizeof why);
    (void)rd_kafka_conf_set(k, "linger.ms", "0", why, sizeof why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, k, why, sizeof why);
    assert_non_null(rk);
    return rk;
}

static void produce(rd_kafka_t *rk, const char *topic, int32_t partition, int i)
{
    char value[128];
    const int n = snprintf(value, sizeof value, "{\"type\":\"view\",\"user\":\"u\",\"item\":\"i%d\",\"time\":%lld}", i,
                           FIRST_MS + (long long)i * STEP_MS);
    assert_int_equal(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                                       RD_KAFKA_V_VALUE(value, (size_t)n), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                       RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
}

static int32_t uneven(int i)
{
    const int r = i * 7919 % 100;
    return r < 80 ? 0 : r < 90 ? 1 : r < 95 ? 2 : 3;
}

/* One partition after the other, the last first: how they came says nothing of their times. */
static void fill(const char *topic, int from, int to, int32_t (*partition_of)(int))
{
    rd_kafka_t *rk = producer_open();
    for (int32_t p = PARTITIONS; p-- > 0;) {
        for (int i = from; i < to; i++)
            if (partition_of(i) == p) produce(rk, topic, p, i);
        assert_int_equal(rd_kafka_flush(rk, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    rd_kafka_destroy(rk);
}

static struct conf *conf_of(const char *topics)
{
    struct conf *c = kafka_mock_conf(&mock, topics);
    kafka_mock_set(c, "ingest.membership", "assign");
    kafka_mock_set(c, "kafka.queued.min.messages", "200"); /* many fetches, and queues that run full and empty */
    kafka_mock_set(c, "kafka.max.partition.fetch.bytes", "20000");
    return c;
}

struct seen {
    uint64_t next[2][PARTITIONS];
    int n, last;
    uint8_t items[EVENTS + 100];
};
static struct seen seen;

static struct source *open_source(const struct conf *c)
{
    struct source *s = NULL;
    struct err e = {0};
    memset(&seen, 0, sizeof seen);
    seen.last = -1;
    assert_ok(source_open_kafka(&s, c, &fake.base, NULL, 0, &e), &e);
    return s;
}

/* Its place in its partition, and behind everything that came before in time. */
static void take(const struct source_record *r)
{
    int item = -1;
    if (r->kind != SOURCE_EVENT) return;
    assert_int_equal(r->at.offset, seen.next[r->at.topic][r->at.partition]++);
    assert_int_equal(sscanf(r->event.item.p, "i%d", &item), 1);
    assert_true(item > seen.last); /* times are those of the numbers */
    seen.last = item;
    seen.items[item]++;
    seen.n++;
}

static void read_once(struct source *s, struct source_batch *b, int wait_ms)
{
    struct err e = {0};
    const enum status st = source_next(s, b, wait_ms, &e);
    if (st != STATUS_AGAIN) assert_ok(st, &e);
    for (uint32_t i = 0; i < b->n; i++) take(&b->records[i]);
    if (b->barrier != 0) source_released(s, b->barrier);
}

static void read_all(struct source *s, struct source_batch *b, int n)
{
    for (int i = 0; i < 3000 && seen.n < n; i++) read_once(s, b, 20);
    assert_int_equal(seen.n, n);
    for (int i = 0; i <= seen.last; i++) assert_true(seen.items[i] <= 1);
}

static void assert_clean(struct source *s)
{
    struct source_health health;
    source_health(s, &health);
    assert_true(health.duplicates == 0 && health.gaps == 0 && health.unaligned == 0);
}

static void test_uneven_partitions_come_in_the_order_of_time(void **state)
{
    struct source_batch *b = NULL;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "uneven", PARTITIONS, 1);
    fill("uneven", 0, EVENTS, uneven);
    struct conf *c = conf_of("uneven");
    struct source *s = open_source(c);
    assert_ok(source_batch_new(&b, &e), &e);
    read_all(s, b, EVENTS);
    assert_clean(s);
    source_close(s);
    source_batch_free(b);
    conf_free(c);
}

static int32_t third_is_empty(int i)
{
    return i < 10 ? 2 : i % 2 == 0 ? 0 : i % 200 == 1 ? 1 : 0;
}

/* Two topics; one partition ends early, one is empty, and the clock stands still. */
static void test_one_at_its_end_holds_nobody_back(void **state)
{
    struct source_batch *b = NULL;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "ended", PARTITIONS, 1);
    (void)rd_kafka_mock_topic_create(mock.cluster, "other", 1, 1);
    fill("ended", 0, 4000, third_is_empty);
    struct conf *c = conf_of("ended,other");
    struct source *s = open_source(c);
    assert_ok(source_batch_new(&b, &e), &e);
    read_all(s, b, 4000);
    assert_clean(s);
    source_close(s);
    source_batch_free(b);
    conf_free(c);
}

/* A read that waits ends with whatever comes into any partition. */
static void test_what_comes_live_comes_at_once(void **state)
{
    struct source_batch *b = NULL;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "live", PARTITIONS, 1);
    fill("live", 0, 100, uneven);
    struct conf *c = conf_of("live");
    kafka_mock_set(c, "join.idle_ms", "100000"); /* a wait does not end to tell of that */
    struct source *s = open_source(c);
    rd_kafka_t *rk = producer_open();
    assert_ok(source_batch_new(&b, &e), &e);
    read_all(s, b, 100);
    for (int i = 0; i < 20; i++) read_once(s, b, 20);
    for (int i = 100; i < 120; i++) {
        const int64_t start = clock_system()->mono_us(clock_system());
        produce(rk, "live", i % PARTITIONS, i);
        read_once(s, b, WAIT_MS);
        assert_int_equal(seen.n, i + 1);
        assert_in_range((clock_system()->mono_us(clock_system()) - start) / 1000, 0, SOON_MS);
    }
    assert_clean(s);
    rd_kafka_destroy(rk);
    source_close(s);
    source_batch_free(b);
    conf_free(c);
}

/* Heads that were taken out already come again. */
static void move_about(const char *topic, const char *strategy)
{
    struct source_batch *b = NULL;
    struct err e = {0};
    (void)rd_kafka_mock_topic_create(mock.cluster, topic, PARTITIONS, 1);
    fill(topic, 0, 4000, uneven);
    struct conf *c = conf_of(topic);
    if (strategy != NULL) {
        kafka_mock_set(c, "ingest.membership", "group");
        kafka_mock_set(c, "kafka.partition.assignment.strategy", strategy);
    }
    struct source *s = open_source(c);
    assert_ok(source_batch_new(&b, &e), &e);
    for (int i = 0; i < 3000 && seen.n < 4000; i++) {
        const int before = seen.n;
        read_once(s, b, 20);
        if (seen.n > before && i % 3 == 0) assert_ok(source_kafka_reposition((struct source_kafka *)s, &e), &e);
        if (seen.n > before && i % 4 == 0) assert_ok(source_hold(s, 1, &e), &e);
    }
    assert_int_equal(seen.n, 4000);
    assert_clean(s);
    source_close(s);
    source_batch_free(b);
    conf_free(c);
}

static void test_order_outlives_new_assignments(void **state)
{
    (void)state;
    move_about("assigned", NULL);
}

/* Places set anew at once after they were, and an end at once after that: librdkafka is not asked to stop what it is stopping. */
static void test_places_are_set_as_often_as_asked(void **state)
{
    (void)state;
    struct source_batch *b = NULL;
    struct err e = {0};
    (void)rd_kafka_mock_topic_create(mock.cluster, "often", PARTITIONS, 1);
    fill("often", 0, 400, uneven);
    for (int round = 0; round < 20; round++) {
        struct conf *c = conf_of("often");
        struct source *s = open_source(c);
        assert_ok(source_batch_new(&b, &e), &e);
        for (int i = 0; i < 500 && seen.n < 400; i++) read_once(s, b, 20);
        for (int i = 0; i < 30; i++) assert_ok(source_kafka_reposition((struct source_kafka *)s, &e), &e);
        source_close(s);
        source_batch_free(b);
        conf_free(c);
    }
}

static void test_order_outlives_seeks(void **state)
{
    (void)state;
    move_about("sought", "cooperative-sticky");
}

static int32_t by_turns(int i)
{
    return i % 2;
}

/* Partition 1 is another broker's, which is away: waited for, but not for ever, and read again when it is back. */
static void test_one_that_gives_nothing_is_given_up(void **state)
{
    struct source_batch *b = NULL;
    struct source_health health;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "away", 2, 1);
    assert_int_equal(rd_kafka_mock_partition_set_leader(mock.cluster, "away", 0, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_mock_partition_set_leader(mock.cluster, "away", 1, 2), RD_KAFKA_RESP_ERR_NO_ERROR);
    fill("away", 0, 200, by_turns);
    struct conf *c = conf_of("away");
    kafka_mock_set(c, "kafka.reconnect.backoff.max.ms", "200");
    struct source *s = open_source(c);
    assert_ok(source_batch_new(&b, &e), &e);
    assert_int_equal(rd_kafka_mock_broker_set_down(mock.cluster, 2), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < 20; i++) read_once(s, b, 20);
    assert_int_equal(seen.n, 0); /* what is away may be earlier */
    clock_fake_advance(&fake, c->ingest_align_ms - 1);
    for (int i = 0; i < 5; i++) read_once(s, b, 20);
    assert_int_equal(seen.n, 0);
    clock_fake_advance(&fake, 1);
    for (int i = 0; i < 500 && seen.n < 100; i++) read_once(s, b, 20);
    assert_int_equal(seen.next[0][0], 100);
    source_health(s, &health);
    assert_int_equal(health.unaligned, 1);
    assert_int_equal(rd_kafka_mock_broker_set_up(mock.cluster, 2), RD_KAFKA_RESP_ERR_NO_ERROR);
    seen.last = -1;
    for (int i = 0; i < 1000 && seen.n < 200; i++) read_once(s, b, 20);
    assert_int_equal(seen.n, 200);
    source_health(s, &health);
    assert_true(health.duplicates == 0 && health.gaps == 0 && health.unaligned == 1);
    source_close(s);
    source_batch_free(b);
    conf_free(c);
}

/* ---- without a broker ---- */

static void test_one_event_from_the_future_moves_nothing(void **state)
{
    struct conf *c = NULL;
    struct err e = {0};
    struct source_kafka_part p = {.time_ms = INT64_MIN};
    (void)state;
    assert_ok(conf_new(&c, &e), &e);
    const struct source_kafka s = {.conf = c};
    const int64_t jump = c->ingest_max_jump_ms;
    source_kafka_advance(&s, &p, 1000); /* the first is believed */
    assert_int_equal(p.time_ms, 1000);
    source_kafka_advance(&s, &p, 1000 + jump);
    source_kafka_advance(&s, &p, 500);
    assert_int_equal(p.time_ms, 1000 + jump); /* late ones don't move it back */
    for (int i = 0; i < WATERMARK_AGREE; i++) source_kafka_advance(&s, &p, 2000 + 2 * jump);
    assert_int_equal(p.time_ms, 1000 + jump);
    source_kafka_advance(&s, &p, 1001 + jump); /* it was the odd one */
    assert_int_equal(p.time_ms, 1001 + jump);
    for (int i = 0; i <= WATERMARK_AGREE; i++) source_kafka_advance(&s, &p, 2000 + 3 * jump);
    assert_int_equal(p.time_ms, 2000 + 3 * jump); /* all say so */
    conf_free(c);
}

static void test_turns_of_many_partitions(void **state)
{
    enum { MANY = 500 };
    static struct source_kafka_part parts[MANY];
    struct source_kafka s = {.parts = parts, .n_parts = MANY};
    struct rand r;
    struct err e = {0};
    int64_t last = INT64_MIN;
    (void)state;
    rand_init(&r, (struct rand_key){.seed = 7});
    for (size_t i = 0; i < MANY; i++)
        parts[i] = (struct source_kafka_part){
            .owned = i % 10 != 0, .leaving = i % 10 == 1, .awaited = true, .time_ms = (int64_t)rand_below(&r, 900)};
    assert_ok(source_kafka_order(&s, &e), &e);
    assert_int_equal(s.n_turns, MANY / 10 * 8);
    for (size_t left = s.n_turns * 3; s.n_turns > 0; left--) {
        struct source_kafka_part *p = source_kafka_first(&s);
        assert_true(left > 0 && p->owned && !p->leaving && p->time_ms >= last);
        last = p->time_ms;
        if (p->jumps++ < 2) /* it has more, later */
            p->time_ms += (int64_t)rand_below(&r, 900);
        else
            p->awaited = false;
        source_kafka_reorder_first(&s);
    }
    for (size_t i = 0; i < MANY; i++) assert_true(!parts[i].owned || parts[i].leaving || parts[i].jumps == 3);
    assert_null(source_kafka_first(&s));
    mem_free(s.turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uneven_partitions_come_in_the_order_of_time),
        cmocka_unit_test(test_one_at_its_end_holds_nobody_back),
        cmocka_unit_test(test_what_comes_live_comes_at_once),
        cmocka_unit_test(test_order_outlives_new_assignments),
        cmocka_unit_test(test_order_outlives_seeks),
        cmocka_unit_test(test_places_are_set_as_often_as_asked),
        cmocka_unit_test(test_one_that_gives_nothing_is_given_up),
        cmocka_unit_test(test_one_event_from_the_future_moves_nothing),
        cmocka_unit_test(test_turns_of_many_partitions),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
