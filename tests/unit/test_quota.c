/* test_quota.c - never fewer than there were, hardly more, in fixed memory. */
#include "base/hash.h"
#include "tests/support/check.h"
#include "trainer/quota.h"

static struct quota *make(void)
{
    struct quota *q = NULL;
    struct err e = {0};
    assert_ok(quota_new(&q, &e), &e);
    return q;
}

static void test_a_key_is_never_counted_short_and_a_crowd_hardly_adds_to_it(void **state)
{
    struct quota *q = make();
    (void)state;
    for (uint64_t i = 0; i < 100000; i++) {
        quota_add(q, hash_mix(i % 20000, 3), 2);
        if (i % 100 == 0) quota_add(q, 42, 5);
    }
    assert_in_range(quota_count(q, 42), 5000, 5100);
    for (uint64_t k = 0; k < 20000; k++) assert_in_range(quota_count(q, hash_mix(k, 3)), 10, 100);
    quota_add(q, 43, UINT32_MAX);
    quota_add(q, 43, UINT32_MAX);
    assert_int_equal(quota_count(q, 43), UINT32_MAX);
    quota_clear(q);
    assert_int_equal(quota_count(q, 42), 0);
    quota_free(q);
}

static void test_state_holds_all_counts(void **state)
{
    struct quota *q = make(), *copy = make();
    struct buf b = {0};
    struct err e = {0};
    (void)state;
    for (uint64_t i = 0; i < 3000; i++) quota_add(q, hash_mix(i, 9), (uint32_t)i);
    quota_encode(&b, q);
    struct buf_reader r = buf_reader(b.p, b.n);
    assert_ok(quota_decode(copy, &r, &e), &e);
    for (uint64_t i = 0; i < 4000; i++)
        assert_int_equal(quota_count(q, hash_mix(i, 9)), quota_count(copy, hash_mix(i, 9)));
    r = buf_reader(b.p, b.n - 1);
    assert_int_equal(quota_decode(copy, &r, &e), STATUS_CORRUPT);
    buf_fini(&b);
    quota_free(q);
    quota_free(copy);
}

static enum status make_and_drop(void)
{
    struct quota *q;
    struct err e;
    const enum status st = quota_new(&q, &e);
    assert_true((q == NULL) == (st != STATUS_OK));
    quota_free(q);
    return st;
}

static void test_new_survives_a_failed_allocation(void **state)
{
    long met;
    (void)state;
    FAIL_EACH_ALLOCATION(met, make_and_drop());
    assert_int_equal(met, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_is_never_counted_short_and_a_crowd_hardly_adds_to_it),
        cmocka_unit_test(test_state_holds_all_counts),
        cmocka_unit_test(test_new_survives_a_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
