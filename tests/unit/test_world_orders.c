/* test_world_orders.c - protocols of orders: half of a basket as history, and young items alone as candidates.
 * labels: quick
 */
#include "base/rand.h"
#include "featurize/world.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include <math.h>
#include <stdio.h>

static struct shop shop;

static int64_t at(int day, int hour)
{
    return SHOP_START_MS + day * SHOP_DAY_MS + hour * INT64_C(3600000);
}

static void stock(int first, int n, int day)
{
    for (int i = first; i < first + n; i++) {
        char id[16], title[32];
        (void)snprintf(id, sizeof id, "i%d", i);
        (void)snprintf(title, sizeof title, "thing number %d", i);
        shop_announce(&shop, id, title, at(day, 0));
    }
}

static void test_half_of_a_basket_is_history(void **state)
{
    (void)state;
    static const char *const options[] = {"join.basket=true", NULL};
    shop_open(&shop, "uncased", options, NULL);
    stock(0, 60, 0);
    assert_false(shop_order(&shop, "ann", "i1,i2,i3", at(1, 0)));    /* three distinct items: not scored, but taken */
    assert_false(shop_order(&shop, "ann", "i1,i2,i3,i2", at(2, 0))); /* … also when one comes twice */
    assert_int_equal(world_find_user(shop.world, STR("ann"))->n_events, 6);
    assert_true(shop_order(&shop, "ann", "i10,i11,i10,i12,i13", at(3, 0)));
    assert_int_equal(shop_find(&shop, "i10"), -1); /* given: neither positive nor negative */
    assert_int_equal(shop_find(&shop, "i11"), -1);
    assert_true(shop_find(&shop, "i12") == 0 && shop_find(&shop, "i13") == 1);
    assert_int_equal(shop.slate->n_items, 2 + 2 * 4);
    assert_int_equal(shop.slate->n_events, 8); /* the six before, and the two that were given */
    assert_true(shop.slate->events[0].age_minutes == 0 && shop.slate->events[2].age_minutes > 0);
    /* Nothing but the user's history knew of the half: counters did not, and afterwards all is counted once. */
    assert_true(shop_feature(&shop, 0, "item.purchase.all") == 0);
    const struct record_user *u = world_find_user(shop.world, STR("ann"));
    assert_int_equal(u->n_events, 10);
    assert_int_equal(u->n_slates, 1);
    assert_int_equal(world_find_item(shop.world, STR("i10"))->positives, 1);
    shop_close(&shop);
}

static void test_a_basket_of_somebody_new(void **state)
{
    (void)state;
    static const char *const options[] = {"join.basket=true", NULL};
    shop_open(&shop, "uncased", options, NULL);
    stock(0, 30, 0);
    assert_true(shop_order(&shop, "bob", "i1,i2,i3,i4,i5", at(1, 0)));
    assert_int_equal(shop.slate->n_events, 2);
    assert_true(shop_find(&shop, "i3") == 0 && shop_find(&shop, "i4") == 1 && shop_find(&shop, "i5") == 2);
    assert_true(shop.slate->cold_user);
    assert_true(shop_feature(&shop, 0, "user.known") == 1); /* what is given of him is known */
    assert_int_equal(world_find_user(shop.world, STR("bob"))->n_events, 5);
    shop_close(&shop);
}

static void test_only_young_items_are_candidates(void **state)
{
    (void)state;
    static const char *const options[] = {"join.max_item_age_days=10", "join.negatives=50", "join.negatives_days=100",
                                          NULL};
    shop_open(&shop, "uncased", options, NULL);
    stock(0, 20, 0);
    stock(20, 5, 8);
    assert_true(shop_order(&shop, "ann", "i1,i21", at(9, 0))); /* all are younger than ten days */
    assert_int_equal(shop.slate->n_items, 25);
    assert_true(shop_order(&shop, "ann", "i2,i22", at(10, 0))); /* the first twenty are no longer */
    assert_int_equal(shop_find(&shop, "i2"), -1);
    assert_int_equal(shop_find(&shop, "i22"), 0);
    assert_int_equal(shop.slate->n_items, 5);
    assert_false(shop_order(&shop, "ann", "i3", at(11, 0)));
    assert_int_equal(world_find_item(shop.world, STR("i3"))->positives, 1); /* taken all the same */
    shop_close(&shop);
}

/* Earlier items are there for history and counters, and candidates for nobody. */
static void test_only_items_from_a_day_on_are_candidates(void **state)
{
    (void)state;
    char from[64];
    (void)snprintf(from, sizeof from, "join.items_from_ms=%lld", (long long)at(8, 12));
    shop_open(&shop, "uncased", (const char *const[]){from, "join.negatives=50", "join.negatives_days=100", NULL},
              NULL);
    stock(0, 20, 7);
    stock(20, 5, 8);
    assert_false(shop_order(&shop, "ann", "i3,i4", at(9, 0)));
    assert_true(shop_order(&shop, "ann", "i2,i21", at(90, 0)));
    assert_int_equal(shop_find(&shop, "i2"), -1);
    assert_int_equal(shop_find(&shop, "i21"), 0);
    assert_int_equal(shop.slate->n_items, 5);
    assert_true(shop.slate->n_events >= 2);
    shop_close(&shop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_of_a_basket_is_history),
        cmocka_unit_test(test_a_basket_of_somebody_new),
        cmocka_unit_test(test_only_young_items_are_candidates),
        cmocka_unit_test(test_only_items_from_a_day_on_are_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
