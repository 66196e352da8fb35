/* test_file.c - files written whole or not at all, copies with their sums, a new inode for what another still writes to.
 * labels: quick
 * timeout: 60 */
#include "base/file.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct tmpdir dir;
static struct err e;
static int fd;

static int set_up(void **state)
{
    (void)state;
    dir = tmpdir_make("file");
    return file_open_dir(&fd, AT_FDCWD, dir.path, false, &e) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)close(fd);
    tmpdir_remove(&dir);
    return mem_live() == 0 ? 0 : -1;
}

static void holds(const char *name, const char *want)
{
    char path[300];
    size_t n;
    char *text = files_read(tmpdir_file(&dir, name, path), &n);
    assert_string_equal(text, want);
    free(text);
}

static void test_write_replaces_or_leaves(void **state)
{
    (void)state;
    assert_ok(file_write(fd, "a", "one", 3, &e), &e);
    assert_ok(file_write(fd, "a", "two", 3, &e), &e);
    holds("a", "two");
    assert_int_equal(mkdirat(fd, "folder", 0755), 0);
    assert_int_equal(file_write(fd, "folder", "x", 1, &e), STATUS_IO); /* the rename fails */
    char name[300] = "";
    memset(name, 'n', 250);
    assert_int_equal(file_write(fd, name, "x", 1, &e), STATUS_INVALID);
    file_remove(fd, "a");
    file_remove(fd, "folder");
    file_remove(fd, "never");
    assert_int_equal(rmdir(dir.path), 0); /* nothing was left behind */
    assert_int_equal(mkdir(dir.path, 0755), 0);
}

static void test_a_folder_is_listed_and_a_file_copied_whole(void **state)
{
    (void)state;
    unsigned seen = 0;
    assert_ok(file_write(fd, "a", "one", 3, &e), &e);
    assert_ok(file_write(fd, ".b", "two", 3, &e), &e);
    assert_ok(file_copy_whole(fd, "a", fd, "c", &e), &e);
    holds("c", "one");
    assert_int_equal(file_copy_whole(fd, "never", fd, "d", &e), STATUS_NOT_FOUND);
    DIR *d = file_list(fd);
    for (const char *name; (name = file_next(d)) != NULL;)
        seen += strcmp(name, "a") == 0 ? 1 : strcmp(name, ".b") == 0 ? 10 : strcmp(name, "c") == 0 ? 100 : 1000;
    file_list_end(d);
    assert_int_equal(seen, 111);
    assert_null(file_list(-1));
    assert_null(file_next(NULL));
    file_list_end(NULL);
    file_remove(fd, "a");
    file_remove(fd, ".b");
    file_remove(fd, "c");
}

static void test_statuses_of_errno(void **state)
{
    (void)state;
    assert_int_equal(file_failed(&e, "x", "be", ENOSPC), STATUS_FULL);
    assert_int_equal(file_failed(&e, "x", "be", EDQUOT), STATUS_FULL);
    assert_int_equal(file_failed(&e, "x", "be", EFBIG), STATUS_FULL);
    assert_int_equal(file_failed(&e, "x", "be", EIO), STATUS_IO);
    assert_int_equal(file_failed(&e, "x", "be", ENOMEM), STATUS_OOM);
}

static void test_copy_takes_the_head_and_hashes_all(void **state)
{
    (void)state;
    char hex[HASH_SHA256_HEX], want[HASH_SHA256_HEX];
    atomic_bool stop = true;
    files_put_text(&dir, "from", "0123456789");
    const int from = openat(fd, "from", O_RDONLY);
    assert_ok(file_copy(from, 8, "ab", 2, fd, "to", hex, NULL, &e), &e);
    holds("to", "ab234567");
    assert_ok(hash_sha256_of("ab234567", 8, want, &e), &e);
    assert_string_equal(hex, want);
    assert_ok(file_sha256(fd, "to", hex, &e), &e);
    assert_string_equal(hex, want);
    assert_int_equal(file_copy(from, 11, NULL, 0, fd, "short", NULL, NULL, &e), STATUS_CORRUPT);
    assert_int_equal(file_copy(from, 8, NULL, 0, fd, "stopped", NULL, &stop, &e), STATUS_END);
    assert_int_not_equal(faccessat(fd, "short", F_OK, 0), 0);
    assert_int_not_equal(faccessat(fd, "stopped", F_OK, 0), 0);
    (void)close(from);
}

static void test_renewed_file_no_longer_grows(void **state)
{
    (void)state;
    char path[300];
    files_put_text(&dir, "letters", "one\ntwo\nthr");
    const int old = openat(fd, "letters", O_WRONLY | O_APPEND);
    assert_ok(file_renew(tmpdir_file(&dir, "letters", path), 8, &e), &e);
    assert_int_equal(write(old, "late\n", 5), 5);
    (void)close(old);
    holds("letters", "one\ntwo\n");
    assert_ok(file_renew(path, 100, &e), &e);
    holds("letters", "one\ntwo\n");
    assert_ok(file_renew(tmpdir_file(&dir, "absent", path), 8, &e), &e);
    assert_int_not_equal(access(path, F_OK), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_write_replaces_or_leaves),
        TEST(test_a_folder_is_listed_and_a_file_copied_whole),
        TEST(test_statuses_of_errno),
        TEST(test_copy_takes_the_head_and_hashes_all),
        TEST(test_renewed_file_no_longer_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
