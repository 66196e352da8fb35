/* test_arms.c - rates between arms, and the check that the users were split as configured. */
#include "base/rand.h"
#include "tests/support/check.h"
#include "trainer/arms.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct conf *conf;

/* n users, each with lists of ten items; b's are clicked on more often.  moved: that part of c's users is served by the
 * default line. */
static void feed(struct arms *a, struct rand *r, int first, int n, double moved)
{
    for (int i = first; i < first + n; i++) {
        char id[20];
        (void)snprintf(id, sizeof id, "u%d", i);
        struct arms_seen seen = {.user = str_from(id),
                                 .line = conf_line_of_user(conf, str_from(id), 0),
                                 .counts = {.lists = 1, .shown = 10}};
        if (seen.line == 2 && rand_unit(r) < moved) seen.line = 0;
        const double p = (seen.line == 1 ? 0.25 : 0.2) + 0.1 * (rand_unit(r) - 0.5);
        for (uint64_t k = 1 + rand_below(r, 5); k > 0; k--) {
            seen.counts.taken = 0;
            seen.shown_ms = 1000 * i;
            for (int item = 0; item < 10; item++) seen.counts.taken += rand_unit(r) < p;
            seen.counts.converted_lists = rand_unit(r) < 0.1;
            arms_add(a, &seen);
        }
    }
}

static struct arms *fed(uint64_t seed, int users, double moved)
{
    struct arms *a;
    struct err e;
    struct rand r;
    rand_init(&r, (struct rand_key){seed, 0, 0, 0, RAND_TEST});
    assert_ok(arms_new(&a, 1000000, &e), &e);
    arms_split(a, conf, 0, 0);
    feed(a, &r, 0, users, moved);
    return a;
}

static void test_a_better_arm_shows_and_the_split_is_right(void **state)
{
    (void)state;
    struct report_arms r;
    struct arms *a = fed(1, 10000, 0.0);
    arms_report(a, conf, 0, &r);
    assert_int_equal(r.n, 3);
    assert_string_equal(r.arms[1].name, "b");
    assert_true(r.arms[1].ctr_difference.lower > 0.03 && r.arms[1].ctr_difference.upper < 0.07);
    assert_true(r.arms[2].ctr_difference.lower < 0.0 && r.arms[2].ctr_difference.upper > 0.0);
    assert_true(isnan(r.arms[0].ctr_difference.mean) && isnan(r.arms[0].ctr_difference.lower)); /* of itself: none */
    assert_true(isnan(r.arms[0].conversion_difference.upper));
    assert_true(fabs(r.arms[0].conversion.mean - 0.1) < 0.01);
    assert_int_equal(r.sampled_users, 10000);
    assert_true(r.ratio_p > ARMS_ALARM_P);
    assert_false(r.ratio_alarm);
    arms_free(a);
}

static void test_a_wrong_split_is_an_alarm(void **state)
{
    (void)state;
    struct report_arms r;
    struct arms *a = fed(2, 10000, 0.2); /* a tenth of all users: 0.3 becomes 0.24 */
    arms_report(a, conf, 0, &r);
    assert_true(r.ratio_alarm);
    assert_true(r.ratio_p < 1e-6);
    arms_free(a);
}

/* 400 times nothing wrong: at this level no more than one alarm is to be expected. */
static void test_alarms_are_rare_when_nothing_is_wrong(void **state)
{
    (void)state;
    int alarms = 0, low = 0, far = 0;
    struct rand r;
    for (uint64_t i = 0; i < 400; i++) {
        struct report_arms out;
        struct arms *a;
        struct err e;
        rand_init(&r, (struct rand_key){100 + i, 0, 0, 0, RAND_TEST});
        assert_ok(arms_new(&a, 1000000, &e), &e);
        arms_split(a, conf, 0, 0);
        feed(a, &r, (int)i * 500, 500, 0.0);
        arms_report(a, conf, 0, &out);
        alarms += out.ratio_alarm;
        low += out.ratio_p < 0.05;
        far += out.chi_square > 5.99; /* 5 % of two degrees of freedom */
        arms_free(a);
    }
    assert_true(alarms <= 2);
    assert_true(low < 20 && far > 5 && far < 40); /* 20 of 400 */
}

