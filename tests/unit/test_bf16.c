/* test_bf16.c - rounding to bfloat16 and back. */
#include "base/bf16.h"
#include "tests/support/check.h"
#include <math.h>

static float bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static void test_bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, /* a tie, kept part even */
        {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82},                       /* a tie, kept part odd */
        {0x80000000, 0x8000}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f7fffff, 0x7f80}, /* overflows */
        {0x00000001, 0x0000}, {0x00008001, 0x0001}, {0xc2f6e979, 0xc2f7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(bf16_from(bits(cases[i].from)), cases[i].to);
    assert_true(isnan(bf16_to(bf16_from(bits(0x7f800001)))));
    for (uint32_t h = 0; h < 0x10000; h++) { /* what is bf16 already stays */
        const float x = bf16_to((uint16_t)h);
        if (!isnan(x)) assert_int_equal(bf16_from(x), h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bf16_rounds_to_nearest_even)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
