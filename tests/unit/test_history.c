/* test_history.c - a user's record: order, bounds, pairs, mean price, memory.
 * labels: quick
 */
#include "base/hash.h"
#include "base/rand.h"
#include "featurize/history.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

static struct err e;
static struct conf *conf;
static struct counter_decay decay;
static struct record_user user;
static const struct history_limits small = {.events = 4, .pairs = 3};

static int set_up(void **state)
{
    (void)state;
    if (conf_new(&conf, &e) != STATUS_OK) return -1;
    return counter_init(&decay, conf, &e) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    record_user_fini(&user);
    conf_free(conf);
    return mem_live() == 0 ? 0 : -1;
}

static enum status take(uint64_t item, uint8_t type, int64_t time_ms, struct history_limits l)
{
    static const uint32_t tags[] = {11, 22};
    const int32_t ids[] = {2, (int32_t)item, 3};
    const struct history_event ev = {.item = item,
                                     .time_ms = time_ms,
                                     .type = type,
                                     .price = (double)item,
                                     .positive = true,
                                     .category = item % 2 + 1,
                                     .brand = 7,
                                     .ids = ids,
                                     .n_ids = (uint16_t)(item % 3 + 1),
                                     .tags = tags,
                                     .n_tags = (uint32_t)(item % 3)};
    return history_take(&user, &ev, &decay, l, &e);
}

static void test_the_newest_event_is_in_front_and_the_oldest_leaves(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 9; i++) assert_ok(take(i, EVENT_PURCHASE, (int64_t)i * 100, small), &e);
    assert_int_equal(user.n_events, 4);
    for (uint64_t i = 0; i < 4; i++) {
        const struct record_event *ev = &user.events[i];
        assert_int_equal(ev->item, 9 - i);
        assert_int_equal(ev->n_ids, (9 - i) % 3 + 1);
        assert_int_equal(ev->ids[0], 2);
        assert_true(ev->sentence == hash_bytes(ev->ids, ev->n_ids * sizeof *ev->ids));
        uint32_t tags[HISTORY_TAGS_MAX];
        assert_int_equal(history_tags(ev, tags), (9 - i) % 3);
    }
    assert_true(user.first_ms == 100 && user.last_ms == 900);
    assert_true(user.tallies[0].total == 9);
}

static void test_late_events_are_put_in_their_place(void **state)
{
    (void)state;
    static const int64_t times[] = {500, 100, 300, 300, 50, 400};
    for (uint64_t i = 0; i < 6; i++) assert_ok(take(i + 1, EVENT_CLICK, times[i], small), &e);
    static const uint64_t want[] = {1, 6, 4, 3}; /* of equal times the later arrival is in front */
    for (int i = 0; i < 4; i++) assert_int_equal(user.events[i].item, want[i]);
    assert_true(user.first_ms == 50 && user.last_ms == 500);
}

static void test_pairs_are_sorted_counted_and_bounded(void **state)
{
    (void)state;
    assert_ok(take(5, EVENT_PURCHASE, 100, small), &e);
    assert_ok(take(5, EVENT_CLICK, 200, small), &e);
    assert_ok(take(3, EVENT_PURCHASE, 300, small), &e);
    assert_ok(take(5, EVENT_PURCHASE, 400, small), &e);
    assert_ok(take(5, EVENT_PURCHASE, 350, small), &e); /* late: counts, but is not the last */
    assert_int_equal(history_pair(&user, 5, EVENT_PURCHASE)->count, 3);
    assert_true(history_pair(&user, 5, EVENT_PURCHASE)->last_ms == 400);
    assert_null(history_pair(&user, 4, EVENT_PURCHASE));
    assert_null(history_pair(&user, 5, EVENT_VIEW));
    assert_ok(take(9, EVENT_PURCHASE, 500, small), &e); /* a fourth: the one not met for longest goes */
    assert_int_equal(user.n_pairs, 3);
    assert_null(history_pair(&user, 5, EVENT_CLICK));
    assert_non_null(history_pair(&user, 3, EVENT_PURCHASE));
    assert_non_null(history_pair(&user, 9, EVENT_PURCHASE));
}

/* Against a plain list of everything that happened. */
static void test_pairs_agree_with_a_full_count(void **state)
{
    (void)state;
    enum { ITEMS = 40, TYPES = 3 };
    uint32_t count[ITEMS][TYPES] = {{0}};
    struct rand r;
    rand_init(&r, (struct rand_key){.purpose = RAND_TEST});
    const struct history_limits large = {.events = 50, .pairs = 1000};
    for (int i = 0; i < 2000; i++) {
        const uint64_t item = rand_below(&r, ITEMS), type = rand_below(&r, TYPES);
        count[item][type]++;
        assert_ok(take(item * 0x9E3779B97F4A7C15u, (uint8_t)type, i, large), &e);
    }
    for (uint64_t item = 0; item < ITEMS; item++)
        for (uint8_t type = 0; type < TYPES; type++) {
            const struct record_pair *p = history_pair(&user, item * 0x9E3779B97F4A7C15u, type);
            uint32_t n = 0, same = 0;
            const struct record_pair *of = history_pairs(&user, item * 0x9E3779B97F4A7C15u, &n);
            for (uint32_t k = 0; k < n; k++) same += &of[k] == p;
            assert_int_equal(same, p != NULL);
            assert_int_equal(p ? p->count : 0, count[item][type]);
        }
    assert_int_equal(user.n_events, 50);
}

