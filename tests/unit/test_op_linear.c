/* test_op_linear.c - products with learnt weights and between values: every gradient against central differences. */
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"

struct shape {
    size_t N, I, O;
    enum kern_act act;
    bool bias;
};

static struct tape_value linear(struct tape *t, const struct tape_value *in, void *user)
{
    const struct shape *s = user;
    const struct op_matrix w = {
        {.w = in[1].x, .out = s->O, .in = s->I}, s->bias ? in[2].x : NULL, in[1].dx, s->bias ? in[2].dx : NULL, NULL};
    return op_linear(t, in[0], &w, s->act);
}

static void test_linear_gradients(void **state)
{
    (void)state;
    const struct shape shapes[] = {{3, 5, 4, KERN_ACT_NONE, true}, {1, 7, 1, KERN_ACT_NONE, false},
                                   {4, 3, 6, KERN_ACT_GELU, true}, {2, 17, 5, KERN_ACT_GELU_NEW, true},
                                   {5, 4, 3, KERN_ACT_GELU, true}, {0, 4, 3, KERN_ACT_NONE, true}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct shape s = shapes[i];
        const struct gradient_input in[] = {
            {"x", s.N, s.I, 1, 0, false}, {"w", s.O, s.I, 1, 0, false}, {"b", 1, s.O, 1, 0, false}};
        gradient_check_all(in, s.bias ? 3 : 2, linear, &s, 1e-2, 1e-3);
    }
}

/* relu is tested away from its corner: all sums stay positive or negative over the step */
static void test_linear_relu_gradients(void **state)
{
    (void)state;
    struct shape s = {3, 2, 3, KERN_ACT_RELU, true};
    const struct gradient_input up[] = {
        {"x", 3, 2, 0.2f, 1, false}, {"w", 3, 2, 0.2f, 1, false}, {"b", 1, 3, 0.1f, 0, false}};
    const struct gradient_input down[] = {
        {"x", 3, 2, 0.2f, 1, false}, {"w", 3, 2, 0.2f, -1, false}, {"b", 1, 3, 0.1f, 0, false}};
    gradient_check_all(up, 3, linear, &s, 1e-2, 1e-3);
    gradient_check_all(down, 3, linear, &s, 1e-2, 1e-3);
}

static void test_linear_frozen_input_or_weight(void **state)
{
    (void)state;
    struct shape s = {3, 5, 4, KERN_ACT_GELU, true};
    const struct gradient_input frozen_x[] = {
        {"x", 3, 5, 1, 0, true}, {"w", 4, 5, 1, 0, false}, {"b", 1, 4, 1, 0, false}};
    const struct gradient_input frozen_w[] = {
        {"x", 3, 5, 1, 0, false}, {"w", 4, 5, 1, 0, true}, {"b", 1, 4, 1, 0, true}};
    gradient_check_all(frozen_x, 3, linear, &s, 1e-2, 1e-3);
    gradient_check_all(frozen_w, 3, linear, &s, 1e-2, 1e-3);
}

/* Constants with one row added to each, which what lies behind reads as well. */
static struct tape_value linear_shared(struct tape *t, const struct tape_value *in, void *user)
{
    const struct shape *s = user;
    static const int32_t zero[8];
    const struct op_lookup row = {in[0], zero};
    const struct op_matrix w = {{.w = in[1].x, .out = s->O, .in = s->I}, in[2].x, in[1].dx, in[2].dx, NULL};
    const struct tape_value x = op_embed(t, in[3], &row, 1), y = op_linear_shared(t, x, &w, s->act, in[0]);
    return s->O == s->I ? op_add(t, y, x) : y;
}

static void test_gradient_of_a_shared_row(void **state)
{
    (void)state;
    const struct shape shapes[] = {{5, 4, 4, KERN_ACT_NONE, true}, {1, 6, 3, KERN_ACT_NONE, true}, {7, 3, 5, KERN_ACT_GELU, true}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct shape s = shapes[i];
        const struct gradient_input in[] = {
            {"shared", 1, s.I, 1, 0, false}, {"w", s.O, s.I, 1, 0, false}, {"b", 1, s.O, 1, 0, false}, {"x", s.N, s.I, 1, 0, true}};
        gradient_check_all(in, 4, linear_shared, &s, 1e-2, 1e-3);
    }
}

static struct tape_value dot(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    return op_dot(t, in[0], in[1]);
}

static void test_dot_gradients(void **state)
{
    (void)state;
    const struct gradient_input both[] = {{"a", 3, 5, 1, 0, false}, {"b", 4, 5, 1, 0, false}};
    const struct gradient_input keys[] = {{"a", 2, 6, 1, 0, true}, {"b", 5, 6, 1, 0, false}};
    gradient_check_all(both, 2, dot, NULL, 1e-2, 1e-3);
    gradient_check_all(keys, 2, dot, NULL, 1e-2, 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_gradients),
        cmocka_unit_test(test_linear_relu_gradients),
        cmocka_unit_test(test_linear_frozen_input_or_weight),
        cmocka_unit_test(test_gradient_of_a_shared_row),
        cmocka_unit_test(test_dot_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
