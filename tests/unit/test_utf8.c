/* test_utf8.c - every lead byte with every second byte against the table, each class of broken text, and cleaning. */
#include "base/utf8.h"
#include "tests/support/check.h"
#include <string.h>

/* Table 3-7 said another way: by the code point that the bits give. */
static size_t length_by_value(const unsigned char *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t n = p[0] < 0x80             ? 1
                     : (p[0] & 0xe0) == 0xc0 ? 2
                     : (p[0] & 0xf0) == 0xe0 ? 3
                     : (p[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
    if (n == 0 || n > left) return 0;
    uint32_t c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

static void test_lengths_are_the_tables(void **state)
{
    (void)state;
    static const unsigned char tails[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    unsigned char p[4];
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            for (size_t third = 0; third < sizeof tails; third++)
                for (size_t fourth = 0; fourth < sizeof tails; fourth++) {
                    memcpy(p,
                           (unsigned char[]){(unsigned char)first, (unsigned char)second, tails[third], tails[fourth]},
                           4);
                    for (size_t left = 1; left <= 4; left++)
                        assert_int_equal(utf8_length(p, left), length_by_value(p, left));
                }
}

static void test_valid_finds_one_bad_byte_anywhere(void **state)
{
    (void)state;
    char text[41];
    assert_true(utf8_valid((struct str){NULL, 0}) && utf8_valid(STR("")) && utf8_valid(STR("a\0b")));
    for (size_t n = 1; n <= 40; n++)
        for (size_t at = 0; at < n; at++) {
            memset(text, 'a', sizeof text);
            assert_true(utf8_valid((struct str){text, n}));
            text[at] = (char)0x80;
            assert_false(utf8_valid((struct str){text, n}));
            if (at + 1 >= n) continue;
            memcpy(text + at, "\xc3\xa9", 2);
            assert_true(utf8_valid((struct str){text, n}));
            assert_false(utf8_valid((struct str){text, at + 1})); /* cut inside */
        }
}

static void test_clean_leaves_what_a_log_line_may_hold(void **state)
{
    (void)state;
    static const struct {
        const char *dirty, *clean;
    } cases[] = {{"", ""},
                 {"caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80"},
                 {"a\tb\nc\x7f", "a?b?c?"},
                 {"cut \xe4\xb8", "cut ??"},
                 {"\x80\xff", "??"},
                 {"\xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80", "?? ??? ????"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[40];
        strcpy(text, cases[i].dirty);
        utf8_clean(text);
        assert_string_equal(text, cases[i].clean);
        assert_true(utf8_valid(str_from(text)));
    }
}

static void test_cut_drops_a_partial_character_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
    } cases[] = {{"", 0},
                 {"a", 1},
                 {"\xc3\xa9", 2},
                 {"a\xc3", 1},
                 {"\xe4\xb8", 0},
                 {"\xe4\xb8\xad", 3},
                 {"ab\xf0", 2},
                 {"ab\xf0\x9f\x98", 2},
                 {"ab\xf0\x9f\x98\x80", 6},
                 {"\x80\x80", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_cut(cases[i].text, strlen(cases[i].text)), cases[i].n);
}

static void test_a_copy_ends_between_characters(void **state)
{
    (void)state;
    char out[5];
    utf8_copy(out, sizeof out, str_from("abc\xc3\xa9"));
    assert_string_equal(out, "abc");
    utf8_copy(out, sizeof out, str_from("ab\xc3\xa9z"));
    assert_string_equal(out, "ab\xc3\xa9");
    utf8_copy(out, sizeof out, str_from("a\xc3")); /* cut by another */
    assert_string_equal(out, "a");
    utf8_copy(out, sizeof out, (struct str){NULL, 0});
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths_are_the_tables),
                                       cmocka_unit_test(test_valid_finds_one_bad_byte_anywhere),
                                       cmocka_unit_test(test_cut_drops_a_partial_character_only),
                                       cmocka_unit_test(test_a_copy_ends_between_characters),
                                       cmocka_unit_test(test_clean_leaves_what_a_log_line_may_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
