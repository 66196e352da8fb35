/* test_counter.c - decay, order of arrival, look-up, days.
 * labels: quick
 */
#include "featurize/counter.h"
#include "tests/support/check.h"
#include <math.h>

static struct err e;
static struct conf *conf;
static struct counter_decay decay;
#define HOUR INT64_C(3600000)

static int set_up(void **state)
{
    (void)state;
    if (conf_new(&conf, &e) != STATUS_OK) return -1;
    return counter_init(&decay, conf, &e) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static void near(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-12 * (1 + fabs(b)));
}

static void test_a_count_halves_in_its_half_life(void **state)
{
    (void)state;
    struct record_tally t = {.time_ms = 1000};
    counter_add(&t, &decay, 1000, 8);
    for (unsigned h = 0; h < RECORD_HALF_LIVES; h++) {
        const int64_t half = (int64_t)(decay.hours[h] * 3600000.0);
        near(counter_at(&t, &decay, h, 1000), 8);
        near(counter_at(&t, &decay, h, 1000 + half), 4);
        near(counter_at(&t, &decay, h, 1000 + 3 * half), 1);
    }
    near(counter_at(&t, &decay, COUNTER_ALL, INT64_C(1) << 60), 8);
    assert_true(counter_at(&t, &decay, 0, INT64_C(1) << 60) == 0);
}

static void test_reading_does_not_write(void **state)
{
    (void)state;
    struct record_tally t = {.time_ms = 0};
    counter_add(&t, &decay, 5 * HOUR, 3);
    const struct record_tally before = t;
    for (unsigned h = 0; h <= COUNTER_ALL; h++) assert_true(counter_at(&t, &decay, h, 100 * HOUR) <= 3);
    assert_memory_equal(&before, &t, sizeof t);
}

static void test_late_events_count_as_if_they_had_come_in_time(void **state)
{
    (void)state;
    static const int64_t times[] = {10 * HOUR, 400 * HOUR, 399 * HOUR, 30 * HOUR, 400 * HOUR, 0};
    struct record_tally late = {.time_ms = times[0]}, sorted = {.time_ms = 0};
    static const int64_t in_order[] = {0, 10 * HOUR, 30 * HOUR, 399 * HOUR, 400 * HOUR, 400 * HOUR};
    for (int i = 0; i < 6; i++) {
        counter_add(&late, &decay, times[i], 1);
        counter_add(&sorted, &decay, in_order[i], 1);
    }
    assert_true(late.time_ms == 400 * HOUR && sorted.time_ms == 400 * HOUR);
    for (unsigned h = 0; h <= COUNTER_ALL; h++)
        near(counter_at(&late, &decay, h, 500 * HOUR), counter_at(&sorted, &decay, h, 500 * HOUR));
    /* Asked about a time before the newest event: never more than was counted. */
    for (unsigned h = 0; h <= COUNTER_ALL; h++) assert_true(counter_at(&late, &decay, h, -1000 * HOUR) <= 6);
}

static void test_equals_the_sum_over_all_events(void **state)
{
    (void)state;
    struct record_tally t = {.time_ms = 0};
    double sum[RECORD_HALF_LIVES] = {0};
    const int64_t end = 5000 * HOUR;
    for (int i = 0; i < 1000; i++) {
        const int64_t time = (int64_t)i * 4 * HOUR + i * i;
        counter_add(&t, &decay, time, 1 + i % 3);
        for (unsigned h = 0; h < RECORD_HALF_LIVES; h++)
            sum[h] += (1 + i % 3) * exp2(-(double)(end - time) / (decay.hours[h] * 3600000.0));
    }
    for (unsigned h = 0; h < RECORD_HALF_LIVES; h++)
        assert_true(fabs(counter_at(&t, &decay, h, end) - sum[h]) < 1e-9 * (1 + sum[h]));
    assert_true(t.total == 1999);
}

static void test_tallies_are_found_or_appended(void **state)
{
    (void)state;
    struct record_tally *list = NULL, *t = NULL;
    uint32_t n = 0;
    assert_null(counter_find(NULL, 0, 3));
    for (uint8_t type = 0; type < 5; type++) assert_ok(counter_tally(&t, NULL, &list, &n, type, 7, &e), &e);
    assert_ok(counter_tally(&t, NULL, &list, &n, 2, 9, &e), &e);
    assert_int_equal(n, 5);
    assert_ptr_equal(t, &list[2]);
    assert_true(t->time_ms == 7);
    assert_ptr_equal(counter_find(list, n, 4), &list[4]);
    assert_null(counter_find(list, n, 9));
    assert_true(counter_at(NULL, &decay, 0, 1) == 0);
    mem_fail_after(0);
    assert_int_equal(counter_tally(&t, NULL, &list, &n, 9, 0, &e), STATUS_OOM);
    mem_fail_after(-1);
    assert_int_equal(n, 5);
    mem_free(list);
}

static void test_days_are_floored(void **state)
{
    (void)state;
    assert_int_equal(counter_day(0), 0);
    assert_int_equal(counter_day(COUNTER_DAY_MS - 1), 0);
    assert_int_equal(counter_day(COUNTER_DAY_MS), 1);
    assert_int_equal(counter_day(-1), -1);
    assert_int_equal(counter_day(-COUNTER_DAY_MS), -1);
    assert_int_equal(counter_day(-COUNTER_DAY_MS - 1), -2);
}

static void test_half_lives_come_from_the_config(void **state)
{
    (void)state;
    assert_int_equal(counter_nearest(&decay, 672), 2);
    assert_int_equal(counter_nearest(&decay, 1), 0);
    assert_int_equal(counter_nearest(&decay, 1e6), 3);
    assert_ok(conf_set(conf, "counter.half_lives_hours", "1,2,3,4", &e), &e);
    assert_ok(counter_init(&decay, conf, &e), &e);
    assert_true(decay.hours[3] == 4);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_a_count_halves_in_its_half_life),
        T(test_reading_does_not_write),
        T(test_late_events_count_as_if_they_had_come_in_time),
        T(test_equals_the_sum_over_all_events),
        T(test_tallies_are_found_or_appended),
        T(test_days_are_floored),
        T(test_half_lives_come_from_the_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
