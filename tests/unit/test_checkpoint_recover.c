/* test_checkpoint_recover.c - backups, what happens to a damaged folder, and numbers that are never given out twice.
 * labels: quick
 * timeout: 120 */
#include "job/checkpoint.h"
#include "job/checkpoint_backup.h"
#include "model/param.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/learner_world.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct learner_world world;
static struct tmpdir dir;
static struct checkpoint *cp;
static struct learner *l;
static struct err e;

static void open_folder(void)
{
    assert_ok(checkpoint_open(&cp, world.conf, dir.path, (struct checkpoint_options){0}, &e), &e);
    world.in.store = checkpoint_store(cp);
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    assert_ok(checkpoint_restore(cp, l, &e), &e);
}

static void close_folder(void)
{
    learner_free(l);
    checkpoint_close(cp);
    cp = NULL;
    l = NULL;
}

static void learn_version(void)
{
    (void)learner_world_feed(&world, l, 100);
    assert_ok(checkpoint_write(cp, l, &e), &e);
}

static void back_up(void)
{
    assert_ok(checkpoint_backup(cp, &e), &e);
    assert_ok(checkpoint_backup_wait(cp, &e), &e);
}

static bool there(const char *name)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", dir.path, name);
    return access(path, F_OK) == 0;
}

static void damage(const char *name, long at)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", dir.path, name);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    const int c = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(c ^ 8, f), c ^ 8);
    assert_int_equal(fclose(f), 0);
}

static int count_asides(void)
{
    int n = 0;
    DIR *d = opendir(dir.path);
    for (struct dirent *f = d != NULL ? readdir(d) : NULL; f != NULL; f = readdir(d))
        n += strncmp(f->d_name, "damaged-", 8) == 0;
    if (d != NULL) (void)closedir(d);
    return n;
}

/* Versions 1 to 4 with a backup of 2, then 4; 5 and 6 without. */
static void make_history(void)
{
    open_folder();
    learner_world_rewind(&world);
    for (int v = 1; v <= 6; v++) {
        learn_version();
        if (v == 2 || v == 4) back_up();
    }
}

static int set_up(void **state)
{
    (void)state;
    dir = tmpdir_make("recover");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (l != NULL || cp != NULL) close_folder();
    tmpdir_remove(&dir);
    return 0;
}

static void test_backups_are_whole_and_kept_in_number(void **state)
{
    (void)state;
    uint64_t v[CHECKPOINT_BACKUPS_MAX];
    char command[600];
    make_history();
    assert_int_equal(checkpoint_backups(dir.path, v), 2);
    assert_true(v[0] == 4 && v[1] == 2);
    back_up(); /* state.backup_keep is 2: the oldest goes */
    assert_int_equal(checkpoint_backups(dir.path, v), 2);
    assert_true(v[0] == 6 && v[1] == 4);
    assert_ok(checkpoint_backup_verify(dir.path, 6, -1, &e), &e);
    back_up(); /* there already: nothing to do */
    (void)snprintf(command, sizeof command, "cd '%s/backup/6' && sha256sum --quiet -c SHA256SUMS", dir.path);
    assert_int_equal(system(command), 0); // NOLINT: a test's own folder
    assert_false(there("backup/.tmp-6"));
    close_folder();
    damage("backup/6/state.mdb", 100);
    assert_int_equal(checkpoint_backup_verify(dir.path, 6, -1, &e), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "SHA256SUMS"));
    assert_int_not_equal(checkpoint_backup_verify(dir.path, 3, -1, &e), STATUS_OK);
}

/* A backup is a state folder by itself. */
static void test_a_backup_opens_as_a_folder(void **state)
{
    (void)state;
    char command[700];
    make_history();
    close_folder();
    (void)snprintf(command, sizeof command,
                   "cd '%s' && cp -r backup/4 x && rm -rf weights state.mdb* lock backup && mv x/* .", dir.path);
    assert_int_equal(system(command), 0); // NOLINT
    open_folder();
    assert_int_equal(checkpoint_version(cp), 4);
    assert_false(checkpoint_recovered(cp)->recovered);
}

static void falls_back(uint64_t version, uint64_t lost, const char *reason)
{
    open_folder();
    const struct checkpoint_recovery *r = checkpoint_recovered(cp);
    assert_true(r->recovered);
    assert_int_equal(r->version, version);
    assert_int_equal(r->lost, lost);
    if (strstr(r->reason, reason) == NULL) fail_msg("reason \"%s\" does not say \"%s\"", r->reason, reason);
    assert_int_equal(access(r->aside, F_OK), 0);
    assert_int_equal(checkpoint_version(cp), version);
}

