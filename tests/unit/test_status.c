/* test_status.c - names, texts, and how error sentences are kept, cut and prefixed. */
#include "tests/support/check.h"
#include <string.h>

static void test_names_follow_list(void **state)
{
    (void)state;
    assert_int_equal(STATUS_OK, 0);
    assert_string_equal(status_name(STATUS_OOM), "OOM");
    assert_string_equal(status_name(STATUS_UNSUPPORTED), "UNSUPPORTED");
    assert_string_equal(status_text(STATUS_AGAIN), "not now; safe to try the same call");
    assert_string_equal(status_name((enum status)STATUS_COUNT), "?");
    assert_string_equal(status_text((enum status) - 1), "?");
}

static void test_set_records_place_and_text(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(ERR_SET(&e, STATUS_IO, "file %s: %d", "a", 7), STATUS_IO);
    assert_int_equal(e.code, STATUS_IO);
    assert_string_equal(e.text, "file a: 7");
    assert_non_null(strstr(e.where, "test_status.c:"));
    assert_int_equal(ERR_SET(NULL, STATUS_END, "nobody listens"), STATUS_END);
}

static void test_set_may_quote_itself(void **state)
{
    (void)state;
    struct err e = {0};
    (void)ERR_SET(&e, STATUS_IO, "inner");
    assert_int_equal(ERR_SET(&e, STATUS_CORRUPT, "outer (%s)", e.text), STATUS_CORRUPT);
    assert_string_equal(e.text, "outer (inner)");
}

static void test_prefix_puts_context_before(void **state)
{
    (void)state;
    struct err e = {0};
    (void)ERR_SET(&e, STATUS_NOT_FOUND, "no key");
    assert_int_equal(err_prefix(&e, "config %s", "x.ini"), STATUS_NOT_FOUND);
    assert_string_equal(e.text, "config x.ini: no key");
}

static void test_long_text_is_cut(void **state)
{
    (void)state;
    struct err e = {0};
    char big[1000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    (void)ERR_SET(&e, STATUS_IO, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    for (size_t n = sizeof e.text - 5; n < sizeof e.text + 3; n++) {
        (void)err_prefix(&e, "%.*s", (int)n, big);
        assert_true(strlen(e.text) < sizeof e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_follow_list),    cmocka_unit_test(test_set_records_place_and_text),
        cmocka_unit_test(test_set_may_quote_itself), cmocka_unit_test(test_prefix_puts_context_before),
        cmocka_unit_test(test_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
