/* test_arena.c - alignment, zeroing, rewind, and that a warm loop allocates nothing. */
#include "base/arena.h"
#include "tests/support/check.h"
#include <string.h>

static void test_alloc_zeroed_aligned_apart(void **state)
{
    (void)state;
    struct arena a = {0};
    for (size_t i = 1; i < 300; i++) {
        unsigned char *p = arena_alloc(&a, i, 3), *q = arena_aligned(&a, i, 5);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_int_equal((uintptr_t)q % 64, 0);
        assert_true(q >= p + 3 * i || p >= q + 5 * i);
        for (size_t j = 0; j < 3 * i; j++) assert_int_equal(p[j], 0);
        for (size_t j = 0; j < 5 * i; j++) assert_int_equal(q[j], 0);
        memset(p, 0xff, 3 * i);
        memset(q, 0xff, 5 * i);
    }
    arena_fini(&a);
    assert_int_equal(mem_live(), 0);
}

/* what was dirtied before a rewind comes back zeroed, at the same place */
static void test_rewind_gives_the_same_place_zeroed(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 256);
    const struct arena_mark start = arena_save(&a);
    unsigned char *first = arena_alloc(&a, 10, 1);
    const struct arena_mark m = arena_save(&a);
    unsigned char *p = arena_alloc(&a, 100, 1);
    memset(p, 1, 100);
    (void)arena_alloc(&a, 5000, 1); /* into another block */
    arena_rewind(&a, m);
    unsigned char *q = arena_alloc(&a, 100, 1);
    assert_ptr_equal(p, q);
    for (int i = 0; i < 100; i++) assert_int_equal(q[i], 0);
    arena_rewind(&a, start);
    assert_ptr_equal(arena_alloc(&a, 10, 1), first);
    arena_fini(&a);
}

static void test_warm_loop_allocates_nothing(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1024);
    long total = 0;
    size_t bytes = 0;
    for (int round = 0; round < 1000; round++) {
        arena_reset(&a);
        for (size_t i = 0; i < 40; i++) assert_non_null(arena_raw(&a, (i * 7 + (size_t)round) % 97 + 1, 31));
        if (round == 200) total = mem_total(), bytes = arena_bytes(&a);
    }
    assert_int_equal(mem_total(), total);
    assert_int_equal(arena_bytes(&a), bytes);
    arena_fini(&a);
}

static void test_str_copies_with_nul(void **state)
{
    (void)state;
    struct arena a = {0};
    const struct str s = arena_str(&a, STR("a\0b"));
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "a\0b", 4);
    const struct str empty = arena_str(&a, (struct str){NULL, 0});
    assert_non_null(empty.p);
    assert_int_equal(empty.n, 0);
    arena_fini(&a);
}

static void test_failure_is_null_and_harmless(void **state)
{
    (void)state;
    struct arena a = {0};
    volatile size_t huge = SIZE_MAX / 2;
    assert_null(arena_alloc(&a, huge, 4));
    assert_null(arena_alloc(&a, huge, 2));
    assert_null(arena_str(&a, (struct str){"", SIZE_MAX}).p);
    mem_fail_after(0);
    assert_null(arena_alloc(&a, 1, 1));
    mem_fail_after(0);
    assert_null(arena_str(&a, STR("x")).p);
    mem_fail_after(-1);
    assert_non_null(arena_alloc(&a, 1, 1));
    mem_fail_after(0);
    assert_null(arena_raw(&a, 100000, 1));
    mem_fail_after(-1);
    assert_non_null(arena_alloc(&a, 1, 1));
    arena_fini(&a);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_zeroed_aligned_apart),   cmocka_unit_test(test_rewind_gives_the_same_place_zeroed),
        cmocka_unit_test(test_warm_loop_allocates_nothing),  cmocka_unit_test(test_str_copies_with_nul),
        cmocka_unit_test(test_failure_is_null_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
