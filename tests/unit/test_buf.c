/* test_buf.c - what is written reads back; short, malformed and lying buffers turn bad and stay so. */
#include "base/buf.h"
#include "base/rand.h"
#include "tests/support/check.h"
#include <float.h>
#include <math.h>
#include <string.h>

static const uint64_t varints[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX >> 1, UINT64_MAX};
#define N_VARINTS (sizeof varints / sizeof varints[0])

static void write_all(struct buf *b)
{
    buf_u8(b, 0xab);
    buf_u32(b, 0x89abcdefu);
    buf_u64(b, 0x0123456789abcdefu);
    buf_i64(b, INT64_MIN);
    buf_f32(b, -1.5f);
    buf_f64(b, DBL_MIN / 2);
    for (size_t i = 0; i < N_VARINTS; i++) buf_varint(b, varints[i]);
    buf_str(b, STR("hello"));
    buf_str(b, STR(""));
    buf_str(b, (struct str){NULL, 0});
    buf_put(b, "raw", 3);
    buf_printf(b, "%d-%s", 42, "x");
}

static void read_all(struct buf_reader *r)
{
    assert_int_equal(buf_get_u8(r), 0xab);
    assert_int_equal(buf_get_u32(r), 0x89abcdefu);
    assert_true(buf_get_u64(r) == 0x0123456789abcdefu);
    assert_true(buf_get_i64(r) == INT64_MIN);
    assert_true(buf_get_f32(r) == -1.5f);
    assert_true(buf_get_f64(r) == DBL_MIN / 2);
    for (size_t i = 0; i < N_VARINTS; i++) assert_true(buf_get_varint(r) == varints[i]);
    assert_true(str_is(buf_get_str(r), "hello"));
    const struct str empty = buf_get_str(r), absent = buf_get_str(r);
    assert_true(empty.p != NULL && empty.n == 0);
    assert_true(absent.p == NULL && absent.n == 0);
    assert_memory_equal(buf_get(r, 3), "raw", 3);
    assert_memory_equal(buf_get(r, 4), "42-x", 4);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    write_all(&b);
    assert_ok(buf_status(&b, &e), &e);
    assert_memory_equal(b.p, "\xab\xef\xcd\xab\x89", 5); /* little-endian on every machine */
    struct buf_reader r = buf_reader(b.p, b.n);
    read_all(&r);
    assert_false(r.bad);
    assert_int_equal(buf_left(&r), 0);
    buf_fini(&b);
    assert_int_equal(mem_live(), 0);
}

/* every cut of a good buffer is noticed, and nothing outside it is read (the copy is exactly as long) */
static void test_every_cut_is_bad(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_u32(&b, 7);
    buf_varint(&b, 300);
    buf_str(&b, STR("hello"));
    buf_f64(&b, 1);
    for (size_t n = 0; n < b.n; n++) {
        unsigned char *cut = mem_calloc(n, 1);
        memcpy(cut, b.p, n);
        struct buf_reader r = buf_reader(cut, n);
        (void)buf_get_u32(&r), (void)buf_get_varint(&r), (void)buf_get_str(&r), (void)buf_get_f64(&r);
        assert_true(r.bad);
        assert_int_equal(buf_left(&r), 0);
        assert_int_equal(buf_get_u8(&r), 0);
        mem_free(cut);
    }
    buf_fini(&b);
}

static void test_malformed_is_bad(void **state)
{
    (void)state;
    struct buf_reader r = buf_reader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10); /* 65 bits */
    assert_true(buf_get_varint(&r) == 0 && r.bad);
    r = buf_reader("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11); /* 11 bytes */
    assert_true(buf_get_varint(&r) == 0 && r.bad);
    r = buf_reader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10); /* a string of 2^64 - 2 bytes */
    assert_null(buf_get_str(&r).p);
    assert_true(r.bad);
    r = buf_reader("\x03xxxxxxxxxxx", 12); /* three records of at least 4 bytes in 11: a lie */
    assert_int_equal(buf_get_count(&r, 4), 0);
    assert_true(r.bad);
    r = buf_reader("\x02xxxxxxxx", 9);
    assert_int_equal(buf_get_count(&r, 4), 2);
    assert_false(r.bad);
    r = buf_reader(NULL, 0);
    assert_non_null(buf_get(&r, 0));
    assert_null(buf_get(&r, 1));
}

static void test_noise_never_leaves_the_buffer(void **state)
{
    (void)state;
    struct rand rnd;
    rand_init(&rnd, (struct rand_key){.seed = 1, .purpose = RAND_TEST});
    for (int round = 0; round < 2000; round++) {
        const size_t n = rand_below(&rnd, 40);
        unsigned char *noise = mem_calloc(n, 1);
        for (size_t i = 0; i < n; i++) noise[i] = (unsigned char)rand_u32(&rnd);
        struct buf_reader r = buf_reader(noise, n);
        while (!r.bad && buf_left(&r) > 0) {
            const struct str s = buf_get_str(&r);
            for (size_t i = 0; i < s.n; i++) assert_int_equal(s.p[i], s.p[i]);
            (void)buf_get_count(&r, 2);
        }
        mem_free(noise);
    }
}

static void test_oom_sticks_until_cleared(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    mem_fail_after(0);
    buf_u32(&b, 1);
    mem_fail_after(-1);
    buf_u32(&b, 2);
    buf_printf(&b, "%d", 3);
    assert_int_equal(b.n, 0);
    assert_int_equal(buf_status(&b, &e), STATUS_OOM);
    assert_non_null(strstr(e.text, "buffer"));
    buf_clear(&b);
    buf_u32(&b, 2);
    assert_ok(buf_status(&b, &e), &e);
    assert_int_equal(b.n, 4);
    volatile size_t huge = SIZE_MAX - 2;
    assert_null(buf_room(&b, huge));
    assert_int_equal(buf_status(&b, &e), STATUS_OOM);
    assert_int_equal(b.n, 4);
    buf_fini(&b);
}

static void test_figures_are_columns(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_figure(&b, 8, 4, 0.5);
    buf_figure(&b, 5, 1, NAN);
    buf_figure(&b, 0, 2, -1.005e3);
    assert_int_equal(b.n, 9 + 6 + 9);
    assert_memory_equal(b.p, "   0.5000     - -1005.00", b.n);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_are_columns),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_cut_is_bad),
        cmocka_unit_test(test_malformed_is_bad),
        cmocka_unit_test(test_noise_never_leaves_the_buffer),
        cmocka_unit_test(test_oom_sticks_until_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
