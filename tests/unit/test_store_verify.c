/* test_store_verify.c - a whole store is found whole; records that don't add up, pages out of place and copies are told.
 * labels: quick
 * timeout: 60 */
#include "base/store_frame.h"
#include "base/store_verify.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct tmpdir dir;
static struct err e;
static int fd;
static uint64_t n_meta;

static int set_up(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK) == 0) (void)setenv("TMPDIR", "/dev/shm", 1); /* no disk has to be waited for */
    dir = tmpdir_make("verify");
    fd = open(dir.path, O_RDONLY | O_DIRECTORY);
    n_meta = 0;
    return fd >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    (void)close(fd);
    tmpdir_remove(&dir);
    return mem_live() == 0 ? 0 : -1;
}

static struct store *open_store(void)
{
    struct store *s;
    assert_ok(store_open(&s, dir.path, false, &e), &e);
    return s;
}

/* n records of each size, all tables; then a third of them goes again. */
static void fill(struct store *s, int from, int n)
{
    static char big[20000];
    struct store_txn *t;
    assert_ok(store_begin(&t, s, true, &e), &e);
    for (int i = from; i < from + n; i++) {
        char key[20];
        (void)snprintf(key, sizeof key, "key-%05d", i);
        memset(big, i, sizeof big);
        const enum store_table table = (enum store_table)(1 + i % (STORE_TABLES - 1));
        const size_t bytes = i % 7 == 0 ? sizeof big : (size_t)(i % 200);
        assert_ok(store_put(t, table, str_from(key), (struct str){big, bytes}, &e), &e);
        if (i % 3 == 0) assert_ok(store_put(t, table, str_from(key), STR("again"), &e), &e);
        if (i % 3 == 1) assert_ok(store_delete(t, table, str_from(key), &e), &e);
    }
    assert_ok(store_commit(t, &e), &e);
}

static void count_meta(void *user, struct str key, struct str value)
{
    (void)user, (void)key, (void)value;
    n_meta++;
}

static enum status verify(const char *name, struct store_verified *v)
{
    return store_verify(fd, name, count_meta, NULL, v, &e);
}

static void test_stores_of_all_sizes_are_sound(void **state)
{
    (void)state;
    struct store_verified v;
    assert_int_equal(verify("state.mdb", &v), STATUS_NOT_FOUND);
    struct store *s = open_store();
    assert_ok(verify("state.mdb", &v), &e);
    assert_int_equal(v.pages.records, 0);
    for (int i = 1; i < 3000; i *= 3) { /* one page, many leaves, several levels; beside the open store */
        fill(s, i, i);
        n_meta = 0;
        assert_ok(verify("state.mdb", &v), &e);
        uint64_t sum = 0;
        for (int k = 0; k < STORE_TABLES; k++) sum += v.root.n[k];
        assert_int_equal(sum + 1, v.pages.records);
        assert_int_equal(n_meta, v.root.n[STORE_META]);
        struct store_copy c; /* the file may end before its last free pages */
        assert_ok(store_copy_begin(&c, fd, "state.mdb", &e), &e);
        assert_ok(store_copy_write(&c, fd, "copy.mdb", NULL, NULL, &e), &e);
        store_copy_end(&c);
        assert_ok(verify("copy.mdb", &v), &e);
    }
    struct store_txn *t;
    assert_ok(store_begin(&t, s, true, &e), &e);
    assert_ok(store_clear(t, STORE_HASHED, &e), &e);
    assert_ok(store_commit(t, &e), &e);
    store_close(s);
    assert_ok(verify("state.mdb", &v), &e);
    assert_int_equal(v.root.n[STORE_HASHED], 0);
    assert_int_equal(v.root.txnid, v.pages.txnid);
}

static uint64_t draw_state;
static uint32_t draw(uint32_t below)
{
    draw_state = draw_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(draw_state >> 33) % below;
}

/* One transaction of puts (short, long, over one another), deletions and now and then a whole table. */
static void stir(struct store *s)
{
    static char big[60000];
    struct store_txn *t;
    enum status st = STATUS_AGAIN;
    const uint64_t before = draw_state;
    while (st == STATUS_AGAIN) {
        draw_state = before;
        assert_ok(store_begin(&t, s, true, &e), &e);
        const uint32_t n = draw(4) == 0 ? draw(400) : draw(20);
        st = STATUS_OK;
        for (uint32_t i = 0; i < n && st == STATUS_OK; i++) {
            char key[400];
            const enum store_table table = (enum store_table)(1 + draw(STORE_TABLES - 1));
            const size_t k = (size_t)snprintf(key, sizeof key, "%u%0*d", draw(300), (int)(1 + draw(10) * draw(30)), 7);
            const size_t bytes = draw(5) == 0 ? draw(sizeof big) : draw(300);
            const struct str name = {key, k};
            st = draw(3) == 0 ? store_delete(t, table, name, &e)
                              : store_put(t, table, name, (struct str){big, bytes}, &e);
        }
        if (st == STATUS_OK && draw(30) == 0) st = store_clear(t, (enum store_table)(1 + draw(STORE_TABLES - 1)), &e);
        const bool give_up = draw(10) == 0;
        if (st == STATUS_OK && !give_up)
            st = store_commit(t, &e);
        else
            store_abort(t);
    }
    assert_ok(st, &e);
}

