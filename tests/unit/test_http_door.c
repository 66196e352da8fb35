/* test_http_door.c - connections over real sockets: seats taken by clients that dawdle, heads that are too long, going down
 * with requests under way.
 *
 * labels: quick redis threads
 */
#include "serving/http.h"
#include "serving/http_door.h"
#include "tests/support/check.h"
#include "tests/support/http_client.h"
#include "tests/support/serving_world.h"
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct serving_world w;
static struct metric *metric;
static struct score *score;
static struct http *http;
static struct http_client_answer last;

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const options[] = {"serving.listen=127.0.0.1:0", "serving.max_connections=8", NULL};
    serving_world_open(&w, options);
    serving_world_features(&w);
    serving_world_version(&w, 1);
    assert_ok(metric_new(&metric, &e), &e);
    assert_ok(score_open(&score, w.shop.conf, clock_system(), metric, &e), &e);
    assert_ok(score_look(score, &e), &e);
    const struct http_options o = {
        .conf = w.shop.conf, .clock = clock_system(), .score = score, .metric = metric, .version = ""};
    const enum status st = http_open(&http, &o, &e);
    if (st == STATUS_UNSUPPORTED) skip(); /* built without HTTP */
    assert_ok(st, &e);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    http_client_free(&last);
    http_close(http, 0);
    http = NULL;
    score_close(score);
    metric_free(metric);
    serving_world_close(&w);
    return 0;
}

static void ask(const char *method, const char *path, const char *body)
{
    http_client_free(&last);
    last = http_client_ask(http_port(http), method, path, "", body, body ? strlen(body) : 0);
}

static void expect(int status, const char *code)
{
    if (last.status != status) fail_msg("%d instead of %d: %s", last.status, status, last.body);
    if (code != NULL && strstr(last.body, code) == NULL) fail_msg("%s is not in: %s", code, last.body);
}

enum { SEATS = 8 };

static void hold(int held[SEATS], const char *text)
{
    for (int i = 0; i < SEATS; i++) {
        held[i] = http_client_connect(http_port(http));
        assert_int_equal(send(held[i], text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    }
    for (int ms = 0; ms < 5000 && metric_get(metric, METRIC_CONNECTIONS) < SEATS; ms += 5)
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    assert_true(metric_get(metric, METRIC_CONNECTIONS) == SEATS);
}

static void let_go(int held[SEATS])
{
    for (int i = 0; i < SEATS; i++) (void)close(held[i]);
    for (int ms = 0; ms < 5000 && metric_get(metric, METRIC_CONNECTIONS) > 0; ms += 5)
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    assert_true(metric_get(metric, METRIC_CONNECTIONS) == 0);
}

static void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Half a head: young ones keep their seats and the next client is told so; after a second they make room, one for each who
 * comes.  Half a body keeps its seat. */
static void test_all_seats_taken_by_clients_that_dawdle(void **state)
{
    (void)state;
    int held[SEATS];
    hold(held, "POST /v1/rerank HTTP/1.1\r\nHo");
    ask("GET", "/v2/health/live", NULL);
    expect(503, "too_many_connections");
    assert_non_null(strstr(last.head, "Retry-After: 1"));
    assert_true(metric_get(metric, METRIC_CONNECTIONS_REFUSED) == 1);
    pause_ms(1100);
    for (int i = 0; i < 3; i++) {
        ask("POST", "/v1/rerank", "{\"items\":[\"i1\"]}");
        expect(200, NULL);
    }
    assert_true(metric_get(metric, METRIC_CONNECTIONS_ENDED) >= 1);
    let_go(held);
    hold(held, "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\n{\"items");
    pause_ms(1100);
    ask("GET", "/v2/health/live", NULL);
    expect(503, "too_many_connections");
    for (int i = 0; i < SEATS; i++) assert_int_equal(send(held[i], "\":[\"i1\"]}", 9, MSG_NOSIGNAL), 9);
    for (int i = 0; i < SEATS; i++) { /* and gets its answer */
        char answer[13] = "";
        assert_int_equal(recv(held[i], answer, 12, MSG_WAITALL), 12);
        assert_string_equal(answer, "HTTP/1.1 200");
    }
    let_go(held);
    ask("GET", "/v2/health/live", NULL);
    expect(200, NULL);
}

static void test_huge_heads_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_printf(&b, "GET /v2/health/live HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 2000; i++) buf_printf(&b, "X-%d: %064d\r\n", i, 0);
    buf_printf(&b, "\r\n");
    http_client_free(&last);
    last = http_client_raw(http_port(http), (const char *)b.p, b.n, 2000);
    assert_true(last.status == 431 || last.status == 0); /* or a reset, when not all of it was read */
    buf_fini(&b);
    ask("POST", "/v1/rerank", "{\"items\":[\"i1\"]}");
    expect(200, NULL);
}

static void *go_down(void *ms)
{
    http_close(http, *(int64_t *)ms);
    return NULL;
}

/* While it goes down: not ready, but what comes is answered, and what began is waited for. */
static void test_going_down_answers_what_is_under_way(void **state)
{
    (void)state;
    int64_t drain_ms = 4000;
    pthread_t t;
    char answer[13] = "";
    static const char head[] = "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\n{\"it",
                      rest[] = "ems\":[\"i1\"]}";
    const int begun = http_client_connect(http_port(http));
    assert_int_equal(send(begun, head, sizeof head - 1, MSG_NOSIGNAL), (ssize_t)sizeof head - 1);
    ask("GET", "/v2/health/ready", NULL);
    expect(200, NULL);
    const int port = http_port(http);
    assert_int_equal(pthread_create(&t, NULL, go_down, &drain_ms), 0);
    pause_ms(100);
    http_client_free(&last);
    last = http_client_ask(port, "GET", "/v2/health/ready", "", NULL, 0);
    expect(503, "draining");
    http_client_free(&last);
    last = http_client_ask(port, "POST", "/v1/rerank", "", "{\"items\":[\"i1\"]}", 16);
    expect(200, NULL);
    assert_non_null(strcasestr(last.head, "Connection: close"));
    pause_ms(900); /* nobody comes in any more by now */
    assert_int_equal(send(begun, rest, sizeof rest - 1, MSG_NOSIGNAL), (ssize_t)sizeof rest - 1);
    assert_int_equal(recv(begun, answer, 12, MSG_WAITALL), 12);
    assert_string_equal(answer, "HTTP/1.1 200");
    (void)close(begun);
    assert_int_equal(pthread_join(t, NULL), 0);
    http = NULL;
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
    const struct CMUnitTest tests[] = {
        ONE(test_all_seats_taken_by_clients_that_dawdle),
        ONE(test_huge_heads_are_refused),
        ONE(test_going_down_answers_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
