/* test_weights_dense.c - the pieces of a published version: what goes in comes out, rounding, damage and bounds.
 *
 * labels: quick
 */
#include "base/arena.h"
#include "schemas/weights_dense.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 400, DENSE = 300, SHORT = 160, ROWS = N - DENSE };
static float params[N];
static struct weights_tensor tensors[] = {{"a", 2, {10, 16}, 0}, {"b", 1, {140}, 160}, {"h", 1, {ROWS}, DENSE}};

static struct weights_view view(void)
{
    for (size_t i = 0; i < N; i++) params[i] = sinf((float)i) * (float)(i + 1);
    return (struct weights_view){
        .base_fingerprint = 77, .tensors = tensors, .n_tensors = 3, .params = params, .n_params = N};
}

static struct buf encoded(uint64_t n_short)
{
    struct buf b = {0};
    struct err e = {0};
    const struct weights_view w = view();
    assert_ok(weights_dense_encode(&b, &w, DENSE, n_short, &e), &e);
    return b;
}

static void test_piece_comes_back_whole_or_cut_anywhere(void **state)
{
    (void)state;
    for (uint64_t n_short = 0; n_short <= SHORT; n_short += SHORT) {
        struct weights_dense d;
        struct arena a = {0};
        struct err e = {0};
        struct buf b = encoded(n_short);
        float out[DENSE];
        assert_true(weights_dense_is(b.p, b.n));
        assert_ok(weights_dense_decode(&d, b.p, b.n, &a, &e), &e);
        assert_true(d.view.base_fingerprint == 77 && d.view.n_tensors == 3 && d.view.n_params == N);
        assert_true(d.n_dense == DENSE && d.n_short == n_short && d.head_bytes % 64 == 0);
        assert_string_equal(d.view.tensors[1].name, "b");
        assert_int_equal(weights_dense_bytes(&d), b.n);
        for (size_t cut = 0; cut <= b.n; cut += 4) {
            size_t first, n, more;
            memset(out, 0xff, sizeof out);
            n = weights_dense_take(&d, 0, b.p, cut, out, &first);
            more = weights_dense_take(&d, cut, b.p + cut, b.n - cut, out, &first);
            assert_int_equal(n + more, DENSE);
            if (more > 0) assert_int_equal(first, n);
            for (size_t i = 0; i < DENSE; i++)
                assert_true(i < n_short ? fabsf(out[i] - params[i]) <= fabsf(params[i]) / 256 : out[i] == params[i]);
        }
        buf_fini(&b);
        arena_fini(&a);
    }
}

static void test_rounding_is_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t from, to;
    } cases[] = {{0x3f800000, 0x3f800000}, {0x3f808000, 0x3f800000}, {0x3f818000, 0x3f820000},
                 {0x3f808001, 0x3f810000}, {0xbf80ffff, 0xbf810000}, {0x00000001, 0x00000000},
                 {0x7f7fffff, 0x7f800000}, {0x7f800001, 0x7fc00000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weights_view w = view();
        struct weights_dense d;
        struct arena a = {0};
        struct buf b = {0};
        struct err e = {0};
        float out[DENSE];
        size_t first;
        uint32_t got;
        memcpy(&params[5], &cases[i].from, 4);
        assert_ok(weights_dense_encode(&b, &w, DENSE, SHORT, &e), &e);
        assert_ok(weights_dense_decode(&d, b.p, b.n, &a, &e), &e);
        assert_int_equal(weights_dense_take(&d, 0, b.p, b.n, out, &first), DENSE);
        memcpy(&got, &out[5], 4);
        if (got != cases[i].to) fail_msg("%08x gives %08x, not %08x", cases[i].from, got, cases[i].to);
        buf_fini(&b);
        arena_fini(&a);
    }
}

static void test_head_that_is_cut_or_wrong_is_refused(void **state)
{
    (void)state;
    struct weights_dense d;
    struct arena a = {0};
    struct err e = {0};
    struct buf b = encoded(SHORT);
    assert_ok(weights_dense_decode(&d, b.p, b.n, &a, &e), &e);
    const size_t head = d.head_bytes;
    for (size_t n = 0; n < head; n++) {
        unsigned char *copy = test_malloc(n + 1); /* so that a read beyond it is seen */
        memcpy(copy, b.p, n);
        assert_int_equal(weights_dense_decode(&d, copy, n, &a, &e), STATUS_CORRUPT);
        test_free(copy);
    }
    b.p[4] = 2;
    assert_int_equal(weights_dense_decode(&d, b.p, b.n, &a, &e), STATUS_UNSUPPORTED);
    b.p[4] = 1;
    b.p[31] = 0x7f; /* n_dense */
    assert_int_equal(weights_dense_decode(&d, b.p, b.n, &a, &e), STATUS_CORRUPT);
    b.p[31] = 0;
    b.p[head - 1] = 1;
    assert_int_equal(weights_dense_decode(&d, b.p, b.n, &a, &e), STATUS_CORRUPT);
    buf_fini(&b);
    arena_fini(&a);
}

static void test_encode_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    const struct weights_view w = view();
    assert_int_equal(weights_dense_encode(&b, &w, N + 1, 0, &e), STATUS_INVALID);
    assert_int_equal(weights_dense_encode(&b, &w, DENSE, DENSE + 1, &e), STATUS_INVALID);
    buf_fini(&b);
}

static void test_touched_rows_replace_theirs_alone(void **state)
{
    (void)state;
    static const uint32_t rows[] = {0, 7, 8, 99};
    struct buf b = {0};
    struct err e = {0};
    float from[100], to[100];
    for (size_t i = 0; i < 100; i++) from[i] = (float)i + 0.5f, to[i] = -1;
    weights_rows_encode(&b, rows, 4, from);
    assert_int_equal(b.n, 4 * WEIGHTS_PAIR_BYTES);
    assert_ok(weights_rows_decode(b.p, b.n, to, 100, &e), &e);
    for (size_t i = 0; i < 100; i++) assert_true(to[i] == (i == 0 || i == 7 || i == 8 || i == 99 ? from[i] : -1));
    assert_int_equal(weights_rows_decode(b.p, b.n - 1, to, 100, &e), STATUS_CORRUPT);
    assert_int_equal(weights_rows_decode(b.p, b.n, to, 99, &e), STATUS_CORRUPT);
    b.p[8] = 0; /* row 0 twice */
    assert_int_equal(weights_rows_decode(b.p, b.n, to, 100, &e), STATUS_CORRUPT);
    b.p[8] = 7;
    memcpy(b.p + 12, &(float){NAN}, 4);
    assert_int_equal(weights_rows_decode(b.p, b.n, to, 100, &e), STATUS_CORRUPT);
    buf_fini(&b);
}

static enum status make(void)
{
    struct weights_dense d;
    struct arena a = {0};
    struct buf b = {0};
    struct err e = {0};
    const struct weights_view w = view();
    enum status st = weights_dense_encode(&b, &w, DENSE, SHORT, &e);
    if (st == STATUS_OK) st = weights_dense_decode(&d, b.p, b.n, &a, &e);
    buf_fini(&b);
    arena_fini(&a);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    FAIL_EACH_ALLOCATION(n, make());
    assert_true(n > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_piece_comes_back_whole_or_cut_anywhere),
        cmocka_unit_test(test_rounding_is_to_nearest_even),
        cmocka_unit_test(test_head_that_is_cut_or_wrong_is_refused),
        cmocka_unit_test(test_encode_refuses_what_does_not_fit),
        cmocka_unit_test(test_touched_rows_replace_theirs_alone),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
