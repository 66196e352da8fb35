/* test_world.c - slates before their own event, protocol of orders, saving and loading, leaving and coming back.
 * labels: quick
 * timeout: 120
 */
#include "base/rand.h"
#include "featurize/world.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include "tests/support/tmpdir.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct err e;
static struct shop shop;
static struct tmpdir dir;
static struct store *store;

static int set_up(void **state)
{
    (void)state;
    dir = tmpdir_make("world");
    store = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_close(store);
    tmpdir_remove(&dir);
    return mem_live() == 0 ? 0 : -1;
}

static int64_t at(int day, int hour)
{
    return SHOP_START_MS + day * SHOP_DAY_MS + hour * INT64_C(3600000);
}

/* n items i0 … announced on that day. */
static void stock_on(struct shop *s, int n, int day)
{
    for (int i = 0; i < n; i++) {
        char id[16], title[32];
        (void)snprintf(id, sizeof id, "i%d", i);
        (void)snprintf(title, sizeof title, "thing number %d", i);
        shop_announce(s, id, title, at(day, 0));
    }
}

static void stock(struct shop *s, int n)
{
    stock_on(s, n, 0);
}

static void same_bytes(struct str a, struct str b)
{
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
}

/* ---- orders ---- */

static void test_an_order_is_scored_with_sampled_negatives(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 100);
    assert_true(shop_order(&shop, "ann", "i1,i2,i1", at(1, 0)));
    const struct slate *s = shop.slate;
    assert_int_equal(s->n_items, 2 + 2 * 4);
    for (uint32_t k = 0; k < s->n_items; k++) {
        const bool positive = k < 2;
        assert_true(s->items[k].label == (positive ? 1.0f : 0.0f));
        assert_int_equal((s->items[k].flags & SLATE_ITEM_SAMPLED) != 0, !positive);
        assert_true(s->items[k].flags & SLATE_ITEM_KNOWN);
        assert_true(s->items[k].flags & SLATE_ITEM_FIRST_TIME);
        assert_true(s->items[k].flags & SLATE_ITEM_COLD);
        assert_true(isfinite(s->items[k].log_kq));
        for (uint32_t j = 0; j < k; j++) assert_false(str_eq(s->items[j].id, s->items[k].id));
    }
    /* No sales yet: uniform over the 98 that may be drawn; k = 4. */
    assert_true(fabs((double)s->items[5].log_kq - log(4.0 / 98)) < 1e-5);
    assert_true(s->cold_user);
    const struct str packed = shop_slate_bytes(&shop); /* what is filled may wait in the store */
    struct buf_reader r = buf_reader(packed.p, packed.n);
    slate_reset(shop.slate);
    assert_ok(slate_decode(shop.slate, &r, &e), &e);
    same_bytes(packed, shop_slate_bytes(&shop));
    assert_int_equal(world_find_user(shop.world, STR("ann"))->n_slates, 1);
    assert_int_equal(world_find_item(shop.world, STR("i1"))->positives, 1);
    shop_close(&shop);
}

static void test_what_was_taken_that_day_is_neither_positive_nor_negative(void **state)
{
    (void)state;
    static const char *const options[] = {"join.negatives=50", NULL};
    shop_open(&shop, "uncased", options, NULL);
    stock(&shop, 40);
    assert_true(shop_order(&shop, "ann", "i1,i2", at(1, 1)));
    assert_true(shop_order(&shop, "ann", "i1,i3", at(1, 5)));
    assert_int_equal(shop_find(&shop, "i1"), -1);
    assert_int_equal(shop_find(&shop, "i2"), -1);
    assert_int_equal(shop_find(&shop, "i3"), 0);
    assert_int_equal(shop.slate->n_items, 38); /* all that is left of 40 */
    assert_false(shop_order(&shop, "ann", "i1", at(1, 6)));
    assert_true(shop_order(&shop, "ann", "i1", at(2, 1))); /* another day */
    assert_int_equal(shop_find(&shop, "i1"), 0);
    assert_false(shop.slate->items[0].flags & SLATE_ITEM_FIRST_TIME);
    assert_true(shop_find(&shop, "i2") > 0);
    struct event lines[2] = {shop_behaviour(&shop, EVENT_PURCHASE, "ann", "i5", at(3, 0)),
                             shop_behaviour(&shop, EVENT_PURCHASE, "ann", "i6", at(3, 0))};
    lines[0].joined = true; /* a shown list claims it: there it is a positive, so here it is neither */
    slate_reset(shop.slate);
    shop.slate->time_ms = at(3, 0);
    assert_ok(world_fill_organic(shop.world, shop.slate, lines, 2, lines[0].at, &e), &e);
    assert_true(shop_find(&shop, "i5") == -1 && shop_find(&shop, "i6") == 0 && shop.slate->n_items == 39);
    shop_close(&shop);
}

