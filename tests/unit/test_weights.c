/* test_weights.c - weight files come back as written; every flipped bit and every cut is seen; files are written whole. */
#include "base/arena.h"
#include "base/rand.h"
#include "schemas/weights.h"
#include "tests/support/check.h"
#include "tests/support/tmpdir.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define N_PARAMS 96
static float params[N_PARAMS];
static unsigned char moments[37];
static struct weights_tensor tensors[3] = {
    {.name = "text.layer.5.attention.q.weight", .rank = 2, .shape = {3, 5}, .offset = 0},
    {.name = "bias", .rank = 0, .offset = 16},
    {.name = "hashed", .rank = 4, .shape = {2, 2, 2, 8}, .offset = 32},
};

static struct weights_view sample(void)
{
    struct rand r;
    struct err e = {0};
    rand_init(&r, (struct rand_key){.seed = 3, .purpose = RAND_TEST});
    for (size_t i = 0; i < N_PARAMS; i++) params[i] = (float)rand_normal(&r);
    for (size_t i = 0; i < sizeof moments; i++) moments[i] = (unsigned char)rand_u32(&r);
    struct weights_view w = {.version = 12,
                             .base_fingerprint = 0x0123456789abcdef,
                             .tensors = tensors,
                             .n_tensors = 3,
                             .params = params,
                             .n_params = N_PARAMS,
                             .moments = moments,
                             .n_moments = sizeof moments};
    assert_ok(hash_sha256_of(params, sizeof params, w.sha256, &e), &e);
    return w;
}

static void same(const struct weights_view *a, const struct weights_view *b)
{
    assert_true(a->version == b->version && a->base_fingerprint == b->base_fingerprint);
    assert_string_equal(a->sha256, b->sha256);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (uint32_t i = 0; i < a->n_tensors; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        assert_int_equal(a->tensors[i].rank, b->tensors[i].rank);
        assert_memory_equal(a->tensors[i].shape, b->tensors[i].shape, a->tensors[i].rank * sizeof(uint32_t));
        assert_true(a->tensors[i].offset == b->tensors[i].offset);
    }
    assert_true(a->n_params == b->n_params && a->n_moments == b->n_moments);
    assert_memory_equal(a->params, b->params, a->n_params * sizeof(float));
    if (a->n_moments > 0) assert_memory_equal(a->moments, b->moments, a->n_moments);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct arena a = {0};
    struct buf b = {0};
    struct err e = {0};
    struct weights_view w = sample(), back;
    for (int with = 0; with < 2; with++) {
        if (with == 0) w.moments = NULL, w.n_moments = 0;
        buf_clear(&b);
        assert_ok(weights_encode(&b, &w, &e), &e);
        assert_ok(weights_decode(&back, b.p, b.n, true, &a, &e), &e);
        same(&w, &back);
        assert_int_equal(((const unsigned char *)back.params - b.p) % 64, 0);
        w = sample();
    }
    w.n_tensors = 0;
    w.n_params = w.n_moments = 0;
    assert_ok(hash_sha256_of(params, 0, w.sha256, &e), &e);
    buf_clear(&b);
    assert_ok(weights_encode(&b, &w, &e), &e);
    assert_ok(weights_decode(&back, b.p, b.n, true, &a, &e), &e);
    arena_fini(&a);
    buf_fini(&b);
    assert_int_equal(mem_live(), 0);
}

static void test_every_flipped_bit_is_seen(void **state)
{
    (void)state;
    struct arena a = {0};
    struct buf b = {0};
    struct err e = {0};
    struct weights_view w = sample(), back;
    assert_ok(weights_encode(&b, &w, &e), &e);
    for (size_t bit = 0; bit < b.n * 8; bit++) {
        b.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (weights_decode(&back, b.p, b.n, false, &a, &e) == STATUS_OK) fail_msg("bit %zu of %zu", bit, b.n * 8);
        b.p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        arena_reset(&a);
    }
    assert_ok(weights_decode(&back, b.p, b.n, true, &a, &e), &e);
    arena_fini(&a);
    buf_fini(&b);
}

static void test_every_cut_is_seen(void **state)
{
    (void)state;
    struct arena a = {0};
    struct buf b = {0};
    struct err e = {0};
    struct weights_view w = sample(), back;
    assert_ok(weights_encode(&b, &w, &e), &e);
    for (size_t n = 0; n < b.n; n++) {
        char *copy = mem_strndup((const char *)b.p, n);
        assert_int_equal(weights_decode(&back, copy, n, false, &a, &e), STATUS_CORRUPT);
        mem_free(copy);
    }
    buf_u8(&b, 0);
    assert_int_equal(weights_decode(&back, b.p, b.n, false, &a, &e), STATUS_CORRUPT);
    arena_fini(&a);
    buf_fini(&b);
}

/* Changes the head and seals it again with a right XXH3, so that the checks behind it are met. */
static enum status decode_changed(struct buf *b, size_t at, uint64_t value, size_t bytes, struct err *e)
{
    struct arena a = {0};
    struct weights_view back;
    struct buf copy = {0}, sum = {0};
    buf_put(&copy, b->p, b->n);
    for (size_t i = 0; i < bytes; i++) copy.p[at + i] = (unsigned char)(value >> (8 * i));
    buf_u64(&sum, hash_bytes(copy.p, copy.n - 8));
    memcpy(copy.p + copy.n - 8, sum.p, 8);
    const enum status st = weights_decode(&back, copy.p, copy.n, true, &a, e);
    buf_fini(&copy);
    buf_fini(&sum);
    arena_fini(&a);
    return st;
}

