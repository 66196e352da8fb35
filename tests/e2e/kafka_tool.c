/* kafka_tool.c - what the end-to-end scripts do to a broker that kcat can't, without the seconds that a Java tool takes.
 *
 *   kafka_tool SERVERS create TOPIC PARTITIONS [KEY=VALUE...]   and waits until it can be written to
 *   kafka_tool SERVERS delete TOPIC                             and waits until it is gone
 *   kafka_tool SERVERS truncate TOPIC PARTITION OFFSET          DeleteRecords: OFFSET is the first that stays
 *   kafka_tool SERVERS produce TOPIC PARTITION [TIME_MS]        lines of stdin (key, tab, value), as if written at TIME_MS
 *   kafka_tool SERVERS transaction TOPIC PARTITION commit|abort the same in one transaction
 *   kafka_tool SERVERS committed GROUP TOPIC PARTITIONS         prints the group's committed offsets: partition, offset
 *   kafka_tool SERVERS ends TOPIC PARTITIONS                    prints partition, first offset, next offset
 *
 * Exit status 1 with a line on stderr when it failed.
 */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_MS = 20000 };

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "kafka_tool: %s: %s\n", what, why);
    return 1;
}

static int fail_code(const char *what, rd_kafka_resp_err_t code)
{
    return fail(what, rd_kafka_err2str(code));
}

static bool set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof why) == RD_KAFKA_CONF_OK) return true;
    (void)fail(key, why);
    return false;
}

/* A client with one setting of its own; NULL after a line on stderr. */
static rd_kafka_t *client(rd_kafka_type_t type, const char *servers, const char *key, const char *value)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (!set(conf, "bootstrap.servers", servers) || !set(conf, "log_level", "3") ||
        (key != NULL && !set(conf, key, value))) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why); /* takes conf over */
    if (rk == NULL) (void)fail("client", why);
    return rk;
}

static void nap(void)
{
    (void)nanosleep(&(struct timespec){0, 20000000}, NULL);
}

/* Partitions of the topic that have a leader; -1: there is no such topic. */
static int led(rd_kafka_t *rk, const char *topic)
{
    const struct rd_kafka_metadata *about = NULL;
    int n = 0;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    if (rkt == NULL) return -1;
    const rd_kafka_resp_err_t rc = rd_kafka_metadata(rk, 0, rkt, &about, WAIT_MS);
    rd_kafka_topic_destroy(rkt);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) return -1;
    if (about->topic_cnt != 1 || about->topics[0].err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) n = -1;
    for (int i = 0; n >= 0 && i < about->topics[0].partition_cnt; i++)
        if (about->topics[0].partitions[i].leader >= 0) n++;
    rd_kafka_metadata_destroy(about);
    return n;
}

static int await_led(rd_kafka_t *rk, const char *topic, int wanted)
{
    for (int ms = 0; ms < WAIT_MS; ms += 20) {
        if (led(rk, topic) == wanted) return 0;
        nap();
    }
    return fail(topic, wanted < 0 ? "still there" : "its partitions have no leader");
}

/* The answer's own error, then that of its first topic or group. */
static int take_answer(const char *what, rd_kafka_event_t *ev)
{
    size_t n = 0;
    if (ev == NULL) return fail(what, "no answer");
    if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR_NO_ERROR) return fail(what, rd_kafka_event_error_string(ev));
    const rd_kafka_topic_result_t **topics = NULL;
    if (rd_kafka_event_CreateTopics_result(ev) != NULL)
        topics = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
    else if (rd_kafka_event_DeleteTopics_result(ev) != NULL)
        topics = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n);
    if (n > 0 && rd_kafka_topic_result_error(topics[0]) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(what, rd_kafka_topic_result_error_string(topics[0]));
    if (rd_kafka_event_DeleteRecords_result(ev) != NULL) {
        const rd_kafka_topic_partition_list_t *list =
            rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(ev));
        if (list->elems[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) return fail_code(what, list->elems[0].err);
    }
    return 0;
}

static int create(rd_kafka_t *rk, int argc, char **argv)
{
    char why[256];
    const int partitions = argc >= 2 ? atoi(argv[1]) : 0;
    if (partitions < 1) return fail("create", "TOPIC PARTITIONS [KEY=VALUE...]");
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(argv[0], partitions, 1, why, sizeof why);
    if (topic == NULL) return fail(argv[0], why);
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value == NULL) return fail(argv[i], "no KEY=VALUE");
        *value = 0;
        (void)rd_kafka_NewTopic_set_config(topic, argv[i], value + 1);
    }
    rd_kafka_queue_t *answers = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &topic, 1, NULL, answers);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(answers, WAIT_MS);
    const int rc = take_answer(argv[0], ev);
    if (ev != NULL) rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(answers);
    rd_kafka_NewTopic_destroy(topic);
    return rc == 0 ? await_led(rk, argv[0], partitions) : rc;
}

static int delete_topic(rd_kafka_t *rk, int argc, char **argv)
{
    if (argc != 1) return fail("delete", "TOPIC");
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(argv[0]);
    rd_kafka_queue_t *answers = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopics(rk, &topic, 1, NULL, answers);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(answers, WAIT_MS);
    const int rc = take_answer(argv[0], ev);
    if (ev != NULL) rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(answers);
    rd_kafka_DeleteTopic_destroy(topic);
    return rc == 0 ? await_led(rk, argv[0], -1) : rc;
}

