/* kafka_mock.h - librdkafka's mock cluster for tests: a cluster in this process, events produced into it.
 *
 * What a test has: a cluster, a config that points at it, and `kafka_mock_produce`.
 */
#ifndef TESTS_SUPPORT_KAFKA_MOCK_H
#define TESTS_SUPPORT_KAFKA_MOCK_H
#include "schemas/conf.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

struct kafka_mock {
    rd_kafka_t *owner;
    rd_kafka_mock_cluster_t *cluster;
};
struct kafka_mock kafka_mock_start(int brokers);
void kafka_mock_stop(struct kafka_mock *k);
struct conf *kafka_mock_conf(const struct kafka_mock *k, const char *topics); /* time-out 3 s; conf_free it */
void kafka_mock_set(struct conf *c, const char *key, const char *value);
/* Views "i<from>".."i<to - 1>" of users u0..u19 (the key), padded to about `bytes` each (0: as short as can be). */
void kafka_mock_produce(const struct conf *c, const char *topic, int from, int to, size_t bytes);
#endif
