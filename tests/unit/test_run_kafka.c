/* test_run_kafka.c - the binary over librdkafka's mock cluster: `convert --topic`, then `run`, is `replay` to the last bit.
 *
 * The cluster lives in this process; convert, run and replay are children.  `run` is killed hard a few times on its way.
 * labels: kafka
 * timeout: 240
 */
#include "tests/support/check.h"

#include "base/status.h"
#include "tests/support/files.h"
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 3000
#define MAX_ARGS 48

static rd_kafka_t *owner, *watcher;
static rd_kafka_mock_cluster_t *cluster;
static struct tmpdir dir;
static const char *freshet;
static char bootstrap[300];

static void nap(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

/* Starts the binary; its output goes to files of the test's folder.  Arguments end with NULL. */
static pid_t start(const char *const *args)
{
    char out[300], err[300];
    const char *argv[MAX_ARGS + 2] = {freshet};
    size_t n = 1;
    for (; *args != NULL && n < MAX_ARGS; args++) argv[n++] = *args;
    argv[n] = NULL;
    const pid_t pid = fork();
    if (pid == 0) {
        if (freopen(tmpdir_file(&dir, "out", out), "w", stdout) == NULL ||
            freopen(tmpdir_file(&dir, "err", err), "a", stderr) == NULL)
            _exit(99);
        (void)execv(freshet, (char **)(uintptr_t)argv);
        _exit(98);
    }
    return pid;
}

static int finish(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void show_errors(void)
{
    char path[300];
    size_t n;
    char *text = files_read(tmpdir_file(&dir, "err", path), &n);
    (void)fprintf(stderr, "%s", text);
    free(text);
}

static void run_ok(const char *const *args)
{
    const int rc = finish(start(args));
    if (rc == 0) return;
    show_errors();
    fail_msg("%s: exit %d", args[0], rc);
}

static int setup(void **state)
{
    char why[256];
    (void)state;
    freshet = getenv("FRESHET");
    dir = tmpdir_make("run_kafka");
    owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    cluster = owner != NULL ? rd_kafka_mock_cluster_new(owner, 1) : NULL;
    if (cluster == NULL) return -1;
    (void)snprintf(bootstrap, sizeof bootstrap, "kafka.bootstrap.servers=%s",
                   rd_kafka_mock_cluster_bootstraps(cluster));
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(c, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), why, sizeof why);
    (void)rd_kafka_conf_set(c, "group.id", "freshet-default", why, sizeof why);
    watcher = rd_kafka_new(RD_KAFKA_CONSUMER, c, why, sizeof why);
    return watcher != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    rd_kafka_destroy(watcher);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(owner);
    tmpdir_remove(&dir);
    return 0;
}

/* What the job told the group after its newest checkpoint; -1 nothing yet. */
static int64_t committed(const char *topic)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0);
    const rd_kafka_resp_err_t rc = rd_kafka_committed(watcher, list, 5000);
    const int64_t offset = rc == RD_KAFKA_RESP_ERR_NO_ERROR ? list->elems[0].offset : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
}

/* The string value of n_digits hexadecimal digits at `key` in a report. */
static void read_hex(const char *path, const char *key, size_t n_digits, char *out)
{
    size_t n;
    char *text = files_read(path, &n);
    const char *at = strstr(text, key);
    assert_non_null(at);
    at = strchr(at + strlen(key), '"');
    assert_non_null(at);
    memcpy(out, at + 1, n_digits);
    out[n_digits] = 0;
    assert_int_equal(strspn(out, "0123456789abcdef"), n_digits);
    free(text);
}

/* Runs until all is committed, then stops it. */
static void run_to_end(const char *topic, const char *const *args)
{
    const pid_t pid = start(args);
    for (int k = 0; k < 1500 && committed(topic) < EVENTS; k++) nap(20);
    (void)kill(pid, SIGTERM);
    const int rc = finish(pid);
    if (rc == 0 && committed(topic) == EVENTS) return;
    show_errors();
    fail_msg("run: exit %d at offset %lld", rc, (long long)committed(topic));
}

