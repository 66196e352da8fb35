/* test_publish_fence.c - whoever lost the lease writes nothing more: on no path, at no moment, whatever came meanwhile.
 *
 * labels: redis
 * timeout: 120
 */
#include "base/hash.h"
#include "base/mem.h"
#include "serving/publish_private.h"
#include "tests/support/check.h"
#include "tests/support/publishing.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What an owner of that epoch leaves of itself; lease_ms 0: it is gone again. */
static void another_owner(uint64_t epoch, int lease_ms)
{
    char command[300];
    (void)snprintf(command, sizeof command, "HSET fr:default:info owner other epoch %llu host elsewhere",
                   (unsigned long long)epoch);
    (void)ask(command);
    (void)ask("HSET fr:default:info pid 77");
    (void)snprintf(command, sizeof command,
                   "SET fr:{default}:lease {\"owner\":\"other\",\"epoch\":%llu,\"host\":\"elsewhere\",\"pid\":77}",
                   (unsigned long long)epoch);
    (void)ask(command);
    if (lease_ms == 0) (void)ask("DEL fr:{default}:lease");
}

/* The uploader's own functions on this thread: a publisher whose thread never was started, connected and holding the lease. */
static struct publish *alone(void)
{
    struct err e = {0};
    struct publish *p = publishing_open(&server, NULL, 0);
    publishing_put(p, 1, "ab"); /* the thread's last work */
    (void)pthread_mutex_lock(&p->lock);
    p->closing = true;
    p->deadline_us = 0;
    (void)pthread_cond_signal(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    (void)pthread_join(p->thread, NULL);
    p->ever_held = true;
    p->marked = true;
    p->renew_us = 0;
    assert_ok(publish_lease_keep(p, &e), &e);
    return p;
}

static void *nothing(void *arg)
{
    return arg;
}

static void close_alone(struct publish *p)
{
    assert_int_equal(pthread_create(&p->thread, NULL, nothing, NULL), 0);
    publish_close(p);
}

/* Every writing path, tried by an owner that believes itself in possession. */
static enum status write_weights(struct publish *p, struct err *e)
{
    struct publish_weights_job *j = mem_calloc(1, sizeof *j);
    assert_non_null(j);
    j->file = publishing_file("xyz");
    j->manifest.version = 2;
    memset(j->manifest.sha256, 'b', 64);
    const enum status st = publish_upload_weights(p, j, e);
    publish_weights_job_free(j);
    return st;
}

static enum status write_batch(struct publish *p, struct err *e)
{
    struct publish_batch b = {0};
    assert_ok(publish_put_user(&b, STR("u1"), STR("mine"), e), e);
    assert_ok(publish_put_item(&b, STR("i1"), STR("mine"), e), e);
    assert_ok(publish_put_state(&b, 0xfeed, STR("mine"), e), e);
    const enum status st = publish_upload_batch(p, &b, e);
    buf_fini(&b.entries);
    return st;
}

static enum status write_metrics(struct publish *p, struct err *e)
{
    static char text[] = "events_total\0state\0mine";
    struct publish_metrics_job m = {.n = 1, .n_info = 1};
    buf_put(&m.text, text, sizeof text);
    const enum status st = publish_upload_metrics(p, &m, e);
    buf_fini(&m.text);
    return st;
}

static enum status write_marker(struct publish *p, struct err *e)
{
    p->watch_us = 0;
    publish_weights_job_free(p->current); /* or it would look at the version instead */
    p->current = NULL;
    return publish_watch(p, e);
}

static enum status clean_strays(struct publish *p, struct err *e)
{
    p->stray.version = 9; /* chunks that the other one is writing just now */
    p->stray.n = 1;
    const enum status st = publish_clean_strays(p, e);
    p->stray.version = 0;
    return st;
}

static enum status release(struct publish *p, struct err *e)
{
    publish_lease_release(p);
    return ERR_SET(e, STATUS_AGAIN, "%s", publish_lease_name(p->state.lease));
}

/* All that Redis holds, as one number: names and contents. */
static uint64_t content(void)
{
    struct redis *r = NULL;
    struct err e = {0};
    const struct redis_reply *keys, *dump;
    uint64_t sum = 0;
    struct conf *c = redis_server_conf(&server);
    assert_ok(redis_open(&r, c, clock_system(), &e), &e);
    assert_ok(redis_call(r, &e, &keys, REDIS_ARGS(STR("KEYS"), STR("*"))), &e);
    for (size_t i = 0; i < keys->n; i++) {
        assert_ok(redis_append(r, &e, REDIS_ARGS(STR("DUMP"), keys->items[i].text)), &e);
        assert_ok(redis_get(r, &e, &dump), &e);
        sum += hash_mix(hash_str(keys->items[i].text), hash_str(dump->text)); /* in any order */
    }
    redis_close(r);
    conf_free(c);
    return sum;
}

static const struct {
    const char *what;
    enum status (*write)(struct publish *p, struct err *e);
} paths[] = {{"weights", write_weights}, {"features", write_batch},      {"metrics", write_metrics},
             {"marker", write_marker},   {"clean strays", clean_strays}, {"release", release}};

static void test_no_path_writes_without_the_lease(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        (void)ask("FLUSHALL");
        struct publish *p = alone();
        struct err e = {0};
        another_owner(p->self.epoch + 1, 5000);
        (void)ask("SET fr:{default}:chunk:9:0 other");
        const uint64_t before = content();
        const enum status st = paths[i].write(p, &e);
        if (st != STATUS_AGAIN) fail_msg("%s: %s %s", paths[i].what, status_name(st), e.text);
        if (content() != before) fail_msg("%s wrote something", paths[i].what);
        p->renew_us = 0;
        assert_int_equal(publish_lease_keep(p, &e), STATUS_CONFLICT);
        assert_non_null(strstr(e.text, "elsewhere, pid 77"));
        assert_int_equal(p->state.lease, PUBLISH_LEASE_CONFLICT);
        close_alone(p);
        if (content() != before) fail_msg("closing after %s wrote something", paths[i].what);
    }
}