static void test_many_users_are_sampled_by_their_hash(void **state)
{
    (void)state;
    struct report_arms r;
    struct arms *a = fed(3, 100000, 0.0);
    arms_report(a, conf, 0, &r);
    assert_true(r.sampled_users < ARMS_USERS_MAX && r.sampled_users > ARMS_USERS_MAX / 4);
    assert_true(fabs((double)r.sampled_users / r.sample_frac / 100000.0 - 1.0) < 0.05);
    assert_false(r.ratio_alarm);
    assert_int_equal(r.moved, 0);
    arms_split(a, conf, 1, 0);
    arms_report(a, conf, 1, &r);
    assert_true(r.ratio_p == 1.0);
    arms_free(a);
}

static void test_state_goes_out_and_back_by_name(void **state)
{
    (void)state;
    struct report_arms then, now;
    struct err e;
    struct buf b = {0};
    struct arms *a = fed(4, 3000, 0.1), *back;
    arms_encode(&b, a, conf);
    const size_t without = b.n;
    arms_cohorts_encode(&b, a, conf);
    arms_ratio_encode(&b, a, conf);
    arms_report(a, conf, 0, &then);
    assert_int_equal(then.arms[0].n_cohorts, 3); /* a user a second, a cohort a thousand */
    assert_true(then.arms[0].cohorts[1].to_ms == 2000000 &&
                then.arms[0].cohorts[1].shown == 10 * then.arms[0].cohorts[1].lists);
    uint64_t lists = 0;
    for (uint32_t i = 0; i < 3; i++) lists += then.arms[0].cohorts[i].lists;
    assert_int_equal(lists, then.arms[0].lists);
    assert_ok(arms_new(&back, 1000000, &e), &e);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(arms_decode(back, conf, &r, &e), &e);
    assert_int_equal(buf_left(&r), b.n - without);
    assert_ok(arms_cohorts_decode(back, conf, &r, &e), &e);
    assert_ok(arms_ratio_decode(back, conf, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    arms_report(back, conf, 0, &now);
    assert_memory_equal(&then, &now, sizeof then);
    for (size_t n = 0; n < without; n += 997) { /* cut short anywhere: refused */
        struct arms *cut;
        assert_ok(arms_new(&cut, 1000000, &e), &e);
        r = buf_reader(b.p, n);
        assert_int_equal(arms_decode(cut, conf, &r, &e), STATUS_CORRUPT);
        arms_free(cut);
    }
    arms_free(back);
    arms_free(a);
    buf_fini(&b);
}

static void set_share(const char *option)
{
    struct err e;
    assert_ok(conf_set_option(conf, option, &e), &e);
}

/* A second sample of twice the clicks with other shares; lists that were open when they changed belong to neither. */
static void test_other_shares_begin_anew(void **state)
{
    (void)state;
    struct report_arms r;
    struct rand rnd;
    struct arms *a = fed(5, 5000, 0.0);
    rand_init(&rnd, (struct rand_key){6, 0, 0, 0, RAND_TEST});
    arms_split(a, conf, 0, 0);
    feed(a, &rnd, 0, 5000, 0.0);
    arms_split(a, conf, 0, 7); /* nothing changed */
    arms_report(a, conf, 0, &r);
    assert_int_equal(r.sampled_users, 5000);
    set_share("variant.b.share=0.6");
    arms_split(a, conf, 0, 7);
    const struct arms_seen open = {.slate = 6, .user = STR("u1"), .line = 1, .counts = {.lists = 1, .shown = 10}};
    arms_add(a, &open);
    arms_report(a, conf, 0, &r);
    assert_int_equal(r.sampled_users, 0);
    assert_int_equal(r.arms[1].lists, 0);
    assert_true(r.arms[1].n_cohorts > 0); /* which go on */
    arms_split(a, conf, 0, 0);            /* still the same */
    struct arms *again;
    struct err e;
    assert_ok(arms_new(&again, 1000000, &e), &e);
    arms_split(again, conf, 0, 0);
    feed(again, &rnd, 0, 5000, 0.0);
    arms_report(again, conf, 0, &r);
    assert_false(r.ratio_alarm);
    arms_split(again, conf, 1, 0); /* another one is in charge */
    arms_report(again, conf, 1, &r);
    assert_int_equal(r.sampled_users, 0);
    set_share("variant.b.share=0.2");
    arms_free(again);
    arms_free(a);
}

/* What comes back after a stop: all of it, or nothing when shares are others by then; a state of before does not say. */
static void test_shares_that_change_while_it_is_stopped_begin_anew(void **state)
{
    (void)state;
    struct report_arms r;
    struct err e;
    struct buf b = {0};
    struct arms *a = fed(7, 0, 0.0);
    struct rand rnd;
    rand_init(&rnd, (struct rand_key){8, 0, 0, 0, RAND_TEST});
    arms_split(a, conf, 0, 0);
    feed(a, &rnd, 0, 3000, 0.0);
    arms_encode(&b, a, conf);
    arms_cohorts_encode(&b, a, conf);
    const size_t before = b.n;
    arms_split_encode(&b, a, conf);
    const size_t split = b.n;
    arms_ratio_encode(&b, a, conf);
    arms_report(a, conf, 0, &r);
    const double p = r.ratio_p;
    for (int i = 0; i < 3; i++) { /* the same shares, others, others in a state of before */
        struct arms *back;
        struct buf_reader in = buf_reader(b.p, i < 2 ? b.n : before);
        if (i > 0) set_share("variant.b.share=0.5");
        assert_ok(arms_new(&back, 1000000, &e), &e);
        arms_split(back, conf, 0, 0);
        assert_ok(arms_decode(back, conf, &in, &e), &e);
        assert_ok(arms_cohorts_decode(back, conf, &in, &e), &e);
        if (i < 2) assert_ok(arms_split_decode(back, conf, &in, &e), &e);
        if (i < 2) assert_ok(arms_ratio_decode(back, conf, &in, &e), &e);
        if (i == 2) arms_ratio_recount(back);
        assert_int_equal(buf_left(&in), 0);
        arms_split(back, conf, 0, 0);
        arms_report(back, conf, 0, &r);
        assert_int_equal(r.sampled_users, i == 1 ? 0 : 3000);
        assert_true((r.arms[0].lists == 0) == (i == 1));
        assert_true(i == 0 ? r.ratio_p == p : i == 1 ? r.ratio_p == 1.0 : r.ratio_alarm);
        arms_free(back);
    }
    for (size_t n = split; n < b.n; n++) {
        struct buf_reader cut = buf_reader(b.p + split, n - split);
        assert_int_equal(arms_ratio_decode(a, conf, &cut, &e), STATUS_CORRUPT);
    }
    for (size_t n = before; n < split; n++) {
        struct buf_reader cut = buf_reader(b.p + before, n - before);
        assert_int_equal(arms_split_decode(a, conf, &cut, &e), STATUS_CORRUPT);
    }
    set_share("variant.b.share=0.2");
    arms_free(a);
    buf_fini(&b);
}

static int open_conf(void **state)
{
    struct err e = {0};
    (void)state;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set_option(conf, "variant.b.share=0.2", &e), &e);
    assert_ok(conf_set_option(conf, "variant.c.share=0.3", &e), &e);
    return 0;
}

static int close_conf(void **state)
{
    (void)state;
    conf_free(conf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_better_arm_shows_and_the_split_is_right),
        cmocka_unit_test(test_a_wrong_split_is_an_alarm),
        cmocka_unit_test(test_alarms_are_rare_when_nothing_is_wrong),
        cmocka_unit_test(test_many_users_are_sampled_by_their_hash),
        cmocka_unit_test(test_state_goes_out_and_back_by_name),
        cmocka_unit_test(test_other_shares_begin_anew),
        cmocka_unit_test(test_shares_that_change_while_it_is_stopped_begin_anew),
    };
    return cmocka_run_group_tests(tests, open_conf, close_conf);
}
