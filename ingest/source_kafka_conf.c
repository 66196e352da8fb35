/* source_kafka_conf.c - kafka.* handed through, librdkafka's lines into our log. */
#include "ingest/source_kafka_conf.h"
#include "base/log.h"
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000

const char *source_kafka_get(const struct conf *c, const char *key)
{
    for (size_t i = c->n_kafka; i-- > 0;)
        if (strcmp(c->kafka[i].key, key) == 0) return c->kafka[i].value;
    return NULL;
}

int source_kafka_timeout_ms(const struct conf *c)
{
    const char *text = source_kafka_get(c, "socket.connection.setup.timeout.ms");
    const long ms = text != NULL ? strtol(text, NULL, 10) : TIMEOUT_MS;
    return ms > 0 && ms <= 3600000 ? (int)ms : TIMEOUT_MS;
}

void source_kafka_log(const struct rd_kafka_s *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    log_limited(level <= 3   ? LOG_ERROR
                : level <= 4 ? LOG_WARN
                             : LOG_DEBUG,
                "kafka", "facility=%s text=\"%s\"", facility, text);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)rk;
    (void)opaque;
    log_limited(LOG_WARN, "kafka.error", "code=%s reason=\"%s\"", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

static enum status set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *e)
{
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof why) == RD_KAFKA_CONF_OK) return STATUS_OK;
    return ERR_SET(e, STATUS_INVALID, "kafka.%s: %s", key, why);
}

static enum status apply(rd_kafka_conf_t *conf, const struct conf *c, const struct source_kafka_pair *own, size_t n_own,
                         struct err *e)
{
    for (size_t i = 0; i < c->n_kafka; i++) {
        for (size_t k = 0; k < n_own; k++)
            if (strcmp(c->kafka[i].key, own[k].key) == 0)
                return ERR_SET(
                    e, STATUS_INVALID, "kafka.%s: set by freshet itself (%s); leave it out%s", own[k].key, own[k].value,
                    strcmp(own[k].key, "auto.offset.reset") == 0 ? ", ingest.start says where to begin" : "");
        TRY(set(conf, c->kafka[i].key, c->kafka[i].value, e));
    }
    return STATUS_OK;
}

enum status source_kafka_conf_new(struct rd_kafka_conf_s **out, const struct conf *c,
                                  const struct source_kafka_pair *defaults, size_t n_defaults,
                                  const struct source_kafka_pair *own, size_t n_own, struct err *e)
{
    enum status st = STATUS_OK;
    *out = NULL;
    if (source_kafka_get(c, "bootstrap.servers") == NULL)
        return ERR_SET(e, STATUS_INVALID,
                       "kafka.bootstrap.servers is not set; say where Kafka is, as in localhost:9092");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, source_kafka_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    for (size_t i = 0; i < n_defaults; i++) TRY_OUT(st, set(conf, defaults[i].key, defaults[i].value, e));
    TRY_OUT(st, apply(conf, c, own, n_own, e));
    for (size_t i = 0; i < n_own; i++) TRY_OUT(st, set(conf, own[i].key, own[i].value, e));
    *out = conf;
    conf = NULL;
out:
    if (conf != NULL) rd_kafka_conf_destroy(conf);
    return st;
}
