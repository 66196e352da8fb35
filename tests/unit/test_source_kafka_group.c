/* test_source_kafka_group.c - a foreign member joins and leaves the learner's group, eager and cooperative; partitions are lost.
 *
 * On librdkafka's mock cluster; the foreign member is a plain consumer of this process.  The mock waits 3 s for a group's
 * first members, and a session's length less a second whenever one comes or goes.
 * labels: kafka
 * timeout: 180
 */
#include "tests/support/check.h"

#include "ingest/source.h"
#include "tests/support/kafka_mock.h"
#include <stdio.h>
#include <string.h>

#define PARTITIONS 4
#define ITEMS 1000

static struct kafka_mock mock;

struct seen { /* what the learner was given, as its checkpoint would hold it */
    struct source_offset offsets[PARTITIONS];
    bool ours[PARTITIONS];
    int items[ITEMS];
    uint32_t joined, left, n;
    uint64_t barrier; /* newest */
};

static int setup(void **state)
{
    (void)state;
    mock = kafka_mock_start(1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kafka_mock_stop(&mock);
    return mem_live() == 0 ? 0 : -1;
}

static struct conf *make_conf(const char *topic, const char *strategy)
{
    char group[100];
    (void)snprintf(group, sizeof group, "group-%s", topic);
    struct conf *c = kafka_mock_conf(&mock, topic);
    kafka_mock_set(c, "kafka.group.id", group);
    kafka_mock_set(c, "kafka.session.timeout.ms", "2500");
    kafka_mock_set(c, "kafka.heartbeat.interval.ms", "200");
    kafka_mock_set(c, "kafka.partition.assignment.strategy", strategy);
    return c;
}

static void take(struct seen *s, const struct source_record *r)
{
    struct source_offset *o = &s->offsets[r->at.partition];
    int item = -1;
    assert_true(r->at.partition < PARTITIONS);
    if (r->kind == SOURCE_JOINED) {
        assert_false(s->ours[r->at.partition]);
        assert_int_equal(r->at.offset, o->next); /* where we left it, whatever others did with it */
        s->ours[r->at.partition] = true;
        s->joined++;
    }
    if (r->kind == SOURCE_LEFT) {
        assert_true(s->ours[r->at.partition]);
        s->ours[r->at.partition] = false;
        s->left++;
    }
    if (r->kind != SOURCE_EVENT) return;
    assert_true(s->ours[r->at.partition]); /* nothing before JOINED, nothing after LEFT */
    assert_int_equal(r->at.offset, o->next);
    *o = (struct source_offset){.partition = r->at.partition, .next = r->at.offset + 1, .mark = r->mark};
    assert_int_equal(sscanf(r->event.item.p, "i%d", &item), 1);
    s->items[item]++;
    s->n++;
}

static void read_once(struct source *src, struct source_batch *b, struct seen *s, int wait_ms)
{
    struct err e = {0};
    const enum status st = source_next(src, b, wait_ms, &e);
    if (st != STATUS_AGAIN) assert_ok(st, &e);
    for (uint32_t i = 0; i < b->n; i++) take(s, &b->records[i]);
    if (b->barrier != 0) s->barrier = b->barrier;
}

static rd_kafka_t *join(const struct conf *c)
{
    char why[256];
    rd_kafka_conf_t *k = rd_kafka_conf_new();
    for (size_t i = 0; i < c->n_kafka; i++)
        assert_int_equal(rd_kafka_conf_set(k, c->kafka[i].key, c->kafka[i].value, why, sizeof why), RD_KAFKA_CONF_OK);
    (void)rd_kafka_conf_set(k, "auto.offset.reset", "error", why, sizeof why); /* what we committed must be there */
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, k, why, sizeof why);
    assert_non_null(rk);
    (void)rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, c->ingest_topics, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(rk, topics), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(topics);
    return rk;
}

static int foreign_read(rd_kafka_t *rk, int *messages)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 5);
    if (m != NULL) {
        assert_int_not_equal(m->err, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET);
        *messages += m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
        rd_kafka_message_destroy(m);
    }
    assert_int_equal(rd_kafka_assignment(rk, &list), RD_KAFKA_RESP_ERR_NO_ERROR);
    const int n = list->cnt;
    rd_kafka_topic_partition_list_destroy(list);
    return n;
}

static uint32_t n_ours(const struct seen *s)
{
    uint32_t n = 0;
    for (int i = 0; i < PARTITIONS; i++) n += s->ours[i];
    return n;
}

