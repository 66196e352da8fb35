/* test_open.c - open slates: taken out as put in, kept in the store between checkpoints, gone once settled.
 * labels: quick */
#include "base/rand.h"
#include "job/open.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <string.h>

enum { PARTS = 2 };

static void fill(struct slate *s, uint64_t id, uint32_t k)
{
    static const int32_t ids[] = {2, 7, 9, 3};
    slate_reset(s);
    s->id = id;
    s->source = SLATE_IMPRESSION;
    s->time_ms = 1000 + (int64_t)id;
    s->user = STR("u");
    s->request = STR("r");
    s->n_items = k;
    s->items = arena_alloc(s->arena, k, sizeof *s->items);
    s->hashed_off = arena_alloc(s->arena, k + 1, sizeof *s->hashed_off);
    assert_true(s->items != NULL && s->hashed_off != NULL);
    for (uint32_t i = 0; i < k; i++) {
        s->items[i].id = STR("item");
        s->items[i].popularity = (float)(id * 100 + i);
        s->items[i].weight = 1.0f;
        s->items[i].sentence = slate_add_sentence(s, ids, 4);
    }
}

static void put(struct open_slates *o, struct slate *s, uint64_t id)
{
    struct err e;
    const uint32_t k = 1 + (uint32_t)(id % 5);
    float logits[5], parts[10], frozen[5];
    for (uint32_t i = 0; i < 5; i++) {
        logits[i] = (float)id + (float)i;
        frozen[i] = -(float)i;
    }
    for (uint32_t i = 0; i < 10; i++) parts[i] = (float)(id * 10 + i);
    fill(s, id, k);
    assert_ok(open_put(o, s, &(struct open_predictions){logits, parts, frozen, PARTS}, &e), &e);
}

static void check_taken(struct open_slates *o, struct slate *s, uint64_t id)
{
    struct err e;
    struct open_predictions p = {0};
    slate_reset(s);
    assert_ok(open_take(o, id, s, &p, &e), &e);
    assert_int_equal(s->id, id);
    assert_int_equal(s->n_items, 1 + id % 5);
    for (uint32_t i = 0; i < s->n_items; i++) {
        assert_true(s->items[i].popularity == (float)(id * 100 + i));
        assert_true(p.logits[i] == (float)id + (float)i);
        assert_true(p.frozen[i] == -(float)i);
    }
    for (uint32_t i = 0; i < s->n_items * PARTS; i++) assert_true(p.part_logits[i] == (float)(id * 10 + i));
}

static void test_slates_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct open_slates *o;
    struct slate *s;
    struct err e;
    struct rand r;
    bool open[2001] = {false};
    size_t count = 0;
    rand_init(&r, (struct rand_key){.seed = 1, .purpose = RAND_TEST});
    assert_ok(open_new(&o, PARTS, &e), &e);
    assert_ok(slate_new(&s, &e), &e);
    for (int i = 0; i < 6000; i++) { /* growth, removal and probing runs in random order */
        const uint64_t id = 1 + rand_below(&r, 2000);
        if (open[id]) {
            check_taken(o, s, id);
            count--;
        } else {
            put(o, s, id);
            count++;
        }
        open[id] = !open[id];
        assert_int_equal(open_count(o), count);
    }
    struct open_predictions p = {0};
    assert_int_equal(open_take(o, 99999, s, &p, &e), STATUS_NOT_FOUND);
    slate_free(s);
    open_free(o);
}

static void test_a_look_leaves_the_slate_and_a_cut_its_first_candidates(void **state)
{
    (void)state;
    struct open_slates *o;
    struct slate *s;
    struct err e;
    struct open_predictions p = {0};
    assert_ok(open_new(&o, PARTS, &e), &e);
    assert_ok(slate_new(&s, &e), &e);
    put(o, s, 4); /* five candidates */
    assert_int_equal(open_look(o, 5, s, &p, &e), STATUS_NOT_FOUND);
    assert_ok(open_look(o, 4, s, &p, &e), &e);
    assert_true(s->id == 4 && s->n_items == 5 && p.logits[4] == 8.0f);
    assert_int_equal(open_count(o), 1);
    open_predictions_cut(&p, 5, 2);
    const float first[] = {40, 41}, second[] = {45, 46};
    assert_memory_equal(p.part_logits, first, sizeof first);
    assert_memory_equal(p.part_logits + 2, second, sizeof second);
    check_taken(o, s, 4);
    slate_free(s);
    open_free(o);
}

