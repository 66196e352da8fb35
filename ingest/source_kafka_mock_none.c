/* source_kafka_mock_none.c - stands in for the mock cluster when freshet is built without Kafka: opening says so. */
#include "ingest/source_kafka_mock.h"
#include <stddef.h>

enum status source_mock_open(struct source_mock **out, const char *topic, int partitions, struct err *e)
{
    (void)topic;
    (void)partitions;
    *out = NULL;
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "kafka: this freshet is built without it; configure with FRESHET_WITH_KAFKA=ON");
}

/* Nobody holds one in such a build. */
const char *source_mock_servers(const struct source_mock *m)
{
    (void)m;
    return "";
}

void source_mock_close(struct source_mock *m)
{
    (void)m;
}