static int truncate_at(rd_kafka_t *rk, int argc, char **argv)
{
    if (argc != 3) return fail("truncate", "TOPIC PARTITION OFFSET");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, argv[0], atoi(argv[1]))->offset = atoll(argv[2]);
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t *answers = rd_kafka_queue_new(rk);
    rd_kafka_DeleteRecords(rk, &records, 1, NULL, answers);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(answers, WAIT_MS);
    const int rc = take_answer(argv[0], ev);
    if (ev != NULL) rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(answers);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

static int end_of(const char *what, rd_kafka_error_t *error)
{
    if (error == NULL) return 0;
    (void)fail(what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return 1;
}

/* Sends stdin's lines.  time_ms 0: now. */
static int send_lines(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t time_ms)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR_NO_ERROR;
    while (rc == RD_KAFKA_RESP_ERR_NO_ERROR && (n = getline(&line, &cap, stdin)) > 0) {
        if (line[n - 1] == '\n') line[--n] = 0;
        const char *tab = strchr(line, '\t'), *value = tab != NULL ? tab + 1 : line, *key = tab != NULL ? line : NULL;
        const size_t n_key = tab != NULL ? (size_t)(tab - line) : 0;
        rc = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, n_key),
                               RD_KAFKA_V_VALUE((void *)(uintptr_t)value, strlen(value)), RD_KAFKA_V_TIMESTAMP(time_ms),
                               RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        (void)rd_kafka_poll(rk, 0);
    }
    free(line);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : fail_code(topic, rc);
}

static int produce(rd_kafka_t *rk, int argc, char **argv)
{
    if (argc < 2) return fail("produce", "TOPIC PARTITION [TIME_MS]");
    if (send_lines(rk, argv[0], atoi(argv[1]), argc > 2 ? atoll(argv[2]) : 0) != 0) return 1;
    const rd_kafka_resp_err_t rc = rd_kafka_flush(rk, WAIT_MS);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : fail_code("flush", rc);
}

static int transaction(rd_kafka_t *rk, int argc, char **argv)
{
    if (argc != 3) return fail("transaction", "TOPIC PARTITION commit|abort");
    if (end_of("transactions", rd_kafka_init_transactions(rk, WAIT_MS)) != 0) return 1;
    if (end_of("begin", rd_kafka_begin_transaction(rk)) != 0) return 1;
    if (send_lines(rk, argv[0], atoi(argv[1]), 0) != 0) return 1;
    if (strcmp(argv[2], "commit") == 0) return end_of("commit", rd_kafka_commit_transaction(rk, WAIT_MS));
    if (rd_kafka_flush(rk, WAIT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) /* what is to be aborted is in the topic */
        return fail("flush", "not everything was written");
    return end_of("abort", rd_kafka_abort_transaction(rk, WAIT_MS));
}

static int committed(rd_kafka_t *rk, int argc, char **argv)
{
    if (argc != 2) return fail("committed", "GROUP TOPIC PARTITIONS");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (int i = 0; i < atoi(argv[1]); i++) (void)rd_kafka_topic_partition_list_add(list, argv[0], i);
    const rd_kafka_resp_err_t rc = rd_kafka_committed(rk, list, WAIT_MS);
    for (int i = 0; rc == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++)
        (void)printf("%d %lld\n", (int)list->elems[i].partition, (long long)list->elems[i].offset);
    rd_kafka_topic_partition_list_destroy(list);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : fail_code("committed", rc);
}

static int ends(rd_kafka_t *rk, int argc, char **argv)
{
    if (argc != 2) return fail("ends", "TOPIC PARTITIONS");
    for (int i = 0; i < atoi(argv[1]); i++) {
        int64_t low, high;
        const rd_kafka_resp_err_t rc = rd_kafka_query_watermark_offsets(rk, argv[0], i, &low, &high, WAIT_MS);
        if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) return fail_code(argv[0], rc);
        (void)printf("%d %lld %lld\n", i, (long long)low, (long long)high);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(rd_kafka_t *, int, char **);
    } commands[] = {{"create", create},   {"delete", delete_topic},     {"truncate", truncate_at},
                    {"produce", produce}, {"transaction", transaction}, {"committed", committed},
                    {"ends", ends}};
    if (argc < 4) return fail("usage", "SERVERS COMMAND ARGUMENTS");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[2], commands[i].name) != 0) continue;
        const bool reads = commands[i].run == committed; /* its first argument is the group */
        rd_kafka_t *rk = reads ? client(RD_KAFKA_CONSUMER, argv[1], "group.id", argv[3])
                               : client(RD_KAFKA_PRODUCER, argv[1],
                                        commands[i].run == transaction ? "transactional.id" : NULL, "kafka_tool");
        if (rk == NULL) return 1;
        const int rc = commands[i].run(rk, argc - 3 - reads, argv + 3 + reads);
        rd_kafka_destroy(rk);
        return rc;
    }
    return fail(argv[2], "no such command");
}
