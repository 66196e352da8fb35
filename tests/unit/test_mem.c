/* test_mem.c - overflow, counting, injected failure and growth of the door to the heap. */
#include "tests/support/check.h"
#include <string.h>

static void test_blocks_are_zeroed_aligned_counted(void **state)
{
    (void)state;
    const long live = mem_live(), total = mem_total();
    unsigned char *a = mem_calloc(3, 7), *b = mem_aligned(5, 100);
    char *z = mem_strdup("abc"), *n = mem_strndup("a\0c", 3);
    void *nothing = mem_calloc(0, 8);
    assert_non_null(nothing);
    for (int i = 0; i < 21; i++) assert_int_equal(a[i], 0);
    for (int i = 0; i < 500; i++) assert_int_equal(b[i], 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    assert_string_equal(z, "abc");
    assert_memory_equal(n, "a\0c", 4);
    assert_int_equal(mem_live() - live, 5);
    assert_int_equal(mem_total() - total, 5);
    a = mem_realloc(a, 1000, 1);
    assert_non_null(a);
    assert_int_equal(mem_live() - live, 5);
    assert_int_equal(mem_total() - total, 6);
    mem_free(a), mem_free(b), mem_free(z), mem_free(n), mem_free(nothing), mem_free(NULL);
    assert_int_equal(mem_live(), live);
}

static void test_overflow_is_refused(void **state)
{
    (void)state;
    const long live = mem_live();
    volatile size_t huge = SIZE_MAX / 2; /* volatile: the compiler must not see it coming */
    assert_null(mem_calloc(huge, 3));
    assert_null(mem_calloc(huge / 2 + 3, 4)); /* the product wraps round to a few bytes */
    assert_null(mem_aligned(huge / 2 + 3, 4));
    assert_null(mem_realloc(NULL, huge / 2 + 3, 4));
    assert_null(mem_aligned(huge, 4));
    assert_null(mem_realloc(NULL, huge + 2, 1));
    assert_null(mem_strndup("x", huge * 2 + 1));
    assert_int_equal(mem_live(), live);
}

static void test_fail_after_fails_once(void **state)
{
    (void)state;
    mem_fail_after(1);
    void *a = mem_calloc(1, 1), *b = mem_aligned(1, 1), *c = mem_calloc(1, 1);
    mem_fail_after(-1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    mem_fail_after(0);
    void *d = mem_realloc(a, 50, 1);
    mem_fail_after(-1);
    assert_null(d); /* a is still ours */
    mem_free(a);
    mem_free(c);
}

static void test_grow_doubles_and_keeps_on_failure(void **state)
{
    (void)state;
    void *p = NULL;
    size_t cap = 0;
    assert_int_equal(mem_grow(&p, &cap, 3, 4), 0);
    assert_int_equal(cap, 8);
    memset(p, 7, 32);
    assert_int_equal(mem_grow(&p, &cap, 9, 4), 0);
    assert_int_equal(cap, 16);
    assert_int_equal(((unsigned char *)p)[31], 7);
    void *const before = p;
    assert_int_equal(mem_grow(&p, &cap, 16, 4), 0);
    assert_ptr_equal(p, before);
    mem_fail_after(0);
    assert_int_equal(mem_grow(&p, &cap, 17, 4), -1);
    mem_fail_after(-1);
    assert_int_equal(mem_grow(&p, &cap, SIZE_MAX / 2, 4), -1);
    assert_ptr_equal(p, before);
    assert_int_equal(cap, 16);
    mem_free(p);
}

static void test_a_typed_pointer_grows_alike(void **state)
{
    (void)state;
    uint16_t *p = NULL;
    size_t cap = 0;
    assert_int_equal(MEM_GROW(p, &cap, 9), 0);
    assert_int_equal(cap, 9);
    p[8] = 7;
    const uint16_t *before = p;
    mem_fail_after(0);
    assert_int_equal(MEM_GROW(p, &cap, 10), -1);
    mem_fail_after(-1);
    assert_true(p == before && cap == 9 && p[8] == 7);
    assert_int_equal(MEM_GROW(p, &cap, 10), 0);
    assert_true(cap == 18 && p[8] == 7);
    mem_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_zeroed_aligned_counted),
        cmocka_unit_test(test_overflow_is_refused),
        cmocka_unit_test(test_fail_after_fails_once),
        cmocka_unit_test(test_grow_doubles_and_keeps_on_failure),
        cmocka_unit_test(test_a_typed_pointer_grows_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
