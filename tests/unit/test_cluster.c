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
    cluster_difference(&a, &b, &x);
    assert_true(
        near(&x, 0.1396551724137931, 0.102865483773941, 9.021990907118772, -0.09295628638134754, 0.3722666312089338));
}

/* Two arms alike, of lists that a few users open most of: activity is of Pareto's distribution with exponent 1.2. */
static bool tells_them_apart(struct rand *r, int users, int lists, bool *defined)
{
    static double until[3000], taste[3000];
    struct cluster arms[2];
    struct cluster_interval x;
    double all = 0.0;
    memset(arms, 0, sizeof arms);
    for (int i = 0; i < users; i++) {
        until[i] = all += pow(1.0 - rand_unit(r), -1.0 / 1.2);
        taste[i] = 0.8 * rand_unit(r);
    }
    for (int k = 0; k < lists; k++) {
        const double at = rand_unit(r) * all;
        int low = 0, high = users - 1;
        while (low < high) {
            const int mid = (low + high) / 2;
            if (until[mid] < at)
                low = mid + 1;
            else
                high = mid;
        }
        cluster_add(&arms[low % 2], user_of(low), 1.0, rand_unit(r) < taste[low]);
    }
    cluster_difference(&arms[0], &arms[1], &x);
    *defined = !isnan(x.lower);
    return *defined && (x.lower > 0.0 || x.upper < 0.0);
}

static void test_arms_alike_are_rarely_told_apart_where_activity_is_uneven(void **state)
{
    (void)state;
    static const int users[] = {80, 300, 3000};
    enum { RUNS = 600 };
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        struct rand r;
        int wrong = 0, defined = 0;
        rand_init(&r, (struct rand_key){3, (uint32_t)i, 0, 0, RAND_TEST});
        for (int k = 0; k < RUNS; k++) {
            bool any;
            wrong += tells_them_apart(&r, users[i], users[i] < 300 ? 1200 : 5 * users[i], &any);
            defined += any;
        }
        print_message("%d users: %d of %d told apart\n", users[i], wrong, defined);
        assert_true(defined > RUNS / 2);
        assert_true(wrong * 100 <= 7 * defined);
    }
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

/* Nothing was taken anywhere: no noise, and none undefined. */
static void test_difference_of_nothing_is_nothing(void **state)
{
    (void)state;
    struct cluster a = {0};
    struct cluster_interval x;
    for (uint64_t i = 0; i < 10; i++) cluster_add(&a, i, 2.0, 0.0);
    cluster_difference(&a, &a, &x);
    assert_true(fabs(x.mean) < 1e-12 && fabs(x.lower) < 1e-12 && fabs(x.upper) < 1e-12);
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
        cmocka_unit_test(test_difference_adds_the_variances),
        cmocka_unit_test(test_interval_is_that_of_the_jackknife),
        cmocka_unit_test(test_arms_alike_are_rarely_told_apart_where_activity_is_uneven),
        cmocka_unit_test(test_undefined_is_nan),
        cmocka_unit_test(test_difference_of_nothing_is_nothing),
        cmocka_unit_test(test_state_goes_out_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
