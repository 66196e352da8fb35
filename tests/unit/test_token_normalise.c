/* test_token_normalise.c - UTF-8 there and back, ill-formed bytes by maximal subparts, order of marks. */
#include "featurize/token_chars.h"
#include "featurize/token_normalise.h"
#include "tests/support/check.h"
#include <string.h>

static void test_utf8_round_trip_and_maximal_subparts(void **state)
{
    (void)state;
    unsigned char u[4];
    uint32_t back;
    for (uint32_t c = 0; c < 0x110000; c++) {
        const size_t n = token_encode_utf8(c, u);
        const size_t used = token_decode_utf8(u, u + n, &back);
        if (c >= 0xD800 && c < 0xE000) {
            assert_true(used == 1 && back == 0xFFFD);
        } else {
            assert_true(used == n && back == c);
            if (n > 1) assert_true(token_decode_utf8(u, u + n - 1, &back) == n - 1 && back == 0xFFFD);
        }
    }
}

/* Unicode 15, tables 3-8 to 3-11: one U+FFFD for each maximal subpart. */
static void test_ill_formed_bytes_split_as_unicode_says(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t used[6];
    } rows[] = {
        {"\xC0\xAF\xE0\x80\xBF", {1, 1, 1, 1, 1}}, {"\xED\xA0\x80\xED\xBF\xBF", {1, 1, 1, 1, 1, 1}},
        {"\xF4\x91\x92\x93\xFF", {1, 1, 1, 1, 1}}, {"\xE1\x80\xE2\xF0\x91\x92", {2, 1, 3}},
        {"\xF1\xBF\xE1\x80\xC2", {2, 2, 1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const unsigned char *p = (const unsigned char *)rows[i].bytes, *end = p + strlen(rows[i].bytes);
        for (size_t k = 0; p < end; k++) {
            uint32_t c = 0;
            const size_t used = token_decode_utf8(p, end, &c);
            assert_int_equal(used, rows[i].used[k]);
            assert_int_equal(c, 0xFFFD);
            p += used;
        }
    }
}

struct seen {
    uint32_t c[16];
    size_t n;
};

static void note(void *user, uint32_t c, unsigned flags)
{
    struct seen *s = user;
    (void)flags;
    if (s->n < 16) s->c[s->n] = c;
    s->n++;
}

static void feed(struct seen *s, struct token_rules rules, const uint32_t *c, size_t n)
{
    uint8_t ascii[128];
    for (uint32_t i = 0; i < 128; i++) ascii[i] = (uint8_t)token_char_flags(i);
    struct token_normaliser norm = {.rules = rules, .emit = note, .user = s, .ascii_flags = ascii};
    s->n = 0;
    for (size_t i = 0; i < n; i++) token_normaliser_feed(&norm, c[i]);
    token_normaliser_flush(&norm);
}

/* U+1D165 (216) and U+302E (224) are marks that stay: the lower class goes first, across the accent that is dropped,
 * but not across U+034F, a starter that is dropped as well. */
static void test_marks_that_stay_are_sorted_by_class(void **state)
{
    (void)state;
    struct seen s;
    const struct token_rules rules = {.clean = true, .han = true, .strip = true, .lower = true};
    const uint32_t run[] = {'A', 0x302E, 0x301, 0x1D165, 'b'}, parted[] = {'A', 0x302E, 0x34F, 0x1D165};
    const uint32_t want[] = {'a', 0x1D165, 0x302E, 'b'}, want_parted[] = {'a', 0x302E, 0x1D165};
    feed(&s, rules, run, 5);
    assert_int_equal(s.n, 4);
    assert_memory_equal(s.c, want, sizeof want);
    feed(&s, rules, parted, 4);
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.c, want_parted, sizeof want_parted);
    feed(&s, (struct token_rules){.clean = true}, run, 5);
    assert_int_equal(s.n, 5);
    assert_memory_equal(s.c, run, sizeof run);
}

static void test_a_run_longer_than_the_room_loses_nothing(void **state)
{
    (void)state;
    static uint32_t run[3 * TOKEN_WORD_CHARS_MAX + 7];
    const size_t n = sizeof run / sizeof run[0];
    struct seen s;
    for (size_t i = 0; i < n; i++) run[i] = i % 2 ? 0x1D165 : 0x302E;
    feed(&s, (struct token_rules){.strip = true}, run, n);
    assert_int_equal(s.n, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_round_trip_and_maximal_subparts),
        cmocka_unit_test(test_ill_formed_bytes_split_as_unicode_says),
        cmocka_unit_test(test_marks_that_stay_are_sorted_by_class),
        cmocka_unit_test(test_a_run_longer_than_the_room_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
