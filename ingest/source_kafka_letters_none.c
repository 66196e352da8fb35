/* source_kafka_letters_none.c - stands in when freshet is built without Kafka: reading says so. */
#include "ingest/source_kafka_letters.h"

enum status source_letters_read(const struct conf *c, const char *topic, int32_t partition, uint64_t from,
                                source_letter_fn *fn, void *user, struct err *e)
{
    (void)c;
    (void)partition;
    (void)from;
    (void)fn;
    (void)user;
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "topic %s: this freshet is built without Kafka; configure with FRESHET_WITH_KAFKA=ON", topic);
}
