/* test_source_reader.c - a log file's bytes to messages: every byte in one of them, and time in proportion to the file. */
#include "tests/support/check.h"

#include "base/buf.h"
#include "ingest/source_reader.h"
#include "tests/support/files.h"
#include <stdio.h>
#include <string.h>

#define LONGEST 4096
#define LINES 400000

static const struct source_framing csv = {.delimiter = ',', .quote = '"'};

static struct source_reader *open_reader(const struct tmpdir *dir, const void *p, size_t n)
{
    struct source_reader *r = NULL;
    struct err e = {0};
    char path[300];
    files_put(dir, "log.csv", p, n);
    assert_ok(source_reader_open(&r, tmpdir_file(dir, "log.csv", path), LONGEST, csv, &e), &e);
    return r;
}

struct seen {
    size_t good, broken, too_long, bytes;
};

static struct seen read_all(struct source_reader *r)
{
    struct seen s = {0};
    struct str message;
    enum reject_code code;
    struct err e = {0};
    enum status st;
    while ((st = source_reader_next(r, &message, &code, &e)) == STATUS_OK) {
        assert_true(message.n <= LONGEST);
        s.bytes += message.n;
        *(code == REJECT_NONE ? &s.good : code == REJECT_TOO_LONG ? &s.too_long : &s.broken) += 1;
    }
    assert_int_equal(st, STATUS_END);
    return s;
}

/* Read from any line on, quotes stay open over the end of each line: a","  closes one and opens the next.  To see that no
 * line's quotes ever end, each used to be followed to ingest.max_bytes: 1,000 times the file, with 1 MiB 250,000 times. */
static void test_quotes_that_never_end_take_linear_time(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("reader");
    struct buf b = {0};
    for (int i = 0; i < LINES; i++) buf_put(&b, "a\",\"\n", 5);
    struct source_reader *r = open_reader(&dir, b.p, b.n);
    const struct seen s = read_all(r);
    assert_int_equal(s.broken + s.too_long, LINES);
    assert_int_equal(s.bytes, 4 * LINES);
    source_reader_close(r);
    buf_fini(&b);
    tmpdir_remove(&dir);
}

/* The mending must not cost records that are good: a few stray quotes among many rows with cells of several lines. */
static void test_stray_quotes_cost_their_own_rows(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("reader");
    struct buf b = {0};
    for (int i = 0; i < 4000; i++) {
        if (i % 1000 == 500) buf_printf(&b, "stray,\"%d\n", i);
        buf_printf(&b, "%d,\"two\nlines\",x\n", i);
    }
    struct source_reader *r = open_reader(&dir, b.p, b.n);
    const struct seen s = read_all(r);
    assert_int_equal(s.good, 4000);
    assert_int_equal(s.broken, 4);
    source_reader_close(r);
    buf_fini(&b);
    tmpdir_remove(&dir);
}

/* A broken record whose first line alone is longer than a message may be was handed out whole. */
static void test_a_broken_line_keeps_the_bound(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("reader");
    struct buf b = {0};
    char *p = buf_room(&b, 3 * LONGEST);
    memset(p, 'x', 3 * LONGEST);
    p[0] = '"';
    p[2 * LONGEST] = '\n';
    memcpy(p + 2 * LONGEST + 1, "good,row\n\"", 10);
    struct source_reader *r = open_reader(&dir, b.p, b.n);
    const struct seen s = read_all(r);
    assert_int_equal(s.too_long, 1);
    assert_int_equal(s.good, 1);
    assert_int_equal(s.broken, 1);
    source_reader_close(r);
    buf_fini(&b);
    tmpdir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quotes_that_never_end_take_linear_time),
        cmocka_unit_test(test_stray_quotes_cost_their_own_rows),
        cmocka_unit_test(test_a_broken_line_keeps_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
