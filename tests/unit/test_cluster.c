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

static void fill(struct cluster *c, const double *n, const double *y, uint64_t users)
{
    memset(c, 0, sizeof *c);
    for (uint64_t i = 0; i < users; i++) cluster_add(c, i, n[i], y[i]);
}

static bool near(const struct cluster_interval *x, double mean, double se, double df, double lower, double upper)
{
    return fabs(x->mean - mean) < 1e-12 && fabs(x->se - se) < 1e-12 && fabs(x->df - df) < 1e-12 &&
           fabs(x->lower - lower) < 3e-4 && fabs(x->upper - upper) < 3e-4;
}

/* Each mean of all users but one, by itself; the quantile by the integral of Student's density. */
static void test_interval_is_that_of_the_jackknife(void **state)
{
    (void)state;
    static const double n[] = {10, 4, 3, 7, 1, 5, 2, 8}, y[] = {4, 1, 2, 2, 1, 3, 0, 5}, m[] = {6, 2, 9, 1, 3, 3, 5},
                        w[] = {1, 1, 3, 0, 2, 0, 2};
    struct cluster a, b;
    struct cluster_interval x;
    fill(&a, n, y, 8);
    fill(&b, m, w, 7);
    cluster_mean(&a, &x);
    assert_true(near(&x, 0.45, 0.07367300442318679, 4.970149253731344, 0.26027488737420695, 0.639725112625793));
    cluster_mean(&b, &x);
    assert_true(
        near(&x, 0.3103448275862069, 0.07178855181230515, 4.096969696969697, 0.11287465219255965, 0.5078150029798542));
}

static void test_undefined_is_nan(void **state)
{
    (void)state;
    struct cluster c = {0};
    struct cluster_interval x;
    cluster_mean(&c, &x);
    assert_true(isnan(x.mean) && isnan(x.lower));
    for (uint64_t i = 0; i < CLUSTER_LEAST - 1; i++) cluster_add(&c, i, 2.0, 1.0);
    cluster_mean(&c, &x);
    assert_true(fabs(x.mean - 0.5) < 1e-12 && isnan(x.se) && isnan(x.lower) && isnan(x.upper));
    cluster_add(&c, CLUSTER_LEAST - 1, 2.0, 1.0);
    cluster_mean(&c, &x);
    assert_true(fabs(x.mean - 0.5) < 1e-12 && x.lower <= 0.5 && x.upper >= 0.5);
    cluster_add(&c, CLUSTER_LEAST, 100.0, 1.0); /* whose mean it is then */
    cluster_mean(&c, &x);
    assert_true(isnan(x.lower));
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
        cmocka_unit_test(test_interval_covers_the_truth),

        cmocka_unit_test(test_interval_is_that_of_the_jackknife),
        cmocka_unit_test(test_undefined_is_nan),

        cmocka_unit_test(test_state_goes_out_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
