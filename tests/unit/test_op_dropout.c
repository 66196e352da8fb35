/* test_op_dropout.c - the share that is kept, the scale, the same mask backward, and the same mask for the same key. */
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include <string.h>

static struct tape_value dropout(struct tape *t, const struct tape_value *in, void *user)
{
    struct rand r;
    (void)user;
    rand_init(&r, (struct rand_key){.seed = 3, .purpose = RAND_TEST});
    return op_dropout(t, in[0], 0.3f, &r);
}

static void test_dropout_gradients(void **state)
{
    (void)state;
    const struct gradient_input in[] = {{"x", 5, 7, 1, 0, false}};
    gradient_check_all(in, 1, dropout, NULL, 1e-2, 1e-3);
}

static void test_dropout_keeps_the_right_share(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float x[N];
    struct kern *k;
    struct tape t;
    for (size_t i = 0; i < N; i++) x[i] = 1.0f;
    assert_int_equal(kern_new(&k, "cpu", NULL), STATUS_OK);
    tape_init(&t, k, true);
    const struct tape_value in = {x, NULL, N, 1};
    const float *a = dropout(&t, &in, NULL).x, *b = dropout(&t, &in, NULL).x;
    size_t kept = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(a[i] == 0.0f || (a[i] > 1.0f / 0.7f - 1e-5f && a[i] < 1.0f / 0.7f + 1e-5f));
        kept += a[i] != 0.0f;
    }
    assert_in_range(kept, (size_t)(0.68 * N), (size_t)(0.72 * N));
    assert_memory_equal(a, b, sizeof x);
    tape_fini(&t);
    kern_free(k);
}

static void test_dropout_off_is_the_input_itself(void **state)
{
    (void)state;
    struct kern *k;
    struct tape t;
    struct rand r = {0};
    float x[4] = {1, 2, 3, 4};
    assert_int_equal(kern_new(&k, "ref", NULL), STATUS_OK);
    tape_init(&t, k, true);
    const struct tape_value in = {x, NULL, 2, 2};
    assert_ptr_equal(op_dropout(&t, in, 0.0f, &r).x, x);
    assert_ptr_equal(op_dropout(&t, in, 0.5f, NULL).x, x);
    tape_fini(&t);
    kern_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_gradients),
        cmocka_unit_test(test_dropout_keeps_the_right_share),
        cmocka_unit_test(test_dropout_off_is_the_input_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
