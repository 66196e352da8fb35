/* test_source_kafka_guard.c - what is made of offsets: duplicates, gaps, records that are not those that were taken; topics
 * that were cut or made anew; a hold that loses and doubles nothing.
 * labels: kafka
 * timeout: 120
 */
#include "tests/support/check.h"

#include "base/hash.h"
#include "ingest/source_kafka.h"
#include "tests/support/kafka_mock.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PARTITIONS 2

static struct kafka_mock mock, other;

static int setup(void **state)
{
    (void)state;
    mock = kafka_mock_start(1);
    other = kafka_mock_start(1); /* the same names, other contents */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kafka_mock_stop(&mock);
    kafka_mock_stop(&other);
    return mem_live() == 0 ? 0 : -1;
}

/* ---- the guard itself, without a broker ---- */

struct guard {
    struct source_kafka s;
    struct source_kafka_part part;
    struct conf *conf;
};

static struct guard *guard_start(struct guard *g, enum source_kafka_policy policy)
{
    struct err e = {0};
    memset(g, 0, sizeof *g);
    assert_ok(conf_new(&g->conf, &e), &e);
    (void)pthread_mutex_init(&g->s.lock, NULL);
    g->s.conf = g->conf;
    g->s.clock = clock_system();
    g->s.topics[0] = (struct source_kafka_topic){.name = (char *)(uintptr_t) "t", .policy = policy};
    g->s.n_topics = 1;
    g->part = (struct source_kafka_part){.owned = true, .begun = true, .next = 10};
    return g;
}

static void guard_stop(struct guard *g)
{
    conf_free(g->conf);
    (void)pthread_mutex_destroy(&g->s.lock);
}

/* As the reader does: what is given out moves next. */
static enum source_kafka_verdict judge(struct guard *g, uint64_t offset)
{
    const enum source_kafka_verdict v = source_kafka_judge(&g->s, &g->part, offset, 77);
    if (v == SOURCE_KAFKA_GIVE_OUT) g->part.next = offset + 1;
    return v;
}

static void test_lower_offsets_are_dropped_and_counted(void **state)
{
    struct guard g;
    (void)state;
    (void)guard_start(&g, SOURCE_KAFKA_DELETE);
    assert_int_equal(judge(&g, 9), SOURCE_KAFKA_DROP);
    assert_int_equal(judge(&g, 10), SOURCE_KAFKA_GIVE_OUT);
    assert_int_equal(judge(&g, 10), SOURCE_KAFKA_DROP);
    assert_int_equal(judge(&g, 0), SOURCE_KAFKA_DROP);
    assert_int_equal(judge(&g, 11), SOURCE_KAFKA_GIVE_OUT);
    assert_true(g.s.health.duplicates == 3 && g.s.health.gaps == 0);
    g.part.leaving = true; /* asked back: nothing more is taken */
    assert_int_equal(judge(&g, 12), SOURCE_KAFKA_DROP);
    g.part.leaving = g.part.owned = false;
    assert_int_equal(judge(&g, 12), SOURCE_KAFKA_DROP);
    assert_int_equal(g.s.health.duplicates, 3);
    guard_stop(&g);
}

