/* test_http_kept.c - a scorer in its steady state, over one kept connection: a thousand requests that allocate nothing and
 * ask Redis once each, and a list of ten thousand candidates.
 *
 * labels: quick redis threads
 * timeout: 120
 */
#include "base/mem.h"
#include "serving/http.h"
#include "tests/support/check.h"
#include "tests/support/http_client.h"
#include "tests/support/serving_world.h"
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REQUESTS = 1000, WARM = 200, MANY = 10000, ANSWER_BYTES = 2 << 20 };

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
    assert_ok(score_look(score, &e), &e);
    const struct http_options o = {
        .conf = w.shop.conf, .clock = clock_system(), .score = score, .metric = metric, .version = "0"};
    const enum status st = http_open(&http, &o, &e);
    if (st == STATUS_UNSUPPORTED) skip(); /* built without HTTP */
    assert_ok(st, &e);
    fd = http_client_connect(http_port(http));
    answer = malloc(ANSWER_BYTES);
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

static const char *ask(const char *body)
{
    return http_client_kept(fd, "/v1/rerank", body, strlen(body), answer, ANSWER_BYTES);
}

static const char *body_of(int i)
{
    static char body[400];
    (void)snprintf(body, sizeof body,
                   "{\"user\":\"u%d\",\"items\":[\"i%d\",\"i%d\",\"unknown "
                   "%d\",\"i%d\"],\"explain\":%s,\"context\":{\"page\":\"p%d\"}}",
                   i % 5, i % 3, 3 + i % 3, i, 6 + i % 4, i % 2 ? "true" : "false", i % 7);
    return body;
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    long total = 0;
    size_t heap = 0;
    assert_ok(score_start(score, &e), &e); /* with the watch, and the log of answers */
    for (int i = 0; i < WARM + REQUESTS; i++) {
        while (i == WARM && score_looks(score) < 3) (void)usleep(1000); /* the watch is warm too */
        if (i == WARM) total = mem_total(), heap = mallinfo2().uordblks;
        (void)ask(body_of(i));
    }
    assert_int_equal(mem_total(), total);
    const size_t now = mallinfo2().uordblks; /* what the libraries take inside is given back */
    assert_true(now < heap + 65536);
    assert_true(metric_get(metric, METRIC_CANDIDATES) == 4 * (WARM + REQUESTS));
}

static long number(const char *section, const char *name)
{
    static char info[65536];
    char command[64];
    (void)snprintf(command, sizeof command, "INFO %s", section);
    const char *at = strstr(redis_server_ask(&w.redis, info, command), name);
    return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

static void test_each_request_asks_redis_once(void **state)
{
    (void)state;
    struct err e = {0};
    assert_ok(conf_set(w.shop.conf, "serving.served_max", "0", &e), &e); /* the log's XADD is not the request's */
    const long before = number("stats", "total_commands_processed:");
    (void)ask("{\"user\":\"u0\",\"items\":[\"i0\",\"i1\",\"i2\"]}");
    const long cold = number("stats", "total_commands_processed:") - before - 1;
    assert_true(cold == 2);                             /* records, and frozen states that are nowhere near */
    for (int i = 0; i < 20; i++) (void)ask(body_of(i)); /* all there is */
    const long warm = number("stats", "total_commands_processed:"),
               mget = number("commandstats", "cmdstat_mget:calls=");
    for (int i = 0; i < 100; i++) (void)ask(body_of(i));
    assert_int_equal(number("commandstats", "cmdstat_mget:calls=") - mget, 100);
    assert_int_equal(number("stats", "total_commands_processed:") - warm, 100 + 3); /* INFO is one too */
    assert_int_equal(number("stats", "total_error_replies:"), 0); /* nor anything that Redis refused */
}

/* The most that a request may ask for: all are ranked, those that the text part saw first. */
static void test_ten_thousand_candidates_are_ranked(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b = {0};
    double last = 2;
    assert_ok(conf_set(w.shop.conf, "serving.joint_top", "50", &e), &e);
    buf_printf(&b, "{\"user\":\"u0\",\"items\":[");
    for (int i = 0; i < MANY; i++) buf_printf(&b, i ? ",\"i%d\"" : "\"i%d\"", i);
    buf_printf(&b, "]}");
    buf_u8(&b, 0);
    json_t *o = json_loads(ask((const char *)b.p), JSON_REJECT_DUPLICATES, NULL), *items = json_object_get(o, "items");
    assert_int_equal(json_array_size(items), MANY);
    char *seen = calloc(MANY, 1);
    assert_non_null(seen);
    for (size_t i = 0; i < MANY; i++) {
        json_t *x = json_array_get(items, i);
        const double s = json_number_value(json_object_get(x, "score"));
        const int item = atoi(json_string_value(json_object_get(x, "item")) + 1);
        if (i == 50) last = 2;
        assert_true(s > 0 && s < 1 && s <= last);
        assert_int_equal(json_integer_value(json_object_get(x, "rank")), i + 1);
        assert_true(item >= 0 && item < MANY && !seen[item]);
        assert_int_equal(json_is_true(json_object_get(x, "known")), item < 10);
        seen[item] = 1;
        last = s;
    }
    free(seen);
    json_decref(o);
    buf_fini(&b);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
    const struct CMUnitTest tests[] = {
        EACH(test_steady_state_allocates_nothing),
        EACH(test_each_request_asks_redis_once),
        EACH(test_ten_thousand_candidates_are_ranked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
