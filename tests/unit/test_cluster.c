/* test_cluster.c - intervals that know that a user's examples are alike: they cover, where ones of single examples do not. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/cluster.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t user_of(int i)
{
    char id[20];
    (void)snprintf(id, sizeof id, "u%d", i);
    return cluster_user(str_from(id));
}

/* 300 users with a taste of their own, 1 to 20 examples each. */
static void sample(struct cluster *c, struct rand *r, double mean)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < 300; i++) {
        const double p = mean + 0.3 * (rand_unit(r) - 0.5);
        const uint64_t n = 1 + rand_below(r, 20);
        double y = 0.0;
        for (uint64_t k = 0; k < n; k++) y += rand_unit(r) < p;
        cluster_add(c, user_of(i), (double)n, y);
    }
}

static void test_interval_covers_the_truth(void **state)
{
    (void)state;
    struct rand r;
    struct cluster c;
    struct cluster_interval x;
    int covered = 0, naive = 0;
    enum { RUNS = 1000 };
    rand_init(&r, (struct rand_key){1, 0, 0, 0, RAND_TEST});
    for (int i = 0; i < RUNS; i++) {
        double n = 0.0;
        sample(&c, &r, 0.4);
        cluster_mean(&c, &x);
        for (int b = 0; b < CLUSTER_BUCKETS; b++) n += c.n[b];
        const double se = sqrt(x.mean * (1.0 - x.mean) / n);
        covered += x.lower <= 0.4 && 0.4 <= x.upper;
        naive += fabs(x.mean - 0.4) <= CLUSTER_Z * se;
    }
    assert_true(covered > 925 && covered < 975);
    assert_true(naive < covered);
}

static void test_difference_adds_the_variances(void **state)
{
    (void)state;
    struct rand r;
    struct cluster a, b;
    struct cluster_interval x, y, d;
    rand_init(&r, (struct rand_key){2, 0, 0, 0, RAND_TEST});
    sample(&a, &r, 0.5);
    sample(&b, &r, 0.4);
    cluster_mean(&a, &x);
    cluster_mean(&b, &y);
    cluster_difference(&a, &b, &d);
    assert_true(fabs(d.mean - (x.mean - y.mean)) < 1e-12);
    assert_true(fabs(d.se * d.se - (x.se * x.se + y.se * y.se)) < 1e-12);
    assert_true(d.lower > 0.0 && d.upper < 0.2);
}

static void test_undefined_is_nan(void **state)
{
    (void)state;
    struct cluster c = {0};
    struct cluster_interval x;
    cluster_mean(&c, &x);
    assert_true(isnan(x.mean) && isnan(x.lower));
    cluster_add(&c, 7, 2.0, 1.0);
    cluster_mean(&c, &x);
    assert_true(fabs(x.mean - 0.5) < 1e-12 && isnan(x.se));
}

/* Against tables (Abramowitz and Stegun 26.8). */
static void test_chi_square_is_that_of_the_tables(void **state)
{
    (void)state;
    assert_true(fabs(cluster_chi_square(3.841458820694124, 1) - 0.05) < 1e-9);
    assert_true(fabs(cluster_chi_square(5.991464547107979, 2) - 0.05) < 1e-9);
    assert_true(fabs(cluster_chi_square(14.06714044934017, 7) - 0.05) < 1e-9);
    assert_true(fabs(cluster_chi_square(0.4549364231195724, 1) - 0.5) < 1e-9);
    assert_true(fabs(cluster_chi_square(12.11566514613463, 1) - 0.0005) < 1e-7);
    assert_true(fabs(cluster_chi_square(0.0, 3) - 1.0) < 1e-12);
}

static void test_state_goes_out_and_back(void **state)
{
    (void)state;
    struct cluster a = {0}, b = {0};
    struct buf out = {0};
    cluster_add(&a, user_of(3), 2.0, 1.0);
    cluster_encode(&out, &a);
    struct buf_reader r = buf_reader(out.p, out.n);
    cluster_decode(&b, &r);
    assert_false(r.bad);
    assert_memory_equal(&a, &b, sizeof a);
    r = buf_reader(out.p, out.n - 1);
    cluster_decode(&b, &r);
    assert_true(r.bad);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interval_covers_the_truth), cmocka_unit_test(test_difference_adds_the_variances),
        cmocka_unit_test(test_undefined_is_nan),          cmocka_unit_test(test_chi_square_is_that_of_the_tables),
        cmocka_unit_test(test_state_goes_out_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
