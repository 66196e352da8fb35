/* test_group.c - tallies of groups: decay, the least shown make room, and what the store gives back.
 * labels: quick
 */
#include "base/rand.h"
#include "featurize/group.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <math.h>
#include <stdio.h>

#define DAY INT64_C(86400000)
#define HALVINGS (1.0 / (10.0 * 86400000.0))
static struct err e;

static struct group *make(size_t limit)
{
    struct group *g = NULL;
    assert_ok(group_new(&g, limit, HALVINGS, &e), &e);
    return g;
}

static void is(struct record_rate r, int64_t time_ms, double shown, double taken)
{
    assert_true(r.time_ms == time_ms);
    assert_true(fabs((double)r.shown - shown) < 1e-6 && fabs((double)r.taken - taken) < 1e-6);
}

static void test_counts_decay_and_never_grow_by_going_back(void **state)
{
    (void)state;
    struct group *g = make(512);
    const uint64_t key = group_key(RECORD_RATE_BRAND, 7);
    assert_true(key != group_key(RECORD_RATE_CATEGORY, 7));
    is(group_rate(g, key), 0, 0, 0);
    group_count(g, key, 10 * DAY, 4, 1);
    group_count(g, key, 20 * DAY, 1, 1);
    is(group_rate(g, key), 20 * DAY, 3, 1.5);
    group_count(g, key, 10 * DAY, 2, 0); /* late */
    is(group_rate(g, key), 20 * DAY, 4, 1.5);
    const struct record_rate other = {30 * DAY, 1, 1}, none = {0};
    is(group_sum(g, group_rate(g, key), other), 30 * DAY, 3, 1.75);
    is(group_sum(g, none, other), 30 * DAY, 1, 1);
    is(group_sum(g, other, none), 30 * DAY, 1, 1);
    group_free(g);
}

/* Names without end against twenty that are shown all the time. */
static void test_the_least_shown_make_room(void **state)
{
    (void)state;
    struct group *g = make(512);
    for (int i = 0; i < 20000; i++) {
        group_count(g, group_key(RECORD_RATE_BRAND, (uint64_t)i % 20), i * 1000, 1, 0);
        group_count(g, group_key(RECORD_RATE_BRAND, 1000 + (uint64_t)i), i * 1000, 1, 1);
    }
    for (uint64_t i = 0; i < 20; i++) assert_true(group_rate(g, group_key(RECORD_RATE_BRAND, i)).shown > 950.0f);
    group_free(g);
}

static void test_what_a_record_remembers_replaces_what_is_older(void **state)
{
    (void)state;
    struct group *g = make(512);
    const uint64_t key = group_key(RECORD_RATE_TAGS, 1);
    group_put(g, key, &(struct record_rate){5 * DAY, 3, 1});
    group_put(g, key, &(struct record_rate){4 * DAY, 9, 9});
    is(group_rate(g, key), 5 * DAY, 3, 1);
    group_put(g, key, &(struct record_rate){6 * DAY, 2, 0});
    group_put(g, key, &(struct record_rate){7 * DAY, 0, 0}); /* nothing */
    is(group_rate(g, key), 6 * DAY, 2, 0);
    group_free(g);
}

/* ---- the store ---- */

static struct tmpdir dir;
static struct store *store;

static int open_store(void **state)
{
    (void)state;
    dir = tmpdir_make("group");
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    return 0;
}

static int close_store(void **state)
{
    (void)state;
    store_close(store);
    tmpdir_remove(&dir);
    return 0;
}

static void save(struct group *g)
{
    struct store_txn *t = NULL;
    assert_ok(store_begin(&t, store, true, &e), &e);
    assert_ok(group_save(g, t, &e), &e);
    assert_ok(store_commit(t, &e), &e);
    group_saved(g);
}

static enum status load(struct group *g)
{
    struct store_txn *t = NULL;
    assert_ok(store_begin(&t, store, false, &e), &e);
    const enum status st = group_load(g, t, &e);
    store_abort(t);
    return st;
}

static void test_the_store_gives_back_what_was_saved(void **state)
{
    (void)state;
    struct group *g = make(2000), *back = make(2000), *other = make(512);
    for (uint64_t i = 0; i < 1500; i++)
        group_count(g, group_key(RECORD_RATE_BRAND, i), DAY + (int64_t)i, 1, i % 3 == 0);
    save(g);
    group_count(g, group_key(RECORD_RATE_BRAND, 3), 2 * DAY, 5, 5); /* one page more */
    save(g);
    assert_ok(load(back), &e);
    for (uint64_t i = 0; i < 1500; i++) {
        const struct record_rate a = group_rate(g, group_key(RECORD_RATE_BRAND, i)),
                                 b = group_rate(back, group_key(RECORD_RATE_BRAND, i));
        assert_memory_equal(&a, &b, sizeof a);
    }
    assert_int_equal(load(other), STATUS_CORRUPT); /* of another size */
    group_free(g);
    group_free(back);
    group_free(other);
}

static void test_damaged_pages_are_refused(void **state)
{
    (void)state;
    struct store_txn *t = NULL;
    struct group *g = make(512);
    assert_ok(store_begin(&t, store, true, &e), &e);
    assert_ok(store_put(t, STORE_META, STR("groups/0"), STR("\1nonsense"), &e), &e);
    assert_ok(store_commit(t, &e), &e);
    assert_int_equal(load(g), STATUS_CORRUPT);
    group_free(g);
}

static void test_new_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct group *g = NULL;
    long met;
    FAIL_EACH_ALLOCATION(met, group_new(&g, 512, HALVINGS, &e));
    assert_int_equal(met, 3);
    group_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_decay_and_never_grow_by_going_back),
        cmocka_unit_test(test_the_least_shown_make_room),
        cmocka_unit_test(test_what_a_record_remembers_replaces_what_is_older),
        cmocka_unit_test_setup_teardown(test_the_store_gives_back_what_was_saved, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_damaged_pages_are_refused, open_store, close_store),
        cmocka_unit_test(test_new_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
