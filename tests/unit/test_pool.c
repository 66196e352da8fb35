/* test_pool.c - every task once, whatever the number of workers; runs close on each other and after a sleep; jobs beside them; failures.
 *
 * labels: quick threads
 * timeout: 60
 */
#include "base/pool.h"
#include "tests/support/check.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define TASKS 257

struct count {
    _Atomic unsigned runs[TASKS];
    unsigned plain[TASKS]; /* written by the task alone: ThreadSanitizer sees whether a run ends before it returns */
};

static void count_one(void *user, size_t i)
{
    struct count *c = user;
    atomic_fetch_add(&c->runs[i], 1);
    c->plain[i] += (unsigned)i;
}

static struct pool *new_pool(unsigned threads, bool pin)
{
    struct pool *p = NULL;
    struct err e = {0};
    assert_ok(pool_new(&p, threads, pin, &e), &e);
    assert_int_equal(pool_threads(p), threads);
    return p;
}

static void run_and_check(struct pool *p, size_t n, unsigned rounds)
{
    static struct count c;
    for (size_t i = 0; i < TASKS; i++) {
        atomic_store(&c.runs[i], 0);
        c.plain[i] = 0;
    }
    for (unsigned r = 0; r < rounds; r++) pool_run(p, count_one, &c, n);
    for (size_t i = 0; i < TASKS; i++) {
        assert_int_equal(atomic_load(&c.runs[i]), i < n ? rounds : 0);
        assert_int_equal(c.plain[i], i < n ? rounds * i : 0);
    }
}

static void test_each_task_runs_once(void **state)
{
    (void)state;
    run_and_check(NULL, 7, 2);
    for (unsigned threads = 1; threads <= 5; threads++) {
        struct pool *p = new_pool(threads, threads == 3);
        for (size_t n = 0; n <= 4; n++) run_and_check(p, n, 3);
        run_and_check(p, TASKS, 500);
        pool_free(p);
    }
}

static void test_sleeping_workers_wake(void **state)
{
    (void)state;
    struct pool *p = new_pool(3, false);
    for (int i = 0; i < 20; i++) {
        const struct timespec pause = {.tv_nsec = 2000000}; /* long enough that they sleep; nothing depends on it */
        (void)nanosleep(&pause, NULL);
        run_and_check(p, TASKS, 2);
    }
    pool_free(p);
}

/* A worker must have taken part at least once in many tries. */
static _Atomic unsigned elsewhere;
static _Thread_local int here;

static void note_thread(void *user, size_t i)
{
    (void)i;
    if (&here != user) atomic_fetch_add(&elsewhere, 1);
    for (volatile int s = 0; s < 20000; s++) {
    }
}

static void test_workers_take_part(void **state)
{
    (void)state;
    struct pool *p = new_pool(2, false);
    for (int i = 0; i < 2000 && atomic_load(&elsewhere) == 0; i++) pool_run(p, note_thread, &here, 16);
    assert_true(atomic_load(&elsewhere) > 0);
    pool_free(p);
}

struct pieces {
    _Atomic unsigned left, at_once, most;
};

static bool one_piece(void *user)
{
    struct pieces *c = user;
    if (atomic_fetch_add(&c->at_once, 1) > 0) atomic_store(&c->most, 2);
    const unsigned left = atomic_load(&c->left);
    if (left > 0) atomic_fetch_sub(&c->left, 1);
    atomic_fetch_sub(&c->at_once, 1);
    return left > 1;
}

/* Posted again and again, between runs; never by two workers at once. */
static void test_what_is_posted_is_done_between_runs(void **state)
{
    (void)state;
    struct pieces c = {0}, more = {0};
    struct pool *p = new_pool(3, false);
    struct pool_job first = {.fn = one_piece, .user = &c}, second = {.fn = one_piece, .user = &more};
    for (int round = 0; round < 200; round++) {
        atomic_fetch_add(&c.left, 3);
        atomic_fetch_add(&more.left, 1);
        pool_post(p, &first);
        pool_post(p, &second);
        run_and_check(p, 5, 2);
    }
    while (atomic_load(&c.left) + atomic_load(&more.left) > 0) {
        pool_post(p, &first);
        pool_post(p, &second);
        (void)sched_yield();
    }
    pool_withdraw(p, &first);
    assert_int_equal(atomic_load(&c.at_once) + atomic_load(&c.most) + atomic_load(&more.most), 0);
    atomic_store(&c.left, 1);
    pool_post(p, &first); /* withdrawn for good */
    pool_withdraw(p, &second);
    assert_int_equal(atomic_load(&c.left), 1);
    pool_free(p);
}

static enum status make(void)
{
    struct pool *p;
    struct err e = {0};
    const enum status st = pool_new(&p, 2, false, &e);
    if (st != STATUS_OK) assert_null(p);
    pool_free(p);
    return st;
}

static void test_bad_numbers_and_no_memory(void **state)
{
    (void)state;
    struct pool *p = (void *)1;
    struct err e = {0};
    long met;
    assert_int_equal(pool_new(&p, 0, false, &e), STATUS_INVALID);
    assert_null(p);
    assert_int_equal(pool_new(&p, 1025, false, &e), STATUS_INVALID);
    pool_free(NULL);
    assert_int_equal(pool_threads(NULL), 1);
    FAIL_EACH_ALLOCATION(met, make());
    assert_int_equal(met, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_task_runs_once),       cmocka_unit_test(test_sleeping_workers_wake),
        cmocka_unit_test(test_workers_take_part),         cmocka_unit_test(test_what_is_posted_is_done_between_runs),
        cmocka_unit_test(test_bad_numbers_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