static void test_a_first_sale_announces_and_is_not_scored(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 10);
    assert_false(shop_order(&shop, "ann", "new", at(1, 0)));
    assert_non_null(world_find_item(shop.world, STR("new")));
    assert_true(world_find_item(shop.world, STR("new"))->first_ms == at(1, 0));
    assert_true(shop_order(&shop, "bob", "new,i3,newer", at(1, 1)));
    assert_int_equal(shop_find(&shop, "new"), 0);
    assert_int_equal(shop_find(&shop, "i3"), 1);
    assert_int_equal(shop_find(&shop, "newer"), -1);
    shop_close(&shop);
}

static void test_orders_without_a_user_only_count(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 10);
    assert_false(shop_order(&shop, NULL, "i1,i2", at(1, 0)));
    assert_int_equal(world_counts(shop.world)->users, 0);
    assert_true(shop_order(&shop, "ann", "i1", at(1, 1)));
    assert_true(fabs((double)shop_feature(&shop, 0, "item.purchase.all") - log1p(1)) < 1e-6);
    shop_close(&shop);
}

static void test_long_orders_are_cut_to_a_seeded_choice(void **state)
{
    (void)state;
    static const char *const options[] = {"join.max_positives=3", "join.negatives=30", NULL};
    unsigned chosen[8] = {0};
    shop_open(&shop, "uncased", options, NULL);
    stock(&shop, 20);
    for (int day = 1; day <= 200; day++) {
        assert_true(shop_order(&shop, "ann", "i0,i1,i2,i3,i4,i5,i6,i7", at(day, 0)));
        int before = -1;
        for (uint32_t k = 0; k < 3; k++) {
            const int i = shop.slate->items[k].id.p[1] - '0';
            assert_true(i > before && i < 8); /* kept in their order */
            chosen[before = i]++;
        }
        assert_true(shop.slate->items[3].label == 0.0f);
        for (uint32_t k = 3; k < shop.slate->n_items; k++) /* what was left out is no negative either */
            assert_true(shop.slate->items[k].id.n > 2 || shop.slate->items[k].id.p[1] >= '8');
        if (day % 20 == 0) stock_on(&shop, 20, day); /* stays active */
    }
    for (int i = 0; i < 8; i++) assert_true(chosen[i] > 45 && chosen[i] < 105); /* 75 expected, 6.8 deviation */
    shop_close(&shop);
}

static void test_deleted_and_long_unsold_items_are_no_candidates(void **state)
{
    (void)state;
    static const char *const options[] = {"join.negatives=50", NULL};
    shop_open(&shop, "uncased", options, NULL);
    stock(&shop, 6);
    struct event gone = shop_behaviour(&shop, 0, NULL, "i5", at(1, 0));
    gone.kind = EVENT_ITEM;
    gone.deleted = true;
    assert_ok(world_item(shop.world, &gone, &e), &e);
    assert_true(shop_order(&shop, "ann", "i1", at(27, 0)));
    assert_int_equal(shop_find(&shop, "i5"), -1);
    assert_int_equal(shop.slate->n_items, 5);
    shop_announce(&shop, "fresh", "a fresh one", at(27, 1));
    assert_true(shop_order(&shop, "ann", "fresh", at(28, 0)));
    assert_int_equal(shop.slate->n_items, 2); /* i1 was sold on day 27; the others were announced 28 days ago */
    assert_int_equal(shop_find(&shop, "i1"), 1);
    assert_false(shop_order(&shop, "ann", "i5", at(28, 1))); /* deleted: no positive either */
    shop_close(&shop);
}

