/* test_loss_delay.c - the weights of early copies: learning stands still at the true rate, by the sums of the header. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/loss_delay.h"
#include <math.h>

static struct conf *conf;

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static struct loss_delay begin(const char *loss)
{
    struct loss_delay d;
    struct err e = {0};
    assert_ok(conf_set(conf, "join.loss", loss, &e), &e);
    loss_delay_init(&d, conf);
    return d;
}

static float logit(double p)
{
    return (float)log(p / (1.0 - p));
}

static void test_waiting_weighs_nothing(void **state)
{
    (void)state;
    struct loss_delay d = begin("wait");
    for (int i = 0; i < 4; i++) assert_true(loss_delay_factor(&d, 0.7f, i & 1, i >> 1) == 1.0f);
}

static void test_fake_negatives_are_weighed_down(void **state)
{
    (void)state;
    struct loss_delay d = begin("fnw");
    for (double p = 0.01; p < 1.0; p += 0.07) {
        const double positive = (double)loss_delay_factor(&d, logit(p), true, true);
        const double negative = (double)loss_delay_factor(&d, logit(p), false, false);
        assert_near(positive, 1.0 + p, 1e-5);
        assert_near(negative, (1.0 - p) * (1.0 + p), 1e-5);
        assert_near((double)loss_delay_factor(&d, logit(p), false, true), 1.0 + p, 1e-5); /* not a fake one */
        assert_near(negative * p + p * positive * (p - 1.0), 0.0, 1e-5);
    }
}

/* Positives weigh 4, negatives 2: waiting would stand at odds of 2·q/(1-q), and so must the copies. */
static void test_weights_of_types_are_taken_out_of_the_rate(void **state)
{
    (void)state;
    struct loss_delay d = begin("fnw");
    const float z[2] = {0, 0}, labels[2] = {1, 0}, weights[2] = {4, 2};
    for (int i = 0; i < 100000; i++)
        loss_delay_settle(&d, &(struct loss_delay_settled){z, labels, weights, NULL, 2, 0});
    for (double q = 0.05; q < 0.9; q += 0.1) {
        const double odds = 2.0 * q / (1.0 - q), f = odds / (1.0 + odds);
        const double negative = (double)loss_delay_factor(&d, logit(f), false, false);
        const double positive = (double)loss_delay_factor(&d, logit(f), true, true);
        assert_near(2.0 * negative * f + q * 4.0 * positive * (f - 1.0), 0.0, 1e-3);
    }
}

/* Rates of 0.1 to 0.6, of which a share S comes after the wait: both probabilities become known. */
static void test_importance_learns_what_comes_later(void **state)
{
    (void)state;
    const double later = 0.3;
    struct loss_delay d = begin("importance");
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 5, .purpose = RAND_TEST});
    for (int i = 0; i < 400000; i++) {
        const double q = 0.1 + 0.1 * (double)rand_below(&r, 6);
        const bool positive = rand_unit(&r) < q;
        const float z = logit(q), label = positive, one = 1.0f;
        const uint8_t early = positive && rand_unit(&r) >= later;
        loss_delay_settle(&d, &(struct loss_delay_settled){&z, &label, &one, &early, 1, 7});
    }
    for (double q = 0.1; q < 0.65; q += 0.1) {
        const double p_dp = q * later, p_rn = (1.0 - q) / (1.0 - q + p_dp);
        const double positive = (double)loss_delay_factor(&d, logit(q), true, false);
        const double negative = (double)loss_delay_factor(&d, logit(q), false, false);
        assert_near(positive - 1.0, p_dp, 0.02);
        assert_near(negative / positive, p_rn, 0.01);
        assert_near((1.0 - q + p_dp) * negative * q + q * positive * (q - 1.0), 0.0, 0.003);
    }
}

static void test_state_goes_on(void **state)
{
    (void)state;
    struct err e = {0};
    struct loss_delay d = begin("importance"), again = begin("importance");
    struct buf b = {0};
    const float z = 0.3f, label = 1, weight = 2.5f;
    const uint8_t early = 0;
    loss_delay_settle(&d, &(struct loss_delay_settled){&z, &label, &weight, &early, 1, 7});
    loss_delay_encode(&b, &d);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(loss_delay_decode(&again, &r, &e), &e);
    const size_t n_bytes = b.n;
    loss_delay_encode(&b, &again);
    assert_int_equal(b.n, 2 * n_bytes);
    assert_memory_equal(b.p, b.p + n_bytes, n_bytes);
    b.n = n_bytes;
    for (size_t n = 0; n < b.n; n++) {
        r = buf_reader(b.p, n);
        assert_int_equal(loss_delay_decode(&again, &r, &e), STATUS_CORRUPT);
    }
    b.p[7] = b.p[8] = 0xff; /* the first slope is not a number */
    r = buf_reader(b.p, b.n);
    assert_int_equal(loss_delay_decode(&again, &r, &e), STATUS_CORRUPT);
    buf_fini(&b);
    assert_int_equal(d.first_end_ms, 7);
    loss_delay_settle(&d, &(struct loss_delay_settled){&z, &label, &weight, &early, 1, 9});
    assert_int_equal(d.first_end_ms, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting_weighs_nothing),
        cmocka_unit_test(test_fake_negatives_are_weighed_down),
        cmocka_unit_test(test_weights_of_types_are_taken_out_of_the_rate),
        cmocka_unit_test(test_importance_learns_what_comes_later),
        cmocka_unit_test(test_state_goes_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
