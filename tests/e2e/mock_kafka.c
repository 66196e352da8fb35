/* mock_kafka.c - a Kafka cluster for the end-to-end scripts: librdkafka's mock, one broker on a free loopback port.
 *
 *   mock_kafka TOPIC:PARTITIONS...
 *
 * Prints its bootstrap.servers as one line when the topics are there, and serves until SIGTERM or until its parent ends.
 * The mock keeps at most 5 MiB of a partition: small logs only.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
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

static int serve(rd_kafka_mock_cluster_t *cluster, char **topics, int n, const sigset_t *until)
{
    int signal;
    for (int i = 0; i < n; i++)
        if (add_topic(cluster, topics[i]) != 0) return 1;
    if (printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster)) < 0 || fflush(stdout) != 0) return 1;
    return sigwait(until, &signal) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    char why[256] = "";
    sigset_t until;
    (void)sigemptyset(&until);
    (void)sigaddset(&until, SIGTERM);
    (void)sigaddset(&until, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &until, NULL); /* before the mock's thread is made: it inherits the mask */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "log_level", "3", why, sizeof why) != RD_KAFKA_CONF_OK) return fail("conf", why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why); /* takes conf over */
    if (rk == NULL) return fail("librdkafka", why);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 1);
    const int rc = cluster != NULL ? serve(cluster, argv + 1, argc - 1, &until) : fail("cluster", "not to be made");
    if (cluster != NULL) rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    return rc;
}
