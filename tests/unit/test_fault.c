/* test_fault.c - what a fault does to the log, only while it lasts and only where it should. */
#include "simulate/fault.h"
#include "simulate/stream.h"
#include "tests/support/check.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

struct tally { /* by whether the fault was on when the list was shown (clicks, purchases: by their request) */
    struct shop_options o;
    int64_t shown_ms[6000]; /* of lists by number, flooder's apart */
    uint64_t lists[2], clicks[2], purchases[2], free_purchases, flood_lists, flood_clicks, sourced;
};

static enum status count(void *user, int64_t time_ms, struct str text)
{
    struct tally *t = user;
    json_t *j = json_loadb(text.p, text.n, 0, NULL);
    assert_non_null(j);
    const char *type = json_string_value(json_object_get(j, "type")),
               *who = json_string_value(json_object_get(j, "user"));
    const char *request = json_string_value(json_object_get(j, "request"));
    t->sourced += json_object_get(j, "source") != NULL;
    if (strcmp(type, "item") != 0) {
        const uint64_t number = strtoull(request + 1, NULL, 10);
        const bool list = strcmp(type, "impression") == 0, click = strcmp(type, "click") == 0;
        if (number < 6000 && list) t->shown_ms[number] = time_ms;
        const bool on = number < 6000 ? fault_is_on(&t->o, t->shown_ms[number]) : true;
        if (number >= 6000) {
            assert_string_equal(who, "u100");
            t->flood_lists += list;
            t->flood_clicks += click;
        } else if (list) {
            t->lists[on]++;
        } else if (click) {
            t->clicks[on]++;
        } else {
            t->purchases[on]++;
            t->free_purchases += json_number_value(json_object_get(j, "price")) <= 0.0;
        }
    }
    json_decref(j);
    return STATUS_OK;
}

static struct tally run(enum shop_fault fault, uint32_t sources)
{
    static struct tally t;
    struct stream_truth truth;
    struct err e = {0};
    memset(&t, 0, sizeof t);
    shop_defaults(&t.o);
    t.o.users = 100;
    t.o.items = 80;
    t.o.events = 12000;
    t.o.fault = fault;
    t.o.fault_at_ms = 600000;
    t.o.fault_ms = fault == SHOP_FAULT_FLOOD ? 60000 : 600000; /* or there would be nothing after it */
    t.o.sources = sources;
    assert_ok(stream_run(&t.o, false, count, &t, &truth, &e), &e);
    return t;
}

static double rate(const struct tally *t, int on)
{
    return (double)t->clicks[on] / (double)t->lists[on];
}

static void test_half_of_all_labels_are_turned_over(void **state)
{
    (void)state;
    const struct tally none = run(SHOP_FAULT_NONE, 0), t = run(SHOP_FAULT_FLIP, 0);
    assert_int_equal(none.lists[1], 0);
    assert_in_range(t.lists[1], 550, 650);      /* ten minutes of a list a second */
    assert_true(fabs(rate(&t, 1) - 5.0) < 0.3); /* of ten items */
    assert_true(fabs(rate(&t, 0) - rate(&none, 0)) < 0.2);
    assert_int_equal(none.sourced, 0);
}

static void test_an_upstream_calls_everything_clicked_or_free(void **state)
{
    (void)state;
    const struct tally ones = run(SHOP_FAULT_LABELS1, 0);
    assert_true(fabs(rate(&ones, 1) - 10.0) < 0.01);
    assert_true(rate(&ones, 0) < 4.0);
    const struct tally free = run(SHOP_FAULT_PRICES0, 0);
    assert_true(free.free_purchases > 100 && free.purchases[0] > 300);
    assert_in_range(free.free_purchases, free.purchases[1] * 3 / 4, free.purchases[1] * 4 / 3); /* by their own time */
    assert_true(fabs(rate(&free, 1) - rate(&free, 0)) < 0.3);
}

static void test_one_shopper_floods(void **state)
{
    (void)state;
    const struct tally t = run(SHOP_FAULT_FLOOD, 0);
    assert_in_range(t.flood_lists, 4 * t.lists[1] - 4, 4 * t.lists[1]);
    assert_true(t.flood_clicks >= 9 * t.flood_lists); /* all of its ten items */
    assert_true(fabs(rate(&t, 1) - rate(&t, 0)) < 1.0);
}

static void test_with_sources_only_the_first_is_hit(void **state)
{
    (void)state;
    const struct tally t = run(SHOP_FAULT_LABELS1, 4);
    assert_true(t.sourced > 11900);
    assert_true(rate(&t, 1) > 3.0 && rate(&t, 1) < 6.0); /* a quarter of the shoppers */
}

static void test_names(void **state)
{
    enum shop_fault f = SHOP_FAULT_FLOOD;
    (void)state;
    assert_true(fault_parse("prices0", &f) && f == SHOP_FAULT_PRICES0);
    assert_true(fault_parse("none", &f) && f == SHOP_FAULT_NONE);
    assert_false(fault_parse("fire", &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_of_all_labels_are_turned_over),
        cmocka_unit_test(test_an_upstream_calls_everything_clicked_or_free),
        cmocka_unit_test(test_one_shopper_floods),
        cmocka_unit_test(test_with_sources_only_the_first_is_hit),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
