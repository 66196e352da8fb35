/* test_http_aside.c - event posts whose intake hangs keep nobody else waiting, and are answered when it comes back.
 *
 * With one thread for all requests, and without a scorer.
 * labels: quick threads
 */
#include "serving/http.h"
#include "tests/support/check.h"
#include "tests/support/http_client.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 12, PLACES = CONNECTIONS / 2 + 1 };

static struct conf *conf;
static struct metric *metric;
static struct http *http;

/* The intake: waits while the gate is shut. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool shut;
static int inside;

static enum status take(void *user, struct str body, size_t *n, struct err *e)
{
    (void)user, (void)body, (void)e;
    *n = 1;
    (void)pthread_mutex_lock(&lock);
    inside++;
    (void)pthread_cond_broadcast(&moved);
    while (shut) (void)pthread_cond_wait(&moved, &lock);
    inside--;
    (void)pthread_mutex_unlock(&lock);
    return STATUS_OK;
}

static void set_gate(bool to)
{
    (void)pthread_mutex_lock(&lock);
    shut = to;
    (void)pthread_cond_broadcast(&moved);
    (void)pthread_mutex_unlock(&lock);
}

static const struct http_intake intake = {NULL, take};

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "serving.listen", "127.0.0.1:0", &e), &e);
    assert_ok(conf_set(conf, "serving.threads", "1", &e), &e);
    assert_ok(conf_set(conf, "serving.max_connections", "12", &e), &e);
    assert_ok(metric_new(&metric, &e), &e);
    const struct http_options o = {
        .conf = conf, .clock = clock_system(), .metric = metric, .intake = &intake, .version = "0"};
    const enum status st = http_open(&http, &o, &e);
    if (st == STATUS_UNSUPPORTED) skip(); /* built without HTTP */
    assert_ok(st, &e);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    set_gate(false);
    http_close(http, 0);
    http = NULL;
    metric_free(metric);
    conf_free(conf);
    return 0;
}

static int post(void)
{
    static const char text[] = "POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n{}\n";
    const int fd = http_client_connect(http_port(http));
    assert_int_equal(send(fd, text, sizeof text - 1, MSG_NOSIGNAL), sizeof text - 1);
    return fd;
}

/* The status of the answer that is there; 0: none within ms. */
static int answered(int fd, int ms)
{
    char text[1024] = "";
    int status = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, ms) != 1 || recv(fd, text, sizeof text - 1, 0) <= 0) return 0;
    assert_int_equal(sscanf(text, "HTTP/1.1 %d", &status), 1);
    return status;
}

static int post_and_be_taken(void)
{
    const int fd = post();
    (void)pthread_mutex_lock(&lock);
    while (inside == 0) (void)pthread_cond_wait(&moved, &lock);
    (void)pthread_mutex_unlock(&lock);
    return fd;
}

static void expect_alive(void)
{
    struct http_client_answer a = http_client_ask(http_port(http), "GET", "/v2/health/live", "", NULL, 0);
    assert_int_equal(a.status, 200);
    http_client_free(&a);
}

static void test_a_hanging_intake_stops_nobody_else(void **state)
{
    (void)state;
    int fd[1 + PLACES + 1], busy = 0, late = -1;
    set_gate(true);
    fd[0] = post_and_be_taken();
    for (int i = 1; i <= PLACES + 1; i++) fd[i] = post(); /* one more than may wait */
    struct pollfd any[PLACES + 1];
    for (int i = 0; i <= PLACES; i++) any[i] = (struct pollfd){.fd = fd[1 + i], .events = POLLIN};
    assert_int_equal(poll(any, PLACES + 1, 10000), 1);
    for (int i = 0; i <= PLACES; i++)
        if (any[i].revents != 0) late = 1 + i, busy = answered(fd[late], 0);
    assert_int_equal(busy, 429);
    expect_alive();
    set_gate(false);
    for (int i = 0; i < 1 + PLACES + 1; i++) {
        if (i != late) assert_int_equal(answered(fd[i], 10000), 202);
        (void)close(fd[i]);
    }
    assert_true(metric_get(metric, METRIC_EVENTS_ACCEPTED) == 1 + PLACES);
    expect_alive();
}

static void *close_http(void *arg)
{
    http_close(arg, 0);
    return NULL;
}

static void test_going_down_lets_go_of_those_who_wait(void **state)
{
    (void)state;
    pthread_t t;
    set_gate(true);
    const int first = post_and_be_taken(), second = post();
    expect_alive();
    assert_int_equal(pthread_create(&t, NULL, close_http, http), 0);
    assert_int_equal(answered(first, 100), 0); /* it waits for the intake */
    set_gate(false);
    assert_int_equal(pthread_join(t, NULL), 0);
    http = NULL;
    assert_int_equal(answered(first, 0), 202);
    (void)close(first);
    (void)close(second);
}

static enum status make(void)
{
    struct http *h = NULL;
    struct err e = {0};
    const struct http_options o = {
        .conf = conf, .clock = clock_system(), .metric = metric, .intake = &intake, .version = "0"};
    const enum status st = http_open(&h, &o, &e);
    if (st != STATUS_OK) assert_null(h);
    http_close(h, 0);
    return st;
}

static void test_open_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    FAIL_EACH_ALLOCATION(n, make());
    assert_true(n >= 4);
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
    const struct CMUnitTest tests[] = {
        ONE(test_a_hanging_intake_stops_nobody_else),
        ONE(test_going_down_lets_go_of_those_who_wait),
        ONE(test_open_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
