/* test_sort.c - sort_stable against the C library's, all lengths to 300 with many equals; equals keep their order. */
#include "base/rand.h"
#include "base/sort.h"
#include "tests/support/check.h"
#include <stdlib.h>
#include <string.h>

struct thing {
    uint32_t key, index;
    double more;
};

static int by_key(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static int by_both(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;
    return x->key != y->key ? by_key(a, b) : x->index < y->index ? -1 : x->index > y->index;
}

static void test_equals_keep_their_order(void **state)
{
    (void)state;
    struct thing got[300], want[300], scratch[151];
    struct rand r;
    rand_init(&r, (struct rand_key){1, 0, 0, 0, RAND_TEST});
    for (size_t n = 0; n <= 300; n++) {
        for (size_t i = 0; i < n; i++)
            got[i] = want[i] = (struct thing){(uint32_t)rand_below(&r, 40), (uint32_t)i, 0.5 * (double)i};
        const struct thing guard = scratch[n / 2] = (struct thing){7, 7, 7};
        sort_stable(got, n, sizeof *got, by_key, scratch);
        qsort(want, n, sizeof *want, by_both);
        assert_memory_equal(got, want, n * sizeof *got);
        assert_memory_equal(&scratch[n / 2], &guard, sizeof guard); /* room for half of them was enough */
    }
}

static void test_sorted_and_reversed(void **state)
{
    (void)state;
    struct thing up[100], scratch[50];
    for (uint32_t i = 0; i < 100; i++) up[i] = (struct thing){100 - i, i, 0};
    for (int round = 0; round < 2; round++) {
        sort_stable(up, 100, sizeof *up, by_key, scratch);
        for (uint32_t i = 0; i < 100; i++) assert_int_equal(up[i].key, i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_keep_their_order),
        cmocka_unit_test(test_sorted_and_reversed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
