/* test_queue.c - order, back-pressure, closing, time-outs, and many threads at once.
 *
 * labels: quick threads
 * timeout: 20
 */
#include "base/queue.h"
#include "tests/support/check.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static int items[100000];

static struct queue *new_queue(size_t capacity)
{
    struct queue *q = NULL;
    struct err e = {0};
    assert_ok(queue_new(&q, capacity, &e), &e);
    return q;
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    struct queue *q = new_queue(3);
    void *p;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(queue_push(q, &items[i]), STATUS_OK);
        assert_int_equal(queue_push(q, &items[i + 1]), STATUS_OK);
        assert_int_equal(queue_length(q), 2);
        assert_int_equal(queue_pop(q, &p), STATUS_OK);
        assert_ptr_equal(p, &items[i]);
        assert_int_equal(queue_pop(q, &p), STATUS_OK);
        assert_ptr_equal(p, &items[i + 1]);
    }
    queue_free(q);
    queue_free(NULL);
}

static void test_full_and_empty_time_out(void **state)
{
    (void)state;
    struct queue *q = new_queue(1);
    void *p = &items[5];
    assert_int_equal(queue_pop_for(q, &p, 0), STATUS_AGAIN);
    assert_null(p);
    assert_int_equal(queue_pop_for(q, &p, 5), STATUS_AGAIN);
    assert_int_equal(queue_push_for(q, &items[0], 0), STATUS_OK);
    assert_int_equal(queue_push_for(q, &items[1], 0), STATUS_AGAIN);
    assert_int_equal(queue_push_for(q, &items[1], 5), STATUS_AGAIN);
    assert_int_equal(queue_length(q), 1);
    queue_free(q);
}

static void test_close_drains_then_ends(void **state)
{
    (void)state;
    struct queue *q = new_queue(4);
    void *p;
    assert_int_equal(queue_push(q, &items[1]), STATUS_OK);
    queue_close(q);
    assert_int_equal(queue_push(q, &items[2]), STATUS_END);
    assert_int_equal(queue_push_for(q, &items[2], 10), STATUS_END);
    assert_int_equal(queue_pop(q, &p), STATUS_OK);
    assert_ptr_equal(p, &items[1]);
    assert_int_equal(queue_pop(q, &p), STATUS_END);
    assert_null(p);
    assert_int_equal(queue_pop_for(q, &p, 0), STATUS_END);
    queue_free(q);
}

static atomic_int popper, pusher; /* thread ids */

static void *pop_one(void *q)
{
    void *p = NULL;
    atomic_store(&popper, (int)gettid());
    return queue_pop(q, &p) == STATUS_END ? q : NULL;
}

static void *push_one(void *q)
{
    atomic_store(&pusher, (int)gettid());
    return queue_push(q, &items[0]) == STATUS_END ? q : NULL;
}

/* Returns once the thread sleeps in the kernel: after it has told its id, only the queue can make it. */
static void until_asleep(atomic_int *id)
{
    char path[64], state = 0;
    while (state != 'S') {
        (void)sched_yield();
        if (atomic_load(id) == 0) continue;
        (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(id));
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1) state = 0;
        (void)fclose(f);
    }
}

static void test_close_wakes_those_who_wait(void **state)
{
    (void)state;
    struct queue *empty = new_queue(1), *full = new_queue(1);
    pthread_t a, b;
    void *ra, *rb;
    assert_int_equal(queue_push(full, &items[0]), STATUS_OK);
    assert_int_equal(pthread_create(&a, NULL, pop_one, empty), 0);
    assert_int_equal(pthread_create(&b, NULL, push_one, full), 0);
    until_asleep(&popper);
    until_asleep(&pusher);
    queue_close(empty);
    queue_close(full);
    assert_int_equal(pthread_join(a, &ra), 0);
    assert_int_equal(pthread_join(b, &rb), 0);
    assert_ptr_equal(ra, empty);
    assert_ptr_equal(rb, full);
    queue_free(empty);
    queue_free(full);
}

enum { PRODUCERS = 3, EACH = 20000 };
static struct queue *shared;
static atomic_long taken;

static void *produce(void *from)
{
    int *first = from;
    for (int i = 0; i < EACH; i++)
        if (queue_push(shared, first + i) != STATUS_OK) return NULL;
    return from;
}

static void *consume(void *unused)
{
    void *p;
    while (queue_pop(shared, &p) == STATUS_OK) {
        ++*(int *)p; /* each item has one taker: no race */
        atomic_fetch_add(&taken, 1);
    }
    return unused;
}

static void test_many_threads_lose_nothing(void **state)
{
    (void)state;
    pthread_t p[PRODUCERS], c[2];
    void *r;
    shared = new_queue(16);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&c[i], NULL, consume, NULL), 0);
    for (int i = 0; i < PRODUCERS; i++) assert_int_equal(pthread_create(&p[i], NULL, produce, &items[i * EACH]), 0);
    for (int i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(p[i], &r), 0);
        assert_non_null(r);
    }
    queue_close(shared);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(c[i], NULL), 0);
    assert_int_equal(atomic_load(&taken), PRODUCERS * EACH);
    for (int i = 0; i < PRODUCERS * EACH; i++) assert_int_equal(items[i], 1);
    queue_free(shared);
}

static void test_new_survives_each_oom(void **state)
{
    (void)state;
    struct queue *q = NULL;
    struct err e = {0};
    long met;
    FAIL_EACH_ALLOCATION(met, queue_new(&q, 8, &e));
    assert_int_equal(met, 2);
    queue_free(q);
    assert_int_equal(queue_new(&q, 0, &e), STATUS_INVALID);
    assert_null(q);
    assert_int_equal(queue_new(&q, SIZE_MAX / 4, &e), STATUS_OOM);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_in_first_out),        cmocka_unit_test(test_full_and_empty_time_out),
        cmocka_unit_test(test_close_drains_then_ends),    cmocka_unit_test(test_close_wakes_those_who_wait),
        cmocka_unit_test(test_many_threads_lose_nothing), cmocka_unit_test(test_new_survives_each_oom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