static void test_gaps_alarm_where_none_can_be(void **state)
{
    static const struct {
        enum source_kafka_policy policy;
        const char *gaps;
        bool alarm;
    } cases[] = {{SOURCE_KAFKA_DELETE, "auto", true},
                 {SOURCE_KAFKA_UNKNOWN, "auto", true},
                 {SOURCE_KAFKA_COMPACT, "auto", false},
                 {SOURCE_KAFKA_DELETE, "expected", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct guard g;
        (void)guard_start(&g, cases[i].policy);
        kafka_mock_set(g.conf, "ingest.gaps", cases[i].gaps);
        assert_int_equal(judge(&g, 15), SOURCE_KAFKA_GIVE_OUT); /* where it begins is no gap */
        assert_int_equal(g.s.health.gaps, 0);
        assert_int_equal(judge(&g, 16), SOURCE_KAFKA_GIVE_OUT);
        assert_int_equal(judge(&g, 20), SOURCE_KAFKA_GIVE_OUT);
        assert_int_equal(g.s.health.gaps, 3);
        assert_int_equal(g.s.health.gap_alarms, cases[i].alarm ? 3 : 0);
        assert_int_equal(g.s.health.text[0] != 0, cases[i].alarm);
        guard_stop(&g);
    }
}

static void test_a_gap_after_a_pause_is_looked_at_twice(void **state)
{
    struct guard g;
    (void)state;
    (void)guard_start(&g, SOURCE_KAFKA_DELETE);
    g.part.follows = g.part.shaken = true;
    assert_int_equal(judge(&g, 12), SOURCE_KAFKA_AGAIN); /* librdkafka's, maybe */
    assert_int_equal(g.s.health.gaps, 0);
    assert_int_equal(judge(&g, 10), SOURCE_KAFKA_GIVE_OUT); /* it was */
    g.part.shaken = true;
    assert_int_equal(judge(&g, 13), SOURCE_KAFKA_AGAIN);
    g.part.shaken = true;                                   /* positioned anew */
    assert_int_equal(judge(&g, 13), SOURCE_KAFKA_GIVE_OUT); /* it is the topic's */
    assert_int_equal(g.s.health.gaps, 2);
    guard_stop(&g);
}

static void test_the_record_before_is_compared(void **state)
{
    struct guard g;
    (void)state;
    (void)guard_start(&g, SOURCE_KAFKA_DELETE);
    g.part.verify = g.part.follows = true;
    g.part.mark = 77;
    assert_int_equal(judge(&g, 9), SOURCE_KAFKA_DROP); /* the same: not a duplicate, asked for */
    assert_true(!g.part.verify && g.s.health.duplicates == 0);
    assert_int_equal(judge(&g, 10), SOURCE_KAFKA_GIVE_OUT);
    g.part.verify = true;
    g.part.mark = 78;
    assert_int_equal(judge(&g, 10), SOURCE_KAFKA_REPLACED);
    g.part.verify = true;
    assert_int_equal(judge(&g, 11), SOURCE_KAFKA_GIVE_OUT); /* gone by compaction */
    assert_true(!g.part.verify && g.s.health.gaps == 0);
    g.part.doubtful = true;
    assert_int_equal(judge(&g, 12), SOURCE_KAFKA_AGAIN);
    guard_stop(&g);
}

/* ---- with a broker ---- */

static void read_all(struct source *s, struct source_offset *at, int *items, size_t want)
{
    struct source_batch *b = NULL;
    struct err e = {0};
    size_t n = 0;
    assert_ok(source_batch_new(&b, &e), &e);
    for (int i = 0; i < 500 && n < want; i++) {
        const enum status st = source_next(s, b, 20, &e);
        if (st != STATUS_AGAIN) assert_ok(st, &e);
        for (uint32_t k = 0; k < b->n; k++) {
            const struct source_record *r = &b->records[k];
            int item = -1;
            if (r->kind != SOURCE_EVENT && r->kind != SOURCE_REJECT) continue;
            assert_int_equal(sscanf(strstr(r->raw.value.p, "\"item\":\"i") + 9, "%d", &item),
                             1); /* long ones are refused */
            if (items != NULL) items[item]++;
            at[r->at.partition] = (struct source_offset){.partition = r->at.partition,
                                                         .next = r->at.offset + 1,
                                                         .mark = r->mark,
                                                         .records = at[r->at.partition].records + 1};
            n++;
        }
    }
    assert_int_equal(n, want);
    source_batch_free(b);
}

/* Reads until the source fails; what it says. */
static void read_to_fault(struct source *s, struct err *e)
{
    struct source_batch *b = NULL;
    enum status st = STATUS_AGAIN;
    assert_ok(source_batch_new(&b, e), e);
    for (int i = 0; i < 200 && (st == STATUS_OK || st == STATUS_AGAIN); i++) st = source_next(s, b, 20, e);
    assert_int_equal(st, STATUS_IO);
    source_batch_free(b);
}

static void test_a_topic_made_anew_is_noticed(void **state)
{
    struct source_offset at[PARTITIONS] = {{0}, {.partition = 1}}, again[PARTITIONS] = {{0}};
    static int items[200];
    struct source *s = NULL;
    struct source_health health;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "anew", PARTITIONS, 1);
    (void)rd_kafka_mock_topic_create(other.cluster, "anew", PARTITIONS, 1);
    struct conf *c = kafka_mock_conf(&mock, "anew"), *c2 = kafka_mock_conf(&other, "anew");
    kafka_mock_set(c, "ingest.membership", "assign");
    kafka_mock_set(c2, "ingest.membership", "assign");
    kafka_mock_produce(c, "anew", 0, 100, 0);
    kafka_mock_produce(c2, "anew", 20, 160, 0); /* longer: offsets alone would not tell */
    assert_ok(source_open_kafka(&s, c, clock_system(), NULL, 0, &e), &e);
    read_all(s, at, NULL, 100);
    source_close(s);

    assert_ok(source_open_kafka(&s, c, clock_system(), at, PARTITIONS, &e), &e); /* the same one: goes on */
    kafka_mock_produce(c, "anew", 100, 110, 0);
    read_all(s, at, NULL, 10);
    source_health(s, &health);
    assert_true(health.duplicates == 0 && health.gaps == 0);
    source_close(s);

    assert_ok(source_open_kafka(&s, c2, clock_system(), at, PARTITIONS, &e), &e); /* the other one */
    read_to_fault(s, &e);
    assert_non_null(strstr(e.text, "topic anew partition"));
    assert_non_null(strstr(e.text, "made anew"));
    assert_non_null(strstr(e.text, "ingest.missing=earliest"));
    source_close(s);

    kafka_mock_set(c2, "ingest.missing", "earliest");
    assert_ok(source_open_kafka(&s, c2, clock_system(), at, PARTITIONS, &e), &e);
    read_all(s, again, items, 140);
    for (int i = 20; i < 160; i++) assert_int_equal(items[i], 1);
    source_health(s, &health);
    assert_true(health.gap_alarms >= 2 && strstr(health.text, "made anew") == NULL); /* said, then read on */
    source_close(s);

    kafka_mock_set(c2, "ingest.missing", "latest");
    assert_ok(source_open_kafka(&s, c2, clock_system(), at, PARTITIONS, &e), &e);
    struct source_batch *b = NULL;
    size_t joined = 0;
    assert_ok(source_batch_new(&b, &e), &e);
    for (int i = 0; i < 200 && joined < 2 * PARTITIONS; i++) { /* told again when they have moved to their ends */
        const enum status st = source_next(s, b, 20, &e);
        if (st != STATUS_AGAIN) assert_ok(st, &e);
        for (uint32_t k = 0; k < b->n; k++) assert_int_not_equal(b->records[k].kind, SOURCE_EVENT);
        for (uint32_t k = 0; k < b->n; k++) joined += b->records[k].kind == SOURCE_JOINED;
    }
    source_batch_free(b);
    kafka_mock_produce(c2, "anew", 160, 170, 0);
    memset(items, 0, sizeof items);
    read_all(s, again, items, 10);
    for (int i = 160; i < 170; i++) assert_int_equal(items[i], 1);
    source_close(s);
    conf_free(c);
    conf_free(c2);
}