/* A sound store is never called damaged, whatever was done to it. */
static void test_no_false_alarm(void **state)
{
    (void)state;
    const char *rounds = getenv("FRESHET_ROUNDS");
    const int n = rounds != NULL ? atoi(rounds) : 150;
    struct store_verified v;
    struct store_copy c;
    struct store *s = open_store();
    draw_state = 1;
    for (int i = 0; i < n; i++) {
        stir(s);
        if (verify("state.mdb", &v) != STATUS_OK) fail_msg("after %d transactions: %s", i + 1, e.text);
        if (draw(40) == 0) {
            assert_ok(store_copy_begin(&c, fd, "state.mdb", &e), &e);
            assert_ok(store_copy_write(&c, fd, "copy.mdb", NULL, NULL, &e), &e);
            store_copy_end(&c);
            if (verify("copy.mdb", &v) != STATUS_OK) fail_msg("copy after %d transactions: %s", i + 1, e.text);
            assert_int_equal(unlinkat(fd, "copy.mdb", 0), 0);
        }
        if (draw(50) == 0) {
            store_close(s);
            s = open_store();
        }
    }
    store_close(s);
}

static size_t slurp(unsigned char *out, size_t cap)
{
    const int f = openat(fd, "state.mdb", O_RDONLY);
    const ssize_t n = read(f, out, cap);
    (void)close(f);
    assert_true(n > 0);
    return (size_t)n;
}

static void spit(const unsigned char *p, size_t n)
{
    const int f = openat(fd, "state.mdb", O_WRONLY | O_TRUNC);
    assert_int_equal(write(f, p, n), n);
    (void)close(f);
}

static unsigned char bytes[4 << 20];

/* Every root record in the file as if there were a record more, each with a good check of its own. */
static void test_records_that_do_not_add_up(void **state)
{
    (void)state;
    struct store_verified v;
    struct store *s = open_store();
    fill(s, 0, 50);
    store_close(s);
    for (int part = 0; part < 3; part++) {
        const size_t n = slurp(bytes, sizeof bytes);
        unsigned char before[STORE_ROOT_BYTES];
        int hits = 0;
        assert_ok(verify("state.mdb", &v), &e);
        store_root_put(before, &v.root);
        struct store_root wrong = v.root;
        if (part == 0) wrong.n[STORE_ITEM]++;
        if (part == 1) wrong.sum[STORE_ITEM]++;
        if (part == 2) wrong.txnid++;
        for (size_t i = 0; i + sizeof before <= n; i++)
            if (memcmp(bytes + i, before, sizeof before) == 0 && ++hits) store_root_put(bytes + i, &wrong);
        assert_true(hits > 0);
        spit(bytes, n);
        assert_int_equal(verify("state.mdb", &v), STATUS_CORRUPT);
        assert_non_null(strstr(e.text, part == 2 ? "its root record is of" : "lost, doubled or old"));
        for (size_t i = 0; i + sizeof before <= n; i++)
            if (store_frame_hash((struct str){(const char *)bytes + i, sizeof before}) != 0 &&
                bytes[i] == STORE_FORMAT &&
                hash_seeded(bytes + i, sizeof before - 8, hash_str(STORE_ROOT_KEY)) ==
                    store_frame_hash((struct str){(const char *)bytes + i, sizeof before}))
                memcpy(bytes + i, before, sizeof before);
        spit(bytes, n);
    }
}

/* A value under another key's name: the frame knows its key. */
static void test_value_under_a_wrong_key(void **state)
{
    (void)state;
    struct store_verified v;
    struct store *s = open_store();
    struct store_txn *t;
    assert_ok(store_begin(&t, s, true, &e), &e);
    assert_ok(store_put(t, STORE_META, STR("offsets-a"), STR("value"), &e), &e);
    assert_ok(store_commit(t, &e), &e);
    store_close(s);
    const size_t n = slurp(bytes, sizeof bytes);
    int hits = 0;
    for (size_t i = 0; i + 9 <= n; i++)
        if (memcmp(bytes + i, "offsets-a", 9) == 0 && ++hits) bytes[i + 8] = 'b';
    assert_true(hits > 0);
    spit(bytes, n);
    assert_int_equal(verify("state.mdb", &v), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "offsets-b"));
}

static void test_foreign_and_empty_files(void **state)
{
    (void)state;
    struct store_verified v;
    store_close(open_store());
    memset(bytes, 'x', 40000);
    for (size_t n = 1; n <= 40000; n = n * 3 + 1) {
        spit(bytes, n);
        assert_int_equal(verify("state.mdb", &v), STATUS_CORRUPT);
    }
    memset(bytes, 0, 40000);
    spit(bytes, 40000);
    assert_int_equal(verify("state.mdb", &v), STATUS_CORRUPT);
    spit(bytes, 0);
    assert_int_equal(verify("state.mdb", &v), STATUS_CORRUPT);
    assert_non_null(strstr(e.text, "empty"));
}

/* Begun at one state and written out after two more commits: it is that state. */
static void test_copy_is_of_the_state_it_was_begun_at(void **state)
{
    (void)state;
    struct store_verified then, copy;
    struct store_copy c;
    struct store *s = open_store();
    char hex[HASH_SHA256_HEX];
    fill(s, 0, 800);
    fill(s, 0, 800); /* with free pages */
    assert_ok(verify("state.mdb", &then), &e);
    assert_ok(store_copy_begin(&c, fd, "state.mdb", &e), &e);
    fill(s, 100, 700);
    fill(s, 100, 700);
    assert_ok(store_copy_write(&c, fd, "copy.mdb", hex, NULL, &e), &e);
    store_copy_end(&c);
    assert_ok(verify("copy.mdb", &copy), &e);
    assert_memory_equal(&copy.root, &then.root, sizeof copy.root);
    store_close(s);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stores_of_all_sizes_are_sound), TEST(test_no_false_alarm),
        TEST(test_records_that_do_not_add_up),    TEST(test_value_under_a_wrong_key),
        TEST(test_foreign_and_empty_files),       TEST(test_copy_is_of_the_state_it_was_begun_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
