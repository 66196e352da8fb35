/* test_cluster_rate.c - intervals of shares hold where next to nothing was taken, and are those of the jackknife where much was. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/cluster_rate.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t user_of(int i)
{
    char id[20];
    (void)snprintf(id, sizeof id, "u%d", i);
    return cluster_user(str_from(id));
}

/* Users open 1 to 2 * per - 1 lists each; one in five has a taste five times that of the others. */
static void sample(struct cluster *c, struct rand *r, int users, uint64_t per, double mean)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < users; i++) {
        const double p = mean / 1.8 * (rand_unit(r) < 0.2 ? 5.0 : 1.0);
        const uint64_t n = 1 + rand_below(r, 2 * per - 1);
        double y = 0.0;
        for (uint64_t k = 0; k < n; k++) y += rand_unit(r) < p;
        cluster_add(c, user_of((int)rand_below(r, 1 << 30)), (double)n, y);
    }
}

struct coverage {
    int one, two, jackknife;
};

static struct coverage cover(int users, uint64_t per, double rate, int runs)
{
    struct coverage out = {0, 0, 0};
    struct rand r;
    rand_init(&r, (struct rand_key){(uint64_t)users, (uint32_t)per, (uint32_t)(rate * 1e6), 0, RAND_TEST});
    for (int i = 0; i < runs; i++) {
        struct cluster a, b;
        struct cluster_interval x;
        sample(&a, &r, users, per, rate);
        sample(&b, &r, users, per, rate);
        cluster_rate(&a, &x);
        out.one += x.lower <= rate && rate <= x.upper;
        cluster_mean(&a, &x);
        out.jackknife += x.lower <= rate && rate <= x.upper;
        cluster_rate_difference(&a, &b, &x);
        out.two += x.lower <= 0.0 && x.upper >= 0.0;
    }
    return out;
}

static void test_intervals_cover_where_little_was_taken(void **state)
{
    (void)state;
    static const double rates[] = {0.003, 0.01, 0.02, 0.2};
    static const int users[] = {50, 200, 1000};
    enum { RUNS = 500 };
    for (int u = 0; u < 3; u++)
        for (int k = 0; k < 4; k++)
            for (uint64_t per = 2; per <= (u < 2 ? 20 : 2); per *= 10) {
                const struct coverage c = cover(users[u], per, rates[k], RUNS);
                print_message("%4d users, %2d lists, rate %.3f: %.3f, difference %.3f; jackknife %.3f\n", users[u],
                              (int)per, rates[k], (double)c.one / RUNS, (double)c.two / RUNS,
                              (double)c.jackknife / RUNS);
                assert_true(c.one >= (int)(0.925 * RUNS));
                assert_true(c.two >= (int)(0.925 * RUNS));
                if (rates[k] > 0.1) assert_true(c.one <= (int)(0.985 * RUNS)); /* it isn't by being useless */
            }
}

static void fill(struct cluster *c, uint64_t users, double n, double y, uint64_t of)
{
    memset(c, 0, sizeof *c);
    for (uint64_t i = 0; i < users; i++) cluster_add(c, i, n, i < of ? y : 0.0);
}

/* A hundred users that nobody could be told apart from: two lists each and one conversion, or none. */
static void test_no_noise_is_no_certainty(void **state)
{
    (void)state;
    struct cluster none, half, all;
    struct cluster_interval x;
    fill(&none, 100, 2.0, 0.0, 0);
    fill(&half, 100, 2.0, 1.0, 100);
    fill(&all, 100, 2.0, 2.0, 100);
    cluster_rate(&none, &x);
    assert_true(x.lower == 0.0 && fabs(x.upper - 0.0187) < 0.0005); /* 1 - 0.025^(1/200) is 0.0183 */
    cluster_rate(&all, &x);
    assert_true(x.upper == 1.0 && fabs(x.lower - 0.9813) < 0.0005);
    cluster_rate(&half, &x);
    assert_true(fabs(x.lower - 0.4276) < 0.003 && fabs(x.upper - 0.5724) < 0.003); /* of 100 of 200 (tables) 0.4287 … */
    cluster_rate_difference(&none, &none, &x);
    assert_true(x.mean == 0.0 && fabs(x.upper - 0.0187) < 0.0005 && fabs(x.lower + x.upper) < 1e-9);
    fill(&none, CLUSTER_LEAST - 1, 2.0, 0.0, 0);
    cluster_rate(&none, &x);
    assert_true(x.mean == 0.0 && isnan(x.lower) && isnan(x.upper));
    cluster_rate_difference(&half, &none, &x);
    assert_true(isnan(x.lower) && isnan(x.upper));
}

static void test_much_is_as_the_jackknife_has_it(void **state)
{
    (void)state;
    struct rand r;
    struct cluster a;
    struct cluster_interval x, y;
    rand_init(&r, (struct rand_key){7, 0, 0, 0, RAND_TEST});
    memset(&a, 0, sizeof a);
    for (uint64_t i = 0; i < CLUSTER_BUCKETS; i++)
        cluster_add(&a, i, 40000.0, floor(4000.0 + 2000.0 * (rand_unit(&r) - 0.5)));
    cluster_mean(&a, &x);
    cluster_rate(&a, &y);
    assert_true(fabs(x.lower - y.lower) < 2e-5 && fabs(x.upper - y.upper) < 2e-5);
    assert_true(x.upper - x.lower > 0.001);
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
    cluster_rate_difference(&arms[0], &arms[1], &x);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intervals_cover_where_little_was_taken), cmocka_unit_test(test_no_noise_is_no_certainty),
        cmocka_unit_test(test_much_is_as_the_jackknife_has_it),
        cmocka_unit_test(test_arms_alike_are_rarely_told_apart_where_activity_is_uneven)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