static void test_a_deleted_item_that_is_shown_is_unknown(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 6);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i5", at(1, 0));
    struct event gone = shop_behaviour(&shop, 0, NULL, "i5", at(1, 0));
    gone.kind = EVENT_ITEM;
    shop_number(&shop, &gone, "price", 7);
    assert_ok(world_item(shop.world, &gone, &e), &e);
    shop_show(&shop, "bob", "i5,i1,stranger", at(2, 0));
    assert_true(shop_feature(&shop, 0, "item.known") == 1 && shop_feature(&shop, 0, "item.has_price") == 1);
    gone.deleted = true;
    assert_ok(world_item(shop.world, &gone, &e), &e);
    shop_show(&shop, "bob", "i5,i1,stranger", at(2, 0));
    const struct slate *s = shop.slate;
    const size_t row = s->n_numeric * sizeof *s->numeric;
    assert_memory_equal(s->numeric, s->numeric + 2 * s->n_numeric, row);
    assert_int_equal(s->items[0].sentence, s->items[2].sentence);
    assert_true(shop_feature(&shop, 0, "item.known") == 0 && shop_feature(&shop, 1, "item.known") == 1);
    gone.deleted = false;
    assert_ok(world_item(shop.world, &gone, &e), &e);
    shop_show(&shop, "bob", "i5", at(2, 0));
    assert_true(shop_feature(&shop, 0, "item.known") == 1);
    shop_close(&shop);
}

static void test_types_without_a_label_open_nothing_but_are_remembered(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 5);
    const struct event view = shop_behaviour(&shop, EVENT_VIEW, "ann", "i1", at(1, 0));
    slate_reset(shop.slate);
    shop.slate->time_ms = at(1, 0);
    assert_int_equal(world_fill_organic(shop.world, shop.slate, &view, 1, view.at, &e), STATUS_NOT_FOUND);
    assert_ok(world_take(shop.world, &view, 1, &e), &e);
    const struct record_user *u = world_find_user(shop.world, STR("ann"));
    assert_int_equal(u->n_events, 1);
    assert_int_equal(u->events[0].type, EVENT_VIEW);
    assert_int_equal(world_find_item(shop.world, STR("i1"))->positives, 0);
    shop_close(&shop);
}

/* ---- no leak from the label ---- */

static void test_title_and_price_of_a_positive_are_the_catalogues(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 10);
    struct event line = shop_behaviour(&shop, EVENT_PURCHASE, "ann", "i1", at(1, 0));
    shop_number(&shop, &line, "price", 10);
    assert_ok(world_take(shop.world, &line, 1, &e), &e);
    line = shop_behaviour(&shop, EVENT_PURCHASE, "bob", "i1", at(2, 0));
    shop_number(&shop, &line, "price", 99);
    shop_text(&shop, &line, "title", "the label's own title");
    slate_reset(shop.slate);
    shop.slate->time_ms = at(2, 0);
    assert_ok(world_fill_organic(shop.world, shop.slate, &line, 1, line.at, &e), &e);
    assert_true(fabs((double)shop_feature(&shop, 0, "item.price") - log1p(10)) < 1e-6);
    const uint64_t sentence = shop.slate->sentences[shop.slate->items[0].sentence].hash;
    assert_true(sentence == world_find_item(shop.world, STR("i1"))->sentence);
    assert_ok(world_take(shop.world, &line, 1, &e), &e); /* afterwards it is the catalogue's */
    assert_true(world_find_item(shop.world, STR("i1"))->price == 99.0f);
    assert_true(sentence != world_find_item(shop.world, STR("i1"))->sentence);
    shop_close(&shop);
}

static void test_nothing_of_an_order_is_counted_before_it_is_filled(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 10);
    for (int day = 1; day < 5; day++) {
        assert_true(shop_order(&shop, "ann", "i1,i2", at(day, 0)));
        const float count = shop_feature(&shop, 0, "item.purchase.all");
        assert_true(fabs((double)count - log1p(day - 1)) < 1e-6);
        assert_true(fabs((double)shop_feature(&shop, 1, "user_item.purchase.count") - log1p(day - 1)) < 1e-6);
        assert_int_equal(shop.slate->n_events, 2 * (day - 1));
    }
    shop_close(&shop);
}

/* ---- shown lists ---- */

