/* test_op_rows.c - look-ups, concatenation, sum and product: every gradient against central differences. */
#include "model/op.h"
#include "tests/support/check.h"
#include "tests/support/gradient.h"

static struct tape_value embed(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    static const int32_t a[] = {2, 0, 2, 1}, b[] = {0, 0, 0, 1};
    const struct op_lookup l[2] = {{in[1], a}, {in[2], b}};
    return op_embed(t, in[0], l, 2);
}

static struct tape_value embed_from_nothing(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    static const int32_t a[] = {1, 1, 0};
    const struct op_lookup l = {in[0], a};
    return op_embed(t, (struct tape_value){.n = 3, .c = in[0].c}, &l, 1);
}

static void test_embed_gradients(void **state)
{
    (void)state;
    const struct gradient_input in[] = {
        {"base", 4, 5, 1, 0, false}, {"a", 3, 5, 1, 0, false}, {"b", 2, 5, 1, 0, false}};
    const struct gradient_input frozen[] = {
        {"base", 4, 5, 1, 0, true}, {"a", 3, 5, 1, 0, false}, {"b", 2, 5, 1, 0, true}};
    const struct gradient_input table[] = {{"table", 2, 3, 1, 0, false}};
    gradient_check_all(in, 3, embed, NULL, 1e-2, 1e-3);
    gradient_check_all(frozen, 3, embed, NULL, 1e-2, 1e-3);
    gradient_check_all(table, 1, embed_from_nothing, NULL, 1e-2, 1e-3);
}

static struct tape_value concat(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    return op_concat(t, in[0], in[1]);
}

static void test_concat_gradients(void **state)
{
    (void)state;
    const struct gradient_input in[] = {{"a", 2, 3, 1, 0, false}, {"b", 4, 3, 1, 0, false}};
    const struct gradient_input frozen[] = {{"a", 1, 3, 1, 0, false}, {"b", 2, 3, 1, 0, true}};
    const struct gradient_input empty[] = {{"a", 1, 3, 1, 0, false}, {"b", 0, 3, 1, 0, true}};
    gradient_check_all(in, 2, concat, NULL, 1e-2, 1e-3);
    gradient_check_all(frozen, 2, concat, NULL, 1e-2, 1e-3);
    gradient_check_all(empty, 2, concat, NULL, 1e-2, 1e-3);
}

static struct tape_value add(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    return op_add(t, in[0], in[1]);
}

static struct tape_value mul(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    return op_mul(t, in[0], in[1]);
}

static struct tape_value square(struct tape *t, const struct tape_value *in, void *user)
{
    (void)user;
    return op_mul(t, in[0], in[0]);
}

static void test_sum_and_product_gradients(void **state)
{
    (void)state;
    const struct gradient_input in[] = {{"a", 3, 2, 1, 0, false}, {"b", 3, 2, 1, 0, false}};
    const struct gradient_input frozen[] = {{"a", 3, 2, 1, 0, false}, {"b", 3, 2, 1, 0, true}};
    gradient_check_all(in, 2, add, NULL, 1e-2, 1e-3);
    gradient_check_all(frozen, 2, add, NULL, 1e-2, 1e-3);
    gradient_check_all(in, 2, mul, NULL, 1e-2, 1e-3);
    gradient_check_all(frozen, 2, mul, NULL, 1e-2, 1e-3);
    gradient_check_all(in, 1, square, NULL, 1e-2, 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed_gradients),
        cmocka_unit_test(test_concat_gradients),
        cmocka_unit_test(test_sum_and_product_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
