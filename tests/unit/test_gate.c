/* test_gate.c - the judge of a line: innocent ones are let be, harm is found soon and at any time, a flood decides nothing. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/gate.h"
#include <math.h>
#include <string.h>

static const struct gate_rules rules = {.margin = {0.01, 0.01}, .budget_per_day = 0.01};
static struct gate_judge judge;
static struct rand noise;
static int64_t now_ms;

static void begin(uint64_t run)
{
    gate_judge_init(&judge, &rules);
    rand_init(&noise, (struct rand_key){.seed = 5, .offset = run, .purpose = RAND_TEST});
    now_ms = 1700000000000;
}

static bool add(uint64_t user, double loss, double auc)
{
    now_ms += 5000;
    return gate_judge_add(&judge, &(struct gate_evidence){user, now_ms, {loss, auc}, 0, 0});
}

static bool noisy(double harm)
{
    const double x = harm + 0.15 * rand_normal(&noise);
    return add(rand_u64(&noise), x, rand_below(&noise, 2) ? x / 2 : NAN);
}

/* Slates until the alarm; UINT32_MAX: none among n. */
static uint32_t until_alarm(double harm, uint32_t n)
{
    for (uint32_t i = 1; i <= n; i++)
        if (noisy(harm)) return i;
    return UINT32_MAX;
}

static void test_a_line_within_the_margin_is_let_be(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 4; run++) {
        begin(run);
        assert_int_equal(until_alarm(run < 2 ? 0.0 : 0.01, 250000), UINT32_MAX);
        assert_true(gate_judge_worse(&judge) < 1.0);
    }
}

static void test_harm_is_found_and_more_of_it_sooner(void **state)
{
    (void)state;
    const double harms[] = {0.03, 0.06, 0.12, 0.5};
    const uint32_t most[] = {6000, 1000, 300, 60};
    uint32_t before = UINT32_MAX;
    for (size_t i = 0; i < 4; i++) {
        begin(i);
        const uint32_t n = until_alarm(harms[i], 100000);
        assert_true(n <= most[i] && n < before);
        before = n;
    }
}

/* A sum that began long ago, in good times, would have to be worked off first. */
static void test_a_long_good_time_delays_nothing(void **state)
{
    (void)state;
    begin(1);
    const uint32_t fresh = until_alarm(0.1, 100000);
    begin(1);
    assert_int_equal(until_alarm(-0.02, 100000), UINT32_MAX);
    const uint32_t late = until_alarm(0.1, 100000);
    assert_true(late < 2 * fresh + 50);
}

/* The mean since it was blessed would say that the line is better. */
static void test_what_is_said_of_the_harm_is_of_its_time(void **state)
{
    (void)state;
    begin(3);
    assert_true(isnan(gate_judge_harm(&judge, GATE_LOSS)));
    assert_int_equal(until_alarm(-0.2, 1000), UINT32_MAX);
    const uint32_t n = until_alarm(0.3, 1000);
    assert_true(n < 100);
    assert_true(gate_judge_mean(&judge, GATE_LOSS) < -0.1);
    assert_in_range(judge.rise_n[GATE_LOSS], n - 3, n + 3);
    assert_true(fabs(gate_judge_harm(&judge, GATE_LOSS) - 0.3) < 0.06);
    assert_true(fabs(gate_judge_harm(&judge, GATE_AUC) - 0.15) < 0.06);
    gate_judge_begin(&judge);
    assert_true(isnan(gate_judge_harm(&judge, GATE_LOSS)));
}

/* Lists of 10 with this label rate, which the two say times something, each candidate's own noise in it. */
static uint32_t lists_until_alarm(double rate, double ours, double blessed, uint32_t n)
{
    for (uint32_t i = 1; i <= n; i++) {
        struct gate_evidence e = {.user = rand_u64(&noise), .time_ms = now_ms += 5000, .harm = {0.0, NAN}, .items = 10};
        for (int k = 0; k < 10; k++) {
            const double p = rate * exp(0.2 * rand_normal(&noise)), q = rate * exp(0.2 * rand_normal(&noise));
            const bool taken = rand_unit(&noise) < rate;
            e.harm[GATE_LOSS] += (taken ? log(q * blessed / (p * ours)) : log1p(-q * blessed) - log1p(-p * ours)) / 10.0;
            e.taken += taken;
        }
        if (gate_judge_add(&judge, &e)) return i;
    }
    return UINT32_MAX;
}

/* A third of the truth: 7 to 8 % of a constant's loss at any of these rates; at 1 % it is 0.004 nats. */
static void test_where_little_is_taken_less_is_harm(void **state)
{
    (void)state;
    const double rates[] = {0.05, 0.01, 0.003};
    const uint32_t most[] = {900, 5000, 13000};
    for (size_t i = 0; i < 3; i++) {
        begin(10 + i);
        assert_int_equal(lists_until_alarm(rates[i], 1.0, 1.0, 20000), UINT32_MAX);
        const uint32_t n = lists_until_alarm(rates[i], 1.0 / 3.0, 1.0, 200000);
        assert_true(n <= most[i]);
        begin(20 + i); /* who says more than it dared, and is right, is let be, and proven so */
        assert_int_equal(lists_until_alarm(rates[i], 1.0, 1.0 / 3.0, 50000), UINT32_MAX);
        assert_true(gate_judge_fine(&judge));
        begin(30 + i); /* equals are proven so */
        assert_int_equal(lists_until_alarm(rates[i], 1.0, 1.0, 60000), UINT32_MAX);
        assert_true(gate_judge_fine(&judge));
    }
}

