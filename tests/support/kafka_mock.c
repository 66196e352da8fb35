/* kafka_mock.c - see kafka_mock.h. */
#include "tests/support/check.h"

#include "base/status.h"
#include "ingest/source_kafka_producer.h"
#include "tests/support/kafka_mock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kafka_mock kafka_mock_start(int brokers)
{
    char why[256];
    struct kafka_mock k = {0};
    k.owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    assert_non_null(k.owner);
    k.cluster = rd_kafka_mock_cluster_new(k.owner, brokers);
    assert_non_null(k.cluster);
    return k;
}

void kafka_mock_stop(struct kafka_mock *k)
{
    rd_kafka_mock_cluster_destroy(k->cluster);
    rd_kafka_destroy(k->owner);
}

void kafka_mock_set(struct conf *c, const char *key, const char *value)
{
    struct err e = {0};
    assert_ok(conf_set(c, key, value, &e), &e);
}

struct conf *kafka_mock_conf(const struct kafka_mock *k, const char *topics)
{
    struct conf *c = NULL;
    struct err e = {0};
    assert_ok(conf_new(&c, &e), &e);
    kafka_mock_set(c, "kafka.bootstrap.servers", rd_kafka_mock_cluster_bootstraps(k->cluster));
    kafka_mock_set(c, "kafka.socket.connection.setup.timeout.ms", "3000");
    kafka_mock_set(c, "ingest.topics", topics);
    return c;
}

void kafka_mock_produce(const struct conf *c, const char *topic, int from, int to, size_t bytes)
{
    struct source_producer *p = NULL;
    struct err e = {0};
    char *value = calloc(1, bytes + 200), *pad = calloc(1, bytes + 1);
    assert_true(value != NULL && pad != NULL);
    memset(pad, 'x', bytes);
    assert_ok(source_producer_open(&p, c, topic, &e), &e);
    for (int i = from; i < to; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "u%d", i % 20);
        (void)snprintf(value, bytes + 200,
                       "{\"type\":\"view\",\"user\":\"%s\",\"item\":\"i%d\",\"time\":%lld,\"pad\":\"%s\"}", key, i,
                       1600000000000ll + i, pad);
        assert_ok(source_producer_send(p, str_from(key), str_from(value), NULL, 0, &e), &e);
    }
    assert_ok(source_producer_flush(p, 20000, &e), &e);
    source_producer_close(p);
    free(pad);
    free(value);
}
