/* test_dedupe.c - the window of remembered ids, and the hash table under the tables of this room. */
#include "tests/support/check.h"

#include "ingest/dedupe.h"
#include "ingest/order_map.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool seen(struct dedupe *d, const char *source, unsigned id)
{
    char text[32];
    (void)snprintf(text, sizeof text, "e%u", id);
    return dedupe_seen(d, str_from(source), str_from(text));
}

static struct dedupe *make(size_t ids)
{
    struct dedupe *d = NULL;
    struct err e = {0};
    assert_ok(dedupe_new(&d, ids, &e), &e);
    return d;
}

static void test_equal_source_and_id_is_a_duplicate(void **state)
{
    struct dedupe *d = make(100);
    (void)state;
    assert_false(seen(d, "web", 1));
    assert_true(seen(d, "web", 1));
    assert_false(seen(d, "app", 1)); /* another source */
    assert_false(seen(d, NULL, 1));
    assert_true(seen(d, NULL, 1));
    assert_false(seen(d, "web", 2));
    assert_false(dedupe_seen(d, STR("web"), (struct str){NULL, 0})); /* without an id never */
    assert_false(dedupe_seen(d, STR("web"), (struct str){NULL, 0}));
    assert_int_equal(dedupe_count(d), 4);
    dedupe_free(d);
}

static void test_the_window_forgets_the_oldest(void **state)
{
    struct dedupe *d = make(10);
    (void)state;
    for (unsigned i = 0; i < 10; i++) assert_false(seen(d, "s", i));
    assert_true(seen(d, "s", 0)); /* a repeat does not renew */
    assert_false(seen(d, "s", 10));
    assert_int_equal(dedupe_count(d), 10);
    for (unsigned i = 1; i <= 10; i++) assert_true(seen(d, "s", i));
    assert_false(seen(d, "s", 0));
    assert_false(seen(d, "s", 1));
    dedupe_free(d);
}

static void test_a_window_of_0_drops_nothing(void **state)
{
    struct dedupe *d = make(0);
    struct buf packed = {0};
    struct err e = {0};
    (void)state;
    assert_false(seen(d, "s", 1));
    assert_false(seen(d, "s", 1));
    dedupe_encode(&packed, d);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    assert_ok(dedupe_decode(d, &r, &e), &e);
    dedupe_free(d);
    buf_fini(&packed);
}

static void test_packed_window_goes_on(void **state)
{
    struct dedupe *d = make(50), *p = make(50), *smaller = make(20);
    struct buf packed = {0};
    struct err e = {0};
    (void)state;
    for (unsigned i = 0; i < 77; i++) (void)seen(d, "s", i);
    dedupe_encode(&packed, d);
    struct buf_reader r = buf_reader(packed.p, packed.n);
    assert_ok(dedupe_decode(p, &r, &e), &e);
    assert_int_equal(buf_left(&r), 0);
    for (unsigned i = 77; i < 100; i++) assert_int_equal(seen(d, "s", i), seen(p, "s", i));
    for (unsigned i = 0; i < 100; i++) assert_int_equal(seen(d, "s", i), seen(p, "s", i));
    r = buf_reader(packed.p, packed.n);
    assert_ok(dedupe_decode(smaller, &r, &e), &e);
    assert_true(seen(smaller, "s", 76) && seen(smaller, "s", 57));
    assert_false(seen(smaller, "s", 56));
    struct dedupe *cut = make(50);
    r = buf_reader(packed.p, packed.n - 1);
    assert_int_equal(dedupe_decode(cut, &r, &e), STATUS_CORRUPT);
    dedupe_free(cut);
    dedupe_free(d);
    dedupe_free(p);
    dedupe_free(smaller);
    buf_fini(&packed);
}

static void test_seeing_allocates_nothing(void **state)
{
    struct dedupe *d = make(1000);
    (void)state;
    const long total = mem_total();
    for (unsigned i = 0; i < 20000; i++) assert_false(seen(d, "s", i));
    assert_int_equal(mem_total(), total);
    dedupe_free(d);
}

/* Against a plain array, keys drawn to collide: puts, replacements and removals in every mixture. */
static void test_map_agrees_with_an_array(void **state)
{
    struct order_map m = {0};
    uint32_t model[512];
    uint32_t random = 12345;
    (void)state;
    memset(model, 0xff, sizeof model);
    for (int i = 0; i < 200000; i++) {
        random = random * 1664525u + 1013904223u;
        const uint32_t k = random >> 16 & 511;
        const uint64_t key = (uint64_t)(k & 7) | (uint64_t)(k >> 3) << 20; /* 8 home slots in a small table */
        if ((random >> 8 & 3) == 0) {
            order_map_remove(&m, key);
            model[k] = ORDER_MAP_NONE;
        } else {
            assert_true(order_map_put(&m, key, random >> 1));
            model[k] = random >> 1;
        }
        if (i % 64 == 0)
            for (uint32_t at = 0; at < 512; at++)
                assert_int_equal(order_map_get(&m, (uint64_t)(at & 7) | (uint64_t)(at >> 3) << 20), model[at]);
    }
    order_map_fini(&m);
}

static enum status make_once(void)
{
    struct dedupe *d = NULL;
    struct err e = {0};
    const enum status st = dedupe_new(&d, 100, &e);
    assert_true(st == STATUS_OK || (d == NULL && strstr(e.text, "ingest.dedupe_ids") != NULL));
    dedupe_free(d);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n = 0;
    (void)state;
    FAIL_EACH_ALLOCATION(n, make_once());
    assert_int_equal(n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_source_and_id_is_a_duplicate), cmocka_unit_test(test_the_window_forgets_the_oldest),
        cmocka_unit_test(test_a_window_of_0_drops_nothing),        cmocka_unit_test(test_packed_window_goes_on),
        cmocka_unit_test(test_seeing_allocates_nothing),           cmocka_unit_test(test_map_agrees_with_an_array),
        cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
