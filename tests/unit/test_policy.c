/* test_policy.c - Gumbel top-k draws lists with the very probabilities that are said of them. */
#include "model/policy.h"
#include "tests/support/check.h"
#include <math.h>

enum { N = 4, DRAWS = 200000 };
static const float logits[N] = {1.0f, 0.0f, -0.5f, 2.0f};

static void draw(struct rand *r, double temperature, int order[N])
{
    double keys[N];
    policy_gumbel(logits, N, temperature, r, keys);
    for (int i = 0; i < N; i++) order[i] = i;
    for (int i = 0; i < N; i++)
        for (int k = i + 1; k < N; k++)
            if (keys[order[k]] > keys[order[i]]) {
                const int t = order[i];
                order[i] = order[k], order[k] = t;
            }
}

static void test_lists_come_as_often_as_said(void **state)
{
    (void)state;
    struct rand r;
    int seen[256] = {0}, order[N];
    const double temperature = 1.5;
    rand_init(&r, (struct rand_key){1, 0, 0, 0, RAND_TEST});
    for (int i = 0; i < DRAWS; i++) {
        draw(&r, temperature, order);
        seen[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
    }
    int lists = 0;
    for (int code = 0; code < 256; code++) {
        double p[N], all = 1.0;
        float listed[N];
        unsigned mask = 0;
        for (int k = 0; k < N; k++) {
            mask |= 1u << (code >> 2 * k & 3);
            listed[k] = logits[code >> 2 * k & 3];
        }
        if (mask != 15u) continue;
        policy_propensities(listed, N, -INFINITY, temperature, p);
        for (int k = 0; k < N; k++) all *= p[k];
        const double se = sqrt(all * (1.0 - all) / DRAWS);
        assert_true(fabs((double)seen[code] / DRAWS - all) < 4.5 * se);
        assert_true(fabs(p[N - 1] - 1.0) < 1e-12);
        lists++;
    }
    assert_int_equal(lists, 24);
}

static void test_items_that_are_not_listed_count(void **state)
{
    (void)state;
    double p[2], rest = -INFINITY;
    for (int i = 2; i < N; i++) rest = policy_log_add(rest, (double)logits[i]);
    policy_propensities(logits, 2, rest, 1.0, p);
    double sum = 0.0;
    for (int i = 0; i < N; i++) sum += exp((double)logits[i]);
    assert_true(fabs(p[0] - exp(1.0) / sum) < 1e-12);
    assert_true(fabs(p[1] - exp(0.0) / (sum - exp(1.0))) < 1e-12);
}

static void test_far_logits_stay_finite(void **state)
{
    (void)state;
    const float far[3] = {80.0f, -80.0f, -90.0f};
    double p[3];
    policy_propensities(far, 3, -INFINITY, 0.01, p);
    assert_true(fabs(p[0] - 1.0) < 1e-12 && fabs(p[1] - 1.0) < 1e-12 && fabs(p[2] - 1.0) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_come_as_often_as_said),
        cmocka_unit_test(test_items_that_are_not_listed_count),
        cmocka_unit_test(test_far_logits_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
