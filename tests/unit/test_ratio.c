/* test_ratio.c - a right split is hardly ever called wrong, however often one looks; a wrong one is found. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/ratio.h"
#include <math.h>
#include <string.h>

static const double halves[CONF_LINES_MAX] = {0.5, 0.5}, three[CONF_LINES_MAX] = {0.5, 0.2, 0.3},
                    hundredths[CONF_LINES_MAX] = {0.995, 0.005}, thousandths[CONF_LINES_MAX] = {0.999, 0.001};

static size_t draw(struct rand *r, const double *shares)
{
    double at = rand_unit(r);
    for (size_t i = 0; i + 1 < CONF_LINES_MAX; i++) {
        if (at < shares[i]) return i;
        at -= shares[i];
    }
    return 0;
}

/* The user at whom p comes to level; 0: at none. */
static int found_at(struct rand *r, const double *shares, const double *real, double level, int users)
{
    struct ratio x = {{0}, 0.0, 0.0};
    for (int i = 1; i <= users; i++) {
        ratio_add(&x, shares, draw(r, real));
        if (ratio_p(&x) <= level) return i;
    }
    return 0;
}

/* Looked at after each of 4,000 users. */
static void test_right_splits_are_rarely_called_wrong(void **state)
{
    (void)state;
    static const double *const all[] = {halves, three, hundredths, thousandths};
    enum { RUNS = 1500 };
    for (uint32_t k = 0; k < 4; k++) {
        int thousandth = 0, twentieth = 0;
        struct rand r;
        rand_init(&r, (struct rand_key){1, k, 0, 0, RAND_TEST});
        for (int i = 0; i < RUNS; i++) {
            struct ratio x = {{0}, 0.0, 0.0};
            for (int n = 0; n < 4000; n++) ratio_add(&x, all[k], draw(&r, all[k]));
            thousandth += ratio_p(&x) <= 0.001;
            twentieth += ratio_p(&x) <= 0.05;
        }
        print_message("split %u: %d below 0.001, %d below 0.05 of %d\n", k, thousandth, twentieth, RUNS);
        assert_true(thousandth <= 5);                   /* 1.5 at most are to be expected */
        assert_true(twentieth <= 75 && twentieth >= 5); /* 75 */
    }
}

static void finds(const double *shares, const double *real, int users)
{
    enum { RUNS = 100 };
    int found = 0;
    struct rand r;
    rand_init(&r, (struct rand_key){2, (uint32_t)users, 0, 0, RAND_TEST});
    for (int i = 0; i < RUNS; i++) found += found_at(&r, shares, real, 0.001, users) > 0;
    print_message("%d of %d found within %d users\n", found, RUNS, users);
    assert_true(found >= 95);
}

static void test_wrong_splits_are_found(void **state)
{
    (void)state;
    static const double little[CONF_LINES_MAX] = {0.52, 0.48}, more[CONF_LINES_MAX] = {0.55, 0.45},
                        twice[CONF_LINES_MAX] = {0.99, 0.01}, none[CONF_LINES_MAX] = {1.0};
    finds(halves, little, 25000);
    finds(halves, more, 4000);
    finds(hundredths, twice, 10000);
    finds(hundredths, none, 4000);
}

static void test_someone_where_nobody_should_be_is_certain(void **state)
{
    (void)state;
    struct ratio x = {{0}, 0.0, 0.0};
    assert_true(ratio_p(&x) == 1.0);
    ratio_add(&x, halves, 2);
    ratio_add(&x, halves, 1);
    assert_true(ratio_p(&x) == 0.0);
}

/* The closed form, gamma functions of the counts; and the greatest is kept. */
static void test_factor_is_that_of_the_dirichlet_distribution(void **state)
{
    (void)state;
    static const uint64_t n[CONF_LINES_MAX] = {70, 10, 40};
    struct ratio x;
    double want = lgamma(RATIO_WEIGHT) - lgamma(RATIO_WEIGHT + 120.0);
    for (int i = 0; i < 3; i++) {
        const double a = RATIO_WEIGHT * three[i];
        want += lgamma(a + (double)n[i]) - lgamma(a) - (double)n[i] * log(three[i]);
    }
    ratio_from(&x, three, n);
    assert_true(fabs(x.now - want) < 1e-9);
    assert_true(fabs(x.most - fmax(want, 0.0)) < 1e-9);
    for (int i = 0; i < 300; i++) ratio_add(&x, three, 1);
    const double p = ratio_p(&x);
    for (int i = 0; i < 300; i++) ratio_add(&x, three, 0);
    assert_true(p < 0.001 && ratio_p(&x) == p && x.now < x.most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_right_splits_are_rarely_called_wrong),
                                       cmocka_unit_test(test_wrong_splits_are_found),
                                       cmocka_unit_test(test_someone_where_nobody_should_be_is_certain),
                                       cmocka_unit_test(test_factor_is_that_of_the_dirichlet_distribution)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
