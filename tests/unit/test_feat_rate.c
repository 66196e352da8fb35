/* test_feat_rate.c - shrunk rates by hand: parents, kappa by name, what counts, and that records alone give the same.
 * labels: quick
 */
#include "featurize/feat_rate.h"
#include "featurize/world.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include "tests/support/tmpdir.h"
#include <math.h>
#include <string.h>

static const char *const options[] = {"model.parts=numeric",
                                      "model.features=default,item.rate.10,category.rate.10,brand.rate.7,tag.rate.1000,"
                                      "user.rate.1",
                                      NULL};
static struct err e;
static struct shop shop;

static int64_t at(int day, int hour)
{
    return SHOP_START_MS + day * SHOP_DAY_MS + hour * INT64_C(3600000);
}

static void goods(const char *id, const char *category, const char *brand, const char *tags)
{
    struct event ev = shop_behaviour(&shop, 0, NULL, id, at(0, 0));
    ev.kind = EVENT_ITEM;
    if (category != NULL) shop_text(&shop, &ev, "category", category);
    if (brand != NULL) shop_text(&shop, &ev, "brand", brand);
    if (tags != NULL) shop_list(&shop, &ev, "tags", tags);
    assert_ok(world_item(shop.world, &ev, &e), &e);
}

/* The list was shown n times at that hour; its first item was taken each time. */
static void show(const char *user, const char *items, int hour, int n)
{
    for (int i = 0; i < n; i++) {
        shop_show(&shop, user, items, at(1, hour));
        for (uint32_t k = 0; k < shop.slate->n_items; k++) shop.slate->items[k].label = k == 0;
        shop.slate->settled_ms = shop.slate->time_ms;
        assert_ok(world_settled(shop.world, shop.slate, &e), &e);
    }
}

static double odds(double p)
{
    return log(p / (1 - p));
}

static double shrunk(double taken, double shown, double parent, double kappa)
{
    return (taken + kappa * parent) / (shown + kappa);
}

static void is(int k, const char *name, double want)
{
    const float got = shop_feature(&shop, k, name);
    if (fabs((double)got - want) > 1e-5) fail_msg("%s is %g, not %g", name, (double)got, want);
}

/* a b of a category, c with a brand alone, d with nothing; all at one time, so nothing decays. */
static void stock(struct store *store)
{
    shop_open(&shop, "uncased", options, store);
    goods("a", "wool", "acme", "red,warm");
    goods("b", "wool", NULL, "red");
    goods("c", NULL, "acme", NULL);
    goods("d", NULL, NULL, NULL);
    show("ann", "a,b", 0, 10);
    show("bob", "d,c,a", 0, 5);
    goods("new", "wool", "acme", "warm"); /* never shown */
    shop_show(&shop, "ann", "a,b,c,d,new,stranger", at(1, 0));
}

static void test_rates_are_shrunk_to_their_parents(void **state)
{
    (void)state;
    stock(NULL);
    /* shown 2 * 10 + 3 * 5, taken 15; a 15 and 10, b 10 and 0, c 5 and 0, d 5 and 5 */
    const double all = (15 + 1) / (35 + 20.0), wool = shrunk(10, 25, all, 20), acme = shrunk(10, 20, all, 20);
    is(0, "category.rate", odds(wool) - odds(all));
    is(0, "category.rate.10", odds(shrunk(10, 25, all, 10)) - odds(all));
    is(0, "brand.rate", odds(acme) - odds(all));
    is(0, "brand.rate.7", odds(shrunk(10, 20, all, 7)) - odds(all));
    is(0, "tag.rate", odds(shrunk(10 + 10, 25 + 15, all, 20)) - odds(all)); /* red, warm */
    is(0, "tag.rate.1000", odds(shrunk(20, 40, all, 1000)) - odds(all));
    is(0, "item.rate", odds(shrunk(10, 15, wool, 20)) - odds(all));
    is(0, "item.rate.10", odds(shrunk(10, 15, shrunk(10, 25, all, 10), 10)) - odds(all));
    is(0, "user.rate", odds(shrunk(10, 20, (10 + 1) / (20 + 20.0), 20)) - odds((10 + 1) / (20 + 20.0)));
    is(0, "user.rate.1", odds(shrunk(10, 20, 11 / 40.0, 1)) - odds(11 / 40.0));
    is(1, "item.rate", odds(shrunk(0, 10, shrunk(10, 20, 11 / 40.0, 20), 20)) - odds(11 / 40.0)); /* as b last saw it */
    is(2, "item.rate", odds(shrunk(0, 5, acme, 20)) - odds(all));
    is(2, "category.rate", 0);
    is(3, "item.rate", odds(shrunk(5, 5, all, 20)) - odds(all));
    is(3, "brand.rate", 0);
    is(3, "tag.rate", 0);
    is(4, "item.rate", odds(shrunk(0, 0, wool, 20)) - odds(all)); /* all that is known is its category's */
    is(4, "tag.rate", odds(shrunk(10, 15, all, 20)) - odds(all));
    is(5, "item.rate", 0);
    is(5, "category.rate", 0);
    shop_close(&shop);
}

