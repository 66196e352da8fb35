/* test_flips.c - one bit turned over, or the end cut off, anywhere in a state folder: noticed at open, or harmless.
 *
 * Harmless is proven, not believed: everything the store holds reads the same, a further commit succeeds, and what it leaves
 * is whole again.  In a backup every flip is noticed.  FRESHET_FLIPS bits of each file (default 300), spread evenly:
 *   FRESHET_FLIPS=20000 build/release/tests/test_flips
 * labels: fault
 * timeout: 240
 */
#include "base/store.h"
#include "job/checkpoint.h"
#include "job/checkpoint_backup.h"
#include "job/checkpoint_verify.h"
#include "tests/support/check.h"
#include "tests/support/learner_world.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct learner_world world;
static struct tmpdir dir, scratch;
static uint64_t flips = 300;

struct tally {
    uint64_t tried, noticed, harmless;
};

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
    char command[900];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    assert_int_equal(system(command), 0); // NOLINT: a test's own folder
}

/* Versions 1 to 6, with a map that has free pages and overflow runs, and a backup of the last. */
static int open_world(void **state)
{
    (void)state;
    struct err e;
    struct checkpoint *cp;
    struct learner *l;
    if (getenv("FRESHET_FLIPS") != NULL) flips = strtoull(getenv("FRESHET_FLIPS"), NULL, 10);
    if (access("/dev/shm", W_OK) == 0) (void)setenv("TMPDIR", "/dev/shm", 1); /* no disk has to be waited for */
    learner_world_open(&world, 1500);
    assert_ok(conf_set_option(world.conf, "model.hashed_bits=10", &e), &e);
    assert_ok(conf_set_option(world.conf, "model.user_bits=4", &e), &e);
    dir = tmpdir_make("flips");
    scratch = tmpdir_make("flips-copy");
    assert_ok(checkpoint_open(&cp, world.conf, dir.path, (struct checkpoint_options){0}, &e), &e);
    world.in.store = checkpoint_store(cp);
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    learner_world_rewind(&world);
    for (int i = 0; i < 6; i++) {
        (void)learner_world_feed(&world, l, 200);
        assert_ok(checkpoint_write(cp, l, &e), &e);
    }
    assert_ok(checkpoint_backup(cp, &e), &e);
    assert_ok(checkpoint_backup_wait(cp, &e), &e);
    learner_free(l);
    checkpoint_close(cp);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    tmpdir_remove(&scratch);
    tmpdir_remove(&dir);
    learner_world_close(&world);
    return 0;
}

/* ---- everything that a load can see ---- */

static enum status add_record(void *user, struct str key, struct str value, struct err *e)
{
    uint64_t *sum = user;
    (void)e;
    *sum = hash_mix(*sum, hash_mix(hash_str(key), hash_str(value)));
    return STATUS_OK;
}

static enum status read_all(struct store *s, uint64_t *sum, struct err *e)
{
    struct store_txn *t;
    *sum = 1;
    TRY(store_begin(&t, s, false, e));
    enum status st = STATUS_OK;
    for (int i = STORE_META; i < STORE_TABLES && st == STATUS_OK; i++)
        st = store_each(t, (enum store_table)i, add_record, sum, e);
    store_abort(t);
    return st;
}

static enum status write_one(struct store *s, char fill, struct err *e)
{
    static char big[30000];
    struct store_txn *t;
    memset(big, fill, sizeof big);
    TRY(store_begin(&t, s, true, e));
    enum status st = store_put(t, STORE_HASHED, STR("flip"), (struct str){big, sizeof big}, e);
    if (st == STATUS_OK && fill == 'x') st = store_delete(t, STORE_HASHED, STR("flip"), e);
    if (st == STATUS_OK) return store_commit(t, e);
    store_abort(t);
    return st;
}

static uint64_t whole_sum; /* of the undamaged folder */