/* The lease goes between the look at it and EXEC: all of the transaction is dropped. */
static void test_a_lease_that_changes_inside_a_transaction_drops_it(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        (void)ask("FLUSHALL");
        struct publish *p = alone();
        struct err e = {0};
        assert_ok(publish_fence_begin(p, &e), &e);
        assert_ok(publish_fence_add(p, &e, REDIS_ARGS(STR("SET"), STR("late"), STR("1"))), &e);
        if (how == 0) another_owner(p->self.epoch + 1, 5000);
        if (how == 1) (void)ask("DEL fr:{default}:lease");
        if (how == 2) (void)ask("PEXPIRE fr:{default}:lease 1"); /* as after a long stop */
        if (how == 2) publishing_wait(&server, "EXISTS fr:{default}:lease", "0");
        assert_int_equal(publish_fence_end(p, NULL, &e), STATUS_AGAIN);
        assert_string_equal(ask("EXISTS late"), "0");
        redis_clear(p->redis);
        close_alone(p);
    }
}

/* MULTI without EXEC: the connection would queue all that follows. */
static void test_a_transaction_that_fails_midway_is_left(void **state)
{
    (void)state;
    static char big[8 << 20]; /* more than any command before */
    struct publish *p = alone();
    struct err e = {0};
    assert_ok(publish_fence_begin(p, &e), &e);
    mem_fail_after(0);
    assert_int_equal(publish_fence_add(p, &e, REDIS_ARGS(STR("SET"), STR("big"), ((struct str){big, sizeof big}))),
                     STATUS_OOM);
    mem_fail_after(-1);
    publish_fence_drop(p);
    assert_ok(publish_fence_begin(p, &e), &e);
    assert_ok(publish_fence_add(p, &e, REDIS_ARGS(STR("SET"), STR("small"), STR("1"))), &e);
    assert_ok(publish_fence_end(p, NULL, &e), &e);
    redis_clear(p->redis);
    assert_string_equal(ask("EXISTS small big"), "1");
    close_alone(p);
}

static void *send_notes(void *p)
{
    struct err e = {0};
    assert_ok(publish_send_answers(p, &e), &e);
    return NULL;
}

/* The box is full and under way, and the oldest gives way to a new one: that one is not taken for sent. */
static void test_a_note_that_comes_during_an_upload_is_sent(void **state)
{
    (void)state;
    pthread_t t;
    size_t under_way = 0;
    struct publish *p = alone();
    const int before = atoi(ask("XLEN fr:{default}:log"));
    for (int i = 0; i < PUBLISH_NOTES_MAX; i++) publish_note(p, &(struct publish_note){.kind = "early"});
    (void)redis_server_signal(&server, SIGSTOP);
    assert_int_equal(pthread_create(&t, NULL, send_notes, p), 0);
    while (under_way != PUBLISH_NOTES_MAX) {
        (void)pthread_mutex_lock(&p->lock);
        under_way = p->sending_orders.n_notes;
        (void)pthread_mutex_unlock(&p->lock);
    }
    publish_note(p, &(struct publish_note){.kind = "late"});
    (void)redis_server_signal(&server, SIGCONT);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_true(publish_orders_work(p));
    (void)send_notes(p);
    assert_false(publish_orders_work(p));
    assert_int_equal(atoi(ask("XLEN fr:{default}:log")), before + PUBLISH_NOTES_MAX + 1);
    close_alone(p);
}

