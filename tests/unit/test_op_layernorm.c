/* test_op_layernorm.c - residual and layer normalisation: every gradient against central differences. */
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"

static struct tape_value with_residual(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    return op_layernorm(t, in[0], in[1], in[2], in[3], 1e-5f);
}

static void test_layernorm_gradients(void **state)
{
    (void)state;
    const struct gradient_input in[] = {{"x", 3, 7, 1, 0, false},
                                        {"res", 3, 7, 1, 0.5f, false},
                                        {"gain", 1, 7, 0.5f, 1, false},
                                        {"bias", 1, 7, 0.5f, 0, false}};
    const struct gradient_input frozen[] = {{"x", 2, 20, 1, 0, false},
                                            {"res", 2, 20, 1, 0.5f, true},
                                            {"gain", 1, 20, 0.5f, 1, true},
                                            {"bias", 1, 20, 0.5f, 0, true}};
    gradient_check_all(in, 4, with_residual, NULL, 1e-2, 2e-3);
    gradient_check_all(frozen, 4, with_residual, NULL, 1e-2, 2e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layernorm_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
