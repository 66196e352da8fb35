/* test_metric.c - counting from many threads, histogram and quantiles, the Prometheus text, and the document.
 *
 * labels: quick threads
 */
#include "serving/metric.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, EACH = 20000 };

static struct metric *new_metric(void)
{
    struct metric *m = NULL;
    struct err e = {0};
    assert_ok(metric_new(&m, &e), &e);
    return m;
}

static const char *text_of(const struct metric *m, struct buf *b)
{
    buf_clear(b);
    metric_write_prometheus(m, b);
    buf_u8(b, 0);
    assert_false(b->oom);
    return (const char *)b->p;
}

static void *count(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        metric_add(arg, METRIC_CANDIDATES, 2);
        metric_request(arg, METRIC_ROUTE_RERANK, i % 2 ? 200 : 503, 0.003);
    }
    return NULL;
}

static void test_threads_lose_no_count(void **state)
{
    (void)state;
    struct metric *m = new_metric();
    struct buf b = {0};
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&t[i], NULL, count, m), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_true(metric_get(m, METRIC_CANDIDATES) == 2.0 * THREADS * EACH);
    assert_int_equal(metric_requests(m), THREADS * EACH);
    const char *s = text_of(m, &b);
    assert_non_null(strstr(s, "freshet_candidates_total 160000\n"));
    assert_non_null(strstr(s, "freshet_http_requests_total{route=\"rerank\",code=\"200\"} 40000\n"));
    assert_non_null(strstr(s, "freshet_http_requests_total{route=\"rerank\",code=\"503\"} 40000\n"));
    assert_non_null(strstr(s, "freshet_http_request_seconds_bucket{route=\"rerank\",le=\"0.002\"} 0\n"));
    assert_non_null(strstr(s, "freshet_http_request_seconds_bucket{route=\"rerank\",le=\"0.005\"} 80000\n"));
    assert_non_null(strstr(s, "freshet_http_request_seconds_bucket{route=\"rerank\",le=\"+Inf\"} 80000\n"));
    assert_non_null(strstr(s, "freshet_http_request_seconds_sum{route=\"rerank\"} 240.000000\n"));
    buf_fini(&b);
    metric_free(m);
}