/* Another owner took the lease while we slept, published nothing, ended in order and gave the lease back. */
static void test_an_owner_that_came_and_went_fences_too(void **state)
{
    (void)state;
    struct publish *p = publishing_open(&server, NULL, 0);
    struct publish_state s;
    struct err e = {0};
    publishing_put(p, 1, "ab");
    publish_state(p, &s);
    another_owner(s.epoch + 1, 0);
    publishing_hand(p, 2, "xy");
    assert_int_equal(publish_flush(p, PUBLISHING_WAIT_MS, &e), STATUS_CONFLICT);
    assert_non_null(strstr(e.text, "elsewhere, pid 77"));
    publish_state(p, &s);
    assert_int_equal(s.lease, PUBLISH_LEASE_CONFLICT);
    assert_string_equal(ask("GET fr:{default}:current"), "1");
    assert_string_equal(ask("EXISTS fr:{default}:lease fr:{default}:chunk:2:0"), "0");
    publish_close(p);
}

/* The same, seen in a manifest alone. */
static void test_a_manifest_of_a_later_epoch_fences(void **state)
{
    (void)state;
    struct publish *p = publishing_open(&server, NULL, 0), *q;
    struct err e = {0};
    publishing_put(p, 1, "ab");
    (void)ask("DEL fr:{default}:lease fr:default:info");
    q = publishing_open(&server, NULL, 40);
    publishing_put(q, 2, "cd");
    publish_close(q);
    (void)ask("DEL fr:default:info");
    publishing_user(p, "u1", "late");
    assert_int_equal(publish_flush(p, PUBLISHING_WAIT_MS, &e), STATUS_CONFLICT);
    assert_string_equal(ask("EXISTS fr:default:user:u1"), "0");
    assert_string_equal(ask("GET fr:{default}:current"), "2");
    publish_close(p);
}

/* A server that forgot our lease and brought an older one back (promoted too early): ours is newer, and is taken back. */
static void test_an_older_lease_gives_way(void **state)
{
    (void)state;
    struct publish *p = publishing_open(&server, NULL, 10);
    struct publish_state s;
    struct err e = {0};
    publishing_put(p, 1, "ab");
    assert_false(publish_lost(p));
    another_owner(3, 600000);
    publishing_user(p, "u1", "new");
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_int_equal(s.lease, PUBLISH_LEASE_HELD);
    assert_true(s.epoch > 11);
    assert_true(publish_lost(p)); /* and its data is older: all goes out again */
    assert_string_equal(ask("GET fr:default:user:u1"), "new");
    publish_close(p);
}

static void test_epoch_is_the_largest_seen_anywhere_and_one(void **state)
{
    (void)state;
    struct publish_state s;
    struct err e = {0};
    struct publish *p = publishing_open(&server, NULL, 0);
    publishing_put(p, 1, "ab");
    publish_close(p);
    p = publishing_open(&server, NULL, 20); /* the state folder's */
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_int_equal(s.epoch, 21);
    publish_close(p);
    p = publishing_open(&server, NULL, 0); /* that of fr:m:info: nothing was published under it */
    publishing_put(p, 2, "ab");
    publish_state(p, &s);
    assert_int_equal(s.epoch, 22);
    publish_close(p);
    (void)ask("DEL fr:default:info");
    p = publishing_open(&server, NULL, 0); /* the manifest's */
    assert_ok(publish_flush(p, PUBLISHING_WAIT_MS, &e), &e);
    publish_state(p, &s);
    assert_int_equal(s.epoch, 23);
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
        cmocka_unit_test_setup(test_no_path_writes_without_the_lease, fresh),
        cmocka_unit_test_setup(test_a_lease_that_changes_inside_a_transaction_drops_it, fresh),
        cmocka_unit_test_setup(test_a_transaction_that_fails_midway_is_left, fresh),
        cmocka_unit_test_setup(test_a_note_that_comes_during_an_upload_is_sent, fresh),
        cmocka_unit_test_setup(test_an_owner_that_came_and_went_fences_too, fresh),
        cmocka_unit_test_setup(test_a_manifest_of_a_later_epoch_fences, fresh),
        cmocka_unit_test_setup(test_an_older_lease_gives_way, fresh),
        cmocka_unit_test_setup(test_epoch_is_the_largest_seen_anywhere_and_one, fresh),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
