/* test_state_file.c - states on disk: the same bits as computed, every damage met, files of another kind refused by name.
 *
 * labels: quick threads
 */
#include "base/hash.h"
#include "base/rand.h"
#include "model/state_file.h"
#include "model/state_file_format.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/state_files.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_refused(const struct state_cache *c, const struct state_file_kind *k, enum status want,
                           const char *word)
{
    struct state_file *f = (void *)1;
    struct err e = {0};
    assert_int_equal(state_file_open(&f, state_files_path(c), k, SIZE_MAX, &e), want);
    assert_null(f);
    if (strstr(e.text, word) == NULL) fail_msg("'%s' says nothing of '%s'", e.text, word);
}

/* --- the same bits ------------------------------------------------------------------------------------------------ */

/* All but two come from the file, those two are computed. */
static void test_read_is_as_computed(void **state)
{
    (void)state;
    for (int tokens = 0; tokens < 2; tokens++) {
        struct state_stats s;
        struct err e = {0};
        struct state_cache *from = state_files_cache(tokens), *to = state_files_cache(tokens);
        state_files_make(from, SENTENCES - 2);
        assert_ok(state_file_attach(to, state_files_dir.path, true, &e), &e);
        assert_true(state_has(to, state_files_req[0].hash)); /* without being asked for */
        assert_false(state_has(to, state_files_req[SENTENCES - 1].hash));
        state_files_assert_same(from, to);
        state_stats(to, &s);
        assert_int_equal(s.file_hits, SENTENCES - 2);
        assert_int_equal(s.encoded, 2);
        assert_int_equal(s.misses, SENTENCES);
        assert_int_equal(s.hits, 0);
        assert_int_equal(s.file_damaged, 0);
        state_cache_free(from);
        state_cache_free(to);
    }
}

static void test_file_tells_what_it_holds(void **state)
{
    (void)state;
    struct err e = {0};
    uint16_t numbers[NUMBERS];
    struct state_cache *c = state_files_cache(true);
    state_files_make(c, SENTENCES);
    struct state_file *f = state_files_open(c);
    struct stat info;
    assert_int_equal(stat(state_files_path(c), &info), 0);
    assert_int_equal(state_file_bytes(f), info.st_size);
    assert_int_equal(state_file_count(f), SENTENCES);
    for (size_t i = 0; i < SENTENCES; i++) {
        assert_true(state_file_has(f, state_files_req[i].hash));
        assert_int_equal(state_file_tokens(f, state_files_req[i].hash), state_files_req[i].n);
        assert_true(i == 0 || state_file_hash(f, i - 1) < state_file_hash(f, i));
        assert_int_equal(state_file_read(f, state_files_req[i].hash, state_files_req[i].n - 1, numbers, &e),
                         STATUS_CORRUPT); /* too short */
        assert_ok(state_file_read(f, state_files_req[i].hash, state_files_req[i].n, numbers, &e), &e);
    }
    assert_false(state_file_has(f, 7));
    assert_int_equal(state_file_tokens(f, 7), 0);
    assert_int_equal(state_file_read(f, 7, 1, numbers, &e), STATUS_NOT_FOUND);
    state_file_close(f);
    state_file_close(NULL);
    state_cache_free(c);
}

static void test_index_is_within_bounds(void **state)
{
    (void)state;
    struct err e = {0};
    struct state_stats before, after;
    struct state_file *f = (void *)1;
    struct state_cache *c = state_files_cache(false);
    const struct state_file_kind k = state_file_kind(c);
    state_files_make(c, SENTENCES);
    assert_int_equal(state_file_open(&f, state_files_path(c), &k, SENTENCES * 16 - 1, &e), STATUS_FULL);
    assert_null(f);
    assert_non_null(strstr(e.text, "kernels.cache_bytes"));
    assert_ok(state_file_open(&f, state_files_path(c), &k, SENTENCES * 16, &e), &e);
    assert_int_equal(state_file_index_bytes(f), SENTENCES * 16);
    state_stats(c, &before);
    state_cache_attach(c, f);
    state_stats(c, &after);
    assert_int_equal(after.bytes - before.bytes, SENTENCES * 16);
    state_cache_free(c);
}

