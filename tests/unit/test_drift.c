/* test_drift.c - a change that lasts is found within few buckets, and nothing else is: not chance, not a wild bucket, not less
 * than the shift, not what was usual before. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/drift.h"
#include <math.h>

#define WARMUP 60
#define SHIFT 0.3

static struct rand rnd;

static int setup(void **state)
{
    (void)state;
    rand_init(&rnd, (struct rand_key){.seed = 7, .purpose = RAND_TEST});
    return 0;
}

/* n buckets around level with deviation s; how many of them changed something, the first of them in *at. */
static uint32_t feed(struct drift *d, uint32_t n, double level, double s, enum drift_change want, uint32_t *at)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        const enum drift_change c = drift_add(d, level + s * rand_normal(&rnd), 0.25 * s * s, SHIFT, WARMUP, 0);
        if (c == DRIFT_NONE) continue;
        assert_int_equal(c, want);
        if (found++ == 0 && at != NULL) *at = i + 1;
    }
    return found;
}

static void test_chance_alone_gives_no_alarm_in_a_million_buckets(void **state)
{
    (void)state;
    struct drift d = {0};
    assert_int_equal(feed(&d, 500000, 1.0, 0.05, DRIFT_ALARM, NULL), 0);
    struct drift wide = {0};
    assert_int_equal(feed(&wide, 500000, 1.0, 0.5, DRIFT_ALARM, NULL), 0);
    assert_true(fabs(d.mean - 1.0) < 0.02);
    assert_true(fabs(d.spread - 0.001875) < 0.001);
}

static void test_a_change_is_found_in_few_buckets_either_way_and_its_end_too(void **state)
{
    (void)state;
    for (int way = -1; way <= 1; way += 2) {
        struct drift d = {0};
        uint32_t at = 0;
        assert_int_equal(feed(&d, 300, 1.0, 0.05, DRIFT_ALARM, NULL), 0);
        assert_int_equal(feed(&d, 30, 1.0 + way * 0.6, 0.05, DRIFT_ALARM, &at), 1);
        assert_in_range(at, 4, 6);
        assert_true(d.out);
        assert_int_equal(feed(&d, 10, 1.0, 0.05, DRIFT_BACK, &at), 1);
        assert_int_equal(at, DRIFT_CALM);
        assert_false(d.out);
        assert_int_equal(feed(&d, 1000, 1.0, 0.05, DRIFT_ALARM, NULL), 0);
    }
}

static void test_a_wild_bucket_now_and_then_is_no_change(void **state)
{
    (void)state;
    struct drift d = {0};
    for (uint32_t i = 0; i < 5000; i++) {
        const double x = i % 50 == 49 ? 100.0 : 1.0 + 0.05 * rand_normal(&rnd);
        assert_int_equal(drift_add(&d, x, 0.0006, SHIFT, WARMUP, 0), DRIFT_NONE);
    }
    assert_true(fabs(d.mean - 1.0) < 0.2);
}

/* In a long log every difference is significant; less than the shift matters to nobody, however long it lasts. */
static void test_less_than_the_shift_is_no_alarm(void **state)
{
    (void)state;
    struct drift d = {0};
    assert_int_equal(feed(&d, 300, 1.0, 0.01, DRIFT_ALARM, NULL), 0);
    assert_int_equal(feed(&d, 3000, 1.2, 0.01, DRIFT_ALARM, NULL), 0);
    assert_true(fabs(d.mean - 1.2) < 0.02);
    assert_int_equal(feed(&d, 20, 1.8, 0.01, DRIFT_ALARM, NULL), 1);
}

/* What went up and down by 0.5 every day is no alarm at 0.3. */
static void test_what_is_usual_is_no_alarm(void **state)
{
    (void)state;
    struct drift d = {0};
    for (uint32_t i = 0; i < 20000; i++) {
        const double x = 1.0 + (i / 12 % 2 ? 0.5 : 0.0) + 0.02 * rand_normal(&rnd);
        assert_int_equal(drift_add(&d, x, 0.0004, SHIFT, WARMUP, 0), DRIFT_NONE);
    }
}

static void test_an_accepted_level_is_learnt_anew(void **state)
{
    (void)state;
    struct drift d = {0};
    assert_int_equal(feed(&d, 300, 1.0, 0.05, DRIFT_ALARM, NULL), 0);
    assert_int_equal(feed(&d, 20, 3.0, 0.05, DRIFT_ALARM, NULL), 1);
    drift_adopt(&d);
    assert_int_equal(feed(&d, 1000, 3.0, 0.05, DRIFT_ALARM, NULL), 0);
    assert_int_equal(feed(&d, 20, 1.0, 0.05, DRIFT_ALARM, NULL), 1);
}

static void test_state_goes_on_where_it_was(void **state)
{
    (void)state;
    struct drift d = {0}, copy;
    struct buf b = {0};
    (void)feed(&d, 300, 1.0, 0.05, DRIFT_ALARM, NULL);
    (void)feed(&d, 3, 1.6, 0.05, DRIFT_ALARM, NULL);
    drift_encode(&b, &d);
    struct buf_reader r = buf_reader(b.p, b.n);
    drift_decode(&copy, &r);
    assert_false(r.bad);
    assert_int_equal(buf_left(&r), 0);
    for (int i = 0; i < 20; i++) {
        const double x = i < 10 ? 1.6 : 1.0;
        assert_int_equal(drift_add(&d, x, 0.0006, SHIFT, WARMUP, 0), drift_add(&copy, x, 0.0006, SHIFT, WARMUP, 0));
    }
    assert_true(d.mean == copy.mean && d.spread == copy.spread);
    r = buf_reader(b.p, b.n - 1);
    drift_decode(&copy, &r);
    assert_true(r.bad);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chance_alone_gives_no_alarm_in_a_million_buckets),
        cmocka_unit_test(test_a_change_is_found_in_few_buckets_either_way_and_its_end_too),
        cmocka_unit_test(test_a_wild_bucket_now_and_then_is_no_change),
        cmocka_unit_test(test_less_than_the_shift_is_no_alarm),
        cmocka_unit_test(test_what_is_usual_is_no_alarm),
        cmocka_unit_test(test_an_accepted_level_is_learnt_anew),
        cmocka_unit_test(test_state_goes_on_where_it_was),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