/* Half of all slates are one user's, whom the line serves badly; all others are as well off as before. */
static void test_one_user_decides_nothing(void **state)
{
    (void)state;
    begin(2);
    for (int i = 0; i < 40000; i++) {
        assert_false(add(77, 0.8, 0.5));
        assert_false(noisy(0.0));
    }
    begin(2);
    bool alarm = false; /* the same harm on users of all kinds is found at once */
    for (int i = 0; i < 100 && !alarm; i++) alarm = add(rand_u64(&noise), 0.8, 0.5) || noisy(0.0);
    assert_true(alarm);
}

static void test_the_budget_is_spent_by_day_and_by_slate(void **state)
{
    (void)state;
    begin(0);
    for (int i = 0; i < 1000; i++) (void)add((uint64_t)i, NAN, NAN); /* 5 s apart: a day's budget times 1000 * 5 s */
    assert_true(fabs(gate_judge_worse(&judge) - (999 * 5000.0 / 86400e3 * 0.01 + 1e-6)) < 1e-9);
    gate_judge_begin(&judge);
    assert_true(gate_judge_worse(&judge) <= 0.0);
    for (int i = 0; i < 50; i++) {
        now_ms += 86400000;
        (void)add((uint64_t)i, NAN, NAN);
    }
    assert_true(fabs(gate_judge_worse(&judge) - 50e-6) < 1e-12); /* one in a million slates, however few a day */
}

static void test_no_worse_is_proven_and_renewed(void **state)
{
    (void)state;
    begin(3);
    assert_false(gate_judge_fine(&judge));
    for (int i = 0; i < 8000; i++) (void)noisy(-0.01);
    assert_true(gate_judge_fine(&judge));
    assert_int_equal(judge.probed, 8000);
    gate_judge_probation(&judge);
    assert_false(gate_judge_fine(&judge));
    begin(3); /* what is worse is never proven fine */
    for (int i = 0; i < 8000; i++) {
        (void)noisy(0.02);
        assert_false(gate_judge_fine(&judge));
    }
    begin(3); /* nor what is fine in loss, and worse in order */
    for (int i = 0; i < 8000; i++) (void)add(rand_u64(&noise), -0.05, 0.05);
    assert_false(gate_judge_fine(&judge));
    assert_true(fabs(gate_judge_mean(&judge, GATE_LOSS) + 0.05) < 1e-9);
    assert_true(fabs(gate_judge_mean(&judge, GATE_AUC) - 0.05) < 1e-9);
}

static void test_loss_is_bounded_and_log_loss_below_that(void **state)
{
    (void)state;
    const float z[] = {0.3f, -2.0f, 1.0f}, y[] = {1, 0, 0};
    const double want = (log1p(exp(-(double)z[0])) + log1p(exp(-2.0)) + log1p(exp(1.0))) / 3.0;
    assert_true(fabs(gate_loss(z, y, 3) - want) < 1e-12);
    const float bad[] = {-100.0f, NAN}, one[] = {1, 1};
    assert_true(fabs(gate_loss(bad, one, 2) - GATE_LOSS_MAX) < 1e-12);
}

static void test_state_comes_back_with_the_same_bits(void **state)
{
    (void)state;
    struct err e;
    struct buf b = {0};
    static struct gate_judge back;
    begin(4);
    for (int i = 0; i < 5000; i++) (void)noisy(0.0);
    gate_judge_encode(&b, &judge);
    gate_judge_init(&back, &rules);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(gate_judge_decode(&back, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    assert_memory_equal(back.worse, judge.worse, sizeof judge.worse);
    assert_memory_equal(back.fine, judge.fine, sizeof judge.fine);
    assert_memory_equal(back.crowd, judge.crowd, sizeof judge.crowd);
    assert_true(judge.items > 0 && back.items >= judge.items && back.items <= judge.items);
    assert_true(back.in_window == judge.in_window && back.last_ms == judge.last_ms && back.probed == judge.probed);
    for (size_t n = 0; n < b.n; n += 97) { /* cut short */
        r = buf_reader(b.p, n);
        assert_int_equal(gate_judge_decode(&back, &r, &e), STATUS_CORRUPT);
    }
    memset(b.p + 4, 0xff, 8); /* a sum that is no number */
    r = buf_reader(b.p, b.n);
    assert_int_equal(gate_judge_decode(&back, &r, &e), STATUS_CORRUPT);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_within_the_margin_is_let_be),
        cmocka_unit_test(test_harm_is_found_and_more_of_it_sooner),
        cmocka_unit_test(test_a_long_good_time_delays_nothing),
        cmocka_unit_test(test_what_is_said_of_the_harm_is_of_its_time),
        cmocka_unit_test(test_where_little_is_taken_less_is_harm),
        cmocka_unit_test(test_one_user_decides_nothing),
        cmocka_unit_test(test_the_budget_is_spent_by_day_and_by_slate),
        cmocka_unit_test(test_no_worse_is_proven_and_renewed),
        cmocka_unit_test(test_loss_is_bounded_and_log_loss_below_that),
        cmocka_unit_test(test_state_comes_back_with_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
