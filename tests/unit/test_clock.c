/* test_clock.c - RFC 3339 in and out, civil dates, and the clock that stands still. */
#include "base/clock.h"
#include "tests/support/check.h"
#include <errno.h>

static const struct {
    const char *text;
    int64_t ms;
} good[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"1985-04-12T23:20:50.52Z", 482196050520}, /* the examples of RFC 3339, section 5.8 */
    {"1996-12-19T16:39:57-08:00", 851042397000},
    {"1990-12-31T23:59:60Z", 662688000000},
    {"1990-12-31T15:59:60-08:00", 662688000000},
    {"1937-01-01T12:00:27.87+00:20", -1041337172130},
    {"2026-02-28t03:04:05.6789z", 1772247845678},
    {"2010-12-01 08:26:00+00:00", 1291191960000},
    {"2000-02-29T00:00:00Z", 951782400000},
    {"0000-01-01T00:00:00Z", -62167219200000},
    {"9999-12-31T23:59:59.999Z", 253402300799999},
    {"2026-01-01T00:00:00.1-00:00", 1767225600100},
};

static const char *const bad[] = {
    "",
    "2026",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00Z",
    "2026-1-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:61Z",
    "2026-01-01T12:30:60Z",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00+01:60",
    "2026-01-01T00:00:00+0100",
    "2026-01-01T00:00:00Zx",
    "2026-01-01T00:00:00Z ",
    " 2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00,5Z",
    "+026-01-01T00:00:00Z",
    "2026-01-01x00:00:00Z",
};

static void test_parse_reads_good_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = 1;
        if (!clock_parse_rfc3339(str_from(good[i].text), &ms)) fail_msg("refused %s", good[i].text);
        if (ms != good[i].ms) fail_msg("%s: %lld, not %lld", good[i].text, (long long)ms, (long long)good[i].ms);
    }
}

static void test_parse_refuses_bad_times(void **state)
{
    (void)state;
    int64_t ms;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (clock_parse_rfc3339(str_from(bad[i]), &ms)) fail_msg("took %s", bad[i]);
    assert_false(clock_parse_rfc3339((struct str){NULL, 0}, &ms));
    assert_false(clock_parse_rfc3339((struct str){"2026-01-01\0T00:00:00Z", 21}, &ms));
    for (size_t n = 0; n < 20; n++) assert_false(clock_parse_rfc3339((struct str){"2026-01-01T00:00:00Z", n}, &ms));
}

static void test_format_round_trips(void **state)
{
    (void)state;
    char text[CLOCK_TEXT];
    for (int64_t ms = -62167219200000; ms < 253402300799999; ms += 86400000 * INT64_C(3) + 1234567) {
        int64_t back = 0;
        clock_format(ms, text);
        assert_true(clock_parse_rfc3339(str_from(text), &back));
        assert_true(back == ms);
    }
    clock_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    clock_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    clock_format(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
}

static void test_fake_stands_still(void **state)
{
    (void)state;
    struct clock_fake f;
    clock_fake_init(&f, 1000);
    assert_int_equal(f.base.wall_ms(&f.base), 1000);
    assert_int_equal(f.base.wall_ms(&f.base), 1000);
    clock_fake_advance(&f, 25);
    assert_int_equal(f.base.wall_ms(&f.base), 1025);
    assert_int_equal(f.base.mono_us(&f.base), 25000);
}

static void test_system_runs_forward(void **state)
{
    (void)state;
    struct clock *c = clock_system();
    const int64_t a = c->mono_us(c), b = c->mono_us(c);
    assert_true(b >= a);
    assert_true(c->wall_ms(c) > clock_from_civil(2024, 1, 1, 0, 0, 0, 0));
}

static void test_timed_waits_end_on_the_monotonic_clock(void **state)
{
    (void)state;
    struct clock *c = clock_system();
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    const int64_t from = c->mono_us(c);
    struct timespec t = clock_until(1999999);
    const int64_t until = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    assert_true(until >= from + 1999999 && until <= c->mono_us(c) + 1999999 && t.tv_nsec < 1000000000);
    assert_true(clock_cond_init(&cond));
    t = clock_until(20000);
    (void)pthread_mutex_lock(&lock);
    while (pthread_cond_timedwait(&cond, &lock, &t) != ETIMEDOUT) continue;
    (void)pthread_mutex_unlock(&lock);
    assert_true(c->mono_us(c) - from >= 20000);
    t = clock_until(-5000000);
    assert_true((int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 >= from);
    (void)pthread_cond_destroy(&cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_reads_good_times), cmocka_unit_test(test_parse_refuses_bad_times),
        cmocka_unit_test(test_format_round_trips),     cmocka_unit_test(test_fake_stands_still),
        cmocka_unit_test(test_system_runs_forward),    cmocka_unit_test(test_timed_waits_end_on_the_monotonic_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
