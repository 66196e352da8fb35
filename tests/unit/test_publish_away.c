/* test_publish_away.c - a Redis that accepts and never answers costs the learner neither time nor memory.
 *
 * labels: redis
 * timeout: 120
 */
#include "tests/support/check.h"
#include "tests/support/publishing.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STEPS 300
#define LONGEST_US 300000 /* a call that waited for Redis would take redis.timeout_ms: 2 s */

static struct redis_server server;
static int64_t longest_us;

static int64_t now_us(void)
{
    return clock_system()->mono_us(clock_system());
}

static void note(int64_t since_us)
{
    const int64_t us = now_us() - since_us;
    if (us > longest_us) longest_us = us;
}

/* What a learner does in one round of its loop; true: the batch was taken. */
static bool step(struct publish *p, uint64_t n)
{
    struct publish_batch *b = NULL;
    struct publish_state s;
    struct err e = {0};
    char id[24];
    int64_t at = now_us();
    (void)snprintf(id, sizeof id, "u%llu", (unsigned long long)n);
    const enum status st = publish_features_begin(p, &b, &e);
    if (st == STATUS_OK) {
        assert_ok(publish_put_user(b, str_from(id), STR("record"), &e), &e);
        publish_features_end(p, b);
    } else {
        assert_int_equal(st, STATUS_AGAIN);
    }
    publishing_metrics(p, (double)n);
    (void)publish_lost(p);
    publish_state(p, &s);
    publish_alive(p);
    note(at);
    struct buf file = publishing_file("ab"); /* making one is the learner's own time */
    const struct publish_version v = publishing_version(n);
    at = now_us();
    assert_ok(publish_weights(p, &v, &file, NULL, &e), &e);
    note(at);
    return st == STATUS_OK;
}

static void test_learner_is_not_held_up(void **state)
{
    (void)state;
    char answer[4096], text[24];
    struct publish_state s;
    struct err e = {0};
    struct publish *p = publishing_open(&server, NULL, 0);
    publishing_put(p, 1, "ab");
    redis_server_signal(&server, SIGSTOP);
    size_t taken = 0;
    long live = 0;
    for (uint64_t n = 2; n < 2 + STEPS; n++) {
        taken += step(p, n);
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
        if (n == 100) live = mem_live();
    }
    assert_true(taken <= PUBLISH_BATCHES_MAX + 1); /* the rest stays marked in the learner's tables */
    assert_true(mem_live() <= live + 12);          /* no block more for each step */
    publish_state(p, &s);
    assert_true(s.waiting <= PUBLISH_BATCHES_MAX + 2);
    assert_true(s.n_failures > 0);
    redis_server_signal(&server, SIGCONT);
    (void)snprintf(text, sizeof text, "%d", 1 + STEPS);
    publishing_wait(&server, "GET fr:{default}:current", text); /* the newest, and none in between */
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_true(s.n_versions <= 3);
    assert_string_equal(redis_server_ask(&server, answer, "EXISTS fr:default:user:u2"), "1");
    if (longest_us >= LONGEST_US) fail_msg("a call took %lld us", (long long)longest_us);
    print_message("longest call with Redis stopped: %lld us\n", (long long)longest_us);
    publish_close(p);
}

/* Closing waits for what is under way, one time-out at most, and for nothing more. */
static void test_closing_is_short(void **state)
{
    (void)state;
    const char *const options[] = {"redis.timeout_ms=500", NULL};
    struct publish *p = publishing_open(&server, options, 0);
    publishing_put(p, 1000, "ab");
    redis_server_signal(&server, SIGSTOP);
    publishing_hand(p, 1001, "cd");
    const int64_t at = now_us();
    publish_close(p);
    const int64_t took_us = now_us() - at;
    redis_server_signal(&server, SIGCONT);
    if (took_us > 2500000) fail_msg("closing took %lld us", (long long)took_us);
}

/* A job that ends closes its source first: no further try of Redis begins in that time. */
static void test_an_ending_job_tries_no_more(void **state)
{
    (void)state;
    const char *const options[] = {"redis.timeout_ms=500", NULL};
    struct publish *p = publishing_open(&server, options, 0);
    struct publish_state s;
    publishing_put(p, 2000, "ab");
    redis_server_signal(&server, SIGSTOP);
    publishing_hand(p, 2001, "cd");
    do publish_state(p, &s);
    while (s.n_failures == 0);
    publish_ending(p);
    (void)nanosleep(&(struct timespec){1, 200000000}, NULL); /* a turn that was under way */
    publish_state(p, &s);
    const uint64_t turns = s.n_turns;
    (void)nanosleep(&(struct timespec){1, 500000000}, NULL);
    publish_state(p, &s);
    assert_int_equal(s.n_turns, turns);
    const int64_t at = now_us();
    publish_close(p);
    const int64_t took_us = now_us() - at;
    redis_server_signal(&server, SIGCONT);
    if (took_us > 400000) fail_msg("closing took %lld us", (long long)took_us);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learner_is_not_held_up),
        cmocka_unit_test(test_closing_is_short),
        cmocka_unit_test(test_an_ending_job_tries_no_more),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
