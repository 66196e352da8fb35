/* test_checkpoint_fence.c - a folder taken over from an owner that stands still: nothing that it does later arrives.
 * labels: quick
 * timeout: 120 */
#include "base/store_lock.h"
#include "job/checkpoint.h"
#include "job/checkpoint_meta.h"
#include "model/param.h"
#include "tests/support/check.h"
#include "tests/support/learner_world.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct learner_world world;
static struct tmpdir dir;
static struct err e;

static struct checkpoint *open_as(bool take_over, uint64_t epoch)
{
    struct checkpoint *cp = NULL;
    const struct checkpoint_options o = {.take_over = take_over, .epoch = epoch};
    assert_ok(checkpoint_open(&cp, world.conf, dir.path, o, &e), &e);
    return cp;
}

static struct learner *learner_of(struct checkpoint *cp)
{
    struct learner *l;
    world.in.store = checkpoint_store(cp);
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    assert_ok(checkpoint_restore(cp, l, &e), &e);
    return l;
}

struct word { /* from the child */
    enum status status;
    uint64_t version;
    char text[400];
};

static void say(int fd, enum status st, const struct checkpoint *cp)
{
    struct word w = {.status = st, .version = checkpoint_version(cp)};
    (void)snprintf(w.text, sizeof w.text, "%s", e.text);
    if (write(fd, &w, sizeof w) != (ssize_t)sizeof w) _exit(9);
}

/* The old owner: two checkpoints and a backup; then, at each word of ours, another try. */
static void be_owner(int in, int out)
{
    char c;
    struct checkpoint *cp = open_as(false, 3);
    struct learner *l = learner_of(cp);
    learner_world_rewind(&world);
    for (int i = 0; i < 2; i++) {
        (void)learner_world_feed(&world, l, 200);
        if (checkpoint_write(cp, l, &e) != STATUS_OK) _exit(8);
    }
    if (checkpoint_backup(cp, &e) != STATUS_OK || checkpoint_backup_wait(cp, &e) != STATUS_OK) _exit(7);
    char path[300];
    const int weights = open(tmpdir_file(&dir, "weights", path), O_RDONLY | O_DIRECTORY);
    say(out, STATUS_OK, cp);
    while (read(in, &c, 1) == 1) {
        (void)learner_world_feed(&world, l, 200);
        e.text[0] = 0;
        if (c == 'w') say(out, checkpoint_write(cp, l, &e), cp);
        if (c == 'f') say(out, checkpoint_fenced(cp, &e), cp);
        if (c == 'b') say(out, checkpoint_backup(cp, &e), cp);
        if (c == 'd') { /* woken between two renames into weights/ */
            const int fd = openat(weights, "newest", O_WRONLY | O_CREAT | O_TRUNC, 0644);
            if (fd >= 0 && write(fd, "nonsense", 8) == 8) (void)close(fd);
            (void)unlinkat(weights, "2", 0);
            say(out, STATUS_OK, cp);
        }
        if (c == 't') { /* woken inside a commit: straight to the store and the folders */
            struct store_txn *t;
            enum status st = store_begin(&t, checkpoint_store(cp), true, &e);
            if (st == STATUS_OK) st = store_put(t, STORE_META, STR("intruder"), STR("x"), &e);
            if (st == STATUS_OK) st = store_commit(t, &e);
            say(out, st, cp);
        }
    }
    _exit(0);
}

static struct {
    pid_t pid;
    int in, out;
} owner;

static struct word hear(void)
{
    struct word w;
    assert_int_equal(read(owner.out, &w, sizeof w), sizeof w);
    return w;
}

static struct word ask(char c)
{
    assert_int_equal(write(owner.in, &c, 1), 1);
    return hear();
}

