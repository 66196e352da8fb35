/* test_cooccur.c - neighbour lists against exact counts, both bounded and not; decay; what counts as an order; the features.
 * labels: quick threads
 * timeout: 120
 */
#include "base/hash.h"
#include "base/rand.h"
#include "featurize/cooccur.h"
#include "featurize/world.h"
#include "tests/support/check.h"
#include "tests/support/shop.h"
#include "tests/support/tmpdir.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ITEMS = 60, LONGEST = 12 };
static struct err e;
static struct shop shop;

static int64_t at(int day, int minute)
{
    return SHOP_START_MS + day * SHOP_DAY_MS + minute * INT64_C(60000);
}

static void open_shop(const char *const *more)
{
    const char *options[8] = {"model.parts=numeric,cooccur"};
    for (int i = 0; more != NULL && more[i] != NULL; i++) options[i + 1] = more[i];
    shop_open(&shop, "uncased", options, NULL);
}

static const struct record_item *item(const char *id)
{
    const struct record_item *i = world_find_item(shop.world, str_from(id));
    assert_non_null(i);
    return i;
}

/* Orders in which b stands beside a, as a's list has it. */
static double together(const char *a, const char *b)
{
    const struct record_item *i = item(a);
    for (uint32_t k = 0; k < i->n_neighbours; k++)
        if (i->neighbours[k].item == (uint32_t)hash_str(str_from(b))) return (double)i->neighbours[k].together;
    return 0;
}

static double neighbours_orders(const char *a, const char *b)
{
    const struct record_item *i = item(a);
    for (uint32_t k = 0; k < i->n_neighbours; k++)
        if (i->neighbours[k].item == (uint32_t)hash_str(str_from(b))) return (double)i->neighbours[k].orders;
    return -1;
}

static void take(uint8_t type, const char *user, const char *items, int64_t time_ms)
{
    struct event lines[400];
    uint32_t n = 0;
    for (const char *p = items; *p != 0; p += strcspn(p, ","), p += *p == ',') {
        lines[n] = shop_behaviour(&shop, type, user, NULL, time_ms);
        lines[n++].item = arena_str(&shop.arena, (struct str){p, strcspn(p, ",")});
        assert_true(n < 400);
    }
    assert_ok(world_take(shop.world, lines, n, &e), &e);
}

/* ---- what counts ---- */

static void test_items_of_one_order_are_counted_both_ways(void **state)
{
    (void)state;
    open_shop(NULL);
    take(EVENT_PURCHASE, "ann", "a,b,a,c", at(0, 0));
    take(EVENT_PURCHASE, "bob", "a,b", at(0, 1));
    take(EVENT_PURCHASE, "bob", "a", at(0, 2)); /* alone: no order of several */
    assert_true(together("a", "b") == 2 && together("b", "a") == 2);
    assert_true(together("a", "c") == 1 && together("c", "a") == 1);
    assert_true(together("b", "c") == 1 && together("c", "b") == 1);
    assert_true(item("a")->orders == 2 && item("b")->orders == 2 && item("c")->orders == 1);
    assert_true(together("a", "a") == 0);
    assert_true(neighbours_orders("a", "b") == 2);
    assert_true(neighbours_orders("c", "b") == 1); /* as of their last order together */
    shop_close(&shop);
}

static void test_only_positive_orders_of_bounded_length_count(void **state)
{
    (void)state;
    char many[8 * (COOCCUR_ORDER_MAX + 2)] = "";
    size_t n = 0;
    open_shop((const char *const[]){"cooccur.neighbours=1024", NULL});
    take(EVENT_REFUND, "ann", "a,b", at(0, 0));
    take(EVENT_VIEW, "ann", "a,b", at(0, 1));
    shop_show(&shop, "ann", "a,b", at(0, 2));
    assert_int_equal(item("a")->n_neighbours, 0);
    take(EVENT_CART, NULL, "a,b", at(0, 3)); /* nobody's order tells as much */
    assert_int_equal(item("a")->n_neighbours, 1);
    for (int i = 0; i < COOCCUR_ORDER_MAX; i++)
        n += (size_t)snprintf(many + n, sizeof many - n, "%sm%d", i > 0 ? "," : "", i);
    take(EVENT_PURCHASE, "ann", many, at(1, 0));
    assert_int_equal(item("m7")->n_neighbours, COOCCUR_ORDER_MAX - 1);
    (void)snprintf(many + n, sizeof many - n, ",a");
    take(EVENT_PURCHASE, "ann", many, at(2, 0)); /* one too many */
    assert_int_equal(item("a")->n_neighbours, 1);
    assert_true(item("m7")->orders == 1);
    shop_close(&shop);
}