static void test_only_known_positive_prices_make_the_mean(void **state)
{
    (void)state;
    struct history_event ev = {.item = 1, .positive = true, .price = NAN};
    assert_ok(history_take(&user, &ev, &decay, small, &e), &e);
    ev.price = 0;
    assert_ok(history_take(&user, &ev, &decay, small, &e), &e);
    ev.price = INFINITY;
    assert_ok(history_take(&user, &ev, &decay, small, &e), &e);
    assert_true(isnan(user.events[0].price)); /* records hold no infinity */
    ev.price = 3;
    ev.positive = false;
    assert_ok(history_take(&user, &ev, &decay, small, &e), &e);
    assert_true(user.price_n == 0);
    ev.positive = true;
    assert_ok(history_take(&user, &ev, &decay, small, &e), &e);
    assert_true(user.price_n == 1 && user.price_sum == log1p(3));
}

static void test_nothing_is_kept_where_the_bounds_are_zero(void **state)
{
    (void)state;
    const struct history_limits none = {0, 0};
    assert_ok(take(1, EVENT_PURCHASE, 1, none), &e);
    assert_int_equal(user.n_events + user.n_pairs, 0);
    assert_true(user.tallies[0].total == 1);
}

static void test_records_survive_packing(void **state)
{
    (void)state;
    struct buf b = {0};
    struct record_user back = {0};
    user.id = (struct str){mem_strdup("ann"), 3};
    for (uint64_t i = 1; i <= 6; i++) assert_ok(take(i, EVENT_PURCHASE, (int64_t)i, small), &e);
    record_user_encode(&b, &user);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(record_user_decode(&back, &r, &e), &e);
    const struct record_user kept = user;
    user = back; /* what was decoded takes more, and frees as well */
    assert_ok(take(7, EVENT_PURCHASE, 7, small), &e);
    assert_int_equal(user.events[0].item, 7);
    assert_int_equal(user.n_events, 4);
    back = user;
    user = kept;
    record_user_fini(&back);
    buf_fini(&b);
}

static void test_a_failing_allocation_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 12; i++) { /* empty, growing and full records alike */
        for (long n = 0;; n++) {
            assert_true(n < 20);
            const uint32_t events = user.n_events, pairs = user.n_pairs;
            const double total = user.n_tallies ? user.tallies[0].total : 0;
            mem_fail_after(n);
            const enum status st =
                take(i, EVENT_PURCHASE, (int64_t)i, (struct history_limits){.events = 6, .pairs = 7});
            mem_fail_after(-1);
            if (st == STATUS_OK) break;
            assert_int_equal(st, STATUS_OOM);
            assert_int_equal(user.n_events, events);
            assert_int_equal(user.n_pairs, pairs);
            assert_true((user.n_tallies ? user.tallies[0].total : 0) == total);
            for (uint32_t k = 0; k < events; k++) assert_int_equal(user.events[k].ids[0], 2);
        }
    }
}

/* The newer event's tag fits where the older one's stand, its ids do not. */
static void test_what_leaves_is_whole_until_all_finds_room(void **state)
{
    (void)state;
    static const uint32_t two[] = {1, 2}, one[] = {9};
    static const int32_t ids[] = {5, 6, 7};
    const struct history_limits limits = {.events = 1};
    struct history_event ev = {
        .item = 1, .time_ms = 1, .type = EVENT_VIEW, .ids = ids, .n_ids = 1, .tags = two, .n_tags = 2};
    assert_ok(history_take(&user, &ev, &decay, limits, &e), &e);
    ev = (struct history_event){
        .item = 2, .time_ms = 2, .type = EVENT_VIEW, .ids = ids, .n_ids = 3, .tags = one, .n_tags = 1};
    enum status st = STATUS_OOM;
    for (long n = 0; n < 20 && st == STATUS_OOM; n++) {
        mem_fail_after(n);
        st = history_take(&user, &ev, &decay, limits, &e);
        mem_fail_after(-1);
        if (st == STATUS_OOM) assert_memory_equal(user.events[0].words.p, two, sizeof two);
    }
    assert_ok(st, &e);
    assert_memory_equal(user.events[0].words.p, one, sizeof one);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_the_newest_event_is_in_front_and_the_oldest_leaves),
        T(test_late_events_are_put_in_their_place),
        T(test_pairs_are_sorted_counted_and_bounded),
        T(test_pairs_agree_with_a_full_count),
        T(test_only_known_positive_prices_make_the_mean),
        T(test_nothing_is_kept_where_the_bounds_are_zero),
        T(test_records_survive_packing),
        T(test_a_failing_allocation_changes_nothing),
        T(test_what_leaves_is_whole_until_all_finds_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