static void test_impressions_keep_their_order_and_count_when_settled(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 10);
    for (int round = 0; round < 30; round++) {
        shop_show(&shop, "ann", "i3,stranger,i1,i2", at(1, round % 20));
        const struct slate *s = shop.slate;
        assert_int_equal(s->n_items, 4);
        assert_true(str_is(s->items[1].id, "stranger"));
        assert_false(s->items[1].flags & SLATE_ITEM_KNOWN);
        assert_true(isnan(s->items[0].label) && s->items[0].log_kq == 0.0f);
        for (uint32_t k = 0; k < 4; k++) s->items[k].label = k == 0 ? 1 : 0;
        shop.slate->settled_ms = s->time_ms + 1000;
        assert_ok(world_settled(shop.world, s, &e), &e);
    }
    shop_show(&shop, "ann", "i3,i1,i5,stranger", at(2, 0));
    assert_true(shop_feature(&shop, 0, "item.rate") > 0.5f);
    assert_true(shop_feature(&shop, 1, "item.rate") < -0.1f);
    assert_true(shop_feature(&shop, 2, "item.rate") == 0.0f); /* never shown */
    assert_true(shop_feature(&shop, 3, "item.rate") == 0.0f);
    assert_true(fabs((double)shop_feature(&shop, 0, "item.shown.all") - log1p(30)) < 1e-6);
    assert_false(shop.slate->cold_user);
    assert_int_equal(world_find_user(shop.world, STR("ann"))->n_slates, 30);
    shop_close(&shop);
}

static void test_strangers_are_told_by_the_impressions_fields(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 2);
    struct event carrier = shop_behaviour(&shop, 0, NULL, "x", at(1, 0));
    shop_text(&shop, &carrier, "title", "thing number 1");
    shop_number(&shop, &carrier, "price", 5);
    struct event ev = carrier;
    struct event_item items[2] = {{.item = STR("i1")}, {.item = STR("x"), .attrs = carrier.attrs, .n_attrs = 2}};
    ev.kind = EVENT_IMPRESSION;
    ev.items = items;
    ev.n_items = 2;
    slate_reset(shop.slate);
    shop.slate->time_ms = at(1, 0);
    assert_ok(world_fill_impression(shop.world, shop.slate, &ev, &e), &e);
    assert_int_equal(shop.slate->items[0].sentence, shop.slate->items[1].sentence);
    assert_true(fabs((double)shop_feature(&shop, 1, "item.price") - log1p(5)) < 1e-6);
    assert_false(shop.slate->items[1].flags & SLATE_ITEM_KNOWN);
    assert_null(world_find_item(shop.world, STR("x")));
    shop_close(&shop);
}

/* ---- bounds ---- */

static void test_a_full_catalogue_refuses_and_counts(void **state)
{
    (void)state;
    static const char *const options[] = {"catalogue.items=3", NULL};
    shop_open(&shop, "uncased", options, NULL);
    stock(&shop, 5);
    assert_int_equal(world_counts(shop.world)->items, 3);
    assert_int_equal(world_counts(shop.world)->refused_items, 2);
    struct event line = shop_behaviour(&shop, EVENT_PURCHASE, "ann", "i4", at(1, 0));
    shop_text(&shop, &line, "title", "thing number 1");
    assert_ok(world_take(shop.world, &line, 1, &e), &e);
    const struct record_user *u = world_find_user(shop.world, STR("ann"));
    assert_int_equal(u->n_events, 1);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i1", at(1, 1));
    assert_true(u->events[0].sentence == u->events[1].sentence); /* the same words: told by its own event */
    shop_close(&shop);
}

/* ---- saving ---- */

static void random_days(struct shop *s, int from, int to)
{
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = (uint64_t)from, .purpose = RAND_TEST});
    for (int day = from; day < to; day++) {
        for (int k = 0; k < 10; k++) {
            char user[16], items[64];
            (void)snprintf(user, sizeof user, "u%d", (int)rand_below(&r, 30));
            (void)snprintf(items, sizeof items, "i%d,i%d,n%d", (int)rand_below(&r, 50), (int)rand_below(&r, 20),
                           (int)rand_below(&r, (uint64_t)day + 1));
            (void)shop_order(s, user, items, at(day, 2 * k));
            shop_show(s, user, items, at(day, 2 * k));
            for (uint32_t i = 0; i < s->slate->n_items; i++) s->slate->items[i].label = i == 1;
            assert_ok(world_settled(s->world, s->slate, &e), &e);
        }
    }
}