static void test_nothing_is_kept_without_the_part(void **state)
{
    (void)state;
    static const char *const options[] = {"model.parts=numeric", NULL};
    shop_open(&shop, "uncased", options, NULL);
    take(EVENT_PURCHASE, "ann", "a,b", at(0, 0));
    shop_show(&shop, "ann", "a,b", at(0, 2));
    assert_int_equal(item("a")->n_neighbours, 0);
    assert_true(shop.slate->items[0].cooccur[0] == 0);
    shop_close(&shop);
}

/* ---- exact counts ---- */

struct exact {
    double pair[ITEMS][ITEMS], own[ITEMS];
};

/* Orders in which neighbours by number tend to stand together, and small numbers more often. */
static uint32_t draw_order(struct rand *r, bool in[ITEMS])
{
    memset(in, 0, ITEMS * sizeof *in);
    const double u = rand_unit(r);
    const uint32_t first = (uint32_t)(u * u * ITEMS), n = 2 + (uint32_t)rand_below(r, LONGEST - 1);
    for (uint32_t k = 0; k < n; k++) {
        const bool near = rand_below(r, 4) != 0;
        const uint32_t i = near ? first + (uint32_t)rand_below(r, 4) : (uint32_t)rand_below(r, ITEMS);
        in[i % ITEMS] = true;
    }
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < ITEMS; i++) distinct += in[i];
    return distinct;
}

static void simulate(struct exact *x, uint32_t orders)
{
    struct rand r;
    bool in[ITEMS];
    rand_init(&r, (struct rand_key){.seed = 5, .purpose = RAND_TEST});
    memset(x, 0, sizeof *x);
    for (uint32_t o = 0; o < orders; o++) {
        char items[8 * ITEMS] = "", user[16];
        size_t n = 0;
        const bool several = draw_order(&r, in) > 1;
        for (uint32_t i = 0; i < ITEMS; i++) {
            if (!in[i]) continue;
            n += (size_t)snprintf(items + n, sizeof items - n, "%si%u", n > 0 ? "," : "", i);
            x->own[i] += several;
            for (uint32_t j = 0; j < ITEMS; j++) x->pair[i][j] += in[j] && j != i;
        }
        (void)snprintf(user, sizeof user, "u%u", o % 40);
        take(EVENT_PURCHASE, user, items, at((int)o / 100, (int)o % 100));
    }
}

static const char *name(uint32_t i)
{
    static char text[2][16];
    static int turn;
    turn = 1 - turn;
    (void)snprintf(text[turn], sizeof text[turn], "i%u", i);
    return text[turn];
}

static void test_long_lists_are_the_exact_counts(void **state)
{
    (void)state;
    static struct exact x;
    open_shop((const char *const[]){"cooccur.neighbours=60", NULL});
    simulate(&x, 600);
    for (uint32_t i = 0; i < ITEMS; i++) {
        assert_true(item(name(i))->orders == x.own[i]);
        for (uint32_t j = 0; j < ITEMS; j++) assert_true(together(name(i), name(j)) == x.pair[i][j]);
    }
    shop_close(&shop);
}

/* A fifth of the places: counts are never too large, and what stands out is not lost. */
static void test_short_lists_keep_what_is_frequent(void **state)
{
    (void)state;
    static struct exact x;
    double all = 0, kept = 0, worst = 1;
    open_shop((const char *const[]){"cooccur.neighbours=12", NULL});
    simulate(&x, 3000);
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct record_item *it = item(name(i));
        double most = 0;
        uint32_t first = 0;
        assert_int_equal(it->n_neighbours, 12);
        assert_true(it->orders == x.own[i]);
        for (uint32_t k = 1; k < it->n_neighbours; k++)
            assert_true(it->neighbours[k - 1].item < it->neighbours[k].item);
        for (uint32_t j = 0; j < ITEMS; j++) {
            const double c = together(name(i), name(j));
            assert_true(c <= x.pair[i][j]); /* never more than there was */
            all += x.pair[i][j];
            kept += c;
            if (x.pair[i][j] > most) most = x.pair[i][j], first = j;
        }
        const double share = together(name(i), name(first)) / most;
        worst = share < worst ? share : worst;
    }
    print_message("share of pair counts kept by 12 of %d neighbours: %.3f; of an item's first, at worst %.3f\n",
                  ITEMS - 1, kept / all, worst);
    assert_true(kept / all > 0.3 && worst > 0.8);
    shop_close(&shop);
}

