/* test_reservoir.c - a uniform sample within its bounds, one that forgets, drawing, undoing, and all of it through the store. */
#include "base/store.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include "trainer/reservoir.h"
#include <math.h>
#include <stdio.h>

enum { CAP = 50, OFFERED = 1000, TENTHS = 10 };

static struct conf *conf;
static struct slate *scratch;

static void set(const char *key, const char *value)
{
    struct err e;
    assert_ok(conf_set(conf, key, value, &e), &e);
}

static struct reservoir *reservoir_of(void)
{
    struct reservoir *r;
    struct err e;
    assert_ok(reservoir_new(&r, conf, &e), &e);
    return r;
}

/* The i-th slate: its number, and a user's name that makes it so many bytes longer. */
static void make(uint64_t i, size_t longer)
{
    static char name[200];
    struct slate *s = scratch;
    slate_reset(s);
    s->id = i;
    s->request = (struct str){name, longer < 200 ? longer : 200};
    assert_int_equal(slate_add_sentence(s, NULL, 0), 0);
    s->n_items = (uint32_t)(1 + longer / 256);
    s->items = arena_alloc(s->arena, s->n_items, sizeof *s->items);
    assert_non_null(s->items);
    for (uint32_t k = 0; k < s->n_items; k++)
        s->items[k] = (struct slate_item){.id = {name, 200}, .label = 1, .weight = 1, .examples = 1};
}

static void offer(struct reservoir *r, uint64_t from, uint64_t to, size_t longer)
{
    struct err e;
    for (uint64_t i = from; i < to; i++) {
        make(i, longer);
        assert_ok(reservoir_offer(r, scratch, i, &e), &e);
    }
}

static bool draw(struct reservoir *r, uint64_t *id)
{
    struct err e;
    bool drawn;
    assert_ok(reservoir_draw(r, scratch, &drawn, &e), &e);
    if (drawn) *id = scratch->id;
    return drawn;
}

/* How the slates that are drawn spread over the stream, many seeds together; each draw is of its own sample. */
static void spread(double out[TENTHS], const char *key, const char *value)
{
    enum { SEEDS = 400, DRAWS = 40 };
    char seed[16];
    uint64_t id, n = 0;
    set(key, value);
    for (int i = 0; i < TENTHS; i++) out[i] = 0.0;
    for (int s = 1; s <= SEEDS; s++) {
        (void)snprintf(seed, sizeof seed, "%d", s);
        set("train.seed", seed);
        struct reservoir *r = reservoir_of();
        offer(r, 0, OFFERED, 10);
        for (int i = 0; i < DRAWS; i++)
            if (draw(r, &id)) out[id * TENTHS / OFFERED] += 1.0, n++;
        reservoir_free(r);
    }
    for (int i = 0; i < TENTHS; i++) out[i] /= (double)n;
    set("train.seed", "1");
}

static void test_all_of_the_past_is_as_likely(void **state)
{
    (void)state;
    double tenth[TENTHS];
    spread(tenth, "train.replay_share", "0.5");
    for (int i = 0; i < TENTHS; i++) assert_near(tenth[i], 0.1, 0.015);
}

/* Over a horizon of 200 slates the newest tenth is e^(1/2) times as likely as the one before. */
static void test_with_a_horizon_the_past_fades(void **state)
{
    (void)state;
    double tenth[TENTHS];
    spread(tenth, "train.reservoir_horizon_slates", "200");
    set("train.reservoir_horizon_slates", "0");
    for (int i = 1; i < 4; i++) assert_near(tenth[9 - i] / tenth[10 - i], exp(-0.5), 0.08);
    assert_true(tenth[0] + tenth[1] < 0.03);
}

static void test_bytes_are_bounded_and_a_giant_is_not_held(void **state)
{
    (void)state;
    uint64_t id;
    int young = 0, n = 0;
    set("train.reservoir_slates", "100000");
    set("train.reservoir_bytes", "1048576");
    struct reservoir *r = reservoir_of();
    const size_t table = reservoir_counts(r).bytes;
    for (uint64_t i = 0; i < 2000; i++) {
        offer(r, i, i + 1, 3000);
        assert_true(reservoir_counts(r).bytes <= 1048576 + table);
    }
    const struct reservoir_counts c = reservoir_counts(r);
    assert_true(c.held > 150 && c.held < 400 && c.offered == 2000); /* about 3.5 KB each */
    for (int i = 0; i < 2000; i++)
        if (draw(r, &id)) young += id >= 1000, n++;
    assert_near((double)young / n, 0.5, 0.12); /* of one sample of 300 */
    offer(r, 2000, 2001, 150000);
    assert_int_equal(reservoir_counts(r).held, c.held);
    assert_true(reservoir_bytes_most(conf) >= 1048576 + table);
    reservoir_free(r);
    set("train.reservoir_slates", "50");
    set("train.reservoir_bytes", "67108864");
}

