/* test_publish_alive.c - the lease is renewed while the learner gives signs of life, and left to expire when it hangs.
 *
 * labels: redis
 * timeout: 60
 */
#include "base/clock.h"
#include "serving/publish.h"
#include "tests/support/check.h"
#include "tests/support/redis_server.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct redis_server server;
static char answer[4096];
static _Atomic int64_t ahead_us; /* of the system's monotonic clock */

static int64_t wall_ms(struct clock *c)
{
    (void)c;
    return clock_system()->wall_ms(clock_system());
}

static int64_t mono_us(struct clock *c)
{
    (void)c;
    return clock_system()->mono_us(clock_system()) + atomic_load(&ahead_us);
}

static struct clock ours = {wall_ms, mono_us, NULL};

static int start(void **state)
{
    (void)state;
    redis_server_start(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

/* Waits until another turn of the uploader is over. */
static struct publish_state turned(struct publish *p, uint64_t more)
{
    struct publish_state s;
    publish_state(p, &s);
    const uint64_t from = s.n_turns;
    for (int i = 0; i < 10000 && s.n_turns < from + more; i++) {
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
        publish_state(p, &s);
    }
    assert_true(s.n_turns >= from + more);
    return s;
}

static struct publish *held(struct conf *c)
{
    struct publish *p = NULL;
    struct err e = {0};
    struct publish_state s;
    assert_ok(publish_open(&p, c, &ours, 0, &e), &e);
    do s = turned(p, 1);
    while (s.lease != PUBLISH_LEASE_HELD);
    return p;
}

static void test_a_hung_learner_does_not_keep_its_lease(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = held(c);
    publish_alive(p);
    const uint64_t epoch = turned(p, 0).epoch;
    atomic_fetch_add(&ahead_us, (int64_t)(PUBLISH_HUNG_MS - 10000) * 1000);
    (void)redis_server_ask(&server, answer, "PEXPIRE fr:{default}:lease 3000");
    struct publish_state s = turned(p, 1);
    assert_int_equal(s.lease, PUBLISH_LEASE_HELD); /* quiet, not yet hung: renewed */
    assert_true(atol(redis_server_ask(&server, answer, "PTTL fr:{default}:lease")) > 5000);

    atomic_fetch_add(&ahead_us, (int64_t)20000 * 1000);
    s = turned(p, 2);
    assert_int_equal(s.error.code, STATUS_AGAIN);
    assert_non_null(strstr(s.error.text, "hung"));
    (void)redis_server_ask(&server, answer, "PEXPIRE fr:{default}:lease 1");
    (void)turned(p, 2);
    assert_string_equal(redis_server_ask(&server, answer, "EXISTS fr:{default}:lease"), "0"); /* free for a standby */

    publish_alive(p); /* nobody took it: it goes on, as a new owner */
    for (s = turned(p, 1); s.error.code != STATUS_OK || s.lease != PUBLISH_LEASE_HELD; s = turned(p, 1)) {
    }
    assert_true(s.epoch > epoch);
    publish_close(p);
    conf_free(c);
}

static void test_without_any_sign_of_life_the_lease_is_renewed(void **state)
{
    (void)state;
    struct conf *c = redis_server_conf(&server);
    struct publish *p = held(c);
    atomic_fetch_add(&ahead_us, (int64_t)PUBLISH_HUNG_MS * 3000); /* a start that takes long */
    (void)redis_server_ask(&server, answer, "PEXPIRE fr:{default}:lease 3000");
    assert_int_equal(turned(p, 1).lease, PUBLISH_LEASE_HELD);
    assert_true(atol(redis_server_ask(&server, answer, "PTTL fr:{default}:lease")) > 5000);
    publish_close(p);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hung_learner_does_not_keep_its_lease),
        cmocka_unit_test(test_without_any_sign_of_life_the_lease_is_renewed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
