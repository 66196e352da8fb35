/* test_score_shadow.c - a shadow variant scores what was answered, each answer once, and nothing else.
 *
 * labels: quick redis threads
 * timeout: 120
 */
#include "schemas/conf_variant.h"
#include "serving/score.h"
#include "tests/support/check.h"
#include "tests/support/serving_world.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MANY = 500, TURNS = 8 };

static struct serving_world w;
static struct metric *metric;
static struct score *score;

/* The variant's weights are the default line's, under its own keys. */
static void publish_shadow(void)
{
    struct err e = {0};
    struct conf *own = NULL;
    struct publish *leader = w.publish;
    assert_ok(conf_line_new(&own, w.shop.conf, 1, &e), &e);
    assert_ok(publish_open_variant(&w.publish, leader, own, &e), &e);
    serving_world_version(&w, 1);
    publish_close(w.publish);
    conf_free(own);
    w.publish = leader;
}

static int open_all(void **state)
{
    (void)state;
    struct err e = {0};
    static const char *const options[] = {"variant.watcher.shadow=true", NULL};
    serving_world_open(&w, options);
    serving_world_features(&w);
    serving_world_version(&w, 1);
    publish_shadow();
    assert_ok(metric_new(&metric, &e), &e);
    assert_ok(score_open(&score, w.shop.conf, clock_system(), metric, &e), &e);
    assert_ok(score_look(score, &e), &e);
    assert_ok(score_start(score, &e), &e);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    score_close(score);
    metric_free(metric);
    serving_world_close(&w);
    return 0;
}

static void ask(const char *body, enum status wanted)
{
    struct err e = {0};
    const struct score_answer *a;
    struct score_hand *h = score_borrow(score);
    enum status st = score_request_parse(score_request_of(h), str_from(body), w.shop.conf, &e);
    if (st == STATUS_OK) st = score_rank(h, &a, &e);
    if (st == STATUS_OK) score_answered(h, a);
    score_return(score, h);
    if (st != wanted) fail_msg("%s, not %s: %s", status_name(st), status_name(wanted), e.text);
}

static int64_t shadowed(void)
{
    return (int64_t)(metric_get(metric, METRIC_SHADOWS) + metric_get(metric, METRIC_SHADOWS_DROPPED));
}

static void wait_for(int64_t n)
{
    while (shadowed() < n) (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void test_refused_requests_are_nobodys(void **state)
{
    (void)state;
    char body[MANY * 8 + 20];
    size_t at = (size_t)snprintf(body, sizeof body, "{\"items\":[\"i0\"");
    for (int i = 1; i < MANY; i++) at += (size_t)snprintf(body + at, sizeof body - at, ",\"i%d\"", i);
    (void)snprintf(body + at, sizeof body - at, "]}");
    ask(body, STATUS_OK);
    wait_for(1);
    assert_int_equal(metric_get(metric, METRIC_SHADOWS), 1);
    for (int i = 0; i < TURNS; i++) { /* into the hand that held the long list */
        ask(body, STATUS_OK);
        wait_for(2 + i);
        ask("{\"items\":[\"i1\"],\"limit\":\"none\"}", STATUS_INVALID);
    }
    ask("{\"items\":[\"i1\"]}", STATUS_OK); /* after it no other comes */
    wait_for(2 + TURNS);
    assert_int_equal(shadowed(), 2 + TURNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused_requests_are_nobodys, open_all, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