static void test_an_old_one_comes_with_so_many_new_ones(void **state)
{
    (void)state;
    uint64_t id, drawn = 0;
    set("train.replay_share", "0.2");
    struct reservoir *r = reservoir_of();
    assert_false(draw(r, &id)); /* nothing is there yet */
    offer(r, 0, 100, 10);
    for (int i = 0; i < 4000; i++) drawn += draw(r, &id);
    assert_near((double)drawn / (double)(drawn + 4000), 0.2, 0.01);
    assert_int_equal(reservoir_counts(r).replayed, drawn);
    reservoir_free(r);
    set("train.replay_share", "0.5");
}

static void test_a_replayed_one_stands_for_nothing_and_is_not_taken_again(void **state)
{
    (void)state;
    struct err e;
    uint64_t id;
    struct reservoir *r = reservoir_of();
    offer(r, 0, 5, 2000);
    while (!draw(r, &id)) continue;
    assert_true(reservoir_is_replayed(r, scratch));
    for (uint32_t i = 0; i < scratch->n_items; i++) assert_true(scratch->items[i].examples == 0.0f);
    assert_ok(reservoir_offer(r, scratch, 9, &e), &e);
    assert_int_equal(reservoir_counts(r).offered, 5);
    assert_int_equal(reservoir_counts(r).held, 5);
    make(0, 10);
    assert_false(reservoir_is_replayed(r, scratch));
    scratch->items[0].examples = 0;
    assert_false(reservoir_is_replayed(NULL, scratch));
    reservoir_free(r);
}

static void test_what_is_undone_is_not_drawn(void **state)
{
    (void)state;
    uint64_t id;
    struct reservoir *r = reservoir_of();
    offer(r, 0, 200, 10);
    const uint64_t before = reservoir_counts(r).held;
    reservoir_undo(r, 99);
    const uint64_t left = reservoir_counts(r).held;
    assert_true(before == CAP && left > 10 && left < 40);
    for (int i = 0; i < 500; i++)
        if (draw(r, &id)) assert_true(id <= 99);
    offer(r, 200, 260, 10);
    assert_int_equal(reservoir_counts(r).held, CAP); /* free places are taken by what comes */
    reservoir_free(r);
}

/* ---- the store ---- */

static struct reservoir *through_the_store(struct store *store, struct reservoir *r)
{
    struct err e;
    struct store_txn *t;
    assert_ok(store_begin(&t, store, true, &e), &e);
    assert_ok(reservoir_save(r, t, "reservoir", &e), &e);
    assert_ok(store_commit(t, &e), &e);
    reservoir_saved(r);
    struct reservoir *other = reservoir_of();
    assert_ok(store_begin(&t, store, false, &e), &e);
    assert_ok(reservoir_load(other, t, "reservoir", &e), &e);
    store_abort(t);
    return other;
}

static uint64_t records(struct store *store)
{
    struct err e;
    struct store_txn *t;
    assert_ok(store_begin(&t, store, false, &e), &e);
    const uint64_t n = store_root(t)->n[STORE_LEARNER];
    store_abort(t);
    return n;
}

static void check_same(struct reservoir *a, struct reservoir *b)
{
    const struct reservoir_counts x = reservoir_counts(a), y = reservoir_counts(b);
    assert_memory_equal(&x, &y, sizeof x);
    for (int i = 0; i < 200; i++) {
        uint64_t p = 0, q = 0;
        assert_int_equal(draw(a, &p), draw(b, &q));
        assert_int_equal(p, q);
    }
}