static int set_up(void **state)
{
    (void)state;
    int in[2], out[2];
    dir = tmpdir_make("fence");
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    owner.pid = fork();
    if (owner.pid == 0) {
        (void)close(in[1]);
        (void)close(out[0]);
        be_owner(in[0], out[1]);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    owner.in = in[1];
    owner.out = out[0];
    assert_int_equal(hear().version, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)kill(owner.pid, SIGKILL);
    (void)waitpid(owner.pid, NULL, 0);
    (void)close(owner.in);
    (void)close(owner.out);
    tmpdir_remove(&dir);
    return 0;
}

static void stop_owner(void)
{
    int how;
    assert_int_equal(kill(owner.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(owner.pid, &how, WUNTRACED), owner.pid);
    assert_true(WIFSTOPPED(how));
}

static void test_second_process_is_refused_by_name(void **state)
{
    (void)state;
    char pid[60], host[256] = "";
    struct checkpoint *cp = (void *)1;
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(pid, sizeof pid, "process %ld on host %.20s", (long)owner.pid, host);
    assert_int_equal(checkpoint_open(&cp, world.conf, dir.path, (struct checkpoint_options){0}, &e), STATUS_CONFLICT);
    assert_null(cp);
    assert_non_null(strstr(e.text, pid));
    assert_non_null(strstr(e.text, "epoch 3"));
}

static void test_stopped_owner_is_fenced(void **state)
{
    (void)state;
    char pid[40];
    struct stat before, after;
    char path[300];
    static const char *const all[] = {"lock", "state.mdb", "state.mdb-lock", "weights", "backup"};
    ino_t old[5];
    stop_owner();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(stat(tmpdir_file(&dir, all[i], path), &before), 0);
        old[i] = before.st_ino;
    }
    struct checkpoint *cp = open_as(true, 4);
    for (int i = 0; i < 5; i++) { /* everything it can write to is another file by now */
        assert_int_equal(stat(tmpdir_file(&dir, all[i], path), &after), 0);
        if (after.st_ino == old[i]) fail_msg("%s is still the old owner's", all[i]);
    }
    assert_int_equal(checkpoint_version(cp), 2);
    struct learner *l = learner_of(cp);
    (void)learner_world_feed(&world, l, 200);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    assert_int_equal(checkpoint_version(cp), 3);
    char sha[HASH_SHA256_HEX];
    (void)snprintf(sha, sizeof sha, "%s", checkpoint_sha256(cp));
    assert_int_equal(stat(tmpdir_file(&dir, "weights", path), &before), 0);
    assert_int_equal(kill(owner.pid, SIGCONT), 0);
    (void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    for (const char *c = "dtwwbf"; *c != 0; c++) {
        const struct word w = ask(*c);
        if (*c == 't' || *c == 'd') continue; /* it may well succeed: in a file that nobody reads any more */
        assert_int_equal(w.status, STATUS_CONFLICT);
        assert_non_null(strstr(w.text, pid));
        assert_non_null(strstr(w.text, "epoch 4"));
        assert_int_equal(w.version, 2);
    }
    assert_int_equal(stat(tmpdir_file(&dir, "weights", path), &after), 0);
    assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    assert_int_not_equal(access(tmpdir_file(&dir, "weights.take", path), F_OK), 0);
    assert_ok(checkpoint_fenced(cp, &e), &e);
    assert_int_equal(access(tmpdir_file(&dir, "weights/2", path), R_OK), 0);
    learner_free(l);
    checkpoint_close(cp);
    cp = open_as(false, 0); /* whole, and ours alone */
    assert_int_equal(checkpoint_version(cp), 3);
    assert_string_equal(checkpoint_sha256(cp), sha);
    struct store_txn *t;
    struct str v;
    struct checkpoint_mark mark;
    assert_ok(store_begin(&t, checkpoint_store(cp), false, &e), &e);
    assert_ok(store_get(t, STORE_META, STR("version"), &v, &e), &e);
    assert_ok(checkpoint_mark_decode(&mark, v, &e), &e);
    assert_int_equal(mark.epoch, 4);
    assert_int_equal(store_get(t, STORE_META, STR("intruder"), &v, &e), STATUS_NOT_FOUND);
    store_abort(t);
    checkpoint_close(cp);
}

/* The one who takes over dies after the lock and before the rest: the next one, with no options at all, does the rest. */
static void test_take_over_that_was_cut_off_is_finished(void **state)
{
    (void)state;
    struct store_lock half;
    char path[300];
    struct stat before, after;
    assert_int_equal(stat(tmpdir_file(&dir, "state.mdb", path), &before), 0);
    stop_owner();
    assert_ok(store_lock_take(&half, dir.path, true, 4, &e), &e);
    assert_true(half.pending);
    store_lock_release(&half);
    struct checkpoint *cp = open_as(false, 5);
    assert_int_equal(checkpoint_version(cp), 2);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino != after.st_ino);
    assert_int_equal(kill(owner.pid, SIGCONT), 0);
    assert_int_equal(ask('w').status, STATUS_CONFLICT);
    checkpoint_close(cp);
}

/* Nobody is there any more: taking over is opening. */
static void test_take_over_of_a_dead_owners_folder(void **state)
{
    (void)state;
    struct stat before, after;
    char path[300];
    (void)kill(owner.pid, SIGKILL);
    (void)waitpid(owner.pid, NULL, 0);
    assert_int_equal(stat(tmpdir_file(&dir, "state.mdb", path), &before), 0);
    struct checkpoint *cp = open_as(true, 4);
    assert_int_equal(checkpoint_version(cp), 2);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    checkpoint_close(cp);
}

/* A running owner writes on while its folder is taken: whatever it had finished is there, whole. */
static void test_take_over_from_a_running_owner(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) assert_int_equal(write(owner.in, "w", 1), 1);
    struct checkpoint *cp = open_as(true, 4);
    uint64_t seen = 2;
    for (int i = 0; i < 3; i++) {
        const struct word w = hear();
        if (w.status == STATUS_OK) seen = w.version;
    }
    assert_true(checkpoint_version(cp) >= seen);
    struct learner *l = learner_of(cp);
    (void)learner_world_feed(&world, l, 50);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    learner_free(l);
    checkpoint_close(cp);
    cp = open_as(false, 0);
    assert_false(checkpoint_recovered(cp)->recovered);
    checkpoint_close(cp);
}

static int open_world(void **state)
{
    (void)state;
    learner_world_open(&world, 3000);
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
        TEST(test_second_process_is_refused_by_name),      TEST(test_stopped_owner_is_fenced),
        TEST(test_take_over_that_was_cut_off_is_finished), TEST(test_take_over_of_a_dead_owners_folder),
        TEST(test_take_over_from_a_running_owner),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