static void test_lies_behind_a_right_checksum_are_seen(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    struct weights_view w = sample();
    assert_ok(weights_encode(&b, &w, &e), &e);
    assert_int_equal(decode_changed(&b, 4, 2, 4, &e), STATUS_UNSUPPORTED);         /* format */
    assert_int_equal(decode_changed(&b, 24, 5000, 4, &e), STATUS_CORRUPT);         /* tensors */
    assert_int_equal(decode_changed(&b, 28, 1, 4, &e), STATUS_CORRUPT);            /* flags */
    assert_int_equal(decode_changed(&b, 32, N_PARAMS + 1, 8, &e), STATUS_CORRUPT); /* params */
    assert_int_equal(decode_changed(&b, 32, UINT64_MAX / 4, 8, &e), STATUS_CORRUPT);
    assert_int_equal(decode_changed(&b, 40, sizeof moments - 1, 8, &e), STATUS_CORRUPT); /* moments */
    assert_int_equal(decode_changed(&b, 48, 0, 1, &e), STATUS_CORRUPT);                  /* SHA-256 */
    assert_non_null(strstr(e.text, "hash to"));
    const size_t table = 80, name = strlen(tensors[0].name);
    assert_int_equal(decode_changed(&b, table + 1 + name, 1, 1, &e), STATUS_CORRUPT);          /* kind */
    assert_int_equal(decode_changed(&b, table + 2 + name, 5, 1, &e), STATUS_CORRUPT);          /* rank */
    assert_int_equal(decode_changed(&b, table + 3 + name, UINT32_MAX, 4, &e), STATUS_CORRUPT); /* shape */
    assert_int_equal(decode_changed(&b, table + 11 + name, 15, 8, &e), STATUS_CORRUPT); /* offset: overlaps the next */
    assert_int_equal(decode_changed(&b, table + 11 + name, 2, 8, &e), STATUS_CORRUPT);  /* by one float */
    assert_int_equal(decode_changed(&b, table + 1, 0, 1, &e), STATUS_CORRUPT);          /* NUL in a name */
    buf_fini(&b);
}

static void test_wrong_tables_are_not_written(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    struct weights_view w = sample();
    struct weights_tensor two[2] = {tensors[0], tensors[0]};
    w.tensors = two;
    w.n_tensors = 2;
    assert_int_equal(weights_encode(&b, &w, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "overlaps"));
    two[1].offset = N_PARAMS - 14;
    assert_int_equal(weights_encode(&b, &w, &e), STATUS_INVALID);
    assert_non_null(strstr(e.text, "reach past"));
    w = sample();
    w.sha256[5] = 'X';
    assert_int_equal(weights_encode(&b, &w, &e), STATUS_INVALID);
    buf_fini(&b);
}

static size_t files_in(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d)) != NULL;) n += f->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static void test_files_are_written_whole_or_not_at_all(void **state)
{
    (void)state;
    const struct tmpdir d = tmpdir_make("weights");
    char path[300];
    struct buf b = {0}, back = {0};
    struct err e = {0};
    struct weights_view w = sample();
    assert_ok(weights_encode(&b, &w, &e), &e);
    (void)tmpdir_file(&d, "12", path);
    assert_ok(weights_write_file(path, &b, &e), &e);
    assert_ok(weights_write_file(path, &b, &e), &e); /* over an old one */
    assert_int_equal(files_in(d.path), 1);
    assert_ok(weights_read_file(path, b.n, &back, &e), &e);
    assert_int_equal(back.n, b.n);
    assert_memory_equal(back.p, b.p, b.n);
    assert_int_equal(weights_read_file(path, b.n - 1, &back, &e), STATUS_INVALID);
    assert_int_equal(weights_read_file(d.path, 1 << 20, &back, &e), STATUS_INVALID);
    (void)tmpdir_file(&d, "13", path);
    assert_int_equal(weights_read_file(path, 100, &back, &e), STATUS_NOT_FOUND);
    (void)tmpdir_file(&d, "none/13", path);
    assert_int_equal(weights_write_file(path, &b, &e), STATUS_IO);
    assert_non_null(strstr(e.text, "none/13"));
    (void)tmpdir_file(&d, "folder", path);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(weights_write_file(path, &b, &e), STATUS_IO); /* the rename fails: nothing is left behind */
    assert_int_equal(files_in(d.path), 2);
    b.oom = true;
    assert_int_equal(weights_write_file(path, &b, &e), STATUS_OOM);
    buf_fini(&b);
    buf_fini(&back);
    tmpdir_remove(&d);
}

static struct buf packed;
static enum status decode_once(void)
{
    struct arena a = {0};
    struct weights_view back;
    struct err e = {0};
    arena_init(&a, 64); /* small blocks: more allocations to fail */
    const enum status st = weights_decode(&back, packed.p, packed.n, false, &a, &e);
    arena_fini(&a);
    return st;
}

static enum status encode_once(void)
{
    struct buf b = {0};
    struct err e = {0};
    struct weights_view w = {.tensors = tensors, .n_tensors = 3, .params = params, .n_params = N_PARAMS};
    memset(w.sha256, 'a', sizeof w.sha256 - 1);
    const enum status st = weights_encode(&b, &w, &e);
    buf_fini(&b);
    return st;
}

static void test_failing_allocations_leave_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct weights_view w = sample();
    long n;
    assert_ok(weights_encode(&packed, &w, &e), &e);
    FAIL_EACH_ALLOCATION(n, decode_once());
    assert_true(n >= 2);
    FAIL_EACH_ALLOCATION(n, encode_once());
    assert_true(n >= 2);
    buf_fini(&packed);
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_every_cut_is_seen),
        cmocka_unit_test(test_lies_behind_a_right_checksum_are_seen),
        cmocka_unit_test(test_wrong_tables_are_not_written),
        cmocka_unit_test(test_files_are_written_whole_or_not_at_all),
        cmocka_unit_test(test_failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