static void test_it_goes_on_in_the_same_way_after_a_load(void **state)
{
    (void)state;
    struct err e;
    struct store *store;
    const struct tmpdir dir = tmpdir_make("reservoir");
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    struct reservoir *whole = reservoir_of(), *again = reservoir_of();
    for (uint64_t at = 0; at < 300; at += 60) { /* filled, full, changed here and there, fewer */
        offer(whole, at, at + 60, 10 + (size_t)at);
        offer(again, at, at + 60, 10 + (size_t)at);
        if (at == 180) reservoir_undo(whole, 120);
        if (at == 180) reservoir_undo(again, 120);
        struct reservoir *loaded = through_the_store(store, again);
        reservoir_free(again);
        again = loaded;
        check_same(whole, again);
        assert_int_equal(records(store), 1 + reservoir_counts(again).held);
    }
    struct store_txn *t;
    assert_ok(store_begin(&t, store, true, &e), &e);
    assert_ok(reservoir_forget(t, "reservoir", &e), &e);
    assert_ok(reservoir_forget(t, "none", &e), &e);
    assert_ok(store_commit(t, &e), &e);
    assert_int_equal(records(store), 0);
    reservoir_free(whole);
    reservoir_free(again);
    store_close(store);
    tmpdir_remove(&dir);
}

static void test_a_damaged_state_is_refused(void **state)
{
    (void)state;
    struct err e;
    struct store *store;
    struct store_txn *t;
    const struct tmpdir dir = tmpdir_make("reservoir");
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    struct reservoir *r = reservoir_of();
    offer(r, 0, 60, 10);
    reservoir_free(through_the_store(store, r));
    assert_ok(store_begin(&t, store, true, &e), &e);
    assert_ok(store_delete(t, STORE_LEARNER, STR("reservoir/7"), &e), &e);
    assert_int_equal(reservoir_load(r, t, "reservoir", &e), STATUS_CORRUPT);
    assert_ok(store_put(t, STORE_LEARNER, STR("reservoir"), STR("x"), &e), &e);
    assert_int_equal(reservoir_load(r, t, "reservoir", &e), STATUS_CORRUPT);
    assert_int_equal(reservoir_forget(t, "reservoir", &e), STATUS_CORRUPT);
    store_abort(t);
    reservoir_free(r);
    store_close(store);
    tmpdir_remove(&dir);
}

static void test_it_is_off_without_a_share(void **state)
{
    (void)state;
    struct err e;
    bool drawn = true;
    set("train.replay_share", "0");
    struct reservoir *r = reservoir_of();
    assert_null(r);
    make(1, 10);
    assert_ok(reservoir_offer(r, scratch, 1, &e), &e);
    assert_ok(reservoir_draw(r, scratch, &drawn, &e), &e);
    assert_false(drawn);
    assert_int_equal(reservoir_bytes_most(conf), 0);
    assert_int_equal(reservoir_counts(r).held, 0);
    set("train.replay_share", "0.5");
}

static void test_allocation_failures(void **state)
{
    (void)state;
    struct reservoir *r;
    struct err e;
    long met;
    FAIL_EACH_ALLOCATION(met, reservoir_new(&r, conf, &e));
    assert_int_equal(met, 2);
    make(1, 3000);
    const long live = mem_live();
    mem_fail_after(0);
    assert_int_equal(reservoir_offer(r, scratch, 1, &e), STATUS_OOM);
    mem_fail_after(-1);
    assert_int_equal(mem_live(), live);
    reservoir_free(r);
}

static int open_conf(void **state)
{
    (void)state;
    struct err e;
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(slate_new(&scratch, &e), &e);
    set("train.replay_share", "0.5");
    set("train.reservoir_slates", "50");
    return 0;
}

static int close_conf(void **state)
{
    (void)state;
    slate_free(scratch);
    conf_free(conf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_the_past_is_as_likely),
        cmocka_unit_test(test_with_a_horizon_the_past_fades),
        cmocka_unit_test(test_bytes_are_bounded_and_a_giant_is_not_held),
        cmocka_unit_test(test_an_old_one_comes_with_so_many_new_ones),
        cmocka_unit_test(test_a_replayed_one_stands_for_nothing_and_is_not_taken_again),
        cmocka_unit_test(test_what_is_undone_is_not_drawn),
        cmocka_unit_test(test_it_goes_on_in_the_same_way_after_a_load),
        cmocka_unit_test(test_a_damaged_state_is_refused),
        cmocka_unit_test(test_it_is_off_without_a_share),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, open_conf, close_conf);
}
