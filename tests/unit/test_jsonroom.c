/* test_jsonroom.c - the estimate against what jansson really takes, for texts that are made to take much. */
#include "tests/support/check.h"

#include "base/buf.h"
#include "base/jsonroom.h"
#include <jansson.h>
#include <stdlib.h>

#define VALUES 20000

static size_t taken;

/* As an arena hands it out: nothing comes back, 64-byte aligned. */
static void *take(size_t n)
{
    taken += (n + 63) / 64 * 64;
    return malloc(n);
}

static size_t really(struct str text)
{
    taken = 0;
    json_set_alloc_funcs(take, free);
    json_t *o = json_loadb(text.p, text.n, 0, NULL);
    assert_non_null(o);
    json_decref(o);
    json_set_alloc_funcs(malloc, free);
    return taken;
}

/* The least bound that the text is not over. */
static size_t estimated(struct str text)
{
    size_t lo = 0, hi = (size_t)1 << 40;
    while (hi - lo > 1) {
        const size_t middle = lo + (hi - lo) / 2;
        if (jsonroom_over(text, middle))
            lo = middle;
        else
            hi = middle;
    }
    return hi;
}

static void test_texts_of_many_values_are_not_taken_for_small(void **state)
{
    (void)state;
    static const char *const values[] = {"1",
                                         "\"x\"",
                                         "true",
                                         "1.5",
                                         "{}",
                                         "[]",
                                         "{\"a\":1}",
                                         "[1]",
                                         "{\"a\":{}}",
                                         "[[]]",
                                         "{\"a\":[]}",
                                         "\"\"",
                                         "{\"a\":1,\"b\":2}",
                                         "[1,2]",
                                         "{\"item\":\"abc\",\"price\":3}",
                                         "[{},{}]",
                                         "-0"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int in_object = 0; in_object < 2; in_object++) {
            struct buf b = {0};
            for (int k = 0; k < VALUES; k++)
                buf_printf(&b, in_object ? "%c\"%d\":%s" : "%c%.0d%s",
                           k           ? ','
                           : in_object ? '{'
                                       : '[',
                           in_object ? k : 0, values[i]);
            buf_u8(&b, in_object ? '}' : ']');
            const struct str text = {(const char *)b.p, b.n};
            const size_t is = really(text), said = estimated(text);
            if (is > said + said / 4) fail_msg("%s: takes %zu, was estimated at %zu", values[i], is, said);
            assert_true(said < 20 * is); /* and is of some use */
            buf_fini(&b);
        }
}

static void test_small_texts_and_long_ones_of_few_values_pass(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_false(jsonroom_over((struct str){NULL, 0}, 1000));
    assert_false(jsonroom_over(STR("{}"), 1000));
    buf_printf(&b, "{\"title\":\"%0100000d\"}", 1);
    assert_false(jsonroom_over((struct str){(const char *)b.p, b.n}, 1000));
    buf_clear(&b);
    for (int i = 0; i < 100; i++) buf_printf(&b, "[]");
    assert_true(jsonroom_over((struct str){(const char *)b.p, b.n}, 1000));
    assert_false(jsonroom_over((struct str){(const char *)b.p, b.n}, 100000));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts_of_many_values_are_not_taken_for_small),
                                       cmocka_unit_test(test_small_texts_and_long_ones_of_few_values_pass)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