/* A list that is full of what is frequent lets an item in that was not there when it was made. */
static void test_old_lists_take_new_neighbours(void **state)
{
    (void)state;
    open_shop((const char *const[]){"cooccur.neighbours=4", NULL});
    for (int o = 0; o < 50; o++) take(EVENT_PURCHASE, "x", o % 2 ? "a,b,c" : "a,d,e", at(0, o));
    assert_int_equal(item("a")->n_neighbours, 4);
    for (int o = 0; o < 400; o++) take(EVENT_PURCHASE, "x", o % 4 ? "a,c" : "a,new", at(1, o));
    assert_true(together("a", "new") > 50 && together("a", "c") == 325);
    assert_int_equal(item("a")->n_neighbours, 4);
    shop_close(&shop);
}

/* ---- features ---- */

static void is_near(float got, double want)
{
    if (fabs((double)got - want) > 1e-6) fail_msg("%.9g instead of %.9g", (double)got, want);
}

static void test_features_are_those_of_the_formula(void **state)
{
    (void)state;
    open_shop(NULL);
    take(EVENT_PURCHASE, "x", "a,b", at(0, 0));
    take(EVENT_PURCHASE, "y", "a,b,c", at(0, 1));
    take(EVENT_PURCHASE, "z", "a,d", at(0, 2));
    take(EVENT_CLICK, "ann", "b", at(1, 0)); /* history: c b, and a itself */
    take(EVENT_CLICK, "ann", "c", at(1, 1));
    take(EVENT_CLICK, "ann", "a", at(1, 2));
    shop_show(&shop, "ann", "a,d,stranger", at(2, 0));
    const struct slate *s = shop.slate;
    const double ab = 2 / (sqrt(3.0 * 2.0) + 3), ac = 1 / (sqrt(3.0 * 1.0) + 3), da = 1 / (sqrt(1.0 * 3.0) + 3);
    is_near(s->items[0].cooccur[0], log1p(20 * (ab + ac) / 3));
    is_near(s->items[0].cooccur[1], log1p(20 * ab));
    is_near(s->items[1].cooccur[0], log1p(20 * da / 3));
    is_near(s->items[1].cooccur[1], log1p(20 * da));
    assert_true(s->items[2].cooccur[0] == 0 && s->items[2].cooccur[1] == 0);
    shop_show(&shop, "nobody", "a,d", at(2, 1));
    assert_true(shop.slate->items[0].cooccur[0] == 0 && shop.slate->items[0].cooccur[1] == 0);
    shop_close(&shop);
}

static void test_an_order_is_scored_before_it_is_counted(void **state)
{
    (void)state;
    open_shop((const char *const[]){"join.negatives=1", NULL});
    for (int i = 0; i < 20; i++) shop_announce(&shop, name((uint32_t)i), "thing", at(0, i));
    assert_true(shop_order(&shop, "ann", "i1,i2", at(1, 0)));
    for (uint32_t k = 0; k < shop.slate->n_items; k++) assert_true(shop.slate->items[k].cooccur[0] == 0);
    assert_true(shop_order(&shop, "ann", "i2", at(2, 0)));
    is_near(shop.slate->items[0].cooccur[1], log1p(20 * (1 / (1 + 3.0))));
    shop_close(&shop);
}

static void test_counts_halve_by_the_day(void **state)
{
    (void)state;
    open_shop((const char *const[]){"cooccur.half_life_days=10", NULL});
    take(EVENT_PURCHASE, "x", "a,b", at(0, 0));
    take(EVENT_PURCHASE, "x", "a,b", at(10, 0));
    take(EVENT_PURCHASE, "x", "a,c", at(20, 0));
    assert_true(fabs(together("a", "b") - 0.75) < 1e-6);
    assert_true(fabs(item("a")->orders - 1.75) < 1e-12);
    assert_true(fabs(neighbours_orders("a", "b") - 0.75) < 1e-6);
    take(EVENT_PURCHASE, "x", "a,c", at(10, 0)); /* late: it weighs what is left of it */
    assert_true(fabs(together("a", "c") - 1.5) < 1e-6);
    assert_true(fabs(item("a")->orders - 2.25) < 1e-12);
    take(EVENT_CLICK, "ann", "b", at(21, 0));
    shop_show(&shop, "ann", "a", at(30, 0));
    const double both = 0.375, own = 0.5 * sqrt(2.25 * 0.75);
    is_near(shop.slate->items[0].cooccur[1], log1p(20 * both / (own + 3)));
    shop_close(&shop);
}

