/* test_eval_distinct.c - counts of different ones, few and many, seen once or often.
 * labels: quick */
#include "base/hash.h"
#include "tests/support/check.h"
#include "trainer/eval_distinct.h"
#include <math.h>
#include <string.h>

static void test_counts_are_within_their_error(void **state)
{
    (void)state;
    static const uint64_t upto[] = {1, 10, 500, 3000, 9000, 30000, 300000};
    struct eval_distinct d;
    uint64_t next = 0;
    memset(&d, 0, sizeof d);
    assert_true(eval_distinct_count(&d) == 0.0);
    for (size_t k = 0; k < sizeof upto / sizeof *upto; k++) {
        for (; next < upto[k]; next++)
            for (int again = 0; again < 3; again++) eval_distinct_add(&d, hash_bytes(&next, sizeof next));
        assert_near(eval_distinct_count(&d) / (double)upto[k], 1.0, upto[k] > 9000 ? 0.05 : 0.03);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts_are_within_their_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
