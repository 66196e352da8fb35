/* test_join_heap.c - entries come out by time, then by slate, whatever the order they went in. */
#include "base/rand.h"
#include "ingest/join_heap.h"
#include "tests/support/check.h"

static void test_entries_come_out_in_order(void **state)
{
    (void)state;
    struct join_heap h = {0};
    struct rand r;
    rand_init(&r, (struct rand_key){.seed = 1, .purpose = RAND_TEST});
    for (uint64_t round = 0, slate = 1; round < 200; round++) {
        const size_t pushes = (size_t)rand_below(&r, 40);
        assert_true(join_heap_reserve(&h, h.n + pushes));
        for (size_t i = 0; i < pushes; i++)
            join_heap_push(&h, (struct join_due){(int64_t)rand_below(&r, 9), slate++, (uint32_t)i});
        struct join_due last = {INT64_MIN, 0, 0};
        for (size_t pops = (size_t)rand_below(&r, h.n + 1); pops > 0; pops--) {
            const struct join_due d = join_heap_pop(&h);
            assert_true(join_due_before(&last, &d));
            last = d;
        }
    }
    join_heap_fini(&h);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_entries_come_out_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
