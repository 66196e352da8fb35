/* source_kafka_mock.c - see source_kafka_mock.h. */
#include "ingest/source_kafka_mock.h"
#include "base/mem.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

struct source_mock {
    rd_kafka_t *owner; /* a producer that sends nothing */
    rd_kafka_mock_cluster_t *cluster;
};

static enum status start(struct source_mock *m, const char *topic, int partitions, struct err *e)
{
    char why[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "log_level", "3", why, sizeof why);
    m->owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why); /* takes conf over */
    if (m->owner == NULL) {
        rd_kafka_conf_destroy(conf);
        return ERR_SET(e, STATUS_IO, "kafka: no mock cluster: %s", why);
    }
    m->cluster = rd_kafka_mock_cluster_new(m->owner, 1);
    if (m->cluster == NULL) return ERR_SET(e, STATUS_IO, "kafka: no mock cluster");
    const rd_kafka_resp_err_t rc = rd_kafka_mock_topic_create(m->cluster, topic, partitions, 1);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR
               ? STATUS_OK
               : ERR_SET(e, STATUS_IO, "kafka: no topic %s in the mock: %s", topic, rd_kafka_err2str(rc));
}

enum status source_mock_open(struct source_mock **out, const char *topic, int partitions, struct err *e)
{
    *out = NULL;
    struct source_mock *m = mem_calloc(1, sizeof *m);
    if (m == NULL) return ERR_SET(e, STATUS_OOM, "kafka: no memory for a mock cluster");
    const enum status st = start(m, topic, partitions, e);
    if (st == STATUS_OK)
        *out = m;
    else
        source_mock_close(m);
    return st;
}

const char *source_mock_servers(const struct source_mock *m)
{
    return rd_kafka_mock_cluster_bootstraps(m->cluster);
}

void source_mock_close(struct source_mock *m)
{
    if (m == NULL) return;
    if (m->cluster != NULL) rd_kafka_mock_cluster_destroy(m->cluster);
    if (m->owner != NULL) rd_kafka_destroy(m->owner);
    mem_free(m);
}