/* Reads ours and, where there is one, the foreign member's until each has its share, or the time is over. */
static void settle(struct source *src, struct source_batch *b, struct seen *s, rd_kafka_t *foreign, uint32_t ours)
{
    int messages = 0;
    for (int i = 0; i < 1500; i++) {
        read_once(src, b, s, 10);
        if (s->barrier != 0) {
            source_commit(src, s->offsets, PARTITIONS);
            source_released(src, s->barrier);
            s->barrier = 0;
        }
        const int theirs = foreign != NULL ? foreign_read(foreign, &messages) : 0;
        if (n_ours(s) == ours && theirs == (int)(PARTITIONS - ours) && (foreign != NULL || s->n % 200 == 0)) return;
    }
    fail_msg("%u partitions are ours, not %u", n_ours(s), ours);
}

static void read_items(struct source *src, struct source_batch *b, struct seen *s, uint32_t n)
{
    for (int i = 0; i < 1000 && s->n < n; i++) read_once(src, b, s, 20);
    assert_int_equal(s->n, n);
}

static int64_t committed(const struct conf *c, uint32_t partition)
{
    char why[256];
    rd_kafka_conf_t *k = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(k, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(mock.cluster), why, sizeof why);
    for (size_t i = 0; i < c->n_kafka; i++)
        if (strcmp(c->kafka[i].key, "group.id") == 0)
            (void)rd_kafka_conf_set(k, "group.id", c->kafka[i].value, why, sizeof why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, k, why, sizeof why);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, c->ingest_topics, (int32_t)partition);
    assert_int_equal(rd_kafka_committed(rk, list, 5000), RD_KAFKA_RESP_ERR_NO_ERROR);
    const int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return offset;
}

static void come_and_go(const char *topic, const char *strategy)
{
    static struct seen s;
    struct source *src = NULL;
    struct source_batch *b = NULL;
    struct source_health health;
    struct err e = {0};
    int messages = 0, theirs = 0;
    memset(&s, 0, sizeof s);
    (void)rd_kafka_mock_topic_create(mock.cluster, topic, PARTITIONS, 1);
    struct conf *c = make_conf(topic, strategy);
    kafka_mock_produce(c, topic, 0, 200, 0);
    assert_ok(source_batch_new(&b, &e), &e);
    assert_ok(source_open_kafka(&src, c, clock_system(), NULL, 0, &e), &e);
    read_items(src, b, &s, 200);
    assert_int_equal(n_ours(&s), PARTITIONS);
    source_health(src, &health);
    assert_true(health.up && health.partitions == PARTITIONS && health.rebalances >= 1 && health.lost == 0);

    source_commit(src, s.offsets, PARTITIONS); /* the mock takes none while members come, a broker does */

    /* one joins: it waits for our checkpoint */
    rd_kafka_t *foreign = join(c);
    for (int i = 0; i < 1000 && s.barrier == 0; i++) {
        read_once(src, b, &s, 10);
        theirs = foreign_read(foreign, &messages);
    }
    assert_true(s.barrier != 0 && s.left > 0);
    for (int i = 0; i < 20; i++) { /* not released: it does not get them, and we are still members */
        read_once(src, b, &s, 10);
        assert_int_equal(foreign_read(foreign, &messages), 0);
    }
    source_health(src, &health);
    assert_int_equal(health.partitions, PARTITIONS);
    settle(src, b, &s, foreign, 2);
    source_health(src, &health);
    assert_true(health.partitions == 2 && health.lost == 0 && health.duplicates == 0);

    /* each reads its own, the foreign one from what we told the group */
    kafka_mock_produce(c, topic, 200, 400, 0);
    for (int i = 0; i < 400 && (int)s.n + messages < 400; i++) {
        read_once(src, b, &s, 10);
        theirs = foreign_read(foreign, &messages);
    }
    assert_int_equal(theirs, 2);
    assert_true(s.n > 200 && s.n < 400);
    assert_int_equal(s.n + (uint32_t)messages, 400);

    /* what we say of its partitions by mistake does not reach the group */
    struct source_offset wrong[PARTITIONS];
    memcpy(wrong, s.offsets, sizeof wrong);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        wrong[i].partition = i;
        if (!s.ours[i]) wrong[i].next = 1;
    }
    source_commit(src, wrong, PARTITIONS);
    for (int i = 0; i < 30; i++) read_once(src, b, &s, 10);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        const int64_t told = committed(c, i);
        assert_true(s.ours[i] ? told == (int64_t)s.offsets[i].next : told != 1);
    }

    /* it leaves: what it read is ours to read all the same */
    (void)rd_kafka_consumer_close(foreign);
    rd_kafka_destroy(foreign);
    settle(src, b, &s, NULL, PARTITIONS);
    read_items(src, b, &s, 400);
    for (int i = 0; i < 400; i++) assert_int_equal(s.items[i], 1);
    source_health(src, &health);
    assert_true(health.gaps == 0 && health.lost == 0 && health.partitions == PARTITIONS);
    source_close(src);
    source_batch_free(b);
    conf_free(c);
}