static void test_a_topic_cut_below_the_checkpoint_is_loud(void **state)
{
    struct source_offset at[1] = {{.next = 3, .mark = 5, .records = 3}}, beyond[1] = {{.next = 5000, .mark = 5}};
    static int items[200];
    struct source *s = NULL;
    struct source_health health;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "cut", 1, 1);
    struct conf *c = kafka_mock_conf(&mock, "cut");
    kafka_mock_set(c, "ingest.membership", "assign");
    kafka_mock_produce(c, "cut", 0, 100, 90000); /* the mock keeps 5 MB of them */
    assert_int_equal(source_open_kafka(&s, c, clock_system(), at, 1, &e), STATUS_IO);
    for (size_t i = 0; i < 4; i++) {
        static const char *const says[] = {"topic cut partition 0", "goes on at offset 3", "to 100",
                                           "ingest.missing=earliest"};
        assert_non_null(strstr(e.text, says[i]));
    }
    assert_non_null(strstr(e.text, "ts="));
    assert_int_equal(source_open_kafka(&s, c, clock_system(), beyond, 1, &e), STATUS_IO);
    assert_non_null(strstr(e.text, "5000"));
    kafka_mock_set(c, "ingest.missing", "earliest");
    assert_ok(source_open_kafka(&s, c, clock_system(), at, 1, &e), &e);
    struct source_offset begin;
    assert_int_equal(source_partitions(s, &begin, 1), 1);
    assert_true(begin.next > 3 && begin.next < 100);
    read_all(s, at, items, 100 - begin.next);
    for (uint64_t i = begin.next; i < 100; i++) assert_int_equal(items[i], 1);
    source_health(s, &health);
    assert_int_equal(health.gap_alarms, begin.next - 3);
    source_close(s);
    conf_free(c);
}

