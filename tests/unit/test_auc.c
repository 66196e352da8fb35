/* test_auc.c - bins at the edges, and the area against all pairs.
 * labels: quick */
#include "base/auc.h"
#include "base/rand.h"
#include "tests/support/check.h"
#include <math.h>

static void test_bins_hold_everything(void **state)
{
    (void)state;
    assert_int_equal(auc_bin(-1e30, 8, 2.0), 0);
    assert_int_equal(auc_bin(-2.0, 8, 2.0), 0);
    assert_int_equal(auc_bin(NAN, 8, 2.0), 0);
    assert_int_equal(auc_bin(-1.49, 8, 2.0), 1);
    assert_int_equal(auc_bin(0.0, 8, 2.0), 4);
    assert_int_equal(auc_bin(1.99, 8, 2.0), 7);
    assert_int_equal(auc_bin(1e30, 8, 2.0), 7);
}

static void test_area_is_the_share_of_pairs(void **state)
{
    (void)state;
    enum { N = 500, BINS = 64 };
    double bins[2][BINS] = {{0}}, wins = 0.0, pairs = 0.0;
    size_t bin[N];
    int label[N];
    struct rand r;
    struct auc_sweep s = {0};
    rand_init(&r, (struct rand_key){.seed = 4, .purpose = RAND_TEST});
    for (int i = 0; i < N; i++) {
        label[i] = rand_unit(&r) < 0.3;
        bin[i] = auc_bin(rand_normal(&r) + label[i], BINS, 4.0);
        bins[label[i]][bin[i]] += 1.0;
    }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            if (label[i] && !label[k]) {
                pairs += 1.0;
                wins += bin[i] > bin[k] ? 1.0 : bin[i] == bin[k] ? 0.5 : 0.0;
            }
    assert_true(isnan(auc_swept(&s)));
    for (int i = 0; i < BINS; i++) auc_sweep(&s, bins[0][i], bins[1][i]);
    assert_true(auc_swept(&s) == wins / pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bins_hold_everything),
        cmocka_unit_test(test_area_is_the_share_of_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
