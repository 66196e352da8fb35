/* test_publish_loss.c - what vanishes from Redis comes back, also when nothing happens; what a kill leaves half done harms
 * nobody and is cleaned.
 *
 * labels: redis
 * timeout: 120
 */
#include "base/rand.h"
#include "tests/support/check.h"
#include "tests/support/publishing.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct redis_server server;
static char answer[4096];

static const char *ask(const char *command)
{
    return redis_server_ask(&server, answer, command);
}

static int fresh(void **state)
{
    (void)state;
    (void)ask("FLUSHALL");
    return 0;
}

static void wait_whole(uint64_t version, const char *fill)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)version);
    publishing_wait(&server, "GET fr:{default}:current", text);
    assert_int_equal(publishing_check(&server, fill), version);
}

static void test_single_keys_come_back_while_idle(void **state)
{
    (void)state;
    static const char *const damage[][2] = {
        {"DEL fr:{default}:current", "GET fr:{default}:current"},
        {"SET fr:{default}:current 2", "GET fr:{default}:current"},
        {"PEXPIRE fr:{default}:manifest:3 1", "EXISTS fr:{default}:manifest:3"},
        {"SETRANGE fr:{default}:manifest:3 20 x", "GET fr:{default}:manifest:3"},
        {"DEL fr:{default}:chunk:1:1", "EXISTS fr:{default}:chunk:1:1 fr:{default}:chunk:3:1"},
        {"DEL fr:{default}:chunk:3:0", "EXISTS fr:{default}:chunk:3:0"},
    };
    char before[4096];
    struct publish *p = publishing_open(&server, NULL, 0);
    publishing_put(p, 1, "abc");
    publishing_put(p, 2, "xbc");
    publishing_put(p, 3, "ybc"); /* chunks 1 and 2 are version 1's */
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        wait_whole(3, "ybc");
        (void)snprintf(before, sizeof before, "%s", ask(damage[i][1]));
        (void)ask(damage[i][0]);
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
        if (strncmp(before, "{", 1) != 0) { /* a manifest written again has another time in it */
            publishing_wait(&server, damage[i][1], before);
        } else {
            struct publish_manifest m = {0};
            for (int n = 0; publish_manifest_decode(&m, str_from(ask(damage[i][1])), "default", NULL) != STATUS_OK;
                 n++) {
                assert_true(n < 1000);
                (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
            }
            publish_manifest_fini(&m);
        }
    }
    wait_whole(3, "ybc");
    assert_false(publish_lost(p)); /* records were not touched */
    publish_close(p);
}

static void flush(void)
{
    (void)ask("FLUSHDB");
}

static void restart(void)
{
    redis_server_kill(&server);
    redis_server_start(&server);
}

/* As on a replica that was promoted while it lagged behind: our marker's beat is one of before. */
static void go_back(void)
{
    (void)ask("DEL fr:{default}:current fr:default:user:u1");
    (void)ask("HSET fr:default:info beat 0");
}

/* A learner that has nothing to say: the version comes back by itself, the learner is told to hand out its records. */
static void test_all_is_noticed_and_filled_while_idle(void **state)
{
    (void)state;
    void (*const loss[])(void) = {flush, restart, go_back};
    struct publish *p = publishing_open(&server, NULL, 0);
    struct publish_state s;
    struct err e = {0};
    publishing_put(p, 5, "abc");
    for (size_t i = 0; i < sizeof loss / sizeof *loss; i++) {
        publishing_wait(&server, "HEXISTS fr:default:info beat", "1");
        publishing_user(p, "u1", "record");
        assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
        assert_false(publish_lost(p));
        loss[i]();
        wait_whole(5, "abc");
        for (int n = 0; !publish_lost(p); n++) {
            assert_true(n < 1000);
            (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
        }
        publishing_wait(&server, "HGET fr:default:info version", "5");
    }
    publish_state(p, &s);
    assert_int_equal(s.lease, PUBLISH_LEASE_HELD);
    publish_close(p);
}

/* Somebody's slip of the hand: a list where one of ours belongs.  Everything is made anew, and the next version comes through. */
static void test_keys_of_another_type_are_replaced(void **state)
{
    (void)state;
    static const char *const keys[][2] = {{"fr:{default}:log", "stream"},       {"fr:{default}:lease", "string"},
                                          {"fr:default:info", "hash"},          {"fr:default:metrics", "hash"},
                                          {"fr:default:metrics:ts", "stream"},  {"fr:{default}:current", "string"},
                                          {"fr:{default}:manifest:7", "string"}};
    char command[100];
    struct publish *p = publishing_open(&server, NULL, 0);
    publishing_put(p, 1, "abc");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        (void)snprintf(command, sizeof command, "DEL %s", keys[i][0]);
        (void)ask(command);
        (void)snprintf(command, sizeof command, "RPUSH %s x", keys[i][0]);
        (void)ask(command);
        publishing_metrics(p, 3);
        publishing_put(p, i + 2, "abd");
        publishing_metrics(p, (double)i + 10);
        (void)snprintf(command, sizeof command, "%zu", i + 10);
        publishing_wait(&server, "HGET fr:default:metrics events_total", command);
        (void)snprintf(command, sizeof command, "TYPE %s", keys[i][0]);
        if (i < 6) publishing_wait(&server, command, keys[i][1]);
        wait_whole(i + 2, "abd");
    }
    publish_close(p);
}

