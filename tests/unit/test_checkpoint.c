/* test_checkpoint.c - the state folder: a restored learner goes on in the same bits; damage and misuse are named.
 * labels: quick
 * timeout: 120 */
#include "job/checkpoint.h"
#include "model/param.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/learner_world.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct learner_world world;

static struct learner *new_learner(struct checkpoint *cp)
{
    struct learner *l;
    struct err e;
    world.in.store = checkpoint_store(cp);
    assert_ok(learner_new(&l, &world.in, (struct learner_options){.learn = true}, &e), &e);
    return l;
}

static struct checkpoint *open_folder(const struct tmpdir *dir)
{
    struct checkpoint *cp;
    struct err e;
    assert_ok(checkpoint_open(&cp, world.conf, dir->path, (struct checkpoint_options){0}, &e), &e);
    return cp;
}

static void test_restored_learner_goes_on_in_the_same_bits(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    struct err e;
    struct checkpoint *cp = open_folder(&dir);
    struct learner *whole = new_learner(cp), *first = new_learner(cp);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, whole, UINT64_MAX);
    assert_ok(param_sha256(learner_params(whole), &e), &e);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, first, 1237); /* in the midst of orders, open slates and a batch */
    assert_ok(checkpoint_write(cp, first, &e), &e);
    assert_int_equal(checkpoint_version(cp), 1);
    learner_free(first);
    checkpoint_close(cp);
    cp = open_folder(&dir);
    struct learner *second = new_learner(cp);
    assert_ok(checkpoint_restore(cp, second, &e), &e);
    assert_int_equal(learner_file_next(second), 1237);
    (void)learner_world_feed(&world, second, UINT64_MAX);
    assert_ok(param_sha256(learner_params(second), &e), &e);
    assert_string_equal(learner_params(second)->sha256, learner_params(whole)->sha256);
    assert_memory_equal(learner_counts(second), learner_counts(whole), sizeof(struct learner_counts));
    learner_free(second);
    checkpoint_close(cp);
    learner_free(whole);
    tmpdir_remove(&dir);
}

static void test_only_named_weight_files_stay(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    struct err e;
    char path[400];
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    for (int i = 0; i < 8; i++) {
        (void)learner_world_feed(&world, l, 50);
        assert_ok(checkpoint_write(cp, l, &e), &e);
    }
    for (int v = 1; v <= 8; v++) { /* state.keep of them */
        (void)snprintf(path, sizeof path, "%s/weights/%d", dir.path, v);
        assert_int_equal(access(path, R_OK) == 0, v > 8 - (int)world.conf->state_keep);
    }
    learner_free(l);
    checkpoint_close(cp);
    (void)snprintf(path, sizeof path, "%s/weights/9", dir.path); /* a crash between file and commit */
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    cp = open_folder(&dir);
    assert_int_equal(checkpoint_version(cp), 8);
    assert_int_not_equal(access(path, F_OK), 0);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static void refused(const struct tmpdir *dir, const char *names)
{
    struct err e = {0};
    struct checkpoint *cp = (void *)1;
    assert_int_equal(checkpoint_open(&cp, world.conf, dir->path, (struct checkpoint_options){0}, &e), STATUS_CORRUPT);
    assert_null(cp);
    assert_non_null(strstr(e.text, names));
    assert_non_null(strstr(e.text, "there is no backup"));
}

static void test_damaged_weight_file_is_named(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    struct err e;
    char path[400];
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, 500);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    learner_free(l);
    checkpoint_close(cp);
    (void)snprintf(path, sizeof path, "%s/weights/1", dir.path);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, 3000, SEEK_SET), 0);
    assert_int_equal(fputc('x', f), 'x');
    assert_int_equal(fclose(f), 0);
    refused(&dir, "weights/1");
    assert_int_equal(truncate(path, 1000), 0);
    refused(&dir, "weights/1");
    assert_int_equal(unlink(path), 0);
    refused(&dir, "weights/1");
    tmpdir_remove(&dir);
}

