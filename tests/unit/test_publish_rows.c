/* test_publish_rows.c - base and runs always make the rows that were handed over, at a cost that follows what changed.
 *
 * labels: quick
 */
#include "base/mem.h"
#include "base/rand.h"
#include "schemas/weights_dense.h"
#include "serving/publish_rows.h"
#include "tests/support/check.h"
#include <string.h>

enum { ROWS = 300000 }; /* two chunks of base, the second one short */
static float rows[ROWS], redis[ROWS];
static struct publish_rows *r;
static struct {
    const void *p; /* chunks as a reader has them, by place */
    size_t n;
} chunks[200];
static size_t n_chunks;
static unsigned char *kept[200];

static int setup(void **state)
{
    (void)state;
    struct err e = {0};
    memset(rows, 0, sizeof rows);
    assert_ok(publish_rows_new(&r, ROWS, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    publish_rows_free(r);
    for (size_t i = 0; i < n_chunks; i++) mem_free(kept[i]), kept[i] = NULL;
    n_chunks = 0;
    return 0;
}

static void touch(size_t row, float value)
{
    rows[row] = value;
    publish_rows_mark(r, row / PUBLISH_PAGE);
}

static void hand_over(void)
{
    struct buf pages = {0};
    struct err e = {0};
    assert_ok(publish_rows_collect(r, rows, &pages, &e), &e);
    publish_rows_take(r, &pages);
    assert_null(pages.p);
}

/* Writes what the plan brings, checks every digest; returns the bytes that were written. */
static size_t upload(bool whole)
{
    struct err e = {0};
    size_t written = 0;
    assert_ok(publish_rows_plan(r, whole, &e), &e);
    const size_t n = publish_rows_chunks(r);
    assert_true(n < 200);
    for (size_t i = 0; i < n; i++) {
        char hex[HASH_SHA256_HEX];
        const struct publish_piece piece = publish_rows_piece(r, i);
        if (piece.p != NULL) {
            mem_free(kept[i]);
            kept[i] = mem_calloc(piece.n, 1);
            memcpy(kept[i], piece.p, piece.n);
            chunks[i].p = kept[i], chunks[i].n = piece.n;
            written += piece.n;
        }
        assert_int_equal(chunks[i].n, piece.n);
        assert_ok(hash_sha256_of(chunks[i].p, chunks[i].n, hex, &e), &e);
        assert_string_equal(piece.digest, hex);
    }
    if (n > n_chunks) n_chunks = n;
    for (size_t i = n; i < n_chunks; i++) mem_free(kept[i]), kept[i] = NULL;
    n_chunks = n;
    publish_rows_commit(r);
    return written;
}

static void expect_rows(void)
{
    struct err e = {0};
    memcpy(redis, chunks[0].p, chunks[0].n);
    memcpy((unsigned char *)redis + chunks[0].n, chunks[1].p, chunks[1].n);
    for (size_t i = 2; i < n_chunks; i++) assert_ok(weights_rows_decode(chunks[i].p, chunks[i].n, redis, ROWS, &e), &e);
    assert_memory_equal(redis, rows, sizeof rows);
}

static void test_first_version_is_whole_and_the_next_one_what_changed(void **state)
{
    (void)state;
    touch(5, 1);
    hand_over();
    assert_int_equal(upload(false), sizeof rows);
    expect_rows();
    assert_int_equal(upload(false), 0);
    touch(ROWS - 1, 2), touch(0, 3), touch(5, 1); /* the last one is as it was */
    hand_over();
    assert_int_equal(upload(false), 2 * WEIGHTS_PAIR_BYTES);
    expect_rows();
    touch(0, 4);
    hand_over();
    assert_int_equal(upload(true), sizeof rows); /* Redis lost it */
    expect_rows();
    assert_int_equal(n_chunks, 2);
}

static void test_many_rows_at_once_are_a_new_base(void **state)
{
    (void)state;
    hand_over();
    (void)upload(false);
    for (size_t i = 0; i < ROWS / 8; i++) touch(2 * i, 1);
    hand_over();
    assert_int_equal(upload(false), ROWS / 8 * WEIGHTS_PAIR_BYTES);
    for (size_t i = 0; i < ROWS / 8 + 1; i++) touch(2 * i, 2);
    hand_over();
    assert_int_equal(upload(false), sizeof rows);
    expect_rows();
}

/* Rows are written again a few times, not once a version; runs stay few; the base is renewed in time. */
static void test_cost_follows_what_changed(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, (struct rand_key){7, 0, 0, 0, 0});
    hand_over();
    (void)upload(false);
    size_t written = 0, touched = 0, wholes = 0, most = 0;
    for (size_t version = 0; version < 400; version++) {
        const size_t n = 1 + (size_t)rand_below(&rand, version % 50 == 7 ? 2000 : 200);
        for (size_t i = 0; i < n; i++) touch((size_t)rand_below(&rand, ROWS), (float)(version + 1));
        hand_over();
        const size_t bytes = upload(false);
        touched += n;
        if (bytes >= sizeof rows)
            wholes++;
        else
            written += bytes;
        if (r->n_runs > most) most = r->n_runs;
        for (size_t i = 1; i < r->n_runs; i++) assert_true(r->runs[i - 1].n > 2 * r->runs[i].n);
        if (version % 20 == 0) expect_rows();
    }
    expect_rows();
    assert_true(most >= 3 && most <= 12);
    assert_in_range(wholes, 1, touched / (ROWS / 16)); /* one for each eighth of the rows, about */
    assert_true(written < 6 * touched * WEIGHTS_PAIR_BYTES);
}

/* A version that was planned and not put in force: the next one brings its rows too. */
static void test_plan_that_fails_loses_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    hand_over();
    (void)upload(false);
    touch(1, 1);
    hand_over();
    assert_ok(publish_rows_plan(r, false, &e), &e);
    touch(100000, 2), touch(2, 3); /* one of them in the page of before */
    hand_over();
    assert_ok(publish_rows_plan(r, true, &e), &e);
    assert_int_equal(upload(false), 3 * WEIGHTS_PAIR_BYTES);
    expect_rows();
}