/* In a copy: reads the same, and three commits later it is whole and still reads the same. */
static void proves_harmless(const char *folder, const char *what, uint64_t at)
{
    struct err e = {0};
    struct store *s;
    struct checkpoint_verdict v;
    uint64_t sum = 0;
    shell("rm -rf '%s/h' && cp -r '%s' '%s/h' && rm -f '%s/h/weights/newest'", scratch.path, folder, scratch.path,
          scratch.path);
    char path[300];
    (void)tmpdir_file(&scratch, "h", path);
    if (store_open(&s, path, false, &e) != STATUS_OK) fail_msg("%s at %llu: %s", what, (unsigned long long)at, e.text);
    enum status st = read_all(s, &sum, &e);
    if (st == STATUS_OK) st = write_one(s, 'a', &e);
    if (st == STATUS_OK) st = write_one(s, 'b', &e);
    if (st == STATUS_OK) st = write_one(s, 'x', &e);
    if (st != STATUS_OK || sum != whole_sum) fail_msg("%s at %llu: %s", what, (unsigned long long)at, e.text);
    st = read_all(s, &sum, &e);
    store_close(s);
    if (st == STATUS_OK) st = checkpoint_verify(&v, path, -1, &e);
    if (st != STATUS_OK || sum != whole_sum) fail_msg("%s at %llu, later: %s", what, (unsigned long long)at, e.text);
}

/* ---- files under test, in a copy of the folder ---- */

struct target {
    char folder[300], path[400];
    const char *name;
    bool backup; /* every flip must be noticed */
    uint64_t size;
};

static struct target open_target(const char *name, bool backup)
{
    struct target t = {.name = name, .backup = backup};
    struct stat info;
    (void)tmpdir_file(&scratch, "f", t.folder);
    shell("rm -rf '%s' && cp -r '%s' '%s'", t.folder, dir.path, t.folder);
    (void)snprintf(t.path, sizeof t.path, "%s/%s", t.folder, name);
    assert_int_equal(stat(t.path, &info), 0);
    t.size = (uint64_t)info.st_size;
    return t;
}

static enum status judge(const struct target *t, struct err *e)
{
    struct checkpoint_verdict v;
    if (t->backup) return checkpoint_backup_verify(t->folder, 6, -1, e);
    const enum status st = checkpoint_verify(&v, t->folder, -1, e);
    if (st != STATUS_OK) return st;
    for (uint32_t i = 0; i < v.n_bad; i++)
        if (v.bad[i] == 5) return STATUS_CORRUPT; /* an older weight file: named, set aside at open */
    assert_int_equal(v.version, 6);
    return st;
}

static void count(const struct target *t, uint64_t at, struct tally *n)
{
    struct err e = {0};
    const enum status st = judge(t, &e);
    n->tried++;
    if (st == STATUS_CORRUPT || st == STATUS_UNSUPPORTED) {
        n->noticed++;
        return;
    }
    if (st != STATUS_OK || t->backup) fail_msg("%s at %llu: %s", t->name, (unsigned long long)at, status_name(st));
    n->harmless++;
    proves_harmless(t->folder, t->name, at);
}

static void flip(int fd, uint64_t bit)
{
    unsigned char byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (unsigned char)(1u << (bit % 8));
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
}

/* About n of size, an odd number apart. */
static uint64_t step_for(uint64_t size, uint64_t n)
{
    return size > n ? size / n | 1 : 1;
}

static struct tally turn_bits(const char *name, bool backup, uint64_t want)
{
    struct target t = open_target(name, backup);
    struct tally n = {0};
    const uint64_t step = step_for(t.size * 8, want);
    const int fd = open(t.path, O_RDWR);
    assert_true(fd >= 0);
    for (uint64_t bit = 0; bit < t.size * 8; bit += step) {
        flip(fd, bit);
        count(&t, bit, &n);
        flip(fd, bit);
    }
    (void)close(fd);
    (void)fprintf(stderr, "flips %s: %llu bytes, %llu bits turned, %llu noticed, %llu harmless, 0 missed\n", name,
                  (unsigned long long)t.size, (unsigned long long)n.tried, (unsigned long long)n.noticed,
                  (unsigned long long)n.harmless);
    return n;
}