static void test_a_foreign_member_comes_and_goes_eager(void **state)
{
    (void)state;
    come_and_go("eager", "range");
}

static void test_a_foreign_member_comes_and_goes_cooperative(void **state)
{
    (void)state;
    come_and_go("cooperative", "cooperative-sticky");
}

static void test_lost_partitions_are_not_committed_and_go_on(void **state)
{
    static struct seen s;
    struct source *src = NULL;
    struct source_batch *b = NULL;
    struct source_health health = {0};
    struct err e = {0};
    (void)state;
    memset(&s, 0, sizeof s);
    (void)rd_kafka_mock_topic_create(mock.cluster, "lost", PARTITIONS, 1);
    struct conf *c = make_conf("lost", "range");
    kafka_mock_set(c, "kafka.max.poll.interval.ms", "2500");
    kafka_mock_produce(c, "lost", 0, 200, 0);
    assert_ok(source_batch_new(&b, &e), &e);
    assert_ok(source_open_kafka(&src, c, clock_system(), NULL, 0, &e), &e);
    read_items(src, b, &s, 200);
    for (int i = 0; i < 30; i++) assert_ok(source_hold(src, 100, &e), &e); /* the learner takes longer than that */
    for (int i = 0; i < 10; i++) read_once(src, b, &s, 10);
    source_health(src, &health);
    assert_true(health.lost == 0 && health.partitions == PARTITIONS && s.left == 0);
    rd_kafka_mock_push_request_errors(mock.cluster, 12 /* Heartbeat */, 1, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    for (int i = 0; i < 1000 && s.left == 0; i++) read_once(src, b, &s, 10);
    assert_int_equal(s.left, PARTITIONS);
    assert_true(s.barrier == 0); /* nobody waits any more */
    source_health(src, &health);
    assert_true(health.lost == PARTITIONS && health.partitions == 0 && health.text[0] != 0);
    source_commit(src, s.offsets, PARTITIONS); /* the learner's next checkpoint: nothing of it is ours to tell */
    settle(src, b, &s, NULL, PARTITIONS);
    assert_int_equal(committed(c, 0), RD_KAFKA_OFFSET_INVALID);
    kafka_mock_produce(c, "lost", 200, 400, 0);
    read_items(src, b, &s, 400);
    for (int i = 0; i < 400; i++) assert_int_equal(s.items[i], 1);
    source_commit(src, s.offsets, PARTITIONS);
    source_close(src); /* sends what is under way */
    assert_int_equal(committed(c, 0), s.offsets[0].next);
    source_batch_free(b);
    conf_free(c);
}

/* Nobody takes records meanwhile: the group goes on, and they are read afterwards. */
static void test_partitions_that_come_while_held_are_read(void **state)
{
    static struct seen s;
    struct source *src = NULL;
    struct source_batch *b = NULL;
    struct source_health health = {0};
    struct err e = {0};
    (void)state;
    memset(&s, 0, sizeof s);
    (void)rd_kafka_mock_topic_create(mock.cluster, "held", PARTITIONS, 1);
    struct conf *c = make_conf("held", "range");
    kafka_mock_produce(c, "held", 0, 200, 0);
    assert_ok(source_batch_new(&b, &e), &e);
    assert_ok(source_open_kafka(&src, c, clock_system(), NULL, 0, &e), &e);
    read_items(src, b, &s, 200);
    assert_ok(source_hold(src, 10, &e), &e);
    rd_kafka_mock_push_request_errors(mock.cluster, 12 /* Heartbeat */, 1, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);
    for (int i = 0; i < 1000 && (health.lost == 0 || health.partitions == 0); i++) {
        assert_ok(source_hold(src, 10, &e), &e);
        source_health(src, &health);
    }
    assert_true(health.lost == PARTITIONS && health.partitions == PARTITIONS);
    memset(s.ours, 0, sizeof s.ours); /* that they were lost is told by their JOINED alone */
    kafka_mock_produce(c, "held", 200, 400, 0);
    read_items(src, b, &s, 400);
    for (int i = 0; i < 400; i++) assert_int_equal(s.items[i], 1);
    source_close(src);
    source_batch_free(b);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_foreign_member_comes_and_goes_eager),
        cmocka_unit_test(test_a_foreign_member_comes_and_goes_cooperative),
        cmocka_unit_test(test_lost_partitions_are_not_committed_and_go_on),
        cmocka_unit_test(test_partitions_that_come_while_held_are_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