static void test_pages_that_nobody_took_come_again(void **state)
{
    (void)state;
    struct buf pages = {0};
    struct err e = {0};
    hand_over();
    (void)upload(false);
    touch(70, 1);
    assert_ok(publish_rows_collect(r, rows, &pages, &e), &e);
    touch(7000, 2), touch(70, 3);
    publish_rows_again(r, &pages);
    buf_fini(&pages);
    hand_over();
    assert_int_equal(upload(false), 2 * WEIGHTS_PAIR_BYTES);
    expect_rows();
}

static enum status make(void)
{
    struct publish_rows *p = NULL;
    struct buf pages = {0};
    struct err e = {0};
    enum status st = publish_rows_new(&p, 1000, &e);
    if (st == STATUS_OK) st = publish_rows_collect(p, rows, &pages, &e);
    if (st == STATUS_OK) publish_rows_take(p, &pages);
    if (st == STATUS_OK) st = publish_rows_plan(p, false, &e);
    if (st == STATUS_OK) {
        publish_rows_commit(p);
        publish_rows_mark(p, 3);
        rows[200] += 1;
        st = publish_rows_collect(p, rows, &pages, &e);
        if (st == STATUS_OK) publish_rows_take(p, &pages);
        if (st == STATUS_OK) st = publish_rows_plan(p, false, &e);
        if (st == STATUS_OK) publish_rows_commit(p);
    }
    buf_fini(&pages);
    publish_rows_free(p);
    return st;
}

static void test_survives_each_failing_allocation(void **state)
{
    (void)state;
    long n;
    FAIL_EACH_ALLOCATION(n, make());
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_version_is_whole_and_the_next_one_what_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_rows_at_once_are_a_new_base, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cost_follows_what_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plan_that_fails_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages_that_nobody_took_come_again, setup, teardown),
        cmocka_unit_test(test_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