static void last_slate(struct shop *s, struct str out[2])
{
    (void)shop_order(s, "u1", "i1,i2,i3", at(70, 0));
    out[0] = shop_slate_bytes(s);
    shop_show(s, "u2", "i1,i4,n3,nowhere", at(70, 1));
    out[1] = shop_slate_bytes(s);
}

static void test_a_reloaded_world_gives_the_same_bits(void **state)
{
    (void)state;
    struct shop straight;
    struct str want[2], got[2];
    shop_open(&straight, "uncased", NULL, NULL);
    stock(&straight, 50);
    random_days(&straight, 1, 40);
    random_days(&straight, 40, 70);
    last_slate(&straight, want);

    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, "uncased", NULL, store);
    stock(&shop, 50);
    random_days(&shop, 1, 40);
    shop_save(&shop);
    assert_int_equal(world_counts(shop.world)->dirty_bytes, 0);
    const uint64_t offset = shop.offset;
    shop_close(&shop);
    shop_open(&shop, "uncased", NULL, store);
    shop.offset = offset; /* names the random numbers */
    shop_load(&shop);
    assert_int_equal(world_counts(shop.world)->users_in_memory, 0);
    random_days(&shop, 40, 70);
    last_slate(&shop, got);
    same_bytes(want[0], got[0]);
    same_bytes(want[1], got[1]);
    assert_int_equal(world_counts(shop.world)->users, world_counts(straight.world)->users);
    shop_close(&shop);
    shop_close(&straight);
}

/* In the middle of a day: weights as of that day, exclusions of that day. */
static void test_a_resume_within_a_day_draws_the_same(void **state)
{
    (void)state;
    struct str want, got;
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, "uncased", NULL, store);
    stock(&shop, 50);
    random_days(&shop, 1, 20);
    shop_save(&shop);
    const uint64_t offset = shop.offset;
    (void)shop_order(&shop, "u3", "i7,i8,i9", at(19, 18));
    want = shop_slate_bytes(&shop);
    struct shop again;
    shop_open(&again, "uncased", NULL, store);
    again.offset = offset;
    shop_load(&again);
    (void)shop_order(&again, "u3", "i7,i8,i9", at(19, 18));
    got = shop_slate_bytes(&again);
    same_bytes(want, got);
    shop_close(&again);
    shop_close(&shop);
}

static void test_the_first_purchase_turns_what_the_sampler_weighs(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 5);
    shop_take(&shop, EVENT_CLICK, "ann", "i1", at(1, 0));
    assert_int_equal(world_find_item(shop.world, STR("i1"))->sample_weight, 65536);
    shop_take(&shop, EVENT_PURCHASE, "ann", "i2", at(1, 1));
    assert_int_equal(world_find_item(shop.world, STR("i1"))->sample_weight, 0);
    assert_int_equal(world_find_item(shop.world, STR("i2"))->sample_weight, 65536);
    shop_close(&shop);
}

static void test_users_leave_to_the_store_and_come_back(void **state)
{
    (void)state;
    static const char *const options[] = {"history.users=5", NULL};
    struct shop straight;
    struct str want[2], got[2];
    shop_open(&straight, "uncased", NULL, NULL);
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, "uncased", options, store);
    stock(&straight, 50);
    stock(&shop, 50);
    for (int day = 1; day < 40; day += 3) {
        random_days(&straight, day, day + 3);
        random_days(&shop, day, day + 3);
        shop_save(&shop);
        assert_true(world_counts(shop.world)->users_in_memory <= 5);
    }
    assert_true(world_counts(shop.world)->evicted > 50);
    last_slate(&straight, want);
    last_slate(&shop, got);
    same_bytes(want[0], got[0]);
    same_bytes(want[1], got[1]);
    assert_int_equal(world_counts(shop.world)->users, world_counts(straight.world)->users);
    shop_close(&shop);
    shop_close(&straight);
}

static void test_dirty_users_do_not_leave(void **state)
{
    (void)state;
    static const char *const options[] = {"history.users=5", NULL};
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, "uncased", options, store);
    stock(&shop, 5);
    for (int i = 0; i < 20; i++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", i);
        shop_take(&shop, EVENT_PURCHASE, user, "i1", at(1, i % 20));
    }
    assert_int_equal(world_counts(shop.world)->users_in_memory, 20);
    assert_true(world_counts(shop.world)->dirty_bytes > 0);
    shop_save(&shop);
    assert_int_equal(world_counts(shop.world)->users_in_memory, 5);
    assert_non_null(world_find_user(shop.world, STR("u0")));
    assert_null(world_find_user(shop.world, STR("u99")));
    shop_close(&shop);
}