static void test_damaged_store_falls_back_and_numbers_go_on(void **state)
{
    (void)state;
    make_history();
    close_folder();
    damage("state.mdb", 16);
    falls_back(4, 6, "state.mdb");
    assert_int_equal(learner_file_next(l), 400);
    close_folder();
    open_folder(); /* known after another start, too */
    assert_false(checkpoint_recovered(cp)->recovered);
    learner_world_rewind(&world);
    learn_version();
    assert_int_equal(checkpoint_version(cp), 7); /* 5 and 6 are taken */
    learn_version();
    assert_int_equal(checkpoint_version(cp), 8);
}

static void test_newest_weight_file_damaged_falls_back_too(void **state)
{
    (void)state;
    make_history();
    close_folder();
    damage("weights/6", 5000);
    falls_back(4, 6, "weights/6");
}

static void test_missing_or_empty_store_is_noticed(void **state)
{
    (void)state;
    char path[300];
    make_history();
    close_folder();
    assert_int_equal(truncate(tmpdir_file(&dir, "state.mdb", path), 0), 0);
    falls_back(4, 6, "empty");
    close_folder();
    assert_int_equal(unlink(tmpdir_file(&dir, "state.mdb", path)), 0);
    falls_back(4, 6, "missing");
}

/* An older state, whole in itself: what came after it was shown to others. */
static void test_older_store_is_noticed(void **state)
{
    (void)state;
    char command[600];
    make_history();
    close_folder();
    (void)snprintf(command, sizeof command,
                   "cd '%s' && cp backup/2/state.mdb state.mdb && cp backup/2/weights/2 weights/", dir.path);
    assert_int_equal(system(command), 0); // NOLINT
    falls_back(4, 6, "newest was 6");
}

static void test_unsound_backup_is_passed_over(void **state)
{
    (void)state;
    make_history();
    close_folder();
    damage("state.mdb", 16);
    damage("backup/4/weights/4", 5000);
    falls_back(2, 6, "state.mdb");
    close_folder();
    damage("state.mdb", 16);
    damage("backup/2/state.mdb", 4096 + 50);
    struct checkpoint *none = (void *)1;
    assert_int_equal(checkpoint_open(&none, world.conf, dir.path, (struct checkpoint_options){0}, &e), STATUS_CORRUPT);
    assert_null(none);
    assert_non_null(strstr(e.text, "none of 2 backups is sound"));
    assert_non_null(strstr(e.text, dir.path));
    assert_true(there("state.mdb") && there("weights/2")); /* nothing was touched */
}

static void test_older_weight_file_is_set_aside_alone(void **state)
{
    (void)state;
    make_history();
    close_folder();
    damage("weights/3", 5000);
    open_folder();
    assert_false(checkpoint_recovered(cp)->recovered);
    assert_int_equal(checkpoint_version(cp), 6);
    assert_false(there("weights/3"));
    assert_int_equal(count_asides(), 1);
}

static void test_asides_are_bounded(void **state)
{
    (void)state;
    make_history();
    close_folder();
    for (int i = 0; i < 6; i++) {
        damage("state.mdb", 16);
        falls_back(4, 6, "state.mdb");
        close_folder();
    }
    assert_int_equal(count_asides(), 3);
}

static int count_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL) n++;
    if (d != NULL) (void)closedir(d);
    return n;
}

static void test_no_descriptor_is_left_open(void **state)
{
    (void)state;
    struct checkpoint *none;
    make_history();
    close_folder();
    const int before = count_fds();
    damage("state.mdb", 16);
    falls_back(4, 6, "state.mdb");
    learner_world_rewind(&world);
    for (int i = 0; i < 3; i++) {
        learn_version();
        back_up();
    }
    close_folder();
    assert_int_equal(count_fds(), before);
    damage("backup/8/state.mdb", 16);
    damage("backup/9/state.mdb", 16);
    damage("state.mdb", 16);
    assert_int_equal(checkpoint_open(&none, world.conf, dir.path, (struct checkpoint_options){0}, &e), STATUS_CORRUPT);
    assert_int_equal(count_fds(), before);
}