static void test_a_hold_loses_and_doubles_nothing(void **state)
{
    struct source_offset at[PARTITIONS] = {{0}};
    static int items[6000];
    struct source *s = NULL;
    struct source_batch *b = NULL;
    struct source_health health;
    struct err e = {0};
    size_t n = 0;
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "pause", PARTITIONS, 1);
    struct conf *c = kafka_mock_conf(&mock, "pause");
    kafka_mock_set(c, "ingest.membership", "assign");
    kafka_mock_produce(c, "pause", 0, 6000, 0);
    assert_ok(source_batch_new(&b, &e), &e);
    assert_ok(source_open_kafka(&s, c, clock_system(), NULL, 0, &e), &e);
    for (int i = 0; i < 1000 && n < 6000; i++) {
        /* the first hold comes when librdkafka has fetched and nothing was given out */
        const enum status st = source_next(s, b, i == 0 ? 0 : 20, &e);
        if (st != STATUS_AGAIN) assert_ok(st, &e);
        for (uint32_t k = 0; k < b->n; k++) {
            const struct source_record *r = &b->records[k];
            int item = -1;
            if (r->kind != SOURCE_EVENT) continue;
            assert_int_equal(r->at.offset, at[r->at.partition].next);
            at[r->at.partition].next++;
            assert_int_equal(sscanf(r->event.item.p, "i%d", &item), 1);
            items[item]++;
            n++;
        }
        if (i > 0 && st == STATUS_AGAIN)
            continue; /* held when batches are out */
        (void)nanosleep(&(struct timespec){0, i == 0 ? 300000000 : 2000000}, NULL);
        for (int k = 0; k < 1 + i % 3; k++) assert_ok(source_hold(s, 1, &e), &e);
    }
    for (int i = 0; i < 6000; i++) assert_int_equal(items[i], 1);
    source_health(s, &health);
    assert_true(health.gaps == 0);
    source_batch_free(b);
    source_close(s);
    conf_free(c);
}

static void test_new_partitions_are_read_from_their_first_record(void **state)
{
    struct source_offset at[PARTITIONS] = {{.next = 5, .records = 5}}, begin[PARTITIONS];
    struct source *s = NULL;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "grown", PARTITIONS, 1);
    struct conf *c = kafka_mock_conf(&mock, "grown");
    kafka_mock_set(c, "ingest.membership", "assign");
    kafka_mock_set(c, "ingest.start", "latest"); /* spent when the checkpoint was made */
    kafka_mock_produce(c, "grown", 0, 100, 0);
    assert_ok(source_open_kafka(&s, c, clock_system(), at, 1, &e), &e);
    assert_int_equal(source_partitions(s, begin, PARTITIONS), PARTITIONS);
    assert_true(begin[0].next == 5 && begin[1].next == 0);
    source_close(s);
    assert_ok(source_open_kafka(&s, c, clock_system(), NULL, 0, &e), &e); /* a new state: both at the end */
    (void)source_partitions(s, begin, PARTITIONS);
    assert_true(begin[0].next + begin[1].next == 100);
    struct source_batch *b = NULL; /* which must be durable before anything is learnt */
    assert_ok(source_batch_new(&b, &e), &e);
    assert_ok(source_next(s, b, 100, &e), &e);
    assert_true(b->barrier != 0 && b->n == PARTITIONS && b->records[0].kind == SOURCE_JOINED);
    source_batch_free(b);
    source_close(s);
    conf_free(c);
}

