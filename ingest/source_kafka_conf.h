/* source_kafka_conf.h - what consumer and producer share: librdkafka's configuration from kafka.*, its log, topic lists.
 *
 * The keys that freshet's guarantees hang on are its own and refused in kafka.*.  Not for other rooms.
 */
#ifndef INGEST_SOURCE_KAFKA_CONF_H
#define INGEST_SOURCE_KAFKA_CONF_H
#include "base/status.h"
#include "schemas/conf.h"

struct rd_kafka_s;
struct rd_kafka_conf_s;
struct source_kafka_pair {
    const char *key, *value;
};
/* defaults: overridden by kafka.*; own: set last, INVALID when kafka.* names one.  INVALID also without bootstrap.servers and
 * for what librdkafka refuses (its text is passed on). */
enum status source_kafka_conf_new(struct rd_kafka_conf_s **out, const struct conf *c,
                                  const struct source_kafka_pair *defaults, size_t n_defaults,
                                  const struct source_kafka_pair *own, size_t n_own, struct err *e) MUST_CHECK;
/* librdkafka's lines into our log; syslog levels.  Thread: any. */
void source_kafka_log(const struct rd_kafka_s *rk, int level, const char *facility, const char *text);
const char *source_kafka_get(const struct conf *c, const char *key); /* kafka.<key>, or NULL */
int source_kafka_timeout_ms(const struct conf *c); /* socket.connection.setup.timeout.ms, 10 s when not set */
#endif
