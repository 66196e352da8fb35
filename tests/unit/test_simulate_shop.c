/* test_simulate_shop.c - the shop's truth: equal seeds, distinct items, probabilities that are kept, drift, the filter. */
#include "simulate/filter.h"
#include "simulate/shop.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

static struct shop_options small(void)
{
    struct shop_options o;
    shop_defaults(&o);
    o.users = 50;
    o.items = 60;
    o.events = 20000;
    return o;
}

static struct shop *shop_of(const struct shop_options *o)
{
    struct err e = {0};
    struct shop *s;
    assert_ok(shop_new(&s, o, &e), &e);
    return s;
}

static void test_same_seed_same_shop_another_seed_another(void **state)
{
    (void)state;
    struct shop_options o = small();
    struct shop *a = shop_of(&o), *b = shop_of(&o);
    o.seed++;
    struct shop *c = shop_of(&o);
    struct shop_list la = {0}, lb = {0}, lc = {0};
    bool differs = false;
    for (int i = 0; i < 200; i++) {
        shop_next(a, &la);
        shop_next(b, &lb);
        shop_next(c, &lc);
        assert_memory_equal(&la, &lb, sizeof la);
        differs |= la.user != lc.user || la.time_ms != lc.time_ms;
    }
    assert_true(differs);
    assert_memory_equal(shop_item(a, 7), shop_item(b, 7), sizeof(struct shop_item));
    shop_free(a);
    shop_free(b);
    shop_free(c);
}

static void test_a_list_shows_distinct_items_that_are_there(void **state)
{
    (void)state;
    struct shop_options o = small();
    o.new_items = 0.9;
    struct shop *s = shop_of(&o);
    struct shop_list l = {0};
    for (int i = 0; i < 2000; i++) {
        const int64_t before = l.time_ms;
        shop_next(s, &l);
        const uint32_t have = shop_items_at(s, l.time_ms);
        assert_true(l.time_ms >= before && l.time_ms >= o.start_ms);
        assert_int_equal(l.n, have < o.slate ? have : o.slate);
        for (uint32_t k = 0; k < l.n; k++) {
            assert_true(l.items[k] < have);
            assert_true(shop_item(s, l.items[k])->since_ms <= l.time_ms);
            for (uint32_t j = 0; j < k; j++) assert_int_not_equal(l.items[k], l.items[j]);
        }
    }
    shop_free(s);
}

static void test_the_smallest_shop_and_the_longest_list_work(void **state)
{
    (void)state;
    struct shop_options o = small();
    o.users = o.items = o.slate = 1;
    struct shop *s = shop_of(&o);
    struct shop_list l = {0};
    shop_next(s, &l);
    assert_int_equal(l.n, 1);
    shop_free(s);
    o.items = o.slate = SHOP_SLATE_MAX;
    o.new_items = 0.0;
    s = shop_of(&o);
    shop_next(s, &l);
    assert_int_equal(l.n, SHOP_SLATE_MAX);
    shop_free(s);
}

/* Clicks come as often as p says, and after exponential delays of the mean that was asked for. */
static void test_clicks_and_delays_follow_their_distributions(void **state)
{
    (void)state;
    struct shop_options o = small();
    o.delay_ms = 1000.0;
    struct shop *s = shop_of(&o);
    struct shop_list l = {0};
    double expected = 0.0, variance = 0.0, clicks = 0.0, delay = 0.0, beyond = 0.0, bought = 0.0;
    for (int i = 0; i < 10000; i++) {
        shop_next(s, &l);
        for (uint32_t k = 0; k < l.n; k++) {
            assert_true(l.p[k] > 0.0 && l.p[k] < 1.0);
            expected += l.p[k];
            variance += l.p[k] * (1.0 - l.p[k]);
            if (l.click_ms[k] == 0) {
                assert_false(l.bought[k]);
                continue;
            }
            assert_true(l.click_ms[k] > l.time_ms);
            const double d = (double)(l.click_ms[k] - l.time_ms);
            clicks++;
            delay += d;
            beyond += d > 2000.0 ? 1.0 : 0.0;
            bought += l.bought[k] ? 1.0 : 0.0;
        }
    }
    assert_true(fabs(clicks - expected) < 5.0 * sqrt(variance));
    assert_true(clicks > 10000.0);
    assert_true(fabs(delay / clicks - 1000.5) < 5.0 * 1000.0 / sqrt(clicks)); /* cut to whole ms, one added */
    assert_true(fabs(beyond / clicks - exp(-2.0)) < 5.0 * sqrt(0.135 * 0.865 / clicks));
    assert_true(fabs(bought / clicks - o.buy) < 5.0 * sqrt(o.buy * (1.0 - o.buy) / clicks));
    shop_free(s);
}

static double logit(double p)
{
    return log(p / (1.0 - p));
}

