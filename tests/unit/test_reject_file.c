/* test_reject_file.c - the file of dead letters: cut back, kept, replaced, and waiting while its disk is full.
 * labels: quick
 */
#include "tests/support/check.h"

#include "ingest/reject.h"
#include "ingest/source.h"
#include "tests/support/files.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct tmpdir dir;
static struct conf *conf;
static char path[300];

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    dir = tmpdir_make("reject_file");
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_ok(conf_new(&conf, &e), &e);
    assert_ok(conf_set(conf, "ingest.dead_letters", tmpdir_file(&dir, "letters", path), &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    conf_free(conf);
    tmpdir_remove(&dir);
    return mem_live() == 0 ? 0 : -1;
}

static struct reject_sink *open_sink(struct reject_sink_start start)
{
    struct reject_sink *s = NULL;
    struct err e = {0};
    assert_ok(reject_sink_open_at(&s, conf, start, &e), &e);
    return s;
}

static enum status put(struct reject_sink *s, uint64_t offset, size_t n)
{
    static char big[100000];
    struct source_record rec = {.kind = SOURCE_REJECT, .at = {0, 1, offset}};
    memset(big, 'x', sizeof big);
    rec.raw = (struct source_raw){.topic = STR("events"), .value = {big, n}};
    (void)reject_set(&rec.reject, REJECT_BAD_JSON, "why");
    return reject_sink_write(s, &rec, "parse", NULL);
}

static uint64_t sync_close(struct reject_sink *s)
{
    struct err e = {0};
    uint64_t mark = 0;
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    reject_sink_close(s);
    return mark;
}

/* Lines of the file, each a letter of offset first, first + 1, … */
static int count(int first)
{
    size_t n;
    int lines = 0, offset;
    char *text = files_read(path, &n);
    for (char *at = text; *at != 0; at = strchr(at, '\n') + 1) {
        assert_int_equal(sscanf(at, "{\"topic\":\"events\",\"partition\":1,\"offset\":%d,", &offset), 1);
        assert_int_equal(offset, first + lines);
        lines++;
        assert_non_null(strchr(at, '\n'));
    }
    free(text);
    return lines;
}

static void test_a_file_that_no_checkpoint_knows_is_kept_when_asked(void **state)
{
    (void)state;
    struct reject_sink *s = open_sink((struct reject_sink_start){0});
    assert_true(reject_sink_unmarked(s));
    for (uint64_t i = 0; i < 10; i++) assert_int_equal(put(s, i, 10), STATUS_OK);
    (void)sync_close(s);
    s = open_sink((struct reject_sink_start){.keep = true});
    assert_true(reject_sink_unmarked(s));
    const uint64_t mark = sync_close(s); /* the checkpoint before the first letter */
    s = open_sink((struct reject_sink_start){.mark = mark, .keep = true});
    assert_false(reject_sink_unmarked(s));
    for (uint64_t i = 10; i < 15; i++) assert_int_equal(put(s, i, 10), STATUS_OK);
    const uint64_t later = sync_close(s);
    assert_int_equal(count(0), 15);
    s = open_sink((struct reject_sink_start){.mark = mark, .keep = true}); /* killed before its checkpoint */
    assert_int_equal(count(0), 10);
    for (uint64_t i = 10; i < 15; i++) assert_int_equal(put(s, i, 10), STATUS_OK);
    assert_true(sync_close(s) == later);
    assert_int_equal(count(0), 15);
    s = open_sink((struct reject_sink_start){0}); /* a replay without a state folder begins it anew */
    reject_sink_close(s);
    assert_int_equal(count(0), 0);
}

static void test_a_mark_of_another_sink_says_nothing_of_this_one(void **state)
{
    char other[300];
    struct err e = {0};
    (void)state;
    struct reject_sink *s = open_sink((struct reject_sink_start){0});
    for (uint64_t i = 0; i < 5; i++) assert_int_equal(put(s, i, 10), STATUS_OK);
    const uint64_t mark = sync_close(s);
    assert_ok(conf_set(conf, "ingest.dead_letters", tmpdir_file(&dir, "other", other), &e), &e);
    s = open_sink((struct reject_sink_start){.mark = mark, .keep = true}); /* shorter than the mark, but not its file */
    assert_true(reject_sink_unmarked(s));
    const uint64_t of_other = sync_close(s);
    assert_ok(conf_set(conf, "ingest.dead_letters", path, &e), &e);
    s = open_sink((struct reject_sink_start){.mark = of_other, .keep = true});
    assert_true(reject_sink_unmarked(s));
    reject_sink_close(s);
    assert_int_equal(count(0), 5);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(reject_sink_open(&s, conf, mark, &e), STATUS_CORRUPT); /* letters are missing */
    assert_non_null(strstr(e.text, path));
    assert_int_equal(unlink(path), 0); /* moved away by who looks after it: a new one */
    s = open_sink((struct reject_sink_start){.mark = mark, .keep = true});
    assert_int_equal(put(s, 0, 10), STATUS_OK);
    assert_true(sync_close(s) < mark);
    assert_int_equal(count(0), 1);
}

static void test_a_taken_over_file_is_out_of_its_old_owners_reach(void **state)
{
    struct err e = {0};
    uint64_t mark;
    (void)state;
    struct reject_sink *old = open_sink((struct reject_sink_start){0});
    for (uint64_t i = 0; i < 5; i++) assert_int_equal(put(old, i, 10), STATUS_OK);
    assert_ok(reject_sink_sync(old, &mark, &e), &e);
    struct reject_sink *new = open_sink((struct reject_sink_start){.mark = mark, .keep = true, .new_file = true});
    for (uint64_t i = 5; i < 8; i++) assert_int_equal(put(new, i, 10), STATUS_OK);
    for (uint64_t i = 100; i < 9000; i++) assert_int_equal(put(old, i, 10), STATUS_OK); /* woken up again */
    (void)sync_close(old);
    (void)sync_close(new);
    assert_int_equal(count(0), 8);
}

static void limit(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void test_a_full_disk_loses_nothing(void **state)
{
    struct err e = {0};
    uint64_t mark = 0;
    int full = 0;
    (void)state;
    struct reject_sink *s = open_sink((struct reject_sink_start){0});
    limit(200000);
    for (uint64_t i = 0; i < 100; i++) full += put(s, i, 10000) == STATUS_FULL;
    assert_true(full > 50);
    for (int i = 0; i < 3; i++) assert_int_equal(reject_sink_sync(s, &mark, &e), STATUS_FULL);
    assert_non_null(strstr(e.text, path));
    limit(RLIM_INFINITY);
    (void)sync_close(s);
    assert_int_equal(count(0), 100);
}

static void test_much_without_a_checkpoint_asks_for_one(void **state)
{
    uint64_t mark, at = 0;
    struct err e = {0};
    (void)state;
    struct reject_sink *s = open_sink((struct reject_sink_start){0});
    while (put(s, at, 100000) == STATUS_OK) assert_true(++at < 1000);
    assert_true(at > 50);
    assert_ok(reject_sink_sync(s, &mark, &e), &e);
    assert_int_equal(put(s, at + 1, 10), STATUS_OK);
    (void)sync_close(s);
    assert_int_equal(count(0), (int)at + 2);
}

static enum status once(void)
{
    struct reject_sink *s = NULL;
    uint64_t mark;
    enum status st = reject_sink_open(&s, conf, 0, NULL);
    if (st == STATUS_OK) st = put(s, 0, 100);
    if (st == STATUS_OK) st = reject_sink_sync(s, &mark, NULL);
    reject_sink_close(s);
    return st;
}

static void test_failing_allocations_are_survived(void **state)
{
    long n;
    (void)state;
    FAIL_EACH_ALLOCATION(n, once());
    assert_true(n >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_that_no_checkpoint_knows_is_kept_when_asked),
        cmocka_unit_test(test_a_mark_of_another_sink_says_nothing_of_this_one),
        cmocka_unit_test(test_a_taken_over_file_is_out_of_its_old_owners_reach),
        cmocka_unit_test(test_a_full_disk_loses_nothing),
        cmocka_unit_test(test_much_without_a_checkpoint_asks_for_one),
        cmocka_unit_test(test_failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