static enum status open_once(const struct conf *c)
{
    struct source *s = NULL;
    struct err e = {0};
    const struct source_offset at = {.next = 3, .mark = 9, .records = 3};
    const enum status st = source_open_kafka(&s, c, clock_system(), &at, 1, &e);
    if (st == STATUS_OK) source_close(s);
    return st;
}

static void test_opening_survives_each_failed_allocation(void **state)
{
    long n = 0;
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "oom", PARTITIONS, 1);
    struct conf *c = kafka_mock_conf(&mock, "oom");
    kafka_mock_produce(c, "oom", 0, 20, 0);
    FAIL_EACH_ALLOCATION(n, open_once(c));
    assert_true(n >= 4);
    conf_free(c);
}

static void test_an_outage_is_told_and_ends_by_itself(void **state)
{
    struct source_offset at[PARTITIONS] = {{0}};
    struct source *s = NULL;
    struct source_batch *b = NULL;
    struct source_health health;
    struct err e = {0};
    (void)state;
    (void)rd_kafka_mock_topic_create(mock.cluster, "outage", PARTITIONS, 1);
    struct conf *c = kafka_mock_conf(&mock, "outage");
    kafka_mock_set(c, "ingest.membership", "assign");
    kafka_mock_set(c, "kafka.statistics.interval.ms", "100");
    kafka_mock_set(c, "kafka.reconnect.backoff.max.ms", "200");
    kafka_mock_produce(c, "outage", 0, 100, 0);
    assert_ok(source_batch_new(&b, &e), &e);
    assert_ok(source_open_kafka(&s, c, clock_system(), NULL, 0, &e), &e);
    read_all(s, at, NULL, 100);
    assert_int_equal(rd_kafka_mock_broker_set_down(mock.cluster, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(source_next(s, b, 10, &e), STATUS_AGAIN);
        source_health(s, &health);
        if (!health.up && health.down_ms > 0 && health.text[0] != 0) break;
    }
    assert_true(!health.up && health.down_ms > 0 && health.text[0] != 0);
    assert_int_equal(rd_kafka_mock_broker_set_up(mock.cluster, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    kafka_mock_produce(c, "outage", 100, 200, 0);
    read_all(s, at, NULL, 100);
    for (int i = 0; i < 500 && !health.up; i++) {
        assert_true(source_next(s, b, 10, &e) != STATUS_IO);
        source_health(s, &health);
    }
    assert_true(health.up && health.down_ms == 0 && health.gaps == 0 && health.duplicates == 0);
    source_batch_free(b);
    source_close(s);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower_offsets_are_dropped_and_counted),
        cmocka_unit_test(test_gaps_alarm_where_none_can_be),
        cmocka_unit_test(test_a_gap_after_a_pause_is_looked_at_twice),
        cmocka_unit_test(test_the_record_before_is_compared),
        cmocka_unit_test(test_a_topic_made_anew_is_noticed),
        cmocka_unit_test(test_a_topic_cut_below_the_checkpoint_is_loud),
        cmocka_unit_test(test_a_hold_loses_and_doubles_nothing),
        cmocka_unit_test(test_new_partitions_are_read_from_their_first_record),
        cmocka_unit_test(test_opening_survives_each_failed_allocation),
        cmocka_unit_test(test_an_outage_is_told_and_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