static void test_another_meaning_is_refused_by_name(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    struct err e;
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, 100);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    learner_free(l);
    assert_ok(conf_set_option(world.conf, "join.negatives=3", &e), &e);
    l = new_learner(cp);
    assert_int_equal(checkpoint_restore(cp, l, &e), STATUS_CONFLICT);
    assert_non_null(strstr(e.text, "join.negatives"));
    assert_ok(conf_set_option(world.conf, "join.negatives=4", &e), &e);
    learner_free(l);
    l = new_learner(cp);
    assert_ok(checkpoint_restore(cp, l, &e), &e);
    learner_free(l);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

/* Takes the line that begins with `key` out of what the folder says it means, as a version before that key wrote it. */
static void forget_key(struct checkpoint *cp, const char *key)
{
    struct err e;
    struct str v;
    struct buf b = {0};
    struct store_txn *t = NULL;
    assert_ok(store_begin(&t, checkpoint_store(cp), true, &e), &e);
    assert_ok(store_get(t, STORE_META, STR("meaning"), &v, &e), &e);
    const char *at = memmem(v.p, v.n, key, strlen(key));
    assert_non_null(at);
    const char *end = memchr(at, '\n', v.n - (size_t)(at - v.p));
    buf_put(&b, v.p, (size_t)(at - v.p));
    buf_put(&b, end + 1, v.n - (size_t)(end + 1 - v.p));
    assert_ok(store_put(t, STORE_META, STR("meaning"), (struct str){(const char *)b.p, b.n}, &e), &e);
    assert_ok(store_commit(t, &e), &e);
    buf_fini(&b);
}

/* A folder from before kernels.train_precision was learnt in f32: with that it goes on, with bf16 it is refused by name. */
static void test_a_folder_from_before_a_key_means_what_was_done_then(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    struct err e;
    assert_ok(conf_set_option(world.conf, "kernels.train_precision=f32", &e), &e);
    struct checkpoint *cp = open_folder(&dir);
    struct learner *l = new_learner(cp);
    learner_world_rewind(&world);
    (void)learner_world_feed(&world, l, 100);
    assert_ok(checkpoint_write(cp, l, &e), &e);
    forget_key(cp, "kernels.train_precision=");
    learner_free(l);
    l = new_learner(cp);
    assert_ok(checkpoint_restore(cp, l, &e), &e);
    learner_free(l);
    assert_ok(conf_set_option(world.conf, "kernels.train_precision=bf16", &e), &e);
    l = new_learner(cp);
    assert_int_equal(checkpoint_restore(cp, l, &e), STATUS_CONFLICT);
    assert_non_null(strstr(e.text, "kernels.train_precision"));
    learner_free(l);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

/* Which logs are read (x), and how many records of each are passed over. */
static void check_logs(struct checkpoint *cp, const char *const *paths, size_t n, const char *use_want,
                       const uint64_t *skip_want)
{
    struct err e;
    bool use[4];
    uint64_t skip[4];
    assert_ok(checkpoint_logs(cp, paths, n, use, skip, 0, &e), &e);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(use[i], use_want[i] == 'x');
        assert_int_equal(skip[i], skip_want[i]);
    }
}

/* The i-th log in use gives n records and, where size > 0, ends there. */
static void take_log(struct checkpoint *cp, size_t i, int n, uint64_t size)
{
    while (n-- > 0) checkpoint_log_took(cp, i);
    if (size > 0) checkpoint_log_read(cp, i, size);
}