/* What the disk can't take is not lost: the same learner goes on in the same folder when there is room. */
static void test_full_disk_keeps_what_was_learnt(void **state)
{
    (void)state;
    struct rlimit before, tight;
    make_history();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)learner_world_feed(&world, l, 100);
    const rlim_t limits[] = {0, 20, 1000, 60000, 200000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        tight = before;
        tight.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
        const enum status st = checkpoint_write(cp, l, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        if (st != STATUS_FULL) fail_msg("limit %ld: %s", (long)limits[i], e.text);
        assert_int_equal(checkpoint_version(cp), 6);
    }
    assert_ok(checkpoint_write(cp, l, &e), &e);
    assert_int_equal(checkpoint_version(cp), 7);
    back_up();
    close_folder();
    open_folder();
    assert_false(checkpoint_recovered(cp)->recovered);
    assert_int_equal(checkpoint_version(cp), 7);
    assert_int_equal(learner_file_next(l), 700);
}

/* Cut off between the damaged files' going and the restored ones' coming. */
static void test_recovery_that_was_cut_off_is_done_again(void **state)
{
    (void)state;
    char command[600];
    make_history();
    close_folder();
    (void)snprintf(command, sizeof command,
                   "cd '%s' && mkdir damaged-20200101T000000.000000-1 && mv weights state.mdb damaged*", dir.path);
    assert_int_equal(system(command), 0); // NOLINT
    falls_back(4, 6, "missing");
    learner_world_rewind(&world);
    learn_version();
    assert_int_equal(checkpoint_version(cp), 7);
}

/* No trace of what there was: numbers go on far above. */
static void test_unknown_newest_leaves_a_gap(void **state)
{
    (void)state;
    char command[600];
    make_history();
    close_folder();
    (void)snprintf(command, sizeof command, "cd '%s' && rm -rf weights state.mdb", dir.path);
    assert_int_equal(system(command), 0); // NOLINT
    falls_back(4, 0, "missing");
    learner_world_rewind(&world);
    learn_version();
    assert_true(checkpoint_version(cp) > 1000000);
}

/* A folder that the first format's last version wrote (tests/fixtures/state_format_1.tar.xz: 100 events of `simulate`). */
static void test_older_format_is_refused_and_left_alone(void **state)
{
    (void)state;
    char command[900];
    struct store *s = (void *)1;
    struct store_txn *t = (void *)1;
    struct checkpoint *none = (void *)1;
    (void)snprintf(command, sizeof command, "tar -xJf '%s' -C '%s' --strip-components=1",
                   files_source("tests/fixtures/state_format_1.tar.xz"), dir.path);
    assert_int_equal(system(command), 0); // NOLINT
    assert_int_equal(checkpoint_open(&none, world.conf, dir.path, (struct checkpoint_options){0}, &e),
                     STATUS_UNSUPPORTED);
    assert_null(none);
    assert_non_null(strstr(e.text, dir.path));
    assert_non_null(strstr(e.text, "format 1, this program reads 2"));
    assert_non_null(strstr(e.text, "new state.dir"));
    assert_int_equal(count_asides(), 0);
    assert_true(there("state.mdb") && there("weights/1"));
    assert_ok(store_open(&s, dir.path, true, &e), &e); /* what the commands that only read do */
    assert_int_equal(store_begin(&t, s, false, &e), STATUS_UNSUPPORTED);
    assert_null(t);
    store_close(s);
}

static int open_world(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK) == 0)
        (void)setenv("TMPDIR", "/dev/shm", 1); /* a test of logic: no disk has to be waited for */
    learner_world_open(&world, 1500);
    assert_ok(conf_set_option(world.conf, "model.hashed_bits=10", &e), &e);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    learner_world_close(&world);
    return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_backups_are_whole_and_kept_in_number),
        TEST(test_a_backup_opens_as_a_folder),
        TEST(test_damaged_store_falls_back_and_numbers_go_on),
        TEST(test_newest_weight_file_damaged_falls_back_too),
        TEST(test_missing_or_empty_store_is_noticed),
        TEST(test_older_store_is_noticed),
        TEST(test_unsound_backup_is_passed_over),
        TEST(test_older_weight_file_is_set_aside_alone),
        TEST(test_asides_are_bounded),
        TEST(test_no_descriptor_is_left_open),
        TEST(test_full_disk_keeps_what_was_learnt),
        TEST(test_recovery_that_was_cut_off_is_done_again),
        TEST(test_unknown_newest_leaves_a_gap),
        TEST(test_older_format_is_refused_and_left_alone),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
