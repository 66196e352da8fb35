/* test_monitor.c - buckets of event time, the three kinds' scales, and who is to blame. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/monitor.h"
#include <math.h>
#include <string.h>

static const struct monitor_limits limits = {.bucket_ms = 60000, .bucket_events = 100, .warmup = 30, .shift = 0.3};
static struct rand rnd;
static int64_t now;

static int setup(void **state)
{
    (void)state;
    now = 1000000;
    rand_init(&rnd, (struct rand_key){.seed = 5, .purpose = RAND_TEST});
    return 0;
}

static struct monitor make(enum monitor_kind kind)
{
    struct monitor m;
    monitor_init(&m, STR("test"), 1, MONITOR_SCHEMA, kind);
    return m;
}

/* One observation every ms_each, of which a share has the property; the last change that is not NONE. */
static enum drift_change feed(struct monitor *m, int n, int64_t ms_each, double share, uint64_t source)
{
    enum drift_change last = DRIFT_NONE;
    for (int i = 0; i < n; i++, now += ms_each) {
        const enum drift_change c = monitor_close(m, now, &limits);
        if (c != DRIFT_NONE) last = c;
        monitor_add(m, now, source, 1.0, rand_unit(&rnd) < share, 0.0);
    }
    return last;
}

static void test_a_bucket_is_long_enough_and_full_enough(void **state)
{
    struct monitor m = make(MONITOR_RATE);
    (void)state;
    (void)feed(&m, 101, 600, 0.0, 0); /* a minute and 100 observations: the bucket ends before the 101st */
    assert_int_equal(m.drift.buckets, 1);
    assert_true(fabs(m.value - 6000.0) < 1e-6); /* an hour */
    (void)feed(&m, 60, 1000, 0.0, 0);           /* a minute, but not full */
    assert_int_equal(m.drift.buckets, 1);
    (void)feed(&m, 100, 1000, 0.0, 0);
    assert_int_equal(m.drift.buckets, 2);
    (void)feed(&m, 300, 1, 0.0, 0); /* the minute was over */
    assert_int_equal(m.drift.buckets, 3);
    (void)feed(&m, 300, 1, 0.0, 0); /* full, but not a minute */
    assert_int_equal(m.drift.buckets, 3);
}

static void test_a_share_that_changes_is_told_with_its_level_and_its_beginning(void **state)
{
    struct monitor m = make(MONITOR_SHARE);
    (void)state;
    assert_int_equal(feed(&m, 30000, 300, 0.2, 0), DRIFT_NONE);
    assert_true(fabs(monitor_level(&m) - 0.2) < 0.02);
    const int64_t began = now;
    assert_int_equal(feed(&m, 3000, 300, 0.5, 0), DRIFT_ALARM);
    assert_true(fabs(m.value - 0.5) < 0.1);
    assert_true(fabs(monitor_level(&m) - 0.2) < 0.02); /* the level is kept */
    assert_in_range(m.out_ms - began, 4 * 60000, 7 * 60000);
    assert_in_range(monitor_began_ms(&m), began - 3 * 60000, began + 60000);
    assert_int_equal(feed(&m, 3000, 300, 0.2, 0), DRIFT_BACK);
}

static void test_a_mean_is_measured_in_its_own_deviation(void **state)
{
    struct monitor m = make(MONITOR_MEAN);
    (void)state;
    for (int part = 0; part < 3; part++) { /* the same, 0.1 of a deviation up, 1 up */
        const double up = part == 0 ? 0.0 : part == 1 ? 10.0 : 100.0;
        enum drift_change last = DRIFT_NONE;
        for (int i = 0; i < 20000; i++, now += 300) {
            const enum drift_change c = monitor_close(&m, now, &limits);
            if (c != DRIFT_NONE) last = c;
            const double x = 1000.0 + up + 100.0 * rand_normal(&rnd);
            monitor_add(&m, now, 0, 1.0, x, x * x);
        }
        assert_int_equal(last, part == 2 ? DRIFT_ALARM : DRIFT_NONE);
        if (part == 0) assert_true(fabs(m.scale - 100.0) < 5.0);
    }
}

/* Three sources in turn; one of them changes, or all do. */
static enum drift_change mixed(struct monitor *m, int n, double odd, double others)
{
    enum drift_change last = DRIFT_NONE;
    for (int i = 0; i < n; i++) {
        const enum drift_change c = feed(m, 1, 300, i % 3 == 0 ? odd : others, (uint64_t)(i % 3 + 1));
        if (c != DRIFT_NONE) last = c;
    }
    return last;
}

