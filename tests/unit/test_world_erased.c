/* test_world_erased.c - what was under way when a user was deleted does not bring the user back: here, in the store, in Redis.
 * labels: quick
 */
#include "featurize/world.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include "tests/support/tmpdir.h"
#include <stdio.h>
#include <string.h>

#define HOUR INT64_C(3600000)
#define DAY1 (SHOP_START_MS + SHOP_DAY_MS)

static struct err e;
static struct shop shop;
static struct tmpdir dir;
static struct store *store;
static char told[200]; /* ids of deleted users as "-id ", of others as "+id " */

static void open_shop(const char *const *options)
{
    shop_open(&shop, "uncased", options, store);
}

static void stock(void)
{
    for (int i = 0; i < 5; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "i%d", i);
        shop_announce(&shop, id, "a thing", SHOP_START_MS);
    }
}

static int set_up(void **state)
{
    (void)state;
    dir = tmpdir_make("world_erased");
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    open_shop(NULL);
    stock();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    shop_close(&shop);
    store_close(store);
    tmpdir_remove(&dir);
    return mem_live() == 0 ? 0 : -1;
}

/* Saved, and a new process. */
static void restart(void)
{
    shop_save(&shop);
    shop_close(&shop);
    open_shop(NULL);
    shop_load(&shop);
}

static void user_event(const char *user, bool deleted, int64_t time_ms)
{
    struct event ev = shop_behaviour(&shop, 0, user, NULL, time_ms);
    ev.kind = EVENT_USER;
    ev.deleted = deleted;
    if (!deleted) shop_text(&shop, &ev, "country", "France");
    assert_ok(world_user(shop.world, &ev, &e), &e);
}

static const struct record_user *known(const char *user)
{
    return world_find_user(shop.world, str_from(user));
}

static double purchases(const char *item)
{
    const struct record_item *i = world_find_item(shop.world, str_from(item));
    for (uint32_t t = 0; t < i->n_tallies; t++)
        if (i->tallies[t].type == EVENT_PURCHASE) return i->tallies[t].total;
    return 0;
}

static void settle(int64_t opened_ms, int64_t settled_ms)
{
    shop.slate->time_ms = opened_ms;
    shop.slate->settled_ms = settled_ms;
    for (uint32_t k = 0; k < shop.slate->n_items; k++) shop.slate->items[k].label = 0;
    assert_ok(world_settled(shop.world, shop.slate, &e), &e);
}

static enum status tell_user(void *arg, const struct record_user *u)
{
    const size_t n = strlen(told);
    (void)arg;
    (void)snprintf(told + n, sizeof told - n, "%c" STR_FMT " ", record_user_is_empty(u) ? '-' : '+', STR_ARG(u->id));
    return STATUS_OK;
}

static enum status pass_item(void *arg, const struct record_item *i)
{
    (void)arg, (void)i;
    return STATUS_OK;
}

static void tells(const char *want)
{
    told[0] = '\0';
    assert_ok(world_each_changed(shop.world, tell_user, pass_item, NULL, &e), &e);
    assert_string_equal(told, want);
    assert_false(world_has_changed(shop.world));
}

static void test_a_deleted_user_is_forgotten(void **state)
{
    (void)state;
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1);
    shop_take(&shop, EVENT_PURCHASE, "bob", "i1", DAY1);
    user_event("ann", false, DAY1 + HOUR);
    assert_int_equal(known("ann")->n_attrs, 1);
    shop_save(&shop);
    user_event("ann", true, DAY1 + HOUR);
    assert_null(known("ann"));
    restart();
    assert_null(known("ann"));
    assert_int_equal(world_counts(shop.world)->users, 1);
    assert_non_null(known("bob"));
    shop_take(&shop, EVENT_PURCHASE, "ann", "i2", DAY1 + 24 * HOUR); /* may come back as somebody new */
    assert_int_equal(known("ann")->n_events, 1);
}

static void test_an_order_under_assembly_does_not_bring_its_user_back(void **state)
{
    (void)state;
    user_event("ann", true, DAY1 + 500);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1);
    assert_null(known("ann"));
    assert_true(purchases("i1") == 1); /* the item was sold all the same */
    restart();
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1 + 500);
    assert_null(known("ann"));
    assert_int_equal(world_counts(shop.world)->users, 0);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i2", DAY1 + 501);
    assert_int_equal(known("ann")->n_events, 1);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i3", DAY1); /* still another partition's from before */
    assert_int_equal(known("ann")->n_events, 1);
    assert_int_equal(world_counts(shop.world)->users, 1);
}

static void test_of_an_order_across_the_deletion_the_later_lines_count(void **state)
{
    (void)state;
    user_event("ann", true, DAY1 + 500);
    const struct event lines[] = {shop_behaviour(&shop, EVENT_PURCHASE, "ann", "i1", DAY1),
                                  shop_behaviour(&shop, EVENT_PURCHASE, "ann", "i2", DAY1 + 1000)};
    assert_ok(world_take(shop.world, lines, 2, &e), &e);
    assert_int_equal(known("ann")->n_events, 1);
    assert_true(known("ann")->events[0].time_ms == DAY1 + 1000);
    assert_true(purchases("i1") == 1 && purchases("i2") == 1);
}