/* Variance of the logits of lists [first, last). */
static double spread(struct shop *s, int first, int last)
{
    struct shop_list l = {0};
    double n = 0.0, sum = 0.0, sum2 = 0.0;
    for (int i = 0; i < last; i++) {
        shop_next(s, &l);
        for (uint32_t k = 0; i >= first && k < l.n; k++) {
            n++;
            sum += logit(l.p[k]);
            sum2 += logit(l.p[k]) * logit(l.p[k]);
        }
    }
    return sum2 / n - sum / n * (sum / n);
}

/* Three words of variance s² and a quality of variance q²: 2.68 of logit variance at the start and after weeks of drift. */
static void test_drift_moves_tastes_and_keeps_their_spread(void **state)
{
    (void)state;
    struct shop_options o = small();
    o.users = 400;
    o.items = 400;
    o.new_items = 0.0;
    o.lists_per_s = 0.002; /* 10,000 lists in 58 days */
    o.drift = 0.5;
    const double want = 3.0 * o.word_taste * o.word_taste + o.item_quality * o.item_quality;
    struct shop *s = shop_of(&o);
    assert_true(fabs(spread(s, 0, 2000) / want - 1.0) < 0.15);
    assert_true(fabs(spread(s, 6000, 8000) / want - 1.0) < 0.15);
    shop_free(s);
}

/* The same user and the same words: without drift the taste stays, with drift it is another after days. */
static void test_without_drift_tastes_stay(void **state)
{
    (void)state;
    for (int drifting = 0; drifting < 2; drifting++) {
        struct shop_options o = small();
        o.users = o.items = o.slate = 1;
        o.lists_per_s = 1e-5; /* a list a day */
        o.drift = drifting ? 0.5 : 0.0;
        struct shop *s = shop_of(&o);
        struct shop_list l = {0};
        shop_next(s, &l);
        const double first = l.p[0];
        double furthest = 0.0;
        for (int i = 0; i < 20; i++) {
            shop_next(s, &l);
            furthest = fmax(furthest, fabs(logit(l.p[0]) - logit(first)));
        }
        if (drifting)
            assert_true(furthest > 0.5);
        else
            assert_true(furthest < 1e-9);
        shop_free(s);
    }
}

/* Every list of the one user and item has the probability of its season: two that differ, each of which comes back. */
static void test_seasons_are_two_and_come_back(void **state)
{
    (void)state;
    struct shop_options o = small();
    o.users = o.items = o.slate = 1;
    o.drift = 0.0;
    o.lists_per_s = 0.1;
    o.season_ms = 600000;
    struct shop *s = shop_of(&o);
    struct shop_list l = {0};
    double p[2] = {0.0, 0.0};
    for (int i = 0; i < 1000; i++) {
        shop_next(s, &l);
        double *of = &p[(l.time_ms - o.start_ms) / o.season_ms % 2];
        if (*of == 0.0) *of = l.p[0];
        assert_true(l.p[0] == *of);
    }
    assert_true(fabs(logit(p[0]) - logit(p[1])) > 0.1);
    shop_free(s);
    o.season_ms = 0;
    s = shop_of(&o);
    shop_next(s, &l);
    assert_true(l.p[0] == p[0]); /* the first season's are those of a shop without seasons */
    shop_free(s);
}

/* One user who clicks on one noun only: the filter moves its mean that way, surer with every list; the other words stay. */
static void test_the_filter_learns_a_taste(void **state)
{
    (void)state;
    struct shop_options o = small();
    struct err e = {0};
    o.drift = 0.0;
    struct shop *s = shop_of(&o);
    struct filter *f;
    assert_ok(filter_new(&f, &o, s, &e), &e);
    struct shop_list l = {.number = 1, .time_ms = o.start_ms, .user = 3, .n = 2, .items = {0, 1}};
    double before[2], after[2];
    assert_ok(filter_score(f, &l, before, &e), &e);
    assert_true(fabs(before[0] - before[1]) < 1e-12); /* nothing is known yet */
    l.click_ms[0] = l.time_ms + 10;
    for (int i = 0; i < 5; i++) filter_learn(f, &l);
    assert_ok(filter_score(f, &l, after, &e), &e);
    assert_true(after[0] > before[0] + 0.5 && after[1] < before[1]);

    struct shop_list late = l;
    late.user = 4;
    assert_ok(filter_score(f, &late, before, &e), &e);
    late.click_ms[0] = late.time_ms + o.window_ms + 1; /* after the window: not a click */
    for (int i = 0; i < 5; i++) filter_learn(f, &late);
    assert_ok(filter_score(f, &late, after, &e), &e);
    assert_true(after[0] < before[0]);
    filter_free(f);
    shop_free(s);
}

