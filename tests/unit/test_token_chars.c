/* test_token_chars.c - every code point is and becomes what the tokenizers library makes of it (by digest). */
#include "base/buf.h"
#include "base/hash.h"
#include "featurize/token_chars.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <stdlib.h>

static void put_u32(struct buf *b, const uint32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++) buf_u32(b, v[i]);
}

/* The same rows as scan() in tests/fixtures/make_token_exceptions.py. */
static void put_char_row(struct buf *b, uint32_t c)
{
    uint32_t d[TOKEN_CHAR_MAX], low[TOKEN_CHAR_MAX];
    const size_t n = token_char_decompose(c, d), n_low = token_char_lower(c, low);
    const bool stable = n == 1 && d[0] == c;
    const unsigned flags = token_char_flags(c), class = stable ? token_char_class(c) : 0;
    buf_u32(b, c);
    buf_u32(b, stable ? flags : flags & ~(unsigned)TOKEN_CHAR_MARK);
    buf_u32(b, class);
    buf_u32(b, (uint32_t)n);
    put_u32(b, d, n);
    buf_u32(b, (uint32_t)n_low);
    put_u32(b, low, n_low);
    assert_true(class == 0 || !(flags & (TOKEN_CHAR_SPACE | TOKEN_CHAR_PUNCT))); /* so a held run lies in one word */
}

static void test_every_code_point_is_as_in_the_library(void **state)
{
    (void)state;
    struct buf b = {0};
    struct hash_sha256 *h = NULL;
    char hex[HASH_SHA256_HEX], *want;
    size_t n;
    struct err e;
    assert_int_equal(hash_sha256_new(&h, &e), STATUS_OK);
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        put_char_row(&b, c);
        if (b.n < 60000) continue;
        hash_sha256_add(h, b.p, b.n);
        buf_clear(&b);
    }
    assert_false(b.oom);
    hash_sha256_add(h, b.p, b.n);
    hash_sha256_hex(h, hex);
    hash_sha256_free(h);
    want = files_read(files_source("tests/golden/token_chars.sha256"), &n);
    assert_int_equal(n, HASH_SHA256_HEX);
    buf_fini(&b);
    assert_memory_equal(hex, want, HASH_SHA256_HEX - 1);
    free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_code_point_is_as_in_the_library)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
