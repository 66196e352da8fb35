/* test_checkpoint_meta.c - a state folder read from outside: fresh, with a version, damaged, beside its writer. */
#include "job/checkpoint_meta.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char sha[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void put(struct store_txn *t, const char *key, struct buf *value)
{
    struct err e = {0};
    assert_ok(store_put(t, STORE_META, str_from(key), (struct str){(const char *)value->p, value->n}, &e), &e);
    buf_fini(value);
}

/* A folder as a checkpoint leaves it: version 7, and what versions 6 and 7 had learnt. */
static void write_folder(const char *dir, const char *sha_text)
{
    struct store *s;
    struct store_txn *t;
    struct err e = {0};
    struct buf b = {0};
    assert_ok(store_open(&s, dir, false, &e), &e);
    assert_ok(store_begin(&t, s, true, &e), &e);
    buf_u64(&b, 7);
    buf_u64(&b, 123); /* dead letters */
    buf_str(&b, str_from(sha_text));
    buf_u64(&b, 9); /* epoch */
    put(t, "version", &b);
    buf_printf(&b, "model.parts=text\nbase+parts=00000000000000ff\n");
    put(t, "meaning", &b);
    for (uint64_t v = 6; v <= 7; v++) {
        buf_u64(&b, 100 * v);
        buf_u64(&b, 10 * v);
        buf_u64(&b, v);
        buf_i64(&b, 1700000000000 + (int64_t)v);
        put(t, v == 6 ? "version/6" : "version/7", &b);
    }
    buf_u64(&b, 5); /* cut short */
    put(t, "version/5", &b);
    assert_ok(store_commit(t, &e), &e);
    store_close(s);
}

static void test_what_a_folder_says(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("meta");
    struct checkpoint_meta m;
    struct checkpoint_version v;
    struct err e = {0};
    write_folder(d.path, sha);
    assert_ok(checkpoint_meta_open(&m, d.path, &e), &e);
    assert_int_equal(m.version, 7);
    assert_int_equal(m.epoch, 9);
    assert_string_equal(m.sha256, sha);
    assert_int_equal(m.meaning.n, strlen("model.parts=text\nbase+parts=00000000000000ff\n"));
    assert_memory_equal(m.meaning.p, "model.parts=text\n", 17);
    assert_ok(checkpoint_meta_version(&m, 6, &v, &e), &e);
    assert_int_equal(v.examples, 600);
    assert_int_equal(v.slates, 60);
    assert_int_equal(v.steps, 6);
    assert_int_equal(v.watermark_ms, 1700000000006);
    assert_int_equal(checkpoint_meta_version(&m, 4, &v, &e), STATUS_NOT_FOUND);
    assert_int_equal(checkpoint_meta_version(&m, 5, &v, &e), STATUS_CORRUPT);
    checkpoint_meta_close(&m);
    checkpoint_meta_close(&m); /* closed is fine */
    tmpdir_remove(&d);
}

/* Reading it kills: whoever looks into it lives on. */
static void test_folder_that_was_cut_off_is_corrupt(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("meta");
    char path[300];
    struct checkpoint_meta m;
    struct err e = {0};
    write_folder(d.path, sha);
    assert_int_equal(truncate(tmpdir_file(&d, "state.mdb", path), 8192), 0);
    assert_int_equal(checkpoint_meta_open(&m, d.path, &e), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "is damaged"));
    checkpoint_meta_close(&m);
    tmpdir_remove(&d);
}

static void test_folders_without_a_version(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("meta");
    struct checkpoint_meta m;
    struct err e = {0};
    struct store *s;
    assert_int_equal(checkpoint_meta_open(&m, d.path, &e), STATUS_NOT_FOUND);
    assert_null(m.store);
    assert_ok(store_open(&s, d.path, false, &e), &e);
    store_close(s);
    assert_ok(checkpoint_meta_open(&m, d.path, &e), &e);
    assert_int_equal(m.version, 0);
    assert_string_equal(m.sha256, "");
    checkpoint_meta_close(&m);
    tmpdir_remove(&d);
}

static void test_a_damaged_record_is_corrupt(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("meta");
    struct checkpoint_meta m;
    struct err e = {0};
    write_folder(d.path, "short");
    assert_int_equal(checkpoint_meta_open(&m, d.path, &e), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, d.path));
    assert_null(m.store);
    tmpdir_remove(&d);
}

/* Another process has the folder open for writing: reading is not refused. */
static void test_reading_beside_a_writer(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("meta");
    struct checkpoint_meta m;
    struct err e = {0};
    int ready[2], done[2];
    char byte = 0;
    write_folder(d.path, sha);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    const pid_t writer = fork();
    if (writer == 0) {
        struct store *s;
        const enum status st = store_open(&s, d.path, false, &e);
        if (st != STATUS_OK || write(ready[1], "r", 1) != 1 || read(done[0], &byte, 1) != 1) _exit(1);
        store_close(s);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_ok(checkpoint_meta_open(&m, d.path, &e), &e);
    assert_int_equal(m.version, 7);
    checkpoint_meta_close(&m);
    assert_int_equal(write(done[1], "d", 1), 1);
    int rc = -1;
    assert_int_equal(waitpid(writer, &rc, 0), writer);
    assert_int_equal(rc, 0);
    tmpdir_remove(&d);
}

static enum status open_and_close(const char *dir)
{
    struct checkpoint_meta m;
    struct err e = {0};
    const enum status st = checkpoint_meta_open(&m, dir, &e);
    if (st != STATUS_OK) assert_null(m.store);
    checkpoint_meta_close(&m);
    return st;
}

static void test_open_survives_each_failing_allocation(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("meta");
    long n;
    write_folder(d.path, sha);
    FAIL_EACH_ALLOCATION(n, open_and_close(d.path));
    assert_true(n >= 2);
    tmpdir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_folder_says),        cmocka_unit_test(test_folder_that_was_cut_off_is_corrupt),
        cmocka_unit_test(test_folders_without_a_version), cmocka_unit_test(test_a_damaged_record_is_corrupt),
        cmocka_unit_test(test_reading_beside_a_writer),   cmocka_unit_test(test_open_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