static void test_logs_are_learnt_once(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    char a[300], b[300];
    struct err e;
    bool use[2];
    uint64_t skip[2];
    files_put_text(&dir, "a", "one\ntwo\n");
    files_put_text(&dir, "b", "three\n");
    const char *ab[] = {tmpdir_file(&dir, "a", a), tmpdir_file(&dir, "b", b)};
    struct checkpoint *cp = open_folder(&dir);
    check_logs(cp, ab, 1, "x", (uint64_t[]){0});
    take_log(cp, 0, 1, 0);
    check_logs(cp, ab, 1, "x", (uint64_t[]){1}); /* stopped after one record */
    assert_int_equal(checkpoint_logs(cp, ab + 1, 1, use, skip, 1, &e), STATUS_CONFLICT);
    take_log(cp, 0, 1, 8);
    checkpoint_logs_done(cp);
    check_logs(cp, ab + 1, 1, "x", (uint64_t[]){0}); /* B comes after A */
    take_log(cp, 0, 1, 6);
    checkpoint_logs_done(cp);
    check_logs(cp, ab, 2, "..", (uint64_t[]){0, 0}); /* both are known */
    checkpoint_logs_done(cp);
    files_put_text(&dir, "b", "three\nfour\nfive\n");
    check_logs(cp, ab, 2, ".x", (uint64_t[]){0, 1}); /* it grew: one record of it is learnt */
    take_log(cp, 0, 1, 0);
    check_logs(cp, ab, 2, ".x", (uint64_t[]){0, 2}); /* stopped after another */
    take_log(cp, 0, 1, 11);                          /* and grew once more after its end was found */
    checkpoint_logs_done(cp);
    check_logs(cp, ab + 1, 1, "x", (uint64_t[]){3});
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

/* Merged with others, each is counted by itself. */
static void test_logs_grow_that_were_learnt_together(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    char a[300], b[300], c[300];
    files_put_text(&dir, "a", "one\ntwo\n");
    files_put_text(&dir, "b", "three\n");
    files_put_text(&dir, "c", "six\n");
    const char *abc[] = {tmpdir_file(&dir, "a", a), tmpdir_file(&dir, "b", b), tmpdir_file(&dir, "c", c)};
    struct checkpoint *cp = open_folder(&dir);
    check_logs(cp, abc, 2, "xx", (uint64_t[]){0, 0});
    take_log(cp, 1, 1, 6);
    take_log(cp, 0, 1, 0);
    check_logs(cp, abc, 2, "xx", (uint64_t[]){1, 1});
    take_log(cp, 0, 1, 8);
    checkpoint_logs_done(cp);
    files_put_text(&dir, "b", "three\nfour\n");
    check_logs(cp, abc + 1, 2, "xx", (uint64_t[]){1, 0});
    take_log(cp, 1, 1, 0);
    files_put_text(&dir, "a", "one\ntwo\nthree\n");
    check_logs(cp, abc, 3, "xxx", (uint64_t[]){2, 1, 1}); /* another that grew joins those under way */
    take_log(cp, 0, 1, 14);
    take_log(cp, 1, 1, 11);
    take_log(cp, 2, 0, 4);
    checkpoint_logs_done(cp);
    check_logs(cp, abc, 3, "...", (uint64_t[]){0, 0, 0});
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

/* The record of log files as a version wrote it that counted none of them before the next ones came. */
static void write_old_logs(struct checkpoint *cp, size_t n)
{
    enum { FIRST = 11, EACH = 36, RECORDS = 12 };
    struct err e;
    struct str v;
    struct buf b = {0};
    struct store_txn *t = NULL;
    assert_ok(store_begin(&t, checkpoint_store(cp), true, &e), &e);
    assert_ok(store_get(t, STORE_META, STR("logs"), &v, &e), &e);
    assert_int_equal(v.n, FIRST + EACH * n + 1);
    buf_put(&b, v.p, v.n - 1);
    for (size_t i = 0; i < n; i++) memset((char *)b.p + FIRST + EACH * i + RECORDS, 0, 8);
    assert_ok(store_put(t, STORE_META, STR("logs"), (struct str){(const char *)b.p, b.n}, &e), &e);
    assert_ok(store_commit(t, &e), &e);
    buf_fini(&b);
}

/* What such a version learnt of one log is known; of several only as long as none of them grows. */
static void test_logs_of_an_earlier_version(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        const struct tmpdir dir = tmpdir_make("checkpoint");
        char a[300], b[300];
        struct err e;
        bool use[2];
        uint64_t skip[2];
        files_put_text(&dir, "a", "one\ntwo\n");
        files_put_text(&dir, "b", "three\n");
        const char *ab[] = {tmpdir_file(&dir, "a", a), tmpdir_file(&dir, "b", b)};
        struct checkpoint *cp = open_folder(&dir);
        check_logs(cp, ab, n, "xx", (uint64_t[]){0, 0});
        take_log(cp, 0, 2, 8);
        if (n == 2) take_log(cp, 1, 1, 6);
        checkpoint_logs_done(cp);
        struct learner *l = new_learner(cp);
        assert_ok(checkpoint_write(cp, l, &e), &e);
        learner_free(l);
        write_old_logs(cp, n);
        checkpoint_close(cp);
        cp = open_folder(&dir);
        files_put_text(&dir, "a", "one\ntwo\nfour\n");
        if (n == 1) {
            assert_ok(checkpoint_logs(cp, ab, 1, use, skip, 2, &e), &e);
            assert_true(use[0] && skip[0] == 2);
        } else {
            check_logs(cp, ab + 1, 1, ".", (uint64_t[]){0});
            assert_int_equal(checkpoint_logs(cp, ab, 2, use, skip, 3, &e), STATUS_CONFLICT);
            assert_non_null(strstr(e.text, a));
        }
        checkpoint_close(cp);
        tmpdir_remove(&dir);
    }
}

/* Two days' files that begin with one catalogue: the second is another log, not the first one grown. */
static void test_logs_that_begin_alike_are_told_apart(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    char text[6000], a[300], b[300];
    memset(text, 'c', sizeof text);
    memcpy(text + 5000, "monday", sizeof "monday");
    files_put_text(&dir, "a", text);
    memcpy(text + 5000, "tuesday, and more of it", sizeof "tuesday, and more of it");
    files_put_text(&dir, "b", text);
    const char *ab[] = {tmpdir_file(&dir, "a", a), tmpdir_file(&dir, "b", b)};
    struct checkpoint *cp = open_folder(&dir);
    check_logs(cp, ab, 1, "x", (uint64_t[]){0});
    take_log(cp, 0, 3, 5006);
    checkpoint_logs_done(cp);
    check_logs(cp, ab + 1, 1, "x", (uint64_t[]){0}); /* nothing of it is learnt */
    take_log(cp, 0, 4, 5023);
    checkpoint_logs_done(cp);
    check_logs(cp, ab, 2, "..", (uint64_t[]){0, 0});
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static void test_open_survives_each_failed_allocation(void **state)
{
    (void)state;
    const struct tmpdir dir = tmpdir_make("checkpoint");
    long met;
    struct checkpoint *cp = NULL;
    struct err e;
    FAIL_EACH_ALLOCATION(met, checkpoint_open(&cp, world.conf, dir.path, (struct checkpoint_options){0}, &e));
    assert_true(met > 1);
    checkpoint_close(cp);
    tmpdir_remove(&dir);
}

static int open_world(void **state)
{
    (void)state;
    learner_world_open(&world, 3000);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    learner_world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restored_learner_goes_on_in_the_same_bits),
        cmocka_unit_test(test_only_named_weight_files_stay),
        cmocka_unit_test(test_damaged_weight_file_is_named),
        cmocka_unit_test(test_another_meaning_is_refused_by_name),
        cmocka_unit_test(test_a_folder_from_before_a_key_means_what_was_done_then),
        cmocka_unit_test(test_logs_are_learnt_once),
        cmocka_unit_test(test_logs_grow_that_were_learnt_together),
        cmocka_unit_test(test_logs_of_an_earlier_version),
        cmocka_unit_test(test_logs_that_begin_alike_are_told_apart),
        cmocka_unit_test(test_open_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
