/* test_rand.c - Philox against the known answers of Random123 (kat_vectors), streams by name, and the distributions. */
#include "base/rand.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdlib.h>

static const struct {
    uint32_t counter[4], key[2], out[4];
} kat[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void test_philox_known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kat / sizeof kat[0]; i++) {
        uint32_t out[4];
        rand_philox(kat[i].key, kat[i].counter, out);
        assert_memory_equal(out, kat[i].out, sizeof out);
    }
}

static void test_same_name_same_numbers(void **state)
{
    (void)state;
    const struct rand_key k = {.seed = 42, .topic = 1, .partition = 2, .offset = 3, .purpose = RAND_NEGATIVES};
    struct rand a, b;
    rand_init(&a, k);
    rand_init(&b, k);
    for (int i = 0; i < 1000; i++) assert_int_equal(rand_u32(&a), rand_u32(&b));
}

/* any field of the name changed gives another stream */
static void test_each_field_of_the_name_counts(void **state)
{
    (void)state;
    struct rand_key keys[] = {
        {5, 1, 2, 3, 4}, {6, 1, 2, 3, 4}, {5 + (UINT64_C(1) << 40), 1, 2, 3, 4}, {5, 2, 2, 3, 4}, {5, 1, 3, 3, 4},
        {5, 1, 2, 4, 4}, {5, 1, 2, 3, 5}, {5, 1, 2, UINT64_C(3) << 32, 4}};
    enum { N = sizeof keys / sizeof keys[0] };
    uint64_t first[N];
    for (int i = 0; i < N; i++) {
        struct rand r;
        rand_init(&r, keys[i]);
        first[i] = rand_u64(&r);
        for (int j = 0; j < i; j++) assert_true(first[i] != first[j]);
    }
}

static void test_below_is_even_and_in_range(void **state)
{
    (void)state;
    struct rand r;
    long count[7] = {0};
    rand_init(&r, (struct rand_key){.seed = 7, .purpose = RAND_TEST});
    for (int i = 0; i < 70000; i++) {
        const uint64_t v = rand_below(&r, 7);
        assert_true(v < 7);
        count[v]++;
    }
    double chi2 = 0;
    for (int i = 0; i < 7; i++) chi2 += pow((double)count[i] - 10000, 2) / 10000;
    assert_true(chi2 < 22.5); /* 6 degrees of freedom, p = 0.001 */
    for (int i = 0; i < 100; i++) assert_int_equal(rand_below(&r, 1), 0);
    const uint64_t most = UINT64_C(3) << 62; /* a quarter of the draws is rejected, else one residue in 3 comes twice */
    long residue[3] = {0};
    for (int i = 0; i < 30000; i++) residue[rand_below(&r, most) % 3]++;
    for (int i = 0; i < 3; i++) assert_true(labs(residue[i] - 10000) < 330); /* four deviations */
}

static void test_unit_and_normal_moments(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct rand r;
    double u = 0, m = 0, m2 = 0, m4 = 0;
    rand_init(&r, (struct rand_key){.seed = 8, .purpose = RAND_TEST});
    for (int i = 0; i < N; i++) {
        const double x = rand_unit(&r), z = rand_normal(&r);
        assert_true(x >= 0 && x < 1 && isfinite(z));
        u += x / N, m += z / N, m2 += z * z / N, m4 += z * z * z * z / N;
    }
    assert_true(fabs(u - 0.5) < 0.004); /* four deviations each */
    assert_true(fabs(m) < 0.013);
    assert_true(fabs(m2 - 1) < 0.018);
    assert_true(fabs(m4 - 3) < 0.13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),          cmocka_unit_test(test_same_name_same_numbers),
        cmocka_unit_test(test_each_field_of_the_name_counts), cmocka_unit_test(test_below_is_even_and_in_range),
        cmocka_unit_test(test_unit_and_normal_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