static void test_other_templates_make_items_sentences_anew(void **state)
{
    (void)state;
    static const char *const options[] = {"describe.language=zh", NULL};
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, "uncased", NULL, store);
    struct event ev = shop_behaviour(&shop, 0, NULL, "i1", at(1, 0));
    ev.kind = EVENT_ITEM;
    shop_text(&shop, &ev, "title", "scarf");
    shop_text(&shop, &ev, "brand", "loom");
    assert_ok(world_item(shop.world, &ev, &e), &e);
    shop_save(&shop);
    const uint64_t before = world_find_item(shop.world, STR("i1"))->sentence;
    shop_close(&shop);
    shop_open(&shop, "uncased", options, store);
    shop_load(&shop);
    assert_true(world_find_item(shop.world, STR("i1"))->sentence != before);
    shop_close(&shop);
}

static void test_a_damaged_head_is_corrupt(void **state)
{
    (void)state;
    struct store_txn *t = NULL;
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, "uncased", NULL, store);
    stock(&shop, 3);
    shop_save(&shop);
    shop_close(&shop);
    shop_open(&shop, "uncased", NULL, store);
    assert_ok(store_begin(&t, store, true, &e), &e);
    assert_ok(store_delete(t, STORE_ITEM, STR("i1"), &e), &e);
    assert_ok(store_commit(t, &e), &e);
    assert_ok(store_begin(&t, store, false, &e), &e);
    assert_int_equal(world_load(shop.world, t, &e), STATUS_CORRUPT);
    store_abort(t);
    shop_close(&shop);
}

/* ---- changed records ---- */

struct handed {
    unsigned users, items, budget;
};
static enum status one(struct handed *h, unsigned *n)
{
    if (h->budget == 0) return STATUS_FULL;
    h->budget--;
    ++*n;
    return STATUS_OK;
}
static enum status one_user(void *arg, const struct record_user *u)
{
    assert_true(str_has(u->id));
    return one(arg, &((struct handed *)arg)->users);
}
static enum status one_item(void *arg, const struct record_item *i)
{
    assert_true(str_has(i->id));
    return one(arg, &((struct handed *)arg)->items);
}

static void test_each_changed_record_is_handed_out_once(void **state)
{
    (void)state;
    struct handed h = {.budget = 1000};
    shop_open(&shop, "uncased", NULL, NULL);
    stock(&shop, 7);
    for (int i = 0; i < 3; i++) shop_take(&shop, EVENT_PURCHASE, "ann", "i1", at(1, i));
    shop_take(&shop, EVENT_PURCHASE, "bob", "i2", at(1, 5));
    assert_true(world_has_changed(shop.world));
    assert_int_equal(world_each_changed(shop.world, one_user, one_item, &h, &e), STATUS_OK);
    assert_int_equal(h.items, 7);
    assert_int_equal(h.users, 2);
    assert_false(world_has_changed(shop.world));
    shop_take(&shop, EVENT_PURCHASE, "bob", "i2", at(1, 6));
    assert_int_equal(world_each_changed(shop.world, one_user, one_item, &h, &e), STATUS_OK);
    assert_int_equal(h.items, 8);
    assert_int_equal(h.users, 3);
    world_mark_all_changed(shop.world);
    h = (struct handed){.budget = 3};
    for (unsigned call = 0; call < 3; call++) { /* a full queue: the rest comes next time */
        const enum status st = world_each_changed(shop.world, one_user, one_item, &h, &e);
        assert_int_equal(st, call < 2 ? STATUS_FULL : STATUS_OK);
        h.budget = 3;
    }
    assert_int_equal(h.items, 7);
    assert_int_equal(h.users, 2);
    shop_close(&shop);
}

/* ---- memory ---- */

static void test_new_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct world *w = NULL;
    long met;
    shop_open(&shop, "uncased", NULL, NULL);
    FAIL_EACH_ALLOCATION(met, world_new(&w, shop.conf, shop.feat, NULL, &e));
    assert_true(met >= 1);
    world_free(w);
    shop_close(&shop);
}

