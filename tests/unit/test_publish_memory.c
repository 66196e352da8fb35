/* test_publish_memory.c - a Redis without memory: said with its figures, nothing in force is hurt, and it mends itself.
 *
 * labels: redis
 * timeout: 120
 */
#include "serving/redis_info.h"
#include "tests/support/check.h"
#include "tests/support/publishing.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct redis_server server;
static char answer[4096];

static const char *ask(const char *command)
{
    return redis_server_ask(&server, answer, command);
}

static uint64_t used_bytes(void)
{
    struct redis *r = NULL;
    struct redis_info i;
    struct err e = {0};
    struct conf *c = redis_server_conf(&server);
    assert_ok(redis_open(&r, c, clock_system(), &e), &e);
    assert_ok(redis_info(r, &i, &e), &e);
    redis_close(r);
    conf_free(c);
    return i.used_bytes;
}

static void limit(uint64_t bytes)
{
    char command[100];
    (void)snprintf(command, sizeof command, "CONFIG SET maxmemory %llu", (unsigned long long)bytes);
    (void)ask(command);
}

static int fresh(void **state)
{
    (void)state;
    limit(0);
    (void)ask("CONFIG SET maxmemory-policy noeviction");
    (void)ask("FLUSHALL");
    return 0;
}

static void wait_full(struct publish *p, struct publish_state *s)
{
    for (int n = 0;; n++) {
        publish_state(p, s);
        if (s->error.code == STATUS_FULL && strstr(s->error.text, "of maxmemory") != NULL) return;
        assert_true(n < 1000);
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
}

/* No room for a version, but for the smaller things: those go on, and what was in force stays so, whole. */
static void test_version_waits_while_features_go_on(void **state)
{
    (void)state;
    struct publish *p = publishing_open(&server, NULL, 0);
    struct publish_state s;
    struct err e = {0};
    publishing_put(p, 1, "abcde");
    (void)ask("CONFIG RESETSTAT");
    limit(used_bytes() + (2 << 20));
    publishing_hand(p, 2, "vwxyz"); /* four new MiB */
    wait_full(p, &s);
    assert_null(strstr(ask("INFO errorstats"), "OOM")); /* seen before anything was written */
    assert_non_null(strstr(s.error.text, "raise maxmemory"));
    assert_non_null(strstr(s.error.text, "version 1 stays in force"));
    assert_int_equal(s.lease, PUBLISH_LEASE_HELD);
    publishing_user(p, "u1", "record");
    publishing_wait(&server, "GET fr:default:user:u1", "record");
    publishing_metrics(p, 5);
    publishing_wait(&server, "HGET fr:default:metrics events_total", "5");
    assert_string_equal(ask("KEYS fr:{default}:chunk:2:*"), "0"); /* no part of it lies about */
    assert_int_equal(publishing_check(&server, "abcde"), 1);
    assert_int_equal(publish_flush(p, 10, &e), STATUS_FULL);
    publishing_hand(p, 3, "mnopq"); /* the newest is what comes in the end */
    limit(0);
    publishing_wait(&server, "GET fr:{default}:current", "3");
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    assert_int_equal(publishing_check(&server, "mnopq"), 3);
    publish_state(p, &s);
    assert_int_equal(s.error.code, STATUS_OK);
    publish_close(p);
}

/* Room for nothing at all, for longer than a lease lasts: the lease is kept, features wait in their bounds. */
static void test_no_byte_more_keeps_the_lease(void **state)
{
    (void)state;
    struct publish *p = publishing_open(&server, NULL, 0);
    struct publish_state s;
    struct err e = {0};
    struct publish_batch *b;
    char ids[PUBLISH_BATCHES_MAX][16];
    publishing_put(p, 1, "ab");
    limit(1);
    for (int i = 0; i < PUBLISH_BATCHES_MAX; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "u%d", i);
        publishing_user(p, ids[i], "record");
    }
    assert_int_equal(publish_features_begin(p, &b, &e), STATUS_AGAIN);
    wait_full(p, &s);
    publish_state(p, &s);
    const int64_t until = s.lease_until_us;
    for (int n = 0; s.lease_until_us == until; n++) { /* renewed */
        assert_true(n < 1000);
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
        publish_state(p, &s);
    }
    assert_int_equal(s.lease, PUBLISH_LEASE_HELD);
    limit(0);
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    assert_string_equal(ask("KEYS fr:default:user:u*"), "8");
    assert_false(publish_lost(p));
    publish_close(p);
}

/* The memory runs out in the middle of the chunks, unforeseen: what was written of them is taken away again. */
static void test_memory_that_runs_out_half_way_leaves_nothing(void **state)
{
    (void)state;
    struct publish *p = publishing_open(&server, NULL, 0);
    struct publish_state s;
    publishing_put(p, 1, "a");
    (void)ask(
        "CONFIG SET maxmemory-policy volatile-ttl"); /* nothing is looked at before; what expires may be evicted */
    limit(used_bytes() + (3 << 20));
    publishing_hand(p, 2, "bcdefghij");
    for (int n = 0;; n++) {
        publish_state(p, &s);
        if (s.n_failures > 2) break;
        assert_true(n < 1000);
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    assert_int_equal(publishing_check(&server, "a"), 1);
    limit(0);
    publishing_wait(&server, "GET fr:{default}:current", "2");
    assert_int_equal(publishing_check(&server, "bcdefghij"), 2);
    publish_close(p);
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
        cmocka_unit_test_setup(test_version_waits_while_features_go_on, fresh),
        cmocka_unit_test_setup(test_no_byte_more_keeps_the_lease, fresh),
        cmocka_unit_test_setup(test_memory_that_runs_out_half_way_leaves_nothing, fresh),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
