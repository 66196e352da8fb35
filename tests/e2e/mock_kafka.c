/* mock_kafka.c - a Kafka cluster for the end-to-end scripts: librdkafka's mock, on free loopback ports.
 *
 *   mock_kafka [-b BROKERS] TOPIC:PARTITIONS...
 *
 * Prints its bootstrap.servers as one line when the topics are there, and serves until SIGTERM or until its parent ends.
 * The mock keeps at most 5 MiB of a partition: small logs only.  Commands on stdin, one a line, each answered with "ok" or
 * "error: …" (BROKER -1: all; API and CODE are the protocol's numbers, CODE -195: the connection breaks):
 *   push API CODE TIMES            the next TIMES requests of that kind are answered so
 *   clear API                      no more of that
 *   down BROKER | up BROKER | rtt BROKER MS
 *   leader TOPIC PARTITION BROKER  BROKER -1: none
 *   coordinator GROUP BROKER
 *   topic TOPIC CODE               what Metadata says of it; 0: nothing
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "mock_kafka: %s: %s\n", what, why);
    return 1;
}

/* "name:4" */
static int add_topic(rd_kafka_mock_cluster_t *cluster, const char *text)
{
    char name[250];
    const char *colon = strrchr(text, ':');
    const int partitions = colon != NULL ? atoi(colon + 1) : 0;
    if (partitions < 1 || (size_t)(colon - text) >= sizeof name) return fail(text, "give TOPIC:PARTITIONS");
    (void)snprintf(name, sizeof name, "%.*s", (int)(colon - text), text);
    const rd_kafka_resp_err_t rc = rd_kafka_mock_topic_create(cluster, name, partitions, 1);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : fail(text, rd_kafka_err2str(rc));
}

static bool is(const char *what, const char *name, int n, int want)
{
    return strcmp(what, name) == 0 && n == want;
}

static const char *push(rd_kafka_mock_cluster_t *cluster, int api, int code, int times)
{
    for (int i = 0; i < times; i++)
        rd_kafka_mock_push_request_errors(cluster, (int16_t)api, 1, (rd_kafka_resp_err_t)code);
    return "ok";
}

/* "push 1 6 2": a word, then words and numbers. */
static const char *command(rd_kafka_mock_cluster_t *cluster, const char *line)
{
    char what[20] = "", name[250] = "";
    int a = 0, b = 0, c = 0;
    rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR__INVALID_ARG;
    const int m = sscanf(line, "%19s %249s %d %d", what, name, &a, &b); /* a name first ... */
    const bool named = strcmp(what, "topic") == 0 || strcmp(what, "leader") == 0 || strcmp(what, "coordinator") == 0;
    const int n = named ? 0 : sscanf(line, "%19s %d %d %d", what, &a, &b, &c); /* ... or numbers alone */
    if (is(what, "push", n, 4)) return push(cluster, a, b, c);
    if (is(what, "clear", n, 2)) {
        rd_kafka_mock_clear_request_errors(cluster, (int16_t)a);
        return "ok";
    }
    if (is(what, "topic", m, 3)) {
        rd_kafka_mock_topic_set_error(cluster, name, (rd_kafka_resp_err_t)a);
        return "ok";
    }
    if (is(what, "down", n, 2)) rc = rd_kafka_mock_broker_set_down(cluster, a);
    if (is(what, "up", n, 2)) rc = rd_kafka_mock_broker_set_up(cluster, a);
    if (is(what, "rtt", n, 3)) rc = rd_kafka_mock_broker_set_rtt(cluster, a, b);
    if (is(what, "leader", m, 4)) rc = rd_kafka_mock_partition_set_leader(cluster, name, a, b);
    if (is(what, "coordinator", m, 3)) rc = rd_kafka_mock_coordinator_set(cluster, "group", name, a);
    return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? "ok" : "error: not a command of mock_kafka.c, or no such broker or topic";
}

static void *obey(void *cluster)
{
    char line[400];
    while (fgets(line, sizeof line, stdin) != NULL)
        if (printf("%s\n", command(cluster, line)) < 0 || fflush(stdout) != 0) break;
    return NULL;
}

static int serve(rd_kafka_mock_cluster_t *cluster, char **topics, int n, const sigset_t *until)
{
    int signal;
    pthread_t thread;
    for (int i = 0; i < n; i++)
        if (add_topic(cluster, topics[i]) != 0) return 1;
    if (printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster)) < 0 || fflush(stdout) != 0) return 1;
    if (pthread_create(&thread, NULL, obey, cluster) == 0) (void)pthread_detach(thread);
    return sigwait(until, &signal) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    char why[256] = "";
    sigset_t until;
    const bool many = argc > 2 && strcmp(argv[1], "-b") == 0;
    (void)sigemptyset(&until);
    (void)sigaddset(&until, SIGTERM);
    (void)sigaddset(&until, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &until, NULL); /* before the mock's thread is made: it inherits the mask */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "log_level", "3", why, sizeof why) != RD_KAFKA_CONF_OK) return fail("conf", why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why); /* takes conf over */
    if (rk == NULL) return fail("librdkafka", why);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, many ? atoi(argv[2]) : 1);
    const int rc = cluster != NULL ? serve(cluster, argv + (many ? 3 : 1), argc - (many ? 3 : 1), &until)
                                   : fail("cluster", "not to be made");
    if (cluster != NULL) rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    return rc;
}