static void save(struct open_slates *o, struct store *store)
{
    struct err e;
    struct store_txn *t;
    enum status st;
    do {
        assert_ok(store_begin(&t, store, true, &e), &e);
        st = open_save(o, t, &e);
        if (st == STATUS_OK)
            st = store_commit(t, &e);
        else
            store_abort(t);
    } while (st == STATUS_AGAIN);
    assert_ok(st, &e);
    open_saved(o);
}

static size_t load(struct open_slates **o, struct store *store)
{
    struct err e;
    struct store_txn *t;
    assert_ok(open_new(o, PARTS, &e), &e);
    assert_ok(store_begin(&t, store, false, &e), &e);
    assert_ok(open_load(*o, t, &e), &e);
    store_abort(t);
    return open_count(*o);
}

static void test_store_holds_what_is_open_at_a_checkpoint(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("open");
    struct open_slates *o, *again;
    struct store *store;
    struct slate *s;
    struct err e;
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    assert_ok(open_new(&o, PARTS, &e), &e);
    assert_ok(slate_new(&s, &e), &e);
    for (uint64_t id = 1; id <= 300; id++) put(o, s, id);
    save(o, store);
    for (uint64_t id = 1; id <= 100; id++) check_taken(o, s, id);
    put(o, s, 301);
    check_taken(o, s, 301); /* came and went between two checkpoints */
    put(o, s, 302);
    assert_int_equal(load(&again, store), 300); /* nothing reaches the store in between */
    open_free(again);
    save(o, store);
    assert_int_equal(load(&again, store), 201);
    check_taken(again, s, 302);
    check_taken(again, s, 101);
    assert_int_equal(open_count(again), 199);
    open_free(again);
    open_free(o);
    slate_free(s);
    store_close(store);
    tmpdir_remove(&dir);
}

/* What the store gives under a slate's key must be that slate; one of number 0 would get lost in the table. */
static void test_another_slates_bytes_are_corrupt(void **state)
{
    (void)state;
    static const char keys[2][8] = {{0, 0, 0, 0, 0, 0, 0, 5}, {0}};
    const struct tmpdir dir = tmpdir_make("open");
    struct open_slates *o;
    struct open_predictions p = {0};
    struct slate *s;
    struct store *store;
    struct store_txn *t;
    struct buf b = {0};
    struct err e;
    assert_ok(open_new(&o, PARTS, &e), &e);
    assert_ok(slate_new(&s, &e), &e);
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    assert_ok(store_begin(&t, store, true, &e), &e);
    fill(s, 7, 1);
    slate_encode(&b, s);
    for (int i = 0; i < 4; i++) buf_f32(&b, 0);
    assert_ok(store_put(t, STORE_SLATE, (struct str){keys[0], 8}, (struct str){(const char *)b.p, b.n}, &e), &e);
    assert_ok(open_load(o, t, &e), &e);
    assert_int_equal(open_take(o, 5, s, &p, &e), STATUS_CORRUPT);
    assert_ok(store_put(t, STORE_SLATE, (struct str){keys[1], 8}, (struct str){(const char *)b.p, b.n}, &e), &e);
    assert_int_equal(open_load(o, t, &e), STATUS_CORRUPT);
    store_abort(t);
    store_close(store);
    buf_fini(&b);
    slate_free(s);
    open_free(o);
    tmpdir_remove(&dir);
}

static void test_new_survives_each_failed_allocation(void **state)
{
    (void)state;
    long met;
    struct open_slates *o = NULL;
    struct err e;
    FAIL_EACH_ALLOCATION(met, open_new(&o, PARTS, &e));
    assert_int_equal(met, 2);
    open_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slates_come_out_as_they_went_in),
        cmocka_unit_test(test_a_look_leaves_the_slate_and_a_cut_its_first_candidates),
        cmocka_unit_test(test_store_holds_what_is_open_at_a_checkpoint),
        cmocka_unit_test(test_another_slates_bytes_are_corrupt),
        cmocka_unit_test(test_new_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