static void test_an_empty_file_is_one(void **state)
{
    (void)state;
    struct state_cache *c = state_files_cache(false);
    state_files_make(c, 0);
    struct state_file *f = state_files_open(c);
    assert_int_equal(state_file_count(f), 0);
    assert_false(state_file_has(f, state_files_req[0].hash));
    state_file_close(f);
    state_cache_free(c);
}

struct shopper {
    struct state_cache *c;
    uint64_t seed;
    bool ok;
};

static void *shop(void *arg)
{
    struct shopper *s = arg;
    struct rand r;
    struct err e = {0};
    const struct state_entry *got[4];
    struct state_request some[4];
    rand_init(&r, (struct rand_key){.seed = s->seed, .purpose = RAND_TEST});
    s->ok = true;
    for (int i = 0; i < 100 && s->ok; i++) {
        for (size_t j = 0; j < 4; j++) some[j] = state_files_req[rand_below(&r, SENTENCES)];
        s->ok = state_has(s->c, some[0].hash) && state_acquire(s->c, some, 4, got, &e) == STATUS_OK;
        if (s->ok) state_release(s->c, got, 4);
    }
    return NULL;
}

static void test_many_threads_read_one_file(void **state)
{
    (void)state;
    pthread_t t[4];
    struct shopper s[4];
    struct state_stats stats;
    struct err e = {0};
    struct state_cache *from = state_files_cache(false), *to = state_files_cache(false);
    state_files_make(from, SENTENCES);
    assert_ok(state_file_attach(to, state_files_dir.path, false, &e), &e);
    for (unsigned i = 0; i < 4; i++) {
        s[i] = (struct shopper){.c = to, .seed = i};
        assert_int_equal(pthread_create(&t[i], NULL, shop, &s[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
    for (unsigned i = 0; i < 4; i++) assert_true(s[i].ok);
    state_files_assert_same(from, to);
    state_stats(to, &stats);
    assert_int_equal(stats.encoded, 0);
    assert_int_equal(stats.file_hits, stats.misses);
    state_cache_free(from);
    state_cache_free(to);
}

static void test_hit_rate_leaves_out_what_was_brought(void **state)
{
    (void)state;
    assert_true(state_hit_rate(&(struct state_stats){0}) == 0.0);
    assert_true(state_hit_rate(&(struct state_stats){.hits = 6, .misses = 2}) == 0.75);
    assert_true(state_hit_rate(&(struct state_stats){.hits = 6, .misses = 2, .put = 4}) == 0.25);
    assert_true(state_hit_rate(&(struct state_stats){.hits = 2, .misses = 2, .put = 4}) == 0.0);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

static void put_bytes(const struct state_cache *c, const void *p, size_t n)
{
    FILE *f = fopen(state_files_path(c), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void test_every_cut_is_refused(void **state)
{
    (void)state;
    size_t n;
    struct state_cache *c = state_files_cache(false);
    const struct state_file_kind k = state_file_kind(c);
    state_files_make(c, SENTENCES);
    char *whole = files_read(state_files_path(c), &n);
    for (size_t cut = n; cut-- > 0;) {
        assert_int_equal(truncate(state_files_path(c), (off_t)cut), 0);
        assert_refused(c, &k, STATUS_CORRUPT, "cut short");
    }
    char *longer = calloc(1, n + 1);
    memcpy(longer, whole, n);
    put_bytes(c, longer, n + 1);
    assert_refused(c, &k, STATUS_CORRUPT, "not its own");
    free(longer);
    free(whole);
    state_cache_free(c);
}

/* Of the first FEW records those that read well; what they hold is what is in `good`. */
static size_t count_good(const struct state_file *f, uint16_t good[FEW][NUMBERS])
{
    size_t n = 0;
    uint16_t numbers[NUMBERS];
    struct err e = {0};
    for (size_t i = 0; i < FEW; i++) {
        const enum status st = state_file_read(f, state_files_req[i].hash, state_files_req[i].n, numbers, &e);
        if (st != STATUS_OK) assert_int_equal(st, STATUS_CORRUPT);
        if (st != STATUS_OK) continue;
        assert_memory_equal(numbers, good[i], (2 + state_files_req[i].n) * WIDTH * sizeof(uint16_t));
        n++;
    }
    return n;
}

/* One bit of the header or index refuses the file, one of a record that record alone. */
static void test_every_flipped_bit_is_met(void **state)
{
    (void)state;
    static uint16_t good[FEW][NUMBERS];
    struct err e = {0};
    size_t n, refused = 0, left_out = 0;
    struct state_cache *c = state_files_cache(true);
    const struct state_file_kind k = state_file_kind(c);
    state_files_make(c, FEW);
    struct state_file *f = state_files_open(c);
    for (size_t i = 0; i < FEW; i++)
        assert_ok(state_file_read(f, state_files_req[i].hash, state_files_req[i].n, good[i], &e), &e);
    state_file_close(f);
    char *whole = files_read(state_files_path(c), &n);
    const int fd = open(state_files_path(c), O_WRONLY);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        const char flipped = (char)(whole[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(bit / 8)), 1);
        const enum status st = state_file_open(&f, state_files_path(c), &k, SIZE_MAX, &e);
        if (st == STATUS_OK) {
            assert_int_equal(count_good(f, good), FEW - 1);
            state_file_close(f);
            left_out++;
        } else {
            assert_true(st == STATUS_CORRUPT || st == STATUS_UNSUPPORTED);
            refused++;
        }
        assert_int_equal(pwrite(fd, &whole[bit / 8], 1, (off_t)(bit / 8)), 1);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(refused, 8 * (sizeof(struct state_file_head) + FEW * sizeof(struct state_file_place)));
    assert_int_equal(left_out, 8 * n - refused);
    free(whole);
    state_cache_free(c);
}

static void next_format(struct state_file_head *h)
{
    h->format++;
}

static void many_records(struct state_file_head *h)
{
    h->n = UINT64_MAX / sizeof(struct state_file_place); /* n * 16 overflows to what the file's size is */
    h->n += 1 + SENTENCES;
}

static void index_in_head(struct state_file_head *h)
{
    h->index_at = 8;
}

static void test_sizes_that_lie_are_refused(void **state)
{
    (void)state;
    struct state_cache *c = state_files_cache(false);
    const struct state_file_kind k = state_file_kind(c);
    state_files_make(c, SENTENCES);
    state_files_change_head(c, many_records);
    assert_refused(c, &k, STATUS_CORRUPT, "header tells");
    state_files_make(c, SENTENCES);
    state_files_change_head(c, index_in_head);
    assert_refused(c, &k, STATUS_CORRUPT, "header tells");
    state_files_make(c, SENTENCES);
    state_files_change_head(c, next_format);
    assert_refused(c, &k, STATUS_UNSUPPORTED, "format 2");
    put_bytes(c, "not of states, but as long as a header is: eighty bytes, so that there is nothing missing", 88);
    assert_refused(c, &k, STATUS_CORRUPT, "no file of states");
    state_cache_free(c);
}

/* Rewrites the index with checks that fit. */
static void change_index(const struct state_cache *c, void (*change)(struct state_file_place *p))
{
    struct state_file_head h;
    struct state_file_place p[SENTENCES];
    const int fd = open(state_files_path(c), O_RDWR);
    assert_int_equal(pread(fd, &h, sizeof h, 0), sizeof h);
    assert_int_equal(pread(fd, p, sizeof p, (off_t)h.index_at), sizeof p);
    change(p);
    h.index_check = hash_bytes(p, sizeof p);
    h.check = state_file_head_check(&h);
    assert_int_equal(pwrite(fd, p, sizeof p, (off_t)h.index_at), sizeof p);
    assert_int_equal(pwrite(fd, &h, sizeof h, 0), sizeof h);
    assert_int_equal(close(fd), 0);
}

static void swap_places(struct state_file_place *p)
{
    const uint64_t at = p[0].at;
    p[0].at = p[1].at;
    p[1].at = at;
}

static void far_place(struct state_file_place *p)
{
    p[3].at = UINT64_MAX - 8;
}

static void equal_hashes(struct state_file_place *p)
{
    p[3].hash = p[2].hash;
}

static void test_records_in_a_wrong_place_are_left_out(void **state)
{
    (void)state;
    uint16_t numbers[NUMBERS];
    struct err e = {0};
    struct state_cache *c = state_files_cache(false);
    const struct state_file_kind k = state_file_kind(c);
    state_files_make(c, SENTENCES);
    change_index(c, swap_places);
    struct state_file *f = state_files_open(c);
    assert_int_equal(state_file_read(f, state_file_hash(f, 0), 0, numbers, &e), STATUS_CORRUPT);
    assert_ok(state_file_read(f, state_file_hash(f, 2), 0, numbers, &e), &e);
    state_file_close(f);
    state_files_make(c, SENTENCES);
    change_index(c, far_place);
    assert_refused(c, &k, STATUS_CORRUPT, "index is damaged");
    state_files_make(c, SENTENCES);
    change_index(c, equal_hashes);
    assert_refused(c, &k, STATUS_CORRUPT, "index is damaged");
    state_cache_free(c);
}

/* A damaged record is computed, counted, and as good as ever; so is all of a file that was emptied while it was open. */
static void test_damage_is_computed_instead(void **state)
{
    (void)state;
    struct state_stats s;
    struct err e = {0};
    struct state_cache *from = state_files_cache(false), *to = state_files_cache(false),
                       *cut = state_files_cache(false);
    state_files_make(from, SENTENCES);
    const int fd = open(state_files_path(from), O_RDWR);
    assert_int_equal(pwrite(fd, "?", 1, sizeof(struct state_file_head) + sizeof(struct state_file_record) + 5), 1);
    assert_ok(state_file_attach(to, state_files_dir.path, false, &e), &e);
    state_files_assert_same(from, to);
    state_stats(to, &s);
    assert_int_equal(s.file_damaged, 1);
    assert_int_equal(s.encoded, 1);
    assert_int_equal(s.file_hits, SENTENCES - 1);
    assert_ok(state_file_attach(cut, state_files_dir.path, false, &e), &e);
    assert_int_equal(ftruncate(fd, 0), 0);
    state_files_assert_same(from, cut);
    state_stats(cut, &s);
    assert_int_equal(s.file_damaged, SENTENCES);
    assert_int_equal(s.encoded, SENTENCES);
    assert_int_equal(close(fd), 0);
    state_cache_free(from);
    state_cache_free(to);
    state_cache_free(cut);
}

/* --- another kind ------------------------------------------------------------------------------------------------- */

static void test_another_kind_is_refused_by_name(void **state)
{
    (void)state;
    struct state_cache *c = state_files_cache(false);
    const struct state_file_kind k = state_file_kind(c);
    struct state_file_kind other = k;
    assert_refused(c, &k, STATUS_NOT_FOUND, "no such file");
    state_files_make(c, SENTENCES);
    other.base++;
    assert_refused(c, &other, STATUS_CONFLICT, "base model");
    other = k, other.width++;
    assert_refused(c, &other, STATUS_CONFLICT, "width");
    other = k, other.mid++;
    assert_refused(c, &other, STATUS_CONFLICT, "after layer 2");
    other = k, other.tokens = true;
    assert_refused(c, &other, STATUS_CONFLICT, "token states");
    other = k, other.precision = KERN_INT8;
    assert_refused(c, &other, STATUS_CONFLICT, "states in f32, kernels.precision is int8");
    other = k, other.key++;
    assert_refused(c, &other, STATUS_CONFLICT, "wanted is");
    state_cache_free(c);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, state_files_make_dir, state_files_remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_read_is_as_computed),        IN_DIR(test_file_tells_what_it_holds),
        IN_DIR(test_index_is_within_bounds),     IN_DIR(test_an_empty_file_is_one),
        IN_DIR(test_many_threads_read_one_file), IN_DIR(test_hit_rate_leaves_out_what_was_brought),
        IN_DIR(test_every_cut_is_refused),       IN_DIR(test_every_flipped_bit_is_met),
        IN_DIR(test_sizes_that_lie_are_refused), IN_DIR(test_records_in_a_wrong_place_are_left_out),
        IN_DIR(test_damage_is_computed_instead), IN_DIR(test_another_kind_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, state_files_open_model, state_files_close_model);
}
