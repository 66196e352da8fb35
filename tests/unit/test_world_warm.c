/* test_world_warm.c - a world made of published records knows what the one they came from knew. */
#include "featurize/world.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include <stdio.h>
#include <string.h>

static struct shop from, to;

static int64_t at(int day, int hour)
{
    return SHOP_START_MS + day * SHOP_DAY_MS + hour * INT64_C(3600000);
}

static void fill(struct shop *s)
{
    for (int i = 0; i < 40; i++) {
        char id[16], title[32];
        (void)snprintf(id, sizeof id, "i%d", i);
        (void)snprintf(title, sizeof title, "thing number %d", i);
        shop_announce(s, id, title, at(0, 0));
    }
    assert_true(shop_order(s, "ann", "i1,i2,i7", at(1, 0)));
    (void)shop_order(s, "bob", "i2,i3", at(1, 1));
    (void)shop_order(s, "ann", "i9", at(2, 0));
}

static enum status give_user(void *arg, const struct record_user *u)
{
    struct buf b = {0};
    struct err e;
    struct record_user copy = {0};
    (void)arg;
    record_user_encode(&b, u);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(record_user_decode(&copy, &r, &e), &e);
    assert_ok(world_put_user(to.world, &copy, &e), &e);
    assert_null(copy.id.p); /* taken over */
    buf_fini(&b);
    return STATUS_OK;
}

static enum status give_item(void *arg, const struct record_item *i)
{
    struct buf b = {0};
    struct err e;
    (void)arg;
    record_item_encode(&b, i);
    for (int twice = 0; twice < 2; twice++) { /* SCAN may say a key again */
        struct record_item copy = {0};
        struct buf_reader r = buf_reader(b.p, b.n);
        assert_ok(record_item_decode(&copy, &r, &e), &e);
        copy.row = 1000; /* rows are the catalogue's own */
        assert_ok(world_put_item(to.world, &copy, &e), &e);
    }
    buf_fini(&b);
    return STATUS_OK;
}

static void test_records_make_the_same_world(void **state)
{
    static const char *const users[] = {"ann", "bob"};
    struct err e;
    (void)state;
    shop_open(&from, "uncased", NULL, NULL);
    fill(&from);
    shop_open(&to, "uncased", NULL, NULL);
    assert_ok(world_each_changed(from.world, give_user, give_item, NULL, &e), &e);
    assert_ok(world_warmed(to.world, at(2, 0), &e), &e);
    assert_int_equal(world_counts(to.world)->items, 40);
    assert_int_equal(world_counts(to.world)->users, 2);
    assert_false(world_has_changed(to.world)); /* it came from where it would go */
    assert_true(world_counts(to.world)->dirty_bytes > 0);
    for (size_t i = 0; i < 2; i++) {
        struct buf a = {0}, b = {0};
        record_user_encode(&a, world_find_user(from.world, str_from(users[i])));
        record_user_encode(&b, world_find_user(to.world, str_from(users[i])));
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.p, b.p, a.n);
        buf_fini(&a);
        buf_fini(&b);
    }
    for (int i = 0; i < 40; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "i%d", i);
        const struct record_item *x = world_find_item(from.world, str_from(id)),
                                 *y = world_find_item(to.world, str_from(id));
        assert_non_null(y);
        assert_true(y->row < 40);
        assert_int_equal(x->sentence, y->sentence);
        assert_int_equal(x->n_tallies, y->n_tallies);
        assert_int_equal(x->positives, y->positives);
        assert_true(x->orders == y->orders);
        assert_int_equal(x->n_neighbours, y->n_neighbours);
    }
    assert_true(shop_order(&to, "cat", "i1,i2", at(3, 0))); /* there is something to sample from */
    shop_close(&to);
    shop_close(&from);
}

static void test_records_without_an_id_are_damaged(void **state)
{
    struct err e = {0};
    struct record_user u = {0};
    struct record_item i = {0};
    (void)state;
    shop_open(&to, "uncased", NULL, NULL);
    assert_int_equal(world_put_user(to.world, &u, &e), STATUS_CORRUPT);
    assert_int_equal(world_put_item(to.world, &i, &e), STATUS_CORRUPT);
    shop_close(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_make_the_same_world),
        cmocka_unit_test(test_records_without_an_id_are_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