/* A learner that has published nothing itself learns what is there: it puts its own checkpoint beside that. */
static void test_what_is_in_force_is_known(void **state)
{
    (void)state;
    struct publish_state s;
    struct publish *p = publishing_open(&server, NULL, 0);
    struct err e = {0};
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_true(s.looked);
    assert_int_equal(s.in_force, 0);
    assert_string_equal(s.in_force_sha256, "");
    publishing_put(p, 4, "ab");
    publish_state(p, &s);
    assert_int_equal(s.in_force, 4);
    publish_close(p);
    p = publishing_open(&server, NULL, 0);
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_int_equal(s.version, 0);
    assert_int_equal(s.in_force, 4);
    assert_int_equal(strlen(s.in_force_sha256), 64);
    (void)ask("DEL fr:{default}:chunk:4:0");
    for (int n = 0; s.in_force != 0; n++) {
        assert_true(n < 1000);
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
        publish_state(p, &s);
    }
    publish_close(p);
}

/* --- kills -------------------------------------------------------------------------------------------------------- */

/* Publishes without end; version v is of two letters, one of which changes, so that chunks are shared. */
static void publish_on(uint64_t from)
{
    const char *const options[] = {"publish.keep=3", NULL};
    struct publish *p = publishing_open(&server, options, 0);
    for (uint64_t v = from;; v++) {
        const char fill[] = {(char)('a' + v % 26), (char)('a' + v / 2 % 26), 'z', (char)('a' + v % 26), '\0'};
        publishing_put(p, v, fill);
    }
}

static void test_a_kill_at_any_point_leaves_a_whole_version(void **state)
{
    (void)state;
    enum { KILLS = 25, KILLS_MOST = 200 };
    struct rand r;
    uint64_t at = 1, versions = 0;
    rand_init(&r, (struct rand_key){.seed = 5, .purpose = RAND_TEST});
    for (uint64_t i = 0; i < KILLS || (versions < 3 && i < KILLS_MOST); i++) {
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) publish_on(at);
        const long us = 3000 + (long)rand_below(&r, 30000 + 3000 * i); /* later and later: slow machines get through */
        (void)nanosleep(&(struct timespec){0, us * 1000}, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        (void)nanosleep(&(struct timespec){0, 2000000}, NULL); /* what its socket still held */
        const uint64_t v = publishing_check(&server, NULL);
        const char fill[] = {(char)('a' + v % 26), (char)('a' + v / 2 % 26), 'z', (char)('a' + v % 26), '\0'};
        if (v > 0) assert_int_equal(publishing_check(&server, fill), v);
        assert_true(v + 1 >= at);
        versions += v >= at;
        at = v + 1;
    }
    assert_true(versions >= 3); /* some got so far */
    const char *const options[] = {"publish.keep=1", NULL};
    struct publish *p = publishing_open(&server, options, 0);
    publishing_put(p, at + 100, "abcd");
    publish_close(p);
    assert_int_equal(publishing_check(&server, "abcd"), at + 100);
    assert_string_equal(ask("KEYS fr:{default}:chunk:*"), "4"); /* nothing strayed */
    assert_string_equal(ask("KEYS fr:{default}:manifest:*"), "1");
    assert_string_equal(ask("HEXISTS fr:default:info publishing"), "0");
}

/* Chunks of a publish that died before EXEC; those that a version in force names are kept, and no longer expire. */
static void test_strays_are_cleaned_by_whoever_comes_next(void **state)
{
    (void)state;
    struct publish *p = publishing_open(&server, NULL, 0);
    publishing_put(p, 1, "abc");
    publish_close(p);
    (void)ask("HSET fr:default:info publishing 2:3");
    (void)ask("SET fr:{default}:chunk:2:0 x EX 3600");
    (void)ask("SET fr:{default}:chunk:2:2 x EX 3600");
    p = publishing_open(&server, NULL, 0);
    publishing_wait(&server, "EXISTS fr:{default}:chunk:2:0 fr:{default}:chunk:2:2", "0");
    assert_int_equal(publishing_check(&server, "abc"), 1);
    publish_close(p);
    (void)ask("HSET fr:default:info publishing 1:3");
    (void)ask("EXPIRE fr:{default}:chunk:1:1 3600");
    p = publishing_open(&server, NULL, 0);
    publishing_wait(&server, "TTL fr:{default}:chunk:1:1", "-1");
    assert_int_equal(publishing_check(&server, "abc"), 1);
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
        cmocka_unit_test_setup(test_single_keys_come_back_while_idle, fresh),
        cmocka_unit_test_setup(test_all_is_noticed_and_filled_while_idle, fresh),
        cmocka_unit_test_setup(test_keys_of_another_type_are_replaced, fresh),
        cmocka_unit_test_setup(test_what_is_in_force_is_known, fresh),
        cmocka_unit_test_setup(test_a_kill_at_any_point_leaves_a_whole_version, fresh),
        cmocka_unit_test_setup(test_strays_are_cleaned_by_whoever_comes_next, fresh),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
