/* test_jsonwide.c - which integers are written anew, to which value, in how many bytes. */
#include "tests/support/check.h"

#include "base/jsonwide.h"
#include "base/mem.h"
#include <string.h>

static bool put(struct buf *b, const char *text)
{
    buf_clear(b);
    return jsonwide_put(b, str_from(text));
}

static void becomes(const char *text, const char *want)
{
    struct buf b = {0};
    buf_put(&b, "7", 1); /* it appends */
    const bool any = jsonwide_put(&b, str_from(text));
    if (!any || b.n != strlen(text) + 1 || memcmp(b.p, "7", 1) != 0 || memcmp(b.p + 1, want, b.n - 1) != 0)
        fail_msg("%s becomes %.*s", text, (int)b.n, (const char *)b.p);
    buf_fini(&b);
}

static void test_wide_integers_become_the_nearest_double(void **state)
{
    (void)state;
    becomes("9223372036854775808", "92233720368547758e2");
    becomes("-9223372036854775809", "-92233720368547758e2");
    becomes("[12345678901234567890,-1]", "[12345678901234567e3 ,-1]");
    becomes("{\"1\":99999999999999999999999}", "{\"1\":99999999999999992e6    }");
    becomes("[\"\\\"9999999999999999999\",9999999999999999999]", "[\"\\\"9999999999999999999\",10000000000000000e3]");
}

static void test_all_else_stays(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "99999999999999999999.0",
                                        "99999999999999999999e1",
                                        "0999999999999999999999",
                                        "\"99999999999999999999\"",
                                        "\"99999999999999999999",
                                        "\"\\"};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (put(&b, texts[i])) fail_msg("%s is changed", texts[i]);
        assert_true(b.n == strlen(texts[i]) && (b.n == 0 || memcmp(b.p, texts[i], b.n) == 0));
    }
    char huge[500];
    memset(huge, '9', sizeof huge);
    huge[sizeof huge - 1] = 0;
    assert_false(put(&b, huge)); /* beyond double */
    buf_fini(&b);
}

static void test_without_memory_nothing_is_wide(void **state)
{
    (void)state;
    struct buf b = {0};
    mem_fail_after(0);
    assert_false(jsonwide_put(&b, STR("99999999999999999999")));
    mem_fail_after(-1);
    assert_true(b.oom);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wide_integers_become_the_nearest_double),
        cmocka_unit_test(test_all_else_stays),
        cmocka_unit_test(test_without_memory_nothing_is_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