static struct tally cut_off(const char *name, bool backup, uint64_t want)
{
    struct target t = open_target(name, backup);
    struct tally n = {0};
    const uint64_t step = step_for(t.size, want);
    char whole[300];
    (void)tmpdir_file(&scratch, "whole", whole);
    shell("cp '%s' '%s'", t.path, whole);
    for (uint64_t length = 0; length < t.size; length += step) {
        assert_int_equal(truncate(t.path, (off_t)length), 0);
        count(&t, length, &n);
        shell("cp '%s' '%s'", whole, t.path);
    }
    (void)fprintf(stderr, "cuts %s: %llu lengths, %llu noticed, %llu harmless, 0 missed\n", name,
                  (unsigned long long)n.tried, (unsigned long long)n.noticed, (unsigned long long)n.harmless);
    return n;
}

static void test_undamaged_folder_is_sound(void **state)
{
    (void)state;
    struct err e = {0};
    struct store *s;
    struct checkpoint_verdict v;
    assert_ok(checkpoint_verify(&v, dir.path, -1, &e), &e);
    assert_int_equal(v.version, 6);
    assert_int_equal(v.weight_files, 5);
    assert_ok(checkpoint_backup_verify(dir.path, 6, -1, &e), &e);
    assert_ok(store_open(&s, dir.path, true, &e), &e);
    assert_ok(read_all(s, &whole_sum, &e), &e);
    store_close(s);
}

static void test_flips_in_the_store(void **state)
{
    (void)state;
    const struct tally n = turn_bits("state.mdb", false, flips);
    assert_true(n.tried > 0 && n.noticed > 0);
}

/* Meta pages, and the first page of each kind: every bit. */
static void test_every_bit_of_the_meta_pages(void **state)
{
    (void)state;
    struct target t = open_target("state.mdb", false);
    struct tally n = {0};
    const int fd = open(t.path, O_RDWR);
    assert_true(fd >= 0);
    for (uint64_t page = 0; page < 2; page++)
        for (uint64_t bit = 0; bit<160 * 8; bit += flips> 300 ? 1 : 11) {
            flip(fd, page * 4096 * 8 + bit);
            count(&t, page * 4096 * 8 + bit, &n);
            flip(fd, page * 4096 * 8 + bit);
        }
    (void)close(fd);
    assert_true(n.noticed > n.harmless);
}

static void test_flips_in_weights(void **state)
{
    (void)state;
    const struct tally newest = turn_bits("weights/6", false, flips / 3),
                       older = turn_bits("weights/5", false, flips / 6);
    assert_true(newest.tried == newest.noticed && older.tried == older.noticed);
    (void)turn_bits("weights/newest", false, flips / 10); /* one fault alone: the store is the newest */
    (void)turn_bits("lock", false, flips / 30);
}

static void test_flips_in_a_backup(void **state)
{
    (void)state;
    (void)turn_bits("backup/6/state.mdb", true, flips / 3);
    (void)turn_bits("backup/6/weights/6", true, flips / 6);
    (void)turn_bits("backup/6/SHA256SUMS", true, flips / 6);
}

static void test_cut_off_files(void **state)
{
    (void)state;
    const struct tally s = cut_off("state.mdb", false, flips / 6), w = cut_off("weights/6", false, flips / 6);
    assert_true(s.noticed > 0 && w.tried == w.noticed);
    (void)cut_off("weights/newest", false, flips / 30);
    (void)cut_off("backup/6/state.mdb", true, flips / 10);
    (void)cut_off("backup/6/weights/6", true, flips / 10);
    (void)cut_off("backup/6/SHA256SUMS", true, flips / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undamaged_folder_is_sound),   cmocka_unit_test(test_flips_in_the_store),
        cmocka_unit_test(test_every_bit_of_the_meta_pages), cmocka_unit_test(test_flips_in_weights),
        cmocka_unit_test(test_flips_in_a_backup),           cmocka_unit_test(test_cut_off_files),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