static char model_base[320];
#define SETTINGS                                                                                                       \
    "-o", model_base, "-o", "ingest.membership=assign", "-o", "model.hashed_bits=12", "-o", "join.window_ms=60000",    \
        "-o", "train.batch_slates=3"

static void test_run_is_replay_to_the_last_bit(void **state)
{
    char log[300], native[300], report[300], kafka_state[320], file_state[320], want[65], out[300], path[300];
    char member_state[320], run_report[300], chain[17], again[17], again_sha[65];
    (void)state;
    if (freshet == NULL || access(freshet, X_OK) != 0) skip();
    (void)snprintf(model_base, sizeof model_base, "model.base=%s", files_source("tests/fixtures/uncased"));
    (void)tmpdir_file(&dir, "log.jsonl", log);
    (void)tmpdir_file(&dir, "out", out);
    (void)snprintf(file_state, sizeof file_state, "state.dir=%s", tmpdir_file(&dir, "file", path));
    (void)snprintf(kafka_state, sizeof kafka_state, "state.dir=%s", tmpdir_file(&dir, "kafka", path));

    run_ok((const char *[]){"simulate", "--events", "3000", "--users", "40", "--items", "80", "--seed", "5", "--rate",
                            "5", "--no-best", NULL});
    assert_int_equal(rename(out, log), 0);
    run_ok((const char *[]){"convert", log, NULL});
    assert_int_equal(rename(out, tmpdir_file(&dir, "native.jsonl", native)), 0);
    run_ok((const char *[]){"replay", "--quiet", "--report", tmpdir_file(&dir, "report.json", report), "-o", file_state,
                            SETTINGS, native, NULL});
    read_hex(report, "\"sha256\":", 64, want);

    (void)rd_kafka_mock_topic_create(cluster, "events", 1, 1);
    run_ok((const char *[]){"convert", "--topic", "events", "-o", bootstrap, log, NULL});
    (void)tmpdir_file(&dir, "run.json", run_report);
    const char *const run[] = {"run",       "--quiet", "--report", run_report, "-o",
                               kafka_state, "-o",      bootstrap,  "-o",       "state.checkpoint_every_ms=20",
                               SETTINGS,    NULL};
    int64_t done = -1;
    for (int i = 0; i < 4; i++) { /* killed wherever it stands */
        const pid_t pid = start(run);
        for (int k = 0; k < 400 && committed("events") <= done; k++) nap(5);
        done = committed("events");
        (void)kill(pid, SIGKILL);
        (void)finish(pid);
    }
    run_to_end("events", run);
    read_hex(run_report, "\"chain\":", 16, chain);
    run_ok((const char *[]){"model", "versions", "--json", "-o", kafka_state, NULL});
    size_t n;
    char *versions = files_read(out, &n);
    if (strstr(versions, want) == NULL) fail_msg("no version has replay's sha256 %s: %s", want, versions);
    free(versions);

    /* once more as a member of a group, in one go: the same records in the same order, and the same weights */
    (void)rd_kafka_mock_topic_create(cluster, "again", 1, 1);
    run_ok((const char *[]){"convert", "--topic", "again", "-o", bootstrap, log, NULL});
    (void)snprintf(member_state, sizeof member_state, "state.dir=%s", tmpdir_file(&dir, "member", path));
    run_to_end("again", (const char *[]){"run", "--quiet", "--report", run_report, "-o", member_state, "-o", bootstrap,
                                         SETTINGS, "-o", "ingest.membership=group", "-o", "ingest.queue=1", "-o",
                                         "state.checkpoint_every_ms=100", "-o", "ingest.topics=again", NULL});
    read_hex(run_report, "\"chain\":", 16, again);
    assert_string_equal(again, chain);
    read_hex(run_report, "\"sha256\":", 64, again_sha);
    assert_string_equal(again_sha, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_run_is_replay_to_the_last_bit)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
