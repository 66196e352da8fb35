/* test_state_file_write.c - making a file beside the one before, what a cache takes of it at its start, and no memory.
 *
 * labels: quick
 */
#include "base/mem.h"
#include "model/state_file.h"
#include "model/state_file_format.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/state_files.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void put_bytes(const struct state_cache *c, const char *text)
{
    files_put_text(&state_files_dir, strrchr(state_files_path(c), '/') + 1, text);
}

static uint64_t sentences_there(struct state_cache *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < SENTENCES; i++) n += state_has(c, state_files_req[i].hash);
    return n;
}

static void next_probe(struct state_file_head *h)
{
    h->probe++;
}

/* Learners take what their own arithmetic would give to the last bit; scorers whatever is of their kind. */
static void test_attach_takes_what_fits_and_goes_on_without(void **state)
{
    (void)state;
    struct state_stats s;
    struct err e = {0};
    struct state_cache *c = state_files_cache(false);
    assert_ok(state_file_attach(c, "", true, &e), &e);
    assert_ok(state_file_attach(c, state_files_dir.path, true, &e), &e); /* there is none */
    assert_ok(state_file_attach(c, "/no/such/folder", false, &e), &e);
    state_files_make(c, SENTENCES);
    state_cache_free(c);

    c = state_files_cache(false);
    state_files_change_head(c, next_probe);
    assert_ok(state_file_attach(c, state_files_dir.path, true, &e), &e);
    assert_int_equal(sentences_there(c), 0);
    state_stats(c, &s);
    assert_int_equal(s.hits + s.misses + s.encoded, 0);
    assert_ok(state_file_attach(c, state_files_dir.path, false, &e), &e);
    assert_int_equal(sentences_there(c), SENTENCES);
    state_cache_free(c);

    c = state_files_cache(true); /* another key: another file */
    assert_ok(state_file_attach(c, state_files_dir.path, false, &e), &e);
    assert_int_equal(sentences_there(c), 0);
    state_cache_free(c);

    c = state_files_cache(false);
    put_bytes(c, "?");
    assert_ok(state_file_attach(c, state_files_dir.path, false, &e), &e);
    assert_int_equal(sentences_there(c), 0);
    state_cache_free(c);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void test_the_file_before_stays_until_commit(void **state)
{
    (void)state;
    char temporary[300];
    struct err e = {0};
    struct stat info;
    struct state_file_writer *w, *second = (void *)1;
    struct state_cache *c = state_files_cache(false);
    const struct state_file_kind k = state_file_kind(c);
    state_files_make(c, 3);
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", state_files_path(c));
    assert_ok(state_file_create(&w, state_files_dir.path, &k, 0, &e), &e);
    assert_ok(state_files_add(w, c, SENTENCES, &e), &e);
    assert_int_equal(stat(temporary, &info), 0);
    assert_int_equal(state_file_create(&second, state_files_dir.path, &k, 0, &e), STATUS_CONFLICT);
    assert_null(second);
    state_file_writer_free(w); /* given up */
    assert_int_not_equal(stat(temporary, &info), 0);
    struct state_file *f = state_files_open(c);
    assert_int_equal(state_file_count(f), 3);
    state_file_close(f);
    state_file_writer_free(NULL);
    files_put(&state_files_dir, strrchr(temporary, '/') + 1, "left by a process that was killed", 33);
    state_files_make(c, 4);
    f = state_files_open(c);
    assert_int_equal(state_file_count(f), 4);
    state_file_close(f);
    state_cache_free(c);
}

static void test_what_does_not_fit_is_not_added(void **state)
{
    (void)state;
    static const uint16_t numbers[NUMBERS];
    struct err e = {0};
    struct state_file_writer *w;
    struct state_cache *c = state_files_cache(true);
    const struct state_file_kind k = state_file_kind(c);
    struct record_state r = {.n_tokens = 2, .width = WIDTH + 1, .pooled = numbers, .final = numbers, .tokens = numbers};
    assert_ok(state_file_create(&w, state_files_dir.path, &k, 0, &e), &e);
    assert_int_equal(state_file_add(w, 1, &r, &e), STATUS_INVALID);
    r.width = WIDTH;
    r.n_tokens = 0;
    assert_int_equal(state_file_add(w, 1, &r, &e), STATUS_INVALID);
    assert_false(state_file_added(w, 1));
    r.n_tokens = 2;
    assert_ok(state_file_add(w, 1, &r, &e), &e);
    assert_ok(state_file_add(w, 1, &r, &e), &e);
    assert_true(state_file_added(w, 1));
    uint64_t bytes;
    assert_ok(state_file_commit(w, &bytes, &e), &e);
    assert_int_equal(bytes, 80 + 16 + 4 * WIDTH * 2 + 8 + 16); /* once */
    state_file_writer_free(w);
    assert_int_equal(state_file_create(&w, "/proc/no/such", &k, 0, &e), STATUS_IO);
    state_cache_free(c);
}

/* More than the first table and the first buffer hold; hash 0 is one like any other. */
static void test_many_sentences(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    uint16_t numbers[2 * WIDTH] = {0}, back[2 * WIDTH];
    uint64_t bytes;
    struct err e = {0};
    struct state_file_writer *w;
    struct state_cache *c = state_files_cache(false);
    const struct state_file_kind k = state_file_kind(c);
    assert_ok(state_file_create(&w, state_files_dir.path, &k, 0, &e), &e);
    for (uint64_t i = 0; i < MANY; i++) {
        const struct record_state r = {.width = WIDTH, .pooled = numbers, .final = numbers + WIDTH};
        numbers[3] = (uint16_t)i;
        assert_ok(state_file_add(w, i * 0x9e3779b97f4a7c15u, &r, &e), &e);
    }
    assert_ok(state_file_commit(w, &bytes, &e), &e);
    state_file_writer_free(w);
    struct state_file *f = state_files_open(c);
    assert_int_equal(state_file_count(f), MANY);
    for (uint64_t i = 0; i < MANY; i += 7) {
        assert_ok(state_file_read(f, i * 0x9e3779b97f4a7c15u, 0, back, &e), &e);
        assert_int_equal(back[3], (uint16_t)i);
    }
    state_file_close(f);
    state_cache_free(c);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static enum status open_and_close(const struct state_cache *c)
{
    struct state_file *f;
    struct err e = {0};
    const struct state_file_kind k = state_file_kind(c);
    const enum status st = state_file_open(&f, state_files_path(c), &k, SIZE_MAX, &e);
    if (st != STATUS_OK) assert_null(f);
    state_file_close(f);
    return st;
}

static enum status write_one(struct state_cache *c)
{
    uint64_t bytes;
    struct err e = {0};
    struct state_file_writer *w;
    const struct state_file_kind k = state_file_kind(c);
    enum status st = state_file_create(&w, state_files_dir.path, &k, 0, &e);
    if (st != STATUS_OK) assert_null(w);
    if (st == STATUS_OK) st = state_files_add(w, c, SENTENCES, &e);
    if (st == STATUS_OK) st = state_file_commit(w, &bytes, &e);
    state_file_writer_free(w);
    return st;
}

static void test_each_failing_allocation_is_survived(void **state)
{
    (void)state;
    long met;
    uint16_t numbers[2 * WIDTH];
    struct err e = {0};
    struct state_cache *c = state_files_cache(false);
    state_files_make(c, SENTENCES); /* its sentences are in memory: what follows allocates for the file alone */
    FAIL_EACH_ALLOCATION(met, open_and_close(c));
    assert_int_equal(met, 2);
    FAIL_EACH_ALLOCATION(met, write_one(c));
    assert_true(met >= 3);
    struct state_file *f = state_files_open(c);
    const long before = mem_total();
    assert_ok(state_file_read(f, state_files_req[0].hash, 0, numbers, &e), &e);
    assert_int_equal(mem_total(), before);
    mem_fail_after(0);
    assert_int_equal(state_file_attach(c, state_files_dir.path, false, &e), STATUS_OOM);
    mem_fail_after(-1);
    state_file_close(f);
    state_cache_free(c);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, state_files_make_dir, state_files_remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_attach_takes_what_fits_and_goes_on_without),
        IN_DIR(test_the_file_before_stays_until_commit),
        IN_DIR(test_what_does_not_fit_is_not_added),
        IN_DIR(test_many_sentences),
        IN_DIR(test_each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, state_files_open_model, state_files_close_model);
}