/* A loss that has fallen far below its level is not away from it any more; another figure is. */
static void test_a_loss_below_its_level_is_back(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct monitor m;
        monitor_init(&m, STR("test"), 1, i == 0 ? MONITOR_LOSS : MONITOR_SCORES, MONITOR_MEAN);
        assert_int_equal(feed(&m, 30000, 300, 0.5, 0), DRIFT_NONE);
        m.drift.out = true;
        assert_int_equal(feed(&m, 30000, 300, 0.05, 0), i == 0 ? DRIFT_BACK : DRIFT_NONE);
    }
}

static void test_the_source_that_explains_it_alone_is_to_blame(void **state)
{
    uint64_t sources[MONITOR_SOURCES];
    struct monitor m = make(MONITOR_SHARE), all = make(MONITOR_SHARE);
    (void)state;
    assert_int_equal(mixed(&m, 30000, 0.2, 0.2), DRIFT_NONE);
    assert_int_equal(monitor_blame(&m, &limits, sources, MONITOR_SOURCES), 0); /* nothing is wrong */
    assert_int_equal(mixed(&m, 3000, 1.0, 0.2), DRIFT_ALARM);
    assert_int_equal(monitor_blame(&m, &limits, sources, MONITOR_SOURCES), 1);
    assert_int_equal(sources[0], 1);
    monitor_excuse(&m, 1);
    assert_false(m.drift.out);
    assert_int_equal(monitor_blame(&m, &limits, sources, MONITOR_SOURCES), 0);
    (void)mixed(&all, 30000, 0.2, 0.2);
    assert_int_equal(mixed(&all, 3000, 0.6, 0.6), DRIFT_ALARM);
    assert_int_equal(monitor_blame(&all, &limits, sources, MONITOR_SOURCES), 0); /* nobody is left who is as usual */
}

static void test_a_source_that_floods_is_to_blame_for_the_volume(void **state)
{
    uint64_t sources[MONITOR_SOURCES];
    const struct monitor_limits l = {.bucket_ms = 60000, .bucket_events = 100, .warmup = 30, .shift = log(2.5)};
    struct monitor m = make(MONITOR_RATE);
    enum drift_change last = DRIFT_NONE;
    (void)state;
    for (int i = 0; i < 40000; i++, now += 300) {
        const bool flood = i >= 30000;
        for (int k = 0; k < (flood ? 11 : 1); k++) {
            const enum drift_change c = monitor_close(&m, now, &l);
            if (c != DRIFT_NONE && last == DRIFT_NONE) last = c;
            monitor_add(&m, now, k > 0 ? 9 : (uint64_t)(i % 3 + 1), 1.0, 0.0, 0.0);
        }
        if (last == DRIFT_ALARM) break;
    }
    assert_int_equal(last, DRIFT_ALARM);
    assert_int_equal(monitor_blame(&m, &l, sources, MONITOR_SOURCES), 1);
    assert_int_equal(sources[0], 9);
}

static void test_state_goes_on_where_it_was(void **state)
{
    struct monitor m = make(MONITOR_SHARE), copy;
    struct buf b = {0}, again = {0};
    (void)state;
    (void)mixed(&m, 5050, 0.2, 0.3);
    monitor_encode(&b, &m);
    struct buf_reader r = buf_reader(b.p, b.n);
    monitor_decode(&copy, &r);
    assert_false(r.bad);
    assert_int_equal(buf_left(&r), 0);
    monitor_encode(&again, &copy);
    assert_int_equal(again.n, b.n);
    assert_memory_equal(again.p, b.p, b.n);
    for (size_t n = 0; n < b.n; n += 7) {
        r = buf_reader(b.p, n);
        monitor_decode(&copy, &r);
        assert_true(r.bad);
    }
    buf_fini(&b);
    buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_bucket_is_long_enough_and_full_enough, setup),
        cmocka_unit_test_setup(test_a_share_that_changes_is_told_with_its_level_and_its_beginning, setup),
        cmocka_unit_test_setup(test_a_mean_is_measured_in_its_own_deviation, setup),
        cmocka_unit_test_setup(test_a_loss_below_its_level_is_back, setup),
        cmocka_unit_test_setup(test_the_source_that_explains_it_alone_is_to_blame, setup),
        cmocka_unit_test_setup(test_a_source_that_floods_is_to_blame_for_the_volume, setup),
        cmocka_unit_test_setup(test_state_goes_on_where_it_was, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
