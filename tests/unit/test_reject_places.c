/* test_reject_places.c - a set of places: members are found, nothing else is, and the packed form reads back.
 * labels: quick
 */
#include "tests/support/check.h"

#include "ingest/reject_places.h"

static struct reject_places set;

static void test_members_are_found_and_others_are_not(void **state)
{
    struct err e = {0};
    (void)state;
    assert_false(reject_places_has(&set, 7));
    for (uint64_t i = 0; i < 10000; i++) assert_ok(reject_places_add(&set, reject_place(STR("t"), 3, i), &e), &e);
    for (uint64_t i = 0; i < 10000; i++) {
        assert_ok(reject_places_add(&set, reject_place(STR("t"), 3, i), &e), &e); /* once is enough */
        assert_true(reject_places_has(&set, reject_place(STR("t"), 3, i)));
        assert_false(reject_places_has(&set, reject_place(STR("t"), 4, i)));
        assert_false(reject_places_has(&set, reject_place(STR("u"), 3, i)));
        assert_false(reject_places_has(&set, reject_place(STR("t"), 3, i + 10000)));
    }
    assert_int_equal(set.n, 10000);
    assert_true(set.n <= set.n_slots / 4 * 3);
    assert_ok(reject_places_add(&set, 0, &e), &e); /* no place */
    assert_false(reject_places_has(&set, 0));
    assert_int_equal(set.n, 10000);
}

static void test_the_packed_form_reads_back(void **state)
{
    struct reject_places back = {0};
    struct buf b = {0};
    struct err e = {0};
    (void)state;
    reject_places_encode(&b, &set);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(reject_places_decode(&back, &r, &e), &e);
    assert_int_equal(back.n, 10000);
    for (uint64_t i = 0; i < 10000; i++) assert_true(reject_places_has(&back, reject_place(STR("t"), 3, i)));
    reject_places_fini(&back);
    for (size_t cut = 0; cut < b.n; cut += cut < 20 ? 1 : 4001) { /* never a set that looks whole */
        r = buf_reader(b.p, cut);
        assert_int_equal(reject_places_decode(&back, &r, &e), STATUS_CORRUPT);
        reject_places_fini(&back);
    }
    b.p[0] = 9;
    r = buf_reader(b.p, b.n);
    assert_int_equal(reject_places_decode(&back, &r, &e), STATUS_CORRUPT);
    buf_fini(&b);
}

static enum status fill(void)
{
    struct reject_places s = {0};
    enum status st = STATUS_OK;
    for (uint64_t i = 1; i < 500 && st == STATUS_OK; i++) st = reject_places_add(&s, i, NULL);
    reject_places_fini(&s);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n;
    (void)state;
    FAIL_EACH_ALLOCATION(n, fill());
    assert_true(n >= 4);
}

static int teardown(void **state)
{
    (void)state;
    reject_places_fini(&set);
    return mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_found_and_others_are_not),
        cmocka_unit_test(test_the_packed_form_reads_back),
        cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
