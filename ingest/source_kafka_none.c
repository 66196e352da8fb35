/* source_kafka_none.c - stands in for source_kafka.c when freshet is built without Kafka: opening says so. */
#include "ingest/source.h"

enum status source_open_kafka(struct source **out, const struct conf *c, struct clock *clock,
                              const struct source_offset *offsets, size_t n_offsets, struct err *e)
{
    (void)c;
    (void)clock;
    (void)offsets;
    (void)n_offsets;
    *out = NULL;
    return ERR_SET(e, STATUS_UNSUPPORTED,
                   "kafka: this freshet is built without it; configure with FRESHET_WITH_KAFKA=ON");
}
