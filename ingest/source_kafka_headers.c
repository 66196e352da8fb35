/* source_kafka_headers.c - see source_kafka_headers.h. */
#include "ingest/source_kafka_headers.h"
#include "ingest/reject_headers.h"
#include <librdkafka/rdkafka.h>
#include <string.h>

enum status source_kafka_headers(struct buf *b, const struct rd_kafka_message_s *m, const char *until, struct str *out,
                                 struct err *e)
{
    struct reject_header list[REJECT_HEADERS_MAX];
    rd_kafka_headers_t *headers = NULL;
    const char *name;
    const void *value;
    size_t n, end = SIZE_MAX, n_list = 0;
    *out = (struct str){NULL, 0};
    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return STATUS_OK;
    for (size_t i = 0; until != NULL && rd_kafka_header_get_all(headers, i, &name, &value, &n) == 0; i++)
        if (strcmp(name, until) == 0) end = i;
    for (size_t i = 0; i < end && n_list < REJECT_HEADERS_MAX; i++) {
        if (rd_kafka_header_get_all(headers, i, &name, &value, &n) != 0) break;
        list[n_list++] = (struct reject_header){str_from(name), {value, n}};
    }
    if (n_list == 0) return STATUS_OK;
    buf_clear(b);
    reject_headers_put(b, list, n_list);
    *out = (struct str){(const char *)b->p, b->n};
    return buf_status(b, e);
}
