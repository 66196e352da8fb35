/* test_world_bytes.c - users and items are bounded in bytes: users leave to the store and come back, items are refused. */
#include "featurize/world.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include "tests/support/tmpdir.h"
#include <stdio.h>
#include <string.h>

static struct shop shop;

static void buy(int user, const char *items, int hour)
{
    char id[16];
    (void)snprintf(id, sizeof id, "u%d", user);
    (void)shop_order(&shop, id, items, SHOP_START_MS + SHOP_DAY_MS + hour * INT64_C(3600000));
}

static void test_users_beyond_the_bytes_leave_and_come_back(void **state)
{
    struct err e;
    struct store *store = NULL;
    struct tmpdir dir = tmpdir_make("world_bytes");
    (void)state;
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, NULL, (const char *[]){"history.max_bytes=1048576", NULL}, store);
    for (int i = 0; i < 30; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "i%d", i);
        shop_announce(&shop, id, "thing", SHOP_START_MS);
    }
    for (int u = 0; u < 4000; u++) buy(u, "i1,i2,i3,i4", 0);
    const size_t before = world_counts(shop.world)->bytes;
    assert_true(before > 2 * 1048576);
    shop_save(&shop); /* what is dirty can't leave */
    for (int u = 4000; u < 4300; u++) buy(u, "i1", 1);
    assert_true(world_counts(shop.world)->bytes < before);
    assert_true(world_counts(shop.world)->evicted > 1000);
    assert_int_equal(world_counts(shop.world)->users, 4300);
    const struct record_user *u = world_find_user(shop.world, STR("u0"));
    assert_non_null(u);
    assert_int_equal(u->n_events, 4);
    shop_close(&shop);
    store_close(store);
    tmpdir_remove(&dir);
}

static void test_items_beyond_the_bytes_are_refused_and_known_ones_stay(void **state)
{
    char text[4000];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    shop_open(&shop, NULL, (const char *[]){"catalogue.max_bytes=1048576", NULL}, NULL);
    for (int i = 0; i < 500; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "i%d", i);
        shop_announce(&shop, id, text, SHOP_START_MS);
    }
    const uint64_t there = world_counts(shop.world)->items;
    assert_true(there > 200 && there < 300);
    assert_true(world_counts(shop.world)->refused_items == 500 - there);
    shop_announce(&shop, "i3", "a new title", SHOP_START_MS + 1); /* full: it keeps the old one */
    const struct record_item *i = world_find_item(shop.world, STR("i3"));
    const struct record_attr *title = record_attr(i->attrs, i->n_attrs, "title");
    assert_int_equal(title->text.n, sizeof text - 1);
    shop_close(&shop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users_beyond_the_bytes_leave_and_come_back),
        cmocka_unit_test(test_items_beyond_the_bytes_are_refused_and_known_ones_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
