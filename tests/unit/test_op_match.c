/* test_op_match.c - late interaction: gradients, and the cases where a candidate is among the user's own events. */
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"
#include <math.h>

struct shape {
    size_t K, E;
    const uint8_t *self;
};

static struct tape_value match(struct tape *t, const struct tape_value *in, void *user)
{
    const struct shape *s = user;
    return op_match(t, in[0], in[1], in[2], s->self);
}

static void test_match_gradients(void **state)
{
    (void)state;
    static const uint8_t none[15],
        some[15] = {1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1}; /* the last has nothing left */
    const uint8_t *const selves[] = {none, some};
    for (int i = 0; i < 2; i++) {
        struct shape s = {3, 5, selves[i]};
        const struct gradient_input in[] = {
            {"s", 3, 5, 1, 0, false}, {"b", 5, 1, 1, 0, false}, {"tau", 2, 1, 0.5f, 3, false}};
        const struct gradient_input frozen[] = {
            {"s", 3, 5, 1, 0, true}, {"b", 5, 1, 1, 0, true}, {"tau", 2, 1, 0.5f, 3, false}};
        gradient_check_all(in, 3, match, &s, 5e-3, 2e-3);
        gradient_check_all(frozen, 3, match, &s, 5e-3, 2e-3);
    }
}

/* The formulas of MODEL.md on numbers small enough to do by hand. */
static void test_match_values(void **state)
{
    (void)state;
    struct kern *k;
    struct tape t;
    float s[2] = {0.5f, -0.25f}, b[2] = {0.0f, 1.0f}, tau[1] = {2.0f};
    const uint8_t self[2] = {0, 1};
    assert_int_equal(kern_new(&k, "cpu", NULL), STATUS_OK);
    tape_init(&t, k, false);
    const struct tape_value y = op_match(&t, (struct tape_value){s, NULL, 1, 2}, (struct tape_value){b, NULL, 2, 1},
                                         (struct tape_value){tau, NULL, 1, 1}, self);
    const double p = 1.0 / (1.0 + exp(1.0));                              /* softmax(b) of event 0 */
    assert_float_equal(y.x[0], (float)(p * 0.5 - (1 - p) * 0.25), 1e-6f); /* the candidate itself is included */
    assert_float_equal(y.x[1], 0.5f, 1e-6f);                              /* only event 0 is left */
    assert_float_equal(y.x[2], 1.0f, 0.0f);
    tape_fini(&t);
    kern_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match_gradients),
        cmocka_unit_test(test_match_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
