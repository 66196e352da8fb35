/* test_source_kafka_wake.c - a reader that empties librdkafka's queue faster than it is filled does not wait for it a second
 * each time.
 * labels: kafka
 * timeout: 120
 */
#include "tests/support/check.h"

#include "ingest/source.h"
#include "tests/support/kafka_mock.h"

enum { MESSAGES = 60000, FULL = 1000, FETCH_BYTES = 200000, MOST_MS = 4000 };

/* Some twenty fetches of 3,000 messages each, and the queue is full after every one. */
static void test_a_full_queue_that_was_emptied_is_filled_at_once(void **state)
{
    (void)state;
    char number[32];
    struct err e;
    struct source *s = NULL;
    struct source_batch *b = NULL;
    struct kafka_mock mock = kafka_mock_start(1);
    struct conf *c = kafka_mock_conf(&mock, "fast");
    (void)rd_kafka_mock_topic_create(mock.cluster, "fast", 1, 1);
    kafka_mock_set(c, "ingest.membership", "assign");
    (void)snprintf(number, sizeof number, "%d", FULL);
    kafka_mock_set(c, "kafka.queued.min.messages", number);
    (void)snprintf(number, sizeof number, "%d", FETCH_BYTES);
    kafka_mock_set(c, "kafka.fetch.message.max.bytes", number);
    kafka_mock_produce(c, "fast", 0, MESSAGES, 0);
    assert_ok(source_open_kafka(&s, c, clock_system(), NULL, 0, &e), &e);
    assert_ok(source_batch_new(&b, &e), &e);
    const int64_t start = clock_system()->mono_us(clock_system());
    uint64_t next = 0;
    while (next < MESSAGES) {
        if (source_next(s, b, 100, &e) != STATUS_OK) continue; /* the time-out of the test ends it */
        for (uint32_t i = 0; i < b->n; i++)
            if (b->records[i].kind == SOURCE_EVENT) assert_int_equal(b->records[i].at.offset, next++);
    }
    assert_in_range((clock_system()->mono_us(clock_system()) - start) / 1000, 0, MOST_MS);
    source_batch_free(b);
    source_close(s);
    conf_free(c);
    kafka_mock_stop(&mock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_full_queue_that_was_emptied_is_filled_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
