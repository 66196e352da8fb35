/* test_hash.c - published vectors of XXH3 and SHA-256 (FIPS 180-4), and that order and seed matter. */
#include "base/hash.h"
#include "tests/support/check.h"

static const char abc_hex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char empty_hex[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char million_hex[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void test_xxh3_known_answers(void **state)
{
    (void)state;
    assert_true(hash_bytes("", 0) == 0x2d06800538d394c2u);
    assert_true(hash_str((struct str){NULL, 0}) == 0x2d06800538d394c2u);
    assert_true(hash_bytes("abc", 3) == 0x78af5f94892f3950u);
    assert_true(hash_str(STR("abc")) == hash_seeded("abc", 3, 0));
    assert_true(hash_seeded("abc", 3, 1) != hash_seeded("abc", 3, 0));
}

static void test_mix_depends_on_order(void **state)
{
    (void)state;
    assert_true(hash_mix(1, 2) != hash_mix(2, 1));
    assert_true(hash_mix(0, 0) != 0);
    assert_true(hash_unit(0) == 0.0 && hash_unit(UINT64_C(1) << 63) == 0.5 && hash_unit(UINT64_MAX) < 1.0);
    assert_true(hash_mix(7, 7) != hash_mix(8, 8));
    assert_true(hash_mix(1, 2) == 0x15d610cdba7544efu); /* stored in records: must never change */
}

static void test_sha256_known_answers(void **state)
{
    (void)state;
    char hex[HASH_SHA256_HEX];
    struct err e = {0};
    assert_ok(hash_sha256_of("abc", 3, hex, &e), &e);
    assert_string_equal(hex, abc_hex);
    assert_ok(hash_sha256_of(NULL, 0, hex, &e), &e);
    assert_string_equal(hex, empty_hex);
}

static void test_sha256_running_and_restart(void **state)
{
    (void)state;
    char hex[HASH_SHA256_HEX];
    struct err e = {0};
    struct hash_sha256 *h = NULL;
    assert_ok(hash_sha256_new(&h, &e), &e);
    for (int i = 0; i < 100000; i++) hash_sha256_add(h, "aaaaaaaaaa", 10);
    hash_sha256_hex(h, hex);
    assert_string_equal(hex, million_hex);
    hash_sha256_add(h, "a", 1);
    hash_sha256_add(h, "bc", 2);
    hash_sha256_hex(h, hex);
    assert_string_equal(hex, abc_hex);
    hash_sha256_free(h);
    hash_sha256_free(NULL);
}

static void test_sha256_survives_each_oom(void **state)
{
    (void)state;
    struct hash_sha256 *h = NULL;
    struct err e = {0};
    char hex[HASH_SHA256_HEX];
    long met;
    FAIL_EACH_ALLOCATION(met, hash_sha256_new(&h, &e));
    assert_true(met > 0);
    hash_sha256_free(h);
    FAIL_EACH_ALLOCATION(met, hash_sha256_of("abc", 3, hex, &e));
    assert_string_equal(hex, abc_hex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xxh3_known_answers),       cmocka_unit_test(test_mix_depends_on_order),
        cmocka_unit_test(test_sha256_known_answers),     cmocka_unit_test(test_sha256_running_and_restart),
        cmocka_unit_test(test_sha256_survives_each_oom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
