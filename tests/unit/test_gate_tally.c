/* test_gate_tally.c - means and jackknife errors against their definition; users that come often widen them. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/gate_tally.h"
#include <math.h>
#include <string.h>

static void test_error_is_the_jackknifes(void **state)
{
    (void)state;
    struct gate_tally t = {0};
    double value[300];
    uint64_t user[300];
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 1, .purpose = RAND_TEST});
    for (int i = 0; i < 300; i++) {
        user[i] = rand_below(&r, 1000);
        value[i] = rand_unit(&r);
        gate_tally_add(&t, user[i], (double[]){value[i], i % 3 ? NAN : value[i]});
    }
    double sum = 0, squares = 0, folds = 0;
    for (int i = 0; i < 300; i++) sum += value[i];
    for (uint64_t f = 0; f < GATE_FOLDS; f++) {
        double without = 0, n = 0;
        for (int i = 0; i < 300; i++)
            if (user[i] % GATE_FOLDS != f) without += value[i], n++;
        if (n < 300) folds++, squares += pow(without / n - sum / 300, 2);
    }
    const struct gate_mean m = gate_tally_mean(&t, GATE_LOSS);
    assert_int_equal(m.slates, 300);
    assert_true(fabs(m.mean - sum / 300) < 1e-12);
    assert_true(fabs(m.error - sqrt((folds - 1) / folds * squares)) < 1e-12);
    assert_int_equal(gate_tally_mean(&t, GATE_AUC).slates, 100);
}

static void test_users_that_repeat_widen_it(void **state)
{
    (void)state;
    struct gate_tally once = {0}, often = {0};
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 2, .purpose = RAND_TEST});
    for (int u = 0; u < 200; u++) {
        const double v = rand_unit(&r);
        const uint64_t user = rand_u64(&r);
        for (int k = 0; k < 50; k++) {
            gate_tally_add(&often, user, (double[]){v, NAN});
            gate_tally_add(&once, rand_u64(&r), (double[]){rand_unit(&r), NAN});
        }
    }
    const double a = gate_tally_mean(&once, GATE_LOSS).error, b = gate_tally_mean(&often, GATE_LOSS).error;
    assert_true(a > 0.002 && a < 0.004); /* 0.289/sqrt(10000) */
    assert_true(b > 0.014 && b < 0.030); /* 0.289/sqrt(200) */
    assert_true(isnan(gate_tally_mean(&once, GATE_AUC).mean));
}

static void test_state_comes_back(void **state)
{
    (void)state;
    struct gate_tally t = {0}, back = {0};
    struct buf b = {0};
    for (uint64_t i = 0; i < 100; i++) gate_tally_add(&t, i * 7, (double[]){0.1 * (double)i, 0.5});
    gate_tally_encode(&b, &t);
    struct buf_reader r = buf_reader(b.p, b.n);
    gate_tally_decode(&back, &r);
    assert_false(r.bad);
    assert_memory_equal(&back, &t, sizeof t);
    r = buf_reader(b.p, b.n - 1);
    gate_tally_decode(&back, &r);
    assert_true(r.bad);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_is_the_jackknifes),
        cmocka_unit_test(test_users_that_repeat_widen_it),
        cmocka_unit_test(test_state_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
