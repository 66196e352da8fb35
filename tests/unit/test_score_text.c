/* test_score_text.c - every float is read back as it was, and looks as printf's %.9g writes it. */
#include "serving/score_text.h"
#include "tests/support/check.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct buf b;

static const char *text_of(float v)
{
    buf_clear(&b);
    score_text_float(&b, v);
    buf_u8(&b, 0);
    return (const char *)b.p;
}

static void assert_float(float v)
{
    char want[40], wide[SCORE_TEXT_WIDE + 1] = "", text[40];
    (void)snprintf(want, sizeof want, "%.9g", (double)v);
    (void)snprintf(text, sizeof text, "%s", text_of(v));
    assert_true(strtof(text, NULL) == v);
    assert_string_equal(text, want);
    score_text_float_wide(wide, v);
    (void)snprintf(want, sizeof want, "%15.9g", (double)v);
    assert_string_equal(wide, want);
}

static void test_floats_look_as_printf_writes_them(void **state)
{
    (void)state;
    static const float some[] = {
        0,       1,      -1,      0.5f,   0.1f,     -0.25f,          9.9999999f, 99999.9f, 1e8f,  123456789.0f,
        1e9f,    1e10f,  1e-4f,   9e-5f,  1e-5f,    0.999999940f,    16777216,   3.0f,     10.0f, 1e22f,
        FLT_MAX, 1e-30f, FLT_MIN, 1e-45f, -FLT_MAX, -1.17549435e-38f};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) assert_float(some[i]);
}

/* A walk over the floats' bits with a stride that is prime: all exponents, both signs. */
static void test_floats_of_all_sizes_are_read_back(void **state)
{
    (void)state;
    uint32_t seen = 0;
    for (uint64_t bits = 1; bits < UINT64_C(1) << 32; bits += 20011) {
        const uint32_t low = (uint32_t)bits;
        float v;
        memcpy(&v, &low, sizeof v);
        if (!isfinite(v)) continue;
        assert_float(v);
        seen++;
    }
    assert_true(seen > 200000);
}

static void test_whole_numbers(void **state)
{
    (void)state;
    buf_clear(&b);
    score_text_u64(&b, 0);
    score_text_put(&b, ",");
    score_text_u64(&b, 10203);
    score_text_put(&b, ",");
    score_text_u64(&b, UINT64_MAX);
    buf_u8(&b, 0);
    assert_string_equal(b.p, "0,10203,18446744073709551615");
    buf_fini(&b);
}

static void test_a_time_that_is_none_is_null(void **state)
{
    (void)state;
    buf_clear(&b);
    score_text_time(&b, 1767225600123);
    score_text_put(&b, ",");
    score_text_time(&b, 0);
    buf_u8(&b, 0);
    assert_string_equal(b.p, "\"2026-01-01T00:00:00.123Z\",null");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats_look_as_printf_writes_them),
        cmocka_unit_test(test_floats_of_all_sizes_are_read_back),
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_a_time_that_is_none_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
