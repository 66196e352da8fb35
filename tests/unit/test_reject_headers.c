/* test_reject_headers.c - headers as a JSON object and back: every byte, every repeat, every absent value.
 * labels: quick
 */
#include "tests/support/check.h"

#include "ingest/reject_headers.h"
#include <stdio.h>
#include <string.h>

static void put_and_get(const struct reject_header *in, size_t n, const char *text, size_t want)
{
    struct reject_header out[REJECT_HEADERS_MAX];
    struct buf b = {0};
    struct arena a = {0};
    struct err e = {0};
    size_t got;
    reject_headers_put(&b, in, n);
    if (text != NULL) assert_true(str_is((struct str){(char *)b.p, b.n}, text));
    assert_ok(reject_headers_get(out, REJECT_HEADERS_MAX, &got, (struct str){(char *)b.p, b.n}, &a, &e), &e);
    assert_int_equal(got, want);
    for (size_t i = 0; i < got; i++) { /* in some order: those of one name stay together */
        bool found = false;
        for (size_t k = 0; k < n; k++)
            found = found || (str_eq(in[k].name, out[i].name) && str_eq(in[k].value, out[i].value) &&
                              (in[k].value.p == NULL) == (out[i].value.p == NULL));
        assert_true(found);
        assert_int_equal(out[i].name.p[out[i].name.n], 0);
    }
    arena_fini(&a);
    buf_fini(&b);
}

static void test_nothing_is_lost(void **state)
{
    char bytes[256];
    (void)state;
    for (int i = 0; i < 256; i++) bytes[i] = (char)i;
    const struct reject_header some[] = {{STR("trace"), STR("a\"b")},     {STR("raw"), STR("\xff")},
                                         {STR("trace"), STR("again")},    {STR("none"), {NULL, 0}},
                                         {STR("empty"), STR("")},         {STR("all"), {bytes, sizeof bytes}},
                                         {STR("trace"), STR("\xfe\x00")}, {STR("nul"), STR("a\0b")}};
    put_and_get(some, 4, "{\"trace\":[\"a\\\"b\",\"again\"],\"raw\":{\"base64\":\"/w==\"},\"none\":null}", 4);
    put_and_get(some, 8, NULL, 8);
    put_and_get(some, 0, "{}", 0);
}

static void test_what_no_object_can_hold_is_left_out(void **state)
{
    struct reject_header many[100];
    char names[100][16];
    (void)state;
    const struct reject_header odd[] = {{STR("\xff"), STR("1")}, {STR("a\0b"), STR("2")}, {STR("c"), STR("3")}};
    put_and_get(odd, 3, "{\"c\":\"3\"}", 1);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(names[i], sizeof names[i], "h%d", i);
        many[i] = (struct reject_header){str_from(names[i]), STR("v")};
    }
    put_and_get(many, 100, NULL, REJECT_HEADERS_MAX);
}

static void test_other_json_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"a\":1}",
                                      "{\"a\":{}}",
                                      "{\"a\":{\"base64\":\"Q!==\"}}",
                                      "{\"a\":[[\"b\"]]}",
                                      "{\"a\":\"b\",\"a\":\"c\"}",
                                      "{\"a\":\"b\"} x",
                                      "nul"};
    struct reject_header out[4];
    struct arena a = {0};
    struct err e = {0};
    size_t n = 9;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(reject_headers_get(out, 4, &n, str_from(bad[i]), &a, &e), STATUS_INVALID);
        assert_int_equal(n, 0);
        assert_non_null(strstr(e.text, "dead letter"));
    }
    assert_ok(reject_headers_get(out, 4, &n, (struct str){NULL, 0}, &a, &e), &e); /* absent: none */
    assert_ok(reject_headers_get(out, 2, &n, STR("{\"a\":[\"1\",\"2\",\"3\"]}"), &a, &e), &e);
    assert_int_equal(n, 2);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_what_no_object_can_hold_is_left_out),
        cmocka_unit_test(test_other_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