static void test_histogram_bounds_are_inclusive(void **state)
{
    (void)state;
    struct metric *m = new_metric();
    struct buf b = {0};
    metric_request(m, METRIC_ROUTE_INFER, 200, 0.01);
    metric_request(m, METRIC_ROUTE_INFER, 200, 0.010001);
    metric_request(m, METRIC_ROUTE_INFER, 418, 100); /* of no list */
    const char *s = text_of(m, &b);
    assert_non_null(strstr(s, "{route=\"infer\",le=\"0.01\"} 1\n"));
    assert_non_null(strstr(s, "{route=\"infer\",le=\"0.02\"} 2\n"));
    assert_non_null(strstr(s, "{route=\"infer\",le=\"10\"} 2\n"));
    assert_non_null(strstr(s, "{route=\"infer\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(s, "{route=\"infer\",code=\"other\"} 1\n"));
    buf_fini(&b);
    metric_free(m);
}

static void test_waits_and_failures_are_counted(void **state)
{
    (void)state;
    struct metric *m = new_metric();
    struct buf b = {0};
    metric_hand_wait(m, 0);
    metric_hand_wait(m, 0.03);
    metric_hand_wait(m, 0.004);
    metric_fetch_failure(m, METRIC_FETCH_CHUNK);
    metric_fetch_failure(m, METRIC_FETCH_CHUNK);
    const char *s = text_of(m, &b);
    assert_non_null(strstr(s, "freshet_hand_wait_max_ms 30\n"));
    assert_non_null(strstr(s, "freshet_hand_wait_seconds_bucket{le=\"0.0005\"} 1\n"));
    assert_non_null(strstr(s, "freshet_hand_wait_seconds_bucket{le=\"0.005\"} 2\n"));
    assert_non_null(strstr(s, "freshet_hand_wait_seconds_count 3\n"));
    assert_non_null(strstr(s, "freshet_fetch_failures_total{reason=\"chunk\"} 2\n"));
    assert_non_null(strstr(s, "freshet_fetch_failures_total{reason=\"redis\"} 0\n"));
    assert_string_equal(metric_fetch_name(METRIC_FETCH_PROBE), "probe");
    buf_fini(&b);
    metric_free(m);
}

static void test_freshness_gives_quantiles_of_the_newest(void **state)
{
    (void)state;
    struct metric *m = new_metric();
    metric_freshness(m, 700);
    assert_true(metric_get(m, METRIC_FRESHNESS_P50_MS) == 700 && metric_get(m, METRIC_FRESHNESS_P99_MS) == 700);
    for (int i = 1; i <= METRIC_FRESHNESS; i++) metric_freshness(m, i); /* 700 is pushed out */
    assert_true(metric_get(m, METRIC_FRESHNESS_P50_MS) == 256);
    assert_true(metric_get(m, METRIC_FRESHNESS_P99_MS) == 507); /* nearest rank: ⌈0.99 · 512⌉ */
    assert_int_equal(metric_freshness_count(m), METRIC_FRESHNESS + 1);
    metric_free(m);
}

/* Every line is a comment or  name{labels} number ; every metric has its HELP and TYPE before it. */
static void test_text_is_prometheus(void **state)
{
    (void)state;
    struct metric *m = new_metric();
    struct buf b = {0};
    char type[64] = "";
    size_t n = 0;
    metric_set(m, METRIC_VERSION_AGE_MS, NAN);
    metric_request(m, METRIC_ROUTE_OTHER, 404, 0.1);
    metric_set(m, METRIC_VERSION_AGE_MS, 12.5);
    char *s = strdup(text_of(m, &b)), *at = NULL;
    for (char *l = strtok_r(s, "\n", &at); l != NULL; l = strtok_r(NULL, "\n", &at), n++) {
        if (strncmp(l, "# TYPE ", 7) == 0) (void)snprintf(type, sizeof type, "%.*s", (int)strcspn(l + 7, " "), l + 7);
        if (l[0] == '#') continue;
        char *end, *space = strrchr(l, ' ');
        assert_non_null(space);
        assert_true(isfinite(strtod(space + 1, &end)) && *end == '\0');
        assert_memory_equal(l, type, strlen(type));
    }
    assert_true(n > 3 * METRIC_COUNT);
    free(s);
    buf_fini(&b);
    metric_free(m);
}

/* It names all that the learner publishes. */
static void test_document_is_complete(void **state)
{
    (void)state;
    struct buf b = {0};
    size_t n;
    metric_write_document(&b);
    buf_u8(&b, 0);
    const char *document = (const char *)b.p;
    char *code = files_read(files_source("job/job_figures.c"), &n);
    static const char table[] = "const struct publish_metric all[] = {";
    size_t fields = 0;
    for (const char *from = strstr(code, table); from != NULL; from = strstr(from + 1, table)) {
        const char *at = from, *end = strstr(at, "};");
        assert_non_null(end);
        for (at = strstr(at, "{\""); at != NULL && at < end; at = strstr(at + 2, "{\""), fields++) {
            char row[80];
            (void)snprintf(row, sizeof row, "| `%.*s` |", (int)strcspn(at + 2, "\""), at + 2);
            if (strstr(document, row) == NULL) fail_msg("%s is not in the document", row);
        }
    }
    assert_true(fields >= 50);
    free(code);
    buf_fini(&b);
}

static enum status make(void)
{
    struct metric *m = NULL;
    struct err e = {0};
    const enum status st = metric_new(&m, &e);
    if (st != STATUS_OK) assert_null(m);
    metric_free(m);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    FAIL_EACH_ALLOCATION(n, make());
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_lose_no_count),
        cmocka_unit_test(test_histogram_bounds_are_inclusive),
        cmocka_unit_test(test_waits_and_failures_are_counted),
        cmocka_unit_test(test_freshness_gives_quantiles_of_the_newest),
        cmocka_unit_test(test_text_is_prometheus),
        cmocka_unit_test(test_document_is_complete),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