/* ---- state ---- */

static void test_lists_come_back_from_the_store(void **state)
{
    (void)state;
    static struct exact x;
    struct tmpdir dir = tmpdir_make("cooccur");
    struct store *store = NULL;
    static const char *const options[] = {"model.parts=numeric,cooccur", "cooccur.neighbours=12", NULL};
    assert_ok(store_open(&store, dir.path, false, &e), &e);
    shop_open(&shop, "uncased", options, store);
    simulate(&x, 100);
    shop_save(&shop);
    shop_show(&shop, "u3", "i1,i2,i3,i4,i5", at(90, 0));
    float before[5];
    for (int k = 0; k < 5; k++) before[k] = shop.slate->items[k].cooccur[0];
    assert_true(before[1] > 0);
    shop_close(&shop);
    shop_open(&shop, "uncased", options, store);
    shop_load(&shop);
    shop_show(&shop, "u3", "i1,i2,i3,i4,i5", at(90, 0));
    for (int k = 0; k < 5; k++) assert_true(shop.slate->items[k].cooccur[0] == before[k]);
    shop_close(&shop);
    store_close(store);
    tmpdir_remove(&dir);
}

/* ---- workers ---- */

enum { MANY = 100, ORDER = 40 };

/* Long orders, each followed by a long list that is shown: the lists' bits. */
static struct buf shown_after_long_orders(struct pool *pool)
{
    char text[8 * MANY];
    struct buf all = {0};
    struct rand r;
    open_shop((const char *const[]){"cooccur.neighbours=20", NULL});
    world_use_pool(shop.world, pool);
    rand_init(&r, (struct rand_key){7, 0, 0, 0, 0});
    for (int order = 0; order < 30; order++) {
        size_t n = 0;
        for (int k = 0; k < ORDER; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%sm%d", k > 0 ? "," : "", (int)rand_below(&r, MANY));
        take(EVENT_PURCHASE, "ann", text, at(order, 0));
        n = 0;
        for (int k = 0; k < MANY; k++) n += (size_t)snprintf(text + n, sizeof text - n, "%sm%d", k > 0 ? "," : "", k);
        shop_show(&shop, "ann", text, at(order, 1));
        const struct str bytes = shop_slate_bytes(&shop);
        buf_put(&all, bytes.p, bytes.n);
    }
    shop_close(&shop);
    assert_false(all.oom);
    return all;
}

static void test_workers_change_nothing(void **state)
{
    (void)state;
    struct pool *pool = NULL;
    assert_ok(pool_new(&pool, 3, false, &e), &e);
    struct buf alone = shown_after_long_orders(NULL), shared = shown_after_long_orders(pool);
    assert_int_equal(alone.n, shared.n);
    assert_memory_equal(alone.p, shared.p, alone.n);
    buf_fini(&alone);
    buf_fini(&shared);
    pool_free(pool);
}

static void test_counting_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct event lines[3];
    enum status st = STATUS_OOM;
    open_shop(NULL);
    take(EVENT_PURCHASE, "ann", "a,b", at(0, 0));
    for (int k = 0; k < 3; k++) {
        lines[k] = shop_behaviour(&shop, EVENT_PURCHASE, "ann", NULL, at(1, 0));
        lines[k].item = str_from((const char *const[]){"a", "b", "c"}[k]);
    }
    for (long n = 0; st == STATUS_OOM; n++) { /* each time further */
        mem_fail_after(n);
        st = world_take(shop.world, lines, 3, &e);
        mem_fail_after(-1);
        assert_true(st == STATUS_OK || (st == STATUS_OOM && n < 1000));
    }
    assert_true(together("a", "c") >= 1 && together("c", "b") >= 1);
    shop_close(&shop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_of_one_order_are_counted_both_ways),
        cmocka_unit_test(test_only_positive_orders_of_bounded_length_count),
        cmocka_unit_test(test_nothing_is_kept_without_the_part),
        cmocka_unit_test(test_long_lists_are_the_exact_counts),
        cmocka_unit_test(test_short_lists_keep_what_is_frequent),
        cmocka_unit_test(test_old_lists_take_new_neighbours),
        cmocka_unit_test(test_features_are_those_of_the_formula),
        cmocka_unit_test(test_an_order_is_scored_before_it_is_counted),
        cmocka_unit_test(test_counts_halve_by_the_day),
        cmocka_unit_test(test_lists_come_back_from_the_store),
        cmocka_unit_test(test_workers_change_nothing),
        cmocka_unit_test(test_counting_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
