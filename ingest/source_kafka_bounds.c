/* source_kafka_bounds.c - ListOffsets with the two times that stand for the ends (KIP-79). */
#include "ingest/source_kafka_bounds.h"
#include <librdkafka/rdkafka.h>

static rd_kafka_resp_err_t ask(rd_kafka_t *rk, const char *topic, uint32_t partition, int64_t which, int timeout_ms,
                               uint64_t *out)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(list, topic, (int32_t)partition);
    p->offset = which;
    rd_kafka_resp_err_t rc = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) rc = p->err;
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR && p->offset < 0) rc = RD_KAFKA_RESP_ERR__BAD_MSG;
    if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) *out = (uint64_t)p->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

int source_kafka_bounds(struct rd_kafka_s *rk, const char *topic, uint32_t partition, int timeout_ms, uint64_t *first,
                        uint64_t *next)
{
    *first = *next = 0;
    const rd_kafka_resp_err_t rc = ask(rk, topic, partition, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, first);
    return rc != RD_KAFKA_RESP_ERR_NO_ERROR ? rc : ask(rk, topic, partition, RD_KAFKA_OFFSET_END, timeout_ms, next);
}
