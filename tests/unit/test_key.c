/* test_key.c - the names of Redis keys, letter by letter: other programs read them. */
#include "schemas/event.h"
#include "schemas/key.h"
#include "tests/support/check.h"
#include <string.h>

static void test_names_are_those_of_the_contract(void **state)
{
    (void)state;
    char k[KEY_MAX];
#define IS(call, text)                                                                                                 \
    do {                                                                                                               \
        assert_int_equal(call, strlen(text));                                                                          \
        assert_string_equal(k, text);                                                                                  \
    } while (0)
    IS(key_current(k, "shop"), "fr:{shop}:current");
    IS(key_manifest(k, "shop", UINT64_MAX), "fr:{shop}:manifest:18446744073709551615");
    IS(key_chunk(k, "shop", 12, 0), "fr:{shop}:chunk:12:0");
    IS(key_log(k, "shop"), "fr:{shop}:log");
    IS(key_lease(k, "shop"), "fr:{shop}:lease");
    IS(key_user(k, "shop", STR("u 1:x")), "fr:shop:user:u 1:x");
    IS(key_item(k, "shop", STR("a")), "fr:shop:item:a");
    IS(key_state(k, "shop", 0xabc), "fr:shop:state:0000000000000abc");
    IS(key_served(k, "shop"), "fr:shop:served");
    IS(key_metrics(k, "shop"), "fr:shop:metrics");
    IS(key_metrics_ts(k, "shop"), "fr:shop:metrics:ts");
    IS(key_info(k, "shop"), "fr:shop:info");
    IS(key_champion(k, "shop"), "fr:{shop}:champion");
    IS(key_current(k, "shop/b"), "fr:{shop}:variant:b:current"); /* a variant's own, in the model's slot */
    IS(key_chunk(k, "shop/b", 12, 0), "fr:{shop}:variant:b:chunk:12:0");
    IS(key_info(k, "shop/b"), "fr:shop:variant:b:info");
#undef IS
}

static void test_longest_model_and_id_fit(void **state)
{
    (void)state;
    char k[KEY_MAX], model[65], id[EVENT_ID_MAX];
    memset(model, 'm', 64);
    model[64] = 0;
    memset(id, 0, sizeof id); /* any byte may be in an id */
    const size_t n = key_item(k, model, (struct str){id, sizeof id});
    assert_int_equal(n, 3 + 64 + 6 + EVENT_ID_MAX);
    assert_true(n < KEY_MAX);
    assert_memory_equal(k + n - EVENT_ID_MAX, id, sizeof id);
    assert_true(key_manifest(k, model, UINT64_MAX) < KEY_MAX);
    assert_true(key_chunk(k, model, UINT64_MAX, UINT32_MAX) < KEY_MAX);
}

static void test_a_version_is_digits_and_nothing_else(void **state)
{
    static const char *const none[] = {"", " 12", "+1", "-1", "12 ", "1x", "twelve", "123456789012345678901"};
    uint64_t v = 7;
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_false(key_current_read(str_from(none[i]), &v));
    assert_true(key_current_read((struct str){"123", 2}, &v)); /* no NUL behind it */
    assert_int_equal(v, 12);
    assert_true(key_current_read(str_from("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_those_of_the_contract),
        cmocka_unit_test(test_longest_model_and_id_fit),
        cmocka_unit_test(test_a_version_is_digits_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
