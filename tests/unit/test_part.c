/* test_part.c - what parts share: sparse gradients by row, age buckets, widening of bf16. */
#include "base/bf16.h"
#include "model/part.h"
#include "tests/support/check.h"
#include <math.h>
#include <string.h>

static void test_rows_keep_order_of_first_touch_and_sum(void **state)
{
    (void)state;
    struct part_rows r = {.width = 1};
    struct err e;
    assert_ok(part_rows_reserve(&r, 4, &e), &e);
    const uint32_t touched[] = {900, 3, 900, UINT32_MAX - 1, 3, 900};
    for (size_t i = 0; i < 6; i++) part_rows_add(&r, touched[i], &(float){(float)(i + 1)});
    assert_int_equal(r.n, 3);
    assert_int_equal(r.rows[0], 900);
    assert_int_equal(r.rows[1], 3);
    assert_int_equal(r.rows[2], UINT32_MAX - 1);
    assert_float_equal(r.grads[0], 1 + 3 + 6, 0.0f);
    assert_float_equal(r.grads[1], 2 + 5, 0.0f);
    part_rows_fini(&r);
}

/* A row of three columns is summed column by column, and is zero again after a clear. */
static void test_rows_of_several_columns(void **state)
{
    (void)state;
    struct part_rows r = {.width = 3};
    struct err e;
    for (int round = 0; round < 2; round++) {
        assert_ok(part_rows_reserve(&r, 3, &e), &e);
        part_rows_add(&r, 5, (const float[]){1, 2, 3});
        part_rows_add(&r, 0, (const float[]){4, 5, 6});
        part_rows_add(&r, 5, (const float[]){10, 20, 30});
        const float want[] = {11, 22, 33, 4, 5, 6};
        assert_int_equal(r.n, 2);
        assert_int_equal(r.rows[0], 5);
        assert_memory_equal(r.grads, want, sizeof want);
        part_rows_clear(&r);
    }
    part_rows_fini(&r);
}

/* Against a plain array, through growth and through both ways of clearing. */
static void test_rows_agree_with_an_array(void **state)
{
    (void)state;
    enum { ROWS = 4096 };
    static float want[ROWS];
    struct part_rows r = {.width = 1};
    struct err e;
    struct rand rnd;
    rand_init(&rnd, (struct rand_key){.purpose = RAND_TEST});
    const size_t sizes[] = {10, 3000, 5, 200, 20000, 1, 40};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        memset(want, 0, sizeof want);
        for (size_t i = 0; i < sizes[k]; i++) {
            const uint32_t row = (uint32_t)rand_below(&rnd, ROWS);
            const float g = (float)((double)rand_below(&rnd, 16) - 7.5);
            assert_ok(part_rows_reserve(&r, 1, &e), &e);
            part_rows_add(&r, row, &g);
            want[row] += g;
        }
        for (size_t i = 0; i < r.n; i++) {
            assert_float_equal(r.grads[i], want[r.rows[i]], 0.0f);
            want[r.rows[i]] = 0;
        }
        for (size_t i = 0; i < ROWS; i++) assert_float_equal(want[i], 0.0f, 0.0f);
        part_rows_clear(&r);
        for (size_t i = 0; i < r.n_slots; i++) assert_int_equal(r.slots[i], 0);
    }
    part_rows_fini(&r);
}

static enum status reserve_and_drop(void)
{
    struct part_rows r = {.width = 1};
    const enum status st = part_rows_reserve(&r, 5000, NULL);
    part_rows_fini(&r);
    return st;
}

static void test_rows_survive_each_failing_allocation(void **state)
{
    (void)state;
    long met;
    FAIL_EACH_ALLOCATION(met, reserve_and_drop());
    assert_int_equal(met, 3);
}

static void test_age_buckets(void **state)
{
    (void)state;
    static const struct {
        float minutes;
        int bucket;
    } cases[] = {{0, 0},  {-1, 0},   {NAN, 0},   {1.8f, 0},    {1.9f, 1},  {6.9f, 1},     {7.1f, 2},
                 {60, 3}, {1440, 6}, {10080, 8}, {525600, 12}, {1e7f, 15}, {INFINITY, 15}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(part_age_bucket(cases[i].minutes), cases[i].bucket);
}

static void test_widening_is_that_of_the_kernels(void **state)
{
    (void)state;
    const float x[] = {0.0f, -1.5f, 3.14159f, 1e-20f, -7e30f};
    for (size_t i = 0; i < 5; i++) {
        const uint16_t h = bf16_from(x[i]);
        float y;
        part_widen(&y, &h, 1);
        assert_float_equal(y, bf16_to(h), 0.0f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_keep_order_of_first_touch_and_sum),
        cmocka_unit_test(test_rows_of_several_columns),
        cmocka_unit_test(test_rows_agree_with_an_array),
        cmocka_unit_test(test_rows_survive_each_failing_allocation),
        cmocka_unit_test(test_age_buckets),
        cmocka_unit_test(test_widening_is_that_of_the_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
