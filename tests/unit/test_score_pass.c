/* test_score_pass.c - requests that come together are scored together, with the very bits of those that came alone; one
 * that is alone in the house waits for nobody; versions replace each other under it all.
 *
 * labels: quick redis threads
 * timeout: 120
 */
#include "serving/score.h"
#include "tests/support/check.h"
#include "tests/support/serving_world.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CLIENTS = 6, KINDS = 12, ROUNDS = 30, ITEMS = 10 };

static struct serving_world w;
static struct metric *metric;
static struct score *score;
static float alone[KINDS][ITEMS];
static atomic_uint wrong, answered;
static pthread_barrier_t together;

static void open_with(const char *const *options)
{
    struct err e = {0};
    serving_world_open(&w, options);
    serving_world_features(&w);
    serving_world_version(&w, 1);
    assert_ok(metric_new(&metric, &e), &e);
    assert_ok(score_open(&score, w.shop.conf, clock_system(), metric, &e), &e);
    assert_ok(score_look(score, &e), &e);
}

static void close_all(void)
{
    score_close(score);
    metric_free(metric);
    serving_world_close(&w);
}

/* Kind by kind another user, another number of items, another joint_top's worth; logits in input order. */
static enum status ask(unsigned kind, float *logits)
{
    struct err e = {0};
    const struct score_answer *a;
    char body[400];
    int n = snprintf(body, sizeof body, "{\"user\":\"u%u\",\"items\":[", kind % 5);
    for (unsigned i = 0; i < 1 + kind % ITEMS; i++)
        n += snprintf(body + n, sizeof body - (size_t)n, i ? ",\"i%u\"" : "\"i%u\"", (i + kind) % ITEMS);
    (void)snprintf(body + n, sizeof body - (size_t)n, "]}");
    struct score_hand *h = score_borrow(score);
    enum status st = score_request_parse(score_request_of(h), str_from(body), w.shop.conf, &e);
    if (st == STATUS_OK) st = score_rank(h, &a, &e);
    for (uint32_t i = 0; st == STATUS_OK && i < a->n; i++) logits[a->items[i].index] = a->items[i].logit;
    score_return(score, h);
    return st;
}

static void *client(void *arg)
{
    const unsigned number = *(unsigned *)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const unsigned kind = (number + round) % KINDS;
        float logits[ITEMS] = {0};
        (void)pthread_barrier_wait(&together);
        if (ask(kind, logits) != STATUS_OK || memcmp(logits, alone[kind], sizeof logits) != 0)
            atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&answered, 1);
    }
    return NULL;
}

static void run_clients(void)
{
    pthread_t t[CLIENTS];
    unsigned number[CLIENTS];
    assert_int_equal(pthread_barrier_init(&together, NULL, CLIENTS), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&t[i], NULL, client, &number[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
    (void)pthread_barrier_destroy(&together);
}

static void test_together_gives_the_bits_of_alone(void **state)
{
    (void)state;
    const char *const options[] = {"serving.threads=6", "kernels.threads=1", "serving.batch_wait_us=20000",
                                   "serving.joint_top=4", NULL};
    open_with(options);
    for (unsigned kind = 0; kind < KINDS; kind++) assert_int_equal(ask(kind, alone[kind]), STATUS_OK);
    assert_true(metric_get(metric, METRIC_PASSES) == KINDS); /* each alone */
    run_clients();
    assert_int_equal(atomic_load(&wrong), 0);
    const double passes = metric_get(metric, METRIC_PASSES) - KINDS;
    assert_true(passes >= ROUNDS && passes < CLIENTS * ROUNDS); /* some were scored together, how many is the clock's */
    close_all();
}

static void test_one_alone_in_the_house_waits_for_nobody(void **state)
{
    (void)state;
    const char *const options[] = {"serving.threads=4", "kernels.threads=1", "serving.batch_wait_us=100000", NULL};
    float logits[ITEMS];
    open_with(options);
    const int64_t start = clock_system()->mono_us(clock_system());
    for (unsigned i = 0; i < 100; i++) assert_int_equal(ask(i, logits), STATUS_OK);
    assert_true(clock_system()->mono_us(clock_system()) - start < 5000000); /* with the wait it were ten seconds */
    close_all();
}

/* A hand that is out but asks for nothing holds others up for the wait and no longer. */
static void test_the_wait_has_an_end(void **state)
{
    (void)state;
    const char *const options[] = {"serving.threads=4", "kernels.threads=1", "serving.batch_wait_us=50000", NULL};
    float logits[ITEMS];
    open_with(options);
    struct score_hand *idle = score_borrow(score);
    const int64_t start = clock_system()->mono_us(clock_system());
    assert_int_equal(ask(1, logits), STATUS_OK);
    assert_true(clock_system()->mono_us(clock_system()) - start >= 50000);
    score_return(score, idle);
    close_all();
}

static void *swap(void *arg)
{
    struct err e = {0};
    (void)arg;
    for (uint64_t v = 2; v <= 20; v++) {
        serving_world_version(&w, v); /* the same weights: only the passes change */
        if (score_look(score, &e) != STATUS_OK) atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

static void test_swaps_and_batches_do_not_stop_each_other(void **state)
{
    (void)state;
    pthread_t t;
    const char *const options[] = {"serving.threads=6", "kernels.threads=2", "serving.batch_wait_us=200", NULL};
    open_with(options);
    for (unsigned kind = 0; kind < KINDS; kind++) assert_int_equal(ask(kind, alone[kind]), STATUS_OK);
    assert_int_equal(pthread_create(&t, NULL, swap, NULL), 0);
    run_clients();
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(atomic_load(&answered) % (CLIENTS * ROUNDS), 0);
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_together_gives_the_bits_of_alone),
        cmocka_unit_test(test_one_alone_in_the_house_waits_for_nobody),
        cmocka_unit_test(test_the_wait_has_an_end),
        cmocka_unit_test(test_swaps_and_batches_do_not_stop_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
