/* test_str.c - words of a list. */
#include "base/str.h"
#include "tests/support/check.h"

static void test_words_are_parted_by_commas_and_blanks(void **state)
{
    (void)state;
    const char *at = " ,one, two  three,,";
    struct str w;
    assert_true(str_next_word(&at, &w) && str_is(w, "one"));
    assert_true(str_next_word(&at, &w) && str_is(w, "two"));
    assert_true(str_next_word(&at, &w) && str_is(w, "three"));
    assert_false(str_next_word(&at, &w) || w.n > 0);
    at = "";
    assert_false(str_next_word(&at, &w));
}

static void test_a_word_by_its_place(void **state)
{
    (void)state;
    assert_true(str_is(str_word_at("a, bc,d", 0), "a") && str_is(str_word_at("a, bc,d", 1), "bc"));
    assert_true(str_is(str_word_at("a, bc,d", 2), "d") && str_word_at("a, bc,d", 3).n == 0);
    assert_true(str_word_at("", 0).n == 0 && str_word_at(" ,", 7).n == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_parted_by_commas_and_blanks),
        cmocka_unit_test(test_a_word_by_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
