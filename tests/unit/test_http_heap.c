/* test_http_heap.c - a request in the steady state costs the heap nothing, whoever is asked: the scorer, its HTTP server, its
 * Redis client or its JSON reader.  The whole process is counted, with a real Redis and one kept connection.
 *
 * labels: quick redis
 * timeout: 120
 */
#include "serving/http.h"
#include "tests/support/check.h"
#include "tests/support/heap_count.h"
#include "tests/support/http_client.h"
#include "tests/support/serving_world.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BODIES = 10,
    WARM = 300 /* more than answers wait to be logged */,
    REQUESTS = 200,
    ROUNDS = 3,
    ANSWER = 1 << 20
};

static struct serving_world w;
static struct metric *metric;
static struct score *score;
static struct http *http;
static int fd = -1;
static char *answer;

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    const char *const options[] = {"serving.listen=127.0.0.1:0", NULL};
    serving_world_open(&w, options);
    serving_world_features(&w);
    serving_world_version(&w, 1);
    publish_close(w.publish); /* its thread is not the scorer's */
    w.publish = NULL;
    assert_ok(metric_new(&metric, &e), &e);
    assert_ok(score_open(&score, w.shop.conf, clock_system(), metric, &e), &e);
    assert_ok(score_start(score, &e), &e); /* with the watch, and the log of answers */
    const struct http_options o = {
        .conf = w.shop.conf, .clock = clock_system(), .score = score, .metric = metric, .version = "0"};
    const enum status st = http_open(&http, &o, &e);
    if (st == STATUS_UNSUPPORTED) skip(); /* built without HTTP */
    assert_ok(st, &e);
    while (!score_ready(score)) (void)usleep(1000);
    fd = http_client_connect(http_port(http));
    answer = malloc(ANSWER);
    assert_non_null(answer);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    (void)close(fd);
    free(answer);
    http_close(http, 0);
    score_close(score);
    metric_free(metric);
    serving_world_close(&w);
    return 0;
}

/* --- requests ------------------------------------------------------------------------------------------------------ */

typedef void body_fn(struct buf *b, int candidates, int i);

static void put_ids(struct buf *b, int n)
{
    for (int k = 0; k < n; k++) buf_printf(b, k ? ",\"i%d\"" : "\"i%d\"", k);
}

static void plain_body(struct buf *b, int candidates, int i)
{
    buf_printf(b, "{\"user\":\"u%d\",\"explain\":%s,\"context\":{\"page\":\"p%d\"},\"items\":[", i % 5,
               i % 2 ? "true" : "false", i % 7);
    put_ids(b, candidates);
    buf_printf(b, "]}");
}

/* Everything that a request can bring along, for known and unknown items. */
static void full_body(struct buf *b, int candidates, int i)
{
    buf_printf(
        b,
        "{\"user\":\"u%d\",\"request\":\"r\\u00e9\",\"session\":\"s\",\"attributes\":{\"age\":%d,\"city\":\"x\"},"
        "\"history\":[{\"type\":\"view\",\"item\":\"i3\",\"time\":\"2026-01-02T03:04:05Z\"},"
        "{\"type\":\"purchase\",\"item\":\"new\",\"title\":\"red lamp\",\"price\":2}],\"items\":[",
        i % 5, 30 + i);
    for (int k = 0; k < candidates; k++)
        buf_printf(b, "%s{\"item\":\"i%d\",\"title\":\"%s toy\",\"tags\":[\"a\",%d],\"price\":%d.5}", k ? "," : "", k,
                   k % 2 ? "red" : "blue", i, k);
    buf_printf(b, "]}");
}

static void infer_body(struct buf *b, int candidates, int i)
{
    buf_printf(b,
               "{\"inputs\":[{\"name\":\"user\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"u%d\"]},"
               "{\"name\":\"items\",\"datatype\":\"BYTES\",\"shape\":[%d],\"data\":[",
               i % 5, candidates);
    put_ids(b, candidates);
    buf_printf(b, "]}]}");
}

static const char *ask(const char *path, const struct buf *body)
{
    return http_client_kept(fd, path, (const char *)body->p, body->n, answer, ANSWER);
}

/* --- tests --------------------------------------------------------------------------------------------------------- */

/* A reply whose age has grown by a digit may be of a size that was not there before: then the next round is without. */
static void expect_none(const char *path, body_fn *make, int candidates)
{
    struct buf bodies[BODIES] = {{0}};
    long n = 1;
    for (int i = 0; i < BODIES; i++) make(&bodies[i], candidates, i);
    for (int i = 0; i < WARM; i++) (void)ask(path, &bodies[i % BODIES]);
    for (int round = 0; round < ROUNDS && n > 0; round++) {
        heap_count_begin();
        for (int i = 0; i < REQUESTS; i++) (void)ask(path, &bodies[i % BODIES]);
        heap_count_end();
        n = heap_count_of(NULL);
    }
    for (int i = 0; i < BODIES; i++) buf_fini(&bodies[i]);
    if (n == 0) return;
    heap_count_print();
    fail_msg("%ld heap calls in %d requests of %d candidates to %s", n, REQUESTS, candidates, path);
}

static void test_no_heap_call_in_the_steady_state(void **state)
{
    (void)state;
    if (!heap_count_works()) skip();
    expect_none("/v1/rerank", plain_body, 10);
    expect_none("/v1/rerank", plain_body, 100);
    expect_none("/v1/rerank", plain_body, 1000);
    expect_none("/v1/rerank", full_body, 100);
    expect_none("/v2/models/default/infer", infer_body, 100);
}

/* The counter sees what the libraries do: a new connection is theirs. */
static void test_libraries_are_counted(void **state)
{
    (void)state;
    if (!heap_count_works()) skip();
    heap_count_begin();
    http_client_free(&(struct http_client_answer){.body = json_dumps(json_null(), JSON_ENCODE_ANY)});
    struct http_client_answer a = http_client_ask(http_port(http), "GET", "/v2/health/live", "", NULL, 0);
    heap_count_end();
    assert_int_equal(a.status, 200);
    http_client_free(&a);
    assert_true(heap_count_of("jansson") + heap_count_of("test_http_heap") > 0);
    assert_true(heap_count_of("microhttpd") >= 4); /* a connection, a reply, its headers */
    assert_true(heap_count_of("no such file") == 0);
}

/* More sizes than are kept, in turn: each reply is whole, JSON, and of one of few sizes. */
static void test_replies_of_many_sizes(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct buf b = {0};
        const int n = 1 + 37 * i % 199;
        plain_body(&b, n, i);
        const char *body = ask("/v1/rerank", &b);
        const size_t bytes = strlen(body);
        json_t *o = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(json_array_size(json_object_get(o, "items")), n);
        json_decref(o);
        const size_t step = bytes <= 1024 ? 64 : bytes <= 2048 ? 128 : bytes <= 4096 ? 256 : 512;
        assert_int_equal(bytes % step, 0);
        size_t blanks = 0;
        while (body[bytes - 1 - blanks] == ' ') blanks++;
        assert_true(blanks < (bytes <= 32768 ? 2048 : 4096));
        buf_fini(&b);
    }
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
    const struct CMUnitTest tests[] = {
        EACH(test_no_heap_call_in_the_steady_state),
        EACH(test_libraries_are_counted),
        EACH(test_replies_of_many_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
