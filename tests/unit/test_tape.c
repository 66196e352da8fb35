/* test_tape.c - memory of the tape: marks, merging, out of memory, and what is not recorded. */
#include "model/op.h"
#include "model/tape.h"
#include "tests/support/check.h"
#include <string.h>

static struct kern *kern;

static int setup(void **state)
{
    (void)state;
    return kern_new(&kern, "ref", NULL) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    kern_free(kern);
    return 0;
}

static void test_values_lie_apart_and_aligned(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, kern, true);
    const struct tape_value a = tape_new(&t, 3, 5, true), b = tape_new(&t, 0, 5, true), c = tape_new(&t, 2, 2, false);
    const float *const p[] = {a.x, a.dx, b.x, c.x};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal((uintptr_t)p[i] % 64, 0);
        for (size_t j = 0; j < i; j++) assert_ptr_not_equal(p[i], p[j]);
    }
    for (size_t i = 0; i < 15; i++) assert_float_equal(a.dx[i], 0.0f, 0.0f);
    assert_null(c.dx);
    const struct tape_value r = tape_rows(a, 1, 2);
    assert_ptr_equal(r.x, a.x + 5);
    assert_ptr_equal(r.dx, a.dx + 5);
    tape_fini(&t);
}

static void test_rewind_gives_memory_back(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, kern, false);
    const float *kept = tape_floats(&t, 100);
    const struct tape_mark m = tape_save(&t);
    const float *first = tape_floats(&t, 1000);
    assert_non_null(tape_floats(&t, (size_t)1 << 19)); /* another block */
    tape_rewind(&t, m);
    assert_ptr_equal(tape_floats(&t, 1000), first);
    assert_ptr_not_equal(kept, first);
    tape_fini(&t);
}

static void test_reset_merges_and_a_warm_tape_allocates_nothing(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, kern, true);
    for (int round = 0; round < 50; round++) {
        const long before = mem_total();
        tape_reset(&t);
        assert_true(t.first == NULL || t.first->next == NULL);
        for (int i = 0; i < 20; i++) {
            assert_non_null(tape_floats(&t, (size_t)50000 + (size_t)i * 1000));
            assert_non_null(tape_host(&t, 1000, 8));
        }
        if (round > 2) assert_int_equal(mem_total(), before);
    }
    tape_fini(&t);
}

/* Every allocation fails in turn: the values are empty, the status says so, a later round works. */
static void test_out_of_memory_is_said_once(void **state)
{
    (void)state;
    struct err e;
    const long live = mem_live();
    for (long n = 0;; n++) {
        struct tape t;
        tape_init(&t, kern, true);
        mem_fail_after(n);
        const struct tape_value a = tape_new(&t, 4, 300000, true);
        const struct tape_value y = op_add(&t, a, a);
        mem_fail_after(-1);
        const enum status st = tape_status(&t, &e);
        if (st == STATUS_OK) {
            assert_non_null(y.x);
            assert_true(n > 2);
            tape_fini(&t);
            break;
        }
        assert_int_equal(st, STATUS_OOM);
        assert_null(op_add(&t, y, y).x); /* from then on nothing works ... */
        tape_backward(&t);
        tape_reset(&t); /* ... until reset */
        assert_non_null(op_add(&t, tape_new(&t, 1, 1, true), tape_new(&t, 1, 1, true)).x);
        tape_fini(&t);
        assert_int_equal(mem_live(), live);
    }
    assert_int_equal(mem_live(), live);
}

static void test_sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, kern, true);
    assert_null(tape_new(&t, SIZE_MAX / 2, 3, true).x);
    assert_int_equal(tape_status(&t, NULL), STATUS_OOM);
    tape_fini(&t);
}

/* Nothing below a frozen boundary is recorded, nor anything when the tape does not record. */
static void test_only_what_wants_a_gradient_is_recorded(void **state)
{
    (void)state;
    struct tape t;
    float x[4] = {1, 2, 3, 4}, dx[4] = {0};
    const struct tape_value frozen = {x, NULL, 2, 2}, learnt = {x, dx, 2, 2};
    tape_init(&t, kern, true);
    assert_null(op_add(&t, frozen, frozen).dx);
    assert_null(t.last);
    assert_non_null(op_add(&t, frozen, learnt).dx);
    assert_non_null(t.last);
    assert_null(t.last->below);
    tape_reset(&t);
    t.record = false;
    assert_null(op_add(&t, learnt, learnt).dx);
    assert_null(t.last);
    tape_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_lie_apart_and_aligned),
        cmocka_unit_test(test_rewind_gives_memory_back),
        cmocka_unit_test(test_reset_merges_and_a_warm_tape_allocates_nothing),
        cmocka_unit_test(test_out_of_memory_is_said_once),
        cmocka_unit_test(test_sizes_that_overflow_are_refused),
        cmocka_unit_test(test_only_what_wants_a_gradient_is_recorded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
