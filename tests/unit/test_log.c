/* test_log.c - the line's form, levels, the limit per second, and that lines of threads never mix.
 *
 * labels: quick threads
 */
#include "base/clock.h"
#include "base/log.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char captured[1 << 20];
static struct clock_fake fake;

/* Runs fn with stderr going to a file and keeps what it wrote in `captured`. */
static void capture(void (*fn)(void))
{
    struct tmpdir d = tmpdir_make("log");
    char path[300];
    const int file = open(tmpdir_file(&d, "err", path), O_RDWR | O_CREAT | O_APPEND, 0600), saved = dup(STDERR_FILENO);
    assert_true(file >= 0 && saved >= 0);
    (void)dup2(file, STDERR_FILENO);
    fn();
    (void)dup2(saved, STDERR_FILENO);
    const ssize_t n = pread(file, captured, sizeof captured - 1, 0);
    captured[n > 0 ? n : 0] = 0;
    (void)close(saved);
    (void)close(file);
    tmpdir_remove(&d);
}

static int set_up(void **state)
{
    (void)state;
    clock_fake_init(&fake, 1767225600123);
    log_set_clock(&fake.base);
    log_set_level(LOG_INFO);
    return 0;
}

static void write_some(void)
{
    log_info("publish", "version=%d bytes=%d", 12, 34);
    log_write(LOG_DEBUG, "hidden", "a=1");
    log_warn("odd", "text=\"two\nlines\"");
    log_error("bare", "%s", "");
    log_set_level(LOG_ERROR);
    log_warn("hidden", "a=1");
}

static void test_line_has_time_level_event(void **state)
{
    (void)state;
    capture(write_some);
    assert_string_equal(captured, "2026-01-01T00:00:00.123Z info publish version=12 bytes=34\n"
                                  "2026-01-01T00:00:00.123Z warn odd text=\"two lines\"\n"
                                  "2026-01-01T00:00:00.123Z error bare \n");
    assert_int_equal(log_get_level(), LOG_ERROR);
}

static void write_long(void)
{
    log_info("long", "%10000d", 1);
}

static void test_long_line_is_cut_whole(void **state)
{
    (void)state;
    capture(write_long);
    const size_t n = strlen(captured);
    assert_true(n > 4000 && n <= 4096);
    assert_int_equal(captured[n - 1], '\n');
    assert_ptr_equal(strchr(captured, '\n'), captured + n - 1);
}

static void write_limited(void)
{
    for (int i = 0; i < 5; i++) log_limited(LOG_WARN, "slow", "i=%d", i);
    log_limited(LOG_WARN, "other", "i=%d", 9);
    log_limited(LOG_WARN, "slow", "but=%d", 9); /* something else of it */
    clock_fake_advance(&fake, 999);
    log_limited(LOG_WARN, "slow", "i=%d", 5);
    clock_fake_advance(&fake, 1);
    log_limited(LOG_WARN, "slow", "i=%d", 6);
    clock_fake_advance(&fake, 1000);
    log_limited(LOG_WARN, "slow", "i=%d", 7);
}

static void test_limited_counts_what_it_drops(void **state)
{
    (void)state;
    capture(write_limited);
    assert_string_equal(captured, "2026-01-01T00:00:00.123Z warn slow i=0\n"
                                  "2026-01-01T00:00:00.123Z warn other i=9\n"
                                  "2026-01-01T00:00:00.123Z warn slow but=9\n"
                                  "2026-01-01T00:00:01.123Z warn slow repeated=5 i=6\n"
                                  "2026-01-01T00:00:02.123Z warn slow i=7\n");
}

static void *one_thread(void *name)
{
    for (int i = 0; i < 300; i++) {
        log_info("thread", "name=%s i=%d", (const char *)name, i);
        log_limited(LOG_INFO, (const char *)name, "i=%d", i);
    }
    return NULL;
}

static void write_threads(void)
{
    pthread_t t[3];
    char *names[] = {"aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"};
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, one_thread, names[i]), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
}

static void test_threads_never_mix(void **state)
{
    (void)state;
    capture(write_threads);
    int lines = 0, i;
    char name[20];
    for (char *p = captured; *p; p = strchr(p, '\n') + 1) {
        if (sscanf(p, "2026-01-01T00:00:00.123Z info thread name=%10[abc] i=%d\n", name, &i) == 2) lines++;
        assert_memory_equal(p, "2026-01-01T00:00:00.123Z info ", 30);
    }
    assert_int_equal(lines, 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_line_has_time_level_event, set_up),
        cmocka_unit_test_setup(test_long_line_is_cut_whole, set_up),
        cmocka_unit_test_setup(test_limited_counts_what_it_drops, set_up),
        cmocka_unit_test_setup(test_threads_never_mix, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
