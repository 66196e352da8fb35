/* test_kern.c - making backends, what they say of themselves, and sizes of probabilities. */
#include "kernels/kern.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

static void test_unknown_and_absent_backends_say_why(void **state)
{
    (void)state;
    struct kern *k = (void *)1;
    struct err e = {0};
    assert_int_equal(kern_new(&k, "tpu", &e), STATUS_INVALID);
    assert_null(k);
    assert_non_null(strstr(e.text, "tpu"));
    assert_int_equal(kern_new(&k, "cuda", &e), STATUS_UNSUPPORTED);
    assert_non_null(strstr(e.text, "cuda"));
    assert_int_equal(kern_new(&k, "cpu-neon", &e), STATUS_UNSUPPORTED);
    assert_non_null(strstr(e.text, "cpu-neon"));
    kern_free(NULL);
}

static void test_backends_describe_themselves(void **state)
{
    (void)state;
    struct kern *k;
    struct err e = {0};
    assert_ok(kern_new(&k, "cpu", &e), &e);
    assert_string_equal(k->ops->name, "cpu");
    assert_true(k->ops->host_visible);
    assert_non_null(strstr(kern_describe(k), "cpu ("));
    kern_free(k);
    assert_ok(kern_new(&k, "cpu-base", &e), &e);
    assert_non_null(strstr(kern_describe(k), "OpenBLAS 0."));
    kern_free(k);
    assert_ok(kern_new(&k, "ref", &e), &e);
    assert_non_null(strstr(kern_describe(k), "ref"));
    kern_free(k);
}

/* A table with a hole would crash its caller. */
static void test_every_operation_is_there(void **state)
{
    (void)state;
    static const char *const names[] = {"ref", "cpu", "cpu-base"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct kern *k;
        struct err e = {0};
        assert_ok(kern_new(&k, names[i], &e), &e);
        void (*const *entry)(void) =
            (void (*const *)(void))(const void *)((const char *)k->ops + offsetof(struct kern_ops, open));
        const size_t n = (sizeof *k->ops - offsetof(struct kern_ops, open)) / sizeof *entry;
        const size_t may_be_null[] = {offsetof(struct kern_ops, stack), offsetof(struct kern_ops, adamw_product)};
        for (size_t f = 0; f < n; f++) {
            const size_t at = offsetof(struct kern_ops, open) + f * sizeof *entry;
            assert_true(entry[f] != NULL || at == may_be_null[0] || at == may_be_null[1]);
        }
        kern_free(k);
    }
}

static enum status make(const char *name)
{
    struct kern *k;
    struct err e = {0};
    const enum status st = kern_new(&k, name, &e);
    if (st == STATUS_OK)
        kern_free(k);
    else
        assert_null(k);
    return st;
}

static void test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    long met;
    FAIL_EACH_ALLOCATION(met, make("ref"));
    assert_int_equal(met, 2);
    FAIL_EACH_ALLOCATION(met, make("cpu"));
    assert_int_equal(met, 3);
}

static void test_memory_is_aligned_and_zeroed(void **state)
{
    (void)state;
    struct kern *k;
    struct err e = {0};
    assert_ok(kern_new(&k, "cpu", &e), &e);
    unsigned char *p = k->ops->alloc(k, 1000), copy[1000];
    assert_int_equal((uintptr_t)p % 64, 0);
    k->ops->download(k, copy, p, sizeof copy);
    for (size_t i = 0; i < sizeof copy; i++) assert_int_equal(copy[i], 0);
    memset(copy, 7, sizeof copy);
    k->ops->upload(k, p, copy, sizeof copy);
    assert_memory_equal(p, copy, sizeof copy);
    k->ops->release(k, p);
    mem_fail_after(0);
    assert_null(k->ops->alloc(k, 64));
    mem_fail_after(-1);
    kern_free(k);
}

static void test_probability_sizes(void **state)
{
    (void)state;
    const int32_t q[] = {0, 2, 2, 5}, k[] = {0, 3, 7, 8};
    const int32_t groups[] = {0, 1, 3}, prefix[] = {0, 4, 5};
    const struct kern_segments s = {3, q, k, 2, groups, prefix, KERN_F32};
    assert_int_equal(kern_attention_probs(&s, 3), 3 * (2 * 7 + 0 * 5 + 3 * 2));
    const struct kern_segments none = {.n = 0, .q_off = q, .k_off = k};
    assert_int_equal(kern_attention_probs(&none, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_and_absent_backends_say_why),
        cmocka_unit_test(test_backends_describe_themselves),
        cmocka_unit_test(test_every_operation_is_there),
        cmocka_unit_test(test_each_failing_allocation_is_survived),
        cmocka_unit_test(test_memory_is_aligned_and_zeroed),
        cmocka_unit_test(test_probability_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
