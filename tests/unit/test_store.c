/* test_store.c - durable records: framing, transactions, one writer, growth, a full disk, damage, failing allocations.
 *
 * labels: quick
 * timeout: 60
 */
#include "base/store.h"
#include "base/store_lock.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if !FRESHET_WITH_LMDB
static void test_without_lmdb_says_so(void **state)
{
    (void)state;
    struct store *s = (void *)1;
    struct err e = {0};
    assert_int_equal(store_open(&s, "/tmp", false, &e), STATUS_UNSUPPORTED);
    assert_null(s);
    assert_non_null(strstr(e.text, "FRESHET_WITH_LMDB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_without_lmdb_says_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else

static struct tmpdir dir;
static struct err e;

static int set_up(void **state)
{
    (void)state;
    dir = tmpdir_make("store");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tmpdir_remove(&dir);
    return mem_live() == 0 ? 0 : -1;
}

static struct store *open_store(bool read_only)
{
    struct store *s = NULL;
    assert_ok(store_open(&s, dir.path, read_only, &e), &e);
    return s;
}

static struct store_txn *begin(struct store *s, bool write)
{
    struct store_txn *t = NULL;
    assert_ok(store_begin(&t, s, write, &e), &e);
    return t;
}

static void put_one(struct store *s, enum store_table table, const char *key, const char *value)
{
    struct store_txn *t = begin(s, true);
    assert_ok(store_put(t, table, str_from(key), str_from(value), &e), &e);
    assert_ok(store_commit(t, &e), &e);
}

static void test_records_survive_reopening(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    put_one(s, STORE_META, "a", "one");
    put_one(s, STORE_ITEM, "a", "");
    store_close(s);
    s = open_store(false);
    struct store_txn *t = begin(s, false);
    struct str v;
    assert_ok(store_get(t, STORE_META, STR("a"), &v, &e), &e);
    assert_true(str_is(v, "one"));
    assert_ok(store_get(t, STORE_ITEM, STR("a"), &v, &e), &e);
    assert_true(v.p != NULL && v.n == 0);
    assert_int_equal(store_get(t, STORE_USER, STR("a"), &v, &e), STATUS_NOT_FOUND);
    assert_null(v.p);
    assert_int_equal(store_put(t, STORE_META, STR("b"), STR("x"), &e), STATUS_INVALID);
    store_abort(t);
    store_close(s);
}

static void test_abort_keeps_nothing(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    put_one(s, STORE_META, "a", "old");
    struct store_txn *t = begin(s, true);
    struct str v;
    assert_ok(store_put(t, STORE_META, STR("a"), STR("new"), &e), &e);
    assert_ok(store_get(t, STORE_META, STR("a"), &v, &e), &e);
    assert_true(str_is(v, "new"));
    store_abort(t);
    store_abort(NULL);
    t = begin(s, false);
    assert_ok(store_get(t, STORE_META, STR("a"), &v, &e), &e);
    assert_true(str_is(v, "old"));
    store_abort(t);
    store_close(s);
}

static enum status collect(void *user, struct str key, struct str value, struct err *err)
{
    char *out = user;
    (void)err;
    (void)sprintf(out + strlen(out), STR_FMT "=" STR_FMT " ", STR_ARG(key), STR_ARG(value));
    return str_is(key, "stop") ? STATUS_END : STATUS_OK;
}

static void test_each_walks_one_table_in_order(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    char seen[200] = "";
    put_one(s, STORE_USER, "b", "2");
    put_one(s, STORE_USER, "a", "1");
    put_one(s, STORE_ITEM, "z", "0");
    put_one(s, STORE_SLATE, "a", "0");
    struct store_txn *t = begin(s, true);
    assert_ok(store_each(t, STORE_USER, collect, seen, &e), &e);
    assert_string_equal(seen, "a=1 b=2 ");
    assert_ok(store_delete(t, STORE_USER, STR("a"), &e), &e);
    assert_ok(store_delete(t, STORE_USER, STR("never"), &e), &e);
    assert_ok(store_put(t, STORE_USER, STR("stop"), STR("3"), &e), &e);
    assert_ok(store_put(t, STORE_USER, STR("t"), STR("4"), &e), &e);
    seen[0] = 0;
    assert_int_equal(store_each(t, STORE_USER, collect, seen, &e), STATUS_END);
    assert_string_equal(seen, "b=2 stop=3 ");
    assert_ok(store_clear(t, STORE_USER, &e), &e);
    assert_ok(store_clear(t, STORE_HASHED, &e), &e);
    seen[0] = 0;
    assert_ok(store_each(t, STORE_USER, collect, seen, &e), &e);
    assert_ok(store_each(t, STORE_ITEM, collect, seen, &e), &e);
    assert_ok(store_each(t, STORE_SLATE, collect, seen, &e), &e);
    assert_string_equal(seen, "z=0 a=0 ");
    assert_ok(store_commit(t, &e), &e);
    store_close(s);
}

static void test_second_writer_is_refused_by_pid(void **state)
{
    (void)state;
    struct store *s = open_store(false), *second = (void *)1;
    char pid[40];
    (void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_int_equal(store_open(&second, dir.path, false, &e), STATUS_CONFLICT);
    assert_null(second);
    assert_non_null(strstr(e.text, pid));
    const pid_t child = fork();
    if (child == 0) _exit(store_open(&second, dir.path, false, &e) == STATUS_CONFLICT && strstr(e.text, pid) ? 0 : 1);
    int how = -1;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    store_close(s);
    store_close(open_store(false)); /* free again */
}

/* A writer that was killed while it made a child: the child has the lock's descriptor until it runs and closes it. */
static void test_lock_waits_for_the_child_of_a_killed_writer(void **state)
{
    (void)state;
    struct store_lock l;
    int status = 0;
    const pid_t writer = fork();
    if (writer == 0) {
        if (store_lock_take(&l, dir.path, false, 1, &e) != STATUS_OK) _exit(1);
        if (fork() == 0) {
            (void)nanosleep(&(struct timespec){0, 300000000}, NULL);
            _exit(0);
        }
        _exit(0); /* the kernel closes what it had, as after SIGKILL */
    }
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
    assert_ok(store_lock_take(&l, dir.path, false, 2, &e), &e);
    store_lock_release(&l);
}

static void test_lock_of_a_killed_writer_is_free(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct store *s;
        (void)!write(ready[1], store_open(&s, dir.path, false, &e) == STATUS_OK ? "y" : "n", 1);
        for (;;) pause();
    }
    char c = 0;
    struct store *s = NULL;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(store_open(&s, dir.path, false, &e), STATUS_CONFLICT);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    store_close(open_store(false));
    (void)close(ready[0]);
    (void)close(ready[1]);
}

enum { BIG_RECORDS = 40, BIG_BYTES = 1 << 20 };
static char big[BIG_BYTES];

static enum status put_big(struct store *s, int n, int *rounds)
{
    enum status st;
    struct store_txn *t;
    do {
        ++*rounds;
        st = store_begin(&t, s, true, &e);
        if (st != STATUS_OK) return st;
        for (int i = 0; i < n && st == STATUS_OK; i++) {
            char key[20];
            (void)snprintf(key, sizeof key, "%04d", i);
            memset(big, i, sizeof big);
            st = store_put(t, STORE_HASHED, str_from(key), (struct str){big, sizeof big}, &e);
        }
        if (st == STATUS_OK) {
            st = store_commit(t, &e);
        } else {
            store_abort(t);
        }
    } while (st == STATUS_AGAIN);
    return st;
}

static void test_map_grows_when_run_again(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    int rounds = 0;
    put_one(s, STORE_META, "kept", "yes");
    assert_ok(put_big(s, BIG_RECORDS, &rounds), &e);
    assert_true(rounds >= 2 && rounds <= 4);
    struct store_txn *t = begin(s, false);
    struct str v;
    assert_ok(store_get(t, STORE_META, STR("kept"), &v, &e), &e);
    assert_ok(store_get(t, STORE_HASHED, STR("0039"), &v, &e), &e);
    assert_int_equal(v.n, BIG_BYTES);
    assert_int_equal(v.p[BIG_BYTES - 1], 39);
    store_abort(t);
    store_close(s);
    s = open_store(false); /* the next process starts with a map that is large enough */
    rounds = 0;
    assert_ok(put_big(s, BIG_RECORDS, &rounds), &e);
    assert_int_equal(rounds, 1);
    store_close(s);
}

/* after a full map everything on the transaction says AGAIN, commit too, and growth waits for readers to end */
static void test_full_transaction_stays_again(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    struct store_txn *t = begin(s, true), *reader, *next = (void *)1;
    enum status st = STATUS_OK;
    struct str v;
    for (int i = 0; st == STATUS_OK; i++)
        st = store_put(t, STORE_HASHED, (struct str){(const char *)&i, sizeof i}, (struct str){big, sizeof big}, &e);
    assert_int_equal(st, STATUS_AGAIN);
    assert_int_equal(store_put(t, STORE_META, STR("a"), STR("b"), &e), STATUS_AGAIN);
    assert_int_equal(store_get(t, STORE_META, STR("a"), &v, &e), STATUS_AGAIN);
    assert_int_equal(store_delete(t, STORE_META, STR("a"), &e), STATUS_AGAIN);
    assert_int_equal(store_clear(t, STORE_META, &e), STATUS_AGAIN);
    assert_int_equal(store_each(t, STORE_META, collect, NULL, &e), STATUS_AGAIN);
    assert_int_equal(store_commit(t, &e), STATUS_AGAIN);
    reader = begin(s, false); /* grows */
    t = begin(s, true);
    for (int i = 0, ok = STATUS_OK; ok == STATUS_OK; i++)
        ok = (int)(st = store_put(t, STORE_HASHED, (struct str){(const char *)&i, 4}, (struct str){big, sizeof big},
                                  &e));
    assert_int_equal(st, STATUS_AGAIN);
    store_abort(t);
    assert_int_equal(store_begin(&next, s, true, &e), STATUS_INVALID); /* a reader is still in the old map */
    assert_null(next);
    store_abort(reader);
    store_abort(begin(s, true));
    store_close(s);
}

/* a file-size limit stands for the full disk: writes come back short */
static void test_full_disk_is_full_and_keeps_the_old(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    struct rlimit before, tight;
    put_one(s, STORE_META, "kept", "yes");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 2 << 20;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    int rounds = 0;
    const enum status st = put_big(s, 10, &rounds);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(st, STATUS_FULL);
    assert_non_null(strstr(e.text, "make room"));
    assert_ok(put_big(s, 10, &rounds), &e); /* the same process goes on when there is room */
    struct store_txn *t = begin(s, false);
    struct str v;
    assert_ok(store_get(t, STORE_META, STR("kept"), &v, &e), &e);
    assert_true(str_is(v, "yes"));
    store_abort(t);
    store_close(s);
}

/* changes every byte equal to `needle` run in the file */
static void damage(const char *needle, char with)
{
    char path[300], *bytes = mem_calloc(1 << 20, 1);
    const int fd = open(tmpdir_file(&dir, "state.mdb", path), O_RDWR);
    assert_true(fd >= 0);
    const ssize_t n = pread(fd, bytes, 1 << 20, 0);
    const size_t len = strlen(needle);
    int hits = 0;
    for (ssize_t i = 0; i + (ssize_t)len <= n; i++)
        if (memcmp(bytes + i, needle, len) == 0 && ++hits) assert_int_equal(pwrite(fd, &with, 1, i), 1);
    assert_true(hits > 0);
    (void)close(fd);
    mem_free(bytes);
}

static void test_changed_byte_reads_corrupt(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    put_one(s, STORE_META, "good", "untouched");
    put_one(s, STORE_META, "hurt", "precious-bytes");
    store_close(s);
    damage("precious-bytes", 'P');
    s = open_store(true);
    struct store_txn *t = begin(s, false);
    struct str v;
    char seen[200] = "";
    assert_int_equal(store_get(t, STORE_META, STR("hurt"), &v, &e), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "hurt"));
    assert_null(v.p);
    assert_ok(store_get(t, STORE_META, STR("good"), &v, &e), &e);
    assert_int_equal(store_each(t, STORE_META, collect, seen, &e), STATUS_CORRUPT);
    store_abort(t);
    store_close(s);
}

static void test_foreign_file_is_corrupt(void **state)
{
    (void)state;
    char path[300];
    FILE *f = fopen(tmpdir_file(&dir, "state.mdb", path), "w");
    assert_non_null(f);
    for (int i = 0; i < 4000; i++) (void)fputs("no database at all\n", f);
    (void)fclose(f);
    struct store *s = (void *)1;
    assert_int_equal(store_open(&s, dir.path, false, &e), STATUS_CORRUPT);
    assert_null(s);
    assert_int_equal(store_open(&s, dir.path, true, &e), STATUS_CORRUPT);
}

static void test_read_only_needs_a_store_and_never_writes(void **state)
{
    (void)state;
    struct store *s = (void *)1;
    struct store_txn *t = (void *)1;
    assert_int_equal(store_open(&s, dir.path, true, &e), STATUS_NOT_FOUND);
    assert_null(s);
    assert_int_equal(store_open(&s, "/nonexistent/folder", false, &e), STATUS_NOT_FOUND);
    store_close(open_store(false));
    s = open_store(true);
    assert_int_equal(store_begin(&t, s, true, &e), STATUS_INVALID);
    assert_null(t);
    store_abort(begin(s, false));
    store_close(s);
}

static void test_key_limits(void **state)
{
    (void)state;
    struct store *s = open_store(false);
    struct store_txn *t = begin(s, true);
    struct str v;
    assert_ok(store_put(t, STORE_ITEM, (struct str){big, STORE_KEY_MAX}, STR("x"), &e), &e);
    assert_ok(store_put(t, STORE_ITEM, STR(""), STR("y"), &e), &e);
    assert_int_equal(store_put(t, STORE_ITEM, (struct str){big, STORE_KEY_MAX + 1}, STR("x"), &e), STATUS_INVALID);
    assert_ok(store_get(t, STORE_ITEM, STR(""), &v, &e), &e);
    assert_true(str_is(v, "y"));
    store_abort(t);
    store_close(s);
}

static void test_open_and_begin_survive_each_oom(void **state)
{
    (void)state;
    struct store *s = NULL;
    struct store_txn *t = NULL;
    long met;
    FAIL_EACH_ALLOCATION(met, store_open(&s, dir.path, false, &e));
    assert_int_equal(met, 3);
    FAIL_EACH_ALLOCATION(met, store_begin(&t, s, true, &e));
    assert_int_equal(met, 0); /* the first one open is the store's own */
    store_abort(t);
    store_close(s);
}

/* A page of it that a full disk has no room for would end the process. */
static void test_lock_file_of_the_library_has_its_room(void **state)
{
    (void)state;
    struct stat info;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/state.mdb-lock", dir.path);
    struct store *s = open_store(false);
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size >= 8192);
    assert_true((int64_t)info.st_blocks * 512 >= info.st_size);
    store_close(s);
}

/* Who owned the folder, and whether a take-over was cut off, is not lost to a full disk. */
static void test_full_disk_keeps_the_owner_before(void **state)
{
    (void)state;
    struct store_lock l;
    struct rlimit before, none;
    char path[PATH_MAX], was[64] = "", is[64] = "";
    (void)snprintf(path, sizeof path, "%s/lock", dir.path);
    assert_ok(store_lock_take(&l, dir.path, false, 7, &e), &e);
    store_lock_release(&l);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(was, sizeof was, f));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    const enum status st = store_lock_take(&l, dir.path, false, 8, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(st, STATUS_FULL);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(is, sizeof is, f));
    assert_int_equal(fclose(f), 0);
    assert_string_equal(is, was);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_records_survive_reopening),
        TEST(test_abort_keeps_nothing),
        TEST(test_each_walks_one_table_in_order),
        TEST(test_second_writer_is_refused_by_pid),
        TEST(test_lock_waits_for_the_child_of_a_killed_writer),
        TEST(test_lock_of_a_killed_writer_is_free),
        TEST(test_map_grows_when_run_again),
        TEST(test_full_transaction_stays_again),
        TEST(test_full_disk_is_full_and_keeps_the_old),
        TEST(test_lock_file_of_the_library_has_its_room),
        TEST(test_full_disk_keeps_the_owner_before),
        TEST(test_changed_byte_reads_corrupt),
        TEST(test_foreign_file_is_corrupt),
        TEST(test_read_only_needs_a_store_and_never_writes),
        TEST(test_key_limits),
        TEST(test_open_and_begin_survive_each_oom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