static void test_orders_count_for_no_rate(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", options, NULL);
    goods("a", "wool", NULL, NULL);
    goods("b", "wool", NULL, NULL);
    for (int i = 0; i < 5; i++) (void)shop_order(&shop, "ann", "a", at(i, 0));
    shop_show(&shop, "ann", "a,b", at(9, 0));
    is(0, "item.rate", 0);
    is(0, "category.rate", 0);
    is(0, "user.rate", 0);
    shop_close(&shop);
}

static void test_all_decays_alike(void **state)
{
    (void)state;
    stock(NULL);
    shop_show(&shop, "ann", "a", at(91, 0)); /* 90 days, the half-life: each count is half, the priors are not */
    const double all = (7.5 + 1) / (17.5 + 20), wool = shrunk(5, 12.5, all, 20);
    is(0, "category.rate", odds(wool) - odds(all));
    is(0, "item.rate", odds(shrunk(5, 7.5, wool, 20)) - odds(all));
    shop_close(&shop);
}

/* What a scorer does: the packed records, and nothing else. */
static void test_records_alone_give_the_same_numbers(void **state)
{
    (void)state;
    static const char *const ids[] = {"a", "b", "c", "d", "new"};
    struct record_item items[5];
    struct feat_candidate c[5];
    float ours[5][FEAT_NUMERIC_MAX];
    memset(items, 0, sizeof items);
    stock(NULL);
    const uint32_t F = shop.slate->n_numeric;
    for (int k = 0; k < 5; k++) {
        struct buf b = {0};
        memcpy(ours[k], shop.slate->numeric + (size_t)k * F, F * sizeof(float));
        record_item_encode(&b, world_find_item(shop.world, str_from(ids[k])));
        struct buf_reader r = buf_reader(b.p, b.n);
        assert_ok(record_item_decode(&items[k], &r, &e), &e);
        c[k] = (struct feat_candidate){.id = items[k].id, .item = &items[k], .label = NAN, .weight = 1};
        buf_fini(&b);
    }
    slate_reset(shop.slate);
    shop.slate->time_ms = at(1, 0);
    assert_ok(feat_fill(shop.feat, shop.slate, world_find_user(shop.world, STR("ann")), c, 5, NULL, 0, &e), &e);
    for (int k = 0; k < 5; k++) {
        assert_memory_equal(ours[k], shop.slate->numeric + (size_t)k * F, F * sizeof(float));
        record_item_fini(&items[k]);
    }
    shop_close(&shop);
}

static void test_groups_come_back_from_the_store(void **state)
{
    (void)state;
    struct tmpdir dir = tmpdir_make("rates");
    struct store *store = NULL;
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    stock(store);
    shop_save(&shop);
    shop_close(&shop);
    shop_open(&shop, "uncased", options, store);
    shop_load(&shop);
    goods("newer", "wool", NULL, NULL); /* told of its category by the world, not by its own record */
    shop_show(&shop, "ann", "newer,new", at(1, 0));
    assert_true(shop_feature(&shop, 0, "category.rate") > 0);
    assert_true(shop_feature(&shop, 0, "category.rate") == shop_feature(&shop, 1, "category.rate"));
    shop_close(&shop);
    store_close(store);
    tmpdir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_are_shrunk_to_their_parents),
        cmocka_unit_test(test_orders_count_for_no_rate),
        cmocka_unit_test(test_all_decays_alike),
        cmocka_unit_test(test_records_alone_give_the_same_numbers),
        cmocka_unit_test(test_groups_come_back_from_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