static void test_an_open_list_does_not_bring_its_user_back(void **state)
{
    (void)state;
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1 - HOUR);
    shop_show(&shop, "ann", "i1,i2,i3", DAY1);
    user_event("ann", true, DAY1 + 500);
    settle(DAY1, DAY1 + HOUR);
    assert_null(known("ann"));
    restart();
    shop_show(&shop, "ann", "i1,i2,i3", DAY1);
    settle(DAY1, DAY1 + HOUR);
    assert_null(known("ann"));
    settle(DAY1 + HOUR, DAY1 + 2 * HOUR); /* shown to the new one */
    assert_int_equal(known("ann")->n_slates, 1);
}

static void test_attributes_from_before_stay_out_and_later_ones_come_in(void **state)
{
    (void)state;
    user_event("ann", true, DAY1);
    user_event("ann", false, DAY1 - 1);
    assert_null(known("ann"));
    user_event("ann", false, DAY1); /* in the same millisecond, but after it */
    assert_int_equal(known("ann")->n_attrs, 1);
    user_event("ann", true, DAY1);
    assert_null(known("ann"));
}

static void test_who_is_back_before_the_save_is_stored_anew(void **state)
{
    (void)state;
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1 - HOUR);
    restart();
    user_event("ann", true, DAY1);
    assert_null(known("ann")); /* though the store still has the record */
    shop_take(&shop, EVENT_PURCHASE, "ann", "i2", DAY1 + 1);
    restart();
    assert_int_equal(known("ann")->n_events, 1);
    assert_int_equal(world_counts(shop.world)->users, 1);
}

static void test_deletions_are_forgotten_when_nothing_old_can_come(void **state)
{
    (void)state;
    shop_take(&shop, EVENT_PURCHASE, NULL, "i1", DAY1);
    const size_t before = world_counts(shop.world)->bytes;
    user_event("ann", true, DAY1);
    user_event("bob", true, DAY1 + HOUR);
    shop_save(&shop);
    world_expire_erased(shop.world, DAY1 + 1);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1);
    shop_take(&shop, EVENT_PURCHASE, "bob", "i1", DAY1);
    assert_non_null(known("ann"));
    assert_null(known("bob"));
    user_event("ann", true, DAY1);
    shop_save(&shop);
    world_expire_erased(shop.world, DAY1 + 2 * HOUR);
    assert_int_equal(world_counts(shop.world)->bytes, before);
    restart();
    tells("");
}

static void test_deletions_are_kept_within_their_bytes(void **state)
{
    (void)state;
    shop_close(&shop);
    open_shop((const char *const[]){"history.max_bytes=1048576", NULL});
    stock();
    const size_t most = world_erased_most(shop.conf);
    size_t then = 0;
    assert_in_range(most, 10, 90);
    for (size_t i = 0; i < 100; i++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%02zu", i);
        user_event(user, true, DAY1 + (int64_t)i);
        shop_save(&shop);
        world_expire_erased(shop.world, INT64_MIN);
        if (i + 1 == most) then = world_counts(shop.world)->bytes;
    }
    assert_int_equal(world_counts(shop.world)->bytes, then);
    shop_take(&shop, EVENT_PURCHASE, "u99", "i1", DAY1);
    shop_take(&shop, EVENT_PURCHASE, "u00", "i1", DAY1);
    assert_null(known("u99"));
    assert_non_null(known("u00"));
}

static void test_redis_is_told_of_deletions(void **state)
{
    (void)state;
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1);
    tells("+ann ");
    user_event("ann", true, DAY1 + 1);
    user_event("stranger", true, DAY1 + 1);
    tells("-ann -stranger ");
    user_event("ann", true, DAY1 + 2);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", DAY1 + 3);
    tells("-ann +ann ");
    world_mark_all_changed(shop.world); /* who is back may be in the store alone */
    tells("-stranger +ann ");
    restart();
    tells("-stranger ");
}

static void test_a_damaged_record_of_deletions_is_corrupt(void **state)
{
    (void)state;
    struct store_txn *t = NULL;
    user_event("ann", true, DAY1);
    shop_save(&shop);
    shop_close(&shop);
    open_shop(NULL);
    assert_ok(store_begin(&t, store, true, &e), &e);
    assert_ok(store_put(t, STORE_META, STR("erased"), STR("\1\2"), &e), &e);
    assert_ok(store_commit(t, &e), &e);
    assert_ok(store_begin(&t, store, false, &e), &e);
    assert_int_equal(world_load(shop.world, t, &e), STATUS_CORRUPT);
    store_abort(t);
}

static void test_a_deletion_survives_each_failing_allocation(void **state)
{
    (void)state;
    enum status st = STATUS_OOM;
    long n = 0;
    struct event ev = shop_behaviour(&shop, 0, "ann", NULL, DAY1);
    ev.kind = EVENT_USER;
    ev.deleted = true;
    tells("");
    for (; st != STATUS_OK && n < 100; n++) {
        mem_fail_after(n);
        st = world_user(shop.world, &ev, &e);
        mem_fail_after(-1);
        assert_true(st == STATUS_OK || st == STATUS_OOM);
    }
    assert_true(st == STATUS_OK && n > 1);
    tells("-ann ");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_a_deleted_user_is_forgotten),
        T(test_an_order_under_assembly_does_not_bring_its_user_back),
        T(test_of_an_order_across_the_deletion_the_later_lines_count),
        T(test_an_open_list_does_not_bring_its_user_back),
        T(test_attributes_from_before_stay_out_and_later_ones_come_in),
        T(test_who_is_back_before_the_save_is_stored_anew),
        T(test_deletions_are_forgotten_when_nothing_old_can_come),
        T(test_deletions_are_kept_within_their_bytes),
        T(test_redis_is_told_of_deletions),
        T(test_a_damaged_record_of_deletions_is_corrupt),
        T(test_a_deletion_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