/* With drift what was believed fades towards the prior. */
static void test_the_filter_forgets_with_drift(void **state)
{
    (void)state;
    struct shop_options o = small();
    struct err e = {0};
    o.drift = 0.2;
    o.item_quality = 0.0; /* else the item itself keeps what was learnt */
    struct shop *s = shop_of(&o);
    struct filter *f;
    assert_ok(filter_new(&f, &o, s, &e), &e);
    struct shop_list l = {.number = 1, .time_ms = o.start_ms, .user = 3, .n = 1, .items = {0}};
    double prior, learnt, later;
    assert_ok(filter_score(f, &l, &prior, &e), &e);
    l.click_ms[0] = l.time_ms + 10;
    for (int i = 0; i < 5; i++) filter_learn(f, &l);
    assert_ok(filter_score(f, &l, &learnt, &e), &e);
    l.time_ms += INT64_C(60) * 86400000;
    assert_ok(filter_score(f, &l, &later, &e), &e);
    assert_true(fabs(later - prior) < 0.1 * fabs(learnt - prior));
    filter_free(f);
    shop_free(s);
}

static void check_lines(bool chinese, const char *title)
{
    struct shop_options o = small();
    o.chinese = chinese;
    struct shop *s = shop_of(&o);
    struct buf b = {0};
    struct shop_list l = {
        .number = 9, .time_ms = o.start_ms + 5, .user = 2, .n = 2, .items = {4, 1}, .click_ms = {o.start_ms + 8}};
    assert_int_equal(shop_is_chinese(s), chinese);
    shop_write_item(&b, s, 4);
    shop_write_list(&b, &l);
    shop_write_click(&b, &l, 0);
    shop_write_purchase(&b, s, &l, 0, o.start_ms + 9);
    buf_u8(&b, 0);
    assert_false(b.oom);
    const char *text = (const char *)b.p;
    assert_non_null(strstr(text, "{\"type\":\"item\",\"time\":1767225600000,\"item\":\"i4\",\"title\":\""));
    assert_non_null(strstr(text, title));
    assert_non_null(
        strstr(text, "{\"type\":\"impression\",\"time\":1767225600005,\"id\":\"r9\",\"request\":\"r9\",\"user\":\"u2\","
                     "\"items\":[\"i4\",\"i1\"]}\n"));
    assert_non_null(
        strstr(text, "{\"type\":\"click\",\"time\":1767225600008,\"id\":\"c9.0\",\"request\":\"r9\",\"user\":\"u2\","
                     "\"item\":\"i4\"}\n"));
    assert_non_null(
        strstr(text, "{\"type\":\"purchase\",\"time\":1767225600009,\"id\":\"p9.0\",\"request\":\"r9\",\"user\":\"u2\","
                     "\"item\":\"i4\",\"order\":\"o9.0\",\"price\":"));
    buf_fini(&b);
    shop_free(s);
}

static void test_lines_are_native_events(void **state)
{
    (void)state;
    static const char *const colours[] = {"red ",   "blue ", "green ",  "yellow ", "white ",
                                          "black ", "pink ", "purple ", "orange ", "grey "};
    struct shop_options o = small();
    struct shop *s = shop_of(&o);
    const uint32_t colour = shop_item(s, 4)->colour;
    shop_free(s);
    check_lines(false, colours[colour]);
    check_lines(true, "色"); /* every Chinese colour ends in it */
}

static enum status make_shop(const struct shop_options *o)
{
    struct shop *s;
    struct filter *f = NULL;
    struct err e = {0};
    enum status st = shop_new(&s, o, &e);
    if (st != STATUS_OK) {
        assert_null(s);
        return st;
    }
    st = filter_new(&f, o, s, &e);
    if (st != STATUS_OK) assert_null(f);
    filter_free(f);
    shop_free(s);
    return st;
}

static void test_new_survives_each_failing_allocation(void **state)
{
    (void)state;
    const struct shop_options o = small();
    long n;
    FAIL_EACH_ALLOCATION(n, make_shop(&o));
    assert_int_equal(n, 7);
    shop_free(NULL);
    filter_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_shop_another_seed_another),
        cmocka_unit_test(test_a_list_shows_distinct_items_that_are_there),
        cmocka_unit_test(test_the_smallest_shop_and_the_longest_list_work),
        cmocka_unit_test(test_clicks_and_delays_follow_their_distributions),
        cmocka_unit_test(test_drift_moves_tastes_and_keeps_their_spread),
        cmocka_unit_test(test_without_drift_tastes_stay),
        cmocka_unit_test(test_seasons_are_two_and_come_back),
        cmocka_unit_test(test_the_filter_learns_a_taste),
        cmocka_unit_test(test_the_filter_forgets_with_drift),
        cmocka_unit_test(test_lines_are_native_events),
        cmocka_unit_test(test_new_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