/* Every allocation of a short life fails once: each time OOM with nothing lost, and the world can still be freed. */
static void test_a_short_life_survives_each_failing_allocation(void **state)
{
    (void)state;
    shop_open(&shop, "uncased", NULL, NULL);
    struct event item = shop_behaviour(&shop, 0, NULL, "a", at(0, 0));
    item.kind = EVENT_ITEM;
    shop_text(&shop, &item, "title", "one thing");
    shop_list(&shop, &item, "tags", "red,wool");
    struct event line = shop_behaviour(&shop, EVENT_PURCHASE, "ann", "a", at(1, 0));
    struct event other = shop_behaviour(&shop, EVENT_PURCHASE, "ann", "b", at(1, 0));
    shop_number(&shop, &other, "price", 3);
    const long before = mem_live();
    for (long n = 0;; n++) {
        struct world *w = NULL;
        assert_true(n < 1000);
        assert_ok(world_new(&w, shop.conf, shop.feat, NULL, &e), &e);
        mem_fail_after(n);
        enum status st = world_item(w, &item, &e);
        if (st == STATUS_OK) st = world_take(w, &line, 1, &e);
        if (st == STATUS_OK) st = world_take(w, &other, 1, &e);
        slate_reset(shop.slate);
        shop.slate->time_ms = at(2, 0);
        if (st == STATUS_OK) st = world_fill_organic(w, shop.slate, &line, 1, line.at, &e);
        mem_fail_after(-1);
        world_free(w);
        if (st == STATUS_OK) {
            assert_true(n > 15);
            break;
        }
        assert_int_equal(st, STATUS_OOM);
    }
    assert_true(mem_live() <= before + 8); /* blocks that the slate and the features keep for the next time */
    shop_close(&shop);
}

static void test_a_warm_world_allocates_nothing(void **state)
{
    (void)state;
    static const char *const options[] = {"history.events=10", NULL};
    shop_open(&shop, "uncased", options, NULL);
    stock(&shop, 30);
    struct event lines[3];
    for (int i = 0; i < 3; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "i%d", i);
        lines[i] = shop_behaviour(&shop, EVENT_PURCHASE, "ann", id, 0);
    }
    long warm = 0;
    for (int step = 0; step < 300; step++) {
        if (step == 100) warm = mem_total();
        for (int i = 0; i < 3; i++) lines[i].time_ms = at(1 + step / 12, 2 * (step % 12));
        slate_reset(shop.slate);
        shop.slate->time_ms = lines[2].time_ms;
        const struct event_position pos = {.offset = (uint64_t)step};
        const enum status st = world_fill_organic(shop.world, shop.slate, lines, 3, pos, &e);
        if (st != STATUS_NOT_FOUND) assert_ok(st, &e);
        assert_ok(world_settled(shop.world, shop.slate, &e), &e);
        assert_ok(world_take(shop.world, lines, 3, &e), &e);
    }
    assert_int_equal(mem_total(), warm);
    shop_close(&shop);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_an_order_is_scored_with_sampled_negatives),
        T(test_what_was_taken_that_day_is_neither_positive_nor_negative),
        T(test_a_first_sale_announces_and_is_not_scored),
        T(test_orders_without_a_user_only_count),
        T(test_long_orders_are_cut_to_a_seeded_choice),
        T(test_deleted_and_long_unsold_items_are_no_candidates),
        T(test_a_deleted_item_that_is_shown_is_unknown),
        T(test_types_without_a_label_open_nothing_but_are_remembered),
        T(test_title_and_price_of_a_positive_are_the_catalogues),
        T(test_nothing_of_an_order_is_counted_before_it_is_filled),
        T(test_impressions_keep_their_order_and_count_when_settled),
        T(test_strangers_are_told_by_the_impressions_fields),
        T(test_a_full_catalogue_refuses_and_counts),
        T(test_a_reloaded_world_gives_the_same_bits),
        T(test_a_resume_within_a_day_draws_the_same),
        T(test_the_first_purchase_turns_what_the_sampler_weighs),
        T(test_users_leave_to_the_store_and_come_back),
        T(test_dirty_users_do_not_leave),
        T(test_other_templates_make_items_sentences_anew),
        T(test_a_damaged_head_is_corrupt),
        T(test_each_changed_record_is_handed_out_once),
        T(test_new_survives_each_failing_allocation),
        T(test_a_short_life_survives_each_failing_allocation),
        T(test_a_warm_world_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
