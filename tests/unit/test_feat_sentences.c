/* test_feat_sentences.c - what was kept is found whole, anything else is not.
 * labels: quick */
#include "tests/support/check.h"

#include "featurize/feat_sentences.h"
#include <stdio.h>
#include <string.h>

static void test_what_is_found_is_what_was_kept(void **state)
{
    (void)state;
    enum { N = 20000 }; /* several for each place */
    struct feat_sentences *s = feat_sentences_new();
    uint32_t n = 0, found = 0;
    char text[32];
    assert_non_null(s);
    assert_null(feat_sentences_get(s, STR("nothing yet"), &n));
    for (int32_t i = 0; i < N; i++) {
        const struct str t = {text, (size_t)snprintf(text, sizeof text, "I bought %d", i)};
        const int32_t ids[] = {101, i, 102};
        assert_null(feat_sentences_get(s, t, &n));
        feat_sentences_put(s, t, ids, 1 + (uint32_t)i % 3);
        const int32_t *got = feat_sentences_get(s, t, &n);
        assert_true(got != NULL && n == 1 + (uint32_t)i % 3 && memcmp(got, ids, n * sizeof *ids) == 0);
    }
    for (int32_t i = 0; i < N; i++) {
        const struct str t = {text, (size_t)snprintf(text, sizeof text, "I bought %d", i)};
        const int32_t *got = feat_sentences_get(s, t, &n);
        if (got == NULL) continue; /* another one's place by now */
        found++;
        assert_true(n == 1 + (uint32_t)i % 3 && got[0] == 101 && (n == 1 || got[1] == i));
    }
    assert_in_range(found, 3000, 4096);
    feat_sentences_free(s);
}

static void test_long_and_empty_sentences_are_not_kept(void **state)
{
    (void)state;
    char text[200];
    int32_t ids[100] = {0};
    uint32_t n = 0;
    struct feat_sentences *s = feat_sentences_new();
    memset(text, 'x', sizeof text);
    feat_sentences_put(s, (struct str){text, 161}, ids, 3);
    feat_sentences_put(s, (struct str){text, 20}, ids, 49);
    feat_sentences_put(s, (struct str){text, 0}, ids, 2);
    assert_null(feat_sentences_get(s, (struct str){text, 161}, &n));
    assert_null(feat_sentences_get(s, (struct str){text, 20}, &n));
    assert_null(feat_sentences_get(s, (struct str){text, 0}, &n));
    feat_sentences_put(s, (struct str){text, 160}, ids, 48);
    assert_ptr_not_equal(feat_sentences_get(s, (struct str){text, 160}, &n), NULL);
    assert_int_equal(n, 48);
    feat_sentences_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_found_is_what_was_kept),
        cmocka_unit_test(test_long_and_empty_sentences_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
